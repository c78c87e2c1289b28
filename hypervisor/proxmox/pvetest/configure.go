package pvetest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// configFields are the settings of a guest.
const configFields = `acpi:bool agent:text args:text balloon:int(0..) bios:enum(seabios|ovmf) boot:text cicustom:text cipassword:text
	citype:enum(configdrive2|nocloud|opennebula) ciupgrade:bool ciuser:text cores:int(1..) cpu:cpu cpuunits:int(1..262144)
	description:text(8192) efidisk0:drive hotplug:text ide[4]:drive ipconfig[32]:ipconfig
	kvm:bool machine:text memory:memory name:dns nameserver:text net[32]:net numa:bool onboot:bool ostype:enum(other|l24|l26|win10|win11) protection:bool
	sata[6]:drive scsi[31]:drive scsihw:enum(lsi|lsi53c810|virtio-scsi-pci|virtio-scsi-single|megasas|pvscsi) searchdomain:text
	serial[4]:enum(socket) smbios1:text(512) sockets:int(1..) sshkeys:sshkeys tablet:bool tags:tags vga:text virtio[16]:drive`

// changeFields are what a change of the settings may have beside them.
const changeFields = "delete:text digest:text(40) " + configFields

// control are parameters of a change that are no settings.
const control = " node vmid delete digest background_delay storage pool start unique "

// newDisk is what asks for a new volume: a storage and a size in GiB.
const newDisk = `^([^/:\s]+):(\d+(?:\.\d+)?)$`

// prepare judges a change before it is made.
func (c *call) prepare(v *vm) error {
	s := c.s
	if d := c.params["digest"]; d != "" && d != v.digestText() {
		return no("checksum mismatch (file change by other user?)")
	}
	for _, k := range deletions(c.params) {
		known := slices.ContainsFunc(fields(configFields), func(f field) bool { return f.match(k) })
		if !known && !strings.HasPrefix(k, "unused") && k != "vmstate" {
			return badField("delete", fmt.Sprintf("unknown option '%s'", k))
		}
	}
	if _, ok := c.params["args"]; ok {
		return no("only root can set 'args' config")
	}
	if keys := c.params["sshkeys"]; keys != "" && !strings.HasPrefix(keys, "ssh-") && !strings.HasPrefix(keys, "ecdsa-") && !strings.HasPrefix(keys, "sk-") {
		return no("SSH public key validation error")
	}
	for k, x := range c.params {
		if !slices.Contains(diskKeys(), k) {
			continue
		}
		id := volid(x)
		name, rest, ok := strings.Cut(id, ":")
		if !ok {
			if id == "none" {
				continue
			}
			return no("unable to parse volume ID '%s'", id)
		}
		st := s.storage(name)
		if st == nil {
			return no("storage '%s' does not exist", name)
		}
		if like(id, newDisk) || rest == "cloudinit" {
			if !c.who.may("/storage/"+name, "Datastore.AllocateSpace") {
				return &apiError{status: 403, text: fmt.Sprintf("Permission check failed (/storage/%s, Datastore.AllocateSpace)", name)}
			}
			if !strings.Contains(st.Content, "images") {
				return no("storage '%s' does not support content-type 'images'", name)
			}
		} else if s.volumes[s.key(v.node, id)] == nil {
			return no("volume '%s' does not exist", id)
		}
	}
	if v.conf["lock"] == "suspended" && slices.Contains(deletions(c.params), "vmstate") {
		return nil
	}
	return v.locked()
}

func deletions(params map[string]string) []string {
	return strings.FieldsFunc(params["delete"], func(r rune) bool { return strings.ContainsRune(",; ", r) })
}

// live are the settings that change at once in a guest that runs.
const live = " name description tags onboot protection boot agent ciuser sshkeys nameserver searchdomain ciupgrade cicustom "

// apply makes a change.
func (s *Server) apply(v *vm, params map[string]string, t *task) error {
	s.touch(v)
	for _, k := range deletions(params) {
		if k == "vmstate" {
			s.forget(v)
		}
		s.set(v, k, "", t)
	}
	for _, k := range slices.Sorted(maps.Keys(params)) {
		if !strings.Contains(control, " "+k+" ") {
			s.set(v, k, params[k], t)
		}
	}
	return nil
}

func (s *Server) set(v *vm, k, x string, t *task) {
	drive := slices.Contains(diskKeys(), k)
	if v.running && !strings.Contains(live, " "+k+" ") && !strings.HasPrefix(k, "ipconfig") && !drive {
		if v.pending == nil {
			v.pending = make(map[string]string)
		}
		if v.pending[k] = x; v.conf[k] == x {
			delete(v.pending, k)
		}
		return
	}
	old := v.conf[k]
	if drive && x != "" {
		x = s.allocate(v, k, x, t)
	}
	if drive && old != "" && volid(old) != volid(x) {
		if key := s.key(v.node, volid(old)); strings.Contains(volid(old), "-cloudinit") {
			delete(s.volumes, key)
		} else if vol := s.volumes[key]; vol != nil && vol.kind == "images" {
			for i := 0; ; i++ {
				if u := "unused" + strconv.Itoa(i); v.conf[u] == "" {
					v.conf[u] = volid(old)
					break
				}
			}
		}
	}
	if k == "description" {
		x = strings.TrimRight(x, "\n")
	}
	if v.conf[k] = x; x == "" {
		delete(v.conf, k)
	}
}

// allocate makes the volume that a drive asks for and returns the drive as it is kept.
func (s *Server) allocate(v *vm, k, x string, t *task) string {
	id := volid(x)
	name, rest, _ := strings.Cut(id, ":")
	size := int64(4 << 20)
	made := ""
	if m := regexp.MustCompile(newDisk).FindStringSubmatch(id); m != nil {
		gib, _ := strconv.ParseFloat(m[2], 64)
		size = int64(gib*(1<<20)) << 10
		made = s.newVolume(v, name, orElse(option(x, "format"), "raw"), "disk", size, t)
	} else if rest == "cloudinit" {
		made = s.newVolume(v, name, "qcow2", "cloudinit", size, t)
	} else {
		if vol := s.volumes[s.key(v.node, id)]; vol != nil && !cdrom(x) {
			x = withOption(x, "size", formatSize(vol.size))
		}
		return strings.TrimPrefix(x, "file=")
	}
	kept := []string{made}
	if rest == "cloudinit" {
		kept = append(kept, "media=cdrom")
	}
	for _, p := range strings.Split(x, ",")[1:] {
		if p != "media=cdrom" && !strings.HasPrefix(p, "format=") {
			kept = append(kept, p)
		}
	}
	kept = append(kept, "size="+formatSize(size))
	if t != nil {
		t.say("%s: successfully created disk '%s'", k, strings.Join(kept, ","))
	}
	return strings.Join(kept, ",")
}

// newVolume makes a volume with the next free name.
func (s *Server) newVolume(v *vm, storage, format, purpose string, size int64, t *task) string {
	st := s.storage(storage)
	for i := 0; ; i++ {
		name := fmt.Sprintf("vm-%d-%s-%d", v.id, purpose, i)
		if purpose == "cloudinit" {
			name = fmt.Sprintf("vm-%d-cloudinit", v.id)
		}
		id := storage + ":" + name
		if st.Type == "dir" || st.Type == "nfs" {
			id = fmt.Sprintf("%s:%d/%s.%s", storage, v.id, name, format)
		}
		key := s.key(v.node, id)
		if s.volumes[key] != nil && purpose != "cloudinit" {
			continue
		}
		s.volumes[key] = &volume{size: size, format: format, kind: "images", owner: v.id, made: time.Now()}
		if t != nil && st.Type == "dir" {
			t.say("Formatting '/var/lib/vz/images/%d/%s.%s', fmt=%s size=%d", v.id, name, format, format, size)
		}
		return id
	}
}

// createGuest makes a guest from nothing.
func (s *Server) createGuest(c *call) (any, error) {
	id := c.vmid()
	if old := s.vms[id]; old != nil {
		return nil, no("unable to create VM %d - VM %d already exists on node '%s'", id, id, old.node)
	}
	v := &vm{id: id, node: c.params["node"], conf: make(map[string]string)}
	if err := c.prepare(v); err != nil {
		return nil, err
	}
	v.conf["lock"] = "create"
	s.vms[id] = v
	params := maps.Clone(c.params)
	return c.work(v.node, "qmcreate", strconv.Itoa(id), func(t *task) error {
		delete(v.conf, "lock")
		s.identify(v)
		return s.apply(v, params, t)
	}), nil
}

// identify gives a guest what makes it another one than any other.
func (s *Server) identify(v *vm) {
	v.conf["meta"] = fmt.Sprintf("creation-qemu=7.2.22,ctime=%d", time.Now().Unix())
	v.conf["smbios1"] = fmt.Sprintf("uuid=00000000-0000-4000-8000-%012d", v.id)
	v.conf["vmgenid"] = fmt.Sprintf("00000000-0000-4000-9000-%012d", v.id)
	s.touch(v)
}

// putConfig changes a guest at once.
func (s *Server) putConfig(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	if err := c.prepare(v); err != nil {
		return nil, err
	}
	return nil, s.apply(v, c.params, nil)
}

// postConfig changes a guest in a task.
func (s *Server) postConfig(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	if err := c.prepare(v); err != nil {
		return nil, err
	}
	params := maps.Clone(c.params)
	return c.guestTask("qmconfig", v, func(t *task) error {
		text := ""
		for _, k := range slices.Sorted(maps.Keys(params)) {
			if k != "node" && k != "vmid" {
				text += fmt.Sprintf(" -%s %s", k, params[k])
			}
		}
		t.say("update VM %d:%s", v.id, text)
		if err := c.prepare(v); err != nil {
			return err
		}
		return s.apply(v, params, t)
	}), nil
}

func (s *Server) resize(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	disk, size := c.params["disk"], c.params["size"]
	return c.guestTask("resize", v, func(t *task) error {
		if err := v.locked(); err != nil {
			return err
		}
		x, ok := v.conf[disk]
		if !ok {
			return no("disk '%s' does not exist", disk)
		}
		vol := s.volumes[s.key(v.node, volid(x))]
		if vol == nil {
			return no("volume '%s' does not exist", volid(x))
		}
		to := parseSize(strings.TrimPrefix(size, "+"))
		if strings.HasPrefix(size, "+") {
			to += vol.size
		}
		switch {
		case to < vol.size:
			return no("shrinking disks is not supported")
		case to == vol.size:
			return nil
		}
		vol.size = to
		v.conf[disk] = withOption(x, "size", formatSize(to))
		s.touch(v)
		t.say("Image resized.")
		return nil
	}), nil
}

func (s *Server) makeTemplate(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	return c.guestTask("qmtemplate", v, func(*task) error {
		if v.running {
			return no("you can't convert a running VM to a template")
		}
		for _, k := range v.drives() {
			x := v.conf[k]
			id := volid(x)
			if cdrom(x) {
				continue
			}
			base := strings.Replace(id, "vm-"+strconv.Itoa(v.id)+"-", "base-"+strconv.Itoa(v.id)+"-", 1)
			s.volumes[s.key(v.node, base)] = s.volumes[s.key(v.node, id)]
			delete(s.volumes, s.key(v.node, id))
			v.conf[k] = strings.Replace(x, id, base, 1)
		}
		v.conf["template"] = "1"
		s.touch(v)
		return nil
	}), nil
}
