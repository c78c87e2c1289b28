package berthage_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// Bad input gives an error of the right kind and changes nothing.
func TestBadLaunches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1)})
		defer b.stop()
		ctx := context.Background()
		require.NoError(t, b.m.PutProject(ctx, pool.Project{Name: "small", Quota: pool.Resources{pool.CPU: pool.Core / 2}}))
		require.NoError(t, b.m.PutFlavor(ctx, pool.Flavor{Name: "huge", Resources: pool.Resources{pool.CPU: math.MaxInt64}}))
		time.Sleep(time.Minute)
		good := func() berthage.Launch {
			return berthage.Launch{Token: "t", Project: "shop", Name: "web", Spec: spec()}
		}
		hostile := []string{"", "a\nb", `"`, "'", "<domain/>", "a: b", "../x", "\x00", "\xff", strings.Repeat("x", 1<<20), "Web", "-web", "web-"}
		for _, tc := range []struct {
			name   string
			change func(*berthage.Launch, string)
			values []string
			kind   error
		}{
			{"names", func(l *berthage.Launch, s string) { l.Name = s }, hostile, pool.ErrInvalid},
			{"tokens", func(l *berthage.Launch, s string) { l.Token = s }, []string{"", "a\nb", "\x00", "\xff", strings.Repeat("x", 129)}, pool.ErrInvalid},
			{"mounts", func(l *berthage.Launch, s string) {
				l.Spec.Disks = append(l.Spec.Disks, pool.Disk{Size: pool.GiB, Mount: s})
			}, []string{"data", "/", "/a/../b", "/a\nb", "/a b", "/a;b", "/a'"}, pool.ErrInvalid},
			{"users", func(l *berthage.Launch, s string) { l.Spec.Guest.User = s }, []string{"Root", "a b", "a\n", "a:b", "1a"}, pool.ErrInvalid},
			{"keys", func(l *berthage.Launch, s string) { l.Spec.Guest.SSHKeys = []string{s} }, []string{"", "x", "ssh-ed25519 AAAA", "ssh-rsa AAAA\nssh-rsa BBBB"}, pool.ErrInvalid},
			{"user-data", func(l *berthage.Launch, s string) { l.Spec.Guest.UserData = s }, []string{strings.Repeat("x", pool.MaxUserData+1)}, pool.ErrInvalid},
			{"labels", func(l *berthage.Launch, s string) { l.Spec.Labels = map[string]string{s: "v"} }, []string{"", "a b", "<", "\n"}, pool.ErrInvalid},
			{"projects", func(l *berthage.Launch, s string) { l.Project = s }, []string{"nobody", "", "\n"}, pool.ErrNotFound},
			{"images", func(l *berthage.Launch, s string) { l.Spec.Image = s }, []string{"beos"}, pool.ErrNotFound},
			{"images", func(l *berthage.Launch, s string) { l.Spec.Image = s }, []string{"", "<x>", "a\nb"}, pool.ErrInvalid},
			{"flavors", func(l *berthage.Launch, s string) { l.Spec.Flavor, l.Spec.Resources = s, nil }, []string{"nano"}, pool.ErrNotFound},
			{"a flavor and sizes", func(l *berthage.Launch, s string) { l.Spec.Flavor = s }, []string{"huge"}, pool.ErrInvalid},
			{"a huge flavor", func(l *berthage.Launch, s string) { l.Spec.Flavor, l.Spec.Resources = s, nil }, []string{"huge"}, pool.ErrInvalid},
			{"a host that is none", func(l *berthage.Launch, s string) { l.Spec.Constraints.Hosts = []pool.HostID{pool.HostID(s)} }, []string{"sim/h99"}, pool.ErrNoRoom},
			{"a host's id", func(l *berthage.Launch, s string) { l.Spec.Constraints.Hosts = []pool.HostID{pool.HostID(s)} }, []string{"h99", "", "sim/\n"}, pool.ErrInvalid},
			{"quota", func(l *berthage.Launch, s string) { l.Project = s }, []string{"small"}, pool.ErrOverQuota},
			{"states", func(l *berthage.Launch, s string) { l.Want = pool.Power(s) }, []string{"suspended", "absent", "flying"}, pool.ErrInvalid},
		} {
			for _, v := range tc.values {
				l := good()
				tc.change(&l, v)
				refuses(t, b.m, l, tc.kind, tc.name+" "+pool.Quote(v))
			}
		}
		for _, tc := range []struct {
			class pool.Class
			n     int64
			kind  error
		}{
			{pool.CPU, 0, pool.ErrInvalid}, {pool.CPU, -1, pool.ErrInvalid}, {pool.CPU, math.MinInt64, pool.ErrInvalid},
			{pool.CPU, math.MaxInt64, pool.ErrInvalid}, {pool.CPU, 9 * pool.Core, pool.ErrNoRoom},
			{pool.Memory, 1, pool.ErrInvalid}, {pool.Memory, 32 * pool.GiB, pool.ErrNoRoom}, {pool.GPU, 1, pool.ErrNoRoom},
			{"licence.x", 1, pool.ErrNoRoom}, {"Licence", 1, pool.ErrInvalid}, {pool.StorageSSD, 1, pool.ErrInvalid}, {pool.Instances, 1, pool.ErrInvalid},
		} {
			l := good()
			l.Spec.Resources[tc.class] = tc.n
			refuses(t, b.m, l, tc.kind, string(tc.class))
		}
		for _, disks := range [][]pool.Disk{
			{{Size: 0}}, {{Size: -1}}, {{Size: math.MaxInt64}}, {{Size: pool.GiB}, {Size: math.MaxInt64}}, {{Size: math.MaxInt64}, {Size: math.MaxInt64}},
			{{Size: pool.GiB, IOPS: -1}}, {{Size: pool.GiB, Storage: "a b"}}, {{Size: pool.GiB, Mount: "/data"}},
			{{Size: pool.GiB}, {Size: pool.GiB, Mount: "/a"}, {Size: pool.GiB, Mount: "/a"}}, make([]pool.Disk, 17),
		} {
			l := good()
			l.Spec.Disks = disks
			refuses(t, b.m, l, nil, "disks")
		}
		require.Empty(t, machines(b.fleet))
	})
}

// refuses checks that a launch is refused with an error of that kind, short and harmless, and that nothing
// has changed.
func refuses(t *testing.T, m *berthage.Manager, l berthage.Launch, kind error, what string) {
	t.Helper()
	before := m.Status().Revision
	_, err := m.Launch(context.Background(), l)
	require.Error(t, err, what)
	if kind != nil {
		require.ErrorIs(t, err, kind, what)
	} else {
		require.True(t, is(err, pool.ErrInvalid, pool.ErrOverflow), "%s: %v", what, err)
	}
	require.NotContains(t, err.Error(), "\n", what)
	require.Less(t, len(err.Error()), 1000, what)
	require.Equal(t, before, m.Status().Revision, what)
}

func TestBadCommands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1), Without: []hypervisor.Ability{hypervisor.CanSuspend, hypervisor.CanReboot}})
		defer b.stop()
		ctx := context.Background()
		i := settle(t, b.m, b.launch("one").ID)
		time.Sleep(time.Minute)
		before := b.m.Status().Revision
		none := pool.NewInstanceID("x", "y", "z")
		second := func(_ any, err error) error { return err }
		for name, tc := range map[string]struct {
			err  error
			kind error
		}{
			"power of none":       {second(b.m.SetPower(ctx, none, pool.Running)), pool.ErrNotFound},
			"power absent":        {second(b.m.SetPower(ctx, i.ID, pool.Absent)), pool.ErrInvalid},
			"power unknown":       {second(b.m.SetPower(ctx, i.ID, "flying")), pool.ErrInvalid},
			"suspend not offered": {second(b.m.SetPower(ctx, i.ID, pool.Suspended)), errUnsupported},
			"reboot not offered":  {second(b.m.Reboot(ctx, i.ID, "t")), errUnsupported},
			"delete of none":      {second(b.m.Delete(ctx, none)), pool.ErrNotFound},
			"cordon of none":      {second(b.m.Cordon(ctx, "sim/x", "")), pool.ErrNotFound},
			"cordon, long reason": {second(b.m.Cordon(ctx, "sim/h00", strings.Repeat("x", 256))), pool.ErrInvalid},
			"cordon, two lines":   {second(b.m.Cordon(ctx, "sim/h00", "a\nb")), pool.ErrInvalid},
			"add of none":         {second(b.m.AddHost(ctx, "sim/x")), pool.ErrNotFound},
			"add, no driver":      {second(b.m.AddHost(ctx, "other/x")), pool.ErrNotFound},
			"remove of none":      {b.m.RemoveHost(ctx, "sim/x"), pool.ErrNotFound},
			"remove in use":       {b.m.RemoveHost(ctx, "sim/h00"), pool.ErrInUse},
			"project in use":      {b.m.RemoveProject(ctx, "shop"), pool.ErrInUse},
			"project of none":     {b.m.RemoveProject(ctx, "x"), pool.ErrNotFound},
			"project, negative":   {b.m.PutProject(ctx, pool.Project{Name: "p", Quota: pool.Resources{pool.CPU: -1}}), pool.ErrInvalid},
			"project, name":       {b.m.PutProject(ctx, pool.Project{Name: "a b"}), pool.ErrInvalid},
			"image, name":         {b.m.PutImage(ctx, pool.Image{Name: "<x>", User: "x"}), pool.ErrInvalid},
			"image, user":         {b.m.PutImage(ctx, pool.Image{Name: "x", User: "X"}), pool.ErrInvalid},
			"image, source":       {b.m.PutImage(ctx, pool.Image{Name: "x", User: "x", Sources: map[string]string{"sim": "a\nb"}}), pool.ErrInvalid},
			"flavor, two kinds":   {b.m.PutFlavor(ctx, pool.Flavor{Name: "x", Resources: pool.Resources{pool.StorageSSD: 1, pool.StorageNVMe: 1}}), pool.ErrInvalid},
			"flavor of none":      {b.m.RemoveFlavor(ctx, "x"), pool.ErrNotFound},
			"image of none":       {b.m.RemoveImage(ctx, "x"), pool.ErrNotFound},
			"held of none":        {b.m.ReleaseHeld(ctx, i.Machine()), pool.ErrNotFound},
			"console of none":     {second(b.m.ConsoleLog(ctx, none, 10)), pool.ErrNotFound},
			"samples, no driver":  {second(b.m.Sample(ctx, "other/x")), pool.ErrNotFound},
		} {
			require.ErrorIs(t, tc.err, tc.kind, name)
		}
		require.Equal(t, before, b.m.Status().Revision)

		_, err := b.m.Delete(ctx, i.ID)
		require.NoError(t, err)
		settle(t, b.m, i.ID)
		_, err = b.m.SetPower(ctx, i.ID, pool.Running)
		require.ErrorIs(t, err, pool.ErrNotFound)
		_, err = b.m.Delete(ctx, i.ID)
		require.NoError(t, err, "deleting again is no error")
	})
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	drivers := map[string]hypervisor.Driver{"sim": fake.New(fake.Config{Name: "sim"})}
	ledger := pool.NewMemoryLedger()
	for name, c := range map[string]berthage.Config{
		"nothing":            {},
		"no drivers":         {Ledger: ledger},
		"no ledger":          {Drivers: drivers},
		"nil driver":         {Ledger: ledger, Drivers: map[string]hypervisor.Driver{"sim": nil}},
		"driver's name":      {Ledger: ledger, Drivers: map[string]hypervisor.Driver{"a/b": drivers["sim"]}},
		"real and forgetful": {Ledger: ledger, Drivers: map[string]hypervisor.Driver{"sim": struct{ hypervisor.Driver }{drivers["sim"]}}},
		"negative":           {Ledger: ledger, Drivers: drivers, Poll: -1},
		"negative calls":     {Ledger: ledger, Drivers: drivers, MaxCalls: -1},
		"negative polls":     {Ledger: ledger, Drivers: drivers, MaxPolls: -1},
		"lease of a moment":  {Ledger: ledger, Drivers: drivers, LeaseTTL: 1},
		"name of no text":    {Ledger: ledger, Drivers: drivers, Name: "a\xff"},
	} {
		_, err := berthage.Open(context.Background(), c)
		require.ErrorIs(t, err, pool.ErrInvalid, name)
	}
	m, err := berthage.Open(context.Background(), berthage.Config{Ledger: ledger, Ephemeral: true,
		Drivers: map[string]hypervisor.Driver{"sim": struct{ hypervisor.Driver }{drivers["sim"]}}})
	require.NoError(t, err)
	m.Close()
}
