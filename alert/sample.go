package alert

import "time"

// Sample is one measurement of one thing.
type Sample struct {
	Metric string    // what was measured: "cpu_percent"
	Labels Labels    // of what; whoever measures the same thing again gives the same value, which costs nothing
	Time   time.Time // when
	Value  float64   // how much; not a number means that the thing gave no value
}
