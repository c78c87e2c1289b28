package hypervisortest_test

import (
	"context"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/pool"
)

// tampered is a fake some of whose calls are replaced, to be broken on purpose.
type tampered struct {
	*fake.Driver
	describe func(pool.HostID) hypervisor.Capabilities
	hosts    func(context.Context) ([]pool.Host, error)
	machines func(context.Context, pool.HostID) ([]hypervisor.Machine, error)
	create   func(context.Context, hypervisor.Order) error
	start    func(context.Context, hypervisor.Ref) error
	stop     func(context.Context, hypervisor.Ref) error
	destroy  func(context.Context, hypervisor.Ref) error
	suspend  func(context.Context, hypervisor.Ref) error
	resume   func(context.Context, hypervisor.Ref) error
	reboot   func(context.Context, hypervisor.Ref) error
	shelve   func(context.Context, hypervisor.Ref) error
	unshelve func(context.Context, hypervisor.Order, hypervisor.Ref) error
	discard  func(context.Context, hypervisor.Ref) error
	resize   func(context.Context, hypervisor.Order) error
	migrate  func(context.Context, hypervisor.Ref, hypervisor.Order) error
	snapshot func(context.Context, hypervisor.Ref, string) error
	kept     func(context.Context, hypervisor.Ref) ([]hypervisor.Snapshot, error)
	revert   func(context.Context, hypervisor.Ref, string) error
	forget   func(context.Context, hypervisor.Ref, string) error
	fence    func(context.Context, pool.HostID) (string, error)
	log      func(context.Context, hypervisor.Ref, int) ([]byte, error)
	display  func(context.Context, hypervisor.Ref) (string, error)
	sample   func(context.Context, pool.HostID) ([]hypervisor.Sample, error)
	sleep    func(context.Context, hypervisor.Ref) error
	disks    func(context.Context, hypervisor.Order) error
	images   func(context.Context, pool.HostID) ([]hypervisor.SourceImage, error)
	imports  func(context.Context, pool.HostID, hypervisor.ImageFile) (string, error)
	unimport func(context.Context, pool.HostID, string) error
	watch    func(context.Context, pool.HostID, func()) error
}

func (d *tampered) Hibernate(ctx context.Context, r hypervisor.Ref) error {
	return either(d.sleep, d.Driver.Hibernate)(ctx, r)
}

func (d *tampered) SetDisks(ctx context.Context, o hypervisor.Order) error {
	if d.disks != nil {
		return d.disks(ctx, o)
	}
	return d.Driver.SetDisks(ctx, o)
}

func (d *tampered) Images(ctx context.Context, h pool.HostID) ([]hypervisor.SourceImage, error) {
	if d.images != nil {
		return d.images(ctx, h)
	}
	return d.Driver.Images(ctx, h)
}

func (d *tampered) Import(ctx context.Context, h pool.HostID, f hypervisor.ImageFile) (string, error) {
	if d.imports != nil {
		return d.imports(ctx, h, f)
	}
	return d.Driver.Import(ctx, h, f)
}

func (d *tampered) RemoveImage(ctx context.Context, h pool.HostID, source string) error {
	if d.unimport != nil {
		return d.unimport(ctx, h, source)
	}
	return d.Driver.RemoveImage(ctx, h, source)
}

func (d *tampered) Watch(ctx context.Context, h pool.HostID, changed func()) error {
	if d.watch != nil {
		return d.watch(ctx, h, changed)
	}
	return d.Driver.Watch(ctx, h, changed)
}

func (d *tampered) Describe(h pool.HostID) hypervisor.Capabilities {
	if d.describe != nil {
		return d.describe(h)
	}
	return d.Driver.Describe(h)
}

func (d *tampered) Hosts(ctx context.Context) ([]pool.Host, error) {
	if d.hosts != nil {
		return d.hosts(ctx)
	}
	return d.Driver.Hosts(ctx)
}

func (d *tampered) Machines(ctx context.Context, h pool.HostID) ([]hypervisor.Machine, error) {
	if d.machines != nil {
		return d.machines(ctx, h)
	}
	return d.Driver.Machines(ctx, h)
}

func (d *tampered) Create(ctx context.Context, o hypervisor.Order) error {
	if d.create != nil {
		return d.create(ctx, o)
	}
	return d.Driver.Create(ctx, o)
}

func (d *tampered) Start(ctx context.Context, r hypervisor.Ref) error {
	return either(d.start, d.Driver.Start)(ctx, r)
}

func (d *tampered) Stop(ctx context.Context, r hypervisor.Ref) error {
	return either(d.stop, d.Driver.Stop)(ctx, r)
}

func (d *tampered) Destroy(ctx context.Context, r hypervisor.Ref) error {
	return either(d.destroy, d.Driver.Destroy)(ctx, r)
}

func (d *tampered) Suspend(ctx context.Context, r hypervisor.Ref) error {
	return either(d.suspend, d.Driver.Suspend)(ctx, r)
}

func (d *tampered) Resume(ctx context.Context, r hypervisor.Ref) error {
	return either(d.resume, d.Driver.Resume)(ctx, r)
}

func (d *tampered) Reboot(ctx context.Context, r hypervisor.Ref) error {
	return either(d.reboot, d.Driver.Reboot)(ctx, r)
}

func (d *tampered) Shelve(ctx context.Context, r hypervisor.Ref) error {
	return either(d.shelve, d.Driver.Shelve)(ctx, r)
}

func (d *tampered) Unshelve(ctx context.Context, o hypervisor.Order, from hypervisor.Ref) error {
	if d.unshelve != nil {
		return d.unshelve(ctx, o, from)
	}
	return d.Driver.Unshelve(ctx, o, from)
}

func (d *tampered) Discard(ctx context.Context, r hypervisor.Ref) error {
	return either(d.discard, d.Driver.Discard)(ctx, r)
}

func (d *tampered) Resize(ctx context.Context, o hypervisor.Order) error {
	if d.resize != nil {
		return d.resize(ctx, o)
	}
	return d.Driver.Resize(ctx, o)
}

func (d *tampered) Migrate(ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
	if d.migrate != nil {
		return d.migrate(ctx, from, o)
	}
	return d.Driver.Migrate(ctx, from, o)
}

func (d *tampered) Snapshot(ctx context.Context, r hypervisor.Ref, name string) error {
	if d.snapshot != nil {
		return d.snapshot(ctx, r, name)
	}
	return d.Driver.Snapshot(ctx, r, name)
}

func (d *tampered) Snapshots(ctx context.Context, r hypervisor.Ref) ([]hypervisor.Snapshot, error) {
	if d.kept != nil {
		return d.kept(ctx, r)
	}
	return d.Driver.Snapshots(ctx, r)
}

func (d *tampered) Revert(ctx context.Context, r hypervisor.Ref, name string) error {
	if d.revert != nil {
		return d.revert(ctx, r, name)
	}
	return d.Driver.Revert(ctx, r, name)
}

func (d *tampered) DeleteSnapshot(ctx context.Context, r hypervisor.Ref, name string) error {
	if d.forget != nil {
		return d.forget(ctx, r, name)
	}
	return d.Driver.DeleteSnapshot(ctx, r, name)
}

func (d *tampered) Fence(ctx context.Context, h pool.HostID) (string, error) {
	if d.fence != nil {
		return d.fence(ctx, h)
	}
	return d.Driver.Fence(ctx, h)
}

func (d *tampered) Log(ctx context.Context, r hypervisor.Ref, most int) ([]byte, error) {
	if d.log != nil {
		return d.log(ctx, r, most)
	}
	return d.Driver.Log(ctx, r, most)
}

func (d *tampered) Display(ctx context.Context, r hypervisor.Ref) (string, error) {
	if d.display != nil {
		return d.display(ctx, r)
	}
	return d.Driver.Display(ctx, r)
}

func (d *tampered) Sample(ctx context.Context, h pool.HostID) ([]hypervisor.Sample, error) {
	if d.sample != nil {
		return d.sample(ctx, h)
	}
	return d.Driver.Sample(ctx, h)
}

type refCall func(context.Context, hypervisor.Ref) error

func either(replaced, real refCall) refCall {
	if replaced != nil {
		return replaced
	}
	return real
}

// listed returns the machine as it is listed under its id, whatever its tag.
func (d *tampered) listed(ctx context.Context, r hypervisor.Ref) (hypervisor.Machine, bool) {
	list, _ := d.Driver.Machines(ctx, r.Host)
	for _, m := range list {
		if m.Machine == r.Machine {
			return m, true
		}
	}
	return hypervisor.Machine{}, false
}

// other returns the fleet's host that is not h.
func other(h pool.HostID) pool.HostID {
	if h == "fake/a" {
		return "fake/b"
	}
	return "fake/a"
}

// bare is a driver without abilities that claims one.
type bare struct{ hypervisor.Driver }

func (bare) Describe(pool.HostID) hypervisor.Capabilities {
	return hypervisor.Capabilities{Abilities: []hypervisor.Ability{hypervisor.CanSuspend}}
}

func config() fake.Config {
	var hosts []pool.Host
	for _, id := range []pool.HostID{"fake/a", "fake/b"} {
		hosts = append(hosts, pool.Host{
			ID: id, Labels: map[string]string{"rack": "r1"},
			Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 64 * pool.Core}, pool.Memory: {Total: 64 * pool.GiB}},
			Devices:   []pool.Device{{ID: "pool", Class: pool.StorageStandard, Inventory: pool.Inventory{Total: pool.TiB}}},
		})
	}
	return fake.Config{Hosts: hosts, Images: []string{"image"}}
}

// content is what is on a machine's disks.
func content(d *fake.Driver, r hypervisor.Ref) string {
	v, _ := d.InspectHost(r.Host)
	for _, m := range v.Machines {
		if m.Tag == r.Tag {
			return m.Content
		}
	}
	return "no such machine"
}

// setup is a fleet of two hosts, on the first of which somebody has a machine already.
func setup(d *fake.Driver) hypervisortest.Setup {
	return hypervisortest.Setup{
		Driver:    d,
		Hosts:     []pool.HostID{"fake/a", "fake/b"},
		BadSource: "no-such-image",
		Order: hypervisor.Order{Source: "image", Spec: pool.Spec{
			Image: "debian-12", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: pool.GiB}, Disks: []pool.Disk{{Size: pool.GiB}},
		}},
		Untagged: func(_ context.Context, r hypervisor.Ref) (func() error, error) {
			native, err := d.AddForeign(hypervisor.Machine{Ref: hypervisor.Ref{Host: r.Host}, Native: string(r.Machine)})
			return func() error { return d.RemoveForeign(r.Host, native) }, err
		},
		Disturb: disturb(d),
		Reopen:  func(context.Context) (hypervisor.Driver, error) { return d, nil },
		PowerOn: func(_ context.Context, id pool.HostID) error { return d.SetHostState(id, fake.Up) },
		Content: func(_ context.Context, r hypervisor.Ref) (string, error) { return content(d, r), nil },
		Traces: func(_ context.Context, id pool.HostID) ([]string, error) {
			v, _ := d.InspectHost(id)
			var out []string
			for _, m := range v.Machines {
				out = append(out, m.Native)
			}
			return out, nil
		},
	}
}

// careless makes a call with whatever tag the machine of that id has.
func careless(d *tampered, call refCall) refCall {
	return func(ctx context.Context, r hypervisor.Ref) error {
		if m, ok := d.listed(ctx, r); ok {
			r = m.Ref
		}
		return call(ctx, r)
	}
}

// picky makes a call, but on machines in that power state.
func picky(d *tampered, p pool.Power, call refCall) refCall {
	return func(ctx context.Context, r hypervisor.Ref) error {
		if m, ok := d.listed(ctx, r); ok && m.Power == p {
			return kind(hypervisor.ErrWrongPower)
		}
		return call(ctx, r)
	}
}

// nothing says that it has done what it was asked.
func nothing(context.Context, hypervisor.Ref) error { return nil }

// disturb lets a call of a fake go wrong as a connection would. A call is one request.
func disturb(d *fake.Driver) func(hypervisortest.Disturbance, int) func() bool {
	return func(kind hypervisortest.Disturbance, n int) func() bool {
		return d.Plan(n, map[hypervisortest.Disturbance]fake.Fault{
			hypervisortest.CutBefore: {Kind: fake.Drop}, hypervisortest.CutAfter: {Kind: fake.Lose},
			hypervisortest.Delayed: {Before: 100 * time.Millisecond}, hypervisortest.Twice: {Kind: fake.Duplicate},
		}[kind])
	}
}
