package notifytest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/berthage/berthage/notify"
)

// patience is how long a case waits for what has to happen; only a notifier that is at fault makes it wait.
const patience = 10 * time.Second

// Case is one rule and the code that holds a notifier to it.
type Case struct {
	Name string
	Rule string
	run  func(*probe)
}

// Judge returns what a notifier does against the rule; nothing if it keeps it.
func (c Case) Judge(ctx context.Context, s Setup) []string {
	p := &probe{Setup: s, ctx: ctx}
	c.run(p)
	return p.faults
}

// probe is a case under way.
type probe struct {
	Setup
	ctx    context.Context
	faults []string
}

func (p *probe) errorf(format string, args ...any) {
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

// gate stands before the service.
type gate struct {
	service Service
	server  *httptest.Server
	n       notify.Notifier

	mu       sync.Mutex
	requests int
	play     func(w http.ResponseWriter, r *http.Request) bool // reports whether it has answered; nil: never
}

// open starts a service and makes a notifier for it.
func (p *probe) open(c notify.ClientConfig) *gate {
	g := &gate{service: p.Fake()}
	g.server = httptest.NewServer(g)
	c.Guard.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	n, err := p.New(g.server.URL, notify.NewClient(c))
	if err != nil {
		p.errorf("New: %v", err)
		n = notify.Func(func(context.Context, notify.Message) error { return nil })
	}
	g.n = n
	return g
}

func (g *gate) close() {
	g.server.CloseClientConnections()
	g.server.Close()
}

// ServeHTTP counts, plays, and passes on.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.requests++
	play := g.play
	g.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if play == nil || !play(w, r) {
		g.service.ServeHTTP(w, r)
	}
}

func (g *gate) set(play func(http.ResponseWriter, *http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.play = play
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.requests
}

// send calls the notifier and takes note if it takes too long.
func (p *probe) send(g *gate, m notify.Message) error { return p.sendWithin(p.ctx, g, m) }

func (p *probe) sendWithin(ctx context.Context, g *gate, m notify.Message) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- g.n.Notify(ctx, m) }()
	select {
	case err := <-done:
		return err
	case <-time.After(patience + time.Second):
		p.errorf("Notify has not returned a second after its context ended")
		return context.DeadlineExceeded
	}
}

// must sends what has to arrive.
func (p *probe) must(g *gate, m notify.Message) {
	if err := p.send(g, m); err != nil {
		p.errorf("a message that is as it should be: %v", err)
	}
}

// status answers every request with one, and the service's words repeat what they were asked.
func status(code int, header ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		body, _ := io.ReadAll(r.Body)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprintf(w, "%s %s %v %s", strings.TrimPrefix(r.URL.String(), "/"), r.Host, r.Header["Authorization"], body)
		return true
	}
}

// hang answers when the client has gone.
func hang(started chan<- struct{}) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case started <- struct{}{}:
		default:
		}
		select {
		case <-r.Context().Done():
		case <-time.After(2 * patience):
		}
		return true
	}
}

// reset breaks the connection off in the middle of an answer that promises more.
func reset(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Content-Length", "1000")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write([]byte(`{"ok":true,`))
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// labelled runs f so that all goroutines that it starts can be told from others, and waits until none is left.
func (p *probe) labelled(g *gate, f func(ctx context.Context)) {
	const label = "notifytest"
	mine := strconv.Quote(label) + ":" + strconv.Quote(fmt.Sprintf("%p", g))
	pprof.Do(p.ctx, pprof.Labels(label, fmt.Sprintf("%p", g)), f)
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		var b bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
		if !strings.Contains(b.String(), mine) {
			return
		}
		if time.Now().After(end) {
			p.errorf("a goroutine that Notify started is left %v after it returned", patience)
			return
		}
	}
}
