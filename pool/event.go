package pool

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Revision is a position in a ledger: the number of the batch, dense from 1. Zero is the empty ledger.
type Revision int64

// Event is one fact: an envelope around data that a ledger stores and returns as the same bytes.
//
// What is personal or secret (user-data, keys, the guest's addresses) stands in Private, under a Subject:
// a ledger keeps it apart and forgets it on demand, and the fold works without it. The leaf hash covers
// only a salted hash of it, so that forgetting breaks no proof.
type Event struct {
	ID       string          `json:"id"`       // unique; the same when a batch is appended again
	Revision Revision        `json:"revision"` // of its batch
	Index    int             `json:"index"`    // within its batch, from 0
	Time     time.Time       `json:"time"`     // UTC, whole microseconds; never runs back
	Actor    string          `json:"actor"`    // who: a user, or "berthage" for its own decisions
	Cause    string          `json:"cause,omitempty"`
	Epoch    int64           `json:"epoch"` // of the leader that wrote it
	Kind     string          `json:"kind"`
	Version  int             `json:"version"` // of Kind's data
	Data     json.RawMessage `json:"data"`

	Subject     string `json:"subject,omitempty"`
	Private     []byte `json:"private,omitempty"`      // absent once forgotten
	Salt        []byte `json:"salt,omitempty"`         // goes with Private
	PrivateHash []byte `json:"private_hash,omitempty"` // SHA-256 of Salt and Private; stays

	payload any // Data and Private as the struct that they were made from; nil after a Read
}

// Batch is what one Append wrote: the events of one revision.
type Batch struct {
	Revision Revision `json:"revision"`
	Events   []Event  `json:"events"`
}

// Bounds on what a ledger takes.
const (
	MaxBatch   = 1 << 20 // bytes of Data and Private in one batch
	MaxSubject = 255     // bytes of a subject
)

// Seal sets PrivateHash from Salt and Private. Whoever makes an event with Private calls it, with a random
// Salt of at least 16 bytes.
func (e *Event) Seal() {
	if e.Private == nil {
		return
	}
	var space [256]byte
	sum := sha256.Sum256(append(append(space[:0], e.Salt...), e.Private...))
	e.PrivateHash = sum[:]
}

// Leaf returns the Merkle leaf hash of the event as RFC 6962, section 2.1 defines it: SHA-256 over a zero
// byte and the entry. The entry is the event without Private and Salt, every field in the order of the
// struct with its length before it, so that no two events share an entry.
func (e *Event) Leaf() [32]byte {
	b := make([]byte, 1, 256+len(e.Data)) // the zero byte of a leaf
	str := func(s string) { b = append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...) }
	num := func(n int64) { b = binary.BigEndian.AppendUint64(b, uint64(n)) }
	str("berthage event v1")
	str(e.ID)
	num(int64(e.Revision))
	num(int64(e.Index))
	num(e.Time.UnixMicro())
	str(e.Actor)
	str(e.Cause)
	num(e.Epoch)
	str(e.Kind)
	num(int64(e.Version))
	str(string(e.Data))
	str(e.Subject)
	str(string(e.PrivateHash))
	return sha256.Sum256(b)
}

// Detach ends the event's hold on the struct that it was made from, so that its maker may use that again; what becomes of that
// no longer concerns the event. Its Payload is decoded anew, which takes its time.
func (e *Event) Detach() { e.payload = nil }

// CheckBatch is for implementers of Ledger: it reports, as an error, a batch that no ledger may take
// (empty, larger than MaxBatch, an event without an id or kind, an id twice, Private without Subject, a
// string that is not text, a time that no store can hold) and returns the batch with Revision and Index
// set. The given events are not changed.
func CheckBatch(prev Revision, batch []Event) ([]Event, error) {
	switch {
	case prev < 0 || prev == math.MaxInt64:
		return nil, invalid("prev", strconv.FormatInt(int64(prev), 10), "a revision from 0")
	case len(batch) == 0:
		return nil, invalid("batch", "", "at least one event")
	}
	if err := CheckEvents(batch); err != nil {
		return nil, err
	}
	out := slices.Clone(batch)
	for i := range out {
		e := &out[i]
		e.Revision, e.Index = prev+1, i
		e.Time = e.Time.UTC().Truncate(time.Microsecond)
	}
	return out, nil
}

// CheckEvents is CheckBatch for whoever makes events and does not know yet with what others they will be a batch: it
// reports, as an error, what no ledger would take.
func CheckEvents(events []Event) error {
	size := 0
	for i := range events {
		size += len(events[i].Data) + len(events[i].Private)
		if err := events[i].check(); err != nil {
			return err
		}
	}
	if len(events) > 1 {
		seen := make(map[string]bool, len(events))
		for i := range events {
			if seen[events[i].ID] {
				return errID(events[i].ID)
			}
			seen[events[i].ID] = true
		}
	}
	if size > MaxBatch {
		return invalid("batch", "", "at most 1 MiB of data")
	}
	return nil
}

func errID(id string) error { return invalid("id", id, "an id that is unique, at most 64 bytes") }

func (e *Event) check() error {
	switch {
	case e.ID == "" || len(e.ID) > 64:
		return errID(e.ID)
	case e.Kind == "" || len(e.Kind) > 64 || e.Version < 1:
		return invalid("kind", e.Kind, "a kind of at most 64 bytes and a version from 1")
	case e.Private != nil && (e.Subject == "" || len(e.PrivateHash) != sha256.Size):
		return invalid("private", "", "a subject, and sealed")
	case len(e.Subject) > MaxSubject:
		return invalid("subject", e.Subject, "at most 255 bytes")
	case len(e.Actor) > 255 || len(e.Cause) > 255:
		return invalid("actor", e.Actor, "actor and cause of at most 255 bytes")
	case e.Private == nil && e.Salt != nil || len(e.Salt) > 64:
		return invalid("salt", "", "at most 64 bytes, and only with a private part")
	case len(e.PrivateHash) != 0 && len(e.PrivateHash) != sha256.Size:
		return invalid("private hash", "", "a SHA-256 or nothing")
	case e.Time.UTC().Year() < 1 || e.Time.UTC().Year() > 9999:
		return invalid("time", "", "the years 1 to 9999")
	}
	for _, s := range [...]string{e.ID, e.Kind, e.Actor, e.Cause, e.Subject} {
		if !isText(s) {
			return invalid("event", s, "strings in UTF-8 without NUL")
		}
	}
	return nil
}

// isText reports whether every store, and JSON, can hold s and return the same bytes.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
