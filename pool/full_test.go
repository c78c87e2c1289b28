package pool_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

// A shape is full from a refusal until its time, for as long as the aggregate sells it and nothing is given back.
func TestFullShapes(t *testing.T) {
	t.Parallel()
	const region = pool.HostID("d/region")
	first, second := pool.NewInstanceID("ledger", "p", "first"), pool.NewInstanceID("ledger", "p", "second")
	sells := func(names ...string) *pool.HostPut {
		h := pool.Host{ID: region, Conditions: pool.Ready, Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 100}}}
		for _, n := range names {
			h.Shapes = append(h.Shapes, pool.Shape{Name: n, Resources: pool.Resources{pool.CPU: 2}})
		}
		return &pool.HostPut{Host: h}
	}
	place := pool.Placement{Host: region, Sent: true, Allocation: pool.Allocation{Shape: "s", Resources: pool.Resources{pool.CPU: 2}}}
	runs := func(id pool.InstanceID) *pool.Observed {
		return &pool.Observed{Machine: id.Machine(0), Is: pool.Running}
	}
	type step struct {
		kind    string
		payload any
	}
	refused := func(id pool.InstanceID, seconds int) step {
		return step{pool.KindRefused, &pool.Refused{Machine: id.Machine(0), Reason: "no", Until: time.Unix(1_700_000_000+int64(seconds), 0).UTC()}}
	}
	resized := func(cpu int64, kind string) []step {
		after := pool.Allocation{Shape: "t", Resources: pool.Resources{pool.CPU: cpu}}
		end := step{kind, &pool.OfMachine{Machine: first.Machine(0)}}
		if kind == pool.KindUnresized {
			end.payload = &pool.Stayed{Machine: first.Machine(0)}
		}
		return []step{{pool.KindObserved, runs(first)}, {pool.KindResizing, &pool.ResizeWanted{Instance: first, After: after, During: after}}, end}
	}
	for name, tc := range map[string]struct {
		before []step // then the second of s is refused until revision 100
		after  []step
		want   int // refusals remembered
	}{
		"refused":                  {want: 1},
		"again":                    {after: []step{refused(second, 200)}, want: 2},
		"not for want of room":     {after: []step{{pool.KindRefused, &pool.Refused{Machine: second.Machine(0)}}}, want: 1},
		"still sold":               {after: []step{{pool.KindHostPut, sells("t", "s")}}, want: 1},
		"no longer sold":           {after: []step{{pool.KindHostPut, sells("t")}}},
		"one that ran is deleted":  {before: []step{{pool.KindObserved, runs(first)}}, after: []step{{pool.KindDeleted, &pool.Ended{Instance: first}}}},
		"it may still be there":    {before: []step{{pool.KindObserved, runs(first)}}, after: []step{{pool.KindDeleted, &pool.Ended{Instance: first, Hold: true}}}, want: 1},
		"one that never ran":       {after: []step{{pool.KindDeleted, &pool.Ended{Instance: first}}}, want: 1},
		"the refused one fails":    {after: []step{{pool.KindFailed, &pool.Ended{Instance: second}}}, want: 1},
		"one that ran is shelved":  {before: []step{{pool.KindObserved, runs(first)}}, after: []step{{pool.KindShelved, &pool.Ended{Instance: first}}}},
		"one that ran is moved":    {before: []step{{pool.KindObserved, runs(first)}}, after: []step{{pool.KindMoved, &pool.Moved{Machine: first.Machine(0), Host: "d/h00"}}}},
		"one is smaller now":       {after: resized(1, pool.KindResized)},
		"one is larger now":        {after: resized(3, pool.KindResized), want: 1},
		"one was to be smaller":    {after: resized(1, pool.KindUnresized), want: 1},
		"one that came before":     {after: []step{{pool.KindObserved, runs(first)}}, want: 1},
		"one that runs afterwards": {before: []step{refused(second, 1)}, after: []step{{pool.KindObserved, runs(first)}}, want: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := pool.NewState(), &tape{t: t}
			steps := []step{
				{pool.KindOpened, &pool.Opened{Ledger: "ledger"}}, {pool.KindProjectPut, &pool.Project{Name: "p"}},
				{pool.KindHostPut, sells("s", "t")}, {pool.KindHostPut, &pool.HostPut{Host: serverHost("d/h00")}},
			}
			for _, id := range []pool.InstanceID{first, second} {
				steps = append(steps, step{pool.KindLaunched, &pool.Launched{Instance: id, Project: "p", Want: pool.Running, Place: place}},
					step{pool.KindCreated, &pool.OfMachine{Machine: id.Machine(0)}})
			}
			steps = append(steps, tc.before...)
			if name != "one that runs afterwards" {
				steps = append(steps, refused(second, 100))
			}
			for _, step := range append(steps, tc.after...) {
				e := stored(t, p.next(step.kind, step.payload))
				require.NoError(t, s.Apply(&e))
			}
			h, _ := s.Host(region)
			f := h.Full["s"]
			require.Equal(t, tc.want, f.Refusals)
			_, full := h.FullAt("s", time.Unix(1_700_000_099, 0))
			require.Equal(t, tc.want > 0, full)
			_, full = h.FullAt("s", f.Until)
			require.False(t, full)
			require.Equal(t, portrait(s, true), portrait(restored(t, snapshot(t, s)), true))
		})
	}
}
