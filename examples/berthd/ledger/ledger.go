// Package ledger is what an operator does with berthd's ledger from the command line: verify, export, import,
// confirm and compact it, back it up, and try whether a backup can be restored.
//
// It works on the data directory. What only reads (verify, export, backup) and what is one append (confirm) may be
// done while the daemon runs; import and compact take its lock and are refused while somebody else has it.
package ledger

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/datadir"
	"github.com/berthage/berthage/examples/berthd/trail"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgerfile"
)

// The exit codes.
const (
	exitFailed  = 1 // it could not be done
	exitUsage   = 2 // it was not said right
	exitDamaged = 3 // it was done, and what was looked at is not as it should be
)

// command is one subcommand.
type command struct {
	name    string
	operand string // what may stand before its options; empty: nothing
	about   string // one line
	help    string // what follows its options in its help
	setup   func(*flag.FlagSet, *call) func(context.Context) error
}

// group is the subcommands of one command of berthd.
type group struct {
	name, about string
	commands    []command
}

func commands() group {
	return group{"berthd ledger", "looks after the ledger in a data directory", []command{
		verifyCommand(), exportCommand(), importCommand(), confirmCommand(), compactCommand(), backupCommand(), restoreTestCommand(), keygenCommand(),
	}}
}

// call is one run of a subcommand.
type call struct {
	stdout, stderr io.Writer
	data, file     string // --data and --config
	operand        string
}

// usageError is a mistake in what was typed.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// damagedError is a finding: the ledger or file is not what it should be.
type damagedError struct{ error }

// Unwrap returns what was found.
func (e damagedError) Unwrap() error { return e.error }

// Run runs "berthd ledger" with the arguments after that and returns the exit code: 0; 1 when it could not be done;
// 2 when it was not said right; 3 when a ledger or file is damaged or differs.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return commands().run(ctx, args, stdout, stderr)
}

func (g group) run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		g.usage(stdout)
		return 0
	}
	for _, c := range g.commands {
		if c.name == args[0] {
			return c.run(ctx, g.name, args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "%s: %q is not a command; %s help tells them\n", g.name, args[0], g.name)
	return exitUsage
}

// usage writes the list of subcommands.
func (g group) usage(w io.Writer) {
	fmt.Fprintf(w, "%s %s.\n\n", g.name, g.about)
	for _, c := range g.commands {
		fmt.Fprintf(w, "  %s %-13s %s\n", g.name, strings.TrimSpace(c.name+" "+c.operand), c.about)
	}
	fmt.Fprintf(w, `
%s COMMAND --help tells a command's options. The exit code is 0; 1 when it could not be done; 2 when
it was not said right; 3 when a ledger or file is damaged, or differs from what it was compared with.
`, g.name)
}

func (c command) run(ctx context.Context, group string, args []string, stdout, stderr io.Writer) int {
	in := &call{stdout: stdout, stderr: stderr}
	if c.operand != "" && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		in.operand, args = args[0], args[1:]
	}
	set := flag.NewFlagSet(group+" "+c.name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&in.data, "data", "", "the `directory` of everything that the daemon keeps; default: the daemon's")
	set.StringVar(&in.file, "config", "", "the daemon's JSON `file`")
	do := c.setup(set, in)
	err := set.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stdout, "%s %s: %s\n\n", group, c.name, c.about)
		set.SetOutput(stdout)
		set.PrintDefaults()
		fmt.Fprint(stdout, c.help)
		return 0
	case err != nil:
		err = usageError{err}
	case set.NArg() > 0:
		err = usagef("%q is not an option", set.Arg(0))
	default:
		err = do(ctx)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "%s %s: %v\n", group, c.name, err)
	switch {
	case errors.As(err, new(usageError)):
		fmt.Fprintf(stderr, "%s %s --help tells the options\n", group, c.name)
		return exitUsage
	case errors.As(err, new(damagedError)), errors.Is(err, ledgerfile.ErrDamaged), errors.Is(err, pool.ErrCorrupt),
		errors.Is(err, audit.ErrProof), errors.Is(err, audit.ErrSignature):
		return exitDamaged
	}
	return exitFailed
}

// config reads the daemon's configuration as far as it is there.
func (c *call) config() (config.Config, error) {
	var args []string
	if c.file != "" {
		args = append(args, "--config", c.file)
	}
	if c.data != "" {
		args = append(args, "--data", c.data)
	}
	conf, err := config.Read(config.Sources{Args: args})
	if err != nil {
		return conf, usageError{err}
	}
	conf.Data, err = filepath.Abs(conf.Data)
	return conf, err
}

// open opens the ledger of the data directory, which must be there.
func (c *call) open(ctx context.Context) (*datadir.Store, config.Config, error) {
	conf, err := c.config()
	if err != nil {
		return nil, conf, err
	}
	if _, err := os.Stat(filepath.Join(conf.Data, datadir.LedgerFile)); err != nil {
		return nil, conf, fmt.Errorf("no ledger in the data directory: %w", err)
	}
	s, err := datadir.OpenStore(ctx, conf.Data)
	return s, conf, err
}

// progressEvery is how often long work says how far it is.
const progressEvery = 2 * time.Second

// progress returns a function that says now and then how far something is.
func (c *call) progress(what string) func(at, last pool.Revision) {
	next := time.Now().Add(progressEvery)
	return func(at, last pool.Revision) {
		if now := time.Now(); now.After(next) {
			next = now.Add(progressEvery)
			if last > at {
				fmt.Fprintf(c.stderr, "%s: revision %d of %d\n", what, at, last)
			} else {
				fmt.Fprintf(c.stderr, "%s: revision %d\n", what, at)
			}
		}
	}
}

// say prints lines of a name and a value.
func (c *call) say(pairs ...any) {
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(c.stdout, "%-10s %v\n", pairs[i], pairs[i+1])
	}
}

// public is a ledger of which nothing private is read: the books that it gives are the same whatever was forgotten
// since.
type public struct{ pool.Ledger }

func (p public) Read(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	return stripped(p.Ledger.Read(ctx, after))
}

func (p public) Archive(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	return stripped(p.Ledger.Archive(ctx, after))
}

func stripped(in iter.Seq2[pool.Batch, error]) iter.Seq2[pool.Batch, error] {
	return func(yield func(pool.Batch, error) bool) {
		for b, err := range in {
			for i := range b.Events {
				b.Events[i].Private, b.Events[i].Salt = nil, nil
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

// fold returns the books at a revision, 0 standing for the head, and calls at, if it is not nil, at each one.
func fold(ctx context.Context, l pool.Ledger, upTo pool.Revision, at func(*pool.State) error) (*pool.State, error) {
	st := pool.NewState(berthage.Parts(trail.Parts()...)...)
	for b, err := range pool.History(ctx, l, 0) {
		if err != nil {
			return nil, err
		}
		if upTo > 0 && b.Revision > upTo {
			break
		}
		for i := range b.Events {
			if err := st.Apply(&b.Events[i]); errors.Is(err, pool.ErrUnknownKind) {
				return nil, fmt.Errorf("revision %d was written by a newer program: %w", b.Revision, err)
			} else if err != nil {
				return nil, damagedError{fmt.Errorf("revision %d cannot be folded: %w", b.Revision, err)}
			}
		}
		if at != nil {
			if err := at(st); err != nil {
				return nil, err
			}
		}
	}
	return st, nil
}

// plural returns "1 event" or "2 events".
func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprint(n, " ", strings.TrimSuffix(what, "h")+map[bool]string{true: "hes", false: "s"}[strings.HasSuffix(what, "h")])
}
