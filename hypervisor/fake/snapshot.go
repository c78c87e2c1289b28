package fake

import (
	"context"
	"slices"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Snapshot implements hypervisor.Snapshotter. It takes no room. Where there are copies, this and the calls
// below are about the oldest.
func (d *Driver) Snapshot(ctx context.Context, r hypervisor.Ref, name string) error {
	if err := d.offered(hypervisor.CanSnapshot, OpSnapshot, r); err != nil {
		return err
	}
	if err := pool.ValidHostname(name); err != nil {
		return wrongf(OpSnapshot, r, hypervisor.ErrInvalid, err)
	}
	return d.act(ctx, OpSnapshot, r, 0, false, func(h *host, m *machine) error {
		if m.snapshot(name) >= 0 {
			return wrong(OpSnapshot, r, hypervisor.ErrExists, "snapshot "+pool.Quote(name))
		}
		next := m.noted("snapshot " + name)
		next.Snapshots = append(slices.Clone(m.Snapshots), snapshot{
			// As it is read from the file.
			hypervisor.Snapshot{Name: name, Time: time.Now().Round(0).UTC()}, m.Content,
		})
		if err := d.power(h, m, next, OpSnapshot); err != nil {
			return err
		}
		d.count(r.Machine).Snapshots++
		return nil
	})
}

// snapshot returns the index of a snapshot, or -1.
func (m *machine) snapshot(name string) int {
	return slices.IndexFunc(m.Snapshots, func(s snapshot) bool { return s.Name == name })
}

// Snapshots implements hypervisor.Snapshotter.
func (d *Driver) Snapshots(ctx context.Context, r hypervisor.Ref) ([]hypervisor.Snapshot, error) {
	if err := d.offered(hypervisor.CanSnapshot, OpSnapshots, r); err != nil {
		return nil, err
	}
	var out []hypervisor.Snapshot
	err := d.act(ctx, OpSnapshots, r, 0, false, func(_ *host, m *machine) error {
		out = m.snapshots()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (m *machine) snapshots() []hypervisor.Snapshot {
	var out []hypervisor.Snapshot
	for _, s := range m.Snapshots {
		out = append(out, s.Snapshot)
	}
	return out
}

// Revert implements hypervisor.Snapshotter.
func (d *Driver) Revert(ctx context.Context, r hypervisor.Ref, name string) error {
	if err := d.offered(hypervisor.CanSnapshot, OpRevert, r); err != nil {
		return err
	}
	return d.act(ctx, OpRevert, r, 0, false, func(h *host, m *machine) error {
		i := m.snapshot(name)
		switch {
		case m.Power != pool.Stopped:
			return wrong(OpRevert, r, hypervisor.ErrWrongPower, "it is not stopped")
		case i < 0:
			return wrong(OpRevert, r, hypervisor.ErrRefused, "no snapshot "+pool.Quote(name))
		}
		next := m.noted("reverted to " + name)
		next.Content = m.Snapshots[i].Content
		if err := d.power(h, m, next, OpRevert); err != nil {
			return err
		}
		d.count(r.Machine).Reverts++
		return nil
	})
}

// DeleteSnapshot implements hypervisor.Snapshotter.
func (d *Driver) DeleteSnapshot(ctx context.Context, r hypervisor.Ref, name string) error {
	if err := d.offered(hypervisor.CanSnapshot, OpDeleteSnapshot, r); err != nil {
		return err
	}
	return d.act(ctx, OpDeleteSnapshot, r, 0, false, func(h *host, m *machine) error {
		i := m.snapshot(name)
		if i < 0 {
			return nil
		}
		next := m.noted("snapshot " + name + " deleted")
		next.Snapshots = slices.Delete(slices.Clone(m.Snapshots), i, i+1)
		return d.power(h, m, next, OpDeleteSnapshot)
	})
}
