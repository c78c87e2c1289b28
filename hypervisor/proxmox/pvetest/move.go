package pvetest

import (
	"fmt"
	"maps"
	"strings"
	"time"
)

func (v *vm) snapshot(name string) *snapshot {
	for _, s := range v.snapshots {
		if s.name == name {
			return s
		}
	}
	return nil
}

func (s *Server) takeSnapshot(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	name, description := c.params["snapname"], c.params["description"]
	if name == "current" || name == "pending" {
		return nil, badField("snapname", "value '"+name+"' is reserved")
	}
	return c.guestTask("qmsnapshot", v, func(t *task) error {
		if err := v.locked(); err != nil {
			return err
		}
		if v.snapshot(name) != nil {
			return no("snapshot name '%s' already used", name)
		}
		snap := &snapshot{name: name, description: description, parent: v.conf["parent"], time: time.Now(), conf: maps.Clone(v.conf), disks: make(map[string]volume)}
		for _, k := range v.drives() {
			if vol := s.volumes[s.key(v.node, volid(v.conf[k]))]; vol != nil && !cdrom(v.conf[k]) {
				t.say("snapshotting 'drive-%s' (%s)", k, volid(v.conf[k]))
				snap.disks[k] = *vol
			}
		}
		v.snapshots = append(v.snapshots, snap)
		v.conf["parent"] = name
		s.touch(v)
		return nil
	}), nil
}

func (s *Server) listSnapshots(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for _, snap := range v.snapshots {
		m := map[string]any{"name": snap.name, "description": snap.description, "snaptime": snap.time.Unix(), "vmstate": 0}
		if snap.parent != "" {
			m["parent"] = snap.parent
		}
		out = append(out, m)
	}
	current := map[string]any{"name": "current", "description": "You are here!", "digest": v.digestText(), "running": 0}
	if v.running {
		current["running"] = 1
	}
	if v.conf["parent"] != "" {
		current["parent"] = v.conf["parent"]
	}
	return append(out, current), nil
}

func (s *Server) describeSnapshot(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	snap := v.snapshot(c.params["snapname"])
	if snap == nil {
		return nil, no("snapshot '%s' does not exist", c.params["snapname"])
	}
	snap.description = c.params["description"]
	return nil, nil
}

func (s *Server) rollback(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	name := c.params["snapname"]
	return c.guestTask("qmrollback", v, func(*task) error {
		snap := v.snapshot(name)
		if snap == nil {
			return no("snapshot '%s' does not exist", name)
		}
		if err := v.locked(); err != nil {
			return err
		}
		if v.running {
			s.off(v)
		}
		v.conf = maps.Clone(snap.conf)
		v.conf["parent"] = name
		for k, kept := range snap.disks {
			vol := s.volumes[s.key(v.node, volid(v.conf[k]))]
			vol.content, vol.size = kept.content, kept.size
			v.conf[k] = withOption(v.conf[k], "size", formatSize(kept.size))
		}
		s.touch(v)
		return nil
	}), nil
}

func (s *Server) deleteSnapshot(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	name := c.params["snapname"]
	return c.guestTask("qmdelsnapshot", v, func(*task) error {
		if err := v.locked(); err != nil {
			return err
		}
		for i, snap := range v.snapshots {
			if snap.name != name {
				continue
			}
			v.snapshots = append(v.snapshots[:i:i], v.snapshots[i+1:]...)
			for _, other := range v.snapshots {
				if other.parent == name {
					other.parent = snap.parent
				}
			}
			if v.conf["parent"] == name {
				if v.conf["parent"] = snap.parent; snap.parent == "" {
					delete(v.conf, "parent")
				}
			}
			s.touch(v)
			return nil
		}
		return no("snapshot '%s' does not exist", name)
	}), nil
}

func (s *Server) feature(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	return map[string]any{"hasFeature": 1, "nodes": []string{v.node}}, nil
}

// migrationCheck tells what stands in the way of a migration.
func (s *Server) migrationCheck(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	allowed, local := []string{}, []map[string]any{}
	for i := range s.cfg.Nodes {
		if n := s.cfg.Nodes[i].Name; n != v.node && !s.offline[n] {
			allowed = append(allowed, n)
		}
	}
	for _, k := range v.drives() {
		id := volid(v.conf[k])
		name, _, _ := strings.Cut(id, ":")
		if st := s.storage(name); st == nil || st.Shared {
			continue
		}
		flag := map[bool]int{true: 1}
		local = append(local, map[string]any{
			"volid": id, "drivename": k, "size": parseSize(option(v.conf[k], "size")), "cdrom": flag[cdrom(v.conf[k])], "shared": 0,
			"is_attached": 1, "is_cloudinit": flag[strings.Contains(id, "cloudinit")], "is_tpmstate": 0, "is_unused": 0, "is_vmstate": 0, "replicate": 1,
		})
	}
	running := 0
	if v.running {
		running = 1
	}
	return map[string]any{
		"running": running, "allowed_nodes": allowed, "not_allowed_nodes": map[string]any{}, "local_disks": local, "local_resources": []any{},
		"mapped-resources": []any{}, "mapped-resource-info": map[string]any{}, "has-dbus-vmstate": 1,
	}, nil
}

func (s *Server) migrate(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	p := c.params
	target := p["target"]
	switch {
	case target == v.node:
		return nil, badField("target", "target is local node.")
	case s.node(target) == nil:
		return nil, no("no such cluster node '%s'", target)
	case v.running && p["online"] != "1":
		return nil, no("can't migrate running VM without --online")
	}
	mapped := func(storage string) string {
		for _, pair := range strings.Split(p["targetstorage"], ",") {
			from, to, ok := strings.Cut(pair, ":")
			if !ok && pair != "" && pair != "1" {
				return pair
			}
			if ok && from == storage {
				return to
			}
		}
		return storage
	}
	online, withDisks := p["online"] == "1" && v.running, p["with-local-disks"] == "1"
	source := v.node
	return c.guestTask("qmigrate", v, func(t *task) error {
		if err := v.locked(); err != nil {
			return err
		}
		if s.offline[target] {
			return no("migration aborted: can't reach node '%s'", target)
		}
		if v.running && !online {
			return no("can't migrate running VM without --online")
		}
		type move struct{ key, from, to string }
		var moves []move
		for _, k := range v.drives() {
			id := volid(v.conf[k])
			name, _, _ := strings.Cut(id, ":")
			st, to := s.storage(name), s.storage(mapped(name))
			vol := s.volumes[s.key(source, id)]
			switch {
			case to == nil:
				return no("storage '%s' does not exist", mapped(name))
			case st.Shared:
				continue
			case vol != nil && vol.kind == "iso":
				return no("can't migrate VM - can't migrate local cdrom '%s'", id)
			case online && !withDisks && !cdrom(v.conf[k]):
				return no("can't live migrate attached local disks without with-local-disks option")
			case online && len(v.snapshots) > 0:
				return no("online storage migration not possible if snapshot exists")
			case vol != nil && vol.parent != "":
				return no("can't migrate local disk '%s': disk is a linked clone", id)
			}
			moves = append(moves, move{k, id, to.Name})
		}
		for _, m := range moves {
			vol := s.volumes[s.key(source, m.from)]
			delete(s.volumes, s.key(source, m.from))
			v.node = target
			purpose := "disk"
			if strings.Contains(m.from, "cloudinit") {
				purpose = "cloudinit"
			}
			made := s.newVolume(v, m.to, vol.format, purpose, vol.size, nil)
			v.node = source
			*s.volumes[s.key(target, made)] = *vol
			v.conf[m.key] = strings.Replace(v.conf[m.key], m.from, made, 1)
			for _, snap := range v.snapshots {
				snap.conf[m.key] = strings.Replace(snap.conf[m.key], m.from, made, 1)
			}
			t.say("copying local disk image: %s -> %s", m.from, made)
		}
		v.node = target
		s.touch(v)
		return nil
	}), nil
}

func (s *Server) dumpCloudInit(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	if c.params["type"] == "network" {
		return "version: 1\nconfig:\n    - type: nameserver\n      address:\n      - '192.0.2.53'\n", nil
	}
	keys := ""
	if v.conf["sshkeys"] != "" {
		keys = "ssh_authorized_keys:\n  - " + v.conf["sshkeys"] + "\n"
	}
	return fmt.Sprintf("#cloud-config\nhostname: %[1]s\nmanage_etc_hosts: true\nfqdn: %[1]s\nuser: %s\n%schpasswd:\n  expire: False\nusers:\n  - default\npackage_upgrade: true\n",
		v.conf["name"], v.conf["ciuser"], keys), nil
}

func (s *Server) cloudInit(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	out := []map[string]any{}
	for _, k := range []string{"ciuser", "sshkeys"} {
		if v.conf[k] != "" {
			out = append(out, map[string]any{"key": k, "value": v.conf[k]})
		}
	}
	return out, nil
}
