package proxmox_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/proxmox"
)

// Every refusal that was recorded from a real server, in an answer or in a task, becomes an error of the right kind.
func TestKindsOfRecordedErrors(t *testing.T) {
	t.Parallel()
	f, err := os.Open("pvetest/testdata/recording.jsonl.gz")
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	answers := map[string]error{ // by what the text contains; nothing else is anything but a refusal
		".conf' does not exist":             hypervisor.ErrNotFound,
		"unable to find configuration file": hypervisor.ErrNotFound,
		"hostname lookup":                   hypervisor.ErrUnavailable,
		"config file already exists":        hypervisor.ErrExists,
		"already exists on node":            hypervisor.ErrExists,
		"not running":                       hypervisor.ErrWrongPower,
		"is running - destroy failed":       hypervisor.ErrWrongPower,
		"already running":                   hypervisor.ErrWrongPower,
		"' already used":                    hypervisor.ErrExists,
	}
	seen := make(map[string]bool)
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			N      int             `json:"n"`
			Status int             `json:"status"`
			Reason string          `json:"reason"`
			Body   json.RawMessage `json:"body"`
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
		text, got := e.Reason, error(nil)
		var task struct {
			Data struct {
				Exit string `json:"exitstatus"`
			} `json:"data"`
		}
		_ = json.Unmarshal(e.Body, &task)
		switch {
		case e.Status != 200:
			got = proxmox.KindOfAnswer(e.Status, e.Reason)
		case task.Data.Exit != "" && task.Data.Exit != "OK":
			text = task.Data.Exit
			got = proxmox.KindOfTask(text)
		default:
			continue
		}
		want := hypervisor.ErrRefused
		switch e.Status {
		case 400:
			want = hypervisor.ErrInvalid
		case 401:
			want = hypervisor.ErrUnavailable
		case 501:
			want = errors.ErrUnsupported
		case 200, 500:
			for part, kind := range answers {
				if strings.Contains(text, part) && !strings.Contains(text, "guest agent") {
					want = kind
					seen[part] = true
				}
			}
		}
		require.Equal(t, want, got, "%d: %d %s", e.N, e.Status, text)
	}
	require.NoError(t, lines.Err())
	require.Len(t, seen, len(answers), "every text is in the recording: %v", seen)
	// And what does not come from the API at all leaves open what was done.
	for _, status := range []int{302, 404, 502, 503, 504, 595, 596, 599} {
		require.Equal(t, hypervisor.ErrUnknown, proxmox.KindOfAnswer(status, "whatever"), status)
	}
}
