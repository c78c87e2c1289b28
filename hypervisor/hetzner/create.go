package hetzner

import (
	"context"
	"errors"
	"strconv"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/internal/cloudinit"
	"github.com/berthage/berthage/pool"
)

// Create implements hypervisor.Driver. Volumes are made first and the server last: its name follows from the
// machine's id and the location, so that the service makes it once, whoever tries at the same time. Everything bears
// the tag from the request that makes it. When the answer to that request is lost the server is looked for by its
// name and the word of this attempt, and the request sent once more if it is not there.
//
// What an attempt has made that fails is removed, unless the context has ended; Destroy removes what is left.
func (d *Driver) Create(ctx context.Context, o hypervisor.Order) error {
	return d.with(ctx, "create", o.Ref, func(c *call) error {
		p, err := c.plan(o)
		if err != nil {
			return err
		}
		return c.make(p)
	})
}

// plan is an order in the service's terms.
type plan struct {
	order   hypervisor.Order
	image   string // a name or a number
	root    int64  // bytes asked of the root disk
	extra   []int  // GiB of the further disks
	private []string
	public  bool
	group   string
}

// What the service says of its sizes.
const (
	leastVolume  = 10     // GiB
	mostVolume   = 10_240 // GiB
	mostUserData = 32 << 10
)

func bad(err error) error { return refuse(hypervisor.ErrInvalid, err) }

// plan checks an order, without asking the service.
func (c *call) plan(o hypervisor.Order) (*plan, error) {
	p := &plan{order: o, image: o.Source, public: true}
	if err := pool.ValidHostname(o.Name); err != nil {
		return nil, bad(err)
	}
	if err := o.Spec.Valid(); err != nil {
		return nil, bad(pool.InField("spec", err))
	}
	if o.Spec.Kind != "" && o.Spec.Kind != pool.VM {
		return nil, bad(invalid("spec.kind", string(o.Spec.Kind), "vm"))
	}
	if o.Spec.Resources[pool.GPU] != 0 || o.Spec.Resources[pool.GPUShare] != 0 {
		return nil, bad(invalid("spec.resources.gpu", "", "no GPUs; none is sold"))
	}
	if pool.ValidName(o.Allocation.Shape) != nil {
		return nil, bad(invalid("allocation.shape", o.Allocation.Shape, "the server type that the machine is booked as"))
	}
	var err error
	if p.root, p.extra, err = c.divide(o.Spec.Disks); err != nil {
		return nil, err
	}
	if len(o.Spec.Networks) > 0 {
		p.public = false
	}
	for _, n := range o.Spec.Networks {
		if n.Name == "" || n.Name == publicNetwork {
			p.public = true
		} else {
			p.private = append(p.private, n.Name)
		}
	}
	if c.config.GroupLabel != "" {
		p.group = o.Spec.Labels[c.config.GroupLabel]
	}
	return p, nil
}

// publicNetwork is what a Spec's empty name of a network stands for.
const publicNetwork = "public"

// divide puts the first disk on the server's own and every further one on a volume.
func (c *call) divide(disks []pool.Disk) (root int64, volumes []int, err error) {
	for i, disk := range disks {
		at := "spec.disks[" + strconv.Itoa(i) + "]"
		class := disk.Storage.Class()
		switch local, network := c.config.LocalStorage.Class(), c.config.VolumeStorage.Class(); {
		case disk.IOPS != 0:
			return 0, nil, bad(invalid(at+".iops", strconv.FormatInt(disk.IOPS, 10), "no limit; the service has none"))
		case i == 0 && class != local, i > 0 && class != local && class != network:
			return 0, nil, refusef(hypervisor.ErrRefused, "%s: there is no %s here", at, class)
		case i == 0:
			root = disk.Size
			continue
		}
		gib := max(disk.Size/pool.GiB, leastVolume)
		if disk.Size > gib*pool.GiB {
			gib++
		}
		if gib > mostVolume {
			return 0, nil, bad(invalid(at+".size", pool.FormatBytes(disk.Size), "10 TiB at most"))
		}
		volumes = append(volumes, int(gib))
	}
	return root, volumes, nil
}

// make makes the machine that is planned.
func (c *call) make(p *plan) error {
	switch s, err := c.find(p.order.Ref); {
	case s != nil, errors.Is(err, hypervisor.ErrForeign):
		return refuse(hypervisor.ErrExists, nil)
	case err != nil:
		return err
	}
	b := &build{call: c, plan: p, word: word()}
	if err := b.prepare(); err != nil {
		return err
	}
	if err := b.run(); err != nil {
		return b.undo(err)
	}
	return nil
}

// build is one attempt to create a machine.
type build struct {
	*call
	*plan
	word    string // of this attempt
	options hcloud.ServerCreateOpts
	made    []*hcloud.Volume
	server  *hcloud.Server
	sent    bool // a request for the server
	lost    bool // and its outcome is not known: it may still make one
}

// prepare finds everything that the order names. It makes nothing.
func (b *build) prepare() error {
	o, err := b.offered()
	if err != nil {
		return err
	}
	t := o.types[b.order.Allocation.Shape]
	if t == nil {
		return refusef(hypervisor.ErrRefused, "there is no server type %s", pool.Quote(b.order.Allocation.Shape))
	}
	if b.root > int64(t.Disk)*diskGB {
		return bad(invalid("spec.disks[0].size", pool.FormatBytes(b.root), "at most the "+strconv.Itoa(t.Disk)+" GB of server type "+t.Name))
	}
	if len(b.extra) > 0 && b.at.VolumeSpace == 0 {
		return refusef(hypervisor.ErrRefused, "the location has no VolumeSpace for further disks")
	}
	image, err := b.findImage(t)
	if err != nil {
		return err
	}
	b.options = hcloud.ServerCreateOpts{
		Name: serverName(b.order.Machine, b.at.Location), ServerType: &hcloud.ServerType{Name: t.Name},
		Image:    &hcloud.Image{Name: strconv.FormatInt(image.ID, 10)}, // a number as text is a number, says the service
		Location: &hcloud.Location{Name: b.at.Location}, StartAfterCreate: hcloud.Ptr(false), PublicNet: b.publicNet(),
		Labels: with(tagLabels(b.order.Tag, b.at.Location), labelAttempt, b.word,
			labelRevision, strconv.FormatInt(int64(b.order.Revision), 10), labelRoot, strconv.FormatInt(b.root, 10)),
	}
	for _, name := range b.config.SSHKeys {
		key, _, err := b.client.SSHKey.GetByName(b.ctx, name)
		if err := b.known("SSH key", name, key != nil, err); err != nil {
			return err
		}
		b.options.SSHKeys = append(b.options.SSHKeys, key)
	}
	for _, name := range b.private {
		n, _, err := b.client.Network.GetByName(b.ctx, name)
		if err := b.known("network", name, n != nil, err); err != nil {
			return err
		}
		b.options.Networks = append(b.options.Networks, n)
	}
	if b.group != "" {
		g, _, err := b.client.PlacementGroup.GetByName(b.ctx, b.group)
		if err := b.known("placement group", b.group, g != nil, err); err != nil {
			return err
		}
		b.options.PlacementGroup = g
	}
	_, err = b.userData(nil) // what is wrong with it is wrong before anything is made
	return err
}

// known is the error of a thing that was looked for by name.
func (b *build) known(what, name string, found bool, err error) error {
	if err := b.read(err); err != nil {
		return err
	}
	if !found {
		return refusef(hypervisor.ErrRefused, "the project has no %s %s", what, pool.Quote(name))
	}
	return nil
}

// findImage finds the image by its number or by its name.
func (b *build) findImage(t *hcloud.ServerType) (*hcloud.Image, error) {
	if b.image == "" || pool.ValidText(b.image, 255) != nil {
		return nil, bad(invalid("source", b.image, "the name of an image such as debian-12, or the number of a snapshot"))
	}
	image, _, err := b.client.Image.GetForArchitecture(b.ctx, b.image, t.Architecture)
	if err := b.known("image", b.image, image != nil, err); err != nil {
		return nil, err
	}
	switch {
	case image.Status != hcloud.ImageStatusAvailable:
		return nil, refusef(hypervisor.ErrRefused, "image %s is %s", pool.Quote(b.image), clean(string(image.Status)))
	case image.Architecture != t.Architecture:
		return nil, refusef(hypervisor.ErrRefused, "image %s is for another architecture", pool.Quote(b.image))
	case float64(image.DiskSize) > float64(t.Disk):
		return nil, refusef(hypervisor.ErrRefused, "image %s needs a larger disk than that of server type %s", pool.Quote(b.image), t.Name)
	}
	return image, nil
}

func (b *build) publicNet() *hcloud.ServerCreatePublicNet {
	v4, v6 := b.public && b.config.Public != OnlyIPv6, b.public && b.config.Public != OnlyIPv4
	if v4 && v6 {
		return nil
	}
	return &hcloud.ServerCreatePublicNet{EnableIPv4: v4, EnableIPv6: v6}
}

// userData is what the first boot sets up. Volumes are found by the paths that the service gives them.
func (b *build) userData(volumes []*hcloud.Volume) (string, error) {
	s := cloudinit.Seed{
		InstanceID: string(b.order.Machine), Hostname: b.order.Name,
		User: b.order.Spec.Guest.User, SSHKeys: b.order.Spec.Guest.SSHKeys, UserData: b.order.Spec.Guest.UserData,
	}
	for i := range b.extra {
		if mount := b.order.Spec.Disks[i+1].Mount; mount != "" {
			disk := cloudinit.Disk{Serial: "berthage-d" + strconv.Itoa(i+1), Mount: mount}
			if volumes != nil {
				disk.Device = volumes[i].LinuxDevice
			}
			s.Disks = append(s.Disks, disk)
		}
	}
	text, err := s.CloudUserData()
	if err != nil {
		return "", bad(err)
	}
	if len(text) > mostUserData {
		return "", bad(invalid("spec.guest.user_data", strconv.Itoa(len(text)), "at most 32 KiB, with what sets up user, keys and disks"))
	}
	return string(text), nil
}

func (b *build) run() error {
	for i, gib := range b.extra {
		v, err := b.makeVolume(b.order.Tag, i+1, gib, b.word, nil)
		if err != nil {
			return err
		}
		b.made = append(b.made, v)
	}
	b.options.Volumes = b.made
	if len(b.made) > 0 {
		b.options.Automount = hcloud.Ptr(false)
	}
	var err error
	if b.options.UserData, err = b.userData(b.made); err != nil {
		return err
	}
	var actions []*hcloud.Action
	b.sent = true
	b.server, actions, err = surely(b.call, func() (*hcloud.Server, []*hcloud.Action, error) {
		r, _, err := b.client.Server.Create(b.ctx, b.options) // the root password in it is nobody's
		if err != nil {
			return nil, nil, err
		}
		return r.Server, append([]*hcloud.Action{r.Action}, r.NextActions...), nil
	}, b.ours)
	if err != nil {
		kind, open := verdict(err)
		b.lost = open
		if errors.Is(kind, hypervisor.ErrNotFound) { // something that the order names has gone meanwhile
			return refuse(hypervisor.ErrRefused, err)
		}
		return err
	}
	if err := b.follow(actions...); err != nil {
		return err
	}
	// That an action has succeeded is one thing, what the server is another.
	s, err := b.until(b.server, func(s *hcloud.Server) bool { return s.Status == hcloud.ServerStatusOff && !s.Locked })
	if err == nil && s == nil {
		err = refusef(hypervisor.ErrRefused, "the service has given the server up")
	}
	return err
}

// ours looks for the server of this attempt.
func (b *build) ours() (*hcloud.Server, error) {
	s, err := b.find(b.order.Ref)
	if errors.Is(err, hypervisor.ErrForeign) || s != nil && s.Labels[labelAttempt] != b.word {
		return nil, nil
	}
	return s, err
}

// surely sends a request that creates something of a name that can be taken once. When its answer is lost, or says
// that the name is taken, it looks for what the request may have made, and if a lost one has made nothing sends it
// once more.
func surely[T any](c *call, create func() (*T, []*hcloud.Action, error), look func() (*T, error)) (*T, []*hcloud.Action, error) {
	var lost error
	for range 2 {
		var made *T
		var actions []*hcloud.Action
		err := c.patiently(func() (err error) {
			made, actions, err = create()
			return err
		})
		if err == nil {
			return made, actions, nil
		}
		// A request that something on the way has repeated finds the name taken by its own first arrival.
		taken := said(err, hcloud.ErrorCodeUniquenessError)
		_, open := verdict(err)
		if open {
			lost = err
		}
		if open || taken {
			found, e := look()
			switch {
			case e != nil && lost == nil:
				return nil, nil, e
			case e != nil:
				return nil, nil, lost
			case found != nil:
				return found, nil, nil
			}
		}
		if !open {
			if lost != nil {
				return nil, nil, lost // the first request may still be on its way
			}
			return nil, nil, err
		}
	}
	return nil, nil, lost
}

// undo removes what the attempt has made, and returns the error that it has failed with. Only when all of it is gone
// does that error say that nothing was done.
func (b *build) undo(failed error) error {
	if b.ctx.Err() != nil {
		return failed
	}
	ctx, cancel := context.WithTimeout(b.ctx, b.config.Timeouts.Undo)
	defer cancel()
	u := &call{Driver: b.Driver, ctx: ctx, at: b.at}
	server := b.server
	var err error
	if server == nil && b.sent {
		server, err = (&build{call: u, plan: b.plan, word: b.word}).ours()
	}
	if err == nil && server != nil {
		err = u.remove(server)
	}
	if err == nil && len(b.extra) > 0 {
		err = u.removeVolumes(b.order.Tag, func(v *hcloud.Volume) bool { return v.Labels[labelAttempt] == b.word })
	}
	b.changed = b.lost || err != nil
	if err != nil {
		return remains(failed, err)
	}
	return failed
}
