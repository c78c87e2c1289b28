package email_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/email"
	"github.com/berthage/berthage/notify/notifytest"
)

// letter is a mail as a program shows it.
type letter struct {
	header     mail.Header
	subject    string
	text, html string // without and with HTML; html is empty in a mail of one part
}

// read takes a mail apart as strictly as any server might.
func read(raw []byte) (letter, error) {
	var l letter
	lines := strings.SplitAfter(string(raw), "\n")
	for _, line := range lines {
		if line != "" && (len(line) > 1000 || !strings.HasSuffix(line, "\r\n") || strings.ContainsAny(strings.TrimSuffix(line, "\r\n"), "\r\x00")) {
			return l, fmt.Errorf("a line that is none: %.100q", line)
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return l, err
	}
	l.header = m.Header
	if l.subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		return l, err
	}
	for _, name := range []string{"From", "To"} {
		if _, err := m.Header.AddressList(name); err != nil {
			return l, err
		}
	}
	if _, err := m.Header.Date(); err != nil {
		return l, err
	}
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return l, err
	}
	if kind == "text/plain" {
		l.text, err = decode(m.Body, m.Header.Get("Content-Transfer-Encoding"))
		return l, err
	}
	if kind != "multipart/alternative" {
		return l, fmt.Errorf("a mail of type %s", kind)
	}
	parts := multipart.NewReader(m.Body, parameters["boundary"])
	for _, want := range []string{"text/plain; charset=UTF-8", "text/html; charset=UTF-8"} {
		p, err := parts.NextRawPart()
		if err != nil {
			return l, err
		}
		s, err := decode(p, p.Header.Get("Content-Transfer-Encoding"))
		if got := p.Header.Get("Content-Type"); err != nil || got != want {
			return l, fmt.Errorf("a part of type %s: %w", got, err)
		}
		l.text, l.html = l.html, s
	}
	if _, err := parts.NextPart(); err != io.EOF {
		return l, fmt.Errorf("a third part, or none that ends: %w", err)
	}
	return l, nil
}

func decode(r io.Reader, encoding string) (string, error) {
	switch encoding {
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	case "8bit":
	default:
		return "", fmt.Errorf("the encoding %q", encoding)
	}
	b, err := io.ReadAll(r)
	return strings.ReplaceAll(string(b), "\r\n", "\n"), err
}

// rows are those of the table, cell by cell, as they are shown.
func (l letter) rows() [][]string {
	row, cell, tag := regexp.MustCompile(`(?s)<tr>(.*?)</tr>`), regexp.MustCompile(`(?s)<t[dh]>(.*?)</t[dh]>`), regexp.MustCompile(`<[^>]*>`)
	var out [][]string
	for _, r := range row.FindAllStringSubmatch(l.html, -1) {
		var cells []string
		for _, c := range cell.FindAllStringSubmatch(r[1], -1) {
			cells = append(cells, html.UnescapeString(tag.ReplaceAllString(c[1], "")))
		}
		out = append(out, cells)
	}
	return out
}

// mailbox is where mails arrive, one a request.
type mailbox struct {
	mu   sync.Mutex
	got  []notifytest.Delivery
	harm []string
}

func (b *mailbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	raw, err := io.ReadAll(r.Body)
	if err != nil || len(raw) > 10_000_000 { // as Postfix has it
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	l, err := read(raw)
	if err != nil {
		b.harm = append(b.harm, err.Error())
		return
	}
	b.judge(l)
	d := notifytest.Delivery{
		Key: l.header.Get("Message-Id"), Incident: l.header.Get("References"), Status: l.header.Get("X-Berthage-Status"),
		Text: l.subject + "\n" + l.text + "\n" + html.UnescapeString(l.html), Fields: map[string]string{"subject": l.subject, "text": strings.TrimSuffix(l.text, "\n")},
	}
	if d.Incident == "" {
		d.Incident = d.Key
	}
	if r := l.rows(); len(r) > 1 {
		d.Fields["alert"] = r[1][1]
	}
	b.got = append(b.got, d)
}

// judge looks for what names have made of the mail.
func (b *mailbox) judge(l letter) {
	known := []string{
		"Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "In-Reply-To", "List-Id", "Message-Id", "Mime-Version", "References", "Subject",
		"To", "X-Auto-Response-Suppress", "X-Berthage-Incident", "X-Berthage-Severity", "X-Berthage-Status",
	}
	for name, values := range l.header {
		if !slices.Contains(known, name) || len(values) != 1 {
			b.harm = append(b.harm, fmt.Sprintf("header %s: %q", name, values))
		}
	}
	strange := func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) || r == unicode.MaxRune
	}
	if strings.ContainsFunc(l.subject, func(r rune) bool { return strange(r) || r == '\n' }) {
		b.harm = append(b.harm, "subject "+l.subject)
	}
	for _, s := range []string{l.text, l.html} {
		if i := strings.IndexFunc(s, strange); i >= 0 {
			b.harm = append(b.harm, fmt.Sprintf("%.50q", s[i:]))
		}
	}
	tag := regexp.MustCompile(`^<(!DOCTYPE html|/?html|/?head|meta charset="utf-8"|/?title|/?body|/?p|p style="white-space: pre-wrap"|/?strong|` +
		`table border="1" cellpadding="4" style="border-collapse: collapse"|/table|/?tr|/?td|/?th|a href="https?://[^"<>\s]*"|/a)>`)
	for i := range l.html {
		if l.html[i] == '<' && !tag.MatchString(l.html[i:]) {
			b.harm = append(b.harm, fmt.Sprintf("%.80q", l.html[i:]))
		}
	}
}

func (b *mailbox) Harm() []string { return b.harm }

func (b *mailbox) Delivered() []notifytest.Delivery {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]notifytest.Delivery(nil), b.got...)
}

// codes are those of SMTP that stand for HTTP's.
func codes() map[int]int {
	return map[int]int{http.StatusBadRequest: 554, http.StatusUnauthorized: 535, http.StatusForbidden: 530, http.StatusNotFound: 550, http.StatusTooManyRequests: 450,
		http.StatusInternalServerError: 451, http.StatusServiceUnavailable: 421}
}

// pass is what a server does that asks another one by HTTP what to answer. The user's name says on which port.
func pass(e envelope) string {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://127.0.0.1:"+strings.TrimPrefix(e.user, "gate-"), bytes.NewReader(e.mail))
	if err != nil {
		return "close"
	}
	told := base64.StdEncoding.EncodeToString([]byte("\x00" + e.user + "\x00" + e.password))
	r.Header["Authorization"] = []string{e.password, told}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(r)
	if err != nil {
		return "close"
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 300))
	if err != nil {
		return "close"
	}
	code := resp.StatusCode
	if code == http.StatusOK {
		code = 250
	} else if own, ok := codes()[code]; ok {
		code = own
	} else {
		code = 554
	}
	return fmt.Sprintf("%d %s", code, strings.Map(func(r rune) rune { return max(r, ' ') }, string(said)))
}

func setup(t testing.TB, change func(*email.Config)) notifytest.Setup {
	s := (&server{mechanisms: "PLAIN", take: pass}).start(t)
	return notifytest.Setup{
		New: func(gate string, client *notify.Client) (notify.Notifier, error) {
			u, err := url.Parse(gate)
			if err != nil {
				return nil, err
			}
			c := config(s, client)
			c.Username = "gate-" + u.Port()
			change(&c)
			return email.New(c)
		},
		Fake: func() notifytest.Service { return new(mailbox) }, Secrets: []string{password, base64.StdEncoding.EncodeToString([]byte(password))},
		HasKey: true, HasIncident: true, Codes: codes(),
		Limits: []notifytest.Limit{
			{Field: "alert", Most: email.MaxSummary},
			{Field: "subject", Most: email.MaxSubject, Message: func(n int) notify.Message {
				m := notifytest.Firing()
				m.GroupLabels = map[string]string{"alertname": strings.Repeat("語", n)}
				return m
			}},
		},
		Without: map[string]string{
			"status-429-seconds": "a server of mail does not say when it is to be tried again",
			"status-429-date":    "a server of mail does not say when it is to be tried again",
			"status-503":         "a server of mail does not say when it is to be tried again",
			"redirect":           "a server of mail does not send anybody elsewhere (but see TestWhomItMayCall)",
			"endless-answer":     "the status of an answer of SMTP is known when its last line is (but see TestRefusals, which bounds it)",
		},
	}
}

func config(s *server, client *notify.Client) email.Config {
	return email.Config{
		Server: s.address, RootCAs: s.roots, Username: user, Password: notify.NewSecret(password), From: "Berth <alerts@berth.example>",
		To: []string{"ops@berth.example", "Ümit <umit@berth.example>"}, ListID: "alerts.berth.example", Client: client,
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	notifytest.Run(t, setup(t, func(*email.Config) {}))
}

func TestConformanceOfTextMessages(t *testing.T) {
	t.Parallel()
	s := setup(t, func(c *email.Config) { c.SMS = new(email.SMS) })
	s.HasIncident = false
	s.Limits = []notifytest.Limit{{Field: "text", Most: 160, Count: notify.Units}}
	notifytest.Run(t, s)
}

func FuzzEmail(f *testing.F) { notifytest.Fuzz(f, setup(f, func(*email.Config) {})) }

func FuzzTextMessage(f *testing.F) {
	notifytest.Fuzz(f, setup(f, func(c *email.Config) { c.SMS = &email.SMS{Most: 320} }))
}

func parse(t *testing.T, e envelope) letter {
	t.Helper()
	l, err := read(e.mail)
	require.NoError(t, err)
	return l
}
