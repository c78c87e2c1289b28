package hetznertest

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// action is something that takes time. Its effect comes when it is due, and is looked for whenever anything is asked.
type action struct {
	id        int64
	command   string
	started   time.Time
	due       time.Time // zero: never
	resources []any
	server    int64 // that it locks
	fails     string
	done      bool
	effect    func()
	undo      func() // the effect of one that fails
}

func (a *action) json(now time.Time) object {
	status, progress := "running", 0
	var finished, failure any
	if a.done {
		status, progress, finished = "success", 100, stamp(a.due)
		if a.fails != "" {
			status, failure = "error", object{"code": a.fails, "message": "Action failed"}
		}
	} else if total := a.due.Sub(a.started); total > 0 {
		progress = int(min(99, max(0, 100*now.Sub(a.started)/total)))
	}
	return object{"id": a.id, "command": a.command, "status": status, "progress": progress, "started": stamp(a.started), "finished": finished,
		"resources": a.resources, "error": failure}
}

// begin begins an action on a server, or on something else when that is 0.
func (f *Cloud) begin(r *request, command string, on int64, kind string, effect, undo func()) *action {
	now := time.Now()
	a := &action{id: f.next(), command: command, started: now, due: now.Add(f.config.ActionTime), fails: r.fault.ActionFails, effect: effect, undo: undo,
		resources: []any{object{"id": on, "type": kind}}}
	if kind == "server" {
		a.server = on
	}
	if r.fault.ActionHangs {
		a.due = time.Time{}
	}
	f.actions[a.id] = a
	return a
}

// settle lets the actions that are due have their effects, in the order in which they became due.
func (f *Cloud) settle(now time.Time) {
	var due []*action
	for _, a := range f.actions {
		if !a.done && !a.due.IsZero() && !a.due.After(now) {
			due = append(due, a)
		}
	}
	slices.SortFunc(due, func(a, b *action) int {
		if c := a.due.Compare(b.due); c != 0 {
			return c
		}
		return cmp.Compare(a.id, b.id)
	})
	for _, a := range due {
		a.done = true
		what := a.effect
		if a.fails != "" {
			what = a.undo
		}
		if what != nil {
			what()
		}
	}
}

// locked reports whether an action is under way on the server.
func (f *Cloud) locked(id int64) bool {
	for _, a := range f.actions {
		if !a.done && a.server == id && a.command != "shutdown_guest" {
			return true
		}
	}
	return false
}

func lockedAnswer() answer { return refuse(http.StatusLocked, "locked", "server is locked") }

func (f *Cloud) created(a *action, more object) answer {
	more["action"] = a.json(time.Now())
	return answer{http.StatusCreated, more}
}

func (f *Cloud) typeNamed(name string) (serverType, bool) {
	for _, t := range serverTypes() {
		if t.Name == name || strconv.FormatInt(t.ID, 10) == name {
			return t, true
		}
	}
	return serverType{}, false
}

func (f *Cloud) imageFor(name, arch string) *image {
	for _, i := range f.images {
		if strconv.FormatInt(i.ID, 10) == name || i.Type == "system" && i.Name == name && i.Arch == arch {
			return i
		}
	}
	return nil
}

func hostname(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == "" && strings.Trim(s, ".-") == s
}

func (f *Cloud) createServer(r *request) answer {
	name, location := r.text("name"), r.text("location")
	t, ok := f.typeNamed(r.text("server_type"))
	switch {
	case !hostname(name):
		return invalidInput("name", "is not a valid hostname")
	case !ok || t.Deprecated:
		return invalidInput("server_type", "unknown or deprecated")
	case !slices.Contains(locations(), location):
		return invalidInput("location", "unknown")
	case len(r.text("user_data")) > 32<<10:
		return invalidInput("user_data", "is longer than 32 KiB")
	}
	i := f.imageFor(r.text("image"), t.Arch)
	switch {
	case i == nil:
		return notFound("image")
	case i.Status != "available" || i.Arch != t.Arch || i.Disk > t.Disk:
		return invalidInput("image", "does not fit")
	}
	here := 0
	for _, s := range f.servers {
		if s.Name == name {
			return refuse(http.StatusConflict, "uniqueness_error", "server name is already used")
		}
		if s.Location == location {
			here++
		}
	}
	if most, ok := f.room[location]; ok && here >= most {
		return refuse(http.StatusPreconditionFailed, "resource_unavailable", "error during placement")
	}
	for _, id := range r.ids("volumes") {
		if v := f.volumes[id]; v == nil {
			return notFound("volume")
		} else if v.Server != 0 || v.Location != location || v.Status != "available" {
			return refuse(http.StatusUnprocessableEntity, "volume_already_attached", "volume cannot be attached")
		}
	}
	s := &server{ID: f.next(), Name: name, Location: location, Type: t, Image: i, Status: "initializing", Disk: t.Disk, Content: i.Content,
		Labels: r.labels(nil), Created: time.Now().UTC()}
	for _, id := range r.ids("networks") {
		if f.networks[id] == nil {
			return notFound("network")
		}
		s.Networks = append(s.Networks, id)
	}
	for _, id := range r.ids("ssh_keys") {
		if f.keys[id] == nil {
			return notFound("ssh_key")
		}
	}
	if id := r.number("placement_group"); id != 0 {
		if f.groups[id] == nil {
			return notFound("placement_group")
		}
		if n := len(f.groupJSON(f.groups[id])["servers"].([]any)); n >= 10 {
			return refuse(http.StatusUnprocessableEntity, "placement_error", "the group is full")
		}
		s.Group = id
	}
	public, _ := r.body["public_net"].(map[string]any)
	for version, at := range map[string]*int64{"ipv4": &s.IPv4, "ipv6": &s.IPv6} {
		if enabled, ok := public["enable_"+version].(bool); !ok || enabled {
			a := &address{ID: f.next(), Version: version, Location: location, Server: s.ID, Created: time.Now().UTC()}
			f.addresses[a.ID], *at = a, a.ID
		}
	}
	f.servers[s.ID] = s
	for _, id := range r.ids("volumes") {
		f.volumes[id].Server = s.ID
	}
	start := r.flag("start_after_create", true)
	a := f.begin(r, "create_server", s.ID, "server", func() {
		s.Status = "off"
		if start {
			s.run()
		}
	}, func() { f.remove(s) })
	password := any(nil)
	if len(r.ids("ssh_keys")) == 0 {
		password = "root-password-of-the-test"
	}
	return f.created(a, object{"server": f.serverJSON(s), "next_actions": []any{}, "root_password": password})
}

// run is the boot of a guest, which leaves a trace on its disk.
func (s *server) run() {
	s.Status = "running"
	s.Content += ", booted"
}

// remove takes a server away, with the addresses that go with it.
func (f *Cloud) remove(s *server) {
	delete(f.servers, s.ID)
	for _, v := range f.volumes {
		if v.Server == s.ID {
			v.Server = 0
		}
	}
	for id, a := range f.addresses {
		if a.Server == s.ID {
			a.Server = 0
			if !a.Keep && !f.config.LeavesAddresses {
				delete(f.addresses, id)
			}
		}
	}
}

func (f *Cloud) deleteServer(r *request) answer {
	s := f.servers[r.id]
	switch {
	case s == nil:
		return notFound("server")
	case s.Protected:
		return refuse(http.StatusForbidden, "protected", "server deletion is protected")
	case f.locked(s.ID):
		return lockedAnswer()
	}
	was := s.Status
	s.Status = "deleting"
	a := f.begin(r, "delete_server", s.ID, "server", func() { f.remove(s) }, func() { s.Status = was })
	return answer{http.StatusOK, object{"action": a.json(time.Now())}}
}

func (f *Cloud) updateServer(r *request) answer {
	s := f.servers[r.id]
	if s == nil {
		return notFound("server")
	}
	s.Labels = r.labels(s.Labels)
	return answer{http.StatusOK, object{"server": f.serverJSON(s)}}
}

func (f *Cloud) actOnServer(r *request) answer {
	s := f.servers[r.id]
	switch {
	case s == nil:
		return notFound("server")
	case f.locked(s.ID):
		return lockedAnswer()
	}
	act := func(command, meanwhile string, effect func()) answer {
		was := s.Status
		if meanwhile != "" {
			s.Status = meanwhile
		}
		return f.created(f.begin(r, command, s.ID, "server", effect, func() { s.Status = was }), object{})
	}
	switch r.verb {
	case "poweron":
		return act("start_server", "starting", s.run)
	case "poweroff":
		return act("stop_server", "stopping", func() { s.Status = "off" })
	case "reset", "reboot":
		if s.Status != "running" {
			return refuse(http.StatusUnprocessableEntity, "server_error", "server is not running")
		}
		return act(r.verb+"_server", "", s.run)
	case "shutdown":
		return f.shutdown(r, s)
	case "change_type":
		return f.changeType(r, s)
	case "create_image":
		return f.createImage(r, s)
	case "request_console":
		a := f.begin(r, "request_console", s.ID, "server", nil, nil)
		return f.created(a, object{"wss_url": "wss://console.example/?server_id=" + strconv.FormatInt(s.ID, 10) + "&token=console-token-of-the-test",
			"password": "console-password-of-the-test"})
	}
	return notFound("action")
}

// shutdown asks the guest, who may obey. The action says that it was asked.
func (f *Cloud) shutdown(r *request, s *server) answer {
	if s.Status == "running" && !f.config.Deaf && r.fault.ActionFails == "" {
		guest := f.begin(&request{}, "shutdown_guest", s.ID, "server", func() {
			if s.Status == "running" {
				s.Status = "off"
			}
		}, nil)
		guest.due = time.Now().Add(f.config.ShutdownTime)
	}
	return f.created(f.begin(r, "shutdown_server", s.ID, "server", nil, nil), object{})
}

func (f *Cloud) changeType(r *request, s *server) answer {
	t, ok := f.typeNamed(r.text("server_type"))
	switch {
	case s.Status != "off":
		return refuse(http.StatusUnprocessableEntity, "server_not_stopped", "server is not stopped")
	case !ok || t.Deprecated || t.Arch != s.Type.Arch || t.Disk < s.Disk || t.Name == s.Type.Name && t.Disk == s.Disk:
		return refuse(http.StatusUnprocessableEntity, "invalid_server_type", "server type does not fit")
	}
	upgrade := r.flag("upgrade_disk", false)
	s.Status = "migrating"
	return f.created(f.begin(r, "change_server_type", s.ID, "server", func() {
		s.Type, s.Status = t, "off"
		if upgrade {
			s.Disk = t.Disk
		}
		if f.config.StartsAfterResize {
			s.run()
		}
	}, func() { s.Status = "off" }), object{})
}

func (f *Cloud) createImage(r *request, s *server) answer {
	i := f.addImage(&image{Type: r.text("type"), Arch: s.Type.Arch, Status: "creating", Description: r.text("description"), Disk: s.Disk,
		Labels: r.labels(nil), From: s.ID, FromName: s.Name})
	a := f.begin(r, "create_image", s.ID, "server", func() { i.Status, i.Content = "available", s.Content }, func() { delete(f.images, i.ID) })
	return f.created(a, object{"image": i.json()})
}

func (f *Cloud) deleteImage(r *request) answer {
	i := f.images[r.id]
	switch {
	case i == nil:
		return notFound("image")
	case i.Type != "snapshot":
		return refuse(http.StatusForbidden, "forbidden", "only snapshots can be deleted")
	}
	delete(f.images, i.ID)
	return answer{http.StatusNoContent, nil}
}

func (f *Cloud) updateImage(r *request) answer {
	i := f.images[r.id]
	if i == nil || i.Type != "snapshot" {
		return notFound("image")
	}
	i.Labels = r.labels(i.Labels)
	return answer{http.StatusOK, object{"image": i.json()}}
}

func (f *Cloud) createVolume(r *request) answer {
	size := int(r.number("size"))
	switch {
	case r.text("name") == "" || len(r.text("name")) > 64:
		return invalidInput("name", "1 to 64 characters")
	case size < 10 || size > 10240:
		return invalidInput("size", "10 to 10240")
	}
	location, on := r.text("location"), f.servers[r.number("server")]
	switch {
	case r.number("server") != 0 && (on == nil || location != ""):
		return invalidInput("server", "unknown, or a location beside it")
	case on != nil:
		location = on.Location
	case !slices.Contains(locations(), location):
		return invalidInput("location", "unknown")
	}
	for _, v := range f.volumes {
		if v.Name == r.text("name") {
			return refuse(http.StatusConflict, "uniqueness_error", "volume name is already used")
		}
	}
	v := &volume{ID: f.next(), Name: r.text("name"), Location: location, Size: size, Status: "creating", Labels: r.labels(nil), Created: time.Now().UTC()}
	f.volumes[v.ID] = v
	a := f.begin(r, "create_volume", v.ID, "volume", func() { v.Status = "available" }, func() { delete(f.volumes, v.ID) })
	next := []any{}
	if on != nil {
		attached := f.begin(r, "attach_volume", v.ID, "volume", func() {
			if f.servers[on.ID] != nil {
				v.Server = on.ID
			}
		}, nil)
		next = append(next, attached.json(time.Now()))
	}
	return f.created(a, object{"volume": v.json(), "next_actions": next})
}

func (f *Cloud) actOnVolume(r *request) answer {
	v := f.volumes[r.id]
	if v == nil {
		return notFound("volume")
	}
	switch r.verb {
	case "resize":
		return f.resizeVolume(r, v)
	case "attach":
		s := f.servers[r.number("server")]
		switch {
		case s == nil || s.Location != v.Location:
			return notFound("server")
		case v.Server != 0:
			return refuse(http.StatusUnprocessableEntity, "volume_already_attached", "volume is attached to a server")
		}
		return f.created(f.begin(r, "attach_volume", v.ID, "volume", func() { v.Server = s.ID }, nil), object{})
	case "detach":
		if v.Server == 0 {
			return refuse(http.StatusUnprocessableEntity, "invalid_input", "volume is not attached")
		}
		return f.created(f.begin(r, "detach_volume", v.ID, "volume", func() { v.Server = 0 }, nil), object{})
	}
	return notFound("action")
}

func (f *Cloud) resizeVolume(r *request, v *volume) answer {
	size := int(r.number("size"))
	if size <= v.Size || size > 10240 {
		return invalidInput("size", "larger than it is")
	}
	return f.created(f.begin(r, "resize_volume", v.ID, "volume", func() { v.Size = size }, nil), object{})
}

func (f *Cloud) deleteVolume(r *request) answer {
	v := f.volumes[r.id]
	switch {
	case v == nil:
		return notFound("volume")
	case v.Server != 0:
		return refuse(http.StatusUnprocessableEntity, "invalid_input", "volume is attached to a server")
	}
	delete(f.volumes, v.ID)
	return answer{http.StatusNoContent, nil}
}

func (f *Cloud) deleteAddress(r *request) answer {
	a := f.addresses[r.id]
	switch {
	case a == nil:
		return notFound("primary_ip")
	case a.Server != 0:
		return refuse(http.StatusUnprocessableEntity, "must_be_unassigned", "primary IP is assigned")
	}
	delete(f.addresses, a.ID)
	return answer{http.StatusNoContent, nil}
}

func (f *Cloud) metrics(r *request) answer {
	if f.servers[r.id] == nil {
		return notFound("server")
	}
	now := time.Now().UTC()
	series := object{}
	add := func(name, v string) {
		at := float64(now.Unix())
		series[name] = object{"values": []any{[]any{at - 60, "1"}, []any{at, v}}}
	}
	for _, t := range r.query["type"] {
		switch t {
		case "cpu":
			add("cpu", "42.5")
		case "disk":
			add("disk.0.iops.read", "1")
			add("disk.0.iops.write", "2")
			add("disk.0.bandwidth.read", "4096")
			add("disk.0.bandwidth.write", "8192")
		case "network":
			add("network.0.pps.in", "10")
			add("network.0.pps.out", "20")
			add("network.0.bandwidth.in", "1000")
			add("network.0.bandwidth.out", "2000")
		}
	}
	return answer{http.StatusOK, object{"metrics": object{"start": r.query.Get("start"), "end": r.query.Get("end"), "step": 60, "time_series": series}}}
}
