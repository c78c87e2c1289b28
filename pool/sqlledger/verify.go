package sqlledger

import (
	"context"
	"crypto/sha256"
	"math/bits"

	"github.com/berthage/berthage/pool"
)

// Tree is the Merkle tree of the events of a ledger up to a revision, as RFC 6962, section 2.1 defines it over
// their leaf hashes (pool.Event.Leaf). As long as the history is the same, so is its tree, on any engine and
// after any export, compaction or forgetting.
type Tree struct {
	Revision pool.Revision // the last revision in it
	Size     int64         // leaves, which are events
	Root     [32]byte      // the hash of the tree; SHA-256 of nothing if it is empty
}

// Verify reads the whole ledger up to and including the given revision, the archive too, compares it with
// what was stored beside it, and returns its tree; 0 stands for the head. It also checks the snapshot. What
// does not match is pool.ErrCorrupt, with the first revision that is wrong; a revision after the head is
// pool.ErrInvalid. Appends go on meanwhile. It holds a page of batches in memory, however long the ledger is.
//
// Read, Archive and Checkpoint make the same comparison for what they return, so that whoever folds a ledger
// has verified it from the checkpoint on. It detects what disks and hands do: flipped bits, fields that were
// edited, events, batches and parts of the snapshot that are missing. It does not detect a history that was
// rewritten as a whole, hashes and all, nor one that was cut off at its end or replaced by an older copy:
// against those keep a Tree elsewhere, and compare it with what Verify gives for its Revision. A private part
// whose row is missing looks as if it had been forgotten.
//
// The hashes cost Read about 3 s of processor time per million events of 400 bytes, of 16 to 19 s that it takes
// to read them (BenchmarkVerify in internal/integration/ledgers, 2.5 GHz); Verify hashes a second time, for the
// tree.
func (s *Store) Verify(ctx context.Context, upTo pool.Revision) (Tree, error) {
	if _, _, err := s.Checkpoint(ctx); err != nil {
		return Tree{}, err
	}
	var tree Tree
	var left subtrees
	end := func(_, head pool.Revision) (pool.Revision, error) {
		if upTo < 0 || upTo > head {
			return 0, &pool.Error{Kind: pool.ErrInvalid, Field: "revision", Value: number(upTo), Want: "up to the head, " + number(head)}
		}
		if upTo > 0 {
			return upTo, nil
		}
		return head, nil
	}
	for b, err := range s.batches(ctx, "verify", 0, end) {
		if err != nil {
			return Tree{}, err
		}
		tree.Revision = b.Revision
		for i := range b.Events {
			left.add(b.Events[i].Leaf(), tree.Size)
			tree.Size++
		}
	}
	tree.Root = left.root()
	return tree, nil
}

// subtrees are the roots of the complete subtrees that a Merkle tree consists of, from left to right and so
// from large to small: one for each bit of its number of leaves.
type subtrees [][32]byte

// add appends the leaf to a tree of n leaves. As in a binary counter each trailing one of n carries.
func (t *subtrees) add(leaf [32]byte, n int64) {
	for range bits.TrailingZeros64(^uint64(n)) {
		last := len(*t) - 1
		leaf = node((*t)[last], leaf)
		*t = (*t)[:last]
	}
	*t = append(*t, leaf)
}

// root joins the subtrees from the right.
func (t subtrees) root() [32]byte {
	if len(t) == 0 {
		return sha256.Sum256(nil)
	}
	root := t[len(t)-1]
	for i := len(t) - 2; i >= 0; i-- {
		root = node(t[i], root)
	}
	return root
}

// node is the hash of an inner node: SHA-256 over a one and the hashes of its children.
func node(left, right [32]byte) [32]byte {
	var b [65]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}
