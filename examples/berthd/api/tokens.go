package api

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// NewTokenBody is an API token that is to be.
type NewTokenBody struct {
	Label  string  `json:"label,omitempty" maxLength:"128" doc:"What it is for, for people" example:"nightly backups"`
	Limits []Power `json:"limits" minItems:"1" maxItems:"16" nullable:"false" doc:"What it is good for: at most what these roles may there, and never more than its owner may"`
	Days   int     `json:"days" minimum:"1" maximum:"366" doc:"How long it is good" example:"90"`
}

// Token is an API token, without its secret.
type Token struct {
	ID       string     `json:"id"`
	Label    string     `json:"label,omitempty"`
	Limits   []Power    `json:"limits" nullable:"false"`
	Created  time.Time  `json:"created"`
	Expires  time.Time  `json:"expires"`
	LastUsed *time.Time `json:"last_used,omitempty" doc:"To the hour; absent: not in the last months"`
}

// NewToken is an API token with its secret.
type NewToken struct {
	Token
	Secret string `json:"secret" doc:"The token itself, for Authorization: Bearer. It is shown here and nowhere else"`
}

// TokenPath names a principal's token in a path.
type TokenPath struct {
	PrincipalPath
	Token string `path:"token" minLength:"1" maxLength:"63" doc:"Id of the token" example:"abcdefghijklmnop"`
}

func (a *api) token(ctx context.Context, t auth.Token) Token {
	out := Token{ID: t.ID, Label: t.Label, Limits: powers(t.Limits), Created: t.Created, Expires: t.Expires}
	if used, err := (auth.APITokens{Used: a.c.Scratch}).LastUsed(ctx, t.ID); err == nil {
		out.LastUsed = moment(used)
	}
	return out
}

func (a *api) registerTokens() {
	register(a, reads(auth.Tokens), ofUser, describe("list-tokens", http.MethodGet, "/users/{id}/tokens", "Users", "List API tokens", "A user's API tokens by id, without their secrets.", 404, 422),
		func(ctx context.Context, in *struct {
			PrincipalPath
			Paging
		}) (*pageOutput[Token], error) {
			known, p, err := a.of(ctx, auth.Tokens, in.ID)
			if err != nil {
				return nil, err
			}
			all := slices.Values(known.Tokens(in.ID))
			return list(ctx, a, &in.Paging, auth.Tokens, func(*pool.State, auth.Token) (project, owner string) { return belongs(p) }, func(*pool.State) iter.Seq[auth.Token] { return all }, func(t auth.Token) string { return t.ID },
				func(t auth.Token) Token { return a.token(ctx, t) })
		})
	op := withExample(describe("add-token", http.MethodPost, "/users/{id}/tokens", "Users", "Make an API token",
		"For programs that speak for the user. People make their own, signed in; who sees to a service account makes its. The answer has the secret, which is not kept and not shown again.", 404),
		NewTokenBody{Label: "nightly backups", Limits: []Power{{Role: "viewer", Place: Place{Everything: true}}}, Days: 90})
	op.DefaultStatus = http.StatusCreated
	register(a, may(auth.Tokens, auth.Create), ofUser, op, func(ctx context.Context, in *struct {
		PrincipalPath
		Body NewTokenBody
	}) (*struct{ Body NewToken }, error) {
		text, t, err := auth.NewToken(access.TokenPrefix)
		if err != nil {
			return nil, problem.From(err)
		}
		t.Principal, t.Label, t.Expires = in.ID, in.Body.Label, time.Now().Add(time.Duration(in.Body.Days)*24*time.Hour)
		for _, p := range in.Body.Limits {
			t.Limits = append(t.Limits, auth.Limit{Role: auth.Role(p.Role), Scope: p.scope()})
		}
		if err := a.decide(ctx, auth.Command{Token: &t}); err != nil {
			return nil, refused(in.ID, err)
		}
		known, err := a.c.Guard.Books().State(ctx)
		if err == nil {
			if kept, ok := known.Token(t.ID); ok {
				t = kept // with the moment at which it was made
			}
		}
		return &struct{ Body NewToken }{NewToken{a.token(ctx, t), text}}, nil
	})
	register(a, may(auth.Tokens, auth.Delete), ofUser, describe("remove-token", http.MethodDelete, "/users/{id}/tokens/{token}", "Users", "Revoke an API token", "It is void at once.", 404),
		func(ctx context.Context, in *TokenPath) (*struct{}, error) {
			known, _, err := a.of(ctx, auth.Tokens, in.ID)
			if err != nil {
				return nil, err
			}
			if t, ok := known.Token(in.Token); !ok || t.Principal != in.ID {
				return nil, missing("token", in.Token)
			}
			return nil, refused(in.ID, a.decide(ctx, auth.Command{Revoke: in.Token}))
		})
}
