package ring

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
)

// Caller says in whose name an input is decided: it becomes the events' Actor and Cause, and the Owner of what is launched. No
// command has a field for the owner: who asks cannot say that it is somebody else.
type Caller struct {
	Actor string `json:"actor"`
	Cause string `json:"cause,omitempty"`
	Owner string `json:"owner,omitempty"` // empty: nobody

	// With is what parts of the books are given along with a command, by their names: each of them is an Admitter.
	With map[string]json.RawMessage `json:"with,omitempty"`
}

// input is anything that may become events. decide is pure: it reads st and the rules, changes neither, and
// returns the events that follow, none when there is nothing to change.
type input interface {
	decide(r *rules, st *pool.State) ([]pool.Event, error)
}

type pending struct {
	ctx    context.Context // of the caller; once it has ended nobody waits
	in     input
	caller Caller
	done   chan outcome // buffered
}

type outcome struct {
	rev pool.Revision
	err error
}

// batch is what is appended at once, with the overlay that holds its effect and those who wait for it.
type batch struct {
	prev    pool.Revision
	events  []pool.Event
	size    int // bytes of their data
	inputs  int // of which they are to be
	overlay *pool.State
	waiting []*pending
	refused map[*pending]error
}

// Bounds, beside those of the ledger itself: inputs in one batch, inputs that wait for one.
const (
	batchInputs   = 256
	mostQueued    = 4096
	ledgerTimeout = 15 * time.Second // of one call
)

// submit decides in on the newest state, commits what follows, and returns the revision from which on
// readers see it.
func (r *Ring) submit(ctx context.Context, in input, who Caller) (pool.Revision, error) {
	p := &pending{ctx: ctx, in: in, caller: who, done: make(chan outcome, 1)}
	if err := r.enqueue(ctx, p); err != nil {
		return 0, err
	}
	return p.wait()
}

// enqueue adds inputs to those that wait for a batch, next to each other.
func (r *Ring) enqueue(ctx context.Context, ps ...*pending) error {
	if err := r.staleErr(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r.queueMu.Lock()
	if len(r.queue)+len(ps) > mostQueued {
		r.queueMu.Unlock()
		return &pool.Error{Kind: pool.ErrUnavailable, Want: "a store that keeps up; try again later"}
	}
	r.queue = append(r.queue, ps...)
	start := !r.draining
	r.draining = true
	r.queueMu.Unlock()
	if start {
		go r.drain()
	}
	return nil
}

func (p *pending) wait() (pool.Revision, error) {
	select {
	case o := <-p.done:
		return o.rev, o.err
	case <-p.ctx.Done():
		return 0, &pool.Error{Kind: pool.ErrUnknown, Cause: p.ctx.Err()}
	}
}

// DoAll carries out, in this process, commands that have come together: each as Do would, those of a batch in one
// append. It returns the error of each.
func (r *Ring) DoAll(ctx context.Context, cs []Command, who Caller) []error {
	errs := make([]error, len(cs))
	ps, at := make([]*pending, 0, len(cs)), make([]int, 0, len(cs))
	for k, c := range cs {
		in, err := c.input()
		if err != nil {
			errs[k] = err
			continue
		}
		ps, at = append(ps, &pending{ctx: ctx, in: in, caller: who, done: make(chan outcome, 1)}), append(at, k)
	}
	err := r.enqueue(ctx, ps...)
	for n, p := range ps {
		if err == nil {
			_, errs[at[n]] = p.wait()
		} else {
			errs[at[n]] = err
		}
	}
	return errs
}

// Steps decides commands as DoAll does, in the same batches, and folds what follows into the books of this process, but
// neither stores nor publishes it, and wakes nobody: what is left is what a placement costs. For benchmarks, on a ring of
// their own: what it does is in no ledger.
func (r *Ring) Steps(ctx context.Context, cs []Command, who Caller) []error {
	errs := make([]error, len(cs))
	ps := make([]pending, len(cs))
	work := make([]*pending, 0, len(cs))
	for k, c := range cs {
		in, err := c.input()
		if err != nil {
			errs[k] = err
			continue
		}
		ps[k] = pending{ctx: ctx, in: in, caller: who}
		work = append(work, &ps[k])
	}
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	for len(work) > 0 {
		now := work[:min(len(work), batchInputs)]
		b, rest := r.decideAll(now)
		r.st.Absorb(b.overlay)
		for k := 0; k < len(ps) && len(b.refused) > 0; k++ {
			if err := b.refused[&ps[k]]; err != nil {
				errs[k] = err
			}
		}
		work = work[len(now)-len(rest):]
	}
	return errs
}

// drain commits what waits, batch by batch, until nothing does. There is at most one.
func (r *Ring) drain() {
	for {
		r.queueMu.Lock()
		if len(r.queue) == 0 {
			r.draining = false
			r.queueMu.Unlock()
			return
		}
		n := min(len(r.queue), batchInputs)
		work := append([]*pending(nil), r.queue[:n]...)
		r.queue = r.queue[n:]
		r.queueMu.Unlock()
		for len(work) > 0 {
			work = r.commit(work)
		}
	}
}

// commit decides and appends one batch of the given inputs and returns those for which there was no room.
func (r *Ring) commit(work []*pending) []*pending {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	fail := func(err error) []*pending {
		for _, p := range work {
			p.done <- outcome{err: err}
		}
		return nil
	}
	for {
		if r.life.Err() != nil {
			return fail(&pool.Error{Kind: pool.ErrUnavailable, Want: "a Manager that is not closed"})
		}
		if err := r.staleErr(); err != nil {
			return fail(err)
		}
		b, rest := r.decideAll(work)
		err := r.append(b)
		if err != nil {
			r.index.sync(b.overlay, r.st)
		}
		switch {
		case err == nil:
			return rest
		case errors.Is(err, pool.ErrConflict):
			if err := r.catchUpLocked(r.life); err != nil {
				return fail(err)
			}
			continue // decide again, on what is true now
		default:
			for _, p := range b.waiting {
				p.done <- outcome{err: err}
			}
			return rest
		}
	}
}

// decideAll decides the inputs one after another on the committed state plus the effects of those before.
func (r *Ring) decideAll(work []*pending) (*batch, []*pending) {
	r.look()
	r.st.OverlayInto(&r.overlay)
	b := &batch{prev: r.st.Head(), events: make([]pool.Event, 0, len(work)), inputs: len(work), overlay: &r.overlay, refused: make(map[*pending]error)}
	r.index.begin(b.overlay)
	defer r.index.end()
	rules := r.rules.at(r.now())
	rules.placing, rules.kinds, rules.space, rules.revision = &r.index, r.kinds, &r.space, b.prev+1
	for n, p := range work {
		err := p.ctx.Err()
		if err == nil {
			err = r.decideOne(p, b, rules)
		}
		if errors.Is(err, errFull) {
			return b, work[n:]
		}
		b.waiting = append(b.waiting, p)
		if err != nil {
			b.refused[p] = err
		}
	}
	return b, nil
}

// look makes expectations of lifetimes what they are now.
func (r *Ring) look() {
	if r.rules.lives == nil {
		return
	}
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules.lives.look(now)
}

// errFull leaves an input to the next batch.
var errFull = errors.New("batch full")

// decide asks an input for its events. A panic in an importer's code fails this decision and nothing else.
func (r *Ring) decide(in input, st *pool.State, rules *rules) (events []pool.Event, err error) {
	err = r.guarded(func() error {
		events, err = in.decide(rules, st)
		return err
	})
	return events, err
}

// guarded makes an error of a panic in what may call an importer's code.
func (r *Ring) guarded(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			r.log.Error("panic in a decision", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic in a decision: %v", v)
		}
	}()
	return f()
}

// decideOne decides one input and adds its events to the batch, all of them or none. What a ledger would not
// take is refused here, so that one caller's events cannot spoil another's.
func (r *Ring) decideOne(p *pending, b *batch, rules *rules) error {
	rules.drafted, rules.owner = nil, p.caller.Owner
	beside, err := r.admit(p.caller, b.overlay, rules.now)
	if err != nil {
		return err // and nothing is said of what there is
	}
	events, err := r.decide(p.in, b.overlay, rules)
	if err == nil && len(events) > 0 {
		err = r.take(p, b, events, beside, rules)
	}
	r.index.back()
	return err
}

// take adds the events of one input to the batch, and those beside them behind.
func (r *Ring) take(p *pending, b *batch, events, beside []pool.Event, rules *rules) error {
	own := len(events)
	events = append(events, beside...)
	size := 0
	for i := range events {
		e := &events[i]
		e.ID, e.Time, e.Actor, e.Cause = r.random.text(), rules.now, p.caller.Actor, p.caller.Cause
		e.Revision, e.Index = rules.revision, len(b.events)+i
		if e.Epoch == 0 {
			e.Epoch = b.overlay.Epoch()
		}
		if e.Private != nil {
			e.Salt = r.random.salt()
			e.Seal()
		}
		size += len(e.Data) + len(e.Private)
	}
	if err := pool.CheckEvents(events); err != nil {
		return err
	}
	if b.size+size > pool.MaxBatch {
		return errFull // and not the first: CheckEvents has taken it alone
	}
	if drafted := rules.drafted; drafted != nil {
		for i := own; i < len(events); i++ { // which are in no draft
			if err := drafted.Apply(&events[i]); err != nil {
				return err
			}
		}
	}
	if err := r.foldInto(b.overlay, events, rules.drafted); err != nil {
		return err
	}
	r.index.follow()
	for i := range events {
		settle(&events[i])
	}
	b.add(events, size)
	return nil
}

// add adds the events of one input. If there is no room for them, it makes as much as the others will take if they are alike.
func (b *batch) add(events []pool.Event, size int) {
	if n := len(b.events) + len(events); n > cap(b.events) {
		all := min(n*b.inputs/(len(b.waiting)+1), n*pool.MaxBatch/(b.size+size))
		b.events = slices.Grow(b.events, max(n, all)-len(b.events))
	}
	b.events = append(b.events, events...)
	b.size += size
}

// foldInto folds the events of one input into st: all of them, or none. Drafted is an overlay of st in which that has
// been done already, or nil.
func (r *Ring) foldInto(st *pool.State, events []pool.Event, drafted *pool.State) error {
	switch {
	case drafted != nil:
		r.index.keep(drafted)
		st.Absorb(drafted)
		return nil
	case len(events) == 1: // of which an error leaves no trace
		return st.Apply(&events[0])
	}
	trial := &r.trial
	st.OverlayInto(trial)
	for i := range events {
		if err := trial.Apply(&events[i]); err != nil {
			return err
		}
	}
	st.Absorb(trial)
	return nil
}

// append stores the batch and publishes it. On ErrConflict nothing has happened; on any other error the
// callers are told it. An unknown outcome is settled first.
func (r *Ring) append(b *batch) error {
	if len(b.events) == 0 {
		r.answer(b)
		return nil
	}
	err := r.tryAppend(b)
	switch {
	case err == nil:
		r.publish(b)
		return nil
	case errors.Is(err, pool.ErrConflict), errors.Is(err, pool.ErrUnavailable), errors.Is(err, pool.ErrInvalid):
		return err
	}
	r.log.Warn("append in doubt; settling it", "revision", b.prev+1, "error", err)
	return r.settle(b)
}

func (r *Ring) tryAppend(b *batch) error {
	ctx, cancel := context.WithTimeout(r.life, ledgerTimeout)
	defer cancel()
	_, err := r.cfg.Ledger.Append(ctx, b.prev, b.events...)
	return err
}

// settle appends a batch in doubt again, the same events at the same place, until it is known to be stored or
// known never to be. Until then nothing else is appended or read and its callers wait. Close ends it too, and
// after that nothing is appended at all.
func (r *Ring) settle(b *batch) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		select {
		case <-time.After(wait):
		case <-r.life.Done():
			return &pool.Error{Kind: pool.ErrUnknown, Cause: r.life.Err()}
		}
		err := r.tryAppend(b)
		switch {
		case err == nil:
			r.publish(b)
			return nil
		case errors.Is(err, pool.ErrConflict), errors.Is(err, pool.ErrInvalid):
			return err
		}
		r.log.Warn("append still in doubt", "revision", b.prev+1, "error", err)
	}
}

// publish makes a stored batch visible and answers its callers.
func (r *Ring) publish(b *batch) {
	f, launched := r.newIn(b.overlay)
	r.mu.Lock()
	r.rules.lives.follow(b.overlay)
	r.st.Absorb(b.overlay)
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
	r.noteAll(b.events, f, launched)
	r.answer(b)
}

func (r *Ring) answer(b *batch) {
	for _, p := range b.waiting {
		if err := b.refused[p]; err != nil {
			p.done <- outcome{err: err}
		} else {
			p.done <- outcome{rev: b.prev + min(1, pool.Revision(len(b.events)))}
		}
	}
}

// catchUp folds what other processes have appended.
func (r *Ring) catchUp(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return r.catchUpLocked(ctx)
}

// catchUpLocked is catchUp for whoever has the turn, which it does not keep from the others for ever: what it
// has no time for is read the next time.
func (r *Ring) catchUpLocked(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	return r.read(ctx)
}

func (r *Ring) fold(b pool.Batch) error {
	if b.Revision != r.st.Head()+1 {
		return fmt.Errorf("revision %d follows %d", b.Revision, r.st.Head())
	}
	// Decoding may be slow and needs no lock; it is done on an overlay, all of the batch or nothing.
	o := r.st.Overlay()
	for i := range b.Events {
		if err := o.Apply(&b.Events[i]); err != nil {
			return err
		}
	}
	r.index.sync(o, o)
	f, launched := r.newIn(o)
	r.mu.Lock()
	r.rules.lives.follow(o)
	r.st.Absorb(o)
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
	r.noteAll(b.Events, f, launched)
	return nil
}

func (r *Ring) noteAll(events []pool.Event, f freed, launched []pool.InstanceID) {
	if l := r.lead.Load(); l != nil {
		l.note(events, f, launched)
	}
}

// newIn is what an overlay of the committed State frees, and the instances that are new in it, if anybody here is to know.
func (r *Ring) newIn(o *pool.State) (freed, []pool.InstanceID) {
	if r.lead.Load() == nil {
		return freed{}, nil
	}
	return freedBy(r.st, o), launchedIn(r.st, o)
}
