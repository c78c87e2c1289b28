package daemon_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/hypervisor/hetzner/hetznertest"
	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
	"github.com/berthage/berthage/pool"
)

// One daemon over a Proxmox VE cluster and a hoster's location, as its file says: images decide where an instance can be, the cluster
// is filled first, what does not fit there bursts to the hoster, and what may be replaced comes back.
func TestMixedFleet(t *testing.T) {
	t.Parallel()
	pve := pvetest.New(pvetest.Config{Nodes: []pvetest.Node{{Name: "pve1", CPUs: 4, Memory: 8 << 30}}})
	t.Cleanup(pve.Close)
	pve.AddTemplate("pve1", 9000, "debian", "local", 1<<30)
	cloud := hetznertest.NewCloud(hetznertest.CloudConfig{PerHour: 1_000_000})
	t.Cleanup(cloud.Close)

	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	told := file("berthd.json", fmt.Sprintf(`{
		"listen": "127.0.0.1:0", "data": %q, "poll": "1s", "burst_for": "1s",
		"proxmox": [{"url": %q, "token_file": %q, "ca_file": %q, "nodes": {"pve1": {"zone": "here"}}}],
		"hetzner": [{"token_file": %q, "endpoint": %q, "locations": [
			{"location": "fsn1", "servers": 5, "taints": [{"key": "burst", "effect": "prefer-no-schedule"}]}]}]
	}`, filepath.Join(dir, "data"), pve.URL(), file("pve", pve.Token()+"\n"), file("ca", string(pve.CA())), file("hcloud", cloud.Token()), cloud.Endpoint()))
	c, err := config.Load(config.Sources{Args: []string{"--config", told}, Getenv: func(string) string { return "" }})
	require.NoError(t, err)
	r := serve(t, c)
	r.eventually(func() bool { return len(r.get("/api/v1/hosts").items()) == 2 })
	kinds := make(map[string]bool)
	for _, h := range r.get("/api/v1/hosts").items() {
		kinds[h["id"].(string)] = true
	}
	require.Equal(t, map[string]bool{"proxmox/pve1": true, "hetzner/fsn1": true}, kinds)

	put := func(path string, body object) {
		require.Less(t, r.call(http.MethodPut, "/api/v1/"+path, body).status, 300, path)
	}
	put("projects/shop", object{"quota": object{}})
	put("images/everywhere", object{"user": "debian", "sources": object{"proxmox": "debian", "hetzner": "debian-12"}})
	put("images/hetzner", object{"user": "root", "sources": object{"hetzner": "ubuntu-24.04"}})
	launch := func(name, image string, replaceable bool) string {
		return r.launch(object{"project": "shop", "name": name, "spec": object{
			"image": image, "replaceable": replaceable,
			"resources": object{"cpu": 2000, "memory": int64(4 * pool.GiB)}, "disks": []object{{"size": int64(10 * pool.GiB)}},
		}})
	}
	host := func(id string) any { return r.get("/api/v1/instances/" + id).at("host") }
	there := launch("there", "hetzner", true)
	require.Equal(t, "hetzner/fsn1", host(there), "only one driver has the image")
	first, second := launch("first", "everywhere", false), launch("second", "everywhere", false)
	require.Equal(t, []any{"proxmox/pve1", "proxmox/pve1"}, []any{host(first), host(second)}, "there is room")
	guest := launch("guest", "everywhere", true)
	require.Equal(t, "hetzner/fsn1", host(guest), "the cluster is full")

	r.call(http.MethodDelete, "/api/v1/instances/"+first, nil).want(http.StatusAccepted)
	r.eventually(func() bool { return host(guest) == "proxmox/pve1" })
	r.status(guest, "running")
	time.Sleep(3 * time.Second)
	require.Equal(t, "hetzner/fsn1", host(there), "it cannot be elsewhere")
	require.Empty(t, pve.Problems())
	require.NotContains(t, r.log.String(), pve.Token())
}

// What the file says of clouds and cannot be is said before anything is begun, without a secret.
func TestCloudsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("hush hush"), 0o600))
	for name, tc := range map[string]struct {
		edit func(*config.Config)
		want string
	}{
		"no such file": {func(c *config.Config) {
			c.Hetzner = []config.Hetzner{{TokenFile: filepath.Join(dir, "none"), Locations: locations()}}
		}, "hetzner: open"},
		"a token in words": {func(c *config.Config) { c.Hetzner = []config.Hetzner{{TokenFile: secret, Locations: locations()}} }, "token"},
		"no token at all": {func(c *config.Config) {
			c.Proxmox = []config.Proxmox{{URL: "https://pve.example:8006", TokenFile: secret}}
		}, "token"},
		"plain http": {func(c *config.Config) {
			c.Proxmox = []config.Proxmox{{URL: "http://pve.example:8006", User: "root@pam", Password: secret}}
		}, "https"},
		"a bridge without a name": {func(c *config.Config) {
			c.Libvirt = []config.Libvirt{{URI: "qemu:///system", Name: "a", Networks: map[string]string{"wire": ""}}}
		}, `networks["wire"]`},
		"a ratio of less than nothing": {func(c *config.Config) {
			c.Proxmox = []config.Proxmox{{URL: "https://pve.example:8006", User: "root@pam", Password: secret, Nodes: map[string]config.Place{"a": {CPU: -1}}}}
		}, "cpu"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config.Default()
			c.Data, c.Simulate = t.TempDir(), 1
			tc.edit(&c)
			_, err := daemon.Open(t.Context(), c, daemon.Options{})
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), "hush")
		})
	}
}

func locations() []config.HetznerLocation {
	return []config.HetznerLocation{{Location: "fsn1", Servers: 1}}
}
