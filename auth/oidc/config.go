package oidc

import (
	"crypto/x509"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// Algorithm is how an ID token may be signed (RFC 7518, section 3.1). There are no others: none that needs no key, and none whose key the
// provider shares with us.
type Algorithm string

// The algorithms.
const (
	RS256 Algorithm = "RS256" // RSA of 2048 to 8192 bits, PKCS #1 v1.5
	PS256 Algorithm = "PS256" // RSA likewise, PSS
	ES256 Algorithm = "ES256" // ECDSA on P-256
	EdDSA Algorithm = "EdDSA" // Ed25519
)

// Algorithms returns all of them.
func Algorithms() []Algorithm { return []Algorithm{RS256, PS256, ES256, EdDSA} }

// Bounds on what a provider sends, and on how long things are good.
const (
	MaxToken    = 64 << 10  // bytes of an ID token
	MaxAnswer   = 512 << 10 // bytes of any other answer
	MaxCallback = 8 << 10   // bytes of a callback's query
	MaxKeys     = 64        // of a key set
	MaxGroups   = 1000      // of a user
	MaxLeeway   = 5 * time.Minute

	Patience = 10 * time.Minute // from Begin to Finish
)

// Config says which provider. Name, Issuer, ClientID, Redirect and Scratch are required.
type Config struct {
	// Name stands before groups ("corp:operators") and the names of people: 1 to 32 lower-case letters, digits and hyphens, a letter first. No
	// two providers share one, and it is as lasting as the bindings that have it.
	Name string

	Issuer   string        // the provider's URL, to the letter as its tokens have it
	ClientID string        // ours, at the provider
	Secret   notify.Secret // of the client; empty: it has none, and PKCE is all

	// Redirect is the URL that the browser comes back to, as the provider knows it. Its path is of this provider only.
	Redirect string

	// Scratch keeps what a log-in is compared with until it is finished. If it is lost those log-ins have to begin again.
	Scratch pool.Scratch

	Scopes      []string    // beside openid; nil: profile and email
	Algorithms  []Algorithm // of ID tokens; nil: all
	GroupsClaim string      // the claim with the groups, such as "groups": strings or one string; empty: no groups
	NameClaim   string      // the claim with what somebody is known by, such as "upn"; empty: preferred_username. As "email" it has to be verified
	Userinfo    bool        // whether to ask the provider's userinfo endpoint for what of name, e-mail and groups the ID token has not

	// Guard says which addresses the provider may have: the public Internet unless it allows more. Redirects are not followed.
	Guard   notify.Guard
	RootCAs *x509.CertPool // who signs its certificate; nil: those that the system trusts
	Timeout time.Duration  // of each request to it; 0: 10 s
	Leeway  time.Duration  // by which its clock may differ from ours, at most MaxLeeway; 0: 1 minute
}

// Provider is a provider of log-ins. It is safe for concurrent use, and starts no goroutines that outlive a call.
type Provider struct {
	c        Config
	redirect *url.URL
	http     *http.Client
	about    *remembered[metadata]
	keys     *remembered[keySet]
}

// New returns the provider. Nothing is asked of it before the first log-in, so that a provider that is away keeps no program from starting.
func New(c Config) (*Provider, error) {
	c.Scopes, c.Algorithms = slices.Clone(c.Scopes), slices.Clone(c.Algorithms)
	if c.Scopes == nil {
		c.Scopes = []string{"profile", "email"}
	}
	if c.Algorithms == nil {
		c.Algorithms = Algorithms()
	}
	if c.NameClaim == "" {
		c.NameClaim = "preferred_username"
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Leeway == 0 {
		c.Leeway = time.Minute
	}
	if err := c.valid(); err != nil {
		return nil, err
	}
	redirect, err := url.Parse(c.Redirect)
	if err != nil {
		return nil, invalid("Redirect", "", "a URL")
	}
	return &Provider{c: c, redirect: redirect, http: newClient(c), about: newRemembered[metadata](), keys: newRemembered[keySet]()}, nil
}

// Name returns Config.Name.
func (p *Provider) Name() string { return p.c.Name }

func (c Config) valid() error {
	switch {
	case !isName(c.Name):
		return invalid("Name", c.Name, "1 to 32 lower-case letters, digits and hyphens, a letter first")
	case !isURL(c.Issuer) || strings.ContainsAny(c.Issuer, "?#"):
		return invalid("Issuer", c.Issuer, "an https URL without query and fragment; http on a loopback address")
	case !isURL(c.Redirect) || strings.Contains(c.Redirect, "#"):
		return invalid("Redirect", c.Redirect, "an https URL without fragment; http on a loopback address")
	case c.ClientID == "" || pool.ValidText(c.ClientID, 255) != nil:
		return invalid("ClientID", c.ClientID, "1 to 255 bytes of text")
	case len(c.Secret.Reveal()) > 1024:
		return invalid("Secret", "", "at most 1024 bytes")
	case c.Scratch == nil:
		return invalid("Scratch", "", "one")
	case len(c.GroupsClaim) > 255 || pool.ValidText(c.GroupsClaim, 255) != nil:
		return invalid("GroupsClaim", c.GroupsClaim, "the name of a claim")
	case slices.Contains(reservedClaims(), c.GroupsClaim):
		return invalid("GroupsClaim", c.GroupsClaim, "a claim that means nothing else")
	case pool.ValidText(c.NameClaim, 255) != nil:
		return invalid("NameClaim", c.NameClaim, "the name of a claim")
	case c.Timeout < 0 || c.Timeout > time.Minute:
		return invalid("Timeout", c.Timeout.String(), "at most a minute")
	case c.Leeway < 0 || c.Leeway > MaxLeeway:
		return invalid("Leeway", c.Leeway.String(), "at most 5 minutes")
	case len(c.Algorithms) == 0:
		return invalid("Algorithms", "", "one at least")
	case len(c.Scopes) > 32:
		return invalid("Scopes", "", "at most 32")
	}
	for _, a := range c.Algorithms {
		if !slices.Contains(Algorithms(), a) {
			return invalid("Algorithms", string(a), "RS256, PS256, ES256 or EdDSA")
		}
	}
	for _, s := range c.Scopes {
		if s == "" || len(s) > 255 || pool.ValidText(s, 255) != nil || strings.ContainsAny(s, ` "\`) {
			return invalid("Scopes", s, "a scope")
		}
		if s == "offline_access" {
			return invalid("Scopes", s, "none that has tokens kept")
		}
	}
	return nil
}

func invalid(field, value, want string) error {
	return &pool.Error{Op: "configure a provider of log-ins", Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
}

func isName(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	return s != "" && len(s) <= 32 && strings.Contains(letters, s[:1]) && strings.Trim(s, letters+"0123456789-") == ""
}

// isURL reports whether something secret may be sent there: https, or a loopback address, where nobody is in between.
func isURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || len(s) > 2048 || u.Hostname() == "" || u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && err == nil && addr.IsLoopback()
}
