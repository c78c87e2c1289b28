package quota

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/berthage/berthage/pool"
)

// Line is one class of a project: its limit, what is used, and what is left, in the unit of the class.
type Line struct {
	Class   pool.Class `json:"class"`
	Limited bool       `json:"limited"`
	Limit   int64      `json:"limit"` // zero unless Limited
	Used    int64      `json:"used"`
	Free    int64      `json:"free"`            // Limit less Used, below zero when over; zero unless Limited
	Asked   int64      `json:"asked,omitempty"` // only in Exceeded
}

// String says it to people: "memory: 6 GiB asked, 2 GiB free of 8 GiB".
func (l Line) String() string {
	f := l.Class.Format
	out := string(l.Class) + ": "
	if l.Asked != 0 {
		out += f(l.Asked) + " asked, "
	}
	if !l.Limited {
		return out + f(l.Used) + " used, no limit"
	}
	return out + f(l.Free) + " free of " + f(l.Limit)
}

// Exceeded is the error of a demand that the project's quota does not allow; it names every class that is
// short. It unwraps to pool.ErrOverQuota.
type Exceeded struct {
	Project string `json:"project"`
	Lines   []Line `json:"lines"` // by class
}

// Error implements error.
func (e *Exceeded) Error() string {
	lines := make([]string, len(e.Lines))
	for i, l := range e.Lines {
		lines[i] = l.String()
	}
	return "project " + pool.Quote(e.Project) + " " + pool.ErrOverQuota.Error() + ": " + strings.Join(lines, "; ")
}

// Unwrap returns pool.ErrOverQuota.
func (e *Exceeded) Unwrap() error { return pool.ErrOverQuota }

// Demand returns what an allocation takes of a project's quota: its resources, and one instance.
func Demand(a pool.Allocation) pool.Resources {
	d := a.Resources.Clone()
	d[pool.Instances] = 1
	return d
}

// Check reports, as an *Exceeded, a demand that would bring the project above one of its limits. Only the
// classes of the demand count, so that a project that is over in one class may still take of another. A
// negative amount is pool.ErrInvalid. A sum beyond an int64 is above every limit, and where there is no
// limit pool.ErrOverflow.
func Check(p *pool.ProjectRecord, demand pool.Resources) error {
	if allows(p, demand) {
		return nil
	}
	if err := demand.Valid(); err != nil {
		return pool.InField("demand", err)
	}
	var over []Line
	for _, c := range demand.Classes() {
		l := line(p, c)
		l.Asked = demand[c]
		switch {
		case l.Limited && l.Asked > l.Free:
			over = append(over, l)
		case !l.Limited && l.Asked > math.MaxInt64-l.Used:
			return &pool.Error{Kind: pool.ErrOverflow, Field: "project " + pool.Quote(p.Name) + "." + string(c), Want: "a sum within an int64"}
		}
	}
	if over == nil {
		return nil
	}
	return &Exceeded{Project: p.Name, Lines: over}
}

// allows reports whether nothing is in the way, without saying what.
func allows(p *pool.ProjectRecord, demand pool.Resources) bool {
	for c, n := range demand {
		if n < 0 || c.Valid() != nil {
			return false
		}
		l := line(p, c)
		if n != 0 && (l.Limited && n > l.Free || !l.Limited && n > math.MaxInt64-l.Used) {
			return false
		}
	}
	return true
}

// Report returns a line for every class that the project has a limit for or uses, by class.
func Report(p *pool.ProjectRecord) []Line {
	classes := maps.Clone(p.Quota)
	if classes == nil {
		classes = make(pool.Resources)
	}
	maps.Copy(classes, p.Used)
	lines := make([]Line, 0, len(classes))
	for _, c := range slices.Sorted(maps.Keys(classes)) {
		lines = append(lines, line(p, c))
	}
	return lines
}

func line(p *pool.ProjectRecord, c pool.Class) Line {
	l := Line{Class: c, Used: p.Used[c]}
	if l.Limit, l.Limited = p.Quota[c]; l.Limited {
		l.Limit = max(l.Limit, 0)
		l.Free = l.Limit - l.Used
	}
	return l
}
