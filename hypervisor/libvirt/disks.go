package libvirt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
)

// SetDisks implements hypervisor.DiskAttacher. New disks lie in the storage pools that the allocation claims for them.
// Snapshots forget a disk that is removed. A guest that has not let go of a disk within Timeouts.Shutdown keeps it, and
// hypervisor.ErrRefused says so; QEMU does not take its request back, so that one that lets go later is without it until
// its next start.
func (d *Driver) SetDisks(ctx context.Context, o hypervisor.Order) error {
	return d.alterDisks(ctx, "set the disks of", o.Ref, func(s *session, dom *domain) error {
		p, err := s.h.sizes(o)
		if err != nil {
			return err
		}
		if len(o.Spec.Disks) == 0 {
			return refuse(hypervisor.ErrInvalid, invalid("spec.disks", "", "the root disk at least"))
		}
		if err := dom.tag.later(o.Revision); err != nil {
			return err
		}
		if dom.saved {
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		x, err := s.inspect(dom)
		if err != nil {
			return err
		}
		r := &resize{session: s, dom: dom, plan: p, definition: x}
		if err := r.unchanged(); err != nil {
			return err
		}
		if err := r.divide(&s.h.config, len(x.disks)); err != nil {
			return err
		}
		c := &diskChange{resize: r, back: backwards{session: s}}
		return c.back.undo(c.run())
	})
}

// unchanged returns an error unless the order leaves everything as it is but the disks at the end of the list.
func (r *resize) unchanged() error {
	stay := r.plan
	n := min(len(r.definition.disks), len(r.order.Spec.Disks))
	stay.order.Spec.Disks = r.order.Spec.Disks[:n]
	kept := *r.definition
	kept.disks = kept.disks[:n]
	look := &resize{session: r.session, dom: r.dom, plan: stay, definition: &kept}
	if err := look.compare(); err != nil {
		return err
	}
	if len(look.grow) > 0 || !look.same {
		return refuse(hypervisor.ErrInvalid, invalid("spec", "", "the cores, memory and sizes of disks that the machine has"))
	}
	return nil
}

// diskChange is one order to add disks or to remove some.
type diskChange struct {
	*resize
	back backwards
	live map[string]*element // the disks of a machine that is not stopped, by serial number
}

func (c *diskChange) run() error {
	s, x := c.session, c.definition
	family, err := family(x.disks[0].file(), c.dom.tag.tag())
	if err != nil {
		return err
	}
	if !c.dom.stopped() {
		if c.live, err = s.liveDisks(c.dom); err != nil {
			return err
		}
	}
	have := len(x.disks)
	for i := have; i < len(c.plan.disks); i++ {
		if err := c.add(i, family); err != nil {
			return fmt.Errorf("disk %d: %w", i, err)
		}
	}
	most := len(c.plan.disks)
	for i := have - 1; i >= most; i-- {
		if err := c.detach(c.live[serial(i)]); err != nil {
			return fmt.Errorf("disk %d: %w", i, err)
		}
	}
	tag := *c.dom.tag
	tag.Revision, tag.Disks = int64(c.order.Revision), most
	if most < have {
		x.root.at("devices").drop(func(e *element) bool {
			return slices.ContainsFunc(x.disks[most:], func(d disk) bool { return d.element == e })
		})
		x.disks = x.disks[:most]
		tag.Snapshots = slices.Clone(tag.Snapshots)
		for i := range tag.Snapshots {
			kept := &tag.Snapshots[i]
			kept.Disks = slices.DeleteFunc(slices.Clone(kept.Disks), func(one snapshotOne) bool { return one.Index >= most })
		}
	}
	if err := s.revise(c.dom, x, tag); err != nil {
		return err
	}
	if most < have {
		s.sweep(x, c.dom, family)
	}
	return nil
}

// add makes the i-th disk and attaches it.
func (c *diskChange) add(i int, family string) error {
	s, want := c.session, c.plan.disks[i]
	file, err := c.attached(i)
	if err != nil {
		return err
	}
	format := want.format
	if file == "" {
		vol, err := s.createVolume(want.pool, diskFile(family, i, attempt(), format), volumeXML{
			Capacity: bytesXML(want.size), Target: volumeTargetXML{Format: formatXML{string(format)}},
		})
		if err != nil {
			return err
		}
		c.back.add(func(s *session) error { return s.deleteVolume(vol) })
		if file, err = read(s, func(api *lv.Libvirt) (string, error) { return api.StorageVolGetPath(vol) }); err != nil {
			return err
		}
	}
	target, err := c.freeTarget()
	if err != nil {
		return err
	}
	e, err := treeOf(struct {
		XMLName struct{} `xml:"disk"`
		diskXML
	}{diskXML: newDisk(i, target, want, file)})
	if err != nil {
		return err
	}
	devices := c.root.put("devices")
	devices.children = append(devices.children, e)
	c.definition.disks = append(c.definition.disks, disk{e, i})
	if c.live == nil || c.live[serial(i)] != nil {
		return nil
	}
	if err := s.attach(c.dom, e); err != nil {
		return err
	}
	c.back.add(func(s *session) error { return s.detach(c.dom, e) })
	return nil
}

// attached returns the file of a disk that is attached already, by a call that broke off.
func (c *diskChange) attached(i int) (string, error) {
	e := c.live[serial(i)]
	if e == nil {
		return "", nil
	}
	d := disk{e, i}
	_, have, err := c.capacity(d.file())
	if err == nil && (have != c.plan.disks[i].size || d.format() != c.plan.disks[i].format) {
		err = refuse(hypervisor.ErrRefused, errors.New("another one of that number is attached until the machine is stopped"))
	}
	return d.file(), err
}

// freeTarget is the first name of a disk that the machine does not use yet.
func (c *diskChange) freeTarget() (string, error) {
	used := make(map[string]bool)
	for _, e := range c.root.at("devices").children {
		used[e.at("target").attr("dev")] = true
	}
	for _, e := range c.live {
		used[e.at("target").attr("dev")] = true
	}
	for i := range 26 {
		if name := diskName(i); !used[name] {
			return name, nil
		}
	}
	return "", refuse(hypervisor.ErrRefused, errors.New("the machine cannot have more disks"))
}

// detach takes a disk from a machine that is not stopped. One that is gone is success.
func (c *diskChange) detach(e *element) error {
	if e == nil {
		return nil
	}
	if err := c.session.detach(c.dom, e); err != nil {
		return err
	}
	c.back.add(func(s *session) error { return s.attach(c.dom, e) })
	return nil
}

// liveDisks are the disks that a machine that is not stopped has now, by serial number.
func (s *session) liveDisks(dom *domain) (map[string]*element, error) {
	text, err := read(s, func(api *lv.Libvirt) (string, error) { return api.DomainGetXMLDesc(dom.Domain, lv.DomainXMLSecure) })
	if err != nil {
		return nil, err
	}
	root, err := readTree("domain", text)
	if err != nil {
		return nil, err
	}
	out := make(map[string]*element)
	for _, e := range root.put("devices").children {
		if e.name.Local == "disk" && e.at("serial") != nil {
			out[e.at("serial").text] = e
		}
	}
	return out, nil
}

func (s *session) attach(dom *domain, e *element) error {
	text, err := write(e)
	if err != nil {
		return err
	}
	return do(s, func(api *lv.Libvirt) error {
		return api.DomainAttachDeviceFlags(dom.Domain, text, uint32(lv.DomainDeviceModifyLive))
	})
}

// detach asks the guest to let go of a disk and waits until it has.
func (s *session) detach(dom *domain, e *element) error {
	text, err := write(e)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(s.h.timeouts.Shutdown)
	err = do(s, func(api *lv.Libvirt) error {
		return api.DomainDetachDeviceFlags(dom.Domain, text, uint32(lv.DomainDeviceModifyLive))
	})
	var no *serverError
	if err != nil && !errors.As(err, &no) {
		return err
	}
	for said := err; ; {
		live, err := s.liveDisks(dom)
		switch {
		case err != nil:
			return err
		case live[e.at("serial").text] == nil:
			return nil
		case said != nil:
			return refuse(hypervisor.ErrRefused, said)
		case time.Now().After(deadline):
			return refuse(hypervisor.ErrRefused, errors.New("the guest has not let go of it in time"))
		}
		if err := pause(s.ctx, pollPower); err != nil {
			return err
		}
	}
}

// diskFile is the name of a file of the i-th disk. All but the first root disk's begin in the same way: see diskOf.
func diskFile(family string, i int, word string, format Format) string {
	return family + "d" + strconv.Itoa(i) + "-" + word + "." + string(format)
}
