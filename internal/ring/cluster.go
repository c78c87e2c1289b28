package ring

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/scheduler"
)

// CreateCluster wants n instances of one spec, once per project and name.
type CreateCluster struct {
	Token      string    `json:"token"`
	Project    string    `json:"project"`
	Name       string    `json:"name"` // members are called name-0, name-1, ...
	Spec       pool.Spec `json:"spec"`
	Size       int       `json:"size"`
	BestEffort bool      `json:"best_effort,omitempty"` // as many as there is room for; otherwise all or none
	Stagger    int       `json:"stagger,omitempty"`     // members acted on at a time; 0: no bound of its own
	Wait       bool      `json:"wait,omitempty"`        // members for which there is no room wait for it, each by itself

	// Spare is how many failure domains may fail at once: whichever they are, what of the cluster is on them has room on the
	// others when it is created. Domain is the key of the host label that names a host's domain, or pool.ZoneKey; empty: the host.
	Spare  int    `json:"spare,omitempty"`
	Domain string `json:"domain,omitempty"`

	until time.Time // not zero: reserved until then, see Reserve
}

// maxClusterName leaves room for the members' numbers.
const maxClusterName = 52

func (c *CreateCluster) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	if err := validToken(c.Token); err != nil {
		return nil, err
	}
	// Before anything else, as with Launch: a request that has been carried out is not refused for what has changed since.
	id := pool.NewClusterID(c.Project, c.Name)
	if old, ok := st.Cluster(id); ok {
		switch {
		case old.Token != c.Token:
			return nil, &pool.Error{Kind: pool.ErrExists, Field: "cluster", Value: string(id)}
		case !c.made(old), r.others(old.Owner), isReserved(st, old) && c.until.IsZero():
			return nil, errToken(c.Token)
		}
		return nil, nil
	}
	first := st.MemberFor(id, c.Token, 0)
	if t, ended := st.Ended(first); ended {
		if c.until.IsZero() && lapsed(first, t) != nil { // it has never been
			return nil, errToken(c.Token)
		}
		return nil, nil // it has been, and is gone
	}
	for other := range st.Clusters() {
		if other.Token == c.Token && other.ID.Project() == c.Project { // a token is its project's own
			return nil, errToken(c.Token)
		}
	}
	switch {
	case len(c.Name) > maxClusterName:
		return nil, invalid("name", c.Name, "at most "+strconv.Itoa(maxClusterName)+" characters")
	case c.Size < 1 || c.Size > pool.MaxCluster:
		return nil, invalid("size", strconv.Itoa(c.Size), "1 to "+strconv.Itoa(pool.MaxCluster))
	case c.Stagger < 0:
		return nil, invalid("stagger", strconv.Itoa(c.Stagger), "zero or more")
	}
	req, _, err := (&Launch{Token: c.Token, Project: c.Project, Name: c.Name, Spec: c.Spec}).resolve(r, st)
	if err != nil {
		return nil, err
	}
	if r.owner != "" {
		if err := pool.ValidOwner(r.owner); err != nil {
			return nil, err
		}
	}
	d := r.draft(st)
	d.until = c.until
	if err := d.add(pool.KindClusterPut, &pool.ClusterPut{Cluster: id, Token: c.Token, Owner: r.owner, Spec: req.Spec, Image: req.Image, Size: c.Size, Stagger: c.Stagger}); err != nil {
		return nil, err
	}
	grow := func() (pool.ClusterOp, error) { return d.grow(id, c.Size, c.BestEffort, c.Wait) }
	if c.Spare != 0 || c.Domain != "" {
		if err := c.mayHaveSpare(id, req.Spec); err != nil {
			return nil, err
		}
		grow = func() (pool.ClusterOp, error) { return d.growWithSpare(id, c) }
	}
	op, err := grow()
	if err != nil {
		return nil, err
	}
	op.Verb = "create"
	return d.end(pool.ClusterActed{Cluster: id, Op: op, Size: c.Size, Want: pool.Running})
}

// made reports whether the cluster is what this request asks for, whatever its size is now. Whether as few as there
// was room for would do says how to make it and not what.
func (c *CreateCluster) made(old *pool.Cluster) bool {
	return sameSpec(c.Spec, old.Spec) && c.Stagger == old.Stagger &&
		(c.Size == old.Asked || old.Asked == 0) // an earlier version has not recorded it
}

// ScaleCluster wants a cluster to have another number of members. Failed members go first, then the newest.
type ScaleCluster struct {
	Cluster    pool.ClusterID `json:"cluster"`
	Size       int            `json:"size"`
	BestEffort bool           `json:"best_effort,omitempty"`
	Wait       bool           `json:"wait,omitempty"` // as for CreateCluster
}

func (c *ScaleCluster) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	cluster, err := steerable(st, c.Cluster)
	if err != nil {
		return nil, err
	}
	if isReserved(st, cluster) {
		return nil, errReserved(cluster)
	}
	if c.Size < 0 || c.Size > pool.MaxCluster {
		return nil, invalid("size", strconv.Itoa(c.Size), "0 to "+strconv.Itoa(pool.MaxCluster))
	}
	var live []*pool.Instance
	for _, i := range membersOf(st, cluster) {
		if i.Want != pool.Absent {
			live = append(live, i)
		}
	}
	d := r.draft(st)
	op := pool.ClusterOp{Concern: max(c.Size-len(live), len(live)-c.Size)}
	switch {
	case c.Size > len(live):
		if cluster.Want != pool.Running && cluster.Want != pool.Stopped {
			return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "cluster", Value: string(c.Cluster), Want: "a cluster that is running or stopped, not " + string(cluster.Want)}
		}
		if op, err = d.grow(c.Cluster, c.Size-len(live), c.BestEffort, c.Wait); err != nil {
			return nil, err
		}
	case c.Size < len(live):
		slices.SortFunc(live, func(a, b *pool.Instance) int {
			if x, y := a.Phase == pool.Failed, b.Phase == pool.Failed; x != y {
				if x {
					return -1
				}
				return 1
			}
			return b.Index - a.Index
		})
		for _, i := range live[:len(live)-c.Size] {
			if err := d.add(pool.KindWanted, &pool.Wanted{Instance: i.ID, Want: pool.Absent}); err != nil {
				return nil, err
			}
		}
	case cluster.Size == c.Size:
		return nil, nil
	}
	op.Verb = "scale"
	return d.end(pool.ClusterActed{Cluster: c.Cluster, Op: op, Size: c.Size, Want: cluster.Want})
}

// The verbs of SteerCluster.
const (
	Start   = "start"   // all members run
	Stop    = "stop"    // none does
	Suspend = "suspend" // those that run are suspended; with Release all are shelved
	Resume  = "resume"  // those that ran before a stop or suspend run again
	Destroy = "delete"  // all members go, and the cluster with the last
)

// SteerCluster does something to all members of a cluster that it concerns.
type SteerCluster struct {
	Cluster pool.ClusterID `json:"cluster"`
	Verb    string         `json:"verb"`
	Release bool           `json:"release,omitempty"` // of suspend: give the places back, by shelving
}

func (c *SteerCluster) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	cluster, ok := st.Cluster(c.Cluster)
	if !ok {
		return nil, notFound("cluster", string(c.Cluster))
	}
	want := map[string]pool.Power{Start: pool.Running, Resume: pool.Running, Stop: pool.Stopped, Suspend: pool.Suspended, Destroy: pool.Absent}[c.Verb]
	switch {
	case want == "" || c.Release && c.Verb != Suspend:
		return nil, invalid("verb", c.Verb, "start, stop, suspend, resume or delete; release with suspend only")
	case cluster.Want == pool.Absent && want != pool.Absent:
		return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "cluster", Value: string(c.Cluster), Want: "a cluster that is not being deleted"}
	case c.Release:
		want = pool.Shelved
	}
	if isReserved(st, cluster) {
		if want != pool.Absent {
			return nil, errReserved(cluster)
		}
		i, _ := st.Instance(st.MemberFor(cluster.ID, cluster.Token, cluster.Members[0]))
		return lapse(st, i, true)
	}
	d := r.draft(st)
	op := pool.ClusterOp{Verb: c.Verb}
	for _, old := range membersOf(st, cluster) {
		i, _ := d.st.Instance(old.ID)
		events, skip := c.member(r, d.st, i, want)
		if skip == "" {
			op.Concern++
			for n := range events {
				if err := d.take(events[n]); err != nil {
					return nil, err
				}
			}
			continue
		}
		op.Skipped = append(op.Skipped, pool.Skip{Index: i.Index, Reason: skip})
	}
	size := cluster.Size
	if c.Verb == Destroy {
		size = 0
	}
	if len(d.events) == 0 && reflect.DeepEqual(op, cluster.Op) && want == cluster.Want {
		return nil, nil // a repetition
	}
	if c.Verb == Destroy && len(cluster.Members) == 0 {
		return one(pool.KindClusterRemoved, &pool.ClusterRemoved{Cluster: c.Cluster})
	}
	return d.end(pool.ClusterActed{Cluster: c.Cluster, Op: op, Size: size, Want: want})
}

// member decides for one member; skip says why it is left as it is.
func (c *SteerCluster) member(r *rules, st *pool.State, i *pool.Instance, want pool.Power) (events []pool.Event, skip string) {
	wanted := func(ran bool) ([]pool.Event, string) {
		e, err := one(pool.KindWanted, &pool.Wanted{Instance: i.ID, Want: want, Ran: ran})
		if err != nil {
			return nil, reason(err)
		}
		return e, ""
	}
	switch {
	case i.Want == want:
		return nil, ""
	case want == pool.Absent:
		return wanted(false)
	case i.Want == pool.Absent:
		return nil, "is being deleted"
	case i.Phase == pool.Failed:
		return nil, "has failed: " + i.Reason
	}
	ran := i.Want == pool.Running || i.Ran
	switch c.Verb {
	case Resume:
		if !i.Ran {
			return nil, "did not run before"
		}
		ran = false
	case Start:
		ran = false
	case Suspend:
		switch {
		case want == pool.Suspended && i.Want != pool.Running:
			return nil, "is to be " + string(i.Want)
		case want == pool.Suspended && i.Phase == pool.Building:
			return wanted(true) // as soon as it runs
		}
	}
	events, err := r.power(st, i, want, ran)
	if err != nil {
		return nil, reason(err)
	}
	return events, ""
}

// errReserved refuses what cannot be done to a cluster before it is committed.
func errReserved(c *pool.Cluster) error {
	return &pool.Error{Kind: pool.ErrWrongState, Field: "cluster", Value: string(c.ID), Want: "a cluster that is not only reserved; commit it first"}
}

func steerable(st *pool.State, id pool.ClusterID) (*pool.Cluster, error) {
	c, ok := st.Cluster(id)
	if !ok {
		return nil, notFound("cluster", string(id))
	}
	if c.Want == pool.Absent {
		return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "cluster", Value: string(id), Want: "a cluster that is not being deleted"}
	}
	return c, nil
}

// membersOf returns a cluster's members by index.
func membersOf(st *pool.State, c *pool.Cluster) []*pool.Instance {
	out := make([]*pool.Instance, 0, len(c.Members))
	for _, n := range c.Members {
		if i, ok := st.Instance(st.MemberFor(c.ID, c.Token, n)); ok {
			out = append(out, i)
		}
	}
	return out
}

// drafting collects the events of one decision of which each rests on those before.
type drafting struct {
	rules  *rules
	st     *pool.State // an overlay of its own
	events []pool.Event
	size   int
	until  time.Time      // of members that are reserved
	demand pool.Resources // of a member, as its project's quota counts it; nil: not known yet
}

func (d *drafting) add(kind string, payload any) error {
	e, err := pool.NewEvent(kind, payload)
	if err != nil {
		return err
	}
	return d.take(e)
}

func (d *drafting) take(e pool.Event) error {
	if d.size += len(e.Data) + len(e.Private); d.size > pool.MaxBatch {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "cluster", Want: "fewer members, or a smaller spec: what is done at once must fit a batch"}
	}
	n := len(d.events)
	d.events = append(d.events, e)
	draft := &d.events[n]
	draft.Revision, draft.Index, draft.Time = d.rules.revision, n, d.rules.now
	if err := d.st.Apply(draft); err != nil {
		d.events = d.events[:n]
		return err
	}
	settle(draft)
	return nil
}

// done returns the events. The committer takes over what they have made of the overlay.
func (d *drafting) done() []pool.Event {
	d.rules.drafted = d.st
	if d.rules.space != nil {
		d.rules.space.events = d.events
	}
	return d.events
}

// grow places n new members. With wait those wait for which there is no room: all alike, so that after the first nobody else is
// asked.
func (d *drafting) grow(id pool.ClusterID, n int, bestEffort, wait bool) (pool.ClusterOp, error) {
	op := pool.ClusterOp{Concern: n}
	var full error
	d.events = slices.Grow(d.events, n+1)
	for k := range n {
		err := full
		if full == nil {
			err = d.member(id, nil)
		}
		if err != nil && wait {
			full = err
			err = d.member(id, full)
			op.Reason = reason(full)
		}
		if err == nil {
			continue
		}
		if !bestEffort || k == 0 {
			return op, fmt.Errorf("member %d of %d: %w", k+1, n, err)
		}
		op.Concern, op.Refused, op.Reason = k, n-k, reason(err)
		break
	}
	return op, nil
}

// member places one more member, or lets it wait if another has been refused.
func (d *drafting) member(id pool.ClusterID, refused error) error {
	c, ok := d.st.Cluster(id)
	if !ok {
		return notFound("cluster", string(id))
	}
	launched := d.rules.launched()
	launched.Instance, launched.Name, launched.Want = c.Member(d.st.Identity(), c.Next), id.Name()+"-"+strconv.Itoa(c.Next), c.Want
	launched.Cluster, launched.Index, launched.Until = id, c.Next, d.until
	if refused != nil {
		launched.Waits = true // why stands in the cluster's record
		if err := mayWait(d.st, id.Project(), c.Owner, refused); err != nil {
			return err
		}
		return d.add(pool.KindLaunched, launched)
	}
	placed, err := d.rules.place(d.rules.scheduler, d.st, scheduler.Request{Spec: c.Spec, Image: c.Image, Project: id.Project(), Cluster: id, Now: d.rules.now})
	if err != nil {
		return err
	}
	demand := d.demand
	if demand == nil || placed.Allocation.Shape != "" || demand[pool.Cost] != d.st.Cost(placed.Host, placed.Allocation, c.Spec.Flavor) {
		demand = demandOf(d.st, placed.Host, placed.Allocation, c.Spec.Flavor)
	}
	if placed.Allocation.Shape == "" { // members are alike, but for the shapes as which they are booked and what hosts cost
		d.demand = demand
	}
	if err := quota.Allow(d.st, id.Project(), c.Owner, demand); err != nil {
		return err
	}
	launched.Place = pool.Placement{Host: placed.Host, Allocation: placed.Allocation}
	return d.add(pool.KindLaunched, launched)
}

func (d *drafting) end(acted pool.ClusterActed) ([]pool.Event, error) {
	err := d.add(pool.KindClusterActed, &acted)
	return d.done(), err
}
