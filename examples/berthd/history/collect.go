package history

import (
	"context"
	"errors"
	"maps"
	"math"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
)

// collector stores what one source says, again and again, and ends the series that it no longer speaks of with a stale
// marker, so that they are not taken for present until the look-back has passed. It is for one goroutine.
type collector struct {
	h      *History
	series map[string]*held // by their labels
	round  uint64
	buf    []byte
}

// held is a series that the source has spoken of.
type held struct {
	ref    storage.SeriesRef
	labels labels.Labels
	group  string
	round  uint64 // in which it was last spoken of
}

// reading is a sample of a group. A series ends when nothing of its group is spoken of; one without a group ends when
// itself is not.
type reading struct {
	Sample
	group string
}

func newCollector(h *History) *collector { return &collector{h: h, series: make(map[string]*held)} }

// store stores one round of readings. Those whose time lies too far back are given that of the round.
func (c *collector) store(ctx context.Context, at int64, list []reading) error {
	c.round++
	b := c.h.begin(ctx)
	groups := make(map[string]bool)
	for _, r := range list {
		if r.Time < at-Late.Milliseconds() || r.Time > at {
			r.Time = at
		}
		c.buf = r.Labels.Bytes(c.buf[:0])
		s, ok := c.series[string(c.buf)]
		if !ok {
			s = &held{labels: r.Labels, group: r.group}
			c.series[string(c.buf)] = s
		}
		s.ref, s.round = b.add(s.ref, s.labels, r.Time, r.Value), c.round
		groups[r.group] = true
	}
	for key, s := range c.series {
		if s.round != c.round && (s.group == "" || !groups[s.group]) {
			b.add(s.ref, s.labels, at, math.Float64frombits(value.StaleNaN))
			delete(c.series, key)
		}
	}
	err := b.commit()
	var r *Rejected
	if err != nil && !errors.As(err, &r) {
		clear(c.series) // references of series that were never committed lead nowhere
	}
	return err
}

// end ends all series.
func (c *collector) end(ctx context.Context, at int64) error {
	if len(c.series) == 0 {
		return nil
	}
	return c.store(ctx, at, nil)
}

// Metadata is what is known of a metric beside its samples.
type Metadata struct {
	Type string `json:"type"` // counter, gauge, histogram, summary or unknown
	Help string `json:"help"`
	Unit string `json:"unit"`
}

// mostDescribed bounds the metrics of which metadata is kept.
const mostDescribed = 20_000

// described keeps the metadata of metrics.
type described struct {
	mu sync.Mutex
	of map[string]Metadata
}

func (d *described) put(metric string, m Metadata) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = make(map[string]Metadata)
	}
	if _, ok := d.of[metric]; ok || len(d.of) < mostDescribed {
		d.of[metric] = m
	}
}

// Describe keeps what is known of a metric.
func (h *History) Describe(metric string, m Metadata) { h.described.put(metric, m) }

// Metadata returns what is known of metrics, by their names: of those that have come in since the start.
func (h *History) Metadata() map[string]Metadata {
	h.described.mu.Lock()
	defer h.described.mu.Unlock()
	out := make(map[string]Metadata, len(h.described.of))
	maps.Copy(out, h.described.of)
	return out
}
