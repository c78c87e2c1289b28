package api

import (
	"context"
	"net/http"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
)

// ProjectBody is a project without its name.
type ProjectBody struct {
	Quota  Amounts `json:"quota" doc:"Limits per class, instances among them; an absent class is not limited, and a limit of 0 allows nothing"`
	Weight int     `json:"weight,omitempty" minimum:"0" maximum:"1000" doc:"Of its share where instances wait for places: with 2 it counts as having half of what it has; 0: 1"`
}

// Project is a tenant.
type Project struct {
	Name      string         `json:"name" example:"default"`
	Quota     []problem.Line `json:"quota" nullable:"false" doc:"Every class that is limited or used: limit, used, free"`
	Weight    int            `json:"weight,omitempty" doc:"Of its share where instances wait for places; absent: 1"`
	Instances int            `json:"instances" doc:"Instances, failed ones included"`
	Revision  int64          `json:"revision" doc:"Of the last change of this record"`
}

func project(p *pool.ProjectRecord) Project {
	return Project{Name: p.Name, Quota: problem.Lines(quota.Report(p)), Weight: p.Weight, Instances: p.Members, Revision: int64(p.Changed)}
}

type projectOutput struct{ Body Project }

func (a *api) registerProjects() {
	register(a, shows(auth.Projects), nowhere, describe("list-projects", http.MethodGet, "/projects", "Projects", "List projects", "Projects by name with their quotas: limit, used, free."),
		func(ctx context.Context, in *Paging) (*pageOutput[Project], error) {
			return list(ctx, a, in, auth.Projects, func(_ *pool.State, p *pool.ProjectRecord) (string, string) { return p.Name, "" }, (*pool.State).Projects, func(p *pool.ProjectRecord) string { return p.Name }, project)
		})
	get := func(name string) (*projectOutput, error) {
		p := view(a.c.Manager, func(st *pool.State) *pool.ProjectRecord {
			p, _ := st.Project(name)
			return p
		})
		if p == nil {
			return nil, missing("project", name)
		}
		return &projectOutput{project(p)}, nil
	}
	register(a, reads(auth.Projects), ofProject, describe("get-project", http.MethodGet, "/projects/{name}", "Projects", "Get a project", "One project with its quota: limit, used, free.", 404),
		func(_ context.Context, in *Named) (*projectOutput, error) { return get(in.Name) })
	register(a, may(auth.Projects, auth.Update), ofParent, withExample(describe("put-project", http.MethodPut, "/projects/{name}", "Projects", "Add a project or replace its quota",
		"A quota below what is used stops further use only."), ProjectBody{Quota: Amounts{"cpu": 64000, "memory": 256 * pool.GiB, "instances": 50}}),
		func(ctx context.Context, in *struct {
			Named
			Body ProjectBody
		}) (*projectOutput, error) {
			q := in.Body.Quota.resources()
			if q == nil {
				q = pool.Resources{}
			}
			next := pool.Project{Name: in.Name}
			a.c.Manager.View(func(st *pool.State) {
				if old, ok := st.Project(in.Name); ok { // where it lies, and what single users may take, stay
					next = old.Project.Clone()
				}
			})
			next.Quota, next.Weight = q, in.Body.Weight
			if err := a.as(ctx).PutProject(ctx, next); err != nil {
				return nil, problem.From(err)
			}
			return get(in.Name)
		})
	register(a, may(auth.Projects, auth.Delete), ofParent, describe("remove-project", http.MethodDelete, "/projects/{name}", "Projects", "Remove a project", "It must have no instances.", 404, 409),
		func(ctx context.Context, in *Named) (*struct{}, error) {
			return nil, problemOf(a.as(ctx).RemoveProject(ctx, in.Name))
		})
}
