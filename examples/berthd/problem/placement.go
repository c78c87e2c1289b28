package problem

import (
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// mostVerdicts bounds the hosts in one answer; counts covers them all.
const mostVerdicts = 500

// Refusal is an explanation of the scheduler: for every host whether it qualifies, and why not.
type Refusal struct {
	Demand  map[string]int64 `json:"demand" doc:"What the request takes, per class"`
	Counts  []Count          `json:"counts" doc:"Hosts per constraint, the most frequent first"`
	Hosts   []Verdict        `json:"hosts" doc:"The hosts that qualify, the best first, then the others by id"`
	Omitted int              `json:"omitted,omitempty" doc:"Hosts left out of hosts; counts has them"`
	Never   bool             `json:"never" doc:"No host could take it even if all were empty: waiting does not help"`
	Nearest *Change          `json:"nearest,omitempty" doc:"What would make the request fit"`
}

// Count is how many hosts failed one constraint first.
type Count struct {
	Constraint string `json:"constraint" doc:"The constraint" example:"resource"`
	Class      string `json:"class,omitempty" doc:"Class of resource, where there is one" example:"memory"`
	Hosts      int    `json:"hosts" doc:"Number of hosts" example:"12"`
}

// Verdict is what became of one host.
type Verdict struct {
	Host   string   `json:"host" doc:"Id of the host" example:"sim/node-0001"`
	Score  float64  `json:"score" doc:"When it qualifies: higher is better"`
	Reason *Reason  `json:"reason,omitempty" doc:"Absent when it qualifies"`
	Unmet  []Reason `json:"unmet,omitempty" doc:"What is preferred and not so, when it qualifies"`
}

// Reason says why a host was refused and by how much.
type Reason struct {
	Constraint string    `json:"constraint" enum:"avoid,condition,host,zone,label,image,kind,ability,taint,affinity,anti-affinity,spread,filter,shape,full,unit,resource,device,node" doc:"The first constraint that failed"`
	Message    string    `json:"message" doc:"The same for people" example:"memory: 64 GiB asked, 12 GiB free of 60 GiB: short of 52 GiB"`
	Never      bool      `json:"never" doc:"The host could not take it even when empty"`
	Conditions []string  `json:"conditions,omitempty" doc:"Of the host, where they stand in the way"`
	Label      string    `json:"label,omitempty" doc:"Key of the label"`
	Want       []string  `json:"want,omitempty" doc:"What was asked for"`
	Have       string    `json:"have,omitempty" doc:"What the host has"`
	Taint      string    `json:"taint,omitempty" doc:"That is not tolerated: key=value:effect"`
	Rule       *Rule     `json:"rule,omitempty" doc:"About other instances, that is broken"`
	Class      string    `json:"class,omitempty" doc:"Class of resource"`
	Disk       *int      `json:"disk,omitempty" doc:"Index of the disk that found no device"`
	Device     string    `json:"device,omitempty" doc:"The device with the most room"`
	Need       int64     `json:"need,omitempty" doc:"What was asked"`
	Free       int64     `json:"free,omitempty" doc:"What was there"`
	Capacity   int64     `json:"capacity,omitempty" doc:"What the host or device has in all"`
	Short      int64     `json:"short,omitempty" doc:"Need less free"`
	At         time.Time `json:"at,omitzero" doc:"When the aggregate refused the shape"`
	Until      time.Time `json:"until,omitzero" doc:"Until when it counts as full"`
	Detail     string    `json:"detail,omitempty" doc:"A filter's own words"`
}

// Rule is a rule about other instances as a host meets it.
type Rule struct {
	Index    int    `json:"index" doc:"In constraints.affinity, anti_affinity or spread"`
	Selects  string `json:"selects" doc:"Whom, for people"`
	Within   string `json:"within,omitempty" doc:"Key of the failure domain; absent: the host"`
	Domain   string `json:"domain,omitempty" doc:"That the host is in; absent: none"`
	Count    int    `json:"count,omitempty" doc:"How many of those selected are there"`
	Least    int    `json:"least,omitempty" doc:"Of a spread: how many are in the domain that has fewest"`
	MaxSkew  int    `json:"max_skew,omitempty" doc:"Of a spread"`
	Anywhere int    `json:"anywhere,omitempty" doc:"How many of those selected are placed at all"`
}

// Change is what would make a request fit on one host: all steps together.
type Change struct {
	Host     string  `json:"host" doc:"Id of the host" example:"sim/node-0001"`
	Message  string  `json:"message" doc:"The same for people"`
	Distance float64 `json:"distance" doc:"How far it is from what was asked"`
	Steps    []Step  `json:"steps" doc:"What would have to change"`
}

// Step is one part of a change.
type Step struct {
	Do      string    `json:"do" enum:"make-ready,allow-host,allow-zone,drop-label,drop-ability,tolerate,drop-rule,drop-node,add-source,free,shrink,wait" doc:"What to do"`
	Message string    `json:"message" doc:"The same for people"`
	Label   string    `json:"label,omitempty" doc:"Key of the label"`
	Value   string    `json:"value,omitempty" doc:"Zone, label value, ability, taint or driver"`
	Rule    *Rule     `json:"rule,omitempty" doc:"To do without"`
	Class   string    `json:"class,omitempty" doc:"Class of resource"`
	Device  string    `json:"device,omitempty" doc:"The device"`
	Disk    *int      `json:"disk,omitempty" doc:"Index of the disk"`
	Amount  int64     `json:"amount,omitempty" doc:"How much"`
	Until   time.Time `json:"until,omitzero" doc:"How long to wait"`
}

// NewRefusal converts an explanation.
func NewRefusal(e scheduler.Explanation) *Refusal {
	out := &Refusal{Demand: make(map[string]int64, len(e.Demand)), Never: e.Never, Counts: []Count{}, Hosts: []Verdict{}}
	for c, n := range e.Demand {
		out.Demand[string(c)] = n
	}
	for _, c := range e.Counts {
		out.Counts = append(out.Counts, Count{Constraint: string(c.Constraint), Class: string(c.Class), Hosts: c.Hosts})
	}
	for i, h := range e.Hosts {
		if i == mostVerdicts {
			out.Omitted = len(e.Hosts) - mostVerdicts
			break
		}
		out.Hosts = append(out.Hosts, verdict(h))
	}
	out.Nearest = change(e.Nearest)
	return out
}

// Bare is the same for whoever may not know of hosts.
func (r *Refusal) Bare() *Refusal {
	return &Refusal{Demand: r.Demand, Counts: []Count{}, Hosts: []Verdict{}, Never: r.Never}
}

func change(c *scheduler.Change) *Change {
	if c == nil {
		return nil
	}
	n := &Change{Host: string(c.Host), Message: c.String(), Distance: c.Distance, Steps: []Step{}}
	for _, s := range c.Steps {
		n.Steps = append(n.Steps, Step{
			Do: string(s.Do), Message: s.String(), Label: s.Label, Value: s.Value,
			Class: string(s.Class), Device: s.Device, Disk: s.Disk, Amount: s.Amount, Until: s.Until, Rule: (*Rule)(s.Rule),
		})
		if s.Taint != nil {
			n.Steps[len(n.Steps)-1].Value = s.Taint.String()
		}
	}
	return n
}

func verdict(v scheduler.Verdict) Verdict {
	out := Verdict{Host: string(v.Host), Score: v.Score}
	if v.Reason != nil {
		r := reason(v.Reason)
		out.Reason = &r
	}
	for i := range v.Unmet {
		out.Unmet = append(out.Unmet, reason(&v.Unmet[i]))
	}
	return out
}

func reason(r *scheduler.Reason) Reason {
	out := Reason{
		Constraint: string(r.Constraint), Message: r.String(), Never: r.Never, Label: r.Label, Want: r.Want,
		Have: r.Have, Class: string(r.Class), Disk: r.Disk, Device: r.Device, Need: r.Need, Free: r.Free,
		Capacity: r.Capacity, Short: r.Short, Detail: r.Detail, At: r.At, Until: r.Until, Rule: (*Rule)(r.Rule),
	}
	if r.Taint != nil {
		out.Taint = r.Taint.String()
	}
	if r.Conditions != pool.Conditions(0) {
		out.Conditions = r.Conditions.Names()
	}
	return out
}

// Room is how many more instances of one request fit.
type Room struct {
	Fit     int64      `json:"fit" doc:"How many can be placed one after another; quotas are not part of it" example:"42"`
	Never   bool       `json:"never" doc:"Not one would fit even if nothing were placed anywhere"`
	Counts  []Count    `json:"counts" doc:"What runs out: hosts per constraint that refuses the next one, the most frequent first"`
	Hosts   []HostRoom `json:"hosts,omitempty" doc:"Host by host, by id"`
	Omitted int        `json:"omitted,omitempty" doc:"Hosts left out of hosts"`
	Nearest *Change    `json:"nearest,omitempty" doc:"What would make one fit, where none does"`
}

// HostRoom is one host's part.
type HostRoom struct {
	Host   string `json:"host" doc:"Id of the host" example:"sim/node-0001"`
	Fit    int64  `json:"fit" doc:"How many of them it takes"`
	Reason Reason `json:"reason" doc:"Why it takes no more; never in it: it would not take one even when empty"`
}

// NewRoom converts a room.
func NewRoom(r scheduler.Room) *Room {
	out := &Room{Fit: r.Fit, Never: r.Never, Counts: []Count{}, Nearest: change(r.Nearest)}
	for _, c := range r.Counts {
		out.Counts = append(out.Counts, Count{Constraint: string(c.Constraint), Class: string(c.Class), Hosts: c.Hosts})
	}
	for i := range r.Hosts {
		if i == mostVerdicts {
			out.Omitted = len(r.Hosts) - mostVerdicts
			break
		}
		h := &r.Hosts[i]
		out.Hosts = append(out.Hosts, HostRoom{Host: string(h.Host), Fit: h.Fit, Reason: reason(&h.Reason)})
	}
	return out
}
