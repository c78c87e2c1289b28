package hypervisortest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/pool"
)

func aboutHosts() []mutant {
	hosts := func(change func([]pool.Host) []pool.Host) func(*tampered) {
		return func(d *tampered) {
			d.hosts = func(ctx context.Context) ([]pool.Host, error) {
				list, err := d.Driver.Hosts(ctx)
				return change(list), err
			}
		}
	}
	machines := func(change func(*tampered, context.Context, []hypervisor.Machine) []hypervisor.Machine) func(*tampered) {
		return func(d *tampered) {
			d.machines = func(ctx context.Context, h pool.HostID) ([]hypervisor.Machine, error) {
				list, err := d.Driver.Machines(ctx, h)
				return change(d, ctx, list), err
			}
		}
	}
	describe := func(change func(*hypervisor.Capabilities)) func(*tampered) {
		return func(d *tampered) {
			d.describe = func(h pool.HostID) hypervisor.Capabilities {
				c := d.Driver.Describe(h)
				change(&c)
				return c
			}
		}
	}
	return []mutant{
		{caught: "capabilities", how: "unsorted", tamper: describe(func(c *hypervisor.Capabilities) { slices.Reverse(c.Abilities) })},
		{caught: "capabilities", how: "unknown ability", tamper: describe(func(c *hypervisor.Capabilities) { c.Abilities = append(c.Abilities, "teleport") })},
		{caught: "capabilities", how: "negative Settles", tamper: describe(func(c *hypervisor.Capabilities) { c.Settles = -1 })},
		{caught: "capabilities", how: "interface is missing", setup: func(s *hypervisortest.Setup) { s.Driver = bare{s.Driver} }},
		{caught: "capabilities", how: "less than expected", setup: func(s *hypervisortest.Setup) { s.Abilities = []hypervisor.Ability{hypervisor.CanSuspend} }},
		{caught: "capabilities", how: "asks the hypervisor", tamper: describe(func(*hypervisor.Capabilities) { time.Sleep(2 * time.Millisecond) })},
		{caught: "not-offered", how: "pretends", config: func(c *fake.Config) { c.Without = []hypervisor.Ability{hypervisor.CanReboot} },
			tamper: func(d *tampered) { d.reboot = func(context.Context, hypervisor.Ref) error { return nil } }},

		{caught: "hosts-valid", how: "malformed", tamper: hosts(func(l []pool.Host) []pool.Host { l[0].Labels = map[string]string{"a b": "\n"}; return l })},
		{caught: "hosts-valid", how: "twice", tamper: hosts(func(l []pool.Host) []pool.Host { return append(l, l[0]) })},
		{caught: "hosts-valid", how: "of another driver", tamper: hosts(func(l []pool.Host) []pool.Host {
			return append(l, pool.Host{ID: "other/c", Conditions: pool.Ready})
		})},
		{caught: "hosts-valid", how: "never ready", tamper: hosts(func(l []pool.Host) []pool.Host { l[1].Conditions = 0; return l })},
		{caught: "answers-own", how: "hosts kept", tamper: func(d *tampered) {
			kept, _ := d.Driver.Hosts(context.Background())
			d.hosts = func(context.Context) ([]pool.Host, error) { return kept, nil }
		}},
		{caught: "answers-own", how: "machines kept", tamper: func(d *tampered) {
			var kept sync.Map
			machines(func(_ *tampered, _ context.Context, l []hypervisor.Machine) []hypervisor.Machine {
				for i := range l {
					r, _ := kept.LoadOrStore(l[i].Native, l[i].Resources)
					l[i].Resources = r.(pool.Resources)
				}
				return l
			})(d)
		}},
		{caught: "answers-own", how: "order kept", tamper: func(d *tampered) {
			var kept sync.Map
			d.create = func(ctx context.Context, o hypervisor.Order) error {
				kept.Store(o.Machine, o.Spec.Resources)
				return d.Driver.Create(ctx, o)
			}
			machines(func(_ *tampered, _ context.Context, l []hypervisor.Machine) []hypervisor.Machine {
				for i := range l {
					if r, ok := kept.Load(l[i].Machine); ok {
						l[i].Resources = r.(pool.Resources)
					}
				}
				return l
			})(d)
		}},
		{caught: "inventory-stable", how: "ours are reserved", tamper: func(d *tampered) {
			d.hosts = func(ctx context.Context) ([]pool.Host, error) {
				list, err := d.Driver.Hosts(ctx)
				for _, h := range list {
					v, _ := d.InspectHost(h.ID)
					inv := h.Inventory[pool.Memory]
					inv.Reserved += v.Used[pool.Memory]
					h.Inventory[pool.Memory] = inv
				}
				return list, err
			}
		}},
		{caught: "inventory-stable", how: "free space is the device's size", tamper: func(d *tampered) {
			d.hosts = func(ctx context.Context) ([]pool.Host, error) {
				list, err := d.Driver.Hosts(ctx)
				for _, h := range list {
					v, _ := d.InspectHost(h.ID)
					h.Devices[0].Total -= v.Devices[h.Devices[0].ID]
				}
				return list, err
			}
		}},
		{caught: "machines-complete", how: "a page of two", tamper: machines(func(_ *tampered, _ context.Context, l []hypervisor.Machine) []hypervisor.Machine {
			return l[:min(len(l), 2)]
		})},
		{caught: "machines-complete", how: "twice", tamper: machines(func(_ *tampered, _ context.Context, l []hypervisor.Machine) []hypervisor.Machine {
			return append(l, l...)
		})},
		{caught: "machines-complete", how: "without a native id", tamper: machines(func(_ *tampered, _ context.Context, l []hypervisor.Machine) []hypervisor.Machine {
			for i := range l {
				l[i].Native = ""
			}
			return l
		})},
		{caught: "machines-complete", how: "of no power state", tamper: machines(func(_ *tampered, _ context.Context, l []hypervisor.Machine) []hypervisor.Machine {
			for i := range l {
				if l[i].Power == pool.Stopped {
					l[i].Power = "shut off"
				}
			}
			return l
		})},
		{caught: "machines-complete", how: "of all hosts", tamper: func(d *tampered) {
			d.machines = func(ctx context.Context, h pool.HostID) ([]hypervisor.Machine, error) {
				list, err := d.Driver.Machines(ctx, h)
				more, _ := d.Driver.Machines(ctx, other(h))
				for i := range more {
					more[i].Host = h
				}
				return append(list, more...), err
			}
		}},
		{caught: "unknown-host", how: "empty list", tamper: func(d *tampered) {
			d.machines = func(ctx context.Context, h pool.HostID) ([]hypervisor.Machine, error) {
				list, err := d.Driver.Machines(ctx, h)
				if errors.Is(err, hypervisor.ErrNotFound) {
					return nil, nil
				}
				return list, err
			}
		}},
		{caught: "unknown-host", how: "destroyed there", tamper: func(d *tampered) {
			d.destroy = func(ctx context.Context, r hypervisor.Ref) error {
				if err := d.Driver.Destroy(ctx, r); !errors.Is(err, hypervisor.ErrNotFound) {
					return err
				}
				return nil
			}
		}},
		{caught: "unknown-host", how: "an error of no kind", tamper: func(d *tampered) {
			d.stop = func(ctx context.Context, r hypervisor.Ref) error {
				if err := d.Driver.Stop(ctx, r); err != nil {
					return errors.New(err.Error())
				}
				return nil
			}
		}},
		{caught: "unknown-machine", how: "started", tamper: func(d *tampered) {
			d.start = func(ctx context.Context, r hypervisor.Ref) error {
				if err := d.Driver.Start(ctx, r); !errors.Is(err, hypervisor.ErrNotFound) {
					return err
				}
				return nil
			}
		}},
	}
}

func aboutCreate() []mutant {
	create := func(f func(d *tampered, ctx context.Context, o hypervisor.Order) error) func(*tampered) {
		return func(d *tampered) {
			d.create = func(ctx context.Context, o hypervisor.Order) error { return f(d, ctx, o) }
		}
	}
	return []mutant{
		{caught: "create-stopped", how: "starts", tamper: create(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			return errors.Join(d.Driver.Create(ctx, o), d.Driver.Start(ctx, o.Ref))
		})},
		{caught: "create-stopped", how: "half the memory", tamper: create(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			o.Spec = o.Spec.Clone()
			o.Spec.Resources[pool.Memory] /= 2
			return d.Driver.Create(ctx, o)
		})},
		{caught: "create-twice", how: "success", tamper: create(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			if err := d.Driver.Create(ctx, o); !errors.Is(err, hypervisor.ErrExists) {
				return err
			}
			return nil
		})},
		{caught: "create-twice", how: "made anew", tamper: create(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			err := d.Driver.Create(ctx, o)
			if errors.Is(err, hypervisor.ErrExists) {
				_ = d.Driver.Destroy(ctx, o.Ref)
				_ = d.Driver.Create(ctx, o)
			}
			return err
		})},
		{caught: "create-twice", how: "taken over from another ledger", tamper: create(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			err := d.Driver.Create(ctx, o)
			if m, ok := d.listed(ctx, o.Ref); ok && errors.Is(err, hypervisor.ErrExists) && m.Ledger != o.Ledger {
				_ = d.Driver.Destroy(ctx, m.Ref)
				_ = d.Driver.Create(ctx, o)
			}
			return err
		})},
		{caught: "create-race", how: "look, then create", config: func(c *fake.Config) { c.Copies = true }, tamper: func(d *tampered) {
			d.describe = func(h pool.HostID) hypervisor.Capabilities {
				c := d.Driver.Describe(h)
				c.CreateUnique = true
				return c
			}
			d.create = func(ctx context.Context, o hypervisor.Order) error {
				if _, ok := d.listed(ctx, o.Ref); ok {
					return kind(hypervisor.ErrExists)
				}
				time.Sleep(time.Millisecond)
				return d.Driver.Create(ctx, o)
			}
		}},
		{caught: "create-fails", how: "made all the same", tamper: create(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			err := d.Driver.Create(ctx, o)
			if errors.Is(err, hypervisor.ErrRefused) {
				o.Source = "image"
				_ = d.Driver.Create(ctx, o)
			}
			return err
		})},
		{caught: "create-fails", how: "leaves the outcome open", tamper: create(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			if err := d.Driver.Create(ctx, o); !errors.Is(err, hypervisor.ErrRefused) {
				return err
			}
			return kind(hypervisor.ErrUnknown)
		})},
		{caught: "create-fails", how: "boots something else", tamper: create(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			o.Source = "image"
			return d.Driver.Create(ctx, o)
		})},
		{caught: "create-fails", how: "leaves its disks", config: spoilBad},
		{caught: "create-fails", how: "is in its own way", tamper: func(d *tampered) {
			var mu sync.Mutex
			spoiled := make(map[pool.MachineID]bool)
			d.create = func(ctx context.Context, o hypervisor.Order) error {
				mu.Lock()
				defer mu.Unlock()
				if spoiled[o.Machine] {
					return kind(hypervisor.ErrExists)
				}
				err := d.Driver.Create(ctx, o)
				spoiled[o.Machine] = errors.Is(err, hypervisor.ErrRefused)
				return err
			}
		}},
		{caught: "create-disks", how: "root disk only", tamper: create(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			o.Spec.Disks, o.Allocation.Claims = o.Spec.Disks[:1], o.Allocation.Claims[:1]
			return d.Driver.Create(ctx, o)
		})},
		{caught: "create-text", how: "pasted", tamper: create(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			if strings.Contains(o.Spec.Labels["note"], "<") {
				return &hypervisor.Error{Op: "create", Kind: hypervisor.ErrInvalid, Cause: errors.New("XML parse error")}
			}
			return d.Driver.Create(ctx, o)
		})},
		{caught: "create-text", how: "tag is cut off", tamper: create(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			if strings.Contains(o.Spec.Labels["note"], "<") {
				o.Ledger = "lost"
			}
			return d.Driver.Create(ctx, o)
		})},
	}
}

// spoilBad makes creates of the image that is not there fail half-way.
func spoilBad(c *fake.Config) {
	c.Images = nil
	c.Hook = func(call fake.Call) fake.Fault {
		if call.Op == fake.OpCreate && call.N == 1 {
			return fake.Fault{Kind: fake.Spoil}
		}
		return fake.Fault{}
	}
}

func aboutTags() []mutant {
	shown := func(change func(*hypervisor.Machine)) func(*tampered) {
		return func(d *tampered) {
			d.machines = func(ctx context.Context, h pool.HostID) ([]hypervisor.Machine, error) {
				list, err := d.Driver.Machines(ctx, h)
				for i := range list {
					change(&list[i])
				}
				return list, err
			}
		}
	}
	return []mutant{
		{caught: "tags-exact", how: "32 bits", tamper: shown(func(m *hypervisor.Machine) { m.Launched = pool.Revision(int32(m.Launched)) })},
		{caught: "tags-exact", how: "a description of 63 bytes", tamper: shown(func(m *hypervisor.Machine) { m.Ledger = m.Ledger[:min(len(m.Ledger), 63)] })},
		{caught: "tags-exact", how: "placements of one digit", tamper: shown(func(m *hypervisor.Machine) {
			if id, n, ok := m.Machine.Split(); ok {
				m.Machine = id.Machine(n % 10)
			}
		})},
		{caught: "tags-exact", how: "lost when it stops", tamper: shown(func(m *hypervisor.Machine) {
			if m.Power == pool.Running {
				m.Launched = 0
			}
		})},
		{caught: "tags-reopened", how: "tags in memory", setup: func(s *hypervisortest.Setup) {
			d := s.Driver.(*tampered)
			s.Reopen = func(context.Context) (hypervisor.Driver, error) {
				forgetful := &tampered{Driver: d.Driver}
				shown(func(m *hypervisor.Machine) { m.Tag = hypervisor.Tag{} })(forgetful)
				return forgetful, nil
			}
		}},
		{caught: "destroy-foreign", how: "any tag", tamper: func(d *tampered) { d.destroy = careless(d, d.Driver.Destroy) }},
		{caught: "destroy-foreign", how: "any launch", tamper: func(d *tampered) {
			d.destroy = func(ctx context.Context, r hypervisor.Ref) error {
				if m, ok := d.listed(ctx, r); ok && m.Ledger == r.Ledger {
					r = m.Ref
				}
				return d.Driver.Destroy(ctx, r)
			}
		}},
		{caught: "destroy-foreign", how: "success without doing it", tamper: func(d *tampered) {
			d.destroy = func(ctx context.Context, r hypervisor.Ref) error {
				if err := d.Driver.Destroy(ctx, r); !errors.Is(err, hypervisor.ErrForeign) {
					return err
				}
				return nil
			}
		}},
		{caught: "destroy-foreign", how: "switched off before it looks", tamper: func(d *tampered) {
			d.destroy = func(ctx context.Context, r hypervisor.Ref) error {
				_ = careless(d, d.Driver.Stop)(ctx, r)
				return d.Driver.Destroy(ctx, r)
			}
		}},
		{caught: "power-foreign", how: "start", tamper: func(d *tampered) { d.start = careless(d, d.Driver.Start) }},
		{caught: "power-foreign", how: "stop", tamper: func(d *tampered) { d.stop = careless(d, d.Driver.Stop) }},
		{caught: "power-foreign", how: "suspend", tamper: func(d *tampered) { d.suspend = careless(d, d.Driver.Suspend) }},
		{caught: "power-foreign", how: "resume", tamper: func(d *tampered) { d.resume = careless(d, d.Driver.Resume) }},
		{caught: "power-foreign", how: "reboot", tamper: func(d *tampered) { d.reboot = careless(d, d.Driver.Reboot) }},
		{caught: "power-foreign", how: "shelve", tamper: func(d *tampered) { d.shelve = careless(d, d.Driver.Shelve) }},
		{caught: "power-foreign", how: "resize", tamper: func(d *tampered) {
			d.resize = func(ctx context.Context, o hypervisor.Order) error {
				return careless(d, func(ctx context.Context, r hypervisor.Ref) error {
					o.Ref = r
					return d.Driver.Resize(ctx, o)
				})(ctx, o.Ref)
			}
		}},
		{caught: "power-foreign", how: "migrate", tamper: func(d *tampered) {
			d.migrate = func(ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
				return careless(d, func(ctx context.Context, r hypervisor.Ref) error {
					o.Tag = r.Tag
					return d.Driver.Migrate(ctx, r, o)
				})(ctx, from)
			}
		}},
		{caught: "power-foreign", how: "snapshot", tamper: func(d *tampered) {
			d.snapshot = func(ctx context.Context, r hypervisor.Ref, name string) error {
				return careless(d, func(ctx context.Context, r hypervisor.Ref) error { return d.Driver.Snapshot(ctx, r, name) })(ctx, r)
			}
		}},
		{caught: "untagged", how: "destroyed by name", tamper: func(d *tampered) {
			d.destroy = func(ctx context.Context, r hypervisor.Ref) error {
				err := d.Driver.Destroy(ctx, r)
				if errors.Is(err, hypervisor.ErrForeign) {
					_ = d.RemoveForeign(r.Host, string(r.Machine))
				}
				return err
			}
		}},
		{caught: "untagged", how: "taken for ours by its name", tamper: shown(func(m *hypervisor.Machine) {
			if _, _, ok := pool.MachineID(m.Native).Split(); ok && m.Machine == "" {
				m.Machine = pool.MachineID(m.Native)
			}
		})},
		{caught: "untagged", how: "not listed", tamper: func(d *tampered) {
			d.machines = func(ctx context.Context, h pool.HostID) ([]hypervisor.Machine, error) {
				list, err := d.Driver.Machines(ctx, h)
				return slices.DeleteFunc(list, func(m hypervisor.Machine) bool { return m.Tag == hypervisor.Tag{} }), err
			}
		}},
	}
}
