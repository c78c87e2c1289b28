package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/examples/berthd/receivers"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// alertFile is what the file says that --alert-rules names: YAML, or JSON, which is YAML too. Rules are written as the API has them.
type alertFile struct {
	Defaults *bool               `json:"defaults"` // whether the Manager's own rules are evaluated too; absent: they are
	Rules    []alert.Rule        `json:"rules"`    // one with the name of a default one goes before it
	Inhibit  []alert.InhibitRule `json:"inhibit"`  // what is not told while something else fires
	Hooks    map[string][]string `json:"hooks"`    // commands that rules may have run, by name
	DryRun   bool                `json:"dry_run"`  // whatever rules want done is recorded and not done

	Receivers []receivers.Configured `json:"receivers"` // who can be told, beside those in the ledger
	Route     alert.Route            `json:"route"`     // the root of who is told, while the ledger has none
	Times     []alert.Times          `json:"times"`     // that routes name
}

// readAlertFile reads the file. What it does not know it refuses: a rule that is spelled wrongly would watch nothing.
func readAlertFile(name string) (alertFile, error) {
	var f alertFile
	err := readYAML(name, &f)
	for n, r := range f.Inhibit {
		if err == nil && (len(r.Source) == 0 || len(r.Target) == 0) {
			err = fmt.Errorf("inhibit[%d]: source_matchers and target_matchers are needed: without one it would match everything", n)
		}
	}
	for name, command := range f.Hooks {
		if err == nil && (len(command) == 0 || command[0] == "") {
			err = fmt.Errorf("hooks: %q: a command and its arguments", name)
		}
	}
	if err == nil {
		err = f.routing().Validate()
	}
	if err != nil {
		return f, fmt.Errorf("alert-rules: %s: %w", name, err)
	}
	return f, nil
}

func (f alertFile) routing() alert.Routing { return alert.Routing{Root: f.Route, Times: f.Times} }

// notifiers makes the file's receivers, and says which of them do not want to know what is over. Known are these receivers with their
// secrets.
func (f alertFile) notifiers(m *receivers.Maker, known map[string]receivers.Receiver) (all map[string]notify.Notifier, firingOnly []string, err error) {
	all = make(map[string]notify.Notifier, len(f.Receivers))
	for n, c := range f.Receivers {
		at := fmt.Sprintf("alert-rules: receivers[%d]", n)
		if err := pool.ValidName(c.Name); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", at, err)
		}
		if all[c.Name] != nil {
			return nil, nil, fmt.Errorf("%s: the name %s stands twice", at, pool.Quote(c.Name))
		}
		r, err := c.Resolve(os.Getenv)
		if err == nil {
			all[c.Name], err = m.Make(r)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s, %s: %w", at, c.Name, err)
		}
		known[c.Name] = r
		if c.FiringOnly {
			firingOnly = append(firingOnly, c.Name)
		}
	}
	for _, name := range f.routing().Receivers() {
		if all[name] == nil {
			return nil, nil, fmt.Errorf("alert-rules: route: there is no receiver %s", pool.Quote(name))
		}
	}
	return all, firingOnly, nil
}

// apply makes the file a part of what the Manager is told.
func (f alertFile) apply(a *berthage.Alerting) {
	a.Rules = append([]alert.Rule{}, f.Rules...)
	if f.Defaults == nil || *f.Defaults {
		named := make(map[string]bool)
		for _, r := range f.Rules {
			named[r.Name] = true
		}
		for _, r := range berthage.DefaultRules() {
			if !named[r.Name] {
				a.Rules = append(a.Rules, r)
			}
		}
	}
	a.Inhibit, a.DryRun = f.Inhibit, f.DryRun
	a.Hooks = make(map[string]func(context.Context, alert.Alert) error, len(f.Hooks))
	for name, command := range f.Hooks {
		a.Hooks[name] = hook(command).run
	}
}

// hook is a command that is run because an alert began to fire.
type hook []string

// mostOutput is how much of what a hook prints is in its error.
const mostOutput = 4 << 10

// run runs the command with the alert as JSON on its standard input and BERTHD_ALERT, the rule's name, in its environment. No shell reads
// any of it. The command's own words are in the error when it fails.
func (h hook) run(ctx context.Context, a alert.Alert) error {
	b, err := json.Marshal(map[string]any{
		"labels": a.Labels, "annotations": a.Annotations, "value": fmt.Sprint(a.Value), "active": a.Active, "fired": a.Fired,
	})
	if err != nil {
		return err
	}
	var out tail
	c := exec.CommandContext(ctx, h[0], h[1:]...) // #nosec G204 -- named by whoever configures the daemon
	c.Stdin, c.Stdout, c.Stderr, c.WaitDelay = bytes.NewReader(b), &out, &out, time.Second
	c.Env = append(os.Environ(), "BERTHD_ALERT="+strings.ReplaceAll(a.Labels.Get(alert.NameLabel), "\x00", ""))
	if err := c.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(strings.ToValidUTF8(string(out), "?")))
	}
	return nil
}

// tail keeps the last bytes that were written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	if extra := len(*t) - mostOutput; extra > 0 {
		*t = append(tail{}, (*t)[extra:]...)
	}
	return len(p), nil
}
