package rebalance_test

import (
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/rebalance"
)

// vm is a machine of a trace.
type vm struct {
	arrive, end float64
	cpu, mem    int64
}

// traces returns the machines of the trace, or says loudly that it has not been given.
func traces(t testing.TB) []vm {
	t.Helper()
	dir := os.Getenv("BERTHAGE_TRACES")
	if dir == "" {
		t.Skip("BERTHAGE_TRACES names no directory with azure2017_vms.csv.gz: only fleets that are made up were run")
	}
	f, err := os.Open(filepath.Join(dir, "azure2017_vms.csv.gz"))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	rows, err := csv.NewReader(z).ReadAll()
	require.NoError(t, err)
	number := func(s string) float64 {
		n, err := strconv.ParseFloat(s, 64)
		require.NoError(t, err)
		return n
	}
	var vms []vm
	for _, r := range rows[1:] { // arrive_s,end_s,censored,batch,cpu,mem_gib
		vms = append(vms, vm{number(r[0]), number(r[1]), int64(number(r[4]) * float64(pool.Core)), int64(number(r[5]) * float64(pool.GiB))})
	}
	slices.SortStableFunc(vms, func(a, b vm) int { return cmp.Compare(a.arrive, b.arrive) })
	return vms
}

// replay places the machines by best fit on hosts of one size up to a moment, and returns the books as they are then.
func replay(t testing.TB, vms []vm, until float64, cores, gib int64) *books {
	t.Helper()
	cpu, mem := cores*pool.Core, gib*pool.GiB
	type room struct {
		cpu, mem int64
		vms      int
	}
	var hosts []room
	on := make(map[int]int)
	var ends []int
	for i, v := range vms {
		if v.end >= 0 && v.end <= until {
			ends = append(ends, i)
		}
	}
	slices.SortStableFunc(ends, func(a, b int) int { return cmp.Compare(vms[a].end, vms[b].end) })
	leave := func(until float64) {
		for len(ends) > 0 && vms[ends[0]].end <= until {
			if h, ok := on[ends[0]]; ok {
				v := vms[ends[0]]
				hosts[h] = room{hosts[h].cpu + v.cpu, hosts[h].mem + v.mem, hosts[h].vms - 1}
				delete(on, ends[0])
			}
			ends = ends[1:]
		}
	}
	for i, v := range vms {
		if v.arrive > until {
			break
		}
		leave(v.arrive)
		if v.cpu > cpu || v.mem > mem {
			continue
		}
		best, least := -1, 0.0
		for h, r := range hosts {
			if r.cpu < v.cpu || r.mem < v.mem {
				continue
			}
			left := float64(r.cpu)/float64(cpu) + float64(r.mem)/float64(mem)
			if r.vms == 0 {
				left += 10
			}
			if best < 0 || left < least {
				best, least = h, left
			}
		}
		if best < 0 {
			best = len(hosts)
			hosts = append(hosts, room{cpu, mem, 0})
		}
		r := &hosts[best]
		r.cpu, r.mem, r.vms = r.cpu-v.cpu, r.mem-v.mem, r.vms+1
		on[i] = best
	}
	leave(until)
	b := newBooks(t)
	for h := range hosts {
		b.host(server(h, cores, gib))
	}
	for i, v := range vms {
		if h, ok := on[i]; ok {
			b.place(strconv.Itoa(i), server(h, 0, 0).ID, pool.Spec{Resources: pool.Resources{pool.CPU: v.cpu, pool.Memory: v.mem}})
		}
	}
	return b
}

// What a plan gains after a replay of the trace. The first row is the promise; the others show that it is not made for
// that moment and that size of host.
func TestDefragmentAfterTheTrace(t *testing.T) {
	t.Parallel()
	vms := traces(t)
	for _, c := range []struct {
		at         float64
		cores, gib int64
		budgets    []int
		percent    []float64 // of the hosts in use, at least
	}{
		{2_500_000, 64, 128, []int{25, 100, 400, 0}, []float64{0.96, 1.8, 3.4, 4.5}},
		{2_100_000, 64, 128, []int{25, 100, 400, 0}, nil},
		{2_300_000, 64, 128, []int{25, 100, 400, 0}, nil},
		{2_500_000, 64, 256, []int{25, 100, 400, 0}, nil},
		{2_300_000, 48, 192, []int{25, 100, 400, 0}, nil},
		{2_500_000, 32, 64, []int{25, 100, 400, 0}, nil},
	} {
		b := replay(t, vms, c.at, c.cores, c.gib)
		for n, moves := range c.budgets {
			o := rebalance.Options{Budget: rebalance.Budget{Moves: moves}}
			began := time.Now()
			r, err := rebalance.Plan(t.Context(), b.state, &scheduler.Scheduler{}, o)
			took := time.Since(began)
			require.NoError(t, err)
			require.Zero(t, r.Disagreed)
			verify(t, b.state, &scheduler.Scheduler{}, &o, r)
			part := 100 * float64(len(r.Emptied)) / float64(r.Before.Hosts)
			t.Logf("t=%.0f, %dc/%dG, budget %d: of %d hosts with %d instances %d emptied (%.2f %%) by %d moves in %d waves; %d looks, %v",
				c.at, c.cores, c.gib, moves, r.Before.Hosts, r.Before.Instances, len(r.Emptied), part, len(r.Moves), r.Waves, r.Looks, took.Round(time.Millisecond))
			if c.percent != nil {
				require.GreaterOrEqual(t, part, c.percent[n])
			}
		}
	}
}
