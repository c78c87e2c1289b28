// Command vmfleet shows a mixed fleet on real hypervisors: one berthd over two libvirt hosts with QEMU, a real OpenStack and a simulated
// Proxmox VE, and a cluster of twelve over all of them. As an operator would, over the REST API, it drains a libvirt host, whose guests go on
// running elsewhere; it cuts the other off, upon which nothing may happen; lets berthd fence it by the command that its configuration names, upon
// which what ran there is made anew elsewhere; and brings it back, where the old copies must go before anything else comes.
//
// Every step is checked, by what berthd says and by looking at the hypervisors past it, and the first that is not as it must be ends the program
// with an error. `make vm-fleet` calls it; it needs root and Debian. What it prints it also writes, where -transcript says.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

type options struct {
	openstack  bool
	transcript string
	cache      string
	keep       bool
	verbose    bool
	timeout    time.Duration
}

func main() {
	var o options
	flag.BoolVar(&o.openstack, "openstack", true, "with a real OpenStack, which takes a minute to start and, the first time, packages to install")
	flag.StringVar(&o.transcript, "transcript", "", "write what is printed to this `file`, if everything has been run and was as it must be")
	flag.StringVar(&o.cache, "cache", "/var/cache/berthage", "`directory` in which the built guest image is kept")
	flag.BoolVar(&o.keep, "keep", false, "keep the working directory with the daemons' logs")
	flag.BoolVar(&o.verbose, "v", false, "show berthd's log")
	flag.DurationVar(&o.timeout, "timeout", 40*time.Minute, "give up after this long")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, errors.New("the time of -timeout is up"))
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "vmfleet:", err)
		if ctx.Err() != nil {
			fmt.Fprintln(os.Stderr, "vmfleet: ended by:", context.Cause(ctx))
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("NOT RUN: needs root, to start libvirtd, networks and OpenStack")
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("NOT RUN: needs Debian, of whose packages libvirt, QEMU and OpenStack are")
	}
	t := newTranscript(os.Stdout)
	f := &fleet{o: o, t: t}
	// What was started is stopped in any case, also when the time is up or somebody has had enough.
	defer func() {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
		defer cancel()
		if closing := f.close(cleanup); closing != nil {
			err = errors.Join(err, fmt.Errorf("clean-up: %w", closing))
		}
		if err == nil {
			err = f.tell(o.transcript)
		}
	}()
	for _, step := range []func(context.Context) error{f.start, f.pool, f.launch, f.drain, f.silence, f.fence, f.comeBack, f.end} {
		if err := step(ctx); err != nil {
			if f.berthd != nil && ctx.Err() == nil {
				fmt.Fprintf(os.Stderr, "berthd's log ends with:\n%s\n", f.berthd.Tail())
			}
			return err
		}
	}
	return nil
}

// tell says at the end what was not run, and writes the transcript where one is wanted.
func (f *fleet) tell(file string) error {
	for _, what := range f.notRun {
		fmt.Println("NOT RUN:", what)
	}
	if file == "" {
		return nil
	}
	if len(f.notRun) > 0 {
		return errors.New("no transcript is written of a run that left something out")
	}
	return os.WriteFile(file, f.t.document(), 0o644)
}
