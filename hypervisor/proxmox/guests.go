package proxmox

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// guest is a guest of the cluster as its node shows it.
type guest struct {
	node   string
	vmid   int
	status guestStatus
	conf   config
	mark   *mark // nil: not tagged by any Berthage
}

// guestStatus is what lists of guests say of one, and what is said of one alone.
type guestStatus struct {
	VMID     number `json:"vmid"`
	Name     string `json:"name"`
	Status   string `json:"status"`    // running, also when it is paused, or stopped
	QMP      string `json:"qmpstatus"` // paused is told by this alone
	Template number `json:"template"`
	Lock     string `json:"lock"`

	CPU      number  `json:"cpu"` // busy part of its cores
	Memory   number  `json:"mem"`
	Uptime   number  `json:"uptime"`
	Read     *number `json:"diskread"`
	Written  *number `json:"diskwrite"`
	Received *number `json:"netin"`
	Sent     *number `json:"netout"`
}

func (g *guestStatus) power() pool.Power {
	switch {
	case g.Status != "running" && g.Lock == "suspended":
		return pool.Hibernated
	case g.Status != "running":
		return pool.Stopped
	case g.QMP == "paused" || g.QMP == "suspended":
		return pool.Suspended
	}
	return pool.Running
}

func (g *guest) path() string { return guestPath(g.node, g.vmid) }

func guestPath(node string, vmid int) string {
	return "/nodes/" + node + "/qemu/" + strconv.Itoa(vmid)
}

// statuses lists the guests and templates on a node.
func (s *session) statuses(node string) ([]guestStatus, error) {
	var list []guestStatus
	if err := s.get("/nodes/"+node+"/qemu", url.Values{"full": {"1"}}, &list); err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b guestStatus) int { return int(a.VMID - b.VMID) })
	return list, nil
}

// config returns the configuration of a guest.
func (s *session) config(node string, vmid int) (config, error) {
	var c config
	if err := s.get(guestPath(node, vmid)+"/config", nil, &c); err != nil {
		return nil, err
	}
	return c, nil
}

// look looks at one guest; nil where there is none of that VMID on the node.
func (s *session) look(node string, vmid int) (*guest, error) {
	c, err := s.config(node, vmid)
	if says(err, noGuest) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	g := &guest{node: node, vmid: vmid, conf: c, mark: readMark(string(c["description"]), vmid)}
	g.status.Lock = string(c["lock"])
	return g, nil
}

// power asks for a guest's power state.
func (s *session) power(g *guest) (pool.Power, error) {
	var st guestStatus
	if err := s.get(g.path()+"/status/current", nil, &st); err != nil {
		return "", err
	}
	st.VMID = number(g.vmid)
	g.status = st
	return st.power(), nil
}

// guests lists all guests and templates on a node with their configurations, and makes sure that none has been left out. One
// that goes away meanwhile is.
func (s *session) guests(node string) ([]*guest, error) {
	list, err := s.statuses(node)
	if err != nil {
		return nil, err
	}
	found := make([]*guest, len(list))
	err = each(len(list), func(i int) error {
		g, err := s.look(node, int(list[i].VMID))
		if g == nil || err != nil {
			return err
		}
		if g.status = list[i]; g.status.Status == "running" && g.status.QMP == "" {
			// A server that does not tell it in lists tells it of each.
			if _, err := s.power(g); err != nil && !says(err, noGuest) {
				return err
			}
		}
		found[i] = g
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.permitted(map[string]string{"/vms": "VM.Audit"}); err != nil {
		return nil, err
	}
	out := slices.DeleteFunc(found, func(g *guest) bool { return g == nil })
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range out {
		if g.mark != nil {
			s.hints[hint{node, pool.MachineID(g.mark.Machine)}] = g.vmid
		}
	}
	return out, nil
}

// find looks for the machine of that tag. It is nil, without an error, where the node has no guest of that machine id, and
// ErrForeign where it has one of another tag, or something else in the machine's place.
func (s *session) find(node string, r hypervisor.Ref) (*guest, error) {
	tag := r.Tag
	key := hint{node, tag.Machine}
	s.mu.Lock()
	vmid := s.hints[key]
	s.mu.Unlock()
	if vmid != 0 {
		g, err := s.look(node, vmid)
		if err != nil {
			return nil, err
		}
		if g != nil && g.mark != nil && g.mark.tag() == tag {
			return g, nil
		}
		s.mu.Lock()
		delete(s.hints, key)
		s.mu.Unlock()
	}
	all, err := s.guests(node)
	if err != nil {
		return nil, err
	}
	foreign := false
	for _, g := range all {
		switch {
		case g.mark == nil:
		case g.mark.tag() == tag:
			return g, nil
		case g.mark.tag().Machine == tag.Machine:
			foreign = true
		}
	}
	if foreign || s.inPlace(all, r) {
		return nil, refuse(hypervisor.ErrForeign, nil)
	}
	return nil, nil
}

// inPlace reports whether the machine's own VMID is one of those.
func (s *session) inPlace(all []*guest, r hypervisor.Ref) bool {
	own := s.cfg.ownVMID(r)
	return own != 0 && slices.ContainsFunc(all, func(g *guest) bool { return g.vmid == own })
}

// Machines implements hypervisor.Driver. Containers are listed as machines that are not ours; their figures lag behind by some
// seconds. Addresses are what the guest's agent says, where Config.Agent is set.
func (d *Driver) Machines(ctx context.Context, id pool.HostID) ([]hypervisor.Machine, error) {
	s := d.session(ctx)
	out, err := s.listMachines(id)
	if err != nil {
		return nil, wrap("list machines", hypervisor.Ref{Host: id}, false, err)
	}
	return out, nil
}

func (s *session) listMachines(id pool.HostID) ([]hypervisor.Machine, error) {
	node, err := s.node(id)
	if err != nil {
		return nil, err
	}
	all, err := s.guests(node)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(g *guest) bool { return g.status.Template != 0 })
	addresses := make([][]string, len(all))
	if s.cfg.Agent {
		_ = each(len(all), func(i int) error {
			if all[i].mark != nil && all[i].status.power() == pool.Running {
				addresses[i] = s.addresses(all[i])
			}
			return nil
		})
	}
	out := make([]hypervisor.Machine, 0, len(all))
	for i, g := range all {
		m := hypervisor.Machine{
			Ref: hypervisor.Ref{Host: id}, Native: "qemu/" + strconv.Itoa(g.vmid), Name: harmless(g.status.Name), Power: g.status.power(),
			Addresses: addresses[i], Resources: pool.Resources{pool.CPU: g.conf.cores(), pool.Memory: g.conf.memory()},
		}
		if g.mark != nil {
			m.Tag = g.mark.tag()
			if g.mark.Stage != complete {
				m.Fault = "its creation was broken off"
			}
		}
		out = append(out, m)
	}
	containers, err := s.containers()
	if err != nil {
		return nil, err
	}
	for _, c := range containers {
		if c.Node == node {
			m := hypervisor.Machine{Ref: hypervisor.Ref{Host: id}, Native: fmt.Sprintf("lxc/%d", int(c.VMID)), Name: harmless(c.Name), Power: pool.Stopped,
				Resources: pool.Resources{pool.CPU: c.cores(), pool.Memory: c.MaxMemory.whole()}}
			if c.Status == "running" {
				m.Power = pool.Running
			}
			out = append(out, m)
		}
	}
	return out, nil
}

// resource is an element of the list of everything.
type resource struct {
	Type      string `json:"type"`
	Node      string `json:"node"`
	VMID      number `json:"vmid"`
	Name      string `json:"name"`
	Status    string `json:"status"`
	Template  number `json:"template"`
	MaxCPU    number `json:"maxcpu"`
	MaxMemory number `json:"maxmem"`
}

func (r *resource) cores() int64 {
	return int64(float64(min(max(r.MaxCPU, 0), 1<<20)) * float64(pool.Core))
}

// resources lists the guests, templates and containers of all nodes. Their figures may be old, and new ones have none.
func (s *session) resources() ([]resource, error) {
	var list []resource
	err := s.get("/cluster/resources", url.Values{"type": {"vm"}}, &list)
	return list, err
}

func (s *session) containers() ([]resource, error) {
	list, err := s.resources()
	return slices.DeleteFunc(list, func(r resource) bool { return r.Type != "lxc" || r.Template != 0 }), err
}

// addresses asks the agent in a guest. One that does not answer has none to tell.
func (s *session) addresses(g *guest) []string {
	var said struct {
		Result []struct {
			Name      string `json:"name"`
			Addresses []struct {
				Address string `json:"ip-address"`
			} `json:"ip-addresses"`
		} `json:"result"`
	}
	if err := s.get(g.path()+"/agent/network-get-interfaces", nil, &said); err != nil {
		s.cfg.Logger.Debug("the agent of a guest does not answer", "guest", g.vmid, "error", err)
		return nil
	}
	var out []string
	for _, card := range said.Result {
		for _, a := range card.Addresses {
			ip, err := netip.ParseAddr(a.Address)
			if err == nil && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && ip.Zone() == "" && !slices.Contains(out, ip.String()) {
				out = append(out, ip.String())
			}
		}
	}
	return out
}
