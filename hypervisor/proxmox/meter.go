package proxmox

import (
	"context"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Sample implements hypervisor.Meter. The cluster counts what all disks of a guest read and write together, so that it is given
// under the names of package hypervisor only for machines with one disk, and else as PREFIX_disk_read_bytes_total and
// PREFIX_disk_written_bytes_total. Of processors it tells the part that is busy now, and no time: PREFIX_cpu_busy_ratio and
// PREFIX_host_cpu_busy_ratio, of all cores. PREFIX is the driver's name. Network counters are of all interfaces together.
func (d *Driver) Sample(ctx context.Context, id pool.HostID) ([]hypervisor.Sample, error) {
	s := d.session(ctx)
	m := &readings{host: id, prefix: strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(d.cfg.Name)) + "_"}
	if err := s.sample(m); err != nil {
		return nil, wrap("sample", hypervisor.Ref{Host: id}, false, err)
	}
	return m.list, nil
}

// readings collects samples.
type readings struct {
	host    pool.HostID
	prefix  string         // of names of our own
	machine pool.MachineID // of the samples that are added
	time    time.Time
	list    []hypervisor.Sample
}

func (m *readings) add(name, device string, value number) {
	m.list = append(m.list, hypervisor.Sample{Host: m.host, Machine: m.machine, Name: name, Device: device, Value: float64(max(value, 0)), Time: m.time})
}

// addIf adds what the server has told.
func (m *readings) addIf(name, device string, value *number) {
	if value != nil {
		m.add(name, device, *value)
	}
}

func (s *session) sample(m *readings) error {
	node, err := s.node(m.host)
	if err != nil {
		return err
	}
	state, err := s.nodeState(node)
	if err != nil {
		return err
	}
	m.time = time.Now()
	m.add(hypervisor.HostCPUCores, "", state.CPU.CPUs)
	m.add(hypervisor.HostMemoryTotal, "", state.Memory.Total)
	m.add(m.prefix+"host_cpu_busy_ratio", "", state.Busy)
	if state.Memory.Available != nil {
		m.add(hypervisor.HostMemoryAvailable, "", *state.Memory.Available)
	} else {
		m.add(hypervisor.HostMemoryAvailable, "", state.Memory.Total-state.Memory.Used)
	}
	storages, err := s.storages(node)
	if err != nil {
		return err
	}
	for name, st := range storages {
		if _, ok := s.cfg.storage(name); ok && st.images() {
			m.add(hypervisor.HostStorageCapacity, name, st.Total)
			m.add(hypervisor.HostStorageFree, name, st.Avail)
		}
	}
	all, err := s.guests(node)
	if err != nil {
		return err
	}
	m.time = time.Now()
	seen := make(map[pool.MachineID]bool)
	for _, g := range all {
		if g.mark == nil || g.status.Template != 0 || seen[g.mark.tag().Machine] {
			continue
		}
		m.machine = g.mark.tag().Machine
		seen[m.machine] = true
		m.sample(g)
	}
	return nil
}

// sample adds the figures of one machine.
func (m *readings) sample(g *guest) {
	m.add(hypervisor.CPUCores, "", number(g.conf.cores())/number(pool.Core))
	m.add(hypervisor.MemoryTotal, "", number(g.conf.memory()))
	st := &g.status
	if p := st.power(); p != pool.Running && p != pool.Suspended {
		return
	}
	m.add(m.prefix+"cpu_busy_ratio", "", st.CPU)
	m.add(hypervisor.MemoryUsed, "", st.Memory)
	m.addIf(hypervisor.NetworkReceived, "", st.Received)
	m.addIf(hypervisor.NetworkTransmitted, "", st.Sent)
	if disks := g.conf.disks(); len(disks) == 1 {
		m.addIf(hypervisor.DiskReadBytes, disks[0].key, st.Read)
		m.addIf(hypervisor.DiskWrittenBytes, disks[0].key, st.Written)
	} else {
		m.addIf(m.prefix+"disk_read_bytes_total", "", st.Read)
		m.addIf(m.prefix+"disk_written_bytes_total", "", st.Written)
	}
}
