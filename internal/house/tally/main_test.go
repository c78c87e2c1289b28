package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func newTally(t *testing.T) (*tally, *bytes.Buffer) {
	out := new(bytes.Buffer)
	return &tally{dir: t.TempDir(), out: out}, out
}

// What passes is silent, what fails is shown whole, what is skipped is shown twice, and the end is go test's.
func TestFollow(t *testing.T) {
	t.Parallel()
	tl, out := newTally(t)
	require.NoError(t, tl.follow(bytes.NewReader([]byte(`{"Action":"build-output","ImportPath":"p","Output":"a warning\n"}
{"Action":"run","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"chatter\n"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"NOT RUN: half of it: no root\n"}
{"Action":"pass","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestSkip","Output":"=== RUN   TestSkip\n"}
{"Action":"output","Package":"p","Test":"TestSkip","Output":"    x_test.go:3: no server\n"}
{"Action":"output","Package":"p","Test":"TestSkip","Output":"--- SKIP: TestSkip (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestSkip"}
{"Action":"output","Package":"github.com/berthage/berthage/p","Test":"TestTold","Output":"NOT RUN: TestTold: no KVM\n"}
{"Action":"output","Package":"github.com/berthage/berthage/p","Test":"TestTold","Output":"    x_test.go:3: again\n"}
{"Action":"skip","Package":"github.com/berthage/berthage/p","Test":"TestTold"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
{"Action":"output","Package":"q","Test":"TestBad","Output":"what went wrong\n"}
{"Action":"fail","Package":"q","Test":"TestBad"}
{"Action":"output","Package":"q","Output":"FAIL\tq\t0.2s\n"}
{"Action":"fail","Package":"q"}
{"Action":"skip","Package":"r"}
no JSON`))))
	require.Equal(t, `a warning
NOT RUN: p TestGood: half of it: no root
NOT RUN: p TestSkip: x_test.go:3: no server
NOT RUN: p TestTold: no KVM
ok  	p	0.1s
what went wrong
FAIL	q	0.2s
no JSON`, out.String())

	out.Reset()
	failed, err := tl.main([]string{"summary"})
	require.NoError(t, err)
	require.True(t, failed)
	require.Regexp(t, `(?s)3 NOT RUN, and why:.*NOT RUN: p TestGood: half of it: no root\nNOT RUN: p TestSkip.*\nok  \tp\t0.1s\nFAIL\tq\t0.2s\nFAIL\n$`, out.String())
}

func TestRun(t *testing.T) {
	t.Parallel()
	tl, out := newTally(t)
	require.NoError(t, os.WriteFile(filepath.Join(tl.dir, "file"), []byte("NOT RUN: x: no KVM\nhello"), 0o600))
	failed, err := tl.main([]string{"run", "make x", "go", "version"})
	require.NoError(t, err)
	require.False(t, failed)
	require.Regexp(t, "^go version .*\nok  \tmake x\t[0-9.]+s\n$", out.String())

	failed, err = tl.main([]string{"run", "make y", filepath.Join(tl.dir, "missing")})
	require.NoError(t, err)
	require.True(t, failed)

	_, err = tl.main([]string{"skip", "make z", "needs root"})
	require.NoError(t, err)
	out.Reset()
	failed, err = tl.main([]string{"summary"})
	require.NoError(t, err)
	require.True(t, failed)
	require.Contains(t, out.String(), "NOT RUN: make z: needs root\n")
}

// A tally without results is an error: it must not look like success.
func TestNothing(t *testing.T) {
	t.Parallel()
	tl, _ := newTally(t)
	_, err := tl.main([]string{"summary"})
	require.Error(t, err)
	_, err = tl.main([]string{"test"})
	require.Error(t, err)
	_, err = (&tally{out: os.Stdout}).main([]string{"summary"})
	require.Error(t, err)
}
