// Mutants measures the tests: it seeds bugs into the product, one at a time, and demands that the tests catch
// each. `make mutants` runs it.
//
//	mutants [NAME ...]    these, or all
//
// A bug is a file in faults. It is laid over the source by go test's -overlay, so that no file of the tree
// changes and the product has no switch for it. For each one line says which test caught it and after how
// long; the last line is `seeded=N caught=N`. The program fails when a bug is not caught, when it does not
// compile, or when the lines that it changes are no longer in the source exactly once.
package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berthage/berthage/internal/overlay"
)

//go:embed faults/*.mutant
var faults embed.FS

// atOnce is how many bugs are tried side by side.
const atOnce = 2

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string) error {
	all, err := load()
	if err != nil {
		return err
	}
	if len(names) > 0 {
		all = slices.DeleteFunc(all, func(m mutant) bool { return !slices.Contains(names, m.name) })
	}
	if len(all) == 0 {
		return errors.New("no bug of that name")
	}
	tree, err := overlay.Here(ctx)
	if err != nil {
		return err
	}
	exact, err := overlay.Exact()
	if err != nil {
		return err
	}
	if _, err := overlay.Apply(exact, tree.Read); err != nil {
		fmt.Fprintf(os.Stderr, "REPLAYS ARE NOT EXACT: %v\n", err)
		exact = nil
	}
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	began, missed := time.Now(), map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := make(chan mutant)
	for range atOnce {
		wg.Go(func() {
			for m := range next {
				start := time.Now()
				by, err := try(ctx, tree, filepath.Join(dir, m.name), m, exact)
				mu.Lock()
				if err != nil {
					missed[m.name] = err
					fmt.Printf("%-40s NOT CAUGHT after %.0fs: %v\n", m.name, time.Since(start).Seconds(), err)
				} else {
					fmt.Printf("%-40s caught after %.0fs by %s\n", m.name, time.Since(start).Seconds(), by)
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range all {
		next <- m
	}
	close(next)
	wg.Wait()
	for _, name := range slices.Sorted(maps.Keys(missed)) { // once more, where the end of a long log shows it
		fmt.Printf("NOT CAUGHT: %s: %v\n", name, missed[name])
	}
	fmt.Printf("%.0f seconds\nseeded=%d caught=%d\n", time.Since(began).Seconds(), len(all), len(all)-len(missed))
	if len(missed) > 0 {
		return fmt.Errorf("%d of %d seeded bugs are not caught", len(missed), len(all))
	}
	return nil
}

// load reads all bugs, by name.
func load() ([]mutant, error) {
	entries, err := faults.ReadDir("faults")
	if err != nil {
		return nil, err
	}
	var all []mutant
	for _, e := range entries {
		b, err := faults.ReadFile(path.Join("faults", e.Name()))
		if err != nil {
			return nil, err
		}
		m, err := parse(strings.TrimSuffix(e.Name(), ".mutant"), string(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		all = append(all, m)
	}
	return all, nil
}
