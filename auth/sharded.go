package auth

import (
	"hash/fnv"
	"iter"
	"maps"
	"slices"
)

// sharded is a map that is not changed once somebody has it: with returns another one, which shares all but one in shards of what it holds. The zero
// value is empty.
type sharded[V any] struct {
	in *[shards]map[string]V
	n  int
}

const shards = 256

func shard(key string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return int(h.Sum32() % shards)
}

func (m sharded[V]) get(key string) (V, bool) {
	if m.in == nil {
		var none V
		return none, false
	}
	v, ok := m.in[shard(key)][key]
	return v, ok
}

func (m sharded[V]) with(key string, v V) sharded[V] {
	return m.edit(key, func(in map[string]V) { in[key] = v })
}

func (m sharded[V]) without(key string) sharded[V] {
	if _, ok := m.get(key); !ok {
		return m
	}
	return m.edit(key, func(in map[string]V) { delete(in, key) })
}

func (m sharded[V]) edit(key string, f func(map[string]V)) sharded[V] {
	var in [shards]map[string]V
	if m.in != nil {
		in = *m.in
	}
	k := shard(key)
	n := m.n - len(in[k])
	in[k] = maps.Clone(in[k])
	if in[k] == nil {
		in[k] = make(map[string]V)
	}
	f(in[k])
	return sharded[V]{&in, n + len(in[k])}
}

// set changes the map itself: only for one that nobody else has seen yet, nor anything that was made of it.
func (m *sharded[V]) set(key string, v V) {
	if m.in == nil {
		m.in = new([shards]map[string]V)
	}
	in := &m.in[shard(key)]
	if *in == nil {
		*in = make(map[string]V)
	}
	m.n -= len(*in)
	(*in)[key] = v
	m.n += len(*in)
}

// all yields what is in it by key.
func (m sharded[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		if m.in == nil {
			return
		}
		keys := make([]string, 0, m.n)
		for _, in := range m.in {
			keys = slices.AppendSeq(keys, maps.Keys(in))
		}
		slices.Sort(keys)
		for _, k := range keys {
			if v, _ := m.get(k); !yield(k, v) {
				return
			}
		}
	}
}
