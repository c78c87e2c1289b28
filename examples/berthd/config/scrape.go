package config

import (
	"fmt"
	"time"
)

// Scrape is something whose metrics are kept in the history, in Prometheus's text format.
type Scrape struct {
	URL       string            `json:"url"`                  // http or https
	Job       string            `json:"job,omitempty"`        // label job of its series
	Labels    map[string]string `json:"labels,omitempty"`     // of its series: with host or vm_id, those of the host or instance are added
	Interval  Duration          `json:"interval,omitempty"`   // between two looks; without it, as often as readings are kept
	Timeout   Duration          `json:"timeout,omitempty"`    // of one; without it 10s, and no longer than the interval
	TokenFile string            `json:"token_file,omitempty"` // of a bearer token
	CAFile    string            `json:"ca_file,omitempty"`    // whose certificates are trusted, and no others
}

// Duration is a time.Duration that the file has as text, such as "30s".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("%q: a duration such as 10s or 5m", b)
	}
	*d = Duration(v)
	return nil
}
