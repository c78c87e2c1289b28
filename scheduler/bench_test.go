package scheduler_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// mixedFleet is a pool of several kinds of server in three zones, filled with instances of 1 to 8 cores to
// 70 % of its cores.
func mixedFleet(b *testing.B, hosts int) *pool.State {
	b.Helper()
	r := rand.New(rand.NewPCG(1, uint64(hosts)))
	kinds := []struct{ cores, gib, tib int64 }{{16, 64, 2}, {32, 128, 4}, {48, 192, 4}, {64, 256, 8}, {64, 128, 4}}
	books := newBooks(b)
	for i := range hosts {
		k := kinds[r.IntN(len(kinds))]
		h := host(fmt.Sprintf("h%05d", i), k.cores, k.gib)
		h.Zone = []string{"north", "south", "west"}[i%3]
		h.Labels = map[string]string{"tier": []string{"gold", "lead"}[i%2]}
		for p := range 2 {
			h.Devices = append(h.Devices, pool.Device{
				ID: "pool" + strconv.Itoa(p), Class: pool.StorageSSD, Inventory: pool.Inventory{Total: k.tib * pool.TiB / 2},
			})
		}
		books.fold(pool.KindHostPut, &pool.HostPut{Host: h})
		for used := int64(0); used < k.cores*7/10; {
			cores := min([]int64{1, 2, 4, 8}[r.IntN(4)], k.cores*7/10-used)
			disk := cores * 20 * pool.GiB
			books.book(want(cores, 2*cores), scheduler.Decision{Host: h.ID, Allocation: pool.Allocation{
				Resources: pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: 2 * cores * pool.GiB, pool.StorageSSD: disk},
				Claims:    []pool.Claim{{Device: "pool" + strconv.Itoa(r.IntN(2)), Class: pool.StorageSSD, Amount: disk}},
			}})
			used += cores
		}
	}
	return books.state
}

func BenchmarkPlace(b *testing.B) {
	small := want(2, 4)
	small.Spec.Disks = []pool.Disk{{Size: 40 * pool.GiB, Storage: pool.SSD}, {Size: 100 * pool.GiB, Storage: pool.SSD}}
	narrow := small
	narrow.Spec = small.Spec.Clone()
	narrow.Spec.Constraints = pool.Constraints{Zones: []string{"north"}, Labels: map[string]string{"tier": "gold"}}
	impossible := want(1000, 4)
	for _, hosts := range []int{200, 2000, 20000} {
		b.Run("hosts="+strconv.Itoa(hosts), func(b *testing.B) {
			st := mixedFleet(b, hosts)
			for _, c := range []struct {
				name string
				req  scheduler.Request
				err  error
			}{{"any", small, nil}, {"zone+label", narrow, nil}, {"refused", impossible, pool.ErrNoRoom}} {
				b.Run(c.name, func(b *testing.B) {
					var s scheduler.Scheduler
					b.ReportAllocs()
					for b.Loop() {
						if _, err := s.Place(st, c.req); !errors.Is(err, c.err) {
							b.Fatal(err)
						}
					}
				})
			}
		})
	}
}
