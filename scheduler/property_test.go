package scheduler_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// keepsRules is the oracle of rules: whether a host keeps those that are required, and by how much not the others; straight
// from the definition, counting instances one by one.
func keepsRules(st *pool.State, h *pool.HostRecord, req scheduler.Request, empty bool) (keeps bool, unmet int) {
	selects := func(s *pool.Selector, i *pool.Instance) bool {
		switch {
		case len(s.Instances) > 0:
			return slices.Contains(s.Instances, i.ID)
		case s.Cluster != "":
			return string(i.Cluster) == "p/"+s.Cluster
		case len(s.Labels) > 0:
			for k, v := range s.Labels {
				if have, ok := i.Spec.Labels[k]; !ok || have != v {
					return false
				}
			}
			return true
		}
		return req.Cluster != "" && i.Cluster == req.Cluster
	}
	// count is by domain, mine is whether the instance itself is selected.
	count := func(s *pool.Selector, within string) (by map[string]int, total int, mine bool) {
		by = map[string]int{}
		mine = len(s.Instances) == 0 && selects(s, &pool.Instance{Project: req.Project, Cluster: req.Cluster, Spec: req.Spec})
		add := func(id pool.HostID, n int) {
			at, _ := st.Host(id)
			total += n
			if v, ok := at.Domain(within); ok {
				by[v] += n
			}
		}
		left := false
		for i := range st.Instances() {
			if i.Placed() && selects(s, i) {
				add(i.Place.Host, 1)
				left = left || i.Place.Host == req.Leaves
			}
		}
		if left && mine {
			add(req.Leaves, -1)
		}
		return by, total, mine
	}
	keeps = true
	judge := func(broken int, soft bool) {
		if soft {
			unmet += broken
		} else if broken > 0 {
			keeps = false
		}
	}
	c := req.Spec.Constraints
	for _, a := range c.Affinity {
		by, total, mine := count(&a.Selector, a.Within)
		v, in := h.Domain(a.Within)
		if !in || !empty && by[v] == 0 && (total > 0 || !mine) {
			judge(1, a.Soft)
		}
	}
	for _, a := range c.AntiAffinity {
		by, _, _ := count(&a.Selector, a.Within)
		if v, in := h.Domain(a.Within); in && !empty {
			judge(by[v], a.Soft)
		}
	}
	for _, a := range c.Spread {
		by, _, mine := count(&a.Selector, a.Within)
		v, in := h.Domain(a.Within)
		if !in {
			judge(1, a.Soft)
			continue
		}
		least := math.MaxInt
		for o := range st.Hosts() {
			bare := req
			bare.Spec.Constraints.Affinity, bare.Spec.Constraints.AntiAffinity, bare.Spec.Constraints.Spread = nil, nil, nil
			bare.Spec.Resources, bare.Spec.Disks = nil, nil
			there := *o
			there.Shapes = nil
			if ov, ok := o.Domain(a.Within); ok {
				if may, _ := judgeAlone(&there, bare, false, nil, scheduler.BestFit); may {
					least = min(least, by[ov])
				}
			}
		}
		if mine {
			by[v]++
		}
		if least == math.MaxInt {
			least = 0
		}
		if !empty {
			judge(max(0, by[v]-least-max(1, a.MaxSkew)), a.Soft)
		}
	}
	return keeps, unmet
}

// judge is the oracle: whether a request fits on a host, and its score.
func judge(st *pool.State, h *pool.HostRecord, req scheduler.Request, empty bool, total map[pool.Class]pool.Sum, s scheduler.Strategy) (fits bool, score float64) {
	fits, score = judgeAlone(h, req, empty, total, s)
	fits = fits && oneNode(h, req, empty)
	keeps, unmet := keepsRules(st, h, req, empty)
	return fits && keeps, score - 2*float64(unmet)
}

// oneNode reports whether a host with the devices of one NUMA node alone could take a request.
func oneNode(h *pool.HostRecord, req scheduler.Request, empty bool) bool {
	demand, _ := req.Spec.Demand()
	together := slices.DeleteFunc(slices.Clone(req.Spec.Constraints.SameNode), func(c pool.Class) bool { return demand[c] == 0 })
	if len(together) == 0 {
		return true
	}
	if h.Aggregate() {
		return false
	}
	for _, node := range []string{"n0", "n1"} {
		less, classes := *h, map[pool.Class]bool{}
		less.Devices = nil
		for _, d := range h.Devices {
			if slices.Contains(together, d.Class) && d.Node != node {
				continue
			}
			less.Devices = append(less.Devices, d)
			classes[d.Class] = true
		}
		all := !slices.ContainsFunc(together, func(c pool.Class) bool { return !classes[c] })
		if fits, _ := judgeAlone(&less, req, empty, nil, scheduler.BestFit); fits && all {
			return true
		}
	}
	return false
}

// judgeAlone is judge without rules about other instances, straight from the definition, every way of giving pieces to
// devices tried.
func judgeAlone(h *pool.HostRecord, req scheduler.Request, empty bool, total map[pool.Class]pool.Sum, s scheduler.Strategy) (fits bool, score float64) {
	c := req.Spec.Constraints
	tier, labelled := h.Labels["tier"]
	switch {
	case slices.Contains(req.Avoid, h.ID), !empty && h.Conditions != pool.Ready,
		len(c.Hosts) > 0 && !slices.Contains(c.Hosts, h.ID), len(c.Zones) > 0 && !slices.Contains(c.Zones, h.Zone),
		c.Labels["tier"] != "" && (!labelled || tier != c.Labels["tier"]),
		req.Image.Sources[h.ID.Driver()] == "", len(h.Kinds) > 0,
		slices.ContainsFunc(c.Abilities, func(a string) bool { return !slices.Contains(h.Abilities, a) }):
		return false, 0
	}
	unmet := 0
	for _, t := range h.Taints {
		tolerated := slices.ContainsFunc(c.Tolerations, func(o pool.Toleration) bool { return o.Key == t.Key && (o.Value == "" || o.Value == t.Value) })
		switch {
		case tolerated:
		case t.Effect == pool.NoSchedule:
			return false, 0
		default:
			unmet++
		}
	}
	demand, err := req.Spec.Demand()
	if err != nil {
		panic(err)
	}
	pieces := map[pool.Class][]int64{}
	for _, d := range req.Spec.Disks {
		pieces[d.Storage.Class()] = append(pieces[d.Storage.Class()], d.Size)
		pieces[d.Storage.IOPSClass()] = append(pieces[d.Storage.IOPSClass()], d.IOPS)
	}
	if h.Aggregate() {
		shape, ok := leastShape(h, demand)
		if !ok {
			return false, 0
		}
		demand = shape
	}
	used := func(c pool.Class) int64 {
		if empty {
			return 0
		}
		return h.Used[c]
	}
	for _, c := range demand.Classes() {
		n := demand[c]
		inv := h.Inventory[c]
		if used(c)+n > h.Capacity[c] || n < inv.MinUnit || inv.MaxUnit > 0 && n > inv.MaxUnit || inv.StepSize > 0 && n%inv.StepSize != 0 {
			return false, 0
		}
		var room, bound []int64
		for _, d := range h.Devices {
			if d.Class == c {
				free := d.Capacity()
				if !empty {
					free -= h.DeviceUsed[d.ID]
				}
				room, bound = append(room, free), append(bound, d.Total-d.Reserved)
			}
		}
		if len(room) == 0 || h.Aggregate() {
			continue
		}
		switch {
		case c == pool.GPU:
			units := int64(0)
			for i := range room {
				units += max(0, min(room[i], bound[i]))
			}
			if units < n {
				return false, 0
			}
		case c == pool.GPUShare:
			whole := 0
			var parts []int64
			for _, r := range room {
				if r >= 1000 {
					whole++
				} else {
					parts = append(parts, r)
				}
			}
			// As many whole devices as there are thousands; the rest on one that is not whole, or on a further one.
			if k := int(n / 1000); whole < k || n%1000 > 0 && whole == k && (len(parts) == 0 || slices.Max(parts) < n%1000) {
				return false, 0
			}
		case len(pieces[c]) > 0:
			if !everyWay(pieces[c], room) {
				return false, 0
			}
		default:
			if !everyWay([]int64{n}, room) {
				return false, 0
			}
		}
	}
	return true, preference(h, demand, total, s) - 2*float64(unmet)
}

// totals is what the hosts in use, but for aggregates, use and have together.
func totals(st *pool.State) map[pool.Class]pool.Sum {
	out := map[pool.Class]pool.Sum{}
	for h := range st.Hosts() {
		if h.Aggregate() || h.Placed == 0 && len(h.Used) == 0 {
			continue
		}
		for c, n := range h.Capacity {
			out[c] = pool.Sum{Used: out[c].Used, Capacity: out[c].Capacity + n}
		}
		for c, n := range h.Used { // of which a host that has shrunk may have nothing any more
			out[c] = pool.Sum{Used: out[c].Used + n, Capacity: out[c].Capacity}
		}
	}
	return out
}

// preference is the score, straight from the definition.
func preference(h *pool.HostRecord, demand pool.Resources, total map[pool.Class]pool.Sum, s scheduler.Strategy) float64 {
	use := func(c pool.Class) float64 {
		if total[c].Capacity == 0 {
			return 0
		}
		return float64(total[c].Used) / float64(total[c].Capacity)
	}
	left, weighted, weights, least := 0.0, 0.0, 0.0, 1.0
	for _, c := range demand.Classes() {
		least = min(least, max(0, 1-use(c)))
	}
	free := func(c pool.Class, less int64) float64 {
		return float64(h.Capacity[c]-h.Used[c]-less) / float64(h.Capacity[c])
	}
	for _, c := range demand.Classes() {
		w := 1.0
		if use(c) < 1 {
			w = least / (1 - use(c))
		}
		left += free(c, demand[c])
		weighted += w * free(c, demand[c])
		weights += w
	}
	inUse := 0.0
	if h.Placed > 0 {
		inUse = 1
	}
	best := 1 - left/float64(len(demand.Classes())) + inUse
	switch s {
	case scheduler.BestFit, scheduler.FGD:
		return best
	case scheduler.Spread:
		return 2 - best
	}
	ratio := 1.0
	if use(pool.CPU) > 0 && use(pool.Memory) > 0 {
		ratio = use(pool.Memory) / use(pool.CPU)
	}
	imbalance := func(cores, bytes int64) float64 {
		return math.Abs(free(pool.Memory, bytes)-ratio*free(pool.CPU, cores)) / max(1, ratio)
	}
	cost := weighted + imbalance(demand[pool.CPU], demand[pool.Memory]) - imbalance(0, 0)
	return (weights+1-cost)/(weights+2) + inUse
}

// wholeHost is what a whole host counts in a score by room.
func wholeHost(h *pool.HostRecord, req scheduler.Request, total map[pool.Class]pool.Sum, s scheduler.Strategy) float64 {
	if s != scheduler.Default {
		return 1
	}
	demand, err := req.Spec.Demand()
	if err != nil {
		panic(err)
	}
	if h.Aggregate() {
		demand, _ = leastShape(h, demand)
	}
	least, weights := 1.0, 0.0
	free := func(c pool.Class) float64 {
		if total[c].Capacity == 0 || total[c].Used <= 0 {
			return 1
		}
		return max(0, 1-float64(total[c].Used)/float64(total[c].Capacity))
	}
	for _, c := range demand.Classes() {
		least = min(least, free(c))
	}
	for _, c := range demand.Classes() {
		if free(c) > 0 {
			weights += least / free(c)
		} else {
			weights++
		}
	}
	return weights / (weights + 2)
}

// livesOn is a score behind lifetimes, straight from the definition.
func livesOn(s *scheduler.Scheduler, h *pool.HostRecord, req scheduler.Request, score, whole float64) float64 {
	if h.Placed == 0 && h.Held == 0 {
		return (1 - whole + score) / 2
	}
	beyond := time.Duration(0)
	if end := s.Ends.Of(h.ID); !end.IsZero() && end.After(req.Now) {
		beyond = end.Sub(req.Now)
	}
	return 1 + (1-whole*req.Lives(beyond)+score-1)/2
}

func everyWay(pieces, room []int64) bool {
	if len(pieces) == 0 {
		return true
	}
	for i := range room {
		if pieces[0] > room[i] && pieces[0] > 0 {
			continue
		}
		room[i] -= pieces[0]
		ok := everyWay(pieces[1:], room)
		room[i] += pieces[0]
		if ok {
			return true
		}
	}
	return false
}

// leastShape books the smallest covering shape, and beside it the classes that no shape has.
func leastShape(h *pool.HostRecord, demand pool.Resources) (pool.Resources, bool) {
	beside := pool.Resources{}
	for c, n := range demand {
		if !slices.ContainsFunc(h.Shapes, func(s pool.Shape) bool { return s.Resources[c] > 0 }) {
			beside[c] = n
		}
	}
	type candidate struct {
		shape pool.Shape
		part  float64
	}
	var fit []candidate
	for _, s := range h.Shapes {
		all, err := s.Resources.Add(beside)
		if err != nil {
			panic(err)
		}
		if demand.Fits(all) {
			part := 0.0
			for _, c := range s.Resources.Classes() {
				part += float64(s.Resources[c]) / float64(h.Capacity[c])
			}
			fit = append(fit, candidate{s, part})
		}
	}
	if len(fit) == 0 {
		return nil, false
	}
	least := slices.MinFunc(fit, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.part, b.part), cmp.Compare(a.shape.Name, b.shape.Name))
	})
	all, err := least.shape.Resources.Add(beside)
	return all, err == nil
}

// checkAllocation proves that an allocation is whole: sums as demanded, every claim within one device.
func checkAllocation(t *testing.T, h *pool.HostRecord, req scheduler.Request, a pool.Allocation) {
	demand, err := req.Spec.Demand()
	require.NoError(t, err)
	if h.Aggregate() {
		demand, _ = leastShape(h, demand)
		require.NotEmpty(t, a.Shape)
		require.Empty(t, a.Claims)
	}
	require.True(t, demand.Equal(a.Resources), "%v is not %v", a.Resources, demand)
	room := make(map[string]int64)
	for _, d := range h.Devices {
		room[d.ID] = d.Capacity() - h.DeviceUsed[d.ID]
	}
	sums := make(pool.Resources)
	for _, c := range a.Claims {
		require.Equal(t, h.Device(c.Device).Class, c.Class)
		room[c.Device] -= c.Amount
		require.GreaterOrEqual(t, room[c.Device], int64(0))
		sums[c.Class] += c.Amount
		switch d := req.Spec.Disks; {
		case c.Class == pool.StorageSSD:
			require.Equal(t, d[c.Disk].Size, c.Amount)
		case c.Class == pool.IOPSSSD:
			require.Equal(t, d[c.Disk].IOPS, c.Amount)
		}
	}
	nodes := map[string]bool{}
	for _, c := range a.Claims {
		if slices.Contains(req.Spec.Constraints.SameNode, c.Class) {
			nodes[h.Device(c.Device).Node] = true
		}
	}
	require.True(t, len(nodes) == 0 || len(nodes) == 1 && !nodes[""], "on nodes %v", nodes)
	for c, n := range sums {
		require.Equal(t, demand[c], n, "claims of %s", c)
	}
	for _, d := range h.Devices {
		if !h.Aggregate() && demand[d.Class] > 0 {
			require.Contains(t, sums, d.Class)
		}
	}
}

// apply makes the change that a refusal proposes.
func (f *fleet) apply(t *testing.T, c *scheduler.Change, req *scheduler.Request) {
	i := slices.IndexFunc(f.hosts, func(h pool.Host) bool { return h.ID == c.Host })
	h := &f.hosts[i]
	shrinkDisks := func(s scheduler.Step) {
		rest := s.Amount
		for i := range req.Spec.Disks {
			d := &req.Spec.Disks[i]
			if s.Disk != nil && *s.Disk != i {
				continue
			}
			if s.Class == d.Storage.IOPSClass() {
				n := min(rest, d.IOPS)
				d.IOPS, rest = d.IOPS-n, rest-n
			} else {
				n := min(rest, d.Size-1)
				d.Size, rest = d.Size-n, rest-n
			}
		}
		require.Zero(t, rest, "a shrink by more than there is")
	}
	var dropped [3][]int // indexes of affinity, anti-affinity and spread
	defer func() {
		c := &req.Spec.Constraints
		for _, i := range slices.Backward(dropped[0]) {
			c.Affinity = slices.Delete(c.Affinity, i, i+1)
		}
		for _, i := range slices.Backward(dropped[1]) {
			c.AntiAffinity = slices.Delete(c.AntiAffinity, i, i+1)
		}
		for _, i := range slices.Backward(dropped[2]) {
			c.Spread = slices.Delete(c.Spread, i, i+1)
		}
	}()
	for _, s := range c.Steps {
		require.NotEmpty(t, s.String())
		switch s.Do {
		case scheduler.MakeReady:
			require.Equal(t, h.Conditions, s.Conditions)
			h.Conditions = pool.Ready
		case scheduler.AllowHost:
			req.Avoid, req.Spec.Constraints.Hosts = nil, nil
		case scheduler.AllowZone:
			require.Equal(t, h.Zone, s.Value)
			req.Spec.Constraints.Zones = nil
		case scheduler.DropLabel:
			delete(req.Spec.Constraints.Labels, s.Label)
		case scheduler.DropAbility:
			k := slices.Index(req.Spec.Constraints.Abilities, s.Value)
			req.Spec.Constraints.Abilities = slices.Delete(slices.Clone(req.Spec.Constraints.Abilities), k, k+1)
		case scheduler.Tolerate:
			require.Contains(t, h.Taints, *s.Taint)
			req.Spec.Constraints.Tolerations = append(slices.Clip(req.Spec.Constraints.Tolerations), pool.Toleration{Key: s.Taint.Key, Value: s.Taint.Value})
		case scheduler.DropRule:
			k := slices.Index([]scheduler.Constraint{scheduler.ByAffinity, scheduler.ByAntiAffinity, scheduler.BySpread}, s.Constraint)
			dropped[k] = append(dropped[k], s.Rule.Index)
		case scheduler.DropNode:
			req.Spec.Constraints.SameNode = nil
		case scheduler.AddSource:
			req.Image = req.Image.Clone()
			req.Image.Sources[s.Value] = "there"
		case scheduler.Free:
			require.Positive(t, s.Amount)
			a := f.used[c.Host]
			a.Resources = a.Resources.Clone()
			a.Resources[s.Class] -= s.Amount
			require.GreaterOrEqual(t, a.Resources[s.Class], int64(0), "more is freed than is used")
			if s.Device != "" {
				a.Claims = slices.Clone(a.Claims)
				k := slices.IndexFunc(a.Claims, func(c pool.Claim) bool { return c.Device == s.Device })
				require.GreaterOrEqual(t, k, 0, "nothing to free on the device")
				a.Claims[k].Amount -= s.Amount
				require.GreaterOrEqual(t, a.Claims[k].Amount, int64(0))
			}
			f.used[c.Host] = a
		case scheduler.Shrink:
			require.Positive(t, s.Amount)
			if s.Class == pool.StorageSSD || s.Class == pool.IOPSSSD {
				shrinkDisks(s)
				continue
			}
			req.Spec.Resources = req.Spec.Resources.Clone()
			req.Spec.Resources[s.Class] -= s.Amount
			require.GreaterOrEqual(t, req.Spec.Resources[s.Class], int64(0))
		default:
			require.Fail(t, "unknown action", s.Do)
		}
	}
}

func TestPlaceAgainstTheDefinition(t *testing.T) {
	t.Parallel()
	counts := map[string]int{}
	for seed := range uint64(6000) {
		r := rand.New(rand.NewPCG(seed, 7))
		f, req := randomFleet(r), randomRequest(r)
		var ids []pool.InstanceID
		for n := range f.others {
			ids = append(ids, f.others[n].id(n))
		}
		if r.IntN(2) == 0 {
			f.roomy(r, &req)
		}
		if r.IntN(2) == 0 {
			randomRules(r, &req, ids)
			for _, o := range f.others { // it is one of those, and to be elsewhere
				if req.Cluster == "" && o.cluster == "" && maps.Equal(o.labels, req.Spec.Labels) || string(req.Cluster) == "p/"+o.cluster {
					req.Leaves = o.host
					break
				}
			}
		}
		s := scheduler.Scheduler{Strategy: scheduler.Strategy(r.IntN(4))}
		randomPreferences(r, &s)
		if r.IntN(3) == 0 {
			s.Ends = new(scheduler.Ends)
			req.Now, req.Lives = randomLives(r)
			for i := range f.hosts {
				_, end := randomLife(r)
				s.Ends.Set(f.hosts[i].ID, end)
			}
		}
		st := f.books(t)
		judge := func(st *pool.State, h *pool.HostRecord, req scheduler.Request, empty bool, total map[pool.Class]pool.Sum, strategy scheduler.Strategy) (bool, float64) {
			fits, score := judge(st, h, req, empty, total, placesBy(&s, h))
			if s.Ends != nil && req.Lives != nil && placesBy(&s, h) != scheduler.Spread {
				_, unmet := keepsRules(st, h, req, empty)
				for _, t := range h.Taints {
					if t.Effect == pool.PreferNoSchedule && !slices.ContainsFunc(req.Spec.Constraints.Tolerations, func(o pool.Toleration) bool { return o.Key == t.Key && (o.Value == "" || o.Value == t.Value) }) {
						unmet++
					}
				}
				score = livesOn(&s, h, req.In(st), score+2*float64(unmet), wholeHost(h, req, total, placesBy(&s, h))) - 2*float64(unmet)
			}
			score -= s.CostWeight * float64(h.Cost) / 1e6
			if h.ID == "d/a" && s.Loads != nil {
				score -= s.LoadWeight * 0.75
			}
			return fits, score
		}

		var best pool.HostID
		bestScore, qualified, evenEmpty := 0.0, 0, false
		scores := map[pool.HostID]float64{}
		for _, h := range st.SortedHosts() {
			fits, score := judge(st, h, req, false, totals(st), s.Strategy)
			if fits {
				if placesBy(&s, h) == scheduler.FGD && !h.Aggregate() {
					work := workloadOf(st)
					score -= work.trust() * lostGPUs(work, h, req.Spec, nil)
				}
				qualified++
				scores[h.ID] = score
				if best == "" || score > bestScore {
					best, bestScore = h.ID, score
				}
			}
			fits, _ = judge(st, h, req, true, totals(st), s.Strategy)
			evenEmpty = evenEmpty || fits
		}
		d, err := s.Place(st, req)
		e, err2 := s.Explain(st, req)
		require.NoError(t, err2)
		if best != "" {
			require.NoError(t, err, "seed %d", seed)
			if (s.Strategy == scheduler.Default || s.Strategy == scheduler.FGD || len(s.Groups) > 0 || s.CostWeight+s.LoadWeight > 0) && scores[d.Host] > bestScore-1e-12*max(1, -bestScore) {
				best = d.Host // of scores that rounding alone tells apart any will do
			}
			require.Equal(t, best, d.Host, "seed %d", seed)
			require.InDelta(t, bestScore, d.Score, 1e-12*max(1, -bestScore), "seed %d", seed)
			require.Equal(t, qualified, d.Qualified)
			require.Equal(t, len(f.hosts), d.Considered)
			h, _ := st.Host(best)
			checkAllocation(t, h, req, d.Allocation)
			if placesBy(&s, h) == scheduler.FGD && !h.Aggregate() && len(req.Spec.Constraints.SameNode) == 0 {
				work := workloadOf(st)
				require.InDelta(t, lostGPUs(work, h, req.Spec, nil), lostGPUs(work, h, req.Spec, d.Allocation.Claims), 1e-9, "seed %d: other devices would lose less", seed)
			}
			_, unmet := keepsRules(st, h, req, false)
			require.Equal(t, scheduler.Verdict{Host: d.Host, Score: d.Score, Unmet: e.Hosts[0].Unmet}, e.Hosts[0])
			require.Equal(t, unmet > 0, slices.ContainsFunc(e.Hosts[0].Unmet, func(r scheduler.Reason) bool { return r.Rule != nil }))
			require.Nil(t, e.Nearest)
			counts["placed"]++
			if slices.ContainsFunc(d.Allocation.Claims, func(c pool.Claim) bool { return slices.Contains(req.Spec.Constraints.SameNode, c.Class) }) {
				counts["on one node"]++
			}
			continue
		}
		var refusal *scheduler.Refusal
		require.ErrorAs(t, err, &refusal, "seed %d", seed)
		require.Equal(t, e, refusal.Explanation)
		require.Equal(t, !evenEmpty, refusal.Never, "seed %d: %v", seed, refusal)
		checkExplanation(t, st, req, refusal.Explanation)
		if refusal.Never {
			counts["never"]++
		}
		if refusal.Nearest == nil {
			counts["no change known"]++
			for _, h := range f.hosts {
				limited := slices.ContainsFunc(slices.Collect(maps.Values(h.Inventory)), func(i pool.Inventory) bool { return i.MaxUnit > 0 })
				require.True(t, limited || req.Spec.Resources[pool.GPUShare] > 1000 || len(h.Kinds) > 0 || len(h.Shapes) > 0 || h.Inventory[pool.CPU].Capacity() < 1 || h.Inventory[pool.Memory].Capacity() < 1 ||
					len(req.Spec.Disks) > 0, "seed %d: a change must be known for %s", seed, h.ID)
			}
			continue
		}
		text := refusal.Error()
		f.apply(t, refusal.Nearest, &req)
		for i := range refusal.Nearest.Steps {
			counts[string(refusal.Nearest.Steps[i].Do)]++
		}
		e, err = s.Explain(f.books(t), req)
		require.NoError(t, err)
		i := slices.IndexFunc(e.Hosts, func(v scheduler.Verdict) bool { return v.Host == refusal.Nearest.Host })
		if r := e.Hosts[i].Reason; r != nil {
			require.Fail(t, "the change does not help", "seed %d: %s\nstill: %s", seed, text, r)
		}
	}
	for _, what := range []string{"placed", "on one node", "never", "no change known", "make-ready", "allow-host", "allow-zone", "drop-label", "drop-ability", "tolerate", "drop-rule", "drop-node", "add-source", "free", "shrink"} {
		require.Greater(t, counts[what], 20, "%s: too rare to prove anything: %v", what, counts)
	}
}

// checkExplanation proves that every reason is true and that counts and order are right.
func checkExplanation(t *testing.T, st *pool.State, req scheduler.Request, e scheduler.Explanation) {
	require.Len(t, e.Hosts, st.HostCount())
	require.True(t, slices.IsSortedFunc(e.Hosts, func(a, b scheduler.Verdict) int { return cmp.Compare(a.Host, b.Host) }))
	sum := 0
	for _, c := range e.Counts {
		sum += c.Hosts
	}
	require.Equal(t, len(e.Hosts), sum)
	for _, v := range e.Hosts {
		h, _ := st.Host(v.Host)
		fits, _ := judge(st, h, req, true, nil, scheduler.BestFit)
		require.Equal(t, !fits, v.Reason.Never, "%s: %s", v.Host, v.Reason)
		require.NotEmpty(t, v.Reason.String())
		switch r := v.Reason; r.Constraint {
		case scheduler.ByResource:
			require.Equal(t, h.Capacity[r.Class]-h.Used[r.Class], r.Free)
			require.Equal(t, r.Need-r.Free, r.Short)
			require.Positive(t, r.Short)
		case scheduler.ByDevice, scheduler.ByShape:
			require.Equal(t, r.Need-r.Free, r.Short)
			require.Positive(t, r.Short)
		}
	}
}

func TestExplanationSurvivesJSON(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		f, req := randomFleet(r), randomRequest(r)
		var s scheduler.Scheduler
		_, err := s.Place(f.books(t), req)
		var refusal *scheduler.Refusal
		if !errors.As(err, &refusal) {
			continue
		}
		js, err := json.Marshal(refusal)
		require.NoError(t, err)
		var back scheduler.Refusal
		require.NoError(t, json.Unmarshal(js, &back))
		require.Equal(t, refusal.Error(), back.Error())
		require.Equal(t, *refusal, back)
		require.Contains(t, string(js), `"message"`)
	}
}

func TestPlaceIsDeterministicAlsoOnOverlays(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 8))
		f, req := randomFleet(r), randomRequest(r)
		// An order of hosts in the map of its own in every State.
		first, second := f.books(t), f.books(t).Clone()
		var s scheduler.Scheduler
		d1, err1 := s.Place(first, req)
		d2, err2 := s.Place(second.Overlay().Overlay(), req)
		require.Equal(t, d1, d2)
		require.Equal(t, err1, err2)
	}
}

func TestPlaceSeesWhatAnOverlayHasBooked(t *testing.T) {
	t.Parallel()
	b := newBooks(t, host("a", 4, 8))
	over := &books{t: t, state: b.state.Overlay(), n: b.n}
	var s scheduler.Scheduler
	for range 2 {
		d, err := s.Place(over.state, want(2, 4))
		require.NoError(t, err)
		over.book(want(2, 4), d)
	}
	_, err := s.Place(over.state, want(2, 4))
	require.ErrorIs(t, err, pool.ErrNoRoom)
	_, err = s.Place(b.state, want(2, 4))
	require.NoError(t, err)
}

func TestPlaceConcurrently(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 9))
	f := randomFleet(r)
	st := f.books(t)
	s := &scheduler.Scheduler{}
	before := maps.Collect(func(yield func(pool.HostID, pool.HostRecord) bool) {
		for h := range st.Hosts() {
			if !yield(h.ID, *h) {
				return
			}
		}
	})
	done := make(chan struct{})
	for i := range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			r := rand.New(rand.NewPCG(uint64(i), 10))
			for range 200 {
				_, _ = s.Place(st, randomRequest(r))
			}
		}()
	}
	for range 8 {
		<-done
	}
	for id, h := range before {
		now, _ := st.Host(id)
		require.Equal(t, h, *now)
	}
}
