package auth

import (
	"slices"
	"strings"

	"github.com/berthage/berthage/pool"
)

// Role is how much somebody may do. Each includes the ones before it.
type Role string

// The roles, in order.
const (
	Viewer   Role = "viewer"   // looks
	User     Role = "user"     // makes things, and does with those what they like
	Operator Role = "operator" // sees to everybody's things and to the hosts
	Admin    Role = "admin"    // says who may do what
)

// Roles returns them in order.
func Roles() []Role { return []Role{Viewer, User, Operator, Admin} }

// Valid reports, as an error, whether there is such a role.
func (r Role) Valid() error {
	if !slices.Contains(Roles(), r) {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "role", Value: string(r), Want: "viewer, user, operator or admin"}
	}
	return nil
}

// Resource is a kind of thing, see [Table].
type Resource string

// Verb is what somebody wants to do; a row of the [Table] has sets of them, joined with |.
type Verb uint8

// The verbs.
const (
	Read    Verb = 1 << iota
	Create       // make one, or ask for one
	Update       // change what it is
	Delete       // end it
	Use          // what its owner does with it: start, stop, suspend, reboot, rebuild, resize, scale
	Console      // see its screen and type on it
	Operate      // what it takes somebody who sees to the whole for: move, drain, fence, disable, carry out
)

// Verbs returns them, each alone.
func Verbs() []Verb { return []Verb{Read, Create, Update, Delete, Use, Console, Operate} }

func verbNames() []string {
	return []string{"read", "create", "update", "delete", "use", "console", "operate"}
}

// String returns the names of the verbs in a set, with spaces between them.
func (v Verb) String() string {
	var in []string
	for n, name := range verbNames() {
		if v&(1<<n) != 0 {
			in = append(in, name)
		}
	}
	return strings.Join(in, " ")
}

// one reports whether it is exactly one of them.
func (v Verb) one() bool { return slices.Contains(Verbs(), v) }

// ParseVerb returns the verb of that name.
func ParseVerb(s string) (Verb, error) {
	if n := slices.Index(verbNames(), s); n >= 0 {
		return 1 << n, nil
	}
	return 0, &pool.Error{Kind: pool.ErrInvalid, Field: "verb", Value: s, Want: strings.Join(verbNames(), ", ")}
}

// rowOf returns the row of a resource.
func rowOf(r Resource) (Row, bool) {
	rows := Table()
	n := slices.IndexFunc(rows, func(row Row) bool { return row.Resource == r })
	if n < 0 {
		return Row{}, false
	}
	return rows[n], true
}

// may returns what a role may do with whatever lies in its scope, and what more with what is its own.
func (row Row) may(role Role) (all, own Verb) {
	switch role {
	case Admin:
		all |= row.Admin
		fallthrough
	case Operator:
		all |= row.Operator
		fallthrough
	case User:
		all |= row.User
		own = row.Own
		fallthrough
	case Viewer:
		all |= row.Viewer
	}
	return all, own
}

// Scope is what a binding is about; the zero value is about nothing. Two things can be said together: Project and Own are one's own
// things in a project. Own alone lets nobody make anything, since it would be in anybody's project.
type Scope struct {
	Everything bool   `json:"everything,omitempty"` // the organisation: all projects, and what lies in none
	Project    string `json:"project,omitempty"`    // this one and those below it
	Own        bool   `json:"own,omitempty"`        // only what is the principal's own, in the project or, without one, wherever
}

// Valid reports, as an error, what cannot be meant.
func (s Scope) Valid() error {
	if s.Everything && (s.Own || s.Project != "") || s == (Scope{}) {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "scope", Want: "everything, or a project, or own things, or own things in a project"}
	}
	if s.Project != "" {
		return pool.InField("scope.project", pool.ValidName(s.Project))
	}
	return nil
}

// covers reports whether something may be done to a thing as far as the scope goes: the path from the thing's project up, none if it
// lies in no project, and whether it is one's own.
func (s Scope) covers(v Verb, path []string, own bool) bool {
	switch {
	case s.Own && (!own || s.Project == "" && v == Create):
		return false
	case s.Project != "":
		return slices.Contains(path, s.Project)
	}
	return s.Everything || s.Own
}

// Lineage returns a project and those above it, itself first and the topmost last; nothing for one that is not known, whose things then
// only a binding to everything covers. Nil stands for projects that have none above them.
type Lineage func(project string) []string

// LineageOf returns how projects lie in one another in the books of the pool. It is good for as long as these are.
func LineageOf(st *pool.State) Lineage {
	return func(project string) []string {
		var path []string
		for p := range st.Above(project) {
			path = append(path, p.Name)
		}
		return path
	}
}

// MaxDepth is how deep projects may lie in one another. What lies deeper is refused.
const MaxDepth = 32

// path returns the path of a thing's project, or false if it cannot be told.
func (l Lineage) path(project string) ([]string, bool) {
	switch {
	case project == "":
		return nil, true
	case l == nil:
		return []string{project}, true
	}
	path := l(project)
	return path, len(path) <= MaxDepth && (len(path) == 0 || path[0] == project)
}
