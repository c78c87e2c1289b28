package pagerduty_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/notifytest"
	"github.com/berthage/berthage/notify/pagerduty"
	"github.com/berthage/berthage/pool"
)

const key = "canary0123456789canary0123456789"

type event struct {
	RoutingKey string `json:"routing_key"`
	Action     string `json:"event_action"`
	DedupKey   string `json:"dedup_key"`
	Client     string `json:"client"`
	ClientURL  string `json:"client_url"`
	Links      []struct{ Href, Text string }
	Images     []struct{ Src string }
	Payload    *struct {
		Summary, Source, Severity, Timestamp, Component, Group, Class string
		Details                                                       map[string]any `json:"custom_details"`
	}
}

// service keeps an incident per dedup_key, as PagerDuty does, and refuses what its documents say is refused.
type service struct {
	mu        sync.Mutex
	incidents []*incident
	harm      []string
}

type incident struct{ key, status, text, summary string }

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	var e event
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); r.URL.Path != "/v2/enqueue" || r.Method != http.MethodPost || err != nil || len(b) > pagerduty.MaxEvent {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if e.RoutingKey != key {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.DedupKey == "" || len(e.DedupKey) > 255 || e.Action != "trigger" && e.Action != "acknowledge" && e.Action != "resolve" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var known *incident
	for _, i := range s.incidents {
		if i.key == e.DedupKey && i.status != "resolved" {
			known = i
		}
	}
	if e.Action == "trigger" {
		p := e.Payload
		if p == nil || p.Summary == "" || notify.Runes(p.Summary) > 1024 || p.Source == "" || !strings.Contains(" critical error warning info ", " "+p.Severity+" ") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if _, err := time.Parse(time.RFC3339, p.Timestamp); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if strings.ContainsFunc(p.Summary+p.Class+p.Source, unicode.IsControl) {
			s.harm = append(s.harm, p.Summary)
		}
		for _, l := range e.Links {
			if !strings.HasPrefix(l.Href, "http") || strings.ContainsAny(l.Href, "<>\" \n") {
				s.harm = append(s.harm, l.Href)
			}
		}
		if known == nil {
			known = &incident{key: e.DedupKey}
			s.incidents = append(s.incidents, known)
		}
		known.status, known.summary, known.text = "firing", p.Summary, p.Summary+"\n"+fmt.Sprint(p.Details["text"])
	} else if known != nil {
		known.status = e.Action + "d"
	}
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, `{"status":"success","message":"Event processed","dedup_key":%q}`, e.DedupKey)
}

func (s *service) Harm() []string { return s.harm }

func (s *service) Delivered() []notifytest.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []notifytest.Delivery
	for _, i := range s.incidents {
		out = append(out, notifytest.Delivery{Incident: i.key, Status: i.status, Text: i.text, Fields: map[string]string{"summary": i.summary}})
	}
	return out
}

func setup() notifytest.Setup {
	return notifytest.Setup{
		New: func(url string, client *notify.Client) (notify.Notifier, error) {
			return pagerduty.New(pagerduty.Config{RoutingKey: notify.NewSecret(key), Endpoint: url, HTTP: client})
		},
		Fake:    func() notifytest.Service { return new(service) },
		Secrets: []string{key}, Limits: []notifytest.Limit{{Field: "summary", Most: pagerduty.MaxSummary}},
		HasIncident: true, Once: true,
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	notifytest.Run(t, setup())
}

func FuzzPagerDuty(f *testing.F) { notifytest.Fuzz(f, setup()) }

// What PagerDuty shows follows what is told: triggered, acknowledged, taken up again, resolved, and a new incident for the next time.
func TestLifeOfAnIncident(t *testing.T) {
	t.Parallel()
	s := new(service)
	server := httptest.NewServer(s)
	defer server.Close()
	client := notify.NewClient(notify.ClientConfig{Guard: notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}})
	n, err := pagerduty.New(pagerduty.Config{RoutingKey: notify.NewSecret(key), Endpoint: server.URL, HTTP: client})
	require.NoError(t, err)
	tell := func(m notify.Message) string {
		require.NoError(t, n.Notify(t.Context(), m))
		d := s.Delivered()
		return d[len(d)-1].Status
	}
	require.Equal(t, "firing", tell(notifytest.Firing()))
	m := notifytest.Update()
	m.Firing[0].By = "ada"
	require.Equal(t, "firing", tell(m), "one is not acknowledged")
	m.Firing[1].By = "ada"
	require.Equal(t, "acknowledged", tell(m))
	require.Equal(t, "firing", tell(notifytest.Update()))
	require.NoError(t, n.Acknowledge(t.Context(), m.Incident))
	require.Equal(t, "acknowledged", s.Delivered()[0].Status)
	require.Equal(t, "resolved", tell(notifytest.Resolved()))
	require.Equal(t, "firing", tell(notifytest.Firing()))
	require.Len(t, s.Delivered(), 2)
	require.ErrorIs(t, n.Acknowledge(t.Context(), "a b"), pool.ErrInvalid)
}

func TestDetailsAreLeftOutWhenThereIsNoRoom(t *testing.T) {
	t.Parallel()
	m := notifytest.Firing()
	m.Labels["x"] = strings.Repeat("x", pagerduty.MaxEvent)
	s := new(service)
	server := httptest.NewServer(s)
	defer server.Close()
	client := notify.NewClient(notify.ClientConfig{Guard: notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}})
	n, err := pagerduty.New(pagerduty.Config{RoutingKey: notify.NewSecret(key), Endpoint: server.URL, HTTP: client})
	require.NoError(t, err)
	require.NoError(t, n.Notify(t.Context(), m))
	require.Contains(t, s.Delivered()[0].Text, "<nil>")
}
