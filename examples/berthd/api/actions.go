package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/operation"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// registerActions registers what is done to an instance that exists.
func (a *api) registerActions() {
	for _, p := range []struct {
		verb, summary, description string
		want                       pool.Power
		kinds                      []operation.Kind
	}{
		{"start", "Start an instance", "Wants it running; one that runs is left alone, and one that is shelved is placed anew.", pool.Running, []operation.Kind{operation.Start, operation.Resume, operation.Unshelve, operation.Launch}},
		{"stop", "Stop an instance", "Asks the guest to shut down, and switches it off when it does not. It keeps its place.", pool.Stopped, []operation.Kind{operation.Stop, operation.Launch}},
		{"suspend", "Suspend an instance", "Keeps a running instance in memory without running it. It keeps its place. Needs the ability suspend.", pool.Suspended, []operation.Kind{operation.Suspend}},
		{"hibernate", "Hibernate an instance", "Keeps the memory of a running instance on disk, so that it takes no memory and no cores of its host. It keeps its place. Needs the ability hibernate.", pool.Hibernated, []operation.Kind{operation.Hibernate}},
		{"resume", "Resume an instance", "Wants a suspended or hibernated instance running again; the same as start.", pool.Running, []operation.Kind{operation.Resume, operation.Start, operation.Launch}},
		{"shelve", "Shelve an instance", "Stops it, puts its disks aside and gives its place back, so that it counts for no quota and no host. Needs the ability shelve.", pool.Shelved, []operation.Kind{operation.Shelve}},
		{"unshelve", "Unshelve an instance", "Places a shelved instance anew, with its disks, and runs it; the same as start. It is refused (409, 403) when there is no room for it.", pool.Running, []operation.Kind{operation.Unshelve, operation.Start, operation.Launch}},
	} {
		op := describe(p.verb+"-instance", http.MethodPost, "/instances/{id}/"+p.verb, "Instances", p.summary, p.description, 403, 404, 409, 501)
		op.DefaultStatus = http.StatusAccepted
		register(a, may(auth.Instances, auth.Use), ofInstance, op, func(ctx context.Context, in *InstancePath) (*acceptedOutput, error) {
			i, err := a.as(ctx).SetPower(ctx, in.id(), p.want)
			if err != nil {
				return nil, problem.From(err)
			}
			return a.accepted(ctx, i, p.kinds[0], func() (operation.Operation, bool) { return a.c.Operations.Newest(i.ID, p.kinds...) })
		})
	}

	op := describe("reboot-instance", http.MethodPost, "/instances/{id}/reboot", "Instances", "Reboot an instance",
		"Restarts the guest of a running instance. Needs the ability reboot. The same Idempotency-Key again is the same reboot.", 404, 409, 501)
	op.DefaultStatus = http.StatusAccepted
	register(a, may(auth.Instances, auth.Use), ofInstance, op, func(ctx context.Context, in *struct {
		InstancePath
		Key string `header:"Idempotency-Key" maxLength:"128" doc:"Once per key"`
	}) (*acceptedOutput, error) {
		t := token(in.Key)
		i, err := a.as(ctx).Reboot(ctx, in.id(), t)
		if err != nil {
			return nil, problem.From(err)
		}
		return a.accepted(ctx, i, operation.Reboot, func() (operation.Operation, bool) { return a.c.Operations.Rebooting(i.ID, t) })
	})

	op = describe("delete-instance", http.MethodDelete, "/instances/{id}", "Instances", "Delete an instance",
		"Wants it gone with everything that its machine has. Its place is free once the machine is known to be gone. Deleting it again is no error.", 404)
	op.DefaultStatus = http.StatusAccepted
	register(a, may(auth.Instances, auth.Delete), ofInstance, op, func(ctx context.Context, in *InstancePath) (*acceptedOutput, error) {
		i, err := a.as(ctx).Delete(ctx, in.id())
		if err != nil {
			return nil, problem.From(err)
		}
		return a.accepted(ctx, i, operation.Delete, func() (operation.Operation, bool) { return a.c.Operations.Get(operation.DeleteID(i.ID)) })
	})
}

// Display is where a graphical console is.
type Display struct {
	URL string `json:"url" doc:"To be reached from the host's own network" example:"vnc://127.0.0.1:5900"`
}

type consoleOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (a *api) registerConsole() {
	op := describe("get-console", http.MethodGet, "/instances/{id}/console", "Instances", "Read the serial console",
		"The newest output of the serial console, as plain text. Needs the ability console.", 404, 409, 501, 502)
	op.Responses = map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
		"text/plain": {Schema: &huma.Schema{Type: "string"}, Example: "web-1 login: "},
	}}}
	register(a, may(auth.Instances, auth.Console), ofInstance, op, func(ctx context.Context, in *struct {
		InstancePath
		Bytes int `query:"bytes" minimum:"1" maximum:"1048576" default:"65536" doc:"At most so many bytes"`
	}) (*consoleOutput, error) {
		b, err := a.c.Manager.ConsoleLog(ctx, in.id(), in.Bytes)
		if err != nil {
			return nil, problem.From(err)
		}
		return &consoleOutput{ContentType: "text/plain; charset=utf-8", Body: b}, nil
	})
	op = describe("get-display", http.MethodGet, "/instances/{id}/display", "Instances", "Find the graphical console",
		"Where the graphical console of a running instance can be reached. Needs the ability console.", 404, 409, 501, 502)
	register(a, may(auth.Instances, auth.Console), ofInstance, op, func(ctx context.Context, in *InstancePath) (*struct{ Body Display }, error) {
		u, err := a.c.Manager.Display(ctx, in.id())
		if err != nil {
			return nil, problem.From(err)
		}
		return &struct{ Body Display }{Display{u}}, nil
	})
}
