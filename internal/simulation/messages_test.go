package simulation_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/internal/alerting"
	"github.com/berthage/berthage/notify"
)

// receiverNames are those who are told: of alerts, of what happened, and of what nobody acknowledges.
var receiverNames = []string{"ops", "log", "boss"}

// post is the receivers of messages. They outlive the daemons.
type post struct {
	mu    sync.Mutex
	down  map[string]bool
	first map[string][]notify.Message // what has arrived, by receiver, without what has arrived before
	keys  map[string]notify.Message
	wrong []string
}

// watches makes a daemon evaluate rules and tell.
func (p *process) watches(c *berthage.Config) {
	c.Alerting.Every = 5 * time.Second
	for _, r := range berthage.DefaultRules() {
		if r.Measure.Metric == berthage.MetricUp {
			r.For = min(r.For, alert.Duration(20*time.Second))
			c.Alerting.Rules = append(c.Alerting.Rules, r)
		}
	}
	events, err := alert.NewMatcher(alerting.EventLabel, alert.Match, "instance-.*|host-.*|reservation-.*|cluster-.*")
	p.w.must(err)
	c.Messaging.Routing.Root = alert.Route{
		Receivers: []string{"ops"}, GroupBy: []string{alert.NameLabel, "project"},
		Wait: alert.Duration(5 * time.Second), Interval: alert.Duration(20 * time.Second), Repeat: alert.Duration(5 * time.Minute),
		Escalation: []alert.EscalationStep{{After: alert.Duration(time.Minute), Receivers: []string{"boss"}}},
		Routes:     []alert.Route{{Match: alert.Matchers{events}, Receivers: []string{"log"}}},
	}
	c.Messaging.Receivers = make(map[string]notify.Notifier)
	for _, name := range receiverNames {
		c.Messaging.Receivers[name] = notify.Func(func(ctx context.Context, m notify.Message) error {
			_, err := outside(ctx, p, "notify", func(ctx context.Context) (none struct{}, err error) {
				return none, p.w.deliver(name, m)
			})
			return err
		})
	}
}

// deliver is one message that arrives at a receiver.
func (w *world) deliver(to string, m notify.Message) error {
	now := func(kind string, e *notify.Error) error {
		w.count(kind)
		e.Op, e.Kind = "post", notify.ErrTemporary
		return e
	}
	w.post.mu.Lock()
	down := w.post.down[to]
	w.post.mu.Unlock()
	switch {
	case down:
		return now("receiver: away", &notify.Error{})
	case w.chance(0.1):
		return now("receiver: refused", &notify.Error{Status: 503})
	case w.chance(0.08):
		return now("receiver: busy", &notify.Error{Status: 429, RetryAfter: 3 * time.Second})
	}
	w.count("command: told")
	w.post.take(to, m)
	if w.chance(0.1) {
		return now("receiver: reply lost", &notify.Error{Maybe: true})
	}
	return nil
}

func (p *post) take(to string, m notify.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := m.Check(); err != nil || m.Receiver != to {
		p.wrong = append(p.wrong, "a message for "+m.Receiver+" that "+to+" cannot take: "+m.Title())
	}
	if before, ok := p.keys[m.Key]; ok {
		if before.Title() != m.Title() || !slices.Equal(before.Lines(), m.Lines()) || before.Incident != m.Incident {
			p.wrong = append(p.wrong, "one key and two messages: "+before.Title()+" and "+m.Title())
		}
		return
	}
	p.keys[m.Key] = m
	p.first[to] = append(p.first[to], m)
}

// receiverOutage takes a receiver away for a while.
func (w *world) receiverOutage() {
	to := receiverNames[w.random.IntN(len(receiverNames))]
	w.count("receiver outage")
	w.note("receiver down: " + to)
	w.receiver(to, true)
	time.AfterFunc(w.between(5*time.Second, 90*time.Second), func() { w.receiver(to, false) })
}

func (w *world) receiver(name string, down bool) {
	w.post.mu.Lock()
	defer w.post.mu.Unlock()
	w.post.down[name] = down
}

// told reports whether all that was to be told has been.
func (w *world) told() bool {
	return !slices.ContainsFunc(alerting.Of(w.monitor.st).Messages(), func(m *alerting.Message) bool { return m.Dead.IsZero() })
}

// messages checks, at the end, that all messages that the ledger speaks of have arrived, in the order of each incident, and no others.
func (w *world) messages() {
	if !w.told() {
		w.broken(untold, "messages still wait")
	}
	w.post.mu.Lock()
	defer w.post.mu.Unlock()
	for _, what := range w.post.wrong {
		w.broken(untold, "%s", what)
	}
	due := make(map[string]string) // key of each message, and to whom
	order := make(map[string][]string)
	for _, m := range alerting.Of(w.monitor.st).Messages() {
		w.broken(untold, "message %s to %s is dead: %s", m.Title(), m.Receiver, m.Error)
	}
	for _, past := range alerting.Of(w.monitor.st).Log() {
		if past.Error != "" {
			w.broken(untold, "message %s to %s was given up: %s", past.Title, past.Receiver, past.Error)
		}
		due[past.Key] = past.Receiver
	}
	for _, b := range w.monitor.log {
		for _, e := range b.Events {
			if e.Kind != alert.GroupNotified {
				continue
			}
			var n alert.Notification
			w.must(json.Unmarshal(e.Data, &n))
			due[n.Key] = n.Receiver
			incident := alerting.Incident(w.monitor.st.Identity(), n.Stream)
			order[incident] = append(order[incident], n.Key)
		}
	}
	arrived := make(map[string][]string) // by incident
	for to, all := range w.post.first {
		for _, m := range all {
			if due[m.Key] != to {
				w.broken(untold, "%s was sent what nobody decided on: %s", to, m.Title())
			}
			delete(due, m.Key)
			if m.Event == nil {
				arrived[m.Incident] = append(arrived[m.Incident], m.Key)
			}
		}
	}
	for key, to := range due {
		w.broken(untold, "message %s has not arrived at %s", key, to)
	}
	for incident, keys := range order {
		if !slices.Equal(keys, arrived[incident]) {
			w.broken(untold, "the messages of incident %s were decided on as %s and arrived as %s", incident, strings.Join(keys, " "), strings.Join(arrived[incident], " "))
		}
	}
}

func newPost() *post {
	return &post{down: make(map[string]bool), first: make(map[string][]notify.Message), keys: make(map[string]notify.Message)}
}

// receiverFaults says which faults of receivers there are.
func receiverFaults() []string {
	return []string{"receiver: away", "receiver: refused", "receiver: busy", "receiver: reply lost", "receiver outage"}
}
