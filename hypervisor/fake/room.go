package fake

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// room returns the claims of a new machine on the host's devices, or why the host cannot take it.
func (h *host) room(demand pool.Resources, disks []pool.Disk, asked []pool.Claim, overfill bool) ([]pool.Claim, error) {
	claims, err := h.claims(demand, disks, asked)
	if err != nil {
		return nil, err
	}
	for _, dev := range h.spec.Devices {
		asked, used := int64(0), h.ours.device[dev.ID]
		for _, c := range claims {
			if c.Device == dev.ID {
				asked += c.Amount // claims has made sure that this does not overflow
			}
		}
		if free := free(dev.Class, h.device(&dev), used, overfill); asked > free {
			return nil, fmt.Errorf("%w: %s on %s: %s", hypervisor.ErrFull, dev.Class, pool.Quote(dev.ID), short(dev.Class, asked, free))
		}
	}
	for _, c := range demand.Classes() {
		inv, ok := h.inventory(c)
		if physical(c) && !ok {
			return nil, errors.New("the host has no " + string(c))
		}
		// Where a class is divided its devices have been asked, and the sum must only not overflow.
		if free := free(c, inv, h.ours.class[c], overfill || h.divided(c)); demand[c] > free {
			return nil, fmt.Errorf("%w: %s: %s", hypervisor.ErrFull, c, short(c, demand[c], free))
		}
	}
	return claims, nil
}

// free is how much more of a class can be taken. Where the hypervisor does not count, only what cannot be
// counted is refused.
func free(c pool.Class, inv pool.Inventory, used int64, overfill bool) int64 {
	if overfill || !physical(c) {
		return math.MaxInt64 - used
	}
	return inv.Capacity() - used
}

func short(c pool.Class, asked, free int64) string {
	return c.Format(asked) + " asked for, " + c.Format(max(free, 0)) + " free"
}

// physical reports whether a class is used up when it is used up: a hypervisor shares cores and IOPS out
// among any number of machines, and knows nothing of an operator's own classes.
func physical(c pool.Class) bool {
	return c == pool.Memory || c == pool.GPU || strings.HasPrefix(string(c), "storage.")
}

// runs reports whether the host runs instances of the kind.
func (h *host) runs(k pool.Kind) bool {
	if len(h.spec.Kinds) == 0 {
		return k == pool.VM
	}
	return slices.Contains(h.spec.Kinds, k)
}

// sells reports, as an error, whether the host has no shape of that name; the empty one is none.
func (h *host) sells(shape string) error {
	if shape == "" || slices.ContainsFunc(h.spec.Shapes, func(s pool.Shape) bool { return s.Name == shape }) {
		return nil
	}
	return errors.New("no shape " + pool.Quote(shape))
}

func (h *host) divided(c pool.Class) bool {
	return slices.ContainsFunc(h.spec.Devices, func(d pool.Device) bool { return d.Class == c })
}

// claims completes the claims that were asked for: each disk and each GPU lies whole on a device, by default
// on the one with the most room.
func (h *host) claims(demand pool.Resources, disks []pool.Disk, asked []pool.Claim) ([]pool.Claim, error) {
	var out []pool.Claim
	on := make(map[string]int64)
	placed := make(map[int]bool)
	gpus := int64(0)
	take := func(c pool.Claim) error {
		n, err := pool.Resources{c.Class: on[c.Device]}.Add(pool.Resources{c.Class: c.Amount})
		if err != nil {
			return err
		}
		on[c.Device] = n[c.Class]
		out = append(out, c)
		return nil
	}
	for _, c := range asked {
		dev := h.spec.Device(c.Device)
		if dev == nil || dev.Class != c.Class || c.Amount < 0 {
			return nil, errors.New("the host has no device " + pool.Quote(c.Device) + " of " + string(c.Class))
		}
		switch {
		case c.Class == pool.GPU:
			gpus += c.Amount
		case strings.HasPrefix(string(c.Class), "storage."):
			if c.Disk < 0 || c.Disk >= len(disks) || disks[c.Disk].Storage.Class() != c.Class || placed[c.Disk] {
				return nil, errors.New("the claim on " + pool.Quote(c.Device) + " is for no disk of " + string(c.Class))
			}
			placed[c.Disk] = true
			c.Amount = disks[c.Disk].Size // what it takes, whatever is claimed
		}
		if err := take(c); err != nil {
			return nil, err
		}
	}
	for i, disk := range disks {
		if c := disk.Storage.Class(); h.divided(c) && !placed[i] {
			if err := take(pool.Claim{Device: h.roomiest(c, on), Class: c, Amount: disk.Size, Disk: i}); err != nil {
				return nil, err
			}
		}
	}
	if h.divided(pool.GPU) {
		// More than the host has cannot be divided among its devices; the first claim that is too much says so.
		for ; gpus < demand[pool.GPU] && len(out) < 1<<10; gpus++ {
			if err := take(pool.Claim{Device: h.roomiest(pool.GPU, on), Class: pool.GPU, Amount: 1}); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// roomiest returns the device of a divided class with the most room, when on is taken of them beside what is.
func (h *host) roomiest(c pool.Class, on map[string]int64) string {
	best, most := "", int64(math.MinInt64)
	for i := range h.spec.Devices {
		dev := &h.spec.Devices[i]
		if dev.Class != c {
			continue
		}
		if free := h.device(dev).Capacity() - h.ours.device[dev.ID] - on[dev.ID]; free > most {
			best, most = dev.ID, free
		}
	}
	return best
}

// foreignClaims completes the claims of a machine for which the host is not asked: what they leave of a
// divided class is on the device with the most room.
func (h *host) foreignClaims(demand pool.Resources, asked []pool.Claim) ([]pool.Claim, error) {
	out := slices.Clone(asked)
	left := demand.Clone()
	for _, c := range asked {
		if dev := h.spec.Device(c.Device); dev == nil || dev.Class != c.Class || c.Amount < 0 {
			return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "claims", Value: c.Device, Want: "a device of the host, and its class"}
		}
		var err error
		if left, err = left.Sub(pool.Resources{c.Class: c.Amount}); err != nil {
			return nil, pool.InField("claims", err)
		}
	}
	for _, c := range left.Classes() {
		if h.divided(c) {
			out = append(out, pool.Claim{Device: h.roomiest(c, nil), Class: c, Amount: left[c]})
		}
	}
	return out, nil
}

// countable reports, as an error, whether the sums that the machine would be part of overflow.
func (h *host) countable(m *machine) error {
	u := h.usageOf(m)
	if _, err := pool.Resources(u.class).Add(m.Demand); err != nil {
		return err
	}
	on := make(map[string]int64)
	for _, c := range m.Claims {
		if on[c.Device] > math.MaxInt64-u.device[c.Device]-c.Amount {
			return &pool.Error{Kind: pool.ErrOverflow, Field: "claims", Value: c.Device}
		}
		on[c.Device] += c.Amount
	}
	u.add(m, 1)
	_, err := h.observed()
	u.add(m, -1)
	return err
}
