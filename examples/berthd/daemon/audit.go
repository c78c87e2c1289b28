package daemon

import (
	"context"
	"fmt"

	"github.com/berthage/berthage/examples/berthd/ledger"
	"github.com/berthage/berthage/examples/berthd/trail"
)

// audit opens what writes down who asks for what, and returns what reads it. The Manager must be there.
func (d *Daemon) audit() (*trail.Reader, error) {
	keys, err := ledger.PrivateKeys(d.config.AuditKeys)
	if err != nil {
		return nil, fmt.Errorf("audit-key: %w", err)
	}
	if d.config.AuditForward != "" {
		d.forward, err = ledger.NewForwarding(d.store, d.config.Data, d.config.AuditForward, d.config.AuditFormat, d.config.AuditCA, d.log)
		if err != nil {
			return nil, fmt.Errorf("audit-forward: %w", err)
		}
	}
	d.trail = &trail.Recorder{Manager: d.manager, Logger: d.log}
	return trail.NewReader(d.store, keys...), nil
}

// forwarding sends the audit log until ctx ends.
func (d *Daemon) forwarding(ctx context.Context) {
	if d.forward == nil {
		return
	}
	if err := d.forward.Run(ctx); err != nil && ctx.Err() == nil {
		d.log.Error("the audit log is not sent any more; berthd audit log sends what is missing", "error", err)
	}
}
