package rebalance

import (
	"strconv"

	"github.com/berthage/berthage/pool"
)

// Move is one step: an instance's machine goes to another host.
type Move struct {
	Instance   pool.InstanceID `json:"instance"`
	Name       string          `json:"name"`
	Project    string          `json:"project"`
	From       pool.HostID     `json:"from"`
	To         pool.HostID     `json:"to"`
	Allocation pool.Allocation `json:"allocation"` // what it takes there
	Bytes      int64           `json:"bytes"`
	Wave       int             `json:"wave"` // from 0; moves of one wave may go side by side
	For        pool.HostID     `json:"for"`  // the host that it is about; another one than From: it makes room there for such a move
	Why        string          `json:"why"`
}

// Figures describe the pool before or after the moves. Only those that belong to the goal are filled in, and Hosts.
type Figures struct {
	Hosts      int     `json:"hosts"`      // in use: something is placed or held on them
	On         int     `json:"on"`         // instances on the hosts to be drained
	Violations int     `json:"violations"` // instances on a host that their constraints, or a filter, do not allow
	Overloaded int     `json:"overloaded"` // hosts, or devices of hosts, over their capacity
	Excess     float64 `json:"excess"`     // what is over it, summed as parts of the capacity
	Uneven     int     `json:"uneven"`     // hosts further from the mean use than the tolerance
	Unevenness float64 `json:"unevenness"` // what is measured by Balance: how far they are beyond it, squared and summed
	LeastUse   float64 `json:"least_use"`  // of any host that may take part
	MostUse    float64 `json:"most_use"`   //
	Instances  int     `json:"instances"`  // placed on hosts
	Pool       int     `json:"pool"`       // hosts in use or not
}

// Skip is a host or an instance that the plan passed by, and why.
type Skip struct {
	Host     pool.HostID     `json:"host"`
	Instance pool.InstanceID `json:"instance,omitempty"` // where it is about one instance
	Reason   string          `json:"reason"`
}

// String says it on one line.
func (s Skip) String() string {
	what := "host " + pool.Quote(string(s.Host))
	if s.Instance != "" {
		what = "instance " + string(s.Instance) + " on " + what
	}
	return what + ": " + s.Reason
}

// Result is a plan. Moves stand in the order in which they are to be carried out; a wave begins when the one before it
// has ended.
type Result struct {
	Goal   Goal    `json:"goal"`
	Moves  []Move  `json:"moves"`
	Waves  int     `json:"waves"`
	Bytes  int64   `json:"bytes"` // moved in all
	Before Figures `json:"before"`
	After  Figures `json:"after"` // by the State in which the moves are folded

	Emptied []pool.HostID `json:"emptied"` // hosts in use before and not after, by id
	Skipped []Skip        `json:"skipped"` // by host, then by instance

	// Load is what is to be expected to be measured when the moves are done, where Options.Load was given: for the next
	// plan, until there are new measurements.
	Load Load `json:"load,omitzero"`

	// Looks is how many times the search has looked at a host: its work.
	Looks int64 `json:"looks"`
	// Disagreed is how many targets of the search the scheduler refused, after which the search began anew without them.
	// It is zero unless a filter depends on more than its arguments.
	Disagreed int `json:"disagreed"`
}

// Spent returns what the moves cost, for the Budget of the next plan in the same window.
func (r *Result) Spent() Spent { return Spent{len(r.Moves), r.Bytes} }

// String says it on one line: what is gained by how many moves.
func (r *Result) String() string {
	cost := plural(len(r.Moves), "move") + " in " + plural(r.Waves, "wave") + ", " + pool.FormatBytes(r.Bytes)
	if len(r.Moves) == 0 {
		cost = "nothing to move"
	}
	switch r.Goal {
	case Drain:
		return cost + ": " + plural(r.Before.On, "instance") + " on the hosts to be drained, then " + strconv.Itoa(r.After.On)
	case Repair:
		return cost + ": " + plural(r.Before.Violations, "violation") + " and " + plural(r.Before.Overloaded, "overloaded host") +
			", then " + strconv.Itoa(r.After.Violations) + " and " + strconv.Itoa(r.After.Overloaded)
	case Balance:
		return cost + ": " + plural(r.Before.Uneven, "host") + " outside the tolerance, then " + strconv.Itoa(r.After.Uneven)
	}
	return cost + ": " + plural(r.Before.Hosts, "host") + " in use, then " + strconv.Itoa(r.After.Hosts)
}

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}
