package berthage

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/internal/alerting"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/delivery"
	"github.com/berthage/berthage/pool"
)

// Messaging is how a Manager tells people and other systems of alerts and of what happened. The zero value tells nobody until receivers
// and a tree of routes stand in the ledger and Make can make use of them. Only the Manager that leads sends.
type Messaging struct {
	Receivers  map[string]notify.Notifier // of the configuration, by name; one in the ledger with the same name goes before
	FiringOnly []string                   // those of Receivers that do not want to know what is resolved

	// Make makes the notifier of a receiver that stands in the ledger, and says what is wrong with one that is to. It opens what is sealed.
	// Nil: there can be none.
	Make func(Receiver) (notify.Notifier, error)

	Routing alert.Routing // who is told of what, while the ledger has no such tree

	// Link returns the address of a page where a person sees all of an alert's group with these labels; nil or empty: there is none.
	Link func(group alert.Labels) string

	Policy delivery.Policy // when what could not be delivered is tried again
}

func (c Messaging) valid() error {
	if err := c.Routing.Validate(); err != nil {
		return alerting.Error(err)
	}
	if err := c.Policy.Validate(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(c.Receivers)) {
		if err := pool.ValidName(name); err != nil {
			return pool.InField("Receivers", err)
		}
		if c.Receivers[name] == nil {
			return &pool.Error{Kind: pool.ErrInvalid, Field: "Receivers." + name, Want: "a notifier, not nil"}
		}
	}
	return nil
}

// Receiver is a receiver of messages that stands in the ledger. What its type and settings mean is known to Messaging.Make.
type Receiver = alerting.Receiver

// Messages is a Manager's side that tells: receivers, the tree of routes, and the messages that are on their way. What is to be delivered
// stands in the ledger until it is, so that a restart forgets nothing. Its methods may be called concurrently.
type Messages struct{ m *Manager }

// Messages returns what the Manager knows of messages.
func (m *Manager) Messages() Messages { return Messages{m} }

// ReceiverStatus is a receiver and how it fares.
type ReceiverStatus struct {
	Receiver
	Configured bool `json:"configured"` // it is one of Messaging.Receivers, and not in the ledger
	Secrets    bool `json:"secrets"`    // it has sealed ones, which are not shown
	Usable     bool `json:"usable"`     // this Manager can send to it

	State         delivery.State `json:"state"` // Unknown: nothing was sent of late, or this Manager does not lead
	Error         string         `json:"error,omitempty"`
	NextTry       time.Time      `json:"next_try,omitzero"`
	LastDelivered time.Time      `json:"last_delivered,omitzero"`
	Waiting       int            `json:"waiting"`
	Dead          int            `json:"dead"`
}

// Receivers returns all receivers by name, their secrets left out.
func (a Messages) Receivers() []ReceiverStatus {
	all := make(map[string]*ReceiverStatus)
	for name := range a.m.courier.c.Receivers {
		all[name] = &ReceiverStatus{Receiver: Receiver{Name: name, FiringOnly: slices.Contains(a.m.courier.c.FiringOnly, name)}, Configured: true}
	}
	a.m.View(func(st *pool.State) {
		p := alerting.Of(st)
		for _, r := range p.Receivers() {
			s := &ReceiverStatus{Receiver: r, Secrets: r.Sealed != nil}
			s.Sealed = nil
			all[r.Name] = s
		}
		of := func(name string) *ReceiverStatus {
			if all[name] == nil {
				return new(ReceiverStatus) // one that is no more
			}
			return all[name]
		}
		for _, m := range p.Messages() {
			if m.Dead.IsZero() {
				of(m.Receiver).Waiting++
			} else {
				of(m.Receiver).Dead++
			}
		}
		for _, past := range p.Log() {
			if past.Error == "" {
				of(past.Receiver).LastDelivered = past.Over
			}
		}
	})
	health := a.m.courier.health()
	leads := a.m.leads()
	var out []ReceiverStatus
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		_, err := a.m.courier.notifier(a.m, name)
		s.Usable = err == nil
		s.State = delivery.Unknown
		switch h, ok := health[name]; {
		case err != nil:
			s.State, s.Error = delivery.Broken, err.Error()
		case leads && ok:
			s.State, s.Error, s.NextTry = h.State, h.Error, h.NextTry
		}
		out = append(out, *s)
	}
	return out
}

// Receiver returns the receiver in the ledger of that name with its sealed secrets, for whoever has sealed them.
func (a Messages) Receiver(name string) (r Receiver, ok bool) {
	a.m.View(func(st *pool.State) { r, ok = alerting.Of(st).Receiver(name) })
	r.Sealed = slices.Clone(r.Sealed)
	return r, ok
}

// SetReceiver makes a receiver, or replaces the one of that name. What waits for it is tried again at once. pool.ErrInvalid: Messaging.Make
// makes nothing of it.
func (a Messages) SetReceiver(ctx context.Context, r Receiver) error {
	_, err := a.m.courier.make(r)
	if err == nil {
		err = a.m.toAlerts(ctx, alerting.Command{SetReceiver: &r})
	}
	return named(err, "set receiver "+pool.Quote(r.Name))
}

// RemoveReceiver removes a receiver from the ledger, and what waits for it is dead. The history keeps its secrets, sealed, until
// Manager.Forget is asked for "receiver/" and its name. pool.ErrNotFound: there is none of that name. pool.ErrInUse: a route names it.
func (a Messages) RemoveReceiver(ctx context.Context, name string) error {
	if name == "" {
		return &pool.Error{Op: "remove receiver", Kind: pool.ErrInvalid, Field: "name", Want: "the name of a receiver"}
	}
	return named(a.m.toAlerts(ctx, alerting.Command{RemoveReceiver: name}), "remove receiver "+pool.Quote(name))
}

// Test sends a receiver a message that says that it is a test. The error is the notifier's. pool.ErrNotFound: there is none of that name.
func (a Messages) Test(ctx context.Context, name string) error {
	n, err := a.m.courier.notifier(a.m, name)
	if err == nil {
		err = a.test(ctx, n, name)
	}
	return named(err, "test receiver "+pool.Quote(name))
}

// Try is Test with a receiver that need not stand in the ledger.
func (a Messages) Try(ctx context.Context, r Receiver) error {
	n, err := a.m.courier.make(r)
	if err == nil {
		err = a.test(ctx, n, r.Name)
	}
	return named(err, "test receiver "+pool.Quote(r.Name))
}

func (a Messages) test(ctx context.Context, n notify.Notifier, name string) error {
	key := "test-" + rand.Text()
	return n.Notify(ctx, notify.Message{
		Key: key, Incident: key, Receiver: name, GroupKey: "test", First: true, At: a.m.ring.Now(),
		Event: &notify.Event{Kind: "test", Title: "This is a test", Text: "Messages to " + name + " arrive. Asked for by " + a.m.who.Actor + "."},
	})
}

// Routing returns who is told of what, and whether that stands in the ledger or else in the configuration.
func (a Messages) Routing() (r alert.Routing, ledger bool) {
	a.m.View(func(st *pool.State) { r, ledger = alerting.Of(st).Routing() })
	return r, ledger
}

// SetRouting says who is told of what from now on. pool.ErrInvalid: it cannot be that. pool.ErrNotFound: it names a receiver that there is not.
func (a Messages) SetRouting(ctx context.Context, r alert.Routing) error {
	return named(a.m.toAlerts(ctx, alerting.Command{SetRouting: &r}), "set routing")
}

// RemoveRouting removes the tree of routes from the ledger; that of the configuration counts again.
func (a Messages) RemoveRouting(ctx context.Context) error {
	return named(a.m.toAlerts(ctx, alerting.Command{RemoveRouting: true}), "remove routing")
}

// Preview returns to whom an alert with these labels would be told.
func (a Messages) Preview(l alert.Labels) (targets []alert.Target) {
	a.m.View(func(st *pool.State) { targets = alerting.Of(st).Targets(l) })
	return targets
}

// The states of a message.
const (
	MessageWaiting   = "waiting"
	MessageDelivered = "delivered"
	MessageDead      = "dead"
)

// MessageStatus is a message and what has become of it.
type MessageStatus struct {
	Key      string    `json:"key"`
	Receiver string    `json:"receiver"`
	Title    string    `json:"title"`
	Status   string    `json:"status"` // MessageWaiting, MessageDelivered or MessageDead
	Queued   time.Time `json:"queued"`
	Over     time.Time `json:"over,omitzero"` // when it was delivered, or dead
	Attempts int       `json:"attempts"`
	NextTry  time.Time `json:"next_try,omitzero"`
	Error    string    `json:"error,omitempty"`
	Kept     bool      `json:"kept"` // it can be seen as a whole, and sent again if it is dead
}

// List returns the messages that wait, those that are dead, and those that were delivered of late, the newest first.
func (a Messages) List() []MessageStatus {
	var out []MessageStatus
	a.m.View(func(st *pool.State) {
		p := alerting.Of(st)
		kept := make(map[string]bool)
		for _, m := range p.Messages() {
			kept[m.Key] = true
			out = append(out, statusOf(m))
		}
		for _, past := range slices.Backward(p.Log()) {
			if kept[past.Key] { // or it was dead once, and sent again
				continue
			}
			kept[past.Key] = true
			s := MessageStatus{
				Key: past.Key, Receiver: past.Receiver, Title: past.Title, Status: MessageDelivered, Queued: past.Queued, Over: past.Over, Attempts: past.Attempts, Error: past.Error,
			}
			if past.Error != "" {
				s.Status = MessageDead
			}
			out = append(out, s)
		}
	})
	for k := range out {
		a.m.courier.pending(&out[k])
	}
	slices.SortStableFunc(out, func(a, b MessageStatus) int {
		if c := b.Queued.Compare(a.Queued); c != 0 {
			return c
		}
		return strings.Compare(a.Key, b.Key)
	})
	return out
}

func statusOf(m *alerting.Message) MessageStatus {
	s := MessageStatus{Key: m.Key, Receiver: m.Receiver, Title: m.Title(), Status: MessageWaiting, Queued: m.Queued, Attempts: m.Attempts, Error: m.Error, Kept: true}
	if !m.Dead.IsZero() {
		s.Status, s.Over = MessageDead, m.Dead
	}
	return s
}

// Message returns a message that waits or is dead, as its receiver gets it.
func (a Messages) Message(key string) (notify.Message, MessageStatus, bool) {
	m, ledger, ok := a.m.message(key)
	if !ok {
		return notify.Message{}, MessageStatus{}, false
	}
	s := statusOf(m)
	a.m.courier.pending(&s)
	return a.m.courier.message(m, ledger), s, true
}

func (m *Manager) message(key string) (found *alerting.Message, ledger string, ok bool) {
	m.View(func(st *pool.State) {
		ledger = st.Identity()
		all := alerting.Of(st).Messages()
		if k := slices.IndexFunc(all, func(one *alerting.Message) bool { return one.Key == key }); k >= 0 {
			found, ok = all[k], true
		}
	})
	return found, ledger, ok
}

// Attempts returns the last attempts of this Manager to deliver something, the newest first.
func (a Messages) Attempts() []delivery.Attempt { return a.m.courier.sender.Attempts() }

// Resend lets a message that is dead be sent again, with the same key. pool.ErrNotFound: there is none, or it is not kept any more.
func (a Messages) Resend(ctx context.Context, key string) error {
	if key == "" {
		return &pool.Error{Op: "resend", Kind: pool.ErrInvalid, Field: "key", Want: "the key of a message that is dead"}
	}
	return named(a.m.toAlerts(ctx, alerting.Command{Revive: key}), "resend "+pool.Quote(key))
}

// Acknowledge takes on every alert that fires in the group of a message, by the message's Incident, and returns how many they are: for
// whoever hears from a receiver that somebody has. pool.ErrNotFound: nothing is going on of that name.
func (a Messages) Acknowledge(ctx context.Context, incident, note string) (int, error) {
	return a.each(incident, "acknowledge", func(l alert.Labels) error { return a.m.Alerts().Acknowledge(ctx, l, note) })
}

// Unacknowledge takes that back.
func (a Messages) Unacknowledge(ctx context.Context, incident string) (int, error) {
	return a.each(incident, "unacknowledge", func(l alert.Labels) error { return a.m.Alerts().Unacknowledge(ctx, l) })
}

// Told returns the receiver that is told of an incident. Each receiver's are its own, even where several are told of the same alerts: whoever hears of an
// acknowledgement from one asks whether it is of what that one was told. It is false as soon as nothing is going on of that name.
func (a Messages) Told(incident string) (receiver string, ok bool) {
	a.m.View(func(st *pool.State) { receiver, ok = alerting.Of(st).Told(st, incident) })
	return receiver, ok
}

func (a Messages) each(incident, op string, do func(alert.Labels) error) (n int, err error) {
	var labels []alert.Labels
	found := false
	a.m.View(func(st *pool.State) { labels, found = alerting.Of(st).Firing(st, incident) })
	if !found {
		return 0, &pool.Error{Op: op, Kind: pool.ErrNotFound, Field: "incident", Value: incident}
	}
	for _, l := range labels {
		if one := do(l); one == nil {
			n++
		} else if !errors.Is(one, pool.ErrNotFound) && !errors.Is(one, pool.ErrInvalid) { // else it has ended
			err = errors.Join(err, one)
		}
	}
	return n, err
}

// Event is something that happened and that only somebody else knows of: a backup has failed. It is told to those who have a
// route for it, which matches the label "event".
type Event struct {
	Kind     string         `json:"kind"` // "backup-failed"
	Severity alert.Severity `json:"severity,omitempty"`
	Title    string         `json:"title"` // one line
	Text     string         `json:"text,omitempty"`
	Labels   alert.Labels   `json:"labels,omitzero"` // what it is about, such as vm_id or project
}

// Announce has an event told. pool.ErrInvalid: it has no kind or title, or is too long.
func (a Messages) Announce(ctx context.Context, e Event) error {
	h := alerting.Happening{Kind: e.Kind, Severity: e.Severity, Title: e.Title, Text: e.Text, Labels: e.Labels}
	return named(a.m.toAlerts(ctx, alerting.Command{Report: &h}), "announce")
}
