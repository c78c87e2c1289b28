package pool

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// HostID identifies a host in the whole pool: the driver's name, a slash, and the id that the host has in
// that driver.
type HostID string

// NewHostID joins a driver's name and a native id.
func NewHostID(driver, native string) HostID { return HostID(driver + "/" + native) }

// Driver returns the part before the first slash.
func (id HostID) Driver() string {
	d, _, _ := strings.Cut(string(id), "/")
	return d
}

// Native returns the part after the first slash.
func (id HostID) Native() string {
	_, n, _ := strings.Cut(string(id), "/")
	return n
}

// Valid reports, as an error, whether id has a driver's name and a native id of printable characters
// without spaces, at most 255 bytes in all.
func (id HostID) Valid() error {
	native := id.Native()
	if ValidName(id.Driver()) != nil || native == "" || ValidText(string(id), 255) != nil || strings.ContainsAny(native, " \t") {
		return invalid("host", string(id), "driver/native-id")
	}
	return nil
}

// Conditions is a set of facts about a host. The zero value is the empty set: a host that nothing is known
// of, and that takes no instance.
type Conditions uint8

// The conditions.
const (
	Ready       Conditions = 1 << iota // the driver reports the host as usable
	Cordoned                           // an operator wants no new instances on it
	Draining                           // its instances are being moved off
	Unreachable                        // complete observations have been missing for the grace period
	Fenced                             // proved to be off; it runs nothing
)

var conditionNames = [...]string{"ready", "cordoned", "draining", "unreachable", "fenced"}

// valid reports, as an error, a condition that has no name and would be lost when written.
func (s Conditions) valid() error {
	if s >= 1<<len(conditionNames) {
		return invalid("conditions", strconv.Itoa(int(s)), strings.Join(conditionNames[:], ", "))
	}
	return nil
}

// Has reports whether all of c are set.
func (s Conditions) Has(c Conditions) bool { return s&c == c }

// With returns s with c set.
func (s Conditions) With(c Conditions) Conditions { return s | c }

// Without returns s with c cleared.
func (s Conditions) Without(c Conditions) Conditions { return s &^ c }

// Schedulable reports whether new instances may be placed: ready and nothing else.
func (s Conditions) Schedulable() bool { return s == Ready }

// Names returns the names of the conditions that are set, in a fixed order.
func (s Conditions) Names() []string {
	names := []string{}
	for i, n := range conditionNames {
		if s.Has(1 << i) {
			names = append(names, n)
		}
	}
	return names
}

// String joins the names with commas; the empty set is "unknown".
func (s Conditions) String() string {
	if s == 0 {
		return "unknown"
	}
	return strings.Join(s.Names(), ",")
}

// MarshalJSON writes the names as a list.
func (s Conditions) MarshalJSON() ([]byte, error) { return json.Marshal(s.Names()) }

// UnmarshalJSON reads a list of names.
func (s *Conditions) UnmarshalJSON(b []byte) error {
	var names []string
	if err := json.Unmarshal(b, &names); err != nil {
		return err
	}
	var set Conditions
	for _, n := range names {
		i := slices.Index(conditionNames[:], n)
		if i < 0 {
			return invalid("conditions", n, strings.Join(conditionNames[:], ", "))
		}
		set |= 1 << i
	}
	*s = set
	return nil
}

// Host is a resource provider: a server, a cluster node, or an aggregate that places by itself, such as an
// OpenStack region. A driver fills in what it observes; labels, taints, zone and ratios may be overridden by the
// operator through the driver's configuration.
type Host struct {
	ID         HostID              `json:"id"`
	Name       string              `json:"name"`              // for people; need not be unique
	Address    string              `json:"address,omitempty"` // name or IP address under which it is managed
	Zone       string              `json:"zone,omitempty"`    // failure domain
	Labels     map[string]string   `json:"labels,omitempty"`
	Taints     []Taint             `json:"taints,omitempty"`
	Abilities  []string            `json:"abilities,omitempty"` // what can be done to machines on it beyond start and stop, by the names of package hypervisor
	Cost       int64               `json:"cost,omitempty"`      // per hour, in millionths of a currency that all hosts have in common
	Kinds      []Kind              `json:"kinds,omitempty"`     // what it runs; empty: virtual machines
	Inventory  map[Class]Inventory `json:"inventory"`
	Devices    []Device            `json:"devices,omitempty"`
	Shapes     []Shape             `json:"shapes,omitempty"` // only aggregates have shapes
	Conditions Conditions          `json:"conditions"`       // from a driver only Ready is taken
}

// Aggregate reports whether the host places by itself.
func (h *Host) Aggregate() bool { return len(h.Shapes) > 0 }

// Capacity returns what allocations may take in sum, per class. Where a class is divided into devices it is
// the sum of their capacities. Normalize has made sure that no sum overflows.
func (h *Host) Capacity() Resources {
	out := make(Resources, len(h.Inventory))
	divided := make(Resources)
	for i := range h.Devices {
		divided[h.Devices[i].Class] += h.Devices[i].Capacity()
	}
	for c, inv := range h.Inventory {
		if n, ok := divided[c]; ok {
			out.put(c, n)
		} else {
			out.put(c, inv.Capacity())
		}
	}
	return out
}

// Device returns the device with that id, or nil.
func (h *Host) Device(id string) *Device {
	for i := range h.Devices {
		if h.Devices[i].ID == id {
			return &h.Devices[i]
		}
	}
	return nil
}

// Shape returns the aggregate's shape of that name, or nil.
func (h *Host) Shape(name string) *Shape {
	for i := range h.Shapes {
		if h.Shapes[i].Name == name {
			return &h.Shapes[i]
		}
	}
	return nil
}

// Normalize checks the host and returns a copy that is ready to be booked: deep, devices sorted by class
// and id, and the inventory of every class that has devices set to their sum. A sum beyond an int64 is
// ErrOverflow, anything malformed ErrInvalid.
func (h Host) Normalize() (Host, error) {
	if err := h.ID.Valid(); err != nil {
		return Host{}, err
	}
	fail := func(err error) (Host, error) { return Host{}, InField("host "+Quote(string(h.ID)), err) }
	for _, t := range []string{h.Name, h.Address} {
		if err := ValidText(t, 255); err != nil {
			return fail(err)
		}
	}
	if h.Zone != "" {
		if err := validNameIn("zone", h.Zone); err != nil {
			return fail(err)
		}
	}
	if err := h.Conditions.valid(); err != nil {
		return fail(err)
	}
	if err := ValidLabels(h.Labels); err != nil {
		return fail(err)
	}
	for _, k := range h.Kinds {
		if k != VM && k != Container {
			return fail(invalid("kinds", string(k), "vm or container"))
		}
	}
	out := h
	out.Labels = maps.Clone(h.Labels)
	out.Kinds = slices.Clone(h.Kinds)
	out.Inventory = make(map[Class]Inventory, len(h.Inventory))
	for c, inv := range h.Inventory {
		if err := validOffer(c); err != nil {
			return fail(InField("inventory", err))
		}
		if err := inv.Valid(); err != nil {
			return fail(InField("inventory."+string(c), err))
		}
		out.Inventory[c] = inv
	}
	var err error
	if out.Taints, err = normalizeTaints(h.Taints); err != nil {
		return fail(err)
	}
	if err := validAbilities(h.Abilities); err != nil {
		return fail(err)
	}
	out.Abilities = slices.Clone(h.Abilities)
	slices.Sort(out.Abilities)
	if out.Abilities = slices.Compact(out.Abilities); len(out.Abilities) == 0 {
		out.Abilities = nil
	}
	if h.Cost < 0 {
		return fail(invalid("cost", strconv.FormatInt(h.Cost, 10), "zero or more"))
	}
	if out.Devices, err = normalizeDevices(h.Devices, out.Inventory); err != nil {
		return fail(err)
	}
	out.Shapes = nil
	names := make(map[string]bool, len(h.Shapes))
	for i, s := range h.Shapes {
		if err := validNameIn("shapes["+strconv.Itoa(i)+"]", s.Name); err != nil {
			return fail(err)
		}
		if names[s.Name] {
			return fail(invalid("shapes["+strconv.Itoa(i)+"]", s.Name, "a name that is unique on the host"))
		}
		names[s.Name] = true
		if err := s.Resources.Valid(); err != nil {
			return fail(InField("shapes."+s.Name, err))
		}
		out.Shapes = append(out.Shapes, Shape{Name: s.Name, Resources: s.Resources.Clone()})
	}
	return out, nil
}

// validOffer reports, as an error, a class that no host can offer.
func validOffer(c Class) error {
	if c == Instances {
		return invalid("class", string(c), "a class of hosts; instances are counted by quotas")
	}
	return c.Valid()
}

// normalizeDevices returns the devices sorted and sets the sums of their totals and reservations in inv.
func normalizeDevices(in []Device, inv map[Class]Inventory) ([]Device, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := slices.Clone(in)
	slices.SortFunc(out, func(a, b Device) int {
		if c := strings.Compare(string(a.Class), string(b.Class)); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	seen := make(map[string]bool, len(out))
	sums := make(map[Class]Inventory)
	capacities := make(Resources)
	for i := range out {
		d := &out[i]
		if err := ValidText(d.ID, 255); err != nil || d.ID == "" || seen[d.ID] {
			return nil, invalid("devices", d.ID, "a printable id that is unique on the host")
		}
		seen[d.ID] = true
		at := "devices[" + Quote(d.ID) + "]"
		if err := validOffer(d.Class); err != nil {
			return nil, InField(at, err)
		}
		if err := d.Inventory.Valid(); err != nil {
			return nil, InField(at, err)
		}
		if d.limited() {
			return nil, InField(at, invalid("units", string(d.Class), "limits of what an instance takes in the inventory of the class"))
		}
		if err := ValidLabels(d.Labels); err != nil {
			return nil, InField(at, err)
		}
		if ValidText(d.Node, 63) != nil {
			return nil, InField(at, invalid("node", d.Node, "a printable name, at most 63 bytes"))
		}
		d.Labels = maps.Clone(d.Labels)
		s := sums[d.Class]
		total, ok1 := addInt64(s.Total, d.Total)
		reserved, ok2 := addInt64(s.Reserved, d.Reserved)
		capacity, ok3 := addInt64(capacities[d.Class], d.Capacity())
		if !ok1 || !ok2 || !ok3 {
			return nil, &Error{Kind: ErrOverflow, Field: at, Want: "a sum of the class within an int64"}
		}
		class := inv[d.Class]
		class.Total, class.Reserved, class.Ratio = total, reserved, 0
		sums[d.Class] = class
		capacities[d.Class] = capacity
	}
	maps.Copy(inv, sums)
	return out, nil
}
