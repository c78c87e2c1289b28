package api

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// Waiter is an instance that waits for a place.
type Waiter struct {
	Instance string    `json:"instance" doc:"Id of the instance"`
	Name     string    `json:"name" example:"web-1"`
	Project  string    `json:"project" example:"default"`
	Priority int       `json:"priority"`
	Position int       `json:"position" doc:"From 1, in the order in which they are offered what becomes free"`
	Since    time.Time `json:"since"`
	Host     string    `json:"host,omitempty" doc:"Whose room is kept for it" example:"sim/node-0001"`
	Reason   string    `json:"reason,omitempty" doc:"Why it waits: of one instance as it is now, in the list as it was at first"`
}

func waiter(w berthage.Waiter) Waiter {
	return Waiter{
		Instance: string(w.Instance), Name: w.Name, Project: w.Project, Priority: w.Priority,
		Position: w.Position, Since: w.Since, Host: string(w.Host), Reason: w.Reason,
	}
}

func (a *api) registerQueue() {
	huma.Register(a.huma, describe("list-queue", http.MethodGet, "/queue", "Instances", "List the queue",
		"Instances that wait for a place, in the order in which they are offered what becomes free: by priority; then one for which a host's room is kept; "+
			"then by what their projects have of the pool, by weight; then by age."),
		func(ctx context.Context, in *Paging) (*pageOutput[Waiter], error) {
			queue := slices.Values(a.c.Manager.Queue())
			return list(ctx, a, in, func(*pool.State) iter.Seq[berthage.Waiter] { return queue },
				func(w berthage.Waiter) string { return fmt.Sprintf("%019d", w.Position) }, waiter)
		})
	huma.Register(a.huma, describe("get-queue-position", http.MethodGet, "/instances/{id}/queue", "Instances", "Get an instance's position in the queue",
		"Where an instance that waits for a place stands, and why it waits now. One that does not wait is not found.", 404),
		func(_ context.Context, in *InstancePath) (*struct{ Body Waiter }, error) {
			w, err := a.c.Manager.Waiter(in.id())
			if err != nil {
				return nil, problem.From(err)
			}
			return &struct{ Body Waiter }{waiter(w)}, nil
		})
}
