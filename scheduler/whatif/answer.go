package whatif

import (
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/packing"
)

// Answer is what would be.
type Answer struct {
	Revision pool.Revision `json:"revision"` // of the books on which it rests

	// Displaced are the instances of the lost hosts, Demand what was asked for, one by one, Growth the instances that it
	// brings.
	Displaced Outcome   `json:"displaced"`
	Demand    []Outcome `json:"demand"`
	Growth    Outcome   `json:"growth"`

	// Untried is how many instances nobody asked the scheduler for, because the work of Options was done.
	Untried int `json:"untried,omitempty"`

	// Overfull is how many servers would have to carry more than their capacity: after a ratio was lowered, or since they
	// have shrunk under their load. What is on them stays there.
	Overfull int `json:"overfull,omitempty"`

	HowMany []HowMany `json:"how_many"` // in the order of the question

	Hosts []Fill             `json:"hosts"` // by id; those that are lost and those that are added too
	Use   map[pool.Class]Use `json:"use"`   // of the hosts that are not lost, aggregates left out

	Spare   *Spare   `json:"spare,omitempty"`   // where Question.Spare is asked
	Missing *Missing `json:"missing,omitempty"` // where it does not all fit
}

// Fits reports whether everything was placed, no server is overfull, and every failure that was asked for is survived.
func (a *Answer) Fits() bool {
	fits := a.Untried+a.Overfull == 0 && len(a.Displaced.Refused) == 0 && len(a.Growth.Refused) == 0
	for i := range a.Demand {
		fits = fits && len(a.Demand[i].Refused) == 0
	}
	return fits && (a.Spare == nil || a.Spare.Untried == 0 && a.Spare.Survived == a.Spare.Sets)
}

// Outcome is what became of a number of instances.
type Outcome struct {
	Name    string    `json:"name,omitempty"`
	Asked   int       `json:"asked"`
	Placed  int       `json:"placed"`
	Refused []Refused `json:"refused"` // by what they ask for, in the order in which the first of them was refused
}

// Refused are instances that ask for the same and do not fit, and why.
type Refused struct {
	Count   int               `json:"count"`
	Name    string            `json:"name,omitempty"`    // of one of them
	Demand  pool.Resources    `json:"demand"`            // of each
	Counts  []scheduler.Count `json:"counts"`            // hosts by the constraint that stands in the way, the most frequent first
	Never   bool              `json:"never,omitempty"`   // they would not fit even if all hosts were empty
	Nearest *scheduler.Change `json:"nearest,omitempty"` // what would make the first of them fit

	items []*item
}

// HowMany is how many instances of one spec fit besides, all else being as it is before or after. The largest int64
// stands for itself and more.
type HowMany struct {
	Name   string `json:"name,omitempty"`
	Before int64  `json:"before"`
	After  int64  `json:"after"`
}

// Use is one class before and after.
type Use struct {
	Capacity      int64 `json:"capacity"`
	Used          int64 `json:"used"`
	CapacityAfter int64 `json:"capacity_after"`
	UsedAfter     int64 `json:"used_after"`
}

// Fill is how full a host would be.
type Fill struct {
	Host      pool.HostID        `json:"host"`
	Zone      string             `json:"zone,omitempty"`
	Lost      bool               `json:"lost,omitempty"`
	Added     bool               `json:"added,omitempty"`
	Instances int                `json:"instances"` // on it before
	After     int                `json:"after"`     // and after
	Use       map[pool.Class]Use `json:"use"`
}

// Part returns which part of a host's capacity is used after all: of the class of which most is. It is more than 1 on a
// host that has shrunk under its load, and zero on one that is lost.
func (f *Fill) Part() float64 {
	most := 0.0
	for _, u := range f.Use {
		switch {
		case f.Lost || u.UsedAfter == 0:
		case u.CapacityAfter > 0:
			most = max(most, float64(u.UsedAfter)/float64(u.CapacityAfter))
		default:
			most = max(most, 1)
		}
	}
	return most
}

// Spare is what became of the hosts that failed.
type Spare struct {
	Hosts    int `json:"hosts"`             // that fail at once
	Sets     int `json:"sets"`              // of hosts that were to be tried
	Survived int `json:"survived"`          // sets of which everything fits on the other hosts
	Untried  int `json:"untried,omitempty"` // sets, because the work of Options was done

	Worst     []pool.HostID `json:"worst,omitempty"` // of the others the set of which most instances fit nowhere
	Displaced Outcome       `json:"displaced"`       // of the worst
}

// Missing is how many more hosts it would take.
type Missing struct {
	Kinds []MissingKind `json:"kinds"`

	// Hosts would do if all servers that accept instances were packed anew, what is on them and what was refused, and no
	// fewer than Least could, whatever one moves, until all fits and none is overfull: that is certified. What is on
	// aggregates, and on servers that accept nothing, stays there. The plan knows resources and limits of units only; what
	// else an instance asks for can but take more hosts.
	Hosts int64 `json:"hosts"`
	Least int64 `json:"least"`

	Never     int64 `json:"never,omitempty"`     // refused instances that are on no kind of server, and so in neither figure
	Uncovered int64 `json:"uncovered,omitempty"` // hosts to be spare for large servers that no kind to be had can stand in for

	// Problem and Plan are what packing.Verify wants to see for Least.
	Problem packing.Problem `json:"-"`
	Plan    *packing.Result `json:"-"`
}

// MissingKind is a kind of host that could be had.
type MissingKind struct {
	Like  pool.HostID `json:"like"`
	Hosts int64       `json:"hosts"` // of Missing.Hosts

	// Alone would do if only hosts of this kind were added, the refused instances were placed on them one after another
	// and nothing were moved, off overfull ones neither. Unfit are those that would still be refused then; nil if the work of Options was done.
	Alone *int `json:"alone"`
	Unfit int  `json:"unfit,omitempty"`
}
