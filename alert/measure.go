package alert

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// LookBack is how long the last sample of a series counts as its present value, as in Prometheus.
const LookBack = Duration(5 * 60 * 1e9)

// Measure says what is measured: a metric, of which things, and what is made of its values. A thing whose sample carries no
// number is gone until the next that does.
type Measure struct {
	Metric   string   `json:"metric"`
	Matchers Matchers `json:"matchers,omitempty"` // of which things; all when empty

	Func   Func     `json:"func,omitempty"`
	Window Duration `json:"window,omitempty"` // of functions over a window (t-window, t]

	Quantile float64  `json:"quantile,omitempty"` // of Quantile: from 0 to 1
	Ahead    Duration `json:"ahead,omitempty"`    // of PredictLinear: how far into the future
	Model    *Model   `json:"model,omitempty"`    // of Anomalies and Forecast
	Last     int      `json:"last,omitempty"`     // of Anomalies: among how many of the last samples those outside are counted

	// Of makes a percentage: the measure of this metric, with the same labels, is the whole. Without it or when it is zero
	// there is no value.
	Of string `json:"of,omitempty"`
}

// Func is what is made of the values of a series.
type Func string

// The functions. All but those of the last group are those of PromQL by (nearly) the same names. Functions over a window
// need a sample in it, those marked * two.
const (
	Last Func = "" // the newest value, if it is not older than the look-back

	Avg      Func = "avg"
	Min      Func = "min"
	Max      Func = "max"
	Sum      Func = "sum"
	Count    Func = "count"    // samples
	Quantile Func = "quantile" // interpolated between samples

	Rate          Func = "rate"           // * per second, of a counter that may begin anew, extrapolated to the window
	Increase      Func = "increase"       // * rate times the window
	Delta         Func = "delta"          // * the difference, of a gauge, extrapolated to the window
	PredictLinear Func = "predict_linear" // * where the line of least squares will be
	Resets        Func = "resets"         // how often the value was less than the one before
	Changes       Func = "changes"        // how often the value was another than the one before

	// Absent is 1 when nothing has a value, or had one in the window, with the labels that the matchers ask for by "=".
	Absent Func = "absent"

	// Falls is how often in the window something went down: a sample of zero after one that was not zero. Neither the
	// first sample of a series is a fall, nor one before which the reporter was silent for longer than the look-back or
	// said that there is no value.
	Falls Func = "falls"
	// Flapping is the percentage of changes among the last 21 samples, the younger weighing more, from 0.8 to 1.2, as in
	// Nagios. With a test of at least 20 and Recover of at least 5 it begins and ends as there.
	Flapping Func = "flapping"
	// Anomalies is how many of the last samples the model found outside of what it expected.
	Anomalies Func = "anomalies"
	// Forecast is the number that the model foretells.
	Forecast Func = "forecast"
)

// Model names a model that follows the values of one series; the engine's Options make it.
type Model struct {
	Name   string             `json:"name"`
	Params map[string]float64 `json:"params,omitempty"`
}

// kinds of functions, by what they need.
const (
	kindLast   = iota // the newest sample
	kindWindow        // the samples of the window
	kindFollow        // something that follows the series
	kindAbsent
	kindUnknown
)

func (f Func) kind() int {
	switch f {
	case Last:
		return kindLast
	case Avg, Min, Max, Sum, Count, Quantile, Rate, Increase, Delta, PredictLinear, Resets, Changes:
		return kindWindow
	case Falls, Flapping, Anomalies, Forecast:
		return kindFollow
	case Absent:
		return kindAbsent
	}
	return kindUnknown
}

// guesses says whether what is measured is a model's opinion.
func (m Measure) guesses() bool { return m.Func == Anomalies || m.Func == Forecast }

func (m Measure) zero() bool { return m.Metric == "" && m.Func == "" && len(m.Matchers) == 0 }

func (m Measure) validate() error {
	none := func(field string, is bool, value string) error {
		if is {
			return nil
		}
		return invalid("measure."+field, value, "none with this function")
	}
	switch {
	case m.Metric == "" || len(m.Metric) > MaxLabelName || !utf8.ValidString(m.Metric):
		return invalid("measure.metric", m.Metric, "a name of at most "+strconv.Itoa(MaxLabelName)+" bytes in UTF-8")
	case len(m.Of) > MaxLabelName || !utf8.ValidString(m.Of):
		return invalid("measure.of", m.Of, "a name of at most "+strconv.Itoa(MaxLabelName)+" bytes in UTF-8")
	case m.Func.kind() == kindUnknown:
		return invalid("measure.func", string(m.Func), "a function")
	case m.Of != "" && m.Func.kind() != kindLast && m.Func.kind() != kindWindow:
		return invalid("measure.of", m.Of, "none with this function")
	}
	switch kind := m.Func.kind(); {
	case kind == kindWindow || m.Func == Falls:
		if err := span("measure.window", m.Window, false); err != nil {
			return err
		}
	case kind == kindAbsent:
		if err := span("measure.window", m.Window, true); err != nil {
			return err
		}
	default:
		if err := none("window", m.Window == 0, m.Window.String()); err != nil {
			return err
		}
	}
	if m.Func == PredictLinear {
		if err := span("measure.ahead", m.Ahead, true); err != nil {
			return err
		}
	} else if err := none("ahead", m.Ahead == 0, m.Ahead.String()); err != nil {
		return err
	}
	if m.Func == Quantile {
		if math.IsNaN(m.Quantile) || m.Quantile < 0 || m.Quantile > 1 {
			return invalid("measure.quantile", strconv.FormatFloat(m.Quantile, 'g', -1, 64), "from 0 to 1")
		}
	} else if err := none("quantile", m.Quantile == 0, ""); err != nil {
		return err
	}
	if m.Func == Anomalies {
		if m.Last < 1 || m.Last > MaxLast {
			return invalid("measure.last", strconv.Itoa(m.Last), "from 1 to "+strconv.Itoa(MaxLast))
		}
	} else if err := none("last", m.Last == 0, strconv.Itoa(m.Last)); err != nil {
		return err
	}
	if m.guesses() {
		if m.Model == nil || m.Model.Name == "" {
			return invalid("measure.model", "", "the name of a model")
		}
	} else if err := none("model", m.Model == nil, ""); err != nil {
		return err
	}
	return nil
}
