package scheduler

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"

	"github.com/berthage/berthage/pool"
)

// Gang is requests that are placed together: all of them, or none.
type Gang struct {
	Members []Request

	// Partial asks for as many as there is room for, counted from the first: the others are left out.
	Partial bool

	// Reserve is how many failure domains may fail at once: whichever they are, what of the gang is on them finds room on
	// the others. That holds for the moment of the placement. Nothing is booked for it, so that what is placed
	// afterwards may take that room.
	Reserve int

	// Domain is the key of the host label whose value is a host's failure domain, a rack for instance; or pool.ZoneKey. Hosts without
	// the label are one domain together, since nobody knows what they share. Empty: every host is a domain of its own.
	Domain string
}

// GangRefusal is the error of a gang that cannot be placed. It unwraps to its Cause: of a member without a place a
// *Refusal, of a reserve that is not there pool.ErrNoRoom.
type GangRefusal struct {
	Member  int      // the first that found no place, or none when its domain fails
	Placed  int      // members that had one by then
	Domains []string // that may not fail together; nil where already the placement failed
	// Certain: no placement of the gang is possible at all, as far as its members' devices are chosen as Place chooses
	// them. Otherwise the search was given up.
	Certain bool
	Cause   error
}

// Error implements error, on one line.
func (r *GangRefusal) Error() string {
	head := "member " + strconv.Itoa(r.Member) + " of a group"
	if r.Domains == nil {
		return head + ", with " + strconv.Itoa(r.Placed) + " placed: " + r.Cause.Error()
	}
	names := make([]string, len(r.Domains))
	for i, d := range r.Domains {
		names[i] = pool.Quote(d)
	}
	return fmt.Sprintf("%s has no place left when %v fail: %v", head, names, r.Cause)
}

// Unwrap returns the cause.
func (r *GangRefusal) Unwrap() error { return r.Cause }

// How far PlaceAll looks: placements tried in one search, and sets of domains that are let fail.
const (
	mostTrials = 20000
	mostSets   = 5000
)

// PlaceAll chooses hosts for all members of a gang, each the best that Place would find with those before it in place, the
// largest first. The decisions are in the order of the members; with Partial they may be fewer. It books nothing: what it
// tries on the index it takes back, so that the index is as it was, also after an error.
//
// Where a member finds no room the others are tried elsewhere. Members that are alike need no such search: whether a gang of
// one spec can be placed, and whether its reserve is there, is found out exactly, for any Reserve. For members that differ
// the search is exact as long as it is small; it is given up after some thousand placements, and more sets of domains than
// that are not looked at. A gang that is accepted is always one whose reserve was found by placing it.
//
// The error is a *GangRefusal, which unwraps to pool.ErrNoRoom, or that of a malformed request.
func (s *Scheduler) PlaceAll(ix *Index, g Gang) ([]Decision, error) {
	if g.Reserve < 0 {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "reserve", Value: strconv.Itoa(g.Reserve), Want: "zero or more"}
	}
	t := &trial{ix: ix, gang: &g}
	for i := range g.Members {
		if err := t.add(s, i); err != nil {
			return nil, err
		}
	}
	best, err := t.place(len(g.Members))
	if err == nil || !g.Partial || !errors.Is(err, pool.ErrNoRoom) {
		return best, err
	}
	// The most that can be placed, by halving.
	lo, hi := 0, len(g.Members)
	best = nil
	for hi-lo > 1 {
		n := (lo + hi) / 2
		d, failed := t.place(n)
		switch {
		case failed == nil:
			lo, best = n, d
		case errors.Is(failed, pool.ErrNoRoom):
			hi = n
		default:
			return nil, failed
		}
	}
	if lo == 0 {
		return nil, err
	}
	return best, nil
}

// trial is a gang while it is tried on an index.
type trial struct {
	ix     *Index
	gang   *Gang
	kinds  []*Ask // one of each kind of member
	first  []int  // the first member of each kind
	kindOf []int  // by member

	order  []int      // of the members that are placed, the largest first
	placed []Decision // in that order
	steps  int
	stuck  *GangRefusal // of the first member that found nothing
	gone   []*pool.HostRecord
}

// add prepares a member. Alike are members of which nothing differs but what no placement goes by.
func (t *trial) add(s *Scheduler, i int) error {
	req := t.gang.Members[i]
	req.Spec.Guest = pool.Guest{UserData: req.Spec.Guest.UserData, SSHKeys: req.Spec.Guest.SSHKeys}
	for k := range t.kinds {
		if reflect.DeepEqual(t.kinds[k].req, req) {
			t.kindOf = append(t.kindOf, k)
			return nil
		}
	}
	a, err := s.Ask(req)
	if err != nil {
		return fmt.Errorf("member %d of a group: %w", i, err)
	}
	t.kindOf = append(t.kindOf, len(t.kinds))
	t.kinds, t.first = append(t.kinds, a), append(t.first, i)
	return nil
}

// place places the first n members so that the reserve is there.
func (t *trial) place(n int) (out []Decision, err error) {
	t.order = t.order[:0]
	for i := range n {
		t.order = append(t.order, i)
	}
	size := make([]float64, len(t.kinds))
	for k, a := range t.kinds {
		size[k] = t.size(a)
	}
	slices.SortStableFunc(t.order, func(a, b int) int {
		x, y := t.kindOf[a], t.kindOf[b]
		return cmp.Or(cmp.Compare(size[y], size[x]), cmp.Compare(x, y))
	})
	defer t.restore()
	var short *GangRefusal // of the reserve
	for {
		t.placed, t.steps, t.stuck = t.placed[:0], 0, nil
		ok, _, err := t.fit(t.order, 0, nil)
		if err == nil && !ok {
			if short == nil {
				short = t.stuck
			}
			short.Certain = t.steps < mostTrials && (len(t.gone) == 0 || t.alike())
			return nil, short
		}
		var bad *GangRefusal
		if err == nil {
			bad, err = t.reserve()
		}
		if err == nil && bad == nil {
			out = make([]Decision, n)
			for at, i := range t.order {
				out[i] = t.placed[at]
				out[i].Allocation.Resources = out[i].Allocation.Resources.Clone()
			}
		}
		if free := t.free(); err == nil {
			err = free
		}
		if err != nil || bad == nil {
			return out, err
		}
		if short == nil {
			short = bad
		}
		// Of members that are alike a domain is too large to be lost, or not, by how many it could take, and not by how many
		// of the gang it has. So the gang does without it, which helps if the others have room.
		t.without(bad.Domains[0])
	}
}

// size is how much of the pool a request is, in its scarcest class.
func (t *trial) size(a *Ask) float64 {
	most := 0.0
	for _, n := range a.asked {
		if capacity := t.ix.capacity(n.class); capacity > 0 {
			most = max(most, float64(n.amount)/float64(capacity))
		} else {
			most = math.Inf(1)
		}
	}
	return most
}

func (t *trial) alike() bool { return len(t.kinds) == 1 }

// fit places the members from order[i] on. Where it fails, back is the place in the order at which another choice may
// help. Members that are alike try no host that has already failed for one of them.
func (t *trial) fit(order []int, i int, tried []pool.HostID) (ok bool, back int, err error) {
	if i == len(order) {
		return true, 0, nil
	}
	kind := t.kindOf[order[i]]
	a := t.kinds[kind]
	none := len(tried) == 0
	for {
		if t.steps++; t.steps > mostTrials {
			t.miss(order[i], a)
			return false, -1, nil
		}
		var d Decision
		avoid := a.req.Avoid
		a.req.Avoid = append(slices.Clip(avoid), tried...)
		err := t.ix.Choose(a, &d)
		a.req.Avoid = avoid
		switch {
		case errors.Is(err, pool.ErrNoRoom):
			t.miss(order[i], a)
			back = i - 1
			for none && back >= 0 && t.kindOf[order[back]] == kind {
				back-- // wherever they are, no more than these find a place
			}
			return false, back, nil
		case err != nil:
			return false, 0, err
		}
		if err := t.ix.Book(d.Host, &d.Allocation); err != nil {
			return false, 0, err
		}
		t.placed = append(t.placed, d)
		var next []pool.HostID
		if i+1 < len(order) && t.kindOf[order[i+1]] == kind {
			next = tried
		}
		ok, back, err = t.fit(order, i+1, next)
		if ok || err != nil {
			return ok, back, err
		}
		t.placed = t.placed[:len(t.placed)-1]
		if err := t.ix.Free(d.Host, &d.Allocation); err != nil {
			return false, 0, err
		}
		if back < i {
			return false, back, nil
		}
		none, tried = false, append(slices.Clip(tried), d.Host)
	}
}

// miss remembers the first member that finds no place, and why.
func (t *trial) miss(member int, a *Ask) {
	if t.stuck != nil {
		return
	}
	t.stuck = &GangRefusal{Member: member, Placed: len(t.placed), Cause: pool.ErrNoRoom}
	if e, err := t.ix.Explain(a); err == nil && (len(e.Hosts) == 0 || e.Hosts[0].Reason != nil) {
		t.stuck.Cause = &Refusal{e}
	}
}

// free takes back what is placed.
func (t *trial) free() error {
	for i := range t.placed {
		if err := t.ix.Free(t.placed[i].Host, &t.placed[i].Allocation); err != nil {
			return err
		}
	}
	t.placed = t.placed[:0]
	return nil
}

// without takes the hosts of a domain out of the index until restore.
func (t *trial) without(domain string) {
	hosts := t.hostsOf(domain)
	for _, h := range hosts {
		t.ix.Remove(h.ID)
	}
	t.gone = append(t.gone, hosts...)
}

// restore puts back what without has taken out.
func (t *trial) restore() {
	for _, h := range t.gone {
		t.ix.Update(h)
	}
	t.gone = nil
}
