package simulation_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/pool"
)

// overdue is how long a reservation may be held after its end.
const overdue = 2 * time.Minute

// holding is what the monitor remembers of a reservation's instance.
type holding struct {
	until     time.Time
	ends      time.Time // when it was first seen that the ledger's time was past that
	committed bool
}

// reserveAsks returns the commands of this file.
func (w *world) reserveAsks() []command {
	if !w.reserves {
		return nil
	}
	return []command{
		{"reserve", 22, nil, reserve},
		{"commit", 3, []string{"create"}, func(w *world) attempt {
			return w.ofReservation(func(ctx context.Context, m *berthage.Manager, id pool.InstanceID) (promise, error) {
				_, err := m.Commit(ctx, id)
				return happened("committed", string(id)), err
			})
		}},
		{"release", 1, nil, func(w *world) attempt {
			return w.ofReservation(func(ctx context.Context, m *berthage.Manager, id pool.InstanceID) (promise, error) {
				_, err := m.Release(ctx, id)
				return func(m *monitor) string {
					if _, ended := m.st.Ended(id); !ended {
						return "release " + string(id) + " was accepted, and it is still there"
					}
					return ""
				}, err
			})
		}},
	}
}

// reserve asks for what its token stands for: an instance or a cluster, for some seconds or minutes.
func reserve(w *world) attempt {
	if w.holds++; w.holds > 1 && w.random.IntN(3) == 0 {
		w.holds--
	}
	token := fmt.Sprintf("held-%d", w.holds)
	h := fnv.New64a()
	h.Write([]byte(token))
	r := rand.New(rand.NewPCG(w.seed, h.Sum64()))
	l := w.order(token)
	l.Wait = false
	ask := berthage.Reserve{For: 5*time.Second + time.Duration(r.Int64N(int64(2*time.Minute)))}
	if r.IntN(3) > 0 {
		ask.Launch = &l
	} else {
		ask.Cluster = &berthage.CreateCluster{Token: token, Project: l.Project, Name: token, Spec: l.Spec, Size: 1 + r.IntN(4), BestEffort: r.IntN(3) == 0}
		if w.rules && r.IntN(2) == 0 {
			ask.Cluster.Spec.Constraints.AntiAffinity = []pool.Affinity{{}}
		} else if r.IntN(3) == 0 {
			ask.Cluster.Spare = 1
		}
	}
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		v, err := m.For(w.owner(token)).Reserve(ctx, ask)
		return func(m *monitor) string {
			if m.holdings[v.ID] == nil {
				return "reservation " + token + " was accepted, and the books do not know it"
			}
			return ""
		}, err
	}
}

// ofReservation asks for something to be done to one that is held or, now and then, was.
func (w *world) ofReservation(try func(context.Context, *berthage.Manager, pool.InstanceID) (promise, error)) attempt {
	i := w.any(func(i *pool.Instance) bool { return i.Phase == pool.Reserved })
	if i == nil || w.random.IntN(6) == 0 {
		i = w.any(func(i *pool.Instance) bool { return w.monitor.holdings[i.ID] != nil })
	}
	if i == nil {
		return nil
	}
	id := i.ID
	if c, ok := w.monitor.st.Cluster(i.Cluster); ok {
		id = w.monitor.st.MemberFor(c.ID, c.Token, c.Members[0])
	}
	return func(ctx context.Context, m *berthage.Manager) (promise, error) { return try(ctx, m, id) }
}

// reserved checks what an event says of a reservation.
func (m *monitor) reserved(e *pool.Event, payload any) {
	switch p := payload.(type) {
	case *pool.Launched:
		if !p.Until.IsZero() {
			m.holdings[p.Instance] = &holding{until: p.Until}
			m.w.count("command: was reserved")
		}
	case *pool.Of:
		if e.Kind != pool.KindCommitted {
			return
		}
		m.saw("committed", string(p.Instance))
		m.w.count("command: was committed")
		h := m.holdings[p.Instance]
		switch {
		case h == nil || h.committed:
			m.w.broken(duplicates, "revision %d: %s was committed, which was not held, or for the second time", e.Revision, p.Instance)
			return
		case !e.Time.Before(h.until):
			m.w.broken(leaks, "revision %d: %s was committed at %v, and held until %v", e.Revision, p.Instance, e.Time, h.until)
		}
		h.committed = true
	case *pool.Lapsed:
		m.w.count(map[bool]string{true: "command: was released", false: "command: has expired"}[p.Released])
		if h := m.holdings[p.Instance]; h == nil || h.committed {
			m.w.broken(leaks, "revision %d: %s lapsed, which was not held", e.Revision, p.Instance)
		}
	}
}

// reservations checks that none is held for long after its end, and that the members of a cluster are reserved together or not.
func (m *monitor) reservations() {
	now := time.Now()
	for i := range m.st.Unsettled() {
		h := m.holdings[i.ID]
		if i.Phase != pool.Reserved || h == nil || m.st.Time().Before(h.until) {
			continue
		}
		if h.ends.IsZero() {
			h.ends = now
		}
		if now.Sub(h.ends) > overdue && now.Sub(m.tookOver) > overdue {
			m.w.broken(leaks, "%s was held until %v and still is at %v", i.ID, h.until, m.st.Time())
			h.ends = now
		}
	}
	for c := range m.st.Clusters() {
		n := 0
		for _, index := range c.Members {
			if i, ok := m.st.Instance(m.st.MemberFor(c.ID, c.Token, index)); ok && i.Phase == pool.Reserved {
				n++
			}
		}
		if n > 0 && n < len(c.Members) {
			m.w.broken(leaks, "of cluster %s %d members are reserved, and %d are not", c.ID, n, len(c.Members)-n)
		}
	}
}
