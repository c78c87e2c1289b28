// Package history keeps what was measured: an embedded time-series database of Prometheus, filled by the drivers'
// Meters, by scraping and by remote write, and asked in PromQL.
//
// Samples are no facts on which a decision rests, so they are not in the ledger. They live in a directory of their own
// beside it, for as long and as large as the configuration says, and losing them loses no machine.
//
// Nothing derived is stored. What people look at, such as the share of its cores that an instance keeps busy, is
// computed from the readings when it is asked for (Figures).
package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
)

// Config is what Open needs. All but Dir has a useful zero value.
type Config struct {
	Dir    string        // of the database; made if it is not there
	Keep   time.Duration // age at which samples are removed, by blocks of up to a tenth of it; 0: 15 days
	Size   int64         // bytes of blocks on disk beyond which the oldest are removed; 0: no bound
	Series int           // most series in memory; samples of further ones are refused; 0: 500,000

	Interval time.Duration // between two readings of one series, as a rule; 0: 15 s
	Timeout  time.Duration // of a query; 0: 30 s
	Samples  int           // most samples that a query may hold in memory, 16 bytes each; 0: 10 million
	Queries  int           // most queries at the same time; further ones wait; 0: 4

	Logger *slog.Logger // nil: nothing is logged
}

// Values where the configuration gives none.
const (
	defaultKeep     = 15 * 24 * time.Hour
	defaultSeries   = 500_000
	defaultInterval = 15 * time.Second
	defaultTimeout  = 30 * time.Second
	defaultSamples  = 10_000_000
	defaultQueries  = 4
)

// Late is how much older than the newest sample one may be that is still taken, such as from a remote writer that
// could not reach us for a while.
const Late = time.Hour

// lookback is how long a reading stands for the present when no newer one has come.
const lookback = 5 * time.Minute

// History is the database and the engine that answers queries on it. It is safe for concurrent use.
type History struct {
	config Config
	log    *slog.Logger
	db     *tsdb.DB
	engine *promql.Engine
	parser parser.Parser

	appended atomic.Int64 // samples
	refused  atomic.Int64 // samples: too old, twice, or of one series too many

	described described
}

// Open opens the database, which is repaired if the last process was killed: what it had committed is there. A
// directory that another process has open is an error.
func Open(c Config) (*History, error) {
	if c.Keep == 0 {
		c.Keep = defaultKeep
	}
	if c.Series == 0 {
		c.Series = defaultSeries
	}
	if c.Interval == 0 {
		c.Interval = defaultInterval
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Samples == 0 {
		c.Samples = defaultSamples
	}
	if c.Queries == 0 {
		c.Queries = defaultQueries
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Dir == "":
		return nil, errors.New("history: a directory is needed")
	case c.Keep < time.Hour:
		return nil, fmt.Errorf("history: samples are kept for at least an hour, not for %s", c.Keep)
	case c.Size < 0 || c.Series < 0 || c.Interval < 0 || c.Timeout < 0 || c.Samples < 0 || c.Queries < 0:
		return nil, errors.New("history: a bound is below zero")
	}
	h := &History{config: c, log: c.Logger, parser: parser.NewParser(parser.Options{})}
	o := tsdb.DefaultOptions()
	o.RetentionDuration, o.MaxBytes = c.Keep.Milliseconds(), c.Size
	// As Prometheus does: a block is at most a tenth of what is kept, so that not much more is removed than is too old.
	o.MaxBlockDuration = max(o.MinBlockDuration, min(c.Keep/10, 31*24*time.Hour).Milliseconds())
	o.WALCompression = compression.Snappy
	o.WALSegmentSize = 16 << 20
	o.StripeSize = 1 << 10 // a thousand locks for the series in memory, and not sixteen
	o.OutOfOrderTimeWindow = Late.Milliseconds()
	// What the database makes within can be read by whoever can come here, which is its owner only.
	err := os.MkdirAll(c.Dir, 0o700)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	if h.db, err = tsdb.Open(c.Dir, leveled(c.Logger), nil, o, nil); err != nil {
		return nil, fmt.Errorf("history in %s: %w", c.Dir, err)
	}
	h.engine = promql.NewEngine(promql.EngineOpts{
		Logger: leveled(c.Logger), MaxSamples: c.Samples, Timeout: c.Timeout, LookbackDelta: lookback, Parser: h.parser,
		ActiveQueryTracker: make(turns, c.Queries), EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return c.Interval.Milliseconds() },
	})
	return h, nil
}

// Close writes down what is only in memory and lets go of the directory. Queries must have ended.
func (h *History) Close() error { return errors.Join(h.engine.Close(), h.db.Close()) }

// Interval is the time between two readings of one series, as a rule.
func (h *History) Interval() time.Duration { return h.config.Interval }

// turns lets so many queries run at the same time as it has room. It implements promql.QueryTracker.
type turns chan struct{}

func (t turns) GetMaxConcurrent() int { return cap(t) }
func (t turns) Delete(int)            { <-t }
func (t turns) Close() error          { return nil }

func (t turns) Insert(ctx context.Context, _ string) (int, error) {
	select {
	case t <- struct{}{}:
		return 0, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Sample is one reading on its way into the database.
type Sample struct {
	Labels labels.Labels // with the name under __name__
	Time   int64         // milliseconds since 1970
	Value  float64
}

// Rejected are samples that were refused, of a batch whose others are stored.
type Rejected struct {
	Samples int
	First   error // why the first one was
}

// Error implements error.
func (r *Rejected) Error() string {
	return fmt.Sprintf("%d samples refused, the first: %v", r.Samples, r.First)
}

// Unwrap returns why the first sample was refused.
func (r *Rejected) Unwrap() error { return r.First }

// ErrSeries is why a sample is refused that would begin a series beyond the bound of those in memory.
var ErrSeries = errors.New("there are too many series")

// Append stores samples. The error is a *Rejected when only some were refused; else none is stored.
func (h *History) Append(ctx context.Context, samples []Sample) error {
	b := h.begin(ctx)
	for _, s := range samples {
		b.add(0, s.Labels, s.Time, s.Value)
	}
	return b.commit()
}

// batch is a number of samples that are stored together.
type batch struct {
	h        *History
	app      storage.AppenderV2
	appended int64
	rejected Rejected
	err      error // that ends the whole batch
}

func (h *History) begin(ctx context.Context) *batch { return &batch{h: h, app: h.db.AppenderV2(ctx)} }

// add stores a sample and returns a reference to its series, which makes the next one cheaper; zero when it was
// refused.
func (b *batch) add(ref storage.SeriesRef, l labels.Labels, t int64, v float64) storage.SeriesRef {
	if b.err != nil {
		return 0
	}
	if ref == 0 && b.h.db.Head().NumSeries() >= uint64(b.h.config.Series) {
		known := storage.SeriesRef(0)
		if g, ok := b.app.(storage.GetRef); ok {
			known, _ = g.GetRef(l, l.Hash())
		}
		if known == 0 {
			b.reject(fmt.Errorf("%w: at most %d are kept in memory", ErrSeries, b.h.config.Series))
			return 0
		}
	}
	ref, err := b.app.Append(ref, l, 0, t, v, nil, nil, storage.AppendV2Options{})
	switch {
	case err == nil:
		b.appended++
	case errors.Is(err, storage.ErrOutOfOrderSample), errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrTooOldSample),
		errors.Is(err, storage.ErrDuplicateSampleForTimestamp), errors.Is(err, tsdb.ErrInvalidSample):
		b.reject(fmt.Errorf("%s at %s: %w", l, time.UnixMilli(t).UTC().Format(time.RFC3339Nano), err))
		return 0
	default:
		b.err = err
		return 0
	}
	return ref
}

func (b *batch) reject(err error) {
	if b.rejected.Samples++; b.rejected.First == nil {
		b.rejected.First = err
	}
}

func (b *batch) commit() error {
	if b.err != nil {
		return errors.Join(b.err, b.app.Rollback())
	}
	if err := b.app.Commit(); err != nil {
		return err
	}
	b.h.appended.Add(b.appended)
	if b.rejected.Samples > 0 {
		b.h.refused.Add(int64(b.rejected.Samples))
		return &b.rejected
	}
	return nil
}

// Status is how the history stands.
type Status struct {
	Series   int           // in memory
	Appended int64         // samples since the start
	Refused  int64         // samples since the start
	Blocks   int64         // bytes of blocks on disk; what is in memory and its log come on top
	Packed   int64         // samples in blocks
	Oldest   time.Time     // of the samples that are there; zero: none are
	Keep     time.Duration // as configured
	Size     int64         // as configured
}

// Status returns how the history stands.
func (h *History) Status() Status {
	s := Status{Series: int(h.db.Head().NumSeries()), Appended: h.appended.Load(), Refused: h.refused.Load(), Keep: h.config.Keep, Size: h.config.Size}
	for _, b := range h.db.Blocks() {
		s.Blocks += b.Size()
		s.Packed += int64(b.Meta().Stats.NumSamples)
	}
	if t, err := h.db.StartTime(); err == nil && t != math.MaxInt64 {
		s.Oldest = time.UnixMilli(t)
	}
	return s
}

// Row is one result of a query at one moment.
type Row struct {
	Labels map[string]string
	Value  float64
}

// Query answers a PromQL expression at a moment, in rows in no particular order. A scalar is one row without labels.
// A series whose last reading is more than 5 minutes old has no row.
func (h *History) Query(ctx context.Context, expr string, at time.Time) ([]Row, error) {
	q, err := h.engine.NewInstantQuery(ctx, h.db, nil, expr, at)
	if err != nil {
		return nil, fmt.Errorf("query %q: %w", expr, err)
	}
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		return nil, fmt.Errorf("query %q: %w", expr, res.Err)
	}
	switch v := res.Value.(type) {
	case promql.Vector:
		rows := make([]Row, 0, len(v))
		for _, s := range v {
			if s.H == nil {
				rows = append(rows, Row{s.Metric.Map(), s.F})
			}
		}
		return rows, nil
	case promql.Scalar:
		return []Row{{map[string]string{}, v.V}}, nil
	}
	return nil, fmt.Errorf("query %q: a %s is no list of values", expr, res.Value.Type())
}

// leveled is the logger without what the database says at work, which is of no use to an operator.
func leveled(l *slog.Logger) *slog.Logger { return slog.New(quiet{l.Handler()}) }

// quiet drops all below warnings.
type quiet struct{ slog.Handler }

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(a []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(a)} }

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
