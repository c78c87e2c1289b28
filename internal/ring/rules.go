package ring

import (
	"strconv"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// rules is what decisions rest on besides the books: configuration that does not change while the ring is
// open, and the moment of the decision.
type rules struct {
	now          time.Time
	owner        string // of what is launched, see Caller.Owner
	scheduler    *scheduler.Scheduler
	limits       pool.Limits
	maxPlaces    int
	evacuation   Evacuation
	preempt      bool
	reserveFor   time.Duration // of a reservation that does not say for how long
	mostReserve  time.Duration
	capabilities func(pool.HostID) hypervisor.Capabilities
	admit        func(pool.Host) bool
	lives        *lives // nil: lifetimes are not looked at

	// Of the committer's decisions only.
	placing  *placing
	kinds    kinds
	space    *space
	revision pool.Revision // of the batch that is being decided
	drafted  *pool.State   // set by a decision that has folded its events already, see drafting
}

// at returns the rules as of a moment.
func (r rules) at(now time.Time) *rules {
	r.now = now
	return &r
}

// one returns a single event as a list.
func one(kind string, payload any) ([]pool.Event, error) {
	e, err := pool.NewEvent(kind, payload)
	if err != nil {
		return nil, err
	}
	return []pool.Event{e}, nil
}

func notFound(what, value string) error {
	return &pool.Error{Kind: pool.ErrNotFound, Field: what, Value: value}
}

// opening gives an empty ledger its identity.
type opening struct{ identity string }

func (o opening) decide(_ *rules, st *pool.State) ([]pool.Event, error) {
	if st.Identity() != "" {
		return nil, nil
	}
	return one(pool.KindOpened, &pool.Opened{Ledger: o.identity})
}

// takeOver makes a new leader known and gives it the next epoch.
type takeOver struct{ holder string }

func (t takeOver) decide(_ *rules, st *pool.State) ([]pool.Event, error) {
	events, err := one(pool.KindTakenOver, &pool.TakenOver{Holder: t.holder})
	if err == nil {
		events[0].Epoch = st.Epoch() + 1
	}
	return events, err
}

func invalid(field, value, want string) error {
	return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
}

// maxToken bounds the token that makes a command idempotent.
const maxToken = 128

func validToken(t string) error {
	if t == "" || pool.ValidText(t, maxToken) != nil {
		return invalid("token", t, "1 to "+strconv.Itoa(maxToken)+" printable characters, the same for each repetition of this request")
	}
	return nil
}
