package alert

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// Dispatcher decides what is told to whom and when. It is configuration only; what it remembers is in State. Its methods are
// pure: the same State, alerts and moment give the same answer, whoever asks.
type Dispatcher struct {
	// Route returns the targets of an alert with these labels. It is required, and always gives the same for the same labels.
	Route func(Labels) []Target

	// Quiet returns why an alert with these labels is not to be told, empty if it is: the thing is suspended, or its host is
	// being drained. Nil is never.
	Quiet func(Labels) string

	Inhibit []InhibitRule // what is not told while something else fires
	Ledger  string        // goes into the keys of notifications, so that two ledgers do not give the same
}

// Plan is what is to be done now.
type Plan struct {
	Events []Event   // to be applied to the State, in their order, after which one plans again
	Next   time.Time // when to plan again if nothing changes before; zero is never
}

// Plan decides what is due. Alerts are all that fire or are pending, and those that are resolved while State.Announced says so;
// one that is not among them is gone, so whoever has just started plans only once all are there. Last is the moment for
// which this daemon planned before, all of whose events were applied, or zero: flushes that were due before it have been
// judged. Now does not run back.
//
// Whoever takes alerts from others bounds their number: a group of more than ten thousand makes an event that is too large for
// a ledger.
//
// A flush is judged by what was true at the moment when it was due. So it does not matter how often Plan is called, nor, as
// long as it is less than a group's interval, how late.
func (d Dispatcher) Plan(s *State, alerts []Alert, last, now time.Time) Plan {
	p := d.planning(s, alerts)
	p.last, p.now, p.planned = last, now, make(map[Stream]bool)
	for _, group := range d.Groups(alerts) {
		p.open(group)
		for _, r := range group.Target.Receivers {
			p.group(group, r)
		}
		for i, step := range group.Target.Escalation {
			for _, r := range step.Receivers {
				p.step(group, r, i+1, step.After)
			}
		}
	}
	for _, stream := range s.Streams() {
		if !p.planned[stream] { // its alerts are gone, or it is configured no more
			p.Events = append(p.Events, Event{GroupClosed, stream})
		}
	}
	p.acknowledgements(alerts)
	return p.Plan
}

// planning is a Plan that is being made.
type planning struct {
	Dispatcher
	Plan
	state      *State
	silences   []Silence
	inhibitor  inhibitor
	last, now  time.Time
	planned    map[Stream]bool
	generation int64 // of the last notification
}

func (d Dispatcher) planning(s *State, alerts []Alert) *planning {
	return &planning{Dispatcher: d, state: s, silences: s.Silences(), inhibitor: newInhibitor(d.Inhibit, alerts), generation: s.generation}
}

// wake makes the plan be made again at a moment.
func (p *planning) wake(at time.Time) {
	if p.Next.IsZero() || at.Before(p.Next) {
		p.Next = at
	}
}

// latest returns the last of the moments from, from + interval, ... that has come, and false if none has. It wakes at the next.
func (p *planning) latest(from time.Time, interval time.Duration) (time.Time, bool) {
	if p.now.Before(from) {
		p.wake(from)
		return time.Time{}, false
	}
	at := from.Add(p.now.Sub(from).Truncate(interval)).UTC()
	p.wake(at.Add(interval))
	return at, true
}

// judged says whether a flush that was due at a moment has been judged already. In the moment of the last plan something more may
// have happened.
func (p *planning) judged(at time.Time) bool {
	return at.Before(p.last) || at.Equal(p.last) && p.now.After(p.last)
}

// open plans that a group is open to those of its receivers to whom it is not, or begins anew.
func (p *planning) open(g Group) {
	first, fires := g.opens(p.now)
	if !fires {
		return
	}
	opening := Opening{Group: g.Key, At: first}
	for _, r := range g.Target.Receivers {
		if known, ok := p.state.told[Stream{Group: g.Key, Receiver: r.Name}]; !ok || p.over(g, known) {
			opening.Receivers = append(opening.Receivers, r.Name)
		}
	}
	if len(opening.Receivers) > 0 {
		p.Events = append(p.Events, Event{GroupOpened, opening})
	}
}

// over says whether nothing fired in a group at its last flush, so that what fires now begins a new one, though an end is still
// to be told.
func (p *planning) over(g Group, known record) bool {
	if p.now.Before(known.from) {
		return false
	}
	last := known.from.Add(p.now.Sub(known.from).Truncate(g.Target.Interval))
	return !slices.ContainsFunc(g.Alerts, func(a Alert) bool {
		_, told := known.firing[a.Labels.Fingerprint()]
		return a.firing(last) || told && a.firing(p.now)
	})
}

// group plans what a receiver of a group is told, escalation aside.
func (p *planning) group(g Group, r Receiver) {
	stream := Stream{Group: g.Key, Receiver: r.Name}
	known, open := p.state.told[stream]
	if !open {
		return
	}
	p.planned[stream] = true
	at, due := p.latest(known.from, g.Target.Interval) // this flush
	if !due || p.judged(at) || at.Equal(known.at) {
		return
	}
	var before time.Time // the flush before, if there was one
	if at.After(known.from) {
		before = at.Add(-g.Target.Interval)
	}
	n := Notification{Stream: stream, Labels: g.Labels, At: at, Last: true}
	settled := 0 // of those that fire: acknowledged, or ended since the flush was due
	for _, a := range g.Alerts {
		firing, print := a.firing(at), a.Labels.Fingerprint()
		if a.known().After(at) {
			// It came after the flush, or fires anew since: then what it was at the flush is known only by what was told.
			n.Last = n.Last && !a.firing(p.now)
			if _, told := known.firing[print]; told && a.firing(p.now) {
				firing = true
			} else {
				continue
			}
		} else if firing {
			n.Last = false
		} else if !known.owed[print] && (before.IsZero() || a.known().After(before) || !a.end().After(before)) {
			continue // it came and went between two flushes, or its end was there to be told before
		}
		causes := p.causes(g.Target, a.Labels, at)
		switch {
		case len(causes) > 0 && firing:
			n.Muted = append(n.Muted, MutedAlert{a.Labels, causes})
		case len(causes) > 0:
			n.Last = n.Last && !known.owed[print]
		case firing:
			n.Firing = append(n.Firing, p.told(a, time.Time{}))
			if _, ok := p.state.Acknowledged(a); ok || !a.firing(p.now) {
				settled++
			}
		default:
			n.Resolved = append(n.Resolved, p.told(a, a.end()))
		}
	}
	n.Reason = known.reason(n, r, g.Target.Repeat, func(t Told) bool { _, ok := known.firing[t.Labels.Fingerprint()]; return !ok })
	if n.Reason == Repeated && settled == len(n.Firing) {
		n.Reason = "" // nobody has to be reminded
	}
	switch {
	case n.Reason != "":
		p.notify(n, r, known.gone(g))
	case n.Last:
		p.Events = append(p.Events, Event{GroupClosed, stream})
	case slices.ContainsFunc(n.Muted, func(m MutedAlert) bool { return !known.muted[m.Labels.Fingerprint()] }):
		n.Reason, n.Firing, n.Resolved = Muted, nil, nil
		n.shorten()
		p.Events = append(p.Events, Event{GroupQuiet, n})
	}
}

// reason says why a notification is to be sent, empty if it is not; isNew says of an alert that fires whether it is new to the
// receiver. The conditions are Alertmanager's.
func (r record) reason(n Notification, to Receiver, repeat time.Duration, isNew func(Told) bool) Reason {
	switch {
	case slices.ContainsFunc(n.Firing, isNew):
		if len(r.firing) == 0 {
			return First
		}
		return NewAlerts
	case len(n.Firing) == 0:
		if len(n.Resolved) == 0 || len(r.firing) == 0 && !slices.ContainsFunc(n.Resolved, func(t Told) bool { return r.owed[t.Labels.Fingerprint()] }) {
			return "" // it was told nothing that could be resolved
		}
		if to.FiringOnly {
			return Unwanted
		}
		return AllResolved
	case !to.FiringOnly && slices.ContainsFunc(n.Resolved, func(t Told) bool { return !r.resolved[t.Labels.Fingerprint()] }):
		return NewResolved
	case n.At.Sub(r.at) >= repeat:
		return Repeated
	}
	return ""
}

// gone returns the alerts whose end is owed and that are not there any more, so that nothing can be told of them.
func (r record) gone(g Group) (gone []Fingerprint) {
	there := make(map[Fingerprint]bool, len(g.Alerts))
	for _, a := range g.Alerts {
		there[a.Labels.Fingerprint()] = true
	}
	for _, f := range slices.Sorted(maps.Keys(r.owed)) {
		if !there[f] {
			gone = append(gone, f)
		}
	}
	return gone
}

// notify adds a notification to the plan.
func (p *planning) notify(n Notification, r Receiver, gone []Fingerprint) {
	n.ResolvedToo = gone
	kind := GroupNotified
	if n.Reason == Unwanted {
		kind = GroupQuiet
	} else {
		p.generation++
		n.Generation = p.generation
		n.Key = n.key(p.Ledger)
	}
	if n.FiringOnly = r.FiringOnly; n.FiringOnly {
		for _, t := range n.Resolved {
			n.ResolvedToo = append(n.ResolvedToo, t.Labels.Fingerprint())
		}
		n.Resolved = nil
	}
	n.shorten()
	p.Events = append(p.Events, Event{kind, n})
}

// told returns an alert as it is told.
func (p *planning) told(a Alert, ends time.Time) Told {
	t := Told{Labels: a.Labels, Annotations: a.Annotations, Value: strconv.FormatFloat(a.Value, 'g', -1, 64), Starts: a.Fired, Ends: ends}
	if ack, ok := p.state.Acknowledged(a); ok {
		t.By = ack.By
	}
	return t
}

// Causes returns what keeps an alert with these labels from being told to a target at a moment, nothing if it is told. Alerts are all
// that there are, among which those that inhibit.
func (d Dispatcher) Causes(s *State, alerts []Alert, target Target, l Labels, at time.Time) []Cause {
	return d.CausesOf(s, alerts)(target, l, at)
}

// CausesOf is Causes for many: what it has to look for among all alerts it looks for once.
func (d Dispatcher) CausesOf(s *State, alerts []Alert) func(target Target, l Labels, at time.Time) []Cause {
	return d.planning(s, alerts).causes
}

func (p *planning) causes(target Target, l Labels, at time.Time) []Cause {
	by := append(p.inhibitor.of(l, at), target.times(at)...)
	for _, silence := range p.silences {
		if silence.Phase(at) == SilenceActive && silence.Matchers.Match(l) {
			by = append(by, Cause{By: BySilence, Name: silence.ID})
		}
	}
	if p.Quiet != nil {
		if why := p.Quiet(l); why != "" {
			by = append(by, Cause{By: ByQuiet, Name: why})
		}
	}
	return by
}
