package mail_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/email"
	"github.com/berthage/berthage/notify/notifytest"
)

// A program that people read mail with makes a thread of each incident's mails, in whatever order they come to it, and no thread of two, though all have the
// same subject.
func TestNotmuch(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("notmuch"); err != nil {
		t.Skipf("threads by Notmuch: %v (Debian: notmuch)", err)
	}
	o := goSMTP(t, newCertificate(t), email.StartTLS)
	const incidents = 5
	for i := range incidents {
		for _, m := range []notify.Message{notifytest.Firing(), notifytest.Update(), notifytest.Resolved()} {
			m.Key, m.Incident = fmt.Sprint(m.Key, "-", i), fmt.Sprint(m.Incident, "-", i)
			require.NoError(t, o.send(t, m, nil))
		}
	}
	for i := range 3 { // events of one kind, none of which is the first
		m := notifytest.Event()
		m.Key = fmt.Sprint(m.Key, "-", i)
		require.NoError(t, o.send(t, m, nil))
	}
	mails := o.mails(3*incidents + 3)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(mails), func(i, j int) { mails[i], mails[j] = mails[j], mails[i] })

	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	box := filepath.Join(dir, "mail")
	require.NoError(t, os.WriteFile(config, []byte("[database]\npath="+box+"\n[new]\ntags=new\n[user]\nprimary_email=ops@berth.example\n"), 0o600))
	notmuch := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "notmuch", args...)
		cmd.Env = append(os.Environ(), "NOTMUCH_CONFIG="+config, "HOME="+dir)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return strings.TrimSpace(string(out))
	}
	for _, sub := range []string{"cur", "new", "tmp"} {
		require.NoError(t, os.MkdirAll(filepath.Join(box, sub), 0o700))
	}
	for i, raw := range mails {
		require.NoError(t, os.WriteFile(filepath.Join(box, "new", fmt.Sprint(i)), raw, 0o600))
		notmuch("new") // each by itself, so that what comes first is known first
	}
	require.Equal(t, fmt.Sprint(len(mails)), notmuch("count", "*"))
	require.Equal(t, fmt.Sprint(incidents+1), notmuch("count", "--output=threads", "*"))
	require.Equal(t, fmt.Sprint(incidents), notmuch("count", "--output=threads", "subject:HighCPU"))
	for _, thread := range strings.Fields(notmuch("search", "--output=threads", "*")) {
		require.Equal(t, "3", notmuch("count", thread), thread)
	}
}
