package ledgerfile_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgerfile"
)

// ledger has events with everything that is hard to write down: bytes that are no text, JSON with blanks, empty and
// large data, private parts that are there, forgotten and empty.
func ledger(t testing.TB) *pool.MemoryLedger {
	t.Helper()
	l := pool.NewMemoryLedger()
	opened, err := pool.NewEvent(pool.KindOpened, &pool.Opened{Ledger: "first"})
	require.NoError(t, err)
	opened.ID = "e0"
	batches := [][]pool.Event{{opened}}
	for n, data := range []string{"{ \"n\": 1 }\n", "", "\x00\xff\xfe", "\"\u2028<&>\\\"", "null", strings.Repeat("x", 200_000)} {
		id := fmt.Sprint("e", n+1)
		batch := []pool.Event{{ID: id, Kind: "test.data", Version: n + 1, Actor: "ada é 'x'", Cause: "token \U0001f6a2", Epoch: int64(n) << 40, Data: []byte(data)}}
		for _, subject := range []string{"kept", "forgotten"} {
			e := pool.Event{ID: id + subject, Kind: "test.private", Version: 1, Data: []byte("{}"), Subject: subject, Private: []byte(data), Salt: []byte("sixteen bytes or more")}
			e.Seal()
			batch = append(batch, e)
		}
		batches = append(batches, batch)
	}
	for n, batch := range batches {
		for i := range batch {
			batch[i].Time = time.Date(2026, 11, 20, 12, n, i, 1000, time.UTC)
		}
		_, err := l.Append(t.Context(), pool.Revision(n), batch...)
		require.NoError(t, err)
	}
	require.NoError(t, l.Forget(t.Context(), "forgotten"))
	require.NoError(t, l.Compact(t.Context(), 3, []byte("snapshot")))
	return l
}

func batches(t testing.TB, l pool.Ledger) (out []pool.Batch) {
	t.Helper()
	for b, err := range pool.History(context.Background(), l, 0) {
		require.NoError(t, err)
		out = append(out, b)
	}
	return out
}

func written(t testing.TB, l pool.Ledger, o ledgerfile.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	_, _, err := ledgerfile.Write(context.Background(), &b, l, o)
	require.NoError(t, err)
	return b.Bytes()
}

// read returns what a file holds, and the error with which reading it ends.
func read(file []byte) ([]pool.Batch, ledgerfile.Summary, error) {
	f, err := ledgerfile.Open(bytes.NewReader(file))
	if err != nil {
		return nil, ledgerfile.Summary{}, err
	}
	var out []pool.Batch
	for b, err := range f.Batches(context.Background()) {
		if err != nil {
			return out, ledgerfile.Summary{}, err
		}
		out = append(out, b)
	}
	s, whole := f.Summary()
	if !whole {
		return out, s, errors.New("not whole, and no error")
	}
	return out, s, nil
}

func opener(file []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(file)), nil }
}

// What is imported is what was written, byte by byte, and one event more, that makes it another ledger.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	from := ledger(t)
	want := batches(t, from)
	steps := 0
	var b bytes.Buffer
	h, s, err := ledgerfile.Write(t.Context(), &b, from, ledgerfile.Options{Progress: func(at, last pool.Revision) {
		steps++
		require.EqualValues(t, steps, at)
		require.EqualValues(t, 7, last)
	}})
	require.NoError(t, err)
	require.Equal(t, 7, steps)
	require.Equal(t, ledgerfile.Header{Identity: "first", First: 1, Last: 7, Private: true}, h)
	require.EqualValues(t, 7, s.Batches)
	require.EqualValues(t, 19, s.Events)
	require.EqualValues(t, 6, s.Private)
	_, surveyed, err := ledgerfile.Survey(t.Context(), from, ledgerfile.Options{})
	require.NoError(t, err)
	require.Equal(t, surveyed, s)

	got, summary, err := read(b.Bytes())
	require.NoError(t, err)
	require.Equal(t, s, summary)
	require.Equal(t, portrait(want), portrait(got))

	to := pool.NewMemoryLedger()
	identity, imported, err := ledgerfile.Import(t.Context(), opener(b.Bytes()), to, "ada", ledgerfile.Options{})
	require.NoError(t, err)
	require.Equal(t, s, imported)
	got = batches(t, to)
	require.Len(t, got, 8)
	require.Equal(t, portrait(want), portrait(got[:7]))
	last := got[7].Events[0]
	require.Equal(t, "ada", last.Actor)
	p, err := last.Payload()
	require.NoError(t, err)
	require.Equal(t, &pool.Imported{Ledger: identity, From: "first"}, p)

	// A copy of the copy says whose it is.
	h, _, err = ledgerfile.Survey(t.Context(), to, ledgerfile.Options{})
	require.NoError(t, err)
	require.Equal(t, identity, h.Identity)

	_, _, err = ledgerfile.Import(t.Context(), opener(b.Bytes()), to, "ada", ledgerfile.Options{})
	require.ErrorIs(t, err, pool.ErrExists)
	_, _, err = ledgerfile.Import(t.Context(), opener(b.Bytes()), from, "ada", ledgerfile.Options{})
	require.ErrorIs(t, err, pool.ErrExists, "all of it archived or not")
}

// portrait is what batches hold; no data and nil are the same.
func portrait(batches []pool.Batch) []string {
	var out []string
	for _, b := range batches {
		for _, e := range b.Events {
			out = append(out, fmt.Sprintf("%d.%d %s %s %q %q %d %s %d %q %q %x %t %q %q %x", b.Revision, e.Index, e.ID, e.Time.Format(time.RFC3339Nano), e.Actor, e.Cause,
				e.Epoch, e.Kind, e.Version, e.Data, e.Subject, e.PrivateHash, e.Private == nil, e.Private, e.Salt, e.Leaf()))
		}
	}
	return out
}

// Without private parts it is the same tree, and nothing private is in the file.
func TestPublic(t *testing.T) {
	t.Parallel()
	from := ledger(t)
	file := written(t, from, ledgerfile.Options{Public: true})
	require.NotContains(t, string(file), `"private":"`)
	require.NotContains(t, string(file), `"salt"`)
	got, s, err := read(file)
	require.NoError(t, err)
	_, all, err := read(written(t, from, ledgerfile.Options{}))
	require.NoError(t, err)
	require.Equal(t, all.Root, s.Root)
	require.Zero(t, s.Private)
	to := pool.NewMemoryLedger()
	_, _, err = ledgerfile.Import(t.Context(), opener(file), to, "", ledgerfile.Options{})
	require.NoError(t, err)
	require.Equal(t, portrait(got), portrait(batches(t, to)[:7]))
}

func TestEmptyLedger(t *testing.T) {
	t.Parallel()
	file := written(t, pool.NewMemoryLedger(), ledgerfile.Options{})
	got, s, err := read(file)
	require.NoError(t, err)
	require.Empty(t, got)
	require.Equal(t, sha256.Sum256(nil), s.Root)
	_, _, err = ledgerfile.Import(t.Context(), opener(file), pool.NewMemoryLedger(), "", ledgerfile.Options{})
	require.ErrorIs(t, err, pool.ErrInvalid)
}

// Every way to hurt a file is found, the place is named, and nothing is imported of it.
func TestDamage(t *testing.T) {
	t.Parallel()
	file := written(t, ledger(t), ledgerfile.Options{})
	lines := bytes.SplitAfter(file, []byte("\n"))
	lines = lines[:len(lines)-1]
	damaged := func(name, place string, bad []byte) {
		t.Helper()
		_, _, err := read(bad)
		require.Error(t, err, name)
		require.True(t, errors.Is(err, ledgerfile.ErrDamaged) || errors.Is(err, ledgerfile.ErrVersion), "%s: %v", name, err)
		require.ErrorContains(t, err, place, name)
		to := pool.NewMemoryLedger()
		_, _, err = ledgerfile.Import(t.Context(), opener(bad), to, "", ledgerfile.Options{})
		require.Error(t, err, name)
		require.Empty(t, batches(t, to), name)
	}
	join := func(parts ...[][]byte) []byte {
		var out []byte
		for _, p := range parts {
			out = append(out, bytes.Join(p, nil)...)
		}
		return out
	}
	for i, line := range lines {
		place := fmt.Sprintf("line %d ", i+1)
		for at := 0; at < len(line); at += 1 + len(line)/40 {
			bad := bytes.Clone(file)
			bad[len(join(lines[:i]))+at] ^= 1
			damaged(fmt.Sprintf("bit %d of line %d", at, i+1), place, bad)
			damaged("cut off", place, file[:len(join(lines[:i]))+at])
		}
		damaged("missing", place, join(lines[:i], lines[i+1:], [][]byte{[]byte("x")}))
		damaged("twice", fmt.Sprintf("line %d ", i+2), join(lines[:i+1], lines[i:]))
		if i+1 < len(lines) {
			damaged("in another order", place, join(lines[:i], [][]byte{lines[i+1], line}, lines[i+2:]))
		}
	}
	damaged("more", "line 10 ", append(bytes.Clone(file), 'x'))
	damaged("two files", "line 10 ", append(bytes.Clone(file), file...))
	_, _, err := read([]byte("age-encryption.org/v1\n-> X25519 " + strings.Repeat("x", 100)))
	require.ErrorIs(t, err, ledgerfile.ErrVersion)
	require.ErrorContains(t, err, "must be decrypted")
}

// resum makes the sums fit again, as somebody would who edits a file on purpose.
func resum(texts []string) []byte {
	var out bytes.Buffer
	var last []byte
	for _, text := range texts {
		sum := sha256.Sum256(append(bytes.Clone(last), text...))
		last = sum[:]
		fmt.Fprintf(&out, "%s %s\n", hex.EncodeToString(last), text)
	}
	return out.Bytes()
}

func TestEditedOnPurpose(t *testing.T) {
	t.Parallel()
	var texts []string
	for line := range strings.Lines(string(written(t, ledger(t), ledgerfile.Options{}))) {
		texts = append(texts, strings.TrimSuffix(line[65:], "\n"))
	}
	_, _, err := read(resum(texts))
	require.NoError(t, err)
	for name, c := range map[string]struct {
		line     int // from 1
		old, new string
		want     string
	}{
		"another actor":        {3, `"actor":"ada`, `"actor":"bob`, `line 3 damaged: revision 2: event 2.0 ("test.data") as its leaf has it`},
		"another private part": {3, `"private":"eyAi`, `"private":"eyAj`, "line 3 damaged: revision 2: the private part of event 1 as its hash has it"},
		"no private part":      {3, `,"private":"eyAibiI6IDEgfQo=","salt":"c2l4dGVlbiBieXRlcyBvciBtb3Jl"`, ``, "line 9 damaged: a closing record"},
		"an unknown field":     {3, `"revision":2`, `"revision":2,"newer":1`, "line 3 damaged: revision 2: a batch"},
		"another revision":     {3, `"revision":2`, `"revision":3`, "line 3 damaged: revision 2: its batch, not that of revision 3"},
		"an id twice":          {3, `"id":"e1kept"`, `"id":"e1"`, "line 3 damaged: revision 2: a batch that a ledger takes"},
		"data twice":           {3, `"data":`, `"data_base64":"AA==","data":`, "data once in event 0"},
		"a time between":       {3, `.000001Z`, `.0000015Z`, "whole microseconds"},
		"nothing in a batch":   {2, `"events":[`, `"events":[],"x":[`, "line 2 damaged: revision 1: a batch"},
		"no first revision":    {1, `"first":1`, `"first":2`, "line 1 damaged: a header"},
		"fewer revisions":      {1, `"last":7`, `"last":6`, "line 8 damaged: the closing record"},
		"more revisions":       {1, `"last":7`, `"last":9223372036854775807`, "line 9 damaged: revision 8: a batch"},
		"no private parts":     {1, `"private":true`, `"private":false`, "line 3 damaged: revision 2: no private parts"},
		"a newer version":      {1, `"berthage_ledger":2`, `"berthage_ledger":3`, "version 2; use a newer program"},
		"no version":           {1, `"berthage_ledger":2`, `"berthage_ledger":0`, "a header of version 1 to 2"},
		"no identity":          {1, `"identity":"first"`, `"identity":""`, "a header with an identity"},
		"another count":        {9, `"events":19`, `"events":18`, "line 9 damaged: a closing record of what"},
		"no closing":           {9, `"closing":true`, `"closing":false`, "line 9 damaged: a closing record of what"},
	} {
		bad := append([]string(nil), texts...)
		require.Contains(t, bad[c.line-1], c.old, name)
		bad[c.line-1] = strings.Replace(bad[c.line-1], c.old, c.new, 1)
		_, _, err := read(resum(bad))
		require.ErrorContains(t, err, c.want, name)
	}
}

// endless is a file of one line without an end.
type endless struct{ start io.Reader }

func (e endless) Read(p []byte) (int, error) {
	if n, _ := e.start.Read(p); n > 0 {
		return n, nil
	}
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestLinesAreBounded(t *testing.T) {
	t.Parallel()
	header, _, _ := bytes.Cut(written(t, ledger(t), ledgerfile.Options{}), []byte("\n"))
	f, err := ledgerfile.Open(endless{bytes.NewReader(append(header, '\n'))})
	require.NoError(t, err)
	for _, err := range f.Batches(t.Context()) {
		require.ErrorIs(t, err, ledgerfile.ErrDamaged)
		require.ErrorContains(t, err, "at most 33554432 bytes")
	}
	// The largest batch that a ledger takes can be written, whatever is in it.
	for _, data := range []string{"\x01", "\xff", "\u2028", "x"} {
		l := pool.NewMemoryLedger()
		data = strings.Repeat(data, pool.MaxBatch/len(data))
		_, err := l.Append(t.Context(), 0, pool.Event{ID: "e", Kind: "ledger.opened", Version: 1, Data: []byte(`{"ledger":"x"}`)})
		require.NoError(t, err)
		_, err = l.Append(t.Context(), 1, pool.Event{ID: "f", Kind: "k", Version: 1, Data: json.RawMessage(data)})
		require.NoError(t, err)
		got, _, err := read(written(t, l, ledgerfile.Options{}))
		require.NoError(t, err)
		require.True(t, reflect.DeepEqual(json.RawMessage(data), got[1].Events[0].Data))
	}
}

// doubtful loses the answer of every other append, which has been carried out or not.
type doubtful struct {
	*pool.MemoryLedger
	n int
}

func (d *doubtful) Append(ctx context.Context, prev pool.Revision, batch ...pool.Event) (pool.Revision, error) {
	if d.n++; d.n%2 == 1 {
		if d.n%4 == 1 {
			_, _ = d.MemoryLedger.Append(ctx, prev, batch...) // its answer is what is lost
		}
		return 0, pool.ErrUnknown
	}
	return d.MemoryLedger.Append(ctx, prev, batch...)
}

func TestImportSettlesAppendsInDoubt(t *testing.T) {
	t.Parallel()
	from := ledger(t)
	to := &doubtful{MemoryLedger: pool.NewMemoryLedger()}
	_, _, err := ledgerfile.Import(t.Context(), opener(written(t, from, ledgerfile.Options{})), to, "", ledgerfile.Options{})
	require.NoError(t, err)
	require.Equal(t, portrait(batches(t, from)), portrait(batches(t, to)[:7]))
}

func TestErrorsOfOthersAreTold(t *testing.T) {
	t.Parallel()
	from := ledger(t)
	file := written(t, from, ledgerfile.Options{})
	broken := errors.New("broken")
	_, err := ledgerfile.Open(io.MultiReader(bytes.NewReader(file[:10]), brokenReader{broken}))
	require.ErrorIs(t, err, broken)
	f, err := ledgerfile.Open(io.MultiReader(bytes.NewReader(file[:300]), brokenReader{broken}))
	require.NoError(t, err)
	for _, err = range f.Batches(t.Context()) {
	}
	require.ErrorIs(t, err, broken)
	for _, err = range f.Batches(t.Context()) {
		require.ErrorIs(t, err, pool.ErrWrongState, "it can be gone through once")
	}
	_, _, err = ledgerfile.Write(t.Context(), brokenReader{broken}, from, ledgerfile.Options{})
	require.ErrorIs(t, err, broken)
	_, _, err = ledgerfile.Import(t.Context(), func() (io.ReadCloser, error) { return nil, broken }, pool.NewMemoryLedger(), "", ledgerfile.Options{})
	require.ErrorIs(t, err, broken)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = ledgerfile.Write(ctx, io.Discard, from, ledgerfile.Options{})
	require.ErrorIs(t, err, context.Canceled)
	_, _, err = ledgerfile.Import(ctx, opener(file), pool.NewMemoryLedger(), "", ledgerfile.Options{})
	require.ErrorIs(t, err, context.Canceled)
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error)  { return 0, b.err }
func (b brokenReader) Write([]byte) (int, error) { return 0, b.err }

// FuzzRead feeds any bytes to the reader: it never panics, its errors are typed, and what it takes is written
// again as the same tree.
func FuzzRead(f *testing.F) {
	file := written(f, ledger(f), ledgerfile.Options{})
	f.Add(file)
	f.Add(file[:len(file)-10])
	f.Add(written(f, pool.NewMemoryLedger(), ledgerfile.Options{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		texts := []string{}
		for line := range strings.Lines(string(b)) { // with sums that fit, so that what is behind them is reached
			if len(line) > 65 {
				texts = append(texts, strings.TrimSuffix(line[65:], "\n"))
			}
		}
		for _, b := range [][]byte{b, resum(texts)} {
			got, s, err := read(b)
			if err != nil {
				require.True(t, errors.Is(err, ledgerfile.ErrDamaged) || errors.Is(err, ledgerfile.ErrVersion), "%v", err)
				continue
			}
			var tree pool.Tree
			for _, b := range got {
				for i := range b.Events {
					tree.Add(b.Events[i].Leaf())
				}
			}
			require.Equal(t, s.Root, tree.Root())
		}
	})
}
