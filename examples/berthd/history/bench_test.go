package history_test

import (
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/history"
)

// gauge and counters of one host or instance, as libvirt's Meter tells them.
type machine struct {
	labels  []labels.Labels
	values  []float64
	moves   []func(r *rand.Rand, v, busy float64) float64 // to the value of the next round
	phase   float64
	batches []history.Sample
}

func (m *machine) add(move func(r *rand.Rand, v, busy float64) float64, v float64, kv ...string) {
	m.labels, m.values, m.moves = append(m.labels, labels.FromStrings(kv...)), append(m.values, v), append(m.moves, move)
}

// fleetOf is so many hosts and instances.
func fleetOf(hosts, instances int) []*machine {
	constant := func(_ *rand.Rand, v, _ float64) float64 { return v }
	seconds := func(r *rand.Rand, v, busy float64) float64 {
		return v + math.Floor(15e9*busy*(0.9+0.2*r.Float64()))/1e9
	}
	count := func(r *rand.Rand, v, busy float64) float64 { return v + math.Floor(3000*busy*r.Float64()) }
	bytes := func(r *rand.Rand, v, busy float64) float64 { return v + 512*math.Floor(40_000*busy*r.Float64()) }
	memory := func(r *rand.Rand, v, busy float64) float64 {
		return math.Max(1<<28, v+4096*math.Floor(2000*(r.Float64()-0.5)*busy))
	}
	var out []*machine
	for n := range hosts {
		m := &machine{phase: float64(n)}
		base := []string{"pool", "p", "hypervisor", "libvirt", "host", fmt.Sprintf("libvirt/kvm-%d", n)}
		for _, s := range []struct {
			name string
			move func(*rand.Rand, float64, float64) float64
			v    float64
		}{
			{"berthage_host_cpu_busy_seconds_total", seconds, 0}, {"berthage_host_cpu_cores", constant, 64}, {"berthage_host_cpu_iowait_seconds_total", seconds, 0},
			{"node_memory_MemTotal_bytes", constant, 1 << 38}, {"node_memory_MemAvailable_bytes", memory, 1 << 37}, {"berthage_host_storage_size_bytes", constant, 1 << 42},
			{"berthage_host_storage_free_bytes", memory, 1 << 41}, {"berthage_meter_up", constant, 1}, {"berthage_meter_duration_seconds", func(r *rand.Rand, _, _ float64) float64 { return r.Float64() }, 0},
		} {
			m.add(s.move, s.v, append([]string{"__name__", s.name}, base...)...)
		}
		out = append(out, m)
	}
	for n := range instances {
		m := &machine{phase: float64(n) / 3}
		base := []string{"pool", "p", "hypervisor", "libvirt", "host", fmt.Sprintf("libvirt/kvm-%d", n%max(hosts, 1)), "project", fmt.Sprint("p", n%10), "vm", fmt.Sprint("web-", n), "vm_id", fmt.Sprintf("i%024d", n)}
		for name, s := range map[string]struct {
			move func(*rand.Rand, float64, float64) float64
			v    float64
		}{
			"libvirt_domain_info_cpu_time_seconds_total": {seconds, 0}, "libvirt_domain_info_virtual_cpus": {constant, 4}, "berthage_vm_cpu_steal_seconds_total": {seconds, 0},
			"libvirt_domain_info_maximum_memory_bytes": {constant, 1 << 33}, "libvirt_domain_info_memory_usage_bytes": {constant, 1 << 33},
			"berthage_vm_memory_used_bytes": {memory, 1 << 32}, "berthage_vm_memory_available_bytes": {memory, 1 << 32}, "berthage_vm_memory_resident_bytes": {memory, 1 << 33},
			"libvirt_domain_block_stats_read_bytes_total": {bytes, 0}, "libvirt_domain_block_stats_write_bytes_total": {bytes, 0},
			"libvirt_domain_block_stats_read_requests_total": {count, 0}, "libvirt_domain_block_stats_write_requests_total": {count, 0},
			"libvirt_domain_block_stats_read_seconds_total": {seconds, 0}, "libvirt_domain_block_stats_write_seconds_total": {seconds, 0},
			"berthage_vm_disk_allocated_bytes": {constant, 1 << 33}, "berthage_vm_disk_size_bytes": {constant, 1 << 35},
			"libvirt_domain_interface_stats_receive_bytes_total": {bytes, 0}, "libvirt_domain_interface_stats_transmit_bytes_total": {bytes, 0},
			"libvirt_domain_interface_stats_receive_packets_total": {count, 0}, "libvirt_domain_interface_stats_transmit_packets_total": {count, 0},
			"libvirt_domain_interface_stats_receive_errors_total": {constant, 0}, "libvirt_domain_interface_stats_transmit_errors_total": {constant, 0},
			"libvirt_domain_interface_stats_receive_drops_total": {constant, 0}, "libvirt_domain_interface_stats_transmit_drops_total": {constant, 0},
		} {
			m.add(s.move, s.v, append([]string{"__name__", name}, base...)...)
		}
		out = append(out, m)
	}
	return out
}

// round returns the next readings.
func (m *machine) round(r *rand.Rand, at time.Time) []history.Sample {
	busy := 0.3 + 0.25*math.Sin(float64(at.Unix())/3600+m.phase)
	m.batches = m.batches[:0]
	for i, l := range m.labels {
		m.values[i] = m.moves[i](r, m.values[i], busy)
		m.batches = append(m.batches, history.Sample{Labels: l, Time: at.UnixMilli(), Value: m.values[i]})
	}
	return m.batches
}

// One round of readings of 200 hosts and 300 instances, each stored by itself as the Meters do, and what that costs on
// disk and in memory. Blocks are there from some 800 rounds on: -benchtime=1500x.
func BenchmarkFleet(b *testing.B) {
	dir := b.TempDir()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	h, err := history.Open(history.Config{Dir: dir})
	require.NoError(b, err)
	fleet, r := fleetOf(200, 300), rand.New(rand.NewPCG(1, 2))
	samples, at := 0, time.Now().Add(-time.Duration(b.N)*15*time.Second)
	b.ResetTimer()
	for range b.N {
		for _, m := range fleet {
			list := m.round(r, at)
			samples += len(list)
			require.NoError(b, h.Append(b.Context(), list))
		}
		at = at.Add(15 * time.Second)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(samples), "ns/sample")
	b.ReportMetric(float64(h.Status().Series), "series")
	if b.N >= 1000 {
		for began := time.Now(); h.Status().Packed == 0 && time.Since(began) < time.Minute; {
			time.Sleep(100 * time.Millisecond)
		}
		s := h.Status()
		b.ReportMetric(float64(s.Blocks)/float64(s.Packed), "B/sample")
	}
	began := time.Now()
	for _, f := range history.Figures() {
		for _, l := range f.Lines {
			_, err := h.Query(b.Context(), l.Expr(history.Instances, "", h.Window(0)), at)
			require.NoError(b, err)
		}
	}
	b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/figures")
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapInuse-before.HeapInuse)/float64(h.Status().Series), "heap-B/series")
	log := int64(0)
	require.NoError(b, filepath.WalkDir(filepath.Join(dir, "wal"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var info os.FileInfo
			if info, err = d.Info(); err == nil {
				log += info.Size()
			}
		}
		return err
	}))
	b.ReportMetric(float64(log)/(1<<20), "log-MiB")
	require.NoError(b, h.Close())
}
