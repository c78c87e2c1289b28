package pool

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// snapshotVersion is that of the form below. A snapshot saves folding and holds nothing that the events do not:
// one of another version is not converted but made anew from the archive, and so the number grows with every
// change to a record in it or to what the fold makes of an event.
const snapshotVersion = 1

// snapshot is a State as it is written down. What can be recomputed is left out.
type snapshot struct {
	Version     int                      `json:"version"`
	Ledger      string                   `json:"ledger"`
	Former      []formerLedger           `json:"former,omitempty"`
	Unconfirmed bool                     `json:"unconfirmed,omitempty"`
	Holder      string                   `json:"holder"`
	Epoch       int64                    `json:"epoch"`
	Head        Revision                 `json:"head"`
	Time        time.Time                `json:"time"`
	Hosts       []*HostRecord            `json:"hosts"`
	Removed     map[HostID]Revision      `json:"removed"`
	Instances   []*Instance              `json:"instances"`
	Ended       map[InstanceID]Tombstone `json:"ended"`
	Held        []*Held                  `json:"held"`
	Images      []*Image                 `json:"images"`
	Flavors     []*Flavor                `json:"flavors"`
	Projects    []*ProjectRecord         `json:"projects"`
	Clusters    []*Cluster               `json:"clusters"`
}

// formerLedger is an era.
type formerLedger struct {
	Ledger string             `json:"ledger"`
	Last   Revision           `json:"last"`
	Placed map[InstanceID]int `json:"placed"`
}

// Snapshot returns the State as bytes for Ledger.Compact at its Head, from which Restore makes it again. The same
// books give the same bytes, however they came about. They hold the personal data of what is in the books now:
// after a Forget make another.
func (s *State) Snapshot() ([]byte, error) {
	out := snapshot{
		Version: snapshotVersion, Ledger: s.identity.name, Unconfirmed: s.identity.unconfirmed,
		Holder: s.holder, Epoch: s.epoch, Head: s.head, Time: s.time,
		Hosts:     sorted(&s.hosts),
		Removed:   maps.Collect(s.removed.all()),
		Instances: sorted(&s.instances),
		Ended:     maps.Collect(s.ended.all()),
		Held:      sorted(&s.held),
		Images:    sorted(&s.images),
		Flavors:   sorted(&s.flavors),
		Projects:  sorted(&s.projects),
		Clusters:  sorted(&s.clusters),
	}
	for _, f := range s.identity.former {
		out.Former = append(out.Former, formerLedger{f.ledger, f.last, f.placed})
	}
	return json.Marshal(out)
}

// sorted returns the values of a table by their keys.
func sorted[K ~string, V any](t *table[K, V]) []V {
	entries := maps.Collect(t.all())
	out := make([]V, 0, len(entries))
	for _, k := range slices.SortedFunc(maps.Keys(entries), func(a, b K) int { return strings.Compare(string(a), string(b)) }) {
		out = append(out, entries[k])
	}
	return out
}

// Restore returns the State that a Snapshot was taken of. ErrUnknownKind: it is not of this program's version, and
// the history tells what it would have; ErrInvalid: it is no snapshot, or contradicts itself.
func Restore(b []byte) (*State, error) {
	var version struct{ Version int }
	if err := json.Unmarshal(b, &version); err != nil {
		return nil, &Error{Op: "restore snapshot", Kind: ErrInvalid, Cause: err}
	}
	if version.Version != snapshotVersion {
		return nil, &Error{Op: "restore snapshot", Kind: ErrUnknownKind, Field: "version", Value: number(Revision(version.Version)), Want: number(snapshotVersion)}
	}
	var in snapshot
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	err := dec.Decode(&in)
	if err == nil {
		if _, end := dec.Token(); end != io.EOF {
			err = invalid("snapshot", "", "one JSON value and nothing after it")
		}
	}
	if err != nil {
		return nil, &Error{Op: "restore snapshot", Kind: ErrInvalid, Cause: err}
	}
	s, err := in.state()
	if err != nil {
		return nil, &Error{Op: "restore snapshot", Kind: ErrInvalid, Cause: err}
	}
	return s, nil
}

func (in *snapshot) state() (*State, error) {
	s := NewState()
	s.identity = identity{name: in.Ledger, unconfirmed: in.Unconfirmed}
	for _, f := range in.Former {
		s.identity.former = append(s.identity.former, era{f.Ledger, f.Last, f.Placed})
	}
	s.holder, s.epoch, s.head, s.time = in.Holder, in.Epoch, in.Head, in.Time
	for id, at := range in.Removed {
		s.removed.set(id, at)
	}
	for id, t := range in.Ended {
		s.ended.set(id, t)
	}
	for _, err := range []error{
		fill(&s.hosts, in.Hosts, func(h *HostRecord) HostID { return h.ID }),
		fill(&s.instances, in.Instances, func(i *Instance) InstanceID { return i.ID }),
		fill(&s.held, in.Held, func(h *Held) MachineID { return h.Machine }),
		fill(&s.images, in.Images, func(i *Image) string { return i.Name }),
		fill(&s.flavors, in.Flavors, func(f *Flavor) string { return f.Name }),
		fill(&s.projects, in.Projects, func(p *ProjectRecord) string { return p.Name }),
		fill(&s.clusters, in.Clusters, func(c *Cluster) ClusterID { return c.ID }),
	} {
		if err != nil {
			return nil, err
		}
	}
	for _, h := range in.Hosts {
		if err := s.addTotals([]hostChange{{new: h}}); err != nil {
			return nil, err
		}
	}
	for _, i := range in.Instances {
		s.index(nil, i)
	}
	for _, h := range in.Held {
		s.indexHeld(h)
	}
	return s, nil
}

// fill puts records into an empty table.
func fill[K ~string, V any](t *table[K, *V], records []*V, key func(*V) K) error {
	for _, v := range records {
		if v == nil {
			return invalid("record", "null", "a record")
		}
		if _, twice := t.get(key(v)); twice {
			return invalid("record", string(key(v)), "each record once")
		}
		t.set(key(v), v)
	}
	return nil
}
