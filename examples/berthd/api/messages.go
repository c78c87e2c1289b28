package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/delivery"
)

// Message is a message to one receiver, and what has become of it.
type Message struct {
	Key      string     `json:"key" doc:"Each attempt to deliver it has the same" example:"0123456789abcdef0123456789abcdef"`
	Receiver string     `json:"receiver" example:"ops"`
	Title    string     `json:"title"`
	Status   string     `json:"status" enum:"waiting,delivered,dead" doc:"dead: it is not tried again unless somebody asks for it"`
	Queued   time.Time  `json:"queued" doc:"When it was decided on"`
	Over     *time.Time `json:"over,omitempty" doc:"When it was delivered, or let go of"`
	Attempts int        `json:"attempts"`
	NextTry  *time.Time `json:"next_try,omitempty"`
	Error    string     `json:"error,omitempty" doc:"Of the last attempt, or why it is dead"`
	Kept     bool       `json:"kept" doc:"It can be seen as a whole and, if it is dead, sent again"`
}

func messageOf(s berthage.MessageStatus) Message {
	return Message{s.Key, s.Receiver, s.Title, s.Status, s.Queued, moment(s.Over), s.Attempts, moment(s.NextTry), s.Error, s.Kept}
}

// Told is a message with what its receiver gets.
type Told struct {
	Message
	Incident string            `json:"incident,omitempty" doc:"What is going on: the first message, updates and the last one have the same"`
	Kind     string            `json:"kind,omitempty" enum:"firing,resolved,event"`
	Labels   map[string]string `json:"labels,omitempty" doc:"What its alerts have in common"`
	Lines    []string          `json:"lines,omitempty" doc:"What it tells, line by line, at most 1000"`
	More     int               `json:"more,omitempty" doc:"How many alerts there are that are not among the lines"`
	Link     string            `json:"link,omitempty"`
}

// mostLines bounds what is shown of a message.
const mostLines = 1000

func told(m notify.Message, s berthage.MessageStatus) Told {
	out := Told{Message: messageOf(s), Incident: m.Incident, Kind: m.Status(), Labels: m.Labels, Lines: m.Lines(), More: m.FiringMore + m.ResolvedMore, Link: m.Link}
	if extra := len(out.Lines) - mostLines; extra > 0 {
		out.Lines, out.More = out.Lines[:mostLines], out.More+extra
	}
	return out
}

// Attempt is one attempt to deliver a message.
type Attempt struct {
	Key      string    `json:"key" doc:"Of the message"`
	Receiver string    `json:"receiver"`
	At       time.Time `json:"at" doc:"When it began"`
	Took     float64   `json:"took" doc:"Seconds"`
	Status   string    `json:"status" enum:"waiting,delivered,dead" doc:"What came of it; waiting: it failed and is repeated"`
	Error    string    `json:"error,omitempty"`
}

func attemptOf(x delivery.Attempt) Attempt {
	return Attempt{x.Key, x.Receiver, x.At, x.Took.Seconds(), string(x.Status), x.Error}
}

// latest sorts by a moment, the last first, and by a name.
func latest(at time.Time, name string) string {
	return fmt.Sprintf("%019d/%s", math.MaxInt64-at.UnixNano(), name)
}

// MessagePath names a message in a path.
type MessagePath struct {
	Key string `path:"key" pattern:"^[0-9A-Za-z_:-]{1,64}$" doc:"Of the message" example:"0123456789abcdef0123456789abcdef"`
}

// EventBody is something that happened.
type EventBody struct {
	Kind     string            `json:"kind" minLength:"1" maxLength:"63" doc:"The label event of it, by which routes match" example:"backup-failed"`
	Severity string            `json:"severity,omitempty" enum:"critical,high,medium,low"`
	Title    string            `json:"title" minLength:"1" maxLength:"1024" doc:"One line"`
	Text     string            `json:"text,omitempty" maxLength:"16384"`
	Labels   map[string]string `json:"labels,omitempty" doc:"What it is about, such as vm_id or project"`
}

func (a *api) registerMessages() {
	huma.Register(a.huma, describe("list-messages", http.MethodGet, "/messages", "Messages", "List messages",
		"Those that wait, those that are dead, and those that were delivered of late; newest first. How often one that waits was tried is known to the daemon that leads.", 422),
		func(ctx context.Context, in *struct {
			Paging
			Status   string `query:"status" enum:"waiting,delivered,dead" doc:"Only those in this status"`
			Receiver string `query:"receiver" maxLength:"63" doc:"Only those to this receiver"`
		}) (*pageOutput[Message], error) {
			found := slices.DeleteFunc(a.c.Manager.Messages().List(), func(s berthage.MessageStatus) bool {
				return in.Status != "" && s.Status != in.Status || in.Receiver != "" && s.Receiver != in.Receiver
			})
			key := func(s berthage.MessageStatus) string { return latest(s.Queued, s.Key) } // by which they are sorted
			out, err := paginate(in.Paging, requestOf(ctx).URL, a.c.Manager.Status().Revision, found, key, messageOf)
			return out, problemOf(err)
		})
	get := func(key string) (*struct{ Body Told }, error) {
		if m, s, ok := a.c.Manager.Messages().Message(key); ok {
			return &struct{ Body Told }{told(m, s)}, nil
		}
		for _, s := range a.c.Manager.Messages().List() {
			if s.Key == key {
				return &struct{ Body Told }{Told{Message: messageOf(s)}}, nil
			}
		}
		return nil, missing("message", key)
	}
	huma.Register(a.huma, describe("get-message", http.MethodGet, "/messages/{key}", "Messages", "Get a message", "One message; as long as it waits or is dead, with what its receiver gets.", 404),
		func(_ context.Context, in *MessagePath) (*struct{ Body Told }, error) { return get(in.Key) })
	huma.Register(a.huma, describe("resend-message", http.MethodPost, "/messages/{key}/resend", "Messages", "Send a dead message again", "With the same key, so that a receiver that knows keys shows it once.", 404, 409),
		func(ctx context.Context, in *MessagePath) (*struct{ Body Told }, error) {
			if err := a.as(ctx).Messages().Resend(ctx, in.Key); err != nil {
				return nil, problem.From(err)
			}
			return get(in.Key)
		})
	huma.Register(a.huma, describe("list-attempts", http.MethodGet, "/messages/attempts", "Messages", "List attempts",
		"The last attempts of this daemon to deliver something, newest first. They are in its memory.", 422),
		func(ctx context.Context, in *struct {
			Paging
			Receiver string `query:"receiver" maxLength:"63" doc:"Only those to this receiver"`
			Key      string `query:"key" maxLength:"64" doc:"Only those of this message"`
		}) (*pageOutput[Attempt], error) {
			found := slices.DeleteFunc(a.c.Manager.Messages().Attempts(), func(x delivery.Attempt) bool {
				return in.Receiver != "" && x.Receiver != in.Receiver || in.Key != "" && x.Key != in.Key
			})
			key := func(x delivery.Attempt) string { return latest(x.At, x.Key) }
			slices.SortFunc(found, func(x, y delivery.Attempt) int { return strings.Compare(key(x), key(y)) })
			out, err := paginate(in.Paging, requestOf(ctx).URL, a.c.Manager.Status().Revision, found, key, attemptOf)
			return out, problemOf(err)
		})
	op := withExample(describe("announce-event", http.MethodPost, "/events", "Messages", "Tell of an event",
		"Something that happened and that the daemon cannot know of, such as a backup that failed. It is told to those whose routes match the label event, together with others of its kind."),
		EventBody{Kind: "backup-failed", Severity: "high", Title: "The backup of shop-db has failed", Labels: map[string]string{"vm": "shop-db"}})
	op.DefaultStatus = http.StatusAccepted
	huma.Register(a.huma, op, func(ctx context.Context, in *struct{ Body EventBody }) (*struct{}, error) {
		l, err := alert.NewLabels(in.Body.Labels)
		if err != nil {
			return nil, problem.From(located(err, "labels"))
		}
		return nil, problemOf(a.as(ctx).Messages().Announce(ctx, berthage.Event{
			Kind: in.Body.Kind, Severity: alert.Severity(in.Body.Severity), Title: in.Body.Title, Text: in.Body.Text, Labels: l,
		}))
	})
}
