package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berthage/berthage/hypervisor/openstack"
	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
	"github.com/berthage/berthage/internal/integration/testbed"
	"github.com/berthage/berthage/pool"
)

const (
	poll       = 2 * time.Second
	grace      = 10 * time.Second
	fenceAfter = 45 * time.Second // more than three grace periods, so that it is seen that nothing happens in them

	hostA, hostB = "libvirt/a", "libvirt/b"
	node         = "pve1"
	hostP        = "proxmox/" + node
	template     = 9000
	shared       = "shared" // the storage pool that both libvirt hosts have
	wire         = "wire"   // the network that both have, a bridge
)

// fleet is everything that one run has started and made.
type fleet struct {
	o      options
	t      *transcript
	notRun []string

	dir    string // of all that is removed at the end
	image  string // file of the guest
	key    string // for SSH to guests
	public string

	a, b   *testbed.Libvirtd
	bridge string            // of a, which stands for the wire between the two
	cloud  *openstack.Driver // our own look at OpenStack; nil: it is not part of this run
	region pool.HostID
	stack  bool // OpenStack has been started, or begun to be
	pve    *pvetest.Server
	berthd *testbed.Berthd

	members map[string]instance // as the last step has left them, by name
	guests  map[string]vitals   // of those on libvirt, likewise
	probe   string              // id of the instance that waits for b
	old     []string            // machines of b when it was lost

	mu     sync.Mutex
	events []testbed.Event
	follow context.CancelFunc
	over   chan struct{} // closed when nobody follows the events any more
}

// start starts the hypervisors and berthd.
func (f *fleet) start(ctx context.Context) error {
	f.t.section("What there is", "Two libvirt daemons with QEMU, which share a directory of disks and a bridge, as two hosts share their storage and their network; "+
		"a real OpenStack, whose hypervisor is Nova's fake one; a simulated Proxmox VE of one node. One berthd drives them all.")
	if err := testbed.Install(ctx, f.t.say); err != nil {
		return err
	}
	var err error
	if f.dir, err = testbed.Directory("bfleet-"); err != nil {
		return err
	}
	if f.image, err = testbed.Guest(ctx, "tiny.sh", f.o.cache); err != nil {
		return err
	}
	if f.key, f.public, err = testbed.Key(ctx, f.dir); err != nil {
		return err
	}
	f.t.hide = strings.NewReplacer(f.dir, "DIR", f.public, "KEY")
	if err := f.startLibvirt(ctx); err != nil {
		return err
	}
	if f.o.openstack {
		err = f.startOpenStack(ctx)
	} else {
		f.leaveOut("OpenStack: -openstack=false")
	}
	if err != nil {
		return err
	}
	f.pve = pvetest.New(pvetest.Config{Nodes: []pvetest.Node{{Name: node, CPUs: 16, Memory: 32 << 30}}})
	f.pve.AddTemplate(node, template, "guest", "local", 128<<20)
	f.t.say("a simulated Proxmox VE is there")
	return f.startBerthd(ctx)
}

// leaveOut says loudly what is not run.
func (f *fleet) leaveOut(what string) {
	f.notRun = append(f.notRun, what)
	f.t.say("NOT RUN: %s", what)
}

func (f *fleet) startLibvirt(ctx context.Context) error {
	var err error
	for _, l := range []struct {
		at   **testbed.Libvirtd
		name string
	}{{&f.a, "a"}, {&f.b, "b"}} {
		if *l.at, err = testbed.StartLibvirtd(ctx, filepath.Join(f.dir, l.name)); err != nil {
			return err
		}
	}
	disks := filepath.Join(f.dir, shared)
	if err := os.Mkdir(disks, 0o711); err != nil {
		return err
	}
	xml, err := f.a.Virsh(ctx, "net-dumpxml", "default")
	if err != nil {
		return err
	}
	m := regexp.MustCompile(`bridge name='([^']+)'`).FindStringSubmatch(xml)
	if m == nil {
		return errors.New("the network default of a has no bridge")
	}
	f.bridge = m[1]
	for _, l := range []*testbed.Libvirtd{f.a, f.b} {
		for _, args := range [][]string{
			{"pool-define-as", shared, "dir", "--target", disks}, {"pool-start", shared}, {"pool-autostart", shared},
		} {
			if _, err := l.Virsh(ctx, args...); err != nil {
				return err
			}
		}
	}
	version, err := f.a.Virsh(ctx, "version")
	if err != nil {
		return err
	}
	f.t.say("two libvirt daemons are there\n%s", strings.Join(testbed.Lines(version), "\n"))
	return nil
}

// startOpenStack starts a cloud of our own beside any other. Where it cannot be had, the rest goes on without it.
func (f *fleet) startOpenStack(ctx context.Context) error {
	f.t.say("an OpenStack is being started")
	if err := os.Setenv("BERTHAGE_OPENSTACK_STATE", filepath.Join(f.dir, "os")); err != nil {
		return err
	}
	f.stack = true
	if _, err := testbed.Command(ctx, filepath.Join("openstack", "up.sh")); err != nil {
		if ctx.Err() != nil {
			return err
		}
		f.leaveOut("OpenStack: it could not be started: " + testbed.LastLine(err.Error()))
		return nil
	}
	cloud, err := openstack.FromFile(f.clouds(), "member")
	if err != nil {
		return err
	}
	if f.cloud, err = openstack.New(openstack.Config{Cloud: cloud}); err != nil {
		return err
	}
	hosts, err := f.cloud.Hosts(ctx)
	if err != nil {
		return err
	}
	if len(hosts) != 1 {
		return fmt.Errorf("OpenStack is %d regions instead of one", len(hosts))
	}
	f.region = hosts[0].ID
	f.t.say("OpenStack is there")
	return nil
}

func (f *fleet) clouds() string { return filepath.Join(f.dir, "os", "clouds.yaml") }

// startBerthd builds berthd and starts it with what its file says of all of them.
func (f *fleet) startBerthd(ctx context.Context) error {
	fence, err := filepath.Abs(filepath.Join("libvirtd", "fence.sh"))
	if err != nil {
		return err
	}
	host := func(name string, l *testbed.Libvirtd) map[string]any {
		return map[string]any{
			"name": name, "zone": name, "uri": l.URI, "virt": virt(), "cpu": 8, "network": wire, "networks": map[string]string{wire: f.bridge},
			"pools": map[string]string{shared: "standard"}, "shared": []string{shared},
			"model": "qemu64", "migrate": l.URI, "migrate_memory": "tcp://127.0.0.1",
			"fence": []string{fence, l.Dir},
		}
	}
	secret := func(name, text string) (file string, err error) {
		file = filepath.Join(f.dir, name)
		return file, os.WriteFile(file, []byte(text), 0o600)
	}
	token, err := secret("pve-token", f.pve.Token())
	if err != nil {
		return err
	}
	ca, err := secret("pve-ca.pem", string(f.pve.CA()))
	if err != nil {
		return err
	}
	config := map[string]any{
		"poll": poll.String(), "grace": grace.String(), "fence_after": fenceAfter.String(),
		"libvirt": []any{host("a", f.a), host("b", f.b)},
		"proxmox": []any{map[string]any{"url": f.pve.URL(), "token_file": token, "ca_file": ca, "nodes": map[string]any{node: map[string]any{"zone": "proxmox"}}}},
	}
	if f.cloud != nil {
		config["openstack"] = []any{map[string]any{
			"cloud": "member", "clouds_file": f.clouds(), "networks": map[string]string{"net0": "net0"}, "network": "net0", "hosts": map[string]any{f.region.Native(): map[string]any{"zone": "openstack"}},
		}}
	}
	binary := filepath.Join(f.dir, "berthd")
	if err := testbed.BuildBerthd(ctx, binary); err != nil {
		return err
	}
	var log io.Writer
	if f.o.verbose {
		log = os.Stderr
	}
	if f.berthd, err = testbed.StartBerthd(ctx, binary, f.dir, config, log); err != nil {
		return err
	}
	text, err := inLines(config)
	if err != nil {
		return err
	}
	f.t.say("berthd runs; its file says\n%s", strings.ReplaceAll(text, filepath.Dir(fence), "SCRIPTS"))

	following, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f.follow, f.over = cancel, make(chan struct{})
	go func() {
		defer close(f.over)
		_ = f.berthd.Events(following, 0, func(e testbed.Event) bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.events = append(f.events, e)
			return true
		})
	}()
	return nil
}

// inLines writes a configuration with a line for each key, and one for each element of a list.
func inLines(config map[string]any) (string, error) {
	var out strings.Builder
	for _, k := range slices.Sorted(maps.Keys(config)) {
		list, ok := config[k].([]any)
		if !ok {
			list = []any{config[k]}
		}
		for _, v := range list {
			b, err := json.Marshal(v)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&out, "%-12s %s\n", k, b)
		}
	}
	return out.String(), nil
}

func virt() string {
	if v := os.Getenv("BERTHAGE_VIRT_TYPE"); v != "" {
		return v
	}
	return "qemu"
}

// happened returns the events of a kind, of all kinds if it is empty, after a revision.
func (f *fleet) happened(kind string, after int64) []testbed.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []testbed.Event
	for _, e := range f.events {
		if e.Revision > after && (kind == "" || e.Kind == kind) {
			out = append(out, e)
		}
	}
	return out
}

// close stops and removes everything.
func (f *fleet) close(ctx context.Context) error {
	var errs []error
	if f.follow != nil {
		f.follow()
		<-f.over
	}
	if f.berthd != nil {
		errs = append(errs, f.berthd.Stop())
	}
	if f.pve != nil {
		f.pve.Close()
	}
	for _, l := range []*testbed.Libvirtd{f.b, f.a} { // the bridge is a's
		if l != nil {
			errs = append(errs, l.Close(ctx))
		}
	}
	if f.stack {
		_, err := testbed.Command(ctx, filepath.Join("openstack", "down.sh"), "--wipe")
		errs = append(errs, err)
	}
	switch {
	case f.dir == "":
	case f.o.keep:
		fmt.Fprintln(os.Stderr, "kept:", f.dir)
	default:
		err := os.RemoveAll(f.dir)
		for n := 0; err != nil && n < 20; n++ { // a step of OpenStack's start that was broken off may still write
			_ = testbed.Pause(ctx, time.Second/2)
			err = os.RemoveAll(f.dir)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
