package pagerduty

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/berthage/berthage/notify"
)

// MaxWebhook is how many bytes a request of PagerDuty may have.
const MaxWebhook = 1 << 20

// Webhook reads a request of a V3 webhook subscription (PagerDuty's developer documentation, "Webhooks Overview" and "Verifying Signatures") to the events
// incident.acknowledged, incident.unacknowledged and incident.resolved, and returns what it acknowledges. What a person has resolved there while it still fires
// here counts as acknowledged. What an integration has done, ours among them, does not, so that what we say does not come back; but an
// acknowledgement that PagerDuty itself has ended is withdrawn.
//
// It is PagerDuty's if one of its signatures is made with one of the secrets; there are two while a subscription's secret is changed. A signature has no time
// in it. The error is notify.ErrForged, notify.ErrNoAcknowledgement or pool.ErrInvalid, and none shows a secret.
func Webhook(secrets []notify.Secret, r *http.Request) (notify.Acknowledgement, error) {
	var none notify.Acknowledgement
	if len(secrets) == 0 {
		return none, notify.Invalid("secrets", "that of the webhook subscription")
	}
	for _, s := range secrets {
		if s.Empty() { // with which everybody could sign
			return none, notify.Invalid("secrets", "none that is empty")
		}
	}
	header := r.Header.Values("X-PagerDuty-Signature")
	if len(header) != 1 || len(header[0]) > 2000 {
		return none, notify.ErrForged
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxWebhook+1))
	if err != nil || len(body) > MaxWebhook {
		return none, notify.Unreadable("body", "at most 1 MiB")
	}
	if !signed(secrets, header[0], body) {
		return none, notify.ErrForged
	}
	var in struct {
		Event struct {
			Kind  string `json:"event_type"`
			Agent *struct {
				Type    string
				Summary string
			}
			Data struct {
				Type string
				Key  string `json:"incident_key"`
			}
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return none, notify.Unreadable("body", "JSON as PagerDuty writes it")
	}
	e := in.Event
	by, person := "", false
	if e.Agent != nil {
		by, person = notify.Cut(notify.Line(e.Agent.Summary), 100), e.Agent.Type == "user_reference" || e.Agent.Type == "user"
	}
	out := notify.Acknowledgement{Incident: e.Data.Key, By: cmp.Or(by, "PagerDuty")}
	switch {
	case e.Kind == "incident.acknowledged" && person:
		out.Note = "in PagerDuty"
	case e.Kind == "incident.resolved" && person:
		out.Note = "resolved in PagerDuty"
	case e.Kind == "incident.unacknowledged":
		out.Note, out.Withdrawn = "in PagerDuty", true
	default:
		return none, notify.ErrNoAcknowledgement
	}
	if out.Check() != nil { // of an incident that something else has begun
		return none, notify.ErrNoAcknowledgement
	}
	return out, nil
}

// signed reports whether one of the signatures in the header, "v1=" and hexadecimal, is the body's.
func signed(secrets []notify.Secret, header string, body []byte) bool {
	found := false
	for _, s := range secrets {
		mac := hmac.New(sha256.New, []byte(s.Reveal()))
		mac.Write(body)
		want := []byte("v1=" + hex.EncodeToString(mac.Sum(nil)))
		for given := range strings.SplitSeq(header, ",") {
			found = hmac.Equal(want, []byte(strings.TrimSpace(given))) || found
		}
	}
	return found
}
