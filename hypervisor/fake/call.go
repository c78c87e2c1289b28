package fake

import (
	"context"
	"errors"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// request is a call on its way through the simulation.
type request struct {
	op     Op
	ref    hypervisor.Ref
	takes  time.Duration                  // beside the latency, before the effect
	effect func(h *host) error            // what it does; called with the lock held, h is nil for OpHosts
	spoil  func(h *host) error            // what a spoiled create does
	breaks func(h *host, why error) error // what becomes of a machine whose create broke afterwards

	to     pool.HostID // of a migration
	beside bool        // reaches the host without its co-operation: it need not be up
	shared bool        // is about what the driver has beside its hosts: the host need not be there
	fences int         // of the host, when the call was sent
}

// answers reports whether the host answers the call.
func (r *request) answers(h *host) bool {
	return r.shared || r.beside || h.state == Up && h.fences == r.fences
}

func (r *request) fail(kind, cause error) error {
	return &hypervisor.Error{Op: string(r.op), Host: r.ref.Host, Machine: r.ref.Machine, Kind: kind, Cause: cause}
}

// do sends a request, lets go wrong what is to go wrong, and returns what the caller hears.
func (d *Driver) do(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return r.fail(err, nil)
	}
	f, before, after, err := d.send(r)
	if err != nil {
		return err
	}
	switch f.Kind {
	case Refuse, Unavailable:
		if err := wait(ctx, before); err != nil {
			return r.fail(err, nil)
		}
		if f.Kind == Refuse {
			return r.fail(hypervisor.ErrRefused, f.Err)
		}
		return r.fail(hypervisor.ErrUnavailable, f.Err)
	case Drop:
		return d.silence(ctx, r, f, before)
	case Late:
		if !r.op.reads() {
			d.later(before+f.After, r)
		}
		return d.silence(ctx, r, f, before)
	}

	sent := time.Now()
	if err := wait(ctx, before); err != nil {
		// The request is on its way: nobody calls it back.
		if !r.op.reads() && f.Kind != Spoil {
			d.later(before-time.Since(sent), r)
		}
		return r.fail(err, nil)
	}
	result := d.land(r, f)
	if f.Kind == Break {
		if result == nil && f.After > 0 {
			late := *r
			late.effect = func(h *host) error { return r.breaks(h, f.Err) }
			d.later(f.After, &late)
		}
		f.After = 0
	}
	if f.Kind == Duplicate && !r.op.reads() {
		if f.After > 0 {
			d.later(f.After, r)
		} else {
			_ = d.land(r, Fault{}) // the second delivery is answered to nobody
		}
		f.After = 0
	}
	if f.Kind == Lose {
		return d.silence(ctx, r, f, after)
	}
	if err := wait(ctx, after+f.After); err != nil {
		return r.fail(err, nil)
	}
	if !d.reachable(r) {
		return r.fail(hypervisor.ErrUnknown, errors.New("the connection was lost"))
	}
	if f.Kind == Shorten && result == nil {
		return r.fail(hypervisor.ErrUnavailable, errors.New("the list broke off"))
	}
	return result
}

// send counts the call and decides what will happen to it. An error means that nothing can be sent at all.
func (d *Driver) send(r *request) (f Fault, before, after time.Duration, err error) {
	d.mu.Lock()
	if d.err != nil {
		err := r.fail(nil, d.err)
		d.mu.Unlock()
		return f, 0, 0, err
	}
	d.calls[r.op]++
	call := Call{Op: r.op, Ref: r.ref, To: r.to}
	h := d.hosts[r.ref.Host]
	switch {
	case r.op == OpHosts:
		call.N = d.calls[r.op]
	case h == nil && !r.shared:
		d.mu.Unlock()
		return f, 0, 0, r.fail(hypervisor.ErrNotFound, errors.New("no such host"))
	case r.ref.Machine != "":
		c := d.count(r.ref.Machine)
		c.Calls++
		call.N = c.Calls
	default:
		h.calls[r.op]++
		call.N = h.calls[r.op]
	}
	if h != nil {
		r.fences = h.fences
	}
	faults := d.faults
	planned := d.planned.take()
	d.mu.Unlock()

	if d.config.Hook != nil {
		f = d.config.Hook(call)
	}
	if planned != nil {
		f = *planned
	}
	chance := d.chance(call)
	latency := d.config.Latency.draw(chance)
	f = d.draw(f, faults, r.op, chance)
	if f.Kind == Shorten && r.op != OpMachines {
		f.Kind = Unavailable
	}
	if (f.Kind == Spoil || f.Kind == Break) && !r.op.creates() {
		f.Kind = Refuse
	}

	d.mu.Lock()
	if h != nil && !r.answers(h) {
		f = Fault{Kind: Unavailable, Before: f.Before, Err: errors.New("the host is " + string(h.state))}
	} else if f.Kind != "" {
		d.injected[f.Kind]++
	}
	d.mu.Unlock()
	return f, latency/2 + r.takes + f.Before, latency - latency/2, nil
}

// silence is what the caller hears when no reply comes.
func (d *Driver) silence(ctx context.Context, r *request, f Fault, after time.Duration) error {
	if f.Hang {
		after = hangs
	}
	if err := wait(ctx, after); err != nil {
		return r.fail(err, nil)
	}
	return r.fail(hypervisor.ErrUnknown, f.Err)
}

// land carries a request out, unless the fleet or the host is gone.
func (d *Driver) land(r *request, f Fault) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hosts[r.ref.Host]
	switch {
	case d.err != nil:
		return r.fail(nil, d.err)
	case r.op == OpHosts || r.shared:
	case h == nil:
		return r.fail(hypervisor.ErrNotFound, errors.New("no such host"))
	case !r.answers(h):
		return r.fail(hypervisor.ErrUnknown, errors.New("the connection was lost"))
	}
	if f.Kind == Spoil && r.spoil != nil {
		return r.spoil(h)
	}
	err := r.effect(h)
	if f.Kind == Break && f.After <= 0 && err == nil {
		return r.breaks(h, f.Err)
	}
	return err
}

// later lets a request land by itself. On a host that is cut off it lands all the same, as it had been sent
// before; a dead host does nothing, and one that has been fenced has forgotten what it was sent before.
func (d *Driver) later(in time.Duration, r *request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.schedule(in, r)
}

// schedule is later for whoever holds the lock.
func (d *Driver) schedule(in time.Duration, r *request) {
	if d.err != nil {
		return
	}
	d.landing++
	n := d.landing
	d.landings[n] = time.AfterFunc(max(in, 0), func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if _, ok := d.landings[n]; !ok {
			return
		}
		h := d.hosts[r.ref.Host]
		if r.shared || r.beside && h != nil || h != nil && h.state.runs() && h.fences == r.fences {
			_ = r.effect(h) // answered to nobody
		}
		d.landed(n)
	})
}

func (d *Driver) landed(n int) {
	delete(d.landings, n)
	if len(d.landings) == 0 && d.idle != nil {
		close(d.idle)
		d.idle = nil
	}
}

func (d *Driver) reachable(r *request) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hosts[r.ref.Host]
	return h == nil || r.answers(h)
}

// wait sleeps, or returns the error of the context when that ends first.
func wait(ctx context.Context, t time.Duration) error {
	if t <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// offered returns an error when the ability does not work on the call's host.
func (d *Driver) offered(a hypervisor.Ability, op Op, r hypervisor.Ref) error {
	return d.offeredOn(r.Host, a, op, r)
}

func (d *Driver) offeredOn(host pool.HostID, a hypervisor.Ability, op Op, r hypervisor.Ref) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.offers(host, a) {
		return nil
	}
	return wrongf(op, r, errors.ErrUnsupported, nil)
}

// wrong is the error of a request that the simulated hypervisor answers itself.
func wrong(op Op, r hypervisor.Ref, kind error, why string) error {
	if why == "" {
		return wrongf(op, r, kind, nil)
	}
	return wrongf(op, r, kind, errors.New(why))
}

func wrongf(op Op, r hypervisor.Ref, kind, cause error) error {
	q := request{op: op, ref: r}
	return q.fail(kind, cause)
}

// hostRef is the reference of a call on a host.
func hostRef(id pool.HostID) hypervisor.Ref { return hypervisor.Ref{Host: id} }
