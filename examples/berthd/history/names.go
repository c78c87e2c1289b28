package history

import (
	"strings"

	"github.com/prometheus/common/model"

	"github.com/berthage/berthage/hypervisor"
)

// Labels of every series that a Meter fills. Env, role and cluster are there where the host or the instance has them.
const (
	LabelPool       = "pool"       // which pool, where several write to one Prometheus
	LabelHypervisor = "hypervisor" // kind of the driver: libvirt, proxmox, simulated
	LabelHost       = "host"       // id of the host
	LabelProject    = "project"    // of the instance
	LabelVM         = "vm"         // name of the instance
	LabelVMID       = "vm_id"      // id of the instance, which is its own for ever
	LabelCluster    = "cluster"    // of which the instance is a member
	LabelEnv        = "env"        // the label of this name
	LabelRole       = "role"       // the label of this name
)

// name is what a kind of reading is called in the history, and what the label of its device is.
type name struct{ metric, device string }

// Names of labels for devices, as the exporters have them.
const (
	device = "device"
	target = "target_device"
)

// names maps the readings of Meters. Where node_exporter or the libvirt exporter have the very same figure it has their
// name, so that what is written for them finds it here too; else the name is our own.
func names() map[string]name {
	return map[string]name{
		hypervisor.HostCPUSeconds:      {"berthage_host_cpu_busy_seconds_total", device}, // theirs is per core and mode
		hypervisor.HostCPUCores:        {"berthage_host_cpu_cores", device},
		hypervisor.HostCPUWaitSeconds:  {"berthage_host_cpu_iowait_seconds_total", device},
		hypervisor.HostMemoryTotal:     {"node_memory_MemTotal_bytes", device},
		hypervisor.HostMemoryAvailable: {"node_memory_MemAvailable_bytes", device},
		hypervisor.HostStorageCapacity: {"berthage_host_storage_size_bytes", device}, // a pool is no file system
		hypervisor.HostStorageFree:     {"berthage_host_storage_free_bytes", device},

		hypervisor.CPUSeconds:       {"libvirt_domain_info_cpu_time_seconds_total", target},
		hypervisor.CPUCores:         {"libvirt_domain_info_virtual_cpus", target},
		hypervisor.CPUStolenSeconds: {"berthage_vm_cpu_steal_seconds_total", target},
		hypervisor.MemoryTotal:      {"libvirt_domain_info_maximum_memory_bytes", target},
		hypervisor.MemoryBalloon:    {"libvirt_domain_info_memory_usage_bytes", target},
		hypervisor.MemoryUsed:       {"berthage_vm_memory_used_bytes", target}, // theirs is the balloon
		hypervisor.MemoryAvailable:  {"berthage_vm_memory_available_bytes", target},
		hypervisor.MemoryResident:   {"berthage_vm_memory_resident_bytes", target},

		hypervisor.DiskReadBytes:    {"libvirt_domain_block_stats_read_bytes_total", target},
		hypervisor.DiskWrittenBytes: {"libvirt_domain_block_stats_write_bytes_total", target},
		hypervisor.DiskReads:        {"libvirt_domain_block_stats_read_requests_total", target},
		hypervisor.DiskWrites:       {"libvirt_domain_block_stats_write_requests_total", target},
		hypervisor.DiskReadSeconds:  {"libvirt_domain_block_stats_read_seconds_total", target},
		hypervisor.DiskWriteSeconds: {"libvirt_domain_block_stats_write_seconds_total", target},
		hypervisor.DiskAllocated:    {"berthage_vm_disk_allocated_bytes", target},
		hypervisor.DiskCapacity:     {"berthage_vm_disk_size_bytes", target},

		hypervisor.NetworkReceived:    {"libvirt_domain_interface_stats_receive_bytes_total", target},
		hypervisor.NetworkTransmitted: {"libvirt_domain_interface_stats_transmit_bytes_total", target},
		hypervisor.PacketsReceived:    {"libvirt_domain_interface_stats_receive_packets_total", target},
		hypervisor.PacketsTransmitted: {"libvirt_domain_interface_stats_transmit_packets_total", target},
		hypervisor.ReceiveErrors:      {"libvirt_domain_interface_stats_receive_errors_total", target},
		hypervisor.TransmitErrors:     {"libvirt_domain_interface_stats_transmit_errors_total", target},
		hypervisor.ReceiveDropped:     {"libvirt_domain_interface_stats_receive_drops_total", target},
		hypervisor.TransmitDropped:    {"libvirt_domain_interface_stats_transmit_drops_total", target},
	}
}

// nameOf returns what a reading is called in the history. One of a driver's own, whose name begins with the driver's,
// keeps the rest of it behind a prefix of ours: what one driver of a kind calls hetzner_cpu_used_cores and another
// hz_cpu_used_cores is one metric.
func nameOf(known map[string]name, driver string, s *hypervisor.Sample) name {
	if n, ok := known[s.Name]; ok {
		return n
	}
	rest := strings.TrimPrefix(plain(s.Name), strings.ToLower(plain(driver))+"_")
	if s.Machine == "" {
		return name{"berthage_host_" + strings.TrimPrefix(rest, "host_"), device}
	}
	return name{"berthage_vm_" + rest, target}
}

// plain has a name of letters, digits and underscores.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
}

// valid reports whether a series can have this name; only what a stranger's driver gives can be otherwise.
func valid(metric string) bool { return model.LegacyValidation.IsValidMetricName(metric) }
