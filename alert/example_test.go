package alert_test

import (
	"context"
	"fmt"
	"time"

	"github.com/berthage/berthage/alert"
)

// An engine is given samples and asked, step by step, which alerts have changed. Here virtual time makes minutes pass at once.
func Example() {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	engine := alert.New(now, alert.Options{})
	if err := engine.SetRules(alert.Defaults()...); err != nil {
		fmt.Println(err)
		return
	}
	host, err := alert.NewLabels(map[string]string{"host": "h1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for minute := range 10 {
		cpu := 95.0
		if minute > 6 {
			cpu = 12
		}
		err := engine.Observe(
			alert.Sample{Metric: "cpu_percent", Labels: host, Time: now, Value: cpu},
			alert.Sample{Metric: "memory_percent", Labels: host, Time: now, Value: 40},
			alert.Sample{Metric: "host_disk_percent", Labels: host, Time: now, Value: 40},
		)
		if err != nil {
			fmt.Println(err)
		}
		out := engine.Step(context.Background(), now)
		for _, c := range out.Changes {
			fmt.Println(minute, c.Alert.Phase, c.Alert.Labels, c.Alert.Annotations["summary"])
		}
		engine.Committed(out.Changes) // they are in the ledger
		now = now.Add(time.Minute)
	}
	// Output:
	// 5 firing {alertname="HighCPU", host="h1", severity="high"} h1: CPU at 95.0 %
	// 7 resolved {alertname="HighCPU", host="h1", severity="high"} h1: CPU at 95.0 %
}

// "Down more than three times within the hour": falls are counted, not samples that are down.
func ExampleRule_falls() {
	rule := alert.Rule{
		Name:     "NginxFlaps",
		Measure:  alert.Measure{Metric: "nginx_up", Func: alert.Falls, Window: alert.Duration(time.Hour)},
		Test:     alert.Test{Is: alert.Over, Value: 3},
		Severity: alert.Critical,
	}
	fmt.Println(rule.Validate())
	// Output: <nil>
}
