package scheduler_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// PlaceAt says of each host what Explain says, and takes on the best one what Place takes.
func TestPlaceAtAgreesWithPlace(t *testing.T) {
	t.Parallel()
	taken := 0
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 11))
		f, req := randomFleet(r), randomRequest(r)
		f.roomy(r, &req)
		st := f.books(t).Clone()
		var s scheduler.Scheduler
		e, err := s.Explain(st, req)
		require.NoError(t, err)
		for _, v := range e.Hosts {
			h, ok := st.Host(v.Host)
			require.True(t, ok)
			d, err := s.PlaceAt(h, req)
			if v.Reason == nil {
				require.NoError(t, err, "seed %d", seed)
				require.Equal(t, v.Host, d.Host)
				continue
			}
			var refusal *scheduler.Refusal
			require.ErrorAs(t, err, &refusal, "seed %d", seed)
			require.ErrorIs(t, err, pool.ErrNoRoom)
			require.Len(t, refusal.Hosts, 1)
			have, want := *refusal.Hosts[0].Reason, *v.Reason
			want.Never = have.Never // which is Explain's to find out
			require.Equal(t, want, have, "seed %d", seed)
		}
		best, err := s.Place(st, req)
		if errors.Is(err, pool.ErrNoRoom) {
			continue
		}
		require.NoError(t, err)
		h, _ := st.Host(best.Host)
		d, err := s.PlaceAt(h, req)
		require.NoError(t, err)
		require.Equal(t, best.Allocation, d.Allocation, "seed %d", seed)
		taken++
	}
	require.Greater(t, taken, 200)
	_, err := new(scheduler.Scheduler).PlaceAt(&pool.HostRecord{}, scheduler.Request{Spec: pool.Spec{Resources: pool.Resources{pool.CPU: -1}}})
	require.ErrorIs(t, err, pool.ErrInvalid)
}
