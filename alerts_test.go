package berthage_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// overseen is a Manager that evaluates rules every 15 s on hosts whose load the test sets.
type overseen struct {
	*bench
	fleet *busy
}

func oversee(t *testing.T, n int, changes ...change) *overseen {
	t.Helper()
	fleet := &busy{
		Driver: fake.New(fake.Config{Name: "sim", Hosts: hosts(n), Latency: fake.Latency{Mean: time.Millisecond, Max: time.Millisecond}}),
		from:   time.Now(), load: make(map[pool.HostID]float64),
	}
	w := &overseen{bench: &bench{t: t, fleet: fleet.Driver, ledger: pool.NewMemoryLedger()}, fleet: fleet}
	w.m = open(t, fleet, w.ledger, append([]change{alerting}, changes...)...)
	catalogue(t, w.m)
	w.stop = run(t, w.m)
	w.pooled(w.m, n)
	return w
}

func alerting(c *berthage.Config) { c.Alerting.Every = 15 * time.Second }

// busy sets what a host does from now on.
func (w *overseen) busy(host int, load float64) {
	w.fleet.mu.Lock()
	defer w.fleet.mu.Unlock()
	w.fleet.set(hosts(host + 1)[host].ID, load)
}

// list returns the alerts as name, host and phase.
func list(m *berthage.Manager) []string {
	var out []string
	for _, a := range m.Alerts().List() {
		out = append(out, strings.Join([]string{a.Alert.Labels.Get("alertname"), a.Alert.Labels.Get("host") + a.Alert.Labels.Get("vm"), string(a.Alert.Phase)}, " "))
	}
	return out
}

// kinds counts the ledger's events of package alert, and the batches that have any.
func (b *bench) kinds() (kinds map[string]int, batches int) {
	kinds = make(map[string]int)
	for batch, err := range b.ledger.Read(context.Background(), 0) {
		require.NoError(b.t, err)
		any := false
		for _, e := range batch.Events {
			if strings.HasPrefix(e.Kind, "alert.") {
				kinds[e.Kind]++
				any = true
			}
		}
		if any {
			batches++
		}
	}
	return kinds, batches
}

// The mission's rule: a host is busy for five minutes, then it is not.
func TestABusyHostIsAlerted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := oversee(t, 2)
		defer w.stop()
		w.busy(1, 0.9)
		time.Sleep(time.Minute)
		require.Equal(t, []string{"HighCPU sim/h01 pending"}, list(w.m))
		kinds, _ := w.kinds()
		require.Empty(t, kinds, "what is pending is in no ledger")
		time.Sleep(5 * time.Minute)
		require.Equal(t, []string{"HighCPU sim/h01 firing"}, list(w.m))
		a := w.m.Alerts().List()[0].Alert
		require.InDelta(t, 90, a.Value, 0.1)
		require.Equal(t, "sim/h01: CPU at 90.0 %", a.Annotations["summary"])
		require.Equal(t, "high", a.Labels.Get(alert.SeverityLabel))
		require.Equal(t, 5*time.Minute, a.Fired.Sub(a.Active))

		w.busy(1, 0.85)
		time.Sleep(time.Minute)
		require.InDelta(t, 85, w.m.Alerts().List()[0].Alert.Value, 0.1, "what is shown is what is measured now")

		head := w.m.Status().Revision
		time.Sleep(6 * time.Hour)
		require.Equal(t, head, w.m.Status().Revision, "at rest nothing is appended, also while an alert fires")

		w.busy(1, 0.2)
		time.Sleep(time.Minute)
		require.Equal(t, []string{"HighCPU sim/h01 resolved"}, list(w.m))
		kinds, batches := w.kinds()
		require.Equal(t, map[string]int{"alert.changed": 2}, kinds)
		require.Equal(t, 2, batches)
		w.busy(1, 0.9)
		time.Sleep(time.Minute)
		require.Equal(t, []string{"HighCPU sim/h01 pending"}, list(w.m), "each alert stands there once")
		w.busy(1, 0.2)
		time.Sleep(25 * time.Hour)
		w.busy(0, 0.95)
		time.Sleep(7 * time.Minute)
		require.Equal(t, []string{"HighCPU sim/h00 firing"}, list(w.m), "what was resolved long ago is let go")
	})
}

// Another Manager takes the lead between pending and firing, and again while an alert fires: the timer goes on, and nothing
// fires twice.
func TestAlertsAfterATakeOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		scratch := pool.NewMemoryScratch()
		shared := func(c *berthage.Config) { c.Scratch, c.LeaseTTL = scratch, 10*time.Second }
		w := oversee(t, 1, shared)
		w.busy(0, 0.9)
		time.Sleep(3 * time.Minute)
		pending := w.m.Alerts().List()
		require.Len(t, pending, 1)
		again := func() {
			w.stop()
			w.m = open(t, w.fleet, w.ledger, alerting, shared)
			w.stop = run(t, w.m)
		}
		again()
		time.Sleep(2*time.Minute + 45*time.Second)
		fires := w.m.Alerts().List()
		require.Equal(t, []string{"HighCPU sim/h00 firing"}, list(w.m))
		require.Equal(t, pending[0].Alert.Active, fires[0].Alert.Active)
		again()
		time.Sleep(10 * time.Minute)
		require.Equal(t, fires[0].Alert.Fired, w.m.Alerts().List()[0].Alert.Fired)
		w.busy(0, 0.1)
		time.Sleep(time.Minute)
		again()
		require.Equal(t, []string{"HighCPU sim/h00 resolved"}, list(w.m))
		kinds, _ := w.kinds()
		require.Equal(t, 2, kinds["alert.changed"])
		w.stop()
	})
}

func TestRulesSilencesAndAcknowledgements(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := oversee(t, 1)
		defer func() { w.stop() }()
		alerts := w.m.As("alice", "").Alerts()
		rule := alert.Rule{Name: "Busy", Measure: alert.Measure{Metric: berthage.MetricCPU}, Test: alert.Test{Is: alert.Over, Value: 50}}
		require.NoError(t, alerts.SetRule(ctx, rule))
		head := w.m.Status().Revision
		require.NoError(t, alerts.SetRule(ctx, rule))
		require.Equal(t, head, w.m.Status().Revision, "the same rule is no change")
		require.ErrorIs(t, alerts.SetRule(ctx, alert.Rule{Name: "x"}), pool.ErrInvalid)
		require.ErrorIs(t, alerts.SetRule(ctx, alert.Rule{Name: "x", Query: "up == 0"}), pool.ErrInvalid, "nobody answers queries here")
		require.ErrorIs(t, alerts.RemoveRule(ctx, "x"), pool.ErrNotFound)
		w.busy(0, 0.6)
		time.Sleep(time.Minute)
		require.Equal(t, []string{"Busy sim/h00 firing"}, list(w.m))

		l := alerts.List()[0].Alert.Labels
		require.NoError(t, alerts.Acknowledge(ctx, l, "on it"))
		require.Equal(t, "alice", alerts.List()[0].Acknowledged.By)
		none, err := alert.NewLabels(map[string]string{"alertname": "None"})
		require.NoError(t, err)
		require.ErrorIs(t, alerts.Acknowledge(ctx, none, ""), pool.ErrNotFound)
		require.NoError(t, alerts.Unacknowledge(ctx, l))
		require.ErrorIs(t, alerts.Unacknowledge(ctx, l), pool.ErrNotFound)

		m, err := alert.NewMatcher("alertname", alert.Equal, "Busy")
		require.NoError(t, err)
		s, err := alerts.Silence(ctx, alert.Silence{Matchers: alert.Matchers{m}, Ends: time.Now().Add(time.Hour), Note: "maintenance"})
		require.NoError(t, err)
		require.Equal(t, "alice", s.By)
		s.Ends = s.Ends.Add(time.Hour)
		longer, err := alerts.Silence(ctx, s)
		require.NoError(t, err)
		require.Equal(t, s.ID, longer.ID)
		_, err = alerts.Silence(ctx, alert.Silence{ID: "none", Matchers: alert.Matchers{m}, Ends: time.Now().Add(time.Hour)})
		require.ErrorIs(t, err, pool.ErrNotFound)
		_, err = alerts.Silence(ctx, alert.Silence{Ends: time.Now().Add(time.Hour)})
		require.ErrorIs(t, err, pool.ErrInvalid)

		// A restart, from a checkpoint too, forgets nothing.
		for _, compact := range []bool{false, true} {
			before, err := json.Marshal([]any{w.m.Alerts().Rules(), stored(w.m), w.m.Alerts().Silences()})
			require.NoError(t, err)
			if compact {
				_, err := w.m.Compact(ctx)
				require.NoError(t, err)
			}
			w.stop()
			w.m = open(t, w.fleet, w.ledger, alerting)
			w.stop = run(t, w.m)
			after, err := json.Marshal([]any{w.m.Alerts().Rules(), stored(w.m), w.m.Alerts().Silences()})
			require.NoError(t, err)
			require.JSONEq(t, string(before), string(after))
		}
		require.NoError(t, w.m.Alerts().EndSilence(ctx, s.ID))
		require.Equal(t, alert.SilenceExpired, w.m.Alerts().Silences()[0].Phase(time.Now()))
		require.ErrorIs(t, w.m.Alerts().EndSilence(ctx, "none"), pool.ErrNotFound)
		require.NoError(t, w.m.Alerts().RemoveRule(ctx, "Busy"))
		time.Sleep(time.Minute)
		require.Equal(t, []string{"Busy sim/h00 resolved"}, list(w.m), "a rule that is gone resolves its alerts")
	})
}

// everybody is told of everything, by one receiver.
func everybody(c *berthage.Config) {
	c.Alerting.Route = func(alert.Labels) []alert.Target {
		return []alert.Target{{ID: "all", Receivers: []alert.Receiver{{Name: "ops"}}, GroupBy: []string{"alertname"}}}
	}
	c.Messaging.Receivers = map[string]notify.Notifier{"ops": new(inbox)}
}

func (b *bench) notified() (out []alert.Notification) {
	for batch, err := range b.ledger.Read(context.Background(), 0) {
		require.NoError(b.t, err)
		for _, e := range batch.Events {
			if e.Kind == alert.GroupNotified {
				var n alert.Notification
				require.NoError(b.t, json.Unmarshal(e.Data, &n))
				out = append(out, n)
			}
		}
	}
	return out
}

// Whom to tell is decided once, whoever leads, and written down; what is being drained is not told.
func TestWhoIsToldIsWrittenDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := oversee(t, 3, everybody)
		defer func() { w.stop() }()
		for h := range 3 {
			w.busy(h, 0.9)
		}
		_, err := w.m.Drain(context.Background(), hosts(3)[2].ID, false, "repair")
		require.NoError(t, err)
		time.Sleep(7 * time.Minute)
		told := w.notified()
		require.Len(t, told, 1)
		require.Len(t, told[0].Firing, 2, "two of three, in one message")
		require.Equal(t, []alert.Cause{{By: alert.ByQuiet, Name: "the host is being drained"}}, told[0].Muted[0].By)
		muted := 0
		for _, a := range w.m.Alerts().List() {
			if len(a.Muted["all"]) > 0 {
				muted++
			}
		}
		require.Equal(t, 1, muted)
		w.stop()
		w.m = open(t, w.fleet, w.ledger, alerting, everybody)
		w.stop = run(t, w.m)
		time.Sleep(time.Hour)
		require.Len(t, w.notified(), 1, "told once")
		for h := range 3 {
			w.busy(h, 0.1)
		}
		time.Sleep(10 * time.Minute)
		told = w.notified()
		require.Len(t, told, 2)
		require.Empty(t, told[1].Firing)
		require.Len(t, told[1].Resolved, 2)
		head := w.m.Status().Revision
		time.Sleep(24 * time.Hour)
		require.Equal(t, head, w.m.Status().Revision)
	})
}

// What a rule wants done is done once and recorded, with what became of it.
func TestActionsOfRules(t *testing.T) {
	t.Parallel()
	for name, dry := range map[string]bool{"done": false, "dry run": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var called []string
				w := oversee(t, 2, func(c *berthage.Config) {
					c.Alerting.DryRun = dry
					c.Alerting.Hooks = map[string]func(context.Context, alert.Alert) error{"page": func(_ context.Context, a alert.Alert) error {
						mu.Lock()
						defer mu.Unlock()
						called = append(called, a.Labels.Get("host"))
						return errors.New("nobody answers")
					}}
				})
				defer w.stop()
				require.NoError(t, w.m.Alerts().SetRule(context.Background(), alert.Rule{
					Name: "Hot", Measure: alert.Measure{Metric: berthage.MetricCPU}, Test: alert.Test{Is: alert.Over, Value: 95},
					Actions: []alert.Action{{Do: alert.Drain}, {Do: alert.Hook, Hook: "page"}},
				}))
				w.busy(0, 0.99)
				time.Sleep(10 * time.Minute)
				h, err := w.m.AddHost(context.Background(), hosts(1)[0].ID)
				require.NoError(t, err)
				require.Equal(t, !dry, h.Conditions.Has(pool.Draining))
				kinds, _ := w.kinds()
				require.Equal(t, 2, kinds["alert.acted"])
				if dry {
					require.Empty(t, called)
					return
				}
				require.Equal(t, []string{"sim/h00"}, called, "once")
				var errs []string
				for batch := range w.ledger.Read(context.Background(), 0) {
					for _, e := range batch.Events {
						if e.Kind == "alert.acted" {
							var d struct{ Error string }
							require.NoError(t, json.Unmarshal(e.Data, &d))
							errs = append(errs, d.Error)
						}
					}
				}
				slices.Sort(errs)
				require.Equal(t, []string{"", "nobody answers"}, errs)
			})
		})
	}
}

// With every alert flapping at most one batch an evaluation reaches the ledger.
func TestFlappingAlertsAreFewBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := oversee(t, 20, func(c *berthage.Config) {
			c.Alerting.Rules = []alert.Rule{{Name: "Busy", Measure: alert.Measure{Metric: berthage.MetricCPU}, Test: alert.Test{Is: alert.Over, Value: 50}}}
		})
		defer w.stop()
		time.Sleep(time.Minute)
		_, before := w.kinds()
		const minutes = 30
		for n := range minutes * 4 {
			for h := range 20 {
				w.busy(h, float64(n%2)*0.9)
			}
			time.Sleep(15 * time.Second)
		}
		kinds, after := w.kinds()
		require.LessOrEqual(t, after-before, 4*minutes)
		require.Greater(t, kinds["alert.changed"], 2*minutes)
	})
}

// stored returns the alerts without what only an evaluation knows.
func stored(m *berthage.Manager) []berthage.AlertStatus {
	all := m.Alerts().List()
	for n := range all {
		all[n].Alert.Updated, all[n].Alert.Value = time.Time{}, 0
	}
	return all
}

// What is not there says so: a host that is silent or cannot be measured, an instance that does not run. What is deleted or stopped on purpose is missed
// by nobody, also by a rule that makes an alert of missing data.
func TestWhatIsMissed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := oversee(t, 2, func(c *berthage.Config) {
			c.Poll, c.Grace, c.Evacuation = 10*time.Second, 30*time.Second, berthage.EvacuateNever
		})
		defer w.stop()
		require.NoError(t, w.m.Alerts().SetRule(ctx, alert.Rule{Name: "Busy", Measure: alert.Measure{Metric: berthage.MetricCPU}, Test: alert.Test{Is: alert.Over, Value: 500}}))
		gone, stopped, paused := w.launch("gone"), w.launch("stopped"), w.launch("paused")
		settle(t, w.m, gone.ID)
		settle(t, w.m, paused.ID)
		settle(t, w.m, stopped.ID)
		time.Sleep(time.Minute)
		_, err := w.m.Delete(ctx, gone.ID)
		require.NoError(t, err)
		_, err = w.m.SetPower(ctx, stopped.ID, pool.Stopped)
		require.NoError(t, err)
		_, err = w.m.SetPower(ctx, paused.ID, pool.Suspended)
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		_, err = w.m.Delete(ctx, paused.ID)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		require.Empty(t, list(w.m))

		w.fleet.mu.Lock()
		w.fleet.deaf = hosts(2)[1].ID
		w.fleet.mu.Unlock()
		time.Sleep(15 * time.Minute)
		require.Equal(t, []string{"Busy sim/h01 firing", "NotMeasured sim/h01 firing"}, list(w.m))
		w.fleet.mu.Lock()
		w.fleet.deaf = ""
		w.fleet.mu.Unlock()
		time.Sleep(time.Minute)
		require.Equal(t, []string{"Busy sim/h01 resolved", "NotMeasured sim/h01 resolved"}, list(w.m))

		require.NoError(t, w.fleet.SetHostState(hosts(1)[0].ID, fake.Dead))
		time.Sleep(5 * time.Minute)
		require.Contains(t, list(w.m), "HostDown sim/h00 firing")
	})
}

// ones answers every query with one.
type ones struct{}

func (ones) Query(context.Context, string, time.Time) ([]alert.Sample, error) {
	return []alert.Sample{{Value: 1}}, nil
}

// A rule in the ledger that this Manager cannot evaluate, since nobody answers queries here, keeps no other one from being evaluated, now or later.
func TestARuleOfAnotherManager(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := oversee(t, 1, func(c *berthage.Config) { c.Alerting.Querier = ones{} })
		require.NoError(t, w.m.Alerts().SetRule(ctx, alert.Rule{Name: "Asked", Query: "1"}))
		time.Sleep(time.Minute)
		require.Equal(t, []string{"Asked  firing"}, list(w.m))
		w.stop()
		w.m = open(t, w.fleet, w.ledger, alerting)
		w.stop = run(t, w.m)
		defer func() { w.stop() }()
		w.busy(0, 0.5)
		for _, name := range []string{"One", "Two"} {
			require.NoError(t, w.m.Alerts().SetRule(ctx, alert.Rule{Name: name, Measure: alert.Measure{Metric: berthage.MetricCPU}, Test: alert.Test{Is: alert.Over, Value: 40}}))
			time.Sleep(time.Minute)
			require.Contains(t, list(w.m), name+" sim/h00 firing")
		}
		require.ErrorIs(t, w.m.Alerts().SetRule(ctx, alert.Rule{Name: "Hooked", Measure: alert.Measure{Metric: "m"}, Actions: []alert.Action{{Do: alert.Hook, Hook: "none"}}}), pool.ErrInvalid)
	})
}
