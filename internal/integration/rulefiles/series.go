package rulefiles

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/berthage/berthage/alert"
)

// maxValues bounds what one line of values may expand to.
const maxValues = 1_000_000

// value is one step of a series: a number, a stale marker (not a number), or nothing.
type value struct {
	v    float64
	none bool
}

// series reads the name of a series: m{a="b"}.
func parseSeries(s string) (metric string, labels alert.Labels, err error) {
	p := &parser{rest: s}
	if metric, err = p.need(patternName); err != nil {
		return "", labels, err
	}
	ms, err := p.matchers()
	if err != nil {
		return "", labels, fmt.Errorf("%s: %w", s, err)
	}
	m := make(map[string]string)
	for _, x := range ms {
		if x.Op() != alert.Equal {
			return "", labels, fmt.Errorf("%s: a series has values for its labels", s)
		}
		m[x.Name()] = x.Value()
	}
	labels, err = alert.NewLabels(m)
	return metric, labels, err
}

// parseValues expands promtool's notation: 1 2 _ stale _x3 5x2 1+2x3 1-2x3, where xN means N more of it.
func parseValues(s string) ([]value, error) {
	word := regexp.MustCompile(`^(?:(_)(?:x(\d+))?|(stale)|(` + patternNumber + `)(?:([+-](?:[0-9.]+)(?:[eE][+-]?[0-9]+)?)?x(\d+))?)$`)
	var out []value
	for _, f := range strings.Fields(s) {
		m := word.FindStringSubmatch(f)
		if m == nil {
			return nil, fmt.Errorf("values %q: what is %q", s, f)
		}
		times := 0
		for _, n := range []string{m[2], m[6]} {
			if n != "" {
				var err error
				if times, err = strconv.Atoi(n); err != nil {
					return nil, err
				}
			}
		}
		if len(out)+times > maxValues {
			return nil, fmt.Errorf("values %q: more than %d", s, maxValues)
		}
		switch {
		case m[1] != "": // _x3 is three of it, unlike the others
			for range max(times, 1) {
				out = append(out, value{none: true})
			}
		case m[3] != "":
			out = append(out, value{v: math.NaN()})
		default:
			v, err := strconv.ParseFloat(m[4], 64)
			if err != nil {
				return nil, err
			}
			var step float64
			if m[5] != "" {
				if step, err = strconv.ParseFloat(m[5], 64); err != nil {
					return nil, err
				}
			}
			// Added step by step, as promtool does it, so that both round alike.
			for range times + 1 {
				out = append(out, value{v: v})
				v += step
			}
		}
	}
	return out, nil
}
