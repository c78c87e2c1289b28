package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
)

// QuotaAsk asks for higher limits.
type QuotaAsk struct {
	ID     string  `json:"id" minLength:"1" maxLength:"63" doc:"Your own, for each request in the project; the same again is the same request" example:"more-cores"`
	Owner  string  `json:"owner,omitempty" maxLength:"255" doc:"Whose limits within the project are to be raised; absent: the project's own"`
	Quota  Amounts `json:"quota" doc:"What the limits are to be, of classes that are limited now"`
	Reason string  `json:"reason" minLength:"1" maxLength:"1000" doc:"For whoever decides"`
}

// QuotaRequest is a request for higher limits, and what has become of it.
type QuotaRequest struct {
	Project   string     `json:"project"`
	ID        string     `json:"id" doc:"Within the project"`
	Owner     string     `json:"owner,omitempty"`
	Quota     Amounts    `json:"quota" doc:"What is asked for"`
	Reason    string     `json:"reason"`
	Status    string     `json:"status" enum:"open,granted,refused,withdrawn"`
	By        string     `json:"by" doc:"Who asked"`
	At        time.Time  `json:"at"`
	DecidedBy string     `json:"decided_by,omitempty"`
	DecidedAt *time.Time `json:"decided_at,omitempty"`
	Given     Amounts    `json:"given,omitempty" doc:"Of one that is granted: the limits that were given"`
	Answer    string     `json:"answer,omitempty"`
}

func quotaRequest(q quota.Request) QuotaRequest {
	out := QuotaRequest{
		Project: q.Project, ID: q.ID, Owner: q.Owner, Quota: amounts(q.Quota), Reason: q.Reason, Status: string(q.Status), By: q.By, At: q.At,
		DecidedBy: q.DecidedBy, DecidedAt: moment(q.DecidedAt), Answer: q.Answer,
	}
	if len(q.Given) > 0 {
		out.Given = amounts(q.Given)
	}
	return out
}

// QuotaRequestPath names a request.
type QuotaRequestPath struct {
	Project string `path:"project" maxLength:"63" doc:"Of the project"`
	ID      string `path:"id" maxLength:"63" doc:"Of the request"`
}

// QuotaGrant grants a request.
type QuotaGrant struct {
	Quota  Amounts `json:"quota,omitempty" doc:"Less than was asked for, class by class; absent: all of it"`
	Reason string  `json:"reason,omitempty" maxLength:"1000"`
}

// QuotaRefusal refuses a request.
type QuotaRefusal struct {
	Reason string `json:"reason" minLength:"1" maxLength:"1000" doc:"For whoever asked"`
}

type quotaRequestOutput struct{ Body QuotaRequest }

func (a *api) registerQuotas() {
	register(a, shows(auth.Quotas), nowhere, describe("list-quota-requests", http.MethodGet, "/quota-requests", "Projects", "List requests for higher limits", "Those that are open and those that were decided of late, newest first.", 422),
		func(ctx context.Context, in *struct {
			Paging
			Project string `query:"project" maxLength:"63" doc:"Only those of this project"`
			Status  string `query:"status" enum:"open,granted,refused,withdrawn" doc:"Only those in this status"`
		}) (*pageOutput[QuotaRequest], error) {
			found := slices.DeleteFunc(a.c.Manager.QuotaRequests(in.Project), func(q quota.Request) bool { return in.Status != "" && string(q.Status) != in.Status })
			if err := a.visible(ctx, auth.Quotas, func(_ *pool.State, shows func(project, owner string) bool) {
				found = slices.DeleteFunc(found, func(q quota.Request) bool { return !shows(q.Project, q.By) })
			}); err != nil {
				return nil, err
			}
			key := func(q quota.Request) string { return latest(q.At, q.Project+"/"+q.ID) }
			slices.SortFunc(found, func(x, y quota.Request) int { return strings.Compare(key(x), key(y)) })
			out, err := paginate(in.Paging, requestOf(ctx).URL, a.c.Manager.Status().Revision, found, key, quotaRequest)
			return out, problemOf(err)
		})
	register(a, reads(auth.Quotas), ofQuotaRequest, describe("get-quota-request", http.MethodGet, "/projects/{project}/quota-requests/{id}", "Projects", "Get a request for higher limits", "One request, and what has become of it.", 404),
		func(_ context.Context, in *QuotaRequestPath) (*quotaRequestOutput, error) {
			for _, q := range a.c.Manager.QuotaRequests(in.Project) {
				if q.ID == in.ID {
					return &quotaRequestOutput{quotaRequest(q)}, nil
				}
			}
			return nil, missing("request", in.ID)
		})
	op := withExample(describe("ask-quota", http.MethodPost, "/projects/{project}/quota-requests", "Projects", "Ask for higher limits",
		"The request is open until it is granted, refused or withdrawn.", 404, 409),
		QuotaAsk{ID: "more-cores", Quota: Amounts{"cpu": 128000}, Reason: "the sale in November"})
	op.DefaultStatus = http.StatusCreated
	register(a, may(auth.Quotas, auth.Create), func(_ *api, in *quotaAskInput) place { return inProject(in.Project) }, op, func(ctx context.Context, in *quotaAskInput) (*quotaRequestOutput, error) {
		if err := a.there(in.Project); err != nil {
			return nil, err
		}
		q, err := a.as(ctx).AskQuota(ctx, quota.Ask{Project: in.Project, ID: in.Body.ID, Owner: in.Body.Owner, Quota: in.Body.Quota.resources(), Reason: in.Body.Reason})
		if err != nil {
			return nil, problem.From(err)
		}
		return &quotaRequestOutput{quotaRequest(q)}, nil
	})
	decide := func(ctx context.Context, at QuotaRequestPath, status quota.Status, given Amounts, reason string) (*quotaRequestOutput, error) {
		q, err := a.as(ctx).DecideQuota(ctx, quota.Decision{Project: at.Project, ID: at.ID, Status: status, Quota: given.resources(), Reason: reason})
		if err != nil {
			return nil, problem.From(err)
		}
		return &quotaRequestOutput{quotaRequest(q)}, nil
	}
	register(a, may(auth.Quotas, auth.Update), func(a *api, in *struct {
		QuotaRequestPath
		Body QuotaGrant
	}) place {
		return aboveOf(a, in.QuotaRequestPath)
	}, withExample(describe("grant-quota", http.MethodPost, "/projects/{project}/quota-requests/{id}/grant", "Projects", "Grant higher limits",
		"The limits are raised in the same commit. One that has become higher meanwhile is not lowered.", 404, 409), QuotaGrant{}),
		func(ctx context.Context, in *struct {
			QuotaRequestPath
			Body QuotaGrant
		}) (*quotaRequestOutput, error) {
			return decide(ctx, in.QuotaRequestPath, quota.Granted, in.Body.Quota, in.Body.Reason)
		})
	register(a, may(auth.Quotas, auth.Update), func(a *api, in *struct {
		QuotaRequestPath
		Body QuotaRefusal
	}) place {
		return aboveOf(a, in.QuotaRequestPath)
	}, withExample(describe("refuse-quota", http.MethodPost, "/projects/{project}/quota-requests/{id}/refuse", "Projects", "Refuse higher limits",
		"The reason stands in the request.", 404, 409), QuotaRefusal{Reason: "the budget of this year is spent"}),
		func(ctx context.Context, in *struct {
			QuotaRequestPath
			Body QuotaRefusal
		}) (*quotaRequestOutput, error) {
			return decide(ctx, in.QuotaRequestPath, quota.Refused, nil, in.Body.Reason)
		})
	register(a, may(auth.Quotas, auth.Create), ofQuotaRequest, describe("withdraw-quota", http.MethodPost, "/projects/{project}/quota-requests/{id}/withdraw", "Projects", "Withdraw a request for higher limits",
		"Whoever asked needs it no more.", 404, 409),
		func(ctx context.Context, in *QuotaRequestPath) (*quotaRequestOutput, error) {
			who, _ := access.From(ctx)
			for _, q := range a.c.Manager.QuotaRequests(in.Project) {
				if q.ID == in.ID && q.By != who.Actor { // somebody else's is for whoever could refuse it
					if err := a.allow(ctx, may(auth.Quotas, auth.Update), func() place { return aboveOf(a, *in) }); err != nil {
						return nil, err
					}
				}
			}
			return decide(ctx, *in, quota.Withdrawn, nil, "")
		})
}

type quotaAskInput struct {
	Project string `path:"project" maxLength:"63" doc:"Of the project"`
	Body    QuotaAsk
}

// ofQuotaRequest is of a request, which lies in its project.
func ofQuotaRequest(_ *api, in *QuotaRequestPath) place {
	return place{project: in.Project, field: "project", value: in.Project}
}

// aboveOf is of the limits of a project, which are for those above it to change.
func aboveOf(a *api, in QuotaRequestPath) place {
	at := place{itself: in.Project, field: "project", value: in.Project}
	a.c.Manager.View(func(st *pool.State) {
		if p, ok := st.Project(in.Project); ok {
			at.project = p.Parent
		}
	})
	return at
}

// there returns a problem where there is no such project.
func (a *api) there(name string) error {
	if !view(a.c.Manager, func(st *pool.State) bool { _, ok := st.Project(name); return ok }) {
		return missing("project", name)
	}
	return nil
}
