package hypervisortest

import (
	"context"
	"errors"
	"slices"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// optional is a call of an optional interface, by its ability.
type optional struct {
	ability hypervisor.Ability
	what    string
	on      object
	reads   bool // changes nothing
	call    optionalCall
}

// optionalCall makes a call about the order's machine, or about its host.
type optionalCall func(ctx context.Context, d hypervisor.Driver, o hypervisor.Order) error

// object is what a call is about.
type object string

const (
	aMachine object = "a machine"         // that is on the host
	aHost    object = "a host"            //
	anOrder  object = "an order"          // for a machine that is not there yet
	shelf    object = "what is put aside" // which needs neither host nor machine
)

// errMissing says that the driver does not have the interface.
var errMissing = errors.New("the driver does not have the interface")

// through makes a call of the interface T.
func through[T any](call func(ctx context.Context, t T, o hypervisor.Order) error) optionalCall {
	return func(ctx context.Context, d hypervisor.Driver, o hypervisor.Order) error {
		t, ok := hypervisor.As[T](d)
		if !ok {
			return errMissing
		}
		return call(ctx, t, o)
	}
}

// optionals lists the optional calls.
func optionals(s *suite) []optional {
	type order = hypervisor.Order
	return []optional{
		{hypervisor.CanSuspend, "suspend", aMachine, false, through(func(ctx context.Context, d hypervisor.Suspender, o order) error { return d.Suspend(ctx, o.Ref) })},
		{hypervisor.CanSuspend, "resume", aMachine, false, through(func(ctx context.Context, d hypervisor.Suspender, o order) error { return d.Resume(ctx, o.Ref) })},
		{hypervisor.CanHibernate, "hibernate", aMachine, false, through(func(ctx context.Context, d hypervisor.Hibernator, o order) error { return d.Hibernate(ctx, o.Ref) })},
		{hypervisor.CanAttachDisk, "set disks", aMachine, false, through(func(ctx context.Context, d hypervisor.DiskAttacher, o order) error { return d.SetDisks(ctx, o) })},
		{hypervisor.CanImage, "list images", aHost, true, through(func(ctx context.Context, d hypervisor.Imager, o order) error {
			_, err := d.Images(ctx, o.Host)
			return err
		})},
		{hypervisor.CanWatch, "watch", aHost, true, through(func(ctx context.Context, d hypervisor.Watcher, o order) error {
			watching, cancel := context.WithCancel(ctx)
			defer cancel()
			err := d.Watch(watching, o.Host, cancel)
			if ctx.Err() == nil && watching.Err() != nil && errors.Is(err, context.Canceled) {
				return nil // it was watching
			}
			return err
		})},
		{hypervisor.CanReboot, "reboot", aMachine, false, through(func(ctx context.Context, d hypervisor.Rebooter, o order) error { return d.Reboot(ctx, o.Ref) })},
		{hypervisor.CanShelve, "shelve", aMachine, false, through(func(ctx context.Context, d hypervisor.Shelver, o order) error { return d.Shelve(ctx, o.Ref) })},
		{hypervisor.CanShelve, "unshelve", anOrder, false, through(func(ctx context.Context, d hypervisor.Shelver, o order) error { return d.Unshelve(ctx, o, o.Ref) })},
		{hypervisor.CanShelve, "discard", shelf, false, through(func(ctx context.Context, d hypervisor.Shelver, o order) error { return d.Discard(ctx, o.Ref) })},
		{hypervisor.CanResize, "resize", aMachine, false, through(func(ctx context.Context, d hypervisor.Resizer, o order) error { return d.Resize(ctx, o) })},
		{hypervisor.CanMigrate, "migrate", aMachine, false, through(func(ctx context.Context, d hypervisor.Migrator, o order) error {
			from := o.Ref
			o.Host = s.elsewhere(o.Host)
			return d.Migrate(ctx, from, o)
		})},
		{hypervisor.CanSnapshot, "snapshot", aMachine, false, through(func(ctx context.Context, d hypervisor.Snapshotter, o order) error {
			return d.Snapshot(ctx, o.Ref, "any")
		})},
		{hypervisor.CanSnapshot, "list snapshots", aMachine, true, through(func(ctx context.Context, d hypervisor.Snapshotter, o order) error {
			_, err := d.Snapshots(ctx, o.Ref)
			return err
		})},
		{hypervisor.CanSnapshot, "revert", aMachine, false, through(func(ctx context.Context, d hypervisor.Snapshotter, o order) error { return d.Revert(ctx, o.Ref, "any") })},
		{hypervisor.CanSnapshot, "delete snapshot", aMachine, false, through(func(ctx context.Context, d hypervisor.Snapshotter, o order) error {
			return d.DeleteSnapshot(ctx, o.Ref, "any")
		})},
		{hypervisor.CanFence, "fence", aHost, false, through(func(ctx context.Context, d hypervisor.Fencer, o order) error {
			_, err := d.Fence(ctx, o.Host)
			return err
		})},
		{hypervisor.CanConsole, "log", aMachine, true, through(func(ctx context.Context, d hypervisor.Consoler, o order) error {
			_, err := d.Log(ctx, o.Ref, 1024)
			return err
		})},
		{hypervisor.CanConsole, "display", aMachine, true, through(func(ctx context.Context, d hypervisor.Consoler, o order) error {
			_, err := d.Display(ctx, o.Ref)
			return err
		})},
		{hypervisor.CanMeter, "sample", aHost, true, through(func(ctx context.Context, d hypervisor.Meter, o order) error {
			_, err := d.Sample(ctx, o.Host)
			return err
		})},
	}
}

// elsewhere returns a host of the setup that is not the given one, or one that does not exist.
func (s *suite) elsewhere(host pool.HostID) pool.HostID {
	for _, h := range s.Hosts {
		if h != host {
			return h
		}
	}
	return pool.NewHostID(host.Driver(), "elsewhere-"+s.ledger)
}

// offered returns the optional calls that are offered on the first host.
func offered(s *suite) []optional {
	return slices.DeleteFunc(optionals(s), func(o optional) bool { return !hypervisor.Has(s.Driver, s.Hosts[0], o.ability) })
}

// unoffered returns the optional calls that the driver has and does not offer on the first host.
func unoffered(s *suite) []optional {
	return slices.DeleteFunc(optionals(s), func(o optional) bool {
		return hypervisor.Has(s.Driver, s.Hosts[0], o.ability) || !implements(s.Driver, o.ability)
	})
}

// implements reports whether the driver has the interface of an ability.
func implements(d hypervisor.Driver, a hypervisor.Ability) bool {
	ok := false
	switch a {
	case hypervisor.CanSuspend:
		_, ok = hypervisor.As[hypervisor.Suspender](d)
	case hypervisor.CanHibernate:
		_, ok = hypervisor.As[hypervisor.Hibernator](d)
	case hypervisor.CanAttachDisk:
		_, ok = hypervisor.As[hypervisor.DiskAttacher](d)
	case hypervisor.CanImage:
		_, ok = hypervisor.As[hypervisor.Imager](d)
	case hypervisor.CanWatch:
		_, ok = hypervisor.As[hypervisor.Watcher](d)
	case hypervisor.CanReboot:
		_, ok = hypervisor.As[hypervisor.Rebooter](d)
	case hypervisor.CanShelve:
		_, ok = hypervisor.As[hypervisor.Shelver](d)
	case hypervisor.CanResize, hypervisor.CanResizeHot:
		_, ok = hypervisor.As[hypervisor.Resizer](d)
	case hypervisor.CanMigrate, hypervisor.CanMigrateLive:
		_, ok = hypervisor.As[hypervisor.Migrator](d)
	case hypervisor.CanSnapshot:
		_, ok = hypervisor.As[hypervisor.Snapshotter](d)
	case hypervisor.CanFence:
		_, ok = hypervisor.As[hypervisor.Fencer](d)
	case hypervisor.CanConsole:
		_, ok = hypervisor.As[hypervisor.Consoler](d)
	case hypervisor.CanMeter:
		_, ok = hypervisor.As[hypervisor.Meter](d)
	}
	return ok
}
