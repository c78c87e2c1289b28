package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berthage/berthage/pool"
)

// UnknownMachine is a machine on one of our hosts that is not in the books. It is never touched.
type UnknownMachine struct {
	Host      string    `json:"host" example:"sim/node-0001"`
	Native    string    `json:"native" doc:"The hypervisor's own id"`
	Name      string    `json:"name" doc:"The hypervisor's own name"`
	Power     string    `json:"power" enum:"running,stopped,suspended"`
	Addresses []string  `json:"addresses" nullable:"false"`
	Resources Amounts   `json:"resources" doc:"As far as known"`
	Ledger    string    `json:"ledger,omitempty" doc:"Identity of the ledger that it is tagged with"`
	Machine   string    `json:"machine,omitempty" doc:"Machine id that it is tagged with"`
	Why       string    `json:"why" doc:"Why it is unknown"`
	Since     time.Time `json:"since" doc:"When it was first seen"`
}

// UnknownMachines is the list of them.
type UnknownMachines struct {
	Items []UnknownMachine `json:"items" nullable:"false" doc:"By host and native id"`
}

// Held is capacity that is kept for a machine that must not exist but might.
type Held struct {
	Machine   string  `json:"machine" doc:"Id of the machine"`
	Host      string  `json:"host"`
	Resources Amounts `json:"resources"`
	Reason    string  `json:"reason,omitempty"`
}

// HeldAllocations is the list of them.
type HeldAllocations struct {
	Revision int64  `json:"revision"`
	Items    []Held `json:"items" nullable:"false" doc:"By machine"`
}

func (a *api) registerMachines() {
	huma.Register(a.huma, describe("list-unknown-machines", http.MethodGet, "/unknown-machines", "Machines", "List unknown machines",
		"Machines on our hosts that are not in the books: other people's, or those of another ledger. They are never touched."),
		func(context.Context, *struct{}) (*struct{ Body UnknownMachines }, error) {
			out := &struct{ Body UnknownMachines }{UnknownMachines{Items: []UnknownMachine{}}}
			for _, m := range a.c.Manager.Unknown() {
				u := UnknownMachine{
					Host: string(m.Ref.Host), Native: m.Native, Name: m.Name, Power: string(m.Power), Addresses: m.Addresses,
					Resources: amounts(m.Resources), Ledger: m.Tag.Ledger, Machine: string(m.Tag.Machine), Why: m.Why, Since: m.Since,
				}
				if u.Addresses == nil {
					u.Addresses = []string{}
				}
				out.Body.Items = append(out.Body.Items, u)
			}
			slices.SortFunc(out.Body.Items, func(x, y UnknownMachine) int { return strings.Compare(x.Host+" "+x.Native, y.Host+" "+y.Native) })
			return out, nil
		})
	huma.Register(a.huma, describe("list-held", http.MethodGet, "/held", "Machines", "List held allocations",
		"Capacity kept for machines whose creation ended in doubt and which may still appear."),
		func(context.Context, *struct{}) (*struct{ Body HeldAllocations }, error) {
			out := &struct{ Body HeldAllocations }{HeldAllocations{Items: []Held{}}}
			a.c.Manager.View(func(st *pool.State) {
				out.Body.Revision = int64(st.Head())
				for h := range st.Held() {
					out.Body.Items = append(out.Body.Items, Held{
						Machine: string(h.Machine), Host: string(h.Host), Resources: amounts(h.Allocation.Resources), Reason: h.Reason,
					})
				}
			})
			slices.SortFunc(out.Body.Items, func(x, y Held) int { return strings.Compare(x.Machine, y.Machine) })
			return out, nil
		})
	huma.Register(a.huma, describe("release-held", http.MethodDelete, "/held/{machine}", "Machines", "Release a held allocation",
		"Your word that the machine can no longer appear: its capacity is given back.", 404),
		func(ctx context.Context, in *struct {
			Machine string `path:"machine" maxLength:"63" doc:"Id of the machine"`
		}) (*struct{}, error) {
			return nil, problemOf(a.as(ctx).ReleaseHeld(ctx, pool.MachineID(in.Machine)))
		})
}
