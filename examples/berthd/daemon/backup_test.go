package daemon_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
)

// recipient is the one of a key that nobody has.
const recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\n"

// The daemon writes backups by its schedule and tells whether it does.
func TestScheduledBackups(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	recipients := filepath.Join(dir, "recipients.txt")
	require.NoError(t, os.WriteFile(recipients, []byte(recipient), 0o600))
	r := start(t, 1, func(c *config.Config, _ *daemon.Options) {
		c.BackupEvery, c.BackupRecipients, c.BackupDir = time.Hour, recipients, filepath.Join(dir, "backups")
	})
	health := func() (out map[string]any) {
		res, err := r.client.Get(r.d.URL() + "/health")
		require.NoError(t, err)
		defer res.Body.Close()
		require.NoError(t, json.NewDecoder(res.Body).Decode(&out))
		return out
	}
	r.eventually(func() bool { return health()["backup"] == "ok" })
	there, err := filepath.Glob(filepath.Join(dir, "backups", "berthage-*.ledger.age"))
	require.NoError(t, err)
	require.Len(t, there, 1)
	res, err := r.client.Do(r.request(http.MethodGet, "/metrics", nil))
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Regexp(t, `(?m)^berthd_backup_last_success_timestamp_seconds 1\.\d+e\+09$`, string(text))
	require.Contains(t, string(text), "berthd_backup_failures_total 0\n")
	require.Contains(t, string(text), "berthage_unconfirmed 0\n")
}
