package libvirt

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// A machine's disks stay where they are when it moves: in storage pools that both hosts have. While it is being moved
// its tag, on both hosts, says from where, to where, and by which order. Whoever finds that mark looks at the other
// host before doing what would be wrong if the machine is there too: running it, changing its disks, removing them.
// What a move leaves behind when it breaks off is settled by that look, and the move itself by repeating it.

// moves reports whether machines move to and from the host, and whether while they run.
func (h *host) moves() (stopped, running bool) {
	stopped = h.shares() && h.offered().resizes
	return stopped, stopped && h.config.CPU != "" && h.config.Migration.URI != ""
}

// Migrate implements hypervisor.Migrator. The machine's disks must lie in storage pools that both hosts share, and the
// networks that it is on must have the same names on both. A suspended or hibernated machine is
// hypervisor.ErrWrongPower, and one on a user-mode network is not moved while it runs.
//
// The daemons move a running machine between themselves, so that it goes on, and comes to an end, when this process
// or its connection goes away; the call is then repeated, and takes up what it finds.
func (d *Driver) Migrate(ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
	m := &move{driver: d, order: o, refFrom: from}
	fail := func(err error) error {
		return wrap("migrate", from, m.from != nil && m.from.changed || m.to != nil && m.to.changed, err)
	}
	a, err := d.host(from.Host)
	if err != nil {
		return fail(err)
	}
	if err := validTag(from.Tag); err != nil {
		return fail(refuse(hypervisor.ErrInvalid, err))
	}
	if o.Tag != from.Tag || o.Host == from.Host {
		return fail(refuse(hypervisor.ErrInvalid, errors.New("a machine moves to another host and stays the same machine")))
	}
	hosts := []*host{a}
	b := d.hosts[o.Host]
	if b != nil {
		hosts = append(hosts, b)
	}
	slices.SortFunc(hosts, func(a, b *host) int { return strings.Compare(string(a.id), string(b.id)) }) // no two wait for each other
	m.from = a.session(ctx)
	for _, h := range hosts {
		done, err := h.machines.Take(ctx, from.Machine)
		if err != nil {
			return fail(err)
		}
		s := m.from
		if h == b {
			m.to = h.session(ctx)
			s = m.to
		}
		defer s.release(done)
	}
	return fail(m.run())
}

// move is one order to migrate.
type move struct {
	driver      *Driver
	order       hypervisor.Order
	refFrom     hypervisor.Ref
	from, to    *session // to is nil where there is no such host
	here, there *domain  // the machine on both hosts
}

func (m *move) run() error {
	var refusal error // why the machine stays
	for tries := 0; tries < 4; {
		if err := m.look(); err != nil {
			return err
		}
		switch {
		case m.here == nil && m.there == nil:
			return refuse(hypervisor.ErrNotFound, nil)
		case m.here == nil:
			return m.arrive()
		case m.there != nil: // and so until the daemons have done
			if err := m.untangle(); err != nil {
				return err
			}
			continue
		case refusal != nil:
			if err := m.from.forget(m.here); err != nil {
				return err
			}
			return refusal
		}
		if err := m.may(); err != nil {
			return err
		}
		tries++
		err := m.send()
		var lost *transportError
		if errors.As(err, &lost) {
			return err
		}
		if refusal = err; err != nil && kindOfAny(err) == hypervisor.ErrUnknown {
			refusal = refuse(hypervisor.ErrRefused, err) // looking again tells
		}
	}
	return refuse(hypervisor.ErrUnknown, errors.New("the machine does not come to rest on either host"))
}

// kindOfAny is the kind of an error that wrap would give it.
func kindOfAny(err error) error {
	var e *hypervisor.Error
	_ = errors.As(wrap("", hypervisor.Ref{}, true, err), &e)
	return e.Kind
}

// look finds out where the machine is.
func (m *move) look() error {
	var err error
	if m.here, err = m.from.find(m.refFrom); err != nil {
		return err
	}
	if stopped, _ := m.from.h.moves(); !stopped {
		return refuse(errors.ErrUnsupported, errors.New("no storage pool of the host is shared with another one"))
	}
	if m.to == nil {
		if m.here == nil {
			return refuse(hypervisor.ErrNotFound, nil)
		}
		return refuse(hypervisor.ErrRefused, fmt.Errorf("there is no host %s", pool.Quote(string(m.order.Host))))
	}
	var lost *transportError
	m.there, err = m.to.find(m.order.Ref)
	switch {
	case errors.Is(err, hypervisor.ErrForeign):
		if m.here == nil {
			return refuse(hypervisor.ErrNotFound, nil)
		}
		return refuse(hypervisor.ErrExists, fmt.Errorf("a machine that is not this one is in the way on %s", m.order.Host))
	case errors.As(err, &lost) && m.here != nil && m.here.tag.To == "" && !m.to.changed && !m.from.changed && m.to.ctx.Err() == nil:
		return refuse(hypervisor.ErrRefused, fmt.Errorf("%s cannot be reached: %w", m.order.Host, err))
	}
	return err
}

// may reports, as an error, whether the machine can be moved.
func (m *move) may() error {
	if err := m.here.tag.later(m.order.Revision); err != nil {
		return err
	}
	_, a := m.from.h.moves()
	stopped, b := m.to.h.moves()
	switch {
	case !stopped:
		return refuse(hypervisor.ErrRefused, fmt.Errorf("no storage pool of %s is shared with another host", m.order.Host))
	case m.here.saved, !m.here.stopped() && !m.here.running(), m.here.running() && !(a && b):
		return refuse(hypervisor.ErrWrongPower, nil)
	}
	for _, card := range m.here.tag.Interfaces {
		if card.Kind == UserMode && m.here.running() {
			return refuse(hypervisor.ErrRefused, errors.New("connections through a user-mode network cannot be moved; stop the machine"))
		}
	}
	return nil
}

// send moves the machine. When a daemon has said no the machine may still be on either host.
func (m *move) send() error {
	x, err := m.from.inspect(m.here)
	if err != nil {
		return err
	}
	if err := m.share(x); err != nil {
		return err
	}
	for _, card := range x.root.put("devices").children {
		if name := card.at("source").attr("network"); card.name.Local == "interface" && name != "" {
			if err := m.to.activeNetwork(name); err != nil {
				return fmt.Errorf("on %s: %w", m.order.Host, err)
			}
		}
	}
	tag := *m.here.tag
	tag.From, tag.To, tag.Moving = string(m.refFrom.Host), string(m.order.Host), int64(m.order.Revision)
	if err := m.from.revise(m.here, x, tag); err != nil {
		return err
	}
	if m.here.running() {
		return m.live()
	}
	text, err := x.text(&tag)
	if err != nil {
		return err
	}
	_, err = change(m.to, func(api *lv.Libvirt) (lv.Domain, error) { return api.DomainDefineXMLFlags(text, 0) })
	return err // the rest is done where both copies are found
}

// share makes sure that the disks lie in storage pools that both hosts share, and marks the files there as no longer
// this host's: see Destroy.
func (m *move) share(x *definition) error {
	family, err := family(x.disks[0].file(), m.here.tag.tag())
	if err != nil {
		return err
	}
	dirs := make(map[string]bool)
	for _, e := range x.root.put("devices").children {
		if file := e.at("source").attr("file"); e.name.Local == "disk" && file != "" {
			dirs[path.Dir(file)] = true
		}
	}
	for dir := range dirs {
		p, err := read(m.from, func(api *lv.Libvirt) (lv.StoragePool, error) { return api.StoragePoolLookupByTargetPath(dir) })
		if err != nil {
			return err
		}
		if !m.from.h.config.Pools[p.Name].Shared || !m.to.h.config.Pools[p.Name].Shared {
			return refuse(hypervisor.ErrRefused, fmt.Errorf("storage pool %s is not shared by the two hosts", pool.Quote(p.Name)))
		}
		mark := family + movedFile
		_, err = m.from.createVolume(p.Name, mark, volumeXML{Target: volumeTargetXML{Format: formatXML{"raw"}}})
		if err != nil && !said(err, lv.ErrStorageVolExist) {
			return err
		}
		// What one host has written the other must see.
		q, err := m.to.activePool(p.Name)
		if err == nil {
			err = m.to.refresh(q)
		}
		if err == nil {
			_, err = read(m.to, func(api *lv.Libvirt) (lv.StorageVol, error) { return api.StorageVolLookupByName(q, mark) })
		}
		if said(err, lv.ErrNoStorageVol) {
			err = refuse(hypervisor.ErrRefused, fmt.Errorf("storage pool %s is not the same on both hosts", pool.Quote(p.Name)))
		}
		if err != nil {
			return fmt.Errorf("on %s: %w", m.order.Host, err)
		}
	}
	return nil
}

// live lets the daemons move a running machine.
func (m *move) live() error {
	var params []lv.TypedParam
	if at := m.to.h.config.Migration.Memory; at != "" {
		params = append(params, lv.TypedParam{Field: "migrate_uri", Value: *lv.NewTypedParamValueString(at)})
	}
	// The operator's word that the pools are shared counts for more than what libvirt knows of file systems.
	const flags = lv.MigrateLive | lv.MigratePeer2peer | lv.MigratePersistDest | lv.MigrateUndefineSource | lv.MigrateUnsafe | lv.MigrateAutoConverge
	return m.from.patiently(func() error {
		return do(m.from, func(api *lv.Libvirt) error {
			_, err := api.DomainMigratePerform3Params(m.here.Domain, lv.OptString{m.to.h.config.Migration.URI}, params, nil, flags)
			return err
		})
	})
}

// untangle ends the state of being on both hosts: the machine stays on the second if it runs there or nowhere, and on the
// first if it runs there. While the daemons are still at it, it waits.
func (m *move) untangle() error {
	if m.here.tag.To != string(m.order.Host) || m.there.tag.From != string(m.refFrom.Host) {
		return refuse(hypervisor.ErrExists, fmt.Errorf("a copy of the machine is in the way on %s", m.order.Host))
	}
	switch busy, err := m.busy(); {
	case err != nil:
		return err
	case busy:
		return pause(m.from.ctx, pollPower)
	}
	switch {
	case m.here.running() && m.there.running():
		return refuse(hypervisor.ErrUnknown, errors.New("the machine is listed as running on both hosts"))
	case m.there.running() || m.there.stopped() && m.here.stopped():
		if err := m.from.powerOff(m.here.Domain); err != nil {
			return err
		}
		return m.from.undefine(m.here.Domain)
	}
	if err := m.to.powerOff(m.there.Domain); err != nil {
		return err
	}
	if err := m.to.undefine(m.there.Domain); err != nil {
		return err
	}
	if m.here.state == lv.DomainPaused { // it ran when the move began
		return m.from.resume(m.here)
	}
	return nil
}

// busy reports whether the first daemon is working on the machine.
func (m *move) busy() (bool, error) {
	busy, err := read(m.from, func(api *lv.Libvirt) (bool, error) {
		kind, _, _, _, _, _, _, _, _, _, _, _, err := api.DomainGetJobInfo(m.here.Domain)
		return lv.DomainJobType(kind) != lv.DomainJobNone, err
	})
	if said(err, lv.ErrNoDomain, lv.ErrOperationInvalid) { // it does not run, or no longer
		return false, nil
	}
	return busy, err
}

// arrive ends the move of a machine that is on its new host only.
func (m *move) arrive() error {
	if err := m.to.forget(m.there); err != nil {
		return err
	}
	return m.to.autostart(m.there, m.there.running())
}

// forget takes the mark of a move off a machine that is on one host only.
func (s *session) forget(dom *domain) error {
	if dom.tag.To == "" {
		return nil
	}
	x, err := s.inspect(dom)
	if err != nil {
		return err
	}
	tag := *dom.tag
	if tag.To == string(s.h.id) {
		tag.Revision = max(tag.Revision, tag.Moving)
	}
	tag.From, tag.To, tag.Moving = "", "", 0
	return s.revise(dom, x, tag)
}

// other looks for the copy of a machine that is being moved on the other host of the move; nil: there is none.
func (d *Driver) other(s *session, dom *domain) (*domain, error) {
	id := pool.HostID(dom.tag.To)
	if id == s.h.id {
		id = pool.HostID(dom.tag.From)
	}
	if dom.tag.To == "" || id == s.h.id {
		return nil, nil
	}
	there, err := (*domain)(nil), error(refuse(hypervisor.ErrNotFound, nil))
	if h := d.hosts[id]; h != nil {
		there, err = h.session(s.ctx).find(hypervisor.Ref{Host: id, Tag: dom.tag.tag()})
	}
	switch {
	case errors.Is(err, hypervisor.ErrForeign):
		return nil, nil
	case err != nil:
		return nil, refuse(hypervisor.ErrUnavailable, fmt.Errorf("the machine is being moved, and whether it is on %s is not known: %w", id, err))
	case there != nil && (there.tag.From != dom.tag.From || there.tag.To != dom.tag.To):
		return nil, nil
	}
	return there, nil
}

// arriving reports whether the machine is still on the host that it is being moved from, and does not run here yet.
func (d *Driver) arriving(s *session, dom *domain) bool {
	if dom.tag == nil || dom.tag.To != string(s.h.id) || dom.running() {
		return false
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.h.timeouts.Hosts)
	defer cancel()
	there, err := d.other(s.h.session(ctx), dom)
	return err == nil && there != nil // what is not known is listed
}

// settle ends what a move has left open of a machine that is to be run or changed.
func (d *Driver) settle(s *session, dom *domain) error {
	if dom.tag.To == "" {
		return nil
	}
	switch there, err := d.other(s, dom); {
	case err != nil:
		return err
	case there != nil:
		return refuse(hypervisor.ErrRefused, fmt.Errorf("the machine is being moved from %s to %s, and is on both", dom.tag.From, dom.tag.To))
	}
	return s.forget(dom)
}

// movedFile ends the name of the file that marks a machine's files, in a shared pool, as no longer those of the host on
// which they were made.
const movedFile = "moved"

// word is what the names of one attempt to create a machine have in common. Where pools are shared it begins with
// the host, so that those of two copies of one machine are told apart.
func (h *host) word() string {
	if h.shares() {
		return h.mark() + attempt()
	}
	return attempt()
}

// shares reports whether the host shares storage pools with others.
func (h *host) shares() bool {
	for _, p := range h.config.Pools {
		if p.Shared {
			return true
		}
	}
	return false
}

func (h *host) mark() string {
	sum := digest("berthage host v1", string(h.id))
	return hex.EncodeToString(sum[:4])
}

// ofHost chooses, of a machine's volumes in a shared pool, those of the copy on this host: what belongs to the
// definition that is there, and what was made here and has not moved away.
func (h *host) ofHost(volumes []lv.StorageVol, t hypervisor.Tag, own string) []lv.StorageVol {
	made := volumePrefix(t) + h.mark()
	gone := make(map[string]bool)
	for _, vol := range volumes {
		if f, ok := strings.CutSuffix(vol.Name, movedFile); ok {
			gone[f] = true
		}
	}
	return slices.DeleteFunc(volumes, func(vol lv.StorageVol) bool {
		f, err := family(vol.Name, t)
		return err != nil || f != own && (!strings.HasPrefix(vol.Name, made) || gone[f])
	})
}
