package ledgers_test

import (
	"crypto/sha256"
	"math/bits"
	"strings"
	"testing"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/sqlledger"
	"github.com/stretchr/testify/require"
)

// treeOf is the tree of the batches by the definition in RFC 6962, section 2.1.
func treeOf(batches []pool.Batch) sqlledger.Tree {
	var leaves [][32]byte
	for _, b := range batches {
		for _, e := range b.Events {
			leaves = append(leaves, e.Leaf())
		}
	}
	var mth func(leaves [][32]byte) [32]byte
	mth = func(leaves [][32]byte) [32]byte {
		switch n := len(leaves); n {
		case 0:
			return sha256.Sum256(nil)
		case 1:
			return leaves[0]
		default:
			k := 1 << (bits.Len(uint(n-1)) - 1)
			left, right := mth(leaves[:k]), mth(leaves[k:])
			return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
		}
	}
	return sqlledger.Tree{Revision: pool.Revision(len(batches)), Size: int64(len(leaves)), Root: mth(leaves)}
}

// TestVerify: the tree is the same on every engine, and stays so through compaction and forgetting.
func TestVerify(t *testing.T) {
	t.Parallel()
	want := goldenBatches(t)
	each(t, sqlEngines(), "verified", func(t *testing.T, e engine) {
		s, _ := e.store(t).ledger(t)
		tree, err := s.Verify(t.Context(), 0)
		require.NoError(t, err)
		require.Equal(t, treeOf(nil), tree)
		for i, b := range want {
			_, err := s.Append(t.Context(), b.Revision-1, b.Events...)
			require.NoError(t, err)
			if i%7 == 0 {
				tree, err := s.Verify(t.Context(), 0)
				require.NoError(t, err)
				require.Equal(t, treeOf(want[:i+1]), tree)
			}
		}
		require.NoError(t, s.Compact(t.Context(), 20, []byte("snapshot")))
		require.NoError(t, s.Forget(t.Context(), "forgotten"))
		for upTo := range pool.Revision(len(want) + 1) {
			expected := want[:upTo]
			if upTo == 0 {
				expected = want
			}
			tree, err := s.Verify(t.Context(), upTo)
			require.NoError(t, err)
			require.Equal(t, treeOf(expected), tree)
		}
		for _, bad := range []pool.Revision{-1, 31} {
			_, err := s.Verify(t.Context(), bad)
			require.ErrorIs(t, err, pool.ErrInvalid)
			require.ErrorContains(t, err, "verify")
		}
	})
}

// TestNoticesDamage: what was changed or taken away behind the ledger's back is ErrCorrupt, with the first
// revision that is wrong, for Verify and for Read, which yields what comes before it.
func TestNoticesDamage(t *testing.T) {
	t.Parallel()
	each(t, sqlEngines(), "damage noticed", func(t *testing.T, e engine) {
		s, db := e.store(t).ledger(t)
		const head = 140 // more than a page
		for i := range pool.Revision(head) {
			_, err := s.Append(t.Context(), i, batchOf(3, int(i))...)
			require.NoError(t, err)
		}
		// Each damage is done to the revision before, so that it is the first.
		revision := pool.Revision(head)
		for _, damage := range []string{
			"UPDATE berthage_events SET data = leaf WHERE revision = ? AND idx = 1",
			"UPDATE berthage_events SET time = time + 1 WHERE revision = ? AND idx = 1",
			"UPDATE berthage_events SET actor = 'eve' WHERE revision = ? AND idx = 1",
			"UPDATE berthage_events SET actor = 'berthage ' WHERE revision = ? AND idx = 1",
			"UPDATE berthage_events SET epoch = epoch + 1 WHERE revision = ? AND idx = 2",
			"UPDATE berthage_events SET leaf = private_hash WHERE revision = ? AND idx = 0",
			"UPDATE berthage_events SET revision = 1000 WHERE revision = ?",
			"UPDATE berthage_events SET idx = 3 WHERE revision = ? AND idx = 2",
			"DELETE FROM berthage_events WHERE revision = ?",
			"DELETE FROM berthage_events WHERE revision = ? AND idx = 0",
			"DELETE FROM berthage_events WHERE revision = ? AND idx = 1",
			"DELETE FROM berthage_events WHERE revision = ? AND idx = 2", // the last one, of which a gap does not tell
			"UPDATE berthage_events SET size = 2 WHERE revision = ?",
			"UPDATE berthage_private SET private = salt WHERE revision = ?",
			"UPDATE berthage_private SET idx = 1 WHERE revision = ?",
		} {
			_, err := db.Exec(placed(e, damage), int64(revision))
			require.NoError(t, err, damage)
			revision--
			var failed error
			n := pool.Revision(0)
			for _, err := range s.Read(t.Context(), 0) {
				if failed = err; err == nil {
					n++
				}
			}
			require.ErrorIs(t, failed, pool.ErrCorrupt, damage)
			require.LessOrEqual(t, n, revision, damage)
			_, err = s.Verify(t.Context(), 0)
			require.ErrorIs(t, err, pool.ErrCorrupt, damage)
			tree, err := s.Verify(t.Context(), revision)
			require.NoError(t, err, "%s: what comes before", damage)
			require.Equal(t, revision, tree.Revision)
		}
	})
}

// TestNoticesDamagedSnapshot: a snapshot that is not what was stored is no snapshot.
func TestNoticesDamagedSnapshot(t *testing.T) {
	t.Parallel()
	each(t, sqlEngines(), "damaged snapshot noticed", func(t *testing.T, e engine) {
		s, db := e.store(t).ledger(t)
		snapshot := make([]byte, 5<<19)
		for i, damage := range []string{
			"DELETE FROM berthage_snapshot WHERE revision = ? AND part = 0",
			"DELETE FROM berthage_snapshot WHERE revision = ? AND part = 2", // the last one
			"UPDATE berthage_snapshot SET data = sum WHERE revision = ? AND part = 1",
			"UPDATE berthage_snapshot SET revision = 1 WHERE revision = ?",
		} {
			at := pool.Revision(2*i + 2)
			for prev := at - 2; prev < at; prev++ {
				_, err := s.Append(t.Context(), prev, batchOf(1, int(prev))...)
				require.NoError(t, err)
			}
			require.NoError(t, s.Compact(t.Context(), at, snapshot))
			_, _, err := s.Checkpoint(t.Context())
			require.NoError(t, err)
			_, err = db.Exec(placed(e, damage), int64(at))
			require.NoError(t, err)
			_, _, err = s.Checkpoint(t.Context())
			require.ErrorIs(t, err, pool.ErrCorrupt, damage)
			_, err = s.Verify(t.Context(), 0)
			require.ErrorIs(t, err, pool.ErrCorrupt, damage)
		}
	})
}

// TestNoticesLostHead: a ledger that ends before its own checkpoint is not whole.
func TestNoticesLostHead(t *testing.T) {
	t.Parallel()
	each(t, sqlEngines(), "head before the checkpoint noticed", func(t *testing.T, e engine) {
		s, db := e.store(t).ledger(t)
		for i := range pool.Revision(4) {
			_, err := s.Append(t.Context(), i, batchOf(1, int(i))...)
			require.NoError(t, err)
		}
		require.NoError(t, s.Compact(t.Context(), 4, nil))
		_, err := db.Exec("DELETE FROM berthage_events WHERE revision > 2")
		require.NoError(t, err)
		yields := 0
		for _, err := range s.Read(t.Context(), 4) {
			require.ErrorIs(t, err, pool.ErrCorrupt)
			yields++
		}
		require.Equal(t, 1, yields)
		_, err = s.Verify(t.Context(), 0)
		require.ErrorIs(t, err, pool.ErrCorrupt)
		require.ErrorContains(t, err, "revision 3")
	})
}

// placed writes a statement with one question mark as the engine has it.
func placed(e engine, statement string) string {
	if e.name == "PostgreSQL" {
		return strings.Replace(statement, "?", "$1", 1)
	}
	return statement
}
