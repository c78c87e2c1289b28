package login_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/login"
	"github.com/berthage/berthage/auth/password"
	"github.com/berthage/berthage/auth/totp"
	"github.com/berthage/berthage/pool"
)

const (
	right = "correct horse battery staple"
	short = "canary" // as a password that was hashed long ago

	rightHash = "$argon2id$v=19$m=19456,t=2,p=1$SNg7me/mU17lvR3mNuCsHA$57Z42MG0aiFKAS2bNSt0p5BWObmt4JQ73Q0McfgKPuI"
	shortHash = "$2a$04$rTUJQjI5W2ZYyXRtl56F4OxWI//txX4/1wvaiuKe2Ce0ibERPUCVy" // by bcrypt
)

// house is what a Login works on: its State is brought up to date by Commit, without a ledger.
type house struct {
	*login.Login
	mu       sync.Mutex
	s        *auth.State
	revision pool.Revision
	secret   []byte
	codes    []string // for recovery
}

func (h *house) State(context.Context) (*auth.State, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.s, nil
}

func (h *house) Commit(_ context.Context, c auth.Command) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.Program = true
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	events, err := h.s.Decide(nil, raw, time.Now())
	if err != nil {
		return err
	}
	h.revision++
	for n := range events {
		events[n].Revision = h.revision
		p, err := h.s.Fold(&events[n])
		if err != nil {
			return err
		}
		h.s = p.(*auth.State)
	}
	return nil
}

func newHouse(t testing.TB, scratch pool.Scratch) *house {
	t.Helper()
	passwords, err := password.New(password.Config{})
	require.NoError(t, err)
	h := &house{s: auth.New(nil), secret: totp.NewSecret()}
	h.Login = &login.Login{
		State: h.State, Commit: h.Commit, Passwords: passwords, Codes: totp.Checker{Scratch: scratch},
		Throttle: auth.Throttle{Scratch: scratch, Key: []byte("sixteen bytes ok")},
	}
	do := func(c auth.Command) { require.NoError(t, h.Commit(t.Context(), c)) }
	var digests []string
	h.codes, digests = totp.NewRecovery(3)
	for _, id := range []string{"uma", "vic", "old", "off", "none", "both"} {
		do(auth.Command{Put: &auth.Principal{ID: id, Kind: auth.Person, Name: id + "@corp"}})
		switch id {
		case "none":
			continue
		case "old":
			do(auth.Command{Set: &auth.SetPassword{Principal: id, Hash: shortHash}})
		default:
			do(auth.Command{Set: &auth.SetPassword{Principal: id, Hash: rightHash}})
		}
	}
	do(auth.Command{Put: &auth.Principal{ID: "bot", Kind: auth.Service, Name: "bot"}})
	do(auth.Command{Disable: "off"})
	do(auth.Command{Second: &auth.SetSecond{Principal: "both", Secret: h.secret, Recovery: digests}})
	return h
}

func here() netip.Addr { return netip.MustParseAddr("192.0.2.1") }

func (h *house) try(t *testing.T, name, pass, code string) (auth.Identity, error) {
	t.Helper()
	return h.Do(t.Context(), login.Attempt{Name: name, Password: pass, Code: code, From: here()})
}

func (h *house) code(after time.Duration) string {
	return totp.Params{}.Code(h.secret, time.Now().Add(after))
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, pool.NewMemoryScratch())
		who, err := h.try(t, "uma@corp", right, "")
		require.NoError(t, err)
		p, _ := h.s.Principal("uma")
		require.Equal(t, auth.Identity{Principal: "uma", Whole: true, Generation: p.Generation}, who)
		require.NoError(t, h.s.Good(who, time.Now()))

		who, err = h.try(t, "both@corp", right, h.code(0))
		require.NoError(t, err)
		require.Equal(t, "both", who.Principal)
	})
}

// TestWhateverIsWrong: it is the same error, after the same work.
func TestWhateverIsWrong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		want := auth.Unauthenticated(auth.BadCredentials, nil)
		type counts struct{ get, put int }
		seen := make(map[counts][]string)
		for name, a := range map[string]login.Attempt{
			"password":              {Name: "uma@corp", Password: "wrong"},
			"no password":           {Name: "uma@corp"},
			"nobody":                {Name: "ghost@corp", Password: right},
			"nobody at all":         {},
			"by id":                 {Name: "uma", Password: right},
			"other case":            {Name: "UMA@corp", Password: right},
			"disabled":              {Name: "off@corp", Password: right},
			"without a password":    {Name: "none@corp", Password: right},
			"empty for empty":       {Name: "none@corp"},
			"a service":             {Name: "bot", Password: right},
			"old, wrong":            {Name: "old@corp", Password: "wrong"},
			"no code":               {Name: "both@corp", Password: right},
			"wrong code":            {Name: "both@corp", Password: right, Code: "000000"},
			"wrong recovery":        {Name: "both@corp", Password: right, Code: "aaaa-aaaa-aaaa-aaaa"},
			"right code, wrong":     {Name: "both@corp", Password: "wrong", Code: "000000"},
			"long name":             {Name: strings.Repeat("x", 1<<20), Password: right},
			"long password":         {Name: "uma@corp", Password: strings.Repeat("x", 1<<20)},
			"long code":             {Name: "both@corp", Password: right, Code: strings.Repeat("x", 1<<20)},
			"not text":              {Name: "uma@corp\xff", Password: right},
			"password with NUL":     {Name: "uma@corp", Password: right + "\x00"},
			"name of another entry": {Name: "uma@corp\x00vic@corp", Password: right},
		} {
			s := &counter{Scratch: pool.NewMemoryScratch()}
			h := newHouse(t, s)
			a.From = here()
			_, err := h.Do(t.Context(), a)
			require.Equal(t, want, err, name)
			n := counts{s.get, s.put}
			seen[n] = append(seen[n], name)
		}
		require.Len(t, seen, 1, "the stores are asked the same: %v", seen)
	})
}

// counter is a Scratch that counts.
type counter struct {
	pool.Scratch
	get, put int
}

func (c *counter) Get(ctx context.Context, key string) ([]byte, int64, error) {
	c.get++
	return c.Scratch.Get(ctx, key)
}

func (c *counter) Put(ctx context.Context, key string, v []byte, prev int64, ttl time.Duration) (int64, error) {
	c.put++
	return c.Scratch.Put(ctx, key, v, prev, ttl)
}

func TestCodesWorkOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, pool.NewMemoryScratch())
		code := h.code(0)
		_, err := h.try(t, "both@corp", right, code)
		require.NoError(t, err)
		_, err = h.try(t, "both@corp", right, code)
		require.ErrorIs(t, err, auth.ErrUnauthenticated)
		_, err = h.try(t, "both@corp", right, strings.ToUpper(h.codes[1]))
		require.NoError(t, err)
		_, err = h.try(t, "both@corp", right, h.codes[1])
		require.ErrorIs(t, err, auth.ErrUnauthenticated)
		_, err = h.try(t, "both@corp", right, h.codes[0])
		require.NoError(t, err)
		f, _ := h.s.Second("both")
		require.Equal(t, []int{1, 0}, f.Used)

		// Two at once, decided on the same State.
		stale, _ := h.Login.State(t.Context())
		h.Login.State = func(context.Context) (*auth.State, error) { return stale, nil }
		_, err = h.try(t, "both@corp", right, h.codes[2])
		require.NoError(t, err)
		_, err = h.try(t, "both@corp", right, h.codes[2])
		require.ErrorIs(t, err, pool.ErrConflict, "the ledger settles which of them it was")
	})
}

// TestForgottenSecondFactor: somebody whose secret was forgotten does not get in without one.
func TestForgottenSecondFactor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, pool.NewMemoryScratch())
		e, err := pool.NewEvent(pool.KindForgotten, &pool.Forgotten{Subject: auth.Subject("both")})
		require.NoError(t, err)
		p, err := h.s.Fold(&e)
		require.NoError(t, err)
		h.s = p.(*auth.State)
		_, err = h.try(t, "both@corp", right, "")
		require.ErrorIs(t, err, auth.ErrUnauthenticated, "nor is there the name")

		require.NoError(t, h.Commit(t.Context(), auth.Command{Put: &auth.Principal{ID: "both", Kind: auth.Person, Name: "both@corp"}}))
		require.NoError(t, h.Commit(t.Context(), auth.Command{Set: &auth.SetPassword{Principal: "both", Hash: rightHash}}))
		for _, code := range []string{"", totp.Params{}.Code(nil, time.Now()), h.code(0)} {
			_, err = h.try(t, "both@corp", right, code)
			require.ErrorIs(t, err, auth.ErrUnauthenticated)
		}
		require.NoError(t, h.Commit(t.Context(), auth.Command{Drop: "both"}))
		time.Sleep(time.Hour)
		_, err = h.try(t, "both@corp", right, "")
		require.NoError(t, err)
	})
}

// TestOldHashesAreMadeAnew: once, without ending what is held, and not over a password that was changed meanwhile.
func TestOldHashesAreMadeAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, pool.NewMemoryScratch())
		before, _ := h.s.Password("old")
		stale := h.s
		who, err := h.try(t, "old@corp", short, "")
		require.NoError(t, err)
		after, _ := h.s.Password("old")
		require.True(t, strings.HasPrefix(before.Hash, "$2a$"))
		require.True(t, strings.HasPrefix(after.Hash, "$argon2id$"))
		require.NoError(t, h.s.Good(who, time.Now()))
		_, err = h.try(t, "old@corp", short, "")
		require.NoError(t, err)
		again, _ := h.s.Password("old")
		require.Equal(t, after, again)

		require.NoError(t, h.Commit(t.Context(), auth.Command{Set: &auth.SetPassword{Principal: "old", Hash: rightHash}}))
		h.Login.State = func(context.Context) (*auth.State, error) { return stale, nil }
		_, err = h.try(t, "old@corp", short, "")
		require.ErrorIs(t, err, pool.ErrConflict)
	})
}

func TestGuessing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, pool.NewMemoryScratch())
		for _, name := range []string{"uma@corp", "ghost@corp"} {
			for range 5 {
				_, err := h.try(t, name, "wrong", "")
				require.ErrorIs(t, err, auth.ErrUnauthenticated)
			}
			_, err := h.try(t, name, right, "")
			var no *auth.Refusal
			require.ErrorAs(t, err, &no)
			require.ErrorIs(t, err, auth.ErrThrottled, "with the right password too, and whether there is such a name or not")
			require.Equal(t, time.Second, no.Wait)
		}
		_, err := h.Do(t.Context(), login.Attempt{Name: "uma@corp", Password: right, From: netip.MustParseAddr("192.0.2.2")})
		require.NoError(t, err, "from elsewhere")
		time.Sleep(time.Second)
		_, err = h.try(t, "uma@corp", right, "")
		require.NoError(t, err)
		for range 5 {
			_, err := h.try(t, "both@corp", right, "000000")
			require.ErrorIs(t, err, auth.ErrUnauthenticated)
		}
		_, err = h.try(t, "both@corp", right, "000000")
		require.ErrorIs(t, err, auth.ErrThrottled, "codes are guessed no faster")
	})
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

// TestFailsClosed: whichever call of a store fails, nobody gets in.
func TestFailsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("the store is gone")
		for _, who := range []struct{ name, pass, code string }{{"uma@corp", right, ""}, {"both@corp", right, "code"}, {"both@corp", right, "recovery"}, {"old@corp", short, ""}, {"uma@corp", "wrong", ""}} {
			for n := 1; ; n++ {
				s := &failing{Scratch: pool.NewMemoryScratch()}
				h := newHouse(t, s)
				s.calls, s.fail, s.err = 0, n, gone
				code := who.code
				switch code {
				case "code":
					code = h.code(0)
				case "recovery":
					code = h.codes[0]
				}
				_, err := h.try(t, who.name, who.pass, code)
				if s.calls < n {
					require.Equal(t, who.pass == "wrong", err != nil)
					require.Greater(t, n, 5)
					break
				}
				require.ErrorIs(t, err, gone, "%s, call %d", who.name, n)
			}
		}
		h := newHouse(t, pool.NewMemoryScratch())
		h.Login.State = func(context.Context) (*auth.State, error) { return h.s, gone }
		_, err := h.try(t, "uma@corp", right, "")
		require.ErrorIs(t, err, gone)

		h = newHouse(t, pool.NewMemoryScratch())
		h.Login.Commit = func(context.Context, auth.Command) error { return gone }
		_, err = h.try(t, "old@corp", short, "")
		require.ErrorIs(t, err, gone)
		_, err = h.try(t, "both@corp", right, h.codes[0])
		require.ErrorIs(t, err, gone)

		h = newHouse(t, pool.NewMemoryScratch())
		h.Open = func(string, []byte) ([]byte, error) { return nil, gone }
		_, err = h.try(t, "both@corp", right, h.code(0))
		require.ErrorIs(t, err, gone)
		h.Open = func(_ string, kept []byte) ([]byte, error) { return kept, nil }
		_, err = h.try(t, "both@corp", right, h.code(0))
		require.NoError(t, err)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = h.Do(ctx, login.Attempt{Name: "uma@corp", Password: right, From: here()})
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestABrokenHashLetsNobodyIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, pool.NewMemoryScratch())
		require.NoError(t, h.Commit(t.Context(), auth.Command{Set: &auth.SetPassword{Principal: "uma", Hash: "$argon2id$v=19$m=9999999,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"}}))
		_, err := h.try(t, "uma@corp", right, "")
		require.ErrorIs(t, err, pool.ErrCorrupt)
	})
}

// TestNothingSecretIsShown: what was typed stands in no error and is not printed.
func TestNothingSecretIsShown(t *testing.T) {
	t.Parallel()
	a := login.Attempt{Name: "uma@corp", Password: "canary", Code: "canary", From: here()}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("in", "attempt", a)
	b, err := json.Marshal(a)
	require.NoError(t, err)
	for _, shown := range []string{fmt.Sprint(a), fmt.Sprintf("%+v %#v %s", a, a, &a), log.String(), string(b)} {
		require.NotContains(t, shown, "canary")
	}
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, pool.NewMemoryScratch())
		for range 7 {
			_, err := h.Do(t.Context(), a)
			require.Error(t, err)
			require.NotContains(t, fmt.Sprintf("%+v", err), "canary")
		}
	})
}

func ExampleLogin() {
	ctx := context.Background()
	passwords, _ := password.New(password.Config{})
	hash, _ := passwords.Hash(ctx, "correct horse battery staple")
	s := auth.New(nil)
	commit := func(_ context.Context, c auth.Command) error { // an embedder appends the events to a ledger, too
		c.Program = true
		raw, _ := json.Marshal(c)
		events, err := s.Decide(nil, raw, time.Now())
		for n := range events {
			p, _ := s.Fold(&events[n])
			s = p.(*auth.State)
		}
		return err
	}
	_ = commit(ctx, auth.Command{Put: &auth.Principal{ID: "p7f3", Kind: auth.Person, Name: "ada"}})
	_ = commit(ctx, auth.Command{Set: &auth.SetPassword{Principal: "p7f3", Hash: hash}})

	scratch := pool.NewMemoryScratch()
	l := login.Login{
		State:  func(context.Context) (*auth.State, error) { return s, nil },
		Commit: commit, Passwords: passwords, Codes: totp.Checker{Scratch: scratch},
		Throttle: auth.Throttle{Scratch: scratch, Key: []byte("sixteen bytes or more")},
	}
	from := netip.MustParseAddr("192.0.2.1")
	who, err := l.Do(ctx, login.Attempt{Name: "ada", Password: "correct horse battery staple", From: from})
	fmt.Println(who.Principal, err)
	_, err = l.Do(ctx, login.Attempt{Name: "eve", Password: "correct horse battery staple", From: from})
	fmt.Println(err)
	// Output:
	// p7f3 <nil>
	// not authenticated: the credentials are not right
}
