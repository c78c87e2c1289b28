package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/session"
	"github.com/berthage/berthage/pool"
)

// house is what Sessions work on.
type house struct {
	*session.Sessions
	config   session.Config
	s        *auth.State
	revision pool.Revision
	keys     session.Keys
}

func (h *house) do(t testing.TB, c auth.Command) {
	t.Helper()
	c.Program = true
	raw, err := json.Marshal(c)
	require.NoError(t, err)
	events, err := h.s.Decide(nil, raw, time.Now())
	require.NoError(t, err)
	h.revision++
	for n := range events {
		events[n].Revision = h.revision
		p, err := h.s.Fold(&events[n])
		require.NoError(t, err)
		h.s = p.(*auth.State)
	}
}

func newHouse(t testing.TB, scratch pool.Scratch) *house {
	t.Helper()
	h := &house{s: auth.New(nil), keys: session.Keys{session.NewKey(session.EdDSA, time.Now().Add(-time.Hour))}}
	for _, id := range []string{"root", "uma"} {
		h.do(t, auth.Command{Put: &auth.Principal{ID: id, Kind: auth.Person, Name: id}})
		h.do(t, auth.Command{Reset: id})
	}
	h.config = session.Config{
		Issuer: "https://berthd.example", Audience: "berthd", Scratch: scratch,
		Keys:  func(context.Context) (session.Keys, error) { return h.keys, nil },
		State: func(context.Context) (*auth.State, error) { return h.s, nil },
	}
	h.renew(t)
	return h
}

func (h *house) renew(t testing.TB) {
	t.Helper()
	s, err := session.New(h.config)
	require.NoError(t, err)
	h.Sessions = s
}

func (h *house) who(id string) auth.Identity {
	p, _ := h.s.Principal(id)
	return auth.Identity{Principal: id, Whole: true, Generation: p.Generation}
}

func (h *house) begin(t testing.TB, id string) session.Pair {
	t.Helper()
	p, err := h.Begin(context.Background(), h.who(id))
	require.NoError(t, err)
	return p
}

func (h *house) in(token string) (auth.Identity, error) {
	return h.Authenticate(context.Background(), auth.Credential{Bearer: token})
}

func reasonOf(t testing.TB, err error) auth.Reason {
	t.Helper()
	var no *auth.Refusal
	require.ErrorAs(t, err, &no)
	require.ErrorIs(t, err, auth.ErrUnauthenticated)
	return no.Reason
}

func TestASession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, pool.NewMemoryScratch())
		who := h.who("uma")
		who.Groups = []string{"corp:oncall"}
		p, err := h.Begin(t.Context(), who)
		require.NoError(t, err)
		require.Less(t, len(p.Access), 700)
		require.Equal(t, time.Now().Add(5*time.Minute).Truncate(time.Second), p.Expires)
		got, err := h.in(p.Access)
		require.NoError(t, err)
		who.Expires = p.Expires.UTC()
		require.Equal(t, who, got)
		require.NoError(t, h.s.Good(got, time.Now()))
		sid, err := h.Session(t.Context(), p.Access)
		require.NoError(t, err)
		require.Equal(t, p.Session, sid)
		_, err = h.Session(t.Context(), p.Access[:len(p.Access)-2]+"xx")
		require.ErrorIs(t, err, auth.ErrUnauthenticated)

		time.Sleep(4 * time.Minute)
		q, err := h.Refresh(t.Context(), p.Refresh)
		require.NoError(t, err)
		require.Equal(t, p.Session, q.Session)
		require.NotEqual(t, p.Refresh, q.Refresh)
		time.Sleep(time.Minute + 6*time.Second) // and the clocks of daemons may differ
		_, err = h.in(p.Access)
		require.Equal(t, auth.Expired, reasonOf(t, err))
		got, err = h.in(q.Access)
		require.NoError(t, err)
		require.Equal(t, who.Groups, got.Groups)

		require.NoError(t, h.End(t.Context(), q.Session))
		_, err = h.in(q.Access)
		require.Equal(t, auth.Revoked, reasonOf(t, err))
		_, err = h.Refresh(t.Context(), q.Refresh)
		require.Equal(t, auth.BadCredentials, reasonOf(t, err))
		require.NoError(t, h.End(t.Context(), q.Session), "again is no error")
		require.ErrorIs(t, h.End(t.Context(), "../root"), pool.ErrInvalid)
	})
}

// TestSessionsEnd: without a refresh for a while, and after a longest time in any case.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, lasting{pool.NewMemoryScratch()})
		p := h.begin(t, "uma")
		began := time.Now()
		var last session.Pair
		for time.Since(began) < 7*24*time.Hour {
			last = p
			var err error
			p, err = h.Refresh(t.Context(), p.Refresh)
			require.NoError(t, err)
			require.LessOrEqual(t, p.Ends.Sub(began), 7*24*time.Hour)
			require.LessOrEqual(t, p.Expires.Sub(began), 7*24*time.Hour)
			time.Sleep(11 * time.Hour)
		}
		_, err := h.Refresh(t.Context(), p.Refresh)
		require.Equal(t, auth.Expired, reasonOf(t, err), "whatever the store says")
		require.NotEqual(t, last, p)

		h = newHouse(t, pool.NewMemoryScratch())
		p = h.begin(t, "uma")
		time.Sleep(12 * time.Hour)
		_, err = h.Refresh(t.Context(), p.Refresh)
		require.Equal(t, auth.BadCredentials, reasonOf(t, err))
	})
}

// lasting is a Scratch that forgets to forget.
type lasting struct{ pool.Scratch }

func (l lasting) Put(ctx context.Context, key string, v []byte, prev int64, _ time.Duration) (int64, error) {
	return l.Scratch.Put(ctx, key, v, prev, 10_000*time.Hour)
}

// TestAStolenRefreshToken: whoever uses an old one ends the session for both, whichever of them is the thief.
func TestAStolenRefreshToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, pool.NewMemoryScratch())
		other := h.begin(t, "uma")
		first := h.begin(t, "uma")
		second, err := h.Refresh(t.Context(), first.Refresh)
		require.NoError(t, err)
		third, err := h.Refresh(t.Context(), second.Refresh)
		require.NoError(t, err)
		_, err = h.Refresh(t.Context(), first.Refresh)
		require.Equal(t, auth.Revoked, reasonOf(t, err))
		for _, p := range []session.Pair{first, second, third} {
			_, err = h.in(p.Access)
			require.Equal(t, auth.Revoked, reasonOf(t, err), "nor are access tokens good any more")
			_, err = h.Refresh(t.Context(), p.Refresh)
			require.ErrorIs(t, err, auth.ErrUnauthenticated)
		}
		_, err = h.in(other.Access)
		require.NoError(t, err, "other sessions go on")

		p := h.begin(t, "uma")
		var won, lost int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				_, err := h.Refresh(t.Context(), p.Refresh)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				} else {
					lost++
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, won, 1, "the same one at once")
		_, err = h.in(p.Access)
		require.Equal(t, auth.Revoked, reasonOf(t, err))
		require.Positive(t, lost)
	})
}

// TestStrangersEndNoSessions: whoever knows the public id, and nothing that was ever a token, ends nothing.
func TestStrangersEndNoSessions(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pool.NewMemoryScratch())
	p := h.begin(t, "uma")
	for _, bad := range []string{
		"", p.Session, p.Session + strings.Repeat("A", 42), p.Access, p.Refresh + "A", p.Refresh[1:], p.Refresh[:63] + "!", strings.Repeat("A", 64), strings.Repeat("A", 1<<20), "\n" + p.Refresh[1:],
	} {
		_, err := h.Refresh(t.Context(), bad)
		require.Equal(t, auth.BadCredentials, reasonOf(t, err))
	}
	_, err := h.in(p.Access)
	require.NoError(t, err)
	_, err = h.in(p.Refresh)
	require.Equal(t, auth.BadCredentials, reasonOf(t, err), "a refresh token is no access token")
	_, err = h.Refresh(t.Context(), p.Refresh)
	require.NoError(t, err)
}

// TestWhatEndsAllSessions: whatever makes void what somebody holds makes void both kinds of token.
func TestWhatEndsAllSessions(t *testing.T) {
	t.Parallel()
	hash := "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
	for name, c := range map[string]auth.Command{
		"disabled": {Disable: "uma"}, "removed": {Remove: "uma"}, "signed out everywhere": {Reset: "uma"},
		"another password": {Set: &auth.SetPassword{Principal: "uma", Hash: hash}}, "a second factor": {Second: &auth.SetSecond{Principal: "uma", Secret: make([]byte, 20)}},
	} {
		h := newHouse(t, pool.NewMemoryScratch())
		p, root, who := h.begin(t, "uma"), h.begin(t, "root"), h.who("uma")
		h.do(t, c)
		_, err := h.in(p.Access)
		require.ErrorIs(t, err, auth.ErrUnauthenticated, name)
		_, err = h.Refresh(t.Context(), p.Refresh)
		require.ErrorIs(t, err, auth.ErrUnauthenticated, name)
		_, err = h.Begin(t.Context(), who)
		require.ErrorIs(t, err, auth.ErrUnauthenticated, name)
		_, err = h.in(root.Access)
		require.NoError(t, err, name)
	}
}

func TestOneTokenIsRevoked(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pool.NewMemoryScratch())
	p := h.begin(t, "uma")
	require.NoError(t, h.Revoke(t.Context(), p.Access))
	require.NoError(t, h.Revoke(t.Context(), p.Access))
	_, err := h.in(p.Access)
	require.Equal(t, auth.Revoked, reasonOf(t, err))
	q, err := h.Refresh(t.Context(), p.Refresh)
	require.NoError(t, err)
	_, err = h.in(q.Access)
	require.NoError(t, err)
	require.ErrorIs(t, h.Revoke(t.Context(), p.Access[1:]), auth.ErrUnauthenticated)
}

func TestWhoBeginsNoSession(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pool.NewMemoryScratch())
	with := func(f func(*auth.Identity)) auth.Identity {
		who := h.who("uma")
		f(&who)
		return who
	}
	for name, c := range map[string]struct {
		who  auth.Identity
		want error
	}{
		"nobody":          {auth.Identity{}, auth.ErrForbidden},
		"a token's owner": {with(func(i *auth.Identity) { i.Token = "aaaaaaaaaaaaaaaa" }), auth.ErrForbidden},
		"a part of one":   {with(func(i *auth.Identity) { i.Whole = false }), auth.ErrForbidden},
		"a ghost":         {with(func(i *auth.Identity) { i.Principal = "ghost" }), auth.ErrUnauthenticated},
		"many groups":     {with(func(i *auth.Identity) { i.Groups = make([]string, 33) }), pool.ErrInvalid},
		"an empty group":  {with(func(i *auth.Identity) { i.Groups = []string{""} }), pool.ErrInvalid},
		"a long group":    {with(func(i *auth.Identity) { i.Groups = []string{strings.Repeat("g", 256)} }), pool.ErrInvalid},
		"too much of it": {with(func(i *auth.Identity) {
			for n := range 32 {
				i.Groups = append(i.Groups, fmt.Sprint(n, strings.Repeat("g", 200)))
			}
		}), pool.ErrInvalid},
	} {
		_, err := h.Begin(t.Context(), c.who)
		require.ErrorIs(t, err, c.want, name)
	}
	for name, f := range map[string]func(*session.Config){
		"issuer": func(c *session.Config) { c.Issuer = "" }, "audience": func(c *session.Config) { c.Audience = "a\nb" }, "keys": func(c *session.Config) { c.Keys = nil },
		"long access": func(c *session.Config) { c.Access = 16 * time.Minute }, "idle": func(c *session.Config) { c.Idle = time.Second }, "longest": func(c *session.Config) { c.Longest = 365 * 24 * time.Hour },
		"negative": func(c *session.Config) { c.Access = -time.Second }, "scratch": func(c *session.Config) { c.Scratch = nil }, "state": func(c *session.Config) { c.State = nil },
	} {
		c := h.config
		f(&c)
		_, err := session.New(c)
		require.ErrorIs(t, err, pool.ErrInvalid, name)
	}
}

// TestKeysRotate: a new key is announced before it signs, an old one verifies for as long as what it signed, and then is gone.
func TestKeysRotate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, pool.NewMemoryScratch())
		keys, changed := session.Keys(nil).Rotate(session.EdDSA, 24*time.Hour, time.Minute, time.Now())
		require.True(t, changed)
		require.Len(t, keys, 1)
		require.NoError(t, keys.Valid())
		h.keys = keys
		p := h.begin(t, "uma")
		_, changed = keys.Rotate(session.EdDSA, 24*time.Hour, time.Minute, time.Now())
		require.False(t, changed)

		time.Sleep(24 * time.Hour)
		p = h.begin(t, "uma")
		older := keys
		keys, changed = keys.Rotate(session.HS256, 24*time.Hour, time.Minute, time.Now())
		require.True(t, changed)
		require.Len(t, keys, 2)
		again, changed := keys.Rotate(session.EdDSA, 24*time.Hour, time.Minute, time.Now())
		require.False(t, changed, "%v", again)
		h.keys = keys
		q := h.begin(t, "uma")
		h.keys = older
		_, err := h.in(q.Access)
		require.NoError(t, err, "a daemon that has not heard of the new key yet")
		h.keys = keys
		time.Sleep(time.Minute)
		r := h.begin(t, "uma")
		for _, access := range []string{p.Access, q.Access, r.Access} {
			_, err := h.in(access)
			require.NoError(t, err)
		}
		h.keys = older
		_, err = h.in(r.Access)
		require.Equal(t, auth.BadCredentials, reasonOf(t, err))
		h.keys = keys

		time.Sleep(16 * time.Minute)
		keys, changed = keys.Rotate(session.EdDSA, 24*time.Hour, time.Minute, time.Now())
		require.True(t, changed)
		require.Len(t, keys, 1)
		require.Equal(t, session.HS256, keys[0].Algorithm)

		h.keys = session.Keys{session.NewKey(session.EdDSA, time.Now().Add(time.Hour))}
		_, err = h.Begin(t.Context(), h.who("uma"))
		require.ErrorIs(t, err, pool.ErrWrongState, "no key signs yet")
	})
}

func TestKeysThatAreNone(t *testing.T) {
	t.Parallel()
	good := session.NewKey(session.EdDSA, time.Now())
	with := func(f func(*session.Key)) session.Keys {
		k := good
		f(&k)
		return session.Keys{k}
	}
	h := newHouse(t, pool.NewMemoryScratch())
	p := h.begin(t, "uma")
	for name, keys := range map[string]session.Keys{
		"none": nil, "twice": {good, good}, "many": make(session.Keys, 17), "id": with(func(k *session.Key) { k.ID = "../x" }),
		"algorithm": with(func(k *session.Key) { k.Algorithm = "none" }), "secret": with(func(k *session.Key) { k.Secret = []byte("canary") }), "no secret": with(func(k *session.Key) { k.Secret = nil }),
	} {
		require.ErrorIs(t, keys.Valid(), pool.ErrInvalid, name)
		require.NotContains(t, keys.Valid().Error(), "canary")
		h.keys = keys
		_, err := h.in(p.Access)
		require.ErrorIs(t, err, pool.ErrInvalid, name)
		_, err = h.Begin(t.Context(), h.who("uma"))
		require.ErrorIs(t, err, pool.ErrInvalid, name)
	}
}

// failing is a Scratch of which one call fails.
type failing struct {
	pool.Scratch
	calls, fail int
	err         error
}

func (f *failing) next() error {
	if f.calls++; f.calls == f.fail {
		return f.err
	}
	return nil
}

func (f *failing) Get(ctx context.Context, key string) ([]byte, int64, error) {
	if err := f.next(); err != nil {
		return nil, 0, err
	}
	return f.Scratch.Get(ctx, key)
}

func (f *failing) Put(ctx context.Context, key string, v []byte, prev int64, ttl time.Duration) (int64, error) {
	if err := f.next(); err != nil {
		return 0, err
	}
	return f.Scratch.Put(ctx, key, v, prev, ttl)
}

func (f *failing) Delete(ctx context.Context, key string, version int64) error {
	if err := f.next(); err != nil {
		return err
	}
	return f.Scratch.Delete(ctx, key, version)
}

// TestFailsClosed: whichever call of a store fails, nobody gets in, nobody gets a token, and nothing is said to have ended.
func TestFailsClosed(t *testing.T) {
	t.Parallel()
	gone := errors.New("the store is gone")
	reached := make(map[string]int)
	for name, do := range map[string]func(*house, session.Pair, session.Pair) error{
		"begin":        func(h *house, _, _ session.Pair) error { _, err := h.Begin(t.Context(), h.who("uma")); return err },
		"authenticate": func(h *house, p, _ session.Pair) error { _, err := h.in(p.Access); return err },
		"refresh":      func(h *house, p, _ session.Pair) error { _, err := h.Refresh(t.Context(), p.Refresh); return err },
		"end":          func(h *house, p, _ session.Pair) error { return h.End(t.Context(), p.Session) },
		"revoke":       func(h *house, p, _ session.Pair) error { return h.Revoke(t.Context(), p.Access) },
		"reuse": func(h *house, _, old session.Pair) error {
			_, err := h.Refresh(t.Context(), old.Refresh)
			if errors.Is(err, auth.ErrUnauthenticated) {
				return nil
			}
			return err
		},
	} {
		for n := 1; ; n++ {
			s := &failing{Scratch: pool.NewMemoryScratch(), err: gone}
			h := newHouse(t, s)
			old := h.begin(t, "uma")
			p, err := h.Refresh(t.Context(), old.Refresh)
			require.NoError(t, err)
			s.calls, s.fail = 0, n
			err = do(h, p, old)
			if s.calls < n {
				require.NoError(t, err, name)
				break
			}
			reached[name]++
			require.ErrorIs(t, err, gone, "%s, call %d", name, n)
		}
	}
	require.Equal(t, map[string]int{"begin": 1, "authenticate": 2, "refresh": 2, "end": 3, "revoke": 1, "reuse": 4}, reached)

	h := newHouse(t, pool.NewMemoryScratch())
	p := h.begin(t, "uma")
	all := func() {
		t.Helper()
		_, err := h.in(p.Access)
		require.ErrorIs(t, err, gone)
		_, err = h.Begin(t.Context(), h.who("uma"))
		require.ErrorIs(t, err, gone)
		_, err = h.Refresh(t.Context(), p.Refresh)
		require.ErrorIs(t, err, gone)
	}
	config := h.config
	h.config.State = func(context.Context) (*auth.State, error) { return h.s, gone }
	h.renew(t)
	all()
	h.config = config
	h.config.Keys = func(context.Context) (session.Keys, error) { return h.keys, gone }
	h.renew(t)
	all()

	h.config = config
	h.config.Scratch = junk{}
	h.renew(t)
	_, err := h.Refresh(t.Context(), p.Refresh)
	require.ErrorIs(t, err, pool.ErrCorrupt)
	_, err = h.in(p.Access)
	require.Equal(t, auth.Revoked, reasonOf(t, err), "whatever stands on the list")
}

// junk is a Scratch that has something else under every key.
type junk struct{ pool.Scratch }

func (junk) Get(context.Context, string) ([]byte, int64, error) {
	return []byte(`{"principal":"root"}`), 1, nil
}

func TestNothingSecretIsShown(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pool.NewMemoryScratch())
	p := h.begin(t, "uma")
	k := h.keys[0]
	k.Secret = []byte("canary-canary-canary-canary-cana")
	for _, shown := range []string{fmt.Sprint(p), fmt.Sprintf("%+v %#v %s", p, p, &p), fmt.Sprintf("%v %+v %#v", k, session.Keys{k}, session.Keys{k})} {
		require.NotContains(t, shown, "canary")
		require.NotContains(t, shown, p.Access)
		require.NotContains(t, shown, p.Refresh)
		require.NotContains(t, shown, "99, 97, 110", "nor as numbers")
	}
	s := &recording{Scratch: pool.NewMemoryScratch()}
	h = newHouse(t, s)
	p = h.begin(t, "uma")
	q, err := h.Refresh(t.Context(), p.Refresh)
	require.NoError(t, err)
	require.NoError(t, h.End(t.Context(), q.Session))
	for _, secret := range []string{p.Refresh[22:], q.Refresh[22:], p.Refresh[:20], p.Access, q.Access} {
		require.NotContains(t, s.seen.String(), secret, "the store has nothing that could be used")
	}
	for _, bad := range []string{"canary.canary.canary", p.Access + "canary"} {
		_, err := h.in(bad)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "canary")
	}
}

// recording is a Scratch that keeps all that it was given.
type recording struct {
	pool.Scratch
	seen strings.Builder
}

func (r *recording) Put(ctx context.Context, key string, v []byte, prev int64, ttl time.Duration) (int64, error) {
	r.seen.WriteString(key + " " + string(v) + "\n")
	return r.Scratch.Put(ctx, key, v, prev, ttl)
}

func ExampleSessions() {
	ctx := context.Background()
	s := auth.New(nil)
	e, _ := pool.PartEvent(auth.PrincipalPut, 1, map[string]any{"put": auth.Principal{ID: "p7f3", Kind: auth.Person}})
	part, _ := s.Fold(&e)
	keys, _ := session.Keys(nil).Rotate(session.EdDSA, 24*time.Hour, time.Minute, time.Now())
	sessions, err := session.New(session.Config{
		Issuer: "https://berthd.example", Audience: "berthd", Scratch: pool.NewMemoryScratch(),
		Keys:  func(context.Context) (session.Keys, error) { return keys, nil },
		State: func(context.Context) (*auth.State, error) { return part.(*auth.State), nil },
	})
	if err != nil {
		panic(err)
	}
	first, err := sessions.Begin(ctx, auth.Identity{Principal: "p7f3", Whole: true}) // as auth/login returns it
	fmt.Println(err)
	who, err := sessions.Authenticate(ctx, auth.Credential{Bearer: first.Access})
	fmt.Println(who.Principal, err)
	_, err = sessions.Refresh(ctx, first.Refresh)
	fmt.Println(err)
	_, err = sessions.Refresh(ctx, first.Refresh)
	fmt.Println(err)
	// Output:
	// <nil>
	// p7f3 <nil>
	// <nil>
	// not authenticated: the credentials have been revoked
}
