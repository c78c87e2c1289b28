package ring

import (
	"crypto/rand"

	"github.com/berthage/berthage/pool"
)

// space is what the committer uses for one decision after another. An event that is folded into a batch keeps nothing of it:
// its payload is let go, and it is copied.
type space struct {
	launched pool.Launched
	one      [1]pool.Event
	events   []pool.Event // of a drafting
}

// launched returns an empty payload, good until it is asked for the next one.
func (r *rules) launched() *pool.Launched {
	if r.space == nil {
		return new(pool.Launched)
	}
	r.space.launched = pool.Launched{}
	return &r.space.launched
}

// one is one in the space of the last one.
func (r *rules) one(kind string, payload any) ([]pool.Event, error) {
	e, err := pool.NewEvent(kind, payload)
	if err != nil {
		return nil, err
	}
	if r.space == nil {
		return []pool.Event{e}, nil
	}
	r.space.one[0] = e
	return r.space.one[:], nil
}

// draft begins a drafting on an overlay of st. There is one at a time.
func (r *rules) draft(st *pool.State) drafting {
	d := drafting{rules: r, st: st.Overlay()}
	if r.space != nil {
		d.events = r.space.events[:0]
	}
	return d
}

// settle lets go of the payload of an event that has been folded, if it is in space. Of no other kind is there more than of
// launches, and nobody who is told of one asks for more than the books know.
func settle(e *pool.Event) {
	if e.Kind == pool.KindLaunched {
		e.Detach()
	}
}

// launchedIn returns the instances that are new in o, an overlay of st.
func launchedIn(st, o *pool.State) []pool.InstanceID {
	var ids []pool.InstanceID
	for id, i := range o.ChangedInstances() {
		if _, old := st.Instance(id); i != nil && !old {
			ids = append(ids, id)
		}
	}
	return ids
}

// random gives what rand.Text gives and asks the system for it less often.
type random struct {
	bytes [26 * 64]byte
	n     int // of them, those that have been used
}

func (r *random) text() string {
	t := r.next()
	return string(t[:])
}

// salt returns the same as bytes of their own.
func (r *random) salt() []byte {
	t := r.next()
	return append([]byte(nil), t[:]...)
}

func (r *random) next() (out [26]byte) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	if r.n == 0 || r.n == len(r.bytes) {
		rand.Read(r.bytes[:]) // which never fails
		r.n = 0
	}
	for i, b := range r.bytes[r.n : r.n+len(out)] {
		out[i] = alphabet[b%32]
	}
	r.n += len(out)
	return out
}
