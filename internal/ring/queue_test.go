package ring_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
)

// ledger makes a State of events.
type ledger struct {
	t  testing.TB
	st *pool.State
	n  int
}

func newLedger(t testing.TB) *ledger {
	l := &ledger{t: t, st: pool.NewState()}
	l.add(pool.KindOpened, &pool.Opened{Ledger: "l"})
	return l
}

func (l *ledger) add(kind string, payload any) {
	l.t.Helper()
	e, err := pool.NewEvent(kind, payload)
	require.NoError(l.t, err)
	l.n++
	e.ID, e.Revision, e.Time = "e", pool.Revision(l.n), time.Unix(int64(l.n), 0).UTC()
	require.NoError(l.t, l.st.Apply(&e))
}

func (l *ledger) host(name string, cores, gib int64) pool.HostID {
	id := pool.NewHostID("sim", name)
	l.add(pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: id, Conditions: pool.Ready, Inventory: map[pool.Class]pool.Inventory{
		pool.CPU: {Total: cores * pool.Core}, pool.Memory: {Total: gib * pool.GiB},
	}}})
	return id
}

// launch puts an instance on a host, running, or among those who wait.
func (l *ledger) launch(project, name string, spec pool.Spec, on pool.HostID) pool.InstanceID {
	id := pool.NewInstanceID("l", project, name)
	e := &pool.Launched{Instance: id, Name: name, Project: project, Spec: spec, Want: pool.Running, Image: pool.Image{Sources: map[string]string{"sim": "x"}}}
	if on == "" {
		e.Waits = true
		l.add(pool.KindLaunched, e)
		return id
	}
	e.Place = pool.Placement{Host: on, Allocation: pool.Allocation{Resources: spec.Resources}}
	l.add(pool.KindLaunched, e)
	m := &pool.OfMachine{Machine: id.Machine(0)}
	l.add(pool.KindSent, m)
	l.add(pool.KindCreated, m)
	l.add(pool.KindObserved, &pool.Observed{Machine: m.Machine, Is: pool.Running})
	return id
}

func sized(cores, gib int64, priority int, way pool.Preemption) pool.Spec {
	return pool.Spec{Image: "debian", Resources: pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: gib * pool.GiB}, Priority: priority, Preemptible: way}
}

// The order is by priority, then by share, and each project's by age; a weight of two counts a share half.
func TestQueueIsFair(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	h := l.host("a", 100, 100)
	for name, weight := range map[string]int{"one": 0, "two": 2, "has": 0} {
		l.add(pool.KindProjectPut, &pool.Project{Name: name, Weight: weight})
	}
	l.launch("has", "there", sized(1, 5, 0, ""), h) // 5 % of the memory
	for n := range 4 {
		l.launch("one", fmt.Sprint("one-", n), sized(2, 1, 0, ""), "")
		l.launch("two", fmt.Sprint("two-", n), sized(2, 1, 0, ""), "")
		l.launch("has", fmt.Sprint("has-", n), sized(2, 1, 0, ""), "")
	}
	l.launch("has", "urgent", sized(2, 1, 1, ""), "")
	kept := l.launch("has", "kept", sized(2, 1, 0, ""), "")
	l.add(pool.KindAwaiting, &pool.Awaiting{Instance: kept, Host: h})
	var names []string
	for _, i := range ring.Queue(l.st) {
		names = append(names, i.Name)
	}
	require.Equal(t, []string{
		"urgent", "kept",
		"one-0", "two-0", "two-1", "one-1", "two-2", "two-3", // shares after: 2, 1, 2, 4, 3, 4 %
		"one-2", "one-3", // 6, 8
		"has-0", "has-1", "has-2", "has-3",
	}, names)
}

// Whoever is first waits where it costs least: where nobody has to give way, else where the fewest have to, of these the least
// by priority, size and age. No instance of the same or a higher priority, or that has not said that it may, is made to.
func TestFewestGiveWay(t *testing.T) {
	t.Parallel()
	chosen := map[int]int{}
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 3))
		l := newLedger(t)
		l.add(pool.KindProjectPut, &pool.Project{Name: "p"})
		for n := range 1 + r.IntN(3) {
			h := l.host(string(rune('a'+n)), 4+r.Int64N(6), 4+r.Int64N(6))
			for k := 0; ; k++ {
				rec, _ := l.st.Host(h)
				s := sized(1+r.Int64N(3), 1+r.Int64N(3), r.IntN(4), []pool.Preemption{"", pool.PreemptShelve, pool.PreemptDelete, pool.PreemptDelete}[r.IntN(4)])
				if !s.Resources.Fits(rec.Free()) {
					break
				}
				id := l.launch("p", fmt.Sprint(n, "-", k), s, h)
				if r.IntN(8) == 0 {
					l.add(pool.KindWanted, &pool.Wanted{Instance: id, Want: pool.Absent})
				}
			}
		}
		spec := sized(1+r.Int64N(9), 1+r.Int64N(9), r.IntN(5), "")
		first := l.launch("p", "first", spec, "")
		got := ring.Keeping(l.st, true)
		want := bruteForce(l.st, spec)
		if want == nil {
			require.Nil(t, got, "seed %d: no host could take it", seed)
			continue
		}
		require.NotNil(t, got, "seed %d", seed)
		if want.now {
			require.NotEmpty(t, got.Now, "seed %d", seed)
			continue
		}
		require.Equal(t, first, got.Instance)
		require.Len(t, got.Victims, len(want.victims), "seed %d", seed)
		if len(want.victims) > 0 {
			require.Equal(t, want.key, keyOf(l.st, got.Victims), "seed %d", seed)
		}
		if !want.waits {
			require.Equal(t, want.free, fitsWithout(l.st, got.Host, spec, got.Victims), "seed %d", seed)
		}
		chosen[len(got.Victims)]++

		require.Empty(t, must(ring.Keeping(l.st, false)).Victims)
		slices.Sort(got.Victims)
		again := ring.Keeping(l.st, true)
		slices.Sort(again.Victims)
		require.Equal(t, got, again, "the same books, the same choice")
	}
	require.Greater(t, chosen[0], 30)
	require.Greater(t, chosen[1], 30)
	require.Greater(t, chosen[2], 10)
}

// Where an instance waits is compared only with what has been freed: it comes out as if all hosts had been looked at.
func TestKeepingLooksAtWhatWasFreed(t *testing.T) {
	t.Parallel()
	found, stayed := 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		l := newLedger(t)
		l.add(pool.KindProjectPut, &pool.Project{Name: "p"})
		var ids []pool.InstanceID
		for n := range 8 {
			h := l.host(string(rune('a'+n)), 6+r.Int64N(4), 6+r.Int64N(4))
			for k := 0; ; k++ {
				rec, _ := l.st.Host(h)
				s := sized(1+r.Int64N(3), 1+r.Int64N(3), 1, "")
				if !s.Resources.Fits(rec.Free()) {
					break
				}
				ids = append(ids, l.launch("p", fmt.Sprint(n, "-", k), s, h))
			}
		}
		first := l.launch("p", "first", sized(5, 5, 2, ""), "")
		at := must(ring.Keeping(l.st, false)).Host
		if at == "" {
			continue // there is room, or never will be
		}
		l.add(pool.KindAwaiting, &pool.Awaiting{Instance: first, Host: at})
		for len(ids) > 0 {
			k := r.IntN(len(ids))
			i, _ := l.st.Instance(ids[k])
			ids = slices.Delete(ids, k, k+1)
			l.add(pool.KindWanted, &pool.Wanted{Instance: i.ID, Want: pool.Absent})
			l.add(pool.KindDeleted, &pool.Ended{Instance: i.ID})
			all, some := ring.Keeping(l.st, false), ring.Keeping(l.st, false, i.Place.Host)
			require.Equal(t, all, some, "seed %d", seed)
			if all == nil {
				stayed++
				continue
			}
			require.NotEmpty(t, all.Now, "seed %d: it stays where it waits until there is room", seed)
			found++
			break
		}
	}
	require.Greater(t, stayed, 100)
	require.Greater(t, found, 100)
}

func must(k *ring.Kept) *ring.Kept {
	if k == nil {
		return &ring.Kept{}
	}
	return k
}

type brute struct {
	now, free, waits bool
	victims          []pool.InstanceID
	key              [4]float64
}

// keyOf is what sets of victims are compared by.
func keyOf(st *pool.State, ids []pool.InstanceID) [4]float64 {
	key := [4]float64{float64(len(ids)), -1e9, 0, 1e9}
	for _, id := range ids {
		i, _ := st.Instance(id)
		key[1] = max(key[1], float64(i.Spec.Priority))
		for _, c := range []pool.Class{pool.CPU, pool.Memory} {
			key[2] += float64(i.Place.Allocation.Resources[c]) / float64(st.Total(c).Capacity)
		}
		key[3] = min(key[3], float64(i.Launched))
	}
	key[2] = float64(int(key[2]*1e9 + 0.5))
	key[3] = -key[3]
	return key
}

// fitsWithout reports whether a host has room once those who leave anyhow and the given ones have left.
func fitsWithout(st *pool.State, h pool.HostID, spec pool.Spec, gone []pool.InstanceID) bool {
	rec, _ := st.Host(h)
	free := rec.Free()
	for i := range st.InstancesOn(h) {
		if i.Want == pool.Absent || slices.Contains(gone, i.ID) {
			for c, n := range i.Place.Allocation.Resources {
				free[c] += n
			}
		}
	}
	return free[pool.CPU] >= spec.Resources[pool.CPU] && free[pool.Memory] >= spec.Resources[pool.Memory]
}

func bruteForce(st *pool.State, spec pool.Spec) *brute {
	var best *brute
	for h := range st.Hosts() {
		if !spec.Resources.Fits(h.Capacity) {
			continue
		}
		if best == nil {
			best = &brute{waits: true}
		}
		if spec.Resources.Fits(h.Free()) {
			return &brute{now: true}
		}
		if fitsWithout(st, h.ID, spec, nil) {
			best = &brute{free: true}
		}
		if best.free {
			continue
		}
		var may []pool.InstanceID
		for i := range st.InstancesOn(h.ID) {
			if i.Want != pool.Absent && i.Spec.Preemptible != "" && i.Spec.Priority < spec.Priority {
				may = append(may, i.ID)
			}
		}
		for set := range 1 << len(may) {
			var ids []pool.InstanceID
			for n, id := range may {
				if set>>n&1 == 1 {
					ids = append(ids, id)
				}
			}
			if len(ids) == 0 || !fitsWithout(st, h.ID, spec, ids) {
				continue
			}
			if key := keyOf(st, ids); best.waits || slices.Compare(key[:], best.key[:]) < 0 {
				best = &brute{victims: ids, key: key}
			}
		}
	}
	if best != nil && !best.waits && !best.free {
		best.free = true
	}
	return best
}
