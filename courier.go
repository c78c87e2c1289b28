package berthage

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/berthage/berthage/internal/alerting"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/delivery"
	"github.com/berthage/berthage/pool"
)

// courier sends the messages that stand in the ledger while this Manager leads.
type courier struct {
	c      Messaging
	sender *delivery.Sender

	mu    sync.Mutex
	made  map[string]madeOf   // of receivers in the ledger, by name
	known map[string]Receiver // those of the ledger as the sender knows them
}

// madeOf is a notifier and the receiver that it was made of.
type madeOf struct {
	receiver Receiver
	notifier notify.Notifier
	err      error
}

func newCourier(c Messaging, log *slog.Logger) *courier {
	return &courier{c: c, sender: &delivery.Sender{Policy: c.Policy, Logger: log}}
}

// make makes the notifier of a receiver. A panic in an importer's code is an error, without what it panicked with: that may be a secret.
func (c *courier) make(r Receiver) (n notify.Notifier, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("a panic (%T) in Messaging.Make", v)
		}
	}()
	if c.c.Make == nil {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "type", Value: r.Type, Want: "a program that can make receivers (Messaging.Make)"}
	}
	n, err = c.c.Make(r)
	if err == nil && n == nil {
		err = &pool.Error{Kind: pool.ErrInvalid, Field: "type", Value: r.Type, Want: "a type of receiver that there is"}
	}
	return n, err
}

// notifier returns that of a receiver in the ledger or, if there is none, in the configuration.
func (c *courier) notifier(m *Manager, name string) (notify.Notifier, error) {
	var r Receiver
	known := false
	m.View(func(st *pool.State) { r, known = alerting.Of(st).Receiver(name) })
	if !known {
		if n := c.c.Receivers[name]; n != nil {
			return n, nil
		}
		return nil, &pool.Error{Kind: pool.ErrNotFound, Field: "receiver", Value: name}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	made, ok := c.made[name]
	if !ok || !reflect.DeepEqual(made.receiver, r) {
		made = madeOf{receiver: r}
		made.notifier, made.err = c.make(r)
		c.made = set(c.made, name, made)
	}
	return made.notifier, made.err
}

// message returns a message as its receiver gets it.
func (c *courier) message(m *alerting.Message, ledger string) notify.Message {
	link := ""
	if c.c.Link != nil && m.Notification != nil {
		link = c.c.Link(m.Notification.Labels)
	}
	return m.Message(ledger, link)
}

func (c *courier) health() map[string]delivery.Health {
	all := make(map[string]delivery.Health)
	for _, h := range c.sender.Health() {
		all[h.Receiver] = h
	}
	return all
}

// pending adds to a message that waits how far it has come.
func (c *courier) pending(s *MessageStatus) {
	if s.Status != MessageWaiting {
		return
	}
	if p, ok := c.sender.Progress(s.Key); ok {
		s.Attempts, s.NextTry, s.Error = p.Attempts, p.NextTry, p.Error
	}
}

// leads says whether this Manager leads and may act.
func (m *Manager) leads() bool {
	s := m.Status()
	return s.Leading && s.Holder == s.Name && !s.Unconfirmed && s.Stale == ""
}

// leadWatch is how often it is looked whether this Manager still leads.
const leadWatch = time.Second

// deliver sends what waits while this Manager leads, until ctx ends.
func (m *Manager) deliver(ctx context.Context) {
	timer := time.NewTicker(leadWatch)
	defer timer.Stop()
	for {
		if m.leads() {
			m.deliverWhileLeading(ctx, m.Status().Epoch)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

func (m *Manager) deliverWhileLeading(ctx context.Context, epoch int64) {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		defer cancel()
		timer := time.NewTicker(leadWatch)
		defer timer.Stop()
		for m.leads() && m.Status().Epoch == epoch {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
	})
	out := &outbox{m: m, epoch: epoch, changed: make(chan struct{}), version: -1}
	watch.Go(func() { out.watch(ctx) })
	if err := m.courier.sender.Run(ctx, out); err != nil {
		m.log.Error("messages are not sent", "error", err)
	}
	cancel()
	watch.Wait()
}

// outbox is what waits in the ledger, for a delivery.Sender.
type outbox struct {
	m     *Manager
	epoch int64

	mu         sync.Mutex
	version    int64 // of the list
	configured int64 // of receivers
	changed    chan struct{}
}

// watch notices when there is something else in the outbox, or receivers are others, until ctx ends.
func (o *outbox) watch(ctx context.Context) {
	for {
		changed := o.m.ring.Changed()
		var version, configured int64
		o.m.View(func(st *pool.State) {
			p := alerting.Of(st)
			version, configured = p.Outbox(), p.Configured()
		})
		o.mu.Lock()
		other := configured != o.configured || o.version < 0 // when this Manager did not lead, somebody may have changed them
		if configured != o.configured || version != o.version {
			close(o.changed)
			o.changed = make(chan struct{})
		}
		o.version, o.configured = version, configured
		o.mu.Unlock()
		if other {
			o.reset()
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// reset lets receivers be tried at once that are others than the sender knows.
func (o *outbox) reset() {
	now := make(map[string]Receiver)
	o.m.View(func(st *pool.State) {
		for _, r := range alerting.Of(st).Receivers() {
			now[r.Name] = r
		}
	})
	c := o.m.courier
	var others []string
	c.mu.Lock()
	for name, r := range now {
		if was, ok := c.known[name]; !ok || !reflect.DeepEqual(was, r) {
			others = append(others, name)
		}
	}
	for name := range c.known {
		if _, ok := now[name]; !ok {
			others = append(others, name)
			delete(c.made, name)
		}
	}
	c.known = now
	c.mu.Unlock()
	for _, name := range others {
		c.sender.Reset(name)
	}
}

// Waiting implements delivery.Source.
func (o *outbox) Waiting() ([]delivery.Item, <-chan struct{}) {
	o.mu.Lock()
	changed := o.changed
	o.mu.Unlock()
	var all []*alerting.Message
	o.m.View(func(st *pool.State) { all = alerting.Of(st).Messages() })
	var out []delivery.Item
	for _, m := range all {
		if m.Dead.IsZero() {
			out = append(out, delivery.Item{Key: m.Key, Receiver: m.Receiver, Order: m.Order(), Queued: m.Queued})
		}
	}
	return out, changed
}

// Message implements delivery.Source.
func (o *outbox) Message(key string) (notify.Message, bool) {
	m, ledger, ok := o.m.message(key)
	if !ok {
		return notify.Message{}, false
	}
	return o.m.courier.message(m, ledger), true
}

// Notifier implements delivery.Source.
func (o *outbox) Notifier(receiver string) (notify.Notifier, bool) {
	n, err := o.m.courier.notifier(o.m, receiver)
	if err != nil {
		o.m.log.Warn("a receiver cannot be used", "receiver", receiver, "error", err)
		return nil, false
	}
	return n, true
}

// Settled implements delivery.Source.
func (o *outbox) Settled(ctx context.Context, results []delivery.Result) error {
	var over alerting.Over
	for _, r := range results {
		s := alerting.Settled{Key: r.Key, Queued: r.Queued}
		if p, ok := o.m.courier.sender.Progress(r.Key); ok {
			s.Attempts = p.Attempts
		}
		switch r.Status {
		case delivery.Delivered:
			over.Delivered = append(over.Delivered, s)
		case delivery.Dead:
			s.Error = r.Reason
			over.Dead = append(over.Dead, s)
		}
	}
	return o.m.asItself("messages").toAlerts(ctx, alerting.Command{Over: &over, Epoch: o.epoch})
}
