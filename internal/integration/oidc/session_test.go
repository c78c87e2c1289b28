package oidc_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/oidc"
	"github.com/berthage/berthage/auth/session"
	"github.com/berthage/berthage/pool"
)

// From the provider's page to what somebody may: log-in, principal, session, and a decision by what the group is bound to.
func TestFromLoginToDecision(t *testing.T) {
	t.Parallel()
	require.Equal(t, session.MaxGroups, oidc.MaxHeld)
	r := start(t)
	s, revision := auth.New(nil), pool.Revision(0)
	state := func(context.Context) (*auth.State, error) { return s, nil }
	commit := func(_ context.Context, c auth.Command) error {
		raw, err := json.Marshal(c)
		if err != nil {
			return err
		}
		events, err := s.Decide(nil, raw, time.Now())
		for n := range events {
			revision++
			events[n].Revision = revision
			p, err := s.Fold(&events[n])
			if err != nil {
				return err
			}
			s = p.(*auth.State)
		}
		return err
	}
	require.NoError(t, commit(t.Context(), auth.Command{Program: true, Bind: &auth.Binding{
		ID: "ops", Group: "corp:operators", Role: auth.Operator, Scope: auth.Scope{Project: "web"},
	}}))
	keys := session.Keys{session.NewKey(session.EdDSA, time.Now())}
	sessions, err := session.New(session.Config{
		Issuer: "https://berthage.example", Audience: "berthage", State: state, Scratch: pool.NewMemoryScratch(),
		Keys: func(context.Context) (session.Keys, error) { return keys, nil },
	})
	require.NoError(t, err)

	claims, err := login(t, r.provider(t, "basic"), "ada")
	require.NoError(t, err)
	who, err := oidc.People{State: state, Commit: commit}.Enter(t.Context(), claims)
	require.NoError(t, err)
	pair, err := sessions.Begin(t.Context(), who)
	require.NoError(t, err)
	again, err := sessions.Authenticate(t.Context(), auth.Credential{Bearer: pair.Access})
	require.NoError(t, err)
	require.Equal(t, who.Groups, again.Groups)
	may := func(project string) bool {
		alone := func(project string) []string { return []string{project} }
		return s.Access(alone, auth.Request{By: again, Verb: auth.Operate, Thing: auth.Thing{Resource: auth.Instances, Project: project}}, time.Now()).Allowed
	}
	require.True(t, may("web"))
	require.False(t, may("shop"))
	require.NoError(t, commit(t.Context(), auth.Command{Program: true, Unbind: "ops"}))
	require.False(t, may("web"))
	require.NoError(t, commit(t.Context(), auth.Command{Program: true, Disable: who.Principal}))
	_, err = sessions.Authenticate(t.Context(), auth.Credential{Bearer: pair.Access})
	require.ErrorIs(t, err, auth.ErrUnauthenticated)
	_, err = oidc.People{State: state, Commit: commit}.Enter(t.Context(), claims)
	require.ErrorIs(t, err, auth.ErrUnauthenticated)
}
