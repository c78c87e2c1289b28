package history_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/history"
)

func open(t *testing.T, c history.Config) *history.History {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	h, err := history.Open(c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func sample(at time.Time, v float64, kv ...string) history.Sample {
	return history.Sample{Labels: labels.FromStrings(kv...), Time: at.UnixMilli(), Value: v}
}

// one returns the value of an expression that has exactly one.
func one(t *testing.T, h *history.History, expr string, at time.Time) float64 {
	t.Helper()
	rows, err := h.Query(t.Context(), expr, at)
	require.NoError(t, err)
	require.Len(t, rows, 1, expr)
	return rows[0].Value
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
		require.Less(t, time.Since(began), time.Minute, "it has not happened: %s", what)
	}
}

// What was stored is there after a restart, with its labels; a directory is open once.
func TestWhatIsStoredStays(t *testing.T) {
	t.Parallel()
	dir, now := filepath.Join(t.TempDir(), "new"), time.Now()
	h := open(t, history.Config{Dir: dir})
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm(), "it is nobody else's")
	for i := range 40 {
		at := now.Add(time.Duration(i-39) * 15 * time.Second)
		require.NoError(t, h.Append(t.Context(), []history.Sample{sample(at, float64(15*i), "__name__", "x_total", "vm", "a"), sample(at, 1, "__name__", "x_total", "vm", "b")}))
	}
	require.Equal(t, 2, h.Status().Series)
	require.EqualValues(t, 80, h.Status().Appended)
	_, err = history.Open(history.Config{Dir: dir})
	require.ErrorContains(t, err, dir)
	require.NoError(t, h.Close())

	h = open(t, history.Config{Dir: dir})
	rows, err := h.Query(t.Context(), `rate(x_total{vm="a"}[5m]) > 0.5`, now)
	require.NoError(t, err)
	require.Equal(t, []history.Row{{Labels: map[string]string{"vm": "a"}, Value: rows[0].Value}}, rows)
	require.InDelta(t, 1, rows[0].Value, 1e-9)
	require.InDelta(t, 15*39.0, one(t, h, `x_total{vm="a"}`, now), 0)
	require.InDelta(t, 80, one(t, h, `sum(count_over_time(x_total[1h]))`, now), 0)
	require.InDelta(t, 42, one(t, h, `42`, now), 0, "a scalar is a row")
	rows, err = h.Query(t.Context(), `x_total`, now.Add(6*time.Minute))
	require.NoError(t, err)
	require.Empty(t, rows, "what is old is not the present")
	require.WithinDuration(t, now.Add(-39*15*time.Second), h.Status().Oldest, time.Second)
	for _, bad := range []string{`x_total[5m]`, `"text"`, `sum(`, ``} {
		_, err = h.Query(t.Context(), bad, now)
		require.Error(t, err, bad)
	}
}

// A process that is killed while it writes loses nothing that it had stored.
func TestKilled(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("HISTORY_TO_BE_KILLED"); dir != "" {
		h, err := history.Open(history.Config{Dir: dir})
		require.NoError(t, err)
		for i := 0; ; i++ {
			require.NoError(t, h.Append(context.Background(), []history.Sample{sample(time.Now().Add(-time.Minute).Add(time.Duration(i)*time.Millisecond), float64(i), "__name__", "x")}))
			fmt.Printf("stored %d\n", i)
		}
	}
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run", "^TestKilled$")
	child.Env = append(os.Environ(), "HISTORY_TO_BE_KILLED="+dir)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	last, lines := -1, bufio.NewScanner(out)
	for lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), "stored %d", &last); err == nil && last == 500 {
			require.NoError(t, child.Process.Kill())
		}
	}
	require.Error(t, child.Wait())
	require.GreaterOrEqual(t, last, 500)

	h := open(t, history.Config{Dir: dir})
	n := one(t, h, `count_over_time(x[10m])`, time.Now().Add(time.Minute))
	require.GreaterOrEqual(t, n, float64(last+1), "each sample that was said to be stored is there")
	require.LessOrEqual(t, n, float64(last+2))
	require.InDelta(t, n-1, one(t, h, `max_over_time(x[10m])`, time.Now().Add(time.Minute)), 0)
	require.NoError(t, h.Append(t.Context(), []history.Sample{sample(time.Now(), 1, "__name__", "y")}), "and it goes on")
}

// A log that was torn in the middle of a record is repaired: all before it is there.
func TestTornLog(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Now()
	h := open(t, history.Config{Dir: dir})
	for i := range 100 {
		require.NoError(t, h.Append(t.Context(), []history.Sample{sample(now.Add(time.Duration(i-100)*time.Second), float64(i), "__name__", "x")}))
	}
	require.NoError(t, h.Close())
	segments, err := filepath.Glob(filepath.Join(dir, "wal", "0*"))
	require.NoError(t, err)
	torn := false
	for _, s := range segments {
		info, err := os.Stat(s)
		require.NoError(t, err)
		if info.Size() > 1501 {
			require.NoError(t, os.Truncate(s, 1501)) // within a record: a page is padded with zeros
			torn = true
		}
	}
	require.True(t, torn)
	h = open(t, history.Config{Dir: dir})
	n := one(t, h, `count_over_time(x[10m])`, now)
	require.Greater(t, n, 10.0)
	require.Less(t, n, 100.0)
}

// What is too old or too much is removed, the oldest first; what is new stays.
func TestRetention(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		config history.Config
		oldest time.Duration // at most so old is what is left
	}{
		"by time": {history.Config{Keep: 24 * time.Hour}, 30 * time.Hour},
		"by size": {history.Config{Size: 1}, 8 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, now := open(t, tc.config), time.Now()
			for at := now.Add(-5 * 24 * time.Hour); !at.After(now); at = at.Add(10 * time.Minute) {
				require.NoError(t, h.Append(t.Context(), []history.Sample{sample(at, 1, "__name__", "x")}))
			}
			eventually(t, "removal", func() bool {
				require.NoError(t, h.Append(t.Context(), []history.Sample{sample(time.Now(), 1, "__name__", "x")}))
				return now.Sub(h.Status().Oldest) <= tc.oldest
			})
			require.InDelta(t, 1, one(t, h, `x`, time.Now()), 0)
		})
	}
}

// What cannot be stored is counted and named, and what came with it is stored.
func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	h, now := open(t, history.Config{Series: 3}), time.Now()
	require.NoError(t, h.Append(t.Context(), []history.Sample{sample(now, 1, "__name__", "x")}))
	for name, tc := range map[string]struct {
		s  history.Sample
		is error
	}{
		"too old":           {sample(now.Add(-2*history.Late), 1, "__name__", "x"), storage.ErrTooOldSample},
		"twice, and not so": {sample(now, 2, "__name__", "x"), storage.ErrDuplicateSampleForTimestamp},
	} {
		err := h.Append(t.Context(), []history.Sample{tc.s, sample(time.Now(), 5, "__name__", "other")})
		var r *history.Rejected
		require.ErrorAs(t, err, &r, name)
		require.Equal(t, 1, r.Samples)
		require.ErrorIs(t, err, tc.is, name)
	}
	require.InDelta(t, 5, one(t, h, "other", time.Now()), 0)
	require.NoError(t, h.Append(t.Context(), []history.Sample{sample(now.Add(-history.Late/2), 0.5, "__name__", "x")}), "late, but not too late")
	require.InDelta(t, 1.5, one(t, h, "sum(sum_over_time(x[2h]))", now), 0)

	err := h.Append(t.Context(), []history.Sample{sample(now, 1, "__name__", "a"), sample(now, 1, "__name__", "b"), sample(now.Add(time.Second), 9, "__name__", "x")})
	require.ErrorIs(t, err, history.ErrSeries)
	require.ErrorContains(t, err, "1 samples")
	require.Equal(t, 3, h.Status().Series)
	require.InDelta(t, 9, one(t, h, "x", now.Add(time.Second)), 0, "the series that are there go on")
	require.EqualValues(t, 3, h.Status().Refused)

	for _, l := range []labels.Labels{labels.FromStrings("__name__", strings.Repeat("x", 5<<10)), labels.FromStrings("__name__", "x", strings.Repeat("y", 2<<10), "z")} {
		require.Error(t, history.Bounded(l))
	}
	require.NoError(t, history.Bounded(labels.FromStrings("__name__", "x")))
}

// A query that asks for too much, or takes too long, ends with an error; the others wait for their turn.
func TestBoundsOfQueries(t *testing.T) {
	t.Parallel()
	h, now := open(t, history.Config{Samples: 100, Queries: 1, Timeout: 200 * time.Millisecond}), time.Now()
	var list []history.Sample
	for i := range 200 {
		list = append(list, sample(now, float64(i), "__name__", "x", "n", fmt.Sprint(i)))
	}
	require.NoError(t, h.Append(t.Context(), list))
	_, err := h.Query(t.Context(), "x", now)
	require.ErrorContains(t, err, "too many samples")
	require.Len(t, list, 200)
	require.InDelta(t, 7, one(t, h, `x{n="7"}`, now), 0)

	q, err := h.Within().Instant(t.Context(), "1", now, 0)
	require.NoError(t, err)
	waited := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		_, err := h.Query(ctx, "2", now)
		waited <- err
	}()
	require.NoError(t, q.Exec(t.Context()).Err)
	q.Close()
	require.NoError(t, <-waited)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = h.Query(ctx, "2", now)
	require.True(t, errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "canceled"))
}

func TestConfigurations(t *testing.T) {
	t.Parallel()
	for _, c := range []history.Config{{}, {Dir: "x", Keep: time.Minute}, {Dir: "x", Size: -1}, {Dir: "x", Series: -1}} {
		_, err := history.Open(c)
		require.Error(t, err)
	}
	h := open(t, history.Config{Interval: 10 * time.Second})
	require.Equal(t, 40*time.Second, h.Window(time.Second))
	require.Equal(t, time.Hour, h.Window(time.Hour))
	for _, f := range history.Figures() {
		for _, l := range f.Lines {
			for _, of := range []history.Subject{history.Hosts, history.Instances} {
				for _, id := range []string{"", "sim/a", `a"} or vector(1) or {x="`, "a\nb"} {
					expr := l.Expr(of, id, time.Minute)
					require.NotContains(t, expr, "$")
					e, err := h.Parser().ParseExpr(expr)
					require.NoError(t, err, expr)
					parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
						if c, ok := n.(*parser.Call); ok {
							require.NotEqual(t, "vector", c.Func.Name, "an id is text and nothing else")
						}
						return nil
					})
				}
			}
		}
	}
	require.False(t, math.IsNaN(one(t, h, "1", time.Now())))
}
