package ledgerfile

import (
	"context"
	"encoding/hex"
	"io"

	"github.com/berthage/berthage/pool"
)

// Options are what Write and Import may be told. The zero value is useful.
type Options struct {
	// Public leaves the private parts out of what is written: user-data, keys and addresses. What is imported from
	// such a file works, but guests that are made anew have none of them.
	Public bool

	// Progress is called after every batch with its revision and the last one there will be; nil: not at all.
	Progress func(at, last pool.Revision)
}

func (o Options) progress(at, last pool.Revision) {
	if o.Progress != nil {
		o.Progress(at, last)
	}
}

// Survey reads a whole ledger and returns what the header and the closing record of a file of it say. It folds
// nothing but what gives the ledger its identity, so that it reads ledgers of newer programs too.
func Survey(ctx context.Context, from pool.Ledger, o Options) (Header, Summary, error) {
	h, s := Header{Private: !o.Public}, Summary{}
	var tree pool.Tree
	for b, err := range pool.History(ctx, from, 0) {
		if err != nil {
			return Header{}, Summary{}, err
		}
		if b.Revision != h.Last+1 {
			return Header{}, Summary{}, &pool.Error{Kind: pool.ErrCorrupt, Field: "revision", Value: number(b.Revision), Want: number(h.Last + 1)}
		}
		h.First, h.Last = 1, b.Revision
		s.Batches++
		for i := range b.Events {
			e := &b.Events[i]
			tree.Add(e.Leaf())
			if e.Private != nil && !o.Public {
				s.Private++
			}
			switch e.Kind {
			case pool.KindOpened, pool.KindImported:
				p, err := e.Payload()
				if err != nil {
					return Header{}, Summary{}, pool.InField("revision "+number(b.Revision), err)
				}
				switch p := p.(type) {
				case *pool.Opened:
					h.Identity = p.Ledger
				case *pool.Imported:
					h.Identity = p.Ledger
				}
			}
		}
		o.progress(b.Revision, b.Revision)
	}
	s.Events, s.Root = tree.Size(), tree.Root()
	return h, s, nil
}

// Write writes a ledger up to its present head. It reads the ledger twice, the first time to know what it will
// write, and holds a few batches in memory, however long the ledger is. The ledger may be appended to meanwhile;
// what is appended is not written. Errors are those of the ledger and of w.
func Write(ctx context.Context, w io.Writer, from pool.Ledger, o Options) (Header, Summary, error) {
	fail := func(err error) (Header, Summary, error) { return Header{}, Summary{}, err }
	h, want, err := Survey(ctx, from, Options{Public: o.Public})
	if err != nil {
		return fail(err)
	}
	out := writer{w: w}
	if err := out.line(headerLine{Version, h}); err != nil {
		return fail(err)
	}
	var got Summary
	var tree pool.Tree
	for b, err := range pool.History(ctx, from, 0) {
		if err != nil {
			return fail(err)
		}
		if b.Revision > h.Last {
			break
		}
		line := batchLine{Revision: b.Revision, Events: make([]eventLine, len(b.Events))}
		for i := range b.Events {
			e := &b.Events[i]
			leaf := e.Leaf()
			tree.Add(leaf)
			line.Events[i] = lineOf(e, h.Private)
			line.Events[i].Leaf = leaf[:]
			if line.Events[i].Private != nil {
				got.Private++ // fewer than before, where something has been forgotten meanwhile
			}
		}
		if err := out.line(line); err != nil {
			return fail(err)
		}
		got.Batches++
		o.progress(b.Revision, h.Last)
		if b.Revision == h.Last {
			break
		}
	}
	got.Events, got.Root = tree.Size(), tree.Root()
	if got.Root != want.Root || got.Events != want.Events {
		return fail(&pool.Error{Kind: pool.ErrCorrupt, Field: "ledger", Want: "the same events when it is read twice"})
	}
	err = out.line(closingLine{true, got.Batches, got.Events, got.Private, hex.EncodeToString(got.Root[:])})
	if err != nil {
		return fail(err)
	}
	return h, got, nil
}

type writer struct {
	w     io.Writer
	chain chain
}

func (w *writer) line(v any) error {
	text, err := encode(v)
	if err != nil {
		return err
	}
	line := append(append(w.chain.next(text), ' '), text...)
	if len(line) >= MaxLine {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "batch", Want: "less than " + number(MaxLine) + " bytes when written"}
	}
	_, err = w.w.Write(append(line, '\n'))
	return err
}
