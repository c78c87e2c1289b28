package berthage_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// busy is a fleet of which some hosts are kept busy by others, whatever is booked on them.
type busy struct {
	*fake.Driver
	mu   sync.Mutex
	load map[pool.HostID]float64 // of all cores
	from time.Time

	spent map[pool.HostID]float64 // what set has changed in the past, in seconds of all cores
	deaf  pool.HostID             // cannot be measured
}

// set makes a host as busy as that from now on.
func (b *busy) set(id pool.HostID, load float64) {
	if b.spent == nil {
		b.spent = make(map[pool.HostID]float64)
	}
	now := time.Since(b.from).Seconds()
	b.spent[id] += (b.load[id] - load) * now
	b.load[id] = load
}

func (b *busy) Unwrap() hypervisor.Driver { return b.Driver }

func (b *busy) Sample(ctx context.Context, id pool.HostID) ([]hypervisor.Sample, error) {
	b.mu.Lock()
	load, spent, deaf := b.load[id], b.spent[id], id == b.deaf
	b.mu.Unlock()
	if deaf {
		return nil, pool.ErrUnavailable
	}
	out, err := b.Driver.Sample(ctx, id)
	for i := range out {
		if out[i].Machine == "" && out[i].Name == hypervisor.HostCPUSeconds {
			out[i].Value = 8 * (load*time.Since(b.from).Seconds() + spent)
		}
	}
	return out, err
}

// An instance goes where it is quiet, once that has been measured; of a host that cannot be measured nothing is known.
func TestMeasuredLoadIsFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ids := []pool.HostID{hosts(3)[0].ID, hosts(3)[1].ID, hosts(3)[2].ID}
		list := hosts(3)
		list[2].Cost = 6e6 // per hour, in millionths
		fleet := &busy{Driver: fake.New(fake.Config{Name: "sim", Hosts: list}), from: time.Now(), load: map[pool.HostID]float64{ids[0]: 0.9, ids[1]: 0.4, ids[2]: 0.1}}
		loads := new(scheduler.Loads)
		m := open(t, fleet, pool.NewMemoryLedger(), func(c *berthage.Config) {
			c.Measure, c.Scheduler = time.Minute, &scheduler.Scheduler{LoadWeight: 10, Loads: loads, CostWeight: 1}
		})
		catalogue(t, m)
		stop := run(t, m)
		defer stop()
		(&bench{t: t}).pooled(m, 3)
		where := func(name string) pool.HostID {
			t.Helper()
			i, err := m.As("somebody", "").Launch(context.Background(), berthage.Launch{Token: name, Project: "shop", Name: name, Spec: spec()})
			require.NoError(t, err)
			return i.Place.Host
		}
		require.Equal(t, ids[0], where("a"), "nothing is known yet")
		time.Sleep(3 * time.Minute)
		require.Equal(t, ids[1], where("b"), "0.3 more of its cores are busy than of the last one's: 3, against a price of 6")
		fleet.mu.Lock()
		fleet.load[ids[1]] = 0.95
		fleet.mu.Unlock()
		time.Sleep(time.Hour)
		require.Equal(t, ids[2], where("c"))
		fleet.mu.Lock()
		fleet.deaf = ids[0]
		fleet.mu.Unlock()
		time.Sleep(3 * time.Minute)
		require.Equal(t, ids[0], where("d"), "what it was is not what it is")
	})
}

func TestMeasuringIsChecked(t *testing.T) {
	t.Parallel()
	_, err := berthage.Open(context.Background(), berthage.Config{
		Drivers: map[string]hypervisor.Driver{"sim": fake.New(fake.Config{Name: "sim"})}, Ledger: pool.NewMemoryLedger(), Measure: -1,
	})
	require.ErrorIs(t, err, pool.ErrInvalid)
}
