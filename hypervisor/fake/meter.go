package fake

import (
	"context"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Sample implements hypervisor.Meter. The readings are functions of the machine's native id and of the time
// that it has run, so that two samples at the same time are the same.
func (d *Driver) Sample(ctx context.Context, id pool.HostID) ([]hypervisor.Sample, error) {
	if err := d.offered(hypervisor.CanMeter, OpSample, hostRef(id)); err != nil {
		return nil, err
	}
	var out []hypervisor.Sample
	err := d.do(ctx, &request{op: OpSample, ref: hostRef(id), effect: func(h *host) error {
		out = h.sample(time.Now())
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (h *host) sample(now time.Time) []hypervisor.Sample {
	var out []hypervisor.Sample
	put := func(m pool.MachineID, name, device string, v float64) {
		out = append(out, hypervisor.Sample{Host: h.spec.ID, Machine: m, Name: name, Device: device, Value: v, Time: now})
	}
	inUse, spent := int64(0), h.spent
	machines := make([]*machine, 0, len(h.machines))
	for _, m := range h.machines {
		spent += cpuMicros(m, now)
		if m.Power == pool.Running || m.Power == pool.Suspended {
			inUse += memoryUsed(m, now)
		}
		machines = append(machines, m)
	}
	slices.SortFunc(machines, func(a, b *machine) int { return strings.Compare(a.Native, b.Native) })

	cores := float64(h.spec.Inventory[pool.CPU].Total) / float64(pool.Core)
	memory := h.spec.Inventory[pool.Memory]
	// The host itself keeps one core in fifty busy, and uses what is reserved for it.
	put("", hypervisor.HostCPUSeconds, "", float64(spent)/1e6+cores/50*max(now.Sub(h.added).Seconds(), 0))
	put("", hypervisor.HostCPUCores, "", cores)
	put("", hypervisor.HostMemoryTotal, "", float64(memory.Total))
	put("", hypervisor.HostMemoryAvailable, "", float64(max(memory.Total-memory.Reserved-inUse, 0)))
	for _, dev := range h.spec.Devices {
		if strings.HasPrefix(string(dev.Class), "storage.") {
			inv := h.device(&dev)
			put("", hypervisor.HostStorageCapacity, dev.ID, float64(inv.Total))
			put("", hypervisor.HostStorageFree, dev.ID, float64(max(inv.Total-inv.Reserved-h.ours.device[dev.ID], 0)))
		}
	}
	for _, m := range machines {
		if m.tagged() && m.Power != Debris {
			m.sample(now, put)
		}
	}
	return out
}

func (m *machine) sample(now time.Time, put func(id pool.MachineID, name, device string, v float64)) {
	id := m.Tag.Machine
	put(id, hypervisor.CPUSeconds, "", float64(cpuMicros(m, now))/1e6)
	put(id, hypervisor.CPUCores, "", float64(m.Demand[pool.CPU])/float64(pool.Core))
	put(id, hypervisor.MemoryTotal, "", float64(m.Demand[pool.Memory]))
	if m.Power == pool.Running || m.Power == pool.Suspended {
		put(id, hypervisor.MemoryUsed, "", float64(memoryUsed(m, now)))
	}
	busy, ran := busyness(m), m.ran(now).Seconds()
	for i, size := range m.Disks {
		disk := "vd" + string(rune('a'+i))
		reads, writes := math.Floor(ran*busy*20), math.Floor(ran*busy*30)
		put(id, hypervisor.DiskReadBytes, disk, reads*16384)
		put(id, hypervisor.DiskWrittenBytes, disk, writes*8192)
		put(id, hypervisor.DiskReads, disk, reads)
		put(id, hypervisor.DiskWrites, disk, writes)
		put(id, hypervisor.DiskAllocated, disk, math.Min(float64(size), 1<<20+writes*8192))
		put(id, hypervisor.DiskCapacity, disk, float64(size))
	}
	for i := range m.Networks {
		nic := "eth" + strconv.Itoa(i)
		put(id, hypervisor.NetworkReceived, nic, math.Floor(ran*busy*125_000))
		put(id, hypervisor.NetworkTransmitted, nic, math.Floor(ran*busy*50_000))
	}
}

// busyness is the share of its cores that a machine uses, the same for its whole life: one machine in ten is
// idle, one in ten is hot, the others use a few per cent up to a quarter. The average is low enough that the
// cores of a host can be shared out among four times as many.
func busyness(m *machine) float64 {
	h := fnv.New32a()
	h.Write([]byte(m.Native))
	n := h.Sum32() / 16 % 1000
	switch n % 10 {
	case 0:
		return 0.002
	case 1:
		return 0.6
	}
	return 0.02 + 0.2*float64(n)/1000
}

// period is that of a machine's load, in seconds.
const period = 3600.0

// cpuMicros is the integral over the time it has run of its load: busyness, and half of that up and down. The
// load stays above zero, so that the counter never falls, and below one. It is in whole microseconds, so that
// the sum of a host does not depend on the order of its machines.
func cpuMicros(m *machine, now time.Time) int64 {
	w := 2 * math.Pi / period
	until := func(ran time.Duration) float64 {
		t := ran.Seconds()
		return t + (1-math.Cos(w*t))/(2*w)
	}
	seconds := float64(m.Demand[pool.CPU]) / float64(pool.Core) * busyness(m) * (until(m.ran(now)) - until(m.Rated))
	return m.Spent + int64(min(max(seconds, 0)*1e6, 1<<53)) // 285 years of a core
}

// memoryUsed is what the guest uses, in bytes.
func memoryUsed(m *machine, now time.Time) int64 {
	// A guest fills its memory in its first ten minutes, up to a share that depends on what it does.
	share := 0.15 + busyness(m)*math.Min(1, m.ran(now).Minutes()/10)
	return int64(float64(m.Demand[pool.Memory]) * share)
}
