package judge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"testing"
	"time"

	ours "github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/notifytest"
	ourhook "github.com/berthage/berthage/notify/webhook"
	amcommoncfg "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/notify/webhook"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/alertmanager/types"
	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

// What the two have each for itself, as the documentation of notify/webhook says.
var (
	oursOnly       = []string{"incident"}
	oursOfAlerts   = []string{"value", "acknowledged_by"}
	theirsOnly     = []string{"notification_reason", "routeLabels"} // newer than its documentation of version 4
	externalURL, _ = url.Parse("https://berth.example/alerts")
)

// Alertmanager's webhook and package notify/webhook send the same of the same alerts.
func TestPayload(t *testing.T) {
	got := make(chan []byte, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- body
	}))
	defer server.Close()
	tmpl, err := template.FromGlobs(nil)
	if err != nil {
		t.Fatal(err)
	}
	tmpl.ExternalURL = externalURL
	theirs, err := webhook.New(&webhook.WebhookConfig{URL: amcommoncfg.SecretTemplateURL(server.URL), HTTPConfig: &commoncfg.HTTPClientConfig{}}, tmpl, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	client := ours.NewClient(ours.ClientConfig{Guard: ours.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}})
	n, err := ourhook.New(ourhook.Config{URL: ours.NewSecret(server.URL), HTTP: client})
	if err != nil {
		t.Fatal(err)
	}
	messages, alerts := 0, 0
	for i, group := range groups() {
		m := message(i, group)
		ctx := notify.WithReceiverName(notify.WithGroupKey(context.Background(), m.GroupKey), m.Receiver)
		ctx = notify.WithGroupLabels(ctx, labelSet(m.GroupLabels))
		if _, err := theirs.Notify(ctx, group...); err != nil {
			t.Fatal(err)
		}
		want := <-got
		if err := n.Notify(context.Background(), m); err != nil {
			t.Fatal(err)
		}
		compare(t, want, <-got)
		messages, alerts = messages+1, alerts+len(group)
	}
	t.Logf("messages=%d alerts=%d", messages, alerts)
}

// groups returns alerts that fire, are resolved, and both; with and without annotations; with names and texts of every kind that Alertmanager takes.
func groups() [][]*types.Alert {
	at := time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.UTC)
	one := func(name, host string, resolved bool, annotations model.LabelSet) *types.Alert {
		a := &types.Alert{Alert: model.Alert{
			Labels: model.LabelSet{"alertname": model.LabelValue(name), "host": model.LabelValue(host), "severity": "critical"}, Annotations: annotations,
			StartsAt: at, GeneratorURL: "https://berth.example/vms/" + url.PathEscape(host),
		}}
		if resolved {
			a.EndsAt = at.Add(time.Minute)
		}
		return a
	}
	summary := model.LabelSet{"summary": "CPU above 80 %", "runbook": "https://berth.example/a?b=c&d=<e>"}
	out := [][]*types.Alert{
		{one("HighCPU", "a", false, summary)},
		{one("HighCPU", "a", true, summary)},
		{one("HighCPU", "a", false, nil), one("HighCPU", "b", false, summary), one("HighCPU", "c", true, nil)},
		{one("HighCPU", "a", true, summary), one("HighCPU", "b", true, summary)},
	}
	for _, h := range notifytest.Hostile() {
		if model.LabelValue(h).IsValid() && h != "" && len(h) < 10_000 {
			out = append(out, []*types.Alert{one("HighCPU", h, false, model.LabelSet{"summary": model.LabelValue(h)}), one("HighCPU", "b", true, nil)})
		}
	}
	return out
}

// message says the same as Alertmanager's context does.
func message(i int, group []*types.Alert) ours.Message {
	m := ours.Message{
		Key: fmt.Sprint("k-", i), Incident: fmt.Sprint("i-", i), Receiver: "ops", GroupKey: `{}:{alertname="HighCPU"}`, Link: externalURL.String(),
		GroupLabels: map[string]string{"alertname": "HighCPU"}, Labels: plain(group[0].Labels), Annotations: plain(group[0].Annotations),
	}
	for _, a := range group {
		common := func(all, of map[string]string) {
			maps.DeleteFunc(all, func(name, value string) bool { return of[name] != value })
		}
		common(m.Labels, plain(a.Labels))
		common(m.Annotations, plain(a.Annotations))
		alert := ours.Alert{
			Fingerprint: a.Fingerprint().String(), Labels: plain(a.Labels), Annotations: plain(a.Annotations), Starts: a.StartsAt, Ends: a.EndsAt, Link: a.GeneratorURL,
			Value: "93.5", By: "ada",
		}
		if a.Resolved() {
			m.Resolved = append(m.Resolved, alert)
		} else {
			m.Firing = append(m.Firing, alert)
		}
	}
	return m
}

func plain(s model.LabelSet) map[string]string {
	out := make(map[string]string)
	for name, value := range s {
		out[string(name)] = string(value)
	}
	return out
}

func labelSet(m map[string]string) model.LabelSet {
	out := make(model.LabelSet)
	for name, value := range m {
		out[model.LabelName(name)] = model.LabelValue(value)
	}
	return out
}

// compare finds the same in both, and takes ours into Alertmanager's own type, which has no room for more.
func compare(t *testing.T, theirs, ourBody []byte) {
	t.Helper()
	a, b := object(t, theirs), object(t, ourBody)
	for _, name := range theirsOnly {
		delete(a, name)
	}
	take(t, b, oursOnly)
	for _, each := range b["alerts"].([]any) {
		take(t, each.(map[string]any), oursOfAlerts)
	}
	want, _ := json.Marshal(a)
	got, _ := json.Marshal(b)
	if !bytes.Equal(want, got) {
		t.Fatalf("Alertmanager sends\n%s\nand we\n%s", want, got)
	}
	var m webhook.Message
	d := json.NewDecoder(bytes.NewReader(got))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(m)
	c := object(t, again)
	for _, name := range theirsOnly {
		delete(c, name)
	}
	if last, _ := json.Marshal(c); !bytes.Equal(got, last) {
		t.Fatalf("of\n%s\nAlertmanager's type makes\n%s", got, last)
	}
}

func object(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// take removes what is ours only, which has to be there.
func take(t *testing.T, o map[string]any, names []string) {
	t.Helper()
	for _, name := range names {
		if _, ok := o[name]; !ok {
			t.Fatalf("no %s in %q", name, slices.Sorted(maps.Keys(o)))
		}
		delete(o, name)
	}
}
