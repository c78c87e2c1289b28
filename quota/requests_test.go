package quota_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
)

// desk decides commands and folds what follows, as a ring would.
type desk struct {
	t  *testing.T
	st *pool.State
}

func newDesk(t *testing.T) *desk {
	d := &desk{t, pool.NewState(quota.Requests{})}
	d.put(pool.Project{Name: "web", Quota: pool.Resources{pool.CPU: 4000, pool.Memory: 8}, PerUser: pool.Resources{pool.CPU: 1000}})
	return d
}

func (d *desk) apply(actor string, events ...pool.Event) {
	d.t.Helper()
	for i := range events {
		e := &events[i]
		e.Actor, e.Revision, e.Index, e.Time = actor, d.st.Head()+1, 0, time.Unix(int64(d.st.Head()), 0).UTC()
		require.NoError(d.t, d.st.Apply(e))
	}
}

func (d *desk) put(p pool.Project) {
	e, err := pool.NewEvent(pool.KindProjectPut, &p)
	require.NoError(d.t, err)
	d.apply("admin", e)
}

func (d *desk) requests() quota.Requests {
	p, _ := d.st.Part(quota.PartName)
	return p.(quota.Requests)
}

func (d *desk) do(actor string, c quota.Command) ([]pool.Event, error) {
	b, err := json.Marshal(c)
	require.NoError(d.t, err)
	events, err := d.requests().Decide(d.st, b, time.Time{})
	if err == nil {
		d.apply(actor, events...)
	}
	return events, err
}

func (d *desk) ask(id string, change ...func(*quota.Ask)) error {
	a := quota.Ask{Project: "web", ID: id, Quota: pool.Resources{pool.CPU: 6000}, Reason: "a sale"}
	for _, f := range change {
		f(&a)
	}
	_, err := d.do("u-1", quota.Command{Ask: &a})
	return err
}

func (d *desk) decide(id string, status quota.Status, change ...func(*quota.Decision)) error {
	x := quota.Decision{Project: "web", ID: id, Status: status, Reason: "well"}
	for _, f := range change {
		f(&x)
	}
	_, err := d.do("boss", quota.Command{Decide: &x})
	return err
}

func (d *desk) project() pool.Project {
	p, ok := d.st.Project("web")
	require.True(d.t, ok)
	return p.Project
}

// A request is asked and granted by whom the events name; what is granted are the project's limits from then on.
func TestRequestIsGranted(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	require.NoError(t, d.ask("r1"))
	require.NoError(t, d.ask("r1"), "the same again")
	open, ok := d.requests().Get("web", "r1")
	require.True(t, ok)
	require.Equal(t, [3]string{"open", "u-1", "a sale"}, [3]string{string(open.Status), open.By, open.Reason})
	require.ErrorIs(t, d.ask("r1", func(a *quota.Ask) { a.Reason = "another" }), pool.ErrExists)

	less := func(x *quota.Decision) { x.Quota = pool.Resources{pool.CPU: 5000} }
	require.NoError(t, d.decide("r1", quota.Granted, less))
	head := d.st.Head()
	require.NoError(t, d.decide("r1", quota.Granted, less), "the same again")
	require.Equal(t, head, d.st.Head())
	require.Equal(t, pool.Resources{pool.CPU: 5000, pool.Memory: 8}, d.project().Quota)
	done := d.requests().Of("web")[0]
	require.Equal(t, [3]string{"granted", "boss", "well"}, [3]string{string(done.Status), done.DecidedBy, done.Answer})
	require.Equal(t, pool.Resources{pool.CPU: 5000}, done.Given)
	require.ErrorIs(t, d.decide("r1", quota.Refused), pool.ErrWrongState)
	require.ErrorIs(t, d.decide("r1", quota.Withdrawn), pool.ErrWrongState)
}

func TestRequestOfAnOwner(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	of := func(owner string) func(*quota.Ask) {
		return func(a *quota.Ask) { a.Owner, a.Quota = owner, pool.Resources{pool.CPU: 2000} }
	}
	require.NoError(t, d.ask("r1", of("u-1")))
	require.NoError(t, d.decide("r1", quota.Granted))
	require.Equal(t, pool.Resources{pool.CPU: 2000}, d.project().LimitsOf("u-1"))
	require.Equal(t, pool.Resources{pool.CPU: 1000}, d.project().LimitsOf("u-2"))
	require.Equal(t, pool.Resources{pool.CPU: 4000, pool.Memory: 8}, d.project().Quota)
	require.ErrorIs(t, d.ask("r2", of("u-1")), pool.ErrInvalid, "it has that")
	require.NoError(t, d.ask("r2", of("u-2")))
}

// What was raised further in the meantime is not lowered, and what has no limit any more gets none.
func TestGrantNeverLowers(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	require.NoError(t, d.ask("r1", func(a *quota.Ask) { a.Quota = pool.Resources{pool.CPU: 6000, pool.Memory: 9} }))
	d.put(pool.Project{Name: "web", Quota: pool.Resources{pool.CPU: 9000}})
	require.NoError(t, d.decide("r1", quota.Granted))
	require.Equal(t, pool.Resources{pool.CPU: 9000}, d.project().Quota)
}

func TestRequestsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*quota.Ask)
		kind   error
		field  string
	}{
		"no project":          {func(a *quota.Ask) { a.Project = "x" }, pool.ErrNotFound, "project"},
		"hostile id":          {func(a *quota.Ask) { a.ID = "a/../b" }, pool.ErrInvalid, "id"},
		"hostile owner":       {func(a *quota.Ask) { a.Owner = "a\nb" }, pool.ErrInvalid, "owner"},
		"no reason":           {func(a *quota.Ask) { a.Reason = "" }, pool.ErrInvalid, "reason"},
		"long reason":         {func(a *quota.Ask) { a.Reason = strings.Repeat("x", 1001) }, pool.ErrInvalid, "reason"},
		"lines":               {func(a *quota.Ask) { a.Reason = "a\nb" }, pool.ErrInvalid, "reason"},
		"nothing":             {func(a *quota.Ask) { a.Quota = nil }, pool.ErrInvalid, "quota"},
		"what there is":       {func(a *quota.Ask) { a.Quota = pool.Resources{pool.CPU: 4000} }, pool.ErrInvalid, "quota.cpu"},
		"what has no limit":   {func(a *quota.Ask) { a.Quota = pool.Resources{pool.GPU: 1} }, pool.ErrInvalid, "quota.gpu"},
		"no limit for anyone": {func(a *quota.Ask) { a.Owner, a.Quota = "u-1", pool.Resources{pool.Memory: 9} }, pool.ErrInvalid, "quota.memory"},
		"negative":            {func(a *quota.Ask) { a.Quota = pool.Resources{pool.CPU: -1} }, pool.ErrInvalid, "quota.cpu"},
		"many classes": {func(a *quota.Ask) {
			for n := range 17 {
				a.Quota[pool.Class(fmt.Sprint("own", n))] = 1
			}
		}, pool.ErrInvalid, "quota"},
	} {
		d := newDesk(t)
		err := d.ask("r1", c.change)
		require.ErrorIs(t, err, c.kind, name)
		var e *pool.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, c.field, e.Field, name)
		require.Empty(t, d.requests().Of(""))
	}
	d := newDesk(t)
	require.NoError(t, d.ask("r1"))
	for name, c := range map[string]struct {
		x    quota.Decision
		kind error
	}{
		"no request":             {quota.Decision{Project: "web", ID: "r2", Status: quota.Granted}, pool.ErrNotFound},
		"of another project":     {quota.Decision{Project: "lab", ID: "r1", Status: quota.Granted}, pool.ErrNotFound},
		"back to open":           {quota.Decision{Project: "web", ID: "r1", Status: quota.Open}, pool.ErrInvalid},
		"refusal without reason": {quota.Decision{Project: "web", ID: "r1", Status: quota.Refused}, pool.ErrInvalid},
		"refusal that gives":     {quota.Decision{Project: "web", ID: "r1", Status: quota.Refused, Reason: "no", Quota: pool.Resources{pool.CPU: 1}}, pool.ErrInvalid},
		"more than was asked":    {quota.Decision{Project: "web", ID: "r1", Status: quota.Granted, Quota: pool.Resources{pool.CPU: 6001}}, pool.ErrInvalid},
		"what was not asked":     {quota.Decision{Project: "web", ID: "r1", Status: quota.Granted, Quota: pool.Resources{pool.Memory: 9}}, pool.ErrInvalid},
	} {
		_, err := d.do("boss", quota.Command{Decide: &c.x})
		require.ErrorIs(t, err, c.kind, name)
	}
	for _, bad := range []string{``, `{}`, `{"ask":{},"decide":{}}`, `{"ask":{"by":"somebody else"}}`, `{"ask":{}} x`} {
		_, err := d.requests().Decide(d.st, []byte(bad), time.Time{})
		require.ErrorIs(t, err, pool.ErrInvalid, bad)
	}
}

// Requests are bounded: what is open is refused beyond a number, what is decided is forgotten, the oldest first.
func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for n := range quota.MaxOpen {
		require.NoError(t, d.ask(fmt.Sprint("r", n)))
	}
	require.ErrorIs(t, d.ask("more"), pool.ErrUnavailable)
	require.NoError(t, d.decide("r3", quota.Withdrawn))
	require.NoError(t, d.ask("more"))
	require.NoError(t, d.decide("more", quota.Withdrawn))
	d.fill(quota.MaxRequests)
	require.NoError(t, d.ask("last"))
	require.Len(t, d.requests().Of(""), quota.MaxRequests)
	_, ok := d.requests().Get("web", "r3")
	require.False(t, ok, "the first that was decided")
	_, ok = d.requests().Get("web", "r0")
	require.True(t, ok, "which is open")
}

// fill loads requests that were decided long after all others until there are n.
func (d *desk) fill(n int) {
	saved, err := d.requests().Save()
	require.NoError(d.t, err)
	var all []quota.Request
	require.NoError(d.t, json.Unmarshal(saved, &all))
	for k := len(all); k < n; k++ {
		all = append(all, quota.Request{Ask: quota.Ask{Project: "web", ID: fmt.Sprint("y", k)}, Status: quota.Refused, DecidedAt: time.Unix(1e9, 0).UTC()})
	}
	saved, err = json.Marshal(all)
	require.NoError(d.t, err)
	p, err := quota.Requests{}.Load(saved)
	require.NoError(d.t, err)
	st := pool.NewState(p)
	web, head := d.project(), d.st.Head()
	e, err := pool.NewEvent(pool.KindProjectPut, &web)
	require.NoError(d.t, err)
	e.Revision, e.Time = head, time.Unix(int64(head), 0).UTC()
	require.NoError(d.t, st.Apply(&e))
	d.st = st
}

// Whoever gets a name that was another's does not see what that one has asked for.
func TestRequestsGoWithTheirProject(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.put(pool.Project{Name: "lab", Quota: pool.Resources{pool.CPU: 1}})
	require.NoError(t, d.ask("r1"))
	require.NoError(t, d.ask("r1", func(a *quota.Ask) { a.Project = "lab" }))
	e, err := pool.NewEvent(pool.KindProjectRemoved, &pool.Named{Name: "web"})
	require.NoError(t, err)
	d.apply("admin", e)
	require.Len(t, d.requests().Of(""), 1)
	require.Empty(t, d.requests().Of("web"))
}

// TestRequestsGolden: what earlier programs have written is folded for ever, and saved as the same bytes.
func TestRequestsGolden(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	events, err := os.ReadFile(filepath.Join("testdata", "requests1.events"))
	require.NoError(t, err)
	for line := range strings.Lines(string(events)) {
		var e pool.Event
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		e.Revision = d.st.Head() + 1
		require.NoError(t, d.st.Apply(&e))
	}
	saved, err := d.requests().Save()
	require.NoError(t, err)
	want, err := os.ReadFile(filepath.Join("testdata", "requests1.saved"))
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(want)), string(saved))
	p, err := quota.Requests{}.Load(want)
	require.NoError(t, err)
	again, err := p.Save()
	require.NoError(t, err)
	require.Equal(t, string(saved), string(again))
	for _, bad := range []pool.Event{
		{Kind: quota.KindAsked, Version: 2, Data: []byte(`{}`)}, {Kind: "quota.new", Version: 1, Data: []byte(`{}`)},
	} {
		_, err := d.requests().Fold(&bad)
		require.ErrorIs(t, err, pool.ErrUnknownKind)
	}
	for _, bad := range []string{`[null]`, `[{"project":"a","id":"b"},{"project":"a","id":"b"}]`, `{}`, `[{"newer":1}]`} {
		_, err := quota.Requests{}.Load([]byte(bad))
		require.ErrorIs(t, err, pool.ErrInvalid, bad)
	}
}
