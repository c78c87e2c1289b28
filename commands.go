package berthage

import (
	"context"
	"errors"
	"maps"

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
	m.View(func(st *pool.State) { id = pool.NewInstanceID(st.Identity(), project, token) })
	return id
}

// Explain says where a launch would be placed, or why not, host by host, without launching anything.
func (m *Manager) Explain(l Launch) (scheduler.Explanation, error) {
	e, err := m.ring.Explain(l)
	return e, named(err, "explain "+pool.Quote(l.Name))
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

// SetPower wants the instance pool.Running, pool.Stopped or pool.Suspended and returns it as recorded; it
// keeps its place in all of them. Suspending needs a running instance, and a host that can.
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

// AddHost admits a host that its driver reports now, also one that was removed before.
func (m *Manager) AddHost(ctx context.Context, id pool.HostID) (pool.HostRecord, error) {
	op := "add host " + pool.Quote(string(id))
	d, err := m.ring.Driver(id)
	if err != nil {
		return pool.HostRecord{}, named(err, op)
	}
	hosts, err := d.Hosts(ctx)
	if err != nil {
		return pool.HostRecord{}, &pool.Error{Op: op, Kind: pool.ErrUnavailable, Cause: err}
	}
	for _, h := range hosts {
		if h.ID == id {
			if err := m.do(ctx, ring.Command{AddHost: &ring.AddHost{Host: h}}); err != nil {
				return pool.HostRecord{}, named(err, op)
			}
			return m.host(id)
		}
	}
	return pool.HostRecord{}, &pool.Error{Op: op, Kind: pool.ErrNotFound, Field: "host", Value: string(id), Want: "a host that its driver reports"}
}

// RemoveHost takes a host out of the pool. It must have no instances and no held allocations.
func (m *Manager) RemoveHost(ctx context.Context, id pool.HostID) error {
	return named(m.do(ctx, ring.Command{RemoveHost: &ring.RemoveHost{Host: id}}), "remove host "+pool.Quote(string(id)))
}

// Cordon keeps new instances off a host, for a reason that people can read; what runs there goes on.
func (m *Manager) Cordon(ctx context.Context, id pool.HostID, reason string) (pool.HostRecord, error) {
	return m.cordon(ctx, ring.Cordon{Host: id, On: true, Reason: reason})
}

// Uncordon ends a Cordon.
func (m *Manager) Uncordon(ctx context.Context, id pool.HostID) (pool.HostRecord, error) {
	return m.cordon(ctx, ring.Cordon{Host: id})
}

func (m *Manager) cordon(ctx context.Context, c ring.Cordon) (pool.HostRecord, error) {
	if err := m.do(ctx, ring.Command{Cordon: &c}); err != nil {
		return pool.HostRecord{}, named(err, "cordon "+pool.Quote(string(c.Host)))
	}
	return m.host(c.Host)
}

func (m *Manager) host(id pool.HostID) (pool.HostRecord, error) {
	var out pool.HostRecord
	err := error(&pool.Error{Kind: pool.ErrNotFound, Field: "host", Value: string(id)})
	m.View(func(st *pool.State) {
		if h, ok := st.Host(id); ok {
			out, err = *h, nil
		}
	})
	return out, err
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

// PutProject adds a project or replaces its quota. A quota below what is used stops further use only.
func (m *Manager) PutProject(ctx context.Context, p pool.Project) error {
	p.Quota = maps.Clone(p.Quota)
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

// RemoveProject removes a project that has no instances.
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
	return t, ring.Ref(m.ring.Status().Identity, &i), nil
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
