package packing

import "context"

// Fill solves a knapsack: the most valuable filling of a host of that capacity with at most count[i] copies of
// need[i], each worth value[i], if it is worth more than floor. It returns that filling's value and copies, and
// what no filling exceeds.
func Fill(need [][]int64, count, value, capacity []int64, floor int64, width int) (best int64, copies []int64, most int64) {
	in := &instance{flavors: make([]flavor, len(need))}
	for g := range need {
		in.flavors[g].need = need[g]
	}
	copies = make([]int64, len(need))
	k := newKnapsack(in, capacity, count)
	if k == nil {
		return 0, copies, floor
	}
	a := k.solve(context.Background(), value, floor, width)
	for _, w := range a.loads {
		copies[w.flavor] += w.copies
	}
	return a.value, copies, a.most
}
