package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// try seeds a bug and returns what caught it.
func try(ctx context.Context, root, dir string, m mutant) (by string, err error) {
	changed, err := m.apply(func(name string) (string, error) {
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		return string(b), err
	})
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	for name, text := range changed {
		to := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return "", err
		}
		overlay.Replace[filepath.Join(root, filepath.FromSlash(name))] = to
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	at := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(at, list, 0o644); err != nil {
		return "", err
	}
	for _, t := range m.tests {
		by, err := t.run(ctx, root, at)
		if err != nil || by != "" {
			return by, err
		}
	}
	return "", errors.New("every test has passed")
}

// run runs a test with an overlay and returns what failed, empty when nothing did.
func (t test) run(ctx context.Context, root, overlay string) (failed string, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-vet=off", "-count=1", "-failfast", "-timeout=150s", "-run", "^"+t.name+"$", t.pkg)
	cmd.Dir = root
	cmd.Env = append(append(os.Environ(), "GOWORK=off"), t.env...)
	out, err := cmd.CombinedOutput()
	text := string(out)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil && !errors.As(err, &exit):
		return "", err
	case strings.Contains(text, "[build failed]"), strings.Contains(text, "[setup failed]"):
		return "", fmt.Errorf("it does not compile:\n%s", text)
	case strings.Contains(text, "no tests to run"):
		return "", fmt.Errorf("%s has no test %s", t.pkg, t.name)
	case err == nil:
		return "", nil
	}
	if strings.Contains(text, "panic: test timed out") {
		return "", fmt.Errorf("%s has not ended in time", t.name) // which says nothing on a busy computer
	}
	by := strings.TrimPrefix(t.pkg, "./") + " " + t.name
	for _, sign := range []string{
		`(orphans|duplicates|leaks|overcommit_seconds|strangers|stuck) after .*`, `panic: .*`, `Error: .*`,
	} {
		if what := regexp.MustCompile(sign).FindString(text); what != "" {
			seeds := regexp.MustCompile(`failing seeds: .*`).FindString(text)
			return fmt.Sprintf("%s: %.90s %s", by, what, seeds), nil
		}
	}
	return by, nil
}
