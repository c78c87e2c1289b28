package ring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Command is a caller's wish, in the form in which it is handed to the leader of another process: exactly
// one field is set.
type Command struct {
	Launch        *Launch        `json:"launch,omitempty"`
	Power         *SetPower      `json:"power,omitempty"`
	Reboot        *Reboot        `json:"reboot,omitempty"`
	Delete        *Delete        `json:"delete,omitempty"`
	AddHost       *AddHost       `json:"add_host,omitempty"`
	RemoveHost    *RemoveHost    `json:"remove_host,omitempty"`
	Cordon        *Cordon        `json:"cordon,omitempty"`
	Put           *Put           `json:"put,omitempty"`
	Remove        *Remove        `json:"remove,omitempty"`
	ReleaseHeld   *ReleaseHeld   `json:"release_held,omitempty"`
	Move          *Move          `json:"move,omitempty"`
	Resize        *Resize        `json:"resize,omitempty"`
	Rebuild       *Rebuild       `json:"rebuild,omitempty"`
	Drain         *Drain         `json:"drain,omitempty"`
	Off           *Off           `json:"off,omitempty"`
	CreateCluster *CreateCluster `json:"create_cluster,omitempty"`
	ScaleCluster  *ScaleCluster  `json:"scale_cluster,omitempty"`
	SteerCluster  *SteerCluster  `json:"steer_cluster,omitempty"`
	ConfirmImport *ConfirmImport `json:"confirm_import,omitempty"`
	Rebalance     *Rebalance     `json:"rebalance,omitempty"`
	Reserve       *Reserve       `json:"reserve,omitempty"`
	Commit        *Commit        `json:"commit,omitempty"`
	Release       *Release       `json:"release,omitempty"`
	ToPart        *ToPart        `json:"to_part,omitempty"`
}

func (c Command) input() (input, error) {
	var in input
	n := 0
	set := func(i input, present bool) {
		if present {
			in, n = i, n+1
		}
	}
	set(c.Launch, c.Launch != nil)
	set(c.Power, c.Power != nil)
	set(c.Reboot, c.Reboot != nil)
	set(c.Delete, c.Delete != nil)
	set(c.AddHost, c.AddHost != nil)
	set(c.RemoveHost, c.RemoveHost != nil)
	set(c.Cordon, c.Cordon != nil)
	set(c.Put, c.Put != nil)
	set(c.Remove, c.Remove != nil)
	set(c.ReleaseHeld, c.ReleaseHeld != nil)
	set(c.Move, c.Move != nil)
	set(c.Resize, c.Resize != nil)
	set(c.Rebuild, c.Rebuild != nil)
	set(c.Drain, c.Drain != nil)
	set(c.Off, c.Off != nil)
	set(c.CreateCluster, c.CreateCluster != nil)
	set(c.ScaleCluster, c.ScaleCluster != nil)
	set(c.SteerCluster, c.SteerCluster != nil)
	set(c.ConfirmImport, c.ConfirmImport != nil)
	set(c.Rebalance, c.Rebalance != nil)
	set(c.Reserve, c.Reserve != nil)
	set(c.Commit, c.Commit != nil)
	set(c.Release, c.Release != nil)
	set(c.ToPart, c.ToPart != nil)
	if n != 1 {
		return nil, invalid("command", "", "exactly one command of a kind that this version knows")
	}
	return in, nil
}

// Do carries a command out: here when this ring leads or nobody does, else through Forward. It returns when
// the command's effect is visible to readers of this ring.
func (r *Ring) Do(ctx context.Context, c Command, who Caller) error {
	in, err := c.input()
	if err != nil {
		return err
	}
	if err := r.staleErr(); err != nil {
		return err
	}
	if l := r.leaderElsewhere(); l != nil && r.cfg.Forward != nil {
		done, err := r.forward(ctx, l.Address, c, who)
		if done {
			return err
		}
		// The leader could not be reached. The command may have been carried out all the same; every command
		// can be repeated, so it is decided here.
		r.log.Info("leaseholder not reached; committing here", "holder", l.Holder, "error", err)
	}
	_, err = r.submit(ctx, in, who)
	return err
}

// SetPower wants an instance to run, stop, be suspended, be hibernated or be shelved.
type SetPower struct {
	Instance pool.InstanceID `json:"instance"`
	Want     pool.Power      `json:"want"`
}

func (c *SetPower) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	i, err := alive(st, c.Instance)
	if err != nil {
		return nil, err
	}
	return r.power(st, i, c.Want, false)
}

// power decides what follows when an instance is wanted otherwise. Ran is remembered for its cluster.
func (r *rules) power(st *pool.State, i *pool.Instance, want pool.Power, ran bool) ([]pool.Event, error) {
	wrong := func(kind error, needs string) ([]pool.Event, error) {
		return nil, &pool.Error{Kind: kind, Field: "power", Value: string(want), Want: needs}
	}
	abilities := r.capabilities(i.Place.Host).Abilities
	switch want {
	case pool.Running, pool.Stopped:
	case pool.Suspended, pool.Hibernated:
		if i.Want != want && (i.Phase != pool.Active || i.Is != pool.Running) {
			return wrong(pool.ErrWrongState, "a running instance, not one that is "+i.Status())
		}
		can, verb := hypervisor.CanSuspend, "suspend"
		if want == pool.Hibernated {
			can, verb = hypervisor.CanHibernate, "hibernate"
		}
		if !has(abilities, string(can)) {
			return wrong(errors.ErrUnsupported, "a host that can "+verb)
		}
	case pool.Shelved:
		if i.Want != want && (i.Phase != pool.Active || i.Is == pool.Absent || i.Fault != "" || i.Move != nil || i.Resize != nil) {
			return wrong(pool.ErrWrongState, "an instance that has a machine and is not being moved or resized, not one that is "+i.Status())
		}
		if !has(abilities, string(hypervisor.CanShelve)) {
			return wrong(errors.ErrUnsupported, "a host that can put disks aside")
		}
	default:
		return wrong(pool.ErrInvalid, "running, stopped, suspended, hibernated or shelved")
	}
	if i.Want == want {
		return nil, nil
	}
	events, err := one(pool.KindWanted, &pool.Wanted{Instance: i.ID, Want: want, Ran: ran})
	switch {
	case err != nil:
		return nil, err
	case i.Want != pool.Shelved:
		return events, nil
	case i.Phase != pool.Aside:
		return wrong(pool.ErrWrongState, "an instance that is not just being shelved")
	}
	d, err := r.again(st, i, r.anew(i, i.Spec, nil))
	if err != nil {
		return nil, err
	}
	placed, err := one(pool.KindPlaced, &pool.Placed{
		Instance: i.ID, Place: pool.Placement{Number: i.Place.Number + 1, Host: d.Host, Allocation: d.Allocation},
	})
	return append(events, placed...), err
}

// Reboot wants a running instance to restart once per token.
type Reboot struct {
	Instance pool.InstanceID `json:"instance"`
	Token    string          `json:"token"`
}

func (c *Reboot) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	i, err := alive(st, c.Instance)
	if err != nil {
		return nil, err
	}
	if err := validToken(c.Token); err != nil {
		return nil, err
	}
	if i.RebootToken == c.Token {
		return nil, nil
	}
	if !has(r.capabilities(i.Place.Host).Abilities, "reboot") {
		return nil, &pool.Error{Kind: errors.ErrUnsupported, Field: "reboot", Want: "a host that can reboot its machines"}
	}
	if i.Phase != pool.Active || i.Is != pool.Running || i.Want != pool.Running {
		return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "reboot", Want: "a running instance, not one that is " + i.Status()}
	}
	return one(pool.KindRebootWanted, &pool.RebootWanted{Instance: c.Instance, Token: c.Token})
}

// Delete wants an instance and everything of its machine gone.
type Delete struct {
	Instance pool.InstanceID `json:"instance"`
}

func (c *Delete) decide(_ *rules, st *pool.State) ([]pool.Event, error) {
	i, ok := st.Instance(c.Instance)
	if !ok {
		if _, ended := st.Ended(c.Instance); ended {
			return nil, nil
		}
		return nil, notFound("instance", string(c.Instance))
	}
	if i.Want == pool.Absent {
		return nil, nil
	}
	if i.Phase == pool.Reserved {
		if i.Cluster != "" {
			return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "instance", Value: string(i.ID), Want: "an instance that is not reserved with others; release them together"}
		}
		return lapse(st, i, true)
	}
	return one(pool.KindWanted, &pool.Wanted{Instance: c.Instance, Want: pool.Absent})
}

// ReleaseHeld is a person's word that the machine of a held allocation can no longer appear.
type ReleaseHeld struct {
	Machine pool.MachineID `json:"machine"`
}

func (c *ReleaseHeld) decide(_ *rules, st *pool.State) ([]pool.Event, error) {
	if _, ok := st.HeldMachine(c.Machine); !ok {
		return nil, notFound("held allocation", string(c.Machine))
	}
	return one(pool.KindReleased, &pool.OfMachine{Machine: c.Machine})
}

// alive returns an instance that is neither deleted, being deleted, failed nor only reserved.
func alive(st *pool.State, id pool.InstanceID) (*pool.Instance, error) {
	i, ok := st.Instance(id)
	if !ok {
		return nil, notFound("instance", string(id))
	}
	if i.Want == pool.Absent || i.Phase == pool.Failed || i.Phase == pool.Reserved {
		return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "instance", Value: string(id), Want: "an instance that is not " + i.Status()}
	}
	return i, nil
}

func has[T ~string](list []T, want string) bool {
	for _, a := range list {
		if string(a) == want {
			return true
		}
	}
	return false
}

// decodeCommand reads what forward wrote. A field that this version does not know is refused: what it asks for
// would be left out.
func decodeCommand(b []byte) (forwarded, error) {
	var f forwarded
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	err := dec.Decode(&f)
	if err == nil {
		if _, end := dec.Token(); end != io.EOF {
			err = errors.New("more than one JSON value")
		}
	}
	if err != nil {
		return f, &pool.Error{Op: "forwarded command", Kind: pool.ErrInvalid, Cause: err}
	}
	return f, nil
}
