package operation

import (
	"context"
	"slices"
	"sync"

	"github.com/berthage/berthage/pool"
)

// Log is the operations of a ledger: all that run, and the newest of those that have ended. All methods are
// safe for concurrent use.
type Log struct {
	most int

	mu      sync.Mutex
	head    pool.Revision
	changed chan struct{} // closed and replaced by every Apply
	all     map[string]*Operation
	order   []*Operation // oldest first
	live    map[pool.InstanceID]*instance

	clusters map[pool.ClusterID]string // whose they are
	removed  map[string]pool.Revision  // projects, at which revision last
}

// instance is what the fold remembers of one instance.
type instance struct {
	name, project string
	owner         string
	want          pool.Power
	is            pool.Power   // what its machine does; Shelved while its disks are put aside
	made          bool         // its present machine has been created
	open          []*Operation // running ones
}

// NewLog returns an empty Log that keeps at most so many operations that have ended.
func NewLog(most int) *Log {
	return &Log{most: most, changed: make(chan struct{}), all: make(map[string]*Operation), clusters: make(map[pool.ClusterID]string), removed: make(map[string]pool.Revision), live: make(map[pool.InstanceID]*instance)}
}

// Head returns the revision of the last batch applied.
func (l *Log) Head() pool.Revision {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Await returns once the batch of that revision has been applied, or with ctx's error.
func (l *Log) Await(ctx context.Context, at pool.Revision) error {
	for {
		l.mu.Lock()
		head, changed := l.head, l.changed
		l.mu.Unlock()
		if head >= at {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Get returns an operation.
func (l *Log) Get(id string) (Operation, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o, ok := l.all[id]; ok {
		return *o, true
	}
	return Operation{}, false
}

// Newest returns the newest operation on an instance that is of one of the kinds.
func (l *Log) Newest(id pool.InstanceID, kinds ...Kind) (Operation, bool) {
	return l.Find(id, func(o *Operation) bool { return slices.Contains(kinds, o.Kind) })
}

// Find returns the newest operation on an instance that is accepted.
func (l *Log) Find(id pool.InstanceID, accept func(*Operation) bool) (Operation, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range slices.Backward(l.order) {
		if o.Instance == id && accept(o) {
			return *o, true
		}
	}
	return Operation{}, false
}

// List returns the operations that keep accepts, newest first.
func (l *Log) List(keep func(*Operation) bool) []Operation {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []Operation{}
	for _, o := range slices.Backward(l.order) {
		if keep(o) {
			out = append(out, *o)
		}
	}
	return out
}

// Count returns the number of operations that run.
func (l *Log) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, i := range l.live {
		n += len(i.open)
	}
	return n
}

// Removed returns the revision at which a project of that name was removed last; 0: never. What is of that revision or before is of another
// project than one that has the name now.
func (l *Log) Removed(project string) pool.Revision {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.removed[project]
}

// leave drops the operations of a project that is removed, all of which have ended, so that whoever has its name later does not see them.
func (l *Log) leave(project string, at pool.Revision) {
	l.removed[project] = at
	l.order = slices.DeleteFunc(l.order, func(o *Operation) bool {
		if o.Project == project {
			delete(l.all, o.ID)
		}
		return o.Project == project
	})
}

// Apply folds one batch. Batches must come in order; one that has been applied already is left out.
func (l *Log) Apply(b pool.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.Revision <= l.head {
		return
	}
	for i := range b.Events {
		e := &b.Events[i]
		if p, err := e.Payload(); err == nil { // another package's kinds are none of ours
			l.fold(e, p)
		}
	}
	l.head = b.Revision
	l.trim()
	close(l.changed)
	l.changed = make(chan struct{})
}

// trim drops the oldest operations that have ended. Whoever runs stays.
func (l *Log) trim() {
	extra := len(l.order) - l.most
	if extra < l.most/10+1 { // seldom, so that it costs little per batch
		return
	}
	l.order = slices.DeleteFunc(l.order, func(o *Operation) bool {
		if extra <= 0 || !o.Ended() {
			return false
		}
		extra--
		delete(l.all, o.ID)
		return true
	})
}

// Rebooting returns the operation of the reboot that was asked for with that token.
func (l *Log) Rebooting(id pool.InstanceID, token string) (Operation, bool) {
	return l.Find(id, func(o *Operation) bool { return o.Kind == Reboot && o.token == token })
}

// Skip goes on after a revision without what lies before it.
func (l *Log) Skip(to pool.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head = max(l.head, to)
	close(l.changed)
	l.changed = make(chan struct{})
}
