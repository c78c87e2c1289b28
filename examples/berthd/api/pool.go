package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/pool"
)

// Pool is what the fleet has in all.
type Pool struct {
	Revision  int64            `json:"revision" doc:"Of the books that this shows"`
	Resources map[string]Total `json:"resources" doc:"Per class of resource"`
	Hosts     HostCounts       `json:"hosts"`
	Instances map[string]int   `json:"instances" doc:"Number by status; all is their sum"`
	Held      int              `json:"held" doc:"Allocations kept for machines that may still appear"`
	Clusters  int              `json:"clusters"`
	Projects  int              `json:"projects"`
	Images    int              `json:"images"`
	Flavors   int              `json:"flavors"`
}

// Total is one class over all hosts.
type Total struct {
	Total         int64 `json:"total" doc:"Physically there"`
	Reserved      int64 `json:"reserved" doc:"Of that, used by the hosts themselves and by others"`
	Capacity      int64 `json:"capacity" doc:"What instances may take, over-commit included"`
	Used          int64 `json:"used" doc:"What instances and held allocations take"`
	Free          int64 `json:"free" doc:"Capacity not taken, on all hosts"`
	Available     int64 `json:"available" doc:"Capacity not taken, on hosts that accept instances"`
	Overcommitted int64 `json:"overcommitted" doc:"Taken beyond total less reserved, summed over hosts"`
}

// HostCounts counts hosts; one can have several conditions.
type HostCounts struct {
	All         int            `json:"all"`
	Schedulable int            `json:"schedulable" doc:"Those that take new instances"`
	Conditions  map[string]int `json:"conditions" doc:"By condition"`
	Zones       map[string]int `json:"zones" doc:"By zone; those without one under the empty name"`
}

type poolOutput struct {
	ETag string `header:"ETag"`
	Body Pool
}

func (a *api) registerPool() {
	op := describe("get-pool", http.MethodGet, "/pool", "Pool", "Totals of the pool",
		"The sums over all hosts per class of resource, and how many hosts and instances there are, as far as the caller may see them: hosts and sums only for whoever may read hosts. With If-None-Match it answers 304 while nothing has changed.")
	register(a, shows(auth.Instances), nowhere, op, func(ctx context.Context, in *struct{ Conditional }) (*poolOutput, error) {
		out := &poolOutput{}
		var totals map[pool.Class]pool.Sum
		var same error
		who, _ := access.From(ctx)
		err := a.c.Guard.Books().Read(func(st *pool.State) {
			out.ETag = etag(st.Identity(), st.Head())
			if same = in.check(out.ETag); same != nil {
				return
			}
			of := func(r auth.Resource) func(string, string) bool {
				return auth.Of(st).View(access.Projects(st), who.Identity, r, time.Now()).Shows
			}
			if of(auth.Hosts)("", "") {
				totals = st.Totals()
			}
			count(st, &out.Body, of)
		})
		if err := cmp.Or(problemOf(err), same); err != nil {
			return nil, err
		}
		out.Body.Resources = make(map[string]Total, len(totals))
		for c, s := range totals {
			out.Body.Resources[string(c)] = Total(s)
		}
		return out, nil
	})
}

// count counts what may be read.
func count(st *pool.State, p *Pool, of func(auth.Resource) func(project, owner string) bool) {
	p.Revision = int64(st.Head())
	p.Hosts = HostCounts{Conditions: map[string]int{}, Zones: map[string]int{}}
	p.Instances = map[string]int{"all": 0}
	instances, clusters, projects, hosts := of(auth.Instances), of(auth.Clusters), of(auth.Projects), of(auth.Hosts)("", "")
	for h := range st.Hosts() {
		if !hosts {
			break
		}
		p.Hosts.All++
		p.Hosts.Zones[h.Zone]++
		if h.Conditions.Schedulable() {
			p.Hosts.Schedulable++
		}
		for _, c := range h.Conditions.Names() {
			p.Hosts.Conditions[c]++
		}
	}
	for i := range st.Instances() {
		if instances(i.Project, i.Owner) {
			p.Instances["all"]++
			p.Instances[i.Status()]++
		}
	}
	for range st.Held() {
		if hosts {
			p.Held++
		}
	}
	for c := range st.Clusters() {
		if clusters(c.ID.Project(), c.Owner) {
			p.Clusters++
		}
	}
	for x := range st.Projects() {
		if projects(x.Name, "") {
			p.Projects++
		}
	}
	for range st.Images() {
		p.Images++
	}
	for range st.Flavors() {
		p.Flavors++
	}
}
