package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/trail"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
)

// mine is where something lies and whose it is, and the word that stands in all that is said of it.
type mine struct{ project, owner string }

func (m mine) word() string { return "word-" + m.project + "-" + m.owner + "-end" }

// canaries is a random history of tenants, with a second model, kept here by what was commanded, of who may see what.
type canaries struct {
	*tenants
	r       *rand.Rand
	n       int
	full    bool // what is launched waits
	parents map[string]string
	bound   map[string]auth.Binding
	tokens  map[string]auth.Token // by text
	things  map[mine]*thing
	made    map[string]map[string]mine // by the list that shows them, and the text by which
}

// owners make things; clients are all who ask, tokens beside them.
func owners() []string  { return []string{"u1", "u2", "u3"} }
func clients() []string { return append(owners(), "a1", "v1", "none", "boss") }

func newCanaries(t *testing.T, seed uint64) *canaries {
	t.Helper()
	x := &canaries{
		tenants: &tenants{t: t, ledger: &frozen{MemoryLedger: pool.NewMemoryLedger()}}, r: rand.New(rand.NewPCG(seed, 1)),
		parents: make(map[string]string), bound: make(map[string]auth.Binding), tokens: make(map[string]auth.Token),
		things: make(map[mine]*thing), made: make(map[string]map[string]mine),
	}
	ctx := t.Context()
	fleet := fake.New(fake.Config{Name: "sim", Hosts: fake.Fleet("sim", 6, 7)})
	m, err := berthage.Open(ctx, berthage.Config{Ledger: x.ledger, Parts: trail.Parts(), Drivers: map[string]hypervisor.Driver{"sim": fleet}})
	require.NoError(t, err)
	x.m = m
	done := make(chan error, 1)
	run, stop := context.WithCancel(context.Background())
	go func() { done <- m.Run(run) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
		m.Close()
		require.NoError(t, fleet.Close())
	})
	for !m.Status().Leading {
		time.Sleep(time.Second)
	}
	for n := range 6 {
		_, err := m.AddHost(ctx, pool.NewHostID("sim", fmt.Sprintf("node-%04d", n+1)))
		require.NoError(t, err)
	}
	require.NoError(t, m.PutImage(ctx, pool.Image{Name: "debian-12", User: "debian", Sources: map[string]string{"sim": "x"}}))
	require.NoError(t, m.PutFlavor(ctx, pool.Flavor{Name: "small", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: pool.GiB, pool.StorageSSD: pool.GiB}}))
	for n := range 5 {
		x.put(fmt.Sprint("p", n))
	}
	for _, id := range append(clients(), "admin-all") {
		x.decide(auth.Command{Put: &auth.Principal{ID: id, Kind: auth.Person, Name: "name-" + id}})
	}
	x.bind(auth.Binding{ID: "b-root", Principal: "admin-all", Role: auth.Admin, Scope: auth.Scope{Everything: true}})
	x.bind(auth.Binding{ID: "b-boss", Principal: "boss", Role: auth.Viewer, Scope: auth.Scope{Everything: true}})
	x.bind(auth.Binding{ID: "b-u1", Principal: "u1", Role: auth.User, Scope: auth.Scope{Project: "p1"}})
	x.bind(auth.Binding{ID: "b-a1", Principal: "a1", Role: auth.Admin, Scope: auth.Scope{Project: "p2"}})
	x.serve()
	return x
}

func (x *canaries) decide(c auth.Command) {
	x.t.Helper()
	c.Program = true
	require.NoError(x.t, x.m.As("root", "people").Decide(x.t.Context(), auth.Name, c))
}

// put makes a project or moves it: to the top, or into one that does not lie in it.
func (x *canaries) put(name string) {
	x.t.Helper()
	parent := ""
	for p := range 5 {
		if q := fmt.Sprint("p", p); p > 0 && x.r.IntN(3) == 0 && x.parents[q] == "" && q != name && !x.within(q, name) {
			if _, there := x.parents[q]; there {
				parent = q
			}
		}
	}
	err := x.m.PutProject(x.t.Context(), pool.Project{Name: name, Parent: parent, Quota: pool.Resources{"gpu": 1, pool.Instances: 500}})
	require.NoError(x.t, err)
	x.parents[name] = parent
}

func (x *canaries) within(project, above string) bool {
	for ; project != ""; project = x.parents[project] {
		if project == above {
			return true
		}
	}
	return false
}

func (x *canaries) bind(b auth.Binding) {
	x.t.Helper()
	x.decide(auth.Command{Bind: &b})
	x.bound[b.ID] = b
}

// remember keeps that a list shows something by some text, to whoever may read it.
func (x *canaries) remember(list, text string, of mine) {
	x.t.Helper()
	if x.made[list] == nil {
		x.made[list] = make(map[string]mine)
	}
	x.made[list][text] = of
}

// act has an owner do something in a project.
func (x *canaries) act(of mine) {
	x.t.Helper()
	x.n++
	ctx, m, word := x.t.Context(), x.m.For(of.owner).As(of.owner, "cause-"+of.word()), of.word()
	name := fmt.Sprintf("%s-%d", word, x.n)
	spec := small()
	spec.Labels, spec.Guest = map[string]string{"note": word}, pool.Guest{UserData: "#cloud-config\n# " + word}
	th := x.things[of]
	if th == nil {
		th = &thing{project: of.project, owner: of.owner, user: of.owner}
		x.things[of] = th
	}
	switch x.r.IntN(6) {
	case 0, 1:
		i, err := m.Launch(ctx, berthage.Launch{Token: name, Project: of.project, Name: name, Spec: spec, Wait: true})
		require.NoError(x.t, err)
		if old, err := x.m.Instance(pool.InstanceID(th.instance)); err == nil && !x.full && x.r.IntN(2) == 0 {
			_, err := m.Delete(ctx, old.ID)
			require.NoError(x.t, err)
			delete(x.made["/api/v1/instances"], string(old.ID))
			time.Sleep(time.Minute) // until it is gone
		}
		th.instance = string(i.ID)
		x.remember("/api/v1/instances", th.instance, of)
		if i.Phase == pool.Waiting {
			th.waiting = th.instance
			x.remember("/api/v1/queue", th.instance, of)
		}
	case 2:
		c, err := m.CreateCluster(ctx, berthage.CreateCluster{Token: name, Project: of.project, Name: name, Spec: spec, Size: 1})
		if x.full {
			require.ErrorIs(x.t, err, pool.ErrNoRoom)
			return
		}
		require.NoError(x.t, err)
		th.cluster = string(c.ID)
		x.remember("/api/v1/clusters", th.cluster, of)
	case 3:
		l := berthage.Launch{Token: name, Project: of.project, Name: name, Spec: spec}
		r, err := m.Reserve(ctx, berthage.Reserve{Launch: &l, For: 24 * time.Hour})
		if x.full {
			require.ErrorIs(x.t, err, pool.ErrNoRoom)
			return
		}
		require.NoError(x.t, err)
		th.reservation = string(r.ID)
		x.remember("/api/v1/reservations", th.reservation, of)
		x.remember("/api/v1/instances", th.reservation, of)
	case 4:
		op, about := alert.Equal, mine{project: of.project}
		if x.r.IntN(3) == 0 {
			op, about = alert.NotEqual, mine{} // of all the others
		}
		match, err := alert.NewMatcher("project", op, of.project)
		require.NoError(x.t, err)
		s, err := m.Alerts().Silence(ctx, alert.Silence{Matchers: alert.Matchers{match}, Ends: time.Now().Add(24 * time.Hour), By: of.owner, Note: "note of " + of.project})
		require.NoError(x.t, err)
		th.silence = s.ID
		x.remember("/api/v1/silences", s.ID, about)
	case 5:
		id := "q-" + name
		_, err := m.AskQuota(ctx, quota.Ask{Project: of.project, ID: id, Quota: pool.Resources{"gpu": 2}, Reason: word})
		if errors.Is(err, pool.ErrUnavailable) { // there are too many
			return
		}
		require.NoError(x.t, err)
		th.request = id
		x.remember("/api/v1/quota-requests", id, of)
	}
	th.binding = of.owner
}

// step is something that happens.
func (x *canaries) step() {
	x.t.Helper()
	project := fmt.Sprint("p", x.r.IntN(5))
	switch x.r.IntN(10) {
	case 0:
		x.put(project)
	case 1, 2:
		x.n++
		b := auth.Binding{ID: fmt.Sprint("b-", x.n), Principal: clients()[x.r.IntN(5)], Role: auth.Roles()[x.r.IntN(4)], Scope: auth.Scope{Project: project, Own: x.r.IntN(3) == 0}}
		if b.Scope.Own && x.r.IntN(3) == 0 {
			b.Scope.Project = ""
		}
		x.bind(b)
	case 3:
		ids := slices.Sorted(maps.Keys(x.bound))
		if id := ids[x.r.IntN(len(ids))]; id != "b-root" && id != "b-boss" {
			x.decide(auth.Command{Unbind: id})
			delete(x.bound, id)
		}
	case 4:
		text, t, err := auth.NewToken(access.TokenPrefix)
		require.NoError(x.t, err)
		t.Principal, t.Expires, t.Label = clients()[x.r.IntN(5)], time.Now().Add(24*time.Hour).UTC().Truncate(time.Second), "label-of-token"
		t.Limits = []auth.Limit{{Role: auth.Viewer, Scope: auth.Scope{Project: project}}}
		x.decide(auth.Command{Token: &t})
		if len(x.tokens) < 2 {
			x.tokens[text] = t
		}
	default:
		x.act(mine{project, owners()[x.r.IntN(3)]})
	}
	time.Sleep(time.Duration(x.r.IntN(20)) * time.Second)
}

// sees reports whether a principal may read what lies there: everything here is for viewers. A token's limits are of viewers, too.
func (x *canaries) sees(who string, of mine) bool {
	t, isToken := x.tokens[who]
	if isToken {
		if who = t.Principal; !x.within(of.project, t.Limits[0].Scope.Project) {
			return false
		}
	}
	for _, b := range x.bound {
		if b.Principal == who && (b.Scope.Everything || (b.Scope.Project == "" || x.within(of.project, b.Scope.Project)) && (!b.Scope.Own || of.owner == who)) {
			return true
		}
	}
	return false
}

func (x *canaries) get(who, path string) *httptest.ResponseRecorder {
	x.t.Helper()
	if _, isToken := x.tokens[who]; !isToken {
		return x.ask(who, http.MethodGet, path, nil)
	}
	r := httptest.NewRequestWithContext(x.t.Context(), http.MethodGet, "http://127.0.0.1"+path, nil)
	r.Header.Set("Authorization", "Bearer "+who)
	return answer(x.tenants, r)
}

// texts returns all that somebody can read: every list, every thing by its name, searches, and the stream.
func (x *canaries) texts(who string, things []*thing) map[string]string {
	x.t.Helper()
	out := make(map[string]string)
	read := func(path string, asked ...string) {
		w := x.get(who, path)
		text := w.Body.String()
		for _, h := range w.Header() {
			text += "\n" + strings.Join(h, " ")
		}
		for _, a := range asked { // which is told back
			if a != "" {
				text = strings.ReplaceAll(text, a, "")
			}
		}
		out[path] = text
	}
	for path, methods := range x.doc.Paths {
		op, ok := methods["get"]
		switch {
		case !ok || op.ID == "stream-events":
		case !strings.Contains(path, "{"):
			read(path)
			for _, p := range []string{"p0", "p1", "p2"} {
				read(path + "?project=" + p)
			}
			read(path + "?name=word&limit=1")
		default:
			for _, th := range things {
				if at := th.path(op.ID, path); !strings.Contains(at, "//") && !strings.HasSuffix(at, "/") {
					_, name, _ := strings.Cut(th.cluster, "/")
					read(at, name, th.request)
				}
			}
		}
	}
	if _, isToken := x.tokens[who]; !isToken {
		out["the stream"] = x.follow(who)
	}
	return out
}

// check compares what everybody is shown with what they may see.
func (x *canaries) check() {
	x.t.Helper()
	var things []*thing
	for _, of := range slices.SortedFunc(maps.Keys(x.things), func(a, b mine) int { return strings.Compare(a.word(), b.word()) }) {
		things = append(things, x.things[of])
	}
	for _, who := range slices.Concat(clients(), slices.Sorted(maps.Keys(x.tokens))) {
		texts := x.texts(who, things)
		for project := range x.parents {
			for _, owner := range owners() {
				of := mine{project, owner}
				if x.sees(who, of) {
					continue
				}
				for path, text := range texts {
					at := strings.Index(text, of.word())
					require.Negative(x.t, at, "%s may not see what is %s's in %s, and reads at %s: %.300s", who, owner, project, path, text[max(0, at-100):])
				}
			}
		}
		x.sums(who)
		for list, all := range x.made {
			w := x.get(who, list+"?limit=1000")
			require.Equal(x.t, http.StatusOK, w.Code, w.Body)
			var page struct{ Total int }
			require.NoError(x.t, json.Unmarshal(w.Body.Bytes(), &page))
			shown := 0
			for text, of := range all {
				require.Equal(x.t, x.sees(who, of), strings.Contains(w.Body.String(), `"`+text+`"`), "%s, %s: %s of %v", who, list, text, of)
				if x.sees(who, of) {
					shown++
				}
			}
			if list != "/api/v1/instances" { // of which clusters have some, too
				require.Equal(x.t, shown, page.Total, "%s, %s", who, list)
			}
		}
	}
}

// sums checks what is numbered and added up for somebody.
func (x *canaries) sums(who string) {
	x.t.Helper()
	var queue struct{ Items []struct{ Position int } }
	require.NoError(x.t, json.Unmarshal(x.get(who, "/api/v1/queue?limit=1000").Body.Bytes(), &queue))
	for n, w := range queue.Items {
		require.Equal(x.t, n+1, w.Position, "%s: the queue is numbered as if there were no others", who)
	}
	var used struct {
		Items []struct{ Project, Owner string }
	}
	require.NoError(x.t, json.Unmarshal(x.get(who, "/api/v1/project-usage").Body.Bytes(), &used))
	for _, i := range used.Items {
		require.True(x.t, x.sees(who, mine{i.Project, i.Owner}), "%s reads what %s has used of %s", who, i.Owner, i.Project)
	}
}

// still returns what somebody reads of all lists, without what changes by itself: how much time has gone by, and at which revision the
// ledger is.
func (x *canaries) still(who string) map[string]string {
	x.t.Helper()
	out := make(map[string]string)
	var clean func(v any) any
	clean = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for _, k := range []string{"revision", "to", "at", "held", "cost", "expires", "session"} {
				delete(v, k)
			}
			for k := range v {
				v[k] = clean(v[k])
			}
		case []any:
			for n := range v {
				v[n] = clean(v[n])
			}
		}
		return v
	}
	for path, methods := range x.doc.Paths {
		op, ok := methods["get"]
		if !ok || strings.Contains(path, "{") || slices.Contains([]string{"stream-events", "export-project-usage", "list-sessions"}, op.ID) {
			continue
		}
		var v any
		if json.Unmarshal(x.get(who, path).Body.Bytes(), &v) != nil {
			continue // it is no JSON
		}
		b, err := json.Marshal(clean(v))
		require.NoError(x.t, err)
		out[path] = string(b)
	}
	return out
}

// unmoved checks that nothing that somebody reads changes when something is done that they may not see.
func (x *canaries) unmoved() {
	x.t.Helper()
	for _, who := range clients() {
		for _, owner := range owners() {
			of := mine{fmt.Sprint("p", x.r.IntN(5)), owner}
			if x.sees(who, of) || x.sees(who, mine{project: of.project}) {
				continue
			}
			time.Sleep(10 * time.Minute) // until all that was begun has ended
			before, head := x.still(who), x.m.Status().Revision
			for range 3 {
				x.act(of)
			}
			time.Sleep(10 * time.Minute)
			for path, text := range x.still(who) {
				require.True(x.t, before[path] == text, "%s reads at %s that %s has done something in %s: %.2000s\nand before: %.2000s", who, path, of.owner, of.project, text, before[path])
			}
			require.NotContains(x.t, x.followAfter(who, head), "event: batch", "%s", who)
			break
		}
	}
}

// fill has no host take anything any more.
func (x *canaries) fill() {
	x.t.Helper()
	for n := range 6 {
		_, err := x.m.Cordon(x.t.Context(), pool.NewHostID("sim", fmt.Sprintf("node-%04d", n+1)), "")
		require.NoError(x.t, err)
	}
	x.full = true
}

// followAfter reads the stream after a revision for a while.
func (x *canaries) followAfter(who string, after pool.Revision) string {
	ctx, cancel := context.WithTimeout(x.t.Context(), 3*time.Second)
	defer cancel()
	r := x.as(who, http.MethodGet, "/api/v1/events?"+url.Values{"after": {fmt.Sprint(after)}}.Encode(), nil)
	w := &reader{ResponseRecorder: httptest.NewRecorder()}
	x.h.ServeHTTP(w, r.WithContext(ctx))
	return w.text()
}

// Whatever tenants do, and whoever is bound to what meanwhile: nothing that somebody makes is read by who may not see it, in any answer.
func TestCanaries(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				x := newCanaries(t, seed)
				for round := range 3 {
					if round == 2 {
						x.fill()
					}
					for range 25 {
						x.step()
					}
					x.check()
				}
				require.Len(t, x.made, 6, "there has been something of every kind")
				x.unmoved()
			})
		})
	}
}

// What was done to a cluster is shown to whose that one was, and not to who has one of its name later.
func TestNamesOfClustersGivenAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newCanaries(t, 1)
		ctx := t.Context()
		for _, who := range []string{"u2", "u3"} {
			x.bind(auth.Binding{ID: "b-" + who, Principal: who, Role: auth.User, Scope: auth.Scope{Project: "p0", Own: true}})
			m := x.m.For(who).As(who, "")
			spec := small()
			spec.Labels = map[string]string{"note": mine{"p0", who}.word()}
			c, err := m.CreateCluster(ctx, berthage.CreateCluster{Token: who, Project: "p0", Name: "web", Spec: spec, Size: 1})
			require.NoError(t, err)
			if who == "u2" {
				_, err = m.SteerCluster(ctx, berthage.SteerCluster{Cluster: c.ID, Verb: berthage.Destroy})
				require.NoError(t, err)
			}
			time.Sleep(5 * time.Minute)
		}
		first, second := x.follow("u2"), x.follow("u3")
		require.NotContains(t, second, mine{"p0", "u2"}.word())
		require.Contains(t, second, mine{"p0", "u3"}.word())
		require.NotContains(t, first, mine{"p0", "u3"}.word())
		require.Contains(t, first, mine{"p0", "u2"}.word())
	})
}

// What was done in a project is not shown to whoever has one of its name later.
func TestNamesOfProjectsGivenAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := newCanaries(t, 1)
		ctx := t.Context()
		life := func(who string) {
			require.NoError(t, x.m.PutProject(ctx, pool.Project{Name: "team", Quota: pool.Resources{"word-" + pool.Class(who): 1}}))
			x.bind(auth.Binding{ID: "b-" + who, Principal: who, Role: auth.User, Scope: auth.Scope{Project: "team"}})
			m, spec := x.m.For(who).As(who, ""), small()
			spec.Labels = map[string]string{"note": mine{"team", who}.word()}
			i, err := m.Launch(ctx, berthage.Launch{Token: who, Project: "team", Name: who, Spec: spec})
			require.NoError(t, err)
			c, err := m.CreateCluster(ctx, berthage.CreateCluster{Token: who, Project: "team", Name: "web-of-" + who, Spec: spec, Size: 1})
			require.NoError(t, err)
			time.Sleep(5 * time.Minute)
			_, err = m.Delete(ctx, i.ID)
			require.NoError(t, err)
			_, err = m.SteerCluster(ctx, berthage.SteerCluster{Cluster: c.ID, Verb: berthage.Destroy})
			require.NoError(t, err)
			time.Sleep(5 * time.Minute)
		}
		reads := func(who string) string {
			return x.follow(who) + x.get(who, "/api/v1/operations").Body.String() + x.get(who, "/api/v1/projects").Body.String()
		}
		life("u2")
		require.Contains(t, reads("u2"), "word-u2")
		require.NoError(t, x.m.RemoveProject(ctx, "team"))
		life("u3")
		text := reads("u3")
		for _, word := range []string{"word-u3", mine{"team", "u3"}.word(), "web-of-u3"} {
			require.Contains(t, text, word)
		}
		for _, word := range []string{"word-u2", mine{"team", "u2"}.word(), "web-of-u2", `"owner":"u2"`} {
			require.NotContains(t, text, word)
		}
		require.NotContains(t, reads("u2"), "u3", "nor to who had it before")
		require.Contains(t, x.follow("boss"), mine{"team", "u2"}.word())
	})
}
