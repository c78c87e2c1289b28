package pool_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

// What was placed before an import carries the old identity for ever, what is placed after it the new one; and
// what the original places after the copy was made is nobody's here, however alike it looks.
func TestMachinesOfAnImportedLedger(t *testing.T) {
	t.Parallel()
	p, s, id := setUp(t)
	apply := func(kind string, payload any) {
		t.Helper()
		e := p.next(kind, payload)
		require.NoError(t, s.Apply(&e))
	}
	old := s.Head()
	was, _ := s.Instance(id)
	require.True(t, s.Confirmed())
	apply(pool.KindImported, &pool.Imported{Ledger: "copy", From: "ledger"})
	require.False(t, s.Confirmed())
	require.Equal(t, "copy", s.Identity())
	require.Equal(t, []string{"copy", "ledger"}, slices.Collect(s.Identities()))
	apply(pool.KindConfirmed, &pool.Confirmed{Ledger: "copy"})
	require.True(t, s.Confirmed())

	require.Equal(t, "ledger", s.LedgerOf(id.Machine(0), was.Launched), "its machine keeps its tag")
	require.Equal(t, "copy", s.LedgerOf(id.Machine(1), was.Launched), "a machine id of the copy; the original may have one of that name")
	require.Equal(t, "copy", s.LedgerOf(everyInstance[1].Machine(0), old+1), "launched after")
	gone := everyInstance[2]
	require.Equal(t, "ledger", s.LedgerOf(gone.Machine(7), old), "ended before, in both")

	apply(pool.KindPlaced, &pool.Placed{Instance: id, Place: place("d/h01", 1)})
	apply(pool.KindImported, &pool.Imported{Ledger: "second copy", From: "copy"})
	require.Equal(t, []string{"second copy", "copy", "ledger"}, slices.Collect(s.Identities()))
	for n, want := range []string{"ledger", "copy", "second copy"} {
		require.Equal(t, want, s.LedgerOf(id.Machine(n), was.Launched))
	}
}

// What had not been sent when the copy was made the original may have sent since, so that it is looked for first.
func TestNothingIsUnsentAfterAnImport(t *testing.T) {
	t.Parallel()
	p, s, _ := setUp(t)
	id := everyInstance[3]
	for _, e := range []pool.Event{
		p.next(pool.KindLaunched, launched(id, place("d/h00", 0))),
		p.next(pool.KindImported, &pool.Imported{Ledger: "copy", From: "ledger"}),
	} {
		over := s.Overlay()
		require.NoError(t, over.Apply(&e))
		s.Absorb(over)
	}
	i, _ := s.Instance(id)
	require.True(t, i.Place.Sent)
	require.Equal(t, s.Head(), i.Changed)
	checkBooks(t, s, true)
}

// A token stands for the same instance before and after an import.
func TestTokensSurviveAnImport(t *testing.T) {
	t.Parallel()
	p, s, _ := setUp(t)
	id := pool.NewInstanceID("ledger", "p", "order-17")
	for _, e := range []pool.Event{
		p.next(pool.KindLaunched, launched(id, place("d/h00", 0))),
		p.next(pool.KindImported, &pool.Imported{Ledger: "copy", From: "ledger"}),
	} {
		require.NoError(t, s.Apply(&e))
	}
	require.Equal(t, id, s.InstanceFor("p", "order-17"))
	require.Equal(t, pool.NewInstanceID("copy", "p", "order-18"), s.InstanceFor("p", "order-18"))
	e := p.next(pool.KindDeleted, &pool.Ended{Instance: id})
	require.NoError(t, s.Apply(&e))
	require.Equal(t, id, s.InstanceFor("p", "order-17"), "it has been")

	cluster := pool.NewClusterID("p", "web")
	member := pool.NewClusterMember("ledger", cluster, "t", 0)
	require.Equal(t, pool.NewClusterMember("copy", cluster, "t", 0), s.MemberFor(cluster, "t", 0))
	e = p.next(pool.KindLaunched, launched(member, place("d/h00", 0)))
	require.NoError(t, s.Apply(&e))
	require.Equal(t, member, s.MemberFor(cluster, "t", 0))
}

func TestImportIsRefused(t *testing.T) {
	t.Parallel()
	p, s, _ := setUp(t)
	for name, c := range map[string]struct {
		kind    string
		payload any
		index   int
		want    string
	}{
		"no identity":           {pool.KindImported, &pool.Imported{From: "ledger"}, 0, "a random identity"},
		"the same identity":     {pool.KindImported, &pool.Imported{Ledger: "ledger", From: "ledger"}, 0, "never had"},
		"of another ledger":     {pool.KindImported, &pool.Imported{Ledger: "copy", From: "other"}, 0, `the identity before, "ledger"`},
		"later in a batch":      {pool.KindImported, &pool.Imported{Ledger: "copy", From: "ledger"}, 1, "the first event of its batch"},
		"confirmed for another": {pool.KindConfirmed, &pool.Confirmed{Ledger: "copy"}, 0, `this ledger's identity, "ledger"`},
	} {
		before := s.Clone()
		e := p.next(c.kind, c.payload)
		e.Index = c.index
		err := s.Apply(&e)
		require.ErrorIs(t, err, pool.ErrInvalid, name)
		require.ErrorContains(t, err, c.want, name)
		equal(t, before, s)
		p.revision--
	}
	empty := pool.NewState()
	e := p.next(pool.KindImported, &pool.Imported{Ledger: "copy"})
	require.ErrorIs(t, empty.Apply(&e), pool.ErrInvalid, "there is nothing that it could be a copy of")
	require.Empty(t, slices.Collect(empty.Identities()))
}
