package ledgerfile_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgerfile"
)

var writeGolden = flag.Bool("write-golden", false, "write the golden files that are not there")

// golden are histories that have, together, every kind of event, each as it was written by the program that had exactly these
// kinds. A kind or version that is added later gets a file of its own; none is written again.
var golden = []struct {
	name, root string // root of its tree
	history    func(*testing.T) *pool.MemoryLedger
}{
	{"kinds1", "3fff8518683ddf1a035ea099104b7f3761cfb21d88a2e1bb050b8fc3a66e8b93", kinds1},
	{"kinds2", "0a1baa8bc29c4d62f2f2741c0f57335fe0162fa86e0c4e2542620aa37cdabdc3", kinds2},
	{"kinds3", "48425c68a5ae956334bfbe2ddeeff6b8e5718cb4e3d546377257ae6739a942dd", kinds3},
	{"kinds4", "63ea56f6f9212a57317216959926c9acb1bb56f6d6556f9c3d280640060c5fd0", kinds4},
	{"kinds5", "e1f51eb18d457b9bc6aa67d49a8c5977ac2a6976fec9fe7073726d498613e677", kinds5},
	{"form2", "3fff8518683ddf1a035ea099104b7f3761cfb21d88a2e1bb050b8fc3a66e8b93", kinds1}, // those above are in the first form of the file
}

// tape returns what appends events to a ledger, one after another.
func tape(t *testing.T) (l *pool.MemoryLedger, add func(kind string, payload any)) {
	l, n := pool.NewMemoryLedger(), pool.Revision(0)
	return l, func(kind string, payload any) {
		t.Helper()
		e, err := pool.NewEvent(kind, payload)
		require.NoError(t, err)
		e.ID, e.Actor, e.Time, e.Epoch = fmt.Sprint("e", n), "ada", time.Date(2026, 11, 20, 12, 0, int(n), 0, time.UTC), 1
		if e.Private != nil {
			e.Salt = []byte("sixteen bytes or more")
			e.Seal()
		}
		_, err = l.Append(t.Context(), n, e)
		require.NoError(t, err)
		n++
	}
}

// kinds1 has all kinds of the first version.
func kinds1(t *testing.T) *pool.MemoryLedger {
	t.Helper()
	l, add := tape(t)
	host := func(name string) pool.Host {
		return pool.Host{ID: pool.HostID("sim/" + name), Name: name, Conditions: pool.Ready, Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 8000}}}
	}
	a, b, c := pool.NewInstanceID("golden", "p", "a"), pool.NewInstanceID("golden", "p", "b"), pool.NewInstanceID("golden", "p", "c")
	cpu := func(n int64) pool.Allocation { return pool.Allocation{Resources: pool.Resources{pool.CPU: n}} }
	on := func(host string, number int) pool.Placement {
		return pool.Placement{Number: number, Host: pool.HostID("sim/" + host), Allocation: cpu(1000)}
	}
	launch := func(id pool.InstanceID, host string) {
		add(pool.KindLaunched, &pool.Launched{Instance: id, Name: "web", Project: "p", Want: pool.Running, Place: on(host, 0),
			Spec: pool.Spec{Image: "debian-12", Resources: pool.Resources{pool.CPU: 1000}, Guest: pool.Guest{User: "ada", SSHKeys: []string{"ssh-ed25519 AAAA"}}}})
	}
	made := func(id pool.InstanceID, number int) {
		add(pool.KindSent, &pool.OfMachine{Machine: id.Machine(number)})
		add(pool.KindCreated, &pool.OfMachine{Machine: id.Machine(number)})
		add(pool.KindObserved, &pool.Observed{Machine: id.Machine(number), Is: pool.Running, Addresses: []string{"192.0.2.7"}})
	}
	sizes := pool.Sizes{Resources: pool.Resources{pool.CPU: 2000}}

	add(pool.KindOpened, &pool.Opened{Ledger: "golden"})
	add(pool.KindTakenOver, &pool.TakenOver{Holder: "daemon-1"})
	for _, name := range []string{"h1", "h2", "h3"} {
		add(pool.KindHostPut, &pool.HostPut{Host: host(name)})
	}
	add(pool.KindHostConditions, &pool.HostConditions{Host: "sim/h3", Conditions: pool.Ready | pool.Cordoned, Reason: "to be replaced"})
	add(pool.KindHostRemoved, &pool.HostRemoved{Host: "sim/h3"})
	for _, name := range []string{"p", "q"} {
		add(pool.KindProjectPut, &pool.Project{Name: name, Quota: pool.Resources{pool.CPU: 8000}})
		add(pool.KindImagePut, &pool.Image{Name: "debian-12" + name, User: "debian", Sources: map[string]string{"sim": "x"}})
		add(pool.KindFlavorPut, &pool.Flavor{Name: "small" + name, Resources: pool.Resources{pool.CPU: 1000}})
	}
	add(pool.KindProjectRemoved, &pool.Named{Name: "q"})
	add(pool.KindImageRemoved, &pool.Named{Name: "debian-12q"})
	add(pool.KindFlavorRemoved, &pool.Named{Name: "smallq"})

	launch(a, "h1")
	made(a, 0)
	add(pool.KindRebootWanted, &pool.RebootWanted{Instance: a, Token: "again"})
	add(pool.KindRebooted, &pool.OfMachine{Machine: a.Machine(0)})
	add(pool.KindMoving, &pool.Moving{Instance: a, Host: "sim/h2", Allocation: cpu(1000)})
	add(pool.KindStayed, &pool.Stayed{Machine: a.Machine(0), Reason: "no route"})
	add(pool.KindMoving, &pool.Moving{Instance: a, Host: "sim/h2", Allocation: cpu(1000)})
	add(pool.KindMoved, &pool.Moved{Machine: a.Machine(0), Host: "sim/h2"})
	add(pool.KindResizing, &pool.ResizeWanted{Instance: a, Sizes: sizes, After: cpu(2000), During: cpu(2000)})
	add(pool.KindUnresized, &pool.Stayed{Machine: a.Machine(0), Reason: "not while it runs"})
	add(pool.KindResizing, &pool.ResizeWanted{Instance: a, Sizes: sizes, After: cpu(2000), During: cpu(2000)})
	add(pool.KindResized, &pool.OfMachine{Machine: a.Machine(0)})
	add(pool.KindWanted, &pool.Wanted{Instance: a, Want: pool.Shelved})
	add(pool.KindShelved, &pool.Ended{Instance: a})
	add(pool.KindWanted, &pool.Wanted{Instance: a, Want: pool.Running})
	add(pool.KindPlaced, &pool.Placed{Instance: a, Place: on("h1", 1)})
	made(a, 1)
	add(pool.KindDiscarded, &pool.Of{Instance: a})

	launch(b, "h1")
	add(pool.KindSent, &pool.OfMachine{Machine: b.Machine(0)})
	add(pool.KindRefused, &pool.Refused{Machine: b.Machine(0), Reason: "no disk", Doubt: true})
	add(pool.KindFailed, &pool.Ended{Instance: b, Reason: "no host", Hold: true})
	add(pool.KindReleased, &pool.OfMachine{Machine: b.Machine(0)})
	launch(c, "h2")
	add(pool.KindWanted, &pool.Wanted{Instance: c, Want: pool.Absent})
	add(pool.KindDeleted, &pool.Ended{Instance: c})

	cluster := pool.NewClusterID("p", "web")
	member := pool.NewClusterMember("golden", cluster, "t", 0)
	add(pool.KindClusterPut, &pool.ClusterPut{Cluster: cluster, Token: "t", Spec: pool.Spec{Image: "debian-12", Guest: pool.Guest{User: "ada"}}})
	add(pool.KindLaunched, &pool.Launched{Instance: member, Name: "web-0", Want: pool.Running, Place: on("h2", 0), Cluster: cluster})
	add(pool.KindClusterActed, &pool.ClusterActed{Cluster: cluster, Op: pool.ClusterOp{Verb: "delete", Concern: 1}, Want: pool.Absent})
	add(pool.KindWanted, &pool.Wanted{Instance: member, Want: pool.Absent})
	add(pool.KindDeleted, &pool.Ended{Instance: member})
	add(pool.KindClusterRemoved, &pool.ClusterRemoved{Cluster: cluster})

	add(pool.KindForgotten, &pool.Forgotten{Subject: string(b)})
	add(pool.KindImported, &pool.Imported{Ledger: "golden copy", From: "golden"})
	add(pool.KindConfirmed, &pool.Confirmed{Ledger: "golden copy"})
	return l
}

// kinds2 has those that came with doubts that end, disks that are being discarded, and the queue; and hosts and specs with taints,
// rules between instances and prices.
func kinds2(t *testing.T) *pool.MemoryLedger {
	t.Helper()
	l, add := tape(t)
	a, b := pool.NewInstanceID("golden", "p", "a"), pool.NewInstanceID("golden", "p", "b")
	cpu := pool.Resources{pool.CPU: 1000}
	on := func(number int) pool.Placement {
		return pool.Placement{Number: number, Host: "sim/h1", Allocation: pool.Allocation{Resources: cpu}}
	}
	made := func(number int) {
		add(pool.KindSent, &pool.OfMachine{Machine: a.Machine(number)})
		add(pool.KindCreated, &pool.OfMachine{Machine: a.Machine(number), Doubt: number == 0})
		add(pool.KindObserved, &pool.Observed{Machine: a.Machine(number), Is: pool.Running})
	}
	add(pool.KindOpened, &pool.Opened{Ledger: "golden"})
	add(pool.KindHostPut, &pool.HostPut{Host: pool.Host{
		ID: "sim/h1", Name: "h1", Conditions: pool.Ready, Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 1000, MinUnit: 500, MaxUnit: 1000, StepSize: 500}},
		Taints: []pool.Taint{{Key: "dedicated", Value: "db", Effect: pool.NoSchedule}}, Labels: map[string]string{"rack": "r1"}, Cost: 125_000,
	}})
	add(pool.KindProjectPut, &pool.Project{Name: "p", Weight: 2})
	rules := pool.Constraints{
		Tolerations:  []pool.Toleration{{Key: "dedicated", Value: "db"}},
		AntiAffinity: []pool.Affinity{{Selector: pool.Selector{Labels: map[string]string{"app": "db"}}, Within: "rack", Soft: true}},
		Spread:       []pool.Spread{{Selector: pool.Selector{Labels: map[string]string{"app": "db"}}, Within: pool.ZoneKey, MaxSkew: 2, Soft: true}},
	}
	add(pool.KindLaunched, &pool.Launched{Instance: a, Name: "a", Project: "p", Want: pool.Running, Place: on(0),
		Spec: pool.Spec{Image: "debian-12", Resources: cpu, Labels: map[string]string{"app": "db"}, Constraints: rules}})
	made(0)
	add(pool.KindSettled, &pool.OfMachine{Machine: a.Machine(0)})
	add(pool.KindWanted, &pool.Wanted{Instance: a, Want: pool.Shelved})
	add(pool.KindShelved, &pool.Ended{Instance: a})
	add(pool.KindWanted, &pool.Wanted{Instance: a, Want: pool.Running})
	add(pool.KindPlaced, &pool.Placed{Instance: a, Place: on(1)})
	made(1)
	add(pool.KindDiscarding, &pool.Of{Instance: a})
	waiting := pool.Launched{Instance: b, Name: "b", Project: "p", Want: pool.Running, Waits: true, Reason: "no room", Spec: pool.Spec{Image: "debian-12", Resources: cpu, Priority: 7, Constraints: rules}}
	add(pool.KindLaunched, &waiting)
	add(pool.KindAwaiting, &pool.Awaiting{Instance: b, Host: "sim/h1"})
	return l
}

// kinds3 has reservations: what is held, committed, expired and released, one by one and of a cluster.
func kinds3(t *testing.T) *pool.MemoryLedger {
	t.Helper()
	l, add := tape(t)
	cpu := pool.Allocation{Resources: pool.Resources{pool.CPU: 1000}}
	until := time.Date(2026, 11, 28, 21, 0, 0, 123456000, time.UTC)
	add(pool.KindOpened, &pool.Opened{Ledger: "golden"})
	for _, name := range []string{"h1", "h2"} {
		add(pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: pool.HostID("sim/" + name), Name: name, Conditions: pool.Ready, Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 8000}}}})
	}
	add(pool.KindProjectPut, &pool.Project{Name: "p"})
	for _, token := range []string{"a", "b", "c", "d"} {
		add(pool.KindLaunched, &pool.Launched{Instance: pool.NewInstanceID("golden", "p", token), Name: token, Project: "p", Want: pool.Running, Until: until,
			Place: pool.Placement{Host: "sim/h1", Allocation: cpu}, Spec: pool.Spec{Image: "debian-12", Resources: cpu.Resources, Guest: pool.Guest{User: "ada"}}})
	}
	a, d := pool.NewInstanceID("golden", "p", "a"), pool.NewInstanceID("golden", "p", "d")
	add(pool.KindPlaced, &pool.Placed{Instance: a, Place: pool.Placement{Number: 1, Host: "sim/h2", Allocation: cpu}})
	add(pool.KindPlaced, &pool.Placed{Instance: d, Place: pool.Placement{Number: 1, Host: "sim/h2", Allocation: cpu}})
	add(pool.KindCommitted, &pool.Of{Instance: a})
	add(pool.KindLapsed, &pool.Lapsed{Instance: pool.NewInstanceID("golden", "p", "b")})
	add(pool.KindLapsed, &pool.Lapsed{Instance: pool.NewInstanceID("golden", "p", "c"), Released: true})
	cluster := pool.NewClusterID("p", "web")
	add(pool.KindClusterPut, &pool.ClusterPut{Cluster: cluster, Token: "t", Spec: pool.Spec{Image: "debian-12", Resources: cpu.Resources}, Size: 1})
	add(pool.KindLaunched, &pool.Launched{Instance: pool.NewClusterMember("golden", cluster, "t", 0), Name: "web-0", Want: pool.Running, Until: until,
		Place: pool.Placement{Host: "sim/h2", Allocation: cpu}, Cluster: cluster})
	return l
}

// kinds4 has what is hibernated, replaced and given disks.
func kinds4(t *testing.T) *pool.MemoryLedger {
	t.Helper()
	l, add := tape(t)
	cpu := pool.Allocation{Resources: pool.Resources{pool.CPU: 1000, pool.StorageStandard: pool.GiB}}
	more := pool.Allocation{Resources: pool.Resources{pool.CPU: 1000, pool.StorageStandard: 3 * pool.GiB}}
	add(pool.KindOpened, &pool.Opened{Ledger: "golden"})
	for _, name := range []string{"h1", "h2"} {
		add(pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: pool.HostID("sim/" + name), Name: name, Conditions: pool.Ready,
			Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 8000}, pool.StorageStandard: {Total: pool.TiB}},
			Taints:    []pool.Taint{{Key: "burst", Effect: pool.PreferNoSchedule}}}})
	}
	add(pool.KindProjectPut, &pool.Project{Name: "p"})
	for _, token := range []string{"a", "b"} {
		id := pool.NewInstanceID("golden", "p", token)
		add(pool.KindLaunched, &pool.Launched{Instance: id, Name: token, Project: "p", Want: pool.Running, Place: pool.Placement{Host: "sim/h1", Allocation: cpu},
			Spec: pool.Spec{Image: "debian-12", Resources: pool.Resources{pool.CPU: 1000}, Disks: []pool.Disk{{Size: pool.GiB}}, Replaceable: token == "b"}})
		add(pool.KindSent, &pool.OfMachine{Machine: id.Machine(0)})
		add(pool.KindCreated, &pool.OfMachine{Machine: id.Machine(0)})
		add(pool.KindObserved, &pool.Observed{Machine: id.Machine(0), Is: pool.Running})
	}
	a, b := pool.NewInstanceID("golden", "p", "a"), pool.NewInstanceID("golden", "p", "b")
	add(pool.KindResizing, &pool.ResizeWanted{Instance: a, After: more, During: more, Sizes: pool.Sizes{
		Resources: pool.Resources{pool.CPU: 1000}, Disks: []pool.Disk{{Size: pool.GiB}, {Size: 2 * pool.GiB}},
	}})
	add(pool.KindResized, &pool.OfMachine{Machine: a.Machine(0)})
	add(pool.KindWanted, &pool.Wanted{Instance: a, Want: pool.Hibernated})
	add(pool.KindObserved, &pool.Observed{Machine: a.Machine(0), Is: pool.Hibernated})
	add(pool.KindReplacing, &pool.Of{Instance: b})
	return l
}

// kinds5 has projects that lie one in another, limits for owners, and whose instances and clusters are.
func kinds5(t *testing.T) *pool.MemoryLedger {
	t.Helper()
	l, add := tape(t)
	cpu := pool.Allocation{Resources: pool.Resources{pool.CPU: 1000}}
	add(pool.KindOpened, &pool.Opened{Ledger: "golden"})
	add(pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: "sim/h1", Name: "h1", Conditions: pool.Ready, Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 8000}}}})
	add(pool.KindProjectPut, &pool.Project{Name: "org", Quota: pool.Resources{pool.CPU: 8000}})
	add(pool.KindProjectPut, &pool.Project{Name: "p", Parent: "org", PerUser: pool.Resources{pool.CPU: 0}, Users: map[string]pool.Resources{"u-1": {pool.CPU: 2000, pool.Instances: 0}}})
	a := pool.NewInstanceID("golden", "p", "a")
	add(pool.KindLaunched, &pool.Launched{Instance: a, Name: "a", Project: "p", Owner: "u-1", Want: pool.Running,
		Place: pool.Placement{Host: "sim/h1", Allocation: cpu}, Spec: pool.Spec{Image: "debian-12", Resources: cpu.Resources}})
	cluster := pool.NewClusterID("p", "web")
	add(pool.KindClusterPut, &pool.ClusterPut{Cluster: cluster, Token: "t", Owner: "u-2", Spec: pool.Spec{Image: "debian-12", Resources: cpu.Resources}, Size: 1})
	add(pool.KindLaunched, &pool.Launched{Instance: pool.NewClusterMember("golden", cluster, "t", 0), Name: "web-0", Want: pool.Running,
		Place: pool.Placement{Host: "sim/h1", Allocation: cpu}, Cluster: cluster})
	add(pool.KindProjectPut, &pool.Project{Name: "lab", Parent: "p"})
	add(pool.KindProjectPut, &pool.Project{Name: "lab", Parent: "org"})
	return l
}

// TestGolden: files that earlier programs have written are read, folded and imported, for ever.
func TestGolden(t *testing.T) {
	t.Parallel()
	kinds := make(map[string]bool)
	states := make(map[string]*pool.State)
	for _, g := range golden {
		path := filepath.Join("testdata", g.name+".ledger")
		if _, err := os.Stat(path); *writeGolden && err != nil {
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, written(t, g.history(t), ledgerfile.Options{}), 0o644))
		}
		file, err := os.ReadFile(path)
		require.NoError(t, err)
		got, s, err := read(file)
		require.NoError(t, err)
		require.Equal(t, g.root, hex.EncodeToString(s.Root[:]), g.name)

		st := pool.NewState()
		for _, b := range got {
			for i := range b.Events {
				kinds[b.Events[i].Kind] = true
				require.NoError(t, st.Apply(&b.Events[i]))
			}
		}
		states[g.name] = st
		to := pool.NewMemoryLedger()
		_, imported, err := ledgerfile.Import(t.Context(), opener(file), to, "ada", ledgerfile.Options{})
		require.NoError(t, err)
		require.Equal(t, s, imported)
	}
	for _, kind := range kindsOfPool(t) {
		require.True(t, kinds[kind], "no golden file has an event of kind %s: write another one", kind)
	}

	st := states["kinds1"]
	require.Equal(t, "golden copy", st.Identity())
	require.True(t, st.Confirmed())
	require.Equal(t, 2, st.HostCount())
	require.Equal(t, 2, st.InstanceCount())
	require.Equal(t, pool.Sum{Total: 16000, Capacity: 16000, Used: 1000, Free: 15000, Available: 15000}, st.Totals()[pool.CPU])
	a, ok := st.Instance(pool.NewInstanceID("golden", "p", "a"))
	require.True(t, ok)
	require.Equal(t, "running", a.Status())
	require.Equal(t, []string{"192.0.2.7"}, a.Addresses)
	require.Equal(t, "ada", a.Spec.Guest.User)

	st = states["kinds2"]
	a, ok = st.Instance(pool.NewInstanceID("golden", "p", "a"))
	require.True(t, ok)
	require.False(t, a.Kept(), "it may be gone")
	require.NotNil(t, a.Shelf)
	require.Equal(t, 2, a.Spec.Constraints.Spread[0].MaxSkew)
	b, ok := st.Instance(pool.NewInstanceID("golden", "p", "b"))
	require.True(t, ok)
	require.Equal(t, "waiting", b.Status())
	require.Equal(t, 7, b.Spec.Priority)
	require.Equal(t, 1, st.WaitingCount())
	h, ok := st.Host("sim/h1")
	require.True(t, ok)
	require.Equal(t, pool.NoSchedule, h.Taints[0].Effect)

	st = states["kinds3"]
	for token, status := range map[string]string{"a": "building", "d": "reserved"} {
		i, ok := st.Instance(pool.NewInstanceID("golden", "p", token))
		require.True(t, ok)
		require.Equal(t, status, i.Status())
		require.EqualValues(t, "sim/h2", i.Place.Host)
		require.Equal(t, status == "building", i.Until.IsZero())
	}
	for token, ended := range map[string]pool.Revision{"b": pool.Expired, "c": pool.Released} {
		grave, ok := st.Ended(pool.NewInstanceID("golden", "p", token))
		require.True(t, ok)
		require.Equal(t, ended, grave.Launched)
	}
	require.EqualValues(t, 3000, st.Total(pool.CPU).Used)

	st = states["kinds4"]
	for token, status := range map[string]string{"a": "hibernated", "b": "undoing"} {
		i, ok := st.Instance(pool.NewInstanceID("golden", "p", token))
		require.True(t, ok)
		require.Equal(t, status, i.Status())
		require.Equal(t, token == "b", i.Spec.Replaceable)
	}
	require.EqualValues(t, 4*pool.GiB, st.Total(pool.StorageStandard).Used)

	st = states["kinds5"]
	org, ok := st.Project("org")
	require.True(t, ok)
	require.Equal(t, pool.Resources{pool.CPU: 2000, pool.Instances: 2}, org.Total())
	require.Equal(t, 2, org.Children)
	require.Equal(t, pool.Resources{pool.CPU: 1000, pool.Instances: 1}, st.OwnerUsed("p", "u-2"))
	p, ok := st.Project("p")
	require.True(t, ok)
	require.Equal(t, pool.Resources{pool.CPU: 2000, pool.Instances: 0}, p.LimitsOf("u-1"), "a limit of zero is one")
}

// kindsOfPool reads the kinds that package pool has from its source.
func kindsOfPool(t *testing.T) (kinds []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("..", "*.go"))
	require.NoError(t, err)
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if ok && strings.HasPrefix(v.Names[0].Name, "Kind") && len(v.Values) == 1 {
				kind, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				require.NoError(t, err)
				kinds = append(kinds, kind)
			}
			return true
		})
	}
	require.Greater(t, len(kinds), 30)
	return kinds
}
