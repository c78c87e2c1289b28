package alert

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Fingerprint names a set of labels: 32 hexadecimal digits, the beginning of the SHA-256 of what the set is.
type Fingerprint string

// Fingerprint returns the fingerprint of the set.
func (l Labels) Fingerprint() Fingerprint {
	sum := sha256.Sum256([]byte(l.enc))
	return Fingerprint(hex.EncodeToString(sum[:16]))
}

// Reason is why something is told, or is not. The first five are those of Alertmanager.
type Reason string

// The reasons.
const (
	First       Reason = "first notification"
	NewAlerts   Reason = "new alerts added"
	NewResolved Reason = "some alerts resolved"
	AllResolved Reason = "all alerts resolved"
	Repeated    Reason = "repeat interval elapsed"
	Muted       Reason = "muted"                  // told to nobody: what is new is muted
	Unwanted    Reason = "all resolved, unwanted" // told to nobody: the receiver does not want to know what is resolved
)

// Told is an alert as it is told.
type Told struct {
	Labels      Labels            `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Value       string            `json:"value"`         // as Go writes it: 81.5, NaN, +Inf
	Starts      time.Time         `json:"starts"`        // since when it fires
	Ends        time.Time         `json:"ends,omitzero"` // of one that is resolved
	By          string            `json:"acknowledged_by,omitempty"`
}

// Cause is what keeps an alert from being told.
type Cause struct {
	By   string `json:"by"`             // one of the constants below
	Name string `json:"name,omitempty"` // the silence's ID, the name of the rule or of the times, or what the caller says
	From Labels `json:"from,omitzero"`  // of an inhibition, the alert that inhibits
}

// What keeps an alert from being told.
const (
	BySilence    = "silence"
	ByInhibition = "inhibition"
	ByMuteTime   = "mute time"   // it is one of the times at which nobody is told
	ByActiveTime = "active time" // it is none of the times at which somebody is
	ByQuiet      = "quiet"       // the thing is suspended, drained or the like
)

// MutedAlert is an alert that fires and is kept from being told.
type MutedAlert struct {
	Labels Labels  `json:"labels"`
	By     []Cause `json:"by"`
}

// MaxListed is the most bytes of JSON that the alerts of one notification take. Those for which there is no room are in
// FiringToo, ResolvedToo and MutedToo.
const MaxListed = 512 << 10

// Notification is what one receiver is to be told of one group at one flush. It is a decision: written down before
// anything is sent, so that who delivers it does so at least once, and under the same Key each time.
type Notification struct {
	Key string `json:"key"` // by which a receiver knows it again
	Stream
	Generation int64     `json:"generation"` // grows with every notification of this State; 0 of one that is not sent
	Labels     Labels    `json:"labels"`     // that the alerts of the group have in common
	Reason     Reason    `json:"reason"`
	At         time.Time `json:"at"` // the moment that the flush was due

	Firing   []Told       `json:"firing,omitempty"`
	Resolved []Told       `json:"resolved,omitempty"`
	Muted    []MutedAlert `json:"muted,omitempty"` // what fires and is not told, and why

	// Those that belong to the above and are not listed: there is no room, the receiver does not want to know, or all that is known
	// of an alert that was told is that it is there no more.
	FiringToo   []Fingerprint `json:"firing_too,omitempty"`
	ResolvedToo []Fingerprint `json:"resolved_too,omitempty"`
	MutedToo    []Fingerprint `json:"muted_too,omitempty"`

	FiringOnly bool `json:"firing_only,omitempty"` // what the receiver is

	Last bool `json:"last,omitempty"` // nothing in the group fires any more, and no end is left to be told
}

// key returns the key of a notification: a hash of the ledger, the group, its generation and the receiver.
func (n Notification) key(ledger string) string {
	var b []byte
	for _, s := range []string{ledger, n.Group, n.Receiver, strconv.Itoa(n.Step), strconv.FormatInt(n.Generation, 10)} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// shorten moves what has no room from the lists. What fires goes before what is resolved, and that before what is muted.
func (n *Notification) shorten() {
	room := MaxListed
	n.Firing, n.FiringToo = fitting(n.Firing, &room, n.FiringToo, func(t Told) Labels { return t.Labels })
	n.Resolved, n.ResolvedToo = fitting(n.Resolved, &room, n.ResolvedToo, func(t Told) Labels { return t.Labels })
	n.Muted, n.MutedToo = fitting(n.Muted, &room, n.MutedToo, func(m MutedAlert) Labels { return m.Labels })
}

func fitting[T any](all []T, room *int, rest []Fingerprint, labels func(T) Labels) ([]T, []Fingerprint) {
	for i, v := range all {
		b, err := json.Marshal(v)
		if err != nil || len(b) > *room { // what is checked can be written
			for _, v := range all[i:] {
				rest = append(rest, labels(v).Fingerprint())
			}
			return all[:i:i], rest
		}
		*room -= len(b)
	}
	return all, rest
}

func (s Stream) compare(t Stream) int {
	return cmp.Or(strings.Compare(s.Group, t.Group), cmp.Compare(s.Step, t.Step), strings.Compare(s.Receiver, t.Receiver))
}
