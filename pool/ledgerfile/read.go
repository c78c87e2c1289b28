package ledgerfile

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"iter"

	"github.com/berthage/berthage/pool"
)

// Reader reads a file. It holds one line in memory. It is not safe for concurrent use.
type Reader struct {
	in      *bufio.Reader
	n       int64 // lines read
	chain   chain
	version int
	header  Header
	summary Summary
	whole   bool
	failed  error
}

// Open reads the header. ErrVersion: it is none, or of another version; ErrDamaged: it is not as it was written.
// Other errors are those of r.
func Open(r io.Reader) (*Reader, error) {
	f := &Reader{in: bufio.NewReaderSize(r, 1<<16)}
	if start, err := f.in.Peek(sumLen + 1 + len(magic)); err != nil && err != io.EOF {
		return nil, err // what is read is not to be trusted, such as one that cannot be decrypted
	} else if len(start) < sumLen+1 || string(start[sumLen+1:]) != magic {
		return nil, &pool.Error{Kind: ErrVersion, Field: "line 1", Want: "the header of a ledger file; if the file is encrypted, it must be decrypted first"}
	}
	text, err := f.line()
	if err != nil {
		return nil, err
	}
	var h headerLine
	err = decode(text, &h)
	switch {
	case h.Version > Version:
		return nil, &pool.Error{Kind: ErrVersion, Field: "line 1", Value: number(h.Version), Want: "version " + number(Version) + "; use a newer program"}
	case err != nil, h.Version < 1:
		return nil, f.damaged("a header of version 1 to "+number(Version), err)
	case h.Last < 0 || h.First != min(1, h.Last) || (h.Identity == "") != (h.Last == 0):
		return nil, f.damaged("a header with an identity and the revisions from 1 on", nil)
	}
	f.header, f.version = h.Header, h.Version
	return f, nil
}

// magic is how the JSON of a header begins, and sumLen how many characters stand before it but for a space.
const (
	magic  = `{"berthage_ledger":`
	sumLen = 64
)

// Header returns the header.
func (f *Reader) Header() Header { return f.header }

// Summary returns the closing record, and whether Batches has reached it and found the file whole.
func (f *Reader) Summary() (Summary, bool) { return f.summary, f.whole }

// Batches yields the batches, to be gone through once. The last error tells that the file is not whole: until the
// loop has ended without one, nothing that it gave should be relied upon. ErrDamaged names the line and the
// revision.
func (f *Reader) Batches(ctx context.Context) iter.Seq2[pool.Batch, error] {
	return func(yield func(pool.Batch, error) bool) {
		if f.failed != nil || f.whole {
			yield(pool.Batch{}, errors.Join(&pool.Error{Kind: pool.ErrWrongState, Field: "file", Want: "to be read once"}, f.failed))
			return
		}
		fail := func(err error) {
			f.failed = err
			yield(pool.Batch{}, err)
		}
		var tree pool.Tree
		var got Summary
		for at := pool.Revision(1); at <= f.header.Last; at++ {
			if err := ctx.Err(); err != nil {
				fail(err)
				return
			}
			b, err := f.batch(at)
			if err != nil {
				fail(err)
				return
			}
			for i := range b.Events {
				tree.Add(b.Events[i].Leaf())
				if b.Events[i].Private != nil {
					got.Private++
				}
			}
			got.Batches++
			if !yield(b, nil) {
				f.failed = errors.New("broken off")
				return
			}
		}
		got.Events, got.Root = tree.Size(), tree.Root()
		if err := f.close(got); err != nil {
			fail(err)
			return
		}
		f.summary, f.whole = got, true
	}
}

// batch reads the line of the batch of that revision.
func (f *Reader) batch(at pool.Revision) (pool.Batch, error) {
	fail := func(want string, cause error) (pool.Batch, error) {
		return pool.Batch{}, f.damaged("revision "+number(at)+": "+want, cause)
	}
	text, err := f.line()
	if changed := (*changedError)(nil); errors.As(err, &changed) {
		return pool.Batch{}, f.damaged(changed.Error()+"; of revision "+number(at)+": "+blame(at, changed.text, f.version), nil)
	}
	if errors.Is(err, io.EOF) {
		f.n++
		return fail("the file goes on up to revision "+number(f.header.Last)+"; it is cut off", nil)
	}
	if err != nil {
		return pool.Batch{}, pool.InField("revision "+number(at), err)
	}
	var l batchLine
	if err := decode(text, &l); err != nil {
		return fail("a batch", err)
	}
	if l.Revision != at {
		return fail("its batch, not that of revision "+number(l.Revision), nil)
	}
	events := make([]pool.Event, len(l.Events))
	for i := range l.Events {
		e := &l.Events[i]
		switch {
		case e.Data != nil && e.Bytes != nil:
			return fail("data once in event "+number(i), nil)
		case e.Private != nil && !f.header.Private:
			return fail("no private parts, as the header says", nil)
		}
		events[i] = e.event()
		if sealed := events[i]; e.Private != nil {
			sealed.Seal()
			if !bytes.Equal(sealed.PrivateHash, e.PrivateHash) {
				return fail("the private part of event "+number(i)+" as its hash has it", nil)
			}
		}
	}
	checked, err := pool.CheckBatch(at-1, events)
	if err != nil {
		return fail("a batch that a ledger takes", err)
	}
	for i := range checked {
		if !checked[i].Time.Equal(events[i].Time) {
			return fail("times of whole microseconds", nil)
		}
		if leaf := checked[i].Leaf(); f.version > 1 && !bytes.Equal(l.Events[i].Leaf, leaf[:]) {
			return fail(event(at, i, checked[i].Kind)+" as its leaf has it", nil)
		}
	}
	return pool.Batch{Revision: at, Events: checked}, nil
}

// close reads the closing record and compares it.
func (f *Reader) close(got Summary) error {
	text, err := f.line()
	if errors.Is(err, io.EOF) {
		f.n++
		return f.damaged("the closing record; the file is cut off", nil)
	}
	if err != nil {
		return err
	}
	var l closingLine
	if err := decode(text, &l); err != nil {
		return f.damaged("the closing record", err)
	}
	want := closingLine{true, got.Batches, got.Events, got.Private, hex.EncodeToString(got.Root[:])}
	if l != want {
		return f.damaged("a closing record of what stands before it: "+number(want.Batches)+" batches, "+number(want.Events)+" events, "+
			number(want.Private)+" private parts and root "+want.Root, nil)
	}
	if _, err := f.in.ReadByte(); err != io.EOF {
		if err != nil {
			return err
		}
		f.n++
		return f.damaged("nothing after the closing record", nil)
	}
	return nil
}

// line returns the JSON of the next line; io.EOF where the file ends before it.
func (f *Reader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := f.in.ReadSlice('\n')
		if len(line)+len(part) > MaxLine {
			f.n++
			return nil, f.damaged("at most "+number(MaxLine)+" bytes", nil)
		}
		line = append(line, part...)
		if err == nil {
			break
		}
		if err == io.EOF && len(line) > 0 {
			f.n++
			return nil, f.damaged("its end; the file is cut off within this line", nil)
		}
		if err != bufio.ErrBufferFull {
			return nil, err
		}
	}
	f.n++
	line = line[:len(line)-1]
	if len(line) <= sumLen || line[sumLen] != ' ' {
		return nil, f.damaged("a sum of 64 digits, a space, and JSON", nil)
	}
	text := line[sumLen+1:]
	if !bytes.Equal(f.chain.next(text), line[:sumLen]) {
		return nil, f.damaged("", &changedError{text})
	}
	return text, nil
}

func (f *Reader) damaged(want string, cause error) error {
	return &pool.Error{Kind: ErrDamaged, Field: "line " + number(f.n), Want: want, Cause: cause}
}
