package cloudinit_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// merged is what testdata/merge.py prints.
type merged struct {
	Config struct {
		Users    []any      `json:"users"`
		Mounts   [][]string `json:"mounts"`
		Packages []string   `json:"packages"`
		Timezone string     `json:"timezone"`
	} `json:"config"`
	Users map[string]struct {
		Keys  []string `json:"ssh_authorized_keys"`
		Shell string   `json:"shell"`
		Gecos string   `json:"gecos"`
	} `json:"users"`
	Types []string `json:"types"`
}

// TestRealCloudInit lets the real cloud-init read the archives: the caller's user-data adds to ours, and
// nothing of ours is lost. It needs cloud-init's Python modules and what they import.
func TestRealCloudInit(t *testing.T) {
	t.Parallel()
	if err := exec.Command("python3", "-c", "import cloudinit.user_data").Run(); err != nil {
		fmt.Println("NOT RUN: TestRealCloudInit: python3 cannot import cloudinit (Debian: cloud-init, or PYTHONPATH to an unpacked one)")
		t.Skip("python3 cannot import cloudinit")
	}
	read := func(t *testing.T, userData string) merged {
		t.Helper()
		s := seed()
		s.UserData = userData
		path := filepath.Join(t.TempDir(), "user-data")
		require.NoError(t, os.WriteFile(path, []byte(files(t, s)["user-data"]), 0o600))
		cmd := exec.Command("python3", "testdata/merge.py", path)
		cmd.Stderr = os.Stderr
		b, err := cmd.Output()
		require.NoError(t, err)
		var m merged
		require.NoError(t, json.Unmarshal(b, &m), "%s", b)
		require.Contains(t, m.Users, "debian")
		require.Len(t, m.Users["debian"].Keys, 1)
		require.Contains(t, m.Users["debian"].Keys[0], key)
		require.Equal(t, "/bin/bash", m.Users["debian"].Shell)
		require.Contains(t, m.Config.Mounts, []string{"/dev/disk/by-id/virtio-berthage-d1", "/data", "auto", "defaults,nofail", "0", "2"})
		return m
	}
	message := func(part string) string {
		return "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n" + part + "\n--b--\n"
	}
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		m := read(t, "")
		require.Len(t, m.Users, 1)
		require.Equal(t, []string{"text/cloud-config"}, m.Types)
	})
	t.Run("config", func(t *testing.T) {
		t.Parallel()
		m := read(t, "#cloud-config\nusers:\n- name: eve\n- name: debian\n  gecos: Deb\n  shell: /bin/false\n  ssh_authorized_keys: [other]\n"+
			"mounts:\n- [/dev/vdx, /x]\npackages: [htop]\ntimezone: UTC\n")
		require.Contains(t, m.Users, "eve")
		require.Equal(t, "Deb", m.Users["debian"].Gecos, "theirs adds to our user")
		require.Len(t, m.Config.Mounts, 3)
		require.Equal(t, []string{"htop"}, m.Config.Packages)
		require.Equal(t, "UTC", m.Config.Timezone)
	})
	t.Run("config that replaces", func(t *testing.T) {
		t.Parallel()
		m := read(t, "#cloud-config\nmerge_how: list(replace)+dict(replace)+str()\nusers: [default, {name: eve}]\n")
		require.Contains(t, m.Users, "eve")
	})
	t.Run("script", func(t *testing.T) {
		t.Parallel()
		m := read(t, "#!/bin/sh\necho \xff\x00\n")
		require.Equal(t, []string{"text/x-shellscript", "text/cloud-config"}, m.Types)
	})
	t.Run("message", func(t *testing.T) {
		t.Parallel()
		m := read(t, message("Content-Type: text/x-shellscript\n\n#!/bin/sh\ntrue\n--b\nContent-Type: text/cloud-config\nX-Merge-Type: dict(replace)+list(replace)+str()\n\n#cloud-config\nusers: [{name: eve}]"))
		require.Equal(t, []string{"text/x-shellscript", "text/cloud-config", "text/cloud-config"}, m.Types)
		require.Contains(t, m.Users, "eve")
	})
	t.Run("archive", func(t *testing.T) {
		t.Parallel()
		m := read(t, "#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    users: [{name: eve}]\n- |\n  #!/bin/sh\n  true\n")
		require.Contains(t, m.Users, "eve")
	})
	t.Run("patch", func(t *testing.T) {
		t.Parallel()
		m := read(t, "#cloud-config-jsonp\n[{\"op\": \"add\", \"path\": \"/users\", \"value\": [{\"name\": \"eve\"}]}]\n")
		require.Contains(t, m.Users, "eve")
	})
}
