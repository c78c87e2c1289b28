package whatif_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/whatif"
)

// record keeps the batches of a past beside the books that they lead to.
type record struct {
	*books
	past    *pool.State // at the beginning
	batches []pool.Batch
	at      time.Time
}

func (b *books) record() *record {
	return &record{books: b, past: b.state.Clone(), at: b.state.Time()}
}

// after lets some time pass, and writes a batch.
func (r *record) after(d time.Duration, payloads ...any) {
	r.at = r.at.Add(d)
	b := pool.Batch{Revision: r.state.Head() + 1}
	for n := 0; n < len(payloads); n += 2 {
		e, err := pool.NewEvent(payloads[n].(string), payloads[n+1])
		require.NoError(r.t, err)
		e.ID, e.Revision, e.Index, e.Time = fmt.Sprint("e", b.Revision, n), b.Revision, n/2, r.at
		require.NoError(r.t, r.state.Apply(&e))
		b.Events = append(b.Events, e)
	}
	r.batches = append(r.batches, b)
}

// launch writes that an instance was placed by the scheduler, and is made; it reports whether it was.
func (r *record) launch(d time.Duration, name string, spec pool.Spec) (pool.InstanceID, bool) {
	spec.Image = "debian"
	id := pool.NewInstanceID("test", "p", name)
	to, err := new(scheduler.Scheduler).Place(r.state, scheduler.Request{Spec: spec, Image: image(), Project: "p"})
	if err != nil {
		return id, false
	}
	r.after(d, pool.KindLaunched, &pool.Launched{
		Instance: id, Name: "vm-" + name, Project: "p", Spec: spec, Image: image(), Want: pool.Running, Place: pool.Placement{Host: to.Host, Allocation: to.Allocation},
	}, pool.KindSent, &pool.OfMachine{Machine: id.Machine(0)}, pool.KindCreated, &pool.OfMachine{Machine: id.Machine(0)})
	return id, true
}

func (r *record) remove(d time.Duration, id pool.InstanceID) {
	r.after(d, pool.KindWanted, &pool.Wanted{Instance: id, Want: pool.Absent}, pool.KindDeleted, &pool.Ended{Instance: id})
}

func (r *record) seq() iter.Seq2[pool.Batch, error] {
	return func(yield func(pool.Batch, error) bool) {
		for _, b := range r.batches {
			if !yield(b, nil) {
				return
			}
		}
	}
}

func (r *record) replay(q whatif.Question, o whatif.ReplayOptions) *whatif.Replayed {
	r.t.Helper()
	out, err := whatif.Replay(r.t.Context(), whatif.Past{Books: r.past.Clone(), Batches: r.seq(), From: r.past.Time()}, nil, q, o)
	require.NoError(r.t, err)
	return out
}

// Three hosts of 16 cores. Four large instances come and go: three fit at once, on two hosts two.
func TestReplay(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 3 {
		b.host(server(n, 16, 64))
	}
	r := b.record()
	begin := r.at
	large := spec(16, 8)
	first, _ := r.launch(time.Hour, "a", large)
	r.launch(time.Hour, "b", large)
	r.launch(time.Hour, "c", large)
	_, ok := r.launch(time.Hour, "d", large)
	require.False(t, ok, "it was refused, and nothing says so")
	r.remove(time.Hour, first)
	r.launch(time.Hour, "d", large)

	// As it was: 0 hosts for an hour, then 1, 2, 3, and 2 for one.
	got := r.replay(whatif.Question{}, whatif.ReplayOptions{})
	require.Equal(t, got.Same, got.Changed)
	require.Equal(t, 4, got.Came)
	require.Equal(t, 1, got.Went)
	require.Equal(t, begin, got.From)
	require.Equal(t, r.at, got.Until)
	require.Equal(t, r.state.Head(), got.Revision)
	require.Zero(t, got.Same.Refused())
	require.Equal(t, 4, got.Same.Launched.Placed)
	require.Equal(t, 3, got.Same.Most)
	require.InDelta(t, (0+1+2+3+2)/5.0, got.Same.Hosts, 1e-9, "nothing was written between c and the end of a but an hour passed")
	require.Equal(t, whatif.Peak{Used: 48000, Capacity: 48000, At: begin.Add(3 * time.Hour)}, got.Same.Peak[pool.CPU])

	// On two hosts the third is refused, with the reason. The fourth takes what the first has left.
	got = r.replay(whatif.Question{Lose: []pool.HostID{host(0)}}, whatif.ReplayOptions{})
	require.Zero(t, got.Same.Refused())
	require.Equal(t, 1, got.Changed.Refused())
	require.Equal(t, 3, got.Changed.Launched.Placed)
	require.Len(t, got.Changed.Launched.Refused, 1)
	require.Equal(t, "vm-c", got.Changed.Launched.Refused[0].Name)
	require.NotEmpty(t, got.Changed.Launched.Refused[0].Counts)
	require.NotNil(t, got.Changed.Launched.Refused[0].Nearest)
	require.Equal(t, int64(32000), got.Changed.Peak[pool.CPU].Capacity)
	require.Equal(t, 2, got.Changed.Most)

	// With twice the cores to be promised two share a host, if they are packed; spread, they do not.
	q := whatif.Question{Ratios: map[pool.Class]pool.Ratio{pool.CPU: 2000}}
	require.Equal(t, 2, r.replay(q, whatif.ReplayOptions{Scheduler: &scheduler.Scheduler{Strategy: scheduler.BestFit}}).Changed.Most)
	require.Equal(t, 3, r.replay(q, whatif.ReplayOptions{Scheduler: &scheduler.Scheduler{Strategy: scheduler.Spread}}).Changed.Most)

	// Half of it: what is later is not looked at, and the time counts to its end.
	half, err := whatif.Replay(t.Context(), whatif.Past{Books: r.past.Clone(), Batches: r.seq(), From: begin, Until: begin.Add(150 * time.Minute)}, nil, whatif.Question{}, whatif.ReplayOptions{})
	require.NoError(t, err)
	require.Equal(t, 2, half.Came)
	require.InDelta(t, (0+1+2*0.5)/2.5, half.Same.Hosts, 1e-9)

	// Bounded work ends it, and says so.
	cut := r.replay(whatif.Question{}, whatif.ReplayOptions{Placements: 2})
	require.True(t, cut.Cut)
	require.Equal(t, 2, cut.Same.Launched.Asked)
	require.Equal(t, begin.Add(3*time.Hour), cut.Until)

	var heard []whatif.Progress
	r.replay(whatif.Question{}, whatif.ReplayOptions{Told: func(p whatif.Progress) { heard = append(heard, p) }})
	require.Equal(t, []whatif.Progress{{At: r.at, Revision: r.state.Head(), Batches: 5}}, heard)
}

// What happens besides launches: instances of lost hosts, resizes, hosts that come, change and go, clusters, waiting, shelving.
func TestReplayOfOtherEvents(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 2 {
		b.host(server(n, 16, 64))
	}
	there := b.place("there", host(0), spec(8, 8))
	r := b.record()
	large := pool.Resources{pool.CPU: 16 * pool.Core, pool.Memory: 8 * pool.GiB}
	r.after(time.Hour, pool.KindResizing, &pool.ResizeWanted{Instance: there, Sizes: pool.Sizes{Resources: large}, After: pool.Allocation{Resources: large}, During: pool.Allocation{Resources: large}})
	r.after(time.Hour, pool.KindResized, &pool.OfMachine{Machine: there.Machine(0)})
	r.after(time.Hour, pool.KindHostPut, &pool.HostPut{Host: server(2, 4, 64)})

	id := pool.NewClusterID("p", "web")
	member := func(n int) pool.InstanceID { return pool.NewClusterMember("test", id, "t", n) }
	one := spec(2, 1)
	one.Constraints.AntiAffinity = []pool.Affinity{{}}
	r.after(time.Hour, pool.KindClusterPut, &pool.ClusterPut{Cluster: id, Token: "t", Spec: one, Image: image(), Size: 2},
		pool.KindLaunched, &pool.Launched{Instance: member(0), Cluster: id, Index: 0, Want: pool.Running, Place: pool.Placement{Host: host(1), Allocation: pool.Allocation{Resources: gib(2, 1)}}},
		pool.KindLaunched, &pool.Launched{Instance: member(1), Cluster: id, Index: 1, Want: pool.Running, Waits: true})
	r.after(time.Hour, pool.KindPlaced, &pool.Placed{Instance: member(1), Place: pool.Placement{Host: host(2), Number: 1, Allocation: pool.Allocation{Resources: gib(2, 1)}}})
	r.after(time.Hour, pool.KindFailed, &pool.Ended{Instance: member(0)})
	r.after(time.Hour, pool.KindPlaced, &pool.Placed{Instance: member(0), Place: pool.Placement{Host: host(1), Number: 2, Allocation: pool.Allocation{Resources: gib(2, 1)}}})

	got := r.replay(whatif.Question{}, whatif.ReplayOptions{})
	require.Equal(t, got.Same, got.Changed)
	require.Zero(t, got.Same.Refused())
	require.Equal(t, 1, got.Same.Resized.Placed)
	require.Equal(t, 3, got.Same.Launched.Placed, "two members, one of them twice")
	require.Equal(t, 3, got.Same.Most)

	// Without the second host: what comes beside there's 16 cores fits on the third alone, apart from none.
	got = r.replay(whatif.Question{Lose: []pool.HostID{host(1)}}, whatif.ReplayOptions{})
	require.Equal(t, 2, got.Changed.Launched.Placed)
	require.Equal(t, 1, got.Changed.Refused(), "the members are apart")

	// Without the first: what is on it moves at once, and grows where it is.
	got = r.replay(whatif.Question{Lose: []pool.HostID{host(0)}}, whatif.ReplayOptions{})
	require.Equal(t, 1, got.Changed.Displaced.Placed)
	require.Equal(t, 1, got.Changed.Resized.Placed)

	// Half the cores: it cannot grow, and keeps its size.
	got = r.replay(whatif.Question{Ratios: map[pool.Class]pool.Ratio{pool.CPU: 500}}, whatif.ReplayOptions{})
	require.Len(t, got.Changed.Resized.Refused, 1)
	require.Zero(t, got.Changed.Resized.Placed)

	// A host that is removed, empty as it was, is not empty here; and the cluster, gone, comes again under its name.
	r.remove(time.Hour, member(0))
	r.remove(time.Hour, member(1))
	r.after(time.Hour, pool.KindClusterRemoved, &pool.ClusterRemoved{Cluster: id}, pool.KindHostRemoved, &pool.HostRemoved{Host: host(2)})
	r.after(time.Hour, pool.KindClusterPut, &pool.ClusterPut{Cluster: id, Token: "u", Spec: one, Image: image(), Size: 1},
		pool.KindLaunched, &pool.Launched{Instance: pool.NewClusterMember("test", id, "u", 0), Cluster: id, Want: pool.Running, Place: pool.Placement{Host: host(1), Allocation: pool.Allocation{Resources: gib(2, 1)}}})
	got = r.replay(whatif.Question{Add: []whatif.Addition{{Like: host(1), Count: 1}}}, whatif.ReplayOptions{})
	require.Zero(t, got.Changed.Refused())
	require.Equal(t, 4, got.Changed.Launched.Placed)
}

// What is under way at the beginning has ended, and hosts that come later are as the question would have them.
func TestReplayBeginsSettled(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 2 {
		b.host(server(n, 16, 64))
	}
	moves, grows := b.place("moves", host(0), spec(4, 4)), b.place("grows", host(0), spec(4, 4))
	b.fold(pool.KindMoving, &pool.Moving{Instance: moves, Host: host(1), Allocation: pool.Allocation{Resources: gib(4, 4)}})
	large := pool.Allocation{Resources: gib(8, 4)}
	b.fold(pool.KindResizing, &pool.ResizeWanted{Instance: grows, Sizes: pool.Sizes{Resources: gib(8, 4)}, After: large, During: large})
	require.Equal(t, 16*pool.Core, b.state.Total(pool.CPU).Used, "both copies of one, the other as it is to be")
	r := b.record()
	r.after(time.Hour, pool.KindMoved, &pool.Moved{Machine: moves.Machine(0), Host: host(1)})
	r.after(time.Hour, pool.KindResized, &pool.OfMachine{Machine: grows.Machine(0)})
	r.after(time.Hour, pool.KindResizing, &pool.ResizeWanted{Instance: grows, Sizes: pool.Sizes{Resources: gib(10, 4)}, After: pool.Allocation{Resources: gib(10, 4)}, During: pool.Allocation{Resources: gib(10, 4)}})
	r.after(time.Hour, pool.KindResized, &pool.OfMachine{Machine: grows.Machine(0)})
	got := r.replay(whatif.Question{}, whatif.ReplayOptions{})
	require.Equal(t, int64(14*pool.Core), got.Same.Peak[pool.CPU].Used, "4 and 8, and then 10")
	require.Equal(t, 2, got.Same.Resized.Placed, "the one under way, which changes nothing any more, and the other")
	require.InDelta(t, 1, got.Same.Hosts, 0, "moves are not made again")

	z := server(3, 16, 64)
	z.Zone = "z"
	r.after(time.Hour, pool.KindHostPut, &pool.HostPut{Host: z})
	full := spec(16, 4)
	r.launch(time.Hour, "full", full)
	_, ok := r.launch(time.Hour, "too", full)
	require.False(t, ok)
	past := whatif.Past{Books: r.past.Clone(), Batches: r.seq(), From: r.past.Time(), Later: []pool.Host{z}}
	lost, err := whatif.Replay(t.Context(), past, nil, whatif.Question{LoseZones: []string{"z"}, Lose: []pool.HostID{host(1)}}, whatif.ReplayOptions{})
	require.NoError(t, err)
	require.Zero(t, lost.Same.Refused())
	require.Equal(t, 1, lost.Changed.Refused(), "the host that would have taken it never comes")
	past.Books = r.past.Clone()
	lost, err = whatif.Replay(t.Context(), past, nil, whatif.Question{LoseZones: []string{"z"}}, whatif.ReplayOptions{})
	require.NoError(t, err)
	require.Equal(t, int64(48*pool.Core), lost.Same.Peak[pool.CPU].Capacity)
	require.Equal(t, int64(32*pool.Core), lost.Changed.Peak[pool.CPU].Capacity, "nor where nothing but its zone is lost")
	got = r.replay(whatif.Question{Ratios: map[pool.Class]pool.Ratio{pool.CPU: 3000}}, whatif.ReplayOptions{})
	require.Equal(t, int64(16*3*2*pool.Core), got.Changed.Peak[pool.CPU].Capacity-16*3*pool.Core, "of the new host too")
}

func TestReplayRefuses(t *testing.T) {
	t.Parallel()
	r := three(t).record()
	for field, q := range map[string]whatif.Question{
		"demand": {Demand: []whatif.Demand{{Spec: spec(1, 1), Count: 1}}}, "growth": {Growth: 1100}, "spare": {Spare: 1}, "buy": {Buy: []pool.HostID{host(0)}},
		"how_many": {HowMany: []whatif.Demand{{Spec: spec(1, 1)}}}, "ratios.cpu": {Ratios: map[pool.Class]pool.Ratio{pool.CPU: -1}},
	} {
		_, err := whatif.Replay(t.Context(), whatif.Past{Books: r.past, Batches: r.seq()}, nil, q, whatif.ReplayOptions{})
		require.ErrorIs(t, err, pool.ErrInvalid)
		require.ErrorContains(t, err, field)
	}
	_, err := whatif.Replay(t.Context(), whatif.Past{Books: r.past, Batches: r.seq()}, nil, whatif.Question{Lose: []pool.HostID{"d/none"}}, whatif.ReplayOptions{})
	require.ErrorIs(t, err, pool.ErrNotFound)

	broken := errors.New("broken")
	_, err = whatif.Replay(t.Context(), whatif.Past{Books: r.past, Batches: func(yield func(pool.Batch, error) bool) { yield(pool.Batch{}, broken) }}, nil, whatif.Question{}, whatif.ReplayOptions{})
	require.ErrorIs(t, err, broken)

	r.launch(time.Hour, "x", spec(1, 1))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	_, err = whatif.Replay(ctx, whatif.Past{Books: r.past, Batches: r.seq()}, nil, whatif.Question{}, whatif.ReplayOptions{})
	require.ErrorIs(t, err, broken)
}

// Random pasts: on the unchanged fleet everything that had a place has one; the same question has the same answer; more
// hosts do not refuse what fits on fewer; and the books are the recorded ones in the end.
func TestReplayOfRandomPasts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		b := newBooks(t)
		for n := range 4 {
			b.host(server(n, 16, 64))
		}
		r := b.record()
		var live []pool.InstanceID
		for n := range 60 {
			d := time.Duration(rnd.IntN(3600)) * time.Second
			if len(live) > 0 && rnd.IntN(3) == 0 {
				at := rnd.IntN(len(live))
				r.remove(d, live[at])
				live = append(live[:at], live[at+1:]...)
				continue
			}
			s := spec(1+rnd.Int64N(6), 1+rnd.Int64N(12))
			if rnd.IntN(4) == 0 {
				s = apart()
			}
			if id, ok := r.launch(d, fmt.Sprint(n), s); ok {
				live = append(live, id)
			}
		}
		got := r.replay(whatif.Question{}, whatif.ReplayOptions{})
		require.Equal(t, got.Same, got.Changed)
		require.Zero(t, got.Same.Refused(), "seed %d", seed)
		require.Equal(t, got.Came, got.Same.Launched.Placed)
		require.Equal(t, got.Came-got.Went, len(live))

		// One at a time and by the same scheduler they go where they went.
		most, used := 0, int64(0)
		st := r.past.Clone()
		for _, batch := range r.batches {
			for i := range batch.Events {
				require.NoError(t, st.Apply(&batch.Events[i]))
			}
			busy := 0
			for h := range st.Hosts() {
				busy += min(1, h.Placed)
			}
			most, used = max(most, busy), max(used, st.Total(pool.CPU).Used)
		}
		require.Equal(t, most, got.Same.Most)
		require.Equal(t, used, got.Same.Peak[pool.CPU].Used)

		q := whatif.Question{Lose: []pool.HostID{host(0)}, Ratios: map[pool.Class]pool.Ratio{pool.Memory: 1500}}
		less := r.replay(q, whatif.ReplayOptions{})
		require.Equal(t, less, r.replay(q, whatif.ReplayOptions{}))
		require.Equal(t, got.Same, less.Same)
		require.LessOrEqual(t, less.Changed.Peak[pool.CPU].Used, less.Changed.Peak[pool.CPU].Capacity)
		require.Equal(t, less.Came, less.Changed.Launched.Asked)
		sum := less.Changed.Launched.Placed
		for _, x := range less.Changed.Launched.Refused {
			sum += x.Count
		}
		require.Equal(t, less.Came, sum)
		require.LessOrEqual(t, less.Changed.Hosts, 3.0)
	}
}
