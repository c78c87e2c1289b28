package api

import (
	"context"
	"net/http"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// DrainBody says how a host is to be emptied.
type DrainBody struct {
	Cold   bool   `json:"cold,omitempty" doc:"Leave to stop instances for their move, where they cannot be moved running"`
	Reason string `json:"reason,omitempty" maxLength:"255" doc:"For people" example:"memory module to be replaced"`
}

// ConfirmOffBody is somebody's word that a host is off.
type ConfirmOffBody struct {
	Proof string `json:"proof" minLength:"1" maxLength:"400" doc:"How you know, in one line; it is kept with the host until it is back" example:"power cables pulled by the technician on site"`
}

// Leaver is an instance that is still on a host.
type Leaver struct {
	Instance string `json:"instance" doc:"Id of the instance"`
	Name     string `json:"name"`
	Status   string `json:"status" doc:"Of the instance"`
	To       string `json:"to,omitempty" doc:"Host to which it is being moved"`
	Reason   string `json:"reason,omitempty" doc:"Why it is not being moved, and cannot be now"`
}

func leaver(l berthage.Leaver) Leaver {
	return Leaver{Instance: string(l.Instance), Name: l.Name, Status: l.Status, To: string(l.To), Reason: l.Reason}
}

// registerMaintenance registers what is done to a host that is to be emptied, or that is lost.
func (a *api) registerMaintenance() {
	register(a, may(auth.Hosts, auth.Operate), ofHost, withExample(describe("drain-host", http.MethodPost, "/hosts/{driver}/{host}/drain", "Hosts", "Drain a host",
		"Moves all instances off a host, which takes no new ones, until it is undrained: running where that can be done, and otherwise, with cold, stopped for the move. "+
			"What cannot be moved stays; the list of what is leaving says why. The same again does nothing.", 404), DrainBody{Reason: "memory module to be replaced"}),
		func(ctx context.Context, in *struct {
			HostPath
			Body DrainBody
		}) (*hostOutput, error) {
			if _, err := a.as(ctx).Drain(ctx, in.id(), in.Body.Cold, in.Body.Reason); err != nil {
				return nil, problem.From(err)
			}
			return a.host(in.id())
		})
	register(a, may(auth.Hosts, auth.Operate), ofHost, describe("undrain-host", http.MethodPost, "/hosts/{driver}/{host}/undrain", "Hosts", "Undrain a host",
		"Ends a drain: the host takes instances again. Those that have left it stay where they are.", 404),
		func(ctx context.Context, in *HostPath) (*hostOutput, error) {
			if _, err := a.as(ctx).Undrain(ctx, in.id()); err != nil {
				return nil, problem.From(err)
			}
			return a.host(in.id())
		})
	register(a, reads(auth.Hosts), ofHost, describe("list-leaving", http.MethodGet, "/hosts/{driver}/{host}/leaving", "Hosts", "List what has still to leave a host",
		"The instances that are on a host, by id: where each is being moved, or why it is not. The host is free for maintenance when there are none. Of a host that is not drained it says what would stand in the way.", 404, 422),
		func(ctx context.Context, in *struct {
			HostPath
			Paging
		}) (*pageOutput[Leaver], error) {
			rev := view(a.c.Manager, (*pool.State).Head)
			if _, err := a.host(in.id()); err != nil {
				return nil, err
			}
			found := a.c.Manager.Leaving(in.id())
			out, err := paginate(in.Paging, requestOf(ctx).URL, rev, found, func(l berthage.Leaver) string { return string(l.Instance) }, leaver)
			return out, problemOf(err)
		})
	register(a, may(auth.Hosts, auth.Operate), ofHost, withExample(describe("confirm-host-off", http.MethodPost, "/hosts/{driver}/{host}/confirm-off", "Hosts", "Confirm that a host is off",
		"WARNING: a wrong word runs instances twice, with two machines writing to what they share. Your word that an unreachable host is switched off and will not run what was on it: unless evacuation is never, "+
			"what was wanted running there is made anew of its image on other hosts, and what was on its disks stays behind. "+
			"Look at the machine or at its power supply before you say so; that it does not answer is no proof. Refused (409) while the host can be reached. The same again does nothing.", 404, 409), ConfirmOffBody{Proof: "power cables pulled by the technician on site"}),
		func(ctx context.Context, in *struct {
			HostPath
			Body ConfirmOffBody
		}) (*hostOutput, error) {
			if _, err := a.as(ctx).ConfirmOff(ctx, in.id(), in.Body.Proof); err != nil {
				return nil, problem.From(err)
			}
			return a.host(in.id())
		})
}
