// Command tinyseed applies a mounted NoCloud seed to the tiny guest: host name, users and their SSH keys, file systems on new disks, mounts.
// The guest's boot script runs it once per boot, as root, after it has made the links in /dev/disk/by-id:
//
//	tinyseed DIR
//
// DIR holds meta-data and user-data. The guest's root lives in memory and is new at every boot, so accounts are simply added; disks
// outlive a boot, so a file system is made only on a disk that holds nothing. Everything that fails is said on standard error
// (the console) and does not keep the rest from being done: a guest that can be reached is easier to repair than one that cannot.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/berthage/berthage/internal/integration/guest/seed"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: tinyseed DIR")
		os.Exit(2)
	}
	failed := false
	report := func(err error) {
		if err != nil {
			failed = true
			fmt.Fprintln(os.Stderr, "tinyseed:", err)
		}
	}
	metaData, err := read(filepath.Join(os.Args[1], "meta-data"))
	report(err)
	userData, err := read(filepath.Join(os.Args[1], "user-data"))
	report(err)
	config, err := seed.Parse(metaData, userData)
	report(err)

	if config.Hostname != "" {
		report(setHostname(config.Hostname))
	}
	for i, user := range config.Users {
		report(addUser(user, 1000+i))
	}
	for _, fs := range config.FileSystems {
		report(makeFileSystem(fs))
	}
	for _, mount := range config.Mounts {
		report(mountDisk(mount))
	}
	if failed {
		os.Exit(1)
	}
}

// read returns a file's contents, one byte more than seed.MaxSize at most: enough for Parse to refuse it.
func read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, seed.MaxSize+1))
}

func setHostname(name string) error {
	return errors.Join(
		syscall.Sethostname([]byte(name)),
		os.WriteFile("/etc/hostname", []byte(name+"\n"), 0o644),
		os.WriteFile("/etc/hosts", []byte("127.0.0.1 localhost\n127.0.1.1 "+name+"\n::1 localhost\n"), 0o644),
	)
}

// addUser creates the account (root exists already) and its authorized_keys, in the modes that dropbear insists on.
func addUser(user seed.User, id int) error {
	home := "/home/" + user.Name
	if user.Name == "root" {
		id, home = 0, "/root"
	} else {
		shell := "/bin/sh"
		if info, err := os.Stat(user.Shell); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			shell = user.Shell
		}
		err := errors.Join(
			appendLine("/etc/passwd", fmt.Sprintf("%s:x:%d:%d::%s:%s", user.Name, id, id, home, shell)),
			appendLine("/etc/group", fmt.Sprintf("%s:x:%d:", user.Name, id)),
			appendLine("/etc/shadow", user.Name+":*:::::::"),
		)
		if err != nil {
			return fmt.Errorf("adding user %s: %w", user.Name, err)
		}
	}
	keys := filepath.Join(home, ".ssh", "authorized_keys")
	err := errors.Join(
		os.MkdirAll(filepath.Dir(keys), 0o700),
		os.WriteFile(keys, []byte(strings.Join(user.Keys, "\n")+"\n"), 0o600),
		os.Chmod(home, 0o755),
		os.Chown(home, id, id),
		os.Chown(filepath.Dir(keys), id, id),
		os.Chown(keys, id, id),
	)
	if err != nil {
		return fmt.Errorf("adding the SSH keys of user %s: %w", user.Name, err)
	}
	return nil
}

func appendLine(name, line string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, line+"\n")
	return errors.Join(err, f.Close())
}

func makeFileSystem(fs seed.FileSystem) error {
	blank, err := isBlank(fs.Device)
	if err != nil {
		return fmt.Errorf("looking for a file system: %w", err)
	}
	if !blank {
		return nil
	}
	return run("mke2fs", "-q", "-F", "-t", fs.Type, "-L", fs.Label, fs.Device)
}

// isBlank opens the device and asks seed.IsBlank.
func isBlank(device string) (bool, error) {
	f, err := os.Open(device)
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	blank, err := seed.IsBlank(f, size)
	if err != nil {
		return false, fmt.Errorf("%s: %w", device, err)
	}
	return blank, nil
}

func mountDisk(m seed.Mount) error {
	if err := os.MkdirAll(m.Point, 0o755); err != nil {
		return err
	}
	args := []string{"-t", m.Type}
	if len(m.Options) > 0 {
		args = append(args, "-o", strings.Join(m.Options, ","))
	}
	return run("mount", append(args, m.Device, m.Point)...)
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w: %s", name, args, err, bytes.TrimSpace(out))
	}
	return nil
}
