package ring

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/berthage/berthage/pool"
)

// lease is the value of the key in Scratch that says who leads.
type lease struct {
	Holder  string `json:"holder"`
	Address string `json:"address,omitempty"`

	seen    time.Time // when this process read it
	version int64     // of the key, which every renewal changes
	since   time.Time // when this process first read this version
}

func (r *Ring) leaseKey() string { return "berthage/lease/" + r.Status().Identity }

// Run leads while nobody else does and follows otherwise, until parent ends; it returns nil then. The lease
// is given back at the end. Every goroutine that it starts has ended when it returns.
func (r *Ring) Run(parent context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return &pool.Error{Op: "run", Kind: pool.ErrWrongState, Want: "one Run at a time"}
	}
	defer r.running.Store(false)
	if err := r.staleErr(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(parent)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		r.tail(ctx)
	})
	defer wg.Wait()
	defer cancel()
	if r.cfg.Scratch == nil {
		r.leadAlone(ctx)
	} else {
		r.contend(ctx)
	}
	if parent.Err() != nil {
		return nil
	}
	return r.staleErr()
}

// leadAlone leads without a lease. Another ring that takes over all the same, being newer, is obeyed.
func (r *Ring) leadAlone(ctx context.Context) {
	for ctx.Err() == nil && r.staleErr() == nil {
		if r.leadFor(ctx, nil) && r.Status().Holder != r.cfg.Name {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	if ctx.Err() == nil && r.staleErr() == nil {
		r.log.Error("another process has taken over this ledger; following it", "holder", r.Status().Holder)
		<-ctx.Done()
	}
}

// tail follows what other processes append, until ctx ends or the ledger cannot be followed.
func (r *Ring) tail(ctx context.Context) {
	var woken <-chan struct{}
	if w, ok := r.cfg.Ledger.(pool.Watcher); ok {
		if ch, err := w.Watch(ctx); err == nil {
			woken = ch
		}
	}
	for r.staleErr() == nil {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-woken:
			if !ok {
				woken = nil
			}
		case <-time.After(r.cfg.Tail):
		}
		if err := r.catchUp(ctx); errored(err) {
			r.log.Warn("cannot follow the ledger", "error", err)
		}
	}
}

// contend takes the lease whenever it is free and leads while it holds it.
func (r *Ring) contend(ctx context.Context) {
	pause := r.cfg.LeaseTTL / 3
	for ctx.Err() == nil && r.staleErr() == nil {
		start := time.Now()
		version, err := r.claim(ctx, r.abandoned())
		switch {
		case err == nil:
			r.hold(ctx, version, start)
		case errors.Is(err, pool.ErrConflict):
			r.readLease(ctx)
		case errored(err):
			r.log.Warn("cannot ask for the lease", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// claim puts our name on the lease; prev is zero, our own version to renew it, or that of an abandoned one.
func (r *Ring) claim(ctx context.Context, prev int64) (int64, error) {
	value, err := json.Marshal(lease{Holder: r.cfg.Name, Address: r.cfg.Address})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.LeaseTTL/3)
	defer cancel()
	return r.cfg.Scratch.Put(ctx, r.leaseKey(), value, prev, r.cfg.LeaseTTL)
}

func (r *Ring) readLease(ctx context.Context) {
	value, version, err := r.cfg.Scratch.Get(ctx, r.leaseKey())
	now := time.Now()
	l := &lease{seen: now, version: version, since: now}
	if old := r.holder.Load(); old != nil && old.version == version {
		l.since = old.since
	}
	if err != nil || json.Unmarshal(value, l) != nil {
		l = nil
	}
	r.holder.Store(l)
}

// abandoned returns the version of a lease that has not been renewed for two of its lives by our own clock, zero
// when there is none. By the store's clock it has ended too, unless that has been set back; whoever held it has
// stopped by his own.
func (r *Ring) abandoned() int64 {
	if l := r.holder.Load(); l != nil && time.Since(l.since) > 2*r.cfg.LeaseTTL {
		return l.version
	}
	return 0
}

// leaderElsewhere returns the holder of the lease as last seen, when it is another process and may still
// hold it.
func (r *Ring) leaderElsewhere() *lease {
	l := r.holder.Load()
	if l == nil || l.Holder == r.cfg.Name || l.Address == "" || time.Since(l.seen) > r.cfg.LeaseTTL {
		return nil
	}
	return l
}

// hold leads under a lease that was asked for at start, renewing it, until it is lost or ctx ends. Our own
// clock decides when it may be lost: from the moment before the request, and earlier than the store's, so
// that calls in flight are cancelled while the lease still protects them.
func (r *Ring) hold(ctx context.Context, version int64, start time.Time) {
	r.holder.Store(nil)
	safe := r.cfg.LeaseTTL * 4 / 5
	lead, stop := context.WithCancel(ctx)
	defer stop()
	until := newDeadline(start.Add(safe), stop)
	defer until.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.leadFor(lead, until)
	}()
	tick := time.NewTicker(r.cfg.LeaseTTL / 5)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-tick.C:
			start := time.Now()
			v, err := r.claim(lead, version)
			switch {
			case err == nil:
				version = v
				until.extend(start.Add(safe))
			case errors.Is(err, pool.ErrConflict):
				// Lost to another, or our own renewal whose answer was lost: either way the lease is not
				// known to be ours.
				r.log.Warn("lease lost")
				stop()
			case errored(err):
				r.log.Warn("lease not renewed", "error", err)
			}
		}
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = r.cfg.Scratch.Delete(release, r.leaseKey(), version) // if it is still ours; else it expires by itself
}

// deadline ends something at a moment that may be put off until it has come.
type deadline struct {
	mu    sync.Mutex
	at    time.Time
	timer *time.Timer
}

func newDeadline(at time.Time, end func()) *deadline {
	return &deadline{at: at, timer: time.AfterFunc(time.Until(at), end)}
}

func (d *deadline) extend(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Now().Before(d.at) { // what has ended stays ended
		d.at = at
		d.timer.Reset(time.Until(at))
	}
}

// passed is asked before every call: after a pause of the process the timer may be late.
func (d *deadline) passed() bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return !time.Now().Before(d.at)
}

func (d *deadline) cancel() { d.timer.Stop() }
