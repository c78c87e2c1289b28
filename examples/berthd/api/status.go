package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/operation"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/examples/berthd/signin"
	"github.com/berthage/berthage/pool"
)

// Status is how the daemon stands.
type Status struct {
	Version    string    `json:"version"`
	Started    time.Time `json:"started"`
	Ledger     string    `json:"ledger" doc:"Identity of the ledger"`
	Revision   int64     `json:"revision" doc:"That readers see"`
	Name       string    `json:"name" doc:"Of this daemon among those on the ledger"`
	Leading    bool      `json:"leading" doc:"Whether this daemon calls the drivers"`
	Holder     string    `json:"holder" doc:"Name of the daemon that took the lead last"`
	Epoch      int64     `json:"epoch" doc:"How often the lead was taken"`
	Stale      string    `json:"stale,omitempty" doc:"Why commands are refused, if they are"`
	Operations int       `json:"operations" doc:"Long commands under way"`
	Drivers    []Driver  `json:"drivers" nullable:"false"`
}

// Driver is a driver of the daemon.
type Driver struct {
	Name string `json:"name" doc:"First part of its hosts' ids, and the key of its sources in images" example:"sim"`
	Kind string `json:"kind" example:"simulated"`
}

// SignInBody is what signs a browser in.
type SignInBody struct {
	Code string `json:"code" minLength:"1" maxLength:"128" doc:"From a sign-in link; it works once"`
}

// Session is who is signed in.
type Session struct {
	Actor   string     `json:"actor" doc:"Id of the principal, as it stands in events" example:"root"`
	Expires *time.Time `json:"expires,omitempty" doc:"When the browser is signed out"`
}

// Link signs one browser in.
type Link struct {
	URL     string    `json:"url" doc:"To be opened in a browser; it works once"`
	Expires time.Time `json:"expires"`
}

type cookieOutput struct {
	SetCookie string `header:"Set-Cookie" doc:"The session: HttpOnly, SameSite=Strict"`
}

func (a *api) registerStatus() {
	register(a, reads(auth.Status), nowhere, describe("get-status", http.MethodGet, "/status", "Daemon", "Status of the daemon", "The daemon, its ledger and its drivers."),
		func(ctx context.Context, _ *struct{}) (*struct{ Body Status }, error) {
			s := a.c.Manager.Status()
			out := Status{
				Version: a.c.Version, Started: a.began, Ledger: s.Ledger, Revision: int64(s.Revision), Name: s.Name,
				Leading: s.Leading, Holder: s.Holder, Epoch: s.Epoch, Stale: s.Stale, Drivers: []Driver{},
			}
			err := a.visible(ctx, auth.Operations, func(_ *pool.State, shows func(string, string) bool) {
				out.Operations = len(a.c.Operations.List(func(o *operation.Operation) bool { return !o.Ended() && shows(o.Project, o.Owner) }))
			})
			if err != nil {
				return nil, err
			}
			for _, d := range slices.Sorted(maps.Keys(a.c.Drivers)) {
				out.Drivers = append(out.Drivers, Driver{Name: d, Kind: a.c.Drivers[d]})
			}
			return &struct{ Body Status }{out}, nil
		})
}

func (a *api) registerSession() {
	op := withExample(describe("sign-in", http.MethodPost, "/session", "Daemon", "Sign a browser in",
		"Exchanges the code of a sign-in link for a session cookie. Needs no other credentials."), SignInBody{Code: "from-a-sign-in-link"})
	op.Security = []map[string][]string{}
	op.DefaultStatus = http.StatusNoContent
	register(a, public(), nowhere, op, func(ctx context.Context, in *struct{ Body SignInBody }) (*cookieOutput, error) {
		r := requestOf(ctx)
		c, err := a.c.Guard.SignIn(r, in.Body.Code)
		if err == nil {
			key := access.KeyOf(c)
			err = a.c.Desk.Note(ctx, access.Root, signin.Session{ID: browserID(key), Browser: key, Link: true, Ends: time.Now().Add(time.Duration(c.MaxAge) * time.Second).UTC(), Origin: origin(r)})
		}
		if err != nil {
			return nil, problem.From(err)
		}
		return &cookieOutput{c.String()}, nil
	})
	register(a, self(), nowhere, describe("get-session", http.MethodGet, "/session", "Daemon", "Who is signed in", "The principal of this request."),
		func(ctx context.Context, _ *struct{}) (*struct{ Body Session }, error) {
			who, _ := access.From(ctx)
			out := &struct{ Body Session }{Session{Actor: who.Actor}}
			if !who.Expires.IsZero() {
				out.Body.Expires = &who.Expires
			}
			return out, nil
		})
	register(a, self(), nowhere, describe("sign-out", http.MethodDelete, "/session", "Daemon", "Sign a browser out", "Ends the session of this request."),
		func(ctx context.Context, _ *struct{}) (*cookieOutput, error) {
			who, _ := access.From(ctx)
			if who.Session != "" {
				out, err := a.logOut(ctx)
				return out, problemOf(err)
			}
			c, err := a.c.Guard.SignOut(ctx, who)
			if err != nil {
				return nil, problem.From(err)
			}
			return &cookieOutput{c.String()}, nil
		})
	op = describe("make-link", http.MethodPost, "/links", "Daemon", "Make a sign-in link", "A link that signs one browser in, once, within ten minutes. Needs the token: a session cannot make others. The link is the principal root's, so that only whoever may everything can make one.")
	op.DefaultStatus = http.StatusCreated
	register(a, may(auth.Ledger, auth.Operate), nowhere, op, func(ctx context.Context, _ *struct{}) (*struct{ Body Link }, error) {
		if who, _ := access.From(ctx); who.Session != "" {
			return nil, problem.Unauthorized.New("links are made with the token")
		}
		code, expires := a.c.Guard.NewCode()
		return &struct{ Body Link }{Link{URL: SignInURL(a.c.URL(), code), Expires: expires}}, nil
	})
}

// SignInURL returns the link that signs a browser in. The code stands behind the #, which browsers do not
// send: it is in no log and no referrer, and no program that merely looks at the link uses it up.
func SignInURL(base, code string) string { return base + "/#code=" + code }
