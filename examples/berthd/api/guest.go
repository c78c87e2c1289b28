package api

import (
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berthage/berthage/examples/berthd/problem"
)

type apiKey struct{}

// carry hands the api over to what resolves bodies.
func (a *api) carry(ctx huma.Context, next func(huma.Context)) {
	next(huma.WithValue(ctx, apiKey{}, a))
}

// Resolve implements huma.ResolverWithPath: wherever a guest is described that is to have registered keys, it gets those that whoever asks has
// registered and that are good now.
func (g *Guest) Resolve(ctx huma.Context, at *huma.PathBuffer) []error {
	a, ok := ctx.Context().Value(apiKey{}).(*api)
	if !ok || !g.Registered {
		return nil
	}
	known, err := a.c.Guard.Books().State(ctx.Context())
	if err != nil {
		return []error{problem.From(err)}
	}
	mine := known.Guest(asks(ctx.Context()).Principal, a.c.GuestUser, time.Now())
	if len(mine.SSHKeys) == 0 {
		return []error{&huma.ErrorDetail{Location: at.With("registered_keys"), Message: "SSH keys of your own that are good now; you have none"}}
	}
	if g.User == "" {
		g.User = mine.User
	}
	for _, line := range mine.SSHKeys {
		if !slices.Contains(g.SSHKeys, line) {
			g.SSHKeys = append(g.SSHKeys, line)
		}
	}
	return nil
}
