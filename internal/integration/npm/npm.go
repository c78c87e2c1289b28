// Package npm installs the programs that tests are judged by and that are published there.
package npm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// Install returns the directory of a package of that version, which is installed once, with what it needs and without running anything of it, into
// BERTHAGE_CACHE or the user's own cache. If Node.js is missing, or older than a version such as "20.19", the error says so.
func Install(ctx context.Context, name, version, node string) (dir string, err error) {
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			return "", fmt.Errorf("%s is not in the PATH", name)
		}
	}
	said, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil || !atLeast(strings.TrimPrefix(string(said), "v"), node) {
		return "", fmt.Errorf("%s %s runs on Node.js %s or newer, and here is %q", name, version, node, strings.TrimSpace(string(said)))
	}
	cache := os.Getenv("BERTHAGE_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(user, "berthage")
	}
	place := filepath.Join(cache, path.Base(name)+"-"+version)
	dir = filepath.Join(place, "node_modules", filepath.FromSlash(name))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	// Beside its place and then moved, so that what is there is whole.
	work, err := os.MkdirTemp(cache, path.Base(name)+"-new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	install := exec.CommandContext(ctx, "npm", "install", "--prefix", work, "--no-audit", "--no-fund", "--ignore-scripts", name+"@"+version)
	install.Dir = work
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm cannot install %s %s: %w\n%s", name, version, err, out)
	}
	if err := os.Rename(work, place); err != nil {
		if _, other := os.Stat(dir); other != nil { // else somebody was faster
			return "", err
		}
	}
	return dir, nil
}

// atLeast reports whether a version is not older than another, by their first two numbers.
func atLeast(is, than string) bool {
	number := func(s string) (major, minor int) {
		_, _ = fmt.Sscanf(s, "%d.%d", &major, &minor) // what is not there is 0
		return major, minor
	}
	major, minor := number(is)
	least, then := number(than)
	return major > least || major == least && minor >= then
}
