package alert_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/stretchr/testify/require"
)

func applyTo(t testing.TB, s *alert.State, at time.Time, events ...alert.Event) {
	t.Helper()
	for _, e := range events {
		b, err := json.Marshal(e.Data)
		require.NoError(t, err)
		require.NoError(t, s.Apply(e.Kind, b, at))
	}
}

func silenceOf(s *alert.State, id string) alert.Silence {
	for _, silence := range s.Silences() {
		if silence.ID == id {
			return silence
		}
	}
	return alert.Silence{}
}

func TestSilencePhases(t *testing.T) {
	t.Parallel()
	s := alert.Silence{Starts: noon(), Ends: noon().Add(time.Hour)}
	for offset, want := range map[time.Duration]alert.SilencePhase{
		-1: alert.SilencePending, 0: alert.SilenceActive, time.Hour - 1: alert.SilenceActive, time.Hour: alert.SilenceExpired,
	} {
		require.Equal(t, want, s.Phase(noon().Add(offset)), offset)
	}
}

// TestEditingSilences: what an active silence has been stays to be seen.
func TestEditingSilences(t *testing.T) {
	t.Parallel()
	now := noon()
	hours := func(h int) time.Time { return now.Add(time.Duration(h) * time.Hour) }
	old := func(from, to int) alert.Silence {
		return alert.Silence{ID: "old", Matchers: parsed(t, "host=h1"), Starts: hours(from), Ends: hours(to), By: "carol"}
	}
	for name, c := range map[string]struct {
		old    alert.Silence // as it is now
		change func(*alert.Silence)
		same   bool               // it is changed in place
		after  alert.SilencePhase // of the old one
	}{
		"active: note":               {old(-1, 1), func(s *alert.Silence) { s.Note, s.By = "why", "dave" }, true, alert.SilenceActive},
		"active: longer":             {old(-1, 1), func(s *alert.Silence) { s.Ends = hours(5) }, true, alert.SilenceActive},
		"active: ends now":           {old(-1, 1), func(s *alert.Silence) { s.Ends = now }, true, alert.SilenceExpired},
		"active: matchers":           {old(-1, 1), func(s *alert.Silence) { s.Matchers = parsed(t, "host=h2") }, false, alert.SilenceExpired},
		"active: start":              {old(-1, 1), func(s *alert.Silence) { s.Starts = hours(-2) }, false, alert.SilenceExpired},
		"pending: later":             {old(1, 2), func(s *alert.Silence) { s.Starts, s.Ends = hours(2), hours(3) }, true, alert.SilencePending},
		"pending: start in the past": {old(1, 2), func(s *alert.Silence) { s.Starts = hours(-1) }, false, alert.SilenceExpired},
		"pending: matchers":          {old(1, 2), func(s *alert.Silence) { s.Matchers = parsed(t, "host=h2") }, false, alert.SilenceExpired},
		"expired: again":             {old(-2, -1), func(s *alert.Silence) { s.Ends = hours(1) }, false, alert.SilenceExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s alert.State
			applyTo(t, &s, hours(-3), alert.Event{Kind: alert.SilenceSet, Data: c.old})
			want := silenceOf(&s, "old")
			c.change(&want)
			got, events, err := s.SetSilence(want, "new", now)
			require.NoError(t, err)
			applyTo(t, &s, now, events...)
			require.Equal(t, c.after, silenceOf(&s, "old").Phase(now))
			if c.same {
				require.Equal(t, "old", got.ID)
				require.Len(t, s.Silences(), 1)
				require.Equal(t, want.Ends, silenceOf(&s, "old").Ends)
				return
			}
			require.Equal(t, "new", got.ID)
			fresh := silenceOf(&s, "new")
			require.Equal(t, want.Matchers.String(), fresh.Matchers.String())
			require.False(t, fresh.Starts.Before(now), "a new one does not start in the past")
			require.Equal(t, c.old.Matchers.String(), silenceOf(&s, "old").Matchers.String(), "the old one keeps what it was")
		})
	}
}

func TestSilencesAreRefused(t *testing.T) {
	t.Parallel()
	var s alert.State
	good := alert.Silence{Matchers: parsed(t, "host=h1"), Ends: noon().Add(time.Hour), By: "carol"}
	for name, change := range map[string]func(*alert.Silence){
		"no matchers":          func(s *alert.Silence) { s.Matchers = nil },
		"all empty":            func(s *alert.Silence) { s.Matchers = parsed(t, `host="", project=~".*"`) },
		"no end":               func(s *alert.Silence) { s.Ends = time.Time{} },
		"ends before it start": func(s *alert.Silence) { s.Starts = s.Ends.Add(time.Second) },
		"past":                 func(s *alert.Silence) { s.Starts, s.Ends = noon().Add(-2*time.Hour), noon().Add(-time.Hour) },
		"long note":            func(s *alert.Silence) { s.Note = strings.Repeat("x", alert.MaxNote+1) },
		"long by":              func(s *alert.Silence) { s.By = strings.Repeat("x", alert.MaxBy+1) },
	} {
		want := good
		change(&want)
		_, events, err := s.SetSilence(want, "s1", noon())
		require.ErrorIs(t, err, alert.ErrInvalid, name)
		require.Empty(t, events)
	}
	_, _, err := s.SetSilence(good, "", noon())
	require.ErrorIs(t, err, alert.ErrInvalid)
	want := good
	want.ID = "none"
	_, _, err = s.SetSilence(want, "s1", noon())
	require.ErrorIs(t, err, alert.ErrNotFound)
	_, err = s.EndSilence("none", "carol", noon())
	require.ErrorIs(t, err, alert.ErrNotFound)

	_, events, err := s.SetSilence(good, "s1", noon())
	require.NoError(t, err)
	applyTo(t, &s, noon(), events...)
	_, _, err = s.SetSilence(good, "s1", noon())
	require.ErrorIs(t, err, alert.ErrExists)
	_, err = s.EndSilence("s1", strings.Repeat("x", alert.MaxBy+1), noon())
	require.ErrorIs(t, err, alert.ErrInvalid)
}

func TestEndingSilences(t *testing.T) {
	t.Parallel()
	var s alert.State
	applyTo(t, &s, noon(),
		alert.Event{Kind: alert.SilenceSet, Data: alert.Silence{ID: "active", Matchers: parsed(t, "a=b"), Starts: noon(), Ends: noon().Add(time.Hour)}},
		alert.Event{Kind: alert.SilenceSet, Data: alert.Silence{ID: "pending", Matchers: parsed(t, "a=b"), Starts: noon().Add(time.Hour), Ends: noon().Add(2 * time.Hour)}})
	now := noon().Add(time.Minute)
	for _, id := range []string{"active", "pending"} {
		events, err := s.EndSilence(id, "carol", now)
		require.NoError(t, err)
		applyTo(t, &s, now, events...)
		require.Equal(t, alert.SilenceExpired, silenceOf(&s, id).Phase(now))
		require.Equal(t, alert.SilenceExpired, silenceOf(&s, id).Phase(now.Add(time.Hour)))
		events, err = s.EndSilence(id, "carol", now.Add(time.Minute))
		require.NoError(t, err)
		require.Empty(t, events, "it has ended")
	}

	// They are kept for a while, so that one sees what was silenced.
	applyTo(t, &s, now.Add(alert.SilencesKept), alert.Event{Kind: alert.SilenceEnded, Data: alert.SilenceEnd{ID: "none"}})
	require.Len(t, s.Silences(), 2)
	applyTo(t, &s, now.Add(alert.SilencesKept+1), alert.Event{Kind: alert.SilenceEnded, Data: alert.SilenceEnd{ID: "none"}})
	require.Empty(t, s.Silences())
}
