// Package pagerduty tells PagerDuty by its Events API v2 (PagerDuty's developer documentation, "Events API v2 Overview", and the OpenAPI file that it
// publishes).
//
// The first message and updates trigger, an end resolves, and when somebody has acknowledged everything that fires, the incident is
// acknowledged there too. All carry the Incident as dedup_key, by which PagerDuty keeps one incident open, however often a message arrives. A
// notify.Event triggers an incident of its own, which a person has to close.
//
// [Webhook] reads what PagerDuty sends when somebody acknowledges there.
//
// Limits that are kept: a summary of 1,024 characters, an event of 512,000 bytes, beyond which custom_details are left out. Its own 429 and 5xx
// are temporary. A pass of the tests shows that requests are as the documents say, not that the service takes them.
package pagerduty

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/berthage/berthage/notify"
)

// Limits of the API.
const (
	MaxSummary = 1024    // characters
	MaxEvent   = 512_000 // bytes
)

// Endpoint is the public service.
const Endpoint = "https://events.pagerduty.com"

// Config says whom to tell.
type Config struct {
	RoutingKey notify.Secret // the integration key of a service: 32 characters
	Endpoint   string        // empty: Endpoint; that of the EU is https://events.eu.pagerduty.com
	Source     string        // what is named as the source of events; empty: berthage
	HTTP       *notify.Client
}

// Notifier implements notify.Notifier.
type Notifier struct {
	c   Config
	url notify.Secret
}

// New checks the configuration and sends nothing. Errors are pool.ErrInvalid.
func New(c Config) (*Notifier, error) {
	if key := c.RoutingKey.Reveal(); len(key) < 8 || len(key) > 64 || strings.ContainsFunc(key, func(r rune) bool { return !isAlphanumeric(r) }) {
		return nil, notify.Invalid("routing_key", "an integration key of 32 letters and digits")
	}
	url := notify.NewSecret(strings.TrimRight(cmp.Or(c.Endpoint, Endpoint), "/") + "/v2/enqueue")
	if err := notify.CheckURL("endpoint", url); err != nil {
		return nil, err
	}
	if c.HTTP == nil {
		c.HTTP = notify.NewClient(notify.ClientConfig{})
	}
	return &Notifier{c, url}, nil
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

type event struct {
	RoutingKey string   `json:"routing_key"`
	Action     string   `json:"event_action"`
	DedupKey   string   `json:"dedup_key"`
	Client     string   `json:"client,omitempty"`
	ClientURL  string   `json:"client_url,omitempty"`
	Links      []link   `json:"links,omitempty"`
	Payload    *payload `json:"payload,omitempty"`
}

type link struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

type payload struct {
	Summary   string         `json:"summary"`
	Source    string         `json:"source"`
	Severity  string         `json:"severity"`
	Timestamp string         `json:"timestamp,omitempty"`
	Class     string         `json:"class,omitempty"`
	Details   map[string]any `json:"custom_details,omitempty"`
}

// Notify implements notify.Notifier.
func (n *Notifier) Notify(ctx context.Context, m notify.Message) error {
	if err := m.Check(); err != nil || m.Moot() {
		return err
	}
	e := event{RoutingKey: n.c.RoutingKey.Reveal(), Action: action(m), DedupKey: m.Incident}
	if e.Action != "resolve" {
		class := m.Labels["alertname"]
		if m.Event != nil {
			class = m.Event.Kind
		}
		e.Payload = &payload{
			Summary: notify.Cut(m.Title(), MaxSummary), Source: notify.Cut(notify.Line(cmp.Or(n.c.Source, "berthage")), 255), Severity: m.Severity(),
			Class: notify.Cut(notify.Line(class), 255), Details: details(m),
		}
		if !m.At.IsZero() {
			e.Payload.Timestamp = m.At.UTC().Format(time.RFC3339)
		}
		e.Client = "berthage"
		if href := notify.WebLink(m.Link); href != "" {
			e.ClientURL, e.Links = href, []link{{href, "All of it"}}
		}
	}
	return n.post(ctx, e)
}

// Acknowledge tells PagerDuty that somebody has taken an incident on.
func (n *Notifier) Acknowledge(ctx context.Context, incident string) error {
	if err := (notify.Message{Key: incident, Incident: incident, FiringMore: 1}).Check(); err != nil {
		return err
	}
	return n.post(ctx, event{RoutingKey: n.c.RoutingKey.Reveal(), Action: "acknowledge", DedupKey: incident})
}

func action(m notify.Message) string {
	if m.Event != nil {
		return "trigger"
	}
	if !m.Fires() {
		return "resolve"
	}
	if m.First || m.FiringMore > 0 { // what is not there cannot be acknowledged
		return "trigger"
	}
	for _, a := range m.Firing {
		if a.By == "" {
			return "trigger"
		}
	}
	return "acknowledge"
}

func details(m notify.Message) map[string]any {
	out := map[string]any{"text": m.Text(20_000), "key": m.Key}
	if m.Event == nil {
		out["firing"], out["resolved"] = len(m.Firing)+m.FiringMore, len(m.Resolved)+m.ResolvedMore
		out["labels"] = m.Labels
	}
	return out
}

func (n *Notifier) post(ctx context.Context, e event) error {
	r := notify.Request{Op: "pagerduty: " + e.Action, URL: n.url, Secrets: []notify.Secret{n.c.RoutingKey}}
	if body, err := json.Marshal(e); err == nil && len(body) > MaxEvent && e.Payload != nil {
		e.Payload.Details = nil
	}
	_, err := n.c.HTTP.PostJSON(ctx, r, e)
	return err
}
