// Package access decides who may speak to berthd: programs with the bearer token, and browsers that were
// signed in by a one-time code and hold a session cookie. Everything that is not declared public needs one
// of the two; whatever goes wrong on the way, the answer is no.
//
// There is one principal, the operator. Users, roles and tokens of their own are the SDK's auth package's.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/berthage/berthage/examples/berthd/edge"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// Config is what New needs.
type Config struct {
	Token   string        // the bearer token
	Scratch pool.Scratch  // keeps the sessions
	Realm   string        // tells this daemon's cookie from that of another one on the same machine
	Session time.Duration // how long a session lasts
	Secure  bool          // cookies only over TLS
}

// Guard lets requests pass or answers them itself. It is safe for concurrent use.
type Guard struct {
	config   Config
	token    [sha256.Size]byte
	codes    codes
	throttle throttle
}

// New returns a Guard.
func New(c Config) *Guard {
	return &Guard{config: c, token: sha256.Sum256([]byte(c.Token))}
}

// Who is the principal of a request.
type Who struct {
	Actor   string // as it stands in events: "api" or "dashboard"
	Session string // key of the session, for one with a cookie
	Expires time.Time
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
		edge.From(r.Context()).Actor = who.Actor
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), whoKey{}, who)))
	})
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
	return g.session(r.Context(), c.Value)
}

func (g *Guard) bearer(r *http.Request, h []string) (Who, error) {
	if err := g.Admit(r); err != nil {
		return Who{}, err
	}
	scheme, token, _ := strings.Cut(h[0], " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	if len(h) != 1 || !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(sum[:], g.token[:]) != 1 {
		g.Blame(r)
		return Who{}, problem.Unauthorized.New("the token is not right")
	}
	return Who{Actor: "api"}, nil
}

// Admit returns an error, which is a problem, when too many wrong credentials came from the request's address.
func (g *Guard) Admit(r *http.Request) error {
	wait := g.throttle.wait(client(r), time.Now())
	if wait <= 0 {
		return nil
	}
	p := problem.Throttled.New("too many wrong tokens or codes came from this address")
	p.RetryAfter = int(wait/time.Second) + 1
	return p
}

// Blame notes a wrong credential.
func (g *Guard) Blame(r *http.Request) { g.throttle.blame(client(r), time.Now()) }

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
