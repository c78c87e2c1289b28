// Package judge runs random scripts through Alertmanager's dispatcher and through package alert, both in virtual time, and
// compares what is told. It is copied into a module of its own and run there.
package judge

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ours "github.com/berthage/berthage/alert"
	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	amcommoncfg "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/marker"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/silence/silencepb"
	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	interval = 5 * time.Minute
	repeat   = 17*time.Minute + 7*time.Second // no multiple of the interval, where a hair decides
	end      = 4 * time.Hour
)

// step is one thing that happens: an alert fires, is resolved, or is silenced for a time.
type step struct {
	at         time.Duration
	what       string
	name, host string
	lasts      time.Duration
}

// script returns what happens to the alerts a to f, of two hosts; a inhibits c. Alerts last and rest for longer than an interval, and none
// ends while it is muted or is muted before its end can have been told, which is where the two differ.
func script(r *rand.Rand, silences bool) (steps []step) {
	const margin = interval + time.Minute
	fires := make(map[string]bool)
	changed, silenced := make(map[string]time.Duration), make(map[string]time.Duration)
	recent := func(name string, at time.Duration) bool { return changed[name] > 0 && at < changed[name]+margin }
	at := time.Second
	for range 60 {
		at += time.Duration(1+r.IntN(300_000_000)) * time.Microsecond
		name := string(rune('a' + r.IntN(6)))
		s := step{at: at, name: name, host: fmt.Sprintf("h%d", int(name[0])%2)}
		switch {
		case silences && r.IntN(6) == 0:
			if fires[name] || !recent(name, at) {
				s.what, s.lasts = "silence", time.Duration(1+r.IntN(1800))*time.Second
				silenced[name] = max(silenced[name], at+s.lasts+interval)
				steps = append(steps, s)
			}
			continue
		case recent(name, at):
			continue
		case !fires[name]:
			if name == "a" && !fires["c"] && recent("c", at) {
				continue
			}
			s.what = "fire"
		default:
			if at < silenced[name] || name == "c" && (fires["a"] || recent("a", at)) {
				continue
			}
			s.what = "resolve"
		}
		fires[name], changed[name] = !fires[name], at
		steps = append(steps, s)
	}
	return steps
}

// told is one message, as text that can be compared.
func told(at time.Duration, receiver, host string, firing, resolved []string) string {
	slices.Sort(firing)
	slices.Sort(resolved)
	return fmt.Sprintf("%012d %s %s firing %s resolved %s", at.Microseconds(), receiver, host, strings.Join(firing, ","), strings.Join(resolved, ","))
}

type wantsResolved bool

func (w wantsResolved) SendResolved() bool { return bool(w) }

// receiver notes what Alertmanager sends to it.
type receiver struct {
	name  string
	wants wantsResolved
	start time.Time
	mu    *sync.Mutex
	all   *[]string
}

func (r receiver) Notify(ctx context.Context, alerts ...*alert.Alert) (bool, error) {
	var firing, resolved []string
	for _, a := range alerts {
		switch name := string(a.Labels["alertname"]); {
		case !a.Resolved():
			firing = append(firing, name)
		case bool(r.wants):
			resolved = append(resolved, name)
		}
	}
	labels, _ := notify.GroupLabels(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	*r.all = append(*r.all, told(time.Since(r.start), r.name, string(labels["host"]), firing, resolved))
	return false, nil
}

// theirs runs a script through Alertmanager.
func theirs(t *testing.T, steps []step) []string {
	var all []string
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start, log, metrics, events, flags := time.Now(), slog.New(slog.DiscardHandler), prometheus.NewRegistry(), eventrecorder.NopRecorder(), featurecontrol.NoopFlags{}
		alerts, err := mem.NewAlerts(ctx, 30*time.Minute, 0, nil, log, events, metrics, flags)
		check(err)
		silences, err := silence.New(silence.Options{Retention: time.Hour, Metrics: metrics, EventRecorder: events})
		check(err)
		notified, err := nflog.New(nflog.Options{Retention: 120 * time.Hour, Metrics: metrics})
		check(err)
		inhibitor := inhibit.NewInhibitor(alerts, []amcommoncfg.InhibitRule{{
			SourceMatch: map[string]string{"alertname": "a"}, TargetMatch: map[string]string{"alertname": "c"}, Equal: []string{"host"},
		}}, log, events)
		var mu sync.Mutex
		ops := receiver{name: "ops", wants: true, start: start, mu: &mu, all: &all}
		sms := receiver{name: "sms", start: start, mu: &mu, all: &all}
		groups := marker.NewGroupMarker()
		stage := notify.NewPipelineBuilder(metrics, flags, events).New(
			map[string][]notify.Integration{"team": {notify.NewIntegration(ops, ops.wants, "webhook", 0, "team"), notify.NewIntegration(sms, sms.wants, "webhook", 1, "team")}},
			func() time.Duration { return 0 }, inhibitor, silence.NewSilencer(silences, log, events), timeinterval.NewIntervener(nil), groups, notified, nil)
		again := model.Duration(repeat)
		route := dispatch.NewRoute(&config.Route{Receiver: "team", GroupBy: []model.LabelName{"host"}, RepeatInterval: &again}, nil)
		dispatcher := dispatch.NewDispatcher(alerts, route, stage, groups, func(d time.Duration) time.Duration { return d }, time.Hour, nil, log, events,
			dispatch.NewDispatcherMetrics(false, metrics, flags), nil)
		go inhibitor.Run()
		go dispatcher.Run(start)
		synctest.Wait()

		began := make(map[string]time.Time)
		for _, s := range steps {
			time.Sleep(time.Until(start.Add(s.at)))
			now, labels := time.Now(), model.LabelSet{"alertname": model.LabelValue(s.name), "host": model.LabelValue(s.host)}
			switch s.what {
			case "fire":
				began[s.name] = now
				check(alerts.Put(ctx, &alert.Alert{Alert: model.Alert{Labels: labels, StartsAt: now, EndsAt: now.Add(100 * time.Hour)}, UpdatedAt: now, Timeout: true}))
			case "resolve":
				check(alerts.Put(ctx, &alert.Alert{Alert: model.Alert{Labels: labels, StartsAt: began[s.name], EndsAt: now}, UpdatedAt: now}))
			case "silence":
				check(silences.Set(ctx, &silencepb.Silence{
					Matchers: []*silencepb.Matcher{{Type: silencepb.Matcher_EQUAL, Name: "alertname", Pattern: s.name}},
					StartsAt: timestamppb.New(now), EndsAt: timestamppb.New(now.Add(s.lasts)), Comment: "a test", CreatedBy: "a test",
				}))
			}
			synctest.Wait()
		}
		time.Sleep(time.Until(start.Add(end)))
		dispatcher.Stop()
		inhibitor.Stop()
		cancel()
		alerts.Close()
		time.Sleep(2 * time.Hour) // until all that runs in the background has seen it
	})
	slices.Sort(all)
	return all
}

// mine runs a script through package alert.
func mine(t *testing.T, steps []step) []string {
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	matchers := func(s string) ours.Matchers {
		ms, err := ours.ParseMatchers(s, ours.EitherSyntax)
		check(err)
		return ms
	}
	target := ours.Target{ID: "team", GroupBy: []string{"host"}, Repeat: repeat, Receivers: []ours.Receiver{{Name: "ops"}, {Name: "sms", FiringOnly: true}}}
	dispatcher := ours.Dispatcher{
		Route:   func(ours.Labels) []ours.Target { return []ours.Target{target} },
		Inhibit: []ours.InhibitRule{{Source: matchers("alertname=a"), Target: matchers("alertname=c"), Equal: []string{"host"}}},
	}
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	var all []string
	var state ours.State
	var last, next time.Time
	now, alerts := start, make(map[string]ours.Alert)
	names := func(list []ours.Told) (out []string) {
		for _, told := range list {
			out = append(out, told.Labels.Get("alertname"))
		}
		return out
	}
	apply := func(events []ours.Event) {
		for _, e := range events {
			data, err := json.Marshal(e.Data)
			check(err)
			check(state.Apply(e.Kind, data, now))
			if n, ok := e.Data.(ours.Notification); ok && e.Kind == ours.GroupNotified {
				all = append(all, told(n.At.Sub(start), n.Receiver, n.Labels.Get("host"), names(n.Firing), names(n.Resolved)))
			}
		}
	}
	plan := func() {
		for {
			p := dispatcher.Plan(&state, slices.Collect(maps.Values(alerts)), last, now)
			if next = p.Next; len(p.Events) == 0 {
				last = now
				return
			}
			apply(p.Events)
		}
	}
	until := func(at time.Time) {
		for plan(); !next.IsZero() && next.Before(at); plan() {
			now = next
		}
		now = at
	}
	for i, s := range steps {
		until(start.Add(s.at))
		labels, err := ours.NewLabels(map[string]string{"alertname": s.name, "host": s.host})
		check(err)
		switch s.what {
		case "fire":
			alerts[s.name] = ours.Alert{Labels: labels, Phase: ours.Firing, Active: now, Fired: now}
		case "resolve":
			a := alerts[s.name]
			a.Phase, a.Ended = ours.Resolved, now
			alerts[s.name] = a
		case "silence":
			_, events, err := state.SetSilence(ours.Silence{Matchers: matchers("alertname=" + s.name), Ends: now.Add(s.lasts)}, fmt.Sprint(i), now)
			check(err)
			apply(events)
		}
		plan()
	}
	until(start.Add(end))
	slices.Sort(all)
	return all
}

func TestJudge(t *testing.T) {
	scripts, notifications := 0, 0
	for _, silences := range []bool{false, true} {
		for seed := range uint64(150) {
			steps := script(rand.New(rand.NewPCG(seed, 1)), silences)
			want, got := theirs(t, steps), mine(t, steps)
			if !slices.Equal(want, got) {
				var b strings.Builder
				for _, s := range steps {
					fmt.Fprintln(&b, s.at.Microseconds(), s.what, s.name, s.host, s.lasts)
				}
				for _, line := range want {
					if !slices.Contains(got, line) {
						fmt.Fprintln(&b, "Alertmanager alone:", line)
					}
				}
				for _, line := range got {
					if !slices.Contains(want, line) {
						fmt.Fprintln(&b, "package alert alone:", line)
					}
				}
				t.Fatalf("seed %d, silences %v:\n%s", seed, silences, b.String())
			}
			scripts++
			notifications += len(want)
		}
	}
	if notifications < 10_000 {
		t.Fatalf("too little happens: %d notifications", notifications)
	}
	fmt.Printf("scripts=%d notifications=%d\n", scripts, notifications)
}
