// Package fencing gives drivers a Fencer by commands: a power controller's client (ipmitool, a Redfish script), a switched socket's,
// or whatever an operator trusts to switch a host off and to see that it is off.
//
// It stands between a driver and the Manager: the driver's other abilities are found through it. Drivers that can fence by themselves, such
// as one of a hoster that resets servers, need nothing of this.
package fencing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Command switches one host off. It is run without a shell, with the host's id in the environment variable BERTHAGE_HOST beside the
// process's own environment.
//
// It must end with success only when it has seen that the host is off, also if it was off before, and may say how on its first line of
// output, which becomes the proof in the audit log. Whatever is not success leaves it open whether machines run there, and they stay where they are. A
// command that only asks for power to be cut, and does not look, makes instances run twice.
type Command struct {
	Path    string        // of the program, absolute
	Args    []string      //
	Timeout time.Duration // after which it is killed and counts as failed; zero: one minute
}

// Driver is a driver with fencing by commands. It is safe for concurrent use; of one host's command two may run at the same time.
type Driver struct {
	hypervisor.Driver
	commands map[pool.HostID]Command
}

// Wrap returns d with a Fencer for the hosts that have a command; those that have none are fenced by d itself, if it can. A
// malformed command is pool.ErrInvalid.
func Wrap(d hypervisor.Driver, commands map[pool.HostID]Command) (*Driver, error) {
	out := &Driver{Driver: d, commands: make(map[pool.HostID]Command, len(commands))}
	for _, id := range slices.Sorted(maps.Keys(commands)) {
		c := commands[id]
		field := "fence[" + string(id) + "]"
		switch {
		case id.Valid() != nil:
			return nil, pool.InField(field, id.Valid())
		case !strings.HasPrefix(c.Path, "/"):
			return nil, &pool.Error{Kind: pool.ErrInvalid, Field: field + ".path", Value: c.Path, Want: "the absolute path of a program"}
		case c.Timeout < 0:
			return nil, &pool.Error{Kind: pool.ErrInvalid, Field: field + ".timeout", Value: c.Timeout.String(), Want: "zero or more"}
		case c.Timeout == 0:
			c.Timeout = time.Minute
		}
		c.Args = slices.Clone(c.Args)
		out.commands[id] = c
	}
	return out, nil
}

// Unwrap implements hypervisor.Unwrapper.
func (d *Driver) Unwrap() hypervisor.Driver { return d.Driver }

// Describe implements hypervisor.Describer: what the driver can do, and fencing where there is a command.
func (d *Driver) Describe(host pool.HostID) hypervisor.Capabilities {
	c := hypervisor.CapabilitiesOf(d.Driver, host)
	if _, ok := d.commands[host]; ok && !slices.Contains(c.Abilities, hypervisor.CanFence) {
		c.Abilities = append(slices.Clone(c.Abilities), hypervisor.CanFence)
		slices.Sort(c.Abilities)
	}
	return c
}

// mostOutput bounds what is read of a command's output.
const mostOutput = 4 << 10

// Fence implements hypervisor.Fencer.
func (d *Driver) Fence(ctx context.Context, host pool.HostID) (string, error) {
	fail := func(kind, cause error) (string, error) {
		return "", &hypervisor.Error{Op: "fence", Host: host, Kind: kind, Cause: cause}
	}
	c, ok := d.commands[host]
	if !ok {
		if f, can := hypervisor.As[hypervisor.Fencer](d.Driver); can && hypervisor.Has(d.Driver, host, hypervisor.CanFence) {
			return f.Fence(ctx, host)
		}
		return fail(errors.ErrUnsupported, nil)
	}
	if err := ctx.Err(); err != nil {
		return fail(err, nil)
	}
	within, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	out := &head{most: mostOutput}
	cmd := exec.CommandContext(within, c.Path, c.Args...) // #nosec G204 -- of the configuration; no shell reads it
	cmd.Env = append(os.Environ(), "BERTHAGE_HOST="+string(host))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 5 * time.Second // what it has left running may hold its output open
	err := cmd.Run()
	said := out.line()
	switch {
	case err == nil:
		if said == "" {
			said = "the fencing command says so"
		}
		return said, nil
	case ctx.Err() != nil:
		return fail(ctx.Err(), nil)
	case within.Err() != nil:
		return fail(hypervisor.ErrUnknown, fmt.Errorf("the command had not ended after %s", c.Timeout))
	}
	if said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return fail(hypervisor.ErrUnknown, err)
}

// head keeps the beginning of what is written to it.
type head struct {
	b    bytes.Buffer
	most int
}

func (h *head) Write(p []byte) (int, error) {
	h.b.Write(p[:min(len(p), h.most-h.b.Len())])
	return len(p), nil
}

// line is the first line, as text that can be stored and shown.
func (h *head) line() string {
	first, _, _ := strings.Cut(strings.TrimLeft(h.b.String(), "\r\n"), "\n")
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(first, ""))
	clean = strings.TrimSpace(clean)
	return strings.ToValidUTF8(clean[:min(len(clean), 200)], "")
}
