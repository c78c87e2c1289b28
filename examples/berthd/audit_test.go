//go:build unix

package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The commands of docs/audit.md, as an operator would type them while the daemon runs.
func TestTheAuditAsAnOperatorWould(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("NOT RUN: the commands of docs/audit.md: there is no sh")
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "audit.md"))
	require.NoError(t, err)
	var blocks []string
	for _, after := range strings.Split(string(doc), "<!-- run by TestTheAuditAsAnOperatorWould -->\n```sh\n")[1:] {
		commands, _, _ := strings.Cut(after, "```")
		blocks = append(blocks, commands)
	}
	require.Len(t, blocks, 4)
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	env := []string{"BERTHD_DATA=" + data}
	p := run(t, data, "--simulate", "3")
	out := shell(t, dir, blocks[0], env...)
	require.Contains(t, out, "the same history")
	require.Contains(t, out, "ledger.opened")
	p.launch(2)
	p.eventually(func() bool { return p.running() == 2 })
	out = shell(t, dir, blocks[1], env...)
	require.Equal(t, 3, strings.Count(out, "the same history"))
	shell(t, dir, blocks[2], env...)
	lines, err := os.ReadFile(filepath.Join(dir, "audit.jsonl"))
	require.NoError(t, err)
	require.Equal(t, 2, bytes.Count(lines, []byte(`"action":"instance.launched"`)))

	// Heads that the daemon has signed by itself, once it has the key, are whole also when it is killed.
	p.signal(os.Interrupt)
	heads := filepath.Join(data, "audit-heads")
	count := func() int {
		b, err := os.ReadFile(heads)
		require.True(t, err == nil || os.IsNotExist(err), err)
		return bytes.Count(b, []byte("\n\n"))
	}
	for range 2 {
		before := count()
		p = run(t, data, "--simulate", "3", "--audit-key", filepath.Join(dir, "audit.pem"), "--audit-every", "1s")
		p.eventually(func() bool { return count() > before })
		p.signal(os.Kill)
	}
	require.Equal(t, count(), strings.Count(shell(t, dir, blocks[3], env...), "the same history"))

	// The export is a file like any other: what is changed in it is named.
	name := filepath.Join(dir, "export.ledger")
	file, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, bytes.Replace(file, []byte(`"kind":"ledger.opened"`), []byte(`"kind":"ledger.0pened"`), 1), 0o600))
	cmd := exec.Command(program, "audit", "verify", "--in", name)
	said, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, 3, cmd.ProcessState.ExitCode())
	require.Contains(t, string(said), `event 1.0 ("ledger.0pened") is not as it was written`)
}
