package oidc

import (
	"context"
	"slices"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

// MaxHeld is how many groups an Identity has: as many as auth/session takes.
const MaxHeld = 32

// People makes identities of those who have logged in. It is safe for concurrent use. State and Commit are needed.
type People struct {
	// State returns what is known now; an error lets nobody in.
	State func(ctx context.Context) (*auth.State, error)

	// Commit appends what follows from a command of the program itself, so that State has it afterwards. An error lets nobody in.
	Commit func(ctx context.Context, c auth.Command) error

	// Known lets in those only whose principal is there already, see Claims.Principal. Otherwise whoever the provider lets in becomes one; what
	// nothing is bound to may do nothing, whoever it is.
	Known bool
}

// Enter returns who has logged in, with all their rights. Their principal is put into the ledger if it is not there, and again when its name or
// address has changed. If the provider's name for somebody is another principal's name, they get one made of the id.
//
// An Identity has at most MaxHeld groups: of more than that, those that nothing is bound to at that moment are left out. If there are still
// more, the refusal's Cause is TooManyGroups. Who is disabled, or not known where they have to be, is refused, and nothing is written.
func (e People) Enter(ctx context.Context, c Claims) (auth.Identity, error) {
	if !isSubject(c.Subject) || c.Issuer == "" {
		return auth.Identity{}, refused(WrongSubject)
	}
	s, err := e.State(ctx)
	if err != nil {
		return auth.Identity{}, err
	}
	p, known := s.Principal(c.ID())
	switch {
	case !known && e.Known:
		return auth.Identity{}, auth.Unauthenticated(auth.NoPrincipal, nil)
	case p.Disabled:
		return auth.Identity{}, auth.Unauthenticated(auth.Disabled, nil)
	}
	groups, ok := held(s, c.Groups)
	if !ok {
		return auth.Identity{}, refused(TooManyGroups)
	}
	want := c.Principal()
	if o, taken := s.Named(want.Name); taken && o.ID != want.ID {
		want.Name = c.nameless()
	}
	want.Login, want.Generation = p.Login, p.Generation // which are not the provider's
	if want != p {
		want.Generation = 0 // as it is by then
		if err := e.Commit(ctx, auth.Command{Program: true, Put: &want}); err != nil {
			return auth.Identity{}, err
		}
		if s, err = e.State(ctx); err != nil {
			return auth.Identity{}, err
		}
		if p, known = s.Principal(want.ID); !known {
			return auth.Identity{}, &pool.Error{Op: "log in", Kind: pool.ErrUnknown, Field: "principal", Value: want.ID}
		}
	}
	who := auth.Identity{Principal: p.ID, Groups: groups, Whole: true, Generation: p.Generation}
	if err := s.Good(who, time.Now()); err != nil { // disabled meanwhile
		return auth.Identity{}, err
	}
	return who, nil
}

// held returns the groups that an identity has.
func held(s *auth.State, groups []string) ([]string, bool) {
	if len(groups) <= MaxHeld {
		return slices.Clone(groups), true
	}
	bound := make(map[string]bool)
	for b := range s.Bindings() {
		if b.Group != "" {
			bound[b.Group] = true
		}
	}
	var out []string
	for _, g := range groups {
		if bound[g] {
			out = append(out, g)
		}
	}
	return out, len(out) <= MaxHeld
}
