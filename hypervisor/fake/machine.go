package fake

import (
	"fmt"
	"slices"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Debris is the power state, seen by Inspect only, of a machine whose creation failed half-way: it takes
// room and is in no list.
const Debris pool.Power = "debris"

// machine is one machine on one host, as it is kept in the file. It is immutable: a change makes a new one,
// which takes the old one's place once it has been saved.
type machine struct {
	Host      pool.HostID    `json:"host"`
	Native    string         `json:"native"`
	Name      string         `json:"name,omitempty"`
	Tag       hypervisor.Tag `json:"tag,omitzero"`
	Foreign   bool           `json:"foreign,omitempty"` // put there by AddForeign
	Power     pool.Power     `json:"power"`
	Addresses []string       `json:"addresses,omitempty"`
	Demand    pool.Resources `json:"demand,omitempty"` // what it takes of the host
	Claims    []pool.Claim   `json:"claims,omitempty"` // and of which devices
	Disks     []int64        `json:"disks,omitempty"`  // bytes
	Stores    []pool.Storage `json:"stores,omitempty"` // of each disk
	Networks  int            `json:"networks,omitempty"`
	Number    uint32         `json:"number"` // of all machines ever made

	Revision  pool.Revision `json:"revision,omitempty"`  // of the latest order that was carried out
	Fault     string        `json:"fault,omitempty"`     // why it will never run
	Full      bool          `json:"full,omitempty"`      // that is for want of room
	Decided   time.Time     `json:"decided,omitzero"`    // when its aggregate knows whether it has room for it
	Content   content       `json:"content,omitzero"`    // of its disks
	Snapshots []snapshot    `json:"snapshots,omitempty"` // oldest first

	Since   time.Time     `json:"since,omitzero"`    // of the present power state
	Ran     time.Duration `json:"ran,omitempty"`     // before Since
	Booted  time.Time     `json:"booted,omitzero"`   // when the guest last started
	Boot    time.Duration `json:"boot,omitempty"`    // from Booted until the guest has addresses
	Console []note        `json:"console,omitempty"` // the newest lines

	Spent int64         `json:"spent,omitempty"` // CPU time until it had run for Rated, microseconds
	Rated time.Duration `json:"rated,omitempty"` // since when it has the cores that it has
}

// content stands for what is on a machine's disks: the image that was cloned for a machine, and how often a
// guest has been started that could have written there since.
type content struct {
	Clone  uint32 `json:"clone"` // number of the machine that it was cloned for
	Writes int    `json:"writes,omitempty"`
}

func (c content) String() string { return fmt.Sprintf("%d.%d", c.Clone, c.Writes) }

// snapshot is a content that is kept.
type snapshot struct {
	hypervisor.Snapshot
	Content content `json:"content"`
}

// note is a line of the console.
type note struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// notes is how many lines of its console a machine keeps.
const notes = 16

// in returns a copy of the machine that is in power state p from now on.
func (m *machine) in(p pool.Power, text string) *machine {
	c := m.noted(text)
	now := time.Now()
	c.Ran, c.Power, c.Since = m.ran(now), p, now
	return c
}

// booted returns a copy whose guest starts now.
func (m *machine) booted(takes time.Duration, text string) *machine {
	c := m.in(pool.Running, text)
	c.Booted, c.Boot = c.Since, takes
	c.Content.Writes++
	return c
}

// rated returns a copy whose CPU time until now is kept, so that its cores can change.
func (m *machine) rated(now time.Time) *machine {
	c := *m
	c.Spent, c.Rated = min(cpuMicros(m, now), 1<<53), m.ran(now)
	return &c
}

// disks are the machine's disks as an order has them.
func (m *machine) disks() []pool.Disk {
	var out []pool.Disk
	for i, size := range m.Disks {
		d := pool.Disk{Size: size}
		if i < len(m.Stores) {
			d.Storage = m.Stores[i]
		}
		out = append(out, d)
	}
	return out
}

// noted returns a copy with one line more on its console.
func (m *machine) noted(text string) *machine {
	c := *m
	kept := m.Console
	if extra := len(kept) + 1 - notes; extra > 0 {
		kept = kept[extra:]
	}
	c.Console = append(slices.Clone(kept), note{time.Now(), text})
	return &c
}

// ran is how long the machine has run until now.
func (m *machine) ran(now time.Time) time.Duration {
	if m.Power == pool.Running {
		return m.Ran + max(now.Sub(m.Since), 0)
	}
	return m.Ran
}

// up reports whether the guest is there and has booted.
func (m *machine) up(now time.Time) bool {
	return (m.Power == pool.Running || m.Power == pool.Suspended) && !now.Before(m.Booted.Add(m.Boot))
}

func (m *machine) ref() hypervisor.Ref { return hypervisor.Ref{Host: m.Host, Tag: m.Tag} }

// tagged reports whether any Berthage has made the machine.
func (m *machine) tagged() bool { return m.Tag != hypervisor.Tag{} }

// show is the machine as Machines reports it.
func (m *machine) show(now time.Time) hypervisor.Machine {
	out := hypervisor.Machine{Ref: m.ref(), Native: m.Native, Name: m.Name, Power: m.Power, Fault: m.Fault, Full: m.Full, Resources: make(pool.Resources)}
	for _, c := range []pool.Class{pool.CPU, pool.Memory} {
		if n := m.Demand[c]; n != 0 {
			out.Resources[c] = n
		}
	}
	if m.up(now) {
		out.Addresses = slices.Clone(m.Addresses)
	}
	return out
}

// address gives the n-th machine an address of its own within 10.0.0.0/8, never one that ends in 0 or 255.
func address(n uint32) string {
	return fmt.Sprintf("10.%d.%d.%d", n/(254*256)%256, n/254%256, n%254+1)
}

// valid reports, as an error, what cannot be in a machine that this package has written.
func (m *machine) valid() error {
	if m.Native == "" {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "native", Want: "an id"}
	}
	switch m.Power {
	case pool.Running, pool.Stopped, pool.Suspended, pool.Hibernated, Debris:
	default:
		return &pool.Error{Kind: pool.ErrInvalid, Field: "power", Value: string(m.Power)}
	}
	if m.Spent < 0 || m.Spent > 1<<53 {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "spent", Want: "a time"}
	}
	for _, n := range m.Disks {
		if n < 0 {
			return &pool.Error{Kind: pool.ErrInvalid, Field: "disks", Want: "zero or more"}
		}
	}
	for _, c := range m.Claims {
		if c.Amount < 0 {
			return &pool.Error{Kind: pool.ErrInvalid, Field: "claims", Value: c.Device, Want: "zero or more"}
		}
	}
	return m.Demand.Valid()
}
