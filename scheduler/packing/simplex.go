package packing

import (
	"context"
	"math"
)

// simplex is a linear program and a basis of it:
//
//	minimise cost * x, such that A x = rhs and 0 <= x <= upper
//
// It is the revised simplex method with bounded variables and an explicit inverse of the basis. Nothing that
// is certified rests on it: its prices are a suggestion, which integer arithmetic turns into a bound or
// discards. Columns may be added between calls of solve, which goes on from the basis it has reached.
type simplex struct {
	rhs     []float64
	columns []column

	basis []int     // the column that is basic in each row
	place []int     // of each column: its row in the basis, or nonbasic at zero, or at its upper limit
	inv   []float64 // the inverse of the basis, row by row
	value []float64 // of the basic column of each row
	price []float64 // dual values of the rows, after solve

	enter  []float64 // the entering column in terms of the basis
	pivots int       // since the inverse was made anew
	steps  int64     // pivots in all
}

// column is a column of A with its cost and upper limit, which may be infinite.
type column struct {
	cost, upper float64
	rows        []int32
	coef        []float64
}

const (
	atZero  = -1
	atUpper = -2

	optimalWithin  = 1e-11 // a reduced cost this small counts as zero, relative to the costs
	pivotAtLeast   = 1e-9  // smaller elements are no pivots
	refreshAfter   = 128   // pivots after which the inverse is looked at
	driftAtMost    = 1e-8  // relative error from which it is made anew
	degenerateStep = 1e-12 // a smaller step counts as none
)

// start begins with the columns first, one for each row, whose only element is the positive one in that row.
func (s *simplex) start(rhs []float64, first []column) {
	m := len(rhs)
	s.rhs, s.columns = rhs, append(s.columns[:0], first...)
	s.basis, s.place = resize(s.basis, m), resize(s.place, m)
	s.inv, s.value = resize(s.inv, m*m), resize(s.value, m)
	s.price, s.enter = resize(s.price, m), resize(s.enter, m)
	clear(s.inv)
	clear(s.price)
	for i := range rhs {
		s.basis[i], s.place[i] = i, i
		s.inv[i*m+i] = 1 / first[i].coef[0]
		s.value[i] = rhs[i] / first[i].coef[0]
	}
	s.pivots = 0
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// add adds a column, at zero.
func (s *simplex) add(c column) {
	s.columns = append(s.columns, c)
	s.place = append(s.place, atZero)
}

// solve goes to an optimal basis. It returns false when it gives up: after very many pivots, with a basis
// that cannot be inverted, or because ctx ended. Prices are set in any case.
func (s *simplex) solve(ctx context.Context) bool {
	scale := 0.0
	for i := range s.columns {
		scale = max(scale, math.Abs(s.columns[i].cost))
	}
	within := optimalWithin * max(scale, math.SmallestNonzeroFloat32)
	stuck := 0
	for n := 0; ; n++ {
		s.setPrices()
		if n > 200*(len(s.rhs)+10)+len(s.columns) || n%64 == 63 && ctx.Err() != nil {
			return false
		}
		bland := stuck > 2*len(s.rhs)+20
		j := s.entering(within, bland)
		if j < 0 {
			return true
		}
		step, ok := s.pivot(j, bland)
		if !ok {
			return false
		}
		if stuck++; step > degenerateStep {
			stuck = 0
		}
		if s.pivots >= refreshAfter {
			if s.pivots = 0; s.drift() > driftAtMost && !s.refresh() {
				return false
			}
		}
	}
}

// setPrices computes cost of the basis times its inverse.
func (s *simplex) setPrices() {
	m := len(s.rhs)
	clear(s.price)
	for i, j := range s.basis {
		if c := s.columns[j].cost; c != 0 {
			for k, v := range s.inv[i*m : i*m+m] {
				s.price[k] += c * v
			}
		}
	}
}

func (s *simplex) reduced(c *column) float64 {
	d := c.cost
	for k, r := range c.rows {
		d -= s.price[r] * c.coef[k]
	}
	return d
}

// entering returns the column whose reduced cost is the most promising, or none. By Bland's rule, which ends
// for certain where steps have no length, it is the first that has any promise.
func (s *simplex) entering(within float64, bland bool) int {
	best, most := -1, within
	for j := range s.columns {
		c := &s.columns[j]
		if s.place[j] >= 0 || c.upper == 0 {
			continue
		}
		d := s.reduced(c)
		if s.place[j] == atZero {
			d = -d
		}
		if d > most {
			if best, most = j, d; bland {
				break
			}
		}
	}
	return best
}

// pivot lets column j enter as far as the limits allow and returns how far that is.
func (s *simplex) pivot(j int, bland bool) (float64, bool) {
	m, c := len(s.rhs), &s.columns[j]
	for i := range m {
		v := 0.0
		for k, r := range c.rows {
			v += s.inv[i*m+int(r)] * c.coef[k]
		}
		s.enter[i] = v
	}
	way := 1.0
	if s.place[j] == atUpper {
		way = -1
	}
	row, step := -1, c.upper
	for i, e := range s.enter {
		if math.Abs(e) < pivotAtLeast {
			continue
		}
		t := max(0, s.value[i]) / math.Abs(e)
		if e*way < 0 {
			t = max(0, s.columns[s.basis[i]].upper-s.value[i]) / math.Abs(e)
		}
		tie := row >= 0 && math.Abs(t-step) <= degenerateStep*(1+step)
		switch {
		case tie && bland && s.basis[i] > s.basis[row], tie && !bland && math.Abs(e) <= math.Abs(s.enter[row]):
		case tie, t < step:
			row, step = i, min(t, step)
		}
	}
	if math.IsInf(step, 1) {
		return 0, false // without limit: not a program of ours
	}
	for i, e := range s.enter {
		s.value[i] -= way * step * e
	}
	if row < 0 { // from one limit of its own to the other
		s.place[j] = atZero + atUpper - s.place[j]
		return step, true
	}
	leaves, e := s.basis[row], s.enter[row]
	s.value[row] = way * step
	if s.place[j] == atUpper {
		s.value[row] += c.upper
	}
	s.place[leaves] = atZero
	if e*way < 0 {
		s.place[leaves] = atUpper
	}
	s.basis[row], s.place[j] = j, row
	pr := s.inv[row*m : row*m+m]
	for k := range pr {
		pr[k] /= e
	}
	for i, f := range s.enter {
		if i != row && f != 0 {
			for k, v := range pr {
				s.inv[i*m+k] -= f * v
			}
		}
	}
	s.pivots++
	s.steps++
	return step, true
}

// drift returns by how much the basic values miss the right-hand sides, relative to these.
func (s *simplex) drift() float64 {
	left := s.left()
	largest := 1.0
	for i, j := range s.basis {
		c := &s.columns[j]
		for k, r := range c.rows {
			left[r] -= c.coef[k] * s.value[i]
		}
		largest = max(largest, math.Abs(s.rhs[i]))
	}
	worst := 0.0
	for _, l := range left {
		worst = max(worst, math.Abs(l))
	}
	return worst / largest
}

// left returns the right-hand sides less what the columns at their upper limits contribute.
func (s *simplex) left() []float64 {
	left := append([]float64(nil), s.rhs...)
	for j, p := range s.place {
		if c := &s.columns[j]; p == atUpper {
			for k, r := range c.rows {
				left[r] -= c.coef[k] * c.upper
			}
		}
	}
	return left
}

// refresh makes the inverse and the basic values anew, by Gauss and Jordan with pivots by column.
func (s *simplex) refresh() bool {
	m := len(s.rhs)
	a := make([]float64, m*m)
	for i, j := range s.basis {
		c := &s.columns[j]
		for k, r := range c.rows {
			a[int(r)*m+i] = c.coef[k]
		}
	}
	inv := make([]float64, m*m)
	for i := range m {
		inv[i*m+i] = 1
	}
	for k := range m {
		p := k
		for i := k + 1; i < m; i++ {
			if math.Abs(a[i*m+k]) > math.Abs(a[p*m+k]) {
				p = i
			}
		}
		e := a[p*m+k]
		if math.Abs(e) < 1e-11 {
			return false
		}
		for c := range m {
			a[k*m+c], a[p*m+c] = a[p*m+c], a[k*m+c]
			inv[k*m+c], inv[p*m+c] = inv[p*m+c], inv[k*m+c]
		}
		for c := range m {
			a[k*m+c] /= e
			inv[k*m+c] /= e
		}
		for i := range m {
			if f := a[i*m+k]; i != k && f != 0 {
				for c := range m {
					a[i*m+c] -= f * a[k*m+c]
					inv[i*m+c] -= f * inv[k*m+c]
				}
			}
		}
	}
	s.inv = inv
	left := s.left()
	for i := range m {
		v := 0.0
		for k := range m {
			v += inv[i*m+k] * left[k]
		}
		s.value[i] = v
	}
	return true
}
