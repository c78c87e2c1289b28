package proxmox

import (
	"context"

	"github.com/berthage/berthage/hypervisor"
)

// OwnVMID is the VMID of a machine where VMIDs follow from machines.
func (c Config) OwnVMID(r hypervisor.Ref) int { return c.ownVMID(r) }

// KindOfAnswer is the kind of error that an answer to a request that changes something becomes.
func KindOfAnswer(status int, text string) error {
	return kindOf(&answerError{status: status, text: text}, true)
}

// KindOfTask is the kind of error that a task that has failed becomes.
func KindOfTask(status string) error { return kindOf(&taskError{status}, true) }

// Mark is what stands in a description, as its parts.
type Mark struct {
	VMID     int
	Tag      hypervisor.Tag
	Revision int64
}

// Describe returns a description.
func (m Mark) Describe() (string, error) {
	return (&mark{VMID: m.VMID, Ledger: m.Tag.Ledger, Machine: string(m.Tag.Machine), Launched: int64(m.Tag.Launched), Revision: m.Revision}).describe()
}

// ReadMark reads a description.
func ReadMark(description string, vmid int) (Mark, bool) {
	m := readMark(description, vmid)
	if m == nil {
		return Mark{}, false
	}
	return Mark{m.VMID, m.tag(), m.Revision}, true
}

// ReplaceMark replaces the mark in a description.
func ReplaceMark(description string, m Mark) (string, error) {
	return replaceMark(description, &mark{VMID: m.VMID, Ledger: m.Tag.Ledger, Machine: string(m.Tag.Machine), Launched: int64(m.Tag.Launched), Revision: m.Revision})
}

// ParseSize reads a size.
func ParseSize(t string) (int64, bool) { return parseSize(t) }

// Disks returns the keys of the disks of a configuration, in the order of the spec's.
func Disks(c map[string]string) []string {
	conf := make(config)
	for k, v := range c {
		conf[k] = text(v)
	}
	var out []string
	for _, d := range conf.disks() {
		out = append(out, d.key)
	}
	return out
}

// WithOption sets an option of a drive.
func WithOption(value, name, to string) string {
	return parseDrive("scsi0", value).with(name, to).String()
}

// Change makes a request that changes something.
func (d *Driver) Change(ctx context.Context, method, path string, p map[string]any) error {
	return d.session(ctx).change(method, path, p, nil)
}

// Do makes a request that starts a task, and waits for it.
func (d *Driver) Do(ctx context.Context, method, path string, p map[string]any) error {
	return d.session(ctx).do(method, path, p)
}

// RootSize is the size of a machine's root disk.
func (d *Driver) RootSize(ctx context.Context, r hypervisor.Ref) (int64, error) {
	var size int64
	err := d.on(ctx, "look at", r, func(_ *session, g *guest) error {
		size = g.conf.disks()[0].size()
		return nil
	})
	return size, err
}
