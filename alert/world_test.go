package alert_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/stretchr/testify/require"
)

// noon is when every script starts: a Monday.
func noon() time.Time { return time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC) }

// world runs scripts in virtual time: it plans when something has changed and when the last plan says so, and applies what is
// decided as it would come back from a ledger, as JSON.
type world struct {
	t        *testing.T
	d        alert.Dispatcher
	state    *alert.State
	now      time.Time
	last     time.Time // when it last planned
	next     time.Time // when to plan again
	alerts   map[string]alert.Alert
	quiet    map[string]string // why alerts of that name are quiet
	history  []recorded
	told     []alert.Notification // all that is to be delivered
	unsent   []alert.Notification // and all that is recorded and is not
	plans    int
	lastPlan alert.Plan
}

type recorded struct {
	kind string
	data []byte
	at   time.Time
}

// newWorld has one target: everything in one group, told to "ops". Change may change it.
func newWorld(t *testing.T, change func(*alert.Target), dispatcher func(*alert.Dispatcher)) *world {
	target := alert.Target{ID: "all", Receivers: []alert.Receiver{{Name: "ops"}}}
	if change != nil {
		change(&target)
	}
	require.NoError(t, target.Validate())
	w := &world{t: t, state: new(alert.State), now: noon(), alerts: map[string]alert.Alert{}, quiet: map[string]string{}}
	w.d.Route = func(alert.Labels) []alert.Target { return []alert.Target{target} }
	w.d.Quiet = func(l alert.Labels) string { return w.quiet[l.Get(alert.NameLabel)] }
	if dispatcher != nil {
		dispatcher(&w.d)
	}
	return w
}

func (w *world) apply(events ...alert.Event) {
	for _, e := range events {
		data, err := json.Marshal(e.Data)
		require.NoError(w.t, err)
		require.Less(w.t, len(data), 1<<20)
		before := saved(w.t, w.state)
		next := w.state.Clone()
		require.NoError(w.t, next.Apply(e.Kind, data, w.now))
		require.Equal(w.t, before, saved(w.t, w.state), "a clone is its own")
		w.state = new(alert.State) // what was saved is all that there is
		require.NoError(w.t, json.Unmarshal([]byte(saved(w.t, next)), w.state))
		require.Equal(w.t, saved(w.t, next), saved(w.t, w.state))
		w.history = append(w.history, recorded{e.Kind, data, w.now})
		if n, ok := e.Data.(alert.Notification); ok {
			if e.Kind == alert.GroupNotified {
				w.told = append(w.told, n)
			} else {
				w.unsent = append(w.unsent, n)
			}
		}
	}
}

// plan plans until nothing more is due at this moment.
func (w *world) plan() {
	all := slices.Collect(maps.Values(w.alerts))
	for range 10 {
		w.lastPlan = w.d.Plan(w.state, all, w.last, w.now)
		w.plans++
		if len(w.lastPlan.Events) == 0 {
			w.last, w.next = w.now, w.lastPlan.Next
			require.True(w.t, w.next.IsZero() || w.next.After(w.now), "it would plan at once again, for ever")
			return
		}
		w.apply(w.lastPlan.Events...)
	}
	w.t.Fatalf("it plans without end: %+v", w.lastPlan)
}

// until lets time pass.
func (w *world) until(at time.Time) {
	for w.plan(); !w.next.IsZero() && !w.next.After(at); w.plan() {
		w.now = w.next
	}
	w.now = at
}

// run runs a script of lines "offset verb arguments", in order of time, and then lets time pass until the end.
func (w *world) run(script string, end time.Duration) {
	for line := range strings.Lines(script) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		offset, err := time.ParseDuration(words[0])
		require.NoError(w.t, err, line)
		w.until(noon().Add(offset))
		w.do(words[1], words[2:])
		w.plan()
	}
	w.until(noon().Add(end))
	w.plan()
}

func (w *world) do(verb string, args []string) {
	name := args[0]
	switch verb {
	case "fire": // name label=value ...
		m := map[string]string{alert.NameLabel: name}
		for _, arg := range args[1:] {
			k, v, _ := strings.Cut(arg, "=")
			m[k] = v
		}
		l, err := alert.NewLabels(m)
		require.NoError(w.t, err)
		w.alerts[name] = alert.Alert{Labels: l, Phase: alert.Firing, Active: w.now.Add(-5 * time.Minute), Fired: w.now, Value: 91}
	case "resolve":
		a := w.alerts[name]
		a.Phase, a.Ended = alert.Resolved, w.now
		w.alerts[name] = a
	case "forget":
		delete(w.alerts, name)
	case "give": // name start end: as to Alertmanager's API; offsets, - for none
		moment := func(s string) time.Time {
			if s == "-" {
				return time.Time{}
			}
			d, err := time.ParseDuration(s)
			require.NoError(w.t, err)
			return noon().Add(d)
		}
		a, err := alert.Receive(w.alerts[name], alert.Given{Labels: labels(w.t, alert.NameLabel, name), Starts: moment(args[1]), Ends: moment(args[2])}, w.now, 0)
		require.NoError(w.t, err)
		w.alerts[name] = a
	case "silence": // id duration matchers
		d, err := time.ParseDuration(args[1])
		require.NoError(w.t, err)
		ms, err := alert.ParseMatchers(args[2], alert.EitherSyntax)
		require.NoError(w.t, err)
		want := alert.Silence{Matchers: ms, Ends: w.now.Add(d), By: "carol"}
		_, events, err := w.state.SetSilence(want, name, w.now)
		require.NoError(w.t, err)
		w.apply(events...)
	case "unsilence":
		events, err := w.state.EndSilence(name, "carol", w.now)
		require.NoError(w.t, err)
		w.apply(events...)
	case "ack":
		e, err := w.state.Acknowledge(w.alerts[name], "carol", "looking", w.now)
		require.NoError(w.t, err)
		w.apply(e)
	case "withdraw":
		e, err := w.state.Withdraw(w.alerts[name].Labels, "dave", w.now)
		require.NoError(w.t, err)
		w.apply(e)
	case "quiet": // name why
		w.quiet[name] = args[1]
	case "loud":
		delete(w.quiet, name)
	case "restart": // nothing is left but what was recorded
		w.restart()
	case "sleep": // duration verb arguments: nobody plans for that long, nor before what happens then
		d, err := time.ParseDuration(name)
		require.NoError(w.t, err)
		w.now = w.now.Add(d)
		if len(args) > 1 {
			w.do(args[1], args[2:])
		}
	default:
		w.t.Fatal(verb)
	}
}

func (w *world) restart() {
	w.state, w.last = new(alert.State), time.Time{}
	for _, r := range w.history {
		require.NoError(w.t, w.state.Apply(r.kind, r.data, r.at))
	}
}

// toldLine writes what was told, as: 30s ops first +a +b -c.
func toldLine(n alert.Notification) string {
	short := map[alert.Reason]string{
		alert.First: "first", alert.NewAlerts: "new", alert.NewResolved: "some resolved", alert.AllResolved: "resolved", alert.Repeated: "repeat",
		alert.Muted: "muted", alert.Unwanted: "unwanted",
	}
	s := fmt.Sprintf("%v %s", n.At.Sub(noon()), n.Receiver)
	if n.Step > 0 {
		s += fmt.Sprintf("#%d", n.Step)
	}
	s += " " + short[n.Reason]
	for _, t := range n.Firing {
		s += " +" + t.Labels.Get(alert.NameLabel)
	}
	for _, t := range n.Resolved {
		s += " -" + t.Labels.Get(alert.NameLabel)
	}
	return s
}

func toldLines(all []alert.Notification) []string {
	out := make([]string, len(all))
	for i, n := range all {
		out[i] = toldLine(n)
	}
	return out
}

// mutedLines writes what was muted, as: a silence s1.
func mutedLines(all []alert.MutedAlert) []string {
	var out []string
	for _, m := range all {
		for _, c := range m.By {
			out = append(out, strings.TrimSpace(m.Labels.Get(alert.NameLabel)+" "+c.By+" "+c.Name+" "+c.From.Get(alert.NameLabel)))
		}
	}
	return out
}

func saved(t require.TestingT, s *alert.State) string {
	b, err := json.Marshal(s)
	require.NoError(t, err)
	return string(b)
}
