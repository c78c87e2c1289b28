// Package seed reads the NoCloud seed of a virtual machine, as far as the tiny test guest needs it: the host name, the users with
// their SSH keys, the file systems to make and where to mount them.
//
// It is the guest's side of what the hypervisor drivers write. Real images read the same two files with cloud-init; the tiny guest has
// no Python and no YAML reader, so this package reads the subset that the drivers write: one line per top-level key, its value in
// JSON (which YAML calls flow style) or a plain scalar. Keys it does not know are left alone, as cloud-init does.
// IsBlank says whether a disk is blank, which decides whether the guest may make a file system on it.
package seed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
)

// MaxSize is the largest file, in bytes, that Parse reads. The drivers' own limit for user-data is far below it.
const MaxSize = 1 << 20

// Config is what a seed asks of the guest.
type Config struct {
	Hostname    string
	Users       []User
	FileSystems []FileSystem
	Mounts      []Mount
}

// User is an account to create. Groups, sudo and passwords are not read: the tiny guest has keys only.
type User struct {
	Name  string   `json:"name"`
	Shell string   `json:"shell"` // empty: the guest's own
	Keys  []string `json:"ssh_authorized_keys"`
}

// FileSystem is one entry of fs_setup: a file system on a whole disk. A disk that holds data is never formatted, whatever the entry says.
type FileSystem struct {
	Label  string `json:"label"`
	Type   string `json:"filesystem"` // ext2, ext3 or ext4
	Device string `json:"device"`     // below /dev
}

// Mount is one entry of mounts, in the order of fstab(5) without the last two fields.
type Mount struct {
	Device  string   // below /dev
	Point   string   // absolute and clean
	Type    string   // "auto" when the entry names none
	Options []string // for mount(8); words that only a boot system understands (defaults, nofail, x-...) are left out
}

// Parse reads the contents of the files meta-data and user-data. The host name of user-data wins over that of meta-data, as in
// cloud-init. A part that cannot be read is left out of the Config and named in the error; the other parts are valid all the same, so
// that a guest can come up and say on its console what was wrong.
func Parse(metaData, userData []byte) (Config, error) {
	var c Config
	err := errors.Join(c.readMetaData(metaData), c.readUserData(userData))
	return c, err
}

func (c *Config) readMetaData(data []byte) error {
	if len(data) > MaxSize {
		return fmt.Errorf("meta-data: %d bytes, more than %d", len(data), MaxSize)
	}
	if trimmed := bytes.TrimSpace(data); bytes.HasPrefix(trimmed, []byte("{")) {
		var m struct {
			Hostname *string `json:"local-hostname"`
		}
		if err := json.Unmarshal(trimmed, &m); err != nil {
			return fmt.Errorf("meta-data: %w", err)
		}
		if m.Hostname == nil {
			return nil
		}
		return wrap("meta-data: local-hostname", c.setHostname(*m.Hostname))
	}
	return eachLine("meta-data", data, func(key, value string) error {
		if key != "local-hostname" {
			return nil
		}
		return c.readHostname(value)
	})
}

func (c *Config) readUserData(data []byte) error {
	if len(data) > MaxSize {
		return fmt.Errorf("user-data: %d bytes, more than %d", len(data), MaxSize)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	if first, _, _ := bytes.Cut(data, []byte("\n")); string(bytes.TrimRight(first, " \t\r")) != "#cloud-config" {
		return errors.New("user-data: the first line is not #cloud-config; nothing else is understood here")
	}
	return eachLine("user-data", data, func(key, value string) error {
		switch key {
		case "hostname":
			return c.readHostname(value)
		case "users":
			return c.readUsers(value)
		case "fs_setup":
			return c.readFileSystems(value)
		case "mounts":
			return c.readMounts(value)
		}
		return nil
	})
}

// eachLine calls read for every top-level `key: value`. Indented lines and list items belong to a key in block style and are skipped
// with it; a known key in block style has an empty value, which its reader refuses.
func eachLine(file string, data []byte, read func(key, value string) error) error {
	var errs []error
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" || strings.ContainsRune("# \t-", rune(line[0])) {
			continue
		}
		key, value, found := strings.Cut(line, ":")
		if !found || !isMadeOf(key, 64, "_-") || strings.TrimLeft(value, " \t") == value && value != "" {
			errs = append(errs, fmt.Errorf("%s: line %d: not of the form key: value", file, n))
			continue
		}
		if err := read(key, strings.TrimSpace(value)); err != nil {
			errs = append(errs, fmt.Errorf("%s: line %d: %s: %w", file, n, key, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) readHostname(value string) error {
	if strings.HasPrefix(value, `"`) {
		var s string
		if err := json.Unmarshal([]byte(value), &s); err != nil {
			return err
		}
		value = s
	}
	return c.setHostname(value)
}

func (c *Config) setHostname(name string) error {
	if !isHostname(name) {
		return fmt.Errorf("%q is not a host name", name)
	}
	c.Hostname = name
	return nil
}

func (c *Config) readUsers(value string) error {
	c.Users = nil // a repeated key replaces the earlier one, as YAML readers do
	return eachItem(value, func(item json.RawMessage) error {
		if bytes.HasPrefix(item, []byte(`"`)) {
			return nil // "default": the distribution's own user, of which there is none here
		}
		var u User
		if err := json.Unmarshal(item, &u); err != nil {
			return err
		}
		if !isUserName(u.Name) {
			return fmt.Errorf("%q is not a user name", u.Name)
		}
		for _, other := range c.Users {
			if other.Name == u.Name {
				return fmt.Errorf("user %s stands there twice", u.Name)
			}
		}
		if u.Shell != "" && (!path.IsAbs(u.Shell) || strings.Contains(u.Shell, ":") || strings.ContainsFunc(u.Shell, isControl)) {
			return fmt.Errorf("user %s: %q is not the path of a shell", u.Name, u.Shell)
		}
		for i, key := range u.Keys {
			key = strings.TrimSpace(key)
			if key == "" || strings.ContainsFunc(key, isControl) {
				return fmt.Errorf("user %s: SSH key %d is not one line", u.Name, i+1)
			}
			u.Keys[i] = key
		}
		c.Users = append(c.Users, u)
		return nil
	})
}

func (c *Config) readFileSystems(value string) error {
	c.FileSystems = nil
	return eachItem(value, func(item json.RawMessage) error {
		var f FileSystem
		if err := json.Unmarshal(item, &f); err != nil {
			return err
		}
		switch {
		case !isDevice(f.Device):
			return fmt.Errorf("%q is not a device below /dev", f.Device)
		case f.Type != "ext2" && f.Type != "ext3" && f.Type != "ext4":
			return fmt.Errorf("%s: file system %q; there are ext2, ext3 and ext4", f.Device, f.Type)
		case len(f.Label) > 16 || strings.ContainsFunc(f.Label, isNotVisible):
			return fmt.Errorf("%s: label %q; a label has at most 16 visible ASCII characters", f.Device, f.Label)
		}
		c.FileSystems = append(c.FileSystems, f)
		return nil
	})
}

func (c *Config) readMounts(value string) error {
	c.Mounts = nil
	return eachItem(value, func(item json.RawMessage) error {
		var fields []any
		if err := json.Unmarshal(item, &fields); err != nil {
			return err
		}
		at := func(i int, missing string) string {
			if i >= len(fields) || fields[i] == nil {
				return missing
			}
			return fmt.Sprint(fields[i])
		}
		m := Mount{Device: at(0, ""), Point: at(1, ""), Type: at(2, "auto")}
		switch {
		case !isDevice(m.Device):
			return fmt.Errorf("%q is not a device below /dev", m.Device)
		case !path.IsAbs(m.Point) || path.Clean(m.Point) == "/" || strings.ContainsRune(m.Point, 0):
			return fmt.Errorf("%s: %q is not a place to mount on", m.Device, m.Point)
		case !isMadeOf(m.Type, 32, "_."):
			return fmt.Errorf("%s: %q is not a file system type", m.Device, m.Type)
		}
		m.Point = path.Clean(m.Point)
		for option := range strings.SplitSeq(at(3, "defaults"), ",") {
			switch {
			case option == "", option == "defaults", option == "auto", option == "nofail", option == "_netdev",
				strings.HasPrefix(option, "x-"), strings.HasPrefix(option, "comment="):
				continue
			case option == "noauto":
				return nil
			case !isMadeOf(option, 256, "_.:=/+-"):
				return fmt.Errorf("%s: %q is not a mount option", m.Device, option)
			}
			m.Options = append(m.Options, option)
		}
		c.Mounts = append(c.Mounts, m)
		return nil
	})
}

// eachItem calls read for every item of the JSON list in value. A bad item does not keep the others from being read.
func eachItem(value string, read func(json.RawMessage) error) error {
	if value == "" {
		return errors.New("no value on this line; block style is not understood here, write the list as JSON")
	}
	var items []json.RawMessage
	if err := json.Unmarshal([]byte(value), &items); err != nil {
		return err
	}
	var errs []error
	for i, item := range items {
		errs = append(errs, wrap(fmt.Sprintf("item %d", i+1), read(item)))
	}
	return errors.Join(errs...)
}

func isDevice(name string) bool {
	return strings.HasPrefix(name, "/dev/") && path.Clean(name) == name && !strings.ContainsFunc(name, isNotVisible)
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func isNotVisible(r rune) bool { return r <= ' ' || r >= 0x7f }

// isHostname allows what Linux and DNS do: letters, digits, hyphens and dots, no hyphen or dot at the ends, 64 bytes in all.
func isHostname(s string) bool {
	return isMadeOf(s, 64, ".-") && strings.Trim(s, ".-") == s
}

// isUserName allows the portable names: lower case, not beginning with a digit or hyphen, at most 32 bytes.
func isUserName(s string) bool {
	return isMadeOf(s, 32, "_-") && strings.ToLower(s) == s && !strings.ContainsRune("-0123456789", rune(s[0]))
}

// isMadeOf reports whether s is 1 to limit bytes of ASCII letters, digits and the bytes in others.
func isMadeOf(s string, limit int, others string) bool {
	ok := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(others, r)
	}
	return s != "" && len(s) <= limit && strings.TrimLeftFunc(s, ok) == ""
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
