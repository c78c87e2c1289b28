package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/berthage/berthage/examples/berthd/signin"
)

// OIDC is a provider of OpenID Connect at which people log in. Name, Issuer and ClientID are needed, and Config.PublicURL.
type OIDC struct {
	Name        string         `json:"name"`                         // "corp": stands before its groups and the names of its people
	Label       string         `json:"label,omitempty"`              // what people call it, on the button; empty: the name
	Issuer      string         `json:"issuer"`                       // its URL, to the letter
	ClientID    string         `json:"client_id"`                    // of berthd, there
	SecretFile  string         `json:"client_secret_file,omitempty"` // with the client's secret; empty: it has none
	Scopes      []string       `json:"scopes,omitempty"`             // beside openid; empty: profile and email
	GroupsClaim string         `json:"groups_claim,omitempty"`       // with the groups to which roles are bound; empty: nobody has any
	NameClaim   string         `json:"name_claim,omitempty"`         // with what people are known by; empty: preferred_username
	Userinfo    bool           `json:"userinfo,omitempty"`           // what the ID token has not is asked for at the userinfo endpoint
	New         string         `json:"new,omitempty"`                // who is let in that was never here: bound, anybody or nobody; empty: bound
	Allow       []netip.Prefix `json:"allow,omitempty"`              // networks beside the public Internet in which it may be
	CAFile      string         `json:"ca_file,omitempty"`            // whose certificates are trusted, and no others
}

// checkOIDC reports what cannot work of the providers; auth/oidc checks the rest.
func (c Config) checkOIDC() error {
	if len(c.OIDC) == 0 {
		return nil
	}
	names := make(map[string]bool)
	for i, o := range c.OIDC {
		field := fmt.Sprintf("oidc[%d]", i)
		switch {
		case o.Name == "":
			return fmt.Errorf("%s.name: a name such as corp is needed; it stands before groups and the names of people", field)
		case names[o.Name]:
			return fmt.Errorf("%s.name: %q is that of another provider, whose groups and people it would share", field, o.Name)
		case o.Issuer == "":
			return fmt.Errorf("%s.issuer: an address such as https://id.example/realms/corp is needed", field)
		case o.ClientID == "":
			return fmt.Errorf("%s.client_id: the id that the provider has for berthd is needed", field)
		}
		if !signin.Newcomers(o.New).Valid() {
			return fmt.Errorf("%s.new: %q: bound, anybody or nobody", field, o.New)
		}
		names[o.Name] = true
	}
	u, err := url.Parse(c.PublicURL)
	switch {
	case c.PublicURL == "":
		return fmt.Errorf("oidc needs public-url: where providers send browsers back to, such as https://berthd.example")
	case err != nil || strings.Trim(u.Path, "/") != "":
		return fmt.Errorf("public-url: %q: with oidc an address without a path, such as https://berthd.example", c.PublicURL)
	}
	return nil
}
