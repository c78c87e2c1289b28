package acceptance_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// version is the Alertmanager whose suite it is.
const version = "v0.34.2"

// lacking are the tests that alertd does not pass, and why.
func lacking() map[string]string {
	return map[string]string{
		"TestClusterDeduplication": "alertd has no clustering by gossip",
		"TestClusterVSInstance":    "alertd has no clustering by gossip",
	}
}

// passing are the tests that alertd passes.
func passing() []string {
	return []string{
		"TestAddAlerts", "TestAddSilence", "TestAddUTF8Alerts", "TestAddUTF8Silences", "TestAlertGetReturnsCurrentAlertStatus", "TestAlwaysInhibiting",
		"TestBatching", "TestCannotAddUTF8AlertsInClassicMode", "TestCannotAddUTF8SilencesInClassicMode", "TestColdStart", "TestEmptyInhibitionRule",
		"TestFilterAlertRequest", "TestInhibiting", "TestMergeAlerts", "TestMergeAlertsWithEndsAt", "TestReload", "TestRepeat", "TestResolved",
		"TestResolvedFilter", "TestRetry", "TestSendAlertsToUTF8Route", "TestSilenceDelete", "TestSilencing", "TestWebWithPrefix", "TestWebhookTimeout",
	}
}

// alertd passes the acceptance suite of Alertmanager but for what it lacks.
func TestAcceptance(t *testing.T) {
	if testing.Short() {
		t.Skip("Alertmanager's suite takes a minute in real time")
	}
	suite := newSuite(t)
	passed, said := suite.run(t, "-parallel", "8")
	require.Len(t, passed, len(passing())+len(lacking()), "the tests of the suite:\n%s", said)

	// The suite goes by the clock, to a tenth of a second: what fails on a busy machine gets a second chance, alone.
	var again []string
	for _, name := range passing() {
		if !passed[name] {
			again = append(again, name)
		}
	}
	late := ""
	if len(again) > 0 {
		t.Logf("a second time, alone: %s\n%s", strings.Join(again, ", "), said)
		second, saidThen := suite.run(t, "-parallel", "1", "-run", "^("+strings.Join(again, "|")+")$")
		for _, name := range again {
			require.True(t, second[name], "%s has failed twice:\n%s", name, saidThen)
			passed[name] = true
		}
		late = ", of which " + strings.Join(again, ", ") + " at the second attempt"
	}

	n := 0
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(passed)) {
		reason, known := lacking()[name]
		switch {
		case passed[name]:
			require.False(t, known, "%s passes: it is not lacking any more", name)
			n++
		default:
			require.True(t, known, "%s fails", name)
			lines = append(lines, "  not "+name+": "+reason)
		}
	}
	report := fmt.Sprintf("Alertmanager's acceptance suite %s on packages alert and notify: %d of %d pass%s\n%s\n", version, n, len(passed), late, strings.Join(lines, "\n"))
	t.Log(report)
	if reports := os.Getenv("BERTHAGE_REPORTS"); reports != "" {
		require.NoError(t, os.WriteFile(filepath.Join(reports, "acceptance"), []byte(report), 0o600))
	}
}

// suite is the suite in a module of its own, with alertd where it looks for Alertmanager.
type suite struct {
	module, tests, temp string
}

func newSuite(t *testing.T) suite {
	t.Helper()
	s := suite{module: t.TempDir(), temp: t.TempDir()}
	s.tests = filepath.Join(s.module, "test", "with_api_v2", "acceptance")
	mod := "module judge\n\ngo 1.26.0\n\nrequire github.com/prometheus/alertmanager " + version + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(s.module, "go.mod"), []byte(mod), 0o600))
	out, err := s.command(t, s.module, "mod", "download", "-json", "github.com/prometheus/alertmanager@"+version).Output()
	if err != nil {
		t.Skipf("Alertmanager cannot be downloaded: %v\n%s", err, out)
	}
	var downloaded struct{ Dir string }
	require.NoError(t, json.Unmarshal(out, &downloaded))
	require.NoError(t, os.CopyFS(s.tests, os.DirFS(filepath.Join(downloaded.Dir, "test", "with_api_v2", "acceptance"))))

	build(t, filepath.Join(s.module, "alertmanager"))
	out, err = exec.CommandContext(t.Context(), "go", "list", "-deps", "./alertd").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "prometheus/alertmanager", "it is to be judged, not to be used")
	return s
}

func (s suite) command(t *testing.T, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "TMPDIR="+s.temp)
	return cmd
}

// run runs the suite, and returns which of its tests have passed and what those have said that have not.
func (s suite) run(t *testing.T, args ...string) (passed map[string]bool, said string) {
	t.Helper()
	out, err := s.command(t, s.tests, append([]string{"test", "-count=1", "-json", "-timeout", "10m"}, append(args, ".")...)...).Output()
	passed = make(map[string]bool)
	outputs := make(map[string]*strings.Builder)
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct{ Action, Test, Output string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &event), "%s", lines.Text())
		if outputs[event.Test] == nil {
			outputs[event.Test] = new(strings.Builder)
		}
		outputs[event.Test].WriteString(event.Output)
		if event.Test != "" && regexp.MustCompile("^(pass|fail|skip)$").MatchString(event.Action) {
			passed[event.Test] = event.Action == "pass"
		}
	}
	require.NoError(t, lines.Err())
	require.NotEmpty(t, passed, "%v\n%s", err, out)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		if _, known := lacking()[name]; !known && !passed[name] {
			b.WriteString(outputs[name].String())
		}
	}
	return passed, b.String()
}
