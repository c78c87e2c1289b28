package berthage_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/whatif"
)

// A day of a real Manager happens again: as it was nothing is refused, and on fewer hosts what does not fit is; from the
// beginning, from a moment in the middle, and after the ledger has been compacted.
func TestReplayOnTheManager(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		b := start(t, fake.Config{Hosts: hosts(3)})
		defer b.stop()
		began := time.Now()
		large := pool.Spec{Image: "debian-12", Resources: pool.Resources{pool.CPU: 6 * pool.Core, pool.Memory: 4 * pool.GiB}}
		launch := func(name string) pool.InstanceID {
			i, err := b.m.Launch(ctx, berthage.Launch{Token: name, Project: "shop", Name: name, Spec: large})
			require.NoError(t, err)
			time.Sleep(time.Hour)
			return i.ID
		}
		launch("a")
		b2 := launch("b")
		middle := time.Now()
		launch("c")
		_, err := b.m.Delete(ctx, b2)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		launch("d")

		got, err := b.m.Replay(ctx, began.Add(-time.Hour), time.Time{}, whatif.Question{}, whatif.ReplayOptions{})
		require.NoError(t, err)
		require.Equal(t, b.m.Status().Revision, got.Revision)
		require.Equal(t, 4, got.Came)
		require.Equal(t, 1, got.Went)
		require.Zero(t, got.Same.Refused()+got.Changed.Refused())
		require.Equal(t, 3, got.Same.Most)
		require.WithinDuration(t, time.Now(), got.Until, time.Second, "until now, though nothing was written for an hour")

		// There were no hosts yet when the ledger began: what is lost is lost when it comes.
		fewer := whatif.Question{Lose: []pool.HostID{hosts(1)[0].ID}, Add: []whatif.Addition{{Like: hosts(1)[0].ID, Count: 1}}}
		got, err = b.m.Replay(ctx, time.Time{}, time.Time{}, fewer, whatif.ReplayOptions{})
		require.NoError(t, err)
		require.Zero(t, got.Changed.Refused())
		fewer.Add = nil
		got, err = b.m.Replay(ctx, time.Time{}, time.Time{}, fewer, whatif.ReplayOptions{})
		require.NoError(t, err)
		require.Equal(t, 1, got.Changed.Refused())
		_, err = b.m.Replay(ctx, time.Time{}, time.Time{}, whatif.Question{Lose: []pool.HostID{"sim/none"}}, whatif.ReplayOptions{})
		require.ErrorIs(t, err, pool.ErrNotFound)

		check := func() {
			t.Helper()
			got, err := b.m.Replay(ctx, middle, middle.Add(30*time.Minute), fewer, whatif.ReplayOptions{Scheduler: &scheduler.Scheduler{Strategy: scheduler.Spread}})
			require.NoError(t, err)
			require.Equal(t, 1, got.Came)
			require.Equal(t, 1, got.Changed.Refused(), "of a, b and c two fit")
			require.InDelta(t, 3, got.Same.Hosts, 0.01)
		}
		check()
		_, err = b.m.Compact(ctx)
		require.NoError(t, err)
		check() // from the archive
		late, err := b.m.Replay(ctx, time.Now().Add(time.Second), time.Time{}, whatif.Question{}, whatif.ReplayOptions{})
		require.NoError(t, err, "from the checkpoint")
		require.Zero(t, late.Came)
		require.InDelta(t, 3, late.Same.Hosts, 0, "as it is at that moment")

		_, err = b.m.Replay(ctx, middle, began, whatif.Question{}, whatif.ReplayOptions{})
		require.ErrorIs(t, err, pool.ErrInvalid)
		require.ErrorContains(t, err, "until")
		done, cancel := context.WithCancel(ctx)
		cancel()
		_, err = b.m.Replay(done, began, time.Time{}, whatif.Question{}, whatif.ReplayOptions{})
		require.ErrorIs(t, err, context.Canceled)
	})
}
