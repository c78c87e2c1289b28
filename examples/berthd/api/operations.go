package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/operation"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// Operation is how far a long command has come.
type Operation struct {
	ID        string    `json:"id" example:"launch-i0f8k2m4q6s8v0x2z4b6d8g0j"`
	Kind      string    `json:"kind" enum:"launch,start,stop,suspend,hibernate,resume,shelve,unshelve,reboot,move,resize,rebuild,delete"`
	Instance  string    `json:"instance" doc:"Id of the instance"`
	Name      string    `json:"name" doc:"Of the instance"`
	Project   string    `json:"project"`
	Status    string    `json:"status" enum:"running,done,failed,superseded" doc:"superseded: a later command wants something else"`
	Progress  int       `json:"progress" minimum:"0" maximum:"100" doc:"Percent, by steps and not by time"`
	Step      string    `json:"step,omitempty" doc:"What happened last" example:"creating its machine"`
	Reason    string    `json:"reason,omitempty" doc:"Of a failure"`
	Actor     string    `json:"actor" doc:"Who asked; berthage for what it does by itself, as for a host that is drained or lost"`
	RequestID string    `json:"request_id,omitempty" doc:"Under which request"`
	Revision  int64     `json:"revision" doc:"Of the command in the ledger"`
	Started   time.Time `json:"started"`
	Updated   time.Time `json:"updated"`
}

func operationOf(o operation.Operation) Operation {
	return Operation{
		ID: o.ID, Kind: string(o.Kind), Instance: string(o.Instance), Name: o.Name, Project: o.Project,
		Status: string(o.Status), Progress: o.Progress, Step: o.Step, Reason: o.Reason, Actor: o.Actor,
		RequestID: o.Cause, Revision: int64(o.Revision), Started: o.Started, Updated: o.Updated,
	}
}

type listOperations struct {
	Paging
	Status   string `query:"status" enum:"running,done,failed,superseded" doc:"Only those in this status"`
	Instance string `query:"instance" maxLength:"63" doc:"Only those of this instance"`
	Project  string `query:"project" maxLength:"63" doc:"Only those of this project"`
}

// newest sorts operations by the revision of their command, the last first.
func newest(o operation.Operation) string {
	return fmt.Sprintf("%019d/%s", math.MaxInt64-int64(o.Revision), o.ID)
}

func (a *api) registerOperations() {
	register(a, shows(auth.Operations), nowhere, describe("list-operations", http.MethodGet, "/operations", "Operations", "List operations",
		"All operations that run, and the newest of those that have ended; newest first. They are derived from the ledger.", 422),
		func(ctx context.Context, in *listOperations) (*pageOutput[Operation], error) {
			if err := a.follow(ctx, pool.ErrUnavailable); err != nil {
				return nil, err
			}
			var found []operation.Operation
			keep := func(o *operation.Operation) bool {
				return (in.Status == "" || string(o.Status) == in.Status) &&
					(in.Instance == "" || string(o.Instance) == in.Instance) && (in.Project == "" || o.Project == in.Project)
			}
			err := a.visible(ctx, auth.Operations, func(_ *pool.State, shows func(string, string) bool) {
				found = a.c.Operations.List(func(o *operation.Operation) bool { return keep(o) && shows(o.Project, o.Owner) })
			})
			if err != nil {
				return nil, err
			}
			slices.SortFunc(found, func(x, y operation.Operation) int { return strings.Compare(newest(x), newest(y)) })
			out, err := paginate(in.Paging, requestOf(ctx).URL, a.c.Operations.Head(), found, newest, operationOf)
			return out, problemOf(err)
		})
	register(a, reads(auth.Operations), func(a *api, in *struct {
		ID string `path:"id" maxLength:"128"`
	}) place {
		o, _ := a.c.Operations.Get(in.ID)
		return place{project: o.Project, owner: o.Owner, field: "operation", value: in.ID}
	}, describe("get-operation", http.MethodGet, "/operations/{id}", "Operations", "Get an operation",
		"How far a long command has come. Operations that ended long ago are forgotten; what they did is in the events.", 404),
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"128"`
		}) (*struct{ Body Operation }, error) {
			if err := a.follow(ctx, pool.ErrUnavailable); err != nil {
				return nil, err
			}
			o, ok := a.c.Operations.Get(in.ID)
			if !ok {
				return nil, missing("operation", in.ID)
			}
			return &struct{ Body Operation }{operationOf(o)}, nil
		})
}

// follow waits until the operations know what the books know, so that callers see what they have done. An
// error is of the given kind.
func (a *api) follow(ctx context.Context, kind error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	at := view(a.c.Manager, (*pool.State).Head)
	if err := a.c.Operations.Await(ctx, at); err != nil {
		return problem.From(&pool.Error{Op: "follow the ledger", Kind: kind, Cause: err})
	}
	return nil
}

// Accepted is the answer to a long command.
type Accepted struct {
	Instance  Instance  `json:"instance" doc:"As it was recorded"`
	Operation Operation `json:"operation" doc:"How far the command has come"`
}

type acceptedOutput struct {
	Location string `header:"Location" doc:"Path of the operation"`
	Body     Accepted
}

// accepted answers a command that was committed with the operation that find finds. Kind is what it is of if there is
// none, because nothing was left to be done.
func (a *api) accepted(ctx context.Context, i pool.Instance, kind operation.Kind, find func() (operation.Operation, bool)) (*acceptedOutput, error) {
	// Without it the caller must repeat the command to learn of its operation; it is done once all the same.
	if err := a.follow(ctx, pool.ErrUnknown); err != nil {
		return nil, err
	}
	o, ok := find()
	if !ok { // or it ended so long ago that it is forgotten
		o = operation.Operation{Kind: kind, Instance: i.ID, Name: i.Name, Project: i.Project, Status: operation.Done, Progress: 100, Started: i.At, Updated: i.At}
	}
	out := &acceptedOutput{Body: Accepted{Instance: instance(&i), Operation: operationOf(o)}}
	if ok {
		out.Location = prefix + "/operations/" + o.ID
	}
	return out, nil
}
