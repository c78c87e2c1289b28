package libvirt

import (
	"context"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Watch implements hypervisor.Watcher by libvirt's lifecycle events: machines of anybody's that are defined, removed,
// started, stopped, suspended or resumed. After a loss of its connection it makes a new one at once, watches again, and
// calls changed; where that fails it returns.
func (d *Driver) Watch(ctx context.Context, id pool.HostID, changed func()) error {
	fail := func(err error) error { return wrap("watch", hypervisor.Ref{Host: id}, false, err) }
	h, err := d.host(id)
	if err != nil {
		return fail(err)
	}
	happened := make(chan struct{}, 1)
	for {
		c, stop, err := h.session(ctx).listen(func(c *conn) *events { return &c.changes }, func(lv.UUID) {
			select {
			case happened <- struct{}{}:
			default: // there is something to be told already
			}
		})
		if err != nil {
			return fail(err)
		}
		for watching := true; watching; {
			changed()
			select {
			case <-happened:
			case <-c.link.gone: // a change that came last is told by the next call
				watching = false
			case <-ctx.Done():
				stop()
				return fail(ctx.Err())
			}
		}
		if err := pause(ctx, pollPower); err != nil {
			return fail(err)
		}
	}
}
