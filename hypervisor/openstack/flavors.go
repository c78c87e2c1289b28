package openstack

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// flavor is a size that the cloud has.
type flavor struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	VCPUs     int64  `json:"vcpus"`
	RAM       int64  `json:"ram"`  // MiB
	Disk      int64  `json:"disk"` // GiB
	Ephemeral int64  `json:"OS-FLV-EXT-DATA:ephemeral"`
	Disabled  bool   `json:"OS-FLV-DISABLED:disabled"`
}

// valid reports whether the sizes can be counted with.
func (f *flavor) valid() bool {
	return f.ID != "" && f.VCPUs > 0 && f.RAM > 0 && f.Disk >= 0 && f.Ephemeral >= 0 &&
		f.VCPUs <= math.MaxInt64/pool.Core && f.RAM <= math.MaxInt64/pool.MiB && f.Disk <= math.MaxInt64/pool.GiB-f.Ephemeral
}

// flavors lists the flavors that may be used, by name; of two of a name the one with the lower id.
func (s *session) flavors() ([]flavor, error) {
	query := url.Values{"limit": {pageSize}}
	if s.d.config.Mode == Hypervisors {
		query.Set("is_public", "none") // private ones too, by which an admin means those that are left to us
	}
	all, err := list[flavor](s, nova, "flavors/detail", "flavors", query)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b flavor) int {
		if a.Name != b.Name {
			return strings.Compare(a.Name, b.Name)
		}
		return strings.Compare(a.ID, b.ID)
	})
	var out []flavor
	for _, f := range all {
		_, wanted := s.d.config.Flavors[f.Name]
		if s.d.config.Flavors != nil && !wanted || f.Disabled || !f.valid() || len(out) > 0 && out[len(out)-1].Name == f.Name {
			continue
		}
		out = append(out, f)
	}
	return out, nil
}

// resources is what a machine of the flavor takes.
func (c *Config) resources(f *flavor) pool.Resources {
	r := pool.Resources{pool.CPU: f.VCPUs * pool.Core, pool.Memory: f.RAM * pool.MiB, servers: 1}
	if f.Disk > 0 {
		r[c.Storage.Class()] += f.Disk * pool.GiB
	}
	if f.Ephemeral > 0 {
		r[c.DataStorage.Class()] += f.Ephemeral * pool.GiB
	}
	for class, n := range c.Flavors[f.Name] {
		r[class] = n
	}
	return r
}

// servers is the class in which a quota of servers is counted.
const servers pool.Class = "servers"

// shapes are the flavors as an aggregate sells them: those with a name that a shape can have.
func (c *Config) shapes(flavors []flavor) []pool.Shape {
	var out []pool.Shape
	for i := range flavors {
		if pool.ValidName(flavors[i].Name) == nil {
			out = append(out, pool.Shape{Name: flavors[i].Name, Resources: c.resources(&flavors[i])})
		}
	}
	return out
}

// size is what an order wants of a flavor.
type size struct {
	vcpus, ram, root, data int64 // cores, MiB, GiB, GiB
}

// sizeOf rounds an order's sizes up to what Nova counts in.
func sizeOf(o *hypervisor.Order) (size, error) {
	up := func(n, unit int64) int64 { return n/unit + min(n%unit, 1) }
	z := size{vcpus: max(up(o.Spec.Resources[pool.CPU], pool.Core), 1), ram: up(o.Spec.Resources[pool.Memory], pool.MiB)}
	if z.ram == 0 {
		return z, invalid("spec.resources.memory", "", "some memory")
	}
	for i, disk := range o.Spec.Disks {
		if i == 0 {
			z.root = up(disk.Size, pool.GiB)
			continue
		}
		z.data += up(disk.Size, pool.GiB)
	}
	return z, nil
}

// sized returns the flavor that an order is made of: on an aggregate that of its shape, else the one that has exactly its
// cores and memory and, of those, the smallest disks that suffice.
func (s *session) sized(o *hypervisor.Order) (flavor, error) {
	want, err := sizeOf(o)
	if err != nil {
		return flavor{}, refuse(hypervisor.ErrInvalid, err)
	}
	all, err := s.flavors()
	if err != nil {
		return flavor{}, err
	}
	if s.d.config.Mode == Region {
		return s.d.config.shaped(o, all, want)
	}
	best := -1
	for i, f := range all {
		if f.VCPUs != want.vcpus || f.RAM != want.ram || f.Disk < want.root || f.Ephemeral < want.data || s.d.config.Flavors[f.Name] != nil {
			continue
		}
		if best < 0 || f.Disk+f.Ephemeral < all[best].Disk+all[best].Ephemeral {
			best = i
		}
	}
	switch {
	case best >= 0 && (!s.d.config.CreateFlavors || all[best].Disk == want.root && all[best].Ephemeral == want.data):
		return all[best], nil
	case s.d.config.CreateFlavors:
		return s.createFlavor(want)
	}
	return flavor{}, refuse(hypervisor.ErrInvalid, invalid("spec.resources", "", fmt.Sprintf(
		"sizes that a flavor has; none has %d vCPUs, %d MiB of memory, a disk of %d GiB or more and %d GiB of ephemeral disks or more", want.vcpus, want.ram, want.root, want.data)))
}

// shaped returns the flavor of the order's shape.
func (c *Config) shaped(o *hypervisor.Order, all []flavor, want size) (flavor, error) {
	at := slices.IndexFunc(all, func(f flavor) bool { return f.Name == o.Allocation.Shape })
	if at < 0 {
		return flavor{}, refuse(hypervisor.ErrRefused, fmt.Errorf("there is no flavor %s", pool.Quote(o.Allocation.Shape)))
	}
	f := all[at]
	has := c.resources(&f)
	for class, n := range o.Spec.Resources {
		if n > has[class] {
			return flavor{}, refuse(hypervisor.ErrRefused, fmt.Errorf("flavor %s has too little %s", pool.Quote(f.Name), class))
		}
	}
	if want.root > f.Disk || want.data > f.Ephemeral {
		return flavor{}, refuse(hypervisor.ErrInvalid, invalid("spec.disks", "", fmt.Sprintf(
			"disks within those of flavor %s: %d GiB for the root disk, %d GiB for all others", pool.Quote(f.Name), f.Disk, f.Ephemeral)))
	}
	return f, nil
}

// createFlavor makes a private flavor of that size. One of that name has that size: it was made by somebody who wanted
// the same at the same time.
func (s *session) createFlavor(z size) (flavor, error) {
	id := "berthage.c" + strconv.FormatInt(z.vcpus, 10) + ".m" + strconv.FormatInt(z.ram, 10) + ".d" + strconv.FormatInt(z.root, 10)
	if z.data > 0 {
		id += ".e" + strconv.FormatInt(z.data, 10)
	}
	f := flavor{ID: id, Name: id, VCPUs: z.vcpus, RAM: z.ram, Disk: z.root, Ephemeral: z.data}
	body := map[string]any{"flavor": map[string]any{
		"id": f.ID, "name": f.Name, "vcpus": f.VCPUs, "ram": f.RAM, "disk": f.Disk, "OS-FLV-EXT-DATA:ephemeral": f.Ephemeral,
		"os-flavor-access:is_public": false,
	}}
	if err := s.apart().post(nova, "flavors", body, nil); err != nil && !answeredWith(err, 409) {
		return flavor{}, err
	}
	return f, nil
}
