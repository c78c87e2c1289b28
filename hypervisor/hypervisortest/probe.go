package hypervisortest

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// row is a case and how it is run.
type row struct {
	Case
	needs func(s *suite) string // why it cannot be run; nil or empty: it can
	run   func(p *probe)
}

// probe runs one case: it calls the driver, watches every call, and notes what is wrong.
type probe struct {
	*suite
	ctx context.Context

	mu       sync.Mutex
	problems []string
	count    int // of all problems
}

// problems is how many problems of a case are told.
const problems = 8

// stop ends a case early; the runner recovers it.
type stop struct{}

// errHung is what a call that never returned is given as its error.
var errHung = errors.New("the call did not return")

// run runs a case, cleans up after it, and returns how it ended.
func (s *suite) run(ctx context.Context, r row) Result {
	res := Result{Case: r.Case, Outcome: Pass}
	if r.Ability != "" && !hypervisor.Has(s.Driver, s.Hosts[0], r.Ability) {
		res.Outcome, res.Detail = NotOffered, "ability "+string(r.Ability)
		return res
	}
	if r.needs != nil {
		if why := r.needs(s); why != "" {
			res.Outcome, res.Detail = NotOffered, why
			return res
		}
	}
	start := time.Now()
	p := &probe{suite: s, ctx: ctx}
	p.guard(r.run)
	p.guard((*probe).cleanUp)
	res.Took = time.Since(start)
	p.mu.Lock() // a call that hangs may still have something to say
	defer p.mu.Unlock()
	if more := p.count - len(p.problems); more > 0 {
		p.problems = append(p.problems, fmt.Sprintf("and %d more", more))
	}
	if p.count > 0 {
		res.Outcome, res.Detail = Fail, strings.Join(p.problems, "; ")
	}
	return res
}

// guard runs f and ends it where it stops.
func (p *probe) guard(f func(*probe)) {
	defer func() {
		switch r := recover(); r.(type) {
		case nil, stop:
		default:
			p.errorf("the suite panicked: %v\n%s", r, debug.Stack())
		}
	}()
	f(p)
}

func (p *probe) errorf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count++; p.count <= problems {
		p.problems = append(p.problems, fmt.Sprintf(format, args...))
	}
}

// fatalf notes a problem and ends the case. It must be called on the case's own goroutine.
func (p *probe) fatalf(format string, args ...any) {
	p.errorf(format, args...)
	panic(stop{})
}

// cleanUp destroys what the case has made: whatever it has ordered, and whatever is tagged as the suite's.
func (p *probe) cleanUp() {
	for ref := range p.made {
		if err := p.try("destroy, cleaning up,", func(ctx context.Context) error { return p.Driver.Destroy(ctx, ref) }); err != nil &&
			!errors.Is(err, hypervisor.ErrForeign) {
			p.errorf("cleaning up: %v", err)
		}
	}
	clear(p.made)
	if shelver, ok := hypervisor.As[hypervisor.Shelver](p.Driver); ok {
		for ref := range p.aside {
			if err := p.try("discard, cleaning up,", func(ctx context.Context) error { return shelver.Discard(ctx, ref) }); err != nil {
				p.errorf("cleaning up: %v", err)
			}
		}
	}
	clear(p.aside)
	for _, host := range p.Hosts {
		list, err := p.list(host)
		if err != nil {
			p.errorf("cleaning up: %v", err)
		}
		for _, m := range list {
			if !p.ours(m.Tag) {
				continue
			}
			ref := hypervisor.Ref{Host: host, Tag: m.Tag}
			if err := p.try("destroy, cleaning up,", func(ctx context.Context) error { return p.Driver.Destroy(ctx, ref) }); err != nil {
				p.errorf("cleaning up: %v", err)
			}
		}
	}
}

// ours reports whether the suite has made the machine, under whichever of its ledgers.
func (p *probe) ours(t hypervisor.Tag) bool { return strings.HasPrefix(t.Ledger, p.ledger) }

// try makes a call within Timeout and returns its error. It notes an error of no kind, a panic, and a call
// that does not return.
func (p *probe) try(what string, call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(p.ctx, p.Timeout)
	defer cancel()
	return p.watch(ctx, what, call)
}

// watch is try under a context of the case's own.
func (p *probe) watch(ctx context.Context, what string, call func(ctx context.Context) error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				p.errorf("%s panicked: %v\n%s", what, r, debug.Stack())
				done <- errHung
			}
		}()
		done <- call(ctx)
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		soon := time.NewTimer(p.Grace)
		defer soon.Stop()
		select {
		case err = <-done:
		case <-soon.C:
			p.errorf("%s had not returned %v after its context had ended", what, p.Grace)
			return errHung
		}
	}
	if err != nil && !errors.Is(err, errHung) && !kinded(err) {
		p.errorf("%s: an error of no kind: %v", what, err)
	}
	return err
}

// kinded reports whether an error is of one of the kinds that a driver may return.
func kinded(err error) bool {
	return slices.ContainsFunc([]error{
		hypervisor.ErrNotFound, hypervisor.ErrExists, hypervisor.ErrForeign, hypervisor.ErrRefused, hypervisor.ErrInvalid,
		hypervisor.ErrWrongPower, hypervisor.ErrUnavailable, hypervisor.ErrUnknown,
		context.Canceled, context.DeadlineExceeded, errors.ErrUnsupported,
	}, func(kind error) bool { return errors.Is(err, kind) })
}

// must makes a call that has to succeed.
func (p *probe) must(what string, call func(ctx context.Context) error) {
	if err := p.try(what, call); err != nil {
		p.fatalf("%s: %v", what, err)
	}
}

// fails makes a call that has to fail with the kind.
func (p *probe) fails(kind error, what string, call func(ctx context.Context) error) {
	err := p.try(what, call)
	if err == nil {
		p.errorf("%s succeeded instead of failing with %q", what, kind)
	} else if !errors.Is(err, kind) {
		p.errorf("%s failed with %q instead of %q", what, err, kind)
	}
}

func (p *probe) order(host pool.HostID, change ...func(*hypervisor.Order)) hypervisor.Order {
	o, err := p.suite.order(host, change...)
	if err != nil {
		p.fatalf("no order for %s: %v", host, err)
	}
	return o
}

// creation is the call that creates o; what it makes will be cleaned up.
func (p *probe) creation(o hypervisor.Order) func(ctx context.Context) error {
	p.made[o.Ref] = true
	return func(ctx context.Context) error { return p.Driver.Create(ctx, o) }
}

// created makes a machine on the host.
func (p *probe) created(host pool.HostID, change ...func(*hypervisor.Order)) hypervisor.Order {
	o := p.order(host, change...)
	p.must("create", p.creation(o))
	return o
}

// started makes a machine on the host and starts it.
func (p *probe) started(host pool.HostID, change ...func(*hypervisor.Order)) hypervisor.Order {
	o := p.created(host, change...)
	p.must("start", p.start(o.Ref))
	p.power(o.Ref, pool.Running, "after start")
	return o
}

func (p *probe) start(r hypervisor.Ref) func(ctx context.Context) error {
	return func(ctx context.Context) error { return p.Driver.Start(ctx, r) }
}

func (p *probe) stop(r hypervisor.Ref) func(ctx context.Context) error {
	return func(ctx context.Context) error { return p.Driver.Stop(ctx, r) }
}

func (p *probe) destroy(r hypervisor.Ref) func(ctx context.Context) error {
	return func(ctx context.Context) error { return p.Driver.Destroy(ctx, r) }
}

// get makes a call that returns something.
func get[T any](p *probe, what string, call func(ctx context.Context) (T, error)) (T, error) {
	var got T
	err := p.try(what, func(ctx context.Context) error {
		v, err := call(ctx)
		got = v
		return err
	})
	if errors.Is(err, errHung) {
		var zero T // the call may still write got
		return zero, err
	}
	return got, err
}

// want is get for a call that has to succeed.
func want[T any](p *probe, what string, call func(ctx context.Context) (T, error)) T {
	got, err := get(p, what, call)
	if err != nil {
		p.fatalf("%s: %v", what, err)
	}
	return got
}

// list returns the machines on a host.
func (p *probe) list(host pool.HostID) ([]hypervisor.Machine, error) {
	return get(p, "list machines", func(ctx context.Context) ([]hypervisor.Machine, error) { return p.Driver.Machines(ctx, host) })
}

// machines returns the machines on a host, or ends the case.
func (p *probe) machines(host pool.HostID) []hypervisor.Machine {
	return want(p, "list machines", func(ctx context.Context) ([]hypervisor.Machine, error) { return p.Driver.Machines(ctx, host) })
}

// find returns the machines on r's host that have r's machine id.
func (p *probe) find(r hypervisor.Ref) []hypervisor.Machine {
	list := p.machines(r.Host)
	return slices.DeleteFunc(list, func(m hypervisor.Machine) bool { return m.Machine != r.Machine })
}

// shown returns the one machine that r names, with exactly r's tag, or ends the case.
func (p *probe) shown(r hypervisor.Ref, when string) hypervisor.Machine {
	found := p.find(r)
	if len(found) != 1 {
		p.fatalf("%s the machine is listed %d times instead of once", when, len(found))
	}
	if found[0].Ref != r {
		p.errorf("%s the machine is listed as %+v instead of %+v", when, found[0].Ref, r)
	}
	return found[0]
}

// power requires that the machine is listed once, with r's tag, in that power state.
func (p *probe) power(r hypervisor.Ref, want pool.Power, when string) {
	if m := p.shown(r, when); m.Power != want {
		p.errorf("%s the machine is %q instead of %q", when, m.Power, want)
	}
}

// gone requires that the machine is not listed.
func (p *probe) gone(r hypervisor.Ref, when string) {
	if n := len(p.find(r)); n != 0 {
		p.errorf("%s the machine is listed", when)
	}
}

// together calls f for every order at the same time and waits for all.
func (p *probe) together(orders []hypervisor.Order, f func(i int, o hypervisor.Order)) {
	var wg sync.WaitGroup
	for i, o := range orders {
		wg.Go(func() { f(i, o) })
	}
	wg.Wait()
}
