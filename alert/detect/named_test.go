package detect_test

import (
	"context"
	"fmt"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/alert/detect"
)

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
