package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota/showback"
)

// UsageItem is what was held of one class by one kind of instance.
type UsageItem struct {
	Project string `json:"project"`
	Owner   string `json:"owner,omitempty" doc:"Whose instances"`
	Driver  string `json:"driver" doc:"Of the hosts"`
	Flavor  string `json:"flavor,omitempty" doc:"Absent: sizes of their own"`
	Class   string `json:"class" example:"cpu"`
	Held    string `json:"held" doc:"In the unit of the class, times seconds, exactly" example:"7200000"`
	Priced  bool   `json:"priced" doc:"Whether there is a price for it, or that of the flavor covers it"`
	Price   int64  `json:"price" doc:"Per hour and core, GiB, GPU, instance or unit, in millionths of the currency"`
	Cost    int64  `json:"cost" doc:"In millionths of the currency"`
}

// ProjectCost is what the items of a project come to.
type ProjectCost struct {
	Project string `json:"project"`
	Parent  string `json:"parent,omitempty" doc:"In which it lies now"`
	Cost    int64  `json:"cost" doc:"Of the project itself, in millionths of the currency"`
}

// Spent is what was used between two moments, and what it comes to.
type Spent struct {
	From     time.Time     `json:"from"`
	To       time.Time     `json:"to" doc:"Not included"`
	Currency string        `json:"currency" doc:"Empty where there are no prices"`
	Total    int64         `json:"total" doc:"In millionths of the currency"`
	Projects []ProjectCost `json:"projects" nullable:"false" doc:"By name"`
	Items    []UsageItem   `json:"items" nullable:"false"`
	Unpriced []string      `json:"unpriced" nullable:"false" doc:"Classes of which something was used and nothing was charged for want of a price"`
}

type usageInput struct {
	From    time.Time `query:"from" doc:"Beginning; without it that of the ledger" example:"2026-11-01T00:00:00Z"`
	To      time.Time `query:"to" doc:"End; without it now" example:"2026-12-01T00:00:00Z"`
	Project string    `query:"project" maxLength:"63" doc:"Only this project and those that lie in it; without it all that the caller may see"`
}

func (a *api) registerUsage() {
	const said = "For how long how much of each class was held by placed instances, from the ledger, also by those that are gone, and what it costs by the prices that are in the ledger now. It takes as long as reading the ledger of that time."
	register(a, shows(auth.Usage), nowhere, describe("get-project-usage", http.MethodGet, "/project-usage", "Projects", "Usage and cost", said, 404, 410, 422),
		func(ctx context.Context, in *usageInput) (*struct{ Body Spent }, error) {
			b, err := a.bill(ctx, in)
			if err != nil {
				return nil, err
			}
			return &struct{ Body Spent }{a.spent(b)}, nil
		})
	op := describe("export-project-usage", http.MethodGet, "/project-usage.csv", "Projects", "Usage and cost as CSV", said, 404, 410, 422)
	op.Responses = map[string]*huma.Response{"200": {Description: "CSV (RFC 4180) with a line of headings; held is in the unit of the class times seconds, price and cost in millionths", Content: map[string]*huma.MediaType{
		"text/csv": {Schema: &huma.Schema{Type: "string"}},
	}}}
	register(a, shows(auth.Usage), nowhere, op, func(ctx context.Context, in *usageInput) (*struct{ Body func(huma.Context) }, error) {
		b, err := a.bill(ctx, in)
		if err != nil {
			return nil, err
		}
		return &struct{ Body func(huma.Context) }{func(hctx huma.Context) {
			_, w := humago.Unwrap(hctx)
			w.Header().Set("Content-Type", "text/csv; charset=utf-8")
			w.Header().Set("Content-Disposition", `attachment; filename="usage.csv"`)
			_ = b.WriteCSV(w) // a client that is gone needs no answer
		}}, nil
	})
}

// bill measures and prices what the caller may see.
func (a *api) bill(ctx context.Context, in *usageInput) (*showback.Bill, error) {
	if in.Project != "" {
		err := a.allow(ctx, reads(auth.Usage), func() place { return place{project: in.Project, field: "project", value: in.Project} })
		if err == nil {
			err = a.there(in.Project)
		}
		if err != nil {
			return nil, err
		}
	}
	u, err := planned(ctx, a, func(ctx context.Context) (*showback.Usage, error) { return a.c.Manager.Usage(ctx, in.From, in.To) })
	if err != nil {
		return nil, err
	}
	if in.Project != "" {
		within := view(a.c.Manager, func(st *pool.State) map[string]bool {
			out := make(map[string]bool)
			for p := range st.Projects() {
				for up := range st.Above(p.Name) {
					out[p.Name] = out[p.Name] || up.Name == in.Project
				}
			}
			return out
		})
		u = u.Of(func(k showback.Key) bool { return within[k.Project] })
	}
	if err := a.visible(ctx, auth.Usage, func(_ *pool.State, shows func(project, owner string) bool) {
		u = u.Of(func(k showback.Key) bool { return shows(k.Project, k.Owner) })
	}); err != nil {
		return nil, err
	}
	b, err := a.c.Manager.Prices().Bill(u)
	if err != nil {
		return nil, problem.From(err)
	}
	return b, nil
}

func (a *api) spent(b *showback.Bill) Spent {
	out := Spent{From: b.From, To: b.Until, Currency: b.Currency, Total: b.Total, Projects: []ProjectCost{}, Items: make([]UsageItem, len(b.Items)), Unpriced: []string{}}
	for n, i := range b.Items {
		out.Items[n] = UsageItem{i.Project, i.Owner, i.Driver, i.Flavor, string(i.Class), i.Held.String(), i.Priced, i.Price, i.Cost}
	}
	costs := b.Costs()
	parents := view(a.c.Manager, func(st *pool.State) map[string]string {
		out := make(map[string]string)
		for name := range costs {
			if p, ok := st.Project(name); ok {
				out[name] = p.Parent
			}
		}
		return out
	})
	for _, name := range slices.Sorted(maps.Keys(costs)) {
		out.Projects = append(out.Projects, ProjectCost{name, parents[name], costs[name]})
	}
	for _, c := range b.Unpriced {
		out.Unpriced = append(out.Unpriced, string(c))
	}
	return out
}
