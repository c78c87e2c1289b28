package ring_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// refusing is a ledger that does not take some of the batches.
type refusing struct {
	pool.Ledger
	mu     sync.Mutex
	refuse func() bool
}

func (l *refusing) Append(ctx context.Context, prev pool.Revision, events ...pool.Event) (pool.Revision, error) {
	l.mu.Lock()
	no := l.refuse != nil && l.refuse()
	l.mu.Unlock()
	if no {
		return 0, &pool.Error{Kind: pool.ErrUnavailable, Field: "ledger"}
	}
	return l.Ledger.Append(ctx, prev, events...)
}

// placer is a ring that places on few small hosts.
type placer struct {
	t testing.TB
	*ring.Ring
	ledger *refusing
}

func newPlacer(t testing.TB, l pool.Ledger) *placer {
	p := &placer{t: t, ledger: &refusing{Ledger: l}}
	var err error
	p.Ring, err = ring.Open(t.Context(), ring.Config{Ledger: p.ledger, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

func (p *placer) do(c ring.Command) error { return p.Do(p.t.Context(), c, ring.Caller{Actor: "test"}) }

func (p *placer) setUp(hosts int) {
	require.NoError(p.t, p.do(ring.Command{Put: &ring.Put{Project: &pool.Project{Name: "shop"}}}))
	require.NoError(p.t, p.do(ring.Command{Put: &ring.Put{Image: &pool.Image{Name: "debian", User: "debian", Sources: map[string]string{"sim": "x"}}}}))
	for k := range hosts {
		require.NoError(p.t, p.addHost("h"+strconv.Itoa(k)))
	}
}

func (p *placer) addHost(name string) error {
	return p.do(ring.Command{AddHost: &ring.AddHost{Host: pool.Host{
		ID: pool.NewHostID("sim", name), Conditions: pool.Ready, Inventory: map[pool.Class]pool.Inventory{
			pool.CPU: {Total: 16 * pool.Core}, pool.Memory: {Total: 64 * pool.GiB}, pool.StorageStandard: {Total: pool.TiB},
		},
	}}})
}

func small(cores int64) pool.Spec {
	return pool.Spec{Image: "debian", Resources: pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: cores * pool.GiB}}
}

func (p *placer) launch(name string, cores int64) error {
	return p.do(ring.Command{Launch: &ring.Launch{Token: name, Project: "shop", Name: name, Spec: small(cores)}})
}

// follows proves that the index has what the State has.
func (p *placer) follows() {
	p.t.Helper()
	var reqs []scheduler.Request
	for _, c := range []pool.Class{pool.CPU, pool.Memory, pool.StorageStandard} {
		for _, n := range []int64{1, 1 << 60} { // the reasons of the second say what each host has free
			reqs = append(reqs, scheduler.Request{
				Spec: pool.Spec{Resources: pool.Resources{c: n}}, Image: pool.Image{Sources: map[string]string{"sim": "x"}},
			})
			if c == pool.StorageStandard {
				reqs[len(reqs)-1].Spec = pool.Spec{Disks: []pool.Disk{{Size: n}}}
			}
		}
	}
	made, err := p.Index(reqs...)
	require.NoError(p.t, err)
	require.True(p.t, made, "no index")
}

// Nothing of a batch that was not appended stays in the index: the next decision places on what the State has.
func TestRefusedBatchLeavesNoTrace(t *testing.T) {
	t.Parallel()
	p := newPlacer(t, pool.NewMemoryLedger())
	p.setUp(2)
	require.NoError(t, p.launch("first", 2))
	p.follows()
	p.ledger.refuse = func() bool { return true }
	require.ErrorIs(t, p.launch("second", 16), pool.ErrUnavailable)
	require.ErrorIs(t, p.addHost("other"), pool.ErrUnavailable)
	p.follows()
	p.ledger.refuse = nil
	require.NoError(t, p.launch("third", 16), "the host that the second would have had is free")
	p.follows()
}

// What a decision tries out and gives up stays out of the index too, and what it tries out sees what it tried before.
func TestRefusedClusterLeavesNoTrace(t *testing.T) {
	t.Parallel()
	p := newPlacer(t, pool.NewMemoryLedger())
	p.setUp(3)
	require.NoError(t, p.launch("first", 2))
	grow := func(name string, size int) error {
		return p.do(ring.Command{CreateCluster: &ring.CreateCluster{Token: name, Project: "shop", Name: name, Spec: small(8), Size: size}})
	}
	require.ErrorIs(t, grow("six", 6), pool.ErrNoRoom, "there is room for one beside the first, and two on either other")
	p.follows()
	require.NoError(t, grow("five", 5))
	p.follows()
	require.ErrorIs(t, p.launch("second", 8), pool.ErrNoRoom)
}

// A cluster with spare domains is tried out on the index, and leaves there what it has got and nothing else.
func TestClusterWithSpareLeavesNoTrace(t *testing.T) {
	t.Parallel()
	p := newPlacer(t, pool.NewMemoryLedger())
	p.setUp(4)
	grow := func(name string, size, spare int) error {
		return p.do(ring.Command{CreateCluster: &ring.CreateCluster{Token: name, Project: "shop", Name: name, Spec: small(8), Size: size, Spare: spare}})
	}
	require.ErrorIs(t, grow("seven", 7, 1), pool.ErrNoRoom, "each host takes two, and one may fail")
	p.follows()
	require.NoError(t, grow("four", 4, 2))
	p.follows()
	require.ErrorIs(t, grow("more", 3, 1), pool.ErrNoRoom)
	require.NoError(t, grow("two", 2, 1))
	p.follows()
}

// Launches that come in one batch see those before them; hosts are filled to the last core and no further.
func TestLaunchesOfOneBatch(t *testing.T) {
	t.Parallel()
	p := newPlacer(t, pool.NewMemoryLedger())
	p.setUp(4)
	var wg sync.WaitGroup
	errs := make([]error, 80)
	for k := range errs {
		wg.Go(func() { errs[k] = p.launch("vm-"+strconv.Itoa(k), 1) })
	}
	wg.Wait()
	placed := 0
	for _, err := range errs {
		if err == nil {
			placed++
		} else {
			require.ErrorIs(t, err, pool.ErrNoRoom)
		}
	}
	require.Equal(t, 64, placed)
	p.follows()
}

// What a decision has tried out becomes part of the books as it is. It is what another process makes of the events that are
// stored: moments, revisions and all.
func TestBooksAreWhatIsStored(t *testing.T) {
	t.Parallel()
	p := newPlacer(t, pool.NewMemoryLedger())
	p.setUp(4)
	create := func(name string, size int) ring.Command {
		return ring.Command{CreateCluster: &ring.CreateCluster{Token: name, Project: "shop", Name: name, Spec: small(1), Size: size}}
	}
	launch := func(name string) ring.Command {
		spec := small(2)
		spec.Labels, spec.Guest = map[string]string{"app": "db"}, pool.Guest{User: "admin"}
		return ring.Command{Launch: &ring.Launch{Token: name, Project: "shop", Name: name, Spec: spec}}
	}
	for _, batch := range [][]ring.Command{
		{launch("a"), create("one", 9), create("too-many", 99), launch("b"), create("two", 7)},
		{
			{ScaleCluster: &ring.ScaleCluster{Cluster: "shop/one", Size: 5}}, create("three", 3),
			{SteerCluster: &ring.SteerCluster{Cluster: "shop/two", Verb: ring.Stop}},
			{ScaleCluster: &ring.ScaleCluster{Cluster: "shop/one", Size: 8}}, launch("c"),
		},
	} {
		before := p.Head()
		for k, err := range p.DoAll(t.Context(), batch, ring.Caller{Actor: "test"}) {
			if c := batch[k].CreateCluster; c != nil && c.Size == 99 {
				require.ErrorIs(t, err, pool.ErrNoRoom)
			} else {
				require.NoError(t, err)
			}
		}
		require.Equal(t, before+1, p.Head(), "one batch")
		stored := pool.NewState()
		for b, err := range p.ledger.Read(t.Context(), 0) {
			require.NoError(t, err)
			for i := range b.Events {
				require.NoError(t, stored.Apply(&b.Events[i]))
			}
		}
		require.JSONEq(t, portrait(t, stored), portrait(t, p.Fork()))
		p.follows()
	}
}

// portrait is all that a State has of hosts, instances, clusters and projects.
func portrait(t *testing.T, st *pool.State) string {
	clusters := slices.SortedFunc(st.Clusters(), func(a, b *pool.Cluster) int { return cmp.Compare(a.ID, b.ID) })
	b, err := json.Marshal([]any{
		st.Head(), st.Time(), st.Totals(), st.SortedHosts(), st.SortedInstances(), clusters, slices.Collect(st.Projects()), st.WaitingCount(),
	})
	require.NoError(t, err)
	return string(b)
}

// Commands that come together are one batch; what is wrong with one is its own affair.
func TestDoAll(t *testing.T) {
	t.Parallel()
	p := newPlacer(t, pool.NewMemoryLedger())
	p.setUp(1)
	launch := func(name string, cores int64) ring.Command {
		return ring.Command{Launch: &ring.Launch{Token: name, Project: "shop", Name: name, Spec: small(cores)}}
	}
	before := p.Head()
	errs := p.DoAll(t.Context(), []ring.Command{launch("a", 10), {}, launch("b", 7), launch("c", 4)}, ring.Caller{Actor: "test"})
	require.Len(t, errs, 4)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], pool.ErrInvalid)
	require.ErrorIs(t, errs[2], pool.ErrNoRoom, "there are 6 cores left")
	require.NoError(t, errs[3])
	require.Equal(t, before+1, p.Head())
	p.follows()
	require.Empty(t, p.DoAll(t.Context(), nil, ring.Caller{}))

	p.ledger.refuse = func() bool { return true }
	for _, err := range p.DoAll(t.Context(), []ring.Command{launch("d", 1), launch("e", 1)}, ring.Caller{}) {
		require.ErrorIs(t, err, pool.ErrUnavailable)
	}
	for _, err := range p.DoAll(t.Context(), make([]ring.Command, 2), ring.Caller{}) {
		require.ErrorIs(t, err, pool.ErrInvalid)
	}
	many := make([]ring.Command, 5000)
	for k := range many {
		many[k] = launch("f"+strconv.Itoa(k), 1)
	}
	for _, err := range p.DoAll(t.Context(), many, ring.Caller{}) {
		require.ErrorIs(t, err, pool.ErrUnavailable, "more than may wait")
	}
}

// Two rings on one ledger that now and then does not take a batch, under commands of all kinds at once: both indexes
// follow.
func TestTheIndexFollowsTheState(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		l := pool.NewMemoryLedger()
		rings := []*placer{newPlacer(t, l), newPlacer(t, l)}
		rings[0].setUp(6)
		require.NoError(t, rings[1].CatchUp(t.Context()))
		r := rand.New(rand.NewPCG(seed, 3))
		for _, p := range rings {
			lottery := rand.New(rand.NewPCG(seed, 4))
			p.ledger.refuse = func() bool { return lottery.IntN(8) == 0 }
		}
		for round := range 25 {
			var wg sync.WaitGroup
			for k := range 1 + r.IntN(12) {
				p, name := rings[r.IntN(2)], fmt.Sprintf("x%d-%d", round, k)
				c := someCommand(r, p, name)
				wg.Go(func() { _ = p.do(c) }) // many are refused, by the State or by the ledger
			}
			wg.Wait()
			rings[r.IntN(2)].end(r, l)
			for _, p := range rings {
				require.NoError(t, p.CatchUp(t.Context()))
			}
		}
		for _, p := range rings {
			p.ledger.refuse = nil
			_ = p.launch("last", 1)
			p.follows()
		}
	}
}

func someCommand(r *rand.Rand, p *placer, name string) ring.Command {
	cores := []int64{1, 2, 4, 16}[r.IntN(4)]
	h := pool.NewHostID("sim", "h"+strconv.Itoa(r.IntN(8)))
	switch r.IntN(12) {
	case 0:
		return ring.Command{CreateCluster: &ring.CreateCluster{
			Token: name, Project: "shop", Name: name, Spec: small(cores), Size: 1 + r.IntN(5), BestEffort: r.IntN(2) == 0,
		}}
	case 1:
		return ring.Command{Cordon: &ring.Cordon{Host: h, On: r.IntN(3) == 0}}
	case 2:
		return ring.Command{RemoveHost: &ring.RemoveHost{Host: h}}
	case 3:
		return ring.Command{AddHost: &ring.AddHost{Host: pool.Host{ID: h, Conditions: pool.Ready, Inventory: map[pool.Class]pool.Inventory{
			pool.CPU: {Total: 8 * pool.Core}, pool.Memory: {Total: 99 * pool.GiB}, pool.StorageStandard: {Total: pool.TiB},
		}}}}
	}
	return ring.Command{Launch: &ring.Launch{Token: name, Project: "shop", Name: name, Spec: small(cores)}}
}

// end has some instances ended by somebody else on the ledger.
func (p *placer) end(r *rand.Rand, l pool.Ledger) {
	require.NoError(p.t, p.CatchUp(p.t.Context()))
	var events []pool.Event
	p.View(func(st *pool.State) {
		for _, i := range st.SortedInstances() {
			if i.Cluster == "" && r.IntN(3) == 0 && len(events) < 10 {
				e := event(p.t, pool.KindDeleted, &pool.Ended{Instance: i.ID, Hold: r.IntN(5) == 0})
				e.ID, e.Actor, e.Time = fmt.Sprint("end", r.Uint64()), "test", st.Time()
				events = append(events, e)
			}
		}
	})
	if len(events) > 0 {
		_, err := l.Append(p.t.Context(), p.Head(), events...)
		require.NoError(p.t, err)
	}
}
