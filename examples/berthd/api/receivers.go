package api

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/examples/berthd/receivers"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// ReceiverType is a kind of receiver, and what can be said of one.
type ReceiverType struct {
	Name   string          `json:"name" example:"slack"`
	About  string          `json:"about" doc:"For people"`
	Fields []ReceiverField `json:"fields" nullable:"false"`
}

// ReceiverField is one thing that can be said of a receiver.
type ReceiverField struct {
	Name     string   `json:"name" example:"channel"`
	Kind     string   `json:"kind" enum:"text,template,number,bool,list,url,duration" doc:"Of its value; a list is one of texts"`
	Required bool     `json:"required"`
	Secret   bool     `json:"secret" doc:"It stands under secrets and is never shown again; else under settings"`
	Where    bool     `json:"where" doc:"It says where messages go: who changes it gives the secrets anew"`
	Choices  []string `json:"choices,omitempty" doc:"The only values; absent: any"`
	About    string   `json:"about" doc:"For people"`
	Example  string   `json:"example,omitempty"`
}

func receiverType(t receivers.Type) ReceiverType {
	out := ReceiverType{Name: t.Name, About: t.About, Fields: []ReceiverField{}}
	for _, f := range t.Fields {
		out.Fields = append(out.Fields, ReceiverField{f.Name, string(f.Kind), f.Required, f.Secret, f.Where, f.Choices, f.About, f.Example})
	}
	return out
}

// ReceiverBody is what a receiver is to be.
type ReceiverBody struct {
	Type       string         `json:"type" minLength:"1" maxLength:"63" doc:"One of the types of receivers" example:"slack"`
	Settings   map[string]any `json:"settings,omitempty" doc:"The fields of the type that are not secret"`
	Secrets    secretValues   `json:"secrets,omitempty" writeOnly:"true"`
	FiringOnly bool           `json:"firing_only,omitempty" doc:"It is not told of what is over"`
}

// secretValues are secrets as a client gives them: texts, or lists of them.
type secretValues struct{ receivers.Secrets }

// Schema implements huma.SchemaProvider.
func (secretValues) Schema(huma.Registry) *huma.Schema {
	most := 64
	text := &huma.Schema{Type: huma.TypeString}
	return &huma.Schema{
		Type: huma.TypeObject, MaxProperties: &most, WriteOnly: true,
		Description:          "The fields of the type that are secret. They are sealed and never shown again. One that is not mentioned stays as it is; an empty text removes it",
		AdditionalProperties: &huma.Schema{OneOf: []*huma.Schema{text, {Type: huma.TypeArray, Items: text}}},
	}
}

// receiver returns the body as the receiver of that name.
func (b ReceiverBody) receiver(name string) (receivers.Receiver, error) {
	settings := make(map[string]any)
	for field, value := range b.Settings {
		if value != nil {
			settings[field] = value
		}
	}
	out := receivers.Receiver{Name: name, Type: b.Type, Secrets: b.Secrets.Secrets}
	var err error
	out.Settings, err = json.Marshal(settings)
	return out, err
}

// Receiver is a receiver as it stands.
type Receiver struct {
	Name       string         `json:"name" example:"ops"`
	Type       string         `json:"type,omitempty" doc:"Absent of one of the daemon's configuration" example:"slack"`
	Settings   map[string]any `json:"settings,omitempty"`
	Secrets    []string       `json:"secrets" nullable:"false" doc:"The secret fields that are set; what they have in them is never shown"`
	Key        string         `json:"key,omitempty" doc:"Of the daemon's keys, the one that they are sealed with"`
	FiringOnly bool           `json:"firing_only" doc:"It is not told of what is over"`
	Configured bool           `json:"configured" doc:"It is of the daemon's configuration, and is not changed over the API"`
	Usable     bool           `json:"usable" doc:"Messages can be sent to it; else health says why not"`
	Health     ReceiverHealth `json:"health"`
	Waiting    int            `json:"waiting" doc:"Messages that are to be delivered"`
	Dead       int            `json:"dead" doc:"Messages that will not be tried again unless somebody asks for it"`
}

// ReceiverHealth is how a receiver fares.
type ReceiverHealth struct {
	State         string     `json:"state" enum:"ok,failing,broken,unknown" doc:"broken: it takes nothing until somebody has repaired it; unknown: nothing was sent of late, or another daemon leads"`
	LastError     string     `json:"last_error,omitempty"`
	LastDelivered *time.Time `json:"last_delivered,omitempty"`
	NextTry       *time.Time `json:"next_try,omitempty"`
}

// receiver converts. What is sealed is opened to say which fields are set, and closed again.
func (a *api) receiver(s berthage.ReceiverStatus) Receiver {
	out := Receiver{
		Name: s.Name, Type: s.Type, Secrets: []string{}, FiringOnly: s.FiringOnly, Configured: s.Configured, Usable: s.Usable, Waiting: s.Waiting, Dead: s.Dead,
		Health: ReceiverHealth{string(s.State), s.Error, moment(s.LastDelivered), moment(s.NextTry)},
	}
	_ = json.Unmarshal(s.Settings, &out.Settings) // which is an object, or there are none
	if r, ok := a.c.Manager.Messages().Receiver(s.Name); ok {
		out.Key = receivers.KeyOf(r.Sealed)
		if secrets, err := a.c.Keys.Open(r.Name, r.Type, r.Sealed); err == nil {
			out.Secrets = secrets.Set()
		}
	}
	return out
}

// Tried is what became of a message that only says that it is a test.
type Tried struct {
	Delivered bool   `json:"delivered"`
	Kind      string `json:"kind,omitempty" enum:"temporary,permanent,broken,forbidden" doc:"Of the error: not taken for now; refused for good; the receiver lets nothing in; its address is not one that may be called"`
	Error     string `json:"error,omitempty" doc:"What the receiver said"`
}

// tried says what became of a test. What was wrong with the request, and not with the receiver, is the error.
func tried(err error) (*struct{ Body Tried }, error) {
	out := &struct{ Body Tried }{Tried{Delivered: err == nil}}
	var told *notify.Error
	var p *pool.Error
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, notify.ErrForbidden):
		out.Body.Kind = "forbidden"
	case errors.Is(err, notify.ErrBroken):
		out.Body.Kind = "broken"
	case errors.Is(err, notify.ErrPermanent):
		out.Body.Kind = "permanent"
	case errors.As(err, &told):
		out.Body.Kind = "temporary"
	case errors.As(err, &p):
		return nil, problem.From(err)
	default:
		out.Body.Kind = "temporary"
	}
	out.Body.Error = err.Error()
	return out, nil
}

// trying bounds a test, so that it has an answer before the connection is closed.
const trying = 45 * time.Second

// ReceiverTest is a receiver that is tried without being saved.
type ReceiverTest struct {
	Name string `json:"name,omitempty" maxLength:"63" doc:"Of the receiver whose secrets it has where it mentions none; absent: it has none" example:"ops"`
	ReceiverBody
}

func (a *api) registerReceivers() {
	register(a, shows(auth.Status), nowhere, describe("list-receiver-types", http.MethodGet, "/receiver-types", "Messages", "List types of receivers",
		"The types by name, each with its fields, from which a form can be made.", 422),
		func(ctx context.Context, in *Paging) (*pageOutput[ReceiverType], error) {
			all := slices.Values(receivers.Types())
			return list(ctx, a, in, auth.Status, inNone, func(*pool.State) iter.Seq[receivers.Type] { return all }, func(t receivers.Type) string { return t.Name }, receiverType)
		})
	get := func(name string) (*struct{ Body Receiver }, error) {
		for _, s := range a.c.Manager.Messages().Receivers() {
			if s.Name == name {
				return &struct{ Body Receiver }{a.receiver(s)}, nil
			}
		}
		return nil, missing("receiver", name)
	}
	register(a, shows(auth.Receivers), nowhere, describe("list-receivers", http.MethodGet, "/receivers", "Messages", "List receivers",
		"Those that were set over the API and those of the daemon's configuration, by name, with how they fare.", 422),
		func(ctx context.Context, in *Paging) (*pageOutput[Receiver], error) {
			all := slices.Values(a.c.Manager.Messages().Receivers())
			return list(ctx, a, in, auth.Receivers, inNone, func(*pool.State) iter.Seq[berthage.ReceiverStatus] { return all }, func(s berthage.ReceiverStatus) string { return s.Name }, a.receiver)
		})
	register(a, reads(auth.Receivers), ofNamed, describe("get-receiver", http.MethodGet, "/receivers/{name}", "Messages", "Get a receiver", "One receiver. Its secrets are not shown.", 404),
		func(_ context.Context, in *Named) (*struct{ Body Receiver }, error) { return get(in.Name) })

	// known returns what is to be of a receiver, with the secrets that it keeps, and what of it is sealed already.
	known := func(name string, b ReceiverBody) (receivers.Receiver, []byte, error) {
		next, err := b.receiver(name)
		if err != nil {
			return next, nil, err
		}
		old, ok := a.c.Manager.Messages().Receiver(name)
		if ok {
			next, err = a.c.Keys.Keep(next, receivers.Receiver{Name: old.Name, Type: old.Type, Settings: old.Settings}, old.Sealed)
		}
		if err == nil {
			_, err = a.c.Maker.Make(next)
		}
		return next, old.Sealed, err
	}
	secrets := map[string]any{"url": "https://receiver.example/alerts", "headers": []string{"Authorization: Bearer from-the-receiver"}}
	register(a, may(auth.Receivers, auth.Update), ofNamed, withExample(describe("put-receiver", http.MethodPut, "/receivers/{name}", "Messages", "Add or replace a receiver",
		"Secrets that are not mentioned stay as they are, unless the type is another one. Whoever changes where messages go gives them anew. What waits for the receiver is tried again at once.", 409),
		map[string]any{"type": "webhook", "secrets": secrets}),
		func(ctx context.Context, in *struct {
			Named
			Body ReceiverBody
		}) (*struct{ Body Receiver }, error) {
			next, sealed, err := known(in.Name, in.Body)
			if err == nil {
				sealed, err = a.c.Keys.Reseal(next, sealed)
			}
			if err == nil {
				err = a.as(ctx).Messages().SetReceiver(ctx, berthage.Receiver{Name: next.Name, Type: next.Type, Settings: next.Settings, Sealed: sealed, FiringOnly: in.Body.FiringOnly})
			}
			if err != nil {
				return nil, problem.From(err)
			}
			return get(in.Name)
		})
	register(a, may(auth.Receivers, auth.Delete), ofNamed, describe("remove-receiver", http.MethodDelete, "/receivers/{name}", "Messages", "Remove a receiver",
		"What waits for it is not sent any more, and its secrets leave the history too. One that a route names is in use.", 404, 409),
		func(ctx context.Context, in *Named) (*struct{}, error) {
			m := a.as(ctx)
			err := m.Messages().RemoveReceiver(ctx, in.Name)
			if err == nil {
				if _, err := m.Forget(ctx, "receiver/"+in.Name); err != nil { // it is removed all the same, and what stays is sealed
					a.c.Logger.Warn("the sealed secrets of a receiver that was removed are still in the history", "receiver", in.Name, "error", err)
				}
			}
			return nil, problemOf(err)
		})
	register(a, may(auth.Receivers, auth.Use), ofNamed, describe("test-receiver", http.MethodPost, "/receivers/{name}/test", "Messages", "Send a receiver a test",
		"It gets a message that says that it is a test. The answer says what became of it.", 404, 409),
		func(ctx context.Context, in *Named) (*struct{ Body Tried }, error) {
			ctx, cancel := context.WithTimeout(ctx, trying)
			defer cancel()
			return tried(a.as(ctx).Messages().Test(ctx, in.Name))
		})
	register(a, may(auth.Receivers, auth.Update), nowhere, withExample(describe("try-receiver", http.MethodPost, "/receivers/test", "Messages", "Try a receiver",
		"As a test, without saving anything: for a form.", 409), map[string]any{"type": "webhook", "secrets": secrets}),
		func(ctx context.Context, in *struct{ Body ReceiverTest }) (*struct{ Body Tried }, error) {
			ctx, cancel := context.WithTimeout(ctx, trying)
			defer cancel()
			next, _, err := known(in.Body.Name, in.Body.ReceiverBody)
			var sealed []byte
			if err == nil {
				sealed, err = a.c.Keys.Seal(next.Name, next.Type, next.Secrets)
			}
			if err != nil {
				return nil, problem.From(err)
			}
			return tried(a.as(ctx).Messages().Try(ctx, berthage.Receiver{Name: next.Name, Type: next.Type, Settings: next.Settings, Sealed: sealed}))
		})
}
