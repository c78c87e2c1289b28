package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// daemon is a running berthd.
type daemon struct {
	cmd     *exec.Cmd
	log     *os.File
	ended   chan struct{}
	address string
	token   string
}

// startDaemon builds berthd if that has not been done and starts it on the data that is there.
func (w *world) startDaemon(ctx context.Context) error {
	binary, data := filepath.Join(w.dir, "berthd"), filepath.Join(w.dir, "data")
	if _, err := os.Stat(binary); err != nil {
		say("building berthd")
		if _, err := command(ctx, "go", "build", "-C", examples, "-o", binary, "./berthd"); err != nil {
			return err
		}
	}
	config := filepath.Join(w.dir, "berthd.json")
	text, err := json.Marshal(map[string]any{
		"listen": "127.0.0.1:0", "data": data, "poll": "2s",
		"libvirt": []any{map[string]any{"uri": w.uri, "name": "vm", "network": "default", "virt": os.Getenv("BERTHAGE_VIRT_TYPE")}},
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(w.dir, "berthd.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	d := &daemon{cmd: exec.Command(binary, "--config", config), log: log, ended: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if w.o.verbose {
		d.cmd.Stderr = io.MultiWriter(log, os.Stderr)
	}
	if err := d.cmd.Start(); err != nil {
		return err
	}
	go func() { _ = d.cmd.Wait(); close(d.ended) }()
	w.daemon = d
	if err := d.ready(ctx, data, from); err != nil {
		return fmt.Errorf("berthd: %w; its log ends with:\n%s", err, d.tail())
	}
	say("berthd answers at %s", d.address)
	return nil
}

var listening = regexp.MustCompile(`https?://127\.0\.0\.1:\d+`)

// ready waits until the daemon has said where it listens and answers there.
func (d *daemon) ready(ctx context.Context, data string, from int64) error {
	for {
		text, err := os.ReadFile(d.log.Name())
		if err != nil {
			return err
		}
		d.address = listening.FindString(string(text[min(int64(len(text)), from):]))
		token, err := os.ReadFile(filepath.Join(data, "token"))
		if d.address != "" && err == nil {
			d.token = strings.TrimSpace(string(token))
			if d.call(ctx, http.MethodGet, "/api/v1/status", nil, nil) == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.ended:
			return errors.New("it has ended")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (d *daemon) tail() string {
	text, _ := os.ReadFile(d.log.Name())
	return string(text[max(0, len(text)-3000):])
}

// kill ends the daemon as a power cut would.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	<-d.ended
	_ = d.log.Close()
}

// stop asks the daemon to end and looks that it does.
func (d *daemon) stop() error {
	defer d.log.Close()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.ended:
		return nil
	case <-time.After(30 * time.Second):
		_ = d.cmd.Process.Kill()
		return errors.New("berthd did not stop within 30 s")
	}
}

// call makes a request of the REST API; in and out may be nil.
func (d *daemon) call(ctx context.Context, method, path string, in, out any) error {
	return d.send(ctx, method, path, "", in, out)
}

func (d *daemon) send(ctx context.Context, method, path, key string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, d.address+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+d.token)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, b)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
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
	if err := w.daemon.call(ctx, http.MethodPut, "/api/v1/images/guest", image, nil); err != nil {
		return err
	}
	if err := w.daemon.call(ctx, http.MethodPut, "/api/v1/projects/demo", map[string]any{"quota": map[string]int64{"instances": 10}}, nil); err != nil {
		return err
	}
	for {
		var hosts struct {
			Items []struct {
				ID          string `json:"id"`
				Schedulable bool   `json:"schedulable"`
			} `json:"items"`
		}
		if err := w.daemon.call(ctx, http.MethodGet, "/api/v1/hosts", nil, &hosts); err != nil {
			return err
		}
		if len(hosts.Items) > 0 && hosts.Items[0].Schedulable {
			say("host %s is in the pool", hosts.Items[0].ID)
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("no host came into the pool: %w\n%s", err, w.daemon.tail())
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
