package alert

import (
	"maps"
	"strconv"
	"time"
)

// ResolveTimeout is after which time an alert is taken for resolved that was given without an end and not given again.
const ResolveTimeout = 5 * time.Minute

// Given is an alert of somebody else's rules, as Alertmanager's API takes it.
type Given struct {
	Labels      Labels
	Annotations map[string]string
	Starts      time.Time // zero: now, or when it ends
	Ends        time.Time // zero: when it has not been given for a while; in the future: then, unless it is given again
}

// Receive returns the alert that comes of one that is given now, and of what was last known of an alert with these
// labels, the zero Alert if nothing. It fails with ErrInvalid, and then nothing changes.
//
// Two spans of time that overlap are one alert, which began with the earlier. Of ends that are past the latest counts, and
// so it does of ends to come, where one that somebody said goes before one that only comes of hearing nothing (timeout).
// Otherwise what was given last counts.
func Receive(known Alert, given Given, now time.Time, timeout time.Duration) (Alert, error) {
	if given.Labels == (Labels{}) {
		return Alert{}, invalid("alert.labels", "", "at least one label")
	}
	size := 0
	for name, text := range given.Annotations {
		size += len(name) + len(text)
	}
	if size > MaxLabelsBytes {
		return Alert{}, invalid("alert.annotations", strconv.Itoa(size)+" bytes", "at most "+strconv.Itoa(MaxLabelsBytes)+" bytes")
	}
	if timeout <= 0 {
		timeout = ResolveTimeout
	}
	if given.Starts.IsZero() {
		if given.Starts = given.Ends; given.Starts.IsZero() {
			given.Starts = now
		}
	}
	if !given.Ends.IsZero() && given.Ends.Before(given.Starts) {
		return Alert{}, invalid("alert.ends", given.Ends.Format(time.RFC3339), "an end that is not before the start")
	}
	a := Alert{
		Labels: given.Labels, Annotations: maps.Clone(given.Annotations), Phase: Firing,
		Active: given.Starts, Fired: given.Starts, Ended: given.Ends, Updated: now, Received: now,
	}
	if a.Ended.IsZero() {
		a.Expires = now.Add(timeout)
	}
	if !known.Received.IsZero() {
		if known.firing(now) || !a.firing(now) { // else it fires anew
			a.Received = known.Received
		}
		if end, old := a.end(), known.end(); end.After(known.Active) && end.Before(old) || a.Active.After(known.Active) && a.Active.Before(old) {
			if known.Active.Before(a.Active) {
				a.Active, a.Fired = known.Active, known.Fired
			}
			said := !known.Ended.IsZero()
			if ahead := a.firing(now); old.After(end) && (ahead && said || !ahead && !known.firing(now)) {
				a.Ended, a.Expires = known.Ended, known.Expires
			}
		}
	}
	if !a.firing(now) {
		a.Phase = Resolved
	}
	return a, nil
}

// known returns since when this alert is there for us; of one that was given that may be long after it fired.
func (a Alert) known() time.Time {
	switch {
	case !a.Received.IsZero():
		return a.Received
	case !a.Fired.IsZero():
		return a.Fired
	}
	return a.Active
}

// end returns when the alert ends as far as is known.
func (a Alert) end() time.Time {
	switch {
	case !a.Ended.IsZero():
		return a.Ended
	case !a.Expires.IsZero():
		return a.Expires
	}
	return noEnd()
}

// noEnd is after every moment that there is.
func noEnd() time.Time { return time.Unix(1<<60, 0) }

// firing says whether the alert is there and has not ended at a moment.
func (a Alert) firing(at time.Time) bool {
	return a.Phase != Pending && !a.known().After(at) && a.end().After(at)
}
