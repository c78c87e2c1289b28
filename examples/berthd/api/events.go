package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// Bounds of event streams.
const (
	mostStreams  = 64
	heartbeat    = 15 * time.Second
	writeTimeout = 10 * time.Second
)

// Batch is what one commit wrote, as the stream and the history show it. What is personal in an event is
// left out.
type Batch struct {
	Revision int64   `json:"revision" doc:"Its position in the ledger"`
	Events   []Event `json:"events" nullable:"false"`
}

// Event is one fact.
type Event struct {
	ID      string          `json:"id" doc:"Unique"`
	Index   int             `json:"index" doc:"Within its batch, from 0"`
	Time    time.Time       `json:"time"`
	Actor   string          `json:"actor" doc:"Who caused it; berthage for its own decisions"`
	Cause   string          `json:"cause,omitempty" doc:"The id of the request that caused it"`
	Epoch   int64           `json:"epoch" doc:"Of the leader that wrote it"`
	Kind    string          `json:"kind" example:"instance.launched"`
	Version int             `json:"version" doc:"Of the data's form"`
	Subject string          `json:"subject,omitempty" doc:"Whom its private part concerns; that part is not shown"`
	Data    json.RawMessage `json:"data" doc:"As the kind defines it"`
}

func batch(b pool.Batch) Batch {
	out := Batch{Revision: int64(b.Revision), Events: make([]Event, len(b.Events))}
	for i, e := range b.Events {
		out.Events[i] = Event{
			ID: e.ID, Index: e.Index, Time: e.Time, Actor: e.Actor, Cause: e.Cause, Epoch: e.Epoch,
			Kind: e.Kind, Version: e.Version, Subject: e.Subject, Data: e.Data,
		}
	}
	return out
}

type eventsInput struct {
	Last  string `header:"Last-Event-ID" maxLength:"32" doc:"Revision of the last batch that was received: the stream goes on after it"`
	After int64  `query:"after" minimum:"-1" default:"-1" doc:"Revision to start after when there is no Last-Event-ID; -1: only new ones"`
}

func (a *api) registerEvents() {
	op := describe("stream-events", http.MethodGet, "/events", "Events", "Follow the events",
		"Server-sent events. First comes one named hello with the present revision; then one named batch for each commit, whose id is its revision, so that a "+
			"browser that reconnects goes on where it was. One named reset says that what was asked for is no longer there: read the present state and go on. Events of what the caller may not see are left out.", 422)
	op.Responses = map[string]*huma.Response{"200": {Description: "A stream that does not end", Content: map[string]*huma.MediaType{
		"text/event-stream": {Schema: &huma.Schema{Type: "string"}, Example: "event: hello\ndata: {\"revision\":41}\n\n"},
	}}}
	register(a, shows(auth.Events), nowhere, op, func(ctx context.Context, in *eventsInput) (*struct{ Body func(huma.Context) }, error) {
		after := pool.Revision(in.After)
		if in.Last != "" {
			n, err := strconv.ParseInt(in.Last, 10, 64)
			if err != nil || n < 0 {
				return nil, problem.From(&pool.Error{Kind: pool.ErrInvalid, Field: "Last-Event-ID", Value: in.Last, Want: "a revision"})
			}
			after = pool.Revision(n)
		}
		if requestOf(ctx).Method == http.MethodHead { // a stream that nobody reads would keep the connection
			return &struct{ Body func(huma.Context) }{func(hctx huma.Context) {
				_, w := humago.Unwrap(hctx)
				(&stream{w: w}).begin()
			}}, nil
		}
		select {
		case a.streams <- struct{}{}:
		default:
			p := problem.TooManyStreams.New("all are taken")
			p.RetryAfter = 10
			return nil, p
		}
		return &struct{ Body func(huma.Context) }{func(hctx huma.Context) {
			defer func() { <-a.streams }()
			_, w := humago.Unwrap(hctx)
			s := &stream{w: w, rc: http.NewResponseController(w)}
			a.stream(ctx, s, after)
		}}, nil
	})
}

// stream writes server-sent events.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// begin says what follows.
func (s *stream) begin() {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
}

// send writes one message at once, each with a deadline of its own.
func (s *stream) send(name, id string, data any) error {
	msg := ""
	if id != "" {
		msg = "id: " + id + "\n"
	}
	if name != "" {
		b, err := json.Marshal(data) // in one line
		if err != nil {
			return err
		}
		msg += "event: " + name + "\ndata: " + string(b) + "\n\n"
	} else {
		msg = ":\n\n"
	}
	if err := s.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write([]byte(msg)); err != nil {
		return err
	}
	return s.rc.Flush()
}

type position struct {
	Revision int64 `json:"revision"`
}

// stream follows the ledger until the client or the daemon goes.
func (a *api) stream(ctx context.Context, s *stream, after pool.Revision) {
	s.begin()
	head := view(a.c.Manager, (*pool.State).Head)
	if s.send("hello", "", position{int64(head)}) != nil {
		return
	}
	if after < 0 {
		after = head
	}
	for {
		if after > head { // of another ledger, or of one that was restored
			after = head
			if s.send("reset", strconv.FormatInt(int64(head), 10), position{int64(head)}) != nil {
				return
			}
		}
		if !errors.Is(a.batches(ctx, s, after), pool.ErrCompacted) {
			return
		}
		head = view(a.c.Manager, (*pool.State).Head)
		after = head + 1
	}
}

// batches sends what comes after a revision, and heartbeats, by which both sides notice that the other is
// gone. It returns why it ended.
func (a *api) batches(ctx context.Context, s *stream, after pool.Revision) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type next struct {
		b   pool.Batch
		err error
	}
	ch := make(chan next)
	go func() {
		defer close(ch)
		for b, err := range a.c.Manager.Events(ctx, after) {
			select {
			case ch <- next{b, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case n, ok := <-ch:
			if !ok {
				return ctx.Err()
			}
			if n.err != nil {
				return n.err
			}
			shown, err := a.seen(ctx, n.b)
			if err != nil {
				return err
			}
			if len(shown.Events) == 0 {
				continue
			}
			if err := s.send("batch", strconv.FormatInt(int64(n.b.Revision), 10), batch(shown)); err != nil {
				return err
			}
		case <-beat.C:
			if _, err := a.seen(ctx, pool.Batch{}); err != nil { // nobody is listened to, or talked to, for longer than they are good
				return err
			}
			if err := s.send("", "", nil); err != nil {
				return err
			}
		case <-a.c.Drain:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
