package berthage

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/internal/alerting"
	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// Config is what Open needs. Drivers and Ledger are required; the zero value of every other field is useful.
type Config struct {
	// Drivers are the hypervisors by name. The name is the first part of their hosts' ids and the key of
	// their sources in images; it must stay the same for ever.
	Drivers map[string]hypervisor.Driver

	// Ledger keeps the events. A memory ledger is refused with drivers of real hosts unless Ephemeral is
	// set, because machines whose ledger is lost are nobody's.
	Ledger pool.Ledger

	// Ephemeral says that losing the ledger with the process is meant.
	Ephemeral bool

	// Scratch holds the lease that decides which of several Managers on one ledger leads. Nil: this is the
	// only one. Two Managers without it do not endanger the books: the one that started later leads.
	Scratch pool.Scratch

	// Name is this Manager's among those on the ledger; empty: a random one.
	Name string

	// Address is how Managers in other processes reach this one: what they pass to their Forward.
	Address string

	// Forward hands a command to the Manager at an address, which gives it to Accept and returns the
	// answer. It must authenticate both sides. Nil: every Manager commits its own commands, which is as
	// safe and, with many of them, slower.
	Forward func(ctx context.Context, address string, command []byte) ([]byte, error)

	// Scheduler places; nil: scheduler.Default with the built-in filters.
	Scheduler *scheduler.Scheduler

	// Measure is between two looks at how busy the hosts are whose drivers can tell (hypervisor.Meter), for the Scheduler's
	// LoadWeight: a load of 1 is that all cores of a host were busy since the last look. Its Loads are made if there are none, and
	// nobody else should set them. 0: nothing is measured.
	Measure time.Duration

	// Limits is the policy on the size of one instance; nil: pool.DefaultLimits.
	Limits pool.Limits

	// Admit says whether a host that a driver reports joins the pool by itself; nil: every one does. A host
	// that was removed by RemoveHost joins only by AddHost.
	Admit func(pool.Host) bool

	// Logger receives what an operator should know; nil: nothing.
	Logger *slog.Logger

	Poll        time.Duration // between two observations of a host; 0: 10 s
	PollTimeout time.Duration // of one observation; 0: 30 s
	Grace       time.Duration // without observation until a host is unreachable; 0: 1 min
	CallTimeout time.Duration // of one driver call; 0: 10 min, since a create may import an image
	LeaseTTL    time.Duration // 0: 15 s
	Tail        time.Duration // between two looks for other processes' events; 0: 250 ms
	MaxCalls    int           // driver calls under way per host; 0: 4
	MaxPolls    int           // observations under way per driver, and as many of hosts that did not answer the last one; 0: 256
	MaxPlaces   int           // hosts tried for one launch; 0: 3
	StrayAge    time.Duration // how long a stray is seen before it is destroyed; 0: 1 min

	// Preempt lets instances of higher priority that wait for a place have others give way that are preemptible and of
	// lower priority: as few as possible, on one host. By default nobody has to.
	Preempt bool

	ReserveFor time.Duration // how long a reservation is held that does not say for how long; 0: 15 min
	MaxReserve time.Duration // and the longest that one may say; 0: 24 h

	// Lifetimes makes placements look at how long instances are expected to exist, so that hosts become empty as a whole: by
	// Spec.Lifetime, or by how long the instances of the same project, flavor and size of cluster have existed so far. See
	// scheduler.Ends, which it sets, and package lifetime.
	Lifetimes bool

	// Worth makes placements count what they make useless on a host, by what the pool's own instances are like; that is worked out anew every 5
	// minutes while Run runs. See scheduler.Worth, which it sets. It pays on pools of many hosts, and takes two to four times as long for a
	// placement.
	Worth bool

	// Evacuation says when the instances of a host that has been lost are made anew on others; empty: when it is
	// proved that the host is off.
	Evacuation Evacuation

	// FenceAfter is how long a host has been unreachable before it is switched off, where its driver can do that,
	// Evacuation is not EvacuateNever, there is something to evacuate, and at most a third of the driver's hosts
	// are silent; 0: 4 min.
	FenceAfter time.Duration

	// BurstFor is how long after its launch an instance is brought back, at the earliest, from a host that it is on only for want of room:
	// one with a taint of effect pool.PreferNoSchedule that it does not tolerate, such as a hoster's region, onto which a pool that is
	// full bursts. It is moved running where both hosts can do that. Otherwise its machine is destroyed and made anew of its image, if its
	// Spec says that it is replaceable. Zero: it stays.
	BurstFor time.Duration

	// Rebalance says whether, when and how machines are moved by themselves, so that hosts become empty, rules are kept
	// again or the use of hosts becomes even. The zero value moves nothing.
	Rebalance Rebalance

	// Alerting says how the Manager watches. The zero value evaluates nothing.
	Alerting Alerting

	// Messaging says how the Manager tells of alerts and of what happened. The zero value tells nobody.
	Messaging Messaging

	// Parts are what else is kept in the ledger, knowing nothing yet: the State of package auth, say, or something of your own. They
	// are found by State.Part, and take commands by Manager.Decide if they are Deciders. Every Manager on a ledger has the same.
	Parts []pool.Part
}

// Evacuation is when an instance is made anew on another host although its machine may still be on the first.
type Evacuation = ring.Evacuation

// The policies.
const (
	EvacuateNever  = ring.EvacuateNever  // only Rebuild does it, one by one
	EvacuateFenced = ring.EvacuateFenced // when it is proved that the host is off: by its driver's Fencer, or by ConfirmOff
	EvacuateAlways = ring.EvacuateAlways // when the host is unreachable: two run, where it still does
)

// minLease is the shortest lease of which a fraction is still a time that a store can answer in.
const minLease = 100 * time.Millisecond

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// ring checks the configuration and fills in the defaults.
func (c Config) ring() (ring.Config, error) {
	bad := func(field, want string) (ring.Config, error) {
		return ring.Config{}, &pool.Error{Op: "open", Kind: pool.ErrInvalid, Field: field, Want: want}
	}
	if c.Ledger == nil {
		return bad("Ledger", "a ledger, such as one of pool/sqlledger")
	}
	if len(c.Drivers) == 0 {
		return bad("Drivers", "at least one driver")
	}
	_, memory := c.Ledger.(*pool.MemoryLedger)
	for name, d := range c.Drivers {
		if err := pool.ValidName(name); err != nil {
			return ring.Config{}, pool.InField("Drivers", err)
		}
		if d == nil {
			return bad("Drivers."+name, "a driver, not nil")
		}
		if _, simulated := hypervisor.As[hypervisor.Simulator](d); memory && !simulated && !c.Ephemeral {
			return bad("Ledger", "a durable ledger for the real hosts of "+name+", or Ephemeral")
		}
	}
	if most := or(c.MaxReserve, 24*time.Hour); c.ReserveFor > most {
		return bad("ReserveFor", "at most MaxReserve, "+most.String())
	}
	for _, d := range []time.Duration{
		c.Poll, c.PollTimeout, c.Grace, c.CallTimeout, c.LeaseTTL, c.Tail, c.StrayAge, c.FenceAfter, c.BurstFor, c.Measure, c.ReserveFor, c.MaxReserve,
	} {
		if d < 0 {
			return bad("durations", "zero or more")
		}
	}
	if c.LeaseTTL != 0 && c.LeaseTTL < minLease {
		return bad("LeaseTTL", minLease.String()+" or more")
	}
	for field, s := range map[string]string{"Name": c.Name, "Address": c.Address} {
		if err := pool.ValidText(s, 255); err != nil {
			return ring.Config{}, pool.InField(field, err)
		}
	}
	if c.MaxCalls < 0 || c.MaxPolls < 0 || c.MaxPlaces < 0 {
		return bad("MaxCalls, MaxPolls, MaxPlaces", "zero or more")
	}
	switch c.Evacuation {
	case "", EvacuateNever, EvacuateFenced, EvacuateAlways:
	default:
		return bad("Evacuation", "never, fenced or always")
	}
	if err := c.Rebalance.valid(); err != nil {
		return ring.Config{}, &pool.Error{Op: "open", Kind: pool.ErrInvalid, Field: "Rebalance", Cause: err}
	}
	if err := c.Alerting.valid(); err != nil {
		return ring.Config{}, &pool.Error{Op: "open", Kind: pool.ErrInvalid, Field: "Alerting", Cause: err}
	}
	if err := c.Messaging.valid(); err != nil {
		return ring.Config{}, &pool.Error{Op: "open", Kind: pool.ErrInvalid, Field: "Messaging", Cause: err}
	}
	for n, p := range c.Parts {
		if p == nil {
			return bad("Parts", "parts, not nil")
		}
		if err := pool.ValidName(p.Name()); err != nil {
			return ring.Config{}, pool.InField("Parts", err)
		}
		if p.Name() == alerting.Name || slices.ContainsFunc(c.Parts[:n], func(o pool.Part) bool { return o.Name() == p.Name() }) {
			return bad("Parts", "parts with names of their own, not "+pool.Quote(p.Name()))
		}
	}
	limits := c.Limits
	if limits == nil {
		limits = pool.DefaultLimits()
	}
	return ring.Config{
		Drivers: c.Drivers, Ledger: c.Ledger, Scratch: c.Scratch, Name: c.Name, Address: c.Address, Forward: c.Forward,
		Scheduler: c.Scheduler, Limits: limits, Admit: c.Admit, Logger: or(c.Logger, slog.New(slog.DiscardHandler)),
		Poll: or(c.Poll, 10*time.Second), PollTimeout: or(c.PollTimeout, 30*time.Second), Grace: or(c.Grace, time.Minute),
		CallTimeout: or(c.CallTimeout, 10*time.Minute), LeaseTTL: or(c.LeaseTTL, 15*time.Second),
		Tail: or(c.Tail, 250*time.Millisecond), MaxCalls: or(c.MaxCalls, 4), MaxPolls: or(c.MaxPolls, 256), MaxPlaces: or(c.MaxPlaces, 3),
		StrayAge: or(c.StrayAge, time.Minute), Evacuation: or(c.Evacuation, EvacuateFenced), FenceAfter: or(c.FenceAfter, 4*time.Minute), BurstFor: c.BurstFor,
		Preempt: c.Preempt, ReserveFor: or(c.ReserveFor, min(15*time.Minute, or(c.MaxReserve, 15*time.Minute))), MaxReserve: or(c.MaxReserve, 24*time.Hour),
		Lifetimes: c.Lifetimes, Parts: append(parts(c.Alerting, c.Messaging), c.Parts...),
	}, nil
}
