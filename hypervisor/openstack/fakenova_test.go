package openstack_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"
)

func (f *fakeCloud) flavor(id string) map[string]any {
	for _, x := range f.flavors {
		if x["id"] == id {
			return x
		}
	}
	return nil
}

func (f *fakeCloud) nova(r *http.Request, parts []string, in map[string]any) reply {
	what := r.Method + " " + strings.Join(parts, "/")
	switch {
	case what == "GET limits":
		return reply{200, map[string]any{"limits": map[string]any{"absolute": f.quota}}}
	case what == "GET flavors/detail":
		f.query(r, "is_public")
		ids := []string{}
		for _, x := range f.flavors {
			ids = append(ids, x["id"].(string))
		}
		sort.Strings(ids)
		return f.pages(r, "flavors", ids, func(id string) any { return f.flavor(id) })
	case what == "POST flavors":
		flavor := in["flavor"].(map[string]any)
		if f.flavor(flavor["id"].(string)) != nil {
			return conflict("Flavor with name %s already exists.", flavor["name"])
		}
		for _, k := range []string{"vcpus", "ram", "disk", "OS-FLV-EXT-DATA:ephemeral"} {
			flavor[k] = int(flavor[k].(float64))
		}
		f.flavors = append(f.flavors, flavor)
		return reply{200, map[string]any{"flavor": flavor}}
	case what == "GET os-hypervisors/detail":
		q := f.query(r, "hypervisor_hostname_pattern")
		if q.Has("hypervisor_hostname_pattern") && q.Has("limit") {
			return bad("Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not supported.")
		}
		out := []any{}
		for _, n := range f.nodes {
			if strings.Contains(n, q.Get("hypervisor_hostname_pattern")) {
				out = append(out, map[string]any{"hypervisor_hostname": n, "state": f.state(n), "status": "enabled", "host_ip": "127.0.0.1",
					"vcpus": 16, "memory_mb": 65536, "local_gb": 500, "free_ram_mb": 60000, "service": map[string]any{"host": n}})
			}
		}
		if len(out) == 0 {
			return missing()
		}
		return reply{200, map[string]any{"hypervisors": out}}
	case what == "GET os-services":
		f.query(r, "binary")
		out := []any{}
		for _, n := range f.nodes {
			out = append(out, map[string]any{"host": n, "zone": "nova"})
		}
		return reply{200, map[string]any{"services": out}}
	case parts[0] == "os-server-groups":
		return f.serverGroups(r, parts[1:], in)
	case what == "GET servers/detail":
		return f.list(r)
	case what == "POST servers":
		return f.create(in)
	case parts[0] == "servers" && len(parts) > 1:
		v := f.servers[parts[1]]
		if v == nil {
			return missing()
		}
		return f.server(r.Method, strings.Join(parts[2:], "/"), v, in)
	}
	return missing()
}

func (f *fakeCloud) state(node string) string {
	if f.down[node] {
		return "down"
	}
	return "up"
}

func (f *fakeCloud) list(r *http.Request) reply {
	q := f.query(r, "all_tenants", "tags", "status", "node", "image")
	ids := []string{}
	for id, v := range f.servers {
		v.look()
		if f.servers[id] == nil || q.Get("node") != "" && v.node != q.Get("node") || q.Get("image") != "" && v.image != q.Get("image") || q.Has("status") && !slices.Contains(q["status"], v.status) ||
			q.Get("tags") != "" && !slices.Contains(v.tags, q.Get("tags")) {
			continue
		}
		ids = append(ids, id)
	}
	sort.Strings(ids)
	return f.pages(r, "servers", ids, func(id string) any { return f.show(f.servers[id]) })
}

// look lets time pass.
func (v *fakeServer) look() {
	if v.pending == nil {
		return
	}
	if v.looks--; v.looks < 0 {
		end := v.pending
		v.pending, v.task = nil, ""
		end()
	}
}

// begin lets Nova work on a server until it has been looked at.
func (v *fakeServer) begin(task string, end func()) {
	v.task, v.pending, v.looks = task, end, 1
}

func (f *fakeCloud) show(v *fakeServer) map[string]any {
	flavor := f.flavor(v.flavor)
	out := map[string]any{
		"id": v.id, "name": v.name, "status": v.status, "created": v.created, "metadata": v.metadata, "tags": v.tags, "addresses": map[string]any{
			"net0": []any{map[string]any{"addr": "10.10.0.7", "version": 4}}},
		"flavor": map[string]any{"original_name": flavor["name"], "vcpus": flavor["vcpus"], "ram": flavor["ram"], "disk": flavor["disk"],
			"ephemeral": flavor["OS-FLV-EXT-DATA:ephemeral"]},
		"OS-EXT-STS:task_state": nil, "OS-EXT-STS:power_state": v.power, "OS-SRV-USG:launched_at": nil,
	}
	if v.task != "" {
		out["OS-EXT-STS:task_state"] = v.task
	}
	if v.launched != "" {
		out["OS-SRV-USG:launched_at"] = v.launched
	}
	if len(f.nodes) > 0 {
		out["OS-EXT-SRV-ATTR:hypervisor_hostname"] = nil
		if v.node != "" {
			out["OS-EXT-SRV-ATTR:hypervisor_hostname"], out["host_status"] = v.node, "UP"
			if f.down[v.node] {
				out["host_status"] = "UNKNOWN"
			}
		}
	}
	if v.fault != "" {
		out["fault"] = map[string]any{"code": 500, "message": v.fault}
	}
	return out
}

func (f *fakeCloud) create(in map[string]any) reply {
	if no := allowed(in, "server", "os:scheduler_hints"); no != nil {
		return *no
	}
	s, _ := in["server"].(map[string]any)
	if no := allowed(s, "name", "flavorRef", "imageRef", "networks", "user_data", "config_drive", "metadata", "tags", "hypervisor_hostname",
		"availability_zone", "security_groups", "block_device_mapping_v2"); no != nil {
		return *no
	}
	image, node := fmt.Sprint(s["imageRef"]), ""
	if i := f.images[image]; i == nil || i["status"] != "active" {
		return bad("Can not find requested image")
	}
	flavor := f.flavor(fmt.Sprint(s["flavorRef"]))
	if flavor == nil {
		return bad("Flavor %v could not be found.", s["flavorRef"])
	}
	if n, ok := s["hypervisor_hostname"].(string); ok {
		if !slices.Contains(f.nodes, n) {
			return bad("Compute host %s could not be found.", n)
		}
		node = n
	}
	if data, ok := s["user_data"].(string); ok {
		if _, err := base64.StdEncoding.DecodeString(data); err != nil || len(data) > 65535 {
			return bad("Invalid input for field/attribute user_data.")
		}
	}
	more := 0
	if s["networks"] == nil {
		return bad("'networks' is a required property")
	}
	if disks, ok := s["block_device_mapping_v2"].([]any); ok {
		sum := 0
		more = len(disks) - 1
		for _, d := range disks[1:] {
			sum += int(d.(map[string]any)["volume_size"].(float64))
		}
		if sum > flavor["OS-FLV-EXT-DATA:ephemeral"].(int) {
			return bad("Ephemeral disks requested are larger than the instance type allows.")
		}
	}
	v := &fakeServer{id: f.id(), name: s["name"].(string), flavor: flavor["id"].(string), image: image, disks: more, status: "BUILD", metadata: map[string]string{}}
	v.created = fmt.Sprintf("2026-01-01T00:00:%02dZ", f.n%60)
	meta, _ := s["metadata"].(map[string]any)
	for k, value := range meta {
		if text := value.(string); len(text) > 255 {
			return bad("metadata value too long")
		}
		v.metadata[k] = value.(string)
	}
	tags, _ := s["tags"].([]any)
	for _, tag := range tags {
		if text := tag.(string); len(text) > 60 || strings.ContainsAny(text, ",/") {
			return bad("tag %q is too long", text)
		}
		v.tags = append(v.tags, tag.(string))
	}
	if hints, ok := in["os:scheduler_hints"].(map[string]any); ok {
		v.group = fmt.Sprint(hints["group"])
		if f.groups[v.group] == nil {
			return bad("Instance group %s could not be found.", v.group)
		}
	}
	v.data, _ = s["user_data"].(string)
	f.servers[v.id] = v
	full := f.full
	v.begin("scheduling", func() {
		if full {
			v.status, v.fault = "ERROR", "No valid host was found. There are not enough hosts available."
			return
		}
		if v.node = node; node == "" && len(f.nodes) > 0 {
			v.node = f.nodes[f.n%len(f.nodes)]
		}
		v.status, v.power, v.launched = "ACTIVE", 1, "2026-01-01T00:00:00.000000"
	})
	return reply{202, map[string]any{"server": map[string]any{"id": v.id, "adminPass": "admin-pass-of-the-guest"}}}
}

func (f *fakeCloud) server(method, what string, v *fakeServer, in map[string]any) reply {
	switch method + " " + what {
	case "GET ":
		v.look()
		if f.servers[v.id] == nil {
			return missing()
		}
		return reply{200, map[string]any{"server": f.show(v)}}
	case "DELETE ":
		v.begin("deleting", func() {
			delete(f.servers, v.id)
			if g := f.groups[v.group]; g != nil {
				g.gone = []string{v.id} // for a while
			}
			if v.status == "SHELVED_OFFLOADED" {
				for id, i := range f.images {
					if i["instance_uuid"] == v.id {
						delete(f.images, id)
					}
				}
			}
		})
		return reply{204, nil}
	case "POST metadata":
		for k, value := range in["metadata"].(map[string]any) {
			v.metadata[k] = value.(string)
		}
		return reply{200, map[string]any{"metadata": v.metadata}}
	case "POST remote-consoles":
		return reply{200, map[string]any{"remote_console": map[string]any{"protocol": "vnc", "type": "novnc", "url": "http://127.0.0.1:6080/vnc?token=t"}}}
	case "GET diagnostics":
		if v.status != "ACTIVE" {
			return conflict("Cannot 'get_diagnostics' instance")
		}
		return reply{200, map[string]any{"cpu_details": []any{map[string]any{"id": 0, "time": 1e9, "utilisation": nil}},
			"memory_details": map[string]any{"maximum": 512, "used": 256},
			"disk_details":   slices.Repeat([]any{map[string]any{"read_bytes": 100, "read_requests": 1, "write_bytes": 200, "write_requests": 2}}, 1+v.disks),
			"nic_details":    []any{map[string]any{"mac_address": "fa:16:3e:00:00:01", "rx_octets": 1, "tx_octets": nil}}}}
	case "GET os-instance-actions":
		return reply{200, map[string]any{"instanceActions": []any{map[string]any{"action": "resize", "message": "Error"}}}}
	case "POST action":
		if len(in) != 1 {
			return bad("more than one action")
		}
		for name, arguments := range in {
			return f.action(v, name, arguments)
		}
	}
	return missing()
}

// moves are the plain actions: from which states, to which, with which power.
func moves() map[string]struct {
	from  []string
	to    string
	power int
} {
	type move = struct {
		from  []string
		to    string
		power int
	}
	return map[string]move{
		"os-start":  {[]string{"SHUTOFF"}, "ACTIVE", 1},
		"os-stop":   {[]string{"ACTIVE", "ERROR"}, "SHUTOFF", 4},
		"pause":     {[]string{"ACTIVE"}, "PAUSED", 3},
		"unpause":   {[]string{"PAUSED"}, "ACTIVE", 1},
		"suspend":   {[]string{"ACTIVE"}, "SUSPENDED", 4},
		"resume":    {[]string{"SUSPENDED"}, "ACTIVE", 1},
		"unshelve":  {[]string{"SHELVED", "SHELVED_OFFLOADED"}, "ACTIVE", 1},
		"reboot":    {[]string{"ACTIVE", "PAUSED", "SUSPENDED", "SHUTOFF", "ERROR"}, "ACTIVE", 1},
		"rebuild":   {[]string{"ACTIVE", "SHUTOFF", "ERROR"}, "", 0},
		"os-rescue": {[]string{"ACTIVE"}, "RESCUE", 1},
	}
}

func (f *fakeCloud) action(v *fakeServer, name string, arguments any) reply {
	wrong := func() reply {
		return conflict("Cannot '%s' instance %s while it is in vm_state %s", name, v.id, strings.ToLower(v.status))
	}
	if v.metadata["locked"] != "" {
		return conflict("Instance %s is locked", v.id)
	}
	if v.task != "" && name != "os-resetState" || v.status == "BUILD" {
		return conflict("Cannot '%s' instance %s while it is in task_state %s", name, v.id, v.task)
	}
	args, _ := arguments.(map[string]any)
	if m, ok := moves()[name]; ok {
		if !slices.Contains(m.from, v.status) {
			return wrong()
		}
		v.begin(name, func() {
			if m.to != "" {
				v.status, v.power, v.fault = m.to, m.power, ""
			}
		})
		return reply{202, nil}
	}
	switch name {
	case "os-getConsoleOutput":
		return reply{200, map[string]any{"output": "console of " + v.id + "\nlogin: \n"}}
	case "os-resetState":
		v.status, v.task, v.pending = "ACTIVE", "", nil
		return reply{202, nil}
	case "shelve":
		if v.status != "ACTIVE" && v.status != "SHUTOFF" {
			return wrong()
		}
		id := f.id()
		f.images[id] = map[string]any{"id": id, "name": v.name + "-shelved", "status": "queued", "instance_uuid": v.id}
		v.begin("shelving", func() {
			f.images[id]["status"] = "active"
			v.status, v.node, v.power = "SHELVED_OFFLOADED", "", 4
		})
		return reply{202, nil}
	case "resize":
		flavor := f.flavor(fmt.Sprint(args["flavorRef"]))
		switch {
		case v.status != "SHUTOFF" && v.status != "ACTIVE":
			return wrong()
		case flavor == nil:
			return bad("no such flavor")
		case flavor["id"] == v.flavor:
			return bad("When resizing, instances must change flavor!")
		}
		full := f.full
		v.begin("resize_prep", func() {
			if !full {
				v.old, v.flavor, v.status = v.flavor+" "+v.node, flavor["id"].(string), "VERIFY_RESIZE"
			}
		})
		return reply{202, nil}
	case "migrate":
		if v.status != "SHUTOFF" && v.status != "ACTIVE" {
			return wrong()
		}
		v.begin("resize_prep", func() {
			v.old, v.node, v.status = v.flavor+" "+v.node, fmt.Sprint(args["host"]), "VERIFY_RESIZE"
		})
		return reply{202, nil}
	case "confirmResize", "revertResize":
		if v.status != "VERIFY_RESIZE" {
			return wrong()
		}
		// Nova shows no task meanwhile.
		v.pending, v.looks = func() {
			if name == "revertResize" {
				v.flavor, v.node, _ = strings.Cut(v.old, " ")
			}
			if v.status = "SHUTOFF"; v.power == 1 {
				v.status = "ACTIVE"
			}
		}, 1
		return reply{202, nil}
	case "os-migrateLive":
		if v.status != "ACTIVE" && v.status != "PAUSED" || args["block_migration"] != "auto" {
			return wrong()
		}
		v.begin("migrating", func() { v.node = fmt.Sprint(args["host"]) })
		return reply{202, nil}
	}
	return bad("There is no such action: %s", name)
}

func (f *fakeCloud) serverGroups(r *http.Request, parts []string, in map[string]any) reply {
	show := func(g *fakeGroup) map[string]any {
		members := []string{}
		for id, v := range f.servers {
			if v.group == g.id {
				members = append(members, id)
			}
		}
		members = append(members, g.gone...)
		return map[string]any{"id": g.id, "name": g.name, "policy": g.policy, "members": members}
	}
	switch {
	case len(parts) == 0 && r.Method == "GET":
		f.query(r, "offset")
		all := []any{}
		if r.URL.Query().Get("offset") == "0" {
			for _, g := range f.groups {
				all = append(all, show(g))
			}
		}
		return reply{200, map[string]any{"server_groups": all}}
	case len(parts) == 0:
		g := in["server_group"].(map[string]any)
		if no := allowed(g, "name", "policy"); no != nil {
			return *no
		}
		made := &fakeGroup{id: f.id(), name: g["name"].(string), policy: g["policy"].(string)}
		f.groups[made.id] = made
		return reply{200, map[string]any{"server_group": show(made)}}
	case f.groups[parts[0]] == nil:
		return missing()
	case r.Method == "DELETE":
		delete(f.groups, parts[0])
		return reply{204, nil}
	}
	return reply{200, map[string]any{"server_group": show(f.groups[parts[0]])}}
}
