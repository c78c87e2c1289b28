package pool

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Constraints narrow the hosts that qualify, and say which of them are preferred. Empty fields do not constrain.
type Constraints struct {
	Hosts       []HostID          `json:"hosts,omitempty"`       // one of these hosts
	Zones       []string          `json:"zones,omitempty"`       // one of these zones
	Labels      map[string]string `json:"labels,omitempty"`      // all of these host labels
	Abilities   []string          `json:"abilities,omitempty"`   // all of these abilities of hosts
	Tolerations []Toleration      `json:"tolerations,omitempty"` // hosts' taints that do not matter
	SameNode    []Class           `json:"same_node,omitempty"`   // what it takes of these classes is all on devices of one NUMA node

	Affinity     []Affinity `json:"affinity,omitempty"`      // where these are
	AntiAffinity []Affinity `json:"anti_affinity,omitempty"` // where none of these is
	Spread       []Spread   `json:"spread,omitempty"`        // evenly
}

// Clone returns a deep copy.
func (c Constraints) Clone() Constraints {
	c.Hosts = slices.Clone(c.Hosts)
	c.Zones = slices.Clone(c.Zones)
	c.Labels = maps.Clone(c.Labels)
	c.Abilities = slices.Clone(c.Abilities)
	c.Tolerations = slices.Clone(c.Tolerations)
	c.SameNode = slices.Clone(c.SameNode)
	c.Affinity = cloneAffinity(c.Affinity)
	c.AntiAffinity = cloneAffinity(c.AntiAffinity)
	c.Spread = slices.Clone(c.Spread)
	for i := range c.Spread {
		c.Spread[i].Selector = c.Spread[i].clone()
	}
	return c
}

func (c Constraints) valid() error {
	if len(c.Hosts) > 1024 || len(c.Zones) > 1024 {
		return invalid("", "", "at most 1024 hosts and 1024 zones")
	}
	for i, h := range c.Hosts {
		if h.Valid() != nil {
			return invalid("hosts["+strconv.Itoa(i)+"]", string(h), "driver/native-id")
		}
	}
	for i, z := range c.Zones {
		if err := validNameIn("zones["+strconv.Itoa(i)+"]", z); err != nil {
			return err
		}
	}
	if err := validAbilities(c.Abilities); err != nil {
		return err
	}
	if len(c.Tolerations) > maxTaints {
		return invalid("tolerations", strconv.Itoa(len(c.Tolerations)), "at most "+strconv.Itoa(maxTaints))
	}
	for i, t := range c.Tolerations {
		if err := validLabel(t.Key, t.Value); err != nil {
			return InField("tolerations["+strconv.Itoa(i)+"]", err)
		}
	}
	if len(c.SameNode) > maxSameNode {
		return invalid("same_node", strconv.Itoa(len(c.SameNode)), "at most "+strconv.Itoa(maxSameNode)+" classes")
	}
	for i, class := range c.SameNode {
		if err := validOffer(class); err != nil {
			return InField("same_node["+strconv.Itoa(i)+"]", err)
		}
	}
	if err := validAffinity(c.Affinity); err != nil {
		return InField("affinity", err)
	}
	if err := validAffinity(c.AntiAffinity); err != nil {
		return InField("anti_affinity", err)
	}
	if err := validSpread(c.Spread); err != nil {
		return InField("spread", err)
	}
	return ValidLabels(c.Labels)
}

// maxSameNode bounds Constraints.SameNode.
const maxSameNode = 16

func validAbilities(list []string) error {
	if len(list) > 64 {
		return invalid("abilities", strconv.Itoa(len(list)), "at most 64")
	}
	for i, a := range list {
		if err := validNameIn("abilities["+strconv.Itoa(i)+"]", a); err != nil {
			return err
		}
	}
	return nil
}

// Effect is what a taint does to instances that do not tolerate it. The names are those of Kubernetes.
type Effect string

// The effects. What is on a host already stays there whatever its taints: Drain moves it off.
const (
	NoSchedule       Effect = "no-schedule"        // none is placed there
	PreferNoSchedule Effect = "prefer-no-schedule" // none is as long as another host can take it
)

// Taint keeps instances off a host that do not tolerate it. Like a label it is the operator's.
type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect Effect `json:"effect"`
}

// String prints the taint as key=value:effect.
func (t Taint) String() string {
	if t.Value == "" {
		return t.Key + ":" + string(t.Effect)
	}
	return t.Key + "=" + t.Value + ":" + string(t.Effect)
}

// Toleration lets an instance onto hosts with taints of a key, and of a value unless that is empty.
type Toleration struct {
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
}

// Tolerates reports whether t is for that taint.
func (t Toleration) Tolerates(x Taint) bool {
	return t.Key == x.Key && (t.Value == "" || t.Value == x.Value)
}

// Tolerates reports whether the constraints let an instance onto hosts with that taint.
func (c *Constraints) Tolerates(x Taint) bool {
	for _, t := range c.Tolerations {
		if t.Tolerates(x) {
			return true
		}
	}
	return false
}

const maxTaints = 64

// normalizeTaints returns the taints in order, each once.
func normalizeTaints(in []Taint) ([]Taint, error) {
	if len(in) == 0 {
		return nil, nil
	}
	if len(in) > maxTaints {
		return nil, invalid("taints", strconv.Itoa(len(in)), "at most "+strconv.Itoa(maxTaints))
	}
	for i, t := range in {
		at := "taints[" + strconv.Itoa(i) + "]"
		if err := validLabel(t.Key, t.Value); err != nil {
			return nil, InField(at, err)
		}
		if t.Effect != NoSchedule && t.Effect != PreferNoSchedule {
			return nil, invalid(at+".effect", string(t.Effect), "no-schedule or prefer-no-schedule")
		}
	}
	out := slices.Clone(in)
	slices.SortFunc(out, func(a, b Taint) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(out), nil
}
