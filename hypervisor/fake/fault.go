package fake

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Op is a call of the driver, as it is named in errors.
type Op string

// The calls.
const (
	OpHosts       Op = "list hosts"
	OpMachines    Op = "list machines"
	OpCreate      Op = "create"
	OpStart       Op = "start"
	OpStop        Op = "stop"
	OpDestroy     Op = "destroy"
	OpSuspend     Op = "suspend"
	OpResume      Op = "resume"
	OpHibernate   Op = "hibernate"
	OpReboot      Op = "reboot"
	OpShelve      Op = "shelve"
	OpUnshelve    Op = "unshelve"
	OpDiscard     Op = "discard"
	OpResize      Op = "resize"
	OpMigrate     Op = "migrate"
	OpSnapshot    Op = "snapshot"
	OpRevert      Op = "revert"
	OpFence       Op = "fence"
	OpLog         Op = "read console of"
	OpDisplay     Op = "find display of"
	OpSample      Op = "sample"
	OpSetDisks    Op = "set disks of"
	OpImages      Op = "list images of"
	OpImport      Op = "import image to"
	OpRemoveImage Op = "remove image from"
	OpWatch       Op = "watch"

	OpSnapshots      Op = "list snapshots of"
	OpDeleteSnapshot Op = "delete snapshot of"
)

// reads reports whether the call changes nothing, so that it cannot land late or twice.
func (o Op) reads() bool {
	switch o {
	case OpHosts, OpMachines, OpLog, OpDisplay, OpSample, OpSnapshots, OpImages, OpWatch:
		return true
	}
	return false
}

// creates reports whether the call makes a machine.
func (o Op) creates() bool { return o == OpCreate || o == OpUnshelve }

// Call is one call that is about to be sent.
type Call struct {
	Op  Op
	Ref hypervisor.Ref // only Host for calls on a host; zero for OpHosts
	To  pool.HostID    // of OpMigrate: where the machine is to go
	N   int            // from 1: its number among all calls for that machine, or among those of Op on that host
}

// FaultKind is a way in which a call can go wrong.
type FaultKind string

// The faults. Those on effects do to a call that only reads what is nearest: the reply does not come.
const (
	// Refuse: the hypervisor says no (ErrRefused) and has done nothing.
	Refuse FaultKind = "refuse"
	// Unavailable: nothing is sent (ErrUnavailable).
	Unavailable FaultKind = "unavailable"
	// Drop: the request is lost on its way. The caller does not know that nothing was done (ErrUnknown).
	Drop FaultKind = "drop"
	// Lose: it is done and the reply is lost (ErrUnknown).
	Lose FaultKind = "lose"
	// Late: the caller hears nothing (ErrUnknown) and the effect lands Fault.After later, also on a host that
	// has been cut off since, or that has died and returned; not on one that is dead at that time.
	Late FaultKind = "late"
	// Duplicate: it is done and answered, and delivered a second time Fault.After later.
	Duplicate FaultKind = "duplicate"
	// Spoil: a create fails with an error of no kind and leaves its disks behind; they take room and are in no
	// list, until the machine is created again or destroyed. Calls other than creates are refused.
	Spoil FaultKind = "spoil"
	// Break: a create (or unshelve) is accepted, answered, and then fails, as happens in a cloud's region: the
	// machine is stopped and shows Machine.Fault, at once or Fault.After later; it can be stopped and
	// destroyed, and everything else is ErrRefused. Calls other than creates are refused.
	Break FaultKind = "break"
	// Shorten: a list of machines breaks off. What had come so far is returned with ErrUnavailable; calls
	// other than OpMachines are ErrUnavailable.
	Shorten FaultKind = "shorten"
)

// Fault says what happens to one call. The zero value is no fault.
type Fault struct {
	Kind   FaultKind     // empty: none is scripted, Config.Faults decides
	Before time.Duration // how much later the request arrives
	After  time.Duration // Late: when it lands; Duplicate: when it lands again; Break: when it shows; else: how much later the reply comes
	Hang   bool          // Drop, Lose, Late: the call returns when its context ends, with that error, at most after two minutes
	Err    error         // cause to be put into the error; Break: the text of Machine.Fault
}

// hangs is how long a call without a deadline waits for a reply that does not come: about what a TCP
// connection with keep-alive takes to notice.
const hangs = 2 * time.Minute

// Faults are chances from 0 to 1 of what goes wrong with a call. Those on effects are drawn for calls that
// change something, Unavailable for all calls and Shorten for lists; their sum is at most 1.
type Faults struct {
	Refuse      float64
	Unavailable float64
	Drop        float64
	Lose        float64
	Late        float64
	Duplicate   float64
	Spoil       float64 // of creates
	Break       float64 // of creates; it shows at once
	Shorten     float64 // of lists of machines

	Hang        float64       // of Drop, Lose and Late: the share that hangs until the context ends
	LateBy      time.Duration // the longest delay of Late; zero: Config.Settles, or a minute where that is not known
	DuplicateBy time.Duration // the longest delay of Duplicate; zero: at once
}

func (f Faults) valid() error {
	sum := 0.0
	for _, p := range []float64{f.Refuse, f.Unavailable, f.Drop, f.Lose, f.Late, f.Duplicate, f.Spoil, f.Break, f.Shorten} {
		if !(p >= 0 && p <= 1) {
			return &pool.Error{Kind: pool.ErrInvalid, Field: "config.faults", Want: "chances from 0 to 1"}
		}
		sum += p
	}
	if sum > 1+1e-9 || !(f.Hang >= 0 && f.Hang <= 1) {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "config.faults", Want: "chances that are at most 1 in sum"}
	}
	return nil
}

// SetFaults replaces the chances from now on, for example to heal the fleet at the end of a simulation.
func (d *Driver) SetFaults(f Faults) error {
	if err := f.valid(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = f
	return nil
}

// Latency is how long a call takes: Min and an exponentially distributed time more, with the mean Mean-Min,
// cut at Max (zero: ten times Mean). Half of it passes before the effect, half before the reply. The zero
// value is no time at all.
type Latency struct {
	Min, Mean, Max time.Duration
}

func (l Latency) draw(r *rand.Rand) time.Duration {
	if l.Mean <= l.Min {
		return max(l.Min, 0)
	}
	most := l.Max
	if most == 0 {
		most = 10 * l.Mean
	}
	return min(l.Min+time.Duration(r.ExpFloat64()*float64(l.Mean-l.Min)), most)
}

// chance returns a source of randomness that depends only on the seed and the call.
func (d *Driver) chance(c Call) *rand.Rand {
	h := fnv.New64a()
	for _, s := range []string{string(c.Op), string(c.Ref.Host), string(c.Ref.Machine), strconv.Itoa(c.N)} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	return rand.New(rand.NewPCG(d.config.Seed, h.Sum64()))
}

// draw picks what goes wrong by chance; it fills in what f, the scripted fault, leaves open.
func (d *Driver) draw(f Fault, faults Faults, op Op, r *rand.Rand) Fault {
	if f.Kind != "" {
		return f
	}
	u := r.Float64()
	hit := func(p float64) bool {
		u -= p
		return u < 0
	}
	upTo := func(most time.Duration) time.Duration {
		if most <= 0 {
			return 0
		}
		return time.Duration(r.Int64N(int64(min(most, math.MaxInt64-1)) + 1))
	}
	switch {
	case hit(faults.Unavailable):
		f.Kind = Unavailable
	case op == OpMachines && hit(faults.Shorten):
		f.Kind = Shorten
	case op.reads():
	case op.creates() && hit(faults.Spoil):
		f.Kind = Spoil
	case op.creates() && hit(faults.Break):
		f.Kind = Break
	case hit(faults.Refuse):
		f.Kind = Refuse
	case hit(faults.Drop):
		f.Kind = Drop
	case hit(faults.Lose):
		f.Kind = Lose
	case hit(faults.Late):
		f.Kind = Late
		f.After = upTo(d.bound(faults.LateBy, op, f))
	case hit(faults.Duplicate):
		f.Kind = Duplicate
		if faults.DuplicateBy > 0 {
			f.After = upTo(d.bound(faults.DuplicateBy, op, f))
		}
	}
	switch f.Kind {
	case Drop, Lose, Late:
		f.Hang = r.Float64() < faults.Hang
	}
	return f
}

// bound is the longest delay of an effect: most, or the default where that is zero; but no create lands
// later than Settles after it was sent.
func (d *Driver) bound(most time.Duration, op Op, f Fault) time.Duration {
	settles := d.config.Settles
	if most == 0 {
		most = settles
	}
	if most == 0 {
		most = time.Minute
	}
	if op.creates() && settles > 0 {
		most = min(most, settles-d.slowest(f))
	}
	return most
}

// slowest is the longest time in which a create that is not late arrives.
func (d *Driver) slowest(f Fault) time.Duration {
	l := d.config.Latency
	most := l.Max
	if most == 0 {
		most = 10 * l.Mean
	}
	return max(most, l.Min)/2 + d.config.Build + f.Before
}

// plannedFault is what Plan has asked for.
type plannedFault struct {
	fault *Fault
	calls int // until it is due, that one included
}

func (p *plannedFault) take() *Fault {
	if p.fault == nil || p.calls <= 0 {
		return nil
	}
	if p.calls--; p.calls > 0 {
		return nil
	}
	return p.fault
}

// Plan lets the n-th call from now on, from 1, go wrong, whatever Config.Hook says of it. It takes the place of what has been
// planned before. Done ends that, and reports whether there has been an n-th call.
func (d *Driver) Plan(n int, f Fault) (done func() bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.planned = plannedFault{&f, n}
	return func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		was := d.planned.fault == &f && d.planned.calls == 0
		if d.planned.fault == &f {
			d.planned = plannedFault{}
		}
		return was
	}
}
