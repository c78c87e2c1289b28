package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/operation"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/scheduler"
)

// InstancePath names an instance in a path.
type InstancePath struct {
	ID string `path:"id" maxLength:"63" doc:"Id of the instance" example:"i0f8k2m4q6s8v0x2z4b6d8g0j"`
}

func (p InstancePath) id() pool.InstanceID { return pool.InstanceID(p.ID) }

type listInstances struct {
	Paging
	Changes
	Conditional
	Project string `query:"project" maxLength:"63" doc:"Only those of this project"`
	Status  string `query:"status" enum:"waiting,reserved,building,undoing,failed,deleting,running,stopped,suspended,hibernated,missing,moving,resizing,shelved,broken" doc:"Only those in this status"`
	Host    string `query:"host" maxLength:"255" doc:"Only those placed on this host, by id"`
	Image   string `query:"image" maxLength:"63" doc:"Only those of this image"`
	Cluster string `query:"cluster" maxLength:"127" doc:"Only members of this cluster: project/name"`
	Name    string `query:"name" maxLength:"63" doc:"Only those whose name or id contains this"`
	Label   string `query:"label" maxLength:"320" doc:"Only those with this label: key=value, or key"`
}

func (l *listInstances) wants(i *pool.Instance) bool {
	switch {
	case int64(i.Changed) <= l.Since && l.Since > 0,
		l.Project != "" && i.Project != l.Project,
		l.Status != "" && i.Status() != l.Status,
		l.Host != "" && (!i.Placed() || string(i.Place.Host) != l.Host),
		l.Image != "" && i.Spec.Image != l.Image,
		l.Cluster != "" && string(i.Cluster) != l.Cluster,
		l.Name != "" && !strings.Contains(i.Name, l.Name) && !strings.Contains(string(i.ID), l.Name):
		return false
	}
	if l.Label == "" {
		return true
	}
	k, v, valued := strings.Cut(l.Label, "=")
	have, ok := i.Spec.Labels[k]
	return ok && (!valued || have == v)
}

type instanceOutput struct{ Body Instance }

type launchInput struct {
	Key  string `header:"Idempotency-Key" maxLength:"128" doc:"The same key with the same body gives the same instance, however often it is sent; with another body it is refused"`
	Body LaunchBody
}

func launchExample() LaunchBody {
	return LaunchBody{Project: "default", Name: "web-1", Want: "running", Spec: Spec{
		Image: "debian-12", Flavor: "small",
		Disks: []Disk{{Size: 20 * pool.GiB, Storage: "ssd"}, {Size: 50 * pool.GiB, Storage: "ssd", Mount: "/data"}},
		Guest: &Guest{User: "debian", SSHKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f operator"}},
	}}
}

func (a *api) registerInstances() {
	register(a, shows(auth.Instances), nowhere, describe("list-instances", http.MethodGet, "/instances", "Instances", "List instances", "Instances in the order of their launch.", 422),
		func(ctx context.Context, in *listInstances) (*pageOutput[Instance], error) {
			return a.listInstances(ctx, in)
		})
	register(a, reads(auth.Instances), ofInstance, describe("get-instance", http.MethodGet, "/instances/{id}", "Instances", "Get an instance",
		"One instance. One that has been deleted shows status deleted and little else.", 404),
		func(_ context.Context, in *InstancePath) (*instanceOutput, error) {
			i, err := a.c.Manager.Instance(in.id())
			if err != nil {
				return nil, problem.From(err)
			}
			return &instanceOutput{instance(&i)}, nil
		})
	op := describe("launch-instance", http.MethodPost, "/instances", "Instances", "Launch an instance",
		"Checks quota and capacity, places the instance and records it, all at once, and then builds it. Follow the operation in Location, or the events. "+
			"A refusal (409) says for every host why it cannot take the instance and what would have to change. With wait it is accepted all the same, unless it can never be placed, and waits in the queue.", 403, 409)
	op.DefaultStatus = http.StatusAccepted
	register(a, may(auth.Instances, auth.Create), func(_ *api, in *launchInput) place { return inProject(in.Body.Project) }, withExample(op, launchExample()), a.launch)
	a.registerQueue()
	op = describe("explain-placement", http.MethodPost, "/explain", "Instances", "Explain a placement",
		"Says where a launch would be placed, or why not, host by host, without launching anything.")
	register(a, may(auth.Instances, auth.Create), func(_ *api, in *struct{ Body LaunchBody }) place { return inProject(in.Body.Project) }, withExample(op, launchExample()), a.explain)
	op = describe("how-many", http.MethodPost, "/how-many", "Instances", "How many more fit",
		"Says how many more instances like this can be placed one after another, and what runs out, host by host. Quotas are not part of it. "+
			"Without a flavor and without resources it says so of each flavor, each alone.")
	register(a, may(auth.Instances, auth.Create), func(_ *api, in *struct{ Body LaunchBody }) place { return inProject(in.Body.Project) }, withExample(op, launchExample()), a.howMany)
}

func (a *api) listInstances(ctx context.Context, in *listInstances) (*pageOutput[Instance], error) {
	var tag string
	var rev pool.Revision
	var found []*pool.Instance
	var same error
	err := a.visible(ctx, auth.Instances, func(st *pool.State, shows func(string, string) bool) {
		tag, rev = etag(st.Identity(), st.Head()), st.Head()
		if same = in.check(tag); same != nil {
			return
		}
		seq := st.Instances()
		if in.Host != "" {
			seq = st.InstancesOn(pool.HostID(in.Host))
		}
		for i := range seq {
			if in.wants(i) && shows(i.Project, i.Owner) {
				found = append(found, i)
			}
		}
	})
	if err := cmp.Or(err, same); err != nil {
		return nil, err
	}
	order := func(i *pool.Instance) string { return fmt.Sprintf("%019d/%s", i.Launched, i.ID) }
	slices.SortFunc(found, func(x, y *pool.Instance) int {
		if x.Launched != y.Launched {
			return int(x.Launched - y.Launched)
		}
		return strings.Compare(string(x.ID), string(y.ID))
	})
	out, err := paginate(in.Paging, requestOf(ctx).URL, rev, found, order, instance)
	if err != nil {
		return nil, problem.From(err)
	}
	out.ETag = tag
	return out, nil
}

// key returns the token that an Idempotency-Key stands for. The quotes of a structured field are not part of
// it.
func token(key string) string {
	if len(key) > 1 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	if key == "" {
		return rand.Text()
	}
	return key
}

// tokenOf is the caller's token of a key: somebody else's key of the same name is another one.
func tokenOf(ctx context.Context, key string) string {
	who, _ := access.From(ctx)
	t := token(key)
	if key == "" || who.Actor == access.Root {
		return t
	}
	sum := sha256.Sum256([]byte(who.Actor + "\x00" + t))
	return hex.EncodeToString(sum[:])
}

func (a *api) launch(ctx context.Context, in *launchInput) (*acceptedOutput, error) {
	i, err := a.as(ctx).Launch(ctx, in.Body.launch(tokenOf(ctx, in.Key)))
	if err != nil {
		return nil, problem.OfBody(err)
	}
	return a.accepted(ctx, i, operation.Launch, func() (operation.Operation, bool) { return a.c.Operations.Get(operation.LaunchID(i.ID)) })
}

// Explained is where a launch would be placed, or why not.
type Explained struct {
	Fits      bool             `json:"fits" doc:"Whether a launch would succeed now"`
	Host      string           `json:"host,omitempty" doc:"Where it would be placed"`
	Quota     []problem.Line   `json:"quota" nullable:"false" doc:"Classes of which the project would take too much"`
	Placement *problem.Refusal `json:"placement" doc:"Every host: whether it qualifies, and why not"`
}

func (a *api) explain(ctx context.Context, in *struct{ Body LaunchBody }) (*struct{ Body Explained }, error) {
	l := in.Body.launch("explain")
	e, err := a.c.Manager.Explain(l)
	if err != nil {
		return nil, problem.OfBody(err)
	}
	out := &struct{ Body Explained }{Explained{Quota: []problem.Line{}, Placement: problem.NewRefusal(e)}}
	var host pool.HostID
	if len(e.Hosts) > 0 && e.Hosts[0].Reason == nil {
		host = e.Hosts[0].Host
	}
	if err := a.overQuota(l, host, e.Demand); err != nil {
		p := problem.OfBody(err)
		if len(p.Quota) == 0 {
			return nil, p
		}
		out.Body.Quota = p.Quota
	}
	if host != "" {
		out.Body.Host = string(host)
		out.Body.Fits = len(out.Body.Quota) == 0
	}
	if !a.sees(ctx, auth.Hosts) {
		out.Body.Placement = out.Body.Placement.Bare()
	}
	return out, nil
}

// HowMany is how many more fit: of what was asked for, or of each flavor.
type HowMany struct {
	Room    *problem.Room `json:"room,omitempty" doc:"Where sizes were asked for"`
	Flavors []FlavorRoom  `json:"flavors,omitempty" doc:"Where none were: by name"`
}

// FlavorRoom is how many more of one flavor fit.
type FlavorRoom struct {
	Flavor  string        `json:"flavor" example:"small"`
	Room    *problem.Room `json:"room,omitempty"`
	Refused string        `json:"refused,omitempty" doc:"Why no instance may have this flavor"`
}

func (a *api) howMany(ctx context.Context, in *struct{ Body LaunchBody }) (*struct{ Body HowMany }, error) {
	l := in.Body.launch("how-many")
	out := &struct{ Body HowMany }{}
	room := problem.NewRoom
	if !a.sees(ctx, auth.Hosts) {
		room = func(r scheduler.Room) *problem.Room {
			return problem.NewRoom(scheduler.Room{Fit: r.Fit, Never: r.Never})
		}
	}
	if l.Spec.Flavor != "" || len(l.Spec.Resources) > 0 {
		r, err := a.c.Manager.HowMany(l)
		if err != nil {
			return nil, problem.OfBody(err)
		}
		out.Body.Room = room(r)
		return out, nil
	}
	for _, name := range a.flavorNames() {
		one := FlavorRoom{Flavor: name}
		l.Spec.Flavor = name
		if r, err := a.c.Manager.HowMany(l); err != nil {
			one.Refused = problem.OfBody(err).Detail
		} else {
			r.Hosts = nil
			one.Room = room(r)
		}
		out.Body.Flavors = append(out.Body.Flavors, one)
	}
	return out, nil
}

// flavorNames returns the names of all flavors, in order.
func (a *api) flavorNames() []string {
	names := view(a.c.Manager, func(st *pool.State) (names []string) {
		for f := range st.Flavors() {
			names = append(names, f.Name)
		}
		return names
	})
	slices.Sort(names)
	return names
}

// overQuota checks the demand, and what it costs on a host or at least, against the project's quota as it is now.
func (a *api) overQuota(l berthage.Launch, host pool.HostID, demand pool.Resources) error {
	asked := pool.Allocation{Resources: demand}
	take := quota.Demand(asked)
	p := view(a.c.Manager, func(st *pool.State) *pool.ProjectRecord {
		if cost := st.Cost(host, asked, l.Spec.Flavor); cost > 0 {
			take[pool.Cost] = cost
		}
		p, _ := st.Project(l.Project)
		return p
	})
	if p == nil {
		return &pool.Error{Kind: pool.ErrNotFound, Field: "project", Value: l.Project}
	}
	return quota.Check(p, take)
}
