package whatif

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// mostRefused bounds the kinds of refusal that are told apart; Outcome's numbers count all.
const mostRefused = 100

// run is one fleet on which the past happens again. Its fork has every instance that the recorded books have: those for
// which it has no place wait.
type run struct {
	*fork
	out  Run
	q    Question
	lost map[pool.HostID]bool

	busy map[pool.HostID]bool // servers with something on them
	area int64                // of servers in use and time, in milliseconds
	from time.Time            // of the measurement
	last time.Time

	groups map[*Outcome]map[string]int // where a refusal is counted, by what was asked for
}

// begin makes of the books the fleet that a question asks for.
func begin(ctx context.Context, p *Past, s *scheduler.Scheduler, q Question, placements int) (*run, error) {
	work, made := placements, 0
	if work <= 0 {
		work = defaultPlacements
	}
	st := p.Books.Clone()
	r := &run{
		fork: &fork{ctx: ctx, scheduler: s, st: st, index: scheduler.NewIndex(st), work: &work, made: &made},
		q:    q, busy: make(map[pool.HostID]bool), groups: make(map[*Outcome]map[string]int),
		out: Run{Peak: make(map[pool.Class]Peak)},
	}
	for _, o := range []*Outcome{&r.out.Displaced, &r.out.Launched, &r.out.Resized} {
		o.Refused = []Refused{}
	}
	if err := r.settle(); err != nil {
		return nil, err
	}
	if err := r.begin(p.Later); err != nil {
		return nil, err
	}
	for _, h := range r.st.SortedHosts() {
		if r.lost[h.ID] {
			if err := r.remove(h.ID); err != nil {
				return nil, err
			}
		}
	}
	for _, h := range r.st.SortedHosts() {
		r.touch(h.ID)
	}
	r.measure()
	return r, nil
}

// begin makes the fleet what the question asks for, where hosts that come later are there for that long.
func (r *run) begin(later []pool.Host) error {
	if len(r.q.Add)+len(r.q.Lose) == 0 {
		later = nil // nobody names them
	}
	for _, h := range later {
		if err := r.put(h); err != nil {
			return err
		}
	}
	lost, err := r.change(&r.q)
	if err != nil {
		return err
	}
	r.lost = lost
	for _, h := range later {
		if err := r.apply(pool.KindHostRemoved, &pool.HostRemoved{Host: h.ID}); err != nil {
			return err
		}
		r.index.Sync(r.st, h.ID)
	}
	return nil
}

// settle ends what is under way, so that each instance has one place: moves, resizes, creates, and what is held.
func (r *run) settle() error {
	for _, h := range slices.SortedFunc(r.st.Held(), func(a, b *pool.Held) int { return cmp.Compare(a.Machine, b.Machine) }) {
		if err := r.apply(pool.KindReleased, &pool.OfMachine{Machine: h.Machine}); err != nil {
			return err
		}
		r.index.Sync(r.st, h.Host)
	}
	for _, i := range slices.SortedFunc(r.st.Instances(), byID) {
		if !i.Placed() {
			continue
		}
		if i.Move != nil {
			if err := r.apply(pool.KindStayed, &pool.Stayed{Machine: i.Machine(), Reason: "what if"}); err != nil {
				return err
			}
			r.index.Sync(r.st, i.Move.Host)
		}
		kind := ""
		switch {
		case i.Resize != nil:
			kind = pool.KindResized
		case i.Phase == pool.Building:
			kind = pool.KindCreated
		}
		if kind != "" {
			if err := r.apply(kind, &pool.OfMachine{Machine: i.Machine()}); err != nil {
				return err
			}
		}
		r.index.Sync(r.st, i.Place.Host)
	}
	return nil
}

// touch notes that a host's record has changed.
func (r *run) touch(id pool.HostID) {
	r.index.Sync(r.st, id)
	if h, ok := r.st.Host(id); ok && h.Placed > 0 && !h.Aggregate() {
		r.busy[id] = true
	} else {
		delete(r.busy, id)
	}
}

// until measures the time up to a moment.
func (r *run) until(now, from time.Time) {
	if r.from.IsZero() {
		r.from, r.last = from, from
	}
	if d := now.Sub(r.last); d > 0 {
		r.area += int64(len(r.busy)) * d.Milliseconds()
		r.last = r.last.Add(d.Truncate(time.Millisecond))
	}
}

// measure notes how much is in use now.
func (r *run) measure() {
	r.out.Most = max(r.out.Most, len(r.busy))
	for c, sum := range r.st.Totals() {
		if p, ok := r.out.Peak[c]; !ok || sum.Used > p.Used {
			r.out.Peak[c] = Peak{Used: sum.Used, Capacity: sum.Capacity, At: r.moment()}
		}
	}
}

func (r *run) done(until time.Time) Run {
	r.until(until, until)
	if d := r.last.Sub(r.from).Milliseconds(); d > 0 {
		r.out.Hosts = float64(r.area) / float64(d)
	} else {
		r.out.Hosts = float64(len(r.busy))
	}
	return r.out
}

// host lets a host join, change or leave as it did.
func (r *run) host(id pool.HostID, old, now *pool.HostRecord) error {
	switch {
	case r.lost[id]:
		return nil
	case now == nil:
		return r.remove(id)
	case old == nil && slices.Contains(r.q.LoseZones, now.Zone):
		r.lost[id] = true // it would have been
		return nil
	case old != nil && reflect.DeepEqual(old.Host, now.Host):
		return nil // what is allocated on it has changed, or why it is as it is
	}
	h := now.Host
	if !h.Aggregate() {
		h = withRatios(h, r.q.Ratios)
	}
	if err := r.put(h); err != nil {
		return err
	}
	r.touch(id)
	return nil
}

// remove takes a host out, and places anew what is on it.
func (r *run) remove(id pool.HostID) error {
	if _, ok := r.st.Host(id); !ok {
		return nil
	}
	if err := r.lose(id); err != nil {
		return err
	}
	items, err := r.displaced(map[pool.HostID]bool{id: true}, r.st.InstancesOn(id))
	if err != nil {
		return err
	}
	for _, x := range items {
		if err := r.try(&r.out.Displaced, x); err != nil {
			return err
		}
	}
	for _, i := range slices.SortedFunc(r.st.InstancesOn(id), byID) { // no place, or being deleted
		if err := r.apply(pool.KindFailed, &pool.Ended{Instance: i.ID}); err != nil {
			return err
		}
	}
	if err := r.apply(pool.KindHostRemoved, &pool.HostRemoved{Host: id}); err != nil {
		return err
	}
	r.touch(id)
	return nil
}

// try places one item and counts it. The error is not that it was refused.
func (r *run) try(o *Outcome, x *item) error {
	err := r.place(x)
	if errors.Is(err, errWork) {
		return err
	}
	o.Asked++
	if err != nil {
		return r.refused(o, x, err)
	}
	o.Placed++
	i, _ := r.st.Instance(x.moves.ID)
	if err := r.apply(pool.KindCreated, &pool.OfMachine{Machine: i.Machine()}); err != nil {
		return err
	}
	r.touch(i.Place.Host)
	return nil
}

// refused counts a refusal, and returns an error that is none.
func (r *run) refused(o *Outcome, x *item, err error) error {
	var no *scheduler.Refusal
	if !errors.As(err, &no) {
		return err
	}
	key, err := x.alike()
	if err != nil {
		return err
	}
	if r.groups[o] == nil {
		r.groups[o] = make(map[string]int)
	}
	at, ok := r.groups[o][key]
	switch {
	case ok:
		o.Refused[at].Count++
	case len(o.Refused) < mostRefused:
		r.groups[o][key] = len(o.Refused)
		o.Refused = append(o.Refused, Refused{Count: 1, Name: x.name, Demand: no.Demand, Counts: no.Counts, Never: no.Never, Nearest: no.Nearest})
	}
	return nil
}

// leaves lets an instance give its place back, and end, as it did.
func (r *run) leaves(_ *pool.State, c change) error {
	if !c.left() && c.new != nil {
		return nil
	}
	i, ok := r.st.Instance(c.old.ID)
	if !ok {
		return nil
	}
	kind := pool.KindFailed
	if c.new == nil {
		kind = pool.KindDeleted
	} else if !i.Placed() {
		return nil
	}
	if err := r.apply(kind, &pool.Ended{Instance: i.ID}); err != nil {
		return err
	}
	if i.Placed() {
		r.touch(i.Place.Host)
	}
	return nil
}

// comes lets an instance begin, be placed, and be resized, as it was.
func (r *run) comes(books *pool.State, c change) error {
	if c.new == nil {
		return nil
	}
	if c.old == nil {
		if err := r.know(books, c.new); err != nil {
			return err
		}
	}
	i, ok := r.st.Instance(c.new.ID)
	switch {
	case !ok:
		return nil
	case c.came():
		n := c.new
		return r.try(&r.out.Launched, &item{moves: i, name: n.Name, request: scheduler.Request{
			Spec: n.Spec, Image: n.Image, Project: n.Project, Cluster: n.Cluster, Now: r.moment(),
		}})
	case c.old != nil && i.Phase == pool.Active && i.Resize == nil:
		return r.resize(c, i)
	}
	return nil
}

// know makes an instance one that waits for a place.
func (r *run) know(books *pool.State, i *pool.Instance) error {
	if _, ok := r.st.Project(i.Project); !ok {
		if err := r.apply(pool.KindProjectPut, &pool.Project{Name: i.Project}); err != nil {
			return err
		}
	}
	l := &pool.Launched{
		Instance: i.ID, Name: i.Name, Project: i.Project, Spec: i.Spec, Image: i.Image, Want: pool.Running,
		Waits: true, Cluster: i.Cluster, Index: i.Index,
	}
	if i.Cluster != "" {
		if err := r.knowCluster(books, i.Cluster); err != nil {
			return err
		}
	}
	return r.apply(pool.KindLaunched, l)
}

// knowCluster makes a cluster known, and forgets one that had its name before.
func (r *run) knowCluster(books *pool.State, id pool.ClusterID) error {
	now, ok := books.Cluster(id)
	if !ok {
		return nil // Apply says what is wrong
	}
	if c, ok := r.st.Cluster(id); ok {
		if c.Token == now.Token {
			return nil
		}
		if err := r.apply(pool.KindClusterRemoved, &pool.ClusterRemoved{Cluster: id}); err != nil {
			return err
		}
	}
	return r.apply(pool.KindClusterPut, &pool.ClusterPut{Cluster: id, Token: now.Token, Spec: now.Spec, Image: now.Image, Size: now.Size, Stagger: now.Stagger})
}

// resize gives an instance other sizes where it is, if it was given them.
func (r *run) resize(c change, i *pool.Instance) error {
	before, err := c.old.Spec.Demand()
	if err != nil {
		return err
	}
	after, err := c.new.Spec.Demand()
	if err != nil || before.Equal(after) {
		return err
	}
	h, ok := r.st.Host(i.Place.Host)
	if !ok {
		return nil
	}
	r.out.Resized.Asked++
	to, err := r.scheduler.Resize(h, i.Place.Allocation, c.new.Spec)
	if err != nil {
		return r.refused(&r.out.Resized, &item{name: i.Name, request: scheduler.Request{Spec: c.new.Spec}}, err)
	}
	sizes := pool.Sizes{Flavor: c.new.Spec.Flavor, Resources: c.new.Spec.Resources, Disks: c.new.Spec.Disks}
	if err := r.apply(pool.KindResizing, &pool.ResizeWanted{Instance: i.ID, Sizes: sizes, After: to, During: to}); err != nil {
		return err
	}
	if err := r.apply(pool.KindResized, &pool.OfMachine{Machine: i.Machine()}); err != nil {
		return err
	}
	r.out.Resized.Placed++
	r.touch(i.Place.Host)
	return nil
}
