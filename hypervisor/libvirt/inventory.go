package libvirt

import (
	"math"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/pool"
)

// node is what a host says of its hardware.
type node struct {
	cpus   int64
	memory int64 // bytes
}

func (s *session) node() (node, error) {
	n, err := read(s, func(api *lv.Libvirt) (node, error) {
		_, kib, cpus, _, _, _, _, _, err := api.NodeGetInfo()
		return node{int64(cpus), fromKiB(kib)}, err
	})
	if err != nil {
		return n, err
	}
	// NodeGetInfo counts by NUMA cell and was seen to lag far behind where memory comes online late; the kernel's
	// own total is not offered by every driver.
	stats, err := s.memoryStats()
	if said(err, lv.ErrNoSupport) {
		return n, nil
	}
	n.memory = max(n.memory, stats["total"])
	return n, err
}

// memoryStats returns the host's memory by libvirt's names, in bytes.
func (s *session) memoryStats() (map[string]int64, error) {
	return read(s, func(api *lv.Libvirt) (map[string]int64, error) {
		const allCells = -1
		_, n, err := api.NodeGetMemoryStats(0, allCells, 0)
		if err != nil {
			return nil, err
		}
		params, _, err := api.NodeGetMemoryStats(n, allCells, 0)
		out := make(map[string]int64)
		for _, p := range params {
			out[p.Field] = fromKiB(p.Value)
		}
		return out, err
	})
}

// fromKiB converts to bytes; what is more than an int64 holds is the largest int64.
func fromKiB(kib uint64) int64 {
	if kib > math.MaxInt64>>10 {
		return math.MaxInt64
	}
	return int64(kib << 10)
}

func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// inventory observes the host. Domains that are not tagged count as reserved by the sizes that they are
// configured with, running or not, so that the figure moves only when somebody defines or removes one.
func (s *session) inventory() (pool.Host, error) {
	c := s.h.config
	n, err := s.node()
	if err != nil {
		return pool.Host{}, err
	}
	cpu := pool.Inventory{Total: n.cpus * pool.Core, Reserved: c.ReservedCPU, Ratio: c.CPURatio}
	memory := pool.Inventory{Total: n.memory, Reserved: c.ReservedMemory, Ratio: c.MemoryRatio}
	domains, err := s.domains()
	if err != nil {
		return pool.Host{}, err
	}
	for _, d := range domains {
		if d.tag == nil {
			cpu.Reserved = addUp(cpu.Reserved, d.cpus*pool.Core)
			memory.Reserved = addUp(memory.Reserved, d.memory)
		}
	}
	h := pool.Host{
		ID: s.h.id, Name: c.Name, Zone: c.Zone, Labels: c.Labels, Taints: c.Taints, Cost: c.Cost, Conditions: pool.Ready,
		Address:   orDefault(c.Address, orDefault(s.h.target.address, s.h.offered().hostname)),
		Inventory: map[pool.Class]pool.Inventory{pool.CPU: cpu, pool.Memory: memory},
	}
	for name, p := range c.Pools {
		info, err := s.poolInfo(name)
		if said(err, lv.ErrNoStoragePool) || err == nil && (!info.running || s.c.offers.odd[name] != "") {
			continue // logged when the connection was made
		}
		if err != nil {
			return pool.Host{}, err
		}
		h.Devices = append(h.Devices, pool.Device{
			ID: name, Class: p.Kind.Class(),
			Inventory: pool.Inventory{Total: info.capacity, Reserved: p.Reserved, Ratio: p.Ratio},
		})
		if p.IOPS > 0 {
			iops := h.Inventory[p.Kind.IOPSClass()]
			iops.Total = addUp(iops.Total, p.IOPS)
			h.Inventory[p.Kind.IOPSClass()] = iops
		}
	}
	return h, nil
}

// addUp adds, at most to the largest int64.
func addUp(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// poolInfo is the state of a storage pool; sizes in bytes.
type poolInfo struct {
	running         bool
	capacity, avail int64
}

func (s *session) poolInfo(name string) (poolInfo, error) {
	return read(s, func(api *lv.Libvirt) (poolInfo, error) {
		p, err := api.StoragePoolLookupByName(name)
		if err != nil {
			return poolInfo{}, err
		}
		state, capacity, _, available, err := api.StoragePoolGetInfo(p)
		return poolInfo{lv.StoragePoolState(state) == lv.StoragePoolRunning, clamp(capacity), clamp(available)}, err
	})
}
