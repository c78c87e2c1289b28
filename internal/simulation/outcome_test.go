package simulation_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// outcome is what a world gave, as its process tells it.
type outcome struct {
	Seed     uint64
	Settings string
	Launches int
	Took     time.Duration // virtual, until it was healed
	Called   int           // driver calls
	Faulted  int           // of which faulty
	Looks    int           // of readers, at single things
	Shown    int           // of which were shown
	Strays   []string      // machines without a record at some second
	Counts   map[string]int
	Crashes  map[string]int // by point
	Breaches map[breach]int
	Reports  []string
	Traced   []string
	Digest   string // of the ledger
}

// outcome returns what the world gave, once it has been played.
func (w *world) outcome() outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := outcome{
		Seed: w.seed, Launches: w.monitor.launches, Took: w.took, Looks: w.monitor.looks, Shown: w.monitor.shown, Called: w.called, Faulted: w.faulted, Strays: w.strays,
		Counts: w.counts, Crashes: make(map[string]int), Breaches: w.breaches, Reports: w.reports,
		Settings: fmt.Sprintf("sweeper %v, unique %v, settling known %v, %d daemons, leases %v by the wall clock %v, forwarding %v, tenants %v",
			w.sweeps, w.unique, w.known, len(w.seats), w.leases, w.jumpy, w.forwards, w.tenants),
	}
	for k, n := range w.fleet.Injected() {
		o.Counts["driver: "+string(k)] += n
	}
	for k, n := range w.faulty.Counts() {
		if k != "none" {
			o.Counts["store: "+string(k)] += n
		}
	}
	for k, n := range w.crashes {
		o.Crashes[k.String()] += n
	}
	sum := sha256.New()
	if err := json.NewEncoder(sum).Encode(w.monitor.log); err != nil {
		o.Reports = append(o.Reports, err.Error())
	}
	o.Digest = fmt.Sprintf("%x", sum.Sum(nil)[:8])
	return o
}

// TestWorld is the process of one world, which playOutside starts: it plays BERTHAGE_WORLD and writes its outcome
// to BERTHAGE_OUTCOME. By itself it plays the first.
func TestWorld(t *testing.T) {
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("BERTHAGE_WORLD"), "1"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("BERTHAGE_LOG") != "" {
		// Written at the end: a process that writes is one that others overtake.
		log := new(bytes.Buffer)
		testLog = log
		defer func() { _, _ = log.WriteTo(os.Stderr) }()
	}
	secretsFrom(t, seed)
	var w *world
	synctest.Test(t, func(*testing.T) {
		for range seed % 1000 { // so that worlds differ in the order of what happens at once
			rand.Uint64()
		}
		w = newWorld(seed, perWorld)
		w.play()
	})
	o := w.outcome()
	o.Traced = w.traces()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if to := os.Getenv("BERTHAGE_OUTCOME"); to != "" {
		err = os.WriteFile(to, b, 0o600)
	} else if len(o.Breaches) > 0 {
		err = errors.New(strings.Join(o.Reports, "\n"))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// playOutside plays a world in a process of its own, which starts with the same environment each time.
func playOutside(ctx context.Context, seed uint64) (o outcome, err error) {
	dir, err := os.MkdirTemp("", "world-")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return o, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	to := filepath.Join(dir, "outcome")
	cmd := exec.CommandContext(ctx, self, "-test.run=^TestWorld$")
	cmd.Env = append(os.Environ(), "BERTHAGE_WORLD="+strconv.FormatUint(seed, 10), "BERTHAGE_OUTCOME="+to)
	if exact {
		cmd.Env = append(cmd.Env, "GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1")
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if os.Getenv("BERTHAGE_LOG") != "" {
		cmd.Stderr = io.MultiWriter(&out, os.Stderr)
	}
	if err := cmd.Run(); err != nil {
		return o, fmt.Errorf("the process of world %d: %w\n%s", seed, err, out.String())
	}
	b, err := os.ReadFile(to)
	if err != nil {
		return o, err
	}
	return o, json.Unmarshal(b, &o)
}
