package fake

import (
	"context"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Fence implements hypervisor.Fencer: it makes the host Dead, whether it is up or cut off. Everything that
// the host was sent before is lost with it; SetHostState lets it return.
func (d *Driver) Fence(ctx context.Context, id pool.HostID) (proof string, err error) {
	if err := d.offered(hypervisor.CanFence, OpFence, hostRef(id)); err != nil {
		return "", err
	}
	var seen time.Time // under d.mu, since the call may be delivered again when it has long been answered
	err = d.do(ctx, &request{op: OpFence, ref: hostRef(id), beside: true, effect: func(h *host) error {
		if err := d.setState(h, Dead); err != nil {
			return wrongf(OpFence, hostRef(id), hypervisor.ErrRefused, err)
		}
		h.fences++
		seen = time.Now()
		d.fences = append(d.fences, Fence{Host: id, At: seen})
		return nil
	}})
	if err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return "power is off, seen at " + seen.UTC().Format(time.RFC3339), nil
}
