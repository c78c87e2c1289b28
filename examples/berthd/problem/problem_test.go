package problem_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/scheduler"
)

func TestEveryKindOfErrorHasItsStatus(t *testing.T) {
	t.Parallel()
	wrap := func(kind error) error { return &pool.Error{Op: "try", Kind: kind, Field: "f", Value: "v\n", Want: "w"} }
	for name, tc := range map[string]struct {
		err    error
		kind   problem.Kind
		status int
		retry  bool
	}{
		"invalid":         {wrap(pool.ErrInvalid), problem.InvalidValue, 422, false},
		"overflow":        {wrap(pool.ErrOverflow), problem.Overflow, 422, false},
		"not found":       {wrap(pool.ErrNotFound), problem.NotFound, 404, false},
		"exists":          {wrap(pool.ErrExists), problem.Exists, 409, false},
		"token reused":    {&pool.Error{Kind: pool.ErrExists, Field: "token"}, problem.KeyReused, 422, false},
		"in use":          {wrap(pool.ErrInUse), problem.InUse, 409, false},
		"wrong state":     {wrap(pool.ErrWrongState), problem.WrongState, 409, false},
		"wrong power":     {&hypervisor.Error{Op: "display", Kind: hypervisor.ErrWrongPower}, problem.WrongState, 409, false},
		"no room":         {&scheduler.Refusal{}, problem.NoRoom, 409, false},
		"over quota":      {&quota.Exceeded{Project: "p", Lines: []quota.Line{{Class: pool.CPU}}}, problem.OverQuota, 403, false},
		"unsupported":     {wrap(errors.ErrUnsupported), problem.Unsupported, 501, false},
		"refused":         {&hypervisor.Error{Op: "create", Kind: hypervisor.ErrRefused}, problem.Refused, 502, false},
		"compacted":       {wrap(pool.ErrCompacted), problem.Compacted, 410, false},
		"unavailable":     {wrap(pool.ErrUnavailable), problem.Unavailable, 503, true},
		"unknown":         {wrap(pool.ErrUnknown), problem.OutcomeUnknown, 503, true},
		"stale":           {wrap(pool.ErrStale), problem.Stale, 503, true},
		"not leader":      {wrap(pool.ErrNotLeader), problem.Unavailable, 503, true},
		"conflict":        {wrap(pool.ErrConflict), problem.Unavailable, 503, true},
		"deadline":        {fmt.Errorf("append: %w", context.DeadlineExceeded), problem.OutcomeUnknown, 503, true},
		"anything else":   {errors.New("the password is hunter2"), problem.Internal, 500, false},
		"a problem":       {problem.NoRoute.New("x"), problem.NoRoute, 404, false},
		"wrapped problem": {fmt.Errorf("x: %w", problem.NoRoute.New("x")), problem.NoRoute, 404, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := problem.From(tc.err)
			require.Equal(t, problem.Path+string(tc.kind), p.Type)
			require.Equal(t, tc.status, p.GetStatus())
			require.Equal(t, tc.retry, p.GetHeaders().Get("Retry-After") != "")
			require.NotContains(t, p.Detail, "hunter2", "what is unknown is not shown")
			require.NotContains(t, p.Detail, "\n")
		})
	}
}

func TestCausesOfTheDaemonsTroublesAreForTheLog(t *testing.T) {
	t.Parallel()
	secret := errors.New("open /var/lib/secret: EIO")
	for _, err := range []error{
		&pool.Error{Op: "append", Kind: pool.ErrUnavailable, Cause: secret},
		&hypervisor.Error{Op: "sample", Host: "sim/a", Kind: hypervisor.ErrUnavailable, Cause: secret},
	} {
		p := problem.From(err)
		require.NotContains(t, p.Detail, "secret")
		require.ErrorIs(t, p, secret)
		b, err := json.Marshal(p)
		require.NoError(t, err)
		require.NotContains(t, string(b), "secret")
	}
}

func TestAMissingReferenceIsTheBodysFault(t *testing.T) {
	t.Parallel()
	p := problem.OfBody(&pool.Error{Kind: pool.ErrNotFound, Field: "image", Value: "nope"})
	require.Equal(t, 422, p.Status)
	require.Equal(t, "image", p.Field)
	require.Equal(t, `"nope"`, p.Value)
}

func TestARefusalNamesEveryHost(t *testing.T) {
	t.Parallel()
	disk := 1
	r := &scheduler.Refusal{Explanation: scheduler.Explanation{
		Demand: pool.Resources{pool.CPU: 1000},
		Hosts: []scheduler.Verdict{
			{Host: "sim/a", Reason: &scheduler.Reason{Constraint: scheduler.ByCondition, Conditions: pool.Ready | pool.Cordoned}},
			{Host: "sim/b", Reason: &scheduler.Reason{Constraint: scheduler.ByDevice, Class: pool.StorageSSD, Disk: &disk, Need: 5, Free: 3, Short: 2}},
		},
		Counts:  []scheduler.Count{{Constraint: scheduler.ByCondition, Hosts: 1}},
		Nearest: &scheduler.Change{Host: "sim/a", Steps: []scheduler.Step{{Do: scheduler.MakeReady, Conditions: pool.Cordoned}}},
	}}
	p := problem.From(fmt.Errorf("launch: %w", r))
	require.Len(t, p.Placement.Hosts, 2)
	require.Equal(t, []string{"ready", "cordoned"}, p.Placement.Hosts[0].Reason.Conditions)
	require.Equal(t, int64(2), p.Placement.Hosts[1].Reason.Short)
	require.Contains(t, p.Placement.Nearest.Message, "sim/a")

	big := scheduler.Explanation{Hosts: make([]scheduler.Verdict, 1234)}
	cut := problem.NewRefusal(big)
	require.Len(t, cut.Hosts, 500)
	require.Equal(t, 734, cut.Omitted)
}

func TestWrite(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	p := problem.Throttled.New("slow down")
	p.RetryAfter = 6
	p.Write(w)
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	require.Equal(t, "6", w.Header().Get("Retry-After"))
	var back problem.Problem
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &back))
	require.Equal(t, "/problems/throttled", back.Type)
}

func TestKindsAreComplete(t *testing.T) {
	t.Parallel()
	seen := make(map[problem.Kind]bool)
	for _, e := range problem.Kinds() {
		require.False(t, seen[e.Kind], e.Kind)
		seen[e.Kind] = true
		require.NotEmpty(t, http.StatusText(e.Status))
		require.NotEmpty(t, e.Meaning)
		require.Regexp(t, `^[a-z-]+$`, string(e.Kind))
	}
	_, ok := problem.Explain("nope")
	require.False(t, ok)
}
