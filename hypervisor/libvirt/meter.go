package libvirt

import (
	"context"
	"strconv"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Sample implements hypervisor.Meter. Machines' figures come from one request for all of them, which does not
// wait for domains that are busy; what a host's driver does not tell is left out. Interfaces of user-mode
// networks with a forwarded port are not known to libvirt and not metered.
func (d *Driver) Sample(ctx context.Context, id pool.HostID) ([]hypervisor.Sample, error) {
	fail := func(err error) ([]hypervisor.Sample, error) {
		return nil, wrap("sample", hypervisor.Ref{Host: id}, false, err)
	}
	h, err := d.host(id)
	if err != nil {
		return fail(err)
	}
	s := h.session(ctx)
	m := &readings{host: id}
	if err := s.sampleHost(m); err != nil {
		return fail(err)
	}
	if err := s.sampleMachines(m); err != nil {
		return fail(err)
	}
	return m.list, nil
}

// readings collects samples.
type readings struct {
	host    pool.HostID
	machine pool.MachineID // of the samples that are added
	time    time.Time
	list    []hypervisor.Sample
}

func (m *readings) add(name, device string, value float64) {
	m.list = append(m.list, hypervisor.Sample{Host: m.host, Machine: m.machine, Name: name, Device: device, Value: value, Time: m.time})
}

func (s *session) sampleHost(m *readings) error {
	n, err := s.node()
	if err != nil {
		return err
	}
	m.time = time.Now()
	m.add(hypervisor.HostCPUCores, "", float64(n.cpus))
	m.add(hypervisor.HostMemoryTotal, "", float64(n.memory))
	spent, err := read(s, func(api *lv.Libvirt) (map[string]float64, error) {
		const allCPUs = -1
		_, count, err := api.NodeGetCPUStats(allCPUs, 0, 0)
		if err != nil {
			return nil, err
		}
		stats, _, err := api.NodeGetCPUStats(allCPUs, count, 0)
		seconds := make(map[string]float64)
		for _, st := range stats {
			seconds[st.Field] = float64(st.Value) / 1e9
		}
		return seconds, err
	})
	if err == nil {
		m.add(hypervisor.HostCPUSeconds, "", spent["kernel"]+spent["user"])
		if wait, ok := spent["iowait"]; ok {
			m.add(hypervisor.HostCPUWaitSeconds, "", wait)
		}
	} else if !said(err, lv.ErrNoSupport) {
		return err
	}
	memory, err := s.memoryStats()
	if err == nil {
		m.add(hypervisor.HostMemoryAvailable, "", float64(memory["free"]+memory["buffers"]+memory["cached"]))
	} else if !said(err, lv.ErrNoSupport) {
		return err
	}
	for name := range s.h.config.Pools {
		info, err := s.poolInfo(name)
		if said(err, lv.ErrNoStoragePool) || err == nil && !info.running {
			continue
		}
		if err != nil {
			return err
		}
		m.add(hypervisor.HostStorageCapacity, name, float64(info.capacity))
		m.add(hypervisor.HostStorageFree, name, float64(info.avail))
	}
	return nil
}

func (s *session) sampleMachines(m *readings) error {
	domains, err := s.domains()
	if err != nil {
		return err
	}
	records, err := read(s, func(api *lv.Libvirt) ([]lv.DomainStatsRecord, error) {
		const everything = 0
		return api.ConnectGetAllDomainStats(nil, everything, uint32(lv.ConnectGetAllDomainsStatsNowait))
	})
	if err != nil && !said(err, lv.ErrNoSupport, lv.ErrInvalidArg) {
		return err
	}
	m.time = time.Now()
	stats, names := make(map[lv.UUID]stats), make(map[lv.UUID]map[string]string)
	for _, r := range records {
		stats[r.Dom.UUID], names[r.Dom.UUID] = figures(r.Params)
	}
	for i := range domains {
		if dom := &domains[i]; dom.tag != nil {
			m.machine = pool.MachineID(dom.tag.Machine)
			m.sample(dom, stats[dom.UUID], names[dom.UUID])
		}
	}
	return nil
}

// stats are a domain's figures by libvirt's names (https://libvirt.org/manpages/virsh.html#domstats).
type stats map[string]float64

// figures sorts what has come: numbers, and names.
func figures(params []lv.TypedParam) (out stats, names map[string]string) {
	out, names = make(stats, len(params)), make(map[string]string)
	for _, p := range params {
		switch v := p.Value.I.(type) {
		case int32:
			out[p.Field] = float64(v)
		case uint32:
			out[p.Field] = float64(v)
		case int64:
			out[p.Field] = float64(v)
		case uint64:
			out[p.Field] = float64(v)
		case float64:
			out[p.Field] = v
		case string:
			names[p.Field] = v
		}
	}
	return out, names
}

// sample adds the figures of one machine.
func (m *readings) sample(dom *domain, st stats, names map[string]string) {
	m.add(hypervisor.CPUCores, "", float64(dom.cpus))
	m.add(hypervisor.MemoryTotal, "", float64(dom.memory))
	if dom.power() == pool.Stopped {
		return
	}
	nanoseconds, ok := st["cpu.time"]
	if !ok {
		nanoseconds = float64(dom.time)
	}
	m.add(hypervisor.CPUSeconds, "", nanoseconds/1e9)
	const kib = 1 << 10
	// What the guest cannot use for programs: all that it has less what it could give them.
	if available, ok := st["balloon.available"]; ok {
		left, ok := st["balloon.usable"]
		if !ok {
			left = st["balloon.unused"]
		}
		m.add(hypervisor.MemoryUsed, "", max(0, available-left)*kib)
		m.add(hypervisor.MemoryAvailable, "", left*kib)
	} else if rss, ok := st["balloon.rss"]; ok {
		m.add(hypervisor.MemoryUsed, "", rss*kib)
	}
	for from, to := range map[string]string{"balloon.current": hypervisor.MemoryBalloon, "balloon.rss": hypervisor.MemoryResident} {
		if v, ok := st[from]; ok {
			m.add(to, "", v*kib)
		}
	}
	stolen, counted := 0.0, false
	for i := range int(min(st["vcpu.maximum"], 1024)) {
		if v, ok := st["vcpu."+strconv.Itoa(i)+".delay"]; ok {
			stolen, counted = stolen+v/1e9, true
		}
	}
	if counted {
		m.add(hypervisor.CPUStolenSeconds, "", stolen)
	}
	for i := range int(min(st["block.count"], 64)) {
		b := "block." + strconv.Itoa(i) + "."
		device := orDefault(names[b+"name"], diskName(i))
		m.copy(st, device, b, map[string]string{
			"rd.bytes": hypervisor.DiskReadBytes, "wr.bytes": hypervisor.DiskWrittenBytes,
			"rd.reqs": hypervisor.DiskReads, "wr.reqs": hypervisor.DiskWrites,
			"allocation": hypervisor.DiskAllocated, "capacity": hypervisor.DiskCapacity,
		})
		for from, to := range map[string]string{"rd.times": hypervisor.DiskReadSeconds, "wr.times": hypervisor.DiskWriteSeconds} {
			if v, ok := st[b+from]; ok {
				m.add(to, device, v/1e9)
			}
		}
	}
	for i := range int(min(st["net.count"], 64)) {
		m.copy(st, "net"+strconv.Itoa(i), "net."+strconv.Itoa(i)+".", map[string]string{
			"rx.bytes": hypervisor.NetworkReceived, "tx.bytes": hypervisor.NetworkTransmitted,
			"rx.pkts": hypervisor.PacketsReceived, "tx.pkts": hypervisor.PacketsTransmitted,
			"rx.errs": hypervisor.ReceiveErrors, "tx.errs": hypervisor.TransmitErrors,
			"rx.drop": hypervisor.ReceiveDropped, "tx.drop": hypervisor.TransmitDropped,
		})
	}
}

// copy adds those of the figures below a prefix that are there.
func (m *readings) copy(st stats, device, prefix string, names map[string]string) {
	for from, to := range names {
		if v, ok := st[prefix+from]; ok {
			m.add(to, device, v)
		}
	}
}
