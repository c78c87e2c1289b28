package ledgerfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/berthage/berthage/pool"
)

// Version is that of the form which Write writes. Open reads it and version 1, in which events have no leaf.
const Version = 2

// MaxLine bounds a line, in bytes. A batch has at most pool.MaxBatch bytes of data.
const MaxLine = 32 << 20

// ErrDamaged is the kind of error of a file that is not what was written: cut off, edited or put together otherwise.
var ErrDamaged = errors.New("damaged")

// ErrVersion is the kind of error of a file in a form of another version, or that is none of ours.
var ErrVersion = errors.New("not a ledger file of this version")

// Header is how a file begins.
type Header struct {
	Identity string        `json:"identity"` // of the ledger, at its last revision
	First    pool.Revision `json:"first"`    // 1, and 0 in the file of an empty ledger
	Last     pool.Revision `json:"last"`
	Private  bool          `json:"private"` // the private parts are in it, those that were not forgotten
}

// Summary is how a file ends.
type Summary struct {
	Batches int64
	Events  int64    // the size of the tree
	Private int64    // private parts
	Root    [32]byte // of the tree over all events
}

type headerLine struct {
	Version int `json:"berthage_ledger"`
	Header
}

type batchLine struct {
	Revision pool.Revision `json:"revision"`
	Events   []eventLine   `json:"events"`
}

// eventLine is an event in which data stands as a string, so that it keeps its bytes; Revision and Index follow
// from where it stands.
type eventLine struct {
	ID          string    `json:"id"`
	Time        time.Time `json:"time"`
	Actor       string    `json:"actor,omitempty"`
	Cause       string    `json:"cause,omitempty"`
	Epoch       int64     `json:"epoch,omitempty"`
	Kind        string    `json:"kind"`
	Version     int       `json:"version"`
	Data        *string   `json:"data,omitempty"`
	Bytes       []byte    `json:"data_base64,omitempty"` // instead of Data, where that is not UTF-8
	Subject     string    `json:"subject,omitempty"`
	PrivateHash []byte    `json:"private_hash,omitempty"`
	Private     *[]byte   `json:"private,omitempty"` // absent: forgotten, or left out
	Salt        []byte    `json:"salt,omitempty"`
	Leaf        []byte    `json:"leaf,omitempty"` // as pool.Event.Leaf has it; it says which event of a damaged line is to blame
}

type closingLine struct {
	Closing bool   `json:"closing"`
	Batches int64  `json:"batches"`
	Events  int64  `json:"events"`
	Private int64  `json:"private"`
	Root    string `json:"root"`
}

func lineOf(e *pool.Event, private bool) eventLine {
	out := eventLine{
		ID: e.ID, Time: e.Time, Actor: e.Actor, Cause: e.Cause, Epoch: e.Epoch, Kind: e.Kind, Version: e.Version,
		Subject: e.Subject, PrivateHash: e.PrivateHash,
	}
	switch data := string(e.Data); {
	case !utf8.ValidString(data):
		out.Bytes = e.Data
	case data != "":
		out.Data = &data
	}
	if private && e.Private != nil {
		out.Private, out.Salt = &e.Private, e.Salt
	}
	return out
}

func (l *eventLine) event() pool.Event {
	e := pool.Event{
		ID: l.ID, Time: l.Time, Actor: l.Actor, Cause: l.Cause, Epoch: l.Epoch, Kind: l.Kind, Version: l.Version,
		Data: l.Bytes, Subject: l.Subject, PrivateHash: l.PrivateHash, Salt: l.Salt,
	}
	if l.Data != nil {
		e.Data = json.RawMessage(*l.Data)
	}
	if l.Private != nil {
		e.Private = append([]byte{}, *l.Private...)
	}
	return e
}

// chain makes the sums of the lines.
type chain struct{ last []byte }

// next returns the sum of the line after the last one, in hexadecimal.
func (c *chain) next(text []byte) []byte {
	h := sha256.New()
	h.Write(c.last)
	h.Write(text)
	c.last = h.Sum(nil)
	return hex.AppendEncode(nil, c.last)
}

// encode returns v as one line of JSON without its end.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decode reads one line of JSON, in which every field must be known.
func decode(text []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}

func number[T ~int | ~int64](n T) string { return strconv.FormatInt(int64(n), 10) }
