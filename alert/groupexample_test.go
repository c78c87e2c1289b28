package alert_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/berthage/berthage/alert"
)

// A dispatcher plans what is to be told. What it decides is applied as it would come back from a ledger; then one waits until
// the moment that the last plan names, or until something changes.
func ExampleDispatcher_Plan() {
	dispatcher := alert.Dispatcher{Route: func(alert.Labels) []alert.Target {
		return []alert.Target{{
			ID: "ops", Receivers: []alert.Receiver{{Name: "chat"}}, GroupBy: []string{"alertname"},
			Escalation: []alert.Step{{After: 10 * time.Minute, Receivers: []alert.Receiver{{Name: "phone"}}}},
		}}
	}}
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	var alerts []alert.Alert
	for _, host := range []string{"h1", "h2"} {
		l, err := alert.NewLabels(map[string]string{alert.NameLabel: "DiskFull", "host": host})
		if err != nil {
			fmt.Println(err)
			return
		}
		alerts = append(alerts, alert.Alert{Labels: l, Phase: alert.Firing, Active: now, Fired: now, Value: 97})
	}

	var state alert.State
	var last time.Time
	for now.Minute() < 12 {
		plan := dispatcher.Plan(&state, alerts, last, now)
		for _, event := range plan.Events {
			data, err := json.Marshal(event.Data)
			if err == nil {
				err = state.Apply(event.Kind, data, now)
			}
			if err != nil {
				fmt.Println(err)
				return
			}
			if n, ok := event.Data.(alert.Notification); ok && event.Kind == alert.GroupNotified {
				fmt.Println(now.Format("15:04:05"), n.Receiver, n.Reason, n.Labels, len(n.Firing))
			}
		}
		if len(plan.Events) == 0 { // else there may be more to do
			last, now = now, plan.Next
		}
	}
	// Output:
	// 12:00:30 chat first notification {alertname="DiskFull"} 2
	// 12:10:30 phone first notification {alertname="DiskFull"} 2
}
