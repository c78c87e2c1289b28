// Package testbed starts on one Debian machine what the demonstrations of this module drive: libvirt daemons with QEMU, the tiny guest, and
// berthd, the program itself, which is talked to over its REST API. Nothing in it knows what is demonstrated.
//
// Its functions run the scripts of this module and are to be called with the module's directory as the working directory, as `go run -C` does.
package testbed

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Say prints progress; arguments are those of fmt.Printf.
type Say func(format string, args ...any)

// Command runs a program and returns its standard output; an error holds the end of its standard error.
func Command(ctx context.Context, name string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	c := exec.CommandContext(ctx, name, args...)
	c.Stdout, c.Stderr = &out, &errs
	c.WaitDelay = 10 * time.Second // what a script has left running may hold its output open
	if err := c.Run(); err != nil {
		text := errs.String()
		text = text[max(0, len(text)-2000):]
		return out.String(), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, text)
	}
	return out.String(), nil
}

// Lines returns the lines of a text that are not empty, without the space around them.
func Lines(s string) []string {
	var out []string
	for sc := bufio.NewScanner(strings.NewReader(s)); sc.Scan(); {
		if l := strings.TrimSpace(sc.Text()); l != "" {
			out = append(out, l)
		}
	}
	return out
}

// LastLine is the last of Lines; empty: there is none.
func LastLine(s string) string {
	l := Lines(s)
	if len(l) == 0 {
		return ""
	}
	return l[len(l)-1]
}

// Pause waits, unless the context ends before.
func Pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Load returns the load averages, for figures.
func Load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}

// Install brings in what is missing for libvirt with QEMU, from Debian's packages.
func Install(ctx context.Context, say Say) error {
	needs := map[string]string{
		"libvirtd": "libvirt-daemon-system", "virsh": "libvirt-clients", "qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils",
		"dnsmasq": "dnsmasq-base", "ip": "iproute2", "iptables": "iptables", "nft": "nftables", "ssh": "openssh-client",
		"genisoimage": "genisoimage",
	}
	var missing []string
	for program, pkg := range needs {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("missing: %s; this is not Debian, install them yourself", strings.Join(missing, " "))
	}
	// The driver, the firmware and so on have no program of their own to look for.
	missing = append(missing, "libvirt-daemon-driver-qemu", "seabios", "ipxe-qemu")
	say("installing %s", strings.Join(missing, " "))
	if _, err := Command(ctx, "apt-get", "update"); err != nil {
		return err
	}
	_, err := Command(ctx, "env", append([]string{"DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends"}, missing...)...)
	return err
}

// Directory makes a directory for a demonstration that QEMU, which does not run as root, can pass through.
func Directory(pattern string) (string, error) {
	dir, err := os.MkdirTemp("/var/tmp", pattern)
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// Key makes a key pair for SSH and returns the private key's file and the public key.
func Key(ctx context.Context, dir string) (private, public string, err error) {
	private = filepath.Join(dir, "key")
	if _, err := Command(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vm", "-f", private); err != nil {
		return "", "", err
	}
	text, err := os.ReadFile(private + ".pub")
	return private, strings.TrimSpace(string(text)), err
}

// SSH runs a command in a guest, to which the private key of Key gives access, and returns all that it prints. To is user@address.
func SSH(ctx context.Context, key, to, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "ssh", "-i", key, "-o", "BatchMode=yes", "-o", "ConnectTimeout=3", "-o", "ServerAliveInterval=5",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", to, command)
	out, err := c.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("ssh: %w: %s", err, out)
	}
	return string(out), nil
}

// Guest builds a guest image, or finds it in the cache, and returns its file. The script is one of guest/.
func Guest(ctx context.Context, script, cache string) (string, error) {
	out, err := Command(ctx, filepath.Join("guest", script), cache)
	return LastLine(out), err
}
