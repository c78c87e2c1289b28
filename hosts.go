package berthage

import (
	"context"

	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
)

// AddHost admits a host that its driver reports now, also one that was removed before. What machines of others
// take there is counted as reserved.
func (m *Manager) AddHost(ctx context.Context, id pool.HostID) (pool.HostRecord, error) {
	op := "add host " + pool.Quote(string(id))
	d, err := m.ring.Driver(id)
	if err != nil {
		return pool.HostRecord{}, named(err, op)
	}
	hosts, err := d.Hosts(ctx)
	if err != nil {
		return pool.HostRecord{}, &pool.Error{Op: op, Kind: pool.ErrUnavailable, Cause: err}
	}
	for _, h := range hosts {
		if h.ID == id {
			if h, err = m.ring.Offered(ctx, h); err != nil {
				return pool.HostRecord{}, &pool.Error{Op: op, Kind: pool.ErrUnavailable, Cause: err}
			}
			if err := m.do(ctx, ring.Command{AddHost: &ring.AddHost{Host: h}}); err != nil {
				return pool.HostRecord{}, named(err, op)
			}
			return m.host(id)
		}
	}
	return pool.HostRecord{}, &pool.Error{Op: op, Kind: pool.ErrNotFound, Field: "host", Value: string(id), Want: "a host that its driver reports"}
}

// RemoveHost takes a host out of the pool. It must have no instances and no held allocations.
func (m *Manager) RemoveHost(ctx context.Context, id pool.HostID) error {
	return named(m.do(ctx, ring.Command{RemoveHost: &ring.RemoveHost{Host: id}}), "remove host "+pool.Quote(string(id)))
}

// Cordon keeps new instances off a host, for a reason that people can read; what runs there goes on.
func (m *Manager) Cordon(ctx context.Context, id pool.HostID, reason string) (pool.HostRecord, error) {
	return m.cordon(ctx, ring.Cordon{Host: id, On: true, Reason: reason})
}

// Uncordon ends a Cordon.
func (m *Manager) Uncordon(ctx context.Context, id pool.HostID) (pool.HostRecord, error) {
	return m.cordon(ctx, ring.Cordon{Host: id})
}

func (m *Manager) cordon(ctx context.Context, c ring.Cordon) (pool.HostRecord, error) {
	if err := m.do(ctx, ring.Command{Cordon: &c}); err != nil {
		return pool.HostRecord{}, named(err, "cordon "+pool.Quote(string(c.Host)))
	}
	return m.host(c.Host)
}

// Drain moves all instances off a host, which takes no new ones, until Undrain: running where that can be done,
// and otherwise, if cold is true, stopped for the move. What cannot be moved stays; Leaving says why.
func (m *Manager) Drain(ctx context.Context, id pool.HostID, cold bool, reason string) (pool.HostRecord, error) {
	return m.drain(ctx, ring.Drain{Host: id, On: true, Cold: cold, Reason: reason})
}

// Undrain ends a Drain: the host takes instances again. Those that have left it stay where they are.
func (m *Manager) Undrain(ctx context.Context, id pool.HostID) (pool.HostRecord, error) {
	return m.drain(ctx, ring.Drain{Host: id})
}

func (m *Manager) drain(ctx context.Context, c ring.Drain) (pool.HostRecord, error) {
	if err := m.do(ctx, ring.Command{Drain: &c}); err != nil {
		return pool.HostRecord{}, named(err, "drain "+pool.Quote(string(c.Host)))
	}
	return m.host(c.Host)
}

// Leaver is an instance on a host that is being drained.
type Leaver = ring.Leaver

// Leaving returns the instances that are still on a host, by id, and of those that cannot be moved why not.
func (m *Manager) Leaving(id pool.HostID) []Leaver { return m.ring.Leaving(id) }

// ConfirmOff is a person's word that an unreachable host is off and will not run what was on it: the proof that
// evacuation needs where no driver can switch the host off. Proof is kept with the host until it is back.
//
// A wrong word runs instances twice.
func (m *Manager) ConfirmOff(ctx context.Context, id pool.HostID, proof string) (pool.HostRecord, error) {
	if err := m.do(ctx, ring.Command{Off: &ring.Off{Host: id, Proof: proof}}); err != nil {
		return pool.HostRecord{}, named(err, "confirm that "+pool.Quote(string(id))+" is off")
	}
	return m.host(id)
}

func (m *Manager) host(id pool.HostID) (pool.HostRecord, error) {
	var out pool.HostRecord
	err := error(&pool.Error{Kind: pool.ErrNotFound, Field: "host", Value: string(id)})
	m.View(func(st *pool.State) {
		if h, ok := st.Host(id); ok {
			out, err = *h, nil
		}
	})
	return out, err
}
