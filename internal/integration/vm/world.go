package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/internal/integration/testbed"
)

// world is everything that one run has started and made.
type world struct {
	o       options
	dir     string // of all that is removed at the end
	image   string // file of the guest
	libvirt *testbed.Libvirtd
	before  inventory
	key     string // private key for SSH
	public  string
	daemon  *testbed.Berthd
	inbox   *inbox // nil: berthd tells nobody
}

func newWorld(ctx context.Context, o options) (*world, error) {
	w := &world{o: o, libvirt: &testbed.Libvirtd{URI: o.uri}}
	if err := testbed.Install(ctx, say); err != nil {
		return nil, err
	}
	script := "tiny.sh"
	if o.image == "debian" {
		script = "debian.sh"
	}
	say("guest image: %s (built once, then cached in %s)", o.image, o.cache)
	var err error
	if w.image, err = testbed.Guest(ctx, script, o.cache); err != nil {
		return nil, err
	}
	if w.dir, err = testbed.Directory("berthage-vm-"); err != nil {
		return nil, err
	}
	fail := func(err error) (*world, error) {
		return nil, errors.Join(err, w.close(context.WithoutCancel(ctx)))
	}
	if w.key, w.public, err = testbed.Key(ctx, w.dir); err != nil {
		return fail(err)
	}
	if w.libvirt.URI == "" {
		say("starting a private libvirtd")
		if w.libvirt, err = testbed.StartLibvirtd(ctx, filepath.Join(w.dir, "lv")); err != nil {
			return fail(err)
		}
	}
	if w.before, err = w.inventory(ctx); err != nil {
		return fail(err)
	}
	say("libvirt: %s", w.libvirt.URI)
	return w, nil
}

// close stops and removes everything.
func (w *world) close(ctx context.Context) error {
	var errs []error
	if w.daemon != nil {
		errs = append(errs, w.daemon.Stop())
	}
	if w.inbox != nil {
		errs = append(errs, w.inbox.close())
	}
	errs = append(errs, w.libvirt.Close(ctx))
	if w.o.keep {
		say("kept: %s", w.dir)
	} else {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

// startDaemon builds berthd if that has not been done and starts it on the data that is there.
func (w *world) startDaemon(ctx context.Context) error {
	binary := filepath.Join(w.dir, "berthd")
	if w.daemon == nil {
		say("building berthd")
	}
	if err := testbed.BuildBerthd(ctx, binary); err != nil {
		return err
	}
	var log io.Writer
	if w.o.verbose {
		log = os.Stderr
	}
	var err error
	w.daemon, err = testbed.StartBerthd(ctx, binary, w.dir, map[string]any{
		"poll":         "2s",
		"notify_allow": "127.0.0.0/8,::1",
		"libvirt":      []any{map[string]any{"uri": w.libvirt.URI, "name": "vm", "network": "default", "virt": os.Getenv("BERTHAGE_VIRT_TYPE")}},
	}, log)
	if err != nil {
		return err
	}
	say("berthd answers at %s", w.daemon.Address())
	return nil
}

// instance is what this program reads of an instance.
type instance struct {
	ID        string   `json:"id"`
	Status    string   `json:"status"`
	Reason    string   `json:"reason"`
	Addresses []string `json:"addresses"`
}

// catalogue tells the daemon of the guest image and a project, and waits for the host.
func (w *world) catalogue(ctx context.Context) error {
	image := map[string]any{"user": "debian", "os": "guest of make vm", "sources": map[string]string{"libvirt": "file:" + w.image}}
	if err := w.daemon.Call(ctx, http.MethodPut, "/api/v1/images/guest", image, nil); err != nil {
		return err
	}
	if err := w.daemon.Call(ctx, http.MethodPut, "/api/v1/projects/demo", map[string]any{"quota": map[string]int64{"instances": 10}}, nil); err != nil {
		return err
	}
	for {
		var hosts struct {
			Items []struct {
				ID          string `json:"id"`
				Schedulable bool   `json:"schedulable"`
			} `json:"items"`
		}
		if err := w.daemon.Call(ctx, http.MethodGet, "/api/v1/hosts", nil, &hosts); err != nil {
			return err
		}
		if len(hosts.Items) > 0 && hosts.Items[0].Schedulable {
			say("host %s is in the pool", hosts.Items[0].ID)
			return nil
		}
		if err := testbed.Pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("no host came into the pool: %w\n%s", err, w.daemon.Tail())
		}
	}
}

// inventory is what libvirt has.
type inventory struct{ domains, volumes []string }

func (w *world) inventory(ctx context.Context) (inv inventory, err error) {
	if inv.domains, err = w.libvirt.Domains(ctx); err == nil {
		inv.volumes, err = w.libvirt.Volumes(ctx)
	}
	return inv, err
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
			if w.libvirt.Dir == "" {
				if _, err := w.libvirt.Virsh(ctx, "vol-delete", "--pool", pool, name); err != nil {
					return nil, err
				}
			}
			continue
		}
		left = append(left, "volume "+v)
	}
	return left, nil
}
