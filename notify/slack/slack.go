// Package slack tells people in Slack, by an incoming webhook or as a bot (Slack's developer documentation: "Sending messages using incoming
// webhooks", chat.postMessage, chat.update, "Formatting message text", "Rate limits").
//
// A [Webhook] posts a message for everything that it is told; Slack gives it no way to change one later.
//
// A [Bot] keeps one message per incident: it is changed to what is true now, and what happens is told in its thread. Which message that is it
// keeps in Notes. An event is a message of its own. It needs the scope chat:write and has to be a member of the channel.
//
// With Look.Acknowledge there is a button under what fires, and [Interaction] reads what Slack sends when it is pressed.
//
// Slack knows no message again: one whose answer was lost can be shown twice. A bot's messages carry Key and Incident as metadata.
//
// Names and texts are shown as they are: &, < and > are escaped, so that nobody is mentioned and no link hides where it leads, and blocks are
// verbatim, so that Slack makes no links of its own. Limits that are kept: 150 characters in a header, 3,000 in a section, 50 blocks, counted
// after escaping. A pass of the tests shows that requests are as the documents say, not that the service takes them.
package slack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/notify"
)

// Limits of blocks, in characters.
const (
	MaxHeader  = 150
	MaxSection = 3000
)

// Endpoint is the public service's Web API.
const Endpoint = "https://slack.com/api"

// Escape makes a text show in mrkdwn as it is, but for *, _, ~ and `, which only change how it looks. It is for notify.ParseText.
func Escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(notify.Plain(s))
}

// length counts a text as it is after escaping.
func length(s string) int { return notify.Runes(Escape(s)) }

type message struct {
	Channel  string    `json:"channel,omitempty"`
	Text     string    `json:"text"` // what is shown where blocks are not, as in a notification
	Blocks   []block   `json:"blocks"`
	TS       string    `json:"ts,omitempty"`
	Thread   string    `json:"thread_ts,omitempty"`
	Metadata *metadata `json:"metadata,omitempty"`
	Links    bool      `json:"unfurl_links"` // false: nothing is fetched because a name looks like a link
	Media    bool      `json:"unfurl_media"`
}

type metadata struct {
	Type    string            `json:"event_type"`
	Payload map[string]string `json:"event_payload"`
}

type block struct {
	Type     string    `json:"type"`
	Text     *text     `json:"text,omitempty"`
	Elements []element `json:"elements,omitempty"`
}

// element is a button.
type element struct {
	Type   string `json:"type"`
	Text   text   `json:"text"`
	Action string `json:"action_id"`
	Value  string `json:"value"`
}

type text struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Verbatim bool   `json:"verbatim,omitempty"`
}

// Look says how messages look.
type Look struct {
	// Body makes the text below the title, in mrkdwn; parse it with Escape. Nil: a line for each alert. If it fails, or makes nothing, it is
	// as if it were nil: a mistake in a template keeps no alert from arriving.
	Body *notify.Template
	// Acknowledge puts a button under what fires, for an app whose Interactivity Request URL leads to where Interaction reads what Slack sends. An
	// incoming webhook has to be that of such an app.
	Acknowledge bool
}

func (l Look) message(m notify.Message) message {
	out := message{
		Text:   Escape(notify.CutBy(m.Title(), MaxSection, length)),
		Blocks: []block{{Type: "header", Text: &text{Type: "plain_text", Text: notify.Cut(m.Title(), MaxHeader)}}},
	}
	var link string
	if href := notify.WebLink(m.Link); href != "" {
		link = "<" + strings.ReplaceAll(href, "&", "&amp;") + "|All of it>"
	}
	body := ""
	if l.Body != nil {
		if s, err := l.Body.Render(m); err == nil {
			body = notify.Cut(strings.TrimSpace(notify.Plain(s)), MaxSection)
		}
	}
	if body == "" {
		body = Escape(notify.List(m.Lines(), m.FiringMore+m.ResolvedMore, MaxSection, length))
	}
	for _, s := range []string{body, link} {
		if strings.TrimSpace(s) != "" {
			out.Blocks = append(out.Blocks, block{Type: "section", Text: &text{"mrkdwn", s, true}})
		}
	}
	out.Blocks = append(out.Blocks, l.acknowledgeable(m)...)
	return out
}

// WebhookConfig says whom to tell.
type WebhookConfig struct {
	URL  notify.Secret // https://hooks.slack.com/services/...
	Look Look
	HTTP *notify.Client
}

// Webhook implements notify.Notifier.
type Webhook struct{ c WebhookConfig }

// NewWebhook checks the configuration and sends nothing. Errors are pool.ErrInvalid.
func NewWebhook(c WebhookConfig) (*Webhook, error) {
	if c.HTTP == nil {
		c.HTTP = notify.NewClient(notify.ClientConfig{})
	}
	return &Webhook{c}, notify.CheckURL("url", c.URL)
}

// Notify implements notify.Notifier.
func (w *Webhook) Notify(ctx context.Context, m notify.Message) error {
	if err := m.Check(); err != nil || m.Moot() {
		return err
	}
	_, err := w.c.HTTP.PostJSON(ctx, notify.Request{Op: "slack: post", URL: w.c.URL}, w.c.Look.message(m))
	return err
}

// BotConfig says whom to tell.
type BotConfig struct {
	Token    notify.Secret // "xoxb-..."
	Channel  string        // its id: "C0123456789"
	Notes    notify.Notes  // which message is which incident's; nil: kept in memory
	Look     Look
	Endpoint string // empty: Endpoint
	HTTP     *notify.Client
}

// Bot implements notify.Notifier.
type Bot struct{ c BotConfig }

// NewBot checks the configuration and sends nothing. Errors are pool.ErrInvalid.
func NewBot(c BotConfig) (*Bot, error) {
	if token := c.Token.Reveal(); token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, notify.Invalid("token", "a bot's token")
	}
	if c.Channel == "" || strings.ContainsFunc(c.Channel, func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') }) {
		return nil, notify.Invalid("channel", "the id of a channel, such as C0123456789")
	}
	c.Endpoint = strings.TrimRight(cmp.Or(c.Endpoint, Endpoint), "/")
	if c.Notes == nil {
		c.Notes = new(notify.MemoryNotes)
	}
	if c.HTTP == nil {
		c.HTTP = notify.NewClient(notify.ClientConfig{})
	}
	return &Bot{c}, notify.CheckURL("endpoint", notify.NewSecret(c.Endpoint))
}

// Notify implements notify.Notifier.
func (b *Bot) Notify(ctx context.Context, m notify.Message) error {
	if err := m.Check(); err != nil || m.Moot() {
		return err
	}
	out := b.c.Look.message(m)
	out.Channel = b.c.Channel
	out.Metadata = &metadata{"berthage_message", map[string]string{"key": m.Key, "incident": m.Incident}}
	if m.Event != nil {
		_, err := b.call(ctx, "chat.postMessage", out)
		return err
	}
	name := "slack/" + b.c.Channel + "/" + m.Incident
	top, err := b.c.Notes.Load(ctx, name)
	if err != nil {
		return err
	}
	if top != "" {
		changed := out
		changed.TS = top
		_, err := b.call(ctx, "chat.update", changed)
		switch {
		case errors.Is(err, errGone):
			top = ""
		case err != nil:
			return err
		}
	}
	out.Thread = top
	ts, err := b.call(ctx, "chat.postMessage", out)
	if err != nil {
		return err
	}
	switch {
	case !m.Fires():
		top = ""
	case top == "":
		top = ts
	default:
		return nil
	}
	// The message has arrived. A note that is not taken costs a message beside the first one; sending again would as well.
	_ = b.c.Notes.Save(ctx, name, top)
	return nil
}

// errGone: the message to be changed is there no more, or too old to be changed.
var errGone = errors.New("the message cannot be changed any more")

// call calls a method of the Web API and returns the message's timestamp, by which it is known.
func (b *Bot) call(ctx context.Context, method string, m message) (string, error) {
	r := notify.Request{
		Op: "slack: " + method, URL: notify.NewSecret(b.c.Endpoint + "/" + method), Secrets: []notify.Secret{b.c.Token},
		Header: http.Header{"Authorization": {"Bearer " + b.c.Token.Reveal()}},
	}
	answer, err := b.c.HTTP.PostJSON(ctx, r, m)
	if err != nil {
		return "", err
	}
	var out struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
		TS    string `json:"ts"`
	}
	switch err := json.Unmarshal(answer.Body, &out); {
	case err != nil:
		return "", &notify.Error{Op: r.Op, Kind: notify.ErrTemporary, Status: answer.Status, Maybe: true, Detail: "the answer is not JSON"}
	case !out.OK:
		return "", refusal(r.Op, out.Error)
	}
	return out.TS, nil
}

// refusal is what one of the error codes that Slack documents for both methods means.
func refusal(op, code string) error {
	code = notify.Cut(notify.Line(code), 60)
	e := &notify.Error{Op: op, Kind: notify.ErrPermanent, Detail: code}
	switch {
	case slices.Contains([]string{"ratelimited", "rate_limited", "message_limit_exceeded"}, code):
		e.Kind, e.RetryAfter = notify.ErrTemporary, time.Minute
	case slices.Contains([]string{"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}, code):
		e.Kind = notify.ErrTemporary
	case slices.Contains([]string{"message_not_found", "cant_update_message", "edit_window_closed"}, code):
		e.Cause = errGone
	case slices.Contains([]string{
		"not_authed", "invalid_auth", "account_inactive", "token_revoked", "token_expired", "no_permission", "missing_scope", "not_allowed_token_type",
		"access_denied", "org_login_required", "ekm_access_denied", "channel_not_found", "not_in_channel", "is_archived", "restricted_action", "team_access_not_granted",
	}, code):
		e.Kind = notify.ErrBroken
	}
	return e
}
