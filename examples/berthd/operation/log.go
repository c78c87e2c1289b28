package operation

import (
	"context"
	"slices"
	"strconv"
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
}

// instance is what the fold remembers of one instance.
type instance struct {
	name, project string
	is            pool.Power
	open          []*Operation // running ones
}

// NewLog returns an empty Log that keeps at most so many operations that have ended.
func NewLog(most int) *Log {
	return &Log{most: most, changed: make(chan struct{}), all: make(map[string]*Operation), live: make(map[pool.InstanceID]*instance)}
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
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range slices.Backward(l.order) {
		if o.Instance == id && slices.Contains(kinds, o.Kind) {
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

func (l *Log) fold(e *pool.Event, payload any) {
	switch p := payload.(type) {
	case *pool.Launched:
		in := &instance{name: p.Name, project: p.Project, is: pool.Absent}
		l.live[p.Instance] = in
		o := l.begin(e, in, p.Instance, Launch, LaunchID(p.Instance))
		o.target, o.Progress, o.Step = p.Want, 10, "placed on "+string(p.Place.Host)
	case *pool.Wanted:
		if in := l.live[p.Instance]; in != nil {
			l.wanted(e, in, p)
		}
	case *pool.RebootWanted:
		if in := l.live[p.Instance]; in != nil {
			o := l.begin(e, in, p.Instance, Reboot, l.numbered(Reboot, p.Instance, e))
			o.token, o.Step = p.Token, "asked for"
		}
	case *pool.OfMachine:
		l.ofMachine(e, p)
	case *pool.Refused:
		l.step(e, p.Machine, 20, "creation failed and is being undone", p.Reason)
	case *pool.Observed:
		if in := l.machine(p.Machine); in != nil {
			in.is = p.Is
			l.reached(e, in)
		}
	case *pool.Placed:
		l.step(e, p.Instance.Machine(p.Place.Number), 10, "placed on "+string(p.Place.Host), "")
	case *pool.Ended:
		l.ended(e, p)
	}
}

func (l *Log) numbered(k Kind, id pool.InstanceID, e *pool.Event) string {
	return string(k) + "-" + string(id) + "-" + strconv.FormatInt(int64(e.Revision), 10) + "." + strconv.Itoa(e.Index)
}

func (l *Log) begin(e *pool.Event, in *instance, of pool.InstanceID, k Kind, id string) *Operation {
	o := &Operation{
		ID: id, Kind: k, Instance: of, Name: in.name, Project: in.project, Actor: e.Actor, Cause: e.Cause,
		Status: Running, Revision: e.Revision, Started: e.Time, Updated: e.Time,
	}
	l.all[id] = o
	l.order = append(l.order, o)
	in.open = append(in.open, o)
	return o
}

func (l *Log) end(e *pool.Event, in *instance, o *Operation, s Status, step string) {
	o.Status, o.Step, o.Updated = s, step, e.Time
	if s == Done {
		o.Progress = 100
	}
	in.open = slices.DeleteFunc(in.open, func(x *Operation) bool { return x == o })
}

// machine returns the instance of a machine.
func (l *Log) machine(m pool.MachineID) *instance {
	id, _, _ := m.Split()
	return l.live[id]
}

func (l *Log) wanted(e *pool.Event, in *instance, p *pool.Wanted) {
	for _, o := range slices.Clone(in.open) {
		switch {
		case p.Want == pool.Absent:
			l.end(e, in, o, Superseded, "the instance is being deleted")
		case o.Kind == Launch:
			o.target = p.Want // it is launched into what is wanted now
		case o.Kind != Reboot:
			l.end(e, in, o, Superseded, "it is to be "+string(p.Want)+" now")
		}
	}
	kind, id := Start, ""
	switch p.Want {
	case pool.Running:
		if in.is == pool.Suspended {
			kind = Resume
		}
	case pool.Stopped:
		kind = Stop
	case pool.Suspended:
		kind = Suspend
	case pool.Absent:
		kind, id = Delete, DeleteID(p.Instance)
	}
	if id == "" {
		id = l.numbered(kind, p.Instance, e)
	}
	o := l.begin(e, in, p.Instance, kind, id)
	o.target, o.Progress, o.Step = p.Want, 10, "asked for"
	l.reached(e, in)
}

func (l *Log) ofMachine(e *pool.Event, p *pool.OfMachine) {
	in := l.machine(p.Machine)
	if in == nil {
		return
	}
	switch e.Kind {
	case pool.KindSent:
		l.step(e, p.Machine, 40, "creating its machine", "")
	case pool.KindCreated:
		in.is = pool.Stopped
		l.step(e, p.Machine, 70, "its machine is there; starting it", "")
		l.reached(e, in)
	case pool.KindRebooted:
		for _, o := range slices.Clone(in.open) {
			if o.Kind == Reboot {
				l.end(e, in, o, Done, "rebooted")
			}
		}
	}
}

// step notes how far the launch of a machine's instance has come.
func (l *Log) step(e *pool.Event, m pool.MachineID, progress int, step, reason string) {
	in := l.machine(m)
	if in == nil {
		return
	}
	for _, o := range in.open {
		if o.Kind == Launch {
			o.Progress, o.Step, o.Updated = progress, step, e.Time
			if reason != "" {
				o.Reason = reason
			}
		}
	}
}

// reached ends the operations whose power the machine has now.
func (l *Log) reached(e *pool.Event, in *instance) {
	for _, o := range slices.Clone(in.open) {
		if o.target != "" && o.target != pool.Absent && o.target == in.is {
			o.Reason = ""
			l.end(e, in, o, Done, string(in.is))
		}
	}
}

func (l *Log) ended(e *pool.Event, p *pool.Ended) {
	in := l.live[p.Instance]
	if in == nil {
		return
	}
	if e.Kind == pool.KindFailed {
		in.is = pool.Absent
		for _, o := range slices.Clone(in.open) {
			if p.Reason != "" {
				o.Reason = p.Reason
			}
			l.end(e, in, o, Failed, "given up")
		}
		return
	}
	for _, o := range slices.Clone(in.open) {
		if o.Kind == Delete {
			l.end(e, in, o, Done, "gone")
		} else {
			l.end(e, in, o, Superseded, "the instance is gone")
		}
	}
	delete(l.live, p.Instance)
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
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range slices.Backward(l.order) {
		if o.Instance == id && o.Kind == Reboot && o.token == token {
			return *o, true
		}
	}
	return Operation{}, false
}

// Skip goes on after a revision without what lies before it.
func (l *Log) Skip(to pool.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head = max(l.head, to)
	close(l.changed)
	l.changed = make(chan struct{})
}
