package detect_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/alert/detect"
	"github.com/stretchr/testify/require"
)

// What a model has learnt of a series is handed on from one engine of package alert to another.
func TestModelsAreHandedOn(t *testing.T) {
	t.Parallel()
	fill := alert.Rule{
		Name: "DiskFills",
		Measure: alert.Measure{
			Metric: "disk_percent", Func: alert.Forecast,
			Model: &alert.Model{Name: "forecast", Params: map[string]float64{"limit": 100, "history": 86400}},
		},
		Test: alert.Test{Is: alert.Under, Value: 24}, NoData: alert.NoDataOK,
	}
	odd := alert.Rule{
		Name: "OddLoad",
		Measure: alert.Measure{
			Metric: "load", Func: alert.Anomalies, Last: 1,
			Model: &alert.Model{Name: "holtwinters", Params: map[string]float64{"season": 86400, "slot": 3600, "least": 1}},
		},
		Test: alert.Test{Is: alert.AtLeast, Value: 1}, NoData: alert.NoDataOK,
	}
	now := start()
	engine := func() *alert.Engine {
		e := alert.New(now, alert.Options{Models: func(m alert.Model) (alert.Detector, error) { return detect.Named(m.Name, m.Params) }})
		require.NoError(t, e.SetRules(fill, odd))
		return e
	}
	step := func(e *alert.Engine, disk, load float64) (firing []string) {
		require.NoError(t, e.Observe(alert.Sample{Metric: "disk_percent", Time: now, Value: disk}, alert.Sample{Metric: "load", Time: now, Value: load}))
		out := e.Step(t.Context(), now)
		e.Committed(out.Changes)
		for _, c := range out.Changes {
			firing = append(firing, c.Alert.Labels.Get(alert.NameLabel)+" "+string(c.Alert.Phase))
		}
		now = now.Add(10 * time.Minute)
		return firing
	}
	first := engine()
	for i := range 4 * 144 {
		require.Empty(t, step(first, 10+float64(i)/144, 10))
	}
	learned, err := json.Marshal(first.Learned())
	require.NoError(t, err)
	var given []alert.Learned
	require.NoError(t, json.Unmarshal(learned, &given))
	require.Len(t, given, 2)
	second, untaught := engine(), engine()
	second.Teach(given)
	require.Equal(t, []string{"OddLoad firing"}, step(second, 14, 20))
	require.Empty(t, step(untaught, 14, 20))
	var firing []string
	for i := range 3 * 144 { // now it fills by a per cent an hour
		firing = append(firing, step(second, 14+float64(i)/6, 10)...)
	}
	require.Equal(t, []string{"OddLoad resolved", "DiskFills firing"}, firing)
}

// A rule of package alert names a model; Named makes it.
func ExampleNamed() {
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	engine := alert.New(now, alert.Options{Models: func(m alert.Model) (alert.Detector, error) {
		return detect.Named(m.Name, m.Params)
	}})
	err := engine.SetRules(alert.Rule{
		Name: "OddLatency",
		Measure: alert.Measure{
			Metric: "latency_seconds", Func: alert.Anomalies, Last: 5,
			Model: &alert.Model{Name: "robustz", Params: map[string]float64{"window": 60, "least": 0.01}},
		},
		Test:   alert.Test{Is: alert.AtLeast, Value: 3}, // of the last five
		NoData: alert.NoDataOK,
	})
	if err != nil {
		panic(err)
	}
	for i := range 60 {
		latency := 0.1 + float64(i%5)/100
		if i >= 40 && i < 50 {
			latency = 0.4
		}
		if err := engine.Observe(alert.Sample{Metric: "latency_seconds", Time: now, Value: latency}); err != nil {
			panic(err)
		}
		out := engine.Step(context.Background(), now)
		for _, c := range out.Changes {
			fmt.Println(i, c.Alert.Phase)
		}
		engine.Committed(out.Changes)
		now = now.Add(15 * time.Second)
	}
	// Output:
	// 42 firing
	// 52 resolved
}
