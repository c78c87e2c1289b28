package mail_test

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/email"
)

// postfix starts postfix.sh and returns what it prints, by name.
func postfix(t *testing.T, c certificate) map[string]string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mail through Postfix: needs root, since Postfix has users of its own")
	}
	for _, program := range []string{"/usr/sbin/postfix", "/usr/sbin/saslpasswd2"} {
		if _, err := os.Stat(program); err != nil {
			t.Skipf("mail through Postfix: %v (Debian: postfix, sasl2-bin)", err)
		}
	}
	dir := t.TempDir()
	pem, key := filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(pem, c.pem, 0o600))
	require.NoError(t, os.WriteFile(key, c.key, 0o600))
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "./postfix.sh", pem, key, user)
	cmd.Env = append(os.Environ(), "BERTHAGE_MAIL_PASSWORD="+password)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var said strings.Builder
	cmd.Stderr = &said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, stdin.Close()) // which ends it
		_, _ = io.Copy(io.Discard, stdout)
		require.NoError(t, cmd.Wait(), said.String())
	})
	out := make(map[string]string)
	for lines := bufio.NewScanner(stdout); out["ready"] == "" && lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		out[name] = value
	}
	require.NotEmpty(t, out["ready"], "%s", &said)
	t.Log("Postfix " + out["ready"])
	return out
}

func TestPostfix(t *testing.T) {
	t.Parallel()
	c := newCertificate(t)
	p := postfix(t, c)
	read := make(map[string]bool)
	mails := func(n int) [][]byte {
		var out [][]byte
		for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			entries, err := os.ReadDir(filepath.Join(p["box"], "new"))
			if !os.IsNotExist(err) {
				require.NoError(t, err)
			}
			for _, e := range entries {
				if !read[e.Name()] {
					read[e.Name()] = true
					raw, err := os.ReadFile(filepath.Join(p["box"], "new", e.Name()))
					require.NoError(t, err)
					out = append(out, raw)
				}
			}
			if len(out) >= n {
				require.Len(t, out, n)
				return out
			}
			if time.Now().After(end) {
				log, _ := os.ReadFile(p["log"])
				require.Failf(t, "not delivered", "%d of %d mails within a minute; Postfix says\n%s", len(out), n, log)
			}
		}
	}
	for _, service := range []string{"scram", "plain", "login", "implicit"} { // one after another: they share the mailbox
		t.Run(service, func(t *testing.T) {
			o := office{mails: mails, config: func(change func(*email.Config)) email.Config {
				out := email.Config{
					Server: p[service], RootCAs: c.roots, Username: user, Password: notify.NewSecret(password),
					From: "Berth <alerts@berth.example>", To: []string{"ops@berth.example"},
				}
				if service == "implicit" {
					out.Security = email.Implicit
				}
				if change != nil {
					change(&out)
				}
				return out
			}}
			o.letsIn(t)
			if service == "scram" {
				o.takes(t)
			}
		})
	}
	log, err := os.ReadFile(p["log"])
	require.NoError(t, err)
	for _, mechanism := range []string{"SCRAM-SHA-256", "PLAIN", "LOGIN"} {
		require.Contains(t, string(log), "sasl_method="+mechanism)
	}
}
