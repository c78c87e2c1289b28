package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// theirs is Prometheus: the head block of its TSDB and a group of its rule manager, which is loaded from a file.
type theirs struct {
	dir    string
	head   *tsdb.Head
	engine *promql.Engine
	group  *rules.Group
	series []labels.Labels
	refs   []storage.SeriesRef // as its scraping keeps them
}

func prometheus(s scenario) (follower, error) {
	dir, err := os.MkdirTemp("", "berthage-rules-")
	if err != nil {
		return nil, err
	}
	p := &theirs{dir: dir, refs: make([]storage.SeriesRef, len(s.things))}
	if err := p.start(s); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *theirs) start(s scenario) (err error) {
	quiet := slog.New(slog.DiscardHandler)
	o := tsdb.DefaultHeadOptions()
	o.ChunkDirRoot = p.dir
	if p.head, err = tsdb.NewHead(nil, quiet, nil, nil, o, nil); err != nil {
		return err
	}
	if err := p.head.Init(math.MinInt64); err != nil {
		return err
	}
	promql := promql.NewEngine(promql.EngineOpts{Logger: quiet, MaxSamples: 50_000_000, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})})
	p.engine = promql
	queryable := storage.QueryableFunc(func(mint, maxt int64) (storage.Querier, error) {
		return tsdb.NewBlockQuerier(tsdb.NewRangeHead(p.head, mint, maxt), mint, maxt)
	})
	manager := rules.NewManager(&rules.ManagerOptions{
		ExternalURL: &url.URL{}, QueryFunc: rules.EngineQueryFunc(promql, queryable), Context: context.Background(), Appendable: p.head,
		Queryable: queryable, Logger: quiet, NotifyFunc: func(context.Context, string, ...*rules.Alert) {},
		Parser: parser.NewParser(parser.Options{}), NameValidationScheme: model.UTF8Validation,
	})
	file := filepath.Join(p.dir, "rules.yml")
	if err := os.WriteFile(file, s.file(), 0o600); err != nil {
		return err
	}
	groups, errs := manager.LoadGroups(15*time.Second, labels.EmptyLabels(), "", nil, false, file)
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, g := range groups {
		p.group = g
		for _, r := range g.AlertingRules() {
			r.SetRestored(true)
		}
	}
	for _, t := range s.things {
		p.series = append(p.series, labels.FromStrings("__name__", t.metric, t.of, t.name, "project", t.project, "zone", t.zone))
	}
	return nil
}

// file returns the rules as a rule file; JSON is YAML too.
func (s scenario) file() []byte {
	type m = map[string]any
	var all []m
	for _, r := range s.rules {
		expr := r.metric
		if r.function != "" {
			expr = r.function + "(" + r.metric + "[" + r.window + "])"
		}
		all = append(all, m{
			"alert": r.name, "expr": fmt.Sprintf("%s > %v", expr, r.over), "for": r.hold.String(), "labels": m{"severity": "high"},
			"annotations": m{"summary": "{{ $labels.host }} is at {{ $value }}"},
		})
	}
	b, err := json.Marshal(m{"groups": []m{{"name": "g", "rules": all}}})
	if err != nil {
		panic(err)
	}
	return b
}

func (p *theirs) tick(at time.Time, values []float64) (err error) {
	app := p.head.Appender(context.Background())
	for i := range p.series {
		if p.refs[i], err = app.Append(p.refs[i], p.series[i], at.UnixMilli(), values[i]); err != nil {
			return errors.Join(err, app.Rollback())
		}
	}
	if err := app.Commit(); err != nil {
		return err
	}
	p.group.Eval(context.Background(), at)
	return nil
}

func (p *theirs) alerts() []string {
	var all []string
	for _, r := range p.group.AlertingRules() {
		if err := r.LastError(); err != nil {
			all = append(all, err.Error())
		}
		for _, a := range r.ActiveAlerts() {
			all = append(all, fmt.Sprintf("%s %s %d %v", a.Labels.String(), a.State, a.ActiveAt.Unix(), a.Value))
		}
	}
	slices.Sort(all)
	return all
}

func (p *theirs) close() error {
	var errs []error
	if p.engine != nil {
		errs = append(errs, p.engine.Close())
	}
	if p.head != nil {
		errs = append(errs, p.head.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}
