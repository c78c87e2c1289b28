// Exact prints the name of a file for the go command's -overlay, with which the simulation repeats a seed exactly
// (see internal/overlay). Where the standard library is not the one that this was written for, it says so and
// prints the name of an overlay that changes nothing: then a seed repeats a history nearly.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/berthage/berthage/internal/overlay"
)

func main() {
	at, err := write()
	if err != nil {
		fmt.Fprintln(os.Stderr, "exact:", err)
		os.Exit(1)
	}
	fmt.Println(at)
}

func write() (string, error) {
	tree, err := overlay.Here(context.Background())
	if err != nil {
		return "", err
	}
	changes, err := overlay.Exact()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(tree.Module, "build", "_exact") // of this checkout, whose files the overlay names; no package of it
	at, err := tree.Write(dir, changes)
	if err != nil {
		fmt.Fprintf(os.Stderr, "REPLAYS ARE NOT EXACT with %s: %v\n", runtime.Version(), err)
		return tree.Write(dir, nil)
	}
	return at, nil
}
