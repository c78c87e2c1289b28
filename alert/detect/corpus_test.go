package detect_test

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/alert/detect"
)

// labelled is a series in which somebody has marked what is wrong.
type labelled struct {
	name    string
	points  []detect.Point
	windows []window // in order, apart from each other
}

// window is where an anomaly is: the numbers of its first and last point.
type window struct{ first, last int }

// corpusStep is the step of the synthetic series, and of nearly all of NAB's.
const corpusStep = 5 * time.Minute

// synthetic makes the series of which docs/anomalies.md tells: five weeks each, at five minutes. In the last eighteen days
// each has up to three anomalies of its kind, in windows that begin with the anomaly and are together a tenth of the
// series, as NAB's are.
func synthetic(perKind int) []labelled {
	const rows = 35 * 288
	var out []labelled
	for k, kind := range []string{"spikes", "shift", "drift", "flat day", "quiet hours", "noisier", "quiet"} {
		for i := range perKind {
			r := rand.New(rand.NewPCG(uint64(k), uint64(i)))
			s := labelled{name: fmt.Sprintf("%s %d", kind, i)}
			vs := background(r, rows, i)
			anomalies := 1 + i%3
			if kind == "quiet" {
				anomalies = 0
			}
			var length int
			if anomalies > 0 {
				length = rows / 10 / anomalies
			}
			for j := range anomalies {
				room := 18 * 288 / anomalies
				at := rows - 18*288 + j*room + r.IntN(room-length)
				if kind == "flat day" || kind == "quiet hours" { // in which the day's wave would be high
					at = min(at-at%288+84, rows-length)
				}
				s.windows = append(s.windows, window{at, at + length - 1})
				disturb(r, kind, vs, at)
			}
			for j, v := range vs {
				if r.IntN(400) > 0 { // some samples are missing
					s.points = append(s.points, detect.Point{Time: start().Add(time.Duration(j) * corpusStep), Value: v})
				}
			}
			s.windows = renumber(s, rows)
			out = append(out, s)
		}
	}
	return out
}

// renumber turns windows of steps into windows of points.
func renumber(s labelled, rows int) []window {
	number := make([]int, rows+1) // of the first point not before a step
	for n, p := range slices.Backward(s.points) {
		number[int(p.Time.Sub(start())/corpusStep)] = n
	}
	next := len(s.points)
	for i, p := range slices.Backward(number) {
		if p == 0 && i > 0 {
			number[i] = next
		}
		next = number[i]
	}
	var out []window
	for _, w := range s.windows {
		out = append(out, window{number[w.first], number[w.last+1] - 1})
	}
	return out
}

// background is what is normal: a level with noise, the noise alike from one sample to the next or not, with or without the
// wave of a day and quieter weekends.
func background(r *rand.Rand, rows, i int) []float64 {
	vs := make([]float64, rows)
	wave, alike := []float64{0, 10, 20}[i%3], []float64{0, 0.5}[i/3%2]
	rest := 0.0
	for j := range vs {
		rest = alike*rest + math.Sqrt(1-alike*alike)*r.NormFloat64()
		day := float64(j) / 288
		busy := 1.0
		if int(day)%7 >= 5 {
			busy = 0.5
		}
		vs[j] = 40 + busy*wave*(1-math.Cos(2*math.Pi*day)) + 2*rest
	}
	return vs
}

// disturb puts an anomaly at a row.
func disturb(r *rand.Rand, kind string, vs []float64, at int) {
	rest := vs[at:]
	hours := func(h int) []float64 { return rest[:min(12*h, len(rest))] }
	switch kind {
	case "spikes":
		for i := range 4 {
			rest[3*i] += 30
		}
	case "shift": // for two days
		for i := range hours(48) {
			rest[i] += 15
		}
	case "drift": // over a day, and back at once
		for i := range hours(24) {
			rest[i] += 25 * float64(i) / 288
		}
	case "flat day": // a reporter that hangs
		for i := range hours(10) {
			rest[i] = rest[0]
		}
	case "quiet hours": // nothing comes in any more
		for i := range hours(6) {
			rest[i] = 2 + r.Float64()
		}
	case "noisier":
		for i := range hours(12) {
			rest[i] += 10 * r.NormFloat64()
		}
	}
}

// readNAB reads the Numenta Anomaly Benchmark from a copy of its repository: data/*/*.csv, labels/combined_windows.json.
func readNAB(dir string) ([]labelled, error) {
	const layout = "2006-01-02 15:04:05" // a fraction of a second is read, too
	b, err := os.ReadFile(filepath.Join(dir, "labels", "combined_windows.json"))
	if err != nil {
		return nil, err
	}
	var windows map[string][][2]string
	if err := json.Unmarshal(b, &windows); err != nil {
		return nil, err
	}
	var out []labelled
	for name, limits := range windows {
		s, err := readSeries(filepath.Join(dir, "data", filepath.FromSlash(name)), layout)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("labels name %s: %w", name, err)
		}
		if err != nil {
			return nil, err
		}
		s.name = strings.TrimSuffix(name, ".csv")
		for _, l := range limits {
			var w [2]int
			for i := range w {
				t, err := time.Parse(layout, l[i])
				if err != nil {
					return nil, err
				}
				if w[i] = slices.IndexFunc(s.points, func(p detect.Point) bool { return p.Time.Equal(t) }); w[i] < 0 {
					return nil, fmt.Errorf("%s has no sample of %s", name, l[i])
				}
			}
			s.windows = append(s.windows, window{w[0], w[1]})
		}
		slices.SortFunc(s.windows, func(a, b window) int { return cmp.Compare(a.first, b.first) })
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b labelled) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

func readSeries(file, layout string) (s labelled, err error) {
	f, err := os.Open(file)
	if err != nil {
		return s, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return s, err
	}
	for _, row := range rows[min(1, len(rows)):] {
		t, err := time.Parse(layout, row[0])
		if err != nil {
			return s, err
		}
		v, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			return s, err
		}
		s.points = append(s.points, detect.Point{Time: t, Value: v})
	}
	return s, nil
}
