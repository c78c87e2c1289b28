package passkey

import (
	"net/netip"
	"sync"
	"time"

	"github.com/berthage/berthage/auth"
)

// What an address may begin at once, and how long until it may begin one more. Each takes room in the Scratch for as long as it may be answered.
const (
	burst  = 10
	refill = 6 * time.Second
	most   = 4096 // addresses remembered; beyond, some are forgotten
)

// pace bounds how many log-ins an address begins; of IPv6 the network of 64 bits, which is what one customer has.
type pace struct {
	mu   sync.Mutex
	paid map[netip.Prefix]time.Time // when all of an address's will have been made up for
}

// begin lets a log-in begin, or refuses it with how long to wait.
func (p *pace) begin(from netip.Addr, now time.Time) error {
	from = from.Unmap().WithZone("")
	network, err := from.Prefix(min(from.BitLen(), 64))
	if err != nil {
		network = netip.Prefix{} // of all whose address is not known
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	paid := p.paid[network]
	if paid.Before(now) {
		paid = now
	}
	if wait := paid.Sub(now) - (burst-1)*refill; wait > 0 {
		return &auth.Refusal{Kind: auth.ErrThrottled, Reason: auth.Throttled, Wait: wait}
	}
	if p.paid == nil {
		p.paid = make(map[netip.Prefix]time.Time)
	}
	for n, at := range p.paid {
		if len(p.paid) < most {
			break
		}
		if !at.After(now) || len(p.paid) >= 2*most {
			delete(p.paid, n)
		}
	}
	p.paid[network] = paid.Add(refill)
	return nil
}
