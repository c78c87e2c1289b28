package access

import (
	"cmp"
	"net/http"
	"time"

	"github.com/berthage/berthage/examples/berthd/problem"
)

// Knocks counts by address what must not come too often, each kind of it apart: whoever has to wait here is not kept out elsewhere. The zero
// value lets an address do ten at once, and then one in six seconds. It is safe for concurrent use.
type Knocks struct {
	What     string // that there were too many of, for people; empty: requests
	throttle throttle
}

// Admit returns an error, which is a problem, as long as the request's address has to wait.
func (k *Knocks) Admit(r *http.Request) error {
	return k.refuse(k.throttle.wait(client(r), time.Now()))
}

// Blame counts one.
func (k *Knocks) Blame(r *http.Request) { k.throttle.blame(client(r), time.Now()) }

// Take is Admit, and Blame where that admits: of many at once no more are let pass than of one after another.
func (k *Knocks) Take(r *http.Request) error { return k.refuse(k.throttle.take(client(r), time.Now())) }

func (k *Knocks) refuse(wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	p := problem.Throttled.New("too many " + cmp.Or(k.What, "requests") + " came from this address")
	p.RetryAfter = int(wait/time.Second) + 1
	return p
}

// Log-ins at providers that an address may begin in a row, and how long until it may begin one more. Each keeps something for some minutes;
// and a whole office may have one address, and begin its day with them.
const (
	burstBegun  = 60
	refillBegun = time.Second
)

// AtProviders counts log-ins at providers that are begun, or come back wrong: other sites can have a browser come back wrongly, and must not have
// its address refused with its tokens.
func (g *Guard) AtProviders() *Knocks { return &g.atProviders }

// ByPasskey counts log-ins by passkey that are begun, each of which takes room in the Scratch for as long as it may be answered.
func (g *Guard) ByPasskey() *Knocks { return &g.byPasskey }

// BriefCookie returns the cookie that ties what a browser has begun to it, for as long as it lasts; without a value, the one that removes it. Site
// is Lax where the browser comes back from another site, and Strict otherwise; it is secure where the dashboard is at https.
func (g *Guard) BriefCookie(what, value string, secure bool, site http.SameSite, lasts time.Duration) *http.Cookie {
	c := &http.Cookie{ // #nosec G124 -- said by who asks, as is said above
		Name: "berthd-" + what + "-" + digest(g.config.Realm)[:8], Value: value, Path: "/", MaxAge: int(lasts / time.Second),
		HttpOnly: true, Secure: secure, SameSite: site,
	}
	if secure {
		c.Name = "__Host-" + c.Name
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}
