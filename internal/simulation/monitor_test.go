package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/internal/alerting"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota/showback"
)

type (
	hostView    = fake.HostView
	machineView = fake.MachineView
)

// monitor looks at everything once in a virtual second. It folds the ledger itself, from the bytes that the
// store holds, and judges daemons and fleet by that.
type monitor struct {
	w        *world
	st       *pool.State
	log      []pool.Batch
	seen     map[string]bool // what has happened, for promises
	launches int
	changed  time.Time                     // when the last batch was seen
	held     map[pool.MachineID]time.Time  // since when
	born     map[pool.InstanceID]time.Time // when its launch was seen
	holdings map[pool.InstanceID]*holding  // what is reserved, or was

	tookOver   time.Time                // when the last leader did: what it sees it sees anew
	unrecorded map[unrecorded]time.Time // machines that the books do not speak of, since when
	orphans    map[unrecorded]bool      // those that have been reported
	over       int                      // seconds times hosts
	doubles    int
	touched    int

	sight        *sight          // who may see what, up to the last batch that was followed
	heads        []pool.Revision // of the ledger, second by second
	looks, shown int             // at things, and how often these were shown
}

// unrecorded names a machine on the fleet.
type unrecorded struct {
	host   pool.HostID
	native string
}

func newMonitor(w *world) *monitor {
	return &monitor{
		w: w, st: pool.NewState(w.state()...), seen: make(map[string]bool), held: make(map[pool.MachineID]time.Time), born: make(map[pool.InstanceID]time.Time),
		holdings: make(map[pool.InstanceID]*holding), sight: newSight(),
		unrecorded: make(map[unrecorded]time.Time), orphans: make(map[unrecorded]bool),
	}
}

func (m *monitor) saw(words ...string) { m.seen[fmt.Sprint(words)] = true }

// full reports whether instances take most of the fleet, or of a quota.
func (m *monitor) full() bool {
	used := int64(0)
	for p := range m.st.Projects() {
		used += p.Used[pool.Memory]
		if p.Used[pool.Instances] >= p.Quota[pool.Instances] {
			return true
		}
	}
	return used*10 > m.st.Totals()[pool.Memory].Capacity*7
}

// audit checks all that must hold at every moment.
func (m *monitor) audit() {
	before := m.st.Head()
	m.follow()
	m.heads = append(m.heads, m.st.Head())
	if m.st.Head() != before {
		m.sums()
	}
	m.reservations()
	leaders := 0
	for n := range m.w.seats {
		if p := m.w.at(n); p != nil {
			m.compare(p)
			if b := p.open(); b != nil && !p.paused() && b.Status().Leading {
				leaders++
			}
		}
	}
	if leaders > 1 && m.w.leases && !m.w.jumpy {
		m.w.broken(leaks, "%d daemons lead", leaders)
	}
	m.fleet()
}

// follow folds what has been appended, and checks each batch.
func (m *monitor) follow() {
	m.read(m.w.store.Archive(context.Background(), m.st.Head())) // what was compacted since
	m.read(m.w.store.Read(context.Background(), m.st.Head()))
}

func (m *monitor) read(batches iter.Seq2[pool.Batch, error]) {
	for b, err := range batches {
		if errors.Is(err, pool.ErrCompacted) { // just now: it is in the archive
			return
		}
		m.w.must(err)
		if b.Revision != m.st.Head()+1 {
			m.w.broken(leaks, "revision %d follows %d", b.Revision, m.st.Head())
		}
		for n := range b.Events {
			e := &b.Events[n]
			m.w.trace(func() string {
				return fmt.Sprintf("revision %d, %s: %s %s, epoch %d: %s", b.Revision, e.Time.Format(time.TimeOnly), e.Kind, e.Cause, e.Epoch, e.Data)
			})
			if e.Time.Before(m.st.Time()) || e.Epoch < m.st.Epoch() {
				m.w.broken(leaks, "revision %d, %s: time or epoch run back: %v, %d after %v, %d", b.Revision, e.Kind, e.Time, e.Epoch, m.st.Time(), m.st.Epoch())
			}
			m.toldAbout(e)
			var before map[scope]pool.Resources
			if charges(e) {
				before = m.charged()
			}
			if err := m.st.Apply(e); err != nil {
				m.w.broken(leaks, "revision %d, %s: %v", b.Revision, e.Kind, err)
			}
			m.sight.take(m.w, e)
			if before != nil {
				m.limited(e, before)
			}
			m.remember(e)
		}
		m.log = append(m.log, b)
		m.sight.at = b.Revision
		m.changed = time.Now()
	}
}

// remember keeps what promises ask for, and checks what an event books.
func (m *monitor) remember(e *pool.Event) {
	if strings.HasPrefix(e.Kind, alerting.Name+".") || strings.HasPrefix(e.Kind, auth.Name+".") || e.Kind == showback.KindSet || m.ofQuotas(e) {
		return
	}
	p, err := e.Payload()
	m.w.must(err)
	m.reserved(e, p)
	switch p := p.(type) {
	case *pool.TakenOver:
		m.tookOver = time.Now()
	case *pool.Launched:
		m.launches++
		m.born[p.Instance] = time.Now()
		project, id := p.Project, pool.NewInstanceID(m.st.Identity(), p.Project, p.Name) // its name is its token
		if p.Cluster != "" {
			project, id = p.Cluster.Project(), pool.NewClusterMember(m.st.Identity(), p.Cluster, p.Cluster.Name(), p.Index)
		}
		if p.Instance != id {
			m.w.broken(duplicates, "revision %d: %s was launched as %s, which nobody has asked for", e.Revision, p.Name, p.Instance)
		}
		m.saw("wanted", string(p.Instance), string(p.Want))
		m.booked(p.Place.Host)
		m.allowed(p.Instance, p.Place.Host)
		if r, ok := m.st.Project(project); ok && !p.Waits {
			for c, most := range r.Quota {
				if r.Used[c] > most {
					m.w.broken(leaks, "revision %d: project %s over its quota: %d of %d %s", e.Revision, project, r.Used[c], most, c)
				}
			}
		}
	case *pool.Placed:
		m.booked(p.Place.Host)
		m.allowed(p.Instance, p.Place.Host)
		if e.Cause == "admit" {
			m.counted("admitted")
			m.within(e, p.Instance)
		}
	case *pool.Moving:
		m.booked(p.Host)
		m.allowed(p.Instance, p.Host)
		if e.Cause == "rebalance" {
			m.w.count("command: moved by itself")
		}
		if strings.HasPrefix(e.Cause, "back from ") {
			m.w.count("command: brought back")
		}
	case *pool.Of:
		if e.Kind == pool.KindReplacing {
			m.w.count("command: replaced")
			if i, ok := m.st.Instance(p.Instance); !ok || !i.Spec.Replaceable {
				m.w.broken(leaks, "revision %d: %s is to be replaced, which it does not allow", e.Revision, p.Instance)
			}
		}
	case *pool.ResizeWanted:
		if i, ok := m.st.Instance(p.Instance); ok {
			m.booked(i.Place.Host)
		}
	case *pool.ClusterPut:
		m.saw("cluster", string(p.Cluster))
	case *pool.Observed:
		if p.Is == pool.Absent && m.isThere(p.Machine) {
			m.w.broken(leaks, "revision %d: machine %s is there and taken for missing", e.Revision, p.Machine)
		}
	case *pool.Wanted:
		m.saw("wanted", string(p.Instance), string(p.Want))
		if e.Cause == "admit" {
			m.counted("gave way")
			m.gaveWay(e, p.Instance)
		}
	case *pool.RebootWanted:
		m.saw("reboot", string(p.Instance), p.Token)
	case *pool.HostPut:
		m.saw("host put", string(p.Host.ID))
	case *pool.HostRemoved:
		m.saw("host removed", string(p.Host))
	case *pool.OfMachine:
		if e.Kind == pool.KindReleased {
			m.saw("released", string(p.Machine))
			delete(m.held, p.Machine)
		}
	}
}

// isThere reports whether a machine is on the host of its place. One of which a second may still appear counts as not
// there: it can have appeared since it was looked for.
func (m *monitor) isThere(id pool.MachineID) bool {
	of, _, _ := id.Split()
	i, ok := m.st.Instance(of)
	if !ok || i.Place.Doubt {
		return false
	}
	v, _ := m.w.fleet.InspectHost(i.Place.Host)
	return slices.ContainsFunc(v.Machines, func(x machineView) bool { return x.Tag.Machine == id && x.Power != fake.Debris })
}

// booked checks a host on which something has just been booked.
func (m *monitor) booked(id pool.HostID) {
	h, ok := m.st.Host(id)
	if !ok {
		return
	}
	if !h.Used.Fits(h.Capacity) {
		m.w.broken(leaks, "revision %d: host %s booked beyond its capacity: %v of %v", m.st.Head(), id, h.Used, h.Capacity)
	}
	for _, d := range h.Devices {
		if h.DeviceUsed[d.ID] > d.Capacity() {
			m.w.broken(leaks, "revision %d: device %s of %s booked beyond its capacity", m.st.Head(), d.ID, id)
		}
	}
}

// allowed checks that a host that has just been chosen for an instance is one that its constraints allow: it tolerates the
// host's taints, and no other member is there of a cluster whose members must not share one.
func (m *monitor) allowed(id pool.InstanceID, host pool.HostID) {
	i, ok := m.st.Instance(id)
	h, there := m.st.Host(host)
	if !ok || !there {
		return
	}
	for _, t := range h.Taints {
		if t.Effect == pool.NoSchedule && !slices.ContainsFunc(i.Spec.Constraints.Tolerations, func(o pool.Toleration) bool { return o.Tolerates(t) }) {
			m.w.broken(leaks, "revision %d: %s was placed on %s, whose taint %s it does not tolerate", m.st.Head(), id, host, t)
		}
	}
	if len(i.Spec.Constraints.AntiAffinity) == 0 {
		return
	}
	for o := range m.st.Instances() {
		if o.ID != id && o.Cluster == i.Cluster && o.Placed() && (o.Place.Host == host || o.Move != nil && o.Move.Host == host) {
			m.w.broken(leaks, "revision %d: %s was placed on %s, where %s is of the same cluster", m.st.Head(), id, host, o.ID)
		}
	}
}

// sums adds up all allocations and compares them with what the books say is used.
func (m *monitor) sums() {
	type sum struct {
		res    map[pool.Class]int64
		device map[string]int64
	}
	used := make(map[string]*sum) // by host or project
	add := func(who string, a pool.Allocation, instances int64) {
		s := used[who]
		if s == nil {
			s = &sum{make(map[pool.Class]int64), make(map[string]int64)}
			used[who] = s
		}
		for c, n := range a.Resources {
			s.res[c] += n
		}
		for _, c := range a.Claims {
			s.device[c.Device] += c.Amount
		}
		if instances > 0 {
			s.res[pool.Instances] += instances
		}
	}
	for i := range m.st.Instances() {
		if i.Placed() {
			add("project "+i.Project, i.Place.Allocation, 1)
			used["project "+i.Project].res[pool.Cost] += m.cost(i.Place.Host, i.Place.Allocation.Resources)
			add(string(i.Place.Host), i.Place.Allocation, 0)
			if i.Move != nil {
				add(string(i.Move.Host), i.Move.Allocation, 0)
			}
		}
	}
	now := time.Now()
	for h := range m.st.Held() {
		add(string(h.Host), h.Allocation, 0)
		if _, known := m.held[h.Machine]; !known {
			m.held[h.Machine] = now
		}
	}
	same := func(who string, have pool.Resources) {
		want := pool.Resources{}
		if s := used[who]; s != nil {
			want = s.res
		}
		if !have.Equal(want) {
			m.w.broken(leaks, "%s uses %v, its allocations are %v", who, have, want)
		}
	}
	for p := range m.st.Projects() {
		same("project "+p.Name, p.Used)
	}
	m.tenantSums()
	for h := range m.st.Hosts() {
		same(string(h.ID), h.Used)
		for d, n := range h.DeviceUsed {
			if s := used[string(h.ID)]; s == nil || s.device[d] != n {
				m.w.broken(leaks, "device %s of %s: %d used, which is not the sum", d, h.ID, n)
			}
		}
	}
}

// compare checks that a daemon's books are those of the ledger up to some revision.
func (m *monitor) compare(p *process) {
	b := p.open()
	if b == nil {
		return
	}
	b.View(func(st *pool.State) {
		defer m.watch(p, st)
		if st.Head() == p.checked {
			return
		}
		if st.Head() > m.st.Head() {
			m.follow() // it was appended since
		}
		want := m.st
		switch {
		case st.Head() > m.st.Head():
			m.w.broken(leaks, "%s shows revision %d, the ledger has %d", p.name, st.Head(), m.st.Head())
			return
		case st.Head() < m.st.Head():
			if p.mirror == nil {
				p.mirror = pool.NewState(m.w.state()...)
			}
			want = p.mirror
			for want.Head() < st.Head() {
				events := m.log[want.Head()].Events
				for n := range events {
					m.w.must(want.Apply(&events[n]))
				}
			}
		default:
			p.mirror = nil
		}
		if why := differ(st, want, p.checked); why != "" {
			m.w.broken(leaks, "%s at revision %d: %s", p.name, st.Head(), why)
		}
		p.checked = st.Head()
	})
}

// fleet looks at what is physically there.
func (m *monitor) fleet() {
	if n := len(m.w.fleet.Doubles()); n > m.doubles {
		m.doubles = n
		m.w.broken(duplicates, "an instance runs twice: %+v", m.w.fleet.Doubles()[n-1])
	}
	if n := len(m.w.fleet.Touched()); n > m.touched {
		m.touched = n
		m.w.broken(strangers, "a stranger's machine was touched: %+v", m.w.fleet.Touched()[n-1])
	}
	now, foreign := time.Now(), 0
	for _, h := range m.w.fleet.Inspect() {
		if len(h.Over) > 0 {
			m.over++
			m.w.broken(overcommit, "host %s is over its capacity: %v", h.Host.ID, h.Over)
		}
		for _, x := range h.Machines {
			if x.Foreign {
				foreign++
				continue
			}
			at := unrecorded{h.Host.ID, x.Native}
			if m.named(x.Ref) {
				delete(m.unrecorded, at)
				continue
			}
			since, known := m.unrecorded[at]
			if !known {
				m.w.stray(fmt.Sprintf("machine %s, %s on %s", x.Tag.Machine, x.Power, h.Host.ID))
				m.unrecorded[at] = now
			} else if now.Sub(since) > orphanAge && now.Sub(m.tookOver) > orphanAge && !m.orphans[at] {
				m.orphans[at] = true
				m.w.broken(orphans, "machine %s on %s has no record", x.Tag.Machine, h.Host.ID)
			}
		}
	}
	m.shelf()
	if foreign != m.w.foreign {
		m.w.broken(strangers, "%d foreign machines, there were %d", foreign, m.w.foreign)
		m.w.foreign = foreign
	}
}

// shelf checks that what the books say is put aside is there.
func (m *monitor) shelf() {
	there := make(map[pool.MachineID]bool)
	for _, x := range m.w.fleet.Shelf() {
		there[x.Tag.Machine] = true
	}
	for i := range m.st.Instances() {
		if i.Kept() && i.Want != pool.Absent && !i.Started && !there[i.Shelf.Machine] {
			m.w.broken(leaks, "the disks of instance %s, which is %s, are not put aside", i.ID, i.Status())
		}
	}
}

// named reports whether the books speak of a machine.
func (m *monitor) named(r hypervisor.Ref) bool {
	if h, ok := m.st.HeldMachine(r.Machine); ok && h.Launched == r.Launched {
		return true
	}
	id, n, _ := r.Machine.Split()
	i, ok := m.st.Instance(id)
	return ok && i.Placed() && i.Phase != pool.Reserved && i.Place.Number == n && i.Launched == r.Launched && (i.Place.Host == r.Host || i.Move != nil && i.Move.Host == r.Host)
}

// differ says in what two States at the same revision differ, looking at the records changed after a revision.
func differ(a, b *pool.State, after pool.Revision) string {
	if a.Identity() != b.Identity() || a.Epoch() != b.Epoch() || a.Holder() != b.Holder() || !a.Time().Equal(b.Time()) {
		return "identity, epoch, holder or time"
	}
	if a.InstanceCount() != b.InstanceCount() || a.HostCount() != b.HostCount() {
		return fmt.Sprintf("%d instances and %d hosts, not %d and %d", a.InstanceCount(), a.HostCount(), b.InstanceCount(), b.HostCount())
	}
	for i := range a.Instances() {
		if j, ok := b.Instance(i.ID); !ok || i.Changed > after && !sameInstance(i, j) {
			return fmt.Sprintf("instance %+v, not %+v", i, j)
		}
	}
	for h := range a.Hosts() {
		g, ok := b.Host(h.ID)
		if !ok || h.Changed > after && (h.Conditions != g.Conditions || h.Reason != g.Reason || h.Placed != g.Placed || h.Held != g.Held ||
			!h.Used.Equal(g.Used) || !h.Capacity.Equal(g.Capacity)) {
			return fmt.Sprintf("host %+v, not %+v", h, g)
		}
	}
	for p := range a.Projects() {
		if q, ok := b.Project(p.Name); !ok || !p.Used.Equal(q.Used) || !p.Total().Equal(q.Total()) || !p.Project.Equal(q.Project) || p.Members != q.Members {
			return fmt.Sprintf("project %+v, not %+v", p, q)
		}
	}
	for h := range a.Held() {
		if _, ok := b.HeldMachine(h.Machine); !ok {
			return fmt.Sprintf("held %+v", h)
		}
	}
	return ""
}

func sameInstance(a, b *pool.Instance) bool {
	type key struct {
		id             pool.InstanceID
		want, is       pool.Power
		phase          pool.Phase
		reason         string
		number         int
		host           pool.HostID
		sent, doubt    bool
		done, asked    int
		launched, last pool.Revision
		created        pool.Revision
	}
	of := func(i *pool.Instance) key {
		return key{i.ID, i.Want, i.Is, i.Phase, i.Reason, i.Place.Number, i.Place.Host, i.Place.Sent, i.Place.Doubt, i.Rebooted, i.Reboots, i.Launched, i.Changed, i.Created}
	}
	return of(a) == of(b) && a.Place.Allocation.Resources.Equal(b.Place.Allocation.Resources)
}
