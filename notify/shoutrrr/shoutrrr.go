// Package shoutrrr tells whoever the library of that name can tell (github.com/nicholas-fedor/shoutrrr; its documentation, "Services", says how
// the URL of each is made): ntfy, Gotify, Pushover, Mattermost, Rocket.Chat and, with Config.Unguarded, some twenty more, such as Matrix, Signal
// and Zulip. It is for services that have no package of their own beside this one, and a module of its own, so that nobody else gets the library.
//
// Every message is one text; that it has an end, or is sent again, no service learns, so that a message whose answer was lost can be shown twice.
//
// Which markup a service knows depends on the service. So behind each @ and <, and between ] and (, stands a zero-width space: nobody is mentioned
// and no link hides where it leads. What else is markup in a name can change how a text looks. The limit that is kept is Config.Most; a pass of the tests
// shows what ntfy, Gotify and Mattermost are sent, not that they take it, and nothing of the others.
//
// Of the five services that are named above the requests are made by a notify.Client, so that its Guard, its bounds and its errors hold as everywhere;
// what the URL says of certificates that are not to be verified does not. All others make their connections by themselves:
//
//   - No Guard sees where they connect, nor whether they follow a redirect. Proxies of the environment are used.
//   - They cannot be stopped. When the context ends Notify returns, and the attempt goes on until the service's own time limit, if it has
//     one; the message may arrive later. At most four attempts are under way; more wait.
//   - Why an attempt has failed is known to the library only, in texts that may hold parts of the URL: they are not shown, and every failure is
//     notify.ErrTemporary. Discord and others try again by themselves.
package shoutrrr

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/mattermost"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/rocketchat"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/gotify"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/ntfy"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/pushover"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/berthage/berthage/notify"
)

// MaxText is the most characters of a message.
const MaxText = 4000

// patience is how long an attempt is waited for that cannot be stopped.
const patience = 30 * time.Second

// Config says whom to tell.
type Config struct {
	URL       notify.Secret // as shoutrrr has it: "ntfy://:TOKEN@ntfy.example/ops"
	Most      int           // characters of a message, 20 to MaxText; 0: 1,000, which every service takes
	Unguarded bool          // allows services that no Guard can watch: see the package's comment
	HTTP      *notify.Client
}

// Notifier implements notify.Notifier.
type Notifier struct {
	c       Config
	op      string
	secrets []notify.Secret
	guarded bool
	slots   chan struct{} // of attempts that cannot be stopped
}

// New checks the configuration and sends nothing. Errors are pool.ErrInvalid and do not show the URL.
func New(c Config) (*Notifier, error) {
	c.Most = cmp.Or(c.Most, 1000)
	if c.Most < 20 || c.Most > MaxText {
		return nil, notify.Invalid("most", "20 to 4000")
	}
	var r router.ServiceRouter
	scheme, u, err := r.ExtractServiceName(c.URL.Reveal())
	if err != nil {
		return nil, notify.Invalid("url", "a URL of shoutrrr's, such as ntfy://:TOKEN@ntfy.example/ops")
	}
	service, err := r.NewService(scheme)
	if err != nil {
		return nil, notify.Invalid("url", "a service of shoutrrr's, such as ntfy")
	}
	n := &Notifier{c: c, op: "shoutrrr: " + service.GetID(), secrets: secrets(c.URL, u), guarded: through(service) != nil, slots: make(chan struct{}, 4)}
	if !n.guarded && !c.Unguarded {
		return nil, notify.Invalid("url", "ntfy, gotify, pushover, mattermost or rocketchat, or unguarded")
	}
	if n.guarded { // others may connect to see whether they can
		if _, err := r.Locate(c.URL.Reveal()); err != nil {
			return nil, notify.Invalid("url", "what shoutrrr's documentation says of "+service.GetID())
		}
	}
	if n.c.HTTP == nil {
		n.c.HTTP = notify.NewClient(notify.ClientConfig{})
	}
	return n, nil
}

// secrets are the URL and those parts of it that services take for a key where others have a host or a user.
func secrets(whole notify.Secret, u *url.URL) []notify.Secret {
	out := []notify.Secret{whole}
	if u.Scheme == pushover.Scheme { // pushover://shoutrrr:TOKEN@USER
		out = append(out, notify.NewSecret(u.Host))
	}
	return out
}

// through returns what gives a service a client; nil for one that takes none. A service has to be initialised before that is called.
func through(s types.Service) func(http.Client) {
	switch s := s.(type) {
	case *ntfy.Service:
		return func(c http.Client) { s.SetHTTPClient(&c) }
	case *gotify.Service:
		return func(c http.Client) { *s.GetHTTPClient() = c }
	case *pushover.Service:
		return func(c http.Client) { s.Client = &c }
	case *mattermost.Service:
		return func(c http.Client) { *s.GetHTTPClient() = c }
	case *rocketchat.Service:
		return func(c http.Client) { s.Client = &c }
	}
	return nil
}

// Notify implements notify.Notifier, but that of services that are not guarded an attempt may outlast its context.
func (n *Notifier) Notify(ctx context.Context, m notify.Message) error {
	if err := m.Check(); err != nil || m.Moot() {
		return err
	}
	if ctx.Err() != nil {
		return &notify.Error{Op: n.op, Kind: notify.ErrTemporary, Cause: context.Cause(ctx)}
	}
	text := n.render(m)
	if n.guarded {
		return n.send(ctx, text)
	}
	return n.attempt(ctx, text)
}

// send makes the request of a service by our own client, which knows what has become of it.
func (n *Notifier) send(ctx context.Context, text string) error {
	var r router.ServiceRouter
	service, err := r.Locate(n.c.URL.Reveal()) // anew each time: a service keeps what it was told last
	if err != nil {
		return n.refused()
	}
	w := &wire{ctx: ctx, n: n}
	through(service)(http.Client{Transport: w})
	err = service.Send(text, &types.Params{})
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return w.err
	case err == nil:
		return nil
	case w.asked:
		return &notify.Error{Op: n.op, Kind: notify.ErrTemporary, Maybe: true, Detail: "the answer is not one of the service's"}
	}
	return n.refused()
}

func (n *Notifier) refused() error {
	return &notify.Error{Op: n.op, Kind: notify.ErrPermanent, Detail: "shoutrrr refuses the message or the URL"}
}

// wire makes the one request of a message by a notify.Client.
type wire struct {
	ctx context.Context // of Notify: shoutrrr takes none
	n   *Notifier

	mu    sync.Mutex
	asked bool
	err   error
}

var errOnce = errors.New("a message is one request")

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked {
		return nil, errOnce
	}
	w.asked = true
	var body []byte
	if r.Body != nil {
		defer r.Body.Close()
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	answer, err := w.n.c.HTTP.Do(w.ctx, notify.Request{
		Op: w.n.op, Method: r.Method, URL: notify.NewSecret(r.URL.String()), Header: r.Header, Body: body, Secrets: w.n.secrets,
	})
	if err != nil {
		w.err = err
		return nil, err
	}
	return &http.Response{
		Status: http.StatusText(answer.Status), StatusCode: answer.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: answer.Header, Body: io.NopCloser(bytes.NewReader(answer.Body)), ContentLength: int64(len(answer.Body)), Request: r,
	}, nil
}

// attempt lets a service send by itself, and waits for it no longer than it may.
func (n *Notifier) attempt(ctx context.Context, text string) error {
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	late := func(maybe bool) error {
		e := &notify.Error{Op: n.op, Kind: notify.ErrTemporary, Maybe: maybe, Detail: "no answer in time"}
		if outer.Err() != nil {
			e.Detail, e.Cause = "", context.Cause(outer)
		}
		return e
	}
	select {
	case n.slots <- struct{}{}:
	case <-ctx.Done():
		return late(false)
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-n.slots }()
		done <- n.alone(text)
	}()
	select {
	case err := <-done:
		if err != nil {
			return &notify.Error{Op: n.op, Kind: notify.ErrTemporary, Maybe: true, Detail: "shoutrrr has failed; its words may hold a key and are not shown"}
		}
		return nil
	case <-ctx.Done():
		return late(true)
	}
}

// alone sends without anybody's help.
func (n *Notifier) alone(text string) (err error) {
	defer func() {
		if recover() != nil { // with words that may hold a part of the URL
			err = errors.New("shoutrrr panicked")
		}
	}()
	var r router.ServiceRouter
	service, err := r.Locate(n.c.URL.Reveal())
	if err != nil {
		return err
	}
	return service.Send(text, &types.Params{})
}

// Escape makes a text that mentions nobody and hides no link, in whatever markup. It is for notify.ParseText.
func Escape(s string) string {
	return strings.NewReplacer("@", "@\u200b", "<", "<\u200b", "](", "]\u200b(").Replace(notify.Plain(s))
}

func (n *Notifier) render(m notify.Message) string {
	link := notify.WebLink(m.Link)
	if link != "" {
		link = "\n" + link
	}
	if notify.Runes(link) > n.c.Most/2 {
		link = ""
	}
	room := n.c.Most - notify.Runes(link)
	text := notify.Cut(Escape(m.Title()), room)
	lines := m.Lines()
	for i := range lines {
		lines[i] = Escape(lines[i])
	}
	if left := room - notify.Runes(text) - 1; left >= 20 && (m.Event != nil || len(lines) > 1 || m.FiringMore+m.ResolvedMore > 0) {
		if body := notify.List(lines, m.FiringMore+m.ResolvedMore, left, notify.Runes); body != "" {
			text += "\n" + body
		}
	}
	return text + link
}
