package openstack

import (
	"context"
	"fmt"
	"slices"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Driver drives one OpenStack cloud. It implements hypervisor.Driver, Describer, Suspender, Hibernator, Rebooter,
// Resizer, Shelver, Migrator, Consoler, Meter and Imager. All methods are safe for concurrent use.
type Driver struct {
	config Config
	cloud  *cloud
	groups groups
}

var (
	_ hypervisor.Driver     = (*Driver)(nil)
	_ hypervisor.Describer  = (*Driver)(nil)
	_ hypervisor.Suspender  = (*Driver)(nil)
	_ hypervisor.Hibernator = (*Driver)(nil)
	_ hypervisor.Rebooter   = (*Driver)(nil)
	_ hypervisor.Resizer    = (*Driver)(nil)
	_ hypervisor.Shelver    = (*Driver)(nil)
	_ hypervisor.Migrator   = (*Driver)(nil)
	_ hypervisor.Consoler   = (*Driver)(nil)
	_ hypervisor.Meter      = (*Driver)(nil)
	_ hypervisor.Imager     = (*Driver)(nil)
)

// New returns a driver for a cloud. It makes no request: the log-in comes with the first call. A malformed
// configuration is pool.ErrInvalid.
func New(c Config) (*Driver, error) {
	c, err := c.normalize()
	if err != nil {
		return nil, &hypervisor.Error{Op: "configure openstack", Kind: pool.ErrInvalid, Cause: err}
	}
	return &Driver{config: c, cloud: newCloud(c.Cloud, c.Timeouts, c.HTTP)}, nil
}

// Describe implements hypervisor.Describer. In the mode Hypervisors it says the same of any host of the driver, as
// which there are is known to Nova only.
//
// A resize may put a server on another computer: only a region can do that. A migration names its target: only
// hypervisors can be named.
func (d *Driver) Describe(id pool.HostID) hypervisor.Capabilities {
	if id.Driver() != d.config.Name || d.config.Mode == Region && id != d.region() {
		return hypervisor.Capabilities{}
	}
	c := hypervisor.Capabilities{Settles: d.config.Settles, FirstBoot: true}
	for _, a := range d.abilities() {
		if !slices.Contains(d.config.Without, a) {
			c.Abilities = append(c.Abilities, a)
		}
	}
	return c
}

// abilities returns what the mode can do, sorted.
func (d *Driver) abilities() []hypervisor.Ability {
	if d.config.Mode == Region {
		return []hypervisor.Ability{
			hypervisor.CanConsole, hypervisor.CanHibernate, hypervisor.CanImage, hypervisor.CanMeter, hypervisor.CanReboot, hypervisor.CanResize,
			hypervisor.CanShelve, hypervisor.CanSuspend,
		}
	}
	return []hypervisor.Ability{
		hypervisor.CanConsole, hypervisor.CanHibernate, hypervisor.CanImage, hypervisor.CanMeter, hypervisor.CanMigrate, hypervisor.CanMigrateLive,
		hypervisor.CanReboot, hypervisor.CanShelve, hypervisor.CanSuspend,
	}
}

// offers reports whether an ability is there.
func (d *Driver) offers(a hypervisor.Ability) bool {
	return slices.Contains(d.abilities(), a) && !slices.Contains(d.config.Without, a)
}

// region is the id of the one host of the mode Region.
func (d *Driver) region() pool.HostID { return pool.NewHostID(d.config.Name, d.config.native()) }

// Hosts implements hypervisor.Driver.
func (d *Driver) Hosts(ctx context.Context) ([]pool.Host, error) {
	s := d.session(ctx)
	var hosts []pool.Host
	var err error
	if d.config.Mode == Region {
		var h pool.Host
		h, err = s.regionHost()
		hosts = []pool.Host{h}
	} else {
		hosts, err = s.hypervisorHosts()
	}
	if err != nil {
		return nil, wrap("list hosts", hypervisor.Ref{}, s.call, err)
	}
	return hosts, nil
}

// knows returns an error unless the driver has the host; in the mode Hypervisors it may ask.
func (s *session) knows(id pool.HostID) error {
	err := s.own(id)
	if err == nil && s.d.config.Mode == Hypervisors {
		_, err = s.hypervisor(id)
	}
	return err
}

// own is knows without asking: it is nil for a host that the driver may have.
func (s *session) own(id pool.HostID) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if id.Driver() == s.d.config.Name && (s.d.config.Mode == Hypervisors || id == s.d.region()) {
		return nil
	}
	return refuse(hypervisor.ErrNotFound, fmt.Errorf("the driver %s has no such host", s.d.config.Name))
}

// unsupported is the error of a call whose ability is not offered.
func (d *Driver) unsupported(a hypervisor.Ability, op string, r hypervisor.Ref) error {
	if d.offers(a) {
		return nil
	}
	return wrap(op, r, new(call), errNotOffered(a))
}
