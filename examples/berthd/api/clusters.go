package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// ClusterPath names a cluster in a path.
type ClusterPath struct {
	Project string `path:"project" maxLength:"63" doc:"Project of the cluster" example:"default"`
	Name    string `path:"name" maxLength:"63" doc:"Name of the cluster" example:"web"`
}

func (p ClusterPath) id() pool.ClusterID { return pool.NewClusterID(p.Project, p.Name) }

// ClusterBody asks for a cluster.
type ClusterBody struct {
	Project    string `json:"project" doc:"Project that it counts for" minLength:"1" maxLength:"63" example:"default"`
	Name       string `json:"name" doc:"1 to 52 lower-case letters, digits and hyphens; its members are called name-0, name-1 and so on" minLength:"1" maxLength:"52" example:"web"`
	Spec       Spec   `json:"spec" doc:"What is asked of every member"`
	Size       int    `json:"size" minimum:"1" maximum:"1000" doc:"Number of members" example:"3"`
	BestEffort bool   `json:"best_effort,omitempty" doc:"As many members as there is room for, at least one; otherwise all or none"`
	Wait       bool   `json:"wait,omitempty" doc:"Members for which there is no room or no quota now wait for it in the queue, each by itself"`
	Spare      int    `json:"spare,omitempty" minimum:"0" maximum:"1000" doc:"Failure domains that may fail at once: whichever they are, what of the cluster is on them has room on the others, when it is created"`
	Domain     string `json:"domain,omitempty" maxLength:"63" doc:"With spare, the failure domain: key of a host label, or zone; empty: the host" example:"rack"`
	Stagger    int    `json:"stagger,omitempty" minimum:"0" maximum:"1000" doc:"Members acted on at a time, by every command that this cluster is given; 0: as many as the hosts take"`
}

// ScaleBody asks for another number of members.
type ScaleBody struct {
	Size       int  `json:"size" minimum:"0" maximum:"1000" doc:"Number of members" example:"5"`
	BestEffort bool `json:"best_effort,omitempty" doc:"As many more as there is room for, at least one; otherwise all or none"`
	Wait       bool `json:"wait,omitempty" doc:"Members for which there is no room or no quota now wait for it in the queue, each by itself"`
}

// SuspendBody says how a cluster is to be suspended.
type SuspendBody struct {
	Release bool `json:"release,omitempty" doc:"Give the places back: all members are shelved"`
}

// Cluster is a cluster with how far its last command has come.
type Cluster struct {
	ID       string    `json:"id" doc:"Project and name" example:"default/web"`
	Project  string    `json:"project" example:"default"`
	Name     string    `json:"name" example:"web"`
	Owner    string    `json:"owner,omitempty" doc:"Id of the principal whose it is; absent: nobody's"`
	Want     string    `json:"want" enum:"running,stopped,suspended,shelved,absent" doc:"What its members are to do, as was said last"`
	Settled  bool      `json:"settled" doc:"Whether nothing is under way any more"`
	Size     int       `json:"size" doc:"Members asked for last"`
	Stagger  int       `json:"stagger,omitempty" doc:"Members acted on at a time; absent: as many as the hosts take"`
	Members  int       `json:"members" doc:"Members that there are"`
	Done     int       `json:"done" doc:"Of them, those that are as they are wanted"`
	Pending  int       `json:"pending" doc:"Of them, those on their way"`
	Failed   int       `json:"failed" doc:"Given up or broken, and those that were not placed"`
	Skipped  int       `json:"skipped" doc:"Left as they were by the last command"`
	Last     ClusterOp `json:"last" doc:"The last command"`
	Image    string    `json:"image" example:"debian-12"`
	Flavor   string    `json:"flavor,omitempty" example:"small"`
	Revision int64     `json:"revision" doc:"Of the last change of this record; that of its members is theirs"`
}

// ClusterOp is a command that was given to a cluster.
type ClusterOp struct {
	Verb    string `json:"verb" enum:"create,scale,start,stop,suspend,resume,delete" doc:"What was asked"`
	Concern int    `json:"concern" doc:"Members that it was for"`
	Refused int    `json:"refused,omitempty" doc:"Members asked for that were not placed"`
	Reason  string `json:"reason,omitempty" doc:"Of the first of those, or of those that wait"`
}

// Member is a member of a cluster.
type Member struct {
	Instance string `json:"instance" doc:"Id of the instance"`
	Name     string `json:"name" example:"web-0"`
	Index    int    `json:"index" doc:"Its number, never used again"`
	Status   string `json:"status" doc:"Of the instance"`
	Outcome  string `json:"outcome" enum:"done,pending,failed,skipped" doc:"Of the last command"`
	Reason   string `json:"reason,omitempty" doc:"Why it has failed or was skipped"`
}

func cluster(c berthage.Cluster) Cluster {
	out := Cluster{
		ID: string(c.ID), Project: c.ID.Project(), Name: c.ID.Name(), Owner: c.Owner, Want: string(c.Want), Settled: c.Pending == 0,
		Size: c.Size, Stagger: c.Stagger, Members: len(c.Members), Done: c.Done, Pending: c.Pending, Failed: c.Failed, Skipped: c.Skipped,
		Last:  ClusterOp{Verb: c.Op.Verb, Concern: c.Op.Concern, Refused: c.Op.Refused, Reason: c.Op.Reason},
		Image: c.Spec.Image, Flavor: c.Spec.Flavor, Revision: int64(c.Changed),
	}
	if out.Last.Verb == "" { // it is gone
		out.Last.Verb = berthage.Destroy
	}
	return out
}

func member(m berthage.Member) Member {
	return Member{Instance: string(m.Instance), Name: m.Name, Index: m.Index, Status: m.Status, Outcome: m.Outcome, Reason: m.Reason}
}

type clusterOutput struct{ Body Cluster }

type clusterAccepted struct {
	Location string `header:"Location" doc:"Path of the cluster, which tells how far the command has come"`
	Body     Cluster
}

// taken answers a command to a cluster that was committed.
func taken(c berthage.Cluster, err error) (*clusterAccepted, error) {
	if err != nil {
		return nil, problem.OfBodyAt("cluster", err)
	}
	return &clusterAccepted{Location: prefix + "/clusters/" + c.ID.Project() + "/" + c.ID.Name(), Body: cluster(c)}, nil
}

type listClusters struct {
	Paging
	Conditional
	Project string `query:"project" maxLength:"63" doc:"Only those of this project"`
	Name    string `query:"name" maxLength:"63" doc:"Only those whose name contains this"`
}

func (a *api) registerClusters() {
	register(a, shows(auth.Clusters), nowhere, describe("list-clusters", http.MethodGet, "/clusters", "Clusters", "List clusters", "Clusters by project and name, with how far the last command of each has come.", 422),
		func(ctx context.Context, in *listClusters) (*pageOutput[Cluster], error) {
			return a.listClusters(ctx, in)
		})
	register(a, reads(auth.Clusters), ofCluster, describe("get-cluster", http.MethodGet, "/clusters/{project}/{name}", "Clusters", "Get a cluster",
		"One cluster: how many of its members the last command is done for, is pending for, has failed for and has skipped.", 404),
		func(_ context.Context, in *ClusterPath) (*clusterOutput, error) {
			c, err := a.c.Manager.Cluster(in.id())
			if err != nil {
				return nil, problem.From(err)
			}
			return &clusterOutput{cluster(c)}, nil
		})
	register(a, reads(auth.Clusters), ofCluster, describe("list-members", http.MethodGet, "/clusters/{project}/{name}/members", "Clusters", "List the members of a cluster",
		"Its members by number, each with the outcome of the last command and the reason.", 404, 422),
		func(ctx context.Context, in *struct {
			ClusterPath
			Paging
			Outcome string `query:"outcome" enum:"done,pending,failed,skipped" doc:"Only those of this outcome"`
		}) (*pageOutput[Member], error) {
			rev := view(a.c.Manager, (*pool.State).Head)
			c, err := a.c.Manager.Cluster(in.id())
			if err != nil {
				return nil, problem.From(err)
			}
			found := slices.DeleteFunc(c.Members, func(m berthage.Member) bool { return in.Outcome != "" && m.Outcome != in.Outcome })
			out, err := paginate(in.Paging, requestOf(ctx).URL, rev, found, func(m berthage.Member) string { return fmt.Sprintf("%019d", m.Index) }, member)
			return out, problemOf(err)
		})
	op := describe("create-cluster", http.MethodPost, "/clusters", "Clusters", "Create a cluster",
		"Places and records all members at once, all or none, or with best_effort as many as there is room for, and then builds them. Follow the cluster in Location. "+
			"A refusal says for the first member without a place what stands in the way (409, 403). The name can be taken only once (409).", 403, 409)
	op.DefaultStatus = http.StatusAccepted
	register(a, may(auth.Clusters, auth.Create), func(_ *api, in *struct {
		Key  string `header:"Idempotency-Key" maxLength:"128" doc:"The same key with the same body gives the same cluster, however often it is sent"`
		Body ClusterBody
	}) place {
		return inProject(in.Body.Project)
	}, withExample(op, ClusterBody{Project: "default", Name: "web", Size: 3, Spec: Spec{Image: "debian-12", Flavor: "small"}}),
		func(ctx context.Context, in *struct {
			Key  string `header:"Idempotency-Key" maxLength:"128" doc:"The same key with the same body gives the same cluster, however often it is sent"`
			Body ClusterBody
		}) (*clusterAccepted, error) {
			return taken(a.as(ctx).CreateCluster(ctx, in.Body.create(tokenOf(ctx, in.Key))))
		})
	op = describe("scale-cluster", http.MethodPost, "/clusters/{project}/{name}/scale", "Clusters", "Scale a cluster",
		"Adds members, all or none unless best_effort, or deletes those that have failed and then the newest. To grow it must be wanted running or stopped (409). The same again does nothing.", 403, 404, 409)
	op.DefaultStatus = http.StatusAccepted
	register(a, may(auth.Clusters, auth.Use), ofCluster, withExample(op, ScaleBody{Size: 5}), func(ctx context.Context, in *struct {
		ClusterPath
		Body ScaleBody
	}) (*clusterAccepted, error) {
		return taken(a.as(ctx).ScaleCluster(ctx, berthage.ScaleCluster{Cluster: in.id(), Size: in.Body.Size, BestEffort: in.Body.BestEffort, Wait: in.Body.Wait}))
	})
	a.registerSteering()
}

// registerSteering registers what is done to all members of a cluster with one command.
func (a *api) registerSteering() {
	for _, v := range []struct{ verb, summary, description string }{
		{berthage.Start, "Start a cluster", "All members run."},
		{berthage.Stop, "Stop a cluster", "None runs. Which members did is remembered for resume; they keep their places."},
		{berthage.Resume, "Resume a cluster", "Those that ran before the last stop or suspend run again. Those that were shelved are placed anew; the others are skipped."},
	} {
		op := describe(v.verb+"-cluster", http.MethodPost, "/clusters/{project}/{name}/"+v.verb, "Clusters", v.summary, v.description+" Members that it cannot be done to are skipped, with the reason. The same again does nothing.", 404, 409)
		op.DefaultStatus = http.StatusAccepted
		register(a, may(auth.Clusters, auth.Use), ofCluster, op, func(ctx context.Context, in *ClusterPath) (*clusterAccepted, error) {
			return taken(a.as(ctx).SteerCluster(ctx, berthage.SteerCluster{Cluster: in.id(), Verb: v.verb}))
		})
	}
	op := describe("suspend-cluster", http.MethodPost, "/clusters/{project}/{name}/suspend", "Clusters", "Suspend a cluster",
		"Those members that run are suspended and keep their places; with release all are shelved and give them back. Which members ran is remembered for resume. Members that it cannot be done to are skipped, with the reason. The same again does nothing.", 404, 409)
	op.DefaultStatus = http.StatusAccepted
	register(a, may(auth.Clusters, auth.Use), ofCluster, withExample(op, SuspendBody{Release: true}), func(ctx context.Context, in *struct {
		ClusterPath
		Body SuspendBody
	}) (*clusterAccepted, error) {
		return taken(a.as(ctx).SteerCluster(ctx, berthage.SteerCluster{Cluster: in.id(), Verb: berthage.Suspend, Release: in.Body.Release}))
	})
	op = describe("delete-cluster", http.MethodDelete, "/clusters/{project}/{name}", "Clusters", "Delete a cluster",
		"All members go with everything that their machines have, and with the last one the cluster.", 404)
	op.DefaultStatus = http.StatusAccepted
	register(a, may(auth.Clusters, auth.Delete), ofCluster, op, func(ctx context.Context, in *ClusterPath) (*clusterAccepted, error) {
		return taken(a.as(ctx).SteerCluster(ctx, berthage.SteerCluster{Cluster: in.id(), Verb: berthage.Destroy}))
	})
}

func (a *api) listClusters(ctx context.Context, in *listClusters) (*pageOutput[Cluster], error) {
	var tag string
	var rev pool.Revision
	var found []*pool.Cluster
	var same error
	err := a.visible(ctx, auth.Clusters, func(st *pool.State, shows func(string, string) bool) {
		tag, rev = etag(st.Identity(), st.Head()), st.Head()
		if same = in.check(tag); same != nil {
			return
		}
		for c := range st.Clusters() {
			if (in.Project == "" || c.ID.Project() == in.Project) && strings.Contains(c.ID.Name(), in.Name) && shows(c.ID.Project(), c.Owner) {
				found = append(found, c)
			}
		}
	})
	if err := cmp.Or(err, same); err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(x, y *pool.Cluster) int { return strings.Compare(string(x.ID), string(y.ID)) })
	// The members are counted for the clusters of the page only.
	out, err := paginate(in.Paging, requestOf(ctx).URL, rev, found, func(c *pool.Cluster) string { return string(c.ID) }, func(c *pool.Cluster) Cluster {
		v, err := a.c.Manager.Cluster(c.ID)
		if err != nil { // deleted since
			v = berthage.Cluster{Cluster: *c}
			v.Want = pool.Absent
		}
		return cluster(v)
	})
	if err != nil {
		return nil, problem.From(err)
	}
	out.ETag = tag
	return out, nil
}
