package simulation_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// The rest of the lifecycle: what changes the sizes, the host or the existence of machines that are there, and
// what is done to many at once.

var (
	_ hypervisor.Shelver  = (*driver)(nil)
	_ hypervisor.Resizer  = (*driver)(nil)
	_ hypervisor.Migrator = (*driver)(nil)
	_ hypervisor.Fencer   = (*driver)(nil)
)

// lifeCalls are the kinds of call that the commands below lead to.
func lifeCalls() []string {
	return []string{"shelve", "unshelve", "discard", "resize", "set disks", "migrate", "fence"}
}

func (d *driver) Shelve(ctx context.Context, r hypervisor.Ref) error {
	return d.change(ctx, "shelve", r, func(ctx context.Context) error { return d.Driver.Shelve(ctx, r) })
}

func (d *driver) Unshelve(ctx context.Context, o hypervisor.Order, from hypervisor.Ref) error {
	return d.change(ctx, "unshelve", o.Ref, func(ctx context.Context) error { return d.Driver.Unshelve(ctx, o, from) })
}

func (d *driver) Discard(ctx context.Context, r hypervisor.Ref) error {
	return d.change(ctx, "discard", r, func(ctx context.Context) error { return d.Driver.Discard(ctx, r) })
}

func (d *driver) Resize(ctx context.Context, o hypervisor.Order) error {
	return d.change(ctx, "resize", o.Ref, func(ctx context.Context) error { return d.Driver.Resize(ctx, o) })
}

func (d *driver) SetDisks(ctx context.Context, o hypervisor.Order) error {
	return d.change(ctx, "set disks", o.Ref, func(ctx context.Context) error { return d.Driver.SetDisks(ctx, o) })
}

func (d *driver) Migrate(ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
	return d.change(ctx, "migrate", o.Ref, func(ctx context.Context) error { return d.Driver.Migrate(ctx, from, o) })
}

func (d *driver) Fence(ctx context.Context, h pool.HostID) (string, error) {
	return outside(ctx, d.p, "fence", func(ctx context.Context) (string, error) { return d.Driver.Fence(ctx, h) })
}

// without returns what the fleet of a world does not offer.
func without(seed uint64) []hypervisor.Ability {
	switch seed / 4 % 4 {
	case 1:
		return []hypervisor.Ability{hypervisor.CanMeter, hypervisor.CanResizeHot, hypervisor.CanMigrateLive}
	case 2:
		return []hypervisor.Ability{hypervisor.CanMeter, hypervisor.CanFence}
	}
	return []hypervisor.Ability{hypervisor.CanMeter} // how busy hosts are decides nothing here, and would be most of all calls
}

// lifeAsks returns the commands of this file.
func (w *world) lifeAsks() []command {
	here := func(i *pool.Instance) bool { return i.Phase == pool.Active && i.Want != pool.Absent }
	one := func(name string, weight int, calls []string, which func(*pool.Instance) bool, try func(i *pool.Instance) attempt) command {
		return command{name, weight, calls, func(w *world) attempt {
			if i := w.any(which); i != nil {
				return try(i)
			}
			return nil
		}}
	}
	all := []command{
		one("move", 4, []string{"migrate"}, here, w.move),
		one("resize", 4, []string{"resize"}, here, w.resize),
		one("set disks", 4, []string{"set disks"}, here, w.setDisks),
		one("shelve", 3, []string{"shelve"}, here, func(i *pool.Instance) attempt {
			return func(ctx context.Context, m *berthage.Manager) (promise, error) {
				_, err := m.SetPower(ctx, i.ID, pool.Shelved)
				return happened("wanted", string(i.ID), string(pool.Shelved)), err
			}
		}),
		one("unshelve", 4, []string{"unshelve", "discard"}, func(i *pool.Instance) bool { return i.Phase == pool.Aside }, func(i *pool.Instance) attempt {
			return func(ctx context.Context, m *berthage.Manager) (promise, error) {
				_, err := m.SetPower(ctx, i.ID, pool.Running)
				return happened("wanted", string(i.ID), string(pool.Running)), err
			}
		}),
		one("rebuild", 4, nil, func(i *pool.Instance) bool { return i.Status() == "missing" || i.Status() == "broken" }, func(i *pool.Instance) attempt {
			return func(ctx context.Context, m *berthage.Manager) (promise, error) {
				_, err := m.Rebuild(ctx, i.ID, i.Machine())
				return nil, err
			}
		}),
		{"drain", 2, []string{"migrate"}, func(w *world) attempt {
			id, cold := w.anyHost(), w.random.IntN(2) == 0
			return func(ctx context.Context, m *berthage.Manager) (promise, error) {
				_, err := m.Drain(ctx, id, cold, "new memory")
				return nil, err
			}
		}},
		{"undrain", 3, nil, func(w *world) attempt {
			id := w.anyHost()
			for h := range w.monitor.st.Hosts() {
				if h.Conditions.Has(pool.Draining) {
					id = h.ID
				}
			}
			return func(ctx context.Context, m *berthage.Manager) (promise, error) {
				_, err := m.Undrain(ctx, id)
				return nil, err
			}
		}},
		{"confirm off", 6, nil, confirmOff},
		{"create cluster", 3, []string{"create"}, createCluster},
		{"scale cluster", 3, nil, scaleCluster},
		{"steer cluster", 6, []string{"suspend", "resume", "shelve", "stop"}, steerCluster},
	}
	return all
}

func (w *world) move(i *pool.Instance) attempt {
	to, cold := pool.HostID(""), w.random.IntN(2) == 0
	if w.random.IntN(2) == 0 {
		to = w.anyHost()
	}
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		_, err := m.Move(ctx, i.ID, to, cold)
		return nil, err
	}
}

func (w *world) resize(i *pool.Instance) attempt {
	size := int64(1 + w.random.IntN(3))
	r := berthage.Resize{Instance: i.ID, Cold: w.random.IntN(2) == 0, Resources: pool.Resources{pool.CPU: size * pool.Core, pool.Memory: size * 2 * pool.GiB}}
	if w.random.IntN(3) == 0 {
		r.Disks = []int64{i.Spec.Disks[0].Size + 5*pool.GiB}
	}
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		_, err := m.Resize(ctx, r)
		return nil, err
	}
}

func (w *world) setDisks(i *pool.Instance) attempt {
	disks := slices.Clone(i.Spec.Disks)
	if len(disks) > 1 && w.random.IntN(2) == 0 {
		disks = disks[:len(disks)-1]
	} else if len(disks) < 4 {
		disks = append(disks, pool.Disk{Size: 5 * pool.GiB, Storage: disks[w.random.IntN(len(disks))].Storage})
	}
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		_, err := m.Resize(ctx, berthage.Resize{Instance: i.ID, SetDisks: disks})
		return nil, err
	}
}

// confirmOff is the word of a person who has looked: the host has no power. He does not give it any before somebody
// has heard him.
func confirmOff(w *world) attempt {
	for _, h := range w.hosts {
		r, ok := w.monitor.st.Host(h.ID)
		if w.down[h.ID] != fake.Dead || !ok || !r.Conditions.Has(pool.Unreachable) || r.Conditions.Has(pool.Fenced) {
			continue
		}
		w.dark[h.ID] = time.Now().Add(time.Minute)
		return func(ctx context.Context, m *berthage.Manager) (promise, error) {
			_, err := m.ConfirmOff(ctx, h.ID, "the plug is pulled")
			return nil, err
		}
	}
	return nil
}

func createCluster(w *world) attempt {
	if w.clusters++; w.clusters > 1 && w.random.IntN(3) == 0 {
		w.clusters--
	}
	n := w.clusters
	l := w.order(fmt.Sprintf("cluster-%d", n))
	if w.rules && n%2 == 1 {
		l.Spec.Constraints.AntiAffinity = []pool.Affinity{{}}
	}
	c := berthage.CreateCluster{
		Token: l.Token, Project: l.Project, Name: l.Name, Spec: l.Spec, Size: 1 + n%4, BestEffort: n%3 == 0, Stagger: n % 3,
	}
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		v, err := m.For(w.owner(c.Token)).CreateCluster(ctx, c)
		if err != nil {
			return nil, err
		}
		if !c.BestEffort && len(v.Cluster.Members) > 0 && v.Op.Verb == "create" && len(v.Cluster.Members) > c.Size {
			w.broken(duplicates, "cluster %s has %d members of %d", v.ID, len(v.Cluster.Members), c.Size)
		}
		return happened("cluster", string(v.ID)), nil
	}
}

func (w *world) anyCluster() *pool.Cluster {
	var found *pool.Cluster
	n := 0
	for _, c := range w.monitor.clusters() {
		if n++; w.random.IntN(n) == 0 {
			found = c
		}
	}
	return found
}

func scaleCluster(w *world) attempt {
	c := w.anyCluster()
	if c == nil {
		return nil
	}
	s := berthage.ScaleCluster{Cluster: c.ID, Size: w.random.IntN(6), BestEffort: w.random.IntN(2) == 0}
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		_, err := m.ScaleCluster(ctx, s)
		return nil, err
	}
}

func steerCluster(w *world) attempt {
	c := w.anyCluster()
	if c == nil {
		return nil
	}
	verbs := []string{berthage.Start, berthage.Stop, berthage.Suspend, berthage.Resume, berthage.Suspend, berthage.Resume, berthage.Destroy}
	s := berthage.SteerCluster{Cluster: c.ID, Verb: verbs[w.random.IntN(len(verbs))]}
	if s.Verb == berthage.Destroy && c.Launched%3 != 0 {
		s.Verb = berthage.Start
	}
	s.Release = s.Verb == berthage.Suspend && w.random.IntN(2) == 0
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		_, err := m.SteerCluster(ctx, s)
		if err == nil && s.Verb == berthage.Destroy {
			return func(m *monitor) string {
				if _, there := m.st.Cluster(c.ID); there {
					return "delete cluster " + string(c.ID) + " was accepted, and it is still there"
				}
				return ""
			}, nil
		}
		return nil, err
	}
}

// clusters returns all clusters in the order of their creation.
func (m *monitor) clusters() []*pool.Cluster {
	return slices.SortedFunc(m.st.Clusters(), func(a, b *pool.Cluster) int {
		return cmp.Or(cmp.Compare(a.Launched, b.Launched), cmp.Compare(a.ID, b.ID))
	})
}
