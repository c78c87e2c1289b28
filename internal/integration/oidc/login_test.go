package oidc_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/oidc"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// login has somebody log in, in a browser of their own.
func login(t *testing.T, p *oidc.Provider, name string) (oidc.Claims, error) {
	t.Helper()
	to, pending, err := p.Begin(t.Context())
	require.NoError(t, err)
	return p.Finish(t.Context(), pending, newBrowser(t).login(to, name))
}

func TestLogin(t *testing.T) {
	t.Parallel()
	r := start(t)
	for _, client := range []string{"basic", "post", "public", "pss"} {
		got, err := login(t, r.provider(t, client), "ada")
		require.NoError(t, err, client)
		require.Equal(t, oidc.Claims{
			Provider: "corp", Issuer: r.URL, Subject: "ada", Name: "ada of Corp", Username: "ada", Email: "ada@corp.example",
			Groups: []string{"corp:of-ada", "corp:operators"},
		}, got, client)
	}
	mallory, err := login(t, r.provider(t, "basic"), "mallory")
	require.NoError(t, err)
	require.Empty(t, mallory.Email, "which is not verified")
	bare, err := login(t, r.provider(t, "basic", func(c *oidc.Config) { c.Userinfo = false }), "ada")
	require.NoError(t, err)
	require.Equal(t, oidc.Claims{Provider: "corp", Issuer: r.URL, Subject: "ada"}, bare, "claims are at the userinfo endpoint")

	// The same browser again is asked nothing, and is somebody else after signing out there.
	p, b := r.provider(t, "basic"), newBrowser(t)
	for _, name := range []string{"ada", "ada"} {
		to, pending, err := p.Begin(t.Context())
		require.NoError(t, err)
		c, err := p.Finish(t.Context(), pending, b.login(to, name))
		require.NoError(t, err)
		require.Equal(t, name, c.Subject)
	}
	out, err := p.Logout(t.Context(), "https://berthage.example/")
	require.NoError(t, err)
	b.open(out, nil)
	secret := hidden(t, b.page, "xsrf")
	b.submit(url.Values{"xsrf": {secret}, "logout": {"yes"}})
	require.Equal(t, "https://berthage.example/", b.at.String(), b.page)
	to, pending, err := p.Begin(t.Context())
	require.NoError(t, err)
	c, err := p.Finish(t.Context(), pending, b.login(to, "grace"))
	require.NoError(t, err)
	require.Equal(t, "grace", c.Subject)
}

func TestLoginWithClaimsInTheToken(t *testing.T) {
	t.Parallel()
	r := start(t, "CLAIMS=id_token")
	got, err := login(t, r.provider(t, "post", func(c *oidc.Config) { c.Userinfo = false }), "ada")
	require.NoError(t, err)
	require.Equal(t, "ada@corp.example", got.Email)
	require.Equal(t, []string{"corp:of-ada", "corp:operators"}, got.Groups)
}

func hidden(t *testing.T, page, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, `name="`+name+`" value="`)
	require.True(t, ok, page)
	value, _, ok := strings.Cut(rest, `"`)
	require.True(t, ok)
	return value
}

// What a real provider has signed is refused where it is not for us, for this log-in, or as it was signed.
func TestRefused(t *testing.T) {
	t.Parallel()
	r := start(t)
	refused := func(want error, p *oidc.Provider, do func(to string, pending oidc.Pending) (oidc.Pending, *url.URL)) {
		t.Helper()
		to, pending, err := p.Begin(t.Context())
		require.NoError(t, err)
		pending, back := do(to, pending)
		c, err := p.Finish(t.Context(), pending, back)
		r.with(nil)
		require.ErrorIs(t, err, want)
		require.Zero(t, c)
		if _, fault := want.(oidc.Fault); fault {
			require.ErrorIs(t, err, auth.ErrUnauthenticated)
		}
		text := fmt.Sprintf("%v %+v %v", err, err, errors.Unwrap(err))
		for _, s := range append(r.said, string(pending), back.Query().Get("code"), back.Query().Get("state"), "secret-of") {
			if s != "" {
				require.NotContains(t, text, s)
			}
		}
	}
	ada := func(to string, pending oidc.Pending) (oidc.Pending, *url.URL) {
		return pending, newBrowser(t).login(to, "ada")
	}

	// A token of another client.
	var theirs string
	r.with(func(m map[string]any) { theirs = m["id_token"].(string) })
	_, err := login(t, r.provider(t, "other"), "ada")
	require.NoError(t, err)
	r.with(func(m map[string]any) { m["id_token"] = theirs })
	refused(oidc.WrongAudience, r.provider(t, "basic"), ada)

	// A token of an earlier log-in of the same client.
	p := r.provider(t, "basic")
	var earlier string
	r.with(func(m map[string]any) { earlier = m["id_token"].(string) })
	_, err = login(t, p, "ada")
	require.NoError(t, err)
	r.with(func(m map[string]any) { m["id_token"] = earlier })
	refused(oidc.WrongNonce, p, ada)

	// A signature that is broken, and none.
	r.with(func(m map[string]any) {
		s := []byte(m["id_token"].(string))
		at := len(s) - 20
		if s[at]++; s[at] == 'Z'+1 || s[at] == 'z'+1 || s[at] == '9'+1 || s[at] == '.' {
			s[at] = 'A'
		}
		m["id_token"] = string(s)
	})
	refused(oidc.BadSignature, r.provider(t, "basic"), ada)
	r.with(func(m map[string]any) {
		parts := strings.Split(m["id_token"].(string), ".")
		m["id_token"] = "eyJhbGciOiJub25lIn0." + parts[1] + "."
	})
	refused(oidc.BadAlgorithm, r.provider(t, "basic"), ada)
	refused(oidc.BadAlgorithm, r.provider(t, "basic", func(c *oidc.Config) { c.Algorithms = []oidc.Algorithm{oidc.ES256} }), ada)

	// The access token of somebody else, at whose word we would take groups. This provider sends no at_hash, so that it is the subject that tells.
	var graces any
	r.with(func(m map[string]any) { graces = m["access_token"] })
	_, err = login(t, p, "grace")
	require.NoError(t, err)
	r.with(func(m map[string]any) { m["access_token"] = graces })
	refused(oidc.WrongSubject, p, ada)

	// The user says no; a code a second time; one of another log-in; another browser.
	refused(oidc.Denied, p, func(to string, pending oidc.Pending) (oidc.Pending, *url.URL) {
		b := newBrowser(t)
		b.open(to, nil)
		b.open(b.at.String()+"/abort", nil)
		require.Equal(t, "access_denied", b.at.Query().Get("error"))
		return pending, b.at
	})
	swap := func(code func() string) func(to string, pending oidc.Pending) (oidc.Pending, *url.URL) {
		return func(to string, pending oidc.Pending) (oidc.Pending, *url.URL) {
			_, back := ada(to, pending)
			q := back.Query()
			q.Set("code", code())
			back.RawQuery = q.Encode()
			return pending, back
		}
	}
	refused(oidc.Denied, p, swap(func() string {
		to, pending, err := p.Begin(t.Context())
		require.NoError(t, err)
		_, back := ada(to, pending)
		_, err = p.Finish(t.Context(), pending, back)
		require.NoError(t, err)
		return back.Query().Get("code")
	}))
	refused(oidc.Denied, p, swap(func() string { // whose verifier is another
		to, pending, err := p.Begin(t.Context())
		require.NoError(t, err)
		_, back := ada(to, pending)
		return back.Query().Get("code")
	}))
	refused(oidc.WrongState, p, func(to string, pending oidc.Pending) (oidc.Pending, *url.URL) {
		theirs, _, err := p.Begin(t.Context())
		require.NoError(t, err)
		_, back := ada(theirs, pending)
		return pending, back
	})
	refused(pool.ErrUnavailable, r.provider(t, "basic", func(c *oidc.Config) { c.Secret = notify.NewSecret("secret-of-nobody") }), ada)

	// After all of that it still lets in.
	_, err = login(t, p, "ada")
	require.NoError(t, err)
}
