package pool

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"strconv"
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
		leaf = TreeNode(t.left[last], leaf)
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
		root = TreeNode(t.left[i], root)
	}
	return root
}

// MaxTree is the largest size that a Tree is read back with: no number of leaves that is added to it overflows.
const MaxTree = 1 << 62

// MarshalBinary returns the tree for UnmarshalBinary, in 8 bytes and 32 for each bit of its size, however many leaves it has:
// with it somebody goes on adding leaves without having those before. It is not encrypted and not signed. The error is nil.
func (t *Tree) MarshalBinary() ([]byte, error) {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 8+32*len(t.left)), uint64(t.size))
	for i := range t.left {
		b = append(b, t.left[i][:]...)
	}
	return b, nil
}

// UnmarshalBinary makes the tree the one that MarshalBinary has written. Whether it is the right one shows its Root.
func (t *Tree) UnmarshalBinary(b []byte) error {
	if len(b) < 8 {
		return invalid("tree", "", "8 bytes of size and the hashes")
	}
	size, b := binary.BigEndian.Uint64(b), b[8:]
	if size > MaxTree || len(b) != 32*bits.OnesCount64(size) {
		return invalid("tree", strconv.FormatUint(size, 10), "a size up to 2^62, and a hash for each of its bits")
	}
	left := make([][32]byte, len(b)/32)
	for i := range left {
		copy(left[i][:], b[32*i:])
	}
	t.size, t.left = int64(size), left
	return nil
}

// TreeNode returns the hash of an inner node of a Tree: SHA-256 over a one and the hashes of its children.
func TreeNode(left, right [32]byte) [32]byte {
	var b [65]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}
