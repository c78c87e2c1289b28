package detect_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/berthage/berthage/alert/detect"
	"github.com/stretchr/testify/require"
)

// Whatever values and times come, no method panics, every verdict agrees with itself and has finite numbers, and a
// detector made of the state goes on alike.
func FuzzDetectors(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdef"), uint8(0))
	f.Add(binary.LittleEndian.AppendUint64(make([]byte, 400), math.Float64bits(1e100)), uint8(2))
	f.Add(make([]byte, 900), uint8(4))
	f.Fuzz(func(t *testing.T, in []byte, which uint8) {
		small := []detect.Method{
			detect.RobustZ{Window: 5}, detect.EWMA{Alpha: 0.3}, detect.HoltWinters{Season: 4 * time.Second, Slot: time.Second, Alpha: 0.99, Beta: 0.99, Gamma: 0.99},
			detect.Seasonal{Weeks: 1}, detect.CUSUM{Baseline: 10, Limit: 2}, detect.KOfN{K: 2, N: 3, Of: detect.RobustZ{Window: 5}},
		}
		m := small[int(which)%len(small)]
		d, follows := detector(t, m), detector(t, m)
		fc := forecaster(t, detect.Forecast{Limit: 1, History: time.Minute, Points: 8})
		at := start()
		for n := 0; len(in) >= 9; n++ {
			// A byte of time, from backwards to weeks ahead, and a value: any, or a small one, so that there are some of these.
			at = at.Add([]time.Duration{time.Second, time.Second, time.Second, 0, -time.Minute, time.Hour, 7 * 24 * time.Hour, 100 * 365 * 24 * time.Hour}[in[0]%8])
			v := math.Float64frombits(binary.LittleEndian.Uint64(in[1:]))
			if in[0]&0x80 != 0 {
				v = float64(int8(in[1]))
			}
			in = in[9:]
			r := d.Observe(at, v)
			agrees(t, m, v, r)
			if n == 7 {
				b, err := json.Marshal(d)
				require.NoError(t, err)
				require.NoError(t, json.Unmarshal(b, follows), "%s", b)
			} else {
				other := follows.Observe(at, v)
				require.Equal(t, r, other)
			}
			fc.Observe(at, v)
			finite(t, fc.Outlook(at))
		}
	})
}

func finite(t *testing.T, o detect.Outlook) {
	t.Helper()
	require.False(t, math.IsNaN(o.Slope) || math.IsInf(o.Slope, 0) || math.IsNaN(o.Fit), "%+v", o)
	require.Equal(t, o.Why == detect.Full || o.Why == detect.Filling, !o.At.IsZero(), "%+v", o)
}

// A state from anywhere is refused or leads to verdicts as they should be.
func FuzzStates(f *testing.F) {
	small := func() []detect.Method {
		return []detect.Method{
			detect.RobustZ{Window: 5}, detect.EWMA{Alpha: 0.3}, detect.HoltWinters{Season: 4 * time.Second, Slot: time.Second},
			detect.Seasonal{Weeks: 1}, detect.CUSUM{Baseline: 10, Limit: 2}, detect.KOfN{K: 2, N: 3, Of: detect.RobustZ{Window: 5}},
		}
	}
	params := detect.Forecast{Limit: 1, History: time.Minute, Points: 8}
	for _, m := range small() {
		d := detector(f, m)
		_, _ = feed(d, start(), time.Second, noise(1, 30, 5, 1)...)
		b, err := json.Marshal(d)
		require.NoError(f, err)
		f.Add(b)
	}
	fc := forecaster(f, params)
	for i := range 60 {
		fc.Observe(start().Add(time.Duration(i)*time.Second), float64(i)/100)
	}
	b, err := json.Marshal(fc)
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, m := range small() {
			d := detector(t, m)
			if json.Unmarshal(in, d) != nil {
				continue
			}
			at := start().Add(time.Minute)
			for i, v := range append(noise(2, 40, 5, 1), detect.MaxValue, -detect.MaxValue, 0) {
				agrees(t, m, v, d.Observe(at.Add(time.Duration(i)*time.Second), v))
			}
			_, err := json.Marshal(d)
			require.NoError(t, err)
		}
		fc := forecaster(t, params)
		if json.Unmarshal(in, fc) == nil {
			for i := range 40 {
				at := start().Add(time.Duration(60+i) * time.Second)
				fc.Observe(at, float64(i)/100)
				fc.Outlook(at)
			}
		}
	})
}
