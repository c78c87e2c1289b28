package pool

import (
	"maps"
	"slices"
)

// draft collects the new records that one event makes of hosts, of a project and of a held allocation.
// Everything that can fail happens on the draft; commit puts it into the State as a whole or not at all.
type draft struct {
	at      Revision
	hosts   [3]hostChange // an instance leaves one host, or the two of a move, and comes to another
	n       int
	project *ProjectRecord // as it is
	owner   string         // of the instance
	members int            // by how many more instances
	charges [2]charge      // what it uses otherwise: an instance gives one place back, and takes another
	charged int
	held    *Held
}

// hostChange replaces a host's record; a nil old one is new, a nil new one is removed.
type hostChange struct {
	old, new *HostRecord
	booked   bool      // nothing but these makes the difference
	charges  [2]charge // what is booked there: an instance leaves a place, and comes to another
	charged  int
	edits    bool // the maps of the new record are those of the old one, which nobody else has
}

// charge is an allocation that a project uses from now on, where sign is 1, or no longer, where it is -1.
type charge struct {
	resources Resources
	sign      int64
	cost      int64 // an hour, of projects only: see Pricer
}

func (d *draft) put(old, new *HostRecord) {
	d.hosts[d.n] = hostChange{old: old, new: new}
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
	n.fresh = old.fresh && s.mayEdit() && s.hosts.owns(id)
	d.put(old, &n)
	return &n, nil
}

// booking is host for whoever books something there, or frees it, and changes nothing else of it.
func (d *draft) booking(s *State, id HostID) (*hostChange, error) {
	n := d.n
	h, err := d.host(s, id)
	if err != nil {
		return nil, err
	}
	if d.n > n {
		c := &d.hosts[n]
		c.booked, c.edits = true, h.fresh
		return c, nil
	}
	for i := range d.hosts[:n] {
		if d.hosts[i].new == h {
			return &d.hosts[i], nil
		}
	}
	panic("a draft has what it gives out")
}

// shift books an allocation, or frees it where sign is -1. Where it edits, State.Apply takes that back should the event come
// to nothing.
func (c *hostChange) shift(s *State, a Allocation, sign int64) error {
	c.charges[c.charged] = charge{resources: a.Resources, sign: sign}
	c.charged++
	if !c.edits {
		c.new.fresh = s.mayEdit() && (len(a.Claims) > 0 || c.new.DeviceUsed == nil)
		return c.new.shift(a, sign)
	}
	if err := c.new.edit(a, sign); err != nil {
		return err
	}
	s.edited = append(s.edited, edited{c.new, a, sign})
	return nil
}

// edited is what an event has booked in maps that other records share.
type edited struct {
	host *HostRecord
	of   Allocation
	sign int64
}

// takeBack makes the records of an overlay what they were before an event that has come to nothing.
func (s *State) takeBack() {
	for _, e := range slices.Backward(s.edited) {
		e.host.edit(e.of, -e.sign) // which has been, and so is no error
	}
}

// leave gives the instance's place back, or turns it into a held allocation.
func (d *draft) leave(s *State, i *Instance, hold bool) error {
	c, err := d.booking(s, i.Place.Host)
	if err != nil {
		return err
	}
	h := c.new
	h.Placed--
	h.Peers = meet(h.Peers, i, -1)
	if hold {
		h.Held++
		d.held = &Held{Machine: i.Machine(), Host: h.ID, Launched: i.Launched, Allocation: i.Place.Allocation, Reason: i.Reason, Shelving: i.Shelving}
	} else if err := c.shift(s, i.Place.Allocation, -1); err != nil {
		return err
	}
	return d.charge(s, i, &i.Place, i.flavors(), -1)
}

// take books a place for an instance, and charges it to its project, as one of the flavors that it has from then on.
func (d *draft) take(s *State, p *Placement, i *Instance, f flavors) error {
	if err := d.come(s, p.Host, p.Allocation, i); err != nil {
		return err
	}
	return d.charge(s, i, p, f, 1)
}

// come books an allocation for an instance on a host and charges nobody.
func (d *draft) come(s *State, id HostID, a Allocation, i *Instance) error {
	if err := a.valid(); err != nil {
		return InField("place.allocation", err)
	}
	c, err := d.booking(s, id)
	if err != nil {
		return err
	}
	c.new.Placed++
	c.new.Peers = meet(c.new.Peers, i, 1)
	return c.shift(s, a, 1)
}

// goes gives back what come has booked.
func (d *draft) goes(s *State, id HostID, a Allocation, i *Instance) error {
	c, err := d.booking(s, id)
	if err != nil {
		return err
	}
	c.new.Placed--
	c.new.Peers = meet(c.new.Peers, i, -1)
	return c.shift(s, a, -1)
}

// rebook puts an instance's place in the place of its present one, on the same host or another, as take does.
func (d *draft) rebook(s *State, i *Instance, p *Placement, f flavors) error {
	if err := d.leave(s, i, false); err != nil {
		return err
	}
	return d.take(s, p, i, f)
}

// of says which project the event is about: that of its instances.
func (d *draft) of(s *State, project string) error {
	if d.project != nil {
		return nil
	}
	p, ok := s.projects.get(project)
	if !ok {
		return notFound("project", project)
	}
	d.project = p
	return nil
}

// count keeps the number of the project's instances.
func (d *draft) count(s *State, project string, change int) error {
	d.members += change
	return d.of(s, project)
}

// charge adds a place, what it costs and one instance to what the instance's project uses, or takes them from it: sign is 1 or -1.
func (d *draft) charge(s *State, i *Instance, p *Placement, f flavors, sign int64) error {
	d.charges[d.charged] = charge{p.Allocation.Resources, sign, s.Cost(p.Host, p.Allocation, f[:]...)}
	d.charged++
	d.owner = i.Owner
	return d.of(s, i.Project)
}

// settle makes the project's record what it is after the event. One that this overlay has made already is changed in its
// place: what many launches of one batch do to one project, one record has, with a map of its own.
func (d *draft) settle(s *State) error {
	if d.project == nil {
		return nil
	}
	p := d.project
	own := s.mayEdit() && s.projects.owns(p.Name)
	used, err := d.pay(p.Used, own)
	if err != nil {
		return InField("project "+Quote(p.Name), err)
	}
	var more []account
	if d.charged > 0 && (p.Parent != "" || p.Children > 0 || d.owner != "") {
		if more, err = d.payMore(s, p); err != nil {
			d.payBack(used, d.charged)
			return err
		}
	}
	if !own {
		n := *p
		if n.Children > 0 {
			n.Subtree = n.Subtree.copy()
		}
		p = &n
		s.projects.set(p.Name, p)
	}
	p.Used = used
	p.Members += d.members
	p.Changed = d.at
	for _, a := range more {
		a.set(s, d.at)
	}
	return nil
}

// pay adds the charges to a sum, in its own map if that may be edited and else in a copy.
func (d *draft) pay(used Resources, edit bool) (Resources, error) {
	if !edit || used == nil {
		used = used.copy()
	}
	for i := range d.charged {
		if err := d.charges[i].to(used); err != nil {
			d.payBack(used, i)
			return nil, err
		}
	}
	return used, nil
}

// payBack takes the first n charges back from a sum to which they have been added, and so is no error.
func (d *draft) payBack(used Resources, n int) {
	for _, c := range slices.Backward(d.charges[:n]) {
		charge{c.resources, -c.sign, c.cost}.to(used)
	}
}

// to changes what a project uses, or says why that cannot be and changes nothing.
func (c charge) to(used Resources) error {
	err := used.shift(c.resources, c.sign)
	if err != nil {
		return err
	}
	if c.cost != 0 {
		if err := used.raise(Cost, c.sign*c.cost); err != nil {
			used.shift(c.resources, -c.sign) // which has been, and so is no error
			return err
		}
	}
	used.put(Instances, used[Instances]+c.sign)
	return nil
}

// commit changes the State unless a sum would overflow.
func (d *draft) commit(s *State) error {
	var space [12]classSum // more classes are possible, but rare
	totals, err := s.totalsAfter(d.hosts[:d.n], space[:0])
	if err == nil {
		err = d.settle(s)
	}
	if err != nil {
		return err
	}
	s.setTotals(totals)
	for _, c := range d.hosts[:d.n] {
		switch {
		case c.new == nil:
			s.hosts.del(c.old.ID)
			s.noteHost(c.old.ID)
			continue
		case c.old == nil:
			s.hosts.add(c.new.ID, c.new)
		default:
			s.hosts.replace(c.new.ID, c.new)
		}
		s.noteHost(c.new.ID)
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
func (h *HostRecord) book(a Allocation) error { return h.shift(a, 1) }

func (h *HostRecord) free(a Allocation) error { return h.shift(a, -1) }

func (h *HostRecord) shift(a Allocation, sign int64) error {
	used := h.Used.copy()
	if err := used.shift(a.Resources, sign); err != nil {
		return InField("host "+Quote(string(h.ID)), err)
	}
	h.Used = used
	h.countGPU(a.Resources, int(sign))
	return h.claim(a.Claims, sign)
}

func (h *HostRecord) claim(claims []Claim, sign int64) error {
	if len(claims) == 0 {
		return nil
	}
	used := maps.Clone(h.DeviceUsed)
	if used == nil {
		used = make(map[string]int64)
	}
	h.DeviceUsed = used
	return h.claimHere(claims, sign)
}

// claimHere is claim in the map that the record has.
func (h *HostRecord) claimHere(claims []Claim, sign int64) error {
	used := h.DeviceUsed
	for i, c := range claims {
		n, ok := addInt64(used[c.Device], sign*c.Amount)
		if !ok || n < 0 {
			h.claimHere(claims[:i], -sign)
			return &Error{Kind: ErrOverflow, Field: "device", Value: c.Device, Want: "an amount within 0 and an int64"}
		}
		if n == 0 {
			delete(used, c.Device)
		} else {
			used[c.Device] = n
		}
	}
	return nil
}

// edit is shift in the maps that the record has, all of it or nothing.
func (h *HostRecord) edit(a Allocation, sign int64) error {
	if len(a.Claims) > 0 && h.DeviceUsed == nil {
		h.DeviceUsed = make(map[string]int64)
	}
	if h.Used == nil {
		h.Used = make(Resources)
	}
	if err := h.Used.shift(a.Resources, sign); err != nil {
		return InField("host "+Quote(string(h.ID)), err)
	}
	if err := h.claimHere(a.Claims, sign); err != nil {
		h.Used.shift(a.Resources, -sign)
		return err
	}
	h.countGPU(a.Resources, int(sign))
	return nil
}
