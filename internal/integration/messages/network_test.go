package messages_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/delivery"
	"github.com/berthage/berthage/notify/notifytest"
	"github.com/berthage/berthage/notify/webhook"
)

// outbox is a delivery.Source in memory.
type outbox struct {
	to map[string]notify.Notifier

	mu       sync.Mutex
	items    []delivery.Item
	messages map[string]notify.Message
	changed  chan struct{}
	results  []delivery.Result
}

// put has the n-th message of some incidents wait, for each receiver.
func (o *outbox) put(incidents int, numbers ...int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range numbers {
		for i := range incidents {
			for receiver := range o.to {
				m := notifytest.Update()
				m.Incident = fmt.Sprint(receiver, "-", i)
				m.Key, m.Generation, m.GroupKey = fmt.Sprint(m.Incident, ":", n), int64(n), fmt.Sprint(n)
				o.messages[m.Key] = m
				o.items = append(slices.Clone(o.items), delivery.Item{Key: m.Key, Receiver: receiver, Order: m.Incident, Queued: time.Now()})
			}
		}
	}
	o.change()
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
	m, ok := o.messages[key]
	return m, ok
}

func (o *outbox) Notifier(receiver string) (notify.Notifier, bool) {
	n, ok := o.to[receiver]
	return n, ok
}

func (o *outbox) Settled(_ context.Context, results []delivery.Result) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.results = append(o.results, results...)
	for _, r := range results {
		o.items = slices.DeleteFunc(slices.Clone(o.items), func(i delivery.Item) bool { return i == r.Item })
	}
	o.change()
	return nil
}

// waits returns how many messages wait for a receiver.
func (o *outbox) waits(receiver string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, i := range o.items {
		if i.Receiver == receiver {
			n++
		}
	}
	return n
}

// inbox is a receiver of webhooks, which keeps all that comes.
type inbox struct {
	t   *testing.T
	key string

	mu    sync.Mutex
	keys  []string // in the order in which they came
	texts map[string]string
}

func (b *inbox) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil { // it was cut off: nobody has received that
		return
	}
	if err := verifier(b.t, b.key).Verify(body, r.Header); err != nil {
		b.t.Error(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	key := r.Header.Get("Webhook-Id")
	if text, known := b.texts[key]; known && text != string(body) {
		b.t.Errorf("%s came as %s and as %s", key, text, body)
	}
	b.keys, b.texts[key] = append(b.keys, key), string(body)
}

func (b *inbox) count() (all, again int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.keys), len(b.keys) - len(b.texts)
}

// A receiver behind a network that is down, breaks connections off after the request has arrived, is slower than anybody waits, and comes back:
// everything arrives, what arrives twice has the same Key and content, and of an incident nothing overtakes. Another receiver does not notice.
func TestNetworkThatFails(t *testing.T) {
	t.Parallel()
	key := secret("new-new-new-new-new-new-new")
	newInbox := func() (*inbox, *httptest.Server) {
		b := &inbox{t: t, key: key, texts: make(map[string]string)}
		server := httptest.NewServer(b)
		t.Cleanup(server.Close)
		return b, server
	}
	far, farServer := newInbox()
	near, nearServer := newInbox()
	proxy := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "far", "127.0.0.1:0", strings.TrimPrefix(farServer.URL, "http://"))
	require.NoError(t, proxy.Start()) // for its address
	toxic := func(s string) {
		t.Helper()
		_, err := proxy.Toxics.AddToxicJson(strings.NewReader(s))
		require.NoError(t, err)
	}
	notifier := func(url string) notify.Notifier {
		n, err := webhook.New(webhook.Config{URL: notify.NewSecret(url), Secrets: []notify.Secret{notify.NewSecret(key)}, HTTP: client()})
		require.NoError(t, err)
		return n
	}
	box := &outbox{
		to:       map[string]notify.Notifier{"far": notifier("http://" + proxy.Listen), "near": notifier(nearServer.URL)},
		messages: make(map[string]notify.Message), changed: make(chan struct{}),
	}
	proxy.Stop()
	sender := &delivery.Sender{Policy: delivery.Policy{MinBackoff: 5 * time.Millisecond, MaxBackoff: 50 * time.Millisecond, Timeout: 500 * time.Millisecond}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sender.Run(ctx, box) }()
	until := func(what string, holds func() bool) {
		t.Helper()
		require.Eventually(t, holds, time.Minute, 5*time.Millisecond, what)
	}
	const incidents = 5

	box.put(incidents, 1, 2)
	until("the one beside has everything while the far one is down", func() bool { return box.waits("near") == 0 })
	until("the far one is seen to fail", func() bool {
		return slices.ContainsFunc(sender.Health(), func(h delivery.Health) bool {
			return h.Receiver == "far" && h.State == delivery.Failing && h.Failures >= 5
		})
	})
	require.Equal(t, 2*incidents, box.waits("far"))

	toxic(`{"type":"reset_peer","attributes":{"timeout":10}}`)
	require.NoError(t, proxy.Start())
	t.Cleanup(proxy.Stop)
	box.put(incidents, 3, 4)
	until("connections break off after the request has arrived", func() bool { _, again := far.count(); return again >= 5 })
	_, lost := far.count()

	toxic(`{"type":"latency","attributes":{"latency":2000}}`) // before the other one goes, so that no answer slips through
	require.NoError(t, proxy.Toxics.RemoveToxic(t.Context(), "reset_peer_downstream"))
	box.put(incidents, 5, 6)
	until("answers come too late", func() bool { _, again := far.count(); return again >= lost+5 })
	require.Equal(t, 6*incidents, box.waits("far"), "nothing has been answered, and nothing is given up")

	proxy.Stop()
	proxy.Toxics.ResetToxics(t.Context())
	require.NoError(t, proxy.Start())
	until("everything arrives", func() bool { return box.waits("far") == 0 && box.waits("near") == 0 })
	cancel()
	require.NoError(t, <-ended)

	require.Len(t, box.results, 2*6*incidents)
	for _, r := range box.results {
		require.Equal(t, delivery.Delivered, r.Status, r.Key)
	}
	for _, b := range []*inbox{far, near} {
		require.Len(t, b.texts, 6*incidents)
		last, seen := make(map[string]int), make(map[string]bool)
		for _, key := range b.keys {
			var m struct {
				Incident string `json:"incident"`
				GroupKey string `json:"groupKey"`
			}
			require.NoError(t, json.Unmarshal([]byte(b.texts[key]), &m))
			if !seen[key] {
				last[m.Incident]++
				require.Equal(t, fmt.Sprint(last[m.Incident]), m.GroupKey, "%s has overtaken another one", key)
			}
			seen[key] = true
		}
	}
	all, again := far.count()
	line := fmt.Sprintf("toxiproxy: %d messages through a network that was down, broke off and was slow: all arrived, in %d requests, of which %d again", 6*incidents, all, again)
	t.Log(line)
	report(t, line)
}
