package access_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/session"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/pool"
)

func request() *http.Request { return httptest.NewRequest(http.MethodPost, "/", nil) }

func ptr[T any](v T) *T { return &v }

// A ledger that is lost: commands are refused within seconds, reading for five minutes less what was known before, and everything then.
func TestBooksThatCannotBeRenewed(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]func(context.Context) error{
		"lost":         func(context.Context) error { return &pool.Error{Kind: pool.ErrUnavailable} },
		"slow":         func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"not followed": func(context.Context) error { return &pool.Error{Kind: pool.ErrStale} },
		"corrupt":      func(context.Context) error { return &pool.Error{Kind: pool.ErrCorrupt} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				var look atomic.Pointer[func(context.Context) error]
				look.Store(ptr(nothingMore))
				b := access.NewBooks(known(t).View, func(ctx context.Context) error { return (*look.Load())(ctx) })
				g := guarded(t, access.Config{Books: b, Scratch: pool.NewMemoryScratch()})
				h, cookie := handler(g), signIn(t, g)
				by := map[string]edit{"token": header("Authorization", "Bearer "+token), "cookie": func(r *http.Request) { r.AddCookie(cookie) }}
				go b.Run(ctx)
				defer func() { stop(); synctest.Wait() }()

				time.Sleep(20 * time.Minute)
				synctest.Wait()
				require.NoError(t, b.Current())
				require.NoError(t, b.Readable())

				look.Store(&lost)
				time.Sleep(20 * time.Second)
				require.ErrorIs(t, b.Current(), pool.ErrUnavailable)
				require.NoError(t, b.Readable())
				for _, with := range by {
					require.Equal(t, 200, ask(h, http.MethodGet, "/x", with).Code)
				}

				time.Sleep(access.MostStale - 25*time.Second)
				require.NoError(t, b.Readable())
				time.Sleep(10 * time.Second)
				require.ErrorIs(t, b.Readable(), pool.ErrUnavailable)
				_, err := b.State(ctx)
				require.ErrorIs(t, err, pool.ErrUnavailable)
				require.Error(t, b.Read(func(*pool.State) { t.Error("they are not to be read") }))
				for _, with := range by {
					require.Equal(t, 503, ask(h, http.MethodGet, "/x", with).Code)
				}
				code, _ := g.NewCode()
				_, err = g.SignIn(request(), code)
				require.ErrorIs(t, err, pool.ErrUnavailable)

				look.Store(ptr(nothingMore))
				time.Sleep(5 * time.Second)
				require.NoError(t, b.Current(), "it is back")
				for _, with := range by {
					require.Equal(t, 200, ask(h, http.MethodGet, "/x", with).Code)
				}
			})
		})
	}
}

// What is revoked in the books is void at once, whatever it was.
func TestWhatIsRevokedIsVoid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]auth.Command{
		"reset":    {Reset: "ada"},
		"disabled": {Disable: "ada"},
		"removed":  {Remove: "ada"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, scratch := known(t), pool.NewMemoryScratch()
			decide(t, m, auth.Command{Put: &auth.Principal{ID: "ada", Kind: auth.Person, Name: "ada"}})
			decide(t, m, auth.Command{Bind: &auth.Binding{ID: "ada", Principal: "ada", Role: auth.Admin, Scope: auth.Scope{Everything: true}}})
			text, made, err := auth.NewToken(access.TokenPrefix)
			require.NoError(t, err)
			made.Principal, made.Expires, made.Limits = "ada", time.Now().Add(time.Hour), []auth.Limit{{Role: auth.Admin, Scope: auth.Scope{Everything: true}}}
			decide(t, m, auth.Command{Token: &made})

			b := access.NewBooks(m.View, nothingMore)
			keys, err := access.LoadKeys(filepath.Join(t.TempDir(), "keys"))
			require.NoError(t, err)
			entered, err := session.New(session.Config{Issuer: "x", Audience: "x", Keys: keys.Now, State: b.State, Scratch: scratch})
			require.NoError(t, err)
			g := guarded(t, access.Config{Books: b, Scratch: scratch, Others: []auth.Authenticator{
				auth.APITokens{Prefix: access.TokenPrefix, State: b.State, Used: scratch}, entered,
			}})
			known, err := b.State(t.Context())
			require.NoError(t, err)
			ada, _ := known.Principal("ada")
			whole := auth.Identity{Principal: "ada", Whole: true, Generation: ada.Generation}
			pair, err := entered.Begin(t.Context(), whole)
			require.NoError(t, err)
			cookie, err := g.Begin(t.Context(), whole)
			require.NoError(t, err)

			by := map[string]edit{
				"session": header("Authorization", "Bearer "+pair.Access),
				"cookie":  func(r *http.Request) { r.AddCookie(cookie) },
				"token":   header("Authorization", "Bearer "+text),
			}
			h := handler(g)
			for how, with := range by {
				w := ask(h, http.MethodGet, "/x", with)
				require.Equal(t, 200, w.Code, how)
				require.Equal(t, "ada", w.Body.String(), how)
			}
			decide(t, m, c)
			for how, with := range by {
				want := 401
				if name == "reset" && how == "token" {
					want = 200 // as package auth has it
				}
				require.Equal(t, want, ask(h, http.MethodGet, "/x", with).Code, how)
			}
			_, err = g.Begin(t.Context(), whole)
			require.ErrorIs(t, err, auth.ErrUnauthenticated)
			require.Equal(t, 200, ask(h, http.MethodGet, "/x", header("Authorization", "Bearer "+token)).Code, "others are not concerned")
		})
	}
}

// Somebody who is known may do nothing for that alone. When the ledger is lost nobody may change anything, and reading is decided as before.
func TestOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		m := known(t)
		decide(t, m, auth.Command{Put: &auth.Principal{ID: "ada", Kind: auth.Person, Name: "ada"}})
		var lost atomic.Bool
		b := access.NewBooks(m.View, func(ctx context.Context) error {
			if lost.Load() {
				return &pool.Error{Kind: pool.ErrUnavailable}
			}
			return nothingMore(ctx)
		})
		g := guarded(t, access.Config{Books: b, Scratch: pool.NewMemoryScratch()})
		go b.Run(ctx)
		defer func() { stop(); synctest.Wait() }()
		st, err := b.State(ctx)
		require.NoError(t, err)
		ada, _ := st.Principal("ada")
		cookie, err := g.Begin(ctx, auth.Identity{Principal: "ada", Whole: true, Generation: ada.Generation})
		require.NoError(t, err)
		done := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		closed := func(*http.Request) bool { return false }
		read := g.Require(g.Only(auth.Read, auth.Metrics, done), closed)
		write := g.Require(g.Only(auth.Create, auth.Metrics, done), closed)
		root, hers := header("Authorization", "Bearer "+token), func(r *http.Request) { r.AddCookie(cookie) }

		require.Equal(t, 404, ask(read, http.MethodGet, "/x", hers).Code)
		require.Equal(t, 204, ask(read, http.MethodGet, "/x", root).Code)
		require.Equal(t, 204, ask(write, http.MethodPost, "/x", root).Code)
		decide(t, m, auth.Command{Bind: &auth.Binding{ID: "ada", Principal: "ada", Role: auth.Viewer, Scope: auth.Scope{Everything: true}}})
		require.Equal(t, 204, ask(read, http.MethodGet, "/x", hers).Code)
		w := ask(write, http.MethodPost, "/x", hers, header("Sec-Fetch-Site", "same-origin"))
		require.Equal(t, 403, w.Code)
		require.Contains(t, w.Body.String(), "/problems/not-by-role")

		lost.Store(true)
		time.Sleep(30 * time.Second)
		require.Equal(t, 503, ask(write, http.MethodPost, "/x", root).Code)
		require.Equal(t, 204, ask(read, http.MethodGet, "/x", root).Code)
		require.Equal(t, 204, ask(read, http.MethodGet, "/x", hers).Code)
		time.Sleep(access.MostStale)
		require.Equal(t, 503, ask(read, http.MethodGet, "/x", root).Code)
	})
}

// Books that know nobody let nobody in, with the right token either.
func TestNobodyIsKnown(t *testing.T) {
	t.Parallel()
	st := pool.NewState(access.Part())
	g := guarded(t, access.Config{Books: access.NewBooks(func(read func(*pool.State)) { read(st) }, nothingMore), Scratch: pool.NewMemoryScratch()})
	require.Equal(t, 401, ask(handler(g), http.MethodGet, "/x", header("Authorization", "Bearer "+token)).Code)
	code, _ := g.NewCode()
	_, err := g.SignIn(request(), code)
	require.ErrorIs(t, err, auth.ErrUnauthenticated)
}

func TestKeysOfSessions(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "keys")
	k, err := access.LoadKeys(name)
	require.NoError(t, err)
	made, err := k.Now(t.Context())
	require.NoError(t, err)
	again, err := access.LoadKeys(name)
	require.NoError(t, err)
	same, err := again.Now(t.Context())
	require.NoError(t, err)
	require.Equal(t, made[0].ID, same[0].ID)
	require.Equal(t, made[0].Secret, same[0].Secret)

	for _, broken := range []string{"", "{}", "[]", `[{"id":"x","algorithm":"none","secret":"c2VjcmV0"}]`} {
		require.NoError(t, os.WriteFile(name, []byte(broken), 0o600))
		_, err = access.LoadKeys(name)
		require.ErrorContains(t, err, "does not hold keys")
		require.NotContains(t, err.Error(), "c2VjcmV0")
	}
	require.NoError(t, os.Remove(name))
	require.NoError(t, os.Mkdir(name, 0o700))
	_, err = access.LoadKeys(name)
	require.Error(t, err)
	require.False(t, errors.Is(err, os.ErrNotExist))
}
