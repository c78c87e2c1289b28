package alert_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/berthage/berthage/alert"
	"github.com/stretchr/testify/require"
)

// TestRestartIsNotSeen: an engine that is replaced at random moments by a new one, which is given the ledger, the checkpoint
// and the samples of the last hour, says what one says that goes on. And each alert passes through its phases in order.
func TestRestartIsNotSeen(t *testing.T) {
	t.Parallel()
	rules := []alert.Rule{
		over80(func(r *alert.Rule) { r.For, r.KeepFiringFor = minutes(3), minutes(2) }),
		over80(func(r *alert.Rule) { r.Name, r.NoData, r.For = "NoData", "", minutes(2) }),
		over80(func(r *alert.Rule) { r.Name, r.Recover = "Hysteresis", &alert.Test{Is: alert.Over, Value: 40} }),
		over80(func(r *alert.Rule) {
			r.Name, r.Measure.Func, r.Measure.Window, r.Test.Value = "Average", alert.Avg, minutes(7), 55
		}),
		over80(func(r *alert.Rule) {
			r.Name, r.Measure.Func, r.Measure.Window, r.Test = "Falls", alert.Falls, minutes(20), alert.Test{Is: alert.Over, Value: 1}
		}),
		{Name: "Absent", Measure: alert.Measure{Metric: "cpu", Func: alert.Absent, Matchers: alert.Matchers{matcher(t, "host", alert.Equal, "h1")}}, For: minutes(2)},
	}
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 7))
			steady, restarted := newBench(t, alert.Options{}, rules...), newBench(t, alert.Options{}, rules...)
			var samples []alert.Sample
			phases := make(map[alert.Labels]alert.Phase)
			silent, changes := make([]int, 4), 0
			for minute := range 200 {
				var now []alert.Sample
				for h := range silent {
					if silent[h] > 0 {
						silent[h]--
						continue
					}
					s := alert.Sample{Metric: "cpu", Labels: labels(t, "host", fmt.Sprint("h", h)), Time: steady.at, Value: float64(r.IntN(3)) * 45}
					switch r.IntN(30) {
					case 0:
						silent[h] = r.IntN(12)
					case 1:
						s.Value = math.NaN()
					}
					now = append(now, s)
				}
				samples = append(samples, now...)
				require.NoError(t, steady.e.Observe(now...))
				require.NoError(t, restarted.e.Observe(now...))
				// Sometimes the ledgers take nothing for a while.
				steady.refuses = r.IntN(4) == 0
				restarted.refuses = steady.refuses
				steady.step()
				restarted.step()
				require.Empty(t, steady.last.Errors)
				require.Equal(t, steady.last, restarted.last)
				// What is resolved and in the ledger is in the memory of the one alone.
				require.Equal(t, standing(steady.e), standing(restarted.e))
				for _, c := range steady.last.Changes {
					if c.Alert.Phase == alert.Resolved {
						require.Equal(t, alert.Firing, phases[c.Alert.Labels], "resolved is what has fired")
					}
					if !steady.refuses {
						phases[c.Alert.Labels] = c.Alert.Phase
					}
				}
				changes += len(steady.last.Changes)
				// One that is restored knows of nothing before its first sample, one that is new that there was nothing.
				if minute > 20 && !steady.refuses && r.IntN(10) == 0 {
					checkpoint := restarted.e.Checkpoint()
					restarted.e = alert.New(restarted.at, alert.Options{})
					require.NoError(t, restarted.e.SetRules(rules...))
					restarted.e.Restore(slices.Collect(maps.Values(restarted.ledger)), checkpoint)
					require.NoError(t, restarted.e.Observe(samples...))
				}
				steady.at = steady.at.Add(time.Minute)
				restarted.at = steady.at
			}
			require.Greater(t, changes, 50)
		})
	}
}

// standing returns the alerts that are pending or firing.
func standing(e *alert.Engine) []alert.Alert {
	return slices.DeleteFunc(e.Alerts(), func(a alert.Alert) bool { return a.Phase == alert.Resolved })
}

// set returns the time with its wall clock put forward or back, its monotonic reading as it was: what time.Now gives after
// somebody has set the clock. There is no other way to make one.
func set(t time.Time, by time.Duration) time.Time {
	type inside struct {
		wall uint64 // a bit for the monotonic reading, 33 bits of seconds, 30 of nanoseconds
		ext  int64
		loc  *time.Location
	}
	(*inside)(unsafe.Pointer(&t)).wall += uint64(int64(by/time.Second)) << 30
	return t
}

// TestWallClockJumps: a clock that is set an hour forward or back fires nothing, resolves nothing, and makes no timer longer or
// shorter.
func TestWallClockJumps(t *testing.T) {
	t.Parallel()
	now := time.Now()
	require.Equal(t, time.Hour, set(now, time.Hour).Round(0).Sub(now.Round(0)), "the wall clock is set")
	require.Zero(t, set(now, time.Hour).Sub(now), "and the monotonic one is not")
	for _, jump := range []time.Duration{0, time.Hour, -time.Hour} {
		b := newBench(t, alert.Options{}, over80(func(r *alert.Rule) { r.For, r.NoData = minutes(3), "" }),
			alert.Rule{Name: "Absent", Measure: alert.Measure{Metric: "cpu", Func: alert.Absent}})
		start := time.Now()
		b.e = alert.New(start, alert.Options{})
		require.NoError(t, b.e.SetRules(over80(func(r *alert.Rule) { r.For, r.NoData = minutes(3), "" })))
		b.at = start
		require.Equal(t, "pp", b.run("cpu", 90, 90), jump)
		b.at = set(b.at, jump)
		require.Equal(t, "pff", b.run("cpu", 90, 90, 90), jump)
		b.at = set(b.at, -2*jump)
		require.Equal(t, "ffr", b.run("cpu", 90, 90, 70), jump)
		require.Len(t, b.e.Alerts(), 1)
	}
}

// TestClocksThatDiffer: a sample from the near future is as good as one of now, one from the far future is a mistake.
func TestClocksThatDiffer(t *testing.T) {
	t.Parallel()
	b := newBench(t, alert.Options{}, over80(func(r *alert.Rule) { r.NoData = "" }))
	sample := func(ahead time.Duration, v float64) {
		require.NoError(t, b.e.Observe(alert.Sample{Metric: "cpu", Labels: labels(t, "host", "h"), Time: b.at.Add(ahead), Value: v}))
	}
	for range 5 {
		sample(time.Minute, 90)
		b.step()
		require.Equal(t, map[string]alert.Phase{"h": alert.Firing}, b.phases())
		b.at = b.at.Add(15 * time.Second)
	}
	sample(time.Hour, 10)
	b.step()
	require.Equal(t, map[string]alert.Phase{"h": alert.Firing}, b.phases())
	b.at = b.at.Add(time.Minute)
	sample(0, 10)
	b.step()
	require.Equal(t, map[string]alert.Phase{"h": alert.Resolved}, b.phases())
	sample(-time.Minute, 90)
	require.Empty(t, b.step().Changes)
	require.EqualValues(t, 1, b.e.Stats().Late)
	b.at = b.at.Add(-time.Minute)
	require.ErrorIs(t, b.step().Errors[0], alert.ErrInvalid, "steps go forward")
}

func TestBounds(t *testing.T) {
	t.Parallel()
	b := newBench(t, alert.Options{Series: 2, Points: 3, Forget: minutes(10)}, over80(func(r *alert.Rule) {
		r.Measure.Func, r.Measure.Window = alert.Max, minutes(5)
	}))
	b.value("cpu", "a", 1)
	b.value("cpu", "b", 1)
	b.value("other", "c", 1)
	third := alert.Sample{Metric: "cpu", Labels: labels(t, "host", "c"), Time: b.at, Value: 1}
	require.ErrorIs(t, b.e.Observe(third), alert.ErrLimit)
	require.ErrorIs(t, b.e.Observe(alert.Sample{Metric: "cpu"}), alert.ErrInvalid)
	require.ErrorIs(t, b.e.Observe(alert.Sample{Time: b.at}), alert.ErrInvalid)
	require.Equal(t, alert.Stats{Samples: 6, Unused: 1, Refused: 3, Series: 2}, b.e.Stats())
	for i := range 4 {
		third := alert.Sample{Metric: "cpu", Labels: labels(t, "host", "a"), Time: b.at.Add(time.Duration(i+1) * time.Second), Value: 90}
		if err := b.e.Observe(third); i < 2 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, alert.ErrLimit)
		}
	}
	b.at = b.at.Add(10 * time.Second)
	b.step()
	require.Equal(t, map[string]alert.Phase{"a": alert.Firing}, b.phases())
	b.at = b.at.Add(11 * time.Minute)
	b.step()
	require.Zero(t, b.e.Stats().Series, "they were silent for long")
	b.value("cpu", "c", 1)
	require.Equal(t, 1, b.e.Stats().Series)
	b.e.Forget(nil)
	require.Equal(t, 1, b.e.Stats().Series, "nothing was named")

	// A series that cannot be made an alert of takes no other with it.
	many := make(map[string]string)
	for i := range alert.MaxLabels {
		many[fmt.Sprint("l", i)] = "x"
	}
	l, err := alert.NewLabels(many)
	require.NoError(t, err)
	b = newBench(t, alert.Options{}, over80())
	require.NoError(t, b.e.Observe(alert.Sample{Metric: "cpu", Labels: l, Time: b.at, Value: 90}))
	b.value("cpu", "h", 90)
	require.ErrorIs(t, b.step().Errors[0], alert.ErrInvalid)
	require.Equal(t, map[string]alert.Phase{"h": alert.Firing}, b.phases())
}

// TestWarmSamplesCostNoMemory: neither samples nor steps allocate when nothing changes.
func TestWarmSamplesCostNoMemory(t *testing.T) {
	b := newBench(t, alert.Options{}, over80(), over80(func(r *alert.Rule) {
		r.Name, r.Measure.Func, r.Measure.Window = "Average", alert.Avg, minutes(5)
	}))
	samples := make([]alert.Sample, 100)
	for i := range samples {
		samples[i] = alert.Sample{Metric: "cpu", Labels: labels(t, "host", fmt.Sprint(i)), Value: float64(i)}
	}
	round := func() {
		b.at = b.at.Add(15 * time.Second)
		for i := range samples {
			samples[i].Time = b.at
		}
		if err := b.e.Observe(samples...); err != nil {
			t.Fatal(err)
		}
		b.e.Committed(b.e.Step(context.Background(), b.at).Changes)
	}
	for range 200 {
		round()
	}
	require.Len(t, b.e.Alerts(), 38)
	require.Zero(t, testing.AllocsPerRun(100, round))
}

// TestOlderCheckpoint: the ledger is newer than the checkpoint, and what it says is so.
func TestOlderCheckpoint(t *testing.T) {
	t.Parallel()
	rule := over80(func(r *alert.Rule) { r.For = minutes(1) })
	b := newBench(t, alert.Options{}, rule)
	require.Equal(t, "p", b.run("cpu", 90))
	pending := b.e.Checkpoint()
	restored := func() *alert.Engine {
		e := alert.New(b.at, alert.Options{})
		require.NoError(t, e.SetRules(rule))
		e.Restore(slices.Collect(maps.Values(b.ledger)), pending)
		return e
	}
	require.Equal(t, "f", b.run("cpu", 90))
	require.Equal(t, alert.Firing, restored().Alerts()[0].Phase, "it has fired since")
	require.Equal(t, "r", b.run("cpu", 70))
	require.Empty(t, restored().Alerts(), "and was resolved")
	b.ledger = nil
	require.Equal(t, alert.Pending, restored().Alerts()[0].Phase)
	b.at = b.at.Add(10 * time.Minute)
	require.Empty(t, restored().Alerts(), "too old to go on")

	// An alert whose rule is gone is resolved.
	gone := alert.New(b.at, alert.Options{})
	gone.Restore([]alert.Alert{{Labels: labels(t, "alertname", "HighCPU", "host", "h"), Phase: alert.Firing, Fired: b.at}}, alert.Checkpoint{})
	out := gone.Step(context.Background(), b.at)
	require.Len(t, out.Changes, 1)
	require.Equal(t, alert.Resolved, out.Changes[0].Alert.Phase)
	gone.Committed(out.Changes)
	require.Empty(t, gone.Step(context.Background(), b.at).Changes)
}

// TestConcurrentUse: everything at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	b := newBench(t, alert.Options{}, over80())
	host := labels(t, "host", "h")
	which := alert.Matchers{matcher(t, "host", alert.Equal, "h")}
	var all sync.WaitGroup
	for _, do := range []func(at time.Time){
		func(at time.Time) { _ = b.e.Observe(alert.Sample{Metric: "cpu", Labels: host, Time: at, Value: 90}) },
		func(at time.Time) { b.e.Committed(b.e.Step(context.Background(), at).Changes) },
		func(time.Time) { _ = b.e.SetRules(over80(), over80(func(r *alert.Rule) { r.Name = "Other" })) },
		func(time.Time) { b.e.Alerts(); b.e.Stats(); b.e.Checkpoint() },
		func(time.Time) { b.e.Forget(which) },
	} {
		all.Go(func() {
			for i := range 200 {
				do(b.at.Add(time.Duration(i) * time.Second))
			}
		})
	}
	all.Wait()
	b.at = b.at.Add(time.Hour)
	require.NoError(t, b.e.SetRules(over80()))
	b.value("cpu", "h", 90)
	b.step()
	require.Equal(t, map[string]alert.Phase{"h": alert.Firing}, b.phases())
}

// FuzzRule: no rule that somebody may give, however strange, does harm to the engine.
func FuzzRule(f *testing.F) {
	for _, s := range []string{
		`{"name": "R", "measure": {"metric": "cpu"}, "test": {"is": ">", "value": 80}}`,
		`{"name": "R", "measure": {"metric": "cpu", "func": "rate", "window": "5m"}, "labels": {"x": "{{ $value }}"}, "annotations": {"y": "{{ printf \"%.2f\" $value }}"}}`,
		`{"name": "R", "measure": {"metric": "cpu", "func": "absent"}, "no_data": "keep", "actions": [{"do": "hook", "hook": "h"}]}`,
		`{"name": "R", "measure": {"metric": "cpu", "func": "falls", "window": "1h", "matchers": [{"name": "host", "op": "=~", "value": "h.*"}]}, "limit": 1}`,
		`{"name": "R", "measure": {"metric": "cpu", "of": "whole"}, "recover": {"is": "inside", "value": 1, "high": 2}, "test": {"is": "inside", "value": 1, "high": 1}}`,
	} {
		f.Add([]byte(s), 90.0)
	}
	f.Fuzz(func(t *testing.T, b []byte, v float64) {
		var r alert.Rule
		if json.Unmarshal(b, &r) != nil || r.Validate() != nil || r.Query != "" || r.Measure.Model != nil {
			return
		}
		again, err := json.Marshal(r)
		require.NoError(t, err)
		var back alert.Rule
		require.NoError(t, json.Unmarshal(again, &back))
		require.NoError(t, back.Validate(), string(again))

		w := newBench(t, alert.Options{}, r)
		for i := range 4 {
			w.value("cpu", "h", v+float64(i))
			w.value("whole", "h", 100)
			out := w.step()
			_, err := json.Marshal(out.Changes)
			require.NoError(t, err, "the ledger can hold it")
			w.at = w.at.Add(2 * time.Minute)
		}
	})
}
