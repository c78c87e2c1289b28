package delivery_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/delivery"
	"github.com/berthage/berthage/pool"
)

var (
	errDown    = errors.New("connection refused")
	errRefused = &notify.Error{Op: "test", Kind: notify.ErrPermanent, Status: 400}
	errBroken  = &notify.Error{Op: "test", Kind: notify.ErrBroken, Status: 401}
)

func errLater(d time.Duration) error {
	return &notify.Error{Op: "test", Kind: notify.ErrTemporary, Status: 429, RetryAfter: d}
}

func start() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }

// desk is a queue with the list that it is given, and a clock.
type desk struct {
	t     *testing.T
	q     delivery.Queue
	items []delivery.Item
	now   time.Time
	next  time.Time // as the last plan says
	dead  []delivery.Result
}

func newDesk(t *testing.T, p delivery.Policy, items ...string) *desk {
	d := &desk{t: t, q: delivery.Queue{Policy: p}, now: start()}
	d.add(items...)
	return d
}

// item is "receiver/order/key".
func (d *desk) item(s string) delivery.Item {
	p := strings.Split(s, "/")
	require.Len(d.t, p, 3, s)
	return delivery.Item{Receiver: p[0], Order: p[1], Key: p[2], Queued: d.now}
}

func (d *desk) add(items ...string) {
	for _, s := range items {
		d.items = append(d.items, d.item(s))
	}
	d.q.Set(d.items, d.now)
}

func (d *desk) find(key string) delivery.Item {
	i := slices.IndexFunc(d.items, func(i delivery.Item) bool { return i.Key == key })
	require.GreaterOrEqual(d.t, i, 0, key)
	return d.items[i]
}

// drop takes items from the list: they are written down.
func (d *desk) drop(keys ...string) {
	d.items = slices.DeleteFunc(slices.Clone(d.items), func(i delivery.Item) bool { return slices.Contains(keys, i.Key) })
	d.q.Set(d.items, d.now)
}

// plan returns the keys that are to be sent.
func (d *desk) plan() string {
	var keys []string
	send, dead, next := d.q.Plan(d.now)
	for _, i := range send {
		keys = append(keys, i.Key)
	}
	slices.Sort(keys)
	d.dead, d.next = dead, next
	return strings.Join(keys, " ")
}

func (d *desk) after(t time.Duration) string {
	d.now = d.now.Add(t)
	return d.plan()
}

// upTo plans at every moment that the queue names until something is sent, at most that long, and returns what and after how long.
func (d *desk) upTo(most time.Duration) (string, time.Duration) {
	from := d.now
	for {
		if got := d.plan(); got != "" {
			return got, d.now.Sub(from)
		}
		if d.next.IsZero() || d.next.After(from.Add(most)) {
			d.now = from.Add(most)
			return d.plan(), most
		}
		require.True(d.t, d.next.After(d.now), "the next moment is one that is to come")
		d.now = d.next
	}
}

func (d *desk) done(key string, err error) delivery.Result {
	return d.q.Done(d.find(key), err, d.now)
}

func (d *desk) health(receiver string) delivery.Health {
	for _, h := range d.q.Receivers() {
		if h.Receiver == receiver {
			return h
		}
	}
	return delivery.Health{}
}

func TestOneAfterAnother(t *testing.T) {
	t.Parallel()
	d := newDesk(t, delivery.Policy{}, "a/x/1", "a/x/2", "a/y/3", "b/x/4")
	require.Equal(t, "1 3 4", d.plan())
	require.Empty(t, d.plan(), "what is under way is not sent again")
	require.Equal(t, delivery.Waiting, d.done("1", errDown).Status)
	require.Empty(t, d.plan(), "2 waits though 1 has failed")
	got, _ := d.upTo(time.Minute)
	require.Equal(t, "1", got)
	require.Equal(t, delivery.Delivered, d.done("1", nil).Status)
	require.Empty(t, d.plan(), "2 waits until it is written down that 1 has arrived")
	d.q.Set(d.items, d.now)
	require.Empty(t, d.plan(), "and 1 is not sent again")
	d.drop("1")
	require.Equal(t, "2", d.plan())
	require.Equal(t, delivery.Dead, d.done("2", errRefused).Status)
	d.add("a/x/5")
	require.Empty(t, d.plan())
	d.drop("2")
	require.Equal(t, "5", d.plan(), "the next one goes when the one before is dead")
}

func TestWhatAnAnswerMeans(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		err     error
		status  delivery.Status
		min     time.Duration // until the item goes again
		max     time.Duration
		state   delivery.State
		another time.Duration // until another item of the receiver goes
	}{
		{name: "taken", status: delivery.Delivered, state: delivery.OK},
		{name: "of another origin", err: errDown, status: delivery.Waiting, min: time.Second, max: 2 * time.Second, state: delivery.Failing},
		{name: "refused", err: errRefused, status: delivery.Dead, state: delivery.Failing},
		{name: "not a message", err: &pool.Error{Kind: pool.ErrInvalid, Field: "key"}, status: delivery.Dead, state: delivery.Failing},
		{name: "broken", err: errBroken, status: delivery.Waiting, min: 5 * time.Minute, max: 5 * time.Minute, state: delivery.Broken, another: 5 * time.Minute},
		{name: "later", err: errLater(time.Hour), status: delivery.Waiting, min: time.Hour, max: time.Hour, state: delivery.Failing, another: time.Hour},
		{name: "a little later", err: errLater(time.Millisecond), status: delivery.Waiting, min: time.Second, max: 2 * time.Second, state: delivery.Failing, another: time.Millisecond},
		{name: "much later", err: errLater(30 * 24 * time.Hour), status: delivery.Waiting, min: 24 * time.Hour, max: 24 * time.Hour, state: delivery.Failing, another: 24 * time.Hour},
		{name: "before", err: errLater(-time.Hour), status: delivery.Waiting, min: time.Second, max: 2 * time.Second, state: delivery.Failing},
		{name: "refused by one of two", err: errors.Join(errRefused, errLater(0)), status: delivery.Waiting, min: time.Second, max: 2 * time.Second, state: delivery.Failing},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, delivery.Policy{}, "a/x/1")
			require.Equal(t, "1", d.plan())
			r := d.done("1", c.err)
			require.Equal(t, c.status, r.Status)
			require.Equal(t, d.find("1"), r.Item)
			h := d.health("a")
			require.Equal(t, c.state, h.State)
			if c.status == delivery.Waiting {
				require.GreaterOrEqual(t, r.At.Sub(d.now), c.min)
				require.LessOrEqual(t, r.At.Sub(d.now), c.max)
				require.Equal(t, r.At, h.NextTry)
				p, ok := d.q.Progress("1")
				require.True(t, ok)
				require.Equal(t, delivery.Progress{Status: delivery.Waiting, Attempts: 1, NextTry: r.At, Error: notify.Line(c.err.Error())}, p)
			}
			if c.err != nil {
				require.NotEmpty(t, r.Reason)
				require.Equal(t, r.Reason, h.Error)
			} else {
				require.Equal(t, d.now, h.Delivered)
			}
			d.items = []delivery.Item{{Key: "2", Receiver: "a", Order: "y"}}
			d.q.Set(d.items, d.now)
			got, after := d.upTo(48 * time.Hour)
			require.Equal(t, "2", got)
			require.Equal(t, c.another, after)
		})
	}
}

// fail has items fail until so many attempts have, and returns how many of them were under way at most.
func (d *desk) fail(err error, attempts int) (most int) {
	for attempts > 0 {
		got, _ := d.upTo(time.Hour)
		keys := strings.Fields(got)
		require.NotEmpty(d.t, keys)
		most = max(most, len(keys))
		for _, k := range keys {
			d.done(k, err)
			attempts--
		}
	}
	return most
}

func TestReceiverThatFails(t *testing.T) {
	t.Parallel()
	d := newDesk(t, delivery.Policy{}, "a/1/1", "a/2/2", "a/3/3", "a/4/4", "a/5/5", "a/6/6", "b/1/7")
	require.Equal(t, "1 2 3 4 7", d.plan())
	for _, k := range []string{"1", "2", "3", "4"} {
		d.done(k, errDown)
	}
	require.Equal(t, "5 6", d.plan(), "four failures are not enough")
	d.done("5", errDown)
	h := d.health("a")
	require.Equal(t, 5, h.Failures)
	require.Greater(t, h.NextTry, d.now.Add(d.q.Policy.Backoff("a", 5)-1))
	require.Empty(t, d.plan(), "five are: the receiver is left alone")
	d.done("6", errDown)
	for n := 6; n < 20; n++ {
		got, after := d.upTo(time.Hour)
		require.Len(t, strings.Fields(got), 1, "one at a time")
		require.Empty(t, d.after(time.Hour), "until it has ended")
		require.GreaterOrEqual(t, after, d.q.Policy.Backoff("a", n))
		require.LessOrEqual(t, after, 5*time.Minute)
		d.done(got, errDown)
	}
	require.NotContains(t, d.health("b").Error, "refused", "the other one is not concerned")
	got, _ := d.upTo(time.Hour)
	d.done(got, errRefused)
	require.Equal(t, delivery.Failing, d.health("a").State)
	require.Len(t, strings.Fields(d.after(time.Hour)), 1, "that an item is refused says nothing of the others")
	d.fail(errDown, 0)
	for _, i := range d.items {
		if p, _ := d.q.Progress(i.Key); p.InFlight && i.Receiver == "a" {
			d.done(i.Key, nil)
		}
	}
	require.Len(t, strings.Fields(d.after(time.Hour)), 4, "when one has been taken the others go")
	require.Equal(t, delivery.Health{
		Receiver: "a", State: delivery.OK, Error: errRefused.Error(), Failed: d.now.Add(-2 * time.Hour), Delivered: d.now.Add(-time.Hour), Waiting: 4, InFlight: 4,
	}, d.health("a"))
}

func TestSuccessEndsARow(t *testing.T) {
	t.Parallel()
	d := newDesk(t, delivery.Policy{}, "a/1/1", "a/2/2", "a/3/3")
	d.plan()
	for range 4 {
		d.done("1", errDown)
		got, _ := d.upTo(time.Hour)
		require.Equal(t, "1", got)
	}
	d.done("2", nil)
	require.Zero(t, d.health("a").Failures)
	d.done("1", errDown)
	require.Equal(t, 1, d.health("a").Failures)
}

// What a receiver asks for holds for all its items, and is not ended by one that was under way and has arrived.
func TestReceiverThatAsksToBeLeftAlone(t *testing.T) {
	t.Parallel()
	d := newDesk(t, delivery.Policy{}, "a/1/1", "a/2/2", "a/3/3", "a/4/4", "a/5/5", "b/1/6")
	require.Equal(t, "1 2 3 4 6", d.plan())
	d.done("1", errLater(20*time.Minute))
	d.done("2", errLater(10*time.Minute))
	d.done("3", nil)
	d.done("4", errDown)
	require.Empty(t, d.after(20*time.Minute-1))
	require.Equal(t, d.now.Add(1), d.next)
	require.Equal(t, "1 2 4 5", d.after(1))
}

// A broken receiver gets one item in five minutes, a different one each time, and loses none.
func TestBrokenReceiver(t *testing.T) {
	t.Parallel()
	d := newDesk(t, delivery.Policy{}, "a/1/1", "a/2/2", "a/3/3", "a/4/4")
	require.Equal(t, "1 2 3 4", d.plan())
	d.done("1", errDown)
	d.done("2", nil)
	d.done("3", nil)
	d.done("4", errBroken)
	d.drop("2", "3")
	require.Equal(t, delivery.Broken, d.health("a").State)
	d.add("a/5/5", "b/1/6")
	var tried []string
	require.Equal(t, "6", d.plan())
	for range 12 {
		got, after := d.upTo(time.Hour)
		require.Equal(t, 5*time.Minute, after)
		require.Empty(t, d.after(0))
		tried = append(tried, got)
		err := errDown // says nothing of whether it has been repaired
		if len(tried)%2 == 0 {
			err = errBroken
		}
		require.Equal(t, delivery.Waiting, d.done(got, err).Status)
	}
	require.Equal(t, []string{"5", "1", "4", "5", "1", "4", "5", "1", "4", "5", "1", "4"}, tried)
	got, _ := d.upTo(time.Hour)
	require.Equal(t, delivery.Dead, d.done(got, errRefused).Status, "but for its own sake")
	got, after := d.upTo(time.Hour)
	require.Equal(t, 5*time.Minute, after)
	require.Equal(t, delivery.Delivered, d.done(got, nil).Status)
	require.Equal(t, "4", d.after(5*time.Minute))
}

func TestTooOld(t *testing.T) {
	t.Parallel()
	d := newDesk(t, delivery.Policy{}, "a/1/1", "a/2/2", "a/2/3")
	d.items = append(d.items, delivery.Item{Key: "4", Receiver: "a", Order: "4"})
	require.Equal(t, "1 2", d.plan())
	require.Equal(t, start().Add(24*time.Hour), d.next)
	d.now = start().Add(12 * time.Hour)
	d.add("a/2/5")
	d.done("2", errDown)
	require.Equal(t, "2 4", d.after(time.Hour))
	d.done("2", errBroken)
	d.done("4", errBroken)
	d.now = start().Add(24*time.Hour - 1)
	require.Empty(t, d.plan(), "the receiver is broken, and 1 still under way")
	require.Empty(t, d.dead)
	require.Equal(t, start().Add(24*time.Hour), d.next)
	require.Empty(t, d.after(1))
	var dead []string
	for _, r := range d.dead {
		require.Equal(t, delivery.Dead, r.Status)
		require.Equal(t, d.now, r.At)
		dead = append(dead, r.Key+" "+r.Reason)
	}
	require.Equal(t, []string{
		"2 too old: it has waited for 24h0m0s; " + errBroken.Error(),
		"3 too old: it has waited for 24h0m0s; " + errBroken.Error(),
	}, dead, "1 is under way, 4 has no age, and 5 is younger")
	require.Empty(t, d.after(0))
	require.Empty(t, d.dead, "they are dead once")
	d.done("1", errDown)
	require.Empty(t, d.plan())
	require.Len(t, d.dead, 1)
	require.Equal(t, "1", d.dead[0].Key)
	d.drop("1", "2", "3")
	got, _ := d.upTo(time.Hour)
	require.Equal(t, "5", got)
	require.Empty(t, d.plan())
	require.Equal(t, start().Add(36*time.Hour), d.next)
	d.done("5", nil)
	d.drop("5")
	require.Equal(t, "4", d.plan())
	require.Zero(t, d.next)
}

func TestQueuedByAClockThatIsAhead(t *testing.T) {
	t.Parallel()
	d := newDesk(t, delivery.Policy{})
	d.now = start().Add(time.Hour)
	d.items = []delivery.Item{d.item("a/1/1")}
	d.now = start()
	d.q.Set(d.items, d.now)
	require.Equal(t, "1", d.plan())
}

func TestLimits(t *testing.T) {
	t.Parallel()
	var items []string
	for r := range 40 {
		for n := range 10 {
			items = append(items, fmt.Sprintf("r%02d/%d/%02d-%d", r, n, r, n))
		}
	}
	most := func(keys string) (all, one, receivers int) {
		by := make(map[string]int)
		for _, k := range strings.Fields(keys) {
			by[k[:2]]++
			all, one = all+1, max(one, by[k[:2]])
		}
		return all, one, len(by)
	}
	for _, c := range []struct {
		p                   delivery.Policy
		receivers           int
		all, one, different int
	}{
		{receivers: 1, all: 4, one: 4, different: 1},
		{receivers: 10, all: 32, one: 4, different: 10},
		{receivers: 16, all: 32, one: 2, different: 16},
		{receivers: 40, all: 40, one: 1, different: 40},
		{p: delivery.Policy{InFlight: 1}, receivers: 40, all: 1, one: 1, different: 1},
		{p: delivery.Policy{InFlight: 30}, receivers: 40, all: 30, one: 1, different: 30},
		{p: delivery.Policy{PerReceiver: 1}, receivers: 10, all: 10, one: 1, different: 10},
	} {
		t.Run(fmt.Sprintf("%+v of %d", c.p, c.receivers), func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, c.p, items[:10*c.receivers]...)
			all, one, different := most(d.plan())
			require.Equal(t, []int{c.all, c.one, c.different}, []int{all, one, different})
			require.Empty(t, d.plan())
		})
	}
	// Eight receivers hang with all that they may have, and one more is served all the same.
	d := newDesk(t, delivery.Policy{}, items[:80]...)
	require.Len(t, strings.Fields(d.plan()), 32)
	d.add("z/1/z1", "z/2/z2")
	require.Equal(t, "z1", d.plan())
	d.done("z1", nil)
	require.Equal(t, "z2", d.plan())
}

func TestWhatIsListedNoMore(t *testing.T) {
	t.Parallel()
	d := newDesk(t, delivery.Policy{}, "a/1/1", "a/1/2", "a/2/3")
	require.Equal(t, "1 3", d.plan())
	one, three := d.find("1"), d.find("3")
	d.drop("1", "3")
	require.Empty(t, d.plan(), "1 is under way, listed or not")
	require.Equal(t, 2, d.health("a").InFlight)
	require.Equal(t, delivery.Waiting, d.q.Done(one, errDown, d.now).Status)
	_, ok := d.q.Progress("1")
	require.False(t, ok)
	require.Equal(t, "2", d.plan())
	d.items = append(d.items, three)
	d.q.Set(d.items, d.now)
	require.Empty(t, d.plan(), "it has come back, and is still under way")
	d.q.Done(three, nil, d.now)
	require.Empty(t, d.plan())

	d.drop("2", "3")
	require.Equal(t, 1, d.health("a").InFlight)
	d.q.Abandon(delivery.Item{Key: "2"})
	require.Zero(t, d.health("a").InFlight)
	for _, k := range []string{"1", "2", "3"} {
		_, ok := d.q.Progress(k)
		require.False(t, ok, k)
	}
}

// What was dead and is sent again by somebody's wish has the same key, and another age.
func TestListedAgain(t *testing.T) {
	t.Parallel()
	d := newDesk(t, delivery.Policy{}, "a/1/1")
	require.Equal(t, "1", d.plan())
	require.Equal(t, delivery.Dead, d.done("1", errRefused).Status)
	d.q.Set(d.items, d.now)
	require.Empty(t, d.plan())
	d.items[0].Queued = d.now.Add(time.Minute)
	d.now = d.now.Add(time.Minute)
	d.q.Set(slices.Clone(d.items), d.now)
	require.Equal(t, "1", d.plan())
	p, ok := d.q.Progress("1")
	require.True(t, ok)
	require.Equal(t, delivery.Progress{Status: delivery.Waiting, InFlight: true}, p)
}

func TestListedTwice(t *testing.T) {
	t.Parallel()
	d := newDesk(t, delivery.Policy{}, "a/1/1", "b/1/1", "a/1/1", "a/2/2")
	require.Equal(t, "1 2", d.plan())
	d.done("1", nil)
	d.q.Set(d.items, d.now)
	require.Empty(t, d.plan())
	require.Equal(t, delivery.Waiting, d.done("1", errRefused).Status, "it is not under way")
}

func TestAbandon(t *testing.T) {
	t.Parallel()
	d := newDesk(t, delivery.Policy{}, "a/1/1", "a/1/2")
	require.Equal(t, "1", d.plan())
	d.q.Abandon(d.find("1"))
	d.q.Abandon(d.find("2"))
	require.Equal(t, delivery.Unknown, d.health("a").State)
	require.Empty(t, d.q.Attempts())
	require.Equal(t, "1", d.plan())
}

func TestReset(t *testing.T) {
	t.Parallel()
	d := newDesk(t, delivery.Policy{}, "a/1/1", "a/2/2", "a/3/3", "a/4/4", "a/5/5")
	require.Equal(t, "1 2 3 4", d.plan())
	d.done("1", errLater(time.Hour))
	d.done("2", errBroken)
	d.q.Reset("a")
	require.Equal(t, delivery.Health{Receiver: "a", State: delivery.Unknown, Waiting: 5, InFlight: 2}, withoutNext(d.health("a")))
	require.Equal(t, "1 2", d.plan())

	// 3 and 4 were sent to what the receiver was before.
	require.Equal(t, delivery.Delivered, d.done("3", nil).Status)
	require.Equal(t, delivery.Unknown, d.health("a").State)
	require.Equal(t, delivery.Waiting, d.done("4", errRefused).Status)
	require.Equal(t, "4 5", d.plan(), "and at once")
	d.q.Reset("a")
	for _, k := range []string{"1", "2", "4", "5"} {
		require.Equal(t, delivery.Waiting, d.done(k, errBroken).Status)
	}
	require.Equal(t, delivery.Unknown, d.health("a").State)
	require.Equal(t, "1 2 4 5", d.plan())

	for _, k := range []string{"1", "2", "4", "5"} {
		d.done(k, nil)
	}
	d.drop("1", "2", "3", "4", "5")
	require.Equal(t, delivery.OK, d.health("a").State, "it is known when nothing waits, too")
	d.q.Reset("a")
	d.q.Reset("b")
	require.Empty(t, d.q.Receivers())
}

func withoutNext(h delivery.Health) delivery.Health {
	h.NextTry = time.Time{}
	return h
}

// An item that always fails does not keep others from their turn, though its receiver gets one at a time.
func TestPoisonedItem(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errDown, errBroken} {
		d := newDesk(t, delivery.Policy{PerReceiver: 1}, "a/0/bad")
		d.fail(err, 10)
		for n := range 100 {
			d.add(fmt.Sprintf("a/%d/good%d", n+1, n))
		}
		for n := 0; n < 100; {
			got, _ := d.upTo(time.Hour)
			if got == "bad" {
				d.done(got, err)
				continue
			}
			n++
			d.done(got, nil)
			d.drop(got)
		}
		require.Less(t, d.now.Sub(start()), 80*time.Minute, "%v", err)
	}
}

func TestAttempts(t *testing.T) {
	t.Parallel()
	d := newDesk(t, delivery.Policy{DeadAfter: 1000 * time.Hour}, "a/1/1", "b/1/2")
	d.plan()
	d.now = d.now.Add(3 * time.Second)
	d.done("1", errors.New("line\nof "+strings.Repeat("ä", 1000)))
	d.done("2", nil)
	a := d.q.Attempts()
	require.Equal(t, []delivery.Attempt{
		{Item: d.find("2"), At: start(), Took: 3 * time.Second, Status: delivery.Delivered},
		{Item: d.find("1"), At: start(), Took: 3 * time.Second, Status: delivery.Waiting, Error: "line of " + strings.Repeat("ä", 291) + notify.Mark},
	}, a)
	for n := range delivery.MostAttempts + 10 {
		_, _ = d.upTo(time.Hour)
		d.done("1", fmt.Errorf("attempt %d", n))
	}
	a = d.q.Attempts()
	require.Len(t, a, delivery.MostAttempts)
	require.Equal(t, fmt.Sprintf("attempt %d", delivery.MostAttempts+9), a[0].Error)
	require.Equal(t, "attempt 10", a[len(a)-1].Error)
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	var p delivery.Policy
	for n, most := range map[int]time.Duration{0: 1, 1: 2, 2: 4, 3: 8, 8: 256, 9: 300, 10: 300, 1 << 40: 300} {
		most *= time.Second
		var low, high time.Duration = most, 0
		for i := range 2000 {
			d := p.Backoff(fmt.Sprint("key", i), n)
			require.Equal(t, d, p.Backoff(fmt.Sprint("key", i), n))
			low, high = min(low, d), max(high, d)
		}
		require.GreaterOrEqual(t, low, time.Second)
		require.LessOrEqual(t, high, most)
		require.LessOrEqual(t, low, time.Second+most/50, "the whole range is used")
		require.GreaterOrEqual(t, high, most-most/50)
	}
	long := delivery.Policy{MinBackoff: 1 << 61, MaxBackoff: 1<<63 - 1}
	require.Greater(t, long.Backoff("key", 60), time.Duration(1<<61))
	require.NotEqual(t, p.Backoff("key", 20), p.Backoff("key", 21))
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	for field, p := range map[string]delivery.Policy{
		"":             {},
		"min_backoff":  {MinBackoff: -1},
		"max_backoff":  {MaxBackoff: -1},
		"broken_every": {BrokenEvery: -1},
		"dead_after":   {DeadAfter: -1},
		"timeout":      {Timeout: -1},
		"failures":     {Failures: -1},
		"per_receiver": {PerReceiver: -1},
		"in_flight":    {InFlight: -1},
	} {
		requireField(t, field, p.Validate())
	}
	requireField(t, "min_backoff", delivery.Policy{MinBackoff: time.Hour}.Validate())
	requireField(t, "", delivery.Policy{MinBackoff: time.Hour, MaxBackoff: time.Hour}.Validate())
	requireField(t, "min_backoff", delivery.Policy{MaxBackoff: time.Millisecond}.Validate())
}

func requireField(t *testing.T, field string, err error) {
	t.Helper()
	if field == "" {
		require.NoError(t, err)
		return
	}
	var e *pool.Error
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, pool.ErrInvalid)
	require.Equal(t, field, e.Field)
}
