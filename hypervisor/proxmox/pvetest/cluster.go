package pvetest

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fingerprint is what the recording has in the place of one.
const fingerprint = "00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00"

func (s *Server) version(*call) (any, error) {
	return map[string]any{"release": "9.2", "repoid": "14a22df35955d97d", "version": "9.2.0"}, nil
}

func (s *Server) listNodes(c *call) (any, error) {
	out := []map[string]any{}
	for i := range s.cfg.Nodes {
		n := &s.cfg.Nodes[i]
		m := map[string]any{"node": n.Name, "id": "node/" + n.Name, "type": "node", "status": "online", "level": "", "ssl_fingerprint": fingerprint}
		if s.offline[n.Name] {
			m["status"] = "offline"
		} else if c.who.may("/nodes/"+n.Name, "Sys.Audit") {
			maps.Copy(m, map[string]any{"cpu": 0.25, "maxcpu": n.CPUs, "mem": n.Memory / 5, "maxmem": n.Memory, "disk": 1 << 30, "maxdisk": 100 << 30, "uptime": 3600})
		}
		out = append(out, m)
	}
	return out, nil
}

func (s *Server) nextID(c *call) (any, error) {
	if t := c.params["vmid"]; t != "" {
		if s.vms[c.vmid()] != nil {
			return nil, badField("vmid", "VM "+t+" already exists")
		}
		return t, nil
	}
	for id := 100; ; id++ {
		if s.vms[id] == nil {
			return strconv.Itoa(id), nil
		}
	}
}

func (s *Server) clusterStatus(*call) (any, error) {
	out := []map[string]any{}
	for i := range s.cfg.Nodes {
		n := s.cfg.Nodes[i].Name
		m := map[string]any{"id": "node/" + n, "ip": "192.0.2." + strconv.Itoa(i+1), "level": "", "local": 0, "name": n, "nodeid": i, "online": 1, "type": "node"}
		if i == 0 {
			m["local"] = 1
		}
		if s.offline[n] {
			m["online"] = 0
		}
		out = append(out, m)
	}
	return out, nil
}

// resources is the list of everything. The figures are those of the last round of collecting them.
func (s *Server) resources(c *call) (any, error) {
	if time.Since(s.cachedAt) > s.cfg.Lag {
		s.cached, s.cachedAt = make(map[int]map[string]any), time.Now()
		for id, v := range s.vms {
			m := s.status(v)
			for _, k := range []string{"cpus", "pid", "serial"} {
				delete(m, k)
			}
			for k := range m {
				if strings.HasPrefix(k, "pressure") {
					delete(m, k)
				}
			}
			m["maxcpu"], m["diskread"], m["diskwrite"] = v.cpus(), 0, 0
			s.cached[id] = m
		}
	}
	kind := c.params["type"]
	out := []map[string]any{}
	if kind == "" {
		for _, p := range slices.Sorted(maps.Keys(s.pools)) {
			if c.who.may("/pool/"+p, "Pool.Audit") {
				out = append(out, map[string]any{"id": "/pool/" + p, "pool": p, "type": "pool"})
			}
		}
	}
	if kind == "" || kind == "vm" {
		for _, id := range s.ids() {
			v := s.vms[id]
			if !c.who.may("/vms/"+strconv.Itoa(id), "VM.Audit") {
				continue
			}
			m := maps.Clone(s.cached[id])
			if m == nil {
				m = map[string]any{"vmid": id, "status": "unknown"}
			}
			m["node"], m["type"], m["template"] = v.node, "qemu", v.number("template", 0)
			if v.container {
				m["type"] = "lxc"
			}
			m["id"], m["name"] = m["type"].(string)+"/"+strconv.Itoa(id), orElse(v.conf["name"], "VM"+strconv.Itoa(id))
			out = append(out, m)
		}
	}
	if kind == "" || kind == "node" {
		for i := range s.cfg.Nodes {
			n := &s.cfg.Nodes[i]
			m := map[string]any{"cgroup-mode": 1, "id": "node/" + n.Name, "level": "", "node": n.Name, "status": "online", "type": "node"}
			if s.offline[n.Name] {
				m["status"] = "offline"
			}
			if c.who.may("/nodes/"+n.Name, "Sys.Audit") {
				maps.Copy(m, map[string]any{"cpu": 0.25, "maxcpu": n.CPUs, "mem": n.Memory / 5, "maxmem": n.Memory, "disk": 1 << 30, "maxdisk": 100 << 30, "uptime": 3600})
			}
			out = append(out, m)
		}
	}
	if kind == "" || kind == "storage" {
		for i := range s.cfg.Nodes {
			for j := range s.cfg.Storages {
				n, st := s.cfg.Nodes[i].Name, &s.cfg.Storages[j]
				if c.who.may("/storage/"+st.Name, "Datastore.Audit") {
					out = append(out, map[string]any{
						"id": "storage/" + n + "/" + st.Name, "node": n, "storage": st.Name, "type": "storage", "plugintype": st.Type, "status": "available",
						"content": st.Content, "shared": map[bool]int{true: 1}[st.Shared], "maxdisk": st.Total, "disk": st.Total / 6,
					})
				}
			}
		}
	}
	if kind == "" && c.who.may("/sdn", "SDN.Audit") {
		for i := range s.cfg.Nodes {
			n := s.cfg.Nodes[i].Name
			out = append(out, map[string]any{"id": "network/" + n + "/zone/localnetwork", "network": "localnetwork", "network-type": "zone", "node": n, "status": "ok", "type": "network"})
		}
	}
	return out, nil
}

func (s *Server) nodeStatus(c *call) (any, error) {
	n := s.node(c.params["node"])
	return map[string]any{
		"boot-info": map[string]any{"mode": "legacy-bios"}, "cpu": 0.25, "idle": 0, "wait": 0, "uptime": 3600,
		"cpuinfo": map[string]any{
			"cores": n.CPUs, "cpus": n.CPUs, "sockets": 1, "family": "0", "flags": "MASKED", "hvm": "", "mhz": "2000.000", "model": "MASKED", "user_hz": 100, "vendor": "MASKED",
		},
		"current-kernel": map[string]any{"machine": "x86_64", "release": "6.0.0", "sysname": "Linux", "version": "#1"},
		"ksm":            map[string]any{"shared": 0}, "kversion": "Linux 6.0.0", "loadavg": []string{"0.50", "0.50", "0.50"},
		"memory":     map[string]any{"total": n.Memory, "available": n.Memory * 4 / 5, "free": n.Memory / 6, "used": n.Memory / 5},
		"pveversion": "pve-manager/9.2.0/14a22df35955d97d",
		"rootfs":     map[string]any{"avail": 20 << 30, "free": 80 << 30, "total": 100 << 30, "used": 18 << 30},
		"swap":       map[string]any{"free": 0, "total": 0, "used": 0},
	}, nil
}

func (s *Server) rrddata(c *call) (any, error) {
	n := s.node(c.params["node"])
	out := []map[string]any{}
	end := time.Now().Unix() / 60 * 60
	for i := range int64(70) {
		m := map[string]any{"time": end - (69-i)*60}
		if i >= 60 {
			maps.Copy(m, map[string]any{
				"arcsize": 0, "cpu": 0.25, "iowait": 0.001, "loadavg": 0.5, "maxcpu": n.CPUs, "memavailable": n.Memory * 4 / 5, "memtotal": n.Memory, "memused": n.Memory / 5,
				"netin": 0, "netout": 0, "roottotal": 100 << 30, "rootused": 18 << 30, "swaptotal": 0, "swapused": 0,
				"pressurecpusome": 0, "pressureiofull": 0, "pressureiosome": 0, "pressurememoryfull": 0, "pressurememorysome": 0,
			})
		}
		out = append(out, m)
	}
	return out, nil
}

func (s *Server) listStorages(c *call) (any, error) {
	out := []map[string]any{}
	for i := range s.cfg.Storages {
		st := &s.cfg.Storages[i]
		if !c.who.may("/storage/"+st.Name, "Datastore.Audit") && !c.who.may("/storage/"+st.Name, "Datastore.AllocateSpace") {
			continue
		}
		if want := c.params["content"]; want != "" && !slices.Contains(strings.Split(st.Content, ","), want) {
			continue
		}
		if want := c.params["storage"]; want != "" && want != st.Name {
			continue
		}
		m := s.storageState(c.params["node"], st)
		m["storage"], m["used_fraction"] = st.Name, 0.2
		out = append(out, m)
	}
	return out, nil
}

func (s *Server) storageState(node string, st *Storage) map[string]any {
	used := st.Total / 6
	for k, v := range s.volumes {
		if name, _, _ := strings.Cut(k.id, ":"); name == st.Name && (k.node == "" || k.node == node) {
			used += v.size / 10
		}
	}
	return map[string]any{
		"active": 1, "enabled": 1, "content": st.Content, "type": st.Type, "shared": map[bool]int{true: 1}[st.Shared],
		"total": st.Total, "used": used, "avail": max(0, st.Total-used),
	}
}

func (s *Server) oneStorage(c *call) (*Storage, error) {
	st := s.storage(c.params["storage"])
	if st == nil {
		return nil, no("storage '%s' does not exist", c.params["storage"])
	}
	return st, nil
}

func (s *Server) storageStatus(c *call) (any, error) {
	st, err := s.oneStorage(c)
	if err != nil {
		return nil, err
	}
	return s.storageState(c.params["node"], st), nil
}

func (s *Server) storageContent(c *call) (any, error) {
	st, err := s.oneStorage(c)
	if err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for k, v := range s.volumes {
		name, _, _ := strings.Cut(k.id, ":")
		if name != st.Name || k.node != "" && k.node != c.params["node"] || c.params["content"] != "" && c.params["content"] != v.kind {
			continue
		}
		m := map[string]any{"volid": k.id, "content": v.kind, "format": v.format, "size": v.size, "ctime": v.made.Unix()}
		if v.kind == "images" {
			m["vmid"], m["parent"], m["used"] = v.owner, nil, v.size/10
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b map[string]any) int { return strings.Compare(a["volid"].(string), b["volid"].(string)) })
	return out, nil
}

func (s *Server) deleteContent(c *call) (any, error) {
	id := c.params["volume"]
	if !strings.Contains(id, ":") {
		id = c.params["storage"] + ":" + id
	}
	key := s.key(c.params["node"], id)
	if s.volumes[key] == nil {
		return nil, no("volume '%s' does not exist", id)
	}
	return c.work(c.params["node"], "imgdel", id[strings.LastIndexAny(id, ":/")+1:], func(*task) error {
		delete(s.volumes, key)
		return nil
	}), nil
}

func (s *Server) upload(c *call) (any, error) {
	st, err := s.oneStorage(c)
	if err != nil {
		return nil, err
	}
	if c.params["content"] != "iso" || !slices.Contains(strings.Split(st.Content, ","), "iso") {
		return nil, no("can't upload to storage type '%s'", st.Type)
	}
	name := c.params["filename"]
	if !strings.HasSuffix(name, ".iso") {
		return nil, badField("filename", "wrong file extension")
	}
	body := c.upload
	return c.work(c.params["node"], "imgcopy", "", func(*task) error {
		id := st.Name + ":iso/" + name
		s.volumes[s.key(c.params["node"], id)] = &volume{size: int64(len(body)), format: "iso", kind: "iso", content: string(body), made: time.Now()}
		return nil
	}), nil
}

// ISO returns an image that was uploaded.
func (s *Server) ISO(node, volume string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.volumes[s.key(node, volume)]; v != nil {
		return []byte(v.content)
	}
	return nil
}

func (s *Server) storageConfig(c *call) (any, error) {
	out := []map[string]any{}
	for i := range s.cfg.Storages {
		st := &s.cfg.Storages[i]
		if !c.who.may("/storage/"+st.Name, "Datastore.Audit") {
			continue
		}
		m := map[string]any{"storage": st.Name, "type": st.Type, "content": st.Content, "digest": strings.Repeat("0", 39) + "1", "path": "/var/lib/vz"}
		if st.Shared {
			m["shared"] = 1
		}
		out = append(out, m)
	}
	return out, nil
}

func (s *Server) listPools(c *call) (any, error) {
	out := []map[string]any{}
	for _, p := range slices.Sorted(maps.Keys(s.pools)) {
		if want := c.params["poolid"]; want != "" && want != p {
			continue
		}
		m := map[string]any{"poolid": p}
		if c.params["poolid"] != "" {
			list, _ := s.resources(&call{s: s, who: c.who, params: map[string]string{"type": "vm"}})
			members := []map[string]any{}
			for _, r := range list.([]map[string]any) {
				if id, ok := r["vmid"].(int); ok && slices.Contains(s.pools[p], id) {
					delete(r, "tags")
					members = append(members, r)
				}
			}
			m["members"] = members
		}
		out = append(out, m)
	}
	return out, nil
}

func (s *Server) newPool(c *call) (any, error) {
	p := c.params["poolid"]
	if s.pools[p] != nil {
		return nil, no("create pool failed: pool '%s' already exists", p)
	}
	s.pools[p] = []int{}
	return nil, nil
}

func (s *Server) changePool(c *call) (any, error) {
	for _, t := range strings.Split(c.params["vms"], ",") {
		if id, err := strconv.Atoi(t); err == nil {
			s.pools[c.params["poolid"]] = append(s.pools[c.params["poolid"]], id)
		}
	}
	return nil, nil
}

func (s *Server) deletePool(c *call) (any, error) {
	delete(s.pools, c.params["poolid"])
	return nil, nil
}

func (s *Server) none(*call) (any, error) { return []any{}, nil }
