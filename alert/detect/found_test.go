package detect_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/alert/detect"
	"github.com/stretchr/testify/require"
)

// Which method finds which anomaly of the synthetic series, with its parameters as they are: windows with a sample outside,
// of twelve of each kind; and how often a week it begins to find samples outside elsewhere. The bounds are a little off
// what docs/anomalies.md states.
func TestWhatFindsWhat(t *testing.T) {
	t.Parallel()
	kinds := []string{"spikes", "shift", "drift", "flat day", "quiet hours", "noisier"}
	corpus := synthetic(6)
	var b strings.Builder
	for _, c := range []struct {
		named
		least []int // windows found
		most  float64
	}{
		{named{"RobustZ", detect.RobustZ{}}, []int{5, 5, 4, 11, 10, 7}, 1},
		{named{"EWMA", detect.EWMA{}}, []int{7, 4, 3, 3, 11, 3}, 0.3},
		{named{"HoltWinters, a day", detect.HoltWinters{}}, []int{11, 10, 11, 1, 11, 11}, 1.7},
		{named{"HoltWinters, a week", detect.HoltWinters{Season: 7 * 24 * time.Hour, Slot: time.Hour}}, []int{11, 9, 11, 6, 11, 11}, 0.5},
		{named{"Seasonal", detect.Seasonal{}}, []int{11, 11, 11, 7, 11, 11}, 0.8},
		{named{"CUSUM", detect.CUSUM{}}, []int{4, 10, 11, 8, 11, 5}, 7},
	} {
		found, alarms, weeks := make(map[string]int), 0, 0.0
		for _, s := range corpus {
			kind := s.name[:strings.LastIndex(s.name, " ")]
			d := detector(t, c.method)
			next, before := 0, false
			hit := make([]bool, len(s.windows))
			for i, p := range s.points {
				r := d.Observe(p.Time, p.Value)
				if next < len(s.windows) && i > s.windows[next].last {
					next++
				}
				if next < len(s.windows) && i >= s.windows[next].first {
					hit[next] = hit[next] || r.Outside
				} else if r.Outside && !before {
					alarms++
				}
				before = r.Outside
			}
			for _, h := range hit {
				if h {
					found[kind]++
				}
			}
			weeks += 5 * 0.9 // a tenth is windows
		}
		fmt.Fprintf(&b, "\n| %s |", c.name)
		for i, kind := range kinds {
			fmt.Fprintf(&b, " %d |", found[kind])
			require.GreaterOrEqual(t, found[kind], c.least[i], "%s: %s", c.name, kind)
		}
		fmt.Fprintf(&b, " %.1f |", float64(alarms)/weeks)
		require.Less(t, float64(alarms)/weeks, c.most, c.name)
	}
	t.Log(b.String())
}
