package hetzner

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Machines implements hypervisor.Driver. The list is read page by page and begun anew when it has changed meanwhile.
func (d *Driver) Machines(ctx context.Context, id pool.HostID) ([]hypervisor.Machine, error) {
	fail := func(err error) ([]hypervisor.Machine, error) {
		return nil, wrap("list machines", hypervisor.Ref{Host: id}, false, err)
	}
	at, err := d.location(id)
	if err != nil {
		return fail(err)
	}
	c := &call{Driver: d, ctx: ctx, at: at}
	servers, err := c.all()
	if err != nil {
		return fail(err)
	}
	out := make([]hypervisor.Machine, 0, len(servers))
	for _, s := range servers {
		if !c.here(s.Location) {
			continue
		}
		m := hypervisor.Machine{
			Ref: hypervisor.Ref{Host: id}, Native: strconv.FormatInt(s.ID, 10), Name: clean(s.Name),
			Power: powerOf(s), Addresses: addresses(s),
		}
		m.Tag, _ = c.tagOf(s)
		if t := s.ServerType; t != nil {
			r := c.resources(t)
			m.Resources = pool.Resources{pool.CPU: r[pool.CPU], pool.Memory: r[pool.Memory]}
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b hypervisor.Machine) int { return strings.Compare(a.Native, b.Native) })
	return out, nil
}

// tagOf returns the tag of a server that is ours. Labels may have been copied to a server of somebody's own, which
// has another name, and is not ours.
func (c *call) tagOf(s *hcloud.Server) (hypervisor.Tag, bool) {
	t, ok := readTag(s.Labels, c.at.Location)
	if !ok || s.Name != serverName(t.Machine, c.at.Location) {
		return hypervisor.Tag{}, false
	}
	return t, true
}

// powerOf is Stopped only where the service says that the server does not run.
func powerOf(s *hcloud.Server) pool.Power {
	switch s.Status {
	case hcloud.ServerStatusOff, hcloud.ServerStatusInitializing:
		return pool.Stopped
	}
	return pool.Running
}

// addresses returns the public addresses and then those on networks. Of its IPv6 network a guest has the first one.
func addresses(s *hcloud.Server) []string {
	var out []string
	if ip := s.PublicNet.IPv4; !ip.IsUnspecified() {
		out = append(out, ip.IP.String())
	}
	if ip := s.PublicNet.IPv6; !ip.IsUnspecified() && len(ip.IP) == net.IPv6len {
		first := slices.Clone(ip.IP)
		first[len(first)-1] |= 1
		out = append(out, first.String())
	}
	for _, n := range s.PrivateNet {
		if n.IP != nil {
			out = append(out, n.IP.String())
		}
	}
	return out
}

// find looks for the machine that r names. It is nil, without an error, where there is none of that id, and
// ErrForeign where the one there does not have r's tag.
func (c *call) find(r hypervisor.Ref) (*hcloud.Server, error) {
	s, _, err := c.client.Server.GetByName(c.ctx, serverName(r.Machine, c.at.Location))
	if err := c.read(err); err != nil || s == nil {
		return nil, err
	}
	if t, ok := c.tagOf(s); !ok || t != r.Tag || !c.here(s.Location) {
		return nil, refuse(hypervisor.ErrForeign, nil)
	}
	return s, nil
}

// on runs f on the machine that r names, with no other call on it in this process.
func (d *Driver) on(ctx context.Context, op string, r hypervisor.Ref, f func(c *call, s *hcloud.Server) error) error {
	return d.with(ctx, op, r, func(c *call) error {
		s, err := c.find(r)
		if err == nil && s == nil {
			err = refuse(hypervisor.ErrNotFound, nil)
		}
		if err != nil {
			return err
		}
		return f(c, s)
	})
}

// with runs f for the machine that r names, which need not be there.
func (d *Driver) with(ctx context.Context, op string, r hypervisor.Ref, f func(c *call) error) error {
	at, err := d.location(r.Host)
	if err == nil {
		if e := validTag(r.Tag); e != nil {
			err = refuse(hypervisor.ErrInvalid, e)
		}
	}
	if err != nil {
		return wrap(op, r, false, err)
	}
	turn, err := d.turns.Take(ctx, string(r.Host)+" "+string(r.Machine))
	if err != nil {
		return wrap(op, r, false, err)
	}
	defer turn()
	c := &call{Driver: d, ctx: ctx, at: at}
	err = f(c)
	return wrap(op, r, c.changed, err)
}

// again looks at a server once more; nil when it is gone.
func (c *call) again(s *hcloud.Server) (*hcloud.Server, error) {
	now, _, err := c.client.Server.GetByID(c.ctx, s.ID)
	return now, c.read(err)
}

// until looks at a server until it is as it should be, or gone, which is nil.
func (c *call) until(s *hcloud.Server, good func(*hcloud.Server) bool) (*hcloud.Server, error) {
	for wait := c.config.Timeouts.Poll; ; wait = c.later(wait) {
		now, err := c.again(s)
		if err != nil || now == nil || good(now) {
			return now, err
		}
		if err := pause(c.ctx, wait); err != nil {
			return nil, err
		}
	}
}
