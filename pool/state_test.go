package pool_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

// tape makes events in order, as a ledger would.
type tape struct {
	t        testing.TB
	revision pool.Revision
}

// next returns the event as the only one of the next revision.
func (p *tape) next(kind string, payload any) pool.Event {
	p.t.Helper()
	p.revision++
	return p.event(kind, payload)
}

func (p *tape) event(kind string, payload any) pool.Event {
	p.t.Helper()
	e, err := pool.NewEvent(kind, payload)
	require.NoError(p.t, err)
	e.ID, e.Revision = "e", p.revision
	e.Time = time.Unix(1_700_000_000+int64(p.revision), 0).UTC()
	return e
}

// stored returns the event as it comes back from a store: its bytes, and no payload kept in memory.
func stored(t testing.TB, e pool.Event) pool.Event {
	t.Helper()
	b, err := json.Marshal(e)
	require.NoError(t, err)
	var back pool.Event
	require.NoError(t, json.Unmarshal(b, &back))
	return back
}

// portrait is all that a State shows, as JSON per record; private says whether with personal data.
func portrait(s *pool.State, private bool) map[string]string {
	out := make(map[string]string)
	put := func(key string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		out[key] = string(b)
	}
	put("envelope", []any{s.Identity(), s.Head(), s.Epoch(), s.Holder(), s.Time(), s.HostCount(), s.InstanceCount()})
	put("lineage", []any{slices.Collect(s.Identities()), s.Confirmed()})
	put("totals", s.Totals())
	for _, h := range s.SortedHosts() {
		c := *h
		if c.DeviceUsed == nil {
			c.DeviceUsed = map[string]int64{}
		}
		put("host "+string(h.ID), c)
	}
	for _, i := range s.SortedInstances() {
		c := *i
		if !private {
			c.Spec.Guest, c.Addresses = pool.Guest{}, nil
		}
		put("instance "+string(i.ID), c)
	}
	for c := range s.Clusters() {
		c := *c
		if !private {
			c.Spec.Guest = pool.Guest{}
		}
		put("cluster "+string(c.ID), c)
	}
	for h := range s.Held() {
		put("held "+string(h.Machine), h)
	}
	for i := range s.Images() {
		put("image "+i.Name, i)
	}
	for f := range s.Flavors() {
		put("flavor "+f.Name, f)
	}
	for p := range s.Projects() {
		put("project "+p.Name, p)
		put("owners of "+p.Name, maps.Collect(s.Owners(p.Name)))
	}
	put("waiting", s.WaitingCount())
	for i := range s.Waiting() {
		put("waits "+string(i.ID), i.Awaits)
	}
	for i := range s.Keeping() {
		put("keeps "+string(i.ID), i.Awaits)
	}
	for _, id := range everyHost {
		if at, ok := s.HostRemoved(id); ok {
			put("removed "+string(id), at)
		}
	}
	for _, id := range everyInstance {
		if tomb, ok := s.Ended(id); ok {
			put("ended "+string(id), tomb)
		}
		for n := range 4 {
			put("tag "+string(id.Machine(n)), []string{s.LedgerOf(id.Machine(n), 1), s.LedgerOf(id.Machine(n), 10), s.LedgerOf(id.Machine(n), s.Head())})
		}
	}
	return out
}

// equal reports whether two States show the same.
func equal(t testing.TB, want, got *pool.State) {
	t.Helper()
	require.Equal(t, portrait(want, true), portrait(got, true))
}

// The names that tests use, so that getters by name can be asked for all of them.
var (
	everyLedger   = []string{"ledger", "copy 1", "copy 2", "copy 3"}
	everyHost     = ids("d/h", 8, func(s string) pool.HostID { return pool.HostID(s) })
	everyInstance = ids("token", 60, func(s string) pool.InstanceID { return pool.NewInstanceID("ledger", "p", s) })
)

func ids[T any](prefix string, n int, make func(string) T) []T {
	out := []T{}
	for i := range n {
		out = append(out, make(prefix+string(rune('0'+i/10))+string(rune('0'+i%10))))
	}
	return out
}

// checkBooks recomputes every sum and index of a State from its records.
func checkBooks(t testing.TB, s *pool.State, root bool) {
	t.Helper()
	used := map[pool.HostID]pool.Resources{}
	devices := map[pool.HostID]map[string]int64{}
	gpus := map[pool.HostID]map[pool.GPULoad]int{}
	placed, heldOn := map[pool.HostID][]pool.InstanceID{}, map[pool.HostID][]pool.MachineID{}
	projects, subtrees, owners := map[string]pool.Resources{}, map[string]pool.Resources{}, map[[2]string]pool.Resources{}
	var unsettled []pool.InstanceID
	arriving, members := map[pool.HostID]int{}, map[pool.ClusterID][]int{}
	book := func(h pool.HostID, a pool.Allocation) {
		used[h] = sum(t, used[h], a.Resources)
		if devices[h] == nil {
			devices[h] = map[string]int64{}
		}
		for _, c := range a.Claims {
			devices[h][c.Device] += c.Amount
		}
		if a.Resources[pool.GPU]+a.Resources[pool.GPUShare] > 0 {
			if gpus[h] == nil {
				gpus[h] = map[pool.GPULoad]int{}
			}
			gpus[h][pool.GPULoadOf(a.Resources)]++
		}
	}
	peers := map[pool.HostID]map[pool.Peer]int{}
	meet := func(h pool.HostID, i *pool.Instance) {
		if i.Cluster == "" && len(i.Spec.Labels) == 0 {
			return
		}
		if peers[h] == nil {
			peers[h] = map[pool.Peer]int{}
		}
		peers[h][pool.NewPeer(i.Project, i.Cluster, i.Spec.Labels)]++
	}
	instances, hosts := 0, 0
	for i := range s.Instances() {
		instances++
		if !i.Settled() || i.Phase == pool.Active && i.Place.Doubt {
			unsettled = append(unsettled, i.ID)
		}
		if i.Cluster != "" {
			members[i.Cluster] = append(members[i.Cluster], i.Index)
		}
		if !i.Placed() {
			continue
		}
		book(i.Place.Host, i.Place.Allocation)
		placed[i.Place.Host] = append(placed[i.Place.Host], i.ID)
		if m := i.Move; m != nil {
			book(m.Host, m.Allocation)
			arriving[m.Host]++
			meet(m.Host, i)
		}
		meet(i.Place.Host, i)
		one := sum(t, i.Place.Allocation.Resources, pool.Resources{pool.Instances: 1})
		if part, ok := s.Part("toll"); ok {
			cost := part.(toll).Rate("", i.Spec.Flavor, i.Place.Allocation.Resources)
			if i.Resize != nil {
				cost = max(cost, part.(toll).Rate("", i.Resize.Sizes.Flavor, i.Place.Allocation.Resources))
			}
			one = sum(t, one, pool.Resources{pool.Cost: cost})
		}
		projects[i.Project] = sum(t, projects[i.Project], one)
		for p := range s.Above(i.Project) {
			subtrees[p.Name] = sum(t, subtrees[p.Name], one)
		}
		if i.Owner != "" {
			key := [2]string{i.Project, i.Owner}
			owners[key] = sum(t, owners[key], one)
		}
		_, ok := s.Ended(i.ID)
		require.False(t, ok, "an instance that is there has not ended")
	}
	for h := range s.Held() {
		book(h.Host, h.Allocation)
		heldOn[h.Host] = append(heldOn[h.Host], h.Machine)
		found, ok := s.HeldMachine(h.Machine)
		require.True(t, ok)
		require.Same(t, h, found)
	}
	for c := range s.Clusters() {
		require.ElementsMatch(t, members[c.ID], c.Members)
		require.True(t, slices.IsSorted(c.Members))
		require.True(t, len(c.Members) == 0 || c.Members[len(c.Members)-1] < c.Next)
		delete(members, c.ID)
	}
	require.Empty(t, members, "members of clusters that are not there")
	totals := map[pool.Class]pool.Sum{}
	for h := range s.Hosts() {
		hosts++
		require.True(t, used[h.ID].Equal(h.Used), "%s uses %v, its instances %v", h.ID, h.Used, used[h.ID])
		for d, n := range devices[h.ID] {
			require.Equal(t, n, h.DeviceUsed[d], "device %s of %s", d, h.ID)
		}
		for d, n := range h.DeviceUsed {
			require.Equal(t, n, devices[h.ID][d], "device %s of %s", d, h.ID)
		}
		require.True(t, slices.IsSortedFunc(h.GPULoads, pool.GPULoad.Compare))
		require.Len(t, h.GPULoads, len(gpus[h.ID]))
		for _, l := range h.GPULoads {
			require.Equal(t, gpus[h.ID][l.Size()], l.Count)
		}
		require.Equal(t, len(placed[h.ID])+arriving[h.ID], h.Placed)
		require.Equal(t, len(heldOn[h.ID]), h.Held)
		for _, p := range h.Peers {
			require.Equal(t, peers[h.ID][p.Peer.Value()], p.Count)
		}
		require.Len(t, h.Peers, len(peers[h.ID]))
		require.True(t, h.Host.Capacity().Equal(h.Capacity))
		for _, c := range everyClass {
			total := totals[c]
			inv, free := h.Inventory[c], max(0, h.Capacity[c]-h.Used[c])
			total.Total += inv.Total
			total.Reserved += inv.Reserved
			total.Capacity += h.Capacity[c]
			total.Used += h.Used[c]
			total.Free += free
			if h.Conditions == pool.Ready {
				total.Available += free
			}
			total.Overcommitted += max(0, h.Used[c]-max(0, inv.Total-inv.Reserved))
			if total != (pool.Sum{}) {
				totals[c] = total
			}
		}
		delete(placed, h.ID)
		delete(heldOn, h.ID)
		if root {
			var on []pool.InstanceID
			for i := range s.InstancesOn(h.ID) {
				require.Equal(t, h.ID, i.Place.Host)
				require.True(t, i.Placed())
				on = append(on, i.ID)
			}
			require.Len(t, on, h.Placed-arriving[h.ID])
			held := 0
			for x := range s.HeldOn(h.ID) {
				require.Equal(t, h.ID, x.Host)
				held++
			}
			require.Equal(t, h.Held, held)
		}
	}
	require.Empty(t, placed, "instances on hosts that are not there")
	require.Empty(t, heldOn, "held allocations on hosts that are not there")
	require.Equal(t, totals, s.Totals())
	require.Equal(t, hosts, s.HostCount())
	require.Equal(t, instances, s.InstanceCount())
	children := map[string]int{}
	for p := range s.Projects() {
		children[p.Parent]++
	}
	for p := range s.Projects() {
		require.True(t, projects[p.Name].Equal(p.Used), "%s uses %v, its instances %v", p.Name, p.Used, projects[p.Name])
		delete(projects, p.Name)
		require.True(t, subtrees[p.Name].Equal(p.Total()), "%s and what is below it use %v, their instances %v", p.Name, p.Total(), subtrees[p.Name])
		require.Equal(t, children[p.Name], p.Children, p.Name)
		require.Equal(t, p.Children > 0, p.Subtree != nil, p.Name)
		depth := 0
		for range s.Above(p.Name) {
			depth++
		}
		require.LessOrEqual(t, depth, pool.MaxDepth)
		for owner, used := range s.Owners(p.Name) {
			key := [2]string{p.Name, owner}
			require.True(t, owners[key].Equal(used), "%v uses %v, its instances %v", key, used, owners[key])
			require.NotEmpty(t, used)
			require.True(t, used.Equal(s.OwnerUsed(p.Name, owner)))
			delete(owners, key)
		}
	}
	require.Empty(t, owners, "owners that the books do not know")
	require.Empty(t, projects, "instances of projects that are not there")
	waits, keeps := map[pool.InstanceID]bool{}, map[pool.InstanceID]bool{}
	for i := range s.Instances() {
		if i.Phase == pool.Waiting && i.Want != pool.Absent {
			waits[i.ID] = true
			if i.Awaits != "" {
				keeps[i.ID] = true
			}
		} else {
			require.Empty(t, i.Awaits)
		}
	}
	require.Equal(t, len(waits), s.WaitingCount())
	for i := range s.Waiting() {
		require.True(t, waits[i.ID])
		delete(waits, i.ID)
	}
	for i := range s.Keeping() {
		require.True(t, keeps[i.ID])
		delete(keeps, i.ID)
	}
	require.Empty(t, waits)
	require.Empty(t, keeps)
	if root {
		var got []pool.InstanceID
		for i := range s.Unsettled() {
			got = append(got, i.ID)
		}
		slices.Sort(unsettled)
		slices.Sort(got)
		require.Equal(t, unsettled, got)
	}
}

var everyClass = []pool.Class{pool.CPU, pool.Memory, pool.StorageSSD, pool.GPU, "own"}

func sum(t testing.TB, rs ...pool.Resources) pool.Resources {
	t.Helper()
	var out pool.Resources
	for _, r := range rs {
		var err error
		out, err = out.Add(r)
		require.NoError(t, err)
	}
	return out
}

func serverHost(id pool.HostID) pool.Host {
	return pool.Host{
		ID: id, Conditions: pool.Ready,
		Inventory: map[pool.Class]pool.Inventory{
			pool.CPU: {Total: 16 * pool.Core, Ratio: 2000}, pool.Memory: {Total: 64 * pool.GiB, Reserved: 4 * pool.GiB},
		},
		Devices: []pool.Device{
			{ID: "nvme0", Class: pool.StorageSSD, Inventory: pool.Inventory{Total: pool.TiB}},
			{ID: "gpu0", Class: pool.GPU, Inventory: pool.Inventory{Total: 1}},
		},
	}
}

func place(host pool.HostID, number int) pool.Placement {
	return pool.Placement{Number: number, Host: host, Allocation: pool.Allocation{
		Resources: pool.Resources{pool.CPU: 2000, pool.Memory: pool.GiB, pool.StorageSSD: 10 * pool.GiB},
		Claims:    []pool.Claim{{Device: "nvme0", Class: pool.StorageSSD, Amount: 10 * pool.GiB}},
	}}
}

func launched(id pool.InstanceID, p pool.Placement) *pool.Launched {
	return &pool.Launched{
		Instance: id, Name: "web", Project: "p", Want: pool.Running, Place: p,
		Spec: pool.Spec{Image: "debian-12", Guest: pool.Guest{User: "ada", UserData: "#cloud-config"}},
	}
}

// setUp folds a pool of two hosts, a project, and one active, running instance on the first host.
func setUp(t testing.TB) (*tape, *pool.State, pool.InstanceID) {
	t.Helper()
	p, s, id := &tape{t: t}, pool.NewState(), everyInstance[0]
	for _, e := range []pool.Event{
		p.next(pool.KindOpened, &pool.Opened{Ledger: "ledger"}),
		p.next(pool.KindHostPut, &pool.HostPut{Host: serverHost("d/h00")}),
		p.next(pool.KindHostPut, &pool.HostPut{Host: serverHost("d/h01")}),
		p.next(pool.KindProjectPut, &pool.Project{Name: "p", Quota: pool.Resources{pool.CPU: 0}}),
		p.next(pool.KindImagePut, &pool.Image{Name: "debian-12", User: "debian"}),
		p.next(pool.KindFlavorPut, &pool.Flavor{Name: "small"}),
		p.next(pool.KindLaunched, launched(id, place("d/h00", 0))),
		p.next(pool.KindSent, &pool.OfMachine{Machine: id.Machine(0)}),
		p.next(pool.KindCreated, &pool.OfMachine{Machine: id.Machine(0)}),
		p.next(pool.KindObserved, &pool.Observed{Machine: id.Machine(0), Is: pool.Running, Addresses: []string{"192.0.2.7"}}),
	} {
		require.NoError(t, s.Apply(&e))
	}
	checkBooks(t, s, true)
	return p, s, id
}

func TestTheLifeOfAnInstance(t *testing.T) {
	t.Parallel()
	p, s, id := setUp(t)
	apply := func(kind string, payload any) *pool.Instance {
		t.Helper()
		e := p.next(kind, payload)
		require.NoError(t, s.Apply(&e))
		checkBooks(t, s, true)
		i, _ := s.Instance(id)
		return i
	}
	host := func(id pool.HostID) *pool.HostRecord {
		h, ok := s.Host(id)
		require.True(t, ok)
		return h
	}
	i, _ := s.Instance(id)
	require.True(t, i.Settled())
	require.True(t, i.Place.Sent)
	require.Equal(t, "running", i.Status())
	require.Equal(t, "ada", i.Spec.Guest.User)
	require.Equal(t, []string{"192.0.2.7"}, i.Addresses)
	require.Equal(t, pool.Sum{Total: 32000, Capacity: 64000, Used: 2000, Free: 62000, Available: 62000}, s.Totals()[pool.CPU])

	i = apply(pool.KindRebootWanted, &pool.RebootWanted{Instance: id, Token: "once"})
	require.False(t, i.Settled())
	i = apply(pool.KindRebootWanted, &pool.RebootWanted{Instance: id, Token: "once"})
	require.Equal(t, 1, i.Reboots, "the same token is the same reboot")
	i = apply(pool.KindRebooted, &pool.OfMachine{Machine: id.Machine(0)})
	require.True(t, i.Settled())

	// The host dies; the instance is built elsewhere while its old place stays booked.
	i = apply(pool.KindObserved, &pool.Observed{Machine: id.Machine(0), Is: pool.Absent})
	require.Equal(t, "missing", i.Status())
	apply(pool.KindHostConditions, &pool.HostConditions{Host: "d/h00", Conditions: pool.Unreachable, Reason: "silent"})
	require.Equal(t, int64(32000), s.Totals()[pool.CPU].Available)
	i = apply(pool.KindPlaced, &pool.Placed{Instance: id, Place: place("d/h01", 1), Hold: true})
	require.Equal(t, id.Machine(1), i.Machine())
	require.Equal(t, pool.Building, i.Phase)
	require.Empty(t, i.Avoid, "the old host may take it again, once it is back")
	require.Equal(t, 1, host("d/h00").Held)
	require.Equal(t, int64(4000), s.Totals()[pool.CPU].Used)

	// Creation is refused there, undone, and given up.
	i = apply(pool.KindRefused, &pool.Refused{Machine: id.Machine(1), Reason: "no", Doubt: true})
	require.Equal(t, pool.Undoing, i.Phase)
	require.True(t, i.Place.Doubt)
	i = apply(pool.KindFailed, &pool.Ended{Instance: id, Reason: "no luck"})
	require.True(t, i.Settled())
	require.Equal(t, "no luck", i.Reason)
	require.Empty(t, host("d/h01").Used)
	project, _ := s.Project("p")
	require.Empty(t, project.Used, "a failed instance takes no quota")
	require.Contains(t, project.Quota, pool.CPU, "a limit of zero stays a limit")

	// It is deleted: it holds no place, so there is nothing to destroy.
	i = apply(pool.KindWanted, &pool.Wanted{Instance: id, Want: pool.Absent})
	require.Equal(t, pool.Failed, i.Phase)
	require.False(t, i.Settled(), "somebody must end it")
	require.Nil(t, apply(pool.KindDeleted, &pool.Ended{Instance: id}))
	tomb, ok := s.Ended(id)
	require.True(t, ok)
	require.Equal(t, pool.Tombstone{Launched: 7, Ended: p.revision}, tomb)

	apply(pool.KindReleased, &pool.OfMachine{Machine: id.Machine(0)})
	require.Empty(t, host("d/h00").Used)
	apply(pool.KindHostRemoved, &pool.HostRemoved{Host: "d/h00"})
	at, ok := s.HostRemoved("d/h00")
	require.True(t, ok)
	require.Equal(t, p.revision, at)
	apply(pool.KindHostPut, &pool.HostPut{Host: serverHost("d/h00")})
	_, ok = s.HostRemoved("d/h00")
	require.False(t, ok, "somebody has asked for it")
}

// A contradiction is refused, and changes nothing at all.
func TestContradictions(t *testing.T) {
	t.Parallel()
	id, other := everyInstance[0], everyInstance[1]
	broken := place("d/h01", 1)
	broken.Allocation.Resources = pool.Resources{pool.CPU: -1}
	claims := place("d/h01", 1)
	claims.Allocation.Claims = []pool.Claim{{Device: "nvme0", Amount: -1}}
	huge := place("d/h01", 1)
	huge.Allocation.Resources = pool.Resources{pool.Memory: 1<<63 - 1}
	hugeHost := serverHost("d/h02")
	hugeHost.Inventory[pool.Memory] = pool.Inventory{Total: 1<<63 - 1}
	bad := serverHost("d/h02")
	bad.Inventory[pool.CPU] = pool.Inventory{Total: -1}
	nobody := launched(other, place("d/h00", 0))
	nobody.Project = "nobody"

	for name, c := range map[string]struct {
		before  func(*tape) []pool.Event
		kind    string
		payload any
		err     error
	}{
		"second identity":         {nil, pool.KindOpened, &pool.Opened{Ledger: "other"}, pool.ErrInvalid},
		"older leader":            {nil, pool.KindTakenOver, &pool.TakenOver{Holder: "x"}, pool.ErrInvalid},
		"bad host":                {nil, pool.KindHostPut, &pool.HostPut{Host: bad}, pool.ErrInvalid},
		"totals overflow":         {nil, pool.KindHostPut, &pool.HostPut{Host: hugeHost}, pool.ErrOverflow},
		"conditions of no host":   {nil, pool.KindHostConditions, &pool.HostConditions{Host: "d/h07"}, pool.ErrNotFound},
		"removal of no host":      {nil, pool.KindHostRemoved, &pool.HostRemoved{Host: "d/h07"}, pool.ErrNotFound},
		"removal of a used host":  {nil, pool.KindHostRemoved, &pool.HostRemoved{Host: "d/h00"}, pool.ErrInUse},
		"removal of no image":     {nil, pool.KindImageRemoved, &pool.Named{Name: "x"}, pool.ErrNotFound},
		"removal of no flavor":    {nil, pool.KindFlavorRemoved, &pool.Named{Name: "x"}, pool.ErrNotFound},
		"removal of no project":   {nil, pool.KindProjectRemoved, &pool.Named{Name: "x"}, pool.ErrNotFound},
		"removal of used project": {nil, pool.KindProjectRemoved, &pool.Named{Name: "p"}, pool.ErrInUse},
		"removal of project with a failed one": {func(p *tape) []pool.Event {
			return []pool.Event{
				p.next(pool.KindDeleted, &pool.Ended{Instance: id}),
				p.next(pool.KindFailed, &pool.Ended{Instance: everyInstance[2]}),
			}
		}, pool.KindProjectRemoved, &pool.Named{Name: "p"}, pool.ErrInUse},
		"launched twice":         {nil, pool.KindLaunched, launched(id, place("d/h00", 0)), pool.ErrExists},
		"launch of a strange id": {nil, pool.KindLaunched, launched("x-1", place("d/h00", 0)), pool.ErrInvalid},
		"launch on no host":      {nil, pool.KindLaunched, launched(other, place("d/h07", 0)), pool.ErrNotFound},
		"launch for no project":  {nil, pool.KindLaunched, nobody, pool.ErrNotFound},
		"launch of less":         {nil, pool.KindLaunched, launched(other, broken), pool.ErrInvalid},
		"launch of less device":  {nil, pool.KindLaunched, launched(other, claims), pool.ErrInvalid},
		"launch beyond sums":     {nil, pool.KindLaunched, launched(other, huge), pool.ErrOverflow},
		"launch after the end": {func(p *tape) []pool.Event {
			return []pool.Event{p.next(pool.KindDeleted, &pool.Ended{Instance: id})}
		}, pool.KindLaunched, launched(id, place("d/h00", 0)), pool.ErrExists},
		"wish of nobody":        {nil, pool.KindWanted, &pool.Wanted{Instance: other, Want: pool.Stopped}, pool.ErrNotFound},
		"reboot of nobody":      {nil, pool.KindRebootWanted, &pool.RebootWanted{Instance: other}, pool.ErrNotFound},
		"creation of old place": {nil, pool.KindCreated, &pool.OfMachine{Machine: id.Machine(1)}, pool.ErrNotFound},
		"creation of nonsense":  {nil, pool.KindCreated, &pool.OfMachine{Machine: "x"}, pool.ErrNotFound},
		"machine of a failed one": {func(p *tape) []pool.Event {
			return []pool.Event{p.next(pool.KindFailed, &pool.Ended{Instance: id})}
		}, pool.KindObserved, &pool.Observed{Machine: id.Machine(0)}, pool.ErrNotFound},
		"life after deletion": {func(p *tape) []pool.Event {
			return []pool.Event{p.next(pool.KindWanted, &pool.Wanted{Instance: id, Want: pool.Absent})}
		}, pool.KindWanted, &pool.Wanted{Instance: id, Want: pool.Running}, pool.ErrWrongState},
		"another place after deletion": {func(p *tape) []pool.Event {
			return []pool.Event{p.next(pool.KindWanted, &pool.Wanted{Instance: id, Want: pool.Absent})}
		}, pool.KindPlaced, &pool.Placed{Instance: id, Place: place("d/h01", 1)}, pool.ErrWrongState},
		"move of nobody":              {nil, pool.KindPlaced, &pool.Placed{Instance: other, Place: place("d/h01", 1)}, pool.ErrNotFound},
		"move to no host":             {nil, pool.KindPlaced, &pool.Placed{Instance: id, Place: place("d/h07", 1)}, pool.ErrNotFound},
		"move to no host, held":       {nil, pool.KindPlaced, &pool.Placed{Instance: id, Place: place("d/h07", 1), Hold: true}, pool.ErrNotFound},
		"move of the same machine id": {nil, pool.KindPlaced, &pool.Placed{Instance: id, Place: place("d/h01", 0)}, pool.ErrInvalid},
		"move of less":                {nil, pool.KindPlaced, &pool.Placed{Instance: id, Place: broken}, pool.ErrInvalid},
		"move of less, held":          {nil, pool.KindPlaced, &pool.Placed{Instance: id, Place: claims, Hold: true}, pool.ErrInvalid},
		"move beyond sums":            {nil, pool.KindPlaced, &pool.Placed{Instance: id, Place: huge, Hold: true}, pool.ErrOverflow},
		"end of nobody":               {nil, pool.KindDeleted, &pool.Ended{Instance: other}, pool.ErrNotFound},
		"release of nothing":          {nil, pool.KindReleased, &pool.OfMachine{Machine: id.Machine(0)}, pool.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, s, _ := setUp(t)
			for _, e := range []pool.Event{
				p.next(pool.KindTakenOver, &pool.TakenOver{Holder: "a"}),
				p.next(pool.KindLaunched, launched(everyInstance[2], pool.Placement{
					Host: "d/h00", Allocation: pool.Allocation{Resources: pool.Resources{pool.Memory: 1}}})),
			} {
				e.Epoch = 3
				require.NoError(t, s.Apply(&e))
			}
			if c.before != nil {
				for _, e := range c.before(p) {
					require.NoError(t, s.Apply(&e))
				}
			}
			before := portrait(s, true)
			o := s.Overlay()
			e := p.next(c.kind, c.payload)
			err := s.Apply(&e)
			require.ErrorIs(t, err, c.err)
			require.Equal(t, before, portrait(s, true))
			checkBooks(t, s, true)
			require.ErrorIs(t, o.Apply(&e), c.err)
			require.Equal(t, before, portrait(o, true))
			back := stored(t, e)
			require.ErrorIs(t, s.Apply(&back), c.err)
		})
	}
}

func TestEventsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change   func(*pool.Event)
		err      error
		advances bool
	}{
		"another package's kind": {func(e *pool.Event) { e.Kind = "alert.rule" }, pool.ErrUnknownKind, true},
		"newer version":          {func(e *pool.Event) { e.Version = 2 }, pool.ErrUnknownKind, true},
		"not JSON":               {func(e *pool.Event) { e.Data = []byte("{") }, pool.ErrInvalid, false},
		"wrong type":             {func(e *pool.Event) { e.Data = []byte(`{"holder":7}`) }, pool.ErrInvalid, false},
		"unknown field":          {func(e *pool.Event) { e.Data = []byte(`{"holder":"x","more":1}`) }, pool.ErrInvalid, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, s, _ := setUp(t)
			before := portrait(s, true)
			e := stored(t, p.next(pool.KindTakenOver, &pool.TakenOver{Holder: "x"}))
			c.change(&e)
			require.ErrorIs(t, s.Apply(&e), c.err)
			if c.advances {
				require.Equal(t, e.Revision, s.Head())
				require.Equal(t, e.Time, s.Time())
				delete(before, "envelope")
				after := portrait(s, true)
				delete(after, "envelope")
				require.Equal(t, before, after)
				return
			}
			require.Equal(t, before, portrait(s, true))
		})
	}
}

func TestAHostWithAHeldAllocationStays(t *testing.T) {
	t.Parallel()
	p, s, _ := setUp(t)
	id := everyInstance[3]
	for _, e := range []pool.Event{
		p.next(pool.KindLaunched, launched(id, pool.Placement{Host: "d/h01"})), // takes nothing
		p.next(pool.KindDeleted, &pool.Ended{Instance: id, Hold: true}),
	} {
		require.NoError(t, s.Apply(&e))
	}
	checkBooks(t, s, true)
	e := p.next(pool.KindHostRemoved, &pool.HostRemoved{Host: "d/h01"})
	require.ErrorIs(t, s.Apply(&e), pool.ErrInUse)
	e = p.next(pool.KindReleased, &pool.OfMachine{Machine: id.Machine(0)})
	require.NoError(t, s.Apply(&e))
	e = p.next(pool.KindHostRemoved, &pool.HostRemoved{Host: "d/h01"})
	require.NoError(t, s.Apply(&e))
	checkBooks(t, s, true)
}

func TestAFailedInstanceIsPlacedAgain(t *testing.T) {
	t.Parallel()
	p, s, id := setUp(t)
	for _, e := range []pool.Event{
		p.next(pool.KindFailed, &pool.Ended{Instance: id}),
		p.next(pool.KindPlaced, &pool.Placed{Instance: id, Place: place("d/h00", 1)}),
		p.next(pool.KindPlaced, &pool.Placed{Instance: id, Place: place("d/h00", 2)}),
	} {
		require.NoError(t, s.Apply(&e))
		checkBooks(t, s, true)
	}
	i, _ := s.Instance(id)
	require.Equal(t, []pool.HostID{"d/h00"}, i.Avoid, "each host once")
	require.Equal(t, pool.Building, i.Phase)
}

// A machine that takes the place of one that was to be put aside may be put aside too.
func TestAnInstanceWantedShelvedIsMadeAnew(t *testing.T) {
	t.Parallel()
	p, s, id := setUp(t)
	for _, e := range []pool.Event{
		p.next(pool.KindSent, &pool.OfMachine{Machine: id.Machine(0)}),
		p.next(pool.KindCreated, &pool.OfMachine{Machine: id.Machine(0)}),
		p.next(pool.KindWanted, &pool.Wanted{Instance: id, Want: pool.Shelved}),
		p.next(pool.KindRefused, &pool.Refused{Machine: id.Machine(0), Reason: "given up"}),
		p.next(pool.KindPlaced, &pool.Placed{Instance: id, Place: place("d/h00", 1)}),
	} {
		require.NoError(t, s.Apply(&e))
	}
	i, _ := s.Instance(id)
	require.False(t, i.Shelving, "nothing of it is there")
	require.Equal(t, pool.Running, i.Shelve.Want, "should it be refused in the end")
	for _, e := range []pool.Event{
		p.next(pool.KindSent, &pool.OfMachine{Machine: id.Machine(1)}),
		p.next(pool.KindCreated, &pool.OfMachine{Machine: id.Machine(1)}),
	} {
		require.NoError(t, s.Apply(&e))
	}
	i, _ = s.Instance(id)
	require.True(t, i.Shelving)
	require.Equal(t, &pool.Shelve{Want: pool.Running, Ordered: s.Head()}, i.Shelve, "no call for it has been sent before")
	for _, e := range []pool.Event{p.next(pool.KindWanted, &pool.Wanted{Instance: id, Want: pool.Running})} {
		require.NoError(t, s.Apply(&e))
	}
	i, _ = s.Instance(id)
	require.False(t, i.Shelving)
	require.Nil(t, i.Shelve)
}

func TestShrinkingAndGrowingFollowAtOnce(t *testing.T) {
	t.Parallel()
	p, s, _ := setUp(t)
	small := serverHost("d/h00")
	small.Inventory = map[pool.Class]pool.Inventory{pool.CPU: {Total: 1000}}
	small.Devices = nil
	e := p.next(pool.KindHostPut, &pool.HostPut{Host: small})
	require.NoError(t, s.Apply(&e))
	checkBooks(t, s, true)
	require.Equal(t, pool.Sum{Total: 17000, Capacity: 33000, Used: 2000, Free: 32000, Available: 32000, Overcommitted: 1000},
		s.Totals()[pool.CPU])
	h, _ := s.Host("d/h00")
	require.Equal(t, pool.Resources{pool.CPU: -1000, pool.Memory: -pool.GiB, pool.StorageSSD: -10 * pool.GiB}, h.Free())
	require.Equal(t, int64(10*pool.GiB), h.DeviceUsed["nvme0"], "a device that is gone for now keeps its claims")

	totals := s.Totals()
	totals[pool.CPU] = pool.Sum{}
	require.NotEqual(t, totals, s.Totals(), "the map is the caller's")
	e = p.next(pool.KindHostPut, &pool.HostPut{Host: serverHost("d/h00")})
	require.NoError(t, s.Apply(&e))
	checkBooks(t, s, true)
}

func TestCloneAndOverlayAreIndependent(t *testing.T) {
	t.Parallel()
	p, s, id := setUp(t)
	before := portrait(s, true)
	c, o := s.Clone(), s.Overlay()
	e := p.next(pool.KindDeleted, &pool.Ended{Instance: id, Hold: true})
	require.NoError(t, c.Apply(&e))
	checkBooks(t, c, true)
	require.NoError(t, o.Apply(&e))
	checkBooks(t, o, false)
	equal(t, c, o)
	require.Equal(t, before, portrait(s, true), "the base sees nothing of either")
	checkBooks(t, s, true)

	ofOverlay := o.Clone()
	equal(t, o, ofOverlay)
	checkBooks(t, ofOverlay, true)
	e = p.next(pool.KindReleased, &pool.OfMachine{Machine: id.Machine(0)})
	require.ErrorIs(t, s.Clone().Overlay().Overlay().Clone().Apply(&e), pool.ErrNotFound, "nothing is held in the base")
	require.NoError(t, ofOverlay.Apply(&e))
	checkBooks(t, ofOverlay, true)

	s.Absorb(o)
	equal(t, c, s)
	checkBooks(t, s, true)
}

// An overlay in used space is as good as a new one.
func TestOverlayIntoUsedSpace(t *testing.T) {
	t.Parallel()
	p, s, id := setUp(t)
	o := s.Overlay()
	e := p.next(pool.KindDeleted, &pool.Ended{Instance: id})
	require.NoError(t, o.Apply(&e))
	for n := range 20 { // more than is kept
		e := p.next(pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: pool.NewHostID("d", fmt.Sprint("more", n)), Conditions: pool.Ready}})
		require.NoError(t, o.Apply(&e))
	}
	s.OverlayInto(o) // all that is forgotten
	require.Empty(t, maps.Collect(o.ChangedHosts()))
	require.Equal(t, portrait(s, false), portrait(o, false))
	require.NoError(t, o.Apply(&e))
	s.Absorb(o)
	_, there := s.Instance(id)
	require.False(t, there)
	before := s.Clone()
	s.OverlayInto(o)
	require.Equal(t, portrait(before, false), portrait(o, false))
	s.Absorb(o)
	equal(t, before, s)
	checkBooks(t, s, true)
}

// Members join a cluster without a copy of the list each time. Who has the record from before, or goes another way from
// there, sees nothing of it.
func TestMembersJoinApart(t *testing.T) {
	t.Parallel()
	p, s, _ := setUp(t)
	put := p.next(pool.KindClusterPut, &pool.ClusterPut{Cluster: "p/web", Token: "t", Spec: pool.Spec{Image: "debian-12"}, Image: pool.Image{Name: "debian-12", User: "debian"}})
	require.NoError(t, s.Apply(&put))
	join := func(st *pool.State, index int) *pool.Cluster {
		e := p.next(pool.KindLaunched, &pool.Launched{
			Instance: pool.NewClusterMember("L", "p/web", "t", index), Name: "web-" + fmt.Sprint(index), Want: pool.Running,
			Place: pool.Placement{Host: "d/h00", Allocation: pool.Allocation{Resources: pool.Resources{pool.CPU: 1}}}, Cluster: "p/web", Index: index,
		})
		require.NoError(t, st.Apply(&e))
		c, _ := st.Cluster("p/web")
		return c
	}
	o := s.Overlay()
	for n := range 5 { // which leaves space behind the last
		join(o, n)
	}
	kept, _ := o.Cluster("p/web")
	other, copied := o.Overlay(), o.Clone()
	apart, cloned := join(other, 10), join(copied, 20)
	mine := join(o, 30)
	require.Equal(t, []int{0, 1, 2, 3, 4}, kept.Members)
	require.Equal(t, []int{0, 1, 2, 3, 4, 10}, apart.Members)
	require.Equal(t, []int{0, 1, 2, 3, 4, 20}, cloned.Members)
	require.Equal(t, []int{0, 1, 2, 3, 4, 30}, mine.Members)
	s.Absorb(o)
	again := s.Clone()
	first, second := join(s, 40), join(again, 50)
	require.Equal(t, []int{0, 1, 2, 3, 4, 30, 40}, first.Members)
	require.Equal(t, []int{0, 1, 2, 3, 4, 30, 50}, second.Members)
	acted := func(st *pool.State, index int) *pool.Cluster {
		e := p.next(pool.KindClusterActed, &pool.ClusterActed{Cluster: "p/web", Size: 9})
		require.NoError(t, st.Apply(&e))
		return join(st, index)
	}
	o = s.Overlay()
	join(o, 60)
	s.Absorb(o)
	left, right := s.Overlay(), s.Overlay()
	first, second = acted(left, 61), acted(right, 62)
	require.Equal(t, []int{0, 1, 2, 3, 4, 30, 40, 60, 61}, first.Members)
	require.Equal(t, []int{0, 1, 2, 3, 4, 30, 40, 60, 62}, second.Members)
}

func TestChangedHostsOfAnOverlay(t *testing.T) {
	t.Parallel()
	p, s, id := setUp(t)
	o := s.Overlay()
	require.Empty(t, maps.Collect(o.ChangedHosts()))
	require.Empty(t, maps.Collect(o.ChangedInstances()))
	require.True(t, o.Over(s))
	require.False(t, s.Over(o) || s.Over(s) || s.Over(nil) || o.Overlay().Over(s))
	e := p.next(pool.KindDeleted, &pool.Ended{Instance: id})
	require.NoError(t, o.Apply(&e))
	h, _ := o.Host("d/h00")
	require.Equal(t, map[pool.HostID]*pool.HostRecord{"d/h00": h}, maps.Collect(o.ChangedHosts()))
	e = p.next(pool.KindHostRemoved, &pool.HostRemoved{Host: "d/h00"})
	require.NoError(t, o.Apply(&e))
	require.Equal(t, map[pool.HostID]*pool.HostRecord{"d/h00": nil}, maps.Collect(o.ChangedHosts()))
	require.Equal(t, []pool.HostID{"d/h00", "d/h00"}, o.HostChanges())
	over := o.Overlay()
	require.Empty(t, over.HostChanges())
	e = p.next(pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: "d/h99"}})
	require.NoError(t, over.Apply(&e))
	o.Absorb(over)
	require.Equal(t, []pool.HostID{"d/h00", "d/h00", "d/h99"}, o.HostChanges())
	require.Equal(t, e.Revision, o.Head())
	require.Equal(t, map[pool.InstanceID]*pool.Instance{id: nil}, maps.Collect(o.ChangedInstances()))
	require.Equal(t, o.Totals()[pool.CPU], o.Total(pool.CPU))
	require.Zero(t, o.Total("licence"))
}

func first[T any](seq iter.Seq[T]) (v T) {
	for v = range seq {
		break
	}
	return v
}

func TestIterationMayStopEarly(t *testing.T) {
	t.Parallel()
	p, s, id := setUp(t)
	e := p.next(pool.KindWanted, &pool.Wanted{Instance: id, Want: pool.Stopped})
	require.NoError(t, s.Apply(&e))
	e = p.next(pool.KindPlaced, &pool.Placed{Instance: id, Place: place("d/h01", 1), Hold: true})
	require.NoError(t, s.Apply(&e))
	require.NotNil(t, first(s.Hosts()))
	require.NotNil(t, first(s.Instances()))
	require.NotNil(t, first(s.Held()))
	require.NotNil(t, first(s.Images()))
	require.NotNil(t, first(s.Flavors()))
	require.NotNil(t, first(s.Projects()))
	require.NotNil(t, first(s.Unsettled()))
	require.NotNil(t, first(s.InstancesOn("d/h01")))
	require.NotNil(t, first(s.HeldOn("d/h00")))
	require.True(t, slices.IsSortedFunc(s.SortedHosts(), func(a, b *pool.HostRecord) int { return cmp.Compare(a.ID, b.ID) }))
	_, ok := s.Image("debian-12")
	require.True(t, ok)
	_, ok = s.Flavor("small")
	require.True(t, ok)
	require.Equal(t, "p", first(s.Projects()).Name)
}
