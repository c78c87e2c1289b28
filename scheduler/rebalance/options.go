package rebalance

import (
	"math"
	"strconv"

	"github.com/berthage/berthage/pool"
)

// Goal is what a plan is for.
type Goal string

// The goals.
const (
	Defragment Goal = "defragment" // as many hosts as possible become empty
	Drain      Goal = "drain"      // the instances of Options.Hosts go elsewhere
	Repair     Goal = "repair"     // constraints that are violated, and hosts that are over their capacity
	Balance    Goal = "balance"    // hosts are used alike, within Options.Tolerance
)

// Budget bounds what a plan costs. A bound of zero is none.
type Budget struct {
	Moves   int   `json:"moves,omitempty"`    // instances moved in the present window of time
	Bytes   int64 `json:"bytes,omitempty"`    // bytes moved in it, as Options.Bytes counts them
	PerHost int   `json:"per_host,omitempty"` // moves from or to one host at a time; zero is 1

	// Spent is what was moved earlier in the same window: it counts against Moves and Bytes.
	Spent Spent `json:"spent,omitzero"`
}

// Spent is a number of moves and of bytes.
type Spent struct {
	Moves int   `json:"moves"`
	Bytes int64 `json:"bytes"`
}

// Options say what is planned and within which bounds. The zero value defragments without a budget.
type Options struct {
	Goal   Goal          `json:"goal"`            // empty: Defragment
	Hosts  []pool.HostID `json:"hosts,omitempty"` // to be drained
	Budget Budget        `json:"budget,omitzero"`

	// Leave names hosts that nothing is moved from or to.
	Leave []pool.HostID `json:"leave,omitempty"`
	// Pinned are labels of instances that are not moved: those that have one of them, with that value.
	Pinned map[string]string `json:"pinned,omitempty"`

	// Tolerance is how far the use of a host may be from the mean before Balance moves something, as a part of its
	// capacity; zero is 0.05.
	Tolerance float64 `json:"tolerance,omitempty"`
	// Load is measured use, which counts for Balance in the place of what is booked, where it is given.
	Load Load `json:"load,omitzero"`

	// Effort multiplies the work of the search; zero is 1. More may find better plans.
	Effort int `json:"effort,omitempty"`

	// Stays says why an instance is not to be moved; empty: it may be. It must be a pure function.
	Stays func(*pool.Instance) string `json:"-"`
	// Keeps says why nothing is to be moved from or to a host; empty: it may be. It must be a pure function.
	Keeps func(*pool.Host) string `json:"-"`
	// Unreachable says why an instance cannot be moved from one host to another, where drivers differ in what they can;
	// empty: it can. Machines never move between drivers, nor from or to aggregates. It must be a pure function of the
	// instance and of what its driver reports of the hosts, and not of what is placed on them.
	Unreachable func(i *pool.Instance, from, to *pool.Host) string `json:"-"`
	// Bytes says how much moving an instance copies; nil: its memory and its disks.
	Bytes func(*pool.Instance) int64 `json:"-"`
}

// Load is how much of hosts and instances is in use as it is measured, as parts of a host's capacity: 0.5 is half of
// the host. A host that is missing counts by what is booked on it, an instance that is missing by its part of what is
// booked on its host.
type Load struct {
	Hosts     map[pool.HostID]float64     `json:"hosts,omitempty"`
	Instances map[pool.InstanceID]float64 `json:"instances,omitempty"`
}

func (o *Options) valid(st *pool.State) error {
	bad := func(field, value, want string) error {
		return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
	}
	switch o.Goal {
	case "", Defragment, Drain, Repair, Balance:
	default:
		return bad("goal", string(o.Goal), "defragment, drain, repair or balance")
	}
	b := &o.Budget
	switch {
	case b.Moves < 0 || b.Bytes < 0 || b.PerHost < 0 || b.Spent.Moves < 0 || b.Spent.Bytes < 0:
		return bad("budget", "", "amounts of zero or more")
	case o.Effort < 0 || o.Effort > 1000:
		return bad("effort", strconv.Itoa(o.Effort), "0 to 1000")
	case !(o.Tolerance >= 0) || o.Tolerance > 1:
		return bad("tolerance", strconv.FormatFloat(o.Tolerance, 'g', -1, 64), "a part from 0 to 1")
	case o.Goal == Drain && len(o.Hosts) == 0:
		return bad("hosts", "", "the hosts to be drained")
	case o.Goal != Drain && len(o.Hosts) > 0:
		return bad("hosts", string(o.Hosts[0]), "no hosts, unless they are to be drained")
	}
	for _, id := range o.Hosts {
		if _, ok := st.Host(id); !ok {
			return &pool.Error{Kind: pool.ErrNotFound, Field: "host", Value: string(id)}
		}
	}
	for _, part := range o.Load.Hosts {
		if !(part >= 0) || math.IsInf(part, 0) {
			return bad("load.hosts", "", "finite parts of zero or more")
		}
	}
	for _, part := range o.Load.Instances {
		if !(part >= 0) || math.IsInf(part, 0) {
			return bad("load.instances", "", "finite parts of zero or more")
		}
	}
	return nil
}

// left returns what may still be moved.
func (b *Budget) left() allowance {
	a := allowance{moves: math.MaxInt, bytes: math.MaxInt64}
	if b.Moves > 0 {
		a.moves = max(0, b.Moves-b.Spent.Moves)
	}
	if b.Bytes > 0 {
		a.bytes = max(0, b.Bytes-b.Spent.Bytes)
	}
	return a
}

// allowance is what may be moved.
type allowance struct {
	moves int
	bytes int64
}

func (a allowance) covers(moves int, bytes int64) bool { return moves <= a.moves && bytes <= a.bytes }
