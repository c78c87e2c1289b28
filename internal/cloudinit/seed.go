// Package cloudinit writes what a virtual machine reads at its first boot: a seed of cloud-init's NoCloud
// data source, as files and as the ISO image that carries them. Drivers whose hypervisor offers no metadata
// service attach it as a disk.
//
// What the SDK asks for is a cloud-config of one line per top-level key, whose value is JSON, which YAML
// calls flow style. All of it is encoded, none pasted together. User-data of the caller's own travels beside
// it in a MIME archive, in which cloud-init merges the two: lists are joined with ours first, and of
// anything else the caller's wins, so that user-data can add to the users, disks and keys asked for and
// cannot lose them.
package cloudinit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/berthage/berthage/pool"
)

// Seed is what the first boot is to set up.
type Seed struct {
	InstanceID string   // a new one makes cloud-init run again; one line of printable ASCII, at most 255 bytes
	Hostname   string   // a DNS label
	User       string   // login with the right to become root, without a password
	SSHKeys    []string // authorized_keys lines of User
	UserData   string   // of the caller; see Files
	Disks      []Disk
	MACs       []string // of the interfaces; with more than one, each is told to use DHCP
}

// Disk is an empty disk that gets an ext4 file system, unless it holds one already, and is mounted. It is
// found by its virtio serial or by its Device, so that the order of disks does not matter, or by the label of a file
// system that it comes with.
type Disk struct {
	Serial string // 1 to 16 letters, digits and hyphens; also the label of the file system
	Mount  string // absolute path
	Device string // a stable path below /dev; empty: that of the virtio serial
	Label  string // of the file system that is there, like a serial; instead of Serial and Device
}

// File is one file of the seed.
type File struct {
	Name string
	Data []byte
}

// MaxDisks is the largest number of disks in a seed.
const MaxDisks = 16

// Files returns the files of the seed: meta-data, user-data, and network-config when there are several
// interfaces. cloud-init sets up the first interface by itself.
//
// UserData is anything that cloud-init knows by its first line (a cloud-config, a script, an include file,
// ...) or a MIME message. What is none of these is pool.ErrInvalid, as is a cloud-config in which users,
// mounts or fs_setup is not a list, because cloud-init would then drop what stands in the seed.
func (s Seed) Files() ([]File, error) {
	if err := s.valid(); err != nil {
		return nil, pool.InField("seed", err)
	}
	metaData, err := lines(setting{"instance-id", s.InstanceID}, setting{"local-hostname", s.Hostname})
	if err != nil {
		return nil, err
	}
	userData, err := combine(s.config(), s.UserData)
	if err != nil {
		return nil, pool.InField("seed", err)
	}
	files := []File{{"meta-data", metaData}, {"user-data", userData}}
	if len(s.MACs) > 1 {
		networkConfig, err := s.networkConfig()
		if err != nil {
			return nil, err
		}
		files = append(files, File{"network-config", networkConfig})
	}
	return files, nil
}

// CloudUserData returns the user-data of a machine whose hypervisor has a metadata service of its own, which tells
// the instance id and sets up the interfaces, and whose host name is not s's: the host name is in it.
func (s Seed) CloudUserData() ([]byte, error) {
	if err := s.valid(); err != nil {
		return nil, pool.InField("seed", err)
	}
	userData, err := combine(append([]setting{{"hostname", s.Hostname}}, s.config()...), s.UserData)
	return userData, pool.InField("seed", err)
}

func (s Seed) valid() error {
	if s.InstanceID == "" || pool.ValidText(s.InstanceID, 255) != nil || !ascii(s.InstanceID) {
		return invalid("instance_id", s.InstanceID, "one line of printable ASCII, 1 to 255 bytes")
	}
	if err := pool.ValidHostname(s.Hostname); err != nil {
		return pool.InField("hostname", err)
	}
	if err := pool.ValidUser(s.User); err != nil {
		return err
	}
	if s.User == "default" {
		return invalid("user", s.User, "another name; cloud-init takes this one for the image's own user")
	}
	if len(s.SSHKeys) > 64 {
		return invalid("ssh_keys", strconv.Itoa(len(s.SSHKeys)), "at most 64 keys")
	}
	for i, k := range s.SSHKeys {
		if err := pool.ValidSSHKey(k); err != nil {
			return pool.InField("["+strconv.Itoa(i)+"]", err)
		}
	}
	if len(s.UserData) > pool.MaxUserData {
		return invalid("user_data", strconv.Itoa(len(s.UserData)), "at most 65536 bytes")
	}
	if len(s.Disks) > MaxDisks {
		return invalid("disks", strconv.Itoa(len(s.Disks)), "at most 16")
	}
	serials := make(map[string]bool)
	for i, d := range s.Disks {
		at := "disks[" + strconv.Itoa(i) + "]"
		if d.Label != "" && d.Serial+d.Device != "" {
			return invalid(at+".label", d.Label, "a label, or a serial and perhaps a device")
		}
		name := d.Serial + d.Label
		if !validSerial(name) || serials[name] {
			return invalid(at+".serial", name, "1 to 16 letters, digits and hyphens, each serial or label once")
		}
		serials[name] = true
		if err := pool.ValidMountPoint(d.Mount); err != nil {
			return pool.InField(at, err)
		}
		if d.Device != "" && (pool.ValidMountPoint(d.Device) != nil || !strings.HasPrefix(d.Device, "/dev/")) {
			return invalid(at+".device", d.Device, "a path below /dev of letters, digits, '.', '_', '-'")
		}
	}
	if len(s.MACs) > 64 {
		return invalid("macs", strconv.Itoa(len(s.MACs)), "at most 64")
	}
	for i, m := range s.MACs {
		if a, err := net.ParseMAC(m); err != nil || len(a) != 6 || a.String() != m {
			return invalid("macs["+strconv.Itoa(i)+"]", m, "six bytes such as 02:00:5e:00:53:01, in lower case")
		}
	}
	return nil
}

func validSerial(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 16
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 126 })
}

func invalid(field, value, want string) error {
	return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
}

// The entries of the cloud-config that are objects, in the order in which they are written.
type (
	user struct {
		Name         string   `json:"name"`
		Shell        string   `json:"shell"`
		Sudo         string   `json:"sudo"`
		LockPassword bool     `json:"lock_passwd"`
		Keys         []string `json:"ssh_authorized_keys,omitempty"`
	}
	fileSystem struct {
		Label     string `json:"label"`
		Type      string `json:"filesystem"`
		Device    string `json:"device"`
		Partition string `json:"partition"`
		Overwrite bool   `json:"overwrite"`
	}
	merger struct {
		Name     string   `json:"name"`
		Settings []string `json:"settings"`
	}
)

// config returns what the SDK asks for, without the first line and without merge_how.
func (s Seed) config() []setting {
	u := user{Name: s.User, Shell: "/bin/bash", Sudo: "ALL=(ALL) NOPASSWD:ALL", LockPassword: true}
	for _, k := range s.SSHKeys {
		u.Keys = append(u.Keys, asciiKey(k))
	}
	out := []setting{{"users", []user{u}}}
	if len(s.Disks) == 0 {
		return out
	}
	var setup []fileSystem
	var mounts [][]string
	for _, d := range s.Disks {
		device := d.Device
		switch {
		case d.Label != "":
			device = "/dev/disk/by-label/" + d.Label
		case device == "":
			device = "/dev/disk/by-id/virtio-" + d.Serial
		}
		if d.Label == "" {
			setup = append(setup, fileSystem{Label: d.Serial, Type: "ext4", Device: device, Partition: "auto"})
		}
		mounts = append(mounts, []string{device, d.Mount, "auto", "defaults,nofail", "0", "2"})
	}
	if len(setup) > 0 {
		out = append(out, setting{"fs_setup", setup})
	}
	return append(out, setting{"mounts", mounts})
}

// mergeHow lets what stands in a part join what earlier parts have set: lists before theirs, because of two
// users of one name cloud-init takes the first one's keys; of all else theirs stays.
func mergeHow() setting {
	return setting{"merge_how", []merger{
		{"list", []string{"prepend"}},
		{"dict", []string{"no_replace", "recurse_list"}},
		{"str", []string{}},
	}}
}

// asciiKey returns the key with a comment of ASCII only: MIME parts of 7 bits and YAML's escapes know no
// other characters in common. The comment means nothing to SSH.
func asciiKey(key string) string {
	return strings.Map(func(r rune) rune {
		if r > 126 {
			return '?'
		}
		return r
	}, key)
}

// networkConfig asks for DHCP on all interfaces; those after the first give later routes.
func (s Seed) networkConfig() ([]byte, error) {
	type match struct {
		MAC string `json:"macaddress"`
	}
	type overrides struct {
		Metric int `json:"route-metric"`
	}
	type ethernet struct {
		Match     match     `json:"match"`
		DHCP4     bool      `json:"dhcp4"`
		Overrides overrides `json:"dhcp4-overrides"`
	}
	cards := make(map[string]ethernet) // encoding/json sorts the keys
	for i, m := range s.MACs {
		cards["net"+strconv.Itoa(100 + i)[1:]] = ethernet{match{m}, true, overrides{100 + i}}
	}
	return lines(setting{"version", 2}, setting{"ethernets", cards})
}

// setting is one top-level key.
type setting struct {
	key   string // one of this package's own
	value any
}

// lines writes the settings, one a line.
func lines(settings ...setting) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, s := range settings {
		b.WriteString(s.key + ": ")
		if err := enc.Encode(s.value); err != nil { // ends the line
			return nil, fmt.Errorf("write %s of the seed: %w", s.key, err)
		}
	}
	return b.Bytes(), nil
}
