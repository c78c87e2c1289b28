package hetzner

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/internal/inturn"
	"github.com/berthage/berthage/pool"
)

// Driver drives the locations of one project. It implements hypervisor.Driver, Describer, DiskAttacher, Rebooter,
// Resizer, Shelver and Meter. All methods are safe for concurrent use.
type Driver struct {
	config    Config
	client    *hcloud.Client
	locations map[pool.HostID]*LocationConfig
	order     []pool.HostID       // of the configuration
	turns     inturn.Keys[string] // calls on one machine, one after another
	servers   shared[[]*hcloud.Server]
	catalog   catalog
	metered   metered
}

var (
	_ hypervisor.Driver       = (*Driver)(nil)
	_ hypervisor.Describer    = (*Driver)(nil)
	_ hypervisor.DiskAttacher = (*Driver)(nil)
	_ hypervisor.Rebooter     = (*Driver)(nil)
	_ hypervisor.Resizer      = (*Driver)(nil)
	_ hypervisor.Shelver      = (*Driver)(nil)
	_ hypervisor.Meter        = (*Driver)(nil)
)

// New returns a driver for the locations of the configuration. It sends nothing. A malformed configuration is
// pool.ErrInvalid.
func New(c Config) (*Driver, error) {
	c, err := c.normalize()
	if err != nil {
		return nil, &hypervisor.Error{Op: "configure hetzner", Kind: pool.ErrInvalid, Cause: err}
	}
	options := []hcloud.ClientOption{
		hcloud.WithToken(c.Token),
		hcloud.WithApplication("berthage", ""),
		// Whether a request can be sent again is decided here, request by request, and never by a library.
		hcloud.WithRetryOpts(hcloud.RetryOpts{MaxRetries: 0}),
		hcloud.WithHTTPClient(&http.Client{Transport: &transport{base: c.Transport, limit: c.Limit, poll: c.Timeouts.Poll}}),
	}
	if c.Endpoint != "" {
		options = append(options, hcloud.WithEndpoint(c.Endpoint))
	}
	d := &Driver{config: c, client: hcloud.NewClient(options...), locations: make(map[pool.HostID]*LocationConfig)}
	for i := range c.Locations {
		id := pool.NewHostID(c.Name, c.Locations[i].Location)
		d.locations[id] = &c.Locations[i]
		d.order = append(d.order, id)
	}
	return d, nil
}

// Describe implements hypervisor.Describer. The service refuses a second server of a name, so that a create can be
// repeated. Settles is Timeouts.Settle: a request that creates is worked on while its connection stands; how long a
// request can wait inside the service once its caller has gone away the service does not say.
func (d *Driver) Describe(id pool.HostID) hypervisor.Capabilities {
	if d.locations[id] == nil {
		return hypervisor.Capabilities{}
	}
	can := []hypervisor.Ability{hypervisor.CanMeter, hypervisor.CanReboot, hypervisor.CanResize, hypervisor.CanShelve}
	if d.locations[id].VolumeSpace > 0 {
		can = append([]hypervisor.Ability{hypervisor.CanAttachDisk}, can...)
	}
	return hypervisor.Capabilities{CreateUnique: true, Settles: d.config.Timeouts.Settle, FirstBoot: true, Abilities: can}
}

// location returns the location of that host.
func (d *Driver) location(id pool.HostID) (*LocationConfig, error) {
	if l := d.locations[id]; l != nil {
		return l, nil
	}
	return nil, refuse(hypervisor.ErrNotFound, errors.New("no such location is configured"))
}

// call is one call of the Driver. It is used by one goroutine.
type call struct {
	*Driver
	ctx     context.Context
	at      *LocationConfig
	changed bool // a request that changes something may have been carried out
}

// read makes the error of a request that changes nothing harmless.
func (c *call) read(err error) error {
	if err != nil {
		err = c.harmless(err)
	}
	return err
}

// sent does the same for a request that changes something, and notes that it may have done so.
func (c *call) sent(err error) error {
	if err == nil {
		c.changed = true
		return nil
	}
	err = c.harmless(err)
	if _, open := verdict(err); open {
		c.changed = true
	}
	return err
}

// patiently sends a request that changes something, again and again while the service is at work on the same thing,
// and says so (423 locked, 409 conflict): it has then done nothing.
func (c *call) patiently(request func() error) error {
	deadline, wait := time.Now().Add(c.config.Timeouts.Locked), c.config.Timeouts.Poll
	for {
		err := c.sent(request())
		if !said(err, hcloud.ErrorCodeLocked, hcloud.ErrorCodeConflict) || time.Now().After(deadline) {
			return err
		}
		if e := pause(c.ctx, wait); e != nil {
			return e
		}
		wait = c.later(wait)
	}
}

// later is how long to wait the next time.
func (c *call) later(wait time.Duration) time.Duration {
	return min(wait*3/2, 10*c.config.Timeouts.Poll)
}

// follow waits until actions have ended, and returns the first error that one has ended in. The service works on
// with what it has accepted, whether anybody waits or not.
func (c *call) follow(actions ...*hcloud.Action) error {
	for _, a := range actions {
		wait, progress := c.config.Timeouts.Poll, -1
		for a.Status == hcloud.ActionStatusRunning {
			if a.Progress != progress {
				progress = a.Progress
				c.config.Logger.Debug("action", "command", a.Command, "id", a.ID, "progress", progress)
			}
			if err := pause(c.ctx, wait); err != nil {
				return err
			}
			wait = c.later(wait)
			next, _, err := c.client.Action.GetByID(c.ctx, a.ID)
			if err := c.read(err); err != nil {
				return err
			}
			if next == nil {
				return refusef(hypervisor.ErrUnknown, "action %d is not known any more", a.ID)
			}
			a = next
		}
		if a.Status != hcloud.ActionStatusSuccess {
			return &actionError{command: a.Command, code: hcloud.ErrorCode(a.ErrorCode), message: strings.ReplaceAll(a.ErrorMessage, c.config.Token, "(token)")}
		}
	}
	return nil
}

// word is a random word that makes one attempt to create something unlike any other.
func word() string { return strings.ToLower(rand.Text()[:8]) }
