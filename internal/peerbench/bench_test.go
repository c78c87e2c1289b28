package peerbench_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/peerbench"
	"github.com/berthage/berthage/scheduler"
)

// BenchmarkOurs is our side of the comparison by itself.
func BenchmarkOurs(b *testing.B) {
	for _, side := range peerbench.Ours(scheduler.BestFit) {
		for _, n := range []int{200, 1000, 10_000} {
			for _, count := range []int{1, 100} {
				b.Run(fmt.Sprintf("%s/hosts=%d/together=%d", side.Name, n, count), func(b *testing.B) {
					b.ReportAllocs()
					hosts, reqs := peerbench.Hosts(n, 30, 70), peerbench.Requests(5*n, count)
					for done := 0; done < b.N; {
						b.StopTimer()
						s, err := side.Open(hosts)
						require.NoError(b, err)
						some := reqs[:min(len(reqs), (b.N-done+count-1)/count)]
						place, err := s.Ready(some)
						require.NoError(b, err)
						b.StartTimer()
						require.NoError(b, place())
						done += len(some) * count
						s.Close()
					}
				})
			}
		}
	}
}
