package signin_test

import (
	"context"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/login"
	"github.com/berthage/berthage/auth/session"
	"github.com/berthage/berthage/auth/totp"
	"github.com/berthage/berthage/examples/berthd/signin"
	"github.com/berthage/berthage/pool"
)

const right = "correct horse battery staple"

// rig is a Desk on a State of its own, with ada, who has a password.
type rig struct {
	*signin.Desk
	t        *testing.T
	scratch  *flaky
	mu       sync.Mutex
	state    *auth.State
	revision pool.Revision
	ended    []string // browsers' sessions
	down     error    // of the State
}

// flaky is a Scratch that can be made to fail.
type flaky struct {
	pool.Scratch
	fail error
}

func (f *flaky) Get(ctx context.Context, key string) ([]byte, int64, error) {
	if f.fail != nil {
		return nil, 0, f.fail
	}
	return f.Scratch.Get(ctx, key)
}

func (r *rig) do(c auth.Command) error {
	c.Program = true
	raw, err := json.Marshal(c)
	require.NoError(r.t, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	events, err := r.state.Decide(nil, raw, time.Now())
	if err != nil {
		return err
	}
	r.revision++
	for n := range events {
		events[n].Revision = r.revision
		p, err := r.state.Fold(&events[n])
		require.NoError(r.t, err)
		r.state = p.(*auth.State)
	}
	return nil
}

func (r *rig) known(context.Context) (*auth.State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state, r.down
}

func key(t *testing.T) *signin.Key {
	t.Helper()
	k, err := signin.LoadKey(filepath.Join(t.TempDir(), "signin-key"))
	require.NoError(t, err)
	return k
}

func start(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, scratch: &flaky{Scratch: pool.NewMemoryScratch()}, state: auth.New(nil)}
	keys := session.Keys{session.NewKey(session.EdDSA, time.Now().Add(-time.Hour))}
	sessions, err := session.New(session.Config{
		Issuer: "l", Audience: "l", Scratch: r.scratch, State: r.known, Keys: func(context.Context) (session.Keys, error) { return keys, nil },
	})
	require.NoError(t, err)
	r.Desk, err = signin.New(signin.Config{
		State: r.known, Scratch: r.scratch, Key: key(t), Sessions: sessions,
		Commit: func(_ context.Context, c auth.Command) error { return r.do(c) },
		End:    func(_ context.Context, key string) error { r.ended = append(r.ended, key); return nil },
	})
	require.NoError(t, err)
	require.NoError(t, r.do(auth.Command{Put: &auth.Principal{ID: "u1", Kind: auth.Person, Name: "ada"}}))
	hash, err := r.Hash(t.Context(), right)
	require.NoError(t, err)
	require.NoError(t, r.do(auth.Command{Set: &auth.SetPassword{Principal: "u1", Hash: hash}}))
	return r
}

func from(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }

func (r *rig) in(name, password, code string) (auth.Identity, error) {
	return r.LogIn(r.t.Context(), login.Attempt{Name: name, Password: password, Code: code, From: from(1)})
}

func TestLoggingIn(t *testing.T) {
	t.Parallel()
	r := start(t)
	for _, name := range []string{"ada", "u1"} {
		who, err := r.in(name, right, "")
		require.NoError(t, err, name)
		require.Equal(t, "u1", who.Principal)
		require.True(t, who.Whole)
	}
	for _, wrong := range [][2]string{{"ada", "wrong"}, {"u1", "wrong"}, {"bob", right}, {"", right}, {"ada", ""}} {
		_, err := r.in(wrong[0], wrong[1], "")
		var no *auth.Refusal
		require.ErrorAs(t, err, &no, wrong)
		require.Equal(t, auth.BadCredentials, no.Reason)
	}
	r.down = errors.New("gone")
	_, err := r.in("ada", right, "")
	require.ErrorIs(t, err, r.down)
}

// A name and an id are one account: guessing by both is not faster.
func TestNameAndIDAreOneAccount(t *testing.T) {
	t.Parallel()
	r := start(t)
	for n := range 20 {
		_, err := r.in([]string{"ada", "u1"}[n%2], "wrong", "")
		if errors.Is(err, auth.ErrThrottled) {
			require.Equal(t, 5, n)
			return
		}
	}
	t.Fatal("never throttled")
}

func TestConfirming(t *testing.T) {
	t.Parallel()
	r := start(t)
	ok, err := r.Confirm(t.Context(), "u1", right, from(2))
	require.NoError(t, err)
	require.True(t, ok)
	for range 5 {
		ok, err = r.Confirm(t.Context(), "u1", "wrong", from(3))
		require.NoError(t, err)
		require.False(t, ok)
	}
	_, err = r.Confirm(t.Context(), "u1", right, from(3))
	require.ErrorIs(t, err, auth.ErrThrottled)
}

func TestASecondFactor(t *testing.T) {
	t.Parallel()
	r := start(t)
	p, _ := r.state.Principal("u1")
	_, _, err := r.Complete(t.Context(), "u1", "123456")
	require.ErrorIs(t, err, pool.ErrWrongState)

	_, err = r.NewSecond(t.Context(), p)
	require.NoError(t, err)
	second, err := r.NewSecond(t.Context(), p)
	require.NoError(t, err, "one begins again as often as one likes")
	u, err := url.Parse(second.URI)
	require.NoError(t, err)
	require.Equal(t, "/berthd:ada", u.Path)
	require.Equal(t, second.Secret, u.Query().Get("secret"))
	require.NotContains(t, fmt.Sprint(second), second.Secret)
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(second.Secret)
	require.NoError(t, err)

	_, _, err = r.Complete(t.Context(), "u1", "abcdef")
	require.ErrorIs(t, err, pool.ErrInvalid)
	now := time.Now()
	c, codes, err := r.Complete(t.Context(), "u1", totp.Params{}.Code(secret, now))
	require.NoError(t, err)
	require.Len(t, codes, 10)
	require.NotContains(t, string(c.Second.Secret), string(secret), "it is sealed")
	require.NoError(t, r.do(c))
	_, _, err = r.Complete(t.Context(), "u1", totp.Params{}.Code(secret, now))
	require.ErrorIs(t, err, pool.ErrWrongState, "it is complete")

	for code, ok := range map[string]bool{"": false, totp.Params{}.Code(secret, now): false, totp.Params{}.Code(secret, now.Add(30*time.Second)): true, codes[0]: true} {
		_, err := r.in("ada", right, code)
		require.Equal(t, ok, err == nil, "%v: %v", code, err)
	}
	_, err = r.in("ada", right, codes[0])
	require.Error(t, err, "none works twice")

	// Somebody else's sealed secret is nobody's.
	require.NoError(t, r.do(auth.Command{Put: &auth.Principal{ID: "u2", Kind: auth.Person, Name: "eve"}}))
	hash, err := r.Hash(t.Context(), right)
	require.NoError(t, err)
	require.NoError(t, r.do(auth.Command{Set: &auth.SetPassword{Principal: "u2", Hash: hash}}))
	c.Second.Principal = "u2"
	require.NoError(t, r.do(c))
	_, err = r.in("eve", right, codes[1])
	require.ErrorIs(t, err, pool.ErrCorrupt)
}

func TestSessions(t *testing.T) {
	t.Parallel()
	r := start(t)
	ctx := t.Context()
	who, err := r.in("ada", right, "")
	require.NoError(t, err)
	all, err := r.Sessions(ctx, "u1")
	require.NoError(t, err)
	require.Empty(t, all)

	pair, err := r.Begin(ctx, who, signin.Origin{Address: "192.0.2.1", Agent: strings.Repeat("ä", 300)})
	require.NoError(t, err)
	require.NoError(t, r.Note(ctx, "u1", signin.Session{ID: "b1", Browser: "key/b1", Ends: time.Now().Add(time.Hour)}))
	require.NoError(t, r.Note(ctx, "u1", signin.Session{ID: "gone", Browser: "key/gone", Ends: time.Now().Add(-time.Second)}))
	all, err = r.Sessions(ctx, "u1")
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, pair.Session, all[0].ID)
	require.Equal(t, strings.Repeat("ä", 200), all[0].Agent)
	id, err := r.Of(ctx, pair.Access)
	require.NoError(t, err)
	require.Equal(t, pair.Session, id)

	next, err := r.Refresh(ctx, pair.Refresh)
	require.NoError(t, err)
	all, err = r.Sessions(ctx, "u1")
	require.NoError(t, err)
	require.Equal(t, next.Ends, all[0].Ends)

	require.ErrorIs(t, r.End(ctx, "u2", pair.Session), pool.ErrNotFound, "somebody else's")
	require.NoError(t, r.End(ctx, "u1", pair.Session))
	_, err = r.Refresh(ctx, next.Refresh)
	require.ErrorIs(t, err, auth.ErrUnauthenticated)
	require.NoError(t, r.End(ctx, "u1", "b1"))
	require.Equal(t, []string{"key/b1"}, r.ended)
	require.ErrorIs(t, r.End(ctx, "u1", "b1"), pool.ErrNotFound)

	// As many as may be, begun at the same time; one more ends the first.
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			require.NoError(t, r.Note(ctx, "u1", signin.Session{ID: fmt.Sprint("c", n), Browser: "key/c", Ends: time.Now().Add(time.Hour)}))
		})
	}
	wg.Wait()
	r.ended = nil
	for n := range 43 {
		require.NoError(t, r.Note(ctx, "u1", signin.Session{ID: fmt.Sprint("d", n), Browser: "key/d", Ends: time.Now().Add(time.Hour)}))
	}
	require.Equal(t, []string{"key/c"}, r.ended)
	all, err = r.Sessions(ctx, "u1")
	require.NoError(t, err)
	require.Len(t, all, 50)
	require.NoError(t, r.Clear(ctx, "u1"))
	require.NoError(t, r.Clear(ctx, "u1"))
	all, err = r.Sessions(ctx, "u1")
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestAStoreThatFailsLetsNobodyIn(t *testing.T) {
	t.Parallel()
	r := start(t)
	who, err := r.in("ada", right, "")
	require.NoError(t, err)
	p, _ := r.state.Principal("u1")
	_, err = r.NewSecond(t.Context(), p)
	require.NoError(t, err)
	broken := errors.New("broken")
	r.scratch.fail = broken
	_, err = r.in("ada", right, "")
	require.ErrorIs(t, err, broken)
	_, err = r.Confirm(t.Context(), "u1", right, from(1))
	require.ErrorIs(t, err, broken)
	_, err = r.Begin(t.Context(), who, signin.Origin{})
	require.ErrorIs(t, err, broken)
	_, err = r.NewSecond(t.Context(), p)
	require.ErrorIs(t, err, broken)
	_, _, err = r.Complete(t.Context(), "u1", "123456")
	require.ErrorIs(t, err, broken)
	_, err = r.Sessions(t.Context(), "u1")
	require.ErrorIs(t, err, broken)
	require.ErrorIs(t, r.End(t.Context(), "u1", "x"), broken)
}

func TestTheFileOfTheKey(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "signin-key")
	k, err := signin.LoadKey(name)
	require.NoError(t, err)
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", k, k, k), strings.TrimSpace(string(b))[20:])
	again, err := signin.LoadKey(name)
	require.NoError(t, err)
	require.Equal(t, k, again)
	if runtime.GOOS != "windows" {
		require.NoError(t, os.Chmod(name, 0o644))
		_, err = signin.LoadKey(name)
		require.NoError(t, err)
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077)
	}
	for _, wrong := range []string{"", "berthd-signin-", string(b)[:30], "other-" + string(b)} {
		require.NoError(t, os.WriteFile(name, []byte(wrong), 0o600))
		_, err = signin.LoadKey(name)
		require.ErrorContains(t, err, "does not hold the key")
	}
}
