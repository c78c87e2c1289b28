package fake_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/pool"
)

// abilities is all that the fake can.
func abilities() []hypervisor.Ability {
	return []hypervisor.Ability{
		hypervisor.CanAttachDisk, hypervisor.CanConsole, hypervisor.CanFence, hypervisor.CanHibernate, hypervisor.CanImage, hypervisor.CanMeter,
		hypervisor.CanMigrate, hypervisor.CanMigrateLive, hypervisor.CanReboot, hypervisor.CanResize, hypervisor.CanResizeHot, hypervisor.CanShelve,
		hypervisor.CanSnapshot, hypervisor.CanSuspend, hypervisor.CanWatch,
	}
}

// setup is the suite's view of a fake with two general servers or more.
func setup(c fake.Config) (hypervisortest.Setup, **fake.Driver) {
	c.Hosts = []pool.Host{server("fake/a"), server("fake/b")}
	c.Images = []string{"image"}
	d := fake.New(c)
	at := &d
	return hypervisortest.Setup{
		ImageBoots: true,
		Disturb:    disturb(d),
		Driver:     d,
		Hosts:      []pool.HostID{"fake/a", "fake/b"},
		BadSource:  "no-such-image",
		Abilities:  abilities(),
		Order: hypervisor.Order{
			Source: "image",
			Spec: pool.Spec{
				Image:     "debian-12",
				Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: pool.GiB},
				Disks:     []pool.Disk{{Size: 10 * pool.GiB, Storage: pool.SSD}},
			},
		},
		Untagged: func(_ context.Context, r hypervisor.Ref) (func() error, error) {
			native, err := (*at).AddForeign(hypervisor.Machine{Ref: hypervisor.Ref{Host: r.Host}, Native: string(r.Machine)})
			return func() error { return (*at).RemoveForeign(r.Host, native) }, err
		},
		PowerOn: func(_ context.Context, id pool.HostID) error { return (*at).SetHostState(id, fake.Up) },
		Content: func(_ context.Context, r hypervisor.Ref) (string, error) {
			v, _ := (*at).InspectHost(r.Host)
			for _, m := range v.Machines {
				if m.Tag == r.Tag {
					return m.Content, nil
				}
			}
			return "", hypervisor.ErrNotFound
		},
		Traces: func(_ context.Context, id pool.HostID) ([]string, error) {
			v, _ := (*at).InspectHost(id)
			var out []string
			for _, m := range v.Machines {
				out = append(out, m.Native)
			}
			for _, m := range (*at).Shelf() {
				out = append(out, string(m.Machine)+", put aside")
			}
			return out, nil
		},
	}, at
}

// server is a host of 16 cores, 64 GiB, two pools of SSD of 1 TiB each and two GPUs.
func server(id pool.HostID) pool.Host {
	return pool.Host{
		ID: id, Name: id.Native(), Conditions: pool.Ready,
		Inventory: map[pool.Class]pool.Inventory{
			pool.CPU:    {Total: 16 * pool.Core, Ratio: 4000},
			pool.Memory: {Total: 64 * pool.GiB, Reserved: 4 * pool.GiB},
		},
		Devices: []pool.Device{
			{ID: "ssd-1", Class: pool.StorageSSD, Inventory: pool.Inventory{Total: pool.TiB}},
			{ID: "ssd-2", Class: pool.StorageSSD, Inventory: pool.Inventory{Total: pool.TiB}},
			{ID: "gpu-1", Class: pool.GPU, Inventory: pool.Inventory{Total: 1}},
			{ID: "gpu-2", Class: pool.GPU, Inventory: pool.Inventory{Total: 1}},
		},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fleet")
	s, at := setup(fake.Config{Settles: time.Second, Path: path})
	s.Reopen = func(context.Context) (hypervisor.Driver, error) {
		if err := (*at).Close(); err != nil {
			return nil, err
		}
		d, err := fake.Open(fake.Config{Settles: time.Second, Images: []string{"image"}, Path: path})
		*at = d
		return d, err
	}
	report := hypervisortest.Run(t, s)
	for _, r := range report.Results {
		want := hypervisortest.Pass
		if r.Name == "not-offered" {
			want = hypervisortest.NotOffered // it offers everything
		}
		require.Equal(t, want, r.Outcome, r.Name)
	}
}

// Every way to configure the fake is one that conforms, also when everything takes its time.
func TestConformanceOfEveryKind(t *testing.T) {
	t.Parallel()
	slow := fake.Config{
		Seed:    7,
		Latency: fake.Latency{Min: time.Millisecond, Mean: 80 * time.Millisecond, Max: 2 * time.Second},
		Build:   2 * time.Second, Boot: 20 * time.Second, Shutdown: 10 * time.Second, Settles: time.Minute,
	}
	copies := slow
	copies.Copies = true
	for name, tc := range map[string]struct {
		config     fake.Config
		abilities  []hypervisor.Ability
		notOffered []string
	}{
		"slow":   {slow, abilities(), []string{"not-offered", "tags-reopened"}},
		"copies": {copies, abilities(), []string{"not-offered", "tags-reopened", "create-twice", "create-race"}},
		"plain": {fake.Config{Without: abilities()}, []hypervisor.Ability{},
			[]string{"tags-reopened", "suspend", "suspended-ends", "reboot", "console-log", "display", "samples", "counters",
				"shelve", "shelf", "resize", "resize-refused", "resize-running", "migrate", "migrate-refused", "migrate-running", "snapshots", "revert", "fence",
				"hibernate", "disks", "disks-refused", "disks-running", "images", "watch"}},
		"cold": {fake.Config{Without: []hypervisor.Ability{hypervisor.CanResizeHot, hypervisor.CanMigrateLive}},
			slices.DeleteFunc(abilities(), func(a hypervisor.Ability) bool { return a == hypervisor.CanResizeHot || a == hypervisor.CanMigrateLive }),
			[]string{"not-offered", "tags-reopened"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, at := setup(tc.config)
				defer func() { require.NoError(t, (*at).Close()) }()
				s.Abilities = tc.abilities
				report, err := hypervisortest.Check(t.Context(), s)
				require.NoError(t, err)
				require.NoError(t, report.Err())
				var not []string
				for _, r := range report.Results {
					if r.Outcome == hypervisortest.NotOffered {
						not = append(not, r.Name)
					}
				}
				require.ElementsMatch(t, tc.notOffered, not)
			})
		})
	}
}

// disturb lets a call of a fake go wrong as a connection would. A call is one request.
func disturb(d *fake.Driver) func(hypervisortest.Disturbance, int) func() bool {
	return func(kind hypervisortest.Disturbance, n int) func() bool {
		return d.Plan(n, map[hypervisortest.Disturbance]fake.Fault{
			hypervisortest.CutBefore: {Kind: fake.Drop}, hypervisortest.CutAfter: {Kind: fake.Lose},
			hypervisortest.Delayed: {Before: 100 * time.Millisecond}, hypervisortest.Twice: {Kind: fake.Duplicate},
		}[kind])
	}
}
