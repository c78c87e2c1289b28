package whatif

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// Question is what is changed on the fork. The zero value changes nothing, and asks how full the hosts are.
type Question struct {
	Lose      []pool.HostID             `json:"lose,omitempty"`       // hosts that are gone, with what is on them
	LoseZones []string                  `json:"lose_zones,omitempty"` // and all hosts of these zones
	Add       []Addition                `json:"add,omitempty"`
	Ratios    map[pool.Class]pool.Ratio `json:"ratios,omitempty"` // of all servers, for classes that they have
	Demand    []Demand                  `json:"demand,omitempty"`

	// HowMany is of what it is counted how many more would fit, each alone, before all that and after it: flavors, say.
	// Their Count does not matter.
	HowMany []Demand `json:"how_many,omitempty"`

	// Growth multiplies what is placed on the hosts before all that: 1.2 is a fifth more. Zero is none.
	Growth pool.Ratio `json:"growth,omitempty"`

	// Spare asks whether that many hosts may fail at once while the others still hold everything: N+k. With one every
	// host fails in turn. With more, every host fails in turn together with the most used of the others; other sets are
	// not tried.
	Spare int `json:"spare,omitempty"`

	// Buy names hosts like which more could be had, for Answer.Missing; empty: one of the most frequent kind of
	// server that accepts instances.
	Buy []pool.HostID `json:"buy,omitempty"`
}

// Addition is a number of hosts like one that is there: its inventory, devices, labels and kinds, and what is reserved
// on it.
type Addition struct {
	Like  pool.HostID `json:"like"`
	Count int         `json:"count"`
	Zone  string      `json:"zone,omitempty"` // of the new ones; empty: that of the other
}

// Demand is a number of instances of one spec.
type Demand struct {
	Name    string     `json:"name,omitempty"` // for people
	Spec    pool.Spec  `json:"spec"`           // resolved: with the flavor's sizes
	Image   pool.Image `json:"image"`          // with its sources
	Project string     `json:"project,omitempty"`
	Count   int        `json:"count"`
}

// Bounds of a question.
const (
	MaxDemand = 200_000 // instances asked for, and those that growth brings
	MaxAdd    = 100_000 // hosts added
	MaxSpare  = 1000    // hosts that fail at once
	MaxCounts = 1000    // of what it is counted how many more fit
)

// Options bound the work. The zero value suffices for some ten thousand hosts.
type Options struct {
	// Placements is how many placements may be tried; zero is a million. What there is no work left for is counted in
	// Answer.Untried, and is no part of the rest of the answer.
	Placements int
	// Packing bounds the plan behind Answer.Missing, see packing.Options.Work; zero is its default.
	Packing int64
}

func bad(field, value, want string) error {
	return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
}

// valid reports, as an error, what is wrong with a question about a State.
func (q *Question) valid(st *pool.State) error {
	server := func(field string, id pool.HostID) error {
		h, ok := st.Host(id)
		switch {
		case !ok:
			return &pool.Error{Kind: pool.ErrNotFound, Field: field, Value: string(id), Want: "a host of the pool"}
		case h.Aggregate():
			return bad(field, string(id), "a server, not an aggregate that places by itself")
		}
		return nil
	}
	for i, id := range q.Lose {
		if _, ok := st.Host(id); !ok {
			return &pool.Error{Kind: pool.ErrNotFound, Field: "lose[" + strconv.Itoa(i) + "]", Value: string(id), Want: "a host of the pool"}
		}
	}
	zones := make(map[string]bool)
	for h := range st.Hosts() {
		zones[h.Zone] = true
	}
	for i, z := range q.LoseZones {
		if z == "" || !zones[z] {
			return &pool.Error{Kind: pool.ErrNotFound, Field: "lose_zones[" + strconv.Itoa(i) + "]", Value: z, Want: "a zone of the pool"}
		}
	}
	added := 0
	for i, a := range q.Add {
		at := "add[" + strconv.Itoa(i) + "]"
		if err := server(at+".like", a.Like); err != nil {
			return err
		}
		if a.Count < 0 || a.Count > MaxAdd-added {
			return bad(at+".count", strconv.Itoa(a.Count), "zero or more, and no more than "+strconv.Itoa(MaxAdd)+" in all")
		}
		if a.Zone != "" {
			if err := pool.ValidName(a.Zone); err != nil {
				return pool.InField(at+".zone", err)
			}
		}
		added += a.Count
	}
	for i, id := range q.Buy {
		if err := server("buy["+strconv.Itoa(i)+"]", id); err != nil {
			return err
		}
	}
	for _, c := range slices.Sorted(maps.Keys(q.Ratios)) {
		if err := c.Valid(); err != nil {
			return pool.InField("ratios", err)
		}
		if r := q.Ratios[c]; r < 1 || (pool.Inventory{Ratio: r}).Valid() != nil {
			return bad("ratios."+string(c), strconv.FormatInt(int64(r), 10), "0.001 to 1000")
		}
	}
	return q.validDemand(st)
}

func (q *Question) validDemand(st *pool.State) error {
	asked := 0
	for i := range q.Demand {
		d, at := &q.Demand[i], "demand["+strconv.Itoa(i)+"]"
		if d.Count < 0 || d.Count > MaxDemand-asked {
			return bad(at+".count", strconv.Itoa(d.Count), "zero or more, and no more than "+strconv.Itoa(MaxDemand)+" in all")
		}
		asked += d.Count
		if err := d.valid(st); err != nil {
			return pool.InField(at, err)
		}
	}
	for i := range q.HowMany {
		if err := q.HowMany[i].valid(st); err != nil {
			return pool.InField("how_many["+strconv.Itoa(i)+"]", err)
		}
	}
	switch {
	case len(q.HowMany) > MaxCounts:
		return bad("how_many", strconv.Itoa(len(q.HowMany)), "no more than "+strconv.Itoa(MaxCounts))
	case q.Growth < 0 || q.Growth > 0 && q.Growth < 1000 || q.Growth > 1000_000:
		return bad("growth", q.Growth.String(), "1 to 1000, or zero for none")
	case q.Growth > 1000 && int64(q.Growth-1000) > int64(MaxDemand)*1000/int64(max(1, st.InstanceCount())):
		return &pool.Error{Kind: pool.ErrOverflow, Field: "growth", Want: "no more than " + strconv.Itoa(MaxDemand) + " instances more"}
	case q.Spare < 0 || q.Spare > MaxSpare:
		return bad("spare", strconv.Itoa(q.Spare), "zero to "+strconv.Itoa(MaxSpare))
	}
	return nil
}

func (d *Demand) valid(st *pool.State) error {
	if err := pool.ValidText(d.Name, 255); err != nil {
		return pool.InField("name", err)
	}
	if err := d.Spec.Valid(); err != nil {
		return pool.InField("spec", err)
	}
	if _, ok := st.Project(d.Project); !ok && d.Project != "" {
		return &pool.Error{Kind: pool.ErrNotFound, Field: "project", Value: d.Project, Want: "a project, or none"}
	}
	return nil
}

// request is what the scheduler is asked for one of them.
func (d *Demand) request(now time.Time) scheduler.Request {
	return scheduler.Request{Spec: d.Spec, Image: d.Image, Project: cmp.Or(d.Project, project), Now: now}
}
