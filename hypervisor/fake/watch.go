package fake

import (
	"context"
	"errors"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Watch implements hypervisor.Watcher. It ends when the host cannot be reached any more.
func (d *Driver) Watch(ctx context.Context, id pool.HostID, changed func()) error {
	ref := hostRef(id)
	if err := d.offeredOn(id, hypervisor.CanWatch, OpWatch, ref); err != nil {
		return err
	}
	seen := make(chan struct{}, 1)
	// A reply that is lost may leave what was put into the host: it is taken out whatever the answer.
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if h := d.hosts[id]; h != nil {
			delete(h.watchers, seen)
		}
	}()
	err := d.do(ctx, &request{op: OpWatch, ref: ref, effect: func(h *host) error {
		if h.watchers == nil {
			h.watchers = make(map[chan struct{}]bool)
		}
		h.watchers[seen] = true
		return nil
	}})
	if err != nil {
		return err
	}
	for {
		changed()
		select {
		case <-ctx.Done():
			return wrongf(OpWatch, ref, ctx.Err(), nil)
		case <-seen:
		}
		d.mu.Lock()
		h := d.hosts[id]
		lost := h == nil || h.state != Up || !h.watchers[seen]
		d.mu.Unlock()
		if lost {
			return wrongf(OpWatch, ref, hypervisor.ErrUnavailable, errors.New("the connection was lost"))
		}
	}
}

// changed tells those who watch the host.
func (h *host) changed() {
	for seen := range h.watchers {
		select {
		case seen <- struct{}{}:
		default:
		}
	}
}
