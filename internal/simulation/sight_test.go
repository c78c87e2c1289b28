package simulation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/internal/alerting"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
)

// mostStale is how old what a daemon shows may be, whatever has happened to it.
const mostStale = 5 * time.Minute

// sight is who may see what up to a revision, by what the simulation itself has commanded: a second model, short and slow, that shares
// nothing with package auth but the names of things. The ledger says which commands were taken, and in what order.
type sight struct {
	at      pool.Revision
	parents map[string]string // of projects
	people  map[string]*person
	bound   map[string]auth.Binding
}

type person struct {
	home     string // project of a service account
	disabled bool
	since    pool.Revision // from which on what they sign in with is good
	tokens   map[string]auth.Token
}

// spot is where something lies and whose it is.
type spot struct{ project, owner string }

func newSight() *sight {
	return &sight{parents: make(map[string]string), people: make(map[string]*person), bound: make(map[string]auth.Binding)}
}

// bindings returns the ids of all, in an order that is always the same.
func (s *sight) bindings() []string { return slices.Sorted(maps.Keys(s.bound)) }

// follow takes over what the ledger has, up to a revision.
func (s *sight) follow(m *monitor, to pool.Revision) {
	for m.w.tenants && s.at < to {
		b := &m.log[s.at]
		for n := range b.Events {
			s.take(m.w, &b.Events[n])
		}
		s.at = b.Revision
	}
}

// take takes over one event, by the command that it comes from.
func (s *sight) take(w *world, e *pool.Event) {
	if !w.tenants || e.Kind != pool.KindProjectPut && e.Kind != pool.KindProjectRemoved && !strings.HasPrefix(e.Kind, auth.Name+".") {
		return
	}
	said := w.said[e.Cause]
	switch {
	case e.Kind == pool.KindProjectRemoved: // whoever gets the name later gets nothing of what was there
		delete(s.parents, attic)
		maps.DeleteFunc(s.bound, func(_ string, b auth.Binding) bool { return b.Scope.Project == attic })
		maps.DeleteFunc(s.people, func(id string, p *person) bool {
			if p.home == attic {
				s.unbind(id)
			}
			return p.home == attic
		})
	case said.project != nil && e.Kind == pool.KindProjectPut:
		s.parents[said.project.Name] = said.project.Parent
	case said.people != nil && e.Kind != pool.KindProjectPut:
		s.command(said.people, e.Revision, e.Time)
	case e.Kind != pool.KindProjectPut || e.Cause != "decide on quota": // which leaves a project where it is
		w.broken(trespasses, "revision %d: %s by %q, which nobody has commanded", e.Revision, e.Kind, e.Cause)
	}
}

func (s *sight) unbind(principal string) {
	maps.DeleteFunc(s.bound, func(_ string, b auth.Binding) bool { return b.Principal == principal })
}

func (s *sight) command(c *auth.Command, at pool.Revision, when time.Time) {
	switch {
	case c.Put != nil:
		if s.people[c.Put.ID] == nil {
			s.people[c.Put.ID] = &person{home: c.Put.Project, since: at, tokens: make(map[string]auth.Token)}
		}
	case c.Remove != "":
		delete(s.people, c.Remove)
		s.unbind(c.Remove)
	case c.Disable != "":
		s.people[c.Disable].disabled, s.people[c.Disable].since = true, at
	case c.Enable != "":
		s.people[c.Enable].disabled, s.people[c.Enable].since = false, at
	case c.Reset != "":
		s.people[c.Reset].since = at
	case c.Bind != nil:
		s.bound[c.Bind.ID] = *c.Bind
	case c.Unbind != "":
		delete(s.bound, c.Unbind)
	case c.Token != nil:
		p := s.people[c.Token.Principal]
		maps.DeleteFunc(p.tokens, func(_ string, t auth.Token) bool { return !when.Before(t.Expires) }) // which make room, by the ledger's clock
		p.tokens[c.Token.ID] = *c.Token
	case c.Revoke != "":
		for _, p := range s.people {
			delete(p.tokens, c.Revoke)
		}
	}
}

// within reports whether a project is another one, or lies below it. One that there is not lies nowhere.
func (s *sight) within(project, above string) bool {
	for n := 0; project != "" && n < 10; n++ {
		parent, there := s.parents[project]
		if there && project == above {
			return true
		}
		project = parent
	}
	return false
}

func (s *sight) covers(scope auth.Scope, at spot, own bool) bool {
	if scope.Own && !own {
		return false
	}
	return scope.Everything || scope.Project == "" || s.within(at.project, scope.Project)
}

// may returns who may look at a kind of thing: who is bound to it with that role or a higher one, and those whose it is.
func may(of auth.Resource) (least auth.Role, self bool) {
	switch of {
	case auth.Users, auth.Bindings, auth.Tokens:
		return auth.Admin, true
	case auth.Receivers:
		return auth.Operator, false
	case auth.Audit:
		return auth.Admin, false
	}
	return auth.Viewer, false
}

// sees reports whether a reader sees something: the rules of docs/auth.md, one after another.
func (s *sight) sees(r reader, of auth.Resource, at spot) bool {
	now, who, groups := time.Now(), r.by.Principal, r.by.Groups
	var token *auth.Token
	if r.text != "" {
		who, groups = "", nil // nobody vouches for what a token's owner is in
		_, id, _ := auth.ParseToken(r.text)
		for name, p := range s.people {
			if t, ok := p.tokens[id]; ok {
				who, token = name, &t
			}
		}
	}
	p := s.people[who]
	switch {
	case p == nil, p.disabled:
		return false
	case token != nil && !now.Before(token.Expires):
		return false
	case token == nil && (r.by.Generation != p.since || !r.by.Expires.IsZero() && !now.Before(r.by.Expires)):
		return false
	}
	least, self := may(of)
	rank := func(role auth.Role) int { return slices.Index(auth.Roles(), role) }
	own := at.owner != "" && at.owner == who
	bound := own && self
	for _, b := range s.bound {
		mine := b.Principal == who || b.Group != "" && slices.Contains(groups, b.Group)
		home := p.home == "" || s.within(at.project, p.home)
		if mine && home && rank(b.Role) >= rank(least) && s.covers(b.Scope, at, own) {
			bound = true
		}
	}
	if !bound || token == nil {
		return bound
	}
	return slices.ContainsFunc(token.Limits, func(l auth.Limit) bool {
		return (own && self || rank(l.Role) >= rank(least)) && s.covers(l.Scope, at, own)
	})
}

// spot returns where the launch of a token lies and whose it is: as it was asked for.
func (w *world) spot(token string) spot {
	at, ok := w.spots[token]
	if !ok {
		at = spot{w.order(token).Project, w.owner(token)}
		w.spots[token] = at
	}
	return at
}

// shown is one thing in the books of a daemon: where these say it lies and whose it is, and where it does.
type shown struct {
	of         auth.Resource
	name       string
	says, lies spot
}

// shows returns all things in books that are shown to some and not to others. What is in them that nobody has asked for is a breach.
func (m *monitor) shows(st *pool.State, s *sight) (out []shown) {
	add := func(of auth.Resource, name string, says, lies spot) { out = append(out, shown{of, name, says, lies}) }
	of := func(i *pool.Instance) (spot, spot) {
		token := i.Name // is its token
		if i.Cluster != "" {
			token = i.Cluster.Name()
		}
		return spot{i.Project, i.Owner}, m.w.spot(token)
	}
	n := 0
	for i := range st.Instances() {
		says, lies := of(i)
		add(auth.Instances, string(i.ID), says, lies)
		switch n++; {
		case i.Phase == pool.Reserved:
			add(auth.Reservations, string(i.ID), says, lies)
		case n%4 == 0:
			add([]auth.Resource{auth.History, auth.Usage, auth.Operations}[n/4%3], string(i.ID), says, lies)
		}
	}
	for i := range st.Waiting() {
		says, lies := of(i)
		add(auth.Queue, string(i.ID), says, lies)
	}
	for c := range st.Clusters() {
		add(auth.Clusters, string(c.ID), spot{c.ID.Project(), c.Owner}, m.w.spot(c.ID.Name()))
	}
	for p := range st.Projects() {
		if _, ok := s.parents[p.Name]; !ok {
			m.w.broken(trespasses, "revision %d has project %s, which nobody has put", st.Head(), p.Name)
		}
		add(auth.Projects, p.Name, spot{p.Name, ""}, spot{p.Name, ""})
		add(auth.Quotas, p.Name, spot{p.Name, ""}, spot{p.Name, ""})
	}
	if part, ok := st.Part(quota.PartName); ok {
		for _, q := range part.(quota.Requests).Of("") {
			add(auth.Quotas, q.Project+"/"+q.ID, spot{q.Project, q.By}, m.w.askers[q.ID])
		}
	}
	for _, a := range alerting.Of(st).Alerts() {
		var says, lies spot
		if i, ok := st.Instance(pool.InstanceID(a.Labels.Get("vm_id"))); ok {
			says, lies = of(i)
		}
		add(auth.Alerts, a.Labels.String(), says, lies)
	}
	for _, of := range []auth.Resource{auth.Hosts, auth.Machines, auth.Plans, auth.Metrics, auth.Receivers, auth.Audit} {
		add(of, "all", spot{}, spot{})
	}
	return append(out, m.peopleShown(st, s)...)
}

// peopleShown returns the principals, bindings and tokens in books, likewise. There must be as many as there should be.
func (m *monitor) peopleShown(st *pool.State, s *sight) (out []shown) {
	known, people, bindings, tokens := auth.Of(st), 0, 0, 0
	for p := range known.Principals() {
		people++
		var home string
		if q := s.people[p.ID]; q != nil {
			home = q.home
		}
		out = append(out, shown{auth.Users, p.ID, spot{p.Project, p.ID}, spot{home, p.ID}})
		for _, t := range known.Tokens(p.ID) {
			if q := s.people[p.ID]; q != nil && q.tokens[t.ID].Hash == t.Hash {
				tokens++
			}
			out = append(out, shown{auth.Tokens, t.ID, spot{p.Project, t.Principal}, spot{home, p.ID}})
		}
	}
	for b := range known.Bindings() {
		bindings++
		is := s.bound[b.ID]
		out = append(out, shown{auth.Bindings, b.ID, spot{b.Scope.Project, b.Principal}, spot{is.Scope.Project, is.Principal}})
	}
	should := 0
	for _, p := range s.people {
		should += len(p.tokens)
	}
	if people != len(s.people) || bindings != len(s.bound) || tokens != should {
		m.w.broken(trespasses, "revision %d has %d principals, %d bindings and %d tokens, and should have %d, %d and %d", st.Head(), people, bindings, tokens, len(s.people), len(s.bound), should)
	}
	return out
}

// look compares what readers are shown of books with what they may see. S is the model at the same revision.
func (m *monitor) look(where string, st *pool.State, s *sight, readers []reader) {
	things := m.shows(st, s)
	known, projects, now := auth.Of(st), auth.LineageOf(st), time.Now()
	tokens := auth.APITokens{Prefix: tokenPrefix, State: func(context.Context) (*auth.State, error) { return known, nil }}
	for _, r := range readers {
		by := r.by
		if r.text != "" {
			var err error
			if by, err = tokens.Authenticate(context.Background(), auth.Credential{Bearer: r.text}); err != nil && !errors.Is(err, auth.ErrUnauthenticated) {
				m.w.must(err)
			}
		}
		views := make(map[auth.Resource]auth.View)
		for _, t := range things {
			v, ok := views[t.of]
			if !ok {
				v = known.View(projects, by, t.of, now)
				views[t.of] = v
			}
			is, should := v.Shows(t.says.project, t.says.owner), s.sees(r, t.of, t.lies)
			m.looks++
			if is {
				m.shown++
			}
			if is != should {
				m.w.broken(trespasses, "%s at revision %d: %s is shown %s %s: %v, and should be: %v (it lies in %q and is %q's, the books say %q and %q)",
					where, st.Head(), r, t.of, t.name, is, should, t.lies.project, t.lies.owner, t.says.project, t.says.owner)
				return
			}
		}
	}
}

// watch has some readers look at what a daemon shows: its books, and now and then those that are made of their snapshot.
func (m *monitor) watch(p *process, st *pool.State) {
	if !m.w.tenants {
		return
	}
	if old := len(m.heads) - 1 - int(mostStale/time.Second); old >= 0 && st.Head() < m.heads[old] {
		m.w.broken(trespasses, "%s shows revision %d, and %v ago the ledger had %d", p.name, st.Head(), mostStale, m.heads[old])
	}
	if st.Head() > m.st.Head() || m.w.eyes.IntN(3) > 0 {
		return
	}
	if p.sight == nil {
		p.sight = newSight()
	}
	p.sight.follow(m, st.Head())
	m.look(p.name, st, p.sight, m.w.readers(false))
	if m.w.eyes.IntN(30) == 0 {
		var b bytes.Buffer
		_, err := st.Snapshot().WriteTo(&b)
		m.w.must(err)
		again, err := pool.ReadSnapshot(&b, m.w.state()...)
		m.w.must(err)
		if err == nil {
			m.look("the snapshot of "+p.name, again, p.sight, m.w.readers(false))
		}
	}
}

// toldAbout checks that an event of the part is said to be about what the command that it comes from is about. It is called before the event is
// folded.
func (m *monitor) toldAbout(e *pool.Event) {
	c := m.w.said[e.Cause].people
	if c == nil || !strings.HasPrefix(e.Kind, auth.Name+".") {
		return
	}
	of := func(kind auth.Resource, principal string) auth.Thing {
		t := auth.Thing{Resource: kind, Owner: principal}
		if p := m.sight.people[principal]; p != nil {
			t.Project = p.home
		}
		return t
	}
	var want auth.Thing
	switch {
	case c.Put != nil:
		want = auth.Thing{Resource: auth.Users, Project: c.Put.Project, Owner: c.Put.ID}
	case c.Bind != nil:
		want = auth.Thing{Resource: auth.Bindings, Project: c.Bind.Scope.Project, Owner: c.Bind.Principal}
	case c.Unbind != "":
		b := m.sight.bound[c.Unbind]
		want = auth.Thing{Resource: auth.Bindings, Project: b.Scope.Project, Owner: b.Principal}
	case c.Token != nil:
		want = of(auth.Tokens, c.Token.Principal)
	case c.Revoke != "":
		for id, p := range m.sight.people {
			if _, ok := p.tokens[c.Revoke]; ok {
				want = of(auth.Tokens, id)
			}
		}
	default:
		want = of(auth.Users, c.Remove+c.Disable+c.Enable+c.Reset) // one of them
	}
	if is, ok := auth.Of(m.st).About(e); !ok || is != want {
		m.w.broken(trespasses, "revision %d: %s is said to be about %+v, and is about %+v", e.Revision, e.Kind, is, want)
	}
}

// elsewhere looks at the ledger as others have it at the end: begun from a checkpoint of all of it, and imported under another identity.
func (w *world) elsewhere() {
	if !w.tenants {
		return
	}
	m := w.monitor
	m.follow()
	ctx := context.Background()
	open := func(l pool.Ledger) (*berthage.Manager, error) {
		return berthage.Open(ctx, berthage.Config{
			Ledger: l, Parts: w.parts(), Drivers: map[string]hypervisor.Driver{driverName: fake.New(fake.Config{Name: driverName})},
		})
	}
	copied := func() *pool.MemoryLedger {
		l := pool.NewMemoryLedger()
		for _, b := range m.log {
			_, err := l.Append(ctx, b.Revision-1, b.Events...)
			w.must(err)
		}
		return l
	}
	look := func(where string, l pool.Ledger) {
		b, err := open(l)
		if err != nil {
			w.must(fmt.Errorf("%s: %w", where, err))
			return
		}
		defer b.Close()
		b.View(func(st *pool.State) { m.look(where, st, m.sight, w.readers(true)) })
	}
	compacted := copied()
	b, err := open(compacted)
	if err != nil {
		w.must(err)
		return
	}
	_, err = b.Compact(ctx)
	b.Close()
	w.must(err)
	look("the compacted ledger", compacted)

	imported := copied()
	e, err := pool.NewEvent(pool.KindImported, &pool.Imported{Ledger: "copy", From: m.st.Identity()})
	w.must(err)
	e.ID, e.Time = "imported", time.Now().UTC()
	if e.Time.Before(m.st.Time()) {
		e.Time = m.st.Time()
	}
	e.Epoch = m.st.Epoch()
	_, err = imported.Append(ctx, m.st.Head(), e)
	w.must(err)
	look("the imported ledger", imported)
}

// parts returns what worlds of tenants keep in the ledger beside all else.
func (w *world) parts() []pool.Part {
	if !w.tenants {
		return nil
	}
	return []pool.Part{auth.New(nil)}
}

// state returns the parts of the books of a daemon.
func (w *world) state() []pool.Part { return berthage.Parts(w.parts()...) }
