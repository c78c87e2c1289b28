package shoutrrr_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/notifytest"
	"github.com/berthage/berthage/notify/shoutrrr"
	"github.com/berthage/berthage/pool"
)

const (
	password    = "canary-tk-0123"
	gotifyToken = "Acanary.1234567"
)

// server is a service of one kind, which reads a text out of a request, or refuses it with a status.
type server struct {
	read func(r *http.Request, body []byte) (text string, status int)

	mu   sync.Mutex
	got  []notifytest.Delivery
	harm []string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	text, status := s.read(r, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if status == http.StatusOK && (strings.TrimSpace(text) == "" || len(text) > 4096) {
		status = http.StatusBadRequest
	}
	if w.WriteHeader(status); status != http.StatusOK {
		return
	}
	for _, bad := range []string{"@everyone", "@here", "@<", "@U", "<!", "<@", "<h", "](", "\x00", "\u202e", "\r"} {
		if strings.Contains(text, bad) {
			s.harm = append(s.harm, bad+" in "+text)
		}
	}
	s.got = append(s.got, notifytest.Delivery{Text: text, Fields: map[string]string{"text": text}})
	fmt.Fprint(w, `{}`)
}

func (s *server) Harm() []string { return s.harm }

func (s *server) Delivered() []notifytest.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]notifytest.Delivery(nil), s.got...)
}

func readNtfy(r *http.Request, body []byte) (string, int) {
	if _, p, ok := r.BasicAuth(); !ok || p != password {
		return "", http.StatusUnauthorized
	}
	if r.Method != http.MethodPost || r.URL.Path != "/ops" {
		return "", http.StatusNotFound
	}
	return string(body), http.StatusOK
}

func readGotify(r *http.Request, body []byte) (string, int) {
	var m struct{ Message string }
	switch {
	case r.URL.Query().Get("token") != gotifyToken && r.Header.Get("X-Gotify-Key") != gotifyToken:
		return "", http.StatusUnauthorized
	case r.URL.Path != "/message":
		return "", http.StatusNotFound
	case json.Unmarshal(body, &m) != nil:
		return "", http.StatusBadRequest
	}
	return m.Message, http.StatusOK
}

func readMattermost(r *http.Request, body []byte) (string, int) {
	var m struct{ Text string }
	switch {
	case r.URL.Path != "/hooks/"+password:
		return "", http.StatusNotFound
	case json.Unmarshal(body, &m) != nil:
		return "", http.StatusBadRequest
	}
	return m.Text, http.StatusOK
}

// setups has a service each, by the URL that stands for it; HOST is where its fake listens.
func setups() map[string]notifytest.Setup {
	out := make(map[string]notifytest.Setup)
	for url, read := range map[string]func(*http.Request, []byte) (string, int){
		"ntfy://:" + password + "@HOST/ops?scheme=http":                  readNtfy,
		"gotify://HOST/" + gotifyToken + "?disabletls=yes":               readGotify,
		"gotify://HOST/" + gotifyToken + "?disabletls=yes&useheader=yes": readGotify,
		"mattermost://berthage@HOST/" + password + "/ops?disabletls=yes": readMattermost,
	} {
		name, _, _ := strings.Cut(url, ":")
		if strings.Contains(url, "useheader") {
			name += " with a header"
		}
		out[name] = notifytest.Setup{
			New: func(at string, client *notify.Client) (notify.Notifier, error) {
				return shoutrrr.New(shoutrrr.Config{URL: notify.NewSecret(strings.Replace(url, "HOST", strings.TrimPrefix(at, "http://"), 1)), HTTP: client})
			},
			Fake: func() notifytest.Service { return &server{read: read} }, Secrets: []string{password, gotifyToken},
			Limits: []notifytest.Limit{{Field: "text", Most: 1000, Message: func(n int) notify.Message {
				m := notifytest.Event()
				m.Event.Text = strings.Repeat("語", n)
				return m
			}}},
		}
	}
	return out
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, s := range setups() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			notifytest.Run(t, s)
		})
	}
}

func FuzzMattermost(f *testing.F) { notifytest.Fuzz(f, setups()["mattermost"]) }

func FuzzNtfy(f *testing.F) { notifytest.Fuzz(f, setups()["ntfy"]) }

// An answer that is not the service's does not mean that the message has arrived.
func TestAnswerOfSomebodyElse(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>Sign in") }))
	defer s.Close()
	client := notify.NewClient(notify.ClientConfig{Guard: notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}})
	n, err := shoutrrr.New(shoutrrr.Config{URL: notify.NewSecret("ntfy://" + strings.TrimPrefix(s.URL, "http://") + "/ops?scheme=http"), HTTP: client})
	require.NoError(t, err)
	require.ErrorIs(t, n.Notify(t.Context(), notifytest.Firing()), notify.ErrTemporary)
}

// What the Guard does not allow is not connected to, whatever the URL says.
func TestGuard(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("was called") }))
	defer s.Close()
	for _, url := range []string{
		"ntfy://HOST/ops?scheme=http", "ntfy://HOST/ops?disabletlsverification=yes", "gotify://HOST/" + gotifyToken + "?disabletls=yes",
		"gotify://HOST/" + gotifyToken + "?insecureskipverify=yes", "mattermost://HOST/token?disabletls=yes", "rocketchat://HOST/token/token2",
	} {
		n, err := shoutrrr.New(shoutrrr.Config{URL: notify.NewSecret(strings.Replace(url, "HOST", strings.TrimPrefix(s.URL, "http://"), 1)), Unguarded: true})
		require.NoError(t, err, url)
		require.ErrorIs(t, n.Notify(t.Context(), notifytest.Firing()), notify.ErrForbidden, url)
	}
}

// A service that connects by itself: what it is sent, what a failure says, and that nobody waits for it longer than he wants.
func TestUnguarded(t *testing.T) {
	t.Parallel()
	hold, got := make(chan struct{}), make(chan string, 20)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- string(body)
		<-hold
	}))
	defer s.Close()
	u := notify.NewSecret("generic://" + strings.TrimPrefix(s.URL, "http://") + "/hook/" + password + "?disabletls=yes")
	_, err := shoutrrr.New(shoutrrr.Config{URL: u})
	require.ErrorIs(t, err, pool.ErrInvalid)
	n, err := shoutrrr.New(shoutrrr.Config{URL: u, Unguarded: true})
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", n, n, n), password)

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, n.Notify(cancelled, notifytest.Firing()), context.Canceled)
	require.Empty(t, got)

	for range 6 { // of which two are not begun
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err = n.Notify(short, notifytest.Firing())
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, notify.ErrTemporary)
	}
	require.LessOrEqual(t, len(got), 4, "attempts under way")
	close(hold)
	m := notifytest.Event()
	m.Event.Text = "to <!channel> and @all"
	require.NoError(t, n.Notify(t.Context(), m))
	var last string
	for len(got) > 0 {
		last = <-got
	}
	require.Contains(t, last, "Host kvm-7 is lost\nto <\u200b!channel> and @\u200ball\nhttps://berth.example/alerts/91ab07")

	s.Close()
	err = n.Notify(t.Context(), notifytest.Firing())
	require.ErrorIs(t, err, notify.ErrTemporary)
	require.NotContains(t, err.Error(), password)
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	for url, field := range map[string]string{
		"":                                     "url",
		"ntfy":                                 "url",
		"nothing://" + password + "@x.example": "url",
		"ntfy://:" + password + "@x.example":   "url", // without a topic
		"https://x.example/" + password:        "url",
		"://" + password:                       "url",
		"telegram://" + password + "@telegram": "url", // cannot be guarded
	} {
		_, err := shoutrrr.New(shoutrrr.Config{URL: notify.NewSecret(url)})
		var e *pool.Error
		require.ErrorAs(t, err, &e, url)
		require.Equal(t, field, e.Field, url)
		require.NotContains(t, err.Error(), password)
	}
	_, err := shoutrrr.New(shoutrrr.Config{URL: notify.NewSecret("ntfy://x.example/ops"), Most: 5000})
	require.ErrorIs(t, err, pool.ErrInvalid)
}
