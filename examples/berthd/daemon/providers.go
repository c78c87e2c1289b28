package daemon

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/berthage/berthage/auth/oidc"
	"github.com/berthage/berthage/examples/berthd/api"
	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/signin"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// providers makes those at which people log in. Nothing is asked of them before somebody does.
func (d *Daemon) providers() ([]signin.Provider, error) {
	var all []signin.Provider
	for i, o := range d.config.OIDC {
		p, err := d.provider(o)
		if err != nil {
			return nil, fmt.Errorf("oidc[%d].%w", i, err)
		}
		all = append(all, p)
	}
	return all, nil
}

func (d *Daemon) provider(o config.OIDC) (signin.Provider, error) {
	c := oidc.Config{
		Name: o.Name, Issuer: o.Issuer, ClientID: o.ClientID, Redirect: strings.TrimRight(d.config.PublicURL, "/") + api.BackPath(o.Name), Scratch: d.store,
		Scopes: o.Scopes, GroupsClaim: o.GroupsClaim, NameClaim: o.NameClaim, Userinfo: o.Userinfo, Guard: notify.Guard{Allow: o.Allow},
	}
	if o.SecretFile != "" {
		secret, err := config.ReadSecret(o.SecretFile)
		if err != nil {
			return signin.Provider{}, fmt.Errorf("client_secret_file: %w", err)
		}
		c.Secret = notify.NewSecret(secret)
	}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return signin.Provider{}, fmt.Errorf("ca_file: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return signin.Provider{}, fmt.Errorf("ca_file: %s: a certificate in PEM is needed", o.CAFile)
		}
	}
	p, err := oidc.New(c)
	if err != nil {
		return signin.Provider{}, ofFile(err)
	}
	return signin.Provider{Provider: p, Label: cmp.Or(o.Label, o.Name), New: signin.Newcomers(o.New), Secure: strings.HasPrefix(c.Redirect, "https:")}, nil
}

// ofFile says what is wrong with a provider by the names that the file has for it.
func ofFile(err error) error {
	var e *pool.Error
	if !errors.As(err, &e) {
		return err
	}
	names := map[string]string{
		"Name": "name", "Issuer": "issuer", "ClientID": "client_id", "Secret": "client_secret_file", "Scopes": "scopes",
		"GroupsClaim": "groups_claim", "NameClaim": "name_claim", "Redirect": "name, after public-url",
	}
	return fmt.Errorf("%s: %s: %s", cmp.Or(names[e.Field], e.Field), pool.Quote(e.Value), e.Want)
}
