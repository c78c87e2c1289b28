package ring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/berthage/berthage/pool"
)

// Command is a caller's wish, in the form in which it is handed to the leader of another process: exactly
// one field is set.
type Command struct {
	Launch      *Launch      `json:"launch,omitempty"`
	Power       *SetPower    `json:"power,omitempty"`
	Reboot      *Reboot      `json:"reboot,omitempty"`
	Delete      *Delete      `json:"delete,omitempty"`
	AddHost     *AddHost     `json:"add_host,omitempty"`
	RemoveHost  *RemoveHost  `json:"remove_host,omitempty"`
	Cordon      *Cordon      `json:"cordon,omitempty"`
	Put         *Put         `json:"put,omitempty"`
	Remove      *Remove      `json:"remove,omitempty"`
	ReleaseHeld *ReleaseHeld `json:"release_held,omitempty"`
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

// SetPower wants an instance to run, stop or be suspended.
type SetPower struct {
	Instance pool.InstanceID `json:"instance"`
	Want     pool.Power      `json:"want"`
}

func (c *SetPower) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	i, err := alive(st, c.Instance)
	if err != nil {
		return nil, err
	}
	switch c.Want {
	case pool.Running, pool.Stopped:
	case pool.Suspended:
		if !has(r.capabilities(i.Place.Host).Abilities, "suspend") {
			return nil, &pool.Error{Kind: errors.ErrUnsupported, Field: "power", Value: string(c.Want), Want: "a host that can suspend"}
		}
		if i.Want != pool.Suspended && (i.Phase != pool.Active || i.Is != pool.Running) {
			return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "power", Value: string(c.Want), Want: "a running instance, not one that is " + i.Status()}
		}
	default:
		return nil, invalid("power", string(c.Want), "running, stopped or suspended")
	}
	if i.Want == c.Want {
		return nil, nil
	}
	return one(pool.KindWanted, &pool.Wanted{Instance: c.Instance, Want: c.Want})
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

// alive returns an instance that is neither deleted, being deleted nor failed.
func alive(st *pool.State, id pool.InstanceID) (*pool.Instance, error) {
	i, ok := st.Instance(id)
	if !ok {
		return nil, notFound("instance", string(id))
	}
	if i.Want == pool.Absent || i.Phase == pool.Failed {
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
