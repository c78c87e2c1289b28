package api

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// PrincipalPath names a person or a service account in a path.
type PrincipalPath struct {
	ID string `path:"id" minLength:"1" maxLength:"63" doc:"Id of the person or service account" example:"root"`
}

// asks returns who asks.
func asks(ctx context.Context) auth.Identity {
	who, _ := access.From(ctx)
	return who.Identity
}

// of returns what is known of people, and a principal, of whom whoever asks may read that resource. For them there is no other.
func (a *api) of(ctx context.Context, r auth.Resource, id string) (known *auth.State, p auth.Principal, err error) {
	shown := false
	err = a.visible(ctx, r, func(st *pool.State, shows func(project, owner string) bool) {
		var ok bool
		known = auth.Of(st)
		p, ok = known.Principal(id)
		shown = ok && shows(p.Project, id)
	})
	if err == nil && !shown {
		err = noPrincipal(id)
	}
	return known, p, problemOf(err)
}

func noPrincipal(id string) error {
	return &pool.Error{Op: "find a principal", Kind: pool.ErrNotFound, Field: "principal", Value: id}
}

// decide has a command decided in the name of whoever asks, on the revision that it is appended to.
func (a *api) decide(ctx context.Context, c auth.Command) error {
	if err := a.c.Guard.Books().Current(); err != nil {
		return err
	}
	by := asks(ctx)
	c.By = &by
	return a.as(ctx).Decide(ctx, auth.Name, c)
}

// refused is problem.From for a command about a principal that the path names: whom one may not know of is not there, whatever the reason.
func refused(id string, err error) error {
	var no *auth.Refusal
	var e *pool.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no) && no.Kind == auth.ErrForbidden && no.Hidden,
		errors.As(err, &e) && e.Kind == pool.ErrNotFound && e.Field == "principal":
		err = noPrincipal(id)
	}
	return problem.From(err)
}

// newID returns a random id, which may stand in the ledger for good.
func newID(first string) string { return first + strings.ToLower(rand.Text()[:20]) }

// Place is where a role holds, or a token is good.
type Place struct {
	Everything bool   `json:"everything,omitempty" doc:"All projects, and what lies in none, such as hosts"`
	Project    string `json:"project,omitempty" maxLength:"63" doc:"This project and those below it" example:"default"`
	Own        bool   `json:"own,omitempty" doc:"Only what is one's own, in the project or, without one, wherever"`
}

func (p Place) scope() auth.Scope { return auth.Scope(p) }

// Power is a role in a place.
type Power struct {
	Role string `json:"role" enum:"viewer,user,operator,admin" example:"viewer"`
	Place
}

func powers(limits []auth.Limit) []Power {
	out := make([]Power, len(limits))
	for i, l := range limits {
		out[i] = Power{string(l.Role), Place(l.Scope)}
	}
	return out
}

// user implements what ofUser wants.
func (p PrincipalPath) user() string { return p.ID }

// ofUser is of a person or service account that the path names, or of something of theirs.
func ofUser[I interface{ user() string }](a *api, in *I) place {
	id := (*in).user()
	at := place{owner: id, field: "principal", value: id}
	a.c.Manager.View(func(st *pool.State) {
		p, _ := auth.Of(st).Principal(id)
		at.project = p.Project
	})
	return at
}

// belongs is where a principal, or something of theirs, lies.
func belongs(p auth.Principal) (project, owner string) { return p.Project, p.ID }
