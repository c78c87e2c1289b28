package berthage

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// Launch asks for a new instance. The same Token in the same Project gives the same instance.
//
// Errors: pool.ErrInvalid or pool.ErrOverflow for a malformed request, pool.ErrNotFound for an unknown
// project, image or flavor, *quota.Exceeded (pool.ErrOverQuota), *scheduler.Refusal (pool.ErrNoRoom), and
// pool.ErrExists when the token was used for a different request.
type Launch = ring.Launch

// Launch checks quota and capacity, places the instance and records it, all in one commit, and returns it
// as it is then; Wait tells when it runs. An instance that was launched with this token and has been deleted
// since is returned with Phase pool.Deleted.
func (m *Manager) Launch(ctx context.Context, l Launch) (pool.Instance, error) {
	l.Spec = l.Spec.Clone()
	if err := m.do(ctx, ring.Command{Launch: &l}); err != nil {
		return pool.Instance{}, named(err, "launch "+pool.Quote(l.Name))
	}
	return m.Instance(m.idOf(l.Project, l.Token))
}

func (m *Manager) idOf(project, token string) pool.InstanceID {
	var id pool.InstanceID
	m.View(func(st *pool.State) { id = st.InstanceFor(project, token) })
	return id
}

// Explain says where a launch would be placed, or why not, host by host, without launching anything.
func (m *Manager) Explain(l Launch) (scheduler.Explanation, error) {
	e, err := m.ring.Explain(l)
	return e, named(err, "explain "+pool.Quote(l.Name))
}

// HowMany says how many more instances like that fit, and what runs out, host by host. Quotas are not part of it.
func (m *Manager) HowMany(l Launch) (scheduler.Room, error) {
	r, err := m.ring.HowMany(l)
	return r, named(err, "how many "+pool.Quote(l.Name))
}

// Instance returns an instance. One that has been deleted has Phase pool.Deleted and little else;
// pool.ErrNotFound means that it never existed.
func (m *Manager) Instance(id pool.InstanceID) (pool.Instance, error) {
	out := pool.Instance{ID: id}
	err := error(&pool.Error{Kind: pool.ErrNotFound, Field: "instance", Value: string(id)})
	m.View(func(st *pool.State) {
		if i, ok := st.Instance(id); ok {
			out, err = *i, nil
		} else if t, ok := st.Ended(id); ok {
			out.Phase, out.Want, out.Is, err = pool.Deleted, pool.Absent, pool.Absent, nil
			out.Launched, out.Changed = t.Launched, t.Ended
		}
	})
	return out, err
}

// SetPower wants the instance pool.Running, pool.Stopped, pool.Suspended, pool.Hibernated or pool.Shelved and returns
// it as recorded. It keeps its place in all of them but the last, which stops it and puts its disks aside; wanted
// pool.Running or pool.Stopped after that it is placed anew, if there is room. Suspending, in memory, and hibernating,
// on disk, need a running instance, and they and shelving a host that can. An instance that its hypervisor then refuses to put aside, and that has been
// stopped for that, is wanted again what it was wanted before, and Reason says why; what a suspended one had in memory
// is lost.
func (m *Manager) SetPower(ctx context.Context, id pool.InstanceID, want pool.Power) (pool.Instance, error) {
	if err := m.do(ctx, ring.Command{Power: &ring.SetPower{Instance: id, Want: want}}); err != nil {
		return pool.Instance{}, named(err, "set power of "+pool.Quote(string(id)))
	}
	return m.Instance(id)
}

// Reboot wants a running instance restarted, once per token.
func (m *Manager) Reboot(ctx context.Context, id pool.InstanceID, token string) (pool.Instance, error) {
	if err := m.do(ctx, ring.Command{Reboot: &ring.Reboot{Instance: id, Token: token}}); err != nil {
		return pool.Instance{}, named(err, "reboot "+pool.Quote(string(id)))
	}
	return m.Instance(id)
}

// Delete wants the instance gone with everything its machine has, and returns it as recorded. Its place is
// free only once the machine is known to be gone; Wait with Settled tells. Deleting it again is no error.
func (m *Manager) Delete(ctx context.Context, id pool.InstanceID) (pool.Instance, error) {
	if err := m.do(ctx, ring.Command{Delete: &ring.Delete{Instance: id}}); err != nil {
		return pool.Instance{}, named(err, "delete "+pool.Quote(string(id)))
	}
	return m.Instance(id)
}

// Move wants the instance's machine on another host of the same driver, with its disks: on the one that is
// named, or where the scheduler puts it. It runs on where both hosts can do that; otherwise it must be stopped, or
// cold must be true, which is leave to stop it for the move and start it again.
func (m *Manager) Move(ctx context.Context, id pool.InstanceID, to pool.HostID, cold bool) (pool.Instance, error) {
	if err := m.do(ctx, ring.Command{Move: &ring.Move{Instance: id, Host: to, Cold: cold}}); err != nil {
		return pool.Instance{}, named(err, "move "+pool.Quote(string(id)))
	}
	return m.Instance(id)
}

// Resize asks for other sizes of an instance. Asking again for those that it has, or is getting, does nothing.
type Resize = ring.Resize

// Resize wants the instance to have other sizes on the host that it is on. Until it has, the larger of both is
// booked. It is resized as it runs where its host can do that; otherwise it must be stopped, or Cold must be true. With
// SetDisks it gets disks, or gives up its last ones, whether it runs or not.
func (m *Manager) Resize(ctx context.Context, r Resize) (pool.Instance, error) {
	r.Resources, r.Disks, r.SetDisks = maps.Clone(r.Resources), slices.Clone(r.Disks), slices.Clone(r.SetDisks)
	if err := m.do(ctx, ring.Command{Resize: &r}); err != nil {
		return pool.Instance{}, named(err, "resize "+pool.Quote(string(r.Instance)))
	}
	return m.Instance(r.Instance)
}

// Rebuild makes an instance anew of its image, on a person's word that its machine is lost: one that is missing
// or broken, or whose host is known to be off. What was on its disks is gone; should the machine show up again it is
// destroyed. Machine is the one that is lost, so that a repetition does nothing.
func (m *Manager) Rebuild(ctx context.Context, id pool.InstanceID, machine pool.MachineID) (pool.Instance, error) {
	if err := m.do(ctx, ring.Command{Rebuild: &ring.Rebuild{Instance: id, Machine: machine}}); err != nil {
		return pool.Instance{}, named(err, "rebuild "+pool.Quote(string(id)))
	}
	return m.Instance(id)
}

// Settled is a condition for Wait: the instance is what it is wanted to be, or has failed, or is gone.
func Settled(i pool.Instance) bool { return i.Phase == pool.Deleted || i.Settled() }

// Wait returns the instance once it meets the condition, or ctx's error with the instance as it was last.
func (m *Manager) Wait(ctx context.Context, id pool.InstanceID, until func(pool.Instance) bool) (pool.Instance, error) {
	for {
		changed := m.ring.Changed()
		i, err := m.Instance(id)
		if err != nil || until(i) {
			return i, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return i, ctx.Err()
		}
	}
}

// PutImage adds an image or replaces it; instances keep what they were launched with.
func (m *Manager) PutImage(ctx context.Context, i pool.Image) error {
	i = i.Clone()
	return named(m.do(ctx, ring.Command{Put: &ring.Put{Image: &i}}), "put image")
}

// PutFlavor adds a flavor or replaces it; instances keep the sizes they were launched with.
func (m *Manager) PutFlavor(ctx context.Context, f pool.Flavor) error {
	f.Resources = maps.Clone(f.Resources)
	return named(m.do(ctx, ring.Command{Put: &ring.Put{Flavor: &f}}), "put flavor")
}

// PutProject adds a project or replaces all that is said of it, where it lies too. A quota below what is used stops further use
// only; that a project comes to lie in another one is refused with *quota.Exceeded where the limits of that one, or of those
// above it, do not allow for what it brings.
func (m *Manager) PutProject(ctx context.Context, p pool.Project) error {
	p = p.Clone()
	return named(m.do(ctx, ring.Command{Put: &ring.Put{Project: &p}}), "put project")
}

// RemoveImage removes an image from the catalogue.
func (m *Manager) RemoveImage(ctx context.Context, name string) error {
	return named(m.do(ctx, ring.Command{Remove: &ring.Remove{Image: name}}), "remove image")
}

// RemoveFlavor removes a flavor.
func (m *Manager) RemoveFlavor(ctx context.Context, name string) error {
	return named(m.do(ctx, ring.Command{Remove: &ring.Remove{Flavor: name}}), "remove flavor")
}

// RemoveProject removes a project that has no instances and in which no others lie.
func (m *Manager) RemoveProject(ctx context.Context, name string) error {
	return named(m.do(ctx, ring.Command{Remove: &ring.Remove{Project: name}}), "remove project")
}

// ReleaseHeld gives a held allocation back on a person's word that its machine can no longer appear.
func (m *Manager) ReleaseHeld(ctx context.Context, machine pool.MachineID) error {
	return named(m.do(ctx, ring.Command{ReleaseHeld: &ring.ReleaseHeld{Machine: machine}}), "release "+pool.Quote(string(machine)))
}

// ConsoleLog returns the newest output of the machine's serial console, at most max bytes.
func (m *Manager) ConsoleLog(ctx context.Context, id pool.InstanceID, max int) ([]byte, error) {
	c, ref, err := ability[hypervisor.Consoler](m, id, hypervisor.CanConsole)
	if err != nil {
		return nil, err
	}
	return c.Log(ctx, ref, max)
}

// Display returns where the machine's graphical console can be reached from its host's network.
func (m *Manager) Display(ctx context.Context, id pool.InstanceID) (string, error) {
	c, ref, err := ability[hypervisor.Consoler](m, id, hypervisor.CanConsole)
	if err != nil {
		return "", err
	}
	return c.Display(ctx, ref)
}

// Sample returns the present readings of a host and of our machines on it.
func (m *Manager) Sample(ctx context.Context, host pool.HostID) ([]hypervisor.Sample, error) {
	d, err := m.ring.Driver(host)
	if err != nil {
		return nil, err
	}
	meter, ok := hypervisor.As[hypervisor.Meter](d)
	if !ok || !hypervisor.Has(d, host, hypervisor.CanMeter) {
		return nil, unsupported(hypervisor.CanMeter)
	}
	return meter.Sample(ctx, host)
}

// ability finds the driver's T for an instance that has a machine.
func ability[T any](m *Manager, id pool.InstanceID, a hypervisor.Ability) (T, hypervisor.Ref, error) {
	var none T
	i, err := m.Instance(id)
	if err != nil {
		return none, hypervisor.Ref{}, err
	}
	if !i.Placed() {
		return none, hypervisor.Ref{}, &pool.Error{Kind: pool.ErrWrongState, Field: "instance", Value: string(id), Want: "an instance with a machine"}
	}
	d, err := m.ring.Driver(i.Place.Host)
	if err != nil {
		return none, hypervisor.Ref{}, err
	}
	t, ok := hypervisor.As[T](d)
	if !ok || !hypervisor.Has(d, i.Place.Host, a) {
		return none, hypervisor.Ref{}, unsupported(a)
	}
	var ref hypervisor.Ref
	confirmed := false
	m.View(func(st *pool.State) {
		ref, confirmed = ring.Ref(st.LedgerOf(i.Machine(), i.Launched), &i), st.Confirmed()
	})
	if !confirmed {
		return none, ref, &pool.Error{Kind: pool.ErrWrongState, Field: "ledger", Want: "one whose import has been confirmed"}
	}
	return t, ref, nil
}

func unsupported(a hypervisor.Ability) error {
	return &pool.Error{Kind: errors.ErrUnsupported, Field: string(a), Want: "a host whose driver offers it"}
}

func (m *Manager) do(ctx context.Context, c ring.Command) error { return m.ring.Do(ctx, c, m.who) }

// named adds to an error what was tried, unless it is typed otherwise.
func named(err error, op string) error {
	if e, ok := err.(*pool.Error); ok && e.Op == "" {
		c := *e
		c.Op = op
		return &c
	}
	return err
}

// Waiter is an instance that waits for a place.
type Waiter = ring.Waiter

// Queue returns the instances that wait for a place (see Launch.Wait) in the order in which they are offered what becomes
// free: by Spec.Priority; then one for which a host's room is kept; then by what their projects have of the pool, the class
// counting of which a project has most, divided by Project.Weight; within a project by age. Reason is why each had to wait at
// first.
func (m *Manager) Queue() []Waiter { return m.ring.Queue() }

// Waiter returns an instance that waits for a place, with its position in the queue and the reason why it waits now. One that
// does not wait is pool.ErrNotFound.
func (m *Manager) Waiter(id pool.InstanceID) (Waiter, error) {
	w, ok := m.ring.Waiter(id)
	if !ok {
		return w, &pool.Error{Op: "queue", Kind: pool.ErrNotFound, Field: "waiting instance", Value: string(id)}
	}
	return w, nil
}
