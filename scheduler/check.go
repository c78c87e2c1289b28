package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/berthage/berthage/pool"
)

// need is what a request takes of one class on a host.
type need struct {
	class  pool.Class
	amount int64
	pieces []piece // indivisible parts, largest first; nil for GPUs, of which every unit is one
	apart  bool    // no two of the pieces on one device
}

// piece is a part that goes whole to one device.
type piece struct {
	disk int // index in Spec.Disks, or -1
	size int64
}

// decision holds one request, prepared, while hosts are looked at. It is used by one goroutine.
type decision struct {
	scheduler *Scheduler
	req       Request
	demand    pool.Resources
	asked     []need                   // the demand by class
	parts     []piece                  // of all that is asked
	plain     int                      // of asked, those that no disk asks for
	disks     []pool.Disk              // that ask for the others
	hosts     map[pool.HostID]struct{} // Constraints.Hosts, when there are many
	labels    []string                 // keys of Constraints.Labels, sorted
	kind      pool.Kind
	rules     []rule

	policy  policy // for the needs of the request, on hosts that are in no group
	grouped *grouped
	loads   map[pool.HostID]float64
	total   totals // over the hosts in use, for policies that follow the pool's state

	// Of the host looked at last.
	needs []need      // asked, or on an aggregate what the shape takes
	shape *pool.Shape // of an aggregate
	host  columns     // one host, per need
	first [1]uint8    // it is the first of one
	until [1]int64    // until when it is expected to be in use
	built [1]float64  // its built-in score

	// Of an Ask, one more than the numbers of two hosts: of the best one the last time, and of one in the block that would
	// have been next.
	hints  [2]int32
	memory []remembered // of an Ask, by the index's number of the host
	now    *remembered  // of the host that is looked at; nil if nothing is

	shaped   []need // space for needs on aggregates
	refining refining
	ofShape  refining
	worths   *worths // nil: what is made useless does not count
	fgd      fgd
	rooms    []int64 // of each device of the host
	room     []int64
	node     []int64 // rooms on one NUMA node
	chosen   []int
	order    []int
}

// manyHosts is the number of hosts in a constraint from which a set is quicker than a list.
const manyHosts = 8

// decide prepares a request, or says what is malformed.
func (s *Scheduler) decide(req Request) (*decision, error) {
	d := new(decision)
	return d, d.prepare(s, req)
}

// prepare is decide in the space of a decision that is not needed any more. Only the demand is made anew.
func (d *decision) prepare(s *Scheduler, req Request) error {
	hints := [2]int32{}
	if req.Cluster != "" && req.Cluster == d.req.Cluster {
		hints = d.hints // members are alike: what was best for one is mostly near the best for the next
	}
	*d = decision{
		hints: hints, scheduler: s, req: req, kind: req.Spec.Kind, rules: rulesOf(&req),
		asked: d.asked[:0], parts: d.parts[:0], disks: d.disks[:0], host: d.host, shaped: d.shaped, rooms: d.rooms, room: d.room, node: d.node, chosen: d.chosen, order: d.order,
	}
	if d.kind == "" {
		d.kind = pool.VM
	}
	if len(s.Groups) > 0 {
		d.grouped = new(grouped)
	}
	if err := s.checkWeights(); err != nil {
		return err
	}
	if err := req.Spec.Resources.Valid(); err != nil {
		return pool.InField("spec.resources", err)
	}
	for i, disk := range req.Spec.Disks {
		if disk.Size <= 0 || disk.IOPS < 0 {
			return &pool.Error{Kind: pool.ErrInvalid, Field: "spec.disks[" + strconv.Itoa(i) + "]", Want: "a size above zero and IOPS of zero or more"}
		}
		if req.Spec.Resources[disk.Storage.Class()]|req.Spec.Resources[disk.Storage.IOPSClass()] != 0 {
			return &pool.Error{Kind: pool.ErrInvalid, Field: "spec.resources", Want: "storage asked for by disks alone"}
		}
	}
	var err error
	if d.demand, err = req.Spec.Demand(); err != nil {
		return pool.InField("spec", err)
	}
	for c, n := range d.demand {
		d.asked = append(d.asked, need{class: c, amount: n, apart: c == pool.GPUShare})
	}
	for _, n := range req.Spec.Resources {
		if n != 0 {
			d.plain++
		}
	}
	d.disks = append(d.disks, req.Spec.Disks...)
	slices.SortFunc(d.asked, func(a, b need) int { return strings.Compare(string(a.class), string(b.class)) })
	for i := range d.asked {
		n, from := &d.asked[i], len(d.parts)
		if d.parts = pieces(d.parts, n.class, n.amount, req.Spec.Disks); len(d.parts) > from {
			n.pieces = d.parts[from:len(d.parts):len(d.parts)]
		}
	}
	if labels := req.Spec.Constraints.Labels; len(labels) > 0 {
		d.labels = slices.Sorted(maps.Keys(labels))
	}
	if hosts := req.Spec.Constraints.Hosts; len(hosts) > manyHosts {
		d.hosts = make(map[pool.HostID]struct{}, len(hosts))
		for _, h := range hosts {
			d.hosts[h] = struct{}{}
		}
	}
	return nil
}

// wholeGPU is a whole device in the unit of pool.GPUShare; mostGPUs is more than any host has.
const (
	wholeGPU = 1000
	mostGPUs = 1024
)

// pieces divides an amount, and appends the pieces to out: storage and IOPS by disks, GPUs by units (none), shares of
// GPUs into whole ones and the rest, all else not at all.
func pieces(out []piece, c pool.Class, amount int64, disks []pool.Disk) []piece {
	switch {
	case c == pool.GPU:
		return out
	case c == pool.GPUShare && amount > wholeGPU && amount <= mostGPUs*wholeGPU:
		for ; amount > 0; amount -= wholeGPU {
			out = append(out, piece{-1, min(amount, wholeGPU)})
		}
		return out
	}
	from := len(out)
	for i, d := range disks {
		switch {
		case d.Storage.Class() == c:
			out = append(out, piece{i, d.Size})
		case d.IOPS > 0 && d.Storage.IOPSClass() == c:
			out = append(out, piece{i, d.IOPS})
		}
	}
	if len(out) == from {
		return append(out, piece{-1, amount})
	}
	slices.SortStableFunc(out[from:], func(a, b piece) int { return cmp.Compare(b.size, a.size) })
	return out
}

// view is how a host is looked at.
type view bool

const (
	asItIs  view = false
	asEmpty view = true // as if nothing were placed on it and it accepted instances
)

// failure is the first constraint that a host does not satisfy; by is empty when there is none. It holds
// just what is needed to work out a Reason, should anybody ask.
type failure struct {
	by     Constraint
	index  int     // of the label in decision.labels, the ability in Constraints, the taint of the host, the rule in decision.rules, or the class in decision.needs
	reason *Reason // a Filter's own
}

// check returns the first constraint that the host fails. If it returns none, needs, shape and host are set.
func (d *decision) check(h *pool.HostRecord, v view) (failure, error) {
	f := d.admits(h, v)
	if f.by == "" {
		f = d.keeps(h, v)
	}
	if f.by != "" {
		return f, nil
	}
	f, err := d.passes(h, v)
	if f.by == "" && err == nil {
		f = d.fits(h, v)
	}
	return f, err
}

// admits asks what the host is.
func (d *decision) admits(h *pool.HostRecord, v view) failure {
	c := &d.req.Spec.Constraints
	switch {
	case slices.Contains(d.req.Avoid, h.ID):
		return failure{by: ByAvoid}
	case v == asItIs && !h.Conditions.Schedulable():
		return failure{by: ByCondition}
	case !d.allowsHost(h.ID):
		return failure{by: ByHost}
	case len(c.Zones) > 0 && !slices.Contains(c.Zones, h.Zone):
		return failure{by: ByZone}
	}
	for i, k := range d.labels {
		if have, ok := h.Labels[k]; !ok || have != c.Labels[k] {
			return failure{by: ByLabel, index: i}
		}
	}
	if d.req.Image.Sources[h.ID.Driver()] == "" {
		return failure{by: ByImage}
	}
	if !runs(h, d.kind) {
		return failure{by: ByKind}
	}
	for i, a := range c.Abilities {
		if !slices.Contains(h.Abilities, a) {
			return failure{by: ByAbility, index: i}
		}
	}
	if i := d.repels(h.Taints); i >= 0 {
		return failure{by: ByTaint, index: i}
	}
	return failure{}
}

// repels returns the first taint that lets nothing in and that the request does not tolerate, or -1.
func (d *decision) repels(taints []pool.Taint) int {
	for i, t := range taints {
		if t.Effect == pool.NoSchedule && !d.tolerates(t) {
			return i
		}
	}
	return -1
}

func (d *decision) tolerates(x pool.Taint) bool { return d.req.Spec.Constraints.Tolerates(x) }

// passes asks the importer's filters.
func (d *decision) passes(h *pool.HostRecord, v view) (failure, error) {
	if v == asItIs && d.now != nil && d.now.filtered {
		return d.now.refused, nil
	}
	out := failure{}
	for i, f := range d.scheduler.Filters {
		r, err := d.filter(f, i, h)
		if err != nil {
			return failure{}, err
		}
		if r != nil && (v == asItIs || r.Never) {
			out = failure{by: ByFilter, reason: r}
			break
		}
	}
	if v == asItIs && d.now != nil {
		d.now.filtered, d.now.refused = true, out
	}
	return out, nil
}

// fits asks whether there is room, and sets needs, shape and host.
func (d *decision) fits(h *pool.HostRecord, v view) failure {
	d.needs, d.shape = d.asked, nil
	if h.Aggregate() {
		if d.shape = smallestShape(h, d.demand); d.shape == nil {
			return failure{by: ByShape}
		}
		if _, full := h.FullAt(d.shape.Name, d.req.Now); full && v == asItIs {
			return failure{by: ByFull}
		}
		d.needs = d.needsOf(h, d.shape)
	}
	d.host.hold(len(d.needs))
	for i := range d.needs {
		n := &d.needs[i]
		free, capacity := h.Capacity[n.class], h.Capacity[n.class]
		if v == asItIs {
			free -= h.Used[n.class]
		}
		if !h.Inventory[n.class].Allows(n.amount) {
			return failure{by: ByUnit, index: i}
		}
		if n.amount > free {
			return failure{by: ByResource, index: i}
		}
		d.host.need[i], d.host.free[i][0], d.host.capacity[i][0] = n.amount, free, capacity
	}
	devs := h.Devices
	if d.shape != nil {
		devs = nil
	}
	if len(devs)+len(d.req.Spec.Constraints.SameNode) == 0 {
		return failure{}
	}
	return d.fitsDevices(devs, d.roomsOf(h, v))
}

// hold makes room for one host and that many needs.
func (c *columns) hold(needs int) {
	for len(c.free) < needs {
		c.need = append(c.need[:len(c.free)], 0)
		c.free, c.capacity = append(c.free, make([]int64, 1)), append(c.capacity, make([]int64, 1))
	}
	c.need = c.need[:needs]
	if len(c.marks) == 0 {
		c.marks = make([]traits, 1)
	}
}

func (d *decision) allowsHost(id pool.HostID) bool {
	if d.hosts != nil {
		_, ok := d.hosts[id]
		return ok
	}
	hosts := d.req.Spec.Constraints.Hosts
	return len(hosts) == 0 || slices.Contains(hosts, id)
}

func runs(h *pool.HostRecord, k pool.Kind) bool {
	if len(h.Kinds) == 0 {
		return k == pool.VM
	}
	return slices.Contains(h.Kinds, k)
}

// allocate returns what the request takes on a host that has qualified.
func (d *decision) allocate(h *pool.HostRecord) pool.Allocation {
	d.fits(h, asItIs) // again, for needs and shape
	a := d.amounts()
	if d.shape == nil {
		if d.fgd.choosing = d.loses(h); d.fgd.choosing {
			d.seeRecord(h)
		}
		a.Claims = d.claims(nil, h.Devices, d.roomsOf(h, asItIs))
	}
	return a
}

// amounts is what the request takes, its claims on devices left out.
func (d *decision) amounts() pool.Allocation {
	a := pool.Allocation{Resources: make(pool.Resources, len(d.needs))}
	for i := range d.needs {
		a.Resources[d.needs[i].class] = d.needs[i].amount
	}
	if d.shape != nil {
		a.Shape = d.shape.Name
	}
	return a
}
