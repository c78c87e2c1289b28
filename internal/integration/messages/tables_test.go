package messages_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// strictly decodes JSON that has nothing but the fields of v.
func strictly(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something behind the JSON")
	}
	return nil
}

// rules returns those that are broken.
func rules(pairs ...any) error {
	var faults []error
	for i := 0; i+1 < len(pairs); i += 2 {
		if !pairs[i].(bool) {
			faults = append(faults, fmt.Errorf("%v", pairs[i+1]))
		}
	}
	return errors.Join(faults...)
}

func isJSON(h http.Header) bool { return h.Get("Content-Type") == "application/json" }

func isWeb(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && !strings.ContainsAny(s, " \n<>\"")
}

// units counts as JavaScript, Java and telephones do.
func units(s string) int { return len(utf16.Encode([]rune(s))) }

func oneLine(s string) bool { return !strings.ContainsAny(s, "\r\n\x00") && utf8.ValidString(s) }

// pagerDutyTable is what the documents of the Events API v2 say of a request, whether the file says it or not.
func pagerDutyTable(method, path string, header http.Header, body []byte) error {
	var e struct {
		RoutingKey string `json:"routing_key"`
		Action     string `json:"event_action"`
		DedupKey   string `json:"dedup_key"`
		Client     string `json:"client"`
		ClientURL  string `json:"client_url"`
		Links      []struct {
			Href string `json:"href"`
			Text string `json:"text"`
		} `json:"links"`
		Payload *struct {
			Summary   string         `json:"summary"`
			Source    string         `json:"source"`
			Severity  string         `json:"severity"`
			Timestamp string         `json:"timestamp"`
			Class     string         `json:"class"`
			Details   map[string]any `json:"custom_details"`
		} `json:"payload"`
	}
	if err := strictly(body, &e); err != nil {
		return err
	}
	faults := rules(
		method == http.MethodPost && path == "/v2/enqueue", "another call",
		isJSON(header), "not JSON",
		len(body) <= 512_000, "more than 512,000 bytes",
		len(e.RoutingKey) == 32, "no routing key",
		slices.Contains([]string{"trigger", "acknowledge", "resolve"}, e.Action), "an unknown action",
		e.DedupKey != "" && len(e.DedupKey) <= 255, "dedup_key",
		e.ClientURL == "" || isWeb(e.ClientURL), "client_url",
		e.Action != "trigger" || e.Payload != nil, "a trigger without payload",
	)
	for _, l := range e.Links {
		faults = errors.Join(faults, rules(isWeb(l.Href), "a link's href"))
	}
	if p := e.Payload; p != nil {
		_, err := time.Parse(time.RFC3339, p.Timestamp)
		faults = errors.Join(faults, rules(
			p.Summary != "" && utf8.RuneCountInString(p.Summary) <= 1024 && oneLine(p.Summary), "summary",
			p.Source != "" && oneLine(p.Source), "source",
			slices.Contains([]string{"critical", "error", "warning", "info"}, p.Severity), "severity",
			p.Timestamp == "" || err == nil, "timestamp",
			oneLine(p.Class), "class",
		))
	}
	return faults
}

// twilioTable is what the documents of the Messages resource say.
func twilioTable(method, path string, header http.Header, body []byte) error {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return err
	}
	for name, values := range form {
		err = errors.Join(err, rules(slices.Contains([]string{"To", "From", "MessagingServiceSid", "Body"}, name) && len(values) == 1, "the parameter "+name))
	}
	number := regexp.MustCompile(`^\+[1-9]\d{1,14}$`)
	service := regexp.MustCompile(`^MG[0-9a-fA-F]{32}$`)
	user, password, ok := (&http.Request{Header: header}).BasicAuth()
	text := form.Get("Body")
	return errors.Join(err, rules(
		method == http.MethodPost && path == "/2010-04-01/Accounts/"+twilioAccount+"/Messages.json", "another call",
		header.Get("Content-Type") == "application/x-www-form-urlencoded", "not a form",
		ok && user == twilioAccount && password != "", "no credentials",
		number.MatchString(form.Get("To")), "To",
		form.Has("From") != form.Has("MessagingServiceSid"), "not one sender",
		!form.Has("From") || number.MatchString(form.Get("From")), "From",
		!form.Has("MessagingServiceSid") || service.MatchString(form.Get("MessagingServiceSid")), "MessagingServiceSid",
		strings.TrimSpace(text) != "" && units(text) <= 1600 && utf8.ValidString(text) && !strings.ContainsAny(text, "\x00\r"), "Body",
	))
}

// jiraTable is what the documents of Jira's REST API say, version 3 with documents and 2 with wiki text.
func jiraTable(method, path string, header http.Header, body []byte) error {
	rest, cloud := strings.CutPrefix(path, "/rest/api/3")
	if !cloud {
		rest = strings.TrimPrefix(path, "/rest/api/2")
	}
	one := regexp.MustCompile(`^/issue/OPS-\d+(/transitions)?$`).FindStringSubmatch(rest)
	faults := rules(
		header.Get("Accept") == "application/json", "Accept",
		strings.HasPrefix(header.Get("Authorization"), map[bool]string{true: "Basic ", false: "Bearer "}[cloud]), "no credentials",
		method == http.MethodGet || isJSON(header), "not JSON",
	)
	switch {
	case method == http.MethodPost && rest == map[bool]string{true: "/search/jql", false: "/search"}[cloud]:
		var in struct {
			JQL    string   `json:"jql"`
			Fields []string `json:"fields"`
			Most   int      `json:"maxResults"`
		}
		// A label of ours needs no quoting at all: whatever stands within quotes that is anything else was let in by a name.
		jql := regexp.MustCompile(`^project = "OPS" AND labels = "berthage-[A-Za-z0-9_:-]+" AND statusCategory != Done ORDER BY created DESC$`)
		err := strictly(body, &in)
		return errors.Join(faults, err, rules(jql.MatchString(in.JQL), "jql: "+in.JQL, len(in.Fields) > 0, "fields", in.Most > 0 && in.Most <= 100, "maxResults"))
	case method == http.MethodPost && rest == "/issue", method == http.MethodPut && one != nil && one[1] == "":
		return errors.Join(faults, jiraFields(body, cloud, method == http.MethodPost))
	case method == http.MethodGet && one != nil && one[1] != "":
		return faults
	case method == http.MethodPost && one != nil && one[1] != "":
		var in struct {
			Transition struct {
				ID string `json:"id"`
			} `json:"transition"`
		}
		return errors.Join(faults, strictly(body, &in), rules(in.Transition.ID != "", "transition.id"))
	}
	return errors.Join(faults, fmt.Errorf("another call: %s %s", method, path))
}

func jiraFields(body []byte, cloud, create bool) error {
	var in struct {
		Fields struct {
			Project struct {
				Key string `json:"key"`
			} `json:"project"`
			IssueType struct {
				Name string `json:"name"`
			} `json:"issuetype"`
			Summary     string          `json:"summary"`
			Description json.RawMessage `json:"description"`
			Labels      []string        `json:"labels"`
		} `json:"fields"`
	}
	if err := strictly(body, &in); err != nil {
		return err
	}
	f := in.Fields
	faults := rules(
		f.Summary != "" && units(f.Summary) <= 255 && oneLine(f.Summary), "summary",
		!create || f.Project.Key == "OPS" && f.IssueType.Name == "Task" && len(f.Labels) > 0, "project, issuetype or labels",
		!slices.ContainsFunc(f.Labels, func(l string) bool { return l == "" || strings.ContainsAny(l, " \t\n") }), "labels",
	)
	if cloud {
		text, err := readADF(f.Description)
		return errors.Join(faults, err, rules(units(text) <= 32_767, "description"))
	}
	var wiki string
	err := json.Unmarshal(f.Description, &wiki)
	return errors.Join(faults, err, rules(units(wiki) <= 32_767, "description"))
}

// readADF returns the text of a document as the Atlassian Document Format has it, of the nodes that are used here.
func readADF(raw []byte) (string, error) {
	type node struct {
		Type    string `json:"type"`
		Text    string `json:"text"`
		Content []node `json:"content"`
		Marks   []struct {
			Type  string `json:"type"`
			Attrs struct {
				Href string `json:"href"`
			} `json:"attrs"`
		} `json:"marks"`
	}
	var doc struct {
		Type    string `json:"type"`
		Version int    `json:"version"`
		Content []node `json:"content"`
	}
	if err := strictly(raw, &doc); err != nil {
		return "", err
	}
	faults := rules(doc.Type == "doc" && doc.Version == 1, "no document")
	var b strings.Builder
	for _, p := range doc.Content {
		faults = errors.Join(faults, rules(p.Type == "paragraph" && p.Text == "", "a block of type "+p.Type))
		for _, n := range p.Content {
			switch n.Type {
			case "hardBreak":
				b.WriteByte('\n')
			case "text":
				faults = errors.Join(faults, rules(n.Text != "" && !strings.Contains(n.Text, "\n"), "an empty text, or a line break in one"))
				b.WriteString(n.Text)
			default:
				faults = errors.Join(faults, errors.New("an inline node of type "+n.Type))
			}
			for _, m := range n.Marks {
				faults = errors.Join(faults, rules(m.Type == "link" && isWeb(m.Attrs.Href), "a mark"))
			}
		}
		b.WriteByte('\n')
	}
	return b.String(), faults
}
