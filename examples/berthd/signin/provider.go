package signin

import (
	"context"
	"slices"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/oidc"
)

// Newcomers says who is let in of those whom a provider knows and who were never here.
type Newcomers string

// Who is let in. Whoever is becomes a principal, and may what is bound to their groups.
const (
	NewBound   Newcomers = "bound"   // who is in a group to which a role is bound
	NewAnybody Newcomers = "anybody" // whoever the provider lets in
	NewNobody  Newcomers = "nobody"  // nobody
)

// Valid reports whether it is one of these, or empty, which is NewBound.
func (n Newcomers) Valid() bool {
	return n == "" || slices.Contains([]Newcomers{NewBound, NewAnybody, NewNobody}, n)
}

// Provider is somewhere else where people show who they are.
type Provider struct {
	*oidc.Provider
	Label  string // what people call it
	New    Newcomers
	Secure bool // it sends browsers back over TLS
}

// Enter returns who has shown at a provider who they are. They are put into the ledger where they are new and let in, and brought up to date
// there otherwise. Their groups stand in the identity, and nowhere else.
func (d *Desk) Enter(ctx context.Context, p Provider, c oidc.Claims) (auth.Identity, error) {
	people := oidc.People{State: d.c.State, Commit: d.c.Commit}
	switch p.New {
	case NewAnybody:
	case NewNobody:
		people.Known = true
	default:
		st, err := d.c.State(ctx)
		if err != nil {
			return auth.Identity{}, err
		}
		people.Known = !anyBound(st, c.Groups)
	}
	return people.Enter(ctx, c)
}

// anyBound reports whether a role is bound to one of the groups.
func anyBound(st *auth.State, groups []string) bool {
	for b := range st.Bindings() {
		if b.Group != "" && slices.Contains(groups, b.Group) {
			return true
		}
	}
	return false
}
