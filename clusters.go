package berthage

import (
	"context"

	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
)

// CreateCluster asks for n instances of one spec under a project and a name, which is theirs with a number.
//
// The errors are those of Launch, for the first member that has no place unless BestEffort is set;
// With Spare it is a *scheduler.GangRefusal that says which member has no place, or which domains may not fail together;
// required rules between the members are then pool.ErrInvalid, since the spare domains spread them.
// pool.ErrExists when the token was used in the project for another request, of another name, spec, size or stagger,
// or when the name is taken by a cluster of another token.
type CreateCluster = ring.CreateCluster

// ScaleCluster asks for another number of members.
type ScaleCluster = ring.ScaleCluster

// SteerCluster asks to do something with all members.
type SteerCluster = ring.SteerCluster

// The verbs of SteerCluster.
const (
	Start   = ring.Start   // all members run
	Stop    = ring.Stop    // none runs; which ones did is remembered
	Suspend = ring.Suspend // those that run are suspended, and remembered; with Release all are shelved
	Resume  = ring.Resume  // those that ran before run again
	Destroy = ring.Destroy // all members go, and with the last one the cluster
)

// Cluster is a cluster with how far its last command has come.
type Cluster = ring.ClusterView

// Member is a member of a cluster, as far as its cluster's last command is concerned.
type Member = ring.Member

// CreateCluster places and records all members in one commit, all of them or none, or with BestEffort as many as
// there is room for but at least one. Repeated with the same token it returns what there is, scaled as it may be by
// then; of a cluster that is gone, with nothing but its id. Once it is gone, its token with another name makes another
// cluster.
func (m *Manager) CreateCluster(ctx context.Context, c CreateCluster) (Cluster, error) {
	c.Spec = c.Spec.Clone()
	return m.cluster(pool.NewClusterID(c.Project, c.Name), m.do(ctx, ring.Command{CreateCluster: &c}), "create cluster ")
}

// ScaleCluster adds members, or deletes the ones that have failed and then the newest, in one commit.
func (m *Manager) ScaleCluster(ctx context.Context, c ScaleCluster) (Cluster, error) {
	return m.cluster(c.Cluster, m.do(ctx, ring.Command{ScaleCluster: &c}), "scale cluster ")
}

// SteerCluster records for all members that it concerns what they are to do, in one commit. Those that it leaves
// as they are it names with the reason. It can be repeated.
func (m *Manager) SteerCluster(ctx context.Context, c SteerCluster) (Cluster, error) {
	return m.cluster(c.Cluster, m.do(ctx, ring.Command{SteerCluster: &c}), c.Verb+" cluster ")
}

func (m *Manager) cluster(id pool.ClusterID, err error, op string) (Cluster, error) {
	if err != nil {
		return Cluster{}, named(err, op+pool.Quote(string(id)))
	}
	c, ok := m.ring.Cluster(id)
	if !ok { // deleted with its last member
		return Cluster{Cluster: pool.Cluster{ID: id, Want: pool.Absent}}, nil
	}
	return c, nil
}

// Cluster returns a cluster and its members; pool.ErrNotFound when there is none.
func (m *Manager) Cluster(id pool.ClusterID) (Cluster, error) {
	c, ok := m.ring.Cluster(id)
	if !ok {
		return Cluster{}, &pool.Error{Kind: pool.ErrNotFound, Field: "cluster", Value: string(id)}
	}
	return c, nil
}
