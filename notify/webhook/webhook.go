// Package webhook tells a program by HTTP.
//
// The body is the JSON of version 4 of Alertmanager's webhook (Alertmanager's documentation, "webhook_config"), so that receivers written
// for it work. Beyond it there are "incident" and, of an alert, "value" and "acknowledged_by". A notify.Event is sent as one alert that
// fires, with its kind as alertname, and "event" true; no end of it will follow.
//
// With secrets the request is signed as Standard Webhooks say (specification 1.0.0): headers webhook-id, which is the Key of the message and
// the same at every attempt; webhook-timestamp; and webhook-signature, one signature for each secret, so that secrets can be changed without a
// gap: configure both, change the receiver's, remove the old one. The receiver has to refuse old timestamps and may drop an id that it knows.
//
// All alerts of a message are listed as long as the body has at most MaxBody bytes; "truncatedAlerts" counts the rest. A pass of the tests
// shows that requests are as the two documents say, not that any given receiver takes them.
package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/notify"
)

// MaxBody is the most bytes of a body.
const MaxBody = 4 << 20

// Config says whom to tell.
type Config struct {
	URL notify.Secret
	// Secrets sign requests: "whsec_" and 24 to 64 bytes in base64. The first is the newest. None: unsigned.
	Secrets []notify.Secret
	// Header is added to each request, such as Authorization.
	Header map[string]notify.Secret
	// HTTP makes the requests; nil: a Client as notify.NewClient makes it of nothing.
	HTTP *notify.Client
}

// Notifier implements notify.Notifier.
type Notifier struct {
	c    Config
	keys []notify.Secret
}

// New checks the configuration and sends nothing. Errors are pool.ErrInvalid.
func New(c Config) (*Notifier, error) {
	if err := notify.CheckURL("url", c.URL); err != nil {
		return nil, err
	}
	n := &Notifier{c: c}
	for i, s := range c.Secrets {
		text, ok := strings.CutPrefix(s.Reveal(), "whsec_")
		key, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil || len(key) < 24 || len(key) > 64 {
			return nil, notify.Invalid("secrets["+strconv.Itoa(i)+"]", `"whsec_" and 24 to 64 bytes in base64`)
		}
		n.keys = append(n.keys, notify.NewSecret(string(key)))
	}
	for name, value := range c.Header {
		if !isToken(name) || strings.ContainsAny(value.Reveal(), "\r\n\x00") || strings.HasPrefix(strings.ToLower(name), "webhook-") {
			return nil, notify.Invalid("header", "names of headers other than webhook-..., and values in one line")
		}
	}
	if n.c.HTTP == nil {
		n.c.HTTP = notify.NewClient(notify.ClientConfig{})
	}
	return n, nil
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// Notify implements notify.Notifier.
func (n *Notifier) Notify(ctx context.Context, m notify.Message) error {
	if err := m.Check(); err != nil || m.Moot() {
		return err
	}
	body, err := encode(m)
	if err != nil {
		return err
	}
	r := notify.Request{Op: "webhook: post", URL: n.c.URL, Body: body, Header: make(http.Header), Secrets: n.c.Secrets}
	r.Header.Set("Content-Type", "application/json")
	for name, value := range n.c.Header {
		r.Header.Set(name, value.Reveal())
		r.Secrets = append(r.Secrets[:len(r.Secrets):len(r.Secrets)], value)
	}
	if len(n.keys) > 0 {
		n.sign(r.Header, m.Key, time.Now(), body)
	}
	_, err = n.c.HTTP.Do(ctx, r)
	return err
}

func (n *Notifier) sign(h http.Header, id string, now time.Time, body []byte) {
	at := strconv.FormatInt(now.Unix(), 10)
	signatures := make([]string, len(n.keys))
	for i, key := range n.keys {
		mac := hmac.New(sha256.New, []byte(key.Reveal()))
		mac.Write([]byte(id + "." + at + "."))
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", at)
	h.Set("webhook-signature", strings.Join(signatures, " "))
}

// payload has the names and the order of Alertmanager's.
type payload struct {
	Receiver          string            `json:"receiver"`
	Status            string            `json:"status"`
	Alerts            []alert           `json:"alerts"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Incident          string            `json:"incident"`
	Event             bool              `json:"event,omitempty"`
}

type alert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
	Value        string            `json:"value,omitempty"`
	By           string            `json:"acknowledged_by,omitempty"`
}

func encode(m notify.Message) ([]byte, error) {
	p := payload{
		Receiver: m.Receiver, Status: m.Status(), Alerts: []alert{}, GroupLabels: filled(m.GroupLabels), CommonLabels: filled(m.Labels),
		CommonAnnotations: filled(m.Annotations), ExternalURL: m.Link, Version: "4", GroupKey: m.GroupKey, TruncatedAlerts: m.FiringMore + m.ResolvedMore,
		Incident: m.Incident,
	}
	if e := m.Event; e != nil {
		p.Status, p.Event = "firing", true
		p.CommonLabels = map[string]string{"alertname": e.Kind, "severity": m.Severity()}
		p.CommonAnnotations = map[string]string{"summary": e.Title, "description": e.Text}
		p.Alerts = append(p.Alerts, alert{Status: "firing", Labels: p.CommonLabels, Annotations: p.CommonAnnotations, StartsAt: m.At.UTC(), Fingerprint: m.Incident})
	}
	for _, a := range m.Firing {
		p.Alerts = append(p.Alerts, listed("firing", a))
	}
	for _, a := range m.Resolved {
		p.Alerts = append(p.Alerts, listed("resolved", a))
	}
	for {
		body, err := json.Marshal(p)
		switch {
		case err != nil: // a time beyond the year 9999
			return nil, &notify.Error{Op: "webhook: post", Kind: notify.ErrPermanent, Detail: "the message cannot be written as JSON"}
		case len(body) <= MaxBody:
			return body, nil
		case len(p.Alerts) == 0:
			return nil, &notify.Error{Op: "webhook: post", Kind: notify.ErrPermanent, Detail: "the labels of the group have more than 4 MiB"}
		}
		keep := len(p.Alerts) / 2
		p.TruncatedAlerts += len(p.Alerts) - keep
		p.Alerts = p.Alerts[:keep]
	}
}

func listed(status string, a notify.Alert) alert {
	return alert{status, filled(a.Labels), filled(a.Annotations), a.Starts.UTC(), a.Ends.UTC(), a.Link, a.Fingerprint, a.Value, a.By}
}

// filled makes {} of nothing, as receivers expect it.
func filled(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
