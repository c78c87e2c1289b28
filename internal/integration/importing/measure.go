package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// sdk is the path of the module that is measured.
const sdk = "github.com/berthage/berthage"

// row is what importing one package brings.
type row struct {
	pkg     string   // import path
	modules []string // required in go.mod besides the SDK, as path@version
	sums    int      // lines of go.sum
	linked  int      // packages of other modules in the program
	size    int64    // of the program in bytes, without debug information; 0: not built
}

// rootDir returns the directory of the SDK's module, one of those above the working directory.
func rootDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module "+sdk+"\n") {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no directory above the working directory has the module %s", sdk)
		}
		dir = up
	}
}

// measure returns a row per package that can be imported, in their order, after one for a program that
// imports nothing.
func measure(ctx context.Context, root string, build bool) ([]row, error) {
	out, err := command(ctx, root, "list", "-f", "{{.Name}} {{.ImportPath}}", "./...")
	if err != nil {
		return nil, err
	}
	rows := []row{{pkg: "(nothing)"}}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		name, path, _ := strings.Cut(line, " ")
		if name != "main" && !strings.Contains(path, "/internal/") {
			rows = append(rows, row{pkg: path})
		}
	}
	for i := range rows {
		if err := rows[i].measure(ctx, root, build); err != nil {
			return nil, fmt.Errorf("importing %s: %w", rows[i].pkg, err)
		}
		rows[i].pkg = strings.TrimPrefix(rows[i].pkg, "github.com/berthage/")
	}
	return rows, nil
}

func (r *row) measure(ctx context.Context, root string, build bool) error {
	dir, err := os.MkdirTemp("", "importing")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	mod, err := goMod(root)
	if err != nil {
		return err
	}
	program := "package main\n\nfunc main() {}\n"
	if r.pkg != "(nothing)" {
		program = "package main\n\nimport _ \"" + r.pkg + "\"\n\nfunc main() {}\n"
	}
	// The checksums that we know already need not be asked for; tidy drops what is not needed.
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"go.mod": mod, "go.sum": string(sums), "main.go": program} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if _, err := command(ctx, dir, "mod", "tidy"); err != nil {
		return err
	}
	if err := r.count(ctx, dir); err != nil || !build {
		return err
	}
	exe := filepath.Join(dir, "importer")
	if _, err := command(ctx, dir, "build", "-trimpath", "-ldflags=-s -w", "-o", exe, "."); err != nil {
		return err
	}
	info, err := os.Stat(exe)
	if err == nil {
		r.size = info.Size()
	}
	return err
}

// count reads what go mod tidy has left.
func (r *row) count(ctx context.Context, dir string) error {
	out, err := command(ctx, dir, "mod", "edit", "-json")
	if err != nil {
		return err
	}
	var mod struct {
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		return err
	}
	for _, m := range mod.Require {
		if m.Path != sdk {
			r.modules = append(r.modules, strings.TrimPrefix(m.Path, "github.com/")+" "+m.Version)
		}
	}
	slices.Sort(r.modules)
	sums, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	r.sums = bytes.Count(sums, []byte("\n"))
	out, err = command(ctx, dir, "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".")
	if err != nil {
		return err
	}
	for _, path := range strings.Fields(string(out)) {
		if path != sdk && !strings.HasPrefix(path, sdk+"/") && path != "example.org/importer" {
			r.linked++
		}
	}
	return nil
}

// goMod returns an importer's go.mod, with the version of Go that the SDK asks for.
func goMod(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "go ") {
			return fmt.Sprintf("module example.org/importer\n\n%s\n\nrequire %s v0.0.0\n\nreplace %s => %s\n", line, sdk, sdk, root), nil
		}
	}
	return "", fmt.Errorf("%s has no go line", filepath.Join(root, "go.mod"))
}

// command runs the go command for one system, so that the figures are the same everywhere.
func command(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false", "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out, nil
}
