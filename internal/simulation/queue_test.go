package simulation_test

import (
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/scheduler"
)

// counted counts what the queue did, with the commands.
func (m *monitor) counted(what string) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.w.counts[what]++
}

// within checks that an instance that has just been placed is within its project's quota.
func (m *monitor) within(e *pool.Event, id pool.InstanceID) {
	i, ok := m.st.Instance(id)
	if !ok {
		return
	}
	if p, ok := m.st.Project(i.Project); ok {
		for c, most := range p.Quota {
			if p.Used[c] > most {
				m.w.broken(leaks, "revision %d: project %s over its quota: %d of %d %s", e.Revision, i.Project, p.Used[c], most, c)
			}
		}
	}
}

// gaveWay checks that an instance that is made to give way has said that it may, and does so for one of higher priority
// that waits for its host.
func (m *monitor) gaveWay(e *pool.Event, id pool.InstanceID) {
	v, ok := m.st.Instance(id)
	if !ok || v.Spec.Preemptible == "" {
		m.w.broken(leaks, "revision %d: %s was made to give way, and never said that it may", e.Revision, id)
		return
	}
	for i := range m.st.Keeping() {
		if i.Awaits == v.Place.Host && i.Spec.Priority > v.Spec.Priority {
			return
		}
	}
	m.w.broken(leaks, "revision %d: %s of priority %d was made to give way to nobody of a higher one", e.Revision, id, v.Spec.Priority)
}

// waits checks, when all is calm, that an instance that waits could not be placed anywhere.
func (m *monitor) waits(i *pool.Instance) {
	demand, err := i.Spec.Demand()
	m.w.must(err)
	if quota.Allow(m.st, i.Project, i.Owner, quota.Demand(pool.Allocation{Resources: demand})) != nil {
		return
	}
	kept := make(map[pool.HostID]bool)
	for o := range m.st.Keeping() {
		if o.ID != i.ID && o.Spec.Priority >= i.Spec.Priority {
			kept[o.Awaits] = true
		}
	}
	for h := range m.st.Hosts() {
		if kept[h.ID] {
			continue
		}
		d, err := new(scheduler.Scheduler).PlaceAt(h, scheduler.Request{Spec: i.Spec, Image: i.Image, Project: i.Project, Now: m.st.Time()})
		if err != nil {
			continue
		}
		take := quota.Demand(d.Allocation)
		if take[pool.Cost] = m.cost(h.ID, d.Allocation.Resources); quota.Allow(m.st, i.Project, i.Owner, take) == nil {
			m.w.broken(stuck, "instance %s waits, and host %s has room for it", i.ID, h.ID)
			return
		}
	}
}
