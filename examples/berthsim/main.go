// Command berthsim answers questions about placement with the SDK's own engine, from a trace of virtual
// machines: how many hosts of a size would be needed, how near that is to what is possible at all, which policy does
// with fewer while VMs come and go, and what moving them would gain.
//
//	berthsim static -trace vms.csv.gz -host-cpu 64 -host-mem 256
//	berthsim churn -trace vms.csv.gz -hosts 1400 -host-cpu 64 -host-mem 128 -policy best-fit,default
//	berthsim defrag -trace vms.csv.gz -at 2500000 -host-cpu 64 -host-mem 128 -moves 25,100,400
//	berthsim static --help
//
// It uses exported names only. Each subcommand is a file of its own; trace.go reads traces for all of them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// command is a subcommand.
type command struct {
	name, does string
	run        func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

func commands() []command {
	return []command{
		{"static", "hosts for VMs that come and stay: online, offline, planned, and the certified bound", static},
		{"churn", "hosts in use while VMs come and go, policy by policy, over the volume bound", churn},
		{"gpu", "how much of a fleet's GPUs different policies allocate when pods fill it", gpu},
		{"defrag", "hosts emptied by moving VMs after a replay up to a moment, and the certified bound", defrag},
	}
}

// errUsage is an error in the arguments, of which the flag package has told already.
var errUsage = errors.New("usage")

// run is main with everything that it touches passed in; it returns the exit code: 2 for wrong arguments.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
		fmt.Fprint(stdout, "berthsim answers capacity questions by replaying a trace of VMs.\n\n")
		for _, c := range commands() {
			fmt.Fprintf(stdout, "  berthsim %-8s %s\n", c.name, c.does)
		}
		fmt.Fprint(stdout, "\nberthsim COMMAND --help tells the rest.\n\n", traceHelp)
		if len(args) == 0 {
			return 2
		}
		return 0
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		err := c.run(ctx, args[1:], stdout, stderr)
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return 0
		case errors.Is(err, errUsage):
			return 2
		}
		fmt.Fprintf(stderr, "berthsim %s: %v\n", c.name, err)
		return 1
	}
	fmt.Fprintf(stderr, "berthsim: %q is not a command; berthsim help tells them\n", args[0])
	return 2
}

// parse reads a subcommand's arguments. Help, with examples, goes to stdout, and what is wrong to stderr.
func parse(fs *flag.FlagSet, args []string, examples string, stdout, stderr io.Writer) error {
	fs.SetOutput(stderr)
	fs.Usage = func() {}
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stdout, "berthsim %s\n\nOptions:\n", fs.Name())
		fs.SetOutput(stdout)
		fs.PrintDefaults()
		fmt.Fprintf(stdout, "\nExamples:\n%s\n%s", examples, traceHelp)
		return err
	case err != nil:
		fmt.Fprintf(stderr, "berthsim %s --help tells the options\n", fs.Name())
		return errUsage
	case fs.NArg() > 0:
		return fmt.Errorf("%q is not an option; berthsim %s --help tells them", fs.Arg(0), fs.Name())
	}
	return nil
}

// result is what a subcommand has found out.
type result interface {
	draw() []byte
	print(w io.Writer) error
}

// show draws a result into the file plot, if one is named, and prints it.
func show(stdout io.Writer, r result, plot string, asJSON bool) error {
	if plot != "" {
		if err := os.WriteFile(plot, r.draw(), 0o644); err != nil {
			return fmt.Errorf("-plot: %w", err)
		}
	}
	if asJSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.print(stdout)
}
