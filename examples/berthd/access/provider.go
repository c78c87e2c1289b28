package access

import (
	"net/http"
	"time"

	"github.com/berthage/berthage/examples/berthd/problem"
)

// Log-ins at providers that an address may begin in a row, and how long until it may begin one more. Each keeps something for some minutes;
// and a whole office may have one address, and begin its day with them.
const (
	burstBegun  = 60
	refillBegun = time.Second
)

// AdmitLogIn returns an error, which is a problem, when too many log-ins at providers were begun from the request's address, or came back wrong.
// They have a count of their own: other sites can have a browser come back wrongly, and must not have its address refused with its tokens.
func (g *Guard) AdmitLogIn(r *http.Request) error {
	wait := g.begun.wait(client(r), time.Now())
	if wait <= 0 {
		return nil
	}
	p := problem.Throttled.New("too many log-ins were begun from this address")
	p.RetryAfter = int(wait/time.Second) + 1
	return p
}

// CountLogIn notes a log-in that was begun, or came back wrong.
func (g *Guard) CountLogIn(r *http.Request) { g.begun.blame(client(r), time.Now()) }

// LogInCookie returns the cookie that ties a log-in at a provider to the browser that has begun it. It is Lax, since the browser comes back from
// another site, and secure where it comes back over TLS.
func (g *Guard) LogInCookie(value string, secure bool, lasts time.Duration) *http.Cookie {
	c := &http.Cookie{ // #nosec G124 -- said by who asks; Lax, as is said above
		Name: "berthd-login-" + digest(g.config.Realm)[:8], Value: value, Path: "/", MaxAge: int(lasts / time.Second),
		HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode,
	}
	if secure {
		c.Name = "__Host-" + c.Name
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}
