package api

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

// UnknownMachine is a machine on one of our hosts that is not in the books. It is never touched.
type UnknownMachine struct {
	Host      string    `json:"host" example:"sim/node-0001"`
	Native    string    `json:"native" doc:"The hypervisor's own id"`
	Name      string    `json:"name" doc:"The hypervisor's own name"`
	Power     string    `json:"power" enum:"running,stopped,suspended,hibernated"`
	Addresses []string  `json:"addresses" nullable:"false"`
	Resources Amounts   `json:"resources" doc:"As far as known"`
	Ledger    string    `json:"ledger,omitempty" doc:"Identity of the ledger that it is tagged with"`
	Machine   string    `json:"machine,omitempty" doc:"Machine id that it is tagged with"`
	Why       string    `json:"why" doc:"Why it is unknown"`
	Since     time.Time `json:"since" doc:"When it was first seen"`
}

// Held is capacity that is kept for a machine that must not exist but might.
type Held struct {
	Machine   string  `json:"machine" doc:"Id of the machine"`
	Host      string  `json:"host"`
	Resources Amounts `json:"resources"`
	Reason    string  `json:"reason,omitempty"`
}

// unknownAt is where an unknown machine is, by which they are sorted.
func unknownAt(m berthage.UnknownMachine) string { return string(m.Ref.Host) + " " + m.Native }

func unknown(m berthage.UnknownMachine) UnknownMachine {
	out := UnknownMachine{
		Host: string(m.Ref.Host), Native: m.Native, Name: m.Name, Power: string(m.Power), Addresses: m.Addresses,
		Resources: amounts(m.Resources), Ledger: m.Tag.Ledger, Machine: string(m.Tag.Machine), Why: m.Why, Since: m.Since,
	}
	if out.Addresses == nil {
		out.Addresses = []string{}
	}
	return out
}

func held(h *pool.Held) Held {
	return Held{Machine: string(h.Machine), Host: string(h.Host), Resources: amounts(h.Allocation.Resources), Reason: h.Reason}
}

func (a *api) registerMachines() {
	register(a, shows(auth.Machines), nowhere, describe("list-unknown-machines", http.MethodGet, "/unknown-machines", "Machines", "List unknown machines",
		"Machines on our hosts that are not in the books, by host: other people's, or those of another ledger. They are never touched."),
		func(ctx context.Context, in *Paging) (*pageOutput[UnknownMachine], error) {
			seen := slices.Values(a.c.Manager.Unknown())
			return list(ctx, a, in, auth.Machines, inNone, func(*pool.State) iter.Seq[berthage.UnknownMachine] { return seen }, unknownAt, unknown)
		})
	register(a, shows(auth.Machines), nowhere, describe("list-held", http.MethodGet, "/held", "Machines", "List held allocations",
		"Capacity kept for machines whose creation ended in doubt and which may still appear, by machine."),
		func(ctx context.Context, in *Paging) (*pageOutput[Held], error) {
			return list(ctx, a, in, auth.Machines, inNone, (*pool.State).Held, func(h *pool.Held) string { return string(h.Machine) }, held)
		})
	register(a, may(auth.Machines, auth.Operate), nowhere, describe("release-held", http.MethodDelete, "/held/{machine}", "Machines", "Release a held allocation",
		"Your word that the machine can no longer appear: its capacity is given back.", 404),
		func(ctx context.Context, in *struct {
			Machine string `path:"machine" maxLength:"63" doc:"Id of the machine"`
		}) (*struct{}, error) {
			return nil, problemOf(a.as(ctx).ReleaseHeld(ctx, pool.MachineID(in.Machine)))
		})
}
