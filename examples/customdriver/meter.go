package customdriver

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Sample implements hypervisor.Meter. The processor time of a machine is that of its program and of those of its children that
// have ended; its memory that of all its processes.
func (d *Driver) Sample(ctx context.Context, id pool.HostID) ([]hypervisor.Sample, error) {
	const op = "sample"
	h, err := d.host(op, hypervisor.Ref{Host: id})
	if err != nil {
		return nil, err
	}
	lines, err := h.call(ctx, request{op: op, r: hypervisor.Ref{Host: id}})
	if err != nil {
		return nil, err
	}
	machines, err := h.machines(op, lines)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var out []hypervisor.Sample
	add := func(m pool.MachineID, name, device string, value float64) {
		out = append(out, hypervisor.Sample{Host: id, Machine: m, Name: name, Device: device, Value: value, Time: now})
	}
	unit, has, free := numbers(find(lines, "unit")), numbers(find(lines, "host")), numbers(find(lines, "free"))
	if len(unit) != 2 || len(has) != 3 || len(free) != 2 || unit[0] == 0 {
		return nil, failed(op, hypervisor.Ref{Host: id}, hypervisor.ErrUnavailable, nil)
	}
	hz, page := float64(unit[0]), float64(unit[1])
	add("", hypervisor.HostCPUCores, "", float64(has[0]))
	add("", hypervisor.HostMemoryTotal, "", float64(has[1])*float64(pool.KiB))
	add("", hypervisor.HostMemoryAvailable, "", float64(free[0])*float64(pool.KiB))
	add("", hypervisor.HostStorageCapacity, h.config.Dir, float64(has[2]))
	add("", hypervisor.HostStorageFree, h.config.Dir, float64(free[1]))
	if cpu := numbers(strings.Fields(strings.Join(find(lines, "cpu"), ""))); len(cpu) >= 3 { // user, nice, system; see proc(5)
		add("", hypervisor.HostCPUSeconds, "", float64(cpu[0]+cpu[1]+cpu[2])/hz)
	}
	for _, m := range machines {
		if m.Tag == (hypervisor.Tag{}) {
			continue
		}
		add(m.Machine, hypervisor.CPUCores, "", float64(m.Resources[pool.CPU])/float64(pool.Core))
		add(m.Machine, hypervisor.MemoryTotal, "", float64(m.Resources[pool.Memory]))
		resident := 0.0
		for _, line := range lines {
			if len(line) != 4 || line[0] != "process" || line[1] != m.Native {
				continue
			}
			// Fields are numbered as in proc(5); what is there begins with 3, a letter.
			_, rest, _ := strings.Cut(line[3], " ")
			n := numbers(strings.Fields(rest))
			if len(n) <= 24-4 {
				continue // it has just ended
			}
			resident += float64(n[24-4])
			if session := n[6-4]; strconv.FormatInt(session, 10) == line[2] { // it leads that which boot has begun
				add(m.Machine, hypervisor.CPUSeconds, "", float64(n[14-4]+n[15-4]+n[16-4]+n[17-4])/hz)
			}
		}
		if m.Power != pool.Stopped {
			add(m.Machine, hypervisor.MemoryUsed, "", resident*page)
		}
	}
	return out, nil
}
