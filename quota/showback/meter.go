package showback

import (
	"maps"
	"math/big"
	"strconv"
	"time"

	"github.com/berthage/berthage/pool"
)

// Meter measures usage as it folds a ledger. It is not safe for concurrent use.
type Meter struct {
	st          *pool.State
	from, until int64 // microseconds
	open        map[pool.InstanceID]span
	held        map[Key]*big.Int
}

// span is what one instance holds, and since when.
type span struct {
	key       Key // without the class
	resources pool.Resources
	since     int64
}

// New returns a Meter for what is used from one moment to another, in whole microseconds. The State is that at the first moment or
// earlier; it is the Meter's from then on, and must have the parts of the ledger (berthage.Parts, say). An until that is later than
// the last event counts what is held then as held until that moment.
func New(st *pool.State, from, until time.Time) (*Meter, error) {
	m := &Meter{st: st, from: from.UnixMicro(), until: until.UnixMicro(), open: make(map[pool.InstanceID]span), held: make(map[Key]*big.Int)}
	switch {
	case m.until <= m.from:
		return nil, invalid("until", until.UTC().Format(time.RFC3339Nano), "a moment after from")
	case st.Head() > 0 && st.Time().UnixMicro() > m.from:
		return nil, invalid("from", from.UTC().Format(time.RFC3339Nano), "a moment that is not before the books to start with, of "+st.Time().Format(time.RFC3339Nano))
	}
	for i := range st.Instances() {
		m.turn(i.ID, i, m.from)
	}
	return m, nil
}

// Add folds the next batch of the ledger. The errors are those of State.Apply, which it does not go on after: what cannot be folded cannot
// be counted.
func (m *Meter) Add(b pool.Batch) error {
	if b.Revision != m.st.Head()+1 {
		return invalid("revision", strconv.FormatInt(int64(b.Revision), 10), "the one after "+strconv.FormatInt(int64(m.st.Head()), 10))
	}
	for events := b.Events; len(events) > 0; {
		at, n := events[0].Time, 1
		for n < len(events) && events[n].Time.Equal(at) {
			n++
		}
		o := m.st.Overlay()
		for i := range events[:n] {
			if err := o.Apply(&events[i]); err != nil {
				return err
			}
		}
		for id, i := range o.ChangedInstances() {
			m.turn(id, i, at.UnixMicro())
		}
		m.st.Absorb(o)
		events = events[n:]
	}
	return nil
}

// turn counts what an instance has held until now, and notes what it holds from now on. A nil instance is gone.
func (m *Meter) turn(id pool.InstanceID, i *pool.Instance, now int64) {
	old, had := m.open[id]
	has := i != nil && i.Placed()
	var n span
	if has {
		n = span{Key{Project: i.Project, Owner: i.Owner, Driver: i.Place.Host.Driver(), Flavor: i.Spec.Flavor}, i.Place.Allocation.Resources, now}
		if had && n.key == old.key && n.resources.Equal(old.resources) {
			return
		}
	}
	if had {
		m.count(m.held, old, now)
		delete(m.open, id)
	}
	if has {
		m.open[id] = n
	}
}

// count adds what was held until a moment, as far as it lies between the Meter's.
func (m *Meter) count(held map[Key]*big.Int, s span, until int64) {
	from, until := max(s.since, m.from), min(until, m.until)
	if until <= from {
		return
	}
	length := big.NewInt(until - from)
	add := func(c pool.Class, amount int64) {
		if amount <= 0 {
			return
		}
		k := s.key
		k.Class = c
		sum := held[k]
		if sum == nil {
			sum = new(big.Int)
			held[k] = sum
		}
		sum.Add(sum, new(big.Int).Mul(big.NewInt(amount), length))
	}
	for c, amount := range s.resources {
		if c != pool.Instances {
			add(c, amount)
		}
	}
	add(pool.Instances, 1)
}

// Usage returns what has been used, with what is held still.
func (m *Meter) Usage() *Usage {
	held := make(map[Key]*big.Int, len(m.held))
	for k, n := range m.held {
		held[k] = new(big.Int).Set(n)
	}
	for _, s := range m.open {
		m.count(held, s, m.until)
	}
	return &Usage{time.UnixMicro(m.from).UTC(), time.UnixMicro(m.until).UTC(), maps.Clone(held)}
}
