package scheduler_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// benchFleet yields the records of a mixed fleet without folding events: five kinds of server in three zones, two
// tiers, three classes, two storage pools each, filled with VMs at random up to 70-95 % of their cores.
func benchFleet(hosts int) []*pool.HostRecord {
	r := rand.New(rand.NewPCG(1, uint64(hosts)))
	kinds := []struct{ cores, gib, tib int64 }{{16, 64, 2}, {32, 128, 4}, {48, 192, 4}, {64, 256, 8}, {64, 128, 4}}
	out := make([]*pool.HostRecord, hosts)
	for i := range out {
		k := kinds[r.IntN(len(kinds))]
		h := host(fmt.Sprintf("h%06d", i), k.cores, k.gib)
		h.Zone = []string{"north", "south", "west"}[i%3]
		h.Labels = map[string]string{"tier": []string{"gold", "lead"}[i%2]}
		h.Inventory[pool.StorageSSD] = pool.Inventory{Total: k.tib * pool.TiB}
		for p := range 2 {
			h.Devices = append(h.Devices, pool.Device{
				ID: "pool" + strconv.Itoa(p), Class: pool.StorageSSD, Inventory: pool.Inventory{Total: k.tib * pool.TiB / 2},
			})
		}
		rec := &pool.HostRecord{Host: h, Capacity: h.Capacity(), Used: pool.Resources{}, DeviceUsed: map[string]int64{}}
		for full := k.cores * (70 + r.Int64N(26)) / 100; rec.Used[pool.CPU]/pool.Core < full; {
			cores := min([]int64{1, 2, 4, 8}[r.IntN(4)], full-rec.Used[pool.CPU]/pool.Core)
			memory := cores * []int64{1792, 3584, 7168}[r.IntN(3)] * pool.MiB
			if rec.Used[pool.Memory]+memory > rec.Capacity[pool.Memory] {
				break
			}
			disk := cores * 20 * pool.GiB
			rec.Used[pool.CPU] += cores * pool.Core
			rec.Used[pool.Memory] += memory
			rec.Used[pool.StorageSSD] += disk
			rec.DeviceUsed["pool"+strconv.Itoa(r.IntN(2))] += disk
			rec.Placed++
		}
		out[i] = rec
	}
	return out
}

func benchIndex(b testing.TB, hosts []*pool.HostRecord) *scheduler.Index {
	b.Helper()
	ix := scheduler.NewIndex(pool.NewState())
	for _, h := range hosts {
		ix.Update(h)
	}
	return ix
}

// benchRequests are launches of eight sizes, with a disk; every third asks for a zone and a label.
func benchRequests() []scheduler.Request {
	var out []scheduler.Request
	for i := range 24 {
		cores := []int64{1, 2, 4, 8}[i%4]
		req := want(cores, 0)
		req.Spec.Resources[pool.Memory] = cores * []int64{1792, 3584}[i/4%2] * pool.MiB
		req.Spec.Disks = []pool.Disk{{Size: cores * 20 * pool.GiB, Storage: pool.SSD}}
		if i%3 == 0 {
			req.Spec.Constraints = pool.Constraints{Zones: []string{"north"}, Labels: map[string]string{"tier": "gold"}}
		}
		out = append(out, req)
	}
	return out
}

// benchWorth prices what benchRequests asks for by its part of 64 cores and 128 GiB, whichever is larger.
func benchWorth(tb testing.TB) *scheduler.Worth {
	tb.Helper()
	var sizes []scheduler.Priced
	for _, req := range benchRequests() {
		r := req.Spec.Resources
		part := max(float64(r[pool.CPU])/float64(64*pool.Core), float64(r[pool.Memory])/float64(128*pool.GiB))
		sizes = append(sizes, scheduler.Priced{Resources: r, Price: part})
	}
	w := new(scheduler.Worth)
	require.NoError(tb, w.Set(pool.Resources{pool.CPU: 64 * pool.Core, pool.Memory: 256 * pool.GiB}, sizes))
	return w
}

// benchState folds the same fleet into books, what is on a host as one instance.
func benchState(tb testing.TB, hosts []*pool.HostRecord) *pool.State {
	tb.Helper()
	books := newBooks(tb)
	for _, h := range hosts {
		books.fold(pool.KindHostPut, &pool.HostPut{Host: h.Host})
		a := pool.Allocation{Resources: h.Used}
		for id, n := range h.DeviceUsed {
			a.Claims = append(a.Claims, pool.Claim{Device: id, Class: pool.StorageSSD, Amount: n})
		}
		books.book(want(1, 1), scheduler.Decision{Host: h.ID, Allocation: a})
	}
	return books.state
}

// BenchmarkPlace compares, on the same fleet and requests, a placement and the release of the one that has stood longest
// on a warm index (choose, book, give back; the fleet stays as full as it is); the same on a plain slice of hosts, which
// knows no events, names or reasons; and the scan of a State, which books nothing.
func BenchmarkPlace(b *testing.B) {
	sizes := []int{200, 1000, 10_000, 100_000}
	for _, by := range []struct {
		name string
		by   scheduler.Scheduler
	}{
		{"best-fit", scheduler.Scheduler{Strategy: scheduler.BestFit}}, {"default", scheduler.Scheduler{}}, {"spread", scheduler.Scheduler{Strategy: scheduler.Spread}},
		{"lifetimes", scheduler.Scheduler{Ends: new(scheduler.Ends)}}, {"worth", scheduler.Scheduler{Worth: benchWorth(b)}},
	} {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("index/%s/hosts=%d", by.name, n), func(b *testing.B) {
				c := newChurn(b, by.by, n)
				for range 20_000 {
					c.turn(b)
				}
				considered, turns := c.considered, c.turns
				runtime.GC()
				b.ReportAllocs()
				for b.Loop() {
					c.turn(b)
				}
				b.ReportMetric(float64(c.considered-considered)/float64(c.turns-turns), "looked-at/op")
			})
		}
	}
	for _, n := range sizes {
		b.Run(fmt.Sprintf("slice/hosts=%d", n), func(b *testing.B) {
			c := newPlainChurn(n)
			b.ReportAllocs()
			for b.Loop() {
				c.turn()
			}
		})
	}
	for _, n := range sizes {
		b.Run(fmt.Sprintf("scan/hosts=%d", n), func(b *testing.B) {
			st, reqs := benchState(b, benchFleet(n)), benchRequests()
			s := scheduler.Scheduler{Strategy: scheduler.BestFit}
			k := 0
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Place(st, reqs[k*7%len(reqs)]); err != nil {
					b.Fatal(err)
				}
				k++
			}
		})
	}
}

// BenchmarkChooseConstrained is a choice with rules about other instances, of which there are as many as is said, taints, groups
// of hosts, cost and load.
func BenchmarkChooseConstrained(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		for _, peers := range []int{10, 500} {
			b.Run(fmt.Sprintf("hosts=%d/peers=%d", n, peers), func(b *testing.B) {
				ix, a := constrained(b, n, peers)
				var d scheduler.Decision
				looked, times := 0, 0
				b.ReportAllocs()
				for b.Loop() {
					if err := ix.Choose(a, &d); err != nil {
						b.Fatal(err)
					}
					looked, times = looked+d.Considered, times+1
				}
				b.ReportMetric(float64(looked)/float64(times), "looked-at/op")
			})
		}
	}
}

// BenchmarkRefused is a request that no host can take, with the reason of each.
func BenchmarkRefused(b *testing.B) {
	for _, n := range []int{200, 20_000} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			st := benchState(b, benchFleet(n))
			var s scheduler.Scheduler
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Place(st, want(1000, 4)); !errors.Is(err, pool.ErrNoRoom) {
					b.Fatal(err)
				}
			}
		})
	}
}

// churn places and releases on an index.
type churn struct {
	ix                *scheduler.Index
	asks              []*scheduler.Ask
	alive             []scheduler.Decision // a ring
	turns, considered int
	ends              *scheduler.Ends // nil: lifetimes are not looked at
	lives             []scheduler.Lives
}

func newChurn(b testing.TB, s scheduler.Scheduler, hosts int) *churn {
	b.Helper()
	c := &churn{ix: benchIndex(b, benchFleet(hosts)), alive: make([]scheduler.Decision, max(16, hosts/10)), ends: s.Ends}
	for k := range 13 {
		c.lives = append(c.lives, scheduler.Exactly(5*time.Minute<<k))
	}
	for _, req := range benchRequests() {
		a, err := s.Ask(req)
		require.NoError(b, err)
		c.asks = append(c.asks, a)
	}
	return c
}

func (c *churn) turn(b testing.TB) {
	d := &c.alive[c.turns%len(c.alive)]
	if d.Host != "" {
		if err := c.ix.Free(d.Host, &d.Allocation); err != nil {
			b.Fatal(err)
		}
	}
	a := c.asks[c.turns*7%len(c.asks)]
	if c.ends != nil { // lives of five minutes to a month, one of them a second
		now := time.Unix(int64(c.turns), 0)
		a.Expect(now, c.lives[c.turns*5%13])
	}
	err := c.ix.Choose(a, d)
	c.turns++
	c.considered += d.Considered
	switch {
	case errors.Is(err, pool.ErrNoRoom):
		d.Host = ""
	case err != nil:
		b.Fatal(err)
	default:
		if err := c.ix.Book(d.Host, &d.Allocation); err != nil {
			b.Fatal(err)
		}
		if now := time.Unix(int64(c.turns), 0); c.ends != nil && c.ends.Of(d.Host).Before(now) {
			c.ends.Set(d.Host, now.Add(5*time.Minute<<(c.turns*5%13)))
		}
	}
}

// BenchmarkIndexMemory builds an index and reports what it keeps per host, beside the records, which are the State's.
func BenchmarkIndexMemory(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			hosts := benchFleet(n)
			var before, after runtime.MemStats
			for b.Loop() {
				runtime.GC()
				runtime.ReadMemStats(&before)
				ix := benchIndex(b, hosts)
				s := &scheduler.Scheduler{}
				for _, req := range benchRequests() { // so that it keeps the sum of what is asked for
					_, err := s.PlaceOn(ix, req)
					require.NoError(b, err)
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/host")
				runtime.KeepAlive(ix)
			}
			runtime.KeepAlive(hosts)
		})
	}
}
