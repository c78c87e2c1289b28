package berthage_test

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// imported returns a copy of a ledger as an import makes it.
func imported(t *testing.T, from pool.Ledger, identity string, at pool.Revision) *pool.MemoryLedger {
	t.Helper()
	out := copyLedger(t, from, at)
	e, err := pool.NewEvent(pool.KindImported, &pool.Imported{Ledger: "copy", From: identity})
	require.NoError(t, err)
	e.ID, e.Time = rand.Text(), time.Now().UTC()
	_, err = out.Append(t.Context(), at, e)
	require.NoError(t, err)
	return out
}

func power(t *testing.T, m *berthage.Manager, id pool.InstanceID, want pool.Power) {
	t.Helper()
	_, err := m.SetPower(context.Background(), id, want)
	require.NoError(t, err)
}

func remove(t *testing.T, m *berthage.Manager, id pool.InstanceID) {
	t.Helper()
	_, err := m.Delete(context.Background(), id)
	require.NoError(t, err)
}

// tagged names an instance's machine as the ledger tags it.
func tagged(m *berthage.Manager, i pool.Instance) hypervisor.Ref {
	return hypervisor.Ref{Host: i.Place.Host, Tag: hypervisor.Tag{Ledger: m.Status().Ledger, Machine: i.Machine(), Launched: i.Launched}}
}

// watched counts the calls that change something.
type watched struct {
	hypervisor.Driver
	calls *calls
}

type calls struct {
	mu   sync.Mutex
	list []string
}

func (c *calls) add(verb string, m pool.MachineID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, verb+" "+string(m))
}

func (c *calls) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.list)
}

func (w watched) Unwrap() hypervisor.Driver { return w.Driver }

func (w watched) Create(ctx context.Context, o hypervisor.Order) error {
	w.calls.add("create", o.Machine)
	return w.Driver.Create(ctx, o)
}

func (w watched) Start(ctx context.Context, r hypervisor.Ref) error {
	w.calls.add("start", r.Machine)
	return w.Driver.Start(ctx, r)
}

func (w watched) Stop(ctx context.Context, r hypervisor.Ref) error {
	w.calls.add("stop", r.Machine)
	return w.Driver.Stop(ctx, r)
}

func (w watched) Destroy(ctx context.Context, r hypervisor.Ref) error {
	w.calls.add("destroy", r.Machine)
	return w.Driver.Destroy(ctx, r)
}

// TestImportOfALedgerInUse: a copy touches nothing while the original is in use, whatever it is told and
// whatever it sees. Once confirmed it goes on with what there was when it was made, and with nothing else.
func TestImportOfALedgerInUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		b := start(t, fake.Config{Hosts: hosts(4)})
		defer b.stop()
		kept, deleted, rebuilt := b.launch("kept"), b.launch("deleted"), b.launch("rebuilt")
		ended := b.launch("ended")
		for _, i := range []pool.Instance{kept, deleted, rebuilt, ended} {
			settle(t, b.m, i.ID)
		}
		remove(t, b.m, ended.ID)
		settle(t, b.m, ended.ID)
		at := b.m.Status().Revision
		ledger := imported(t, b.ledger, b.m.Status().Ledger, at)

		// The original goes on: one more, one less, and one on another place.
		later := b.launch("later")
		settle(t, b.m, later.ID)
		remove(t, b.m, deleted.ID)
		settle(t, b.m, deleted.ID)

		var made calls
		copied := open(t, watched{b.fleet, &made}, ledger)
		stop := run(t, copied)
		defer stop()
		s := copied.Status()
		require.True(t, s.Unconfirmed)
		require.Equal(t, "copy", s.Ledger)
		time.Sleep(2 * time.Minute)

		again, err := copied.Launch(ctx, berthage.Launch{Token: "kept", Project: "shop", Name: "kept", Spec: spec()})
		require.NoError(t, err)
		require.Equal(t, kept.ID, again.ID, "the same token is the same instance, also after an import")
		power(t, copied, kept.ID, pool.Stopped)
		remove(t, copied, rebuilt.ID)
		fresh, err := copied.Launch(ctx, berthage.Launch{Token: "later", Project: "shop", Name: "other", Spec: spec()})
		require.NoError(t, err)
		require.NotEqual(t, later.ID, fresh.ID, "the original's, of which the copy knows nothing")
		time.Sleep(2 * time.Hour)
		require.Empty(t, made.all(), "nothing is touched before the confirmation")
		i, err := b.m.Instance(kept.ID)
		require.NoError(t, err)
		require.Equal(t, "running", i.Status())
		why := make(map[pool.MachineID]string)
		for _, u := range copied.Unknown() {
			why[u.Tag.Machine] = u.Why
		}
		require.Equal(t, map[pool.MachineID]string{later.Machine(): "made by the ledger that this one is a copy of, after the copy was made"}, why)

		b.stop() // the original is given up, and a machine of an instance that both know as ended comes back
		require.NoError(t, b.fleet.Create(ctx, hypervisor.Order{
			Ref: tagged(b.m, ended), Name: "ended", Spec: spec(), Source: "debian", Allocation: ended.Place.Allocation, Revision: ended.Launched,
		}))
		time.Sleep(2 * time.Hour)
		require.Empty(t, made.all(), "and nothing is swept")
		require.NoError(t, copied.ConfirmImport(ctx))
		require.NoError(t, copied.ConfirmImport(ctx), "once more changes nothing")
		require.False(t, copied.Status().Unconfirmed)
		i = settle(t, copied, kept.ID)
		require.Equal(t, "stopped", i.Status(), "what was launched before is ours")
		settle(t, copied, fresh.ID)
		_, err = copied.Wait(ctx, rebuilt.ID, func(i pool.Instance) bool { return i.Phase == pool.Deleted })
		require.NoError(t, err)
		time.Sleep(2 * time.Hour)
		require.Contains(t, made.all(), "destroy "+string(ended.Machine()))
		require.NotContains(t, strings.Join(made.all(), "\n"), string(later.ID), "what the original launched after is not")
		require.Empty(t, b.fleet.Touched())
		require.Equal(t, map[pool.Power]int{pool.Running: 2, pool.Stopped: 1}, machines(b.fleet))
		missing, err := copied.Instance(deleted.ID)
		require.NoError(t, err)
		require.Equal(t, "missing", missing.Status(), "deleted by the original after the copy was made")
		require.Len(t, copied.Unknown(), 1)
		stop()

		// The same after a restart, from a snapshot.
		var snapshot []byte
		var head pool.Revision
		copied.View(func(st *pool.State) { snapshot, err = st.Snapshot().Bytes(); head = st.Head() })
		require.NoError(t, err)
		require.NoError(t, ledger.Compact(ctx, head, snapshot))
		reopened := open(t, b.fleet, ledger)
		require.Equal(t, head, reopened.Status().Revision)
		stop = run(t, reopened)
		defer stop()
		time.Sleep(time.Minute)
		power(t, reopened, kept.ID, pool.Running)
		i = settle(t, reopened, kept.ID)
		require.Equal(t, "running", i.Status())
		require.Len(t, reopened.Unknown(), 1)
		stop()
	})
}

// TestPlacedAnewByTheOriginal: the original of a copy has placed an instance anew, which has a machine id that the
// copy will give too, and the same launch. The copy never takes it for its own, nor for a stray.
func TestPlacedAnewByTheOriginal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		b := start(t, fake.Config{Hosts: hosts(4)})
		defer b.stop()
		i := b.launch("web")
		settle(t, b.m, i.ID)
		ledger := imported(t, b.ledger, b.m.Status().Ledger, b.m.Status().Revision)
		shelve := func(m *berthage.Manager) pool.Instance {
			power(t, m, i.ID, pool.Shelved)
			settle(t, m, i.ID)
			power(t, m, i.ID, pool.Running)
			return settle(t, m, i.ID)
		}
		theirs := shelve(b.m)
		require.Equal(t, i.ID.Machine(1), theirs.Machine())
		b.stop()

		m := open(t, b.fleet, ledger)
		stop := run(t, m)
		defer stop()
		require.NoError(t, m.ConfirmImport(ctx))
		time.Sleep(2 * time.Hour)
		missing, err := m.Instance(i.ID)
		require.NoError(t, err)
		require.Equal(t, "missing", missing.Status(), "its machine is not there, and the other one is not it")
		remove(t, m, i.ID)
		_, err = m.Wait(ctx, i.ID, func(i pool.Instance) bool { return i.Phase == pool.Deleted })
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet), "the original's machine is left alone")
		require.Len(t, m.Unknown(), 1)
	})
}

// TestCreateThatTheOriginalSent: an instance was only placed when the copy was made, and the original has created its
// machine since, on a hypervisor that would create it twice. The copy looks before it creates.
func TestCreateThatTheOriginalSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		b := start(t, fake.Config{Hosts: hosts(2), Copies: true})
		defer b.stop()
		i := b.launch("web")
		var placed pool.Revision
		for batch, err := range b.ledger.Read(ctx, 0) {
			require.NoError(t, err)
			if batch.Events[0].Kind == pool.KindLaunched {
				placed = batch.Revision
			}
		}
		ledger := imported(t, b.ledger, b.m.Status().Ledger, placed)
		settle(t, b.m, i.ID)
		b.stop()

		m := open(t, b.fleet, ledger)
		stop := run(t, m)
		defer stop()
		require.NoError(t, m.ConfirmImport(ctx))
		i = settle(t, m, i.ID)
		require.Equal(t, "running", i.Status())
		require.Empty(t, b.fleet.Doubles())
		require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet))
	})
}
