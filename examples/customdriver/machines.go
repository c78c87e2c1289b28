package customdriver

import (
	"context"
	"fmt"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Create implements hypervisor.Driver. The source of an image is the name of a file in the host's directory images.
func (d *Driver) Create(ctx context.Context, o hypervisor.Order) error {
	if err := possible(o); err != nil {
		return failed("create", o.Ref, hypervisor.ErrInvalid, err)
	}
	return d.do(ctx, request{op: "create", r: o.Ref, spec: specText(o), arg: o.Source, until: time.Now().Add(settles)})
}

// possible reports, as an error, what no host of this driver will ever do.
func possible(o hypervisor.Order) error {
	if err := pool.ValidName(o.Source); err != nil { // it becomes a part of a path
		return pool.InField("source", err)
	}
	return possibleSizes(o)
}

func possibleSizes(o hypervisor.Order) error {
	wrong := func(field, value, want string) error {
		return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
	}
	if err := pool.ValidName(o.Name); err != nil { // it stands between spaces
		return err
	}
	if n := o.Spec.Resources[pool.Memory]; n < 16*pool.MiB {
		return wrong("memory", pool.Memory.Format(n), "16 MiB, in which a shell can run")
	}
	for _, disk := range o.Spec.Disks {
		if disk.Storage.Class() != pool.StorageStandard {
			return wrong("disks", string(disk.Storage), "standard storage")
		}
	}
	return nil
}

// specText is a machine's file spec.
func specText(o hypervisor.Order) string {
	text := fmt.Sprint(o.Revision, o.Spec.Resources[pool.CPU], o.Spec.Resources[pool.Memory])
	text += " " + o.Name
	for _, disk := range o.Spec.Disks {
		text += fmt.Sprint(" ", disk.Size)
	}
	return text
}

// do makes a request that is one call's whole work.
func (d *Driver) do(ctx context.Context, q request) error {
	h, err := d.host(q.op, q.r)
	if err != nil {
		return err
	}
	_, err = h.call(ctx, q)
	return err
}

// Start implements hypervisor.Driver. A suspended machine is resumed.
func (d *Driver) Start(ctx context.Context, r hypervisor.Ref) error {
	return d.do(ctx, request{op: "start", r: r})
}

// Stop implements hypervisor.Driver.
func (d *Driver) Stop(ctx context.Context, r hypervisor.Ref) error {
	h, err := d.host("stop", r)
	if err != nil {
		return err
	}
	force := time.Now().Add(d.grace)
	for sent, signal := false, "TERM"; ; sent = true {
		lines, err := h.call(ctx, request{op: "stop", r: r, arg: signal})
		switch {
		case err != nil && sent:
			// It was asked to end and may do so yet, whatever became of this request.
			return failed("stop", r, hypervisor.ErrUnknown, err)
		case err != nil:
			return err
		}
		if power := find(lines, "power"); len(power) == 1 && power[0] == string(pool.Stopped) {
			return nil
		}
		if signal = "CONT"; time.Now().After(force) { // CONT only looks
			signal = "KILL"
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return failed("stop", r, hypervisor.ErrUnknown, ctx.Err())
		}
	}
}

// Destroy implements hypervisor.Driver.
func (d *Driver) Destroy(ctx context.Context, r hypervisor.Ref) error {
	return d.do(ctx, request{op: "destroy", r: r})
}

// Suspend implements hypervisor.Suspender.
func (d *Driver) Suspend(ctx context.Context, r hypervisor.Ref) error {
	return d.do(ctx, request{op: "suspend", r: r})
}

// Resume implements hypervisor.Suspender.
func (d *Driver) Resume(ctx context.Context, r hypervisor.Ref) error {
	return d.do(ctx, request{op: "resume", r: r})
}

// Resize implements hypervisor.Resizer, of stopped machines.
func (d *Driver) Resize(ctx context.Context, o hypervisor.Order) error {
	if err := possibleSizes(o); err != nil {
		return failed("resize", o.Ref, hypervisor.ErrInvalid, err)
	}
	return d.do(ctx, request{op: "resize", r: o.Ref, spec: specText(o)})
}
