package alert_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/stretchr/testify/require"
)

// randomly returns a script of what may happen to six alerts within two hours.
func randomly(r *rand.Rand) string {
	firing, acked, silenced := map[string]bool{}, map[string]bool{}, map[string]bool{}
	var script strings.Builder
	at := time.Duration(0)
	for range 40 {
		at += time.Duration(r.IntN(360)) * time.Second
		name := string(rune('a' + r.IntN(6)))
		id := fmt.Sprintf("s%d", r.IntN(3))
		switch k := r.IntN(10); {
		case k < 4 && !firing[name]:
			fmt.Fprintf(&script, "%v fire %s host=h%d\n", at, name, int(name[0])%2)
			firing[name] = true
		case k < 7 && firing[name]:
			fmt.Fprintf(&script, "%v resolve %s\n", at, name)
			firing[name], acked[name] = false, false
		case k == 7 && !silenced[id]:
			fmt.Fprintf(&script, "%v silence %s %v alertname=%s\n", at, id, time.Duration(1+r.IntN(1800))*time.Second, name)
			silenced[id] = true
		case k == 8 && firing[name] && !acked[name]:
			fmt.Fprintf(&script, "%v ack %s\n", at, name)
			acked[name] = true
		case k == 9 && firing[name] && acked[name]:
			fmt.Fprintf(&script, "%v withdraw %s\n", at, name)
			acked[name] = false
		}
	}
	return script.String()
}

// busy is a world with everything in it.
func busy(t *testing.T) *world {
	return newWorld(t, func(target *alert.Target) {
		target.GroupBy = []string{"host"}
		target.Repeat = 40 * time.Minute
		target.Receivers = append(target.Receivers, alert.Receiver{Name: "sms", FiringOnly: true})
		target.Mute = []alert.Times{{Name: "lunch", Intervals: []alert.TimeInterval{{Times: []alert.Range{{From: 12*60 + 50, To: 13 * 60}}}}}}
		target.Escalation = []alert.Step{{After: 7 * time.Minute, Receivers: []alert.Receiver{{Name: "lead"}}}, {After: 20 * time.Minute, Receivers: []alert.Receiver{{Name: "ops"}, {Name: "boss"}}}}
	}, func(d *alert.Dispatcher) {
		d.Inhibit = []alert.InhibitRule{{Name: "rule", Source: parsed(t, "alertname=a"), Target: parsed(t, "alertname=~[c-e]"), Equal: []string{"host"}}}
	})
}

// TestAnyLife: whatever happens, what is told makes sense.
func TestAnyLife(t *testing.T) {
	t.Parallel()
	var sent, resolved, escalated, unsent int
	for seed := range uint64(40) {
		w := busy(t)
		script := randomly(rand.New(rand.NewPCG(seed, 1)))
		w.run(script, 4*time.Hour)

		firing := map[alert.Stream]map[string]bool{} // what each was last told to fire
		owed := map[alert.Stream]map[string]bool{}   // what each was told to fire, and not how it ended
		last := map[alert.Stream]time.Time{}
		keys := map[string]bool{}
		generation := int64(0)
		for _, n := range w.told {
			at := fmt.Sprintf("seed %d: %s\n%s", seed, toldLine(n), script)
			require.False(t, keys[n.Key], at)
			keys[n.Key] = true
			require.Greater(t, n.Generation, generation, at)
			generation = n.Generation
			require.NotContains(t, []alert.Reason{"", alert.Muted, alert.Unwanted}, n.Reason, at)
			if len(n.Firing) == 0 {
				require.Equal(t, alert.AllResolved, n.Reason, at)
				resolved++
			}
			if n.Reason == alert.AllResolved || n.Reason == alert.NewResolved {
				require.NotEmpty(t, owed[n.Stream], "a resolved message only after a firing one: %s", at)
			}
			if owed[n.Stream] == nil {
				owed[n.Stream] = map[string]bool{}
			}
			for _, f := range n.Firing {
				owed[n.Stream][f.Labels.Get(alert.NameLabel)] = true
			}
			for _, r := range n.Resolved {
				delete(owed[n.Stream], r.Labels.Get(alert.NameLabel))
			}
			if n.Receiver == "sms" {
				require.Empty(t, n.Resolved, at)
			}
			if previous, ok := last[n.Stream]; ok && !n.Last {
				require.True(t, len(firing[n.Stream]) == 0 || n.At.Sub(previous) >= 5*time.Minute, "two flushes are an interval apart: %s", at)
			}
			last[n.Stream], firing[n.Stream] = n.At, map[string]bool{}
			for _, f := range n.Firing {
				name := f.Labels.Get(alert.NameLabel)
				firing[n.Stream][name] = true
				require.False(t, f.Starts.After(n.At), at)
				require.True(t, f.Ends.IsZero(), at)
				require.True(t, n.At.Minute() < 50 || n.At.Hour() != 12, "it is a mute time: %s", at)
			}
			for _, r := range n.Resolved {
				require.False(t, r.Ends.After(n.At), at)
			}
			if n.Step > 0 {
				escalated++
				for _, f := range n.Firing {
					require.Empty(t, f.By, "what is acknowledged does not escalate: %s", at)
				}
			}
			sent++
		}
		unsent += len(w.unsent)

		// All ends, which is told to everybody who was told that it fires, and then nothing is remembered but silences.
		told := len(w.told)
		w.run("", 5*time.Hour)
		for name, a := range w.alerts {
			if a.Ended.IsZero() {
				w.do("resolve", []string{name})
			}
		}
		w.until(w.now.Add(time.Hour))
		for _, n := range w.told[told:] {
			for _, f := range n.Firing {
				owed[n.Stream][f.Labels.Get(alert.NameLabel)] = true
			}
			for _, r := range n.Resolved {
				delete(owed[n.Stream], r.Labels.Get(alert.NameLabel))
			}
		}
		for stream, names := range owed {
			require.True(t, len(names) == 0 || stream.Receiver == "sms", "seed %d: %v was not told the end of %v\n%s", seed, stream, names, script)
		}
		w.alerts = nil
		w.plan()
		require.Zero(t, w.lastPlan.Next)
		require.Empty(t, w.state.Streams(), "seed %d", seed)
	}
	t.Logf("%d told, %d that all is resolved, %d escalated, %d muted or unwanted", sent, resolved, escalated, unsent)
	require.Greater(t, min(sent, resolved, escalated, unsent), 200)
}

// TestHowOftenDoesNotMatter: a daemon that plans all the time, one that plans when it must, and one that is started anew again
// and again tell the same at the same time.
func TestHowOftenDoesNotMatter(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		script := randomly(rand.New(rand.NewPCG(seed, 2)))
		calm, hasty := busy(t), busy(t)
		calm.run(script, 3*time.Hour)
		r := rand.New(rand.NewPCG(seed, 3))
		var more strings.Builder
		at := time.Duration(0)
		for text := range strings.Lines(script) {
			offset, err := time.ParseDuration(strings.Fields(text)[0])
			require.NoError(t, err)
			for at += time.Duration(r.IntN(300)) * time.Second; at < offset; at += time.Duration(1+r.IntN(300)) * time.Second {
				fmt.Fprintf(&more, "%v restart x\n", at)
			}
			at = offset
			more.WriteString(text)
		}
		hasty.run(more.String(), 3*time.Hour)
		require.Equal(t, toldLines(calm.told), toldLines(hasty.told), "seed %d\n%s", seed, script)
		require.Greater(t, hasty.plans, calm.plans)
	}
}

// TestTwoDaemonsPlanTheSame: from the same events, alerts and moment comes the same, word for word.
func TestTwoDaemonsPlanTheSame(t *testing.T) {
	t.Parallel()
	planned := 0
	for seed := range uint64(20) {
		w := busy(t)
		script := strings.Split(randomly(rand.New(rand.NewPCG(seed, 4))), "\n")
		w.run(strings.Join(script[:len(script)/2], "\n"), 0)
		for range 40 {
			w.now = w.now.Add(time.Minute)
			first := slices.Collect(maps.Values(w.alerts))
			second := slices.Clone(first)
			slices.Reverse(second) // in another order
			other := new(alert.State)
			for _, h := range w.history {
				require.NoError(t, other.Apply(h.kind, h.data, h.at))
			}
			for range 3 {
				a, err := json.Marshal(w.d.Plan(w.state, first, w.last, w.now))
				require.NoError(t, err)
				b, err := json.Marshal(w.d.Plan(other, second, w.last, w.now))
				require.NoError(t, err)
				require.Equal(t, string(a), string(b), "seed %d", seed)
			}
			events := w.d.Plan(w.state, first, w.last, w.now).Events
			planned += len(events)
			w.apply(events...)
		}
	}
	require.Greater(t, planned, 40)
}

// TestStateIsSaved: what is written and read again decides the same, and a clone goes its own way.
func TestStateIsSaved(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		w := busy(t)
		w.run(randomly(rand.New(rand.NewPCG(seed, 5))), time.Hour)
		saved, err := json.Marshal(w.state)
		require.NoError(t, err)
		var back alert.State
		require.NoError(t, json.Unmarshal(saved, &back))
		clone := w.state.Clone()
		alerts := slices.Collect(maps.Values(w.alerts))
		for range 30 {
			w.now = w.now.Add(3 * time.Minute)
			events := w.d.Plan(w.state, alerts, w.last, w.now).Events
			require.Equal(t, events, w.d.Plan(&back, alerts, w.last, w.now).Events)
			applyTo(t, &back, w.now, events...)
			w.apply(events...)
			again, err := json.Marshal(&back)
			require.NoError(t, err)
			now, err := json.Marshal(w.state)
			require.NoError(t, err)
			require.Equal(t, string(now), string(again))
		}
		after, err := json.Marshal(clone)
		require.NoError(t, err)
		require.Equal(t, string(saved), string(after))
	}
	var s alert.State
	require.ErrorIs(t, json.Unmarshal([]byte(`{"silences": 1}`), &s), alert.ErrInvalid)
	require.ErrorIs(t, s.Apply("alert.unheard-of", []byte("{}"), noon()), alert.ErrInvalid)
	require.ErrorIs(t, s.Apply(alert.SilenceSet, []byte(`{"matchers": [{"name": ""}]}`), noon()), alert.ErrInvalid)
}

// TestGoneWithoutAnEnd: an alert that is there no more, though nobody was told its end, is not remembered for ever.
func TestGoneWithoutAnEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	w.run("0s fire a\n 0s fire b\n 1m forget a\n 2m fire c", 10*time.Minute)
	require.Equal(t, []string{"30s ops first +a +b", "5m30s ops new +b +c"}, toldLines(w.told))
	require.False(t, w.state.Announced(labels(t, alert.NameLabel, "a")))
	require.True(t, w.state.Announced(labels(t, alert.NameLabel, "b")))
}

// TestStorm: 200 hosts and three rules at once are few messages that list everything.
func TestStorm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(target *alert.Target) { target.GroupBy = []string{alert.NameLabel} }, nil)
	for host := range 200 {
		for _, name := range []string{"HighCPU", "HighMemory", "DiskFull"} {
			l := labels(t, alert.NameLabel, name, "host", fmt.Sprintf("h%03d", host), "severity", "critical")
			w.alerts[l.String()] = alert.Alert{
				Labels: l, Phase: alert.Firing, Active: w.now, Fired: w.now.Add(time.Duration(host%20) * time.Second), Value: 97,
				Annotations: map[string]string{"summary": strings.Repeat("The host is in trouble. ", 8)},
			}
		}
	}
	w.now = w.now.Add(20 * time.Second)
	w.until(noon().Add(3 * time.Hour))
	require.Len(t, w.told, 3)
	listed := 0
	for _, n := range w.told {
		listed += len(n.Firing)
		require.Empty(t, n.FiringToo)
	}
	require.Equal(t, 600, listed)
	require.Len(t, w.history, 6, "and then there is peace")

	for name, a := range w.alerts {
		a.Phase, a.Ended = alert.Resolved, w.now
		w.alerts[name] = a
	}
	w.until(noon().Add(4 * time.Hour))
	require.Len(t, w.told, 6)
	require.Empty(t, w.state.Streams())
}

// TestManyAlerts: a notification stays small enough for one event, and nothing is forgotten of what it does not list.
func TestManyAlerts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	for i := range 3000 {
		l := labels(t, alert.NameLabel, fmt.Sprintf("a%04d", i))
		w.alerts[l.String()] = alert.Alert{
			Labels: l, Phase: alert.Firing, Fired: w.now, Annotations: map[string]string{"summary": strings.Repeat("\x01", 100)},
		}
	}
	w.until(noon().Add(time.Hour))
	require.Len(t, w.told, 1)
	n := w.told[0]
	require.Greater(t, len(n.Firing), 500)
	require.Equal(t, 3000, len(n.Firing)+len(n.FiringToo))
	b, err := json.Marshal(n)
	require.NoError(t, err)
	require.Less(t, len(b), 1<<20)
	require.True(t, w.state.Announced(labels(t, alert.NameLabel, "a2999")))
	require.False(t, w.state.Announced(labels(t, alert.NameLabel, "b")))

	for name, a := range w.alerts {
		a.Phase, a.Ended = alert.Resolved, w.now
		w.alerts[name] = a
	}
	w.until(noon().Add(2 * time.Hour))
	require.Len(t, w.told, 2)
	require.Equal(t, 3000, len(w.told[1].Resolved)+len(w.told[1].ResolvedToo))
}

// TestClockJumps: a jump of an hour either way tells nothing that was not due.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, nil)
	w.run("0s fire a\n 1m fire b", 10*time.Minute)
	require.Equal(t, []string{"30s ops first +a", "5m30s ops new +a +b"}, toldLines(w.told))
	w.now = w.now.Add(time.Hour)
	w.plan()
	w.now = w.now.Add(-2 * time.Hour)
	w.plan()
	require.Len(t, w.told, 2)
	require.True(t, w.next.After(w.now))
	w.now = w.now.Add(time.Hour)
	w.run("20m resolve a", 30*time.Minute)
	require.Equal(t, []string{"20m30s ops some resolved +b -a"}, toldLines(w.told[2:]))
}

// TestAtRestNothingIsWritten: of a day in which nothing changes only reminders remain.
func TestAtRestNothingIsWritten(t *testing.T) {
	t.Parallel()
	w := busy(t)
	w.run("0s silence s1 48h alertname=c\n 0s fire a host=h1\n 0s fire b host=h1\n 0s fire c host=h2\n 1m ack a\n 1m ack b", time.Hour)
	before := len(w.history)
	w.run("", 24*time.Hour)
	require.Equal(t, before, len(w.history))
}
