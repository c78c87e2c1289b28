package config_test

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/examples/berthd/config"
)

func load(t *testing.T, file string, env map[string]string, args ...string) (config.Config, error) {
	t.Helper()
	if file != "" {
		name := filepath.Join(t.TempDir(), "berthd.json")
		require.NoError(t, os.WriteFile(name, []byte(file), 0o600))
		args = append([]string{"--config", name}, args...)
	}
	return config.Load(config.Sources{Args: args, Getenv: func(k string) string { return env[k] }})
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	const file = `{"listen": "127.0.0.1:1", "simulate": 7, "poll": "3s", "log_level": "warn", "evacuation": "never", "fence_after": "90s",
		"libvirt": [{"uri": "qemu:///system", "name": "kvm-1", "zone": "a", "pools": {"default": "ssd"}}]}`
	env := map[string]string{"BERTHD_LISTEN": "127.0.0.1:2", "BERTHD_POLL": "4s"}

	c, err := load(t, file, env, "--listen", "127.0.0.1:3")
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:3", c.Listen, "the flag wins")
	require.Equal(t, 4*time.Second, c.Poll, "the variable wins over the file")
	require.Equal(t, 7, c.Simulate, "the file wins over the default")
	require.Equal(t, slog.LevelWarn, c.LogLevel)
	require.Equal(t, berthage.EvacuateNever, c.Evacuation)
	require.Equal(t, 90*time.Second, c.FenceAfter)
	require.Equal(t, time.Minute, c.Grace, "the default holds")
	require.Equal(t, "kvm-1", c.Libvirt[0].Name)

	c, err = load(t, `{"rebalance": "automatic", "rebalance_moves": 30}`, nil, "--simulate", "1", "--rebalance-hours", "22:00-04:30")
	require.NoError(t, err)
	require.Equal(t, berthage.Rebalance{Mode: berthage.RebalanceAutomatic, Moves: 30, From: 22 * time.Hour, To: 4*time.Hour + 30*time.Minute}, c.Rebalance)
	c, err = load(t, `{"rebalance": "automatic"}`, nil, "--simulate", "1", "--rebalance", "off")
	require.NoError(t, err)
	require.Equal(t, berthage.RebalanceOff, c.Rebalance.Mode)

	c, err = load(t, `{"notify_allow": "10.1.2.3/24, 192.168.7.1,fd00::/8", "trusted_proxies": "10.9.0.1"}`, map[string]string{"BERTHD_SECRETS_KEY": "/run/keys"}, "--simulate", "1")
	require.NoError(t, err)
	require.Equal(t, "[10.1.2.0/24 192.168.7.1/32 fd00::/8]", fmt.Sprint(c.NotifyAllow))
	require.Equal(t, "[10.9.0.1/32]", fmt.Sprint(c.Proxies))
	require.Equal(t, "/run/keys", c.SecretsKey)

	c, err = load(t, `{"public_url": "https://berthd.example/", "oidc": [{"name": "corp", "issuer": "https://id.example", "client_id": "berthd", "allow": ["10.1.0.0/16"], "new": "nobody"}]}`, nil, "--simulate", "1")
	require.NoError(t, err)
	require.Equal(t, []config.OIDC{{Name: "corp", Issuer: "https://id.example", ClientID: "berthd", New: "nobody", Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}}, c.OIDC)

	c, err = load(t, file, nil, "--libvirt", "qemu+ssh://root@h2/system", "--libvirt", "qemu:///system")
	require.NoError(t, err)
	require.Len(t, c.Libvirt, 2, "flags replace the list")
	require.Equal(t, config.Libvirt{URI: "qemu+ssh://root@h2/system"}, c.Libvirt[0])
	require.Equal(t, "ssd", c.Libvirt[1].Pools["default"], "what the file says of the same URI is kept")

	c, err = load(t, "", map[string]string{"BERTHD_LIBVIRT": "qemu:///session  qemu:///system"})
	require.NoError(t, err)
	require.Len(t, c.Libvirt, 2)
	require.Equal(t, berthage.EvacuateFenced, c.Evacuation)
	require.NotEqual(t, c.Libvirt[0].HostName(), c.Libvirt[1].HostName())
}

// What the documentation shows of providers is what the file takes.
func TestTheDocumentedProviders(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../../docs/oidc.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(b), "```json\n")
	require.True(t, ok)
	file, _, _ := strings.Cut(rest, "```")
	c, err := load(t, file, nil, "--simulate", "1")
	require.NoError(t, err)
	require.Equal(t, []config.OIDC{{
		Name: "corp", Label: "Corp", Issuer: "https://id.example/realms/corp", ClientID: "berthd", SecretFile: "/etc/berthd/corp-secret", Scopes: []string{"profile", "email", "groups"},
		GroupsClaim: "groups", New: "bound", Allow: []netip.Prefix{netip.MustParsePrefix("10.7.0.0/16")}, CAFile: "/etc/berthd/corp-ca.pem",
	}}, c.OIDC)
	var help bytes.Buffer
	config.Usage(&help)
	require.Contains(t, help.String(), `"oidc": [`)
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		file string
		env  map[string]string
		args []string
		want string
	}{
		"no hypervisor":       {want: "--simulate"},
		"unknown flag":        {args: []string{"--simulat", "3"}, want: "simulat"},
		"stray word":          {args: []string{"--simulate", "3", "serv"}, want: `"serv"`},
		"not a number":        {args: []string{"--simulate", "many"}, want: "many"},
		"too many":            {args: []string{"--simulate", "100000"}, want: "20000"},
		"negative":            {args: []string{"--simulate=-1"}, want: "-1"},
		"bad variable":        {env: map[string]string{"BERTHD_POLL": "soon"}, want: "BERTHD_POLL"},
		"bad address":         {args: []string{"--simulate", "1", "--listen", "nowhere"}, want: "listen"},
		"bad level":           {args: []string{"--simulate", "1", "--log-level", "loud"}, want: `"loud": debug, info, warn or error`},
		"bad format":          {args: []string{"--simulate", "1", "--log-format", "xml"}, want: "text or json"},
		"half of TLS":         {args: []string{"--simulate", "1", "--tls-cert", "c.pem"}, want: "tls-key"},
		"bad evacuation":      {args: []string{"--simulate", "1", "--evacuation", "sometimes"}, want: `"sometimes": never, fenced or always`},
		"no evacuation":       {args: []string{"--simulate", "1", "--evacuation", ""}, want: "never, fenced or always"},
		"rebalance at times":  {args: []string{"--simulate", "1", "--rebalance", "sometimes"}, want: `"sometimes": off, recommend or automatic`},
		"negative moves":      {args: []string{"--simulate", "1", "--rebalance-moves=-1"}, want: "rebalance-moves"},
		"hours of no day":     {args: []string{"--simulate", "1", "--rebalance-hours", "22:00-24:30"}, want: "two times such as 22:00-04:00"},
		"fencing at once":     {args: []string{"--simulate", "1", "--fence-after", "0s"}, want: "fence-after"},
		"too short":           {args: []string{"--simulate", "1", "--poll", "1ms"}, want: "poll"},
		"no such file":        {args: []string{"--config", "does-not-exist.json"}, want: "does-not-exist.json"},
		"file is no object":   {file: `[1]`, want: "JSON object"},
		"file with a typo":    {file: `{"simulat": 3}`, want: `"simulat"`},
		"file of nothing":     {file: `null`, want: "JSON object"},
		"file cut short":      {file: `{"simulate": 3`, want: "at byte 14"},
		"list for a text":     {file: `{"simulate": 3, "data": ["x"]}`, want: "data: a string or a number"},
		"null for a text":     {file: `{"simulate": 3, "listen": null}`, want: "listen: a string or a number"},
		"number without unit": {file: `{"simulate": 3, "poll": 5}`, want: `poll: "5": a duration such as 10s`},
		"fraction of a host":  {file: `{"simulate": 1.5}`, want: `simulate: "1.5": a whole number`},
		"libvirt as a text":   {file: `{"libvirt": "qemu:///system"}`, want: "libvirt: a list of objects"},
		"libvirt with a list": {file: `{"libvirt": [{"uri": []}]}`, want: "uri: a value of another type"},
		"libvirt with a typo": {file: `{"libvirt": [{"url": "qemu:///system"}]}`, want: "url"},
		"libvirt without uri": {file: `{"libvirt": [{"name": "x"}]}`, want: "libvirt[0].uri"},
		"libvirt twice":       {file: `{"libvirt": [{"uri": "a", "name": "x"}, {"uri": "b", "name": "x"}]}`, want: `"x"`},
		"shared, no pool":     {file: `{"libvirt": [{"uri": "a", "shared": ["nfs"]}]}`, want: `libvirt[0].shared: "nfs"`},
		"fence by a word":     {file: `{"libvirt": [{"uri": "a", "fence": ["ipmitool"]}]}`, want: `libvirt[0].fence: "ipmitool": the absolute path`},
		"proxmox without url": {file: `{"proxmox": [{"token_file": "t"}]}`, want: "proxmox[0].url"},
		"proxmox by nobody":   {file: `{"proxmox": [{"url": "https://a:8006"}]}`, want: "proxmox[0]: either token_file, or user and password_file"},
		"proxmox, half":       {file: `{"proxmox": [{"url": "https://a:8006", "user": "root@pam"}]}`, want: "belong together"},
		"proxmox twice":       {file: `{"proxmox": [{"url": "a", "token_file": "t"}, {"url": "b", "token_file": "t"}]}`, want: "that of proxmox[0]"},
		"proxmox by a fence":  {file: `{"proxmox": [{"url": "a", "token_file": "t", "nodes": {"n": {"fence": ["ipmi"]}}}]}`, want: `nodes["n"]: fence: "ipmi"`},
		"proxmox with a typo": {file: `{"proxmox": [{"uri": "a"}]}`, want: "uri"},
		"a cloud named sim":   {file: `{"openstack": [{"name": "sim"}]}`, want: "that of the simulated fleet"},
		"a cost below 0":      {file: `{"openstack": [{"hosts": {"r": {"cost": -1}}}]}`, want: `openstack[0].hosts["r"]: cost`},
		"hetzner, no token":   {file: `{"hetzner": [{}]}`, want: "hetzner[0].token_file"},
		"hetzner nowhere":     {file: `{"hetzner": [{"token_file": "t"}]}`, want: "hetzner[0].locations"},
		"hetzner unbounded":   {file: `{"hetzner": [{"token_file": "t", "locations": [{"location": "fsn1"}]}]}`, want: "how many servers"},
		"hetzner by a fence":  {file: `{"hetzner": [{"token_file": "t", "locations": [{"location": "fsn1", "servers": 1, "fence": ["/bin/true"]}]}]}`, want: "no server that could be switched off"},
		"hetzner as a text":   {file: `{"hetzner": "token"}`, want: "hetzner: a list of objects"},
		"oidc, no name":       {file: `{"simulate": 1, "oidc": [{}]}`, want: "oidc[0].name"},
		"oidc, no issuer":     {file: `{"simulate": 1, "oidc": [{"name": "corp"}]}`, want: "oidc[0].issuer"},
		"oidc, no client":     {file: `{"simulate": 1, "oidc": [{"name": "corp", "issuer": "https://id.example"}]}`, want: "oidc[0].client_id"},
		"oidc twice":          {file: `{"simulate": 1, "oidc": [{"name": "corp", "issuer": "https://id.example", "client_id": "berthd"}, {"name": "corp", "issuer": "https://id.example", "client_id": "berthd"}]}`, want: `oidc[1].name: "corp"`},
		"oidc for some":       {file: `{"simulate": 1, "oidc": [{"name": "corp", "issuer": "https://id.example", "client_id": "berthd", "new": "some"}]}`, want: `oidc[0].new: "some": bound, anybody or nobody`},
		"oidc from nowhere":   {file: `{"simulate": 1, "oidc": [{"name": "corp", "issuer": "https://id.example", "client_id": "berthd", "allow": ["intranet"]}]}`, want: "oidc: "},
		"oidc with a secret":  {file: `{"simulate": 1, "oidc": [{"name": "corp", "issuer": "https://id.example", "client_id": "berthd", "client_secret": "x"}]}`, want: "client_secret"},
		"oidc to nowhere":     {file: `{"simulate": 1, "oidc": [{"name": "corp", "issuer": "https://id.example", "client_id": "berthd"}]}`, want: "oidc needs public-url"},
		"oidc below a path":   {file: `{"simulate": 1, "public_url": "https://a.example/b", "oidc": [{"name": "corp", "issuer": "https://id.example", "client_id": "berthd"}]}`, want: "public-url: \"https://a.example/b\": with oidc an address without a path"},
		"no network":          {args: []string{"--simulate", "1", "--notify-allow", "10.1.2.0/24,intranet"}, want: "notify-allow"},
		"audit as XML":        {args: []string{"--simulate", "1", "--audit-format", "xml"}, want: "audit-format"},
		"heads, too often":    {args: []string{"--simulate", "1", "--audit-every", "1ms"}, want: "audit-every"},
		"heads, no key":       {args: []string{"--simulate", "1", "--audit-heads", "heads"}, want: "audit-heads"},
		"heads, never":        {args: []string{"--simulate", "1", "--audit-heads", "heads", "--audit-key", "k", "--audit-every", "0"}, want: "audit-heads"},
		"audit CA, no TLS":    {args: []string{"--simulate", "1", "--audit-forward", "tcp://192.0.2.1:601", "--audit-ca", "ca.pem"}, want: "audit-ca"},
		"no address":          {args: []string{"--simulate", "1", "--public-url", "berthd.example"}, want: "public-url"},
		"no user name":        {args: []string{"--simulate", "1", "--guest-user", "a:b"}, want: "guest-user"},
		"no proxy":            {args: []string{"--simulate", "1", "--trusted-proxies", "proxy"}, want: "trusted-proxies"},
		"a zone":              {args: []string{"--simulate", "1", "--notify-allow", "fe80::1%eth0"}, want: "notify-allow"},
		"a weight below 0":    {file: `{"simulate": 1, "cost_weight": -1}`, want: "cost-weight: -1: zero or more"},
		"a weight in words":   {file: `{"simulate": 1, "load_weight": "much"}`, want: "load_weight: \"much\": a number"},
		"no number":           {file: `{"simulate": 1, "cost_weight": "NaN"}`, want: "cost-weight: NaN"},
		"a load not measured": {file: `{"simulate": 1, "load_weight": 1}`, want: "load-weight needs measure"},
		"measured all along":  {file: `{"simulate": 1, "measure": "1ms"}`, want: "measure: 1ms: at least 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tc.file, tc.env, tc.args...)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestHelpNamesEveryOption(t *testing.T) {
	t.Parallel()
	_, err := load(t, "", nil, "--help")
	require.ErrorIs(t, err, flag.ErrHelp)

	var b bytes.Buffer
	config.Usage(&b)
	for _, name := range []string{"config", "listen", "data", "simulate", "libvirt", "poll", "grace", "evacuation", "fence-after", "cost-weight", "load-weight", "lifetimes", "measure", "rebalance", "rebalance-moves", "rebalance-hours", "session", "tls-cert", "tls-key", "log-format", "log-level"} {
		require.Contains(t, b.String(), "--"+name+" ")
	}
	require.Contains(t, b.String(), "BERTHD_TLS_CERT")
	require.Contains(t, b.String(), "(default 127.0.0.1:8080)")
}

func FuzzFile(f *testing.F) {
	for _, s := range []string{`{}`, `{"listen": 1}`, `{"libvirt": [{"uri": "a"}]}`, `{"simulate": "\u0031"}`, `{"poll": null}`, "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "f.json")
		require.NoError(t, os.WriteFile(name, b, 0o600))
		c, err := config.Load(config.Sources{Args: []string{"--config", name}, Getenv: func(string) string { return "" }})
		if err == nil {
			require.NoError(t, c.Check())
		}
	})
}

// What is kept of the past, and whose metrics.
func TestHistory(t *testing.T) {
	t.Parallel()
	c, err := load(t, `{"simulate": 1, "history": "30s", "history_keep": "48h", "history_size": "512MiB", "pool": "lab",
		"scrape": [{"url": "http://192.0.2.1:9100/metrics", "job": "node", "labels": {"host": "sim/a"}, "interval": "1m", "timeout": "5s", "token_file": "t", "ca_file": "c"}]}`, nil)
	require.NoError(t, err)
	require.Equal(t, 30*time.Second, c.History)
	require.Equal(t, 48*time.Hour, c.HistoryKeep)
	require.EqualValues(t, 512<<20, c.HistorySize)
	require.Equal(t, "lab", c.Pool)
	require.Equal(t, []config.Scrape{{
		URL: "http://192.0.2.1:9100/metrics", Job: "node", Labels: map[string]string{"host": "sim/a"},
		Interval: config.Duration(time.Minute), Timeout: config.Duration(5 * time.Second), TokenFile: "t", CAFile: "c",
	}}, c.Scrape)
	for value, bytes := range map[string]int64{"0": 0, "1000": 1000, "3KiB": 3 << 10, "2GiB": 2 << 30, "1 TiB": 1 << 40} {
		c, err := load(t, "", nil, "--simulate", "1", "--history-size", value)
		require.NoError(t, err, value)
		require.Equal(t, bytes, c.HistorySize, value)
	}
	for _, args := range [][]string{
		{"--history-size", "-1"}, {"--history-size", "4GB"}, {"--history-size", "GiB"}, {"--history-size", "9000000000GiB"},
		{"--history", "10ms"}, {"--history", "-1s"}, {"--history-keep", "1m"},
	} {
		_, err := load(t, "", nil, append([]string{"--simulate", "1"}, args...)...)
		require.ErrorContains(t, err, args[0][2:], "%v", args)
	}
	for file, says := range map[string]string{
		`{"simulate": 1, "history": "0s", "scrape": [{"url": "http://x/"}]}`:        "scrape needs history",
		`{"simulate": 1, "scrape": [{"url": "http://x/", "interval": "often"}]}`:    "often",
		`{"simulate": 1, "scrape": [{"url": "http://x/", "password": "in clear"}]}`: "password",
	} {
		_, err := load(t, file, nil)
		require.ErrorContains(t, err, says)
	}
}
