package lifetime_test

import (
	"fmt"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/lifetime"
)

func Example() {
	var book lifetime.Book
	s := scheduler.Scheduler{Ends: &book.Ends} // hosts that a placement keeps in use for longest come last
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	job, server := lifetime.Class{Project: "shop", Flavor: "job", Batch: 1}, lifetime.Class{Project: "shop", Flavor: "server", Batch: 1}
	for n := range 100 { // jobs have ended after an hour, servers after a month
		id := pool.InstanceID(fmt.Sprint(n))
		book.Born(id+"j", "d/h1", job, now.AddDate(0, -2, 0), time.Time{})
		book.Born(id+"s", "d/h1", server, now.AddDate(0, -2, 0), time.Time{})
		book.Gone(id+"j", now.AddDate(0, -2, 0).Add(time.Hour))
		book.Gone(id+"s", now.AddDate(0, -1, 0))
	}
	book.Look(now)
	book.Born("a server", "d/h1", server, now, time.Time{})
	book.Born("a job", "d/h2", job, now, time.Time{})

	req := scheduler.Request{Now: now, Lives: book.Lives(job)} // with Spec and Image, for s.PlaceOn
	for _, host := range []pool.HostID{"d/h1", "d/h2"} {
		fmt.Printf("%.1f of a job's life lies beyond that of %s\n", req.Lives(s.Ends.Of(host).Sub(now)), host)
	}
	// Output:
	// 0.0 of a job's life lies beyond that of d/h1
	// 0.1 of a job's life lies beyond that of d/h2
}
