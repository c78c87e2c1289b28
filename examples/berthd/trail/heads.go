package trail

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/pool"
)

// Heads has the head of a ledger signed now and then, and keeps what was signed in a file: signed notes, one after another. Each is proved to go on from
// the one before; a history that does not is not signed.
//
// The file is written anew for each head and put in the place of the old one, so that there is no moment at which a part of it is missing. It has the newest
// 1000 heads and, of each day before those, the last one; of more than 10,000 the newest.
type Heads struct {
	// Signed is told each head once it is kept, and the last one of the file when Run begins, which it may have been told before. Nil: nobody is.
	Signed func(h audit.Head, note []byte)
	// Failed is told that no head could be signed or kept, after one that could, and again with the next failure if it returns an error. The error is
	// Contradicts if nothing will be signed until somebody has looked after it. Nil: nobody is.
	Failed func(ctx context.Context, err error) error

	reader *Reader
	name   string // of the file
	log    *slog.Logger
	notes  [][]byte // what the file has

	mu     sync.Mutex
	status HeadsStatus
}

// HeadsStatus is how the heads stand.
type HeadsStatus struct {
	Every        time.Duration
	Last         audit.Head // the last one of the file; none: its size is 0
	Failures     int64      // heads that could not be signed or kept, since the start
	Contradicted bool       // the ledger is not what an earlier head says: nothing is signed
}

// What the file has.
const (
	newestHeads = 1000
	mostHeads   = 10_000
	mostBytes   = 16 << 20 // as berthd audit verify reads
)

// NewHeads returns the heads that a Reader with keys signs, every so often when the ledger has grown. It reads the file: one that there is not yet has no heads.
// The error says that it cannot be read, or that its last head is not signed with any of the Reader's keys.
func NewHeads(r *Reader, file string, every time.Duration, log *slog.Logger) (*Heads, error) {
	h := &Heads{reader: r, name: file, log: log, status: HeadsStatus{Every: every}}
	if _, err := os.Stat(filepath.Dir(file)); err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(f, mostBytes+1))
	if err == nil && len(b) > mostBytes {
		err = fmt.Errorf("more than %d MiB", mostBytes>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if h.notes = audit.Notes(b); len(h.notes) == 0 {
		return h, nil
	}
	last := h.notes[len(h.notes)-1]
	ledger, _ := audit.LedgerOf(last)
	var keys []audit.Key
	for _, k := range r.keys {
		keys = append(keys, audit.Key{Ledger: ledger, Public: k.Public().(ed25519.PublicKey)})
	}
	if h.status.Last, err = audit.Open(last, keys...); err != nil {
		return nil, fmt.Errorf("%s: the last head: %w; sign with the old key and the new one for a while, or put the file elsewhere to begin anew", file, err)
	}
	r.Continue(h.status.Last)
	return h, nil
}

// Status returns the present status.
func (h *Heads) Status() HeadsStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status
}

// Contradicts reports whether an error of signing says that the ledger is not the one that was signed before, or not what was written.
func Contradicts(err error) bool {
	return errors.Is(err, audit.ErrProof) || errors.Is(err, pool.ErrCorrupt)
}

// Run signs until ctx ends, the first time at once.
func (h *Heads) Run(ctx context.Context) {
	if last := h.Status().Last; last.Size > 0 && h.Signed != nil {
		h.Signed(last, h.notes[len(h.notes)-1])
	}
	tick := time.NewTicker(h.Status().Every)
	defer tick.Stop()
	for told := false; ctx.Err() == nil; {
		err := h.next(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			told = false
		case Contradicts(err):
			h.log.Error("the ledger is not the one of which a head was signed: no head is signed any more", "heads", h.name, "error", err)
		default:
			h.log.Error("no head of the ledger was signed", "heads", h.name, "error", err)
		}
		if err != nil && !told && h.Failed != nil {
			told = h.Failed(ctx, err) == nil
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// next signs and keeps the head, if the ledger has grown since the last one.
func (h *Heads) next(ctx context.Context) error {
	now, _, err := h.reader.Head(ctx, 0)
	grown := err == nil && now.Size > h.Status().Last.Size
	if grown {
		notes := thinned(append(h.notes[:len(h.notes):len(h.notes)], now.Note))
		if err = keep(h.name, bytes.Join(notes, nil)); err == nil {
			h.notes = notes
		}
	}
	grown = grown && err == nil
	h.mu.Lock()
	h.status.Contradicted = Contradicts(err)
	if grown {
		h.status.Last = now.Head
	}
	if err != nil && ctx.Err() == nil {
		h.status.Failures++
	}
	h.mu.Unlock()
	if grown && h.Signed != nil {
		h.Signed(now.Head, now.Note)
	}
	return err
}

// thinned returns the notes that are kept.
func thinned(notes [][]byte) (kept [][]byte) {
	old := max(0, len(notes)-newestHeads)
	for n, note := range notes[:old] {
		if !bytes.Equal(day(note), day(notes[n+1])) {
			kept = append(kept, note)
		}
	}
	kept = append(kept, notes[old:]...)
	return kept[max(0, len(kept)-mostHeads):]
}

// day returns the date in the time of a note.
func day(note []byte) []byte {
	_, at, _ := bytes.Cut(note, []byte("\ntime "))
	return at[:min(len(at), len("2006-01-02"))]
}

// keep puts a file in the place of the one that there is, which is the whole old one until it is the whole new one, also when the power fails. Heads are public.
func keep(name string, b []byte) error {
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644) // #nosec G302 -- heads are to be read
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil || runtime.GOOS == "windows" { // which has no such files of directories
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
