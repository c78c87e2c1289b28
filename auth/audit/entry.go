package audit

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berthage/berthage/pool"
)

// Entry is one line of an audit log.
type Entry struct {
	Time        time.Time `json:"time"`
	Actor       string    `json:"actor"`                 // who; "berthage" for its own decisions
	From        string    `json:"from,omitempty"`        // from where: the client's address
	Action      string    `json:"action"`                // what: a command, or the kind of an event
	Target      string    `json:"target,omitempty"`      // on what: an instance, host, project
	Decision    string    `json:"decision,omitempty"`    // how it was decided that this may be done, or not
	Result      Result    `json:"result"`                //
	Detail      string    `json:"detail,omitempty"`      // of the result: an error
	Correlation string    `json:"correlation,omitempty"` // the id of the request; the cause of an event
	Count       int64     `json:"count,omitempty"`       // how often, where one entry stands for several
	Event       *Position `json:"event,omitempty"`       // where it stands in the ledger, if it does
	ID          string    `json:"id,omitempty"`          // of the event: who gets an entry twice knows it by this
	Head        string    `json:"head,omitempty"`        // a signed head, whole: see HeadEntry
}

// Result is how something ended.
type Result string

// The results.
const (
	Done    Result = "done"
	Refused Result = "refused" // whoever asked may not
	Failed  Result = "failed"  // it could not be done
	Lost    Result = "lost"    // entries are missing here: see Forwarder
)

// EntryOf returns the entry of an event. From and Decision are those of a Command event, and of no other; a command and the events that it led to
// have one Correlation. What cannot be read is left out: an entry is better than none.
func EntryOf(e *pool.Event) Entry {
	out := Entry{Time: e.Time, Actor: e.Actor, Action: e.Kind, Result: Done, Correlation: e.Cause, Event: &Position{e.Revision, e.Index}, ID: e.ID}
	switch e.Kind {
	case KindCommand:
		if c, err := ReadCommand(e); err == nil {
			out.From, out.Action, out.Target, out.Decision, out.Result, out.Detail = c.From, c.Action, c.Target, c.Decision, c.Result, c.Detail
		}
	case KindRefusals:
		if r, err := ReadRefusals(e); err == nil {
			out = r.Entry()
			out.Event, out.ID = &Position{e.Revision, e.Index}, e.ID
		}
	default:
		out.Target = target(e.Data)
	}
	return out
}

// target returns what the data of an event is about, by the names that fields of such data have.
func target(data []byte) string {
	var d struct {
		Instance, Machine, Cluster, Host, Project, Name, Subject, Principal json.RawMessage
	}
	if json.Unmarshal(data, &d) != nil {
		return ""
	}
	for _, field := range []json.RawMessage{d.Instance, d.Machine, d.Cluster, d.Host, d.Project, d.Name, d.Subject, d.Principal} {
		var name string
		var record struct {
			ID string `json:"id"`
		}
		switch {
		case json.Unmarshal(field, &name) == nil && name != "":
			return name
		case json.Unmarshal(field, &record) == nil && record.ID != "":
			return record.ID
		}
	}
	return ""
}

// mostText bounds each text of an entry that is sent, in bytes, so that every line has an end and fits a datagram.
const mostText = 512

// AppendJSON appends the entry to b as one line of JSON without its end. Whatever is in the entry, the line is printable ASCII: characters
// that are not are escaped, texts of more than 512 bytes are cut off. A head is there as it is or, with more bytes than a head has, not at all.
func (e Entry) AppendJSON(b []byte) []byte {
	for _, s := range []*string{&e.Actor, &e.From, &e.Action, &e.Target, &e.Decision, (*string)(&e.Result), &e.Detail, &e.Correlation, &e.ID} {
		*s = cut(*s)
	}
	if len(e.Head) > maxNote {
		e.Head = ""
	}
	if e.Time = e.Time.UTC(); e.Time.Year() < 0 || e.Time.Year() > 9999 {
		e.Time = time.Time{}
	}
	text, err := json.Marshal(e)
	if err != nil { // there is nothing in it that cannot be written
		return append(b, "{}"...)
	}
	for _, r := range string(text) {
		if r >= ' ' && r < 0x7f {
			b = append(b, byte(r))
			continue
		}
		if r > 0xffff { // as JSON has those, by two
			r -= 0x10000
			b = escape(b, 0xd800+r>>10)
			r = 0xdc00 + r&0x3ff
		}
		b = escape(b, r)
	}
	return b
}

func escape(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// cut returns s, or as much of it as fits and dots.
func cut(s string) string {
	if len(s) <= mostText {
		return s
	}
	end := mostText - 3
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.Clone(s[:end]) + "..."
}
