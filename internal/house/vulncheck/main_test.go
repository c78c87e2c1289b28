package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

const stream = `{"config":{"go_version":"go1.26.8"}}
{"osv":{"id":"GO-1","summary":"one of a module"}}
{"osv":{"id":"GO-2","summary":"one of Go"}}
{"finding":{"osv":"GO-1","fixed_version":"v1.2.0","trace":[{"module":"example.com/m","version":"v1.1.0"}]}}
{"finding":{"osv":"GO-2","trace":[{"module":"stdlib","version":"v1.26.8","package":"net/http","function":"Do"}]}}
`

const called = `{"finding":{"osv":"GO-1","fixed_version":"v1.2.0","trace":[{"module":"example.com/m","version":"v1.1.0","package":"example.com/m/p","function":"F"},{"module":"ours"}]}}
`

func TestJudge(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		accepted, stream string
		failed           bool
		says             []string
	}{
		"nothing that is called":     {"", stream, false, []string{"WARNING: go1.26.8 itself has 1 known vulnerabilities", "GO-2: one of Go"}},
		"a module's":                 {"", stream + called, true, []string{"FAIL: GO-1: one of a module (example.com/m v1.1.0, mended in v1.2.0; called by examples, as example.com/m/p.F)"}},
		"accepted":                   {"# why\nGO-1 example.com/m it is only so\n", stream + called, false, []string{"accepted: GO-1: ", ": it is only so\n"}},
		"accepted of another module": {"GO-1 example.com/n it is only so", stream + called, true, []string{"FAIL: GO-1: one of a module", "FAIL: accepted.txt has GO-1 of example.com/n"}},
		"accepted and not there":     {"GO-3 example.com/m it was so", stream, true, []string{"FAIL: accepted.txt has GO-3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j, err := newJudge(tc.accepted)
			require.NoError(t, err)
			require.NoError(t, j.read("examples", []byte(tc.stream)))
			out := new(bytes.Buffer)
			require.Equal(t, tc.failed, j.say(out), out)
			for _, text := range tc.says {
				require.Contains(t, out.String(), text)
			}
		})
	}
}

// What is cut off, or is nothing at all, is no good news.
func TestJudgeReadsToTheEnd(t *testing.T) {
	t.Parallel()
	for _, broken := range []string{"", "{", stream + `{"finding":`, "no JSON"} {
		j, err := newJudge("")
		require.NoError(t, err)
		require.Error(t, j.read(".", []byte(broken)), "%q", broken)
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	j, err := newJudge(accepted)
	require.NoError(t, err)
	for f, why := range j.accepted {
		require.Regexp(t, `^GO-\d{4}-\d+$`, f.id)
		require.NotEmpty(t, why)
	}
	_, err = newJudge("GO-1 example.com/m")
	require.ErrorContains(t, err, "a reason")
}

// Without govulncheck nothing fails, and it says so.
func TestNotRun(t *testing.T) {
	t.Parallel()
	out := new(bytes.Buffer)
	failed, err := check(t.Context(), out, "file:///nowhere", "./no-such-package", nil)
	require.NoError(t, err)
	require.False(t, failed)
	require.Regexp(t, `^NOT RUN: govulncheck: .+\n$`, out.String())
}
