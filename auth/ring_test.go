package auth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
)

var _ ring.Decider = (*auth.State)(nil)

// daemon is a ring with the part.
type daemon struct {
	*ring.Ring
	t *testing.T
}

func open(t *testing.T, ledger pool.Ledger) daemon {
	t.Helper()
	r, err := ring.Open(t.Context(), ring.Config{Ledger: ledger, Logger: slog.New(slog.DiscardHandler), Parts: []pool.Part{auth.New(nil)}})
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return daemon{r, t}
}

func (d daemon) state() (s *auth.State) {
	d.View(func(st *pool.State) { s = auth.Of(st) })
	return s
}

func (d daemon) try(c auth.Command) error {
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return d.Do(context.Background(), ring.Command{ToPart: &ring.ToPart{Part: auth.Name, Command: raw}}, ring.Caller{Actor: "test"})
}

func (d daemon) do(c auth.Command) {
	d.t.Helper()
	c.Program = true
	require.NoError(d.t, d.try(c))
}

func (d daemon) identity(id string) *auth.Identity {
	d.t.Helper()
	p, ok := d.state().Principal(id)
	require.True(d.t, ok)
	return &auth.Identity{Principal: id, Whole: true, Generation: p.Generation}
}

// TestTwoAdminsAtOnce: of two admins who take each other's right away at the same time, on two daemons, one succeeds: a command is decided
// on what the other has committed.
func TestTwoAdminsAtOnce(t *testing.T) {
	t.Parallel()
	for range 20 {
		ledger := pool.NewMemoryLedger()
		a := open(t, ledger)
		for _, id := range []string{"ann", "bob"} {
			a.do(auth.Command{Put: &auth.Principal{ID: id, Kind: auth.Person, Name: id}})
			a.do(auth.Command{Bind: &auth.Binding{ID: "b-" + id, Principal: id, Role: auth.Admin, Scope: everything()}})
		}
		b := open(t, ledger)
		ann, bob := a.identity("ann"), b.identity("bob")
		var errs [2]error
		var wg sync.WaitGroup
		wg.Go(func() { errs[0] = a.try(auth.Command{By: ann, Unbind: "b-bob"}) })
		wg.Go(func() { errs[1] = b.try(auth.Command{By: bob, Unbind: "b-ann"}) })
		wg.Wait()
		lost := errs[0]
		if lost == nil {
			lost = errs[1]
		} else {
			require.NoError(t, errs[1])
		}
		require.ErrorIs(t, lost, auth.ErrForbidden)
		var no *auth.Refusal
		require.ErrorAs(t, lost, &no)
		require.Equal(t, auth.NoBinding, no.Reason)
	}
}

// TestForgottenInTheRing: once somebody is forgotten nothing of them is in the ledger, in its archive or in its checkpoint, and a daemon
// that starts then knows all the rest.
func TestForgottenInTheRing(t *testing.T) {
	t.Parallel()
	ledger := pool.NewMemoryLedger()
	a := open(t, ledger)
	for _, id := range []string{"ann", "bob"} {
		a.do(auth.Command{Put: &auth.Principal{ID: id, Kind: auth.Person, Name: id + "@canary.example"}})
		a.do(auth.Command{Key: &auth.Key{ID: "k", Principal: id, Line: sshLine() + "-canary-" + id}})
		a.do(auth.Command{Set: &auth.SetPassword{Principal: id, Hash: argon()}})
		a.do(auth.Command{Passkey: passkey("p", id)})
		a.do(auth.Command{Bind: &auth.Binding{ID: "b-" + id, Principal: id, Role: auth.Admin, Scope: everything()}})
	}
	_, err := a.Compact(t.Context())
	require.NoError(t, err)
	a.do(auth.Command{Put: &auth.Principal{ID: "ann", Kind: auth.Person, Name: "anna@canary.example"}})
	_, err = a.Forget(t.Context(), auth.Subject("ann"), ring.Caller{Actor: "test"})
	require.NoError(t, err)

	kept := func(e *pool.Event) {
		if e.Subject == auth.Subject("ann") {
			require.Nil(t, e.Private, e.Kind)
			require.NotEmpty(t, e.PrivateHash)
		}
	}
	for batch, err := range ledger.Archive(t.Context(), 0) {
		require.NoError(t, err)
		for n := range batch.Events {
			kept(&batch.Events[n])
		}
	}
	at, snapshot, err := ledger.Checkpoint(t.Context())
	require.NoError(t, err)
	require.NotContains(t, string(snapshot), "anna")
	require.NotContains(t, string(snapshot), base64.StdEncoding.EncodeToString([]byte("canary-credential-of-ann")))
	require.Contains(t, string(snapshot), base64.StdEncoding.EncodeToString([]byte("canary-credential-of-bob")))
	require.Contains(t, string(snapshot), "bob@canary.example")
	for batch, err := range ledger.Read(t.Context(), at) {
		require.NoError(t, err)
		for n := range batch.Events {
			kept(&batch.Events[n])
		}
	}
	b := open(t, ledger)
	require.Equal(t, save(t, a.state()), save(t, b.state()))
	_, ok := b.state().Named("anna@canary.example")
	require.False(t, ok)
	bob, ok := b.state().Named("bob@canary.example")
	require.True(t, ok)
	require.Equal(t, "bob", bob.ID)
	require.NoError(t, b.try(auth.Command{By: b.identity("ann"), Unbind: "b-bob"}), "what they may do is not forgotten")
}
