package alert

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// The times that a Target has by default, which are Alertmanager's.
const (
	DefaultWait     = 30 * time.Second
	DefaultInterval = 5 * time.Minute
	DefaultRepeat   = 4 * time.Hour
)

// MaxSteps is the greatest number of steps of an escalation; further ones are left out.
const MaxSteps = 10

// Receiver is somebody, or something, that is told.
type Receiver struct {
	Name       string // unique
	FiringOnly bool   // it does not want to know what is resolved
}

// Step is one step of an escalation: who else is told of an alert that nobody has acknowledged.
type Step struct {
	After     time.Duration // since the alert was first told
	Receivers []Receiver
}

// Target is to whom, and when, alerts of one kind are told. Alerts with the same target are told together, as one group for each
// combination of values of the labels GroupBy.
type Target struct {
	ID        string // unique; it begins the names of groups
	Receivers []Receiver
	GroupBy   []string // none: all alerts of this target are one group
	GroupAll  bool     // every alert is a group of its own

	// Zero is the default. A negative Wait is none.
	Wait     time.Duration // from the first alert of a group until it is told, so that more can come
	Interval time.Duration // between two looks at a group that has been told
	Repeat   time.Duration // after which a group is told again of which there is nothing new

	Mute   []Times // during any of these nothing is told
	Active []Times // if there are any, nothing is told except during one of them

	Escalation []Step
}

// normal returns the target with its defaults.
func (t Target) normal() Target {
	if t.Wait == 0 {
		t.Wait = DefaultWait
	}
	t.Wait = max(t.Wait, 0)
	if t.Interval <= 0 {
		t.Interval = DefaultInterval
	}
	if t.Repeat <= 0 {
		t.Repeat = DefaultRepeat
	}
	if len(t.Escalation) > MaxSteps {
		t.Escalation = t.Escalation[:MaxSteps]
	}
	return t
}

// Validate refuses with ErrInvalid what a target cannot be.
func (t Target) Validate() error {
	if t.ID == "" {
		return invalid("target.id", "", "a name")
	}
	if len(t.Escalation) > MaxSteps {
		return invalid("target.escalation", strconv.Itoa(len(t.Escalation)), "at most "+strconv.Itoa(MaxSteps)+" steps")
	}
	lists := [][]Receiver{t.Receivers}
	for i, step := range t.Escalation {
		if step.After <= 0 || i > 0 && step.After < t.Escalation[i-1].After {
			return invalid("target.escalation["+strconv.Itoa(i)+"].after", step.After.String(), "a time that is not shorter than that of the step before")
		}
		lists = append(lists, step.Receivers)
	}
	for _, receivers := range lists {
		for i, r := range receivers {
			if r.Name == "" || slices.ContainsFunc(receivers[:i], func(other Receiver) bool { return other.Name == r.Name }) {
				return invalid("target.receivers", r.Name, "a name of which there is one")
			}
		}
	}
	for _, times := range slices.Concat(t.Mute, t.Active) {
		for _, interval := range times.Intervals {
			if err := interval.Validate(); err != nil {
				return err
			}
		}
	}
	return nil
}

// times returns what keeps every alert of the target from being told at a moment.
func (t Target) times(at time.Time) (by []Cause) {
	for _, times := range t.Mute {
		if times.Holds(at) {
			by = append(by, Cause{By: ByMuteTime, Name: times.Name})
		}
	}
	if len(t.Active) > 0 && !slices.ContainsFunc(t.Active, func(times Times) bool { return times.Holds(at) }) {
		for _, times := range t.Active {
			by = append(by, Cause{By: ByActiveTime, Name: times.Name})
		}
	}
	return by
}

// Group is the alerts that are told together.
type Group struct {
	Key    string // the target's ID and the labels
	Labels Labels // that the alerts have in common by the target's GroupBy
	Target Target
	Alerts []Alert // by their labels; also those that are resolved and still remembered
}

// Groups returns the groups of the alerts that are not pending, by their keys. An alert that goes to several targets is in a
// group of each.
func (d Dispatcher) Groups(alerts []Alert) []Group {
	byKey := make(map[string]*Group)
	for _, a := range alerts {
		if a.Phase == Pending {
			continue
		}
		for _, target := range d.Route(a.Labels) {
			common := a.Labels
			if !target.GroupAll {
				common = a.Labels.Only(target.GroupBy...)
			}
			key := target.ID + ":" + common.String()
			group := byKey[key]
			if group == nil {
				group = &Group{Key: key, Labels: common, Target: target.normal()}
				byKey[key] = group
			}
			group.Alerts = append(group.Alerts, a)
		}
	}
	groups := make([]Group, 0, len(byKey))
	for _, group := range byKey {
		slices.SortFunc(group.Alerts, func(a, b Alert) int { return a.Labels.Compare(b.Labels) })
		group.Alerts = slices.CompactFunc(group.Alerts, func(a, b Alert) bool { return a.Labels == b.Labels })
		groups = append(groups, *group)
	}
	slices.SortFunc(groups, func(a, b Group) int { return strings.Compare(a.Key, b.Key) })
	return groups
}

// opens returns the moment of the first flush of a group that is not open, and false if nothing in it fires: Wait after the
// first alert is known, or at once if that has passed or if the alert was older than Wait when it was given to us.
func (g Group) opens(now time.Time) (first time.Time, ok bool) {
	for _, a := range g.Alerts {
		if !a.firing(now) {
			continue
		}
		at := a.known().Add(g.Target.Wait)
		if a.Fired.Add(g.Target.Wait).Before(a.known()) || at.Before(now) {
			at = now
		}
		if !ok || at.Before(first) {
			first, ok = at, true
		}
	}
	return first.UTC(), ok
}
