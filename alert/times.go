package alert

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Range is from one number to another, both included.
type Range struct{ From, To int }

func (r Range) holds(n int) bool { return r.From <= n && n <= r.To }

// TimeInterval is a set of moments: those which each of the lists that are not empty holds. The zero value is all time.
// Its JSON is Alertmanager's:
//
//	{"times": [{"start_time": "09:00", "end_time": "17:30"}], "weekdays": ["monday:friday"], "days_of_month": ["1:5", "-3:-1"],
//	 "months": ["january:march", "12"], "years": ["2026"], "location": "Europe/Berlin"}
type TimeInterval struct {
	Times       []Range        // minutes of the day, 0 to 1440; To itself is not included
	Weekdays    []Range        // 0, Sunday, to 6
	DaysOfMonth []Range        // 1 to 31, or from the end: -1 is the last day. Days that a month does not have are left out
	Months      []Range        // 1 to 12
	Years       []Range        //
	Location    *time.Location // whose clocks and calendar; nil is UTC
}

// Times is a set of moments under a name: those that any of its intervals holds.
type Times struct {
	Name      string         `json:"name"`
	Intervals []TimeInterval `json:"time_intervals"`
}

// Holds says whether that moment is one of the set.
func (t Times) Holds(at time.Time) bool {
	return slices.ContainsFunc(t.Intervals, func(i TimeInterval) bool { return i.Holds(at) })
}

// Holds says whether that moment is one of the set.
func (t TimeInterval) Holds(at time.Time) bool {
	if t.Location == nil {
		at = at.UTC()
	} else {
		at = at.In(t.Location)
	}
	year, month, day := at.Date()
	minute := at.Hour()*60 + at.Minute()
	in := func(ranges []Range, n int) bool {
		return len(ranges) == 0 || slices.ContainsFunc(ranges, func(r Range) bool { return r.holds(n) })
	}
	return in(t.Years, year) && in(t.Months, int(month)) && in(t.Weekdays, int(at.Weekday())) &&
		(len(t.Times) == 0 || slices.ContainsFunc(t.Times, func(r Range) bool { return r.From <= minute && minute < r.To })) &&
		(len(t.DaysOfMonth) == 0 || slices.ContainsFunc(t.DaysOfMonth, func(r Range) bool { return r.ofMonth(year, month).holds(day) }))
}

// ofMonth counts from the beginning what is counted from the end of that month.
func (r Range) ofMonth(year int, month time.Month) Range {
	// The calendar knows how many days there are. Hours between two midnights do not: where clocks are changed they are no
	// multiple of 24.
	days := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
	if r.From < 0 {
		r.From += days + 1
	}
	if r.To < 0 {
		r.To += days + 1
	}
	return r
}

// Validate refuses with ErrInvalid ranges that are beyond what there is, or that end before they begin.
func (t TimeInterval) Validate() error {
	for _, list := range []struct {
		field       string
		ranges      []Range
		least, most int
	}{
		{"times", t.Times, 0, 24 * 60}, {"weekdays", t.Weekdays, 0, 6}, {"days_of_month", t.DaysOfMonth, -31, 31},
		{"months", t.Months, 1, 12}, {"years", t.Years, 0, 9999},
	} {
		if len(list.ranges) > 100 {
			return invalid(list.field, strconv.Itoa(len(list.ranges)), "at most 100 ranges")
		}
		for i, r := range list.ranges {
			field, value := list.field+"["+strconv.Itoa(i)+"]", strconv.Itoa(r.From)+":"+strconv.Itoa(r.To)
			from, to := r.From, r.To
			if list.field == "days_of_month" {
				switch {
				case from == 0 || to == 0:
					return invalid(field, value, "1 to 31, or -1 to -31 from the end")
				case from < 0 && to > 0:
					return invalid(field, value, "an end that is counted from the end as the beginning is")
				}
				// What ends before it begins in the shortest month may be right in another; in the longest it never is.
				if shifted := (Range{from, to}).ofMonth(2026, time.January); from < -31 || to < -31 || shifted.From > shifted.To {
					return invalid(field, value, "a range of days that ends no earlier than it begins")
				}
			}
			if from < list.least || to > list.most || list.field != "days_of_month" && from > to || list.field == "times" && from == to {
				return invalid(field, value, "a range within "+strconv.Itoa(list.least)+" and "+strconv.Itoa(list.most)+" that ends after it begins")
			}
		}
	}
	return nil
}

// names are the words for numbers, the first of which stands for least.
type names struct {
	words []string
	least int
}

func weekdays() names {
	return names{words: []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}}
}

func months() names {
	return names{words: []string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}, least: 1}
}

// read reads one number: a word, or digits where there are no words for all.
func (n names) read(s string) (int, bool) {
	if i := slices.Index(n.words, strings.ToLower(s)); i >= 0 {
		return i + n.least, true
	}
	if len(n.words) == 7 { // 0 or 1 could be Sunday or Monday
		return 0, false
	}
	i, err := strconv.Atoi(s)
	return i, err == nil
}

// write writes what read reads.
func (n names) write(r Range) string {
	one := func(i int) string {
		if at := i - n.least; 0 <= at && at < len(n.words) {
			return n.words[at]
		}
		return strconv.Itoa(i)
	}
	if r.From == r.To {
		return one(r.From)
	}
	return one(r.From) + ":" + one(r.To)
}

// clock reads hh:mm as minutes of the day.
func clock(s string) (int, bool) {
	if len(s) != 5 || s[2] != ':' {
		return 0, false
	}
	digits := s[:2] + s[3:]
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
	}
	hours, minutes := int(digits[0]-'0')*10+int(digits[1]-'0'), int(digits[2]-'0')*10+int(digits[3]-'0')
	return hours*60 + minutes, minutes < 60 && hours*60+minutes <= 24*60
}

type intervalJSON struct {
	Times       []clockJSON `json:"times,omitempty"`
	Weekdays    []string    `json:"weekdays,omitempty"`
	DaysOfMonth []string    `json:"days_of_month,omitempty"`
	Months      []string    `json:"months,omitempty"`
	Years       []string    `json:"years,omitempty"`
	Location    string      `json:"location,omitempty"`
}

type clockJSON struct {
	Start string `json:"start_time"`
	End   string `json:"end_time"`
}

// MarshalJSON writes the interval as above.
func (t TimeInterval) MarshalJSON() ([]byte, error) {
	var j intervalJSON
	for _, r := range t.Times {
		write := func(m int) string { return time.Date(1, 1, 1, 0, m, 0, 0, time.UTC).Format("15:04") }
		end := write(r.To)
		if r.To == 24*60 {
			end = "24:00"
		}
		j.Times = append(j.Times, clockJSON{write(r.From), end})
	}
	write := func(ranges []Range, n names) (all []string) {
		for _, r := range ranges {
			all = append(all, n.write(r))
		}
		return all
	}
	j.Weekdays, j.Months = write(t.Weekdays, weekdays()), write(t.Months, months())
	j.DaysOfMonth, j.Years = write(t.DaysOfMonth, names{}), write(t.Years, names{})
	if t.Location != nil {
		j.Location = t.Location.String()
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON writes, and refuses what Validate refuses and locations that the time zone
// database does not have.
func (t *TimeInterval) UnmarshalJSON(b []byte) error {
	var j intervalJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return &Error{Kind: ErrInvalid, Field: "time_interval", Want: "an object with times, weekdays, days_of_month, months, years and location", Cause: err}
	}
	var read TimeInterval
	for i, c := range j.Times {
		from, ok := clock(c.Start)
		to, also := clock(c.End)
		if !ok || !also {
			return invalid("times["+strconv.Itoa(i)+"]", c.Start+" "+c.End, "start_time and end_time as hh:mm, at most 24:00")
		}
		read.Times = append(read.Times, Range{from, to})
	}
	for _, list := range []struct {
		field string
		texts []string
		to    *[]Range
		names names
	}{
		{"weekdays", j.Weekdays, &read.Weekdays, weekdays()}, {"days_of_month", j.DaysOfMonth, &read.DaysOfMonth, names{}},
		{"months", j.Months, &read.Months, months()}, {"years", j.Years, &read.Years, names{}},
	} {
		for i, text := range list.texts {
			first, last, two := strings.Cut(text, ":")
			if !two {
				last = first
			}
			from, ok := list.names.read(first)
			to, also := list.names.read(last)
			if !ok || !also {
				return invalid(list.field+"["+strconv.Itoa(i)+"]", text, "one, or from:to")
			}
			*list.to = append(*list.to, Range{from, to})
		}
	}
	if j.Location != "" {
		location, err := time.LoadLocation(j.Location)
		if err != nil {
			return &Error{Kind: ErrInvalid, Field: "location", Value: j.Location, Want: "a name of the time zone database", Cause: err}
		}
		read.Location = location
	}
	if err := read.Validate(); err != nil {
		return err
	}
	*t = read
	return nil
}
