package messages_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/integration/npm"
)

// prismVersion is the prism-cli that judges.
const prismVersion = "5.16.0"

// mock is a prism under way, which answers what its OpenAPI file allows and refuses the rest.
type mock struct{ url string }

// prismProgram returns prism's program, which is installed once; else the error says what is missing.
func prismProgram(t *testing.T) (string, error) {
	t.Helper()
	dir, err := npm.Install(t.Context(), "@stoplight/prism-cli", prismVersion, "20.19")
	return filepath.Join(dir, "dist", "index.js"), err
}

// startPrism starts prism with one of the files of BERTHAGE_DATA. Without one, or without prism, the error says what is missing.
func startPrism(t *testing.T, file string, flags ...string) (*mock, error) {
	t.Helper()
	dir := os.Getenv("BERTHAGE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	file = filepath.Join(dir, file)
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("BERTHAGE_DATA names no directory with %s", filepath.Base(file))
	}
	program, err := prismProgram(t)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(t.Context(), "node", append([]string{program, "mock", "--host", "127.0.0.1", "--port", "0", file}, flags...)...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	listens := make(chan string, 1)
	var said strings.Builder
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if m := regexp.MustCompile(`Prism is listening on (http://127\.0\.0\.1:\d+)`).FindStringSubmatch(lines.Text()); m != nil {
				listens <- m[1]
			}
			if said.Len() < 10_000 {
				said.WriteString(lines.Text() + "\n")
			}
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
	select {
	case url := <-listens:
		return &mock{url}, nil
	case <-done:
		require.Fail(t, "prism ended", said.String())
	case <-time.After(2 * time.Minute):
		require.Fail(t, "prism does not listen after two minutes")
	}
	return nil, nil
}

// judge passes a request on, and returns what prism has against it.
func (m *mock) judge(method, path string, header http.Header, body []byte) error {
	req, err := http.NewRequest(method, m.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var violations []struct {
		Location []string
		Message  string
	}
	if s := resp.Header.Get("Sl-Violations"); s != "" {
		if err := json.Unmarshal([]byte(s), &violations); err != nil {
			return err
		}
	}
	var faults []error
	for _, v := range violations {
		if len(v.Location) > 0 && v.Location[0] == "request" { // others are of prism's own answer
			faults = append(faults, fmt.Errorf("%s: %s", strings.Join(v.Location, "."), v.Message))
		}
	}
	if len(faults) == 0 && resp.StatusCode/100 != 2 {
		faults = append(faults, fmt.Errorf("%s: %.300s", resp.Status, said))
	}
	return errors.Join(faults...)
}
