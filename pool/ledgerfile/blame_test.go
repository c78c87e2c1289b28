package ledgerfile_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgerfile"
)

// span is where an event stands in a file, and what it is called.
type span struct {
	start, end, kind int // kind: where its name begins
	at, name         string
}

// spans finds the events of a file. Nothing in a string of JSON looks like the beginning of one, as its quotes would be escaped.
func spans(file []byte) (out []span) {
	begin := regexp.MustCompile(`[\[,]\{"id":"`)
	start := 0
	for n, line := range bytes.SplitAfter(file, []byte("\n")) {
		found := begin.FindAllIndex(line, -1)
		for i, f := range found {
			s := span{start: start + f[0] + 1, end: start + len(line) - len("]}\n"), at: fmt.Sprintf("%d.%d", n, i)}
			if i+1 < len(found) {
				s.end = start + found[i+1][0]
			}
			text := file[s.start:s.end]
			s.kind = s.start + bytes.Index(text, []byte(`"kind":"`)) + len(`"kind":"`)
			s.name, _, _ = strings.Cut(string(file[s.kind:s.end]), `"`)
			out = append(out, s)
		}
		start += len(line)
	}
	return out
}

// flipped reads a file with one bit changed, which must be found, and in an event with the event's name.
func flipped(t *testing.T, file []byte, events []span, bit int) {
	t.Helper()
	bad := bytes.Clone(file)
	bad[bit/8] ^= 1 << (bit % 8)
	_, _, err := read(bad)
	require.Error(t, err, "bit %d", bit)
	line := bytes.Count(file[:bit/8], []byte("\n")) + 1
	require.ErrorContains(t, err, fmt.Sprint("line ", line))
	for _, e := range events {
		switch {
		case bit/8 < e.start || bit/8 >= e.end:
		case bad[bit/8] == '\n' || bit/8 >= e.kind && bit/8 <= e.kind+len(e.name): // its kind is on the next line now, or is named as it stands
			require.ErrorContains(t, err, fmt.Sprintf("event %s (\"", e.at), "bit %d", bit)
		default:
			require.ErrorContains(t, err, fmt.Sprintf("event %s (%q)", e.at, e.name), "bit %d: %q", bit, bad[max(0, bit/8-20):bit/8+20])
		}
	}
}

// Whatever bit of a file is another one, it is found, and named by the event that it is in.
func TestEveryFlippedBitIsNamed(t *testing.T) {
	t.Parallel()
	l := pool.NewMemoryLedger()
	opened, err := pool.NewEvent(pool.KindOpened, &pool.Opened{Ledger: "first"})
	require.NoError(t, err)
	opened.ID = "e0"
	private := pool.Event{ID: "e2", Kind: "test.private", Version: 1, Data: []byte(`{"n":"é"}`), Subject: "s", Private: []byte("secret"), Salt: []byte("sixteen bytes or more")}
	private.Seal()
	_, err = l.Append(t.Context(), 0, opened)
	require.NoError(t, err)
	_, err = l.Append(t.Context(), 1, pool.Event{ID: "e1", Kind: "test.bytes", Version: 1, Actor: "ada", Data: []byte("\xff\x00")}, private, pool.Event{ID: "e3", Kind: "test.none", Version: 1})
	require.NoError(t, err)
	file := written(t, l, ledgerfile.Options{})
	events := spans(file)
	require.Len(t, events, 4)
	for bit := range 8 * len(file) {
		flipped(t, file, events, bit)
	}
}

// And so in a larger one, with all kinds of event, batches of many and what is hard to write down.
func TestRandomFlippedBitsAreNamed(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	many := pool.NewMemoryLedger()
	at := pool.Revision(0)
	for _, b := range batches(t, kinds1(t)) {
		for len(b.Events) < 8 {
			n := len(b.Events)
			b.Events = append(b.Events, pool.Event{ID: fmt.Sprint(at, ".", n), Kind: "test.event", Version: 1, Data: fmt.Appendf(nil, `{"text":"},{\"id\":\"%d"}`, n)})
		}
		var err error
		at, err = many.Append(t.Context(), at, b.Events...)
		require.NoError(t, err)
	}
	for _, l := range []pool.Ledger{ledger(t), many} {
		file := written(t, l, ledgerfile.Options{})
		events := spans(file)
		require.Greater(t, len(events), 10)
		for range 150 {
			flipped(t, file, events, random.IntN(8*len(file)))
		}
	}
}

// What is no bit is named too: an event that is missing, one that is there twice, and one that stands elsewhere. Of a file of version
// 1 the line is named, and the event where it can no longer be read.
func TestBlame(t *testing.T) {
	t.Parallel()
	file := written(t, ledger(t), ledgerfile.Options{})
	e := spans(file)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	cut := func(name string, bad []byte, want string) {
		t.Helper()
		_, _, err := read(bad)
		require.ErrorIs(t, err, ledgerfile.ErrDamaged, name)
		require.ErrorContains(t, err, want, name)
	}
	cut("one missing", join(file[:e[1].start], file[e[2].start:]), `event 2.0 ("test.private") is not as it was written`)
	cut("one twice", join(file[:e[2].start], file[e[1].start:]), `event 2.1 ("test.data") is not as it was written`)
	cut("the last one missing", join(file[:e[3].start-1], file[e[3].end:]), "all its events are as they were written, the sum of the line is not")
	cut("in another order", join(file[:e[1].start], file[e[2].start:e[2].end], []byte(","), file[e[1].start:e[1].end], file[e[2].end:]), `event 2.0 ("test.private")`)
	cut("more after the last one", join(file[:e[3].end], []byte("x"), file[e[3].end:]), `what stands after event 2.2 ("test.private")`)
	cut("nothing", join(file[:e[1].start], file[e[3].end:]), `event 2.0 ("") is not as it was written`)

	old := bytes.ReplaceAll(file, []byte(`"berthage_ledger":2`), []byte(`"berthage_ledger":1`))
	var texts []string
	for line := range strings.Lines(string(regexp.MustCompile(`,"leaf":"[^"]*"`).ReplaceAll(old, nil))) {
		texts = append(texts, strings.TrimSuffix(line[65:], "\n"))
	}
	old = resum(texts)
	_, _, err := read(old)
	require.NoError(t, err)
	e = spans(old)
	bad := bytes.Clone(old)
	bad[e[2].start] ^= 1
	cut("of version 1", bad, `line 3 damaged: the line that was written after the one before it; this one was changed, put elsewhere, or one is missing; of revision 2: event 2.1 ("test.private")`)
	cut("of version 1, still JSON", bytes.Replace(old, []byte(`"actor":"ada`), []byte(`"actor":"bob`), 1), "of revision 2: which of its events, the form of version 1 does not tell")
}
