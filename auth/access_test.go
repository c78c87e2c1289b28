package auth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

func ask(s *auth.State, by auth.Identity, v auth.Verb, r auth.Resource, project, owner string) auth.Access {
	return s.Access(lineage(tree()), auth.Request{By: by, Verb: v, Thing: auth.Thing{Resource: r, Project: project, Owner: owner}}, noon())
}

func TestWhoMayWhat(t *testing.T) {
	t.Parallel()
	b := company(t)
	b.do(auth.Command{Bind: &auth.Binding{ID: "b-group", Group: "corp:oncall", Role: auth.Operator, Scope: everything()}})
	b.bind("b-nobody", "bot", auth.User, auth.Scope{Project: "web", Own: true})
	const yes, hidden = auth.Reason(""), true
	for _, c := range []struct {
		who            string
		v              auth.Verb
		r              auth.Resource
		project, owner string
		why            auth.Reason
		hidden         bool
	}{
		{"root", auth.Delete, auth.Instances, "web", "uma", yes, false},
		{"root", auth.Operate, auth.Hosts, "", "", yes, false},
		{"root", auth.Delete, auth.Ledger, "", "", yes, false},
		{"root", auth.Delete, auth.Instances, "gone", "", yes, false},

		{"olga", auth.Delete, auth.Instances, "web", "uma", yes, false},
		{"olga", auth.Operate, auth.Instances, "corp", "", yes, false},
		{"olga", auth.Operate, auth.Hosts, "", "", auth.OutOfScope, hidden},
		{"olga", auth.Update, auth.Quotas, "corp", "", auth.NotByRole, false},
		{"olga", auth.Read, auth.Instances, "rival", "", auth.OutOfScope, hidden},
		{"olga", auth.Delete, auth.Instances, "rival", "rita", auth.OutOfScope, hidden},
		{"olga", auth.Read, auth.Instances, "gone", "", auth.OutOfScope, hidden},
		{"olga", auth.Read, auth.Audit, "corp", "", auth.NotByRole, hidden},

		{"uma", auth.Create, auth.Instances, "web", "uma", yes, false},
		{"uma", auth.Create, auth.Instances, "corp", "uma", auth.OutOfScope, hidden},
		{"uma", auth.Delete, auth.Instances, "web", "uma", yes, false},
		{"uma", auth.Console, auth.Instances, "eng", "uma", yes, false},
		{"uma", auth.Console, auth.Instances, "eng", "olga", auth.NotOwn, false},
		{"uma", auth.Delete, auth.Instances, "eng", "", auth.NotOwn, false},
		{"uma", auth.Operate, auth.Instances, "eng", "uma", auth.NotByRole, false},
		{"uma", auth.Read, auth.Instances, "ops", "", auth.OutOfScope, hidden},
		{"uma", auth.Delete, auth.Instances, "ops", "uma", auth.OutOfScope, hidden},
		{"uma", auth.Read, auth.Images, "", "", yes, false},
		{"uma", auth.Update, auth.Images, "", "", auth.OutOfScope, false},
		{"uma", auth.Read, auth.Hosts, "", "", auth.OutOfScope, hidden},
		{"uma", auth.Update, auth.Credentials, "", "uma", yes, false},
		{"uma", auth.Update, auth.Credentials, "", "olga", auth.OutOfScope, hidden},
		{"uma", auth.Create, auth.Bindings, "eng", "", auth.NotByRole, hidden},

		{"vic", auth.Read, auth.Instances, "web", "uma", yes, false},
		{"vic", auth.Create, auth.Instances, "web", "vic", auth.NotByRole, false},
		{"vic", auth.Delete, auth.Instances, "web", "vic", auth.NotByRole, false},
		{"vic", auth.Read, auth.Instances, "eng", "", auth.OutOfScope, hidden},

		{"nobody", auth.Read, auth.Instances, "web", "nobody", auth.NoBinding, hidden},
		{"nobody", auth.Read, auth.Images, "", "", auth.NoBinding, hidden},
		{"nobody", auth.Read, auth.Users, "", "nobody", yes, false},
		{"nobody", auth.Operate, auth.Users, "", "nobody", auth.NoBinding, false},

		{"rita", auth.Create, auth.Bindings, "rival", "", yes, false},
		{"rita", auth.Create, auth.Bindings, "", "", auth.OutOfScope, hidden},
		{"rita", auth.Create, auth.Bindings, "corp", "", auth.OutOfScope, hidden},
		{"rita", auth.Read, auth.Instances, "web", "rita", auth.OutOfScope, hidden},

		{"bot", auth.Create, auth.Instances, "web", "bot", yes, false},
		{"bot", auth.Read, auth.Instances, "web", "uma", auth.OutOfScope, hidden},
		{"bot", auth.Delete, auth.Instances, "web", "uma", auth.NotOwn, hidden},
		{"bot", auth.Delete, auth.Instances, "eng", "bot", auth.OutOfScope, hidden},

		{"ghost", auth.Read, auth.Images, "", "", auth.NoPrincipal, hidden},
		{"", auth.Read, auth.Images, "", "", auth.NoPrincipal, hidden},
		{"root", auth.Read, "dragons", "", "", auth.NotInTable, hidden},
		{"root", auth.Read | auth.Delete, auth.Instances, "web", "", auth.NotInTable, hidden},
		{"root", 0, auth.Instances, "web", "", auth.NotInTable, hidden},
		{"root", 128, auth.Instances, "web", "", auth.NotInTable, hidden},
		{"root", auth.Delete, auth.Status, "", "", auth.NotByRole, false},
	} {
		got := ask(b.auth(), b.whole(c.who), c.v, c.r, c.project, c.owner)
		name := fmt.Sprint(c.who, " ", c.v, " ", c.r, " in ", c.project, " of ", c.owner)
		require.Equal(t, c.why, got.Reason, name)
		require.Equal(t, c.why == yes, got.Allowed, name)
		require.Equal(t, c.hidden, got.Hidden, name)
	}

	oncall := b.whole("nobody")
	oncall.Groups = []string{"corp:cooks", "corp:oncall"}
	require.Equal(t, "b-group", ask(b.auth(), oncall, auth.Operate, auth.Hosts, "", "").Binding)
	oncall.Groups = []string{"oncall"}
	require.False(t, ask(b.auth(), oncall, auth.Operate, auth.Hosts, "", "").Allowed)
}

// TestOwnThingsOnly: whoever is bound to nothing but their own things can make nothing, since it would be in anybody's project.
func TestOwnThingsOnly(t *testing.T) {
	t.Parallel()
	b := company(t)
	b.bind("b-own", "nobody", auth.Operator, auth.Scope{Own: true})
	who := b.whole("nobody")
	require.True(t, ask(b.auth(), who, auth.Operate, auth.Instances, "rival", "nobody").Allowed)
	require.Equal(t, auth.OutOfScope, ask(b.auth(), who, auth.Create, auth.Instances, "rival", "nobody").Reason)
	require.Equal(t, auth.OutOfScope, ask(b.auth(), who, auth.Read, auth.Instances, "rival", "rita").Reason)
	require.Equal(t, auth.OutOfScope, ask(b.auth(), who, auth.Read, auth.Hosts, "", "").Reason)
}

func TestIdentitiesThatAreGoodNoMore(t *testing.T) {
	t.Parallel()
	b := company(t)
	who := b.whole("root")
	allowed := func(by auth.Identity) auth.Reason { return ask(b.auth(), by, auth.Read, auth.Hosts, "", "").Reason }
	require.Empty(t, allowed(who))

	late := who
	late.Expires = noon()
	require.Equal(t, auth.Expired, allowed(late))
	late.Expires = noon().Add(time.Nanosecond)
	require.Empty(t, allowed(late))

	b.bind("b-second", "rita", auth.Admin, everything())
	b.do(auth.Command{Disable: "root"})
	require.Equal(t, auth.Disabled, allowed(b.whole("root")))
	b.do(auth.Command{Enable: "root"})
	require.Equal(t, auth.Revoked, allowed(who), "what was held before stays void")
	require.Empty(t, allowed(b.whole("root")))

	for name, c := range map[string]auth.Command{
		"reset":         {Reset: "root"},
		"password":      {Set: &auth.SetPassword{Principal: "root", Hash: argon()}},
		"second factor": {Second: &auth.SetSecond{Principal: "root", Secret: make([]byte, 20)}},
		"without it":    {Drop: "root"},
	} {
		if name == "without it" {
			b.do(auth.Command{Second: &auth.SetSecond{Principal: "root", Secret: make([]byte, 20)}})
		}
		before := b.whole("root")
		b.do(c)
		require.Equal(t, auth.Revoked, allowed(before), name)
		require.Empty(t, allowed(b.whole("root")), name)
	}
	before := b.whole("root")
	b.do(auth.Command{Remove: "root"})
	require.Equal(t, auth.NoPrincipal, allowed(before))
	b.person("root")
	b.bind("b-again", "root", auth.Admin, everything())
	require.Equal(t, auth.Revoked, allowed(before), "what somebody of the same id held stays void")
	require.Empty(t, allowed(b.whole("root")))

	before = b.whole("vic")
	b.do(auth.Command{Remove: "vic"})
	b.person("vic")
	require.Equal(t, auth.Revoked, allowed(before), "nor did they ever change anything")
}

// TestTokensHaveLimits: a token can do what both its owner and its limits can, and nothing that would give it more.
func TestTokensHaveLimits(t *testing.T) {
	t.Parallel()
	b := company(t)
	token := func(who string, limits ...auth.Limit) auth.Identity {
		id := b.whole(who)
		id.Whole, id.Limits = false, limits
		return id
	}
	can := func(by auth.Identity, v auth.Verb, r auth.Resource, project, owner string) auth.Reason {
		return ask(b.auth(), by, v, r, project, owner).Reason
	}
	require.Equal(t, auth.OutOfLimits, can(token("root"), auth.Read, auth.Instances, "web", ""), "without limits it is good for nothing")
	all := auth.Limit{Role: auth.Admin, Scope: everything()}
	require.Empty(t, can(token("root", all), auth.Delete, auth.Instances, "web", ""))
	require.Equal(t, auth.NotByToken, can(token("root", all), auth.Create, auth.Tokens, "", "root"))
	require.Equal(t, auth.NotByToken, can(token("root", all), auth.Update, auth.Credentials, "", "root"))
	require.Equal(t, auth.NotByRole, can(token("vic", all), auth.Delete, auth.Instances, "web", "vic"), "never more than its owner")
	view := auth.Limit{Role: auth.Viewer, Scope: in("web")}
	require.Empty(t, can(token("uma", view), auth.Read, auth.Instances, "web", ""))
	require.Equal(t, auth.OutOfLimits, can(token("uma", view), auth.Read, auth.Instances, "eng", ""))
	require.Equal(t, auth.OutOfLimits, can(token("uma", view), auth.Delete, auth.Instances, "web", "uma"))
	require.Empty(t, can(token("uma", view), auth.Read, auth.Images, "", ""))
	require.Equal(t, auth.OutOfLimits, can(token("uma", view), auth.Update, auth.Keys, "", "uma"))
	require.Empty(t, can(token("uma", auth.Limit{Role: auth.User, Scope: auth.Scope{Own: true}}), auth.Delete, auth.Instances, "web", "uma"))
}

// TestServiceAccountsStayAtHome: one that lies in a project may nothing outside of it, whatever it is bound to: the project's admins make its
// tokens.
func TestServiceAccountsStayAtHome(t *testing.T) {
	t.Parallel()
	b := company(t)
	for _, s := range []auth.Scope{everything(), in("corp"), in("rival"), in("gone"), {Own: true}} {
		_, err := b.try(auth.Command{Program: true, Bind: &auth.Binding{ID: "x", Principal: "bot", Role: auth.Viewer, Scope: s}})
		require.ErrorIs(t, err, pool.ErrInvalid, s)
	}
	b.bind("b-bot", "bot", auth.Operator, in("web"))
	b.bind("b-bot2", "bot", auth.Operator, auth.Scope{Project: "eng", Own: true})
	q := auth.Request{By: b.whole("bot"), Verb: auth.Operate, Thing: auth.Thing{Resource: auth.Instances, Project: "web"}}
	require.True(t, b.auth().Access(lineage(tree()), q, noon()).Allowed)
	moved := tree()
	moved["web"] = "rival"
	require.Equal(t, auth.OutOfScope, b.auth().Access(lineage(moved), q, noon()).Reason, "the project went elsewhere")
	q.Thing = auth.Thing{Resource: auth.Images}
	q.Verb = auth.Read
	require.True(t, b.auth().Access(lineage(moved), q, noon()).Allowed, "but what all share")
}

func TestRefusalsSayNoMoreThanTheyMust(t *testing.T) {
	t.Parallel()
	b := company(t)
	s := auth.Books{Read: func(_ context.Context, look func(*auth.State, auth.Lineage)) error {
		look(b.auth(), lineage(tree()))
		return nil
	}}
	r := auth.Request{By: b.whole("uma"), Verb: auth.Delete, Thing: auth.Thing{Resource: auth.Instances, Project: "rival", Owner: "canary-owner"}}
	err := s.Authorize(t.Context(), r)
	var no *auth.Refusal
	require.ErrorAs(t, err, &no)
	require.ErrorIs(t, err, auth.ErrForbidden)
	require.True(t, no.Hidden)
	require.Equal(t, "delete instances: not allowed: it lies outside of what the principal is bound to", err.Error())
	require.NotContains(t, err.Error(), "canary")

	r.By = auth.Identity{}
	require.ErrorIs(t, s.Authorize(t.Context(), r), auth.ErrUnauthenticated)
	r.By = b.whole("root")
	require.NoError(t, s.Authorize(t.Context(), r))

	broken := errors.New("the store is gone")
	s.Read = func(_ context.Context, look func(*auth.State, auth.Lineage)) error {
		look(b.auth(), nil)
		return broken
	}
	require.ErrorIs(t, s.Authorize(t.Context(), r), broken)
	s.Read = func(context.Context, func(*auth.State, auth.Lineage)) error { return nil }
	require.ErrorIs(t, s.Authorize(t.Context(), r), auth.ErrForbidden, "nobody has looked")
}

// TestProjectsOfThePool: how projects lie in one another in the books of the pool is what counts, for requests and for commands.
func TestProjectsOfThePool(t *testing.T) {
	t.Parallel()
	b := &books{t: t, now: noon(), st: pool.NewState(auth.New(nil))}
	put := func(kind string, data any) {
		e, err := pool.NewEvent(kind, data)
		require.NoError(t, err)
		b.apply(e)
	}
	put(pool.KindOpened, &pool.Opened{Ledger: "ledger"})
	put(pool.KindProjectPut, &pool.Project{Name: "corp"})
	put(pool.KindProjectPut, &pool.Project{Name: "eng", Parent: "corp"})
	put(pool.KindProjectPut, &pool.Project{Name: "web", Parent: "eng"})
	b.person("olga")
	b.bind("b-olga", "olga", auth.Admin, in("eng"))
	by := b.whole("olga")
	for project, want := range map[string]bool{"web": true, "eng": true, "corp": false, "gone": false, "": false} {
		q := auth.Request{By: by, Verb: auth.Delete, Thing: auth.Thing{Resource: auth.Instances, Project: project}}
		require.Equal(t, want, b.auth().Access(auth.LineageOf(b.st), q, noon()).Allowed, project)
		if project != "" {
			_, err := b.try(auth.Command{By: &by, Put: &auth.Principal{ID: "bot-" + project, Kind: auth.Service, Project: project}})
			require.Equal(t, want, err == nil, "%s: %v", project, err)
		}
	}
	put(pool.KindProjectPut, &pool.Project{Name: "web", Parent: "corp"})
	q := auth.Request{By: by, Verb: auth.Read, Thing: auth.Thing{Resource: auth.Instances, Project: "web"}}
	require.False(t, b.auth().Access(auth.LineageOf(b.st), q, noon()).Allowed, "it went elsewhere")
	require.GreaterOrEqual(t, auth.MaxDepth, pool.MaxDepth)
}

// TestNamesGivenAgain: with a project go the bindings to it and its service accounts, so that nobody sees what lies in another one that gets
// its name.
func TestNamesGivenAgain(t *testing.T) {
	t.Parallel()
	b := &books{t: t, now: noon(), st: pool.NewState(auth.New(nil))}
	put := func(kind string, data any) {
		e, err := pool.NewEvent(kind, data)
		require.NoError(t, err)
		b.apply(e)
	}
	put(pool.KindOpened, &pool.Opened{Ledger: "ledger"})
	for _, p := range []pool.Project{{Name: "corp"}, {Name: "web", Parent: "corp"}, {Name: "rival"}} {
		put(pool.KindProjectPut, &p)
	}
	for _, id := range []string{"olga", "vic", "uma"} {
		b.person(id)
	}
	b.do(auth.Command{Put: &auth.Principal{ID: "bot", Kind: auth.Service, Project: "web"}})
	b.do(auth.Command{Put: &auth.Principal{ID: "other", Kind: auth.Service, Project: "corp"}})
	b.bind("b-olga", "olga", auth.Admin, in("corp"))
	b.bind("b-vic", "vic", auth.Viewer, in("web"))
	b.bind("b-vic-all", "vic", auth.Viewer, auth.Scope{Own: true})
	b.bind("b-uma", "uma", auth.User, auth.Scope{Project: "web", Own: true})
	b.bind("b-bot", "bot", auth.User, in("web"))
	for _, project := range []string{"web", "rival"} {
		b.do(auth.Command{Bind: &auth.Binding{ID: "b-group-" + project, Group: "corp:web", Role: auth.Viewer, Scope: in(project)}})
	}
	vic := b.whole("vic")
	vic.Groups = []string{"corp:web"}
	sees := func(by auth.Identity, project string) bool {
		return b.auth().View(auth.LineageOf(b.st), by, auth.Instances, noon()).Shows(project, "uma")
	}
	require.True(t, sees(vic, "web"))
	before, was := b.auth(), save(t, b.auth())
	put(pool.KindProjectRemoved, &pool.Named{Name: "web"})
	require.Equal(t, was, save(t, before), "the old State stays")
	put(pool.KindProjectPut, &pool.Project{Name: "web", Parent: "rival"})

	var left []string
	for x := range b.auth().Bindings() {
		left = append(left, x.ID)
	}
	require.Equal(t, []string{"b-olga", "b-vic-all", "b-group-rival"}, left)
	_, ok := b.auth().Principal("bot")
	require.False(t, ok, "it is not the new project's to see to")
	_, ok = b.auth().Principal("other")
	require.True(t, ok)
	require.False(t, sees(b.whole("vic"), "web"))
	require.True(t, sees(vic, "web"), "which now lies in rival, to which the group is bound")
	require.False(t, sees(b.whole("uma"), "web"))
	require.False(t, sees(b.whole("olga"), "web"))

	st, err := pool.ReadSnapshot(snapshot(t, b.st), auth.New(nil))
	require.NoError(t, err)
	require.Equal(t, save(t, b.auth()), save(t, auth.Of(st)))
	b.bind("b-vic", "vic", auth.Viewer, in("web")) // the ids are free
}

func snapshot(t *testing.T, st *pool.State) *bytes.Buffer {
	t.Helper()
	var w bytes.Buffer
	_, err := st.Snapshot().WriteTo(&w)
	require.NoError(t, err)
	return &w
}

func TestProjectsThatLieWrong(t *testing.T) {
	t.Parallel()
	b := company(t)
	deep := make([]string, auth.MaxDepth+1)
	for n := range deep {
		deep[n] = fmt.Sprint("p", n)
	}
	r := auth.Request{By: b.whole("root"), Verb: auth.Read, Thing: auth.Thing{Resource: auth.Instances, Project: "p0"}}
	for name, path := range map[string][]string{"too deep": deep, "of another": {"eng", "corp"}} {
		l := func(string) []string { return path }
		require.Equal(t, auth.NotInTable, b.auth().Access(l, r, noon()).Reason, name)
		require.False(t, b.auth().View(l, r.By, auth.Instances, noon()).Shows("p0", ""), name)
	}
	require.True(t, b.auth().Access(func(string) []string { return deep[:auth.MaxDepth] }, r, noon()).Allowed)
	r.By, r.Thing.Project = b.whole("vic"), "web"
	require.True(t, b.auth().Access(nil, r, noon()).Allowed, "without a lineage each stands for itself")
	r.By = b.whole("olga")
	require.False(t, b.auth().Access(nil, r, noon()).Allowed)
}

// world is a random company.
type world struct {
	b       *books
	parents map[string]string
	who     []string
	home    string // of the service account
}

func randomWorld(t *testing.T, r *rand.Rand) world {
	w := world{parents: make(map[string]string)}
	names := []string{"p0", "p1", "p2", "p3", "p4", "p5"}
	for n, p := range names {
		if n > 0 && r.IntN(3) > 0 {
			w.parents[p] = names[r.IntN(n)]
		} else {
			w.parents[p] = ""
		}
	}
	w.b, w.home = newBooksIn(t, w.parents), w.project(r)
	for n := range 4 {
		id := fmt.Sprint("u", n)
		w.who = append(w.who, id)
		w.b.person(id)
	}
	w.who = append(w.who, "bot")
	w.b.do(auth.Command{Put: &auth.Principal{ID: "bot", Kind: auth.Service, Project: w.home}})
	for n := range r.IntN(8) {
		b := auth.Binding{ID: fmt.Sprint("b", n), Role: w.role(r), Scope: w.scope(r)}
		if r.IntN(4) == 0 {
			b.Group = []string{"g0", "g1"}[r.IntN(2)]
		} else {
			b.Principal = w.who[r.IntN(len(w.who))]
		}
		if _, err := w.b.try(auth.Command{Program: true, Bind: &b}); err != nil {
			require.Equal(t, "bot", b.Principal)
		}
	}
	return w
}

func (w world) role(r *rand.Rand) auth.Role { return auth.Roles()[r.IntN(4)] }

func (w world) project(r *rand.Rand) string { return fmt.Sprint("p", r.IntN(6)) }

func (w world) scope(r *rand.Rand) auth.Scope {
	switch r.IntN(4) {
	case 0:
		return everything()
	case 1:
		return auth.Scope{Own: true}
	case 2:
		return auth.Scope{Project: w.project(r), Own: true}
	}
	return in(w.project(r))
}

func (w world) request(r *rand.Rand) auth.Request {
	table := auth.Table()
	q := auth.Request{By: w.b.whole(w.who[r.IntN(len(w.who))]), Verb: auth.Verbs()[r.IntN(7)]}
	q.Thing = auth.Thing{Resource: table[r.IntN(len(table))].Resource}
	if r.IntN(4) > 0 {
		q.Thing.Project = w.project(r)
	}
	if r.IntN(3) > 0 {
		q.Thing.Owner = w.who[r.IntN(len(w.who))]
	}
	if r.IntN(3) == 0 {
		q.By.Groups = []string{"g1"}
	}
	if r.IntN(3) == 0 {
		q.By.Whole = false
		for range r.IntN(3) {
			q.By.Limits = append(q.By.Limits, auth.Limit{Role: w.role(r), Scope: w.scope(r)})
		}
	}
	return q
}

// oracle says whether a request is allowed, in another way: by the sentences of the documentation, one after another.
func (w world) oracle(q auth.Request) bool {
	var row auth.Row
	for _, r := range auth.Table() {
		if r.Resource == q.Thing.Resource {
			row = r
		}
	}
	has := func(v auth.Verb) bool { return strings.Contains(" "+v.String()+" ", " "+q.Verb.String()+" ") }
	own := q.Thing.Owner == q.By.Principal
	within := func(s auth.Scope) bool {
		if s.Everything {
			return true
		}
		if s.Own && !own {
			return false
		}
		if s.Project == "" {
			return q.Verb != auth.Create
		}
		for p := q.Thing.Project; p != ""; p = w.parents[p] {
			if p == s.Project {
				return true
			}
		}
		return false
	}
	rank := map[auth.Role]int{auth.Viewer: 1, auth.User: 2, auth.Operator: 3, auth.Admin: 4}
	by := func(role auth.Role) bool {
		n := rank[role]
		return n >= 1 && has(row.Viewer) || n >= 2 && has(row.User) || n >= 2 && own && has(row.Own) || n >= 3 && has(row.Operator) || n >= 4 && has(row.Admin)
	}
	home := q.By.Principal != "bot"
	for p := q.Thing.Project; p != ""; p = w.parents[p] {
		home = home || p == w.home
	}
	allowed := own && has(row.Self)
	for b := range w.b.auth().Bindings() {
		if b.Principal == q.By.Principal || b.Group != "" && slices.Contains(q.By.Groups, b.Group) {
			allowed = allowed || has(row.Shared) || home && by(b.Role) && within(b.Scope)
		}
	}
	if q.By.Whole || !allowed {
		return allowed
	}
	if row.Resource == auth.Credentials && q.Verb != auth.Read || row.Resource == auth.Tokens && q.Verb == auth.Create {
		return false
	}
	for _, l := range q.By.Limits {
		if has(row.Shared) || (by(l.Role) || own && has(row.Self)) && within(l.Scope) {
			return true
		}
	}
	return false
}

// TestAuthorizerProperties: in random companies, decisions are those of the oracle; a list shows what may be read; more bindings, a higher
// role, a wider scope or fewer limits never allow less; without bindings only what is one's own is left.
func TestAuthorizerProperties(t *testing.T) {
	t.Parallel()
	allowed, refused := 0, 0
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 8))
		w := randomWorld(t, r)
		l, s := lineage(w.parents), w.b.auth()
		var asked []auth.Request
		for range 300 {
			q := w.request(r)
			a := s.Access(l, q, noon())
			require.Equal(t, w.oracle(q), a.Allowed, "seed %d: %+v: %+v", seed, q, a)
			require.Equal(t, a.Allowed, a.Reason == "")
			if a.Allowed {
				allowed++
				require.False(t, a.Hidden)
			} else {
				refused++
			}
			read := q
			read.Verb = auth.Read
			require.Equal(t, s.Access(l, read, noon()).Allowed, s.View(l, q.By, q.Thing.Resource, noon()).Shows(q.Thing.Project, q.Thing.Owner))
			if a.Hidden {
				require.False(t, s.Access(l, read, noon()).Allowed, "what may be read is not hidden")
			}
			whole := q
			whole.By.Whole = true
			require.True(t, !a.Allowed || s.Access(l, whole, noon()).Allowed, "limits only take away")
			asked = append(asked, q)
		}
		before := w.b.st
		for b := range s.Bindings() {
			// Without this binding nobody may more; with a wider one nobody may less.
			less := after(t, before, auth.Command{Program: true, Unbind: b.ID})
			if b.Principal == "bot" {
				continue // which cannot be bound as widely
			}
			wider := b
			wider.ID = "wider"
			wider.Role = auth.Roles()[min(3, slices.Index(auth.Roles(), b.Role)+1)]
			if p := w.parents[b.Scope.Project]; p != "" {
				wider.Scope.Project = p
			} else {
				wider.Scope = everything()
			}
			more := after(t, before, auth.Command{Program: true, Bind: &wider})
			only := after(t, less, auth.Command{Program: true, Bind: &wider})
			for _, q := range asked {
				now := s.Access(l, q, noon()).Allowed
				if less != nil {
					require.True(t, now || !auth.Of(less).Access(l, q, noon()).Allowed, "seed %d: taking away %+v allows %+v", seed, b, q)
				}
				require.True(t, !now || auth.Of(more).Access(l, q, noon()).Allowed)
				if only != nil {
					require.True(t, !now || auth.Of(only).Access(l, q, noon()).Allowed, "seed %d: %+v instead of %+v refuses %+v", seed, wider, b, q)
				}
			}
		}
		bare := world{b: newBooks(t), parents: w.parents}
		for _, id := range w.who {
			bare.b.person(id)
		}
		for _, q := range asked {
			q.By.Generation = bare.b.whole(q.By.Principal).Generation
			if bare.b.auth().Access(l, q, noon()).Allowed {
				require.Equal(t, q.By.Principal, q.Thing.Owner, "nobody may anything by default")
			}
		}
	}
	require.Greater(t, allowed, 300)
	require.Greater(t, refused, 3000)
}

// after returns the books once a command is carried out; nil if it is refused, since nobody could administer any more.
func after(t *testing.T, st *pool.State, c auth.Command) *pool.State {
	if st == nil {
		return nil
	}
	b := &books{t: t, st: st.Overlay(), now: noon()}
	_, err := b.try(c)
	var no *auth.Refusal
	if errors.As(err, &no) && no.Reason == auth.WouldLockOut {
		return nil
	}
	require.NoError(t, err)
	return b.st
}

// TestTheTableIsWhole: every resource has one row, every row something to do, every verb a name.
func TestTheTableIsWhole(t *testing.T) {
	t.Parallel()
	seen := make(map[auth.Resource]bool)
	for _, row := range auth.Table() {
		require.False(t, seen[row.Resource], row.Resource)
		seen[row.Resource] = true
		require.NotZero(t, row.Shared|row.Viewer|row.Operator|row.Admin, row.Resource)
		require.Zero(t, row.Viewer&^auth.Read, "%s: a viewer only looks", row.Resource)
		require.Zero(t, row.Shared&^auth.Read, "%s: what all share is only looked at", row.Resource)
	}
	for _, v := range auth.Verbs() {
		got, err := auth.ParseVerb(v.String())
		require.NoError(t, err)
		require.Equal(t, v, got)
	}
	_, err := auth.ParseVerb("conquer")
	require.ErrorIs(t, err, pool.ErrInvalid)
}
