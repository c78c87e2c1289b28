package berthage

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/internal/alerting"
	"github.com/berthage/berthage/pool"
)

// The metrics that a Manager's rules can go by, beside those of Alerting.Sources. What is of a host has the label "host"; what is of
// an instance has "vm_id", "vm" (its name) and "project", and not the host, so that an alert goes on when the instance is moved.
const (
	MetricCPU    = alert.CPUPercent    // busy part of the cores, since the last evaluation, of hosts and instances
	MetricMemory = alert.MemoryPercent // of hosts; and of instances where the guest tells how much it could give to programs
	MetricDisk   = alert.DiskPercent   // of each storage pool of a host, which the label "device" names
	MetricUp     = "up"                // 1 while a host is ready, or an instance runs that is wanted running; else 0
	MetricHeard  = "measured"          // of hosts whose driver can measure: 1 when they answered before the last evaluation; else 0
	MetricQuota  = "quota_percent"     // of what a project may have of a class, what it has: of each limit above 0; labels "project" and "class"
)

// DefaultRules returns the rules that a Manager has without being told any: those of alert.Defaults, and that a host is not ready for two
// minutes, that an instance which is wanted running does not run for ten, and that nothing is known of how busy a host is for five.
func DefaultRules() []alert.Rule {
	rule := func(name, metric string, of alert.Op, after time.Duration, severity alert.Severity, summary string) alert.Rule {
		m, _ := alert.NewMatcher(alerting.HostLabel, of, "") // which is right
		return alert.Rule{
			Name: name, Measure: alert.Measure{Metric: metric, Matchers: alert.Matchers{m}}, Test: alert.Test{Is: alert.Under, Value: 1},
			For: alert.Duration(after), Severity: severity, NoData: alert.NoDataOK, Annotations: map[string]string{"summary": summary},
		}
	}
	return append(alert.Defaults(),
		rule("HostDown", MetricUp, alert.NotEqual, 2*time.Minute, alert.Critical, "{{ $labels.host }} is not ready"),
		rule("InstanceDown", MetricUp, alert.Equal, 10*time.Minute, alert.High, "{{ $labels.vm }} is wanted running and does not run"),
		rule("NotMeasured", MetricHeard, alert.NotEqual, 5*time.Minute, alert.Medium, "nothing is known of how busy {{ $labels.host }} is"),
		alert.Rule{
			Name: "QuotaNearlyUsed", Measure: alert.Measure{Metric: MetricQuota}, Test: alert.Test{Is: alert.Over, Value: 90},
			For: alert.Duration(5 * time.Minute), Severity: alert.Medium, NoData: alert.NoDataOK,
			Annotations: map[string]string{"summary": `project {{ $labels.project }} uses {{ printf "%.1f" $value }} % of its quota of {{ $labels.class }}`},
		},
	)
}

// mostMeasured is how many hosts are asked at once.
const mostMeasured = 32

// ask takes the readings of every host that can tell. Hosts that do not answer in time are not among them.
func (m *Manager) ask(ctx context.Context) map[pool.HostID][]hypervisor.Sample {
	var hosts []pool.HostID
	m.View(func(st *pool.State) {
		for h := range st.Hosts() {
			if !h.Conditions.Has(pool.Unreachable) {
				hosts = append(hosts, h.ID)
			}
		}
	})
	var mu sync.Mutex
	var all sync.WaitGroup
	slots := make(chan struct{}, mostMeasured)
	told := make(map[pool.HostID][]hypervisor.Sample)
	for _, id := range hosts {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			one, cancel := context.WithTimeout(ctx, m.meter.timeout)
			defer cancel()
			if samples, err := m.Sample(one, id); err == nil {
				mu.Lock()
				defer mu.Unlock()
				told[id] = samples
			}
		})
	}
	all.Wait()
	return told
}

// gauges makes of readings what rules go by.
type gauges struct {
	last   map[alert.Labels]reading
	labels map[string]alert.Labels // of a host or an instance and its name and project: made once
	there  map[alert.Labels]bool   // the hosts that there are and the instances that are wanted running, by their id alone
}

// gone returns, since the last call, what an engine is to forget: hosts that are no more, and instances that are not wanted running any more, so
// that nobody misses their data.
func (g *gauges) gone(there map[alert.Labels]bool) []alert.Matchers {
	var out []alert.Matchers
	for l := range g.there {
		if there[l] {
			continue
		}
		var all alert.Matchers
		for name, value := range l.All() {
			m, _ := alert.NewMatcher(name, alert.Equal, value) // which is right
			all = append(all, m)
		}
		out = append(out, all)
	}
	g.there = there
	return out
}

// of returns the samples that the readings and the books give, all of the same moment, and what is to be forgotten.
func (g *gauges) of(m *Manager, told map[pool.HostID][]hypervisor.Sample, now time.Time) ([]alert.Sample, []alert.Matchers) {
	var out []alert.Sample
	before, labels := g.last, g.labels
	g.last, g.labels = make(map[alert.Labels]reading), make(map[string]alert.Labels)
	made := func(key string, pairs map[string]string) alert.Labels {
		l, ok := labels[key]
		if !ok {
			l, _ = alert.NewLabels(pairs) // names of the pool are within the bounds of labels
		}
		g.labels[key] = l
		return l
	}
	put := func(metric string, l alert.Labels, v float64) {
		out = append(out, alert.Sample{Metric: metric, Labels: l, Time: now, Value: v})
	}
	cpu := func(l alert.Labels, r reading) {
		g.last[l] = r
		if b, ok := before[l]; ok {
			if busy := r.since(b); busy >= 0 {
				put(MetricCPU, l, 100*busy)
			}
		}
	}
	there := make(map[alert.Labels]bool)
	hosts := make(map[pool.HostID]alert.Labels)
	things := make(map[pool.MachineID]alert.Labels)
	up := func(is bool) float64 {
		if is {
			return 1
		}
		return 0
	}
	// The records may be kept: what is made of them is made without holding anybody up.
	var servers []*pool.HostRecord
	var instances []*pool.Instance
	var projects []*pool.ProjectRecord
	m.View(func(st *pool.State) {
		servers, instances, projects = slices.Collect(st.Hosts()), slices.Collect(st.Instances()), slices.Collect(st.Projects())
	})
	for _, p := range projects {
		for _, class := range slices.Sorted(maps.Keys(p.Quota)) {
			if limit := p.Quota[class]; limit > 0 {
				l := made("q"+p.Name+" "+string(class), map[string]string{"project": p.Name, "class": string(class)})
				put(MetricQuota, l, 100*float64(p.Total()[class])/float64(limit))
			}
		}
	}
	for _, h := range servers {
		l := made("h"+string(h.ID), map[string]string{alerting.HostLabel: string(h.ID)})
		hosts[h.ID] = l
		there[l.Only(alerting.HostLabel)] = true
		put(MetricUp, l, up(h.Conditions.Has(pool.Ready) && !h.Conditions.Has(pool.Unreachable)))
		if slices.Contains(m.Capabilities(h.ID).Abilities, hypervisor.CanMeter) {
			_, heard := told[h.ID]
			put(MetricHeard, l, up(heard))
		}
	}
	for _, i := range instances {
		if i.Want == pool.Absent || !i.Placed() {
			continue
		}
		l := made("i"+string(i.ID)+i.Name, map[string]string{alerting.InstanceLabel: string(i.ID), "vm": i.Name, "project": i.Project})
		if i.Want == pool.Running {
			things[i.Machine()] = l // of others nothing is missed, and so nothing is known
			there[l.Only(alerting.InstanceLabel)] = true
			put(MetricUp, l, up(i.Is == pool.Running))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(told)) {
		read := make(map[pool.MachineID]map[string]float64)
		at := make(map[pool.MachineID]time.Time)
		free := make(map[string]float64)
		for _, s := range told[id] {
			switch {
			case s.Name == hypervisor.HostStorageFree:
				free[s.Device] = s.Value
			case s.Device == "":
				read[s.Machine] = set(read[s.Machine], s.Name, s.Value)
				at[s.Machine] = s.Time
			}
		}
		host, known := hosts[id]
		if !known {
			continue
		}
		for _, s := range told[id] {
			if f, ok := free[s.Device]; ok && s.Name == hypervisor.HostStorageCapacity && s.Value > 0 {
				put(MetricDisk, made("d"+string(id)+" "+s.Device, map[string]string{alerting.HostLabel: string(id), "device": s.Device}), 100*(1-f/s.Value))
			}
		}
		for _, machine := range slices.Sorted(maps.Keys(read)) {
			r := read[machine]
			l, seconds, cores, total, available := host, hypervisor.HostCPUSeconds, hypervisor.HostCPUCores, hypervisor.HostMemoryTotal, hypervisor.HostMemoryAvailable
			if machine != "" {
				if l, known = things[machine]; !known {
					continue
				}
				seconds, cores, total, available = hypervisor.CPUSeconds, hypervisor.CPUCores, hypervisor.MemoryTotal, hypervisor.MemoryAvailable
			}
			if n, ok := r[seconds]; ok && r[cores] > 0 {
				cpu(l, reading{n, r[cores], at[machine]})
			}
			if n, ok := r[available]; ok && r[total] > 0 {
				put(MetricMemory, l, 100*(1-n/r[total]))
			}
		}
	}
	return out, g.gone(there)
}
