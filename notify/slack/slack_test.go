package slack_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/notifytest"
	"github.com/berthage/berthage/notify/slack"
	"github.com/berthage/berthage/pool"
)

const (
	token   = "xoxb-canary-1234"
	channel = "C0123456789"
)

// post is what both ways of telling take.
type post struct {
	Channel, Text string
	TS            string `json:"ts"`
	Thread        string `json:"thread_ts"`
	Blocks        []struct {
		Type string
		Text *struct {
			Type, Text string
			Verbatim   bool
		}
		Elements []struct {
			Type, Value string
			Action      string `json:"action_id"`
			Text        struct{ Type, Text string }
		}
	}
	Metadata struct {
		Type    string            `json:"event_type"`
		Payload map[string]string `json:"event_payload"`
	}
	Links bool `json:"unfurl_links"`
	Media bool `json:"unfurl_media"`
}

// workspace is Slack: an incoming webhook and two methods of the Web API.
type workspace struct {
	mu    sync.Mutex
	posts []post
	harm  []string
	fail  string // an error code of the Web API for the next call
}

func (s *workspace) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := io.ReadAll(r.Body)
	var p post
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(&p)
	webhook := strings.HasPrefix(r.URL.Path, "/services/")
	answer := func(code, plain string) {
		if webhook {
			w.WriteHeader(map[bool]int{true: 200, false: 400}[code == ""])
			fmt.Fprint(w, plain)
			return
		}
		fmt.Fprintf(w, `{"ok":%v,"error":%q,"channel":%q,"ts":%q}`, code == "", code, channel, p.TS)
	}
	switch {
	case webhook && r.URL.Path != "/services/"+token:
		w.WriteHeader(http.StatusForbidden)
		return
	case !webhook && r.Header.Get("Authorization") != "Bearer "+token:
		answer("invalid_auth", "")
		return
	case err != nil:
		answer("invalid_json", "invalid_payload")
		return
	case !webhook && p.Channel != channel:
		answer("channel_not_found", "")
		return
	case s.fail != "":
		code := s.fail
		s.fail = ""
		answer(code, "")
		return
	}
	if !valid(p) {
		answer("invalid_blocks", "invalid_blocks")
		return
	}
	s.judge(p)
	if r.URL.Path == "/chat.update" {
		i := slices.IndexFunc(s.posts, func(q post) bool { return q.TS == p.TS })
		if i < 0 {
			answer("message_not_found", "")
			return
		}
		p.Thread = s.posts[i].Thread
		s.posts[i] = p
	} else {
		p.TS = fmt.Sprintf("1700000000.%06d", len(s.posts))
		s.posts = append(s.posts, p)
	}
	answer("", "ok")
}

func valid(p post) bool {
	if len(p.Blocks) > 50 || p.Text == "" {
		return false
	}
	for _, b := range p.Blocks {
		if b.Type == "actions" {
			if len(b.Elements) != 1 || b.Text != nil || b.Elements[0].Type != "button" || b.Elements[0].Text.Type != "plain_text" || len(b.Elements[0].Value) > 2000 {
				return false
			}
			continue
		}
		most := map[string]int{"header": 150, "section": 3000}[b.Type]
		if b.Text == nil || b.Text.Text == "" || notify.Runes(b.Text.Text) > most || b.Type == "header" && b.Text.Type != "plain_text" {
			return false
		}
	}
	return true
}

// judge looks for what Slack would make of a text: everything in angle brackets.
func (s *workspace) judge(p post) {
	special := regexp.MustCompile(`<([^>]*)>?`)
	texts := []string{p.Text}
	for _, b := range p.Blocks {
		if b.Text != nil && b.Text.Type == "mrkdwn" {
			texts = append(texts, b.Text.Text)
			if !b.Text.Verbatim {
				s.harm = append(s.harm, "not verbatim")
			}
		}
	}
	for _, t := range texts {
		for _, found := range special.FindAllStringSubmatch(t, -1) {
			if href, label, _ := strings.Cut(found[1], "|"); !strings.HasPrefix(href, "http") || label != "All of it" {
				s.harm = append(s.harm, found[0])
			}
		}
		if strings.ContainsAny(t, "\x00\u202e") {
			s.harm = append(s.harm, t)
		}
	}
}

func (s *workspace) Harm() []string { return s.harm }

func (s *workspace) Delivered() []notifytest.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []notifytest.Delivery
	for _, p := range s.posts {
		d := notifytest.Delivery{Key: p.Metadata.Payload["key"], Incident: p.Metadata.Payload["incident"], Text: p.Text, Fields: map[string]string{}}
		for _, b := range p.Blocks {
			if b.Text == nil {
				continue
			}
			d.Text += "\n" + b.Text.Text
			if d.Fields[b.Type] == "" {
				d.Fields[b.Type] = b.Text.Text
			}
		}
		out = append(out, d)
	}
	return out
}

func limits() []notifytest.Limit {
	return []notifytest.Limit{{Field: "header", Most: slack.MaxHeader}, {Field: "section", Most: slack.MaxSection}}
}

func webhook() notifytest.Setup {
	return notifytest.Setup{
		New: func(url string, client *notify.Client) (notify.Notifier, error) {
			return slack.NewWebhook(slack.WebhookConfig{URL: notify.NewSecret(url + "/services/" + token), HTTP: client})
		},
		Fake: func() notifytest.Service { return new(workspace) }, Secrets: []string{token}, Limits: limits(),
	}
}

func bot() notifytest.Setup {
	s := webhook()
	s.HasIncident = true
	s.New = func(url string, client *notify.Client) (notify.Notifier, error) {
		c := slack.BotConfig{Token: notify.NewSecret(token), Channel: channel, Endpoint: url, HTTP: client, Look: slack.Look{Acknowledge: true}}
		return slack.NewBot(c)
	}
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("webhook", func(t *testing.T) {
		t.Parallel()
		notifytest.Run(t, webhook())
	})
	t.Run("bot", func(t *testing.T) {
		t.Parallel()
		notifytest.Run(t, bot())
	})
}

func FuzzWebhook(f *testing.F) { notifytest.Fuzz(f, webhook()) }

func FuzzBot(f *testing.F) { notifytest.Fuzz(f, bot()) }

func client() *notify.Client {
	return notify.NewClient(notify.ClientConfig{Guard: notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}})
}

// An incident is one message, which says what is true now, with a thread that says what has happened.
func TestThread(t *testing.T) {
	t.Parallel()
	s := new(workspace)
	server := httptest.NewServer(s)
	defer server.Close()
	n, err := slack.NewBot(slack.BotConfig{Token: notify.NewSecret(token), Channel: channel, Endpoint: server.URL, HTTP: client()})
	require.NoError(t, err)
	for _, m := range []notify.Message{notifytest.Firing(), notifytest.Update(), notifytest.Resolved(), notifytest.Firing()} {
		require.NoError(t, n.Notify(t.Context(), m))
	}
	require.Len(t, s.posts, 4)
	top := s.posts[0].TS
	require.Contains(t, s.posts[0].Text, "[RESOLVED:1]")
	require.Equal(t, []string{"", top, top, ""}, []string{s.posts[0].Thread, s.posts[1].Thread, s.posts[2].Thread, s.posts[3].Thread})
	require.Contains(t, s.posts[1].Text, "[FIRING:2]")

	s.posts = nil // somebody has removed it
	require.NoError(t, n.Notify(t.Context(), notifytest.Update()))
	require.Len(t, s.posts, 1)
	require.Empty(t, s.posts[0].Thread)
	require.NoError(t, n.Notify(t.Context(), notifytest.Resolved()))
	require.Equal(t, s.posts[0].TS, s.posts[1].Thread)
}

func TestCodesOfTheWebAPI(t *testing.T) {
	t.Parallel()
	s := new(workspace)
	server := httptest.NewServer(s)
	defer server.Close()
	n, err := slack.NewBot(slack.BotConfig{Token: notify.NewSecret(token), Channel: channel, Endpoint: server.URL, HTTP: client()})
	require.NoError(t, err)
	for code, kind := range map[string]error{
		"ratelimited": notify.ErrTemporary, "internal_error": notify.ErrTemporary, "invalid_auth": notify.ErrBroken, "channel_not_found": notify.ErrBroken,
		"invalid_blocks": notify.ErrPermanent, "something_new": notify.ErrPermanent,
	} {
		s.fail = code
		err := n.Notify(t.Context(), notifytest.Firing())
		require.ErrorIs(t, err, kind, code)
		require.ErrorContains(t, err, code)
	}
}

func TestTemplateThatFailsKeepsNothingFromArriving(t *testing.T) {
	t.Parallel()
	s := new(workspace)
	server := httptest.NewServer(s)
	defer server.Close()
	for text, want := range map[string]string{
		`*{{.Status}}* {{range .Firing}}{{.Labels.vm}}{{end}}`: "*firing* &lt;!here&gt;",
		`{{(index .Firing 7).Value}}`:                          "CPU of web-1",
	} {
		body, err := notify.ParseText(text, slack.Escape)
		require.NoError(t, err)
		n, err := slack.NewWebhook(slack.WebhookConfig{URL: notify.NewSecret(server.URL + "/services/" + token), HTTP: client(), Look: slack.Look{Body: body}})
		require.NoError(t, err)
		m := notifytest.Firing()
		m.Firing[0].Labels["vm"] = "<!here>"
		require.NoError(t, n.Notify(t.Context(), m))
		require.Contains(t, s.Delivered()[len(s.posts)-1].Fields["section"], want)
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	good := slack.BotConfig{Token: notify.NewSecret(token), Channel: channel}
	for field, change := range map[string]func(*slack.BotConfig){
		"token":    func(c *slack.BotConfig) { c.Token = notify.NewSecret("a\nb") },
		"channel":  func(c *slack.BotConfig) { c.Channel = "#ops" },
		"endpoint": func(c *slack.BotConfig) { c.Endpoint = "slack.com" },
	} {
		c := good
		change(&c)
		_, err := slack.NewBot(c)
		var e *pool.Error
		require.ErrorAs(t, err, &e, field)
		require.Equal(t, field, e.Field)
	}
}
