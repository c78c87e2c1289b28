package scheduler

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

// Constraint names what a host did not satisfy.
type Constraint string

// The constraints, in the order in which they are asked.
const (
	ByAvoid        Constraint = "avoid"         // in Request.Avoid
	ByCondition    Constraint = "condition"     // not ready, or cordoned, draining, unreachable, fenced
	ByHost         Constraint = "host"          // not in Constraints.Hosts
	ByZone         Constraint = "zone"          // not in Constraints.Zones
	ByLabel        Constraint = "label"         // lacks one of Constraints.Labels
	ByImage        Constraint = "image"         // the image has no source for the driver
	ByKind         Constraint = "kind"          // does not run VMs, or containers
	ByAbility      Constraint = "ability"       // what cannot be done to machines there
	ByTaint        Constraint = "taint"         // a taint that is not tolerated
	ByAffinity     Constraint = "affinity"      // not where those are that it must be near
	ByAntiAffinity Constraint = "anti-affinity" // where one is that it must be apart from
	BySpread       Constraint = "spread"        // where there are too many already
	ByFilter       Constraint = "filter"        // a Filter of the importer
	ByShape        Constraint = "shape"         // an aggregate that sells no shape large enough
	ByFull         Constraint = "full"          // an aggregate that has refused that shape a short time ago, whatever its inventory says
	ByUnit         Constraint = "unit"          // an amount that the host does not give to one instance
	ByResource     Constraint = "resource"      // too little of a class
	ByDevice       Constraint = "device"        // no device has room for the whole of a disk or GPU
	ByNode         Constraint = "node"          // no NUMA node has room for all of Constraints.SameNode
)

// Reason says why a host was refused: the first constraint that it failed, and by how much. Fields that do
// not belong to the constraint are empty. In JSON a field "message" holds what String returns.
type Reason struct {
	Constraint Constraint `json:"constraint"`

	// Never: the host could not take the request even if nothing were placed on it and it accepted
	// instances. A Filter sets it where it knows.
	Never bool `json:"never"`

	Conditions pool.Conditions `json:"conditions,omitempty"` // of the host, when they stand in the way
	Label      string          `json:"label,omitempty"`      // key of the label
	Want       []string        `json:"want,omitempty"`       // zones, label value or ability asked for; drivers that the image has sources for; kind asked for
	Have       string          `json:"have,omitempty"`       // the host's zone, label value, driver, kinds or shape
	At         time.Time       `json:"at,omitzero"`          // when the shape was refused
	Until      time.Time       `json:"until,omitzero"`       // until when it counts as full
	Taint      *pool.Taint     `json:"taint,omitempty"`      // that is not tolerated
	Rule       *Rule           `json:"rule,omitempty"`       // about other instances

	Class    pool.Class `json:"class,omitempty"`
	Disk     *int       `json:"disk,omitempty"`   // index in Spec.Disks, where one disk found no device
	Device   string     `json:"device,omitempty"` // the device with the most room
	Need     int64      `json:"need,omitempty"`   // what was asked, in the unit of Class
	Free     int64      `json:"free,omitempty"`   // what was there; below zero on a host that has shrunk
	Capacity int64      `json:"capacity,omitempty"`
	Short    int64      `json:"short,omitempty"` // Need less Free

	// What one instance may take of Class, where Need is something else.
	MinUnit  int64 `json:"min_unit,omitempty"`
	MaxUnit  int64 `json:"max_unit,omitempty"`
	StepSize int64 `json:"step_size,omitempty"`

	Detail string `json:"detail,omitempty"` // a Filter's own words
}

// String says it to people, on one line; whatever comes from outside is quoted.
func (r *Reason) String() string {
	switch r.Constraint {
	case ByAvoid:
		return "to be avoided by this instance"
	case ByCondition:
		if !r.Conditions.Has(pool.Ready) {
			return "not ready (" + r.Conditions.String() + ")"
		}
		return r.Conditions.Without(pool.Ready).String()
	case ByHost:
		return "not one of the hosts asked for"
	case ByZone:
		if r.Have == "" {
			return "in no zone, asked for " + list(r.Want)
		}
		return "in zone " + pool.Quote(r.Have) + ", asked for " + list(r.Want)
	case ByLabel:
		if r.Have == "" {
			return "has no label " + pool.Quote(r.Label) + ", asked for " + list(r.Want)
		}
		return "label " + pool.Quote(r.Label) + " is " + pool.Quote(r.Have) + ", asked for " + list(r.Want)
	case ByImage:
		if len(r.Want) == 0 {
			return "the image has no source for any driver"
		}
		return "the image has no source for driver " + pool.Quote(r.Have) + ", only for " + list(r.Want)
	case ByKind:
		return "runs " + r.Have + ", asked for " + list(r.Want)
	case ByAbility:
		return "its machines cannot be asked to " + list(r.Want)
	case ByTaint:
		return "has a taint that is not tolerated: " + pool.Quote(r.Taint.String())
	case ByAffinity, ByAntiAffinity, BySpread:
		return r.Rule.broken(r.Constraint)
	case ByShape:
		return "sells no shape that covers the request; the nearest has " + r.amounts()
	case ByFull:
		return "shape " + pool.Quote(r.Have) + " was refused as full at " + moment(r.At) + "; tried again at " + moment(r.Until)
	case ByUnit:
		return string(r.Class) + ": " + r.Class.Format(r.Need) + " asked, an instance gets " + r.units()
	case ByResource:
		return string(r.Class) + ": " + r.amounts()
	case ByDevice:
		return r.device()
	case ByNode:
		return "no NUMA node has room for " + list(r.Want) + " together"
	}
	if r.Detail == "" {
		return "refused by a filter"
	}
	return "refused by a filter: " + pool.Quote(r.Detail)
}

// moment is a time for people: the second after which it is over.
func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (r *Reason) amounts() string {
	f := r.Class.Format
	if r.Constraint == ByShape {
		return string(r.Class) + " " + f(r.Free) + ", asked for " + f(r.Need) + ": short of " + f(r.Short)
	}
	return f(r.Need) + " asked, " + f(r.Free) + " free of " + f(r.Capacity) + ": short of " + f(r.Short)
}

func (r *Reason) units() string {
	var parts []string
	f := r.Class.Format
	if r.MinUnit > 0 {
		parts = append(parts, f(r.MinUnit)+" or more")
	}
	if r.MaxUnit > 0 {
		parts = append(parts, f(r.MaxUnit)+" or less")
	}
	if r.StepSize > 0 {
		parts = append(parts, "multiples of "+f(r.StepSize))
	}
	return strings.Join(parts, ", ")
}

func (r *Reason) device() string {
	what := string(r.Class)
	if r.Disk != nil {
		what = "disk " + strconv.Itoa(*r.Disk) + " (" + string(r.Class) + ")"
	}
	if r.Class == pool.GPU {
		return what + ": " + r.amounts() + " on separate devices"
	}
	f := r.Class.Format
	return what + ": " + f(r.Need) + " asked on one device; the one with most room, " + pool.Quote(r.Device) +
		", has " + f(r.Free) + " free of " + f(r.Capacity) + ": short of " + f(r.Short)
}

// MarshalJSON writes the fields and the message.
func (r Reason) MarshalJSON() ([]byte, error) {
	type fields Reason
	return json.Marshal(struct {
		fields
		Message string `json:"message"`
	}{fields(r), r.String()})
}

// list prints what is acceptable, each quoted, no more than a few.
func list(values []string) string {
	const most = 8
	var b strings.Builder
	for i, v := range values {
		if i == most {
			b.WriteString(" or " + strconv.Itoa(len(values)-most) + " more")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(pool.Quote(v))
	}
	return b.String()
}

// reason works out what a failure means in figures.
func (d *decision) reason(h *pool.HostRecord, f failure) Reason {
	r := Reason{Constraint: f.by}
	c := &d.req.Spec.Constraints
	switch f.by {
	case ByCondition:
		r.Conditions = h.Conditions
	case ByZone:
		r.Have, r.Want = h.Zone, c.Zones
	case ByLabel:
		r.Label = d.labels[f.index]
		r.Have, r.Want = h.Labels[r.Label], []string{c.Labels[r.Label]}
	case ByImage:
		r.Have, r.Want = h.ID.Driver(), d.drivers()
	case ByKind:
		r.Have, r.Want = kinds(h), []string{string(d.kind)}
	case ByAbility:
		r.Want = c.Abilities[f.index : f.index+1]
	case ByTaint:
		r.Taint = &h.Taints[f.index]
	case ByAffinity, ByAntiAffinity, BySpread:
		r.Rule = d.rules[f.index].told(h)
	case ByFilter:
		r = *f.reason
		r.Constraint = ByFilter
	case ByShape:
		d.shapeReason(h, &r)
	case ByFull:
		f, _ := h.FullAt(d.shape.Name, d.req.Now)
		r.Have, r.At, r.Until = d.shape.Name, f.At, f.Until
	case ByUnit:
		n := d.needs[f.index]
		i := h.Inventory[n.class]
		r.Class, r.Need, r.MinUnit, r.MaxUnit, r.StepSize = n.class, n.amount, i.MinUnit, i.MaxUnit, i.StepSize
	case ByResource:
		n := d.needs[f.index]
		r.Class, r.Need, r.Capacity = n.class, n.amount, h.Capacity[n.class]
		r.Free = r.Capacity - h.Used[n.class]
		r.Short = n.amount - r.Free
	case ByDevice:
		d.deviceReason(h, &d.needs[f.index], &r)
	case ByNode:
		for _, n := range d.needs {
			if d.sameNode(n.class) {
				r.Want = append(r.Want, string(n.class))
			}
		}
	}
	return r
}

// drivers returns the drivers that the image has a source for.
func (d *decision) drivers() []string {
	var out []string
	for name, source := range d.req.Image.Sources {
		if source != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func kinds(h *pool.HostRecord) string {
	if len(h.Kinds) == 0 {
		return string(pool.VM)
	}
	names := make([]string, len(h.Kinds))
	for i, k := range h.Kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

// shapeReason names the first class in which the shape that comes nearest falls short.
func (d *decision) shapeReason(h *pool.HostRecord, r *Reason) {
	s := d.nearestShape(h)
	for _, n := range d.asked {
		if n.amount > s.Resources[n.class] && sold(h, n.class) {
			r.Class, r.Need, r.Free = n.class, n.amount, s.Resources[n.class]
			r.Short, r.Have = r.Need-r.Free, s.Name
			return
		}
	}
}

// nearestShape returns the shape that lacks the least of the request, each class counted by the part of
// what is asked of it.
func (d *decision) nearestShape(h *pool.HostRecord) *pool.Shape {
	var best *pool.Shape
	least := 0.0
	for i := range h.Shapes {
		s := &h.Shapes[i]
		lacks := 0.0
		for _, n := range d.asked {
			if sold(h, n.class) {
				lacks += float64(max(0, n.amount-s.Resources[n.class])) / float64(n.amount)
			}
		}
		if best == nil || lacks < least || lacks == least && s.Name < best.Name {
			best, least = s, lacks
		}
	}
	return best
}

// deviceReason names the first piece, largest first, that finds no device, and what the device with the
// most room has left after the larger ones.
func (d *decision) deviceReason(h *pool.HostRecord, n *need, r *Reason) {
	first, end := devicesOf(h.Devices, n.class)
	devs := h.Devices[first:end]
	r.Class = n.class
	if n.pieces == nil {
		r.Need = n.amount
		for i := range devs {
			r.Free += units(&devs[i], roomOn(h, &devs[i], asItIs))
			r.Capacity += units(&devs[i], devs[i].Capacity())
		}
		r.Short = r.Need - r.Free
		return
	}
	room := make([]int64, len(devs))
	for i := range devs {
		room[i] = roomOn(h, &devs[i], asItIs)
	}
	for i, p := range n.pieces {
		steps, chosen := 1, [1]int{}
		if assign(n.pieces[i:i+1], n.apart, room, chosen[:], &steps) {
			continue
		}
		most := 0
		for i := range room {
			if room[i] > room[most] {
				most = i
			}
		}
		if p.disk >= 0 {
			r.Disk = &p.disk
		}
		r.Device, r.Need, r.Free, r.Capacity = devs[most].ID, p.size, room[most], devs[most].Capacity()
		r.Short = p.size - room[most]
		return
	}
}
