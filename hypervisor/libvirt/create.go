package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/internal/cloudinit"
	"github.com/berthage/berthage/pool"
)

// Create implements hypervisor.Driver. The definition of the domain is the last step and the one that decides:
// its UUID follows from the machine's id and its name is unlike any other attempt's, so that libvirt defines
// it once, whoever tries at the same time. Volumes bear the attempt's name too; those of an attempt that broke
// off are removed with the machine.
func (d *Driver) Create(ctx context.Context, o hypervisor.Order) error {
	fail := func(s *session, err error) error { return wrap("create", o.Ref, s != nil && s.changed, err) }
	h, err := d.host(o.Host)
	if err != nil {
		return fail(nil, err)
	}
	p, err := h.plan(o)
	if err != nil {
		return fail(nil, err)
	}
	done, err := h.machines.Take(ctx, o.Machine)
	if err != nil {
		return fail(nil, err)
	}
	s := h.session(ctx)
	defer s.release(done)
	b := &build{session: s, plan: p, word: h.word()}
	defer b.freePorts()
	if err := b.run(d); err != nil {
		return fail(s, b.undo(err))
	}
	return nil
}

// plan is an order in libvirt's terms.
type plan struct {
	order    hypervisor.Order
	source   source
	vcpus    int64
	kib      int64
	headroom Headroom
	disks    []planDisk // the first is the root disk
	networks []Network
}

// rootFile ends the name of the root disk's first file.
const rootFile = "root.qcow2"

type planDisk struct {
	pool   string
	format Format
	size   int64 // bytes; zero: as the image
	iops   int64
}

// plan checks an order and divides it, without asking the host.
func (h *host) plan(o hypervisor.Order) (plan, error) {
	p, err := h.sizes(o)
	if err != nil {
		return p, err
	}
	if err := pool.ValidHostname(o.Name); err != nil {
		return p, refuse(hypervisor.ErrInvalid, err)
	}
	if p.source, err = parseSource(o.Source); err != nil {
		return p, refuse(hypervisor.ErrInvalid, err)
	}
	if err := p.divide(&h.config, 0); err != nil {
		return p, err
	}
	networks := o.Spec.Networks
	if len(networks) == 0 {
		networks = []pool.Network{{}}
	}
	for _, n := range networks {
		p.networks = append(p.networks, h.config.network(n.Name))
	}
	return p, nil
}

// sizes checks an order and gives its cores and memory in libvirt's terms.
func (h *host) sizes(o hypervisor.Order) (plan, error) {
	p := plan{order: o, headroom: h.config.Headroom}
	if err := validTag(o.Tag); err != nil {
		return p, refuse(hypervisor.ErrInvalid, err)
	}
	if o.Revision < 0 {
		return p, refuse(hypervisor.ErrInvalid, invalid("revision", strconv.FormatInt(int64(o.Revision), 10), "zero or more"))
	}
	if err := o.Spec.Valid(); err != nil {
		return p, refuse(hypervisor.ErrInvalid, pool.InField("spec", err))
	}
	if o.Spec.Kind != "" && o.Spec.Kind != pool.VM {
		return p, refuse(hypervisor.ErrInvalid, invalid("spec.kind", string(o.Spec.Kind), "vm"))
	}
	if o.Spec.Resources[pool.GPU] != 0 {
		return p, refuse(hypervisor.ErrInvalid, invalid("spec.resources.gpu", "", "no GPUs; this driver passes none through"))
	}
	// Virtual CPUs are whole ones, and memory is counted in KiB.
	p.vcpus = o.Spec.Resources[pool.CPU] / pool.Core
	if o.Spec.Resources[pool.CPU]%pool.Core != 0 || p.vcpus == 0 {
		p.vcpus++
	}
	p.kib = o.Spec.Resources[pool.Memory] / pool.KiB
	if p.kib == 0 {
		return p, refuse(hypervisor.ErrInvalid, invalid("spec.resources.memory", "", "some memory"))
	}
	return p, nil
}

// divide finds the storage pool of each disk from the first that is new on: the one that the allocation claims for it,
// or the first of its kind.
func (p *plan) divide(c *HostConfig, first int) error {
	disks := p.order.Spec.Disks
	if len(disks) == 0 {
		disks = []pool.Disk{{}}
	}
	for i, disk := range disks {
		if i < first {
			p.disks = append(p.disks, planDisk{})
			continue
		}
		class := disk.Storage.Class()
		name := ""
		for _, claim := range p.order.Allocation.Claims {
			if claim.Disk == i && claim.Class == class {
				name = claim.Device
			}
		}
		if name == "" {
			for _, n := range slices.Sorted(maps.Keys(c.Pools)) {
				if name == "" && c.Pools[n].Kind.Class() == class {
					name = n
				}
			}
		}
		sp, ok := c.Pools[name]
		if !ok || sp.Kind.Class() != class {
			return refuse(hypervisor.ErrRefused, fmt.Errorf("disk %d: the host has no storage pool %s for %s", i, pool.Quote(name), class))
		}
		format := sp.Format
		if i == 0 {
			format = QCOW2 // on the image
		}
		p.disks = append(p.disks, planDisk{pool: name, format: format, size: disk.Size, iops: disk.IOPS})
	}
	return nil
}

// build is one attempt to create a machine.
type build struct {
	*session
	plan
	word    string // of this attempt
	volumes []lv.StorageVol
	ports   []int // reserved, see reservePort
	defined bool  // the definition may have been sent
}

func (b *build) run(d *Driver) error {
	if _, err := b.conn(); err != nil {
		return err
	}
	switch found, err := b.find(b.order.Ref); {
	case found != nil || errors.Is(err, hypervisor.ErrForeign):
		return refuse(hypervisor.ErrExists, nil)
	case err != nil:
		return err
	}
	offers := b.c.offers
	var files []cloudinit.File
	if offers.uploads {
		var err error
		if files, err = b.seed().Files(); err != nil {
			return refuse(hypervisor.ErrInvalid, err)
		}
	}
	forwards, err := b.checkNetworks()
	if err != nil {
		return err
	}
	domainType, err := b.virtType(b.disks[0].pool)
	if err != nil {
		return err
	}
	image, err := d.image(b.session, b.source, b.disks[0].pool)
	if err != nil {
		return err
	}
	root := &b.disks[0]
	if root.size == 0 {
		root.size = image.size
	}
	if root.size < image.size {
		return refuse(hypervisor.ErrInvalid, invalid("spec.disks[0].size", strconv.FormatInt(root.size, 10),
			"at least the "+strconv.FormatInt(image.size, 10)+" bytes of the image"))
	}
	x := b.domain(offers, domainType, forwards)
	for i, disk := range b.disks {
		v := volumeXML{Capacity: bytesXML(disk.size), Target: volumeTargetXML{Format: formatXML{string(disk.format)}}}
		name := "d" + strconv.Itoa(i) + "." + string(disk.format)
		if i == 0 {
			name = rootFile
			v.Backing = &backingXML{Path: image.path, Format: formatXML{image.format}}
		}
		path, err := b.volume(disk.pool, name, v)
		if err != nil {
			return fmt.Errorf("disk %d: %w", i, err)
		}
		x.Devices.Disks = append(x.Devices.Disks, newDisk(i, diskName(i), disk, path))
	}
	if offers.downloads {
		// The console is written by virtlogd into a volume, so that it can be read over any connection.
		path, err := b.volume(b.disks[0].pool, "console.log", volumeXML{Target: volumeTargetXML{Format: formatXML{"raw"}}})
		if err != nil {
			return fmt.Errorf("console log: %w", err)
		}
		x.Devices.Serials[0].Log = &logXML{File: path, Append: "on"}
	}
	if offers.uploads {
		path, err := b.uploadSeed(files)
		if err != nil {
			return fmt.Errorf("seed: %w", err)
		}
		x.Devices.Disks = append(x.Devices.Disks, diskXML{
			Type: "file", Device: "disk", Driver: diskDriverXML{Name: "qemu", Type: "raw"},
			Source: fileXML{path}, Target: targetXML{diskName(len(b.disks)), "virtio"}, ReadOnly: &empty{},
		})
	}
	return b.define(x)
}

// newDisk is the element of the i-th disk, whose volume lies at path.
func newDisk(i int, target string, disk planDisk, path string) diskXML {
	e := diskXML{
		Type: "file", Device: "disk",
		Driver: diskDriverXML{Name: "qemu", Type: string(disk.format), Discard: "unmap"},
		Source: fileXML{path}, Target: targetXML{target, "virtio"}, Serial: serial(i),
	}
	if disk.iops > 0 {
		e.IOTune = &ioTuneXML{disk.iops}
	}
	return e
}

// seed is what the guest sets up at its first boot.
func (b *build) seed() cloudinit.Seed {
	o := b.order
	s := cloudinit.Seed{
		InstanceID: string(o.Machine), Hostname: o.Name,
		User: o.Spec.Guest.User, SSHKeys: o.Spec.Guest.SSHKeys, UserData: o.Spec.Guest.UserData,
	}
	for i, d := range o.Spec.Disks {
		if d.Mount != "" {
			s.Disks = append(s.Disks, cloudinit.Disk{Serial: serial(i), Mount: d.Mount})
		}
	}
	for i := range b.networks {
		s.MACs = append(s.MACs, machineMAC(o.Machine, i))
	}
	return s
}

// volume creates a volume of this attempt and returns its path.
func (b *build) volume(poolName, suffix string, v volumeXML) (string, error) {
	vol, err := b.createVolume(poolName, volumePrefix(b.order.Tag)+b.word+"-"+suffix, v)
	if err != nil {
		return "", err
	}
	b.volumes = append(b.volumes, vol)
	return read(b.session, func(api *lv.Libvirt) (string, error) { return api.StorageVolGetPath(vol) })
}

// createVolume creates a volume that takes space only as it is written.
func (s *session) createVolume(poolName, name string, v volumeXML) (lv.StorageVol, error) {
	v.Name, v.Allocation = name, &sizeXML{Unit: "bytes"}
	if v.Capacity.Unit == "" {
		v.Capacity = bytesXML(0)
	}
	text, err := write(v)
	if err != nil {
		return lv.StorageVol{}, err
	}
	p, err := s.activePool(poolName)
	if err != nil {
		return lv.StorageVol{}, err
	}
	return change(s, func(api *lv.Libvirt) (lv.StorageVol, error) { return api.StorageVolCreateXML(p, text, 0) })
}

// activePool returns a storage pool that is to be used.
func (s *session) activePool(name string) (lv.StoragePool, error) {
	p, err := read(s, func(api *lv.Libvirt) (lv.StoragePool, error) { return api.StoragePoolLookupByName(name) })
	if err != nil {
		return p, err
	}
	if kind := s.c.offers.odd[name]; kind != "" {
		return p, refuse(hypervisor.ErrRefused, fmt.Errorf("storage pool %s is of type %s and does not hold files", pool.Quote(name), kind))
	}
	active, err := read(s, func(api *lv.Libvirt) (int32, error) { return api.StoragePoolIsActive(p) })
	if err == nil && active == 0 {
		err = refuse(hypervisor.ErrRefused, fmt.Errorf("storage pool %s is not active", pool.Quote(name)))
	}
	return p, err
}

func (b *build) uploadSeed(files []cloudinit.File) (string, error) {
	iso, err := cloudinit.ISO(files)
	if err != nil {
		return "", refuse(hypervisor.ErrRefused, err)
	}
	path, err := b.volume(b.disks[0].pool, "seed.iso", volumeXML{Target: volumeTargetXML{Format: formatXML{"raw"}}})
	if err != nil {
		return "", err
	}
	vol := b.volumes[len(b.volumes)-1]
	return path, b.h.upload(b.ctx, vol, bytes.NewReader(iso), int64(len(iso)))
}

// domain returns the definition without disks.
func (b *build) domain(o offers, domainType string, forwards map[int]string) *domainXML {
	t := newTag(b.order.Tag)
	t.remember(&b.plan)
	cpus, memory := b.most()
	x := &domainXML{
		Type: domainType, Name: b.order.Name + "-" + b.word, UUID: formatUUID(machineUUID(b.order.Machine)),
		Metadata: &metadataXML{t},
		Memory:   sizeXML{"KiB", memory}, VCPUs: vcpuXML{Most: cpus},
		OS:         osXML{osTypeXML{Arch: o.arch, Machine: o.machine, Value: "hvm"}},
		OnPoweroff: "destroy", OnReboot: "restart", OnCrash: "destroy",
		Devices: devicesXML{
			Serials:  []serialXML{{Type: "pty"}},
			Graphics: []graphicsXML{{Type: "vnc", Port: -1, AutoPort: "yes", Listen: "127.0.0.1"}},
			Video:    &videoXML{modelXML{"vga"}},
			RNG:      &rngXML{"virtio", rngBackendXML{"random", "/dev/urandom"}},
			Balloon:  &balloonXML{"virtio", &statsXML{Period: 5}},
		},
	}
	if cpus != b.vcpus {
		x.VCPUs.Current = b.vcpus
	}
	if memory != b.kib {
		x.Balloon = &sizeXML{"KiB", b.kib}
	}
	o.platform(x, b.h.config.CPU)
	if o.machine == "q35" {
		x.Devices.Controllers = []controllerXML{{"pci", "pcie-root"}} // has to be the first
		for range len(b.disks) + len(b.networks) + otherPorts + sparePorts {
			x.Devices.Controllers = append(x.Devices.Controllers, controllerXML{"pci", "pcie-root-port"})
		}
	}
	for i, n := range b.networks {
		b.connect(x, t, i, n, forwards[i])
	}
	return x
}

// Every device has a port of its own, and libvirt adds ports only for those that are there at the start.
const (
	otherPorts = 4 // seed, random numbers, balloon, USB
	sparePorts = 8 // for disks that are attached while the machine runs
)

// platform sets what depends on how the host runs machines.
func (o offers) platform(x *domainXML, model string) {
	if o.acpi || o.apic {
		x.Features = &featuresXML{}
		if o.acpi {
			x.Features.ACPI = &empty{}
		}
		if o.apic {
			x.Features.APIC = &empty{}
		}
	}
	// What emulation lacks of a model it leaves out, which libvirt's checks would not let it.
	check := ""
	switch VirtType(x.Type) {
	case KVM:
		x.CPU = &cpuXML{Mode: "host-model"}
	case QEMU:
		x.CPU, check = &cpuXML{Mode: "maximum"}, "none"
	default:
		return
	}
	if model != "" {
		x.CPU = &cpuXML{Mode: "custom", Match: "exact", Check: check, Model: &cpuModelXML{"forbid", model}}
	}
}

// define defines the domain.
func (b *build) define(x *domainXML) error {
	text, err := write(x)
	if err != nil {
		return err
	}
	b.defined = true
	_, err = change(b.session, func(api *lv.Libvirt) (lv.Domain, error) { return api.DomainDefineXMLFlags(text, 0) })
	var no *serverError
	if !errors.As(err, &no) {
		return err
	}
	found, lookErr := b.find(b.order.Ref)
	switch {
	case found != nil && found.Name == x.Name:
		return nil // it says no, but has done it
	case kindOf(no) == hypervisor.ErrUnknown:
		return err
	}
	b.defined = false
	if found != nil || errors.Is(lookErr, hypervisor.ErrForeign) {
		return refuse(hypervisor.ErrExists, nil) // somebody else was faster
	}
	return err
}

// undo removes what a failed attempt has made, the last first, and returns the attempt's error. Where the outcome
// is open nothing is touched: the machine may be there and need its disks.
func (b *build) undo(err error) error {
	var lost *transportError
	if b.defined || b.ctx.Err() != nil || errors.As(err, &lost) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), 30*time.Second)
	defer cancel()
	s := b.h.session(ctx)
	for _, vol := range slices.Backward(b.volumes) {
		if e := s.deleteVolume(vol); e != nil {
			b.h.log.Warn("a volume of a failed create is left behind until its machine is destroyed",
				"machine", string(b.order.Machine), "volume", vol.Name, "error", e)
		}
	}
	return err
}

// deleteVolume removes a volume; one that is gone is success.
func (s *session) deleteVolume(vol lv.StorageVol) error {
	err := do(s, func(api *lv.Libvirt) error { return api.StorageVolDelete(vol, 0) })
	if said(err, lv.ErrNoStorageVol) {
		return nil
	}
	return err
}

// virtType returns the type of domain to define.
func (b *build) virtType(poolName string) (string, error) {
	types := b.c.offers.virtTypes
	has := func(t VirtType) bool { return slices.Contains(types, string(t)) }
	want := b.h.config.VirtType
	if want != Auto {
		// A host that offers neither KVM nor emulation has a way of its own, and only that one.
		if has(want) || !has(KVM) && !has(QEMU) && len(types) > 0 {
			return cmpOr(has(want), string(want), types[0]), nil
		}
		return "", refuse(hypervisor.ErrRefused, fmt.Errorf("the host offers no machines of type %s, only %s", want, strings.Join(types, ", ")))
	}
	if has(KVM) {
		works, err := b.kvmWorks(poolName)
		if err != nil {
			return "", err
		}
		if works {
			return string(KVM), nil
		}
	}
	switch {
	case has(QEMU):
		return string(QEMU), nil
	case len(types) > 0 && !has(KVM):
		return types[0], nil
	}
	return "", refuse(hypervisor.ErrRefused, errors.New("the host offers no way to run machines of its own architecture that works"))
}

func cmpOr[T any](ok bool, a, b T) T {
	if ok {
		return a
	}
	return b
}
