package house_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// place says what a package of the root module may import: packages of the module, and modules from outside.
type place struct {
	ours    []string
	outside map[string]string // module: why
}

// places has every package of the root module, by its path within it. A package with nothing under outside
// gives an importer the standard library and nothing else.
func places() map[string]place {
	why := func(kv ...string) map[string]string {
		out := make(map[string]string)
		for i := 0; i < len(kv); i += 2 {
			out[kv[i]] = kv[i+1]
		}
		return out
	}
	return map[string]place{
		"":               {ours: []string{"alert", "alert/detect", "hypervisor", "internal/alerting", "internal/ring", "notify", "notify/delivery", "pool", "quota", "quota/showback", "scheduler", "scheduler/packing", "scheduler/rebalance", "scheduler/whatif"}},
		"internal/ring":  {ours: []string{"hypervisor", "pool", "quota", "scheduler", "scheduler/lifetime", "scheduler/rebalance"}},
		"scheduler":      {ours: []string{"pool"}},
		"quota":          {ours: []string{"pool"}},
		"quota/showback": {ours: []string{"pool"}},
		"hypervisor":     {ours: []string{"pool"}},
		"pool":           {},
		"alert":          {ours: []string{"alert/detect"}},
		"alert/detect":   {},
		"auth/audit":     {ours: []string{"pool"}},

		"internal/alerting": {ours: []string{"alert", "notify", "pool"}},
		"auth":              {ours: []string{"pool"}},
		"auth/totp":         {ours: []string{"pool"}},
		"auth/password": {
			ours: []string{"pool"},
			outside: why(
				"golang.org/x/crypto", "argon2id, and bcrypt for what comes from elsewhere",
				"golang.org/x/sys", "of x/crypto: what the processor can"),
		},
		"auth/login": {
			ours: []string{"auth", "auth/password", "auth/totp", "pool"},
			outside: why(
				"golang.org/x/crypto", "of auth/password",
				"golang.org/x/sys", "of auth/password"),
		},
		"auth/session": {
			ours:    []string{"auth", "pool"},
			outside: why("github.com/golang-jwt/jwt/v5", "signs and verifies access tokens"),
		},
		"auth/sshkey": {
			ours:    []string{"pool"},
			outside: why("golang.org/x/crypto", "reads SSH keys of all kinds"),
		},

		"scheduler/packing":  {ours: []string{"pool"}},
		"scheduler/lifetime": {ours: []string{"pool", "scheduler"}},

		"hypervisor/fencing": {ours: []string{"hypervisor", "pool"}},

		"hypervisor/fake": {ours: []string{"hypervisor", "pool"}},
		"hypervisor/libvirt": {
			ours: []string{"hypervisor", "internal/cloudinit", "internal/inturn", "pool"},
			outside: why(
				"github.com/digitalocean/go-libvirt", "speaks libvirt's protocol without cgo",
				"golang.org/x/crypto", "of go-libvirt, and ssh to remote hosts",
				"github.com/kdomanski/iso9660", "of internal/cloudinit"),
		},
		"hypervisor/hetzner": {
			ours: []string{"hypervisor", "internal/cloudinit", "internal/inturn", "pool"},
			outside: why(
				"github.com/hetznercloud/hcloud-go/v2", "the vendor's client of the Cloud API",
				"github.com/prometheus/client_golang", "of hcloud-go, with all below",
				"github.com/prometheus/client_model", "of hcloud-go",
				"github.com/prometheus/common", "of hcloud-go",
				"github.com/prometheus/procfs", "of hcloud-go",
				"github.com/beorn7/perks", "of hcloud-go",
				"github.com/cespare/xxhash/v2", "of hcloud-go",
				"github.com/munnerz/goautoneg", "of hcloud-go",
				"golang.org/x/net", "of hcloud-go",
				"golang.org/x/sys", "of hcloud-go",
				"golang.org/x/text", "of hcloud-go",
				"google.golang.org/protobuf", "of hcloud-go",
				"github.com/kdomanski/iso9660", "of internal/cloudinit"),
		},
		"hypervisor/hetzner/robot":       {ours: []string{"hypervisor", "pool"}},
		"hypervisor/hetzner/hetznertest": {},
		"hypervisor/openstack": {
			ours: []string{"hypervisor", "internal/cloudinit", "pool"},
			outside: why(
				"github.com/gophercloud/gophercloud/v2", "logs in to OpenStack, renews tokens, finds services, reads clouds.yaml",
				"gopkg.in/yaml.v2", "of gophercloud, which reads clouds.yaml with it",
				"github.com/kdomanski/iso9660", "of internal/cloudinit"),
		},
		"hypervisor/hypervisormock": {
			ours:    []string{"hypervisor", "pool"},
			outside: why("go.uber.org/mock", "what the generated mock is written for"),
		},
		"hypervisor/hypervisortest": {ours: []string{"hypervisor", "pool"}},
		"hypervisor/proxmox": {
			ours: []string{"hypervisor", "internal/cloudinit", "internal/inturn", "pool"},
			outside: why(
				"github.com/luthermonson/go-proxmox", "the client library of the API",
				"github.com/buger/goterm", "of go-proxmox, for terminals; not used by the driver",
				"github.com/diskfs/go-diskfs", "of go-proxmox, for images; not used by the driver",
				"github.com/djherbis/times", "of go-diskfs",
				"github.com/gorilla/websocket", "of go-proxmox; not used by the driver",
				"github.com/jinzhu/copier", "of go-proxmox",
				"golang.org/x/sys", "of go-diskfs",
				"github.com/kdomanski/iso9660", "of internal/cloudinit"),
		},
		"hypervisor/proxmox/pvetest": {},

		"scheduler/rebalance": {ours: []string{"pool", "scheduler"}},
		"scheduler/whatif":    {ours: []string{"pool", "scheduler", "scheduler/packing"}},

		"pool/sqlledger":  {ours: []string{"pool"}},
		"pool/ledgertest": {ours: []string{"pool"}},
		"pool/ledgerfile": {ours: []string{"pool"}},

		"notify":            {ours: []string{"pool"}},
		"notify/delivery":   {ours: []string{"notify", "pool"}},
		"notify/notifytest": {ours: []string{"notify"}},
		"notify/twilio":     {ours: []string{"notify"}},
		"notify/jira":       {ours: []string{"notify"}},
		"notify/teams":      {ours: []string{"notify"}},
		"notify/discord":    {ours: []string{"notify"}},
		"notify/telegram":   {ours: []string{"notify"}},
		"notify/slack":      {ours: []string{"notify"}},
		"notify/pagerduty":  {ours: []string{"notify"}},
		"notify/webhook":    {ours: []string{"notify"}},
		"notify/email": {
			ours: []string{"notify"},
			outside: why(
				"github.com/wneessen/go-mail", "speaks SMTP, STARTTLS and SCRAM, which net/smtp does not, and writes mails",
				"golang.org/x/crypto", "of go-mail",
				"golang.org/x/text", "of go-mail"),
		},

		"internal/inturn": {},

		"internal/cloudinit": {
			ours:    []string{"pool"},
			outside: why("github.com/kdomanski/iso9660", "writes the image that a guest reads its first-boot data from"),
		},
		"internal/history":         {ours: []string{"pool"}},
		"internal/house":           {},
		"internal/house/tally":     {},
		"internal/house/vulncheck": {},
		"internal/openapi":         {},
		"internal/mutants":         {ours: []string{"internal/overlay"}},
		"internal/overlay":         {},
		"internal/overlay/exact":   {ours: []string{"internal/overlay"}},
		"internal/peerbench":       {ours: []string{"internal/ring", "pool", "scheduler"}},
		"internal/simulation":      {},
	}
}

// Every package of the root module stands in the table, imports only those of its row, and brings in no
// module from outside that its row does not name, on any system and through any other package.
func TestWhoImportsWhom(t *testing.T) {
	t.Parallel()
	want := places()
	seen, outside := make(map[string]bool), make(map[string]map[string]bool)
	for _, goos := range systems() {
		pkgs := list(t, ".", goos, "-deps", "./...")
		byPath := make(map[string]pkg, len(pkgs))
		for _, p := range pkgs {
			byPath[p.ImportPath] = p
		}
		for _, p := range pkgs {
			name, ours := inside(p.ImportPath)
			if p.DepOnly || !ours {
				continue
			}
			seen[name] = true
			row, ok := want[name]
			if !ok {
				t.Errorf("%s has no row in places: say what it may import, and why", p.ImportPath)
				continue
			}
			for _, i := range p.Imports {
				if i, ours := inside(i); ours && !slices.Contains(row.ours, i) {
					t.Errorf("%s imports %s, which its row in places does not allow", p.ImportPath, i)
				}
			}
			if outside[name] == nil {
				outside[name] = make(map[string]bool)
			}
			for _, d := range p.Deps {
				m := byPath[d].Module
				if byPath[d].Standard || m == nil || m.Path == module {
					continue
				}
				outside[name][m.Path] = true
				if row.outside[m.Path] == "" {
					t.Errorf("for %s %s brings in %s of module %s, which its row in places does not allow", goos, p.ImportPath, d, m.Path)
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !seen[name] {
			t.Errorf("places has a row for %q, which is no package", name)
		}
		for m := range want[name].outside {
			if seen[name] && !outside[name][m] {
				t.Errorf("places allows %q the module %s, which it does not need", name, m)
			}
		}
	}
}

// The examples are what an importer could write: they use nothing that importers cannot.
func TestExamplesImportNothingInternal(t *testing.T) {
	t.Parallel()
	pkgs := list(t, "examples", "linux", "./...")
	require.NotEmpty(t, pkgs)
	for _, p := range pkgs {
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if i, ours := inside(i); ours && !strings.HasPrefix(i, "examples/") && strings.Contains("/"+i+"/", "/internal/") {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
		}
	}
}

// Nothing imports the root package but programs and tests, and nothing imports a program.
func TestNothingImportsTheRoot(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, ".", "linux", "./...") {
		for _, i := range p.Imports {
			require.NotEqual(t, module, i, p.ImportPath)
			require.NotContains(t, i, module+"/examples", p.ImportPath)
			require.NotContains(t, i, module+"/internal/integration", p.ImportPath)
		}
	}
}
