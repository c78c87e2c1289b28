package alert_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/stretchr/testify/require"
)

func apply(t testing.TB, s *alert.State, at time.Time, events ...alert.Event) {
	t.Helper()
	for _, e := range events {
		b, err := json.Marshal(e.Data)
		require.NoError(t, err)
		require.NoError(t, s.Apply(e.Kind, b, at))
	}
}

func find(s *alert.State, id string) alert.Silence {
	for _, silence := range s.Silences() {
		if silence.ID == id {
			return silence
		}
	}
	return alert.Silence{}
}

func TestSilencePhases(t *testing.T) {
	t.Parallel()
	s := alert.Silence{Starts: start(), Ends: start().Add(time.Hour)}
	for offset, want := range map[time.Duration]alert.SilencePhase{
		-1: alert.SilencePending, 0: alert.SilenceActive, time.Hour - 1: alert.SilenceActive, time.Hour: alert.SilenceExpired,
	} {
		require.Equal(t, want, s.Phase(start().Add(offset)), offset)
	}
}

// TestEditingSilences: what an active silence has been stays to be seen.
func TestEditingSilences(t *testing.T) {
	t.Parallel()
	now := start()
	hours := func(h int) time.Time { return now.Add(time.Duration(h) * time.Hour) }
	old := func(from, to int) alert.Silence {
		return alert.Silence{ID: "old", Matchers: matchers(t, "host=h1"), Starts: hours(from), Ends: hours(to), By: "carol"}
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
		"active: matchers":           {old(-1, 1), func(s *alert.Silence) { s.Matchers = matchers(t, "host=h2") }, false, alert.SilenceExpired},
		"active: start":              {old(-1, 1), func(s *alert.Silence) { s.Starts = hours(-2) }, false, alert.SilenceExpired},
		"pending: later":             {old(1, 2), func(s *alert.Silence) { s.Starts, s.Ends = hours(2), hours(3) }, true, alert.SilencePending},
		"pending: start in the past": {old(1, 2), func(s *alert.Silence) { s.Starts = hours(-1) }, false, alert.SilenceExpired},
		"pending: matchers":          {old(1, 2), func(s *alert.Silence) { s.Matchers = matchers(t, "host=h2") }, false, alert.SilenceExpired},
		"expired: again":             {old(-2, -1), func(s *alert.Silence) { s.Ends = hours(1) }, false, alert.SilenceExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s alert.State
			apply(t, &s, hours(-3), alert.Event{Kind: alert.SilenceSet, Data: c.old})
			want := find(&s, "old")
			c.change(&want)
			got, events, err := s.SetSilence(want, "new", now)
			require.NoError(t, err)
			apply(t, &s, now, events...)
			require.Equal(t, c.after, find(&s, "old").Phase(now))
			if c.same {
				require.Equal(t, "old", got.ID)
				require.Len(t, s.Silences(), 1)
				require.Equal(t, want.Ends, find(&s, "old").Ends)
				return
			}
			require.Equal(t, "new", got.ID)
			fresh := find(&s, "new")
			require.Equal(t, want.Matchers.String(), fresh.Matchers.String())
			require.False(t, fresh.Starts.Before(now), "a new one does not start in the past")
			require.Equal(t, c.old.Matchers.String(), find(&s, "old").Matchers.String(), "the old one keeps what it was")
		})
	}
}

func TestSilencesAreRefused(t *testing.T) {
	t.Parallel()
	var s alert.State
	good := alert.Silence{Matchers: matchers(t, "host=h1"), Ends: start().Add(time.Hour), By: "carol"}
	for name, change := range map[string]func(*alert.Silence){
		"no matchers":          func(s *alert.Silence) { s.Matchers = nil },
		"all empty":            func(s *alert.Silence) { s.Matchers = matchers(t, `host="", project=~".*"`) },
		"no end":               func(s *alert.Silence) { s.Ends = time.Time{} },
		"ends before it start": func(s *alert.Silence) { s.Starts = s.Ends.Add(time.Second) },
		"past":                 func(s *alert.Silence) { s.Starts, s.Ends = start().Add(-2*time.Hour), start().Add(-time.Hour) },
		"long note":            func(s *alert.Silence) { s.Note = strings.Repeat("x", alert.MaxNote+1) },
		"long by":              func(s *alert.Silence) { s.By = strings.Repeat("x", alert.MaxBy+1) },
	} {
		want := good
		change(&want)
		_, events, err := s.SetSilence(want, "s1", start())
		require.ErrorIs(t, err, alert.ErrInvalid, name)
		require.Empty(t, events)
	}
	_, _, err := s.SetSilence(good, "", start())
	require.ErrorIs(t, err, alert.ErrInvalid)
	want := good
	want.ID = "none"
	_, _, err = s.SetSilence(want, "s1", start())
	require.ErrorIs(t, err, alert.ErrNotFound)
	_, err = s.EndSilence("none", "carol", start())
	require.ErrorIs(t, err, alert.ErrNotFound)

	_, events, err := s.SetSilence(good, "s1", start())
	require.NoError(t, err)
	apply(t, &s, start(), events...)
	_, _, err = s.SetSilence(good, "s1", start())
	require.ErrorIs(t, err, alert.ErrExists)
	_, err = s.EndSilence("s1", strings.Repeat("x", alert.MaxBy+1), start())
	require.ErrorIs(t, err, alert.ErrInvalid)
}

func TestEndingSilences(t *testing.T) {
	t.Parallel()
	var s alert.State
	apply(t, &s, start(),
		alert.Event{Kind: alert.SilenceSet, Data: alert.Silence{ID: "active", Matchers: matchers(t, "a=b"), Starts: start(), Ends: start().Add(time.Hour)}},
		alert.Event{Kind: alert.SilenceSet, Data: alert.Silence{ID: "pending", Matchers: matchers(t, "a=b"), Starts: start().Add(time.Hour), Ends: start().Add(2 * time.Hour)}})
	now := start().Add(time.Minute)
	for _, id := range []string{"active", "pending"} {
		events, err := s.EndSilence(id, "carol", now)
		require.NoError(t, err)
		apply(t, &s, now, events...)
		require.Equal(t, alert.SilenceExpired, find(&s, id).Phase(now))
		require.Equal(t, alert.SilenceExpired, find(&s, id).Phase(now.Add(time.Hour)))
		events, err = s.EndSilence(id, "carol", now.Add(time.Minute))
		require.NoError(t, err)
		require.Empty(t, events, "it has ended")
	}

	// They are kept for a while, so that one sees what was silenced.
	apply(t, &s, now.Add(alert.SilencesKept), alert.Event{Kind: alert.SilenceEnded, Data: alert.SilenceEnd{ID: "none"}})
	require.Len(t, s.Silences(), 2)
	apply(t, &s, now.Add(alert.SilencesKept+1), alert.Event{Kind: alert.SilenceEnded, Data: alert.SilenceEnd{ID: "none"}})
	require.Empty(t, s.Silences())
}
