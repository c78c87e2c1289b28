package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/delivery"
)

// memory is a Source that is gone with its process: an outbox for a program that needs nothing better.
type memory struct {
	mu        sync.Mutex
	messages  []notify.Message
	changed   chan struct{}
	receivers map[string]notify.Notifier
	empty     func() // called when nothing waits any more
}

func (m *memory) Waiting() ([]delivery.Item, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []delivery.Item
	for _, n := range m.messages {
		out = append(out, delivery.Item{Key: n.Key, Receiver: n.Receiver, Order: n.Incident, Queued: n.At})
	}
	return out, m.changed
}

func (m *memory) Message(key string) (notify.Message, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.messages, func(n notify.Message) bool { return n.Key == key })
	if i < 0 {
		return notify.Message{}, false
	}
	return m.messages[i], true
}

func (m *memory) Notifier(receiver string) (notify.Notifier, bool) {
	n, ok := m.receivers[receiver]
	return n, ok
}

func (m *memory) Settled(_ context.Context, results []delivery.Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range results {
		fmt.Println(r.Key, r.Status)
		m.messages = slices.DeleteFunc(m.messages, func(n notify.Message) bool { return n.Key == r.Key && n.At.Equal(r.Queued) })
	}
	close(m.changed)
	m.changed = make(chan struct{})
	if len(m.messages) == 0 {
		m.empty()
	}
	return nil
}

func ExampleSender() {
	ctx, cancel := context.WithCancel(context.Background())
	ops := notify.Func(func(_ context.Context, m notify.Message) error {
		fmt.Println(m.Title())
		return nil
	})
	now := time.Now()
	outbox := &memory{changed: make(chan struct{}), receivers: map[string]notify.Notifier{"ops": ops}, empty: cancel}
	for i, title := range []string{"host h7 is lost", "host h7 is back"} {
		outbox.messages = append(outbox.messages, notify.Message{
			Key: fmt.Sprintf("h7-%d", i+1), Incident: "h7", Receiver: "ops", Generation: int64(i + 1), At: now, Event: &notify.Event{Kind: "host", Title: title},
		})
	}
	var s delivery.Sender
	if err := s.Run(ctx, outbox); err != nil {
		fmt.Println(err)
	}
	// Output:
	// host h7 is lost
	// h7-1 delivered
	// host h7 is back
	// h7-2 delivered
}
