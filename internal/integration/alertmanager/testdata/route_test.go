package judge

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	ours "github.com/berthage/berthage/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
)

// trees is a routing tree in both ways of writing it.
type trees struct {
	theirs config.Route
	ours   ours.Route
}

// tree returns a random tree. Only a root has a receiver and no matchers, times or Continue for certain.
func tree(t *testing.T, r *rand.Rand, depth int, root bool) (both trees) {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	if root || r.IntN(2) == 0 {
		both.theirs.Receiver = pick("r1", "r2", "r3", "r4")
		both.ours.Receivers = []string{both.theirs.Receiver}
	}
	switch r.IntN(5) {
	case 0:
		both.theirs.GroupBy, both.ours.GroupBy = []model.LabelName{}, []string{}
	case 1:
		both.theirs.GroupByAll, both.ours.GroupBy = true, []string{ours.GroupByAll}
	case 2:
		both.theirs.GroupBy, both.ours.GroupBy = []model.LabelName{"a", "c"}, []string{"a", "c"}
	}
	duration := func(least int, theirs **model.Duration, to *ours.Duration) {
		if r.IntN(2) == 0 {
			d := model.Duration(time.Duration(least+r.IntN(5)) * time.Second)
			if *theirs, *to = &d, ours.Duration(d); d == 0 {
				*to = -1
			}
		}
	}
	duration(0, &both.theirs.GroupWait, &both.ours.Wait)
	duration(1, &both.theirs.GroupInterval, &both.ours.Interval)
	duration(1, &both.theirs.RepeatInterval, &both.ours.Repeat)
	if !root {
		for range r.IntN(3) {
			name, op, value := pick("a", "b"), pick("=", "!=", "=~", "!~"), pick("", "x", "y", "x|y", "x.*")
			m, err := ours.NewMatcher(name, ours.Op(op), value)
			if err != nil {
				t.Fatal(err)
			}
			kind := map[string]labels.MatchType{"=": labels.MatchEqual, "!=": labels.MatchNotEqual, "=~": labels.MatchRegexp, "!~": labels.MatchNotRegexp}[op]
			their, err := labels.NewMatcher(kind, name, value)
			if err != nil {
				t.Fatal(err)
			}
			both.ours.Match, both.theirs.Matchers = append(both.ours.Match, m), append(both.theirs.Matchers, their)
		}
		if r.IntN(3) == 0 {
			both.ours.Mute = []string{"night"}
		}
		if r.IntN(3) == 0 {
			both.ours.Active = []string{"office", "sunday"}
		}
		both.theirs.MuteTimeIntervals, both.theirs.ActiveTimeIntervals = both.ours.Mute, both.ours.Active
		both.ours.Continue = r.IntN(2) == 0
		both.theirs.Continue = both.ours.Continue
	}
	for range r.IntN(5) * min(depth, 1) {
		child := tree(t, r, depth-1, false)
		both.ours.Routes, both.theirs.Routes = append(both.ours.Routes, child.ours), append(both.theirs.Routes, &child.theirs)
	}
	return both
}

// An alert goes to the same routes of a tree, in the same order, and what a route leaves out it has from the same parent.
func TestRoutes(t *testing.T) {
	times := make([]ours.Times, 3)
	for i, name := range []string{"night", "office", "sunday"} {
		times[i] = ours.Times{Name: name, Intervals: []ours.TimeInterval{{}}}
	}
	names := func(all []ours.Times) []string {
		list := []string{}
		for _, times := range all {
			list = append(list, times.Name)
		}
		return list
	}
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	const all = 3000
	targets := 0
	for range all {
		both := tree(t, r, 4, true)
		routing := ours.Routing{Root: both.ours, Times: times}
		if err := routing.Validate(); err != nil {
			t.Fatal(err)
		}
		route := dispatch.NewRoute(&both.theirs, nil)
		ids := make(map[string]*dispatch.Route)
		for range 10 {
			set := map[string]string{"a": pick("", "x", "y", "xy"), "b": pick("", "x", "y"), "c": pick("", "x")}
			l, err := ours.NewLabels(set)
			if err != nil {
				t.Fatal(err)
			}
			their := model.LabelSet{}
			for name, value := range set {
				their[model.LabelName(name)] = model.LabelValue(value)
			}
			var got, want []string
			for _, target := range routing.Targets(l, nil) {
				groupBy := fmt.Sprint(target.GroupBy)
				if target.GroupAll {
					groupBy = "all"
				}
				got = append(got, fmt.Sprintln(target.Receivers, groupBy, max(target.Wait, 0), target.Interval, target.Repeat, names(target.Mute), names(target.Active)))
			}
			matches := route.Match(their)
			for _, m := range matches {
				o := m.RouteOpts
				groupBy := fmt.Sprint(slices.Sorted(maps.Keys(o.GroupBy)))
				if o.GroupByAll {
					groupBy = "all"
				}
				want = append(want, fmt.Sprintln([]ours.Receiver{{Name: o.Receiver}}, groupBy, o.GroupWait, o.GroupInterval, o.RepeatInterval, o.MuteTimeIntervals, o.ActiveTimeIntervals))
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%v goes to\n%v and with Alertmanager to\n%v", set, got, want)
			}
			for i, target := range routing.Targets(l, nil) {
				if other, ok := ids[target.ID]; ok && other != matches[i] {
					t.Fatalf("%s is two routes", target.ID)
				}
				ids[target.ID] = matches[i]
			}
			targets += len(got)
		}
	}
	fmt.Printf("trees=%d targets=%d\n", all, targets)
}
