package alert

import (
	"math"
	"strconv"
)

// Comparison is how a Test compares.
type Comparison string

// The comparisons. Inside and Outside have two edges, which belong to what is inside.
const (
	Over    Comparison = ">"
	AtLeast Comparison = ">="
	Under   Comparison = "<"
	AtMost  Comparison = "<="
	Is      Comparison = "=="
	IsNot   Comparison = "!="
	Inside  Comparison = "inside"  // Value <= x <= High
	Outside Comparison = "outside" // x < Value or x > High
)

// Test is true of some values. The zero value is true of every value.
type Test struct {
	Is    Comparison `json:"is,omitempty"`
	Value float64    `json:"value"`
	High  float64    `json:"high,omitempty"` // the upper edge, of Inside and Outside
}

// Holds says whether the test is true of a value.
func (t Test) Holds(v float64) bool {
	switch t.Is {
	case "":
		return true
	case Over:
		return v > t.Value
	case AtLeast:
		return v >= t.Value
	case Under:
		return v < t.Value
	case AtMost:
		return v <= t.Value
	case Is:
		return v == t.Value
	case IsNot:
		return v != t.Value
	case Inside:
		return t.Value <= v && v <= t.High
	case Outside:
		return v < t.Value || v > t.High
	}
	return false
}

// String returns the test as it is written: > 80.
func (t Test) String() string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	switch t.Is {
	case "":
		return "any value"
	case Inside, Outside:
		return string(t.Is) + " " + number(t.Value) + ".." + number(t.High)
	}
	return string(t.Is) + " " + number(t.Value)
}

func (t Test) validate(field string) error {
	for _, v := range []float64{t.Value, t.High} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return invalid(field, t.String(), "a finite number")
		}
	}
	switch t.Is {
	case "":
		if t.Value != 0 {
			return invalid(field+".is", "", "a comparison, since there is a value to compare with")
		}
	case Over, AtLeast, Under, AtMost, Is, IsNot:
		if t.High != 0 {
			return invalid(field+".high", t.String(), "none: it is for inside and outside")
		}
	case Inside, Outside:
		if t.High < t.Value {
			return invalid(field+".high", t.String(), "not less than value")
		}
	default:
		return invalid(field+".is", string(t.Is), ">, >=, <, <=, ==, !=, inside or outside")
	}
	return nil
}

// wider says whether the test is true of every value of which the other is, both of them finite comparisons.
func (t Test) wider(than Test) bool {
	switch than.Is {
	case Over:
		return t.Is == Over && t.Value <= than.Value || t.Is == AtLeast && t.Value <= than.Value
	case AtLeast:
		return t.Is == AtLeast && t.Value <= than.Value || t.Is == Over && t.Value < than.Value
	case Under:
		return t.Is == Under && t.Value >= than.Value || t.Is == AtMost && t.Value >= than.Value
	case AtMost:
		return t.Is == AtMost && t.Value >= than.Value || t.Is == Under && t.Value > than.Value
	case Outside:
		return t.Is == Outside && t.Value >= than.Value && t.High <= than.High
	case Inside:
		return t.Is == Inside && t.Value <= than.Value && t.High >= than.High
	}
	return false
}
