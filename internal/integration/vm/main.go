// Command vm shows the whole of Berthage on a real machine: it starts a private libvirtd and berthd, launches
// one instance through the REST API, waits until SSH answers inside the guest, prints what the guest says of
// itself, deletes the instance and looks that nothing is left. `make vm` calls it; it needs root and Debian.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type options struct {
	image   string
	bench   int
	kill    bool
	uri     string
	cache   string
	keep    bool
	verbose bool
	timeout time.Duration
	alert   time.Duration
	hold    time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.image, "image", "tiny", "guest: tiny (seconds to build) or debian (a Debian 12 cloud image with real cloud-init)")
	flag.IntVar(&o.bench, "bench", 0, "`runs` alternating with a bare virsh launch of the same guest, to print the median ratio")
	flag.BoolVar(&o.kill, "kill", false, "kill berthd (kill -9) at several moments of the launch and start it again")
	flag.StringVar(&o.uri, "uri", "", "use this libvirtd, by go-libvirt's `URI`, instead of a private one")
	flag.StringVar(&o.cache, "cache", "/var/cache/berthage", "`directory` in which built guest images are kept")
	flag.DurationVar(&o.alert, "alert", 0, "make the guest busy and see the rule for CPU fire after this long and be resolved; 5m is the rule as it is; 0 does not")
	flag.DurationVar(&o.hold, "hold", 0, "keep the guest at work for this long before it is deleted, to be looked at on berthd's pages; give a greater -timeout too")
	flag.BoolVar(&o.keep, "keep", false, "keep the working directory with the daemons' logs")
	flag.BoolVar(&o.verbose, "v", false, "show berthd's log")
	flag.DurationVar(&o.timeout, "timeout", 25*time.Minute, "give up after this long")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		os.Exit(1)
	}
}

// say prints progress, with the time since the program began.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}

var began = time.Now()

func run(ctx context.Context, o options) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("needs root, to start libvirtd and a network")
	}
	if o.image != "tiny" && o.image != "debian" {
		return fmt.Errorf("-image %q: tiny or debian", o.image)
	}
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	// What was started is stopped in any case, also when the time is up.
	defer func() {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, w.close(cleanup))
	}()
	if err := w.startDaemon(ctx); err != nil {
		return err
	}
	if err := w.catalogue(ctx); err != nil {
		return err
	}
	if o.bench > 0 {
		return w.bench(ctx, o.bench)
	}
	return w.once(ctx)
}
