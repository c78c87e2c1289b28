package ledger

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/pool"
)

// PrivateKeys reads the keys that sign heads, each from a file, as berthd audit key makes them.
func PrivateKeys(names []string) ([]ed25519.PrivateKey, error) {
	if len(names) == 0 {
		return nil, nil
	}
	return readPrivate(names)
}

// Forwarding sends a ledger to a collector as an audit log, while the daemon runs.
type Forwarding struct {
	log  auditLog
	s    source
	send sender
}

// ForwardedFile is the name of the file in the data directory that has the revision up to which everything was sent.
const ForwardedFile = "audit-forwarded"

// NewForwarding says where to: to is tcp://HOST:PORT, tls://HOST:PORT or udp://HOST:PORT, format json or syslog, and ca a file of certificates
// that the one of tls:// must come from. It goes on from where the data directory says that it was.
func NewForwarding(l pool.Ledger, data, to, format, ca string, log *slog.Logger) (*Forwarding, error) {
	f := &Forwarding{
		log: auditLog{follow: true, every: time.Second, to: to, format: format, ca: ca, at: filepath.Join(data, ForwardedFile), heads: new(headQueue)},
		s:   source{"the ledger", audit.Of(l)},
	}
	if to == "" {
		return nil, usagef("--to is tcp://HOST:PORT, tls://HOST:PORT or udp://HOST:PORT")
	}
	if _, err := f.log.saved(); err != nil {
		return nil, err
	}
	var err error
	f.send, err = f.log.sender(nil, log)
	return f, err
}

// Run sends until ctx ends. What the collector has not taken by then is sent after the next start. An error says that the ledger or the
// file cannot be read or written.
func (f *Forwarding) Run(ctx context.Context) error { return f.log.run(ctx, f.s, f.send) }

// Head has a signed head sent too, once every event that it is of was. It never waits, and may be called at any time by anybody. What the collector cannot take
// yet is held, the newest thousand.
func (f *Forwarding) Head(h audit.Head, note []byte) {
	f.log.heads.add(waitingHead{h.Revision, audit.HeadEntry(h, note)})
}

// headQueue is the heads that are to be sent.
type headQueue struct {
	mu      sync.Mutex
	waiting []waitingHead
}

type waitingHead struct {
	revision pool.Revision
	entry    audit.Entry
}

func (q *headQueue) add(h waitingHead) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, h)
	q.waiting = q.waiting[max(0, len(q.waiting)-mostWaiting):]
}

// upTo takes out those of a revision and before.
func (q *headQueue) upTo(at pool.Revision) (out []audit.Entry) {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) > 0 && q.waiting[0].revision <= at {
		out = append(out, q.waiting[0].entry)
		q.waiting = q.waiting[1:]
	}
	return out
}
