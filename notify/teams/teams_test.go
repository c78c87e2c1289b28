package teams_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/notifytest"
	"github.com/berthage/berthage/notify/teams"
	"github.com/berthage/berthage/pool"
)

const token = "canary-sig-5f5f5f"

type body struct {
	Type        string
	Attachments []struct {
		ContentType string
		Content     struct {
			Schema        string `json:"$schema"`
			Type, Version string
			Body          []struct {
				Type, Spacing string
				Inlines       []struct{ Type, Text, Weight, Size, Color string }
			}
			Actions []struct{ Type, Title, URL string }
			Msteams struct{ Width string }
		}
	}
}

// workflow is one of Workflows.
type workflow struct {
	mu   sync.Mutex
	got  []notifytest.Delivery
	harm []string
}

func (s *workflow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := io.ReadAll(r.Body)
	var m body
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(&m)
	if r.URL.Query().Get("sig") != token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if err != nil || len(b) > teams.MaxBody || m.Type != "message" || len(m.Attachments) != 1 || m.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	card := m.Attachments[0].Content
	var text []string
	for _, l := range card.Body {
		if l.Type != "RichTextBlock" || len(l.Inlines) != 1 || l.Inlines[0].Text == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		t := l.Inlines[0].Text
		if text = append(text, t); strings.Contains(t, "{{") || strings.ContainsAny(t, "\n\x00\u202e") {
			s.harm = append(s.harm, t)
		}
	}
	for _, a := range card.Actions {
		if a.Type != "Action.OpenUrl" || !strings.HasPrefix(a.URL, "http") {
			s.harm = append(s.harm, a.URL)
		}
	}
	if card.Type != "AdaptiveCard" || card.Version != "1.4" || len(text) == 0 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.got = append(s.got, notifytest.Delivery{
		Text: strings.Join(text, "\n"), Fields: map[string]string{"title": text[0], "text": strings.Join(text[1:], "\n")},
	})
	w.WriteHeader(http.StatusAccepted)
}

func (s *workflow) Harm() []string { return s.harm }

func (s *workflow) Delivered() []notifytest.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]notifytest.Delivery(nil), s.got...)
}

func setup() notifytest.Setup {
	return notifytest.Setup{
		New: func(url string, client *notify.Client) (notify.Notifier, error) {
			return teams.New(teams.Config{URL: notify.NewSecret(url + "/workflows/1/triggers/manual/paths/invoke?api-version=1&sig=" + token), HTTP: client})
		},
		Fake: func() notifytest.Service { return new(workflow) }, Secrets: []string{token},
		Limits: []notifytest.Limit{{Field: "text", Most: 11_000, Count: func(s string) int { return len(s) }, Message: func(n int) notify.Message {
			m := notifytest.Event()
			m.Event.Text = strings.Repeat("語", n/3) + strings.Repeat("x", n%3)
			return m
		}}},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	notifytest.Run(t, setup())
}

func FuzzTeams(f *testing.F) { notifytest.Fuzz(f, setup()) }

func TestInvalid(t *testing.T) {
	t.Parallel()
	_, err := teams.New(teams.Config{URL: notify.NewSecret("https:/" + token)})
	require.ErrorIs(t, err, pool.ErrInvalid)
	require.NotContains(t, err.Error(), token)
}
