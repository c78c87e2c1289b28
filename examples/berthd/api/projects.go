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
	Parent  *string            `json:"parent,omitempty" maxLength:"63" doc:"The project that it lies in, whose limits hold for it too; empty: none; absent: as it is"`
	PerUser Amounts            `json:"per_user,omitempty" doc:"Limits of each owner of instances in the project itself; absent: as they are"`
	Users   map[string]Amounts `json:"users,omitempty" maxProperties:"1000" doc:"Limits of single owners, instead, class by class; absent: as they are"`
	Quota   Amounts            `json:"quota" doc:"Limits per class, instances and cost (millionths an hour) among them, for the project together with those that lie in it; an absent class is not limited, and a limit of 0 allows nothing"`
	Weight  int                `json:"weight,omitempty" minimum:"0" maximum:"1000" doc:"Of its share where instances wait for places: with 2 it counts as having half of what it has; 0: 1"`
}

// Project is a tenant.
type Project struct {
	Parent    string             `json:"parent,omitempty" doc:"The project that it lies in"`
	PerUser   Amounts            `json:"per_user,omitempty" doc:"Limits of each owner of instances in the project itself"`
	Users     map[string]Amounts `json:"users,omitempty" doc:"Limits of single owners, instead, class by class"`
	Name      string             `json:"name" example:"default"`
	Quota     []problem.Line     `json:"quota" nullable:"false" doc:"Every class that is limited or used: limit, used, free"`
	Weight    int                `json:"weight,omitempty" doc:"Of its share where instances wait for places; absent: 1"`
	Instances int                `json:"instances" doc:"Instances, failed ones included"`
	Revision  int64              `json:"revision" doc:"Of the last change of this record"`
}

func project(p *pool.ProjectRecord) Project {
	out := Project{Name: p.Name, Parent: p.Parent, Quota: problem.Lines(quota.Report(p)), Weight: p.Weight, Instances: p.Members, Revision: int64(p.Changed)}
	if len(p.PerUser) > 0 {
		out.PerUser = amounts(p.PerUser)
	}
	for owner, limits := range p.Users {
		if out.Users == nil {
			out.Users = make(map[string]Amounts)
		}
		out.Users[owner] = amounts(limits)
	}
	return out
}

// project returns the project that the body makes of an old one, the zero Project if there is none.
func (b *ProjectBody) project(name string, old pool.Project) pool.Project {
	out := pool.Project{Name: name, Parent: old.Parent, Quota: b.Quota.resources(), Weight: b.Weight, PerUser: old.PerUser, Users: old.Users}
	if b.Parent != nil {
		out.Parent = *b.Parent
	}
	if b.PerUser != nil {
		out.PerUser = b.PerUser.resources()
	}
	if b.Users != nil {
		out.Users = nil
	}
	if out.Quota == nil {
		out.Quota = pool.Resources{}
	}
	for owner, limits := range b.Users {
		if out.Users == nil {
			out.Users = make(map[string]pool.Resources)
		}
		out.Users[owner] = limits.resources()
	}
	return out
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
		"Where it lies and what single users may take stays unless it is said. A quota below what is used stops further use only."), ProjectBody{Quota: Amounts{"cpu": 64000, "memory": 256 * pool.GiB, "instances": 50}}),
		func(ctx context.Context, in *struct {
			Named
			Body ProjectBody
		}) (*projectOutput, error) {
			old := view(a.c.Manager, func(st *pool.State) pool.Project {
				if p, ok := st.Project(in.Name); ok {
					return p.Project.Clone()
				}
				return pool.Project{}
			})
			next := in.Body.project(in.Name, old)
			if next.Parent != old.Parent { // whoever puts it somewhere else may do so there too
				err := a.allow(ctx, may(auth.Projects, auth.Update), func() place {
					return place{project: next.Parent, itself: next.Parent, field: "parent", value: next.Parent}
				})
				if err != nil {
					return nil, err
				}
			}
			if err := a.as(ctx).PutProject(ctx, next); err != nil {
				return nil, problem.OfBody(err)
			}
			return get(in.Name)
		})
	register(a, may(auth.Projects, auth.Delete), ofParent, describe("remove-project", http.MethodDelete, "/projects/{name}", "Projects", "Remove a project", "It must have no instances.", 404, 409),
		func(ctx context.Context, in *Named) (*struct{}, error) {
			return nil, problemOf(a.as(ctx).RemoveProject(ctx, in.Name))
		})
}
