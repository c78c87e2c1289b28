package hetzner

import (
	"context"
	"log/slog"
	"time"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"

	"github.com/berthage/berthage/hypervisor"
)

// Console is a way to a machine's screen and keyboard: VNC through a websocket. Whoever has it has the machine, so it
// shows neither address nor password to formatting, logs and JSON; Reveal does.
type Console struct {
	url, password string
	until         time.Time
}

// Reveal returns the websocket's address, whose query is a secret too, and the VNC password.
func (c Console) Reveal() (url, password string) { return c.url, c.password }

// Until is when it can no longer be connected to; what is connected by then goes on.
func (c Console) Until() time.Time { return c.until }

// String says that there is something, and not what.
func (c Console) String() string { return "console until " + c.until.UTC().Format(time.RFC3339) }

// GoString is String, so that %#v shows no more.
func (c Console) GoString() string { return c.String() }

// MarshalText is String, so that JSON shows no more.
func (c Console) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// LogValue is String, so that logs show no more.
func (c Console) LogValue() slog.Value { return slog.StringValue(c.String()) }

// consoleTime is for how long the service takes a connection.
const consoleTime = time.Minute

// Console asks for a way to the screen of a running machine; a machine that does not run is ErrWrongPower. It is no
// hypervisor.Consoler: the service keeps no output of a serial console, and there is no address of a display that
// could be told without a secret in it.
func (d *Driver) Console(ctx context.Context, r hypervisor.Ref) (Console, error) {
	var out Console
	err := d.on(ctx, "console", r, func(c *call, s *hcloud.Server) error {
		if !runs(s) {
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		var got hcloud.ServerRequestConsoleResult
		asked := time.Now()
		err := c.patiently(func() (err error) {
			got, _, err = c.client.Server.RequestConsole(c.ctx, s)
			return err
		})
		if err == nil {
			err = c.follow(got.Action)
		}
		if err == nil && (got.WSSURL == "" || got.Password == "") {
			err = refusef(hypervisor.ErrUnavailable, "the answer has no address or no password")
		}
		c.changed = false // nothing of the machine's
		out = Console{url: got.WSSURL, password: got.Password, until: asked.Add(consoleTime)}
		return err
	})
	if err != nil {
		return Console{}, err
	}
	return out, nil
}
