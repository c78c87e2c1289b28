package libvirt

import (
	"log/slog"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

// Config says which hosts a Driver drives and how.
type Config struct {
	Name  string       // of the driver, the first part of its hosts' ids; empty: "libvirt"
	Hosts []HostConfig // at least one
	// ImageDir is the directory of this machine in which image files have to be, whatever links lead out of it; empty: they can be anywhere, and
	// whoever says what an image's source is can read by it, in a guest, what this process can read.
	ImageDir string
	Timeouts Timeouts
	Logger   *slog.Logger // nil: silent
}

// HostConfig is one host: one libvirt daemon.
type HostConfig struct {
	URI     string            // see the package's documentation
	Name    string            // the second part of the host's id and its name; unique, never to be changed
	Address string            // name or IP address for people; empty: from the URI, or what the host calls itself
	Zone    string            //
	Labels  map[string]string //
	Taints  []pool.Taint      //
	Cost    int64             // see pool.Host

	// Pools are the storage pools that machines may use, by their libvirt names; empty: the pool "default",
	// as standard storage. They are directories (types dir, fs, netfs). Two pools on one file system are
	// counted twice unless Reserved says otherwise.
	Pools map[string]StoragePool

	// Images is the one of Pools into which images are imported; empty: the first by name.
	Images string

	// Networks are the names that a Spec may use beside those of libvirt networks.
	Networks map[string]Network
	// Network is the name that stands for a Spec's empty one; empty: "default".
	Network string

	ReservedCPU    int64      // millicores that the host keeps for itself
	ReservedMemory int64      // bytes that the host keeps for itself
	CPURatio       pool.Ratio // over-commit; zero: 1.0
	MemoryRatio    pool.Ratio // over-commit; zero: 1.0

	VirtType VirtType // empty: Auto
	// CPU is the model of processor that machines are given, one that libvirt knows; empty: under KVM that of the
	// host, as far as libvirt can describe it, and all that emulation can do otherwise. Machines move between
	// hosts while they run only where it is the same on both.
	CPU string

	// Migration is how machines come to this host while they run, if CPU is given and the same on both. All hosts have
	// to be able to reach each other by it.
	Migration Migration

	// Headroom is what machines can be given while they run; zero: nothing. See there.
	Headroom Headroom

	// Autostart: the host starts again, when it comes up, the machines that ran when it went down. By default it does
	// not, because it does not know what has been decided meanwhile: the Manager starts what is to run there, and has
	// what it has given to other hosts removed first. Machines of a host that is fenced and evacuated would run twice.
	Autostart bool

	// LeaveInactive: inactive networks and storage pools are not started when the driver connects.
	LeaveInactive bool
}

// StoragePool is how a storage pool is offered.
type StoragePool struct {
	Kind     pool.Storage // empty: standard
	Format   Format       // of disks other than the root disk, which is always qcow2; empty: QCOW2
	Reserved int64        // bytes kept for the host's other files and for imported images
	Ratio    pool.Ratio   // over-commit; zero: 1.0
	IOPS     int64        // operations per second that the pool can do; zero: not offered

	// Shared: every host of the driver that says so of the pool of this name sees the same files there, at the same
	// path, so that machines can move between them. Its space is counted on each: give a Ratio that divides it.
	// Whoever turns this off, or renames the host, leaves what was shared to be removed by hand.
	Shared bool
}

// Migration is how machines come to a host while they run.
type Migration struct {
	// URI is the one by which the daemons of the other hosts reach this one's, such as qemu+tls://host/system; they
	// need the certificates or keys for it. Empty: machines come stopped only.
	URI string
	// Memory is where QEMU takes what is sent, such as tcp://10.0.0.7; empty: as libvirt chooses, by the host's name.
	Memory string
}

// Headroom is up to which sizes a machine can be resized while it runs. Machines are defined with so many virtual CPUs,
// of which those beyond the ordered ones are not there, and with so much memory, of which the guest's balloon driver
// holds back what is beyond the ordered. A guest without that driver, and every guest until it has loaded it, can use
// all: leave Memory at zero where guests are not trusted with that.
type Headroom struct {
	CPU    int64 // millicores
	Memory int64 // bytes
}

func (h Headroom) offered() bool { return h != Headroom{} }

// Format is a format of disk images.
type Format string

// The formats.
const (
	QCOW2 Format = "qcow2"
	Raw   Format = "raw"
)

// NetworkKind is how an interface is connected.
type NetworkKind string

// The kinds of network.
const (
	LibvirtNetwork NetworkKind = "network" // a libvirt network; addresses come from its DHCP leases
	Bridge         NetworkKind = "bridge"  // a bridge of the host; addresses come from its DHCP leases, if it is libvirt's, or the ARP table
	UserMode       NetworkKind = "user"    // QEMU's own NAT, reached through a forwarded port only
)

// Network is what a name of a network means on a host.
type Network struct {
	Kind   NetworkKind // empty: LibvirtNetwork
	Source string      // name of the libvirt network or of the bridge; not for UserMode

	// FirstPort and LastPort, for UserMode, are the TCP ports of the host from which one is forwarded to the
	// guest's port 22; zero: none. Listen is the host's address on which it is opened; empty: 127.0.0.1. The
	// machine's address is then "address:port". Other programs must leave these ports alone: a machine whose
	// port is taken cannot be started.
	FirstPort, LastPort int
	Listen              string
}

// VirtType is how machines are run.
type VirtType string

// The ways of running machines.
const (
	Auto VirtType = "auto" // KVM where a test boot has proved that it works, else emulation
	KVM  VirtType = "kvm"  // KVM, without a test
	QEMU VirtType = "qemu" // emulation
)

// Timeouts bound what the contexts of calls do not. Zero values take the defaults.
type Timeouts struct {
	Dial time.Duration // until a connection is open: 15 s
	// Call is the time until the answer to one request; then the connection is given up: 2 min. It is also
	// what Capabilities.Settles says, so it must be longer than a daemon takes to define a domain: tens of
	// seconds where libvirt first has to find out anew what its QEMU can do, on a loaded host.
	Call     time.Duration
	Hosts    time.Duration // for one host's part of Hosts, so that one that hangs holds up no other: 30 s
	Shutdown time.Duration // until a guest has obeyed a request to shut down or reboot, then force, or to let go of a disk: 90 s
	Probe    time.Duration // for the test boot under KVM: 30 s
	// Move is the time until memory has been written to disk, read from there, or sent to another host: 1 h.
	Move  time.Duration
	Stall time.Duration // after which an import that another process has begun, and that does not grow, is begun anew: 1 min
}

func (t Timeouts) withDefaults() Timeouts {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&t.Dial, 15*time.Second)
	set(&t.Call, 2*time.Minute)
	set(&t.Hosts, 30*time.Second)
	set(&t.Shutdown, 90*time.Second)
	set(&t.Probe, 30*time.Second)
	set(&t.Move, time.Hour)
	set(&t.Stall, time.Minute)
	return t
}

func invalid(field, value, want string) error {
	return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
}

// normalize returns a checked deep copy with the defaults filled in.
func (c Config) normalize() (Config, error) {
	if c.Name == "" {
		c.Name = "libvirt"
	}
	if err := pool.ValidName(c.Name); err != nil {
		return Config{}, pool.InField("name", err)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Timeouts = c.Timeouts.withDefaults()
	if len(c.Hosts) == 0 {
		return Config{}, invalid("hosts", "", "at least one host")
	}
	if c.ImageDir != "" && !filepath.IsAbs(c.ImageDir) {
		return Config{}, invalid("image_dir", c.ImageDir, "the absolute path of a directory")
	}
	c.Hosts = slices.Clone(c.Hosts)
	seen := make(map[string]bool)
	for i := range c.Hosts {
		h := &c.Hosts[i]
		if err := h.normalize(c.Name); err != nil {
			return Config{}, pool.InField("hosts["+strconv.Itoa(i)+"]", err)
		}
		if seen[h.Name] {
			return Config{}, invalid("hosts["+strconv.Itoa(i)+"].name", h.Name, "a name that no other host has")
		}
		seen[h.Name] = true
	}
	return c, nil
}

func (h *HostConfig) normalize(driver string) error {
	if h.Name == "" || strings.Contains(h.Name, "/") {
		return invalid("name", h.Name, "a name for the host, without slashes")
	}
	id := pool.NewHostID(driver, h.Name)
	if err := id.Valid(); err != nil {
		return pool.InField("name", err)
	}
	h.Labels, h.Taints, h.Pools, h.Networks = maps.Clone(h.Labels), slices.Clone(h.Taints), maps.Clone(h.Pools), maps.Clone(h.Networks)
	// What Hosts would report must be well-formed.
	if _, err := (pool.Host{ID: id, Name: h.Name, Address: h.Address, Zone: h.Zone, Labels: h.Labels, Taints: h.Taints, Cost: h.Cost}).Normalize(); err != nil {
		return err
	}
	for class, inv := range map[string]pool.Inventory{
		"cpu":    {Reserved: h.ReservedCPU, Ratio: h.CPURatio},
		"memory": {Reserved: h.ReservedMemory, Ratio: h.MemoryRatio},
	} {
		if err := inv.Valid(); err != nil {
			return pool.InField(class, err)
		}
	}
	if len(h.Pools) == 0 {
		h.Pools = map[string]StoragePool{"default": {}}
	}
	for name, p := range h.Pools {
		if err := p.normalize(name); err != nil {
			return pool.InField("pools["+pool.Quote(name)+"]", err)
		}
		h.Pools[name] = p
	}
	if _, ok := h.Pools[h.Images]; h.Images != "" && !ok {
		return invalid("images", h.Images, "the name of one of the pools")
	}
	if h.CPU != "" && pool.ValidText(h.CPU, 64) != nil {
		return invalid("cpu", h.CPU, "the name of a processor model")
	}
	for name, uri := range map[string]string{"uri": h.Migration.URI, "memory": h.Migration.Memory} {
		if uri == "" {
			continue
		}
		if u, err := url.Parse(uri); err != nil || u.Scheme == "" {
			return invalid("migration."+name, "", "a URI") // it is not repeated, as it could hold a password
		} else if _, ok := u.User.Password(); ok {
			return invalid("migration."+name, "", "no password in a URI")
		}
	}
	if h.Headroom.CPU < 0 || h.Headroom.Memory < 0 {
		return invalid("headroom", "", "zero or more cores and memory")
	}
	if h.Network == "" {
		h.Network = "default"
	}
	for name, n := range h.Networks {
		if err := n.normalize(name); err != nil {
			return pool.InField("networks["+pool.Quote(name)+"]", err)
		}
		h.Networks[name] = n
	}
	if err := pool.ValidName(h.Network); err != nil {
		return pool.InField("network", err)
	}
	switch h.VirtType {
	case "":
		h.VirtType = Auto
	case Auto, KVM, QEMU:
	default:
		return invalid("virt_type", string(h.VirtType), "auto, kvm or qemu")
	}
	return nil
}

func (p *StoragePool) normalize(name string) error {
	if name == "" || pool.ValidText(name, 255) != nil || strings.Contains(name, "/") {
		return invalid("", name, "the name of a storage pool")
	}
	if p.Kind == "" {
		p.Kind = pool.Standard
	}
	if err := p.Kind.Class().Valid(); err != nil {
		return pool.InField("kind", err)
	}
	switch p.Format {
	case "":
		p.Format = QCOW2
	case QCOW2, Raw:
	default:
		return invalid("format", string(p.Format), "qcow2 or raw")
	}
	if p.IOPS < 0 {
		return invalid("iops", strconv.FormatInt(p.IOPS, 10), "zero or more")
	}
	return pool.Inventory{Reserved: p.Reserved, Ratio: p.Ratio}.Valid()
}

func (n *Network) normalize(name string) error {
	if err := pool.ValidName(name); err != nil {
		return err
	}
	switch n.Kind {
	case "":
		n.Kind = LibvirtNetwork
	case LibvirtNetwork, Bridge, UserMode:
	default:
		return invalid("kind", string(n.Kind), "network, bridge or user")
	}
	if n.Kind != UserMode {
		if n.Source == "" || pool.ValidText(n.Source, 255) != nil {
			return invalid("source", n.Source, "the name of a libvirt network or of a bridge")
		}
		if n.FirstPort != 0 || n.LastPort != 0 || n.Listen != "" {
			return invalid("first_port", "", "ports for the kind user only")
		}
		return nil
	}
	if n.Source != "" {
		return invalid("source", n.Source, "no source for the kind user")
	}
	if n.FirstPort == 0 && n.LastPort == 0 && n.Listen == "" {
		return nil
	}
	if n.FirstPort < 1 || n.LastPort < n.FirstPort || n.LastPort > 65535 {
		return invalid("first_port", strconv.Itoa(n.FirstPort)+"-"+strconv.Itoa(n.LastPort), "a range of TCP ports")
	}
	if n.Listen == "" {
		n.Listen = "127.0.0.1"
	}
	if ip := net.ParseIP(n.Listen); ip == nil || ip.To4() == nil {
		return invalid("listen", n.Listen, "an IPv4 address of the host")
	}
	return nil
}

// network returns what a Spec's name of a network means.
func (h *HostConfig) network(name string) Network {
	if name == "" {
		name = h.Network
	}
	if n, ok := h.Networks[name]; ok {
		return n
	}
	return Network{Kind: LibvirtNetwork, Source: name}
}
