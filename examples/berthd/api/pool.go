package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

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
		"The sums over all hosts per class of resource, and how many hosts and instances there are. With If-None-Match it answers 304 while nothing has changed.")
	huma.Register(a.huma, op, func(_ context.Context, in *struct{ Conditional }) (*poolOutput, error) {
		out := &poolOutput{}
		var totals map[pool.Class]pool.Sum
		err := view(a.c.Manager, func(st *pool.State) error {
			out.ETag = etag(st.Identity(), st.Head())
			if err := in.check(out.ETag); err != nil {
				return err
			}
			totals = st.Totals()
			count(st, &out.Body)
			return nil
		})
		if err != nil {
			return nil, err
		}
		out.Body.Resources = make(map[string]Total, len(totals))
		for c, s := range totals {
			out.Body.Resources[string(c)] = Total(s)
		}
		return out, nil
	})
}

func count(st *pool.State, p *Pool) {
	p.Revision = int64(st.Head())
	p.Hosts = HostCounts{Conditions: map[string]int{}, Zones: map[string]int{}}
	p.Instances = map[string]int{"all": st.InstanceCount()}
	for h := range st.Hosts() {
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
		p.Instances[i.Status()]++
	}
	for range st.Held() {
		p.Held++
	}
	for range st.Clusters() {
		p.Clusters++
	}
	for range st.Projects() {
		p.Projects++
	}
	for range st.Images() {
		p.Images++
	}
	for range st.Flavors() {
		p.Flavors++
	}
}
