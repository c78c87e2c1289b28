package ledger_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/examples/berthd/ledger"
)

func entriesOf(t *testing.T, out string) (all []audit.Entry) {
	t.Helper()
	for line := range strings.Lines(out) {
		var e audit.Entry
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		all = append(all, e)
	}
	return all
}

func TestAuditLog(t *testing.T) {
	t.Parallel()
	data := filled(t, 5)
	out := proved(t, data, "log")
	require.NotContains(t, out, "SECRET")
	all := entriesOf(t, out)
	require.Len(t, all, 9)
	require.Equal(t, "instance.launched", all[3].Action)
	require.Equal(t, string(id), all[3].Target)
	require.Equal(t, &audit.Position{Revision: 4}, all[3].Event)
	require.Len(t, entriesOf(t, proved(t, data, "log", "--after", "7")), 2)
	require.Len(t, strings.Split(strings.TrimSpace(proved(t, data, "log", "--format", "syslog", "--after", "7")), "\n"), 2)

	// It goes on from where it was.
	state := filepath.Join(t.TempDir(), "state")
	require.Len(t, entriesOf(t, proved(t, data, "log", "--state", state)), 9)
	require.Empty(t, proved(t, data, "log", "--state", state))
	more(t, data, 3, "daemon")
	again := entriesOf(t, proved(t, data, "log", "--state", state))
	require.Len(t, again, 3)
	require.Equal(t, "ada", again[0].Actor)
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{2, "--format is json or syslog", []string{"--format", "xml"}},
		{2, "--to is tcp://", []string{"--to", "127.0.0.1:514"}},
		{2, "--to is tcp://", []string{"--to", "tcp://127.0.0.1"}},
		{2, "--to is tcp://", []string{"--to", "http://127.0.0.1:1"}},
		{2, "--to is tcp://", []string{"--to", "tcp://127.0.0.1:1/path"}},
		{2, "--every is more than 0", []string{"--every", "0s"}},
		{2, "--after a revision", []string{"--after", "-1"}},
		{1, "no certificate", []string{"--to", "tls://127.0.0.1:1", "--ca", state}},
		{1, "does not say a revision", []string{"--state", write(t, "state", "x")}},
	} {
		code, out := prove(t, data, append([]string{"log"}, c.args...)...)
		require.Equal(t, c.code, code, "%v: %s", c.args, out)
		require.Contains(t, out, c.want)
	}
}

// A collector gets every event once, also those that are appended while it is away, and those of a ledger that is followed.
func TestAuditLogIsSent(t *testing.T) {
	t.Parallel()
	data := filled(t, 3000)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	ctx, stop := context.WithCancel(t.Context())
	state := filepath.Join(t.TempDir(), "state")
	done := make(chan int)
	var said bytes.Buffer
	go func() {
		done <- ledger.Audit(ctx, []string{"log", "--data", data, "--to", "tcp://" + l.Addr().String(), "--format", "syslog", "--follow", "--every", "10ms", "--state", state}, io.Discard, &said)
	}()
	conn, err := l.Accept()
	require.NoError(t, err)
	r := bufio.NewReader(conn)
	read := func(n, revision int) {
		t.Helper()
		for i := range n {
			length, err := r.ReadString(' ')
			require.NoError(t, err)
			var size int
			_, err = fmt.Sscan(length, &size)
			require.NoError(t, err)
			m := make([]byte, size)
			_, err = io.ReadFull(r, m)
			require.NoError(t, err)
			require.Contains(t, string(m), fmt.Sprintf(`"event":{"revision":%d,"index":0}`, revision+i))
		}
	}
	read(3004, 1)
	more(t, data, 2, "daemon")
	read(2, 3005)
	require.Eventually(t, func() bool {
		b, err := os.ReadFile(state)
		return err == nil && string(b) == "3006\n"
	}, 30*time.Second, 10*time.Millisecond)
	stop()
	require.Zero(t, <-done, said.String())
	require.NoError(t, conn.Close())
}
