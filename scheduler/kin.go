package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"unique"

	"github.com/berthage/berthage/pool"
)

// kin is where the instances of one pool.Peer are.
type kin struct {
	peer  pool.Peer
	hosts []kinOn // by slot
}

type kinOn struct {
	slot int32
	n    int32
}

// kinBook knows of all instances that a selector may select where they are, as the hosts' records say.
type kinBook struct {
	all map[unique.Handle[pool.Peer]]*kin
	by  map[string][]*kin // by what a selector can select
}

// keyOfCluster and keyOfLabel name the lists of a kinBook.
func keyOfCluster(id pool.ClusterID) string { return "c" + string(id) }

func keyOfLabel(project, k, v string) string { return "l" + project + "\x00" + k + "\x00" + v }

// keyOfSelector returns the list on which all are that a selector may select; empty if it selects by id alone.
func keyOfSelector(s *pool.Selector, req *Request) string {
	switch {
	case s.Cluster != "":
		return keyOfCluster(pool.NewClusterID(req.Project, s.Cluster))
	case len(s.Labels) > 0:
		k := slices.Min(slices.Collect(maps.Keys(s.Labels)))
		return keyOfLabel(req.Project, k, s.Labels[k])
	case s.Own() && req.Cluster != "":
		return keyOfCluster(req.Cluster)
	}
	return ""
}

func keysOfPeer(p *pool.Peer) []string {
	var keys []string
	if p.Cluster != "" {
		keys = append(keys, keyOfCluster(p.Cluster))
	}
	for k, v := range p.All() {
		keys = append(keys, keyOfLabel(p.Project, k, v))
	}
	return keys
}

// follow brings a host from what it had to what it has.
func (b *kinBook) follow(slot int32, old, new []pool.Peers) {
	for len(old) > 0 || len(new) > 0 {
		order := 0
		switch {
		case len(old) == 0:
			order = 1
		case len(new) == 0:
			order = -1
		case old[0].Peer != new[0].Peer:
			x, y := old[0].Peer.Value(), new[0].Peer.Value()
			order = x.Compare(&y)
		}
		switch {
		case order < 0:
			b.add(slot, old[0].Peer, -old[0].Count)
			old = old[1:]
		case order > 0:
			b.add(slot, new[0].Peer, new[0].Count)
			new = new[1:]
		default:
			if n := new[0].Count - old[0].Count; n != 0 {
				b.add(slot, new[0].Peer, n)
			}
			old, new = old[1:], new[1:]
		}
	}
}

func (b *kinBook) add(slot int32, peer unique.Handle[pool.Peer], n int) {
	k := b.all[peer]
	if k == nil {
		k = &kin{peer: peer.Value()}
		if b.all == nil {
			b.all, b.by = make(map[unique.Handle[pool.Peer]]*kin), make(map[string][]*kin)
		}
		b.all[peer] = k
		for _, key := range keysOfPeer(&k.peer) {
			b.by[key] = append(b.by[key], k)
		}
	}
	at, there := slices.BinarySearchFunc(k.hosts, slot, func(on kinOn, slot int32) int { return cmp.Compare(on.slot, slot) })
	if !there {
		k.hosts = slices.Insert(k.hosts, at, kinOn{slot: slot})
	}
	if k.hosts[at].n += int32(n); k.hosts[at].n == 0 {
		k.hosts = slices.Delete(k.hosts, at, at+1)
	}
	if len(k.hosts) > 0 {
		return
	}
	delete(b.all, peer)
	for _, key := range keysOfPeer(&k.peer) {
		list := b.by[key]
		if i := slices.Index(list, k); len(list) == 1 {
			delete(b.by, key)
		} else {
			list[i] = list[len(list)-1]
			list[len(list)-1] = nil
			b.by[key] = list[:len(list)-1]
		}
	}
}

// Meet counts n more instances of one Peer on a host, or fewer where n is below zero, as Book and Free do with amounts: for
// the rules of those that are placed later. A host that is not there is pool.ErrNotFound, fewer than none
// pool.ErrInvalid.
func (ix *Index) Meet(host pool.HostID, p pool.Peer, n int) error {
	slot, ok := ix.ids[host]
	if !ok {
		return &pool.Error{Kind: pool.ErrNotFound, Field: "host", Value: string(host)}
	}
	e := &ix.entries[slot]
	h := *e.rec
	h.Peers = pool.WithPeers(h.Peers, p, n)
	if slices.ContainsFunc(h.Peers, func(x pool.Peers) bool { return x.Count < 0 }) {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "peers", Value: strconv.Itoa(n), Want: "no fewer than are there"}
	}
	ix.kin.follow(slot, e.rec.Peers, h.Peers)
	e.rec = &h
	ix.touch(e)
	return nil
}

// domains are the hosts of an index by their domain of one key, as long as no host comes, goes, or is said to be another.
type domains struct {
	layout uint64
	hosts  map[string][]int32
}

// domainsOf returns the hosts by domain.
func (ix *Index) domainsOf(key string) map[string][]int32 {
	d := ix.domains[key]
	if d == nil {
		d = new(domains)
		if ix.domains == nil {
			ix.domains = make(map[string]*domains)
		}
		ix.domains[key] = d
	}
	if d.hosts == nil || d.layout != ix.layout {
		d.hosts, d.layout = make(map[string][]int32), ix.layout
		for slot := range ix.entries {
			if h := ix.entries[slot].rec; h != nil {
				if v, ok := h.Domain(key); ok {
					d.hosts[v] = append(d.hosts[v], int32(slot))
				}
			}
		}
	}
	return d.hosts
}

// censusOf is census on the hosts of an index. It costs what there are of those selected, and for a spread the number of
// domains.
func (d *decision) censusOf(ix *Index) {
	for i := range d.rules {
		r := &d.rules[i]
		r.begin()
		if r.key != "" {
			for _, k := range ix.kin.by[r.key] {
				if !r.of.Selects(&k.peer, d.req.Project, d.req.Cluster) {
					continue
				}
				for _, on := range k.hosts {
					r.add(ix.entries[on.slot].rec, int(on.n))
				}
			}
		}
		for _, id := range r.of.Instances {
			for _, at := range d.req.named[id] {
				if slot, ok := ix.ids[at]; ok {
					r.add(ix.entries[slot].rec, 1)
				}
			}
		}
		if slot, ok := ix.ids[d.req.Leaves]; ok && r.mine && r.total > 0 {
			r.add(ix.entries[slot].rec, -1)
		}
		if r.by != BySpread {
			continue
		}
		all := ix.domainsOf(r.within)
		for v, hosts := range all {
			for _, slot := range hosts {
				if d.admits(ix.entries[slot].rec, asItIs).by == "" {
					r.open[v] = 1
					break
				}
			}
		}
		end(r, all)
	}
}
