package script_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/pool"
)

// The hosts are node files of libvirt's test driver: different sizes, zones and storage, and on the last one a
// machine that is somebody else's.
const (
	image    = "volume:default/base.qcow2"
	standard = `<pool type='dir'><name>default</name><target><path>/pool/default</path></target>
<volume type='file'><name>base.qcow2</name><capacity unit='bytes'>1048576</capacity><target><path>/pool/default/base.qcow2</path><format type='qcow2'/></target></volume>
</pool>`
	network = `<network><name>default</name><bridge name='virbr0'/><ip address='192.168.122.1' netmask='255.255.255.0'/></network>`
	ssds    = `<pool type='dir'><name>ssd1</name><target><path>/pool/ssd1</path></target></pool>
<pool type='dir'><name>ssd2</name><target><path>/pool/ssd2</path></target></pool>`
	stranger = `<domain type='test'><name>other</name><memory>1048576</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>`
)

// nodes returns the hosts' configuration.
func nodes(t *testing.T, daemon string) []libvirt.HostConfig {
	std := libvirt.StoragePool{Reserved: 2 * pool.GiB}
	ssd := libvirt.StoragePool{Kind: pool.SSD, Format: libvirt.Raw, IOPS: 2000}
	return []libvirt.HostConfig{
		{
			Name: "a", URI: nodeURI(t, daemon, "a", 8, 16, standard, ssds), Zone: "east", Labels: map[string]string{"rack": "1"},
			Pools: map[string]libvirt.StoragePool{"default": std, "ssd1": ssd, "ssd2": ssd}, ReservedMemory: pool.GiB,
		},
		{Name: "b", URI: nodeURI(t, daemon, "b", 16, 32, standard), Zone: "west", CPURatio: 2000, Pools: map[string]libvirt.StoragePool{"default": std}},
		{Name: "c", URI: nodeURI(t, daemon, "c", 6, 8, standard, ssds, stranger), Zone: "west", Labels: map[string]string{"rack": "2"},
			Pools: map[string]libvirt.StoragePool{"default": std, "ssd1": ssd}},
	}
}

// nodeURI writes a node file and returns the URI of its host, whose state lives as long as the connection.
func nodeURI(t *testing.T, daemon, name string, cores, gib int, parts ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "berthage-node")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755)) // the daemon may be another user's
	path := filepath.Join(dir, name+".xml")
	text := fmt.Sprintf(`<node><cpu><mhz>2000</mhz><model>x86_64</model><active>%d</active><nodes>1</nodes><sockets>1</sockets><cores>%d</cores><threads>1</threads></cpu>
<memory>%d</memory>%s%s</node>`, cores, cores, gib<<20, network, strings.Join(parts, "\n"))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	u, err := url.Parse(daemon)
	require.NoError(t, err)
	u.Path = path
	return u.String()
}

// daemon returns the URI of a daemon with libvirt's test driver; without one the test is not run, and says so.
func daemon(t *testing.T) string {
	t.Helper()
	for _, u := range strings.Split(os.Getenv("BERTHAGE_LIBVIRT_URIS"), ",") {
		if strings.HasPrefix(u, "test+unix:") {
			return u
		}
	}
	const why = "BERTHAGE_LIBVIRT_URIS names no daemon with libvirt's test driver"
	fmt.Printf("NOT RUN: %s: %s\n", t.Name(), why)
	t.Skip("not run: " + why)
	return ""
}

// driver is the name of both sides' driver, so that hosts have the same ids.
const driver = "lab"

// described is a simulated fleet of which only that is said which is true of the other side too. It sets up guests,
// which libvirt's test driver cannot, as it takes no uploads.
type described struct {
	*fake.Driver
	settles time.Duration
}

func (d described) Describe(host pool.HostID) hypervisor.Capabilities {
	c := d.Driver.Describe(host)
	c.FirstBoot, c.Settles = false, d.settles
	return c
}

// side is a Manager over one of the two fleets.
type side struct {
	t      *testing.T
	name   string
	driver hypervisor.Driver
	ledger pool.Ledger
	m      *berthage.Manager
	stop   func()
	ids    map[string]pool.InstanceID // by the instances' names, which are used once
}

// both sides, in step.
type both struct {
	t     *testing.T
	sides []*side // the simulated one is the first
	log   []string
}

// open makes both fleets and their Managers. The simulated one gets the hosts that the real one has, read through its
// driver: what a hypervisor has is observed, and not a matter of commands. So do the machines of others.
func open(t *testing.T, daemon string) *both {
	t.Helper()
	lv, err := libvirt.New(libvirt.Config{
		Name: driver, Hosts: nodes(t, daemon),
		// The test driver sends no events of reboots, so that every one takes as long as a guest may.
		Timeouts: libvirt.Timeouts{Shutdown: 20 * time.Millisecond, Call: 5 * time.Second},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, lv.Close()) })
	hosts, err := lv.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 3)

	config := fake.Config{Name: driver, Images: []string{image}}
	everything := fake.New(fake.Config{Name: driver, Hosts: hosts}).Describe(hosts[0].ID).Abilities
	offered := lv.Describe(hosts[0].ID)
	for _, a := range everything {
		if !slices.Contains(offered.Abilities, a) {
			config.Without = append(config.Without, a)
		}
	}
	var strangers []hypervisor.Machine
	for i := range hosts {
		machines, err := lv.Machines(t.Context(), hosts[i].ID)
		require.NoError(t, err)
		host := hosts[i]
		host.Inventory = maps.Clone(host.Inventory)
		for _, m := range machines {
			strangers = append(strangers, m)
			for c, n := range m.Resources { // they are added again
				inv := host.Inventory[c]
				inv.Reserved -= n
				host.Inventory[c] = inv
			}
		}
		config.Hosts = append(config.Hosts, host)
	}
	require.Len(t, strangers, 1)
	sim := described{fake.New(config), offered.Settles}
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	for _, m := range strangers {
		_, err := sim.AddForeign(m)
		require.NoError(t, err)
	}
	got, err := sim.Hosts(t.Context())
	require.NoError(t, err)
	require.Equal(t, hosts, got)
	for _, h := range hosts {
		require.Equal(t, lv.Describe(h.ID), hypervisor.CapabilitiesOf(sim, h.ID))
	}

	b := &both{t: t}
	for name, d := range map[string]hypervisor.Driver{"fake": sim, "libvirt": lv} {
		s := &side{t: t, name: name, driver: d, ledger: pool.NewMemoryLedger(), ids: make(map[string]pool.InstanceID)}
		s.run()
		t.Cleanup(func() { s.stop() })
		b.sides = append(b.sides, s)
	}
	slices.SortFunc(b.sides, func(x, y *side) int { return strings.Compare(x.name, y.name) })
	b.catalogue()
	return b
}

// run opens and runs a Manager on the side's ledger.
func (s *side) run() {
	m, err := berthage.Open(s.t.Context(), berthage.Config{
		Drivers: map[string]hypervisor.Driver{driver: s.driver}, Ledger: s.ledger, Ephemeral: true, Poll: time.Second,
		Logger: slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})).With("side", s.name),
	})
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	s.m = m
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(s.name, err)
		}
		m.Close()
	}
}

// again ends the side's Manager and opens another on the same ledger, which folds it anew.
func (s *side) again() {
	s.stop()
	s.run()
}

// catalogue makes what the commands name, on both sides.
func (b *both) catalogue() {
	for _, s := range b.sides {
		require.Eventually(b.t, func() bool {
			n := 0
			s.m.View(func(st *pool.State) { n = st.HostCount() })
			return n == 3
		}, time.Minute, time.Millisecond)
	}
	b.accept("images, flavors and projects", func(s *side) error {
		ctx := b.t.Context()
		for _, err := range []error{
			s.m.PutImage(ctx, pool.Image{Name: "tiny", User: "berth", MinDisk: pool.GiB, Sources: map[string]string{driver: image}}),
			s.m.PutImage(ctx, pool.Image{Name: "lost", User: "berth", Sources: map[string]string{driver: "volume:default/none"}}),
			s.m.PutImage(ctx, pool.Image{Name: "elsewhere", User: "berth", Sources: map[string]string{"other": "none"}}),
			s.m.PutFlavor(ctx, pool.Flavor{Name: "small", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: pool.GiB, pool.StorageStandard: 4 * pool.GiB}}),
			s.m.PutProject(ctx, pool.Project{Name: "shop"}),
			s.m.PutProject(ctx, pool.Project{Name: "tight", Quota: pool.Resources{pool.CPU: 4 * pool.Core, pool.Instances: 3}}),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
}
