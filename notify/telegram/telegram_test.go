package telegram_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/notifytest"
	"github.com/berthage/berthage/notify/telegram"
	"github.com/berthage/berthage/pool"
)

const token = "123456:canary-AAbbCC"

type sent struct {
	Chat    string `json:"chat_id"`
	Topic   int64  `json:"message_thread_id"`
	Text    string `json:"text"`
	Mode    string `json:"parse_mode"`
	Preview struct {
		Disabled bool `json:"is_disabled"`
	} `json:"link_preview_options"`
	Reply *struct {
		Message int64 `json:"message_id"`
		Without bool  `json:"allow_sending_without_reply"`
	} `json:"reply_parameters"`
}

// server is the Bot API, with the markup that it knows.
type server struct {
	mu   sync.Mutex
	got  []sent
	harm []string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := io.ReadAll(r.Body)
	var m sent
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(&m)
	refuse := func(code int, description string) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"ok":false,"error_code":%d,"description":%q}`, code, description)
	}
	shown, ok := visible(m.Text)
	switch {
	case r.URL.Path != "/bot"+token+"/sendMessage":
		refuse(404, "Not Found")
		return
	case m.Chat != "-100123":
		refuse(400, "Bad Request: chat not found")
		return
	case err != nil || m.Mode != "HTML" || !ok || shown == "" || notify.Units(shown) > 4096:
		refuse(400, "Bad Request: can't parse entities")
		return
	}
	if regexp.MustCompile(`@\w`).MatchString(shown) || strings.ContainsAny(shown, "\x00\u202e") || !m.Preview.Disabled {
		s.harm = append(s.harm, shown)
	}
	s.got = append(s.got, m)
	fmt.Fprintf(w, `{"ok":true,"result":{"message_id":%d}}`, len(s.got))
}

// visible returns what is seen of a text with markup.
func visible(text string) (string, bool) {
	plain := regexp.MustCompile(`</?b>|<a href="http[^"<> ]*">|</a>`).ReplaceAllString(text, "")
	return html.UnescapeString(plain), !strings.ContainsAny(plain, "<>")
}

func (s *server) Harm() []string { return s.harm }

func (s *server) Delivered() []notifytest.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []notifytest.Delivery
	for _, m := range s.got {
		shown, _ := visible(m.Text)
		out = append(out, notifytest.Delivery{Text: shown, Fields: map[string]string{"text": shown}})
	}
	return out
}

func setup() notifytest.Setup {
	return notifytest.Setup{
		New: func(url string, client *notify.Client) (notify.Notifier, error) {
			return telegram.New(telegram.Config{Token: notify.NewSecret(token), Chat: "-100123", Endpoint: url, HTTP: client})
		},
		Fake: func() notifytest.Service { return new(server) }, Secrets: []string{token, "canary-AAbbCC"},
		Limits: []notifytest.Limit{{Field: "text", Most: 4096, Count: notify.Units, Message: func(n int) notify.Message {
			m := notifytest.Event()
			m.Event.Text, m.Link = strings.Repeat("語", n), ""
			return m
		}}},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	notifytest.Run(t, setup())
}

func FuzzTelegram(f *testing.F) { notifytest.Fuzz(f, setup()) }

func client() *notify.Client {
	return notify.NewClient(notify.ClientConfig{Guard: notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}})
}

func TestReplies(t *testing.T) {
	t.Parallel()
	s := new(server)
	h := httptest.NewServer(s)
	defer h.Close()
	n, err := telegram.New(telegram.Config{Token: notify.NewSecret(token), Chat: "-100123", Topic: 7, Endpoint: h.URL, HTTP: client()})
	require.NoError(t, err)
	for _, m := range []notify.Message{notifytest.Firing(), notifytest.Update(), notifytest.Resolved(), notifytest.Firing()} {
		require.NoError(t, n.Notify(t.Context(), m))
	}
	require.Nil(t, s.got[0].Reply)
	require.EqualValues(t, 1, s.got[1].Reply.Message)
	require.EqualValues(t, 1, s.got[2].Reply.Message)
	require.Nil(t, s.got[3].Reply)
	require.EqualValues(t, 7, s.got[3].Topic)
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		kind   error
		after  time.Duration
	}{
		{429, `{"ok":false,"parameters":{"retry_after":35}}`, notify.ErrTemporary, 35 * time.Second},
		{400, `{"ok":false,"description":"Bad Request: chat not found"}`, notify.ErrBroken, 0},
		{400, `{"ok":false,"description":"Bad Request: message is too long"}`, notify.ErrPermanent, 0},
		{404, `{"ok":false,"description":"Not Found"}`, notify.ErrBroken, 0},
	} {
		h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		}))
		n, err := telegram.New(telegram.Config{Token: notify.NewSecret(token), Chat: "@ops", Endpoint: h.URL, HTTP: client()})
		require.NoError(t, err)
		err = n.Notify(t.Context(), notifytest.Firing())
		require.ErrorIs(t, err, c.kind)
		require.Equal(t, c.after, notify.RetryAfter(err))
		h.Close()
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	for field, c := range map[string]telegram.Config{
		"token": {Token: notify.NewSecret("1:a/../b"), Chat: "1"}, "chat": {Token: notify.NewSecret(token), Chat: "ops"},
		"endpoint": {Token: notify.NewSecret(token), Chat: "1", Endpoint: "ftp://x"},
	} {
		_, err := telegram.New(c)
		var e *pool.Error
		require.ErrorAs(t, err, &e, field)
		require.Equal(t, field, e.Field)
	}
}
