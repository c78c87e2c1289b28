package audit

import (
	"context"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/berthage/berthage/pool"
)

// History yields the batches after a revision in order, as pool.History does for a ledger.
type History func(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error]

// Of returns the history of a ledger, its archive included.
func Of(l pool.Ledger) History {
	return func(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
		return pool.History(ctx, l, after)
	}
}

// Position is where an event stands.
type Position struct {
	Revision pool.Revision `json:"revision"`
	Index    int           `json:"index"` // within its batch, from 0
}

// String returns the position as "17.0".
func (p Position) String() string { return number(p.Revision) + "." + number(p.Index) }

// ParsePosition reads what String returns. "17" is the first event of revision 17.
func ParsePosition(s string) (Position, error) {
	revision, index, _ := strings.Cut(s, ".")
	if index == "" {
		index = "0"
	}
	r, err := strconv.ParseInt(revision, 10, 64)
	i, err2 := strconv.ParseInt(index, 10, 32)
	if err != nil || err2 != nil || r < 1 || i < 0 {
		return Position{}, &pool.Error{Kind: pool.ErrInvalid, Field: "event", Value: s, Want: "a revision, a dot and the index in its batch, such as 17.0"}
	}
	return Position{pool.Revision(r), int(i)}, nil
}

// before reports whether p comes before q.
func (p Position) before(q Position) bool {
	return p.Revision < q.Revision || p.Revision == q.Revision && p.Index < q.Index
}

// Leaves are read from the history in tiles of 2^tileLevel.
const (
	tileLevel = 8
	tileSize  = 1 << tileLevel
)

// Log is the Merkle tree over the events of a ledger, in the order of revision and index, as far as it has been read: it
// gives roots and proofs of every size up to that. It does not keep the leaves but the hash of every 256 of them, less than
// a byte for each event, and reads again what a proof needs: at most 512 events, and their batches. What it
// reads again must be what it read before, or it is pool.ErrCorrupt.
//
// The zero value but for History is the empty log. It is not safe for concurrent use.
type Log struct {
	// History is what Follow and proofs read.
	History History

	nodes    [][][32]byte // the complete subtrees of level tileLevel, and of those above
	tail     [][32]byte   // the leaves after the last complete tile
	first    []Position   // of each tile's first leaf, the incomplete one's too
	size     int64
	revision pool.Revision
	ledger   string
}

// Size returns the number of events.
func (l *Log) Size() int64 { return l.size }

// Head returns what there is to be signed: everything but the time. Ledger is the identity that the ledger has at its last
// event.
func (l *Log) Head() (Head, error) {
	root, err := l.Root(context.Background(), l.size)
	return Head{Ledger: l.ledger, Revision: l.revision, Size: l.size, Root: root}, err
}

// Follow reads on to the end of the history.
func (l *Log) Follow(ctx context.Context) error {
	for b, err := range l.History(ctx, l.revision) {
		if err != nil {
			return err
		}
		if err := l.Add(b); err != nil {
			return err
		}
	}
	return nil
}

// Add adds the events of the next batch. One that is not the next is pool.ErrCorrupt, and nothing is added.
func (l *Log) Add(b pool.Batch) error {
	ledger, err := follows(b, l.revision, l.ledger)
	if err != nil {
		return err
	}
	for i := range b.Events {
		if len(l.tail) == 0 {
			l.first = append(l.first, Position{b.Revision, i})
		}
		if l.tail = append(l.tail, b.Events[i].Leaf()); len(l.tail) == tileSize {
			l.carry(treeOver(l.tail))
			l.tail = l.tail[:0]
		}
		l.size++
	}
	l.revision, l.ledger = b.Revision, ledger
	return nil
}

// carry adds the hash of a complete tile, and of every subtree that it completes.
func (l *Log) carry(h [32]byte) {
	for level := 0; ; level++ {
		if level == len(l.nodes) {
			l.nodes = append(l.nodes, nil)
		}
		row := append(l.nodes[level], h)
		l.nodes[level] = row
		if len(row)%2 == 1 {
			return
		}
		h = pool.TreeNode(row[len(row)-2], h)
	}
}

// treeOver returns the root of the tree over leaves.
func treeOver(leaves [][32]byte) [32]byte {
	var t pool.Tree
	for _, leaf := range leaves {
		t.Add(leaf)
	}
	return t.Root()
}

// Root returns the root of the tree of the first size events. That of all events is had without reading.
func (l *Log) Root(ctx context.Context, size int64) ([32]byte, error) {
	if size > l.size {
		return [32]byte{}, outside("size", size, l.size)
	}
	return Root(size, l.reading(ctx))
}

// Inclusion returns the proof that the event of that leaf, counted from 0, stands in the tree of the first size events.
func (l *Log) Inclusion(ctx context.Context, leaf, size int64) ([][32]byte, error) {
	if size > l.size {
		return nil, outside("size", size, l.size)
	}
	return Inclusion(leaf, size, l.reading(ctx))
}

// Consistency returns the proof that the tree of the first size events begins with that of the first old ones.
func (l *Log) Consistency(ctx context.Context, old, size int64) ([][32]byte, error) {
	if size > l.size {
		return nil, outside("size", size, l.size)
	}
	return Consistency(old, size, l.reading(ctx))
}

// Find returns the leaf of the event at a position, and the event. There is none: pool.ErrNotFound.
func (l *Log) Find(ctx context.Context, at Position) (leaf int64, e pool.Event, err error) {
	tile, found := slices.BinarySearchFunc(l.first, at, func(p, q Position) int {
		switch {
		case p.before(q):
			return -1
		case q.before(p):
			return 1
		}
		return 0
	})
	if !found {
		tile--
	}
	if tile >= 0 {
		events, err := l.tile(ctx, tile)
		if err != nil {
			return 0, e, err
		}
		for i, e := range events {
			if e.Revision == at.Revision && e.Index == at.Index {
				return int64(tile)*tileSize + int64(i), e, nil
			}
		}
	}
	return 0, e, &pool.Error{Kind: pool.ErrNotFound, Field: "event", Value: at.String(), Want: "an event up to revision " + number(l.revision)}
}

// reading returns the nodes of the log. It keeps the tiles that it has read.
func (l *Log) reading(ctx context.Context) Nodes {
	read := make(map[int][][32]byte)
	return func(level int, index int64) ([32]byte, error) {
		if level >= tileLevel {
			return l.nodes[level-tileLevel][index], nil
		}
		low := index << level
		tile := int(low / tileSize)
		leaves, ok := read[tile]
		if !ok {
			if tile == len(l.first)-1 {
				leaves = l.tail
			}
			if len(leaves) == 0 {
				events, err := l.tile(ctx, tile)
				if err != nil {
					return [32]byte{}, err
				}
				for i := range events {
					leaves = append(leaves, events[i].Leaf())
				}
			}
			read[tile] = leaves
		}
		low %= tileSize
		return treeOver(leaves[low : low+1<<level]), nil
	}
}

// tile reads the events of a tile, which must be those that it was made of.
func (l *Log) tile(ctx context.Context, tile int) ([]pool.Event, error) {
	n := tileSize
	if tile == len(l.nodes0()) {
		n = len(l.tail)
	}
	var events []pool.Event
	var tree pool.Tree
	for b, err := range l.History(ctx, l.first[tile].Revision-1) {
		if err != nil {
			return nil, err
		}
		for _, e := range b.Events {
			if here := (Position{e.Revision, e.Index}); len(events) < n && !here.before(l.first[tile]) {
				events = append(events, e)
				tree.Add(e.Leaf())
			}
		}
		if len(events) == n {
			break
		}
	}
	want := treeOver(l.tail)
	if n == tileSize {
		want = l.nodes[0][tile]
	}
	if len(events) != n || tree.Root() != want {
		return nil, &pool.Error{Kind: pool.ErrCorrupt, Field: "revision " + number(l.first[tile].Revision), Want: "the " + number(n) + " events from here on that were there when they were read before"}
	}
	return events, nil
}

// nodes0 returns the hashes of the complete tiles.
func (l *Log) nodes0() [][32]byte {
	if len(l.nodes) == 0 {
		return nil
	}
	return l.nodes[0]
}
