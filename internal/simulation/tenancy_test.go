package simulation_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/quota/showback"
)

// top is the project in which the others lie in worlds of tenants, mostly.
const top = "org"

// owner returns whose the launch of a token is: always the same, and nobody's in worlds without tenants.
func (w *world) owner(token string) string {
	if !w.tenants {
		return ""
	}
	h := fnv.New32a()
	h.Write([]byte(token))
	return []string{"", "u-1", "u-1", "u-2"}[h.Sum32()%4]
}

// tenantAsks are what is asked for in worlds of tenants only.
func (w *world) tenantAsks() []command {
	if !w.tenants {
		return nil
	}
	return append([]command{
		{"set tenant", 3, nil, setTenant},
		{"ask for quota", 2, nil, askQuota},
		{"decide on quota", 2, nil, decideQuota},
		{"set prices", 1, nil, func(w *world) attempt {
			p := w.prices()
			return func(ctx context.Context, m *berthage.Manager) (promise, error) { return nil, m.SetPrices(ctx, p) }
		}},
	}, w.peopleAsks()...)
}

// prices are what an instance and its cores cost, about as much as tenants may spend on what they may have otherwise.
func (w *world) prices() showback.Prices {
	r := w.random
	p := showback.Prices{Currency: "EUR", Rates: showback.Rates{Classes: map[pool.Class]int64{pool.CPU: 8_000 + r.Int64N(5_000), pool.Instances: 1_000}}}
	if r.IntN(2) == 0 {
		p.Drivers = map[string]showback.Rates{driverName: {Classes: map[pool.Class]int64{pool.Memory: 300}}}
	}
	return p
}

// cost is what it costs to hold resources for an instance on a host, reckoned by the prices that the ledger has.
func (m *monitor) cost(host pool.HostID, held pool.Resources) int64 {
	part, _ := m.st.Part(showback.PartName)
	prices := part.(showback.Booked).Prices()
	memory, ok := prices.Drivers[host.Driver()].Classes[pool.Memory]
	if !ok {
		memory = prices.Classes[pool.Memory]
	}
	return prices.Classes[pool.Instances] + (prices.Classes[pool.CPU]*held[pool.CPU]+pool.Core/2)/pool.Core + (memory*held[pool.Memory]+pool.GiB/2)/pool.GiB
}

// tenant returns a project of a world of tenants with limits that are soon reached.
func (w *world) tenant(name string) pool.Project {
	r := w.random
	if name == top {
		return pool.Project{Name: name, Quota: pool.Resources{pool.Instances: int64(9 + r.IntN(9)), pool.CPU: int64(12+r.IntN(10)) * pool.Core, pool.Cost: 140_000 + r.Int64N(60_000)}}
	}
	p := pool.Project{
		Name: name, Parent: top,
		Quota:   pool.Resources{pool.Instances: int64(6 + r.IntN(8)), pool.CPU: int64(8+r.IntN(12)) * pool.Core},
		PerUser: pool.Resources{pool.Instances: int64(3 + r.IntN(5))},
	}
	if r.IntN(2) == 0 {
		p.Quota[pool.Cost], p.PerUser[pool.Cost] = 80_000+r.Int64N(60_000), 50_000+r.Int64N(50_000)
	}
	if r.IntN(2) == 0 {
		p.Users = map[string]pool.Resources{"u-1": {pool.CPU: int64(3+r.IntN(6)) * pool.Core}}
	}
	return p
}

// setTenant changes limits, and where a project lies: in none, in the top one, in its sibling or, if it may, in itself.
func setTenant(w *world) attempt {
	all := append([]string{top}, projects...)
	p := w.tenant(all[w.random.IntN(len(all))])
	if w.random.IntN(3) == 0 {
		p.Parent = append([]string{""}, all...)[w.random.IntN(1+len(all))]
	}
	return w.puts(p)
}

func askQuota(w *world) attempt {
	w.asked++
	n := int64(w.asked)
	a := quota.Ask{Project: projects[n%2], ID: fmt.Sprint("r-", n), Quota: pool.Resources{pool.Instances: 4 + n%12}, Reason: "more to do"}
	if n%3 == 0 {
		a.Owner = "u-1"
	}
	by := []string{"u-1", "u-2", "u-3"}[n%3]
	w.askers[a.ID] = spot{a.Project, by}
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		_, err := m.As(by, "ask for quota").AskQuota(ctx, a)
		return happened("asked", a.Project, a.ID), err
	}
}

func decideQuota(w *world) attempt {
	part, _ := w.monitor.st.Part(quota.PartName)
	for _, q := range part.(quota.Requests).Of("") {
		if q.Status != quota.Open {
			continue
		}
		d := quota.Decision{Project: q.Project, ID: q.ID, Status: []quota.Status{quota.Granted, quota.Granted, quota.Refused, quota.Withdrawn}[w.random.IntN(4)], Reason: "so it is"}
		return func(ctx context.Context, m *berthage.Manager) (promise, error) {
			_, err := m.DecideQuota(ctx, d)
			return happened("decided", d.Project, d.ID), err
		}
	}
	return nil
}

// ofQuotas reports whether an event is one of the requests to raise quotas, which it keeps for the promises.
func (m *monitor) ofQuotas(e *pool.Event) bool {
	if !strings.HasPrefix(e.Kind, quota.PartName+".") {
		return false
	}
	part, _ := m.st.Part(quota.PartName)
	for _, q := range part.(quota.Requests).Of("") {
		m.saw("asked", q.Project, q.ID)
		if q.Status != quota.Open {
			m.saw("decided", q.Project, q.ID)
		}
	}
	return true
}

// scope is what a limit holds for: a project and all below it or, with an owner, what is that owner's in the project itself.
type scope struct{ project, owner string }

// charged adds up, instance by instance, what each scope takes.
func (m *monitor) charged() map[scope]pool.Resources {
	sums := make(map[scope]pool.Resources)
	for i := range m.st.Instances() {
		if !i.Placed() {
			continue
		}
		of := []scope{{i.Project, i.Owner}}
		if i.Owner == "" {
			of = nil
		}
		for name := i.Project; name != ""; {
			of = append(of, scope{name, ""})
			p, ok := m.st.Project(name)
			if !ok {
				m.w.broken(leaks, "project %s, in which %s is, is not there", name, i.ID)
				break
			}
			name = p.Parent
		}
		for _, s := range of {
			if sums[s] == nil {
				sums[s] = make(pool.Resources)
			}
			for c, n := range i.Place.Allocation.Resources {
				sums[s][c] += n
			}
			sums[s][pool.Instances]++
			sums[s][pool.Cost] += m.cost(i.Place.Host, i.Place.Allocation.Resources)
		}
	}
	return sums
}

// charges reports whether an event may add to what is charged, so that limits are to be looked at.
func charges(e *pool.Event) bool {
	switch e.Kind {
	case pool.KindLaunched, pool.KindPlaced, pool.KindResizing, pool.KindProjectPut:
		return true
	}
	return false
}

// limited checks that no limit has been passed: of no class is more charged than there was, and more than is allowed.
func (m *monitor) limited(e *pool.Event, before map[scope]pool.Resources) {
	after := m.charged()
	for s, sum := range after {
		p, ok := m.st.Project(s.project)
		if !ok {
			continue
		}
		for c, n := range sum {
			most, is := p.Quota[c]
			if s.owner != "" {
				if most, is = p.Users[s.owner][c]; !is {
					most, is = p.PerUser[c]
				}
			}
			if is && n > most && n > before[s][c] {
				m.w.broken(leaks, "revision %d, %s: %q in project %s has %d of %d %s", e.Revision, e.Kind, s.owner, s.project, n, most, c)
			}
		}
	}
}

// tenantSums compares what the books say of subtrees and owners with the sums of the instances.
func (m *monitor) tenantSums() {
	sums := m.charged()
	for p := range m.st.Projects() {
		if !p.Total().Equal(sums[scope{p.Name, ""}]) {
			m.w.broken(leaks, "project %s and those in it use %v, their allocations are %v", p.Name, p.Total(), sums[scope{p.Name, ""}])
		}
		for owner, used := range m.st.Owners(p.Name) {
			if !used.Equal(sums[scope{p.Name, owner}]) {
				m.w.broken(leaks, "%s uses %v of project %s, the allocations are %v", owner, used, p.Name, sums[scope{p.Name, owner}])
			}
			delete(sums, scope{p.Name, owner})
		}
	}
	for s := range sums {
		if s.owner != "" {
			m.w.broken(leaks, "the books do not say that %s has something of project %s", s.owner, s.project)
		}
	}
}
