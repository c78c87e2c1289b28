package ring

import (
	"context"
	"errors"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// shelfRef names what is put aside of an instance.
func shelfRef(i *pool.Instance, ledger string) hypervisor.Ref {
	return hypervisor.Ref{Host: i.Shelf.Host, Tag: hypervisor.Tag{Ledger: ledger, Machine: i.Shelf.Machine, Launched: i.Launched}}
}

// missing is the error of a driver that does not offer what it is to be asked.
func missing(verb string, ref hypervisor.Ref) error {
	return &hypervisor.Error{Op: verb, Host: ref.Host, Machine: ref.Machine, Kind: errors.ErrUnsupported}
}

// shelve puts the disks of a stopped machine aside.
func (l *leadership) shelve(ctx context.Context, d hypervisor.Driver, a action) ending {
	var err error
	if s, ok := hypervisor.As[hypervisor.Shelver](d); !ok {
		err = missing("shelve", a.ref)
	} else if !a.known.shelved { // else it could only not be recorded
		err = s.Shelve(ctx, a.ref)
	}
	switch {
	case err == nil, errors.Is(err, hypervisor.ErrExists):
		// With ErrExists a call that was not answered has put it aside.
		a.known.shelved = true
		return l.report(a, result{kind: pool.KindShelved})
	case errors.Is(err, hypervisor.ErrWrongPower):
		l.pollSoon(a.ref.Host, false) // it is not what the books say
	case errors.Is(err, hypervisor.ErrUnavailable):
	default:
		ordered := a.instance.Launched // of an order that an earlier version has recorded
		if o := a.instance.Shelve; o != nil {
			ordered = o.Ordered
		}
		e, more := l.unheard(ctx, &a, ordered, err)
		switch {
		case !more: // it will not be shelved, if it has not been
			if !l.lastUnheard(&a, ordered).IsZero() && !errors.Is(err, hypervisor.ErrNotFound) {
				switch m, bad := l.find(ctx, d, a.ref); {
				case bad != nil:
					return l.failed(ctx, a, bad)
				case m == nil: // an unanswered call has put it aside, which the next one will say
					return l.failed(ctx, a, err)
				}
			}
			return l.report(a, result{kind: pool.KindWanted, reason: reason(err)})
		case hypervisor.Nothing(err) && e.at.IsZero():
			// Nobody can say when a call that was not answered is over, and until then nothing else can be done.
			if e := l.report(a, result{kind: pool.KindWanted, is: pool.Shelved, reason: reason(err) + "; tried again"}); e.retry {
				return e
			}
		}
		return e
	}
	return l.failed(ctx, a, err)
}

// discard removes what is put aside of an instance. That it is going to is recorded before: what may be gone no machine can
// be made of, should the present one be lost.
func (l *leadership) discard(ctx context.Context, a action) ending {
	if a.instance.Phase == pool.Active && a.instance.Kept() {
		return l.report(a, result{kind: pool.KindDiscarding})
	}
	ref := a.shelf
	d, err := l.r.Driver(ref.Host)
	if err == nil {
		err = missing("discard", ref)
		if s, ok := hypervisor.As[hypervisor.Shelver](d); ok {
			err = s.Discard(ctx, ref)
		}
	}
	if err != nil {
		return l.failed(ctx, a, err)
	}
	return l.report(a, result{kind: pool.KindDiscarded})
}

// resize gives the machine its new sizes.
func (l *leadership) resize(ctx context.Context, d hypervisor.Driver, a action) ending {
	r := a.instance.Resize
	var err error
	o := order(a)
	disks := len(r.Sizes.Disks) != len(o.Spec.Disks)
	o.Spec, o.Allocation, o.Revision = r.Sizes.Of(o.Spec), r.After, r.Ordered
	attacher, canAttach := hypervisor.As[hypervisor.DiskAttacher](d)
	resizer, canResize := hypervisor.As[hypervisor.Resizer](d)
	switch {
	case a.known.carried == r.Ordered: // it could only not be recorded
	case disks && canAttach:
		err = attacher.SetDisks(ctx, o)
	case !disks && canResize:
		err = resizer.Resize(ctx, o)
	default:
		err = missing("resize", a.ref)
	}
	if err == nil {
		a.known.carried = r.Ordered
		return l.report(a, result{kind: pool.KindResized})
	}
	if e, more := l.unheard(ctx, &a, r.Ordered, err); more {
		return e
	}
	l.pollSoon(a.ref.Host, false)
	if l.lastUnheard(&a, r.Ordered).IsZero() || a.instance.Fault != "" {
		return l.report(a, result{kind: pool.KindUnresized, reason: reason(err)})
	}
	m, bad := l.find(ctx, d, a.ref)
	if bad != nil {
		return l.failed(ctx, a, bad)
	}
	if m != nil {
		switch done, known := resized(m.Resources, a.instance.Spec.Resources, r.Sizes.Resources); {
		case !known:
			return l.failed(ctx, a, err)
		case done: // by a call that was not answered
			a.known.carried = r.Ordered
			return l.report(a, result{kind: pool.KindResized})
		}
	}
	return l.report(a, result{kind: pool.KindUnresized, reason: reason(err)})
}

// find returns a machine as its host lists it now, nil when it is not there.
func (l *leadership) find(ctx context.Context, d hypervisor.Driver, ref hypervisor.Ref) (*hypervisor.Machine, error) {
	machines, err := d.Machines(ctx, ref.Host)
	if err != nil {
		return nil, err
	}
	for i := range machines {
		if machines[i].Tag == ref.Tag {
			return &machines[i], nil
		}
	}
	return nil, nil
}

// resized reports whether a machine that is listed with those resources has been given the new sizes. Drivers round
// cores up and do not list disks, so that it is not always known.
func resized(is, before, after pool.Resources) (done, known bool) {
	far := func(a, b int64) uint64 { // no overflow, whatever a driver says
		if a < b {
			a, b = b, a
		}
		return uint64(a) - uint64(b)
	}
	for _, c := range []pool.Class{pool.CPU, pool.Memory} {
		n, listed := is[c]
		if !listed || before[c] == after[c] {
			continue
		}
		if far(n, after[c]) >= far(n, before[c]) {
			return false, true
		}
		done, known = true, true
	}
	return done, known
}

// unheard judges the error of an order to move or resize. More says that it is too early to call the order off:
// the call is repeated, or what was not answered before may still be carried out.
func (l *leadership) unheard(ctx context.Context, a *action, ordered pool.Revision, err error) (e ending, more bool) {
	since := l.lastUnheard(a, ordered)
	switch {
	case !hypervisor.Nothing(err):
		a.known.unheard = time.Now()
		return l.failed(ctx, *a, err), true
	case errors.Is(err, hypervisor.ErrUnavailable):
		if a.known.refusals++; a.known.refusals < mostFailed {
			return l.failed(ctx, *a, err), true
		}
	}
	if since.IsZero() || a.instance.Fault != "" { // what its hypervisor has given up nothing is done to any more
		return ending{}, false
	}
	ok, at := settled(since, l.r.Capabilities(a.ref.Host), time.Now())
	switch {
	case ok:
		return ending{}, false
	case at.IsZero():
		return l.failed(ctx, *a, err), true
	}
	return ending{known: &a.known, at: at}, true
}

// lastUnheard is when a call for the order was last left unanswered; zero: never. What other leaders have sent
// counts as left unanswered when this one began.
func (l *leadership) lastUnheard(a *action, ordered pool.Revision) time.Time {
	if a.known.order != ordered {
		a.known.order, a.known.unheard, a.known.refusals = ordered, time.Time{}, 0
		if ordered <= l.from {
			a.known.unheard = l.began
		}
	}
	return a.known.unheard
}

// quiet reports whether no call for an order can take effect any more, and if one can, from when on not, or
// when to look again.
func (l *leadership) quiet(a *action, ordered pool.Revision, now time.Time) (bool, time.Time) {
	since := l.lastUnheard(a, ordered)
	if since.IsZero() {
		return true, now
	}
	ok, at := settled(since, l.r.Capabilities(a.ref.Host), now)
	if at.IsZero() { // nobody can say: what shows up later is a stray
		return true, now
	}
	return ok, at
}

// migrate moves the machine to the host that the books have chosen.
func (l *leadership) migrate(ctx context.Context, d hypervisor.Driver, a action) ending {
	m := a.instance.Move
	if a.known.carried == m.Ordered { // what could not be recorded
		return l.moved(a)
	}
	since := l.lastUnheard(&a, m.Ordered)
	off, gone := l.off(a.ref.Host), l.off(m.Host)
	if !since.IsZero() && !gone {
		there, here, err := l.whereabouts(ctx, d, a, off)
		switch {
		case err != nil:
			return l.failed(ctx, a, err)
		case there && !here:
			return l.moved(a)
		}
	}
	if l.until.passed() {
		return ending{known: &a.known, retry: true}
	}
	err := missing("migrate", a.ref)
	switch s, ok := hypervisor.As[hypervisor.Migrator](d); {
	case off, gone: // what is proved to be off nothing is sent to: it may be on again by then, and counts as off
		err = &hypervisor.Error{Op: "migrate", Host: a.ref.Host, Machine: a.ref.Machine, Kind: hypervisor.ErrRefused, Cause: errors.New("one of its hosts is off")}
	case ok:
		o := order(a)
		o.Host, o.Allocation, o.Revision = m.Host, m.Allocation, m.Ordered
		err = s.Migrate(ctx, a.ref, o)
	}
	if err == nil {
		return l.moved(a)
	}
	if e, more := l.unheard(ctx, &a, m.Ordered, err); more {
		return e
	}
	// Nothing is under way any more: where it is now it stays.
	listed := time.Now()
	if !since.IsZero() {
		var there bool
		var bad error
		if gone { // it cannot be asked
			var here *hypervisor.Machine
			here, bad = l.find(ctx, d, a.ref)
			there = here == nil
		} else {
			there, _, bad = l.whereabouts(ctx, d, a, true)
		}
		switch {
		case bad != nil:
			return l.failed(ctx, a, bad)
		case there:
			return ending{known: &a.known, retry: true}
		}
	}
	avoid := make(map[pool.HostID]time.Time)
	for h, until := range a.known.notThere {
		if until.After(listed) {
			avoid[h] = until
		}
	}
	avoid[m.Host] = listed.Add(notThereFor)
	a.known.notThere = avoid
	e := l.report(a, result{kind: pool.KindStayed, reason: reason(err)})
	e.retry = true // what is decided next is not decided at once
	return e
}

// notThereFor is how long a host is not tried again for an instance that could not be moved to it.
const notThereFor = 10 * time.Minute

func (l *leadership) moved(a action) ending {
	l.pollSoon(a.instance.Move.Host, a.instance.Want == pool.Running)
	a.known.carried = a.instance.Move.Ordered
	return l.report(a, result{kind: pool.KindMoved, host: a.instance.Move.Host})
}

// off reports whether the host is known to be off.
func (l *leadership) off(id pool.HostID) bool {
	off := false
	l.r.View(func(st *pool.State) {
		h, ok := st.Host(id)
		off = !ok || h.Conditions.Has(pool.Fenced)
	})
	return off
}

// whereabouts looks for a machine that is being moved on both of its hosts; on the first one only when
// that is to be asked.
func (l *leadership) whereabouts(ctx context.Context, d hypervisor.Driver, a action, targetOnly bool) (there, here bool, err error) {
	on := func(host pool.HostID) (bool, error) {
		machines, err := d.Machines(ctx, host)
		for _, m := range machines {
			if m.Tag == a.ref.Tag {
				return true, err
			}
		}
		return false, err
	}
	if !targetOnly {
		if here, err = on(a.ref.Host); err != nil {
			return false, false, err
		}
	}
	there, err = on(a.instance.Move.Host)
	return there, here, err
}
