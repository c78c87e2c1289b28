// Package trail writes down who has had berthd do what, and reads it back: entries, signed heads and evidence.
//
// What a command has changed stands in the ledger as events, with its actor and the id of its request as their cause. A Recorder adds to
// these what they do not say, in one event (audit.Command): from where the command came, which one it was, and how it was decided that it may be
// done. A command that has changed nothing is no entry, so that whoever repeats one fills no ledger; neither is a question. What
// was refused or has failed is counted, one record a minute and principal (audit.Counter).
package trail

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/edge"
	"github.com/berthage/berthage/pool"
)

// Parts returns what a daemon's ledger has beside the books of a pool, knowing nothing yet: for whoever opens, folds or verifies one.
func Parts() []pool.Part { return []pool.Part{access.Part(), audit.Part()} }

// part returns the name of the part that takes records.
func part() string { return audit.Part().Name() }

// Recorder writes down what is asked for. It is safe for concurrent use.
type Recorder struct {
	Manager *berthage.Manager // audit.Part is among its Config.Parts
	Logger  *slog.Logger      // is told what could not be written down

	mu      sync.Mutex
	counter audit.Counter
}

// beside reports whether an operation changes nothing in the ledger and is written down all the same: it hands out or ends access, or sends something out.
func beside(operation string) bool {
	switch operation {
	case "make-link", "sign-out", "test-receiver", "try-receiver":
		return true
	}
	return false
}

// Handler writes down what passes. It stands behind what says who asks, and before what does it. The answer has not ended before what it is
// about is written down.
func (r *Recorder) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		who, known := access.From(req.Context())
		if !known {
			next.ServeHTTP(w, req)
			return
		}
		out := &watched{ResponseWriter: w}
		before := r.head()
		next.ServeHTTP(out, req)
		command := req.Method != http.MethodGet && req.Method != http.MethodHead && req.Method != http.MethodOptions
		note := edge.From(req.Context())
		switch {
		case out.status == http.StatusForbidden, command && out.status >= http.StatusBadRequest:
			r.count(req.Context(), who.Actor, action(req, note), out.reason())
		case command:
			r.note(req, who, note, before)
		}
	})
}

func (r *Recorder) head() (head pool.Revision) {
	r.Manager.View(func(st *pool.State) { head = st.Head() })
	return head
}

// action is which command it was.
func action(req *http.Request, note *edge.Note) string {
	if note.Operation != "" {
		return note.Operation
	}
	return strings.ToLower(req.Method) + " " + req.URL.Path
}

// writing bounds how long the daemon tries to write something down.
const writing = 10 * time.Second

// Beside returns a Manager that writes down a request beside what follows from it, in the same batch: what stands in the ledger of the one stands there of
// the other.
func Beside(m *berthage.Manager, req *http.Request) *berthage.Manager {
	return m.With(part(), record(req))
}

// record is what there is to be written down of a request.
func record(req *http.Request) audit.Record {
	who, _ := access.From(req.Context())
	note := edge.From(req.Context())
	decision := note.Decision
	if decision == "" {
		decision = "token"
		if who.Session != "" {
			decision = "session"
		}
	}
	c := audit.Command{Action: action(req, note), Target: strings.TrimPrefix(req.URL.Path, "/api/v1/"), Decision: decision, Result: audit.Done}
	return audit.Record{Command: &c, From: from(req), Subject: auth.Subject(who.Actor)}
}

// note writes down a command that was done, unless it stands in the ledger already beside what has followed from it. Who has gone in the meantime has asked for it
// all the same.
func (r *Recorder) note(req *http.Request, who access.Who, note *edge.Note, before pool.Revision) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), writing)
	defer cancel()
	wrote, recorded, err := r.wrote(ctx, before, who.Actor, note.ID)
	if err == nil && (recorded || !wrote && !beside(note.Operation)) {
		return
	}
	it := record(req)
	if err == nil {
		err = r.Manager.As(who.Actor, note.ID).Decide(ctx, part(), it)
	}
	if err != nil {
		c := it.Command
		r.Logger.Error("a command was done and is not in the audit log", "request_id", note.ID, "actor", who.Actor, "action", c.Action, "target", c.Target, "error", err)
	}
}

// wrote reports whether a request has led to events after a revision, and whether it is written down beside them.
func (r *Recorder) wrote(ctx context.Context, after pool.Revision, actor, cause string) (wrote, recorded bool, err error) {
	head := r.head()
	if head == after {
		return false, false, nil
	}
	for b, err := range r.Manager.Events(ctx, after) {
		if errors.Is(err, pool.ErrCompacted) { // it took long; rather one entry too many
			return true, false, nil
		}
		if err != nil {
			return wrote, false, err
		}
		for i := range b.Events {
			switch e := &b.Events[i]; {
			case e.Cause != cause || e.Actor != actor:
			case e.Kind == audit.KindCommand:
				return true, true, nil
			default:
				wrote = true
			}
		}
		if b.Revision >= head {
			break
		}
	}
	return wrote, false, nil
}

// from is the address that a request comes from.
func from(req *http.Request) string {
	at, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return ""
	}
	return at.Addr().Unmap().String()
}

// count counts what was refused, and writes down what is due.
func (r *Recorder) count(ctx context.Context, actor, action, reason string) {
	r.mu.Lock()
	due := r.counter.Add(time.Now(), actor, action, reason)
	r.mu.Unlock()
	r.write(context.WithoutCancel(ctx), due)
}

// Run writes down what was refused, minute by minute, until ctx ends, and then the rest. Where nothing is refused nothing is written.
func (r *Recorder) Run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
			r.mu.Lock()
			due := r.counter.Due(time.Now())
			r.mu.Unlock()
			r.write(ctx, due)
		}
	}
	r.mu.Lock()
	rest := r.counter.Flush()
	r.mu.Unlock()
	r.write(context.WithoutCancel(ctx), rest)
}

func (r *Recorder) write(ctx context.Context, refused []audit.Refusals) {
	if len(refused) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writing)
	defer cancel()
	if err := r.Manager.As("berthd", "refusals").Decide(ctx, part(), audit.Record{Refusals: refused}); err != nil {
		r.Logger.Error("what was refused is not in the audit log", "records", len(refused), "error", err)
	}
}

// watched remembers how a request was answered.
type watched struct {
	http.ResponseWriter
	status int
	body   []byte // of a problem, its beginning
}

// mostProblem bounds what is kept of a problem, in bytes.
const mostProblem = 4 << 10

// WriteHeader implements http.ResponseWriter.
func (w *watched) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *watched) Write(b []byte) (int, error) {
	if w.status >= http.StatusBadRequest && len(w.body) < mostProblem {
		w.body = append(w.body, b[:min(len(b), mostProblem-len(w.body))]...)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach what is within.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// reason is the kind of the problem that was answered: of its words some could be personal.
func (w *watched) reason() string {
	var p struct{ Type string }
	if dec := json.NewDecoder(strings.NewReader(string(w.body))); dec.Decode(&p) == nil && p.Type != "" {
		return strings.TrimPrefix(p.Type, "/problems/")
	}
	return http.StatusText(w.status)
}
