package ring_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/scheduler"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	sent := pool.Placement{Sent: true}
	for _, tc := range []struct {
		name string
		i    pool.Instance
		want string
	}{
		{"placed", pool.Instance{Phase: pool.Building, Is: pool.Absent, Want: pool.Running}, "create"},
		{"create sent before", pool.Instance{Phase: pool.Building, Is: pool.Absent, Want: pool.Running, Place: sent}, "look"},
		{"created", pool.Instance{Phase: pool.Active, Is: pool.Stopped, Want: pool.Running, Place: sent}, "start"},
		{"created, to be stopped", pool.Instance{Phase: pool.Active, Is: pool.Stopped, Want: pool.Stopped}, ""},
		{"suspend", pool.Instance{Phase: pool.Active, Is: pool.Running, Want: pool.Suspended}, "suspend"},
		{"stopped itself before a suspend", pool.Instance{Phase: pool.Active, Is: pool.Stopped, Want: pool.Suspended}, "start"},
		{"resume", pool.Instance{Phase: pool.Active, Is: pool.Suspended, Want: pool.Running}, "resume"},
		{"hibernate", pool.Instance{Phase: pool.Active, Is: pool.Running, Want: pool.Hibernated}, "hibernate"},
		{"hibernate a suspended one", pool.Instance{Phase: pool.Active, Is: pool.Suspended, Want: pool.Hibernated}, "resume"},
		{"suspend a hibernated one", pool.Instance{Phase: pool.Active, Is: pool.Hibernated, Want: pool.Suspended}, "start"},
		{"run on", pool.Instance{Phase: pool.Active, Is: pool.Hibernated, Want: pool.Running}, "start"},
		{"stop a hibernated one", pool.Instance{Phase: pool.Active, Is: pool.Hibernated, Want: pool.Stopped}, "stop"},
		{"hibernated", pool.Instance{Phase: pool.Active, Is: pool.Hibernated, Want: pool.Hibernated}, ""},
		{"stop", pool.Instance{Phase: pool.Active, Is: pool.Running, Want: pool.Stopped}, "stop"},
		{"stop a suspended one", pool.Instance{Phase: pool.Active, Is: pool.Suspended, Want: pool.Stopped}, "stop"},
		{"reboot", pool.Instance{Phase: pool.Active, Is: pool.Running, Want: pool.Running, Reboots: 2, Rebooted: 1}, "reboot"},
		{"reboot of one that was stopped meanwhile", pool.Instance{Phase: pool.Active, Is: pool.Stopped, Want: pool.Stopped, Reboots: 1}, "skip"},
		{"missing", pool.Instance{Phase: pool.Active, Is: pool.Absent, Want: pool.Running, Place: sent}, ""},
		{"move", pool.Instance{Phase: pool.Active, Is: pool.Running, Want: pool.Running, Place: sent, Move: new(pool.Move)}, "migrate"},
		{"move one that a late call has hibernated", pool.Instance{Phase: pool.Active, Is: pool.Hibernated, Want: pool.Running, Place: sent, Move: new(pool.Move)}, "start"},
		{"move while it is off", pool.Instance{Phase: pool.Active, Is: pool.Running, Want: pool.Running, Place: sent, Move: &pool.Move{Cold: true}}, "stop"},
		{"move one that is off", pool.Instance{Phase: pool.Active, Is: pool.Stopped, Want: pool.Running, Place: sent, Move: &pool.Move{Cold: true}}, "migrate"},
		{"undo", pool.Instance{Phase: pool.Undoing, Place: sent}, "destroy"},
		{"delete", pool.Instance{Phase: pool.Deleting, Is: pool.Running, Place: sent}, "destroy"},
		{"delete what was never sent", pool.Instance{Phase: pool.Deleting}, "forget"},
		{"failed", pool.Instance{Phase: pool.Failed, Want: pool.Running}, ""},
		{"reserved", pool.Instance{Phase: pool.Reserved, Want: pool.Running}, ""},
		{"delete a failed one", pool.Instance{Phase: pool.Failed, Want: pool.Absent, Place: sent}, "forget"},
	} {
		require.Equal(t, tc.want, ring.Plan(&tc.i, nil, ""), tc.name)
	}
}

// A create may be repeated only when that cannot make a second machine, and a place given back only when
// nothing can land on it any more.
func TestDoubt(t *testing.T) {
	t.Parallel()
	t0 := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	unique := hypervisor.Capabilities{CreateUnique: true, Settles: time.Minute}
	copies := hypervisor.Capabilities{Settles: time.Minute}
	unsettled := hypervisor.Capabilities{}
	inherited, answered := ring.Knowledge{Since: t0}, ring.Knowledge{SentHere: true, Since: t0}
	lost := ring.Knowledge{SentHere: true, Unknown: 1, Since: t0}
	for _, tc := range []struct {
		name   string
		k      ring.Knowledge
		c      hypervisor.Capabilities
		listed time.Duration
		again  bool
		at     time.Time
	}{
		{"unique", inherited, unique, 0, true, time.Time{}},
		{"all answered", answered, copies, 0, true, time.Time{}},
		{"inherited", inherited, copies, 59 * time.Second, false, t0.Add(time.Minute)},
		{"lost", lost, copies, 59 * time.Second, false, t0.Add(time.Minute)},
		{"lost, and settled", lost, copies, time.Minute, true, t0.Add(time.Minute)},
		{"settling unknown", lost, unsettled, 24 * time.Hour, false, time.Time{}},
	} {
		again, at := ring.MayCreateAgain(tc.k, tc.c, t0.Add(tc.listed))
		require.Equal(t, tc.again, again, tc.name)
		require.Equal(t, tc.at, at, tc.name)
	}
	for _, c := range []hypervisor.Capabilities{unique, copies} {
		ok, _ := ring.MayRelease(t0, c, t0.Add(59*time.Second))
		require.False(t, ok)
		ok, _ = ring.MayRelease(t0, c, t0.Add(time.Minute))
		require.True(t, ok)
	}
	ok, at := ring.MayRelease(t0, unsettled, t0.Add(1000*time.Hour))
	require.False(t, ok)
	require.Zero(t, at)

	sent, created := &pool.Instance{Place: pool.Placement{Sent: true}}, &pool.Instance{Place: pool.Placement{Sent: true}, Created: 7}
	require.False(t, ring.Doubtful(&pool.Instance{}, inherited), "nothing was sent")
	require.False(t, ring.Doubtful(sent, answered))
	require.True(t, ring.Doubtful(sent, inherited))
	require.True(t, ring.Doubtful(sent, lost))
	require.False(t, ring.Doubtful(created, lost), "the books hold that doubt")
}

// Errors cross processes with kind, place and explanation.
func TestWireErrors(t *testing.T) {
	t.Parallel()
	roundTrip := func(err error) error {
		b, bad := json.Marshal(ring.Wire(err))
		require.NoError(t, bad)
		var w ring.WireError
		require.NoError(t, json.Unmarshal(b, &w))
		return w.Err()
	}
	for _, k := range []error{pool.ErrInvalid, pool.ErrOverflow, pool.ErrNotFound, pool.ErrExists, pool.ErrInUse, pool.ErrWrongState,
		pool.ErrUnavailable, pool.ErrUnknown, pool.ErrStale, pool.ErrNotLeader, errors.ErrUnsupported} {
		in := &pool.Error{Op: "try", Kind: k, Field: "f", Value: "v", Want: "w", Cause: errors.New("c")}
		out := roundTrip(in)
		require.ErrorIs(t, out, k)
		require.Equal(t, in.Error(), out.Error())
	}
	var e *quota.Exceeded
	require.ErrorAs(t, roundTrip(&quota.Exceeded{Project: "shop", Lines: []quota.Line{{Class: pool.CPU, Limit: 1, Used: 1}}}), &e)
	require.Equal(t, "shop", e.Project)

	_, refused := new(scheduler.Scheduler).Place(pool.NewState(), scheduler.Request{Spec: pool.Spec{Resources: pool.Resources{pool.CPU: 1}}})
	require.ErrorIs(t, refused, pool.ErrNoRoom)
	out := roundTrip(refused)
	require.ErrorIs(t, out, pool.ErrNoRoom)
	require.Equal(t, refused.Error(), out.Error())
}

// As long as a create for a machine may land yet it is not put aside, and not stopped for that either.
func TestPlanSettlesBeforeItShelves(t *testing.T) {
	t.Parallel()
	for _, is := range []pool.Power{pool.Running, pool.Stopped, pool.Absent} {
		i := &pool.Instance{Phase: pool.Active, Want: pool.Shelved, Is: is, Shelving: true, Place: pool.Placement{Sent: true, Doubt: true}}
		require.Equal(t, "settle", ring.Plan(i, nil, ""), is)
		i.Place.Doubt = false
		require.Equal(t, map[pool.Power]string{pool.Running: "stop", pool.Stopped: "shelve", pool.Absent: "shelve"}[is], ring.Plan(i, nil, ""), is)
	}
}
