package ring

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
)

// action is a planned verb on one machine.
type action struct {
	job      job
	verb     verb
	ref      hypervisor.Ref
	instance *pool.Instance // as planned; nil for a held allocation
	known    knowledge
	shelf    hypervisor.Ref // what is put aside of the instance, if anything is
	shelving bool           // of a held allocation: its machine may have been put aside
	freed    freed          // of doAdmit
}

// How often a create is tried before it is undone.
const (
	mostUnknown = 3
	mostFailed  = 5
)

// act carries an action out. What it finds out is submitted as a result; the ending says what to do next.
func (l *leadership) act(ctx context.Context, a action) ending {
	if l.until.passed() {
		return ending{known: &a.known} // the process was paused after the dispatch
	}
	switch a.verb {
	case doForget:
		return l.report(a, result{kind: pool.KindDeleted})
	case doSettle:
		return l.settle(a)
	case doSkip:
		return l.report(a, result{kind: pool.KindRebooted})
	case doReturn:
		return l.report(a, result{kind: pool.KindRefused, reason: "shelved before it has run"})
	case doEvict, doEvacuate:
		return l.relocate(ctx, a)
	case doAdmit:
		return l.admitting(a)
	case doExpire:
		return l.expired(a)
	}
	d, err := l.r.Driver(a.ref.Host)
	if err != nil {
		return l.failed(ctx, a, err)
	}
	switch a.verb {
	case doCreate:
		if e := l.report(a, result{kind: pool.KindSent}); e.retry {
			return e
		}
		a.known.sentHere = true
		return l.create(ctx, d, a)
	case doLook:
		return l.look(ctx, d, a)
	case doDestroy:
		return l.destroy(ctx, d, a)
	case doRelease:
		return l.release(ctx, d, a)
	case doShelve:
		return l.shelve(ctx, d, a)
	case doDiscard:
		return l.discard(ctx, a)
	case doResize:
		return l.resize(ctx, d, a)
	case doMigrate:
		return l.migrate(ctx, d, a)
	case doFence:
		return l.fence(ctx, d, a)
	}
	return l.power(ctx, d, a)
}

// order is what a driver is asked to make.
func order(a action) hypervisor.Order {
	i := a.instance
	spec := i.Spec
	if spec.Guest.User == "" { // what was personal has been forgotten
		spec.Guest.User = i.Image.User
	}
	return hypervisor.Order{
		Ref: a.ref, Name: i.Name, Spec: spec, Image: i.Image,
		Source: i.Image.Sources[a.ref.Host.Driver()], Allocation: i.Place.Allocation, Revision: i.Launched,
	}
}

// create sends a create that has been recorded as sent.
func (l *leadership) create(ctx context.Context, d hypervisor.Driver, a action) ending {
	if l.until.passed() || l.moot(a) {
		return ending{known: &a.known} // the lease may be another's by now, who looks; or it is not wanted any more
	}
	a.known.since = time.Now()
	err := l.make(ctx, d, a)
	switch {
	case err == nil:
		a.known.made = true
		return l.report(a, result{kind: pool.KindCreated, doubt: !a.known.clean()})
	case errors.Is(err, hypervisor.ErrExists), errors.Is(err, hypervisor.ErrUnavailable):
		// What exists is looked at next. If no list shows it, that ends as a host does that cannot be reached.
		if a.known.failed++; a.known.failed < mostFailed {
			return l.failed(ctx, a, err)
		}
	case !hypervisor.Nothing(err):
		a.known.unknown++
		a.known.since = time.Now()
		return l.failed(ctx, a, err)
	}
	l.r.log.Warn("create refused", "machine", a.ref.Machine, "host", a.ref.Host, "error", err)
	return l.report(a, result{kind: pool.KindRefused, reason: reason(err), doubt: !a.known.clean(), full: errors.Is(err, hypervisor.ErrFull)})
}

// make sends the create itself: of an image, or of what was put aside.
func (l *leadership) make(ctx context.Context, d hypervisor.Driver, a action) error {
	if !a.instance.Kept() {
		return d.Create(ctx, order(a))
	}
	shelver, ok := hypervisor.As[hypervisor.Shelver](d)
	if !ok {
		return &hypervisor.Error{Op: "unshelve", Host: a.ref.Host, Machine: a.ref.Machine, Kind: errors.ErrUnsupported}
	}
	return shelver.Unshelve(ctx, order(a), a.shelf)
}

// look finds out what became of a create, and sends it again where that cannot make a second machine.
func (l *leadership) look(ctx context.Context, d hypervisor.Driver, a action) ending {
	if a.known.since.IsZero() {
		a.known.since = l.began // inherited: it may have been sent up to the moment of our taking over
	}
	listed := time.Now()
	machines, err := d.Machines(ctx, a.ref.Host)
	if err != nil {
		return l.failed(ctx, a, err)
	}
	for _, m := range machines {
		switch {
		case m.Tag == a.ref.Tag:
			return l.report(a, result{kind: pool.KindCreated, doubt: a.known.mayFollow()})
		case m.Tag.Ledger == a.ref.Ledger && m.Tag.Machine == a.ref.Machine:
			return l.report(a, result{kind: pool.KindRefused, doubt: !a.known.clean(),
				reason: "a machine of that id, which this ledger knows nothing of, is on the host"})
		}
	}
	again, at := mayCreateAgain(a.known, l.r.Capabilities(a.ref.Host), listed)
	switch {
	case a.known.unknown >= mostUnknown, !again && at.IsZero():
		return l.report(a, result{kind: pool.KindRefused, doubt: !a.known.clean(), reason: "create was not answered"})
	case again:
		// Nothing is committed before this one, so that whether we lead has to be read.
		if err := l.r.catchUp(ctx); err != nil {
			return ending{known: &a.known, retry: true}
		}
		return l.create(ctx, d, a)
	}
	return ending{known: &a.known, at: at}
}

// destroy removes the machine, of one that was being moved also the copy on the other host, until no order to
// move it can land any more.
func (l *leadership) destroy(ctx context.Context, d hypervisor.Driver, a action) ending {
	refs := []hypervisor.Ref{a.ref}
	if m := a.instance.Move; m != nil {
		refs = append(refs, hypervisor.Ref{Host: m.Host, Tag: a.ref.Tag})
		if ok, at := l.quiet(&a, m.Ordered, time.Now()); !ok {
			return ending{known: &a.known, at: at}
		}
	}
	begun := time.Now()
	for _, ref := range refs {
		if err := l.erase(ctx, d, ref, a.instance.Shelving); err != nil {
			return l.failed(ctx, a, err)
		}
	}
	if mayRunAgain(a.instance) {
		if a.known.undone.IsZero() {
			a.known.undone = begun
		}
		if ok, at := settled(a.known.undone, l.r.Capabilities(a.ref.Host), begun); !ok && !at.IsZero() {
			if look := begun.Add(l.r.cfg.Poll); look.Before(at) {
				at = look // until then it is destroyed whenever it lands
			}
			return ending{known: &a.known, at: at}
		}
	}
	return l.report(a, result{kind: pool.KindDeleted, doubt: doubtful(a.instance, a.known)})
}

// settle records that no create for the machine can land any more. Where nobody can say when that is, it is not shelved.
func (l *leadership) settle(a action) ending {
	if a.instance.Want == pool.Shelved && l.r.Capabilities(a.ref.Host).Settles <= 0 {
		return l.report(a, result{kind: pool.KindWanted, reason: "not shelved, since nobody can say when another machine of it cannot appear any more"})
	}
	return l.report(a, result{kind: pool.KindSettled})
}

// mayRunAgain reports, of an instance whose machine is destroyed to be made anew elsewhere, that a create for that
// machine may land yet, and a start that was sent for it too: then it would run while the next one runs.
func mayRunAgain(i *pool.Instance) bool {
	return i.Phase == pool.Undoing && i.Created != 0 && i.Place.Doubt
}

// erase destroys a machine, and then what may have been put aside of it: once the machine is gone nothing more
// can be.
func (l *leadership) erase(ctx context.Context, d hypervisor.Driver, ref hypervisor.Ref, shelving bool) error {
	if err := d.Destroy(ctx, ref); err != nil && !errors.Is(err, hypervisor.ErrForeign) {
		return err
	}
	if s, ok := hypervisor.As[hypervisor.Shelver](d); ok && shelving {
		return s.Discard(ctx, ref)
	}
	return nil
}

// release destroys what a held allocation is held for, and gives it back once nothing can land any more.
func (l *leadership) release(ctx context.Context, d hypervisor.Driver, a action) ending {
	if a.known.since.IsZero() {
		a.known.since = time.Now()
	}
	if a.known.unheard.After(a.known.since) {
		a.known.since = a.known.unheard // a shelve, perhaps
	}
	if err := l.erase(ctx, d, a.ref, a.shelving); err != nil {
		return l.failed(ctx, a, err)
	}
	l.relieved(a.ref.Host)
	listed := time.Now()
	machines, err := d.Machines(ctx, a.ref.Host)
	if err != nil {
		return l.failed(ctx, a, err)
	}
	for _, m := range machines {
		if m.Tag == a.ref.Tag {
			return ending{known: &a.known, retry: true} // it landed between the two calls
		}
	}
	ok, at := settled(a.known.since, l.r.Capabilities(a.ref.Host), listed)
	if ok {
		return l.report(a, result{kind: pool.KindReleased})
	}
	if look := listed.Add(l.r.cfg.Poll); at.IsZero() || look.Before(at) {
		at = look // until then it is destroyed whenever it lands
	}
	return ending{known: &a.known, at: at}
}

// power makes the machine's power what is wanted.
func (l *leadership) power(ctx context.Context, d hypervisor.Driver, a action) ending {
	suspender, canSuspend := hypervisor.As[hypervisor.Suspender](d)
	hibernator, canHibernate := hypervisor.As[hypervisor.Hibernator](d)
	rebooter, canReboot := hypervisor.As[hypervisor.Rebooter](d)
	err := errors.ErrUnsupported
	done := result{kind: pool.KindObserved, is: pool.Running}
	switch a.verb {
	case doStart:
		err = d.Start(ctx, a.ref)
	case doStop:
		done.is = pool.Stopped
		err = d.Stop(ctx, a.ref)
	case doSuspend:
		done.is = pool.Suspended
		if canSuspend {
			err = suspender.Suspend(ctx, a.ref)
		}
	case doHibernate:
		done.is = pool.Hibernated
		if canHibernate {
			err = hibernator.Hibernate(ctx, a.ref)
		}
	case doResume:
		if canSuspend {
			err = suspender.Resume(ctx, a.ref)
		}
	case doReboot:
		done = result{kind: pool.KindRebooted}
		if canReboot {
			err = rebooter.Reboot(ctx, a.ref)
		}
		if err != nil && !hypervisor.Nothing(err) {
			l.r.log.Warn("reboot not answered; not repeated", "machine", a.ref.Machine, "error", err)
			err = nil
		}
	}
	l.pollSoon(a.ref.Host, err == nil && done.is == pool.Running)
	if err != nil {
		return l.failed(ctx, a, err)
	}
	return l.report(a, done)
}

// failed ends an action that is tried again. One that we have broken off is not the host's fault.
func (l *leadership) failed(ctx context.Context, a action, err error) ending {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ending{known: &a.known, retry: true}
	}
	l.r.log.Warn("driver call failed", "verb", string(a.verb), "machine", a.ref.Machine, "host", a.ref.Host, "error", err)
	return ending{known: &a.known, retry: true, ail: errors.Is(err, hypervisor.ErrUnavailable)}
}

// report submits what an action has found out. A ledger that cannot be written loses nothing: the action is
// planned again and finds it out again.
func (l *leadership) report(a action, res result) ending {
	res.epoch, res.machine = l.epoch, a.ref.Machine
	_, err := l.r.submit(l.ctx, res, Caller{Actor: self, Cause: string(a.verb)})
	switch {
	case err == nil, errors.Is(err, errMoot), errors.Is(err, errDropped):
		switch res.kind {
		case pool.KindDeleted, pool.KindReleased, pool.KindShelved: // note has dropped what was known
			return ending{}
		}
		return ending{known: &a.known}
	}
	if l.ctx.Err() == nil {
		l.r.log.Warn("result not recorded", "verb", string(a.verb), "machine", a.ref.Machine, "error", err)
	}
	return ending{known: &a.known, retry: true}
}

// moot reports whether the create that is to be sent is not recorded as sent, or no longer wanted.
func (l *leadership) moot(a action) bool {
	moot := true
	l.r.View(func(st *pool.State) {
		i, ok := st.Instance(a.instance.ID)
		moot = !ok || i.Phase != pool.Building || !i.Place.Sent || i.Place.Number != a.instance.Place.Number || st.Epoch() != l.epoch
	})
	return moot
}

// reason is an error's text for the books: short, in one line.
func reason(err error) string {
	text := err.Error()
	var over *quota.Exceeded
	if errors.As(err, &over) { // it is shown to those who see the instance, and not what it lies in
		text = strings.ReplaceAll(text, over.Error(), over.Redacted().Error())
	}
	return printable(text, 400)
}

// printable returns at most most characters of a text, in one line.
func printable(text string, most int) string {
	s := []rune(text)
	if len(s) > most {
		s = append(s[:most], '.', '.', '.')
	}
	for i, r := range s {
		if !unicode.IsPrint(r) {
			s[i] = ' '
		}
	}
	return string(s)
}
