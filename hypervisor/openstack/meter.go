package openstack

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Sample implements hypervisor.Meter. A region tells its quota and how much of it is left, a hypervisor what Nova counts
// of it. Of machines there are their sizes and, with Config.Diagnostics, what Nova's diagnostics say of those that run.
func (d *Driver) Sample(ctx context.Context, id pool.HostID) ([]hypervisor.Sample, error) {
	fail := func(s *session, err error) ([]hypervisor.Sample, error) {
		return nil, wrap("sample", hypervisor.Ref{Host: id}, s.call, err)
	}
	s := d.session(ctx)
	if err := s.own(id); err != nil {
		return fail(s, err)
	}
	if !d.offers(hypervisor.CanMeter) {
		return fail(s, errNotOffered(hypervisor.CanMeter))
	}
	m := &readings{host: id}
	measure := s.sampleRegion
	if d.config.Mode == Hypervisors {
		measure = s.sampleHypervisor
	}
	if err := measure(m); err != nil {
		return fail(s, err)
	}
	if err := s.sampleMachines(m); err != nil {
		return fail(s, err)
	}
	return m.list, nil
}

// readings collects samples.
type readings struct {
	host pool.HostID
	time time.Time
	list []hypervisor.Sample
}

func (m *readings) add(machine pool.MachineID, name, device string, value float64) {
	m.list = append(m.list, hypervisor.Sample{Host: m.host, Machine: machine, Name: name, Device: device, Value: value, Time: m.time})
}

func (s *session) sampleRegion(m *readings) error {
	var answer struct {
		Limits struct {
			Absolute struct {
				quota
				CoresUsed int64 `json:"totalCoresUsed"`
				RAMUsed   int64 `json:"totalRAMUsed"`
			} `json:"absolute"`
		} `json:"limits"`
	}
	if err := s.get(nova, "limits", &answer); err != nil {
		return err
	}
	m.time = time.Now()
	a := answer.Limits.Absolute
	m.add("", hypervisor.HostCPUCores, "", float64(bound(a.Cores, pool.Core))/float64(pool.Core))
	total := bound(a.RAM, pool.MiB)
	m.add("", hypervisor.HostMemoryTotal, "", float64(total))
	m.add("", hypervisor.HostMemoryAvailable, "", float64(max(total-bound(max(a.RAMUsed, 0), pool.MiB), 0)))
	return nil
}

func (s *session) sampleHypervisor(m *readings) error {
	n, err := s.hypervisor(m.host)
	if err != nil {
		return err
	}
	if !n.up() {
		return errDown()
	}
	m.time = time.Now()
	if n.VCPUs > 0 { // Ironic's nodes have none
		m.add("", hypervisor.HostCPUCores, "", float64(n.VCPUs))
	}
	if n.Memory > 0 {
		m.add("", hypervisor.HostMemoryTotal, "", float64(n.Memory)*float64(pool.MiB))
		m.add("", hypervisor.HostMemoryAvailable, "", max(float64(n.MemFree), 0)*float64(pool.MiB))
	}
	return nil
}

func (s *session) sampleMachines(m *readings) error {
	all, err := s.there(m.host)
	if err != nil {
		return err
	}
	var ours []server
	seen := make(map[pool.MachineID]bool) // a copy would be metered under the same name
	for _, v := range all {
		if id := v.tag().Machine; id != "" && !seen[id] {
			seen[id] = true
			ours = append(ours, v)
		}
	}
	found := make([]*diagnostics, len(ours))
	errs := make([]error, len(ours))
	if s.d.config.Diagnostics {
		var wg sync.WaitGroup
		slots := make(chan struct{}, sideBySide)
		for i := range ours {
			if ours[i].Status != active {
				continue // Nova has none
			}
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				found[i], errs[i] = s.diagnostics(ours[i].ID)
			})
		}
		wg.Wait()
	}
	for i := range ours {
		if errs[i] != nil {
			return errs[i]
		}
		machine := ours[i].tag().Machine
		m.add(machine, hypervisor.CPUCores, "", float64(ours[i].Flavor.VCPUs))
		m.add(machine, hypervisor.MemoryTotal, "", float64(ours[i].Flavor.RAM)*float64(pool.MiB))
		if found[i] != nil {
			found[i].sample(m, machine)
		}
	}
	return nil
}

// diagnostics are what Nova has measured of a server, in the form of microversion 2.48. What a virt driver does not know is
// absent.
type diagnostics struct {
	CPUs []struct {
		Time *float64 `json:"time"` // ns
	} `json:"cpu_details"`
	Memory struct {
		Used *float64 `json:"used"` // MiB
	} `json:"memory_details"`
	Disks []struct {
		ReadBytes  *float64 `json:"read_bytes"`
		WriteBytes *float64 `json:"write_bytes"`
		Reads      *float64 `json:"read_requests"`
		Writes     *float64 `json:"write_requests"`
	} `json:"disk_details"`
	Cards []struct {
		MAC      string   `json:"mac_address"`
		Received *float64 `json:"rx_octets"`
		Sent     *float64 `json:"tx_octets"`
	} `json:"nic_details"`
}

// diagnostics asks for them; a server that has just been stopped or removed has none.
func (s *session) diagnostics(id string) (*diagnostics, error) {
	var d diagnostics
	err := s.get(nova, "servers/"+url.PathEscape(id)+"/diagnostics", &d)
	if answeredWith(err, http.StatusNotFound, http.StatusConflict) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &d, nil
}

func (d *diagnostics) sample(m *readings, machine pool.MachineID) {
	add := func(name, device string, value *float64, unit float64) {
		if value != nil && *value >= 0 {
			m.add(machine, name, device, *value*unit)
		}
	}
	if len(d.CPUs) > 0 {
		busy, known := 0.0, true
		for _, c := range d.CPUs {
			known = known && c.Time != nil
			if c.Time != nil {
				busy += *c.Time
			}
		}
		if known {
			add(hypervisor.CPUSeconds, "", &busy, 1e-9)
		}
	}
	add(hypervisor.MemoryUsed, "", d.Memory.Used, float64(pool.MiB))
	for i, disk := range d.Disks[:min(len(d.Disks), 26)] {
		device := "vd" + string(rune('a'+i))
		add(hypervisor.DiskReadBytes, device, disk.ReadBytes, 1)
		add(hypervisor.DiskWrittenBytes, device, disk.WriteBytes, 1)
		add(hypervisor.DiskReads, device, disk.Reads, 1)
		add(hypervisor.DiskWrites, device, disk.Writes, 1)
	}
	for i, card := range d.Cards[:min(len(d.Cards), 64)] {
		device := "net" + strconv.Itoa(i)
		add(hypervisor.NetworkReceived, device, card.Received, 1)
		add(hypervisor.NetworkTransmitted, device, card.Sent, 1)
	}
}
