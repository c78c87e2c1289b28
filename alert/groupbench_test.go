package alert_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/berthage/berthage/alert"
)

// BenchmarkPlan is a plan with 600 alerts that fire, of which there is nothing to tell, and one flush of all of them.
func BenchmarkPlan(b *testing.B) {
	target := alert.Target{ID: "all", Receivers: []alert.Receiver{{Name: "ops"}}, GroupBy: []string{alert.NameLabel}}
	d := alert.Dispatcher{
		Route:   func(alert.Labels) []alert.Target { return []alert.Target{target} },
		Inhibit: []alert.InhibitRule{{Source: parsed(b, "alertname=HostDown"), Target: parsed(b, "alertname!=HostDown"), Equal: []string{"host"}}},
	}
	var alerts []alert.Alert
	for i := range 600 {
		l := labels(b, alert.NameLabel, []string{"HighCPU", "HighMemory", "DiskFull"}[i%3], "host", fmt.Sprintf("h%03d", i/3), "severity", "high")
		alerts = append(alerts, alert.Alert{Labels: l, Phase: alert.Firing, Active: noon(), Fired: noon(), Value: 97})
	}
	var state alert.State
	applyTo(b, &state, noon(), d.Plan(&state, alerts, time.Time{}, noon()).Events...)
	b.Run("rest", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if len(d.Plan(&state, alerts, noon(), noon().Add(time.Second)).Events) != 0 {
				b.Fatal("something is due")
			}
		}
	})
	b.Run("flush", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if len(d.Plan(&state, alerts, noon(), noon().Add(time.Minute)).Events) != 3 {
				b.Fatal("three groups are due")
			}
		}
	})
}
