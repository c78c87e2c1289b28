package scheduler_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// fleet is a random pool: hosts, and one allocation on each that stands for all that is on it.
type fleet struct {
	hosts  []pool.Host
	used   map[pool.HostID]pool.Allocation
	others []other
}

// other is an instance that takes nothing and that rules may select.
type other struct {
	host    pool.HostID
	cluster string
	labels  map[string]string
}

func (o *other) id(n int) pool.InstanceID {
	return pool.NewInstanceID("test", "p", fmt.Sprint("other", n))
}

// clusters puts the clusters into the books that random instances are members of.
func (b *books) clusters() {
	b.fold(pool.KindClusterPut, &pool.ClusterPut{Cluster: "p/web", Token: "web", Spec: pool.Spec{Labels: map[string]string{"app": "a"}}})
	b.fold(pool.KindClusterPut, &pool.ClusterPut{Cluster: "p/db", Token: "db"})
}

// launched is the event of an instance of a request.
func (b *books) launched(id pool.InstanceID, req scheduler.Request, d scheduler.Decision) *pool.Launched {
	l := &pool.Launched{
		Instance: id, Name: "a", Project: "p", Spec: req.Spec, Image: req.Image, Want: pool.Running,
		Place: pool.Placement{Host: d.Host, Allocation: d.Allocation},
	}
	if req.Cluster != "" {
		c, _ := b.state.Cluster(req.Cluster)
		l.Cluster, l.Index = req.Cluster, c.Next
	}
	return l
}

// books folds the fleet into a State.
func (f *fleet) books(t testing.TB) *pool.State {
	b := newBooks(t, f.hosts...)
	for _, h := range f.hosts {
		if a, ok := f.used[h.ID]; ok {
			b.book(want(1, 1), scheduler.Decision{Host: h.ID, Allocation: a})
		}
	}
	b.clusters()
	for n := range f.others {
		o := &f.others[n]
		req := scheduler.Request{Spec: pool.Spec{Labels: o.labels}}
		if o.cluster != "" {
			req.Cluster = pool.NewClusterID("p", o.cluster)
		}
		b.fold(pool.KindLaunched, b.launched(o.id(n), req, scheduler.Decision{Host: o.host}))
	}
	return b.state
}

// randomFleet makes a few random hosts with what is on them.
func randomFleet(r *rand.Rand) *fleet {
	f := &fleet{used: make(map[pool.HostID]pool.Allocation)}
	for i := range 1 + r.IntN(4) {
		h, a := randomHost(r, string(rune('a'+i)))
		if len(a.Resources) > 0 {
			f.used[h.ID] = a
		}
		f.hosts = append(f.hosts, h)
	}
	for range r.IntN(9) - 2 {
		o := other{host: f.hosts[r.IntN(len(f.hosts))].ID}
		if o.cluster = []string{"", "web", "db"}[r.IntN(3)]; o.cluster == "" {
			o.labels = randomLabels(r)
		}
		f.others = append(f.others, o)
	}
	return f
}

// randomPreferences gives some hosts another strategy, and makes cost and load count.
func randomPreferences(r *rand.Rand, s *scheduler.Scheduler) {
	for k := range r.IntN(5) / 2 {
		s.Groups = append(s.Groups, scheduler.HostGroup{Labels: map[string]string{"rack": string(rune('p' + (k+r.IntN(3))%4))}, Strategy: scheduler.Strategy(r.IntN(4))})
	}
	if r.IntN(3) == 0 {
		s.CostWeight = r.Float64()
	}
	if r.IntN(3) == 0 {
		s.LoadWeight, s.Loads = r.Float64(), new(scheduler.Loads)
		s.Loads.Set(map[pool.HostID]float64{"d/a": 0.75, "d/b": 0.5})
		s.Loads.Set(map[pool.HostID]float64{"d/b": math.NaN(), "d/none": 1})
	}
}

// randomLives is when something is placed, and how long it is expected to live; mostly both are known.
func randomLives(r *rand.Rand) (now time.Time, lives scheduler.Lives) {
	now, until := randomLife(r)
	switch r.IntN(4) {
	case 0:
		return now, nil
	case 1:
		half := float64(time.Duration(1+r.IntN(1000)) * time.Minute)
		return now, func(beyond time.Duration) float64 { return half / (half + float64(beyond)) }
	}
	return now, scheduler.Exactly(max(1, until.Sub(time.Unix(0, 0))))
}

// randomLife is a moment, and one at which something is expected to end; mostly both are known.
func randomLife(r *rand.Rand) (now, until time.Time) {
	if r.IntN(4) > 0 {
		now = time.Unix(r.Int64N(100_000), r.Int64N(1e9)).UTC()
	}
	switch r.IntN(6) {
	case 0:
	case 1:
		until = time.Unix([]int64{0, -1, 1 << 40, -1 << 60}[r.IntN(4)], 0).UTC()
	default:
		until = time.Unix(r.Int64N(1<<r.IntN(30)), r.Int64N(1e9)).UTC()
	}
	return now, until
}

// placesBy is the strategy on a host: that of the first group that it is in.
func placesBy(s *scheduler.Scheduler, h *pool.HostRecord) scheduler.Strategy {
	for _, g := range s.Groups {
		if h.Labels["rack"] == g.Labels["rack"] {
			return g.Strategy
		}
	}
	return s.Strategy
}

// roomy makes most hosts ready and large, and most requests modest.
func (f *fleet) roomy(r *rand.Rand, req *scheduler.Request) {
	for i := range f.hosts {
		if h := &f.hosts[i]; r.IntN(4) > 0 {
			h.Conditions, h.Kinds, h.Taints = pool.Ready, nil, nil
			for _, c := range []pool.Class{pool.CPU, pool.Memory, pool.StorageSSD} {
				h.Inventory[c] = pool.Inventory{Total: 10 + r.Int64N(40), MaxUnit: r.Int64N(2) * 6}
			}
			for _, c := range req.Spec.Constraints.SameNode {
				for _, node := range []string{"n0", "n1"} {
					h.Devices = append(h.Devices, pool.Device{ID: "of " + node + " " + string(c), Class: c, Node: node, Inventory: pool.Inventory{Total: 1 + r.Int64N(6)}})
				}
			}
		}
	}
	if r.IntN(3) > 0 {
		req.Spec.Constraints, req.Spec.Disks = pool.Constraints{SameNode: req.Spec.Constraints.SameNode}, req.Spec.Disks[:min(len(req.Spec.Disks), r.IntN(3))]
		for _, c := range []pool.Class{pool.GPU, pool.GPUShare, "licence"} {
			if r.IntN(3) > 0 {
				delete(req.Spec.Resources, c)
			}
		}
	}
}

func randomLabels(r *rand.Rand) map[string]string {
	return []map[string]string{nil, {"app": "a"}, {"app": "b"}, {"app": "a", "tier": "x"}}[r.IntN(4)]
}

// randomRules makes an instance a member of a cluster or not, and gives it rules.
func randomRules(r *rand.Rand, req *scheduler.Request, ids []pool.InstanceID) {
	req.Spec.Labels = randomLabels(r)
	if r.IntN(3) == 0 {
		req.Cluster, req.Spec.Labels = "p/db", nil
		if r.IntN(2) == 0 {
			req.Cluster, req.Spec.Labels = "p/web", map[string]string{"app": "a"}
		}
	}
	selector := func() (s pool.Selector) {
		switch r.IntN(5) {
		case 0:
			s.Cluster = []string{"web", "db", "none"}[r.IntN(3)]
		case 1, 2:
			s.Labels = []map[string]string{{"app": "a"}, {"app": "b"}, {"app": "a", "tier": "x"}, {"tier": "y"}}[r.IntN(4)]
		case 3:
			for range r.IntN(3) {
				if len(ids) > 0 {
					if id := ids[r.IntN(len(ids))]; !slices.Contains(s.Instances, id) {
						s.Instances = append(s.Instances, id)
					}
				}
			}
		}
		return s
	}
	within := func() string { return []string{"", "zone", "rack"}[r.IntN(3)] }
	c := &req.Spec.Constraints
	for range r.IntN(8) / 6 {
		c.Affinity = append(c.Affinity, pool.Affinity{Selector: selector(), Within: within(), Soft: r.IntN(2) == 0})
	}
	for range r.IntN(8) / 5 {
		c.AntiAffinity = append(c.AntiAffinity, pool.Affinity{Selector: selector(), Within: within(), Soft: r.IntN(2) == 0})
	}
	for range r.IntN(8) / 6 {
		c.Spread = append(c.Spread, pool.Spread{Selector: selector(), Within: within(), MaxSkew: r.IntN(3), Soft: r.IntN(2) == 0})
	}
}

// randomHost makes a host that is small enough for every kind of conflict: devices or none, shapes, reservations,
// over-commit, loads beyond capacity, claims that the sums do not know. The allocation stands for all that is on it.
func randomHost(r *rand.Rand, name string) (pool.Host, pool.Allocation) {
	h := pool.Host{
		ID:        pool.NewHostID([]string{"d", "d", "e"}[r.IntN(3)], name),
		Zone:      []string{"", "north", "south"}[r.IntN(3)],
		Labels:    map[string]string{},
		Inventory: map[pool.Class]pool.Inventory{},
	}
	h.Conditions = []pool.Conditions{pool.Ready, pool.Ready, pool.Ready, pool.Ready | pool.Cordoned, pool.Unreachable, 0}[r.IntN(6)]
	h.Abilities = [][]string{nil, {"meter"}, {"meter", "suspend"}}[r.IntN(3)]
	h.Cost = r.Int64N(3) * 400_000
	if r.IntN(4) > 0 {
		h.Labels["rack"] = string(rune('p' + r.IntN(3)))
	}
	if r.IntN(2) == 0 {
		h.Labels["tier"] = []string{"gold", "lead"}[r.IntN(2)]
	}
	for range r.IntN(8) / 5 {
		h.Taints = append(h.Taints, pool.Taint{
			Key: []string{"gpu", "old"}[r.IntN(2)], Value: []string{"", "a", "b"}[r.IntN(3)],
			Effect: []pool.Effect{pool.NoSchedule, pool.PreferNoSchedule}[r.IntN(2)],
		})
	}
	if r.IntN(5) == 0 {
		h.Kinds = []pool.Kind{pool.Container}
	}
	inventory := func(most int) pool.Inventory {
		return pool.Inventory{Total: r.Int64N(int64(most)), Reserved: r.Int64N(3), Ratio: []pool.Ratio{0, 500, 1500, 2000}[r.IntN(4)]}
	}
	for _, c := range []pool.Class{pool.CPU, pool.Memory, pool.GPU, pool.GPUShare, pool.StorageSSD, pool.IOPSSSD, "licence"} {
		if r.IntN(6) == 0 {
			continue
		}
		inv := inventory(12)
		if c == pool.GPUShare {
			inv.Total *= 500
		}
		if r.IntN(12) == 0 {
			inv.MinUnit, inv.MaxUnit, inv.StepSize = r.Int64N(3), 4+r.Int64N(4), r.Int64N(4)
		}
		h.Inventory[c] = inv
	}
	if r.IntN(4) == 0 {
		for k := range 1 + r.IntN(3) {
			s := pool.Shape{Name: string(rune('x' + k)), Resources: pool.Resources{
				pool.CPU: 1 + r.Int64N(6), pool.Memory: 1 + r.Int64N(6)}}
			if r.IntN(3) == 0 {
				s.Resources[pool.StorageSSD] = 1 + r.Int64N(8)
			}
			h.Shapes = append(h.Shapes, s)
		}
	}
	var a pool.Allocation
	a.Resources = pool.Resources{}
	for _, c := range []pool.Class{pool.GPU, pool.GPUShare, pool.StorageSSD, pool.IOPSSSD, "licence"} {
		if r.IntN(2) == 0 {
			continue
		}
		for k := range 1 + r.IntN(3) {
			d := pool.Device{ID: string(c) + string(rune('0'+k)), Class: c, Inventory: inventory(8)}
			if c == pool.GPUShare {
				d.Inventory = pool.Inventory{Total: []int64{1000, 1000, 700}[r.IntN(3)], Ratio: d.Ratio}
			}
			if r.IntN(5) > 0 {
				d.Node = []string{"n0", "n0", "n1"}[r.IntN(3)]
			}
			h.Devices = append(h.Devices, d)
			if n := r.Int64N(6); n > 0 && r.IntN(2) == 0 {
				a.Claims = append(a.Claims, pool.Claim{Device: d.ID, Class: c, Amount: n})
				a.Resources[c] += n
			}
		}
	}
	for c := range h.Inventory {
		if n := r.Int64N(9); n > 0 && r.IntN(2) == 0 {
			a.Resources[c] += n
		}
	}
	return h, a
}

func randomRequest(r *rand.Rand) scheduler.Request {
	req := scheduler.Request{Image: image(), Project: "p"}
	req.Spec.Image = req.Image.Name
	req.Spec.Resources = pool.Resources{pool.CPU: 1 + r.Int64N(6), pool.Memory: 1 + r.Int64N(6)}
	if r.IntN(3) == 0 {
		req.Spec.Resources[pool.GPU] = r.Int64N(4)
	}
	if r.IntN(6) == 0 {
		req.Spec.Resources[pool.GPUShare] = 250 * r.Int64N(11)
	}
	if r.IntN(4) == 0 {
		req.Spec.Resources["licence"] = r.Int64N(4)
	}
	for range r.IntN(4) {
		req.Spec.Disks = append(req.Spec.Disks, pool.Disk{Size: 1 + r.Int64N(6), Storage: pool.SSD, IOPS: r.Int64N(3)})
	}
	c := &req.Spec.Constraints
	if r.IntN(5) == 0 {
		c.Zones = []string{"north"}
	}
	if r.IntN(5) == 0 {
		c.Labels = map[string]string{"tier": "gold"}
	}
	if r.IntN(6) == 0 {
		c.Hosts = []pool.HostID{"d/a", "d/b"}
	}
	if r.IntN(20) == 0 {
		for i := range 20 {
			c.Hosts = append(c.Hosts, pool.NewHostID("d", string(rune('b'+i))))
		}
	}
	if r.IntN(8) == 0 {
		c.Abilities = []string{"suspend", "meter"}[:1+r.IntN(2)]
	}
	for range r.IntN(5) / 2 {
		c.Tolerations = append(c.Tolerations, pool.Toleration{Key: []string{"gpu", "old"}[r.IntN(2)], Value: []string{"", "a"}[r.IntN(2)]})
	}
	if r.IntN(6) == 0 {
		req.Avoid = []pool.HostID{"d/a"}
	}
	if r.IntN(5) == 0 {
		for _, class := range []pool.Class{"licence", pool.GPU, pool.StorageSSD, pool.GPUShare, pool.Memory} {
			if r.IntN(map[bool]int{true: 20, false: 2}[class == pool.Memory]) == 0 {
				c.SameNode = append(c.SameNode, class)
			}
		}
	}
	return req
}
