package audit_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/pool"
)

// leafOf is the hash of a leaf that says its number.
func leafOf(n int64) [32]byte {
	return sha256.Sum256(append([]byte{0}, binary.BigEndian.AppendUint64(nil, uint64(n))...))
}

// nodes are those of the leaves of leafOf.
func nodes(level int, index int64) ([32]byte, error) {
	if level == 0 {
		return leafOf(index), nil
	}
	left, _ := nodes(level-1, 2*index)
	right, _ := nodes(level-1, 2*index+1)
	return pool.TreeNode(left, right), nil
}

// The definitions of RFC 6962, section 2.1, as they are written down there, over the leaves from low up to high.

func mth(low, high int64) [32]byte {
	switch n := high - low; n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leafOf(low)
	default:
		k := split(n)
		left, right := mth(low, low+k), mth(low+k, high)
		return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
	}
}

// split is the largest power of two below n.
func split(n int64) int64 { return 1 << (bits.Len64(uint64(n-1)) - 1) }

func path(m, low, high int64) [][32]byte {
	if high-low == 1 {
		return nil
	}
	k := split(high - low)
	if m < k {
		return append(path(m, low, low+k), mth(low+k, high))
	}
	return append(path(m-k, low+k, high), mth(low, low+k))
}

func subproof(m, low, high int64, whole bool) [][32]byte {
	n := high - low
	if m == n {
		if whole {
			return nil
		}
		return [][32]byte{mth(low, high)}
	}
	k := split(n)
	if m <= k {
		return append(subproof(m, low, low+k, whole), mth(low+k, high))
	}
	return append(subproof(m-k, low+k, high, false), mth(low, low+k))
}

// Roots and proofs are those of the definition, for every size up to some, and they are accepted.
func TestProofsAgainstTheDefinition(t *testing.T) {
	t.Parallel()
	for size := range int64(50) {
		root, err := audit.Root(size, nodes)
		require.NoError(t, err)
		require.Equal(t, mth(0, size), root, size)
		for i := range size {
			proof, err := audit.Inclusion(i, size, nodes)
			require.NoError(t, err)
			require.Equal(t, path(i, 0, size), proof, "%d of %d", i, size)
			require.NoError(t, audit.VerifyInclusion(leafOf(i), i, size, root, proof))
		}
		for old := int64(1); old <= size; old++ {
			proof, err := audit.Consistency(old, size, nodes)
			require.NoError(t, err)
			require.Equal(t, subproof(old, 0, size, true), proof, "%d to %d", old, size)
			require.NoError(t, audit.VerifyConsistency(old, size, mth(0, old), root, proof))
		}
		none, err := audit.Consistency(0, size, nodes)
		require.NoError(t, err)
		require.Empty(t, none)
		require.NoError(t, audit.VerifyConsistency(0, size, mth(0, 0), root, none))
	}
}

// Whatever is changed in what was proved, the proof no longer holds. Sizes aside, which are bound by the root: of them every
// other one is tried.
func TestAProofProvesNothingElse(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for size := int64(1); size < 28; size++ {
		root := mth(0, size)
		for i := range size {
			proof := path(i, 0, size)
			if size > 1 {
				require.ErrorIs(t, audit.VerifyInclusion(root, i, size, root, nil), audit.ErrProof, "a node is no leaf")
			}
			for j := range size {
				if i != j {
					require.ErrorIs(t, audit.VerifyInclusion(leafOf(i), j, size, root, proof), audit.ErrProof)
					require.ErrorIs(t, audit.VerifyInclusion(leafOf(j), i, size, root, proof), audit.ErrProof)
				}
			}
			broken(t, random, proof, root, func(proof [][32]byte, root [32]byte) error {
				return audit.VerifyInclusion(leafOf(i), i, size, root, proof)
			})
		}
		for old := int64(1); old < size; old++ {
			proof := subproof(old, 0, size, true)
			for other := range size {
				if other != old {
					require.ErrorIs(t, audit.VerifyConsistency(old, size, mth(0, other), root, proof), audit.ErrProof)
					require.ErrorIs(t, audit.VerifyConsistency(other, size, mth(0, old), root, proof), audit.ErrProof)
				}
			}
			broken(t, random, proof, root, func(proof [][32]byte, root [32]byte) error {
				return audit.VerifyConsistency(old, size, mth(0, old), root, proof)
			})
			broken(t, random, proof, mth(0, old), func(proof [][32]byte, oldRoot [32]byte) error {
				return audit.VerifyConsistency(old, size, oldRoot, root, proof)
			})
		}
	}
}

// broken hurts a proof and a root in every way.
func broken(t *testing.T, random *rand.Rand, proof [][32]byte, root [32]byte, verify func([][32]byte, [32]byte) error) {
	t.Helper()
	require.NoError(t, verify(proof, root))
	flip := func(h [32]byte) [32]byte {
		h[random.IntN(32)] ^= 1 << random.IntN(8)
		return h
	}
	require.ErrorIs(t, verify(proof, flip(root)), audit.ErrProof)
	for i := range proof {
		bad := append([][32]byte{}, proof...)
		bad[i] = flip(bad[i])
		require.ErrorIs(t, verify(bad, root), audit.ErrProof)
		require.ErrorIs(t, verify(append(append([][32]byte{}, proof[:i]...), proof[i+1:]...), root), audit.ErrProof, "one missing")
		require.ErrorIs(t, verify(append(append([][32]byte{}, proof[:i+1]...), proof[i:]...), root), audit.ErrProof, "one twice")
	}
	require.ErrorIs(t, verify(append(append([][32]byte{}, proof...), root), root), audit.ErrProof, "one more")
}

// Sizes come from anybody: none overflows, none makes it slow.
func TestHostileSizes(t *testing.T) {
	t.Parallel()
	never := func(int, int64) ([32]byte, error) { return [32]byte{}, errors.New("asked") }
	deep := make([][32]byte, 100)
	for _, a := range []int64{math.MinInt64, -1, 0, 1, 2, 1 << 62, 1<<62 + 1, math.MaxInt64} {
		for _, b := range []int64{math.MinInt64, -1, 0, 1, 1 << 62, 1<<62 + 1, math.MaxInt64} {
			for _, proof := range [][][32]byte{nil, deep[:1], deep[:62], deep} {
				require.ErrorIs(t, audit.VerifyInclusion([32]byte{}, a, b, [32]byte{1}, proof), audit.ErrProof)
				require.ErrorIs(t, audit.VerifyConsistency(a, b, [32]byte{1}, [32]byte{2}, proof), audit.ErrProof)
			}
			if _, err := audit.Inclusion(a, b, never); a < 0 || b < 1 || a >= b || b > 1<<62 {
				require.ErrorIs(t, err, pool.ErrInvalid)
			}
			if _, err := audit.Consistency(a, b, never); a < 0 || b < a || b > 1<<62 {
				require.ErrorIs(t, err, pool.ErrInvalid)
			}
		}
		if _, err := audit.Root(a, never); a < 0 || a > 1<<62 {
			require.ErrorIs(t, err, pool.ErrInvalid)
		}
	}
	// The largest tree: proofs have one hash for each of its levels, and hold.
	same := func(level int, _ int64) (h [32]byte, err error) { // of leaves that are all alike
		h = leafOf(0)
		for range level {
			h = pool.TreeNode(h, h)
		}
		return h, nil
	}
	root, err := audit.Root(1<<62, same)
	require.NoError(t, err)
	for _, i := range []int64{0, 1, 1<<61 - 1, 1 << 61, 1<<62 - 1} {
		proof, err := audit.Inclusion(i, 1<<62, same)
		require.NoError(t, err)
		require.Len(t, proof, 62)
		require.NoError(t, audit.VerifyInclusion(leafOf(0), i, 1<<62, root, proof))
		before, err := audit.Root(i, same)
		require.NoError(t, err)
		proof, err = audit.Consistency(i, 1<<62, same)
		require.NoError(t, err)
		require.NoError(t, audit.VerifyConsistency(i, 1<<62, before, root, proof))
	}
}

// filled is a ledger of at least n events, in batches of several sizes, some with private parts.
func filled(t testing.TB, n int) *pool.MemoryLedger {
	t.Helper()
	l := pool.NewMemoryLedger()
	random := rand.New(rand.NewPCG(3, uint64(n)))
	opened, err := pool.NewEvent(pool.KindOpened, &pool.Opened{Ledger: "FIRST"})
	require.NoError(t, err)
	opened.ID = "opened"
	batch := []pool.Event{opened}
	for at, events := pool.Revision(0), 0; ; at++ {
		for i := range batch {
			batch[i].Time = time.Date(2026, 11, 29, 8, 0, int(at), i*1000, time.UTC)
		}
		_, err := l.Append(t.Context(), at, batch...)
		require.NoError(t, err)
		if events += len(batch); events >= n {
			return l
		}
		batch = nil
		for i := range []int{1, 1, 1, 2, 5, 60}[random.IntN(6)] {
			e := pool.Event{ID: fmt.Sprint("e", at, ".", i), Kind: "test.event", Version: 1, Actor: "ada", Cause: "request", Data: fmt.Appendf(nil, `{"n":%d}`, at)}
			if i%3 == 1 {
				e.Subject, e.Private, e.Salt = fmt.Sprint("subject", i), []byte("198.51.100.7"), []byte("sixteen bytes or more")
				e.Seal()
			}
			batch = append(batch, e)
		}
	}
}

// leavesOf are the leaves of a ledger, and where they stand.
func leavesOf(t testing.TB, l pool.Ledger) (leaves [][32]byte, at []audit.Position, sizes []int64) {
	t.Helper()
	for b, err := range pool.History(t.Context(), l, 0) {
		require.NoError(t, err)
		for i := range b.Events {
			leaves, at = append(leaves, b.Events[i].Leaf()), append(at, audit.Position{Revision: b.Revision, Index: i})
		}
		sizes = append(sizes, int64(len(leaves)))
	}
	return leaves, at, sizes
}

// A Log that has read a ledger gives every root and every proof, of events that it does not hold, and names where they are.
func TestLog(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 100, 255, 256, 257, 511, 512, 513, 1100} {
		l := filled(t, n)
		leaves, at, sizes := leavesOf(t, l)
		if len(sizes) > 4 {
			require.NoError(t, l.Compact(t.Context(), pool.Revision(len(sizes)/2), nil))
		}
		log := &audit.Log{History: audit.Of(l)}
		require.NoError(t, log.Follow(t.Context()))
		size := int64(len(leaves))
		require.Equal(t, size, log.Size())
		head, err := log.Head()
		require.NoError(t, err)
		var tree pool.Tree
		roots := [][32]byte{tree.Root()}
		for i, leaf := range leaves {
			tree.Add(leaf)
			roots = append(roots, tree.Root())
			if i%7 == 0 || i%256 < 2 {
				found, e, err := log.Find(t.Context(), at[i])
				require.NoError(t, err)
				require.EqualValues(t, i, found)
				require.Equal(t, leaf, e.Leaf())
			}
		}
		require.Equal(t, audit.Head{Ledger: "FIRST", Revision: pool.Revision(len(sizes)), Size: size, Root: tree.Root()}, head)
		random := rand.New(rand.NewPCG(5, uint64(n)))
		for range 30 {
			size := 1 + random.Int64N(size)
			i, old := random.Int64N(size), random.Int64N(size+1)
			root, err := log.Root(t.Context(), size)
			require.NoError(t, err)
			require.Equal(t, roots[size], root)
			proof, err := log.Inclusion(t.Context(), i, size)
			require.NoError(t, err)
			require.NoError(t, audit.VerifyInclusion(leaves[i], i, size, root, proof))
			proof, err = log.Consistency(t.Context(), old, size)
			require.NoError(t, err)
			require.NoError(t, audit.VerifyConsistency(old, size, roots[old], root, proof))
		}
		for _, p := range []audit.Position{{}, {Revision: 1, Index: 1}, {Revision: pool.Revision(len(sizes) + 1)}, {Revision: -1}, {Revision: 1, Index: -1}} {
			_, _, err := log.Find(t.Context(), p)
			require.ErrorIs(t, err, pool.ErrNotFound)
		}
		_, err = log.Root(t.Context(), size+1)
		require.ErrorIs(t, err, pool.ErrInvalid)
		_, err = log.Inclusion(t.Context(), 0, size+1)
		require.ErrorIs(t, err, pool.ErrInvalid)
		_, err = log.Consistency(t.Context(), 0, size+1)
		require.ErrorIs(t, err, pool.ErrInvalid)
	}
}

// A history that is no longer what was read gives no proof: it says where it differs.
func TestLogOfAChangedHistory(t *testing.T) {
	t.Parallel()
	log := &audit.Log{History: audit.Of(filled(t, 600))}
	require.NoError(t, log.Follow(t.Context()))
	_, err := log.Inclusion(t.Context(), 300, log.Size())
	require.NoError(t, err)
	log.History = audit.Of(filled(t, 601)) // another one
	_, err = log.Inclusion(t.Context(), 300, log.Size())
	require.ErrorIs(t, err, pool.ErrCorrupt)
	require.ErrorContains(t, err, "revision ")
	_, _, err = log.Find(t.Context(), audit.Position{Revision: 3})
	require.ErrorIs(t, err, pool.ErrCorrupt)

	for _, b := range []pool.Batch{{}, {Revision: 2, Events: make([]pool.Event, 1)}, {Revision: 1}, {Revision: 1, Events: make([]pool.Event, 1)},
		{Revision: 1, Events: []pool.Event{{Revision: 1, Index: 1}}}} {
		var empty audit.Log
		require.ErrorIs(t, empty.Add(b), pool.ErrCorrupt)
		require.Zero(t, empty.Size())
	}
	var empty audit.Log
	require.Error(t, empty.Add(pool.Batch{Revision: 1, Events: []pool.Event{{Revision: 1, Kind: pool.KindOpened, Version: 1, Data: []byte("{")}}}))
	require.Zero(t, empty.Size())
}

// Personal data that is forgotten takes no proof with it: those made before still hold, those made after are the same.
func TestForgetLeavesEveryProofValid(t *testing.T) {
	t.Parallel()
	l := filled(t, 300)
	leaves, _, _ := leavesOf(t, l)
	require.NoError(t, l.Compact(t.Context(), 5, nil))
	proofs := func() (all [][][32]byte, head audit.Head) {
		log := &audit.Log{History: audit.Of(l)}
		require.NoError(t, log.Follow(t.Context()))
		for i := range leaves {
			p, err := log.Inclusion(t.Context(), int64(i), log.Size())
			require.NoError(t, err)
			all = append(all, p)
		}
		for old := range log.Size() {
			p, err := log.Consistency(t.Context(), old, log.Size())
			require.NoError(t, err)
			all = append(all, p)
		}
		head, err := log.Head()
		require.NoError(t, err)
		return all, head
	}
	before, head := proofs()
	private := 0
	for i := range 60 {
		require.NoError(t, l.Forget(t.Context(), fmt.Sprint("subject", i)))
	}
	for b, err := range pool.History(t.Context(), l, 0) {
		require.NoError(t, err)
		for _, e := range b.Events {
			require.Nil(t, e.Private)
			if len(e.PrivateHash) > 0 {
				private++
			}
		}
	}
	require.NotZero(t, private)
	after, same := proofs()
	require.Equal(t, head, same)
	require.Equal(t, before, after)
	left, _, _ := leavesOf(t, l)
	for i, leaf := range left {
		require.NoError(t, audit.VerifyInclusion(leaf, int64(i), head.Size, head.Root, before[i]))
	}
}

func TestPosition(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]audit.Position{"1": {1, 0}, "17.3": {17, 3}, "9223372036854775807.2147483647": {math.MaxInt64, math.MaxInt32}} {
		got, err := audit.ParsePosition(in)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, in := range []string{"", "0", "-1", "1.-1", "1.x", "x", "1.1.1", "9223372036854775808", "1.99999999999", "1 "} {
		_, err := audit.ParsePosition(in)
		require.ErrorIs(t, err, pool.ErrInvalid, in)
	}
	require.Equal(t, "17.3", audit.Position{Revision: 17, Index: 3}.String())
}

func isKind(err error, kinds ...error) bool {
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
