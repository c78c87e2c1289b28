package ring

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/lifetime"
)

// What the tests reach of the pure parts.

func Plan(i *pool.Instance, h *pool.HostRecord, e Evacuation) string { return string(plan(i, h, e)) }

type Knowledge struct {
	SentHere bool
	Unknown  int
	Since    time.Time
}

func (k Knowledge) inner() knowledge {
	return knowledge{sentHere: k.SentHere, unknown: k.Unknown, since: k.Since}
}

func MayCreateAgain(k Knowledge, c hypervisor.Capabilities, listed time.Time) (bool, time.Time) {
	return mayCreateAgain(k.inner(), c, listed)
}

func MayRelease(since time.Time, c hypervisor.Capabilities, listed time.Time) (bool, time.Time) {
	return settled(since, c, listed)
}

func Doubtful(i *pool.Instance, k Knowledge) bool { return doubtful(i, k.inner()) }

func SortOut(st *pool.State, machines []hypervisor.Machine, head pool.Revision) (strays []hypervisor.Machine, unknown []Unknown, others pool.Resources) {
	return sortOut(st, machines, head)
}

func Judge(st *pool.State, m hypervisor.Machine) (stray bool, why string) { return judge(st, m) }

// SameKind reports whether what is remembered of a launch with spec a would do for one with spec b.
func SameKind(a, b pool.Spec) bool { return plain(&b) && (&kind{asked: a}).is(&b) }

// Report submits the result of a driver call as the leader of that epoch would.
func (r *Ring) Report(ctx context.Context, epoch int64, kind string, machine pool.MachineID, is pool.Power) error {
	_, err := r.submit(ctx, result{epoch: epoch, kind: kind, machine: machine, is: is}, Caller{Actor: self})
	return err
}

// Planner is a leader that plans and has no hands: no call may be under way on any host.
type Planner struct{ l *leadership }

// Planner returns one. MaxCalls of the ring's Config must be 0.
func (r *Ring) Planner() *Planner {
	l := &leadership{
		r: r, ctx: r.life, stop: func() {}, wake: make(chan struct{}, 1), ready: make(map[job]struct{}),
		waiting: make(map[pool.HostID][]job), turns: make(map[pool.ClusterID]int), paused: make(map[job]backoff),
		reserved: make(map[pool.InstanceID]time.Time),
	}
	return &Planner{l}
}

// Due makes that instances are planned for in the next round.
func (p *Planner) Due(ids []pool.InstanceID) {
	clear(p.l.waiting)
	for _, id := range ids {
		p.l.due(job{instance: id})
	}
}

// halt orders instances to stop, all in one batch or few.
type halt []pool.InstanceID

func (h halt) decide(*rules, *pool.State) (out []pool.Event, err error) {
	for _, id := range h {
		e, err := one(pool.KindWanted, &pool.Wanted{Instance: id, Want: pool.Stopped})
		if err != nil {
			return nil, err
		}
		out = append(out, e...)
	}
	return out, nil
}

// Halt orders instances to stop.
func (r *Ring) Halt(ctx context.Context, ids []pool.InstanceID) error {
	for part := range slices.Chunk(ids, 1000) {
		if _, err := r.submit(ctx, halt(part), Caller{Actor: self}); err != nil {
			return err
		}
	}
	return nil
}

// Round plans for everything that is due, and returns how many instances wait for a call then.
func (p *Planner) Round() (waiting int) {
	p.l.dispatch()
	for _, jobs := range p.l.waiting {
		waiting += len(jobs)
	}
	return waiting
}

func (r *Ring) CatchUp(ctx context.Context) error { return r.catchUp(ctx) }

var ErrDropped = errDropped

// Seen decides on a complete list of a host's machines that has been begun now, and SeenHosts on a driver's of
// its hosts.
func Seen(st *pool.State, host pool.HostID, machines []hypervisor.Machine) ([]pool.Event, error) {
	o := machinesSeen{epoch: st.Epoch(), host: host, head: st.Head(), machines: machines}
	for i := range st.InstancesOn(host) {
		o.expected = append(o.expected, i.ID)
	}
	return o.decide(&rules{}, st)
}

func SeenHosts(st *pool.State, driver string, hosts ...pool.Host) ([]pool.Event, error) {
	o := hostsSeen{epoch: st.Epoch(), driver: driver, hosts: hosts, listed: make(map[pool.HostID]bool)}
	for _, h := range hosts {
		o.listed[h.ID] = true
	}
	return o.decide(&rules{}, st)
}

// Wire sends an error across processes and back.
func Wire(err error) *WireError { return (*WireError)(toWire(err, nil)) }

type WireError wireError

func (w *WireError) Err() error { return (*wireError)(w).err(nil) }

// Index returns how far the index of the hosts is from what the State has, as errors: both explain requests, and it is
// told where they do not say the same. It is false if there is no index yet.
func (r *Ring) Index(reqs ...scheduler.Request) (bool, error) {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	if r.index.index == nil {
		return false, nil
	}
	var errs []error
	for _, req := range reqs {
		want, err := r.rules.scheduler.Explain(r.st, req)
		if err != nil {
			return true, err
		}
		a, err := r.rules.scheduler.Ask(req)
		if err != nil {
			return true, err
		}
		if got, err := r.index.index.Explain(a); err != nil || !reflect.DeepEqual(want, got) {
			errs = append(errs, fmt.Errorf("the State says %+v, the index %+v (%v)", want, got, err))
		}
	}
	return true, errors.Join(errs...)
}

// Kept is what is to be kept for whom.
type Kept struct {
	Instance  pool.InstanceID
	Host, Now pool.HostID
	Victims   []pool.InstanceID
}

// Keeping plans what is to be kept for whom, once hosts have been freed, or in all books; every host can shelve.
func Keeping(st *pool.State, preempt bool, hosts ...pool.HostID) *Kept {
	r := &rules{scheduler: &scheduler.Scheduler{}, preempt: preempt, capabilities: func(pool.HostID) hypervisor.Capabilities {
		return hypervisor.Capabilities{Abilities: []hypervisor.Ability{hypervisor.CanShelve}}
	}}
	f := freed{all: len(hosts) == 0}
	for _, h := range hosts {
		f.add(freed{hosts: map[pool.HostID]struct{}{h: {}}})
	}
	k := r.keeping(st, f, nil)
	if k == nil {
		return nil
	}
	return &Kept{Instance: k.instance, Host: k.host, Now: k.now, Victims: k.victims}
}

// Lives is what placements know of how long instances live.
type Lives struct{ l lives }

// Follow learns what an overlay has changed.
func (x *Lives) Follow(o *pool.State) { x.l.follow(o) }

// Expect looks, and returns how long an instance of a class is expected to live.
func (x *Lives) Expect(c lifetime.Class, now time.Time) time.Duration {
	x.l.book.Look(now)
	return x.l.book.Expect(c)
}
