package rulefiles_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/internal/integration/rulefiles"
	"github.com/stretchr/testify/require"
)

// promtool runs test files on the real promtool.
func promtool(t *testing.T, files ...string) (output string, ok bool) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool: it is in Debian's package prometheus")
	}
	out, err := exec.Command(path, append([]string{"test", "rules"}, files...)...).CombinedOutput()
	return string(out), err == nil
}

// TestWritten: what the test file by hand expects is what package alert says, and what promtool says.
func TestWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join("testdata", "tests.yml")
	tests, rules, err := rulefiles.Open(path)
	require.NoError(t, err)
	require.NoError(t, tests.Run(rules))
	out, ok := promtool(t, path)
	require.True(t, ok, out)
}

// TestWrongIsRefused: an expectation that is wrong in any way is refused by both.
func TestWrongIsRefused(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("testdata", "tests.yml"))
	require.NoError(t, err)
	rulesFile, err := filepath.Abs(filepath.Join("testdata", "rules.yml"))
	require.NoError(t, err)
	for name, change := range map[string][2]string{
		"too early":        {"eval_time: 9m\n        alertname: HighCPU", "eval_time: 8m\n        alertname: HighCPU"},
		"not there":        {"- {eval_time: 15m, alertname: HighCPU}", "- {eval_time: 14m, alertname: HighCPU}"},
		"another label":    {"{of: h1}", "{of: h2}"},
		"another text":     {"h1 fell 4 times", "h1 fell 5 times"},
		"without its text": {"            exp_annotations: {rate: '1'}\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, 1, strings.Count(string(b), change[0]))
			path := filepath.Join(t.TempDir(), "tests.yml")
			wrong := strings.Replace(string(b), change[0], change[1], 1)
			require.NoError(t, os.WriteFile(path, []byte(wrong), 0o600))
			require.NoError(t, os.Symlink(rulesFile, filepath.Join(filepath.Dir(path), "rules.yml")))
			tests, rules, err := rulefiles.Open(path)
			require.NoError(t, err)
			require.Error(t, tests.Run(rules))
			out, ok := promtool(t, path)
			require.False(t, ok, out)
			require.Contains(t, out, "FAILED")
		})
	}
}

// TestNothingOfPrometheusInside: package alert and what runs the files on it are made without a line of Prometheus.
func TestNothingOfPrometheusInside(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "github.com/berthage/berthage/internal/integration/rulefiles").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "github.com/berthage/berthage/alert\n")
	require.NotContains(t, string(out), "github.com/prometheus")
	out, err = exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "github.com/berthage/berthage/alert").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "github.com/berthage/berthage/alert/detect\ngithub.com/berthage/berthage/alert\n", string(out))
}

func TestTranslate(t *testing.T) {
	t.Parallel()
	for _, expr := range []string{
		"m", `m{a="b",c!~"d.*"} > 5`, "m>=-1.5e3", "absent(m)", `absent(m{a="b"}) == 1`, "absent_over_time(m[5m])",
		"avg_over_time(m[5m]) > 1", "quantile_over_time(0.5, m[5m]) != 2", "predict_linear(m[1h], 3600) < 0", "100 * a / b > 5",
		`100 * max_over_time(a{x="y"}[5m]) / max_over_time(b{x="y"}[5m])`, " rate( m [5m] ) > 0.5 ",
	} {
		m, test, err := rulefiles.Translate(expr)
		require.NoError(t, err, expr)
		require.NoError(t, alert.Rule{Name: "R", Measure: m, Test: test}.Validate(), expr)
	}
	for _, expr := range []string{
		"", "5", "m >", "m > n", "m > bool 5", "5 < m", "sum(m)", "sum by (a) (m) > 5", "m > 5 and n > 5", "m offset 5m", "m[5m]", "rate(m)", "rate(m[5m:1m])",
		"rate(m[5m]) * 2", "100 * a", "100 * a / b{x=\"y\"}", "100 * rate(a[5m]) / b", "m @ 5", "m{a}", `m{a="b"`, "histogram_quantile(0.9, m)", "m > 5 or n",
		"irate(m[5m])", "-m > 5", "absent(m[5m])", "m =~ 5",
	} {
		_, _, err := rulefiles.Translate(expr)
		require.Error(t, err, expr)
	}
}
