package pool

import (
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unique"
)

// Selector selects instances of the same project, by one of its fields. The zero Selector selects the members of the
// cluster that the instance is a member of.
type Selector struct {
	Instances []InstanceID      `json:"instances,omitempty"` // these, each once
	Labels    map[string]string `json:"labels,omitempty"`    // those with all of these labels in their Spec
	Cluster   string            `json:"cluster,omitempty"`   // the members of the cluster of this name
}

// Own reports whether the selector is for the instance's own cluster.
func (s *Selector) Own() bool { return len(s.Instances) == 0 && len(s.Labels) == 0 && s.Cluster == "" }

// Selects reports whether an instance is selected of which a Peer is known, for an instance of that project and cluster.
// Which are selected by id no Peer tells.
func (s *Selector) Selects(p *Peer, project string, cluster ClusterID) bool {
	switch {
	case p.Project != project:
		return false
	case s.Cluster != "":
		return p.Cluster.Project() == project && p.Cluster.Name() == s.Cluster
	case len(s.Labels) > 0:
		for k, v := range s.Labels {
			if !p.has(k, v) {
				return false
			}
		}
		return true
	}
	return s.Own() && cluster != "" && p.Cluster == cluster
}

func (s *Selector) clone() Selector {
	return Selector{Instances: slices.Clone(s.Instances), Labels: maps.Clone(s.Labels), Cluster: s.Cluster}
}

// String says it to people.
func (s *Selector) String() string {
	switch {
	case s.Cluster != "":
		return "members of cluster " + Quote(s.Cluster)
	case len(s.Labels) > 0:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
			parts = append(parts, Quote(k+"="+s.Labels[k]))
		}
		return "instances with " + strings.Join(parts, ", ")
	case len(s.Instances) == 1:
		return "instance " + Quote(string(s.Instances[0]))
	case len(s.Instances) > 1:
		return strconv.Itoa(len(s.Instances)) + " instances"
	}
	return "members of the same cluster"
}

func (s *Selector) valid() error {
	given := 0
	for _, is := range []bool{len(s.Instances) > 0, len(s.Labels) > 0, s.Cluster != ""} {
		if is {
			given++
		}
	}
	if given > 1 {
		return invalid("", "", "one of instances, labels and cluster, or none of them for the own cluster")
	}
	if len(s.Instances) > 1024 {
		return invalid("instances", strconv.Itoa(len(s.Instances)), "at most 1024")
	}
	var seen map[InstanceID]bool
	for i, id := range s.Instances {
		at := "instances[" + strconv.Itoa(i) + "]"
		if err := id.Valid(); err != nil {
			return InField(at, err)
		}
		if seen[id] { // it would count twice
			return invalid(at, string(id), "each instance once")
		}
		if seen == nil {
			seen = make(map[InstanceID]bool, len(s.Instances))
		}
		seen[id] = true
	}
	if s.Cluster != "" {
		if err := validNameIn("cluster", s.Cluster); err != nil {
			return err
		}
	}
	return ValidLabels(s.Labels)
}

// Own returns which rule is about the members of the instance's own cluster, and so means nothing outside of one; empty if
// none is.
func (c *Constraints) Own() string {
	at := func(name string, i int) string { return name + "[" + strconv.Itoa(i) + "]" }
	for i := range c.Affinity {
		if c.Affinity[i].Own() {
			return at("affinity", i)
		}
	}
	for i := range c.AntiAffinity {
		if c.AntiAffinity[i].Own() {
			return at("anti_affinity", i)
		}
	}
	for i := range c.Spread {
		if c.Spread[i].Own() {
			return at("spread", i)
		}
	}
	return ""
}

// ZoneKey stands for Host.Zone where a failure domain is named by the key of a label.
const ZoneKey = "zone"

// Domain returns which of the failure domains of a key the host is in: the value of that label, of ZoneKey its zone, of
// the empty key the host itself. ok is false if it is in none.
func (h *Host) Domain(key string) (value string, ok bool) {
	switch key {
	case "":
		return string(h.ID), true
	case ZoneKey:
		return h.Zone, h.Zone != ""
	}
	value, ok = h.Labels[key]
	return value, ok
}

// Affinity binds an instance to others: near them in Constraints.Affinity, apart from them in Constraints.AntiAffinity. It
// is asked when the instance is placed, moved, or made anew; what is selected is not bound by it.
//
// The first of those that are to be near each other may be anywhere; one that is to be near others, of which none is
// placed, waits for them.
type Affinity struct {
	Selector
	Within string `json:"within,omitempty"` // the domain: key of a host label, or ZoneKey; empty: the host
	Soft   bool   `json:"soft,omitempty"`   // preferred, not required
}

// Spread keeps instances evenly spread: where one is placed there are at most MaxSkew more of those selected than in the
// domain that has fewest, of the domains where it could be placed as far as its other constraints and the hosts'
// conditions go, whether there is room or not.
type Spread struct {
	Selector
	Within  string `json:"within,omitempty"`   // the domain: key of a host label, or ZoneKey; empty: the host
	MaxSkew int    `json:"max_skew,omitempty"` // 0: 1
	Soft    bool   `json:"soft,omitempty"`     // preferred, not required
}

const maxRules = 16 // of each kind in a spec

func cloneAffinity(in []Affinity) []Affinity {
	out := slices.Clone(in)
	for i := range out {
		out[i].Selector = out[i].clone()
	}
	return out
}

func validAffinity(list []Affinity) error {
	if len(list) > maxRules {
		return invalid("", strconv.Itoa(len(list)), "at most "+strconv.Itoa(maxRules))
	}
	for i := range list {
		if err := validRule(i, &list[i].Selector, list[i].Within); err != nil {
			return err
		}
	}
	return nil
}

func validSpread(list []Spread) error {
	if len(list) > maxRules {
		return invalid("", strconv.Itoa(len(list)), "at most "+strconv.Itoa(maxRules))
	}
	for i := range list {
		if err := validRule(i, &list[i].Selector, list[i].Within); err != nil {
			return err
		}
		if n := list[i].MaxSkew; n < 0 || n > 1_000_000 {
			return invalid("["+strconv.Itoa(i)+"].max_skew", strconv.Itoa(n), "0 to 1000000")
		}
	}
	return nil
}

func validRule(i int, s *Selector, within string) error {
	at := "[" + strconv.Itoa(i) + "]"
	if err := s.valid(); err != nil {
		return InField(at, err)
	}
	if within != "" {
		if err := validLabel(within, ""); err != nil {
			return InField(at+".within", err)
		}
	}
	return nil
}

// Peer is what a Selector can know an instance by. Instances whose Peers are equal are alike to all of them.
type Peer struct {
	Project string
	Cluster ClusterID
	Labels  string // all labels of the Spec in one canonical form
}

// What separates labels in Peer.Labels, and a key from its value; neither can stand in one.
const (
	labelStart = "\x00"
	labelIs    = "\x01"
)

// NewPeer returns the Peer of an instance with those labels.
func NewPeer(project string, cluster ClusterID, labels map[string]string) Peer {
	p := Peer{Project: project, Cluster: cluster}
	if len(labels) == 0 {
		return p
	}
	var b strings.Builder
	b.WriteString(labelStart)
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		b.WriteString(k + labelIs + labels[k] + labelStart)
	}
	p.Labels = b.String()
	return p
}

// has reports whether one of the labels is that. It allocates nothing, as searches ask it often.
func (p *Peer) has(k, v string) bool {
	for rest := p.Labels; rest != ""; {
		var l string
		l, rest, _ = strings.Cut(rest, labelStart)
		if len(l) == len(k)+len(labelIs)+len(v) && l[:len(k)] == k && l[len(k):len(k)+len(labelIs)] == labelIs && l[len(k)+len(labelIs):] == v {
			return true
		}
	}
	return false
}

// All yields the labels in order.
func (p *Peer) All() iter.Seq2[string, string] {
	return func(yield func(k, v string) bool) {
		for l := range strings.SplitSeq(p.Labels, labelStart) {
			if k, v, ok := strings.Cut(l, labelIs); ok && !yield(k, v) {
				return
			}
		}
	}
}

// Compare orders Peers; it is zero where they are equal.
func (p *Peer) Compare(o *Peer) int {
	if c := strings.Compare(p.Project, o.Project); c != 0 {
		return c
	}
	if c := strings.Compare(string(p.Cluster), string(o.Cluster)); c != 0 {
		return c
	}
	return strings.Compare(p.Labels, o.Labels)
}

// Peers is how many instances of one Peer are placed on a host.
type Peers struct {
	Peer  unique.Handle[Peer]
	Count int
}

// meet returns peers, which other records share, with n more of an instance's.
func meet(peers []Peers, i *Instance, n int) []Peers {
	if i.Cluster == "" && len(i.Spec.Labels) == 0 {
		return peers // nothing but its id selects it
	}
	return WithPeers(peers, NewPeer(i.Project, i.Cluster, i.Spec.Labels), n)
}

// WithPeers returns the peers of a record, which are not changed, with n more of one Peer. A count of zero has no entry.
func WithPeers(peers []Peers, p Peer, n int) []Peers {
	at, there := slices.BinarySearchFunc(peers, &p, func(x Peers, p *Peer) int {
		v := x.Peer.Value()
		return v.Compare(p)
	})
	switch {
	case n == 0:
		return peers
	case !there:
		return slices.Insert(slices.Clip(peers), at, Peers{unique.Make(p), n})
	case peers[at].Count+n != 0:
		peers = slices.Clone(peers)
		peers[at].Count += n
		return peers
	case len(peers) == 1:
		return nil
	}
	return slices.Delete(slices.Clone(peers), at, at+1)
}
