package hetzner_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hetzner"
	"github.com/berthage/berthage/hypervisor/hetzner/hetznertest"
	"github.com/berthage/berthage/pool"
)

func fast() hetznertest.CloudConfig {
	return hetznertest.CloudConfig{ActionTime: time.Millisecond, ShutdownTime: time.Millisecond}
}

// placed fills in what the scheduler would, for the n-th instance.
func placed(o hypervisor.Order, location string, n int) hypervisor.Order {
	o.Spec = o.Spec.Clone()
	o.Ref = hypervisor.Ref{Host: pool.NewHostID("hetzner", location), Tag: hypervisor.Tag{
		Ledger: "ledger", Machine: pool.NewInstanceID("ledger", "p", strconv.Itoa(n)).Machine(0), Launched: pool.Revision(n + 1)}}
	o.Name, o.Revision, o.Allocation = "web-"+strconv.Itoa(n), pool.Revision(n+1), allocation("small")
	return o
}

// body returns the last request of that kind, as it was sent.
func body(t *testing.T, f *hetznertest.Cloud, method, path string) map[string]any {
	t.Helper()
	all := f.Requests(method, path)
	require.NotEmpty(t, all)
	var out map[string]any
	require.NoError(t, json.Unmarshal([]byte(all[len(all)-1].Body), &out))
	return out
}

// The request that creates, word for word: a table of our own beside the description's judgement.
func TestCreateRequest(t *testing.T) {
	t.Parallel()
	f := cloud(t, fast())
	f.AddKey("ops")
	f.AddNetwork("backend")
	f.AddGroup("web")
	c := config(t, f)
	c.SSHKeys, c.GroupLabel, c.Public = []string{"ops"}, "spread", hetzner.OnlyIPv6
	d := open(t, c)
	o := placed(order("debian-12"), "fsn1", 0)
	o.Spec.Networks = []pool.Network{{}, {Name: "backend"}}
	o.Spec.Labels = map[string]string{"spread": "web"}
	o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: pool.GiB, Storage: pool.SSD, Mount: "/data"}, pool.Disk{Size: 10*pool.GiB + 1, Storage: pool.Standard})
	require.NoError(t, d.Create(t.Context(), o))

	sent := body(t, f, http.MethodPost, "^/servers$")
	data, _ := sent["user_data"].(string)
	labels, _ := sent["labels"].(map[string]any)
	require.NotEmpty(t, labels["berthage-attempt"])
	delete(labels, "berthage-attempt")
	for _, key := range []string{"user_data", "volumes", "networks", "ssh_keys", "placement_group", "image"} {
		require.NotEmpty(t, sent[key], key)
		delete(sent, key)
	}
	require.Equal(t, map[string]any{
		"name": name(o.Ref), "server_type": "small", "location": "fsn1", "start_after_create": false, "automount": false,
		"public_net": map[string]any{"enable_ipv4": false, "enable_ipv6": true},
		"labels": map[string]any{"berthage-ledger": "ledger", "berthage-machine": string(o.Machine), "berthage-launched": "1", "berthage-host": "fsn1",
			"berthage-revision": "1", "berthage-root": "10737418240"},
	}, sent)
	require.Contains(t, data, `hostname: "web-0"`)
	require.Contains(t, data, `"name":"debian"`)
	require.Regexp(t, `\["/dev/disk/by-id/scsi-0HC_Volume_[0-9]+","/data"`, data)

	s := f.Servers()[0]
	require.Equal(t, []int{10, 11}, s.Volumes, "whole GiB, 10 at least")
	require.Equal(t, "web", s.Group)
	for _, v := range f.Requests(http.MethodPost, "^/volumes$") {
		var sent map[string]any
		require.NoError(t, json.Unmarshal([]byte(v.Body), &sent))
		require.Equal(t, "fsn1", sent["location"])
		require.Equal(t, string(o.Machine), sent["labels"].(map[string]any)["berthage-machine"], "tagged by the request that creates")
	}
	list, err := d.Machines(t.Context(), "hetzner/fsn1")
	require.NoError(t, err)
	require.Len(t, list[0].Addresses, 2)
	require.True(t, strings.HasPrefix(list[0].Addresses[0], "2001:db8:"))
	require.True(t, strings.HasSuffix(list[0].Addresses[0], "::1"))
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		change func(*hypervisor.Order)
		kind   error
		says   string
	}{
		"a large user-data":      {func(o *hypervisor.Order) { o.Spec.Guest.UserData = "#!/bin/sh\n" + strings.Repeat("x", 32<<10) }, hypervisor.ErrInvalid, "32 KiB"},
		"an image that is large": {func(o *hypervisor.Order) { o.Source = "huge" }, hypervisor.ErrRefused, "larger disk"},
		"no such image":          {func(o *hypervisor.Order) { o.Source = "none" }, hypervisor.ErrRefused, "no image"},
		"no such number":         {func(o *hypervisor.Order) { o.Source = "4711" }, hypervisor.ErrRefused, "no image"},
		"no image at all":        {func(o *hypervisor.Order) { o.Source = "" }, hypervisor.ErrInvalid, "source"},
		"no such type":           {func(o *hypervisor.Order) { o.Allocation.Shape = "none" }, hypervisor.ErrRefused, "server type"},
		"no type":                {func(o *hypervisor.Order) { o.Allocation.Shape = "" }, hypervisor.ErrInvalid, "shape"},
		"no such network":        {func(o *hypervisor.Order) { o.Spec.Networks = []pool.Network{{Name: "none"}} }, hypervisor.ErrRefused, "network"},
		"a root disk too large":  {func(o *hypervisor.Order) { o.Spec.Disks[0].Size = 41_000_000_000 }, hypervisor.ErrInvalid, "40 GB"},
		"a root disk of another": {func(o *hypervisor.Order) { o.Spec.Disks[0].Storage = pool.NVMe }, hypervisor.ErrRefused, "storage.nvme"},
		"a volume of another":    {func(o *hypervisor.Order) { o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: 1, Storage: pool.NVMe}) }, hypervisor.ErrRefused, "storage.nvme"},
		"a volume too large": {func(o *hypervisor.Order) {
			o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: 11 * pool.TiB, Storage: pool.SSD})
		}, hypervisor.ErrInvalid, "10 TiB"},
		"a limit of IOPS":         {func(o *hypervisor.Order) { o.Spec.Disks[0].IOPS = 100 }, hypervisor.ErrInvalid, "iops"},
		"a GPU":                   {func(o *hypervisor.Order) { o.Spec.Resources[pool.GPU] = 1 }, hypervisor.ErrInvalid, "gpu"},
		"a container":             {func(o *hypervisor.Order) { o.Spec.Kind = pool.Container }, hypervisor.ErrInvalid, "vm"},
		"a name that is none":     {func(o *hypervisor.Order) { o.Name = "A b" }, hypervisor.ErrInvalid, "name"},
		"an id that is none":      {func(o *hypervisor.Order) { o.Machine = "m-0" }, hypervisor.ErrInvalid, "machine"},
		"user-data that is none":  {func(o *hypervisor.Order) { o.Spec.Guest.UserData = "hello" }, hypervisor.ErrInvalid, "user_data"},
		"a ledger that is hidden": {func(o *hypervisor.Order) { o.Ledger = "\x00" }, hypervisor.ErrInvalid, "ledger"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := cloud(t, fast())
			o := placed(order("debian-12"), "fsn1", 0)
			tc.change(&o)
			err := open(t, config(t, f)).Create(t.Context(), o)
			require.ErrorIs(t, err, tc.kind)
			require.Contains(t, err.Error(), tc.says)
			require.Empty(t, f.Billed())
			require.Empty(t, f.Requests(http.MethodPost, ""), "nothing is asked for before all is known")
		})
	}
}

// What the service has no room for is full, in a way that can be told from other refusals.
func TestFull(t *testing.T) {
	t.Parallel()
	f := cloud(t, fast())
	d := open(t, config(t, f))
	f.SetRoom("fsn1", 1)
	require.NoError(t, d.Create(t.Context(), placed(order("debian-12"), "fsn1", 0)))
	err := d.Create(t.Context(), placed(order("debian-12"), "fsn1", 1))
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.ErrorIs(t, err, hypervisor.ErrFull)
	require.True(t, hypervisor.Nothing(err))
	f.Fail(hetznertest.Fault{Method: http.MethodPost, Path: "^/servers$", ActionFails: "resource_unavailable"})
	err = d.Create(t.Context(), placed(order("debian-12"), "nbg1", 2))
	require.ErrorIs(t, err, hypervisor.ErrFull, "when an action finds it out")
	err = d.Create(t.Context(), placed(order("none"), "nbg1", 3))
	require.NotErrorIs(t, err, hypervisor.ErrFull)
}

func TestHosts(t *testing.T) {
	t.Parallel()
	f := cloud(t, fast())
	require.NoError(t, f.AddServer("theirs", "fsn1", "medium", nil))
	require.NoError(t, f.AddServer("theirs-too", "nbg1", "small", nil))
	f.AddVolume("theirs", "fsn1", 100)
	c := config(t, f)
	c.Types = []string{"small", "large", "old"}
	c.Locations[0].Cores = 20
	c.Locations[1].Cost = 5
	c.Locations = append(c.Locations, hetzner.LocationConfig{Location: "mars1", Servers: 1})
	d := open(t, c)
	hosts, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 3)
	h := hosts[0]
	require.Equal(t, pool.Ready, h.Conditions)
	require.True(t, h.Aggregate())
	require.Equal(t, int64(3800), h.Cost, "the cheapest, with its address")
	require.Equal(t, int64(5), hosts[1].Cost)
	require.Zero(t, hosts[2].Conditions, "the service does not have it")
	require.Equal(t, pool.Resources{pool.CPU: 8000, pool.Memory: 16 * pool.GiB, pool.StorageStandard: 160_000_000_000, hetzner.ClassServers: 1}, h.Shape("large").Resources)
	require.Equal(t, map[pool.Class]pool.Inventory{
		pool.CPU:             {Total: 20_000, Reserved: 4000},
		pool.Memory:          {Total: 160 * pool.GiB, Reserved: 8 * pool.GiB},
		pool.StorageStandard: {Total: 1_600_000_000_000, Reserved: 80_000_000_000},
		pool.StorageSSD:      {Total: pool.TiB, Reserved: 100 * pool.GiB},
		hetzner.ClassServers: {Total: 10, Reserved: 1},
	}, h.Inventory)
	prices, err := d.Prices(t.Context(), "hetzner/fsn1")
	require.NoError(t, err)
	require.Equal(t, []hetzner.Price{{"large", 21_800, "EUR"}, {"old", 3_800, "EUR"}, {"small", 6_800, "EUR"}}, prices)
	_, err = d.Prices(t.Context(), "hetzner/hel1")
	require.ErrorIs(t, err, hypervisor.ErrNotFound)
}

// A list of more than a page is whole, whatever happens to it while it is read, or it is an error.
func TestPages(t *testing.T) {
	t.Parallel()
	f := cloud(t, fast())
	for i := range 120 {
		require.NoError(t, f.AddServer(fmt.Sprintf("theirs-%03d", i), "fsn1", "small", nil))
	}
	d := open(t, config(t, f))
	names := func() map[string]bool {
		list, err := d.Machines(t.Context(), "hetzner/fsn1")
		require.NoError(t, err)
		out := make(map[string]bool)
		for _, m := range list {
			require.False(t, out[m.Name], "twice")
			out[m.Name] = true
		}
		return out
	}
	require.Len(t, names(), 120)
	stable := func(what string, all map[string]bool) {
		for i := 10; i < 110; i++ {
			require.True(t, all[fmt.Sprintf("theirs-%03d", i)], "%s: server %d is missing", what, i)
		}
	}
	second := hetznertest.Fault{Method: http.MethodGet, Path: "^/servers$", Skip: 1}
	second.Do = func() { require.NoError(t, f.RemoveServer("theirs-119")) } // what was behind the first page moves onto it
	f.Fail(second)
	stable("one has gone", names())
	second.Do = func() { require.NoError(t, f.AddServer("new-1", "fsn1", "small", nil)) }
	f.Fail(second)
	stable("one has come", names())
	second.Do = func() {
		require.NoError(t, f.RemoveServer("theirs-118"))
		require.NoError(t, f.AddServer("new-2", "fsn1", "small", nil))
	}
	f.Fail(second)
	stable("one has gone and one has come", names())
	third := hetznertest.Fault{Method: http.MethodGet, Path: "^/servers$", Skip: 1} // not counting the one that meets the other
	second.Do = func() { require.NoError(t, f.AddServer("new-3", "fsn1", "small", nil)) }
	third.Do = func() { require.NoError(t, f.RemoveServer("theirs-001")) }
	f.Fail(second)
	f.Fail(third)
	stable("one has come, and one has gone behind it", names())

	f.Fail(hetznertest.Fault{Method: http.MethodGet, Path: "^/servers$", Skip: 1, Status: 200, Text: `{"servers": []}`, Header: http.Header{"Content-Type": {"application/json"}}})
	_, err := d.Machines(t.Context(), "hetzner/fsn1")
	require.ErrorIs(t, err, hypervisor.ErrUnavailable, "a page that does not say where it stands")
	n := 0
	f.Fail(hetznertest.Fault{Method: http.MethodGet, Path: "^/servers$", Times: -1, Do: func() {
		n++
		require.NoError(t, f.AddServer("more-"+strconv.Itoa(n), "fsn1", "small", nil))
	}})
	_, err = d.Machines(t.Context(), "hetzner/fsn1")
	require.ErrorIs(t, err, hypervisor.ErrUnavailable, "it never stands still")
}

// Locations that are looked at side by side share a list, and nobody is given one that began before he asked.
func TestListsAreShared(t *testing.T) {
	t.Parallel()
	f := cloud(t, fast())
	d := open(t, config(t, f))
	f.Fail(hetznertest.Fault{Method: http.MethodGet, Path: "^/servers$", Delay: 100 * time.Millisecond, Times: -1})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			_, err := d.Machines(context.Background(), "hetzner/fsn1")
			require.NoError(t, err)
		})
		wg.Go(func() {
			_, err := d.Machines(context.Background(), "hetzner/nbg1")
			require.NoError(t, err)
		})
	}
	wg.Wait()
	require.LessOrEqual(t, len(f.Requests(http.MethodGet, "^/servers$")), 3)

	began := make(chan error, 1)
	go func() {
		_, err := d.Machines(context.Background(), "hetzner/fsn1")
		began <- err
	}()
	time.Sleep(20 * time.Millisecond) // that list is on its way
	require.NoError(t, f.AddServer("theirs", "fsn1", "small", nil))
	list, err := d.Machines(t.Context(), "hetzner/fsn1")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, <-began)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = d.Machines(ctx, "hetzner/fsn1")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestDestroyLeavesWhatIsOthers(t *testing.T) {
	t.Parallel()
	f := cloud(t, fast())
	d := open(t, config(t, f))
	o := placed(order("debian-12"), "fsn1", 0)
	require.NoError(t, d.Create(t.Context(), o))

	require.NoError(t, f.Protect(name(o.Ref), true))
	err := d.Destroy(t.Context(), o.Ref)
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.Len(t, f.Servers(), 1)
	require.NoError(t, f.Protect(name(o.Ref), false))

	// Somebody has said that its addresses are to stay.
	require.NoError(t, f.KeepAddresses(name(o.Ref), true))
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	billed := f.Billed()
	require.Len(t, billed, 2)
	require.Contains(t, billed[0], "address")

	// A server that was given another name is nobody's of ours, whatever its labels say.
	require.NoError(t, d.Create(t.Context(), o))
	require.NoError(t, f.Rename(name(o.Ref), "renamed"))
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.Len(t, f.Servers(), 1)
	list, err := d.Machines(t.Context(), "hetzner/fsn1")
	require.NoError(t, err)
	require.Zero(t, list[0].Tag)
}

// Addresses that the service should have removed with their server, and has not, are removed.
func TestDestroyRemovesAddresses(t *testing.T) {
	t.Parallel()
	c := fast()
	c.LeavesAddresses = true
	f := cloud(t, c)
	d := open(t, config(t, f))
	o := placed(order("debian-12"), "fsn1", 0)
	require.NoError(t, d.Create(t.Context(), o))
	require.Len(t, f.Billed(), 3)
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.Empty(t, f.Billed())
	f.Fail(hetznertest.Fault{Method: http.MethodPost, Path: "^/servers$", ActionFails: "action_failed"})
	require.ErrorIs(t, d.Create(t.Context(), o), hypervisor.ErrRefused)
	require.Empty(t, f.Billed(), "of a create that fails, too")
}

// An attempt to create that its process did not survive leaves volumes, which go with the machine.
func TestDestroyRemovesBrokenAttempts(t *testing.T) {
	t.Parallel()
	s := newStage(t, description(t))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.f.Fail(hetznertest.Fault{Method: http.MethodPost, Path: "^/servers$", Do: cancel, Delay: 50 * time.Millisecond})
	err := s.d.Create(ctx, s.o)
	require.ErrorIs(t, err, hypervisor.ErrUnknown)
	require.ErrorIs(t, err, context.Canceled)
	require.NotZero(t, s.count("volume"))
	s.f.Heal()
	require.Eventually(t, func() bool { return s.count("server") == 1 }, 5*time.Second, time.Millisecond, "the late one lands")
	require.ErrorIs(t, s.d.Create(t.Context(), s.o), hypervisor.ErrExists)
	s.must(s.d.Destroy(t.Context(), s.o.Ref))
	require.Empty(t, s.f.Billed())
	s.must(s.d.Create(t.Context(), s.o))
	require.Equal(t, 1, s.count("volume"))
}

func TestResize(t *testing.T) {
	t.Parallel()
	s := newStage(t, description(t))
	s.single()
	s.must(s.d.Create(t.Context(), s.o))
	o := s.o
	o.Spec = o.Spec.Clone()
	o.Allocation, o.Revision = allocation("medium"), 20
	o.Spec.Disks[0].Size = 60 * pool.GiB // more than the 40 GB that the machine has
	err := s.d.Resize(t.Context(), o)
	require.ErrorIs(t, err, hypervisor.ErrRefused, "the disk never grows unless that is allowed")
	require.True(t, hypervisor.Nothing(err))
	require.Equal(t, "small", s.server(o.Ref).Type)

	c := config(t, s.f)
	c.GrowDisks = true
	grows := open(t, c)
	s.must(grows.Resize(t.Context(), o))
	require.Equal(t, []any{"medium", 80, "off"}, []any{s.server(o.Ref).Type, s.server(o.Ref).Disk, s.server(o.Ref).Status})
	require.Equal(t, true, body(t, s.f, http.MethodPost, "change_type$")["upgrade_disk"])

	o.Allocation, o.Revision = allocation("small"), 21
	err = grows.Resize(t.Context(), o)
	require.ErrorIs(t, err, hypervisor.ErrInvalid, "a smaller disk than ordered")
	o.Allocation, o.Revision = allocation("arm-small"), 22
	require.ErrorIs(t, grows.Resize(t.Context(), o), hypervisor.ErrRefused)
	o.Allocation, o.Revision = allocation("large"), 23
	s.f.Fail(hetznertest.Fault{Path: "change_type$", Status: 412, Code: "resource_unavailable", Message: "full"})
	err = grows.Resize(t.Context(), o)
	require.ErrorIs(t, err, hypervisor.ErrFull)
	require.True(t, hypervisor.Nothing(err))
}

// A volume that cannot grow takes the new type back with it.
func TestResizeIsWholeOrNot(t *testing.T) {
	t.Parallel()
	s := newStage(t, description(t))
	s.must(s.d.Create(t.Context(), s.o))
	o := s.o
	o.Spec = o.Spec.Clone()
	o.Spec.Disks[1].Size = 20 * pool.GiB
	o.Allocation, o.Revision = allocation("medium"), 20
	s.f.Fail(hetznertest.Fault{Path: "/resize$", Status: 403, Code: "resource_limit_exceeded", Message: "limit"})
	require.Error(t, s.d.Resize(t.Context(), o))
	require.Equal(t, []any{"small", []int{10}}, []any{s.server(o.Ref).Type, s.server(o.Ref).Volumes})
	s.must(s.d.Resize(t.Context(), o))
	require.Equal(t, []any{"medium", []int{20}}, []any{s.server(o.Ref).Type, s.server(o.Ref).Volumes})
}

func TestShelve(t *testing.T) {
	t.Parallel()
	s := newStage(t, description(t))
	s.must(s.d.Create(t.Context(), s.o))
	err := s.d.Shelve(t.Context(), s.o.Ref)
	require.ErrorIs(t, err, hypervisor.ErrRefused, "nothing copies volumes")
	require.Zero(t, s.kept())
	s.must(s.d.Destroy(t.Context(), s.o.Ref))

	s.must(s.d.Create(t.Context(), s.single()))
	s.must(s.d.Shelve(t.Context(), s.o.Ref))
	s.must(s.d.Create(t.Context(), s.o)) // one that has landed late
	require.ErrorIs(t, s.d.Shelve(t.Context(), s.o.Ref), hypervisor.ErrExists)
	require.Equal(t, []int{1, 1}, []int{s.count("server"), s.kept()})

	o := s.next()
	o.Spec = o.Spec.Clone()
	o.Spec.Disks[0].Size = 5 * pool.GiB
	require.ErrorIs(t, s.d.Unshelve(t.Context(), o, s.o.Ref), hypervisor.ErrInvalid, "smaller than what was ordered")

	// A host that is configured no more has what was put aside there.
	c := config(t, s.f)
	c.Locations = c.Locations[1:]
	later := open(t, c)
	o = s.next()
	o.Host = "hetzner/nbg1"
	s.must(later.Unshelve(t.Context(), o, s.o.Ref))
	s.must(later.Discard(t.Context(), s.o.Ref))
	require.Zero(t, s.kept())

	// Destroying a machine leaves what was put aside of it.
	s.must(s.d.Destroy(t.Context(), s.o.Ref))
	s.must(s.d.Create(t.Context(), s.o))
	s.must(s.d.Shelve(t.Context(), s.o.Ref))
	s.must(s.d.Destroy(t.Context(), s.o.Ref))
	require.Equal(t, 1, s.kept())
}

func TestSamples(t *testing.T) {
	t.Parallel()
	f := cloud(t, hetznertest.CloudConfig{ActionTime: time.Millisecond, PerHour: 100_000})
	c := config(t, f)
	c.Timeouts.Metrics = time.Hour
	d := open(t, c)
	o := placed(order("debian-12"), "fsn1", 0)
	require.NoError(t, d.Create(t.Context(), o))
	require.NoError(t, d.Start(t.Context(), o.Ref))
	got := func() map[string]float64 {
		list, err := d.Sample(t.Context(), o.Host)
		require.NoError(t, err)
		out := make(map[string]float64)
		for _, s := range list {
			out[s.Name+s.Device] = s.Value
		}
		return out
	}
	first := got()
	require.InDelta(t, 0.425, first["hetzner_cpu_used_cores"], 1e-9)
	require.Equal(t, 8192.0, first["hetzner_disk_written_bytes_per_second0"])
	require.Equal(t, 20.0, first["hetzner_network_transmit_packets_per_second0"])
	require.Equal(t, 2.0, first[hypervisor.CPUCores])
	_, again := got()["hetzner_cpu_used_cores"]
	require.False(t, again, "each reading is a request")
	require.Len(t, f.Requests(http.MethodGet, "metrics$"), 1)
}
