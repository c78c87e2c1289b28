package access

import (
	"cmp"
	"net/netip"
	"sync"
	"time"
)

// Wrong credentials that an address may send in a row, and how long until it may send one more.
const (
	burst  = 10
	refill = 6 * time.Second
	most   = 4096 // addresses remembered
)

// throttle counts wrong credentials by address; of IPv6 by the network of 64 bits, which is what one
// customer has. While an address is blocked its tokens are not even compared. Sessions are not concerned.
type throttle struct {
	burst  int           // 0: burst
	refill time.Duration // 0: refill

	mu     sync.Mutex
	failed map[netip.Prefix]debt
}

// debt is paid off by one every refill.
type debt struct {
	n  int
	at time.Time
}

func (t *throttle) free() int { return cmp.Or(t.burst, burst) }

func (t *throttle) each() time.Duration { return cmp.Or(t.refill, refill) }

func (t *throttle) owed(d debt, now time.Time) int { return max(0, d.n-int(now.Sub(d.at)/t.each())) }

func network(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if bits == 128 {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// wait returns how long the address is blocked; zero when it is not.
func (t *throttle) wait(a netip.Addr, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.left(a, now)
}

// blame counts one more.
func (t *throttle) blame(a netip.Addr, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(a, now)
}

// take is wait, and blame where that is zero.
func (t *throttle) take(a netip.Addr, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := t.left(a, now)
	if left == 0 {
		t.count(a, now)
	}
	return left
}

// left is wait for whoever has the lock.
func (t *throttle) left(a netip.Addr, now time.Time) time.Duration {
	d := t.failed[network(a)]
	if t.owed(d, now) < t.free() {
		return 0
	}
	return t.each() - now.Sub(d.at)%t.each()
}

// count is blame, likewise.
func (t *throttle) count(a netip.Addr, now time.Time) {
	if t.failed == nil {
		t.failed = make(map[netip.Prefix]debt)
	}
	for p, d := range t.failed {
		if len(t.failed) < most {
			break
		}
		if t.owed(d, now) == 0 || len(t.failed) >= 2*most {
			delete(t.failed, p)
		}
	}
	k := network(a)
	old := t.failed[k]
	n := t.owed(old, now)
	at := now
	if n > 0 { // keep the rhythm of what is being paid off
		at = now.Add(-(now.Sub(old.at) % t.each()))
	}
	t.failed[k] = debt{min(n+1, t.free()), at}
}
