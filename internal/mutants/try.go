package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/berthage/berthage/internal/overlay"
)

// try seeds a bug and returns what caught it. Exact are the changes under which the simulation repeats a seed; other modules do without, since
// all that they are made of would have to be compiled anew for them.
func try(ctx context.Context, tree overlay.Tree, dir string, m mutant, exact []overlay.Change) (by string, err error) {
	for n, t := range m.tests {
		from, pkg := module(tree.Module, t.pkg)
		changes := m.changes
		if from == tree.Module {
			changes = slices.Concat(exact, changes)
		}
		at, err := tree.Write(filepath.Join(dir, strconv.Itoa(n)), changes)
		if err != nil {
			return "", err
		}
		by, err := t.run(ctx, from, pkg, at)
		if err != nil || by != "" {
			return by, err
		}
	}
	return "", errors.New("every test has passed")
}

// module returns the directory of the module that a package lies in, which may have one of its own below root, and the package as it is
// named there.
func module(root, pkg string) (dir, within string) {
	for at := path.Clean(pkg); at != "."; at = path.Dir(at) {
		dir := filepath.Join(root, filepath.FromSlash(at))
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, "." + strings.TrimPrefix(path.Clean(pkg), at)
		}
	}
	return root, pkg
}

// run runs a test, of a package of the module in a directory, with an overlay and returns what failed, empty when nothing did.
func (t test) run(ctx context.Context, dir, pkg, overlay string) (failed string, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-vet=off", "-count=1", "-failfast", "-timeout=150s", "-run", "^"+t.name+"$", pkg)
	cmd.Dir = dir
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
		`(orphans|duplicates|leaks|overcommit_seconds|strangers|stuck|messages|trespasses) after .*`, `panic: .*`, `Error: .*`,
	} {
		if what := regexp.MustCompile(sign).FindString(text); what != "" {
			seeds := regexp.MustCompile(`failing seeds: .*`).FindString(text)
			return fmt.Sprintf("%s: %.90s %s", by, what, seeds), nil
		}
	}
	return by, nil
}
