package berthage

import (
	"context"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// meter measures now and then how busy hosts are.
type meter struct {
	every   time.Duration
	timeout time.Duration // of one host
	loads   *scheduler.Loads
}

// reading is what a host's processors have done up to a moment.
type reading struct {
	seconds, cores float64
	at             time.Time
}

// readingOf finds it among samples; false where the host does not say so.
func readingOf(samples []hypervisor.Sample) (reading, bool) {
	var r reading
	seconds := false
	for _, s := range samples {
		switch {
		case s.Machine != "":
		case s.Name == hypervisor.HostCPUSeconds:
			r.seconds, r.at, seconds = s.Value, s.Time, true
		case s.Name == hypervisor.HostCPUCores:
			r.cores = s.Value
		}
	}
	return r, seconds && r.cores > 0
}

// since returns which part of its cores the host has kept busy since an earlier reading; below zero where that says
// nothing: no time has passed, or it counts anew after a restart.
func (r reading) since(before reading) float64 {
	d := r.at.Sub(before.at).Seconds()
	if d <= 0 || r.seconds < before.seconds {
		return -1
	}
	return (r.seconds - before.seconds) / d / r.cores
}

// measure measures all hosts that can be, until ctx ends.
func (m *Manager) measure(ctx context.Context) {
	timer := time.NewTicker(m.meter.every)
	defer timer.Stop()
	last := make(map[pool.HostID]reading)
	for {
		last = m.measureOnce(ctx, last)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// measureOnce takes a reading of every host and sets the loads since the last ones. Of a host that does not answer, or has
// gone, nothing is known.
func (m *Manager) measureOnce(ctx context.Context, last map[pool.HostID]reading) map[pool.HostID]reading {
	now, loads := make(map[pool.HostID]reading), make(map[pool.HostID]float64)
	for id := range last {
		loads[id] = -1
	}
	for id, samples := range m.ask(ctx) {
		if r, ok := readingOf(samples); ok {
			now[id] = r
			if before, ok := last[id]; ok {
				loads[id] = r.since(before)
			}
		}
	}
	if ctx.Err() == nil {
		m.meter.loads.Set(loads)
	}
	return now
}
