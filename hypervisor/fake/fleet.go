package fake

import (
	"fmt"
	"math/rand/v2"

	"github.com/berthage/berthage/pool"
)

// Fleet returns n hosts for the driver of that name (empty: "fake"), of mixed sizes and equipment: general
// servers, ones for computing, for memory, for storage, and some with GPUs, in three zones. The i-th host
// depends only on the seed and on i. Names are under .example, addresses from the blocks that RFC 5737 and
// RFC 2544 keep free.
func Fleet(driver string, n int, seed uint64) []pool.Host {
	if driver == "" {
		driver = "fake"
	}
	out := make([]pool.Host, 0, max(n, 0))
	for i := range n {
		out = append(out, server(driver, i, rand.New(rand.NewPCG(seed, uint64(i)))))
	}
	return out
}

// model is a kind of server.
type model struct {
	name     string
	cores    []int64
	memory   []int64 // GiB
	standard []int64 // TiB
	ssd      []int64
	nvme     []int64
	gpus     []int64
	ratio    pool.Ratio // of cores
}

// models returns the kinds of servers with the share of each in a hundred.
func models() ([]model, []int) {
	return []model{
		{name: "general", cores: []int64{16, 24, 32}, memory: []int64{64, 128, 192}, standard: []int64{4, 8}, ssd: []int64{2, 4}, ratio: 4000},
		{name: "compute", cores: []int64{48, 64, 96}, memory: []int64{192, 256}, ssd: []int64{2}, nvme: []int64{2, 4}, ratio: 2000},
		{name: "memory", cores: []int64{32, 48}, memory: []int64{512, 768, 1024}, ssd: []int64{4, 8}, ratio: 2000},
		{name: "storage", cores: []int64{16, 24}, memory: []int64{96, 128}, standard: []int64{48, 96}, nvme: []int64{4}, ratio: 4000},
		{name: "gpu", cores: []int64{32, 64}, memory: []int64{256, 512}, nvme: []int64{4, 8}, gpus: []int64{2, 4, 8}, ratio: 1000},
	}, []int{45, 20, 15, 12, 8}
}

func server(driver string, i int, r *rand.Rand) pool.Host {
	kinds, shares := models()
	k, at := 0, r.IntN(100)
	for at >= shares[k] {
		at -= shares[k]
		k++
	}
	m := kinds[k]
	pick := func(of []int64) int64 {
		if len(of) == 0 {
			return 0
		}
		return of[r.IntN(len(of))]
	}
	name := fmt.Sprintf("node-%04d", i+1)
	h := pool.Host{
		ID:      pool.NewHostID(driver, name),
		Name:    name + ".example",
		Address: hostAddress(i),
		Zone:    string(rune('a' + i%3)),
		Labels:  map[string]string{"model": m.name, "rack": fmt.Sprintf("r%02d", i/20+1)},
		Inventory: map[pool.Class]pool.Inventory{
			pool.CPU:    {Total: pick(m.cores) * pool.Core, Ratio: m.ratio},
			pool.Memory: {Total: pick(m.memory) * pool.GiB, Reserved: 4 * pool.GiB},
		},
		Conditions: pool.Ready,
	}
	for _, s := range []struct {
		kind pool.Storage
		sold []int64
		iops int64 // per TiB
	}{{pool.Standard, m.standard, 500}, {pool.SSD, m.ssd, 20_000}, {pool.NVMe, m.nvme, 100_000}} {
		size := pick(s.sold)
		if size == 0 {
			continue
		}
		pools := int64(1 + r.IntN(2)) // the bytes in one storage pool or in two
		for p := range pools {
			h.Devices = append(h.Devices, pool.Device{
				ID: fmt.Sprintf("%s-%d", s.kind, p+1), Class: s.kind.Class(),
				Inventory: pool.Inventory{Total: size * pool.TiB / pools},
			})
		}
		h.Inventory[s.kind.IOPSClass()] = pool.Inventory{Total: size * s.iops}
	}
	for g := range pick(m.gpus) {
		h.Devices = append(h.Devices, pool.Device{
			ID: fmt.Sprintf("0000:%02x:00.0", 0x17+g), Class: pool.GPU, Inventory: pool.Inventory{Total: 1},
		})
	}
	if out, err := h.Normalize(); err == nil { // with the sums of the devices
		return out
	}
	return h
}

// hostAddress is the i-th address of the three blocks of RFC 5737, then of RFC 2544.
func hostAddress(i int) string {
	if i < 3*254 {
		return fmt.Sprintf([]string{"192.0.2.%d", "198.51.100.%d", "203.0.113.%d"}[i/254], i%254+1)
	}
	i -= 3 * 254
	return fmt.Sprintf("198.%d.%d.%d", 18+i/(254*256)%2, i/254%256, i%254+1)
}
