package api

import (
	"context"
	"iter"
	"net/http"
	"slices"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// RulePath names a rule in a path.
type RulePath struct {
	Name string `path:"name" minLength:"1" maxLength:"256" doc:"Its name" example:"HighCPU"`
}

// RuleMeasure is what a rule looks at: a metric, of which things, and what is made of its values.
type RuleMeasure struct {
	Metric   string     `json:"metric" minLength:"1" maxLength:"256" example:"cpu_percent"`
	Matchers []Matcher  `json:"matchers,omitempty" maxItems:"64" doc:"Of which things; absent: of all"`
	Func     string     `json:"func,omitempty" enum:",avg,min,max,sum,count,quantile,rate,increase,delta,predict_linear,resets,changes,absent,falls,flapping,anomalies,forecast" doc:"What is made of the values; absent: the newest one"`
	Window   string     `json:"window,omitempty" doc:"Of functions over a window" example:"5m"`
	Quantile float64    `json:"quantile,omitempty" minimum:"0" maximum:"1"`
	Ahead    string     `json:"ahead,omitempty" doc:"Of predict_linear: how far into the future" example:"4h"`
	Model    *RuleModel `json:"model,omitempty" doc:"Of anomalies and forecast"`
	Last     int        `json:"last,omitempty" minimum:"0" maximum:"64" doc:"Of anomalies: among how many of the last samples they are counted"`
	Of       string     `json:"of,omitempty" maxLength:"256" doc:"A metric of the same things of which this one is looked at as a percentage"`
}

// RuleModel is a model that follows the values of one thing.
type RuleModel struct {
	Name   string             `json:"name" minLength:"1" maxLength:"64"`
	Params map[string]float64 `json:"params,omitempty"`
}

// RuleTest is of which values a rule is true.
type RuleTest struct {
	Is    string  `json:"is" enum:">,>=,<,<=,==,!=,inside,outside"`
	Value float64 `json:"value" example:"80"`
	High  float64 `json:"high,omitempty" doc:"The upper edge, of inside and outside"`
}

// RuleAction is what a rule wants done when one of its alerts begins to fire.
type RuleAction struct {
	Do     string `json:"do" enum:"suspend,drain,hook"`
	Label  string `json:"label,omitempty" maxLength:"256" doc:"The label that names the target; absent: vm_id or host"`
	Hook   string `json:"hook,omitempty" maxLength:"256" doc:"Name of a hook of the daemon's configuration"`
	DryRun bool   `json:"dry_run,omitempty" doc:"Only record what would be done"`
}

// RuleBody is what a rule is to be.
type RuleBody struct {
	Measure       *RuleMeasure      `json:"measure,omitempty" doc:"What is measured; this or a query"`
	Query         string            `json:"query,omitempty" maxLength:"16384" doc:"An expression in PromQL" example:"up == 0"`
	Test          *RuleTest         `json:"test,omitempty" doc:"Of which values it is true; absent: of every value"`
	Recover       *RuleTest         `json:"recover,omitempty" doc:"What is true of an alert that fires for as long as it fires on: wider than test"`
	For           string            `json:"for,omitempty" doc:"How long the test has to hold" example:"5m"`
	KeepFiringFor string            `json:"keep_firing_for,omitempty" doc:"How long an alert fires on after that" example:"1m"`
	Limit         int               `json:"limit,omitempty" minimum:"0" doc:"The most alerts of the rule: with more all are dropped"`
	Severity      string            `json:"severity,omitempty" enum:",critical,high,medium,low"`
	Labels        map[string]string `json:"labels,omitempty" doc:"Templates"`
	Annotations   map[string]string `json:"annotations,omitempty" doc:"Templates, for people"`
	NoData        string            `json:"no_data,omitempty" enum:",ok,keep,alert" doc:"What it means that there is nothing to measure; absent: alert"`
	Actions       []RuleAction      `json:"actions,omitempty" maxItems:"16" doc:"What is to be done besides telling somebody"`
}

// AlertRule is a rule as it stands.
type AlertRule struct {
	Name string `json:"name" example:"HighCPU"`
	RuleBody
}

// rule converts by way of JSON, in which both are written alike.
func (b RuleBody) rule(name string) (alert.Rule, error) {
	r, err := again[alert.Rule](AlertRule{name, b})
	if err != nil {
		err = &pool.Error{Op: "set rule", Kind: pool.ErrInvalid, Want: "a rule", Cause: err}
	}
	return r, err
}

func ruleOf(r alert.Rule) AlertRule {
	out, _ := again[AlertRule](r) // what was accepted can be written
	if out.Test != nil && out.Test.Is == "" {
		out.Test = nil
	}
	return out
}

type ruleOutput struct{ Body AlertRule }

func (a *api) registerRules() {
	get := func(name string) (*ruleOutput, error) {
		for _, r := range a.c.Manager.Alerts().Rules() {
			if r.Name == name {
				return &ruleOutput{ruleOf(r)}, nil
			}
		}
		return nil, missing("rule", name)
	}
	register(a, shows(auth.Rules), nowhere, describe("list-rules", http.MethodGet, "/alert-rules", "Alerts", "List rules",
		"The rules that were set over the API, by name. Those of the daemon's configuration, by default CPU over 80, memory over 85 and disk over 90 per cent for five minutes, hosts and instances that are down, and hosts that cannot be measured, are not among them; one with the same name goes before.", 422),
		func(ctx context.Context, in *Paging) (*pageOutput[AlertRule], error) {
			all := slices.Values(a.c.Manager.Alerts().Rules())
			return list(ctx, a, in, auth.Rules, inNone, func(*pool.State) iter.Seq[alert.Rule] { return all }, func(r alert.Rule) string { return r.Name }, ruleOf)
		})
	register(a, reads(auth.Rules), nowhere, describe("get-rule", http.MethodGet, "/alert-rules/{name}", "Alerts", "Get a rule", "One rule.", 404),
		func(_ context.Context, in *RulePath) (*ruleOutput, error) { return get(in.Name) })
	register(a, may(auth.Rules, auth.Update), nowhere, withExample(describe("put-rule", http.MethodPut, "/alert-rules/{name}", "Alerts", "Add or replace a rule",
		"Alerts of a rule that is replaced go on, as far as their labels stay."),
		RuleBody{Measure: &RuleMeasure{Metric: "cpu_percent"}, Test: &RuleTest{Is: ">", Value: 80}, Recover: &RuleTest{Is: ">", Value: 70}, For: "5m", Severity: "high"}),
		func(ctx context.Context, in *struct {
			RulePath
			Body RuleBody
		}) (*ruleOutput, error) {
			r, err := in.Body.rule(in.Name)
			if err == nil {
				err = a.as(ctx).Alerts().SetRule(ctx, r)
			}
			if err != nil {
				return nil, problem.OfBody(err)
			}
			return get(in.Name)
		})
	register(a, may(auth.Rules, auth.Delete), nowhere, describe("remove-rule", http.MethodDelete, "/alert-rules/{name}", "Alerts", "Remove a rule", "Those of its alerts that fire are resolved.", 404),
		func(ctx context.Context, in *RulePath) (*struct{}, error) {
			return nil, problemOf(a.as(ctx).Alerts().RemoveRule(ctx, in.Name))
		})
}
