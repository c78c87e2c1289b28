package history

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Subject is what figures are of.
type Subject string

// The subjects.
const (
	Hosts     Subject = "host"
	Instances Subject = "instance"
)

// Figure is something that people look at, of hosts and instances alike.
type Figure struct {
	Name  string // cpu
	Title string // for people
	Unit  string // percent, bytes/second, or cores
	Lines []Line
}

// Line is one curve of a figure.
type Line struct {
	Name  string // used, read, received
	exprs map[Subject]string
}

// Window is the time over which rates are taken when readings are shown so far apart: long enough for four readings,
// so that one that is missing leaves no hole.
func (h *History) Window(step time.Duration) time.Duration { return max(4*h.config.Interval, step) }

// Expr returns the line in PromQL: one value per host, with the labels pool, hypervisor and host, or per instance,
// with pool, project, vm and vm_id. It is of the host or instance with this id, or of all where that is empty. Rates
// are taken over the window.
func (l Line) Expr(of Subject, id string, window time.Duration) string {
	by, only := "pool, hypervisor, host", LabelHost+`!=""`
	if of == Instances {
		by, only = "pool, project, vm, vm_id", LabelVMID+`!=""`
	}
	if id != "" {
		m := labels.MustNewMatcher(labels.MatchEqual, map[Subject]string{Hosts: LabelHost, Instances: LabelVMID}[of], id)
		only = m.String()
	}
	return strings.NewReplacer("$by", "by ("+by+")", "$of", only, "$own", only+`,vm_id=""`, "$w", duration(window)).Replace(l.exprs[of])
}

// duration prints a duration as PromQL has it.
func duration(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return fmt.Sprintf("%dms", d.Milliseconds())
}

// notDisks are kinds of file systems that nobody has to make room on.
const notDisks = `fstype!~"tmpfs|ramfs|devtmpfs|overlay|squashfs|iso9660|nsfs|autofs"`

// Figures returns all figures in the order in which they are shown. Each takes the best that there is: what the
// driver's Meter says, what an exporter within the guest or on the host says, or what can be put together from those.
// In the expressions $of selects the subject's series, $own those of a host that are not of its instances, $by groups,
// and $w is the window.
func Figures() []Figure {
	line := func(name, host, instance string) Line {
		return Line{name, map[Subject]string{Hosts: host, Instances: instance}}
	}
	return []Figure{
		{"cpu", "CPU", "percent", []Line{line("used",
			`100 * (sum $by (rate(berthage_host_cpu_busy_seconds_total{$own}[$w])) / max $by (berthage_host_cpu_cores{$own})`+
				` or max $by (berthage_host_cpu_busy_ratio{$own})`+
				` or 1 - avg $by (rate(node_cpu_seconds_total{$own,mode="idle"}[$w])))`,
			`100 * (sum $by (rate(libvirt_domain_info_cpu_time_seconds_total{$of}[$w])) / max $by (libvirt_domain_info_virtual_cpus{$of})`+
				` or max $by (berthage_vm_cpu_busy_ratio{$of})`+
				` or max $by (berthage_vm_cpu_used_cores{$of}) / max $by (libvirt_domain_info_virtual_cpus{$of})`+
				` or 1 - avg $by (rate(node_cpu_seconds_total{$of,mode="idle"}[$w])))`)}},
		{"memory", "Memory", "percent", []Line{line("used",
			`100 * (1 - min $by (node_memory_MemAvailable_bytes{$own}) / max $by (node_memory_MemTotal_bytes{$own}))`,
			`100 * (max $by (berthage_vm_memory_used_bytes{$of}) / max $by (libvirt_domain_info_maximum_memory_bytes{$of})`+
				` or 1 - min $by (node_memory_MemAvailable_bytes{$of}) / max $by (node_memory_MemTotal_bytes{$of}))`)}},
		{"disk", "Disk, the fullest", "percent", []Line{line("used",
			`100 * (max $by (1 - berthage_host_storage_free_bytes{$own} / (berthage_host_storage_size_bytes{$own} > 0))`+
				` or max $by (1 - node_filesystem_avail_bytes{$own,`+notDisks+`} / (node_filesystem_size_bytes{$own,`+notDisks+`} > 0)))`,
			`100 * (max $by (1 - node_filesystem_avail_bytes{$of,`+notDisks+`} / (node_filesystem_size_bytes{$of,`+notDisks+`} > 0))`+
				` or max $by (berthage_vm_disk_allocated_bytes{$of} / (berthage_vm_disk_size_bytes{$of} > 0)))`)}},
		{"disk_io", "Disk transfer", "bytes/second", []Line{
			line("read",
				`sum $by (rate(node_disk_read_bytes_total{$own}[$w])) or sum $by (rate(libvirt_domain_block_stats_read_bytes_total{$of}[$w]))`+
					` or sum $by (berthage_vm_disk_read_bytes_per_second{$of}) or sum $by (rate(berthage_vm_disk_read_bytes_total{$of}[$w]))`,
				`sum $by (rate(libvirt_domain_block_stats_read_bytes_total{$of}[$w]))`+
					` or sum $by (berthage_vm_disk_read_bytes_per_second{$of}) or sum $by (rate(berthage_vm_disk_read_bytes_total{$of}[$w]))`+
					` or sum $by (rate(node_disk_read_bytes_total{$of}[$w]))`),
			line("written",
				`sum $by (rate(node_disk_written_bytes_total{$own}[$w])) or sum $by (rate(libvirt_domain_block_stats_write_bytes_total{$of}[$w]))`+
					` or sum $by (berthage_vm_disk_written_bytes_per_second{$of}) or sum $by (rate(berthage_vm_disk_written_bytes_total{$of}[$w]))`,
				`sum $by (rate(libvirt_domain_block_stats_write_bytes_total{$of}[$w]))`+
					` or sum $by (berthage_vm_disk_written_bytes_per_second{$of}) or sum $by (rate(berthage_vm_disk_written_bytes_total{$of}[$w]))`+
					` or sum $by (rate(node_disk_written_bytes_total{$of}[$w]))`),
		}},
		{"network", "Network", "bytes/second", []Line{
			line("received",
				`sum $by (rate(node_network_receive_bytes_total{$own,device!="lo"}[$w])) or sum $by (rate(libvirt_domain_interface_stats_receive_bytes_total{$of}[$w]))`+
					` or sum $by (berthage_vm_network_receive_bytes_per_second{$of})`,
				`sum $by (rate(libvirt_domain_interface_stats_receive_bytes_total{$of}[$w]))`+
					` or sum $by (berthage_vm_network_receive_bytes_per_second{$of})`+
					` or sum $by (rate(node_network_receive_bytes_total{$of,device!="lo"}[$w]))`),
			line("transmitted",
				`sum $by (rate(node_network_transmit_bytes_total{$own,device!="lo"}[$w])) or sum $by (rate(libvirt_domain_interface_stats_transmit_bytes_total{$of}[$w]))`+
					` or sum $by (berthage_vm_network_transmit_bytes_per_second{$of})`,
				`sum $by (rate(libvirt_domain_interface_stats_transmit_bytes_total{$of}[$w]))`+
					` or sum $by (berthage_vm_network_transmit_bytes_per_second{$of})`+
					` or sum $by (rate(node_network_transmit_bytes_total{$of,device!="lo"}[$w]))`),
		}},
		// Load is the kernel's own where an exporter tells it. Elsewhere it is what the kernel would count: how many cores
		// were busy, or wanted and not had.
		{"load", "Load", "cores", []Line{line("load",
			`max $by (node_load1{$own})`+
				` or sum $by (rate(berthage_host_cpu_busy_seconds_total{$own}[$w])) + sum $by (rate(berthage_host_cpu_iowait_seconds_total{$own}[$w]))`+
				` or sum $by (rate(berthage_host_cpu_busy_seconds_total{$own}[$w]))`+
				` or max $by (berthage_host_cpu_busy_ratio{$own}) * max $by (berthage_host_cpu_cores{$own})`,
			`max $by (node_load1{$of})`+
				` or sum $by (rate(libvirt_domain_info_cpu_time_seconds_total{$of}[$w])) + sum $by (rate(berthage_vm_cpu_steal_seconds_total{$of}[$w]))`+
				` or sum $by (rate(libvirt_domain_info_cpu_time_seconds_total{$of}[$w]))`+
				` or max $by (berthage_vm_cpu_busy_ratio{$of}) * max $by (libvirt_domain_info_virtual_cpus{$of})`+
				` or max $by (berthage_vm_cpu_used_cores{$of})`)}},
	}
}
