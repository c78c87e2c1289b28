package history

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/annotations"
)

// Within is a History of which only some series are there: for whoever may not know of the others. What is asked is not changed, so that no expression
// finds its way around it; below the engine nothing else is read. It is safe for concurrent use.
type Within struct {
	h    *History
	only []*labels.Matcher
}

// Within returns the History of the series that match all of these; without any, the whole.
func (h *History) Within(only ...*labels.Matcher) Within { return Within{h, slices.Clone(only)} }

// Whole reports whether all series are there.
func (w Within) Whole() bool { return len(w.only) == 0 }

// Instant returns a query of one moment, which is carried out by its Exec and must be closed when its result has been
// read. A lookback of zero is the usual one.
func (w Within) Instant(ctx context.Context, expr string, at time.Time, lookback time.Duration) (promql.Query, error) {
	return w.h.engine.NewInstantQuery(ctx, w.of(), promql.NewPrometheusQueryOpts(false, lookback), expr, at)
}

// Range is Instant at moments a step apart.
func (w Within) Range(ctx context.Context, expr string, from, to time.Time, step, lookback time.Duration) (promql.Query, error) {
	return w.h.engine.NewRangeQuery(ctx, w.of(), promql.NewPrometheusQueryOpts(false, lookback), expr, from, to, step)
}

// Querier reads series and labels between two moments, in milliseconds since 1970. It must be closed.
func (w Within) Querier(from, to int64) (storage.Querier, error) { return w.of().Querier(from, to) }

func (w Within) of() storage.Queryable {
	if w.Whole() {
		return w.h.db
	}
	return narrow{w.h.db, w.only}
}

// narrow reads a database as if it had only the series that match.
type narrow struct {
	db   *tsdb.DB
	only []*labels.Matcher
}

// Querier implements storage.Queryable.
func (n narrow) Querier(from, to int64) (storage.Querier, error) {
	q, err := n.db.Querier(from, to)
	if err != nil {
		return nil, err
	}
	return narrowed{q, n.only}, nil
}

// narrowed adds matchers to every question.
type narrowed struct {
	storage.Querier
	only []*labels.Matcher
}

func (n narrowed) and(m []*labels.Matcher) []*labels.Matcher {
	return slices.Concat(n.only, m)
}

// Select implements storage.Querier.
func (n narrowed) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, m ...*labels.Matcher) storage.SeriesSet {
	return n.Querier.Select(ctx, sorted, hints, n.and(m)...)
}

// LabelValues implements storage.LabelQuerier.
func (n narrowed) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, m ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return n.Querier.LabelValues(ctx, name, hints, n.and(m)...)
}

// LabelNames implements storage.LabelQuerier.
func (n narrowed) LabelNames(ctx context.Context, hints *storage.LabelHints, m ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return n.Querier.LabelNames(ctx, hints, n.and(m)...)
}
