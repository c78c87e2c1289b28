package fake

import (
	"context"
	"errors"
	"maps"
	"math"
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

	ours, others usage // of tagged machines, of untagged ones

	added time.Time
	spent float64 // CPU seconds of machines that are gone
	calls map[Op]int
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

// inventory is the class as Hosts reports it: untagged machines are reserved.
func (h *host) inventory(c pool.Class) (pool.Inventory, bool) {
	inv, ok := h.spec.Inventory[c]
	inv.Reserved += h.others.class[c]
	return inv, ok
}

func (h *host) device(d pool.Device) pool.Inventory {
	inv := d.Inventory
	inv.Reserved += h.others.device[d.ID]
	return inv
}

// observed is the host as Hosts reports it.
func (h *host) observed() pool.Host {
	out, err := h.spec.Normalize() // a deep copy
	if err != nil {
		return h.spec // cannot be: it has been normalized before
	}
	for c := range out.Inventory {
		out.Inventory[c], _ = h.inventory(c)
	}
	for i := range out.Devices {
		out.Devices[i].Inventory = h.device(h.spec.Devices[i])
	}
	out.Conditions = 0
	if h.state == Up {
		out.Conditions = pool.Ready
	}
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
	for _, m := range off {
		d.replace(h, m)
	}
	return nil
}

// Hosts implements hypervisor.Driver. Hosts come in the order of their ids.
func (d *Driver) Hosts(ctx context.Context) ([]pool.Host, error) {
	var out []pool.Host
	err := d.do(ctx, &request{op: OpHosts, effect: func(*host) error {
		out = make([]pool.Host, 0, len(d.hosts))
		for _, h := range d.hosts {
			out = append(out, h.observed())
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

// room returns the claims of a new machine on the host's devices, or why the host cannot take it.
func (h *host) room(demand pool.Resources, disks []pool.Disk, asked []pool.Claim, overfill bool) ([]pool.Claim, error) {
	claims, err := h.claims(demand, disks, asked)
	if err != nil {
		return nil, err
	}
	if overfill {
		return claims, nil
	}
	on := make(map[string]int64)
	for _, c := range claims {
		on[c.Device] += c.Amount
	}
	for _, id := range slices.Sorted(maps.Keys(on)) {
		dev := h.spec.Device(id)
		if free := h.device(*dev).Capacity() - h.ours.device[id]; on[id] > free {
			return nil, errors.New(string(dev.Class) + " on " + pool.Quote(id) + ": " + dev.Class.Format(on[id]) + " asked for, " +
				dev.Class.Format(free) + " free")
		}
	}
	for _, c := range demand.Classes() {
		if !physical(c) || h.divided(c) {
			continue
		}
		inv, ok := h.inventory(c)
		if !ok {
			return nil, errors.New("the host has no " + string(c))
		}
		if free := inv.Capacity() - h.ours.class[c]; demand[c] > free {
			return nil, errors.New(string(c) + ": " + c.Format(demand[c]) + " asked for, " + c.Format(free) + " free")
		}
	}
	return claims, nil
}

// physical reports whether a class is used up when it is used up: a hypervisor shares cores and IOPS out
// among any number of machines, and knows nothing of an operator's own classes.
func physical(c pool.Class) bool {
	return c == pool.Memory || c == pool.GPU || strings.HasPrefix(string(c), "storage.")
}

func (h *host) divided(c pool.Class) bool {
	return slices.ContainsFunc(h.spec.Devices, func(d pool.Device) bool { return d.Class == c })
}

// claims completes the claims that were asked for: each disk and each GPU lies whole on a device, by default
// on the one with the most room.
func (h *host) claims(demand pool.Resources, disks []pool.Disk, asked []pool.Claim) ([]pool.Claim, error) {
	var out []pool.Claim
	on := make(map[string]int64)
	placed := make(map[int]bool)
	gpus := int64(0)
	take := func(c pool.Claim) error {
		n, err := pool.Resources{c.Class: on[c.Device]}.Add(pool.Resources{c.Class: c.Amount})
		if err != nil {
			return err
		}
		on[c.Device] = n[c.Class]
		out = append(out, c)
		return nil
	}
	for _, c := range asked {
		dev := h.spec.Device(c.Device)
		if dev == nil || dev.Class != c.Class || c.Amount < 0 {
			return nil, errors.New("the host has no device " + pool.Quote(c.Device) + " of " + string(c.Class))
		}
		switch {
		case c.Class == pool.GPU:
			gpus += c.Amount
		case strings.HasPrefix(string(c.Class), "storage."):
			if c.Disk < 0 || c.Disk >= len(disks) || disks[c.Disk].Storage.Class() != c.Class || placed[c.Disk] {
				return nil, errors.New("the claim on " + pool.Quote(c.Device) + " is for no disk of " + string(c.Class))
			}
			placed[c.Disk] = true
			c.Amount = disks[c.Disk].Size // what it takes, whatever is claimed
		}
		if err := take(c); err != nil {
			return nil, err
		}
	}
	roomiest := func(c pool.Class) string {
		best, most := "", int64(math.MinInt64)
		for _, dev := range h.spec.Devices {
			if dev.Class != c {
				continue
			}
			if free := h.device(dev).Capacity() - h.ours.device[dev.ID] - on[dev.ID]; free > most {
				best, most = dev.ID, free
			}
		}
		return best
	}
	for i, disk := range disks {
		if c := disk.Storage.Class(); h.divided(c) && !placed[i] {
			if err := take(pool.Claim{Device: roomiest(c), Class: c, Amount: disk.Size, Disk: i}); err != nil {
				return nil, err
			}
		}
	}
	if h.divided(pool.GPU) {
		// More than the host has cannot be divided among its devices; the first claim that is too much says so.
		for ; gpus < demand[pool.GPU] && len(out) < 1<<10; gpus++ {
			if err := take(pool.Claim{Device: roomiest(pool.GPU), Class: pool.GPU, Amount: 1}); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}
