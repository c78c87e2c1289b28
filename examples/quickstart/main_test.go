package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// The example is what the README shows: it must stay short, and it must do what it says.
func TestQuickstart(t *testing.T) {
	t.Parallel()

	t.Run("is at most 40 lines", func(t *testing.T) {
		t.Parallel()
		source, err := os.ReadFile("main.go")
		require.NoError(t, err)
		require.LessOrEqual(t, bytes.Count(source, []byte("\n")), 40)
	})

	t.Run("launches an instance and says where it runs", func(t *testing.T) {
		t.Parallel()
		var stdout, stderr bytes.Buffer
		cmd := exec.CommandContext(t.Context(), "go", "run", ".")
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		require.NoError(t, cmd.Run(), stderr.String())
		require.Regexp(t, `^web-1 is running on fake/node-000[123] with cpu 2 cores, memory 4 GiB, storage.ssd 20 GiB\n$`, stdout.String())
		require.Empty(t, stderr.String())
	})
}
