package rebalance_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// books builds a State by folding events.
type books struct {
	t     testing.TB
	state *pool.State
	n     int
}

func newBooks(t testing.TB) *books {
	b := &books{t: t, state: pool.NewState()}
	b.fold(pool.KindOpened, &pool.Opened{Ledger: "test"})
	b.fold(pool.KindProjectPut, &pool.Project{Name: "p"})
	return b
}

func (b *books) fold(kind string, payload any) {
	e, err := pool.NewEvent(kind, payload)
	require.NoError(b.t, err)
	b.n++
	e.ID, e.Revision, e.Time = "e", pool.Revision(b.n), time.Unix(1e9+int64(b.n), 0).UTC()
	require.NoError(b.t, b.state.Apply(&e))
}

func (b *books) host(h pool.Host) { b.fold(pool.KindHostPut, &pool.HostPut{Host: h}) }

// server is a ready host of driver "d".
func server(n int, cores, gib int64) pool.Host {
	return pool.Host{
		ID: pool.NewHostID("d", fmt.Sprintf("h%05d", n)), Conditions: pool.Ready,
		Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: cores * pool.Core}, pool.Memory: {Total: gib * pool.GiB}},
	}
}

func image() pool.Image {
	return pool.Image{Name: "debian", Sources: map[string]string{"d": "debian.qcow2", "e": "debian"}}
}

// place puts a running instance on a host, whether or not there is room or a rule allows it.
func (b *books) place(name string, host pool.HostID, spec pool.Spec, claims ...pool.Claim) pool.InstanceID {
	spec.Image = "debian"
	demand, err := spec.Demand()
	require.NoError(b.t, err)
	id := pool.NewInstanceID("test", "p", name)
	b.fold(pool.KindLaunched, &pool.Launched{
		Instance: id, Name: "vm-" + name, Project: "p", Spec: spec, Image: image(), Want: pool.Running,
		Place: pool.Placement{Host: host, Allocation: pool.Allocation{Resources: demand, Claims: claims}},
	})
	b.fold(pool.KindSent, &pool.OfMachine{Machine: id.Machine(0)})
	b.fold(pool.KindCreated, &pool.OfMachine{Machine: id.Machine(0)})
	b.fold(pool.KindObserved, &pool.Observed{Machine: id.Machine(0), Is: pool.Running})
	return id
}

func (b *books) id(name string) pool.InstanceID { return pool.NewInstanceID("test", "p", name) }

// fit places an instance where the scheduler wants it.
func (b *books) fit(name string, s *scheduler.Scheduler, spec pool.Spec) bool {
	spec.Image = "debian"
	d, err := s.Place(b.state, scheduler.Request{Spec: spec, Image: image(), Project: "p"})
	if err != nil {
		return false
	}
	b.place(name, d.Host, spec, d.Allocation.Claims...)
	return true
}
