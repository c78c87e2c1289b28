package alert

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// number makes a float64 of what a template hands to a function.
func number(v any) (float64, error) {
	switch v := v.(type) {
	case float64:
		return v, nil
	case int:
		return float64(v), nil
	case int64:
		return float64(v), nil
	case string:
		return strconv.ParseFloat(v, 64)
	case time.Duration:
		return v.Seconds(), nil
	}
	return 0, fmt.Errorf("%T is not a number", v)
}

// special says whether a value is written without a unit: zero, infinite or no number.
func special(v float64) bool { return v == 0 || math.IsNaN(v) || math.IsInf(v, 0) }

// scale divides a value by the base for as long as a prefix is left, and returns it with that prefix.
func scale(v, base float64, prefixes ...string) (float64, string) {
	prefix := ""
	for _, p := range prefixes {
		if math.Abs(v) < base {
			break
		}
		prefix, v = p, v/base
	}
	return v, prefix
}

// small multiplies a value below one until it is not.
func small(v float64) (float64, string) {
	prefix := ""
	for _, p := range []string{"m", "u", "n", "p", "f", "a", "z", "y"} {
		if math.Abs(v) >= 1 {
			break
		}
		prefix, v = p, v*1000
	}
	return v, prefix
}

// humanize writes a number with a metric prefix: 1.235k.
func humanize(x any) (string, error) {
	v, err := number(x)
	if err != nil {
		return "", err
	}
	prefix := ""
	switch {
	case special(v):
	case math.Abs(v) >= 1:
		v, prefix = scale(v, 1000, "k", "M", "G", "T", "P", "E", "Z", "Y")
	default:
		v, prefix = small(v)
	}
	return fmt.Sprintf("%.4g%s", v, prefix), nil
}

// humanize1024 writes a number with a binary prefix: 1.5Gi.
func humanize1024(x any) (string, error) {
	v, err := number(x)
	if err != nil {
		return "", err
	}
	prefix := ""
	if math.Abs(v) > 1 && !special(v) {
		v, prefix = scale(v, 1024, "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
	}
	return fmt.Sprintf("%.4g%s", v, prefix), nil
}

// humanizePercentage writes a ratio as a percentage: 12.5%.
func humanizePercentage(x any) (string, error) {
	v, err := number(x)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%.4g%%", v*100), nil
}

// humanizeDuration writes seconds: 1h 2m 3s.
func humanizeDuration(x any) (string, error) {
	v, err := number(x)
	switch {
	case err != nil:
		return "", err
	case math.IsNaN(v) || math.IsInf(v, 0):
		return fmt.Sprintf("%.4g", v), nil
	case v == 0:
		return "0s", nil
	case math.Abs(v) < 1:
		v, prefix := small(v)
		return fmt.Sprintf("%.4g%ss", v, prefix), nil
	}
	sign := ""
	if v < 0 {
		sign, v = "-", -v
	}
	const minute, hour, day = 60, 3600, 86400
	s := int64(min(v, math.MaxInt64/2))
	switch {
	case s >= day:
		return fmt.Sprintf("%s%dd %dh %dm %ds", sign, s/day, s%day/hour, s%hour/minute, s%minute), nil
	case s >= hour:
		return fmt.Sprintf("%s%dh %dm %ds", sign, s/hour, s%hour/minute, s%minute), nil
	case s >= minute:
		return fmt.Sprintf("%s%dm %ds", sign, s/minute, s%minute), nil
	}
	return fmt.Sprintf("%s%.4gs", sign, v), nil
}
