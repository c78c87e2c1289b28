package hetzner

import (
	"context"
	"sync"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"

	"github.com/berthage/berthage/hypervisor"
)

const (
	perPage    = 50
	mostRounds = 5
	mostPages  = 10_000
)

// byID is the order in which lists are read: what is created while a list is read comes first, and moves the rest
// back, so that something is seen twice; what goes away meanwhile changes the total. A page that nothing of either
// has happened to cannot lack anything.
const byID = "id:desc"

// pages reads a list of several pages, whole. It begins anew when the list has changed meanwhile in a way that could
// have hidden something.
func pages[T any](list func(hcloud.ListOpts) ([]*T, *hcloud.Response, error), id func(*T) int64) ([]*T, error) {
	for range mostRounds {
		all, seen, total, whole := []*T(nil), make(map[int64]bool), -1, true
		for page := 1; page != 0 && whole; {
			part, resp, err := list(hcloud.ListOpts{Page: page, PerPage: perPage})
			if err != nil {
				return nil, err
			}
			p := resp.Meta.Pagination
			if p == nil || p.Page != page || page > mostPages {
				return nil, refusef(hypervisor.ErrUnavailable, "page %d of a list does not say where it stands", page)
			}
			if total < 0 {
				total = p.TotalEntries
			}
			for _, v := range part {
				whole = whole && !seen[id(v)]
				seen[id(v)] = true
			}
			all = append(all, part...)
			page = p.NextPage
		}
		if whole && len(all) == total {
			return all, nil
		}
	}
	return nil, refuse(hypervisor.ErrUnavailable, errShort)
}

// shared gives all who ask at about the same time one answer, which was asked for after each of them had asked.
type shared[T any] struct {
	mu   sync.Mutex
	next *asking[T] // has not begun: whoever asks can join
	busy chan struct{}
}

type asking[T any] struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int
	value   T
	err     error
}

// get asks, or joins those who are about to. When all of them have gone the question is given up.
func (s *shared[T]) get(ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	s.mu.Lock()
	if s.busy == nil {
		s.busy = make(chan struct{}, 1)
	}
	a := s.next
	if a == nil {
		asked, cancel := context.WithCancel(context.WithoutCancel(ctx))
		a = &asking[T]{done: make(chan struct{}), cancel: cancel}
		s.next = a
		go s.run(asked, a, ask)
	}
	a.waiting++
	s.mu.Unlock()
	select {
	case <-a.done:
		return a.value, a.err
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		if a.waiting--; a.waiting == 0 {
			a.cancel()
			if s.next == a {
				s.next = nil
			}
		}
		return none, ctx.Err()
	}
}

func (s *shared[T]) run(ctx context.Context, a *asking[T], ask func(context.Context) (T, error)) {
	defer close(a.done)
	defer a.cancel()
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	case <-ctx.Done():
		a.err = ctx.Err()
		return
	}
	s.mu.Lock()
	if s.next == a {
		s.next = nil
	}
	s.mu.Unlock()
	a.value, a.err = ask(ctx)
}

// all lists the servers of the project. Locations that are looked at side by side share a list.
func (c *call) all() ([]*hcloud.Server, error) {
	list, err := c.servers.get(c.ctx, func(ctx context.Context) ([]*hcloud.Server, error) {
		return pages(func(o hcloud.ListOpts) ([]*hcloud.Server, *hcloud.Response, error) {
			return c.client.Server.List(ctx, hcloud.ServerListOpts{ListOpts: o, Sort: []string{byID}})
		}, func(s *hcloud.Server) int64 { return s.ID })
	})
	return list, c.read(err)
}

// volumes lists the volumes that the selector selects; an empty one selects all.
func (c *call) volumes(selector string) ([]*hcloud.Volume, error) {
	list, err := pages(func(o hcloud.ListOpts) ([]*hcloud.Volume, *hcloud.Response, error) {
		o.LabelSelector = selector
		return c.client.Volume.List(c.ctx, hcloud.VolumeListOpts{ListOpts: o, Sort: []string{byID}})
	}, func(v *hcloud.Volume) int64 { return v.ID })
	return list, c.read(err)
}

// snapshots lists the snapshots that the selector selects.
func (c *call) snapshots(selector string) ([]*hcloud.Image, error) {
	list, err := pages(func(o hcloud.ListOpts) ([]*hcloud.Image, *hcloud.Response, error) {
		o.LabelSelector = selector
		return c.client.Image.List(c.ctx, hcloud.ImageListOpts{ListOpts: o, Type: []hcloud.ImageType{hcloud.ImageTypeSnapshot}, IncludeDeprecated: true, Sort: []string{byID}})
	}, func(i *hcloud.Image) int64 { return i.ID })
	return list, c.read(err)
}
