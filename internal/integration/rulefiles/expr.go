package rulefiles

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/alert"
)

// Translate makes a measure and a test of a PromQL expression of one of these forms, where a selector is m or m{a="b", c=~"d"}:
//
//	selector
//	absent(selector), absent_over_time(selector[5m])
//	avg_over_time(selector[5m]), and so min, max, sum and count, quantile_over_time(0.9, selector[5m])
//	rate(selector[5m]), increase, delta, resets, changes
//	predict_linear(selector[1h], 3600)
//	100 * form / form, both of the same function and the same matchers
//
// each of which may be followed by >, >=, <, <=, == or != and a number.
func Translate(expr string) (alert.Measure, alert.Test, error) {
	p := &parser{rest: expr}
	m, test, err := p.expression()
	if err != nil {
		return alert.Measure{}, alert.Test{}, fmt.Errorf("%s: %w at %q", expr, err, p.rest)
	}
	return m, test, nil
}

// parser takes what it knows from the beginning of the rest.
type parser struct{ rest string }

// take takes what matches the pattern, after white space.
func (p *parser) take(pattern string) (string, bool) {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	found := regexp.MustCompile(`^(?:` + pattern + `)`).FindString(p.rest)
	p.rest = p.rest[len(found):]
	return found, found != ""
}

func (p *parser) need(pattern string) (string, error) {
	s, ok := p.take(pattern)
	if !ok {
		return "", fmt.Errorf("want %s", pattern)
	}
	return s, nil
}

const (
	patternName   = `[a-zA-Z_:][a-zA-Z0-9_:]*`
	patternNumber = `[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?`
)

func (p *parser) number() (float64, error) {
	s, err := p.need(patternNumber)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(s, 64)
}

func (p *parser) expression() (m alert.Measure, test alert.Test, err error) {
	_, percent := p.take(`100\s*\*`)
	if m, err = p.form(); err != nil {
		return m, test, err
	}
	if percent {
		if _, err := p.need("/"); err != nil {
			return m, test, err
		}
		whole, err := p.form()
		if err != nil {
			return m, test, err
		}
		m.Of, whole.Metric = whole.Metric, m.Metric
		whole.Of = m.Of
		if fmt.Sprint(m) != fmt.Sprint(whole) {
			return m, test, errors.New("the parts of a percentage differ in more than the metric")
		}
	}
	if op, ok := p.take(`[><]=?|==|!=`); ok {
		test.Is = alert.Comparison(op)
		if test.Value, err = p.number(); err != nil {
			return m, test, err
		}
	}
	if _, ok := p.take(`$`); !ok && strings.TrimSpace(p.rest) != "" {
		return m, test, errors.New("this is no form that typed rules have")
	}
	return m, test, nil
}

// functions of PromQL that take a range.
func functions() map[string]alert.Func {
	return map[string]alert.Func{
		"avg_over_time": alert.Avg, "min_over_time": alert.Min, "max_over_time": alert.Max, "sum_over_time": alert.Sum,
		"count_over_time": alert.Count, "quantile_over_time": alert.Quantile, "rate": alert.Rate, "increase": alert.Increase,
		"delta": alert.Delta, "predict_linear": alert.PredictLinear, "resets": alert.Resets, "changes": alert.Changes,
		"absent_over_time": alert.Absent,
	}
}

func (p *parser) form() (m alert.Measure, err error) {
	name, err := p.need(patternName)
	if err != nil {
		return m, err
	}
	if _, call := p.take(`\(`); !call {
		m.Metric = name
		m.Matchers, err = p.matchers()
		return m, err
	}
	ranged := name != "absent"
	if ranged {
		var known bool
		if m.Func, known = functions()[name]; !known {
			return m, fmt.Errorf("the function %s", name)
		}
	} else {
		m.Func = alert.Absent
	}
	if m.Func == alert.Quantile {
		if m.Quantile, err = p.number(); err != nil {
			return m, err
		}
		if _, err = p.need(","); err != nil {
			return m, err
		}
	}
	if m.Metric, err = p.need(patternName); err != nil {
		return m, err
	}
	if m.Matchers, err = p.matchers(); err != nil {
		return m, err
	}
	if ranged {
		s, err := p.need(`\[[0-9a-z]+\]`)
		if err != nil {
			return m, err
		}
		if m.Window, err = alert.ParseDuration(strings.Trim(s, "[]")); err != nil {
			return m, err
		}
	}
	if m.Func == alert.PredictLinear {
		if _, err = p.need(","); err != nil {
			return m, err
		}
		ahead, err := p.number()
		if err != nil {
			return m, err
		}
		m.Ahead = alert.Duration(ahead * float64(time.Second))
	}
	_, err = p.need(`\)`)
	return m, err
}

func (p *parser) matchers() (alert.Matchers, error) {
	if _, ok := p.take(`\{`); !ok {
		return nil, nil
	}
	var ms alert.Matchers
	for {
		if _, ok := p.take(`\}`); ok {
			return ms, nil
		}
		name, err := p.need(patternName)
		if err != nil {
			return nil, err
		}
		op, err := p.need(`=~|!~|!=|=`)
		if err != nil {
			return nil, err
		}
		quoted, err := p.need(`"(?:[^"\\]|\\.)*"`)
		if err != nil {
			return nil, err
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, err
		}
		m, err := alert.NewMatcher(name, alert.Op(op), value)
		if err != nil {
			return nil, err
		}
		ms = append(ms, m)
		if _, more := p.take(","); !more {
			_, err := p.need(`\}`)
			return ms, err
		}
	}
}
