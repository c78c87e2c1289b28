package ring

import (
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// placing is the scheduler's index of the hosts, which the committer keeps: it has what the committed State has and,
// while a batch is decided, what the batch does on top. Nobody touches it but who has the turn. The zero value is none
// yet; the first placement makes it, since many a process never places anything.
type placing struct {
	index *scheduler.Index
	st    *pool.State // whose hosts the index has: the overlay of the batch that is being decided
	seen  int         // of its changes, those that the index has
	ahead *pool.State // an overlay of st whose hosts it has instead, while a decision tries things out
	tried int         // of its changes, those that the index has
}

// begin is called before a batch is decided on an overlay of the committed State, end after that.
func (p *placing) begin(st *pool.State) { p.st, p.seen = st, 0 }

func (p *placing) end() { p.st = nil }

// place chooses a host in st, which is what is decided on or an overlay of that. Of any other State all hosts are looked
// at, as they are where there is no index.
func (p *placing) place(s *scheduler.Scheduler, st *pool.State, req *scheduler.Request) (scheduler.Decision, error) {
	if !p.ready(st) {
		return s.Place(st, *req)
	}
	return s.PlaceOn(p.index, req.In(st))
}

// choose is place without the long explanation of a refusal.
func (p *placing) choose(s *scheduler.Scheduler, st *pool.State, req scheduler.Request) (scheduler.Decision, error) {
	req = req.In(st)
	if !p.ready(st) {
		return s.Place(st, req)
	}
	a, err := s.Ask(req)
	if err != nil {
		return scheduler.Decision{}, err
	}
	var d scheduler.Decision
	err = p.index.Choose(a, &d)
	return d, err
}

// ready makes the index have what st has, if that is what is decided on or an overlay of it.
func (p *placing) ready(st *pool.State) bool {
	if p == nil || p.st == nil || st != p.st && !st.Over(p.st) {
		return false
	}
	if p.index == nil {
		p.index, p.seen = scheduler.NewIndex(p.st), len(p.st.HostChanges())
	}
	if p.ahead != st {
		p.back()
	}
	if st != p.st {
		p.tried = p.goOn(st, p.tried)
		p.ahead = st
	}
	return true
}

// back takes back what a decision has tried out.
func (p *placing) back() {
	if p.ahead != nil {
		p.sync(p.ahead, p.st)
		p.ahead, p.tried = nil, 0
	}
}

// keep leaves in the index what a decision has tried out, which is about to become part of the State under it.
func (p *placing) keep(o *pool.State) {
	if p.ahead == o {
		p.ahead, p.tried = nil, 0
	}
}

// follow makes the index have what has changed since in the State that it is of.
func (p *placing) follow() { p.seen = p.goOn(p.st, p.seen) }

// goOn makes the index have the changes of an overlay after the first ones, and returns how many there are.
func (p *placing) goOn(o *pool.State, first int) int {
	all := o.HostChanges()
	if p.index != nil {
		for _, id := range all[first:] {
			p.index.Sync(o, id)
		}
	}
	return len(all)
}

// sync makes the index have of the hosts that an overlay has changed what st has of them.
func (p *placing) sync(o, st *pool.State) {
	if p.index == nil {
		return
	}
	for _, id := range o.HostChanges() {
		p.index.Sync(st, id)
	}
}

// anew is what the scheduler is asked for an instance that is placed again, with that spec.
func (r *rules) anew(i *pool.Instance, spec pool.Spec, avoid []pool.HostID) scheduler.Request {
	req := scheduler.Request{Spec: spec, Image: i.Image, Avoid: avoid, Project: i.Project, Cluster: i.Cluster, Now: r.now}
	if i.Placed() {
		req.Leaves = i.Place.Host
	}
	if r.lives != nil {
		if until := r.lives.book.Until(i.ID); until.After(r.now) {
			req.Lives = scheduler.Exactly(until.Sub(r.now))
		}
	}
	return req
}

// place chooses a host for an instance, none whose room is kept for another.
func (r *rules) place(s *scheduler.Scheduler, st *pool.State, req scheduler.Request) (scheduler.Decision, error) {
	if r.lives != nil {
		req = r.expected(st, req)
	}
	d, err := r.placing.place(r.kept(s, st, req.Spec.Priority, ""), st, &req)
	if err == nil {
		r.placed(st, req, d.Host)
	}
	return d, err
}
