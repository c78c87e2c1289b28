package alert_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/stretchr/testify/require"
)

func matching(t testing.TB, s string) alert.Matchers {
	t.Helper()
	ms, err := alert.ParseMatchers(s, alert.EitherSyntax)
	require.NoError(t, err)
	return ms
}

// company is a routing with something of everything.
const company = `{
  "root": {
    "receivers": ["ops"], "group_by": ["alertname"], "wait": "10s", "escalation": [{"after": "15m", "receivers": ["phone"]}],
    "routes": [
      {"match": [{"name": "severity", "op": "=", "value": "low"}], "receivers": ["mail"], "repeat": "1d", "escalation": [], "active": ["office"]},
      {"match": [{"name": "project", "op": "=~", "value": "web|shop"}], "continue": true, "receivers": ["web", "chat"], "group_by": ["..."],
       "routes": [{"match": [{"name": "severity", "op": "=", "value": "critical"}], "wait": "0s", "interval": "1m"}]},
      {"match": [{"name": "project", "op": "=", "value": "shop"}], "group_by": [], "mute": ["night"]},
      {"match": [{"name": "project", "op": "=", "value": "shop"}]}
    ]
  },
  "times": [
    {"name": "office", "time_intervals": [{"times": [{"start_time": "09:00", "end_time": "17:00"}], "weekdays": ["monday:friday"]}]},
    {"name": "night", "time_intervals": [{"times": [{"start_time": "00:00", "end_time": "06:00"}]}]}
  ]
}`

func routing(t testing.TB, s string) alert.Routing {
	t.Helper()
	var r alert.Routing
	require.NoError(t, json.Unmarshal([]byte(s), &r))
	return r
}

func TestTargets(t *testing.T) {
	t.Parallel()
	r := routing(t, company)
	require.NoError(t, r.Validate())
	to := func(names ...string) (list []alert.Receiver) {
		for _, name := range names {
			list = append(list, alert.Receiver{Name: name, FiringOnly: name == "phone"})
		}
		return list
	}
	phone := []alert.Step{{After: 15 * time.Minute, Receivers: to("phone")}}
	ops := alert.Target{ID: "{}", Receivers: to("ops"), GroupBy: []string{"alertname"}, Wait: 10 * time.Second, Interval: 5 * time.Minute, Repeat: 4 * time.Hour, Escalation: phone}
	with := func(change func(t *alert.Target)) alert.Target { c := ops; change(&c); return c }
	low := with(func(c *alert.Target) {
		c.ID, c.Receivers, c.Repeat, c.Escalation, c.Active = `{}/{severity="low"}`, to("mail"), 24*time.Hour, nil, r.Times[:1]
	})
	web := with(func(c *alert.Target) {
		c.ID, c.Receivers, c.GroupBy, c.GroupAll = `{}/{project=~"web|shop"}`, to("web", "chat"), nil, true
	})
	critical := with(func(c *alert.Target) {
		*c = web
		c.ID += `/{severity="critical"}`
		c.Wait, c.Interval = -1, time.Minute
	})
	shop := with(func(c *alert.Target) { c.ID, c.GroupBy, c.Mute = `{}/{project="shop"}`, []string{}, r.Times[1:] })
	for _, c := range []struct {
		name   string
		labels []string
		want   []alert.Target
	}{
		{"what no route matches stays at the root", nil, []alert.Target{ops}},
		{"the first that matches is the last", []string{"severity", "low", "project", "web"}, []alert.Target{low}},
		{"it goes on where the route says so, and nothing after it matches", []string{"project", "web"}, []alert.Target{web}},
		{"the deepest that matches", []string{"project", "web", "severity", "critical"}, []alert.Target{critical}},
		{"it goes on, and to the first of those after it", []string{"project", "shop"}, []alert.Target{web, shop}},
	} {
		got := r.Targets(labels(t, c.labels...), func(name string) bool { return name == "phone" })
		require.Equal(t, c.want, got, c.name)
		for _, target := range got {
			require.NoError(t, target.Validate(), c.name)
		}
	}
	require.Equal(t, []string{"chat", "mail", "ops", "phone", "web"}, r.Receivers())
	require.Equal(t, []string{"project", "severity"}, r.Labels())

	require.False(t, r.Targets(alert.Labels{}, nil)[0].Escalation[0].Receivers[0].FiringOnly)
	r.Root.Routes[2].Continue = true
	targets := r.Targets(labels(t, "project", "shop"), nil)
	require.Equal(t, `{}/{project="shop"}1`, targets[2].ID, "the same matchers, another route")
	r.Root.Routes = r.Root.Routes[1:]
	require.Equal(t, targets, r.Targets(labels(t, "project", "shop"), nil), "a route went that had nothing to do with it")
}

func TestRoutingTellsNobodyWhenZero(t *testing.T) {
	t.Parallel()
	var r alert.Routing
	require.NoError(t, r.Validate())
	require.Empty(t, r.Receivers())
	require.Empty(t, r.Labels())
	targets := r.Targets(labels(t, "host", "h1"), nil)
	require.Len(t, targets, 1)
	require.Empty(t, targets[0].Receivers)
	require.Empty(t, routing(t, `{"root": {"match": [{"name": "a", "value": "b"}]}}`).Targets(alert.Labels{}, nil), "nor does what is not valid tell what it does not match")
}

func TestRoutingJSON(t *testing.T) {
	t.Parallel()
	r := routing(t, company)
	b, err := json.Marshal(r)
	require.NoError(t, err)
	require.JSONEq(t, company, string(b))
	require.Equal(t, r, routing(t, string(b)))
	b, err = json.Marshal(alert.Routing{})
	require.NoError(t, err)
	require.JSONEq(t, `{"root": {}}`, string(b))

	for _, c := range [][2]string{
		{`{"root": {"routes": [{"reciever": ["ops"]}]}}`, "route"},
		{`{"root": {"receivers": "ops"}}`, "route"},
		{`{"root": {"routes": [{"match": [{"name": "a", "op": "~", "value": "b"}]}]}}`, "matcher.op"},
		{`{"root": {"wait": "soon"}}`, "duration"},
	} {
		var read alert.Routing
		err := json.Unmarshal([]byte(c[0]), &read)
		require.ErrorIs(t, err, alert.ErrInvalid, c)
		var e *alert.Error
		require.ErrorAs(t, err, &e, c)
		require.Equal(t, c[1], e.Field, c)
	}
}

func TestRoutingIsRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", alert.MaxReceiverName+1)
	deep := func(n int) (r alert.Route) {
		for range n {
			r = alert.Route{Routes: []alert.Route{r}}
		}
		return r
	}
	matchers := matching(t, `a=b`)
	interval := []alert.TimeInterval{{}}
	for _, c := range []struct {
		field string // of the error, below routing
		root  alert.Route
		times []alert.Times
	}{
		{"root.match", alert.Route{Match: matchers}, nil},
		{"root.continue", alert.Route{Continue: true}, nil},
		{"root.mute", alert.Route{Mute: []string{"night"}}, []alert.Times{{Name: "night", Intervals: interval}}},
		{"root.active", alert.Route{Active: []string{"night"}}, []alert.Times{{Name: "night", Intervals: interval}}},
		{"root.routes", alert.Route{Routes: make([]alert.Route, alert.MaxRoutes)}, nil},
		{"root" + strings.Repeat(".routes[0]", alert.MaxRouteDepth) + ".routes", deep(alert.MaxRouteDepth + 1), nil},
		{"root.routes[1].match", alert.Route{Routes: []alert.Route{{}, {Match: slices.Repeat(matchers, alert.MaxMatchers+1)}}}, nil},
		{"root.routes[0].match[1]", alert.Route{Routes: []alert.Route{{Match: alert.Matchers{matchers[0], {}}}}}, nil},
		{"root.routes[0].routes[0].match", alert.Route{Routes: []alert.Route{{
			Match: matching(t, "a="+strings.Repeat("x", 2500)), Routes: []alert.Route{{Match: matching(t, "b="+strings.Repeat("x", 2500))}},
		}}}, nil},
		{"root.receivers[1]", alert.Route{Receivers: []string{"ops", "ops"}}, nil},
		{"root.receivers[0]", alert.Route{Receivers: []string{""}}, nil},
		{"root.receivers[0]", alert.Route{Receivers: []string{long}}, nil},
		{"root.receivers[0]", alert.Route{Receivers: []string{"\xff"}}, nil},
		{"root.receivers", alert.Route{Receivers: make([]string, alert.MaxReceivers+1)}, nil},
		{"root.group_by[1]", alert.Route{GroupBy: []string{"a", "..."}}, nil},
		{"root.group_by[0]", alert.Route{GroupBy: []string{"...", "a"}}, nil},
		{"root.group_by[1]", alert.Route{GroupBy: []string{"a", "a"}}, nil},
		{"root.group_by[0]", alert.Route{GroupBy: []string{""}}, nil},
		{"root.group_by", alert.Route{GroupBy: make([]string, alert.MaxLabels+1)}, nil},
		{"root.wait", alert.Route{Wait: alert.Duration(alert.MaxSpan + time.Millisecond)}, nil},
		{"root.wait", alert.Route{Wait: 1}, nil},
		{"root.interval", alert.Route{Interval: -1}, nil},
		{"root.repeat", alert.Route{Repeat: alert.Duration(time.Millisecond + 1)}, nil},
		{"root.routes[0].mute[0]", alert.Route{Routes: []alert.Route{{Mute: []string{"night"}}}}, nil},
		{"root.routes[0].active[1]", alert.Route{Routes: []alert.Route{{Mute: []string{"night"}, Active: []string{"night", "day"}}}}, []alert.Times{{Name: "night", Intervals: interval}}},
		{"root.escalation", alert.Route{Escalation: make([]alert.EscalationStep, alert.MaxSteps+1)}, nil},
		{"root.escalation[0].after", alert.Route{Escalation: []alert.EscalationStep{{Receivers: []string{"phone"}}}}, nil},
		{"root.escalation[1].after", alert.Route{Escalation: []alert.EscalationStep{
			{After: alert.Duration(time.Hour), Receivers: []string{"phone"}}, {After: alert.Duration(time.Minute), Receivers: []string{"phone"}},
		}}, nil},
		{"root.escalation[0].receivers", alert.Route{Escalation: []alert.EscalationStep{{After: alert.Duration(time.Hour)}}}, nil},
		{"root.escalation[0].receivers[0]", alert.Route{Escalation: []alert.EscalationStep{{After: alert.Duration(time.Hour), Receivers: []string{""}}}}, nil},
		{"times", alert.Route{}, make([]alert.Times, alert.MaxTimes+1)},
		{"times[0].name", alert.Route{}, []alert.Times{{Intervals: interval}}},
		{"times[1].name", alert.Route{}, []alert.Times{{Name: "a", Intervals: interval}, {Name: "a", Intervals: interval}}},
		{"times[0].time_intervals", alert.Route{}, []alert.Times{{Name: "a"}}},
		{"times[0].time_intervals[0].weekdays[0]", alert.Route{}, []alert.Times{{Name: "a", Intervals: []alert.TimeInterval{{Weekdays: []alert.Range{{From: 9, To: 9}}}}}}},
	} {
		err := alert.Routing{Root: c.root, Times: c.times}.Validate()
		require.ErrorIs(t, err, alert.ErrInvalid, c.field)
		var e *alert.Error
		require.ErrorAs(t, err, &e, c.field)
		require.Equal(t, "routing."+c.field, e.Field)
	}
	require.NoError(t, alert.Routing{Root: deep(alert.MaxRouteDepth)}.Validate())
	require.NoError(t, alert.Routing{Root: alert.Route{Routes: make([]alert.Route, alert.MaxRoutes-1)}}.Validate())
}

// node is a route as the property below reads it: by its parent, and by what stands before it.
type node struct {
	*alert.Route
	parent *node
	before []*node
}

func (n *node) matches(l alert.Labels) bool {
	return n == nil || n.Match.Match(l) && n.parent.matches(l)
}

// reached says whether an alert comes to the node: it matches, its parent is reached, and none before it keeps the alert.
func (n *node) reached(l alert.Labels) bool {
	return n == nil || n.matches(l) && n.parent.reached(l) &&
		!slices.ContainsFunc(n.before, func(b *node) bool { return b.matches(l) && !b.Continue })
}

// up returns what the nearest of the node and those above it says that says something.
func up[T any](n *node, says func(*node) (T, bool)) T {
	for ; n != nil; n = n.parent {
		if v, ok := says(n); ok {
			return v
		}
	}
	var none T
	return none
}

// Random trees send random alerts where the description of Route says, read node by node; every target has what its nearest forebear
// says, and an ID that no other has.
func TestTargetsProperty(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 1))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	var grow func(depth int) alert.Route
	grow = func(depth int) (route alert.Route) {
		for range r.IntN(3) {
			m, err := alert.NewMatcher(pick("a", "b"), alert.Op(pick("=", "!=", "=~", "!~")), pick("", "x", "y", "x|y"))
			require.NoError(t, err)
			route.Match = append(route.Match, m)
		}
		if r.IntN(2) == 0 {
			route.Receivers = []string{pick("r1", "r2", "r3")}
		}
		switch r.IntN(4) {
		case 0:
			route.GroupBy = []string{}
		case 1:
			route.GroupBy = []string{pick("a", "b", "...")}
		}
		if r.IntN(3) == 0 {
			route.Wait = alert.Duration(time.Duration(r.IntN(9)-1) * time.Second)
		}
		route.Continue = r.IntN(2) == 0
		for range r.IntN(4) * min(depth, 1) {
			route.Routes = append(route.Routes, grow(depth-1))
		}
		return route
	}
	reached, several := 0, 0
	for range 2000 {
		tree := alert.Routing{Root: grow(4)}
		tree.Root.Match, tree.Root.Continue = nil, false
		require.NoError(t, tree.Validate())
		var nodes []*node
		var walk func(route *alert.Route, parent *node, before []*node) *node
		walk = func(route *alert.Route, parent *node, before []*node) *node {
			n := &node{route, parent, before}
			nodes = append(nodes, n)
			var children []*node
			for i := range route.Routes {
				children = append(children, walk(&route.Routes[i], n, slices.Clone(children)))
			}
			return n
		}
		walk(&tree.Root, nil, nil)
		ids := make(map[string]*node)
		for range 20 {
			l := labels(t, "a", pick("", "x", "y", "z"), "b", pick("", "x", "y", "z"))
			var want []*node
			for _, n := range nodes {
				// It stops at one below which it comes to nothing.
				if n.reached(l) && !slices.ContainsFunc(nodes, func(below *node) bool { return below.parent == n && below.reached(l) }) {
					want = append(want, n)
				}
			}
			got := tree.Targets(l, nil)
			require.Len(t, got, len(want))
			require.NotEmpty(t, got)
			for i, target := range got {
				n := want[i]
				if other, ok := ids[target.ID]; ok {
					require.Same(t, n, other, "%s is two routes", target.ID)
				}
				ids[target.ID] = n
				var names []string
				for _, receiver := range target.Receivers {
					names = append(names, receiver.Name)
				}
				require.Equal(t, up(n, func(n *node) ([]string, bool) { return n.Receivers, len(n.Receivers) > 0 }), names)
				groupBy := up(n, func(n *node) ([]string, bool) { return n.GroupBy, n.GroupBy != nil })
				require.Equal(t, slices.Contains(groupBy, "..."), target.GroupAll)
				if !target.GroupAll {
					require.Equal(t, groupBy, target.GroupBy)
				}
				wait := up(n, func(n *node) (alert.Duration, bool) { return n.Wait, n.Wait != 0 })
				if wait == 0 {
					wait = alert.Duration(alert.DefaultWait)
				}
				require.Equal(t, time.Duration(wait), target.Wait)
			}
			reached++
			if len(got) > 1 {
				several++
			}
		}
	}
	require.Greater(t, several, reached/10, "too little goes to several")
}

func BenchmarkTargets(b *testing.B) {
	l, err := alert.NewLabels(map[string]string{"alertname": "HighCPU", "project": "p900", "severity": "high"})
	require.NoError(b, err)
	for _, n := range []int{10, 1000} {
		var r alert.Routing
		for i := range n - 1 {
			m, err := alert.NewMatcher("project", alert.Match, fmt.Sprintf("p%d|q%d", i+901-n/2, i))
			require.NoError(b, err)
			r.Root.Routes = append(r.Root.Routes, alert.Route{Match: alert.Matchers{m}, Receivers: []string{"team"}})
		}
		require.NoError(b, r.Validate())
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Targets(l, nil)
			}
		})
	}
}

// A team is told of what is its own, and the operators of everything that is critical besides.
func ExampleRouting_Targets() {
	var r alert.Routing
	err := json.Unmarshal([]byte(`{"root": {"receivers": ["ops"], "group_by": ["alertname"], "routes": [
		{"match": [{"name": "severity", "value": "critical"}], "continue": true, "wait": "0s"},
		{"match": [{"name": "project", "op": "=~", "value": "web.*"}], "receivers": ["web-team"], "repeat": "12h"}
	]}}`), &r)
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := alert.NewLabels(map[string]string{"alertname": "DiskFull", "severity": "critical", "project": "web-shop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, target := range r.Targets(l, nil) {
		fmt.Println(target.ID, target.Receivers[0].Name, target.Repeat)
	}
	// Output:
	// {}/{severity="critical"} ops 4h0m0s
	// {}/{project=~"web.*"} web-team 12h0m0s
}

// What is read and valid is written as it was read, and every target of it is valid.
func FuzzRouting(f *testing.F) {
	f.Add(company, "project", "shop")
	f.Add(`{"root": {"routes": [null, {"wait": "0s", "group_by": null}, {"continue": true, "escalation": []}]}}`, "a", "b")
	f.Fuzz(func(t *testing.T, text, name, value string) {
		var r alert.Routing
		if json.Unmarshal([]byte(text), &r) != nil || r.Validate() != nil {
			return
		}
		b, err := json.Marshal(r)
		require.NoError(t, err)
		var back alert.Routing
		require.NoError(t, json.Unmarshal(b, &back))
		again, err := json.Marshal(back)
		require.NoError(t, err)
		require.Equal(t, string(b), string(again))
		l, err := alert.NewLabels(map[string]string{name: value})
		if err != nil {
			return
		}
		targets := r.Targets(l, nil)
		require.NotEmpty(t, targets)
		require.Equal(t, targets, back.Targets(l, nil))
		for _, target := range targets {
			require.NoError(t, target.Validate())
		}
	})
}
