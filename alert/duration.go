package alert

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that is written in JSON as Prometheus writes it: "5m", "1h30m", "500ms".
type Duration time.Duration

// unit is a unit of time as Prometheus names it.
type unit struct {
	name string
	is   time.Duration
}

// units has the units, the greatest first. A day is 24 hours, a year 365 days.
func units() [7]unit {
	return [7]unit{
		{"y", 365 * 24 * time.Hour}, {"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour},
		{"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
	}
}

// ParseDuration reads a duration as Prometheus writes it: whole numbers with the units y, w, d, h, m, s and ms, the greatest
// first and each at most once, or "0". It fails with ErrInvalid.
func ParseDuration(s string) (Duration, error) {
	wrong := invalid("duration", s, "whole numbers with the units y, w, d, h, m, s, ms, such as 1h30m")
	if s == "0" {
		return 0, nil
	}
	if s == "" {
		return 0, wrong
	}
	rest, left := s, units()
	next := 0
	var sum time.Duration
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		letters := digits + len(rest[digits:]) - len(strings.TrimLeft(rest[digits:], "ywdhms"))
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return 0, wrong
		}
		for next < len(left) && left[next].name != rest[digits:letters] {
			next++
		}
		if next == len(left) || n > (math.MaxInt64-int64(sum))/int64(left[next].is) {
			return 0, wrong
		}
		sum += time.Duration(n) * left[next].is
		next++
		rest = rest[letters:]
	}
	return Duration(sum), nil
}

// String returns the duration as ParseDuration reads it; what is less than a millisecond is left out.
func (d Duration) String() string {
	var b strings.Builder
	rest := time.Duration(d)
	if rest < 0 {
		b.WriteByte('-')
		rest = -rest
	}
	for _, u := range units() {
		// Years and weeks are exact only when nothing else follows; Prometheus writes them only then.
		if n := rest / u.is; n > 0 && (u.name != "y" && u.name != "w" || rest%u.is == 0) {
			b.WriteString(strconv.FormatInt(int64(n), 10) + u.name)
			rest %= u.is
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

// MarshalJSON writes what String returns.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a string as ParseDuration does.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return &Error{Kind: ErrInvalid, Field: "duration", Want: `a string such as "5m"`, Cause: err}
	}
	read, err := ParseDuration(s)
	if err == nil {
		*d = read
	}
	return err
}

// ms returns the duration in milliseconds, in which the engine counts.
func (d Duration) ms() int64 { return time.Duration(d).Milliseconds() }
