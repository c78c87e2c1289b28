package robot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Fencer switches dedicated servers off by their power buttons and reads back that they are off. It implements
// hypervisor.Fencer for hosts of any driver.
//
// Only a server whose power the service can tell, and whose power button it can press, can be fenced. For others, which
// is so for many, nothing is done: a reset would stop what runs there, but nobody could see that it had.
type Fencer struct {
	Client  *Client
	Servers map[pool.HostID]int // the number of the server that a host is

	Poll    time.Duration // between two looks, of which the service allows 500 an hour; zero: 10 s
	Timeout time.Duration // until a server is off after its button was pressed; zero: 5 min
}

// Fence implements hypervisor.Fencer. The server has been seen to be off when the service has said so twice, Poll
// apart. The button is pressed once at most, as pressing it again might switch the server on; an answer that is lost
// is not asked for again but looked for in the server's power.
func (f *Fencer) Fence(ctx context.Context, host pool.HostID) (proof string, err error) {
	fail := func(kind, cause error) (string, error) {
		return "", &hypervisor.Error{Op: "fence", Host: host, Kind: kind, Cause: cause}
	}
	number, ok := f.Servers[host]
	if !ok {
		return fail(hypervisor.ErrNotFound, errors.New("no dedicated server is known to be that host"))
	}
	poll, timeout := f.Poll, f.Timeout
	if poll <= 0 {
		poll = 10 * time.Second
	}
	if timeout <= 0 {
		timeout = 5 * time.Minute
	}
	now, err := f.Client.Reset(ctx, number)
	if err != nil {
		return fail(kindOf(err), err)
	}
	pressed := false
	switch now.Status {
	case ShutOff:
	case Running:
		by := ResetPowerLong
		if !slices.Contains(now.Types, ResetPowerLong) {
			by = ResetPower // asks a guest that may not obey; what follows tells
		}
		if !slices.Contains(now.Types, by) {
			return fail(errors.ErrUnsupported, fmt.Errorf("server %d has no power button that can be pressed: its resets %v cannot be seen to have worked", number, now.Types))
		}
		err := f.Client.ExecuteReset(ctx, number, by)
		if err != nil && hypervisor.Nothing(err) {
			return fail(kindOf(err), err)
		}
		pressed = true
	default:
		return fail(errors.ErrUnsupported, fmt.Errorf("the power of server %d cannot be told (%s), so nothing was done", number, pool.Quote(string(now.Status))))
	}
	var seen []time.Time
	if now.Status == ShutOff {
		seen = append(seen, time.Now())
	}
	for deadline := time.Now().Add(timeout); ; {
		if err := pause(ctx, poll); err != nil {
			return fail(hypervisor.ErrUnknown, err)
		}
		now, err := f.Client.Reset(ctx, number)
		switch {
		case errors.Is(err, ErrLocked):
			return fail(hypervisor.ErrUnknown, err)
		case err != nil:
			seen = nil
		case now.Status == ShutOff:
			seen = append(seen, time.Now())
		default:
			seen = nil
		}
		if len(seen) >= 2 {
			how := "was off"
			if pressed {
				how = "was switched off by its power button"
			}
			return fmt.Sprintf("Robot server %d %s: operating status %q at %s and at %s", number, how, ShutOff,
				seen[0].UTC().Format(time.RFC3339Nano), seen[1].UTC().Format(time.RFC3339Nano)), nil
		}
		if time.Now().After(deadline) {
			return fail(hypervisor.ErrUnknown, fmt.Errorf("server %d has not been seen to be off within %v", number, timeout))
		}
	}
}

// kindOf is the kind of a client's error; of a server that is not there, it is not known whether it runs.
func kindOf(err error) error {
	var e *Error
	if errors.As(err, &e) && !errors.Is(e.Kind, hypervisor.ErrNotFound) {
		return e.Kind
	}
	return hypervisor.ErrUnknown
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Guard returns a driver whose hosts are fenced by f, those that f.Servers names, and that has all else from d.
func (f *Fencer) Guard(d hypervisor.Driver) hypervisor.Driver { return &guarded{Driver: d, fencer: f} }

type guarded struct {
	hypervisor.Driver
	fencer *Fencer
}

// Unwrap makes the driver's abilities be found.
func (g *guarded) Unwrap() hypervisor.Driver { return g.Driver }

// Fence implements hypervisor.Fencer.
func (g *guarded) Fence(ctx context.Context, host pool.HostID) (string, error) {
	if _, ok := g.fencer.Servers[host]; ok {
		return g.fencer.Fence(ctx, host)
	}
	if own, ok := hypervisor.As[hypervisor.Fencer](g.Driver); ok {
		return own.Fence(ctx, host)
	}
	return "", &hypervisor.Error{Op: "fence", Host: host, Kind: errors.ErrUnsupported}
}

// Describe implements hypervisor.Describer.
func (g *guarded) Describe(host pool.HostID) hypervisor.Capabilities {
	c := hypervisor.CapabilitiesOf(g.Driver, host)
	if _, ok := g.fencer.Servers[host]; ok && !slices.Contains(c.Abilities, hypervisor.CanFence) {
		c.Abilities = append(slices.Clone(c.Abilities), hypervisor.CanFence)
		slices.Sort(c.Abilities)
	}
	return c
}
