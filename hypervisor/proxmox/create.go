package proxmox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/luthermonson/go-proxmox"

	"github.com/berthage/berthage/hypervisor"
)

// Create implements hypervisor.Driver: next id, clone, settings, the root disk grown, the mark that all is done. What fails on
// the way is undone; what is left open says so, and is listed with a Fault.
//
// Several Creates of one machine at the same time, by different processes, end with at most one: each looks for others after
// its clone is there, and gives way to any that it sees.
func (d *Driver) Create(ctx context.Context, o hypervisor.Order) error {
	p, err := d.plan(o)
	s := d.session(ctx)
	if err == nil {
		err = s.create(p)
	}
	return wrap("create", o.Ref, s.changed, err)
}

func (s *session) create(p plan) error {
	var err error
	if p.node, err = s.node(p.order.Host); err != nil {
		return err
	}
	done, err := s.machines.Take(s.ctx, p.order.Machine)
	if err != nil {
		return &lostError{cause: err}
	}
	defer done()
	all, err := s.guests(p.node)
	if err != nil {
		return err
	}
	if s.inPlace(all, p.order.Ref) || slices.ContainsFunc(all, func(g *guest) bool { return g.mark != nil && g.mark.tag().Machine == p.order.Machine }) {
		return refuse(hypervisor.ErrExists, nil)
	}
	t, err := s.template(p.order.Source, p.node)
	if err != nil {
		return err
	}
	if err := s.place(&p, t); err != nil {
		return err
	}
	b := &build{session: s, plan: p, template: t, word: attempt()}
	if err := b.run(); err != nil {
		return b.undo(err)
	}
	return nil
}

// build is one attempt to make a machine.
type build struct {
	*session
	plan
	*template
	word string // of this attempt
	vmid int    // of the clone, once it is there or may be; zero: never
}

func (b *build) run() error {
	if err := b.clone(); err != nil {
		return err
	}
	if err := b.alone(); err != nil {
		return err
	}
	if b.seed != nil {
		if err := b.uploadSeed(); err != nil {
			return err
		}
	}
	if err := b.configure(); err != nil {
		return err
	}
	if err := b.growRoot(); err != nil {
		return err
	}
	return b.finish()
}

func (b *build) mark(s stage) *mark {
	o := b.order
	m := &mark{VMID: b.vmid, Ledger: o.Ledger, Machine: string(o.Machine), Launched: int64(o.Launched), Revision: int64(o.Revision), Disks: len(o.Spec.Disks), Stage: s}
	if s != complete {
		m.Attempt = b.word
	}
	return m
}

// mine looks at the guest of the attempt's VMID: whether it is what this attempt has made.
func (b *build) mine() (*guest, bool, error) {
	g, err := b.look(b.plan.node, b.vmid)
	if err != nil || g == nil || g.mark == nil {
		return g, false, err
	}
	return g, g.mark.tag() == b.order.Tag && g.mark.Attempt == b.word, nil
}

// mostIDs is how many VMIDs an attempt tries that others are faster to take.
const mostIDs = 100

// clone orders the clone under the next VMID and waits for it. The next VMID is no reservation: whoever comes second is
// refused, and looks first whose guest it is that has it, since it may be its own, of a request that arrived twice.
func (b *build) clone() error {
	for range mostIDs {
		own := b.cfg.ownVMID(b.order.Ref)
		vmid, err := own, error(nil)
		if own == 0 {
			if vmid, err = b.nextID(); err != nil {
				return err
			}
		}
		b.vmid = vmid
		description, err := b.mark(cloned).describe()
		if err != nil {
			return refuse(hypervisor.ErrInvalid, err)
		}
		p := params{"newid": vmid, "name": b.order.Name, "description": description, "target": b.plan.node}
		if !b.cfg.Linked {
			p["full"], p["storage"] = 1, b.disks[0].storage
		} else {
			p["full"] = 0
		}
		if b.cfg.Pool != "" {
			p["pool"] = b.cfg.Pool
		}
		upid, err := b.begin(http.MethodPost, guestPath(b.template.node, b.template.vmid)+"/clone", p)
		if err == nil {
			if err = b.wait(upid); kindOf(err, true) == hypervisor.ErrUnknown && err != nil {
				err = b.settle(err, b.cloned)
			}
			return err
		}
		if says(err, taken) {
			g, mine, e := b.mine()
			switch {
			case e != nil:
				b.changed = true // it may be ours
				return e
			case mine:
				b.changed = true
				_, err := b.cloned()
				return err
			case own != 0, g != nil && g.mark != nil && g.mark.tag().Machine == b.order.Machine:
				b.vmid = 0
				return refuse(hypervisor.ErrExists, nil)
			}
			b.vmid = 0
			continue // somebody else's
		}
		if kindOf(err, true) != hypervisor.ErrUnknown {
			b.vmid = 0 // there is nothing to undo
			return err
		}
		return b.settle(err, b.cloned)
	}
	return refuse(hypervisor.ErrRefused, errors.New("others have taken every VMID that the cluster has offered"))
}

// cloned reports whether the attempt's clone is there, whole.
func (b *build) cloned() (bool, error) {
	g, mine, err := b.mine()
	if err != nil || g == nil || !mine {
		return false, err
	}
	if err := b.unlocked(b.plan.node, b.vmid); err != nil {
		if says(err, noGuest) { // the server removes what a clone that fails has made
			err = refuse(hypervisor.ErrRefused, errors.New("the clone has failed"))
		}
		return false, err
	}
	return true, nil
}

func (s *session) nextID() (int, error) {
	var id int
	err := s.read(func(ctx context.Context) error {
		var err error
		id, err = new(proxmox.Cluster).New(s.lib).NextID(ctx)
		return err
	})
	if err == nil && (id < minVMID || id > maxVMID) {
		return 0, refuse(hypervisor.ErrRefused, errors.New("the cluster offers no VMID"))
	}
	return id, err
}

// unlocked waits until nothing is being done to a guest any more, at most as long as a task may take. One that is gone is
// noGuest.
func (s *session) unlocked(node string, vmid int) error {
	deadline := time.Now().Add(s.cfg.Timeouts.Task)
	for step := 5 * time.Millisecond; ; step = min(2*step, time.Second) {
		c, err := s.config(node, vmid)
		if err != nil || c["lock"] == "" {
			return err
		}
		if time.Now().After(deadline) {
			return refuse(hypervisor.ErrUnknown, fmt.Errorf("guest %d is still locked (%s)", vmid, harmless(string(c["lock"]))))
		}
		if err := pause(s.ctx, step); err != nil {
			return refuse(hypervisor.ErrUnknown, err)
		}
	}
}

// alone gives way to any other guest of the same machine. Whoever makes one looks after its clone is there, so that of several
// the one that looks last sees the others. They bear the same name from the beginning, which saves looking at every guest.
func (b *build) alone() error {
	list, err := b.statuses(b.plan.node)
	if err != nil {
		return err
	}
	for _, st := range list {
		if int(st.VMID) == b.vmid || st.Name != b.order.Name {
			continue
		}
		g, err := b.look(b.plan.node, int(st.VMID))
		if err != nil {
			return err
		}
		if g != nil && g.mark != nil && g.mark.tag().Machine == b.order.Machine {
			return refuse(hypervisor.ErrExists, errors.New("somebody else is making the same machine"))
		}
	}
	return nil
}

// configure gives the clone its settings and disks.
func (b *build) configure() error {
	clone, err := b.config(b.plan.node, b.vmid)
	if err != nil {
		return err
	}
	p := b.settings(&b.cfg, clone, b.template)
	if p["description"], err = b.mark(configured).describe(); err != nil {
		return refuse(hypervisor.ErrInvalid, err)
	}
	err = b.do(http.MethodPost, guestPath(b.plan.node, b.vmid)+"/config", p)
	return b.settle(err, func() (bool, error) {
		g, mine, err := b.mine()
		return mine && g.mark.Stage == configured, err
	})
}

// growRoot grows the root disk by what the template's lacks. The size is ordered as a whole, so that a request that arrives
// twice does not grow it twice.
func (b *build) growRoot() error {
	return b.grow(b.plan.node, b.vmid, b.root.key, b.disks[0].size)
}

// grow grows a disk to a size, if it is smaller.
func (s *session) grow(node string, vmid int, key string, size int64) error {
	has := func() (bool, error) {
		c, err := s.config(node, vmid)
		return parseDrive(key, string(c[key])).size() >= size, err
	}
	if ok, err := has(); ok || err != nil {
		return err
	}
	return s.settle(s.do(http.MethodPut, guestPath(node, vmid)+"/resize", params{"disk": key, "size": strconv.FormatInt(size, 10)}), has)
}

// finish marks the machine as whole.
func (b *build) finish() error {
	description, err := b.mark(complete).describe()
	if err != nil {
		return refuse(hypervisor.ErrInvalid, err)
	}
	if err := b.describe(b.plan.node, b.vmid, description); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hints[hint{b.plan.node, b.order.Machine}] = b.vmid
	return nil
}

// describe changes a guest's description.
func (s *session) describe(node string, vmid int, description string) error {
	return s.put(node, vmid, params{"description": description})
}

// put changes settings of a guest at once, the description among them. It is answered with nothing, which may have come from
// anybody; so the description is read back.
func (s *session) put(node string, vmid int, p params) error {
	want := readMark(fmt.Sprint(p["description"]), vmid)
	err := s.change(http.MethodPut, guestPath(node, vmid)+"/config", p, nil)
	if err == nil {
		err = &lostError{sent: true, cause: errors.New("the change does not show")}
	}
	return s.settle(err, func() (bool, error) {
		c, err := s.config(node, vmid)
		if err != nil {
			return false, err
		}
		is := readMark(string(c["description"]), vmid)
		return is != nil && want != nil && *is == *want, nil
	})
}

// undo removes what the attempt has made, unless it is open what that is.
func (b *build) undo(err error) error {
	switch {
	case b.vmid == 0 || kindOf(err, b.changed) == hypervisor.ErrUnknown:
		return err
	case b.ctx.Err() != nil:
		return refuse(hypervisor.ErrUnknown, err)
	}
	b.cfg.Logger.Warn("a creation has failed and is undone", "machine", string(b.order.Machine), "guest", b.vmid, "error", err)
	g, mine, e := b.mine()
	if e == nil && g != nil && mine {
		e = b.remove(g)
	}
	if e == nil && b.seed != nil {
		e = b.deleteSeeds(b.plan.node, seedName(b.order.Ref))
	}
	if e != nil {
		return refuse(hypervisor.ErrUnknown, fmt.Errorf("%w; and undoing it failed: %w", err, e))
	}
	// Nothing is left of it, so that no error needs to say that something may be.
	b.changed = false
	return refuse(kindOf(err, false), err)
}
