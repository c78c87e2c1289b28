package berthage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/delivery"
	"github.com/berthage/berthage/pool"
)

// inbox is a receiver that keeps what it is sent, and refuses it while it is down.
type inbox struct {
	mu     sync.Mutex
	down   error
	after  func() // is called once something has been taken
	took   []notify.Message
	tried  int
	unsure bool // what is taken is answered with an error
}

func (b *inbox) Notify(ctx context.Context, m notify.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tried++
	if b.down != nil {
		return b.down
	}
	if err := m.Check(); err != nil {
		return err
	}
	if !m.Moot() {
		b.took = append(b.took, m)
	}
	if b.after != nil {
		b.after()
	}
	if b.unsure {
		return &notify.Error{Op: "inbox", Kind: notify.ErrTemporary, Maybe: true}
	}
	return ctx.Err()
}

func (b *inbox) set(down error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

func (b *inbox) attempts() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tried
}

func (b *inbox) messages() []notify.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.took)
}

func (b *inbox) titles() (out []string) {
	for _, m := range b.messages() {
		out = append(out, m.Title())
	}
	return out
}

var errDown = &notify.Error{Op: "inbox", Kind: notify.ErrTemporary, Status: 503}

func matching(name, value string) alert.Matchers {
	m, err := alert.NewMatcher(name, alert.Equal, value)
	if err != nil {
		panic(err)
	}
	return alert.Matchers{m}
}

// told configures receivers, of which the first is told of everything that no other route is for.
func told(receivers map[string]notify.Notifier, first string, routes ...alert.Route) change {
	return func(c *berthage.Config) {
		c.Messaging.Receivers = receivers
		c.Messaging.Routing.Root = alert.Route{Receivers: []string{first}, GroupBy: []string{"alertname"}, Routes: routes}
	}
}

// calm leaves out the rules about how busy instances are, which the simulated ones decide by chance.
func calm(c *berthage.Config) {
	c.Alerting.Rules = slices.DeleteFunc(berthage.DefaultRules(), func(r alert.Rule) bool { return strings.HasPrefix(r.Name, "High") })
}

// by counts the messages of a Manager by what became of them.
func by(m *berthage.Manager) map[string]int {
	out := make(map[string]int)
	for _, s := range m.Messages().List() {
		out[s.Status]++
	}
	return out
}

// An alert is told when it fires and when it is resolved, each once, as one incident; and then nothing is appended any more.
func TestAnAlertArrives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ops := new(inbox)
		link := func(c *berthage.Config) {
			c.Messaging.Link = func(l alert.Labels) string { return "https://berthd.example/alerts?name=" + l.Get("alertname") }
		}
		w := oversee(t, 2, told(map[string]notify.Notifier{"ops": ops}, "ops"), link)
		defer w.stop()
		w.busy(1, 0.9)
		time.Sleep(7 * time.Minute)
		require.Equal(t, []string{"[FIRING:1] HighCPU: sim/h01: CPU at 90.0 %"}, ops.titles())
		w.busy(1, 0.2)
		time.Sleep(6 * time.Minute)
		took := ops.messages()
		require.Len(t, took, 2)
		require.Equal(t, "resolved", took[1].Status())
		require.Equal(t, took[0].Incident, took[1].Incident)
		require.NotEqual(t, took[0].Key, took[1].Key)
		require.True(t, took[0].First)
		require.False(t, took[1].First)
		require.Equal(t, "https://berthd.example/alerts?name=HighCPU", took[0].Link)
		require.Equal(t, map[string]string{"alertname": "HighCPU"}, took[0].GroupLabels)
		require.Equal(t, "high", took[0].Labels["severity"])
		require.NotEmpty(t, took[0].Firing[0].Value)
		require.Equal(t, map[string]int{"delivered": 2}, by(w.m))
		kinds, _ := w.kinds()
		require.Equal(t, 2, kinds["alert.messages.delivered"])
		head := w.m.Status().Revision
		time.Sleep(48 * time.Hour)
		require.Equal(t, head, w.m.Status().Revision)
		s := w.m.Messages().Receivers()
		require.Len(t, s, 1)
		require.Equal(t, delivery.OK, s[0].State)
		require.True(t, s[0].Configured && s[0].Usable)
		require.False(t, s[0].LastDelivered.IsZero())
	})
}

// A receiver is down for an hour and the leader changes four times meanwhile; the other receiver is told in time, and in the end both
// have everything, in order, and what came twice has the same key.
func TestAReceiverIsDownForAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ops, log := &inbox{down: errDown}, new(inbox)
		scratch := pool.NewMemoryScratch()
		shared := func(c *berthage.Config) { c.Scratch, c.LeaseTTL = scratch, 10*time.Second }
		routes := told(map[string]notify.Notifier{"ops": ops, "log": log}, "ops",
			alert.Route{Match: matching("alertname", "HighCPU"), Receivers: []string{"ops", "log"}, GroupBy: []string{"host"}})
		w := oversee(t, 3, shared, routes)
		defer func() { w.stop() }()
		for minute := range 60 {
			for h := range 3 {
				load := 0.2
				if (minute+3*h)%20 < 12 {
					load = 0.9
				}
				w.busy(h, load)
			}
			time.Sleep(time.Minute)
			if minute%15 == 14 {
				w.stop()
				w.m = open(t, w.fleet, w.ledger, alerting, shared, routes)
				w.stop = run(t, w.m)
			}
		}
		time.Sleep(time.Minute)
		require.Empty(t, ops.messages())
		require.NotEmpty(t, log.messages())
		require.Less(t, ops.attempts(), 4*40, "it is left alone while it is down")
		state := w.m.Messages().Receivers()
		require.Equal(t, delivery.Failing, state[1].State)
		require.Contains(t, state[1].Error, "503")
		require.NotZero(t, state[1].Waiting)
		require.Zero(t, state[0].Waiting)
		ops.set(nil)
		for h := range 3 {
			w.busy(h, 0.2)
		}
		time.Sleep(30 * time.Minute)
		var expected []string
		generation := make(map[string]int64) // the last one by incident
		for _, n := range w.notified() {
			if n.Receiver == "ops" {
				expected = append(expected, n.Key)
			}
		}
		var got []string
		for _, m := range ops.messages() {
			require.GreaterOrEqual(t, m.Generation, generation[m.Incident], "order of an incident")
			generation[m.Incident] = m.Generation
			got = append(got, m.Key)
		}
		require.NotEmpty(t, got)
		slices.Sort(expected)
		slices.Sort(got)
		require.Equal(t, expected, slices.Compact(got))
		require.Len(t, generation, 3)
		require.Equal(t, len(w.notified()), by(w.m)["delivered"])
	})
}

// The leader is stopped after a receiver has taken a message and before that is written down: the next one sends it again, with the same key.
func TestKilledBetweenSendingAndRecording(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ops := new(inbox)
		routes := told(map[string]notify.Notifier{"ops": ops}, "ops")
		w := oversee(t, 1, routes)
		stopped := make(chan struct{})
		ops.after = func() {
			ops.after = nil
			stop := w.stop
			go func() { stop(); close(stopped) }()
			time.Sleep(time.Second)
		}
		w.busy(0, 0.9)
		<-stopped
		require.Len(t, ops.messages(), 1)
		require.Equal(t, map[string]int{"waiting": 1}, by(w.m))
		w.m = open(t, w.fleet, w.ledger, alerting, routes)
		w.stop = run(t, w.m)
		defer w.stop()
		time.Sleep(time.Minute)
		took := ops.messages()
		require.Len(t, took, 2)
		require.Equal(t, took[0].Key, took[1].Key)
		require.Equal(t, map[string]int{"delivered": 1}, by(w.m))
	})
}

// The storm: three rules fire on two hundred hosts at once.
func TestAStormIsFewMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ops, other := new(inbox), new(inbox)
		rules := func(c *berthage.Config) {
			c.Alerting.Rules = []alert.Rule{}
			for n, over := range []float64{60, 70, 80} {
				c.Alerting.Rules = append(c.Alerting.Rules, alert.Rule{
					Name: fmt.Sprint("CPU", n), Measure: alert.Measure{Metric: berthage.MetricCPU}, Test: alert.Test{Is: alert.Over, Value: over}, NoData: alert.NoDataOK,
				})
			}
		}
		w := oversee(t, 200, rules, told(map[string]notify.Notifier{"ops": ops, "other": other}, "ops",
			alert.Route{Receivers: []string{"other"}, Continue: true, GroupBy: []string{}}, alert.Route{}))
		defer w.stop()
		for h := range 200 {
			w.busy(h, 0.95)
		}
		time.Sleep(time.Hour)
		for name, b := range map[string]*inbox{"ops": ops, "other": other} {
			all := make(map[string]bool)
			for _, m := range b.messages() {
				require.Zero(t, m.FiringMore)
				for _, a := range m.Firing {
					all[a.Fingerprint] = true
				}
			}
			require.LessOrEqual(t, len(b.messages()), 5, name)
			require.Len(t, all, 600, name)
		}
	})
}

// Nobody acknowledges, and after ten minutes the next one is told; somebody does, by the name of the incident, and then nobody else is.
func TestEscalation(t *testing.T) {
	t.Parallel()
	for _, acknowledged := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ops, boss := new(inbox), new(inbox)
			w := oversee(t, 1, told(map[string]notify.Notifier{"ops": ops, "boss": boss}, "ops"), func(c *berthage.Config) {
				c.Messaging.Routing.Root.Escalation = []alert.EscalationStep{{After: alert.Duration(10 * time.Minute), Receivers: []string{"boss"}}}
			})
			defer w.stop()
			w.busy(0, 0.9)
			time.Sleep(6 * time.Minute)
			took := ops.messages()
			require.Len(t, took, 1)
			_, err := w.m.Messages().Acknowledge(context.Background(), "nothing", "")
			require.ErrorIs(t, err, pool.ErrNotFound)
			whose, ok := w.m.Messages().Told(took[0].Incident)
			require.True(t, ok)
			require.Equal(t, "ops", whose)
			_, ok = w.m.Messages().Told("nothing")
			require.False(t, ok)
			if acknowledged {
				n, err := w.m.As("alice", "chat").Messages().Acknowledge(context.Background(), took[0].Incident, "I look at it")
				require.NoError(t, err)
				require.Equal(t, 1, n)
				require.Equal(t, "alice", w.m.Alerts().List()[0].Acknowledged.By)
			}
			time.Sleep(9 * time.Minute)
			require.Empty(t, boss.messages())
			time.Sleep(7 * time.Minute)
			if acknowledged {
				require.Empty(t, boss.messages())
				n, err := w.m.Messages().Unacknowledge(context.Background(), took[0].Incident)
				require.NoError(t, err)
				require.Equal(t, 1, n)
				time.Sleep(16 * time.Minute)
			}
			require.Len(t, boss.messages(), 1)
			require.Equal(t, 1, boss.messages()[0].Step)
			require.NotEqual(t, took[0].Incident, boss.messages()[0].Incident)
		})
	}
}

// What happens is told to those who have a route for it and to nobody else; much of it at once is one message.
func TestWhatHappenedIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ops, log, shop := new(inbox), new(inbox), new(inbox)
		events, err := alert.NewMatcher("event", alert.Match, "instance-.*|host-.*|backup-failed")
		require.NoError(t, err)
		w := oversee(t, 4, calm, told(map[string]notify.Notifier{"ops": ops, "log": log, "shop": shop}, "ops",
			alert.Route{Match: append(matching("event", "instance-deleting"), matching("project", "shop")...), Receivers: []string{"shop"}, Continue: true},
			alert.Route{Match: alert.Matchers{events}, Receivers: []string{"log"}},
		))
		defer w.stop()
		ctx := context.Background()
		var all []pool.Instance
		for n := range 30 {
			all = append(all, w.launch(fmt.Sprintf("vm-%02d", n)))
		}
		for _, i := range all {
			require.Equal(t, "running", settle(t, w.m, i.ID).Status())
		}
		_, err = w.m.SetPower(ctx, all[0].ID, pool.Suspended)
		require.NoError(t, err)
		time.Sleep(25 * time.Second)
		require.Empty(t, log.messages(), "it is waited whether there is more")
		time.Sleep(30 * time.Second)
		require.Equal(t, []string{"instance vm-00 is suspended"}, log.titles())
		first := log.messages()[0]
		require.Equal(t, "event", first.Status())
		require.Equal(t, map[string]string{"event": "instance-suspended", "project": "shop", "vm": "vm-00", "vm_id": string(all[0].ID)}, first.Labels)
		require.NoError(t, w.m.Messages().Announce(ctx, berthage.Event{Kind: "backup-failed", Title: "the backup of berthd has failed", Text: "no space left", Severity: alert.High}))
		require.NoError(t, w.m.Messages().Announce(ctx, berthage.Event{Kind: "of-no-interest", Title: "somebody has logged in"}))
		require.ErrorIs(t, w.m.Messages().Announce(ctx, berthage.Event{Kind: "backup-failed"}), pool.ErrInvalid)
		require.ErrorIs(t, w.m.Messages().Announce(ctx, berthage.Event{Kind: "no kind\n", Title: "x"}), pool.ErrInvalid)
		for _, i := range all[1:] {
			_, err := w.m.Delete(ctx, i.ID)
			require.NoError(t, err)
		}
		time.Sleep(10 * time.Minute)
		require.Equal(t, []string{"instance vm-00 is suspended", "the backup of berthd has failed", "29 instances are being deleted"}, sorted(log.titles(), 1))
		require.Equal(t, []string{"29 instances are being deleted"}, shop.titles())
		m := shop.messages()[0]
		require.Len(t, m.Lines(), 29)
		require.Contains(t, m.Event.Text, "instance vm-29 is being deleted (project shop)")
		require.Equal(t, map[string]string{"event": "instance-deleting", "project": "shop"}, m.Labels)
		require.Empty(t, ops.messages(), "who has no route for events is told of alerts only")
		require.NoError(t, w.fleet.SetHostState(hosts(4)[3].ID, fake.CutOff))
		time.Sleep(5 * time.Minute)
		require.Contains(t, log.titles(), "host sim/h03 does not answer")
		require.Contains(t, strings.Join(ops.titles(), " "), "HostDown")
		require.NoError(t, w.fleet.SetHostState(hosts(4)[3].ID, fake.Up))
		time.Sleep(10 * time.Minute)
		require.Contains(t, log.titles(), "host sim/h03 answers again")
		require.Zero(t, by(w.m)["waiting"])
	})
}

// sorted sorts what comes after the first n.
func sorted(s []string, n int) []string {
	slices.Sort(s[n:])
	slices.Reverse(s[n:])
	return s
}

// A project that uses most of what it may is an alert with an end.
func TestAQuotaNearlyUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ops := new(inbox)
		w := oversee(t, 2, calm, told(map[string]notify.Notifier{"ops": ops}, "ops"))
		defer w.stop()
		require.NoError(t, w.m.PutProject(context.Background(), pool.Project{Name: "shop", Quota: pool.Resources{pool.Instances: 2}}))
		one, _ := w.launch("one"), w.launch("two")
		time.Sleep(7 * time.Minute)
		require.Equal(t, []string{"[FIRING:1] QuotaNearlyUsed: project shop uses 100.0 % of its quota of instances"}, ops.titles())
		_, err := w.m.Delete(context.Background(), one.ID)
		require.NoError(t, err)
		time.Sleep(7 * time.Minute)
		require.Len(t, ops.messages(), 2)
	})
}

// Receivers that stand in the ledger: what is wrong with them is said, their secrets are not shown, what waits for one is sent once it is
// right, and what it refuses for good can be sent again.
func TestReceiversInTheLedger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		made := map[string]*inbox{"good": new(inbox), "refusing": {down: &notify.Error{Op: "inbox", Kind: notify.ErrPermanent, Status: 400}}, "broken": {down: &notify.Error{Op: "inbox", Kind: notify.ErrBroken, Status: 401}}}
		makes := func(c *berthage.Config) {
			c.Messaging.Make = func(r berthage.Receiver) (notify.Notifier, error) {
				if string(r.Sealed) != "sealed" {
					return nil, notify.Invalid("token", "a token")
				}
				if b, ok := made[r.Type]; ok {
					return b, nil
				}
				return nil, notify.Invalid("type", "good, refusing or broken")
			}
		}
		ctx := context.Background()
		w := oversee(t, 1, makes)
		defer func() { w.stop() }()
		msg := w.m.As("alice", "request 1").Messages()
		right := berthage.Receiver{Name: "ops", Type: "broken", Settings: json.RawMessage(`{"channel":"x"}`), Sealed: []byte("sealed")}
		require.ErrorIs(t, msg.SetReceiver(ctx, berthage.Receiver{Name: "ops", Type: "good"}), pool.ErrInvalid)
		require.ErrorIs(t, msg.SetReceiver(ctx, berthage.Receiver{Name: "ops", Type: "other", Sealed: []byte("sealed")}), pool.ErrInvalid)
		require.ErrorIs(t, msg.SetReceiver(ctx, berthage.Receiver{Name: "o\nps", Type: "good", Sealed: []byte("sealed")}), pool.ErrInvalid)
		require.NoError(t, msg.SetReceiver(ctx, right))
		head := w.m.Status().Revision
		require.NoError(t, msg.SetReceiver(ctx, right))
		require.Equal(t, head, w.m.Status().Revision, "the same again is nothing")
		shown, err := json.Marshal(msg.Receivers())
		require.NoError(t, err)
		require.NotContains(t, string(shown), "sealed\"")
		require.True(t, msg.Receivers()[0].Secrets)
		whole, ok := msg.Receiver("ops")
		require.True(t, ok)
		require.Equal(t, right, whole, "with what is sealed, for whoever has sealed it")
		whole.Sealed[0] = 'S'
		whole, _ = msg.Receiver("ops")
		require.Equal(t, right, whole)
		_, ok = msg.Receiver("nobody")
		require.False(t, ok)
		require.ErrorIs(t, msg.Test(ctx, "ops"), notify.ErrBroken)
		require.ErrorIs(t, msg.Test(ctx, "nobody"), pool.ErrNotFound)
		require.NoError(t, msg.Try(ctx, berthage.Receiver{Name: "ops", Type: "good", Sealed: []byte("sealed")}))
		require.Equal(t, []string{"This is a test"}, made["good"].titles())

		tree := alert.Routing{Root: alert.Route{Receivers: []string{"nobody"}}}
		require.ErrorIs(t, msg.SetRouting(ctx, tree), pool.ErrNotFound)
		tree.Root.Receivers = []string{"ops"}
		tree.Root.GroupBy = []string{"no\x00", "no\x00"}
		require.ErrorIs(t, msg.SetRouting(ctx, tree), pool.ErrInvalid)
		tree.Root.GroupBy = []string{"alertname"}
		require.NoError(t, msg.SetRouting(ctx, tree))
		got, ledger := msg.Routing()
		require.True(t, ledger)
		require.Equal(t, tree.Root.Receivers, got.Root.Receivers)
		require.ErrorIs(t, msg.RemoveReceiver(ctx, "ops"), pool.ErrInUse)
		require.ErrorIs(t, msg.RemoveReceiver(ctx, "nobody"), pool.ErrNotFound)

		w.busy(0, 0.9)
		time.Sleep(2 * time.Hour)
		require.Equal(t, map[string]int{"waiting": 1}, by(w.m), "nothing is lost while it is broken")
		require.Equal(t, delivery.Broken, msg.Receivers()[0].State)
		right.Type = "refusing"
		require.NoError(t, msg.SetReceiver(ctx, right))
		time.Sleep(time.Second)
		require.Equal(t, map[string]int{"dead": 1}, by(w.m), "it is tried at once")
		dead := msg.List()[0]
		require.Contains(t, dead.Error, "400")
		require.True(t, dead.Kept)
		right.Type = "good"
		require.NoError(t, msg.SetReceiver(ctx, right))
		w.stop()
		w.m = open(t, w.fleet, w.ledger, alerting, makes) // the dead are kept
		w.stop = run(t, w.m)
		msg = w.m.Messages()
		require.ErrorIs(t, msg.Resend(ctx, "no such"), pool.ErrNotFound)
		require.NoError(t, msg.Resend(ctx, dead.Key))
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"delivered": 1}, by(w.m))
		took := made["good"].messages()
		require.Equal(t, dead.Key, took[len(took)-1].Key)
		require.NotEmpty(t, msg.Attempts())

		right.Type = "broken"
		require.NoError(t, msg.SetReceiver(ctx, right))
		w.busy(0, 0.1)
		time.Sleep(10 * time.Minute)
		require.Equal(t, map[string]int{"delivered": 1, "waiting": 1}, by(w.m))
		require.NoError(t, msg.RemoveRouting(ctx))
		require.NoError(t, msg.RemoveReceiver(ctx, "ops"))
		require.Equal(t, map[string]int{"delivered": 1, "dead": 1}, by(w.m), "what waits for a receiver that is removed is dead")
		require.Empty(t, msg.Receivers())
		_, err = w.m.Forget(ctx, "receiver/ops")
		require.NoError(t, err)
		for batch, err := range w.ledger.Read(ctx, 0) {
			if errors.Is(err, pool.ErrCompacted) {
				break
			}
			require.NoError(t, err)
			for _, e := range batch.Events {
				require.NotContains(t, string(e.Private), "sealed")
			}
		}
	})
}

// A receiver of the configuration that is broken is replaced by one in the ledger, and gets at once what waits.
func TestAReceiverInTheLedgerGoesBeforeABrokenOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken, repaired := &inbox{down: &notify.Error{Op: "inbox", Kind: notify.ErrBroken, Status: 401}}, new(inbox)
		w := oversee(t, 1, told(map[string]notify.Notifier{"ops": broken}, "ops"), func(c *berthage.Config) {
			c.Messaging.Make = func(berthage.Receiver) (notify.Notifier, error) { return repaired, nil }
		})
		defer w.stop()
		w.busy(0, 0.9)
		time.Sleep(time.Hour)
		require.Equal(t, delivery.Broken, w.m.Messages().Receivers()[0].State)
		before := w.m.Messages().List()
		require.NotEmpty(t, before)
		require.NoError(t, w.m.Messages().SetReceiver(context.Background(), berthage.Receiver{Name: "ops", Type: "good"}))
		time.Sleep(time.Second)
		require.Len(t, repaired.messages(), len(before))
	})
}

// What is wrong with a configuration is said when it is opened.
func TestBadMessaging(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]berthage.Messaging{
		"no notifier":   {Receivers: map[string]notify.Notifier{"ops": nil}},
		"bad name":      {Receivers: map[string]notify.Notifier{"o ps\n": new(inbox)}},
		"bad routing":   {Routing: alert.Routing{Root: alert.Route{Continue: true}}},
		"a bad backoff": {Policy: delivery.Policy{MinBackoff: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := berthage.Open(context.Background(), berthage.Config{
				Drivers: map[string]hypervisor.Driver{"sim": fake.New(fake.Config{Name: "sim"})}, Ledger: pool.NewMemoryLedger(), Messaging: c,
			})
			require.ErrorIs(t, err, pool.ErrInvalid)
			require.Contains(t, err.Error(), "Messaging")
		})
	}
}
