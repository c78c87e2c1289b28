package scheduler

import (
	"slices"

	"github.com/berthage/berthage/pool"
)

// likeness is what requests have in common for which one decision can do: those of one flavor.
type likeness struct {
	cores, bytes, disk int64
	disks              int
}

// mostPrepared bounds the decisions that an index keeps.
const mostPrepared = 64

func likenessOf(s *pool.Spec) likeness {
	l := likeness{cores: s.Resources[pool.CPU], bytes: s.Resources[pool.Memory], disks: len(s.Disks)}
	if l.disks > 0 {
		l.disk = s.Disks[0].Size
	}
	return l
}

// prepared returns a decision for a request: one that has been made for a request that is like it, where there is one, which
// also knows where the best host was then.
func (ix *Index) prepared(s *Scheduler, req *Request) (*decision, error) {
	like := likenessOf(&req.Spec)
	d := ix.decisions[like]
	switch {
	case d == nil:
		if len(ix.decisions) >= mostPrepared || ix.decisions == nil {
			ix.decisions = make(map[likeness]*decision)
		}
		d = new(decision)
		ix.decisions[like] = d
	case d.serves(s, req):
		d.req = *req
		return d, s.checkWeights()
	}
	return d, d.prepare(s, *req)
}

// serves reports whether what is prepared is what prepare would prepare for a request.
func (d *decision) serves(s *Scheduler, req *Request) bool {
	kind := req.Spec.Kind
	if kind == "" {
		kind = pool.VM
	}
	if d.scheduler != s || d.demand == nil || d.kind != kind || (d.grouped != nil) != (len(s.Groups) > 0) ||
		!unconstrained(&d.req.Spec.Constraints) || !unconstrained(&req.Spec.Constraints) || !slices.Equal(d.disks, req.Spec.Disks) {
		return false
	}
	n := 0
	for class, amount := range req.Spec.Resources {
		if amount == 0 && class.Valid() == nil {
			continue
		}
		if !slices.ContainsFunc(d.asked, func(a need) bool { return a.class == class && a.amount == amount && !a.ofDisks() }) {
			return false
		}
		n++
	}
	return n == d.plain
}

// unconstrained reports whether constraints ask for nothing.
func unconstrained(c *pool.Constraints) bool {
	return len(c.Hosts)+len(c.Zones)+len(c.Labels)+len(c.Abilities)+len(c.Tolerations)+len(c.SameNode)+
		len(c.Affinity)+len(c.AntiAffinity)+len(c.Spread) == 0
}

// ofDisks reports whether disks ask for it.
func (n *need) ofDisks() bool { return len(n.pieces) > 0 && n.pieces[0].disk >= 0 }
