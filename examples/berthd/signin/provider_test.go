package signin_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/oidc"
	"github.com/berthage/berthage/examples/berthd/signin"
)

// Who was never here is let in as the configuration says; who is here already always is, unless they are disabled.
func TestNewcomers(t *testing.T) {
	t.Parallel()
	member := oidc.Claims{Provider: "corp", Issuer: "https://id.example", Subject: "1", Username: "ada", Groups: []string{"corp:operators"}}
	visitor := oidc.Claims{Provider: "corp", Issuer: "https://id.example", Subject: "2", Username: "eve", Groups: []string{"corp:visitors", "operators"}}
	for _, tc := range []struct {
		new             signin.Newcomers
		member, visitor bool
	}{
		{"", true, false}, {signin.NewBound, true, false}, {signin.NewAnybody, true, true}, {signin.NewNobody, false, false},
	} {
		require.True(t, tc.new.Valid())
		for _, c := range []struct {
			claims oidc.Claims
			in     bool
		}{{member, tc.member}, {visitor, tc.visitor}} {
			name := fmt.Sprint(tc.new, c.claims.Username)
			r := start(t)
			require.NoError(t, r.do(auth.Command{Bind: &auth.Binding{ID: "b", Group: "corp:operators", Role: auth.Operator, Scope: auth.Scope{Everything: true}}}))
			p := signin.Provider{New: tc.new}
			before := r.revision
			who, err := r.Enter(t.Context(), p, c.claims)
			if !c.in {
				require.ErrorIs(t, err, auth.ErrUnauthenticated, name)
				require.Equal(t, before, r.revision, "nothing is written")
				put := c.claims.Principal()
				require.NoError(t, r.do(auth.Command{Put: &put}))
				who, err = r.Enter(t.Context(), p, c.claims)
			}
			require.NoError(t, err, name)
			require.Equal(t, c.claims.ID(), who.Principal)
			require.Equal(t, c.claims.Groups, who.Groups)
			require.NoError(t, r.do(auth.Command{Unbind: "b"}))
			_, err = r.Enter(t.Context(), p, c.claims)
			require.NoError(t, err, "who is here is, with a role or without one")
			require.NoError(t, r.do(auth.Command{Disable: who.Principal}))
			_, err = r.Enter(t.Context(), p, c.claims)
			require.ErrorIs(t, err, auth.ErrUnauthenticated, name)
			r.down = errors.New("lost")
			_, err = r.Enter(t.Context(), p, c.claims)
			require.ErrorIs(t, err, r.down, name)
		}
	}
	require.False(t, signin.Newcomers("all").Valid())
}
