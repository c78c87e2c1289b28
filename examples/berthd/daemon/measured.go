package daemon

import (
	"context"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/berthage/berthage/examples/berthd/history"
	"github.com/berthage/berthage/examples/berthd/promapi"
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
	promapi.Register(mux, promapi.Config{
		History: m.history, Logger: d.log, Version: d.version,
		Complete: func(l labels.Labels) labels.Labels { return m.fleet.Complete(d.manager, l) },
	})
}

// History returns what was measured; nil where the configuration says that nothing is.
func (d *Daemon) History() *history.History {
	if d.measured == nil {
		return nil
	}
	return d.measured.history
}
