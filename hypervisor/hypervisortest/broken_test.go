package hypervisortest_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/pool"
)

// mutant is a driver that is broken in one way.
type mutant struct {
	caught string // the case that has to fail
	how    string
	tamper func(d *tampered)
	config func(*fake.Config)          // of the fleet below
	setup  func(*hypervisortest.Setup) // instead of, or beside, what is broken in the driver
}

// The suite is worth what it catches: every case fails for at least one driver that breaks its rule, and none
// fails for the fake as it is.
func TestEveryCaseCatchesADriverThatBreaksItsRule(t *testing.T) {
	t.Parallel()
	caught := make(map[string]bool)
	for _, m := range mutants() {
		caught[m.caught] = true
		t.Run(m.caught+"/"+m.how, func(t *testing.T) {
			t.Parallel()
			report := judge(t, m)
			require.NotEmpty(t, report.Results, "no case of that name")
			res := report.Results[len(report.Results)-1]
			require.Equal(t, m.caught, res.Name)
			require.Equal(t, hypervisortest.Fail, res.Outcome, "not caught")
			t.Log(res.Detail)
		})
	}
	for _, c := range hypervisortest.Cases() {
		require.True(t, caught[c.Name], "no broken driver for case %s", c.Name)
	}
}

func TestNothingIsCaughtInADriverThatKeepsTheRules(t *testing.T) {
	t.Parallel()
	report := judge(t, mutant{})
	require.NoError(t, report.Err())
}

func judge(t *testing.T, m mutant) (report hypervisortest.Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := config()
		if m.config != nil {
			m.config(&c)
		}
		below := fake.New(c)
		defer below.Close()
		_, err := below.AddForeign(hypervisor.Machine{Ref: hypervisor.Ref{Host: "fake/a"}, Name: "theirs", Power: pool.Running})
		require.NoError(t, err)
		s, d := setup(below), &tampered{Driver: below}
		if m.tamper != nil {
			m.tamper(d)
		}
		s.Driver = d
		s.Reopen = func(context.Context) (hypervisor.Driver, error) { return d, nil }
		if m.setup != nil {
			m.setup(&s)
		}
		if m.caught == "" || m.caught == "leaves-nothing" { // which judges all the others
			report, err = hypervisortest.Check(t.Context(), s)
		} else {
			report, err = hypervisortest.CheckCase(t.Context(), s, m.caught)
		}
		require.NoError(t, err)
		time.Sleep(time.Hour) // until the calls that hang have ended
	})
	return report
}

// refused is an error of a kind for mutants.
func refused(op string, r hypervisor.Ref) error {
	return &hypervisor.Error{Op: op, Host: r.Host, Machine: r.Machine, Kind: hypervisor.ErrRefused}
}

func kind(k error) error { return &hypervisor.Error{Op: "do it", Kind: k} }

func mutants() []mutant {
	return slices.Concat(aboutHosts(), aboutCreate(), aboutTags(), aboutPower(), aboutWatching(), aboutContexts())
}

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
		{caught: "capabilities", how: "unknown kind", tamper: describe(func(c *hypervisor.Capabilities) { c.Kinds = []pool.Kind{"jail"} })},
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
	// careless makes a call under the tag that the machine has.
	careless := func(d *tampered, call refCall) refCall {
		return func(ctx context.Context, r hypervisor.Ref) error {
			if m, ok := d.listed(ctx, r); ok {
				r = m.Ref
			}
			return call(ctx, r)
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

func aboutPower() []mutant {
	// twice fails calls that find the machine in the power state already.
	picky := func(d *tampered, p pool.Power, call refCall) refCall {
		return func(ctx context.Context, r hypervisor.Ref) error {
			if m, ok := d.listed(ctx, r); ok && m.Power == p {
				return kind(hypervisor.ErrWrongPower)
			}
			return call(ctx, r)
		}
	}
	// everywhere makes a call on both hosts.
	everywhere := func(call refCall) refCall {
		return func(ctx context.Context, r hypervisor.Ref) error {
			far := r
			far.Host = other(r.Host)
			_ = call(ctx, far)
			return call(ctx, r)
		}
	}
	nothing := func(context.Context, hypervisor.Ref) error { return nil }
	return []mutant{
		{caught: "start", how: "a running one is an error", tamper: func(d *tampered) { d.start = picky(d, pool.Running, d.Driver.Start) }},
		{caught: "start", how: "nothing happens", tamper: func(d *tampered) { d.start = nothing }},
		{caught: "start", how: "a panic", tamper: func(d *tampered) { d.start = func(context.Context, hypervisor.Ref) error { panic("nil map") } }},
		{caught: "stop", how: "a stopped one is an error", tamper: func(d *tampered) { d.stop = picky(d, pool.Stopped, d.Driver.Stop) }},
		{caught: "stop", how: "the guest does not obey", tamper: func(d *tampered) { d.stop = nothing }},
		{caught: "stop", how: "a stopped one is started", tamper: func(d *tampered) {
			d.stop = func(ctx context.Context, r hypervisor.Ref) error {
				if m, ok := d.listed(ctx, r); ok && m.Power == pool.Stopped {
					return d.Driver.Start(ctx, r)
				}
				return d.Driver.Stop(ctx, r)
			}
		}},
		{caught: "destroy", how: "one that is gone is an error", tamper: func(d *tampered) {
			d.destroy = func(ctx context.Context, r hypervisor.Ref) error {
				if _, ok := d.listed(ctx, r); !ok && r.Host == "fake/a" {
					return kind(hypervisor.ErrNotFound)
				}
				return d.Driver.Destroy(ctx, r)
			}
		}},
		{caught: "destroy", how: "a running one is an error", tamper: func(d *tampered) { d.destroy = picky(d, pool.Running, d.Driver.Destroy) }},
		{caught: "destroy", how: "a stop", tamper: func(d *tampered) {
			d.destroy = func(ctx context.Context, r hypervisor.Ref) error {
				if err := d.Driver.Stop(ctx, r); !errors.Is(err, hypervisor.ErrNotFound) {
					return err
				}
				return nil
			}
		}},
		{caught: "placements-apart", how: "destroyed by instance", tamper: func(d *tampered) {
			d.destroy = func(ctx context.Context, r hypervisor.Ref) error {
				id, _, _ := r.Machine.Split()
				for _, h := range []pool.HostID{"fake/a", "fake/b"} {
					list, _ := d.Driver.Machines(ctx, h)
					for _, m := range list {
						if of, _, ok := m.Machine.Split(); ok && of == id && m.Ledger == r.Ledger {
							_ = d.Driver.Destroy(ctx, m.Ref)
						}
					}
				}
				return d.Driver.Destroy(ctx, r)
			}
		}},
		{caught: "copies-apart", how: "destroyed everywhere", tamper: func(d *tampered) { d.destroy = everywhere(d.Driver.Destroy) }},
		{caught: "copies-apart", how: "stopped everywhere", tamper: func(d *tampered) { d.stop = everywhere(d.Driver.Stop) }},
		{caught: "copies-apart", how: "started everywhere", tamper: func(d *tampered) { d.start = everywhere(d.Driver.Start) }},
		{caught: "suspend", how: "a suspended one is an error", tamper: func(d *tampered) { d.suspend = picky(d, pool.Suspended, d.Driver.Suspend) }},
		{caught: "suspend", how: "resume of a running one is an error", tamper: func(d *tampered) { d.resume = picky(d, pool.Running, d.Driver.Resume) }},
		{caught: "suspend", how: "resume starts", tamper: func(d *tampered) { d.resume = d.Driver.Start }},
		{caught: "suspend", how: "nothing happens", tamper: func(d *tampered) { d.suspend = nothing }},
		{caught: "suspend", how: "a stop", tamper: func(d *tampered) { d.suspend = d.Driver.Stop }},
		{caught: "suspended-ends", how: "cannot be stopped", tamper: func(d *tampered) { d.stop = picky(d, pool.Suspended, d.Driver.Stop) }},
		{caught: "suspended-ends", how: "cannot be destroyed", tamper: func(d *tampered) { d.destroy = picky(d, pool.Suspended, d.Driver.Destroy) }},
		{caught: "suspended-ends", how: "start does nothing", tamper: func(d *tampered) {
			d.start = func(ctx context.Context, r hypervisor.Ref) error {
				if m, ok := d.listed(ctx, r); ok && m.Power == pool.Suspended {
					return nil
				}
				return d.Driver.Start(ctx, r)
			}
		}},
		{caught: "reboot", how: "stays off", tamper: func(d *tampered) {
			d.reboot = func(ctx context.Context, r hypervisor.Ref) error { return d.Driver.Stop(ctx, r) }
		}},
		{caught: "reboot", how: "starts one that is stopped", tamper: func(d *tampered) { d.reboot = d.Driver.Start }},
	}
}

func aboutWatching() []mutant {
	sampled := func(change func(l []hypervisor.Sample) []hypervisor.Sample) func(*tampered) {
		return func(d *tampered) {
			d.sample = func(ctx context.Context, h pool.HostID) ([]hypervisor.Sample, error) {
				list, err := d.Driver.Sample(ctx, h)
				return change(list), err
			}
		}
	}
	logged := func(f func(whole []byte, most int) []byte) func(*tampered) {
		return func(d *tampered) {
			d.log = func(ctx context.Context, r hypervisor.Ref, most int) ([]byte, error) {
				whole, err := d.Driver.Log(ctx, r, math.MaxInt32)
				return f(whole, most), err
			}
		}
	}
	return []mutant{
		{caught: "console-log", how: "all of it", tamper: logged(func(whole []byte, _ int) []byte { return whole })},
		{caught: "console-log", how: "the oldest", tamper: logged(func(whole []byte, most int) []byte { return whole[:min(most, len(whole))] })},
		{caught: "console-log", how: "nothing", tamper: logged(func([]byte, int) []byte { return nil })},
		{caught: "console-log", how: "a part that was never there", tamper: logged(func(whole []byte, most int) []byte {
			if most >= len(whole) {
				return whole
			}
			return bytes.Repeat([]byte("~"), most)
		})},
		{caught: "display", how: "no URL", tamper: func(d *tampered) {
			d.display = func(ctx context.Context, r hypervisor.Ref) (string, error) {
				_, err := d.Driver.Display(ctx, r)
				return "5900", err
			}
		}},
		{caught: "display", how: "of a stopped one", tamper: func(d *tampered) {
			d.display = func(context.Context, hypervisor.Ref) (string, error) { return "vnc://127.0.0.1:5900", nil }
		}},
		{caught: "samples", how: "unknown name", tamper: sampled(func(l []hypervisor.Sample) []hypervisor.Sample { l[0].Name = "cpu-load"; return l })},
		{caught: "samples", how: "not a number", tamper: sampled(func(l []hypervisor.Sample) []hypervisor.Sample { l[1].Value = math.NaN(); return l })},
		{caught: "samples", how: "negative", tamper: sampled(func(l []hypervisor.Sample) []hypervisor.Sample { l[1].Value = -1; return l })},
		{caught: "samples", how: "twice", tamper: sampled(func(l []hypervisor.Sample) []hypervisor.Sample { return append(l, l[0]) })},
		{caught: "samples", how: "no host", tamper: sampled(func(l []hypervisor.Sample) []hypervisor.Sample {
			return slices.DeleteFunc(l, func(s hypervisor.Sample) bool { return s.Machine == "" })
		})},
		{caught: "samples", how: "no machines", tamper: sampled(func(l []hypervisor.Sample) []hypervisor.Sample {
			return slices.DeleteFunc(l, func(s hypervisor.Sample) bool { return s.Machine != "" })
		})},
		{caught: "samples", how: "machines that are not there", tamper: sampled(func(l []hypervisor.Sample) []hypervisor.Sample {
			ghost := hypervisor.Sample{Host: l[0].Host, Machine: "ghost-0", Name: hypervisor.CPUSeconds, Time: l[0].Time}
			return append(l, ghost)
		})},
		{caught: "samples", how: "another host", tamper: sampled(func(l []hypervisor.Sample) []hypervisor.Sample { l[0].Host = "fake/b"; return l })},
		{caught: "samples", how: "no time", tamper: sampled(func(l []hypervisor.Sample) []hypervisor.Sample { l[0].Time = time.Time{}; return l })},
		{caught: "samples", how: "kibibytes", tamper: sampled(func(l []hypervisor.Sample) []hypervisor.Sample {
			for i := range l {
				if l[i].Name == hypervisor.MemoryTotal {
					l[i].Value /= 1024
				}
			}
			return l
		})},
		{caught: "samples", how: "a host's name for a machine", tamper: sampled(func(l []hypervisor.Sample) []hypervisor.Sample {
			for i := range l {
				if l[i].Name == hypervisor.MemoryTotal {
					l[i].Name = hypervisor.HostMemoryTotal
				}
			}
			return l
		})},
		{caught: "counters", how: "start over", tamper: func(d *tampered) {
			var n atomic.Int64
			d.sample = func(ctx context.Context, h pool.HostID) ([]hypervisor.Sample, error) {
				list, err := d.Driver.Sample(ctx, h)
				for i := range list {
					if list[i].Name == hypervisor.CPUSeconds {
						list[i].Value = 1 / float64(n.Add(1))
					}
				}
				return list, err
			}
		}},
		{caught: "leaves-nothing", how: "the disks stay", setup: func(s *hypervisortest.Setup) {
			var mu sync.Mutex
			var disks []string
			d := s.Driver.(*tampered)
			d.create = func(ctx context.Context, o hypervisor.Order) error {
				err := d.Driver.Create(ctx, o)
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					disks = append(disks, string(o.Machine)+".qcow2")
				}
				return err
			}
			s.Traces = func(context.Context, pool.HostID) ([]string, error) {
				mu.Lock()
				defer mu.Unlock()
				return slices.Clone(disks), nil
			}
		}},
		{caught: "leaves-nothing", how: "takes others with it", tamper: func(d *tampered) {
			d.destroy = func(ctx context.Context, r hypervisor.Ref) error {
				list, _ := d.Driver.Machines(ctx, r.Host)
				for _, m := range list {
					if m.Name == "theirs" {
						_ = d.RemoveForeign(r.Host, m.Native)
					}
				}
				return d.Driver.Destroy(ctx, r)
			}
		}},
		{caught: "leaves-nothing", how: "does nothing", tamper: func(d *tampered) {
			d.destroy = func(context.Context, hypervisor.Ref) error { return nil }
		}},
	}
}

func aboutContexts() []mutant {
	return []mutant{
		{caught: "context-ended", how: "ignored", tamper: func(d *tampered) {
			d.stop = func(_ context.Context, r hypervisor.Ref) error { return d.Driver.Stop(context.Background(), r) }
		}},
		{caught: "context-ended", how: "created all the same", tamper: func(d *tampered) {
			d.create = func(ctx context.Context, o hypervisor.Order) error {
				err := ctx.Err()
				return errors.Join(d.Driver.Create(context.Background(), o), err)
			}
		}},
		{caught: "context-ended", how: "another error", tamper: func(d *tampered) {
			d.hosts = func(ctx context.Context) ([]pool.Host, error) {
				if ctx.Err() != nil {
					return nil, kind(hypervisor.ErrUnavailable)
				}
				return d.Driver.Hosts(ctx)
			}
		}},
		{caught: "context-ends", how: "hangs", tamper: func(d *tampered) {
			d.start = func(ctx context.Context, r hypervisor.Ref) error {
				if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < time.Second {
					time.Sleep(time.Minute)
				}
				return d.Driver.Start(ctx, r)
			}
		}},
		{caught: "context-ends", how: "an error of no kind", config: slow, tamper: func(d *tampered) {
			d.stop = func(ctx context.Context, r hypervisor.Ref) error {
				err := d.Driver.Stop(ctx, r)
				if errors.Is(err, context.DeadlineExceeded) {
					return errors.New("i/o timeout")
				}
				return err
			}
		}},
		{caught: "context-ends", how: "does not find back", config: slow, tamper: func(d *tampered) {
			var broken atomic.Bool
			d.machines = func(ctx context.Context, h pool.HostID) ([]hypervisor.Machine, error) {
				list, err := d.Driver.Machines(ctx, h)
				if errors.Is(err, context.DeadlineExceeded) {
					broken.Store(true)
				}
				if broken.Load() {
					return nil, kind(hypervisor.ErrUnavailable)
				}
				return list, err
			}
		}},
		{caught: "concurrent", how: "one at a time or an error", config: slow, tamper: func(d *tampered) {
			var busy atomic.Bool
			d.create = func(ctx context.Context, o hypervisor.Order) error {
				if !busy.CompareAndSwap(false, true) {
					return refused("create", o.Ref)
				}
				defer busy.Store(false)
				return d.Driver.Create(ctx, o)
			}
		}},
		{caught: "concurrent", how: "calls get mixed up", config: slow, tamper: func(d *tampered) {
			var mu sync.Mutex
			var last hypervisor.Ref // shared by all calls, as in a driver with one request buffer
			d.destroy = func(ctx context.Context, r hypervisor.Ref) error {
				mu.Lock()
				last = r
				mu.Unlock()
				time.Sleep(time.Millisecond)
				mu.Lock()
				r = last
				mu.Unlock()
				return d.Driver.Destroy(ctx, r)
			}
		}},
	}
}

func slow(c *fake.Config) { c.Latency = fake.Latency{Min: 50 * time.Millisecond} }
