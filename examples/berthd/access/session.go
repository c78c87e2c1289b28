package access

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
)

// record is what Scratch keeps of a session. The cookie's value is not in it, only its digest is the key.
type record struct {
	By      auth.Identity `json:"by"`
	Expires time.Time     `json:"expires"`
}

func (g *Guard) cookieName() string {
	name := "berthd-" + digest(g.config.Realm)[:8]
	if g.config.Secure {
		return "__Host-" + name
	}
	return name
}

func sessionKey(cookie string) string { return "berthd/session/" + digest(cookie) }

// session returns the principal of a session. A store that fails lets nobody in.
func (g *Guard) session(ctx context.Context, cookie string) (Who, error) {
	key := sessionKey(cookie)
	b, _, err := g.config.Scratch.Get(ctx, key)
	if isNotFound(err) {
		return Who{}, problem.Unauthorized.New("the session has ended; sign in again")
	}
	if err != nil {
		return Who{}, err
	}
	var s record
	if err := json.Unmarshal(b, &s); err != nil || !time.Now().Before(s.Expires) {
		return Who{}, problem.Unauthorized.New("the session has ended; sign in again")
	}
	known, err := g.config.Books.State(ctx)
	if err == nil {
		err = known.Good(s.By, time.Now())
	}
	if err != nil {
		return Who{}, err
	}
	return Who{Identity: s.By, Actor: s.By.Principal, Session: key, Expires: s.Expires}, nil
}

// SignIn exchanges a code for a session of [Root]'s and returns its cookie.
func (g *Guard) SignIn(r *http.Request, code string) (*http.Cookie, error) {
	if err := notForeign(r); err != nil {
		return nil, err
	}
	if err := g.Admit(r); err != nil {
		return nil, err
	}
	if !g.codes.take(code, time.Now()) {
		g.Blame(r)
		return nil, problem.Unauthorized.New("the code is not right, has been used, or is too old; berthd link prints a new link")
	}
	known, err := g.config.Books.State(r.Context())
	if err != nil {
		return nil, err
	}
	root, _ := known.Principal(Root)
	return g.Begin(r.Context(), auth.Identity{Principal: Root, Whole: true, Generation: root.Generation})
}

// Begin begins a session of somebody who has signed in, and returns its cookie.
func (g *Guard) Begin(ctx context.Context, by auth.Identity) (*http.Cookie, error) {
	known, err := g.config.Books.State(ctx)
	if err == nil {
		err = known.Good(by, time.Now())
	}
	if err != nil {
		return nil, err
	}
	value := random()
	b, err := json.Marshal(record{By: by, Expires: time.Now().Add(g.config.Session)})
	if err != nil {
		return nil, err
	}
	if _, err := g.config.Scratch.Put(ctx, sessionKey(value), b, 0, g.config.Session); err != nil {
		return nil, err
	}
	return g.cookie(value, int(g.config.Session/time.Second)), nil
}

// SignOut ends the session of the request, if it has one, and returns the cookie that removes its cookie.
func (g *Guard) SignOut(ctx context.Context, w Who) (*http.Cookie, error) {
	if w.Session != "" {
		_, version, err := g.config.Scratch.Get(ctx, w.Session)
		if err == nil {
			err = g.config.Scratch.Delete(ctx, w.Session, version)
		}
		if err != nil && !isNotFound(err) {
			return nil, err
		}
	}
	return g.cookie("", -1), nil
}

func (g *Guard) cookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{ // #nosec G124 -- Secure wherever TLS is served
		Name: g.cookieName(), Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: g.config.Secure, SameSite: http.SameSiteStrictMode,
	}
}

// Code is how long a sign-in code can be used.
const Code = 10 * time.Minute

// mostCodes bounds the codes that wait to be used; the oldest is dropped.
const mostCodes = 16

// codes are the sign-in codes that wait to be used, by digest. They live in memory: after a restart new ones
// are made.
type codes struct {
	mu      sync.Mutex
	waiting []waiting
}

type waiting struct {
	digest  string
	expires time.Time
}

// NewCode returns a code that signs one browser in, once, within the next minutes.
func (g *Guard) NewCode() (code string, expires time.Time) {
	code, expires = random(), time.Now().Add(Code)
	g.codes.mu.Lock()
	defer g.codes.mu.Unlock()
	if len(g.codes.waiting) == mostCodes {
		g.codes.waiting = g.codes.waiting[1:]
	}
	g.codes.waiting = append(g.codes.waiting, waiting{digest(code), expires})
	return code, expires
}

// take reports whether the code is one that waits, and uses it up. Digests are compared, so that the time
// that it takes tells nothing about the codes.
func (c *codes) take(code string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := digest(code)
	for i, w := range c.waiting {
		if w.digest == d {
			c.waiting = append(c.waiting[:i:i], c.waiting[i+1:]...)
			return now.Before(w.expires)
		}
	}
	return false
}
