package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/delivery"
)

// kept is for how long an alert that has ended is kept, longer while its end is still to be told.
const kept = 15 * time.Minute

// teller decides what is told, as time goes by and alerts come.
type teller struct {
	log    *slog.Logger
	path   string    // of the configuration
	from   time.Time // nothing is told before
	names  syntax
	ledger string // names this process in the keys of messages

	sender delivery.Sender
	wake   chan struct{}

	mu     sync.Mutex
	config *config
	state  alert.State
	alerts map[alert.Labels]given
	last   time.Time // when was planned
	box    outbox
}

// given is an alert, and what package alert does not keep of it.
type given struct {
	alert.Alert
	generator string
}

func newTeller(path string, names syntax, delay time.Duration, log *slog.Logger) (*teller, error) {
	t := &teller{
		log: log, path: path, from: time.Now().Add(delay), names: names, ledger: rand.Text(), wake: make(chan struct{}, 1),
		alerts: make(map[alert.Labels]given), box: outbox{messages: make(map[string]notify.Message), changed: make(chan struct{})},
	}
	t.sender.Logger = log
	t.sender.Policy.MinBackoff = 100 * time.Millisecond
	return t, t.reload()
}

// end returns when an alert ends as far as is known; one that is given has an end.
func (g given) end() time.Time {
	if !g.Ended.IsZero() {
		return g.Ended
	}
	return g.Expires
}

// run plans and sends until ctx ends.
func (t *teller) run(ctx context.Context) error {
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		if err := t.sender.Run(ctx, t); err != nil {
			t.log.Error("sending", "error", err)
		}
	})
	for {
		next, err := t.plan(time.Now())
		if err != nil {
			return err
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
		case <-timer:
		}
	}
}

// planAgain is called when something has changed.
func (t *teller) planAgain() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *teller) dispatcher() alert.Dispatcher {
	c := t.config
	return alert.Dispatcher{
		Route:   func(l alert.Labels) []alert.Target { return c.routing.Targets(l, c.firingOnly) },
		Inhibit: c.inhibit, Ledger: t.ledger,
	}
}

// list returns the alerts as package alert wants them.
func (t *teller) list() []alert.Alert {
	all := make([]alert.Alert, 0, len(t.alerts))
	for _, a := range t.alerts {
		all = append(all, a.Alert)
	}
	return all
}

// plan decides what is due, and returns when to plan again.
func (t *teller) plan(now time.Time) (time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Before(t.from) {
		return t.from, nil
	}
	owed := t.state.Owed()
	maps.DeleteFunc(t.alerts, func(l alert.Labels, a given) bool { return a.end().Add(kept).Before(now) && !owed[l.Fingerprint()] })
	alerts := t.list()
	for {
		p := t.dispatcher().Plan(&t.state, alerts, t.last, now)
		if len(p.Events) == 0 {
			t.last = now
			return p.Next, nil
		}
		if err := t.apply(p.Events, now); err != nil {
			return time.Time{}, err
		}
	}
}

// apply makes decisions true.
func (t *teller) apply(events []alert.Event, now time.Time) error {
	for _, e := range events {
		data, err := json.Marshal(e.Data)
		if err == nil {
			err = t.state.Apply(e.Kind, data, now)
		}
		if err != nil {
			return err
		}
		if n, ok := e.Data.(alert.Notification); ok && e.Kind == alert.GroupNotified {
			t.log.Debug("Telling", "receiver", n.Receiver, "group", n.Group, "reason", n.Reason, "firing", len(n.Firing), "resolved", len(n.Resolved))
			t.box.add(delivery.Item{Key: n.Key, Receiver: n.Receiver, Order: n.Group, Queued: now}, t.message(n))
		}
	}
	return nil
}

// message returns a notification as it is sent.
func (t *teller) message(n alert.Notification) notify.Message {
	sum := sha256.Sum256([]byte(n.Group))
	m := notify.Message{
		Key: n.Key, Incident: hex.EncodeToString(sum[:16]), Receiver: t.config.ways[n.Receiver].receiver, GroupKey: n.Group, Generation: n.Generation,
		First: n.Reason == alert.First, At: n.At, GroupLabels: n.Labels.Map(), FiringMore: len(n.FiringToo),
	}
	if !n.FiringOnly {
		m.ResolvedMore = len(n.ResolvedToo)
	}
	for _, list := range []struct {
		told []alert.Told
		to   *[]notify.Alert
	}{{n.Firing, &m.Firing}, {n.Resolved, &m.Resolved}} {
		for _, told := range list.told {
			labels := told.Labels.Map()
			*list.to = append(*list.to, notify.Alert{
				Fingerprint: fingerprint(told.Labels), Labels: labels, Annotations: told.Annotations, Starts: told.Starts, Ends: told.Ends,
				Link: t.alerts[told.Labels].generator,
			})
			if m.Labels == nil {
				m.Labels, m.Annotations = maps.Clone(labels), maps.Clone(told.Annotations)
				continue
			}
			maps.DeleteFunc(m.Labels, func(name, value string) bool { return labels[name] != value })
			maps.DeleteFunc(m.Annotations, func(name, value string) bool { return told.Annotations[name] != value })
		}
	}
	return m
}

// fingerprint is how Alertmanager's API names a set of labels: the 64-bit FNV-1a hash of names and values in order, each followed by
// the byte 255 (github.com/prometheus/common/model, LabelSet.Fingerprint).
func fingerprint(l alert.Labels) string {
	h := fnv.New64a()
	for name, value := range l.All() {
		h.Write([]byte(name + "\xff" + value + "\xff"))
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// give takes an alert.
func (t *teller) give(g alert.Given, generator string, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, err := alert.Receive(t.alerts[g.Labels].Alert, g, now, t.config.resolve)
	if err == nil {
		t.alerts[g.Labels] = given{a, generator}
	}
	return err
}

// reload reads the configuration. After an error what was read before holds. As in Alertmanager, groups begin their time anew: at once
// if something in them was older than their wait, or else after that.
func (t *teller) reload() error {
	text, err := os.ReadFile(t.path)
	if err != nil {
		return err
	}
	c, err := read(text, t.names)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.config = c
	t.box.keep(func(receiver string) bool { _, ok := c.ways[receiver]; return ok })
	for way := range c.ways {
		t.sender.Reset(way)
	}
	now := time.Now()
	told := make(map[string][]string)
	for _, s := range t.state.Streams() {
		if s.Step == 0 {
			told[s.Group] = append(told[s.Group], s.Receiver)
		}
	}
	for _, g := range t.dispatcher().Groups(t.list()) {
		at := now.Add(g.Target.Wait)
		if slices.ContainsFunc(g.Alerts, func(a alert.Alert) bool { return a.Fired.Add(g.Target.Wait).Before(now) }) {
			at = now
		}
		if len(told[g.Key]) > 0 {
			err = t.apply([]alert.Event{{Kind: alert.GroupOpened, Data: alert.Opening{Group: g.Key, Receivers: told[g.Key], At: at.UTC()}}}, now)
		}
		if err != nil {
			return err
		}
	}
	t.planAgain()
	return nil
}

// outbox is what waits to be sent.
type outbox struct {
	items    []delivery.Item
	messages map[string]notify.Message
	changed  chan struct{}
}

func (b *outbox) add(item delivery.Item, m notify.Message) {
	b.items = append(b.items, item)
	b.messages[item.Key] = m
	b.change()
}

func (b *outbox) change() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// drop removes items.
func (b *outbox) drop(which func(delivery.Item) bool) {
	b.items = slices.DeleteFunc(b.items, func(item delivery.Item) bool {
		gone := which(item)
		if gone {
			delete(b.messages, item.Key)
		}
		return gone
	})
	b.change()
}

func (b *outbox) keep(receiver func(string) bool) {
	b.drop(func(item delivery.Item) bool { return !receiver(item.Receiver) })
}

// Waiting implements delivery.Source.
func (t *teller) Waiting() ([]delivery.Item, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.box.items), t.box.changed
}

// Message implements delivery.Source.
func (t *teller) Message(key string) (notify.Message, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.box.messages[key]
	return m, ok
}

// Notifier implements delivery.Source.
func (t *teller) Notifier(way string) (notify.Notifier, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, ok := t.config.ways[way]
	if ok && n.Notifier == nil {
		return notify.Func(func(context.Context, notify.Message) error { return nil }), true
	}
	return n.Notifier, ok
}

// Settled implements delivery.Source.
func (t *teller) Settled(_ context.Context, results []delivery.Result) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	settled := make(map[string]bool)
	for _, r := range results {
		settled[r.Key] = true
		if r.Status == delivery.Dead {
			t.log.Error("Not delivered", "receiver", r.Receiver, "key", r.Key, "reason", r.Reason)
		}
	}
	t.box.drop(func(item delivery.Item) bool { return settled[item.Key] })
	return nil
}
