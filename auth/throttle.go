package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/berthage/berthage/pool"
)

// Throttle slows down guessing. An attempt has to pass three counts, and counts as failed in all of them until it is known to be right, so
// that a thousand at once are not better off than one after another:
//
//   - of the account from that address,
//   - of the address, whatever the account: somebody who tries one password on many,
//   - of the account, whatever the address: somebody with many addresses. This count is not asked where the account was signed in to of
//     late from the same address, so that whoever is attacked from elsewhere gets in from where they usually are.
//
// After so many failures that are free, each doubles the time until the next attempt, up to a longest time, in which one failure is
// forgiven, too: nobody is locked out for good, and attempts that are refused meanwhile prolong nothing. Somebody who is attacked and comes from an address that is new may have
// to wait, at most the longest time, and then again, if the attacker's attempt is the one that is let pass: that is the price for many
// addresses not being worth more than one. A name that nobody has is throttled as any other.
//
// An address is of IPv6 the network of 64 bits, which is what one customer has. Names and addresses are not stored, only a few bits of a
// keyed digest: they fall into a fixed number of counts, which bounds what an attacker can make the store hold to about 200,000 short
// values, and who shares one with a victim cannot be told without the key. Beside them there is a list of addresses for each account that
// was signed in to.
type Throttle struct {
	Scratch pool.Scratch
	Key     []byte // of the digests, random, the same in all daemons; at least 16 bytes
}

// The counts of a Throttle.
const (
	freePair, freeAddress, freeAccount = 5, 20, 20

	firstWait = time.Second
	pairWait  = 15 * time.Minute // longest, of account and address together
	otherWait = time.Minute      // of an address, which many may share, and of an account, from addresses that are new
	forgotten = time.Hour        // after the last attempt all is forgotten
	known     = 30 * 24 * time.Hour
	mostKnown = 16 // addresses of an account
	buckets   = 1 << 16
	retries   = 16
)

// count is how many attempts have failed and are not forgiven.
type count struct {
	N    int       `json:"n"`
	At   time.Time `json:"at"`   // of the last one
	Paid time.Time `json:"paid"` // up to when they are forgiven
}

// now returns the count as it is at a moment.
func (c count) now(of counter, now time.Time) count {
	if c.At.After(now) { // by another daemon's clock
		c.At = now
	}
	if n := int(now.Sub(c.Paid) / of.longest); n > 0 {
		c.N, c.Paid = c.N-n, c.Paid.Add(time.Duration(n)*of.longest)
	}
	if c.N <= 0 || now.Sub(c.At) >= forgotten {
		return count{At: now, Paid: now}
	}
	return c
}

// refuse returns an error for as long as the next attempt has to wait.
func (c count) refuse(of counter, now time.Time) error {
	if c.N < of.free {
		return nil
	}
	wait := firstWait << min(c.N-of.free, 20)
	if left := min(wait, of.longest) - now.Sub(c.At); left > 0 {
		return &Refusal{Kind: ErrThrottled, Reason: Throttled, Wait: left}
	}
	return nil
}

// counter is one of the three.
type counter struct {
	key     string
	free    int
	longest time.Duration
}

// Attempt is one that was let pass.
type Attempt struct {
	t        Throttle
	counters []counter
	known    string
	tag      string
}

// Begin lets an attempt pass or refuses it, with ErrThrottled and how long to wait. If the attempt turns out right, call Right; otherwise
// nothing. An error of the store lets nobody pass.
func (t Throttle) Begin(ctx context.Context, account string, from netip.Addr) (*Attempt, error) {
	if len(t.Key) < 16 {
		return nil, invalid("key", "", "at least 16 random bytes")
	}
	address := network(from)
	a := &Attempt{t: t, known: "auth/throttle/known/" + hex.EncodeToString(t.sum("known", account)[:16]), tag: hex.EncodeToString(t.sum("tag", account, address)[:8])}
	a.counters = []counter{
		{t.name("pair", account, address), freePair, pairWait},
		{t.name("address", address), freeAddress, otherWait},
	}
	tags, _, err := a.tags(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(tags, a.tag) {
		a.counters = append(a.counters, counter{t.name("account", account), freeAccount, otherWait})
	}
	now := time.Now()
	for _, c := range a.counters { // first whether all let it pass, so that one that is refused counts nowhere
		have, _, err := t.count(ctx, c)
		if err != nil {
			return nil, err
		}
		if err := have.refuse(c, now); err != nil {
			return nil, err
		}
	}
	for _, c := range a.counters {
		err := t.change(ctx, c, func(have count) (count, error) {
			return count{have.N + 1, now, have.Paid}, have.refuse(c, now)
		})
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Right says that the attempt was right: the account's failures from that address are forgotten, the others' are one less, and the address
// is known from now on.
func (a *Attempt) Right(ctx context.Context) error {
	for n, c := range a.counters {
		err := a.t.change(ctx, c, func(have count) (count, error) {
			if n == 0 {
				return count{}, nil
			}
			return count{max(0, have.N-1), have.At, have.Paid}, nil
		})
		if err != nil {
			return err
		}
	}
	for range retries {
		tags, version, err := a.tags(ctx)
		if err != nil {
			return err
		}
		tags = append(removed(tags, func(t string) bool { return t == a.tag }), a.tag)
		b, err := json.Marshal(tags[max(0, len(tags)-mostKnown):])
		if err != nil {
			return err
		}
		if _, err = a.t.Scratch.Put(ctx, a.known, b, version, known); !errors.Is(err, pool.ErrConflict) {
			return err
		}
	}
	return busy()
}

// tags returns what is known of the addresses from which the account was signed in to, the oldest first.
func (a *Attempt) tags(ctx context.Context) ([]string, int64, error) {
	var tags []string
	version, err := get(ctx, a.t.Scratch, a.known, &tags)
	return tags, version, err
}

func (t Throttle) count(ctx context.Context, of counter) (count, int64, error) {
	var c count
	version, err := get(ctx, t.Scratch, of.key, &c)
	return c.now(of, time.Now()), version, err
}

func (t Throttle) change(ctx context.Context, of counter, f func(count) (count, error)) error {
	for range retries {
		have, version, err := t.count(ctx, of)
		if err != nil {
			return err
		}
		want, err := f(have)
		if err != nil {
			return err
		}
		b, err := json.Marshal(want)
		if err != nil {
			return err
		}
		if _, err = t.Scratch.Put(ctx, of.key, b, version, forgotten); !errors.Is(err, pool.ErrConflict) {
			return err
		}
	}
	return busy()
}

func busy() error { return &Refusal{Kind: ErrThrottled, Reason: Throttled, Wait: firstWait} }

// get reads a value; what is not there leaves it as it is.
func get(ctx context.Context, s pool.Scratch, key string, into any) (int64, error) {
	b, version, err := s.Get(ctx, key)
	if errors.Is(err, pool.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := read(b, into); err != nil {
		return 0, &pool.Error{Op: "read " + pool.Quote(key), Kind: pool.ErrCorrupt}
	}
	return version, nil
}

// sum is the keyed digest of strings.
func (t Throttle) sum(of ...string) []byte {
	h := hmac.New(sha256.New, t.Key)
	for _, s := range of {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	return h.Sum(nil)
}

func (t Throttle) name(kind string, of ...string) string {
	n := binary.BigEndian.Uint32(t.sum(append([]string{kind}, of...)...)) % buckets
	return "auth/throttle/" + kind + "/" + strconv.FormatUint(uint64(n), 16)
}

func network(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if bits == 128 {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return "nowhere"
	}
	return p.String()
}
