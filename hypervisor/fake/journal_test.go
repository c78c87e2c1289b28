package fake_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

func TestFleetIsFoundAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet")
	d, err := fake.Open(fake.Config{Hosts: fake.Fleet("", 200, 1), Path: path})
	require.NoError(t, err)
	ctx := context.Background()
	hosts, err := d.Hosts(ctx)
	require.NoError(t, err)
	require.Len(t, hosts, 200)
	start := time.Now()
	for i := range 300 {
		h := hosts[i%200]
		id := pool.NewInstanceID("l", "p", fmt.Sprint(i)).Machine(0)
		storage := pool.Standard
		for _, dev := range h.Devices {
			if s := string(dev.Class); len(s) > 8 && s[:8] == "storage." {
				storage = pool.Storage(s[8:])
			}
		}
		o := hypervisor.Order{Ref: hypervisor.Ref{Host: h.ID, Tag: hypervisor.Tag{Ledger: "l", Machine: id, Launched: 3}}, Name: "web",
			Source: "x", Spec: pool.Spec{Image: "debian-12", Resources: pool.Resources{pool.CPU: 1000, pool.Memory: pool.GiB},
				Disks: []pool.Disk{{Size: 10 * pool.GiB, Storage: storage}}}}
		require.NoError(t, d.Create(ctx, o))
		require.NoError(t, d.Start(ctx, o.Ref))
	}
	t.Log(time.Since(start))
	before := d.Inspect()
	d2, err := fake.Open(fake.Config{Path: path})
	require.NoError(t, err)
	after := d2.Inspect()
	require.Len(t, after, 200)
	for i := range before {
		require.Equal(t, before[i].Used, after[i].Used)
		require.Len(t, after[i].Machines, len(before[i].Machines))
	}
	s, err := d2.Sample(ctx, hosts[0].ID)
	require.NoError(t, err)
	t.Log(s[0], len(s), hosts[0])
}
