package pool

import (
	"slices"
	"strconv"
	"strings"
)

// ClusterID names a cluster: its project, a slash, and its name.
type ClusterID string

// NewClusterID joins a project and a name.
func NewClusterID(project, name string) ClusterID { return ClusterID(project + "/" + name) }

// Project returns the part before the slash.
func (id ClusterID) Project() string {
	p, _, _ := strings.Cut(string(id), "/")
	return p
}

// Name returns the part after the slash.
func (id ClusterID) Name() string {
	_, n, _ := strings.Cut(string(id), "/")
	return n
}

// MaxCluster is the most members that a cluster can have: what is done to all of them is one batch.
const MaxCluster = 1000

// Cluster is a number of instances of one spec, acted on as one. Records in State are immutable.
type Cluster struct {
	ID      ClusterID `json:"id"`
	Token   string    `json:"token"`             // of its creation; its members' ids derive from it
	Owner   string    `json:"owner,omitempty"`   // whose its members are, see Instance.Owner
	Spec    Spec      `json:"spec"`              // of every member, resolved; Guest is absent once forgotten
	Image   Image     `json:"image"`             // as it was at creation
	Asked   int       `json:"asked,omitempty"`   // members asked for at creation
	Size    int       `json:"size"`              // members asked for last
	Want    Power     `json:"want"`              // of its members, as asked last
	Stagger int       `json:"stagger,omitempty"` // members acted on at a time; 0: no bound of its own

	Next    int       `json:"next"`    // index of the next member
	Members []int     `json:"members"` // indexes, ascending
	Op      ClusterOp `json:"op"`      // the last command

	Launched Revision `json:"launched"`
	Changed  Revision `json:"changed"`
}

// Member returns the id of the member with that index.
func (c *Cluster) Member(ledger string, index int) InstanceID {
	return NewClusterMember(ledger, c.ID, c.Token, index)
}

// NewClusterMember derives a member's id from its cluster, the token of the cluster's creation, and its index.
func NewClusterMember(ledger string, id ClusterID, token string, index int) InstanceID {
	return newInstanceID("berthage member v1", ledger, string(id), token, strconv.Itoa(index))
}

// ClusterOp is a command that was given to a cluster, and whom it did not concern.
type ClusterOp struct {
	Verb    string `json:"verb"`              // "create", "scale", "start", "stop", "suspend", "resume", "shelve", "delete"
	Concern int    `json:"concern"`           // members that it is for, or was when it was given
	Skipped []Skip `json:"skipped,omitempty"` // members that it left as they were
	Refused int    `json:"refused,omitempty"` // members asked for that were not placed
	Reason  string `json:"reason,omitempty"`  // of the first of those
}

// Skip is a member that a command left as it was.
type Skip struct {
	Index  int    `json:"index"`
	Reason string `json:"reason"`
}

// ClusterPut is the data of KindClusterPut: a new cluster, as yet without members.
type ClusterPut struct {
	Cluster ClusterID `json:"cluster"`
	Token   string    `json:"token"`
	Owner   string    `json:"owner,omitempty"`
	Spec    Spec      `json:"spec"` // without Guest
	Image   Image     `json:"image"`
	Size    int       `json:"size,omitempty"` // asked for
	Stagger int       `json:"stagger,omitempty"`

	Guest Guest `json:"-"` // in the event's Private
}

// ClusterActed is the data of KindClusterActed. What it does to the members stands in events of their own, in
// the same batch.
type ClusterActed struct {
	Cluster ClusterID `json:"cluster"`
	Op      ClusterOp `json:"op"`
	Size    int       `json:"size"`
	Want    Power     `json:"want"`
}

// ClusterRemoved is the data of KindClusterRemoved.
type ClusterRemoved struct {
	Cluster ClusterID `json:"cluster"`
}

func (s *State) foldCluster(e *Event, payload any) error {
	switch p := payload.(type) {
	case *ClusterPut:
		if _, ok := s.clusters.get(p.Cluster); ok {
			return &Error{Kind: ErrExists, Field: "cluster", Value: string(p.Cluster)}
		}
		if _, ok := s.projects.get(p.Cluster.Project()); !ok {
			return notFound("project", p.Cluster.Project())
		}
		c := &Cluster{
			ID: p.Cluster, Token: p.Token, Owner: p.Owner, Spec: p.Spec, Image: p.Image, Asked: p.Size, Stagger: p.Stagger,
			Want: Running, Launched: e.Revision, Changed: e.Revision,
		}
		c.Spec.Guest = p.Guest
		s.clusters.set(c.ID, c)
	case *ClusterActed:
		old, ok := s.clusters.get(p.Cluster)
		if !ok {
			return notFound("cluster", string(p.Cluster))
		}
		c := *old
		c.Members = slices.Clip(c.Members) // others may append to the same list
		c.Op, c.Size, c.Want, c.Changed = p.Op, p.Size, p.Want, e.Revision
		c.Op.Reason = storable(c.Op.Reason)
		s.clusters.set(c.ID, &c)
	case *ClusterRemoved:
		c, ok := s.clusters.get(p.Cluster)
		if !ok {
			return notFound("cluster", string(p.Cluster))
		}
		if len(c.Members) > 0 {
			return &Error{Kind: ErrInUse, Field: "cluster", Value: string(p.Cluster), Want: "no members"}
		}
		s.clusters.del(p.Cluster)
	}
	return nil
}

// join and leaveCluster keep the list of a cluster's members.
func (s *State) join(id ClusterID, index int, at Revision) {
	old, ok := s.clusters.get(id)
	if !ok {
		return
	}
	c := old
	if !s.mayEdit() || !s.clusters.owns(id) {
		n := *old
		n.Members = slices.Clip(n.Members) // others may append to the same list
		c = &n
		s.clusters.set(id, c)
	}
	c.Members = append(c.Members, index)
	c.Next, c.Changed = index+1, at
}

func (s *State) leaveCluster(id ClusterID, index int, at Revision) {
	old, ok := s.clusters.get(id)
	if !ok {
		return
	}
	c := *old
	c.Members = slices.DeleteFunc(slices.Clone(c.Members), func(n int) bool { return n == index })
	c.Changed = at
	s.clusters.set(id, &c)
}
