package daemon_test

import (
	"bufio"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/examples/berthd/ledger"
	"github.com/berthage/berthage/pool"
)

const auditPath = "/api/v1/audit"

// What a command changes is in the ledger with a word on who asked for it from where; what it refuses is counted; and nothing else is
// written down.
func TestCommandsAreWrittenDown(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	project := object{"quota": object{"cpu": 2000}}
	r.call(http.MethodPut, "/api/v1/projects/shop", project, "X-Request-Id", "order-1").want(http.StatusOK)
	about := r.get(auditPath + "?correlation=order-1").want(http.StatusOK).items()
	require.Len(t, about, 2)
	require.Equal(t, "audit.command", about[0]["kind"])
	require.Equal(t, "project.put", about[1]["kind"])
	require.Equal(t, about[1]["actor"], about[0]["actor"])
	require.Equal(t, "put-project", about[0]["action"])
	require.Equal(t, "projects/shop", about[0]["target"])
	require.Equal(t, "127.0.0.1", about[0]["from"])
	require.Equal(t, "done", about[0]["result"])
	require.Regexp(t, "^update projects by binding ", about[0]["decision"])
	var at [2]audit.Position
	for n := range at {
		var err error
		at[n], err = audit.ParsePosition(about[n]["event"].(string))
		require.NoError(t, err)
	}
	require.Equal(t, audit.Position{Revision: at[1].Revision, Index: at[1].Index + 1}, at[0], "in one batch")
	require.NotContains(t, about[1], "from", "the command has it")

	commands := func() int { return len(r.get(auditPath + "?limit=1000&kind=audit").want(http.StatusOK).items()) }
	before := commands()
	r.call(http.MethodPut, "/api/v1/projects/shop", project).want(http.StatusOK)
	r.post("/api/v1/explain", vm("x")).want(http.StatusOK)
	r.get("/api/v1/projects").want(http.StatusOK)
	require.Equal(t, before, commands(), "what changes nothing is no entry")
	r.post("/api/v1/links", nil).want(http.StatusCreated)
	require.Equal(t, before+1, commands(), "but a link lets somebody in")

	body := vm("large")
	body["project"] = "shop"
	body["spec"].(object)["resources"] = object{"cpu": 4000, "memory": 1 << 30}
	for range 3 {
		r.post("/api/v1/instances", body).problem(403, "over-quota")
	}
	r.call(http.MethodDelete, "/api/v1/projects/nope", nil).problem(404, "not-found")
	r.get("/api/v1/projects/nope").problem(404, "not-found")
	r.stop()
	again := serve(t, r.config)
	var count float64
	for _, e := range again.get(auditPath + "?kind=audit.refusals").want(http.StatusOK).items() { // of two minutes, if one has ended meanwhile
		count += e["count"].(float64)
		require.Equal(t, "refused", e["result"])
		require.Equal(t, about[0]["actor"], e["actor"])
	}
	require.InDelta(t, 4, count, 0, "questions are not counted")
	first := again.get(auditPath + "?kind=audit.refusals").items()
	require.Equal(t, "launch-instance", first[len(first)-1]["action"])
	require.Equal(t, "over-quota", first[len(first)-1]["decision"])
}

// By pages there is the same as at once, the newest first.
func TestTheAuditLogByPages(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	for _, name := range []string{"a", "b", "c"} {
		r.call(http.MethodPut, "/api/v1/projects/"+name, object{"quota": object{}}).want(http.StatusOK)
	}
	for _, filter := range []string{"", "&kind=project", "&kind=audit.command", "&actor=nobody"} {
		whole := r.get(auditPath + "?limit=1000" + filter).want(http.StatusOK)
		require.Nil(t, whole.at("next"))
		head := int64(whole.at("revision").(float64))
		parts := []map[string]any{}
		for cursor := ""; ; {
			page := r.get(auditPath + "?limit=2" + filter + "&cursor=" + cursor).want(http.StatusOK)
			parts = append(parts, page.items()...)
			next, more := page.at("next").(string)
			if !more {
				break
			}
			cursor = next
		}
		at := func(e map[string]any) audit.Position {
			p, err := audit.ParsePosition(e["event"].(string))
			require.NoError(t, err)
			return p
		}
		for len(parts) > 0 && int64(at(parts[0]).Revision) > head { // came since
			parts = parts[1:]
		}
		require.Equal(t, whole.items(), parts, filter)
		for n := 1; n < len(parts); n++ {
			p, q := at(parts[n-1]), at(parts[n])
			require.True(t, q.Revision < p.Revision || q.Revision == p.Revision && q.Index < p.Index, "%s before %s", p, q)
		}
	}
	require.Len(t, r.get(auditPath+"?kind=project.put&actor="+r.actor()).items(), 3)
	require.Empty(t, r.get(auditPath+"?kind=proj").items(), "no kind begins in the middle of a word")
	require.Empty(t, r.get(auditPath+"?to=2001-01-01T00:00:00Z").items())
	require.NotEmpty(t, r.get(auditPath+"?from=2001-01-01T00:00:00Z").items())
	require.Empty(t, r.get(auditPath+"?from=2999-01-01T00:00:00Z").items())
	r.get(auditPath+"?cursor=!").problem(422, "invalid-value")
}

// actor is who the token's bearer is in events.
func (r *rig) actor() string {
	r.t.Helper()
	actor, _ := r.get("/api/v1/session").want(http.StatusOK).at("actor").(string)
	return actor
}

// keyFile makes a key that signs heads.
func keyFile(t *testing.T) (string, ed25519.PublicKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "audit.pem")
	require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return name, public
}

// What the daemon signs and proves holds for whoever has its public key.
func TestTheDaemonProvesItsEvents(t *testing.T) {
	t.Parallel()
	name, public := keyFile(t)
	r := start(t, 1, func(c *config.Config, _ *daemon.Options) { c.AuditKeys = []string{name} })
	key := audit.Key{Ledger: r.d.Manager().Status().Ledger, Public: public}
	open := func(a *answer) audit.Head {
		note, _ := a.want(http.StatusOK).at("note").(string)
		h, err := audit.Open([]byte(note), key)
		require.NoError(t, err)
		require.Equal(t, hex.EncodeToString(h.Root[:]), a.at("root"))
		require.InDelta(t, h.Size, a.at("size"), 0)
		require.Equal(t, []any{key.String()}, a.at("keys"))
		return h
	}
	old := open(r.get(auditPath + "/head"))
	r.call(http.MethodPut, "/api/v1/projects/shop", object{"quota": object{}}, "X-Request-Id", "order-1").want(http.StatusOK)
	a := r.get(auditPath + "/head?old_size=" + strconv.FormatInt(old.Size, 10))
	now := open(a)
	require.Greater(t, now.Size, old.Size)
	var proof [][32]byte
	for _, p := range a.at("consistency").([]any) {
		b, err := hex.DecodeString(p.(string))
		require.NoError(t, err)
		proof = append(proof, [32]byte(b))
	}
	require.NoError(t, now.Follows(old, proof))

	for _, e := range r.get(auditPath + "?correlation=order-1").items() {
		var v audit.Evidence
		body := r.get(auditPath + "/proof/" + e["event"].(string)).want(http.StatusOK).body
		require.NotContains(t, string(body), "127.0.0.1", "the address stays in the ledger")
		require.NoError(t, v.UnmarshalJSON(body))
		_, err := v.Verify(key)
		require.NoError(t, err)
		require.Equal(t, e["id"], v.Event.ID)
	}
	r.get(auditPath+"/proof/1000000").problem(404, "not-found")
	r.get(auditPath+"/proof/x").problem(422, "schema-violation")
	r.get(auditPath+"/head?old_size=1000000").problem(422, "invalid-value")

	bare := start(t, 1)
	require.NotContains(t, bare.get(auditPath+"/head").want(http.StatusOK).object(), "note")
	bare.get(auditPath+"/proof/1.0").problem(409, "wrong-state")
}

// collector takes an audit log, at an address.
func collector(t *testing.T) (lines chan audit.Entry, address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	lines = make(chan audit.Entry, 100_000)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				for s := bufio.NewScanner(conn); s.Scan(); {
					var e audit.Entry
					if json.Unmarshal(s.Bytes(), &e) == nil {
						lines <- e
					}
				}
			}()
		}
	}()
	return lines, "tcp://" + l.Addr().String()
}

// What is done is told to a collector, and after a restart what it has not been told yet.
func TestTheAuditLogIsForwarded(t *testing.T) {
	t.Parallel()
	lines, address := collector(t)
	r := start(t, 1, func(c *config.Config, _ *daemon.Options) { c.AuditForward = address })
	until := func(correlation string) {
		t.Helper()
		r.eventually(func() bool {
			for {
				select {
				case e := <-lines:
					if e.Action == "put-project" && e.Correlation == correlation {
						require.Equal(t, "127.0.0.1", e.From)
						return true
					}
				default:
					return false
				}
			}
		})
	}
	r.call(http.MethodPut, "/api/v1/projects/shop", object{"quota": object{}}, "X-Request-Id", "order-1").want(http.StatusOK)
	until("order-1")
	r.stop()
	again := serve(t, r.config)
	again.call(http.MethodPut, "/api/v1/projects/shop", object{"quota": object{"cpu": 1}}, "X-Request-Id", "order-2").want(http.StatusOK)
	until("order-2")

	c := config.Default()
	c.Simulate, c.Data, c.AuditForward = 1, t.TempDir(), "http://127.0.0.1"
	_, err := daemon.Open(t.Context(), c, daemon.Options{})
	require.ErrorContains(t, err, "audit-forward")
	c.AuditForward, c.AuditKeys = "", []string{filepath.Join(c.Data, "nope")}
	_, err = daemon.Open(t.Context(), c, daemon.Options{})
	require.ErrorContains(t, err, "audit-key")
}

// metric returns the value of a metric without labels.
func (r *rig) metric(name string) string {
	r.t.Helper()
	res, err := r.client.Do(r.request(http.MethodGet, "/metrics", nil))
	require.NoError(r.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// The daemon signs heads by itself, keeps them, and tells them to the collector after what they are of. Of a ledger that contradicts one it signs none, and
// says so.
func TestTheDaemonSignsHeadsByItself(t *testing.T) {
	t.Parallel()
	name, public := keyFile(t)
	lines, address := collector(t)
	r := start(t, 1, watchful, loopback, func(c *config.Config, _ *daemon.Options) {
		c.AuditKeys, c.AuditEvery, c.AuditForward = []string{name}, time.Second, address
	})
	key := audit.Key{Ledger: r.d.Manager().Status().Ledger, Public: public}
	file := filepath.Join(r.config.Data, daemon.AuditHeadsFile)
	kept := func() (all []audit.Head) {
		b, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			return nil
		}
		require.NoError(t, err)
		for _, note := range audit.Notes(b) {
			h, err := audit.Open(note, key)
			require.NoError(t, err)
			all = append(all, h)
		}
		return all
	}
	r.eventually(func() bool { return len(kept()) > 0 })
	told := newHook(t)
	r.call(http.MethodPut, receiversPath+"/ops", object{"type": "webhook", "secrets": object{"url": told.URL}}).want(http.StatusOK)
	r.call(http.MethodPut, routesPath, object{"root": object{"routes": []any{object{"match": []any{object{"name": "event", "value": "audit-head-failed"}}, "receivers": []any{"ops"}, "wait": "0s"}}}}).want(http.StatusOK)
	asked := r.get(auditPath + "/head").want(http.StatusOK)
	var last audit.Head
	r.eventually(func() bool {
		last = kept()[len(kept())-1]
		return float64(last.Revision) >= asked.at("revision").(float64)
	})
	var seen pool.Revision // of the events
	r.eventually(func() bool {
		for {
			select {
			case e := <-lines:
				switch {
				case e.Action == audit.ActionHead:
					h, err := audit.Open([]byte(e.Head), key)
					require.NoError(t, err)
					require.LessOrEqual(t, h.Revision, seen, "it comes after what it is of")
					if h.Revision >= last.Revision {
						return true
					}
				case e.Event != nil:
					seen = e.Event.Revision
				}
			default:
				return false
			}
		}
	})
	require.Equal(t, "0", r.metric("berthd_audit_head_contradicted"))
	require.Equal(t, "1", r.metric("berthd_audit_head_interval_seconds"))
	require.NotEqual(t, "0", r.metric("berthd_audit_head_timestamp_seconds"))
	r.stop()

	// As if what was appended last had been taken out of the ledger.
	private, err := ledger.PrivateKeys([]string{name})
	require.NoError(t, err)
	all := kept()
	further := all[len(all)-1]
	further.Size, further.Revision = further.Size+10_000, further.Revision+10_000
	note, err := audit.Sign(further, private...)
	require.NoError(t, err)
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, append(before, note...), 0o600))
	again := serve(t, r.config)
	again.eventually(func() bool { return again.metric("berthd_audit_head_contradicted") == "1" })
	require.NotEqual(t, "0", again.metric("berthd_audit_head_failures_total"))
	again.eventually(func() bool { return len(told.told()) > 0 })
	require.Equal(t, "critical", told.told()[0]["commonLabels"].(object)["severity"])
	require.Contains(t, again.log.String(), "is not the one of which a head was signed")
	again.get(auditPath+"/head").problem(500, "internal")
	again.get(auditPath+"/proof/1.0").problem(500, "internal")
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(before)+string(note), string(after))
	again.stop()

	c := r.config
	other, _ := keyFile(t)
	c.AuditKeys = []string{other}
	_, err = daemon.Open(t.Context(), c, daemon.Options{})
	require.ErrorContains(t, err, "audit-heads")
	c.AuditEvery = 0
	off := serve(t, c)
	off.get(auditPath + "/head").want(http.StatusOK)
	require.Empty(t, off.metric("berthd_audit_head_timestamp_seconds"))
}
