package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/rebalance"
)

// point is a moment at which a daemon can die: at a kind of call, before it is sent, or after it is done and
// before the answer.
type point struct {
	call  string
	after bool
}

func (p point) String() string {
	if p.after {
		return p.call + " done"
	}
	return "before " + p.call
}

// errDead is what a killed daemon's own code is told, so that its goroutines end; nothing of it is seen by
// anybody. Its kind is one that nothing tries again.
var errDead = &pool.Error{Op: "call of a dead process", Kind: pool.ErrInvalid}

// process is one life of a daemon: a Manager, and the boundary that all its calls cross.
type process struct {
	w    *world
	seat int
	name string
	ctx  context.Context // ends when it is killed, or when it has ended by itself
	end  context.CancelFunc
	run  context.Context // of Run: ends also when it is asked to end
	stop context.CancelFunc
	gone chan struct{} // closed when nothing of it is left
	cut  atomic.Bool   // the store cannot be reached by this one

	mu      sync.Mutex
	manager *berthage.Manager // nil until it is open
	awake   chan struct{}     // closed, but for a pause

	checked pool.Revision // up to which the monitor has compared its books
	mirror  *pool.State   // the monitor's, for when it lags
	sight   *sight        // the monitor's, up to the revision that was looked at last
}

// start starts a daemon on a seat.
func (w *world) start(seat int) {
	w.lives++
	p := &process{w: w, seat: seat, name: fmt.Sprintf("daemon %d, life %d", seat, w.lives), gone: make(chan struct{}), awake: make(chan struct{})}
	close(p.awake)
	p.ctx, p.end = context.WithCancel(context.Background())
	p.run, p.stop = context.WithCancel(p.ctx)
	w.seat(seat, p)
	go p.live()
}

func (p *process) live() {
	defer close(p.gone)
	defer p.end()
	for !p.dead() {
		m, err := berthage.Open(p.run, p.config())
		if err != nil {
			select {
			case <-p.run.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		p.mu.Lock()
		p.manager = m
		p.mu.Unlock()
		if err := m.Run(p.run); err != nil && !p.dead() {
			p.w.broken(leaks, "%s: run: %v", p.name, err)
		}
		m.Close()
		return
	}
}

func (p *process) config() berthage.Config {
	w := p.w
	c := berthage.Config{
		Drivers: map[string]hypervisor.Driver{driverName: &driver{w.fleet, p}}, Ledger: &ledger{p}, Name: p.name, Parts: w.parts(),
		Poll: 5 * time.Second, Grace: 20 * time.Second, FenceAfter: 10 * time.Second, CallTimeout: callTimeout, LeaseTTL: leaseTTL, StrayAge: strayAge,
	}
	c.Preempt = w.preempts
	if w.bursts {
		c.BurstFor = 20 * time.Second
	}
	if !w.sweeps {
		c.StrayAge = 1000 * time.Hour
	}
	if w.rebalances {
		goals := [...]rebalance.Goal{rebalance.Defragment, rebalance.Balance, rebalance.Repair}
		c.Rebalance = berthage.Rebalance{
			Mode: berthage.RebalanceAutomatic, Goal: goals[w.seed/4%3], Every: time.Second, Settle: 2 * time.Second, AtATime: 3, PerHost: 2, Cold: w.seed/4%2 == 0,
		}
	}
	if w.tells {
		p.watches(&c)
	}
	if w.leases {
		c.Scratch = &scratch{p}
	}
	if w.forwards {
		c.Address, c.Forward = strconv.Itoa(p.seat), p.forward
	}
	if testLog != nil {
		c.Logger = slog.New(slog.NewTextHandler(testLog, nil)).With("daemon", p.name)
	}
	return c
}

func (p *process) dead() bool { return p.ctx.Err() != nil }

// open returns the Manager, or nil while there is none.
func (p *process) open() *berthage.Manager {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.manager
}

// pause stops the process until the returned function is called.
func (p *process) pause() (resume func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	awake := make(chan struct{})
	p.awake = awake
	return sync.OnceFunc(func() { close(awake) })
}

func (p *process) paused() bool {
	select {
	case <-p.awoken():
		return false
	default:
		return true
	}
}

func (p *process) awoken() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.awake
}

// wait returns once the process is not paused: at once, or when it goes on. The error says that it is dead.
func (p *process) wait() error {
	for {
		select {
		case <-p.awoken():
			if p.dead() {
				return errDead
			}
			if !p.paused() {
				return nil
			}
		case <-p.ctx.Done():
			return errDead
		}
	}
}

// pass is one crossing of the boundary. In a pause it waits; what begins in a pause is sent only if its
// context still stands afterwards, what is answered in a pause is answered late. The process dies here when
// the world aims at this point.
func (p *process) pass(ctx context.Context, at point) error {
	late := p.paused()
	if err := p.wait(); err != nil {
		return err
	}
	if late && !at.after && ctx.Err() != nil {
		return ctx.Err()
	}
	if p.w.aimed(p, at) {
		p.end()
		return errDead
	}
	return nil
}

// bound returns ctx ending with the process too.
func (p *process) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(p.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// outside carries out a call that ends with its context and with the process: one of a driver or of the
// network, where the other side goes on with what it has received.
func outside[T any](ctx context.Context, p *process, call string, f func(context.Context) (T, error)) (T, error) {
	var zero T
	if err := p.pass(ctx, point{call, false}); err != nil {
		return zero, err
	}
	ctx, done := p.bound(ctx)
	defer done()
	v, err := f(ctx)
	if err := p.pass(ctx, point{call, true}); err != nil {
		return zero, err
	}
	return v, err
}

// stored carries out a call of the store, which goes on without the process once it has been sent; gaveUp is
// the error when its context ends first.
func stored[T any](ctx context.Context, p *process, call string, gaveUp error, f func(context.Context) (T, error)) (T, error) {
	var zero T
	if err := p.pass(ctx, point{call, false}); err != nil {
		return zero, err
	}
	if p.cut.Load() {
		p.w.count("daemon cut off from the store")
		return zero, &pool.Error{Op: call, Kind: pool.ErrUnavailable, Cause: errors.New("no route to the store")}
	}
	type answer struct {
		v   T
		err error
	}
	ch := make(chan answer, 1)
	go func() {
		v, err := f(context.WithoutCancel(ctx))
		ch <- answer{v, err}
	}()
	var a answer
	select {
	case a = <-ch:
	case <-ctx.Done():
		a.err = gaveUp
	case <-p.ctx.Done():
		return zero, errDead
	}
	if err := p.pass(ctx, point{call, true}); err != nil {
		return zero, err
	}
	return a.v, a.err
}
