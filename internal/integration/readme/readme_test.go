//go:build unix

package readme_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// make run, with no programs in reach but go, make and those of every Unix, prints a link that opens the
// dashboard signed in; the pool behind it has 200 hosts; the token is in a file of its owner's and nowhere
// in the output; an interrupt ends it in order.
func TestMakeRun(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute) // most of it for the first compilation
	defer cancel()
	cmd := exec.CommandContext(ctx, "make", "run", "ARGS=--listen 127.0.0.1:0 --data "+data)
	cmd.Dir = "../../.."
	cmd.Env = append(os.Environ(), "PATH="+onlyGoAndMake(t), "MAKEFLAGS=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	require.NoError(t, cmd.Start())
	require.NoError(t, w.Close())
	group := -cmd.Process.Pid
	defer func() { _ = syscall.Kill(group, syscall.SIGKILL) }()

	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}()
	var output strings.Builder
	link := find(lines, &output, regexp.MustCompile(`(http://127\.0\.0\.1:\d+)/#code=(\S+)`))
	require.NotNil(t, link, output.String())
	base, code := link[1], link[2]

	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar, Timeout: 10 * time.Second}
	get := func(path string) (int, []byte) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
		require.NoError(t, err)
		res, err := client.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, body
	}
	status, _ := get("/api/v1/pool")
	require.Equal(t, http.StatusUnauthorized, status)
	body, err := json.Marshal(map[string]string{"code": code})
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/v1/session", bytes.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusNoContent, res.StatusCode)

	status, page := get("/")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, string(page), "<title>")
	require.Eventually(t, func() bool {
		status, body := get("/api/v1/pool")
		var pool struct{ Hosts struct{ All int } }
		return status == http.StatusOK && json.Unmarshal(body, &pool) == nil && pool.Hosts.All == 200
	}, time.Minute, 200*time.Millisecond)

	name := find(lines, &output, regexp.MustCompile(`token\s+(\S+)`))
	require.NotNil(t, name, output.String())
	info, err := os.Stat(name[1])
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	token, err := os.ReadFile(name[1])
	require.NoError(t, err)

	require.NoError(t, syscall.Kill(group, syscall.SIGINT))
	require.Nil(t, find(lines, &output, regexp.MustCompile(`^$never`)))
	_ = cmd.Wait() // make says that it was interrupted
	require.NotContains(t, output.String(), strings.TrimSpace(string(token)))
	require.NoFileExists(t, filepath.Join(data, "berthd.json"), "it has not ended in order:\n%s", output.String())
}

// find reads lines until one matches or there are no more, and keeps them.
func find(lines <-chan string, output *strings.Builder, want *regexp.Regexp) []string {
	for line := range lines {
		output.WriteString(line + "\n")
		if m := want.FindStringSubmatch(line); m != nil {
			return m
		}
	}
	return nil
}

// onlyGoAndMake returns a PATH on which there is no C compiler, no node and the like.
func onlyGoAndMake(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"go", "make", "sh", "find", "awk"} {
		path, err := exec.LookPath(name)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(dir, name)))
	}
	return dir
}
