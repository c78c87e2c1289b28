package proxmox_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
	"github.com/berthage/berthage/pool"
)

// A Manager over a cluster on which creations break off, clones arrive late and answers are lost: in the end every instance runs,
// once, and when they are deleted nothing is left.
func TestManager(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	before := append(s.Volumes("pve1"), s.Volumes("pve2")...)
	config := quiet(settings(t, s))
	d := open(t, config)
	m, err := berthage.Open(t.Context(), berthage.Config{
		Ledger: pool.NewMemoryLedger(), Ephemeral: true, Drivers: map[string]hypervisor.Driver{"proxmox": d},
		Poll: 100 * time.Millisecond, PollTimeout: 5 * time.Second,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	var run sync.WaitGroup
	run.Go(func() { _ = m.Run(ctx) })
	defer func() { cancel(); run.Wait() }()
	require.NoError(t, m.PutProject(ctx, pool.Project{Name: "shop"}))
	require.NoError(t, m.PutImage(ctx, pool.Image{Name: "tiny", User: "berth", Sources: map[string]string{"proxmox": "tiny"}}))
	require.NoError(t, m.PutFlavor(ctx, pool.Flavor{Name: "small", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: pool.GiB, pool.StorageStandard: 10 * pool.GiB}}))
	for _, host := range []pool.HostID{"proxmox/pve1", "proxmox/pve2"} {
		_, err := m.AddHost(ctx, host)
		require.NoError(t, err)
	}
	s.Inject(
		pvetest.Fault{Method: "PUT", Path: "/resize", CutBefore: true}, pvetest.Fault{Method: "POST", Path: "/clone", CutAfter: true},
		pvetest.Fault{Method: "POST", Path: "/clone", Nth: 2, Late: 350 * time.Millisecond}, pvetest.Fault{Method: "POST", Path: "/start", Status: 595},
		pvetest.Fault{Task: "qmconfig", TaskFails: "no space left on device"},
	)
	const instances = 5
	var ids []pool.InstanceID
	for n := range instances {
		i, err := m.Launch(ctx, berthage.Launch{Token: fmt.Sprint("order-", n), Project: "shop", Name: fmt.Sprint("web-", n),
			Spec: pool.Spec{Image: "tiny", Flavor: "small", Guest: pool.Guest{SSHKeys: []string{key}}}})
		require.NoError(t, err)
		ids = append(ids, i.ID)
	}
	for _, id := range ids {
		i, err := m.Wait(ctx, id, berthage.Settled)
		require.NoError(t, err)
		require.Equal(t, pool.Running, i.Is, "%s: %s %s", i.Name, i.Phase, i.Reason)
	}
	require.Zero(t, s.Pending())
	guests := func() (all []string) {
		for _, node := range []string{"pve1", "pve2"} {
			for _, id := range s.Guests(node) {
				if d := s.Guest(id, "description"); strings.Contains(d, "berthage-v1") {
					all = append(all, s.Guest(id, "name")+" "+s.Guest(id, "power"))
				}
			}
		}
		return all
	}
	require.Eventually(t, func() bool { return len(guests()) == instances }, 10*time.Second, 50*time.Millisecond, "what arrived late is swept: %v", guests())
	require.ElementsMatch(t, []string{"web-0 running", "web-1 running", "web-2 running", "web-3 running", "web-4 running"}, guests())
	for _, id := range ids {
		_, err := m.Delete(ctx, id)
		require.NoError(t, err)
	}
	for _, id := range ids {
		_, err := m.Wait(ctx, id, berthage.Settled)
		require.NoError(t, err)
	}
	require.Equal(t, before, append(s.Volumes("pve1"), s.Volumes("pve2")...))
}
