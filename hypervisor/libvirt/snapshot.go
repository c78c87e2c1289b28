package libvirt

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// A snapshot is a layer: the files that were the machine's disks stay as they are, and the machine goes on in new ones
// that lie on them. Which files belong to which snapshot is in the machine's tag, so that snapshots move with it. They
// are none of libvirt's own: those keep a machine from moving, take its memory along where it runs, and would bring
// back its old definition.

// mostLayers bounds the files of a machine's disks, as every one is opened when it runs.
const mostLayers = 64

// Snapshot implements hypervisor.Snapshotter. Of a machine that runs it keeps what a loss of power would have left on
// the disks. A suspended one may be; a hibernated one is hypervisor.ErrWrongPower.
func (d *Driver) Snapshot(ctx context.Context, r hypervisor.Ref, name string) error {
	return d.alterDisks(ctx, "snapshot", r, func(s *session, dom *domain) error {
		if err := validSnapshot(name); err != nil {
			return err
		}
		switch {
		case dom.tag.snapshot(name) != nil:
			return refuse(hypervisor.ErrExists, fmt.Errorf("there is a snapshot %s already", pool.Quote(name)))
		case dom.saved:
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		x, err := s.inspect(dom)
		if err != nil {
			return err
		}
		family, err := family(x.disks[0].file(), dom.tag.tag())
		if err != nil {
			return err
		}
		files, err := s.countLayers(x, dom, family)
		if err != nil {
			return err
		}
		if files >= mostLayers*len(x.disks) {
			return refuse(hypervisor.ErrRefused, fmt.Errorf("the machine's disks consist of %d files already", files))
		}
		kept := snapshotTag{Name: name, Time: time.Now().UTC()}
		request := layerXML{Name: "berthage"}
		word := attempt()
		for _, e := range x.root.at("devices").children {
			if e.name.Local == "disk" {
				request.Disks = append(request.Disks, layerDiskXML{Name: e.at("target").attr("dev"), Snapshot: "no"})
			}
		}
		for _, disk := range x.disks {
			kept.Disks = append(kept.Disks, snapshotOne{disk.index, disk.file(), disk.format()})
			i := slices.IndexFunc(request.Disks, func(l layerDiskXML) bool { return l.Name == disk.target() })
			request.Disks[i] = layerDiskXML{
				Name: disk.target(), Snapshot: "external", Driver: &formatXML{string(QCOW2)},
				Source: &fileXML{path.Join(path.Dir(disk.file()), diskFile(family, disk.index, word, QCOW2))},
			}
		}
		text, err := write(request)
		if err != nil {
			return err
		}
		_, err = change(s, func(api *lv.Libvirt) (lv.DomainSnapshot, error) {
			return api.DomainSnapshotCreateXML(dom.Domain, text, uint32(lv.DomainSnapshotCreateDiskOnly|lv.DomainSnapshotCreateNoMetadata|lv.DomainSnapshotCreateAtomic))
		})
		if err != nil {
			return err
		}
		if x, err = s.inspect(dom); err != nil { // it goes on in the new files
			return err
		}
		tag := *dom.tag
		tag.Snapshots = append(slices.Clone(tag.Snapshots), kept)
		return s.revise(dom, x, tag)
	})
}

func validSnapshot(name string) error {
	if err := pool.ValidHostname(name); err != nil {
		return refuse(hypervisor.ErrInvalid, pool.InField("snapshot", err))
	}
	return nil
}

// layerXML asks for new files (https://libvirt.org/formatsnapshot.html).
type layerXML struct {
	XMLName xml.Name       `xml:"domainsnapshot"`
	Name    string         `xml:"name"`
	Disks   []layerDiskXML `xml:"disks>disk"`
}

type layerDiskXML struct {
	Name     string     `xml:"name,attr"`
	Snapshot string     `xml:"snapshot,attr"`
	Driver   *formatXML `xml:"driver"`
	Source   *fileXML   `xml:"source"`
}

// diskOf tells from the name of a file whose disk in the spec it is or was; false: it is something else.
func diskOf(family, name string) (int, bool) {
	rest, ok := strings.CutPrefix(name, family)
	if !ok {
		return 0, false
	}
	if rest == rootFile {
		return 0, true
	}
	n := strings.IndexAny(rest, "-.")
	if n < 2 || rest[0] != 'd' {
		return 0, false
	}
	i, err := strconv.Atoi(rest[1:n])
	return i, err == nil && i >= 0
}

func (t *tagXML) snapshot(name string) *snapshotTag {
	for i := range t.Snapshots {
		if t.Snapshots[i].Name == name {
			return &t.Snapshots[i]
		}
	}
	return nil
}

// Snapshots implements hypervisor.Snapshotter.
func (d *Driver) Snapshots(ctx context.Context, r hypervisor.Ref) ([]hypervisor.Snapshot, error) {
	var out []hypervisor.Snapshot
	err := d.on(ctx, "list the snapshots of", r, func(s *session, dom *domain) error {
		if !s.c.offers.resizes {
			return errNoDisks()
		}
		for _, kept := range dom.tag.Snapshots {
			out = append(out, hypervisor.Snapshot{Name: kept.Name, Time: kept.Time})
		}
		return nil
	})
	return out, err
}

// Revert implements hypervisor.Snapshotter. A disk that the machine did not have then is left as it is.
func (d *Driver) Revert(ctx context.Context, r hypervisor.Ref, name string) error {
	return d.alterDisks(ctx, "revert", r, func(s *session, dom *domain) error {
		if err := validSnapshot(name); err != nil {
			return err
		}
		if !dom.stopped() {
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		kept := dom.tag.snapshot(name)
		if kept == nil {
			return refuse(hypervisor.ErrRefused, fmt.Errorf("there is no snapshot %s", pool.Quote(name)))
		}
		x, err := s.inspect(dom)
		if err != nil {
			return err
		}
		family, err := family(x.disks[0].file(), dom.tag.tag())
		if err != nil {
			return err
		}
		b := &backwards{session: s}
		word := attempt()
		for _, was := range kept.Disks {
			if was.Index >= len(x.disks) {
				continue
			}
			disk := x.disks[was.Index]
			size, err := s.capacityOf(disk)
			if err != nil {
				return b.undo(err)
			}
			vol, file, err := s.layer(was.File, was.Format, diskFile(family, disk.index, word, QCOW2), size)
			if err != nil {
				return b.undo(err)
			}
			b.add(func(s *session) error { return s.deleteVolume(vol) })
			disk.from(file, QCOW2)
		}
		if err := s.revise(dom, x, *dom.tag); err != nil {
			return b.undo(err)
		}
		s.sweep(x, dom, family)
		return nil
	})
}

// capacityOf is how large a stopped machine's disk is.
func (s *session) capacityOf(d disk) (int64, error) {
	_, n, err := s.capacity(d.file())
	return n, err
}

// layer makes a file that lies on another one, beside it.
func (s *session) layer(on string, format Format, name string, size int64) (vol lv.StorageVol, file string, err error) {
	below, err := s.volumeAt(on)
	if err != nil {
		return vol, "", fmt.Errorf("disk %s: %w", path.Base(on), err)
	}
	vol, err = s.createVolume(below.Pool, name, volumeXML{
		Capacity: bytesXML(size), Target: volumeTargetXML{Format: formatXML{string(QCOW2)}},
		Backing: &backingXML{Path: on, Format: formatXML{string(format)}},
	})
	return vol, path.Join(path.Dir(on), name), err
}

// DeleteSnapshot implements hypervisor.Snapshotter. What only that snapshot needed is removed. Of a machine that runs, a file
// that later states lie on is merged with the next, which takes as long as copying it; of a stopped one it stays until a
// snapshot is deleted while it runs.
func (d *Driver) DeleteSnapshot(ctx context.Context, r hypervisor.Ref, name string) error {
	return d.alterDisks(ctx, "delete a snapshot of", r, func(s *session, dom *domain) error {
		if dom.tag.snapshot(name) == nil {
			return nil
		}
		if dom.saved {
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		x, err := s.inspect(dom)
		if err != nil {
			return err
		}
		family, err := family(x.disks[0].file(), dom.tag.tag())
		if err != nil {
			return err
		}
		tag := *dom.tag
		tag.Snapshots = slices.DeleteFunc(slices.Clone(tag.Snapshots), func(t snapshotTag) bool { return t.Name == name })
		if err := s.revise(dom, x, tag); err != nil {
			return err
		}
		if !dom.stopped() {
			if err := s.merge(dom, family); err != nil {
				s.h.log.Warn("layers of no use are left for now", "machine", dom.tag.Machine, "error", err)
			}
			if x, err = s.inspect(dom); err != nil {
				return err
			}
		}
		s.sweep(x, dom, family)
		return nil
	})
}

func errNoDisks() error {
	return refuse(errors.ErrUnsupported, errors.New("the host's driver cannot change disks"))
}
