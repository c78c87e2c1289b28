// Package edge is what every request to berthd passes on its way in and out: a correlation id, bounds, the
// headers that keep browsers from being used against it, the access log, and the last resort for panics.
package edge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/berthage/berthage/examples/berthd/problem"
)

// MaxBody is the largest body in bytes.
const MaxBody = 1 << 20

// TooLarge is the problem of a larger one.
func TooLarge(detail string) *problem.Problem {
	p := problem.TooLarge.New(detail)
	p.Want = fmt.Sprintf("at most %d bytes", MaxBody)
	return p
}

// Note is what is known of a request by the time that it ends. What is inside fills it in for the log.
type Note struct {
	ID      string // correlation id; stands in the log, in events as their cause, and in the answer
	Actor   string // who asked; empty: nobody that is known
	Pattern string // of the route

	Operation string // of the API, by its id; empty: none
	Decision  string // how it was decided that this may be done, for the audit log; empty: by the credentials
}

type noteKey struct{}

// From returns the note of a request's context; a fresh one where there is none.
func From(ctx context.Context) *Note {
	if n, ok := ctx.Value(noteKey{}).(*Note); ok {
		return n
	}
	return new(Note)
}

// Observer is told of every request that has ended.
type Observer interface {
	Observe(method, pattern string, status int, took time.Duration)
}

// Config is what Handler needs.
type Config struct {
	Logger   *slog.Logger
	Observer Observer
	TLS      bool           // served over TLS, so that browsers can be told to insist on it
	Proxies  []netip.Prefix // that say truly in X-Forwarded-For for whom they ask
}

// Handler wraps the whole of the daemon's routes.
func Handler(next http.Handler, c Config) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		note := &Note{ID: requestID(r)}
		r = r.WithContext(context.WithValue(r.Context(), noteKey{}, note))
		if len(c.Proxies) > 0 { // what is inside knows of no proxies
			if at := from(r, c.Proxies); at.IsValid() {
				r.RemoteAddr = netip.AddrPortFrom(at, 0).String()
			}
		}
		out := &recorder{ResponseWriter: w}
		headers(out.Header(), note.ID, c.TLS)
		defer func() {
			if v := recover(); v != nil {
				c.panicked(out, note, v)
			}
			took := time.Since(began)
			c.Observer.Observe(r.Method, note.Pattern, out.code(), took)
			c.Logger.LogAttrs(r.Context(), level(out.code()), "request",
				slog.String("request_id", note.ID), slog.String("method", r.Method), slog.String("path", r.URL.Path),
				slog.Int("status", out.code()), slog.Int64("bytes", out.bytes), slog.Duration("took", took),
				slog.String("actor", note.Actor), slog.String("remote", r.RemoteAddr))
		}()
		if r.ContentLength > MaxBody {
			out.Header().Set("Connection", "close") // the body is not read, so that nothing else can follow it
			p := TooLarge(fmt.Sprintf("the body has %d bytes", r.ContentLength))
			p.RequestID = note.ID
			p.Write(out)
			return
		}
		// A little more than the limit: that a body without a length is too large is found by its reader.
		r.Body = http.MaxBytesReader(out, r.Body, MaxBody+1)
		next.ServeHTTP(out, r)
	})
}

func level(status int) slog.Level {
	if status >= 500 {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// panicked answers a request whose handler has panicked. What http.Server uses to abort goes on.
func (c *Config) panicked(w *recorder, n *Note, v any) {
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	c.Logger.Error("a handler panicked", "request_id", n.ID, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if w.status == 0 {
		p := problem.Internal.New("see the daemon's log under this request's id")
		p.RequestID = n.ID
		p.Write(w)
	}
}

// requestID takes over a caller's id if it is harmless, and makes one otherwise.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	harmless := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.:", c)
	}
	if id != "" && len(id) <= 64 && strings.IndexFunc(id, func(c rune) bool { return !harmless(c) }) < 0 {
		return id
	}
	return rand.Text()
}

// Policy is the content security policy of every page: nothing but the daemon's own files, no inline
// scripts or styles, no frames, no forms that leave, and no strings that become markup.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
	"manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

func headers(h http.Header, id string, tls bool) {
	h.Set("X-Request-Id", id)
	h.Set("Content-Security-Policy", Policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store")
	if tls {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// code is the status; a handler that writes nothing answers 200.
func (w *recorder) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// Unwrap lets http.ResponseController reach deadlines and flushing.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
