package packing

import (
	"context"
	"math"
)

// Fill solves a knapsack: the most valuable filling of a host of that capacity with at most count[i] copies of
// need[i], each worth value[i], if it is worth more than floor. It returns that filling's value and copies, and
// what no filling exceeds.
func Fill(need [][]int64, count, value, capacity []int64, floor int64, width int) (best int64, copies []int64, most int64) {
	in := &instance{flavors: make([]flavor, len(need))}
	for g := range need {
		in.flavors[g].need = need[g]
	}
	copies = make([]int64, len(need))
	k := newKnapsack(in, &kind{capacity: capacity}, count)
	if k == nil {
		return 0, copies, floor
	}
	a := k.solve(context.Background(), value, floor, width)
	for _, w := range a.loads {
		copies[w.flavor] += w.copies
	}
	return a.value, copies, a.most
}

// VerifyWithin is Verify with knapsacks that keep so many states.
func VerifyWithin(ctx context.Context, p *Problem, r *Result, width int) error {
	return verify(ctx, p, r, width)
}

// Minimise solves a linear program: minimise cost * x with a * x <= rhs and x between zero and upper; rhs is not
// negative. It returns x and the dual values of the rows.
func Minimise(cost, upper []float64, a [][]float64, rhs []float64) (x, price []float64, ok bool) {
	var s simplex
	slacks := make([]column, len(rhs))
	for i := range slacks {
		slacks[i] = column{upper: math.Inf(1), rows: []int32{int32(i)}, coef: []float64{1}}
	}
	s.start(rhs, slacks)
	for j := range cost {
		c := column{cost: cost[j], upper: upper[j]}
		for i := range rhs {
			if a[i][j] != 0 {
				c.rows, c.coef = append(c.rows, int32(i)), append(c.coef, a[i][j])
			}
		}
		s.add(c)
	}
	ok = s.solve(context.Background())
	x = make([]float64, len(cost))
	for j := range cost {
		switch p := s.place[len(rhs)+j]; {
		case p >= 0:
			x[j] = s.value[p]
		case p == atUpper:
			x[j] = upper[j]
		}
	}
	return x, s.price, ok
}
