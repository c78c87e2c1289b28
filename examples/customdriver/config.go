package customdriver

import (
	"path"
	"strconv"
	"sync"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Config says which hosts a Driver drives.
type Config struct {
	Name  string        // of the driver, the first part of its hosts' ids; empty: "process"
	Hosts []HostConfig  // at least one
	Grace time.Duration // until a program has obeyed a request to end; then force; zero: 10 s
}

// HostConfig is one host: a directory on a computer.
type HostConfig struct {
	Name     string            // the second part of the host's id; unique, never to be changed
	Dir      string            // absolute; it must have the directories machines and images
	Shell    Shell             // nil: this computer's sh
	Zone     string            // failure domain
	Labels   map[string]string //
	Reserved pool.Resources    // what the computer keeps for itself
}

// New returns a driver for the hosts of the configuration. It reaches none of them: a host that is down now must not keep a
// daemon from starting. A malformed configuration is pool.ErrInvalid.
func New(c Config) (*Driver, error) {
	if c.Name == "" {
		c.Name = "process"
	}
	if c.Grace <= 0 {
		c.Grace = 10 * time.Second
	}
	if len(c.Hosts) == 0 {
		return nil, &pool.Error{Op: "configure " + c.Name, Kind: pool.ErrInvalid, Field: "hosts", Want: "one or more"}
	}
	d := &Driver{grace: c.Grace, hosts: make(map[pool.HostID]*host)}
	for i, hc := range c.Hosts {
		h, err := newHost(c.Name, hc)
		if err == nil && d.hosts[h.id] != nil {
			err = &pool.Error{Kind: pool.ErrInvalid, Field: "name", Value: hc.Name, Want: "a name that is unique"}
		}
		if err != nil {
			return nil, pool.InField("hosts["+strconv.Itoa(i)+"]", err)
		}
		d.hosts[h.id] = h
	}
	return d, nil
}

// host is a host as configured and as last seen.
type host struct {
	id     pool.HostID
	config HostConfig

	mu   sync.Mutex
	seen pool.Host
}

func newHost(driver string, c HostConfig) (*host, error) {
	if c.Shell == nil {
		c.Shell = Command("sh")
	}
	if !path.IsAbs(c.Dir) {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "dir", Value: c.Dir, Want: "an absolute path"}
	}
	c.Reserved = c.Reserved.Clone()
	h := &host{id: pool.NewHostID(driver, c.Name), config: c}
	if err := c.Reserved.Valid(); err != nil {
		return nil, pool.InField("reserved", err)
	}
	var err error
	h.seen, err = pool.Host{ID: h.id, Name: c.Name, Zone: c.Zone, Labels: c.Labels}.Normalize() // checks them, and copies
	return h, err
}

// host returns the host with that id.
func (d *Driver) host(op string, r hypervisor.Ref) (*host, error) {
	if h := d.hosts[r.Host]; h != nil {
		return h, nil
	}
	return nil, failed(op, r, hypervisor.ErrNotFound, nil)
}
