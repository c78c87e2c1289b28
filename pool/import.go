package pool

import (
	"iter"
	"slices"
)

// The kinds of event by which a copy of a ledger becomes one of its own.
const (
	KindImported  = "ledger.imported"  // Imported: from this revision on it is another ledger, and calls no driver
	KindConfirmed = "ledger.confirmed" // Confirmed: the machines of its books are its own
)

// Imported is the data of KindImported, which is the first of its batch. Two copies of one ledger would each take
// the other's machines for its own; from this event on the copy has an identity that the original has not.
type Imported struct {
	Ledger string `json:"ledger"` // the new random identity
	From   string `json:"from"`   // the one before
}

// Confirmed is the data of KindConfirmed: somebody's word that nobody else acts on what the books say is ours.
type Confirmed struct {
	Ledger string `json:"ledger"` // whose identity it must be
}

// identity is which ledger a State is of, and which it was a copy of.
type identity struct {
	name        string
	former      []era // oldest first; replaced, never changed
	unconfirmed bool
}

// era is the part of a history that a copy shares with what it was copied from.
type era struct {
	ledger string             // its identity
	last   Revision           // its last revision
	placed map[InstanceID]int // the number of the last placement of every instance that was there at its end
}

// foldImport folds the two kinds.
func (s *State) foldImport(e *Event, payload any) error {
	switch p := payload.(type) {
	case *Imported:
		for ledger := range s.Identities() {
			if p.Ledger == ledger {
				return invalid("ledger", p.Ledger, "an identity that this ledger never had")
			}
		}
		switch {
		case p.Ledger == "":
			return invalid("ledger", p.Ledger, "a random identity")
		case s.identity.name == "" || p.From != s.identity.name:
			return invalid("from", p.From, "the identity before, "+Quote(s.identity.name))
		case e.Index != 0:
			return invalid("index", "", "the first event of its batch")
		}
		end := era{ledger: s.identity.name, last: e.Revision - 1, placed: make(map[InstanceID]int, s.instances.n)}
		var unsent []*Instance
		for id, i := range s.instances.all() {
			end.placed[id] = i.Place.Number
			if i.Placed() && !i.Place.Sent {
				unsent = append(unsent, i)
			}
		}
		for _, i := range unsent { // by us; the original may have gone on
			n := *i
			n.Place.Sent, n.Changed = true, e.Revision
			s.setInstance(i, &n)
		}
		n := len(s.identity.former)
		s.identity = identity{name: p.Ledger, former: append(s.identity.former[:n:n], end), unconfirmed: true}
	case *Confirmed:
		if p.Ledger != s.identity.name {
			return invalid("ledger", p.Ledger, "this ledger's identity, "+Quote(s.identity.name))
		}
		s.identity.unconfirmed = false
	}
	return nil
}

// Confirmed reports whether drivers may be called for these books: always, but for an imported ledger that
// nobody has confirmed yet.
func (s *State) Confirmed() bool { return !s.identity.unconfirmed }

// Identities yields the ledger's identity and then those of the ledgers that it was copied from, the newest
// first. What is derived from an identity is looked for under each of them.
func (s *State) Identities() iter.Seq[string] {
	return func(yield func(string) bool) {
		if s.identity.name == "" || !yield(s.identity.name) {
			return
		}
		for n := len(s.identity.former) - 1; n >= 0; n-- {
			if !yield(s.identity.former[n].ledger) {
				return
			}
		}
	}
}

// LedgerOf returns the identity that the tag of a machine of ours names: the one which the ledger had when the
// machine was placed. Launched is the revision of the instance's launch. A machine whose tag names another one
// was not made by this ledger, not even when it is of an instance in its books: where the original of a copy
// has gone on, it has placed that instance anew.
func (s *State) LedgerOf(m MachineID, launched Revision) string {
	id, n, _ := m.Split()
	for _, f := range s.identity.former {
		if launched > f.last {
			continue
		}
		if last, there := f.placed[id]; !there || n <= last { // what was not there had ended, in both
			return f.ledger
		}
	}
	return s.identity.name
}

// InstanceFor returns the id of the instance that a project's token stands for: of one that is there or has been,
// also since before an import, or else the one that a launch would get now.
func (s *State) InstanceFor(project, token string) InstanceID {
	return s.idFor(func(ledger string) InstanceID { return NewInstanceID(ledger, project, token) })
}

// MemberFor is InstanceFor for the member of a cluster, by its index and the token of the cluster's creation.
func (s *State) MemberFor(c ClusterID, token string, index int) InstanceID {
	return s.idFor(func(ledger string) InstanceID { return NewClusterMember(ledger, c, token, index) })
}

// idFor returns the id that the ledger gives now, unless there is one that it has given under a former identity.
func (s *State) idFor(idIn func(ledger string) InstanceID) InstanceID {
	now := idIn(s.identity.name)
	if len(s.identity.former) == 0 || s.has(now) {
		return now
	}
	for _, f := range slices.Backward(s.identity.former) {
		if id := idIn(f.ledger); s.has(id) {
			return id
		}
	}
	return now
}

func (s *State) has(id InstanceID) bool {
	_, there := s.instances.get(id)
	_, ended := s.ended.get(id)
	return there || ended
}
