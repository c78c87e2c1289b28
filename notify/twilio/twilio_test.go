package twilio_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/notifytest"
	"github.com/berthage/berthage/notify/twilio"
	"github.com/berthage/berthage/pool"
)

const (
	account = "AC0123456789abcdef0123456789abcdef"
	token   = "canary+token/99"
)

// server is the Messages resource.
type server struct {
	mu   sync.Mutex
	got  []notifytest.Delivery
	harm []string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, password, _ := r.BasicAuth()
	refuse := func(status, code int) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"code":%d,"status":%d,"message":"no"}`, code, status)
	}
	if user != account || password != token {
		refuse(http.StatusUnauthorized, 20003)
		return
	}
	err := r.ParseForm()
	body := r.PostForm.Get("Body")
	switch {
	case r.URL.Path != "/2010-04-01/Accounts/"+account+"/Messages.json":
		refuse(http.StatusNotFound, 20404)
		return
	case err != nil || len(r.PostForm) != 3 || r.PostForm.Get("From") != "+15005550006":
		refuse(http.StatusBadRequest, 21606)
		return
	case r.PostForm.Get("To") != "+15551230000":
		refuse(http.StatusBadRequest, 21211)
		return
	case strings.TrimSpace(body) == "" || notify.Units(body) > 1600:
		refuse(http.StatusBadRequest, 21617)
		return
	}
	if strings.ContainsAny(body, "\x00\r\u202e") {
		s.harm = append(s.harm, body)
	}
	s.got = append(s.got, notifytest.Delivery{Text: body, Fields: map[string]string{"body": body}})
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, `{"status":"queued"}`)
}

func (s *server) Harm() []string { return s.harm }

func (s *server) Delivered() []notifytest.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]notifytest.Delivery(nil), s.got...)
}

func config(url string, client *notify.Client) twilio.Config {
	return twilio.Config{
		Account: account, Secret: notify.NewSecret(token), From: "+15005550006", To: "+15551230000", Most: twilio.MaxBody, Endpoint: url, HTTP: client,
	}
}

func setup() notifytest.Setup {
	return notifytest.Setup{
		New: func(url string, client *notify.Client) (notify.Notifier, error) {
			return twilio.New(config(url, client))
		},
		Fake: func() notifytest.Service { return new(server) }, Secrets: []string{token},
		Limits: []notifytest.Limit{{Field: "body", Most: twilio.MaxBody, Count: notify.Units}},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	notifytest.Run(t, setup())
}

func FuzzTwilio(f *testing.F) { notifytest.Fuzz(f, setup()) }

func TestShort(t *testing.T) {
	t.Parallel()
	s := new(server)
	h := httptest.NewServer(s)
	defer h.Close()
	c := config(h.URL, notify.NewClient(notify.ClientConfig{Guard: notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}}))
	c.Most = 0
	n, err := twilio.New(c)
	require.NoError(t, err)
	m := notifytest.Firing()
	m.FiringMore = 599
	require.NoError(t, n.Notify(t.Context(), m))
	require.LessOrEqual(t, notify.Units(s.got[0].Text), 320)
	require.Contains(t, s.got[0].Text, "[FIRING:600]")
	require.Contains(t, s.got[0].Text, "https://berth.example/alerts/91ab07")

	c.To = "+15559999999"
	n, err = twilio.New(c)
	require.NoError(t, err)
	require.ErrorIs(t, n.Notify(t.Context(), m), notify.ErrBroken)
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*twilio.Config){
		"account":  func(c *twilio.Config) { c.Account = "AC/../x" },
		"key":      func(c *twilio.Config) { c.Key = "SK1" },
		"secret":   func(c *twilio.Config) { c.Secret = notify.Secret{} },
		"from":     func(c *twilio.Config) { c.From = "ops" },
		"to":       func(c *twilio.Config) { c.To = "+1 555" },
		"most":     func(c *twilio.Config) { c.Most = 2000 },
		"endpoint": func(c *twilio.Config) { c.Endpoint = "api.twilio.com" },
	} {
		c := config("https://api.example", nil)
		change(&c)
		_, err := twilio.New(c)
		var e *pool.Error
		require.ErrorAs(t, err, &e, field)
		require.Equal(t, field, e.Field)
	}
}
