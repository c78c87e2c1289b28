package audit

import (
	"encoding/json"

	"github.com/berthage/berthage/pool"
)

// Tip is the end of a history: enough to say what its head is and to go on from there, in a few hashes, however long the history is. It makes no
// proofs. Whoever signs heads keeps one beside the last head, as JSON, and reads on from there after a restart instead of from the
// beginning: what is read back is right if its Head is the one that was signed.
//
// The zero value is the beginning. It is not safe for concurrent use.
type Tip struct {
	tree     pool.Tree
	revision pool.Revision
	ledger   string
}

// Revision returns the revision of the last event.
func (t *Tip) Revision() pool.Revision { return t.revision }

// Head returns what there is to be signed: everything but the time.
func (t *Tip) Head() Head {
	return Head{Ledger: t.ledger, Revision: t.revision, Size: t.tree.Size(), Root: t.tree.Root()}
}

// Add adds the events of the next batch. One that is not the next is pool.ErrCorrupt, and nothing is added.
func (t *Tip) Add(b pool.Batch) error {
	ledger, err := follows(b, t.revision, t.ledger)
	if err != nil {
		return err
	}
	for i := range b.Events {
		t.tree.Add(b.Events[i].Leaf())
	}
	t.revision, t.ledger = b.Revision, ledger
	return nil
}

// follows checks that b is the batch after a revision, and returns the identity that the ledger has after it.
func follows(b pool.Batch, after pool.Revision, ledger string) (string, error) {
	if b.Revision != after+1 || len(b.Events) == 0 {
		return "", &pool.Error{Kind: pool.ErrCorrupt, Field: "revision", Value: number(b.Revision), Want: number(after+1) + ", with its events"}
	}
	for i := range b.Events {
		e := &b.Events[i]
		if e.Revision != b.Revision || e.Index != i {
			return "", &pool.Error{Kind: pool.ErrCorrupt, Field: "event", Value: Position{e.Revision, e.Index}.String(), Want: Position{b.Revision, i}.String()}
		}
		if e.Kind != pool.KindOpened && e.Kind != pool.KindImported {
			continue
		}
		p, err := e.Payload()
		if err != nil {
			return "", pool.InField("revision "+number(e.Revision), err)
		}
		switch p := p.(type) {
		case *pool.Opened:
			ledger = p.Ledger
		case *pool.Imported:
			ledger = p.Ledger
		}
	}
	return ledger, nil
}

// savedTip is a Tip in JSON.
type savedTip struct {
	Ledger   string        `json:"ledger"`
	Revision pool.Revision `json:"revision"`
	Tree     []byte        `json:"tree"`
}

// MarshalJSON implements json.Marshaler.
func (t *Tip) MarshalJSON() ([]byte, error) {
	b, err := t.tree.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return json.Marshal(savedTip{t.ledger, t.revision, b})
}

// UnmarshalJSON implements json.Unmarshaler. Errors are pool.ErrInvalid.
func (t *Tip) UnmarshalJSON(b []byte) error {
	var saved savedTip
	if err := json.Unmarshal(b, &saved); err != nil {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "tip", Cause: err}
	}
	out := Tip{revision: saved.Revision, ledger: saved.Ledger}
	if err := out.tree.UnmarshalBinary(saved.Tree); err != nil {
		return pool.InField("tip", err)
	}
	if size := out.tree.Size(); out.revision < 0 || int64(out.revision) > size || (out.revision == 0) != (size == 0) {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "tip.revision", Value: number(out.revision), Want: "one of a history of " + number(size) + " events"}
	}
	*t = out
	return nil
}
