package scheduler

import (
	"cmp"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/berthage/berthage/pool"
)

// Explanation says for every host whether it qualifies and why not.
type Explanation struct {
	Demand pool.Resources `json:"demand"` // what the request takes, aggregates' shapes aside
	// Hosts holds the hosts that qualify, the best first, and then the others by id.
	Hosts  []Verdict `json:"hosts"`
	Counts []Count   `json:"counts"` // hosts per constraint, the most frequent first
	// Never: no host could take the request even if nothing were placed on it and it accepted instances, so
	// that waiting does not help. A pool without hosts is not never: hosts may come.
	Never bool `json:"never"`
	// Nearest is what would make the request fit, where none qualifies and a change is known.
	Nearest *Change `json:"nearest,omitempty"`
}

// Verdict is what became of one host.
type Verdict struct {
	Host   pool.HostID `json:"host"`
	Score  float64     `json:"score"`            // when it qualifies
	Reason *Reason     `json:"reason,omitempty"` // absent when it qualifies
	Unmet  []Reason    `json:"unmet,omitempty"`  // what is preferred and not so, when it qualifies
}

// Count is how many hosts failed one constraint first.
type Count struct {
	Constraint Constraint `json:"constraint"`
	Class      pool.Class `json:"class,omitempty"` // of resources, shapes and devices
	Hosts      int        `json:"hosts"`
}

// Refusal is the error of a request that no host can take: an Explanation in which none qualifies. It
// unwraps to pool.ErrNoRoom.
type Refusal struct {
	Explanation
}

// Error implements error; it tells the counts and the nearest change, on one line.
func (r *Refusal) Error() string {
	var b strings.Builder
	b.WriteString(pool.ErrNoRoom.Error())
	b.WriteString(": ")
	if len(r.Hosts) == 0 {
		b.WriteString("the pool has no hosts")
		return b.String()
	}
	b.WriteString(r.Demand.String())
	b.WriteString(" asked; of " + plural(len(r.Hosts), "host") + " ")
	for i, c := range r.Counts {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(c.Hosts) + " by " + string(c.Constraint))
		if c.Class != "" {
			b.WriteString(" " + string(c.Class))
		}
	}
	if r.Never {
		b.WriteString("; it would not fit even if all were empty")
	}
	if r.Nearest != nil {
		b.WriteString("; nearest: " + r.Nearest.String())
	}
	return b.String()
}

// Unwrap returns pool.ErrNoRoom.
func (r *Refusal) Unwrap() error { return pool.ErrNoRoom }

// Explain says for every host whether it qualifies, with its score, or why not. It is the long form of
// Place and costs more; the errors are those of Place without *Refusal.
func (s *Scheduler) Explain(st *pool.State, req Request) (Explanation, error) {
	d, err := s.decide(req.In(st))
	if err != nil {
		return Explanation{}, err
	}
	d.follow(totalsOf(st))
	d.census(st.Hosts())
	d.learn(func() *workload { return workloadOf(st.Hosts()) })
	return d.explain(st.Hosts(), st.HostCount())
}

// explain looks at n hosts.
func (d *decision) explain(hosts iter.Seq[*pool.HostRecord], n int) (Explanation, error) {
	e := Explanation{Demand: d.demand.Clone(), Hosts: make([]Verdict, 0, n), Never: n > 0}
	counts := make(map[Count]int)
	for h := range hosts {
		v, err := d.verdict(h)
		if err != nil {
			return Explanation{}, err
		}
		e.Hosts = append(e.Hosts, v)
		if v.Reason == nil {
			e.Never = false
			continue
		}
		e.Never = e.Never && v.Reason.Never
		counts[Count{Constraint: v.Reason.Constraint, Class: v.Reason.Class}]++
	}
	slices.SortFunc(e.Hosts, func(a, b Verdict) int {
		switch {
		case a.Reason == nil && b.Reason != nil:
			return -1
		case a.Reason != nil && b.Reason == nil:
			return 1
		}
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Host, b.Host))
	})
	e.Counts = ranked(counts)
	if len(e.Hosts) > 0 && e.Hosts[0].Reason != nil {
		var err error
		if e.Nearest, err = d.nearest(hosts); err != nil {
			return Explanation{}, err
		}
	}
	return e, nil
}

// ranked lists counts, the most frequent first.
func ranked(counts map[Count]int) []Count {
	out := make([]Count, 0, len(counts))
	for c, n := range counts {
		c.Hosts = n
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Hosts, a.Hosts), cmp.Compare(a.Constraint, b.Constraint), cmp.Compare(a.Class, b.Class))
	})
	return out
}

// verdict checks one host and puts the outcome into figures.
func (d *decision) verdict(h *pool.HostRecord) (Verdict, error) {
	v := Verdict{Host: h.ID}
	f, err := d.check(h, asItIs)
	if err != nil {
		return v, err
	}
	if f.by == "" {
		v.Score, err = d.score(h)
		v.Unmet = d.unmetReasons(h)
		return v, err
	}
	r := d.reason(h, f)
	empty, err := d.check(h, asEmpty)
	if err != nil {
		return v, err
	}
	r.Never = empty.by != ""
	v.Reason = &r
	return v, nil
}

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}
