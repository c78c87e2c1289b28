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

// Exceeded is the error of a demand that a quota does not allow; it names every class that is
// short. It unwraps to pool.ErrOverQuota.
type Exceeded struct {
	Project string `json:"project,omitempty"` // whose limits they are; empty once Redacted
	Owner   string `json:"owner,omitempty"`   // whose limits they are within the project, if they are not the project's own
	Asked   string `json:"asked,omitempty"`   // the project that asked, if it only lies in Project
	Never   bool   `json:"never,omitempty"`   // more is asked than one of the limits on the way, whatever is in use
	Lines   []Line `json:"lines"`             // by class
}

// Error implements error.
func (e *Exceeded) Error() string {
	who := "project " + pool.Quote(e.Project)
	switch {
	case e.Project == "":
		who = "a project that " + pool.Quote(e.Asked) + " lies in"
	case e.Owner != "":
		who = "owner " + pool.Quote(e.Owner) + " in " + who
	case e.Asked != "":
		who += ", in which " + pool.Quote(e.Asked) + " lies,"
	}
	lines := make([]string, len(e.Lines))
	for i, l := range e.Lines {
		if lines[i] = l.String(); e.Project == "" {
			lines[i] = string(l.Class)
		}
	}
	return who + " " + pool.ErrOverQuota.Error() + ": " + strings.Join(lines, "; ")
}

// Redacted returns the error as it may be shown to those who see the project that asked and not those that it lies in:
// where the limits are such a one's, its name, its limits and what others use of them are left out.
func (e *Exceeded) Redacted() *Exceeded {
	if e.Asked == "" {
		return e
	}
	r := &Exceeded{Asked: e.Asked, Never: e.Never, Lines: make([]Line, len(e.Lines))}
	for i, l := range e.Lines {
		r.Lines[i] = Line{Class: l.Class, Asked: l.Asked}
	}
	return r
}

// Unwrap returns pool.ErrOverQuota.
func (e *Exceeded) Unwrap() error { return pool.ErrOverQuota }

// Demand returns what an allocation takes of a project's quota: its resources, and one instance.
func Demand(a pool.Allocation) pool.Resources {
	d := a.Resources.Clone()
	d[pool.Instances] = 1
	return d
}

// Allow reports, as an *Exceeded, a demand that would bring the project, one that it lies in, or the owner within the project
// above a limit: the first of them, from the project upwards. An empty owner is nobody, who has no limits. Otherwise it is
// Check of each of them; what it costs grows with the depth of the project.
func Allow(st *pool.State, project, owner string, demand pool.Resources) error {
	p, ok := st.Project(project)
	if !ok {
		return &pool.Error{Kind: pool.ErrNotFound, Field: "project", Value: project}
	}
	err := Check(p, demand)
	if err == nil && owner != "" {
		if err = check(scope{limits: p.LimitsOf(owner), used: st.OwnerUsed(project, owner), project: project}, demand); err != nil {
			err = named(err, func(e *Exceeded) { e.Owner = owner })
		}
	}
	for up := p.Parent; up != "" && err == nil; {
		q, ok := st.Project(up)
		if !ok {
			break
		}
		err = named(Check(q, demand), func(e *Exceeded) { e.Asked = project })
		up = q.Parent
	}
	return named(err, func(e *Exceeded) { e.Never = e.Never || never(st, p, owner, demand) })
}

// named completes an *Exceeded, which nobody has seen yet.
func named(err error, with func(*Exceeded)) error {
	if e, ok := err.(*Exceeded); ok {
		with(e)
	}
	return err
}

// never reports whether one of the limits would not allow the demand if nothing were used.
func never(st *pool.State, p *pool.ProjectRecord, owner string, demand pool.Resources) bool {
	if !demand.Fits(most(p.LimitsOf(owner), demand)) {
		return true
	}
	for q := range st.Above(p.Name) {
		if !demand.Fits(most(q.Quota, demand)) {
			return true
		}
	}
	return false
}

// most returns what limits allow of a demand's classes; of those that are not limited as much as is asked for.
func most(limits, demand pool.Resources) pool.Resources {
	out := maps.Clone(demand)
	for c := range demand {
		if limit, limited := limits[c]; limited {
			out[c] = limit
		}
	}
	return out
}

// scope is what limits hold for.
type scope struct {
	limits, used pool.Resources
	project      string
}

// Check reports, as an *Exceeded, a demand that would bring the project, together with those that lie in it, above one of its own
// limits. Only the
// classes of the demand count, so that a project that is over in one class may still take of another. A
// negative amount is pool.ErrInvalid. A sum beyond an int64 is above every limit, and where there is no
// limit pool.ErrOverflow.
func Check(p *pool.ProjectRecord, demand pool.Resources) error {
	return check(scope{p.Quota, p.Total(), p.Name}, demand)
}

func check(s scope, demand pool.Resources) error {
	if s.allows(demand) {
		return nil
	}
	if err := demand.Valid(); err != nil {
		return pool.InField("demand", err)
	}
	var over []Line
	never := false
	for _, c := range demand.Classes() {
		l := s.line(c)
		l.Asked = demand[c]
		never = never || l.Limited && l.Asked > l.Limit
		switch {
		case l.Limited && l.Asked > l.Free:
			over = append(over, l)
		case !l.Limited && l.Asked > math.MaxInt64-l.Used:
			return &pool.Error{Kind: pool.ErrOverflow, Field: "project " + pool.Quote(s.project) + "." + string(c), Want: "a sum within an int64"}
		}
	}
	if over == nil {
		return nil
	}
	return &Exceeded{Project: s.project, Never: never, Lines: over}
}

// allows reports whether nothing is in the way, without saying what.
func (s *scope) allows(demand pool.Resources) bool {
	for c, n := range demand {
		if n < 0 || c.Valid() != nil {
			return false
		}
		l := s.line(c)
		if n != 0 && (l.Limited && n > l.Free || !l.Limited && n > math.MaxInt64-l.Used) {
			return false
		}
	}
	return true
}

// Report returns a line for every class that the project has a limit for or that is used by it, or by those that lie in it, by
// class.
func Report(p *pool.ProjectRecord) []Line { return (&scope{p.Quota, p.Total(), p.Name}).report() }

// ReportOwner is Report of one owner within a project.
func ReportOwner(st *pool.State, p *pool.ProjectRecord, owner string) []Line {
	return (&scope{p.LimitsOf(owner), st.OwnerUsed(p.Name, owner), p.Name}).report()
}

func (s *scope) report() []Line {
	classes := maps.Clone(s.limits)
	if classes == nil {
		classes = make(pool.Resources)
	}
	maps.Copy(classes, s.used)
	lines := make([]Line, 0, len(classes))
	for _, c := range slices.Sorted(maps.Keys(classes)) {
		lines = append(lines, s.line(c))
	}
	return lines
}

func (s *scope) line(c pool.Class) Line {
	l := Line{Class: c, Used: s.used[c]}
	if l.Limit, l.Limited = s.limits[c]; l.Limited {
		l.Limit = max(l.Limit, 0)
		l.Free = l.Limit - l.Used
	}
	return l
}
