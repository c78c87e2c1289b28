package berthage_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// A panic in the importer's Admit fails the list of hosts that it was asked about and nothing else.
func TestPanicInAdmit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var bad atomic.Bool
		b := start(t, fake.Config{Hosts: hosts(2)}, func(c *berthage.Config) {
			c.Admit = func(pool.Host) bool {
				if bad.Load() {
					panic("no idea")
				}
				return true
			}
		})
		defer b.stop()
		bad.Store(true)
		require.NoError(t, b.fleet.AddHost(hosts(3)[2]))
		time.Sleep(time.Minute)
		require.Equal(t, "running", settle(t, b.m, b.launch("one").ID).Status())
		bad.Store(false)
		b.pooled(b.m, 3)
	})
}

// odd is a driver of which single calls can be replaced.
type odd struct {
	*fake.Driver
	create func(hypervisor.Order) error
	start  func() error
}

func (d *odd) Create(ctx context.Context, o hypervisor.Order) error {
	if d.create != nil {
		if err := d.create(o); err != nil {
			return err
		}
	}
	return d.Driver.Create(ctx, o)
}

func (d *odd) Start(ctx context.Context, r hypervisor.Ref) error {
	if d.start != nil {
		if err := d.start(); err != nil {
			return err
		}
	}
	return d.Driver.Start(ctx, r)
}

// Whatever a driver's error is, what failed is not repeated at once and for ever.
func TestStrangeErrorsAreNotRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	const most = 1000
	for name, tc := range map[string]struct {
		create, start error
		within        time.Duration // until it is given up; zero: it is not
	}{
		"a start cancelled by nobody":             {start: context.Canceled},
		"a create cancelled by nobody":            {create: context.Canceled, within: time.Minute},
		"a machine that exists and is in no list": {create: hypervisor.ErrExists, within: time.Minute},
		"a host on which only creates fail":       {create: hypervisor.ErrUnavailable, within: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int32
				fails := func(err error) error {
					if calls.Add(1) < most {
						return err
					}
					return nil
				}
				d := &odd{create: func(hypervisor.Order) error { return fails(tc.create) }, start: func() error { return fails(tc.start) }}
				d.Driver = fake.New(fake.Config{Name: "sim", Hosts: hosts(1)})
				if tc.create == nil {
					d.create = nil
				}
				b := &bench{t: t, fleet: d.Driver, ledger: pool.NewMemoryLedger()}
				b.m = open(t, d, b.ledger)
				catalogue(t, b.m)
				defer run(t, b.m)()
				b.pooled(b.m, 1)
				i := b.launch("one")
				time.Sleep(10 * time.Second)
				require.Less(t, calls.Load(), int32(10))
				if tc.within > 0 {
					time.Sleep(tc.within)
					i, err := b.m.Instance(i.ID)
					require.NoError(t, err)
					require.Equal(t, pool.Failed, i.Phase)
					require.Less(t, calls.Load(), int32(10))
				}
			})
		})
	}
}

// A deletion is not kept waiting by what was planned before it: a look that is due only when a lost create can
// no longer land.
func TestDeleteWhileLooking(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lost := first(fake.OpCreate, 1, fake.Fault{Kind: fake.Drop})
		looked := make(chan struct{}, 100)
		b := start(t, fake.Config{Hosts: hosts(1), Copies: true, Settles: time.Hour, Hook: func(c fake.Call) fake.Fault {
			if c.Op == fake.OpMachines {
				looked <- struct{}{}
				return fake.Fault{Before: 2 * time.Second}
			}
			return lost(c)
		}}, func(c *berthage.Config) { c.Poll = time.Hour })
		defer b.stop()
		i := b.launch("one")
		time.Sleep(2 * time.Second)
		<-looked // the first poll's
		<-looked // that of the create's outcome
		_, err := b.m.Delete(context.Background(), i.ID)
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		i, err = b.m.Instance(i.ID)
		require.NoError(t, err)
		require.Equal(t, pool.Deleted, i.Phase)
		require.Equal(t, 1, held(b.m))
	})
}

// deaf is a ledger that does not tell when something was appended.
type deaf struct{ pool.Ledger }

// A leader that has not heard of its successor repeats no create.
func TestNoCreateIsRepeatedAfterATakeOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, ledger: pool.NewMemoryLedger()}
		b.fleet = fake.New(fake.Config{Name: "sim", Hosts: hosts(1), Hook: first(fake.OpCreate, 1, fake.Fault{Kind: fake.Drop})})
		b.m = open(t, b.fleet, deaf{b.ledger}, func(c *berthage.Config) { c.Tail = time.Hour })
		catalogue(t, b.m)
		defer run(t, b.m)()
		b.pooled(b.m, 1)
		i := b.launch("one")
		time.Sleep(100 * time.Millisecond)
		second := open(t, b.fleet, b.ledger)
		_, err := second.Delete(context.Background(), i.ID)
		require.NoError(t, err)
		defer run(t, second)()
		require.Equal(t, pool.Deleted, settle(t, second, i.ID).Phase)
		time.Sleep(10 * time.Minute)
		require.Equal(t, 1, b.fleet.Calls()[fake.OpCreate])
		require.False(t, b.m.Status().Leading)
		require.Zero(t, held(second))
	})
}
