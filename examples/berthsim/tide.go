package main

import (
	"context"
	"errors"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// tide is one replay of a trace: what runs where, and what has been measured.
type tide struct {
	*fleet
	vms   []vm
	end   float64              // of the trace: the last moment at which anything happens
	at    []scheduler.Decision // by VM; no host: it does not run
	taken size

	now   float64
	sums  struct{ hosts, bound float64 } // times seconds
	stats churnStats
	moves *moves // nil: none
	lives *lives // nil: nobody knows how long VMs live
	worth *worth // nil: nobody looks at what room is good for
}

func newTide(vms []vm, host size, hosts int, s scheduler.Strategy, perHour int, known lifetimes, byWorth bool) (*tide, error) {
	places := scheduler.Scheduler{Strategy: s}
	lives := newLives(vms, known)
	if lives != nil {
		places.Ends = &lives.Ends
	}
	var w *worth
	if byWorth {
		w = newWorth(host)
		places.Worth = &w.Worth
	}
	f, err := newFleet(host, hosts, places)
	if err != nil {
		return nil, err
	}
	t := &tide{fleet: f, vms: vms, at: make([]scheduler.Decision, len(vms)), lives: lives, worth: w}
	t.stats.Policy = s.String()
	for _, v := range vms {
		t.end = max(t.end, v.arrive, v.end)
	}
	if perHour > 0 {
		t.moves = &moves{perHour: perHour, on: make(map[pool.HostID][]int), left: make(map[pool.HostID]int)}
	}
	return t, nil
}

// run replays the trace.
func (t *tide) run(ctx context.Context, tell *teller) (churnStats, error) {
	start := cpuTime()
	if len(t.vms) > 0 {
		t.now = t.vms[0].arrive
	}
	if t.moves != nil {
		t.moves.looks = t.now + lookEvery
	}
	placed := 0
	for e := range events(t.vms, t.end) {
		if ctx.Err() != nil {
			return t.stats, context.Cause(ctx)
		}
		if err := t.advance(e.at); err != nil {
			return t.stats, err
		}
		if !e.comes {
			if err := t.leave(e.vm); err != nil {
				return t.stats, err
			}
			continue
		}
		if err := t.worth.look(ctx); err != nil {
			return t.stats, err
		}
		ok, err := t.come(e.vm)
		if err != nil {
			return t.stats, err
		}
		if ok {
			placed++
		}
		tell.say("%s: %d of %d VMs, %d hosts in use", t.stats.Policy, e.vm+1, len(t.vms), t.used)
	}
	if err := t.advance(t.end); err != nil {
		return t.stats, err
	}
	if t.moves != nil {
		t.stats.Migrations = t.moves.done
	}
	if placed > 0 {
		t.stats.CPUPerPlacement = float64((cpuTime() - start).Nanoseconds()) / 1e3 / float64(placed)
	}
	first := 0.0
	if len(t.vms) > 0 {
		first = t.vms[0].arrive
	}
	if span := t.end - first; span > 0 {
		t.stats.AverageHosts, t.stats.AverageBound = t.sums.hosts/span, t.sums.bound/span
	}
	if t.sums.bound > 0 {
		t.stats.HostsOverBound = t.sums.hosts / t.sums.bound
	}
	return t.stats, nil
}

// advance lets time pass, and what is to be done meanwhile be done.
func (t *tide) advance(until float64) error {
	for t.moves != nil && t.moves.due() <= until {
		t.count(t.moves.due())
		if err := t.move(); err != nil {
			return err
		}
	}
	t.count(until)
	return nil
}

// count adds what was in use until then to the sums.
func (t *tide) count(until float64) {
	by := until - t.now
	t.sums.hosts += by * float64(t.used)
	t.sums.bound += by * max(float64(t.taken.cpu)/float64(t.host.cpu), float64(t.taken.mem)/float64(t.host.mem))
	t.now = until
}

// come places a VM. It is false if no host has room.
func (t *tide) come(i int) (bool, error) {
	v := &t.vms[i]
	var lives scheduler.Lives
	if t.lives != nil {
		lives = t.lives.expect(i)
	}
	d, err := t.place(v.size, moment(t.now), lives)
	switch {
	case errors.Is(err, pool.ErrNoRoom):
		until := v.end
		if until < 0 {
			until = t.end
		}
		t.stats.Rejected++
		t.stats.RejectedCoreHours += float64(v.size.cpu) / float64(pool.Core) * (until - v.arrive) / 3600
		return false, nil
	case err != nil:
		return false, err
	}
	t.at[i] = d
	t.moves.came(i, d.Host)
	t.lives.came(i, d.Host)
	t.worth.count(v.size, 1)
	t.taken.cpu, t.taken.mem = t.taken.cpu+v.size.cpu, t.taken.mem+v.size.mem
	t.stats.PeakHosts = max(t.stats.PeakHosts, t.used)
	return true, nil
}

// leave takes a VM away, if it was placed.
func (t *tide) leave(i int) error {
	d, v := &t.at[i], &t.vms[i]
	if d.Host == "" {
		return nil
	}
	if err := t.free(d); err != nil {
		return err
	}
	t.moves.went(i, d.Host)
	t.lives.went(i, t.now)
	t.worth.count(v.size, -1)
	*d = scheduler.Decision{}
	t.taken.cpu, t.taken.mem = t.taken.cpu-v.size.cpu, t.taken.mem-v.size.mem
	return nil
}
