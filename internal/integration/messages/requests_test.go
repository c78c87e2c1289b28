package messages_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/jira"
	"github.com/berthage/berthage/notify/notifytest"
	"github.com/berthage/berthage/notify/pagerduty"
	"github.com/berthage/berthage/notify/twilio"
)

const (
	routingKey    = "0123456789abcdef0123456789abcdef"
	twilioAccount = "AC0123456789abcdef0123456789abcdef"
)

// kind is a message of one kind.
type kind struct {
	name string
	m    notify.Message
}

// kinds returns all that there is to say: the life of an incident, an event, many alerts, texts that are too long for every channel, and hostile
// texts in every field.
func kinds() []kind {
	acknowledged := notifytest.Update()
	for i := range acknowledged.Firing {
		acknowledged.Firing[i].By = "ada"
	}
	many := notifytest.Firing()
	many.Key, many.Incident, many.FiringMore = "k-many", "i-many", 399
	for i := range 600 {
		a := many.Firing[0]
		a.Labels = map[string]string{"vm": fmt.Sprint("web-", i)}
		a.Annotations = map[string]string{"summary": fmt.Sprintf("CPU of web-%d above 80 %%", i)}
		many.Firing = append(many.Firing, a)
	}
	over := many
	over.Key, over.First, over.Resolved, over.ResolvedMore = "k-many-over", false, many.Firing, 399
	over.Firing, over.FiringMore = nil, 0
	out := []kind{
		{"first", notifytest.Firing()}, {"update", notifytest.Update()}, {"acknowledged", acknowledged}, {"resolved", notifytest.Resolved()},
		{"again", notifytest.Firing()}, {"event", notifytest.Event()}, {"many", many}, {"many resolved", over},
	}
	long := strings.Repeat("語𝔘x ", 150_000) // 1.5 MB, with characters of one, two and four bytes and of one and two UTF-16 units
	for i, m := range notifytest.HostileMessages(long) {
		m.Key, m.Incident = fmt.Sprint("k-long-", i), fmt.Sprint("i-long-", i)
		out = append(out, kind{fmt.Sprintf("longest, in field %d", i), m})
	}
	for _, h := range notifytest.Hostile() {
		for i, m := range notifytest.HostileMessages(h) {
			out = append(out, kind{fmt.Sprintf("%.40q in field %d", h, i), m})
		}
	}
	return out
}

func client() *notify.Client {
	return notify.NewClient(notify.ClientConfig{Guard: notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}})
}

// bench is a service before which judges sit.
type bench struct {
	table   func(method, path string, header http.Header, body []byte) error
	prism   *mock // nil: there is none
	paths   func(string) string
	service http.Handler

	mu       sync.Mutex
	requests int
	faults   []error
}

func (b *bench) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	table, prism := b.judge(r.Method, r.URL.RequestURI(), r.Header, body)
	b.mu.Lock()
	b.requests++
	for name, fault := range map[string]error{"reading": err, "table": table, "prism": prism} {
		if fault != nil {
			b.faults = append(b.faults, fmt.Errorf("%s has against %s %s %.300s: %w", name, r.Method, r.URL, body, fault))
		}
	}
	b.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	b.service.ServeHTTP(w, r)
}

func (b *bench) judge(method, path string, header http.Header, body []byte) (table, prism error) {
	if b.prism != nil {
		prism = b.prism.judge(method, b.paths(path), header, body)
	}
	return b.table(method, path, header, body), prism
}

func (b *bench) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.requests
}

// broken is a request that a judge has to refuse.
type broken struct {
	name, method, path string
	header             http.Header
	body               string
	prism              bool // prism knows it too; else only the table does
}

// court is a service, its judges and what they are given.
type court struct {
	file, flags string // of prism
	bench       *bench
	make        func(url string) (notify.Notifier, error)
	broken      []broken
}

func TestRequests(t *testing.T) {
	t.Parallel()
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {"Basic " + "QUMwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjp0b2tlbg=="}}
	courts := map[string]court{
		"pagerduty": {
			file: "pagerduty-events-v2.openapi.json", flags: "--errors", broken: brokenEvents(),
			bench: &bench{table: pagerDutyTable, service: answers(http.StatusAccepted, `{"status":"success"}`), paths: func(p string) string { return strings.TrimPrefix(p, "/v2") }},
			make: func(url string) (notify.Notifier, error) {
				return pagerduty.New(pagerduty.Config{RoutingKey: notify.NewSecret(routingKey), Endpoint: url, HTTP: client()})
			},
		},
		"twilio": {
			file: "twilio-messages-create.openapi.json", flags: "--errors", broken: brokenForms(form),
			bench: &bench{table: twilioTable, service: answers(http.StatusCreated, `{"status":"queued"}`), paths: same},
			make: func(url string) (notify.Notifier, error) {
				return twilio.New(twilio.Config{
					Account: twilioAccount, Secret: notify.NewSecret("token"), From: "+15005550006", To: "+15551230000", Most: twilio.MaxBody, Endpoint: url, HTTP: client(),
				})
			},
		},
		"twilio, by a messaging service": {
			file: "twilio-messages-create.openapi.json", flags: "--errors",
			bench: &bench{table: twilioTable, service: answers(http.StatusCreated, `{"status":"queued"}`), paths: same},
			make: func(url string) (notify.Notifier, error) {
				return twilio.New(twilio.Config{
					Account: twilioAccount, Secret: notify.NewSecret("token"), From: "MG0123456789abcdef0123456789abcdef", To: "+15551230000", Endpoint: url, HTTP: client(),
				})
			},
		},
	}
	// The file is of Cloud, and of the time before /search/jql, which takes what /search took. Data Center's requests have the same shapes
	// but for the description, which the file leaves open. Its examples are texts, so that prism must not judge its own answers: no --errors.
	for name, cloud := range map[string]bool{"jira cloud": true, "jira data center": false} {
		c := court{
			file: "jira-issues.openapi.json", broken: brokenIssues(cloud),
			bench: &bench{table: jiraTable, service: new(tracker), paths: func(p string) string {
				return strings.TrimSuffix(strings.Replace(p, "/rest/api/2/", "/rest/api/3/", 1), "/jql")
			}},
			make: func(url string) (notify.Notifier, error) {
				c := jira.Config{URL: url, Cloud: cloud, Token: notify.NewSecret("token"), Project: "OPS", Labels: []string{"alert"}, Resolve: "Done", HTTP: client()}
				if cloud {
					c.User = "bot@berth.example"
				}
				return jira.New(c)
			},
		}
		courts[name] = c
	}
	_, missing := prismProgram(t) // once, before all
	for name, c := range courts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			why := missing
			if why == nil {
				c.bench.prism, why = startPrism(t, c.file, strings.Fields(c.flags)...)
			}
			refused := c.refuse(t)
			sent := c.hear(t)
			who := "prism and our own table"
			if why != nil {
				who = "our own table"
				t.Run("prism", func(t *testing.T) { t.Skipf("%v: %d requests were judged by our own table only", why, sent) })
			}
			t.Logf("%s: %d requests of %d messages judged by %s, %d broken ones refused", name, sent, len(kinds()), who, refused)
			report(t, fmt.Sprintf("%s: %d requests of %d messages taken by %s, %d broken ones refused", name, sent, len(kinds()), who, refused))
		})
	}
}

// refuse gives the judges what they have to refuse.
func (c court) refuse(t *testing.T) int {
	t.Helper()
	for _, b := range c.broken {
		table, prism := c.bench.judge(b.method, b.path, b.header, []byte(b.body))
		require.Error(t, table, "%s: our own table takes it", b.name)
		if b.prism && c.bench.prism != nil {
			require.Error(t, prism, "%s: prism takes it", b.name)
		}
	}
	return len(c.broken)
}

// hear has every message sent.
func (c court) hear(t *testing.T) int {
	t.Helper()
	server := httptest.NewServer(c.bench)
	defer server.Close()
	n, err := c.make(server.URL)
	require.NoError(t, err)
	for _, k := range kinds() {
		before := c.bench.count()
		if err := n.Notify(t.Context(), k.m); err != nil {
			require.ErrorIs(t, err, notify.ErrPermanent, k.name) // it may be refused, in words
		}
		require.Greater(t, c.bench.count(), before, "%s: nothing was sent", k.name)
	}
	c.bench.mu.Lock()
	defer c.bench.mu.Unlock()
	require.NoError(t, errors.Join(c.bench.faults...))
	return c.bench.requests
}

// report leaves a line for the end of make test-messages.
func report(t *testing.T, line string) {
	t.Helper()
	dir := os.Getenv("BERTHAGE_REPORTS")
	if dir == "" {
		return
	}
	name := regexp.MustCompile(`[^a-z]+`).ReplaceAllString(strings.ToLower(t.Name()), "-")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "messages-"+name), []byte(line+"\n"), 0o600))
}

func same(path string) string { return path }

func answers(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
}

// tracker is a Jira that remembers which label has which issue, and which is done.
type tracker struct {
	mu     sync.Mutex
	issues []struct {
		label string
		done  bool
	}
}

func (s *tracker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var in struct {
		JQL    string `json:"jql"`
		Fields json.RawMessage
	}
	if body, _ := io.ReadAll(r.Body); len(body) > 0 && json.Unmarshal(body, &in) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var number int
	_, _ = fmt.Sscanf(r.URL.Path[len("/rest/api/3"):], "/issue/OPS-%d", &number)
	switch {
	case strings.Contains(r.URL.Path, "/search"):
		for i := len(s.issues) - 1; i >= 0; i-- {
			if strings.Contains(in.JQL, `"`+s.issues[i].label+`"`) && !s.issues[i].done {
				fmt.Fprintf(w, `{"issues":[{"key":"OPS-%d","fields":{"status":{"statusCategory":{"key":"new"}}}}]}`, i+1)
				return
			}
		}
		fmt.Fprint(w, `{"issues":[]}`)
	case r.Method == http.MethodPost && number == 0:
		var f struct{ Labels []string }
		if json.Unmarshal(in.Fields, &f) != nil || len(f.Labels) == 0 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.issues = append(s.issues, struct {
			label string
			done  bool
		}{label: f.Labels[0]})
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"key":"OPS-%d"}`, len(s.issues))
	case r.Method == http.MethodGet:
		fmt.Fprint(w, `{"transitions":[{"id":"21","name":"Done"}]}`)
	case r.Method == http.MethodPost:
		s.issues[number-1].done = true
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func brokenEvents() []broken {
	good := `{"routing_key":"` + routingKey + `","event_action":"trigger","dedup_key":"a","payload":{"summary":"s","source":"b","severity":"error","timestamp":"2026-05-01T12:00:00Z"}}`
	var out []broken
	for _, b := range []struct {
		name, old, new string
		prism          bool
	}{
		{"an unknown severity", `"error"`, `"fatal"`, true},
		{"an unknown action", `"trigger"`, `"close"`, true},
		{"no routing key", `"routing_key"`, `"key"`, true},
		{"no source", `"source"`, `"host"`, true},
		{"a summary that is a number", `"s"`, `5`, true},
		{"a link without an address", `"payload"`, `"links":[{"text":"x"}],"payload"`, true},
		{"details that are a text", `"timestamp"`, `"custom_details":"x","timestamp"`, true},
		{"a timestamp that is none", "2026-05-01T12:00:00Z", "yesterday", true},
		{"a summary of 1,025 characters", `"s"`, `"` + strings.Repeat("é", 1025) + `"`, false},
		{"a summary of two lines", `"s"`, `"s\ns"`, false},
		{"no dedup key", `"dedup_key":"a",`, ``, false},
		{"more than 512,000 bytes", `"timestamp"`, `"custom_details":{"x":"` + strings.Repeat("x", 512_000) + `"},"timestamp"`, false},
	} {
		out = append(out, broken{b.name, http.MethodPost, "/v2/enqueue", http.Header{"Content-Type": {"application/json"}}, strings.Replace(good, b.old, b.new, 1), b.prism})
	}
	return out
}

func brokenForms(header http.Header) []broken {
	path := "/2010-04-01/Accounts/" + twilioAccount + "/Messages.json"
	var out []broken
	for _, b := range []struct {
		name  string
		form  url.Values
		prism bool
	}{
		{"no To", url.Values{"From": {"+15005550006"}, "Body": {"x"}}, true},
		{"a messaging service that is none", url.Values{"To": {"+15551230000"}, "MessagingServiceSid": {"MG1"}, "Body": {"x"}}, true},
		{"a limit that is no number", url.Values{"To": {"+15551230000"}, "From": {"+15005550006"}, "Body": {"x"}, "MaxPrice": {"much"}}, true},
		{"no number to send from", url.Values{"To": {"+15551230000"}, "Body": {"x"}}, false},
		{"a number that is none", url.Values{"To": {"0555 123"}, "From": {"+15005550006"}, "Body": {"x"}}, false},
		{"1,601 characters", url.Values{"To": {"+15551230000"}, "From": {"+15005550006"}, "Body": {strings.Repeat("x", 1601)}}, false},
	} {
		out = append(out, broken{b.name, http.MethodPost, path, header, b.form.Encode(), b.prism})
	}
	naked := header.Clone()
	naked.Del("Authorization")
	good := url.Values{"To": {"+15551230000"}, "From": {"+15005550006"}, "Body": {"x"}}.Encode()
	return append(out, broken{"no credentials", http.MethodPost, path, naked, good, true}, broken{"another resource", http.MethodPost, "/2010-04-01/Messages.json", header, good, true})
}

func brokenIssues(cloud bool) []broken {
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, "Authorization": {"Basic eDp5"}}
	base, search, description := "/rest/api/3", "/search/jql", `{"type":"doc","version":1,"content":[]}`
	if !cloud {
		base, search, description = "/rest/api/2", "/search", `"text"`
		header.Set("Authorization", "Bearer x")
	}
	issue := func(fields string) string {
		return strings.Replace(`{"fields":{"project":{"key":"OPS"},"issuetype":{"name":"Task"},"labels":["a"],"summary":"s","description":D}}`, `"summary":"s","description":D`, fields, 1)
	}
	out := []broken{
		{"fields that are a text", http.MethodPost, base + "/issue", header, `{"fields":"x"}`, true},
		{"a transition that is a text", http.MethodPost, base + "/issue/OPS-1/transitions", header, `{"transition":"21"}`, true},
		{"an id that is a number", http.MethodPost, base + "/issue/OPS-1/transitions", header, `{"transition":{"id":21}}`, true},
		{"a search without quotes around it", http.MethodPost, base + search, header, `{"jql":5,"fields":["status"],"maxResults":10}`, true},
		{"a search for one field instead of some", http.MethodPost, base + search, header, `{"jql":"x","fields":"status","maxResults":10}`, true},
		{"an issue that is changed and no object", http.MethodPut, base + "/issue/OPS-1", header, `[]`, true},
		{"another call", http.MethodDelete, base + "/issue/OPS-1", header, ``, true},
		{"a search for something else", http.MethodPost, base + search, header, `{"jql":"project = \"OPS\" AND labels = \"x\" OR project != \"y\"","fields":["status"],"maxResults":10}`, false},
		{"a summary of two lines", http.MethodPost, base + "/issue", header, issue(`"summary":"s\ns","description":` + description), false},
		{"a summary of 256 characters", http.MethodPost, base + "/issue", header, issue(`"summary":"` + strings.Repeat("x", 256) + `","description":` + description), false},
		{"an unknown field", http.MethodPost, base + "/issue", header, issue(`"priority":"high","summary":"s","description":` + description), false},
		{"no description", http.MethodPost, base + "/issue", header, issue(`"summary":"s"`), false},
	}
	if cloud {
		out = append(out,
			broken{"a description that is no document", http.MethodPost, base + "/issue", header, issue(`"summary":"s","description":"text"`), false},
			broken{"a document with an unknown node", http.MethodPost, base + "/issue", header, issue(`"summary":"s","description":{"type":"doc","version":1,"content":[{"type":"script"}]}`), false},
		)
	}
	return out
}
