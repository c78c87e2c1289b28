package ring

import (
	"context"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// What the tests reach of the pure parts.

func Plan(i *pool.Instance) string { return string(plan(i)) }

type Knowledge struct {
	SentHere bool
	Unknown  int
	Since    time.Time
}

func (k Knowledge) inner() knowledge {
	return knowledge{sentHere: k.SentHere, unknown: k.Unknown, since: k.Since}
}

func MayCreateAgain(k Knowledge, c hypervisor.Capabilities, listed time.Time) (bool, time.Time) {
	return mayCreateAgain(k.inner(), c, listed)
}

func MayRelease(since time.Time, c hypervisor.Capabilities, listed time.Time) (bool, time.Time) {
	return mayRelease(since, c, listed)
}

func Doubtful(i *pool.Instance, k Knowledge) bool { return doubtful(i, k.inner()) }

func Judge(st *pool.State, m hypervisor.Machine) (stray bool, why string) { return judge(st, m) }

// Report submits the result of a driver call as the leader of that epoch would.
func (r *Ring) Report(ctx context.Context, epoch int64, kind string, machine pool.MachineID, is pool.Power) error {
	_, err := r.submit(ctx, result{epoch: epoch, kind: kind, machine: machine, is: is}, Caller{Actor: self})
	return err
}

func (r *Ring) CatchUp(ctx context.Context) error { return r.catchUp(ctx) }

var ErrDropped = errDropped

// Seen decides on a complete list of a host's machines that has been begun now, and SeenHosts on a driver's of
// its hosts.
func Seen(st *pool.State, host pool.HostID, machines []hypervisor.Machine) ([]pool.Event, error) {
	o := machinesSeen{epoch: st.Epoch(), host: host, head: st.Head(), machines: machines}
	for i := range st.InstancesOn(host) {
		o.expected = append(o.expected, i.ID)
	}
	return o.decide(nil, st)
}

func SeenHosts(st *pool.State, driver string, hosts ...pool.Host) ([]pool.Event, error) {
	return hostsSeen{epoch: st.Epoch(), driver: driver, hosts: hosts}.decide(&rules{}, st)
}

// Wire sends an error across processes and back.
func Wire(err error) *WireError { return (*WireError)(toWire(err)) }

type WireError wireError

func (w *WireError) Err() error { return (*wireError)(w).err() }
