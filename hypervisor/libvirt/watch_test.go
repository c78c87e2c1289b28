package libvirt_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/libvirt"
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

// A daemon takes one subscription to a kind of events on a connection. However many wait for a reboot, and watch, on a
// host at the same time, and one after the other, there is one.
func TestEventsTogether(t *testing.T) {
	base := uris(t, "test+unix:", 1)[0]
	d := open(t, libvirt.Config{
		Timeouts: libvirt.Timeouts{Shutdown: 100 * time.Millisecond}, // the test driver sends no reboot events
		Hosts:    []libvirt.HostConfig{{Name: "h1", URI: nodeURI(t, base, "h1", node)}},
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all []chan struct{}
	var ends []chan error
	for range 3 {
		changed, ended := watching(t, d, ctx)
		soon(t, changed, "at the beginning")
		all, ends = append(all, changed), append(ends, ended)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		o := ordered(fmt.Sprintf("web-%d", i))
		o.Source = "volume:default/base.qcow2"
		require.NoError(t, d.Create(t.Context(), o))
		require.NoError(t, d.Start(t.Context(), o.Ref))
		wg.Go(func() {
			for range 3 {
				if err := d.Reboot(t.Context(), o.Ref); err != nil {
					t.Errorf("reboot: %v", err)
				}
			}
		})
	}
	for _, changed := range all {
		soon(t, changed, "a machine has come")
	}
	wg.Wait()
	cancel()
	for _, ended := range ends {
		require.ErrorIs(t, <-ended, context.Canceled)
	}
}
