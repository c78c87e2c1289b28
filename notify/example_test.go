package notify_test

import (
	"context"
	"fmt"
	"time"

	"github.com/berthage/berthage/notify"
)

// A receiver of your own is one method.
func Example() {
	var n notify.Notifier = notify.Func(func(_ context.Context, m notify.Message) error {
		fmt.Println(m.Title())
		fmt.Println(m.Text(200))
		return nil
	})
	_ = n.Notify(context.Background(), notify.Message{
		Key: "6f1c", Incident: "91ab", First: true, Labels: map[string]string{"alertname": "HighCPU"},
		Firing: []notify.Alert{{
			Annotations: map[string]string{"summary": "CPU of web-1 above 80 %"}, Value: "93.5", Starts: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
		}},
	})
	// Output:
	// [FIRING:1] HighCPU: CPU of web-1 above 80 %
	// firing 2026-05-01 12:00 UTC: CPU of web-1 above 80 % (value 93.5)
}
