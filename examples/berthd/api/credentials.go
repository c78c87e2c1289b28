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
	"github.com/berthage/berthage/examples/berthd/signin"
	"github.com/berthage/berthage/pool"
)

// Current is one's present password, which is asked for again before how one signs in is changed: whoever finds a browser that is signed
// in must not be able to keep the account.
type Current struct {
	Current string `json:"current,omitempty" writeOnly:"true" maxLength:"1024" doc:"One's present password, where it is oneself that is changed"`
}

// PasswordBody is a new password.
type PasswordBody struct {
	Current
	Password string `json:"password" writeOnly:"true" minLength:"1" maxLength:"1024" doc:"12 characters or more"`
}

// SecondBegun is a second factor that is being set up.
type SecondBegun struct {
	URI    string    `json:"uri" doc:"otpauth:// for an app, as a picture or a link"`
	Secret string    `json:"secret" doc:"The same to be typed: six digits, every 30 seconds, SHA-1"`
	Until  time.Time `json:"until" doc:"By when its first code is to be given"`
}

// CodeBody is a code of a second factor.
type CodeBody struct {
	Code string `json:"code" writeOnly:"true" minLength:"6" maxLength:"8" doc:"That the app shows now"`
}

// Recovery are the codes for who has lost their second factor.
type Recovery struct {
	Codes []string `json:"codes" nullable:"false" doc:"Each works once in the place of a code. They are shown here and nowhere else"`
}

// SignedIn is a session of somebody's.
type SignedIn struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind" enum:"browser,program"`
	Began   time.Time `json:"began"`
	Ends    time.Time `json:"ends" doc:"At the latest"`
	Address string    `json:"address,omitempty" doc:"Where it was begun from"`
	Agent   string    `json:"agent,omitempty" doc:"What the program said that it is"`
	Current bool      `json:"current" doc:"It is the one of this request"`
	Link    bool      `json:"link,omitempty" doc:"A link of berthd link has begun it"`
}

// SessionPath names a session of a user's in a path.
type SessionPath struct {
	PrincipalPath
	Session string `path:"session" minLength:"1" maxLength:"63" doc:"Id of the session"`
}

// renewed is an answer that may have a new cookie: what changes how somebody signs in makes their sessions void, also that of the browser
// in which they have just done so.
type renewed[T any] struct {
	SetCookie string `header:"Set-Cookie" doc:"A new session, where it is oneself that is changed, in a browser"`
	Body      T
}

// confirmed asks for the present password of whoever changes themselves.
func (a *api) confirmed(ctx context.Context, id string, c Current) error {
	if id != asks(ctx).Principal {
		return nil
	}
	known, err := a.c.Guard.Books().State(ctx)
	if err != nil {
		return err
	}
	if _, has := known.Password(id); !has {
		return nil
	}
	ok, err := a.c.Desk.Confirm(ctx, id, c.Current, client(requestOf(ctx)))
	if err == nil && !ok {
		err = &pool.Error{Op: "confirm", Kind: pool.ErrInvalid, Field: "current", Want: "your present password"}
	}
	return err
}

// again begins a new session in the browser of a request, whose own has just become void, if it is its owner who was changed. Where that
// fails they sign in again: the change itself is done.
func (a *api) again(ctx context.Context, id string) string {
	a.clear(ctx, id)
	who, _ := access.From(ctx)
	if who.Session == "" || who.Identity.Principal != id {
		return ""
	}
	var cookie string
	known, err := a.c.Guard.Books().State(ctx)
	if err == nil {
		p, _ := known.Principal(id)
		who.Identity.Generation = p.Generation
		cookie, _, err = a.enter(ctx, who.Identity)
	}
	if err != nil {
		a.c.Logger.Warn("a browser was signed out by a change", "user", id, "error", err)
	}
	return cookie
}

func (a *api) registerCredentials() {
	op := withExample(describe("put-password", http.MethodPut, "/users/{id}/password", "Users", "Set a password",
		"One's own, or, for who administers people, somebody else's. All sessions end; a browser that changes its own gets a new one.", 404),
		PasswordBody{Current: Current{"correct horse battery staple"}, Password: "another horse, another battery"})
	op.DefaultStatus = http.StatusNoContent
	register(a, may(auth.Credentials, auth.Update), ofUser, op, func(ctx context.Context, in *struct {
		PrincipalPath
		Body PasswordBody
	}) (*cookieOutput, error) {
		if _, _, err := a.of(ctx, auth.Credentials, in.ID); err != nil {
			return nil, err
		}
		err := a.confirmed(ctx, in.ID, in.Body.Current)
		var hash string
		if err == nil {
			hash, err = a.c.Desk.Hash(ctx, in.Body.Password)
		}
		if err == nil {
			err = a.decide(ctx, auth.Command{Set: &auth.SetPassword{Principal: in.ID, Hash: hash}})
		}
		if err != nil {
			return nil, refused(in.ID, err)
		}
		return &cookieOutput{a.again(ctx, in.ID)}, nil
	})
	register(a, may(auth.Credentials, auth.Update), ofUser, withExample(describe("begin-second-factor", http.MethodPost, "/users/{id}/second-factor", "Users", "Begin a second factor",
		"One's own: the secret for an app that shows codes. It counts once a code of it was given, within ten minutes; until then the one before does.", 404, 409),
		Current{"correct horse battery staple"}),
		func(ctx context.Context, in *struct {
			PrincipalPath
			Body Current
		}) (*struct{ Body SecondBegun }, error) {
			_, p, err := a.of(ctx, auth.Credentials, in.ID)
			if err != nil {
				return nil, err
			}
			if err := a.myself(ctx, p); err != nil {
				return nil, problem.From(err)
			}
			if err := a.confirmed(ctx, in.ID, in.Body); err != nil {
				return nil, problem.From(err)
			}
			s, err := a.c.Desk.NewSecond(ctx, p)
			if err != nil {
				return nil, problem.From(err)
			}
			return &struct{ Body SecondBegun }{SecondBegun(s)}, nil
		})
	register(a, may(auth.Credentials, auth.Update), ofUser, withExample(describe("put-second-factor", http.MethodPut, "/users/{id}/second-factor", "Users", "Complete a second factor",
		"With a first code of what was begun. The answer has recovery codes, which are not shown again. All sessions end; a browser that changes its own gets a new one.", 404, 409),
		CodeBody{Code: "123456"}),
		func(ctx context.Context, in *struct {
			PrincipalPath
			Body CodeBody
		}) (*renewed[Recovery], error) {
			_, p, err := a.of(ctx, auth.Credentials, in.ID)
			if err != nil {
				return nil, err
			}
			if err := a.myself(ctx, p); err != nil {
				return nil, problem.From(err)
			}
			c, codes, err := a.c.Desk.Complete(ctx, in.ID, in.Body.Code)
			if err == nil {
				err = a.decide(ctx, c)
			}
			if err != nil {
				return nil, refused(in.ID, err)
			}
			return &renewed[Recovery]{a.again(ctx, in.ID), Recovery{codes}}, nil
		})
	op = withExample(describe("remove-second-factor", http.MethodPost, "/users/{id}/second-factor/remove", "Users", "Remove a second factor",
		"One's own, or, for who administers people, that of somebody who has lost it. All sessions end; a browser that changes its own gets a new one.", 404),
		Current{"correct horse battery staple"})
	op.DefaultStatus = http.StatusNoContent
	register(a, may(auth.Credentials, auth.Update), ofUser, op, func(ctx context.Context, in *struct {
		PrincipalPath
		Body Current
	}) (*cookieOutput, error) {
		known, _, err := a.of(ctx, auth.Credentials, in.ID)
		if err != nil {
			return nil, err
		}
		if err := a.confirmed(ctx, in.ID, in.Body); err != nil {
			return nil, problem.From(err)
		}
		_, has := known.Second(in.ID)
		if err := a.decide(ctx, auth.Command{Drop: in.ID}); err != nil {
			return nil, refused(in.ID, err)
		}
		if !has {
			return &cookieOutput{}, nil
		}
		return &cookieOutput{a.again(ctx, in.ID)}, nil
	})
	a.registerSessions()
}

// myself refuses what people do only for themselves: a second factor that somebody else has set up would be theirs, too. A token is not
// enough for it, which the command would say only at its end.
func (a *api) myself(ctx context.Context, p auth.Principal) error {
	by := asks(ctx)
	switch {
	case p.ID != by.Principal:
		return &auth.Refusal{Kind: auth.ErrForbidden, Reason: auth.NotOwn, Verb: auth.Update, On: auth.Credentials}
	case !by.Whole:
		return &auth.Refusal{Kind: auth.ErrForbidden, Reason: auth.NotByToken, Verb: auth.Update, On: auth.Credentials}
	case p.Kind != auth.Person:
		return &pool.Error{Op: "set up a second factor", Kind: pool.ErrWrongState, Field: "principal", Value: p.ID, Want: "a person: service accounts have tokens"}
	}
	return nil
}

func (a *api) registerSessions() {
	register(a, reads(auth.Sessions), ofUser, describe("list-sessions", http.MethodGet, "/users/{id}/sessions", "Users", "List sessions",
		"Where a user is signed in, by id. Those that a link of berthd link has begun are root's. API tokens are not among them.", 404, 422),
		func(ctx context.Context, in *struct {
			PrincipalPath
			Paging
		}) (*pageOutput[SignedIn], error) {
			_, p, err := a.of(ctx, auth.Sessions, in.ID)
			if err != nil {
				return nil, err
			}
			all, err := a.c.Desk.Sessions(ctx, in.ID)
			if err != nil {
				return nil, problem.From(err)
			}
			current := a.sessionOf(ctx)
			return list(ctx, a, &in.Paging, auth.Sessions, func(*pool.State, signin.Session) (project, owner string) { return belongs(p) }, func(*pool.State) iter.Seq[signin.Session] { return slices.Values(all) }, func(s signin.Session) string { return s.ID },
				func(s signin.Session) SignedIn {
					kind := "program"
					if s.Browser != "" {
						kind = "browser"
					}
					return SignedIn{s.ID, kind, s.Began, s.Ends, s.Address, s.Agent, s.ID == current, s.Link}
				})
		})
	register(a, may(auth.Sessions, auth.Delete), ofUser, describe("end-session", http.MethodDelete, "/users/{id}/sessions/{session}", "Users", "End a session", "It is void at once.", 404),
		func(ctx context.Context, in *SessionPath) (*struct{}, error) {
			if _, _, err := a.of(ctx, auth.Sessions, in.ID); err != nil {
				return nil, err
			}
			all, err := a.c.Desk.Sessions(ctx, in.ID)
			if err != nil {
				return nil, problem.From(err)
			}
			if !slices.ContainsFunc(all, func(s signin.Session) bool { return s.ID == in.Session }) {
				return nil, missing("session", in.Session)
			}
			return nil, problemOf(a.c.Desk.End(ctx, in.ID, in.Session))
		})
}
