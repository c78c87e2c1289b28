package scheduler

import (
	"maps"
	"math/bits"
	"slices"
	"strings"

	"github.com/berthage/berthage/pool"
)

// traits are what a host is and says of itself, as bits. (An array would not be kept in registers.)
type traits struct {
	is   uint64 // its condition, driver, kinds, abilities, zone and taints
	says uint64 // its labels
}

// Bits of traits.is that are not given out by traitBook.
const (
	traitReady   = 1 << iota // takes instances
	traitUsed                // something is allocated on it
	traitUnused              // nothing is
	traitLimited             // some class is given out in certain amounts only
	traitFirst   = iota      // the first bit that is given out
)

const traitShared = 63 // the bit of either word that traits share which got none of their own

func (t traits) has(must traits) bool {
	return t.is&must.is == must.is && t.says&must.says == must.says
}

func (t traits) with(o traits) traits { return traits{t.is | o.is, t.says | o.says} }

// trait is a driver, a kind, an ability, a zone, all taints together, or a label.
type trait struct {
	what       byte // 'd', 'k', 'a', 'z', 't' or 'l'
	key, value string
}

// word returns the word that a trait has its bit in.
func (t trait) word(of *traits) *uint64 {
	if t.what == 'l' {
		return &of.says
	}
	return &of.is
}

// traitBook gives bits to traits, as long as there are hosts that have them. Traits that come when there is none
// left share the last one: the search then looks at more hosts, and asks each of them.
type traitBook struct {
	known  map[trait]*traitUse
	taken  traits
	taints []taintSet // that hosts have, and none
}

// taintSet is the taints of some hosts.
type taintSet struct {
	trait  trait
	taints []pool.Taint
}

type traitUse struct {
	bit   int
	hosts int
}

// take counts one host more with that trait.
func (b *traitBook) take(t trait, h *pool.HostRecord) traits {
	u := b.known[t]
	if u == nil {
		if b.known == nil {
			b.known = make(map[trait]*traitUse)
			b.taken.is = 1<<traitFirst - 1
		}
		taken := t.word(&b.taken)
		u = &traitUse{bit: min(bits.TrailingZeros64(^*taken), traitShared)}
		if u.bit < traitShared {
			*taken |= 1 << u.bit
		}
		b.known[t] = u
		if t.what == 't' {
			b.taints = append(b.taints, taintSet{t, h.Taints})
		}
	}
	u.hosts++
	return u.mask(t)
}

// drop counts one host less.
func (b *traitBook) drop(t trait) {
	u := b.known[t]
	if u.hosts--; u.hosts > 0 {
		return
	}
	delete(b.known, t)
	if t.what == 't' {
		b.taints = slices.DeleteFunc(b.taints, func(s taintSet) bool { return s.trait == t })
	}
	if u.bit < traitShared {
		*t.word(&b.taken) &^= 1 << u.bit
	}
}

func (u *traitUse) mask(t trait) (m traits) {
	*t.word(&m) = 1 << u.bit
	return m
}

// find returns the bit of a trait, false if no host has it. It is exact if no other trait has that bit.
func (b *traitBook) find(t trait) (m traits, exact, ok bool) {
	u := b.known[t]
	if u == nil {
		return m, true, false
	}
	return u.mask(t), u.bit < traitShared, true
}

// each calls f for the traits of a host.
func eachTrait(h *pool.HostRecord, f func(trait)) {
	f(trait{what: 'd', key: h.ID.Driver()})
	if h.Zone != "" {
		f(trait{what: 'z', key: h.Zone})
	}
	f(trait{what: 't', key: taintKey(h.Taints)})
	if len(h.Kinds) == 0 {
		f(trait{what: 'k', key: string(pool.VM)})
	}
	for i, k := range h.Kinds {
		if !slices.Contains(h.Kinds[:i], k) {
			f(trait{what: 'k', key: string(k)})
		}
	}
	for _, a := range h.Abilities {
		f(trait{what: 'a', key: a})
	}
	for k, v := range h.Labels {
		f(trait{what: 'l', key: k, value: v})
	}
}

// taintKey names taints, which Normalize has put in order.
func taintKey(taints []pool.Taint) string {
	if len(taints) == 0 {
		return ""
	}
	var b strings.Builder
	for _, t := range taints {
		b.WriteString(t.String() + "\n")
	}
	return b.String()
}

// sameTraits reports whether eachTrait gives the same for both records of one host.
func sameTraits(a, b *pool.HostRecord) bool {
	return a.Zone == b.Zone && slices.Equal(a.Kinds, b.Kinds) && slices.Equal(a.Taints, b.Taints) && slices.Equal(a.Abilities, b.Abilities) &&
		(sameMap(a.Labels, b.Labels) || maps.Equal(a.Labels, b.Labels))
}

// limited reports whether some class is given out in certain amounts only.
func limited(h *pool.HostRecord) bool {
	for _, i := range h.Inventory {
		if i.MinUnit|i.MaxUnit|i.StepSize != 0 {
			return true
		}
	}
	return false
}
