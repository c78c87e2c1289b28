package history

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Meters asks the drivers' Meters of all hosts, each host by itself, so that one that hangs costs only its own readings.
type Meters struct {
	History *History
	Manager *berthage.Manager
	Fleet   Fleet
	Timeout time.Duration // of one host; 0: 10 s, and no longer than the interval
	Logger  *slog.Logger  // nil: nothing is logged
}

// Run asks until ctx ends. A daemon that does not lead asks nobody: the one that leads does.
func (m *Meters) Run(ctx context.Context) {
	if m.Logger == nil {
		m.Logger = slog.New(slog.DiscardHandler)
	}
	interval := m.History.Interval()
	if m.Timeout == 0 {
		m.Timeout = 10 * time.Second
	}
	m.Timeout = min(m.Timeout, interval)
	var all sync.WaitGroup
	defer all.Wait()
	known := make(map[pool.HostID]context.CancelFunc)
	for {
		there := make(map[pool.HostID]bool)
		m.Manager.View(func(st *pool.State) {
			for h := range st.Hosts() {
				there[h.ID] = true
			}
		})
		for id, forget := range known {
			if !there[id] {
				forget()
				delete(known, id)
			}
		}
		for id := range there {
			if known[id] == nil {
				one, cancel := context.WithCancel(ctx)
				known[id] = cancel
				all.Go(func() { defer cancel(); m.follow(one, id) })
			}
		}
		if !sleep(ctx, interval) {
			return
		}
	}
}

// sleep waits, and reports whether ctx has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// follow asks one host at its own moment of each interval, so that not all are asked at once.
func (m *Meters) follow(ctx context.Context, id pool.HostID) {
	interval := m.History.Interval()
	hash := fnv.New64a()
	hash.Write([]byte(id))
	phase := time.Duration(hash.Sum64() % uint64(interval))
	c := newCollector(m.History)
	defer func() { _ = c.end(context.WithoutCancel(ctx), time.Now().UnixMilli()) }() // what it was is the past in any case
	for {
		now := time.Duration(time.Now().UnixNano())
		wait := (phase - now%interval + interval) % interval
		if wait == 0 {
			wait = interval
		}
		if !sleep(ctx, wait) {
			return
		}
		if !m.Manager.Status().Leading {
			_ = c.end(ctx, time.Now().UnixMilli())
			continue
		}
		m.ask(ctx, c, id)
	}
}

// ask stores one round of readings of a host, or that there were none.
func (m *Meters) ask(ctx context.Context, c *collector, id pool.HostID) {
	began := time.Now()
	one, cancel := context.WithTimeout(ctx, m.Timeout)
	samples, err := m.Manager.Sample(one, id)
	cancel()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, pool.ErrNotFound) || ctx.Err() != nil {
		return
	}
	now := time.Now()
	host := m.Fleet.ofHost(m.Manager, id)
	up := 1.0
	if err != nil {
		// Its series are not ended: one answer that did not come is no news of what it would have said.
		up, samples = 0, nil
		m.Logger.Debug("a host could not be measured", "host", id, "error", err)
	}
	list := m.readings(id, host, samples)
	if err == nil {
		err = c.store(ctx, now.UnixMilli(), list)
	}
	err = errors.Join(err, m.History.Append(ctx, []Sample{
		{named(host, "berthage_meter_up", "", ""), now.UnixMilli(), up},
		{named(host, "berthage_meter_duration_seconds", "", ""), now.UnixMilli(), now.Sub(began).Seconds()},
	}))
	if err != nil && up == 1 && ctx.Err() == nil {
		m.Logger.Log(ctx, levelOf(err), "readings were not kept", "host", id, "error", err)
	}
}

// levelOf is that of an error of storing. Samples that are refused are counted, and would be said of again and again.
func levelOf(err error) slog.Level {
	var r *Rejected
	if errors.As(err, &r) {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// readings gives samples their labels. Those of machines that are not in the books are left out.
func (m *Meters) readings(id pool.HostID, host labels.Labels, samples []hypervisor.Sample) []reading {
	known := names()
	list := make([]reading, 0, len(samples))
	var machine pool.MachineID
	base := host
	m.Manager.View(func(st *pool.State) {
		for i := range samples {
			s := &samples[i]
			if s.Machine != machine {
				machine, base = s.Machine, host
				if machine != "" {
					base = m.Fleet.ofMachine(st, host, machine)
				}
			}
			n := nameOf(known, id.Driver(), s)
			if base.IsEmpty() || !valid(n.metric) {
				continue
			}
			m.History.described.put(n.metric, Metadata{Type: kindOf(n.metric), Help: "The reading " + s.Name + " of the driver's Meter."})
			list = append(list, reading{Sample{named(base, n.metric, n.device, s.Device), s.Time.UnixMilli(), s.Value}, "machine " + string(s.Machine)})
		}
	})
	return list
}

// kindOf is the type of a metric by its name.
func kindOf(metric string) string {
	if strings.HasSuffix(metric, "_total") {
		return "counter"
	}
	return "gauge"
}

// named returns labels with a metric's name, and that of a device where there is one.
func named(base labels.Labels, metric, label, value string) labels.Labels {
	b := labels.NewBuilder(base)
	b.Set(model.MetricNameLabel, metric)
	if value != "" {
		b.Set(label, value)
	}
	return b.Labels()
}

// Fleet knows the labels of hosts and instances.
type Fleet struct {
	Pool  string            // name of the pool
	Kinds map[string]string // kind of each driver by its name
}

// ofHost returns the labels of a host's series.
func (f Fleet) ofHost(m *berthage.Manager, id pool.HostID) (out labels.Labels) {
	m.View(func(st *pool.State) { out = f.host(st, id) })
	return out
}

func (f Fleet) host(st *pool.State, id pool.HostID) labels.Labels {
	b := labels.NewBuilder(labels.EmptyLabels())
	b.Set(LabelPool, f.Pool).Set(LabelHost, string(id)).Set(LabelHypervisor, f.Kinds[id.Driver()])
	if h, ok := st.Host(id); ok {
		b.Set(LabelEnv, h.Labels[LabelEnv]).Set(LabelRole, h.Labels[LabelRole])
	}
	return b.Labels() // those that are empty are left out
}

// ofMachine returns the labels of a machine's series on a host; none where it is not in the books.
func (f Fleet) ofMachine(st *pool.State, host labels.Labels, m pool.MachineID) labels.Labels {
	id, _, ok := m.Split()
	if !ok {
		return labels.EmptyLabels()
	}
	i, ok := st.Instance(id)
	if !ok {
		return labels.EmptyLabels()
	}
	return f.instance(host, i)
}

func (f Fleet) instance(host labels.Labels, i *pool.Instance) labels.Labels {
	b := labels.NewBuilder(host)
	b.Set(LabelProject, i.Project).Set(LabelVM, i.Name).Set(LabelVMID, string(i.ID)).Set(LabelCluster, i.Cluster.Name())
	b.Set(LabelEnv, i.Spec.Labels[LabelEnv]).Set(LabelRole, i.Spec.Labels[LabelRole])
	return b.Labels()
}

// Complete adds to labels that name a host or an instance by its id what else the series of Meters have, so that what
// an exporter says there goes with them. Labels that are there stay.
func (f Fleet) Complete(m *berthage.Manager, have labels.Labels) labels.Labels {
	more := labels.FromStrings(LabelPool, f.Pool)
	m.View(func(st *pool.State) {
		if id := pool.HostID(have.Get(LabelHost)); id != "" {
			more = f.host(st, id)
		}
		if i, ok := st.Instance(pool.InstanceID(have.Get(LabelVMID))); ok {
			more = f.instance(f.host(st, i.Place.Host), i)
		}
	})
	b := labels.NewBuilder(have)
	more.Range(func(l labels.Label) {
		if !have.Has(l.Name) {
			b.Set(l.Name, l.Value)
		}
	})
	return b.Labels()
}
