package script_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/pool"
)

// commands is how many commands a random script has.
const commands = 200

// seed is what a random script follows from: BERTHAGE_SEED, or 1.
func seed(t *testing.T) uint64 {
	t.Helper()
	if s := os.Getenv("BERTHAGE_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		return n
	}
	return 1
}

// author writes a random script, command by command, from the books as they are: those of the first side, as both
// are the same.
type author struct {
	*rand.Rand
	b        *both
	launches int
	clusters int
	reboots  int
	rebuilds int
}

// all returns the names of the instances that are so, sorted.
func (a *author) all(so func(*pool.Instance) bool) []string {
	var out []string
	a.b.sides[0].m.View(func(st *pool.State) {
		for i := range st.Instances() {
			if so(i) {
				out = append(out, i.Name)
			}
		}
	})
	slices.Sort(out)
	return out
}

// one returns one of those, if there is one, or else any, and now and then the name of one that is not there.
func (a *author) one(so func(*pool.Instance) bool) string {
	of := a.all(so)
	if len(of) == 0 {
		of = a.all(anybody)
	}
	if len(of) == 0 || a.IntN(30) == 0 {
		return "nobody"
	}
	return of[a.IntN(len(of))]
}

// thereAre returns the clusters, sorted.
func (a *author) thereAre() []pool.ClusterID {
	var out []pool.ClusterID
	a.b.sides[0].m.View(func(st *pool.State) {
		for c := range st.Clusters() {
			out = append(out, c.ID)
		}
	})
	slices.Sort(out)
	return out
}

// cluster returns one of the clusters that there are, and now and then one that has been.
func (a *author) cluster() pool.ClusterID {
	if there := a.thereAre(); len(there) > 0 && a.IntN(10) != 0 {
		return there[a.IntN(len(there))]
	}
	name := fmt.Sprintf("c%d", a.IntN(max(1, a.clusters)))
	return pool.NewClusterID(a.project(name), name)
}

// project is the one of an instance or cluster of that name: one in four is in the one with a quota.
func (a *author) project(name string) string {
	if n, _ := strconv.Atoi(strings.TrimLeft(name, "cv")); n%4 == 3 {
		return "tight"
	}
	return "shop"
}

func (a *author) host() pool.HostID {
	return []pool.HostID{"lab/a", "lab/b", "lab/c"}[a.IntN(3)]
}

// spec is a random one: small for the most part, now and then of storage or with constraints that few hosts meet.
func (a *author) spec() pool.Spec {
	s := spec(1+a.Int64N(3), 1+a.Int64N(3), disk(2+a.Int64N(8), "", 0))
	if a.IntN(3) == 0 {
		s.Disks[0].Storage, s.Disks[0].IOPS = pool.SSD, 100*a.Int64N(5)
	}
	for range a.IntN(3) {
		s.Disks = append(s.Disks, disk(1+a.Int64N(40), []pool.Storage{"", pool.SSD}[a.IntN(2)], 0))
	}
	switch a.IntN(16) {
	case 0:
		s.Constraints.Zones = []string{"east"}
	case 1:
		s.Constraints.Labels = map[string]string{"rack": "2"}
	case 2:
		s.Constraints.Hosts = []pool.HostID{a.host(), a.host()}
	case 3:
		s.Image = "lost"
	case 4:
		s.Resources[pool.CPU] = 24 * pool.Core
	case 5:
		s = pool.Spec{Image: "tiny", Flavor: "small"}
	}
	return s
}

func anybody(*pool.Instance) bool { return true }

func is(p pool.Power) func(*pool.Instance) bool {
	return func(i *pool.Instance) bool { return i.Phase == pool.Active && i.Is == p }
}

// next writes the next command.
func (a *author) next() step {
	switch n := a.IntN(100); {
	case n < 24:
		name := fmt.Sprintf("v%d", a.launches)
		a.launches++
		s, want := a.spec(), []pool.Power{"", "", "", pool.Stopped}[a.IntN(4)]
		return step{name: fmt.Sprintf("launch %s: %v %v in %v of %s", name, s.Resources, s.Disks, s.Constraints, s.Image), do: launch(name, a.project(name), s, want)}
	case n < 50:
		want := []pool.Power{pool.Running, pool.Stopped, pool.Suspended}[a.IntN(3)]
		who := a.one([]func(*pool.Instance) bool{anybody, is(pool.Running), is(pool.Suspended), is(pool.Stopped)}[a.IntN(4)])
		return step{name: fmt.Sprintf("%s is to be %s", who, want), do: power(who, want)}
	case n < 54:
		a.reboots++
		who := a.one(is(pool.Running))
		return step{name: "reboot " + who, do: reboot(who, strconv.Itoa(a.reboots))}
	case n < 60:
		who := a.one(anybody)
		return step{name: "delete " + who, do: remove(who)}
	case n < 65:
		h, on := a.host(), a.IntN(3) == 0
		return step{name: fmt.Sprintf("cordon %s: %t", h, on), do: cordon(h, on)}
	case n < 68:
		h, on, cold := a.host(), a.IntN(3) == 0, a.IntN(2) == 0
		return step{name: fmt.Sprintf("drain %s: %t, cold %t", h, on, cold), do: drain(h, on, cold)}
	case n < 71:
		h := a.host()
		if a.IntN(3) == 0 {
			return step{name: "remove " + string(h), do: removeHost(h)}
		}
		return step{name: "add " + string(h), do: addHost(h)}
	case n < 75:
		who := a.one(anybody)
		return []step{
			{name: "move " + who, do: move(who, "", a.IntN(2) == 0)},
			{name: "resize " + who, do: resize(who, 1+a.Int64N(4), a.IntN(2) == 0)},
			{name: "shelve " + who, do: power(who, pool.Shelved)},
		}[a.IntN(3)]
	case n < 77:
		q := pool.Resources{pool.CPU: a.Int64N(10) * pool.Core, pool.Instances: a.Int64N(6)}
		return step{name: fmt.Sprintf("quota %v", q), do: quota("tight", q)}
	case n < 79:
		return step{name: "restart", do: restart}
	case n < 82 && a.rebuilds < 3:
		who := a.one(is(pool.Running))
		if gone := a.all(func(i *pool.Instance) bool { return i.Status() == "missing" }); len(gone) > 0 {
			a.rebuilds++
			who = gone[0]
		}
		if !slices.Contains(a.all(is(pool.Running)), who) {
			return step{name: "rebuild " + who, do: rebuild(who)}
		}
		return step{name: "somebody destroys " + who, do: behind(who, destroyed), until: missing(who)}
	}
	return a.aboutClusters()
}

// aboutClusters writes a command for a cluster.
func (a *author) aboutClusters() step {
	switch a.IntN(4) {
	case 0:
		name, s, size, some := fmt.Sprintf("c%d", a.clusters), a.spec(), 1+a.IntN(6), a.IntN(2) == 0
		if s.Image == "lost" {
			s.Image = "tiny" // where several look for another place at once it depends on which is refused first
		}
		a.clusters++
		return step{name: fmt.Sprintf("cluster %s of %d, best effort %t: %v %v in %v of %s", name, size, some, s.Resources, s.Disks, s.Constraints, s.Image),
			do: cluster(name, a.project(name), s, size, some)}
	case 1:
		id, size, some := a.cluster(), a.IntN(9), a.IntN(2) == 0
		return step{name: fmt.Sprintf("scale %s to %d, best effort %t", id, size, some), do: scale(id, size, some)}
	}
	verbs := []string{berthage.Start, berthage.Stop, berthage.Suspend, berthage.Resume, berthage.Suspend, berthage.Resume, berthage.Destroy}
	id, verb := a.cluster(), verbs[a.IntN(len(verbs))]
	release := verb == berthage.Suspend && a.IntN(3) == 0
	return step{name: fmt.Sprintf("%s %s, release %t", verb, id, release), do: steer(id, verb, release)}
}

// The books stay the same through a random script.
func TestRandomScript(t *testing.T) {
	uri := daemon(t)
	t.Parallel()
	b := open(t, uri)
	s, began := seed(t), time.Now()
	b.log = append(b.log, fmt.Sprintf("BERTHAGE_SEED=%d", s))
	a := &author{Rand: rand.New(rand.NewPCG(s, 0)), b: b}
	answers := make(map[string]int)
	for range commands {
		kind := "accepted"
		if err := b.take(a.next()); err != nil {
			kind = strings.Join(kinds(err), ", ")
		}
		answers[kind]++
	}
	for _, id := range a.thereAre() {
		b.accept("delete "+string(id), steer(id, berthage.Destroy, false))
	}
	for _, name := range a.all(anybody) {
		b.accept("delete "+name, remove(name))
	}
	_ = b.take(step{name: "add c", do: addHost("lab/c")}) // that has the stranger, where it has been removed
	b.nothingLeft()
	t.Logf("seed %d: %d commands in %s: %v", s, commands, time.Since(began).Round(time.Millisecond), answers)
	require.Greater(t, answers["accepted"], commands/3)
	for _, kind := range []error{pool.ErrNoRoom, pool.ErrWrongState} {
		require.NotZero(t, answers[kind.Error()], "a script without %v", kind)
	}
}
