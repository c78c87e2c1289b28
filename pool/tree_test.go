package pool_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

// mth is the tree hash as RFC 6962, section 2.1 writes it down: split at the largest power of two below n.
func mth(leaves [][32]byte) [32]byte {
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

// TestTreeAgainstTheDefinition: for every size the tree that is built leaf by leaf is the one of the
// definition.
func TestTreeAgainstTheDefinition(t *testing.T) {
	t.Parallel()
	var leaves [][32]byte
	var tree pool.Tree
	for n := range 300 {
		require.Equal(t, mth(leaves), tree.Root(), "%d leaves", n)
		require.EqualValues(t, n, tree.Size())
		leaves = append(leaves, sha256.Sum256([]byte{0, byte(n), byte(n >> 8)}))
		tree.Add(leaves[n])
	}
}

// TestTreeVectors: the roots that Certificate Transparency's own tests have for their eight entries.
func TestTreeVectors(t *testing.T) {
	t.Parallel()
	var tree pool.Tree
	for _, c := range []struct{ root, next string }{ // root of the tree so far, next entry
		{"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", ""},
		{"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", "00"},
		{"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125", "10"},
		{"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77", "2021"},
		{"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7", "3031"},
		{"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4", "40414243"},
		{"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef", "5051525354555657"},
		{"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c", "606162636465666768696a6b6c6d6e6f"},
		{"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328", ""},
	} {
		root := tree.Root()
		require.Equal(t, c.root, hex.EncodeToString(root[:]), "%d leaves", tree.Size())
		entry, err := hex.DecodeString(c.next)
		require.NoError(t, err)
		tree.Add(sha256.Sum256(append([]byte{0}, entry...)))
	}
}

// A tree that was written down and read back goes on as the other one does, at every size; what is none is refused.
func TestTreeIsKept(t *testing.T) {
	t.Parallel()
	var tree pool.Tree
	for n := range 300 {
		b, err := tree.MarshalBinary()
		require.NoError(t, err)
		require.Len(t, b, 8+32*bits.OnesCount(uint(n)))
		var back pool.Tree
		require.NoError(t, back.UnmarshalBinary(b))
		require.Equal(t, tree.Root(), back.Root())
		require.Equal(t, tree.Size(), back.Size())
		for i := range b {
			require.ErrorIs(t, back.UnmarshalBinary(b[:i]), pool.ErrInvalid, "cut off at %d", i)
		}
		require.ErrorIs(t, back.UnmarshalBinary(append(b, 0)), pool.ErrInvalid)
		clear(b) // it is the caller's
		leaf := sha256.Sum256([]byte{0, byte(n), byte(n >> 8)})
		tree.Add(leaf)
		back.Add(leaf)
		require.Equal(t, tree.Root(), back.Root())
	}
	for _, size := range []uint64{1<<62 + 1, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		b := append(binary.BigEndian.AppendUint64(nil, size), make([]byte, 32*bits.OnesCount64(size))...)
		require.ErrorIs(t, new(pool.Tree).UnmarshalBinary(b), pool.ErrInvalid)
	}
	var most pool.Tree
	require.NoError(t, most.UnmarshalBinary(append(binary.BigEndian.AppendUint64(nil, pool.MaxTree), make([]byte, 32)...)))
	most.Add([32]byte{})
	require.EqualValues(t, pool.MaxTree+1, most.Size())
}
