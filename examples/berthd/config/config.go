// Package config reads what berthd is told: by flags, by BERTHD_ variables of the environment and by a file,
// in this order of precedence, with a default for everything.
//
// The options stand in one table (options.go), from which the flags, the variables, the keys of the file and
// the help are all made, so that they cannot differ.
package config

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/pool"
)

// Config is what the daemon is to do. Default gives one that is valid but for its drivers: at least one
// simulated host or one libvirt host must be named.
type Config struct {
	Listen  string // host:port; a port of 0 is any free one
	TLSCert string // file of the certificate chain; empty: plain HTTP
	TLSKey  string // file of its key

	Data string // directory of everything that the daemon keeps

	Simulate int           // hosts of the simulated fleet; 0: none
	SimBuild time.Duration // what a simulated create takes
	SimBoot  time.Duration // what a simulated guest takes to boot
	Libvirt  []Libvirt     // real hosts
	ImageDir string        // in which image files for them have to be; empty: anywhere on this machine

	Proxmox   []Proxmox   // clusters
	OpenStack []OpenStack // regions
	Hetzner   []Hetzner   // projects

	Poll    time.Duration // between two observations of a host
	Grace   time.Duration // without observation until a host is unreachable
	Session time.Duration // how long a browser stays signed in

	Preempt    bool                // instances of higher priority may have others give way
	Evacuation berthage.Evacuation // when the instances of a lost host are made anew on others
	BurstFor   time.Duration       // an instance stays where it is for want of room only, at least; 0: for ever
	FenceAfter time.Duration       // a host is unreachable until it is switched off, where its driver can do that

	CostWeight float64       // what a unit of currency per hour takes from a host's score
	LoadWeight float64       // what a measured load of 1 takes from it
	Measure    time.Duration // between two measurements of that load; 0: none

	Worth     bool // placements look at what they make useless
	Lifetimes bool // placements look at how long instances are expected to exist

	Rebalance berthage.Rebalance // moves that would gain something: off, recommended or made

	OIDC []OIDC // where people log in, beside by name and password

	Alerts     time.Duration // between two evaluations of alert rules; 0: none are evaluated
	AlertRules string        // file of rules, of what they may have run, and of whom to tell; empty: the Manager's own rules

	NotifyAllow []netip.Prefix // networks beside the public Internet in which receivers may be
	GuestUser   string         // made on machines that get their owner's registered keys, who has chosen none; empty: the image's
	Proxies     []netip.Prefix // whose word in X-Forwarded-For is taken for where requests come from
	PublicURL   string         // where people reach the dashboard, for links in messages and for passkeys; empty: messages have none
	SecretsKey  string         // file of the keys that seal receivers' secrets; empty: secrets-key, in the data directory, which is made

	Prices string // file of what usage costs, which is put into the ledger; empty: that is left as it is

	AuditKeys    []string      // files of the private keys that sign what the ledger is; none: nothing is signed
	AuditEvery   time.Duration // between two heads that are signed and kept, while the ledger grows; 0: none are but those that are asked for
	AuditHeads   string        // file of these; empty: audit-heads, in the data directory
	AuditForward string        // where the audit log is sent: tcp://HOST:PORT, tls://HOST:PORT or udp://HOST:PORT; empty: nowhere
	AuditFormat  string        // as json or syslog
	AuditCA      string        // file of certificates that the collector's must come from; empty: the system's

	BackupEvery      time.Duration // between two backups of the ledger; 0: none are written
	BackupKeep       int           // how many are kept
	BackupDir        string        // where; empty: backups, in the data directory
	BackupRecipients string        // file of the age recipients that they are encrypted to

	Pool        string        // name of the pool in what is measured; empty: the beginning of the ledger's identity
	History     time.Duration // between two readings that are kept; 0: none are, and nothing can be asked of the past
	HistoryKeep time.Duration // how long
	HistorySize int64         // bytes that they may take on disk; 0: no bound
	Scrape      []Scrape      // whose metrics are kept too

	LogFormat string // text or json
	LogLevel  slog.Level
}

// Default returns the configuration that holds where nothing else is said.
func Default() Config {
	return Config{
		Listen:     "127.0.0.1:8080",
		Data:       defaultData(),
		SimBuild:   300 * time.Millisecond,
		SimBoot:    2 * time.Second,
		Poll:       10 * time.Second,
		Grace:      time.Minute,
		Session:    12 * time.Hour,
		Evacuation: berthage.EvacuateFenced,
		FenceAfter: 4 * time.Minute,
		Alerts:     15 * time.Second,
		BackupKeep: 14,

		AuditEvery:  5 * time.Minute,
		AuditFormat: "json",

		History:     15 * time.Second,
		HistoryKeep: 15 * 24 * time.Hour,
		HistorySize: 4 << 30,

		LogFormat: "text",
		LogLevel:  slog.LevelInfo,
	}
}

// defaultData is the directory for a program's state: $XDG_STATE_HOME or ~/.local/state on Unix, the
// directory for application data elsewhere. Where there is no home it is below the working directory.
func defaultData() string {
	switch runtime.GOOS {
	case "windows", "darwin":
		if dir, err := os.UserConfigDir(); err == nil {
			return filepath.Join(dir, "berthd")
		}
	default:
		if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
			return filepath.Join(dir, "berthd")
		}
		if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
			return filepath.Join(home, ".local", "state", "berthd")
		}
	}
	return "berthd-data"
}

// Check reports what cannot work, whatever the machine is like.
func (c Config) Check() error {
	switch {
	case c.Simulate < 0 || c.Simulate > 20_000:
		return fmt.Errorf("simulate: %d hosts: 0 to 20000 can be simulated", c.Simulate)
	case c.Simulate == 0 && len(c.Libvirt)+len(c.Proxmox)+len(c.OpenStack)+len(c.Hetzner) == 0:
		return fmt.Errorf("no hypervisor is configured: name a host with --libvirt qemu:///system, or clouds in the file, or try it out with --simulate 20")
	case c.Data == "":
		return fmt.Errorf("data: a directory is needed")
	case c.ImageDir != "" && !filepath.IsAbs(c.ImageDir):
		return fmt.Errorf("image-dir: %q: the absolute path of a directory", c.ImageDir)
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return fmt.Errorf("tls-cert and tls-key belong together")
	case c.LogFormat != "text" && c.LogFormat != "json":
		return fmt.Errorf("log-format: %q: text or json", c.LogFormat)
	}
	for name, d := range map[string]time.Duration{"poll": c.Poll, "grace": c.Grace, "session": c.Session, "fence-after": c.FenceAfter} {
		if d < 100*time.Millisecond {
			return fmt.Errorf("%s: %s: at least 100ms", name, d)
		}
	}
	switch c.Evacuation {
	case berthage.EvacuateNever, berthage.EvacuateFenced, berthage.EvacuateAlways:
	default:
		return fmt.Errorf("evacuation: %q: never, fenced or always", string(c.Evacuation))
	}
	for name, w := range map[string]float64{"cost-weight": c.CostWeight, "load-weight": c.LoadWeight} {
		if !(w >= 0) || math.IsInf(w, 0) {
			return fmt.Errorf("%s: %v: zero or more", name, w)
		}
	}
	switch {
	case c.Measure != 0 && c.Measure < time.Second:
		return fmt.Errorf("measure: %s: at least 1s, or 0 for never", c.Measure)
	case c.Alerts != 0 && c.Alerts < time.Second:
		return fmt.Errorf("alerts: %s: at least 1s, or 0 for never", c.Alerts)
	case c.LoadWeight > 0 && c.Measure == 0:
		return fmt.Errorf("load-weight needs measure: how often the load of hosts is looked at, such as 30s")
	}
	switch c.Rebalance.Mode {
	case berthage.RebalanceOff, berthage.RebalanceRecommend, berthage.RebalanceAutomatic:
	default:
		return fmt.Errorf("rebalance: %q: off, recommend or automatic", string(c.Rebalance.Mode))
	}
	if c.Rebalance.Moves < 0 {
		return fmt.Errorf("rebalance-moves: %d: zero or more", c.Rebalance.Moves)
	}
	switch {
	case c.BackupEvery != 0 && c.BackupEvery < time.Minute:
		return fmt.Errorf("backup-every: %s: at least 1m, or 0 for none", c.BackupEvery)
	case c.BackupEvery != 0 && c.BackupRecipients == "":
		return fmt.Errorf("backup-every needs backup-recipients: backups are encrypted; berthd ledger keygen makes a key pair")
	case c.BackupKeep < 1:
		return fmt.Errorf("backup-keep: %d: at least 1", c.BackupKeep)
	}
	switch {
	case c.AuditFormat != "json" && c.AuditFormat != "syslog":
		return fmt.Errorf("audit-format: %q: json or syslog", c.AuditFormat)
	case c.AuditEvery != 0 && c.AuditEvery < time.Second:
		return fmt.Errorf("audit-every: %s: at least 1s, or 0 for none", c.AuditEvery)
	case c.AuditHeads != "" && (len(c.AuditKeys) == 0 || c.AuditEvery == 0):
		return fmt.Errorf("audit-heads needs audit-key, which signs them, and audit-every: how often, such as 5m")
	case c.AuditCA != "" && !strings.HasPrefix(c.AuditForward, "tls://"):
		return fmt.Errorf("audit-ca belongs to audit-forward tls://HOST:PORT")
	}
	switch {
	case c.History != 0 && c.History < time.Second:
		return fmt.Errorf("history: %s: at least 1s, or 0 for none", c.History)
	case c.HistoryKeep < time.Hour:
		return fmt.Errorf("history-keep: %s: at least 1h", c.HistoryKeep)
	case c.HistorySize < 0:
		return fmt.Errorf("history-size: %d: zero or more", c.HistorySize)
	case len(c.Scrape) > 0 && c.History == 0:
		return fmt.Errorf("scrape needs history: how often, such as 15s")
	}
	if c.GuestUser != "" && pool.ValidUser(c.GuestUser) != nil {
		return fmt.Errorf("guest-user: %q: a portable user name of at most 32 bytes, such as ops", c.GuestUser)
	}
	if u, err := url.Parse(c.PublicURL); c.PublicURL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" || u.User != nil) {
		return fmt.Errorf("public-url: %q: an address such as https://berthd.example", c.PublicURL)
	}
	if c.SimBuild < 0 || c.SimBoot < 0 {
		return fmt.Errorf("sim-build and sim-boot: zero or more")
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("listen: %q: an address such as 127.0.0.1:8080", c.Listen)
	}
	if err := checkLibvirt(c.Libvirt); err != nil {
		return err
	}
	if err := c.checkOIDC(); err != nil {
		return err
	}
	return c.checkClouds()
}
