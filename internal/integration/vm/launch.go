package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"github.com/berthage/berthage/internal/integration/testbed"
)

const (
	gib  = int64(1) << 30
	user = "debian"
)

// wish is the request for the instance: one core, 1 GiB, and two more disks with their mount points.
func (w *world) wish(name string) map[string]any {
	root := gib
	if w.o.image == "debian" {
		root = 4 * gib
	}
	guest := map[string]any{"user": user, "ssh_keys": []string{w.public}}
	if w.o.image == "debian" {
		guest["user_data"] = "#cloud-config\nruncmd:\n- echo user-data was run > /run/user-data-was-run\n"
	}
	return map[string]any{"project": "demo", "name": name, "spec": map[string]any{
		"image": "guest", "resources": map[string]int64{"cpu": 1000, "memory": gib},
		"disks": []map[string]any{{"size": root}, {"size": gib, "mount": "/data"}, {"size": gib / 2, "mount": "/srv/more"}},
		"guest": guest,
	}}
}

// launch asks for an instance and waits until SSH answers; it returns its id, its address and the time that
// took.
func (w *world) launch(ctx context.Context, name string) (id, address string, took time.Duration, err error) {
	start := time.Now()
	if id, err = w.request(ctx, name); err != nil {
		return "", "", 0, err
	}
	if w.o.kill {
		if err := w.killings(ctx, name, id); err != nil {
			return id, "", 0, err
		}
	}
	if address, err = w.addressOf(ctx, id); err != nil {
		return id, "", 0, err
	}
	if err := w.answers(ctx, address); err != nil {
		return id, address, 0, err
	}
	return id, address, time.Since(start), nil
}

// request sends the launch; the key makes a repetition the same instance.
func (w *world) request(ctx context.Context, name string) (string, error) {
	if err := w.daemon.Send(ctx, http.MethodPost, "/api/v1/instances", name, w.wish(name), nil); err != nil {
		return "", err
	}
	var list struct {
		Items []instance `json:"items"`
	}
	if err := w.daemon.Call(ctx, http.MethodGet, "/api/v1/instances?name="+name, nil, &list); err != nil {
		return "", err
	}
	if len(list.Items) != 1 {
		return "", fmt.Errorf("%d instances of the name %s, instead of one", len(list.Items), name)
	}
	return list.Items[0].ID, nil
}

// killings kills the daemon three times in the middle of the launch and starts it again; after each the
// request is repeated, as a caller whose answer was lost would.
func (w *world) killings(ctx context.Context, name, id string) error {
	for _, after := range []time.Duration{20 * time.Millisecond, 400 * time.Millisecond, 3 * time.Second} {
		if err := testbed.Pause(ctx, after); err != nil {
			return err
		}
		say("kill -9 of berthd")
		w.daemon.Kill()
		if err := w.startDaemon(ctx); err != nil {
			return err
		}
		again, err := w.request(ctx, name)
		if err != nil {
			return err
		}
		if again != id {
			return fmt.Errorf("the repeated request gave %s instead of %s", again, id)
		}
	}
	return nil
}

func (w *world) addressOf(ctx context.Context, id string) (string, error) {
	status := ""
	for {
		var i instance
		if err := w.daemon.Call(ctx, http.MethodGet, "/api/v1/instances/"+id, nil, &i); err != nil {
			return "", err
		}
		if i.Status != status {
			status = i.Status
			say("%s", strings.TrimSpace(status+" "+i.Reason))
		}
		if status == "failed" {
			return "", fmt.Errorf("the launch failed: %s\n%s", i.Reason, w.daemon.Tail())
		}
		if len(i.Addresses) > 0 {
			return i.Addresses[0], nil
		}
		if err := testbed.Pause(ctx, 100*time.Millisecond); err != nil {
			return "", fmt.Errorf("no address: %w\n%s", err, w.daemon.Tail())
		}
	}
}

// answers waits until a command given by SSH succeeds.
func (w *world) answers(ctx context.Context, address string) error {
	for {
		_, err := w.ssh(ctx, address, "true")
		if err == nil {
			return nil
		}
		if pauseErr := testbed.Pause(ctx, 200*time.Millisecond); pauseErr != nil {
			return errors.Join(err, pauseErr)
		}
	}
}

func (w *world) ssh(ctx context.Context, address, cmd string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "ssh", "-i", w.key, "-o", "BatchMode=yes", "-o", "ConnectTimeout=3", "-o", "ServerAliveInterval=5",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", user+"@"+address, cmd)
	out, err := c.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("ssh: %w: %s", err, out)
	}
	return string(out), nil
}

// once is the whole demonstration.
func (w *world) once(ctx context.Context) error {
	const name = "first-berth"
	id, address, took, err := w.launch(ctx, name)
	if err != nil {
		return err
	}
	say("SSH answers at %s", address)
	if w.o.image == "debian" {
		say("waiting for cloud-init")
		if out, err := w.ssh(ctx, address, "sudo cloud-init status --wait && cat /run/user-data-was-run"); err != nil {
			return err
		} else if !strings.Contains(out, "status: done") || !strings.Contains(out, "user-data was run") {
			return fmt.Errorf("cloud-init: %s", out)
		}
	}
	out, err := w.ssh(ctx, address, "hostname; whoami; mount; uptime")
	if err != nil {
		return err
	}
	if err := w.judge(out, name); err != nil {
		return err
	}
	fmt.Printf("from request to SSH: %.1f s\n", took.Seconds())
	if w.o.alert > 0 {
		if err := w.cpuAlert(ctx, name, id, address); err != nil {
			return err
		}
	}
	if w.o.hold > 0 {
		if err := w.hold(ctx, address); err != nil {
			return err
		}
	}
	domains, err := w.libvirt.Virsh(ctx, "list", "--all", "--name")
	if err != nil {
		return err
	}
	if n := len(testbed.Lines(domains)) - len(w.before.domains); n != 1 {
		return fmt.Errorf("%d domains instead of one:\n%s", n, domains)
	}
	if err := w.remove(ctx, id); err != nil {
		return err
	}
	left, err := w.left(ctx)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	fmt.Println("deleted; nothing is left behind")
	return nil
}

// judge prints what the guest said and checks it.
func (w *world) judge(out, name string) error {
	l := testbed.Lines(out)
	if len(l) < 3 {
		return fmt.Errorf("the guest said only: %s", out)
	}
	var mounts []string
	for _, m := range l[2:] {
		if strings.Contains(m, " on /data ") || strings.Contains(m, " on /srv/more ") {
			mounts = append(mounts, m)
		}
	}
	fmt.Println("host name:", l[0])
	fmt.Println("user:     ", l[1])
	for _, m := range mounts {
		fmt.Println("mount:    ", m)
	}
	fmt.Println("uptime:   ", l[len(l)-1])
	if l[0] != name || l[1] != user || len(mounts) != 2 {
		return fmt.Errorf("want host name %s, user %s and two mounts; the guest said:\n%s", name, user, out)
	}
	return nil
}

// remove deletes the instance and waits until it is gone.
func (w *world) remove(ctx context.Context, id string) error {
	if err := w.daemon.Call(ctx, http.MethodDelete, "/api/v1/instances/"+id, nil, nil); err != nil {
		return err
	}
	for {
		var i instance
		if err := w.daemon.Call(ctx, http.MethodGet, "/api/v1/instances/"+id, nil, &i); err != nil {
			return err
		}
		if i.Status == "deleted" {
			return nil
		}
		if err := testbed.Pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("not deleted: %w\n%s", err, w.daemon.Tail())
		}
	}
}
