package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/delivery"
	"github.com/berthage/berthage/pool"
)

// outbox is a Source in memory, for any number of senders.
type outbox struct {
	mu       sync.Mutex
	items    []delivery.Item
	messages map[string]notify.Message
	changed  chan struct{}
	written  []delivery.Result
	calls    []int                                                // of Settled, how many results each
	loaded   int                                                  // calls of Message
	settle   func(ctx context.Context, r []delivery.Result) error // called first by Settled; nil: nothing
	to       map[string]notify.Notifier
}

func newOutbox() *outbox {
	return &outbox{messages: make(map[string]notify.Message), changed: make(chan struct{}), to: make(map[string]notify.Notifier)}
}

// put has a message wait. Its key is that of receiver, incident and number.
func (o *outbox) put(receiver, incident string, n int) string {
	m := notify.Message{
		Key: fmt.Sprintf("%s:%s:%d", receiver, incident, n), Incident: incident, Receiver: receiver, Generation: int64(n), Event: &notify.Event{Kind: "test"},
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.messages[m.Key] = m
	o.items = append(slices.Clone(o.items), delivery.Item{Key: m.Key, Receiver: receiver, Order: incident, Queued: time.Now()})
	o.change()
	return m.Key
}

func (o *outbox) change() {
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *outbox) Waiting() ([]delivery.Item, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.items, o.changed
}

func (o *outbox) Message(key string) (notify.Message, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.loaded++
	m, ok := o.messages[key]
	return m, ok
}

func (o *outbox) Notifier(receiver string) (notify.Notifier, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, ok := o.to[receiver]
	return n, ok
}

func (o *outbox) Settled(ctx context.Context, results []delivery.Result) error {
	o.mu.Lock()
	first := o.settle
	o.calls = append(o.calls, len(results))
	o.mu.Unlock()
	if first != nil {
		if err := first(ctx, results); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	gone := make(map[string]bool)
	for _, r := range results {
		if slices.Contains(o.items, r.Item) {
			gone[r.Key] = true
			o.written = append(o.written, r)
		}
	}
	o.items = slices.DeleteFunc(slices.Clone(o.items), func(i delivery.Item) bool { return gone[i.Key] })
	o.change()
	return nil
}

func (o *outbox) waiting() int {
	items, _ := o.Waiting()
	return len(items)
}

// results returns what was written down: "key status reason", sorted.
func (o *outbox) results() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []string
	for _, r := range o.written {
		out = append(out, strings.TrimSpace(r.Key+" "+string(r.Status)+" "+r.Reason))
	}
	slices.Sort(out)
	return out
}

// inbox is a receiver: what it says to each attempt, and what it has got.
type inbox struct {
	mu     sync.Mutex
	answer func(ctx context.Context, m notify.Message) error // nil: takes everything
	tried  []string
	got    []string
	at     []time.Time // when got
}

func (b *inbox) Notify(ctx context.Context, m notify.Message) error {
	b.mu.Lock()
	b.tried = append(b.tried, m.Key)
	answer := b.answer
	b.mu.Unlock()
	if answer != nil {
		if err := answer(ctx, m); err != nil {
			return err
		}
	}
	b.take(m.Key)
	return nil
}

func (b *inbox) take(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got, b.at = append(b.got, key), append(b.at, time.Now())
}

func (b *inbox) keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

func (b *inbox) attempts() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.tried)
}

func (b *inbox) say(answer func(ctx context.Context, m notify.Message) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

func always(err error) func(context.Context, notify.Message) error {
	return func(context.Context, notify.Message) error { return err }
}

// hang holds until its context ends.
func hang(ctx context.Context, _ notify.Message) error {
	<-ctx.Done()
	return ctx.Err()
}

// pass lets time pass, and everything happen that happens then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// run runs a sender, and returns what ends it and waits for that.
func run(t *testing.T, s *delivery.Sender, src delivery.Source) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var err error
	wg.Go(func() { err = s.Run(ctx, src) })
	return func() {
		cancel()
		wg.Wait()
		require.NoError(t, err)
	}
}

// A receiver is down for an hour while others are not. Everything arrives once it is back, in order within each
// incident, and the others notice nothing.
func TestReceiverDownForAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, down, up := newOutbox(), &inbox{answer: always(errDown)}, &inbox{}
		o.to["down"], o.to["up"] = down, up
		var s delivery.Sender
		defer run(t, &s, o)()
		const incidents, messages = 20, 12
		for n := range messages {
			for i := range incidents {
				before := time.Now()
				o.put("down", strconv.Itoa(i), n)
				key := o.put("up", strconv.Itoa(i), n)
				synctest.Wait()
				require.Contains(t, up.keys(), key)
				require.Equal(t, before, up.at[len(up.at)-1], "at once")
			}
			pass(5 * time.Minute)
		}
		require.Empty(t, down.keys())
		require.Less(t, down.attempts(), 100, "it is spared, with 240 waiting")
		require.Equal(t, incidents*messages, o.waiting())
		require.Equal(t, delivery.Failing, s.Health()[0].State)

		down.say(nil)
		pass(5 * time.Minute)
		require.Zero(t, o.waiting())
		require.Equal(t, "down ok, up ok", healthOf(&s))
		next := make(map[string]int)
		for _, key := range down.keys() {
			p := strings.Split(key, ":")
			require.Equal(t, strconv.Itoa(next[p[1]]), p[2], "incident %s", p[1])
			next[p[1]]++
		}
		require.Len(t, next, incidents)
		require.Len(t, down.keys(), incidents*messages, "each of them once")
		require.Len(t, o.results(), 2*incidents*messages)
	})
}

func healthOf(s *delivery.Sender) string {
	var out []string
	for _, h := range s.Health() {
		out = append(out, h.Receiver+" "+string(h.State))
	}
	return strings.Join(out, ", ")
}

// Of three processes one after another sends. Each is killed between sending and writing down: what it sent is sent
// again by the next one with the same key, before anything that comes later in the incident.
func TestHandOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, b := newOutbox(), &inbox{}
		o.to["r"] = b
		for i := range 3 {
			for n := range 4 {
				o.put("r", strconv.Itoa(i), n)
			}
		}
		fail := errors.New("the lease is lost")
		for killed := range 3 {
			lost := killed < 2
			o.settle = func(context.Context, []delivery.Result) error {
				if lost {
					return fail
				}
				return nil
			}
			var s delivery.Sender
			stop := run(t, &s, o)
			pass(time.Hour)
			if lost {
				require.Len(t, b.keys(), 3*(killed+1), "the first of each incident, and none behind it")
				require.Equal(t, 12, o.waiting())
			}
			stop()
		}
		require.Zero(t, o.waiting())
		for i := range 3 {
			var of []string
			for _, key := range b.keys() {
				if p := strings.Split(key, ":"); p[1] == strconv.Itoa(i) {
					of = append(of, p[2])
				}
			}
			require.Equal(t, []string{"0", "0", "0", "1", "2", "3"}, of)
		}
	})
}

// Three processes hand over at any moment, receivers answer anything, and the ledger fails now and then. Nothing is lost, what arrives
// twice has the same key, and nothing arrives behind what comes later in its incident.
func TestThreeSenders(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				r := rand.New(rand.NewPCG(seed, 7))
				chance := func(n int) int { mu.Lock(); defer mu.Unlock(); return r.IntN(n) }
				var well atomic.Bool
				var under atomic.Int32
				o := newOutbox()
				o.settle = func(ctx context.Context, _ []delivery.Result) error {
					if well.Load() {
						return nil
					}
					time.Sleep(time.Duration(chance(10_000)) * time.Millisecond)
					if chance(3) == 0 {
						return pool.ErrUnavailable
					}
					return ctx.Err()
				}
				boxes := make([]*inbox, 5)
				for i := range boxes {
					boxes[i] = &inbox{answer: func(ctx context.Context, m notify.Message) error {
						require.LessOrEqual(t, under.Add(1), int32(64))
						defer under.Add(-1)
						select {
						case <-ctx.Done():
							return ctx.Err()
						case <-time.After(time.Duration(chance(10_000)) * time.Millisecond):
						}
						switch c := chance(20); {
						case well.Load() || c < 10:
							return nil
						case c < 12:
							boxes[i].take(m.Key) // and its answer is lost
							return errDown
						case c < 17:
							return errDown
						case c < 18:
							return errLater(time.Duration(chance(600)) * time.Second)
						case c < 19:
							return errBroken
						}
						panic("once more")
					}}
					o.to[strconv.Itoa(i)] = boxes[i]
				}
				put := make(map[string]int)
				var senders [3]delivery.Sender
				for n := range 60 {
					s := &senders[chance(3)]
					stop := run(t, s, o)
					for range chance(20) {
						to, incident := strconv.Itoa(chance(len(boxes))), strconv.Itoa(chance(4))
						o.put(to, incident, put[to+":"+incident])
						put[to+":"+incident]++
						pass(time.Duration(chance(30_000)) * time.Millisecond)
					}
					if n == 40 {
						s.Reset("0")
					}
					stop()
				}
				well.Store(true)
				defer run(t, &senders[0], o)()
				pass(3 * time.Hour)
				require.Zero(t, o.waiting())
				twice := 0
				for _, b := range boxes {
					at := make(map[string]int) // how many of an incident have arrived
					for _, key := range b.keys() {
						p := strings.Split(key, ":")
						n, err := strconv.Atoi(p[2])
						require.NoError(t, err)
						switch i := p[0] + ":" + p[1]; n {
						case at[i]:
							at[i]++
						case at[i] - 1:
							twice++
						default:
							require.Failf(t, "out of order", "%s after %d", key, at[i]-1)
						}
					}
					for i, n := range at {
						require.Equal(t, put[i], n, "some of incident %s are lost", i)
						delete(put, i)
					}
				}
				require.Empty(t, put)
				require.Positive(t, twice, "the script tries nothing")
			})
		})
	}
}

// What could not be written down is kept, is not sent again by the same process, and is written down later, by a later
// Run if need be. What somebody else has written down in the meantime is not.
func TestResultsAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, b := newOutbox(), &inbox{}
		o.to["r"] = b
		b.answer = func(_ context.Context, m notify.Message) error {
			if m.Incident == "refused" {
				return errRefused
			}
			return nil
		}
		for _, i := range []string{"x", "y", "refused"} {
			o.put("r", i, 1)
		}
		o.settle = func(context.Context, []delivery.Result) error { return pool.ErrUnavailable }
		var s delivery.Sender
		stop := run(t, &s, o)
		pass(time.Minute)
		require.Len(t, o.calls, 61, "each second")
		p, ok := s.Progress("r:x:1")
		require.True(t, ok)
		require.Equal(t, delivery.Progress{Status: delivery.Delivered, Attempts: 1}, p)
		stop()
		require.Equal(t, 3, b.attempts())
		require.Equal(t, 3, o.waiting())

		o.mu.Lock()
		o.items = slices.DeleteFunc(slices.Clone(o.items), func(i delivery.Item) bool { return i.Order == "y" })
		o.settle, o.calls = nil, nil
		o.mu.Unlock()
		defer run(t, &s, o)()
		synctest.Wait()
		require.Equal(t, []string{"r:refused:1 dead " + errRefused.Error(), "r:x:1 delivered"}, o.results())
		require.Equal(t, []int{2}, o.calls)
		require.Equal(t, 3, b.attempts())
	})
}

// Results that come while others are written down are written down together, and never too many.
func TestResultsTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, b := newOutbox(), &inbox{}
		o.to["r"] = b
		o.settle = func(context.Context, []delivery.Result) error { time.Sleep(10 * time.Second); return nil }
		for i := range 1000 {
			o.put("r", strconv.Itoa(i), 0)
		}
		var s delivery.Sender
		defer run(t, &s, o)()
		pass(70 * time.Second)
		require.Len(t, b.keys(), 1000, "sending does not wait for the ledger")
		require.Len(t, o.results(), 1000)
		require.LessOrEqual(t, len(o.calls), 6)
		require.Equal(t, delivery.MostResults, slices.Max(o.calls))
		require.Equal(t, 1000, o.loaded)
	})
}

// Whatever notifiers do is the outcome of one attempt. The other receivers are served all the same.
func TestNotifiersThatMisbehave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const secret = "hunter2"
		o, good := newOutbox(), &inbox{}
		o.to["good"] = good
		answers := map[string]func(ctx context.Context, m notify.Message) error{
			"panic":  func(context.Context, notify.Message) error { panic(secret) },
			"index":  func(_ context.Context, m notify.Message) error { return []error{nil}[len(m.Key)] },
			"goexit": func(context.Context, notify.Message) error { runtime.Goexit(); return nil },
			"hangs":  hang,
		}
		for name, answer := range answers {
			o.to[name] = notify.Func(answer)
		}
		o.to["nil"] = nil
		errs := map[string]string{
			"panic": "the notifier panicked with a string", "index": "the notifier panicked: runtime error: index out of range [9] with length 1",
			"goexit": "the notifier has ended its goroutine", "hangs": context.DeadlineExceeded.Error(),
			"nil": "the notifier panicked: runtime error: invalid memory address or nil pointer dereference",
		}
		for name := range errs {
			o.put(name, "i", 1)
		}
		var log bytes.Buffer
		s := delivery.Sender{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		stop := run(t, &s, o)
		pass(30 * time.Second)
		o.put("good", "i", 1)
		synctest.Wait()
		require.Equal(t, []string{"good:i:1"}, good.keys())
		pass(time.Hour)
		for _, h := range s.Health() {
			if h.Receiver != "good" {
				require.Equal(t, delivery.Failing, h.State, h.Receiver)
				require.Equal(t, errs[h.Receiver], h.Error)
				require.Greater(t, h.Failures, 10, h.Receiver)
			}
		}
		require.Equal(t, 5, o.waiting(), "nothing is lost")
		stop()
		require.Contains(t, log.String(), "sender_test.go:", "where it was")
		require.NotContains(t, log.String()+fmt.Sprintf("%+v %+v", s.Attempts(), s.Health()), secret)
	})
}

// A receiver that nobody knows is broken, and nothing is lost with it; a message that nobody knows is dead.
func TestMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, b := newOutbox(), &inbox{}
		o.to["r"] = b
		o.put("new", "i", 1)
		delete(o.messages, o.put("r", "i", 1))
		var s delivery.Sender
		defer run(t, &s, o)()
		pass(23 * time.Hour)
		require.Equal(t, []string{"r:i:1 dead deliver: refused for good: there is no message with this key"}, o.results())
		require.Equal(t, "new broken, r failing", healthOf(&s))
		require.Len(t, s.Attempts(), 1+23*12+1, "each five minutes")

		o.mu.Lock()
		o.to["new"] = b
		o.mu.Unlock()
		pass(time.Second)
		require.Empty(t, b.keys())
		s.Reset("new")
		synctest.Wait()
		require.Equal(t, []string{"new:i:1"}, b.keys(), "at once")

		o.put("lost", "i", 1)
		pass(24 * time.Hour)
		require.Contains(t, strings.Join(o.results(), "\n"), "lost:i:1 dead too old: it has waited for 24h0m0s; deliver: receiver broken: there is no receiver of this name")
	})
}

// When its context ends, Run ends attempts and returns as soon as they have; what it does not know it does not write down.
func TestEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, b := newOutbox(), &inbox{}
		o.to["r"] = b
		b.answer = func(ctx context.Context, m notify.Message) error {
			<-ctx.Done()
			time.Sleep(3 * time.Second)
			if m.Incident == "arrived" {
				return nil
			}
			return errRefused
		}
		o.put("r", "arrived", 1)
		o.put("r", "arrived", 2)
		o.put("r", "unknown", 1)
		var s delivery.Sender
		stop := run(t, &s, o)
		synctest.Wait()
		began := time.Now()
		stop()
		require.Equal(t, 3*time.Second, time.Since(began))
		require.Empty(t, o.results())
		require.Len(t, s.Attempts(), 1)
		p, _ := s.Progress("r:unknown:1")
		require.Equal(t, delivery.Progress{Status: delivery.Waiting, NextTry: p.NextTry}, p)

		b.say(nil)
		defer run(t, &s, o)()
		synctest.Wait()
		require.ElementsMatch(t, []string{"r:arrived:1", "r:unknown:1", "r:arrived:2"}, b.keys())
		require.Equal(t, 4, b.attempts())
		require.Zero(t, o.waiting())
	})
}

// After its context has ended a sender begins nothing, however much waits.
func TestEnded(t *testing.T) {
	t.Parallel()
	o, b := newOutbox(), &inbox{}
	o.to["r"] = b
	o.put("r", "i", 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		require.NoError(t, new(delivery.Sender).Run(ctx, o))
	}
	require.Zero(t, b.attempts())
}

// All methods but Run may be called at any time by anybody.
func TestConcurrentReaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, b := newOutbox(), &inbox{}
		o.to["r"] = b
		var n atomic.Int32
		b.answer = func(context.Context, notify.Message) error {
			if n.Add(1)%2 == 0 {
				return errDown
			}
			return nil
		}
		var s delivery.Sender
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 200 {
					s.Health()
					s.Attempts()
					s.Progress("r:1:1")
					s.Reset("r")
					time.Sleep(time.Millisecond)
				}
			})
		}
		defer run(t, &s, o)()
		for i := range 100 {
			o.put("r", strconv.Itoa(i%5), i)
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		pass(time.Minute)
		require.Zero(t, o.waiting())
		require.Len(t, b.keys(), 100)
	})
}

func TestRunIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := delivery.Sender{Policy: delivery.Policy{Failures: -1}}
		require.ErrorIs(t, s.Run(t.Context(), newOutbox()), pool.ErrInvalid)
		s.Policy = delivery.Policy{}
		s.Reset("nobody")
		stop := run(t, &s, newOutbox())
		synctest.Wait()
		require.ErrorIs(t, s.Run(t.Context(), newOutbox()), pool.ErrInvalid)
		stop()
		run(t, &s, newOutbox())()
	})
}

// A storm of 600 alerts that was put into three messages is three requests, though one is repeated.
func TestStorm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		alerts := 0
		b := &inbox{answer: func(_ context.Context, m notify.Message) error { alerts += len(m.Firing); return nil }}
		o.to["r"] = b
		for rule := range 3 {
			key := o.put("r", "rule"+strconv.Itoa(rule), 1)
			m := o.messages[key]
			m.Event, m.Firing = nil, make([]notify.Alert, 200)
			for host := range m.Firing {
				m.Firing[host].Labels = map[string]string{"alertname": m.Incident, "host": strconv.Itoa(host)}
			}
			o.messages[key] = m
		}
		s := delivery.Sender{Policy: delivery.Policy{PerReceiver: 1}}
		defer run(t, &s, o)()
		pass(24 * time.Hour)
		require.Equal(t, 3, b.attempts())
		require.Equal(t, 600, alerts)
		require.Len(t, s.Attempts(), 3)
	})
}
