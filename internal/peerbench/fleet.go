package peerbench

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/berthage/berthage/pool"
)

// Size is what an instance takes and what a host has: millicores, bytes of memory, bytes of storage.
type Size struct{ CPU, Memory, Disk int64 }

func (s Size) plus(o Size) Size { return Size{s.CPU + o.CPU, s.Memory + o.Memory, s.Disk + o.Disk} }

func (s Size) within(o Size) bool { return s.CPU <= o.CPU && s.Memory <= o.Memory && s.Disk <= o.Disk }

// Pools is the number of storage pools of a host, each with an equal part of its storage. A disk goes whole to one.
const Pools = 2

// Host is a host with what is taken of it before anything is placed. For a scheduler that is one instance of that
// size.
type Host struct {
	Name  string
	Zone  string // one of three
	Total Size
	Taken Size
	Pools [Pools]int64 // of Taken.Disk, what is taken of each pool
}

// Request asks for Count instances that are alike, together: one job, one cluster.
type Request struct {
	Name  string
	Count int
	Each  Size
}

// kinds of instances, with how many of a hundred are of each.
func kinds() (sizes []Size, weights []int) {
	add := func(weight int, cores, memory, disk int64) {
		sizes = append(sizes, Size{cores * pool.Core, memory * pool.GiB, disk * pool.GiB})
		weights = append(weights, weight)
	}
	add(30, 1, 2, 20)
	add(20, 2, 4, 40)
	add(15, 2, 8, 80)
	add(15, 4, 8, 80)
	add(10, 4, 16, 160)
	add(7, 8, 32, 240)
	add(3, 16, 64, 400)
	return sizes, weights
}

type draw struct {
	rand    *rand.Rand
	sizes   []Size
	weights []int
}

func newDraw(stream uint64) *draw {
	d := &draw{rand: rand.New(rand.NewPCG(1, stream))}
	d.sizes, d.weights = kinds()
	return d
}

func (d *draw) size() Size {
	x := d.rand.IntN(100)
	for k, w := range d.weights {
		if x -= w; x < 0 {
			return d.sizes[k]
		}
	}
	panic("the weights add up to 100")
}

// Hosts returns n hosts of 64 cores, 256 GiB and 4 TiB, each filled with random instances to between least and most
// percent of its cores. The same numbers give the same hosts.
func Hosts(n, least, most int) []Host {
	d := newDraw(uint64(n))
	out := make([]Host, n)
	for i := range out {
		h := &out[i]
		h.Name = fmt.Sprintf("h%06d", i)
		h.Zone = "zone-" + strconv.Itoa(i%3)
		h.Total = Size{64 * pool.Core, 256 * pool.GiB, 4 * pool.TiB}
		for full := h.Total.CPU * int64(least+d.rand.IntN(most-least+1)) / 100; ; {
			s := d.size()
			at := d.rand.IntN(Pools)
			sum := h.Taken.plus(s)
			if sum.CPU > full || !sum.within(h.Total) || h.Pools[at]+s.Disk > h.Total.Disk/Pools {
				break
			}
			h.Taken = sum
			h.Pools[at] += s.Disk
		}
	}
	return out
}

// Requests returns a sequence of requests for instances in all, count at a time. A shorter one is the beginning of a
// longer one.
func Requests(instances, count int) []Request {
	d := newDraw(uint64(count))
	out := make([]Request, instances/count)
	for i := range out {
		out[i] = Request{Name: "vm-" + strconv.Itoa(i), Count: count, Each: d.size()}
	}
	return out
}
