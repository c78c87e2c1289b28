package hypervisortest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// aboutDisks are drivers that break the rules of SetDisks.
func aboutDisks() []mutant {
	disks := func(f func(d *tampered, ctx context.Context, o hypervisor.Order) error) func(*tampered) {
		return func(d *tampered) {
			d.disks = func(ctx context.Context, o hypervisor.Order) error { return f(d, ctx, o) }
		}
	}
	return []mutant{
		{caught: "disks", how: "nothing happens", tamper: disks(func(*tampered, context.Context, hypervisor.Order) error { return nil })},
		{caught: "disks", how: "one at a time", tamper: disks(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			if len(o.Spec.Disks) > 2 {
				o.Spec.Disks = o.Spec.Disks[:2]
				o.Allocation.Claims = nil
			}
			return d.Driver.SetDisks(ctx, o)
		})},
		{caught: "disks", how: "starts", tamper: disks(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			err := d.Driver.SetDisks(ctx, o)
			_ = d.Driver.Start(ctx, o.Ref)
			return err
		})},
		{caught: "disks", how: "never fewer", tamper: disks(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			if len(o.Spec.Disks) == 1 {
				return kind(hypervisor.ErrRefused)
			}
			return d.Driver.SetDisks(ctx, o)
		})},
		{caught: "disks-refused", how: "any order", tamper: disks(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			return d.Driver.SetDisks(ctx, latest(o))
		})},
		{caught: "disks-refused", how: "resizes too", tamper: disks(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			err := d.Driver.SetDisks(ctx, o)
			if errors.Is(err, hypervisor.ErrInvalid) && len(o.Spec.Disks) > 0 {
				return d.Driver.Resize(ctx, o)
			}
			return err
		})},
		{caught: "disks-running", how: "after a stop", tamper: disks(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			_ = d.Driver.Stop(ctx, o.Ref)
			return d.Driver.SetDisks(ctx, o)
		})},
		{caught: "disks-running", how: "of stopped ones only", tamper: disks(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			if m, ok := d.listed(ctx, o.Ref); ok && m.Power == pool.Running {
				return kind(hypervisor.ErrWrongPower)
			}
			return d.Driver.SetDisks(ctx, o)
		})},
		{caught: "power-foreign", how: "set disks", tamper: disks(func(d *tampered, ctx context.Context, o hypervisor.Order) error {
			return careless(d, func(ctx context.Context, r hypervisor.Ref) error {
				o.Ref = r
				return d.Driver.SetDisks(ctx, o)
			})(ctx, o.Ref)
		})},
	}
}

// aboutSleep are drivers that break the rules of Hibernate.
func aboutSleep() []mutant {
	return []mutant{
		{caught: "hibernate", how: "nothing happens", tamper: func(d *tampered) { d.sleep = nothing }},
		{caught: "hibernate", how: "a stop", tamper: func(d *tampered) { d.sleep = d.Driver.Stop }},
		{caught: "hibernate", how: "a suspend", tamper: func(d *tampered) { d.sleep = d.Driver.Suspend }},
		{caught: "hibernate", how: "a second one is an error", tamper: func(d *tampered) { d.sleep = picky(d, pool.Hibernated, d.Driver.Hibernate) }},
		{caught: "hibernate", how: "cannot be stopped", tamper: func(d *tampered) { d.stop = picky(d, pool.Hibernated, d.Driver.Stop) }},
		{caught: "hibernate", how: "cannot be destroyed", tamper: func(d *tampered) { d.destroy = picky(d, pool.Hibernated, d.Driver.Destroy) }},
		{caught: "hibernate", how: "cannot be started", tamper: func(d *tampered) { d.start = picky(d, pool.Hibernated, d.Driver.Start) }},
		{caught: "hibernate", how: "starts what is stopped", tamper: func(d *tampered) {
			d.sleep = func(ctx context.Context, r hypervisor.Ref) error {
				_ = d.Driver.Start(ctx, r)
				return d.Driver.Hibernate(ctx, r)
			}
		}},
	}
}

// aboutImages are drivers that break the rules of Imager.
func aboutImages() []mutant {
	imports := func(f func(d *tampered, ctx context.Context, h pool.HostID, f hypervisor.ImageFile) (string, error)) func(*tampered) {
		return func(d *tampered) {
			d.imports = func(ctx context.Context, h pool.HostID, file hypervisor.ImageFile) (string, error) {
				return f(d, ctx, h, file)
			}
		}
	}
	read := func(f hypervisor.ImageFile) hypervisor.ImageFile {
		b, _ := io.ReadAll(f.Content)
		f.Size, f.SHA256, f.Content = int64(len(b)), sha256.Sum256(b), bytes.NewReader(b)
		return f
	}
	return []mutant{
		{caught: "images", how: "whatever the checksum", tamper: imports(func(d *tampered, ctx context.Context, h pool.HostID, f hypervisor.ImageFile) (string, error) {
			return d.Driver.Import(ctx, h, read(f))
		})},
		{caught: "images", how: "a part stays", tamper: imports(func(d *tampered, ctx context.Context, h pool.HostID, f hypervisor.ImageFile) (string, error) {
			whole := read(f)
			if whole.Size == f.Size && whole.SHA256 == f.SHA256 {
				return d.Driver.Import(ctx, h, whole)
			}
			_, _ = d.Driver.Import(ctx, h, whole)
			return "", kind(hypervisor.ErrInvalid)
		})},
		{caught: "images", how: "once only", tamper: func(d *tampered) {
			done := false
			d.imports = func(ctx context.Context, h pool.HostID, f hypervisor.ImageFile) (string, error) {
				if done {
					return "", kind(hypervisor.ErrExists)
				}
				source, err := d.Driver.Import(ctx, h, f)
				done = err == nil
				return source, err
			}
		}},
		{caught: "images", how: "the newer content wins", tamper: imports(func(d *tampered, ctx context.Context, h pool.HostID, f hypervisor.ImageFile) (string, error) {
			f = read(f)
			source, err := d.Driver.Import(ctx, h, f)
			if errors.Is(err, hypervisor.ErrExists) {
				_ = d.Driver.RemoveImage(ctx, h, f.Name)
				f.Content = bytes.NewReader(nil)
				return f.Name, nil
			}
			return source, err
		})},
		{caught: "images", how: "not listed", tamper: func(d *tampered) {
			d.images = func(context.Context, pool.HostID) ([]hypervisor.SourceImage, error) { return nil, nil }
		}},
		{caught: "images", how: "stays", tamper: func(d *tampered) {
			d.unimport = func(context.Context, pool.HostID, string) error { return nil }
		}},
	}
}

// aboutChanges are drivers that break the rules of Watch.
func aboutChanges() []mutant {
	watch := func(f func(d *tampered, ctx context.Context, h pool.HostID, changed func()) error) func(*tampered) {
		return func(d *tampered) {
			d.watch = func(ctx context.Context, h pool.HostID, changed func()) error { return f(d, ctx, h, changed) }
		}
	}
	return []mutant{
		{caught: "watch", how: "once only", tamper: watch(func(d *tampered, ctx context.Context, h pool.HostID, changed func()) error {
			changed()
			<-ctx.Done()
			return ctx.Err()
		})},
		{caught: "watch", how: "not at the beginning", tamper: watch(func(d *tampered, ctx context.Context, h pool.HostID, changed func()) error {
			first := true
			return d.Driver.Watch(ctx, h, func() {
				if !first {
					changed()
				}
				first = false
			})
		})},
		{caught: "watch", how: "success at the end", tamper: watch(func(d *tampered, ctx context.Context, h pool.HostID, changed func()) error {
			_ = d.Driver.Watch(ctx, h, changed)
			return nil
		})},
		{caught: "watch", how: "two at once", tamper: watch(func(d *tampered, ctx context.Context, h pool.HostID, changed func()) error {
			slow := func() { changed(); time.Sleep(time.Millisecond) }
			done := make(chan error, 2)
			for range 2 {
				go func() { done <- d.Driver.Watch(ctx, h, slow) }()
			}
			<-done
			return <-done
		})},
		{caught: "watch", how: "goes on", tamper: watch(func(d *tampered, ctx context.Context, h pool.HostID, changed func()) error {
			changing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			return d.Driver.Watch(changing, h, changed)
		})},
	}
}

// aboutDisturbances are drivers that say more of a call that was disturbed than they know.
func aboutDisturbances() []mutant {
	// believing takes what was not answered for what it says.
	believing := func(as error) func(error) error {
		return func(err error) error {
			if errors.Is(err, hypervisor.ErrUnknown) {
				return as
			}
			return err
		}
	}
	failed, done := believing(kind(hypervisor.ErrRefused)), believing(nil)
	of := func(call refCall, as func(error) error) refCall {
		return func(ctx context.Context, r hypervisor.Ref) error { return as(call(ctx, r)) }
	}
	ordered := func(call func(context.Context, hypervisor.Order) error, as func(error) error) func(context.Context, hypervisor.Order) error {
		return func(ctx context.Context, o hypervisor.Order) error { return as(call(ctx, o)) }
	}
	return []mutant{
		{caught: "disturbed-create", how: "no answer is a failure", tamper: func(d *tampered) { d.create = ordered(d.Driver.Create, failed) }},
		{caught: "disturbed-create", how: "no answer is success", tamper: func(d *tampered) { d.create = ordered(d.Driver.Create, done) }},
		{caught: "disturbed-destroy", how: "no answer is success", tamper: func(d *tampered) { d.destroy = of(d.Driver.Destroy, done) }},
		{caught: "disturbed-destroy", how: "no answer is a failure", tamper: func(d *tampered) { d.destroy = of(d.Driver.Destroy, failed) }},
		{caught: "disturbed-power", how: "start without an answer is success", tamper: func(d *tampered) { d.start = of(d.Driver.Start, done) }},
		{caught: "disturbed-power", how: "stop without an answer is a failure", tamper: func(d *tampered) { d.stop = of(d.Driver.Stop, failed) }},
		{caught: "disturbed-power", how: "suspend without an answer is success", tamper: func(d *tampered) { d.suspend = of(d.Driver.Suspend, done) }},
		{caught: "disturbed-power", how: "resume without an answer is a failure", tamper: func(d *tampered) { d.resume = of(d.Driver.Resume, failed) }},
		{caught: "disturbed-power", how: "hibernate without an answer is success", tamper: func(d *tampered) { d.sleep = of(d.Driver.Hibernate, done) }},
		{caught: "disturbed-changes", how: "resize without an answer is a failure", tamper: func(d *tampered) { d.resize = ordered(d.Driver.Resize, failed) }},
		{caught: "disturbed-changes", how: "disks without an answer are there", tamper: func(d *tampered) { d.disks = ordered(d.Driver.SetDisks, done) }},
		{caught: "disturbed-changes", how: "snapshot without an answer is there", tamper: func(d *tampered) {
			d.snapshot = func(ctx context.Context, r hypervisor.Ref, name string) error {
				return done(d.Driver.Snapshot(ctx, r, name))
			}
		}},
		{caught: "disturbed-changes", how: "migration without an answer has failed", tamper: func(d *tampered) {
			d.migrate = func(ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
				return failed(d.Driver.Migrate(ctx, from, o))
			}
		}},
	}
}
