package ring

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// Config is what a Ring needs; the root package documents the fields for users and sets the defaults.
type Config struct {
	Drivers   map[string]hypervisor.Driver
	Ledger    pool.Ledger
	Scratch   pool.Scratch // nil: nobody else runs on this ledger
	Name      string
	Address   string
	Forward   func(ctx context.Context, address string, command []byte) ([]byte, error)
	Scheduler *scheduler.Scheduler
	Limits    pool.Limits
	Parts     []pool.Part // that know nothing yet; those that take commands are Deciders
	Admit     func(pool.Host) bool
	Logger    *slog.Logger

	Poll        time.Duration // between two observations of a host
	PollTimeout time.Duration // for one observation
	Grace       time.Duration // without observation until a host counts as unreachable
	CallTimeout time.Duration // for one driver call
	LeaseTTL    time.Duration
	Tail        time.Duration // between two looks for what other processes appended
	MaxCalls    int           // under way per host
	MaxPolls    int           // observations under way per driver
	MaxPlaces   int           // placements tried per launch
	StrayAge    time.Duration // a stray is seen this long before it is destroyed
	Evacuation  Evacuation
	FenceAfter  time.Duration // that a host has been unreachable
	BurstFor    time.Duration // that an instance stays where it is only for want of room; zero: for ever
	Preempt     bool
	Lifetimes   bool // placements look at them

	ReserveFor, MaxReserve time.Duration // of a reservation that does not say for how long, and the longest
}

// Ring is the state machine, its committer and its loops. All methods are safe for concurrent use.
type Ring struct {
	cfg   Config
	rules rules
	log   *slog.Logger

	life   context.Context // ends with Close; bounds what outlives a caller
	finish context.CancelFunc

	mu      sync.RWMutex // guards st and changed; written by the committer only
	st      *pool.State
	changed chan struct{} // closed and replaced with every publication

	turn    chan struct{} // holds one value while somebody decides, appends or folds
	index   placing       // for whoever has the turn
	kinds   kinds         // for whoever has the turn, as all to trial
	space   space
	random  random
	overlay pool.State // for one batch after another
	trial   pool.State // for one input after another
	stale   atomic.Pointer[error]

	queueMu  sync.Mutex
	queue    []*pending
	draining bool

	clockBase time.Time // the store's clock at open
	clockFrom time.Time // the local clock, with its monotonic reading, at the same moment

	running atomic.Bool
	lead    atomic.Pointer[leadership]
	holder  atomic.Pointer[lease] // last seen in Scratch
}

// Open reads the ledger, from its newest checkpoint on, and returns a Ring that follows it, stale where the
// ledger cannot be followed to its head. An empty ledger gets its identity here. It starts no goroutine.
func Open(ctx context.Context, cfg Config) (*Ring, error) {
	if cfg.Name == "" {
		cfg.Name = rand.Text()
	}
	r := &Ring{cfg: cfg, log: cfg.Logger, st: pool.NewState(cfg.Parts...), changed: make(chan struct{}), turn: make(chan struct{}, 1), kinds: make(kinds)}
	r.rules = rules{limits: cfg.Limits, maxPlaces: cfg.MaxPlaces, evacuation: cfg.Evacuation, preempt: cfg.Preempt, reserveFor: cfg.ReserveFor, mostReserve: cfg.MaxReserve, capabilities: r.Capabilities, admit: cfg.Admit}
	var s scheduler.Scheduler
	if cfg.Scheduler != nil {
		s = *cfg.Scheduler
	}
	s.Filters = append(slices.Clip(s.Filters), r.rules.offered)
	if cfg.Lifetimes {
		r.rules.lives = new(lives)
		s.Ends = &r.rules.lives.book.Ends
	}
	r.rules.scheduler = &s
	r.life, r.finish = context.WithCancel(context.Background())
	if err := r.read(ctx); err != nil && r.staleErr() == nil {
		return nil, err
	}
	r.clockBase, r.clockFrom = time.Now(), time.Now()
	if c, ok := cfg.Ledger.(pool.Clock); ok {
		now, err := c.Now(ctx)
		if err != nil {
			return nil, err
		}
		r.clockBase = now
	}
	if r.st.Identity() == "" && r.staleErr() == nil {
		if _, err := r.submit(ctx, opening{identity: rand.Text()}, Caller{Actor: self}); err != nil {
			r.finish() // an append in doubt is not tried for ever by nobody
			return nil, err
		}
	}
	return r, nil
}

// Close ends what a caller no longer waits for. Run must have returned.
func (r *Ring) Close() { r.finish() }

// self is the actor of the ring's own events.
const self = "berthage"

// now is the time for events: never before the last event's, and following the store's clock.
func (r *Ring) now() time.Time {
	t := r.clockBase.Add(time.Since(r.clockFrom)).UTC().Truncate(time.Microsecond)
	if last := r.st.Time(); t.Before(last) {
		return last
	}
	return t
}

// Now returns the time of an event that would be decided now. It never runs back.
func (r *Ring) Now() time.Time {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.now()
}

// View calls read with the committed State, which must be neither kept nor changed. Records may be kept.
func (r *Ring) View(read func(*pool.State)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	read(r.st)
}

// Changed returns a channel that is closed at the next publication.
func (r *Ring) Changed() <-chan struct{} {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.changed
}

// Head returns the revision that readers see.
func (r *Ring) Head() pool.Revision {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.st.Head()
}

// Status tells how this ring stands to the others on its ledger.
type Status struct {
	Name     string
	Identity string
	Head     pool.Revision
	Epoch    int64
	Holder   string // of the newest epoch
	Leading  bool
	Stale    error

	Unconfirmed bool // see ConfirmImport
}

// Status returns the present status.
func (r *Ring) Status() Status {
	s := Status{Name: r.cfg.Name, Leading: r.lead.Load() != nil, Stale: r.staleErr()}
	r.View(func(st *pool.State) {
		s.Unconfirmed = !st.Confirmed()
		s.Identity, s.Head, s.Epoch, s.Holder = st.Identity(), st.Head(), st.Epoch(), st.Holder()
	})
	return s
}

// Capabilities returns what can be asked of a host; a host of a driver that is not configured can do
// nothing.
func (r *Ring) Capabilities(host pool.HostID) hypervisor.Capabilities {
	d, ok := r.cfg.Drivers[host.Driver()]
	if !ok {
		return hypervisor.Capabilities{}
	}
	return hypervisor.CapabilitiesOf(d, host)
}

// Driver returns the driver of a host.
func (r *Ring) Driver(host pool.HostID) (hypervisor.Driver, error) {
	d, ok := r.cfg.Drivers[host.Driver()]
	if !ok {
		return nil, &pool.Error{Kind: pool.ErrNotFound, Field: "driver", Value: host.Driver()}
	}
	return d, nil
}

// Ref returns how a driver is told which machine is meant.
func Ref(identity string, i *pool.Instance) hypervisor.Ref {
	return hypervisor.Ref{Host: i.Place.Host, Tag: hypervisor.Tag{Ledger: identity, Machine: i.Machine(), Launched: i.Launched}}
}

func (r *Ring) staleErr() error {
	if p := r.stale.Load(); p != nil {
		return *p
	}
	return nil
}

// setStale stops commands for good: the ledger says something that this program cannot follow.
func (r *Ring) setStale(cause error) {
	err := error(&pool.Error{Op: "follow the ledger", Kind: pool.ErrStale, Cause: cause})
	if r.stale.CompareAndSwap(nil, &err) {
		r.log.Error("the ledger cannot be followed; serving reads only", "error", cause)
		if l := r.lead.Load(); l != nil {
			l.stop()
		}
	}
}

func errored(err error) bool { return err != nil && !errors.Is(err, context.Canceled) }
