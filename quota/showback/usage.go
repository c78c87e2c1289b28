package showback

import (
	"cmp"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

// Key is what usage is told apart by.
type Key struct {
	Project string     `json:"project"`
	Owner   string     `json:"owner,omitempty"`  // see pool.Instance.Owner
	Driver  string     `json:"driver"`           // of the host: what kind of host it is
	Flavor  string     `json:"flavor,omitempty"` // empty: sizes of its own
	Class   pool.Class `json:"class"`            // pool.Instances: how many instances held a place
}

func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Project, o.Project), cmp.Compare(k.Owner, o.Owner), cmp.Compare(k.Driver, o.Driver),
		cmp.Compare(k.Flavor, o.Flavor), cmp.Compare(k.Class, o.Class))
}

// Usage is for how long how much was held from one moment to another, the second not included. It is immutable.
type Usage struct {
	from, until time.Time
	held        map[Key]*big.Int // units times microseconds, above zero
}

// From and Until are the moments.
func (u *Usage) From() time.Time { return u.from }

// Until is the end, which is not included.
func (u *Usage) Until() time.Time { return u.until }

// Held is an amount over time: units of a class times microseconds, exactly.
type Held struct{ n *big.Int }

// MicroUnits returns units times microseconds, the caller's own.
func (h Held) MicroUnits() *big.Int {
	if h.n == nil {
		return new(big.Int)
	}
	return new(big.Int).Set(h.n)
}

// String returns units times seconds as a decimal number: "7200", "0.5".
func (h Held) String() string {
	whole, part := new(big.Int).QuoRem(h.MicroUnits(), big.NewInt(1e6), new(big.Int))
	if part.Sign() == 0 {
		return whole.String()
	}
	digits := part.String()
	return whole.String() + "." + strings.TrimRight(strings.Repeat("0", 6-len(digits))+digits, "0")
}

// MarshalText implements encoding.TextMarshaler, as String.
func (h Held) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// Line is what was held of one Key.
type Line struct {
	Key
	Held Held `json:"held"` // in the unit of the class, times seconds
}

// Lines returns what was held, by key.
func (u *Usage) Lines() []Line {
	out := make([]Line, 0, len(u.held))
	for _, k := range slices.SortedFunc(maps.Keys(u.held), Key.compare) {
		out = append(out, Line{k, Held{u.held[k]}})
	}
	return out
}

// Of returns the part of the usage whose keys are chosen: that of one tenant, say.
func (u *Usage) Of(chosen func(Key) bool) *Usage {
	out := &Usage{u.from, u.until, make(map[Key]*big.Int)}
	for k, n := range u.held {
		if chosen(k) {
			out.held[k] = n
		}
	}
	return out
}

// Join returns the usage of two intervals of which the second begins where the first ends.
func (u *Usage) Join(next *Usage) (*Usage, error) {
	if !next.from.Equal(u.until) {
		return nil, invalid("from", next.from.Format(time.RFC3339Nano), "the end of the interval before, "+u.until.Format(time.RFC3339Nano))
	}
	out := &Usage{u.from, next.until, maps.Clone(u.held)}
	for k, n := range next.held {
		if have := out.held[k]; have != nil {
			n = new(big.Int).Add(have, n)
		}
		out.held[k] = n
	}
	return out, nil
}

func invalid(field, value, want string) error {
	return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
}
