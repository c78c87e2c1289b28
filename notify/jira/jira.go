// Package jira keeps an issue of Jira for each incident, on Cloud (REST API v3) and Data Center (v2).
//
// An open issue is found by a label that is made of the Incident; the first message creates one, updates change its summary and description, an end
// takes it through the transition that is named, as does a new beginning within ReopenWithin after that. An end alone creates no issue. An event
// creates one, which a person has to close. Since every attempt looks for the issue first, a message whose answer was lost makes no second one, except while
// Jira's search does not know the new issue yet, which on Cloud can take seconds.
//
// Sources: Atlassian's "The Jira Cloud platform REST API" (issue, transitions, search/jql), that of Data Center, "Atlassian Document Format", and "Advanced
// searching" for the quoting of JQL. Limits that are kept: 255 characters and one line in a summary, and less than the 32,767 of a description. On Cloud
// the description is a document whose texts know no markup; on Data Center names stand in a block without format, whose braces are
// followed by a zero-width space, so that none ends it. A pass of the tests shows that requests are as the documents say; which fields, transitions and
// types of issue a project has only its Jira tells.
package jira

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/notify"
)

// Limits, in UTF-16 code units, which is what Jira counts.
const (
	MaxSummary     = 255
	MaxDescription = 15_000
)

// Config says whom to tell.
type Config struct {
	URL   string        // https://NAME.atlassian.net, or where Data Center is
	Cloud bool          // else Data Center
	User  string        // the address of an account on Cloud; empty: Token is a personal access token of Data Center
	Token notify.Secret // an API token, or that

	Project   string   // its key
	IssueType string   // empty: Task
	Labels    []string // beside the one of the incident

	Resolve      string        // the name of the transition at the end; empty: the issue stays for a person to close
	Reopen       string        // the name of the one back; empty: a new issue is created
	ReopenWithin time.Duration // how long after it was resolved an issue is reopened; in whole minutes

	HTTP *notify.Client
}

// Notifier implements notify.Notifier.
type Notifier struct {
	c    Config
	base string // URL with the version of the API
	auth notify.Secret
}

// New checks the configuration and sends nothing. Errors are pool.ErrInvalid.
func New(c Config) (*Notifier, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.User != nil || u.RawQuery != "" || notify.CheckURL("url", notify.NewSecret(c.URL)) != nil {
		return nil, notify.Invalid("url", "an absolute URL with https, without user and query")
	}
	if c.Token.Empty() || strings.ContainsAny(c.Token.Reveal()+c.User, "\r\n\x00") || strings.Contains(c.User, ":") || c.Cloud && c.User == "" {
		return nil, notify.Invalid("token", "a token, and on Cloud the user whose it is")
	}
	if c.Project == "" || strings.ContainsFunc(c.Project, notKey) {
		return nil, notify.Invalid("project", "the key of a project")
	}
	for _, l := range c.Labels {
		if l == "" || notify.Units(l) > 255 || strings.ContainsAny(l, " \t\r\n") {
			return nil, notify.Invalid("labels", "words of at most 255 characters")
		}
	}
	if c.ReopenWithin < 0 || c.ReopenWithin > 0 && c.Reopen == "" {
		return nil, notify.Invalid("reopen", "the name of a transition")
	}
	c.IssueType = cmp.Or(c.IssueType, "Task")
	if c.HTTP == nil {
		c.HTTP = notify.NewClient(notify.ClientConfig{})
	}
	n := &Notifier{c: c, base: strings.TrimRight(c.URL, "/") + "/rest/api/2", auth: notify.NewSecret("Bearer " + c.Token.Reveal())}
	if c.Cloud {
		n.base = strings.TrimSuffix(n.base, "2") + "3"
	}
	if c.User != "" {
		n.auth = notify.NewSecret("Basic " + base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Token.Reveal())))
	}
	return n, nil
}

func notKey(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' }

type issue struct {
	Key    string `json:"key"`
	Fields struct {
		Status struct {
			Category struct {
				Key string `json:"key"`
			} `json:"statusCategory"`
		} `json:"status"`
	} `json:"fields"`
}

func (i issue) done() bool { return i.Fields.Status.Category.Key == "done" }

// Notify implements notify.Notifier.
func (n *Notifier) Notify(ctx context.Context, m notify.Message) error {
	if err := m.Check(); err != nil || m.Moot() {
		return err
	}
	label := "berthage-" + m.Incident
	known, err := n.search(ctx, label)
	if err != nil {
		return err
	}
	over := m.Event == nil && !m.Fires()
	switch {
	case known == nil && over:
		return nil
	case known == nil:
		return n.create(ctx, label, m)
	case over && known.done():
		return nil
	}
	if !over && known.done() {
		if err := n.transition(ctx, known.Key, n.c.Reopen); err != nil {
			return err
		}
	}
	fields := map[string]any{"summary": summary(m), "description": n.description(m)}
	if err := n.call(ctx, "change issue", http.MethodPut, "/issue/"+known.Key, map[string]any{"fields": fields}, nil); err != nil {
		return err
	}
	if over && n.c.Resolve != "" {
		return n.transition(ctx, known.Key, n.c.Resolve)
	}
	return nil
}

// QuoteJQL returns s as a string of JQL.
func QuoteJQL(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(notify.Line(s)) + `"`
}

func (n *Notifier) search(ctx context.Context, label string) (*issue, error) {
	status := "statusCategory != Done"
	if minutes := int64(n.c.ReopenWithin / time.Minute); minutes > 0 {
		status = "(" + status + " OR resolutiondate >= -" + strconv.FormatInt(minutes, 10) + "m)"
	}
	jql := "project = " + QuoteJQL(n.c.Project) + " AND labels = " + QuoteJQL(label) + " AND " + status + " ORDER BY created DESC"
	path := "/search"
	if n.c.Cloud {
		path = "/search/jql"
	}
	var out struct {
		Issues []issue `json:"issues"`
	}
	query := map[string]any{"jql": jql, "fields": []string{"status"}, "maxResults": 10}
	if err := n.call(ctx, "search", http.MethodPost, path, query, &out); err != nil {
		return nil, err
	}
	slices.SortStableFunc(out.Issues, func(a, b issue) int { // an open one first
		switch {
		case a.done() == b.done():
			return 0
		case b.done():
			return -1
		}
		return 1
	})
	if len(out.Issues) == 0 {
		return nil, nil
	}
	first := &out.Issues[0]
	project, number, _ := strings.Cut(first.Key, "-")
	if _, err := strconv.ParseUint(number, 10, 63); err != nil || project == "" || strings.ContainsFunc(project, notKey) { // it goes into a path
		return nil, &notify.Error{Op: "jira: search", Kind: notify.ErrPermanent, Detail: "an issue has a malformed key"}
	}
	return first, nil
}

func (n *Notifier) create(ctx context.Context, label string, m notify.Message) error {
	return n.call(ctx, "create issue", http.MethodPost, "/issue", map[string]any{"fields": map[string]any{
		"project": map[string]string{"key": n.c.Project}, "issuetype": map[string]string{"name": n.c.IssueType},
		"summary": summary(m), "description": n.description(m), "labels": append([]string{label}, n.c.Labels...),
	}}, nil)
}

// transition takes an issue through the transition of a name, whose id depends on the issue's state.
func (n *Notifier) transition(ctx context.Context, key, name string) error {
	var out struct {
		Transitions []struct{ ID, Name string } `json:"transitions"`
	}
	path := "/issue/" + key + "/transitions"
	if err := n.call(ctx, "list transitions", http.MethodGet, path, nil, &out); err != nil {
		return err
	}
	for _, t := range out.Transitions {
		if strings.EqualFold(t.Name, name) {
			return n.call(ctx, "transition", http.MethodPost, path, map[string]any{"transition": map[string]string{"id": t.ID}}, nil)
		}
	}
	return &notify.Error{Op: "jira: transition", Kind: notify.ErrPermanent, Detail: "the issue has no transition of the name that is configured"}
}

func (n *Notifier) call(ctx context.Context, op, method, path string, in, out any) error {
	r := notify.Request{
		Op: "jira: " + op, Method: method, URL: notify.NewSecret(n.base + path), Secrets: []notify.Secret{n.c.Token},
		Header: http.Header{"Authorization": {n.auth.Reveal()}, "Accept": {"application/json"}},
	}
	var answer notify.Answer
	var err error
	if in == nil {
		answer, err = n.c.HTTP.Do(ctx, r)
	} else {
		answer, err = n.c.HTTP.PostJSON(ctx, r, in)
	}
	if err == nil && out != nil && json.Unmarshal(answer.Body, out) != nil {
		return &notify.Error{Op: r.Op, Kind: notify.ErrTemporary, Status: answer.Status, Detail: "the answer is not JSON"}
	}
	return err
}
