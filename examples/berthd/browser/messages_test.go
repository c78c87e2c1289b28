package browser_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/hypervisor/fake"
)

// choose chooses a value of a select.
func (b *browser) choose(selector, value string) {
	b.t.Helper()
	b.fill(selector, value)
	require.Equal(b.t, value, eval[string](b, fmt.Sprintf(`document.querySelector(%q).value`, selector)))
}

// Somebody adds a receiver by its form, tries it, sees its secret nowhere, says who is told, asks who would be, sees messages arrive
// and one die, and has that sent again: by keyboard.
func TestMessagesOnTheirPage(t *testing.T) {
	var status, told atomic.Int64
	status.Store(http.StatusOK)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if json.Valid(b) && status.Load() == http.StatusOK {
			told.Add(1)
		}
		switch at := int(status.Load()); {
		case strings.HasSuffix(r.URL.Path, "/enqueue") && at == http.StatusOK:
			w.WriteHeader(http.StatusAccepted)
		case strings.HasSuffix(r.URL.Path, "/sendMessage"):
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			w.WriteHeader(at)
			_, _ = io.WriteString(w, `{"ok": true, "ts": "1.2", "channel": "C0123456789"}`)
		}
	}))
	t.Cleanup(hook.Close)
	b := open(t, 1400, 1000)
	d := shaped(t, 2, func(*fake.Config) {}, func(c *config.Config) {
		c.Alerts, c.NotifyAllow = time.Second, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	b.visit(d.SignInLink())
	b.do(chromedp.Navigate(d.URL() + "/messages"))
	b.until(`document.body.dataset.loaded && document.querySelector("#receivers-add")?.offsetParent`)
	require.Contains(t, b.text("#receivers-list .empty"), "nobody")
	require.Contains(t, b.text("#routes-tree"), "nobody")

	// A form of every type: each field has a name, and what is secret is a password that nothing is filled into.
	b.press("#receivers-add")
	b.until(`document.querySelector("#confirm").open`)
	for _, typ := range eval[[]string](b, `[...document.querySelectorAll("#receiver--type option")].map((o) => o.value)`) {
		b.choose("#receiver--type", typ)
		require.Empty(t, eval[[]string](b, unnamed), typ)
		require.NotZero(t, eval[int](b, `document.querySelectorAll('#confirm input[type=password][autocomplete="new-password"]').length`), typ)
	}
	b.choose("#receiver--type", "webhook")
	b.fill("#receiver--name", "ops")
	b.fill("#receiver-url", "canary")
	b.press("#receiver--test")
	b.until(`document.querySelector("#toasts").textContent.includes("secrets.url")`)
	b.fill("#receiver-url", hook.URL+"/canary-4711")
	b.press("#receiver--test")
	b.until(`document.querySelector('#confirm .tried[data-arrived=true]')`)
	require.EqualValues(t, 1, told.Load())
	status.Store(http.StatusUnauthorized)
	b.press("#receiver--test")
	b.until(`document.querySelector('#confirm .tried[data-arrived=false]')`)
	require.Contains(t, b.text("#confirm .tried"), "credential is wrong")
	status.Store(http.StatusOK)
	b.press("#receiver-headers-more")
	b.fill("#receiver-headers", "X-One: canary-4711")
	b.fill("#receiver-headers-2", "X-Two: canary-4711")
	b.press("#confirm-yes")
	const row = `#receivers-list li[data-name="ops"]`
	b.until(fmt.Sprintf(`document.querySelector('%s')`, row))
	require.NotContains(t, eval[string](b, "document.documentElement.outerHTML"), "canary-4711")

	// It is changed without its secret; what is not mentioned stays.
	b.press(row + " [data-verb=change]")
	b.until(`document.querySelector("#confirm").open`)
	require.Empty(t, eval[string](b, `document.querySelector("#receiver-url").value`))
	require.Equal(t, "as it is", eval[string](b, `document.querySelector("#receiver-url").placeholder`))
	b.do(chromedp.Evaluate[chromedp.Void](`void document.querySelector("#receiver-headers-none").click()`))
	b.press("#confirm-yes")
	b.until(`!document.querySelector("#confirm").open`)
	b.press(row + " [data-verb=test]")
	b.until(`document.querySelector('#confirm .tried[data-arrived=true]')`)
	b.press("#confirm-yes")

	// Who is told.
	b.press("#routes-change")
	b.until(`document.querySelector("#confirm").open`)
	b.fill("#routes-body", `{"root": `)
	b.press("#confirm-yes")
	b.until(`document.querySelector("#confirm .problem")?.textContent.includes("Not JSON")`)
	b.fill("#routes-body", `{"root": {"receivers": ["ops"], "routes": [{"match": [{"name": "host", "op": "=~", "value": "("}]}]}}`)
	b.press("#confirm-yes")
	b.until(`document.querySelector("#confirm .problem")?.textContent.includes("root.routes[0].match[0]")`)
	b.fill("#routes-body", `{"root": {"receivers": ["ops"], "wait": "0s", "interval": "1s", "routes": [
		{"match": [{"name": "event", "op": "=~", "value": ".+"}], "repeat": "2h"}, {"match": [{"name": "team", "value": "<b>shop</b>"}], "mute": ["nights"], "continue": true}]},
		"times": [{"name": "nights", "time_intervals": [{"times": [{"start_time": "22:00", "end_time": "24:00"}], "weekdays": ["monday:friday"]}]}]}`)
	b.press("#confirm-yes")
	b.until(`document.querySelectorAll("#routes-tree .routes .routes li").length === 2`)
	tree := b.text("#routes-tree")
	for _, said := range []string{"everything", "ops", "event=~.+", "team=<b>shop</b>", "not during nights", "again after 2h", "nights: monday:friday 22:00–24:00"} {
		require.Contains(t, tree, said)
	}
	b.fill("#preview-labels", "alertname=HighCPU\nteam=<b>shop</b>")
	b.press("#preview-ask")
	b.until(`document.querySelector("#preview-answer li")?.textContent.includes("not during nights")`)

	// Messages: one arrives, one dies and is sent again.
	announce := func(title string) {
		require.NoError(t, d.Manager().As("test", "").Messages().Announce(t.Context(), berthage.Event{Kind: "backup-failed", Title: title}))
	}
	announce("The backup <i>failed</i>")
	b.until(`document.querySelector('#messages-list li[data-status="delivered"] b')?.textContent.includes("The backup <i>failed</i>")`)
	b.until(fmt.Sprintf(`document.querySelector('%s[data-state="ok"]')`, row))
	status.Store(http.StatusBadRequest)
	announce("The second backup failed")
	b.until(`document.querySelector('#messages-list li[data-status="dead"] [data-verb=resend]')`)
	require.Contains(t, b.text(`#messages-list li[data-status="dead"] .trouble`), "status 400")
	b.until(fmt.Sprintf(`document.querySelector('%s').textContent.includes("1 dead")`, row))
	b.press(`#messages-list li[data-status="dead"] [data-verb=show]`)
	b.until(`document.querySelector("#confirm").open && document.querySelector("#confirm .lines")?.textContent.includes("The second backup failed") && document.querySelector("#confirm li")?.textContent.includes("status 400")`)
	b.press("#confirm-yes")
	require.Empty(t, eval[[]string](b, unnamed), "everything that can be pressed or filled in has a name")
	status.Store(http.StatusOK)
	before := told.Load()
	b.press(`#messages-list li[data-status="dead"] [data-verb=resend]`)
	b.until(`document.querySelectorAll('#messages-list li[data-status="delivered"]').length === 2`)
	require.Equal(t, before+1, told.Load())
	b.choose("#messages-status", "dead")
	b.until(`document.querySelector("#messages-list .empty")`)
	b.choose("#messages-status", "")
	b.fill("#messages-find", "second")
	b.until(`document.querySelectorAll("#messages-list li").length === 1`)

	// A receiver that is told cannot go; without routes it can.
	b.press(row + " [data-verb=remove]")
	b.until(`document.querySelector("#confirm").open`)
	b.press("#confirm-yes")
	b.until(`document.querySelector("#toasts").textContent.includes("In use")`)
	b.press("#routes-remove")
	b.until(`document.querySelector("#confirm").open && document.querySelector("#confirm-title").textContent.includes("routes")`)
	b.press("#confirm-yes")
	b.until(`document.querySelector("#routes-remove").hidden`)
	b.press(row + " [data-verb=remove]")
	b.until(`document.querySelector("#confirm").open && document.querySelector("#confirm-title").textContent.includes("receiver")`)
	b.press("#confirm-yes")
	b.until(`document.querySelector("#receivers-list .empty")`)
	require.Empty(t, eval[[]string](b, unnamed))
	b.do(chromedp.EmulateViewport(390, 800))
	require.LessOrEqual(t, eval[int](b, "document.documentElement.scrollWidth"), 390)
	require.False(t, strings.Contains(eval[string](b, "document.documentElement.outerHTML"), "canary-4711"))
	b.clean("status of 422", "status of 409")
	b.picture(d, hook.URL, os.Getenv("BERTHD_SCREENSHOT_MESSAGES"))
}

// picture takes a picture of the page with some receivers, routes and messages on it.
func (b *browser) picture(d *daemon.Daemon, service, file string) {
	if file == "" {
		return
	}
	b.t.Helper()
	put := func(path, body string) {
		r, err := http.NewRequest(http.MethodPut, d.URL()+"/api/v1"+path, strings.NewReader(strings.ReplaceAll(body, "SERVICE", service)))
		require.NoError(b.t, err)
		r.Header.Set("Authorization", "Bearer "+d.Token())
		r.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(r)
		require.NoError(b.t, err)
		defer res.Body.Close()
		require.Equal(b.t, http.StatusOK, res.StatusCode, path)
	}
	put("/receivers/ops", `{"type": "slack", "settings": {"channel": "C0123456789", "endpoint": "SERVICE"}, "secrets": {"token": "xoxb-1"}}`)
	put("/receivers/on-call", `{"type": "pagerduty", "settings": {"endpoint": "SERVICE"}, "secrets": {"routing_key": "0123456789abcdef0123456789abcdef"}}`)
	put("/receivers/backups", `{"type": "telegram", "settings": {"chat": "@backups", "endpoint": "SERVICE"}, "secrets": {"token": "1:a"}}`)
	put("/receivers/tickets", `{"type": "webhook", "secrets": {"url": "SERVICE/tickets"}, "firing_only": true}`)
	put("/routes", `{"root": {"receivers": ["ops"], "group_by": ["alertname"], "wait": "0s", "routes": [
		{"match": [{"name": "event", "value": "backup-late"}], "receivers": ["backups", "tickets"]},
		{"match": [{"name": "severity", "value": "critical"}], "receivers": ["on-call"], "escalation": [{"after": "30m", "receivers": ["ops"]}], "repeat": "1h"},
		{"match": [{"name": "severity", "value": "low"}], "mute": ["nights"], "routes": [{"match": [{"name": "project", "op": "=~", "value": "shop|stock"}], "receivers": ["tickets"]}]}]},
		"times": [{"name": "nights", "time_intervals": [{"times": [{"start_time": "22:00", "end_time": "24:00"}, {"start_time": "00:00", "end_time": "06:00"}]}]}]}`)
	put("/alert-rules/HostIsThere", `{"measure": {"metric": "up", "matchers": [{"name": "host", "op": "=~", "value": ".+"}]}, "test": {"is": ">", "value": 0}, "severity": "critical"}`)
	put("/alert-rules/HighCPU", `{"measure": {"metric": "up", "matchers": [{"name": "host", "op": "=~", "value": ".+"}]}, "test": {"is": ">", "value": 0}, "severity": "high"}`)
	require.NoError(b.t, d.Manager().As("test", "").Messages().Announce(b.t.Context(), berthage.Event{Kind: "backup-late", Title: "The backup of shop-db is late", Text: "no space left on the device"}))
	b.do(chromedp.EmulateViewport(1400, 1000), chromedp.Reload())
	b.until(`document.querySelectorAll('#messages-list li').length >= 6 && document.querySelector('#receivers-list li[data-name="backups"][data-state="failing"]') && document.querySelector('#receivers-list li[data-name="on-call"][data-state="ok"]')`)
	b.fill("#preview-labels", "alertname=HighCPU\nseverity=critical\nhost=sim/node-0001")
	b.press("#preview-ask")
	b.until(`document.querySelector("#preview-answer li")`)
	b.screenshot(file)
}
