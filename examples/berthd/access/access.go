// Package access finds out who speaks to berthd: programs with a token, and browsers that were signed in and hold a session cookie.
// Everything that is not declared public needs one of the two; whatever goes wrong on the way, the answer is no. What somebody may do is
// decided by package auth on the Books.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/edge"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// Root is the principal whose the daemon's own token is. Whoever can read the token's file, or has a sign-in link, speaks as Root.
const Root = "root"

// TokenPrefix is that of API tokens, and of the daemon's own, by which scanners for leaked secrets know them.
const TokenPrefix = "berthd"

// Config is what New needs.
type Config struct {
	Books   *Books
	Token   string               // the daemon's own bearer token, Root's
	Others  []auth.Authenticator // of bearer tokens of other forms, such as API tokens
	Scratch pool.Scratch         // keeps the sessions
	Realm   string               // tells this daemon's cookie from that of another one on the same machine
	Session time.Duration        // how long a session lasts
	Secure  bool                 // cookies only over TLS
}

// Guard lets requests pass or answers them itself. It is safe for concurrent use.
type Guard struct {
	config Config
	tokens auth.Authenticator
	codes  codes

	wrong       Knocks
	atProviders Knocks
	byPasskey   Knocks
}

// New returns a Guard. The error says that the token is too short to be one.
func New(c Config) (*Guard, error) {
	root, err := auth.NewStaticTokens(map[string]auth.Identity{c.Token: {Principal: Root, Whole: true}}, c.Books.State)
	if err != nil {
		return nil, err
	}
	return &Guard{
		config: c, tokens: auth.FirstOf(append([]auth.Authenticator{root}, c.Others...)...),
		wrong: Knocks{What: "wrong tokens or codes"}, byPasskey: Knocks{What: "log-ins by passkey"},
		atProviders: Knocks{What: "log-ins at providers", throttle: throttle{burst: burstBegun, refill: refillBegun}},
	}, nil
}

// Books returns what is decided on.
func (g *Guard) Books() *Books { return g.config.Books }

// Who is the principal of a request.
type Who struct {
	Identity auth.Identity
	Actor    string     // id of the principal, as it stands in events
	From     netip.Addr // where the request comes from
	Session  string     // key of the session, for one with a cookie
	Expires  time.Time  // of the session

	acts *acts
}

// acts are what a request was allowed, as far as it changes something.
type acts struct {
	mu  sync.Mutex
	all []auth.Act
}

func (a *acts) add(act auth.Act) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.all, act) {
		a.all = append(a.all, act)
	}
}

// Warrant returns what the request was allowed until now, for the Manager that carries it out to see whether that holds still.
func (w Who) Warrant() auth.Warrant {
	out := auth.Warrant{By: w.Identity}
	if w.acts != nil {
		w.acts.mu.Lock()
		defer w.acts.mu.Unlock()
		out.For = slices.Clone(w.acts.all)
	}
	return out
}

type whoKey struct{}

// From returns the principal that the Guard has put into a request's context.
func From(ctx context.Context) (Who, bool) {
	w, ok := ctx.Value(whoKey{}).(Who)
	return w, ok
}

// Require passes on requests that are public or authenticated.
func (g *Guard) Require(next http.Handler, public func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if public(r) {
			next.ServeHTTP(w, r)
			return
		}
		who, err := g.authenticate(r)
		if err != nil {
			p := *problem.From(err)
			p.RequestID = edge.From(r.Context()).ID
			if p.Status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="berthd"`)
			}
			p.Write(w)
			return
		}
		edge.From(r.Context()).Actor, who.acts = who.Actor, new(acts)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), whoKey{}, who)))
	})
}

// Allow returns nil if whoever a request is from may do that to the thing, and otherwise an error, mostly an *auth.Refusal. To read, the
// books are relied on for a while after the ledger was lost; for anything else they have to be current, and what was allowed is noted, for the
// audit log and for the Warrant of the request.
func (g *Guard) Allow(ctx context.Context, verb auth.Verb, thing auth.Thing) error {
	if verb != auth.Read {
		if err := g.config.Books.Current(); err != nil {
			return err
		}
	}
	who, _ := From(ctx)
	ask := auth.Request{By: who.Identity, Verb: verb, Thing: thing}
	var a auth.Access
	if err := g.config.Books.Read(func(st *pool.State) { a = auth.Of(st).Access(Projects(st), ask, time.Now()) }); err != nil {
		return err
	}
	if a.Allowed && verb != auth.Read && who.acts != nil {
		who.acts.add(auth.Act{Verb: verb, Thing: thing})
		edge.From(ctx).Decision = decision(ask, a)
	}
	return a.Err(ask)
}

// decision is how it was decided that a request is allowed, for the audit log.
func decision(ask auth.Request, a auth.Access) string {
	by := "as one's own"
	if a.Binding != "" {
		by = "by binding " + a.Binding
	}
	if ask.By.Token != "" {
		by += ", token " + ask.By.Token
	}
	return ask.Verb.String() + " " + string(ask.Thing.Resource) + " " + by
}

// Only passes on requests of whoever may do that with what lies in no project; it answers the others itself.
func (g *Guard) Only(verb auth.Verb, on auth.Resource, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.Allow(r.Context(), verb, auth.Thing{Resource: on}); err != nil {
			Refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Refuse answers a request with why it is refused.
func Refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := *problem.From(err)
	p.RequestID = edge.From(r.Context()).ID
	p.Write(w)
}

func (g *Guard) authenticate(r *http.Request) (Who, error) {
	if h := r.Header.Values("Authorization"); len(h) > 0 {
		return g.bearer(r, h)
	}
	c, err := r.Cookie(g.cookieName())
	if err != nil {
		return Who{}, problem.Unauthorized.New("send the token as Authorization: Bearer, or sign in")
	}
	if !reads(r.Method) && !sameOrigin(r) {
		return Who{}, problem.CrossSite.New("the request does not come from this daemon's own pages")
	}
	who, err := g.session(r.Context(), c.Value)
	who.From = client(r)
	return who, err
}

func (g *Guard) bearer(r *http.Request, h []string) (Who, error) {
	if err := g.Admit(r); err != nil {
		return Who{}, err
	}
	scheme, token, _ := strings.Cut(h[0], " ")
	if len(h) != 1 || !strings.EqualFold(scheme, "Bearer") {
		g.Blame(r)
		return Who{}, problem.Unauthorized.New("one token is wanted, as Authorization: Bearer")
	}
	from := client(r)
	by, err := g.tokens.Authenticate(r.Context(), auth.Credential{Bearer: strings.TrimSpace(token), From: from})
	if errors.Is(err, auth.ErrUnauthenticated) {
		g.Blame(r)
	}
	if err != nil {
		return Who{}, err
	}
	return Who{Identity: by, Actor: by.Principal, From: from}, nil
}

// Admit returns an error, which is a problem, when too many wrong credentials came from the request's address.
func (g *Guard) Admit(r *http.Request) error { return g.wrong.Admit(r) }

// Blame notes a wrong credential.
func (g *Guard) Blame(r *http.Request) { g.wrong.Blame(r) }

// reads reports whether the method changes nothing.
func reads(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// sameOrigin reports whether a browser says that the request comes from a page of this very origin: by
// Sec-Fetch-Site, which pages cannot forge, or for browsers without it by Origin. A request with neither is
// taken for a foreign one.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
}

// notForeign refuses a request that a browser sends from another origin; one from a program passes.
func notForeign(r *http.Request) error {
	if (r.Header.Get("Sec-Fetch-Site") != "" || r.Header.Get("Origin") != "") && !sameOrigin(r) {
		return problem.CrossSite.New("the request does not come from this daemon's own pages")
	}
	return nil
}

func client(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

// random returns 256 random bits in hexadecimal.
func random() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// isNotFound reports whether Scratch says that there is no such key, which is the only error that means so.
func isNotFound(err error) bool { return errors.Is(err, pool.ErrNotFound) }
