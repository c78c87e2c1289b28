package alert

import (
	"slices"
	"time"
)

// step plans what a receiver of a step of escalation is told of a group: the alerts that have been told for long enough and that
// nobody has acknowledged, and how they end.
func (p *planning) step(g Group, r Receiver, step int, after time.Duration) {
	stream := Stream{Group: g.Key, Receiver: r.Name, Step: step}
	known := p.state.told[stream]
	p.planned[stream] = true

	// A flush is due when an alert has been waited for, and every interval after one; there is an interval between any two.
	var at time.Time
	consider := func(from time.Time) {
		if moment, ok := p.latest(from, g.Target.Interval); ok && moment.After(at) {
			at = moment
		}
	}
	if !known.from.IsZero() {
		consider(known.from.Add(g.Target.Interval))
	}
	waited := make(map[Labels]time.Time) // for an acknowledgement: since when
	for _, a := range g.Alerts {
		told, ok := p.first(g, a)
		if !ok || !a.firing(p.now) {
			continue
		}
		if from, ok := p.state.escalates(a, told); ok {
			waited[a.Labels] = from
			if last, ok := known.firing[a.Labels.Fingerprint()]; !ok || last.Before(from) {
				moment := from.Add(after)
				if soonest := known.from.Add(g.Target.Interval); !known.from.IsZero() && moment.Before(soonest) {
					moment = soonest
				}
				consider(moment)
			}
		}
	}
	if at.IsZero() || p.judged(at) {
		return
	}

	n := Notification{Stream: stream, Labels: g.Labels, At: at, Last: true}
	for _, a := range g.Alerts {
		n.Last = n.Last && !a.firing(at) && !a.firing(p.now)
		if a.known().After(at) {
			continue
		}
		firing := a.firing(at)
		from, waits := waited[a.Labels]
		muted := len(p.causes(g.Target, a.Labels, at)) > 0
		switch {
		case firing:
			if waits && !muted && !at.Before(from.Add(after)) {
				n.Firing = append(n.Firing, p.told(a, time.Time{}))
			}
		case !known.owed[a.Labels.Fingerprint()]: // it was not told, or its end was
		case muted:
			n.Last = false
		default:
			n.Resolved = append(n.Resolved, p.told(a, a.end()))
		}
	}
	n.Reason = known.reason(n, r, g.Target.Repeat, func(t Told) bool {
		last, ok := known.firing[t.Labels.Fingerprint()]
		return !ok || last.Before(waited[t.Labels])
	})
	switch {
	case n.Reason != "":
		p.notify(n, r, known.gone(g))
	case n.Last && !known.from.IsZero():
		p.Events = append(p.Events, Event{GroupClosed, stream})
	}
}

// first returns when an alert was first told to one of the receivers that a group is told to at first.
func (p *planning) first(g Group, a Alert) (first time.Time, ok bool) {
	print := a.Labels.Fingerprint()
	for _, r := range g.Target.Receivers {
		if told, is := p.state.told[Stream{Group: g.Key, Receiver: r.Name}].firing[print]; is && (!ok || told.Before(first)) {
			first, ok = told, true
		}
	}
	return first, ok
}

// acknowledgements ends those whose alert has ended or fired anew.
func (p *planning) acknowledgements(alerts []Alert) {
	if len(p.state.acks) == 0 {
		return
	}
	goes := make(map[Labels]bool) // on
	for _, a := range alerts {
		if ack, ok := p.state.acks[a.Labels]; ok && a.firing(p.now) && ack.Since.Equal(a.known()) {
			goes[a.Labels] = true
		}
	}
	var ended []Acknowledgement
	for labels, ack := range p.state.acks {
		if !goes[labels] {
			ended = append(ended, ack)
		}
	}
	slices.SortFunc(ended, Acknowledgement.compare)
	for _, ack := range ended {
		p.Events = append(p.Events, Event{AcknowledgementEnded, ack})
	}
}
