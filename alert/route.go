package alert

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// The bounds of a Routing.
const (
	MaxRoutes       = 1000 // routes in all
	MaxRouteDepth   = 16   // routes from the root to one that has no more below it, the root not counted
	MaxRouteID      = 4096 // bytes of the ID of a target, which the matchers on the way to it make
	MaxReceivers    = 64   // of a route, and of a step
	MaxReceiverName = 256  // bytes
	MaxTimes        = 100  // sets of moments
)

// GroupByAll alone as GroupBy makes every alert a group of its own.
const GroupByAll = "..."

// Route is a node of a tree that says to whom alerts are told, and when. An alert goes down from the root: of the routes below one
// that matches it, it goes to the first that does, and on to those after it while Continue says so. Where none below matches, it is
// told. What a route leaves out is as its parent has it, except for Match, Mute, Active and Continue.
//
// In JSON, a wait of "0s" is none.
type Route struct {
	Match     Matchers `json:"match,omitempty"`     // all have to match; none match everything
	Receivers []string `json:"receivers,omitempty"` // none: those of the parent
	GroupBy   []string `json:"group_by,omitzero"`   // nil: as the parent; empty: all alerts are one group; GroupByAll alone: each is one

	// As in Target, with 0 for what the parent has, and the root for the defaults.
	Wait     Duration `json:"wait,omitempty"`
	Interval Duration `json:"interval,omitempty"`
	Repeat   Duration `json:"repeat,omitempty"`

	Mute   []string `json:"mute,omitempty"`   // names of Routing.Times: during any of these nothing is told
	Active []string `json:"active,omitempty"` // if there are any, nothing is told except during one of them

	Escalation []EscalationStep `json:"escalation,omitzero"` // nil: as the parent; empty: none

	Continue bool    `json:"continue,omitempty"` // what this matches goes to the routes after it too
	Routes   []Route `json:"routes,omitempty"`
}

// EscalationStep is a Step that names its receivers.
type EscalationStep struct {
	After     Duration `json:"after"`
	Receivers []string `json:"receivers"`
}

// Routing is a tree of routes, and the times that they name. It tells nobody when it is zero. It is not to be changed while it is
// used, and is then safe for concurrent use.
type Routing struct {
	Root  Route   `json:"root"`
	Times []Times `json:"times,omitempty"`
}

// Targets returns the targets of an alert with these labels, at least one if Validate accepts the routing, in the order of the tree.
// Their receivers are FiringOnly if the function says so; nil is never. As Dispatcher.Route wants it, it is always the same for the same
// labels.
//
// The ID of a target is made of the matchers of its route and of those above, and of a number where routes side by side have
// the same. So it is another route's never, and stays when others come and go.
func (r Routing) Targets(l Labels, firingOnly func(receiver string) bool) []Target {
	if !r.Root.Match.Match(l) {
		return nil
	}
	root := r.Root.under(Route{Wait: Duration(DefaultWait), Interval: Duration(DefaultInterval), Repeat: Duration(DefaultRepeat)})
	return r.collect(nil, root, root.Match.String(), l, firingOnly)
}

// collect appends the targets at and below a route that matches.
func (r Routing) collect(targets []Target, route Route, id string, l Labels, firingOnly func(string) bool) []Target {
	before := len(targets)
	for i := range route.Routes {
		child := &route.Routes[i]
		if !child.Match.Match(l) {
			continue
		}
		targets = r.collect(targets, child.under(route), route.id(id, i), l, firingOnly)
		if !child.Continue {
			break
		}
	}
	if len(targets) == before {
		targets = append(targets, r.target(route, id, firingOnly))
	}
	return targets
}

// under returns the route with what it leaves out taken from its parent.
func (r Route) under(parent Route) Route {
	if len(r.Receivers) == 0 {
		r.Receivers = parent.Receivers
	}
	if r.GroupBy == nil {
		r.GroupBy = parent.GroupBy
	}
	if r.Escalation == nil {
		r.Escalation = parent.Escalation
	}
	r.Wait, r.Interval, r.Repeat = cmp.Or(r.Wait, parent.Wait), cmp.Or(r.Interval, parent.Interval), cmp.Or(r.Repeat, parent.Repeat)
	return r
}

// id returns the ID of the i-th route below one that has an ID.
func (r Route) id(above string, i int) string {
	match, same := r.Routes[i].Match, 0
	for _, other := range r.Routes[:i] {
		if slices.EqualFunc(match, other.Match, func(a, b Matcher) bool { return a.name == b.name && a.op == b.op && a.value == b.value }) {
			same++
		}
	}
	above += "/" + match.String()
	if same > 0 {
		above += strconv.Itoa(same)
	}
	return above
}

// target returns what a route is that has all that it needs.
func (r Routing) target(route Route, id string, firingOnly func(string) bool) Target {
	receivers := func(names []string) []Receiver {
		list := make([]Receiver, len(names))
		for i, name := range names {
			list[i] = Receiver{Name: name, FiringOnly: firingOnly != nil && firingOnly(name)}
		}
		return list
	}
	times := func(names []string) (list []Times) {
		for _, times := range r.Times {
			if slices.Contains(names, times.Name) {
				list = append(list, times)
			}
		}
		return list
	}
	t := Target{
		ID: id, Receivers: receivers(route.Receivers), GroupBy: route.GroupBy,
		Wait: time.Duration(route.Wait), Interval: time.Duration(route.Interval), Repeat: time.Duration(route.Repeat),
		Mute: times(route.Mute), Active: times(route.Active),
	}
	if slices.Equal(t.GroupBy, []string{GroupByAll}) {
		t.GroupBy, t.GroupAll = nil, true
	}
	for _, step := range route.Escalation {
		t.Escalation = append(t.Escalation, Step{After: time.Duration(step.After), Receivers: receivers(step.Receivers)})
	}
	return t
}

// Receivers returns the names of all receivers that a route or a step names, sorted.
func (r Routing) Receivers() []string {
	names := make(map[string]bool)
	r.Root.names(names)
	return slices.Sorted(maps.Keys(names))
}

// Labels returns the names of all labels by which a route matches, sorted.
func (r Routing) Labels() []string {
	names := make(map[string]bool)
	r.Root.labels(names)
	return slices.Sorted(maps.Keys(names))
}

func (r Route) labels(to map[string]bool) {
	for _, m := range r.Match {
		to[m.Name()] = true
	}
	for _, child := range r.Routes {
		child.labels(to)
	}
}

func (r Route) names(to map[string]bool) {
	for _, name := range r.Receivers {
		to[name] = true
	}
	for _, step := range r.Escalation {
		for _, name := range step.Receivers {
			to[name] = true
		}
	}
	for _, child := range r.Routes {
		child.names(to)
	}
}

// Validate refuses with ErrInvalid what a routing cannot be, and says where: routing.root.routes[2].match[0].
func (r Routing) Validate() error {
	if len(r.Times) > MaxTimes {
		return invalid("routing.times", strconv.Itoa(len(r.Times)), "at most "+strconv.Itoa(MaxTimes))
	}
	known := make(map[string]bool)
	for i, times := range r.Times {
		path := item("routing.times", i)
		if times.Name == "" || len(times.Name) > MaxReceiverName || !utf8.ValidString(times.Name) || known[times.Name] {
			return invalid(path+".name", times.Name, "a name of at most "+strconv.Itoa(MaxReceiverName)+" bytes of UTF-8 of which there is one")
		}
		known[times.Name] = true
		if len(times.Intervals) == 0 || len(times.Intervals) > MaxTimes {
			return invalid(path+".time_intervals", strconv.Itoa(len(times.Intervals)), "1 to "+strconv.Itoa(MaxTimes))
		}
		for j, interval := range times.Intervals {
			if err := interval.Validate(); err != nil {
				return inside(item(path+".time_intervals", j), err)
			}
		}
	}
	const root, none = "routing.root", "none at the root, where everything begins"
	switch {
	case len(r.Root.Match) > 0:
		return invalid(root+".match", r.Root.Match.String(), none)
	case r.Root.Continue:
		return invalid(root+".continue", "true", none)
	case len(r.Root.Mute) > 0:
		return invalid(root+".mute", r.Root.Mute[0], none)
	case len(r.Root.Active) > 0:
		return invalid(root+".active", r.Root.Active[0], none)
	}
	if n := r.Root.count(MaxRouteDepth); n > MaxRoutes {
		return invalid(root+".routes", strconv.Itoa(n), "at most "+strconv.Itoa(MaxRoutes)+" in all")
	}
	return r.Root.validate(root, r.Root.Match.String(), MaxRouteDepth, known)
}

// count returns how many routes there are, this one among them, down to a depth.
func (r Route) count(depth int) int {
	n := 1
	if depth > 0 {
		for _, child := range r.Routes {
			n += child.count(depth - 1)
		}
	}
	return n
}

// validate refuses what the route at a path of this ID, below which there may be routes to a depth, cannot be.
func (r Route) validate(path, id string, depth int, times map[string]bool) error {
	if len(r.Match) > MaxMatchers {
		return invalid(path+".match", strconv.Itoa(len(r.Match)), "at most "+strconv.Itoa(MaxMatchers)+" matchers")
	}
	for i, m := range r.Match {
		if m.Name() == "" {
			return invalid(item(path+".match", i), "", "a matcher that NewMatcher made")
		}
	}
	if len(id) > MaxRouteID {
		return invalid(path+".match", strconv.Itoa(len(id))+" bytes", "at most "+strconv.Itoa(MaxRouteID)+" bytes of matchers together with those of the routes above")
	}
	if err := validReceivers(path+".receivers", r.Receivers); err != nil {
		return err
	}
	if len(r.GroupBy) > MaxLabels {
		return invalid(path+".group_by", strconv.Itoa(len(r.GroupBy)), "at most "+strconv.Itoa(MaxLabels)+" labels")
	}
	for i, name := range r.GroupBy {
		if name == "" || len(name) > MaxLabelName || !utf8.ValidString(name) || slices.Contains(r.GroupBy[:i], name) || name == GroupByAll && len(r.GroupBy) > 1 {
			return invalid(item(path+".group_by", i), name, "a label of which there is one, or "+GroupByAll+" alone")
		}
	}
	for _, d := range []struct {
		field string
		is    Duration
		least time.Duration
	}{{"wait", max(r.Wait, 0), 0}, {"interval", r.Interval, time.Millisecond}, {"repeat", r.Repeat, time.Millisecond}} {
		if is := time.Duration(d.is); is != 0 && (is < d.least || is > MaxSpan || is%time.Millisecond != 0) {
			return invalid(path+"."+d.field, is.String(), "whole milliseconds, at most "+Duration(MaxSpan).String())
		}
	}
	for i, name := range slices.Concat(r.Mute, r.Active) {
		if times[name] {
			continue
		}
		if i < len(r.Mute) {
			return invalid(item(path+".mute", i), name, "one of routing.times")
		}
		return invalid(item(path+".active", i-len(r.Mute)), name, "one of routing.times")
	}
	if len(r.Escalation) > MaxSteps {
		return invalid(path+".escalation", strconv.Itoa(len(r.Escalation)), "at most "+strconv.Itoa(MaxSteps)+" steps")
	}
	for i, step := range r.Escalation {
		path := item(path+".escalation", i)
		if after := time.Duration(step.After); after <= 0 || after > MaxSpan || after%time.Millisecond != 0 || i > 0 && step.After < r.Escalation[i-1].After {
			return invalid(path+".after", after.String(), "whole milliseconds, at most "+Duration(MaxSpan).String()+" and no less than at the step before")
		}
		if len(step.Receivers) == 0 {
			return invalid(path+".receivers", "", "at least one")
		}
		if err := validReceivers(path+".receivers", step.Receivers); err != nil {
			return err
		}
	}
	if depth == 0 && len(r.Routes) > 0 {
		return invalid(path+".routes", strconv.Itoa(len(r.Routes)), "no more routes below "+strconv.Itoa(MaxRouteDepth)+" others")
	}
	for i, child := range r.Routes {
		if err := child.validate(item(path+".routes", i), r.id(id, i), depth-1, times); err != nil {
			return err
		}
	}
	return nil
}

func validReceivers(path string, names []string) error {
	if len(names) > MaxReceivers {
		return invalid(path, strconv.Itoa(len(names)), "at most "+strconv.Itoa(MaxReceivers))
	}
	for i, name := range names {
		if name == "" || len(name) > MaxReceiverName || !utf8.ValidString(name) || slices.Contains(names[:i], name) {
			return invalid(item(path, i), name, "a name of at most "+strconv.Itoa(MaxReceiverName)+" bytes of UTF-8 of which there is one")
		}
	}
	return nil
}

func item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// inside says where something is that is invalid.
func inside(path string, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	where := *e
	where.Field = path + "." + e.Field
	return &where
}

// routeJSON is a Route whose wait is left out where it is the parent's, and "0s" where it is none.
type routeJSON struct {
	routeFields
	Wait *Duration `json:"wait,omitempty"`
}

type routeFields Route

// MarshalJSON writes the route.
func (r Route) MarshalJSON() ([]byte, error) {
	j := routeJSON{routeFields: routeFields(r)}
	if r.Wait != 0 {
		wait := max(r.Wait, 0)
		j.Wait = &wait
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON writes. It refuses fields that there are not: who misspells one would tell the wrong people.
func (r *Route) UnmarshalJSON(b []byte) error {
	var j routeJSON
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); err != nil {
		if errors.Is(err, ErrInvalid) {
			return err
		}
		return &Error{Kind: ErrInvalid, Field: "route", Want: "an object with the fields of a route", Cause: err}
	}
	if j.Wait != nil {
		if j.routeFields.Wait = *j.Wait; *j.Wait == 0 {
			j.routeFields.Wait = -1
		}
	}
	*r = Route(j.routeFields)
	return nil
}
