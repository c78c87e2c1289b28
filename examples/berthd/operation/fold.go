package operation

import (
	"slices"
	"strconv"

	"github.com/berthage/berthage/pool"
)

// fold notes what one event says about operations.
func (l *Log) fold(e *pool.Event, payload any) {
	switch p := payload.(type) {
	case *pool.Launched:
		in := &instance{name: p.Name, project: p.Project, owner: p.Owner, want: p.Want, is: pool.Absent}
		if p.Cluster != "" {
			in.project, in.owner = p.Cluster.Project(), l.clusters[p.Cluster]
		}
		l.live[p.Instance] = in
		o := l.begin(e, in, p.Instance, Launch, LaunchID(p.Instance))
		o.target, o.Progress, o.Step = p.Want, 10, "placed on "+string(p.Place.Host)
		switch {
		case p.Waits:
			o.Progress, o.Step = 0, "waits for a place"
		case !p.Until.IsZero():
			o.Progress, o.Step = 0, "reserved on "+string(p.Place.Host)
		}
	case *pool.ClusterPut:
		l.clusters[p.Cluster] = p.Owner
	case *pool.ClusterRemoved:
		delete(l.clusters, p.Cluster)
	case *pool.Named:
		if e.Kind == pool.KindProjectRemoved {
			l.leave(p.Name, e.Revision)
		}
	case *pool.Of:
		if e.Kind == pool.KindCommitted {
			l.committed(e, p.Instance)
		}
	case *pool.Lapsed:
		l.lapsed(e, p)
	case *pool.Wanted:
		if in := l.live[p.Instance]; in != nil {
			l.wanted(e, in, p)
		}
	case *pool.RebootWanted:
		if in := l.live[p.Instance]; in != nil {
			o := l.begin(e, in, p.Instance, Reboot, l.numbered(Reboot, p.Instance, e))
			o.token, o.Step = p.Token, "asked for"
		}
	case *pool.OfMachine:
		l.ofMachine(e, p)
	case *pool.Refused:
		if in := l.machine(p.Machine); in != nil {
			in.made = false // given up before it ever ran
		}
		l.step(e, p.Machine, 20, "creation failed and is being undone", p.Reason)
	case *pool.Observed:
		if in := l.machine(p.Machine); in != nil {
			in.is = p.Is
			l.reached(e, in)
		}
	case *pool.Placed:
		if in := l.live[p.Instance]; in != nil {
			l.placed(e, in, p)
		}
	case *pool.Moving:
		if in := l.live[p.Instance]; in != nil {
			o := l.begin(e, in, p.Instance, Move, l.numbered(Move, p.Instance, e))
			o.host, o.Progress, o.Step = p.Host, 10, "to go to "+string(p.Host)
		}
	case *pool.Moved:
		if in := l.machine(p.Machine); in != nil {
			for _, o := range in.running(Move) {
				if o.host == p.Host {
					l.end(e, in, o, Done, "on "+string(p.Host))
				} else {
					l.end(e, in, o, Superseded, "somebody else has moved it to "+string(p.Host))
				}
			}
		}
	case *pool.ResizeWanted:
		if in := l.live[p.Instance]; in != nil {
			o := l.begin(e, in, p.Instance, Resize, l.numbered(Resize, p.Instance, e))
			o.Progress, o.Step = 10, "asked for"
		}
	case *pool.Stayed:
		l.stayed(e, p)
	case *pool.Ended:
		l.ended(e, p)
	}
}

// running returns the open operations of a kind.
func (in *instance) running(k Kind) []*Operation {
	var out []*Operation
	for _, o := range in.open {
		if o.Kind == k {
			out = append(out, o)
		}
	}
	return out
}

// placed folds that an instance is made anew elsewhere: because its creation failed, its disks are taken from where
// they were put aside, or its machine is lost.
func (l *Log) placed(e *pool.Event, in *instance, p *pool.Placed) {
	where := "placed on " + string(p.Place.Host)
	if in.made && in.is != pool.Shelved {
		for _, o := range in.running(Resize) {
			l.end(e, in, o, Done, "made anew with the sizes")
		}
		o := l.begin(e, in, p.Instance, Rebuild, l.numbered(Rebuild, p.Instance, e))
		o.target = in.want
	}
	in.is, in.made = pool.Absent, false
	l.step(e, p.Instance.Machine(p.Place.Number), 10, where, "")
}

// stayed folds that a move or a resize has come to nothing.
func (l *Log) stayed(e *pool.Event, p *pool.Stayed) {
	in := l.machine(p.Machine)
	if in == nil {
		return
	}
	kind, words := Move, "it stays where it is"
	if e.Kind == pool.KindUnresized {
		kind, words = Resize, "it keeps its sizes"
	}
	for _, o := range in.running(kind) {
		o.Reason = p.Reason
		l.end(e, in, o, Failed, words)
	}
}

func (l *Log) numbered(k Kind, id pool.InstanceID, e *pool.Event) string {
	return string(k) + "-" + string(id) + "-" + strconv.FormatInt(int64(e.Revision), 10) + "." + strconv.Itoa(e.Index)
}

func (l *Log) begin(e *pool.Event, in *instance, of pool.InstanceID, k Kind, id string) *Operation {
	o := &Operation{
		ID: id, Kind: k, Instance: of, Name: in.name, Project: in.project, Owner: in.owner, Actor: e.Actor, Cause: e.Cause,
		Status: Running, Revision: e.Revision, Started: e.Time, Updated: e.Time,
	}
	l.all[id] = o
	l.order = append(l.order, o)
	in.open = append(in.open, o)
	return o
}

func (l *Log) end(e *pool.Event, in *instance, o *Operation, s Status, step string) {
	o.Status, o.Step, o.Updated = s, step, e.Time
	if s == Done {
		o.Progress = 100
	}
	in.open = slices.DeleteFunc(in.open, func(x *Operation) bool { return x == o })
}

// machine returns the instance of a machine.
func (l *Log) machine(m pool.MachineID) *instance {
	id, _, _ := m.Split()
	return l.live[id]
}

// committed folds that what was reserved is to be built.
func (l *Log) committed(e *pool.Event, id pool.InstanceID) {
	if in := l.live[id]; in != nil {
		for _, o := range in.open {
			o.Progress, o.Step, o.Updated = 10, "committed", e.Time
		}
	}
}

// lapsed folds that what was reserved is not to be built any more.
func (l *Log) lapsed(e *pool.Event, p *pool.Lapsed) {
	in := l.live[p.Instance]
	if in == nil {
		return
	}
	words := "the reservation has expired"
	if p.Released {
		words = "the reservation was released"
	}
	for _, o := range slices.Clone(in.open) {
		o.Reason = words
		l.end(e, in, o, Failed, words)
	}
	if p.Released { // perhaps by who wants it deleted
		l.end(e, in, l.begin(e, in, p.Instance, Delete, DeleteID(p.Instance)), Done, "it had no machine")
	}
	delete(l.live, p.Instance)
}

func (l *Log) wanted(e *pool.Event, in *instance, p *pool.Wanted) {
	in.want = p.Want
	for _, o := range slices.Clone(in.open) {
		switch {
		case p.Want == pool.Absent:
			l.end(e, in, o, Superseded, "the instance is being deleted")
		case o.makes():
			o.target = p.Want // it is made into what is wanted now
		case o.target == "": // it goes on beside
		case p.Reason != "":
			o.Reason = p.Reason
			l.end(e, in, o, Failed, "given up; it is to be "+string(p.Want))
		default:
			l.end(e, in, o, Superseded, "it is to be "+string(p.Want)+" now")
		}
	}
	if p.Reason != "" { // nobody has asked for this
		l.reached(e, in)
		return
	}
	kind, id := Start, ""
	switch p.Want {
	case pool.Running:
		if in.is == pool.Suspended || in.is == pool.Hibernated {
			kind = Resume
		}
	case pool.Stopped:
		kind = Stop
	case pool.Suspended:
		kind = Suspend
	case pool.Hibernated:
		kind = Hibernate
	case pool.Shelved:
		kind = Shelve
	case pool.Absent:
		kind, id = Delete, DeleteID(p.Instance)
	}
	if in.is == pool.Shelved && p.Want != pool.Absent {
		kind = Unshelve
	}
	if id == "" {
		id = l.numbered(kind, p.Instance, e)
	}
	o := l.begin(e, in, p.Instance, kind, id)
	o.target, o.Progress, o.Step = p.Want, 10, "asked for"
	l.reached(e, in)
}

func (l *Log) ofMachine(e *pool.Event, p *pool.OfMachine) {
	in := l.machine(p.Machine)
	if in == nil {
		return
	}
	switch e.Kind {
	case pool.KindSent:
		l.step(e, p.Machine, 40, "creating its machine", "")
	case pool.KindCreated:
		in.is, in.made = pool.Stopped, true
		l.step(e, p.Machine, 70, "its machine is there; starting it", "")
		l.reached(e, in)
	case pool.KindRebooted:
		for _, o := range in.running(Reboot) {
			l.end(e, in, o, Done, "rebooted")
		}
	case pool.KindResized:
		for _, o := range in.running(Resize) {
			l.end(e, in, o, Done, "resized")
		}
	}
}

// step notes how far the making of an instance's machine has come.
func (l *Log) step(e *pool.Event, m pool.MachineID, progress int, step, reason string) {
	in := l.machine(m)
	if in == nil {
		return
	}
	for _, o := range in.open {
		if o.makes() {
			o.Progress, o.Step, o.Updated = progress, step, e.Time
			if reason != "" {
				o.Reason = reason
			}
		}
	}
}

// reached ends the operations whose power the machine has now.
func (l *Log) reached(e *pool.Event, in *instance) {
	for _, o := range slices.Clone(in.open) {
		if o.target != "" && o.target != pool.Absent && o.target == in.is {
			o.Reason = ""
			l.end(e, in, o, Done, string(in.is))
		}
	}
}

func (l *Log) ended(e *pool.Event, p *pool.Ended) {
	in := l.live[p.Instance]
	if in == nil {
		return
	}
	switch e.Kind {
	case pool.KindShelved:
		in.is, in.made = pool.Shelved, false
		for _, o := range slices.Clone(in.open) {
			if o.target != pool.Shelved && o.target != pool.Absent {
				o.Reason = p.Reason
				l.end(e, in, o, Failed, "its disks are put aside")
			}
		}
		l.reached(e, in)
		return
	case pool.KindFailed:
		in.is, in.made = pool.Absent, false
		for _, o := range slices.Clone(in.open) {
			if p.Reason != "" {
				o.Reason = p.Reason
			}
			l.end(e, in, o, Failed, "given up")
		}
		return
	}
	for _, o := range slices.Clone(in.open) {
		if o.Kind == Delete {
			l.end(e, in, o, Done, "gone")
		} else {
			l.end(e, in, o, Superseded, "the instance is gone")
		}
	}
	delete(l.live, p.Instance)
}
