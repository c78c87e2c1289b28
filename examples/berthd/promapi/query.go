package promapi

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/berthage/berthage/examples/berthd/history"
)

// mostPoints is how many moments a range may have, as in Prometheus.
const mostPoints = 11_000

type result struct {
	Type   parser.ValueType `json:"resultType"`
	Result any              `json:"result"`
}

func (s *server) query(r *http.Request, h history.Within) (any, annotations.Annotations, error) {
	at, err := moment(r, "time", time.Now())
	if err != nil {
		return nil, nil, err
	}
	return s.run(r, func(ctx context.Context, lookback time.Duration) (promql.Query, error) {
		return h.Instant(ctx, r.Form.Get("query"), at, lookback)
	})
}

func (s *server) queryRange(r *http.Request, h history.Within) (any, annotations.Annotations, error) {
	from, err := moment(r, "start", time.Time{})
	if err != nil {
		return nil, nil, err
	}
	to, err := moment(r, "end", time.Time{})
	if err != nil {
		return nil, nil, err
	}
	step, err := span(r, "step")
	switch {
	case err != nil:
		return nil, nil, err
	case from.IsZero() || to.IsZero() || step == 0:
		return nil, nil, badData("the parameters start, end and step are needed")
	case to.Before(from):
		return nil, nil, badData("invalid parameter \"end\": end timestamp must not be before start time")
	case step < time.Millisecond:
		return nil, nil, badData("invalid parameter \"step\": at least a millisecond")
	case to.Sub(from)/step > mostPoints:
		return nil, nil, badData("exceeded maximum resolution of %d points per timeseries. Try decreasing the query resolution (?step=XX)", mostPoints)
	}
	return s.run(r, func(ctx context.Context, lookback time.Duration) (promql.Query, error) {
		return h.Range(ctx, r.Form.Get("query"), from, to, step, lookback)
	})
}

// run carries a query out, within the time that the caller gives it.
func (s *server) run(r *http.Request, begin func(context.Context, time.Duration) (promql.Query, error)) (any, annotations.Annotations, error) {
	lookback, err := span(r, "lookback_delta")
	if err != nil {
		return nil, nil, err
	}
	most, err := limit(r)
	if err != nil {
		return nil, nil, err
	}
	timeout, err := span(r, "timeout")
	if err != nil {
		return nil, nil, err
	}
	ctx := r.Context()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	q, err := begin(ctx, lookback)
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, ctx.Err() // no turn has come
		}
		return nil, nil, badData("invalid parameter \"query\": %w", err)
	}
	res := q.Exec(ctx)
	if res.Err != nil {
		q.Close()
		return nil, nil, res.Err
	}
	// The result is the query's until it is closed, so it is copied into what will be written.
	defer q.Close()
	out := result{Type: res.Value.Type()}
	notes := res.Warnings
	switch v := res.Value.(type) {
	case promql.Matrix:
		if most > 0 && len(v) > most {
			v = v[:most]
			notes = notes.Add(errTruncated)
		}
		out.Result, err = encoded(v)
	case promql.Vector:
		if most > 0 && len(v) > most {
			v = v[:most]
			notes = notes.Add(errTruncated)
		}
		out.Result, err = encoded(v)
	default:
		out.Result, err = encoded(v)
	}
	return out, notes, err
}
