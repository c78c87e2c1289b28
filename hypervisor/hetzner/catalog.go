package hetzner

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// catalog is what the service sells, as it was asked last.
type catalog struct {
	mu    sync.Mutex
	asked time.Time
	offer *offer
}

// offer is what the service sells: types by name, and per location the hourly net price of each.
type offer struct {
	locations map[string]bool
	types     map[string]*hcloud.ServerType
	sold      map[string][]*hcloud.ServerType // by location: those of the configuration, by name
	address   map[string]int64                // by location: of an IPv4 address
	currency  string
}

// ClassServers is the class in which servers are counted, one by one, against LocationConfig.Servers. Every shape
// takes one.
const ClassServers pool.Class = "hetzner.servers"

// diskGB is what one GB of a server type's disk counts. The service says GB of everything. Memory and volumes are taken
// to be of GiB; of disks only as much is counted as there is in any case.
const diskGB = 1_000_000_000

// resources is what a server of the type takes.
func (d *Driver) resources(t *hcloud.ServerType) pool.Resources {
	return pool.Resources{
		pool.CPU:                      int64(t.Cores) * pool.Core,
		pool.Memory:                   int64(math.Round(float64(t.Memory) * float64(pool.GiB))),
		d.config.LocalStorage.Class(): int64(t.Disk) * diskGB,
		ClassServers:                  1,
	}
}

// offered returns what the service sells, asked anew when the last answer is old.
func (c *call) offered() (*offer, error) {
	turn, err := c.turns.Take(c.ctx, "catalog")
	if err != nil {
		return nil, err
	}
	defer turn()
	c.catalog.mu.Lock()
	known, asked := c.catalog.offer, c.catalog.asked
	c.catalog.mu.Unlock()
	if known != nil && time.Since(asked) < c.config.Timeouts.Catalog {
		return known, nil
	}
	asked = time.Now()
	next, err := c.askOffer()
	if err != nil {
		return nil, err
	}
	c.catalog.mu.Lock()
	defer c.catalog.mu.Unlock()
	c.catalog.offer, c.catalog.asked = next, asked
	return next, nil
}

func (c *call) askOffer() (*offer, error) {
	o := &offer{
		locations: make(map[string]bool), types: make(map[string]*hcloud.ServerType),
		sold: make(map[string][]*hcloud.ServerType), address: make(map[string]int64),
	}
	locations, err := pages(func(l hcloud.ListOpts) ([]*hcloud.Location, *hcloud.Response, error) {
		return c.client.Location.List(c.ctx, hcloud.LocationListOpts{ListOpts: l})
	}, func(l *hcloud.Location) int64 { return l.ID })
	if err := c.read(err); err != nil {
		return nil, err
	}
	for _, l := range locations {
		o.locations[l.Name] = true
	}
	types, err := pages(func(l hcloud.ListOpts) ([]*hcloud.ServerType, *hcloud.Response, error) {
		return c.client.ServerType.List(c.ctx, hcloud.ServerTypeListOpts{ListOpts: l})
	}, func(t *hcloud.ServerType) int64 { return t.ID })
	if err := c.read(err); err != nil {
		return nil, err
	}
	for _, t := range types {
		o.types[t.Name] = t
		if string(t.Architecture) != string(c.config.Architecture) || t.Cores <= 0 || t.Memory <= 0 || t.Disk <= 0 || pool.ValidName(t.Name) != nil {
			continue
		}
		named := slices.Contains(c.config.Types, t.Name)
		if len(c.config.Types) > 0 && !named {
			continue
		}
		for _, at := range t.Locations {
			if at.Location != nil && (named || !at.IsDeprecated() && !t.IsDeprecated()) {
				o.sold[at.Location.Name] = append(o.sold[at.Location.Name], t)
			}
		}
	}
	for _, list := range o.sold {
		slices.SortFunc(list, func(a, b *hcloud.ServerType) int { return strings.Compare(a.Name, b.Name) })
	}
	prices, _, err := c.client.Pricing.Get(c.ctx)
	if err := c.read(err); err != nil {
		return nil, err
	}
	o.currency = prices.Currency
	for _, ip := range prices.PrimaryIPs {
		for _, at := range ip.Pricings {
			if ip.Type != string(hcloud.PrimaryIPTypeIPv4) {
				continue
			}
			if o.address[at.Location], err = millionths(at.Hourly.Net); err != nil {
				return nil, err
			}
		}
	}
	return o, nil
}

// Price is what an hour of a shape costs at a location, its public IPv4 address included if it has one; volumes,
// snapshots and traffic cost extra.
type Price struct {
	Shape    string
	Hourly   int64  // net, in millionths of the currency
	Currency string // "EUR"
}

// Prices returns what an hour of each of a host's shapes costs, in the order of their names. Host.Cost is the least
// of them, unless the configuration says otherwise.
func (d *Driver) Prices(ctx context.Context, id pool.HostID) ([]Price, error) {
	at, err := d.location(id)
	if err != nil {
		return nil, wrap("prices", hypervisor.Ref{Host: id}, false, err)
	}
	c := &call{Driver: d, ctx: ctx, at: at}
	out, err := c.prices()
	return out, wrap("prices", hypervisor.Ref{Host: id}, false, err)
}

func (c *call) prices() ([]Price, error) {
	o, err := c.offered()
	if err != nil {
		return nil, err
	}
	var out []Price
	for _, t := range o.sold[c.at.Location] {
		n, err := c.price(o, t, c.at.Location)
		if err != nil {
			return nil, err
		}
		out = append(out, Price{Shape: t.Name, Hourly: n, Currency: clean(o.currency)})
	}
	return out, nil
}

// price returns what an hour of a type costs at a location.
func (c *call) price(o *offer, t *hcloud.ServerType, location string) (int64, error) {
	for _, p := range t.Pricings {
		if p.Location == nil || p.Location.Name != location {
			continue
		}
		n, err := millionths(p.Hourly.Net)
		if err == nil && c.config.Public != OnlyIPv6 {
			n = min(n, mostPrice) + min(o.address[location], mostPrice)
		}
		return n, err
	}
	return 0, refusef(hypervisor.ErrUnavailable, "no price is told of type %s at %s", pool.Quote(t.Name), location)
}

const mostPrice = math.MaxInt64 / 4

// millionths reads a decimal price, rounded up to a millionth.
func millionths(s string) (int64, error) {
	whole, frac, _ := strings.Cut(s, ".")
	digits := func(s string) bool {
		return strings.Trim(s, "0123456789") == ""
	}
	if whole == "" || len(whole) > 12 || len(frac) > 40 || !digits(whole) || !digits(frac) {
		return 0, refuse(hypervisor.ErrUnavailable, errors.New("a price that is no decimal number: "+pool.Quote(s)))
	}
	up := strings.Trim(frac[min(len(frac), 6):], "0") != ""
	n := int64(0)
	for _, r := range whole + (frac + "000000")[:6] {
		n = n*10 + int64(r-'0')
	}
	if up {
		n++
	}
	return n, nil
}
