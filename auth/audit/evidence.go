package audit

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/berthage/berthage/pool"
)

// Evidence shows that an event stands in a ledger, to whoever has a public key of the ledger and nothing else: the event
// without its private part, its place in the tree, the way from there to the root, and the signed head that has the root.
//
// It is kept as JSON. Until Verify has returned without an error nothing in it is to be believed.
type Evidence struct {
	Event pool.Event // without Private and Salt
	Leaf  int64      // its place among all events, from 0
	Path  [][32]byte // as Inclusion gives it
	Head  []byte     // as Sign gives it
}

// maxEvidence bounds what is read, in bytes: an event's data may have a MiB, which is more as JSON.
const maxEvidence = 8 << 20

// Verify returns the head once everything has proved to be as it says. The error is ErrSignature or ErrProof; pool.ErrInvalid, if
// it has no head.
func (v *Evidence) Verify(keys ...Key) (Head, error) {
	h, err := Open(v.Head, keys...)
	if err != nil {
		return Head{}, err
	}
	if v.Event.Revision > h.Revision {
		return Head{}, unproved("event "+Position{v.Event.Revision, v.Event.Index}.String(), "one of the revisions up to the head's, "+number(h.Revision))
	}
	if err := VerifyInclusion(v.Event.Leaf(), v.Leaf, h.Size, h.Root, v.Path); err != nil {
		return Head{}, pool.InField("event "+Position{v.Event.Revision, v.Event.Index}.String(), err)
	}
	return h, nil
}

// evidence is the form in JSON. Data stands as a string so that it keeps its bytes.
type evidence struct {
	Version     int           `json:"berthage_evidence"`
	Revision    pool.Revision `json:"revision"`
	Index       int           `json:"index"`
	ID          string        `json:"id"`
	Time        time.Time     `json:"time"`
	Actor       string        `json:"actor"`
	Cause       string        `json:"cause,omitempty"`
	Epoch       int64         `json:"epoch"`
	Kind        string        `json:"kind"`
	KindVersion int           `json:"version"`
	Data        *string       `json:"data,omitempty"`
	Bytes       []byte        `json:"data_base64,omitempty"` // instead of Data, where that is not UTF-8
	Subject     string        `json:"subject,omitempty"`
	PrivateHash []byte        `json:"private_hash,omitempty"`
	Leaf        int64         `json:"leaf"`
	Path        [][]byte      `json:"path"`
	Head        string        `json:"head"`
}

// MarshalJSON implements json.Marshaler.
func (v *Evidence) MarshalJSON() ([]byte, error) {
	e := &v.Event
	out := evidence{
		Version: 1, Revision: e.Revision, Index: e.Index, ID: e.ID, Time: e.Time, Actor: e.Actor, Cause: e.Cause, Epoch: e.Epoch, Kind: e.Kind,
		KindVersion: e.Version, Subject: e.Subject, PrivateHash: e.PrivateHash, Leaf: v.Leaf, Path: [][]byte{}, Head: string(v.Head),
	}
	if data := string(e.Data); utf8.ValidString(data) {
		out.Data = &data
	} else {
		out.Bytes = e.Data
	}
	for i := range v.Path {
		out.Path = append(out.Path, v.Path[i][:])
	}
	return json.Marshal(out)
}

// UnmarshalJSON implements json.Unmarshaler. It reads what MarshalJSON writes, blanks aside, and no other form of the same. Errors are
// pool.ErrInvalid.
func (v *Evidence) UnmarshalJSON(b []byte) error {
	wrong := func(want string, cause error) error {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "evidence", Want: want, Cause: cause}
	}
	if len(b) > maxEvidence {
		return wrong("at most 8 MiB", nil)
	}
	var in evidence
	if err := pool.PartData(b, &in); err != nil {
		return wrong("what Prove gives, as JSON", err)
	}
	if in.Version != 1 || in.Data != nil && in.Bytes != nil || in.Time.Nanosecond()%1000 != 0 {
		return wrong("one of version 1, with its data once, and a time of whole microseconds", nil)
	}
	out := Evidence{Leaf: in.Leaf, Head: []byte(in.Head), Event: pool.Event{
		Revision: in.Revision, Index: in.Index, ID: in.ID, Time: in.Time.UTC(), Actor: in.Actor, Cause: in.Cause, Epoch: in.Epoch, Kind: in.Kind,
		Version: in.KindVersion, Data: in.Bytes, Subject: in.Subject, PrivateHash: in.PrivateHash,
	}}
	if in.Data != nil {
		out.Event.Data = json.RawMessage(*in.Data)
	}
	for _, p := range in.Path {
		if len(p) != 32 {
			return wrong("hashes of 32 bytes", nil)
		}
		out.Path = append(out.Path, [32]byte(p))
	}
	var plain bytes.Buffer // what a person reads in it must be what is verified: no name twice, no time between those that there are
	again, err := out.MarshalJSON()
	if err != nil || json.Compact(&plain, b) != nil || !bytes.Equal(plain.Bytes(), again) {
		return wrong("JSON in the form in which it is written, blanks aside", err)
	}
	*v = out
	return nil
}
