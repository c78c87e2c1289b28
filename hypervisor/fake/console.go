package fake

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Log implements hypervisor.Consoler.
func (d *Driver) Log(ctx context.Context, r hypervisor.Ref, most int) ([]byte, error) {
	if err := d.offered(hypervisor.CanConsole, OpLog, r); err != nil {
		return nil, err
	}
	var text string
	err := d.act(ctx, OpLog, r, 0, false, func(_ *host, m *machine) error {
		text = m.console(time.Now())
		return nil
	})
	if err != nil {
		return nil, err
	}
	if extra := len(text) - max(most, 0); extra > 0 {
		text = text[extra:]
	}
	return []byte(text), nil
}

// console is what the guest has written on its serial console.
func (m *machine) console(now time.Time) string {
	var b strings.Builder
	for _, n := range m.Console {
		fmt.Fprintf(&b, "[%s] %s: %s\n", n.At.UTC().Format(time.RFC3339), m.Name, n.Text)
	}
	if m.up(now) {
		fmt.Fprintf(&b, "\n%s login: ", m.Name)
	}
	return b.String()
}

// Display implements hypervisor.Consoler. Nothing listens at the address.
func (d *Driver) Display(ctx context.Context, r hypervisor.Ref) (string, error) {
	if err := d.offered(hypervisor.CanConsole, OpDisplay, r); err != nil {
		return "", err
	}
	var out string
	err := d.act(ctx, OpDisplay, r, 0, false, func(_ *host, m *machine) error {
		if m.Power != pool.Running && m.Power != pool.Suspended {
			return wrong(OpDisplay, r, hypervisor.ErrWrongPower, "it does not run")
		}
		out = fmt.Sprintf("vnc://127.0.0.1:%d", 5900+m.Number%10000)
		return nil
	})
	return out, err
}
