package ring

import (
	"errors"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// Waiter is an instance that waits for a place.
type Waiter struct {
	Instance pool.InstanceID `json:"instance"`
	Name     string          `json:"name"`
	Project  string          `json:"project"`
	Priority int             `json:"priority"`
	Position int             `json:"position"` // from 1, in the order in which they are offered what becomes free
	Since    time.Time       `json:"since"`
	Host     pool.HostID     `json:"host,omitempty"`   // whose room is kept for it
	Reason   string          `json:"reason,omitempty"` // why it waits: of Waiter as it is now, of Queue as it was at first
}

// Queue returns those who wait for a place, in their order.
func (r *Ring) Queue() []Waiter {
	var out []Waiter
	r.View(func(st *pool.State) {
		for n, i := range Queue(st) {
			out = append(out, Waiter{
				Instance: i.ID, Name: i.Name, Project: i.Project, Priority: i.Spec.Priority,
				Position: n + 1, Since: i.At, Host: i.Awaits, Reason: i.Reason,
			})
		}
	})
	return out
}

// Waiter returns one of those who wait for a place, with the reason why it still does.
func (r *Ring) Waiter(id pool.InstanceID) (Waiter, bool) {
	all := r.Queue()
	n := slices.IndexFunc(all, func(w Waiter) bool { return w.Instance == id })
	if n < 0 {
		return Waiter{}, false
	}
	w := all[n]
	r.View(func(st *pool.State) {
		i, ok := st.Instance(id)
		if !ok {
			return
		}
		_, err := r.rules.at(r.now()).turn(st, i, nil)
		var full *scheduler.Refusal
		switch {
		case err == nil:
			w.Reason = "there is room: it is about to be placed"
		case errors.As(err, &full) && i.Awaits != "":
			w.Reason = "waits for room on host " + pool.Quote(string(i.Awaits)) + "; " + reason(err)
		default:
			w.Reason = reason(err)
		}
	})
	return w, true
}
