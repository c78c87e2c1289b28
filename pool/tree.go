package pool

import (
	"crypto/sha256"
	"math/bits"
)

// Tree is the Merkle tree of RFC 6962, section 2.1 over leaf hashes (Event.Leaf) that are added one after another.
// It keeps one hash for each bit of their number, however many there are. The zero value is the empty tree.
type Tree struct {
	size int64
	left [][32]byte // roots of the complete subtrees it consists of, from large to small
}

// Add appends a leaf.
func (t *Tree) Add(leaf [32]byte) {
	for range bits.TrailingZeros64(^uint64(t.size)) { // as in a binary counter, each trailing one carries
		last := len(t.left) - 1
		leaf = treeNode(t.left[last], leaf)
		t.left = t.left[:last]
	}
	t.left = append(t.left, leaf)
	t.size++
}

// Size returns the number of leaves.
func (t *Tree) Size() int64 { return t.size }

// Root returns the hash of the tree; SHA-256 of nothing if it is empty.
func (t *Tree) Root() [32]byte {
	if len(t.left) == 0 {
		return sha256.Sum256(nil)
	}
	root := t.left[len(t.left)-1]
	for i := len(t.left) - 2; i >= 0; i-- {
		root = treeNode(t.left[i], root)
	}
	return root
}

// treeNode is the hash of an inner node: SHA-256 over a one and the hashes of its children.
func treeNode(left, right [32]byte) [32]byte {
	var b [65]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}
