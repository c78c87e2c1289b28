package fake

import (
	"slices"
	"strconv"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// AddForeign puts a machine onto a host as somebody else would: without a tag, with the tag of another
// ledger, or with one of ours that our books do not know. Its Resources are what it takes of the host,
// storage and GPUs included, and claims say of which devices (by default of those with the most room); what
// an untagged machine takes is reported as reserved. An empty Native is filled in and returned; an empty
// Power is Stopped. Nothing is refused for lack of room.
func (d *Driver) AddForeign(m hypervisor.Machine, claims ...pool.Claim) (native string, err error) {
	fail := func(err error) (string, error) { return "", pool.InField("machine", err) }
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return "", d.err
	}
	h := d.hosts[m.Host]
	if h == nil {
		return fail(&pool.Error{Kind: pool.ErrNotFound, Field: "host", Value: string(m.Host)})
	}
	if err := m.Resources.Valid(); err != nil {
		return fail(err)
	}
	if m.Native == "" {
		m.Native = "foreign-" + strconv.FormatUint(uint64(d.number), 10)
	}
	if h.machines[m.Native] != nil {
		return fail(&pool.Error{Kind: pool.ErrExists, Field: "native", Value: m.Native})
	}
	switch m.Power {
	case "":
		m.Power = pool.Stopped
	case pool.Stopped, pool.Running, pool.Suspended, pool.Hibernated:
	default:
		return fail(&pool.Error{Kind: pool.ErrInvalid, Field: "power", Value: string(m.Power), Want: "stopped, running or suspended"})
	}
	if claims, err = h.foreignClaims(m.Resources, claims); err != nil {
		return fail(err)
	}
	next := (&machine{
		Host: m.Host, Native: m.Native, Name: m.Name, Tag: m.Tag, Foreign: true, Number: d.number,
		Addresses: slices.Clone(m.Addresses), Demand: m.Resources.Clone(), Claims: claims, Networks: 1,
	}).in(m.Power, "created")
	if err := h.countable(next); err != nil {
		return fail(err)
	}
	if err := d.put(h, next); err != nil {
		return "", err
	}
	return m.Native, nil
}

// RemoveForeign takes away a machine that AddForeign has put there, as somebody else would. It is nil when
// there is none.
func (d *Driver) RemoveForeign(id pool.HostID, native string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hosts[id]
	if d.err != nil || h == nil || h.machines[native] == nil {
		return d.err
	}
	if !h.machines[native].Foreign {
		return &pool.Error{Op: "remove machine", Kind: pool.ErrInvalid, Field: "native", Value: native, Want: "a machine of AddForeign"}
	}
	return d.remove(h, h.machines[native])
}
