package audit

import (
	"crypto/sha256"
	"errors"
	"math/bits"
	"strconv"

	"github.com/berthage/berthage/pool"
)

// ErrProof is the kind of error of a proof that does not show what it is said to show: it is another one's, or a forged one,
// or the tree is another one.
var ErrProof = errors.New("not proved")

// Nodes returns the hash of a complete subtree: the one over the leaves from index*2^level up to (index+1)*2^level. Level 0
// are the leaves.
type Nodes func(level int, index int64) ([32]byte, error)

// Root returns the hash of the tree of the first size leaves.
func Root(size int64, nodes Nodes) ([32]byte, error) {
	if size < 0 || size > pool.MaxTree {
		return [32]byte{}, outside("size", size, pool.MaxTree)
	}
	return nodes.over(0, size)
}

// Inclusion returns the proof that a leaf stands at an index in the tree of the first size leaves: PATH of RFC 6962, section
// 2.1.1, the nodes beside the leaf's way to the root, from the leaf on. Errors are those of nodes, and pool.ErrInvalid for an
// index that is not before size.
func Inclusion(index, size int64, nodes Nodes) ([][32]byte, error) {
	switch {
	case size < 1 || size > pool.MaxTree:
		return nil, outside("size", size, pool.MaxTree)
	case index < 0 || index >= size:
		return nil, outside("index", index, size-1)
	}
	return nodes.beside(index, 0, size)
}

// Consistency returns the proof that the tree of the first size leaves begins with the tree of the first old ones: PROOF of
// RFC 6962, section 2.1.2. It is empty where old is 0 or size. Errors are those of nodes, and pool.ErrInvalid for sizes that
// cannot be.
func Consistency(old, size int64, nodes Nodes) ([][32]byte, error) {
	switch {
	case size < 0 || size > pool.MaxTree:
		return nil, outside("size", size, pool.MaxTree)
	case old < 0 || old > size:
		return nil, outside("old size", old, size)
	case old == 0 || old == size:
		return nil, nil
	}
	// The smaller tree's last complete subtree, which the proof begins with, ends where it ends. Where that subtree is the whole
	// smaller tree, whoever checks has its hash.
	low := bits.TrailingZeros64(uint64(old))
	var proof [][32]byte
	if old != 1<<low {
		h, err := nodes(low, old>>low-1)
		if err != nil {
			return nil, err
		}
		proof = append(proof, h)
	}
	rest, err := nodes.beside(old-1, low, size)
	return append(proof, rest...), err
}

// beside returns the nodes beside the way from the subtree of the given level that holds a leaf up to the root.
func (nodes Nodes) beside(leaf int64, level int, size int64) ([][32]byte, error) {
	var proof [][32]byte
	for at := leaf >> level; size > 1<<level; level, at = level+1, at>>1 {
		low, high := (at^1)<<level, min(size, (at^1+1)<<level)
		if low >= size {
			continue // the last one of its level, which goes up as it is
		}
		h, err := nodes.over(low, high)
		if err != nil {
			return nil, err
		}
		proof = append(proof, h)
	}
	return proof, nil
}

// over returns the hash of the tree over the leaves from low up to high, where low divides by a power of two that is not
// below their number.
func (nodes Nodes) over(low, high int64) ([32]byte, error) {
	if low == high {
		return sha256.Sum256(nil), nil
	}
	var parts [][32]byte // the complete subtrees, from large to small
	for low < high {
		level := bits.Len64(uint64(high-low)) - 1
		h, err := nodes(level, low>>level)
		if err != nil {
			return h, err
		}
		parts, low = append(parts, h), low+1<<level
	}
	root := parts[len(parts)-1]
	for i := len(parts) - 2; i >= 0; i-- {
		root = pool.TreeNode(parts[i], root)
	}
	return root, nil
}

// VerifyInclusion checks that proof shows the leaf at that index of the tree of that size and root (RFC 9162, section
// 2.1.3.2). It relies on root and size only; everything else may come from anybody. The error is ErrProof.
func VerifyInclusion(leaf [32]byte, index, size int64, root [32]byte, proof [][32]byte) error {
	if size < 1 || size > pool.MaxTree || index < 0 || index >= size {
		return unproved("index "+number(index), "an index in the tree of size "+number(size))
	}
	node, last := index, size-1
	hash := leaf
	for _, p := range proof {
		switch {
		case last == 0:
			return unproved("proof", "fewer hashes, for index "+number(index)+" of "+number(size))
		case node&1 == 1 || node == last:
			hash = pool.TreeNode(p, hash)
			for node&1 == 0 && node != 0 {
				node, last = node>>1, last>>1
			}
		default:
			hash = pool.TreeNode(hash, p)
		}
		node, last = node>>1, last>>1
	}
	if last != 0 {
		return unproved("proof", "more hashes, for index "+number(index)+" of "+number(size))
	}
	if hash != root {
		return unproved("proof", "hashes that lead from leaf "+number(index)+" to the root")
	}
	return nil
}

// VerifyConsistency checks that proof shows that the tree of that size and root begins with the one of the old size and root
// (RFC 9162, section 2.1.4.2). It relies on sizes and roots only. The error is ErrProof.
func VerifyConsistency(old, size int64, oldRoot, root [32]byte, proof [][32]byte) error {
	switch {
	case old < 0 || size > pool.MaxTree || old > size:
		return unproved("sizes "+number(old)+" and "+number(size), "sizes of which the first is not the larger one")
	case old == 0 && oldRoot != sha256.Sum256(nil):
		return unproved("old root", "that of the empty tree")
	case old == size && oldRoot != root:
		return unproved("root", "the same root at the same size: two histories of "+number(size)+" events were shown")
	case old == 0 || old == size:
		if len(proof) > 0 {
			return unproved("proof", "no hashes")
		}
		return nil
	case old == 1<<bits.TrailingZeros64(uint64(old)):
		proof = append([][32]byte{oldRoot}, proof...) // not to be written to: it is the caller's
	}
	if len(proof) == 0 {
		return unproved("proof", "hashes")
	}
	node, last := old-1, size-1
	for node&1 == 1 {
		node, last = node>>1, last>>1
	}
	before, after := proof[0], proof[0]
	for _, p := range proof[1:] {
		switch {
		case last == 0:
			return unproved("proof", "fewer hashes, from size "+number(old)+" to "+number(size))
		case node&1 == 1 || node == last:
			before, after = pool.TreeNode(p, before), pool.TreeNode(p, after)
			for node&1 == 0 && node != 0 {
				node, last = node>>1, last>>1
			}
		default:
			after = pool.TreeNode(after, p)
		}
		node, last = node>>1, last>>1
	}
	switch {
	case last != 0:
		return unproved("proof", "more hashes, from size "+number(old)+" to "+number(size))
	case before != oldRoot:
		return unproved("proof", "hashes that give the old root")
	case after != root:
		return unproved("proof", "hashes that lead from the old root to the root")
	}
	return nil
}

func unproved(field, want string) error { return &pool.Error{Kind: ErrProof, Field: field, Want: want} }

func outside(field string, value, most int64) error {
	return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: number(value), Want: "a number up to " + number(most)}
}

func number[T ~int | ~int64](n T) string { return strconv.FormatInt(int64(n), 10) }
