package api

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/passkey"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// PasskeySite is where passkeys work.
type PasskeySite struct {
	Origin string `json:"origin,omitempty" doc:"Of the pages on which they work; absent: on none" example:"https://berthd.example"`
	Why    string `json:"why,omitempty" doc:"What would have to be so, where they work on none"`
}

// PasskeyOptions are what the browser is to ask its authenticator.
type PasskeyOptions struct {
	Options map[string]any `json:"options" doc:"For navigator.credentials.create or .get, in JSON as WebAuthn has it"`
}

// PasskeyAnswer is what a browser answers.
type PasskeyAnswer struct {
	Answer map[string]any `json:"answer" writeOnly:"true" doc:"The credential that the browser has given, in JSON as its toJSON gives it"`
}

// PasskeyName is what its owner calls a passkey.
type PasskeyName struct {
	Name string `json:"name" minLength:"1" maxLength:"64" example:"laptop"`
}

// NewPasskeyBody is a passkey that is registered.
type NewPasskeyBody struct {
	PasskeyName
	PasskeyAnswer
}

// Passkey is a passkey as it stands.
type Passkey struct {
	ID string `json:"id"`
	PasskeyName
	Created time.Time `json:"created"`
	Synced  bool      `json:"synced" doc:"It can be on several devices"`
}

// PasskeyPath names a principal's passkey in a path.
type PasskeyPath struct {
	PrincipalPath
	Passkey string `path:"passkey" minLength:"1" maxLength:"63" doc:"Id of the passkey" example:"pa2b4c6d8e0f2g4h6i8j0k2l4m"`
}

func passkeyOf(k auth.Passkey) Passkey {
	return Passkey{k.ID, PasskeyName{k.Name}, k.Created, k.Backup}
}

type ceremonyOutput struct {
	SetCookie string `header:"Set-Cookie" doc:"What tells the browser that has begun from others, for five minutes: HttpOnly, SameSite=Strict"`
	Body      PasskeyOptions
}

// passkeys returns where passkeys work; the error says why they do not.
func (a *api) passkeys() (*passkey.Passkeys, error) {
	e := &pool.Error{Want: "a dashboard"}
	if a.c.Passkeys != nil {
		p, err := a.c.Passkeys()
		if err == nil {
			return p, nil
		}
		errors.As(err, &e)
	}
	return nil, &pool.Error{Op: "use passkeys", Kind: pool.ErrWrongState, Field: "passkeys", Want: e.Want}
}

// ceremonyCookie returns the cookie by which a browser is known that has begun.
func (a *api) ceremonyCookie(s passkey.Site, ceremony string) *http.Cookie {
	return a.c.Guard.BriefCookie("passkey", ceremony, strings.HasPrefix(s.Origin, "https://"), http.SameSiteStrictMode, passkey.Patience)
}

// beginCeremony answers with what a browser is to ask.
func (a *api) beginCeremony(p *passkey.Passkeys, options []byte, ceremony string) (*ceremonyOutput, error) {
	out := &ceremonyOutput{SetCookie: a.ceremonyCookie(p.Site(), ceremony).String()}
	return out, json.Unmarshal(options, &out.Body.Options)
}

// answered returns the ceremony of a request, and its answer as it came.
func (a *api) answered(ctx context.Context, p *passkey.Passkeys, in PasskeyAnswer) (ceremony string, answer []byte, err error) {
	if c, err := requestOf(ctx).Cookie(a.ceremonyCookie(p.Site(), "").Name); err == nil {
		ceremony = c.Value
	}
	answer, err = json.Marshal(in.Answer)
	return ceremony, answer, err
}

func (a *api) registerPasskeys() {
	a.registerPasskeyLogin()
	register(a, reads(auth.Credentials), ofUser, describe("list-passkeys", http.MethodGet, "/users/{id}/passkeys", "Users", "List passkeys", "What a user signs in with in the place of name, password and second factor, by id.", 404, 422),
		func(ctx context.Context, in *struct {
			PrincipalPath
			Paging
		}) (*pageOutput[Passkey], error) {
			known, p, err := a.of(ctx, auth.Credentials, in.ID)
			if err != nil {
				return nil, err
			}
			all := slices.Values(known.Passkeys(in.ID))
			return list(ctx, a, &in.Paging, auth.Credentials, func(*pool.State, auth.Passkey) (project, owner string) { return belongs(p) }, func(*pool.State) iter.Seq[auth.Passkey] { return all }, func(k auth.Passkey) string { return k.ID }, passkeyOf)
		})
	register(a, may(auth.Credentials, auth.Update), ofUser, withExample(describe("begin-passkey", http.MethodPost, "/users/{id}/passkeys", "Users", "Begin a passkey",
		"One's own, in a browser on the daemon's pages: what it is to ask its authenticator. It is registered once that was answered, within five minutes.", 404, 409),
		Current{"correct horse battery staple"}), a.beginPasskey)
	op := withExample(describe("add-passkey", http.MethodPut, "/users/{id}/passkeys", "Users", "Register a passkey",
		"With the browser's answer to what was begun. From then on one can sign in with it; password and second factor stay good.", 404, 409),
		NewPasskeyBody{PasskeyName{"laptop"}, PasskeyAnswer{map[string]any{"id": "from-the-browser"}}})
	op.DefaultStatus = http.StatusCreated
	register(a, may(auth.Credentials, auth.Update), ofUser, op, a.addPasskey)
	register(a, may(auth.Credentials, auth.Update), ofUser, withExample(describe("put-passkey", http.MethodPut, "/users/{id}/passkeys/{passkey}", "Users", "Rename a passkey", "One's own.", 404), PasskeyName{"old laptop"}),
		func(ctx context.Context, in *struct {
			PasskeyPath
			Body PasskeyName
		}) (*struct{ Body Passkey }, error) {
			k, err := a.passkey(ctx, in.PasskeyPath)
			if err != nil {
				return nil, err
			}
			k.Name = in.Body.Name
			if err := a.decide(ctx, auth.Command{Passkey: &k}); err != nil {
				return nil, refused(in.ID, err)
			}
			return &struct{ Body Passkey }{passkeyOf(k)}, nil
		})
	op = withExample(describe("remove-passkey", http.MethodPost, "/users/{id}/passkeys/{passkey}/remove", "Users", "Remove a passkey",
		"One's own, or, for who administers people, somebody else's. Nobody signs in with it any more, and all sessions end; a browser that removes its owner's gets a new one.", 404),
		Current{"correct horse battery staple"})
	op.DefaultStatus = http.StatusNoContent
	register(a, may(auth.Credentials, auth.Update), ofUser, op, func(ctx context.Context, in *struct {
		PasskeyPath
		Body Current
	}) (*cookieOutput, error) {
		if _, err := a.passkey(ctx, in.PasskeyPath); err != nil {
			return nil, err
		}
		if err := a.confirmed(ctx, in.ID, in.Body); err != nil {
			return nil, problem.From(err)
		}
		if err := a.decide(ctx, auth.Command{Discard: &auth.PrincipalsKey{Principal: in.ID, ID: in.Passkey}}); err != nil {
			return nil, refused(in.ID, err)
		}
		return &cookieOutput{a.again(ctx, in.ID)}, nil
	})
}

// passkey returns a passkey of somebody's.
func (a *api) passkey(ctx context.Context, in PasskeyPath) (auth.Passkey, error) {
	known, _, err := a.of(ctx, auth.Credentials, in.ID)
	if err != nil {
		return auth.Passkey{}, err
	}
	all := known.Passkeys(in.ID)
	i := slices.IndexFunc(all, func(k auth.Passkey) bool { return k.ID == in.Passkey })
	if i < 0 {
		return auth.Passkey{}, missing("passkey", in.Passkey)
	}
	return all[i], nil
}

func (a *api) beginPasskey(ctx context.Context, in *struct {
	PrincipalPath
	Body Current
}) (*ceremonyOutput, error) {
	_, who, err := a.of(ctx, auth.Credentials, in.ID)
	if err != nil {
		return nil, err
	}
	if err := a.myself(ctx, who); err != nil {
		return nil, problem.From(err)
	}
	p, err := a.passkeys()
	if err != nil {
		return nil, problem.From(err)
	}
	if err := a.confirmed(ctx, in.ID, in.Body); err != nil {
		return nil, problem.From(err)
	}
	options, ceremony, err := p.BeginRegistration(ctx, asks(ctx))
	if err != nil {
		return nil, problem.From(misanswered(err))
	}
	out, err := a.beginCeremony(p, options, ceremony)
	return out, problemOf(err)
}

func (a *api) addPasskey(ctx context.Context, in *struct {
	PrincipalPath
	Body NewPasskeyBody
}) (*struct{ Body Passkey }, error) {
	_, who, err := a.of(ctx, auth.Credentials, in.ID)
	if err != nil {
		return nil, err
	}
	if err := a.myself(ctx, who); err != nil {
		return nil, problem.From(err)
	}
	p, err := a.passkeys()
	if err != nil {
		return nil, problem.From(err)
	}
	ceremony, answer, err := a.answered(ctx, p, in.Body.PasskeyAnswer)
	var k auth.Passkey
	if err == nil {
		k, err = p.FinishRegistration(ctx, asks(ctx), ceremony, in.Body.Name, answer)
	}
	if err == nil {
		err = a.decide(ctx, auth.Command{Passkey: &k})
	}
	if err != nil {
		return nil, refused(in.ID, misanswered(err))
	}
	if kept, err := a.passkey(ctx, PasskeyPath{in.PrincipalPath, k.ID}); err == nil {
		k = kept // with the moment at which it was registered
	}
	return &struct{ Body Passkey }{passkeyOf(k)}, nil
}

// misanswered makes of a wrong answer, which at a log-in says that nobody is known, what it is at a registration: something wrong in the request.
func misanswered(err error) error {
	var f passkey.Fault
	if errors.As(err, &f) {
		return &pool.Error{Op: "register a passkey", Kind: pool.ErrInvalid, Field: "answer", Want: "this browser's answer, given once, to what it has begun in the last five minutes"}
	}
	return err
}

func (a *api) registerPasskeyLogin() {
	op := describe("get-passkey-site", http.MethodGet, "/login/passkey", "Daemon", "Where passkeys work", "Browsers have passkeys only for names that they reach over TLS, and for localhost.")
	op.Security = []map[string][]string{}
	register(a, public(), nowhere, op, func(context.Context, *struct{}) (*struct{ Body PasskeySite }, error) {
		p, err := a.passkeys()
		var e *pool.Error
		if errors.As(err, &e) {
			return &struct{ Body PasskeySite }{PasskeySite{Why: e.Want}}, nil
		}
		return &struct{ Body PasskeySite }{PasskeySite{Origin: p.Site().Origin}}, nil
	})
	op = describe("begin-passkey-log-in", http.MethodPost, "/login/passkey", "Daemon", "Begin to log in with a passkey",
		"What a browser on the daemon's pages is to ask its authenticator; the same for everybody. An address that begins too many has to wait.", 409)
	op.Security = []map[string][]string{}
	register(a, public(), nowhere, op, func(ctx context.Context, _ *struct{}) (*ceremonyOutput, error) {
		p, err := a.passkeys()
		if err == nil {
			err = access.OwnPages(requestOf(ctx))
		}
		if err == nil {
			err = a.c.Guard.ByPasskey().Take(requestOf(ctx))
		}
		if err != nil {
			return nil, problem.From(err)
		}
		options, ceremony, err := p.BeginLogin(ctx)
		if err != nil {
			return nil, problem.From(err)
		}
		out, err := a.beginCeremony(p, options, ceremony)
		return out, problemOf(err)
	})
	op = withExample(describe("passkey-log-in", http.MethodPut, "/login/passkey", "Daemon", "Log in with a passkey",
		"With the browser's answer to what was begun within five minutes. It is in the place of name, password and second factor. Whatever of it is wrong, the answer is the same.", 409),
		PasskeyAnswer{map[string]any{"id": "from-the-browser"}})
	op.Security = []map[string][]string{}
	register(a, public(), nowhere, op, a.passkeyLogIn)
}

func (a *api) passkeyLogIn(ctx context.Context, in *struct{ Body PasskeyAnswer }) (*loggedInOutput, error) {
	r := requestOf(ctx)
	p, err := a.passkeys()
	if err == nil {
		err = access.OwnPages(r)
	}
	if err == nil {
		err = a.c.Guard.Admit(r)
	}
	if err != nil {
		return nil, problem.From(err)
	}
	ceremony, answer, err := a.answered(ctx, p, in.Body)
	var who auth.Identity
	if err == nil {
		who, err = p.FinishLogin(ctx, ceremony, answer)
	}
	if errors.Is(err, auth.ErrUnauthenticated) {
		a.c.Guard.Blame(r)
		a.c.Logger.Info("a log-in by passkey was refused", "from", client(r), "why", cause(err))
		return nil, problem.Unauthorized.New("nobody signs in with this passkey")
	}
	if err != nil {
		return nil, problem.From(err)
	}
	cookie, id, err := a.enter(ctx, who)
	if err != nil {
		return nil, problem.From(err)
	}
	return &loggedInOutput{SetCookie: cookie, Body: LoggedIn{Session: id}}, nil
}

// cause is why a log-in was refused, for the log.
func cause(err error) string {
	var f passkey.Fault
	if errors.As(err, &f) {
		return f.Error()
	}
	return err.Error()
}
