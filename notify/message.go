package notify

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

// Notifier carries messages to one receiver.
//
// Notify sends m at most once and returns nil when the receiver has taken it. Every other outcome is an *Error, or an
// error that counts as temporary. It does not change m, returns soon after ctx has ended, leaves no goroutine behind, and
// is safe for concurrent use. A message that is [Message.Moot] is dropped: nothing is sent, and nil returned.
type Notifier interface {
	Notify(ctx context.Context, m Message) error
}

// Func is a Notifier that is a function.
type Func func(ctx context.Context, m Message) error

// Notify implements Notifier.
func (f Func) Notify(ctx context.Context, m Message) error { return f(ctx, m) }

// Message is what one receiver is told of one group of alerts at one moment, or of one Event. Its maps and slices are
// shared and never changed.
type Message struct {
	// Key names this very message: each attempt to deliver it has the same, no other message has it.
	Key string
	// Incident names what is going on: the first message, updates and the last one have the same.
	// Key and Incident are 1 to 64 letters, digits and any of "_:-", best a hash.
	Incident string

	Receiver   string // its name
	GroupKey   string // the group, in its own words
	Generation int64  // grows from message to message
	Step       int    // of the escalation, from 0
	First      bool   // the receiver has been told nothing of this incident before
	At         time.Time

	GroupLabels map[string]string // what the group is made by
	Labels      map[string]string // what its alerts have in common
	Annotations map[string]string // likewise

	Firing, Resolved         []Alert
	FiringMore, ResolvedMore int // how many more there are that are not listed

	Link  string // a page that shows all of it; empty: there is none
	Event *Event // instead of alerts
}

// Alert is one alert of a Message.
type Alert struct {
	Fingerprint  string
	Labels       map[string]string
	Annotations  map[string]string
	Value        string    // as it was measured: "81.5", "NaN"; empty: there is none
	Starts, Ends time.Time // Ends is zero while it fires
	By           string    // who has acknowledged it
	Link         string
}

// Event is something that happened and needs no end: an instance suspended, a host lost, a quota nearly used.
type Event struct {
	Kind     string // "host-lost"
	Severity string // as the label severity of alerts; empty: info
	Title    string // one line
	Text     string
}

// Check tells whether a message can be sent at all. Texts may have any content; receivers make them harmless.
func (m Message) Check() error {
	for _, f := range []struct{ name, value string }{{"key", m.Key}, {"incident", m.Incident}} {
		if !isKey(f.value) {
			return &pool.Error{Op: "notify", Kind: pool.ErrInvalid, Field: f.name, Value: f.value, Want: `1 to 64 letters, digits and "_:-"`}
		}
	}
	if m.FiringMore < 0 || m.ResolvedMore < 0 {
		return &pool.Error{Op: "notify", Kind: pool.ErrInvalid, Field: "more", Want: "0 or above"}
	}
	if m.Event == nil && len(m.Firing)+len(m.Resolved)+m.FiringMore+m.ResolvedMore == 0 {
		return &pool.Error{Op: "notify", Kind: pool.ErrInvalid, Field: "alerts", Want: "an alert or an event"}
	}
	return nil
}

func isKey(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("_:-", rune(c)) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// Fires reports whether anything in the message still fires. An event does not.
func (m Message) Fires() bool { return len(m.Firing)+m.FiringMore > 0 }

// Moot reports that there is nothing to say: all is over, and the receiver has never heard that it began.
func (m Message) Moot() bool { return m.Event == nil && m.First && !m.Fires() }

// Status returns "firing", "resolved" or "event".
func (m Message) Status() string {
	switch {
	case m.Event != nil:
		return "event"
	case m.Fires():
		return "firing"
	}
	return "resolved"
}

// Severity returns the worst severity of what the message tells: "critical", "error", "warning" or "info". An alert has it in
// its label severity, where high, medium and low stand for the last three; one with none, or with a word of its own, counts
// as a warning, so that it is not taken for unimportant.
func (m Message) Severity() string {
	if m.Event != nil {
		return severities()[rank(cmp.Or(m.Event.Severity, "info"))]
	}
	worst := len(severities()) - 1
	listed := slices.Concat(m.Firing, m.Resolved)
	for _, a := range listed {
		worst = min(worst, rank(a.Labels["severity"]))
	}
	if len(listed) == 0 {
		worst = rank(m.Labels["severity"])
	}
	return severities()[worst]
}

func severities() []string { return []string{"critical", "error", "warning", "info"} }

func rank(severity string) int {
	switch severity {
	case "page", "emergency":
		severity = "critical"
	case "high":
		severity = "error"
	case "medium":
		severity = "warning"
	case "low":
		severity = "info"
	}
	if i := slices.Index(severities(), severity); i >= 0 {
		return i
	}
	return slices.Index(severities(), "warning")
}

// Title returns the message in one line of plain text of any length:
//
//	[FIRING:2] HighCPU: CPU of web-1 above 80 %
func (m Message) Title() string {
	if m.Event != nil {
		return cmp.Or(strings.TrimSpace(Line(m.Event.Title)), strings.TrimSpace(Line(m.Event.Kind)), "event")
	}
	n, all := len(m.Resolved)+m.ResolvedMore, m.Resolved
	mark := "[RESOLVED:"
	if m.Fires() {
		n, all, mark = len(m.Firing)+m.FiringMore, m.Firing, "[FIRING:"
	}
	out := mark + strconv.Itoa(n) + "] " + Line(cmp.Or(m.Labels["alertname"], "alerts"))
	if n == 1 && len(all) == 1 {
		out += ": " + all[0].Summary()
	} else if s := m.Annotations["summary"]; s != "" {
		out += ": " + Line(s)
	}
	return out
}

// Summary returns the alert in one line of plain text: its annotation summary, or its labels.
func (a Alert) Summary() string {
	if s := a.Annotations["summary"]; s != "" {
		return Line(s)
	}
	return Pairs(a.Labels)
}

// Pairs returns labels in one line of plain text, by name: `host="a", vm="web-1"`.
func Pairs(labels map[string]string) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(labels)) {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(Line(name) + "=" + strconv.Quote(Line(labels[name])))
	}
	return b.String()
}

// Lines returns what the message tells, line by line, as plain text: of alerts one line each, those that fire first, with the
// value and since when; of an event its text. How many more there are is not among them; see [List].
func (m Message) Lines() []string {
	if m.Event != nil {
		if m.Event.Text == "" {
			return nil
		}
		return strings.Split(Plain(m.Event.Text), "\n")
	}
	var out []string
	for _, a := range m.Firing {
		out = append(out, a.line("firing", a.Starts))
	}
	for _, a := range m.Resolved {
		out = append(out, a.line("resolved", a.Ends))
	}
	return out
}

func (a Alert) line(status string, at time.Time) string {
	out := status
	if !at.IsZero() {
		out += " " + at.UTC().Format("2006-01-02 15:04 UTC")
	}
	out += ": " + a.Summary()
	if a.Value != "" {
		out += " (value " + Line(a.Value) + ")"
	}
	if a.By != "" {
		out += " (acknowledged by " + Line(a.By) + ")"
	}
	return out
}

// Text returns the lines of the message, and how many more there are, within most runes.
func (m Message) Text(most int) string {
	return List(m.Lines(), m.FiringMore+m.ResolvedMore, most, Runes)
}

// Brief returns the message for a telephone, within most by the measure (see [CutBy]): its title, of more than one alert as many lines as there is
// room for, and the link if it takes no more than half.
func (m Message) Brief(most int, length func(string) int) string {
	link := WebLink(m.Link)
	if link != "" {
		link = "\n" + link
	}
	if length(link) > most/2 {
		link = ""
	}
	room := most - length(link)
	text := CutBy(m.Title(), room, length)
	if left := room - length(text) - 1; left >= 20 && (m.Event != nil || len(m.Lines()) > 1) {
		if body := List(m.Lines(), m.FiringMore+m.ResolvedMore, left, length); body != "" {
			text += "\n" + body
		}
	}
	return text + link
}
