package notifytest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/notifytest"
)

// note is what the service below takes.
type note struct {
	Key, Incident, Status, Title, Text string
}

// board is a service that keeps a note per key, and takes titles of at most 100 characters.
type board struct {
	mu    sync.Mutex
	notes []note
	harm  []string
}

func (b *board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var n note
	body, _ := io.ReadAll(r.Body)
	if json.Unmarshal(body, &n) != nil || notify.Runes(n.Title) > 100 || notify.Runes(n.Text) > 5000 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if strings.ContainsAny(n.Title, "\r\n\x00") {
		b.harm = append(b.harm, n.Title)
	}
	for _, known := range b.notes {
		if known.Key == n.Key && n.Key != "" {
			return
		}
	}
	b.notes = append(b.notes, n)
}

func (b *board) Harm() []string { return b.harm }

func (b *board) Delivered() []notifytest.Delivery {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []notifytest.Delivery
	for _, n := range b.notes {
		out = append(out, notifytest.Delivery{
			Key: n.Key, Incident: n.Incident, Status: n.Status, Text: n.Title + "\n" + n.Text, Fields: map[string]string{"title": n.Title},
		})
	}
	return out
}

const token = "canary-9f2c"

// pinner is a notifier for a board, with a flaw of its own if flaw says so.
type pinner struct {
	url, token notify.Secret
	client     *notify.Client
	flaw       string

	mu    sync.Mutex
	turns int
}

func (p *pinner) Notify(ctx context.Context, m notify.Message) error {
	if err := m.Check(); err != nil {
		return err
	}
	if m.Moot() && p.flaw != "end-alone" || m.Event != nil && p.flaw == "event" {
		return nil
	}
	n := note{m.Key, m.Incident, m.Status(), notify.Cut(m.Title(), 100), m.Text(4000)}
	p.mu.Lock()
	p.turns++
	turn := p.turns
	p.mu.Unlock()
	lasting := ctx
	switch p.flaw {
	case "one-incident":
		n.Incident = m.Key
	case "many":
		n.Text = notify.Cut(strings.Join(m.Lines(), "\n"), 4000)
		n.Title = "alerts"
	case "limits":
		n.Title = notify.Cut(m.Title(), 99)
	case "limits-bytes":
		n.Title = m.Title()
		n.Title = n.Title[:min(len(n.Title), 100)]
	case "hostile":
		n.Title = notify.Cut(m.Annotations["summary"], 100)
	case "unchanged":
		if m.Labels != nil {
			m.Labels["seen"] = "yes"
		}
	case "concurrent":
		if turn > 1 {
			time.Sleep(time.Millisecond)
			n.Incident = "another"
		}
	case "reply-lost":
		n.Key = fmt.Sprint("k-", turn)
	case "cancelled-before":
		ctx = context.WithoutCancel(ctx)
	case "leaves-nothing":
		go time.Sleep(time.Minute)
	}
	header := http.Header{"Authorization": {"Bearer " + p.token.Reveal()}}
	r := notify.Request{Op: "pin", URL: p.url, Header: header, Secrets: []notify.Secret{p.token}}
	_, err := p.client.PostJSON(ctx, r, n)
	var e *notify.Error
	if !errors.As(err, &e) {
		return err
	}
	again := func(status int) error {
		if e.Status == status {
			_, err = p.client.PostJSON(ctx, r, n)
		}
		return err
	}
	switch p.flaw {
	case "status-400":
		return again(400)
	case "status-500":
		return again(500)
	case "status-401", "status-403", "status-404":
		if fmt.Sprint("status-", e.Status) == p.flaw {
			e.Kind = notify.ErrTemporary
		}
	case "status-429-seconds", "status-503":
		e.RetryAfter = 0
	case "status-429-date":
		e.RetryAfter *= 10
	case "time-out", "reset":
		if e.Status == 0 {
			e.Kind = notify.ErrPermanent
		}
	case "endless-answer":
		return plainly(lasting, p.url.Reveal(), n, true)
	case "redirect":
		if e.Status/100 == 3 || errors.Is(err, notify.ErrForbidden) {
			return plainly(lasting, p.url.Reveal(), n, false)
		}
	case "cancelled-during":
		if e.Cause != nil {
			e.Cause = nil
		}
	case "secrets":
		e.Detail = "Bearer " + p.token.Reveal()
	}
	return err
}

// plainly posts as a program would that uses net/http as it is.
func plainly(ctx context.Context, url string, n note, whole bool) error {
	body, _ := json.Marshal(n)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if whole {
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	return &notify.Error{Op: "pin", Kind: notify.ErrPermanent, Status: resp.StatusCode}
}

func setup(flaw string) notifytest.Setup {
	return notifytest.Setup{
		New: func(url string, client *notify.Client) (notify.Notifier, error) {
			return &pinner{url: notify.NewSecret(url + "/" + token), token: notify.NewSecret(token), client: client, flaw: flaw}, nil
		},
		Fake:    func() notifytest.Service { return new(board) },
		Secrets: []string{token}, Limits: []notifytest.Limit{{Field: "title", Most: 100}},
		HasIncident: true, HasKey: true, Once: true,
	}
}

func TestNothingIsFoundInANotifierThatKeepsTheRules(t *testing.T) {
	t.Parallel()
	notifytest.Run(t, setup(""))
}

// The suite is worth what it catches: each case finds a notifier that breaks its rule.
func TestEveryCaseCatchesANotifierThatBreaksItsRule(t *testing.T) {
	t.Parallel()
	for _, c := range notifytest.Cases() {
		for _, flaw := range append(map[string][]string{"limits": {"limits-bytes"}}[c.Name], c.Name) {
			t.Run(flaw, func(t *testing.T) {
				t.Parallel()
				faults := c.Judge(t.Context(), setup(flaw))
				require.NotEmpty(t, faults, c.Rule)
				t.Log(faults[0])
			})
		}
	}
}
