package berthage_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// live launches an instance that is said to exist for so long, on one of these hosts if any are named.
func (b *bench) live(name string, cores int64, lifetime time.Duration, on ...pool.HostID) pool.Instance {
	b.t.Helper()
	s := spec()
	s.Resources = pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: 2 * cores * pool.GiB}
	s.Lifetime, s.Constraints.Hosts = int64(lifetime/time.Second), on
	i, err := b.m.Launch(context.Background(), berthage.Launch{Token: name, Project: "shop", Name: name, Spec: s})
	require.NoError(b.t, err)
	return settle(b.t, b.m, i.ID)
}

// An instance goes where it keeps no host in use for longer, by what is said of it or what others like it have done;
// without Config.Lifetimes it goes to the fuller host. A new leader has learnt the same from the ledger.
func TestLifetimes(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			look := func(c *berthage.Config) { c.Lifetimes = on }
			b := start(t, fake.Config{Hosts: hosts(2)}, look)
			defer func() { b.stop() }()
			const long, short pool.HostID = "sim/h00", "sim/h01"
			expected := map[bool]pool.HostID{true: long, false: short}[on]
			b.live("long", 2, 30*24*time.Hour, long)
			first := b.live("short", 4, 4*time.Hour, short)
			said := b.live("said", 1, 20*24*time.Hour)
			require.Equal(t, expected, said.Place.Host)
			b.delete(said.ID)
			for n := range 5 {
				job := b.live(fmt.Sprint("job", n), 1, 0)
				time.Sleep(30 * time.Minute)
				b.delete(job.ID)
			}
			b.delete(first.ID)
			time.Sleep(time.Hour)
			b.live("shorter", 4, 5*time.Minute, short)
			job := b.live("job", 1, 0)
			require.Equal(t, expected, job.Place.Host, "jobs live for half an hour")
			b.delete(job.ID)

			time.Sleep(time.Minute)
			b.stop()
			b.m = open(t, b.fleet, b.ledger, look)
			b.stop = run(t, b.m)
			require.Equal(t, expected, b.live("again", 1, 0).Place.Host)
		})
	}
}
