package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// Route is a node of the tree that says who is told of what.
type Route struct {
	Match      []Matcher        `json:"match,omitempty" maxItems:"64" doc:"All have to match; absent: everything does"`
	Receivers  []string         `json:"receivers,omitempty" maxItems:"64" doc:"Names of receivers; absent: those of the route above"`
	GroupBy    []string         `json:"group_by,omitzero" maxItems:"64" doc:"Labels by which alerts are told together; absent: as the route above; empty: all together; ... alone: each by itself"`
	Wait       string           `json:"wait,omitempty" maxLength:"64" doc:"From the first alert of a group until it is told; absent: as the route above, or 30s" example:"30s"`
	Interval   string           `json:"interval,omitempty" maxLength:"64" doc:"Between two messages of news; absent: as the route above, or 5m" example:"5m"`
	Repeat     string           `json:"repeat,omitempty" maxLength:"64" doc:"After which it is told again without news; absent: as the route above, or 4h" example:"4h"`
	Mute       []string         `json:"mute,omitempty" maxItems:"100" doc:"Names of times during which nothing is told"`
	Active     []string         `json:"active,omitempty" maxItems:"100" doc:"Names of times; then nothing is told but during one of them"`
	Escalation []EscalationStep `json:"escalation,omitzero" maxItems:"10" doc:"Who else is told of what nobody has acknowledged; absent: as the route above; empty: nobody"`
	Continue   bool             `json:"continue,omitempty" doc:"What matches goes on to the routes after this one too"`
	Routes     []Route          `json:"routes,omitempty" maxItems:"1000" doc:"Of those that match, an alert goes to the first"`
}

// EscalationStep is a step of an escalation.
type EscalationStep struct {
	After     string   `json:"after" minLength:"1" maxLength:"64" doc:"Since it was first told" example:"15m"`
	Receivers []string `json:"receivers" minItems:"1" maxItems:"64"`
}

// Times are moments under a name.
type Times struct {
	Name      string         `json:"name" minLength:"1" maxLength:"256" example:"nights"`
	Intervals []TimeInterval `json:"time_intervals" minItems:"1" maxItems:"100" doc:"Any of them"`
}

// TimeInterval is the moments that each of its lists has that is not absent.
type TimeInterval struct {
	Times       []Clock  `json:"times,omitempty" maxItems:"100"`
	Weekdays    []string `json:"weekdays,omitempty" maxItems:"100" example:"[\"monday:friday\"]"`
	DaysOfMonth []string `json:"days_of_month,omitempty" maxItems:"100" doc:"From 1, or from -1 at the end" example:"[\"1:5\", \"-1\"]"`
	Months      []string `json:"months,omitempty" maxItems:"100" example:"[\"january:march\"]"`
	Years       []string `json:"years,omitempty" maxItems:"100" example:"[\"2026\"]"`
	Location    string   `json:"location,omitempty" maxLength:"255" doc:"Whose clocks and calendar; absent: UTC" example:"Europe/Berlin"`
}

// Clock is a part of a day.
type Clock struct {
	Start string `json:"start_time" maxLength:"5" example:"22:00"`
	End   string `json:"end_time" maxLength:"5" example:"24:00"`
}

// RoutingBody is the whole of who is told of what.
type RoutingBody struct {
	Root  Route   `json:"root" doc:"Where every alert begins; it matches everything"`
	Times []Times `json:"times,omitempty" maxItems:"100" doc:"That routes name under mute and active"`
}

// Routing is who is told of what, as it stands.
type Routing struct {
	RoutingBody
	Configured bool `json:"configured" doc:"It is of the daemon's configuration, since none was set over the API"`
}

// routing converts by way of JSON, in which both are written alike, and says where something is wrong.
func (b RoutingBody) routing() (alert.Routing, error) {
	if err := b.Root.check("root"); err != nil {
		return alert.Routing{}, err
	}
	r, err := again[alert.Routing](b)
	if err == nil {
		err = r.Validate()
	}
	return r, located(err, "")
}

// check refuses texts that cannot be read, by the path to them.
func (r Route) check(path string) error {
	for i, m := range r.Match {
		if m.Op == "" {
			m.Op = string(alert.Equal)
		}
		if _, err := alert.NewMatcher(m.Name, alert.Op(m.Op), m.Value); err != nil {
			return located(err, fmt.Sprintf("%s.match[%d]", path, i))
		}
	}
	spans := map[string]string{".wait": r.Wait, ".interval": r.Interval, ".repeat": r.Repeat}
	for i, s := range r.Escalation {
		spans[fmt.Sprintf(".escalation[%d].after", i)] = s.After
	}
	for at, text := range spans {
		if text != "" {
			if _, err := alert.ParseDuration(text); err != nil {
				return located(err, path+at)
			}
		}
	}
	for i, child := range r.Routes {
		if err := child.check(fmt.Sprintf("%s.routes[%d]", path, i)); err != nil {
			return err
		}
	}
	return nil
}

// located makes an error of package alert one of package pool, at that place if there is one.
func located(err error, at string) error {
	var e *alert.Error
	if !errors.As(err, &e) {
		return err
	}
	if at == "" {
		at = e.Field
	}
	return &pool.Error{Op: "set routing", Kind: pool.ErrInvalid, Field: at, Value: e.Value, Want: e.Want, Cause: e.Cause}
}

// Preview asks who is told.
type Preview struct {
	Labels  map[string]string `json:"labels" doc:"Of the alert, or event and the label event of its kind"`
	Routing *RoutingBody      `json:"routing,omitempty" doc:"Absent: the one that stands"`
}

// Target is who is told, and when.
type Target struct {
	ID         string           `json:"id" doc:"Of the route, made of the matchers on the way to it"`
	Receivers  []string         `json:"receivers" nullable:"false"`
	GroupBy    []string         `json:"group_by" nullable:"false" doc:"... alone: each alert by itself"`
	Wait       string           `json:"wait" example:"30s"`
	Interval   string           `json:"interval" example:"5m"`
	Repeat     string           `json:"repeat" example:"4h"`
	Mute       []string         `json:"mute,omitempty"`
	Active     []string         `json:"active,omitempty"`
	Quiet      string           `json:"quiet_now,omitempty" doc:"Which of these times keep it from being told at this moment"`
	Escalation []EscalationStep `json:"escalation,omitempty"`
}

func targetOf(t alert.Target, now time.Time) Target {
	out := Target{
		ID: t.ID, Receivers: receiverNames(t.Receivers), GroupBy: append([]string{}, t.GroupBy...),
		Wait: alert.Duration(max(t.Wait, 0)).String(), Interval: alert.Duration(t.Interval).String(), Repeat: alert.Duration(t.Repeat).String(),
	}
	if t.GroupAll {
		out.GroupBy = []string{alert.GroupByAll}
	}
	for _, s := range t.Escalation {
		out.Escalation = append(out.Escalation, EscalationStep{alert.Duration(s.After).String(), receiverNames(s.Receivers)})
	}
	active := len(t.Active) == 0
	for _, times := range t.Active {
		out.Active = append(out.Active, times.Name)
		active = active || times.Holds(now)
	}
	if !active {
		out.Quiet = "none of the times that it is active in"
	}
	for _, times := range t.Mute {
		out.Mute = append(out.Mute, times.Name)
		if times.Holds(now) {
			out.Quiet = times.Name
		}
	}
	return out
}

func receiverNames(all []alert.Receiver) []string {
	out := []string{}
	for _, r := range all {
		out = append(out, r.Name)
	}
	return out
}

// Previewed is who would be told.
type Previewed struct {
	Targets []Target `json:"targets" nullable:"false" doc:"In the order of the tree; each is told by itself"`
}

type routingOutput struct {
	ETag string `header:"ETag" doc:"Of the tree as it stands, for If-Match"`
	Body Routing
}

// routing returns the tree that counts.
func (a *api) routing() (*routingOutput, error) {
	r, ledger := a.c.Manager.Messages().Routing()
	b, err := again[RoutingBody](r)
	if err != nil {
		return nil, err
	}
	out := &routingOutput{Body: Routing{b, !ledger}}
	text, err := json.Marshal(out.Body)
	out.ETag = contentTag(text)
	return out, err
}

// asSeen refuses to change a tree that is not the one that somebody has seen. The lock on routes is held, under which alone they are changed: nobody but this daemon
// writes its ledger.
func (a *api) asSeen(m Matching) error {
	now, err := a.routing()
	if err != nil {
		return err
	}
	return m.check(now.ETag)
}

func (a *api) registerRouting() {
	register(a, reads(auth.Routes), nowhere, describe("get-routes", http.MethodGet, "/routes", "Messages", "Get who is told of what", "The tree of routes that was set over the API or, if none was, that of the daemon's configuration. With If-None-Match it answers 304 while nothing has changed."),
		func(_ context.Context, in *struct{ Conditional }) (*routingOutput, error) {
			out, err := a.routing()
			if err == nil {
				err = in.check(out.ETag)
			}
			if err != nil {
				return nil, err
			}
			return out, nil
		})
	example := map[string]any{
		"root":  map[string]any{"receivers": []string{"ops"}, "group_by": []string{"alertname"}, "routes": []any{map[string]any{"match": []any{map[string]any{"name": "severity", "value": "low"}}, "mute": []string{"nights"}}}},
		"times": []any{map[string]any{"name": "nights", "time_intervals": []any{map[string]any{"times": []any{map[string]any{"start_time": "22:00", "end_time": "24:00"}}}}}},
	}
	register(a, may(auth.Routes, auth.Update), nowhere, withExample(describe("put-routes", http.MethodPut, "/routes", "Messages", "Set who is told of what",
		"The whole tree. An alert goes down from the root: of the routes that match it to the first, and on while they say continue; the deepest one says who is told. What a route leaves out is as above it, times and matchers aside. "+
			"Events that are no alerts go to routes that match the label event. With If-Match only the tree that you have seen is replaced.", http.StatusPreconditionFailed), example),
		func(ctx context.Context, in *struct {
			Matching
			Body RoutingBody
		}) (*routingOutput, error) {
			r, err := in.Body.routing()
			if err != nil {
				return nil, problem.OfBody(err)
			}
			a.routes.Lock()
			defer a.routes.Unlock()
			if err := a.asSeen(in.Matching); err != nil {
				return nil, err
			}
			if err := a.as(ctx).Messages().SetRouting(ctx, r); err != nil {
				return nil, problem.OfBody(err)
			}
			return a.routing()
		})
	register(a, may(auth.Routes, auth.Delete), nowhere, describe("remove-routes", http.MethodDelete, "/routes", "Messages", "Remove who is told of what", "That of the daemon's configuration counts again. With If-Match only the tree that you have seen is removed.", http.StatusPreconditionFailed),
		func(ctx context.Context, in *struct{ Matching }) (*struct{}, error) {
			a.routes.Lock()
			defer a.routes.Unlock()
			if err := a.asSeen(in.Matching); err != nil {
				return nil, err
			}
			return nil, problemOf(a.as(ctx).Messages().RemoveRouting(ctx))
		})
	register(a, reads(auth.Routes), nowhere, withExample(describe("preview-routes", http.MethodPost, "/routes/preview", "Messages", "Who is told of an alert",
		"By the tree that stands, or by one that is only asked about. Silences and inhibition are not looked at."), Preview{Labels: map[string]string{"alertname": "HighCPU", "severity": "critical"}}),
		func(_ context.Context, in *struct{ Body Preview }) (*struct{ Body Previewed }, error) {
			l, err := alert.NewLabels(in.Body.Labels)
			if err != nil {
				return nil, problem.From(located(err, "labels"))
			}
			var targets []alert.Target
			if b := in.Body.Routing; b == nil {
				targets = a.c.Manager.Messages().Preview(l)
			} else {
				r, err := b.routing()
				if err != nil {
					return nil, problem.From(err)
				}
				targets = r.Targets(l, nil)
			}
			out := &struct{ Body Previewed }{Previewed{[]Target{}}}
			for _, t := range targets {
				out.Body.Targets = append(out.Body.Targets, targetOf(t, time.Now()))
			}
			return out, nil
		})
}
