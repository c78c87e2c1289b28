package scheduler

import (
	"math"
	"slices"
)

// tally is a sum that boxes keep, because requests ask for those columns and the policy adds up their free parts: of
// each host the free parts times factors.
type tally struct {
	columns []int
	scaled  bool // the factors are weights that change
	factors []float64
	asked   uint64 // when it was last, in searches
}

// of returns the sum of a host; no number where it has nothing free of one of the columns, and so takes no request that
// asks for them.
func (t *tally) of(l *line) float64 {
	sum := 0.0
	for k, c := range t.columns {
		if l.free[c] <= 0 || l.capacity[c] <= 0 {
			return math.NaN()
		}
		sum += float64(t.factors[k] * (float64(l.free[c]) / float64(l.capacity[c])))
	}
	return sum
}

// Bounds of what tallies cost, which change nothing in what is found: how many are kept; by how much a weight may differ
// from the factor that is used for it; after how many searches one that nobody has asked for gives way to another.
const (
	mostTallies = 8
	farOff      = 1.0 / 64
	longAgo     = 1024
)

// tallyOf returns the sum that is kept for requests that ask for those columns under a policy with those weights: a new
// one as long as there are few or one has not been asked for, else -1.
func (ix *Index) tallyOf(columns []int, weights []float64) int {
	ix.searches++
	for i := range ix.tallies {
		t := &ix.tallies[i]
		if t.scaled != (weights != nil) || !slices.Equal(t.columns, columns) {
			continue
		}
		for k, w := range weights {
			if off := w - t.factors[k]; off > farOff || off < -farOff {
				copy(t.factors, weights)
				ix.resum(i)
				break
			}
		}
		t.asked = ix.searches
		return i
	}
	at := len(ix.tallies)
	if at == mostTallies {
		at = ix.leastAsked()
	}
	if len(columns) == 0 || at < 0 {
		return -1
	}
	t := tally{columns: slices.Clone(columns), scaled: weights != nil, factors: slices.Clone(weights), asked: ix.searches}
	for len(t.factors) < len(columns) {
		t.factors = append(t.factors, 1)
	}
	if at < len(ix.tallies) {
		ix.tallies[at] = t
		ix.resum(at)
		return at
	}
	ix.tallies = append(ix.tallies, t)
	ix.line.sums, ix.other.sums = append(ix.line.sums, 0), append(ix.other.sums, 0)
	for _, r := range ix.rows {
		r.sums = append(r.sums, nothing())
		for _, b := range r.blocks {
			b.sums, b.box.sums = append(b.sums, make([]float64, blockSize)), append(b.box.sums, nothing())
		}
	}
	ix.empty = nil // which have no space for it
	ix.resum(at)
	return at
}

// leastAsked returns the tally that has not been asked for longest, -1 if that is not long ago.
func (ix *Index) leastAsked() int {
	least := 0
	for i := range ix.tallies {
		if ix.tallies[i].asked < ix.tallies[least].asked {
			least = i
		}
	}
	if ix.searches-ix.tallies[least].asked < ix.patience {
		return -1
	}
	return least
}

// resum makes all sums of a tally anew.
func (ix *Index) resum(i int) {
	t := &ix.tallies[i]
	for _, r := range ix.rows {
		r.sums[i] = nothing()
		for _, b := range r.blocks {
			n := nothing()
			for k := range b.n {
				b.read(k, &ix.other)
				b.sums[i][k] = t.of(&ix.other)
				n.join(b.sums[i][k])
			}
			b.box.sums[i] = n
			b.tell()
			r.sums[i].joinAll(n)
		}
	}
}

// sum makes the sums of a host.
func (ix *Index) sum(l *line) {
	for i := range ix.tallies {
		l.sums[i] = ix.tallies[i].of(l)
	}
}
