package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/oidc"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/edge"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/examples/berthd/signin"
)

// A log-in at a provider of OpenID Connect takes two routes. It is begun by an operation: a page asks for it, as it asks for everything, so that no
// other site can begin one in somebody's browser, which a link that anybody can point to would allow. Where it comes back to is a plain route:
// the provider sends a browser there, whose user is to see a page whatever comes of it, and no program has anything to ask of it.

const (
	providersPath = prefix + "/login/providers"
	backPath      = "/login/"
)

// BackPath returns where the provider of that name sends browsers back to.
func BackPath(provider string) string { return backPath + provider }

// atProvider reports whether a request belongs to a log-in at a provider, which needs no credentials.
func atProvider(r *http.Request) bool {
	one := func(below string) bool {
		name, ok := strings.CutPrefix(r.URL.Path, below)
		return ok && name != "" && !strings.Contains(name, "/")
	}
	switch r.Method {
	case http.MethodGet:
		return r.URL.Path == providersPath || one(backPath)
	case http.MethodPost:
		return one(providersPath + "/")
	}
	return false
}

// LogInProvider is somewhere else where people log in.
type LogInProvider struct {
	Name  string `json:"name" doc:"As it stands before its groups" example:"corp"`
	Label string `json:"label" doc:"What people call it" example:"Corp"`
}

// LogInProviders are all of them.
type LogInProviders struct {
	Items []LogInProvider `json:"items" nullable:"false"`
}

// BegunLogIn is a log-in that goes on at a provider.
type BegunLogIn struct {
	To string `json:"to" format:"uri" doc:"Where to send the browser"`
}

type begunOutput struct {
	SetCookie string `header:"Set-Cookie" doc:"Ties the log-in to this browser: HttpOnly, SameSite=Lax"`
	Body      BegunLogIn
}

func (a *api) registerProviders(mux *http.ServeMux) {
	op := describe("get-log-in-providers", http.MethodGet, "/login/providers", "Daemon", "Where else to log in",
		"The providers of OpenID Connect at which people can log in, in the order of the configuration.")
	op.Security = []map[string][]string{}
	register(a, public(), nowhere, op, func(context.Context, *struct{}) (*struct{ Body LogInProviders }, error) {
		out := &struct{ Body LogInProviders }{LogInProviders{Items: []LogInProvider{}}}
		for _, p := range a.c.Providers {
			out.Body.Items = append(out.Body.Items, LogInProvider{p.Name(), p.Label})
		}
		return out, nil
	})
	op = describe("begin-log-in", http.MethodPost, "/login/providers/{provider}", "Daemon", "Begin to log in elsewhere",
		"For the daemon's own pages: where to send the browser, and a cookie that it has to come back with within ten minutes. It is let in once.", 404)
	op.Security = []map[string][]string{}
	register(a, public(), nowhere, op, func(ctx context.Context, in *struct {
		Provider string `path:"provider" minLength:"1" maxLength:"32" doc:"Name of the provider" example:"corp"`
	}) (*begunOutput, error) {
		out, err := a.beginAt(ctx, in.Provider)
		return out, problemOf(err)
	})
	mux.HandleFunc("GET "+backPath+"{provider}", a.comeBack)
}

// logInCookie returns the cookie that ties a log-in to the browser that has begun it, and comes back from another site.
func (a *api) logInCookie(p signin.Provider, pending string) *http.Cookie {
	return a.c.Guard.BriefCookie("login", pending, p.Secure, http.SameSiteLaxMode, oidc.Patience)
}

func (a *api) provider(name string) (signin.Provider, bool) {
	i := slices.IndexFunc(a.c.Providers, func(p signin.Provider) bool { return p.Name() == name })
	if i < 0 {
		return signin.Provider{}, false
	}
	return a.c.Providers[i], true
}

func (a *api) beginAt(ctx context.Context, name string) (*begunOutput, error) {
	r := requestOf(ctx)
	if err := access.OwnPages(r); err != nil {
		return nil, err
	}
	p, ok := a.provider(name)
	if !ok {
		return nil, missing("provider", name)
	}
	if err := a.c.Guard.AtProviders().Take(r); err != nil {
		return nil, err
	}
	to, pending, err := p.Begin(ctx)
	if err != nil { // whatever it is, nobody can log in there now, and why is for the log
		no := problem.Unavailable.New("nobody can log in there now")
		no.Cause = err
		return nil, no
	}
	return &begunOutput{a.logInCookie(p, string(pending)).String(), BegunLogIn{to}}, nil
}

// comeBack is where a provider sends a browser back to. It goes on to the first page, and nowhere else, with a session or without one; why
// there is none stands in the log.
func (a *api) comeBack(w http.ResponseWriter, r *http.Request) {
	note := edge.From(r.Context())
	to := "/"
	cookies, who, err := a.enterFrom(context.WithValue(r.Context(), requestKey{}, r), r.PathValue("provider"))
	if err != nil {
		to = "/#refused=" + note.ID
		a.c.Logger.LogAttrs(r.Context(), slog.LevelWarn, "a log-in at a provider has come to nothing",
			slog.String("request_id", note.ID), slog.String("path", r.URL.Path), slog.String("remote", r.RemoteAddr), slog.String("error", reason(err)))
	}
	note.Actor = who.Principal
	for _, c := range cookies {
		w.Header().Add("Set-Cookie", c)
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// reason is an error with what is behind it.
func reason(err error) string {
	var no *auth.Refusal
	if errors.As(err, &no) && no.Cause != nil {
		return no.Error() + ": " + no.Cause.Error()
	}
	return err.Error()
}

// enterFrom lets in who has logged in at a provider, and returns the cookies of their session.
func (a *api) enterFrom(ctx context.Context, name string) (cookies []string, who auth.Identity, err error) {
	r := requestOf(ctx)
	p, ok := a.provider(name)
	if !ok {
		return nil, auth.Identity{}, missing("provider", name)
	}
	if err := a.c.Guard.AtProviders().Admit(r); err != nil {
		return nil, auth.Identity{}, err
	}
	begun, err := r.Cookie(a.logInCookie(p, "").Name)
	if err != nil { // whoever sends a browser here that has begun nothing uses up nothing
		return nil, auth.Identity{}, auth.Unauthenticated(auth.BadCredentials, oidc.NotBegun)
	}
	claims, err := p.Finish(ctx, oidc.Pending(begun.Value), r.URL)
	if err == nil {
		who, err = a.c.Desk.Enter(ctx, p, claims)
	}
	if err != nil {
		a.c.Guard.AtProviders().Blame(r)
		return nil, auth.Identity{}, err
	}
	session, _, err := a.enter(ctx, who)
	if err != nil {
		return nil, auth.Identity{}, err
	}
	return []string{session, a.logInCookie(p, "").String()}, who, nil
}
