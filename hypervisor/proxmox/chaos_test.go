package proxmox_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/proxmox"
	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
	"github.com/berthage/berthage/pool"
)

// caller does with a driver what the ring does: it looks before it repeats, and repeats what is not there any more only when it
// can no longer land.
type caller struct {
	t *testing.T
	d *proxmox.Driver
	o hypervisor.Order
}

// list returns the caller's machine, as often as it is listed.
func (c *caller) list() []hypervisor.Machine {
	for {
		list, err := c.d.Machines(c.t.Context(), c.o.Host)
		if err != nil {
			if c.t.Context().Err() != nil {
				return nil
			}
			continue
		}
		var out []hypervisor.Machine
		for _, m := range list {
			if m.Tag == c.o.Tag {
				out = append(out, m)
			}
		}
		if len(out) > 1 {
			c.t.Errorf("%s is there %d times", c.o.Machine, len(out))
		}
		return out
	}
}

func (c *caller) destroy() {
	for c.d.Destroy(c.t.Context(), c.o.Ref) != nil && c.t.Context().Err() == nil {
	}
}

func (c *caller) create() {
	var doubt time.Time
	for c.t.Context().Err() == nil {
		found := c.list()
		switch {
		case len(found) == 1 && found[0].Fault == "":
			return
		case len(found) == 1:
			c.destroy()
			continue
		case time.Since(doubt) < c.d.Describe(c.o.Host).Settles:
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if err := c.d.Create(c.t.Context(), c.o); err != nil && !hypervisor.Nothing(err) {
			doubt = time.Now()
		}
	}
}

func (c *caller) live() {
	for range 2 {
		c.create()
		for c.d.Start(c.t.Context(), c.o.Ref) != nil && c.t.Context().Err() == nil {
		}
		if found := c.list(); len(found) != 1 || found[0].Power != pool.Running {
			c.t.Errorf("%s was started and is %v", c.o.Machine, found)
		}
		time.Sleep(c.d.Describe(c.o.Host).Settles) // what was sent late has landed
		c.destroy()
		if found := c.list(); len(found) != 0 {
			c.t.Errorf("%s was destroyed and is %v", c.o.Machine, found)
		}
	}
}

// Several callers on two hosts while requests are cut, delayed, doubled and refused and tasks fail: no machine is ever there
// twice, none is lost, and in the end nothing is left.
func TestChaos(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		s := cluster(t)
		before := append(s.Volumes("pve1"), s.Volumes("pve2")...)
		c := quiet(settings(t, s))
		c.Timeouts.Settle = 30 * time.Millisecond
		d := open(t, c)
		ctx, end := context.WithCancel(t.Context())
		var storm, callers sync.WaitGroup
		storm.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			methods := []string{"POST", "PUT", "DELETE", "GET"}
			tasks := []string{"qmclone", "qmconfig", "resize", "qmstart", "qmstop", "qmdestroy"}
			kinds := []pvetest.Fault{
				{CutBefore: true}, {CutAfter: true}, {Late: 30 * time.Millisecond}, {Delay: 30 * time.Millisecond}, {Status: 595}, {After: 596}, {Twice: true}, {Status: 502}, {Null: true},
			}
			for ctx.Err() == nil {
				f := kinds[r.IntN(len(kinds))]
				f.Method = methods[r.IntN(len(methods))]
				if r.IntN(5) == 0 {
					f = pvetest.Fault{Task: tasks[r.IntN(len(tasks))], TaskFails: "got timeout"}
				}
				if f.Method == "GET" && (f.Null || f.Twice) {
					continue // an answer of nothing to a question is a lie that nobody can see through
				}
				if s.Pending() < 3 { // or everything would go wrong at once, and nothing ever right
					s.Inject(f)
				}
				time.Sleep(time.Duration(10+r.IntN(30)) * time.Millisecond)
			}
		})
		for n := range 6 {
			callers.Go(func() {
				o := numbered(n, []pool.HostID{"proxmox/pve1", "proxmox/pve2"}[n%2])
				o.Spec.Guest.UserData = []string{"", "#cloud-config\n"}[n/2%2]
				(&caller{t, d, o}).live()
			})
		}
		callers.Wait()
		end()
		storm.Wait()
		s.Heal()
		time.Sleep(50 * time.Millisecond)
		for n := range 6 {
			o := numbered(n, []pool.HostID{"proxmox/pve1", "proxmox/pve2"}[n%2])
			require.NoError(t, errors.Join(d.Destroy(t.Context(), o.Ref)))
		}
		require.Equal(t, before, append(s.Volumes("pve1"), s.Volumes("pve2")...))
		require.Equal(t, []int{9001, 9003}, s.Guests("pve1"))
	}
}
