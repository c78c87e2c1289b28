package berthage

import (
	"context"

	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
)

// Compaction is what Manager.Compact did: the revision of the checkpoint that stands now, the batches that it
// moved to the archive, and the size of its snapshot in bytes. No batches and no bytes: there was nothing to
// do, or another process has compacted meanwhile, at least as far.
type Compaction = ring.Compaction

// Compact stores a snapshot of the books as the ledger's new checkpoint, so that a start reads that in place of
// the history before it, which moves to the ledger's archive. Nothing is deleted: Events reads the archive too.
//
// Any process on the ledger may do it, at any time, leading or not, Run or not; commands and readers go on
// meanwhile, and so do other compactions. A compaction whose reply was lost is asked for again until it is known
// which checkpoint stands, or ctx ends (pool.ErrUnknown: it may still come to stand). It takes memory for the
// snapshot, about 20 bytes for each instance that there ever was, and for reading it back once, since one that
// cannot be read is not stored.
func (m *Manager) Compact(ctx context.Context) (Compaction, error) {
	c, err := m.ring.Compact(ctx)
	if err != nil {
		return Compaction{}, named(err, "compact")
	}
	return c, nil
}

// Forget removes what is personal to an instance or a cluster, by its id: login, keys, user-data, and an
// instance's addresses. They leave the books of every process on the ledger (pool.KindForgotten), the history
// with its archive (Ledger.Forget), and the checkpoint, which is always renewed: Ledger.Forget alone would leave
// them in the books and in the checkpoint. An instance that has been deleted is forgotten in the same way.
// Members share their cluster's login, keys and user-data; their addresses are their own.
//
// After an error it is to be repeated until it returns none: parts of it may not have been done. An instance that
// is still being made (pool.ErrWrongState) needs what would be forgotten; one that is made anew later, after the
// loss of its host say, is made without. Addresses that are observed later are known again. Copies of the store,
// backups among them, are beyond its reach.
func (m *Manager) Forget(ctx context.Context, subject string) (Compaction, error) {
	if subject == "" || len(subject) > pool.MaxSubject {
		return Compaction{}, &pool.Error{Op: "forget", Kind: pool.ErrInvalid, Field: "subject", Value: subject, Want: "the id of an instance or of a cluster"}
	}
	c, err := m.ring.Forget(ctx, subject, m.who)
	if err != nil {
		return Compaction{}, named(err, "forget "+pool.Quote(subject))
	}
	return c, nil
}
