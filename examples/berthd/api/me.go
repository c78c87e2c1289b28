package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// Me is who asks, and what they may do.
type Me struct {
	User
	Groups   []string `json:"groups,omitempty" doc:"That an identity provider vouches for"`
	Bindings []Power  `json:"bindings" nullable:"false" doc:"The roles that are bound to them, or to their groups"`
	Token    string   `json:"token,omitempty" doc:"Id of the API token that they ask with"`
	Limits   []Power  `json:"limits,omitempty" doc:"Of that token"`
	Session  string   `json:"session,omitempty" doc:"Id of the session that they ask in"`

	May map[string][]string `json:"may" nullable:"false" doc:"By kind of thing, what they may do with anybody's, in at least one of the places that they are bound to or, with project, in that one"`
	Own map[string][]string `json:"own" nullable:"false" doc:"The same with what is their own"`
}

// everything returns what somebody may do in at least one of some projects, by kind of thing, with what is an owner's.
func everything(known *auth.State, projects auth.Lineage, by auth.Identity, in []string, owner string, now time.Time) map[string][]string {
	out := make(map[string][]string)
	for _, row := range auth.Table() {
		for _, v := range auth.Verbs() {
			if slices.ContainsFunc(in, func(project string) bool {
				return known.Access(projects, auth.Request{By: by, Verb: v, Thing: auth.Thing{Resource: row.Resource, Project: project, Owner: owner}}, now).Allowed
			}) {
				out[string(row.Resource)] = append(out[string(row.Resource)], v.String())
			}
		}
	}
	return out
}

func (a *api) registerMe() {
	register(a, self(), nowhere, describe("get-me", http.MethodGet, "/me", "Users", "Who am I", "Who asks, and what they may do: for showing no more than that.", 422),
		func(ctx context.Context, in *struct {
			Project string `query:"project" maxLength:"63" doc:"What they may do in this project"`
		}) (*struct{ Body Me }, error) {
			by := asks(ctx)
			out := &struct{ Body Me }{Me{Groups: by.Groups, Token: by.Token, Session: a.sessionOf(ctx), Bindings: []Power{}}}
			if !by.Whole {
				out.Body.Limits = powers(by.Limits)
			}
			err := a.c.Guard.Books().Read(func(st *pool.State) {
				known, projects := auth.Of(st), access.Projects(st)
				p, _ := known.Principal(by.Principal)
				out.Body.User = user(known, p)
				places := []string{""}
				for b := range known.Bindings() {
					if b.Principal == by.Principal || b.Group != "" && slices.Contains(by.Groups, b.Group) {
						out.Body.Bindings = append(out.Body.Bindings, Power{string(b.Role), Place(b.Scope)})
						places = append(places, b.Scope.Project)
					}
				}
				if in.Project != "" {
					places = []string{in.Project}
				}
				slices.Sort(places)
				places = slices.Compact(places)
				out.Body.May = everything(known, projects, by, places, "", time.Now())
				out.Body.Own = everything(known, projects, by, places, by.Principal, time.Now())
			})
			if err != nil {
				return nil, problem.From(err)
			}
			return out, nil
		})
}
