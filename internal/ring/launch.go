package ring

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/scheduler"
)

// Launch wants a new instance, once per project and token.
type Launch struct {
	Token   string     `json:"token"`
	Project string     `json:"project"`
	Name    string     `json:"name"`
	Spec    pool.Spec  `json:"spec"`
	Want    pool.Power `json:"want,omitempty"` // Running, which is also the default, or Stopped
	Wait    bool       `json:"wait,omitempty"` // for room or quota, where there is none now

	until time.Time // not zero: reserved until then, see Reserve
}

// defaultRoot is the size of the root disk of a spec that asks for no disks.
const defaultRoot = 10 * pool.GiB

func (c *Launch) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	if err := validToken(c.Token); err != nil {
		return nil, err
	}
	// Before anything else: a request that has been carried out is not refused for what has changed since.
	id := st.InstanceFor(c.Project, c.Token)
	if t, ended := st.Ended(id); ended {
		if c.until.IsZero() && lapsed(id, t) != nil { // it was never launched
			return nil, errToken(c.Token)
		}
		return nil, nil
	}
	if old, ok := st.Instance(id); ok {
		if !c.made(old) || r.others(old.Owner) || old.Phase == pool.Reserved && c.until.IsZero() {
			return nil, errToken(c.Token)
		}
		return nil, nil
	}
	req, demand, err := c.resolve(r, st)
	if err != nil {
		return nil, err
	}
	if field := req.Spec.Constraints.Own(); field != "" {
		return nil, invalid("spec.constraints."+field, "", "instances, labels or a cluster, since it is no member of one itself")
	}
	want := c.Want
	if want == "" {
		want = pool.Running
	}
	if r.owner != "" {
		if err := pool.ValidOwner(r.owner); err != nil {
			return nil, err
		}
	}
	launched := r.launched()
	launched.Instance, launched.Name, launched.Project, launched.Want, launched.Until = id, c.Name, c.Project, want, c.until
	launched.Owner = r.owner
	launched.Spec, launched.Image, launched.Guest = req.Spec, req.Image, req.Spec.Guest
	launched.Spec.Guest = pool.Guest{}
	launched.Place, err = r.first(st, req, demand)
	if err != nil && c.Wait {
		launched.Waits, launched.Reason = true, reason(err)
		err = mayWait(st, c.Project, r.owner, err)
	}
	if err != nil {
		return nil, err
	}
	return r.one(pool.KindLaunched, launched)
}

// first finds the first place of an instance, as far as quotas allow one.
func (r *rules) first(st *pool.State, req scheduler.Request, demand pool.Resources) (pool.Placement, error) {
	if err := quota.Allow(st, req.Project, r.owner, demand); err != nil {
		return pool.Placement{}, err
	}
	d, err := r.place(r.scheduler, st, req)
	if err != nil {
		return pool.Placement{}, err
	}
	// Booked as a shape it may be larger, and what it costs depends on where it is.
	if d.Allocation.Shape != "" || st.Cost(d.Host, d.Allocation, req.Spec.Flavor) > 0 {
		if err := quota.Allow(st, req.Project, r.owner, demandOf(st, d.Host, d.Allocation, req.Spec.Flavor)); err != nil {
			return pool.Placement{}, err
		}
	}
	return pool.Placement{Host: d.Host, Allocation: d.Allocation}, nil
}

// resolve checks the request against the books and the policy and returns what the scheduler is asked: the
// flavor's sizes, the root disk and the login filled in. The other result is what the project's quota is asked.
func (c *Launch) resolve(r *rules, st *pool.State) (scheduler.Request, pool.Resources, error) {
	fail := func(err error) (scheduler.Request, pool.Resources, error) { return scheduler.Request{}, nil, err }
	if err := validToken(c.Token); err != nil {
		return fail(err)
	}
	if err := pool.ValidHostname(c.Name); err != nil {
		return fail(err)
	}
	if c.Want != "" && c.Want != pool.Running && c.Want != pool.Stopped {
		return fail(invalid("want", string(c.Want), "running or stopped"))
	}
	if _, ok := st.Project(c.Project); !ok {
		return fail(notFound("project", c.Project))
	}
	k, err := r.kind(st, &c.Spec)
	if err != nil {
		return fail(err)
	}
	req := scheduler.Request{Spec: k.spec, Image: *k.image, Project: c.Project, Now: r.now}
	req.Spec.Labels, req.Spec.Guest = maps.Clone(c.Spec.Labels), c.Spec.Guest
	req.Spec.Guest.SSHKeys = slices.Clone(c.Spec.Guest.SSHKeys)
	if req.Spec.Guest.User == "" {
		req.Spec.Guest.User = k.image.User
	}
	return req, k.demand, nil
}

// errToken refuses a request whose token stands for another one.
func errToken(token string) error {
	return &pool.Error{Kind: pool.ErrExists, Field: "token", Value: token, Want: "a token of its own for each different request"}
}

// others reports whether what a token stands for is somebody else's: an earlier version, or a caller without a name, has
// not said whose it is.
func (r *rules) others(owner string) bool { return owner != "" && owner != r.owner }

// made reports whether an instance of the same token is what this request asks for.
func (c *Launch) made(i *pool.Instance) bool {
	asked := c.Spec
	if i.Resized { // nobody knows any more with what sizes it was launched
		asked.Flavor, asked.Resources, asked.Disks = i.Spec.Flavor, i.Spec.Resources, i.Spec.Disks
	}
	return c.Name == i.Name && sameSpec(asked, i.Spec)
}

// sameSpec reports whether got is what has become of the spec that is asked for. What the catalogue had filled in
// counts as it was then; what is personal is left out, as it may have been forgotten.
func sameSpec(asked, got pool.Spec) bool {
	if asked.Kind == "" {
		asked.Kind = pool.VM
	}
	if asked.Flavor != "" && len(asked.Resources) == 0 {
		asked.Resources = got.Resources
	}
	if len(asked.Disks) == 0 {
		asked.Disks = got.Disks
	}
	asked.Guest, got.Guest = pool.Guest{}, pool.Guest{}
	a, err := json.Marshal(asked) // in which an empty list and none are the same, as they are in the ledger
	b, bad := json.Marshal(got)
	return err == nil && bad == nil && bytes.Equal(a, b)
}

// offered is the scheduler's filter for what a host's driver can do.
func (r *rules) offered(req scheduler.Request, h *pool.HostRecord) *scheduler.Reason {
	g := req.Spec.Guest
	needs := len(g.SSHKeys) > 0 || g.UserData != ""
	for _, d := range req.Spec.Disks {
		needs = needs || d.Mount != ""
	}
	if needs && !r.capabilities(h.ID).FirstBoot {
		return &scheduler.Reason{Never: true, Detail: "its driver cannot set up keys, user-data or mounts in the guest"}
	}
	return nil
}

// Explain says where a launch would be placed, or why not, without launching anything.
func (r *Ring) Explain(c Launch) (scheduler.Explanation, error) {
	var out scheduler.Explanation
	var err error
	r.View(func(st *pool.State) {
		var req scheduler.Request
		rules := r.rules.at(r.now())
		if req, _, err = c.resolve(rules, st); err == nil {
			out, err = rules.kept(rules.scheduler, st, req.Spec.Priority, "").Explain(st, rules.expected(st, req))
		}
	})
	return out, err
}

// HowMany says how many more of a launch fit, quotas aside.
func (r *Ring) HowMany(c Launch) (scheduler.Room, error) {
	var out scheduler.Room
	var err error
	r.View(func(st *pool.State) {
		var req scheduler.Request
		if req, _, err = c.resolve(r.rules.at(r.now()), st); err == nil {
			out, err = r.rules.scheduler.HowMany(st, req)
		}
	})
	return out, err
}
