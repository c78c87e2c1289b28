package hetzner_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hetzner"
	"github.com/berthage/berthage/hypervisor/hetzner/hetznertest"
	"github.com/berthage/berthage/pool"
)

// secretData is in what is sent and must not be in what is said.
const secretData = "user-data-that-nobody-must-see"

// stage is a simulated service with one machine on it, or none yet.
type stage struct {
	t *testing.T
	f *hetznertest.Cloud
	d *hetzner.Driver
	o hypervisor.Order // of a machine with one volume

	again bool // the call was made before
}

func newStage(t *testing.T, judge hetznertest.Judge) *stage {
	f := hetznertest.NewCloud(hetznertest.CloudConfig{Token: secretToken, ActionTime: time.Millisecond, Judge: judge})
	t.Cleanup(f.Close)
	c := config(t, f)
	c.Timeouts.Poll, c.Timeouts.Shutdown, c.Timeouts.Locked = time.Millisecond, 30*time.Millisecond, 60*time.Millisecond
	c.Logger = slog.New(slog.DiscardHandler)
	s := &stage{t: t, f: f, d: open(t, c), o: order("debian-12")}
	s.o.Ref = hypervisor.Ref{Host: "hetzner/fsn1", Tag: hypervisor.Tag{Ledger: "ledger", Machine: pool.NewInstanceID("ledger", "p", "t").Machine(0), Launched: 7}}
	s.o.Name, s.o.Revision, s.o.Allocation = "web-1", 7, allocation("small")
	s.o.Spec.Disks = append(s.o.Spec.Disks, pool.Disk{Size: 10 * pool.GiB, Storage: pool.SSD, Mount: "/data"})
	s.o.Spec.Guest.UserData = "#!/bin/sh\n# " + secretData + "\n"
	return s
}

func allocation(shape string) pool.Allocation {
	return pool.Allocation{Shape: shape, Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 4 * pool.GiB}}
}

func (s *stage) must(err error) { require.NoError(s.t, err) }

// server is the machine's, nil if there is none; there are never two.
func (s *stage) server(r hypervisor.Ref) *hetznertest.Server {
	var found []hetznertest.Server
	for _, v := range s.f.Servers() {
		if v.Labels["berthage-machine"] == string(r.Machine) {
			found = append(found, v)
		}
	}
	require.LessOrEqual(s.t, len(found), 1, "the machine is there twice")
	if len(found) == 0 {
		return nil
	}
	return &found[0]
}

func (s *stage) count(kind string) int {
	n := 0
	for _, b := range s.f.Billed() {
		if strings.HasPrefix(b, kind) {
			n++
		}
	}
	return n
}

// kept is how many snapshots are put aside.
func (s *stage) kept() int { return s.count("snapshot") }

// next is the order for the machine that is made of what was put aside.
func (s *stage) next() hypervisor.Order {
	o := s.o
	id, _, _ := o.Machine.Split()
	o.Machine = id.Machine(1)
	return o
}

// single is the order without its volume.
func (s *stage) single() hypervisor.Order {
	s.o.Spec.Disks = s.o.Spec.Disks[:1]
	return s.o
}

// trial is one call: what is there before it, the call, what must hold when it has succeeded, and what must hold when
// it says that nothing was done.
type trial struct {
	before  func(s *stage)
	call    func(ctx context.Context, s *stage) error
	done    func(s *stage)
	nothing func(s *stage)
}

func trials() map[string]trial {
	made := func(s *stage) { s.must(s.d.Create(s.t.Context(), s.o)) }
	running := func(s *stage) { made(s); s.must(s.d.Start(s.t.Context(), s.o.Ref)) }
	single := func(s *stage) { s.must(s.d.Create(s.t.Context(), s.single())) }
	shelved := func(s *stage) { single(s); s.must(s.d.Shelve(s.t.Context(), s.o.Ref)) }
	status := func(want string) func(*stage) {
		return func(s *stage) { require.Equal(s.t, want, s.server(s.o.Ref).Status) }
	}
	larger := func(s *stage) hypervisor.Order {
		o := s.o
		o.Spec = o.Spec.Clone()
		o.Spec.Disks[0].Size, o.Spec.Disks[1].Size = 20*pool.GiB, 15*pool.GiB
		o.Allocation, o.Revision = allocation("medium"), 9
		return o
	}
	sized := func(name string, volumes ...int) func(*stage) {
		return func(s *stage) {
			v := s.server(s.o.Ref)
			require.Equal(s.t, []any{name, 40, "off", volumes}, []any{v.Type, v.Disk, v.Status, v.Volumes})
			require.Equal(s.t, len(volumes), s.count("volume"), "and no others")
		}
	}
	disks := func(s *stage, n int) hypervisor.Order {
		o := s.o
		o.Spec = o.Spec.Clone()
		for len(o.Spec.Disks) <= n {
			o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: 11 * pool.GiB, Storage: pool.SSD})
		}
		o.Revision = 9
		return o
	}
	return map[string]trial{
		"create": {func(*stage) {}, func(ctx context.Context, s *stage) error { return s.d.Create(ctx, s.o) },
			func(s *stage) {
				v := s.server(s.o.Ref)
				require.Equal(s.t, []any{"off", []int{10}, "small"}, []any{v.Status, v.Volumes, v.Type})
				require.Equal(s.t, []int{1, 1}, []int{s.count("server"), s.count("volume")})
			},
			func(s *stage) { require.Empty(s.t, s.f.Billed()) }},
		"start": {made, func(ctx context.Context, s *stage) error { return s.d.Start(ctx, s.o.Ref) }, status("running"), status("off")},
		"stop":  {running, func(ctx context.Context, s *stage) error { return s.d.Stop(ctx, s.o.Ref) }, status("off"), status("running")},
		"reboot": {running, func(ctx context.Context, s *stage) error {
			err := s.d.Reboot(ctx, s.o.Ref)
			if s.again && errors.Is(err, hypervisor.ErrWrongPower) { // it was shut down
				err = s.d.Start(ctx, s.o.Ref)
			}
			return err
		},
			func(s *stage) {
				require.Equal(s.t, "running", s.server(s.o.Ref).Status)
				require.GreaterOrEqual(s.t, strings.Count(s.server(s.o.Ref).Content, "booted"), 2)
			}, status("running")},
		"resize":     {made, func(ctx context.Context, s *stage) error { return s.d.Resize(ctx, larger(s)) }, sized("medium", 15), sized("small", 10)},
		"more disks": {made, func(ctx context.Context, s *stage) error { return s.d.SetDisks(ctx, disks(s, 3)) }, sized("small", 10, 11, 11), sized("small", 10)},
		"fewer disks": {func(s *stage) { made(s); s.must(s.d.SetDisks(s.t.Context(), disks(s, 3))) },
			func(ctx context.Context, s *stage) error { o := disks(s, 1); o.Revision++; return s.d.SetDisks(ctx, o) }, sized("small", 10), sized("small", 10, 11, 11)},
		"shelve": {single, func(ctx context.Context, s *stage) error { return s.d.Shelve(ctx, s.o.Ref) },
			func(s *stage) { require.Equal(s.t, []int{0, 1}, []int{s.count("server"), s.kept()}) },
			func(s *stage) { require.Equal(s.t, []int{1, 0}, []int{s.count("server"), s.kept()}) }},
		"unshelve": {shelved, func(ctx context.Context, s *stage) error { return s.d.Unshelve(ctx, s.next(), s.o.Ref) },
			func(s *stage) {
				require.Equal(s.t, "image debian-12", s.server(s.next().Ref).Content)
				require.Equal(s.t, []int{1, 1}, []int{s.count("server"), s.kept()})
			},
			func(s *stage) { require.Equal(s.t, []int{0, 1}, []int{s.count("server"), s.kept()}) }},
		"discard": {shelved, func(ctx context.Context, s *stage) error { return s.d.Discard(ctx, s.o.Ref) },
			func(s *stage) { require.Empty(s.t, s.f.Billed()) },
			func(s *stage) { require.Equal(s.t, 1, s.kept()) }},
		"destroy": {running, func(ctx context.Context, s *stage) error { return s.d.Destroy(ctx, s.o.Ref) },
			func(s *stage) { require.Empty(s.t, s.f.Billed()) },
			func(s *stage) { require.NotNil(s.t, s.server(s.o.Ref)) }},
	}
}

// faults are the ways in which a request can go wrong. The service's own words for it are in the answers.
func faults() map[string]hetznertest.Fault {
	header := http.Header{"Ratelimit-Limit": {"36000000"}, "Ratelimit-Remaining": {"0"}}
	return map[string]hetznertest.Fault{
		"cut before":       {Before: true},
		"cut after":        {After: true},
		"cut after, often": {After: true, Times: 4},
		"half an answer":   {Short: true},
		"twice":            {Twice: true},
		"503 of a proxy":   {Status: 503, Text: "<html>" + secretToken + "</html>"},
		"server_error":     {Status: 500, Code: "server_error", Message: "echo " + secretToken + "\n\x1b[2J"},
		"conflict":         {Status: 409, Code: "conflict", Message: "please retry"},
		"locked":           {Status: 423, Code: "locked", Message: "server is locked", Times: 3},
		"locked for long":  {Status: 423, Code: "locked", Message: "server is locked", Times: -1},
		"429":              {Status: 429, Code: "rate_limit_exceeded", Message: "limit reached", Times: 3, Header: header},
		"full":             {Status: 412, Code: "resource_unavailable", Message: "error during placement"},
		"forbidden":        {Status: 403, Code: "forbidden", Message: "insufficient permissions"},
		"action fails":     {ActionFails: "action_failed"},
		"action hangs":     {ActionHangs: true},
	}
}

// onQuestions are the faults for requests that change nothing.
func onQuestions() []string {
	return []string{"cut after, often", "half an answer", "server_error", "locked", "429", "forbidden"}
}

// For each call, each of the requests that it makes, and each way in which that can go wrong: the call's error is true,
// no machine is lost or made twice, nothing that costs money is left behind, and no secret is told.
func TestFaults(t *testing.T) {
	t.Parallel()
	judge := description(t)
	for called, tr := range trials() {
		t.Run(called, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, judge)
			tr.before(s)
			before := len(s.f.Requests("", ""))
			require.NoError(t, tr.call(t.Context(), s))
			tr.done(s)
			requests := s.f.Requests("", "")[before:]
			require.Empty(t, s.f.Violations())
			ran, outcomes := 0, make(map[string]int)
			for i, r := range requests {
				if i > 0 && r.Method == http.MethodGet && requests[i-1].Method == http.MethodGet && r.Path == requests[i-1].Path {
					continue // the same question again
				}
				for _, fault := range slices.Sorted(maps.Keys(faults())) {
					x := faults()[fault]
					x.Skip = i
					if r.Method == http.MethodGet && !slices.Contains(onQuestions(), fault) {
						continue
					}
					ran++
					outcomes[s.t.Name()+" "+endures(t, judge, fmt.Sprintf("%s, request %d (%s %s): %s", called, i, r.Method, r.Path, fault), tr, x)]++
				}
			}
			t.Logf("%d faults at %d requests: %v", ran, len(requests), outcomes)
		})
	}
}

// endures lets one fault happen, and returns how the call ended.
func endures(t *testing.T, judge hetznertest.Judge, what string, tr trial, x hetznertest.Fault) string {
	s := newStage(t, judge)
	defer s.f.Close()
	tr.before(s)
	s.f.Fail(x)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	if x.ActionHangs || x.Times < 0 {
		cancel()
		ctx, cancel = context.WithTimeout(t.Context(), 120*time.Millisecond)
	}
	defer cancel()
	err := tr.call(ctx, s)
	defer func() {
		if t.Failed() {
			t.Logf("%s, which ended with: %v", what, err)
		}
	}()
	s.f.Heal()
	time.Sleep(2 * time.Millisecond) // what hung ends
	ended := "done"
	switch {
	case err == nil:
		tr.done(s)
	case hypervisor.Nothing(err):
		ended = "nothing"
		tr.nothing(s)
	default:
		ended = "unknown"
		require.True(t, errors.Is(err, hypervisor.ErrUnknown), "%s: %v", what, err)
	}
	require.Empty(t, s.f.Violations(), what)
	if err != nil {
		for _, secret := range []string{secretToken, secretData, "root-password-of-the-test", "\x1b", "\n"} {
			require.NotContains(t, err.Error(), secret, what)
			require.NotContains(t, fmt.Sprintf("%+v", err), secret, what)
		}
	}
	// Whoever looks and does it again gets there, and can clean up.
	s.again = true
	for range 3 {
		if err = tr.call(t.Context(), s); err == nil || errors.Is(err, hypervisor.ErrExists) {
			break
		}
	}
	if err != nil && !errors.Is(err, hypervisor.ErrExists) {
		t.Fatalf("%s: not even afterwards: %v", what, err)
	}
	for _, o := range []hypervisor.Order{s.o, s.next()} {
		require.NoError(t, s.d.Destroy(t.Context(), o.Ref), what)
		require.NoError(t, s.d.Discard(t.Context(), o.Ref), what)
	}
	require.Empty(t, s.f.Billed(), what)
	return ended
}
