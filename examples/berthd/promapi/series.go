package promapi

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/berthage/berthage/examples/berthd/history"
)

var errTruncated = errors.New("results truncated due to limit")

// mostSeries is how many series an answer may list.
const mostSeries = 50_000

// encoded is v in JSON, which no longer refers to it.
func encoded(v any) (json.RawMessage, error) { return json.Marshal(v) }

// scope is what a question about series is limited to.
type scope struct {
	sets     [][]*labels.Matcher
	from, to int64 // milliseconds since 1970
	limit    int
	q        storage.Querier
}

// scope reads match[], start, end and limit.
func (s *server) scope(r *http.Request, h history.Within) (*scope, error) {
	now := time.Now()
	from, err := moment(r, "start", earliest())
	if err != nil {
		return nil, err
	}
	to, err := moment(r, "end", latest())
	if err != nil {
		return nil, err
	}
	if to.Before(from) {
		return nil, badData("end timestamp must not be before start time")
	}
	c := &scope{}
	if c.limit, err = limit(r); err != nil {
		return nil, err
	}
	if c.sets, err = s.selectors(r); err != nil {
		return nil, err
	}
	// Nothing lies outside these.
	first, last := now.AddDate(-100, 0, 0), now.AddDate(1, 0, 0)
	c.from, c.to = max(from.UnixMilli(), first.UnixMilli()), min(to.UnixMilli(), last.UnixMilli())
	c.q, err = h.Querier(c.from, c.to)
	return c, err
}

// selectors reads match[]. One that matches everything is refused.
func (s *server) selectors(r *http.Request) ([][]*labels.Matcher, error) {
	sets, err := s.History.Parser().ParseMetricSelectors(r.Form["match[]"])
	if err != nil {
		return nil, badData("invalid parameter \"match[]\": %w", err)
	}
	for _, set := range sets {
		if !slices.ContainsFunc(set, func(m *labels.Matcher) bool { return !m.Matches("") }) {
			return nil, badData("match[] must contain at least one non-empty matcher")
		}
	}
	return sets, nil
}

func (s *server) series(r *http.Request, h history.Within) (any, annotations.Annotations, error) {
	if len(r.Form["match[]"]) == 0 {
		return nil, nil, badData("no match[] parameter provided")
	}
	c, err := s.scope(r, h)
	if err != nil {
		return nil, nil, err
	}
	defer c.q.Close()
	most := mostSeries
	if c.limit > 0 {
		most = min(most, c.limit)
	}
	out := []labels.Labels{}
	sets := make([]storage.SeriesSet, 0, len(c.sets))
	for _, m := range c.sets {
		sets = append(sets, c.q.Select(r.Context(), true, &storage.SelectHints{Start: c.from, End: c.to, Func: "series", Limit: most + 1}, m...))
	}
	all := storage.NewMergeSeriesSet(sets, 0, storage.ChainedSeriesMerge)
	notes := all.Warnings()
	for all.Next() {
		if len(out) == most {
			notes = notes.Add(errTruncated)
			break
		}
		out = append(out, all.At().Labels())
	}
	if err := errors.Join(all.Err(), r.Context().Err()); err != nil {
		return nil, nil, err
	}
	list, err := encoded(out)
	return list, notes, err
}

func (s *server) labels(r *http.Request, h history.Within) (any, annotations.Annotations, error) {
	return s.names(r, h, func(q storage.Querier, hints *storage.LabelHints, m []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelNames(r.Context(), hints, m...)
	})
}

func (s *server) values(r *http.Request, h history.Within) (any, annotations.Annotations, error) {
	name := r.PathValue("name")
	if n, ok := unescape(name); ok {
		name = n
	}
	if !labelScheme.IsValidLabelName(name) {
		return nil, nil, badData("invalid label name: %q", short(name))
	}
	return s.names(r, h, func(q storage.Querier, hints *storage.LabelHints, m []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelValues(r.Context(), name, hints, m...)
	})
}

// unescape undoes what clients do to names that are no Prometheus names of old.
func unescape(name string) (string, bool) {
	if len(name) < 3 || name[:3] != "U__" {
		return name, false
	}
	return model.UnescapeName(name, model.ValueEncodingEscaping), true
}

// names answers with the union of what read returns for each selector.
func (s *server) names(r *http.Request, h history.Within, read func(storage.Querier, *storage.LabelHints, []*labels.Matcher) ([]string, annotations.Annotations, error)) (any, annotations.Annotations, error) {
	c, err := s.scope(r, h)
	if err != nil {
		return nil, nil, err
	}
	defer c.q.Close()
	if len(c.sets) == 0 {
		c.sets = [][]*labels.Matcher{nil}
	}
	var notes annotations.Annotations
	out := []string{}
	for _, m := range c.sets {
		list, more, err := read(c.q, &storage.LabelHints{}, m)
		if err != nil {
			return nil, nil, err
		}
		notes = notes.Merge(more)
		for _, v := range list { // they are only lent
			out = append(out, string([]byte(v)))
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if c.limit > 0 && len(out) > c.limit {
		out, notes = out[:c.limit], notes.Add(errTruncated)
	}
	return out, notes, nil
}

func (s *server) metadata(r *http.Request, h history.Within) (any, annotations.Annotations, error) {
	most, err := limit(r)
	if err != nil {
		return nil, nil, err
	}
	if v := r.Form.Get("limit_per_metric"); v != "" {
		if _, err := strconv.Atoi(v); err != nil {
			return nil, nil, badData("limit_per_metric must be a number")
		}
	}
	there, err := s.there(r.Context(), h)
	if err != nil {
		return nil, nil, err
	}
	out := make(map[string][]history.Metadata)
	for metric, m := range s.History.Metadata() {
		if only := r.Form.Get("metric"); only != "" && only != metric || !there(metric) {
			continue
		}
		if most > 0 && len(out) == most {
			break
		}
		out[metric] = []history.Metadata{m}
	}
	return out, nil, nil
}

// there returns which metrics there are: of part of the history, those that have a series in it.
func (s *server) there(ctx context.Context, h history.Within) (func(metric string) bool, error) {
	if h.Whole() {
		return func(string) bool { return true }, nil
	}
	q, err := h.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	list, _, err := q.LabelValues(ctx, model.MetricNameLabel, &storage.LabelHints{})
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool, len(list))
	for _, name := range list { // they are only lent
		names[strings.Clone(name)] = true
	}
	return func(metric string) bool { return names[metric] }, nil
}
