package hetzner_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hetzner"
	"github.com/berthage/berthage/pool"
)

// A Manager over two locations: the smallest type that covers a request is taken, a location that is full is passed by,
// and at the end nothing is left that costs money.
func TestManager(t *testing.T) {
	t.Parallel()
	f := cloud(t, fast())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	m, err := berthage.Open(ctx, berthage.Config{
		Ledger: pool.NewMemoryLedger(), Ephemeral: true, Drivers: map[string]hypervisor.Driver{"hetzner": open(t, config(t, f))}, Poll: 50 * time.Millisecond,
	})
	require.NoError(t, err)
	ran := make(chan error, 1)
	go func() { ran <- m.Run(ctx) }()
	defer func() {
		cancel()
		<-ran
	}()
	require.NoError(t, m.PutProject(ctx, pool.Project{Name: "shop"}))
	require.NoError(t, m.PutImage(ctx, pool.Image{Name: "debian-12", User: "debian", Sources: map[string]string{"hetzner": "debian-12"}}))
	for _, h := range []pool.HostID{"hetzner/fsn1", "hetzner/nbg1"} {
		_, err = m.AddHost(ctx, h)
		require.NoError(t, err)
	}
	wait := func(i pool.Instance) pool.Instance {
		t.Helper()
		i, err := m.Wait(ctx, i.ID, berthage.Settled)
		require.NoError(t, err)
		return i
	}
	spec := pool.Spec{
		Image: "debian-12", Resources: pool.Resources{pool.CPU: 3 * pool.Core, pool.Memory: 5 * pool.GiB},
		Disks: []pool.Disk{{Size: 20 * pool.GiB}},
	}
	f.SetRoom("fsn1", 0)
	f.SetRoom("nbg1", 1)
	first, err := m.Launch(ctx, berthage.Launch{Token: "1", Project: "shop", Name: "web-1", Spec: spec})
	require.NoError(t, err)
	first = wait(first)
	require.Equal(t, []any{pool.Active, pool.Running, "medium", pool.HostID("hetzner/nbg1")}, []any{first.Phase, first.Is, first.Place.Allocation.Shape, first.Place.Host})
	require.Equal(t, int64(1), first.Place.Allocation.Resources[hetzner.ClassServers])
	require.Equal(t, []any{"medium", "running", "nbg1"}, []any{f.Servers()[0].Type, f.Servers()[0].Status, f.Servers()[0].Location})

	second, err := m.Launch(ctx, berthage.Launch{Token: "2", Project: "shop", Name: "web-2", Spec: spec})
	if err == nil { // refused at once, as both are known to be full, or after it was tried
		second = wait(second)
		require.Equal(t, pool.Failed, second.Phase, second.Reason)
		require.Contains(t, second.Reason, "full")
	}
	require.Len(t, f.Servers(), 1)

	first, err = m.SetPower(ctx, first.ID, pool.Shelved)
	require.NoError(t, err)
	first = wait(first)
	require.Empty(t, f.Servers())
	require.Len(t, f.Billed(), 1, "a snapshot")
	_, err = m.SetPower(ctx, first.ID, pool.Running)
	require.NoError(t, err)
	first = wait(first)
	require.Equal(t, pool.Running, first.Is)
	require.Contains(t, f.Servers()[0].Content, "image debian-12, booted, booted")

	_, err = m.Delete(ctx, first.ID)
	require.NoError(t, err)
	wait(first)
	require.Eventually(t, func() bool { return len(f.Billed()) == 0 }, 30*time.Second, 20*time.Millisecond)
}
