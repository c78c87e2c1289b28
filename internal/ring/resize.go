package ring

import (
	"errors"
	"slices"
	"strconv"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Resize wants an instance to have other sizes, on the host that it is on.
type Resize struct {
	Instance  pool.InstanceID `json:"instance"`
	Flavor    string          `json:"flavor,omitempty"`    // its sizes; or
	Resources pool.Resources  `json:"resources,omitempty"` // cores and memory; what is not named stays
	Disks     []int64         `json:"disks,omitempty"`     // sizes in bytes, of the first disks; 0 stays, none shrinks

	// SetDisks, instead of all the others, are all disks that it is to have. Those that it has stay as they are; more at the
	// end are attached, empty, and its own beyond the end are removed with what is on them. It need not be stopped for that.
	SetDisks []pool.Disk `json:"set_disks,omitempty"`

	Cold bool `json:"cold,omitempty"` // it may be stopped for that, where it cannot be resized running
}

func (c *Resize) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	i, err := alive(st, c.Instance)
	if err != nil {
		return nil, err
	}
	sizes, err := c.sizes(st, i)
	if err != nil {
		return nil, err
	}
	if i.Resize != nil && sameSizes(i.Resize.Sizes, sizes) || i.Resize == nil && sameSizes(pool.Sizes{Resources: i.Spec.Resources, Disks: i.Spec.Disks}, sizes) {
		return nil, nil
	}
	if i, err = unbusy(st, c.Instance); err != nil {
		return nil, err
	}
	spec := sizes.Of(i.Spec)
	if err := spec.Valid(); err != nil {
		return nil, pool.InField("spec", err)
	}
	if err := r.limits.Check(spec); err != nil {
		return nil, pool.InField("spec", err)
	}
	can := r.capabilities(i.Place.Host).Abilities
	hot := has(can, string(hypervisor.CanResizeHot)) && inMemory(i)
	disks := len(sizes.Disks) != len(i.Spec.Disks)
	switch {
	case disks && !has(can, string(hypervisor.CanAttachDisk)):
		return nil, &pool.Error{Kind: errors.ErrUnsupported, Field: "set_disks", Want: "a host that can attach disks"}
	case disks && !inMemory(i):
		return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "set_disks", Want: "an instance that is not hibernated"}
	case disks:
		hot = true
	case !has(can, string(hypervisor.CanResize)):
		return nil, &pool.Error{Kind: errors.ErrUnsupported, Field: "resize", Want: "a host that can resize its machines"}
	case !stopped(i) && !hot && !c.Cold:
		return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "resize", Want: "a stopped instance, or leave to stop it, as its host cannot resize running ones"}
	}
	h, ok := st.Host(i.Place.Host)
	if !ok {
		return nil, notFound("host", string(i.Place.Host))
	}
	after, err := r.scheduler.Resize(h, i.Place.Allocation, spec)
	if err != nil {
		return nil, err
	}
	during := larger(i.Place.Allocation, after)
	if err := grows(st, i, h.ID, during, i.Spec.Flavor, sizes.Flavor); err != nil {
		return nil, err
	}
	if !after.Resources.Fits(i.Place.Allocation.Resources) && keptFrom(st, i.Spec.Priority, i.ID)[h.ID] {
		return nil, &pool.Error{Kind: pool.ErrNoRoom, Field: "host", Value: string(h.ID), Want: "a host other than one of which " + keptDetail}
	}
	return one(pool.KindResizing, &pool.ResizeWanted{
		Instance: i.ID, Sizes: sizes, After: after, During: during, Cold: !hot,
	})
}

// sizes resolves what is asked for against what the instance has.
func (c *Resize) sizes(st *pool.State, i *pool.Instance) (pool.Sizes, error) {
	out := pool.Sizes{Flavor: c.Flavor, Resources: i.Spec.Resources.Clone(), Disks: slices.Clone(i.Spec.Disks)}
	if len(c.SetDisks) > 0 {
		return c.disks(i, out)
	}
	named := c.Resources
	if c.Flavor != "" {
		f, ok := st.Flavor(c.Flavor)
		switch {
		case !ok:
			return out, notFound("flavor", c.Flavor)
		case len(named.Classes()) > 0:
			return out, invalid("resources", "", "either a flavor or resources, not both")
		}
		named = f.Resources
	}
	root := pool.Class("")
	if len(out.Disks) > 0 {
		root = out.Disks[0].Storage.Class()
	}
	for class, n := range named {
		switch {
		case class == pool.CPU, class == pool.Memory:
			out.Resources[class] = n
		case c.Flavor != "" && class == root: // a larger root disk; a smaller one stays as it is
			out.Disks[0].Size = max(out.Disks[0].Size, n)
		case n != out.Resources[class]:
			return out, invalid("resources", string(class), "cpu and memory; what an instance has of other classes is for life")
		}
	}
	if len(c.Disks) > len(out.Disks) {
		return out, invalid("disks", "", "no more sizes than the instance has disks")
	}
	for n, size := range c.Disks {
		if size != 0 && size < out.Disks[n].Size {
			return out, invalid("disks", pool.FormatBytes(size), pool.FormatBytes(out.Disks[n].Size)+" or more: disks only grow")
		}
		if size != 0 {
			out.Disks[n].Size = size
		}
	}
	return out, nil
}

// disks resolves SetDisks.
func (c *Resize) disks(i *pool.Instance, out pool.Sizes) (pool.Sizes, error) {
	if c.Flavor != "" || len(c.Resources) > 0 || len(c.Disks) > 0 {
		return out, invalid("set_disks", "", "either disks or sizes, not both")
	}
	out.Flavor, out.Disks = i.Spec.Flavor, slices.Clone(c.SetDisks)
	for n, d := range out.Disks {
		if n >= len(i.Spec.Disks) {
			break
		}
		is := i.Spec.Disks[n]
		if d.Size != is.Size || d.Storage.Class() != is.Storage.Class() || d.Mount != is.Mount || d.IOPS != is.IOPS {
			return out, invalid("set_disks["+strconv.Itoa(n)+"]", pool.FormatBytes(d.Size), "the disk that it has there, of "+pool.FormatBytes(is.Size))
		}
		out.Disks[n] = is
	}
	return out, nil
}

func sameSizes(a, b pool.Sizes) bool {
	return a.Resources.Equal(b.Resources) && slices.Equal(a.Disks, b.Disks)
}

// larger returns what covers both allocations, of which b has the devices of a.
func larger(a, b pool.Allocation) pool.Allocation {
	out := pool.Allocation{Resources: a.Resources.Clone(), Shape: b.Shape}
	for c, n := range b.Resources {
		out.Resources[c] = max(out.Resources[c], n)
	}
	claims := func(list []pool.Claim, c pool.Claim) int {
		return slices.IndexFunc(list, func(x pool.Claim) bool { return x.Device == c.Device && x.Class == c.Class && x.Disk == c.Disk })
	}
	out.Claims = slices.Clone(b.Claims)
	for _, c := range a.Claims {
		if n := claims(out.Claims, c); n < 0 {
			out.Claims = append(out.Claims, c)
		} else {
			out.Claims[n].Amount = max(out.Claims[n].Amount, c.Amount)
		}
	}
	return out
}
