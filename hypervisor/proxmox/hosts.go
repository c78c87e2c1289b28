package proxmox

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// observation is what was last seen of a node.
type observation struct {
	host      pool.Host
	disks     map[string]int64 // what disks that are not tagged take, by storage
	snapshots bool             // every storage for disks can keep them
}

// Hosts implements hypervisor.Driver. All nodes are asked at the same time. One that does not answer in time is listed as it was
// last seen, without pool.Ready. Disks of guests that are not tagged, and of templates, are reserved on their storage by the sizes
// that they may grow to.
func (d *Driver) Hosts(ctx context.Context) ([]pool.Host, error) {
	s := d.session(ctx)
	out, err := s.listHosts()
	if err == nil {
		if e := ctx.Err(); e != nil {
			err = &lostError{cause: e}
		}
	}
	if err != nil {
		return nil, wrap("list hosts", hypervisor.Ref{}, false, err)
	}
	return out, nil
}

func (s *session) listHosts() ([]pool.Host, error) {
	if err := s.permitted(map[string]string{"/vms": "VM.Audit", "/nodes": "Sys.Audit", "/storage": "Datastore.Audit"}); err != nil {
		return nil, err
	}
	list, err := s.listNodes()
	if err != nil {
		return nil, err
	}
	online := make(map[string]bool)
	for _, n := range list {
		if validNode(n.Node) && s.cfg.uses(n.Node) {
			online[n.Node] = n.Status == "online"
		}
	}
	containers, err := s.containers()
	if err != nil {
		return nil, err
	}
	shared, err := s.sharing(slices.Collect(maps.Keys(online)))
	if err != nil {
		return nil, err
	}
	for name := range s.cfg.Nodes {
		if _, ok := online[name]; !ok {
			online[name] = false // configured, and not in the cluster
		}
	}
	names := slices.Sorted(maps.Keys(online))
	var wg sync.WaitGroup
	now := make([]*observation, len(names))
	for i, name := range names {
		wg.Go(func() {
			if !online[name] {
				return
			}
			o, err := s.observe(name, containers)
			if err != nil {
				s.cfg.Logger.Warn("a node cannot be observed", "node", name, "error", err)
				return
			}
			now[i] = o
		})
	}
	wg.Wait()
	return s.assemble(names, now, shared)
}

// sharing returns, by shared storage, on how many of the nodes it is.
func (s *session) sharing(nodes []string) (map[string]int64, error) {
	var list []struct {
		Storage string `json:"storage"`
		Shared  number `json:"shared"`
		Nodes   string `json:"nodes"` // empty: all
	}
	if err := s.get("/storage", nil, &list); err != nil {
		return nil, err
	}
	out := make(map[string]int64)
	for _, st := range list {
		if st.Shared == 0 {
			continue
		}
		on := strings.Split(st.Nodes, ",")
		for _, n := range nodes {
			if st.Nodes == "" || slices.Contains(on, n) {
				out[st.Storage]++
			}
		}
	}
	return out, nil
}

// assemble makes hosts of what has been observed now, and of what was before where nothing was now.
func (s *session) assemble(names []string, now []*observation, shared map[string]int64) ([]pool.Host, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	elsewhere := make(map[string]int64) // what disks that are not tagged take of shared storages, on all nodes
	for i, name := range names {
		if now[i] != nil {
			s.seen[name] = *now[i]
		}
		for st, n := range s.seen[name].disks {
			if shared[st] > 0 {
				elsewhere[st] = addUp(elsewhere[st], n)
			}
		}
	}
	out := make([]pool.Host, 0, len(names))
	for i, name := range names {
		last, ok := s.seen[name]
		h := last.host
		if !ok {
			h = s.bare(name)
		}
		h, err := h.Normalize() // a deep copy
		if err != nil {
			return nil, err
		}
		for j := range h.Devices {
			dev := &h.Devices[j]
			taken := last.disks[dev.ID]
			if n := shared[dev.ID]; n > 0 {
				dev.Total, taken = dev.Total/n, (elsewhere[dev.ID]+n-1)/n
			}
			dev.Reserved = addUp(dev.Reserved, taken)
		}
		if h.Conditions = 0; now[i] != nil {
			h.Conditions = pool.Ready
		}
		if h, err = h.Normalize(); err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, nil
}

// bare is a node of which nothing is known but what is configured.
func (s *session) bare(name string) pool.Host {
	n := s.cfg.Nodes[name]
	return pool.Host{
		ID: pool.NewHostID(s.cfg.Name, name), Name: name, Address: n.Address, Zone: n.Zone, Labels: n.Labels, Taints: n.Taints, Cost: n.Cost,
		Inventory: map[pool.Class]pool.Inventory{},
	}
}

// observe looks at a node.
func (s *session) observe(name string, containers []resource) (*observation, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Timeouts.Hosts)
	defer cancel()
	s = s.session(ctx)
	state, err := s.nodeState(name)
	if err != nil {
		return nil, err
	}
	n := s.cfg.Nodes[name]
	cpu := pool.Inventory{Total: state.CPU.CPUs.whole() * pool.Core, Reserved: n.ReservedCPU, Ratio: n.CPURatio}
	memory := pool.Inventory{Total: state.Memory.Total.whole(), Reserved: n.ReservedMemory, Ratio: n.MemoryRatio}
	o := &observation{disks: make(map[string]int64), snapshots: true}
	all, err := s.guests(name)
	if err != nil {
		return nil, err
	}
	for _, g := range all {
		if g.mark != nil {
			continue
		}
		if g.status.Template == 0 {
			cpu.Reserved = addUp(cpu.Reserved, g.conf.cores())
			memory.Reserved = addUp(memory.Reserved, g.conf.memory())
		}
		for _, d := range g.conf.drives() {
			if !d.cdrom() {
				o.disks[d.storage()] = addUp(o.disks[d.storage()], d.size())
			}
		}
	}
	for _, c := range containers {
		if c.Node == name {
			cpu.Reserved = addUp(cpu.Reserved, c.cores())
			memory.Reserved = addUp(memory.Reserved, c.MaxMemory.whole())
		}
	}
	h := s.bare(name)
	h.Inventory[pool.CPU], h.Inventory[pool.Memory] = cpu, memory
	storages, err := s.storages(name)
	if err != nil {
		return nil, err
	}
	for st := range s.cfg.Storages {
		if _, ok := storages[st]; !ok {
			s.cfg.Logger.Debug("a node does not have a storage", "node", name, "storage", st)
		}
	}
	for _, st := range slices.Sorted(maps.Keys(storages)) {
		found := storages[st]
		offer, ok := s.cfg.storage(st)
		if !ok || !found.images() {
			continue
		}
		h.Devices = append(h.Devices, pool.Device{
			ID: st, Class: offer.Kind.Class(), Inventory: pool.Inventory{Total: found.Total.whole(), Reserved: offer.Reserved, Ratio: offer.Ratio},
		})
		if offer.IOPS > 0 {
			iops := h.Inventory[offer.Kind.IOPSClass()]
			iops.Total = addUp(iops.Total, offer.IOPS)
			h.Inventory[offer.Kind.IOPSClass()] = iops
		}
		o.snapshots = o.snapshots && found.snapshots()
	}
	o.snapshots = o.snapshots && len(h.Devices) > 0
	o.host = h
	return o, nil
}

// nodeState is what a node says of itself; sizes in bytes.
type nodeState struct {
	CPU struct {
		CPUs number `json:"cpus"`
	} `json:"cpuinfo"`
	Busy   number `json:"cpu"`
	Memory struct {
		Total     number  `json:"total"`
		Used      number  `json:"used"`
		Available *number `json:"available"`
	} `json:"memory"`
	Load []number `json:"loadavg"`
}

func (s *session) nodeState(name string) (nodeState, error) {
	var state nodeState
	if err := s.get("/nodes/"+name+"/status", nil, &state); err != nil {
		return state, err
	}
	if state.CPU.CPUs < 1 || state.CPU.CPUs > 1<<20 || state.Memory.Total < 1 {
		return state, refuse(hypervisor.ErrUnavailable, fmt.Errorf("node %s does not say what it has", pool.Quote(name)))
	}
	return state, nil
}

// storageState is a storage as a node sees it; sizes in bytes.
type storageState struct {
	Storage string `json:"storage"`
	Type    string `json:"type"`
	Content string `json:"content"`
	Active  number `json:"active"`
	Enabled number `json:"enabled"`
	Shared  number `json:"shared"`
	Total   number `json:"total"`
	Avail   number `json:"avail"`
}

func (st *storageState) holds(content string) bool {
	return st.Active != 0 && st.Enabled != 0 && slices.Contains(strings.Split(st.Content, ","), content)
}

func (st *storageState) images() bool { return st.holds("images") }

// snapshots reports whether disks there, in the format that a clone has, can keep states.
func (st *storageState) snapshots() bool {
	switch st.Type {
	case "lvmthin", "zfspool", "rbd", "btrfs":
		return true
	case "dir", "nfs", "cifs", "cephfs": // in qcow2, which templates for them should have; else the server says no
		return true
	}
	return false
}

// storages returns the storages of a node by name.
func (s *session) storages(node string) (map[string]storageState, error) {
	var list []storageState
	if err := s.get("/nodes/"+node+"/storage", url.Values{"enabled": {"1"}}, &list); err != nil {
		return nil, err
	}
	out := make(map[string]storageState, len(list))
	for _, st := range list {
		out[st.Storage] = st
	}
	return out, nil
}

// addUp adds, at most to the largest int64.
func addUp(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
