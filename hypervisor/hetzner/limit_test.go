package hetzner_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hetzner"
	"github.com/berthage/berthage/hypervisor/hetzner/hetznertest"
)

// Two drivers of one project have one budget between them. When it is used up they wait for what is given back, and
// neither gets into refusals again and again.
func TestLimitIsShared(t *testing.T) {
	t.Parallel()
	const perHour = 3600 * 50 // one every 20 ms
	f := cloud(t, hetznertest.CloudConfig{ActionTime: time.Millisecond, PerHour: perHour, Burst: 10})
	limit := new(hetzner.Limit)
	_, known := limit.Remaining()
	require.False(t, known)
	var drivers []*hetzner.Driver
	for range 2 {
		c := config(t, f)
		c.Limit = limit
		drivers = append(drivers, open(t, c))
	}
	_, err := drivers[0].Machines(t.Context(), "hetzner/fsn1") // tells what there is
	require.NoError(t, err)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			_, err := drivers[i%2].Console(context.Background(), placed(order("x"), "fsn1", i).Ref) // one request each
			require.ErrorIs(t, err, hypervisor.ErrNotFound)
		})
	}
	wg.Wait()
	require.Greater(t, time.Since(began), 20*20*time.Millisecond, "as fast as it is given back")
	refused := 0
	for _, r := range f.Requests("", "") {
		if r.Status == http.StatusTooManyRequests {
			refused++
		}
	}
	require.Less(t, refused, 12, "of 40")
	require.True(t, limit.Scarce())
}

// Who cannot wait long enough is told at once, and nothing is sent.
func TestLimitWithinTheContext(t *testing.T) {
	t.Parallel()
	f := cloud(t, hetznertest.CloudConfig{PerHour: 60, Burst: 1}) // one a minute
	d := open(t, config(t, f))
	o := placed(order("debian-12"), "fsn1", 0)
	_, err := d.Machines(t.Context(), "hetzner/fsn1")
	require.NoError(t, err)
	for _, call := range map[string]func(context.Context) error{
		"list":   func(ctx context.Context) error { _, err := d.Hosts(ctx); return err },
		"create": func(ctx context.Context) error { return d.Create(ctx, o) },
	} {
		before := len(f.Requests("", ""))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		began := time.Now()
		err := call(ctx)
		cancel()
		require.ErrorIs(t, err, hypervisor.ErrUnavailable)
		require.True(t, hypervisor.Nothing(err))
		require.Less(t, time.Since(began), 5*time.Second)
		require.Len(t, f.Requests("", ""), before)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = d.Machines(ctx, "hetzner/fsn1") // the shared list waits as long as somebody waits for it
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
