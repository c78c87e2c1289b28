package cloudinit_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdomanski/iso9660"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/cloudinit"
	"github.com/berthage/berthage/pool"
)

var update = flag.Bool("update", false, "write the golden files anew")

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"

func seed() cloudinit.Seed {
	return cloudinit.Seed{
		InstanceID: "i0123456789abcdefghijklmn-0",
		Hostname:   "web-1",
		User:       "debian",
		SSHKeys:    []string{key + " <ops> & \"co\": 'é'"},
		Disks:      []cloudinit.Disk{{Serial: "berthage-d1", Mount: "/data"}, {Serial: "berthage-d2", Mount: "/srv/more"}},
		MACs:       []string{"02:00:5e:00:53:01"},
	}
}

func files(t testing.TB, s cloudinit.Seed) map[string]string {
	t.Helper()
	list, err := s.Files()
	require.NoError(t, err)
	out := make(map[string]string)
	for _, f := range list {
		out[f.Name] = string(f.Data)
	}
	return out
}

func TestGolden(t *testing.T) {
	t.Parallel()
	twoCards := seed()
	twoCards.MACs = append(twoCards.MACs, "02:00:5e:00:53:02")
	bare := seed()
	bare.Disks, bare.SSHKeys, bare.MACs = nil, nil, nil
	with := func(userData string) cloudinit.Seed {
		s := seed()
		s.UserData = userData
		return s
	}
	for name, s := range map[string]cloudinit.Seed{
		"plain":     seed(),
		"bare":      bare,
		"two-cards": twoCards,
		"config":    with("#cloud-config\nusers:\n- name: eve\npackages: [htop]\n"),
		"script":    with("#!/bin/sh\necho 'users: none' > /hello\n"),
		"mime": with("Content-Type: multipart/mixed; boundary=\"xyz\"\nMIME-Version: 1.0\n\n--xyz\nContent-Type: text/x-shellscript\n\n" +
			"#!/bin/sh\ntrue\n--xyz--\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got bytes.Buffer
			list, err := s.Files()
			require.NoError(t, err)
			for _, f := range list {
				got.WriteString("=== " + f.Name + "\n")
				got.Write(f.Data)
			}
			path := filepath.Join("testdata", name+".golden")
			if *update {
				require.NoError(t, os.WriteFile(path, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
		})
	}
}

// TestLineForm holds the form that readers without YAML rely on: after the first line, one key and one JSON
// value on each line.
func TestLineForm(t *testing.T) {
	t.Parallel()
	got := files(t, seed())
	require.NotContains(t, got, "network-config")
	config := settings(t, got["user-data"])
	require.JSONEq(t, `["debian"]`, pick(t, config["users"], "name"))
	require.JSONEq(t, `[["/dev/disk/by-id/virtio-berthage-d1","/data","auto","defaults,nofail","0","2"],
		["/dev/disk/by-id/virtio-berthage-d2","/srv/more","auto","defaults,nofail","0","2"]]`, string(config["mounts"]))
	require.JSONEq(t, `["/dev/disk/by-id/virtio-berthage-d1","/dev/disk/by-id/virtio-berthage-d2"]`, pick(t, config["fs_setup"], "device"))
	require.NotContains(t, config, "merge_how")
	meta := settings(t, "#cloud-config\n"+got["meta-data"])
	require.Equal(t, `"i0123456789abcdefghijklmn-0"`, string(meta["instance-id"]))
	require.Equal(t, `"web-1"`, string(meta["local-hostname"]))
}

// A disk that comes with a file system is mounted by its label and not formatted.
func TestDiskWithALabel(t *testing.T) {
	t.Parallel()
	s := seed()
	s.Disks = []cloudinit.Disk{{Label: "ephemeral0", Mount: "/data"}}
	config := settings(t, files(t, s)["user-data"])
	require.JSONEq(t, `[["/dev/disk/by-label/ephemeral0","/data","auto","defaults,nofail","0","2"]]`, string(config["mounts"]))
	require.NotContains(t, config, "fs_setup")
	for _, bad := range []cloudinit.Disk{{Label: "a", Serial: "a", Mount: "/data"}, {Label: "a/b", Mount: "/data"}, {Mount: "/data"}} {
		s.Disks = []cloudinit.Disk{bad}
		_, err := s.Files()
		require.ErrorIs(t, err, pool.ErrInvalid)
	}
}

// settings parses a cloud-config in the form of TestLineForm.
func settings(t testing.TB, config string) map[string]json.RawMessage {
	t.Helper()
	rest, ok := strings.CutPrefix(config, "#cloud-config\n")
	require.True(t, ok, "%q", config)
	out := make(map[string]json.RawMessage)
	for line := range strings.Lines(rest) {
		require.True(t, strings.HasSuffix(line, "\n"))
		require.NotContains(t, strings.TrimSuffix(line, "\n"), "\r")
		key, value, ok := strings.Cut(line, ": ")
		require.True(t, ok, "%q", line)
		require.NotContains(t, out, key)
		require.True(t, json.Valid([]byte(value)), "%q", value)
		for _, r := range value {
			require.Less(t, r, rune(127))
		}
		out[key] = json.RawMessage(strings.TrimSpace(value))
	}
	return out
}

// pick returns one field of every object in a list, as JSON.
func pick(t testing.TB, list json.RawMessage, field string) string {
	t.Helper()
	var objects []map[string]any
	require.NoError(t, json.Unmarshal(list, &objects))
	picked := []any{}
	for _, o := range objects {
		picked = append(picked, o[field])
	}
	b, err := json.Marshal(picked)
	require.NoError(t, err)
	return string(b)
}

// parts returns the caller's part of an archive as bytes, decoded unless it is a message, and ours.
func parts(t testing.TB, archive string) (theirs, ours string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(archive))
	require.NoError(t, err)
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/mixed", kind)
	r := multipart.NewReader(m.Body, params["boundary"])
	var out []string
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		b, err := io.ReadAll(p)
		require.NoError(t, err)
		if p.Header.Get("Content-Transfer-Encoding") == "base64" && p.FileName() == "user-data" {
			b, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(string(b), "\n", ""))
			require.NoError(t, err)
		}
		out = append(out, string(b))
	}
	require.Len(t, out, 2)
	return out[0], out[1] + "\n" // the line end before a boundary belongs to the boundary
}

func TestUserDataBesideOurs(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"#cloud-config\nusers:\n  - name: eve\n",
		"#cloud-config\nusers: # two\n\n# comment\n- default\n- {name: eve}\nmounts: []\n",
		"#cloud-config\n{\"users\": [{\"name\": \"eve\"}]}",
		"#!/bin/bash\necho \x00\xff\r\nusers: [{\"name\":\"mallory\"}]\n--==berthage--\n",
		"## template: jinja\n#cloud-config\nusers: {{ v }}\n",
		"#include\nhttps://example.org/more\n",
		"#cloud-boothook\n#!/bin/sh\ntrue\n",
		"#cloud-config-archive\n- type: text/cloud-config\n",
	} {
		s := seed()
		s.UserData = text
		theirs, ours := parts(t, files(t, s)["user-data"])
		require.Equal(t, text, theirs)
		config := settings(t, ours)
		require.Contains(t, config, "merge_how")
		delete(config, "merge_how")
		require.Equal(t, settings(t, files(t, seed())["user-data"]), config)
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	message := func(part string) string {
		return "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n" + part + "\n--b--\n"
	}
	for name, change := range map[string]func(*cloudinit.Seed){
		"no instance id":     func(s *cloudinit.Seed) { s.InstanceID = "" },
		"two lines of id":    func(s *cloudinit.Seed) { s.InstanceID = "a\nlocal-hostname: b" },
		"long id":            func(s *cloudinit.Seed) { s.InstanceID = strings.Repeat("a", 256) },
		"host name":          func(s *cloudinit.Seed) { s.Hostname = "a: b" },
		"no user":            func(s *cloudinit.Seed) { s.User = "" },
		"user":               func(s *cloudinit.Seed) { s.User = "a\",\"sudo\":\"" },
		"the image's user":   func(s *cloudinit.Seed) { s.User = "default" },
		"key with options":   func(s *cloudinit.Seed) { s.SSHKeys = []string{"command=\"x\" " + key} },
		"key of two lines":   func(s *cloudinit.Seed) { s.SSHKeys = []string{key + "\n" + key} },
		"too many keys":      func(s *cloudinit.Seed) { s.SSHKeys = slicesOf(65, key) },
		"mount":              func(s *cloudinit.Seed) { s.Disks[0].Mount = "data" },
		"serial":             func(s *cloudinit.Seed) { s.Disks[0].Serial = "../../etc" },
		"long serial":        func(s *cloudinit.Seed) { s.Disks[0].Serial = strings.Repeat("a", 17) },
		"serial twice":       func(s *cloudinit.Seed) { s.Disks[1].Serial = s.Disks[0].Serial },
		"too many disks":     func(s *cloudinit.Seed) { s.Disks = make([]cloudinit.Disk, 17) },
		"mac":                func(s *cloudinit.Seed) { s.MACs = []string{"02:00:5E:00:53:01"} },
		"infiniband mac":     func(s *cloudinit.Seed) { s.MACs = []string{"02:00:5e:00:53:01:02:03"} },
		"user-data too long": func(s *cloudinit.Seed) { s.UserData = "#!" + strings.Repeat("a", 64<<10-1) },
		"unknown user-data":  func(s *cloudinit.Seed) { s.UserData = "users: []\n" },
		"users: name":        func(s *cloudinit.Seed) { s.UserData = "#cloud-config\nusers: eve,bob\n" },
		"users of a mapping": func(s *cloudinit.Seed) { s.UserData = "#cloud-config\nusers:\n  eve: {}\n" },
		"no users":           func(s *cloudinit.Seed) { s.UserData = "#cloud-config\nusers:\npackages: [htop]\n" },
		"users at the end":   func(s *cloudinit.Seed) { s.UserData = "#cloud-config\nusers:" },
		"quoted users":       func(s *cloudinit.Seed) { s.UserData = "#cloud-config\n\"users\": ~\n" },
		"mounts":             func(s *cloudinit.Seed) { s.UserData = "#cloud-config\nmounts: null\n" },
		"users in JSON":      func(s *cloudinit.Seed) { s.UserData = "#cloud-config\n{\"users\": {}}\n" },
		"flow but not JSON":  func(s *cloudinit.Seed) { s.UserData = "#cloud-config\n{users: []}\n" },
		"users in a part":    func(s *cloudinit.Seed) { s.UserData = message("Content-Type: text/cloud-config\n\nusers: eve") },
		"users in base64": func(s *cloudinit.Seed) {
			s.UserData = message("Content-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte("#cloud-config\nusers: eve")))
		},
		"users in quoted": func(s *cloudinit.Seed) {
			s.UserData = message("Content-Transfer-Encoding: quoted-printable\n\n#cloud-config\nus=65rs: eve")
		},
		"part not closed": func(s *cloudinit.Seed) {
			s.UserData = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx"
		},
		"no boundary":         func(s *cloudinit.Seed) { s.UserData = "MIME-Version: 1.0\nContent-Type: multipart/mixed\n\n--b\n\nx" },
		"unreadable type":     func(s *cloudinit.Seed) { s.UserData = "MIME-Version: 1.0\nContent-Type: ;;\n\nx" },
		"part is not base64":  func(s *cloudinit.Seed) { s.UserData = message("Content-Transfer-Encoding: base64\n\n***") },
		"messages in a nest":  func(s *cloudinit.Seed) { s.UserData = nest(6) },
		"part without closed": func(s *cloudinit.Seed) { s.UserData = message("Content-Type: multipart/mixed; boundary=c\n\n--c") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := seed()
			change(&s)
			list, err := s.Files()
			require.ErrorIs(t, err, pool.ErrInvalid)
			require.Nil(t, list)
			require.Contains(t, err.Error(), "seed")
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func slicesOf(n int, s string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

func nest(depth int) string {
	head := "Content-Type: multipart/mixed; boundary=b" + strings.Repeat("b", depth) + "\n"
	if depth == 1 {
		return head + "\n--bb\n\nx\n--bb--\n"
	}
	b := "b" + strings.Repeat("b", depth)
	mime := ""
	if depth == 6 {
		mime = "MIME-Version: 1.0\n"
	}
	return mime + head + "\n--" + b + "\n" + nest(depth-1) + "\n--" + b + "--\n"
}

func TestISO(t *testing.T) {
	t.Parallel()
	s := seed()
	s.MACs = append(s.MACs, "02:00:5e:00:53:02")
	s.UserData = "#!/bin/sh\n" + strings.Repeat("# long\n", 5000)
	list, err := s.Files()
	require.NoError(t, err)
	b, err := cloudinit.ISO(list)
	require.NoError(t, err)
	require.Zero(t, len(b)%2048)

	image, err := iso9660.OpenImage(bytes.NewReader(b))
	require.NoError(t, err)
	label, err := image.Label()
	require.NoError(t, err)
	require.Equal(t, "cidata", label)
	root, err := image.RootDir()
	require.NoError(t, err)
	children, err := root.GetChildren()
	require.NoError(t, err)
	got := make(map[string]string)
	for _, c := range children {
		data, err := io.ReadAll(c.Reader())
		require.NoError(t, err)
		got[c.Name()] = string(data)
	}
	require.Equal(t, files(t, s), got)
}

// FuzzFiles holds for any input: refused as invalid, or files from which exactly what was asked comes back.
func FuzzFiles(f *testing.F) {
	s := seed()
	f.Add(s.InstanceID, s.Hostname, s.User, s.SSHKeys[0], s.Disks[0].Mount, "#!/bin/sh\n")
	f.Add("i", "web-1", "debian", key, "/d", "#cloud-config\nusers: [a]\n--==berthage\n")
	f.Add("i", "web-1", "debian", key, "/d", "MIME-Version: 1\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n")
	f.Fuzz(func(t *testing.T, id, host, user, key, mount, userData string) {
		s := cloudinit.Seed{InstanceID: id, Hostname: host, User: user, SSHKeys: []string{key}, UserData: userData,
			Disks: []cloudinit.Disk{{Serial: "berthage-d1", Mount: mount}}, MACs: []string{"02:00:5e:00:53:01", "02:00:5e:00:53:02"}}
		list, err := s.Files()
		if err != nil {
			require.ErrorIs(t, err, pool.ErrInvalid)
			return
		}
		require.Len(t, list, 3)
		ours := string(list[1].Data)
		if strings.TrimSpace(userData) != "" {
			_, ours = parts(t, ours)
		}
		config := settings(t, ours)
		require.Equal(t, `["`+user+`"]`, pick(t, config["users"], "name"))
		var mounts [][]string
		require.NoError(t, json.Unmarshal(config["mounts"], &mounts))
		require.Equal(t, mount, mounts[0][1])
		var got string
		require.NoError(t, json.Unmarshal(settings(t, "#cloud-config\n"+string(list[0].Data))["instance-id"], &got))
		require.Equal(t, id, got)
	})
}

// Where a hypervisor has a metadata service the host name is in the user-data, and disks are where it says.
func TestCloudUserData(t *testing.T) {
	t.Parallel()
	s := seed()
	s.Disks[0].Device = "/dev/disk/by-id/scsi-0HC_Volume_42"
	s.UserData = "#cloud-config\nhostname: theirs\n"
	b, err := s.CloudUserData()
	require.NoError(t, err)
	require.Contains(t, string(b), "hostname: \"web-1\"\n")
	require.Contains(t, string(b), `["/dev/disk/by-id/scsi-0HC_Volume_42","/data"`)
	require.Contains(t, string(b), `["/dev/disk/by-id/virtio-berthage-d2","/srv/more"`)
	for _, device := range []string{"sdb", "/etc/passwd", "/dev/../etc", "/dev/a b", "/dev/\"x"} {
		s.Disks[0].Device = device
		_, err := s.CloudUserData()
		require.ErrorIs(t, err, pool.ErrInvalid, device)
		_, err = s.Files()
		require.ErrorIs(t, err, pool.ErrInvalid, device)
	}
}
