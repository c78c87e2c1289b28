package fake

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// HostState is what has become of a host.
type HostState string

// The states of a host. Only an Up host is Ready and answers; calls on the others are ErrUnavailable.
const (
	Up     HostState = "up"      // works
	CutOff HostState = "cut off" // cannot be reached; its machines go on running
	Dead   HostState = "dead"    // has lost power: its machines are off, and are stopped when it returns
)

// runs reports whether the host's machines go on.
func (s HostState) runs() bool { return s == Up || s == CutOff }

// host is one simulated host. Its machines' demands are kept as sums, so that no call costs more on a fuller
// host.
type host struct {
	spec     pool.Host // normalized, as it was added
	state    HostState
	machines map[string]*machine // by native id
	copies   map[pool.MachineID][]*machine

	ours, others usage // of tagged machines, of untagged ones

	added time.Time
	spent int64 // CPU time of machines that are gone, without that which others have brought along, microseconds
	calls map[Op]int

	fences int // how often the host has been fenced

	really Room

	watchers map[chan struct{}]bool
}

// usage is what machines take of a host.
type usage struct {
	class  map[pool.Class]int64
	device map[string]int64
}

func (u *usage) add(m *machine, sign int64) {
	for c, n := range m.Demand {
		u.class[c] += sign * n
	}
	for _, c := range m.Claims {
		u.device[c.Device] += sign * c.Amount
	}
}

func newHost(spec pool.Host, state HostState, added time.Time) *host {
	empty := func() usage { return usage{make(map[pool.Class]int64), make(map[string]int64)} }
	return &host{
		spec: spec, state: state, added: added,
		machines: make(map[string]*machine),
		copies:   make(map[pool.MachineID][]*machine),
		ours:     empty(), others: empty(),
		calls: make(map[Op]int),
	}
}

func (h *host) usageOf(m *machine) *usage {
	if m.tagged() {
		return &h.ours
	}
	return &h.others
}

// put places a machine, in the place of the one with its native id, and returns that or nil.
func (h *host) put(m *machine) (old *machine) {
	old = h.take(m.Native)
	h.usageOf(m).add(m, 1)
	h.machines[m.Native] = m
	if id := m.Tag.Machine; id != "" {
		h.copies[id] = append(h.copies[id], m)
	}
	h.changed()
	return old
}

// take removes the machine with that native id and returns it or nil.
func (h *host) take(native string) (old *machine) {
	if old = h.machines[native]; old == nil {
		return nil
	}
	h.usageOf(old).add(old, -1)
	delete(h.machines, native)
	id := old.Tag.Machine
	h.copies[id] = slices.DeleteFunc(h.copies[id], func(m *machine) bool { return m == old })
	if len(h.copies[id]) == 0 {
		delete(h.copies, id)
	}
	h.changed()
	return old
}

// named returns the machines that carry the id in their tag, and the one that has it as its native id.
func (h *host) named(id pool.MachineID) []*machine {
	out := slices.Clone(h.copies[id])
	if m := h.machines[string(id)]; m != nil && m.Tag.Machine != id {
		out = append(out, m)
	}
	return out
}

// inventory is what is offered of an undivided class: what untagged machines take is reserved.
func (h *host) inventory(c pool.Class) (pool.Inventory, bool) {
	inv, ok := h.spec.Inventory[c]
	inv.Reserved += h.others.class[c]
	return inv, ok
}

// device is what a device offers, likewise.
func (h *host) device(d *pool.Device) pool.Inventory {
	inv := d.Inventory
	inv.Reserved += h.others.device[d.ID]
	return inv
}

// observed is the host as Hosts reports it. The error is an overflow of what is reserved.
func (h *host) observed() (pool.Host, error) {
	out := h.spec
	out.Inventory = make(map[pool.Class]pool.Inventory, len(h.spec.Inventory))
	for c := range h.spec.Inventory {
		out.Inventory[c], _ = h.inventory(c)
	}
	out.Devices = slices.Clone(h.spec.Devices)
	for i := range out.Devices {
		out.Devices[i].Inventory = h.device(&h.spec.Devices[i])
	}
	out.Conditions = 0
	if h.state == Up {
		out.Conditions = pool.Ready
	}
	return out.Normalize() // a deep copy, with the sums of the devices
}

// show is observed for a host of which it is known that nothing overflows.
func (h *host) show() pool.Host {
	out, _ := h.observed()
	return out
}

// AddHost adds a host, or changes one that is there already: its machines stay, also where they no longer
// fit. The id must begin with the driver's name.
func (d *Driver) AddHost(h pool.Host) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	return d.addHost(h)
}

func (d *Driver) addHost(spec pool.Host) error {
	if len(spec.Kinds) == 0 {
		spec.Kinds = d.config.Kinds
	}
	spec, err := spec.Normalize()
	if err != nil {
		return err
	}
	if spec.ID.Driver() != d.config.Name {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "host", Value: string(spec.ID), Want: "an id that begins with " + d.config.Name + "/"}
	}
	if old := d.hosts[spec.ID]; old != nil {
		changed := *old
		changed.spec = spec
		if _, err := changed.observed(); err != nil {
			return err
		}
		if err := d.save(entry{Host: &hostEntry{spec, old.state, old.added}}); err != nil {
			return err
		}
		old.spec = spec
		return nil
	}
	h := newHost(spec, Up, time.Now())
	if err := d.save(entry{Host: &hostEntry{spec, h.state, h.added}}); err != nil {
		return err
	}
	d.hosts[spec.ID] = h
	return nil
}

// RemoveHost takes a host away with everything on it. It is nil when there is none.
func (d *Driver) RemoveHost(id pool.HostID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hosts[id]
	if h == nil || d.err != nil {
		return d.err
	}
	if err := d.save(entry{GoneHost: id}); err != nil {
		return err
	}
	for _, m := range h.machines {
		d.runs(m, nil)
	}
	delete(d.hosts, id)
	h.changed()
	return nil
}

// SetHostState lets a host die, cuts it off, or brings it back. A dead host's machines are stopped when it
// returns; what they had in memory is lost.
func (d *Driver) SetHostState(id pool.HostID, s HostState) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	h := d.hosts[id]
	if h == nil {
		return &pool.Error{Op: "set state of host " + pool.Quote(string(id)), Kind: pool.ErrNotFound}
	}
	if s != Up && s != CutOff && s != Dead {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "state", Value: string(s), Want: "up, cut off or dead"}
	}
	return d.setState(h, s)
}

func (d *Driver) setState(h *host, s HostState) error {
	entries := []entry{{Host: &hostEntry{h.spec, s, h.added}}}
	var off []*machine
	if s == Dead {
		for _, m := range h.machines {
			if m.Power == pool.Running || m.Power == pool.Suspended {
				next := m.in(pool.Stopped, "power lost")
				off = append(off, next)
				entries = append(entries, entry{Machine: next})
			}
		}
	}
	if err := d.save(entries...); err != nil {
		return err
	}
	h.state = s
	h.changed()
	for _, m := range off {
		d.runs(h.put(m), m)
	}
	return nil
}

// Hosts implements hypervisor.Driver. Hosts come in the order of their ids.
func (d *Driver) Hosts(ctx context.Context) ([]pool.Host, error) {
	var out []pool.Host
	err := d.do(ctx, &request{op: OpHosts, effect: func(*host) error {
		out = make([]pool.Host, 0, len(d.hosts))
		for _, h := range d.hosts {
			out = append(out, h.show())
		}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b pool.Host) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out, nil
}

// Machines implements hypervisor.Driver. Machines come in the order of their native ids.
func (d *Driver) Machines(ctx context.Context, id pool.HostID) ([]hypervisor.Machine, error) {
	var out []hypervisor.Machine
	err := d.do(ctx, &request{op: OpMachines, ref: hostRef(id), effect: func(h *host) error {
		now := time.Now()
		out = make([]hypervisor.Machine, 0, len(h.machines))
		for _, m := range h.machines {
			if m.Power != Debris {
				out = append(out, m.show(now))
			}
		}
		return nil
	}})
	slices.SortFunc(out, func(a, b hypervisor.Machine) int { return strings.Compare(a.Native, b.Native) })
	if err != nil {
		return out[:len(out)/2], err // no list that comes with an error is whole
	}
	return out, nil
}
