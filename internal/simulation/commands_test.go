package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// command is one kind of thing that callers ask for.
type command struct {
	name   string
	weight int
	calls  []string // the driver calls that it leads to: it is preferred while the world aims at one of them
	pick   func(w *world) attempt
}

// attempt asks a Manager for something, with arguments that are already chosen, so that it can be repeated. It
// returns what an answer without an error promises, which must be true of the books at the end.
type attempt func(ctx context.Context, m *berthage.Manager) (promise, error)

// promise returns what is wrong, if it has not been kept.
type promise func(m *monitor) string

// asks returns all of them. What a caller may ask for is added here.
func (w *world) asks() []command {
	power := func(name string, weight int, want pool.Power, which func(*pool.Instance) bool, calls ...string) command {
		return command{name, weight, calls, func(w *world) attempt {
			i := w.any(which)
			if i == nil {
				return nil
			}
			id := i.ID
			return func(ctx context.Context, m *berthage.Manager) (promise, error) {
				_, err := m.SetPower(ctx, id, want)
				return happened("wanted", string(id), string(want)), err
			}
		}}
	}
	is := func(p pool.Power) func(*pool.Instance) bool {
		return func(i *pool.Instance) bool { return i.Phase == pool.Active && i.Is == p && i.Want != pool.Absent }
	}
	any := func(i *pool.Instance) bool { return i.Want != pool.Absent || i.Launched%8 == 0 } // now and then one that is being deleted
	return append(append(append(w.lifeAsks(), w.reserveAsks()...), w.tenantAsks()...), []command{
		{"launch", 40, []string{"create", "start"}, launch},
		{"delete", 3, []string{"destroy"}, remove(any)},
		{"delete a new one", 4, nil, remove(func(i *pool.Instance) bool {
			return i.Want != pool.Absent && time.Since(w.monitor.born[i.ID]) < 20*time.Second
		})},
		{"delete a failed one", 5, nil, remove(func(i *pool.Instance) bool { return i.Phase == pool.Failed && i.Want != pool.Absent })},
		{"delete a missing one", 5, nil, remove(func(i *pool.Instance) bool { return i.Status() == "missing" })},
		power("start", 3, pool.Running, any, "start"),
		power("stop", 4, pool.Stopped, is(pool.Running), "stop"),
		power("suspend", 4, pool.Suspended, is(pool.Running), "suspend"),
		power("resume", 4, pool.Running, is(pool.Suspended), "resume"),
		power("hibernate", 3, pool.Hibernated, is(pool.Running), "hibernate"),
		power("wake", 3, pool.Running, is(pool.Hibernated), "start"),
		{"reboot", 4, []string{"reboot"}, reboot},
		{"cordon", 1, nil, cordon},
		{"uncordon", 3, nil, uncordon},
		{"remove host", 1, nil, removeHost},
		{"add host", 3, []string{"hosts"}, addHost},
		{"set quota", 2, nil, setQuota},
		{"release held", 2, nil, releaseHeld},
	}...)
}

// happened is the promise that the ledger holds an event, named by words.
func happened(words ...string) promise {
	return func(m *monitor) string {
		if key := fmt.Sprint(words); !m.seen[key] {
			return "accepted, but not in the ledger: " + key
		}
		return ""
	}
}

// order returns the launch that belongs to a token: always the same.
func (w *world) order(token string) berthage.Launch {
	h := fnv.New64a()
	h.Write([]byte(token))
	r := rand.New(rand.NewPCG(w.seed, h.Sum64()))
	size := int64(1 + r.IntN(3)/2) // two of three are small
	l := berthage.Launch{Token: token, Project: projects[r.IntN(len(projects))], Name: token, Spec: pool.Spec{
		Image:     "debian-12",
		Resources: pool.Resources{pool.CPU: size * pool.Core, pool.Memory: size * 2 * pool.GiB},
		Disks:     []pool.Disk{{Size: size * 10 * pool.GiB}},
	}}
	if r.IntN(4) == 0 {
		l.Spec.Disks = append(l.Spec.Disks, pool.Disk{Size: 20 * pool.GiB, Storage: pool.NVMe})
	}
	if r.IntN(12) == 0 {
		l.Want = pool.Stopped
	}
	if w.queues {
		l.Wait = r.IntN(2) == 0
		l.Spec.Priority = r.IntN(3)
		l.Spec.Preemptible = []pool.Preemption{"", pool.PreemptShelve, pool.PreemptDelete}[r.IntN(3)]
	}
	l.Spec.Replaceable = r.IntN(2) == 0
	if w.rules && r.IntN(3) > 0 {
		l.Spec.Constraints.Tolerations = []pool.Toleration{{Key: "old"}}
	}
	return l
}

func launch(w *world) attempt {
	if w.tokens == 0 || w.random.IntN(4) != 0 {
		w.tokens++
	}
	// Mostly a new token, else one of the last ones.
	token := fmt.Sprintf("vm-%d", max(1, w.tokens-w.random.IntN(4)*w.random.IntN(4)))
	l := w.order(token)
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		i, err := m.For(w.owner(token)).Launch(ctx, l)
		if err != nil {
			return nil, err
		}
		w.is(token, i.ID)
		return func(m *monitor) string {
			_, ended := m.st.Ended(i.ID)
			if _, there := m.st.Instance(i.ID); !there && !ended {
				return "launch " + token + " was accepted, and the books do not know it"
			}
			return ""
		}, nil
	}
}

func remove(which func(*pool.Instance) bool) func(w *world) attempt {
	return func(w *world) attempt {
		i := w.any(which)
		if i == nil {
			return nil
		}
		id := i.ID
		return func(ctx context.Context, m *berthage.Manager) (promise, error) {
			_, err := m.Delete(ctx, id)
			return func(m *monitor) string {
				if _, ended := m.st.Ended(id); !ended {
					return "delete " + string(id) + " was accepted, and it is still there"
				}
				return ""
			}, err
		}
	}
}

func reboot(w *world) attempt {
	i := w.any(func(i *pool.Instance) bool {
		return i.Phase == pool.Active && i.Is == pool.Running && i.Want == pool.Running
	})
	if i == nil {
		return nil
	}
	id, token := i.ID, fmt.Sprint("r", w.random.IntN(1000))
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		_, err := m.Reboot(ctx, id, token)
		return happened("reboot", string(id), token), err
	}
}

func (w *world) anyHost() pool.HostID { return w.hosts[w.random.IntN(len(w.hosts))].ID }

func cordon(w *world) attempt {
	id := w.anyHost()
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		_, err := m.Cordon(ctx, id, "maintenance")
		return nil, err
	}
}

func uncordon(w *world) attempt {
	id := w.anyHost()
	for h := range w.monitor.st.Hosts() {
		if h.Conditions.Has(pool.Cordoned) {
			id = h.ID
		}
	}
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		_, err := m.Uncordon(ctx, id)
		return nil, err
	}
}

func removeHost(w *world) attempt {
	id := w.anyHost()
	for h := range w.monitor.st.Hosts() { // rather one that is empty
		if h.Placed+h.Held == 0 {
			id = h.ID
		}
	}
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		return happened("host removed", string(id)), m.RemoveHost(ctx, id)
	}
}

func addHost(w *world) attempt {
	id := w.anyHost()
	for _, h := range w.hosts {
		if _, removed := w.monitor.st.HostRemoved(h.ID); removed {
			id = h.ID
		}
	}
	return func(ctx context.Context, m *berthage.Manager) (promise, error) {
		_, err := m.AddHost(ctx, id)
		return happened("host put", string(id)), err
	}
}

func setQuota(w *world) attempt {
	if w.tenants {
		return setTenant(w)
	}
	p := pool.Project{Name: projects[w.random.IntN(len(projects))], Quota: pool.Resources{
		pool.Instances: int64(6 + w.random.IntN(8)), pool.CPU: int64(8+w.random.IntN(12)) * pool.Core,
	}}
	return func(ctx context.Context, m *berthage.Manager) (promise, error) { return nil, m.PutProject(ctx, p) }
}

// releaseHeld is the word of a person who has looked and knows: nothing is there, and nothing can come any more.
func releaseHeld(w *world) attempt {
	for h := range w.monitor.st.Held() {
		if since, ok := w.monitor.held[h.Machine]; !ok || time.Since(since) < 2*latest || w.there(h) {
			continue
		}
		machine := h.Machine
		return func(ctx context.Context, m *berthage.Manager) (promise, error) {
			return happened("released", string(machine)), m.ReleaseHeld(ctx, machine)
		}
	}
	return nil
}

// there reports whether any host has the machine of a held allocation, or what a creation has left of one, or whether
// its disks are put aside for nobody.
func (w *world) there(h *pool.Held) bool {
	is := func(m machineView) bool { return m.Tag.Machine == h.Machine }
	id, _, _ := h.Machine.Split()
	i, ok := w.monitor.st.Instance(id)
	own := ok && i.Shelf != nil && i.Shelf.Machine == h.Machine // put aside for its instance
	return h.Shelving && !own && slices.ContainsFunc(w.fleet.Shelf(), is) ||
		slices.ContainsFunc(w.fleet.Inspect(), func(v hostView) bool { return slices.ContainsFunc(v.Machines, is) })
}

// any returns an instance of which which is true, or nil.
func (w *world) any(which func(*pool.Instance) bool) (found *pool.Instance) {
	n := 0
	for _, i := range w.monitor.st.SortedInstances() {
		if which(i) {
			if n++; w.random.IntN(n) == 0 {
				found = i
			}
		}
	}
	return found
}

// ask picks a command and gives it through a daemon or several, once or again, without waiting for it.
func (w *world) ask() {
	c := w.choose()
	try := c.pick(w)
	if try == nil {
		return
	}
	w.count("command: " + c.name)
	callers := 1
	if w.random.IntN(6) == 0 {
		callers += 1 + w.random.IntN(4)
	}
	for range callers {
		p, again := w.at(w.random.IntN(len(w.seats))), w.random.IntN(8) == 0
		if p == nil {
			continue
		}
		w.callers.Go(func() {
			if w.give(p, c.name, try); again {
				w.give(p, c.name, try)
			}
		})
	}
}

// choose prefers what leads to the call that is aimed at, and deletes when the fleet is full.
func (w *world) choose() command {
	all, sum := w.commands, 0
	aim, full := w.aiming(), w.monitor.full()
	weight := func(c command) int {
		switch {
		case slices.Contains(c.calls, aim.call):
			return c.weight + 30
		case full && c.name == "delete":
			return 8 * c.weight
		case full && c.name == "launch":
			return c.weight / 2
		}
		return c.weight
	}
	for _, c := range all {
		sum += weight(c)
	}
	n := w.random.IntN(sum)
	for _, c := range all {
		if n -= weight(c); n < 0 {
			return c
		}
	}
	return all[0]
}

// give gives a command to a process and keeps what an answer promises. A process that is dead or paused does
// not answer.
func (w *world) give(p *process, name string, try attempt) {
	m := p.open()
	if m == nil || p.wait() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ctx, done := p.bound(ctx)
	defer done()
	promise, err := try(ctx, m.As("caller", name))
	if p.wait() != nil {
		return
	}
	switch {
	case err == nil && promise != nil:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.promises = append(w.promises, promise)
	case err != nil && !isOne(err, pool.ErrUnavailable, pool.ErrUnknown, pool.ErrNoRoom, pool.ErrOverQuota, pool.ErrWrongState,
		pool.ErrNotFound, pool.ErrInUse, pool.ErrExpired, pool.ErrReleased, pool.ErrCommitted, pool.ErrInvalid, errors.ErrUnsupported, hypervisor.ErrRefused, context.DeadlineExceeded, context.Canceled):
		w.broken(stuck, "%s: %v", name, err)
	}
}
