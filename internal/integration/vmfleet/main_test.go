package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The transcript that is kept is one that this program would write, as far as can be said without a run: with all of its parts, in order, and of a
// whole run.
func TestTranscriptIsOfThisProgram(t *testing.T) {
	t.Parallel()
	kept, err := os.ReadFile("../../../docs/vm-fleet.md")
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(kept, newTranscript(io.Discard).document()), "make vm-fleet TRANSCRIPT=1")
	rest := string(kept)
	for _, part := range []string{"What there is", "One pool", "A cluster of twelve", "(a) ", "(b) ", "(c) ", "(d) ", "The end", "nothing is left"} {
		_, after, ok := strings.Cut(rest, part)
		require.True(t, ok, "no %q in its place", part)
		rest = after
	}
	require.NotContains(t, string(kept), "NOT RUN")
}

func TestTranscript(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	tr := newTranscript(&out)
	tr.hide = strings.NewReplacer("/secret/place", "DIR")
	tr.section("Title", strings.Repeat("word ", 50))
	tr.say("one\n  two in %s", "/secret/place/x")
	tr.asked("POST", "/api/v1/x", map[string]int{"a": 1})
	doc := string(tr.document())
	require.Regexp(t, `(?s)\n## Title\n\nword .*word\n\n\x60\x60\x60text\n +0\.0 s  one\n +two in DIR/x\n +0\.0 s  POST /api/v1/x\n +\{"a":1\}\n\x60\x60\x60\n$`, doc)
	require.NotContains(t, out.String(), "secret")
	for _, line := range strings.Split(doc, "\n") {
		require.LessOrEqual(t, len(line), 140)
	}
}

func TestGoesOn(t *testing.T) {
	t.Parallel()
	const boot, other = "5d9b3a2c-0c2c-4a0e-9d3e-0a8f6d1c7b11", "00000000-0000-4000-8000-000000000000"
	read := func(text string) vitals {
		v, err := readVitals("/dev/pts/1", text, time.Now())
		require.NoError(t, err)
		return v
	}
	was := read("~ # echo id=$(cat boot_id) up=$(cut uptime) && echo all\\ done\r\nid=" + boot + " up=12.50\r\nall done")
	require.InDelta(t, 12.5, was.uptime, 0)
	require.NoError(t, goesOn("a", was, read("id="+boot+" up=13.00")))
	require.InDelta(t, 14, read("id="+boot+" up=13.00\r\nid="+boot+" up=14.00").uptime, 0, "one may answer late")
	require.ErrorContains(t, goesOn("a", was, read("id="+other+" up=13.00")), "has booted")
	require.ErrorContains(t, goesOn("a", was, read("id="+boot+" up=12.00")), "uptime")
	_, err := readVitals("", "id= up=", time.Now())
	require.Error(t, err)
}

func TestSnapshotSeesWhatChanges(t *testing.T) {
	t.Parallel()
	was := snapshot{a: []int{1}, b: []int{2, 3}, elsewhere: []string{"x"}, places: map[string]string{"one": "m-0 on a"}}
	require.NoError(t, was.same(was))
	for what, now := range map[string]snapshot{
		"B":         {a: was.a, b: []int{2}, elsewhere: was.elsewhere, places: was.places},
		"A":         {a: []int{1, 4}, b: was.b, elsewhere: was.elsewhere, places: was.places},
		"elsewhere": {a: was.a, b: was.b, elsewhere: []string{"x", "y"}, places: was.places},
		"one":       {a: was.a, b: was.b, elsewhere: was.elsewhere, places: map[string]string{"one": "m-1 on a"}},
	} {
		require.ErrorContains(t, was.same(now), what)
	}
}

func TestByNumber(t *testing.T) {
	t.Parallel()
	all := map[string]instance{"fleet-10": {Host: "h"}, "fleet-9": {Host: "h"}, "fleet-1": {Host: "h"}, "fleet-2": {Host: "other"}}
	require.Equal(t, []string{"fleet-1", "fleet-9", "fleet-10"}, on(all, "h"))
}
