package ring

import (
	"time"

	"github.com/berthage/berthage/pool"
)

// How long an aggregate's shape counts as full: after the first refusal, doubled with each that follows, and at
// most. That somebody else has given something back there nobody tells us; so it is tried.
const (
	fullFirst = time.Minute
	fullMost  = 30 * time.Minute
)

// fullUntil returns until when the shape counts as full of an instance whose create has been refused; full says
// whether that was for want of room. Zero: it does not, or it does already, and those that were on their way when the
// first of them was refused say nothing new.
func (r *rules) fullUntil(st *pool.State, i *pool.Instance, full bool) time.Time {
	h, ok := st.Host(i.Place.Host)
	if shape := i.Place.Allocation.Shape; full && ok && h.Host.Shape(shape) != nil {
		if f, already := h.FullAt(shape, r.now); !already {
			return r.now.Add(min(fullFirst<<min(f.Refusals, 10), fullMost))
		}
	}
	return time.Time{}
}
