package alert_test

import (
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/stretchr/testify/require"
)

// TestReceive: alerts of somebody else's rules, as Alertmanager merges them.
func TestReceive(t *testing.T) {
	t.Parallel()
	at := func(seconds float64) time.Time { return noon().Add(time.Duration(seconds * float64(time.Second))) }
	type given struct{ now, starts, ends float64 } // -1 is none
	for name, c := range map[string]struct {
		given        []given
		starts, ends float64 // ends -1: after the time-out of the last
		received     float64
		phase        alert.Phase
	}{
		"first":                           {[]given{{1, 1, -1}}, 1, -1, 1, alert.Firing},
		"now without a start":             {[]given{{1, -1, -1}}, 1, -1, 1, alert.Firing},
		"its end without a start":         {[]given{{9, -1, 5}}, 5, 5, 9, alert.Resolved},
		"an earlier start counts":         {[]given{{1, 1.1, -1}, {1.2, 1, -1}}, 1, -1, 1, alert.Firing},
		"a later start does not":          {[]given{{1, 1, -1}, {2, 2, -1}}, 1, -1, 1, alert.Firing},
		"resolved":                        {[]given{{1, 1, -1}, {5, 1, 5}}, 1, 5, 1, alert.Resolved},
		"resolved twice: the latest":      {[]given{{1, 1, -1}, {4.6, 3, 4.5}, {4.8, 2.9, 4.8}, {4.9, 2.9, 4.1}}, 1, 4.8, 1, alert.Resolved},
		"fires anew":                      {[]given{{1, 1, -1}, {5, 1, 5}, {8, 7, -1}}, 7, -1, 8, alert.Firing},
		"an end to come":                  {[]given{{1, 1, 60}}, 1, 60, 1, alert.Firing},
		"a later end to come":             {[]given{{1, 1, 60}, {30, 1, 90}}, 1, 90, 1, alert.Firing},
		"a said end goes before time-out": {[]given{{1, 1, 4000}, {30, 1, -1}}, 1, 4000, 1, alert.Firing},
		"a time-out is put off":           {[]given{{1, 1, -1}, {200, 1, -1}}, 1, -1, 1, alert.Firing},
		"after the time-out it is anew":   {[]given{{1, 1, -1}, {1000, 900, -1}}, 900, -1, 1000, alert.Firing},
	} {
		var a alert.Alert
		var err error
		var last float64
		moment := func(seconds float64) time.Time {
			if seconds < 0 {
				return time.Time{}
			}
			return at(seconds)
		}
		for i, g := range c.given {
			a, err = alert.Receive(a, alert.Given{
				Labels: labels(t, "alertname", "a"), Annotations: map[string]string{"n": string(rune('0' + i))}, Starts: moment(g.starts), Ends: moment(g.ends),
			}, at(g.now), 0)
			require.NoError(t, err, name)
			require.Equal(t, string(rune('0'+i)), a.Annotations["n"], "the annotations are those given last")
			last = g.now
		}
		require.Equal(t, at(c.starts), a.Active, name)
		require.Equal(t, at(c.received), a.Received, name)
		require.Equal(t, c.phase, a.Phase, name)
		if c.ends < 0 {
			require.True(t, a.Ended.IsZero(), name)
			require.Equal(t, at(last).Add(alert.ResolveTimeout), a.Expires, name)
		} else {
			require.Equal(t, at(c.ends), a.Ended, name)
		}
	}
}

func TestReceiveRefuses(t *testing.T) {
	t.Parallel()
	for name, given := range map[string]alert.Given{
		"no labels":            {},
		"ends before it start": {Labels: labels(t, "a", "b"), Starts: noon(), Ends: noon().Add(-1)},
		"large":                {Labels: labels(t, "a", "b"), Annotations: map[string]string{"a": strings.Repeat("x", alert.MaxLabelsBytes)}},
	} {
		_, err := alert.Receive(alert.Alert{}, given, noon(), 0)
		require.ErrorIs(t, err, alert.ErrInvalid, name)
	}
}
