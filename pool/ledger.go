package pool

import (
	"context"
	"iter"
	"time"
)

// Ledger is the contract of the store that keeps the events: an append-only list of batches with one
// compare-and-swap. pool/ledgertest judges implementations.
//
// Methods are safe for concurrent use, also by several processes on one store where the store allows it,
// and return soon after their context ends. Errors unwrap to one of this package's kinds.
type Ledger interface {
	// Append stores batch as revision prev+1, durably and as a whole, and returns that revision. A reader
	// sees all of it or nothing. The head being another than prev is ErrConflict: nothing was stored.
	// ErrUnavailable: nothing was stored. ErrUnknown: it may have been stored or may still be; appending
	// the same events, with the same ids, at the same prev again settles it: the revision if it was stored
	// or is now, ErrConflict if another batch stands there. Only these three, ErrInvalid, and a context's
	// error before anything was sent, are returned.
	//
	// A batch that is stored already at prev+1 (all event ids alike) is success, not a conflict.
	Append(ctx context.Context, prev Revision, batch ...Event) (Revision, error)

	// Read yields the batches after the given revision in order, without a gap, up to the head at some
	// moment after the call. It holds no lock and no only connection while the caller's loop body runs, so
	// that the body may Append. The first error ends it. A revision before the checkpoint's is ErrCompacted;
	// a batch that is not what was stored, or a gap, is ErrCorrupt.
	Read(ctx context.Context, after Revision) iter.Seq2[Batch, error]

	// Checkpoint returns the newest snapshot that Compact stored, and its revision; 0 and nil without one.
	Checkpoint(ctx context.Context) (Revision, []byte, error)

	// Compact stores snapshot, which stands for all batches up to and including at, and moves those batches
	// to the archive, which Archive reads; it deletes nothing. A revision beyond the head, or not after the
	// present checkpoint, is ErrInvalid. Appends go on meanwhile. After ErrUnknown the Checkpoint tells.
	Compact(ctx context.Context, at Revision, snapshot []byte) error

	// Archive yields the batches of the archive after the given revision, in order.
	Archive(ctx context.Context, after Revision) iter.Seq2[Batch, error]

	// Forget removes Private and Salt of every event of that subject, from the archive too. It is
	// idempotent, so that it is done again after ErrUnknown; an unknown subject is no error. Snapshots are the
	// caller's to renew, and States to be told: see Forgotten, and berthage.Manager.Forget, which does it all.
	Forget(ctx context.Context, subject string) error
}

// Clock is implemented by a Ledger whose store has a clock of its own, which then decides for all daemons.
type Clock interface {
	Now(ctx context.Context) (time.Time, error)
}

// Watcher is implemented by a Ledger that can tell when something was appended, by any process.
type Watcher interface {
	// Watch returns a channel that receives a value, or is ready to, soon after each append; several
	// appends may share one value. It is closed when ctx ends or the connection is lost.
	Watch(ctx context.Context) (<-chan struct{}, error)
}

// Scratch keeps small values under keys for a limited time: the lease, sessions, replies for idempotency.
// Losing it all loses no fact and no machine. Time is the store's own.
//
// Methods are safe for concurrent use, also by several processes. Failures are ErrUnavailable, or ErrUnknown
// where a Put or Delete may have been carried out, or may still be: doing it again with the same version
// ends in success or ErrConflict, and then Get tells whose value stands.
type Scratch interface {
	// Get returns the value under key and its version; an absent or expired key is ErrNotFound.
	Get(ctx context.Context, key string) (value []byte, version int64, err error)

	// Put stores value under key until ttl has passed and returns the new version, if the key's version is
	// prev, where 0 stands for an absent or expired key; otherwise ErrConflict. Versions of a key never
	// repeat, also across its deletion or expiry. Zero or negative ttl is ErrInvalid.
	Put(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (version int64, err error)

	// Delete removes the key if its version is that one; otherwise ErrConflict. Absent is ErrConflict too.
	Delete(ctx context.Context, key string, version int64) error
}

// Bounds on what a Scratch takes.
const (
	MaxKey   = 255     // bytes of a key
	MaxValue = 1 << 20 // bytes of a value
)

// CheckKey is for implementers of Scratch: it reports a key that no scratch takes, which is one that is
// empty, longer than MaxKey or not text.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey || !isText(key) {
		return invalid("key", key, "1 to 255 bytes of UTF-8 without NUL")
	}
	return nil
}

// CheckPut is for implementers of Scratch: it reports a Put that no scratch takes.
func CheckPut(key string, value []byte, ttl time.Duration) error {
	switch {
	case len(value) > MaxValue:
		return invalid("value", "", "at most 1 MiB")
	case ttl <= 0:
		return invalid("ttl", ttl.String(), "more than zero")
	}
	return CheckKey(key)
}
