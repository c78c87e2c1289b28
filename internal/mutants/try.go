package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"github.com/berthage/berthage/internal/overlay"
)

// try seeds a bug and returns what caught it. Exact are the changes under which the simulation repeats a seed.
func try(ctx context.Context, tree overlay.Tree, dir string, m mutant, exact []overlay.Change) (by string, err error) {
	at, err := tree.Write(dir, slices.Concat(exact, m.changes))
	if err != nil {
		return "", err
	}
	for _, t := range m.tests {
		by, err := t.run(ctx, tree.Module, at)
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
