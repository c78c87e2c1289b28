package scheduler

import (
	"math"
	"slices"

	"github.com/berthage/berthage/pool"
)

// fgd is what FGD adds to BestFit for the hosts with GPUs: of how many GPUs the use is lost to what is asked for
// otherwise, by this placement. Fragmentation gradient descent (Weng et al., USENIX ATC '23) takes the host, and the
// device, on which the expected amount of free GPUs that the workload cannot use grows least:
//
//	usable(size, host) = what of the host's free GPUs allocations of that size could take
//	loss               = mean over the workload's sizes of usable before - usable after
//
// which differs from the growth of fragments only by what the request takes itself, on whatever host. Where Weng et al.
// count all devices that have room for the part of a size that goes to one, usable counts no more of them than cores and
// memory suffice for, so that it does not wait for the last core to say that cores are running out.
type fgd struct {
	work          *workload    // nil: the strategy is another, or nothing is known of the pool
	size          pool.GPULoad // of the request
	before, after gpuRoom
	usable        []float64 // before, by size of the workload, as far as it is known
	trial         []int     // a device for each piece
	choosing      bool      // devices are chosen on the host that has been seen
}

// learn tells a decision what is asked for of GPUs, if its strategy wants to know.
func (d *decision) learn(work func() *workload) {
	d.fgd.work = nil
	if d.scheduler.Strategy == FGD || slices.ContainsFunc(d.scheduler.Groups, func(g HostGroup) bool { return g.Strategy == FGD }) {
		d.fgd.work, d.fgd.size = work(), pool.GPULoadOf(d.demand)
	}
}

// less returns a score less what the loss of so many GPUs counts. How often a size comes, as n instances tell it, is
// true up to a standard error of at most 1/(2 sqrt(n)); a difference of losses that is smaller says nothing, and best fit
// decides. So a GPU counts 2 sqrt(n): the more is known, the more.
func (w *workload) less(score, loss float64) float64 { return score - float64(w.trust*loss) }

// loses reports whether losses count on a host.
func (d *decision) loses(h *pool.HostRecord) bool {
	if d.fgd.work == nil {
		return false
	}
	_, strategy := d.scheduler.strategyOf(h)
	return strategy == FGD
}

// see takes in what a host has free. The room of devices that are not there counts for nothing.
func (r *gpuRoom) see(cpu, memory, gpu, share int64, devs []pool.Device, rooms []int64) {
	r.cpu, r.memory, r.units, r.share = cpu, memory, max(0, gpu), share
	if first, end := devicesOf(devs, pool.GPU); first < end {
		r.units = 0
		for i := first; i < end; i++ {
			r.units += units(&devs[i], rooms[i])
		}
	}
	first, end := devicesOf(devs, pool.GPUShare)
	r.devices = first < end
	r.rooms = append(r.rooms[:0], rooms[first:end]...)
}

// seeRecord is see of a host of a State.
func (d *decision) seeRecord(h *pool.HostRecord) {
	free := func(c pool.Class) int64 { return h.Capacity[c] - h.Used[c] }
	d.fgd.before.see(free(pool.CPU), free(pool.Memory), free(pool.GPU), free(pool.GPUShare), h.Devices, d.roomsOf(h, asItIs))
}

// lossHere returns the loss on the host that has been seen, and leaves in trial the devices that cause it, if the
// request takes shares of some. It is infinite if there are none for it. Where it becomes clear that a host whose score
// is so much by best fit comes to less than enough, it returns a loss that says so, and false: the whole is no smaller.
func (d *decision) lossHere(score, enough float64) (loss float64, whole bool) {
	f := &d.fgd
	f.usable = f.usable[:0]
	f.after.cpu, f.after.memory = f.before.cpu-f.size.CPU, f.before.memory-f.size.Memory
	f.after.units, f.after.share = max(0, f.before.units-f.size.GPU), f.before.share-f.size.GPUShare
	f.after.devices = f.before.devices
	f.after.rooms = append(f.after.rooms[:0], f.before.rooms...)
	f.trial = f.trial[:0]
	if f.size.GPUShare == 0 || !f.before.devices {
		return f.lossSo(score, enough, math.Inf(1))
	}
	i := slices.IndexFunc(d.asked, func(n need) bool { return n.class == pool.GPUShare })
	pieces := d.asked[i].pieces
	others, last := pieces[:len(pieces)-1], pieces[len(pieces)-1].size
	loss, whole = math.Inf(1), true
	room := int64(0)
	for at, r := range f.before.rooms {
		// Devices with equal room are alike; one of them is tried. Of equal loss the fullest is taken.
		if r < last || slices.Contains(f.before.rooms[:at], r) || !d.takeOthers(others, at) {
			continue
		}
		copy(f.after.rooms, f.before.rooms)
		f.after.rooms[at] -= last
		for k, on := range d.chosen {
			f.after.rooms[on] -= others[k].size
		}
		l, all := f.lossSo(score, enough, loss)
		if l < loss || l == loss && all && (r < room || len(f.trial) == 0) {
			loss, whole, room = l, all, r
			f.trial = append(append(f.trial[:0], d.chosen...), at)
		}
	}
	return loss, whole
}

// lossSo returns the loss if what is free becomes what after says: the whole, or as much as is not enough or more than
// most. No size can use more than before, so that the sum only grows.
func (f *fgd) lossSo(score, enough, most float64) (loss float64, whole bool) {
	for i := range f.work.sizes {
		s := &f.work.sizes[i]
		if i == len(f.usable) {
			f.usable = append(f.usable, f.before.usable(s))
		}
		if f.usable[i] == 0 {
			continue
		}
		loss += float64(s.weight * (f.usable[i] - f.after.usable(s)))
		if loss > most || f.work.less(score, loss) < enough {
			return loss, i == len(f.work.sizes)-1
		}
	}
	return loss, true
}

// takeOthers leaves in chosen the devices of pieces that go to others than the one that is taken.
func (d *decision) takeOthers(pieces []piece, taken int) bool {
	d.room = append(d.room[:0], d.fgd.before.rooms...)
	d.room[taken] = -1
	d.chosen = slices.Grow(d.chosen[:0], len(pieces))[:len(pieces)]
	steps := maxSteps
	return assign(pieces, true, d.room, d.chosen, &steps)
}

// leastLoss leaves in chosen, in the place of what carries has found for shares of GPUs on the host that has been seen,
// the devices on which least is lost.
func (d *decision) leastLoss(n *need) {
	if !d.fgd.choosing || n.class != pool.GPUShare || n.pieces == nil || d.sameNode(n.class) {
		return
	}
	if d.lossHere(0, math.Inf(-1)); len(d.fgd.trial) > 0 {
		d.chosen = append(d.chosen[:0], d.fgd.trial...)
	}
}
