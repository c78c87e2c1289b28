package config

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage"
)

// option is one thing that can be said. Its name is that of the flag; the variable and the key of the file
// follow from it.
type option struct {
	name  string
	value string // what a value looks like
	usage string
	many  bool // may be given several times
	set   func(*Config, string) error
	show  func(Config) string // of the default; nil: nothing to show
}

func (o option) env() string {
	return "BERTHD_" + strings.ToUpper(strings.ReplaceAll(o.name, "-", "_"))
}
func (o option) key() string { return strings.ReplaceAll(o.name, "-", "_") }

// options returns the table.
func options() []option {
	return []option{
		text("listen", "ADDRESS", "where to listen; if the port is in use, the next free one is taken", func(c *Config) *string { return &c.Listen }),
		text("data", "DIR", "directory of everything that the daemon keeps", func(c *Config) *string { return &c.Data }),
		{
			name: "simulate", value: "N", usage: "hosts of a simulated fleet, whose machines are kept in a file of its own",
			set: func(c *Config, s string) (err error) {
				if c.Simulate, err = strconv.Atoi(s); err != nil {
					err = fmt.Errorf("%q: a whole number", s)
				}
				return err
			},
			show: func(c Config) string { return strconv.Itoa(c.Simulate) },
		},
		span("sim-build", "what a simulated create takes", func(c *Config) *time.Duration { return &c.SimBuild }),
		span("sim-boot", "what a simulated guest takes to boot", func(c *Config) *time.Duration { return &c.SimBoot }),
		{
			name: "libvirt", value: "URI", usage: "a libvirt host; the file can say more about it", many: true,
			set: func(c *Config, s string) error {
				c.Libvirt = append(c.Libvirt, Libvirt{URI: s})
				return nil
			},
		},
		text("image-dir", "DIR", "directory in which image files for libvirt hosts have to be; without it, whoever may change images can name any file that the daemon can read", func(c *Config) *string { return &c.ImageDir }),
		span("poll", "time between two observations of a host", func(c *Config) *time.Duration { return &c.Poll }),
		span("grace", "time without observation until a host counts as unreachable", func(c *Config) *time.Duration { return &c.Grace }),
		yes("preempt", "whether instances that wait may have others of lower priority give way that are preemptible", func(c *Config) *bool { return &c.Preempt }),
		{
			name: "evacuation", value: "POLICY", usage: "when instances of a lost host are made anew of their images on others: never, fenced (it is proved that the host is off) or always (two may run)",
			set:  func(c *Config, s string) error { c.Evacuation = berthage.Evacuation(s); return nil },
			show: func(c Config) string { return string(c.Evacuation) },
		},
		span("fence-after", "how long a host is unreachable until it is switched off, where its driver can do that", func(c *Config) *time.Duration { return &c.FenceAfter }),
		amount("cost-weight", "how much a host's price per hour counts when an instance is placed: what a unit of currency takes from a score that ranges over 2; 0: not at all", func(c *Config) *float64 { return &c.CostWeight }),
		amount("load-weight", "how much a host's measured load counts: what one takes of which all cores are busy; 0: not at all", func(c *Config) *float64 { return &c.LoadWeight }),
		span("burst-for", "time after its launch from which on an instance is brought back from a host with a taint prefer-no-schedule, onto which it came for want of room: moved, or made anew if it is replaceable; 0 for never", func(c *Config) *time.Duration { return &c.BurstFor }),
		yes("worth", "whether placements count what they make useless on a host, by what the pool's instances are like; for pools of many hosts", func(c *Config) *bool { return &c.Worth }),
		yes("lifetimes", "whether placements look at how long instances are expected to exist, by their hints or what is learnt, so that hosts become empty as a whole", func(c *Config) *bool { return &c.Lifetimes }),
		span("measure", "time between two looks at how busy hosts are, for load-weight; 0 for never", func(c *Config) *time.Duration { return &c.Measure }),
		span("alerts", "time between two evaluations of alert rules; 0 for never", func(c *Config) *time.Duration { return &c.Alerts }),
		text("alert-rules", "FILE", "alert rules in YAML, what is not told while something else fires, commands that rules may have run, and receivers and routes for a ledger without any", func(c *Config) *string { return &c.AlertRules }),
		networks("notify-allow", "networks or addresses in which receivers of messages may be, beside the public Internet, such as 10.1.2.0/24", func(c *Config) *[]netip.Prefix { return &c.NotifyAllow }),
		text("guest-user", "NAME", "user that is made on machines with registered keys for those who have not chosen one; without it, the image's", func(c *Config) *string { return &c.GuestUser }),
		networks("trusted-proxies", "networks or addresses of proxies before the daemon, whose X-Forwarded-For says where a request comes from; without it, the connection does", func(c *Config) *[]netip.Prefix { return &c.Proxies }),
		text("public-url", "URL", "where people reach the dashboard, for links in messages, which have none without it, and for passkeys", func(c *Config) *string { return &c.PublicURL }),
		text("secrets-key", "FILE", "keys that seal the secrets of receivers, one in each line, the one that seals first; for several daemons on one database; without it, secrets-key in the data directory", func(c *Config) *string { return &c.SecretsKey }),
		{
			name: "rebalance", value: "MODE", usage: "moves that empty hosts: off, recommend (they are planned and shown) or automatic (and made)",
			set: func(c *Config, s string) error {
				if c.Rebalance.Mode = berthage.RebalanceMode(s); s == "off" {
					c.Rebalance.Mode = berthage.RebalanceOff
				}
				return nil
			},
			show: func(c Config) string {
				if c.Rebalance.Mode == berthage.RebalanceOff {
					return "off"
				}
				return string(c.Rebalance.Mode)
			},
		},
		{
			name: "rebalance-moves", value: "N", usage: "automatic moves in any hour; 0 for no bound",
			set: func(c *Config, s string) (err error) {
				if c.Rebalance.Moves, err = strconv.Atoi(s); err != nil {
					err = fmt.Errorf("%q: a whole number", s)
				}
				return err
			},
			show: func(c Config) string { return strconv.Itoa(c.Rebalance.Moves) },
		},
		{
			name: "rebalance-hours", value: "FROM-TO", usage: "times of the day in UTC between which automatic moves begin, such as 22:00-04:00; without it, always",
			set: func(c *Config, s string) error {
				from, to, _ := strings.Cut(s, "-")
				for _, x := range []struct {
					text string
					at   *time.Duration
				}{{from, &c.Rebalance.From}, {to, &c.Rebalance.To}} {
					t, err := time.Parse("15:04", x.text)
					if err != nil {
						return fmt.Errorf("%q: two times such as 22:00-04:00", s)
					}
					*x.at = time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
				}
				return nil
			},
		},
		span("session", "how long a browser stays signed in", func(c *Config) *time.Duration { return &c.Session }),
		text("tls-cert", "FILE", "certificate chain in PEM; without it, plain HTTP is served", func(c *Config) *string { return &c.TLSCert }),
		text("tls-key", "FILE", "key of the certificate in PEM", func(c *Config) *string { return &c.TLSKey }),
		text("prices", "FILE", "what a core, a GiB or an instance of a flavor costs an hour, in YAML, for limits of cost and for what projects are shown to have used; it stays until another file is given", func(c *Config) *string { return &c.Prices }),
		{
			name: "audit-key", value: "FILE", usage: "a private key that signs what the ledger is, as berthd audit key makes it", many: true,
			set: func(c *Config, s string) error { c.AuditKeys = append(c.AuditKeys, s); return nil },
		},
		span("audit-every", "time between two heads of the ledger that are signed with audit-key, while it grows; 0 for none", func(c *Config) *time.Duration { return &c.AuditEvery }),
		text("audit-heads", "FILE", "where these are kept; without it, audit-heads in the data directory", func(c *Config) *string { return &c.AuditHeads }),
		text("audit-forward", "ADDRESS", "where the audit log is sent: tcp://HOST:PORT, tls://HOST:PORT or udp://HOST:PORT", func(c *Config) *string { return &c.AuditForward }),
		text("audit-format", "FORMAT", "how: json or syslog", func(c *Config) *string { return &c.AuditFormat }),
		text("audit-ca", "FILE", "certificates that the one of audit-forward's tls:// must come from; without it, the system's", func(c *Config) *string { return &c.AuditCA }),
		span("backup-every", "time between two backups of the ledger; 0 for none", func(c *Config) *time.Duration { return &c.BackupEvery }),
		{
			name: "backup-keep", value: "N", usage: "how many backups are kept",
			set: func(c *Config, s string) (err error) {
				if c.BackupKeep, err = strconv.Atoi(s); err != nil {
					err = fmt.Errorf("%q: a whole number", s)
				}
				return err
			},
			show: func(c Config) string { return strconv.Itoa(c.BackupKeep) },
		},
		text("backup-dir", "DIR", "where backups are written; without it, backups in the data directory", func(c *Config) *string { return &c.BackupDir }),
		text("backup-recipients", "FILE", "the age recipients that backups are encrypted to, one per line", func(c *Config) *string { return &c.BackupRecipients }),
		text("pool", "NAME", "name of the pool, in the label of this name of all that is measured; without it, the beginning of the ledger's identity", func(c *Config) *string { return &c.Pool }),
		span("history", "time between two readings of how busy hosts and instances are, which are kept for charts, rules and Grafana; 0 for none", func(c *Config) *time.Duration { return &c.History }),
		span("history-keep", "how long readings are kept", func(c *Config) *time.Duration { return &c.HistoryKeep }),
		size("history-size", "how much they may take on disk, such as 4GiB; then the oldest go first; 0 for no bound", func(c *Config) *int64 { return &c.HistorySize }),
		text("log-format", "FORMAT", "text or json", func(c *Config) *string { return &c.LogFormat }),
		{
			name: "log-level", value: "LEVEL", usage: "debug, info, warn or error",
			set: func(c *Config, s string) error {
				if c.LogLevel.UnmarshalText([]byte(s)) != nil {
					return fmt.Errorf("%q: debug, info, warn or error", s)
				}
				return nil
			},
			show: func(c Config) string { return strings.ToLower(c.LogLevel.String()) },
		},
	}
}

func text(name, value, usage string, field func(*Config) *string) option {
	return option{
		name: name, value: value, usage: usage,
		set:  func(c *Config, s string) error { *field(c) = s; return nil },
		show: func(c Config) string { return *field(&c) },
	}
}

func yes(name, usage string, field func(*Config) *bool) option {
	return option{
		name: name, value: "BOOL", usage: usage + ": true or false",
		set: func(c *Config, s string) (err error) {
			if *field(c), err = strconv.ParseBool(s); err != nil {
				err = fmt.Errorf("%q: true or false", s)
			}
			return err
		},
		show: func(c Config) string { return strconv.FormatBool(*field(&c)) },
	}
}

func amount(name, usage string, field func(*Config) *float64) option {
	return option{
		name: name, value: "NUMBER", usage: usage,
		set: func(c *Config, s string) (err error) {
			if *field(c), err = strconv.ParseFloat(s, 64); err != nil {
				err = fmt.Errorf("%q: a number", s)
			}
			return err
		},
		show: func(c Config) string { return strconv.FormatFloat(*field(&c), 'g', -1, 64) },
	}
}

// networks is an option of networks or addresses with commas between them.
func networks(name, usage string, at func(*Config) *[]netip.Prefix) option {
	return option{
		name: name, value: "CIDR,...", usage: usage,
		set: func(c *Config, s string) error {
			*at(c) = nil
			for _, text := range strings.Split(s, ",") {
				p, err := netip.ParsePrefix(strings.TrimSpace(text))
				if one, not := netip.ParseAddr(strings.TrimSpace(text)); not == nil && one.Zone() == "" {
					p, err = netip.PrefixFrom(one, one.BitLen()), nil
				}
				if err != nil {
					return fmt.Errorf("%q: networks or addresses such as 10.1.2.0/24,10.3.0.7", s)
				}
				*at(c) = append(*at(c), p.Masked())
			}
			return nil
		},
		show: func(c Config) string {
			var all []string
			for _, p := range *at(&c) {
				all = append(all, p.String())
			}
			return strings.Join(all, ",")
		},
	}
}

func span(name, usage string, field func(*Config) *time.Duration) option {
	return option{
		name: name, value: "DURATION", usage: usage,
		set: func(c *Config, s string) (err error) {
			if *field(c), err = time.ParseDuration(s); err != nil {
				err = fmt.Errorf("%q: a duration such as 10s or 5m", s)
			}
			return err
		},
		show: func(c Config) string { return field(&c).String() },
	}
}

// size is an amount of bytes, with a unit or without.
func size(name, usage string, field func(*Config) *int64) option {
	units := []struct {
		name  string
		bytes int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}
	return option{
		name: name, value: "BYTES", usage: usage,
		set: func(c *Config, s string) error {
			for _, u := range units {
				if number, ok := strings.CutSuffix(s, u.name); ok {
					n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
					if err != nil || n > math.MaxInt64/u.bytes || n < 0 {
						break
					}
					*field(c) = n * u.bytes
					return nil
				}
			}
			return fmt.Errorf("%q: a number of bytes such as 4GiB", s)
		},
		show: func(c Config) string {
			n := *field(&c)
			for _, u := range units {
				if n != 0 && n%u.bytes == 0 {
					return strconv.FormatInt(n/u.bytes, 10) + u.name
				}
			}
			return "0"
		},
	}
}

// Usage writes the help for every option.
func Usage(w io.Writer) {
	def := Default()
	line := func(flag, env, usage, shown string) {
		fmt.Fprintf(w, "  %-24s %s", flag, usage)
		if shown != "" {
			fmt.Fprintf(w, " (default %s)", shown)
		}
		fmt.Fprintf(w, "\n  %-24s %s\n", "", env)
	}
	line("--config FILE", "BERTHD_CONFIG", "a JSON file with any of the options below", "")
	for _, o := range options() {
		shown, usage := "", o.usage
		if o.show != nil {
			shown = o.show(def)
		}
		if o.many {
			usage += "; repeatable, in the variable separated by spaces"
		}
		line("--"+o.name+" "+o.value, o.env(), usage, shown)
	}
	fmt.Fprint(w, `
A flag wins over a variable, a variable over the file. The file has the flags' names as its keys, with _
for -, and, as lists of objects, what there is to drive and
to scrape, and where people log in:

  {
    "listen": "127.0.0.1:8080",
    "poll": "10s",
    "libvirt": [
      {"uri": "qemu:///system", "name": "kvm-1", "zone": "a", "labels": {"rack": "r1"},
       "pools": {"default": "ssd"}, "network": "default", "cpu": 2.0,
       "fence": ["/usr/local/sbin/power-off", "kvm-1"]}
    ],
    "proxmox": [
      {"url": "https://pve1.example:8006", "token_file": "/etc/berthd/pve-token", "ca_file": "/etc/berthd/pve-ca.pem",
       "nodes": {"pve1": {"zone": "a"}, "pve2": {"zone": "b"}}, "storages": {"local-lvm": "ssd"}}
    ],
    "openstack": [{"cloud": "mycloud", "mode": "region", "network": "private"}],
    "hetzner": [
      {"token_file": "/etc/berthd/hcloud-token", "locations": [{"location": "fsn1", "servers": 20,
       "taints": [{"key": "burst", "effect": "prefer-no-schedule"}]}]}
    ],
    "scrape": [
      {"url": "http://192.0.2.10:9100/metrics", "job": "node", "labels": {"host": "libvirt/kvm-1"}}
    ],
    "public_url": "https://berthd.example",
    "oidc": [
      {"name": "corp", "label": "Corp", "issuer": "https://id.example/realms/corp", "client_id": "berthd",
       "client_secret_file": "/etc/berthd/corp-secret", "groups_claim": "groups", "new": "bound"}
    ]
  }
`)
}

// LogValue writes the options as a group. There are no secrets among them.
func (c Config) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, o := range options() {
		if o.show != nil {
			attrs = append(attrs, slog.String(o.key(), o.show(c)))
		}
	}
	return slog.GroupValue(attrs...)
}
