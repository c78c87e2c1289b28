package openstack

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Mode is what a cloud is to the pool.
type Mode string

// The modes.
const (
	Region      Mode = "region"      // one aggregate that places by itself
	Hypervisors Mode = "hypervisors" // a host for each hypervisor; for admins
)

// Config says which cloud a Driver drives and how. Only Cloud is required.
type Config struct {
	Name  string // of the driver, the first part of its hosts' ids; empty: "openstack"
	Cloud Cloud
	Mode  Mode // empty: Region

	// Hosts says what cannot be found out of a host: in the mode Region of Cloud.Region, or "region" where that
	// is empty, which is then also the second part of the host's id; in the mode Hypervisors of a hypervisor by
	// its host name, and of all others by the empty name.
	Hosts map[string]HostConfig

	// Flavors are the flavors that may be used, by their names, each with what it has beside cores, memory and
	// disk, such as GPUs; nil: all that the project sees. In the mode Region they are the host's shapes.
	Flavors map[string]pool.Resources
	// CreateFlavors, in the mode Hypervisors: a size for which there is no flavor gets one, a private one whose
	// name begins with "berthage.". Without it only sizes that a flavor has exactly can be created.
	CreateFlavors bool
	// Storage is what the flavors' root disks are; empty: standard. DataStorage, in the mode Region, is what their
	// ephemeral disks are, of which a Spec's further disks are made; empty: "ephemeral", so that a flavor's root disk
	// is not taken for them. A hypervisor has one storage for both.
	Storage, DataStorage pool.Storage

	// Networks are Neutron networks, by the names that a Spec uses; a value is an id or a name that is unique.
	Networks map[string]string
	// Network is the name that stands for a Spec's empty one; empty: Nova chooses, which works where the project
	// has one network.
	Network string

	AvailabilityZone string   // in the mode Region, in which machines are created; empty: Nova chooses
	SecurityGroups   []string // names; empty: the project's default

	// NoConfigDrive: first-boot data comes from the cloud's metadata service only.
	NoConfigDrive bool

	// Group, where it is set, names the server group that a new machine joins, by which Nova itself keeps machines
	// together or apart on computers that we do not see. The group is made with its first machine and removed
	// with its last. It must be a pure function; an empty name is no group.
	Group func(o hypervisor.Order) Group

	// Settles is the longest time after which a create that was sent can still become visible, see
	// hypervisor.Capabilities. Nova lists a server before it answers; the rest is how long proxies and
	// nova-api keep a request that they have. Zero: 15 minutes, for which nova-api by default keeps a
	// connection. Negative: not known, a person decides.
	Settles time.Duration

	// Without names abilities that the driver has and this cloud has not: by its policy, or because its virt driver
	// cannot do it.
	Without []hypervisor.Ability

	// Placement, in the mode Region: the credential may read Placement, and the host's capacity is bounded by what
	// the region has as well as by the quota.
	Placement bool

	// Diagnostics: the credential may read servers' diagnostics, for which by default it takes an admin. Sample then
	// makes one request for each machine that runs.
	Diagnostics bool

	Timeouts Timeouts
	Logger   *slog.Logger // nil: silent

	// HTTP makes the requests; nil: a transport with Cloud.TLS. It must not follow redirects.
	HTTP http.RoundTripper
}

// HostConfig is what an operator says of a host.
type HostConfig struct {
	Address string            // for people
	Zone    string            // empty: in the mode Hypervisors the availability zone that Nova names
	Labels  map[string]string //
	Taints  []pool.Taint      //
	Cost    int64             // see pool.Host

	// Capacity, in the mode Region, bounds what machines may take in sum, by class, where it is less than the quota
	// or where there is none.
	Capacity pool.Resources
}

// Group is a server group of Nova's.
type Group struct {
	Name   string // 1 to 63 letters, digits, '.', '-', '_'
	Policy Policy
}

// Policy is how a server group's machines lie to each other.
type Policy string

// The policies.
const (
	Affinity         Policy = "affinity"           // on one computer, or not at all
	AntiAffinity     Policy = "anti-affinity"      // each on its own, or not at all
	SoftAffinity     Policy = "soft-affinity"      // rather on one
	SoftAntiAffinity Policy = "soft-anti-affinity" // rather apart
)

// Timeouts bound what the contexts of calls do not. Zero values take the defaults.
type Timeouts struct {
	Call  time.Duration // until one request has been answered: 1 min
	Wait  time.Duration // until Nova has done what it has accepted; then the outcome is not known: 10 min
	Poll  time.Duration // between two looks at a server, at first a quarter of it: 1 s
	Login time.Duration // after a log-in was refused, until the next is tried, as some clouds lock users out: 1 min
}

func (t Timeouts) withDefaults() Timeouts {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&t.Call, time.Minute)
	set(&t.Wait, 10*time.Minute)
	set(&t.Poll, time.Second)
	set(&t.Login, time.Minute)
	return t
}

func invalid(field, value, want string) error {
	return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
}

// normalize returns a checked deep copy with the defaults filled in.
func (c Config) normalize() (Config, error) {
	if c.Name == "" {
		c.Name = "openstack"
	}
	if err := pool.ValidName(c.Name); err != nil {
		return Config{}, pool.InField("name", err)
	}
	if err := c.Cloud.valid(); err != nil {
		return Config{}, pool.InField("cloud", err)
	}
	switch c.Mode {
	case "":
		c.Mode = Region
	case Region, Hypervisors:
	default:
		return Config{}, invalid("mode", string(c.Mode), "region or hypervisors")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Timeouts = c.Timeouts.withDefaults()
	switch {
	case c.Settles == 0:
		c.Settles = 15 * time.Minute
	case c.Settles < 0:
		c.Settles = 0
	}
	c.SecurityGroups, c.Without = slices.Clone(c.SecurityGroups), slices.Clone(c.Without)
	if err := c.normalizeSizes(); err != nil {
		return Config{}, err
	}
	if err := c.normalizeNetworks(); err != nil {
		return Config{}, err
	}
	for i, g := range c.SecurityGroups {
		if g == "" || pool.ValidText(g, 255) != nil {
			return Config{}, invalid("security_groups["+strconv.Itoa(i)+"]", g, "the name of a security group")
		}
	}
	if pool.ValidText(c.AvailabilityZone, 255) != nil || strings.Contains(c.AvailabilityZone, ":") {
		return Config{}, invalid("availability_zone", c.AvailabilityZone, "the name of a zone, without a host")
	}
	if c.Mode == Region && (c.CreateFlavors || len(c.Hosts) > 1) {
		return Config{}, invalid("create_flavors", "", "flavors are created, and several hosts named, in the mode hypervisors only")
	}
	if c.Mode == Hypervisors && (c.AvailabilityZone != "" || c.Placement) {
		return Config{}, invalid("availability_zone", c.AvailabilityZone, "no zone and no placement, which the mode hypervisors uses anyway")
	}
	return c, c.normalizeHosts()
}

// normalizeSizes checks what flavors mean.
func (c *Config) normalizeSizes() error {
	if c.Storage == "" {
		c.Storage = pool.Standard
	}
	switch {
	case c.Mode == Hypervisors && c.DataStorage != "" && c.DataStorage != c.Storage:
		return invalid("data_storage", string(c.DataStorage), "the same as storage in the mode hypervisors")
	case c.Mode == Hypervisors:
		c.DataStorage = c.Storage
	case c.DataStorage == "":
		c.DataStorage = "ephemeral"
	}
	for field, s := range map[string]pool.Storage{"storage": c.Storage, "data_storage": c.DataStorage} {
		if err := s.Class().Valid(); err != nil {
			return pool.InField(field, err)
		}
	}
	c.Flavors = maps.Clone(c.Flavors)
	for name, more := range c.Flavors {
		if err := more.Valid(); err != nil {
			return pool.InField("flavors["+pool.Quote(name)+"]", err)
		}
		c.Flavors[name] = more.Clone()
	}
	return nil
}

func (c *Config) normalizeNetworks() error {
	c.Networks = maps.Clone(c.Networks)
	for name, value := range c.Networks {
		if err := pool.ValidName(name); err != nil {
			return pool.InField("networks", err)
		}
		if value == "" || pool.ValidText(value, 255) != nil {
			return invalid("networks["+pool.Quote(name)+"]", value, "the id or the name of a Neutron network")
		}
	}
	if _, ok := c.Networks[c.Network]; c.Network != "" && !ok {
		return invalid("network", c.Network, "one of networks")
	}
	return nil
}

func (c *Config) normalizeHosts() error {
	c.Hosts = maps.Clone(c.Hosts)
	for name, h := range c.Hosts {
		h.Labels, h.Taints, h.Capacity = maps.Clone(h.Labels), slices.Clone(h.Taints), h.Capacity.Clone()
		c.Hosts[name] = h
		at := "hosts[" + pool.Quote(name) + "]"
		if c.Mode == Region && name != c.native() {
			return invalid("hosts", name, "the name of the region, "+pool.Quote(c.native()))
		}
		if err := h.Capacity.Valid(); err != nil {
			return pool.InField(at+".capacity", err)
		}
		// What Hosts would report must be well-formed.
		if _, err := c.host(orDefault(name, "any")).Normalize(); err != nil {
			return pool.InField(at, err)
		}
	}
	_, err := c.host(c.native()).Normalize()
	return err
}

// native is the second part of the aggregate's id.
func (c *Config) native() string { return orDefault(c.Cloud.Region, "region") }

// host is what is known of a host without asking.
func (c *Config) host(native string) pool.Host {
	h, ok := c.Hosts[native]
	if !ok {
		h = c.Hosts[""]
	}
	return pool.Host{
		ID: pool.NewHostID(c.Name, native), Name: native, Address: h.Address, Zone: h.Zone,
		Labels: maps.Clone(h.Labels), Taints: slices.Clone(h.Taints), Cost: h.Cost,
	}
}

func orDefault(s, value string) string {
	if s == "" {
		return value
	}
	return s
}
