package hypervisortest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Setup is the driver under test and what the suite may do with it. Driver, Hosts and Order are required;
// what is left out of the rest makes the cases that need it "not offered".
type Setup struct {
	// Name stands at the head of the driver's column in a table; empty: the driver's part of the host ids.
	Name string
	// Driver should give up on a guest that does not shut down after a short time: most guests of the suite
	// are stopped before they have booted.
	Driver hypervisor.Driver

	// Hosts are those on which machines may be made: two, or one where there is no other. The first must have
	// room for four machines of Order, the second for two, and both for one of twice the sizes.
	Hosts []pool.HostID

	// Order is the template of every order: Spec with its sizes and at least one disk, Image, Source. Ref,
	// Name and Allocation are filled in by the suite, and Spec.Guest.User where it is empty.
	Order hypervisor.Order

	// Allocate divides a spec among the devices of a host, as the scheduler would. Nil: each disk goes to
	// the largest device of its class, and on an aggregate the smallest shape that covers the spec is taken.
	Allocate func(h pool.Host, s pool.Spec) (pool.Allocation, error)

	// Abilities is what the driver is expected to offer on Hosts. Nil: whatever it offers.
	Abilities []hypervisor.Ability

	// BadSource is a well-formed source of an image that is not there.
	BadSource string

	// ExtraDisk is what two more disks of a machine look like; zero: 64 MiB of the root disk's storage.
	ExtraDisk pool.Disk

	// ImageFile is the content of a raw image that may be imported, for a driver with hypervisor.CanImage; nil: one MiB of
	// zeros. With ImageBoots a machine of Order is made of it too.
	ImageFile  []byte
	ImageBoots bool

	// Untagged makes a machine of somebody else's that stands where the driver would put the machine of that
	// id (by name, by UUID), and returns how to remove it.
	Untagged func(ctx context.Context, r hypervisor.Ref) (remove func() error, err error)

	// Reopen ends the driver as the end of its process would and returns another one for the same hosts.
	Reopen func(ctx context.Context) (hypervisor.Driver, error)

	// Traces names everything on a host that a machine could leave behind: volumes, files, definitions. What
	// is there at the end of the suite and was not there at the beginning is a leak.
	Traces func(ctx context.Context, host pool.HostID) ([]string, error)

	// PowerOn brings a host back that the suite has fenced: the last of Hosts. Its machines must stay off.
	PowerOn func(ctx context.Context, host pool.HostID) error

	// Content tells what is on the disks of a stopped machine, as text that can be compared: a checksum, or
	// what a guest has written there. Where it is nil the suite does not look into disks.
	Content func(ctx context.Context, r hypervisor.Ref) (string, error)

	// Disturb lets the n-th request, from 1, that the driver sends to its hypervisor from now on go wrong, once; the calls of
	// the suite come one after the other meanwhile. Hit ends that, and reports whether there has been an n-th request.
	Disturb func(d Disturbance, n int) (hit func() bool)
	// Disturbances are those that Disturb can make; nil: all.
	Disturbances []Disturbance

	// Timeout is what one call may take; zero: two minutes.
	Timeout time.Duration
	// Boot is how long a guest takes from its start until it has written on its console; zero: Timeout.
	Boot time.Duration
	// Grace is how soon a call returns after its context has ended; zero: five seconds.
	Grace time.Duration
}

// suite is a running judgement.
type suite struct {
	Setup
	ledger string                          // of all machines that the suite makes
	before map[pool.HostID]map[string]bool // machines that were there at the beginning, by native id
	traces map[pool.HostID]map[string]bool // likewise
	hosts  map[pool.HostID]pool.Host       // at the beginning
	made   map[hypervisor.Ref]bool         // what has been ordered and not been cleaned up
	aside  map[hypervisor.Ref]bool         // likewise: what has been shelved
	number int                             // of the next machine

	doubtful time.Time // when the last create ended whose outcome is not known
}

// begin completes and checks the setup and looks at what is there.
func begin(ctx context.Context, s Setup) (*suite, error) {
	wrong := func(field, want string) error {
		return &pool.Error{Op: "conformance suite", Kind: pool.ErrInvalid, Field: "setup." + field, Want: want}
	}
	switch {
	case s.Driver == nil:
		return nil, wrong("driver", "a driver")
	case len(s.Hosts) == 0 || len(s.Hosts) > 2 || len(s.Hosts) == 2 && s.Hosts[0] == s.Hosts[1]:
		return nil, wrong("hosts", "one host or two")
	case s.Order.Source == "" || len(s.Order.Spec.Disks) == 0:
		return nil, wrong("order", "the source of an image, and a disk")
	}
	if s.Name == "" {
		s.Name = s.Hosts[0].Driver()
	}
	if s.Timeout <= 0 {
		s.Timeout = 2 * time.Minute
	}
	if s.Boot <= 0 {
		s.Boot = s.Timeout
	}
	if s.Grace <= 0 {
		s.Grace = 5 * time.Second
	}
	if s.Allocate == nil {
		s.Allocate = allocate
	}
	if s.ExtraDisk.Size == 0 {
		s.ExtraDisk = pool.Disk{Size: 64 * pool.MiB, Storage: s.Order.Spec.Disks[0].Storage}
	}
	if s.ImageFile == nil {
		s.ImageFile = make([]byte, 1<<20)
	}
	if s.Order.Spec.Guest.User == "" {
		s.Order.Spec.Guest.User = "berth"
	}
	if s.Order.Spec.Image == "" {
		s.Order.Spec.Image = "conformance"
	}
	if err := s.Order.Spec.Valid(); err != nil {
		return nil, pool.InField("setup.order.spec", err)
	}
	b := &suite{
		Setup:  s,
		ledger: "conformance-" + strings.ToLower(rand.Text()),
		before: make(map[pool.HostID]map[string]bool),
		traces: make(map[pool.HostID]map[string]bool),
		hosts:  make(map[pool.HostID]pool.Host),
		made:   make(map[hypervisor.Ref]bool),
		aside:  make(map[hypervisor.Ref]bool),
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	hosts, err := s.Driver.Hosts(ctx)
	if err != nil {
		return nil, fmt.Errorf("conformance suite: %w", err)
	}
	for _, h := range hosts {
		b.hosts[h.ID] = h
	}
	for _, id := range s.Hosts {
		if _, ok := b.hosts[id]; !ok {
			return nil, &pool.Error{Op: "conformance suite", Kind: pool.ErrNotFound, Field: "setup.hosts", Value: string(id), Want: "a host that the driver lists"}
		}
		list, err := s.Driver.Machines(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("conformance suite: %w", err)
		}
		b.before[id] = natives(list)
		if s.Traces != nil {
			if b.traces[id], err = b.trace(ctx, id); err != nil {
				return nil, fmt.Errorf("conformance suite: traces on %s: %w", id, err)
			}
		}
	}
	return b, nil
}

func (s *suite) trace(ctx context.Context, id pool.HostID) (map[string]bool, error) {
	names, err := s.Traces(ctx, id)
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set, err
}

func natives(list []hypervisor.Machine) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, m := range list {
		set[m.Native] = true
	}
	return set
}

// allocate divides a spec among a host's devices in the simplest way that can be right.
func allocate(h pool.Host, s pool.Spec) (pool.Allocation, error) {
	demand, err := s.Demand()
	if err != nil {
		return pool.Allocation{}, err
	}
	if h.Aggregate() {
		shapes := slices.Clone(h.Shapes)
		slices.SortStableFunc(shapes, func(a, b pool.Shape) int {
			return int(min(max(a.Resources[pool.Memory]-b.Resources[pool.Memory], -1), 1))
		})
		for _, sh := range shapes {
			if s.Resources.Fits(sh.Resources) {
				return pool.Allocation{Resources: sh.Resources.Clone(), Shape: sh.Name}, nil
			}
		}
		return pool.Allocation{}, errors.New("no shape covers the order")
	}
	a := pool.Allocation{Resources: demand}
	for i, disk := range s.Disks {
		largest := -1
		for j := range h.Devices {
			if h.Devices[j].Class == disk.Storage.Class() && (largest < 0 || h.Devices[j].Capacity() > h.Devices[largest].Capacity()) {
				largest = j
			}
		}
		if largest >= 0 {
			a.Claims = append(a.Claims, pool.Claim{Device: h.Devices[largest].ID, Class: disk.Storage.Class(), Amount: disk.Size, Disk: i})
		}
	}
	return a, nil
}

// order makes an order for a new machine on the host: of a new instance, at its first placement.
func (s *suite) order(host pool.HostID, change ...func(*hypervisor.Order)) (hypervisor.Order, error) {
	s.number++
	o := s.Order
	o.Spec = o.Spec.Clone()
	o.Image.Sources = maps.Clone(o.Image.Sources)
	o.Name = fmt.Sprintf("conformance-%d", s.number)
	o.Ref = hypervisor.Ref{Host: host, Tag: hypervisor.Tag{
		Ledger:   s.ledger,
		Machine:  pool.NewInstanceID(s.ledger, "conformance", o.Name).Machine(0),
		Launched: pool.Revision(s.number),
	}}
	o.Revision = pool.Revision(s.number)
	for _, c := range change {
		c(&o)
	}
	var err error
	o.Allocation, err = s.Allocate(s.hosts[o.Host], o.Spec)
	return o, err
}
