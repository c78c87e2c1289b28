package peerbench_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/peerbench"
	"github.com/berthage/berthage/scheduler"
)

func TestFleet(t *testing.T) {
	t.Parallel()
	hosts := peerbench.Hosts(300, 30, 70)
	require.Equal(t, hosts, peerbench.Hosts(300, 30, 70))
	for _, h := range hosts {
		require.LessOrEqual(t, h.Taken.CPU, h.Total.CPU*7/10)
		require.Equal(t, h.Taken.Disk, h.Pools[0]+h.Pools[1])
	}
	long := peerbench.Requests(1000, 1)
	require.Equal(t, long[:100], peerbench.Requests(100, 1))
	require.Len(t, peerbench.Requests(1000, 100), 10)
}

// Ours places everything, feasibly, one at a time and as clusters; the step alone places it where the Manager does.
func TestOurs(t *testing.T) {
	t.Parallel()
	for _, count := range []int{1, 20} {
		hosts, reqs := peerbench.Hosts(50, 30, 70), peerbench.Requests(400, count)
		var all [][]peerbench.Placed
		for _, side := range peerbench.Ours(scheduler.BestFit) {
			s, err := side.Open(hosts)
			require.NoError(t, err)
			t.Cleanup(s.Close)
			place, err := s.Ready(reqs)
			require.NoError(t, err)
			require.NoError(t, place())
			placed, err := s.Placed()
			require.NoError(t, err)
			require.Len(t, placed, 400)
			require.NoError(t, peerbench.Verify(hosts, reqs, placed))
			all = append(all, placed)
		}
		require.Len(t, all, 2)
		require.ElementsMatch(t, all[0], all[1])
	}
}

func TestVerifyRejects(t *testing.T) {
	t.Parallel()
	host := func(name string) peerbench.Host {
		return peerbench.Host{
			Name: name, Total: peerbench.Size{CPU: 4, Memory: 40, Disk: 400},
			Taken: peerbench.Size{CPU: 1, Memory: 10, Disk: 100}, Pools: [2]int64{100, 0},
		}
	}
	hosts := []peerbench.Host{host("a"), host("b")}
	reqs := []peerbench.Request{
		{Name: "x", Count: 2, Each: peerbench.Size{CPU: 1, Memory: 10, Disk: 100}},
		{Name: "y", Count: 1, Each: peerbench.Size{CPU: 2, Memory: 1, Disk: 1}},
	}
	x0, x1, y := peerbench.Placed{"x", "a", 0}, peerbench.Placed{"x", "a", 1}, peerbench.Placed{"y", "b", -1}
	require.NoError(t, peerbench.Verify(hosts, reqs, []peerbench.Placed{x0, x1, y}))
	for name, placed := range map[string][]peerbench.Placed{
		"one is missing":     {x0, y},
		"one too many":       {x0, x1, y, y},
		"no such host":       {x0, x1, {"y", "c", -1}},
		"no such request":    {x0, x1, y, {"z", "b", -1}},
		"a host is too full": {x0, x1, {"y", "a", -1}},
		"a pool is too full": {x0, {"x", "a", 0}, y},
	} {
		require.Error(t, peerbench.Verify(hosts, reqs, placed), name)
	}
}

// still places nothing.
type still struct{ peerbench.System }

func (still) Ready([]peerbench.Request) (func() error, error) {
	return func() error { return nil }, nil
}
func (still) Placed() ([]peerbench.Placed, error) { return nil, nil }
func (still) Close()                              {}

// A scheduler that is its own peer is as fast as itself on a clock that counts calls, and one that places nothing is
// found out.
func TestCompare(t *testing.T) {
	t.Parallel()
	ticks := time.Duration(0)
	b := peerbench.Bench{
		CPU: func() time.Duration { ticks += time.Millisecond; return ticks }, Ours: peerbench.Ours(scheduler.BestFit), Rounds: 3,
		Least: 10, Most: 20, Log: &bytes.Buffer{},
	}
	point := peerbench.Point{Hosts: 10, Instances: 50, Target: 2}
	rows, err := b.Run([]peerbench.Comparison{{Name: "itself", Open: b.Ours[0].Open, Count: 1, Points: []peerbench.Point{point}}})
	require.NoError(t, err)
	require.Len(t, rows, 2)
	for i, r := range rows {
		require.Equal(t, b.Ours[i].Name, r.Side)
		require.Len(t, r.Ours, 3)
		median, least, most := r.Ratio()
		require.Equal(t, []float64{1, 1, 1}, []float64{median, least, most})
	}
	var out bytes.Buffer
	require.NoError(t, peerbench.Print(&out, rows))
	require.Contains(t, out.String(), "missed")

	_, err = b.Run([]peerbench.Comparison{{Name: "idler", Count: 1, Points: []peerbench.Point{point}, Open: func([]peerbench.Host) (peerbench.System, error) {
		return still{}, nil
	}}})
	require.ErrorContains(t, err, "idler: 1 instances of vm-0 are not placed")
	broken := errors.New("broken")
	_, err = b.Run([]peerbench.Comparison{{Name: "wreck", Count: 1, Points: []peerbench.Point{point}, Open: func([]peerbench.Host) (peerbench.System, error) {
		return nil, broken
	}}})
	require.ErrorIs(t, err, broken)
}
