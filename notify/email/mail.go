package email

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	netmail "net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wneessen/go-mail"

	"github.com/berthage/berthage/notify"
)

// write returns the mail as it goes to the server.
func (n *Notifier) write(m notify.Message) ([]byte, error) {
	text, html := n.c.text(m), ""
	if n.c.SMS == nil {
		html = n.html(m)
	}
	// A boundary that depends on the texts stands in none of them.
	out := mail.NewMsg(mail.WithNoDefaultUserAgent(), mail.WithBoundary(digest(text, html)))
	out.SetAddrHeaderFromMailAddress(mail.HeaderFrom, n.from)
	out.SetAddrHeaderFromMailAddress(mail.HeaderTo, n.to...)
	if n.replyTo != nil {
		out.SetAddrHeaderFromMailAddress(mail.HeaderReplyTo, []*netmail.Address{n.replyTo}...)
	}
	at := m.At
	if at.IsZero() {
		at = time.Now()
	}
	out.SetDateWithValue(at.UTC())
	id, thread := n.names(m)
	out.SetGenHeader(mail.HeaderMessageID, id)
	out.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no holiday notices, please
	out.SetGenHeader("X-Auto-Response-Suppress", "All")  // the same for servers that do not know it
	if s := n.c.subject(m); s != "" {
		out.Subject(s)
	}
	if n.c.SMS != nil {
		encoding := mail.EncodingQP
		if isASCII(text) { // as there are gateways that decode nothing
			encoding = mail.NoEncoding
		}
		out.SetBodyString(mail.TypeTextPlain, text, mail.WithPartEncoding(encoding))
	} else {
		if thread != id {
			out.SetGenHeader(mail.HeaderInReplyTo, thread)
			out.SetGenHeader(mail.HeaderReferences, thread)
		}
		if n.c.ListID != "" {
			out.SetGenHeader("List-Id", "<"+n.c.ListID+">")
		}
		// For filters: the subject does not say these.
		out.SetGenHeader("X-Berthage-Incident", m.Incident)
		out.SetGenHeader("X-Berthage-Status", m.Status())
		out.SetGenHeader("X-Berthage-Severity", m.Severity())
		out.SetBodyString(mail.TypeTextPlain, text)
		out.AddAlternativeString(mail.TypeTextHTML, html)
	}
	var b bytes.Buffer
	_, err := out.WriteTo(&b)
	return b.Bytes(), err
}

// names returns the Message-ID and that of the mail that began the thread. An event is never the first: many can be of one incident.
func (n *Notifier) names(m notify.Message) (id, thread string) {
	thread = "<i." + digest(m.Incident, m.Receiver) + "@" + n.domain + ">"
	if m.First && m.Event == nil {
		return thread, thread
	}
	return "<k." + digest(m.Key) + "@" + n.domain + ">", thread
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

func (c Config) subject(m notify.Message) string {
	s := ""
	switch {
	case c.SMS != nil:
		s = c.SMS.Subject
	default:
		if s = oneLine(render(c.Look.Subject, m)); s != "" {
			break
		}
		if m.Event != nil {
			s = m.Title()
			break
		}
		labels := maps.Clone(m.GroupLabels)
		delete(labels, "alertname")
		s = cmp.Or(oneLine(m.GroupLabels["alertname"]), "Alerts")
		if len(labels) > 0 {
			s += " " + notify.Pairs(labels)
		}
		if !m.First {
			s = "Re: " + s
		}
	}
	return notify.Cut(oneLine(s), MaxSubject)
}

// oneLine returns s for a header: without runs of spaces, of which lines could be made that have nothing in them, and
// without what is read as an encoded word (RFC 2047).
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(notify.Line(s), "=?", "= ?")), " ")
}

func (c Config) text(m notify.Message) string {
	if c.SMS != nil {
		return m.Brief(c.SMS.Most, notify.Units)
	}
	if s := notify.Plain(render(c.Look.Text, m)); strings.TrimSpace(s) != "" {
		return s
	}
	m = brief(m)
	parts := []string{m.Title()}
	if body := m.Text(maxText); body != "" {
		parts = append(parts, body)
	}
	if m.Link != "" {
		parts = append(parts, "All of it: "+m.Link)
	}
	return strings.Join(parts, "\n\n") + "\n"
}

func (n *Notifier) html(m notify.Message) string {
	s := render(n.c.Look.HTML, m)
	if strings.TrimSpace(s) == "" {
		s = render(n.table, brief(m))
	}
	return notify.Plain(s)
}

func render(t *notify.Template, m notify.Message) string {
	if t == nil {
		return ""
	}
	s, err := t.Render(m)
	if err != nil {
		return ""
	}
	return s
}

// maxText is how much of alerts, or of an event's text, a mail shows, as cost counts. With as many bytes a template makes less than
// notify.MaxRendered, and both parts, encoded, stay below the 10 MB that servers take.
const maxText = 900_000

// brief returns m with what a mail shows of it, each text cut and made harmless, and with as many alerts as there is room for.
func brief(m notify.Message) notify.Message {
	out := notify.Message{
		Firing: m.Firing, Resolved: m.Resolved, FiringMore: m.FiringMore, ResolvedMore: m.ResolvedMore, Link: notify.WebLink(m.Link),
		Labels: map[string]string{"alertname": short(m.Labels["alertname"])}, Annotations: map[string]string{"summary": short(m.Annotations["summary"])},
	}
	if m.Event != nil {
		out.Event = &notify.Event{Kind: m.Event.Kind, Title: notify.Cut(m.Title(), MaxSummary), Text: notify.CutBy(notify.Plain(m.Event.Text), maxText, cost)}
		return out
	}
	room := maxText
	keep := func(list []notify.Alert, more *int) []notify.Alert {
		var kept []notify.Alert
		for i, a := range list {
			a = notify.Alert{
				Annotations: map[string]string{"summary": short(a.Summary())}, Value: notify.Cut(notify.Line(a.Value), MaxValue),
				By: notify.Cut(notify.Line(a.By), MaxValue), Starts: a.Starts, Ends: a.Ends, Link: notify.WebLink(a.Link),
			}
			if room -= 300 + cost(a.Summary()+a.Value+a.By+a.Link); room < 0 { // 300: dates, and what the table is made of
				*more += len(list) - i
				break
			}
			kept = append(kept, a)
		}
		return kept
	}
	out.Firing, out.Resolved = keep(m.Firing, &out.FiringMore), keep(m.Resolved, &out.ResolvedMore)
	return out
}

func short(s string) string { return notify.Cut(notify.Line(s), MaxSummary) }

// cost is how many bytes s has at most once it is HTML.
func cost(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == ' ':
			n++
		default:
			n += max(5, utf8.RuneLen(r))
		}
	}
	return n
}
