package jira_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/jira"
	"github.com/berthage/berthage/notify/notifytest"
	"github.com/berthage/berthage/pool"
)

const (
	user  = "bot@berth.example"
	token = "canary-ATATT-123"
)

// service is a Jira with one project, OPS, in which an issue is open or done.
type service struct {
	cloud bool

	mu     sync.Mutex
	issues []*ticket
	harm   []string
}

type ticket struct {
	summary, text string
	labels        []string
	done          bool
}

type request struct {
	JQL        string `json:"jql"`
	Fields     json.RawMessage
	MaxResults int
	Transition struct{ ID string }
}

type fields struct {
	Project     struct{ Key string }
	IssueType   struct{ Name string }
	Summary     string
	Description json.RawMessage
	Labels      []string
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := io.ReadAll(r.Body)
	u, p, basic := r.BasicAuth()
	if s.cloud && (!basic || u != user || p != token) || !s.cloud && r.Header.Get("Authorization") != "Bearer "+token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	base, search := "/rest/api/2", "/search"
	if s.cloud {
		base, search = "/rest/api/3", "/search/jql"
	}
	var in request
	path, ours := strings.CutPrefix(r.URL.Path, base)
	if !ours || len(b) > 0 && json.Unmarshal(b, &in) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	switch {
	case path == search && r.Method == http.MethodPost:
		s.search(w, in)
	case path == "/issue" && r.Method == http.MethodPost:
		s.create(w, in)
	default:
		s.one(w, r.Method, path, in)
	}
}

func (s *service) search(w http.ResponseWriter, in request) {
	m := regexp.MustCompile(`^project = "OPS" AND labels = "([^"\\]*)" AND (\(?statusCategory != Done(?: OR resolutiondate >= -\d+m\))?) ORDER BY created DESC$`).FindStringSubmatch(in.JQL)
	if m == nil {
		s.harm = append(s.harm, in.JQL)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	out := []string{}
	for i := len(s.issues) - 1; i >= 0; i-- {
		if t := s.issues[i]; slices.Contains(t.labels, m[1]) && (!t.done || m[2][0] == '(') {
			out = append(out, fmt.Sprintf(`{"key":"OPS-%d","fields":{"status":{"statusCategory":{"key":%q}}}}`, i+1, map[bool]string{true: "done", false: "new"}[t.done]))
		}
	}
	fmt.Fprintf(w, `{"issues":[%s]}`, strings.Join(out, ","))
}

// set changes an issue, and reports whether Jira would.
func (s *service) set(t *ticket, raw json.RawMessage, create bool) bool {
	var f fields
	if json.Unmarshal(raw, &f) != nil || f.Summary == "" || notify.Units(f.Summary) > 255 || strings.ContainsAny(f.Summary, "\r\n") {
		return false
	}
	if create && (f.Project.Key != "OPS" || f.IssueType.Name != "Task" || slices.ContainsFunc(f.Labels, func(l string) bool { return strings.ContainsAny(l, " \n") })) {
		return false
	}
	text, ok := s.description(f.Description)
	if !ok || notify.Units(text) > 32_767 {
		return false
	}
	if strings.ContainsAny(f.Summary+text, "\x00\u202e") {
		s.harm = append(s.harm, f.Summary)
	}
	t.summary, t.text = f.Summary, text
	if create {
		t.labels = f.Labels
	}
	return true
}

type node struct {
	Type    string
	Version int
	Text    *string
	Content []node
	Marks   []struct {
		Type  string
		Attrs struct{ Href string }
	}
}

func (s *service) description(raw json.RawMessage) (string, bool) {
	if !s.cloud {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return "", false
		}
		if strings.Count(text, "{noformat}") != 2 || !strings.HasPrefix(text, "{noformat}\n") {
			s.harm = append(s.harm, text)
		}
		if _, after, _ := strings.Cut(text[1:], "\n{noformat}"); after != "" && !regexp.MustCompile(`^\n\[All of it\|https?://[^\s|\[\]{}]*\]$`).MatchString(after) {
			s.harm = append(s.harm, after)
		}
		return text, true
	}
	var doc node
	if json.Unmarshal(raw, &doc) != nil || doc.Type != "doc" || doc.Version != 1 {
		return "", false
	}
	text := ""
	for _, p := range doc.Content {
		if p.Type != "paragraph" {
			return "", false
		}
		for _, n := range p.Content {
			switch {
			case n.Type == "hardBreak":
				text += "\n"
			case n.Type != "text" || n.Text == nil || *n.Text == "" || strings.Contains(*n.Text, "\n"):
				return "", false
			default:
				text += *n.Text
			}
			for _, m := range n.Marks {
				if m.Type != "link" || !strings.HasPrefix(m.Attrs.Href, "http") {
					s.harm = append(s.harm, m.Attrs.Href)
				}
			}
		}
	}
	return text, true
}

func (s *service) create(w http.ResponseWriter, in request) {
	t := new(ticket)
	if !s.set(t, in.Fields, true) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.issues = append(s.issues, t)
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"key":"OPS-%d"}`, len(s.issues))
}

func (s *service) one(w http.ResponseWriter, method, path string, in request) {
	var number int
	var rest string
	_, _ = fmt.Sscanf(path, "/issue/OPS-%d%s", &number, &rest)
	if number < 1 || number > len(s.issues) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	t := s.issues[number-1]
	switch {
	case rest == "" && method == http.MethodPut:
		if !s.set(t, in.Fields, false) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case rest == "/transitions" && method == http.MethodGet:
		if t.done {
			fmt.Fprint(w, `{"transitions":[{"id":"31","name":"Back to work"}]}`)
		} else {
			fmt.Fprint(w, `{"transitions":[{"id":"11","name":"Start"},{"id":"21","name":"Done"}]}`)
		}
	case rest == "/transitions" && method == http.MethodPost && in.Transition.ID == map[bool]string{true: "31", false: "21"}[t.done]:
		t.done = !t.done
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
}

func (s *service) Harm() []string { return s.harm }

func (s *service) Delivered() []notifytest.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []notifytest.Delivery
	for _, t := range s.issues {
		out = append(out, notifytest.Delivery{
			Incident: t.labels[0], Status: map[bool]string{true: "resolved", false: "firing"}[t.done], Text: t.summary + "\n" + t.text,
			Fields: map[string]string{"summary": t.summary},
		})
	}
	return out
}

func config(cloud bool, url string) jira.Config {
	c := jira.Config{
		URL: url, Cloud: cloud, Token: notify.NewSecret(token), Project: "OPS", Labels: []string{"alert"}, Resolve: "Done",
		HTTP: notify.NewClient(notify.ClientConfig{Guard: notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}}),
	}
	if cloud {
		c.User = user
	}
	return c
}

func setup(cloud bool) notifytest.Setup {
	return notifytest.Setup{
		New: func(url string, client *notify.Client) (notify.Notifier, error) {
			c := config(cloud, url)
			c.HTTP = client
			return jira.New(c)
		},
		Fake: func() notifytest.Service { return &service{cloud: cloud} }, Secrets: []string{token},
		Limits:      []notifytest.Limit{{Field: "summary", Most: jira.MaxSummary, Count: notify.Units}},
		HasIncident: true, Once: true,
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, cloud := range map[string]bool{"cloud": true, "data-center": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			notifytest.Run(t, setup(cloud))
		})
	}
}

func FuzzCloud(f *testing.F) { notifytest.Fuzz(f, setup(true)) }

func FuzzDataCenter(f *testing.F) { notifytest.Fuzz(f, setup(false)) }

func FuzzQuoteJQL(f *testing.F) {
	for _, h := range notifytest.Hostile() {
		f.Add(h[:min(len(h), 1000)])
	}
	f.Fuzz(func(t *testing.T, s string) {
		require.Regexp(t, `^"(?:[^"\\\n\r\x00]|\\[\\"])*"$`, jira.QuoteJQL(s))
	})
}

// An issue lives as its incident does: created, changed, resolved; reopened if the window is open, and else there is a new one.
func TestLifeOfAnIssue(t *testing.T) {
	t.Parallel()
	for _, reopen := range []bool{false, true} {
		s := &service{cloud: true}
		server := httptest.NewServer(s)
		defer server.Close()
		c := config(true, server.URL)
		if reopen {
			c.Reopen, c.ReopenWithin = "back to WORK", time.Hour
		}
		n, err := jira.New(c)
		require.NoError(t, err)
		tell := func(m notify.Message) { require.NoError(t, n.Notify(t.Context(), m)) }
		tell(notifytest.Resolved())
		require.Empty(t, s.issues, "an end alone")
		tell(notifytest.Firing())
		require.Equal(t, []string{"berthage-i-91ab07", "alert"}, s.issues[0].labels)
		tell(notifytest.Update())
		require.Contains(t, s.issues[0].summary, "[FIRING:2]")
		tell(notifytest.Resolved())
		require.True(t, s.issues[0].done)
		tell(notifytest.Resolved())
		tell(notifytest.Firing())
		if reopen {
			require.Len(t, s.issues, 1)
			require.False(t, s.issues[0].done)
		} else {
			require.Len(t, s.issues, 2)
		}
		tell(notifytest.Event())
		tell(notifytest.Event())
		require.Len(t, s.issues, map[bool]int{true: 2, false: 3}[reopen], "an event twice is one issue")
	}
}

func TestTransitionThatIsNotThere(t *testing.T) {
	t.Parallel()
	s := new(service)
	server := httptest.NewServer(s)
	defer server.Close()
	c := config(false, server.URL)
	c.Resolve = "Close"
	n, err := jira.New(c)
	require.NoError(t, err)
	require.NoError(t, n.Notify(t.Context(), notifytest.Firing()))
	require.ErrorIs(t, n.Notify(t.Context(), notifytest.Resolved()), notify.ErrPermanent)
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*jira.Config){
		"url":     func(c *jira.Config) { c.URL = "https://a:b@jira.example" },
		"token":   func(c *jira.Config) { c.User = "" },
		"project": func(c *jira.Config) { c.Project = `OPS" OR project != "X` },
		"labels":  func(c *jira.Config) { c.Labels = []string{"two words"} },
		"reopen":  func(c *jira.Config) { c.ReopenWithin = time.Hour },
	} {
		c := config(true, "https://jira.example")
		change(&c)
		_, err := jira.New(c)
		var e *pool.Error
		require.ErrorAs(t, err, &e, field)
		require.Equal(t, field, e.Field)
	}
}
