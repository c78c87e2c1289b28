package receivers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// notesFor is how long a note is kept after it was written last: an incident that is told for longer gets a second thread.
const notesFor = 30 * 24 * time.Hour

// ScratchNotes returns, for each receiver, notes that stand in s: threads go on after a restart, and with another daemon on the same
// store.
func ScratchNotes(s pool.Scratch) func(receiver string) notify.Notes {
	return func(receiver string) notify.Notes { return notes{s, receiver} }
}

type notes struct {
	scratch  pool.Scratch
	receiver string
}

// key is a digest, since names are of any length and have anything in them.
func (n notes) key(name string) string {
	sum := sha256.Sum256([]byte(n.receiver + "\x00" + name))
	return "berthage/notes/" + hex.EncodeToString(sum[:])
}

// Load implements notify.Notes.
func (n notes) Load(ctx context.Context, name string) (string, error) {
	b, _, err := n.scratch.Get(ctx, n.key(name))
	if errors.Is(err, pool.ErrNotFound) {
		return "", nil
	}
	return string(b), err
}

// Save implements notify.Notes. The last one wins.
func (n notes) Save(ctx context.Context, name, text string) error {
	var err error
	for range 3 { // somebody else may write it at the same time
		var version int64
		_, version, err = n.scratch.Get(ctx, n.key(name))
		missing := errors.Is(err, pool.ErrNotFound)
		switch {
		case missing && text == "":
			return nil
		case err != nil && !missing:
			return err
		case text == "":
			err = n.scratch.Delete(ctx, n.key(name), version)
		default:
			_, err = n.scratch.Put(ctx, n.key(name), []byte(text), version, notesFor)
		}
		if !errors.Is(err, pool.ErrConflict) {
			return err
		}
	}
	return err
}
