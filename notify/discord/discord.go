// Package discord tells a channel of Discord by a webhook (Discord's developer documentation: "Execute Webhook", "Allowed Mentions", "Rate Limits").
//
// Every message is one message there. Discord knows no message again: one whose answer was lost can be shown twice.
//
// Names and texts are shown as they are: what is markup gets a backslash, and allowed_mentions is empty, so that nobody is told beyond the channel. The
// limit of 2,000 characters is kept in UTF-16 code units with the backslashes, which is never more. A pass of the tests shows that requests are as
// the documents say, not that the service takes them.
package discord

import (
	"context"
	"net/url"
	"strings"

	"github.com/berthage/berthage/notify"
)

// MaxContent is the most characters of a message.
const MaxContent = 2000

// Config says whom to tell.
type Config struct {
	URL  notify.Secret // https://discord.com/api/webhooks/ID/TOKEN
	HTTP *notify.Client
}

// Notifier implements notify.Notifier.
type Notifier struct {
	http *notify.Client
	url  notify.Secret
}

// New checks the configuration and sends nothing. Errors are pool.ErrInvalid.
func New(c Config) (*Notifier, error) {
	if err := notify.CheckURL("url", c.URL); err != nil {
		return nil, err
	}
	u, err := url.Parse(c.URL.Reveal())
	if err != nil {
		return nil, notify.Invalid("url", "an absolute URL with https")
	}
	q := u.Query()
	q.Set("wait", "true") // answer when the message is there, and not before
	u.RawQuery = q.Encode()
	if c.HTTP == nil {
		c.HTTP = notify.NewClient(notify.ClientConfig{})
	}
	return &Notifier{c.HTTP, notify.NewSecret(u.String())}, nil
}

type message struct {
	Content  string   `json:"content"`
	Mentions mentions `json:"allowed_mentions"`
	Flags    int      `json:"flags"`
}

type mentions struct {
	Parse []string `json:"parse"`
}

// suppressEmbeds: links have no preview.
const suppressEmbeds = 1 << 2

// Notify implements notify.Notifier.
func (n *Notifier) Notify(ctx context.Context, m notify.Message) error {
	if err := m.Check(); err != nil || m.Moot() {
		return err
	}
	out := message{render(m), mentions{[]string{}}, suppressEmbeds}
	_, err := n.http.PostJSON(ctx, notify.Request{Op: "discord: post", URL: n.url}, out)
	return err
}

// Escape makes a text show in Discord's markup as it is. It is for notify.ParseText.
func Escape(s string) string {
	var b strings.Builder
	for _, r := range notify.Plain(s) {
		if strings.ContainsRune("\\*_~`|>#[]()<:@-", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func length(s string) int { return notify.Units(Escape(s)) }

func render(m notify.Message) string {
	link := notify.WebLink(m.Link)
	if link != "" && len(link) <= 500 {
		link = "\n<" + link + ">"
	} else {
		link = ""
	}
	title := notify.CutBy(m.Title(), 500, length)
	room := MaxContent - len("****\n") - length(title) - len(link)
	text := "**" + Escape(title) + "**"
	if body := notify.List(m.Lines(), m.FiringMore+m.ResolvedMore, room, length); body != "" {
		text += "\n" + Escape(body)
	}
	return text + link
}
