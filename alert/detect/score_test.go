package detect_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/alert/detect"
	"github.com/stretchr/testify/require"
)

// The scoring rule of the Numenta Anomaly Benchmark, after its description (Lavin and Ahmad 2015, arXiv:1510.03336): a
// window of an anomaly is worth what the first detection in it is worth, the more the earlier; a detection elsewhere costs,
// the less the sooner it comes after a window; the first 15 % of a series (of 5,000 samples, if it is longer) do not count.
// The threshold for what is a detection is the one that is best for the whole corpus. The result is 0 for a detector that
// says nothing and 100 for one that finds each anomaly at its beginning and nothing else.

// profile is what a window found, one missed and a false detection weigh.
type profile struct {
	name              string
	found, missed, fp float64
}

func profiles() []profile {
	return []profile{{"standard", 1, 1, 0.11}, {"reward low FP", 1, 1, 0.22}, {"reward low FN", 1, 2, 0.11}}
}

// worth is what a detection is worth at a position relative to a window: -1 is its first sample, 0 its end, more is after it.
func worth(position float64) float64 {
	if position >= 3 {
		return -1
	}
	return 2/(1+math.Exp(5*position)) - 1
}

// graded is a sample as the scoring sees it.
type graded struct {
	score  float64 // of the detector
	window int     // in which it is, over all series; -1 is none
	worth  float64
}

// grade grades all samples of a series for which a detector has given scores, but those that do not count. The windows are
// numbered from n.
func grade(s labelled, scores []float64, n int) []graded {
	var out []graded
	next := 0
	for i := range scores {
		if next < len(s.windows) && i > s.windows[next].last {
			next++
		}
		g := graded{score: scores[i], window: -1}
		switch {
		case next < len(s.windows) && i >= s.windows[next].first:
			w := s.windows[next]
			g.window = n + next
			g.worth = worth(-float64(w.last-i+1)/float64(w.last-w.first+1)) / worth(-1)
		case next > 0:
			w := s.windows[next-1]
			g.worth = worth(float64(i-w.last) / float64(w.last-w.first))
		default:
			g.worth = -1
		}
		if i >= int(0.15*float64(min(len(scores), 5000))) {
			out = append(out, g)
		}
	}
	return out
}

// normalized is the best score over all thresholds, from 0 to 100. It sorts the samples.
func normalized(samples []graded, p profile) float64 {
	slices.SortFunc(samples, func(a, b graded) int { return cmp.Compare(b.score, a.score) }) // quick where they are in order
	found := map[int]float64{}
	for _, s := range samples {
		if s.window >= 0 {
			found[s.window] = -p.missed
		}
	}
	n := float64(len(found))
	null := -p.missed * n
	total, best := null, null
	for i, s := range samples {
		if s.score <= 0 {
			break
		}
		if s.window < 0 {
			total += p.fp * s.worth
		} else if w := p.found * s.worth; w > found[s.window] {
			total += w - found[s.window]
			found[s.window] = w
		}
		if i+1 == len(samples) || samples[i+1].score != s.score {
			best = max(best, total)
		}
	}
	return 100 * (best - null) / (p.found*n - null)
}

// entry is a detector in the competition: it gives each sample of a series a score.
type entry struct {
	name   string
	scores func(labelled) []float64
}

func entered(name string, m detect.Method) entry {
	return entry{name, func(s labelled) []float64 {
		d, err := m.New()
		if err != nil {
			panic(err)
		}
		out := make([]float64, len(s.points))
		for i, p := range s.points {
			out[i] = d.Observe(p.Time, p.Value).Score
		}
		return out
	}}
}

// entries are our methods and what they are to be held against: chance, and a threshold that nobody moves.
func entries() []entry {
	return []entry{
		{"chance", func(s labelled) []float64 {
			r := rand.New(rand.NewPCG(uint64(len(s.points)), 42))
			out := make([]float64, len(s.points))
			for i := range out {
				out[i] = r.Float64()
			}
			return out
		}},
		{"fixed threshold", func(s labelled) []float64 {
			n := len(s.points) * 15 / 100
			var mean, variance float64
			for _, p := range s.points[:n] {
				mean += p.Value / float64(n)
			}
			for _, p := range s.points[:n] {
				variance += (p.Value - mean) * (p.Value - mean) / float64(n)
			}
			out := make([]float64, len(s.points))
			for i, p := range s.points {
				out[i] = math.Abs(p.Value-mean) / math.Sqrt(variance+1e-12)
			}
			return out
		}},
		entered("RobustZ", detect.RobustZ{}),
		entered("RobustZ, a day", detect.RobustZ{Window: 288}),
		entered("EWMA", detect.EWMA{}),
		entered("HoltWinters, a day", detect.HoltWinters{}),
		entered("HoltWinters, a week", detect.HoltWinters{Season: 7 * 24 * time.Hour, Slot: time.Hour}),
		entered("Seasonal", detect.Seasonal{}),
		entered("CUSUM", detect.CUSUM{}),
	}
}

// compete returns the scores of every entry, by profile, and logs them as a table.
func compete(t *testing.T, corpus []labelled) map[string][]float64 {
	t.Helper()
	var b strings.Builder
	out := make(map[string][]float64)
	for _, e := range entries() {
		var samples []graded
		n := 0
		for _, s := range corpus {
			samples = append(samples, grade(s, e.scores(s), n)...)
			n += len(s.windows)
		}
		fmt.Fprintf(&b, "\n| %s |", e.name)
		for _, p := range profiles() {
			v := normalized(samples, p)
			out[e.name] = append(out[e.name], v)
			fmt.Fprintf(&b, " %.1f |", v)
		}
	}
	t.Logf("%d series:%s", len(corpus), b.String())
	return out
}

// Examples calculated by hand. The values of worth are those that the description gives.
func TestScoring(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 0.98661, worth(-1), 1e-5)
	require.InDelta(t, 0.84828, worth(-0.5), 1e-5)
	require.Zero(t, worth(0))
	require.InDelta(t, -0.98661, worth(1), 1e-5)
	require.Equal(t, -1.0, worth(3))

	s := labelled{points: make([]detect.Point, 100), windows: []window{{40, 49}, {70, 79}}}
	at := func(rows ...int) []float64 {
		out := make([]float64, 100)
		for _, r := range rows {
			out[r] = 1
		}
		return out
	}
	for _, c := range []struct {
		name   string
		scores []float64
		want   [3]float64
	}{
		{"nothing", at(), [3]float64{}},
		{"perfect", at(40, 70), [3]float64{100, 100, 100}},
		{"early detections count, later ones of the window do not", at(40, 41, 45, 70, 79), [3]float64{100, 100, 100}},
		{"what is in the first 15 % does not count", at(3, 14, 40, 70), [3]float64{100, 100, 100}},
		{"one missed", at(40), [3]float64{50, 50, 50}},
		{"half way into one", at(45), [3]float64{
			100 * (0.848284/0.986614 + 1) / 4, 100 * (0.848284/0.986614 + 1) / 4, 100 * (0.848284/0.986614 + 2) / 6,
		}},
		{"a false one before", at(20, 40, 70), [3]float64{100 * (4 - 0.11) / 4, 100 * (4 - 0.22) / 4, 100 * (6 - 0.11) / 6}},
		{"a false one just after", at(40, 52, 70), [3]float64{
			100 * (4 - 0.11*0.682396) / 4, 100 * (4 - 0.22*0.682396) / 4, 100 * (6 - 0.11*0.682396) / 6,
		}},
		{"only false ones: the best threshold is none", at(20, 21, 22), [3]float64{}},
	} {
		for i, p := range profiles() {
			require.InDelta(t, c.want[i], normalized(grade(s, c.scores, 0), p), 1e-3, "%s, %s", c.name, p.name)
		}
	}
	// The threshold is the best one: a detection of less score than a false one is not worth it, unless it is.
	scores := at(40, 70)
	for i := 20; i < 39; i++ {
		scores[i] = 0.9
	}
	scores[70] = 0.5
	require.InDelta(t, 50, normalized(grade(s, scores, 0), profiles()[0]), 1e-9)
	scores[21], scores[22] = 0.4, 0.4
	require.InDelta(t, 100*(4-17*0.11)/4, normalized(grade(s, scores, 0), profiles()[0]), 1e-9)
}

// On the synthetic series each method is better than chance and than a threshold that nobody moves. The bounds are a little
// below what docs/anomalies.md states.
func TestScoresOnSyntheticSeries(t *testing.T) {
	t.Parallel()
	got := compete(t, synthetic(6))
	for name, least := range map[string]float64{
		"RobustZ": 53, "RobustZ, a day": 34, "EWMA": 49, "HoltWinters, a day": 71, "HoltWinters, a week": 84, "Seasonal": 76, "CUSUM": 33,
	} {
		require.Greater(t, got[name][0], least, name)
		require.Greater(t, got[name][0], got["chance"][0]+20, name)
	}
}

// On the Numenta Anomaly Benchmark, where somebody has it. Its licence is the AGPL: it is not a part of this repository.
func TestScoresOnNAB(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("BERTHAGE_NAB")
	if dir == "" {
		t.Skip("BERTHAGE_NAB names no copy of numenta/NAB: the detectors were not scored on its series")
	}
	corpus, err := readNAB(dir)
	require.NoError(t, err)
	got := compete(t, corpus)
	for name, scores := range got {
		if name != "chance" {
			require.Greater(t, scores[0], 0.0, name)
		}
	}
}

// The reader, on files of the same form.
func TestReadNAB(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		file := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	write("labels/combined_windows.json", `{
		"b/two.csv": [["2014-04-10 00:10:00.000000", "2014-04-10 00:15:00.000000"], ["2014-04-10 00:00:00.000000", "2014-04-10 00:05:00.000000"]],
		"a/one.csv": []}`)
	write("data/a/one.csv", "timestamp,value\n2014-04-10 00:00:00,1\n")
	_, err := readNAB(dir)
	require.ErrorContains(t, err, "labels name b/two.csv")
	write("data/b/two.csv", "timestamp,value\n2014-04-10 00:00:00,1\n2014-04-10 00:05:00,2.5\n2014-04-10 00:10:00,3e2\n2014-04-10 00:15:00,-4\n")
	corpus, err := readNAB(dir)
	require.NoError(t, err)
	require.Len(t, corpus, 2)
	require.Equal(t, "a/one", corpus[0].name)
	require.Equal(t, []window{{0, 1}, {2, 3}}, corpus[1].windows)
	require.Equal(t, 300.0, corpus[1].points[2].Value)
	require.Equal(t, time.Date(2014, 4, 10, 0, 10, 0, 0, time.UTC), corpus[1].points[2].Time)
}
