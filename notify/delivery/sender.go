package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// MostResults is how many results a Source is given at once, at most.
const MostResults = 256

// Source is where messages wait. Its methods are called concurrently with each other.
type Source interface {
	// Waiting returns what is neither delivered nor dead, in the order in which it is to be sent, and a channel that is closed
	// when that may have changed. The list is not changed afterwards, and none is older than one returned before.
	Waiting() ([]Item, <-chan struct{})
	// Message returns a message by its key. It is called for each attempt; without a message the item is dead.
	Message(key string) (notify.Message, bool)
	// Notifier returns that of a receiver. A receiver without one is broken until there is one and [Sender.Reset] says so.
	Notifier(receiver string) (notify.Notifier, bool)
	// Settled writes down that items were delivered or are dead, all or none of them, after which Waiting lists them no more. What
	// does not wait any more, or with another Queued, is passed over. After an error the same results come again a second later, perhaps
	// with others behind them, until ctx ends.
	Settled(ctx context.Context, results []Result) error
}

// Sender sends what waits at a Source. Its zero value is ready; its methods are safe for concurrent use.
//
// One process at a time should send from an outbox: two send everything twice, if with the same keys.
type Sender struct {
	Policy Policy       // not to be changed once it runs
	Logger *slog.Logger // of notifiers that panic and results that cannot be written down; nil: silent

	running sync.Mutex
	mu      sync.Mutex
	queue   Queue
	results []Result      // to be written down, in the order in which they came
	wake    chan struct{} // there may be something to be sent
	settled chan struct{} // there are results
}

// Run sends until ctx ends, and returns nil then. It returns an error at once if the policy cannot be followed, or if
// another Run of the same Sender has not returned yet.
//
// When ctx ends, so do the attempts under way, and Run returns as soon as they have. What has become of them is not known, unless
// they have succeeded all the same. Results that are not written down yet are kept: a later Run of the same Sender
// writes them down and does not send the items again.
func (s *Sender) Run(ctx context.Context, src Source) error {
	if err := s.Policy.Validate(); err != nil {
		return err
	}
	if !s.running.TryLock() {
		return &pool.Error{Op: "delivery", Kind: pool.ErrInvalid, Field: "run", Want: "one at a time"}
	}
	defer s.running.Unlock()
	wake, settled := make(chan struct{}, 1), make(chan struct{}, 1)
	s.mu.Lock()
	s.queue.Policy, s.wake, s.settled = s.Policy, wake, settled
	s.mu.Unlock()

	var under sync.WaitGroup
	defer under.Wait()
	under.Go(func() { s.record(ctx, src, settled) })
	for ctx.Err() == nil {
		items, changed := src.Waiting()
		s.mu.Lock()
		s.queue.Set(items, time.Now())
		s.mu.Unlock()
		signal(settled) // there may be results of an earlier Run
		for same := true; same && ctx.Err() == nil; {
			send, next := s.plan()
			for _, item := range send {
				under.Go(func() { s.send(ctx, src, item) })
			}
			var timer <-chan time.Time
			if !next.IsZero() {
				timer = time.After(time.Until(next))
			}
			select {
			case <-ctx.Done():
			case <-changed:
				same = false
			case <-wake:
			case <-timer:
			}
		}
	}
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *Sender) plan() (send []Item, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	send, dead, next := s.queue.Plan(time.Now())
	s.settle(dead...)
	return send, next
}

// settle keeps results to be written down.
func (s *Sender) settle(results ...Result) {
	if len(results) > 0 {
		s.results = append(s.results, results...)
		signal(s.settled)
	}
}

// send makes one attempt. Nothing that a notifier does keeps the attempt from ending, but not returning.
func (s *Sender) send(ctx context.Context, src Source, item Item) {
	err := errors.New("the notifier has ended its goroutine")
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(item, p)
		}
		s.done(ctx, item, err)
	}()
	within, cancel := context.WithTimeout(ctx, s.Policy.full().Timeout)
	defer cancel()
	err = attempt(within, src, item)
}

func attempt(ctx context.Context, src Source, item Item) error {
	n, ok := src.Notifier(item.Receiver)
	if !ok {
		return &notify.Error{Op: "deliver", Kind: notify.ErrBroken, Detail: "there is no receiver of this name"}
	}
	m, ok := src.Message(item.Key)
	if !ok {
		return &notify.Error{Op: "deliver", Kind: notify.ErrPermanent, Detail: "there is no message with this key"}
	}
	return n.Notify(ctx, m)
}

// panicked makes an error of a panic. What was panicked with may have a secret in it, and is told only if it comes from the runtime.
func (s *Sender) panicked(item Item, p any) error {
	err := fmt.Errorf("the notifier panicked with a %T", p)
	var known runtime.Error
	if e, ok := p.(error); ok && errors.As(e, &known) {
		err = fmt.Errorf("the notifier panicked: %w", known)
	}
	s.logger().Error("message not delivered", "key", item.Key, "receiver", item.Receiver, "error", err, "stack", string(debug.Stack()))
	return err
}

func (s *Sender) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

func (s *Sender) done(ctx context.Context, item Item, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && ctx.Err() != nil {
		s.queue.Abandon(item)
		return
	}
	if r := s.queue.Done(item, err, time.Now()); r.Status != Waiting {
		s.settle(r)
	}
	signal(s.wake)
}

// record writes results down until ctx ends: all that have come while it was at those before.
func (s *Sender) record(ctx context.Context, src Source, settled <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-settled:
		}
		for batch := s.batch(); len(batch) > 0; batch = s.batch() {
			err := src.Settled(ctx, batch)
			if err == nil {
				s.recorded(len(batch))
				continue
			}
			if ctx.Err() == nil {
				s.logger().Warn("what became of messages is not written down yet", "results", len(batch), "error", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
	}
}

// batch returns the results that are to be written down first. What is listed no more needs it no more.
func (s *Sender) batch() []Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results = slices.DeleteFunc(s.results, func(r Result) bool { return !s.queue.settled(r.Item) })
	return slices.Clone(s.results[:min(len(s.results), MostResults)])
}

func (s *Sender) recorded(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results = slices.Delete(s.results, 0, n)
}

// Health returns how the receivers are, by name. Of those that are not among them nothing is known.
func (s *Sender) Health() []Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.Receivers()
}

// Attempts returns the attempts of this Sender that ended last, the latest first, at most MostAttempts.
func (s *Sender) Attempts() []Attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.Attempts()
}

// Progress returns how far an item has come, and whether it waits at all.
func (s *Sender) Progress(key string) (Progress, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.Progress(key)
}

// Reset says that a receiver was configured anew or removed: what was known of it is forgotten, and it is tried at once.
func (s *Sender) Reset(receiver string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.Reset(receiver)
	signal(s.wake)
}
