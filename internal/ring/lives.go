package ring

import (
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/lifetime"
)

// lives is what placements know of how long instances live: by what their specs say, or by what has been learnt from the
// events as they were folded. It is a preference and no fact: nothing of it is in the books. Nil: nobody looks.
//
// Whoever has the turn changes it, with Ring.mu held; readers hold that too, or the turn.
type lives struct {
	book   lifetime.Book
	looked time.Time
}

// lookAtLives is how old expectations may become; a smaller difference of lifetimes does not count.
const lookAtLives = 5 * time.Minute

// begin learns who lives in a State whose events have not been folded one by one.
func (l *lives) begin(st *pool.State) {
	if l == nil {
		return
	}
	l.book.Forget()
	for i := range st.Instances() {
		l.note(st, i)
	}
	l.looked = time.Time{}
}

// follow learns what an overlay has changed.
func (l *lives) follow(o *pool.State) {
	if l == nil {
		return
	}
	var ids []pool.InstanceID
	for id := range o.ChangedInstances() {
		ids = append(ids, id)
	}
	slices.Sort(ids) // so that what is learnt does not depend on any order
	for _, id := range ids {
		if i, ok := o.Instance(id); ok {
			l.note(o, i)
		} else {
			l.book.Gone(id, o.Time())
		}
	}
}

// note learns where an instance is.
func (l *lives) note(st *pool.State, i *pool.Instance) {
	if !i.Placed() || i.Phase == pool.Reserved { // what lapses has never lived
		l.book.Moved(i.ID, "")
		return
	}
	l.book.Born(i.ID, i.Place.Host, classOf(st, i.Spec, i.Project, i.Cluster), i.At, said(i.Spec, i.At))
	l.book.Moved(i.ID, i.Place.Host)
}

// look makes expectations what they are now, if they are not from a moment ago.
func (l *lives) look(now time.Time) {
	if l != nil && now.Sub(l.looked) >= lookAtLives {
		l.book.Look(now)
		l.looked = now
	}
}

// said is until when an instance of that spec is said to exist.
func said(spec pool.Spec, from time.Time) time.Time {
	if spec.Lifetime == 0 {
		return time.Time{}
	}
	return from.Add(time.Duration(spec.Lifetime) * time.Second)
}

func classOf(st *pool.State, spec pool.Spec, project string, cluster pool.ClusterID) lifetime.Class {
	c := lifetime.Class{Project: project, Flavor: spec.Flavor, Batch: 1}
	if c.Flavor == "" {
		c.Flavor = spec.Resources.String()
	}
	if together, ok := st.Cluster(cluster); ok {
		c.Batch = together.Asked
	}
	return c
}

// expected adds to a request how long its instance is expected to live.
func (r *rules) expected(st *pool.State, req scheduler.Request) scheduler.Request {
	switch {
	case r.lives == nil || req.Lives != nil:
	case req.Spec.Lifetime > 0:
		req.Lives = scheduler.Exactly(time.Duration(req.Spec.Lifetime) * time.Second)
	default:
		req.Lives = r.lives.book.Lives(classOf(st, req.Spec, req.Project, req.Cluster))
	}
	return req
}

// placed makes those that are decided next know until when the host of a placement will be in use. If it comes to nothing, and nothing
// else is there, the host counts as in use until then.
func (r *rules) placed(st *pool.State, req scheduler.Request, host pool.HostID) {
	if r.lives == nil || r.placing == nil {
		return
	}
	until := said(req.Spec, r.now)
	if until.IsZero() {
		until = r.now.Add(r.lives.book.Expect(classOf(st, req.Spec, req.Project, req.Cluster)))
	}
	if e := &r.lives.book.Ends; e.Of(host).Before(until) {
		e.Set(host, until)
	}
}
