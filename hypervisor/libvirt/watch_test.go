package libvirt_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
)

// watching calls Watch and returns a channel that holds an element when changed was called, and how it ended.
func watching(t *testing.T, w hypervisor.Watcher, ctx context.Context) (changed chan struct{}, ended chan error) {
	t.Helper()
	changed, ended = make(chan struct{}, 100), make(chan error, 1)
	go func() {
		ended <- w.Watch(ctx, oneHost, func() { changed <- struct{}{} })
	}()
	return changed, ended
}

func soon(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		require.Fail(t, "changed was not called", what)
	}
}

// A watch survives the loss of its connection: it watches again, and says so, as something may have been missed. When
// the daemon has gone it ends.
func TestWatchAgain(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	d := connected(t, daemon)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changed, ended := watching(t, d, ctx)
	soon(t, changed, "at the beginning")
	for range 3 {
		daemon.stop()
		daemon.start()
		soon(t, changed, "after a loss")
	}
	require.Equal(t, 4, daemon.count(procSubscribe))
	daemon.stop()
	select {
	case err := <-ended:
		require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	case <-time.After(20 * time.Second):
		require.Fail(t, "it still watches")
	}

	daemon.start()
	changed, ended = watching(t, d, ctx)
	soon(t, changed, "at the beginning")
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.NoError(t, d.Close())
	_, ended = watching(t, d, t.Context())
	require.ErrorIs(t, <-ended, hypervisor.ErrUnavailable)
}
