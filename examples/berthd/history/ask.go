package history

import (
	"context"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql/parser"
)

// Parser parses PromQL as the engine does.
func (h *History) Parser() parser.Parser { return h.parser }

// Timeout is the longest that a query may take.
func (h *History) Timeout() time.Duration { return h.config.Timeout }

// Point is a value at a moment.
type Point struct {
	At    time.Time
	Value float64
}

// Curve is a line over time.
type Curve struct {
	Figure, Title, Unit, Line string
	Points                    []Point // in order; a moment of which nothing is known has none
}

// Curves returns all figures of one host or instance at moments a step apart. One that nothing is known of has no
// points.
func (h *History) Curves(ctx context.Context, of Subject, id string, from, to time.Time, step time.Duration) ([]Curve, error) {
	var out []Curve
	for _, f := range Figures() {
		for _, l := range f.Lines {
			points, err := h.points(ctx, l.Expr(of, id, h.Window(step)), from, to, step)
			if err != nil {
				return nil, err
			}
			out = append(out, Curve{f.Name, f.Title, f.Unit, l.Name, points})
		}
	}
	return out, nil
}

// points returns the values of an expression. Where it has several series, which is so while a host is known under two
// sets of labels, the largest value of each moment counts.
func (h *History) points(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]Point, error) {
	q, err := h.Within().Range(ctx, "max("+expr+")", from, to, step, 0)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	m, err := q.Exec(ctx).Matrix()
	if err != nil || len(m) == 0 {
		return nil, err
	}
	out := make([]Point, 0, len(m[0].Floats))
	for _, p := range m[0].Floats {
		if !math.IsNaN(p.F) && !math.IsInf(p.F, 0) && !value.IsStaleNaN(p.F) {
			out = append(out, Point{time.UnixMilli(p.T), p.F})
		}
	}
	return out, nil
}
