package pool

import "strconv"

// Forgotten is the data of KindForgotten: what is personal to a subject, an instance or a cluster, is no
// longer in any State that has folded this, nor in a Snapshot of one. The event comes before Ledger.Forget,
// which removes it from the history, and a new snapshot after it, which takes the place of one that may
// hold it: berthage.Manager.Forget does all three. Without the event any process that has folded the history
// earlier would bring it back with its next snapshot.
type Forgotten struct {
	Subject string `json:"subject"`
}

// forget drops what the State holds of a subject. A cluster's guest is that of all its members; their
// addresses are their own.
func (s *State) forget(e *Event, subject string) error {
	if subject == "" || len(subject) > MaxSubject {
		return invalid("subject", subject, "1 to "+strconv.Itoa(MaxSubject)+" bytes")
	}
	if i, ok := s.instances.get(InstanceID(subject)); ok {
		n := *i
		n.Spec.Guest, n.Addresses, n.Changed = Guest{}, nil, e.Revision
		s.setInstance(i, &n)
	}
	old, ok := s.clusters.get(ClusterID(subject))
	if !ok {
		return nil
	}
	c := *old
	c.Spec.Guest, c.Changed = Guest{}, e.Revision
	s.clusters.set(c.ID, &c)
	for _, index := range c.Members {
		if i, ok := s.instances.get(s.MemberFor(c.ID, c.Token, index)); ok && i.Cluster == c.ID {
			n := *i
			n.Spec.Guest, n.Changed = Guest{}, e.Revision
			s.setInstance(i, &n)
		}
	}
	return nil
}
