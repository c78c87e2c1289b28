package ring

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/berthage/berthage/pool"
)

// Compaction is what Compact did; the root package documents it.
type Compaction struct {
	Revision pool.Revision `json:"revision"`
	Batches  int64         `json:"batches"`
	Bytes    int64         `json:"bytes"`
}

// Compact stores a snapshot of the State at the ledger's head. Commands and readers go on meanwhile: only
// taking the snapshot, which does not grow with the past, keeps the committer waiting.
func (r *Ring) Compact(ctx context.Context) (Compaction, error) {
	shot, err := r.shot(ctx)
	if err != nil {
		return Compaction{}, err
	}
	at := shot.Revision()
	before, _, err := r.cfg.Ledger.Checkpoint(ctx)
	if err != nil && !errors.Is(err, pool.ErrCorrupt) { // one that is damaged is what a new one is for
		return Compaction{}, err
	}
	if before >= at {
		return Compaction{Revision: before}, nil
	}
	snapshot, err := shot.Bytes()
	if err != nil {
		return Compaction{}, err
	}
	// A snapshot that cannot be read would be found out when it is needed. This also compares all sums of the
	// State with its records.
	if _, err := pool.ReadSnapshot(bytes.NewReader(snapshot), r.cfg.Parts...); err != nil {
		return Compaction{}, err
	}
	stands, err := r.store(ctx, at, snapshot)
	if err != nil {
		return Compaction{}, err
	}
	if stands != at { // another process has compacted meanwhile, and further
		return Compaction{Revision: stands}, nil
	}
	return Compaction{Revision: at, Batches: int64(at - before), Bytes: int64(len(snapshot))}, nil
}

// shot takes a snapshot of the State at the ledger's head.
func (r *Ring) shot(ctx context.Context) (*pool.Snapshot, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := r.catchUpLocked(ctx); err != nil {
		return nil, err
	}
	return r.st.Snapshot(), nil
}

// store compacts the ledger and returns the checkpoint that stands then. A compaction whose reply was lost may
// still be carried out; it is asked for again until it, or another process's, stands.
func (r *Ring) store(ctx context.Context, at pool.Revision, snapshot []byte) (pool.Revision, error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := r.cfg.Ledger.Compact(ctx, at, snapshot)
		if err == nil {
			return at, nil
		}
		if !errors.Is(err, pool.ErrUnknown) && !errors.Is(err, pool.ErrInvalid) {
			return 0, err
		}
		stands, _, look := r.cfg.Ledger.Checkpoint(ctx)
		switch {
		case look == nil && stands >= at:
			return stands, nil
		case errors.Is(err, pool.ErrInvalid):
			return 0, errors.Join(err, look)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return 0, &pool.Error{Kind: pool.ErrUnknown, Cause: errors.Join(ctx.Err(), err)}
		}
	}
}

// Forget makes the State, the history and the checkpoint forget what is personal to an instance or a cluster.
func (r *Ring) Forget(ctx context.Context, subject string, who Caller) (Compaction, error) {
	rev, err := r.submit(ctx, forgetting{subject}, who)
	if err != nil {
		return Compaction{}, err
	}
	if err := r.forget(ctx, subject); err != nil {
		return Compaction{}, err
	}
	// A checkpoint from before may hold it, or one that another process is about to store. Both come to nothing
	// once there is one from after: it cannot be replaced by an older one.
	c, err := r.Compact(ctx)
	if err == nil && c.Revision < rev {
		err = &pool.Error{Kind: pool.ErrUnavailable, Field: "checkpoint", Want: "revision " + number(rev) + " or later"}
	}
	return c, err
}

func (r *Ring) forget(ctx context.Context, subject string) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := r.cfg.Ledger.Forget(ctx, subject)
		if !errors.Is(err, pool.ErrUnknown) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return &pool.Error{Kind: pool.ErrUnknown, Cause: errors.Join(ctx.Err(), err)}
		}
	}
}

// forgetting is the command to forget. It is an event also where nothing is left to forget in the State, since
// the checkpoint may be older than the instance's end.
type forgetting struct{ subject string }

func (f forgetting) decide(_ *rules, st *pool.State) ([]pool.Event, error) {
	of := []pool.InstanceID{pool.InstanceID(f.subject)}
	if c, ok := st.Cluster(pool.ClusterID(f.subject)); ok {
		for _, index := range c.Members {
			of = append(of, c.Member(st.Identity(), index))
		}
	}
	for _, id := range of {
		i, ok := st.Instance(id)
		if ok && (i.Phase == pool.Building || i.Phase == pool.Reserved || i.Phase == pool.Waiting) {
			return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "instance", Value: string(id), Want: "one that has been made: it is made with what is to be forgotten"}
		}
	}
	return one(pool.KindForgotten, &pool.Forgotten{Subject: f.subject})
}
