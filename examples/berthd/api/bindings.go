package api

import (
	"context"
	"errors"
	"iter"
	"net/http"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// BindingBody says that somebody has a role in a place.
type BindingBody struct {
	Principal string `json:"principal,omitempty" maxLength:"63" doc:"Id of a person or service account; or" example:"root"`
	Group     string `json:"group,omitempty" maxLength:"255" doc:"Whoever an identity provider says is in this group"`
	Power
}

// Binding is a binding with its id.
type Binding struct {
	ID string `json:"id" example:"b2k4m6q8s0v2x4z6b8d0"`
	BindingBody
}

func binding(b auth.Binding) Binding {
	return Binding{b.ID, BindingBody{b.Principal, b.Group, Power{string(b.Role), Place(b.Scope)}}}
}

// BindingPath names a binding in a path.
type BindingPath struct {
	ID string `path:"id" minLength:"1" maxLength:"63" doc:"Id of the binding" example:"root"`
}

type listBindings struct {
	Paging
	Principal string `query:"principal" maxLength:"63" doc:"Only those of this person or service account"`
}

func (a *api) registerBindings() {
	register(a, shows(auth.Bindings), nowhere, describe("list-bindings", http.MethodGet, "/bindings", "Users", "List bindings",
		"Who has which role where, by id: the bindings to places whose bindings one may see.", 422),
		func(ctx context.Context, in *listBindings) (*pageOutput[Binding], error) {
			of := func(st *pool.State) iter.Seq[auth.Binding] {
				return func(yield func(auth.Binding) bool) {
					for b := range auth.Of(st).Bindings() {
						if (in.Principal == "" || b.Principal == in.Principal) && !yield(b) {
							return
						}
					}
				}
			}
			lies := func(_ *pool.State, b auth.Binding) (project, owner string) { return b.Scope.Project, b.Principal }
			return list(ctx, a, &in.Paging, auth.Bindings, lies, of, func(b auth.Binding) string { return b.ID }, binding)
		})
	get := func(ctx context.Context, id string) (*struct{ Body Binding }, error) {
		var out *struct{ Body Binding }
		err := a.visible(ctx, auth.Bindings, func(st *pool.State, shows func(project, owner string) bool) {
			if b, ok := auth.Of(st).Binding(id); ok && shows(b.Scope.Project, b.Principal) {
				out = &struct{ Body Binding }{binding(b)}
			}
		})
		if err == nil && out == nil {
			err = noBinding(id)
		}
		return out, problemOf(err)
	}
	register(a, reads(auth.Bindings), ofBinding, describe("get-binding", http.MethodGet, "/bindings/{id}", "Users", "Get a binding", "One binding.", 404),
		func(ctx context.Context, in *BindingPath) (*struct{ Body Binding }, error) { return get(ctx, in.ID) })
	op := withExample(describe("add-binding", http.MethodPost, "/bindings", "Users", "Bind a role",
		"Gives somebody, or a group, a role in a place: everything, a project with those below it, or what is their own. A binding is not changed: bind anew and remove.", 404),
		BindingBody{Principal: "root", Power: Power{Role: "viewer", Place: Place{Project: "default"}}})
	op.DefaultStatus = http.StatusCreated
	register(a, may(auth.Bindings, auth.Create), func(_ *api, in *struct{ Body BindingBody }) place {
		return place{project: in.Body.Project, field: "project", value: in.Body.Project}
	}, op, func(ctx context.Context, in *struct{ Body BindingBody }) (*struct{ Body Binding }, error) {
		b := in.Body
		next := auth.Binding{ID: newID("b"), Principal: b.Principal, Group: b.Group, Role: auth.Role(b.Role), Scope: b.scope()}
		err := a.decide(ctx, auth.Command{Bind: &next})
		var no *auth.Refusal
		if errors.As(err, &no) {
			return nil, problem.From(err)
		}
		if err != nil {
			return nil, problem.OfBody(err)
		}
		return &struct{ Body Binding }{binding(next)}, nil
	})
	register(a, may(auth.Bindings, auth.Delete), ofBinding, describe("remove-binding", http.MethodDelete, "/bindings/{id}", "Users", "Remove a binding", "At once: what somebody does from then on is decided without it.", 404),
		func(ctx context.Context, in *BindingPath) (*struct{}, error) {
			err := a.decide(ctx, auth.Command{Unbind: in.ID})
			var no *auth.Refusal
			if errors.As(err, &no) && no.Kind == auth.ErrForbidden && no.Hidden || errors.Is(err, pool.ErrNotFound) {
				err = noBinding(in.ID)
			}
			return nil, problemOf(err)
		})
}

// ofBinding is of a binding that the path names.
func ofBinding(a *api, in *BindingPath) place {
	at := place{field: "binding", value: in.ID}
	a.c.Manager.View(func(st *pool.State) {
		if b, ok := auth.Of(st).Binding(in.ID); ok {
			at.project, at.owner = b.Scope.Project, b.Principal
		}
	})
	return at
}

func noBinding(id string) error {
	return &pool.Error{Op: "find a binding", Kind: pool.ErrNotFound, Field: "binding", Value: id}
}
