package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

// issue gives a principal an API token.
func (b *books) issue(principal string, life time.Duration, limits ...auth.Limit) (string, auth.Token) {
	b.t.Helper()
	text, token, err := auth.NewToken("test")
	require.NoError(b.t, err)
	token.Principal, token.Limits, token.Expires = principal, limits, b.now.Add(life)
	b.do(auth.Command{Token: &token})
	return text, token
}

func (b *books) state(context.Context) (*auth.State, error) { return b.auth(), nil }

func reasonOf(t *testing.T, err error) auth.Reason {
	t.Helper()
	var no *auth.Refusal
	require.ErrorAs(t, err, &no)
	return no.Reason
}

func TestTokenText(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 1000 {
		text, token, err := auth.NewToken("bth2")
		require.NoError(t, err)
		require.Regexp(t, `^bth2_[a-z2-7]{16}_[a-z2-7]{59}$`, text)
		prefix, id, ok := auth.ParseToken(text)
		require.True(t, ok)
		require.Equal(t, "bth2", prefix)
		require.Equal(t, token.ID, id)
		require.NotContains(t, text, token.Hash)
		require.False(t, seen[text] || seen[id])
		seen[text], seen[id] = true, true
	}
	text, _, err := auth.NewToken("bth")
	require.NoError(t, err)
	for n := range text {
		changed := []byte(text)
		changed[n] = 'a' + (changed[n]-'a'+1)%26
		_, _, ok := auth.ParseToken(string(changed))
		require.False(t, ok, "one character changed is seen by the checksum: %s", changed)
	}
	for _, bad := range []string{"", "_", "__", text + "a", text[1:], text[:len(text)-1], strings.ToUpper(text), " " + text, text + "\n", strings.Repeat("a", 1<<20), strings.Replace(text, "_", "-", 1)} {
		_, _, ok := auth.ParseToken(bad)
		require.False(t, ok)
	}
	for _, bad := range []string{"", "b", "2b", "B2", "b_h", "b h", strings.Repeat("b", 25)} {
		_, _, err := auth.NewToken(bad)
		require.ErrorIs(t, err, pool.ErrInvalid, bad)
	}
}

func TestAPITokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := company(t)
		b.now = time.Now()
		text, token := b.issue("uma", 48*time.Hour, auth.Limit{Role: auth.User, Scope: in("web")})
		other, _, err := auth.NewToken("test")
		require.NoError(t, err)
		scratch := pool.NewMemoryScratch()
		a := auth.APITokens{Prefix: "test", State: b.state, Used: scratch}
		try := func(text string) (auth.Identity, error) {
			return a.Authenticate(t.Context(), auth.Credential{Bearer: text})
		}

		who, err := try(text)
		require.NoError(t, err)
		require.Equal(t, auth.Identity{Principal: "uma", Limits: token.Limits, Generation: b.whole("uma").Generation, Token: token.ID, Expires: token.Expires.UTC().Truncate(time.Second)}, who)
		now := b.now
		allowed := func() auth.Reason {
			return b.auth().Access(lineage(tree()), auth.Request{By: who, Verb: auth.Create, Thing: auth.Thing{Resource: auth.Instances, Project: "web", Owner: "uma"}}, now).Reason
		}
		require.Empty(t, allowed())

		at, err := a.LastUsed(t.Context(), token.ID)
		require.NoError(t, err)
		require.Equal(t, b.now.UTC().Truncate(time.Hour), at)
		time.Sleep(90 * time.Minute)
		_, err = try(text)
		require.NoError(t, err)
		later, err := a.LastUsed(t.Context(), token.ID)
		require.NoError(t, err)
		require.Equal(t, time.Hour, later.Sub(at))
		never, err := a.LastUsed(t.Context(), "aaaaaaaaaaaaaaaa")
		require.NoError(t, err)
		require.Zero(t, never)

		_, err = try(other)
		require.Equal(t, auth.BadCredentials, reasonOf(t, err), "well-formed, and nobody's")
		for _, bad := range []string{"", "x", text + "x", strings.Replace(text, "test_", "toast_", 1)} {
			_, err = try(bad)
			require.ErrorIs(t, err, auth.ErrUnauthenticated)
			require.ErrorIs(t, err, errors.Unwrap(firstCause(auth.NotMine())), "another's form")
		}

		b.do(auth.Command{Set: &auth.SetPassword{Principal: "uma", Hash: argon()}})
		who, err = try(text)
		require.NoError(t, err, "another password leaves API tokens as they are")
		b.do(auth.Command{Disable: "uma"})
		_, err = try(text)
		require.Equal(t, auth.Disabled, reasonOf(t, err))
		b.do(auth.Command{Enable: "uma"})
		who, err = try(text)
		require.NoError(t, err)
		require.Empty(t, allowed())
		now = token.Expires
		require.Equal(t, auth.Expired, allowed(), "whoever holds a stream open is asked again")
		now = b.now
		b.do(auth.Command{Revoke: token.ID})
		require.Equal(t, auth.Revoked, allowed())
		_, err = try(text)
		require.Equal(t, auth.BadCredentials, reasonOf(t, err))

		text, _ = b.issue("bot", 4*time.Hour, auth.Limit{Role: auth.User, Scope: in("web")})
		time.Sleep(4 * time.Hour)
		_, err = try(text)
		require.Equal(t, auth.Expired, reasonOf(t, err))
	})
}

// firstCause returns an error whose only wrapped one is the cause that marks another Authenticator's credentials.
func firstCause(err error) error {
	var no *auth.Refusal
	if errors.As(err, &no) {
		return fmt.Errorf("%w", no.Cause)
	}
	return nil
}

func TestStaticTokens(t *testing.T) {
	t.Parallel()
	b := company(t)
	const text = "a-static-token-of-more-than-32-bytes"
	a, err := auth.NewStaticTokens(map[string]auth.Identity{
		text: {Principal: "root", Whole: true}, text + "2": {Principal: "uma", Limits: []auth.Limit{{Role: auth.Viewer, Scope: in("web")}}}, text + "3": {Principal: "ghost"},
	}, b.state)
	require.NoError(t, err)
	try := func(text string) (auth.Identity, error) {
		return a.Authenticate(t.Context(), auth.Credential{Bearer: text})
	}
	b.do(auth.Command{Reset: "root"})
	who, err := try(text)
	require.NoError(t, err)
	require.Equal(t, b.whole("root"), who)
	who, err = try(text + "2")
	require.NoError(t, err)
	require.False(t, who.Whole)
	_, err = try(text + "3")
	require.Equal(t, auth.NoPrincipal, reasonOf(t, err))
	for _, bad := range []string{"", text[1:], text + " ", strings.ToUpper(text)} {
		_, err = try(bad)
		require.ErrorIs(t, err, auth.ErrUnauthenticated)
	}
	_, err = auth.NewStaticTokens(map[string]auth.Identity{"canary": {Principal: "root"}}, b.state)
	require.ErrorIs(t, err, pool.ErrInvalid)
	require.NotContains(t, err.Error(), "canary")
	_, err = auth.NewStaticTokens(map[string]auth.Identity{text: {}}, b.state)
	require.ErrorIs(t, err, pool.ErrInvalid)

	broken := errors.New("the store is gone")
	a, err = auth.NewStaticTokens(map[string]auth.Identity{text: {Principal: "root", Whole: true}}, func(context.Context) (*auth.State, error) { return nil, broken })
	require.NoError(t, err)
	_, err = try(text)
	require.ErrorIs(t, err, broken)
}

// TestFirstOf: each looks at its own form; whoever cannot find out keeps the others from being asked.
func TestFirstOf(t *testing.T) {
	t.Parallel()
	b := company(t)
	b.now = time.Now()
	text, _ := b.issue("uma", time.Hour, auth.Limit{Role: auth.User, Scope: in("web")})
	const fixed = "a-static-token-of-more-than-32-bytes"
	static, err := auth.NewStaticTokens(map[string]auth.Identity{fixed: {Principal: "root", Whole: true}}, b.state)
	require.NoError(t, err)
	api := auth.APITokens{Prefix: "test", State: b.state}
	a := auth.FirstOf(api, static)
	try := func(text string) (string, error) {
		who, err := a.Authenticate(t.Context(), auth.Credential{Bearer: text})
		return who.Principal, err
	}
	who, err := try(text)
	require.NoError(t, err)
	require.Equal(t, "uma", who)
	who, err = try(fixed)
	require.NoError(t, err)
	require.Equal(t, "root", who)
	_, err = try("")
	require.Equal(t, auth.NoCredentials, reasonOf(t, err))
	_, err = try("something else")
	require.Equal(t, auth.BadCredentials, reasonOf(t, err))
	_, err = auth.FirstOf().Authenticate(t.Context(), auth.Credential{Bearer: fixed})
	require.ErrorIs(t, err, auth.ErrUnauthenticated)

	broken := errors.New("the store is gone")
	api.State = func(context.Context) (*auth.State, error) { return b.auth(), broken }
	a = auth.FirstOf(api, static)
	_, err = try(text)
	require.ErrorIs(t, err, broken)
}

// TestAPITokensFailClosed: whichever call of the store fails, nobody gets in.
func TestAPITokensFailClosed(t *testing.T) {
	t.Parallel()
	b := company(t)
	b.now = time.Now()
	text, _ := b.issue("uma", time.Hour, auth.Limit{Role: auth.User, Scope: in("web")})
	everyCall(t, func(s pool.Scratch) error {
		_, err := auth.APITokens{Prefix: "test", State: b.state, Used: s}.Authenticate(t.Context(), auth.Credential{Bearer: text})
		return err
	})
	conflict := &faulty{Scratch: pool.NewMemoryScratch(), fail: 2, bad: &pool.Error{Kind: pool.ErrConflict}}
	_, err := auth.APITokens{Prefix: "test", State: b.state, Used: conflict}.Authenticate(t.Context(), auth.Credential{Bearer: text})
	require.NoError(t, err, "somebody else has noted it")
}

// everyCall does something again and again, each time with another call of the store failing in each way that it can, until it is done
// without reaching it. It must fail each time but the last.
func everyCall(t *testing.T, do func(pool.Scratch) error) {
	t.Helper()
	calls := 0
	for _, bad := range []error{&pool.Error{Kind: pool.ErrUnavailable}, &pool.Error{Kind: pool.ErrUnknown}, context.DeadlineExceeded} {
		for n := 1; ; n++ {
			s := &faulty{Scratch: pool.NewMemoryScratch(), fail: n, bad: bad}
			err := do(s)
			if s.calls < n {
				require.NoError(t, err)
				break
			}
			calls++
			require.ErrorIs(t, err, bad, "call %d", n)
		}
	}
	require.NotZero(t, calls)
	for n := 1; ; n++ {
		s := &faulty{Scratch: pool.NewMemoryScratch(), fail: n, junk: true}
		err := do(s)
		if s.calls < n {
			return
		}
		if err != nil {
			require.ErrorIs(t, err, pool.ErrCorrupt)
		}
	}
}

// TestNothingSecretIsShown: credentials that are printed, logged or put into an error by mistake are no loss.
func TestNothingSecretIsShown(t *testing.T) {
	t.Parallel()
	c := auth.Credential{Bearer: "canary"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("in", "credential", c)
	j, err := json.Marshal(c)
	require.NoError(t, err)
	set, second := auth.SetPassword{Hash: "canary"}, auth.SetSecond{Secret: []byte("canary"), Recovery: []string{"canary"}}
	command := auth.Command{Set: &set, Second: &second}
	kept := []any{set, second, command, auth.Password{Hash: "canary"}, auth.SecondFactor{Secret: []byte("canary")}}
	for _, v := range kept {
		require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", v, v, v, v), "canary")
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", v, v, v), "99 97 110")
	}
	for _, shown := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %s %q", c, c, c, c), log.String(), string(j)} {
		require.NotContains(t, shown, "canary")
	}
	a := auth.FirstOf(auth.APITokens{Prefix: "test", State: company(t).state})
	for _, text := range []string{"canary", "test_canary_canary", "test_aaaaaaaaaaaaaaaa_" + strings.Repeat("canary", 9) + "aaaaa"} {
		_, err := a.Authenticate(t.Context(), auth.Credential{Bearer: text})
		require.Error(t, err)
		require.NotContains(t, fmt.Sprintf("%v %+v", err, err), "canary")
	}
}
