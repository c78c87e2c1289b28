package ring

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Unknown is a machine on one of our hosts that is not in the books. It is never touched; only a person's
// command adopts or destroys it.
type Unknown struct {
	hypervisor.Machine
	Why   string    `json:"why"`
	Since time.Time `json:"since"`
}

// Reasons for which a machine is unknown.
const (
	whyUntagged = "no tag: not made by Berthage"
	whyForeign  = "made for another ledger"
	whyOriginal = "made by the ledger that this one is a copy of, after the copy was made"
	whyNewer    = "tagged with a revision that this ledger has not reached: an older copy of the ledger is in use"
	whyNoRecord = "this ledger has no record of it"
)

// sweeper limits how many strays are destroyed: at most 5 in an hour or, if more, 1 % of the machines seen.
type sweeper struct {
	done []time.Time // within the last hour
}

// take reports whether one more stray may be destroyed now.
func (s *sweeper) take(now time.Time, machines int) bool {
	s.done = slices.DeleteFunc(s.done, func(t time.Time) bool { return now.Sub(t) >= time.Hour })
	if len(s.done) >= max(5, machines/100) {
		return false
	}
	s.done = append(s.done, now)
	return true
}

// judge says what a machine is to the books: planned for (neither result), a stray, or unknown and why.
// A stray is a machine whose tag names this ledger, a revision that the ledger has reached, and a launch
// whose end the ledger holds.
func judge(st *pool.State, m hypervisor.Machine) (stray bool, why string) {
	switch {
	case m.Tag == hypervisor.Tag{}:
		return false, whyUntagged
	case m.Tag.Ledger != st.LedgerOf(m.Tag.Machine, m.Tag.Launched):
		for ledger := range st.Identities() {
			if m.Tag.Ledger == ledger {
				return false, whyOriginal
			}
		}
		return false, whyForeign
	case m.Tag.Launched > st.Head():
		return false, whyNewer
	}
	id, n, ok := m.Tag.Machine.Split()
	if !ok {
		return false, whyNoRecord
	}
	if h, held := st.HeldMachine(m.Tag.Machine); held && h.Launched == m.Tag.Launched {
		return false, ""
	}
	if i, ok := st.Instance(id); ok && i.Launched == m.Tag.Launched {
		switch {
		case !i.Placed() && n <= i.Place.Number, n < i.Place.Number:
			return true, "" // that placement has ended
		case n == i.Place.Number && (m.Ref.Host == i.Place.Host || i.Move != nil && m.Ref.Host == i.Move.Host):
			return false, ""
		}
		return false, whyNoRecord
	}
	if t, ok := st.Ended(id); ok && t.Launched > 0 && t.Launched == m.Tag.Launched {
		return true, ""
	}
	return false, whyNoRecord
}

// judgeAll judges the machines of a host by the books as they are.
func (r *Ring) judgeAll(machines []hypervisor.Machine, head pool.Revision) (strays []hypervisor.Machine, unknown []Unknown, others pool.Resources) {
	r.View(func(st *pool.State) { strays, unknown, others = sortOut(st, machines, head) })
	now := time.Now()
	for n := range unknown {
		unknown[n].Since = now
	}
	return strays, unknown, others
}

// sortOut sorts the machines of a host, on a list that was begun at head, into strays and unknown ones, and sums up
// what those unknown ones take that carry a tag. Untagged ones their driver counts as reserved itself. Of what has
// changed since the list was begun it says nothing.
func sortOut(st *pool.State, machines []hypervisor.Machine, head pool.Revision) (strays []hypervisor.Machine, unknown []Unknown, others pool.Resources) {
	for _, m := range machines {
		stray, why := judge(st, m)
		switch {
		case changedSince(st, m.Tag, head):
		case stray:
			strays = append(strays, m)
		case why != "":
			unknown = append(unknown, Unknown{Machine: m, Why: why})
			if m.Tag == (hypervisor.Tag{}) {
				continue
			}
			if sum, err := others.Add(m.Resources); err == nil {
				others = sum
			}
		}
	}
	return strays, unknown, others
}

// changedSince reports whether the instance of a machine of this ledger has changed, or ended, after head.
func changedSince(st *pool.State, tag hypervisor.Tag, head pool.Revision) bool {
	id, _, _ := tag.Machine.Split()
	if i, ok := st.Instance(id); ok {
		return i.Launched == tag.Launched && i.Changed > head
	}
	t, ok := st.Ended(id)
	return ok && t.Launched == tag.Launched && t.Ended > head
}

// classify judges the machines of a host, remembers the unknown ones, and destroys strays that have been
// seen for long enough.
func (l *leadership) classify(o machinesSeen) {
	strays, unknown, others := l.r.judgeAll(o.machines, o.head)
	l.r.View(func(st *pool.State) {
		if !st.Confirmed() {
			strays = nil // the ledger that it is a copy of may know better
		}
	})
	now := time.Now()
	l.mu.Lock()
	w := l.hosts[o.host]
	if w == nil {
		l.mu.Unlock()
		return
	}
	for n := range unknown {
		for _, old := range w.unknown {
			if old.Native == unknown[n].Native {
				unknown[n].Since = old.Since
			}
		}
	}
	w.unknown = unknown
	if !w.polled || !others.Equal(w.others) {
		l.listSoon(o.host.Driver()) // what the host reserves is recorded with the next list
	}
	w.polled, w.others = true, others
	first := make(map[hypervisor.Tag]time.Time, len(strays))
	var sweep []hypervisor.Machine
	total := 0
	if len(strays) > 0 {
		for _, w := range l.hosts {
			total += w.seen
		}
	}
	for _, m := range strays {
		since, seen := w.strays[m.Tag]
		if !seen {
			since = now
		}
		first[m.Tag] = since
		if now.Sub(since) < l.r.cfg.StrayAge {
			continue
		}
		if !l.sweep.take(now, total) {
			l.r.log.Error("more strays than may be destroyed in an hour; sweeping stopped", "host", o.host, "machine", m.Tag.Machine)
			continue
		}
		sweep = append(sweep, m)
	}
	w.strays = first
	l.mu.Unlock()
	for _, m := range sweep {
		l.destroyStray(m)
	}
}

func (l *leadership) destroyStray(m hypervisor.Machine) {
	d, err := l.r.Driver(m.Host)
	if err != nil || l.until.passed() {
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.r.cfg.CallTimeout)
	defer cancel()
	if err := d.Destroy(ctx, m.Ref); err != nil {
		l.r.log.Warn("stray not destroyed", "host", m.Host, "machine", m.Tag.Machine, "error", err)
		return
	}
	l.r.log.Warn("stray destroyed", "host", m.Host, "machine", m.Tag.Machine)
}

// Unknown returns the machines on our hosts that are not in the books, as the leader last saw them, by host
// and native id. A ring that does not lead knows of none.
func (r *Ring) Unknown() []Unknown {
	l := r.lead.Load()
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Unknown
	for _, w := range l.hosts {
		out = append(out, w.unknown...)
	}
	slices.SortFunc(out, func(a, b Unknown) int {
		if c := strings.Compare(string(a.Host), string(b.Host)); c != 0 {
			return c
		}
		return strings.Compare(a.Native, b.Native)
	})
	return out
}
