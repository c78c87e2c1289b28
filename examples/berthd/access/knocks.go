package access

import (
	"net/http"
	"time"

	"github.com/berthage/berthage/examples/berthd/problem"
)

// Knocks counts what is wrong by address as a Guard counts wrong credentials, and apart from it: whoever is wrong here is not kept out there. The zero value is
// ready; it is safe for concurrent use.
type Knocks struct{ throttle throttle }

// Admit returns an error, which is a problem, when too much that was wrong came from the request's address.
func (k *Knocks) Admit(r *http.Request) error {
	wait := k.throttle.wait(client(r), time.Now())
	if wait <= 0 {
		return nil
	}
	p := problem.Throttled.New("too many wrong signatures came from this address")
	p.RetryAfter = int(wait/time.Second) + 1
	return p
}

// Blame notes that something was wrong.
func (k *Knocks) Blame(r *http.Request) { k.throttle.blame(client(r), time.Now()) }
