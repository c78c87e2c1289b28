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
	for {
		events, over, err := h.session(ctx).watch()
		if err != nil {
			return fail(err)
		}
		for watching := true; watching; {
			changed()
			select {
			case <-events:
			case <-over: // a change that came last is told by the next call
				watching = false
			case <-ctx.Done():
				return fail(ctx.Err())
			}
		}
		if err := pause(ctx, pollPower); err != nil {
			return fail(err)
		}
	}
}

// watch begins to watch. Events holds an element when there has been an event; over is closed when there will be no more
// because the connection is lost.
func (s *session) watch() (events, over <-chan struct{}, err error) {
	c, err := s.conn()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	happened, gone := make(chan struct{}, 1), make(chan struct{})
	_, err = ask(s.ctx, c, func(api *lv.Libvirt) (struct{}, error) {
		in, err := api.SubscribeEvents(ctx, lv.DomainEventIDLifecycle, nil)
		if err != nil {
			return struct{}{}, err
		}
		go func() {
			// Until the library closes the channel: it would wait for a reader that has gone.
			for range in {
				select {
				case happened <- struct{}{}:
				default:
				}
			}
		}()
		return struct{}{}, nil
	})
	if err != nil {
		cancel()
		return nil, nil, err
	}
	go func() {
		defer cancel()
		select {
		case <-c.link.gone:
			close(gone)
		case <-ctx.Done():
		}
	}()
	return happened, gone, nil
}
