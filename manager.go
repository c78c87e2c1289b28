package berthage

import (
	"context"
	"encoding/json"
	"iter"
	"log/slog"
	"maps"
	"strings"
	"sync"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// Manager is the fleet. All methods are safe for concurrent use.
type Manager struct {
	ring *ring.Ring
	who  ring.Caller
	auto *rebalancer

	meter   *meter
	alerter *alerter
	courier *courier
	parts   []string         // names of those that the configuration has
	worth   *scheduler.Worth // what room is worth; nil: nobody looks
	log     *slog.Logger
}

// Open reads the ledger, from its newest checkpoint on, and returns a Manager over it; an empty ledger gets its
// identity here. It starts no goroutine: commands are committed at once, drivers are called only while Run runs.
func Open(ctx context.Context, c Config) (*Manager, error) {
	rc, err := c.ring()
	if err != nil {
		return nil, err
	}
	t := &meter{every: c.Measure, timeout: rc.PollTimeout}
	var worth *scheduler.Worth
	if c.Measure > 0 || c.Worth {
		var s scheduler.Scheduler
		if c.Scheduler != nil {
			s = *c.Scheduler
		}
		if c.Measure > 0 {
			s.Loads = or(s.Loads, new(scheduler.Loads))
			t.loads = s.Loads
		}
		if c.Worth {
			s.Worth = or(s.Worth, new(scheduler.Worth))
			worth = s.Worth
		}
		rc.Scheduler = &s
	}
	r, err := ring.Open(ctx, rc)
	if err != nil {
		return nil, &pool.Error{Op: "open", Kind: pool.ErrUnavailable, Cause: err}
	}
	var names []string
	for _, p := range c.Parts {
		names = append(names, p.Name())
	}
	c.Alerting.Checkpoints = or(c.Alerting.Checkpoints, c.Scratch)
	return &Manager{ring: r, who: ring.Caller{Actor: "unnamed"}, auto: &rebalancer{c: c.Rebalance.filled()}, meter: t, alerter: newAlerter(c.Alerting), courier: newCourier(c.Messaging, rc.Logger), parts: names, worth: worth, log: rc.Logger}, nil
}

// As returns the same Manager with another name for its caller: actor and cause (a request's id, say) stand
// in the events of the commands given through it.
func (m *Manager) As(actor, cause string) *Manager {
	n := *m
	n.who.Actor, n.who.Cause = clip(actor), clip(cause)
	return &n
}

// For returns the same Manager for an owner: what is launched through it is counted for that user or service, by an id that
// pool.ValidOwner takes, and within the limits that pool.Project.PerUser sets. Whose a cluster is all its members are, whoever scales
// it. An empty owner is nobody, as before.
//
// Launch and CreateCluster have no field for it, since they are often read from what a caller has sent: who asks must not be able to
// be somebody else. It is for whoever has authenticated the caller to say.
func (m *Manager) For(owner string) *Manager {
	n := *m
	n.who.Owner = owner
	return &n
}

// With returns the same Manager with something for one of Config.Parts, an Admitter, which it is given with every command and written as JSON. The part
// may refuse the command by it, on the revision that its events are appended to, and have events of its own appended in the same batch:
// auth.Warrant has the rights of who asks looked at once more there, and audit.Record says who asked from where. What is given to a part replaces what it
// was given before. A part that does not admit commands, and what cannot be written as JSON, has every command refused (pool.ErrInvalid).
func (m *Manager) With(part string, it any) *Manager {
	b, err := json.Marshal(it)
	if err != nil {
		b = json.RawMessage(`"not to be written as JSON"`) // which no part takes
	}
	n := *m
	n.who.With = maps.Clone(m.who.With)
	if n.who.With == nil {
		n.who.With = make(map[string]json.RawMessage, 1)
	}
	n.who.With[part] = b
	return &n
}

// clip makes of any string what a ledger takes as an actor or cause: at most 255 bytes of text.
func clip(s string) string {
	s = strings.ReplaceAll(s, "\x00", "")
	return strings.ToValidUTF8(s[:min(len(s), 255)], "")
}

// Run leads, or waits to lead, until ctx ends, and returns nil then. It returns an error when the ledger
// says something that this version cannot follow (pool.ErrStale).
func (m *Manager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var side sync.WaitGroup
	if m.auto.c.Mode != RebalanceOff {
		side.Go(func() { m.rebalance(ctx) })
	}
	if m.meter.every > 0 {
		side.Go(func() { m.measure(ctx) })
	}
	if m.alerter.c.Every > 0 {
		side.Go(func() { m.watchOver(ctx) })
	}
	side.Go(func() { m.deliver(ctx) })
	if m.worth != nil {
		side.Go(func() { m.appraise(ctx) })
	}
	err := m.ring.Run(ctx)
	cancel()
	side.Wait()
	return err
}

// Close ends what is left when Run has returned: an append whose outcome is still unknown. The ledger is the
// caller's to close.
func (m *Manager) Close() { m.ring.Close() }

// View calls read with the books as committed. read must be quick, must not keep or change the State, and
// must not call the Manager; the records that it finds are immutable and may be kept.
func (m *Manager) View(read func(*pool.State)) { m.ring.View(read) }

// Events yields the batches of the ledger after the given revision and then the new ones as they are
// committed, until ctx ends, with ctx's error as the last. What has been compacted is read from the ledger's
// archive, without a gap. pool.ErrCompacted: the archive does not have it; start from a later revision.
func (m *Manager) Events(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	return m.ring.Events(ctx, after)
}

// Status tells how a Manager stands to the others on its ledger.
type Status struct {
	Name     string        `json:"name"`     // of this Manager
	Ledger   string        `json:"ledger"`   // identity of the ledger
	Revision pool.Revision `json:"revision"` // that readers see
	Epoch    int64         `json:"epoch"`    // how often the lead was taken
	Holder   string        `json:"holder"`   // name of the Manager that took it last
	Leading  bool          `json:"leading"`  // this one leads now
	Stale    string        `json:"stale,omitempty"`

	Unconfirmed bool `json:"unconfirmed,omitempty"` // the ledger was imported; no driver is called until ConfirmImport
}

// Status returns the present status. Stale says why commands are refused, if they are.
func (m *Manager) Status() Status {
	s := m.ring.Status()
	out := Status{Name: s.Name, Ledger: s.Identity, Revision: s.Head, Epoch: s.Epoch, Holder: s.Holder, Leading: s.Leading, Unconfirmed: s.Unconfirmed}
	if s.Stale != nil {
		out.Stale = s.Stale.Error()
	}
	return out
}

// ConfirmImport is a person's word that nobody else acts on the books of an imported ledger: that the ledger it is a
// copy of is lost or given up for good. Until then hosts are observed and commands are recorded, but no driver is
// asked to change anything. From then on the machines that were placed before the copy was made are this ledger's;
// those that the original made after it stay unknown machines. On a ledger that was not imported it does nothing.
//
// A wrong word lets two managers steer the same machines.
func (m *Manager) ConfirmImport(ctx context.Context) error {
	return named(m.do(ctx, ring.Command{ConfirmImport: &ring.ConfirmImport{Ledger: m.Status().Ledger}}), "confirm import")
}

// UnknownMachine is a machine on one of our hosts that is not in the books, with the reason. It is never
// touched.
type UnknownMachine = ring.Unknown

// Unknown returns the machines on our hosts that are not in the books, as last observed by this Manager,
// which must be the one that leads.
func (m *Manager) Unknown() []UnknownMachine { return m.ring.Unknown() }

// Capabilities returns what can be asked of a host, known before any call.
func (m *Manager) Capabilities(host pool.HostID) hypervisor.Capabilities {
	return m.ring.Capabilities(host)
}

// Accept carries out a command that a Manager in another process handed over with its Forward, and returns
// the answer for it. The transport must have authenticated the other process.
func (m *Manager) Accept(ctx context.Context, command []byte) ([]byte, error) {
	return m.ring.Accept(ctx, command)
}
