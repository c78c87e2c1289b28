package delivery_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/delivery"
)

// A Queue says what is to be done; whoever asks does it.
func Example() {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	waiting := []delivery.Item{
		{Key: "k1", Receiver: "ops", Order: "disk full", Queued: at},
		{Key: "k2", Receiver: "ops", Order: "disk full", Queued: at},
		{Key: "k3", Receiver: "chat", Order: "disk full", Queued: at},
	}
	answers := map[string]error{
		"k1": errors.New("connection refused"),
		"k3": &notify.Error{Op: "chat: post", Kind: notify.ErrPermanent, Status: 404},
	}

	var q delivery.Queue
	q.Set(waiting, at)
	send, _, _ := q.Plan(at) // k2 waits for k1, which is of the same order
	for _, item := range send {
		r := q.Done(item, answers[item.Key], at)
		fmt.Println(r.Key, r.Status, r.Reason)
	}
	for _, h := range q.Receivers() {
		fmt.Println(h.Receiver, h.State, h.Waiting)
	}
	_, _, next := q.Plan(at)
	send, _, _ = q.Plan(next)
	fmt.Println("then", send[0].Key)
	// Output:
	// k1 waiting connection refused
	// k3 dead chat: post: refused for good, status 404
	// chat failing 0
	// ops failing 2
	// then k1
}
