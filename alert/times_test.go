package alert_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/stretchr/testify/require"
)

// TestTimeIntervals holds what each part of an interval means, one row each way.
func TestTimeIntervals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		why, interval, at string
		want              bool
	}{
		{"nothing is asked", `{}`, "2026-03-02T12:00:00Z", true},

		{"times: from the start", `{"times": [{"start_time": "09:00", "end_time": "17:00"}]}`, "2026-03-02T09:00:00Z", true},
		{"until the end", `{"times": [{"start_time": "09:00", "end_time": "17:00"}]}`, "2026-03-02T16:59:59Z", true},
		{"without it", `{"times": [{"start_time": "09:00", "end_time": "17:00"}]}`, "2026-03-02T17:00:00Z", false},
		{"and not before", `{"times": [{"start_time": "09:00", "end_time": "17:00"}]}`, "2026-03-02T08:59:59Z", false},
		{"one of several", `{"times": [{"start_time": "00:00", "end_time": "01:00"}, {"start_time": "22:00", "end_time": "24:00"}]}`, "2026-03-02T23:59:59Z", true},

		{"weekdays", `{"weekdays": ["monday:friday"]}`, "2026-03-06T12:00:00Z", true},
		{"another", `{"weekdays": ["Monday:Friday"]}`, "2026-03-07T12:00:00Z", false},
		{"Sunday is the first", `{"weekdays": ["sunday"]}`, "2026-03-08T12:00:00Z", true},

		{"days of month", `{"days_of_month": ["1:5"]}`, "2026-03-05T12:00:00Z", true},
		{"another", `{"days_of_month": ["1:5"]}`, "2026-03-06T12:00:00Z", false},
		{"from the end", `{"days_of_month": ["-3:-1"]}`, "2026-04-28T12:00:00Z", true},
		{"another", `{"days_of_month": ["-3:-1"]}`, "2026-04-27T12:00:00Z", false},
		{"the last of a leap year's February", `{"days_of_month": ["-1"]}`, "2028-02-29T12:00:00Z", true},
		{"and not the one before", `{"days_of_month": ["-1"]}`, "2028-02-28T12:00:00Z", false},
		{"from the beginning to the end", `{"days_of_month": ["10:-1"]}`, "2026-02-28T12:00:00Z", true},
		{"no day that the month does not have", `{"days_of_month": ["30:31"]}`, "2026-02-28T12:00:00Z", false},
		{"beyond its beginning", `{"days_of_month": ["-31:-28"]}`, "2026-02-01T12:00:00Z", true},
		// In March 2026 in Berlin 743 hours lie between the first midnight and the last, in October 745.
		{"the last day of a month in which clocks are put forward", `{"days_of_month": ["-1"], "location": "Europe/Berlin"}`, "2026-03-31T12:00:00Z", true},
		{"and no other", `{"days_of_month": ["-1"], "location": "Europe/Berlin"}`, "2026-03-30T12:00:00Z", false},
		{"the last but two, before they are", `{"days_of_month": ["-5"], "location": "Europe/Berlin"}`, "2026-03-27T12:00:00Z", true},
		{"the last day of a month in which they are put back", `{"days_of_month": ["-1"], "location": "America/New_York"}`, "2026-11-30T12:00:00Z", true},
		{"and no other", `{"days_of_month": ["-1"], "location": "America/New_York"}`, "2026-11-29T12:00:00Z", false},

		{"months by name", `{"months": ["january:march"]}`, "2026-03-31T23:00:00Z", true},
		{"another", `{"months": ["january:march"]}`, "2026-04-01T00:00:00Z", false},
		{"by number", `{"months": ["12"]}`, "2026-12-01T00:00:00Z", true},

		{"years", `{"years": ["2025:2026"]}`, "2026-12-31T23:59:59Z", true},
		{"another", `{"years": ["2025:2026"]}`, "2027-01-01T00:00:00Z", false},

		{"of the location", `{"times": [{"start_time": "09:00", "end_time": "17:00"}], "location": "Asia/Tokyo"}`, "2026-03-02T00:00:00Z", true},
		{"not of UTC", `{"times": [{"start_time": "09:00", "end_time": "17:00"}], "location": "Asia/Tokyo"}`, "2026-03-02T09:00:00Z", false},
		{"UTC without one", `{"times": [{"start_time": "09:00", "end_time": "17:00"}]}`, "2026-03-02T12:00:00+09:00", false},
		{"an hour that is left out is in no interval", `{"times": [{"start_time": "02:00", "end_time": "03:00"}], "location": "Europe/Berlin"}`, "2026-03-29T01:30:00Z", false},
		{"one that comes twice is so twice", `{"times": [{"start_time": "02:00", "end_time": "03:00"}], "location": "Europe/Berlin"}`, "2026-10-25T01:30:00Z", true},

		{"all of them", `{"times": [{"start_time": "09:00", "end_time": "17:00"}], "weekdays": ["monday"], "months": ["march"]}`, "2026-03-02T12:00:00Z", true},
		{"not most of them", `{"times": [{"start_time": "09:00", "end_time": "17:00"}], "weekdays": ["tuesday"], "months": ["march"]}`, "2026-03-02T12:00:00Z", false},
	} {
		var interval alert.TimeInterval
		require.NoError(t, json.Unmarshal([]byte(c.interval), &interval), c.interval)
		at, err := time.Parse(time.RFC3339, c.at)
		require.NoError(t, err)
		require.Equal(t, c.want, interval.Holds(at), "%s: %s at %s", c.why, c.interval, c.at)

		b, err := json.Marshal(interval)
		require.NoError(t, err)
		var back alert.TimeInterval
		require.NoError(t, json.Unmarshal(b, &back), "%s", b)
		require.Equal(t, interval, back)
	}
}

// TestLastDays holds days counted from the end, against a calendar that is walked through, in places that change their
// clocks in different months and at midnight.
func TestLastDays(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago"} {
		location, err := time.LoadLocation(name)
		require.NoError(t, err)
		for day := time.Date(2024, 1, 1, 12, 0, 0, 0, location); day.Year() < 2029; day = day.AddDate(0, 0, 1) {
			left := 1 // days until the month's end, this one among them
			for next := day.AddDate(0, 0, 1); next.Month() == day.Month(); next = next.AddDate(0, 0, 1) {
				left++
			}
			for _, hour := range []time.Duration{-11 * time.Hour, 0, 11*time.Hour + 59*time.Minute} {
				at := day.Add(hour)
				if at.Day() != day.Day() {
					continue // where the day is shorter
				}
				interval := alert.TimeInterval{DaysOfMonth: []alert.Range{{From: -left, To: -left}}, Location: location}
				require.True(t, interval.Holds(at), "%v is %d days from the end", at, left)
				for _, other := range []int{left - 1, left + 1} {
					if other > 0 {
						interval.DaysOfMonth = []alert.Range{{From: -other, To: -other}}
						require.False(t, interval.Holds(at), "%v is not %d days from the end", at, other)
					}
				}
			}
		}
	}
}

func TestTimeIntervalsAreRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		`[]`, `{"times": "09:00"}`, `{"times": [{"start_time": "9:00", "end_time": "17:00"}]}`, `{"times": [{"start_time": "09:00"}]}`,
		`{"times": [{"start_time": "09:00", "end_time": "24:01"}]}`, `{"times": [{"start_time": "09:60", "end_time": "17:00"}]}`,
		`{"times": [{"start_time": "17:00", "end_time": "09:00"}]}`, `{"times": [{"start_time": "09:00", "end_time": "09:00"}]}`,
		`{"times": [{"start_time": "-9:00", "end_time": "09:00"}]}`,
		`{"weekdays": ["someday"]}`, `{"weekdays": ["1"]}`, `{"weekdays": ["friday:monday"]}`, `{"weekdays": ["monday:friday:sunday"]}`, `{"weekdays": [""]}`,
		`{"days_of_month": ["0"]}`, `{"days_of_month": ["32"]}`, `{"days_of_month": ["-32"]}`, `{"days_of_month": ["5:1"]}`, `{"days_of_month": ["-1:-5"]}`,
		`{"days_of_month": ["-5:5"]}`, `{"days_of_month": ["31:-2"]}`, `{"days_of_month": ["1:32"]}`,
		`{"months": ["0"]}`, `{"months": ["13"]}`, `{"months": ["march:january"]}`, `{"months": ["1:13"]}`,
		`{"years": ["2026:2025"]}`, `{"years": ["-1"]}`, `{"years": ["99999999999999999999"]}`,
		`{"location": "Nowhere/Land"}`, `{"location": "../etc/passwd"}`,
	} {
		var interval alert.TimeInterval
		require.ErrorIs(t, json.Unmarshal([]byte(s), &interval), alert.ErrInvalid, s)
		require.Equal(t, alert.TimeInterval{}, interval, "it is as it was")
	}
	require.ErrorIs(t, alert.TimeInterval{Years: make([]alert.Range, 101)}.Validate(), alert.ErrInvalid)
}

// FuzzTimeInterval: what is read is written so that it is read as the same, and holds moments or not without a panic.
func FuzzTimeInterval(f *testing.F) {
	f.Add(`{"times": [{"start_time": "09:00", "end_time": "24:00"}], "days_of_month": ["-3:-1"], "location": "Europe/Berlin"}`, int64(1_700_000_000))
	f.Add(`{"weekdays": ["monday:friday"], "months": ["1:march"], "years": ["2026"]}`, int64(-1))
	f.Fuzz(func(t *testing.T, s string, unix int64) {
		var interval, back alert.TimeInterval
		if err := json.Unmarshal([]byte(s), &interval); err != nil {
			return
		}
		b, err := json.Marshal(interval)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(b, &back), "%s", b)
		at := time.Unix(unix%(1<<36), 0)
		require.Equal(t, interval.Holds(at), back.Holds(at))
	})
}
