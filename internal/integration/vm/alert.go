package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/internal/integration/testbed"
)

// alert is what this program reads of an alert.
type alert struct {
	Labels map[string]string `json:"labels"`
	Phase  string            `json:"phase"`
	Value  float64           `json:"value"`
	Active time.Time         `json:"active"`
	Fired  time.Time         `json:"fired"`
}

// cpuAlert makes the guest busy on every one of its cores until the rule for CPU has fired, compares what it measured with the processor
// time of the qemu process, and lets the guest rest until the alert is resolved. Both is told by mail and by webhook.
func (w *world) cpuAlert(ctx context.Context, name, id, address string) error {
	pid, err := w.qemu()
	if err != nil {
		return err
	}
	if w.inbox, err = newInbox(); err != nil {
		return err
	}
	if err := w.tellUs(ctx); err != nil {
		return err
	}
	if err := prefer(ctx, pid); err != nil {
		return err
	}
	if w.o.alert != missionFor { // the rule of the daemon's configuration, shortened
		rule := map[string]any{"measure": map[string]any{"metric": "cpu_percent"}, "test": map[string]any{"is": ">", "value": 80}, "for": short(w.o.alert), "severity": "high",
			"no_data": "ok", "annotations": map[string]string{"summary": "{{ or $labels.vm $labels.host }}: CPU at {{ printf \"%.1f\" $value }} %"}}
		if err := w.daemon.Call(ctx, http.MethodPut, "/api/v1/alert-rules/HighCPU", rule, nil); err != nil {
			return err
		}
	}
	if _, err := w.ssh(ctx, address, "for i in $(seq $(grep -c ^processor /proc/cpuinfo)); do (while :; do :; done) </dev/null >/dev/null 2>&1 & echo $! >>/tmp/busy; done"); err != nil {
		return err
	}
	fmt.Println("every core of the guest is busy")
	if _, err := w.phase(ctx, id, "pending"); err != nil {
		return err
	}
	fmt.Println("HighCPU is pending")
	// What the rule goes by is the time between two evaluations; so is what is compared, over several of them.
	fired, err := w.phase(ctx, id, "firing")
	if err != nil {
		return err
	}
	fmt.Printf("HighCPU fires: %.1f %%, %s after its condition began to hold\n", fired.Value, fired.Fired.Sub(fired.Active).Round(time.Second))
	if held := fired.Fired.Sub(fired.Active); held < w.o.alert || held > w.o.alert+time.Minute {
		return fmt.Errorf("it fired after %s, with a rule that asks for %s", held, w.o.alert)
	}
	if err := w.arrived(ctx, name, "firing"); err != nil {
		return err
	}
	var ours, theirs float64
	const looks = 3
	for range looks {
		a, b, err := w.compare(ctx, id, pid)
		if err != nil {
			return err
		}
		ours, theirs = ours+a/looks, theirs+b/looks
	}
	fmt.Printf("measured: %.1f %% of its cores; by /proc/%d/stat: %.1f %%\n", ours, pid, theirs)
	if math.Abs(ours-theirs) > 5 {
		return fmt.Errorf("what was measured is more than 5 points from what the qemu process says")
	}
	if _, err := w.ssh(ctx, address, "kill $(cat /tmp/busy)"); err != nil {
		return err
	}
	if _, err := w.phase(ctx, id, "resolved"); err != nil {
		return err
	}
	fmt.Println("the guest rests; HighCPU is resolved")
	return w.arrived(ctx, name, "resolved")
}

// missionFor is how long the rule of the daemon's configuration asks for.
const missionFor = 5 * time.Minute

// short writes a duration as rules do: whole seconds.
func short(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) + "s" }

// phase waits until the instance's alert is in a phase.
func (w *world) phase(ctx context.Context, id, phase string) (alert, error) {
	ctx, cancel := context.WithTimeout(ctx, w.o.alert+3*time.Minute)
	defer cancel()
	for {
		a, err := w.alertOf(ctx, id)
		if err == nil && a.Phase == phase {
			return a, nil
		}
		if pauseErr := testbed.Pause(ctx, time.Second); pauseErr != nil {
			return alert{}, fmt.Errorf("HighCPU of %s is %q and not %s: %w\n%s", id, a.Phase, phase, errors.Join(err, pauseErr), w.daemon.Tail())
		}
	}
}

// alertOf returns the instance's alert, the zero alert if there is none.
func (w *world) alertOf(ctx context.Context, id string) (alert, error) {
	var list struct {
		Items []alert `json:"items"`
	}
	if err := w.daemon.Call(ctx, http.MethodGet, "/api/v1/alerts?limit=1000", nil, &list); err != nil {
		return alert{}, err
	}
	for _, a := range list.Items {
		if a.Labels["alertname"] == "HighCPU" && a.Labels["vm_id"] == id {
			return a, nil
		}
	}
	return alert{}, nil
}

// compare returns which part of its one core the guest was busy between two evaluations, by the alert and by the qemu process.
func (w *world) compare(ctx context.Context, id string, pid int) (ours, theirs float64, err error) {
	before, err := processTime(pid)
	began := time.Now()
	if err != nil {
		return 0, 0, err
	}
	old, err := w.alertOf(ctx, id)
	if err != nil {
		return 0, 0, err
	}
	for { // the value that is shown then was measured within this time
		if err := testbed.Pause(ctx, time.Second); err != nil {
			return 0, 0, err
		}
		a, err := w.alertOf(ctx, id)
		if err != nil {
			return 0, 0, err
		}
		if a.Value != old.Value && time.Since(began) > 5*time.Second {
			after, err := processTime(pid)
			return a.Value, 100 * (after - before).Seconds() / time.Since(began).Seconds(), err
		}
		if time.Since(began) > time.Minute {
			return 0, 0, errors.New("the alert's value does not change")
		}
	}
}

// qemu returns the process of the only machine that is ours.
func (w *world) qemu() (int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	var found []int
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		if args := strings.Split(string(b), "\x00"); strings.Contains(filepath.Base(args[0]), "qemu-system") && strings.Contains(string(b), w.libvirt.Dir) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			if err != nil {
				return 0, err
			}
			found = append(found, pid)
		}
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("%d qemu processes below %s, instead of one", len(found), w.libvirt.Dir)
	}
	return found[0], nil
}

// prefer lets a process go before the other work of a busy machine, which would keep the guest from being as busy as the rule asks. The
// scheduler counts each thread, and groups of them by session where it is so configured.
func prefer(ctx context.Context, pid int) error {
	const nice = "-15"
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return err
	}
	args := []string{"-n", nice, "-p"}
	for _, t := range tasks {
		args = append(args, t.Name())
	}
	if out, err := exec.CommandContext(ctx, "renice", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("the qemu process cannot be preferred: %w: %s", err, out)
	}
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte(nice), 0) // where there are no such groups none is needed
	return nil
}

// processTime returns the processor time that a process has used, in user and kernel mode: the 14th and 15th field of stat, in ticks of a
// hundredth of a second (proc(5)).
func processTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has only %d fields", pid, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}
