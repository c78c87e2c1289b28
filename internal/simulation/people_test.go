package simulation_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

// attic is a project of worlds of tenants in which nothing is launched, so that it can be removed, and made again.
const attic = "attic"

// tokenPrefix is that of the API tokens of a world.
const tokenPrefix = "sim"

// watch is the group that some people are in, as whoever has signed them in vouches.
const watch = "org:watch"

// root is who stays admin of everything, so that somebody is.
const root = "root"

// everybody returns who there can be in worlds of tenants: people, two of whom own things, and service accounts with their projects.
func everybody() []auth.Principal {
	person := func(id string) auth.Principal {
		return auth.Principal{ID: id, Kind: auth.Person, Name: "name-of-" + id}
	}
	service := func(id, project string) auth.Principal {
		return auth.Principal{ID: id, Kind: auth.Service, Project: project}
	}
	return []auth.Principal{
		person(root), person("u-1"), person("u-2"), person("u-3"), person("u-4"), service("bot-org", top), service("bot-shop", "shop"), service("bot-attic", attic),
	}
}

// saying is what a command said that decides who sees what, by the cause that stands in its events.
type saying struct {
	project *pool.Project // put
	people  *auth.Command
}

// says keeps what a command is to say, and returns the cause to give with it.
func (w *world) says(s saying) (cause string) {
	cause = fmt.Sprint("said ", len(w.said))
	w.said[cause] = s
	return cause
}

// peopleAsks are what changes who sees what.
func (w *world) peopleAsks() []command {
	to := func(name string, weight int, pick func(w *world) *auth.Command) command {
		return command{name, weight, nil, func(w *world) attempt {
			if c := pick(w); c != nil {
				return w.tells1(*c)
			}
			return nil
		}}
	}
	some := func(w *world) auth.Principal { return everybody()[1+w.random.IntN(len(everybody())-1)] }
	return []command{
		to("put principal", 3, func(w *world) *auth.Command { p := some(w); return &auth.Command{Put: &p} }),
		to("remove principal", 1, func(w *world) *auth.Command { return &auth.Command{Remove: some(w).ID} }),
		to("disable", 1, func(w *world) *auth.Command { return &auth.Command{Disable: some(w).ID} }),
		to("enable", 1, func(w *world) *auth.Command { return &auth.Command{Enable: some(w).ID} }),
		to("sign out", 1, func(w *world) *auth.Command { return &auth.Command{Reset: some(w).ID} }),
		to("bind", 4, func(w *world) *auth.Command { b := w.binding(some(w).ID); return &auth.Command{Bind: &b} }),
		to("unbind", 2, func(w *world) *auth.Command {
			ids := w.monitor.sight.bindings()
			if len(ids) < 2 {
				return nil
			}
			return &auth.Command{Unbind: ids[1+w.random.IntN(len(ids)-1)]} // but for root's, which is the first
		}),
		to("make token", 2, func(w *world) *auth.Command { t := w.token(some(w).ID); return &auth.Command{Token: &t} }),
		to("revoke token", 1, func(w *world) *auth.Command {
			if len(w.texts) == 0 {
				return nil
			}
			_, id, _ := auth.ParseToken(w.texts[w.random.IntN(len(w.texts))])
			return &auth.Command{Revoke: id}
		}),
		{"put attic", 1, nil, func(w *world) attempt { return w.puts(w.tenant(attic)) }},
		{"remove attic", 1, nil, func(*world) attempt {
			return func(ctx context.Context, m *berthage.Manager) (promise, error) {
				return nil, m.RemoveProject(ctx, attic)
			}
		}},
		{"compact", 1, nil, func(*world) attempt {
			return func(ctx context.Context, m *berthage.Manager) (promise, error) {
				_, err := m.Compact(ctx)
				return nil, err
			}
		}},
	}
}

// tells1 gives one command of the part.
func (w *world) tells1(c auth.Command) attempt {
	c.Program = true
	cause := w.says(saying{people: &c})
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		return nil, m.As("caller", cause).Decide(ctx, auth.Name, c)
	}
}

// puts makes a project, or has it be as it is said from now on.
func (w *world) puts(p pool.Project) attempt {
	cause := w.says(saying{project: &p})
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		return nil, m.As("caller", cause).PutProject(ctx, p)
	}
}

// firstPeople are commands by which everybody is known, and something bound, from the beginning.
func (w *world) firstPeople() (all []attempt) {
	for _, p := range everybody() {
		all = append(all, w.tells1(auth.Command{Put: &p}))
	}
	bind := func(b auth.Binding) { all = append(all, w.tells1(auth.Command{Bind: &b})) }
	bind(auth.Binding{ID: "b-0", Principal: root, Role: auth.Admin, Scope: auth.Scope{Everything: true}})
	bind(auth.Binding{ID: "b-u-1", Principal: "u-1", Role: auth.User, Scope: auth.Scope{Project: "shop"}})
	bind(auth.Binding{ID: "b-u-2", Principal: "u-2", Role: auth.User, Scope: auth.Scope{Project: "lab", Own: true}})
	bind(auth.Binding{ID: "b-watch", Group: watch, Role: auth.Viewer, Scope: auth.Scope{Project: "lab"}})
	return all
}

// scope returns one that somebody may be bound to: mostly to what some see and others do not.
func (w *world) scope() auth.Scope {
	all := append([]string{top, attic}, projects...)
	if w.random.IntN(10) == 0 {
		return auth.Scope{Everything: true}
	}
	s := auth.Scope{Project: all[w.random.IntN(len(all))], Own: w.random.IntN(3) == 0}
	if s.Own && w.random.IntN(3) == 0 {
		s.Project = ""
	}
	return s
}

func (w *world) binding(principal string) auth.Binding {
	b := auth.Binding{ID: fmt.Sprint("b-", len(w.said)), Principal: principal, Role: auth.Roles()[w.random.IntN(len(auth.Roles()))], Scope: w.scope()}
	if w.random.IntN(5) == 0 {
		b.Principal, b.Group = "", watch
	}
	return b
}

// token returns a new API token that is good for some seconds or minutes, and keeps its text.
func (w *world) token(principal string) auth.Token {
	text, t, err := auth.NewToken(tokenPrefix)
	w.must(err)
	from := time.Now()
	if st := w.monitor.st.Time(); st.After(from) { // the store's clock is ahead, and it decides whether this is a moment to come
		from = st
	}
	t.Principal, t.Expires = principal, from.Add(w.between(20*time.Second, 5*time.Minute)).UTC().Truncate(time.Second)
	for range 1 + w.random.IntN(2) {
		t.Limits = append(t.Limits, auth.Limit{Role: auth.Roles()[w.random.IntN(len(auth.Roles()))], Scope: w.scope()})
	}
	w.texts = append(w.texts, text)
	return t
}

// reader is somebody who looks: by what was found out when they signed in, or by the text of an API token.
type reader struct {
	by   auth.Identity
	text string
}

func (r reader) String() string {
	if r.text != "" {
		return "the token " + r.text[:len(tokenPrefix)+8]
	}
	return fmt.Sprintf("%s %v, signed in at revision %d", r.by.Principal, r.by.Groups, r.by.Generation)
}

// signIn has somebody sign in anew, by what the simulation's own model knows of them; whoever does not, holds what they held before.
func (w *world) signIn(n int) {
	p := everybody()[n]
	by := auth.Identity{Principal: p.ID, Whole: true}
	if known := w.monitor.sight.people[p.ID]; known != nil {
		by.Generation = known.since
	}
	if p.ID == "u-2" || p.ID == "u-3" {
		by.Groups = []string{"org:cooks", watch}
	}
	if w.eyes.IntN(3) == 0 {
		by.Expires = time.Now().Add(time.Duration(1+w.eyes.IntN(60)) * time.Second)
	}
	w.signed[n] = by
}

// readers returns who looks at this second: some of those who have signed in, and some who have tokens. All: everybody, signed in anew.
func (w *world) readers(all bool) (out []reader) {
	if w.signed == nil || all {
		w.signed = make([]auth.Identity, len(everybody()))
		for n := range w.signed {
			w.signIn(n)
		}
	}
	w.signIn(w.eyes.IntN(len(w.signed)))
	for _, by := range w.signed {
		if all || w.eyes.IntN(4) == 0 {
			out = append(out, reader{by: by})
		}
	}
	late := w.texts[max(0, len(w.texts)-8):]
	for _, text := range late {
		if all || w.eyes.IntN(4) == 0 {
			out = append(out, reader{text: text})
		}
	}
	return slices.Clip(out)
}
