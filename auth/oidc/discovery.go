package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	coreos "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/berthage/berthage/pool"
)

// metadata is what a provider says of itself (OpenID Connect Discovery 1.0, section 3), as far as it is used.
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Keys          string   `json:"jwks_uri"`
	Userinfo      string   `json:"userinfo_endpoint"`
	EndSession    string   `json:"end_session_endpoint"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	Responses     []string `json:"response_types_supported"`
	Challenges    []string `json:"code_challenge_methods_supported"`
	Methods       []string `json:"token_endpoint_auth_methods_supported"`
	SendsIssuer   bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207
}

// discovered returns what the provider says of itself.
func (p *Provider) discovered(ctx context.Context) (metadata, error) {
	return p.about.get(ctx, func(metadata) bool { return true }, p.discover)
}

func (p *Provider) discover(ctx context.Context) (metadata, error) {
	const op = "discover the provider"
	found, err := coreos.NewProvider(coreos.ClientContext(ctx, p.http), p.c.Issuer)
	if err != nil {
		var other *coreos.IssuerMismatchError
		if errors.As(err, &other) {
			return metadata{}, p.unavailable(op, "issuer", "the issuer that is configured", nil)
		}
		return metadata{}, p.unavailable(op, "", "", reason(err))
	}
	var (
		raw json.RawMessage
		m   metadata
	)
	if err := found.Claims(&raw); err != nil {
		return metadata{}, p.unavailable(op, "", "", errAnswer)
	}
	if _, ok := readObject(raw); !ok || json.Unmarshal(raw, &m) != nil {
		return metadata{}, p.unavailable(op, "", "", errAnswer)
	}
	if err := p.usable(m); err != nil {
		return metadata{}, err
	}
	return m, nil
}

// usable reports what of a provider's metadata cannot be used.
func (p *Provider) usable(m metadata) error {
	bad := func(field, want string) error { return p.unavailable("discover the provider", field, want, nil) }
	if m.Issuer != p.c.Issuer {
		return bad("issuer", "the issuer that is configured")
	}
	for _, e := range []struct {
		field, url string
		must       bool
	}{
		{"authorization_endpoint", m.Authorization, true},
		{"token_endpoint", m.Token, true},
		{"jwks_uri", m.Keys, true},
		{"userinfo_endpoint", m.Userinfo, p.c.Userinfo},
		{"end_session_endpoint", m.EndSession, false},
	} {
		if (e.must || e.url != "") && !isURL(e.url) {
			return bad(e.field, "an https URL")
		}
	}
	// What a provider does not say of itself it is not held to.
	switch {
	case m.Responses != nil && !slices.Contains(m.Responses, "code"):
		return bad("response_types_supported", "code")
	case m.Challenges != nil && !slices.Contains(m.Challenges, "S256"):
		return bad("code_challenge_methods_supported", "S256")
	case m.Algorithms != nil && !slices.ContainsFunc(m.Algorithms, func(a string) bool { return slices.Contains(p.c.Algorithms, Algorithm(a)) }):
		return bad("id_token_signing_alg_values_supported", "one of the algorithms that are configured")
	}
	if _, ok := p.style(m); !ok {
		return bad("token_endpoint_auth_methods_supported", "client_secret_basic or client_secret_post, or none without a secret")
	}
	return nil
}

// style returns how the client shows who it is. It is not tried out, since a code is good once.
func (p *Provider) style(m metadata) (oauth2.AuthStyle, bool) {
	has := func(method string) bool { return slices.Contains(m.Methods, method) }
	switch {
	case p.c.Secret.Empty():
		return oauth2.AuthStyleInParams, m.Methods == nil || has("none")
	case m.Methods == nil || has("client_secret_basic"): // which is the default
		return oauth2.AuthStyleInHeader, true
	}
	return oauth2.AuthStyleInParams, has("client_secret_post")
}

// client returns the client as golang.org/x/oauth2 has it.
func (p *Provider) client(m metadata) oauth2.Config {
	style, _ := p.style(m)
	return oauth2.Config{
		ClientID: p.c.ClientID, ClientSecret: p.c.Secret.Reveal(), RedirectURL: p.c.Redirect, Scopes: append([]string{coreos.ScopeOpenID}, p.c.Scopes...),
		Endpoint: oauth2.Endpoint{AuthURL: m.Authorization, TokenURL: m.Token, AuthStyle: style},
	}
}

// get asks the provider for something in JSON, with an access token if there is one.
func (p *Provider) get(ctx context.Context, url, access string) (object, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, errAnswer
	}
	req.Header.Set("Accept", "application/json")
	if access != "" {
		req.Header.Set("Authorization", "Bearer "+access)
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, reason(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, reason(err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: status %d", errStatus, resp.StatusCode)
	}
	o, ok := readObject(body)
	if !ok {
		return nil, errAnswer
	}
	return o, nil
}

// Logout returns where to send the browser to be signed out at the provider too (OpenID Connect RP-Initiated Logout 1.0), and from there to
// back, which the provider has to know; without back it stays there. Empty: the provider has no such place. The provider is not told who: no token
// of it is kept, so that it may ask the user.
func (p *Provider) Logout(ctx context.Context, back string) (string, error) {
	if back != "" && !isURL(back) {
		return "", &pool.Error{Op: "sign out", Kind: pool.ErrInvalid, Field: "back", Value: back, Want: "an https URL; http on a loopback address"}
	}
	m, err := p.discovered(ctx)
	if err != nil || m.EndSession == "" {
		return "", err
	}
	to, err := url.Parse(m.EndSession)
	if err != nil {
		return "", err
	}
	q := to.Query()
	q.Set("client_id", p.c.ClientID)
	if back != "" {
		q.Set("post_logout_redirect_uri", back)
	}
	to.RawQuery = q.Encode()
	return to.String(), nil
}
