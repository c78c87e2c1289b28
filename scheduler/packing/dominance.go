package packing

import "slices"

// stair is a state in a staircase: with less left of a class, it has more value.
type stair struct {
	left  uint64
	value int64
}

// dominate drops the states than which another has no less left of any class and no less value: whatever can be
// added to them can be added to that. It does so for one class and for two, where one pass suffices: states come
// in the order of one class, and those seen so far form a staircase over the other.
func (k *knapsack) dominate() {
	if len(k.capacity) == 0 || len(k.capacity) > 2 || k.now.len() < 32 {
		return
	}
	minor := 0 // the class that does not lead in the order of keys
	if len(k.capacity) == 2 && k.fields[0].word != k.fields[1].word {
		minor = 1
	}
	f, s := k.fields[minor], &k.now
	stairs := k.stairs[:0]
	k.drop = resize(k.drop, s.len())
	for j := s.len() - 1; j >= 0; j-- {
		now := stair{s.key[j*k.words+f.word] >> f.shift & f.mask, s.value[j]}
		at, same := slices.BinarySearchFunc(stairs, now.left, func(x stair, left uint64) int {
			switch {
			case x.left < left:
				return -1
			case x.left > left:
				return 1
			}
			return 0
		})
		if k.drop[j] = at < len(stairs) && stairs[at].value >= now.value; k.drop[j] {
			continue
		}
		from, to := at, at
		for from > 0 && stairs[from-1].value <= now.value {
			from--
		}
		if same {
			to++
		}
		stairs = slices.Replace(stairs, from, to, now)
	}
	k.stairs = stairs
	k.keep(func(j int, _ []uint64) bool { return !k.drop[j] })
}
