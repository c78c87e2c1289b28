// Package teams tells a channel or chat of Microsoft Teams by a webhook of Workflows ("When a Teams webhook request is received"), with an Adaptive
// Card (Microsoft's documentation: "Create incoming webhooks with Workflows"; the Adaptive Cards schema, version 1.4). The older connectors of Office 365
// are retired and take no such cards.
//
// Every message is one card. Teams knows no message again: one whose answer was lost can be shown twice. The workflow answers 202 before the card is
// posted, so that a card that a later step of it refuses is not seen here.
//
// Names and texts are shown as they are: they stand in runs of text, which know no Markdown, and two braces, which would begin a date, are parted by a
// zero-width space. The limit of 28 KB for a message is kept in bytes of JSON. A pass of the tests shows that requests are as the documents say, not
// that the service takes them.
package teams

import (
	"context"
	"strings"

	"github.com/berthage/berthage/notify"
)

// MaxBody is the most bytes of a message.
const MaxBody = 28_000

// The parts of a card, in bytes of JSON. Together with the link and what stands around the lines they stay within MaxBody.
const (
	maxTitle = 2000
	maxText  = 11_000
	maxLines = 80
)

// Config says whom to tell.
type Config struct {
	URL  notify.Secret // that of the workflow
	HTTP *notify.Client
}

// Notifier implements notify.Notifier.
type Notifier struct{ c Config }

// New checks the configuration and sends nothing. Errors are pool.ErrInvalid.
func New(c Config) (*Notifier, error) {
	if err := notify.CheckURL("url", c.URL); err != nil {
		return nil, err
	}
	if c.HTTP == nil {
		c.HTTP = notify.NewClient(notify.ClientConfig{})
	}
	return &Notifier{c}, nil
}

type message struct {
	Type        string       `json:"type"`
	Attachments []attachment `json:"attachments"`
}

type attachment struct {
	Type    string `json:"contentType"`
	Content card   `json:"content"`
}

type card struct {
	Schema  string   `json:"$schema"`
	Type    string   `json:"type"`
	Version string   `json:"version"`
	Body    []lines  `json:"body"`
	Actions []action `json:"actions,omitempty"`
	Teams   width    `json:"msteams"`
}

type width struct {
	Width string `json:"width"`
}

type lines struct {
	Type    string `json:"type"`
	Spacing string `json:"spacing,omitempty"`
	Inlines []run  `json:"inlines"`
}

type run struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Weight string `json:"weight,omitempty"`
	Size   string `json:"size,omitempty"`
	Color  string `json:"color,omitempty"`
}

type action struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

// Notify implements notify.Notifier.
func (n *Notifier) Notify(ctx context.Context, m notify.Message) error {
	if err := m.Check(); err != nil || m.Moot() {
		return err
	}
	out := message{"message", []attachment{{"application/vnd.microsoft.card.adaptive", render(m)}}}
	_, err := n.c.HTTP.PostJSON(ctx, notify.Request{Op: "teams: post", URL: n.c.URL}, out)
	return err
}

func render(m notify.Message) card {
	title := run{Type: "TextRun", Text: harmless(notify.CutBy(m.Title(), maxTitle, length)), Weight: "Bolder", Size: "Medium", Color: color(m)}
	out := card{
		Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4",
		Body: []lines{{Type: "RichTextBlock", Inlines: []run{title}}}, Teams: width{"Full"},
	}
	told, more := m.Lines(), m.FiringMore+m.ResolvedMore
	if len(told) > maxLines {
		told, more = told[:maxLines], more+len(told)-maxLines
	}
	for l := range strings.SplitSeq(notify.List(told, more, maxText, length), "\n") {
		if l != "" { // a run has to have a text
			out.Body = append(out.Body, lines{Type: "RichTextBlock", Spacing: "None", Inlines: []run{{Type: "TextRun", Text: harmless(l)}}})
		}
	}
	if href := notify.WebLink(m.Link); href != "" {
		out.Actions = []action{{"Action.OpenUrl", "All of it", href}}
	}
	return out
}

func color(m notify.Message) string {
	switch {
	case m.Status() == "resolved":
		return "Good"
	case m.Severity() == "critical" || m.Severity() == "error":
		return "Attention"
	case m.Severity() == "warning":
		return "Warning"
	}
	return "Default"
}

func harmless(s string) string { return strings.ReplaceAll(s, "{", "{\u200b") }

// length counts bytes of JSON.
func length(s string) int {
	n := 0
	for _, r := range harmless(s) {
		switch {
		case r == '"' || r == '\\' || r == '\n' || r == '\t':
			n += 2
		case r < ' ' || r == '<' || r == '>' || r == '&' || r == '\u2028' || r == '\u2029':
			n += 6
		default:
			n += len(string(r))
		}
	}
	return n
}
