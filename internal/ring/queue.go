package ring

import (
	"cmp"
	"container/heap"
	"errors"
	"iter"
	"maps"
	"reflect"
	"slices"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/scheduler"
)

// mostWaiting bounds the instances that wait for a place, of all projects together.
const mostWaiting = 10_000

// mayWait says whether an instance that has been refused for cause may wait: what stood in its way can pass, and there is
// room in the queue. What can never be placed is refused with its reason, since it would wait for ever.
func mayWait(st *pool.State, project, owner string, cause error) error {
	var full *scheduler.Refusal
	var over *quota.Exceeded
	switch {
	case errors.As(cause, &full):
		if full.Never {
			return cause
		}
	case errors.As(cause, &over):
		if over.Never {
			return cause
		}
	default:
		return cause
	}
	if st.WaitingCount() >= mostWaiting {
		return &pool.Error{Kind: pool.ErrUnavailable, Field: "wait", Want: "a queue with fewer instances in it; try again later"}
	}
	waiting, own := make(map[string]int64), int64(0) // by project
	for i := range st.Waiting() {
		waiting[i.Project]++
		if i.Project == project && i.Owner == owner {
			own++
		}
	}
	below := make(map[string]int64) // those that lie in a project included
	for name, n := range waiting {
		for p := range st.Above(name) {
			below[p.Name] += n
		}
	}
	one := func(name string, limits, used pool.Resources, more int64) error {
		p := &pool.ProjectRecord{Project: pool.Project{Name: name, Quota: limits}, Used: used.Clone()}
		p.Used[pool.Instances] += more
		return quota.Check(p, pool.Resources{pool.Instances: 1})
	}
	for p := range st.Above(project) {
		err := one(p.Name, p.Quota, p.Total(), below[p.Name])
		if err == nil && p.Name == project {
			err = one(p.Name, p.LimitsOf(owner), st.OwnerUsed(project, owner), own)
			if errors.As(err, &over) {
				over.Owner = owner
			}
		}
		if err != nil {
			if p.Name != project && errors.As(err, &over) {
				over.Asked = project
			}
			return err
		}
	}
	return nil
}

// Queue returns the instances that wait for a place in the order in which they are offered what becomes free: by priority;
// then the one for which a host's room is kept; then by the projects' shares, each counted with what those before
// would take; within a project by age.
//
// A project's share is the part that it has of the pool's capacity of the class of which it has most (dominant resource
// fairness: Ghodsi and others, NSDI 2011), divided by the project's weight.
func Queue(st *pool.State) []*pool.Instance {
	all := slices.SortedFunc(st.Waiting(), func(a, b *pool.Instance) int {
		return cmp.Or(cmp.Compare(b.Spec.Priority, a.Spec.Priority), cmp.Compare(keeps(b), keeps(a)),
			cmp.Compare(a.Launched, b.Launched), cmp.Compare(a.Index, b.Index), cmp.Compare(a.ID, b.ID))
	})
	shares := make(map[string]*sharer)
	out := make([]*pool.Instance, 0, len(all))
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].Spec.Priority == all[0].Spec.Priority {
			n++
		}
		out = fair(st, all[:n], shares, out)
		all = all[n:]
	}
	return out
}

func keeps(i *pool.Instance) int {
	if i.Awaits != "" {
		return 1
	}
	return 0
}

// sharer is a project in the queue.
type sharer struct {
	name   string
	used   pool.Resources
	weight float64
	share  float64
	queue  []*pool.Instance // of one priority
}

type sharers []*sharer

func (s sharers) Len() int { return len(s) }
func (s sharers) Less(i, j int) bool {
	return s[i].share < s[j].share || s[i].share == s[j].share && s[i].name < s[j].name
}
func (s sharers) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *sharers) Push(x any)   { *s = append(*s, x.(*sharer)) }
func (s *sharers) Pop() any {
	old := *s
	x := old[len(old)-1]
	*s = old[:len(old)-1]
	return x
}

// take charges what an instance would have to its project.
func (s *sharer) take(st *pool.State, i *pool.Instance) {
	demand, err := i.Spec.Demand()
	if err == nil {
		var sum pool.Resources
		if sum, err = s.used.Add(demand); err == nil {
			s.used = sum
		}
	}
	s.weigh(st)
}

func (s *sharer) weigh(st *pool.State) {
	s.share = 0
	for class, n := range s.used {
		if sum := st.Total(class); sum.Capacity > 0 {
			s.share = max(s.share, float64(n)/float64(sum.Capacity)/s.weight)
		}
	}
}

// fair appends instances of one priority, of which the first come first.
func fair(st *pool.State, of []*pool.Instance, shares map[string]*sharer, out []*pool.Instance) []*pool.Instance {
	var turn sharers
	for _, i := range of {
		s := shares[i.Project]
		if s == nil {
			s = &sharer{name: i.Project, weight: 1}
			if p, ok := st.Project(i.Project); ok {
				s.used, s.weight = p.Used, float64(max(1, p.Weight))
			}
			s.weigh(st)
			shares[i.Project] = s
		}
		if keeps(i) == 1 {
			out = append(out, i)
			s.take(st, i)
			continue
		}
		if len(s.queue) == 0 {
			turn = append(turn, s)
		}
		s.queue = append(s.queue, i)
	}
	heap.Init(&turn)
	for len(turn) > 0 {
		s := turn[0]
		out = append(out, s.queue[0])
		s.take(st, s.queue[0])
		if s.queue = s.queue[1:]; len(s.queue) > 0 {
			heap.Fix(&turn, 0)
		} else {
			heap.Pop(&turn)
		}
	}
	return out
}

// kept returns the scheduler with a filter more: hosts whose room is kept for one that waits are not for others, unless
// these have a higher priority. Of itself, if it waits, an instance keeps nothing away.
func (r *rules) kept(s *scheduler.Scheduler, st *pool.State, priority int, self pool.InstanceID) *scheduler.Scheduler {
	hosts := keptFrom(st, priority, self)
	if hosts == nil {
		return s
	}
	n := *s
	n.Filters = append(slices.Clip(s.Filters), func(_ scheduler.Request, h *pool.HostRecord) *scheduler.Reason {
		if hosts[h.ID] {
			return &scheduler.Reason{Detail: keptDetail}
		}
		return nil
	})
	return &n
}

const keptDetail = "its room is kept for an instance that waits"

// keptFrom returns the hosts whose room is kept from an instance of that priority; nil if there are none.
func keptFrom(st *pool.State, priority int, self pool.InstanceID) map[pool.HostID]bool {
	var hosts map[pool.HostID]bool
	for i := range st.Keeping() {
		if i.ID == self || i.Spec.Priority < priority {
			continue
		}
		if hosts == nil {
			hosts = make(map[pool.HostID]bool)
		}
		hosts[i.Awaits] = true
	}
	return hosts
}

// freed is what may let those who wait go on.
type freed struct {
	all      bool
	hosts    map[pool.HostID]struct{} // that have more room
	projects map[string]struct{}      // whose quota allows more
	first    bool                     // whoever is first may be another
}

// mostFreed is the number of hosts from which on all are looked at.
const mostFreed = 64

func (f *freed) any() bool { return f.all || f.first || len(f.hosts)+len(f.projects) > 0 }

func (f *freed) add(o freed) {
	f.all, f.first = f.all || o.all, f.first || o.first
	if f.hosts == nil {
		f.hosts, f.projects = make(map[pool.HostID]struct{}), make(map[string]struct{})
	}
	maps.Copy(f.hosts, o.hosts)
	maps.Copy(f.projects, o.projects)
	f.all = f.all || len(f.hosts) > mostFreed
}

// freedBy says what those who wait in o, an overlay of st, find that they did not find in st. It does not go by the kinds of
// the events but by what has become of the records, so that no event is forgotten.
func freedBy(st, o *pool.State) freed {
	var f freed
	if o.WaitingCount() == 0 {
		return f
	}
	f.add(freed{first: o.WaitingChanged(), all: o.Repriced() != st.Repriced()})
	for id, h := range o.ChangedHosts() {
		if old, _ := st.Host(id); h != nil && (old == nil || roomier(old, h)) {
			f.hosts[id] = struct{}{}
		}
	}
	for name, p := range o.ChangedProjects() {
		if old, _ := st.Project(name); p != nil && (old == nil || looser(old, p)) {
			f.projects[name] = struct{}{}
		}
	}
	for i := range st.Keeping() {
		if now, ok := o.Instance(i.ID); !ok || now.Awaits != i.Awaits {
			f.hosts[i.Awaits] = struct{}{}
			f.first = true
		}
	}
	return f
}

// roomier reports whether a host may take what it would not before.
func roomier(old, h *pool.HostRecord) bool {
	for class := range old.Used {
		if h.Used[class] < old.Used[class] {
			return true
		}
	}
	for device := range old.DeviceUsed {
		if h.DeviceUsed[device] < old.DeviceUsed[device] {
			return true
		}
	}
	return h.Conditions != old.Conditions || !maps.Equal(old.Full, h.Full) || !reflect.DeepEqual(old.Host, h.Host)
}

// looser reports whether a project, one that lies in it, or an owner there may take what it might not before.
func looser(old, p *pool.ProjectRecord) bool {
	for class := range old.Used {
		if p.Used[class] < old.Used[class] {
			return true
		}
	}
	for class := range old.Subtree {
		if p.Total()[class] < old.Subtree[class] {
			return true
		}
	}
	return !p.Project.Equal(old.Project)
}

// concerns reports whether a project's quota, or that of one that it lies in, allows more.
func (f *freed) concerns(st *pool.State, project string) bool {
	if len(f.projects) == 0 {
		return false
	}
	for p := range st.Above(project) {
		if _, ok := f.projects[p.Name]; ok {
			return true
		}
	}
	return false
}

// admit places those who wait, in their order, as far as what has been freed allows.
type admit struct {
	epoch int64
	freed freed
	more  *bool // set when there was no time for all
}

// mostAdmitted is how many are placed in one decision.
const mostAdmitted = 128

func (a admit) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	if st.Epoch() != a.epoch {
		return nil, errDropped
	}
	*a.more = false
	hosts := slices.Sorted(maps.Keys(a.freed.hosts))
	d := r.draft(st)
	refused := make(map[pool.ClusterID]bool) // of members that are alike one is enough
	for _, i := range Queue(st) {
		if i.Cluster != "" && refused[i.Cluster] {
			continue
		}
		if len(d.events) >= mostAdmitted || d.size > pool.MaxBatch/2 {
			*a.more = true
			break
		}
		on := hosts
		if a.freed.all || a.freed.concerns(st, i.Project) {
			on = nil
		} else if len(hosts) == 0 {
			continue
		}
		p, err := r.turn(d.st, i, on)
		switch {
		case errors.Is(err, pool.ErrNoRoom), errors.Is(err, pool.ErrOverQuota):
			refused[i.Cluster] = i.Cluster != ""
			continue
		case err != nil: // of an importer's filter, say: it is in nobody else's way
			continue
		}
		if err := d.add(pool.KindPlaced, &pool.Placed{Instance: i.ID, Place: p}); err != nil {
			return nil, err
		}
	}
	return d.done(), nil
}

// turn finds a place for an instance that waits: on one of the hosts, or on any.
func (r *rules) turn(st *pool.State, i *pool.Instance, hosts []pool.HostID) (pool.Placement, error) {
	demand, err := i.Spec.Demand()
	if err != nil {
		return pool.Placement{}, err
	}
	if err := quota.Allow(st, i.Project, i.Owner, demandOf(st, "", pool.Allocation{Resources: demand}, i.Spec.Flavor)); err != nil {
		return pool.Placement{}, err
	}
	req := r.anew(i, i.Spec, nil)
	if hosts != nil {
		if own := req.Spec.Constraints.Hosts; len(own) > 0 {
			hosts = slices.DeleteFunc(slices.Clone(hosts), func(h pool.HostID) bool { return !slices.Contains(own, h) })
			if len(hosts) == 0 {
				return pool.Placement{}, pool.ErrNoRoom
			}
		}
		req.Spec.Constraints.Hosts = hosts
	}
	req = r.expected(st, req)
	d, err := r.placing.choose(r.kept(r.scheduler, st, i.Spec.Priority, i.ID), st, req)
	if err == nil {
		err = quota.Allow(st, i.Project, i.Owner, demandOf(st, d.Host, d.Allocation, i.Spec.Flavor)) // on an aggregate the shape may be larger
	}
	if err == nil {
		r.placed(st, req, d.Host)
	}
	return pool.Placement{Number: i.Place.Number + 1, Host: d.Host, Allocation: d.Allocation}, err
}

// allowed yields those who wait, in their order, and whether their project's quota allows them now.
func allowed(st *pool.State) iter.Seq2[*pool.Instance, bool] {
	return func(yield func(*pool.Instance, bool) bool) {
		for _, i := range Queue(st) {
			demand, err := i.Spec.Demand()
			ok := err == nil && quota.Allow(st, i.Project, i.Owner, demandOf(st, "", pool.Allocation{Resources: demand}, i.Spec.Flavor)) == nil
			if !yield(i, ok) {
				return
			}
		}
	}
}
