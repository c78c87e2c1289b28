package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/pool"
)

// unlined is what there is but for the ends of lines.
func unlined(parts ...[]byte) string {
	return strings.ReplaceAll(string(bytes.Join(parts, nil)), "\n", "")
}

// Heads that stand one after another are taken apart as they were signed, whoever has signed them and whatever empty lines there are.
func TestNotes(t *testing.T) {
	t.Parallel()
	require.Empty(t, audit.Notes(nil))
	require.Empty(t, audit.Notes([]byte("\n\n\n")))
	var want [][]byte
	var file []byte
	for n := range 40 {
		h := headOf()
		h.Time = h.Time.Add(time.Duration(n) * time.Second)
		note, err := audit.Sign(h, keyOf(1))
		require.NoError(t, err)
		if n%3 == 1 {
			note, err = audit.Sign(h, keyOf(1), keyOf(2))
			require.NoError(t, err)
		}
		if n%4 == 2 {
			note = append(note, "— witness.example.com/w1 AAAAAAAA\n"...)
		}
		want = append(want, note)
		file = append(append(file, strings.Repeat("\n", n%3)...), note...)
		require.Equal(t, want, audit.Notes(file))
	}
	for n, note := range audit.Notes(file) {
		h, err := audit.Open(note, publicOf("FIRST", 1))
		require.NoError(t, err)
		require.Equal(t, headOf().Time.Add(time.Duration(n)*time.Second), h.Time)
	}

	// Nothing is lost of what is no head, and of a file that ends within one the last is none.
	for end := 0; end < len(file); end += 7 {
		notes := audit.Notes(file[:end])
		require.Equal(t, unlined(file[:end]), unlined(notes...))
		if len(notes) > 0 && file[end-1] != '\n' {
			_, err := audit.Open(notes[len(notes)-1], publicOf("FIRST", 1))
			require.Error(t, err, "%q", notes[len(notes)-1])
		}
	}
	require.Equal(t, [][]byte{[]byte("no head\n\n"), []byte("at all")}, audit.Notes([]byte("\nno head\n\nat all")))
}

func FuzzNotes(f *testing.F) {
	note, err := audit.Sign(headOf(), keyOf(1))
	require.NoError(f, err)
	for _, text := range []string{"", "\n", "x\n\n— ", string(note), string(note) + "\n" + string(note[:len(note)-1]), "\n\n— \n— \n\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		notes := audit.Notes(b)
		require.Equal(t, before, b)
		require.Equal(t, unlined(b), unlined(notes...))
		for _, note := range notes {
			require.NotEmpty(t, note)
			_, _ = audit.Open(note, publicOf("FIRST", 1))
		}
	})
}

// A collector gets a head whole, so that whoever has the line has the head.
func TestHeadEntry(t *testing.T) {
	t.Parallel()
	h := headOf()
	note, err := audit.Sign(h, keyOf(1), keyOf(2), keyOf(3), keyOf(4), keyOf(5))
	require.NoError(t, err)
	require.Greater(t, len(note), 512)
	e := audit.HeadEntry(h, note)
	line := e.AppendJSON(nil)
	require.Regexp(t, `^[ -~]+$`, string(line))
	var back audit.Entry
	require.NoError(t, json.Unmarshal(line, &back))
	require.Equal(t, audit.Entry{Time: h.Time, Actor: "berthage", Action: "audit.head", Target: "FIRST", Result: audit.Done, Head: string(note)}, back)
	got, err := audit.Open([]byte(back.Head), publicOf("FIRST", 3))
	require.NoError(t, err)
	require.Equal(t, h, got)

	e.Head = strings.Repeat("x", 20_000)
	require.NotContains(t, string(e.AppendJSON(nil)), "head\":", "what no head can be is not sent, rather than half of it")
	require.NotContains(t, string(audit.EntryOf(&pool.Event{Kind: pool.KindTakenOver, Data: []byte("{}")}).AppendJSON(nil)), "head\":")
}

func ExampleNotes() {
	var file []byte // to which each new head is added
	for range 3 {
		note, err := audit.Sign(headOf(), keyOf(1))
		if err != nil {
			panic(err)
		}
		file = append(file, note...)
	}
	for _, note := range audit.Notes(file) {
		h, err := audit.Open(note, publicOf("FIRST", 1))
		fmt.Println(h.Revision, err)
	}
	// Output:
	// 7 <nil>
	// 7 <nil>
	// 7 <nil>
}
