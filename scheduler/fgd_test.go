package scheduler_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

type workload map[pool.GPULoad]float64

// trust is what a lost GPU counts.
func (w workload) trust() float64 {
	sum := 0.0
	for _, n := range w {
		sum += n
	}
	return 2 * math.Sqrt(sum)
}

// workloadOf is the workload of a State by its definition: how often each size of allocation with GPUs is there, as a
// power of two.
func workloadOf(st *pool.State) workload {
	counts, out := map[pool.GPULoad]int{}, workload{}
	book := func(a pool.Allocation) {
		if size := pool.GPULoadOf(a.Resources); size.GPU+size.GPUShare > 0 {
			counts[size]++
		}
	}
	for i := range st.Instances() {
		if i.Placed() {
			book(i.Place.Allocation)
		}
	}
	for h := range st.Held() {
		book(h.Allocation)
	}
	for size, n := range counts {
		out[size] = math.Exp2(math.Floor(math.Log2(float64(n))))
	}
	return out
}

// lostGPUs is the loss by its definition: with the devices that the claims say or, if they are nil, those that lose
// least of all ways there are.
func lostGPUs(work workload, h *pool.HostRecord, spec pool.Spec, claims []pool.Claim) float64 {
	demand, err := spec.Demand()
	if err != nil {
		panic(err)
	}
	free := h.Capacity.Clone()
	for c, n := range h.Used {
		free[c] -= n
	}
	var rooms []int64
	var names []string
	units, anyUnits := int64(0), false
	for _, d := range h.Devices {
		room := d.Capacity() - h.DeviceUsed[d.ID]
		switch d.Class {
		case pool.GPU:
			anyUnits = true
			units += max(0, min(room, d.Total-d.Reserved))
		case pool.GPUShare:
			rooms, names = append(rooms, room), append(names, d.ID)
		}
	}
	if anyUnits {
		free[pool.GPU] = units
	}
	free[pool.GPU] = max(0, free[pool.GPU]) // below zero where it has shrunk
	shared := rooms != nil
	after := free.Clone()
	for c, n := range demand {
		after[c] = free[c] - n
	}
	after[pool.GPU] = max(0, after[pool.GPU])
	mean := func(rooms2 []int64) float64 {
		sum, weights := 0.0, 0.0
		for size, w := range work {
			sum += w * (usableGPUs(size, free, rooms, shared) - usableGPUs(size, after, rooms2, shared))
			weights += w
		}
		return sum / max(1, weights) / 1000
	}
	share := demand[pool.GPUShare]
	switch {
	case !shared || share == 0:
		return mean(rooms)
	case claims != nil:
		left := slices.Clone(rooms)
		for _, c := range claims {
			if c.Class == pool.GPUShare {
				left[slices.Index(names, c.Device)] -= c.Amount
			}
		}
		return mean(left)
	}
	least := math.Inf(1)
	var give func(left []int64, taken map[int]bool, rest int64)
	give = func(left []int64, taken map[int]bool, rest int64) {
		if rest == 0 {
			least = min(least, mean(left))
			return
		}
		piece := min(rest, 1000)
		for i := range left {
			if taken[i] || left[i] < piece {
				continue
			}
			left[i], taken[i] = left[i]-piece, true
			give(left, taken, rest-piece)
			left[i], taken[i] = left[i]+piece, false
		}
	}
	give(slices.Clone(rooms), map[int]bool{}, share)
	return least
}

func usableGPUs(size pool.GPULoad, free pool.Resources, rooms []int64, shared bool) float64 {
	if size.CPU > free[pool.CPU] || size.Memory > free[pool.Memory] || size.GPU > free[pool.GPU] {
		return 0
	}
	usable := 0.0
	if size.GPU > 0 {
		usable = 1000 * float64(free[pool.GPU])
	}
	if n := size.GPUShare; n > 0 && !shared {
		if n > free[pool.GPUShare] {
			return 0
		}
		usable += float64(free[pool.GPUShare])
	} else if n > 0 {
		var pieces []int64
		for rest := n; rest > 0; rest -= 1000 {
			pieces = append(pieces, min(rest, 1000))
		}
		sorted := slices.Clone(rooms) // the largest pieces on the largest devices
		slices.SortFunc(sorted, func(a, b int64) int { return int(b - a) })
		for i, p := range pieces {
			if i >= len(sorted) || sorted[i] < p {
				return 0
			}
		}
		for _, r := range rooms {
			if r >= pieces[len(pieces)-1] {
				usable += float64(r)
			}
		}
	}
	all := float64(1000*size.GPU + size.GPUShare)
	if size.CPU > 0 {
		usable = min(usable, float64(free[pool.CPU])/float64(size.CPU)*all)
	}
	if size.Memory > 0 {
		usable = min(usable, float64(free[pool.Memory])/float64(size.Memory)*all)
	}
	return usable
}

// gpuHost is a server with GPUs that can be shared.
func gpuHost(name string, cores, gib int64, gpus int) pool.Host {
	h := host(name, cores, gib)
	for i := range gpus {
		h.Devices = append(h.Devices, pool.Device{ID: fmt.Sprint("gpu", i), Class: pool.GPUShare, Inventory: pool.Inventory{Total: 1000}})
	}
	return h
}

func wantGPU(cores, gib, share int64) scheduler.Request {
	req := want(cores, gib)
	if share > 0 {
		req.Spec.Resources[pool.GPUShare] = share
	}
	return req
}

// What FGD chooses where best fit would make GPUs useless.
func TestFGDKeepsGPUsUsable(t *testing.T) {
	t.Parallel()
	type on struct {
		host   pool.HostID
		req    scheduler.Request
		device string
	}
	for name, c := range map[string]struct {
		hosts  []pool.Host
		there  []on
		req    scheduler.Request
		best   pool.HostID // by best fit
		want   pool.HostID
		device string
	}{
		"cores stay beside free GPUs": {
			hosts: []pool.Host{gpuHost("a", 16, 64, 2), host("b", 64, 256)},
			there: []on{{"d/a", wantGPU(8, 32, 1000), "gpu0"}, {"d/b", want(1, 1), ""}},
			req:   want(8, 8), best: "d/a", want: "d/b",
		},
		"cores beside GPUs that are taken are free to all": {
			hosts: []pool.Host{gpuHost("a", 16, 64, 2), gpuHost("b", 16, 64, 2), host("c", 64, 256)},
			there: []on{{"d/a", wantGPU(4, 16, 1000), "gpu0"}, {"d/b", wantGPU(4, 16, 2000), ""}, {"d/c", want(1, 1), ""}},
			req:   want(12, 12), best: "d/a", want: "d/b",
		},
		"a share goes beside another, so that a whole device stays": {
			hosts: []pool.Host{gpuHost("a", 16, 64, 1), gpuHost("b", 64, 256, 2)},
			there: []on{{"d/b", wantGPU(4, 16, 500), "gpu1"}, {"d/b", wantGPU(4, 16, 1000), ""}, {"d/a", want(4, 16), ""}},
			req:   wantGPU(4, 16, 500), best: "d/a", want: "d/b", device: "gpu1",
		},
		"a share leaves what others ask for, though another device is fuller": {
			hosts: []pool.Host{gpuHost("a", 64, 256, 2)},
			there: []on{{"d/a", wantGPU(1, 4, 400), "gpu0"}, {"d/a", wantGPU(1, 4, 200), "gpu0"}, {"d/a", wantGPU(1, 4, 300), "gpu1"}},
			req:   wantGPU(1, 4, 300), best: "d/a", want: "d/a", device: "gpu1", // from 700 free to 400; on gpu0 from 400 to 100
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBooks(t, c.hosts...)
			for _, o := range c.there {
				h, _ := b.state.Host(o.host)
				d, err := new(scheduler.Scheduler).PlaceAt(h, o.req)
				require.NoError(t, err)
				for i := range d.Allocation.Claims {
					if o.device != "" {
						d.Allocation.Claims[i].Device = o.device
					}
				}
				b.book(o.req, d)
			}
			d, err := (&scheduler.Scheduler{Strategy: scheduler.BestFit}).Place(b.state, c.req)
			require.NoError(t, err)
			require.Equal(t, c.best, d.Host, "best fit")
			s := &scheduler.Scheduler{Strategy: scheduler.FGD}
			d, err = s.Place(b.state, c.req)
			require.NoError(t, err)
			require.Equal(t, c.want, d.Host)
			indexed, err := s.PlaceOn(scheduler.NewIndex(b.state), c.req)
			require.NoError(t, err)
			require.Equal(t, d.Allocation, indexed.Allocation)
			if c.device != "" {
				require.Equal(t, c.device, d.Allocation.Claims[0].Device)
			}
		})
	}
}

// Where nothing takes GPUs FGD is best fit, to the last bit.
func TestFGDWithoutGPUsIsBestFit(t *testing.T) {
	t.Parallel()
	b := newBooks(t, host("a", 8, 16), gpuHost("b", 8, 32, 2), host("c", 16, 32))
	for range 12 {
		best, err := (&scheduler.Scheduler{Strategy: scheduler.BestFit}).Place(b.state, want(2, 4))
		require.NoError(t, err)
		d, err := (&scheduler.Scheduler{Strategy: scheduler.FGD}).Place(b.state, want(2, 4))
		require.NoError(t, err)
		require.Equal(t, best, d)
		b.book(want(2, 4), d)
	}
}
