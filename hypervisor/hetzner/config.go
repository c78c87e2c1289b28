package hetzner

import (
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

// Config says which project a Driver drives and how.
type Config struct {
	Name      string           // of the driver, the first part of its hosts' ids; empty: "hetzner"
	Token     string           // of one project, with the right to read and write; a secret
	Endpoint  string           // base URL of the Cloud API; empty: the public service
	Locations []LocationConfig // at least one

	// Limit is the project's budget of requests. Drivers, and programs of the importer's own, that use the same
	// project in one process share one. Nil: a budget of this driver's own.
	Limit *Limit

	Architecture Architecture // of the server types; empty: X86
	Types        []string     // names of the server types that are sold as shapes; empty: all that are not deprecated

	LocalStorage  pool.Storage // kind of storage as which a server type's own disk is offered; empty: standard
	VolumeStorage pool.Storage // kind of storage as which volumes are offered; empty: ssd

	Public     PublicNet // addresses of machines on the public network; empty: Both
	SSHKeys    []string  // names of SSH keys of the project for root; without one the service makes a root password, which is not kept here
	GroupLabel string    // the label of a Spec that names an existing placement group of the project; empty: none

	// GrowDisks allows Resize to let the root disk grow to the size of the new type's. That cannot be undone: the
	// machine can never again have a type with a smaller disk. Without it a resize that needs it is ErrRefused.
	GrowDisks bool

	Transport http.RoundTripper // nil: http.DefaultTransport
	Timeouts  Timeouts
	Logger    *slog.Logger // nil: silent
}

// LocationConfig is one location, which is one host: an aggregate that places by itself.
//
// The service tells neither its own stock nor the project's limits, so both limits are the operator's to state.
// Servers bounds the bill too.
type LocationConfig struct {
	Location string            // "fsn1": the second part of the host's id, never to be changed
	Name     string            // for people; empty: Location
	Zone     string            // failure domain; empty: Location
	Labels   map[string]string //
	Taints   []pool.Taint      //

	// Cost of an hour, see pool.Host. Zero: the net price of the cheapest shape, with its address.
	Cost int64

	Servers     int   // how many servers there may be, those of others included
	Cores       int   // how many cores they may have together; zero: as many as Servers of the largest type have
	VolumeSpace int64 // bytes that volumes may have together; zero: no volumes
}

// Architecture is that of a processor.
type Architecture string

// The architectures.
const (
	X86 Architecture = "x86"
	ARM Architecture = "arm"
)

// PublicNet says which public addresses a machine has. Every IPv4 address costs money.
type PublicNet string

// The public addresses.
const (
	Both     PublicNet = "both"
	OnlyIPv4 PublicNet = "ipv4"
	OnlyIPv6 PublicNet = "ipv6"
)

// Timeouts bound what the contexts of calls do not. Zero values take the defaults.
type Timeouts struct {
	Shutdown time.Duration // until a guest has obeyed a request to shut down or reboot; then force: 90 s
	Locked   time.Duration // for which a request is repeated while the service works on the same server: 2 min
	Undo     time.Duration // for removing what a create has made that failed: 1 min
	Poll     time.Duration // until an action is looked at for the first time; then ever later, up to ten times that: 500 ms
	Settle   time.Duration // after which a create that was sent cannot become visible any more, see Capabilities.Settles: 2 min
	Catalog  time.Duration // for which types and prices are not asked again: 10 min
	Metrics  time.Duration // between two readings of one machine, each of which is a request: 5 min
}

func (t Timeouts) withDefaults() Timeouts {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&t.Shutdown, 90*time.Second)
	set(&t.Locked, 2*time.Minute)
	set(&t.Undo, time.Minute)
	set(&t.Poll, 500*time.Millisecond)
	set(&t.Settle, 2*time.Minute)
	set(&t.Catalog, 10*time.Minute)
	set(&t.Metrics, 5*time.Minute)
	return t
}

// What an operator's limits may be at most; far beyond what the service grants, and no sum of them overflows.
const (
	mostServers = 100_000
	mostCores   = 10_000_000
	mostVolumes = 1 << 60
)

func invalid(field, value, want string) error {
	return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
}

// normalize returns a checked deep copy with the defaults filled in.
func (c Config) normalize() (Config, error) {
	if c.Name == "" {
		c.Name = "hetzner"
	}
	if err := pool.ValidName(c.Name); err != nil {
		return Config{}, pool.InField("name", err)
	}
	if c.Token == "" || strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Config{}, invalid("token", "", "the token of a project") // without its value
	}
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
			return Config{}, invalid("endpoint", "", "a URL such as https://api.hetzner.cloud/v1, without user and password")
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Limit == nil {
		c.Limit = new(Limit)
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	c.Timeouts = c.Timeouts.withDefaults()
	if err := c.offer(); err != nil {
		return Config{}, err
	}
	if len(c.Locations) == 0 {
		return Config{}, invalid("locations", "", "at least one location")
	}
	c.Locations = slices.Clone(c.Locations)
	seen := make(map[string]bool)
	for i := range c.Locations {
		l, at := &c.Locations[i], "locations["+strconv.Itoa(i)+"]"
		if err := l.normalize(c.Name); err != nil {
			return Config{}, pool.InField(at, err)
		}
		if seen[l.Location] {
			return Config{}, invalid(at+".location", l.Location, "a location that is not named before")
		}
		seen[l.Location] = true
	}
	return c, nil
}

// offer checks what machines are made of.
func (c *Config) offer() error {
	switch c.Architecture {
	case "":
		c.Architecture = X86
	case X86, ARM:
	default:
		return invalid("architecture", string(c.Architecture), "x86 or arm")
	}
	switch c.Public {
	case "":
		c.Public = Both
	case Both, OnlyIPv4, OnlyIPv6:
	default:
		return invalid("public", string(c.Public), "both, ipv4 or ipv6")
	}
	if c.LocalStorage == "" {
		c.LocalStorage = pool.Standard
	}
	if c.VolumeStorage == "" {
		c.VolumeStorage = pool.SSD
	}
	for field, s := range map[string]pool.Storage{"local_storage": c.LocalStorage, "volume_storage": c.VolumeStorage} {
		if err := s.Class().Valid(); err != nil {
			return pool.InField(field, err)
		}
	}
	if c.LocalStorage.Class() == c.VolumeStorage.Class() {
		return invalid("volume_storage", string(c.VolumeStorage), "another kind than local_storage, as the two are counted apart")
	}
	c.Types, c.SSHKeys = slices.Clone(c.Types), slices.Clone(c.SSHKeys)
	for i, name := range c.Types {
		if err := pool.ValidName(name); err != nil || slices.Contains(c.Types[:i], name) {
			return invalid("types["+strconv.Itoa(i)+"]", name, "the name of a server type such as cx22, each once")
		}
	}
	for i, name := range c.SSHKeys {
		if name == "" || pool.ValidText(name, 255) != nil {
			return invalid("ssh_keys["+strconv.Itoa(i)+"]", name, "the name of an SSH key of the project")
		}
	}
	if c.GroupLabel != "" {
		return pool.InField("group_label", pool.ValidLabels(map[string]string{c.GroupLabel: ""}))
	}
	return nil
}

func (l *LocationConfig) normalize(driver string) error {
	// Together with a machine's id it is a server's name.
	if len(l.Location) > 20 || strings.Contains(l.Location, "/") || pool.ValidHostname(l.Location) != nil {
		return invalid("location", l.Location, "the name of a location such as fsn1")
	}
	if l.Name == "" {
		l.Name = l.Location
	}
	if l.Zone == "" {
		l.Zone = l.Location
	}
	l.Labels, l.Taints = maps.Clone(l.Labels), slices.Clone(l.Taints)
	h := pool.Host{ID: pool.NewHostID(driver, l.Location), Name: l.Name, Zone: l.Zone, Labels: l.Labels, Taints: l.Taints, Cost: l.Cost}
	if _, err := h.Normalize(); err != nil { // what Hosts would report must be well-formed
		return err
	}
	if l.Servers < 1 || l.Servers > mostServers {
		return invalid("servers", strconv.Itoa(l.Servers), "how many servers there may be, 1 to "+strconv.Itoa(mostServers))
	}
	if l.Cores < 0 || l.Cores > mostCores {
		return invalid("cores", strconv.Itoa(l.Cores), "0 to "+strconv.Itoa(mostCores))
	}
	if l.VolumeSpace < 0 || l.VolumeSpace > mostVolumes {
		return invalid("volume_space", strconv.FormatInt(l.VolumeSpace, 10), "0 to 1 EiB in bytes")
	}
	return nil
}
