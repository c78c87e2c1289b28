package ring

import (
	"errors"
	"slices"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Overflown reports whether an instance of that spec is on a host only for want of room on better ones: one with a taint of effect
// prefer-no-schedule that it does not tolerate, such as the region of a hoster that costs by the hour.
func Overflown(h *pool.Host, spec pool.Spec) bool {
	return slices.ContainsFunc(h.Taints, func(t pool.Taint) bool {
		return t.Effect == pool.PreferNoSchedule && !spec.Constraints.Tolerates(t)
	})
}

// bringBack is the leader's wish to have an instance on a host that it prefers again, now that one may have room.
type bringBack struct {
	epoch    int64
	instance pool.InstanceID
}

func (o bringBack) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	if st.Epoch() != o.epoch {
		return nil, errDropped
	}
	i, err := unbusy(st, o.instance)
	if err != nil {
		return nil, errMoot
	}
	h, ok := st.Host(i.Place.Host)
	if !ok || !Overflown(&h.Host, i.Spec) {
		return nil, errMoot
	}
	worse := func(h *pool.HostRecord) string {
		if Overflown(&h.Host, i.Spec) {
			return "it is taken only for want of room elsewhere"
		}
		return ""
	}
	if has(r.capabilities(h.ID).Abilities, string(hypervisor.CanMigrateLive)) && !aggregate(h) {
		if events, err := r.moving(st, i, "", false, nil, worse); err == nil {
			return events, nil
		}
	}
	return r.replacing(st, i, nil, worse)
}

// drained decides how an instance leaves a host that is being drained: moved, or else replaced.
func (r *rules) drained(st *pool.State, i *pool.Instance, h *pool.HostRecord, avoid []pool.HostID) ([]pool.Event, error) {
	events, err := r.moving(st, i, "", h.Cold, avoid, nil)
	if err != nil {
		if instead, bad := r.replacing(st, i, avoid, nil); bad == nil {
			return instead, nil
		}
	}
	return events, err
}

// replacing decides that an instance's machine is destroyed, to be made anew of its image on a host that has room now, where the
// instance allows that. The room is not kept for it: it cannot be booked twice.
func (r *rules) replacing(st *pool.State, i *pool.Instance, avoid []pool.HostID, not func(*pool.HostRecord) string) ([]pool.Event, error) {
	if !i.Spec.Replaceable || i.Kept() {
		return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "instance", Value: string(i.ID), Want: "one whose spec says that it is replaceable"}
	}
	s := r.scheduler
	if not != nil {
		s = r.among(not)
	}
	d, err := r.place(s, st, r.anew(i, i.Spec, append([]pool.HostID{i.Place.Host}, avoid...)))
	if err == nil {
		err = grows(st, i, d.Host, d.Allocation, i.Spec.Flavor)
	}
	if err != nil {
		return nil, err
	}
	return one(pool.KindReplacing, &pool.Of{Instance: i.ID})
}

// mostTried bounds for how many instances a better place is looked for after one observation.
const mostTried = 8

// bringBack has an instance that has been long enough on a host for want of room elsewhere brought back, the oldest for which there is
// room now. It is called after each observation of a host, so that they come back one by one.
func (l *leadership) bringBack(host pool.HostID, w *watch) {
	if l.r.cfg.BurstFor <= 0 {
		return
	}
	var candidates []bringBack
	now := l.r.now()
	l.r.View(func(st *pool.State) {
		h, ok := st.Host(host)
		if !ok || len(h.Taints) == 0 {
			return
		}
		var found []*pool.Instance
		for i := range st.InstancesOn(host) {
			if i.Phase == pool.Active && i.Want != pool.Absent && now.Sub(i.At) >= l.r.cfg.BurstFor && Overflown(&h.Host, i.Spec) {
				if i.Move != nil {
					return // one at a time
				}
				found = append(found, i)
			}
			if i.Replaced() {
				return
			}
		}
		slices.SortFunc(found, func(a, b *pool.Instance) int { return int(min(max(a.Launched-b.Launched, -1), 1)) })
		// Those that there was no room for wait until the others have been looked at.
		if w.turn >= len(found) {
			w.turn = 0
		}
		for _, i := range found[w.turn:min(w.turn+mostTried, len(found))] {
			candidates = append(candidates, bringBack{l.epoch, i.ID})
		}
	})
	for _, c := range candidates {
		w.turn++
		var err error
		l.r.View(func(st *pool.State) { _, err = l.r.decide(c, st, l.r.rules.at(l.r.now())) })
		if err == nil {
			_, err = l.r.submit(l.ctx, c, Caller{Actor: self, Cause: "back from " + string(host)})
		}
		switch {
		case err == nil:
			w.turn = 0
			return
		case errors.Is(err, pool.ErrNoRoom), errors.Is(err, pool.ErrWrongState), errors.Is(err, pool.ErrOverQuota), errors.Is(err, errMoot):
		default:
			if l.ctx.Err() == nil && !errors.Is(err, errDropped) {
				l.r.log.Warn("an instance cannot be brought back", "instance", c.instance, "host", host, "error", err)
			}
			return
		}
	}
}
