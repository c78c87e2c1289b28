package berthage

import (
	"context"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// SourceImages returns what can be the source of an image on a host, as its driver lists it now: what pool.Image.Sources may name for
// that driver.
func (m *Manager) SourceImages(ctx context.Context, host pool.HostID) ([]hypervisor.SourceImage, error) {
	i, err := m.imager(host)
	if err != nil {
		return nil, err
	}
	return i.Images(ctx, host)
}

// ImportImage brings an image to a host, and to those that its driver's documentation names, and returns its source there. It puts nothing
// into the catalogue: PutImage does.
func (m *Manager) ImportImage(ctx context.Context, host pool.HostID, f hypervisor.ImageFile) (source string, err error) {
	i, err := m.imager(host)
	if err != nil {
		return "", err
	}
	return i.Import(ctx, host, f)
}

// RemoveSourceImage removes an image that a host has; nil when there is none. Whether the catalogue names it is not asked.
func (m *Manager) RemoveSourceImage(ctx context.Context, host pool.HostID, source string) error {
	i, err := m.imager(host)
	if err != nil {
		return err
	}
	return i.RemoveImage(ctx, host, source)
}

func (m *Manager) imager(host pool.HostID) (hypervisor.Imager, error) {
	d, err := m.ring.Driver(host)
	if err != nil {
		return nil, err
	}
	i, ok := hypervisor.As[hypervisor.Imager](d)
	if !ok || !hypervisor.Has(d, host, hypervisor.CanImage) {
		return nil, unsupported(hypervisor.CanImage)
	}
	return i, nil
}
