package promapi

import (
	"bufio"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/berthage/berthage/examples/berthd/history"
)

// labelScheme is which names labels may have.
const labelScheme = model.UTF8Validation

// fresh is how old a value may be to be handed on.
const fresh = 5 * time.Minute

// latestOf is the newest value of a series.
type latestOf struct {
	labels labels.Labels
	t      int64
	v      float64
}

// federate hands the newest value of the series that match on to another Prometheus, in the text format.
func (s *server) federate(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	within, err := s.Within(r)
	if err != nil {
		s.Refuse(w, r, err)
		return
	}
	sets, err := s.selectors(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	list, err := s.newest(r, within, sets, time.Now())
	if err != nil {
		s.Logger.Warn("federation failed", "error", err)
		http.Error(w, "see the daemon's log", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	out := bufio.NewWriter(w)
	defer out.Flush() //nolint:errcheck // a scraper that is gone needs no answer
	known, last := s.History.Metadata(), ""
	for _, x := range list {
		name := x.labels.Get(model.MetricNameLabel)
		if name != last {
			last = name
			kind := "untyped"
			if m := known[name]; m.Type == "counter" || m.Type == "gauge" {
				kind = m.Type
			}
			fmt.Fprintf(out, "# TYPE %s %s\n", name, kind)
		}
		out.WriteString(name) //nolint:errcheck // Flush tells
		sep := "{"
		x.labels.Range(func(l labels.Label) {
			if l.Name != model.MetricNameLabel {
				fmt.Fprintf(out, `%s%s="%s"`, sep, l.Name, strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(l.Value))
				sep = ","
			}
		})
		if sep == "," {
			out.WriteByte('}') //nolint:errcheck // Flush tells
		}
		fmt.Fprintf(out, " %s %d\n", strconv.FormatFloat(x.v, 'g', -1, 64), x.t)
	}
}

// newest returns the newest values, by the names of their series.
func (s *server) newest(r *http.Request, h history.Within, sets [][]*labels.Matcher, now time.Time) ([]latestOf, error) {
	q, err := h.Querier(now.Add(-fresh).UnixMilli(), now.UnixMilli())
	if err != nil {
		return nil, err
	}
	defer q.Close()
	found := make([]storage.SeriesSet, 0, len(sets))
	for _, m := range sets {
		found = append(found, q.Select(r.Context(), true, nil, m...))
	}
	all := storage.NewMergeSeriesSet(found, 0, storage.ChainedSeriesMerge)
	var out []latestOf
	var it chunkenc.Iterator
	for all.Next() {
		x := latestOf{labels: all.At().Labels()}
		if !x.labels.IsValid(model.LegacyValidation) {
			continue // the text format of old cannot say it
		}
		it = all.At().Iterator(it)
		for it.Next() == chunkenc.ValFloat {
			x.t, x.v = it.At()
		}
		if x.t != 0 && !value.IsStaleNaN(x.v) {
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, func(a, b latestOf) int {
		return strings.Compare(a.labels.Get(model.MetricNameLabel), b.labels.Get(model.MetricNameLabel))
	})
	return out, all.Err()
}
