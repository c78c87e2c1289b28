// Command berthd is the reference daemon of Berthage: a REST API, a dashboard and metrics over a pool of
// hosts, built on the SDK's exported names alone.
//
//	berthd --simulate 200            a simulated fleet, to try it out
//	berthd --libvirt qemu:///system  real machines on this computer
//	berthd ledger verify             look after the ledger: export, import, backups and the like
//	berthd audit verify              prove what stands in it: signed heads, and events for others to check
//	berthd link                      a link that signs a browser in, from the daemon that runs
//	berthd user add ada --role admin somebody who signs in by name and password
//	berthd --help                    every option
//
// Everything that it keeps is in its data directory: the ledger (SQLite), what was measured, the bearer token and, with
// --simulate, the file of the simulated hypervisor.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/examples/berthd/ledger"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `berthd runs a pool of hosts: virtual machines by REST API and dashboard.

  berthd [serve] [options]  run the daemon
  berthd link [options]     print a link that signs a browser in to the daemon that runs
  berthd user COMMAND       add, list: who signs in by name; password, second-factor: help who cannot; berthd user help
  berthd ledger COMMAND     verify, export, import, compact or back up the ledger; berthd ledger help
  berthd audit COMMAND      sign what the ledger is, prove what stands in it, verify both; berthd audit help
  berthd version            print the version
  berthd help               print this

Options:
`

// run is main with everything that it touches passed in; it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	command := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	if command == "ledger" || command == "audit" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		if command == "audit" {
			return ledger.Audit(ctx, args, stdout, stderr)
		}
		return ledger.Run(ctx, args, stdout, stderr)
	}
	var err error
	switch command {
	case "serve":
		err = serve(args, stdout, stderr)
	case "link":
		err = link(args, stdout)
	case "user":
		err = daemon.User(context.Background(), args, os.Stdin, stdout)
		if errors.Is(err, flag.ErrHelp) { // it has said how
			return 0
		}
	case "version":
		fmt.Fprintln(stdout, "berthd", version())
	case "help":
		err = flag.ErrHelp
	default:
		err = fmt.Errorf("%q is not a command; berthd help tells them", command)
	}
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		config.Usage(stdout)
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "berthd:", err)
		return 1
	}
	return 0
}

// serve runs the daemon until it is told to stop. A second signal ends it at once.
func serve(args []string, stdout, stderr io.Writer) error {
	c, err := config.Load(config.Sources{Args: args})
	if err != nil {
		return err
	}
	log := logger(c, stderr)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() {
		stop() // the next one has its usual effect
		log.Info("stopping; a second signal ends it at once")
	})
	d, err := daemon.Open(ctx, c, daemon.Options{Version: version(), Logger: log, Out: stdout})
	if err != nil {
		return err
	}
	return d.Serve(ctx)
}

func link(args []string, stdout io.Writer) error {
	data, err := config.LoadData(config.Sources{Args: args})
	if err != nil {
		return err
	}
	url, err := daemon.Link(context.Background(), data)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, url)
	return nil
}

func logger(c config.Config, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// version is that of the module that the program was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
