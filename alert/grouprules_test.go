package alert_test

import (
	"testing"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/stretchr/testify/require"
)

// parsed reads matchers that are right.
func parsed(t testing.TB, s string) alert.Matchers {
	t.Helper()
	ms, err := alert.ParseMatchers(s, alert.EitherSyntax)
	require.NoError(t, err)
	return ms
}

// groupRules are the rules by which groups are told, each with a script and what is told during it.
func groupRules(t *testing.T) []groupRule {
	ops := func(change func(*alert.Target)) func(*alert.Target) { return change }
	inhibit := func(source, target string, equal ...string) func(*alert.Dispatcher) {
		return func(d *alert.Dispatcher) {
			d.Inhibit = []alert.InhibitRule{{Name: "rule", Source: parsed(t, source), Target: parsed(t, target), Equal: equal}}
		}
	}
	oncall := func(target *alert.Target) {
		target.Escalation = []alert.Step{{After: 10 * time.Minute, Receivers: []alert.Receiver{{Name: "lead"}}}, {After: 30 * time.Minute, Receivers: []alert.Receiver{{Name: "boss"}}}}
	}
	return []groupRule{
		// Timing.
		{name: "group-wait", why: "a group is told group_wait, 30 s, after its first alert", end: 4 * time.Minute,
			script: "10s fire a", told: []string{"40s ops first +a"}},
		{name: "group-wait-joins", why: "what comes meanwhile is told together", end: 4 * time.Minute,
			script: "0s fire a\n 20s fire b\n 29s fire c", told: []string{"30s ops first +a +b +c"}},
		{name: "group-wait-counts-from-the-first", why: "also if that one has gone by then", end: 4 * time.Minute,
			script: "0s fire a\n 10s resolve a\n 20s fire b", told: []string{"30s ops first +b"}},
		{name: "group-interval", why: "what comes later is told group_interval, 5 min, after the last flush", end: 20 * time.Minute,
			script: "0s fire a\n 31s fire b\n 12m fire c", told: []string{"30s ops first +a", "5m30s ops new +a +b", "15m30s ops new +a +b +c"}},
		{name: "repeat-interval", why: "a group of which there is nothing new is told again every repeat_interval, 4 h", end: 9 * time.Hour,
			script: "0s fire a", told: []string{"30s ops first +a", "4h0m30s ops repeat +a", "8h0m30s ops repeat +a"}},
		{name: "repeat-counts-from-the-last", why: "which counts from the last time that it was told anything", end: 6 * time.Hour,
			script: "0s fire a\n 1h fire b", told: []string{"30s ops first +a", "1h0m30s ops new +a +b", "5h0m30s ops repeat +a +b"}},
		{name: "own-times", why: "a target may have other times, and none to wait", end: 4 * time.Minute,
			target: ops(func(target *alert.Target) {
				target.Wait, target.Interval, target.Repeat = -1, time.Minute, 2*time.Minute
			}),
			script: "0s fire a\n 30s fire b", told: []string{"0s ops first +a", "1m0s ops new +a +b", "3m0s ops repeat +a +b"}},
		{name: "old-alert-at-once", why: "an alert that is given to us and is older than group_wait does not wait for it", end: 4 * time.Minute,
			script: "1m give a 0s -", told: []string{"1m0s ops first +a"}},
		{name: "young-alert-waits", why: "a younger one does", end: 4 * time.Minute,
			script: "1m give a 40s -", told: []string{"1m30s ops first +a"}},
		{name: "new-group-waits-again", why: "a group that has ended begins anew with group_wait", end: 12 * time.Minute,
			script: "0s fire a\n 1m resolve a\n 6m fire b", told: []string{"30s ops first +a", "5m30s ops resolved -a", "6m30s ops first +b"}},
		{name: "quiet-group-waits-again", why: "also if nobody was told of it", end: 12 * time.Minute,
			script: "0s fire a\n 1s resolve a\n 2m fire b", told: []string{"2m30s ops first +b"}},

		// Which flush sends: Alertmanager's conditions.
		{name: "nothing-fires", why: "nothing was told and nothing fires: nothing is told", end: time.Hour,
			script: "0s fire a\n 10s resolve a"},
		{name: "unchanged", why: "nothing new before repeat_interval: nothing is told", end: 3 * time.Hour,
			script: "0s fire a\n 0s fire b", told: []string{"30s ops first +a +b"}},
		{name: "new-alert", why: "something fires that the last notification did not list", end: 14 * time.Minute,
			script: "0s fire a\n 0s fire b\n 1m resolve a\n 1m fire c", told: []string{"30s ops first +a +b", "5m30s ops new +b +c -a"}},
		{name: "all-resolved", why: "all is resolved and something that fired was told", end: 14 * time.Minute,
			script: "0s fire a\n 0s fire b\n 1m resolve a\n 2m resolve b", told: []string{"30s ops first +a +b", "5m30s ops resolved -a -b"}},
		{name: "resolved-once", why: "what was told to be resolved is not told again, nor repeated", end: 9 * time.Hour,
			script: "0s fire a\n 0s fire b\n 1m resolve a\n 2h resolve b",
			told:   []string{"30s ops first +a +b", "5m30s ops some resolved +b -a", "2h0m30s ops resolved -b"}},
		{name: "some-resolved", why: "something more is resolved while something fires", end: 14 * time.Minute,
			script: "0s fire a\n 0s fire b\n 0s fire c\n 1m resolve a\n 6m resolve b",
			told:   []string{"30s ops first +a +b +c", "5m30s ops some resolved +b +c -a", "10m30s ops some resolved +c -b"}},
		{name: "resolved-unwanted", why: "not to whom does not want to know what is resolved", end: 14 * time.Minute,
			target: ops(func(target *alert.Target) { target.Receivers[0].FiringOnly = true }),
			script: "0s fire a\n 0s fire b\n 1m resolve a", told: []string{"30s ops first +a +b"}},
		{name: "resolved-unlisted", why: "who is told of something else, and is not shown what is resolved", end: 14 * time.Minute,
			target: ops(func(target *alert.Target) { target.Receivers[0].FiringOnly = true }),
			script: "0s fire a\n 0s fire b\n 1m resolve a\n 2m fire c", told: []string{"30s ops first +a +b", "5m30s ops new +b +c"}},
		{name: "all-resolved-unwanted", why: "that all is resolved is remembered of them, so that what fires again is told", end: 14 * time.Minute,
			target: ops(func(target *alert.Target) { target.Receivers[0].FiringOnly = true }),
			script: "0s fire a\n 1m resolve a\n 6m fire a", told: []string{"30s ops first +a", "6m30s ops first +a"},
			unsent: []string{"5m30s ops unwanted"}},
		{name: "fired-and-resolved-between", why: "an alert that fired and resolved between two flushes is never announced", end: 14 * time.Minute,
			script: "0s fire a\n 1m fire b\n 2m resolve b\n 6m fire c\n 7m fire d\n 8m resolve c",
			told:   []string{"30s ops first +a", "10m30s ops new +a +d"}},
		{name: "fires-again-between", why: "one that was resolved and fires again between two flushes is the same", end: 14 * time.Minute,
			script: "0s fire a\n 1m resolve a\n 2m fire a", told: []string{"30s ops first +a"}},
		{name: "fires-again-unwanted", why: "also to whom does not want to know what is resolved", end: 14 * time.Minute,
			target: ops(func(target *alert.Target) { target.Receivers[0].FiringOnly = true }),
			script: "0s fire a\n 0s fire b\n 1m resolve a\n 6m resolve b\n 7m fire b", told: []string{"30s ops first +a +b"}},
		{name: "refired", why: "one that fires again after it was told to be resolved is new", end: 14 * time.Minute,
			script: "0s fire a\n 0s fire b\n 1m resolve a\n 6m fire a",
			told:   []string{"30s ops first +a +b", "5m30s ops some resolved +b -a", "10m30s ops new +a +b"}},
		{name: "each-receiver", why: "receivers of one group are told each by what they were told", end: 14 * time.Minute,
			target: ops(func(target *alert.Target) {
				target.Receivers = append(target.Receivers, alert.Receiver{Name: "sms", FiringOnly: true})
			}),
			script: "0s fire a\n 0s fire b\n 1m resolve a",
			told:   []string{"30s ops first +a +b", "30s sms first +a +b", "5m30s ops some resolved +b -a"}},

		// Groups.
		{name: "group-by", why: "alerts are told together that have the same values of the labels of group_by", end: 4 * time.Minute,
			target: ops(func(target *alert.Target) { target.GroupBy = []string{"host"} }),
			script: "0s fire a host=h1\n 0s fire b host=h2\n 5s fire c host=h1\n 5s fire d",
			told:   []string{"30s ops first +a +c", "30s ops first +b", "35s ops first +d"}},
		{name: "group-all", why: "or each alone", end: 4 * time.Minute,
			target: ops(func(target *alert.Target) { target.GroupAll = true }),
			script: "0s fire a host=h1\n 0s fire b host=h1", told: []string{"30s ops first +a", "30s ops first +b"}},

		// Alerts that are given to us.
		{name: "resolve-timeout", why: "an alert given without an end is resolved when it was not given for 5 min", end: 14 * time.Minute,
			script: "1m give a 1m -\n 2m give a 1m -", told: []string{"1m30s ops first +a", "11m30s ops resolved -a"}},
		{name: "end-to-come", why: "one given with an end to come is resolved then", end: 14 * time.Minute,
			script: "1m give a 1m 8m", told: []string{"1m30s ops first +a", "11m30s ops resolved -a"}},
		{name: "end-put-off", why: "unless it is given again", end: 14 * time.Minute,
			script: "1m give a 1m 8m\n 7m give a 1m 20m", told: []string{"1m30s ops first +a"}},

		// Inhibition.
		{name: "inhibited", why: "a target is muted while a source fires with equal labels", end: 14 * time.Minute,
			dispatcher: inhibit("alertname=down", "alertname=~slow.*", "host"),
			script:     "0s fire down host=h1\n 1s fire slow1 host=h1\n 1s fire slow2 host=h2", told: []string{"30s ops first +down +slow2"},
			muted: []string{"slow1 inhibition rule down"}},
		{name: "inhibited-no-more", why: "and is told when the source fires no more", end: 14 * time.Minute,
			dispatcher: inhibit("alertname=down", "alertname=slow", "host"),
			script:     "0s fire down host=h1\n 1s fire slow host=h1\n 1m resolve down", told: []string{"30s ops first +down", "5m30s ops new +slow -down"}},
		{name: "inhibited-and-resolved", why: "what is resolved with what inhibited it is told with it", end: 14 * time.Minute,
			dispatcher: inhibit("alertname=down", "alertname=slow", "host"),
			script:     "0s fire down host=h1\n 1s fire slow host=h1\n 1m resolve down\n 1m resolve slow",
			told:       []string{"30s ops first +down", "5m30s ops resolved -down -slow"}},
		{name: "equal-missing", why: "a label that is missing equals the empty value", end: 4 * time.Minute,
			dispatcher: inhibit("alertname=down", "alertname=slow", "host"),
			script:     "0s fire down\n 1s fire slow", told: []string{"30s ops first +down"}},
		{name: "equal-differs", why: "and nothing else", end: 4 * time.Minute,
			dispatcher: inhibit("alertname=down", "alertname=slow", "host"),
			script:     "0s fire down\n 1s fire slow host=h1", told: []string{"30s ops first +down +slow"}},
		{name: "not-by-itself", why: "an alert that both sides match is not inhibited by itself, nor by another such", end: 4 * time.Minute,
			dispatcher: inhibit("host=h1", "host=h1", "host"),
			script:     "0s fire a host=h1\n 0s fire b host=h1", told: []string{"30s ops first +a +b"}},
		{name: "muted-source", why: "a source inhibits although it is silenced itself", end: 4 * time.Minute,
			dispatcher: inhibit("alertname=down", "alertname=slow", "host"),
			script:     "0s silence s1 1h alertname=down\n 0s fire down host=h1\n 1s fire slow host=h1\n 1s fire other", told: []string{"30s ops first +other"}},
		{name: "pending-source", why: "one that does not fire does not", end: 4 * time.Minute,
			dispatcher: inhibit("alertname=down", "alertname=slow", "host"),
			script:     "0s fire down host=h1\n 1s fire slow host=h1\n 10s resolve down", told: []string{"30s ops first +slow"}},

		// Silences.
		{name: "silenced", why: "what an active silence matches is not told", end: 4 * time.Minute,
			script: "0s silence s1 1h alertname=a\n 1s fire a\n 1s fire b", told: []string{"31s ops first +b"}, muted: []string{"a silence s1"}},
		{name: "silence-ends", why: "it is told at the first flush after the silence", end: 14 * time.Minute,
			script: "0s silence s1 2m alertname=a\n 0s fire a\n 1s fire b", told: []string{"30s ops first +b", "5m30s ops new +a +b"}},
		{name: "silence-ended", why: "also when it is ended early", end: 14 * time.Minute,
			script: "0s silence s1 1h alertname=a\n 0s fire a\n 2m unsilence s1", told: []string{"5m30s ops first +a"},
			unsent: []string{"30s ops muted"}},
		{name: "silenced-later", why: "what is silenced after it was told is not repeated", end: 9 * time.Hour,
			script: "0s fire a\n 1m silence s1 10h alertname=a", told: []string{"30s ops first +a"}, unsent: []string{"5m30s ops muted"}},
		{name: "muted-recorded-once", why: "that something was muted is recorded once", end: 9 * time.Hour,
			script: "0s silence s1 10h alertname=a\n 0s fire a", unsent: []string{"30s ops muted"}, muted: []string{"a silence s1"}},
		{name: "muted-and-resolved", why: "what comes and goes muted is never told", end: 14 * time.Minute,
			script: "0s silence s1 3m alertname=a\n 0s fire a\n 2m resolve a", unsent: []string{"30s ops muted"}},
		{name: "resolved-in-silence", why: "the end of what was told before is told after the silence", end: 29 * time.Minute,
			script: "0s fire a\n 1m silence s1 14m alertname=a\n 2m resolve a", told: []string{"30s ops first +a", "15m30s ops resolved -a"}},

		{name: "resolved-in-silence-and-new", why: "which does not keep what is new waiting", end: 29 * time.Minute,
			script: "0s fire a\n 1m silence s1 14m alertname=a\n 2m resolve a\n 12m fire b", told: []string{"30s ops first +a", "12m30s ops new +b", "17m30s ops some resolved +b -a"}},

		// Quiet things.
		{name: "quiet", why: "alerts of what is suspended or drained are not told, and why is recorded", end: 14 * time.Minute,
			script: "0s quiet a suspended\n 1s fire a\n 10m loud a", told: []string{"10m31s ops first +a"},
			unsent: []string{"31s ops muted"}, muted: []string{"a quiet suspended"}},

		// Times. The script starts on a Monday at noon, UTC.
		{name: "mute-time", why: "during a mute time nothing is told", end: 70 * time.Minute,
			target: ops(func(target *alert.Target) {
				target.Mute = []alert.Times{{Name: "lunch", Intervals: []alert.TimeInterval{{Times: []alert.Range{{From: 12 * 60, To: 13 * 60}}}}}}
			}),
			script: "0s fire a", told: []string{"1h0m30s ops first +a"}, unsent: []string{"30s ops muted"}, muted: []string{"a mute time lunch"}},
		{name: "active-time", why: "with active times nothing is told but during one of them", end: 70 * time.Minute,
			target: ops(func(target *alert.Target) {
				target.Active = []alert.Times{
					{Name: "night", Intervals: []alert.TimeInterval{{Times: []alert.Range{{From: 0, To: 6 * 60}}}}},
					{Name: "day", Intervals: []alert.TimeInterval{{Times: []alert.Range{{From: 13 * 60, To: 17 * 60}}}}},
				}
			}),
			script: "0s fire a", told: []string{"1h0m30s ops first +a"}, unsent: []string{"30s ops muted"}, muted: []string{"a active time night", "a active time day"}},

		// Acknowledgement and escalation.
		{name: "escalates", why: "steps are told of what nobody acknowledges, each after its time", end: 50 * time.Minute, target: oncall,
			script: "0s fire a", told: []string{"30s ops first +a", "10m30s lead#1 first +a", "30m30s boss#2 first +a"}},
		{name: "acknowledged", why: "an acknowledgement stops it", end: 50 * time.Minute, target: oncall,
			script: "0s fire a\n 20m ack a", told: []string{"30s ops first +a", "10m30s lead#1 first +a"}},
		{name: "acknowledged-each", why: "of that alert alone", end: 29 * time.Minute, target: oncall,
			script: "0s fire a\n 0s fire b\n 5m ack a", told: []string{"30s ops first +a +b", "10m30s lead#1 first +b"}},
		{name: "acknowledged-not-repeated", why: "what is acknowledged is not repeated", end: 9 * time.Hour,
			script: "0s fire a\n 5m ack a", told: []string{"30s ops first +a"}},
		{name: "acknowledged-and-new", why: "but told with what is new", end: 14 * time.Minute,
			script: "0s fire a\n 1m ack a\n 2m fire b", told: []string{"30s ops first +a", "5m30s ops new +a +b"}},
		{name: "acknowledged-and-resolved", why: "and when it is resolved, to everybody who was told", end: 29 * time.Minute, target: oncall,
			script: "0s fire a\n 12m ack a\n 16m resolve a",
			told:   []string{"30s ops first +a", "10m30s lead#1 first +a", "20m30s ops resolved -a", "20m30s lead#1 resolved -a"}},
		{name: "withdrawn", why: "one that is withdrawn starts it again", end: 50 * time.Minute, target: oncall,
			script: "0s fire a\n 12m ack a\n 15m withdraw a", told: []string{"30s ops first +a", "10m30s lead#1 first +a", "25m0s lead#1 new +a", "45m0s boss#2 first +a"}},
		{name: "sticky-until-resolved", why: "an acknowledgement ends with the alert: one that fires again escalates", end: 29 * time.Minute, target: oncall,
			script: "0s fire a\n 1m ack a\n 2m resolve a\n 6m fire a",
			told:   []string{"30s ops first +a", "5m30s ops resolved -a", "6m30s ops first +a", "16m30s lead#1 first +a"}},
		{name: "refire-ends-acknowledgement", why: "also if that was between two flushes", end: 14 * time.Minute, target: oncall,
			script: "0s fire a\n 1m ack a\n 2m resolve a\n 3m fire a",
			told:   []string{"30s ops first +a", "13m0s lead#1 first +a"}},
		{name: "resolved-in-time", why: "what is resolved before does not escalate", end: 50 * time.Minute, target: oncall,
			script: "0s fire a\n 8m resolve a", told: []string{"30s ops first +a", "10m30s ops resolved -a"}},
		{name: "escalation-muted", why: "nor what is muted", end: 29 * time.Minute, target: oncall,
			script: "0s fire a\n 5m silence s1 1h alertname=a", told: []string{"30s ops first +a"}},
		{name: "escalation-after-silence", why: "which does so after the silence", end: 29 * time.Minute, target: oncall,
			script: "0s fire a\n 9m silence s1 5m alertname=a", told: []string{"30s ops first +a", "15m30s lead#1 first +a"}},
		{name: "ten-steps", why: "there are at most ten steps", end: 50 * time.Minute,
			dispatcher: func(d *alert.Dispatcher) {
				target := alert.Target{ID: "all"}
				target.Receivers = []alert.Receiver{{Name: "ops"}}
				for i := range 12 {
					target.Escalation = append(target.Escalation, alert.Step{After: time.Duration(i+1) * time.Minute, Receivers: []alert.Receiver{{Name: "x"}}})
				}
				d.Route = func(alert.Labels) []alert.Target { return []alert.Target{target} }
			},
			script: "0s fire a", told: []string{
				"30s ops first +a", "1m30s x#1 first +a", "2m30s x#2 first +a", "3m30s x#3 first +a", "4m30s x#4 first +a", "5m30s x#5 first +a",
				"6m30s x#6 first +a", "7m30s x#7 first +a", "8m30s x#8 first +a", "9m30s x#9 first +a", "10m30s x#10 first +a",
			}},

		// What is remembered.
		{name: "restart", why: "a restart forgets nothing", end: 5 * time.Hour, target: oncall,
			script: "0s fire a\n 0s silence s1 30m alertname=b\n 1m fire b\n 2m ack a\n 3m restart x\n 32m restart x",
			told:   []string{"30s ops first +a", "30m30s ops new +a +b", "40m30s lead#1 first +b", "1h0m30s boss#2 first +b", "4h30m30s ops repeat +a +b", "4h40m30s lead#1 repeat +b"},
			unsent: []string{"5m30s ops muted"}},
		{name: "late", why: "what was due while nobody planned is told afterwards, as of the last moment that it was due", end: 29 * time.Minute,
			script: "0s fire a\n 0s fire b\n 31s sleep 2m\n 2m31s resolve a\n 3m sleep 20m\n",
			told:   []string{"30s ops first +a +b", "20m30s ops some resolved +b -a"}},
		{name: "late-as-it-was", why: "and as it was at that moment", end: 14 * time.Minute,
			script: "0s fire a\n 0s fire b\n 31s sleep 5m10s resolve a", told: []string{"30s ops first +a +b", "10m30s ops some resolved +b -a"}},
		{name: "fires-again-late", why: "what fires again since counts as firing then", end: 14 * time.Minute,
			script: "0s fire a\n 0s fire b\n 1m resolve b\n 61s sleep 4m30s fire a", told: []string{"30s ops first +a +b", "5m30s ops some resolved +a -b"}},
	}
}

type groupRule struct {
	name, why  string
	target     func(*alert.Target)
	dispatcher func(*alert.Dispatcher)
	script     string
	end        time.Duration
	told       []string // all that is told
	unsent     []string // all that is recorded and not told, if given
	muted      []string // what kept the first notification that mutes something from telling it, if given
}

// TestGroupRules holds every rule of what is told to whom and when, in virtual time. For each there is a broken version in
// internal/mutants/faults that fails its row.
func TestGroupRules(t *testing.T) {
	t.Parallel()
	for _, r := range groupRules(t) {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, r.target, r.dispatcher)
			w.run(r.script, r.end)
			if r.told == nil {
				r.told = []string{}
			}
			require.Equal(t, r.told, toldLines(w.told), r.why)
			if r.unsent != nil {
				require.Equal(t, r.unsent, toldLines(w.unsent), r.why)
			}
			for _, n := range append(w.told, w.unsent...) {
				if len(n.Muted) > 0 && r.muted != nil {
					require.Equal(t, r.muted, mutedLines(n.Muted), r.why)
					return
				}
			}
			require.Nil(t, r.muted, r.why)
		})
	}
}
