package libvirt

import (
	"context"
	"errors"
	"sync"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/internal/inturn"
)

// events hands the events of one kind that come on a connection to those who listen. A daemon takes one subscription to
// a kind on a connection, and the client library ends one some time after it was told to: so it is kept.
type events struct {
	kind lv.DomainEventID

	subscribing inturn.Keys[string]
	mu          sync.Mutex
	on          bool // subscribed
	last        int  // of the keys
	to          map[int]func(lv.UUID)
}

// listen calls f for each event, with the domain that it is about, until stop is called. What comes is told from one
// goroutine; f must not wait. It returns the connection, whose end is that of the events.
func (s *session) listen(of func(*conn) *events, f func(lv.UUID)) (c *conn, stop func(), err error) {
	for {
		if c, err = s.conn(); err != nil {
			return nil, nil, err
		}
		stop, err = of(c).listen(s.ctx, c, f)
		var lost *transportError
		if !errors.As(err, &lost) || !lost.lost || s.retried {
			return c, stop, err
		}
		s.retried = true
	}
}

func (e *events) listen(ctx context.Context, c *conn, f func(lv.UUID)) (stop func(), err error) {
	done, err := e.subscribing.Take(ctx, "")
	if err != nil {
		return nil, err
	}
	defer done()
	e.mu.Lock()
	on := e.on
	e.mu.Unlock()
	if !on {
		if _, err := ask(ctx, c, func(api *lv.Libvirt) (struct{}, error) { return struct{}{}, e.subscribe(api, c) }); err != nil {
			return nil, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.to == nil {
		e.to = make(map[int]func(lv.UUID))
	}
	e.last++
	key := e.last
	e.to[key] = f
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.to, key)
	}, nil
}

// subscribe makes the subscription, which lives as long as the connection. It is noted here, as whoever has asked for it
// may have gone.
func (e *events) subscribe(api *lv.Libvirt, c *conn) error {
	ctx, cancel := context.WithCancel(context.Background())
	in, err := api.SubscribeEvents(ctx, e.kind, nil)
	if err != nil {
		cancel()
		return err
	}
	e.mu.Lock()
	e.on = true
	e.mu.Unlock()
	go func() {
		<-c.link.gone
		cancel()
	}()
	go func() {
		// Until the library closes the channel: it would wait for a reader that has gone.
		for event := range in {
			switch m := event.(type) {
			case *lv.DomainEventCallbackRebootMsg:
				e.tell(m.Msg.Dom.UUID)
			case *lv.DomainEventCallbackLifecycleMsg:
				e.tell(m.Msg.Dom.UUID)
			}
		}
	}()
	return nil
}

func (e *events) tell(id lv.UUID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.to {
		f(id)
	}
}
