package daemon

import (
	"context"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/history"
	"github.com/berthage/berthage/examples/berthd/promapi"
	"github.com/berthage/berthage/pool"
)

// HistoryDir is the directory of what was measured, in the data directory.
const HistoryDir = "history"

// measured is what the daemon measures and keeps.
type measured struct {
	history *history.History
	meters  *history.Meters
	scraper *history.Scraper
	fleet   history.Fleet
}

// measure opens the history, which the Manager and the metrics must be there for.
func (d *Daemon) measure() error {
	h, err := history.Open(history.Config{
		Dir: filepath.Join(d.config.Data, HistoryDir), Keep: d.config.HistoryKeep, Size: d.config.HistorySize, Interval: d.config.History, Logger: d.log,
	})
	if err != nil {
		return err
	}
	m := &measured{history: h, fleet: history.Fleet{Pool: d.config.Pool, Kinds: d.drivers.kinds}}
	d.measured = m
	if m.fleet.Pool == "" {
		m.fleet.Pool = d.manager.Status().Ledger[:8]
	}
	m.meters = &history.Meters{History: h, Manager: d.manager, Fleet: m.fleet, Logger: d.log}
	m.scraper = &history.Scraper{History: h, Manager: d.manager, Fleet: m.fleet, Self: d.metrics.Write, Logger: d.log}
	for _, s := range d.config.Scrape {
		m.scraper.Targets = append(m.scraper.Targets, history.Target{
			URL: s.URL, Job: s.Job, Labels: s.Labels, Interval: time.Duration(s.Interval), Timeout: time.Duration(s.Timeout), TokenFile: s.TokenFile, CAFile: s.CAFile,
		})
	}
	d.metrics.History(h.Status)
	return m.scraper.Check()
}

// run fills the history until ctx ends.
func (m *measured) run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { m.meters.Run(ctx) })
	all.Go(func() { _ = m.scraper.Run(ctx) }) // it was checked
	all.Wait()
}

// register registers what Prometheus's clients ask.
func (d *Daemon) registerHistory(mux *http.ServeMux) {
	m := d.measured
	promapi.Register(series{mux, d.guard}, promapi.Config{
		History: m.history, Logger: d.log, Version: d.version,
		Complete: func(l labels.Labels) labels.Labels { return m.fleet.Complete(d.manager, l) },
		Within:   d.seriesOf, Refuse: access.Refuse,
	})
}

// series lets those write series who may; that lies in no project. Whose questions are answered from what, seriesOf says.
type series struct {
	*http.ServeMux
	guard *access.Guard
}

// Handle implements promapi.Mux.
func (s series) Handle(pattern string, h http.Handler) {
	if pattern == "POST "+promapi.WritePath {
		h = s.guard.Only(auth.Create, auth.Metrics, h)
	}
	s.ServeMux.Handle(pattern, h)
}

// seriesOf returns the series that whoever a request is from may know of: those of the projects that they see, or all.
func (d *Daemon) seriesOf(r *http.Request) (history.Within, error) {
	who, _ := access.From(r.Context())
	var whole bool
	var projects []string
	err := d.books.Read(func(st *pool.State) {
		sees := auth.Of(st).View(access.Projects(st), who.Identity, auth.Metrics, time.Now())
		if whole = sees.Shows("", ""); whole {
			return
		}
		for p := range st.Projects() {
			if sees.Shows(p.Name, "") { // with everybody's in it
				projects = append(projects, regexp.QuoteMeta(p.Name))
			}
		}
	})
	switch {
	case err != nil:
		return history.Within{}, err
	case whole:
		return d.measured.history.Within(), nil
	case len(projects) == 0: // in the same words as of what there is not
		return d.measured.history.Within(), d.guard.Allow(r.Context(), auth.Read, auth.Thing{Resource: auth.Metrics})
	}
	slices.Sort(projects)
	m, err := labels.NewMatcher(labels.MatchRegexp, history.LabelProject, strings.Join(projects, "|"))
	if err != nil {
		return history.Within{}, err
	}
	return d.measured.history.Within(m), nil
}

// History returns what was measured; nil where the configuration says that nothing is.
func (d *Daemon) History() *history.History {
	if d.measured == nil {
		return nil
	}
	return d.measured.history
}

// alerting says how the Manager watches and whom it tells. What was measured answers rules in PromQL, where it is kept.
func (d *Daemon) alerting() (berthage.Alerting, berthage.Messaging, error) {
	a := berthage.Alerting{Every: d.config.Alerts, Checkpoints: d.store}
	if d.config.History > 0 {
		a.Querier = querier{d}
	}
	m := d.messaging()
	if d.config.AlertRules == "" {
		return a, m, nil
	}
	f, err := readAlertFile(d.config.AlertRules)
	if err == nil {
		f.apply(&a)
		m.Routing = f.routing()
		m.Receivers, m.FiringOnly, err = f.notifiers(d.maker, d.configured)
	}
	return a, m, err
}

// querier answers rules in PromQL. The history is opened after the Manager.
type querier struct{ d *Daemon }

// Query implements alert.Querier.
func (q querier) Query(ctx context.Context, expr string, at time.Time) ([]alert.Sample, error) {
	h := q.d.History()
	if h == nil {
		return nil, &alert.Error{Kind: alert.ErrUnavailable, Field: "query", Want: "a history that is open"}
	}
	rows, err := h.Query(ctx, expr, at)
	if err != nil {
		return nil, err
	}
	out := make([]alert.Sample, 0, len(rows))
	for _, r := range rows {
		delete(r.Labels, model.MetricNameLabel)
		l, err := alert.NewLabels(r.Labels)
		if err != nil {
			return nil, err
		}
		out = append(out, alert.Sample{Labels: l, Value: r.Value})
	}
	return out, nil
}

// Check refuses what is no PromQL.
func (q querier) Check(expr string) error {
	_, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	return err
}
