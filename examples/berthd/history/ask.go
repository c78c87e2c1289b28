package history

import (
	"context"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// Instant returns a query of one moment, which is carried out by its Exec and must be closed when its result has been
// read. A lookback of zero is the usual one.
func (h *History) Instant(ctx context.Context, expr string, at time.Time, lookback time.Duration) (promql.Query, error) {
	return h.engine.NewInstantQuery(ctx, h.db, promql.NewPrometheusQueryOpts(false, lookback), expr, at)
}

// Range is Instant at moments a step apart.
func (h *History) Range(ctx context.Context, expr string, from, to time.Time, step, lookback time.Duration) (promql.Query, error) {
	return h.engine.NewRangeQuery(ctx, h.db, promql.NewPrometheusQueryOpts(false, lookback), expr, from, to, step)
}

// Querier reads series and labels between two moments, in milliseconds since 1970. It must be closed.
func (h *History) Querier(from, to int64) (storage.Querier, error) { return h.db.Querier(from, to) }

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
	q, err := h.Range(ctx, "max("+expr+")", from, to, step, 0)
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
