package openstack_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/berthage/berthage/hypervisor/openstack"
)

// fakeCloud is a small OpenStack over HTTP: enough of one for a machine's life, strict in what it takes, and everything that
// can go wrong with one on the way. It answers as the real one did that make test-openstack starts.
type fakeCloud struct {
	t   testing.TB
	url string

	mu      sync.Mutex
	n       int
	tokens  map[string]bool
	logins  int
	counts  map[string]int // of requests, by method and path
	servers map[string]*fakeServer
	groups  map[string]*fakeGroup
	images  map[string]map[string]any
	flavors []map[string]any
	quota   map[string]any
	nodes   []string
	down    map[string]bool // nodes whose service is down
	full    bool            // there is no room

	page int // servers in a page
	// hook decides what becomes of the n-th request of that method and path, from 1; nil answers it as usual.
	hook func(r *http.Request, n int) func(w http.ResponseWriter)
}

type fakeServer struct {
	id, name, status, task, flavor, image, node, created string
	metadata                                             map[string]string
	tags                                                 []string
	power, disks                                         int
	launched, group                                      string
	fault                                                string
	old                                                  string // the flavor, and behind a space the node, before a resize
	data                                                 string // user-data
	pending                                              func() // what Nova is at work on
	looks                                                int    // after which it is done
}

type fakeGroup struct {
	id, name, policy string
	gone             []string // members that are not there any more, and are still named
}

const (
	fakeSecret  = "app-secret-0123"
	fakeRegion  = "RegionOne"
	fakeImage   = "7f5d3b0e-6a0c-4b39-a14f-6b8b3f5d2c10"
	fakeNetwork = "aa5d3b0e-6a0c-4b39-a14f-6b8b3f5d2c11"
	fakeProject = "0123456789abcdef0123456789abcdef"
)

// newFakeCloud starts one.
func newFakeCloud(t testing.TB) *fakeCloud {
	t.Helper()
	f := &fakeCloud{
		t: t, page: 2,
		tokens: make(map[string]bool), counts: make(map[string]int), servers: make(map[string]*fakeServer), groups: make(map[string]*fakeGroup),
		down: make(map[string]bool), nodes: []string{"node1", "node2"},
		images: map[string]map[string]any{fakeImage: {"id": fakeImage, "name": "debian-12", "status": "active"}},
		quota:  map[string]any{"maxTotalCores": 100, "maxTotalRAMSize": 200000, "maxTotalInstances": 60, "totalCoresUsed": 0, "totalRAMUsed": 0},
	}
	for name, z := range map[string][4]int{"c1.tiny": {1, 512, 1, 0}, "c1.small": {1, 1024, 2, 0}, "c2.small": {2, 1024, 2, 0}, "c1.data": {1, 512, 1, 4}, "c2.data": {2, 1024, 4, 4}, "c4.huge": {4, 16384, 20, 8}} {
		f.flavors = append(f.flavors, map[string]any{"id": name, "name": name, "vcpus": z[0], "ram": z[1], "disk": z[2], "OS-FLV-EXT-DATA:ephemeral": z[3]})
	}
	server := httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// cloud is what the driver is told of it.
func (f *fakeCloud) cloud() openstack.Cloud {
	return openstack.Cloud{AuthURL: f.url + "/identity/v3", ApplicationCredentialID: "app", ApplicationCredentialSecret: fakeSecret, Region: fakeRegion}
}

// id returns a UUID.
func (f *fakeCloud) id() string {
	f.n++
	return fmt.Sprintf("%08d-0000-4000-8000-000000000000", f.n)
}

// count returns how many requests of that method and path there were.
func (f *fakeCloud) count(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[what]
}

// reply is the answer to a request.
type reply struct {
	code int
	body any
}

func said(code int, kind, message string) reply {
	return reply{code, map[string]any{kind: map[string]any{"code": code, "message": message}}}
}

func bad(format string, args ...any) reply {
	return said(400, "badRequest", fmt.Sprintf(format, args...))
}
func conflict(format string, args ...any) reply {
	return said(409, "conflictingRequest", fmt.Sprintf(format, args...))
}
func missing() reply { return said(404, "itemNotFound", "it could not be found.") }

func (f *fakeCloud) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	f.mu.Lock()
	what := r.Method + " " + r.URL.Path
	f.counts[what]++
	hook, n := f.hook, f.counts[what]
	f.mu.Unlock()
	if hook != nil {
		if instead := hook(r, n); instead != nil {
			instead(w)
			return
		}
	}
	f.mu.Lock()
	answer := f.route(w, r, body)
	f.mu.Unlock()
	if answer.body == nil {
		w.WriteHeader(answer.code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(answer.code)
	_ = json.NewEncoder(w).Encode(answer.body)
}

func (f *fakeCloud) route(w http.ResponseWriter, r *http.Request, body []byte) reply {
	var in map[string]any
	octets := r.Header.Get("Content-Type") == "application/octet-stream"
	if len(body) > 0 && !octets && json.Unmarshal(body, &in) != nil {
		return bad("malformed JSON")
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.Method == "POST" && r.URL.Path == "/identity/v3/auth/tokens":
		return f.login(w, in)
	case len(parts) == 1: // discovery
		id := map[string]string{"image": "v2.15", "network": "v2.0", "placement": "v1.0"}[parts[0]]
		return reply{200, map[string]any{"versions": []any{map[string]any{"id": id, "status": "CURRENT", "links": []any{}}}}}
	case !f.tokens[r.Header.Get("X-Auth-Token")]:
		return reply{401, map[string]any{"error": map[string]any{"code": 401, "message": "The request you have made requires authentication: " + r.Header.Get("X-Auth-Token")}}}
	}
	version := r.Header.Get("OpenStack-API-Version")
	switch parts[0] {
	case "compute":
		if version != "compute 2.74" {
			f.t.Errorf("%s %s: microversion %q", r.Method, r.URL.Path, version)
		}
		return f.nova(r, parts[2:], in)
	case "placement":
		if version != "placement 1.12" {
			f.t.Errorf("%s %s: microversion %q", r.Method, r.URL.Path, version)
		}
		return f.placement(r, parts[1:])
	case "image":
		return f.glance(r, parts[2:], in, body)
	case "network":
		return f.neutron(r, parts[2:])
	}
	return missing()
}

func (f *fakeCloud) login(w http.ResponseWriter, in map[string]any) reply {
	f.logins++
	identity, _ := in["auth"].(map[string]any)["identity"].(map[string]any)
	credential, _ := identity["application_credential"].(map[string]any)
	if credential["id"] != "app" || credential["secret"] != fakeSecret {
		return reply{401, map[string]any{"error": map[string]any{"code": 401, "message": fmt.Sprint("no, not with ", credential["secret"])}}}
	}
	if _, scoped := in["auth"].(map[string]any)["scope"]; scoped {
		f.t.Error("an application credential is sent with a scope")
	}
	token := fmt.Sprintf("token-%d-abcdefgh", f.logins)
	f.tokens = map[string]bool{token: true}
	w.Header().Set("X-Subject-Token", token)
	var catalog []any
	for kind, path := range map[string]string{"compute": "/compute/v2.1", "image": "/image", "network": "/network", "placement": "/placement"} {
		catalog = append(catalog, map[string]any{"type": kind, "name": kind, "endpoints": []any{
			map[string]any{"interface": "public", "region": "Elsewhere", "region_id": "Elsewhere", "url": "http://127.0.0.1:1/"},
			map[string]any{"interface": "public", "region": fakeRegion, "region_id": fakeRegion, "url": f.url + path},
		}})
	}
	return reply{201, map[string]any{"token": map[string]any{"catalog": catalog, "project": map[string]any{"id": fakeProject, "name": "p"}, "expires_at": "2099-01-01T00:00:00.000000Z"}}}
}

// allowed reports, as an answer, a key that is not among those.
func allowed(in map[string]any, keys ...string) *reply {
	for k := range in {
		if !slices.Contains(keys, k) {
			no := bad("Additional properties are not allowed ('%s' was unexpected)", k)
			return &no
		}
	}
	return nil
}

// pages cuts a list at the marker and after the page, and links to the next as a service does that does not know under
// which address it is reached.
func (f *fakeCloud) pages(r *http.Request, key string, ids []string, item func(id string) any) reply {
	q := r.URL.Query()
	if at := slices.Index(ids, q.Get("marker")); at >= 0 {
		ids = ids[at+1:]
	}
	out := map[string]any{}
	items := []any{}
	for i, id := range ids {
		if i == f.page {
			q.Set("marker", ids[i-1])
			out[key+"_links"] = []any{map[string]any{"rel": "next", "href": "http://internal.invalid/elsewhere?" + q.Encode()}}
			break
		}
		items = append(items, item(id))
	}
	out[key] = items
	return reply{200, out}
}

func (f *fakeCloud) glance(r *http.Request, parts []string, in map[string]any, body []byte) reply {
	q := r.URL.Query()
	switch {
	case parts[0] != "images":
		return missing()
	case len(parts) == 1 && r.Method == "GET":
		items := []any{}
		ids := []string{}
		for id := range f.images {
			ids = append(ids, id)
		}
		sort.Strings(ids)
		for _, id := range ids {
			match := true
			for _, k := range []string{"name", "status", "instance_uuid", "berthage_name"} {
				match = match && (q.Get(k) == "" || q.Get(k) == fmt.Sprint(f.images[id][k]))
			}
			if match {
				items = append(items, f.images[id])
			}
		}
		return reply{200, map[string]any{"images": items}}
	case len(parts) == 1 && r.Method == "POST":
		id := f.id()
		f.images[id] = in
		in["id"], in["status"] = id, "queued"
		return reply{201, in}
	}
	image, ok := f.images[parts[1]]
	switch {
	case !ok:
		return missing()
	case len(parts) == 3 && parts[2] == "file" && r.Method == "PUT":
		if image["status"] != "queued" {
			return conflict("the image has data")
		}
		image["status"], image["size"] = "active", len(body)
		return reply{204, nil}
	case r.Method == "DELETE":
		delete(f.images, parts[1])
		return reply{204, nil}
	}
	return reply{200, image}
}

func (f *fakeCloud) neutron(r *http.Request, parts []string) reply {
	switch parts[0] {
	case "networks":
		out := []any{}
		if name := r.URL.Query().Get("name"); name == "" || name == "net0" {
			out = append(out, map[string]any{"id": fakeNetwork, "name": "net0"})
		}
		return reply{200, map[string]any{"networks": out}}
	case "ports":
		return reply{200, map[string]any{"ports": []any{}}}
	}
	return missing()
}

func (f *fakeCloud) placement(r *http.Request, parts []string) reply {
	used := map[string]int{"VCPU": 0, "MEMORY_MB": 0, "DISK_GB": 0}
	add := func(node string) {
		for _, v := range f.servers {
			if flavor := f.flavor(v.flavor); flavor != nil && (node == "" || v.node == node) && v.status != "SHELVED_OFFLOADED" {
				used["VCPU"] += flavor["vcpus"].(int)
				used["MEMORY_MB"] += flavor["ram"].(int)
				used["DISK_GB"] += flavor["disk"].(int) + flavor["OS-FLV-EXT-DATA:ephemeral"].(int)
			}
		}
	}
	switch {
	case parts[0] == "usages":
		if r.URL.Query().Get("project_id") != fakeProject {
			f.t.Errorf("usages of %q", r.URL.Query())
		}
		add("")
		return reply{200, map[string]any{"usages": used}}
	case len(parts) == 1:
		out := []any{}
		for _, n := range f.nodes {
			out = append(out, map[string]any{"uuid": "provider-" + n, "name": n})
		}
		return reply{200, map[string]any{"resource_providers": out}}
	case parts[2] == "inventories":
		return reply{200, map[string]any{"inventories": map[string]any{
			"VCPU":      map[string]any{"total": 16, "reserved": 0, "allocation_ratio": 16.0},
			"MEMORY_MB": map[string]any{"total": 65536, "reserved": 512, "allocation_ratio": 1.5},
			"DISK_GB":   map[string]any{"total": 500, "reserved": 0, "allocation_ratio": 1.0},
		}}}
	case parts[2] == "usages":
		add(strings.TrimPrefix(parts[1], "provider-"))
		return reply{200, map[string]any{"usages": used}}
	}
	return missing()
}

// disturbed is a transport on which one request goes wrong.
type disturbed struct {
	mu   sync.Mutex
	next http.RoundTripper
	left int
	how  func(next http.RoundTripper, r *http.Request) (*http.Response, error)
	hit  bool
}

func (d *disturbed) RoundTrip(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	d.left--
	now := d.left == 0 && d.how != nil
	d.hit = d.hit || now
	how := d.how
	d.mu.Unlock()
	if now {
		return how(d.next, r)
	}
	return d.next.RoundTrip(r)
}

// query returns the parameters of a list request, and reports those that nobody knows.
func (f *fakeCloud) query(r *http.Request, known ...string) url.Values {
	q := r.URL.Query()
	for k := range q {
		if !slices.Contains(known, k) && k != "limit" && k != "marker" {
			f.t.Errorf("%s with the parameter %s", r.URL.Path, k)
		}
	}
	if n := q.Get("limit"); n != "" {
		if _, err := strconv.Atoi(n); err != nil {
			f.t.Errorf("limit %q", n)
		}
	}
	return q
}
