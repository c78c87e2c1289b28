package ledgertest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/berthage/berthage/pool"
)

// Fault is what befalls one call.
type Fault string

// The faults. Those with a lost reply befall the calls that write; a read can only be refused.
const (
	None        Fault = "none"         // the call goes through
	Refused     Fault = "refused"      // ErrUnavailable: nothing is done
	LostRequest Fault = "lost request" // ErrUnknown: nothing is done, nor will be
	LostReply   Fault = "lost reply"   // ErrUnknown: it is done by the time of the answer
	Late        Fault = "late"         // ErrUnknown: it is tried some time after the answer
)

// Faults says how often which fault befalls a call, as probabilities from 0 to 1 whose sum is at most 1.
// The zero value injects none.
type Faults struct {
	Refused     float64
	LostRequest float64
	LostReply   float64
	Late        float64

	Latency time.Duration // each call first takes up to this, evenly spread
	LateBy  time.Duration // a late call is tried after half of this to all of it; zero: 2 s
}

// Faulty wraps a ledger, and scratches, in faults: at random by a seed, scripted by Next, or all calls
// refused by SetDown. It waits on the time package only, so it works in a testing/synctest bubble.
//
// It implements Clock by the wrapped ledger's clock or, without one, this computer's; Watch is
// errors.ErrUnsupported where the wrapped ledger is no Watcher. It is safe for concurrent use; which of
// several concurrent calls meets which fault depends on their order.
type Faulty struct {
	ledger pool.Ledger

	mu     sync.Mutex
	random *rand.Rand
	faults Faults
	script []Fault
	down   bool
	counts map[Fault]int
	late   int        // late calls under way
	landed *sync.Cond // one of them has been tried
}

// NewFaulty returns a Faulty around l, which may be nil if only Scratch is used.
func NewFaulty(l pool.Ledger, seed uint64, faults Faults) *Faulty {
	f := &Faulty{ledger: l, random: rand.New(rand.NewPCG(seed, 0)), faults: faults, counts: make(map[Fault]int)}
	f.landed = sync.NewCond(&f.mu)
	return f
}

// Set replaces the probabilities.
func (f *Faulty) Set(faults Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = faults
}

// Next scripts what befalls the next writes (Append, Compact, Forget, Put, Delete), before chance rules again.
func (f *Faulty) Next(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = append(f.script, faults...)
}

// SetDown starts or ends an outage, in which every call is refused. What was late already still lands.
func (f *Faulty) SetDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

// Counts returns how many calls have met which fault.
func (f *Faulty) Counts() map[Fault]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}

// Settle returns once every late call that is under way has been tried.
func (f *Faulty) Settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.late > 0 {
		f.landed.Wait()
	}
}

// meet waits for the latency and returns what befalls the call, and a random number for the details. Once
// ctx has ended nothing is sent.
func (f *Faulty) meet(ctx context.Context, writes bool) (Fault, float64, error) {
	f.mu.Lock()
	var latency time.Duration
	if f.faults.Latency > 0 {
		latency = time.Duration(f.random.Int64N(int64(f.faults.Latency) + 1))
	}
	f.mu.Unlock()
	if latency > 0 {
		select {
		case <-time.After(latency):
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return "", 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	met := f.draw(writes)
	f.counts[met]++
	return met, f.random.Float64(), nil
}

func (f *Faulty) draw(writes bool) Fault {
	if f.down {
		return Refused
	}
	if writes && len(f.script) > 0 {
		met := f.script[0]
		f.script = f.script[1:]
		return met
	}
	p := f.random.Float64()
	for _, c := range []struct {
		chance float64
		fault  Fault
	}{{f.faults.Refused, Refused}, {f.faults.LostRequest, LostRequest}, {f.faults.LostReply, LostReply}, {f.faults.Late, Late}} {
		if p < c.chance && (writes || c.fault == Refused) {
			return c.fault
		}
		p -= c.chance
	}
	return None
}

// write carries out call with what befalls it.
func (f *Faulty) write(ctx context.Context, op string, call func(context.Context) error) error {
	met, chance, err := f.meet(ctx, true)
	if err != nil {
		return err
	}
	switch met {
	case None:
		return call(ctx)
	case Refused:
		return injected(op, pool.ErrUnavailable)
	case LostReply:
		_ = call(context.WithoutCancel(ctx)) // nobody learns how it went
	case Late:
		f.mu.Lock()
		by := cmp.Or(f.faults.LateBy, 2*time.Second)
		f.late++
		f.mu.Unlock()
		go func() {
			time.Sleep(by/2 + time.Duration(chance*float64(by/2)))
			_ = call(context.WithoutCancel(ctx))
			f.mu.Lock()
			defer f.mu.Unlock()
			f.late--
			f.landed.Broadcast()
		}()
	}
	return injected(op, pool.ErrUnknown)
}

func injected(op string, kind error) error {
	return &pool.Error{Op: op, Kind: kind, Cause: errors.New("injected fault")}
}

// read carries out call unless it is refused.
func (f *Faulty) read(ctx context.Context, op string, call func() error) error {
	met, _, err := f.meet(ctx, false)
	if err != nil {
		return err
	}
	if met == Refused {
		return injected(op, pool.ErrUnavailable)
	}
	return call()
}

// Append implements pool.Ledger.
func (f *Faulty) Append(ctx context.Context, prev pool.Revision, batch ...pool.Event) (pool.Revision, error) {
	if _, err := pool.CheckBatch(prev, batch); err != nil {
		return 0, err
	}
	batch = slices.Clone(batch)
	for i := range batch { // a late call must not see what the caller does to them meanwhile
		e := &batch[i]
		e.Data, e.Private = bytes.Clone(e.Data), bytes.Clone(e.Private)
		e.Salt, e.PrivateHash = bytes.Clone(e.Salt), bytes.Clone(e.PrivateHash)
	}
	reply := make(chan pool.Revision, 1)
	err := f.write(ctx, "append", func(ctx context.Context) error {
		rev, err := f.ledger.Append(ctx, prev, batch...)
		reply <- rev
		return err
	})
	if err != nil {
		return 0, err
	}
	return <-reply, nil
}

// Read implements pool.Ledger. A refused one breaks off before its first batch or soon after.
func (f *Faulty) Read(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	return f.batches(ctx, "read", f.ledger.Read(ctx, after))
}

// Archive implements pool.Ledger. A refused one breaks off before its first batch or soon after.
func (f *Faulty) Archive(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	return f.batches(ctx, "archive", f.ledger.Archive(ctx, after))
}

func (f *Faulty) batches(ctx context.Context, op string, seq iter.Seq2[pool.Batch, error]) iter.Seq2[pool.Batch, error] {
	return func(yield func(pool.Batch, error) bool) {
		met, chance, err := f.meet(ctx, false)
		if err != nil {
			yield(pool.Batch{}, err)
			return
		}
		left := int(chance * 16)
		for b, err := range seq {
			if met == Refused && left == 0 {
				break
			}
			left--
			if !yield(b, err) || err != nil {
				return
			}
		}
		if met == Refused {
			yield(pool.Batch{}, injected(op, pool.ErrUnavailable))
		}
	}
}

// Checkpoint implements pool.Ledger.
func (f *Faulty) Checkpoint(ctx context.Context) (at pool.Revision, snapshot []byte, err error) {
	err = f.read(ctx, "checkpoint", func() (err error) {
		at, snapshot, err = f.ledger.Checkpoint(ctx)
		return err
	})
	return at, snapshot, err
}

// Compact implements pool.Ledger.
func (f *Faulty) Compact(ctx context.Context, at pool.Revision, snapshot []byte) error {
	snapshot = append([]byte{}, snapshot...)
	return f.write(ctx, "compact", func(ctx context.Context) error { return f.ledger.Compact(ctx, at, snapshot) })
}

// Forget implements pool.Ledger.
func (f *Faulty) Forget(ctx context.Context, subject string) error {
	return f.write(ctx, "forget", func(ctx context.Context) error { return f.ledger.Forget(ctx, subject) })
}

// Now implements pool.Clock.
func (f *Faulty) Now(ctx context.Context) (now time.Time, err error) {
	err = f.read(ctx, "now", func() (err error) {
		if c, ok := f.ledger.(pool.Clock); ok {
			now, err = c.Now(ctx)
			return err
		}
		now = time.Now().UTC()
		return nil
	})
	return now, err
}

// Watch implements pool.Watcher.
func (f *Faulty) Watch(ctx context.Context) (wakes <-chan struct{}, err error) {
	w, ok := f.ledger.(pool.Watcher)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	err = f.read(ctx, "watch", func() (err error) {
		wakes, err = w.Watch(ctx)
		return err
	})
	return wakes, err
}

// Scratch returns s wrapped in the same faults, script and outages, as if both were one database.
func (f *Faulty) Scratch(s pool.Scratch) pool.Scratch { return faultyScratch{f, s} }

type faultyScratch struct {
	faulty  *Faulty
	scratch pool.Scratch
}

func (s faultyScratch) Get(ctx context.Context, key string) (value []byte, version int64, err error) {
	err = s.faulty.read(ctx, "get", func() (err error) {
		value, version, err = s.scratch.Get(ctx, key)
		return err
	})
	return value, version, err
}

func (s faultyScratch) Put(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
	value = append([]byte{}, value...)
	reply := make(chan int64, 1)
	err := s.faulty.write(ctx, "put", func(ctx context.Context) error {
		version, err := s.scratch.Put(ctx, key, value, prev, ttl)
		reply <- version
		return err
	})
	if err != nil {
		return 0, err
	}
	return <-reply, nil
}

func (s faultyScratch) Delete(ctx context.Context, key string, version int64) error {
	return s.faulty.write(ctx, "delete", func(ctx context.Context) error { return s.scratch.Delete(ctx, key, version) })
}
