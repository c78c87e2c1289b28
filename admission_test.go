package berthage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

func admitting(c *berthage.Config) { c.Parts = []pool.Part{auth.New(nil), audit.Part()} }

// bound makes a person who is a user of everything, and returns who they are when they have signed in.
func bound(t *testing.T, m *berthage.Manager, id string) auth.Identity {
	t.Helper()
	program(t, m, auth.Command{Put: &auth.Principal{ID: id, Kind: auth.Person, Name: id}})
	program(t, m, auth.Command{Bind: &auth.Binding{ID: "b-" + id, Principal: id, Role: auth.User, Scope: auth.Scope{Everything: true}}})
	by := auth.Identity{Principal: id, Whole: true}
	m.View(func(st *pool.State) {
		p, ok := auth.Of(st).Principal(id)
		require.True(t, ok)
		by.Generation = p.Generation
	})
	return by
}

func program(t *testing.T, m *berthage.Manager, c auth.Command) {
	t.Helper()
	c.Program = true
	require.NoError(t, m.As("program", "").Decide(t.Context(), auth.Name, c))
}

// launches is a Manager for whoever may launch.
func launches(m *berthage.Manager, by auth.Identity, request string) *berthage.Manager {
	may := auth.Warrant{By: by, For: []auth.Act{{Verb: auth.Create, Thing: auth.Thing{Resource: auth.Instances, Project: "shop", Owner: by.Principal}}}}
	record := audit.Record{Command: &audit.Command{Action: "launch", Target: "shop", Decision: "binding", Result: audit.Done}, From: "192.0.2.7", Subject: auth.Subject(by.Principal)}
	return m.As(by.Principal, request).For(by.Principal).With(auth.Name, may).With("audit", record)
}

// What a caller is allowed is decided on the revision that is appended to, and who asked from where stands in the same batch: of one instance, of a
// cluster, whose events are folded while it is decided, and of nothing where nothing follows.
func TestAdmission(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		b := start(t, fake.Config{Hosts: hosts(2)}, admitting)
		defer b.stop()
		ada := bound(t, b.m, "ada")
		m := launches(b.m, ada, "req-1")
		launch := berthage.Launch{Token: "a", Project: "shop", Name: "a", Spec: spec()}
		i, err := m.Launch(ctx, launch)
		require.NoError(t, err)
		c, err := launches(b.m, ada, "req-2").CreateCluster(ctx, berthage.CreateCluster{Token: "c", Project: "shop", Name: "c", Spec: spec(), Size: 3})
		require.NoError(t, err)
		settle(t, b.m, i.ID)

		_, err = m.Launch(ctx, launch)
		require.NoError(t, err, "the same again")
		records := map[string]int{}
		for batch, err := range b.ledger.Read(ctx, 0) {
			require.NoError(t, err)
			made := map[string]bool{}
			for k := range batch.Events {
				e := &batch.Events[k]
				switch e.Kind {
				case pool.KindLaunched, pool.KindClusterPut:
					made[e.Cause] = true
				case audit.KindCommand:
					record, err := audit.ReadCommand(e)
					require.NoError(t, err)
					require.Equal(t, audit.Command{Action: "launch", Target: "shop", Decision: "binding", Result: audit.Done, From: "192.0.2.7"}, record)
					require.Equal(t, "ada", e.Actor)
					require.True(t, made[e.Cause], "in the batch of what it is about, and behind it")
					records[e.Cause]++
				}
			}
		}
		require.Equal(t, map[string]int{"req-1": 1, "req-2": 1}, records)

		head := b.m.Status().Revision
		program(t, b.m, auth.Command{Unbind: "b-ada"})
		_, err = launches(b.m, ada, "req-3").Launch(ctx, berthage.Launch{Token: "b", Project: "shop", Name: "b", Spec: spec()})
		var no *auth.Refusal
		require.ErrorAs(t, err, &no)
		require.Equal(t, auth.NoBinding, no.Reason)
		require.True(t, no.Hidden)
		_, err = launches(b.m, ada, "req-3").SetPower(ctx, i.ID, pool.Stopped)
		require.ErrorAs(t, err, &no, "the warrant is asked, whatever the command")
		_, err = launches(b.m, ada, "req-3").SetPower(ctx, "nothing", pool.Stopped)
		require.ErrorAs(t, err, &no, "before it is said what there is")
		require.Equal(t, head+1, b.m.Status().Revision, "and nothing follows")
		_, err = b.m.SteerCluster(ctx, berthage.SteerCluster{Cluster: c.ID, Verb: berthage.Destroy})
		require.NoError(t, err, "a Manager that was given nothing asks nobody")
	})
}

// Whatever cannot be asked refuses.
func TestAdmissionFailsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		b := start(t, fake.Config{Hosts: hosts(1)}, func(c *berthage.Config) {
			admitting(c)
			c.Parts = append(c.Parts, tally{}, raving{})
		})
		defer b.stop()
		ada := bound(t, b.m, "ada")
		head := b.m.Status().Revision
		for name, m := range map[string]*berthage.Manager{
			"no part of that name":      b.m.With("nothing", 1),
			"one that does not admit":   b.m.With("tally", 1),
			"no warrant":                b.m.With(auth.Name, 7),
			"nobody's":                  b.m.With(auth.Name, auth.Warrant{}),
			"unknown fields":            b.m.With(auth.Name, map[string]any{"by": ada, "whatever": true}),
			"no JSON":                   b.m.With("audit", func() {}),
			"a verb that there is not":  b.m.With(auth.Name, map[string]any{"by": ada, "for": []any{map[string]any{"verb": "own", "resource": "instances"}}}),
			"a panic":                   b.m.With("raving", 1),
			"an address without person": b.m.With("audit", audit.Record{Command: &audit.Command{Action: "x", Result: audit.Done}, From: "192.0.2.7"}),
			"too many acts":             b.m.With(auth.Name, auth.Warrant{By: ada, For: make([]auth.Act, 101)}),
			"one of two":                b.m.With(auth.Name, auth.Warrant{By: ada}).With("tally", 1),
		} {
			require.Error(t, m.PutProject(ctx, pool.Project{Name: "shop"}), name)
			require.Equal(t, head, b.m.Status().Revision, name)
		}
		good := b.m.With(auth.Name, auth.Warrant{By: ada})
		require.Error(t, good.With("tally", 1).PutProject(ctx, pool.Project{Name: "shop"}))
		require.NoError(t, good.PutProject(ctx, pool.Project{Name: "shop"}), "what a Manager returns does not change it")
	})
}

// raving is a part whose admission panics.
type raving struct{ tally }

func (raving) Name() string { return "raving" }

func (raving) Admit(*pool.State, json.RawMessage, time.Time) ([]pool.Event, error) { panic("raving") }

// A command that is handed to the Manager that leads is refused there, and the refusal comes back as it is.
func TestAdmissionElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		scratch := pool.NewMemoryScratch()
		b := start(t, fake.Config{Hosts: hosts(2)}, admitting, func(c *berthage.Config) { c.Scratch, c.Address = scratch, "first" })
		defer b.stop()
		handed := 0
		second := open(t, b.fleet, b.ledger, admitting, func(c *berthage.Config) {
			c.Scratch = scratch
			c.Forward = func(ctx context.Context, _ string, command []byte) ([]byte, error) {
				handed++
				return b.m.Accept(ctx, command)
			}
		})
		defer run(t, second)()
		time.Sleep(time.Minute)
		ada := bound(t, second, "ada")
		before := handed
		_, err := launches(second, ada, "req-1").Launch(ctx, berthage.Launch{Token: "a", Project: "shop", Name: "a", Spec: spec()})
		require.NoError(t, err)
		ada.Expires = time.Now()
		_, err = launches(second, ada, "req-2").Launch(ctx, berthage.Launch{Token: "b", Project: "shop", Name: "b", Spec: spec()})
		var no *auth.Refusal
		require.ErrorAs(t, err, &no)
		require.Equal(t, &auth.Refusal{Kind: auth.ErrUnauthenticated, Reason: auth.Expired}, no)
		ada.Expires = time.Time{}
		err = second.With(auth.Name, auth.Warrant{By: ada, For: []auth.Act{{Verb: auth.Operate, Thing: auth.Thing{Resource: auth.Hosts}}}}).PutProject(ctx, pool.Project{Name: "x"})
		require.ErrorIs(t, err, auth.ErrForbidden)
		require.ErrorAs(t, err, &no)
		require.Equal(t, &auth.Refusal{Kind: auth.ErrForbidden, Reason: auth.NotByRole, Verb: auth.Operate, On: auth.Hosts}, no)
		err = second.Decide(ctx, auth.Name, auth.Command{By: &ada, Remove: "ada"})
		require.ErrorAs(t, err, &no, "and that of a part's own command")
		require.Equal(t, before+4, handed)
	})
}

// However rights and commands cross: nothing stands in the ledger that whoever it is of was not allowed at that place of it.
func TestRightsAndCommandsCross(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	b := start(t, fake.Config{Hosts: hosts(4)}, admitting)
	defer b.stop()
	ada := bound(t, b.m, "ada")
	var all sync.WaitGroup
	var done, refused atomic.Int32
	enough := func() bool { return done.Load() >= 20 && refused.Load() >= 20 }
	for w := range 4 {
		all.Go(func() {
			for n := 0; !enough() && t.Context().Err() == nil; n++ {
				name := fmt.Sprintf("p%d-%d", w, n)
				switch err := launches(b.m, ada, name).PutProject(ctx, pool.Project{Name: name}); {
				case err == nil:
					done.Add(1)
				case errors.Is(err, auth.ErrForbidden):
					refused.Add(1)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	for !enough() && !t.Failed() {
		program(t, b.m, auth.Command{Unbind: "b-ada"})
		runtime.Gosched()
		program(t, b.m, auth.Command{Bind: &auth.Binding{ID: "b-ada", Principal: "ada", Role: auth.User, Scope: auth.Scope{Everything: true}}})
	}
	all.Wait()
	may, put := false, 0
	for batch, err := range b.ledger.Read(ctx, 0) {
		require.NoError(t, err)
		for k := range batch.Events {
			switch e := &batch.Events[k]; e.Kind {
			case auth.BindingPut:
				may = true
			case auth.BindingRemoved:
				may = false
			case pool.KindProjectPut:
				if e.Actor == "ada" {
					require.True(t, may, "revision %d", e.Revision)
					put++
				}
			}
		}
	}
	require.NotZero(t, put)
}
