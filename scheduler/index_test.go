package scheduler_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// world is a pool that changes at random, with two indexes of it: one that is told every change by the records of the
// State, and one that books what is placed itself.
type world struct {
	*books
	r              *rand.Rand
	follows, own   *scheduler.Index
	placed         []pool.InstanceID
	names          int
	asks           []*scheduler.Ask
	askedOf        []*scheduler.Scheduler
	reqs           []scheduler.Request
	outs           []scheduler.Decision
	ends           scheduler.Ends
	worth          scheduler.Worth
	large          bool // sizes of real hosts instead of small numbers with many ties
	cases, placed2 int
}

func newWorld(t testing.TB, seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 11))
	w := &world{books: newBooks(t), r: r, large: r.IntN(2) == 0}
	w.clusters()
	w.follows, w.own = scheduler.NewIndex(w.state), scheduler.NewIndex(w.state)
	w.follows.Narrow(2+r.IntN(6), 2+r.IntN(4))
	w.own.Narrow(2+r.IntN(20), 2+r.IntN(8))
	for range 1 + r.IntN(60) {
		w.addHost()
	}
	for range 3 {
		s := w.scheduler()
		req := w.request()
		randomRules(w.r, &req, nil)
		a, err := s.Ask(req)
		require.NoError(t, err)
		w.asks, w.askedOf, w.reqs = append(w.asks, a), append(w.askedOf, s), append(w.reqs, req)
	}
	w.outs = make([]scheduler.Decision, len(w.asks))
	return w
}

// tell folds an event and tells the indexes what has changed.
func (w *world) tell(kind string, payload any, book func()) {
	before := w.state
	w.state = before.Overlay()
	w.fold(kind, payload)
	for id, h := range w.state.ChangedHosts() {
		w.follows.Sync(w.state, id)
		switch {
		case h == nil:
			w.own.Remove(id)
		case book == nil:
			w.own.Update(h)
		}
	}
	if book != nil {
		book()
	}
	before.Absorb(w.state)
	w.state = before
}

func (w *world) host(name string) pool.Host {
	h, _ := randomHost(w.r, name)
	if !w.large {
		return h
	}
	kinds := []struct{ cores, gib int64 }{{16, 64}, {32, 128}, {48, 192}, {64, 256}, {64, 128}}
	k := kinds[w.r.IntN(len(kinds))]
	scale := int64(1)
	if w.r.IntN(20) == 0 {
		scale = 1 << 13 // a region: beyond what a float64 has exactly
	}
	for c, n := range map[pool.Class]int64{pool.CPU: k.cores * pool.Core, pool.Memory: k.gib*pool.GiB - w.r.Int64N(pool.GiB), pool.StorageSSD: 4 * pool.TiB} {
		h.Inventory[c] = pool.Inventory{Total: n * scale, Ratio: []pool.Ratio{0, 0, 1500}[w.r.IntN(3)]}
	}
	h.Shapes = nil
	for i := range h.Devices {
		if h.Devices[i].Class == pool.StorageSSD {
			h.Devices[i].Inventory = pool.Inventory{Total: 2 * pool.TiB * scale}
		}
	}
	return h
}

func (w *world) addHost() {
	w.names++
	w.tell(pool.KindHostPut, &pool.HostPut{Host: w.host("h" + strconv.Itoa(w.r.IntN(1000)) + "-" + strconv.Itoa(w.names))}, nil)
}

func (w *world) request() scheduler.Request {
	req := randomRequest(w.r)
	if w.large {
		cores := []int64{1, 2, 4, 8}[w.r.IntN(4)]
		req.Spec.Resources[pool.CPU], req.Spec.Resources[pool.Memory] = cores*pool.Core, cores*[]int64{1792, 3584, 7168}[w.r.IntN(3)]*pool.MiB
		for i := range req.Spec.Disks {
			req.Spec.Disks[i].Size *= 100 * pool.GiB
		}
	}
	c := &req.Spec.Constraints
	hosts := w.state.SortedHosts()
	if c.Hosts != nil && len(hosts) > 0 {
		for range 1 + w.r.IntN(12) {
			c.Hosts = append(c.Hosts, hosts[w.r.IntN(len(hosts))].ID)
		}
	}
	if req.Avoid != nil && len(hosts) > 0 {
		for range 1 + w.r.IntN(5) {
			req.Avoid = append(req.Avoid, hosts[w.r.IntN(len(hosts))].ID)
		}
	}
	if w.r.IntN(4) == 0 {
		req.Image = req.Image.Clone()
		req.Image.Sources["e"] = "there"
	}
	return req
}

// scheduler is one with a random strategy, and sometimes an importer's filter and scores.
func (w *world) scheduler() *scheduler.Scheduler {
	s := &scheduler.Scheduler{Strategy: scheduler.Strategy(w.r.IntN(4))}
	randomPreferences(w.r, s)
	if w.r.IntN(2) == 0 {
		s.Ends = &w.ends
	}
	if w.r.IntN(3) == 0 {
		s.Worth = &w.worth
	}
	if s.Loads != nil {
		loads := make(map[pool.HostID]float64)
		for h := range w.state.Hosts() {
			loads[h.ID] = w.r.Float64()
		}
		s.Loads.Set(loads)
	}
	if w.r.IntN(3) == 0 {
		s.Filters = []scheduler.Filter{func(req scheduler.Request, h *pool.HostRecord) *scheduler.Reason {
			if h.Placed > 3 || h.Used[pool.CPU]%7 == 3 || len(h.DeviceUsed) > 2 {
				return &scheduler.Reason{Detail: "enough"}
			}
			return nil
		}}
	}
	if w.r.IntN(5) == 0 {
		s.Scores = []scheduler.Score{
			func(_ scheduler.Request, h *pool.HostRecord) float64 { return float64(h.Used[pool.CPU]%5) / 3 },
			func(_ scheduler.Request, h *pool.HostRecord) float64 { return float64(h.Placed%3) / 7 },
		}
	}
	return s
}

// check compares one placement with the scan, and sometimes books it.
func (w *world) check() {
	w.cases++
	s, req := w.scheduler(), w.request()
	if w.r.IntN(40) == 0 {
		s.Ends = new(scheduler.Ends) // others, which know of nothing
	}
	switch n := w.r.IntN(8); {
	case n < 4:
		randomRules(w.r, &req, w.placed)
	case n < 5 && len(w.placed) > 0: // one that is there is to be elsewhere
		i, _ := w.state.Instance(w.placed[w.r.IntN(len(w.placed))])
		req = scheduler.Request{Spec: i.Spec, Image: i.Image, Project: "p", Cluster: i.Cluster, Avoid: []pool.HostID{i.Place.Host}, Leaves: i.Place.Host}
	}
	req.Now, req.Lives = randomLives(w.r)
	if w.r.IntN(20) == 0 {
		w.setWorth()
	}
	want, wantErr := s.Place(w.state, req)
	got, err := s.PlaceOn(w.follows, req.In(w.state))
	w.same(want, wantErr, got, err)
	if wantErr == nil && w.r.IntN(3) > 0 {
		w.placed2++
		id := pool.NewInstanceID("test", "p", fmt.Sprint(w.n))
		w.tell(pool.KindLaunched, w.launched(id, req, got), func() {
			require.NoError(w.t, w.own.Book(got.Host, &got.Allocation))
			w.meet(got.Host, id, 1)
		})
		w.placed = append(w.placed, id)
	}
	k := w.r.IntN(len(w.asks))
	if w.reqs[k].Now, w.reqs[k].Lives = randomLives(w.r); w.reqs[k].Now.IsZero() {
		w.reqs[k].Now = w.state.Time()
	}
	w.asks[k].Expect(w.reqs[k].Now, w.reqs[k].Lives)
	want, wantErr = w.askedOf[k].Place(w.state, w.reqs[k])
	err = w.own.Choose(w.asks[k], &w.outs[k])
	if errors.Is(wantErr, pool.ErrNoRoom) {
		require.Equal(w.t, pool.ErrNoRoom, err)
		return
	}
	w.same(want, wantErr, w.outs[k], err)
}

// meet tells the index that books by itself of an instance that rules may select.
func (w *world) meet(host pool.HostID, id pool.InstanceID, n int) {
	if i, _ := w.state.Instance(id); i.Cluster != "" || len(i.Spec.Labels) > 0 {
		require.NoError(w.t, w.own.Meet(host, pool.NewPeer(i.Project, i.Cluster, i.Spec.Labels), n))
	}
}

func (w *world) same(want scheduler.Decision, wantErr error, got scheduler.Decision, err error) {
	if wantErr == nil {
		require.NoError(w.t, err)
		require.Equal(w.t, want.Host, got.Host, "with %v, not %v", want.Score, got.Score)
		require.Equal(w.t, want.Score, got.Score, "to the last bit")
		require.Equal(w.t, want.Allocation.Resources, got.Allocation.Resources)
		require.Equal(w.t, want.Allocation.Shape, got.Allocation.Shape)
		require.Equal(w.t, len(want.Allocation.Claims), len(got.Allocation.Claims))
		for i, c := range want.Allocation.Claims {
			require.Equal(w.t, c, got.Allocation.Claims[i])
		}
		return
	}
	require.Error(w.t, err)
	if w.r.IntN(10) == 0 {
		require.Equal(w.t, wantErr, err)
	}
}

// change makes something else happen to the pool.
func (w *world) change() {
	hosts := w.state.SortedHosts()
	for range w.r.IntN(4) * w.r.IntN(4) {
		if len(hosts) > 0 {
			_, end := randomLife(w.r)
			w.ends.Set(hosts[w.r.IntN(len(hosts))].ID, end)
		}
	}
	switch n := w.r.IntN(10); {
	case n < 4 && len(w.placed) > 0:
		k := w.r.IntN(len(w.placed))
		id := w.placed[k]
		w.placed = slices.Delete(w.placed, k, k+1)
		i, _ := w.state.Instance(id)
		hold := w.r.IntN(8) == 0
		peer := pool.NewPeer(i.Project, i.Cluster, i.Spec.Labels)
		if book := func() {
			require.NoError(w.t, w.own.Free(i.Place.Host, &i.Place.Allocation))
			if i.Cluster != "" || len(i.Spec.Labels) > 0 {
				require.NoError(w.t, w.own.Meet(i.Place.Host, peer, -1))
			}
		}; hold {
			w.tell(pool.KindDeleted, &pool.Ended{Instance: id, Hold: true}, nil)
		} else {
			w.tell(pool.KindDeleted, &pool.Ended{Instance: id}, book)
		}
	case n < 5 || len(hosts) == 0:
		w.addHost()
	case n < 6:
		h := hosts[w.r.IntN(len(hosts))]
		if h.Placed == 0 && h.Held == 0 {
			w.tell(pool.KindHostRemoved, &pool.HostRemoved{Host: h.ID}, nil)
		}
	case n < 8:
		h := hosts[w.r.IntN(len(hosts))]
		w.tell(pool.KindHostConditions, &pool.HostConditions{
			Host: h.ID, Conditions: []pool.Conditions{pool.Ready, pool.Ready, pool.Ready | pool.Cordoned, pool.Unreachable}[w.r.IntN(4)],
		}, nil)
	default: // other labels, another zone, more or less of everything
		h := hosts[w.r.IntN(len(hosts))]
		n := w.host(h.ID.Native())
		n.ID = h.ID
		for _, d := range h.Devices { // which carry claims
			if !slices.ContainsFunc(n.Devices, func(x pool.Device) bool { return x.ID == d.ID }) {
				n.Devices = append(n.Devices, d)
			}
		}
		w.tell(pool.KindHostPut, &pool.HostPut{Host: n}, nil)
	}
}

// rounds is how many times the usual length a test takes: BERTHAGE_INDEX_ROUNDS, or once.
func rounds(t testing.TB) int {
	text := os.Getenv("BERTHAGE_INDEX_ROUNDS")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

func TestIndexAgainstTheScan(t *testing.T) {
	t.Parallel()
	cases, placed, most := 0, 0, 0
	for seed := 0; cases < 5000*rounds(t); seed++ {
		w := newWorld(t, uint64(seed))
		for range 40 {
			for range 1 + w.r.IntN(3) {
				w.check()
			}
			w.change()
			if w.r.IntN(20) == 0 {
				w.checkIndexes()
			}
			if t.Failed() {
				t.Fatal("seed", seed)
			}
		}
		w.checkIndexes()
		rows, _ := w.follows.Shape()
		cases, placed, most = cases+w.cases, placed+w.placed2, max(most, rows)
	}
	require.Greater(t, placed, cases/10, "too few are placed to prove anything")
	require.Greater(t, most, 3, "rows")
	t.Logf("%d cases, %d placed", 2*cases, placed)
}

// checkIndexes proves that both indexes are whole and have what the State has.
func (w *world) checkIndexes() {
	for _, ix := range []*scheduler.Index{w.follows, w.own} {
		require.NoError(w.t, ix.Check())
		require.NoError(w.t, ix.CheckEnds(&w.ends))
		require.Equal(w.t, w.state.HostCount(), ix.Len())
		for h := range w.state.Hosts() {
			got := ix.Record(h.ID)
			require.Equal(w.t, h.Host, got.Host)
			require.True(w.t, h.Used.Equal(got.Used))
			require.True(w.t, maps.Equal(h.DeviceUsed, got.DeviceUsed))
			require.Equal(w.t, h.Placed, got.Placed)
			require.Equal(w.t, h.Peers, got.Peers)
			require.Equal(w.t, h.GPULoads, got.GPULoads)
		}
		for c, sum := range totals(w.state) {
			used, capacity := ix.Total(c)
			require.Equal(w.t, sum.Used, used)
			require.Equal(w.t, sum.Capacity, capacity)
		}
	}
}

// What is given back is found at once, though no other host of its block has as much room.
func TestIndexFindsWhatIsGivenBack(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for k := range 50 {
		b.fold(pool.KindHostPut, &pool.HostPut{Host: host("h"+strconv.Itoa(k), 8, 16)})
	}
	ix := scheduler.NewIndex(b.state)
	var s scheduler.Scheduler
	a, err := s.Ask(want(8, 16))
	require.NoError(t, err)
	var d, last scheduler.Decision
	for range 50 {
		require.NoError(t, ix.Choose(a, &d))
		require.NoError(t, ix.Book(d.Host, &d.Allocation))
		last = d
	}
	require.ErrorIs(t, ix.Choose(a, &d), pool.ErrNoRoom)
	for range 3 {
		require.NoError(t, ix.Free(last.Host, &last.Allocation))
		d, err = s.PlaceOn(ix, want(8, 16)) // which does not begin where the last search has ended
		require.NoError(t, err)
		require.Equal(t, last.Host, d.Host)
		require.NoError(t, ix.Book(d.Host, &d.Allocation))
	}
}

// Book and Free refuse what cannot be, and change nothing then.
func TestBookRefuses(t *testing.T) {
	t.Parallel()
	h := host("a", 8, 16)
	h.Devices = []pool.Device{{ID: "ssd0", Class: pool.StorageSSD, Inventory: pool.Inventory{Total: 100}}}
	ix := scheduler.NewIndex(newBooks(t, h, region(shape("small", 2, 4))).state)
	of := func(c pool.Class, n int64, claims ...pool.Claim) *pool.Allocation {
		return &pool.Allocation{Resources: pool.Resources{c: n}, Claims: claims}
	}
	claim := func(id string, n int64) pool.Claim { return pool.Claim{Device: id, Class: pool.StorageSSD, Amount: n} }
	for _, id := range []pool.HostID{"d/a", "d/region"} {
		require.NoError(t, ix.Book(id, of(pool.CPU, 5)))
		before := *ix.Record(id)
		for name, c := range map[string]struct {
			do   func(pool.HostID, *pool.Allocation) error
			a    *pool.Allocation
			kind error
		}{
			"negative":           {ix.Book, of(pool.CPU, -1), pool.ErrInvalid},
			"overflow":           {ix.Book, of(pool.CPU, math.MaxInt64), pool.ErrOverflow},
			"device":             {ix.Book, of(pool.StorageSSD, 1, claim("ssd1", 1)), pool.ErrInvalid},
			"negative claim":     {ix.Book, of(pool.StorageSSD, 1, claim("ssd0", -1)), pool.ErrInvalid},
			"more than is taken": {ix.Free, of(pool.CPU, 6), pool.ErrInvalid},
			"claim not taken":    {ix.Free, of(pool.CPU, 1, claim("ssd0", 1)), pool.ErrInvalid},
		} {
			require.ErrorIs(t, c.do(id, c.a), c.kind, name)
			require.Equal(t, before, *ix.Record(id), name)
		}
		require.NoError(t, ix.Free(id, of(pool.CPU, 5)))
		require.ErrorIs(t, ix.Free(id, of(pool.CPU, 0)), pool.ErrInvalid, "nothing is placed there")
	}
	require.ErrorIs(t, ix.Book("d/b", of(pool.CPU, 1)), pool.ErrNotFound)
	require.NoError(t, ix.Check())
}

// More labels and zones than there are bits cost looks, and not the answer.
func TestIndexWithMoreTraitsThanBits(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for k := range 300 {
		h := host(fmt.Sprintf("h%03d", k), 8, 16)
		h.Zone, h.Labels = fmt.Sprintf("z%d", k%100), map[string]string{"name": h.Name, "tier": []string{"gold", "lead"}[k%2]}
		b.fold(pool.KindHostPut, &pool.HostPut{Host: h})
	}
	ix := scheduler.NewIndex(b.state)
	var s scheduler.Scheduler
	for k := range 300 {
		req := want(1, 1)
		req.Spec.Constraints = pool.Constraints{Zones: []string{fmt.Sprintf("z%d", k%100)}, Labels: map[string]string{"name": fmt.Sprintf("h%03d", k)}}
		d, err := s.PlaceOn(ix, req)
		require.NoError(t, err)
		require.Equal(t, pool.HostID(fmt.Sprintf("d/h%03d", k)), d.Host)
		req.Spec.Constraints.Labels["tier"] = []string{"lead", "gold"}[k%2]
		_, err = s.PlaceOn(ix, req)
		require.ErrorIs(t, err, pool.ErrNoRoom)
	}
	for k := range 300 { // and the bits are given back
		ix.Remove(pool.HostID(fmt.Sprintf("d/h%03d", k)))
	}
	require.Zero(t, ix.Len())
	require.NoError(t, ix.Check())
}

// A warm index places and releases without allocating anything.
func TestWarmIndexAllocatesNothing(t *testing.T) {
	c := newChurn(t, scheduler.Scheduler{}, 500)
	for range 5000 {
		c.turn(t)
	}
	require.Zero(t, testing.AllocsPerRun(2000, func() { c.turn(t) }))
}

// Nor does a choice with rules about other instances, taints, groups of hosts, cost and load.
func TestWarmChoiceWithConstraintsAllocatesNothing(t *testing.T) {
	ix, a := constrained(t, 500, 30)
	var d scheduler.Decision
	for range 100 {
		require.NoError(t, ix.Choose(a, &d))
	}
	require.Zero(t, testing.AllocsPerRun(500, func() { _ = ix.Choose(a, &d) }))
}

// constrained is an index of a fleet with taints and costs, on some hosts of which there are peers, and a request with
// rules about them.
func constrained(t testing.TB, hosts, peers int) (*scheduler.Index, *scheduler.Ask) {
	fleet := benchFleet(hosts)
	loads := make(map[pool.HostID]float64)
	for k, h := range fleet {
		h.Labels["rack"], h.Cost = "r"+strconv.Itoa(k%40), int64(k%7)*100_000
		if k%5 == 0 {
			h.Taints = []pool.Taint{{Key: "old", Effect: pool.NoSchedule}}
		}
		loads[h.ID] = float64(k%11) / 11
	}
	ix := benchIndex(t, fleet)
	peer := pool.NewPeer("p", "p/web", map[string]string{"app": "web"})
	for k := range peers {
		require.NoError(t, ix.Meet(fleet[k*len(fleet)/peers].ID, peer, 1))
	}
	s := &scheduler.Scheduler{
		Groups: []scheduler.HostGroup{{Labels: map[string]string{"tier": "lead"}, Strategy: scheduler.Spread}}, CostWeight: 0.01, LoadWeight: 0.01, Loads: new(scheduler.Loads),
	}
	s.Loads.Set(loads)
	req := want(1, 1)
	req.Cluster, req.Spec.Labels = "p/web", map[string]string{"app": "web"}
	req.Spec.Constraints = pool.Constraints{
		Tolerations:  []pool.Toleration{{Key: "gpu"}},
		AntiAffinity: []pool.Affinity{{}, {Selector: pool.Selector{Labels: map[string]string{"app": "web"}}, Within: "rack", Soft: true}},
		Spread:       []pool.Spread{{Selector: pool.Selector{Cluster: "web"}, Within: "zone", MaxSkew: 2}},
	}
	a, err := s.Ask(req)
	require.NoError(t, err)
	return ix, a
}

// FuzzIndex is a life of a small pool, compared with the scan at every step.
func FuzzIndex(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, []byte{1, 2, 3, 0, 0, 3})
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps []byte) {
		w := newWorld(t, seed)
		for _, b := range steps[:min(len(steps), 60)] {
			if b%3 == 0 {
				w.change()
			} else {
				w.check()
			}
		}
		w.checkIndexes()
	})
}
