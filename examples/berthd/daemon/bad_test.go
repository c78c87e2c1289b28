package daemon_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// with returns a launch that differs in the spec.
func with(spec object) object {
	b := vm("bad")
	s, _ := b["spec"].(object)
	for k, v := range spec {
		s[k] = v
	}
	return b
}

// named returns a launch that differs beside the spec.
func named(k string, v any) object {
	b := vm("bad")
	b[k] = v
	return b
}

// Whatever is wrong with a request, the answer says what, where and what would be right, and nothing is
// changed.
func TestBadInputIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	r := start(t, 2, shape(func(c *fake.Config) {
		c.Hosts = []pool.Host{hostOf("sim/a", 4, 8, 100), hostOf("sim/b", 4, 8, 100)}
	}))
	r.call(http.MethodPut, "/api/v1/projects/small", object{"quota": object{"instances": 0}}).want(http.StatusOK)
	r.call(http.MethodPut, "/api/v1/images/sourceless", object{"user": "x"}).want(http.StatusOK)
	const beyond = "9223372036854775808" // one more than an int64 holds
	raw := func(spec string) string {
		return `{"project":"default","name":"bad","spec":{"image":"debian-12","resources":{"cpu":1000,"memory":1073741824},` + spec + `}}`
	}
	launch, quotaBody := "/api/v1/instances", "/api/v1/projects/p"
	for name, tc := range map[string]struct {
		method, path string
		body         any
		status       int
		kind         string
		says         string // somewhere in the answer
	}{
		"negative disk":            {"POST", launch, with(object{"disks": []object{{"size": -1}}}), 422, "schema-violation", "body.spec.disks[0].size"},
		"empty disk":               {"POST", launch, with(object{"disks": []object{{"size": 0}}}), 422, "schema-violation", "disks[0].size"},
		"huge disk":                {"POST", launch, with(object{"disks": []object{{"size": 1 << 62}}}), 422, "invalid-value", "1 GiB to 1 TiB"},
		"disks that overflow":      {"POST", launch, with(object{"disks": []object{{"size": 1 << 62}, {"size": 1 << 62}}}), 422, "overflow", "9223372036854775807"},
		"disk beyond int64":        {"POST", launch, raw(`"disks":[{"size":` + beyond + `}]`), 422, "schema-violation", "whole number"},
		"disk as a fraction":       {"POST", launch, raw(`"disks":[{"size":1.5}]`), 422, "schema-violation", "integer"},
		"disk as text":             {"POST", launch, raw(`"disks":[{"size":"10G"}]`), 422, "schema-violation", "integer"},
		"disk of 1e400":            {"POST", launch, raw(`"disks":[{"size":1e400}]`), 400, "malformed", "body"},
		"17 disks":                 {"POST", launch, with(object{"disks": make([]object, 17)}), 422, "schema-violation", "16"},
		"negative cpu":             {"POST", launch, with(object{"resources": object{"cpu": -1000, "memory": pool.GiB}}), 422, "invalid-value", "zero or more"},
		"huge cpu":                 {"POST", launch, with(object{"resources": object{"cpu": 1 << 60, "memory": pool.GiB}}), 422, "invalid-value", "32 cores"},
		"cpu beyond int64":         {"POST", launch, `{"project":"default","name":"bad","spec":{"image":"debian-12","resources":{"cpu":` + beyond + `}}}`, 422, "schema-violation", "whole number"},
		"class with a space":       {"POST", launch, with(object{"resources": object{"c p u": 1}}), 422, "invalid-value", "class"},
		"storage as a resource":    {"POST", launch, with(object{"resources": object{"storage.ssd": 1}}), 422, "invalid-value", "disks"},
		"flavor and sizes":         {"POST", launch, with(object{"flavor": "small"}), 422, "invalid-value", "not both"},
		"negative iops":            {"POST", launch, with(object{"disks": []object{{"size": pool.GiB, "iops": -5}}}), 422, "schema-violation", "iops"},
		"storage kind":             {"POST", launch, with(object{"disks": []object{{"size": pool.GiB, "storage": "SSD; rm -rf"}}}), 422, "invalid-value", "storage"},
		"mount of the root disk":   {"POST", launch, with(object{"disks": []object{{"size": pool.GiB, "mount": "/data"}}}), 422, "invalid-value", "root disk"},
		"mount that climbs":        {"POST", launch, with(object{"disks": []object{{"size": pool.GiB}, {"size": pool.GiB, "mount": "/data/../etc"}}}), 422, "invalid-value", "absolute path"},
		"mount twice":              {"POST", launch, with(object{"disks": []object{{"size": pool.GiB}, {"size": pool.GiB, "mount": "/d"}, {"size": pool.GiB, "mount": "/d"}}}), 422, "invalid-value", "once"},
		"name with quotes":         {"POST", launch, named("name", `x"';--`), 422, "invalid-value", "lower-case"},
		"name with a newline":      {"POST", launch, named("name", "x\ny"), 422, "invalid-value", "lower-case"},
		"name with XML":            {"POST", launch, named("name", "<domain>"), 422, "invalid-value", "lower-case"},
		"name with YAML":           {"POST", launch, named("name", "a: b"), 422, "invalid-value", "lower-case"},
		"name with NUL":            {"POST", launch, named("name", "a\x00"), 422, "invalid-value", "lower-case"},
		"name too long":            {"POST", launch, named("name", strings.Repeat("a", 64)), 422, "schema-violation", "63"},
		"empty name":               {"POST", launch, named("name", ""), 422, "schema-violation", "name"},
		"label with a newline":     {"POST", launch, with(object{"labels": object{"a": "b\nc"}}), 422, "invalid-value", "labels"},
		"network with XML":         {"POST", launch, with(object{"networks": []object{{"name": "<x/>"}}}), 422, "invalid-value", "networks"},
		"user with a newline":      {"POST", launch, with(object{"guest": object{"user": "a\nroot"}}), 422, "invalid-value", "user"},
		"key with a newline":       {"POST", launch, with(object{"guest": object{"ssh_keys": []string{publicKey + "\nssh-rsa AAAA"}}}), 422, "invalid-value", "ssh_keys"},
		"key that is none":         {"POST", launch, with(object{"guest": object{"ssh_keys": []string{"canary-key"}}}), 422, "invalid-value", "ssh-ed25519"},
		"user-data too large":      {"POST", launch, with(object{"guest": object{"user_data": strings.Repeat("x", 65537)}}), 422, "schema-violation", "65536"},
		"unknown image":            {"POST", launch, with(object{"image": "nope"}), 422, "unknown-reference", "nope"},
		"unknown flavor":           {"POST", launch, object{"project": "default", "name": "bad", "spec": object{"image": "debian-12", "flavor": "nope"}}, 422, "unknown-reference", "flavor"},
		"unknown project":          {"POST", launch, named("project", "nope"), 422, "unknown-reference", "project"},
		"unknown host":             {"POST", launch, with(object{"constraints": object{"hosts": []string{"sim/none"}}}), 409, "no-room", "host"},
		"malformed host":           {"POST", launch, with(object{"constraints": object{"hosts": []string{"none"}}}), 422, "invalid-value", "driver/native-id"},
		"unknown zone":             {"POST", launch, with(object{"constraints": object{"zones": []string{"moon"}}}), 409, "no-room", "moon"},
		"image without a source":   {"POST", launch, with(object{"image": "sourceless"}), 409, "no-room", "source"},
		"full pool":                {"POST", launch, with(object{"resources": object{"cpu": 8000, "memory": pool.GiB}}), 409, "no-room", "4 cores free of 4 cores"},
		"over quota":               {"POST", launch, named("project", "small"), 403, "over-quota", "instances"},
		"unknown field":            {"POST", launch, named("role", "admin"), 422, "schema-violation", "role"},
		"unknown field below":      {"POST", launch, with(object{"hosst": "x"}), 422, "schema-violation", "hosst"},
		"wrong want":               {"POST", launch, named("want", "dancing"), 422, "schema-violation", "running"},
		"no body":                  {"POST", launch, "", 400, "malformed", "required"},
		"half a body":              {"POST", launch, `{"project":"default","na`, 400, "malformed", "not JSON"},
		"two values":               {"POST", launch, `{} {}`, 400, "malformed", "not JSON"},
		"an array":                 {"POST", launch, `[]`, 422, "schema-violation", "object"},
		"null":                     {"POST", launch, `null`, 422, "schema-violation", "object"},
		"deep nesting":             {"POST", launch, strings.Repeat("[", 20000), 400, "malformed", "not JSON"},
		"10 MB":                    {"POST", launch, `{"name":"` + strings.Repeat("x", 10<<20) + `"}`, 413, "too-large", "1048576"},
		"10 MB of unknown length":  {"POST", launch, io.MultiReader(strings.NewReader(`{"name":"`), bytes.NewReader(bytes.Repeat([]byte("x"), 10<<20))), 413, "too-large", `"want":"at most 1048576 bytes"`},
		"negative quota":           {"PUT", quotaBody, object{"quota": object{"cpu": -1}}, 422, "invalid-value", "zero or more"},
		"quota of nothing known":   {"PUT", quotaBody, object{"quota": object{"C P U": 1}}, 422, "invalid-value", "class"},
		"project with a slash":     {"PUT", "/api/v1/projects/a%2Fb", object{"quota": object{}}, 422, "invalid-value", "letters"},
		"project with a newline":   {"PUT", "/api/v1/projects/a%0Ab", object{"quota": object{}}, 422, "invalid-value", "letters"},
		"flavor of IOPS":           {"PUT", "/api/v1/flavors/f", object{"resources": object{"iops.ssd": 5}}, 422, "invalid-value", "own classes"},
		"flavor that is negative":  {"PUT", "/api/v1/flavors/f", object{"resources": object{"cpu": -5}}, 422, "invalid-value", "zero or more"},
		"image with a bad login":   {"PUT", "/api/v1/images/i", object{"user": "Root Toor"}, 422, "invalid-value", "user"},
		"image with a bad source":  {"PUT", "/api/v1/images/i", object{"user": "u", "sources": object{"sim": "a\nb"}}, 422, "invalid-value", "sources"},
		"image with a name":        {"PUT", "/api/v1/images/i", object{"name": "other", "user": "u"}, 422, "schema-violation", "name"},
		"cordon with a newline":    {"POST", "/api/v1/hosts/sim/a/cordon", object{"reason": "a\nb"}, 422, "invalid-value", "reason"},
		"cordon of nothing":        {"POST", "/api/v1/hosts/sim/none/cordon", object{}, 404, "not-found", "none"},
		"host that is nobody's":    {"POST", "/api/v1/hosts", object{"id": "../../etc"}, 422, "unknown-reference", "driver"},
		"removing nothing":         {"DELETE", "/api/v1/hosts/sim/none", nil, 404, "not-found", "none"},
		"action on nothing":        {"POST", "/api/v1/instances/i0000000000000000000000000/stop", nil, 404, "not-found", "instance"},
		"action with a strange id": {"POST", "/api/v1/instances/%3Cscript%3E/stop", nil, 404, "not-found", "script"},
		"deleting nothing":         {"DELETE", "/api/v1/instances/nope", nil, 404, "not-found", "nope"},
		"no such path":             {"GET", "/api/v1/nope", nil, 404, "no-such-path", ""},
		"no such method":           {"PUT", launch, object{}, 405, "method-not-allowed", `"want":"GET or HEAD or POST"`},
		"no such method elsewhere": {"POST", "/metrics", nil, 405, "method-not-allowed", `"want":"GET or HEAD"`},
		"name twice":               {"PUT", quotaBody, `{"quota":{"cpu":-1},"quota":{}}`, 400, "malformed", "twice"},
		"name twice inside":        {"PUT", quotaBody, `{"quota":{"cpu":1,"memory":2,"cpu":1}}`, 400, "malformed", "twice"},
		"field that is unknown":    {"PUT", quotaBody, `{"quota":{},"qouta":{}}`, 422, "schema-violation", `"want":"no property of this name"`},
		"no such page":             {"GET", "/nope", nil, 404, "no-such-path", ""},
		"path that climbs":         {"GET", "/assets/..%2f..%2ftoken", nil, 404, "no-such-path", ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := r.commanded()
			a := r.in(t).call(tc.method, tc.path, tc.body, "X-Request-Id", "bad-input")
			p := a.problem(tc.status, tc.kind)
			require.Contains(t, string(a.body), tc.says)
			require.Equal(t, "bad-input", p["request_id"])
			require.NotContains(t, string(a.body), "canary-key")
			require.NotContains(t, string(a.body), "goroutine")
			require.NotContains(t, string(a.body), "Go struct")
			require.Equal(t, before, r.commanded(), "nothing was done")
		})
	}
	require.Empty(t, r.get("/api/v1/instances").items())
	r.launch(vm("good"))
	require.NotContains(t, r.log.String(), "panic")
}

func TestOtherMediaTypesAreRefused(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	for _, mime := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "a+b;c+d"} {
		a := r.call(http.MethodPost, "/api/v1/instances", vm("x"), "Content-Type", mime)
		require.Contains(t, []int{400, 415}, a.status, mime)
	}
	r.call(http.MethodPost, "/api/v1/instances", vm("x"), "Content-Type", "application/json; charset=utf-8").want(http.StatusAccepted)
	r.call(http.MethodGet, "/api/v1/pool", nil, "Accept", "text/html").want(http.StatusOK)
}

// hostOf is a host of so many cores and GiB, with disks of the kind standard.
func hostOf(id pool.HostID, cores, memory, disk int64) pool.Host {
	return pool.Host{ID: id, Name: id.Native(), Conditions: pool.Ready, Inventory: map[pool.Class]pool.Inventory{
		pool.CPU: {Total: cores * pool.Core}, pool.Memory: {Total: memory * pool.GiB}, pool.StorageStandard: {Total: disk * pool.GiB},
	}}
}
