package ledgerfile

import (
	"bytes"
	"encoding/json"

	"github.com/berthage/berthage/pool"
)

// changedError is that of a line that does not have its sum.
type changedError struct{ text []byte }

// Error says what may have happened.
func (e *changedError) Error() string {
	return "the line that was written after the one before it; this one was changed, put elsewhere, or one is missing"
}

// event names an event as "event 7.3 (host.put)": revision, index and kind.
func event(at pool.Revision, index int, kind string) string {
	return "event " + number(at) + "." + number(index) + " (" + pool.Quote(kind) + ")"
}

// blame says which part of a batch's line is not as it was written, where the line as a whole is not. Events have hashes of their own,
// and there is one way only to write one down: the first that is not as its hash has it, in that way, is where the change is. In
// version 1, without the hashes, a change that leaves JSON may be found nowhere.
func blame(at pool.Revision, text []byte, version int) string {
	rest, ok := bytes.CutPrefix(text, []byte(`{"revision":`+number(at)+`,"events":[`))
	if !ok {
		return "the beginning of its line, before its events, is not as it was written"
	}
	for i := 0; ; i++ {
		dec := json.NewDecoder(bytes.NewReader(rest))
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return event(at, i, kindIn(rest)) + " is not as it was written"
		}
		if !sound(at, i, raw, version) {
			return event(at, i, kindIn(rest)) + " is not as it was written"
		}
		rest = rest[dec.InputOffset():]
		switch after, ok := bytes.CutPrefix(rest, []byte(",")); {
		case ok:
			rest = after
		case !bytes.Equal(rest, []byte("]}")):
			return "what stands after " + event(at, i, kindIn(raw)) + " is not as it was written"
		case version == 1:
			return "which of its events, the form of version 1 does not tell"
		default:
			return "all its events are as they were written, the sum of the line is not"
		}
	}
}

// sound reports whether an event is written in the one way that it can be, and as its leaf and the hash of its private part have it.
func sound(at pool.Revision, index int, raw []byte, version int) bool {
	var l eventLine
	if decode(raw, &l) != nil {
		return false
	}
	again, err := encode(l)
	if err != nil || !bytes.Equal(again, raw) {
		return false
	}
	e := l.event()
	e.Revision, e.Index = at, index
	if leaf := e.Leaf(); version > 1 && !bytes.Equal(leaf[:], l.Leaf) {
		return false
	}
	e.Seal()
	return bytes.Equal(e.PrivateHash, l.PrivateHash)
}

// kindIn returns the kind of the event that text begins with as it stands there, whatever is wrong with it: what is between "kind"
// and "version", either of which is enough.
func kindIn(text []byte) string {
	text, _, _ = bytes.Cut(text, []byte(`},{"id":"`)) // no string in JSON has this, in which quotes are escaped
	if _, after, ok := bytes.Cut(text, []byte(`"kind":"`)); ok {
		kind, _, _ := bytes.Cut(after, []byte(`"`))
		return string(kind)
	}
	if before, _, ok := bytes.Cut(text, []byte(`","version":`)); ok {
		kind := before[bytes.LastIndexByte(before, '"')+1:]
		if len(kind) > 1 && kind[0] == ':' { // it is the quote before it that is another character
			kind = kind[2:]
		}
		return string(kind)
	}
	return ""
}
