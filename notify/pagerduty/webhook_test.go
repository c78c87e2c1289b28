package pagerduty_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/pagerduty"
	"github.com/berthage/berthage/pool"
)

const subscription = "canary-secret-of-a-subscription"

func signature(secret, body string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(body))
	return "v1=" + hex.EncodeToString(h.Sum(nil))
}

func hook(body string, signatures ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/pagerduty", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Webhook-Id", "b1")
	if len(signatures) > 0 {
		r.Header.Set("X-PagerDuty-Signature", strings.Join(signatures, ","))
	}
	return r
}

// happened is an event as PagerDuty documents it, shortened.
func happened(kind, agent, key string) string {
	event := map[string]any{
		"id": "01BZ", "event_type": kind, "resource_type": "incident", "occurred_at": "2026-05-01T12:06:00.000Z", "agent": nil, "client": nil,
		"data": map[string]any{"id": "PGR0VU2", "type": "incident", "number": 2, "status": "acknowledged", "incident_key": key, "title": "[FIRING:1] HighCPU"},
	}
	if agent != "" {
		event["agent"] = map[string]any{"id": "PLH1HKV", "type": agent, "summary": "Tenex\nEngineer\u202e", "html_url": "https://x.pagerduty.com/users/PLH1HKV"}
	}
	b, _ := json.Marshal(map[string]any{"event": event})
	return string(b)
}

func secrets() []notify.Secret {
	return []notify.Secret{notify.NewSecret("an older one"), notify.NewSecret(subscription)}
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	by := "Tenex Engineer\ufffd"
	for name, c := range map[string]struct {
		body string
		want notify.Acknowledgement
	}{
		"acknowledged": {happened("incident.acknowledged", "user_reference", "i-91ab07"), notify.Acknowledgement{Incident: "i-91ab07", By: by, Note: "in PagerDuty"}},
		"resolved":     {happened("incident.resolved", "user_reference", "i-91ab07"), notify.Acknowledgement{Incident: "i-91ab07", By: by, Note: "resolved in PagerDuty"}},
		"withdrawn": {happened("incident.unacknowledged", "user_reference", "i-91ab07"),
			notify.Acknowledgement{Incident: "i-91ab07", By: by, Note: "in PagerDuty", Withdrawn: true}},
		"ended by itself": {happened("incident.unacknowledged", "", "i-91ab07"),
			notify.Acknowledgement{Incident: "i-91ab07", By: "PagerDuty", Note: "in PagerDuty", Withdrawn: true}},
	} {
		for _, signatures := range [][]string{
			{signature(subscription, c.body)},
			{signature("an older one", c.body)},
			{"v1=00", signature(subscription, c.body)},
			{signature("another", c.body), " " + signature(subscription, c.body)},
		} {
			a, err := pagerduty.Webhook(secrets(), hook(c.body, signatures...))
			require.NoError(t, err, name)
			require.Equal(t, c.want, a, name)
		}
	}
}

func TestWebhooksThatAreNone(t *testing.T) {
	t.Parallel()
	good := happened("incident.acknowledged", "user_reference", "i-91ab07")
	right := signature(subscription, good)
	signed := func(body string) *http.Request { return hook(body, signature(subscription, body)) }
	twice := hook(good, right)
	twice.Header.Add("X-PagerDuty-Signature", right)
	for name, c := range map[string]struct {
		request *http.Request
		want    error
	}{
		"no signature":           {hook(good), notify.ErrForged},
		"an empty one":           {hook(good, ""), notify.ErrForged},
		"another's":              {hook(good, signature("another", good)), notify.ErrForged},
		"that of nothing":        {hook(good, signature("", good)), notify.ErrForged},
		"that of another body":   {hook(good, signature(subscription, good+" ")), notify.ErrForged},
		"half of it":             {hook(good, right[:20]), notify.ErrForged},
		"with something behind":  {hook(good, right+"00"), notify.ErrForged},
		"of another version":     {hook(good, "v2"+right[2:]), notify.ErrForged},
		"without a version":      {hook(good, right[3:]), notify.ErrForged},
		"in two headers":         {twice, notify.ErrForged},
		"of many":                {hook(good, append(strings.Split(strings.Repeat("v1=00 ", 1000), " "), right)...), notify.ErrForged},
		"too long":               {signed(good + strings.Repeat(" ", pagerduty.MaxWebhook)), pool.ErrInvalid},
		"no JSON":                {signed("{"), pool.ErrInvalid},
		"JSON of another kind":   {signed(`{"event":[]}`), pool.ErrInvalid},
		"an answer to a test":    {signed(`{"event":{"event_type":"pagey.ping","data":{"message":"Hello from your friend Pagey!","type":"ping"}}}`), notify.ErrNoAcknowledgement},
		"triggered":              {signed(happened("incident.triggered", "user_reference", "i-91ab07")), notify.ErrNoAcknowledgement},
		"acknowledged by us":     {signed(happened("incident.acknowledged", "inbound_integration_reference", "i-91ab07")), notify.ErrNoAcknowledgement},
		"resolved by us":         {signed(happened("incident.resolved", "service_reference", "i-91ab07")), notify.ErrNoAcknowledgement},
		"by nobody":              {signed(happened("incident.acknowledged", "", "i-91ab07")), notify.ErrNoAcknowledgement},
		"without a key":          {signed(happened("incident.acknowledged", "user_reference", "")), notify.ErrNoAcknowledgement},
		"another's incident":     {signed(happened("incident.acknowledged", "user_reference", "it is / not ours")), notify.ErrNoAcknowledgement},
		"of a strange incident":  {signed(happened("incident.acknowledged", "user_reference", strings.Repeat("x", 10_000))), notify.ErrNoAcknowledgement},
		"an incident of no text": {signed(strings.Replace(good, `"i-91ab07"`, "null", 1)), notify.ErrNoAcknowledgement},
	} {
		a, err := pagerduty.Webhook(secrets(), c.request)
		require.ErrorIs(t, err, c.want, name)
		require.Zero(t, a, name)
		require.NotContains(t, err.Error(), "canary", name)
	}
	for _, s := range [][]notify.Secret{nil, {{}}, {notify.NewSecret(subscription), {}}} { // with which everybody could sign
		_, err := pagerduty.Webhook(s, hook(good, signature("", good)))
		require.ErrorIs(t, err, pool.ErrInvalid, fmt.Sprint(len(s)))
	}
}

func FuzzWebhook(f *testing.F) {
	f.Add(happened("incident.acknowledged", "user_reference", "i-91ab07"), "v1=00")
	f.Add(happened("incident.unacknowledged", "", "i-91ab07"), "v1=00,v1=")
	f.Add(`{"event":{"event_type":"incident.resolved","agent":{"type":"user","summary":"\u0000"},"data":{"incident_key":"a:b"}}}`, ",,")
	f.Fuzz(func(t *testing.T, body, header string) {
		a, err := pagerduty.Webhook(secrets(), hook(body, signature(subscription, body)))
		if err == nil {
			require.NoError(t, a.Check())
			require.Equal(t, notify.Line(a.By+a.Note), a.By+a.Note)
			require.LessOrEqual(t, notify.Runes(a.By), 100)
		}
		if !strings.Contains(header, signature(subscription, body)) && !strings.Contains(header, signature("an older one", body)) && len(body) <= pagerduty.MaxWebhook {
			forged := hook(body)
			forged.Header["X-Pagerduty-Signature"] = []string{header}
			_, err = pagerduty.Webhook(secrets(), forged)
			require.ErrorIs(t, err, notify.ErrForged)
		}
	})
}
