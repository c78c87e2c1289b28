package seed_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/berthage/berthage/internal/integration/guest/seed"
)

const (
	metaData = "instance-id: \"i-1\"\nlocal-hostname: \"from-meta\"\n"
	userData = `#cloud-config
hostname: "web-1"
users: [{"name":"debian","groups":"sudo","shell":"/bin/sh","sudo":"ALL=(ALL) NOPASSWD:ALL","lock_passwd":true,"ssh_authorized_keys":["ssh-ed25519 AAAA someone's \"key\": [1]"]}]
fs_setup: [{"label":"berthage-d1","filesystem":"ext4","device":"/dev/disk/by-id/virtio-berthage-d1","partition":"none","overwrite":false}]
mounts: [["/dev/disk/by-id/virtio-berthage-d1","/data","auto","defaults,nofail","0","2"]]
`
)

func Example() {
	config, err := seed.Parse([]byte(metaData), []byte(userData))
	fmt.Println(config.Hostname, config.Users[0].Name, config.FileSystems[0].Label, config.Mounts[0].Point, err)
	// Output: web-1 debian berthage-d1 /data <nil>
}

func TestParse(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		meta, user string
		want       seed.Config
	}{
		"all that the drivers write": {metaData, userData, seed.Config{
			Hostname:    "web-1",
			Users:       []seed.User{{Name: "debian", Shell: "/bin/sh", Keys: []string{`ssh-ed25519 AAAA someone's "key": [1]`}}},
			FileSystems: []seed.FileSystem{{Label: "berthage-d1", Type: "ext4", Device: "/dev/disk/by-id/virtio-berthage-d1"}},
			Mounts:      []seed.Mount{{Device: "/dev/disk/by-id/virtio-berthage-d1", Point: "/data", Type: "auto"}},
		}},
		"nothing":                    {"", "", seed.Config{}},
		"host name of meta-data":     {metaData, "#cloud-config\n", seed.Config{Hostname: "from-meta"}},
		"meta-data as one JSON text": {`{"instance-id": "i", "local-hostname": "json"}`, "", seed.Config{Hostname: "json"}},
		"plain scalars, carriage returns, no last newline": {"local-hostname:  plain-1 \r\n", "#cloud-config\r\npackage_update: true\r\nhostname: plain-2", seed.Config{Hostname: "plain-2"}},
		"unknown keys in block style are skipped":          {"", "#cloud-config\n# users: 3\nruncmd:\n  - [ls, -l]\n- odd\nwrite_files:\n- path: /x\n  content: |\n    hostname: no\nhostname: yes\n", seed.Config{Hostname: "yes"}},
		"the default user is not one":                      {"", `#cloud-config` + "\n" + `users: ["default", {"name":"a"}]`, seed.Config{Users: []seed.User{{Name: "a"}}}},
		"escapes": {"", "#cloud-config\n" + `hostname: "\u0077eb"` + "\n" + `mounts: [["/dev/vdb","/my \"data\"/\u00e9/../x"]]`, seed.Config{
			Hostname: "web",
			Mounts:   []seed.Mount{{Device: "/dev/vdb", Point: `/my "data"/x`, Type: "auto"}},
		}},
		"mount options that only a boot system understands": {"", "#cloud-config\n" + `mounts: [["/dev/vdb","/a","ext4","ro,defaults,nofail,x-systemd.requires=cloud-init.service,_netdev,comment=cloudconfig,noatime",0,2],["/dev/vdc","/b",null,"noauto"]]`, seed.Config{
			Mounts: []seed.Mount{{Device: "/dev/vdb", Point: "/a", Type: "ext4", Options: []string{"ro", "noatime"}}},
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := seed.Parse([]byte(c.meta), []byte(c.user))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestParseNamesWhatIsWrongAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	const ok = "hostname: kept\n"
	cases := map[string]struct{ line, want string }{
		"not a key":                 {"just words", "line 2: not of the form key: value"},
		"no space after the colon":  {`users:[]`, "line 2: not of the form key: value"},
		"known key in block style":  {"users:\n  - name: x", "users: no value on this line"},
		"broken JSON":               {`mounts: [["/dev/vdb"`, "mounts: unexpected end of JSON input"},
		"not a list":                {`users: {"name":"x"}`, "users: json: cannot unmarshal object"},
		"user without a name":       {`users: [{}]`, `item 1: "" is not a user name`},
		"null user":                 {`users: [null]`, `item 1: "" is not a user name`},
		"user name with a colon":    {`users: [{"name":"x:0:0"}]`, "is not a user name"},
		"user name with a newline":  {`users: [{"name":"x\ny"}]`, "is not a user name"},
		"user twice":                {`users: [{"name":"x"},{"name":"x"}]`, "item 2: user x stands there twice"},
		"shell with a newline":      {`users: [{"name":"x","shell":"/bin/sh\nroot::0:0"}]`, "is not the path of a shell"},
		"key with a newline":        {`users: [{"name":"x","ssh_authorized_keys":["a\nb"]}]`, "SSH key 1 is not one line"},
		"relative device":           {`fs_setup: [{"device":"vdb","filesystem":"ext4"}]`, "is not a device below /dev"},
		"device outside of /dev":    {`fs_setup: [{"device":"/dev/../etc/passwd","filesystem":"ext4"}]`, "is not a device below /dev"},
		"file system not there":     {`fs_setup: [{"device":"/dev/vdb","filesystem":"xfs"}]`, `file system "xfs"; there are ext2, ext3 and ext4`},
		"label too long":            {`fs_setup: [{"device":"/dev/vdb","filesystem":"ext4","label":"12345678901234567"}]`, "at most 16"},
		"mount on the root":         {`mounts: [["/dev/vdb","/x/.."]]`, "is not a place to mount on"},
		"mount on nothing":          {`mounts: [["/dev/vdb"]]`, `"" is not a place to mount on`},
		"swap":                      {`mounts: [["/dev/vdb","none","swap","sw"]]`, `"none" is not a place to mount on`},
		"mount option with a space": {`mounts: [["/dev/vdb","/x","ext4","ro rw"]]`, "is not a mount option"},
		"host name with a slash":    {`hostname: "a/b"`, `"a/b" is not a host name`},
		"host name too long":        {"hostname: " + strings.Repeat("a", 65), "is not a host name"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := seed.Parse(nil, []byte("#cloud-config\n"+c.line+"\n"+ok))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v does not say %q", err, c.want)
			}
			if got.Hostname != "kept" {
				t.Fatalf("the good line was lost: %+v", got)
			}
		})
	}
	for name, c := range map[string]struct{ meta, user, want string }{
		"a script":        {"", "#!/bin/sh\nreboot\n", "the first line is not #cloud-config"},
		"huge user-data":  {"", "#cloud-config\n" + strings.Repeat("#", seed.MaxSize), "user-data: 1048590 bytes, more than 1048576"},
		"huge meta-data":  {strings.Repeat("#", seed.MaxSize+1), "", "meta-data: 1048577 bytes, more than 1048576"},
		"broken metadata": {`{"local-hostname": 3}`, "", "meta-data: json: cannot unmarshal number"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := seed.Parse([]byte(c.meta), []byte(c.user)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v does not say %q", err, c.want)
			}
		})
	}
}

// FuzzParse holds what the guest's boot relies on: whatever the seed says, what comes out cannot leave its line in /etc/passwd, name a
// device elsewhere than below /dev, or be taken for an option by mount.
func FuzzParse(f *testing.F) {
	f.Add(metaData, userData)
	f.Add(`{"local-hostname":"x"}`, "#cloud-config\nusers: [null,3]\nmounts: [[],[null,null]]\nfs_setup: [{}]\n")
	f.Fuzz(func(t *testing.T, meta, user string) {
		config, _ := seed.Parse([]byte(meta), []byte(user))
		for _, u := range config.Users {
			if u.Name == "" || strings.ContainsAny(u.Name+u.Shell, ":\n\x00") || strings.ContainsAny(strings.Join(u.Keys, ""), "\r\n\x00") {
				t.Fatalf("user %q", u)
			}
		}
		for _, fs := range config.FileSystems {
			if !strings.HasPrefix(fs.Device, "/dev/") || strings.Contains(fs.Device, "/../") {
				t.Fatalf("file system %q", fs)
			}
		}
		for _, m := range config.Mounts {
			if !strings.HasPrefix(m.Device, "/dev/") || !strings.HasPrefix(m.Point, "/") || len(m.Point) < 2 || strings.HasPrefix(m.Type, "-") {
				t.Fatalf("mount %q", m)
			}
		}
		if strings.ContainsAny(config.Hostname, " /\n\x00") {
			t.Fatalf("host name %q", config.Hostname)
		}
	})
}
