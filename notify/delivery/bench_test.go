package delivery_test

import (
	"fmt"
	"testing"

	"github.com/berthage/berthage/notify/delivery"
)

// waiting returns n items of incidents of four messages each, for a hundred receivers.
func waiting(n int) []delivery.Item {
	items := make([]delivery.Item, n)
	for i := range items {
		items[i] = delivery.Item{
			Key: fmt.Sprintf("%032x", i), Receiver: fmt.Sprintf("receiver-%d", i%100), Order: fmt.Sprintf("%032x", i%100+i/400*100), Queued: start(),
		}
	}
	return items
}

// What one message costs that is sent while n wait, and what it costs that the list has changed, by one item less at its beginning
// and one more at its end.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("waiting=%d/attempt", n), func(b *testing.B) {
			q := delivery.Queue{Policy: delivery.Policy{Failures: 1 << 30, DeadAfter: 1 << 62}}
			now := start()
			q.Set(waiting(n), now)
			b.ReportAllocs()
			for b.Loop() {
				send, _, next := q.Plan(now)
				for _, item := range send {
					q.Done(item, errDown, now)
				}
				if len(send) == 0 {
					now = next
				}
			}
		})
		b.Run(fmt.Sprintf("waiting=%d/list", n), func(b *testing.B) {
			var q delivery.Queue
			items := waiting(n)
			items = append(items, items...) // each window of it is a list
			q.Set(items[:n], start())
			q.Plan(start())
			b.ReportAllocs()
			for i := 1; b.Loop(); i = i%n + 1 {
				q.Set(items[i:i+n], start())
				q.Plan(start())
			}
		})
	}
}
