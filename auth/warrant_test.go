package auth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

// admit gives a Warrant to the State as a Manager does.
func (b *books) admit(w any) error {
	b.t.Helper()
	raw, err := json.Marshal(w)
	require.NoError(b.t, err)
	events, err := b.auth().Admit(b.st, raw, b.now)
	require.Empty(b.t, events)
	return err
}

// A Warrant holds as long as who it is of is to be heard and each of its acts is allowed, exactly as Access says.
func TestWarrant(t *testing.T) {
	t.Parallel()
	b := company(t)
	act := func(v auth.Verb, r auth.Resource, project, owner string) auth.Act {
		return auth.Act{Verb: v, Thing: auth.Thing{Resource: r, Project: project, Owner: owner}}
	}
	launch, hosts := act(auth.Create, auth.Instances, "web", "uma"), act(auth.Operate, auth.Hosts, "", "")
	uma := b.whole("uma")
	uma.Expires = b.now.Add(time.Minute)
	late, old, narrow := uma, uma, uma
	late.Expires = b.now
	old.Generation++
	narrow.Whole = false
	for n, c := range []struct {
		by   auth.Identity
		acts []auth.Act
		why  auth.Reason
	}{
		{uma, nil, ""},
		{uma, []auth.Act{launch}, ""},
		{uma, []auth.Act{launch, act(auth.Delete, auth.Instances, "eng", "uma")}, ""},
		{uma, []auth.Act{launch, hosts}, auth.OutOfScope},
		{uma, []auth.Act{hosts, launch}, auth.OutOfScope},
		{uma, []auth.Act{launch, act(auth.Create, auth.Instances, "corp", "uma")}, auth.OutOfScope},
		{uma, []auth.Act{act(auth.Delete, auth.Instances, "eng", "olga")}, auth.NotOwn},
		{uma, []auth.Act{act(auth.Create|auth.Use, auth.Instances, "web", "uma")}, "invalid"},
		{uma, []auth.Act{act(auth.Create, "things", "web", "uma")}, auth.NotInTable},
		{late, nil, auth.Expired},
		{late, []auth.Act{launch}, auth.Expired},
		{old, nil, auth.Revoked},
		{narrow, []auth.Act{launch}, auth.OutOfLimits},
		{auth.Identity{Principal: "none", Whole: true}, nil, auth.NoPrincipal},
		{auth.Identity{}, nil, auth.NoPrincipal},
	} {
		err := b.admit(auth.Warrant{By: c.by, For: c.acts})
		var no *auth.Refusal
		switch {
		case c.why == "":
			require.NoError(t, err, n)
		case errors.As(err, &no):
			require.Equal(t, c.why, no.Reason, n)
		default:
			require.ErrorIs(t, err, pool.ErrInvalid, n)
			require.Equal(t, auth.Reason("invalid"), c.why, n)
		}
	}
	require.NoError(t, b.admit(auth.Warrant{By: uma, For: []auth.Act{launch}}))
	b.do(auth.Command{Disable: "uma"})
	require.ErrorIs(t, b.admit(auth.Warrant{By: uma}), auth.ErrUnauthenticated)
	require.ErrorIs(t, b.admit(auth.Warrant{By: uma, For: make([]auth.Act, auth.MostActs+1)}), pool.ErrInvalid)
	for _, bad := range []string{``, `null`, `7`, `{}`, `{"by":{"principal":"root","whole":true},"all":true}`, `{"by":{"principal":"root","whole":true}} {}`, `{"by":{"principal":"root","whole":true},"for":[{"verb":"read"}]}`, `{"by":{"principal":"root","whole":true},"for":[{}]}`} {
		_, err := b.auth().Admit(b.st, json.RawMessage(bad), b.now)
		require.Error(t, err, bad)
	}
}

// What a State refuses is the same when it comes from elsewhere, but for the cause, which is for the log of whoever refuses.
func TestRefusalsFromElsewhere(t *testing.T) {
	t.Parallel()
	s := auth.New(nil)
	for _, r := range []auth.Refusal{
		{Kind: auth.ErrForbidden, Reason: auth.NotByRole, Verb: auth.Operate, On: auth.Hosts},
		{Kind: auth.ErrForbidden, Reason: auth.OutOfScope, Verb: auth.Delete, On: auth.Instances, Hidden: true},
		{Kind: auth.ErrUnauthenticated, Reason: auth.Expired, Hidden: true},
		{Kind: auth.ErrThrottled, Reason: auth.Throttled, Wait: time.Minute},
	} {
		b := s.WriteError(fmt.Errorf("launch: %w", &r))
		require.NotNil(t, b)
		require.Equal(t, &r, s.ReadError(b))
		with := r
		with.Cause = errors.New("secret")
		require.NotContains(t, string(s.WriteError(&with)), "secret")
	}
	require.Nil(t, s.WriteError(pool.ErrNoRoom))
	for _, bad := range []string{``, `{}`, `{"kind":"allowed"}`, `{"kind":"not allowed","verb":"all"}`, `{"kind":"not allowed","more":1}`} {
		require.Equal(t, &auth.Refusal{Kind: auth.ErrForbidden, Reason: auth.NotInTable, Hidden: true}, s.ReadError(json.RawMessage(bad)), bad)
	}
}

// FuzzWarrant: whatever is read as a Warrant that holds has nothing in it that is not allowed.
func FuzzWarrant(f *testing.F) {
	for _, w := range []auth.Warrant{
		{By: auth.Identity{Principal: "root", Whole: true}, For: []auth.Act{{Verb: auth.Operate, Thing: auth.Thing{Resource: auth.Hosts}}}},
		{By: auth.Identity{Principal: "vic", Whole: true}, For: []auth.Act{{Verb: auth.Create, Thing: auth.Thing{Resource: auth.Instances, Project: "web"}}}},
	} {
		raw, err := json.Marshal(w)
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b := company(t)
		known := b.auth()
		if _, err := known.Admit(b.st, raw, b.now); err != nil {
			return
		}
		var w auth.Warrant
		require.NoError(t, json.Unmarshal(raw, &w))
		require.NoError(t, known.Good(w.By, b.now))
		for _, a := range w.For {
			q := auth.Request{By: w.By, Verb: a.Verb, Thing: a.Thing}
			require.True(t, known.Access(lineage(tree()), q, b.now).Allowed)
		}
	})
}
