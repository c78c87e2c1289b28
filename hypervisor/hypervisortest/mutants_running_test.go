package hypervisortest_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/pool"
)

func aboutPower() []mutant {
	// everywhere makes a call on both hosts.
	everywhere := func(call refCall) refCall {
		return func(ctx context.Context, r hypervisor.Ref) error {
			far := r
			far.Host = other(r.Host)
			_ = call(ctx, far)
			return call(ctx, r)
		}
	}
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
