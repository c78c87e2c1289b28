package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// calls returns the kinds of call that leave a daemon. Each is two points at which daemons die.
func (w *world) calls() []string {
	out := []string{
		"append", "read", "now", "watch",
		"hosts", "machines", "create", "start", "stop", "destroy", "suspend", "resume", "hibernate", "reboot", "watch host",
	}
	out = append(out, lifeCalls()...)
	if w.leases {
		out = append(out, "lease get", "lease put", "lease delete")
	}
	if w.forwards {
		out = append(out, "forward")
	}
	if w.tells {
		out = append(out, "notify")
	}
	return out
}

// driver is the fleet as one process reaches it. What is embedded crosses no boundary: it only describes.
type driver struct {
	*fake.Driver
	p *process
}

var (
	_ hypervisor.Suspender  = (*driver)(nil)
	_ hypervisor.Hibernator = (*driver)(nil)
	_ hypervisor.Rebooter   = (*driver)(nil)
	_ hypervisor.Watcher    = (*driver)(nil)
)

func (d *driver) Hosts(ctx context.Context) ([]pool.Host, error) {
	return outside(ctx, d.p, "hosts", d.Driver.Hosts)
}

func (d *driver) Machines(ctx context.Context, h pool.HostID) ([]hypervisor.Machine, error) {
	began, pcs := time.Since(d.p.w.began), make([]uintptr, 8)
	pcs = pcs[:runtime.Callers(2, pcs)]
	return outside(ctx, d.p, "machines", func(ctx context.Context) ([]hypervisor.Machine, error) {
		list, err := d.Driver.Machines(ctx, h)
		d.p.w.trace(func() string {
			by, _ := runtime.CallersFrames(pcs).Next()
			s := fmt.Sprintf("%s: machines of %s for %s since %v: %d", d.p.name, h, by.Function[strings.LastIndex(by.Function, ".")+1:], began, len(list))
			for _, m := range list {
				if strings.Contains(string(m.Tag.Machine), traced) {
					s += fmt.Sprintf(", %s %s", m.Tag.Machine, m.Power)
				}
			}
			return fmt.Sprint(s, " ", err)
		})
		return list, err
	})
}

func (d *driver) Create(ctx context.Context, o hypervisor.Order) error {
	return d.change(ctx, "create", o.Ref, func(ctx context.Context) error { return d.Driver.Create(ctx, o) })
}

func (d *driver) Start(ctx context.Context, r hypervisor.Ref) error {
	return d.change(ctx, "start", r, func(ctx context.Context) error { return d.Driver.Start(ctx, r) })
}

func (d *driver) Stop(ctx context.Context, r hypervisor.Ref) error {
	return d.change(ctx, "stop", r, func(ctx context.Context) error { return d.Driver.Stop(ctx, r) })
}

func (d *driver) Destroy(ctx context.Context, r hypervisor.Ref) error {
	return d.change(ctx, "destroy", r, func(ctx context.Context) error { return d.Driver.Destroy(ctx, r) })
}

func (d *driver) Suspend(ctx context.Context, r hypervisor.Ref) error {
	return d.change(ctx, "suspend", r, func(ctx context.Context) error { return d.Driver.Suspend(ctx, r) })
}

func (d *driver) Resume(ctx context.Context, r hypervisor.Ref) error {
	return d.change(ctx, "resume", r, func(ctx context.Context) error { return d.Driver.Resume(ctx, r) })
}

func (d *driver) Hibernate(ctx context.Context, r hypervisor.Ref) error {
	return d.change(ctx, "hibernate", r, func(ctx context.Context) error { return d.Driver.Hibernate(ctx, r) })
}

func (d *driver) Watch(ctx context.Context, h pool.HostID, changed func()) error {
	_, err := outside(ctx, d.p, "watch host", func(ctx context.Context) (none struct{}, err error) {
		return none, d.Driver.Watch(ctx, h, func() {
			if !d.p.dead() {
				changed()
			}
		})
	})
	return err
}

func (d *driver) Reboot(ctx context.Context, r hypervisor.Ref) error {
	return d.change(ctx, "reboot", r, func(ctx context.Context) error { return d.Driver.Reboot(ctx, r) })
}

func (d *driver) change(ctx context.Context, call string, r hypervisor.Ref, f func(context.Context) error) error {
	_, err := outside(ctx, d.p, call, func(ctx context.Context) (none struct{}, err error) {
		d.p.w.trace(func() string { return fmt.Sprintf("%s: %s %s on %s", d.p.name, call, r.Machine, r.Host) })
		err = f(ctx)
		d.p.w.trace(func() string { return fmt.Sprintf("%s: %s %s on %s: %v", d.p.name, call, r.Machine, r.Host, err) })
		return none, err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		d.p.w.count("driver: hang")
	}
	return err
}

// ledger is the store's ledger as one process reaches it.
type ledger struct{ p *process }

func unknown(call string) error {
	return &pool.Error{Op: call, Kind: pool.ErrUnknown, Cause: errors.New("no answer in time")}
}

func (l *ledger) Append(ctx context.Context, prev pool.Revision, batch ...pool.Event) (pool.Revision, error) {
	return stored(ctx, l.p, "append", unknown("append"), func(ctx context.Context) (pool.Revision, error) {
		return l.p.w.faulty.Append(ctx, prev, batch...)
	})
}

func (l *ledger) Read(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	return func(yield func(pool.Batch, error) bool) {
		if err := l.p.pass(ctx, point{"read", false}); err != nil {
			yield(pool.Batch{}, err)
			return
		}
		if l.p.cut.Load() {
			yield(pool.Batch{}, &pool.Error{Op: "read", Kind: pool.ErrUnavailable})
			return
		}
		for b, err := range l.p.w.faulty.Read(ctx, after) {
			if l.p.dead() {
				err = errDead
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
		if err := l.p.pass(ctx, point{"read", true}); err != nil {
			yield(pool.Batch{}, err)
		}
	}
}

func (l *ledger) Now(ctx context.Context) (time.Time, error) {
	return stored(ctx, l.p, "now", ctx.Err(), l.p.w.faulty.Now)
}

func (l *ledger) Watch(ctx context.Context) (<-chan struct{}, error) {
	return outside(ctx, l.p, "watch", func(context.Context) (<-chan struct{}, error) { return l.p.w.faulty.Watch(ctx) })
}

// What the product does not call yet has no point.

func (l *ledger) Checkpoint(ctx context.Context) (pool.Revision, []byte, error) {
	return l.p.w.faulty.Checkpoint(ctx)
}

func (l *ledger) Compact(ctx context.Context, at pool.Revision, snapshot []byte) error {
	return l.p.w.faulty.Compact(ctx, at, snapshot)
}

func (l *ledger) Archive(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	return l.p.w.faulty.Archive(ctx, after)
}

func (l *ledger) Forget(ctx context.Context, subject string) error {
	return l.p.w.faulty.Forget(ctx, subject)
}

// scratch is the store's scratch as one process reaches it.
type scratch struct{ p *process }

func (s *scratch) Get(ctx context.Context, key string) ([]byte, int64, error) {
	type entry struct {
		value   []byte
		version int64
	}
	e, err := stored(ctx, s.p, "lease get", ctx.Err(), func(ctx context.Context) (e entry, err error) {
		e.value, e.version, err = s.p.w.scratch.Get(ctx, key)
		return e, err
	})
	return e.value, e.version, err
}

func (s *scratch) Put(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
	return stored(ctx, s.p, "lease put", unknown("put"), func(ctx context.Context) (int64, error) {
		return s.p.w.scratch.Put(ctx, key, value, prev, ttl)
	})
}

func (s *scratch) Delete(ctx context.Context, key string, version int64) error {
	_, err := stored(ctx, s.p, "lease delete", unknown("delete"), func(ctx context.Context) (none struct{}, err error) {
		return none, s.p.w.scratch.Delete(ctx, key, version)
	})
	return err
}

// forward is the network between the daemons.
func (p *process) forward(ctx context.Context, address string, command []byte) ([]byte, error) {
	return outside(ctx, p, "forward", func(ctx context.Context) ([]byte, error) {
		refused, reset := errors.New("connection refused"), errors.New("connection reset")
		if p.w.chance(0.06) {
			p.w.count("forward: request lost")
			return nil, refused
		}
		to := p.w.at(int(address[0] - '0'))
		if to == nil || to.open() == nil || to.wait() != nil {
			return nil, refused
		}
		ctx, done := to.bound(ctx)
		defer done()
		answer, err := to.open().Accept(ctx, command)
		if to.wait() != nil {
			return nil, reset
		}
		if p.w.chance(0.06) {
			p.w.count("forward: reply lost")
			return nil, reset
		}
		return answer, err
	})
}
