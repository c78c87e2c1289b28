package alert

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// anyFloat is a float64 that JSON can hold whatever it is: what is no finite number is a string, as Go writes it.
type anyFloat float64

// MarshalJSON implements json.Marshaler.
func (n anyFloat) MarshalJSON() ([]byte, error) {
	v := float64(n)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return json.Marshal(strconv.FormatFloat(v, 'g', -1, 64))
	}
	return json.Marshal(v)
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *anyFloat) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '"' {
		return json.Unmarshal(b, (*float64)(n))
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if s != "NaN" && s != "+Inf" && s != "-Inf" {
		return invalid("value", s, `a number, or "NaN", "+Inf" or "-Inf"`)
	}
	v, err := strconv.ParseFloat(s, 64)
	*n = anyFloat(v)
	return err
}

// bare is an Alert without its methods.
type bare Alert

// written is an Alert as JSON: its Value goes before that of bare.
type written struct {
	bare
	Value anyFloat `json:"value"`
}

// MarshalJSON writes the alert; a value that is no finite number is a string.
func (a Alert) MarshalJSON() ([]byte, error) {
	return json.Marshal(written{bare(a), anyFloat(a.Value)})
}

// UnmarshalJSON reads what MarshalJSON has written. A field that it does not know is an error: what it stands for would be lost.
func (a *Alert) UnmarshalJSON(b []byte) error {
	var w written
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return &Error{Kind: ErrInvalid, Field: "alert", Want: "an alert as JSON", Cause: err}
	}
	*a = Alert(w.bare)
	a.Value = float64(w.Value)
	return nil
}
