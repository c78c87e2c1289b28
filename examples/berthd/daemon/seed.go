package daemon

import (
	"context"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/pool"
)

// flavors are the sizes of a new daemon.
func flavors() []pool.Flavor {
	size := func(name string, cores, memory, disk int64) pool.Flavor {
		return pool.Flavor{Name: name, Resources: pool.Resources{
			pool.CPU: cores * pool.Core, pool.Memory: memory * pool.GiB, pool.StorageStandard: disk * pool.GiB,
		}}
	}
	fast := func(name string, cores, memory, disk int64) pool.Flavor {
		return pool.Flavor{Name: name, Resources: pool.Resources{
			pool.CPU: cores * pool.Core, pool.Memory: memory * pool.GiB, pool.StorageSSD: disk * pool.GiB,
		}}
	}
	return []pool.Flavor{
		size("tiny", 1, 1, 10), size("small", 1, 2, 20), size("medium", 2, 4, 40), size("large", 4, 8, 80), size("xlarge", 8, 16, 160),
		fast("ssd-small", 1, 2, 20), fast("ssd-medium", 2, 4, 40), fast("ssd-large", 4, 8, 80),
	}
}

// seed gives a ledger without projects a project, flavors and the catalogue of images. The project comes
// last, so that a start that was cut short is made up for by the next one.
func seed(ctx context.Context, m *berthage.Manager, sim *simulated) error {
	m = m.As("berthd", "first start")
	empty, images := false, make(map[string]pool.Image)
	m.View(func(st *pool.State) {
		empty = true
		for range st.Projects() {
			empty = false
			break
		}
		for i := range st.Images() {
			images[i.Name] = i.Clone()
		}
	})
	for _, i := range pool.Catalogue() {
		if old, ok := images[i.Name]; ok {
			i = old
		} else if !empty {
			continue
		}
		if !sim.source(&i) && !empty {
			continue
		}
		if err := m.PutImage(ctx, i); err != nil {
			return err
		}
	}
	if !empty {
		return nil
	}
	for _, f := range flavors() {
		if err := m.PutFlavor(ctx, f); err != nil {
			return err
		}
	}
	return m.PutProject(ctx, pool.Project{Name: "default", Quota: pool.Resources{}})
}

// source gives an image a source for a fleet that has just been made, and reports whether it has. There are
// no files behind it: the simulated hypervisor knows sources by name only.
func (s *simulated) source(i *pool.Image) bool {
	if s == nil || !s.fresh || i.Sources[simName] != "" {
		return false
	}
	if i.Sources == nil {
		i.Sources = make(map[string]string)
	}
	i.Sources[simName] = i.Name + ".qcow2"
	return true
}
