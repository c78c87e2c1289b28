package pvetest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// clone copies a guest or a template. The new one is there, locked, as soon as the request is answered.
func (s *Server) clone(c *call) (any, error) {
	p := c.params
	newid, _ := strconv.Atoi(p["newid"])
	node := p["node"]
	src := s.vms[c.vmid()]
	if t := p["target"]; t != "" && s.node(t) == nil {
		return nil, no("no such cluster node '%s'", t)
	}
	if pool := p["pool"]; pool != "" && s.pools[pool] == nil {
		return nil, &apiError{status: 403, text: fmt.Sprintf("Permission check failed (pool '%s' does not exist)", pool)}
	}
	if !c.who.may("/vms/"+p["newid"], "VM.Allocate") {
		return nil, &apiError{status: 403, text: fmt.Sprintf("Permission check failed (/vms/%d, VM.Allocate)", newid)}
	}
	if st := p["storage"]; st != "" && s.storage(st) == nil {
		return nil, no("storage '%s' does not exist", st)
	}
	if src == nil || src.node != node || src.container {
		return nil, no("unable to find configuration file for VM %d on node '%s'", c.vmid(), node)
	}
	if snap := p["snapname"]; snap != "" && src.snapshot(snap) == nil {
		return nil, no("snapshot '%s' does not exist", snap)
	}
	if err := src.locked(); err != nil {
		return nil, err
	}
	full := p["full"] == "1" || !src.template()
	if p["full"] == "0" && !src.template() {
		full = false
	}
	if !full && p["storage"] != "" {
		return nil, no("parameter 'storage' not allowed for linked clones")
	}
	target := orElse(p["target"], node)
	if target != node {
		for _, k := range src.drives() {
			name, _, _ := strings.Cut(volid(src.conf[k]), ":")
			if st := s.storage(name); !st.Shared {
				return nil, no("can't clone VM to node '%s' (VM uses local storage)", target)
			}
			if st := s.storage(orElse(p["storage"], name)); !st.Shared {
				return nil, no("can't clone to non-shared storage '%s'", st.Name)
			}
		}
	}
	if s.vms[newid] != nil {
		return nil, no("unable to create VM %d: config file already exists", newid)
	}
	v := &vm{id: newid, node: target, conf: maps.Clone(src.conf)}
	for _, k := range []string{"template", "description", "parent"} {
		delete(v.conf, k)
	}
	v.conf["lock"], v.conf["name"] = "clone", orElse(p["name"], "Copy-of-VM-"+src.conf["name"])
	if d := p["description"]; d != "" {
		v.conf["description"] = strings.TrimRight(d, "\n")
	} else if d := src.conf["description"]; d != "" {
		v.conf["description"] = d
	}
	drives := make(map[string]string)
	for _, k := range v.drives() {
		drives[k] = v.conf[k]
		delete(v.conf, k)
	}
	s.identify(v)
	s.vms[newid] = v
	if pool := p["pool"]; pool != "" {
		s.pools[pool] = append(s.pools[pool], newid)
	}
	upid := c.work(node, "qmclone", strconv.Itoa(src.id), func(t *task) error {
		t.say("creating a clone of VM %d with ID %d", src.id, newid)
		for _, k := range slices.Sorted(maps.Keys(drives)) {
			if err := s.copyDrive(src, v, k, drives[k], full, p["storage"], t); err != nil {
				return err
			}
		}
		delete(v.conf, "lock")
		s.touch(v)
		return nil
	})
	s.tasks[upid].cleanup = func() { s.remove(v) }
	return upid, nil
}

func (s *Server) copyDrive(src, v *vm, k, x string, full bool, to string, t *task) error {
	id := volid(x)
	name, _, _ := strings.Cut(id, ":")
	old := s.volumes[s.key(src.node, id)]
	if old == nil {
		return no("volume '%s' does not exist", id)
	}
	if cdrom(x) && old.kind == "iso" {
		v.conf[k] = x
		return nil
	}
	storage := orElse(to, name)
	if cdrom(x) {
		t.say("create full clone of drive %s (%s)", k, id)
		made := s.newVolume(v, storage, old.format, "cloudinit", old.size, t)
		t.say("allocated target volume '%s'", made)
		v.conf[k] = strings.Replace(x, id, made, 1)
		return nil
	}
	if full {
		t.say("create full clone of drive %s (%s)", k, id)
		made := s.newVolume(v, storage, old.format, "disk", old.size, t)
		s.volumes[s.key(v.node, made)].content = old.content
		t.say("allocated target volume '%s'", made)
		v.conf[k] = strings.Replace(x, id, made, 1)
		return nil
	}
	t.say("create linked clone of drive %s (%s)", k, id)
	made := s.newVolume(v, name, old.format, "disk", old.size, t)
	linked := made
	if st := s.storage(name); st.Type == "dir" || st.Type == "nfs" {
		linked = id + "/" + strings.TrimPrefix(made, name+":")
		s.volumes[s.key(v.node, linked)] = s.volumes[s.key(v.node, made)]
		delete(s.volumes, s.key(v.node, made))
	}
	vol := s.volumes[s.key(v.node, linked)]
	vol.content, vol.parent = old.content, id
	v.conf[k] = strings.Replace(x, id, linked, 1)
	return nil
}

// AddTemplate makes a template with one disk, scsi0, and a drive for cloud-init, ide2, on a storage. It is there at once.
func (s *Server) AddTemplate(node string, id int, name, storage string, size int64) {
	s.AddGuest(node, id, name, storage, size, map[string]string{"template": "1", "ide2": "cloudinit", "boot": "order=scsi0", "serial0": "socket", "scsihw": "virtio-scsi-pci"})
}

// AddGuest makes a guest with one disk, scsi0, and the settings. It is there at once, and stopped.
func (s *Server) AddGuest(node string, id int, name, storage string, size int64, settings map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &vm{id: id, node: node, conf: map[string]string{"name": name, "memory": "256", "cores": "1"}}
	s.identify(v)
	maps.Copy(v.conf, settings)
	delete(v.conf, "ide2")
	disk := s.newVolume(v, storage, "qcow2", "disk", size, nil)
	if v.template() {
		base := strings.Replace(disk, "vm-", "base-", 1)
		s.volumes[s.key(node, base)] = s.volumes[s.key(node, disk)]
		delete(s.volumes, s.key(node, disk))
		disk = base
	}
	s.volumes[s.key(node, disk)].content = "an image"
	v.conf["scsi0"] = disk + ",size=" + formatSize(size)
	if settings["ide2"] == "cloudinit" {
		v.conf["ide2"] = s.newVolume(v, storage, "qcow2", "cloudinit", 4<<20, nil) + ",media=cdrom,size=4M"
	}
	s.vms[id] = v
}

// AddContainer makes a container, which the API of virtual machines does not show.
func (s *Server) AddContainer(node string, id int, name string, cores int, memory int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vms[id] = &vm{id: id, node: node, container: true, running: true, started: time.Now(), conf: map[string]string{
		"name": name, "cores": strconv.Itoa(cores), "memory": strconv.FormatInt(memory>>20, 10),
	}}
}

// Remove takes a guest away, as somebody else would.
func (s *Server) Remove(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.vms[id]; v != nil {
		s.remove(v)
	}
}

// Guests lists the ids of all guests and templates on a node.
func (s *Server) Guests(node string) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(s.ids(), func(id int) bool { return s.vms[id].node != node })
}

// Guest returns a setting of a guest; of one that is not there it is empty.
func (s *Server) Guest(id int, key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.vms[id]
	if v == nil {
		return ""
	}
	switch key {
	case "node":
		return v.node
	case "power":
		return v.qmp()
	}
	return v.conf[key]
}

// Set changes a setting of a guest, as somebody else would; an empty value deletes it.
func (s *Server) Set(id int, key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.vms[id]
	if v.conf[key] = value; value == "" {
		delete(v.conf, key)
	}
	s.touch(v)
}

// SetObeys says whether a guest obeys a request to shut down; guests do until then.
func (s *Server) SetObeys(id int, obeys bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vms[id].deaf = !obeys
}

// SetAgent says whether a guest has an agent that answers; guests have none until then.
func (s *Server) SetAgent(id int, answers bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vms[id].agent = answers
}

// Volumes lists what lies on the storages that a node sees, sorted.
func (s *Server) Volumes(node string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for k := range s.volumes {
		if k.node == "" || k.node == node {
			out = append(out, k.id)
		}
	}
	slices.Sort(out)
	return out
}

// Content tells what is written on the disks of a guest.
func (s *Server) Content(id int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.vms[id]
	if v == nil {
		return ""
	}
	var out []string
	for _, k := range v.drives() {
		if vol := s.volumes[s.key(v.node, volid(v.conf[k]))]; vol != nil && !cdrom(v.conf[k]) {
			out = append(out, k+": "+vol.content)
		}
	}
	return strings.Join(out, "\n")
}
