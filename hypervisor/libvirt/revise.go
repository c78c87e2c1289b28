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

// A machine is changed in three steps. First what can be undone is done: files are made or grown, and a running domain
// is changed. Then the domain is defined anew, in one request, with what it is made of from its next start on and the
// order's revision in its tag: that is where the change has been carried out. Then what is of no use any more is
// removed. What a call leaves undone because its connection was lost the same call finishes when it is repeated.

// alter runs f on the machine that r names, alone: nothing else is changed of it or made of its id meanwhile.
func (d *Driver) alter(ctx context.Context, op string, r hypervisor.Ref, f func(s *session, dom *domain) error) error {
	h, err := d.host(r.Host)
	if err != nil {
		return wrap(op, r, false, err)
	}
	done, err := h.machines.Take(ctx, r.Machine)
	if err != nil {
		return wrap(op, r, false, err)
	}
	var used *session
	defer func() {
		if used == nil {
			done()
			return
		}
		used.release(done)
	}()
	return d.on(ctx, op, r, func(s *session, dom *domain) error {
		used = s
		if err := d.settle(s, dom); err != nil {
			return err
		}
		return f(s, dom)
	})
}

// alterDisks is alter for what has to do with disks.
func (d *Driver) alterDisks(ctx context.Context, op string, r hypervisor.Ref, f func(s *session, dom *domain) error) error {
	return d.alter(ctx, op, r, func(s *session, dom *domain) error {
		if !s.c.offers.resizes {
			return errNoDisks()
		}
		return f(s, dom)
	})
}

// definition is what a machine is made of from its next start on.
type definition struct {
	root  *element
	disks []disk // those of the spec, in its order
}

// disk is a disk of a machine.
type disk struct {
	*element
	index int // in the spec
}

func (d disk) target() string { return d.at("target").attr("dev") }
func (d disk) file() string   { return d.at("source").attr("file") }
func (d disk) format() Format { return Format(d.at("driver").attr("type")) }

// from lets the disk lie on another file.
func (d disk) from(file string, format Format) {
	d.put("source").set("file", file)
	d.put("driver").set("type", string(format))
}

// inspect reads a machine's definition.
func (s *session) inspect(dom *domain) (*definition, error) {
	text, err := read(s, func(api *lv.Libvirt) (string, error) {
		return api.DomainGetXMLDesc(dom.Domain, lv.DomainXMLInactive|lv.DomainXMLSecure)
	})
	if err != nil {
		return nil, err
	}
	return readDefinition(text)
}

func readDefinition(text string) (*definition, error) {
	root, err := readTree("domain", text)
	if err != nil {
		return nil, err
	}
	d := &definition{root: root}
	for _, e := range root.put("devices").children {
		if e.name.Local != "disk" || e.at("serial") == nil {
			continue
		}
		if i, err := strconv.Atoi(strings.TrimPrefix(e.at("serial").text, serialPrefix)); err == nil && serial(i) == e.at("serial").text {
			// What a file lies on is in the file. Where libvirt has noted it too, its note would outlive a revert.
			e.drop(func(c *element) bool { return c.name.Local == "backingStore" })
			d.disks = append(d.disks, disk{e, i})
		}
	}
	slices.SortFunc(d.disks, func(a, b disk) int { return a.index - b.index })
	for i, disk := range d.disks {
		if disk.index != i || disk.file() == "" {
			return nil, refuse(hypervisor.ErrRefused, errors.New("the machine's definition does not have the disks that it was given"))
		}
	}
	if len(d.disks) == 0 {
		return nil, refuse(hypervisor.ErrRefused, errors.New("the machine's definition has no root disk"))
	}
	return d, nil
}

// text is the definition with the tag in it.
func (d *definition) text(t *tagXML) (string, error) {
	t.XMLName = xml.Name{Space: tagNamespace, Local: "machine"}
	tag, err := treeOf(t)
	if err != nil {
		return "", err
	}
	meta := d.root.put("metadata")
	meta.drop(func(e *element) bool { return e.name == tag.name })
	meta.children = append(meta.children, tag)
	return write(d.root)
}

// sized sets the cores and the memory, with room for as much of each as the machine may be given while it runs.
func (d *definition) sized(p *plan, t *tagXML) {
	cpus, memory := p.most()
	v := d.root.put("vcpu")
	v.text = strconv.FormatInt(cpus, 10)
	v.set("current", "")
	if cpus != p.vcpus {
		v.set("current", strconv.FormatInt(p.vcpus, 10))
	}
	for name, kib := range map[string]int64{"memory": memory, "currentMemory": p.kib} {
		e := d.root.put(name)
		e.set("unit", "KiB")
		e.text = strconv.FormatInt(kib, 10)
	}
	t.remember(p)
}

// remember notes the sizes that libvirt does not tell.
func (t *tagXML) remember(p *plan) {
	t.Revision, t.Disks, t.Memory = int64(p.order.Revision), len(p.order.Spec.Disks), 0
	if _, memory := p.most(); memory != p.kib {
		t.Memory = p.kib
	}
}

// most is how many virtual CPUs and KiB of memory the machine may be given while it runs.
func (p *plan) most() (vcpus, kib int64) {
	return max(p.vcpus, p.headroom.CPU/pool.Core), max(p.kib, p.headroom.Memory/pool.KiB)
}

// revise carries a change out: the machine is defined as d, with the tag t. When the daemon says no it has not been.
func (s *session) revise(dom *domain, d *definition, t tagXML) error {
	text, err := d.text(&t)
	if err != nil {
		return err
	}
	if _, err := change(s, func(api *lv.Libvirt) (lv.Domain, error) { return api.DomainDefineXMLFlags(text, 0) }); err != nil {
		return err
	}
	dom.tag = &t
	return nil
}

// later returns an error for an order that is earlier than the last that was carried out.
func (t *tagXML) later(r pool.Revision) error {
	if int64(r) >= t.Revision {
		return nil
	}
	return refuse(hypervisor.ErrRefused, fmt.Errorf("the order is of revision %d, and one of revision %d has been carried out", r, t.Revision))
}

// backwards undoes steps, the last first, when a daemon has said no. It returns why it has said so; where something
// could not be undone the outcome is open. A connection that is lost leaves everything as it is.
type backwards struct {
	*session
	steps []func(*session) error
}

func (b *backwards) add(step func(*session) error) { b.steps = append(b.steps, step) }

func (b *backwards) undo(err error) error {
	var lost *transportError
	if err == nil || errors.As(err, &lost) || len(b.steps) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), 30*time.Second)
	defer cancel()
	s := b.h.session(ctx)
	for _, step := range slices.Backward(b.steps) {
		if e := step(s); e != nil {
			return refuse(hypervisor.ErrUnknown, fmt.Errorf("%w; and what had been done could not be undone: %w", err, e))
		}
	}
	return err
}

// volumeAt returns the volume whose file lies at a path. One that libvirt does not know yet, as QEMU or another host
// has made it, it is shown.
func (s *session) volumeAt(file string) (lv.StorageVol, error) {
	look := func(api *lv.Libvirt) (lv.StorageVol, error) { return api.StorageVolLookupByPath(file) }
	vol, err := read(s, look)
	if !said(err, lv.ErrNoStorageVol) {
		return vol, err
	}
	p, err := read(s, func(api *lv.Libvirt) (lv.StoragePool, error) {
		return api.StoragePoolLookupByTargetPath(path.Dir(file))
	})
	if err != nil {
		return vol, err
	}
	if err := s.refresh(p); err != nil {
		return vol, err
	}
	return read(s, look)
}

// capacity returns the size of the disk that a file is, as a guest sees it.
func (s *session) capacity(file string) (lv.StorageVol, int64, error) {
	vol, err := s.volumeAt(file)
	if err != nil {
		return vol, 0, fmt.Errorf("disk %s: %w", path.Base(file), err)
	}
	n, err := read(s, func(api *lv.Libvirt) (uint64, error) {
		_, capacity, _, err := api.StorageVolGetInfo(vol)
		return capacity, err
	})
	return vol, clamp(n), err
}

// family begins the names of all files that were made for the machine with the one at path, and of no others: the
// machine's own prefix and the word of the attempt that made it.
func family(file string, t hypervisor.Tag) (string, error) {
	prefix := volumePrefix(t)
	rest, ok := strings.CutPrefix(path.Base(file), prefix)
	word, _, more := strings.Cut(rest, "-")
	if !ok || !more {
		return "", refuse(hypervisor.ErrRefused, fmt.Errorf("disk %s is not one that was made for the machine", path.Base(file)))
	}
	return prefix + word + "-", nil
}
