package oidc

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

// Claims is what a provider says of somebody who has logged in. What names them is personal; printed, Claims show the id only.
type Claims struct {
	Provider string // Config.Name
	Issuer   string
	Subject  string // who it is there, for good: not a name

	// Name is what they are called, and Username what they are known by; both are theirs to change, and can be anybody's. Email is an address that
	// the provider has verified. All are empty where the provider does not say, or says what cannot be printed.
	Name, Username, Email string

	// Groups are what they are in, each behind the provider's name, such as "corp:operators"; in order, each once. What no binding could name,
	// being empty, too long or not printable, is left out.
	Groups []string
}

// String returns the id.
func (c Claims) String() string { return "[" + c.ID() + "]" }

// GoString is String.
func (c Claims) GoString() string { return c.String() }

// ID is the principal's: "oidc-" and 160 bits, in base32, of the SHA-256 of the issuer, a zero byte and the subject. It depends on nothing that
// anybody can change. It is no secret, and says who it is to whoever can guess the subject.
func (c Claims) ID() string {
	sum := sha256.Sum256([]byte(c.Issuer + "\x00" + c.Subject))
	return "oidc-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:20]))
}

// claims returns what is said of the one who has logged in, by the ID token and, if it is to be asked, by the userinfo endpoint.
func (p *Provider) claims(ctx context.Context, m metadata, token object, t *oauth2.Token) (Claims, error) {
	c, err := p.read(token)
	if err != nil || !p.c.Userinfo {
		return c, err
	}
	if !strings.EqualFold(t.Type(), "Bearer") {
		return Claims{}, refused(BadUserinfo)
	}
	info, err := p.get(ctx, m.Userinfo, t.AccessToken)
	if errors.Is(err, errAnswer) {
		return Claims{}, refused(BadUserinfo)
	}
	if err != nil {
		return Claims{}, p.unavailable("ask for the user at", "", "", err)
	}
	more, err := p.read(info)
	if err != nil {
		return Claims{}, err
	}
	if more.Subject != c.Subject { // OpenID Connect Core 1.0, section 5.3.2
		return Claims{}, refused(WrongSubject)
	}
	// What the token says counts. An address is taken with the word that it is verified, never from one and the other.
	c.Name, c.Username, c.Email = cmp.Or(c.Name, more.Name), cmp.Or(c.Username, more.Username), cmp.Or(c.Email, more.Email)
	if token[p.c.GroupsClaim] == nil {
		c.Groups = more.Groups
	}
	return c, nil
}

// read reads who it is, what is personal, and the groups.
func (p *Provider) read(o object) (Claims, error) {
	c := Claims{Provider: p.c.Name, Issuer: p.c.Issuer}
	c.Subject, _ = o.text("sub", maxSubject)
	c.Name = o.printable("name", 128)
	c.Username = o.printable(p.c.NameClaim, 128)
	if email := o.printable("email", 254); bytes.Equal(o["email_verified"], []byte("true")) && strings.Contains(email, "@") {
		c.Email = email
	}
	if p.c.NameClaim == "email" {
		c.Username = c.Email
	}
	if p.c.GroupsClaim == "" {
		return c, nil
	}
	groups, ok := o.texts(p.c.GroupsClaim)
	if !ok {
		return Claims{}, refused(BadClaims)
	}
	if len(groups) > MaxGroups {
		return Claims{}, refused(TooManyGroups)
	}
	for _, g := range groups {
		if whole := p.c.Name + ":" + g; g != "" && pool.ValidText(whole, 255) == nil {
			c.Groups = append(c.Groups, whole)
		}
	}
	slices.Sort(c.Groups)
	c.Groups = slices.Compact(c.Groups)
	return c, nil
}

// Principal returns who it is as package auth knows people. Whoever is to be let in before they have ever logged in is put into the ledger like this,
// of which only the id has to be right.
func (c Claims) Principal() auth.Principal {
	p := auth.Principal{ID: c.ID(), Kind: auth.Person, Name: c.Provider + ":" + c.Username, Email: c.Email}
	if c.Username == "" || p.Valid() != nil {
		p.Name = c.nameless()
	}
	return p
}

// nameless is the name of a principal that can have no other.
func (c Claims) nameless() string { return c.Provider + ":" + c.ID() }
