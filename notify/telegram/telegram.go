// Package telegram tells a chat of Telegram by a bot (Telegram's "Bot API": sendMessage, formatting options, making requests, ResponseParameters).
//
// Every message is one message there; those after the first of an incident are replies to it, which Notes know. Telegram knows no message again:
// one whose answer was lost can be shown twice.
//
// Names and texts are shown as they are: they are escaped for HTML, behind each @ stands a zero-width space, so that nobody is mentioned, and
// links have no preview. The limit of 4,096 characters is kept in UTF-16 code units, which is never more. A pass of the tests shows that requests
// are as the document says, not that the service takes them.
package telegram

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/notify"
)

// MaxText is the most characters of a message, without its markup.
const MaxText = 4096

// Endpoint is the public service.
const Endpoint = "https://api.telegram.org"

// Config says whom to tell.
type Config struct {
	Token    notify.Secret // of the bot: "123456:ABC..."
	Chat     string        // its number, or "@name" of a channel
	Topic    int64         // of a group with topics; 0: none
	Notes    notify.Notes  // which message began an incident; nil: kept in memory
	Endpoint string        // empty: Endpoint
	HTTP     *notify.Client
}

// Notifier implements notify.Notifier.
type Notifier struct {
	c   Config
	url notify.Secret
}

// New checks the configuration and sends nothing. Errors are pool.ErrInvalid.
func New(c Config) (*Notifier, error) {
	id, key, ok := strings.Cut(c.Token.Reveal(), ":")
	if _, err := strconv.ParseUint(id, 10, 63); err != nil || !ok || key == "" || strings.ContainsFunc(key, notWord) {
		return nil, notify.Invalid("token", `a bot's token, such as "123456:ABC"`)
	}
	if _, err := strconv.ParseInt(c.Chat, 10, 64); err != nil && (len(c.Chat) < 2 || c.Chat[0] != '@' || strings.ContainsFunc(c.Chat[1:], notWord)) {
		return nil, notify.Invalid("chat", `the number of a chat, or "@" and the name of a channel`)
	}
	url := notify.NewSecret(strings.TrimRight(cmp.Or(c.Endpoint, Endpoint), "/") + "/bot" + c.Token.Reveal() + "/sendMessage")
	if err := notify.CheckURL("endpoint", url); err != nil {
		return nil, err
	}
	if c.Notes == nil {
		c.Notes = new(notify.MemoryNotes)
	}
	if c.HTTP == nil {
		c.HTTP = notify.NewClient(notify.ClientConfig{})
	}
	return &Notifier{c, url}, nil
}

func notWord(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
}

type message struct {
	Chat    string  `json:"chat_id"`
	Topic   int64   `json:"message_thread_id,omitempty"`
	Text    string  `json:"text"`
	Mode    string  `json:"parse_mode"`
	Preview preview `json:"link_preview_options"`
	Reply   *reply  `json:"reply_parameters,omitempty"`
}

type preview struct {
	Disabled bool `json:"is_disabled"`
}

type reply struct {
	Message int64 `json:"message_id"`
	Without bool  `json:"allow_sending_without_reply"`
}

// Notify implements notify.Notifier.
func (n *Notifier) Notify(ctx context.Context, m notify.Message) error {
	if err := m.Check(); err != nil || m.Moot() {
		return err
	}
	out := message{Chat: n.c.Chat, Topic: n.c.Topic, Text: render(m), Mode: "HTML", Preview: preview{true}}
	name := "telegram/" + n.c.Chat + "/" + m.Incident
	began, err := n.c.Notes.Load(ctx, name)
	if err != nil {
		return err
	}
	if id, err := strconv.ParseInt(began, 10, 64); err == nil && m.Event == nil {
		out.Reply = &reply{id, true}
	}
	answer, err := n.c.HTTP.PostJSON(ctx, notify.Request{Op: "telegram: send", URL: n.url, Secrets: []notify.Secret{n.c.Token}}, out)
	var in struct {
		Description string `json:"description"`
		Parameters  struct {
			RetryAfter int `json:"retry_after"`
		} `json:"parameters"`
		Result struct {
			ID int64 `json:"message_id"`
		} `json:"result"`
	}
	readable := json.Unmarshal(answer.Body, &in) == nil
	var e *notify.Error
	if errors.As(err, &e) && readable {
		if after := min(in.Parameters.RetryAfter, 24*60*60); after > 0 && e.RetryAfter == 0 {
			e.RetryAfter = time.Duration(after) * time.Second
		}
		if e.Status == 404 || strings.Contains(in.Description, "chat not found") {
			e.Kind = notify.ErrBroken // the token, or the chat
		}
	}
	if err != nil || m.Event != nil {
		return err
	}
	// The message has arrived; a note that is not taken costs no more than a reply.
	switch {
	case !m.Fires():
		_ = n.c.Notes.Save(ctx, name, "")
	case began == "" && readable && in.Result.ID != 0:
		_ = n.c.Notes.Save(ctx, name, strconv.FormatInt(in.Result.ID, 10))
	}
	return nil
}

// harmless keeps names from being mentions.
func harmless(s string) string { return strings.ReplaceAll(s, "@", "@\u200b") }

func length(s string) int { return notify.Units(harmless(s)) }

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(harmless(s))
}

func render(m notify.Message) string {
	title := notify.CutBy(m.Title(), 1024, length)
	href, link := notify.WebLink(m.Link), "\nAll of it"
	if href == "" {
		link = ""
	}
	room := MaxText - length(title) - len("\n") - len(link)
	text := "<b>" + escape(title) + "</b>"
	if body := notify.List(m.Lines(), m.FiringMore+m.ResolvedMore, room, length); body != "" {
		text += "\n" + escape(body)
	}
	if href != "" {
		text += "\n<a href=\"" + strings.ReplaceAll(href, "&", "&amp;") + "\">All of it</a>"
	}
	return text
}
