package hetzner

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// metered remembers when servers were last measured.
type metered struct {
	mu   sync.Mutex
	last map[int64]time.Time
}

// due reports whether a server is to be measured now, and notes that it is.
func (m *metered) due(id int64, every time.Duration, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last, ok := m.last[id]; ok && now.Sub(last) < every {
		return false
	}
	if m.last == nil {
		m.last = make(map[int64]time.Time)
	}
	for other, last := range m.last { // those that are long gone
		if now.Sub(last) > 10*every {
			delete(m.last, other)
		}
	}
	m.last[id] = now
	return true
}

// Sample implements hypervisor.Meter. The service measures rates and no totals, so they have names that begin with
// the driver's own:
//
//	hetzner_cpu_used_cores
//	hetzner_disk_reads_per_second, hetzner_disk_writes_per_second
//	hetzner_disk_read_bytes_per_second, hetzner_disk_written_bytes_per_second
//	hetzner_network_receive_bytes_per_second, hetzner_network_transmit_bytes_per_second
//	hetzner_network_receive_packets_per_second, hetzner_network_transmit_packets_per_second
//
// It knows nothing of memory. They are the newest that the service has, which may be a minute old. Every machine
// measured costs a request, so a machine is asked once in Timeouts.Metrics, and none while the project's budget of
// requests is low; sizes come with every call.
func (d *Driver) Sample(ctx context.Context, id pool.HostID) ([]hypervisor.Sample, error) {
	fail := func(err error) ([]hypervisor.Sample, error) {
		return nil, wrap("sample", hypervisor.Ref{Host: id}, false, err)
	}
	at, err := d.location(id)
	if err != nil {
		return fail(err)
	}
	c := &call{Driver: d, ctx: ctx, at: at}
	o, err := c.offered()
	if err != nil {
		return fail(err)
	}
	servers, err := c.all()
	if err != nil {
		return fail(err)
	}
	now := time.Now()
	totals := c.totals(o)
	out := []hypervisor.Sample{
		{Host: id, Name: hypervisor.HostCPUCores, Value: float64(totals[pool.CPU]) / float64(pool.Core), Time: now},
		{Host: id, Name: hypervisor.HostMemoryTotal, Value: float64(totals[pool.Memory]), Time: now},
	}
	for _, s := range servers {
		if !c.here(s.Location) || s.ServerType == nil {
			continue
		}
		t, ours := c.tagOf(s)
		if !ours {
			continue
		}
		add := func(name, device string, v float64) {
			if !math.IsNaN(v) && !math.IsInf(v, 0) && v >= 0 {
				out = append(out, hypervisor.Sample{Host: id, Machine: t.Machine, Name: name, Device: device, Value: v, Time: now})
			}
		}
		r := c.resources(s.ServerType)
		add(hypervisor.CPUCores, "", float64(r[pool.CPU])/float64(pool.Core))
		add(hypervisor.MemoryTotal, "", float64(r[pool.Memory]))
		if runs(s) && !d.config.Limit.scarce() && d.metered.due(s.ID, d.config.Timeouts.Metrics, now) {
			if err := c.measure(s, now, add); err != nil {
				return fail(err)
			}
		}
	}
	return out, nil
}

// measure asks for the newest readings of a server. One that has gone meanwhile has none.
func (c *call) measure(s *hcloud.Server, now time.Time, add func(name, device string, v float64)) error {
	m, _, err := c.client.Server.GetMetrics(c.ctx, s, hcloud.ServerGetMetricsOpts{
		Types: []hcloud.ServerMetricType{hcloud.ServerMetricCPU, hcloud.ServerMetricDisk, hcloud.ServerMetricNetwork},
		Start: now.Add(-5 * time.Minute).UTC(), End: now.UTC(), Step: 60,
	})
	if said(err, hcloud.ErrorCodeNotFound) {
		return nil
	}
	if err := c.read(err); err != nil {
		return err
	}
	prefix := strings.NewReplacer("-", "_", ".", "_").Replace(c.config.Name) + "_"
	var names []string
	for name := range m.TimeSeries {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, series := range names {
		values := m.TimeSeries[series]
		if len(values) == 0 {
			continue
		}
		v, err := strconv.ParseFloat(values[len(values)-1].Value, 64)
		if err != nil {
			continue
		}
		if series == "cpu" {
			add(prefix+"cpu_used_cores", "", v/100)
			continue
		}
		parts := strings.Split(series, ".") // "disk.0.iops.read"
		if len(parts) != 4 {
			continue
		}
		if name := rateName(parts[0] + "." + parts[2] + "." + parts[3]); name != "" {
			add(prefix+name, parts[1], v)
		}
	}
	return nil
}

// rateName is our name of one of the service's series, without its device.
func rateName(series string) string {
	switch series {
	case "disk.iops.read":
		return "disk_reads_per_second"
	case "disk.iops.write":
		return "disk_writes_per_second"
	case "disk.bandwidth.read":
		return "disk_read_bytes_per_second"
	case "disk.bandwidth.write":
		return "disk_written_bytes_per_second"
	case "network.bandwidth.in":
		return "network_receive_bytes_per_second"
	case "network.bandwidth.out":
		return "network_transmit_bytes_per_second"
	case "network.pps.in":
		return "network_receive_packets_per_second"
	case "network.pps.out":
		return "network_transmit_packets_per_second"
	}
	return ""
}
