package testbed

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

// Berthd is a running berthd.
type Berthd struct {
	cmd     *exec.Cmd
	log     *os.File
	ended   chan struct{}
	address string
	token   string
}

// BuildBerthd compiles berthd into a file, unless that is there.
func BuildBerthd(ctx context.Context, binary string) error {
	if _, err := os.Stat(binary); err == nil {
		return nil
	}
	_, err := Command(ctx, "go", "build", "-C", filepath.Join("..", "..", "examples"), "-o", binary, "./berthd")
	return err
}

// StartBerthd starts a berthd with a configuration, to which it adds an address on the loopback interface, and waits until it answers. Its data
// and its log are kept below dir, so that the next one there goes on with them. Log gets what it logs, beside the file; nil: nobody.
func StartBerthd(ctx context.Context, binary, dir string, configuration map[string]any, log io.Writer) (*Berthd, error) {
	data, config := filepath.Join(dir, "data"), filepath.Join(dir, "berthd.json")
	told := map[string]any{"listen": "127.0.0.1:0", "data": data}
	for k, v := range configuration {
		told[k] = v
	}
	text, err := json.MarshalIndent(told, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "berthd.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	from, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	b := &Berthd{cmd: exec.Command(binary, "--config", config), log: file, ended: make(chan struct{})}
	b.cmd.Stdout, b.cmd.Stderr = file, file
	if log != nil {
		b.cmd.Stderr = io.MultiWriter(file, log)
	}
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = b.cmd.Wait(); close(b.ended) }()
	if err := b.ready(ctx, data, from); err != nil {
		return b, fmt.Errorf("berthd: %w; its log ends with:\n%s", err, b.Tail())
	}
	return b, nil
}

// Address is where it listens.
func (b *Berthd) Address() string { return b.address }

// ready waits until the daemon has said where it listens and answers there.
func (b *Berthd) ready(ctx context.Context, data string, from int64) error {
	listening := regexp.MustCompile(`https?://127\.0\.0\.1:\d+`)
	for {
		text, err := os.ReadFile(b.log.Name())
		if err != nil {
			return err
		}
		b.address = listening.FindString(string(text[min(int64(len(text)), from):]))
		token, err := os.ReadFile(filepath.Join(data, "token"))
		if b.address != "" && err == nil {
			b.token = strings.TrimSpace(string(token))
			if b.Call(ctx, http.MethodGet, "/api/v1/status", nil, nil) == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.ended:
			return errors.New("it has ended")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Tail is the end of its log.
func (b *Berthd) Tail() string {
	text, _ := os.ReadFile(b.log.Name())
	return string(text[max(0, len(text)-3000):])
}

// Kill ends the daemon as a power cut would.
func (b *Berthd) Kill() {
	_ = b.cmd.Process.Kill()
	<-b.ended
	_ = b.log.Close()
}

// Stop asks the daemon to end and looks that it does.
func (b *Berthd) Stop() error {
	defer b.log.Close()
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.ended:
		return nil
	case <-time.After(30 * time.Second):
		_ = b.cmd.Process.Kill()
		return errors.New("berthd did not stop within 30 s")
	}
}

// Call makes a request of the REST API. What is given as in, and comes as out, is JSON, and both may be nil; a *string gets the answer as it is.
func (b *Berthd) Call(ctx context.Context, method, path string, in, out any) error {
	return b.Send(ctx, method, path, "", in, out)
}

// Send is Call with an Idempotency-Key; empty: none.
func (b *Berthd) Send(ctx context.Context, method, path, key string, in, out any) error {
	resp, err := b.do(ctx, method, path, key, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	switch out := out.(type) {
	case nil:
		return nil
	case *string:
		*out = string(text)
		return nil
	}
	return json.Unmarshal(text, out)
}

func (b *Berthd) do(ctx context.Context, method, path, key string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, b.address+path, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+b.token)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	return http.DefaultClient.Do(r)
}

// Events streams all that happens after a revision until the context ends or take returns false.
func (b *Berthd) Events(ctx context.Context, after int64, take func(Event) bool) error {
	resp, err := b.do(ctx, http.MethodGet, fmt.Sprintf("/api/v1/events?after=%d", after), "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("events: " + resp.Status)
	}
	return ReadEvents(resp.Body, take)
}
