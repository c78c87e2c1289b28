package api

import (
	"context"
	"net/http"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/edge"
	"github.com/berthage/berthage/examples/berthd/operation"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// MoveBody says where an instance is to go.
type MoveBody struct {
	Host string `json:"host,omitempty" maxLength:"255" doc:"Id of a host of the same driver; empty: the best one that can take it" example:"sim/node-0002"`
	Cold bool   `json:"cold,omitempty" doc:"Leave to stop it for the move, and to start it again, where it cannot be moved running"`
}

// ResizeBody says what sizes an instance is to have.
type ResizeBody struct {
	Flavor    string  `json:"flavor,omitempty" maxLength:"63" doc:"Name of a flavor; or" example:"large"`
	Resources Amounts `json:"resources,omitempty" doc:"cpu in millicores and memory in bytes; what is not named stays"`
	SetDisks  []Disk  `json:"set_disks,omitempty" maxItems:"16" doc:"Instead of all the others: all disks that it is to have. Those that it has stay as they are; more at the end are attached, empty, and its own beyond the end are removed with what is on them. Needs the ability attach-disk"`
	Disks     []int64 `json:"disks,omitempty" maxItems:"16" doc:"Sizes in bytes of the first disks; 0 stays as it is, and none shrinks"`
	Cold      bool    `json:"cold,omitempty" doc:"Leave to stop it for that, and to start it again, where it cannot be resized running"`
}

// RebuildBody says which machine is lost.
type RebuildBody struct {
	Machine string `json:"machine" minLength:"1" maxLength:"63" doc:"Id of the instance's present machine, so that a repetition does nothing" example:"i0f8k2m4q6s8v0x2z4b6d8g0j-0"`
}

// registerChanges registers what is done to the place, the sizes and the machine of an instance.
func (a *api) registerChanges() {
	op := describe("move-instance", http.MethodPost, "/instances/{id}/move", "Instances", "Move an instance",
		"Moves the machine with its disks to another host of the same driver: as it runs where both hosts can do that, otherwise stopped. Until it is there its place is booked on both. "+
			"If it cannot be moved after all it stays where it is, and the operation says why. Needs the ability migrate or migrate-live; without cold, a running instance needs the latter (501).", 403, 404, 409, 501)
	op.DefaultStatus = http.StatusAccepted
	register(a, may(auth.Instances, auth.Operate), ofInstance, withExample(op, MoveBody{Cold: true}), func(ctx context.Context, in *struct {
		InstancePath
		Body MoveBody
	}) (*acceptedOutput, error) {
		i, err := a.as(ctx).Move(ctx, in.id(), pool.HostID(in.Body.Host), in.Body.Cold)
		if err != nil {
			return nil, problem.OfBodyAt("instance", err)
		}
		return a.changed(ctx, i, operation.Move)
	})

	op = describe("resize-instance", http.MethodPost, "/instances/{id}/resize", "Instances", "Resize an instance",
		"Gives it other sizes on the host that it is on: as it runs where the host can do that, otherwise stopped. Until it is done the larger of both is booked. Disks only grow. "+
			"It is refused (409) when the host has no room: move it first. Needs the ability resize or resize-hot; without cold, a running instance needs the latter (501).", 403, 404, 409, 501)
	op.DefaultStatus = http.StatusAccepted
	register(a, may(auth.Instances, auth.Use), ofInstance, withExample(op, ResizeBody{Flavor: "large", Cold: true}), func(ctx context.Context, in *struct {
		InstancePath
		Body ResizeBody
	}) (*acceptedOutput, error) {
		b := in.Body
		i, err := a.as(ctx).Resize(ctx, berthage.Resize{Instance: in.id(), Flavor: b.Flavor, Resources: b.Resources.resources(), Disks: b.Disks, SetDisks: disks(b.SetDisks), Cold: b.Cold})
		if err != nil {
			return nil, problem.OfBodyAt("instance", err)
		}
		return a.changed(ctx, i, operation.Resize)
	})

	op = describe("rebuild-instance", http.MethodPost, "/instances/{id}/rebuild", "Instances", "Rebuild an instance",
		"Your word that the instance's machine is lost: it is made anew of its image, on whatever host has room. WHAT WAS ON ITS DISKS IS GONE, and should the machine show up again it is destroyed. "+
			"Only for one that is missing or broken, or whose host is known to be off (409).", 403, 404, 409)
	op.DefaultStatus = http.StatusAccepted
	register(a, may(auth.Instances, auth.Use), ofInstance, withExample(op, RebuildBody{Machine: "i0f8k2m4q6s8v0x2z4b6d8g0j-0"}), func(ctx context.Context, in *struct {
		InstancePath
		Body RebuildBody
	}) (*acceptedOutput, error) {
		i, err := a.as(ctx).Rebuild(ctx, in.id(), pool.MachineID(in.Body.Machine))
		if err != nil {
			return nil, problem.From(err)
		}
		return a.accepted(ctx, i, operation.Rebuild, func() (operation.Operation, bool) { return a.c.Operations.Newest(i.ID, operation.Rebuild) })
	})
}

// changed answers a move or a resize: with the operation that this request began, or else, as there was nothing
// left to be done, with the one that is under way or the last that succeeded.
func (a *api) changed(ctx context.Context, i pool.Instance, kind operation.Kind) (*acceptedOutput, error) {
	return a.accepted(ctx, i, kind, func() (operation.Operation, bool) {
		mine, ok := a.c.Operations.Find(i.ID, func(o *operation.Operation) bool { return o.Kind == kind && o.Cause == edge.From(ctx).ID })
		if ok {
			return mine, true
		}
		return a.c.Operations.Find(i.ID, func(o *operation.Operation) bool {
			return o.Kind == kind && (o.Status == operation.Running || o.Status == operation.Done)
		})
	})
}
