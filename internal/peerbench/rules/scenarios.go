package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// thing is a series: what of whom.
type thing struct{ metric, of, name, project, zone string }

// rule is a rule in both languages.
type rule struct {
	name, metric string
	window       string // of the function over it; none when empty
	function     string // avg_over_time, rate
	over         float64
	hold         time.Duration
}

// scenario is a fleet of 200 hosts and 300 instances with rules over it, and the values that it gives.
type scenario struct {
	name    string
	windows bool
	things  []thing
	rules   []rule
	busy    float64 // what part of the things crosses its threshold, now and then
}

func scenarios() []scenario {
	var things []thing
	for _, of := range []struct {
		what  string
		count int
	}{{"host", 200}, {"instance", 300}} {
		for i := range of.count {
			for _, metric := range []string{"cpu_percent", "memory_percent", "disk_percent", "network_percent"} {
				things = append(things, thing{of.what + "_" + metric, of.what, fmt.Sprint(of.what, i), fmt.Sprint("p", i%7), fmt.Sprint("z", i%3)})
			}
		}
	}
	var thresholds, windows []rule
	for _, of := range []string{"host", "instance"} {
		for i, metric := range []string{"cpu_percent", "memory_percent", "disk_percent", "network_percent"} {
			r := rule{name: of + "_" + metric, metric: of + "_" + metric, over: 80 + float64(i), hold: time.Duration(i) * time.Minute}
			thresholds = append(thresholds, r)
			r.function, r.window = "avg_over_time", "4m50s"
			r.over = 60.317
			windows = append(windows, r)
		}
	}
	return []scenario{
		{name: "thresholds, few alerts", things: things, rules: thresholds, busy: 0.01},
		{name: "thresholds, a tenth alerts", things: things, rules: thresholds, busy: 0.1},
		{name: "averages over 5 minutes", windows: true, things: things, rules: windows, busy: 0.1},
	}
}

// at returns the time of a step and the value of each thing at it.
func (s scenario) at(step int) (time.Time, []float64) {
	values := make([]float64, len(s.things))
	for i := range values {
		// What crosses its threshold does so for some minutes on end.
		r := rand.New(rand.NewPCG(uint64(i), uint64(step/20)))
		values[i] = 10 + float64(r.IntN(60)) + float64((step*7+i)%9)
		if r.Float64() < s.busy {
			values[i] = 95
		}
	}
	return time.Unix(1_000_000_000, 0).UTC().Add(time.Duration(step) * 15 * time.Second), values
}
