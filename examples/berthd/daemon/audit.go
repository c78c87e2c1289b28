package daemon

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/alert"
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
	read := trail.NewReader(d.store, keys...)
	if len(keys) > 0 && d.config.AuditEvery > 0 {
		err = d.signing(read)
	}
	return read, err
}

// AuditHeadsFile is the name of the file in the data directory that has the heads which the daemon has signed by itself.
const AuditHeadsFile = "audit-heads"

// signing has heads signed by themselves, kept, and told to the collector.
func (d *Daemon) signing(read *trail.Reader) (err error) {
	name := d.config.AuditHeads
	if name == "" {
		name = filepath.Join(d.config.Data, AuditHeadsFile)
	}
	if d.heads, err = trail.NewHeads(read, name, d.config.AuditEvery, d.log); err != nil {
		return fmt.Errorf("audit-heads: %w", err)
	}
	d.heads.Failed = d.headFailed
	if d.forward != nil {
		d.heads.Signed = d.forward.Head
	}
	d.metrics.Heads(d.heads.Status)
	return nil
}

// headFailed has it told that no head could be signed.
func (d *Daemon) headFailed(ctx context.Context, why error) error {
	e := berthage.Event{Kind: "audit-head-failed", Severity: alert.High, Title: "No head of the ledger could be signed", Text: why.Error()}
	if trail.Contradicts(why) {
		e.Severity, e.Title = alert.Critical, "The ledger is not the one of which a head was signed"
	}
	err := d.manager.As("berthd", "audit").Messages().Announce(ctx, e)
	if err != nil {
		d.log.Warn("nobody is told that no head could be signed", "error", err)
	}
	return err
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
