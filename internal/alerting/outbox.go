package alerting

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/pool"
)

// The kinds of event of messages.
const (
	Delivered = "alert.messages.delivered" // settled: they have arrived
	Died      = "alert.messages.dead"      // settled: they will not be tried again
	Revived   = "alert.messages.revived"   // keys: dead ones that are to be sent again, under the same keys
)

type settled struct {
	Messages []Settled `json:"messages"`
}

type keys struct {
	Keys []string `json:"keys"`
}

// Settled is what became of a message.
type Settled struct {
	Key      string `json:"key"`
	Attempts int    `json:"attempts,omitempty"`
	Error    string `json:"error,omitempty"` // of a dead one, why

	Queued time.Time `json:"queued,omitzero"` // since when it waited; of another wait than the present one nothing is recorded but that it has arrived
}

// The bounds on what is kept of messages: how many wait, how many that are dead can be sent again, and of how many that are over it
// can be seen what became of them. A message that no room is left for is dead, the oldest first; a dead one is then only seen.
const (
	MostWaiting      = 10_000
	MostWaitingBytes = 64 << 20
	MostDead         = 1_000
	MostDeadBytes    = 16 << 20
	MostLog          = 1_000
)

// errTooMany is why a message is dead that nobody has refused.
const errTooMany = "too many messages wait"

// Message is one message to one receiver from when it was decided on until it is delivered or let go of. It is immutable.
type Message struct {
	Key      string    `json:"key"`
	Receiver string    `json:"receiver"`
	Queued   time.Time `json:"queued"`
	Size     int       `json:"size"` // about how many bytes it is

	Notification *alert.Notification `json:"notification,omitempty"` // what it tells: this,
	Event        *Announcement       `json:"event,omitempty"`        // or this

	Dead     time.Time `json:"dead,omitzero"` // since when it is; zero: it waits
	Attempts int       `json:"attempts,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// Order names those messages of which one is sent only when the one before is over.
func (m *Message) Order() string {
	if m.Notification != nil {
		return strconv.Itoa(m.Notification.Step) + ":" + m.Notification.Group
	}
	return m.Key
}

// Incident returns the name of what the message is about, the same for every message of a group to a receiver.
func (m *Message) Incident(ledger string) string {
	if m.Notification != nil {
		return Incident(ledger, m.Notification.Stream)
	}
	return m.Key
}

// Title returns in a few words what the message tells.
func (m *Message) Title() string {
	title := ""
	if n := m.Notification; n != nil {
		title = n.Labels.Get(alert.NameLabel)
		if title == "" {
			title = n.Labels.String()
		}
		title += ": " + string(n.Reason)
	} else {
		title = m.Event.Title
	}
	return strings.ToValidUTF8(title[:min(len(title), 200)], "")
}

// Incident returns the name of what a receiver is told of a group, as others know it.
func Incident(ledger string, s alert.Stream) string {
	return hashed("incident", ledger, s.Group, strconv.Itoa(s.Step), s.Receiver)
}

func hashed(all ...string) string {
	var b []byte
	for _, s := range all {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// Past is a message that is over.
type Past struct {
	Key      string    `json:"key"`
	Receiver string    `json:"receiver"`
	Title    string    `json:"title"`
	Queued   time.Time `json:"queued"`
	Over     time.Time `json:"over"`
	Attempts int       `json:"attempts,omitempty"`
	Error    string    `json:"error,omitempty"` // empty: it was delivered
}

// outbox has the messages that wait or are dead, in the order in which they were decided on. It is immutable but for the methods that say
// otherwise, which are for a copy that nobody else has yet.
type outbox struct {
	all     []*Message
	log     []Past // newest last
	version int64  // grows with each change
}

func (o outbox) clone() outbox {
	return outbox{slices.Clone(o.all), slices.Clone(o.log), o.version + 1}
}

// push adds a message to a copy. What has no room is dead.
func (o *outbox) push(m *Message, at time.Time) {
	if slices.ContainsFunc(o.all, func(old *Message) bool { return old.Key == m.Key }) {
		return // its key says that it is the same
	}
	o.all = append(o.all, m)
	waiting, size := 0, 0
	for _, m := range o.all {
		if m.Dead.IsZero() {
			waiting++
			size += m.Size
		}
	}
	for k := 0; k < len(o.all) && (waiting > MostWaiting || size > MostWaitingBytes); k++ {
		if m := o.all[k]; m.Dead.IsZero() {
			waiting--
			size -= m.Size
			o.die(k, Settled{Key: m.Key, Attempts: m.Attempts, Error: errTooMany}, at)
		}
	}
	o.bury()
}

// die makes the message at k of a copy a dead one.
func (o *outbox) die(k int, why Settled, at time.Time) {
	m := *o.all[k]
	m.Dead, m.Error, m.Attempts = at, why.Error, why.Attempts
	o.all[k] = &m
	o.remember(&m, why, at)
}

// bury lets go of the dead that there is no room for, the oldest first.
func (o *outbox) bury() {
	dead, size := 0, 0
	for _, m := range o.all {
		if !m.Dead.IsZero() {
			dead++
			size += m.Size
		}
	}
	o.all = slices.DeleteFunc(o.all, func(m *Message) bool {
		if m.Dead.IsZero() || dead <= MostDead && size <= MostDeadBytes {
			return false
		}
		dead--
		size -= m.Size
		return true
	})
}

func (o *outbox) remember(m *Message, why Settled, at time.Time) {
	o.log = append(o.log, Past{m.Key, m.Receiver, m.Title(), m.Queued, at, why.Attempts, why.Error})
	o.log = o.log[max(0, len(o.log)-MostLog):]
}

// settle takes over what became of messages.
func (o *outbox) settle(all []Settled, dead bool, at time.Time) {
	over := make(map[string]Settled, len(all))
	for _, s := range all {
		over[s.Key] = s
	}
	gone := make(map[int]bool)
	for k, m := range o.all {
		s, ok := over[m.Key]
		switch {
		case !ok || !m.Dead.IsZero() && dead:
		case dead:
			o.die(k, s, at)
		default:
			o.remember(m, Settled{Key: s.Key, Attempts: s.Attempts}, at)
			gone[k] = true
		}
	}
	kept := o.all[:0]
	for k, m := range o.all {
		if !gone[k] {
			kept = append(kept, m)
		}
	}
	clear(o.all[len(kept):])
	o.all = kept
	o.bury()
}

// revive lets dead messages wait again.
func (o *outbox) revive(all []string, at time.Time) {
	for k, m := range o.all {
		if !m.Dead.IsZero() && slices.Contains(all, m.Key) {
			again := *m
			again.Dead, again.Error, again.Queued, again.Attempts = time.Time{}, "", at, 0
			o.all[k] = &again
		}
	}
}

// Messages returns those that wait or are dead, in the order in which they were decided on; not to be changed.
func (p *Part) Messages() []*Message { return p.outbox.all }

// Log returns what became of messages, the newest last; not to be changed.
func (p *Part) Log() []Past { return p.outbox.log }

// Outbox returns a number that grows with every change of Messages.
func (p *Part) Outbox() int64 { return p.outbox.version }

// foldMessages folds what became of messages.
func (p *Part) foldMessages(e *pool.Event) error {
	p.outbox = p.outbox.clone()
	switch e.Kind {
	case Delivered, Died:
		var s settled
		if err := pool.PartData(e.Data, &s); err != nil {
			return err
		}
		p.outbox.settle(s.Messages, e.Kind == Died, e.Time)
	case Revived:
		var k keys
		if err := pool.PartData(e.Data, &k); err != nil {
			return err
		}
		p.outbox.revive(k.Keys, e.Time)
	}
	return nil
}

// queue puts a notification that has been decided on among those to be sent.
func (p *Part) queue(data json.RawMessage, at time.Time) error {
	var n alert.Notification
	if err := pool.PartData(data, &n); err != nil {
		return err
	}
	p.outbox = p.outbox.clone()
	p.outbox.push(&Message{Key: n.Key, Receiver: n.Receiver, Queued: at, Size: len(data), Notification: &n}, at)
	return nil
}

// decideOver records what became of messages. What is not there any more has been recorded already.
func (p *Part) decideOver(delivered, dead []Settled) ([]pool.Event, error) {
	state := make(map[string]*Message, len(p.outbox.all))
	for _, m := range p.outbox.all {
		state[m.Key] = m
	}
	var events []pool.Event
	for _, of := range []struct {
		kind string
		all  []Settled
	}{{Delivered, delivered}, {Died, dead}} {
		known := slices.DeleteFunc(slices.Clone(of.all), func(s Settled) bool {
			m := state[s.Key]
			return m == nil || of.kind == Died && (!m.Dead.IsZero() || !s.Queued.IsZero() && !s.Queued.Equal(m.Queued))
		})
		for k := range known {
			known[k].Queued = time.Time{}
		}
		if len(known) == 0 {
			continue
		}
		e, err := pool.PartEvent(of.kind, 1, settled{known})
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

func (p *Part) decideRevive(key string) ([]pool.Event, error) {
	k := slices.IndexFunc(p.outbox.all, func(m *Message) bool { return m.Key == key })
	switch {
	case k < 0:
		return nil, &pool.Error{Kind: pool.ErrNotFound, Field: "message", Value: key, Want: "one that is dead and not let go of yet"}
	case p.outbox.all[k].Dead.IsZero():
		return nil, nil // it waits
	}
	return one(Revived, keys{[]string{key}})
}
