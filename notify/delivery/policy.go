package delivery

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/berthage/berthage/pool"
)

// Policy is the figures of delivery. Of each the zero value stands for what is said.
type Policy struct {
	MinBackoff  time.Duration // the shortest pause after an attempt that failed for now; 1 s
	MaxBackoff  time.Duration // the longest; 5 min
	Failures    int           // so many in a row, and a receiver is left alone; 5
	BrokenEvery time.Duration // how often a broken receiver is tried; 5 min
	DeadAfter   time.Duration // how long an item may wait, and for how long a receiver may ask to be left alone; 24 h
	PerReceiver int           // how many items may be under way to one receiver; 4
	InFlight    int           // and to all of them together, the second half being for receivers to which nothing is; 64
	Timeout     time.Duration // of one attempt; 1 min
}

// Validate tells whether a policy can be followed.
func (p Policy) Validate() error {
	for _, f := range []struct {
		name string
		d    time.Duration
	}{
		{"min_backoff", p.MinBackoff}, {"max_backoff", p.MaxBackoff}, {"broken_every", p.BrokenEvery}, {"dead_after", p.DeadAfter}, {"timeout", p.Timeout},
	} {
		if f.d < 0 {
			return &pool.Error{Op: "delivery", Kind: pool.ErrInvalid, Field: f.name, Value: f.d.String(), Want: "0 or above"}
		}
	}
	for _, f := range []struct {
		name string
		n    int
	}{{"failures", p.Failures}, {"per_receiver", p.PerReceiver}, {"in_flight", p.InFlight}} {
		if f.n < 0 {
			return &pool.Error{Op: "delivery", Kind: pool.ErrInvalid, Field: f.name, Value: strconv.Itoa(f.n), Want: "0 or above"}
		}
	}
	if full := p.full(); full.MinBackoff > full.MaxBackoff {
		return &pool.Error{Op: "delivery", Kind: pool.ErrInvalid, Field: "min_backoff", Value: full.MinBackoff.String(), Want: "at most max_backoff, " + full.MaxBackoff.String()}
	}
	return nil
}

func (p Policy) full() Policy {
	return Policy{
		MinBackoff:  cmp.Or(p.MinBackoff, time.Second),
		MaxBackoff:  cmp.Or(p.MaxBackoff, 5*time.Minute),
		Failures:    cmp.Or(p.Failures, 5),
		BrokenEvery: cmp.Or(p.BrokenEvery, 5*time.Minute),
		DeadAfter:   cmp.Or(p.DeadAfter, 24*time.Hour),
		PerReceiver: cmp.Or(p.PerReceiver, 4),
		InFlight:    cmp.Or(p.InFlight, 64),
		Timeout:     cmp.Or(p.Timeout, time.Minute),
	}
}

// Backoff returns the pause after the n-th attempt in a row that failed, from 1: anything from MinBackoff to MinBackoff times 2
// to the n, or to MaxBackoff. The whole range is used ("full jitter"), so that what failed together does not come back together. Where in it is
// a hash of name and n.
func (p Policy) Backoff(name string, n int) time.Duration {
	p = p.full()
	most := p.MinBackoff
	for i := 0; i < n && most < p.MaxBackoff; i++ {
		most += min(most, p.MaxBackoff-most) // so that nothing overflows
	}
	span := max(most-p.MinBackoff, 0)
	sum := sha256.Sum256([]byte(strconv.Itoa(n) + " " + name))
	return p.MinBackoff + time.Duration(binary.BigEndian.Uint64(sum[:])%uint64(span+1)) // #nosec G115 -- less than span
}
