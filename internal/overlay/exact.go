package overlay

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

//go:embed exact.changes
var exact string

// Exact returns the changes under which a bubble of testing/synctest runs the same way whenever it is given the
// same: to the order of goroutines, of maps and of select. They are made for GOMAXPROCS=1, GOGC=off and
// GODEBUG=asyncpreemptoff=1, and fit the Go that they were written for; where they do not, the error of Tree.Write
// says so.
func Exact() ([]Change, error) {
	s, err := Parse(exact)
	return s.Changes, err
}

// Here returns the tree of the module in whose directory, or below, the program runs.
func Here(ctx context.Context) (Tree, error) {
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}")
	list.Env = append(os.Environ(), "GOWORK=off")
	module, err := list.Output()
	if err != nil {
		return Tree{}, fmt.Errorf("find the module: %w", err)
	}
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return Tree{}, fmt.Errorf("find the standard library: %w", err)
	}
	return Tree{strings.TrimSpace(string(module)), strings.TrimSpace(string(root))}, nil
}
