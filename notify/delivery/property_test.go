package delivery_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/delivery"
)

// lived is what a model knows of an item.
type lived struct {
	delivery.Item
	place    int // in its lane
	flying   bool
	life     int           // of the receiver, when it was sent
	ended    time.Time     // its last attempt that failed, of this life
	pause    time.Duration // after that
	attempts int           // of this life
	status   delivery.Status
	gone     bool // it was taken from the list, whatever had become of it
	arrivals int
}

// being is what a model knows of a receiver.
type being struct {
	life     int
	flying   int
	failures int
	broken   bool
	alone    time.Time // nothing goes before
	asked    time.Time // likewise, whatever arrives
	lanes    map[string]*track
}

// track is what a model knows of the items of one receiver and order.
type track struct {
	flying bool
	put    int // how many there have been
	last   int // the latest that arrived
}

// model is a world in which a queue lives: what happens is chance, and what the queue does is held against what it may.
type model struct {
	t      *testing.T
	r      *rand.Rand
	policy delivery.Policy
	q, too *delivery.Queue // both are told the same, and have to say the same
	now    time.Time
	list   []*lived
	ever   []*lived
	all    map[string]*lived
	to     map[string]*being
	kills  int
	well   bool // from now on all receivers take everything
	sent   int
	resent int
}

func newModel(t *testing.T, seed uint64) *model {
	r := rand.New(rand.NewPCG(seed, 1))
	m := &model{t: t, r: r, now: start(), all: make(map[string]*lived), to: make(map[string]*being)}
	m.policy = delivery.Policy{
		Failures: 1 + r.IntN(6), PerReceiver: 1 + r.IntN(4), InFlight: 1 + r.IntN(12), DeadAfter: time.Duration(1+r.IntN(24)) * time.Hour,
		BrokenEvery: time.Duration(1+r.IntN(10)) * time.Minute, MinBackoff: time.Duration(1+r.IntN(3)) * time.Second, MaxBackoff: time.Duration(1+r.IntN(5)) * time.Minute,
	}
	for i := range 1 + r.IntN(6) {
		m.to[fmt.Sprint("r", i)] = &being{lanes: make(map[string]*track)}
	}
	m.start()
	return m
}

func (m *model) start() {
	m.q, m.too = &delivery.Queue{Policy: m.policy}, &delivery.Queue{Policy: m.policy}
	m.set()
}

func (m *model) set() {
	items := make([]delivery.Item, len(m.list))
	for i, l := range m.list {
		items[i] = l.Item
	}
	m.q.Set(items, m.now)
	m.too.Set(items, m.now)
}

func (m *model) receiver() string { return fmt.Sprint("r", m.r.IntN(len(m.to))) }

func (m *model) put() {
	l := &lived{Item: delivery.Item{Receiver: m.receiver(), Order: fmt.Sprint("o", m.r.IntN(4)), Queued: m.now}, status: delivery.Waiting}
	b := m.to[l.Receiver]
	if b.lanes[l.Order] == nil {
		b.lanes[l.Order] = &track{last: -1}
	}
	tr := b.lanes[l.Order]
	l.place = tr.put
	l.Key = fmt.Sprintf("%s:%s:%d", l.Receiver, l.Order, tr.put)
	tr.put++
	m.all[l.Key], m.ever, m.list = l, append(m.ever, l), append(m.list, l)
	m.set()
}

// plan asks what is to be sent, and whether that may be.
func (m *model) plan() time.Time {
	t := m.t
	send, dead, next := m.q.Plan(m.now)
	send2, dead2, next2 := m.too.Plan(m.now)
	require.Equal(t, send, send2)
	require.Equal(t, dead, dead2)
	require.Equal(t, next, next2)
	if !next.IsZero() {
		require.True(t, next.After(m.now))
	}
	for _, d := range dead {
		l := m.all[d.Key]
		require.Equal(t, delivery.Waiting, l.status, "dead once")
		require.False(t, l.flying)
		require.False(t, m.now.Before(l.Queued.Add(m.policy.DeadAfter)), "dead before its time")
		l.status = delivery.Dead
	}
	for _, l := range m.list {
		require.True(t, l.status != delivery.Waiting || l.flying || m.now.Before(l.Queued.Add(m.policy.DeadAfter)), "%s lives for ever", l.Key)
	}
	for _, i := range send {
		l, b := m.all[i.Key], m.to[i.Receiver]
		tr := b.lanes[i.Order]
		require.Equal(t, l.Item, i)
		first := slices.IndexFunc(m.list, func(o *lived) bool { return o.Receiver == i.Receiver && o.Order == i.Order })
		require.Same(t, l, m.list[first], "%s is not the first", i.Key)
		require.Equal(t, delivery.Waiting, l.status)
		require.False(t, tr.flying, "two of an order are under way")
		require.False(t, m.now.Before(b.asked), "%s has asked to be left alone", i.Receiver)
		require.False(t, m.now.Before(b.alone), "%s is left alone", i.Receiver)
		require.False(t, m.now.Before(l.ended.Add(l.pause)), "%s goes too early", i.Key)
		if b.broken || b.failures >= m.policy.Failures {
			require.Zero(t, b.flying, "one at a time")
		}
		require.True(t, b.flying == 0 || m.flying() < m.policy.InFlight/2, "the second half is kept for others")
		l.flying, l.life, tr.flying = true, b.life, true
		b.flying++
		m.sent++
		require.LessOrEqual(t, b.flying, m.policy.PerReceiver)
		require.LessOrEqual(t, m.flying(), m.policy.InFlight)
	}
	return next
}

func (m *model) flying() (n int) {
	for _, b := range m.to {
		n += b.flying
	}
	return n
}

// answer ends one attempt that is under way, if there is any.
func (m *model) answer() {
	l := m.any(func(l *lived) bool { return l.flying })
	if l == nil {
		return
	}
	b := m.to[l.Receiver]
	var err error
	chance := m.r.IntN(10)
	after := time.Duration(m.r.IntN(3600)) * time.Second
	switch {
	case m.well || chance < 4:
		m.arrive(l)
	case chance < 7:
		err = errDown
		if m.r.IntN(3) == 0 {
			m.arrive(l) // and the answer was lost
		}
	case chance < 8:
		err = errLater(after)
	case chance < 9:
		err = errBroken
	default:
		err = errRefused
	}
	l.flying, b.lanes[l.Order].flying = false, false
	b.flying--
	got := m.q.Done(l.Item, err, m.now)
	require.Equal(m.t, got, m.too.Done(l.Item, err, m.now))
	want := delivery.Waiting
	former := l.life != b.life
	switch {
	case err == nil:
		want = delivery.Delivered
	case err == errRefused && !former:
		want = delivery.Dead
	}
	require.Equal(m.t, want, got.Status)
	l.status = want
	switch {
	case former:
	case want == delivery.Dead:
		if b.broken {
			b.alone = m.now.Add(m.policy.BrokenEvery)
		}
	case err == nil:
		b.failures, b.broken, b.alone = 0, false, time.Time{}
	case want == delivery.Waiting:
		l.attempts++
		b.failures++
		l.ended, l.pause = m.now, m.policy.Backoff(l.Key, l.attempts)
		if b.broken = b.broken || errors.Is(err, notify.ErrBroken); b.broken {
			b.alone = m.now.Add(m.policy.BrokenEvery)
		} else if b.failures >= m.policy.Failures {
			b.alone = later(b.alone, m.now.Add(m.policy.Backoff(l.Receiver, b.failures)))
		}
		b.asked = later(b.asked, m.now.Add(min(notify.RetryAfter(err), m.policy.DeadAfter)))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// arrive has a receiver take an item, which must not be behind one that it took of the same incident. The same one again it knows.
func (m *model) arrive(l *lived) {
	tr := m.to[l.Receiver].lanes[l.Order]
	require.GreaterOrEqual(m.t, l.place, tr.last, "%s arrives behind a later one", l.Key)
	tr.last = l.place
	l.arrivals++
}

// any returns one of the items that are so, or nil. What is under way may be listed no more.
func (m *model) any(so func(*lived) bool) *lived {
	var all []*lived
	for _, l := range m.ever {
		if so(l) {
			all = append(all, l)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[m.r.IntN(len(all))]
}

// write takes from the list what is delivered or dead, or only a part of it.
func (m *model) write() {
	m.list = slices.DeleteFunc(slices.Clone(m.list), func(l *lived) bool { return l.status != delivery.Waiting && m.r.IntN(4) > 0 })
	m.set()
}

// withdraw takes an item from the list without anything having become of it: somebody has removed its receiver, say.
func (m *model) withdraw() {
	if l := m.any(func(l *lived) bool { return l.status == delivery.Waiting && !l.gone }); l != nil {
		l.gone = true
		m.list = slices.DeleteFunc(slices.Clone(m.list), func(o *lived) bool { return o == l })
		m.set()
	}
}

// resend lists an item again that is dead. The queue has not always seen a list without it.
func (m *model) resend() {
	l := m.any(func(l *lived) bool { return l.status == delivery.Dead && !l.gone })
	if l == nil {
		return
	}
	m.now = m.now.Add(1)
	tr := m.to[l.Receiver].lanes[l.Order]
	l.Queued, l.status, l.attempts, l.pause, l.place = m.now, delivery.Waiting, 0, 0, tr.put
	tr.put++
	m.list = append(slices.DeleteFunc(slices.Clone(m.list), func(o *lived) bool { return o == l }), l)
	m.resent++
	m.set()
}

// kill ends the process. What it has not written down the next one does not know.
func (m *model) kill() {
	m.kills++
	for _, l := range m.ever {
		if l.flying && m.r.IntN(2) == 0 {
			m.arrive(l)
		}
	}
	for _, b := range m.to {
		*b = being{lanes: b.lanes}
		for _, tr := range b.lanes {
			tr.flying = false
		}
	}
	for _, l := range m.ever {
		l.flying, l.attempts, l.pause = false, 0, 0
		if slices.Contains(m.list, l) {
			l.status = delivery.Waiting
		}
	}
	m.start()
}

func (m *model) reset() {
	name := m.receiver()
	m.q.Reset(name)
	m.too.Reset(name)
	b := m.to[name]
	*b = being{life: b.life + 1, flying: b.flying, lanes: b.lanes}
	for _, l := range m.ever {
		if l.Receiver == name {
			l.attempts, l.pause = 0, 0
		}
	}
}

func (m *model) abandon() {
	if l := m.any(func(l *lived) bool { return l.flying }); l != nil {
		l.flying, m.to[l.Receiver].lanes[l.Order].flying = false, false
		m.to[l.Receiver].flying--
		m.q.Abandon(l.Item)
		m.too.Abandon(l.Item)
	}
}

// step has one thing happen.
func (m *model) step() {
	next := m.plan()
	switch c := m.r.IntN(100); {
	case c < 25:
		m.put()
	case c < 60:
		m.answer()
	case c < 75:
		m.write()
	case c < 76:
		m.kill()
	case c < 78:
		m.reset()
	case c < 79:
		m.abandon()
	case c < 80:
		m.withdraw()
	case c < 82:
		m.resend()
	case c < 90 && !next.IsZero():
		m.now = next
	default:
		m.now = m.now.Add(time.Duration(m.r.Int64N(int64(2 * time.Minute))))
	}
}

// finish has all receivers well, and everything that waits arrive.
func (m *model) finish() {
	m.well = true
	for end := m.now.Add(25 * time.Hour); len(m.list) > 0; {
		next := m.plan()
		switch {
		case m.flying() > 0:
			m.answer()
			continue
		case slices.ContainsFunc(m.list, func(l *lived) bool { return l.status != delivery.Waiting }):
			m.write()
			continue
		}
		require.False(m.t, next.IsZero(), "something waits, nothing is under way, and nobody will ask again")
		m.now = next
		require.True(m.t, m.now.Before(end), "it takes for ever")
	}
	for m.flying() > 0 { // of what is listed no more
		m.answer()
	}
	for _, l := range m.ever {
		require.True(m.t, l.arrivals > 0 || l.status == delivery.Dead || l.gone, "%s is lost", l.Key)
	}
	m.set()
	for _, h := range m.q.Receivers() {
		require.Zero(m.t, h.Waiting)
		require.Zero(m.t, h.InFlight)
		require.Zero(m.t, h.NextTry)
	}
	for key := range m.all {
		_, ok := m.q.Progress(key)
		require.False(m.t, ok, "%s is remembered", key)
	}
}

// Whatever receivers answer, and whenever processes die: nothing is lost or dead without reason, order is kept, nothing is under way
// twice, and nobody is asked more often than the policy says.
func TestWhateverHappens(t *testing.T) {
	t.Parallel()
	sent, kills, resent := 0, 0, 0
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed)
			for range 600 {
				m.step()
			}
			m.finish()
			sent, kills, resent = sent+m.sent, kills+m.kills, resent+m.resent
		})
	}
	t.Logf("%d attempts, %d kills, %d sent again", sent, kills, resent)
	require.Greater(t, sent, 10_000)
	require.Greater(t, kills, 500)
	require.Greater(t, resent, 500)
}
