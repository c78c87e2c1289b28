package hypervisortest

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

func watch(p *probe) {
	w, _ := hypervisor.As[hypervisor.Watcher](p.Driver)
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	var inside atomic.Int32
	calls := make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() {
		done <- p.watch(ctx, "watch", func(ctx context.Context) error {
			return w.Watch(ctx, p.Hosts[0], func() {
				if inside.Add(1) > 1 {
					p.errorf("two calls of changed at the same time")
				}
				defer inside.Add(-1)
				p.pause(time.Millisecond) // so that another one would be seen
				select {
				case calls <- struct{}{}:
				default:
				}
			})
		})
	}()
	called := func(after string) {
		select {
		case <-calls:
		case err := <-done:
			p.fatalf("watch ended: %v", err)
		case <-time.After(p.Timeout):
			p.fatalf("changed was not called after %s", after)
		}
	}
	called("the beginning")
	o := p.order(p.Hosts[0])
	for _, c := range []struct {
		what string
		call func(context.Context) error
	}{{"create", p.creation(o)}, {"start", p.start(o.Ref)}, {"stop", p.stop(o.Ref)}, {"destroy", p.destroy(o.Ref)}} {
		p.pause(10 * time.Millisecond)
		select { // what is still to be said of the call before
		case <-calls:
		default:
		}
		p.must(c.what, c.call)
		called(c.what)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		p.errorf("watch returned %v instead of its context's error", err)
	}
}

func consoleLog(p *probe) {
	c, _ := hypervisor.As[hypervisor.Consoler](p.Driver)
	o := p.started(p.Hosts[0])
	read := func(most int) []byte {
		b := want(p, "log", func(ctx context.Context) ([]byte, error) { return c.Log(ctx, o.Ref, most) })
		if len(b) > most {
			p.errorf("%d bytes of log have come instead of at most %d", len(b), most)
		}
		return b
	}
	const all, some = 1 << 20, 16
	var earlier []byte
	for deadline := time.Now().Add(p.Boot); len(earlier) < 2*some; earlier = read(all) {
		if time.Now().After(deadline) {
			p.fatalf("%v after its start there are %d bytes on the console", p.Boot, len(earlier))
		}
		p.pause(100 * time.Millisecond)
	}
	newest := read(some)
	later := read(all)
	// What is the newest ends behind what was there before, and is in what is there afterwards.
	if at := bytes.LastIndex(later, newest); len(newest) == 0 || at < 0 || len(later) < all && at+len(newest) < len(earlier) {
		p.errorf("%q is not the newest of the log", newest)
	}
	if b := read(0); len(b) != 0 {
		p.errorf("%d bytes of log have come instead of none", len(b))
	}
}

// pause waits, or ends the case when the suite's context ends.
func (p *probe) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ctx.Done():
		p.fatalf("%v", p.ctx.Err())
	}
}

func display(p *probe) {
	c, _ := hypervisor.As[hypervisor.Consoler](p.Driver)
	o := p.started(p.Hosts[0])
	at := want(p, "display", func(ctx context.Context) (string, error) { return c.Display(ctx, o.Ref) })
	if u, err := url.Parse(at); err != nil || u.Scheme == "" || u.Host == "" {
		p.errorf("the display is at %q instead of a URL such as vnc://127.0.0.1:5900", at)
	}
	p.must("stop", p.stop(o.Ref))
	p.fails(hypervisor.ErrWrongPower, "display of a stopped machine", func(ctx context.Context) error {
		_, err := c.Display(ctx, o.Ref)
		return err
	})
}

// known returns the names of samples that package hypervisor defines, and whether they are of a host.
func known() map[string]bool {
	return map[string]bool{
		hypervisor.HostCPUSeconds: true, hypervisor.HostCPUCores: true, hypervisor.HostMemoryTotal: true,
		hypervisor.HostMemoryAvailable: true, hypervisor.HostStorageCapacity: true, hypervisor.HostStorageFree: true,
		hypervisor.CPUSeconds: false, hypervisor.CPUCores: false, hypervisor.MemoryTotal: false, hypervisor.MemoryUsed: false,
		hypervisor.DiskReadBytes: false, hypervisor.DiskWrittenBytes: false, hypervisor.DiskReads: false,
		hypervisor.DiskWrites: false, hypervisor.DiskAllocated: false,
		hypervisor.NetworkReceived: false, hypervisor.NetworkTransmitted: false,
		hypervisor.HostCPUWaitSeconds: true, hypervisor.CPUStolenSeconds: false, hypervisor.MemoryAvailable: false, hypervisor.MemoryBalloon: false,
		hypervisor.MemoryResident: false, hypervisor.DiskReadSeconds: false, hypervisor.DiskWriteSeconds: false, hypervisor.DiskCapacity: false,
		hypervisor.PacketsReceived: false, hypervisor.PacketsTransmitted: false, hypervisor.ReceiveErrors: false, hypervisor.TransmitErrors: false,
		hypervisor.ReceiveDropped: false, hypervisor.TransmitDropped: false,
	}
}

// series is what a sample is a reading of.
type series struct {
	machine      pool.MachineID
	name, device string
}

// sample returns the readings of a host by series, having checked each.
func (p *probe) sample(host pool.HostID) map[series]float64 {
	m, _ := hypervisor.As[hypervisor.Meter](p.Driver)
	tagged := make(map[pool.MachineID]bool)
	before := time.Now()
	list := want(p, "sample", func(ctx context.Context) ([]hypervisor.Sample, error) { return m.Sample(ctx, host) })
	after := time.Now()
	for _, m := range p.machines(host) {
		tagged[m.Machine] = true
	}
	own := strings.NewReplacer("-", "_", ".", "_").Replace(host.Driver()) + "_"
	name := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	names := known()
	out := make(map[series]float64, len(list))
	const skew = time.Minute // between the hypervisor's clock and ours
	for _, s := range list {
		key := series{s.Machine, s.Name, s.Device}
		if _, ok := out[key]; ok {
			p.errorf("%s of %q, device %q, is sampled twice", s.Name, s.Machine, s.Device)
		}
		out[key] = s.Value
		ofHost, ok := names[s.Name]
		switch {
		case !ok && (!strings.HasPrefix(s.Name, own) || !name.MatchString(s.Name)):
			p.errorf("%q is neither a name of package hypervisor nor one that begins with %q", s.Name, own)
		case ok && ofHost != (s.Machine == ""):
			p.errorf("%s is sampled of %q", s.Name, s.Machine)
		}
		if s.Host != host {
			p.errorf("%s is of host %q instead of %q", s.Name, s.Host, host)
		}
		if s.Machine != "" && !tagged[s.Machine] {
			p.errorf("%s is of %q, which is no tagged machine on %s", s.Name, s.Machine, host)
		}
		if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) || s.Value < 0 {
			p.errorf("%s of %q is %v", s.Name, s.Machine, s.Value)
		}
		if s.Time.Before(before.Add(-skew)) || s.Time.After(after.Add(skew)) {
			p.errorf("%s is of %v, sampled between %v and %v", s.Name, s.Time, before, after)
		}
	}
	return out
}

func samples(p *probe) {
	o := p.started(p.Hosts[0])
	got := p.sample(o.Host)
	for _, name := range []string{hypervisor.HostCPUCores, hypervisor.HostMemoryTotal} {
		if got[series{name: name}] <= 0 {
			p.errorf("there is no %s", name)
		}
	}
	ours := slices.Sorted(func(yield func(string) bool) {
		for k := range got {
			if k.machine == o.Machine && !yield(k.name) {
				return
			}
		}
	})
	if len(ours) == 0 {
		p.errorf("there is no sample of a running machine")
	}
	for name, asked := range map[string]float64{
		hypervisor.CPUCores:    float64(o.Spec.Resources[pool.CPU]) / float64(pool.Core),
		hypervisor.MemoryTotal: float64(o.Spec.Resources[pool.Memory]),
	} {
		if v, ok := got[series{o.Machine, name, ""}]; ok && o.Allocation.Shape == "" && asked > 0 && v != asked {
			p.errorf("%s is %v instead of %v", name, v, asked)
		}
	}
	p.must("destroy", p.destroy(o.Ref))
	p.sample(o.Host)
}

func counters(p *probe) {
	o := p.started(p.Hosts[0])
	was := p.sample(o.Host)
	for range 3 {
		p.pause(300 * time.Millisecond)
		is := p.sample(o.Host)
		for k, v := range was {
			if now, ok := is[k]; ok && strings.HasSuffix(k.name, "_total") && (k.machine == "" || k.machine == o.Machine) && now < v {
				p.errorf("%s of %q has fallen from %v to %v", k.name, k.machine, v, now)
			}
		}
		was = is
	}
}

func contextEnded(p *probe) {
	off, on, never := p.created(p.Hosts[0]), p.started(p.Hosts[0]), p.order(p.Hosts[0])
	p.must("stop", p.stop(off.Ref)) // where create starts
	calls := map[string]func(context.Context) error{
		"list hosts": func(ctx context.Context) error { _, err := p.Driver.Hosts(ctx); return err },
		"list machines": func(ctx context.Context) error {
			_, err := p.Driver.Machines(ctx, p.Hosts[0])
			return err
		},
		"create": p.creation(never), "start": p.start(off.Ref), "stop": p.stop(on.Ref), "destroy": p.destroy(on.Ref),
	}
	for _, opt := range offered(p.suite) {
		if opt.ability == hypervisor.CanFence && p.PowerOn == nil {
			continue // a driver that does not look at its context would switch off a host that nobody expects to go
		}
		calls[opt.what] = func(ctx context.Context) error { return opt.call(ctx, p.Driver, on) }
	}
	ended, cancel := context.WithCancel(p.ctx)
	cancel()
	for what, call := range calls {
		what += " under a context that has ended"
		switch err := p.watch(ended, what, call); {
		case err == nil:
			p.errorf("%s succeeded", what)
		case !errors.Is(err, context.Canceled) && !errors.Is(err, errHung):
			p.errorf("%s failed with %q instead of %q", what, err, context.Canceled)
		}
	}
	p.gone(never.Ref, "after create under a context that had ended")
	p.power(off.Ref, pool.Stopped, "after start under a context that had ended")
	p.power(on.Ref, pool.Running, "after stop and destroy under a context that had ended")
}

func contextEnds(p *probe) {
	host := p.Hosts[0]
	// Ends at different moments: while a call is being sent, and while it is under way.
	for _, after := range []time.Duration{100 * time.Microsecond, time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond} {
		o := p.order(host)
		for _, step := range []struct {
			what string
			call func(context.Context) error
		}{
			{"create", p.creation(o)}, {"start", p.start(o.Ref)},
			{"list machines", func(ctx context.Context) error { _, err := p.Driver.Machines(ctx, host); return err }},
			{"stop", p.stop(o.Ref)}, {"destroy", p.destroy(o.Ref)},
		} {
			ctx, cancel := context.WithTimeout(p.ctx, after)
			err := p.watch(ctx, step.what+" whose context ends", step.call)
			cancel()
			if step.what == "create" && err != nil && !hypervisor.Nothing(err) {
				p.doubtful = time.Now()
			}
			settled := err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, hypervisor.ErrUnknown) || hypervisor.Nothing(err)
			if !settled && !errors.Is(err, errHung) {
				p.errorf("%s whose context ends failed with %q", step.what, err)
			}
		}
		p.machines(host)
	}
	// A driver that has given up a connection has to find back.
	o := p.started(host)
	p.must("destroy", p.destroy(o.Ref))
}

func concurrent(p *probe) {
	var orders []hypervisor.Order
	for i := range 4 {
		orders = append(orders, p.order(p.Hosts[i/2%len(p.Hosts)]))
	}
	creates := make([]func(context.Context) error, len(orders))
	for i, o := range orders {
		creates[i] = p.creation(o)
	}
	p.together(orders, func(i int, o hypervisor.Order) {
		if err := p.try("create", creates[i]); err != nil {
			p.errorf("create among others: %v", err)
			return
		}
		if err := p.try("start", p.start(o.Ref)); err != nil {
			p.errorf("start among others: %v", err)
		}
		list, err := p.list(o.Host)
		if err != nil {
			p.errorf("list machines among others: %v", err)
		}
		if !slices.ContainsFunc(list, func(m hypervisor.Machine) bool { return m.Ref == o.Ref && m.Power == pool.Running }) {
			p.errorf("a machine that was started among others is not listed as running")
		}
	})
	for _, o := range orders {
		p.power(o.Ref, pool.Running, "after all were started")
	}
	// Half of them go; the other half must not notice.
	p.together(orders, func(i int, o hypervisor.Order) {
		if i%2 == 0 {
			if err := p.try("destroy", p.destroy(o.Ref)); err != nil {
				p.errorf("destroy among others: %v", err)
			}
		} else if _, err := p.list(o.Host); err != nil {
			p.errorf("list machines among others: %v", err)
		}
	})
	for i, o := range orders {
		if i%2 == 0 {
			p.gone(o.Ref, "after destroy among others")
		} else {
			p.power(o.Ref, pool.Running, "after others were destroyed")
		}
	}
}
