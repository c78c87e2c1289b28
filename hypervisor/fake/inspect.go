package fake

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Count says what has happened to the copies of one machine on all hosts since the Driver was made.
type Count struct {
	Calls    int // all calls that name it, done or not
	Creates  int // copies made, by create or unshelve
	Starts   int // times that a copy was started
	Stops    int
	Reboots  int
	Destroys int // copies destroyed

	Shelves    int // times that it was put aside
	Unshelves  int // copies made of what was put aside of another, or of this one
	Discards   int // times that what was put aside was removed
	Resizes    int // orders carried out, also those that changed nothing
	DiskSets   int // likewise, of SetDisks
	Migrations int // times that a copy went to another host
	Snapshots  int // made
	Reverts    int
}

// Double is an instance that ran more than once at the same time.
type Double struct {
	Ledger   string
	Instance pool.InstanceID
	Started  hypervisor.Ref // the copy that was started while another one ran
	At       time.Time
}

// Touch is a machine of AddForeign that a call has changed.
type Touch struct {
	Ref    hypervisor.Ref
	Native string
	Op     Op
}

// Overfill is a machine that was made, moved or resized, with Config.Overfill, where there was no room for it.
type Overfill struct {
	Machine  hypervisor.Ref
	What     string // the class, or the id of the device
	Used     int64  // with the machine
	Capacity int64
	At       time.Time
}

// Fence is a host that a call has seen to be off.
type Fence struct {
	Host pool.HostID
	At   time.Time
}

// HostView is the physical truth of a host.
type HostView struct {
	Host     pool.Host // as Hosts reports it
	State    HostState
	Used     pool.Resources   // by tagged machines
	Devices  map[string]int64 // likewise, by Device.ID
	Over     []string         // the classes and devices of which tagged machines take more than the capacity
	Machines []MachineView    // all of them, in the order of their native ids
}

// over returns the classes and devices of which tagged machines take more than the capacity. Cores, IOPS and
// classes of an operator's own are shared out by the hypervisor, so that they are never over.
func (h *host) over() []Overfill {
	var out []Overfill
	look := func(c pool.Class, what string, used int64, inv pool.Inventory) {
		if capacity := inv.Capacity(); physical(c) && used > capacity {
			out = append(out, Overfill{What: what, Used: used, Capacity: capacity})
		}
	}
	for c, used := range h.ours.class {
		if inv, _ := h.inventory(c); !h.divided(c) {
			look(c, string(c), used, inv)
		}
	}
	for i := range h.spec.Devices {
		dev := &h.spec.Devices[i]
		look(dev.Class, dev.ID, h.ours.device[dev.ID], h.device(dev))
	}
	slices.SortFunc(out, func(a, b Overfill) int { return strings.Compare(a.What, b.What) })
	return out
}

// MachineView is the physical truth of a machine: also of one on a host that cannot be reached, and of what a
// creation that failed has left (Power is Debris).
type MachineView struct {
	hypervisor.Ref
	Native    string
	Name      string
	Power     pool.Power
	Since     time.Time // of the present power state
	Addresses []string
	Demand    pool.Resources // what it takes of the host
	Claims    []pool.Claim   // and of which devices
	Disks     []int64        // bytes
	Foreign   bool           // put there by AddForeign

	Revision  pool.Revision // of the latest create, unshelve, resize or migration that was carried out
	Fault     string        // as Machines shows it
	Snapshots []hypervisor.Snapshot

	// Content stands for what is on the disks. It is another one for each machine that is made from an image,
	// and after each start and reboot; a resize and a migration leave it as it is, a machine that is unshelved
	// has that of the one that was put aside, and a revert brings it back.
	Content string
}

// Inspect returns what is physically there, hosts in the order of their ids.
func (d *Driver) Inspect() []HostView {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]HostView, 0, len(d.hosts))
	for _, id := range slices.Sorted(maps.Keys(d.hosts)) {
		out = append(out, d.hosts[id].view())
	}
	return out
}

// InspectHost returns what is physically on one host; ok is false when there is no such host.
func (d *Driver) InspectHost(id pool.HostID) (v HostView, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hosts[id]
	if h == nil {
		return HostView{}, false
	}
	return h.view(), true
}

func (h *host) view() HostView {
	v := HostView{Host: h.show(), State: h.state, Used: pool.Resources(h.ours.class).Clone(), Devices: make(map[string]int64)}
	for id, n := range h.ours.device {
		if n != 0 {
			v.Devices[id] = n
		}
	}
	for _, o := range h.over() {
		v.Over = append(v.Over, o.What)
	}
	now := time.Now()
	for _, m := range h.machines {
		v.Machines = append(v.Machines, m.view(now))
	}
	slices.SortFunc(v.Machines, func(a, b MachineView) int { return strings.Compare(a.Native, b.Native) })
	return v
}

func (m *machine) view(now time.Time) MachineView {
	shown := m.show(now)
	return MachineView{
		Ref: shown.Ref, Native: m.Native, Name: m.Name, Power: m.Power, Since: m.Since, Addresses: shown.Addresses,
		Demand: m.Demand.Clone(), Claims: slices.Clone(m.Claims), Disks: slices.Clone(m.Disks), Foreign: m.Foreign,
		Revision: m.Revision, Fault: m.Fault, Snapshots: m.snapshots(), Content: m.Content.String(),
	}
}

// Shelf returns what is put aside, as the machines were on their hosts, in the order of their numbers: the
// first that was made comes first. It takes no room of any host.
func (d *Driver) Shelf() []MachineView {
	d.mu.Lock()
	defer d.mu.Unlock()
	aside := slices.SortedFunc(maps.Values(d.shelf), func(a, b *machine) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), strings.Compare(a.Tag.Ledger, b.Tag.Ledger), strings.Compare(string(a.Tag.Machine), string(b.Tag.Machine)))
	})
	var out []MachineView
	now := time.Now()
	for _, m := range aside {
		out = append(out, m.view(now))
	}
	return out
}

// CountOf returns what has happened to a machine.
func (d *Driver) CountOf(id pool.MachineID) Count {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.counts[id]; c != nil {
		return *c
	}
	return Count{}
}

// Counts returns what has happened to each machine that a call has named.
func (d *Driver) Counts() map[pool.MachineID]Count {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[pool.MachineID]Count, len(d.counts))
	for id, c := range d.counts {
		out[id] = *c
	}
	return out
}

// Doubles returns every case in which a copy of an instance was started while another copy of it ran, on
// whatever host and under whatever placement. A suspended copy does not run.
func (d *Driver) Doubles() []Double {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.doubles)
}

// Overfills returns every case in which a machine was made, moved or resized where there was no room for it. Cores, IOPS and
// classes of an operator's own are shared out by the hypervisor: of them there is always room.
func (d *Driver) Overfills() []Overfill {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.overfills)
}

// Touched returns every case in which a call has changed a machine that AddForeign had put there.
func (d *Driver) Touched() []Touch {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.touched)
}

// Fences returns every case in which a call has seen to it that a host is off.
func (d *Driver) Fences() []Fence {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.fences)
}

// Calls returns how often each call was made.
func (d *Driver) Calls() map[Op]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.calls)
}

// Injected returns how often each fault was injected, by chance or by the hook.
func (d *Driver) Injected() map[FaultKind]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.injected)
}

func (d *Driver) count(id pool.MachineID) *Count {
	c := d.counts[id]
	if c == nil {
		c = new(Count)
		d.counts[id] = c
	}
	return c
}

// copyOf names an instance of a ledger: its machines must never run at the same time.
type copyOf struct {
	ledger   string
	instance pool.InstanceID
}

// runs keeps the number of running copies per instance, as one machine takes the place of another.
func (d *Driver) runs(old, next *machine) {
	ran := old != nil && old.tagged() && old.Power == pool.Running
	runs := next != nil && next.tagged() && next.Power == pool.Running
	if ran == runs {
		return
	}
	m := next
	if ran {
		m = old
	}
	id, _, ok := m.Tag.Machine.Split()
	if !ok {
		id = pool.InstanceID(m.Tag.Machine)
	}
	key := copyOf{m.Tag.Ledger, id}
	if ran {
		if d.running[key]--; d.running[key] == 0 {
			delete(d.running, key)
		}
		return
	}
	if d.running[key]++; d.running[key] > 1 {
		d.doubles = append(d.doubles, Double{Ledger: key.ledger, Instance: id, Started: m.ref(), At: time.Now()})
	}
}
