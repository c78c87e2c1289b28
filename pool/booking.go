package pool

import "maps"

// draft collects the new records that one event makes of hosts, of a project and of a held allocation.
// Everything that can fail happens on the draft; commit puts it into the State as a whole or not at all.
type draft struct {
	at      Revision
	hosts   [3]hostChange // an instance leaves one host, or the two of a move, and comes to another
	n       int
	project *ProjectRecord
	held    *Held
}

// hostChange replaces a host's record; a nil old one is new, a nil new one is removed.
type hostChange struct{ old, new *HostRecord }

func (d *draft) put(old, new *HostRecord) {
	d.hosts[d.n] = hostChange{old, new}
	d.n++
}

// host returns the draft's own copy of a host's record.
func (d *draft) host(s *State, id HostID) (*HostRecord, error) {
	for _, c := range d.hosts[:d.n] {
		if c.new.ID == id {
			return c.new, nil
		}
	}
	old, ok := s.hosts.get(id)
	if !ok {
		return nil, notFound("host", string(id))
	}
	n := *old
	n.Changed = d.at
	d.put(old, &n)
	return &n, nil
}

// leave gives the instance's place back, or turns it into a held allocation.
func (d *draft) leave(s *State, i *Instance, hold bool) error {
	h, err := d.host(s, i.Place.Host)
	if err != nil {
		return err
	}
	h.Placed--
	h.Peers = meet(h.Peers, i, -1)
	if hold {
		h.Held++
		d.held = &Held{Machine: i.Machine(), Host: h.ID, Launched: i.Launched, Allocation: i.Place.Allocation, Reason: i.Reason, Shelving: i.Shelving}
	} else if err := h.free(i.Place.Allocation); err != nil {
		return err
	}
	return d.charge(s, i.Project, i.Place.Allocation, -1)
}

// take books a place for an instance, and charges it to its project.
func (d *draft) take(s *State, p Placement, i *Instance) error {
	if err := d.come(s, p.Host, p.Allocation, i); err != nil {
		return err
	}
	return d.charge(s, i.Project, p.Allocation, 1)
}

// come books an allocation for an instance on a host and charges nobody.
func (d *draft) come(s *State, id HostID, a Allocation, i *Instance) error {
	if err := a.valid(); err != nil {
		return InField("place.allocation", err)
	}
	h, err := d.host(s, id)
	if err != nil {
		return err
	}
	h.Placed++
	h.Peers = meet(h.Peers, i, 1)
	return h.book(a)
}

// goes gives back what come has booked.
func (d *draft) goes(s *State, id HostID, a Allocation, i *Instance) error {
	h, err := d.host(s, id)
	if err != nil {
		return err
	}
	h.Placed--
	h.Peers = meet(h.Peers, i, -1)
	return h.free(a)
}

// rebook puts an instance's place in the place of its present one, on the same host or another.
func (d *draft) rebook(s *State, i *Instance, p Placement) error {
	if err := d.leave(s, i, false); err != nil {
		return err
	}
	return d.take(s, p, i)
}

// own returns the draft's own copy of the project's record. An event is about instances of one project.
func (d *draft) own(s *State, project string) (*ProjectRecord, error) {
	if d.project == nil {
		p, ok := s.projects.get(project)
		if !ok {
			return nil, notFound("project", project)
		}
		n := *p
		n.Changed = d.at
		d.project = &n
	}
	return d.project, nil
}

// count keeps the number of the project's instances.
func (d *draft) count(s *State, project string, change int) error {
	p, err := d.own(s, project)
	if err == nil {
		p.Members += change
	}
	return err
}

// charge adds an allocation and one instance to what the project uses, or takes them from it: sign is 1 or -1.
func (d *draft) charge(s *State, project string, a Allocation, sign int64) error {
	p, err := d.own(s, project)
	if err != nil {
		return err
	}
	change := Resources.Add
	if sign < 0 {
		change = Resources.Sub
	}
	used, err := change(p.Used, a.Resources)
	if err != nil {
		return InField("project "+Quote(project), err)
	}
	used.put(Instances, used[Instances]+sign)
	p.Used = used
	return nil
}

// commit changes the State unless a total of the pool would overflow.
func (d *draft) commit(s *State) error {
	if err := s.addTotals(d.hosts[:d.n]); err != nil {
		return err
	}
	for _, c := range d.hosts[:d.n] {
		if c.new == nil {
			s.hosts.del(c.old.ID)
			s.noteHost(c.old.ID)
		} else {
			s.hosts.set(c.new.ID, c.new)
			s.noteHost(c.new.ID)
		}
	}
	if d.project != nil {
		s.projects.set(d.project.Name, d.project)
	}
	if d.held != nil {
		s.held.set(d.held.Machine, d.held)
		if s.root {
			s.indexHeld(d.held)
		}
	}
	return nil
}

// valid reports, as an error, a negative amount; a decision never holds one, and it would free what others
// have taken.
func (a Allocation) valid() error {
	if err := a.Resources.Valid(); err != nil {
		return err
	}
	for _, c := range a.Claims {
		if c.Amount < 0 {
			return invalid("claims", c.Device, "an amount of zero or more")
		}
	}
	return nil
}

// With returns the record as it would be with one more allocation on it, for plans. Whether there is room is not asked.
func (h *HostRecord) With(a Allocation) (*HostRecord, error) {
	n := *h
	n.Placed++
	return &n, n.book(a)
}

// Without returns the record as it would be without one of the allocations on it.
func (h *HostRecord) Without(a Allocation) (*HostRecord, error) {
	n := *h
	n.Placed--
	return &n, n.free(a)
}

// book and free change a draft of a record; they replace the maps, which other records share.
func (h *HostRecord) book(a Allocation) error {
	used, err := h.Used.Add(a.Resources)
	if err != nil {
		return InField("host "+Quote(string(h.ID)), err)
	}
	h.Used = used
	h.countGPU(a.Resources, 1)
	return h.claim(a.Claims, 1)
}

func (h *HostRecord) free(a Allocation) error {
	used, err := h.Used.Sub(a.Resources)
	if err != nil {
		return InField("host "+Quote(string(h.ID)), err)
	}
	h.Used = used
	h.countGPU(a.Resources, -1)
	return h.claim(a.Claims, -1)
}

func (h *HostRecord) claim(claims []Claim, sign int64) error {
	if len(claims) == 0 {
		return nil
	}
	used := maps.Clone(h.DeviceUsed)
	if used == nil {
		used = make(map[string]int64)
	}
	for _, c := range claims {
		n, ok := addInt64(used[c.Device], sign*c.Amount)
		if !ok || n < 0 {
			return &Error{Kind: ErrOverflow, Field: "device", Value: c.Device, Want: "an amount within 0 and an int64"}
		}
		if n == 0 {
			delete(used, c.Device)
		} else {
			used[c.Device] = n
		}
	}
	h.DeviceUsed = used
	return nil
}
