package fake

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// image is an image that has been imported. All hosts have it.
type image struct {
	Name   string            `json:"name"`
	Size   int64             `json:"size"`
	SHA256 [sha256.Size]byte `json:"sha256"`
}

// Images implements hypervisor.Imager: Config.Images and what has been imported.
func (d *Driver) Images(ctx context.Context, id pool.HostID) ([]hypervisor.SourceImage, error) {
	if err := d.offeredOn(id, hypervisor.CanImage, OpImages, hostRef(id)); err != nil {
		return nil, err
	}
	var out []hypervisor.SourceImage
	err := d.do(ctx, &request{op: OpImages, ref: hostRef(id), effect: func(*host) error {
		out = nil
		for _, source := range d.config.Images {
			out = append(out, hypervisor.SourceImage{Source: source, Name: source})
		}
		for _, i := range d.imported {
			out = append(out, hypervisor.SourceImage{Source: i.Name, Name: i.Name, Size: i.Size})
		}
		slices.SortFunc(out, func(a, b hypervisor.SourceImage) int { return strings.Compare(a.Source, b.Source) })
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Import implements hypervisor.Imager. Of the content the checksum is kept, and its source is its name.
func (d *Driver) Import(ctx context.Context, id pool.HostID, f hypervisor.ImageFile) (string, error) {
	ref := hostRef(id)
	if err := d.offeredOn(id, hypervisor.CanImage, OpImport, ref); err != nil {
		return "", err
	}
	invalid := func(field, want string) error {
		return wrongf(OpImport, ref, hypervisor.ErrInvalid, &pool.Error{Kind: pool.ErrInvalid, Field: field, Want: want})
	}
	switch {
	case pool.ValidHostname(f.Name) != nil:
		return "", invalid("name", "a DNS label")
	case f.Format != "qcow2" && f.Format != "raw":
		return "", invalid("format", "qcow2 or raw")
	case f.Content == nil || f.Size <= 0:
		return "", invalid("content", "a content, and its size in bytes")
	}
	if err := ctx.Err(); err != nil {
		return "", wrongf(OpImport, ref, err, nil)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(f.Content, f.Size))
	if err == nil && n == f.Size {
		var more int
		if more, err = io.ReadFull(f.Content, make([]byte, 1)); more > 0 {
			n++
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	switch {
	case err != nil:
		return "", wrongf(OpImport, ref, hypervisor.ErrRefused, fmt.Errorf("read the content: %w", err))
	case n != f.Size:
		return "", invalid("size", "the size of the content")
	case [sha256.Size]byte(sum.Sum(nil)) != f.SHA256:
		return "", invalid("sha256", "the checksum of the content")
	}
	err = d.do(ctx, &request{op: OpImport, ref: ref, effect: func(*host) error {
		if slices.Contains(d.config.Images, f.Name) {
			return wrong(OpImport, ref, hypervisor.ErrExists, "")
		}
		for _, is := range d.imported {
			switch {
			case is.Name == f.Name && is.SHA256 == f.SHA256:
				return nil
			case is.Name == f.Name:
				return wrong(OpImport, ref, hypervisor.ErrExists, "with another content")
			}
		}
		i := &image{f.Name, f.Size, f.SHA256}
		if err := d.save(entry{Image: i}); err != nil {
			return wrong(OpImport, ref, hypervisor.ErrRefused, err.Error())
		}
		d.imported = append(d.imported, i)
		return nil
	}})
	if err != nil {
		return "", err
	}
	return f.Name, nil
}

// RemoveImage implements hypervisor.Imager. Machines are whole clones, so that none needs an image any more.
func (d *Driver) RemoveImage(ctx context.Context, id pool.HostID, source string) error {
	ref := hostRef(id)
	if err := d.offeredOn(id, hypervisor.CanImage, OpRemoveImage, ref); err != nil {
		return err
	}
	return d.do(ctx, &request{op: OpRemoveImage, ref: ref, effect: func(*host) error {
		if slices.Contains(d.config.Images, source) {
			return wrong(OpRemoveImage, ref, hypervisor.ErrRefused, "it is there by configuration")
		}
		n := slices.IndexFunc(d.imported, func(i *image) bool { return i.Name == source })
		if n < 0 {
			return nil
		}
		if err := d.save(entry{GoneImage: source}); err != nil {
			return wrong(OpRemoveImage, ref, hypervisor.ErrRefused, err.Error())
		}
		d.imported = slices.Delete(d.imported, n, n+1)
		return nil
	}})
}

// has reports whether there is an image of that source.
func (d *Driver) has(source string) bool {
	return d.config.Images == nil || slices.Contains(d.config.Images, source) ||
		slices.ContainsFunc(d.imported, func(i *image) bool { return i.Name == source })
}
