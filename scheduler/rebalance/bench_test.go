package rebalance_test

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/rebalance"
)

// churned is the books after machines of a cloud's usual sizes have come and gone on hosts of 64 cores and 128 GiB, so
// that about so many are left.
func churned(t testing.TB, live int) *books {
	t.Helper()
	sizes := []struct{ cores, half, weight int64 }{{1, 3, 57}, {2, 7, 20}, {4, 14, 10}, {8, 28, 9}, {8, 112, 3}, {2, 28, 1}} // memory in half GiB
	r := rand.New(rand.NewPCG(1, 2))
	var vms []vm
	for n := range 3 * live {
		pick := r.Int64N(100)
		k := 0
		for pick >= sizes[k].weight {
			pick -= sizes[k].weight
			k++
		}
		at := float64(n)
		vms = append(vms, vm{at, at + r.ExpFloat64()*float64(live), sizes[k].cores * pool.Core, sizes[k].half * pool.GiB / 2})
	}
	return replay(t, vms, float64(3*live), 64, 128)
}

func BenchmarkPlan(b *testing.B) {
	for _, live := range []int{3_000, 37_000} {
		st := churned(b, live).state
		run := func(name string, o rebalance.Options) {
			b.Run("instances="+strconv.Itoa(st.InstanceCount())+"/hosts="+strconv.Itoa(st.HostCount())+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				var r *rebalance.Result
				for b.Loop() {
					var err error
					if r, err = rebalance.Plan(b.Context(), st, &scheduler.Scheduler{}, o); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(r.Emptied)), "emptied")
				b.ReportMetric(float64(len(r.Moves)), "moves")
			})
		}
		for _, moves := range []int{25, 100, 400} {
			run("moves="+strconv.Itoa(moves), rebalance.Options{Budget: rebalance.Budget{Moves: moves}})
		}
		run("drain", rebalance.Options{Goal: rebalance.Drain, Hosts: []pool.HostID{id(3), id(4)}})
		run("repair", rebalance.Options{Goal: rebalance.Repair})
		run("balance", rebalance.Options{Goal: rebalance.Balance, Budget: rebalance.Budget{Moves: 400}})
	}
}
