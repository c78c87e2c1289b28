package libvirt

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Resize implements hypervisor.Resizer. A stopped machine can be given any sizes, as long as no disk shrinks. One that
// runs can be given more cores and memory, up to the host's Headroom, and larger disks; less of anything, and more than
// that, is hypervisor.ErrRefused.
func (d *Driver) Resize(ctx context.Context, o hypervisor.Order) error {
	return d.alterDisks(ctx, "resize", o.Ref, func(s *session, dom *domain) error {
		p, err := s.h.sizes(o)
		if err != nil {
			return err
		}
		if err := dom.tag.later(o.Revision); err != nil {
			return err
		}
		x, err := s.inspect(dom)
		if err != nil {
			return err
		}
		r := &resize{session: s, dom: dom, plan: p, definition: x}
		if err := r.compare(); err != nil {
			return err
		}
		return r.run()
	})
}

// resize is one order to resize.
type resize struct {
	*session
	dom *domain
	plan
	*definition
	grow []growth
	same bool // cores and memory are as ordered, in the definition and in the running machine
}

// growth is a disk that is to grow.
type growth struct {
	disk
	volume   lv.StorageVol
	from, to int64 // bytes
}

// compare finds out what is to be done.
func (r *resize) compare() error {
	disks := r.order.Spec.Disks
	if len(disks) != len(r.definition.disks) && !(len(disks) == 0 && len(r.definition.disks) == 1 && r.dom.tag.Disks == 0) {
		return refuse(hypervisor.ErrInvalid, invalid("spec.disks", strconv.Itoa(len(disks)), "the "+strconv.Itoa(len(r.definition.disks))+" disks that the machine has"))
	}
	for i, disk := range disks {
		d := r.definition.disks[i]
		vol, have, err := r.capacity(d.file())
		if err != nil {
			return err
		}
		switch {
		case disk.Size == 0 && i == 0 || disk.Size == have:
		case disk.Size < have:
			return refuse(hypervisor.ErrInvalid, invalid("spec.disks["+strconv.Itoa(i)+"].size", strconv.FormatInt(disk.Size, 10),
				"at least the "+strconv.FormatInt(have, 10)+" bytes that it has"))
		default:
			r.grow = append(r.grow, growth{d, vol, have, disk.Size})
		}
	}
	defined, err := strconv.ParseInt(orDefault(r.root.at("vcpu").attr("current"), r.root.put("vcpu").text), 10, 64)
	if err != nil {
		return unreadable("domain", err)
	}
	r.same = defined == r.vcpus && r.dom.cpus == r.vcpus && r.dom.memory == fromKiB(uint64(r.kib))
	return nil
}

func (r *resize) run() error {
	tag := *r.dom.tag
	b := &backwards{session: r.session}
	switch {
	case r.same && len(r.grow) == 0:
		tag.Revision = int64(r.order.Revision)
		return r.revise(r.dom, r.definition, tag)
	case r.dom.stopped():
		for _, g := range r.grow {
			if err := r.setCapacity(g, g.to, 0); err != nil {
				return b.undo(err)
			}
			b.add(func(s *session) error { return s.setCapacity(g, g.from, lv.StorageVolResizeShrink) })
		}
		r.sized(&r.plan, &tag)
		return b.undo(r.revise(r.dom, r.definition, tag))
	case !r.dom.running() || !r.h.config.Headroom.offered():
		return refuse(hypervisor.ErrWrongPower, nil)
	}
	return b.undo(r.hot(b, tag))
}

// setCapacity gives a stopped machine's disk a size. What it is made smaller by has been added by the same call.
func (s *session) setCapacity(g growth, size int64, flags lv.StorageVolResizeFlags) error {
	return do(s, func(api *lv.Libvirt) error { return api.StorageVolResize(g.volume, uint64(size), flags) })
}

// hot resizes a running machine. The virtual CPUs come last: they are what cannot be taken back. Nothing but the
// balloon is asked of the guest, which can only be given memory here, and takes it when it likes.
func (r *resize) hot(b *backwards, tag tagXML) error {
	cpus, memory, err := r.limits()
	if err != nil {
		return err
	}
	was := r.dom.memory >> 10
	switch {
	case r.vcpus < r.dom.cpus || r.kib < was:
		return refuse(hypervisor.ErrRefused, errors.New("cores and memory can be taken from a stopped machine only"))
	case r.vcpus > cpus || r.kib > memory:
		return refuse(hypervisor.ErrRefused, fmt.Errorf("while it runs the machine can have at most %d cores and %d KiB of memory", cpus, memory))
	}
	old, err := r.definition.text(r.dom.tag)
	if err != nil {
		return err
	}
	for _, g := range r.grow {
		if err := r.setLiveCapacity(r.dom, g, g.to); err != nil {
			return err
		}
		b.add(func(s *session) error { return s.setLiveCapacity(r.dom, g, g.from) })
	}
	if r.kib != was {
		if err := r.setBalloon(r.dom, r.kib); err != nil {
			return err
		}
		b.add(func(s *session) error { return s.setBalloon(r.dom, was) })
	}
	// What it may have at most does not change while it runs, nor from its next start on: that is for a stopped one.
	r.headroom = Headroom{CPU: cpus * pool.Core, Memory: memory << 10}
	r.sized(&r.plan, &tag)
	if err := r.revise(r.dom, r.definition, tag); err != nil {
		return err
	}
	b.add(func(s *session) error {
		_, err := change(s, func(api *lv.Libvirt) (lv.Domain, error) { return api.DomainDefineXMLFlags(old, 0) })
		return err
	})
	if r.vcpus == r.dom.cpus {
		return nil
	}
	err = do(r.session, func(api *lv.Libvirt) error {
		return api.DomainSetVcpusFlags(r.dom.Domain, uint32(r.vcpus), uint32(lv.DomainVCPULive))
	})
	var no *serverError
	if !errors.As(err, &no) {
		return err
	}
	switch now, e := describe(r.session, r.c, r.dom.Domain); {
	case e == nil && now.cpus == r.vcpus:
		return nil // it says no, but has done it
	case e == nil && now.cpus == r.dom.cpus:
		return err
	}
	b.steps = nil // some of them have come, and cannot be taken away: repeating it may bring the rest
	return refuse(hypervisor.ErrUnknown, err)
}

// limits is how many virtual CPUs and KiB of memory the machine can have until it is stopped.
func (r *resize) limits() (vcpus, kib int64, err error) {
	type limits struct {
		vcpus int32
		kib   uint64
	}
	l, err := read(r.session, func(api *lv.Libvirt) (l limits, err error) {
		if l.vcpus, err = api.DomainGetVcpusFlags(r.dom.Domain, uint32(lv.DomainVCPULive|lv.DomainVCPUMaximum)); err != nil {
			return l, err
		}
		l.kib, err = api.DomainGetMaxMemory(r.dom.Domain)
		return l, err
	})
	return int64(l.vcpus), clamp(l.kib), err
}

func (s *session) setLiveCapacity(dom *domain, g growth, size int64) error {
	return do(s, func(api *lv.Libvirt) error {
		return api.DomainBlockResize(dom.Domain, g.target(), uint64(size), lv.DomainBlockResizeBytes)
	})
}

func (s *session) setBalloon(dom *domain, kib int64) error {
	return do(s, func(api *lv.Libvirt) error {
		return api.DomainSetMemoryFlags(dom.Domain, uint64(kib), uint32(lv.DomainMemLive))
	})
}
