package ring

import (
	"fmt"
	"strconv"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/scheduler"
)

// mayHaveSpare checks what is asked of a cluster some of whose failure domains may fail.
func (c *CreateCluster) mayHaveSpare(id pool.ClusterID, spec pool.Spec) error {
	switch {
	case c.Spare < 0 || c.Spare > pool.MaxCluster:
		return invalid("spare", strconv.Itoa(c.Spare), "0 to "+strconv.Itoa(pool.MaxCluster))
	case c.Spare == 0:
		return invalid("domain", c.Domain, "none, without spare domains")
	case c.Wait:
		return invalid("wait", "true", "false: members that wait one by one have no spare domains")
	}
	if err := pool.ValidText(c.Domain, 63); err != nil {
		return pool.InField("domain", err)
	}
	// A group is placed without regard to what its members' rules say of each other.
	member := pool.NewPeer(c.Project, id, spec.Labels)
	between := func(field string, at int, s pool.Selector) error {
		if !s.Selects(&member, c.Project, id) {
			return nil
		}
		return invalid("spec.constraints."+field+"["+strconv.Itoa(at)+"]", "", "no required rule between the members of a cluster with spare domains, which spreads them itself; or soft")
	}
	rules := map[string][]pool.Affinity{"affinity": spec.Constraints.Affinity, "anti_affinity": spec.Constraints.AntiAffinity}
	for _, field := range []string{"affinity", "anti_affinity"} {
		for n, a := range rules[field] {
			if err := between(field, n, a.Selector); err != nil && !a.Soft {
				return err
			}
		}
	}
	for n, s := range spec.Constraints.Spread {
		if err := between("spread", n, s.Selector); err != nil && !s.Soft {
			return err
		}
	}
	return nil
}

// growWithSpare places the members of a new cluster so that domains may fail: all or none, or as many as that holds for.
func (d *drafting) growWithSpare(id pool.ClusterID, c *CreateCluster) (pool.ClusterOp, error) {
	op := pool.ClusterOp{Concern: c.Size}
	made, ok := d.st.Cluster(id)
	if !ok {
		return op, notFound("cluster", string(id))
	}
	req := scheduler.Request{Spec: made.Spec, Image: made.Image, Project: id.Project(), Cluster: id, Now: d.rules.now}.In(d.st)
	g := scheduler.Gang{Reserve: c.Spare, Domain: c.Domain, Partial: c.BestEffort}
	for range c.Size {
		g.Members = append(g.Members, req)
	}
	s := d.rules.kept(d.rules.scheduler, d.st, made.Spec.Priority, "")
	places, err := d.rules.placing.placeAll(s, d.st, g)
	if err != nil {
		return op, err
	}
	var short error // why there are not more
	if len(places) < c.Size {
		g.Partial = false
		_, short = d.rules.placing.placeAll(s, d.st, g)
	}
	placed := 0
	for _, p := range places {
		if err := quota.Allow(d.st, id.Project(), made.Owner, demandOf(d.st, p.Host, p.Allocation, made.Spec.Flavor)); err != nil {
			short = err
			break
		}
		if err := d.add(pool.KindLaunched, &pool.Launched{
			Instance: made.Member(d.st.Identity(), placed), Name: id.Name() + "-" + strconv.Itoa(placed), Want: made.Want,
			Cluster: id, Index: placed, Until: d.until, Place: pool.Placement{Host: p.Host, Allocation: p.Allocation},
		}); err != nil {
			return op, err
		}
		placed++
	}
	switch {
	case placed == c.Size:
		return op, nil
	case !c.BestEffort || placed == 0:
		return op, fmt.Errorf("member %d of %d: %w", placed+1, c.Size, short)
	}
	op.Concern, op.Refused, op.Reason = placed, c.Size-placed, reason(short)
	return op, nil
}

// placeAll chooses hosts in st for a group.
func (p *placing) placeAll(s *scheduler.Scheduler, st *pool.State, g scheduler.Gang) ([]scheduler.Decision, error) {
	if !p.ready(st) {
		return s.PlaceAll(scheduler.NewIndex(st), g)
	}
	tidy := false
	defer func() {
		if !tidy { // an importer's filter has panicked while the index had what was being tried: it is made anew
			*p = placing{st: p.st}
		}
	}()
	out, err := s.PlaceAll(p.index, g)
	tidy = true
	return out, err
}
