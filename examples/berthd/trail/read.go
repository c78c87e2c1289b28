package trail

import (
	"context"
	"crypto/ed25519"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/pool"
)

// Reader reads a ledger as an audit log, and proves what stands in it. It is safe for concurrent use.
type Reader struct {
	ledger pool.Ledger
	keys   []ed25519.PrivateKey

	mu       sync.Mutex
	log      audit.Log
	head     Head       // the last that was signed
	previous audit.Head // of which the next must be a continuation; none: its size is 0
}

// NewReader returns a Reader of a ledger that signs heads with the keys; without one it signs none, and gives no evidence.
func NewReader(l pool.Ledger, keys ...ed25519.PrivateKey) *Reader {
	return &Reader{ledger: l, keys: keys, log: audit.Log{History: audit.Of(l)}}
}

// Entry is one line of the log, with the kind of its event.
type Entry struct {
	audit.Entry
	Kind string
}

// Filter narrows what is read. What is empty does not count.
type Filter struct {
	Actor       string
	Kind        string // of the event; "audit" also stands for every kind that begins with "audit."
	Correlation string
	From, Until time.Time // Until is not included
}

func (f *Filter) takes(e *audit.Entry, kind string) bool {
	return (f.Actor == "" || e.Actor == f.Actor) && (f.Correlation == "" || e.Correlation == f.Correlation) &&
		(f.Kind == "" || kind == f.Kind || strings.HasPrefix(kind, f.Kind+".")) &&
		(f.From.IsZero() || !e.Time.Before(f.From)) && (f.Until.IsZero() || e.Time.Before(f.Until))
}

// Of one call of Entries.
const (
	stretch = 512    // revisions that are read at once
	most    = 20_000 // revisions that are looked at
)

// Entries returns the entries before a position, at most limit, the newest first; the zero position stands for the end of the ledger up to
// head. next is where to go on: it is nil where there is no more. So that every call has an end there may be fewer than limit
// although there is more.
func (r *Reader) Entries(ctx context.Context, head pool.Revision, before audit.Position, limit int, f Filter) (found []Entry, next *audit.Position, err error) {
	if before == (audit.Position{}) || before.Revision > head {
		before = audit.Position{Revision: head + 1}
	}
	top := before.Revision // the last one to be looked at
	if before.Index == 0 {
		top--
	}
	for looked := 0; top > 0; {
		if looked >= most {
			return found, &audit.Position{Revision: top + 1}, nil
		}
		low := max(0, top-stretch)
		batches, err := r.between(ctx, low, top)
		if err != nil {
			return nil, nil, err
		}
		for _, b := range slices.Backward(batches) {
			for i := len(b.Events) - 1; i >= 0; i-- {
				if b.Revision == before.Revision && i >= before.Index {
					continue
				}
				e := audit.EntryOf(&b.Events[i])
				if f.takes(&e, b.Events[i].Kind) {
					if len(found) == limit {
						last := found[limit-1].Event
						return found, last, nil
					}
					found = append(found, Entry{e, b.Events[i].Kind})
				}
			}
		}
		if len(batches) > 0 && !f.From.IsZero() && batches[0].Events[0].Time.Before(f.From.Add(-slack)) {
			return found, nil, nil
		}
		looked, top = looked+stretch, low
	}
	return found, nil, nil
}

// slack is by how much entries may be later than their events or earlier: refusals have the minute in which they were counted.
const slack = 10 * time.Minute

// between returns the batches after one revision up to another.
func (r *Reader) between(ctx context.Context, after, last pool.Revision) (out []pool.Batch, err error) {
	for b, err := range pool.History(ctx, r.ledger, after) {
		if err != nil {
			return nil, err
		}
		if b.Revision > last {
			break
		}
		if out = append(out, b); b.Revision == last {
			break
		}
	}
	return out, nil
}

// Head is what the ledger is at its end.
type Head struct {
	audit.Head
	Note []byte      // signed, as audit.Sign gives it; nil without a key
	Keys []audit.Key // the public ones, of those that have signed it
}

// Continue has nothing signed from now on that does not go on from an earlier head, which must have been opened: it is audit.ErrProof instead.
func (r *Reader) Continue(previous audit.Head) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head, r.previous = Head{}, previous
}

// goesOn proves that a head goes on from the one before. The lock is held.
func (r *Reader) goesOn(ctx context.Context, now audit.Head) (err error) {
	if r.previous.Size == 0 {
		return nil
	}
	var proof [][32]byte
	if now.Size >= r.previous.Size {
		if proof, err = r.log.Consistency(ctx, r.previous.Size, now.Size); err != nil {
			return err
		}
	}
	return now.Follows(r.previous, proof)
}

// sign reads on to the end of the ledger and returns its head, signed if there is a key, and proved to go on from the one before. As long as nothing is
// appended it is the same one. The lock is held.
func (r *Reader) sign(ctx context.Context) (Head, error) {
	if err := r.log.Follow(ctx); err != nil {
		return Head{}, err
	}
	if r.log.Size() == r.head.Size {
		return r.head, nil
	}
	now, err := r.log.Head()
	if err != nil {
		return Head{}, err
	}
	if err := r.goesOn(ctx, now); err != nil {
		return Head{}, err
	}
	now.Time = time.Now().UTC().Truncate(time.Second)
	h := Head{Head: now}
	if len(r.keys) > 0 {
		if h.Note, err = audit.Sign(now, r.keys...); err != nil {
			return Head{}, err
		}
		for _, k := range r.keys {
			h.Keys = append(h.Keys, audit.Key{Ledger: now.Ledger, Public: k.Public().(ed25519.PublicKey)})
		}
	}
	r.head, r.previous = h, now
	return h, nil
}

// Head reads on to the end of the ledger and returns its head, signed if there is a key, with the proof that it goes on from the first old events; of
// none the proof is empty. As long as nothing is appended the head is the same one. The first call reads the ledger from its beginning. A history that does
// not go on from the head before is audit.ErrProof.
func (r *Reader) Head(ctx context.Context, old int64) (Head, [][32]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, err := r.sign(ctx)
	if err != nil {
		return Head{}, nil, err
	}
	proof, err := r.log.Consistency(ctx, old, h.Size)
	return h, proof, err
}

// Evidence returns the evidence that an event stands in the ledger, with a head that is signed now. Without a key it is
// pool.ErrWrongState; pool.ErrNotFound if there is no such event.
func (r *Reader) Evidence(ctx context.Context, at audit.Position) (*audit.Evidence, error) {
	if len(r.keys) == 0 {
		return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "audit-key", Want: "a key that signs heads, which the daemon has not been given"}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h, err := r.sign(ctx)
	if err != nil {
		return nil, err
	}
	v := &audit.Evidence{Head: h.Note}
	if v.Leaf, v.Event, err = r.log.Find(ctx, at); err != nil {
		return nil, err
	}
	v.Event.Private, v.Event.Salt = nil, nil
	v.Path, err = r.log.Inclusion(ctx, v.Leaf, h.Size)
	return v, err
}
