package oidc_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

// Whatever a browser comes back with, it is let in with its own state and code and with nothing else, and no error shows what it has brought.
// STATE and CODE stand for the right ones.
func FuzzCallback(f *testing.F) {
	for _, q := range []string{
		"code=CODE&state=STATE", "code=CODE&state=STATE&iss=x", "state=STATE&code=CODE&code=CODE", "error=access_denied&state=STATE", "code=x&state=STATE", "code=CODE&state=",
		"%zz", "a;b", "code=CODE&state=STATE&id_token=x", "state=STATE&state=STATE", "CODE=code", "code=%00&state=STATE", "code=CODE&state=%53TATE",
	} {
		f.Add("/login/corp", q)
	}
	f.Add("/login/corp/", "code=CODE&state=STATE")
	f.Add("//login/corp", "code=CODE&state=STATE")
	i := startIssuer(f, httptest.NewServer) // one for all, since most is not about it
	i.document = func(d map[string]any) { delete(d, "authorization_response_iss_parameter_supported") }
	p := i.provider()
	f.Fuzz(func(t *testing.T, path, query string) {
		i.t, i.said = t, nil
		to, pending, err := p.Begin(t.Context())
		require.NoError(t, err)
		back := i.authorize(to)
		right := back.Query()
		back.Path, back.RawPath = path, ""
		back.RawQuery = strings.NewReplacer("STATE", right.Get("state"), "CODE", right.Get("code")).Replace(query)
		c, err := p.Finish(t.Context(), pending, back)
		if err == nil {
			require.Equal(t, "u-1", c.Subject)
			q := back.Query()
			require.Equal(t, []string{right.Get("state")}, q["state"])
			require.Equal(t, []string{right.Get("code")}, q["code"])
			require.Equal(t, "/login/corp", back.EscapedPath())
			require.NotContains(t, q, "error")
			return
		}
		require.Zero(t, c)
		require.ErrorIs(t, err, auth.ErrUnauthenticated)
		silent(t, err, i.secrets())
	})
}

// Whatever stands in a token that the provider has signed, it is about its subject and for this log-in, or refused.
func FuzzToken(f *testing.F) {
	const rest = `"iss":"ISS","aud":"berthage","exp":EXP,"iat":IAT,"nonce":"NONCE"`
	for _, claims := range []string{
		`{"sub":"u-1",` + rest + `}`, `{"sub":"u-1","Sub":"root",` + rest + `}`, `{"sub":"u-1","sub":"root",` + rest + `}`, `{"sub":"u-1",` + rest + `,"iss":"x"}`, `{}`, `[]`, `null`,
		`{"sub":"u-1",` + rest + `,"aud":["x"]}`, `{"sub":"u-1","groups":["a",null],` + rest + `}`, `{"s\u0075b":"u-1",` + rest + `} {}`, `{"sub":"u-1","_claim_names":{"a":"b"},` + rest + `}`,
	} {
		f.Add(`{"alg":"ES256","kid":"k1"}`, claims)
	}
	for _, header := range []string{`{"alg":"none"}`, `{"alg":"ES256","crit":["exp"]}`, `{"alg":"ES256","ALG":"none"}`, `{"alg":"ES256","kid":null}`, `{"alg":"ES256","typ":"at+jwt"}`} {
		f.Add(header, `{"sub":"u-1",`+rest+`}`)
	}
	i := startIssuer(f, httptest.NewServer)
	p := i.provider()
	f.Fuzz(func(t *testing.T, header, claims string) {
		i.t, i.said = t, nil
		i.token = func(_, right []byte) string {
			var o map[string]any
			require.NoError(t, json.Unmarshal(right, &o))
			return i.keys[0].sign([]byte(header), []byte(strings.NewReplacer(
				"ISS", i.URL, "NONCE", o["nonce"].(string), "EXP", string(mustJSON(o["exp"])), "IAT", string(mustJSON(o["iat"]))).Replace(claims)))
		}
		c, err := login(t.Context(), i, p)
		if err != nil {
			require.Zero(t, c)
			require.NotErrorIs(t, err, pool.ErrUnavailable)
			silent(t, err, i.secrets())
			return
		}
		require.NotEmpty(t, c.Subject)
		require.Equal(t, i.URL, c.Issuer)
		require.Contains(t, claims, "NONCE")
		require.Contains(t, claims, "ISS")
		for _, g := range c.Groups {
			require.True(t, strings.HasPrefix(g, "corp:"), g)
		}
		require.NoError(t, c.Principal().Valid())
	})
}
