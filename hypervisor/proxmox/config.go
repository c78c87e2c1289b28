package proxmox

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

// Config says which cluster a Driver drives and how.
type Config struct {
	Name string // of the driver, the first part of its hosts' ids; empty: "proxmox"
	URL  string // of any node, "https://pve1.example:8006"; always https

	Token    string // an API token, "user@realm!name=secret"
	User     string // or, where there is no token, a user, "user@realm",
	Password string // and the user's password

	// CA are the certificates, as PEM, of the authorities that may have signed the API's; empty: those that this machine trusts.
	// A cluster's own is in its file /etc/pve/pve-root-ca.pem.
	CA []byte

	// Nodes are those that the driver uses; empty: every node of the cluster, as a zero Node.
	Nodes map[string]Node
	// Storages are those on which disks are put; empty: every storage that may hold images, as standard storage.
	Storages map[string]Storage
	// SeedStorage may hold ISO images; user-data and mounts are handed to guests through it. Empty: they are refused. Machines with
	// a seed are moved only if it is shared.
	SeedStorage string

	// Networks are the names that a Spec may use beside those of bridges and SDN networks.
	Networks map[string]Network
	// Network is the name that stands for a Spec's empty one; empty: "vmbr0".
	Network string

	// FirstVMID and LastVMID, if they are set, are a range in which a machine's VMID follows from its id and its host. Then the
	// cluster itself refuses a second one (CreateUnique), and no two drivers or processes can ever make the same machine
	// twice. Where a VMID is taken by something else, the machine is not made on that host: of n machines in a range of w about
	// n*n/2w meet another. Zero: the next VMID that the cluster offers.
	FirstVMID, LastVMID int

	CPUType string // of the guests, "host", "x86-64-v2-AES"; empty: as in the template
	Linked  bool   // clones are linked to the template, and their root disk is where its is; not every storage can do that
	Pool    string // the resource pool of the cluster that machines are put into; empty: none
	Agent   bool   // images run the QEMU guest agent, which is asked for addresses; two more requests per list and running machine

	// MigrateLive: running machines may be moved. Hibernate: the memory of machines may be kept on the cluster's storage, of
	// which the cluster chooses the place. Of neither a real server has been recorded.
	MigrateLive, Hibernate bool

	Timeouts Timeouts
	Logger   *slog.Logger // nil: silent
}

// Node is how a node is offered.
type Node struct {
	Address string            // name or IP address for people
	Zone    string            //
	Labels  map[string]string //
	Taints  []pool.Taint      //
	Cost    int64             // see pool.Host

	ReservedCPU    int64      // millicores that the node keeps for itself
	ReservedMemory int64      // bytes that the node keeps for itself
	CPURatio       pool.Ratio // over-commit; zero: 1.0
	MemoryRatio    pool.Ratio // over-commit; zero: 1.0
}

// Storage is how a storage is offered. One that is shared is divided evenly among the nodes that the driver uses and that
// can reach it.
type Storage struct {
	Kind     pool.Storage // empty: standard
	Reserved int64        // bytes kept, on each node, for other files
	Ratio    pool.Ratio   // over-commit; zero: 1.0
	IOPS     int64        // operations per second on each node; zero: not offered
}

// Network is what a name of a network means.
type Network struct {
	Bridge   string // name of a bridge or SDN network; required
	VLAN     int    // tag, 1 to 4094; zero: none
	Firewall bool   // the cluster's firewall stands before the interface
	IPConfig string // as Proxmox VE writes it; empty: "ip=dhcp". Not for machines with a seed, which ask for an address by DHCP
}

// Timeouts bound what the contexts of calls do not. Zero values take the defaults.
type Timeouts struct {
	Call     time.Duration // until the answer to one request: 1 min. A server gives up on another node after 30 s
	Hosts    time.Duration // for one host's part of Hosts, so that one that hangs holds up no other: 30 s
	Shutdown time.Duration // until a guest has obeyed a request to shut down or reboot; then force: 90 s; whole seconds
	Task     time.Duration // until a task of the cluster has ended: 15 min
	// Settle is how long one waits for what was not answered to show: 5 s. Settles is told with Capabilities: the longest time
	// after which a create that was sent can still become visible: 2 min.
	Settle, Settles time.Duration
}

func (t Timeouts) withDefaults() Timeouts {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&t.Call, time.Minute)
	set(&t.Hosts, 30*time.Second)
	set(&t.Shutdown, 90*time.Second)
	set(&t.Task, 15*time.Minute)
	set(&t.Settle, 5*time.Second)
	set(&t.Settles, 2*time.Minute)
	return t
}

func invalid(field, value, want string) error {
	return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
}

// The forms of names in the API, as regular expressions.
const (
	tokenForm = `[^@!=:\s]+@[A-Za-z][A-Za-z0-9.\-_]+![A-Za-z][A-Za-z0-9.\-_]*=[0-9A-Za-z-]+` // #nosec G101 -- what one looks like
	userForm  = `[^@!=:\s]+@[A-Za-z][A-Za-z0-9.\-_]+`
	idForm    = `[A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]` // of storages
	nameForm  = `[A-Za-z][A-Za-z0-9\-_.]*`            // of bridges and resource pools
	cpuForm   = `[A-Za-z0-9][A-Za-z0-9\-_.,+=;]*`
	ipForm    = `[A-Za-z0-9][A-Za-z0-9.:/,=]*`
)

// like reports whether all of s has the form.
func like(s, form string) bool { return regexp.MustCompile("^(?:" + form + ")$").MatchString(s) }

// The VMIDs that a cluster knows.
const (
	minVMID = 100
	maxVMID = 999_999_999
)

// validNode reports whether a name can be that of a node. It goes into paths of requests.
func validNode(name string) bool {
	return name != "" && len(name) <= 63 && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// normalize returns a checked deep copy with the defaults filled in.
func (c Config) normalize() (Config, error) {
	if c.Name == "" {
		c.Name = "proxmox"
	}
	if err := pool.ValidName(c.Name); err != nil {
		return Config{}, pool.InField("name", err)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Timeouts = c.Timeouts.withDefaults()
	if err := c.normalizeAccess(); err != nil {
		return Config{}, err
	}
	c.Nodes, c.Storages, c.Networks = maps.Clone(c.Nodes), maps.Clone(c.Storages), maps.Clone(c.Networks)
	for name, n := range c.Nodes {
		n.Labels, n.Taints = maps.Clone(n.Labels), slices.Clone(n.Taints)
		if err := n.valid(c.Name, name); err != nil {
			return Config{}, pool.InField("nodes["+pool.Quote(name)+"]", err)
		}
		c.Nodes[name] = n
	}
	for name, s := range c.Storages {
		if err := s.normalize(name); err != nil {
			return Config{}, pool.InField("storages["+pool.Quote(name)+"]", err)
		}
		c.Storages[name] = s
	}
	if c.SeedStorage != "" && !like(c.SeedStorage, idForm) {
		return Config{}, invalid("seed_storage", c.SeedStorage, "the name of a storage")
	}
	if c.Network == "" {
		c.Network = "vmbr0"
	}
	for name, n := range c.Networks {
		if err := n.normalize(name); err != nil {
			return Config{}, pool.InField("networks["+pool.Quote(name)+"]", err)
		}
		c.Networks[name] = n
	}
	if _, err := c.network(""); err != nil {
		return Config{}, pool.InField("network", err)
	}
	if (c.FirstVMID != 0 || c.LastVMID != 0) && (c.FirstVMID < minVMID || c.LastVMID > maxVMID || c.LastVMID < c.FirstVMID) {
		return Config{}, invalid("first_vmid", fmt.Sprintf("%d-%d", c.FirstVMID, c.LastVMID), "a range within 100 to 999999999")
	}
	if c.CPUType != "" && !like(c.CPUType, cpuForm) {
		return Config{}, invalid("cpu_type", c.CPUType, "a type of CPU such as x86-64-v2-AES or host")
	}
	if c.Pool != "" && !like(c.Pool, nameForm) {
		return Config{}, invalid("pool", c.Pool, "the name of a resource pool")
	}
	return c, nil
}

// normalizeAccess checks how the API is reached. Secrets are in no error.
func (c *Config) normalizeAccess() error {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "url", Want: "an address such as https://pve1.example:8006, without user, path or query"}
	}
	c.URL = "https://" + u.Host
	switch {
	case c.Token != "" && (c.User != "" || c.Password != ""):
		return invalid("token", "", "a token, or a user with a password, not both")
	case c.Token != "" && !like(c.Token, tokenForm):
		return invalid("token", "", "an API token in the form user@realm!name=secret")
	case c.Token == "" && !like(c.User, userForm):
		return invalid("user", c.User, "a token, or a user in the form user@realm")
	case c.Token == "" && c.Password == "":
		return invalid("password", "", "the user's password")
	}
	c.CA = slices.Clone(c.CA)
	if len(c.CA) > 0 && !x509.NewCertPool().AppendCertsFromPEM(c.CA) {
		return invalid("ca", "", "certificates as PEM")
	}
	return nil
}

func (n *Node) valid(driver, name string) error {
	if !validNode(name) {
		return invalid("", name, "the name of a node")
	}
	// What Hosts would report must be well-formed.
	_, err := (pool.Host{ID: pool.NewHostID(driver, name), Name: name, Address: n.Address, Zone: n.Zone, Labels: n.Labels, Taints: n.Taints, Cost: n.Cost}).Normalize()
	if err != nil {
		return err
	}
	if err := (pool.Inventory{Reserved: n.ReservedCPU, Ratio: n.CPURatio}).Valid(); err != nil {
		return pool.InField("cpu", err)
	}
	return pool.InField("memory", (pool.Inventory{Reserved: n.ReservedMemory, Ratio: n.MemoryRatio}).Valid())
}

func (s *Storage) normalize(name string) error {
	if !like(name, idForm) {
		return invalid("", name, "the name of a storage")
	}
	if s.Kind == "" {
		s.Kind = pool.Standard
	}
	if err := s.Kind.Class().Valid(); err != nil {
		return pool.InField("kind", err)
	}
	if s.IOPS < 0 {
		return invalid("iops", strconv.FormatInt(s.IOPS, 10), "zero or more")
	}
	return pool.Inventory{Reserved: s.Reserved, Ratio: s.Ratio}.Valid()
}

func (n *Network) normalize(name string) error {
	if err := pool.ValidName(name); err != nil {
		return err
	}
	if !like(n.Bridge, nameForm) {
		return invalid("bridge", n.Bridge, "the name of a bridge such as vmbr0")
	}
	if n.VLAN < 0 || n.VLAN > 4094 {
		return invalid("vlan", strconv.Itoa(n.VLAN), "1 to 4094, or zero for none")
	}
	if n.IPConfig == "" {
		n.IPConfig = "ip=dhcp"
	}
	if !like(n.IPConfig, ipForm) {
		return invalid("ip_config", n.IPConfig, "addresses such as ip=dhcp or ip=192.0.2.9/24,gw=192.0.2.1")
	}
	return nil
}

// network returns what a Spec's name of a network means: what the configuration says, or the bridge of that name.
func (c *Config) network(name string) (Network, error) {
	if name == "" {
		name = c.Network
	}
	if n, ok := c.Networks[name]; ok {
		return n, nil
	}
	n := Network{Bridge: name}
	if err := n.normalize(name); err != nil {
		return n, err
	}
	return n, nil
}

// uses reports whether the driver uses a node.
func (c *Config) uses(node string) bool {
	_, ok := c.Nodes[node]
	return ok || len(c.Nodes) == 0
}

// storage returns how a storage that may hold images is offered.
func (c *Config) storage(name string) (Storage, bool) {
	if len(c.Storages) == 0 {
		return Storage{Kind: pool.Standard}, true
	}
	s, ok := c.Storages[name]
	return s, ok
}

var errNoNode = errors.New("the cluster has no such node, or the driver is not to use it")

// secrets are what no log and no error may show.
func (c *Config) secrets() []string {
	var out []string
	if _, secret, ok := strings.Cut(c.Token, "="); ok {
		out = append(out, secret)
	}
	if c.Password != "" {
		out = append(out, c.Password)
	}
	return out
}
