package pool

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"time"
)

// State is the fold of a ledger's events: the books. Apply is the only way to change it.
//
// The records it hands out (*HostRecord, *Instance, *ProjectRecord, *Cluster, *Held, *Image, *Flavor) are
// immutable: a change replaces them, so that they may be kept; but of an overlay those of projects and clusters, and what those
// of hosts say is used, only until the next event. The State itself is not safe for concurrent use; its owner guards it with a lock.
type State struct {
	identity identity
	holder   string
	epoch    int64
	head     Revision
	time     time.Time

	hosts     table[HostID, *HostRecord]
	removed   table[HostID, Revision] // hosts taken out by an operator, not to be admitted again by themselves
	instances table[InstanceID, *Instance]
	waiting   table[InstanceID, struct{}] // of those, the ones that wait for a place
	keeping   table[InstanceID, struct{}] // and of these, the ones for which a host's room is kept
	ended     graves
	held      table[MachineID, *Held]
	images    table[string, *Image]
	flavors   table[string, *Flavor]
	projects  table[string, *ProjectRecord]
	owners    table[owned, Resources] // what the instances of each owner take of each project, if any
	clusters  table[ClusterID, *Cluster]
	totals    table[Class, Sum]
	parts     []Part // in the order of their names; see foldPart
	pricer    int    // which of them is the Pricer, counted from 1; 0: none
	repriced  Revision

	changes []HostID // of an overlay: see HostChanges
	shared  bool     // of an overlay: its records are another State's too
	edited  []edited // of an overlay: see takeBack

	// Kept only by a State that is no overlay: committed facts are what plan and observations work on.
	root      bool
	unsettled map[InstanceID]struct{}
	onHost    map[HostID]map[InstanceID]struct{}
	heldOn    map[HostID]map[MachineID]struct{}
}

// HostRecord is a host with what is allocated on it.
type HostRecord struct {
	Host
	Reason     string           // of the last change of conditions
	Cold       bool             // while Draining: instances may be stopped for their move
	Proof      string           // while Fenced: how it is known that the host is off
	Capacity   Resources        // what allocations may take in sum
	Used       Resources        // what instances and held allocations take
	DeviceUsed map[string]int64 // by Device.ID
	GPULoads   []GPULoad        // the allocations that take GPUs, by size, in the order of GPULoad.Compare
	Full       map[string]Full  // of an aggregate: the shapes that it has refused for want of room, by name
	Placed     int              // instances placed on it, those that are being moved to it included
	Peers      []Peers          `json:"-"` // of those, how many of each Peer that has a cluster or labels, in order
	Held       int              // held allocations on it
	Changed    Revision         // of the last change of this record

	fresh bool // of an overlay: it has made the maps of what is used, and nobody else has them but its former records
}

// Free returns the capacity that is left, per class; below zero where the host has shrunk under its load.
func (h *HostRecord) Free() Resources {
	free := h.Capacity.Clone()
	for c, n := range h.Used {
		free[c] -= n
	}
	return free
}

// Tombstone is what remains of an instance that has ended: enough to know its machines as ours and dead.
type Tombstone struct {
	Launched Revision // of its launch, which its machines' tags name; or Expired, or Released
	Ended    Revision
}

// What Tombstone.Launched is of a reservation that was never committed: there was no launch, and there are no machines.
const (
	Expired  Revision = 0
	Released Revision = -1
)

// NewState returns the State of an empty ledger, with those parts, which know nothing yet. Their names differ, and are not the
// beginning of a kind of the pool's own.
func NewState(parts ...Part) *State {
	parts = partsOf(parts)
	return &State{
		parts:     parts,
		pricer:    pricerOf(parts),
		root:      true,
		unsettled: make(map[InstanceID]struct{}),
		onHost:    make(map[HostID]map[InstanceID]struct{}),
		heldOn:    make(map[HostID]map[MachineID]struct{}),
	}
}

// Overlay returns a State that reads through to s and keeps its own changes to itself. It costs
// next to nothing and is valid until s is changed.
func (s *State) Overlay() *State {
	o := new(State)
	s.OverlayInto(o)
	return o
}

// OverlayInto is Overlay in the space of an overlay that is not needed any more, also one that has been absorbed: where
// overlays come and go they need not be made anew.
func (s *State) OverlayInto(o *State) {
	o.identity, o.holder, o.epoch, o.head, o.time = s.identity, s.holder, s.epoch, s.head, s.time
	s.hosts.overlay(&o.hosts)
	s.removed.overlay(&o.removed)
	s.instances.overlay(&o.instances)
	s.waiting.overlay(&o.waiting)
	s.keeping.overlay(&o.keeping)
	o.ended = s.ended.overlay()
	s.held.overlay(&o.held)
	s.images.overlay(&o.images)
	s.flavors.overlay(&o.flavors)
	s.projects.overlay(&o.projects)
	s.owners.overlay(&o.owners)
	s.clusters.overlay(&o.clusters)
	s.totals.overlay(&o.totals)
	o.parts, o.pricer, o.repriced = s.parts, s.pricer, s.repriced
	o.changes, o.shared = o.changes[:0], false
}

// mayEdit reports whether records that this State has made itself may be changed in their place: those of an overlay, which
// nobody keeps.
func (s *State) mayEdit() bool { return !s.root && !s.shared }

// Absorb makes the changes of o, an overlay of s, those of s itself; o must not be used again. The result
// is the same as that of applying to s the events that were applied to o. It costs as much as there are
// changes.
func (s *State) Absorb(o *State) {
	if s.root {
		for id, n := range o.instances.own {
			old, _ := s.instances.get(id)
			if old != nil || n.present {
				s.index(old, n.v)
			}
		}
		for m, n := range o.held.own {
			if old, ok := s.held.get(m); ok {
				s.unindexHeld(old)
			}
			if n.present {
				s.indexHeld(n.v)
			}
		}
	}
	s.identity, s.holder, s.epoch, s.head, s.time = o.identity, o.holder, o.epoch, o.head, o.time
	if s.root {
		for _, h := range o.hosts.own {
			if h.present {
				h.v.fresh = false
			}
		}
	}
	s.hosts.absorb(&o.hosts)
	if !s.root {
		s.changes = append(s.changes, o.changes...)
	}
	s.removed.absorb(&o.removed)
	s.instances.absorb(&o.instances)
	s.waiting.absorb(&o.waiting)
	s.keeping.absorb(&o.keeping)
	s.ended.absorb(&o.ended)
	s.held.absorb(&o.held)
	s.images.absorb(&o.images)
	s.flavors.absorb(&o.flavors)
	s.projects.absorb(&o.projects)
	s.owners.absorb(&o.owners)
	s.clusters.absorb(&o.clusters)
	s.totals.absorb(&o.totals)
	s.parts, s.repriced = o.parts, o.repriced
}

// Clone returns an independent State with the same content. Its cost grows with the number of records.
func (s *State) Clone() *State {
	if !s.root {
		s.shared = true
	}
	c := &State{
		identity: s.identity, holder: s.holder, epoch: s.epoch, head: s.head, time: s.time,
		hosts: s.hosts.clone(), removed: s.removed.clone(), instances: s.instances.clone(),
		waiting: s.waiting.clone(), keeping: s.keeping.clone(), ended: s.ended.clone(), held: s.held.clone(), images: s.images.clone(),
		flavors: s.flavors.clone(), projects: s.projects.clone(), owners: s.owners.clone(), clusters: s.clusters.clone(), totals: s.totals.clone(), parts: s.parts, pricer: s.pricer, repriced: s.repriced,
		root:      true,
		unsettled: make(map[InstanceID]struct{}),
		onHost:    make(map[HostID]map[InstanceID]struct{}),
		heldOn:    make(map[HostID]map[MachineID]struct{}),
	}
	for _, i := range c.instances.all() {
		c.index(nil, i)
	}
	for _, h := range c.held.all() {
		c.indexHeld(h)
	}
	return c
}

// Identity returns the ledger's random identity, empty before the first event.
func (s *State) Identity() string { return s.identity.name }

// Head returns the revision of the last event applied.
func (s *State) Head() Revision { return s.head }

// Epoch returns the epoch of the newest leader, zero before the first.
func (s *State) Epoch() int64 { return s.epoch }

// Holder returns the name of the newest leader.
func (s *State) Holder() string { return s.holder }

// Time returns the time of the last event.
func (s *State) Time() time.Time { return s.time }

// Host returns the host with that id.
func (s *State) Host(id HostID) (*HostRecord, bool) { return s.hosts.get(id) }

// Hosts yields all hosts in no order.
func (s *State) Hosts() iter.Seq[*HostRecord] { return values(&s.hosts) }

// HostCount returns the number of hosts.
func (s *State) HostCount() int { return s.hosts.n }

// HostRemoved reports whether an operator has removed the host, and when.
func (s *State) HostRemoved(id HostID) (Revision, bool) { return s.removed.get(id) }

// Instance returns the instance with that id. An instance that has been deleted is not found; see Ended.
func (s *State) Instance(id InstanceID) (*Instance, bool) { return s.instances.get(id) }

// Instances yields all instances in no order.
func (s *State) Instances() iter.Seq[*Instance] { return values(&s.instances) }

// InstanceCount returns the number of instances.
func (s *State) InstanceCount() int { return s.instances.n }

// Ended returns what remains of a deleted instance.
func (s *State) Ended(id InstanceID) (Tombstone, bool) { return s.ended.get(id) }

// Held yields the held allocations in no order.
func (s *State) Held() iter.Seq[*Held] { return values(&s.held) }

// HeldMachine returns the held allocation of that machine.
func (s *State) HeldMachine(m MachineID) (*Held, bool) { return s.held.get(m) }

// Image returns the image of that name.
func (s *State) Image(name string) (*Image, bool) { return s.images.get(name) }

// Images yields all images in no order.
func (s *State) Images() iter.Seq[*Image] { return values(&s.images) }

// Flavor returns the flavor of that name.
func (s *State) Flavor(name string) (*Flavor, bool) { return s.flavors.get(name) }

// Flavors yields all flavors in no order.
func (s *State) Flavors() iter.Seq[*Flavor] { return values(&s.flavors) }

// Project returns the project of that name.
func (s *State) Project(name string) (*ProjectRecord, bool) { return s.projects.get(name) }

// Projects yields all projects in no order.
func (s *State) Projects() iter.Seq[*ProjectRecord] { return values(&s.projects) }

// Cluster returns the cluster with that id.
func (s *State) Cluster(id ClusterID) (*Cluster, bool) { return s.clusters.get(id) }

// Clusters yields all clusters in no order.
func (s *State) Clusters() iter.Seq[*Cluster] { return values(&s.clusters) }

// Totals returns the sums over all hosts per class. The map is the caller's.
func (s *State) Totals() map[Class]Sum { return maps.Collect(s.totals.all()) }

// Total returns the sum of one class over all hosts.
func (s *State) Total(c Class) Sum {
	sum, _ := s.totals.get(c)
	return sum
}

// Over reports whether s is an overlay that was made of base itself.
func (s *State) Over(base *State) bool { return base != nil && s.hosts.base == &base.hosts }

// ChangedHosts yields the hosts of an overlay whose records are not those of the State under it, in no order. A
// host that it has removed comes with nil.
func (s *State) ChangedHosts() iter.Seq2[HostID, *HostRecord] {
	return func(yield func(HostID, *HostRecord) bool) {
		for id, h := range s.hosts.own {
			if !yield(id, h.v) { // which is nil where it hides an entry
				return
			}
		}
	}
}

// HostChanges returns the hosts whose records the events applied to an overlay have changed, in that order, each as often
// as it was changed: who follows an overlay goes on where the list ended before. It must not be changed.
func (s *State) HostChanges() []HostID { return s.changes }

func (s *State) noteHost(id HostID) {
	if !s.root {
		s.changes = append(s.changes, id)
	}
}

// ChangedInstances yields the instances of an overlay whose records are not those of the State under it, in no order. One
// that has been deleted comes with nil.
func (s *State) ChangedInstances() iter.Seq2[InstanceID, *Instance] {
	return func(yield func(InstanceID, *Instance) bool) {
		for id, i := range s.instances.own {
			if !yield(id, i.v) {
				return
			}
		}
	}
}

// ChangedProjects yields the projects of an overlay whose records are not those of the State under it, in no order. One that
// it has removed comes with nil.
func (s *State) ChangedProjects() iter.Seq2[string, *ProjectRecord] {
	return func(yield func(string, *ProjectRecord) bool) {
		for name, p := range s.projects.own {
			if !yield(name, p.v) {
				return
			}
		}
	}
}

// Unsettled yields the instances whose want differs from their is, and those of which a second machine may still
// appear. Only for a State that is no overlay.
func (s *State) Unsettled() iter.Seq[*Instance] {
	return func(yield func(*Instance) bool) {
		for id := range s.unsettled {
			if i, _ := s.instances.get(id); !yield(i) {
				return
			}
		}
	}
}

// InstancesOn yields the instances placed on a host, in no order. Only for a State that is no overlay.
func (s *State) InstancesOn(host HostID) iter.Seq[*Instance] {
	return func(yield func(*Instance) bool) {
		for id := range s.onHost[host] {
			if i, _ := s.instances.get(id); !yield(i) {
				return
			}
		}
	}
}

// HeldOn yields the held allocations on a host, in no order. Only for a State that is no overlay.
func (s *State) HeldOn(host HostID) iter.Seq[*Held] {
	return func(yield func(*Held) bool) {
		for m := range s.heldOn[host] {
			if h, _ := s.held.get(m); !yield(h) {
				return
			}
		}
	}
}

// SortedHosts returns all hosts by id.
func (s *State) SortedHosts() []*HostRecord {
	return slices.SortedFunc(s.Hosts(), func(a, b *HostRecord) int { return cmp.Compare(a.ID, b.ID) })
}

// SortedInstances returns all instances in the order of their launches, those of one batch by id.
func (s *State) SortedInstances() []*Instance {
	return slices.SortedFunc(s.Instances(), func(a, b *Instance) int {
		return cmp.Or(cmp.Compare(a.Launched, b.Launched), cmp.Compare(a.ID, b.ID))
	})
}

func values[K comparable, V any](t *table[K, V]) iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, v := range t.all() {
			if !yield(v) {
				return
			}
		}
	}
}

func (s *State) setInstance(old, new *Instance) {
	switch {
	case new == nil:
		s.instances.del(old.ID)
	case old == nil:
		s.instances.add(new.ID, new)
	default:
		s.instances.replace(new.ID, new)
	}
	member(&s.waiting, old, new, (*Instance).waits)
	member(&s.keeping, old, new, (*Instance).keeps)
	if s.root {
		s.index(old, new)
	}
}

// member keeps the set of those of which a condition holds.
func member(t *table[InstanceID, struct{}], old, new *Instance, is func(*Instance) bool) {
	switch was := old != nil && is(old); {
	case new != nil && is(new):
		t.set(new.ID, struct{}{})
	case was:
		t.del(old.ID)
	}
}

// index follows the replacement of an instance's record, either of which may be nil.
func (s *State) index(old, new *Instance) {
	wasOn, isOn := old != nil && old.Placed(), new != nil && new.Placed()
	if wasOn && (!isOn || old.Place.Host != new.Place.Host) {
		delete(s.onHost[old.Place.Host], old.ID)
		if len(s.onHost[old.Place.Host]) == 0 {
			delete(s.onHost, old.Place.Host)
		}
	}
	if isOn && (!wasOn || old.Place.Host != new.Place.Host) {
		m := s.onHost[new.Place.Host]
		if m == nil {
			m = make(map[InstanceID]struct{})
			s.onHost[new.Place.Host] = m
		}
		m[new.ID] = struct{}{}
	}
	switch {
	case new != nil && (!new.Settled() || new.Phase == Active && new.Place.Doubt):
		s.unsettled[new.ID] = struct{}{}
	case new != nil:
		delete(s.unsettled, new.ID)
	default:
		delete(s.unsettled, old.ID)
	}
}

func (s *State) indexHeld(h *Held) {
	m := s.heldOn[h.Host]
	if m == nil {
		m = make(map[MachineID]struct{})
		s.heldOn[h.Host] = m
	}
	m[h.Machine] = struct{}{}
}

func (s *State) unindexHeld(h *Held) {
	delete(s.heldOn[h.Host], h.Machine)
	if len(s.heldOn[h.Host]) == 0 {
		delete(s.heldOn, h.Host)
	}
}
