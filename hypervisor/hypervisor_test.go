package hypervisor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// plain is a driver without abilities.
type plain struct{ hypervisor.Driver }

// wrapper hides what it wraps, but for Unwrap.
type wrapper struct{ inner hypervisor.Driver }

func (w wrapper) Unwrap() hypervisor.Driver                         { return w.inner }
func (w wrapper) Hosts(ctx context.Context) ([]pool.Host, error)    { return w.inner.Hosts(ctx) }
func (w wrapper) Start(ctx context.Context, r hypervisor.Ref) error { return w.inner.Start(ctx, r) }
func (w wrapper) Stop(ctx context.Context, r hypervisor.Ref) error  { return w.inner.Stop(ctx, r) }
func (w wrapper) Destroy(ctx context.Context, r hypervisor.Ref) error {
	return w.inner.Destroy(ctx, r)
}

func (w wrapper) Create(ctx context.Context, o hypervisor.Order) error {
	return w.inner.Create(ctx, o)
}

func (w wrapper) Machines(ctx context.Context, h pool.HostID) ([]hypervisor.Machine, error) {
	return w.inner.Machines(ctx, h)
}

// able is a driver that can suspend and reboot.
type able struct {
	plain
	name string
}

func (able) Suspend(context.Context, hypervisor.Ref) error { return nil }
func (able) Resume(context.Context, hypervisor.Ref) error  { return nil }
func (able) Reboot(context.Context, hypervisor.Ref) error  { return nil }

// described is able, and says what works where.
type described struct {
	able
	on map[pool.HostID]hypervisor.Capabilities
}

func (d described) Describe(h pool.HostID) hypervisor.Capabilities { return d.on[h] }

// rebooter is a wrapper that reboots in its own way.
type rebooter struct{ wrapper }

func (rebooter) Reboot(context.Context, hypervisor.Ref) error { return errors.New("in its own way") }

func TestAs(t *testing.T) {
	t.Parallel()
	innermost := able{name: "innermost"}
	for name, tc := range map[string]struct {
		driver hypervisor.Driver
		found  bool
	}{
		"nothing":              {nil, false},
		"without":              {plain{}, false},
		"itself":               {innermost, true},
		"wrapped":              {wrapper{innermost}, true},
		"wrapped three times":  {wrapper{wrapper{wrapper{innermost}}}, true},
		"wrapped, without":     {wrapper{wrapper{plain{}}}, false},
		"wrapper of nothing":   {wrapper{nil}, false},
		"wrapper in its place": {rebooter{wrapper{innermost}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, ok := hypervisor.As[hypervisor.Suspender](tc.driver)
			require.Equal(t, tc.found, ok)
			if !ok {
				require.Nil(t, s)
				return
			}
			require.Equal(t, innermost, s)
		})
	}

	// The outermost driver that has it is taken.
	r, ok := hypervisor.As[hypervisor.Rebooter](wrapper{rebooter{wrapper{innermost}}})
	require.True(t, ok)
	require.EqualError(t, r.Reboot(t.Context(), hypervisor.Ref{}), "in its own way")

	// A concrete type is found too.
	a, ok := hypervisor.As[able](wrapper{innermost})
	require.True(t, ok)
	require.Equal(t, "innermost", a.name)
}

func TestCapabilitiesOf(t *testing.T) {
	t.Parallel()
	both := []hypervisor.Ability{hypervisor.CanReboot, hypervisor.CanSuspend}
	says := described{on: map[pool.HostID]hypervisor.Capabilities{
		"acme/all":   {CreateUnique: true, Settles: time.Minute, FirstBoot: true, Abilities: both},
		"acme/some":  {Abilities: []hypervisor.Ability{hypervisor.CanSuspend}},
		"acme/boast": {Abilities: []hypervisor.Ability{hypervisor.CanConsole, hypervisor.CanReboot, "teleport"}},
	}}
	for name, tc := range map[string]struct {
		driver hypervisor.Driver
		host   pool.HostID
		want   hypervisor.Capabilities
	}{
		"not described":          {able{}, "acme/all", hypervisor.Capabilities{Abilities: both}},
		"not described, without": {plain{}, "acme/all", hypervisor.Capabilities{}},
		"all":                    {says, "acme/all", says.on["acme/all"]},
		"all, wrapped":           {wrapper{says}, "acme/all", says.on["acme/all"]},
		"some":                   {says, "acme/some", says.on["acme/some"]},
		"none":                   {says, "acme/none", hypervisor.Capabilities{}},
		"without the interface":  {says, "acme/boast", hypervisor.Capabilities{Abilities: []hypervisor.Ability{hypervisor.CanReboot}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, hypervisor.CapabilitiesOf(tc.driver, tc.host))
			for _, a := range []hypervisor.Ability{hypervisor.CanConsole, hypervisor.CanMeter, hypervisor.CanReboot, hypervisor.CanSuspend, "teleport"} {
				has := false
				for _, offered := range tc.want.Abilities {
					has = has || offered == a
				}
				require.Equal(t, has, hypervisor.Has(tc.driver, tc.host, a), a)
			}
		})
	}
}

// mover can do what there are two abilities for.
type mover struct {
	plain
	hypervisor.Resizer
	hypervisor.Migrator
}

// Whether a call works on running machines too is not seen in the interface: it has to be said.
func TestHotIsSaid(t *testing.T) {
	t.Parallel()
	require.Equal(t, []hypervisor.Ability{hypervisor.CanMigrate, hypervisor.CanResize}, hypervisor.CapabilitiesOf(mover{}, "acme/h1").Abilities)
	hot := []hypervisor.Ability{hypervisor.CanMigrate, hypervisor.CanMigrateLive, hypervisor.CanResize, hypervisor.CanResizeHot}
	says := struct {
		mover
		hypervisor.Describer
	}{Describer: described{on: map[pool.HostID]hypervisor.Capabilities{"acme/h1": {Abilities: hot}}}}
	require.Equal(t, hot, hypervisor.CapabilitiesOf(says, "acme/h1").Abilities)
	require.False(t, hypervisor.Has(says, "acme/h2", hypervisor.CanMigrateLive))
}

func TestError(t *testing.T) {
	t.Parallel()
	reset := fmt.Errorf("read: %w", io.ErrUnexpectedEOF)
	for want, e := range map[string]*hypervisor.Error{
		"create m-0 on acme/h1: outcome unknown: read: unexpected EOF": {Op: "create", Host: "acme/h1", Machine: "m-0", Kind: hypervisor.ErrUnknown, Cause: reset},
		"list machines on acme/h1: unavailable":                        {Op: "list machines", Host: "acme/h1", Kind: hypervisor.ErrUnavailable},
		"list hosts: read: unexpected EOF":                             {Op: "list hosts", Cause: reset},
		"suspend m-0 on acme/h1: unsupported operation":                {Op: "suspend", Host: "acme/h1", Machine: "m-0", Kind: errors.ErrUnsupported},
	} {
		require.EqualError(t, e, want)
		wrapped := fmt.Errorf("launch web-1: %w", e)
		if e.Kind != nil {
			require.ErrorIs(t, wrapped, e.Kind)
		}
		require.Equal(t, e.Cause != nil, errors.Is(wrapped, io.ErrUnexpectedEOF))
		var got *hypervisor.Error
		require.ErrorAs(t, wrapped, &got)
		require.Same(t, e, got)
	}
}

func TestNothing(t *testing.T) {
	t.Parallel()
	done := func(kind error) error { return &hypervisor.Error{Op: "create", Kind: kind} }
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"exists":                {done(hypervisor.ErrExists), true},
		"foreign":               {done(hypervisor.ErrForeign), true},
		"refused":               {done(hypervisor.ErrRefused), true},
		"invalid":               {done(hypervisor.ErrInvalid), true},
		"wrong power":           {done(hypervisor.ErrWrongPower), true},
		"unavailable":           {done(hypervisor.ErrUnavailable), true},
		"not found":             {done(hypervisor.ErrNotFound), true},
		"unsupported":           {done(errors.ErrUnsupported), true},
		"wrapped":               {fmt.Errorf("launch: %w", done(hypervisor.ErrRefused)), true},
		"unknown":               {done(hypervisor.ErrUnknown), false},
		"no kind":               {done(nil), false},
		"not a driver's":        {io.ErrUnexpectedEOF, false},
		"deadline":              {done(context.DeadlineExceeded), false},
		"cancelled":             {context.Canceled, false},
		"success":               {nil, false},
		"unknown and refused":   {errors.Join(done(hypervisor.ErrRefused), done(hypervisor.ErrUnknown)), false},
		"refused at a deadline": {&hypervisor.Error{Kind: hypervisor.ErrUnknown, Cause: done(hypervisor.ErrRefused)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, hypervisor.Nothing(tc.err))
		})
	}
}
