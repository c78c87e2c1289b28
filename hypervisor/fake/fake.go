package fake

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Config says how a simulated fleet behaves. The zero value is an empty fleet on which every call succeeds
// at once.
type Config struct {
	Name  string      // of the driver, the first part of its hosts' ids; empty: "fake"
	Hosts []pool.Host // at the beginning; not used when Path holds a fleet already
	Seed  uint64      // of latency and faults

	Latency  Latency       // of every call
	Build    time.Duration // what a create or unshelve takes beside the latency
	Boot     time.Duration // from start until the guest has addresses
	Shutdown time.Duration // what a stop takes beside the latency
	Migrate  time.Duration // what a migration takes beside the latency

	// Copies: the hypervisor does not know machine ids, so that a second create of the same id on the same
	// host makes a second copy. Otherwise it is ErrExists, and Capabilities say CreateUnique.
	Copies bool

	// Settles is what Capabilities say, and the bound for the lateness of creates drawn by chance (not for
	// scripted ones); zero: one minute, negative: not known.
	Settles time.Duration

	// Overfill: nothing is refused for lack of room. Overfills then tells of use beyond the capacity,
	// which a refusal would hide.
	Overfill bool

	Images  []string             // sources that exist; nil: every source but the empty one
	Kinds   []pool.Kind          // what hosts that do not say so run; nil: virtual machines
	Without []hypervisor.Ability // abilities that are not offered; CanResize and CanMigrate take the hot and live ones with them

	Faults Faults           // by chance
	Hook   func(Call) Fault // where a test wants them; called by many goroutines, without locks, may block

	// Path is the file in which the simulated hypervisor keeps its hosts and machines; empty: nowhere. What
	// a call has done is in the file before the call returns, and survives the death of the process. Only
	// one Driver may use a file.
	Path string
}

// Driver is a simulated fleet. It implements hypervisor.Driver, Describer and all the optional interfaces of
// package hypervisor. All methods are safe for concurrent use.
type Driver struct {
	config Config

	mu       sync.Mutex
	err      error // why the driver cannot work at all: bad configuration, unreadable file, closed
	faults   Faults
	planned  plannedFault
	hosts    map[pool.HostID]*host
	shelf    map[hypervisor.Tag]*machine // what is put aside
	imported []*image                    // that have been imported
	number   uint32                      // of the next machine; gives its addresses
	journal  *journal

	landings map[int]*time.Timer // effects that are still to land
	landing  int                 // of the next one
	idle     chan struct{}       // closed when landings is empty; nil while nothing waits for that

	calls     map[Op]int
	injected  map[FaultKind]int
	counts    map[pool.MachineID]*Count
	running   map[copyOf]int
	doubles   []Double
	touched   []Touch
	overfills []Overfill
	fences    []Fence
}

var (
	_ hypervisor.Driver       = (*Driver)(nil)
	_ hypervisor.Describer    = (*Driver)(nil)
	_ hypervisor.Suspender    = (*Driver)(nil)
	_ hypervisor.Rebooter     = (*Driver)(nil)
	_ hypervisor.Shelver      = (*Driver)(nil)
	_ hypervisor.Hibernator   = (*Driver)(nil)
	_ hypervisor.Resizer      = (*Driver)(nil)
	_ hypervisor.Migrator     = (*Driver)(nil)
	_ hypervisor.Snapshotter  = (*Driver)(nil)
	_ hypervisor.Fencer       = (*Driver)(nil)
	_ hypervisor.Consoler     = (*Driver)(nil)
	_ hypervisor.Meter        = (*Driver)(nil)
	_ hypervisor.DiskAttacher = (*Driver)(nil)
	_ hypervisor.Imager       = (*Driver)(nil)
	_ hypervisor.Watcher      = (*Driver)(nil)
	_ hypervisor.Simulator    = (*Driver)(nil)
)

// errClosed is the reason of every call after Close.
var errClosed = errors.New("it is closed")

// New returns a fleet. When the configuration is wrong or Path cannot be read, every call fails with the
// error that Open would have returned.
func New(c Config) *Driver {
	if c.Name == "" {
		c.Name = "fake"
	}
	switch {
	case c.Settles == 0:
		c.Settles = time.Minute
	case c.Settles < 0:
		c.Settles = 0
	}
	c.Images, c.Kinds, c.Without = slices.Clone(c.Images), slices.Clone(c.Kinds), slices.Clone(c.Without)
	d := &Driver{
		config:   c,
		faults:   c.Faults,
		hosts:    make(map[pool.HostID]*host),
		shelf:    make(map[hypervisor.Tag]*machine),
		landings: make(map[int]*time.Timer),
		calls:    make(map[Op]int),
		injected: make(map[FaultKind]int),
		counts:   make(map[pool.MachineID]*Count),
		running:  make(map[copyOf]int),
	}
	d.err = d.begin()
	return d
}

// Open is New for programs: it says at once when the configuration is wrong or Path cannot be read.
func Open(c Config) (*Driver, error) {
	d := New(c)
	if d.err != nil {
		return nil, d.err
	}
	return d, nil
}

func (d *Driver) begin() error {
	if err := pool.ValidName(d.config.Name); err != nil {
		return pool.InField("config.name", err)
	}
	if err := d.config.Faults.valid(); err != nil {
		return err
	}
	if d.config.Path != "" {
		found, err := d.load()
		if err != nil || found {
			return err
		}
	}
	for _, h := range d.config.Hosts {
		if err := d.addHost(h); err != nil {
			return err
		}
	}
	return nil
}

// Close forgets the effects that are still to land and closes the file. Every later call is ErrUnavailable.
// It is idempotent.
func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n, t := range d.landings {
		t.Stop()
		d.landed(n)
	}
	if d.err == nil {
		d.err = &pool.Error{Op: "use the simulated fleet", Kind: pool.ErrUnavailable, Cause: errClosed}
	}
	j := d.journal
	d.journal = nil
	return j.close()
}

// Wait blocks until every effect that was to land later than its call has landed, or ctx ends.
func (d *Driver) Wait(ctx context.Context) error {
	d.mu.Lock()
	if len(d.landings) == 0 {
		d.mu.Unlock()
		return nil
	}
	if d.idle == nil {
		d.idle = make(chan struct{})
	}
	idle := d.idle
	d.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Simulated implements hypervisor.Simulator.
func (d *Driver) Simulated() {}

// Describe implements hypervisor.Describer. It is the same for all hosts, but that aggregates, which place
// machines by themselves, cannot be fenced and do not migrate.
func (d *Driver) Describe(host pool.HostID) hypervisor.Capabilities {
	c := hypervisor.Capabilities{
		CreateUnique: !d.config.Copies,
		Settles:      d.config.Settles,
		FirstBoot:    true,
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range []hypervisor.Ability{
		hypervisor.CanAttachDisk, hypervisor.CanConsole, hypervisor.CanFence, hypervisor.CanHibernate, hypervisor.CanImage, hypervisor.CanMeter, hypervisor.CanMigrate, hypervisor.CanMigrateLive, hypervisor.CanReboot,
		hypervisor.CanResize, hypervisor.CanResizeHot, hypervisor.CanShelve, hypervisor.CanSnapshot, hypervisor.CanSuspend, hypervisor.CanWatch,
	} {
		if d.offers(host, a) {
			c.Abilities = append(c.Abilities, a)
		}
	}
	return c
}

// offers reports whether the ability works on the host, as far as is known; called with the lock held.
func (d *Driver) offers(id pool.HostID, a hypervisor.Ability) bool {
	without := func(a hypervisor.Ability) bool { return slices.Contains(d.config.Without, a) }
	h := d.hosts[id]
	aggregate := h != nil && h.spec.Aggregate()
	switch a {
	case hypervisor.CanFence, hypervisor.CanMigrate:
		return !aggregate && !without(a)
	case hypervisor.CanMigrateLive:
		return !without(a) && d.offers(id, hypervisor.CanMigrate)
	case hypervisor.CanResizeHot:
		return !without(a) && d.offers(id, hypervisor.CanResize)
	}
	return !without(a)
}
