package alerting_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/internal/alerting"
	"github.com/berthage/berthage/pool"
)

func dispatch() alert.Dispatcher {
	return alert.Dispatcher{Route: func(l alert.Labels) []alert.Target {
		return []alert.Target{{
			ID: "all", Receivers: []alert.Receiver{{Name: "ops"}, {Name: "pager", FiringOnly: true}}, GroupBy: []string{"alertname"},
			Escalation: []alert.Step{{After: 10 * time.Minute, Receivers: []alert.Receiver{{Name: "boss"}}}},
		}}
	}}
}

func config() alerting.Config { return alerting.Config{Dispatch: dispatch()} }

func save(t *testing.T, p pool.Part) string {
	t.Helper()
	b, err := p.Save()
	require.NoError(t, err)
	return string(b)
}

func labelled(t *testing.T, name string, host int) alert.Labels {
	t.Helper()
	l, err := alert.NewLabels(map[string]string{"alertname": name, "host": fmt.Sprintf("sim/h%02d", host)})
	require.NoError(t, err)
	return l
}

// TestRandomLives: whatever is commanded, what was saved is what there is, also in the middle and of the same bytes; a part does not
// change once it has been handed out; and what is decided can be folded.
func TestRandomLives(t *testing.T) {
	t.Parallel()
	kinds := make(map[string]int)
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 9))
		routed := seed%2 == 1 // by what stands in the ledger
		config := config()
		if routed {
			config = alerting.Config{Receivers: []string{"pager"}, FiringOnly: []string{"pager"}}
		}
		st := pool.NewState(alerting.New(config))
		sent := make(map[string]bool) // what was ever to be delivered
		over := make(map[string]bool)
		revision, now := pool.Revision(0), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		apply := func(events ...pool.Event) {
			revision++
			for n := range events {
				e := &events[n]
				e.ID, e.Revision, e.Index, e.Time = fmt.Sprint(revision, "/", n), revision, n, now
				kinds[e.Kind]++
				if e.Private != nil {
					e.Salt = []byte("sixteen bytes of")
					e.Seal()
				}
				require.NoError(t, st.Apply(e))
			}
		}
		opened, err := pool.NewEvent(pool.KindOpened, &pool.Opened{Ledger: "ledger"})
		require.NoError(t, err)
		apply(opened)
		firing := make(map[alert.Labels]alert.Alert)
		for range 150 {
			now = now.Add(time.Duration(r.IntN(240)) * time.Second)
			var c alerting.Command
			l := labelled(t, []string{"CPU", "Disk"}[r.IntN(2)], r.IntN(4))
			var changed []alert.Change
			switch r.IntN(16) {
			case 9:
				c.SetReceiver = &alerting.Receiver{Name: []string{"ops", "boss"}[r.IntN(2)], Type: "webhook", Settings: json.RawMessage(fmt.Sprintf(`{"n":%d}`, r.IntN(3))), Sealed: []byte("sealed"), FiringOnly: r.IntN(2) == 0}
			case 10:
				c.RemoveReceiver = []string{"ops", "boss"}[r.IntN(2)]
			case 11:
				tree := routing(t, r)
				c.SetRouting = &tree
			case 12:
				if c.RemoveRouting = r.IntN(3) == 0; !c.RemoveRouting {
					c.Report = &alerting.Happening{Kind: "backup-failed", Title: "the backup has failed", Labels: l}
				}
			case 13, 14:
				c.Over = new(alerting.Over)
				for _, m := range alerting.Of(st).Messages() {
					switch r.IntN(4) {
					case 0:
						c.Over.Delivered = append(c.Over.Delivered, alerting.Settled{Key: m.Key, Attempts: 1})
						over[m.Key] = true
					case 1:
						c.Over.Dead = append(c.Over.Dead, alerting.Settled{Key: m.Key, Attempts: 3, Error: "refused"})
					}
				}
			case 15:
				for _, m := range alerting.Of(st).Messages() {
					c.Revive = m.Key
				}
			case 0:
				c.SetRule = &alert.Rule{Name: l.Get("alertname"), Measure: alert.Measure{Metric: "cpu_percent"}, Test: alert.Test{Is: alert.Over, Value: float64(r.IntN(100))}}
			case 1:
				c.RemoveRule = l.Get("alertname")
			case 2:
				m, err := alert.NewMatcher("host", alert.Equal, l.Get("host"))
				require.NoError(t, err)
				c.Silence = &alerting.SetSilence{Silence: alert.Silence{Matchers: alert.Matchers{m}, Ends: now.Add(time.Duration(r.IntN(20)) * time.Minute), By: "alice"}, New: fmt.Sprint("s", revision)}
			case 3:
				if all := alerting.Of(st).Groups().Silences(); len(all) > 0 {
					c.EndSilence = &alert.SilenceEnd{ID: all[r.IntN(len(all))].ID, By: "bob"}
				}
			case 4:
				c.Acknowledge = &alerting.Acknowledge{Labels: l, By: "alice"}
			case 5:
				c.Withdraw = &alerting.Acknowledge{Labels: l, By: "alice"}
			case 6:
				if due := alerting.Of(st).Due(); len(due) > 0 {
					c.Done = &alerting.Done{Due: due[0], Error: "it was not to be"}
				}
			default:
				a, ok := firing[l]
				if r.IntN(3) == 0 { // only time goes by
				} else if ok {
					delete(firing, l)
					a.Phase, a.Ended = alert.Resolved, now
					changed = []alert.Change{{Alert: a}}
				} else {
					a = alert.Alert{Labels: l, Phase: alert.Firing, Value: r.Float64(), Active: now, Fired: now}
					firing[l] = a
					changed = []alert.Change{{Alert: a, Acts: []alert.Act{{Do: alert.Hook, Hook: "page"}}}}
				}
			}
			if c == (alerting.Command{}) {
				c.Step = &alerting.Step{Changes: changed}
			}
			before := alerting.Of(st)
			was := save(t, before)
			b, err := json.Marshal(c)
			require.NoError(t, err)
			events, err := before.Decide(st, b, now)
			if err != nil {
				continue
			}
			for _, e := range events {
				if n := (alert.Notification{}); e.Kind == alert.GroupNotified {
					require.NoError(t, json.Unmarshal(e.Data, &n))
					sent[n.Key] = true
				}
			}
			if len(events) > 0 {
				apply(events...)
			}
			there := make(map[string]bool)
			for _, m := range alerting.Of(st).Messages() {
				there[m.Key] = true
				require.NoError(t, m.Message(st.Identity(), "").Check())
				require.False(t, over[m.Key], "what was delivered is not there any more")
			}
			for key := range sent {
				require.True(t, there[key] || over[key], "what was decided on is there until it is delivered")
			}
			require.Equal(t, was, save(t, before), "what was handed out does not change")
			is := alerting.Of(st)
			if now := save(t, is); now != "" {
				back, err := alerting.New(config).Load([]byte(now))
				require.NoError(t, err)
				require.Equal(t, now, save(t, back))
			}
			if r.IntN(4) == 0 { // and go on with what was saved
				snapshot, err := st.Snapshot().Bytes()
				require.NoError(t, err)
				st, err = pool.ReadSnapshot(bytes.NewReader(snapshot), alerting.New(config))
				require.NoError(t, err)
			}
			for l, a := range firing {
				got, ok := alerting.Of(st).Alert(l)
				require.True(t, ok)
				require.Equal(t, a.Fired, got.Fired)
			}
		}
	}
	for _, kind := range []string{
		alerting.RuleSet, alerting.RuleRemoved, alerting.Changed, alerting.Acted, alert.SilenceSet, alert.SilenceEnded, alert.AlertAcknowledged,
		alert.AcknowledgementWithdrawn, alert.AcknowledgementEnded, alert.GroupNotified, alert.GroupQuiet,
		alerting.ReceiverSet, alerting.ReceiverRemoved, alerting.RoutingSet, alerting.RoutingRemoved, alerting.Delivered, alerting.Died, alerting.Revived,
		alerting.Reported, alerting.Told,
	} {
		require.NotZero(t, kinds[kind], kind)
	}
}

// routing returns a tree of routes to receivers that there may be.
func routing(t *testing.T, r *rand.Rand) alert.Routing {
	t.Helper()
	match := func(name, value string) alert.Matchers {
		m, err := alert.NewMatcher(name, alert.Equal, value)
		require.NoError(t, err)
		return alert.Matchers{m}
	}
	return alert.Routing{Root: alert.Route{
		Receivers: []string{"pager"}, GroupBy: []string{"alertname"},
		Routes: []alert.Route{
			{Match: match("alertname", "CPU"), Receivers: []string{[]string{"ops", "boss", "pager"}[r.IntN(3)]}, Wait: alert.Duration(time.Duration(r.IntN(60)) * time.Second)},
			{Match: match("event", "backup-failed"), Receivers: []string{"pager"}},
		},
	}}
}

// TestAStormFitsIntoBatches: a thousand alerts with long texts are written down step by step, none of which is more than a batch may be.
func TestAStormFitsIntoBatches(t *testing.T) {
	t.Parallel()
	st := pool.NewState(alerting.New(config()))
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	step := func(all []alert.Change) int {
		b, err := json.Marshal(alerting.Command{Step: &alerting.Step{Changes: all}})
		require.NoError(t, err)
		require.Less(t, len(b), alerting.MostStep+4096)
		events, err := alerting.Of(st).Decide(st, b, now)
		require.NoError(t, err)
		size := 0
		for n := range events {
			size += len(events[n].Data)
			events[n].ID, events[n].Revision, events[n].Index, events[n].Time = "e", st.Head()+1, n, now
		}
		require.Less(t, size, pool.MaxBatch)
		for n := range events {
			require.NoError(t, st.Apply(&events[n]))
		}
		return len(events)
	}
	var part []alert.Change
	size := 0
	for n := range 3000 {
		l, err := alert.NewLabels(map[string]string{"alertname": "Storm", "host": fmt.Sprint("sim/h", n)})
		require.NoError(t, err)
		c := alert.Change{Alert: alert.Alert{Labels: l, Phase: alert.Firing, Active: now, Fired: now, Annotations: map[string]string{"summary": fmt.Sprintf("%0500d", n)}}}
		b, err := json.Marshal(c)
		require.NoError(t, err)
		if size += len(b) + 1; size > alerting.MostStep {
			step(part)
			part, size = nil, len(b)+1
		}
		part = append(part, c)
	}
	step(part)
	now = now.Add(time.Hour)
	for range 20 {
		if step(nil) == 0 {
			require.Len(t, alerting.Of(st).Alerts(), 3000)
			require.Zero(t, step(nil))
			return
		}
	}
	t.Fatal("it does not come to rest")
}

func alone(t *testing.T) *pool.State {
	t.Helper()
	st := pool.NewState(alerting.New(config()))
	opened, err := pool.NewEvent(pool.KindOpened, &pool.Opened{Ledger: "ledger"})
	require.NoError(t, err)
	opened.ID, opened.Revision, opened.Time = "1", 1, noon()
	require.NoError(t, st.Apply(&opened))
	taken, err := pool.NewEvent(pool.KindTakenOver, &pool.TakenOver{Holder: "a"})
	require.NoError(t, err)
	taken.ID, taken.Revision, taken.Time, taken.Epoch = "2", 2, noon(), 2
	require.NoError(t, st.Apply(&taken))
	return st
}

func noon() time.Time { return time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC) }

// do decides a command and folds what follows.
func do(t *testing.T, st *pool.State, c alerting.Command, at time.Time) error {
	t.Helper()
	b, err := json.Marshal(c)
	require.NoError(t, err)
	events, err := alerting.Of(st).Decide(st, b, at)
	for n := range events {
		e := &events[n]
		e.ID, e.Revision, e.Index, e.Time = "e", st.Head()+1, 0, at
		require.NoError(t, st.Apply(e))
	}
	return err
}

// TestOnlyTheLeaderSteps: what an engine found counts if its Manager still leads.
func TestOnlyTheLeaderSteps(t *testing.T) {
	t.Parallel()
	st := alone(t)
	a := alert.Alert{Labels: labelled(t, "CPU", 1), Phase: alert.Firing, Active: noon(), Fired: noon()}
	step := alerting.Command{Step: &alerting.Step{Changes: []alert.Change{{Alert: a}}}, Epoch: 1}
	require.ErrorIs(t, do(t, st, step, noon()), pool.ErrNotLeader)
	require.Empty(t, alerting.Of(st).Alerts())
	step.Epoch = 2
	require.NoError(t, do(t, st, step, noon()))
	require.Len(t, alerting.Of(st).Alerts(), 1)
	require.ErrorIs(t, do(t, st, alerting.Command{}, noon()), pool.ErrInvalid)
}

// TestWhatIsToBeToldIsKept: an alert that was resolved long ago is kept until whoever was told of it has been told its end, and then
// goes; of others the newest are kept for a day.
func TestWhatIsToBeToldIsKept(t *testing.T) {
	t.Parallel()
	st, now := alone(t), noon()
	a := alert.Alert{Labels: labelled(t, "CPU", 1), Phase: alert.Firing, Active: now, Fired: now}
	step := func(changes ...alert.Change) {
		require.NoError(t, do(t, st, alerting.Command{Step: &alerting.Step{Changes: changes}, Epoch: 2}, now))
	}
	step(alert.Change{Alert: a})
	now = now.Add(time.Minute)
	step() // told
	m, err := alert.NewMatcher("alertname", alert.Equal, "CPU")
	require.NoError(t, err)
	require.NoError(t, do(t, st, alerting.Command{Silence: &alerting.SetSilence{Silence: alert.Silence{Matchers: alert.Matchers{m}, Ends: now.Add(48 * time.Hour), By: "alice"}, New: "s"}}, now))
	a.Phase, a.Ended = alert.Resolved, now
	step(alert.Change{Alert: a})
	for range 30 {
		now = now.Add(time.Hour)
		step()
	}
	other := alert.Alert{Labels: labelled(t, "Disk", 2), Phase: alert.Firing, Active: now, Fired: now}
	step(alert.Change{Alert: other}) // whatever changes lets go of what is old
	require.Len(t, alerting.Of(st).Alerts(), 2, "its end is still to be told, when the silence is over")
	require.NoError(t, do(t, st, alerting.Command{EndSilence: &alert.SilenceEnd{ID: "s", By: "alice"}}, now))
	for range 3 {
		now = now.Add(10 * time.Minute)
		step()
	}
	other.Phase, other.Ended = alert.Resolved, now
	step(alert.Change{Alert: other})
	require.Equal(t, []alert.Alert{other}, alerting.Of(st).Alerts())
}

// TestATooLargeGroupHoldsUpNothingElse: a notification that no batch can hold is not written down; alerts are, all the same.
func TestATooLargeGroupHoldsUpNothingElse(t *testing.T) {
	t.Parallel()
	st, now := alone(t), noon()
	var part []alert.Change
	for n := range 22_000 {
		l, err := alert.NewLabels(map[string]string{"alertname": "Storm", "host": fmt.Sprint("sim/h", n)})
		require.NoError(t, err)
		part = append(part, alert.Change{Alert: alert.Alert{Labels: l, Phase: alert.Firing, Active: now, Fired: now}})
		if len(part) == 1000 {
			require.NoError(t, do(t, st, alerting.Command{Step: &alerting.Step{Changes: part}, Epoch: 2}, now))
			part = nil
		}
	}
	now = now.Add(time.Hour)
	one := alert.Alert{Labels: labelled(t, "CPU", 1), Phase: alert.Firing, Active: now, Fired: now}
	require.NoError(t, do(t, st, alerting.Command{Step: &alerting.Step{Changes: []alert.Change{{Alert: one}}}, Epoch: 2}, now))
	_, ok := alerting.Of(st).Alert(one.Labels)
	require.True(t, ok)
	require.False(t, alerting.Of(st).Settled(st, time.Time{}, now))
	now = now.Add(10 * time.Minute)
	zebra := alert.Alert{Labels: labelled(t, "Zebra", 1), Phase: alert.Firing, Active: now, Fired: now}
	require.NoError(t, do(t, st, alerting.Command{Step: &alerting.Step{Changes: []alert.Change{{Alert: zebra}}}, Epoch: 2}, now))
	now = now.Add(time.Minute)
	require.NoError(t, do(t, st, alerting.Command{Step: &alerting.Step{}, Epoch: 2}, now))
	require.True(t, alerting.Of(st).Groups().Announced(zebra.Labels), "whoever comes after it is told")
}

// TestAcknowledgementsEndThoughNobodyIsTold: without targets, too, what has ended is not remembered for ever.
func TestAcknowledgementsEndThoughNobodyIsTold(t *testing.T) {
	t.Parallel()
	st := pool.NewState(alerting.New(alerting.Config{}))
	a := alert.Alert{Labels: labelled(t, "CPU", 1), Phase: alert.Firing, Active: noon(), Fired: noon()}
	require.NoError(t, do(t, st, alerting.Command{Step: &alerting.Step{Changes: []alert.Change{{Alert: a}}}}, noon()))
	require.NoError(t, do(t, st, alerting.Command{Acknowledge: &alerting.Acknowledge{Labels: a.Labels, By: "alice"}}, noon()))
	require.False(t, alerting.Of(st).Groups().Empty())
	a.Phase, a.Ended = alert.Resolved, noon().Add(time.Minute)
	require.NoError(t, do(t, st, alerting.Command{Step: &alerting.Step{Changes: []alert.Change{{Alert: a}}}}, noon().Add(time.Minute)))
	require.True(t, alerting.Of(st).Groups().Empty())
}

// TestWhatASnapshotHoldsIsBounded: no more silences and rules than can be saved.
func TestWhatASnapshotHoldsIsBounded(t *testing.T) {
	t.Parallel()
	st := alone(t)
	var long alert.Matchers
	for range 60 {
		m, err := alert.NewMatcher("host", alert.NotEqual, strings.Repeat("x", 4000))
		require.NoError(t, err)
		long = append(long, m)
	}
	n := 0
	for ; n < 200; n++ {
		c := alerting.Command{Silence: &alerting.SetSilence{Silence: alert.Silence{Matchers: long, Ends: noon().Add(time.Hour), By: "alice"}, New: fmt.Sprint("s", n)}}
		if err := do(t, st, c, noon()); err != nil {
			require.ErrorIs(t, err, pool.ErrInvalid)
			break
		}
	}
	require.Less(t, n, 80)
	_, err := st.Snapshot().Bytes()
	require.NoError(t, err)
}

// apply appends events to the books of a State.
func apply(t *testing.T, st *pool.State, at time.Time, events ...pool.Event) {
	t.Helper()
	for n := range events {
		e := &events[n]
		e.ID, e.Revision, e.Index, e.Time = fmt.Sprint(st.Head()+1, "/", n), st.Head()+1, n, at
		if e.Private != nil {
			e.Salt = []byte("sixteen bytes of")
			e.Seal()
		}
	}
	for n := range events {
		require.NoError(t, st.Apply(&events[n]))
	}
}

func command(t *testing.T, st *pool.State, at time.Time, c alerting.Command) error {
	t.Helper()
	b, err := json.Marshal(c)
	require.NoError(t, err)
	events, err := alerting.Of(st).Decide(st, b, at)
	if err == nil {
		apply(t, st, at, events...)
	}
	return err
}

func ledger(t *testing.T, c alerting.Config) (*pool.State, time.Time) {
	t.Helper()
	st, at := pool.NewState(alerting.New(c)), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	opened, err := pool.NewEvent(pool.KindOpened, &pool.Opened{Ledger: "ledger"})
	require.NoError(t, err)
	apply(t, st, at, opened)
	return st, at
}

// What is sealed goes with its subject, and a ledger in which it is forgotten gives the same books.
func TestForgottenSecrets(t *testing.T) {
	t.Parallel()
	st, at := ledger(t, alerting.Config{})
	require.NoError(t, command(t, st, at, alerting.Command{SetReceiver: &alerting.Receiver{Name: "ops", Type: "webhook", Sealed: []byte("sealed")}}))
	r, ok := alerting.Of(st).Receiver("ops")
	require.True(t, ok)
	require.Equal(t, "sealed", string(r.Sealed))
	before := alerting.Of(st).Configured()
	forgotten, err := pool.NewEvent(pool.KindForgotten, &pool.Forgotten{Subject: "receiver/ops"})
	require.NoError(t, err)
	apply(t, st, at, forgotten)
	r, ok = alerting.Of(st).Receiver("ops")
	require.True(t, ok)
	require.Empty(t, r.Sealed)
	require.Greater(t, alerting.Of(st).Configured(), before, "whoever has made a notifier of it makes another")
	require.NotContains(t, save(t, alerting.Of(st)), "sealed\"")
}

// What became of messages is the leader's to say.
func TestOverIsTheLeaders(t *testing.T) {
	t.Parallel()
	st, at := ledger(t, alerting.Config{Receivers: []string{"log"}})
	over := &alerting.Over{Delivered: []alerting.Settled{{Key: "x"}}}
	require.NoError(t, command(t, st, at, alerting.Command{Over: over, Epoch: st.Epoch()}))
	require.ErrorIs(t, command(t, st, at, alerting.Command{Over: over, Epoch: st.Epoch() + 1}), pool.ErrNotLeader)
}

// However much happens and waits, what is kept of it is bounded, and what goes is the oldest.
func TestMessagesAreBounded(t *testing.T) {
	t.Parallel()
	m, err := alert.NewMatcher(alerting.EventLabel, alert.Match, ".+")
	require.NoError(t, err)
	receivers := make([]string, alert.MaxReceivers)
	for n := range receivers {
		receivers[n] = fmt.Sprintf("log-%02d", n)
	}
	st, at := ledger(t, alerting.Config{Receivers: receivers, Routing: alert.Routing{Root: alert.Route{Routes: []alert.Route{{Match: alert.Matchers{m}, Receivers: receivers}}}}})
	large := strings.Repeat("x", alerting.MostReported-100)
	require.ErrorIs(t, command(t, st, at, alerting.Command{Report: &alerting.Happening{Kind: "a", Title: large + large}}), pool.ErrInvalid)
	for n := range 2*alerting.MostHappened + 10 {
		require.NoError(t, command(t, st, at, alerting.Command{Report: &alerting.Happening{Kind: "kind", Title: fmt.Sprint("number ", n)}}))
	}
	at = at.Add(time.Minute)
	require.NoError(t, command(t, st, at, alerting.Command{Step: new(alerting.Step)}))
	waiting := alerting.Of(st).Messages()
	require.Len(t, waiting, len(receivers))
	require.Less(t, waiting[0].Size, 100<<10)
	require.NoError(t, waiting[0].Message("ledger", "").Check())
	require.True(t, strings.HasSuffix(waiting[0].Event.Text, "more"))
	require.Equal(t, "5010 times kind", waiting[0].Event.Title)
	key := waiting[0].Key
	dead := []alerting.Settled{{Key: key, Attempts: 2, Error: "refused"}}
	require.NoError(t, command(t, st, at, alerting.Command{Over: &alerting.Over{Dead: dead}}))
	require.NoError(t, command(t, st, at, alerting.Command{Over: &alerting.Over{Dead: dead}}))
	require.Len(t, alerting.Of(st).Log(), 1, "once")
	at = at.Add(time.Minute)
	require.NoError(t, command(t, st, at, alerting.Command{Revive: key}))
	dead[0].Queued = waiting[0].Queued
	require.NoError(t, command(t, st, at, alerting.Command{Over: &alerting.Over{Dead: dead}}))
	require.True(t, alerting.Of(st).Messages()[0].Dead.IsZero(), "what became of it before it was sent again says nothing of now")
	dead[0].Queued = at
	require.NoError(t, command(t, st, at, alerting.Command{Over: &alerting.Over{Dead: dead}}))
	for n := range alerting.MostWaiting / len(receivers) {
		at = at.Add(10 * time.Minute)
		require.NoError(t, command(t, st, at, alerting.Command{Report: &alerting.Happening{Kind: "late", Title: fmt.Sprint("late ", n)}}))
		at = at.Add(time.Minute)
		require.NoError(t, command(t, st, at, alerting.Command{Step: new(alerting.Step)}))
	}
	all := alerting.Of(st).Messages()
	require.LessOrEqual(t, len(all), alerting.MostWaiting+len(receivers))
	require.False(t, all[1].Dead.IsZero(), "the oldest that waited")
	require.Equal(t, "too many messages wait", all[1].Error)
	require.True(t, all[len(all)-1].Dead.IsZero())
	require.NoError(t, command(t, st, at, alerting.Command{Over: &alerting.Over{Delivered: []alerting.Settled{{Key: key}}}}), "one that is dead has arrived all the same")
	require.ErrorIs(t, command(t, st, at, alerting.Command{Revive: key}), pool.ErrNotFound)
}
