package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/login"
	"github.com/berthage/berthage/auth/session"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/examples/berthd/signin"
	"github.com/berthage/berthage/pool"
)

// LogInBody is what somebody has typed.
type LogInBody struct {
	Name     string `json:"name" minLength:"1" maxLength:"128" doc:"Name or id" example:"ada"`
	Password string `json:"password" writeOnly:"true" minLength:"1" maxLength:"1024"`
	Code     string `json:"code,omitempty" writeOnly:"true" maxLength:"64" doc:"Of the second factor, or a recovery code; absent without one"`
	Browser  bool   `json:"browser,omitempty" doc:"Answer with a session cookie, and without tokens"`
}

// LoggedIn is what a program holds that has signed in.
type LoggedIn struct {
	Access  string     `json:"access,omitempty" doc:"A JWT, for Authorization: Bearer. Good for minutes"`
	Expires *time.Time `json:"expires,omitempty" doc:"When it is not any more"`
	Refresh string     `json:"refresh,omitempty" doc:"Good once, for the next pair. A second use ends the session: two hold it then"`
	Ends    *time.Time `json:"ends,omitempty" doc:"When that is not good any more"`
	Session string     `json:"session" doc:"Id of the session"`
}

// RefreshBody has a refresh token.
type RefreshBody struct {
	Refresh string `json:"refresh" writeOnly:"true" minLength:"1" maxLength:"128"`
}

type loggedInOutput struct {
	SetCookie string `header:"Set-Cookie" doc:"The session of a browser: HttpOnly, SameSite=Strict"`
	Body      LoggedIn
}

func loggedIn(p session.Pair) *loggedInOutput {
	return &loggedInOutput{Body: LoggedIn{Access: p.Access, Expires: moment(p.Expires), Refresh: p.Refresh, Ends: moment(p.Ends), Session: p.Session}}
}

// client returns where a request comes from.
func client(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

func origin(r *http.Request) signin.Origin {
	return signin.Origin{Address: client(r).String(), Agent: r.UserAgent()}
}

func (a *api) registerLogin() {
	op := withExample(describe("log-in", http.MethodPost, "/login", "Daemon", "Log in",
		"By name, password and, where there is one, second factor. Whatever of it is wrong, the answer is the same. Wrong attempts make the next ones wait."),
		LogInBody{Name: "ada", Password: "as ada typed it"}) // #nosec G101 -- an example for the documents
	op.Security = []map[string][]string{}
	register(a, public(), nowhere, op, a.logIn)
	op = withExample(describe("refresh-log-in", http.MethodPost, "/login/refresh", "Daemon", "Get the next tokens",
		"Exchanges a refresh token, which is used up, for the next access and refresh token of the session."), RefreshBody{Refresh: "from-the-answer-before"})
	op.Security = []map[string][]string{}
	register(a, public(), nowhere, op, func(ctx context.Context, in *struct{ Body RefreshBody }) (*loggedInOutput, error) {
		r := requestOf(ctx)
		if err := a.c.Guard.Admit(r); err != nil {
			return nil, problem.From(err)
		}
		p, err := a.c.Desk.Refresh(ctx, in.Body.Refresh)
		if errors.Is(err, auth.ErrUnauthenticated) {
			a.c.Guard.Blame(r)
		}
		if err != nil {
			return nil, problem.From(err)
		}
		return loggedIn(p), nil
	})
	register(a, self(), nowhere, describe("log-out", http.MethodPost, "/logout", "Daemon", "Log out",
		"Ends the session of this request: of a browser, or of the program whose access token it carries. API tokens have none; they are revoked.", 409),
		func(ctx context.Context, _ *struct{}) (*cookieOutput, error) {
			out, err := a.logOut(ctx)
			return out, problemOf(err)
		})
}

func (a *api) logIn(ctx context.Context, in *struct{ Body LogInBody }) (*loggedInOutput, error) {
	r := requestOf(ctx)
	if err := access.OwnPages(r); err != nil {
		return nil, problem.From(err)
	}
	b := in.Body
	who, err := a.c.Desk.LogIn(ctx, login.Attempt{Name: b.Name, Password: b.Password, Code: b.Code, From: client(r)})
	if errors.Is(err, auth.ErrUnauthenticated) {
		return nil, problem.Unauthorized.New("name, password or code are not right")
	}
	if err != nil {
		return nil, problem.From(err)
	}
	if !b.Browser {
		p, err := a.c.Desk.Begin(ctx, who, origin(r))
		if err != nil {
			return nil, problem.From(err)
		}
		return loggedIn(p), nil
	}
	cookie, id, err := a.enter(ctx, who)
	if err != nil {
		return nil, problem.From(err)
	}
	return &loggedInOutput{SetCookie: cookie, Body: LoggedIn{Session: id}}, nil
}

// browserID is the id of a browser's session in the list of its owner's, by its key, of which it is a part.
func browserID(key string) string { return key[strings.LastIndex(key, "/")+1:][:32] }

// enter begins the session of a browser and returns its cookie and its id.
func (a *api) enter(ctx context.Context, who auth.Identity) (cookie, id string, err error) {
	c, err := a.c.Guard.Begin(ctx, who)
	if err != nil {
		return "", "", err
	}
	key := access.KeyOf(c)
	s := signin.Session{ID: browserID(key), Browser: key, Ends: time.Now().Add(time.Duration(c.MaxAge) * time.Second).UTC(), Origin: origin(requestOf(ctx))}
	return c.String(), s.ID, a.c.Desk.Note(ctx, who.Principal, s)
}

// sessionOf returns the id of the session of a request; empty if it has none.
func (a *api) sessionOf(ctx context.Context) string {
	who, _ := access.From(ctx)
	if who.Session != "" {
		return browserID(who.Session)
	}
	_, token, _ := strings.Cut(requestOf(ctx).Header.Get("Authorization"), " ")
	id, err := a.c.Desk.Of(ctx, strings.TrimSpace(token))
	if err != nil {
		return ""
	}
	return id
}

// logOut ends the session of a request.
func (a *api) logOut(ctx context.Context) (*cookieOutput, error) {
	who, _ := access.From(ctx)
	id := a.sessionOf(ctx)
	if id == "" {
		return nil, &pool.Error{Op: "log out", Kind: pool.ErrWrongState, Field: "session", Want: "a session: this token has none"}
	}
	err := a.c.Desk.End(ctx, who.Identity.Principal, id)
	if err != nil && !errors.Is(err, pool.ErrNotFound) {
		return nil, err
	}
	if who.Session == "" {
		return &cookieOutput{}, nil
	}
	c, err := a.c.Guard.SignOut(ctx, who)
	if err != nil {
		return nil, err
	}
	return &cookieOutput{c.String()}, nil
}
