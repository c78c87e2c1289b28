package proxmox

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/luthermonson/go-proxmox"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/internal/cloudinit"
	"github.com/berthage/berthage/pool"
)

// plan is an order in Proxmox VE's terms.
type plan struct {
	order    hypervisor.Order
	node     string
	cores    int64
	memory   int64      // MiB
	disks    []planDisk // the first is the root disk
	networks []Network
	seed     []cloudinit.File // empty: the cluster's own cloud-init does
}

type planDisk struct {
	storage string // empty: the first that fits, and for a linked root disk that of the template
	class   pool.Class
	size    int64 // bytes; zero: as the image
	iops    int64
}

// maxDisks is how many virtio disks a guest can have.
const maxDisks = 16

// plan checks an order and translates it, without asking the cluster.
func (d *Driver) plan(o hypervisor.Order) (plan, error) {
	p := plan{order: o}
	bad := func(err error) (plan, error) { return p, refuse(hypervisor.ErrInvalid, err) }
	if err := validTag(o.Tag); err != nil {
		return bad(err)
	}
	if err := pool.ValidHostname(o.Name); err != nil {
		return bad(err)
	}
	if err := o.Spec.Valid(); err != nil {
		return bad(pool.InField("spec", err))
	}
	if o.Spec.Kind != "" && o.Spec.Kind != pool.VM {
		return bad(invalid("spec.kind", string(o.Spec.Kind), "vm"))
	}
	if o.Spec.Resources[pool.GPU] != 0 {
		return bad(invalid("spec.resources.gpu", "", "no GPUs; this driver passes none through"))
	}
	if o.Source == "" || pool.ValidText(o.Source, 255) != nil {
		return bad(invalid("source", o.Source, "the VMID of a template, or the name of templates"))
	}
	var err error
	if p.cores, p.memory, err = sizes(o.Spec); err != nil {
		return bad(err)
	}
	if err := p.divide(); err != nil {
		return p, err
	}
	networks := o.Spec.Networks
	if len(networks) == 0 {
		networks = []pool.Network{{}}
	}
	if len(networks) > 32 {
		return bad(invalid("spec.networks", strconv.Itoa(len(networks)), "at most 32"))
	}
	for i, n := range networks {
		found, err := d.cfg.network(n.Name)
		if err != nil {
			return bad(pool.InField("spec.networks["+strconv.Itoa(i)+"]", err))
		}
		p.networks = append(p.networks, found)
	}
	if err := p.firstBoot(&d.cfg); err != nil {
		return bad(err)
	}
	return p, nil
}

// sizes returns cores, which are whole ones, and memory in MiB.
func sizes(s pool.Spec) (cores, memory int64, err error) {
	cores = s.Resources[pool.CPU] / pool.Core
	if s.Resources[pool.CPU]%pool.Core != 0 || cores == 0 {
		cores++
	}
	memory = s.Resources[pool.Memory] / pool.MiB
	if memory < 16 {
		return 0, 0, invalid("spec.resources.memory", strconv.FormatInt(s.Resources[pool.Memory], 10), "at least 16 MiB")
	}
	return cores, memory, nil
}

// divide finds the storage of each disk that the allocation claims for it.
func (p *plan) divide() error {
	disks := p.order.Spec.Disks
	if len(disks) == 0 {
		disks = []pool.Disk{{}}
	}
	if len(disks) > maxDisks {
		return refuse(hypervisor.ErrInvalid, invalid("spec.disks", strconv.Itoa(len(disks)), "at most 16"))
	}
	for i, disk := range disks {
		to := planDisk{class: disk.Storage.Class(), size: rounded(disk.Size), iops: disk.IOPS}
		for _, claim := range p.order.Allocation.Claims {
			if claim.Disk == i && claim.Class == to.class {
				to.storage = claim.Device
			}
		}
		p.disks = append(p.disks, to)
	}
	return nil
}

// firstBoot decides who sets up the guest. The cluster's own cloud-init knows users, keys and addresses; the rest takes a seed
// of our own, and a storage for it.
func (p *plan) firstBoot(c *Config) error {
	o := p.order
	own := o.Spec.Guest.UserData != ""
	for _, d := range o.Spec.Disks {
		own = own || d.Mount != ""
	}
	s := cloudinit.Seed{
		InstanceID: string(o.Machine), Hostname: o.Name,
		User: o.Spec.Guest.User, SSHKeys: o.Spec.Guest.SSHKeys, UserData: o.Spec.Guest.UserData,
	}
	for i, d := range o.Spec.Disks {
		if d.Mount != "" {
			s.Disks = append(s.Disks, cloudinit.Disk{Serial: serial(i), Mount: d.Mount})
		}
	}
	for i := range p.networks {
		s.MACs = append(s.MACs, machineMAC(o.Machine, i))
	}
	files, err := s.Files() // also where it is not used: it checks what is asked for
	if err != nil {
		return err
	}
	if !own {
		return nil
	}
	if c.SeedStorage == "" {
		return invalid("spec.guest", "", "no user-data and no mounts: the driver has no storage for seeds, and the cluster's own cloud-init cannot do it")
	}
	p.seed = files
	return nil
}

// template is what a machine is cloned from.
type template struct {
	node string
	vmid int
	conf config
	root drive
	boot string // key of the drive that carries cloud-init's data; empty: it has none
}

// template finds the template that a source names, for a machine on a node.
func (s *session) template(source, node string) (*template, error) {
	all, err := s.resources()
	if err != nil {
		return nil, err
	}
	vmid, byID := strconv.Atoi(source)
	var found []*template
	for _, r := range all {
		if r.Type != "qemu" || !validNode(r.Node) {
			continue
		}
		if byID == nil && int(r.VMID) == vmid || byID != nil && r.Name == source && r.Template != 0 {
			found = append(found, &template{node: r.Node, vmid: int(r.VMID)})
		}
	}
	if len(found) == 0 {
		return nil, refuse(hypervisor.ErrRefused, fmt.Errorf("the cluster has no template %s that the driver may see", pool.Quote(source)))
	}
	// One on the node itself first, then by VMID.
	slices.SortFunc(found, func(a, b *template) int {
		if here := a.node == node; here != (b.node == node) {
			return map[bool]int{true: -1, false: 1}[here]
		}
		return a.vmid - b.vmid
	})
	var why []error
	for _, t := range found {
		err := s.inspect(t, node)
		if err == nil {
			return t, nil
		}
		if kindOf(err, false) != hypervisor.ErrRefused {
			return nil, err
		}
		why = append(why, err)
	}
	return nil, refuse(hypervisor.ErrRefused, errors.Join(why...))
}

// inspect reads a template and sees whether it can be cloned to the node.
func (s *session) inspect(t *template, node string) error {
	no := func(format string, args ...any) error {
		return refuse(hypervisor.ErrRefused, fmt.Errorf("template %d on node %s "+format, append([]any{t.vmid, pool.Quote(t.node)}, args...)...))
	}
	var err error
	if t.conf, err = s.config(t.node, t.vmid); err != nil {
		if says(err, noGuest) {
			return no("is gone")
		}
		return err
	}
	if t.conf["template"] != "1" {
		return no("is a guest and no template")
	}
	disks := t.conf.disks()
	if len(disks) != 1 {
		return no("has %d disks instead of one", len(disks))
	}
	t.root = disks[0]
	for _, d := range t.conf.drives() {
		if d.cloudInit() {
			t.boot = d.key
		}
	}
	if t.node == node {
		return nil
	}
	there, err := s.storages(t.node)
	if err != nil {
		return err
	}
	for _, d := range t.conf.drives() {
		if st := d.storage(); st != "" && there[st].Shared == 0 {
			return no("has a drive on storage %s, which node %s does not share", pool.Quote(st), pool.Quote(node))
		}
	}
	return nil
}

// place chooses the storages that the allocation leaves open and checks them all.
func (s *session) place(p *plan, t *template) error {
	here, err := s.storages(p.node)
	if err != nil {
		return err
	}
	for i := range p.disks {
		d := &p.disks[i]
		if d.storage == "" && i == 0 && s.cfg.Linked {
			d.storage = t.root.storage()
		}
		if d.storage == "" {
			for _, name := range slices.Sorted(maps.Keys(here)) {
				st := here[name]
				if offer, ok := s.cfg.storage(name); ok && d.storage == "" && offer.Kind.Class() == d.class && st.images() {
					d.storage = name
				}
			}
		}
		st, ok := here[d.storage]
		offer, used := s.cfg.storage(d.storage)
		switch {
		case !ok || !used || offer.Kind.Class() != d.class || !st.images():
			return refuse(hypervisor.ErrRefused, fmt.Errorf("disk %d: the node has no storage %s for %s", i, pool.Quote(d.storage), d.class))
		case i == 0 && s.cfg.Linked && d.storage != t.root.storage():
			return refuse(hypervisor.ErrRefused, fmt.Errorf("disk 0: a linked clone lies on the template's storage, %s, and not on %s", pool.Quote(t.root.storage()), pool.Quote(d.storage)))
		case i == 0 && t.node != p.node && st.Shared == 0:
			return refuse(hypervisor.ErrRefused, fmt.Errorf("disk 0: a template on another node can be cloned to shared storage only, and %s is not", pool.Quote(d.storage)))
		}
	}
	if root := &p.disks[0]; root.size == 0 {
		root.size = t.root.size()
	} else if root.size < t.root.size() {
		return refuse(hypervisor.ErrInvalid, invalid("spec.disks[0].size", strconv.FormatInt(p.order.Spec.Disks[0].Size, 10),
			"at least the "+strconv.FormatInt(t.root.size(), 10)+" bytes of the template"))
	}
	for i, d := range p.disks[1:] {
		if d.size == 0 {
			return refuse(hypervisor.ErrInvalid, invalid("spec.disks["+strconv.Itoa(i+1)+"].size", "0", "a size"))
		}
	}
	if p.seed != nil {
		if st, ok := here[s.cfg.SeedStorage]; !ok || !st.holds("iso") {
			return refuse(hypervisor.ErrRefused, fmt.Errorf("the node has no storage %s for seeds", pool.Quote(s.cfg.SeedStorage)))
		}
	}
	return nil
}

// settings are what a clone is given: sizes, networks, what its first boot sets up, and its other disks.
func (p *plan) settings(c *Config, clone config, t *template) params {
	out := params{"cores": p.cores, "sockets": 1, "memory": strconv.FormatInt(p.memory, 10), "ciupgrade": 0}
	if c.CPUType != "" {
		out["cpu"] = c.CPUType
	}
	if c.Agent {
		out["agent"] = "1"
	}
	var drop []string
	for key := range clone {
		n, isNet := strings.CutPrefix(key, "net")
		if i, err := strconv.Atoi(n); isNet && err == nil && i >= len(p.networks) {
			drop = append(drop, key)
		}
	}
	for i, n := range p.networks {
		card := "virtio=" + machineMAC(p.order.Machine, i) + ",bridge=" + n.Bridge
		if n.VLAN != 0 {
			card += ",tag=" + strconv.Itoa(n.VLAN)
		}
		if n.Firewall {
			card += ",firewall=1"
		}
		out["net"+strconv.Itoa(i)] = card
		if p.seed == nil {
			out["ipconfig"+strconv.Itoa(i)] = n.IPConfig
		}
	}
	slot := t.boot
	if slot == "" {
		slot = freeSlot(clone)
	}
	if p.seed == nil {
		out["ciuser"] = p.order.Spec.Guest.User
		if keys := p.order.Spec.Guest.SSHKeys; len(keys) > 0 {
			out["sshkeys"] = proxmox.EncodeSSHKeys(keys...)
		}
		if t.boot == "" {
			out[slot] = p.disks[0].storage + ":cloudinit"
		}
	} else {
		out[slot] = c.SeedStorage + ":iso/" + seedName(p.order.Ref) + ",media=cdrom"
	}
	if iops := p.disks[0].iops; iops > 0 {
		root := parseDrive(t.root.key, string(clone[t.root.key]))
		out[t.root.key] = root.with("iops", strconv.FormatInt(iops, 10)).String()
	}
	for i, d := range p.disks {
		if i == 0 {
			continue
		}
		x := drive{volume: d.storage + ":" + gib(d.size), options: []string{"serial=" + serial(i)}}
		if d.iops > 0 {
			x = x.with("iops", strconv.FormatInt(d.iops, 10))
		}
		out[diskKey(t.root.key, i)] = x.String()
	}
	if len(drop) > 0 {
		slices.Sort(drop)
		out["delete"] = strings.Join(drop, ",")
	}
	return out
}

// diskKey is the place of the i-th disk, i > 0: on the virtio bus, beside the root disk if that is there too.
func diskKey(root string, i int) string {
	if n, err := strconv.Atoi(strings.TrimPrefix(root, "virtio")); err == nil && strings.HasPrefix(root, "virtio") && i <= n {
		i--
	}
	return "virtio" + strconv.Itoa(i)
}

// freeSlot is a place for a drive with cloud-init's data.
func freeSlot(c config) string {
	for _, key := range []string{"ide2", "ide0", "ide1", "ide3", "sata5", "sata4"} {
		if _, ok := c[key]; !ok {
			return key
		}
	}
	return "sata3"
}
