package api

import (
	"context"
	"encoding/json"
	"iter"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// AlertPath names an alert in a path.
type AlertPath struct {
	ID string `path:"id" pattern:"^[0-9a-f]{32}$" doc:"Id of the alert" example:"0123456789abcdef0123456789abcdef"`
}

func (p AlertPath) alert() string { return p.ID }

// Alert is an alert as it stands.
type Alert struct {
	ID           string            `json:"id" doc:"A hash of its labels, so that it has the same one whenever it fires" example:"0123456789abcdef0123456789abcdef"`
	Labels       map[string]string `json:"labels" doc:"What it is about: alertname, severity, and those of what was measured"`
	Annotations  map[string]string `json:"annotations,omitempty" doc:"For people"`
	Phase        string            `json:"phase" enum:"pending,firing,resolved"`
	Value        *float64          `json:"value,omitempty" doc:"What was last measured; absent where that is no finite number"`
	Active       time.Time         `json:"active" doc:"Since when its condition holds"`
	Fired        *time.Time        `json:"fired,omitempty" doc:"Since when it fires"`
	Ended        *time.Time        `json:"ended,omitempty" doc:"Since when it is resolved"`
	Acknowledged *Acknowledged     `json:"acknowledged,omitempty" doc:"Who has taken it on"`
	Muted        []Mute            `json:"muted,omitempty" doc:"What keeps it from being told now"`
}

// Acknowledged is that somebody has taken an alert on.
type Acknowledged struct {
	By   string    `json:"by" example:"alice"`
	Note string    `json:"note,omitempty"`
	At   time.Time `json:"at"`
}

// Mute is what keeps an alert from being told.
type Mute struct {
	Target string `json:"target" doc:"Whom it is not told to; empty: anybody"`
	By     string `json:"by" enum:"silence,inhibition,mute time,active time,quiet"`
	Name   string `json:"name,omitempty" doc:"The silence's id, the name of the rule or of the times, or why the thing is quiet"`
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func alertOf(s berthage.AlertStatus) Alert {
	a := Alert{
		ID: string(s.Alert.Labels.Fingerprint()), Labels: s.Alert.Labels.Map(), Annotations: s.Alert.Annotations, Phase: string(s.Alert.Phase),
		Active: s.Alert.Active, Fired: moment(s.Alert.Fired), Ended: moment(s.Alert.Ended),
	}
	if !math.IsNaN(s.Alert.Value) && !math.IsInf(s.Alert.Value, 0) {
		a.Value = &s.Alert.Value
	}
	if k := s.Acknowledged; k != nil {
		a.Acknowledged = &Acknowledged{k.By, k.Note, k.At}
	}
	for _, target := range slices.Sorted(maps.Keys(s.Muted)) {
		for _, c := range s.Muted[target] {
			a.Muted = append(a.Muted, Mute{target, c.By, c.Name})
		}
	}
	return a
}

type alertOutput struct{ Body Alert }

// findAlert returns the alert of that id.
func (a *api) findAlert(id string) (berthage.AlertStatus, error) {
	for _, s := range a.c.Manager.Alerts().List() {
		if string(s.Alert.Labels.Fingerprint()) == id {
			return s, nil
		}
	}
	return berthage.AlertStatus{}, missing("alert", id)
}

func (a *api) registerAlerts() {
	get := func(id string) (*alertOutput, error) {
		s, err := a.findAlert(id)
		if err != nil {
			return nil, err
		}
		return &alertOutput{alertOf(s)}, nil
	}
	register(a, shows(auth.Alerts), nowhere, describe("list-alerts", http.MethodGet, "/alerts", "Alerts", "List alerts",
		"Those that are pending or fire, and those that were resolved within the last day. Pending ones are shown by the daemon that leads.", 422),
		func(ctx context.Context, in *struct {
			Paging
			Phase string `query:"phase" enum:"pending,firing,resolved" doc:"Only those in this phase"`
		}) (*pageOutput[Alert], error) {
			all := a.c.Manager.Alerts().List()
			return list(ctx, a, &in.Paging, auth.Alerts, func(st *pool.State, s berthage.AlertStatus) (string, string) { return a.alertPlace(st, s.Alert.Labels) }, func(*pool.State) iter.Seq[berthage.AlertStatus] {
				return func(yield func(berthage.AlertStatus) bool) {
					for _, s := range all {
						if (in.Phase == "" || in.Phase == string(s.Alert.Phase)) && !yield(s) {
							return
						}
					}
				}
			}, func(s berthage.AlertStatus) string { return s.Alert.Labels.String() }, alertOf)
		})
	register(a, reads(auth.Alerts), ofAlert, describe("get-alert", http.MethodGet, "/alerts/{id}", "Alerts", "Get an alert", "One alert.", 404),
		func(_ context.Context, in *AlertPath) (*alertOutput, error) { return get(in.ID) })
	register(a, may(auth.Alerts, auth.Update), ofAlert, withExample(describe("acknowledge-alert", http.MethodPost, "/alerts/{id}/acknowledge", "Alerts", "Acknowledge an alert",
		"Says that the caller has taken on an alert that fires: it does not escalate any more, and is not told again for its own sake, until it is resolved.", 404), AcknowledgeBody{Note: "looking into it"}),
		func(ctx context.Context, in *struct {
			AlertPath
			Body AcknowledgeBody
		}) (*alertOutput, error) {
			s, err := a.findAlert(in.ID)
			if err != nil {
				return nil, err
			}
			if err := a.as(ctx).Alerts().Acknowledge(ctx, s.Alert.Labels, in.Body.Note); err != nil {
				return nil, problem.From(err)
			}
			return get(in.ID)
		})
	register(a, may(auth.Alerts, auth.Update), ofAlert, describe("unacknowledge-alert", http.MethodDelete, "/alerts/{id}/acknowledge", "Alerts", "Take an acknowledgement back",
		"Nobody has taken the alert on any more; it escalates anew.", 404),
		func(ctx context.Context, in *AlertPath) (*struct{}, error) {
			s, err := a.findAlert(in.ID)
			if err != nil {
				return nil, err
			}
			return nil, problemOf(a.as(ctx).Alerts().Unacknowledge(ctx, s.Alert.Labels))
		})
}

// AcknowledgeBody is what may be said when an alert is acknowledged.
type AcknowledgeBody struct {
	Note string `json:"note,omitempty" maxLength:"4096" doc:"What is being done about it"`
}

// Matcher selects by one label.
type Matcher struct {
	Name  string `json:"name" minLength:"1" maxLength:"256" doc:"Of the label" example:"host"`
	Op    string `json:"op,omitempty" enum:"=,!=,=~,!~" default:"=" doc:"How it is compared; =~ and !~ by a regular expression (RE2) that matches the whole value"`
	Value string `json:"value" maxLength:"4096" doc:"With what; a label that is missing is empty" example:"sim/h01"`
}

// SilencePath names a silence in a path.
type SilencePath struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the silence"`
}

func (p SilencePath) silence() string { return p.ID }

// SilenceBody is what a silence is to be.
type SilenceBody struct {
	Matchers []Matcher  `json:"matchers" minItems:"1" maxItems:"64" doc:"Alerts that all of them match are not told"`
	Starts   *time.Time `json:"starts,omitempty" doc:"Absent: now"`
	Ends     time.Time  `json:"ends"`
	By       string     `json:"by,omitempty" maxLength:"256" doc:"Who wants it; absent: the caller" example:"alice"`
	Note     string     `json:"note,omitempty" maxLength:"4096" doc:"Why" example:"new disks"`
}

// place is where a silence is to lie.
func (b *SilenceBody) place() (at place) {
	if m, err := matchers(b.Matchers); err == nil { // or it is refused later
		at.project = silencePlace(m)
	}
	return at
}

// Silence is a silence as it stands.
type Silence struct {
	ID       string    `json:"id"`
	Phase    string    `json:"phase" enum:"pending,active,expired"`
	Matchers []Matcher `json:"matchers" nullable:"false"`
	Starts   time.Time `json:"starts"`
	Ends     time.Time `json:"ends"`
	By       string    `json:"by"`
	Note     string    `json:"note,omitempty"`
	Updated  time.Time `json:"updated"`
}

func matchers(in []Matcher) (alert.Matchers, error) {
	var out alert.Matchers
	for _, m := range in {
		if m.Op == "" {
			m.Op = string(alert.Equal)
		}
		made, err := alert.NewMatcher(m.Name, alert.Op(m.Op), m.Value)
		if err != nil {
			return nil, &pool.Error{Op: "silence", Kind: pool.ErrInvalid, Field: "matchers", Value: m.Value, Want: "a matcher", Cause: err}
		}
		out = append(out, made)
	}
	return out, nil
}

func silence(s alert.Silence) Silence {
	out := Silence{ID: s.ID, Phase: string(s.Phase(time.Now())), Matchers: []Matcher{}, Starts: s.Starts, Ends: s.Ends, By: s.By, Note: s.Note, Updated: s.Updated}
	for _, m := range s.Matchers {
		out.Matchers = append(out.Matchers, Matcher{m.Name(), string(m.Op()), m.Value()})
	}
	return out
}

type silenceOutput struct{ Body Silence }

func (a *api) registerSilences() {
	set := func(ctx context.Context, id string, b SilenceBody) (*silenceOutput, error) {
		m, err := matchers(b.Matchers)
		if err != nil {
			return nil, problem.OfBody(err)
		}
		want := alert.Silence{ID: id, Matchers: m, Ends: b.Ends.UTC(), By: b.By, Note: b.Note}
		if b.Starts != nil {
			want.Starts = b.Starts.UTC()
		}
		s, err := a.as(ctx).Alerts().Silence(ctx, want)
		if err != nil {
			return nil, problem.From(err)
		}
		return &silenceOutput{silence(s)}, nil
	}
	example := SilenceBody{Matchers: []Matcher{{Name: "host", Op: "=", Value: "sim/h01"}}, Ends: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), Note: "new disks"}
	register(a, shows(auth.Silences), nowhere, describe("list-silences", http.MethodGet, "/silences", "Alerts", "List silences", "Those that are active or to come, and those that have expired within the last days.", 422),
		func(ctx context.Context, in *Paging) (*pageOutput[Silence], error) {
			all := slices.Values(a.c.Manager.Alerts().Silences())
			return list(ctx, a, in, auth.Silences, func(_ *pool.State, s alert.Silence) (string, string) { return silencePlace(s.Matchers), "" }, func(*pool.State) iter.Seq[alert.Silence] { return all }, func(s alert.Silence) string { return s.ID }, silence)
		})
	op := describe("create-silence", http.MethodPost, "/silences", "Alerts", "Create a silence",
		"Alerts that its matchers match are not told while it is active. They fire all the same, and are shown.")
	op.DefaultStatus = http.StatusCreated
	register(a, may(auth.Silences, auth.Create), func(_ *api, in *struct{ Body SilenceBody }) place { return in.Body.place() }, withExample(op, example), func(ctx context.Context, in *struct{ Body SilenceBody }) (*silenceOutput, error) {
		return set(ctx, "", in.Body)
	})
	register(a, may(auth.Silences, auth.Update), func(a *api, in *struct {
		SilencePath
		Body SilenceBody
	}) place {
		at := ofSilence(a, &in.SilencePath)
		if at.project != in.Body.place().project { // to let it silence something else is for who may silence everything
			at.project = ""
		}
		return at
	}, withExample(describe("change-silence", http.MethodPut, "/silences/{id}", "Alerts", "Change a silence",
		"An active one keeps what it has been: its end, author and note are changed, and any other change ends it and makes a new one, which has another id.", 404), example),
		func(ctx context.Context, in *struct {
			SilencePath
			Body SilenceBody
		}) (*silenceOutput, error) {
			return set(ctx, in.ID, in.Body)
		})
	register(a, may(auth.Silences, auth.Delete), ofSilence, describe("end-silence", http.MethodDelete, "/silences/{id}", "Alerts", "End a silence", "It is expired from now on.", 404),
		func(ctx context.Context, in *SilencePath) (*struct{}, error) {
			return nil, problemOf(a.as(ctx).Alerts().EndSilence(ctx, in.ID))
		})
}

// again makes of a value one of another type that has the same JSON.
func again[T any](v any) (T, error) {
	var out T
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	return out, err
}
