package fake_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

type series struct {
	machine      pool.MachineID
	name, device string
}

func sample(t *testing.T, d *fake.Driver) map[series]float64 {
	t.Helper()
	list, err := d.Sample(t.Context(), "fake/a")
	require.NoError(t, err)
	out := make(map[series]float64)
	for _, s := range list {
		require.Equal(t, time.Now(), s.Time)
		out[series{s.Machine, s.Name, s.Device}] = s.Value
	}
	require.Len(t, out, len(list))
	return out
}

// Through the whole life of machines no counter falls, no core does more than a core can, and what is free and
// used adds up; also the host's counters when machines go.
func TestReadings(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{})
		_, err := d.AddForeign(hypervisor.Machine{Ref: hypervisor.Ref{Host: "fake/a"}, Power: pool.Running, Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: pool.GiB}})
		require.NoError(t, err)
		var orders []hypervisor.Order
		for i := range 12 {
			o := order("fake/a", i)
			o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: pool.GiB, Storage: pool.SSD})
			o.Spec.Networks = []pool.Network{{}, {Name: "back"}}
			require.NoError(t, d.Create(t.Context(), o))
			require.NoError(t, d.Start(t.Context(), o.Ref))
			orders = append(orders, o)
		}
		was := sample(t, d)
		require.Equal(t, 16.0, was[series{"", hypervisor.HostCPUCores, ""}])
		require.Equal(t, float64(64*pool.GiB), was[series{"", hypervisor.HostMemoryTotal, ""}])
		free := was[series{"", hypervisor.HostStorageFree, "ssd-1"}] + was[series{"", hypervisor.HostStorageFree, "ssd-2"}]
		require.Equal(t, float64(2*pool.TiB-12*11*pool.GiB), free)
		o := orders[0]
		for _, device := range []string{"vda", "vdb"} {
			require.Contains(t, was, series{o.Machine, hypervisor.DiskReads, device})
		}
		for _, device := range []string{"eth0", "eth1"} {
			require.Contains(t, was, series{o.Machine, hypervisor.NetworkReceived, device})
		}
		loads := make(map[float64]bool)
		for step := range 200 {
			const dt = 7 * time.Minute
			time.Sleep(dt)
			switch step {
			case 40:
				require.NoError(t, d.Suspend(t.Context(), orders[0].Ref))
			case 60:
				require.NoError(t, d.Resume(t.Context(), orders[0].Ref))
			case 80:
				require.NoError(t, d.Stop(t.Context(), orders[1].Ref))
			case 100:
				require.NoError(t, d.Reboot(t.Context(), orders[2].Ref))
			case 120:
				for _, o := range orders[3:8] {
					require.NoError(t, d.Destroy(t.Context(), o.Ref))
				}
			}
			is := sample(t, d)
			for k, v := range is {
				require.GreaterOrEqual(t, v, 0.0)
				if !strings.HasSuffix(k.name, "_total") {
					continue
				}
				require.GreaterOrEqual(t, v, was[k], "%v in step %d", k, step)
				switch k.name {
				case hypervisor.CPUSeconds:
					require.LessOrEqual(t, v-was[k], dt.Seconds())
					if k.machine == orders[11].Machine {
						require.Greater(t, v, was[k], "it runs all the time")
					}
					loads[v-was[k]] = true
				case hypervisor.HostCPUSeconds:
					require.Less(t, v-was[k], 16*dt.Seconds())
				}
			}
			require.LessOrEqual(t, is[series{"", hypervisor.HostMemoryAvailable, ""}], float64(60*pool.GiB))
			for _, o := range orders {
				if total, ok := is[series{o.Machine, hypervisor.MemoryTotal, ""}]; ok {
					require.LessOrEqual(t, is[series{o.Machine, hypervisor.MemoryUsed, ""}], total)
				}
			}
			if 40 < step && step < 60 {
				k := series{orders[0].Machine, hypervisor.CPUSeconds, ""}
				require.Equal(t, was[k], is[k], "it is suspended")
			}
			require.Equal(t, step < 120, hasSeries(is, orders[3].Machine))
			was = is
		}
		require.Greater(t, len(loads), 100, "machines do different things")
		require.Equal(t, was, sample(t, d), "the same at the same time")
	})
}

func hasSeries(m map[series]float64, id pool.MachineID) bool {
	_, ok := m[series{id, hypervisor.CPUSeconds, ""}]
	return ok
}

func TestConsole(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{})
		o := order("fake/a", 1)
		require.NoError(t, d.Create(t.Context(), o))
		for range 100 {
			require.NoError(t, d.Start(t.Context(), o.Ref))
			require.NoError(t, d.Stop(t.Context(), o.Ref))
		}
		require.NoError(t, d.Start(t.Context(), o.Ref))
		log, err := d.Log(t.Context(), o.Ref, 1<<20)
		require.NoError(t, err)
		require.Less(t, len(log), 2000, "only the newest lines are kept")
		require.True(t, strings.HasSuffix(string(log), "web-1 login: "))
		for _, most := range []int{-1, 0, 1, 7} {
			tail, err := d.Log(t.Context(), o.Ref, most)
			require.NoError(t, err)
			require.Equal(t, string(log[len(log)-max(most, 0):]), string(tail))
		}
		at, err := d.Display(t.Context(), o.Ref)
		require.NoError(t, err)
		require.Regexp(t, `^vnc://127\.0\.0\.1:\d+$`, at)
	})
}

// Fewer cores or another host make no counter fall, and no host is charged for what ran elsewhere.
func TestCountersOfMachinesThatChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{})
		o := order("fake/a", 1)
		o.Spec.Resources[pool.CPU] = 8 * pool.Core
		require.NoError(t, d.Create(t.Context(), o))
		require.NoError(t, d.Start(t.Context(), o.Ref))
		read := func(host pool.HostID, machine pool.MachineID, name string) float64 {
			list, err := d.Sample(t.Context(), host)
			require.NoError(t, err)
			for _, s := range list {
				if s.Machine == machine && s.Name == name {
					return s.Value
				}
			}
			require.Fail(t, "no sample", name)
			return 0
		}
		at := pool.HostID("fake/a")
		cpu := func() []float64 {
			return []float64{
				read(at, o.Machine, hypervisor.CPUSeconds),
				read("fake/a", "", hypervisor.HostCPUSeconds), read("fake/b", "", hypervisor.HostCPUSeconds),
			}
		}
		time.Sleep(5 * time.Hour)
		before := cpu()
		require.Greater(t, before[0], 10.0)
		small := sized(o, pool.GiB, 10*pool.GiB)
		small.Spec.Resources[pool.CPU] = pool.Core
		require.NoError(t, d.Resize(t.Context(), small))
		require.InDeltaSlice(t, before, cpu(), 1e-3)
		moved := to(small, "fake/b")
		require.NoError(t, d.Migrate(t.Context(), o.Ref, moved))
		at = "fake/b"
		require.InDeltaSlice(t, before, cpu(), 1e-3)
		time.Sleep(5 * time.Hour)
		after := cpu()
		spent := after[0] - before[0]
		require.InEpsilon(t, before[0]/8, spent, 0.5, "an eighth of the cores for as long")
		require.InDelta(t, spent, (after[2]-before[2])-(after[1]-before[1]), 1e-3, "both hosts are alike but for the machine")
	})
}
