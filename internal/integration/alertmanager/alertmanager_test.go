package alertmanager_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// version is the Alertmanager that judges.
const version = "v0.34.2"

// Groups, repetition, inhibition, silences and what is resolved are told as Alertmanager tells them, to those to whom it does, and as its webhook tells them.
func TestAgainstAlertmanager(t *testing.T) {
	if testing.Short() {
		t.Skip("Alertmanager is much to compile")
	}
	_, file, _, ok := runtime.Caller(0)
	require.True(t, ok)
	root, err := filepath.Abs(filepath.Join(filepath.Dir(file), "..", "..", ".."))
	require.NoError(t, err)

	dir := t.TempDir()
	mod := fmt.Sprintf("module judge\n\ngo 1.26.0\n\nrequire (\n\tgithub.com/berthage/berthage v0.0.0\n\tgithub.com/prometheus/alertmanager %s\n)\n\nreplace github.com/berthage/berthage => %q\n", version, filepath.ToSlash(root))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o600))
	require.NoError(t, os.CopyFS(dir, os.DirFS("testdata")))
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("mod", "download", "github.com/prometheus/alertmanager@"+version); err != nil {
		t.Skipf("Alertmanager cannot be downloaded: %v\n%s", err, out)
	}
	out, err := run("test", "-count=1", "-v", "-vet=off", ".")
	require.NoError(t, err, "%s", out)
	var said []string
	for _, what := range []string{`scripts=\d+ notifications=\d+`, `trees=\d+ targets=\d+`, `messages=\d+ alerts=\d+`} {
		found := regexp.MustCompile(what).FindString(out)
		require.NotEmpty(t, found, "%s", out)
		said = append(said, found)
	}
	t.Logf("%s, all as Alertmanager %s", strings.Join(said, " "), version)
	if reports := os.Getenv("BERTHAGE_REPORTS"); reports != "" {
		require.NoError(t, os.WriteFile(filepath.Join(reports, "alerts-told"), []byte("Alertmanager and package alert tell the same: "+strings.Join(said, " ")+"\n"), 0o600))
	}
}
