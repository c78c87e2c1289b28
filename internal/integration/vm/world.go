package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// world is everything that one run has started and made.
type world struct {
	o       options
	dir     string // of all that is removed at the end
	image   string // file of the guest
	uri     string // of libvirtd
	private string // directory of a libvirtd of our own
	before  inventory
	key     string // private key for SSH
	public  string
	daemon  *daemon
}

// scripts are beside this program in the module.
const (
	guests   = "guest"
	libvirtd = "libvirtd"
	examples = "../../examples"
)

func newWorld(ctx context.Context, o options) (*world, error) {
	w := &world{o: o, uri: o.uri}
	if err := install(ctx); err != nil {
		return nil, err
	}
	script := "tiny.sh"
	if o.image == "debian" {
		script = "debian.sh"
	}
	say("guest image: %s (built once, then cached in %s)", o.image, o.cache)
	out, err := command(ctx, filepath.Join(guests, script), o.cache)
	if err != nil {
		return nil, err
	}
	w.image = lastLine(out)
	// QEMU does not run as root: every parent must be passable.
	if w.dir, err = os.MkdirTemp("/var/tmp", "berthage-vm-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(w.dir, 0o755); err != nil {
		return nil, err
	}
	w.key = filepath.Join(w.dir, "key")
	if _, err := command(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vm", "-f", w.key); err != nil {
		return nil, err
	}
	public, err := os.ReadFile(w.key + ".pub")
	if err != nil {
		return nil, err
	}
	w.public = strings.TrimSpace(string(public))
	if w.uri == "" {
		say("starting a private libvirtd")
		w.private = filepath.Join(w.dir, "lv")
		out, err := command(ctx, filepath.Join(libvirtd, "up.sh"), w.private)
		if err != nil {
			return nil, errors.Join(err, w.close(context.WithoutCancel(ctx)))
		}
		w.uri = lastLine(out)
	}
	if w.before, err = w.inventory(ctx); err != nil {
		return nil, errors.Join(err, w.close(context.WithoutCancel(ctx)))
	}
	say("libvirt: %s", w.uri)
	return w, nil
}

// close stops and removes everything.
func (w *world) close(ctx context.Context) error {
	var errs []error
	if w.daemon != nil {
		errs = append(errs, w.daemon.stop())
	}
	if w.private != "" {
		_, err := command(ctx, filepath.Join(libvirtd, "down.sh"), w.private)
		errs = append(errs, err)
	}
	if w.o.keep {
		say("kept: %s", w.dir)
	} else {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

// inventory is what libvirt has: domains and volumes.
type inventory struct{ domains, volumes []string }

func (w *world) inventory(ctx context.Context) (inventory, error) {
	var inv inventory
	out, err := w.virsh(ctx, "list", "--all", "--name")
	if err != nil {
		return inv, err
	}
	inv.domains = lines(out)
	out, err = w.virsh(ctx, "pool-list", "--name")
	if err != nil {
		return inv, err
	}
	for _, p := range lines(out) {
		if _, err := w.virsh(ctx, "pool-refresh", p); err != nil {
			return inv, err
		}
		out, err := w.virsh(ctx, "vol-list", p)
		if err != nil {
			return inv, err
		}
		for _, l := range lines(out) {
			if f := strings.Fields(l); len(f) > 1 && f[0] != "Name" && !strings.HasPrefix(f[0], "---") {
				inv.volumes = append(inv.volumes, p+"/"+f[0])
			}
		}
	}
	return inv, nil
}

// left returns what is there that was not there at the beginning. An imported image is kept for the next
// instance and is no part of one; where the libvirtd is not ours it is removed here.
func (w *world) left(ctx context.Context) ([]string, error) {
	now, err := w.inventory(ctx)
	if err != nil {
		return nil, err
	}
	var left []string
	for _, d := range now.domains {
		if !slices.Contains(w.before.domains, d) {
			left = append(left, "domain "+d)
		}
	}
	for _, v := range now.volumes {
		if slices.Contains(w.before.volumes, v) {
			continue
		}
		if pool, name, _ := strings.Cut(v, "/"); strings.HasPrefix(name, "berthage-image-") {
			if w.private == "" {
				if _, err := w.virsh(ctx, "vol-delete", "--pool", pool, name); err != nil {
					return nil, err
				}
			}
			continue
		}
		left = append(left, "volume "+v)
	}
	return left, nil
}

func (w *world) virsh(ctx context.Context, args ...string) (string, error) {
	return command(ctx, "virsh", append([]string{"-q", "-c", w.uri}, args...)...)
}

// install brings in what is missing, from Debian's packages.
func install(ctx context.Context) error {
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
	if _, err := command(ctx, "apt-get", "update"); err != nil {
		return err
	}
	_, err := command(ctx, "env", append([]string{"DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends"}, missing...)...)
	return err
}

// command runs a program and returns its standard output; an error holds the end of its standard error.
func command(ctx context.Context, name string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	c := exec.CommandContext(ctx, name, args...)
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		text := errs.String()
		text = text[max(0, len(text)-2000):]
		return out.String(), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, text)
	}
	return out.String(), nil
}

func lines(s string) []string {
	var out []string
	for sc := bufio.NewScanner(strings.NewReader(s)); sc.Scan(); {
		if l := strings.TrimSpace(sc.Text()); l != "" {
			out = append(out, l)
		}
	}
	return out
}

func lastLine(s string) string {
	l := lines(s)
	if len(l) == 0 {
		return ""
	}
	return l[len(l)-1]
}
