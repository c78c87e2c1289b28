//go:build unix

package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain builds the program once for all tests.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "berthd")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "berthd")
	out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		os.Stderr.Write(out)
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

var program string

// output is what a process has written so far.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// process is a berthd that runs.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, log *output
	ended    chan struct{} // closed when it has
	data     string
	url      string
}

func run(t *testing.T, data string, args ...string) *process {
	t.Helper()
	p := &process{t: t, out: &output{}, log: &output{}, ended: make(chan struct{}), data: data}
	p.cmd = exec.Command(program, append([]string{"--data", data, "--listen", "127.0.0.1:0", "--poll", "500ms"}, args...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.log
	require.NoError(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait() // the tests look at the state
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
	})
	link := regexp.MustCompile(`(http://127\.0\.0\.1:\d+)/#code=\S+`)
	p.eventually(func() bool {
		m := link.FindStringSubmatch(p.out.String())
		if m != nil {
			p.url = m[1]
		}
		return m != nil
	})
	p.eventually(func() bool { // the hosts join when they are seen for the first time
		_, pool := p.call(http.MethodGet, "/api/v1/pool", nil)
		return pool["hosts"].(map[string]any)["all"].(float64) > 0
	})
	return p
}

// eventually waits until something is so.
func (p *process) eventually(ok func() bool) {
	p.t.Helper()
	for began := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
		require.Less(p.t, time.Since(began), time.Minute, "it has not happened: %s%s", p.out, p.log)
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(s))
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		require.Fail(p.t, "it does not end", p.log.String())
	}
}

func (p *process) token() string {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.data, "token"))
	require.NoError(p.t, err)
	return strings.TrimSpace(string(b))
}

func (p *process) call(method, path string, body any) (int, map[string]any) {
	p.t.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		require.NoError(p.t, err)
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, p.url+path, in)
	require.NoError(p.t, err)
	req.Header.Set("Authorization", "Bearer "+p.token())
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(p.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(p.t, err)
	var out map[string]any
	if len(b) > 0 {
		require.NoError(p.t, json.Unmarshal(b, &out), "%s", b)
	}
	return res.StatusCode, out
}

func (p *process) running() int {
	p.t.Helper()
	_, pool := p.call(http.MethodGet, "/api/v1/pool", nil)
	n, _ := pool["instances"].(map[string]any)["running"].(float64)
	return int(n)
}

func (p *process) launch(n int) {
	p.t.Helper()
	for k := range n {
		status, out := p.call(http.MethodPost, "/api/v1/instances", map[string]any{
			"project": "default", "name": fmt.Sprintf("vm-%d", k), "spec": map[string]any{"image": "debian-12", "flavor": "ssd-small"},
		})
		require.Equal(p.t, http.StatusAccepted, status, out)
	}
}

// instances returns id and machine of all instances.
func (p *process) instances() map[string]string {
	p.t.Helper()
	_, list := p.call(http.MethodGet, "/api/v1/instances?limit=1000", nil)
	out := make(map[string]string)
	for _, i := range list["items"].([]any) {
		m := i.(map[string]any)
		out[m["id"].(string)], _ = m["machine"].(string)
	}
	return out
}

// Killed at any moment, the daemon goes on where it was: every instance runs, once, and nothing is lost.
func TestKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := run(t, data, "--simulate", "20", "--sim-build", "400ms")
	p.launch(30)
	before := p.instances()
	require.Less(t, p.running(), 30, "it is killed in the middle")
	p.signal(syscall.SIGKILL)

	p = run(t, data, "--simulate", "20", "--sim-build", "400ms")
	p.eventually(func() bool { return p.running() == 30 })
	after := p.instances()
	require.Len(t, after, 30)
	for id, machine := range before {
		require.Equal(t, machine, after[id], "still the same machine")
	}
	_, unknown := p.call(http.MethodGet, "/api/v1/unknown-machines", nil)
	require.Empty(t, unknown["items"])

	// What the hypervisor has on its disk is what the books say.
	fleet, err := os.ReadFile(filepath.Join(data, "simulated-fleet.jsonl"))
	require.NoError(t, err)
	for _, machine := range after {
		require.Contains(t, string(fleet), machine)
	}
}

func TestStopsInOrder(t *testing.T) {
	t.Parallel()
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		data := t.TempDir()
		p := run(t, data, "--simulate", "2")
		p.launch(1)
		p.signal(s)
		require.Equal(t, 0, p.cmd.ProcessState.ExitCode(), p.log.String())
		require.Contains(t, p.log.String(), "no longer leading")
		require.NoFileExists(t, filepath.Join(data, "berthd.json"))
	}
}

func TestASecondSignalEndsItAtOnce(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir(), "--simulate", "2")
	// A request that does not end holds the first stop up.
	r, w := io.Pipe()
	defer w.Close()
	req, err := http.NewRequest(http.MethodPost, p.url+"/api/v1/instances", r)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+p.token())
	req.Header.Set("Content-Type", "application/json")
	go func() {
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			res.Body.Close()
		}
	}()
	_, err = w.Write([]byte(`{"name":`))
	require.NoError(t, err)
	time.Sleep(200 * time.Millisecond)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	p.eventually(func() bool { return strings.Contains(p.log.String(), "a second signal") })
	began := time.Now()
	p.signal(syscall.SIGTERM)
	require.Less(t, time.Since(began), 3*time.Second)
	require.NotEqual(t, 0, p.cmd.ProcessState.ExitCode())
}

func TestSecondStartAndLink(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := run(t, data, "--simulate", "2")

	out, err := exec.Command(program, "--data", data, "--simulate", "2").CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.Contains(t, string(out), fmt.Sprintf("in use by berthd with pid %d at %s", p.cmd.Process.Pid, p.url))

	out, err = exec.Command(program, "link", "--data", data).Output()
	require.NoError(t, err)
	code, ok := strings.CutPrefix(strings.TrimSpace(string(out)), p.url+"/#code=")
	require.True(t, ok, string(out))
	status, _ := p.call(http.MethodPost, "/api/v1/session", map[string]string{"code": code})
	require.Equal(t, http.StatusNoContent, status)

	p.signal(syscall.SIGTERM)
	require.NotContains(t, p.out.String()+p.log.String(), p.token())
	require.NotContains(t, p.log.String(), "#code=")
	out, err = exec.Command(program, "link", "--data", data).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "no berthd runs on")
}

func TestCommands(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"help"}, 0, "--simulate N"},
		{[]string{"--help"}, 0, "BERTHD_LISTEN"},
		{[]string{"serve", "-h"}, 0, "--libvirt URI"},
		{[]string{"version"}, 0, "berthd "},
		{[]string{"serv"}, 1, `"serv" is not a command`},
		{[]string{"--nope"}, 1, "nope"},
		{[]string{"--data", "x"}, 1, "no hypervisor is configured"},
		{[]string{"--simulate", "1", "--tls-cert", "x", "--tls-key", "y", "--data", t.TempDir(), "--listen", "127.0.0.1:0"}, 1, "TLS certificate"},
		{[]string{"--simulate", "1", "--data", t.TempDir(), "--listen", "192.0.2.1:1"}, 1, "listen on 192.0.2.1:1"},
	} {
		out, err := exec.Command(program, tc.args...).CombinedOutput()
		require.Contains(t, string(out), tc.says, tc.args)
		require.Equal(t, tc.code != 0, err != nil, tc.args)
	}
}

// shell runs the commands of docs/operations.md that are said to be run by a test.
func shell(t *testing.T, dir, commands string, env ...string) string {
	t.Helper()
	sh := exec.Command("sh", "-e")
	sh.Dir, sh.Stdin = dir, strings.NewReader(commands)
	sh.Env = append(os.Environ(), append(env, "PATH="+filepath.Dir(program)+string(os.PathListSeparator)+os.Getenv("PATH"))...)
	var stderr bytes.Buffer
	sh.Stderr = &stderr
	out, err := sh.Output()
	require.NoError(t, err, "%s%s", out, stderr.String())
	return string(out)
}

// The ledger's commands of docs/operations.md, as an operator would type them: export, backup, restore test,
// compaction, import and confirmation, with a daemon on the original and then one on the copy.
func TestTheLedgerAsAnOperatorWould(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"sh", "sed"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT RUN: the commands of docs/operations.md: there is no %s", program)
		}
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	require.NoError(t, err)
	var blocks []string
	for _, after := range strings.Split(string(doc), "<!-- run by TestTheLedgerAsAnOperatorWould -->\n```sh\n")[1:] {
		commands, _, _ := strings.Cut(after, "```")
		blocks = append(blocks, commands)
	}
	require.Len(t, blocks, 3)

	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	env := []string{"BERTHD_DATA=" + data, "BERTHD_BACKUP_RECIPIENTS=" + filepath.Join(dir, "recipients.txt")}
	p := run(t, data, "--simulate", "3")
	p.launch(3)
	p.eventually(func() bool { return p.running() == 3 })
	before := p.instances()
	_, status := p.call(http.MethodGet, "/api/v1/status", nil)
	out := shell(t, dir, blocks[0], env...)
	require.Contains(t, out, status["ledger"].(string))
	require.Contains(t, out, "the same history and the same books as the ledger")
	backups, err := filepath.Glob(filepath.Join(data, "backups", "berthage-*.ledger.age"))
	require.NoError(t, err)
	require.Len(t, backups, 1)
	for _, name := range []string{backups[0], filepath.Join(dir, "berthage.ledger.age"), filepath.Join(dir, "identity.txt")} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
	}
	content, err := os.ReadFile(filepath.Join(dir, "berthage.ledger.age"))
	require.NoError(t, err)
	require.NotContains(t, string(content), "ledger.opened", "it is encrypted")

	// What must not be done while the daemon runs is refused.
	for _, args := range [][]string{{"compact"}, {"import", "--in", "berthage.ledger.age", "--identity", "identity.txt"}} {
		cmd := exec.Command(program, append(append([]string{"ledger"}, args...), "--data", data)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.Error(t, err)
		require.Equal(t, 1, cmd.ProcessState.ExitCode())
		require.Contains(t, string(out), "in use by berthd with pid")
	}
	extra, _ := p.call(http.MethodPost, "/api/v1/instances", map[string]any{"project": "default", "name": "later", "spec": map[string]any{"image": "debian-12", "flavor": "ssd-small"}})
	require.Equal(t, http.StatusAccepted, extra)
	p.eventually(func() bool { return p.running() == 4 })
	p.signal(syscall.SIGTERM)

	out = shell(t, dir, blocks[1], env...)
	require.Contains(t, out, "archived")
	require.Contains(t, out, "berthd ledger confirm --ledger")
	p = run(t, data, "--simulate", "3") // the original starts from its snapshot
	require.Len(t, p.instances(), 4)
	p.signal(syscall.SIGTERM)
	require.NotContains(t, p.log.String(), "snapshot cannot be used")

	// The copy gets the original's hosts.
	fleet, err := os.ReadFile(filepath.Join(data, "simulated-fleet.jsonl"))
	require.NoError(t, err)
	restored := data + ".restored"
	require.NoError(t, os.WriteFile(filepath.Join(restored, "simulated-fleet.jsonl"), fleet, 0o600))
	c := run(t, restored, "--simulate", "3")
	require.Equal(t, before, c.instances())
	_, health := c.call(http.MethodGet, "/health", nil)
	require.Equal(t, true, health["unconfirmed"])
	_, copied := c.call(http.MethodGet, "/api/v1/status", nil)
	require.NotEqual(t, status["ledger"], copied["ledger"])
	c.eventually(func() bool {
		_, unknown := c.call(http.MethodGet, "/api/v1/unknown-machines", nil)
		return len(unknown["items"].([]any)) == 1 // launched after the export
	})
	for id := range before {
		code, _ := c.call(http.MethodDelete, "/api/v1/instances/"+id, nil)
		require.Equal(t, http.StatusAccepted, code)
	}
	time.Sleep(3 * time.Second) // several polls
	require.Len(t, c.instances(), 3, "nothing is touched before the confirmation")

	out = shell(t, dir, blocks[2], env...)
	require.Contains(t, out, "confirmed: its drivers are called from now on")
	c.eventually(func() bool { return len(c.instances()) == 0 })
	_, health = c.call(http.MethodGet, "/health", nil)
	require.Nil(t, health["unconfirmed"])
	_, unknown := c.call(http.MethodGet, "/api/v1/unknown-machines", nil)
	require.Len(t, unknown["items"], 1, "what the original launched later is left alone")
}

// The commands of docs/operations.md, as a new user would type them.
func TestTheFirstInstance(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT RUN: the commands of docs/operations.md: there is no %s", program)
		}
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	require.NoError(t, err)
	_, after, ok := strings.Cut(string(doc), "<!-- run by TestTheFirstInstance -->\n```sh\n")
	require.True(t, ok)
	commands, _, _ := strings.Cut(after, "```")

	data := t.TempDir()
	p := run(t, data, "--simulate", "3")
	for range 2 { // typed again, they are the same instance
		sh := exec.Command("sh", "-e")
		sh.Stdin = strings.NewReader(commands)
		sh.Env = append(os.Environ(), "BERTHD_DATA="+data, "BERTHD_URL="+p.url)
		out, err := sh.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), `"name":"web-1"`)
	}
	p.eventually(func() bool { return p.running() == 1 })
	require.Len(t, p.instances(), 1)
}
