package hetznertest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

type server struct {
	ID             int64
	Name, Location string
	Type           serverType
	Image          *image
	Status         string
	Disk           int // GB
	Content        string
	Labels         map[string]string
	Group          int64
	Networks       []int64
	IPv4, IPv6     int64 // addresses
	Created        time.Time
	Protected      bool
}

type volume struct {
	ID             int64
	Name, Location string
	Size           int // GB
	Status         string
	Server         int64
	Labels         map[string]string
	Created        time.Time
}

type image struct {
	ID               int64
	Name, Arch, Type string
	Description      string
	Status           string
	Disk             int // GB
	Content          string
	Labels           map[string]string
	From             int64
	FromName         string
	Created          time.Time
}

type address struct {
	ID       int64
	Version  string // "ipv4"
	Location string
	Server   int64
	Keep     bool // without its server
	Created  time.Time
}

type named struct {
	ID   int64
	Name string
}

type serverType struct {
	ID           int64
	Name, Arch   string
	Cores        int
	Memory, Disk int // GB
	Hourly       string
	Deprecated   bool
}

func serverTypes() []serverType {
	return []serverType{
		{1, "small", "x86", 2, 4, 40, "0.0060000000", false},
		{2, "medium", "x86", 4, 8, 80, "0.0110000000", false},
		{3, "large", "x86", 8, 16, 160, "0.0210000000", false},
		{4, "arm-small", "arm", 2, 4, 40, "0.0050000000", false},
		{5, "old", "x86", 1, 2, 20, "0.0030000000", true},
	}
}

func locations() []string { return []string{"fsn1", "nbg1", "hel1"} }

func (f *Cloud) next() int64 {
	f.id++
	return f.id
}

func (f *Cloud) addImage(i *image) *image {
	i.ID, i.Created = f.next(), time.Now().UTC()
	f.images[i.ID] = i
	return i
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func labelsOf(m map[string]string) object {
	out := object{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

func locationJSON(name string) object {
	return object{
		"id": 1 + slices.Index(locations(), name), "name": name, "description": "Location " + name, "country": "DE", "city": "City",
		"latitude": 50.5, "longitude": 12.5, "network_zone": "eu-central",
	}
}

func price(net string) object { return object{"net": net, "gross": net} }

func (t serverType) prices() []any {
	var out []any
	for _, l := range locations() {
		out = append(out, object{"location": l, "price_hourly": price(t.Hourly), "price_monthly": price("3.2900000000"),
			"included_traffic": 654321, "price_per_tb_traffic": price("1.0000000000")})
	}
	return out
}

func (t serverType) json() object {
	var at []any
	var gone any
	if t.Deprecated {
		gone = object{"announced": "2024-01-01T00:00:00Z", "unavailable_after": "2024-06-01T00:00:00Z"}
	}
	for i, l := range locations() {
		at = append(at, object{"id": i + 1, "name": l, "deprecation": gone})
	}
	return object{
		"id": t.ID, "name": t.Name, "description": strings.ToUpper(t.Name), "cores": t.Cores, "memory": t.Memory, "disk": t.Disk,
		"deprecated": t.Deprecated, "deprecation": gone, "prices": t.prices(), "storage_type": "local", "cpu_type": "shared",
		"architecture": t.Arch, "locations": at, "category": "Shared vCPU",
	}
}

func (i *image) json() object {
	var name, from any
	if i.Type == "system" {
		name = i.Name
	}
	if i.From != 0 {
		from = object{"id": i.From, "name": i.FromName}
	}
	return object{
		"id": i.ID, "name": name, "type": i.Type, "status": i.Status, "description": i.Description, "image_size": 1.5, "disk_size": i.Disk,
		"created": stamp(i.Created), "created_from": from, "bound_to": nil, "os_flavor": "debian", "os_version": "12", "rapid_deploy": false,
		"protection": object{"delete": false}, "deprecated": nil, "deleted": nil, "labels": labelsOf(i.Labels), "architecture": i.Arch,
	}
}

func (v *volume) json() object {
	var at any
	if v.Server != 0 {
		at = v.Server
	}
	return object{
		"id": v.ID, "name": v.Name, "size": v.Size, "status": v.Status, "server": at, "location": locationJSON(v.Location), "format": nil,
		"linux_device": "/dev/disk/by-id/scsi-0HC_Volume_" + strconv.FormatInt(v.ID, 10), "labels": labelsOf(v.Labels),
		"protection": object{"delete": false}, "created": stamp(v.Created),
	}
}

func (a *address) ip() string {
	if a.Version == "ipv4" {
		return fmt.Sprintf("192.0.2.%d", a.ID%250+1)
	}
	return fmt.Sprintf("2001:db8:%x::/64", a.ID)
}

func (f *Cloud) datacenter(location string) object {
	var ids []any
	for _, t := range serverTypes() {
		ids = append(ids, t.ID)
	}
	return object{"id": 1 + slices.Index(locations(), location), "name": location + "-dc1", "description": "DC", "location": locationJSON(location),
		"server_types": object{"supported": ids, "available": ids, "available_for_migration": ids}}
}

func (f *Cloud) addressJSON(a *address) object {
	var at any
	if a.Server != 0 {
		at = a.Server
	}
	return object{
		"id": a.ID, "name": "primary_ip-" + strconv.FormatInt(a.ID, 10), "ip": a.ip(), "type": a.Version, "assignee_id": at, "assignee_type": "server",
		"auto_delete": !a.Keep, "blocked": false, "created": stamp(a.Created), "datacenter": f.datacenter(a.Location), "location": locationJSON(a.Location),
		"dns_ptr": []any{}, "labels": object{}, "protection": object{"delete": false},
	}
}

func (f *Cloud) serverJSON(s *server) object {
	var v4, v6, group, img any
	if a := f.addresses[s.IPv4]; a != nil {
		v4 = object{"id": a.ID, "ip": a.ip(), "blocked": false, "dns_ptr": "static.example"}
	}
	if a := f.addresses[s.IPv6]; a != nil {
		v6 = object{"id": a.ID, "ip": a.ip(), "blocked": false, "dns_ptr": []any{}}
	}
	if g := f.groups[s.Group]; g != nil {
		group = f.groupJSON(g)
	}
	if s.Image != nil {
		img = s.Image.json()
	}
	private, attached := []any{}, []any{}
	for i, n := range s.Networks {
		private = append(private, object{"network": n, "ip": fmt.Sprintf("10.0.%d.2", i), "alias_ips": []any{}, "mac_address": "86:00:ff:2a:7d:e1"})
	}
	for _, v := range f.sortedVolumes() {
		if v.Server == s.ID {
			attached = append(attached, v.ID)
		}
	}
	return object{
		"id": s.ID, "name": s.Name, "status": s.Status, "created": stamp(s.Created), "server_type": s.Type.json(), "image": img, "iso": nil,
		"public_net": object{"ipv4": v4, "ipv6": v6, "floating_ips": []any{}, "firewalls": []any{}}, "private_net": private,
		"datacenter": f.datacenter(s.Location), "location": locationJSON(s.Location), "rescue_enabled": false, "locked": f.locked(s.ID),
		"backup_window": nil, "outgoing_traffic": 0, "ingoing_traffic": 0, "included_traffic": 654321,
		"protection": object{"delete": s.Protected, "rebuild": s.Protected}, "labels": labelsOf(s.Labels), "volumes": attached,
		"load_balancers": []any{}, "primary_disk_size": s.Disk, "placement_group": group,
	}
}

func (f *Cloud) groupJSON(g *named) object {
	members := []any{}
	for _, s := range f.sortedServers() {
		if s.Group == g.ID {
			members = append(members, s.ID)
		}
	}
	return object{"id": g.ID, "name": g.Name, "type": "spread", "labels": object{}, "servers": members, "created": "2024-01-01T00:00:00Z"}
}

func keyJSON(k *named) object {
	return object{"id": k.ID, "name": k.Name, "fingerprint": "00:11", "public_key": "ssh-ed25519 AAAA", "labels": object{}, "created": "2024-01-01T00:00:00Z"}
}

func networkJSON(n *named) object {
	return object{"id": n.ID, "name": n.Name, "ip_range": "10.0.0.0/16", "subnets": []any{}, "routes": []any{}, "servers": []any{}, "load_balancers": []any{},
		"protection": object{"delete": false}, "labels": object{}, "created": "2024-01-01T00:00:00Z", "expose_routes_to_vswitch": false}
}

func (f *Cloud) sortedServers() []*server {
	var out []*server
	for _, s := range f.servers {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *server) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func (f *Cloud) sortedVolumes() []*volume {
	var out []*volume
	for _, v := range f.volumes {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b *volume) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// item is a thing of a list with what it can be chosen by.
type item struct {
	id     int64
	name   string
	labels map[string]string
	kind   string
	arch   string
	json   object
}

// items lists what there is of a kind.
func (f *Cloud) items(kind string) ([]item, bool) {
	var out []item
	switch kind {
	case "locations":
		for i, l := range locations() {
			out = append(out, item{id: int64(i + 1), name: l, json: locationJSON(l)})
		}
	case "server_types":
		for _, t := range serverTypes() {
			out = append(out, item{id: t.ID, name: t.Name, json: t.json()})
		}
	case "servers":
		for _, s := range f.servers {
			out = append(out, item{id: s.ID, name: s.Name, labels: s.Labels, json: f.serverJSON(s)})
		}
	case "volumes":
		for _, v := range f.volumes {
			out = append(out, item{id: v.ID, name: v.Name, labels: v.Labels, json: v.json()})
		}
	case "images":
		for _, i := range f.images {
			out = append(out, item{id: i.ID, name: i.Name, labels: i.Labels, kind: i.Type, arch: i.Arch, json: i.json()})
		}
	case "primary_ips":
		for _, a := range f.addresses {
			out = append(out, item{id: a.ID, json: f.addressJSON(a)})
		}
	case "placement_groups":
		for _, g := range f.groups {
			out = append(out, item{id: g.ID, name: g.Name, json: f.groupJSON(g)})
		}
	case "networks":
		for _, n := range f.networks {
			out = append(out, item{id: n.ID, name: n.Name, json: networkJSON(n)})
		}
	case "ssh_keys":
		for _, k := range f.keys {
			out = append(out, item{id: k.ID, name: k.Name, json: keyJSON(k)})
		}
	case "actions":
		for _, a := range f.actions {
			out = append(out, item{id: a.id, json: a.json(time.Now())})
		}
	default:
		return nil, false
	}
	return out, true
}

// list answers a page.
func (f *Cloud) list(kind string, r *request) answer {
	if kind == "pricing" {
		return answer{http.StatusOK, object{"pricing": f.pricing()}}
	}
	all, ok := f.items(kind)
	if !ok {
		return notFound("page")
	}
	all = slices.DeleteFunc(all, func(i item) bool {
		return r.query.Has("name") && i.name != r.query.Get("name") || !selects(r.query.Get("label_selector"), i.labels) ||
			r.query.Has("type") && !slices.Contains(r.query["type"], i.kind) || r.query.Has("architecture") && !slices.Contains(r.query["architecture"], i.arch)
	})
	slices.SortFunc(all, func(a, b item) int {
		if r.query.Get("sort") == "id:desc" {
			a, b = b, a
		}
		return cmp.Compare(a.id, b.id)
	})
	page, per := max(1, atoi(r.query.Get("page"), 1)), min(max(1, atoi(r.query.Get("per_page"), 25)), 50)
	last := max(1, (len(all)+per-1)/per)
	part := []any{}
	for i := (page - 1) * per; i < min(page*per, len(all)); i++ {
		part = append(part, all[i].json)
	}
	var next, previous any
	if page < last {
		next = page + 1
	}
	if page > 1 {
		previous = page - 1
	}
	return answer{http.StatusOK, object{kind: part, "meta": object{"pagination": object{
		"page": page, "per_page": per, "previous_page": previous, "next_page": next, "last_page": last, "total_entries": len(all)}}}}
}

func atoi(s string, otherwise int) int {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return otherwise
}

// selects reports whether labels have what a selector of the form k==v,k==v asks for.
func selects(selector string, labels map[string]string) bool {
	if selector == "" {
		return true
	}
	for _, part := range strings.Split(selector, ",") {
		k, v, _ := strings.Cut(part, "==")
		if is, ok := labels[k]; !ok || is != v {
			return false
		}
	}
	return true
}

// get answers one thing.
func (f *Cloud) get(kind string, r *request) answer {
	all, ok := f.items(kind)
	for _, i := range all {
		if ok && i.id == r.id {
			return answer{http.StatusOK, object{strings.TrimSuffix(kind, "s"): i.json}}
		}
	}
	return notFound(strings.TrimSuffix(kind, "s"))
}

func (f *Cloud) pricing() object {
	var types []any
	for _, t := range serverTypes() {
		types = append(types, object{"id": t.ID, "name": t.Name, "prices": t.prices()})
	}
	monthly, hourly := []any{}, []any{}
	for _, l := range locations() {
		monthly = append(monthly, object{"location": l, "price_monthly": price("3.0000000000")})
		hourly = append(hourly, object{"location": l, "price_hourly": price("0.0008000000"), "price_monthly": price("0.5000000000")})
	}
	return object{
		"currency": "EUR", "vat_rate": "0.000000",
		"image":               object{"price_per_gb_month": price("0.0110000000")},
		"floating_ip":         object{"price_monthly": price("3.0000000000")},
		"floating_ips":        []any{object{"type": "ipv4", "prices": monthly}},
		"primary_ips":         []any{object{"type": "ipv4", "prices": hourly}},
		"server_backup":       object{"percentage": "20.0000000000"},
		"server_types":        types,
		"load_balancer_types": []any{},
		"volume":              object{"price_per_gb_month": price("0.0440000000")},
	}
}
