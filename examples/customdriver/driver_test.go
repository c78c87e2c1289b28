package customdriver_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/customdriver"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

func TestConfigurationsThatAreWrong(t *testing.T) {
	t.Parallel()
	good := customdriver.HostConfig{Name: "one", Dir: "/srv/machines"}
	for name, tc := range map[string]struct {
		config customdriver.Config
		field  string
	}{
		"no host":           {customdriver.Config{}, "hosts"},
		"the same twice":    {customdriver.Config{Hosts: []customdriver.HostConfig{good, good}}, "hosts[1].name"},
		"a relative path":   {customdriver.Config{Hosts: []customdriver.HostConfig{{Name: "one", Dir: "machines"}}}, "hosts[0].dir"},
		"a name with space": {customdriver.Config{Hosts: []customdriver.HostConfig{{Name: "o ne", Dir: "/srv"}}}, "hosts[0].host"},
		"a negative amount": {customdriver.Config{Hosts: []customdriver.HostConfig{{Name: "one", Dir: "/srv", Reserved: pool.Resources{pool.CPU: -1}}}}, "hosts[0].reserved"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := customdriver.New(tc.config)
			require.ErrorIs(t, err, pool.ErrInvalid)
			var e *pool.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tc.field, strings.TrimSuffix(e.Field, ".cpu"))
		})
	}
}

// one is a driver with a host whose shell is changed.
func one(t *testing.T, change func(script, reply []byte, err error) ([]byte, error)) (*customdriver.Driver, hypervisor.Order, string) {
	t.Helper()
	dir := prepare(t)
	sh := customdriver.Command("sh")
	d, err := customdriver.New(customdriver.Config{Hosts: []customdriver.HostConfig{{Name: "one", Dir: dir,
		Shell: func(ctx context.Context, script []byte) ([]byte, error) {
			reply, err := sh(ctx, script)
			return change(script, reply, err)
		}}}})
	require.NoError(t, err)
	o := hypervisor.Order{
		Ref:  hypervisor.Ref{Host: "process/one", Tag: hypervisor.Tag{Ledger: "it's", Machine: pool.NewInstanceID("l", "p", "t").Machine(0), Launched: 1}},
		Name: "web-1", Source: "ticker", Revision: 1,
		Spec: pool.Spec{Resources: pool.Resources{pool.Memory: 64 * pool.MiB}, Disks: []pool.Disk{{Size: pool.MiB}}},
	}
	t.Cleanup(func() {
		d, err := customdriver.New(customdriver.Config{Hosts: []customdriver.HostConfig{{Name: "one", Dir: dir}}})
		require.NoError(t, err)
		require.NoError(t, d.Destroy(context.Background(), o.Ref))
	})
	return d, o, dir
}

// Wherever a reply is cut, a list fails; it is never shorter.
func TestListsAreWhole(t *testing.T) {
	t.Parallel()
	cut := -1
	length := 0
	d, o, _ := one(t, func(_, reply []byte, err error) ([]byte, error) {
		if length = len(reply); cut >= 0 {
			reply = reply[:cut]
		}
		return reply, err
	})
	require.NoError(t, d.Create(t.Context(), o))
	list, err := d.Machines(t.Context(), o.Host)
	require.NoError(t, err)
	require.Len(t, list, 1)
	for cut = 0; cut < length; cut += 7 {
		_, err := d.Machines(t.Context(), o.Host)
		require.ErrorIs(t, err, hypervisor.ErrUnavailable, cut)
	}
	cut = length - 1
	_, err = d.Machines(t.Context(), o.Host)
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
}

// Wherever a request is cut, it does nothing or all of it, and the driver does not claim to know which.
func TestRequestsAreWhole(t *testing.T) {
	t.Parallel()
	d, o, dir := one(t, func(script, _ []byte, err error) ([]byte, error) { return nil, errors.New("only recorded") })
	var script []byte
	recording, err := customdriver.New(customdriver.Config{Hosts: []customdriver.HostConfig{{Name: "one", Dir: dir,
		Shell: func(_ context.Context, s []byte) ([]byte, error) { script = s; return nil, errors.New("lost") }}}})
	require.NoError(t, err)
	require.ErrorIs(t, recording.Create(t.Context(), o), hypervisor.ErrUnknown)
	last := bytes.LastIndex(script, []byte("\nmain "))
	for _, at := range []int{last / 3, last / 2, last, last + 10, len(script) - 2, len(script) - 15} {
		_, _ = customdriver.Command("sh")(t.Context(), script[:at])
		left, err := os.ReadDir(filepath.Join(dir, "machines"))
		require.NoError(t, err)
		require.Empty(t, left, at)
	}
	require.ErrorIs(t, d.Create(t.Context(), o), hypervisor.ErrUnknown) // it has been carried out, and its reply lost
	require.ErrorIs(t, d.Start(t.Context(), o.Ref), hypervisor.ErrUnknown)
	left, err := os.ReadDir(filepath.Join(dir, "machines", string(o.Machine)))
	require.NoError(t, err)
	require.NotEmpty(t, left)
}

// What the driver cannot know to be nothing is an error: a directory that is gone, a tag that cannot be read.
func TestWhatCannotBeReadIsNotNothing(t *testing.T) {
	t.Parallel()
	d, o, dir := one(t, func(_, reply []byte, err error) ([]byte, error) { return reply, err })
	require.NoError(t, d.Create(t.Context(), o))
	machine := filepath.Join(dir, "machines", string(o.Machine))
	tag, err := os.ReadFile(filepath.Join(machine, "tag"))
	require.NoError(t, err)
	for _, wrong := range []string{"{", `{"ledger":"l","machine":"another-0"}`} {
		require.NoError(t, os.WriteFile(filepath.Join(machine, "tag"), []byte(wrong), 0o600))
		_, err = d.Machines(t.Context(), o.Host)
		require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	}
	require.NoError(t, os.WriteFile(filepath.Join(machine, "tag"), tag, 0o600))

	forged := filepath.Join(dir, "machines", "a\nend\tok\t\n") // which would be the end of the list
	require.NoError(t, os.Mkdir(forged, 0o700))
	_, err = d.Machines(t.Context(), o.Host)
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	require.NoError(t, os.Remove(forged))

	require.NoError(t, os.Rename(filepath.Join(dir, "machines"), filepath.Join(dir, "away")))
	_, err = d.Machines(t.Context(), o.Host)
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	require.ErrorIs(t, d.Destroy(t.Context(), o.Ref), hypervisor.ErrUnavailable)
	hosts, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.False(t, hosts[0].Conditions.Has(pool.Ready))
	require.NoError(t, os.Rename(filepath.Join(dir, "away"), filepath.Join(dir, "machines")))
	list, err := d.Machines(t.Context(), o.Host)
	require.NoError(t, err)
	require.Equal(t, o.Ref, list[0].Ref)
}

// A create that arrives when it is too late makes nothing: that is what Settles promises.
func TestLateCreateMakesNothing(t *testing.T) {
	t.Parallel()
	dir := prepare(t)
	var script []byte
	d, err := customdriver.New(customdriver.Config{Hosts: []customdriver.HostConfig{{Name: "one", Dir: dir,
		Shell: func(_ context.Context, s []byte) ([]byte, error) { script = s; return nil, errors.New("lost") }}}})
	require.NoError(t, err)
	require.ErrorIs(t, d.Create(t.Context(), hypervisor.Order{
		Ref:  hypervisor.Ref{Host: "process/one", Tag: hypervisor.Tag{Ledger: "l", Machine: "m-0", Launched: 1}},
		Name: "web-1", Source: "ticker", Spec: pool.Spec{Resources: pool.Resources{pool.Memory: 64 * pool.MiB}},
	}), hypervisor.ErrUnknown)
	head, until, ok := bytes.Cut(script[:len(script)-2], []byte("'ticker' '")) // the last argument
	require.True(t, ok)
	require.Len(t, until, 10)
	late := append(head, "'ticker' '1'\n"...)
	reply, err := customdriver.Command("sh")(t.Context(), late)
	require.NoError(t, err)
	require.Contains(t, string(reply), "refused")
	left, err := os.ReadDir(filepath.Join(dir, "machines"))
	require.NoError(t, err)
	require.Empty(t, left)
	require.LessOrEqual(t, time.Second, d.Describe("process/one").Settles)
}

// Whatever a host answers, nothing panics, and what cannot be right is not believed.
func TestNonsenseIsNotBelieved(t *testing.T) {
	t.Parallel()
	reply := ""
	d, err := customdriver.New(customdriver.Config{Hosts: []customdriver.HostConfig{{Name: "one", Dir: "/srv",
		Shell: func(context.Context, []byte) ([]byte, error) { return []byte(reply + "end\tok\t\n"), nil }}}})
	require.NoError(t, err)
	for _, reply = range []string{
		"", "host\n", "host\t1\t2\n", "host\t-1\t2\t3\n", "host\t4\t9223372036854775807\t5\n", "host\tx\ty\tz\n", "\n\n",
	} {
		hosts, err := d.Hosts(t.Context())
		require.NoError(t, err)
		require.Len(t, hosts, 1, reply)
		require.Zero(t, hosts[0].Conditions, reply)
		_, err = d.Sample(t.Context(), "process/one")
		require.ErrorIs(t, err, hypervisor.ErrUnavailable, reply)
	}
	for _, reply = range []string{"machine\n", "machine\ta\trunning\n", "machine\ta-0\trunning\t{}\t1\n"} {
		_, err := d.Machines(t.Context(), "process/one")
		require.ErrorIs(t, err, hypervisor.ErrUnavailable, reply)
	}
	good := "host\t4\t1024\t4096\nunit\t100\t4096\nfree\t512\t2048\nmachine\ta-0\trunning\t" +
		`{"ledger":"l","machine":"a-0","launched":1}` + "\t1 1000 65536 web 1\n"
	for _, tail := range []string{"", "process\n", "process\ta-0\n", "process\ta-0\t7\tR\n", "process\ta-0\t7\tR 1 2 x\n", "cpu\n", "cpu\ta b c\n"} {
		reply = good + tail
		samples, err := d.Sample(t.Context(), "process/one")
		require.NoError(t, err, tail)
		require.Len(t, samples, 8, tail)
	}
}

func TestWhatNoHostWillDo(t *testing.T) {
	t.Parallel()
	d, o, _ := one(t, func(_, reply []byte, err error) ([]byte, error) { return reply, err })
	for name, change := range map[string]func(*hypervisor.Order){
		"a source that leads elsewhere": func(o *hypervisor.Order) { o.Source = "../machines" },
		"a machine that leads away":     func(o *hypervisor.Order) { o.Machine = "../images" },
		"no machine":                    func(o *hypervisor.Order) { o.Machine = "" },
		"a name with a space":           func(o *hypervisor.Order) { o.Name = "web 1" },
		"too little memory":             func(o *hypervisor.Order) { o.Spec.Resources = pool.Resources{pool.Memory: pool.MiB} },
		"another kind of storage":       func(o *hypervisor.Order) { o.Spec.Disks = []pool.Disk{{Size: pool.MiB, Storage: pool.NVMe}} },
	} {
		bad := o
		change(&bad)
		require.ErrorIs(t, d.Create(t.Context(), bad), hypervisor.ErrInvalid, name)
	}
	none := hypervisor.Ref{Host: o.Host}
	require.ErrorIs(t, d.Destroy(t.Context(), none), hypervisor.ErrInvalid)
}

// Outputs are bounded, and what a program says of itself is quoted.
func TestCommand(t *testing.T) {
	t.Parallel()
	_, err := customdriver.Command("no-such-program-anywhere")(t.Context(), nil)
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	prepare(t)
	_, err = customdriver.Command("sh")(t.Context(), []byte("printf 'no\\nroute' >&2; exit 255"))
	require.ErrorContains(t, err, `"no\nroute"`)
	require.NotErrorIs(t, err, hypervisor.ErrUnavailable)
	_, err = customdriver.Command("sh")(t.Context(), []byte("yes"))
	require.Error(t, err)
}
