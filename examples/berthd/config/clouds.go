package config

import (
	"fmt"
	"strings"

	"github.com/berthage/berthage/pool"
)

// Place is what an operator says of a host that its hypervisor does not know.
type Place struct {
	Zone   string            `json:"zone,omitempty"`   // failure domain
	Labels map[string]string `json:"labels,omitempty"` // for constraints
	Taints []pool.Taint      `json:"taints,omitempty"` // which instances must tolerate
	Cost   float64           `json:"cost,omitempty"`   // units of currency per hour
	CPU    float64           `json:"cpu,omitempty"`    // over-commit ratio of cores; 0: 1.0; not of an aggregate
	Fence  []string          `json:"fence,omitempty"`  // as of a libvirt host
}

// Proxmox is one Proxmox VE cluster. URL and a credential are needed.
type Proxmox struct {
	Name        string            `json:"name,omitempty"`          // of the driver, in hosts' ids and images' sources; empty: "proxmox"
	URL         string            `json:"url"`                     // of any node, "https://pve1.example:8006"
	TokenFile   string            `json:"token_file,omitempty"`    // with an API token, "user@realm!name=secret"
	User        string            `json:"user,omitempty"`          // or a user, "user@realm",
	Password    string            `json:"password_file,omitempty"` // with a file of the user's password
	CAFile      string            `json:"ca_file,omitempty"`       // PEM; empty: what this machine trusts
	Nodes       map[string]Place  `json:"nodes,omitempty"`         // those that are used; empty: all
	Storages    map[string]string `json:"storages,omitempty"`      // kind by storage; empty: every storage for images, as standard
	SeedStorage string            `json:"seed_storage,omitempty"`  // for ISO images, by which guests get user-data and mounts
	Network     string            `json:"network,omitempty"`       // of machines that ask for none by name; empty: "vmbr0"
	CPUType     string            `json:"cpu_type,omitempty"`      // empty: as in the template
	Pool        string            `json:"pool,omitempty"`          // resource pool of the cluster; empty: none
	Linked      bool              `json:"linked,omitempty"`        // clones are linked to their templates
	Agent       bool              `json:"agent,omitempty"`         // images run the QEMU guest agent
	FirstVMID   int               `json:"first_vmid,omitempty"`    // a range from which machines' VMIDs follow; 0: what the cluster offers
	LastVMID    int               `json:"last_vmid,omitempty"`     //
	MigrateLive bool              `json:"migrate_live,omitempty"`  // running machines may be moved
}

// OpenStack is one region of a cloud. Without Cloud the OS_ variables of the environment say which.
type OpenStack struct {
	Name        string            `json:"name,omitempty"`        // of the driver; empty: "openstack"
	Cloud       string            `json:"cloud,omitempty"`       // in clouds.yaml
	CloudsFile  string            `json:"clouds_file,omitempty"` // empty: the usual places
	Mode        string            `json:"mode,omitempty"`        // "region", which places by itself, or, for admins, "hypervisors"; empty: region
	Hosts       map[string]Place  `json:"hosts,omitempty"`       // by the region's name, or a hypervisor's; "": all others
	Networks    map[string]string `json:"networks,omitempty"`    // Neutron networks by the names that specs use
	Network     string            `json:"network,omitempty"`     // that stands for none; empty: Nova chooses
	Zone        string            `json:"availability_zone,omitempty"`
	Groups      []string          `json:"security_groups,omitempty"`
	Flavors     []string          `json:"flavors,omitempty"`        // those that may be used; empty: all
	NewFlavors  bool              `json:"create_flavors,omitempty"` // in the mode hypervisors, of sizes that have none
	Placement   bool              `json:"placement,omitempty"`      // the credential may read Placement
	Diagnostics bool              `json:"diagnostics,omitempty"`    // the credential may read servers' diagnostics
}

// Hetzner is one project of Hetzner Cloud.
type Hetzner struct {
	Name         string            `json:"name,omitempty"`     // of the driver; empty: "hetzner"
	TokenFile    string            `json:"token_file"`         // with the project's API token
	Endpoint     string            `json:"endpoint,omitempty"` // of the API; empty: the public service
	Locations    []HetznerLocation `json:"locations"`          // at least one
	Architecture string            `json:"architecture,omitempty"`
	Types        []string          `json:"types,omitempty"`      // server types that may be used; empty: all
	Public       string            `json:"public,omitempty"`     // both, ipv4 or ipv6; empty: both
	GrowDisks    bool              `json:"grow_disks,omitempty"` // a resize may let the root disk grow, for good
}

// HetznerLocation is one location, which places by itself. Servers bounds the bill.
type HetznerLocation struct {
	Location string `json:"location"` // "fsn1"
	Place
	Servers int   `json:"servers"`           // at most, those of others included
	Cores   int   `json:"cores,omitempty"`   // that these have at most; 0: no bound but servers
	Volumes int64 `json:"volumes,omitempty"` // bytes of volumes at most; 0: none
}

// Names of drivers that are not told.
const (
	DefaultProxmox   = "proxmox"
	DefaultOpenStack = "openstack"
	DefaultHetzner   = "hetzner"
)

// checkClouds reports what cannot work of the lists; the drivers check the rest.
func (c Config) checkClouds() error {
	names := map[string]string{"sim": "the simulated fleet", "libvirt": "libvirt"}
	name := func(field, given, or string) error {
		if given == "" {
			given = or
		}
		if other, taken := names[given]; taken {
			return fmt.Errorf("%s.name: %q is that of %s: give each driver a name of its own", field, given, other)
		}
		names[given] = field
		return nil
	}
	for i, p := range c.Proxmox {
		field := fmt.Sprintf("proxmox[%d]", i)
		switch {
		case p.URL == "":
			return fmt.Errorf("%s.url: an address such as https://pve1.example:8006 is needed", field)
		case (p.TokenFile == "") == (p.User == ""):
			return fmt.Errorf("%s: either token_file, or user and password_file", field)
		case (p.User == "") != (p.Password == ""):
			return fmt.Errorf("%s: user and password_file belong together", field)
		}
		for node, at := range p.Nodes {
			if err := at.check(); err != nil {
				return fmt.Errorf("%s.nodes[%q]: %w", field, node, err)
			}
		}
		if err := name(field, p.Name, DefaultProxmox); err != nil {
			return err
		}
	}
	for i, o := range c.OpenStack {
		field := fmt.Sprintf("openstack[%d]", i)
		for host, at := range o.Hosts {
			if err := at.check(); err != nil {
				return fmt.Errorf("%s.hosts[%q]: %w", field, host, err)
			}
		}
		if err := name(field, o.Name, DefaultOpenStack); err != nil {
			return err
		}
	}
	for i, h := range c.Hetzner {
		field := fmt.Sprintf("hetzner[%d]", i)
		switch {
		case h.TokenFile == "":
			return fmt.Errorf("%s.token_file: a file with the project's API token is needed", field)
		case len(h.Locations) == 0:
			return fmt.Errorf("%s.locations: at least one is needed, such as fsn1", field)
		}
		for n, l := range h.Locations {
			switch err := l.check(); {
			case err != nil:
				return fmt.Errorf("%s.locations[%d]: %w", field, n, err)
			case l.Location == "" || l.Servers < 1:
				return fmt.Errorf("%s.locations[%d]: the name of a location, and how many servers there may be", field, n)
			case len(l.Fence) > 0:
				return fmt.Errorf("%s.locations[%d].fence: a location is no server that could be switched off", field, n)
			}
		}
		if err := name(field, h.Name, DefaultHetzner); err != nil {
			return err
		}
	}
	return nil
}

func (p Place) check() error {
	switch {
	case len(p.Fence) > 0 && !strings.HasPrefix(p.Fence[0], "/"):
		return fmt.Errorf("fence: %q: the absolute path of a program, and its arguments", p.Fence[0])
	case !(p.Cost >= 0 && p.Cost < 1e9):
		return fmt.Errorf("cost: %v: units of currency per hour", p.Cost)
	}
	return nil
}
