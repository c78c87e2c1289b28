package testbed

import (
	"context"
	"path/filepath"
	"strings"
)

// Libvirtd is a libvirt daemon. Those that are ours have a directory.
type Libvirtd struct {
	URI string // for go-libvirt and virsh
	Dir string // of one of our own; empty: it is somebody else's
}

// StartLibvirtd starts a daemon with QEMU of its own below dir, which must not exist. What has been started when it fails, Close stops.
func StartLibvirtd(ctx context.Context, dir string) (*Libvirtd, error) {
	l := &Libvirtd{Dir: dir}
	out, err := Command(ctx, filepath.Join("libvirtd", "up.sh"), dir)
	l.URI = LastLine(out)
	return l, err
}

// Close stops a daemon of ours with everything that runs under it, and removes its directory.
func (l *Libvirtd) Close(ctx context.Context) error {
	if l.Dir == "" {
		return nil
	}
	_, err := Command(ctx, filepath.Join("libvirtd", "down.sh"), l.Dir)
	return err
}

// Stop ends the daemon alone; its machines go on running.
func (l *Libvirtd) Stop(ctx context.Context) error {
	_, err := Command(ctx, filepath.Join("libvirtd", "restart.sh"), "--stop", l.Dir)
	return err
}

// Restart starts the daemon again, after ending it where it runs.
func (l *Libvirtd) Restart(ctx context.Context) error {
	_, err := Command(ctx, filepath.Join("libvirtd", "restart.sh"), l.Dir)
	return err
}

// Virsh runs virsh on the daemon and returns what it prints.
func (l *Libvirtd) Virsh(ctx context.Context, args ...string) (string, error) {
	return Command(ctx, "virsh", append([]string{"-q", "-c", l.URI}, args...)...)
}

// Domains are the names of all domains.
func (l *Libvirtd) Domains(ctx context.Context) ([]string, error) {
	out, err := l.Virsh(ctx, "list", "--all", "--name")
	return Lines(out), err
}

// Volumes are the volumes of all active pools, as pool/volume.
func (l *Libvirtd) Volumes(ctx context.Context) ([]string, error) {
	out, err := l.Virsh(ctx, "pool-list", "--name")
	if err != nil {
		return nil, err
	}
	var all []string
	for _, p := range Lines(out) {
		if _, err := l.Virsh(ctx, "pool-refresh", p); err != nil {
			return nil, err
		}
		out, err := l.Virsh(ctx, "vol-list", p)
		if err != nil {
			return nil, err
		}
		for _, line := range Lines(out) {
			if f := strings.Fields(line); len(f) > 1 && f[0] != "Name" && !strings.HasPrefix(f[0], "---") {
				all = append(all, p+"/"+f[0])
			}
		}
	}
	return all, nil
}
