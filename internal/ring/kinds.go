package ring

import (
	"maps"
	"slices"

	"github.com/berthage/berthage/pool"
)

// kind is what a spec comes to, resolved against the catalogue and found to be within the limits. Guest and Labels are each
// instance's own.
type kind struct {
	asked  pool.Spec // a copy
	image  *pool.Image
	flavor *pool.Flavor // nil: none
	spec   pool.Spec    // resolved
	demand pool.Resources
}

// kinds remembers the kinds of late, since most launches are of few: the maps and lists of a kind are those of all
// instances of it. Only for whoever has the turn.
type kinds map[kindKey]*kind

// kindKey is what a kind is looked up by before all of it is compared.
type kindKey struct {
	image, flavor      string
	cores, bytes, disk int64
}

const mostKinds = 256

func kindKeyOf(s *pool.Spec) kindKey {
	k := kindKey{image: s.Image, flavor: s.Flavor, cores: s.Resources[pool.CPU], bytes: s.Resources[pool.Memory]}
	if len(s.Disks) > 0 {
		k.disk = s.Disks[0].Size
	}
	return k
}

// kind returns what a spec comes to, or says what is wrong with it.
func (r *rules) kind(st *pool.State, s *pool.Spec) (*kind, error) {
	if r.kinds == nil || !plain(s) {
		return r.newKind(st, s)
	}
	key := kindKeyOf(s)
	if k := r.kinds[key]; k != nil && k.stands(st) && k.is(s) {
		err := pool.ValidLabels(s.Labels)
		if err == nil {
			err = pool.InField("guest", s.Guest.Valid())
		}
		return k, pool.InField("spec", err)
	}
	k, err := r.newKind(st, s)
	if err != nil {
		return nil, err
	}
	if len(r.kinds) >= mostKinds {
		clear(r.kinds)
	}
	r.kinds[key] = k
	return k, nil
}

// plain reports whether a spec is without what is seldom there and would be long to compare.
func plain(s *pool.Spec) bool {
	c := &s.Constraints
	return len(c.Hosts)+len(c.Zones)+len(c.Labels)+len(c.Abilities)+len(c.Tolerations)+len(c.SameNode)+len(c.Affinity)+len(c.AntiAffinity)+len(c.Spread) == 0
}

// stands reports whether the catalogue says what it said.
func (k *kind) stands(st *pool.State) bool {
	if image, _ := st.Image(k.asked.Image); image != k.image {
		return false
	}
	if k.flavor == nil {
		return true
	}
	f, _ := st.Flavor(k.asked.Flavor)
	return f == k.flavor
}

// is reports whether a plain spec is of this kind.
func (k *kind) is(s *pool.Spec) bool {
	a := &k.asked
	return a.Kind == s.Kind && a.Image == s.Image && a.Flavor == s.Flavor && a.Priority == s.Priority && a.Preemptible == s.Preemptible &&
		a.Replaceable == s.Replaceable && a.Lifetime == s.Lifetime && slices.Equal(a.Disks, s.Disks) && slices.Equal(a.Networks, s.Networks) && maps.Equal(a.Resources, s.Resources)
}

// newKind works out what a spec comes to: the flavor's sizes and the root disk filled in.
func (r *rules) newKind(st *pool.State, asked *pool.Spec) (*kind, error) {
	if err := asked.Valid(); err != nil {
		return nil, pool.InField("spec", err)
	}
	k := &kind{asked: *asked}
	k.asked.Guest, k.asked.Labels = pool.Guest{}, nil
	k.asked = k.asked.Clone()
	spec := k.asked.Clone()
	if spec.Flavor != "" {
		f, ok := st.Flavor(spec.Flavor)
		if !ok {
			return nil, notFound("flavor", spec.Flavor)
		}
		var err error
		if spec, err = f.Resolve(spec); err != nil {
			return nil, pool.InField("spec", err)
		}
		k.flavor = f
	}
	image, ok := st.Image(spec.Image)
	if !ok {
		return nil, notFound("image", spec.Image)
	}
	k.image = image
	if len(spec.Disks) == 0 {
		spec.Disks = []pool.Disk{{Size: max(defaultRoot, image.MinDisk)}}
	}
	if root := spec.Disks[0].Size; root < image.MinDisk {
		return nil, invalid("spec.disks[0].size", pool.FormatBytes(root), pool.FormatBytes(image.MinDisk)+" or more for this image")
	}
	if spec.Kind == "" {
		spec.Kind = pool.VM
	}
	if spec.Flavor != "" {
		if err := spec.Valid(); err != nil { // again: it may have brought an overflow
			return nil, pool.InField("spec", err)
		}
	}
	if err := r.limits.Check(spec); err != nil {
		return nil, pool.InField("spec", err)
	}
	k.spec = spec
	demand, err := spec.Demand()
	if err != nil {
		return nil, err
	}
	demand[pool.Instances] = 1
	k.demand = demand
	return k, nil
}
