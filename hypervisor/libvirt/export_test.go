package libvirt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// ImportPrefix begins the names of imported images.
const ImportPrefix = importPrefix

// MachineUUID is the UUID of a machine's domain.
func MachineUUID(m pool.MachineID) string { return formatUUID(machineUUID(m)) }

// MachineMAC is the hardware address of a machine's interface.
func MachineMAC(m pool.MachineID, i int) string { return machineMAC(m, i) }

// VolumePrefix begins the names of a machine's volumes.
func VolumePrefix(t hypervisor.Tag) string { return volumePrefix(t) }

// Define defines a domain on a host, through the driver's own connection, as somebody else would.
func (d *Driver) Define(ctx context.Context, id pool.HostID, xml string) (remove func() error, err error) {
	h, err := d.host(id)
	if err != nil {
		return nil, err
	}
	s := h.session(ctx)
	dom, err := change(s, func(api *lv.Libvirt) (lv.Domain, error) { return api.DomainDefineXMLFlags(xml, 0) })
	if err != nil {
		return nil, err
	}
	return func() error { return s.undefine(dom) }, nil
}

// DefineVolume creates a volume on a host.
func (d *Driver) DefineVolume(ctx context.Context, id pool.HostID, poolName, xml string) (remove func() error, err error) {
	h, err := d.host(id)
	if err != nil {
		return nil, err
	}
	s := h.session(ctx)
	p, err := s.activePool(poolName)
	if err != nil {
		return nil, err
	}
	vol, err := change(s, func(api *lv.Libvirt) (lv.StorageVol, error) { return api.StorageVolCreateXML(p, xml, 0) })
	if err != nil {
		return nil, err
	}
	return func() error { return s.deleteVolume(vol) }, nil
}

// DefinePool makes a storage pool on a host, and starts it.
func (d *Driver) DefinePool(ctx context.Context, id pool.HostID, xml string) (remove func() error, err error) {
	undefine, err := d.DefineInactivePool(ctx, id, xml)
	if err != nil {
		return nil, err
	}
	var name struct {
		Name string `xml:"name"`
	}
	if err := parse("pool", xml, &name); err != nil {
		return nil, err
	}
	s := d.hosts[id].session(context.WithoutCancel(ctx))
	p, err := read(s, func(api *lv.Libvirt) (lv.StoragePool, error) { return api.StoragePoolLookupByName(name.Name) })
	if err == nil {
		err = do(s, func(api *lv.Libvirt) error { return api.StoragePoolCreate(p, 0) })
	}
	return func() error {
		return errors.Join(do(s, func(api *lv.Libvirt) error { return api.StoragePoolDestroy(p) }), undefine())
	}, err
}

// DefineInactivePool makes a storage pool on a host.
func (d *Driver) DefineInactivePool(ctx context.Context, id pool.HostID, xml string) (remove func() error, err error) {
	h, err := d.host(id)
	if err != nil {
		return nil, err
	}
	s := h.session(context.WithoutCancel(ctx))
	p, err := change(s, func(api *lv.Libvirt) (lv.StoragePool, error) { return api.StoragePoolDefineXML(xml, 0) })
	return func() error { return do(s, func(api *lv.Libvirt) error { return api.StoragePoolUndefine(p) }) }, err
}

// DefineNetwork makes a network on a host, and starts it.
func (d *Driver) DefineNetwork(ctx context.Context, id pool.HostID, xml string) (remove func() error, err error) {
	h, err := d.host(id)
	if err != nil {
		return nil, err
	}
	s := h.session(context.WithoutCancel(ctx))
	n, err := change(s, func(api *lv.Libvirt) (lv.Network, error) { return api.NetworkCreateXML(xml) })
	return func() error { return do(s, func(api *lv.Libvirt) error { return api.NetworkDestroy(n) }) }, err
}

// DomainType is a type of domain that the host offers.
func (d *Driver) DomainType(ctx context.Context, id pool.HostID) (string, error) {
	h, err := d.host(id)
	if err != nil {
		return "", err
	}
	c, err := h.connect(ctx)
	if err != nil {
		return "", err
	}
	return c.offers.virtTypes[0], nil
}

// Traces names the volumes and domains on a host, imported images and test machines left out.
func (d *Driver) Traces(ctx context.Context, id pool.HostID) ([]string, error) {
	h, err := d.host(id)
	if err != nil {
		return nil, err
	}
	s := h.session(ctx)
	return read(s, func(api *lv.Libvirt) ([]string, error) {
		var out []string
		pools, _, err := api.ConnectListAllStoragePools(1, lv.ConnectListStoragePoolsActive)
		if err != nil {
			return nil, err
		}
		for _, p := range pools {
			if err := api.StoragePoolRefresh(p, 0); err != nil {
				return nil, err
			}
			volumes, _, err := api.StoragePoolListAllVolumes(p, 1, 0)
			if err != nil {
				return nil, err
			}
			for _, v := range volumes {
				if !strings.HasPrefix(v.Name, importPrefix) {
					out = append(out, "volume "+p.Name+"/"+v.Name)
				}
			}
		}
		domains, _, err := api.ConnectListAllDomains(1, 0)
		for _, dom := range domains {
			if !isProbe(dom) { // goes by itself
				out = append(out, "domain "+dom.Name)
			}
		}
		return out, err
	})
}

// DiskFiles are the files of a machine's disks on its host.
func (d *Driver) DiskFiles(ctx context.Context, r hypervisor.Ref) ([]string, error) {
	var out []string
	err := d.on(ctx, "look at", r, func(s *session, dom *domain) error {
		x, err := s.inspect(dom)
		if err != nil {
			return err
		}
		for _, disk := range x.disks {
			out = append(out, disk.file())
		}
		return nil
	})
	return out, err
}

// IOPSLimit is what the i-th disk of a running machine is limited to.
func (d *Driver) IOPSLimit(ctx context.Context, r hypervisor.Ref, i int) (uint64, error) {
	var out uint64
	err := d.on(ctx, "look at", r, func(s *session, dom *domain) error {
		live, err := s.liveDisks(dom)
		if err != nil {
			return err
		}
		params, err := read(s, func(api *lv.Libvirt) ([]lv.TypedParam, error) {
			p, _, err := api.DomainGetBlockIOTune(dom.Domain, lv.OptString{live[serial(i)].at("target").attr("dev")}, 20, uint32(lv.DomainAffectLive))
			return p, err
		})
		for _, p := range params {
			if p.Field == "total_iops_sec" {
				out, _ = p.Value.I.(uint64)
			}
		}
		return err
	})
	return out, err
}

// Defined reports whether the machine is on its host, listed or not.
func (d *Driver) Defined(ctx context.Context, r hypervisor.Ref) (bool, error) {
	h, err := d.host(r.Host)
	if err != nil {
		return false, err
	}
	dom, err := h.session(ctx).find(r)
	return dom != nil, err
}

// NetworkBridge is the bridge of a libvirt network.
func (d *Driver) NetworkBridge(ctx context.Context, id pool.HostID, name string) (string, error) {
	h, err := d.host(id)
	if err != nil {
		return "", err
	}
	return read(h.session(ctx), func(api *lv.Libvirt) (string, error) {
		n, err := api.NetworkLookupByName(name)
		if err != nil {
			return "", err
		}
		return api.NetworkGetBridgeName(n)
	})
}

// TestBoot boots the test machine of kvmWorks, under KVM or emulated.
func (d *Driver) TestBoot(ctx context.Context, id pool.HostID, how VirtType) (bool, error) {
	h, err := d.host(id)
	if err != nil {
		return false, err
	}
	b := &build{session: h.session(ctx)}
	if _, err := b.conn(); err != nil {
		return false, err
	}
	return b.testBoot("default", how)
}

// LeaveProbe leaves behind what a process leaves that is killed while it tests KVM.
func (d *Driver) LeaveProbe(ctx context.Context, id pool.HostID) error {
	h, err := d.host(id)
	if err != nil {
		return err
	}
	_, err = (&build{session: h.session(ctx)}).probeVolume("default")
	return err
}

// BootProbe is the boot sector of the test machine in hexadecimal.
const BootProbe = bootProbe

// ParseURI reads a connection URI.
func ParseURI(text string) (remote, address string, err error) {
	t, err := parseURI(text)
	return string(t.remote), t.address, err
}

// ProbeImage tells the format and size of an image.
var ProbeImage = probeImage

// ParseSource reads an image source.
func ParseSource(text string) (poolName, volume, file string, err error) {
	s, err := parseSource(text)
	return s.pool, s.volume, s.file, err
}

// DomainXML writes the definition of a machine, without a host, and reads its tag back as the driver does.
func DomainXML(o hypervisor.Order, c HostConfig, forwards map[int]string, paths []string) (text string, tag hypervisor.Tag, err error) {
	if err := c.normalize("libvirt"); err != nil {
		return "", tag, err
	}
	h := &host{config: c}
	p, err := h.plan(o)
	if err != nil {
		return "", tag, err
	}
	b := &build{session: &session{h: h, c: &conn{offers: offers{machine: "q35"}}}, plan: p, word: "word"}
	x := b.domain(offers{arch: "x86_64", machine: "q35", acpi: true, apic: true}, "qemu", forwards)
	for i, disk := range b.disks {
		x.Devices.Disks = append(x.Devices.Disks, newDisk(i, diskName(i), disk, paths[i]))
	}
	if text, err = write(x); err != nil {
		return "", tag, err
	}
	var back struct {
		Metadata struct {
			Tag tagXML `xml:"machine"`
		} `xml:"metadata"`
	}
	if err := parse("domain", text, &back); err != nil {
		return text, tag, err
	}
	return text, back.Metadata.Tag.tag(), nil
}

// Harmless is how a daemon's message is shown.
func Harmless(message string) string {
	return (&serverError{lv.Error{Message: message}}).Error()
}

// Frames reads frames as the client library's connection and as a transfer do, and returns how many.
func Frames(b []byte) (checked bool, frames int) {
	l := &link{}
	checked = l.check(b)
	s := &stream{r: bufio.NewReader(bytes.NewReader(b)), idle: time.NewTimer(time.Hour)}
	for {
		if _, err := s.read(); err != nil {
			return checked, frames
		}
		frames++
	}
}

// Retold reads a definition into a tree and writes it.
func Retold(text string) (string, error) {
	root, err := readTree("domain", text)
	if err != nil {
		return "", err
	}
	return write(root)
}

// Revised is a definition with an order's sizes, as Resize defines it.
func Revised(text string, o hypervisor.Order, room Headroom) (string, error) {
	d, err := readDefinition(text)
	if err != nil {
		return "", err
	}
	h := &host{config: HostConfig{Headroom: room}}
	p, err := h.sizes(o)
	if err != nil {
		return "", err
	}
	tag := *newTag(o.Tag)
	d.sized(&p, &tag)
	return d.text(&tag)
}

// ImageVolume and ImageOf name the volumes of images and read the names.
var (
	ImageVolume = imageVolume
	ImageOf     = imageOf
)
