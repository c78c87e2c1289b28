package passkey_test

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
	"github.com/berthage/berthage/examples/berthd/passkey"
	"github.com/berthage/berthage/examples/berthd/passkey/passkeytest"
	"github.com/berthage/berthage/pool"
)

// page is the origin of the pages.
const page = "https://berthage.example"

func newAuthenticator(t *testing.T) *passkeytest.Authenticator {
	t.Helper()
	return passkeytest.New(t, page)
}

// site is where passkeys are used: what is known of people, and where their passkeys are.
type site struct {
	t *testing.T
	*passkey.Passkeys
	scratch pool.Scratch

	logins   byte // each from another address
	mu       sync.Mutex
	s        *auth.State
	revision pool.Revision
	fails    map[string]error // by call
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, s: auth.New(nil), fails: map[string]error{}}
	s.scratch = &watched{pool.NewMemoryScratch(), s}
	p, err := passkey.New(s.config())
	require.NoError(t, err)
	s.Passkeys = p
	for _, id := range []string{"p-ada", "p-eve"} {
		s.do(auth.Command{Put: &auth.Principal{ID: id, Kind: auth.Person, Name: id[2:]}})
	}
	s.do(auth.Command{Put: &auth.Principal{ID: "p-robot", Kind: auth.Service, Name: "robot"}})
	return s
}

func (s *site) config() passkey.Config {
	return passkey.Config{
		Site: passkey.Site{Domain: "berthage.example", Origin: page}, Title: "Berthage", Scratch: s.scratch,
		State: func(context.Context) (*auth.State, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.s, s.fails["State"]
		},
	}
}

// watched is a Scratch whose calls fail on demand.
type watched struct {
	pool.Scratch
	s *site
}

func (w *watched) Get(ctx context.Context, key string) ([]byte, int64, error) {
	if err := w.s.fails["Get"]; err != nil {
		return nil, 0, err
	}
	if err := w.s.fails["Get count"]; err != nil && strings.Contains(key, "count") {
		return nil, 0, err
	}
	return w.Scratch.Get(ctx, key)
}

func (w *watched) Put(ctx context.Context, key string, v []byte, prev int64, ttl time.Duration) (int64, error) {
	if err := w.s.fails["Put"]; err != nil {
		return 0, err
	}
	return w.Scratch.Put(ctx, key, v, prev, ttl)
}

func (w *watched) Delete(ctx context.Context, key string, version int64) error {
	if err := w.s.fails["Delete"]; err != nil {
		return err
	}
	return w.Scratch.Delete(ctx, key, version)
}

func (s *site) do(c auth.Command) {
	s.t.Helper()
	require.NoError(s.t, s.try(c))
}

func (s *site) try(c auth.Command) error {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Program = true
	raw, err := json.Marshal(c)
	require.NoError(s.t, err)
	events, err := s.s.Decide(nil, raw, time.Now())
	if err != nil {
		return err
	}
	for n := range events {
		s.revision++
		events[n].Revision = s.revision
		p, err := s.s.Fold(&events[n])
		require.NoError(s.t, err)
		s.s = p.(*auth.State)
	}
	return nil
}

// finish registers what a browser has answered with.
func (s *site) finish(who auth.Identity, ceremony, name string, answer []byte) (auth.Passkey, error) {
	k, err := s.FinishRegistration(s.t.Context(), who, ceremony, name, answer)
	if err == nil {
		err = s.try(auth.Command{Passkey: &k})
	}
	return k, err
}

// whole is the identity of somebody who has logged in in another way.
func (s *site) whole(id string) auth.Identity {
	p, _ := s.s.Principal(id)
	return auth.Identity{Principal: id, Whole: true, Generation: p.Generation}
}

// register gives somebody a passkey.
func (s *site) register(id string) *passkeytest.Authenticator {
	s.t.Helper()
	a := newAuthenticator(s.t)
	ask, ceremony, err := s.BeginRegistration(s.t.Context(), s.whole(id))
	require.NoError(s.t, err)
	k, err := s.finish(s.whole(id), ceremony, "laptop", a.Create(ask))
	require.NoError(s.t, err)
	require.Equal(s.t, a.ID, k.Credential)
	require.Equal(s.t, []string{"internal", "hybrid"}, k.Transports)
	return a
}

func (s *site) login(a *passkeytest.Authenticator) (auth.Identity, error) {
	s.t.Helper()
	s.logins++
	ask, ceremony, err := s.BeginLogin(s.t.Context())
	require.NoError(s.t, err)
	return s.FinishLogin(s.t.Context(), ceremony, a.Get(ask))
}

func TestPasskeys(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ada, eve := s.register("p-ada"), s.register("p-eve")
	for range 3 {
		for id, a := range map[string]*passkeytest.Authenticator{"p-ada": ada, "p-eve": eve} {
			who, err := s.login(a)
			require.NoError(t, err)
			require.Equal(t, s.whole(id), who)
		}
	}
	// Who has one registers another; the first is named so that it is not taken again.
	ask, _, err := s.BeginRegistration(t.Context(), s.whole("p-ada"))
	require.NoError(t, err)
	o := ada.Read(ask)
	require.Equal(t, "berthage.example", o.PublicKey.RP.ID)
	require.Len(t, o.PublicKey.ExcludeCredentials, 1)
	require.Equal(t, passkeytest.Base64(ada.ID), o.PublicKey.ExcludeCredentials[0].ID)
	second := s.register("p-ada")
	who, err := s.login(second)
	require.NoError(t, err)
	require.Equal(t, "p-ada", who.Principal)

	// One that does not count, and one that is on several devices.
	for _, change := range []func(a *passkeytest.Authenticator){func(a *passkeytest.Authenticator) { a.Step = 0 }, func(a *passkeytest.Authenticator) { a.Flags |= passkeytest.Eligible | passkeytest.BackedUp; a.Step = 0 }} {
		a := newAuthenticator(t)
		change(a)
		ask, ceremony, err := s.BeginRegistration(t.Context(), s.whole("p-ada"))
		require.NoError(t, err)
		_, err = s.finish(s.whole("p-ada"), ceremony, "phone", a.Create(ask))
		require.NoError(t, err)
		for range 2 {
			_, err = s.login(a)
			require.NoError(t, err)
		}
	}
}

func TestLoginsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(s *site, a *passkeytest.Authenticator)
		answer func(s *site, a *passkeytest.Authenticator, answer map[string]any) // changes what is sent
		want   error
	}{
		{name: "another challenge", change: func(_ *site, a *passkeytest.Authenticator) { a.Challenge = passkeytest.Base64(make([]byte, 32)) }, want: passkey.Wrong},
		{name: "no challenge", change: func(_ *site, a *passkeytest.Authenticator) { a.Challenge = "=" }, want: passkey.Wrong},
		{name: "another page", change: func(_ *site, a *passkeytest.Authenticator) { a.Origin = "https://berthage.example.evil.example" }, want: passkey.Wrong},
		{name: "a page in the clear", change: func(_ *site, a *passkeytest.Authenticator) { a.Origin = "http://berthage.example" }, want: passkey.Wrong},
		{name: "another port", change: func(_ *site, a *passkeytest.Authenticator) { a.Origin = "https://berthage.example:8443" }, want: passkey.Wrong},
		{name: "within another page", change: func(_ *site, a *passkeytest.Authenticator) { a.Cross = true }, want: passkey.Wrong},
		{name: "another domain", change: func(_ *site, a *passkeytest.Authenticator) { a.Domain = "evil.example" }, want: passkey.Wrong},
		{name: "a registration", change: func(_ *site, a *passkeytest.Authenticator) { a.Kind = "webauthn.create" }, want: passkey.Wrong},
		{name: "nobody was there", change: func(_ *site, a *passkeytest.Authenticator) { a.Flags &^= passkeytest.Present }, want: passkey.Wrong},
		{name: "it is not known who was there", change: func(_ *site, a *passkeytest.Authenticator) { a.Flags &^= passkeytest.Verified }, want: passkey.Wrong},
		{name: "it is on several devices all at once", change: func(_ *site, a *passkeytest.Authenticator) { a.Flags |= passkeytest.Eligible }, want: passkey.Wrong},
		{name: "it is backed up, which it cannot be", change: func(_ *site, a *passkeytest.Authenticator) { a.Flags |= passkeytest.BackedUp }, want: passkey.Wrong},
		{name: "another key", change: func(_ *site, a *passkeytest.Authenticator) { a.Private = newAuthenticator(t).Private }, want: passkey.Wrong},
		{name: "somebody else's account", change: func(_ *site, a *passkeytest.Authenticator) { a.Handle = []byte("p-eve") }, want: passkey.Unknown},
		{name: "nobody's account", change: func(_ *site, a *passkeytest.Authenticator) { a.Handle = []byte("p-nobody") }, want: passkey.Unknown},
		{name: "no account", change: func(_ *site, a *passkeytest.Authenticator) { a.Handle = nil }, want: passkey.Wrong},
		{name: "a service account", change: func(s *site, a *passkeytest.Authenticator) {
			a.Handle = []byte("p-robot")
			k := s.s.Passkeys("p-ada")[0]
			s.do(auth.Command{Discard: &auth.PrincipalsKey{Principal: "p-ada", ID: k.ID}})
			k.ID, k.Principal, k.Created = "", "", time.Time{}
			private, err := json.Marshal(map[string]any{"passkey": k}) // which no command does
			require.NoError(s.t, err)
			p, err := s.s.Fold(&pool.Event{Kind: auth.PasskeyPut, Version: 1, Data: json.RawMessage(`{"id":"x","principal":"p-robot"}`), Private: private})
			require.NoError(s.t, err)
			s.s = p.(*auth.State)
		}, want: passkey.Unknown},
		{name: "a passkey that is gone", change: func(s *site, _ *passkeytest.Authenticator) {
			s.do(auth.Command{Discard: &auth.PrincipalsKey{Principal: "p-ada", ID: s.s.Passkeys("p-ada")[0].ID}})
		}, want: passkey.Unknown},
		{name: "disabled", change: func(s *site, _ *passkeytest.Authenticator) { s.do(auth.Command{Disable: "p-ada"}) }, want: passkey.Unknown},
		{name: "removed", change: func(s *site, _ *passkeytest.Authenticator) { s.do(auth.Command{Remove: "p-ada"}) }, want: passkey.Unknown},
		{name: "the count stands still", change: func(_ *site, a *passkeytest.Authenticator) { a.Step = 0 }, want: passkey.Cloned},
		{name: "the count goes back", change: func(_ *site, a *passkeytest.Authenticator) { a.Count = 0 }, want: passkey.Cloned},
		{name: "the count is gone", change: func(_ *site, a *passkeytest.Authenticator) { a.Count, a.Step = 0, 0 }, want: passkey.Cloned},
		{name: "a signature of something else", answer: func(_ *site, _ *passkeytest.Authenticator, m map[string]any) {
			m["response"].(map[string]any)["signature"] = passkeytest.Base64(make([]byte, 70))
		}, want: passkey.Wrong},
		{name: "no signature", answer: func(_ *site, _ *passkeytest.Authenticator, m map[string]any) {
			delete(m["response"].(map[string]any), "signature")
		}, want: passkey.Wrong},
		{name: "somebody else's passkey", answer: func(s *site, _ *passkeytest.Authenticator, m map[string]any) {
			id := passkeytest.Base64(s.register("p-eve").ID)
			m["id"], m["rawId"] = id, id
		}, want: passkey.Unknown},
		{name: "two ids", answer: func(s *site, _ *passkeytest.Authenticator, m map[string]any) {
			m["id"] = passkeytest.Base64(s.register("p-eve").ID)
		}, want: passkey.Wrong},
		{name: "another type", answer: func(_ *site, _ *passkeytest.Authenticator, m map[string]any) { m["type"] = "password" }, want: passkey.Wrong},
		{name: "too long", answer: func(_ *site, _ *passkeytest.Authenticator, m map[string]any) {
			m["x"] = strings.Repeat("x", passkey.MaxAnswer)
		}, want: passkey.Wrong},
		{name: "nothing", answer: func(_ *site, _ *passkeytest.Authenticator, m map[string]any) { clear(m) }, want: passkey.Wrong},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			a := s.register("p-ada")
			for range 2 { // so that the Scratch knows the count
				_, err := s.login(a)
				require.NoError(t, err)
			}
			ask, ceremony, err := s.BeginLogin(t.Context())
			require.NoError(t, err)
			if c.change != nil {
				c.change(s, a)
			}
			answer := a.Get(ask)
			if c.answer != nil {
				var m map[string]any
				require.NoError(t, json.Unmarshal(answer, &m))
				c.answer(s, a, m)
				answer, err = json.Marshal(m)
				require.NoError(t, err)
			}
			who, err := s.FinishLogin(t.Context(), ceremony, answer)
			require.ErrorIs(t, err, c.want)
			require.ErrorIs(t, err, auth.ErrUnauthenticated)
			require.Zero(t, who)
			require.NotContains(t, fmt.Sprintf("%v %v", err, errors.Unwrap(err)), ceremony)
			_, err = s.FinishLogin(t.Context(), ceremony, answer)
			require.ErrorIs(t, err, passkey.NotBegun, "a ceremony is answered once")
		})
	}
}

func TestRegistrationsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(s *site, a *passkeytest.Authenticator)
		who    func(s *site) auth.Identity
		as     string // the passkey's name
		want   error
	}{
		{name: "another challenge", change: func(_ *site, a *passkeytest.Authenticator) { a.Challenge = passkeytest.Base64(make([]byte, 32)) }, want: passkey.Wrong},
		{name: "another page", change: func(_ *site, a *passkeytest.Authenticator) { a.Origin = "https://evil.example" }, want: passkey.Wrong},
		{name: "within another page", change: func(_ *site, a *passkeytest.Authenticator) { a.Cross = true }, want: passkey.Wrong},
		{name: "another domain", change: func(_ *site, a *passkeytest.Authenticator) { a.Domain = "evil.example" }, want: passkey.Wrong},
		{name: "a log-in", change: func(_ *site, a *passkeytest.Authenticator) { a.Kind = "webauthn.get" }, want: passkey.Wrong},
		{name: "nobody was there", change: func(_ *site, a *passkeytest.Authenticator) { a.Flags &^= passkeytest.Present }, want: passkey.Wrong},
		{name: "it is not known who was there", change: func(_ *site, a *passkeytest.Authenticator) { a.Flags &^= passkeytest.Verified }, want: passkey.Wrong},
		{name: "it is backed up, which it cannot be", change: func(_ *site, a *passkeytest.Authenticator) { a.Flags |= passkeytest.BackedUp }, want: passkey.Wrong},
		{name: "a passkey that somebody has", change: func(s *site, a *passkeytest.Authenticator) { a.ID = s.register("p-eve").ID }, want: pool.ErrExists},
		{name: "for somebody else", who: func(s *site) auth.Identity { return s.whole("p-eve") }, want: passkey.NotBegun},
		{name: "by a token", who: func(s *site) auth.Identity {
			who := s.whole("p-ada")
			who.Token = "t"
			return who
		}, want: auth.ErrForbidden},
		{name: "with a part of the rights", who: func(s *site) auth.Identity {
			who := s.whole("p-ada")
			who.Whole = false
			return who
		}, want: auth.ErrForbidden},
		{name: "by who has signed out everywhere", change: func(s *site, _ *passkeytest.Authenticator) { s.do(auth.Command{Reset: "p-ada"}) }, want: auth.ErrUnauthenticated},
		{name: "by who is disabled", change: func(s *site, _ *passkeytest.Authenticator) { s.do(auth.Command{Disable: "p-ada"}) }, want: auth.ErrUnauthenticated},
		{name: "a name that cannot be read", as: "a\nb", want: pool.ErrInvalid},
		{name: "a long name", as: strings.Repeat("x", 65), want: pool.ErrInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, a, name := newSite(t), newAuthenticator(t), "laptop"
			who := s.whole("p-ada")
			ask, ceremony, err := s.BeginRegistration(t.Context(), who)
			require.NoError(t, err)
			if c.change != nil {
				c.change(s, a)
			}
			if c.who != nil {
				who = c.who(s)
			}
			if c.as != "" {
				name = c.as
			}
			_, err = s.finish(who, ceremony, name, a.Create(ask))
			require.ErrorIs(t, err, c.want)
			require.Empty(t, s.s.Passkeys("p-ada"))
		})
	}
	s := newSite(t)
	for range auth.MaxPasskeys {
		s.register("p-ada")
	}
	_, _, err := s.BeginRegistration(t.Context(), s.whole("p-ada"))
	require.ErrorIs(t, err, pool.ErrInvalid)
	_, _, err = s.BeginRegistration(t.Context(), auth.Identity{Principal: "p-robot", Whole: true, Generation: s.whole("p-robot").Generation})
	require.ErrorIs(t, err, passkey.Unknown)
}

// A ceremony is for what it was begun for, for who has begun it, for a while, and once.
func TestCeremonies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		a := s.register("p-ada")
		ask, register, err := s.BeginRegistration(t.Context(), s.whole("p-ada"))
		require.NoError(t, err)
		b := newAuthenticator(t)
		_, err = s.FinishLogin(t.Context(), register, b.Create(ask))
		require.ErrorIs(t, err, passkey.NotBegun)
		get, login, err := s.BeginLogin(t.Context())
		require.NoError(t, err)
		_, err = s.finish(s.whole("p-ada"), login, "x", b.Create(ask))
		require.ErrorIs(t, err, passkey.NotBegun)
		answer := a.Get(get)
		_, err = s.FinishLogin(t.Context(), login, answer)
		require.NoError(t, err)
		_, err = s.FinishLogin(t.Context(), login, answer)
		require.ErrorIs(t, err, passkey.NotBegun)
		for _, none := range []string{"", "x", strings.Repeat("x", 1000)} {
			_, err = s.FinishLogin(t.Context(), none, answer)
			require.ErrorIs(t, err, passkey.NotBegun)
		}
		get, login, err = s.BeginLogin(t.Context())
		require.NoError(t, err)
		time.Sleep(passkey.Patience)
		_, err = s.FinishLogin(t.Context(), login, a.Get(get))
		require.ErrorIs(t, err, passkey.NotBegun)
	})
}

// If the count is lost, a copy from before the registration is still known by it.
func TestCountIsLost(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.register("p-ada")
	a.Count = 0
	_, err := s.login(a)
	require.ErrorIs(t, err, passkey.Cloned)
	_, err = s.login(a)
	require.NoError(t, err)
}

// Of many who bring the same answer at once, or use a passkey and its copy, one is let in.
func TestConcurrentLogins(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	a := s.register("p-ada")
	ask, ceremony, err := s.BeginLogin(t.Context())
	require.NoError(t, err)
	answer := a.Get(ask)
	var all sync.WaitGroup
	in := make(chan struct{}, 20)
	for range 20 {
		all.Go(func() {
			if _, err := s.FinishLogin(t.Context(), ceremony, answer); err == nil {
				in <- struct{}{}
			}
		})
	}
	all.Wait()
	require.Len(t, in, 1)

	copied := *a // counts from where it was copied
	in = make(chan struct{}, 2)
	for _, one := range []*passkeytest.Authenticator{a, &copied} {
		ask, ceremony, err := s.BeginLogin(t.Context())
		require.NoError(t, err)
		answer := one.Get(ask)
		all.Go(func() {
			switch _, err := s.FinishLogin(t.Context(), ceremony, answer); {
			case err == nil:
				in <- struct{}{}
			case !errors.Is(err, passkey.Cloned):
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.Len(t, in, 1)
}

// A store that fails lets nobody in, and registers nothing.
func TestStoresFail(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, call := range []string{"State", "Get", "Get count", "Put", "Delete"} {
		s := newSite(t)
		a := s.register("p-ada")
		ask, ceremony, err := s.BeginLogin(t.Context())
		require.NoError(t, err)
		answer := a.Get(ask)
		s.fails[call] = broken
		_, err = s.FinishLogin(t.Context(), ceremony, answer)
		require.ErrorIs(t, err, broken, call)
		require.NotErrorIs(t, err, auth.ErrUnauthenticated, call)
	}
	for _, call := range []string{"State", "Get", "Delete"} {
		s, a := newSite(t), newAuthenticator(t)
		ask, ceremony, err := s.BeginRegistration(t.Context(), s.whole("p-ada"))
		require.NoError(t, err)
		s.fails[call] = broken
		_, err = s.finish(s.whole("p-ada"), ceremony, "x", a.Create(ask))
		require.ErrorIs(t, err, broken, call)
		require.Empty(t, s.s.Passkeys("p-ada"))
	}
	for call, want := range map[string]error{"Put": passkey.Cloned, "Delete": passkey.NotBegun} { // somebody was faster
		s := newSite(t)
		a := s.register("p-ada")
		ask, ceremony, err := s.BeginLogin(t.Context())
		require.NoError(t, err)
		answer := a.Get(ask)
		s.fails[call] = pool.ErrConflict
		_, err = s.FinishLogin(t.Context(), ceremony, answer)
		require.ErrorIs(t, err, want)
	}
	s := newSite(t)
	s.fails["Put"] = broken
	_, _, err := s.BeginLogin(t.Context())
	require.ErrorIs(t, err, broken)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for n, change := range []func(c *passkey.Config){
		func(c *passkey.Config) { c.Site.Domain = "" }, func(c *passkey.Config) { c.Site.Domain = page }, func(c *passkey.Config) { c.Title = "" },
		func(c *passkey.Config) { c.Site.Origin = "" }, func(c *passkey.Config) { c.State = nil }, func(c *passkey.Config) { c.Scratch = nil },
	} {
		c := s.config()
		change(&c)
		_, err := passkey.New(c)
		require.ErrorIs(t, err, pool.ErrInvalid, "%d", n)
	}
}

// Whatever a browser sends, nobody is let in who has no passkey.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"AAAA","signature":"AA","userHandle":"cC1hZGE"}}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		s := newSite(t)
		s.register("p-ada")
		_, ceremony, err := s.BeginLogin(t.Context())
		require.NoError(t, err)
		who, err := s.FinishLogin(t.Context(), ceremony, answer)
		require.ErrorIs(t, err, auth.ErrUnauthenticated)
		require.Zero(t, who)
		_, ceremony, err = s.BeginRegistration(t.Context(), s.whole("p-ada"))
		require.NoError(t, err)
		_, err = s.finish(s.whole("p-ada"), ceremony, "x", answer)
		require.ErrorIs(t, err, auth.ErrUnauthenticated)
		require.Len(t, s.s.Passkeys("p-ada"), 1)
	})
}

// Where passkeys can work, and why not elsewhere.
func TestSites(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]passkey.Site{
		"https://berthd.example":            {Domain: "berthd.example", Origin: "https://berthd.example"},
		"https://Berthd.Example:443/there/": {Domain: "berthd.example", Origin: "https://berthd.example"},
		"https://berthd.example:8443":       {Domain: "berthd.example", Origin: "https://berthd.example:8443"},
		"http://localhost:8080":             {Domain: "localhost", Origin: "http://localhost:8080"},
		"http://localhost:80":               {Domain: "localhost", Origin: "http://localhost"},
		"http://berthd.localhost":           {Domain: "berthd.localhost", Origin: "http://berthd.localhost"},
		"https://xn--bcher-kva.example":     {Domain: "xn--bcher-kva.example", Origin: "https://xn--bcher-kva.example"},
	} {
		got, err := passkey.SiteOf(address)
		require.NoError(t, err, address)
		require.Equal(t, want, got)
		c := newSite(t).config()
		c.Site = got
		p, err := passkey.New(c)
		require.NoError(t, err, address)
		require.Equal(t, want, p.Site())
	}
	for address, want := range map[string]string{
		"http://berthd.example": "https://", "http://localhost.example": "https://", "ftp://localhost": "https://", "https://192.0.2.7": "IP address", "http://127.0.0.1:8080": "IP address",
		"https://[2001:db8::1]:8443": "IP address", "https://bücher.example": "xn--", "https://a b": "address", "berthd.example": "address", "": "address", "https://:8443": "name", "https://pool:8443": "dot",
	} {
		_, err := passkey.SiteOf(address)
		require.ErrorIs(t, err, pool.ErrInvalid, address)
		require.ErrorContains(t, err, want, address)
	}
}
