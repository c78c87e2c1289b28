package pool

import (
	"iter"
	"maps"
	"slices"
	"strconv"
)

// Project is a tenant. Quota holds its limits per class, Instances and Cost among them; an absent class is not
// limited, and a limit of zero allows nothing.
//
// A project may lie in another. The limits of that one, and of those above it, hold for what is in all projects below them
// together: see ProjectRecord.Total.
type Project struct {
	Name   string    `json:"name"`
	Parent string    `json:"parent,omitempty"` // project that it lies in; empty: in none
	Quota  Resources `json:"quota"`
	Weight int       `json:"weight,omitempty"` // of its share where instances wait for places; 0: 1

	// PerUser are limits for each owner of instances in the project itself, not in those below it: what all instances of one
	// Instance.Owner may take there. Users are limits of single owners, which hold instead, class by class. Instances that are
	// nobody's have no such limit.
	PerUser Resources            `json:"per_user,omitempty"`
	Users   map[string]Resources `json:"users,omitempty"`
}

// Bounds of projects.
const (
	MaxWeight = 1000 // of a project
	MaxDepth  = 8    // projects that lie one in another, the first and the last counted
	MaxUsers  = 1000 // with limits of their own in one project
)

// Valid reports, as an error, what is malformed.
func (p Project) Valid() error {
	if err := ValidName(p.Name); err != nil {
		return err
	}
	if p.Parent != "" {
		if err := validNameIn("parent", p.Parent); err != nil {
			return err
		}
	}
	if p.Weight < 0 || p.Weight > MaxWeight {
		return invalid("weight", strconv.Itoa(p.Weight), "0 to "+strconv.Itoa(MaxWeight))
	}
	if err := p.PerUser.Valid(); err != nil {
		return InField("per_user", err)
	}
	if len(p.Users) > MaxUsers {
		return invalid("users", strconv.Itoa(len(p.Users)), "at most "+strconv.Itoa(MaxUsers))
	}
	for owner, limits := range p.Users {
		if err := ValidOwner(owner); err != nil {
			return InField("users", err)
		}
		if err := limits.Valid(); err != nil {
			return InField("users["+Quote(owner)+"]", err)
		}
	}
	return InField("quota", p.Quota.Valid())
}

// ValidOwner reports, as an error, whether s can be the owner of an instance: the id of a user or of a service, as whoever
// authenticates them calls them; printable text in one line, 1 to 128 bytes. It stands in events that cannot be forgotten, so
// that it should be an id and not a name.
func ValidOwner(s string) error {
	if s == "" || ValidText(s, 128) != nil {
		return invalid("owner", s, "the id of a user or service: printable text, 1 to 128 bytes")
	}
	return nil
}

// Clone returns a deep copy.
func (p Project) Clone() Project {
	p.Quota, p.PerUser, p.Users = maps.Clone(p.Quota), maps.Clone(p.PerUser), maps.Clone(p.Users)
	for owner, limits := range p.Users {
		p.Users[owner] = maps.Clone(limits)
	}
	return p
}

// Equal reports whether both are the same; a limit of zero and none differ.
func (p Project) Equal(o Project) bool {
	return p.Name == o.Name && p.Parent == o.Parent && p.Weight == o.Weight && maps.Equal(p.Quota, o.Quota) && maps.Equal(p.PerUser, o.PerUser) &&
		maps.EqualFunc(p.Users, o.Users, maps.Equal[Resources])
}

// LimitsOf returns the limits of an owner in the project itself; of nobody there are none. It must not be changed.
func (p Project) LimitsOf(owner string) Resources {
	if owner == "" {
		return nil
	}
	own, ok := p.Users[owner]
	if !ok {
		return p.PerUser
	}
	all := maps.Clone(p.PerUser)
	if all == nil {
		return own
	}
	maps.Copy(all, own)
	return all
}

// ProjectRecord is a project with what its instances take; Used has Instances as a class, the number of
// those that hold a place, and Cost, what these cost, where there are prices.
type ProjectRecord struct {
	Project
	Used     Resources // by the project itself
	Subtree  Resources // with Children: by the project and all below it, as in Used; else nil
	Children int       // projects that lie in it, those in these not counted
	Members  int       // instances of the project itself, failed ones included
	Changed  Revision
}

// Total returns what the project's limits are for: what it uses together with all projects below it. It must not be changed.
func (p *ProjectRecord) Total() Resources {
	if p.Children > 0 {
		return p.Subtree
	}
	return p.Used
}

// draft returns a record that is the same but for its sums, which nobody else has.
func (p *ProjectRecord) draft() *ProjectRecord {
	n := *p
	n.Used = p.Used.copy()
	if p.Children > 0 {
		n.Subtree = p.Subtree.copy()
	}
	return &n
}

// Above yields the project and those that it lies in, itself first.
func (s *State) Above(project string) iter.Seq[*ProjectRecord] {
	return func(yield func(*ProjectRecord) bool) {
		for project != "" {
			p, ok := s.projects.get(project)
			if !ok || !yield(p) {
				return
			}
			project = p.Parent
		}
	}
}

// Lies reports whether a project is another one, or lies somewhere in it.
func (s *State) Lies(project, in string) bool {
	for p := range s.Above(project) {
		if p.Name == in {
			return true
		}
	}
	return false
}

// CheckParent reports, as an error, why a project, which need not be there yet, cannot lie in another one. An empty parent
// is none, and always good.
func (s *State) CheckParent(project, parent string) error {
	if parent == "" {
		return nil
	}
	if _, ok := s.projects.get(parent); !ok {
		return notFound("parent", parent)
	}
	if project == "" || s.Lies(parent, project) {
		return invalid("parent", parent, "another project, which does not lie in this one")
	}
	depth := 1
	for range s.Above(parent) {
		depth++
	}
	if depth += s.height(project); depth > MaxDepth {
		return invalid("parent", parent, "at most "+strconv.Itoa(MaxDepth)+" projects one in another")
	}
	return nil
}

// height returns how many projects lie one in another below a project. It looks at all projects if there are any.
func (s *State) height(project string) (height int) {
	if p, ok := s.projects.get(project); !ok || p.Children == 0 {
		return 0
	}
	for name := range s.projects.all() {
		below := 0
		for p := range s.Above(name) {
			if p.Name == project {
				height = max(height, below)
			}
			below++
		}
	}
	return height
}

// OwnerUsed returns what the instances of an owner take of a project itself, as ProjectRecord.Used. It must not be changed.
func (s *State) OwnerUsed(project, owner string) Resources {
	used, _ := s.owners.get(owned{project, owner})
	return used
}

// Owners yields the owners whose instances take something of a project itself, with what that is, in no order. It looks at
// those of all projects.
func (s *State) Owners(project string) iter.Seq2[string, Resources] {
	return func(yield func(string, Resources) bool) {
		for k, used := range s.owners.all() {
			if k.project == project && !yield(k.owner, used) {
				return
			}
		}
	}
}

// owned is what one owner has in one project.
type owned struct{ project, owner string }

// account is a sum that an event changes beside that of a project itself.
type account struct {
	owned          // of an owner; else
	subtree string // of a project and all below it
	sum     Resources
}

// payMore adds the charges to what is counted together with a project: it and those above it, and the owner. It
// changes sums in records that an overlay has made itself, all or none, and leaves it to set to put the others in their place. What it costs
// grows with the depth of the project.
func (d *draft) payMore(s *State, p *ProjectRecord) (out []account, err error) {
	for q := range s.Above(p.Name) {
		if q.Children == 0 { // p, of which all is its own
			continue
		}
		a := account{subtree: q.Name}
		if a.sum, err = d.pay(q.Subtree, s.mayEdit() && s.projects.owns(q.Name)); err != nil {
			err = InField("project "+Quote(q.Name), err)
			break
		}
		out = append(out, a)
	}
	if d.owner != "" && err == nil {
		a := account{owned: owned{p.Name, d.owner}}
		used, _ := s.owners.get(a.owned)
		if a.sum, err = d.pay(used, s.mayEdit() && s.owners.owns(a.owned)); err == nil {
			return append(out, a), nil
		}
		err = InField("owner "+Quote(d.owner), err)
	}
	if err != nil {
		for _, a := range out {
			d.payBack(a.sum, d.charged)
		}
	}
	return out, err
}

func (a *account) set(s *State, at Revision) {
	switch {
	case a.subtree != "":
		p := s.editProject(a.subtree)
		p.Subtree, p.Changed = a.sum, at
	case len(a.sum) == 0:
		s.owners.del(a.owned)
	default:
		s.owners.set(a.owned, a.sum)
	}
}

// editProject returns a project's record to be changed: its own one of an overlay, else a new one that is in the place of
// the old from now on.
func (s *State) editProject(name string) *ProjectRecord {
	p, _ := s.projects.get(name)
	if s.mayEdit() && s.projects.owns(name) {
		return p
	}
	p = p.draft()
	s.projects.replace(name, p)
	return p
}

func (s *State) putProject(e *Event, p *Project) error {
	n, was := &ProjectRecord{Used: make(Resources)}, ""
	if old, there := s.projects.get(p.Name); there {
		n, was = old.draft(), old.Parent
	}
	n.Project, n.Changed = *p, e.Revision
	if was != p.Parent {
		if err := s.CheckParent(p.Name, p.Parent); err != nil {
			return err
		}
		if err := s.carry(n, was, e.Revision); err != nil {
			return err
		}
	}
	s.projects.set(p.Name, n)
	return nil
}

// carry takes what a project and those below it use from those that it lay in, and adds it to those that it lies in now. For
// those that it lies in before and after nothing changes.
func (s *State) carry(n *ProjectRecord, was string, at Revision) error {
	total := n.Total()
	var from, to []string
	for q := range s.Above(was) {
		from = append(from, q.Name)
	}
	for q := range s.Above(n.Parent) {
		if k := slices.Index(from, q.Name); k >= 0 {
			from = from[:k]
			break
		}
		if err := q.Total().copy().shift(total, 1); err != nil {
			return InField("project "+Quote(q.Name), err)
		}
		to = append(to, q.Name)
	}
	for _, name := range from {
		p := s.editProject(name)
		p.Subtree.shift(total, -1) // of which it is a part, so that this is no error
		p.Changed = at
	}
	if was != "" {
		s.children(was, -1, at)
	}
	if n.Parent != "" {
		s.children(n.Parent, 1, at)
	}
	for _, name := range to {
		p := s.editProject(name)
		p.Subtree.shift(total, 1) // which has been tried
		p.Changed = at
	}
	return nil
}

// children changes how many projects lie in one.
func (s *State) children(parent string, change int, at Revision) {
	p := s.editProject(parent)
	if p.Children == 0 {
		p.Subtree = p.Used.copy()
	}
	if p.Children += change; p.Children == 0 {
		p.Subtree = nil
	}
	p.Changed = at
}

func (s *State) removeProject(e *Event, name string) error {
	p, ok := s.projects.get(name)
	if !ok {
		return notFound("project", name)
	}
	if err := p.Removable(); err != nil {
		return err
	}
	s.projects.del(name)
	if p.Parent != "" {
		s.children(p.Parent, -1, e.Revision)
	}
	return nil
}

// Removable reports, as an error, that the project has instances, or others lie in it.
func (p *ProjectRecord) Removable() error {
	switch {
	case p.Members > 0:
		return &Error{Kind: ErrInUse, Field: "project", Value: p.Name, Want: "no instances in it"}
	case p.Children > 0:
		return &Error{Kind: ErrInUse, Field: "project", Value: p.Name, Want: "no projects that lie in it"}
	}
	return nil
}

// deriveProjects sets what snapshots do not say of projects, and checks that they lie in each other as they may. Owners are
// counted already.
func (s *State) deriveProjects() error {
	for name, p := range s.projects.all() {
		if p.Parent == "" {
			continue
		}
		depth := 1
		for up := p.Parent; up != ""; depth++ {
			q, ok := s.projects.get(up)
			if !ok {
				return notFound("parent", up)
			}
			if depth == MaxDepth || up == name {
				return corruptSnapshot("project "+Quote(name), "a few projects at most one in another, none in itself")
			}
			if q.Subtree == nil {
				q.Subtree = q.Used.copy()
			}
			if err := q.Subtree.sum(p.Used); err != nil {
				return err
			}
			if up == p.Parent {
				q.Children++
			}
			up = q.Parent
		}
	}
	return nil
}
