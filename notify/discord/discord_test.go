package discord_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/discord"
	"github.com/berthage/berthage/notify/notifytest"
	"github.com/berthage/berthage/pool"
)

const token = "canary-dEfG_1234"

// server is a webhook of Discord.
type server struct {
	mu   sync.Mutex
	got  []string
	harm []string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := io.ReadAll(r.Body)
	var m struct {
		Content  string `json:"content"`
		Mentions *struct {
			Parse []string `json:"parse"`
		} `json:"allowed_mentions"`
		Flags int `json:"flags"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(&m)
	switch {
	case r.URL.Path != "/api/webhooks/7/"+token:
		w.WriteHeader(http.StatusNotFound)
		return
	case err != nil || strings.TrimSpace(m.Content) == "" || notify.Units(m.Content) > 2000:
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if m.Mentions == nil || m.Mentions.Parse == nil || len(m.Mentions.Parse) > 0 {
		s.harm = append(s.harm, "mentions are allowed")
	}
	// What is markup without a backslash, but for the title's own stars and the link in the last line.
	bare := regexp.MustCompile(`\\.|\n<https?://[^<>\s]*>$|^\*\*|\*\*$|(?m:\*\*$)`).ReplaceAllString(m.Content, "")
	if strings.ContainsAny(bare, "*_~`|[]<>@#\x00\u202e") {
		s.harm = append(s.harm, m.Content)
	}
	s.got = append(s.got, m.Content)
	if r.URL.Query().Get("wait") == "true" {
		fmt.Fprintf(w, `{"id":"%d"}`, len(s.got))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *server) Harm() []string { return s.harm }

func (s *server) Delivered() []notifytest.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []notifytest.Delivery
	for _, c := range s.got {
		out = append(out, notifytest.Delivery{Text: strings.ReplaceAll(c, `\`, ""), Fields: map[string]string{"content": c}})
	}
	return out
}

func setup() notifytest.Setup {
	return notifytest.Setup{
		New: func(url string, client *notify.Client) (notify.Notifier, error) {
			return discord.New(discord.Config{URL: notify.NewSecret(url + "/api/webhooks/7/" + token), HTTP: client})
		},
		Fake: func() notifytest.Service { return new(server) }, Secrets: []string{token},
		Limits: []notifytest.Limit{{Field: "content", Most: 2000, Count: notify.Units, Message: func(n int) notify.Message {
			m := notifytest.Event()
			m.Event.Text = strings.Repeat("語", n)
			return m
		}}},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	notifytest.Run(t, setup())
}

func FuzzDiscord(f *testing.F) { notifytest.Fuzz(f, setup()) }

func TestInvalid(t *testing.T) {
	t.Parallel()
	_, err := discord.New(discord.Config{URL: notify.NewSecret("discord.com/" + token)})
	require.ErrorIs(t, err, pool.ErrInvalid)
	require.NotContains(t, err.Error(), token)
}
