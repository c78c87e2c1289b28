package hypervisortest_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/pool"
)

func aboutMoves() []mutant { return slices.Concat(aboutSizes(), aboutMigrations(), aboutFences()) }

// latest makes an order the latest, as a driver that keeps no revision takes it.
func latest(o hypervisor.Order) hypervisor.Order {
	o.Revision = pool.Revision(time.Now().UnixNano())
	return o
}

func without(a hypervisor.Ability) func(*fake.Config) {
	return func(c *fake.Config) { c.Without = []hypervisor.Ability{a} }
}

func aboutSizes() []mutant {
	resize := func(f func(d *tampered, ctx context.Context, o hypervisor.Order) error) func(*tampered) {
		return func(d *tampered) {
			d.resize = func(ctx context.Context, o hypervisor.Order) error {
				o.Spec = o.Spec.Clone()
				return f(d, ctx, o)
			}
		}
	}
	return []mutant{
		{caught: "resize", how: "nothing happens", tamper: resize(func(_ *tampered, ctx context.Context, _ hypervisor.Order) error { return ctx.Err() })},
		{caught: "resize", how: "memory only", tamper: resize(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			if m, ok := d.listed(ctx, o.Ref); ok {
				o.Spec.Resources[pool.CPU] = m.Resources[pool.CPU]
			}
			return d.Driver.Resize(ctx, o)
		})},
		{caught: "resize", how: "the same again is an error", tamper: resize(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			if m, ok := d.listed(ctx, o.Ref); ok && m.Resources[pool.Memory] == o.Spec.Resources[pool.Memory] {
				return kind(hypervisor.ErrInvalid)
			}
			return d.Driver.Resize(ctx, o)
		})},
		{caught: "resize", how: "never less", tamper: resize(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			if m, ok := d.listed(ctx, o.Ref); ok && m.Resources[pool.Memory] > o.Spec.Resources[pool.Memory] {
				return refused("resize", o.Ref)
			}
			return d.Driver.Resize(ctx, o)
		})},
		{caught: "resize", how: "made anew from the image", tamper: resize(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			if m, ok := d.listed(ctx, o.Ref); ok && m.Power == pool.Stopped && m.Resources[pool.Memory] < o.Spec.Resources[pool.Memory] {
				_ = d.Driver.Destroy(ctx, o.Ref)
				return d.Driver.Create(ctx, o)
			}
			return d.Driver.Resize(ctx, o)
		})},
		{caught: "resize", how: "starts", tamper: resize(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			err := d.Driver.Resize(ctx, o)
			_ = d.Driver.Start(ctx, o.Ref)
			return err
		})},
		{caught: "resize-refused", how: "any order", tamper: resize(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			return d.Driver.Resize(ctx, latest(o))
		})},
		{caught: "resize-refused", how: "the cores first, then an error", tamper: resize(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			err := d.Driver.Resize(ctx, o)
			if errors.Is(err, hypervisor.ErrInvalid) {
				part := o
				part.Spec.Disks = []pool.Disk{{Size: 2 * pool.GiB}}
				_ = d.Driver.Resize(ctx, part)
			}
			return err
		})},
		{caught: "resize-refused", how: "a smaller disk is cut off", tamper: resize(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			if err := d.Driver.Resize(ctx, o); !errors.Is(err, hypervisor.ErrInvalid) {
				return err
			}
			return nil
		})},
		{caught: "resize-running", how: "switched off for it", tamper: resize(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			_ = d.Driver.Stop(ctx, o.Ref)
			return d.Driver.Resize(ctx, o)
		})},
		{caught: "resize-running", how: "after the next start only", tamper: resize(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			if m, ok := d.listed(ctx, o.Ref); ok && m.Power == pool.Running {
				return nil
			}
			return d.Driver.Resize(ctx, o)
		})},
		{caught: "resize-running", how: "cold, and says nothing", config: without(hypervisor.CanResizeHot),
			tamper: resize(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
				if err := d.Driver.Resize(ctx, o); !errors.Is(err, hypervisor.ErrWrongPower) {
					return err
				}
				return nil
			})},
		{caught: "resize-running", how: "cold, by a restart", config: without(hypervisor.CanResizeHot),
			tamper: resize(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
				_ = d.Driver.Stop(ctx, o.Ref)
				return errors.Join(d.Driver.Resize(ctx, o), d.Driver.Start(ctx, o.Ref))
			})},
	}
}

func aboutMigrations() []mutant {
	migrate := func(f func(d *tampered, ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error) func(*tampered) {
		return func(d *tampered) {
			d.migrate = func(ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error { return f(d, ctx, from, o) }
		}
	}
	nothing := func(_ *tampered, ctx context.Context, _ hypervisor.Ref, _ hypervisor.Order) error { return ctx.Err() }
	forgiving := func(k error) func(*tampered) {
		return migrate(func(d *tampered, ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
			if err := d.Driver.Migrate(ctx, from, o); !errors.Is(err, k) {
				return err
			}
			return nil
		})
	}
	restarting := func(d *tampered, ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
		_ = d.Driver.Stop(ctx, from)
		return d.Driver.Migrate(ctx, from, o)
	}
	return []mutant{
		{caught: "migrate", how: "nothing happens", tamper: migrate(nothing)},
		{caught: "migrate", how: "a copy stays behind", tamper: migrate(func(d *tampered, ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
			err := d.Driver.Migrate(ctx, from, o)
			if err == nil {
				o.Host = from.Host
				_ = d.Driver.Create(ctx, o)
			}
			return err
		})},
		{caught: "migrate", how: "made anew from the image", tamper: migrate(func(d *tampered, ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
			if _, ok := d.listed(ctx, from); !ok {
				return d.Driver.Migrate(ctx, from, o)
			}
			return errors.Join(d.Driver.Destroy(ctx, from), d.Driver.Create(ctx, o))
		})},
		{caught: "migrate", how: "the same again is an error", tamper: migrate(func(d *tampered, ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
			if _, ok := d.listed(ctx, from); !ok {
				return kind(hypervisor.ErrNotFound)
			}
			return d.Driver.Migrate(ctx, from, o)
		})},
		{caught: "migrate", how: "one that is nowhere is success", tamper: forgiving(hypervisor.ErrNotFound)},
		{caught: "migrate", how: "starts", tamper: migrate(func(d *tampered, ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
			err := d.Driver.Migrate(ctx, from, o)
			_ = d.Driver.Start(ctx, o.Ref)
			return err
		})},
		{caught: "migrate-refused", how: "any order", tamper: migrate(func(d *tampered, ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
			return d.Driver.Migrate(ctx, from, latest(o))
		})},
		{caught: "migrate-refused", how: "destroyed before it looks", tamper: migrate(func(d *tampered, ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
			err := d.Driver.Migrate(ctx, from, o)
			if errors.Is(err, hypervisor.ErrRefused) && o.Host != other(from.Host) {
				_ = d.Driver.Destroy(ctx, from)
			}
			return err
		})},
		{caught: "migrate-refused", how: "takes the other's place", tamper: migrate(func(d *tampered, ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
			err := d.Driver.Migrate(ctx, from, o)
			if m, ok := d.listed(ctx, o.Ref); ok && errors.Is(err, hypervisor.ErrExists) {
				_ = d.Driver.Destroy(ctx, m.Ref)
				return d.Driver.Migrate(ctx, from, o)
			}
			return err
		})},
		{caught: "migrate-refused", how: "to its own host is success", tamper: forgiving(hypervisor.ErrInvalid)},
		{caught: "migrate-refused", how: "an unknown host leaves it open", tamper: migrate(func(d *tampered, ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
			if o.Host != other(from.Host) && o.Host != from.Host {
				return kind(hypervisor.ErrUnknown)
			}
			return d.Driver.Migrate(ctx, from, o)
		})},
		{caught: "migrate-running", how: "switched off for it", tamper: migrate(restarting)},
		{caught: "migrate-running", how: "runs on both", tamper: migrate(func(d *tampered, ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
			err := d.Driver.Migrate(ctx, from, o)
			if err == nil {
				o.Host = from.Host
				_ = errors.Join(d.Driver.Create(ctx, o), d.Driver.Start(ctx, o.Ref))
			}
			return err
		})},
		{caught: "migrate-running", how: "cold, without being asked", config: without(hypervisor.CanMigrateLive), tamper: migrate(restarting)},
		{caught: "migrate-running", how: "cold, and says nothing", config: without(hypervisor.CanMigrateLive), tamper: forgiving(hypervisor.ErrWrongPower)},
	}
}

func aboutFences() []mutant {
	fence := func(f func(d *tampered, ctx context.Context, h pool.HostID) (string, error)) func(*tampered) {
		return func(d *tampered) {
			d.fence = func(ctx context.Context, h pool.HostID) (string, error) { return f(d, ctx, h) }
		}
	}
	return []mutant{
		{caught: "fence", how: "nothing happens", tamper: fence(func(_ *tampered, ctx context.Context, _ pool.HostID) (string, error) { return "asked", ctx.Err() })},
		{caught: "fence", how: "no proof", tamper: fence(func(d *tampered, ctx context.Context, h pool.HostID) (string, error) {
			_, err := d.Driver.Fence(ctx, h)
			return "", err
		})},
		{caught: "fence", how: "one that is off is an error", tamper: fence(func(d *tampered, ctx context.Context, h pool.HostID) (string, error) {
			if v, ok := d.InspectHost(h); ok && v.State == fake.Dead {
				return "", refused("fence", hypervisor.Ref{Host: h})
			}
			return d.Driver.Fence(ctx, h)
		})},
		{caught: "fence", how: "cut off only", tamper: fence(func(d *tampered, _ context.Context, h pool.HostID) (string, error) {
			return "the network is off", d.SetHostState(h, fake.CutOff)
		})},
		{caught: "fence", how: "the whole rack", tamper: fence(func(d *tampered, ctx context.Context, h pool.HostID) (string, error) {
			_, _ = d.Driver.Fence(ctx, other(h))
			_ = d.SetHostState(other(h), fake.Up)
			return d.Driver.Fence(ctx, h)
		})},
		{caught: "fence", how: "machines start with the host", setup: func(s *hypervisortest.Setup) {
			d := s.Driver.(*tampered)
			s.PowerOn = func(ctx context.Context, id pool.HostID) error {
				err := d.SetHostState(id, fake.Up)
				list, _ := d.Driver.Machines(ctx, id)
				for _, m := range list {
					_ = d.Driver.Start(ctx, m.Ref)
				}
				return err
			}
		}},
	}
}
