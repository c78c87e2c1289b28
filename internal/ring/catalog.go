package ring

import (
	"errors"
	"reflect"
	"slices"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
)

// Put adds or replaces an image, a flavor or a project: exactly one field is set.
type Put struct {
	Image   *pool.Image   `json:"image,omitempty"`
	Flavor  *pool.Flavor  `json:"flavor,omitempty"`
	Project *pool.Project `json:"project,omitempty"`
}

func (c *Put) decide(_ *rules, st *pool.State) ([]pool.Event, error) {
	switch {
	case c.Image != nil && c.Flavor == nil && c.Project == nil:
		if err := c.Image.Valid(); err != nil {
			return nil, pool.InField("image", err)
		}
		if old, ok := st.Image(c.Image.Name); ok && reflect.DeepEqual(*old, c.Image.Clone()) {
			return nil, nil
		}
		return one(pool.KindImagePut, c.Image)
	case c.Flavor != nil && c.Image == nil && c.Project == nil:
		if err := c.Flavor.Valid(); err != nil {
			return nil, pool.InField("flavor", err)
		}
		if old, ok := st.Flavor(c.Flavor.Name); ok && old.Resources.Equal(c.Flavor.Resources) {
			return nil, nil
		}
		return one(pool.KindFlavorPut, c.Flavor)
	case c.Project != nil && c.Image == nil && c.Flavor == nil:
		if err := c.Project.Valid(); err != nil {
			return nil, pool.InField("project", err)
		}
		if old, ok := st.Project(c.Project.Name); ok && old.Project.Equal(*c.Project) {
			return nil, nil
		}
		if err := adopts(st, c.Project); err != nil {
			return nil, err
		}
		return one(pool.KindProjectPut, c.Project)
	}
	return nil, invalid("put", "", "exactly one of image, flavor, project")
}

// adopts reports, as an error, why a project cannot lie where it is to lie from now on: because of the form of the tree, or of the quotas of those
// that it comes to lie in, which are to hold for what it brings.
func adopts(st *pool.State, p *pool.Project) error {
	was := ""
	old, there := st.Project(p.Name)
	if there {
		was = old.Parent
	}
	if p.Parent == was {
		return nil
	}
	if err := st.CheckParent(p.Name, p.Parent); err != nil {
		return pool.InField("project", err)
	}
	if !there {
		return nil
	}
	for q := range st.Above(p.Parent) {
		if st.Lies(was, q.Name) { // it lies there already
			return nil
		}
		if err := quota.Check(q, old.Total()); err != nil {
			var over *quota.Exceeded
			if errors.As(err, &over) {
				over.Asked = p.Name
			}
			return err
		}
	}
	return nil
}

// Remove removes an image, a flavor or a project: exactly one field names it. Instances keep the image and
// sizes that they were launched with; a project must have no instances.
type Remove struct {
	Image   string `json:"image,omitempty"`
	Flavor  string `json:"flavor,omitempty"`
	Project string `json:"project,omitempty"`
}

func (c *Remove) decide(_ *rules, st *pool.State) ([]pool.Event, error) {
	switch {
	case c.Image != "" && c.Flavor == "" && c.Project == "":
		if _, ok := st.Image(c.Image); !ok {
			return nil, notFound("image", c.Image)
		}
		return one(pool.KindImageRemoved, &pool.Named{Name: c.Image})
	case c.Flavor != "" && c.Image == "" && c.Project == "":
		if _, ok := st.Flavor(c.Flavor); !ok {
			return nil, notFound("flavor", c.Flavor)
		}
		return one(pool.KindFlavorRemoved, &pool.Named{Name: c.Flavor})
	case c.Project != "" && c.Image == "" && c.Flavor == "":
		p, ok := st.Project(c.Project)
		if !ok {
			return nil, notFound("project", c.Project)
		}
		if err := p.Removable(); err != nil {
			return nil, err
		}
		return one(pool.KindProjectRemoved, &pool.Named{Name: c.Project})
	}
	return nil, invalid("remove", "", "exactly one of image, flavor, project")
}

// AddHost admits a host, also one that was removed before. Host is what its driver reports.
type AddHost struct {
	Host pool.Host `json:"host"`
}

func (c *AddHost) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	if _, ok := st.Host(c.Host.ID); ok {
		return nil, nil
	}
	h, err := c.Host.Normalize()
	if err != nil {
		return nil, err
	}
	return one(pool.KindHostPut, &pool.HostPut{Host: r.recorded(h)})
}

// recorded is a host that its driver reports as the books have it: what an operator decides left out, what the driver can do there put in.
func (r *rules) recorded(h pool.Host) pool.Host {
	h.Conditions &= pool.Ready
	if h.Abilities = nil; r.capabilities != nil {
		for _, a := range r.capabilities(h.ID).Abilities {
			h.Abilities = append(h.Abilities, string(a))
		}
		slices.Sort(h.Abilities)
	}
	return h
}

// RemoveHost takes a host without instances out of the pool for good.
type RemoveHost struct {
	Host pool.HostID `json:"host"`
}

func (c *RemoveHost) decide(_ *rules, st *pool.State) ([]pool.Event, error) {
	h, ok := st.Host(c.Host)
	if !ok {
		if _, removed := st.HostRemoved(c.Host); removed {
			return nil, nil
		}
		return nil, notFound("host", string(c.Host))
	}
	if h.Placed > 0 || len(h.Used) > 0 {
		return nil, &pool.Error{Kind: pool.ErrInUse, Field: "host", Value: string(c.Host), Want: "no instances and no held allocations on it; cordon it and delete or move them first"}
	}
	return one(pool.KindHostRemoved, &pool.HostRemoved{Host: c.Host})
}

// Cordon says whether a host is to take no new instances.
type Cordon struct {
	Host   pool.HostID `json:"host"`
	On     bool        `json:"on"`
	Reason string      `json:"reason,omitempty"`
}

func (c *Cordon) decide(_ *rules, st *pool.State) ([]pool.Event, error) {
	h, ok := st.Host(c.Host)
	if !ok {
		return nil, notFound("host", string(c.Host))
	}
	if err := pool.ValidText(c.Reason, 255); err != nil {
		return nil, pool.InField("reason", err)
	}
	conditions := h.Conditions.Without(pool.Cordoned)
	if c.On {
		conditions = h.Conditions.With(pool.Cordoned)
	}
	if conditions == h.Conditions && (c.Reason == h.Reason || !c.On) {
		return nil, nil
	}
	return one(pool.KindHostConditions, &pool.HostConditions{Host: c.Host, Conditions: conditions, Reason: c.Reason, Cold: h.Cold})
}
