package pool_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

// toll is a Pricer: so much for each unit of cpu, and as much again for each letter of the flavor.
type toll struct{ PerCPU int64 }

func (toll) Name() string { return "toll" }

func (l toll) Fold(e *pool.Event) (pool.Part, error) {
	if e.Kind == pool.KindForgotten {
		return l, nil
	}
	return l.Load(e.Data)
}

func (l toll) Save() ([]byte, error) {
	if l == (toll{}) {
		return nil, nil
	}
	return json.Marshal(l)
}

func (toll) Load(b []byte) (pool.Part, error) {
	var l toll
	err := pool.PartData(b, &l)
	return l, err
}

func (l toll) Rate(_, flavor string, r pool.Resources) int64 {
	by := l.PerCPU * int64(1+len(flavor))
	if by > 0 && r[pool.CPU] > math.MaxInt64/by {
		return math.MaxInt64
	}
	return by * r[pool.CPU]
}

func (p *tape) toll(perCPU int64) pool.Event {
	e, err := pool.PartEvent("toll.set", 1, toll{perCPU})
	require.NoError(p.t, err)
	e.ID, e.Revision = "e", p.revision
	return e
}

// What something costs counts from when it has its place to when it has not, as the dearer of two flavors while it changes from one to the
// other, and at a change of prices anew; it is nothing in the sums of hosts.
func TestCostCounts(t *testing.T) {
	t.Parallel()
	p, s := &tape{t: t}, pool.NewState(toll{})
	do := func(e pool.Event) {
		t.Helper()
		require.NoError(t, s.Apply(&e))
		checkBooks(t, s, true)
	}
	next := func(kind string, payload any) { t.Helper(); do(p.next(kind, payload)) }
	prices := func(perCPU int64) { t.Helper(); p.revision++; do(p.toll(perCPU)) }
	cost := func() [4]int64 {
		t.Helper()
		return [4]int64{totalOf(t, s, "org")[pool.Cost], totalOf(t, s, "web")[pool.Cost], totalOf(t, s, "lab")[pool.Cost], s.OwnerUsed("web", "u-1")[pool.Cost]}
	}
	next(pool.KindHostPut, &pool.HostPut{Host: serverHost("d/h00")})
	next(pool.KindProjectPut, &pool.Project{Name: "org"})
	next(pool.KindProjectPut, &pool.Project{Name: "web", Parent: "org"})
	next(pool.KindProjectPut, &pool.Project{Name: "lab", Parent: "org"})
	of := func(n int64) pool.Allocation { return pool.Allocation{Resources: pool.Resources{pool.CPU: n}} }
	id := everyInstance[0]
	l := launched(id, pool.Placement{Host: "d/h00", Allocation: of(10)})
	l.Project, l.Owner, l.Spec.Flavor = "web", "u-1", "ab"
	next(pool.KindLaunched, l)
	require.Equal(t, [4]int64{}, cost(), "nothing has a price")
	prices(1)
	require.Equal(t, [4]int64{30, 30, 0, 30}, cost(), "what is there is counted anew")
	require.EqualValues(t, 1, s.OwnerUsed("web", "u-1")[pool.Instances])
	i, _ := s.Instance(id)
	require.EqualValues(t, 30, s.CostOf(i))
	require.EqualValues(t, 60, s.Cost("d/h00", of(20), "a", "ab", ""))
	require.Equal(t, p.revision, s.Repriced())

	next(pool.KindCreated, &pool.OfMachine{Machine: id.Machine(0)})
	next(pool.KindResizing, &pool.ResizeWanted{Instance: id, During: of(20), After: of(20), Sizes: pool.Sizes{Flavor: "a"}})
	require.Equal(t, [4]int64{60, 60, 0, 60}, cost(), "the dearer of both")
	prices(2)
	require.Equal(t, [4]int64{120, 120, 0, 120}, cost())
	next(pool.KindResized, &pool.OfMachine{Machine: id.Machine(0)})
	require.Equal(t, [4]int64{80, 80, 0, 80}, cost(), "the new one")
	next(pool.KindResizing, &pool.ResizeWanted{Instance: id, During: of(30), After: of(30), Sizes: pool.Sizes{Flavor: "abcd"}})
	require.Equal(t, [4]int64{300, 300, 0, 300}, cost())
	next(pool.KindUnresized, &pool.Stayed{Machine: id.Machine(0)})
	require.Equal(t, [4]int64{80, 80, 0, 80}, cost(), "the old one")
	next(pool.KindProjectPut, &pool.Project{Name: "web", Parent: "lab"})
	require.Equal(t, [4]int64{80, 80, 80, 80}, cost())
	require.Zero(t, s.Total(pool.Cost))

	back, err := pool.ReadSnapshot(strings.NewReader(string(snapshotOf(t, s.Snapshot()))), toll{})
	require.NoError(t, err)
	equal(t, s, back)
	checkBooks(t, back, true)

	next(pool.KindResizing, &pool.ResizeWanted{Instance: id, During: of(20), After: of(20), Sizes: pool.Sizes{Flavor: "abc"}})
	next(pool.KindPlaced, &pool.Placed{Instance: id, Place: pool.Placement{Number: 1, Host: "d/h00", Allocation: of(20)}})
	require.Equal(t, [4]int64{160, 160, 160, 160}, cost(), "made anew in the midst of it")
	prices(0)
	require.Equal(t, [4]int64{}, cost())
	prices(1)
	next(pool.KindFailed, &pool.Ended{Instance: id})
	require.Equal(t, [4]int64{}, cost())
}

// A sum of costs that no int64 holds is refused, and leaves no trace: at a change of prices and at what comes to be charged.
func TestCostsOverflow(t *testing.T) {
	t.Parallel()
	p, s := &tape{t: t}, pool.NewState(toll{})
	apply := func(e pool.Event) error { return s.Apply(&e) }
	require.NoError(t, apply(p.next(pool.KindHostPut, &pool.HostPut{Host: serverHost("d/h00")})))
	require.NoError(t, apply(p.next(pool.KindProjectPut, &pool.Project{Name: "org"})))
	require.NoError(t, apply(p.next(pool.KindProjectPut, &pool.Project{Name: "p", Parent: "org"})))
	for n := range 2 {
		require.NoError(t, apply(p.next(pool.KindLaunched, launched(everyInstance[n], pool.Placement{Host: "d/h00", Allocation: pool.Allocation{Resources: pool.Resources{pool.CPU: 1}}}))))
	}
	const most = math.MaxInt64
	before := s.Clone()
	p.revision++
	require.ErrorIs(t, apply(p.toll(most/2+1)), pool.ErrOverflow)
	equal(t, before, s)
	require.Zero(t, s.Repriced())
	require.NoError(t, apply(p.toll(most/2)))
	before = s.Clone()
	third := launched(everyInstance[2], pool.Placement{Host: "d/h00", Allocation: pool.Allocation{Resources: pool.Resources{pool.CPU: 1}}})
	require.ErrorIs(t, apply(p.next(pool.KindLaunched, third)), pool.ErrOverflow)
	equal(t, before, s)
	checkBooks(t, s, true)
}

// A price of its own is what a class of that name has not: a ledger that has used it for another thing is read as before.
func TestClassThatWasCalledCost(t *testing.T) {
	t.Parallel()
	p, s := &tape{t: t}, pool.NewState(toll{})
	apply := func(e pool.Event) { t.Helper(); require.NoError(t, s.Apply(&e)) }
	h := serverHost("d/h00")
	h.Inventory[pool.Cost] = pool.Inventory{Total: 9}
	apply(p.next(pool.KindHostPut, &pool.HostPut{Host: h}))
	apply(p.next(pool.KindProjectPut, &pool.Project{Name: "p"}))
	apply(p.next(pool.KindLaunched, launched(everyInstance[0], pool.Placement{Host: "d/h00", Allocation: pool.Allocation{Resources: pool.Resources{pool.Cost: 7, pool.CPU: 2}}})))
	require.EqualValues(t, 7, totalOf(t, s, "p")[pool.Cost])
	p.revision++
	apply(p.toll(10))
	require.EqualValues(t, 27, totalOf(t, s, "p")[pool.Cost])
	apply(p.next(pool.KindFailed, &pool.Ended{Instance: everyInstance[0]}))
	require.Empty(t, totalOf(t, s, "p"))
	require.Error(t, pool.Spec{Image: "i", Resources: pool.Resources{pool.Cost: 1}}.Valid(), "nobody can ask for it any more")
}

func TestFormatMillionths(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0.00", 1: "0.000001", 1_500_000: "1.50", 12_500: "0.0125", 100_000: "0.10", -1_230_000: "-1.23", 2_000_000: "2.00",
		math.MaxInt64: "9223372036854.775807", math.MinInt64: "-9223372036854.775808",
	} {
		require.Equal(t, want, pool.FormatMillionths(n))
	}
	require.Equal(t, "1.50 an hour", pool.Cost.Format(1_500_000))
}
