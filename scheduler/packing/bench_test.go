package packing_test

import (
	"testing"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/packing"
)

// azure is the mix of a public cloud: sixteen sizes, nine of ten VMs of proportional ones.
func azure() *packing.Problem {
	p := &packing.Problem{Hosts: []packing.HostKind{{Capacity: pool.Resources{pool.CPU: 64 * pool.Core, pool.Memory: 128 * pool.GiB}}}}
	for _, s := range []struct{ cores, quarters, count int64 }{
		{1, 7, 11400}, {2, 14, 3900}, {4, 28, 1950}, {8, 56, 1850}, {8, 224, 486}, {1, 3, 316}, {2, 56, 50}, {4, 112, 40},
		{1, 8, 9}, {2, 64, 8}, {2, 16, 5}, {8, 80, 4}, {4, 32, 3}, {4, 128, 1},
	} {
		p.Items = append(p.Items, packing.Item{Count: s.count, Resources: pool.Resources{
			pool.CPU: s.cores * pool.Core, pool.Memory: s.quarters * pool.GiB / 4}})
	}
	return p
}

func BenchmarkPlan(b *testing.B) {
	for _, c := range []struct {
		name string
		p    *packing.Problem
	}{
		{"sizes=14/classes=2/kinds=1", azure()},
		{"sizes=20/classes=4/kinds=1", large(1, 20, 4, 1)},
		{"sizes=20/classes=3/kinds=3", large(1, 20, 3, 3)},
		{"sizes=100/classes=3/kinds=1", large(1, 100, 3, 1)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var res *packing.Result
			var err error
			for b.Loop() {
				if res, err = packing.Plan(b.Context(), c.p, packing.Options{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(res.Cost)-res.Certificate.Value(), "cost-above-bound")
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	p := azure()
	res, err := packing.Plan(b.Context(), p, packing.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := packing.Verify(b.Context(), p, res); err != nil {
			b.Fatal(err)
		}
	}
}
