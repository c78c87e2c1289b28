package pool

import (
	"iter"
	"maps"
)

// table is a map that can be laid over another: what is set or deleted in the upper one hides the lower
// one, which stays as it is. An overlay costs nothing to make and holds only what differs. The zero value is
// an empty table over nothing.
type table[K comparable, V any] struct {
	base *table[K, V]
	own  map[K]slot[V]
	n    int // entries, those of base included
	most int // of an overlay that is used again and again: entries that own has been made for
}

type slot[V any] struct {
	v       V
	present bool // false hides an entry of base
}

func (t *table[K, V]) get(k K) (V, bool) {
	for ; t != nil; t = t.base {
		if s, ok := t.own[k]; ok {
			return s.v, s.present
		}
	}
	var zero V
	return zero, false
}

// owns reports whether an entry was set in this table and not in one under it.
func (t *table[K, V]) owns(k K) bool {
	_, ok := t.own[k]
	return ok
}

func (t *table[K, V]) set(k K, v V) {
	if _, ok := t.get(k); !ok {
		t.n++
	}
	t.put(k, slot[V]{v, true})
}

// add sets an entry that is known not to be there, replace one that is.
func (t *table[K, V]) add(k K, v V) {
	t.n++
	t.put(k, slot[V]{v, true})
}

func (t *table[K, V]) replace(k K, v V) { t.put(k, slot[V]{v, true}) }

func (t *table[K, V]) put(k K, s slot[V]) {
	if t.own == nil {
		t.own = make(map[K]slot[V])
	}
	t.own[k] = s
}

func (t *table[K, V]) del(k K) {
	if _, ok := t.get(k); !ok {
		return
	}
	t.n--
	if t.base == nil {
		delete(t.own, k)
	} else {
		t.put(k, slot[V]{})
	}
}

// all yields every entry once, in no order.
func (t *table[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for l := t; l != nil; l = l.base {
			for k, s := range l.own {
				if !s.present || l != t && t.hides(k, l) {
					continue
				}
				if !yield(k, s.v) {
					return
				}
			}
		}
	}
}

// hides reports whether a layer of t above lower has an entry for k.
func (t *table[K, V]) hides(k K, lower *table[K, V]) bool {
	for l := t; l != lower; l = l.base {
		if _, ok := l.own[k]; ok {
			return true
		}
	}
	return false
}

// overlay makes o, which may have been used, a table that is laid over t. What o has grown far beyond what it was used for
// is let go, since clearing it costs as much each time.
func (t *table[K, V]) overlay(o *table[K, V]) {
	o.base, o.n = t, t.n
	if o.most = max(o.most, len(o.own)); o.most > 8 && o.most > 4*len(o.own) {
		o.own, o.most = nil, 0
	}
	clear(o.own)
}

func (t *table[K, V]) clone() table[K, V] {
	if t.base == nil {
		return table[K, V]{own: maps.Clone(t.own), n: t.n}
	}
	c := table[K, V]{own: make(map[K]slot[V], t.n), n: t.n}
	for k, v := range t.all() {
		c.own[k] = slot[V]{v, true}
	}
	return c
}

// absorb takes over what the overlay o has of its own; o must have been made of t.
func (t *table[K, V]) absorb(o *table[K, V]) {
	for k, s := range o.own {
		if s.present {
			t.set(k, s.v)
		} else {
			t.del(k)
		}
	}
}
