package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/examples/berthd/receivers"
)

// hook is a program that takes webhooks.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	got    []object
	keys   []string
	signed bool
	status int
}

func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{status: http.StatusOK}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var body object
		_ = json.Unmarshal(b, &body)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.signed = r.Header.Get("webhook-signature") != ""; h.status == http.StatusOK {
			h.got = append(h.got, body)
		}
		h.keys = append(h.keys, r.Header.Get("webhook-id"))
		status := h.status
		if strings.HasSuffix(r.URL.Path, "/v2/enqueue") && status == http.StatusOK {
			status = http.StatusAccepted
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"ok": true, "ts": "1.2", "channel": "C0123456789"}`) // as Slack does; nobody else minds
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) answer(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = status
}

// told returns what has arrived.
func (h *hook) told() []object {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]object{}, h.got...)
}

// loopback lets receivers be on this machine.
func loopback(c *config.Config, _ *daemon.Options) {
	c.NotifyAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

const (
	receiversPath = "/api/v1/receivers"
	routesPath    = "/api/v1/routes"
	messagesPath  = "/api/v1/messages"
	signingSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// The API says what can be said of receivers, from the same table that checks it.
func TestReceiverTypes(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	items := r.get("/api/v1/receiver-types").want(http.StatusOK).items()
	require.Len(t, items, len(receivers.Types()))
	for n, typ := range receivers.Types() {
		require.Equal(t, typ.Name, items[n]["name"])
		fields := items[n]["fields"].([]any)
		require.Len(t, fields, len(typ.Fields))
		for k, f := range typ.Fields {
			one := fields[k].(object)
			require.Equal(t, f.Name, one["name"])
			require.Equal(t, f.Secret, one["secret"])
			require.Equal(t, string(f.Kind), one["kind"])
		}
	}
}

// A receiver is tried, saved, changed without its secrets being known, tested and removed. Its secrets are in no answer, no log and not
// in the clear in the data directory.
func TestReceivers(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	r := start(t, 1, loopback)
	url := h.URL + "/canary-4711"
	body := object{"type": "webhook", "secrets": object{"url": url, "signing": []any{signingSecret}}}

	try := r.post(receiversPath+"/test", body).want(http.StatusOK)
	require.Equal(t, true, try.at("delivered"))
	require.Len(t, h.told(), 1)
	require.Empty(t, r.get(receiversPath).items(), "nothing is saved by it")

	put := r.call(http.MethodPut, receiversPath+"/ops", body).want(http.StatusOK)
	require.Equal(t, []any{"signing", "url"}, put.at("secrets"))
	require.Equal(t, "unknown", put.at("health", "state"))
	require.NotEmpty(t, put.at("key"))
	head := r.commanded()
	require.Equal(t, put.body, r.call(http.MethodPut, receiversPath+"/ops", body).want(http.StatusOK).body)
	require.Equal(t, head, r.commanded(), "saving it twice changes nothing")

	only := r.call(http.MethodPut, receiversPath+"/ops", object{"type": "webhook", "firing_only": true}).want(http.StatusOK)
	require.Equal(t, true, only.at("firing_only"))
	require.Equal(t, []any{"signing", "url"}, only.at("secrets"), "what is not mentioned stays")
	require.Equal(t, true, r.post(receiversPath+"/ops/test", nil).want(http.StatusOK).at("delivered"))
	require.True(t, h.signed)
	require.Contains(t, h.told()[1]["commonAnnotations"].(object)["summary"], "test")
	require.Equal(t, true, r.post(receiversPath+"/test", object{"name": "ops", "type": "webhook"}).want(http.StatusOK).at("delivered"), "with the secrets that it has")

	unsigned := r.call(http.MethodPut, receiversPath+"/ops", object{"type": "webhook", "secrets": object{"signing": ""}}).want(http.StatusOK)
	require.Equal(t, []any{"url"}, unsigned.at("secrets"), "an empty one is removed")
	r.post(receiversPath+"/ops/test", nil).want(http.StatusOK)
	require.False(t, h.signed)

	for status, kind := range map[int]string{400: "permanent", 401: "broken", 503: "temporary"} {
		h.answer(status)
		out := r.post(receiversPath+"/ops/test", nil).want(http.StatusOK)
		require.Equal(t, false, out.at("delivered"))
		require.Equal(t, kind, out.at("kind"))
		require.NotContains(t, out.at("error"), "canary")
	}
	out := r.post(receiversPath+"/test", object{"type": "webhook", "secrets": object{"url": "http://[::1]:1/canary-4711"}}).want(http.StatusOK)
	require.Equal(t, "forbidden", out.at("kind"), "only what --notify-allow names")
	require.NotContains(t, out.at("error"), "canary")

	chat := r.call(http.MethodPut, receiversPath+"/chat", object{"type": "telegram", "settings": object{"chat": "@us"}, "secrets": object{"token": "1:canary-4711"}}).want(http.StatusOK)
	require.Equal(t, "@us", chat.at("settings", "chat"))
	moved := r.call(http.MethodPut, receiversPath+"/chat", object{"type": "telegram", "settings": object{"chat": "@us", "endpoint": h.URL}}).problem(422, "invalid-value")
	require.Equal(t, "secrets.token", moved["field"], "nobody has a secret sent to himself")
	require.Equal(t, "secrets.token", r.post(receiversPath+"/test", object{"name": "chat", "type": "telegram", "settings": object{"chat": "@us", "endpoint": h.URL}}).problem(422, "invalid-value")["field"])
	require.Len(t, r.get(receiversPath).want(http.StatusOK).items(), 2)

	r.call(http.MethodPut, receiversPath+"/bad", object{"type": "pigeon"}).problem(422, "invalid-value")
	p := r.call(http.MethodPut, receiversPath+"/bad", object{"type": "webhook", "settings": object{"url": url}}).problem(422, "invalid-value")
	require.Equal(t, "settings.url", p["field"])
	p = r.call(http.MethodPut, receiversPath+"/bad", object{"type": "webhook", "secrets": object{"url": "canary-4711"}}).problem(422, "invalid-value")
	require.Equal(t, "secrets.url", p["field"])
	require.NotContains(t, p, "value")
	r.call(http.MethodPut, receiversPath+"/bad", object{"type": "webhook", "secrets": object{"url": object{"canary-4711": 1}}}).problem(422, "schema-violation")
	r.call(http.MethodPut, receiversPath+"/not%20a%20name", body).problem(422, "invalid-value")
	r.get(receiversPath+"/none").problem(404, "not-found")
	r.post(receiversPath+"/none/test", nil).problem(404, "not-found")
	r.call(http.MethodDelete, receiversPath+"/none", nil).problem(404, "not-found")

	for _, a := range []*answer{put, only, chat, r.get(receiversPath), r.get(receiversPath + "/chat")} {
		require.NotContains(t, string(a.body), "canary-4711")
		require.NotContains(t, string(a.body), signingSecret[6:])
	}
	r.stop()
	require.NotContains(t, r.log.String(), "canary-4711")
	require.NoError(t, filepath.WalkDir(r.config.Data, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var b []byte
			b, err = os.ReadFile(name)
			require.NotContains(t, string(b), "canary-4711", name)
		}
		return err
	}))

	// The key opens them again; without it they are said to be sealed by another one, and are given anew.
	again := serve(t, r.config)
	require.Equal(t, true, again.get(receiversPath+"/ops").want(http.StatusOK).at("usable"))
	again.stop()
	require.NoError(t, os.Remove(filepath.Join(r.config.Data, "secrets-key")))
	other := serve(t, r.config)
	lost := other.get(receiversPath + "/ops").want(http.StatusOK)
	require.Equal(t, false, lost.at("usable"))
	require.Equal(t, "broken", lost.at("health", "state"))
	require.Contains(t, lost.at("health", "last_error"), lost.at("key"))
	require.Equal(t, "key", other.post(receiversPath+"/ops/test", nil).problem(409, "wrong-state")["field"])
	require.Equal(t, "secrets.url", other.call(http.MethodPut, receiversPath+"/ops", object{"type": "webhook"}).problem(409, "wrong-state")["field"])
	other.call(http.MethodPut, receiversPath+"/ops", object{"type": "webhook", "secrets": object{"url": url, "signing": "", "headers": ""}}).want(http.StatusOK)
	require.Equal(t, true, other.get(receiversPath+"/ops").at("usable"))
	other.call(http.MethodDelete, receiversPath+"/ops", nil).want(http.StatusNoContent)
	other.get(receiversPath+"/ops").problem(404, "not-found")
	sealed := other.sealed("ops")
	require.NotEmpty(t, sealed)
	for _, b := range sealed {
		require.Empty(t, b, "what was sealed has left the history")
	}
	for _, b := range other.sealed("chat") {
		require.NotEmpty(t, b)
	}
}

// sealed returns what the history has of a receiver's secrets.
func (r *rig) sealed(name string) (out [][]byte) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	head := r.head()
	for b, err := range r.d.Manager().Events(ctx, 0) {
		require.NoError(r.t, err)
		for _, e := range b.Events {
			if e.Subject == "receiver/"+name {
				out = append(out, e.Private)
			}
		}
		if b.Revision >= head {
			break
		}
	}
	return out
}

// Who is told of what is set, asked about and removed; what is wrong with it is named by its path.
func TestRoutes(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	r := start(t, 1, loopback)
	for _, name := range []string{"ops", "boss", "night"} {
		r.call(http.MethodPut, receiversPath+"/"+name, object{"type": "webhook", "secrets": object{"url": h.URL}}).want(http.StatusOK)
	}
	none := r.get(routesPath).want(http.StatusOK)
	require.Equal(t, true, none.at("configured"))
	tree := object{
		"root": object{"receivers": []any{"ops"}, "group_by": []any{"alertname"}, "wait": "1m", "routes": []any{
			object{"match": []any{object{"name": "severity", "op": "=~", "value": "critical|high"}}, "receivers": []any{"night"}, "group_by": []any{}, "continue": true,
				"escalation": []any{object{"after": "15m", "receivers": []any{"boss"}}}},
			object{"match": []any{object{"name": "team", "value": "shop"}}, "mute": []any{"always"}},
		}},
		"times": []any{object{"name": "always", "time_intervals": []any{object{"times": []any{object{"start_time": "00:00", "end_time": "24:00"}}}}}},
	}
	set := r.call(http.MethodPut, routesPath, tree).want(http.StatusOK)
	require.Equal(t, false, set.at("configured"))
	require.Equal(t, set.body, r.get(routesPath).want(http.StatusOK).body)
	require.Equal(t, []any{}, set.at("root", "routes").([]any)[0].(object)["group_by"], "empty is something else than absent")
	require.NotContains(t, set.at("root", "routes").([]any)[1], "group_by")

	ask := func(labels, routing object) []any {
		body := object{"labels": labels}
		if routing != nil {
			body["routing"] = routing
		}
		return r.post(routesPath+"/preview", body).want(http.StatusOK).at("targets").([]any)
	}
	both := ask(object{"alertname": "A", "severity": "high", "team": "shop"}, nil)
	require.Len(t, both, 2)
	require.Equal(t, []any{"night"}, both[0].(object)["receivers"])
	require.Equal(t, "15m", both[0].(object)["escalation"].([]any)[0].(object)["after"])
	require.Equal(t, "1m", both[0].(object)["wait"], "as the route above")
	require.Equal(t, "always", both[1].(object)["quiet_now"])
	require.Equal(t, []any{"ops"}, ask(object{"alertname": "A"}, nil)[0].(object)["receivers"])
	require.Equal(t, []any{"boss"}, ask(object{"alertname": "A"}, object{"root": object{"receivers": []any{"boss"}}})[0].(object)["receivers"], "a tree that is only asked about")

	r.call(http.MethodDelete, receiversPath+"/night", nil).problem(409, "in-use")
	for name, c := range map[string]struct {
		root  object
		kind  string
		field string
	}{
		"a receiver that is not": {object{"receivers": []any{"nobody"}}, "unknown-reference", "receiver"},
		"no expression":          {object{"routes": []any{object{}, object{"match": []any{object{"name": "a", "value": "b"}, object{"name": "a", "op": "=~", "value": "("}}}}}, "invalid-value", "root.routes[1].match[1]"},
		"no duration":            {object{"routes": []any{object{"wait": "soon"}}}, "invalid-value", "root.routes[0].wait"},
		"no time":                {object{"routes": []any{object{"escalation": []any{object{"after": "later", "receivers": []any{"ops"}}}}}}, "invalid-value", "root.routes[0].escalation[0].after"},
		"times that are not":     {object{"routes": []any{object{"mute": []any{"weekends"}}}}, "invalid-value", "routing.root.routes[0].mute[0]"},
		"matchers at the root":   {object{"match": []any{object{"name": "a", "value": "b"}}}, "invalid-value", "routing.root.match"},
		"a mistyped field":       {object{"recievers": []any{"ops"}}, "schema-violation", "body.root.recievers"},
	} {
		t.Run(name, func(t *testing.T) {
			p := r.in(t).call(http.MethodPut, routesPath, object{"root": c.root}).problem(422, c.kind)
			require.Equal(t, c.field, p["field"])
		})
	}
	require.Equal(t, set.body, r.get(routesPath).body, "what was refused has changed nothing")
	r.post(routesPath+"/preview", object{"labels": object{"": "a"}}).problem(422, "invalid-value")
	r.call(http.MethodDelete, routesPath, nil).want(http.StatusNoContent)
	require.Equal(t, true, r.get(routesPath).at("configured"))
	r.call(http.MethodDelete, receiversPath+"/night", nil).want(http.StatusNoContent)
}

// Who has seen a tree that another has changed since does not undo what the other has done: of many who say which one they have seen, one is done.
func TestRoutesThatWereChangedSince(t *testing.T) {
	t.Parallel()
	r := start(t, 1, loopback)
	r.call(http.MethodPut, receiversPath+"/ops", object{"type": "webhook", "secrets": object{"url": "http://127.0.0.1:1"}}).want(http.StatusOK)
	tree := func(wait int) object {
		return object{"root": object{"receivers": []any{"ops"}, "wait": fmt.Sprint(wait, "s")}}
	}
	tag := func() string { return r.get(routesPath).want(http.StatusOK).header.Get("ETag") }
	none := tag()
	require.Regexp(t, `^"[0-9a-f]{32}"$`, none)
	require.Equal(t, none, tag())
	require.Equal(t, http.StatusNotModified, r.call(http.MethodGet, routesPath, nil, "If-None-Match", none).status)

	first := r.call(http.MethodPut, routesPath, tree(1), "If-Match", none).want(http.StatusOK).header.Get("ETag")
	require.NotEqual(t, none, first)
	require.Equal(t, first, tag())
	for _, match := range []string{none, `"other"`, "W/" + first, strings.Trim(first, `"`), `"", ` + none} {
		r.call(http.MethodPut, routesPath, tree(2), "If-Match", match).problem(412, "changed")
		r.call(http.MethodDelete, routesPath, nil, "If-Match", match).problem(412, "changed")
	}
	require.Equal(t, first, tag())
	second := r.call(http.MethodPut, routesPath, tree(2), "If-Match", none+" , "+first).want(http.StatusOK).header.Get("ETag")
	require.Equal(t, first, r.call(http.MethodPut, routesPath, tree(1)).want(http.StatusOK).header.Get("ETag"), "who does not say what they have seen replaces what there is")
	require.Equal(t, second, r.call(http.MethodPut, routesPath, tree(2), "If-Match", "*").want(http.StatusOK).header.Get("ETag"))

	var done atomic.Int32
	var all sync.WaitGroup
	for n := range 8 {
		req := r.request(http.MethodPut, routesPath, tree(10+n), "If-Match", second)
		all.Go(func() {
			res, err := r.client.Do(req)
			if err != nil {
				return
			}
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				done.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, done.Load())
	r.call(http.MethodDelete, routesPath, nil, "If-Match", tag()).want(http.StatusNoContent)
	require.Equal(t, none, tag())
}

// An alert and an event arrive; a receiver that is down has messages waiting, and gets them when it is back; what it refuses for good is dead, is
// shown with the reason, and is sent again with the same key when somebody asks for it.
func TestMessages(t *testing.T) {
	t.Parallel()
	h, refuses := newHook(t), newHook(t)
	r := start(t, 2, watchful, loopback, func(c *config.Config, _ *daemon.Options) { c.PublicURL = "https://berthd.example/" })
	r.call(http.MethodPut, receiversPath+"/ops", object{"type": "webhook", "secrets": object{"url": h.URL}}).want(http.StatusOK)
	r.call(http.MethodPut, receiversPath+"/picky", object{"type": "webhook", "secrets": object{"url": refuses.URL}}).want(http.StatusOK)
	r.call(http.MethodPut, routesPath, object{"root": object{"receivers": []any{"ops"}, "wait": "0s", "interval": "1s", "group_by": []any{"alertname"}, "routes": []any{
		object{"match": []any{object{"name": "event", "value": "backup-failed"}}, "receivers": []any{"ops", "picky"}},
	}}}).want(http.StatusOK)

	r.firing("Busy")
	r.eventually(func() bool { return len(h.told()) > 0 })
	first := h.told()[0]
	require.Equal(t, "firing", first["status"])
	require.Equal(t, "https://berthd.example/alerts?find=Busy", first["externalURL"])
	var delivered []map[string]any
	r.eventually(func() bool {
		delivered = r.get(messagesPath + "?status=delivered").want(http.StatusOK).items()
		return len(delivered) == 1
	})
	require.Equal(t, "ops", delivered[0]["receiver"])
	require.Contains(t, delivered[0]["title"], "Busy")
	one := r.get(messagesPath + "/" + delivered[0]["key"].(string)).want(http.StatusOK)
	require.Equal(t, false, one.at("kept"))
	r.eventually(func() bool { return r.get(receiversPath+"/ops").at("health", "state") == "ok" })
	require.NotEmpty(t, r.get(receiversPath+"/ops").at("health", "last_delivered"))

	h.answer(http.StatusServiceUnavailable)
	refuses.answer(http.StatusBadRequest)
	event := object{"kind": "backup-failed", "severity": "high", "title": "The backup of shop-db <b>failed</b>", "text": "disk full", "labels": object{"vm": "shop-db"}}
	r.post("/api/v1/events", event).want(http.StatusAccepted)
	r.eventually(func() bool { return len(r.get(messagesPath+"?status=dead").want(http.StatusOK).items()) == 1 })
	dead := r.get(messagesPath + "?status=dead&receiver=picky").want(http.StatusOK).items()[0]
	require.Contains(t, dead["error"], "status 400")
	require.Equal(t, true, dead["kept"])
	require.EqualValues(t, 1, r.get(receiversPath+"/picky").at("dead"))
	key := dead["key"].(string)
	whole := r.get(messagesPath + "/" + key).want(http.StatusOK)
	require.Equal(t, "event", whole.at("kind"))
	require.Contains(t, whole.at("lines").([]any)[0], "shop-db")
	var waiting []map[string]any
	r.eventually(func() bool {
		waiting = r.get(messagesPath + "?status=waiting&receiver=ops").want(http.StatusOK).items()
		return len(waiting) == 1 && waiting[0]["attempts"].(float64) > 0
	})
	require.Contains(t, waiting[0]["error"], "status 503")
	require.NotEmpty(t, waiting[0]["next_try"])
	require.Equal(t, "failing", r.get(receiversPath+"/ops").at("health", "state"))
	metrics := string(r.get("/metrics").want(http.StatusOK).body)
	for _, line := range []string{
		`berthage_receiver_messages{receiver="ops",status="waiting"} 1`, `berthage_receiver_messages{receiver="picky",status="dead"} 1`, `berthage_receiver_failing{receiver="ops"} 1`,
	} {
		require.Contains(t, metrics, line+"\n")
	}
	r.post(messagesPath+"/"+waiting[0]["key"].(string)+"/resend", nil).want(http.StatusOK) // it is on its way anyway
	r.post(messagesPath+"/none/resend", nil).problem(404, "not-found")
	r.get(messagesPath+"/none").problem(404, "not-found")

	h.answer(http.StatusOK)
	refuses.answer(http.StatusOK)
	before := len(refuses.keys)
	r.post(messagesPath+"/"+key+"/resend", nil).want(http.StatusOK)
	r.eventually(func() bool {
		return len(refuses.told()) == 1 && len(r.get(messagesPath+"?status=waiting").items()) == 0
	})
	require.Equal(t, refuses.keys[0], refuses.keys[before], "the same key, so that it is known again")
	require.Empty(t, r.get(messagesPath+"?status=dead").items())
	attempts := r.get(messagesPath + "/attempts").want(http.StatusOK).items()
	require.GreaterOrEqual(t, len(attempts), 5)
	require.Len(t, r.get(messagesPath+"/attempts?key="+key).want(http.StatusOK).items(), 2)
	require.Equal(t, "delivered", attempts[0]["status"])

	r.post("/api/v1/events", object{"kind": "backup failed", "title": "x"}).problem(422, "invalid-value")
	r.post("/api/v1/events", object{"kind": "a"}).problem(422, "schema-violation")
	require.NotContains(t, strings.ToLower(r.log.String()), "panic")
}

// The daemon has it told, once, that its backups fail.
func TestAFailedBackupIsTold(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	dir := t.TempDir()
	recipients, backups := filepath.Join(dir, "recipients.txt"), filepath.Join(dir, "backups")
	require.NoError(t, os.WriteFile(recipients, []byte(recipient), 0o600))
	r := start(t, 1, watchful, loopback, func(c *config.Config, _ *daemon.Options) {
		c.BackupEvery, c.BackupRecipients, c.BackupDir = 1500*time.Millisecond, recipients, backups // their names have seconds
	})
	r.call(http.MethodPut, receiversPath+"/ops", object{"type": "webhook", "secrets": object{"url": h.URL}}).want(http.StatusOK)
	r.call(http.MethodPut, routesPath, object{"root": object{"routes": []any{object{"match": []any{object{"name": "event", "value": "backup-failed"}}, "receivers": []any{"ops"}, "wait": "0s"}}}}).want(http.StatusOK)
	require.NoError(t, os.RemoveAll(backups))
	r.eventually(func() bool { return len(h.told()) == 1 })
	require.Equal(t, "The backup of the ledger has failed", h.told()[0]["commonAnnotations"].(object)["summary"])
	require.Equal(t, "backup-failed", h.told()[0]["commonLabels"].(object)["alertname"])
	r.eventually(func() bool { return strings.Count(r.log.String(), "backup failed") > 2 })
	require.Len(t, h.told(), 1)
}

// A file has receivers, whose secrets stand elsewhere, and routes; they count while the ledger has none.
func TestReceiversOfAFile(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	dir := t.TempDir()
	file, secret := filepath.Join(dir, "alerts.yml"), filepath.Join(dir, "url")
	require.NoError(t, os.WriteFile(secret, []byte(h.URL+"/canary\n"), 0o600))
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	write(`
receivers:
  - {name: ops, type: webhook, secrets: {url_file: ` + secret + `}, firing_only: true}
  - {name: boss, type: webhook, secrets: {url_file: ` + secret + `}}
route:
  receivers: [ops]
  wait: 0s
  routes:
    - match: [{name: severity, value: critical}]
      receivers: [boss]
      mute: [nights]
times:
  - {name: nights, time_intervals: [{times: [{start_time: "00:00", end_time: "24:00"}]}]}
`)
	r := start(t, 1, watchful, loopback, func(c *config.Config, _ *daemon.Options) { c.AlertRules = file })
	items := r.get(receiversPath).want(http.StatusOK).items()
	require.Len(t, items, 2)
	require.Equal(t, true, items[1]["configured"])
	require.Equal(t, true, items[1]["firing_only"])
	require.Equal(t, true, r.get(routesPath).at("configured"))
	require.Equal(t, []any{"ops"}, r.get(routesPath).at("root", "receivers"))
	require.Equal(t, true, r.post(receiversPath+"/ops/test", nil).want(http.StatusOK).at("delivered"))
	r.firing("Busy")
	r.eventually(func() bool { return len(h.told()) == 2 })
	r.call(http.MethodDelete, receiversPath+"/ops", nil).problem(404, "not-found")

	r.call(http.MethodPut, routesPath, object{"root": object{"receivers": []any{"boss"}}}).want(http.StatusOK)
	require.Equal(t, false, r.get(routesPath).at("configured"))
	require.NotContains(t, r.log.String(), "canary")

	doc, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "watching.md"))
	require.NoError(t, err)
	_, example, _ := strings.Cut(string(doc), "### Whom to tell\n")
	_, example, _ = strings.Cut(example, "```text\n")
	example, _, _ = strings.Cut(example, "```")
	key := filepath.Join(dir, "key")
	require.NoError(t, os.WriteFile(key, []byte("0123456789abcdef0123456789abcdef\n"), 0o600))
	write(strings.NewReplacer("/etc/berthd/slack-token", key, `routing_key: "env:PAGERDUTY_KEY"`, "routing_key_file: "+key).Replace(example))
	shown := start(t, 1, func(c *config.Config, _ *daemon.Options) { c.AlertRules = file })
	require.Len(t, shown.get(receiversPath).items(), 2)
	require.Len(t, shown.get(routesPath).at("times"), 1)

	for wrong, want := range map[string]string{
		"receivers: [{name: ops, type: pigeon}]":                                                     "pigeon",
		"receivers: [{name: 'o p s', type: webhook}]":                                                "receivers[0]",
		"receivers: [{name: ops, type: webhook, secrets: {url: 'https://canary.example'}}]":          "secrets.url",
		"receivers: [{name: ops, type: webhook, secrets: {url_file: /nowhere/at/all}}]":              "/nowhere/at/all",
		"receivers: [{name: ops, type: webhook, settings: {url: 'https://canary.example'}}]":         "settings.url",
		"receivers: [{name: ops, type: webhook}]":                                                    "secrets.url",
		"receivers: [{name: ops, kind: webhook}]":                                                    "kind",
		"route: {receivers: [nobody]}":                                                               "nobody",
		"route: {recievers: [ops]}":                                                                  "recievers",
		"route: {routes: [{mute: [nights]}]}":                                                        "mute",
		"times: [{name: nights, time_intervals: [{times: [{start_time: '9', end_time: '17:00'}]}]}]": "times",
		"receivers: [{name: a, type: webhook, secrets: {url_file: " + secret + "}}, {name: a, type: webhook, secrets: {url_file: " + secret + "}}]": "twice",
	} {
		write(wrong)
		c := r.config
		c.Data = t.TempDir()
		_, err := daemon.Open(t.Context(), c, daemon.Options{Logger: slog.New(slog.DiscardHandler)})
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "canary")
	}
}
