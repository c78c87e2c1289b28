//go:build unix

package main_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The unit is one that systemd takes, it leaves the daemon little, it starts what there is, and it keeps the sign-in link out of the journal.
func TestTheUnit(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile("berthd.service")
	require.NoError(t, err)
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/berthd (.+)$`).FindSubmatch(unit)
	require.NotNil(t, start)
	help, err := exec.Command(program, "--help").CombinedOutput()
	require.NoError(t, err)
	for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAll(start[1], -1) {
		require.Contains(t, string(help), string(flag)+" ")
	}
	require.Contains(t, string(unit), "\nStandardOutput=null\n")

	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("NOT RUN: examples/berthd/berthd.service judged by systemd: there is no systemd-analyze")
	}
	// The program is where it was built.
	name := filepath.Join(t.TempDir(), "berthd.service")
	require.NoError(t, os.WriteFile(name, []byte(strings.Replace(string(unit), "/usr/local/bin/berthd", program, 1)), 0o600))
	said, err := exec.Command("systemd-analyze", "verify", name).CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Empty(t, string(said))
	said, err = exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", name).CombinedOutput()
	require.NoError(t, err, "exposed by more than 2 of 10: %s", said)
}

// The commands of the hardening guide of docs/security.md, one after another, as an operator would type them; and then root may nothing.
func TestTheHardeningGuide(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"sh", "curl", "sed", "find"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT RUN: the commands of docs/security.md: there is no %s", program)
		}
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "security.md"))
	require.NoError(t, err)
	blocks := make(map[string]string) // by heading
	heading := ""
	for _, part := range regexp.MustCompile("(?ms)^### [^\n]+$|^<!-- run by TestTheHardeningGuide -->\n```sh\n.*?^```$").FindAllString(string(doc), -1) {
		if title, ok := strings.CutPrefix(part, "### "); ok {
			heading = title
			continue
		}
		_, commands, _ := strings.Cut(part, "```sh\n")
		if blocks[heading] != "" {
			heading += ", then"
		}
		blocks[heading] = strings.TrimSuffix(commands, "```")
	}
	take := func(title string) string {
		b := blocks[title]
		require.NotEmpty(t, b, title)
		delete(blocks, title)
		return b
	}

	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	require.NoError(t, os.Mkdir(data, 0o755)) // as somebody has left it
	p := run(t, data, "--simulate", "1")
	env := []string{"BERTHD_DATA=" + data, "BERTHD_URL=" + p.url}
	out := shell(t, dir, take("People instead of the root token"), env...)
	require.Regexp(t, `ada +u\w+ +person +admin of everything`, out)
	require.Regexp(t, `bob +u\w+ +person +user of default`, out)

	tokens := take("Tokens that can little, and end")
	out = shell(t, dir, tokens, env...)
	made, err := os.ReadFile(filepath.Join(dir, "ci-token.json"))
	require.NoError(t, err)
	info, err := os.Stat(filepath.Join(dir, "ci-token.json"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	var token struct{ Secret string }
	require.NoError(t, json.Unmarshal(made, &token))
	require.NotContains(t, out, token.Secret, "it is shown once")
	ask := func(path, token string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
	require.Equal(t, http.StatusOK, ask("/api/v1/projects/default", token.Secret))
	require.Equal(t, http.StatusNotFound, ask("/api/v1/hosts/sim/node-0001", token.Secret))
	root := p.token()
	require.Equal(t, http.StatusOK, ask("/api/v1/hosts/sim/node-0001", root))

	require.Empty(t, shell(t, dir, take("Modes of files"), env...), "files that others can read")
	info, err = os.Stat(data)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	require.Contains(t, shell(t, dir, take("Heads kept elsewhere"), env...), "the same history")
	require.Contains(t, shell(t, dir, take("Backups that nobody can read"), env...), "the same history and the same books as the ledger")

	prelude := tokens[:strings.Index(tokens, "\n}\n")+3]
	shell(t, dir, prelude+take("Tokens that can little, and end, then"), env...)
	require.Equal(t, http.StatusUnauthorized, ask("/api/v1/hosts/sim/node-0001", root))
	require.Equal(t, http.StatusOK, ask("/api/v1/projects/default", token.Secret))
	require.Empty(t, blocks, "commands that nobody runs")
}
