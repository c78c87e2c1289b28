package pool

import (
	"cmp"
	"slices"
)

// GPULoad is how many allocations on a host take the same of its GPUs, and of what the GPUs need beside them. Without
// the Count it is the size of an allocation, and may be the key of a map.
type GPULoad struct {
	CPU      int64 // millicores
	Memory   int64 // bytes
	GPU      int64 // devices
	GPUShare int64 // thousandths of a device
	Count    int   // allocations, at least 1
}

// GPULoadOf returns the size of what takes r. It takes GPUs if GPU or GPUShare is above zero.
func GPULoadOf(r Resources) GPULoad {
	return GPULoad{CPU: r[CPU], Memory: r[Memory], GPU: r[GPU], GPUShare: r[GPUShare]}
}

// Size returns the load without its Count.
func (l GPULoad) Size() GPULoad {
	l.Count = 0
	return l
}

// Compare orders loads by what they take: devices, shares of devices, cores, memory.
func (l GPULoad) Compare(o GPULoad) int {
	return cmp.Or(cmp.Compare(l.GPU, o.GPU), cmp.Compare(l.GPUShare, o.GPUShare), cmp.Compare(l.CPU, o.CPU), cmp.Compare(l.Memory, o.Memory))
}

// CountGPULoad returns loads, which are in the order of Compare, with one allocation more that takes r, or one less:
// sign is 1 or -1. It changes the list in place where that has room, so that who shares the list passes a copy. What
// takes no GPUs is not counted, and nothing is taken away that is not there.
func CountGPULoad(loads []GPULoad, r Resources, sign int) []GPULoad {
	size := GPULoadOf(r)
	if size.GPU <= 0 && size.GPUShare <= 0 {
		return loads
	}
	i, found := slices.BinarySearchFunc(loads, size, GPULoad.Compare)
	switch {
	case found:
		if loads[i].Count += sign; loads[i].Count == 0 {
			loads = slices.Delete(loads, i, i+1)
		}
	case sign > 0:
		size.Count = 1
		loads = slices.Insert(loads, i, size)
	}
	return loads
}

// countGPU is CountGPULoad on a draft of a record, whose list other records share.
func (h *HostRecord) countGPU(r Resources, sign int) {
	if r[GPU]|r[GPUShare] == 0 {
		return
	}
	if h.GPULoads = CountGPULoad(slices.Clone(h.GPULoads), r, sign); len(h.GPULoads) == 0 {
		h.GPULoads = nil
	}
}
