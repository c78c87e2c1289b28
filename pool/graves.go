package pool

import (
	"hash/maphash"
	"iter"
	"slices"
)

// graves holds the tombstones, of which a ledger gathers more than of anything else: in the order in which
// they were set, without a pointer in them, and found by a hash table of positions. Nothing is ever taken
// out or changed, so that a copy for reading shares them. Like a table it can be laid over another. The zero value is an
// empty one over nothing.
type graves struct {
	base  *graves
	parts [][]grave // full ones of partGraves, and one that is being filled
	n     int       // those of base included

	seed  maphash.Seed
	index []uint32 // position plus one in parts, under the hash of the id or after it; a power of two
}

// grave is a tombstone with its id. A million of them are 40 MB.
type grave struct {
	id packedID
	Tombstone
}

const partGraves = 1024

// packedID is an InstanceID as numbers: 12 digits of base 36, 12 more, and the last character.
type packedID struct {
	high, low uint64
	last      byte
}

// pack returns the packed form of id; ok is false for an id that is not Valid.
func (id InstanceID) pack() (p packedID, ok bool) {
	if len(id) != 25 {
		return p, false
	}
	for i := range len(id) {
		c := id[i]
		var digit uint64
		switch {
		case c >= '0' && c <= '9':
			digit = uint64(c - '0')
		case c >= 'a' && c <= 'z':
			digit = uint64(c-'a') + 10
		default:
			return p, false
		}
		switch {
		case i < 12:
			p.high = p.high*36 + digit
		case i < 24:
			p.low = p.low*36 + digit
		default:
			p.last = c
		}
	}
	return p, true
}

// packedMax is one more than the largest number of 12 digits of base 36.
const packedMax = 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36 * 36

// valid reports whether p is what pack returns for some id.
func (p packedID) valid() bool {
	return p.high < packedMax && p.low < packedMax && (p.last >= '0' && p.last <= '9' || p.last >= 'a' && p.last <= 'z')
}

// get returns the tombstone of id.
func (g *graves) get(id InstanceID) (Tombstone, bool) {
	if p, ok := id.pack(); ok {
		for ; g != nil; g = g.base {
			if pos := g.find(p); pos >= 0 {
				return g.at(pos).Tombstone, true
			}
		}
	}
	return Tombstone{}, false
}

// set adds the tombstone of an instance that has none and whose id is Valid.
func (g *graves) set(id InstanceID, t Tombstone) {
	if p, ok := id.pack(); ok {
		g.add(grave{p, t})
	}
}

func (g *graves) add(n grave) {
	own := g.own()
	if 4*(own+1) > 3*len(g.index) {
		g.grow(own)
	}
	if own%partGraves == 0 {
		g.parts = append(g.parts, nil)
	}
	last := &g.parts[len(g.parts)-1]
	*last = append(*last, n)
	g.enter(n.id, own)
	g.n++
}

// own returns the number of those that are not base's.
func (g *graves) own() int {
	if len(g.parts) == 0 {
		return 0
	}
	return (len(g.parts)-1)*partGraves + len(g.parts[len(g.parts)-1])
}

func (g *graves) at(pos int) *grave { return &g.parts[pos/partGraves][pos%partGraves] }

// slot returns where in the index the search for id begins.
func (g *graves) slot(id packedID) int {
	return int(maphash.Comparable(g.seed, id) & uint64(len(g.index)-1))
}

// find returns the position of id, or -1.
func (g *graves) find(id packedID) int {
	if len(g.index) == 0 {
		return -1
	}
	for i := g.slot(id); g.index[i] != 0; i = (i + 1) & (len(g.index) - 1) {
		if pos := int(g.index[i] - 1); g.at(pos).id == id {
			return pos
		}
	}
	return -1
}

func (g *graves) enter(id packedID, pos int) {
	i := g.slot(id)
	for g.index[i] != 0 {
		i = (i + 1) & (len(g.index) - 1)
	}
	g.index[i] = uint32(pos + 1)
}

func (g *graves) grow(own int) {
	if len(g.index) == 0 {
		g.seed = maphash.MakeSeed()
	}
	g.index = make([]uint32, max(8, 2*len(g.index)))
	for pos := range own {
		g.enter(g.at(pos).id, pos)
	}
}

// all yields every tombstone once, in the order in which they were set.
func (g *graves) all() iter.Seq[grave] {
	return func(yield func(grave) bool) {
		if g.base != nil {
			for n := range g.base.all() {
				if !yield(n) {
					return
				}
			}
		}
		for _, part := range g.parts {
			for _, n := range part {
				if !yield(n) {
					return
				}
			}
		}
	}
}

func (g *graves) overlay() graves { return graves{base: g, n: g.n} }

// frozen returns what stays as it is while g goes on. It can be gone through, but nothing is found in it. It
// costs a word per hundred tombstones.
func (g *graves) frozen() graves {
	f := graves{n: g.n, parts: slices.Clone(g.parts)}
	if len(f.parts) > 0 {
		last := &f.parts[len(f.parts)-1]
		*last = slices.Clip(*last) // what g adds behind it is not ours
	}
	if g.base != nil {
		base := g.base.frozen()
		f.base = &base
	}
	return f
}

func (g *graves) clone() graves {
	if g.base != nil {
		c := graves{}
		for n := range g.all() {
			c.add(n)
		}
		return c
	}
	c := g.frozen()
	c.seed, c.index = g.seed, slices.Clone(g.index)
	return c
}

// absorb takes over what the overlay o has of its own; o must have been made of g.
func (g *graves) absorb(o *graves) {
	for _, part := range o.parts {
		for _, n := range part {
			g.add(n)
		}
	}
}
