package fake_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// A hypervisor that is full says so, class by class and device by device.
func TestRoom(t *testing.T) {
	t.Parallel()
	disk := func(size int64, s pool.Storage) pool.Disk { return pool.Disk{Size: size, Storage: s} }
	for name, tc := range map[string]struct {
		change func(*hypervisor.Order)
		kind   error
		says   string
	}{
		"fits":             {change: func(o *hypervisor.Order) {}},
		"all the memory":   {change: func(o *hypervisor.Order) { o.Spec.Resources[pool.Memory] = 60 * pool.GiB }},
		"too much memory":  {func(o *hypervisor.Order) { o.Spec.Resources[pool.Memory] = 60*pool.GiB + 1 }, hypervisor.ErrRefused, "memory: 60 GiB asked for, 60 GiB free"},
		"overflowing":      {func(o *hypervisor.Order) { o.Spec.Resources[pool.Memory] = math.MaxInt64 }, hypervisor.ErrRefused, "memory"},
		"cores are shared": {change: func(o *hypervisor.Order) { o.Spec.Resources[pool.CPU] = 1000 * pool.Core }},
		"IOPS are shared":  {change: func(o *hypervisor.Order) { o.Spec.Disks[0].IOPS = 1e9 }},
		"an own class":     {change: func(o *hypervisor.Order) { o.Spec.Resources["licence.oracle"] = 1 }},
		"a whole pool":     {change: func(o *hypervisor.Order) { o.Spec.Disks[0].Size = pool.TiB }},
		"two whole pools": {change: func(o *hypervisor.Order) {
			o.Spec.Disks = []pool.Disk{disk(pool.TiB, pool.SSD), disk(pool.TiB, pool.SSD)}
		}},
		"more than a pool": {func(o *hypervisor.Order) { o.Spec.Disks[0].Size = pool.TiB + 1 }, hypervisor.ErrRefused, `storage.ssd on "ssd-1": 1 TiB asked for, 1 TiB free`},
		"three of two": {func(o *hypervisor.Order) {
			o.Spec.Disks = []pool.Disk{disk(pool.TiB, pool.SSD), disk(pool.TiB, pool.SSD), disk(1, pool.SSD)}
		}, hypervisor.ErrRefused, "storage.ssd"},
		"no such storage": {func(o *hypervisor.Order) { o.Spec.Disks[0].Storage = pool.NVMe }, hypervisor.ErrRefused, "the host has no storage.nvme"},
		"GPUs":            {change: func(o *hypervisor.Order) { o.Spec.Resources[pool.GPU] = 2 }},
		"too many GPUs":   {func(o *hypervisor.Order) { o.Spec.Resources[pool.GPU] = 3 }, hypervisor.ErrRefused, "gpu"},
		"absurdly many":   {func(o *hypervisor.Order) { o.Spec.Resources[pool.GPU] = math.MaxInt64 }, hypervisor.ErrRefused, "gpu"},
		"claimed pool": {change: func(o *hypervisor.Order) {
			o.Allocation.Claims = []pool.Claim{{Device: "ssd-2", Class: pool.StorageSSD, Amount: 1}}
		}},
		"unknown pool": {func(o *hypervisor.Order) {
			o.Allocation.Claims = []pool.Claim{{Device: "ssd-9", Class: pool.StorageSSD}}
		}, hypervisor.ErrRefused, `no device "ssd-9"`},
		"pool of another": {func(o *hypervisor.Order) {
			o.Allocation.Claims = []pool.Claim{{Device: "gpu-1", Class: pool.StorageSSD}}
		}, hypervisor.ErrRefused, `no device "gpu-1"`},
		"claim for no disk": {func(o *hypervisor.Order) {
			o.Allocation.Claims = []pool.Claim{{Device: "ssd-1", Class: pool.StorageSSD, Disk: 1}}
		}, hypervisor.ErrRefused, "for no disk"},
		"negative claim": {func(o *hypervisor.Order) {
			o.Allocation.Claims = []pool.Claim{{Device: "gpu-1", Class: pool.GPU, Amount: -1}}
		}, hypervisor.ErrRefused, "gpu-1"},
		"unknown image": {func(o *hypervisor.Order) { o.Source = "elsewhere" }, hypervisor.ErrRefused, `no image "elsewhere"`},
		"unknown shape": {func(o *hypervisor.Order) { o.Allocation.Shape = "s1" }, hypervisor.ErrRefused, `no shape "s1"`},
		"no image":      {func(o *hypervisor.Order) { o.Source = "" }, hypervisor.ErrInvalid, "source"},
		"no name":       {func(o *hypervisor.Order) { o.Name = "Web 1" }, hypervisor.ErrInvalid, "name"},
		"no tag":        {func(o *hypervisor.Order) { o.Tag = hypervisor.Tag{} }, hypervisor.ErrInvalid, "tag"},
		"no ledger":     {func(o *hypervisor.Order) { o.Ledger = "" }, hypervisor.ErrInvalid, "tag"},
		"negative":      {func(o *hypervisor.Order) { o.Spec.Resources[pool.Memory] = -1 }, hypervisor.ErrInvalid, "memory"},
		"overflowing disks": {func(o *hypervisor.Order) {
			o.Spec.Disks = []pool.Disk{disk(math.MaxInt64, pool.SSD), disk(1, pool.SSD)}
		}, hypervisor.ErrInvalid, "overflow"},
		"a container":       {func(o *hypervisor.Order) { o.Spec.Kind = pool.Container }, hypervisor.ErrRefused, "the host runs no container"},
		"a kind unheard of": {func(o *hypervisor.Order) { o.Spec.Kind = "jail" }, hypervisor.ErrInvalid, "kind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := on(fake.Config{Images: []string{"image"}})
			before := d.Inspect()
			o := order("fake/a", 1)
			tc.change(&o)
			err := d.Create(t.Context(), o)
			if tc.kind == nil {
				require.NoError(t, err)
				demand, err := o.Spec.Demand()
				require.NoError(t, err)
				v, _ := d.InspectHost("fake/a")
				require.True(t, demand.Equal(v.Used), "%v instead of %v", v.Used, demand)
				require.Empty(t, v.Over)
				require.NoError(t, d.Destroy(t.Context(), o.Ref))
			} else {
				require.ErrorIs(t, err, tc.kind)
				require.ErrorContains(t, err, tc.says)
			}
			require.Equal(t, before, d.Inspect())
		})
	}
}

// Room that is taken is given back, and a device that is full sends the next disk to another.
func TestRoomIsTakenAndGivenBack(t *testing.T) {
	t.Parallel()
	d := on(fake.Config{})
	var made []hypervisor.Order
	for i := 0; ; i++ {
		o := order("fake/a", i)
		o.Spec.Disks[0].Size = 300 * pool.GiB
		if err := d.Create(t.Context(), o); err != nil {
			require.ErrorIs(t, err, hypervisor.ErrRefused)
			require.ErrorContains(t, err, "storage.ssd")
			break
		}
		made = append(made, o)
	}
	require.Len(t, made, 6, "three in each pool of 1 TiB")
	v, _ := d.InspectHost("fake/a")
	require.Equal(t, map[string]int64{"ssd-1": 900 * pool.GiB, "ssd-2": 900 * pool.GiB}, v.Devices)
	require.NoError(t, d.Destroy(t.Context(), made[0].Ref))
	o := order("fake/a", 100)
	o.Spec.Disks[0].Size = 300 * pool.GiB
	require.NoError(t, d.Create(t.Context(), o))
	require.Empty(t, d.Overfills())
}

// With Overfill nothing is refused for lack of room, and the record says what is too much.
func TestOverfill(t *testing.T) {
	t.Parallel()
	d := on(fake.Config{Overfill: true})
	big := order("fake/a", 1)
	big.Spec.Resources[pool.Memory] = 59 * pool.GiB
	require.NoError(t, d.Create(t.Context(), big))
	require.NoError(t, d.Create(t.Context(), order("fake/a", 2)))
	require.Empty(t, d.Overfills())
	over := order("fake/a", 3)
	over.Allocation.Claims = []pool.Claim{{Device: "ssd-1", Class: pool.StorageSSD}}
	over.Spec.Disks[0].Size = pool.TiB
	require.NoError(t, d.Create(t.Context(), over))
	v, _ := d.InspectHost("fake/a")
	require.Equal(t, []string{"memory", "ssd-1"}, v.Over)
	got := d.Overfills()
	require.Len(t, got, 2)
	require.Equal(t, over.Ref, got[0].Machine)
	require.Equal(t, "memory", got[0].What)
	require.Equal(t, 61*pool.GiB, got[0].Used)
	require.Equal(t, 60*pool.GiB, got[0].Capacity)
	require.Equal(t, "ssd-1", got[1].What)

	// But what cannot be counted is refused.
	huge := order("fake/a", 4)
	huge.Spec.Resources[pool.Memory] = math.MaxInt64
	require.ErrorIs(t, d.Create(t.Context(), huge), hypervisor.ErrRefused)
	huge = order("fake/a", 4)
	huge.Spec.Resources[pool.CPU] = math.MaxInt64
	require.ErrorIs(t, d.Create(t.Context(), huge), hypervisor.ErrRefused)
}

// An aggregate books shapes, and containers run where they can.
func TestShapesAndContainers(t *testing.T) {
	t.Parallel()
	region := pool.Host{
		ID:        "fake/region",
		Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 100 * pool.Core}, pool.Memory: {Total: 10 * pool.GiB}, pool.StorageStandard: {Total: pool.TiB}},
		Shapes:    []pool.Shape{{Name: "s1", Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 4 * pool.GiB, pool.StorageStandard: 20 * pool.GiB}}},
	}
	d := fake.New(fake.Config{Hosts: []pool.Host{region}, Kinds: []pool.Kind{pool.Container}})
	seen, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []pool.Kind{pool.Container}, seen[0].Kinds)
	for i := range 3 {
		o := order("fake/region", i)
		o.Spec.Kind = pool.Container
		o.Allocation = pool.Allocation{Shape: "s1", Resources: region.Shapes[0].Resources}
		err := d.Create(t.Context(), o)
		if i < 2 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, hypervisor.ErrRefused)
		}
	}
	require.ErrorIs(t, d.Create(t.Context(), order("fake/region", 9)), hypervisor.ErrRefused, "a virtual machine")
}

func TestBootTakesTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{Boot: 20 * time.Second, Build: 5 * time.Second, Shutdown: 3 * time.Second})
		o := order("fake/a", 1)
		begin := time.Now()
		took := func(d time.Duration) {
			t.Helper()
			require.Equal(t, d, time.Since(begin))
			begin = time.Now()
		}
		addresses := func() []string {
			list, err := d.Machines(t.Context(), "fake/a")
			require.NoError(t, err)
			return list[0].Addresses
		}
		require.NoError(t, d.Create(t.Context(), o))
		took(5 * time.Second)
		require.NoError(t, d.Start(t.Context(), o.Ref))
		took(0)
		require.Equal(t, pool.Running, power(d, o.Ref))
		require.Empty(t, addresses())
		log, err := d.Log(t.Context(), o.Ref, 1000)
		require.NoError(t, err)
		require.NotContains(t, string(log), "login:")
		time.Sleep(20 * time.Second)
		first := addresses()
		require.Len(t, first, 1)
		log, err = d.Log(t.Context(), o.Ref, 1000)
		require.NoError(t, err)
		require.Contains(t, string(log), "web-1 login:")
		require.NoError(t, d.Reboot(t.Context(), o.Ref))
		require.Empty(t, addresses())
		time.Sleep(20 * time.Second)
		require.Equal(t, first, addresses())
		begin = time.Now()
		require.NoError(t, d.Stop(t.Context(), o.Ref))
		took(3 * time.Second)
		require.Empty(t, addresses())
		require.Equal(t, fake.Count{Calls: 6, Creates: 1, Starts: 1, Stops: 1, Reboots: 1}, d.CountOf(o.Machine))
	})
}

func TestAddressesAreTheirOwn(t *testing.T) {
	t.Parallel()
	d := on(fake.Config{Overfill: true})
	seen := make(map[string]bool)
	for i := range 600 {
		o := order("fake/a", i)
		require.NoError(t, d.Create(t.Context(), o))
		require.NoError(t, d.Start(t.Context(), o.Ref))
	}
	list, err := d.Machines(t.Context(), "fake/a")
	require.NoError(t, err)
	for _, m := range list {
		require.Len(t, m.Addresses, 1)
		require.False(t, seen[m.Addresses[0]], m.Addresses)
		seen[m.Addresses[0]] = true
	}
}

// What others have: reserved when it carries no tag, in the way when it stands where ours would, never
// touched, and told of when it is.
func TestForeignMachines(t *testing.T) {
	t.Parallel()
	d := on(fake.Config{})
	ours := order("fake/a", 1)
	theirs := ours
	theirs.Ledger = "another"
	at := hypervisor.Ref{Host: "fake/a"}

	native, err := d.AddForeign(hypervisor.Machine{Ref: at, Name: "db", Power: pool.Running, Addresses: []string{"10.9.9.9"},
		Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 20 * pool.GiB, pool.StorageSSD: 100 * pool.GiB, pool.GPU: 1}})
	require.NoError(t, err)
	require.NotEmpty(t, native)
	_, err = d.AddForeign(hypervisor.Machine{Ref: theirs.Ref, Native: string(theirs.Machine), Power: pool.Running, Resources: pool.Resources{pool.Memory: pool.GiB}})
	require.NoError(t, err)

	hosts, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.Equal(t, 24*pool.GiB, hosts[0].Inventory[pool.Memory].Reserved, "4 of the host, 20 of the untagged machine")
	require.Equal(t, 100*pool.GiB, hosts[0].Inventory[pool.StorageSSD].Reserved)
	require.Equal(t, int64(1), hosts[0].Inventory[pool.GPU].Reserved)
	require.Equal(t, 4*pool.GiB, hosts[1].Inventory[pool.Memory].Reserved)

	list, err := d.Machines(t.Context(), "fake/a")
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, []string{"10.9.9.9"}, list[0].Addresses)

	require.ErrorIs(t, d.Create(t.Context(), ours), hypervisor.ErrExists)
	require.ErrorIs(t, d.Destroy(t.Context(), ours.Ref), hypervisor.ErrForeign)
	require.ErrorIs(t, d.Start(t.Context(), ours.Ref), hypervisor.ErrForeign)
	require.Empty(t, d.Touched())
	big := order("fake/a", 2)
	big.Spec.Resources[pool.Memory] = 40 * pool.GiB
	require.ErrorIs(t, d.Create(t.Context(), big), hypervisor.ErrRefused, "36 are free: 60, 20 reserved, 1 of the other ledger, and 3 are too few")
	big.Spec.Resources[pool.Memory] = 39 * pool.GiB
	require.NoError(t, d.Create(t.Context(), big))

	// Under its own tag it can be acted on, and that is told.
	require.NoError(t, d.Stop(t.Context(), theirs.Ref))
	require.NoError(t, d.Destroy(t.Context(), theirs.Ref))
	touched := d.Touched()
	require.Len(t, touched, 2)
	require.Equal(t, fake.Touch{Ref: theirs.Ref, Native: string(theirs.Machine), Op: fake.OpStop}, touched[0])
	require.Equal(t, fake.OpDestroy, touched[1].Op)

	require.ErrorIs(t, d.RemoveForeign("fake/a", string(big.Machine)), pool.ErrInvalid, "that one is ours")
	require.NoError(t, d.RemoveForeign("fake/a", native))
	require.NoError(t, d.RemoveForeign("fake/a", native))
	hosts, err = d.Hosts(t.Context())
	require.NoError(t, err)
	require.Equal(t, 4*pool.GiB, hosts[0].Inventory[pool.Memory].Reserved)

	for name, bad := range map[string]struct {
		machine hypervisor.Machine
		claims  []pool.Claim
		kind    error
	}{
		"no host":     {machine: hypervisor.Machine{Ref: hypervisor.Ref{Host: "fake/x"}}, kind: pool.ErrNotFound},
		"twice":       {machine: hypervisor.Machine{Ref: at, Native: string(big.Machine)}, kind: pool.ErrExists},
		"power":       {machine: hypervisor.Machine{Ref: at, Power: "on"}, kind: pool.ErrInvalid},
		"negative":    {machine: hypervisor.Machine{Ref: at, Resources: pool.Resources{pool.Memory: -1}}, kind: pool.ErrInvalid},
		"overflowing": {machine: hypervisor.Machine{Ref: at, Resources: pool.Resources{pool.Memory: math.MaxInt64}}, kind: pool.ErrInvalid},
		"device":      {machine: hypervisor.Machine{Ref: at, Resources: pool.Resources{pool.GPU: 1}}, claims: []pool.Claim{{Device: "x", Class: pool.GPU, Amount: 1}}, kind: pool.ErrInvalid},
		"claims":      {machine: hypervisor.Machine{Ref: at}, claims: []pool.Claim{{Device: "gpu-1", Class: pool.GPU, Amount: 1}}, kind: pool.ErrInvalid},
	} {
		before := d.Inspect()
		_, err := d.AddForeign(bad.machine, bad.claims...)
		require.ErrorIs(t, err, bad.kind, name)
		require.Equal(t, before, d.Inspect(), name)
	}
}

// Two copies of one instance that run at the same time are told, on whatever host and under whatever placement.
func TestDoubles(t *testing.T) {
	t.Parallel()
	d := on(fake.Config{Copies: true})
	first := order("fake/a", 1)
	id, _, _ := first.Machine.Split()
	second := order("fake/b", 1)
	second.Machine = id.Machine(1)
	stranger := second
	stranger.Ledger, stranger.Host = "another", "fake/a"
	for _, o := range []hypervisor.Order{first, second, stranger} {
		require.NoError(t, d.Create(t.Context(), o))
	}
	require.NoError(t, d.Start(t.Context(), first.Ref))
	require.NoError(t, d.Start(t.Context(), stranger.Ref))
	require.NoError(t, d.Start(t.Context(), first.Ref))
	require.Empty(t, d.Doubles())
	require.NoError(t, d.Suspend(t.Context(), first.Ref))
	require.NoError(t, d.Start(t.Context(), second.Ref))
	require.Empty(t, d.Doubles(), "the first does not run")
	require.NoError(t, d.Resume(t.Context(), first.Ref))
	doubles := d.Doubles()
	require.Len(t, doubles, 1)
	require.Equal(t, id, doubles[0].Instance)
	require.Equal(t, first.Ref, doubles[0].Started)
	require.NoError(t, d.Stop(t.Context(), first.Ref))
	require.NoError(t, d.SetHostState("fake/b", fake.Dead))
	require.NoError(t, d.Start(t.Context(), first.Ref))
	require.Len(t, d.Doubles(), 1)

	// A second copy of the same id on the same host counts too.
	require.NoError(t, d.Create(t.Context(), first))
	v, _ := d.InspectHost("fake/a")
	require.Len(t, v.Machines, 3)
	require.Equal(t, 2, d.CountOf(first.Machine).Creates)
	require.NoError(t, d.Destroy(t.Context(), first.Ref))
	require.Equal(t, pool.Absent, power(d, first.Ref))
	require.Equal(t, 2, d.CountOf(first.Machine).Destroys)
	require.Len(t, d.Counts(), 2)
}

// What is left of a create that broke off takes room, is in no list, and goes with the next create or destroy.
func TestDebris(t *testing.T) {
	t.Parallel()
	for _, copies := range []bool{false, true} {
		d := on(fake.Config{Copies: copies, Hook: scripted(fake.OpCreate, 1, fake.Fault{Kind: fake.Spoil})})
		o := order("fake/a", 1)
		require.Error(t, d.Create(t.Context(), o))
		list, err := d.Machines(t.Context(), "fake/a")
		require.NoError(t, err)
		require.Empty(t, list)
		v, _ := d.InspectHost("fake/a")
		require.Equal(t, pool.GiB, v.Used[pool.Memory])
		require.ErrorIs(t, d.Start(t.Context(), o.Ref), hypervisor.ErrNotFound)
		require.Zero(t, d.CountOf(o.Machine).Creates)
		if copies {
			require.NoError(t, d.Create(t.Context(), o))
			v, _ = d.InspectHost("fake/a")
			require.Len(t, v.Machines, 1)
			require.Equal(t, pool.Stopped, v.Machines[0].Power)
		}
		require.NoError(t, d.Destroy(t.Context(), o.Ref))
		v, _ = d.InspectHost("fake/a")
		require.Empty(t, v.Machines)
		require.Empty(t, v.Used)
	}
}

func TestUnsupported(t *testing.T) {
	t.Parallel()
	d := on(fake.Config{Without: abilities(), Settles: -1, Copies: true})
	require.Equal(t, hypervisor.Capabilities{FirstBoot: true}, d.Describe("fake/a"))
	require.Empty(t, hypervisor.CapabilitiesOf(d, "fake/a").Abilities)
}

// The sums of a host are those of its machines, whatever many callers do at the same time.
func TestSumsAreExact(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		d := on(fake.Config{
			Seed: seed, Copies: seed%2 == 0, Overfill: seed%3 == 0,
			Faults: fake.Faults{Refuse: 0.05, Unavailable: 0.05, Lose: 0.1, Duplicate: 0.1, Spoil: 0.1, Drop: 0.05},
		})
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(w)))
				for range 100 {
					o := order([]pool.HostID{"fake/a", "fake/b"}[r.IntN(2)], r.IntN(40))
					o.Spec.Resources[pool.Memory] = int64(1+r.IntN(8)) * pool.GiB
					o.Spec.Disks[0].Size = int64(1+r.IntN(200)) * pool.GiB
					switch r.IntN(10) {
					case 7:
						_ = d.Resize(t.Context(), o)
					case 8:
						_ = d.Migrate(t.Context(), o.Ref, to(o, pool.HostID([]string{"fake/a", "fake/b"}[r.IntN(2)])))
					case 9:
						_ = d.Shelve(t.Context(), o.Ref)
						for _, m := range d.Shelf() {
							if r.IntN(2) == 0 {
								_ = d.Unshelve(t.Context(), o, m.Ref)
							}
							_ = d.Discard(t.Context(), m.Ref)
						}
						_, _ = d.Fence(t.Context(), o.Host)
						_ = d.SetHostState(o.Host, fake.Up)
					case 0, 1, 2:
						_ = d.Create(t.Context(), o)
					case 3:
						_ = d.Start(t.Context(), o.Ref)
					case 4:
						_ = d.Suspend(t.Context(), o.Ref)
					case 5:
						_ = d.Destroy(t.Context(), o.Ref)
					case 6:
						switch r.IntN(10) {
						case 0:
							_ = d.SetHostState(o.Host, []fake.HostState{fake.Dead, fake.CutOff}[r.IntN(2)])
						case 1:
							_, _ = d.AddForeign(hypervisor.Machine{Ref: o.Ref})
						default:
							_ = d.SetHostState(o.Host, fake.Up)
						}
					}
				}
			})
		}
		wg.Wait()
		audit(t, d, seed%3 == 0)
	}
}

// audit compares the sums with the machines.
func audit(t *testing.T, d *fake.Driver, overfill bool) {
	t.Helper()
	for _, v := range d.Inspect() {
		used, devices := pool.Resources{}, map[string]int64{}
		for _, m := range v.Machines {
			if m.Tag == (hypervisor.Tag{}) {
				continue
			}
			var err error
			used, err = used.Add(m.Demand)
			require.NoError(t, err)
			for _, c := range m.Claims {
				devices[c.Device] += c.Amount
			}
		}
		require.True(t, used.Equal(v.Used), "%v instead of %v", v.Used, used)
		require.Equal(t, devices, v.Devices)
		if !overfill {
			for _, o := range v.Over {
				require.Fail(t, "over capacity", "%s of %s: %v", o, v.Host.ID, v.Used)
			}
		}
	}
	if !overfill {
		require.Empty(t, d.Overfills())
	}
}

// Concurrent creates of one id make one machine where ids are known, and as many as there were where not.
func TestCreatesRace(t *testing.T) {
	t.Parallel()
	for i := range 100 {
		copies := i%2 == 1
		d := on(fake.Config{Copies: copies})
		o := order("fake/a", i)
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for w := range errs {
			wg.Go(func() { errs[w] = d.Create(t.Context(), o) })
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
			} else {
				require.ErrorIs(t, err, hypervisor.ErrExists)
			}
		}
		want := 1
		if copies {
			want = len(errs)
		}
		require.Equal(t, want, made)
		require.Equal(t, want, d.CountOf(o.Machine).Creates)
	}
}

func TestCallsAreCounted(t *testing.T) {
	t.Parallel()
	var calls []fake.Call
	d := on(fake.Config{Hook: func(c fake.Call) fake.Fault {
		calls = append(calls, c)
		return fake.Fault{}
	}})
	o := order("fake/a", 1)
	require.NoError(t, d.Create(t.Context(), o))
	require.NoError(t, d.Start(t.Context(), o.Ref))
	for range 2 {
		_, err := d.Machines(t.Context(), "fake/b")
		require.NoError(t, err)
		_, err = d.Hosts(t.Context())
		require.NoError(t, err)
	}
	b := hypervisor.Ref{Host: "fake/b"}
	require.Equal(t, []fake.Call{
		{Op: fake.OpCreate, Ref: o.Ref, N: 1}, {Op: fake.OpStart, Ref: o.Ref, N: 2},
		{Op: fake.OpMachines, Ref: b, N: 1}, {Op: fake.OpHosts, N: 1}, {Op: fake.OpMachines, Ref: b, N: 2}, {Op: fake.OpHosts, N: 2},
	}, calls)
	require.Equal(t, map[fake.Op]int{fake.OpCreate: 1, fake.OpStart: 1, fake.OpMachines: 2, fake.OpHosts: 2}, d.Calls())
	require.Equal(t, "create", fmt.Sprint(fake.OpCreate))
}

// An aggregate may have less room than its inventory says, and find out late.
func TestAggregateWithoutRoom(t *testing.T) {
	t.Parallel()
	region := pool.Host{
		ID:        "fake/region",
		Inventory: map[pool.Class]pool.Inventory{pool.Memory: {Total: 64 * pool.GiB}},
		Shapes:    []pool.Shape{{Name: "s1", Resources: pool.Resources{pool.Memory: pool.GiB}}, {Name: "s2", Resources: pool.Resources{pool.Memory: 2 * pool.GiB}}},
	}
	sized := func(n int, shape pool.Shape) hypervisor.Order {
		o := order("fake/region", n)
		o.Allocation = pool.Allocation{Shape: shape.Name, Resources: shape.Resources}
		return o
	}
	small := func(n int) hypervisor.Order { return sized(n, region.Shapes[0]) }
	for name, room := range map[string]fake.Room{
		"refuses": {}, "gives up at once": {Accepts: true}, "gives up later": {Accepts: true, After: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := fake.New(fake.Config{Hosts: []pool.Host{region}})
				defer func() { require.NoError(t, d.Close()) }()
				room.Resources = pool.Resources{pool.Memory: 3 * pool.GiB}
				require.NoError(t, d.SetRoom(region.ID, room))
				faults := func() (out []string) {
					list, err := d.Machines(t.Context(), region.ID)
					require.NoError(t, err)
					for _, m := range list {
						require.Equal(t, m.Full, m.Fault != "")
						if out = append(out, ""); m.Full {
							out[len(out)-1] = "full"
							require.Contains(t, m.Fault, "no valid host was found: memory: 2 GiB asked for, 1 GiB free")
						}
					}
					return out
				}
				for n := range 2 {
					require.NoError(t, d.Create(t.Context(), small(n)))
				}
				large := sized(2, region.Shapes[1])
				err := d.Create(t.Context(), large)
				if !room.Accepts {
					require.ErrorIs(t, err, hypervisor.ErrRefused)
					require.ErrorIs(t, err, hypervisor.ErrFull)
					require.NoError(t, d.Create(t.Context(), small(3)), "a smaller one")
					return
				}
				require.NoError(t, err)
				require.NoError(t, d.Create(t.Context(), small(3)), "the one that it has no room for takes none")
				if room.After > 0 {
					require.Equal(t, []string{"", "", "", ""}, faults())
					require.ErrorIs(t, d.Start(t.Context(), large.Ref), hypervisor.ErrWrongPower)
					time.Sleep(room.After)
					synctest.Wait()
				}
				require.Equal(t, []string{"", "", "full", ""}, faults())
				require.ErrorIs(t, d.Start(t.Context(), large.Ref), hypervisor.ErrRefused)
				require.NoError(t, d.Start(t.Context(), small(3).Ref))
				require.NoError(t, d.Destroy(t.Context(), large.Ref))

				require.NoError(t, d.SetRoom(region.ID, fake.Room{}))
				large.Machine += "9"
				require.NoError(t, d.Create(t.Context(), large))
				require.NotContains(t, faults(), "full")
			})
		})
	}
	d := fake.New(fake.Config{Hosts: []pool.Host{region, fake.Fleet("fake", 1, 1)[0]}})
	require.ErrorIs(t, d.SetRoom("fake/node-0001", fake.Room{}), pool.ErrNotFound)
	require.ErrorIs(t, d.SetRoom("fake/none", fake.Room{}), pool.ErrNotFound)
	require.ErrorIs(t, d.SetRoom(region.ID, fake.Room{Resources: pool.Resources{pool.Memory: -1}}), pool.ErrInvalid)
	require.NoError(t, d.Close())
	require.ErrorIs(t, d.SetRoom(region.ID, fake.Room{}), pool.ErrUnavailable)
}
