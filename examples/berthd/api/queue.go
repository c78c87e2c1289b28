package api

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// Waiter is an instance that waits for a place.
type Waiter struct {
	Instance string    `json:"instance" doc:"Id of the instance"`
	Name     string    `json:"name" example:"web-1"`
	Project  string    `json:"project" example:"default"`
	Priority int       `json:"priority"`
	Position int       `json:"position" doc:"From 1, in the order in which they are offered what becomes free, of those that the caller may see"`
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

// queue returns what waits and the caller may know of, numbered as if there were no others.
func (a *api) queue(ctx context.Context) (shown []berthage.Waiter, err error) {
	all := a.c.Manager.Queue()
	err = a.visible(ctx, auth.Queue, func(st *pool.State, shows func(string, string) bool) {
		for _, w := range all {
			if shows(a.waiterLies(st, w)) {
				w.Position = len(shown) + 1
				shown = append(shown, w)
			}
		}
	})
	return shown, err
}

func (a *api) waiterLies(st *pool.State, w berthage.Waiter) (project, owner string) {
	return a.instancePlace(st, w.Instance)
}

func (a *api) registerQueue() {
	register(a, shows(auth.Queue), nowhere, describe("list-queue", http.MethodGet, "/queue", "Instances", "List the queue",
		"Instances that wait for a place, in the order in which they are offered what becomes free: by priority; then one for which a host's room is kept; "+
			"then by what their projects have of the pool, by weight; then by age."),
		func(ctx context.Context, in *Paging) (*pageOutput[Waiter], error) {
			queue, err := a.queue(ctx)
			if err != nil {
				return nil, err
			}
			return list(ctx, a, in, auth.Queue, a.waiterLies, func(*pool.State) iter.Seq[berthage.Waiter] { return slices.Values(queue) },
				func(w berthage.Waiter) string { return fmt.Sprintf("%019d", w.Position) }, waiter)
		})
	register(a, reads(auth.Queue), ofInstance, describe("get-queue-position", http.MethodGet, "/instances/{id}/queue", "Instances", "Get an instance's position in the queue",
		"Where an instance that waits for a place stands, and why it waits now. One that does not wait is not found.", 404),
		func(ctx context.Context, in *InstancePath) (*struct{ Body Waiter }, error) {
			w, err := a.c.Manager.Waiter(in.id())
			if err != nil {
				return nil, problem.From(err)
			}
			queue, err := a.queue(ctx)
			if err != nil {
				return nil, err
			}
			for _, other := range queue {
				if other.Instance == w.Instance {
					w.Position = other.Position
				}
			}
			return &struct{ Body Waiter }{waiter(w)}, nil
		})
}
