package pvetest

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// vm is a guest.
type vm struct {
	id        int
	node      string
	conf      map[string]string // as GET config shows it, with lock and template
	pending   map[string]string // of a guest that runs; "" deletes
	running   bool
	paused    bool
	deaf      bool // does not obey a request to shut down
	agent     bool // has an agent that answers
	runs      int
	started   time.Time
	digest    int
	snapshots []*snapshot
	container bool
}

// snapshot is a kept state of a guest.
type snapshot struct {
	name, description, parent string
	time                      time.Time
	conf                      map[string]string
	disks                     map[string]volume // by key of the drive
}

// volume is a disk or an image on a storage.
type volume struct {
	size    int64
	format  string
	content string // what is "written" on it
	kind    string // images, iso
	owner   int
	made    time.Time
	parent  string // of a linked clone
}

// volumeKey names a volume; node is empty on shared storage.
type volumeKey struct{ node, id string }

// key returns the key of a volume as a node sees it.
func (s *Server) key(node, id string) volumeKey {
	name, _, _ := strings.Cut(id, ":")
	if st := s.storage(name); st != nil && st.Shared {
		node = ""
	}
	return volumeKey{node, id}
}

func (v *vm) locked() error {
	if l := v.conf["lock"]; l != "" {
		return no("VM is locked (%s)", l)
	}
	return nil
}

// vm returns the guest that a request names.
func (c *call) vm() (*vm, error) {
	v := c.s.vms[c.vmid()]
	if v == nil || v.node != c.params["node"] || v.container {
		return nil, no("Configuration file 'nodes/%s/qemu-server/%d.conf' does not exist", c.params["node"], c.vmid())
	}
	return v, nil
}

func (s *Server) touch(v *vm) {
	s.digests++
	v.digest = s.digests
}

func (v *vm) number(key string, otherwise int) int {
	n, err := strconv.Atoi(v.conf[key])
	if err != nil {
		return otherwise
	}
	return n
}

func (v *vm) cpus() int     { return v.number("cores", 1) * v.number("sockets", 1) }
func (v *vm) memory() int64 { return int64(v.number("memory", 512)) << 20 }
func (v *vm) template() bool {
	return v.conf["template"] == "1"
}

// drives returns the keys of the drives, sorted.
func (v *vm) drives() []string {
	var out []string
	for k := range v.conf {
		if slices.Contains(diskKeys(), k) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

func cdrom(value string) bool { return strings.Contains(value, "media=cdrom") }

func volid(value string) string {
	id, _, _ := strings.Cut(value, ",")
	return strings.TrimPrefix(id, "file=")
}

// option returns an option of a drive.
func option(value, key string) string {
	for _, p := range strings.Split(value, ",") {
		if v, ok := strings.CutPrefix(p, key+"="); ok {
			return v
		}
	}
	return ""
}

// withOption sets an option of a drive.
func withOption(value, key, to string) string {
	var out []string
	for _, p := range strings.Split(value, ",") {
		if !strings.HasPrefix(p, key+"=") {
			out = append(out, p)
		}
	}
	return strings.Join(append(out, key+"="+to), ",")
}

// rootSize is the size of the first disk in the order of booting.
func (s *Server) rootSize(v *vm) int64 {
	for _, k := range strings.Split(strings.TrimPrefix(v.conf["boot"], "order="), ";") {
		if d, ok := v.conf[k]; ok && !cdrom(d) {
			return parseSize(option(d, "size"))
		}
	}
	for _, k := range v.drives() {
		if !cdrom(v.conf[k]) {
			return parseSize(option(v.conf[k], "size"))
		}
	}
	return 0
}

func parseSize(t string) int64 {
	if t == "" {
		return 0
	}
	unit := int64(1)
	switch t[len(t)-1] {
	case 'K':
		unit = 1 << 10
	case 'M':
		unit = 1 << 20
	case 'G':
		unit = 1 << 30
	case 'T':
		unit = 1 << 40
	}
	if unit > 1 {
		t = t[:len(t)-1]
	}
	f, err := strconv.ParseFloat(t, 64)
	if err != nil {
		return 0
	}
	return int64(f * float64(unit))
}

func formatSize(n int64) string {
	for i, unit := range []string{"", "K", "M", "G", "T"} {
		if n%1024 != 0 || i == 4 {
			return strconv.FormatInt(n, 10) + unit
		}
		n /= 1024
	}
	return "0"
}

// numbers are the settings that are shown as numbers.
const numbers = " cores sockets kvm onboot protection template numa acpi tablet balloon cpuunits freeze localtime ciupgrade "

func shown(key, value string) any {
	if strings.Contains(numbers, " "+key+" ") {
		if n, err := strconv.Atoi(value); err == nil {
			return n
		}
	}
	if key == "description" {
		return value + "\n" // it is a comment of the file, and comes back as lines
	}
	return value
}

func (v *vm) digestText() string { return fmt.Sprintf("%040d", v.digest) }

func (s *Server) getConfig(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	out := map[string]any{"digest": v.digestText()}
	for k, x := range v.conf {
		out[k] = shown(k, x)
	}
	if c.params["current"] != "1" {
		for k, x := range v.pending {
			if out[k] = shown(k, x); x == "" {
				delete(out, k)
			}
		}
	}
	return out, nil
}

func (s *Server) getPending(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	out := []map[string]any{{"key": "digest", "value": v.digestText()}}
	for _, k := range slices.Sorted(maps.Keys(v.conf)) {
		m := map[string]any{"key": k, "value": shown(k, v.conf[k])}
		if p, ok := v.pending[k]; ok {
			m["pending"] = shown(k, p)
		}
		out = append(out, m)
	}
	return out, nil
}

// status is what lists and status/current say alike.
func (s *Server) status(v *vm) map[string]any {
	out := map[string]any{
		"vmid": v.id, "name": orElse(v.conf["name"], "VM"+strconv.Itoa(v.id)), "status": "stopped", "cpu": 0, "cpus": v.cpus(),
		"maxmem": v.memory(), "mem": 0, "memhost": 0, "disk": 0, "maxdisk": s.rootSize(v), "netin": 0, "netout": 0, "uptime": 0,
	}
	if v.conf["serial0"] != "" {
		out["serial"] = 1
	}
	for _, k := range []string{"tags", "lock"} {
		if v.conf[k] != "" {
			out[k] = v.conf[k]
		}
	}
	if v.template() {
		out["template"] = 1
	}
	if v.running {
		up := time.Since(v.started)
		out["status"], out["pid"], out["uptime"] = "running", 4000+v.id%1000, int(up.Seconds())
		out["mem"], out["netin"], out["netout"] = v.memory()/4, up.Milliseconds()*10, up.Milliseconds()*5
		out["diskread"], out["diskwrite"] = up.Milliseconds()*100, up.Milliseconds()*50
		for _, p := range strings.Fields("cpufull cpusome iofull iosome memoryfull memorysome") {
			out["pressure"+p] = 0
		}
	}
	return out
}

func (v *vm) qmp() string {
	switch {
	case v.paused:
		return "paused"
	case v.running:
		return "running"
	}
	return "stopped"
}

func (s *Server) statusCurrent(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	out := s.status(v)
	delete(out, "template")
	delete(out, "diskread")
	delete(out, "diskwrite")
	out["qmpstatus"], out["ha"] = v.qmp(), map[string]any{"managed": 0}
	if strings.HasPrefix(v.conf["agent"], "1") {
		out["agent"] = 1
	}
	return out, nil
}

func (s *Server) listGuests(c *call) (any, error) {
	out := []map[string]any{}
	for _, id := range s.ids() {
		v := s.vms[id]
		if v.container || v.node != c.params["node"] || !c.who.may("/vms/"+strconv.Itoa(id), "VM.Audit") {
			continue
		}
		m := s.status(v)
		if c.params["full"] == "1" {
			m["qmpstatus"] = v.qmp()
		}
		out = append(out, m)
	}
	return out, nil
}

func (s *Server) ids() []int {
	ids := slices.Collect(maps.Keys(s.vms))
	sort.Ints(ids)
	return ids
}

// deleteGuest removes a guest.
func (s *Server) deleteGuest(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	check := func() error {
		switch {
		case s.vms[v.id] != v:
			return no("Configuration file 'nodes/%s/qemu-server/%d.conf' does not exist", v.node, v.id)
		case v.conf["protection"] == "1":
			return no("can't remove VM %d - protection mode enabled", v.id)
		case v.running:
			return no("VM %d is running - destroy failed", v.id)
		}
		return v.locked()
	}
	if err := check(); err != nil {
		return nil, err
	}
	purge := c.params["purge"] == "1"
	return c.guestTask("qmdestroy", v, func(t *task) error {
		if err := check(); err != nil {
			return err
		}
		if purge {
			t.say("purging VM %d from related configurations..", v.id)
			for name, members := range s.pools {
				s.pools[name] = slices.DeleteFunc(members, func(id int) bool { return id == v.id })
			}
		}
		s.remove(v)
		return nil
	}), nil
}

// remove takes a guest and its volumes away.
func (s *Server) remove(v *vm) {
	delete(s.vms, v.id)
	for k, vol := range s.volumes {
		if vol.owner == v.id && vol.kind == "images" && (k.node == "" || k.node == v.node) {
			delete(s.volumes, k)
		}
	}
}
