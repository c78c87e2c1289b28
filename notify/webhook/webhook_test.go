package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/notifytest"
	"github.com/berthage/berthage/notify/webhook"
	"github.com/berthage/berthage/pool"
)

const (
	oldKey, newKey = "canary-old-0123456789abcdef", "canary-new-0123456789abcdef"
	token          = "canary-token-77"
)

func whsec(key string) notify.Secret {
	return notify.NewSecret("whsec_" + base64.StdEncoding.EncodeToString([]byte(key)))
}

// body is what receivers written for Alertmanager read.
type body struct {
	Version, GroupKey, Status, Receiver, ExternalURL, Incident string
	TruncatedAlerts                                            uint64
	GroupLabels, CommonLabels, CommonAnnotations               map[string]string
	Alerts                                                     []struct {
		Status, GeneratorURL, Fingerprint, Value string
		Labels, Annotations                      map[string]string
		StartsAt, EndsAt                         time.Time
	}
}

// receiver verifies signatures and drops what it knows.
type receiver struct {
	mu  sync.Mutex
	got []notifytest.Delivery
}

func (s *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	id, at := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(at, 10, 64)
	mac := hmac.New(sha256.New, []byte(oldKey)) // it has not changed its secret yet
	fmt.Fprintf(mac, "%s.%s.%s", id, at, b)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	signed := false
	for _, s := range strings.Fields(r.Header.Get("Webhook-Signature")) {
		signed = signed || hmac.Equal([]byte(s), []byte(want))
	}
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute || !signed || r.Header.Get("X-Token") != token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var p body
	if r.Header.Get("Content-Type") != "application/json" || json.Unmarshal(b, &p) != nil || p.Version != "4" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.got {
		if d.Key == id {
			return
		}
	}
	s.got = append(s.got, notifytest.Delivery{Key: id, Incident: p.Incident, Status: p.Status, Text: string(b)})
	w.WriteHeader(http.StatusAccepted)
}

func (s *receiver) Harm() []string { return nil } // JSON keeps values apart, and the program has to do so as well

func (s *receiver) Delivered() []notifytest.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]notifytest.Delivery(nil), s.got...)
}

func setup() notifytest.Setup {
	return notifytest.Setup{
		New: func(url string, client *notify.Client) (notify.Notifier, error) {
			return webhook.New(webhook.Config{
				URL: notify.NewSecret(url + "/hook/" + token), Secrets: []notify.Secret{whsec(newKey), whsec(oldKey)},
				Header: map[string]notify.Secret{"X-Token": notify.NewSecret(token)}, HTTP: client,
			})
		},
		Fake:        func() notifytest.Service { return new(receiver) },
		Secrets:     []string{token, oldKey, newKey, whsec(oldKey).Reveal()[6:], whsec(newKey).Reveal()[6:]},
		HasIncident: true, HasKey: true, Once: true,
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	notifytest.Run(t, setup())
}

func FuzzWebhook(f *testing.F) { notifytest.Fuzz(f, setup()) }

func send(t *testing.T, c webhook.Config, m notify.Message) (*http.Request, []byte) {
	t.Helper()
	var got *http.Request
	var b []byte
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r
		b, _ = io.ReadAll(r.Body)
	}))
	defer s.Close()
	c.URL = notify.NewSecret(s.URL)
	c.HTTP = notify.NewClient(notify.ClientConfig{Guard: notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}})
	n, err := webhook.New(c)
	require.NoError(t, err)
	require.NoError(t, n.Notify(t.Context(), m))
	return got, b
}

func TestBodyIsAlertmanagers(t *testing.T) {
	t.Parallel()
	r, b := send(t, webhook.Config{}, notifytest.Resolved())
	require.Empty(t, r.Header.Get("Webhook-Signature"))
	require.JSONEq(t, `{
		"receiver": "ops", "status": "resolved", "version": "4", "groupKey": "{alertname=\"HighCPU\"}", "truncatedAlerts": 0,
		"groupLabels": {"alertname": "HighCPU"}, "commonLabels": {"alertname": "HighCPU", "severity": "critical"},
		"commonAnnotations": {"summary": "CPU of web-1 above 80 %"}, "externalURL": "https://berth.example/alerts/91ab07", "incident": "i-91ab07",
		"alerts": [{"status": "resolved", "labels": {"alertname": "HighCPU", "severity": "critical", "vm": "web-1"},
			"annotations": {"summary": "CPU of web-1 above 80 %"}, "startsAt": "2026-05-01T12:00:00Z", "endsAt": "2026-05-01T13:05:00Z",
			"generatorURL": "https://berth.example/vms/web-1", "fingerprint": "a1", "value": "93.5"}]
	}`, string(b))
}

func TestWhatHasNoRoomIsCounted(t *testing.T) {
	t.Parallel()
	m := notifytest.Firing()
	m.FiringMore = 5
	for range 20 {
		a := m.Firing[0]
		a.Annotations = map[string]string{"x": strings.Repeat("x", 400<<10)}
		m.Firing = append(m.Firing, a)
	}
	_, b := send(t, webhook.Config{}, m)
	var p body
	require.NoError(t, json.Unmarshal(b, &p))
	require.LessOrEqual(t, len(b), webhook.MaxBody)
	require.Len(t, p.Alerts, 26-int(p.TruncatedAlerts))
	require.NotEmpty(t, p.Alerts)
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	url := notify.NewSecret("https://hooks.example/a")
	for field, c := range map[string]webhook.Config{
		"url":        {URL: notify.NewSecret("hooks.example")},
		"secrets[1]": {URL: url, Secrets: []notify.Secret{whsec(oldKey), notify.NewSecret("whsec_c2hvcnQ=")}},
		"header":     {URL: url, Header: map[string]notify.Secret{"A": notify.NewSecret("a\r\nB: c")}},
	} {
		_, err := webhook.New(c)
		var e *pool.Error
		require.ErrorAs(t, err, &e, field)
		require.Equal(t, field, e.Field)
	}
}
