package scheduler

import (
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

// Action is one kind of step of a Change.
type Action string

// The actions.
const (
	MakeReady   Action = "make-ready"   // the host's Conditions must become ready and nothing else
	AllowHost   Action = "allow-host"   // the request must allow this host: Constraints.Hosts, Avoid
	AllowZone   Action = "allow-zone"   // the request must allow the host's zone, which is Value
	DropLabel   Action = "drop-label"   // the request must not ask for Label; the host has Value, or the empty one
	DropAbility Action = "drop-ability" // the request must not ask for the ability that is Value
	Tolerate    Action = "tolerate"     // the request must tolerate the host's Taint
	DropRule    Action = "drop-rule"    // the request must not have Rule, of the list that Constraint names
	AddSource   Action = "add-source"   // the image needs a source for the driver, which is Value
	Free        Action = "free"         // Amount of Class must become free on the host, on Device if named
	Shrink      Action = "shrink"       // the request must ask for Amount of Class less, of Disk if named
	DropNode    Action = "drop-node"    // the request must not ask for one NUMA node: Constraints.SameNode
	Wait        Action = "wait"         // until Until, as the aggregate has refused its shape, which is Value, for want of room
)

// Change is what would make a request fit on one host: all of Steps together. It is worked out with the
// built-in constraints; a host that an importer's Filter refuses is never named. Instead of freeing an
// amount one may as well ask for that much less.
type Change struct {
	Host  pool.HostID `json:"host"`
	Steps []Step      `json:"steps"`
	// Distance orders changes, nearest first. Freeing counts the part of the host's or device's capacity,
	// shrinking the part of what is asked, each other step 1, or 2 where it takes more than a word of the
	// caller or operator: a host to be brought back, an image to be made, a host on which creation failed.
	Distance float64 `json:"distance"`
}

// Step is one part of a Change. Fields that do not belong to the action are empty.
type Step struct {
	Do         Action          `json:"do"`
	Conditions pool.Conditions `json:"conditions,omitempty"` // of the host now
	Label      string          `json:"label,omitempty"`
	Value      string          `json:"value,omitempty"`
	Taint      *pool.Taint     `json:"taint,omitempty"`
	Constraint Constraint      `json:"constraint,omitempty"` // of a rule
	Rule       *Rule           `json:"rule,omitempty"`
	Class      pool.Class      `json:"class,omitempty"`
	Device     string          `json:"device,omitempty"`
	Disk       *int            `json:"disk,omitempty"` // index in Spec.Disks
	Amount     int64           `json:"amount,omitempty"`
	Until      time.Time       `json:"until,omitzero"`
}

// String says it to people, on one line.
func (c *Change) String() string {
	parts := make([]string, len(c.Steps))
	for i := range c.Steps {
		parts[i] = c.Steps[i].String()
	}
	return "host " + pool.Quote(string(c.Host)) + " could take it: " + strings.Join(parts, "; ")
}

// String says it to people, on one line.
func (s *Step) String() string {
	switch s.Do {
	case MakeReady:
		return "make the host ready (it is " + s.Conditions.String() + ")"
	case AllowHost:
		return "allow this host"
	case AllowZone:
		if s.Value == "" {
			return "ask for no zone"
		}
		return "allow zone " + pool.Quote(s.Value)
	case DropLabel:
		return "do not ask for label " + pool.Quote(s.Label)
	case DropAbility:
		return "do not ask for ability " + pool.Quote(s.Value)
	case Tolerate:
		return "tolerate taint " + pool.Quote(s.Taint.String())
	case DropRule:
		return "do without " + string(s.Constraint) + " " + strconv.Itoa(s.Rule.Index) + ": " + s.Rule.broken(s.Constraint)
	case DropNode:
		return "do not ask for one NUMA node"
	case AddSource:
		return "give the image a source for driver " + pool.Quote(s.Value)
	case Wait:
		return "wait until " + moment(s.Until) + ", when its shape " + pool.Quote(s.Value) + ", refused as full, is tried again"
	case Free:
		out := "free " + s.Class.Format(s.Amount) + " of " + string(s.Class)
		if s.Device != "" {
			out += " on device " + pool.Quote(s.Device)
		}
		return out + ", or ask for that much less"
	default:
		out := "ask for " + s.Class.Format(s.Amount) + " less of " + string(s.Class)
		if s.Disk != nil {
			out += " for disk " + strconv.Itoa(*s.Disk)
		}
		return out
	}
}

// nearest returns the change with the least distance, on equal distances on the host whose id comes first;
// nil when none is known.
func (d *decision) nearest(hosts iter.Seq[*pool.HostRecord]) (*Change, error) {
	var best *Change
	var steps []Step
	for h := range hosts {
		c, ok, err := d.change(h, steps[:0])
		if err != nil {
			return nil, err
		}
		steps = c.Steps
		if ok && (best == nil || c.Distance < best.Distance || c.Distance == best.Distance && c.Host < best.Host) {
			best = &Change{Host: c.Host, Steps: slices.Clone(c.Steps), Distance: c.Distance}
		}
	}
	return best, nil
}

// change returns what would make the request fit on one host; false when no way is known. The steps are
// appended to steps.
func (d *decision) change(h *pool.HostRecord, steps []Step) (Change, bool, error) {
	c := Change{Host: h.ID, Steps: steps}
	if !runs(h, d.kind) {
		return c, false, nil
	}
	for i, f := range d.scheduler.Filters {
		if r, err := d.filter(f, i, h); r != nil || err != nil {
			return c, false, err
		}
	}
	d.admissionSteps(h, &c)
	d.ruleSteps(h, &c)
	if !h.Aggregate() {
		return c, d.roomSteps(h, &c), nil
	}
	if slices.ContainsFunc(d.asked, func(n need) bool { return d.sameNode(n.class) }) {
		c.add(1, Step{Do: DropNode})
	}
	best, ok := d.shapeSteps(h, c)
	return best, ok, nil
}

func (c *Change) add(distance float64, s Step) {
	c.Distance += distance
	c.Steps = append(c.Steps, s)
}

// admissionSteps adds what has nothing to do with sizes.
func (d *decision) admissionSteps(h *pool.HostRecord, c *Change) {
	want := &d.req.Spec.Constraints
	if !h.Conditions.Schedulable() {
		distance := 2.0
		if h.Conditions.Has(pool.Ready) && h.Conditions.Without(pool.Ready|pool.Cordoned|pool.Draining) == 0 {
			distance = 1
		}
		c.add(distance, Step{Do: MakeReady, Conditions: h.Conditions})
	}
	switch {
	case slices.Contains(d.req.Avoid, h.ID):
		c.add(2, Step{Do: AllowHost})
	case !d.allowsHost(h.ID):
		c.add(1, Step{Do: AllowHost})
	}
	if len(want.Zones) > 0 && !slices.Contains(want.Zones, h.Zone) {
		c.add(1, Step{Do: AllowZone, Value: h.Zone})
	}
	for _, k := range d.labels {
		if have, ok := h.Labels[k]; !ok || have != want.Labels[k] {
			c.add(1, Step{Do: DropLabel, Label: k, Value: have})
		}
	}
	for _, a := range want.Abilities {
		if !slices.Contains(h.Abilities, a) {
			c.add(1, Step{Do: DropAbility, Value: a})
		}
	}
	for i, t := range h.Taints {
		if t.Effect == pool.NoSchedule && !d.tolerates(t) {
			c.add(1, Step{Do: Tolerate, Taint: &h.Taints[i]})
		}
	}
	if driver := h.ID.Driver(); d.req.Image.Sources[driver] == "" {
		c.add(2, Step{Do: AddSource, Value: driver})
	}
}

// roomSteps adds what makes room on a host that is no aggregate. It is false when no size that makes sense
// would fit.
func (d *decision) roomSteps(h *pool.HostRecord, c *Change) bool {
	rooms := d.roomsOf(h, asItIs)
	d.needs = d.asked
	if _, ok := d.onNode(h.Devices, rooms); !ok {
		c.add(1, Step{Do: DropNode})
	}
	for i := range d.asked {
		n := &d.asked[i]
		amount, freed, ok := n.amount, int64(0), true
		if !d.carries(h.Devices, rooms, n) {
			if n.pieces == nil {
				amount, freed = unitSteps(h, n, c)
			} else {
				amount, freed, ok = pieceSteps(h, n, c)
			}
		}
		if !ok || !classSteps(h, n, amount, freed, c) {
			return false
		}
	}
	return true
}

// least returns the smallest amount of n that is still a request of its kind: no instance is without cores
// or memory, no disk empty; IOPS, GPUs and own classes may come down to nothing.
func (n *need) least() int64 {
	switch {
	case n.class == pool.CPU || n.class == pool.Memory:
		return 1
	case strings.HasPrefix(string(n.class), "storage."):
		return int64(len(n.pieces))
	}
	return 0
}

// classSteps makes room for amount of a class as a whole, when freed of it is made free on devices already.
func classSteps(h *pool.HostRecord, n *need, amount, freed int64, c *Change) bool {
	capacity, inv := h.Capacity[n.class], h.Inventory[n.class]
	room := capacity - h.Used[n.class] + freed
	less := amount
	if amount > capacity {
		less = max(min(room, capacity), n.least())
	}
	if less > 0 && !inv.Allows(less) {
		less = inv.Most(less)
		if less < amount && n.divided(h.Devices) {
			return false // it would have to be divided between devices anew
		}
	}
	if less > capacity || less < n.least() {
		return false
	}
	if less < amount {
		c.add(float64(amount-less)/float64(n.amount), Step{Do: Shrink, Class: n.class, Amount: amount - less})
		amount = less
	}
	if amount > max(room, 0) {
		c.add(float64(amount-room)/float64(capacity), Step{Do: Free, Class: n.class, Amount: amount - room})
	}
	return true
}

// divided reports whether a host with these devices carries the class on them.
func (n *need) divided(devs []pool.Device) bool {
	first, end := devicesOf(devs, n.class)
	return first < end
}

// unitSteps frees whole units device by device, in order, and gives up the units that no device can ever
// carry. It returns how many are left and how many were freed.
func unitSteps(h *pool.HostRecord, n *need, c *Change) (amount, freed int64) {
	first, end := devicesOf(h.Devices, n.class)
	devs := h.Devices[first:end]
	var now, most int64
	for i := range devs {
		now += units(&devs[i], roomOn(h, &devs[i], asItIs))
		most += units(&devs[i], devs[i].Capacity())
	}
	if n.amount > most {
		c.add(float64(n.amount-now)/float64(n.amount), Step{Do: Shrink, Class: n.class, Amount: n.amount - now})
		return now, 0
	}
	missing := n.amount - now
	for i := range devs {
		room := roomOn(h, &devs[i], asItIs)
		has := units(&devs[i], room)
		gain := min(missing, units(&devs[i], devs[i].Capacity())-has)
		if gain <= 0 {
			continue
		}
		missing -= gain
		amount := has + gain - room
		freed += amount
		c.add(float64(amount)/float64(h.Capacity[n.class]), Step{Do: Free, Class: n.class, Device: devs[i].ID, Amount: amount})
	}
	return n.amount, freed
}

// pieceSteps gives every piece, largest first, a device: the fullest with room; else the one on which the
// least must be freed; else the piece shrinks to what is left on the device with the most room. It returns
// what the pieces add up to then and how much was freed, and false when a piece would shrink to nothing.
func pieceSteps(h *pool.HostRecord, n *need, c *Change) (amount, freed int64, ok bool) {
	first, end := devicesOf(h.Devices, n.class)
	devs := h.Devices[first:end]
	room, empty := make([]int64, len(devs)), make([]int64, len(devs)) // with what is on it, and without
	for i := range devs {
		room[i], empty[i] = roomOn(h, &devs[i], asItIs), devs[i].Capacity()
	}
	smallest := int64(0)
	if strings.HasPrefix(string(n.class), "storage.") {
		smallest = 1
	}
	for i := range n.pieces {
		p := &n.pieces[i]
		size := p.size
		at := fullest(room, size)
		if at < 0 {
			at = roomiest(room, empty, size)
		}
		if at < 0 {
			if at = roomiest(room, empty, smallest); at < 0 || n.apart && i < len(n.pieces)-1 {
				return 0, 0, false // or less would be divided otherwise
			}
			size = max(room[at], smallest)
			s := Step{Do: Shrink, Class: n.class, Amount: p.size - size}
			if p.disk >= 0 {
				s.Disk = &p.disk
			}
			c.add(float64(s.Amount)/float64(p.size), s)
		}
		if size > max(room[at], 0) {
			s := Step{Do: Free, Class: n.class, Device: devs[at].ID, Amount: size - room[at]}
			c.add(float64(s.Amount)/float64(devs[at].Capacity()), s)
			freed += s.Amount
			room[at] = size
		}
		if size == 0 {
			continue
		}
		room[at] -= size
		empty[at] -= size
		if n.apart {
			room[at], empty[at] = -1, -1
		}
		amount += size
	}
	return amount, freed, true
}

// fullest returns the index of the least room that is enough for size, or -1.
func fullest(room []int64, size int64) int {
	best := -1
	for i, r := range room {
		if r >= size && (best < 0 || r < room[best]) {
			best = i
		}
	}
	return best
}

// roomiest returns the index of the most room among the devices that could carry size if they were empty,
// or -1.
func roomiest(room, empty []int64, size int64) int {
	best := -1
	for i, r := range room {
		if empty[i] >= size && (best < 0 || r > room[best]) {
			best = i
		}
	}
	return best
}

// shapeSteps finds the change for an aggregate: for each shape the request is cut down to what that shape
// covers, and room made for what would then be booked. The least of these is the change.
func (d *decision) shapeSteps(h *pool.HostRecord, base Change) (best Change, found bool) {
	for i := range h.Shapes {
		c := Change{Host: base.Host, Distance: base.Distance, Steps: slices.Clone(base.Steps)}
		if d.cutTo(h, &h.Shapes[i], &c) && (!found || c.Distance < best.Distance) {
			best, found = c, true
		}
	}
	return best, found
}

// cutTo adds the steps that make the request one that shape s covers, and that make room for it.
func (d *decision) cutTo(h *pool.HostRecord, s *pool.Shape, c *Change) bool {
	cut := d.demand.Clone()
	for _, n := range d.asked {
		most := h.Capacity[n.class]
		if sold(h, n.class) {
			most = s.Resources[n.class]
		}
		if n.amount <= most {
			continue
		}
		if most < n.least() {
			return false
		}
		c.add(float64(n.amount-most)/float64(n.amount), Step{Do: Shrink, Class: n.class, Amount: n.amount - most})
		cut[n.class] = most
	}
	booked := smallestShape(h, cut)
	if booked == nil {
		return false
	}
	if f, full := h.FullAt(booked.Name, d.req.Now); full {
		c.add(1, Step{Do: Wait, Value: booked.Name, Until: f.Until})
	}
	all := booked.Resources.Clone()
	for class, n := range cut {
		if !sold(h, class) {
			all[class] = n
		}
	}
	for _, class := range all.Classes() {
		capacity := h.Capacity[class]
		if all[class] > capacity || !h.Inventory[class].Allows(all[class]) {
			return false
		}
		if short := all[class] - (capacity - h.Used[class]); short > 0 {
			c.add(float64(short)/float64(capacity), Step{Do: Free, Class: class, Amount: short})
		}
	}
	return true
}
