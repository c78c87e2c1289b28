package fake_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// order asks for a machine of 1 GiB of memory and 10 GiB of SSD; n tells instances apart.
func order(host pool.HostID, n int) hypervisor.Order {
	return hypervisor.Order{
		Ref: hypervisor.Ref{Host: host, Tag: hypervisor.Tag{
			Ledger: "ledger", Machine: pool.NewInstanceID("ledger", "p", fmt.Sprint(n)).Machine(0), Launched: pool.Revision(n + 1),
		}},
		Name: fmt.Sprintf("web-%d", n), Source: "image",
		Spec: pool.Spec{
			Image:     "debian-12",
			Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: pool.GiB},
			Disks:     []pool.Disk{{Size: 10 * pool.GiB, Storage: pool.SSD}},
		},
	}
}

// on returns a fleet of fake/a and fake/b.
func on(c fake.Config) *fake.Driver {
	c.Hosts = append(c.Hosts, server("fake/a"), server("fake/b"))
	return fake.New(c)
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

// power is what the machine does, pool.Absent when it is not there.
func power(d *fake.Driver, r hypervisor.Ref) pool.Power {
	v, _ := d.InspectHost(r.Host)
	for _, m := range v.Machines {
		if m.Tag == r.Tag {
			return m.Power
		}
	}
	return pool.Absent
}

// scripted returns a hook that lets the n-th call of op go wrong.
func scripted(op fake.Op, n int, f fake.Fault) func(fake.Call) fake.Fault {
	calls := 0
	return func(c fake.Call) fake.Fault {
		if c.Op == op {
			if calls++; calls == n {
				return f
			}
		}
		return fake.Fault{}
	}
}

// Every fault, scripted: what the caller hears, what has been done when it hears it, and in the end.
func TestScriptedFaults(t *testing.T) {
	t.Parallel()
	reason := errors.New("the reason")
	for name, tc := range map[string]struct {
		fault  fake.Fault
		op     fake.Op
		kind   error         // what the caller hears; nil: success
		after  time.Duration // when
		then   pool.Power    // when it hears it
		later  pool.Power    // in the end
		copies int           // in the end, where copies can be made
	}{
		"refused":               {fault: fake.Fault{Kind: fake.Refuse, Err: reason}, op: fake.OpCreate, kind: hypervisor.ErrRefused, then: pool.Absent, later: pool.Absent},
		"unavailable":           {fault: fake.Fault{Kind: fake.Unavailable, Err: reason}, op: fake.OpCreate, kind: hypervisor.ErrUnavailable, then: pool.Absent, later: pool.Absent},
		"dropped":               {fault: fake.Fault{Kind: fake.Drop, Err: reason}, op: fake.OpCreate, kind: hypervisor.ErrUnknown, then: pool.Absent, later: pool.Absent},
		"dropped, hangs":        {fault: fake.Fault{Kind: fake.Drop, Hang: true}, op: fake.OpCreate, kind: context.DeadlineExceeded, after: time.Minute, then: pool.Absent, later: pool.Absent},
		"lost":                  {fault: fake.Fault{Kind: fake.Lose, Err: reason}, op: fake.OpCreate, kind: hypervisor.ErrUnknown, then: pool.Stopped, later: pool.Stopped, copies: 1},
		"lost, hangs":           {fault: fake.Fault{Kind: fake.Lose, Hang: true}, op: fake.OpCreate, kind: context.DeadlineExceeded, after: time.Minute, then: pool.Stopped, later: pool.Stopped, copies: 1},
		"late":                  {fault: fake.Fault{Kind: fake.Late, After: 90 * time.Second, Err: reason}, op: fake.OpCreate, kind: hypervisor.ErrUnknown, then: pool.Absent, later: pool.Stopped, copies: 1},
		"late, hangs":           {fault: fake.Fault{Kind: fake.Late, After: 90 * time.Second, Hang: true}, op: fake.OpCreate, kind: context.DeadlineExceeded, after: time.Minute, then: pool.Absent, later: pool.Stopped, copies: 1},
		"late, but sooner":      {fault: fake.Fault{Kind: fake.Late, After: time.Second, Hang: true}, op: fake.OpCreate, kind: context.DeadlineExceeded, after: time.Minute, then: pool.Stopped, later: pool.Stopped, copies: 1},
		"twice":                 {fault: fake.Fault{Kind: fake.Duplicate}, op: fake.OpCreate, then: pool.Stopped, later: pool.Stopped, copies: 2},
		"twice, later":          {fault: fake.Fault{Kind: fake.Duplicate, After: time.Hour}, op: fake.OpCreate, then: pool.Stopped, later: pool.Stopped, copies: 2},
		"half-way":              {fault: fake.Fault{Kind: fake.Spoil}, op: fake.OpCreate, kind: errNoKind, then: fake.Debris, later: fake.Debris, copies: 1},
		"slow to arrive":        {fault: fake.Fault{Before: 30 * time.Second}, op: fake.OpCreate, after: 30 * time.Second, then: pool.Stopped, later: pool.Stopped, copies: 1},
		"slow to answer":        {fault: fake.Fault{After: 30 * time.Second}, op: fake.OpCreate, after: 30 * time.Second, then: pool.Stopped, later: pool.Stopped, copies: 1},
		"too slow to arrive":    {fault: fake.Fault{Before: 2 * time.Minute}, op: fake.OpCreate, kind: context.DeadlineExceeded, after: time.Minute, then: pool.Absent, later: pool.Stopped, copies: 1},
		"too slow to answer":    {fault: fake.Fault{After: 2 * time.Minute}, op: fake.OpCreate, kind: context.DeadlineExceeded, after: time.Minute, then: pool.Stopped, later: pool.Stopped, copies: 1},
		"start lost":            {fault: fake.Fault{Kind: fake.Lose}, op: fake.OpStart, kind: hypervisor.ErrUnknown, then: pool.Running, later: pool.Running, copies: 1},
		"start late":            {fault: fake.Fault{Kind: fake.Late, After: time.Second}, op: fake.OpStart, kind: hypervisor.ErrUnknown, then: pool.Stopped, later: pool.Running, copies: 1},
		"start half-way":        {fault: fake.Fault{Kind: fake.Spoil}, op: fake.OpStart, kind: hypervisor.ErrRefused, then: pool.Stopped, later: pool.Stopped, copies: 1},
		"start list broken off": {fault: fake.Fault{Kind: fake.Shorten}, op: fake.OpStart, kind: hypervisor.ErrUnavailable, then: pool.Stopped, later: pool.Stopped, copies: 1},
	} {
		for _, copies := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/copies=%v", name, copies), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					d := on(fake.Config{Copies: copies, Hook: scripted(tc.op, 1, tc.fault)})
					o := order("fake/a", 1)
					call := func(ctx context.Context) error { return d.Create(ctx, o) }
					if tc.op == fake.OpStart {
						require.NoError(t, d.Create(t.Context(), o))
						call = func(ctx context.Context) error { return d.Start(ctx, o.Ref) }
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					begin := time.Now()
					err := call(ctx)
					require.Equal(t, tc.after, time.Since(begin))
					require.Equal(t, tc.then, power(d, o.Ref))
					switch {
					case tc.kind == nil:
						require.NoError(t, err)
					case tc.kind == errNoKind:
						require.Error(t, err)
						require.False(t, hypervisor.Nothing(err))
					default:
						require.ErrorIs(t, err, tc.kind)
						var e *hypervisor.Error
						require.ErrorAs(t, err, &e)
						require.Equal(t, o.Machine, e.Machine)
					}
					if tc.fault.Err != nil {
						require.ErrorIs(t, err, reason)
					}
					require.NoError(t, d.Wait(t.Context()))
					require.Equal(t, tc.later, power(d, o.Ref))
					v, _ := d.InspectHost("fake/a")
					want := tc.copies
					if !copies {
						want = min(want, 1)
					}
					require.Len(t, v.Machines, want)
					if k := tc.fault.Kind; k == "" {
						require.Empty(t, d.Injected())
					} else {
						require.Len(t, d.Injected(), 1)
					}
				})
			})
		}
	}
}

var errNoKind = errors.New("an error of no kind")

// A call without a deadline that hears nothing gives up by itself.
func TestSilenceEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{Hook: scripted(fake.OpCreate, 1, fake.Fault{Kind: fake.Drop, Hang: true})})
		begin := time.Now()
		require.ErrorIs(t, d.Create(context.Background(), order("fake/a", 1)), hypervisor.ErrUnknown)
		require.Equal(t, 2*time.Minute, time.Since(begin))
	})
}

// A call that only reads cannot land late: it hears nothing.
func TestFaultsOfReads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var fault fake.Fault
		d := on(fake.Config{Hook: func(fake.Call) fake.Fault { return fault }})
		for i := range 5 {
			require.NoError(t, d.Create(t.Context(), order("fake/a", i)))
		}
		for _, k := range []fake.FaultKind{fake.Drop, fake.Lose, fake.Late} {
			fault = fake.Fault{Kind: k, After: time.Hour}
			_, err := d.Machines(t.Context(), "fake/a")
			require.ErrorIs(t, err, hypervisor.ErrUnknown, k)
			_, err = d.Hosts(t.Context())
			require.ErrorIs(t, err, hypervisor.ErrUnknown, k)
			_, err = d.Sample(t.Context(), "fake/a")
			require.ErrorIs(t, err, hypervisor.ErrUnknown, k)
		}
		fault = fake.Fault{Kind: fake.Duplicate, After: time.Hour}
		list, err := d.Machines(t.Context(), "fake/a")
		require.NoError(t, err)
		require.Len(t, list, 5)

		// A list that broke off comes with an error, and is not whole.
		fault = fake.Fault{Kind: fake.Shorten}
		list, err = d.Machines(t.Context(), "fake/a")
		require.ErrorIs(t, err, hypervisor.ErrUnavailable)
		require.Len(t, list, 2)
		_, err = d.Hosts(t.Context())
		require.ErrorIs(t, err, hypervisor.ErrUnavailable)
		require.NoError(t, d.Wait(t.Context()))
	})
}

// A list shows what was there when the hypervisor looked, not when the answer came.
func TestAListCanBeOld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{Hook: scripted(fake.OpMachines, 1, fake.Fault{Before: time.Second, After: time.Minute})})
		o := order("fake/a", 1)
		require.NoError(t, d.Create(t.Context(), o))
		seen := make(chan []hypervisor.Machine)
		go func() {
			list, _ := d.Machines(t.Context(), "fake/a")
			seen <- list
		}()
		time.Sleep(2 * time.Second)
		require.NoError(t, d.Destroy(t.Context(), o.Ref))
		require.Len(t, <-seen, 1)
		require.Equal(t, pool.Absent, power(d, o.Ref))
	})
}

// Chances come true about as often as they say, each fault among them, and again the same with the same seed.
func TestFaultsByChance(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const n = 1500
		faults := fake.Faults{
			Refuse: 0.05, Unavailable: 0.05, Drop: 0.05, Lose: 0.05, Late: 0.05, Duplicate: 0.05, Spoil: 0.05, Break: 0.05, Shorten: 0.1,
			Hang: 0.5, LateBy: 20 * time.Second, DuplicateBy: time.Second,
		}
		run := func(seed uint64, together bool) (map[fake.FaultKind]int, []string) {
			d := on(fake.Config{Seed: seed, Faults: faults, Copies: true, Overfill: true, Latency: fake.Latency{Mean: time.Second}})
			errs := make([]string, n)
			one := func(i int) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := d.Create(ctx, order("fake/a", i)); err != nil {
					errs[i] = err.Error()
				}
			}
			done := make(chan struct{}, n)
			for i := range n {
				if !together {
					one(i)
					continue
				}
				go func() {
					one(i)
					done <- struct{}{}
				}()
			}
			for range n {
				if together {
					<-done
				}
			}
			for range n {
				_, _ = d.Machines(t.Context(), "fake/b")
			}
			require.NoError(t, d.Wait(t.Context()))
			require.NoError(t, d.Close())
			return d.Injected(), errs
		}
		injected, errs := run(1, false)
		for k, p := range map[fake.FaultKind]float64{
			fake.Refuse: 0.05, fake.Unavailable: 0.1, fake.Drop: 0.05, fake.Lose: 0.05, fake.Late: 0.05, fake.Duplicate: 0.05, fake.Spoil: 0.05, fake.Break: 0.05, fake.Shorten: 0.1,
		} {
			require.InEpsilon(t, p*n, injected[k], 0.3, k)
		}
		// Neither the order of the calls nor their concurrency changes what goes wrong with which.
		again, errsAgain := run(1, true)
		require.Equal(t, injected, again)
		require.Equal(t, errs, errsAgain)
		other, _ := run(2, false)
		require.NotEqual(t, injected, other)
	})
}

// No create drawn by chance lands later than the capabilities say.
func TestCreatesSettle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{
			Copies: true, Overfill: true, Settles: 10 * time.Second, Build: 2 * time.Second, Latency: fake.Latency{Mean: 100 * time.Millisecond},
			Faults: fake.Faults{Late: 0.5, Duplicate: 0.5, LateBy: time.Hour, DuplicateBy: time.Hour, Hang: 1},
		})
		require.Equal(t, 10*time.Second, d.Describe("fake/a").Settles)
		begin := time.Now()
		done := make(chan struct{})
		for i := range 500 {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*10*time.Millisecond)
				defer cancel()
				_ = d.Create(ctx, order("fake/a", i))
				done <- struct{}{}
			}()
		}
		for range 500 {
			<-done
		}
		require.NoError(t, d.Wait(t.Context()))
		require.LessOrEqual(t, time.Since(begin), 10*time.Second)
		v, _ := d.InspectHost("fake/a")
		require.Greater(t, len(v.Machines), 600)
		for _, m := range v.Machines {
			require.LessOrEqual(t, m.Since.Sub(begin), 10*time.Second)
		}
	})
}

func TestSetFaultsHeals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{Faults: fake.Faults{Refuse: 1}})
		require.ErrorIs(t, d.Create(t.Context(), order("fake/a", 1)), hypervisor.ErrRefused)
		require.NoError(t, d.SetFaults(fake.Faults{}))
		require.NoError(t, d.Create(t.Context(), order("fake/a", 1)))
		require.ErrorIs(t, d.SetFaults(fake.Faults{Refuse: 0.7, Late: 0.7}), pool.ErrInvalid)
		require.ErrorIs(t, d.SetFaults(fake.Faults{Refuse: -1}), pool.ErrInvalid)
	})
}

// Close forgets what was to land, and ends every later call.
func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{Hook: scripted(fake.OpCreate, 1, fake.Fault{Kind: fake.Late, After: time.Minute})})
		o := order("fake/a", 1)
		require.ErrorIs(t, d.Create(t.Context(), o), hypervisor.ErrUnknown)
		waited := make(chan error)
		go func() { waited <- d.Wait(t.Context()) }()
		synctest.Wait()
		require.NoError(t, d.Close())
		require.NoError(t, <-waited)
		require.NoError(t, d.Close())
		time.Sleep(time.Hour)
		require.Equal(t, pool.Absent, power(d, o.Ref))
		require.ErrorIs(t, d.Create(t.Context(), o), hypervisor.ErrUnavailable)
		_, err := d.Hosts(t.Context())
		require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{Hook: scripted(fake.OpCreate, 1, fake.Fault{Kind: fake.Late, After: time.Hour})})
		require.ErrorIs(t, d.Create(t.Context(), order("fake/a", 1)), hypervisor.ErrUnknown)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, d.Wait(ctx), context.DeadlineExceeded)
		require.NoError(t, d.Close())
	})
}
