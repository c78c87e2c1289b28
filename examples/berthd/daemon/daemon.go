// Package daemon puts berthd together: the lock on its data, the store, the drivers, the Manager, and the web
// server in front of it; and takes it apart again in the right order.
package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth/session"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/api"
	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/datadir"
	"github.com/berthage/berthage/examples/berthd/ledger"
	"github.com/berthage/berthage/examples/berthd/metrics"
	"github.com/berthage/berthage/examples/berthd/operation"
	"github.com/berthage/berthage/examples/berthd/passkey"
	"github.com/berthage/berthage/examples/berthd/receivers"
	"github.com/berthage/berthage/examples/berthd/trail"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// Options are what Open needs beside the configuration. The zero value is useful.
type Options struct {
	Version string
	Logger  *slog.Logger       // nil: nothing is logged
	Out     io.Writer          // where the links are printed; nil: nowhere
	Fleet   func(*fake.Config) // shapes the simulated fleet; for tests
}

// Daemon is one berthd.
type Daemon struct {
	config  config.Config
	version string
	log     *slog.Logger
	out     io.Writer

	lock    *datadir.Lock
	store   *datadir.Store
	drivers *drivers
	manager *berthage.Manager
	books   *access.Books
	guard   *access.Guard
	knocks  access.Knocks     // at the hooks
	entered *session.Sessions // of those who have signed in
	token   string
	ops     *operation.Log
	metrics *metrics.Metrics
	keys    *receivers.Keys // seal the secrets of receivers
	maker   *receivers.Maker

	passkeys   *passkey.Passkeys // set before anything is served
	noPasskeys error             // why there are none

	configured map[string]receivers.Receiver // those of the configuration, by name; never changed

	backups *ledger.Backups // nil: none are written
	trail   *trail.Recorder
	heads   *trail.Heads       // nil: none are signed but those that are asked for
	forward *ledger.Forwarding // of the audit log; nil: nowhere
	handler http.Handler

	measured *measured // nil: nothing is kept

	drain   chan struct{}
	url     atomic.Pointer[string]
	running atomic.Bool // Run has not returned
}

// keptOperations is how many operations that have ended are remembered.
const keptOperations = 10_000

// Open takes the data directory and opens everything in it. It starts nothing; Serve does. Close must be
// called when Open has succeeded and Serve is not called.
func Open(ctx context.Context, c config.Config, o Options) (*Daemon, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Version == "" {
		o.Version = "devel"
	}
	d := &Daemon{config: c, version: o.Version, log: o.Logger, out: o.Out, drain: make(chan struct{}), ops: operation.NewLog(keptOperations), configured: make(map[string]receivers.Receiver), knocks: access.Knocks{What: "wrong signatures"}}
	if err := d.open(ctx, o); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Daemon) open(ctx context.Context, o Options) (err error) {
	if d.config.Data, err = filepath.Abs(d.config.Data); err != nil {
		return err
	}
	if d.lock, err = datadir.Take(d.config.Data); err != nil {
		return err
	}
	if d.token, err = access.LoadToken(d.TokenFile()); err != nil {
		return err
	}
	if d.store, err = datadir.OpenStore(ctx, d.config.Data); err != nil {
		return fmt.Errorf("open the ledger: %w", err)
	}
	if err = d.receivers(); err != nil {
		return err
	}
	if d.drivers, err = assemble(ctx, d.config, o.Fleet, d.log); err != nil {
		return err
	}
	alerting, messaging, err := d.alerting()
	if err != nil {
		return err
	}
	// No Scratch: the lock on the directory sees to it that this Manager is the only one, and without a lease
	// it need not wait for that of a predecessor that was killed to run out.
	d.manager, err = berthage.Open(ctx, berthage.Config{
		Drivers: d.drivers.all, Ledger: d.store, Logger: d.log,
		Poll: d.config.Poll, Grace: d.config.Grace, Evacuation: d.config.Evacuation, FenceAfter: d.config.FenceAfter, Preempt: d.config.Preempt,
		Rebalance: d.config.Rebalance, Measure: d.config.Measure, Lifetimes: d.config.Lifetimes, Worth: d.config.Worth, BurstFor: d.config.BurstFor,
		Alerting: alerting, Messaging: messaging, Parts: trail.Parts(),
		Scheduler: &scheduler.Scheduler{CostWeight: d.config.CostWeight, LoadWeight: d.config.LoadWeight},
	})
	if err != nil {
		return err
	}
	if d.manager.Status().Stale == "" {
		if err := seed(ctx, d.manager, d.drivers.sim); err != nil {
			return fmt.Errorf("first start: %w", err)
		}
	}
	if err := d.authentication(ctx); err != nil {
		return err
	}
	desk, err := d.people()
	if err != nil {
		return err
	}
	providers, err := d.providers()
	if err != nil {
		return err
	}
	d.metrics = metrics.New(d.manager, d.version)
	if d.config.BackupEvery > 0 {
		if d.backups, err = ledger.NewBackups(d.config, d.store, d.log); err != nil {
			return err
		}
		d.backups.Failed = d.backupFailed
		d.metrics.Backups(d.backups.Status)
	}
	if d.config.History > 0 {
		if err := d.measure(); err != nil {
			return fmt.Errorf("%w; --history 0 starts without it", err)
		}
	}
	read, err := d.audit()
	if err != nil {
		return err
	}
	if err := setPrices(ctx, d.manager, d.config.Prices); err != nil {
		return err
	}
	d.handler = d.routes(api.Config{
		Manager: d.manager, Operations: d.ops, Guard: d.guard, Logger: d.log, Version: d.version,
		Drivers: d.drivers.kinds, URL: d.URL, Drain: d.drain, CostWeight: d.config.CostWeight,
		History: d.History(), Keys: d.keys, Maker: d.maker, Desk: desk, Providers: providers, Scratch: d.store, GuestUser: d.config.GuestUser, Trail: read,
		Passkeys: func() (*passkey.Passkeys, error) { return d.passkeys, d.noPasskeys },
	})
	return nil
}

// Manager returns the daemon's Manager.
func (d *Daemon) Manager() *berthage.Manager { return d.manager }

// Fleet returns the simulated fleet, nil without one.
func (d *Daemon) Fleet() *fake.Driver {
	if d.drivers.sim == nil {
		return nil
	}
	return d.drivers.sim.fleet
}

// Token returns the bearer token.
func (d *Daemon) Token() string { return d.token }

// TokenFile returns the name of the file that has it.
func (d *Daemon) TokenFile() string { return TokenFile(d.config.Data) }

// TokenFile returns the name of the token's file in a data directory.
func TokenFile(data string) string { return filepath.Join(data, "token") }

// URL returns where the daemon can be reached from this machine; empty before Serve listens.
func (d *Daemon) URL() string {
	if u := d.url.Load(); u != nil {
		return *u
	}
	return ""
}

// SignInLink returns a link that signs one browser in.
func (d *Daemon) SignInLink() string {
	code, _ := d.guard.NewCode()
	return api.SignInURL(d.URL(), code)
}

// Times of the web server. A stream sets its own.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = 60 * time.Second
	idleTimeout   = 2 * time.Minute
	drainTimeout  = 10 * time.Second
)

// Serve listens and runs until ctx ends, then ends the streams, lets requests finish, stops the Manager and
// closes everything. The error is nil when ctx has ended it.
func (d *Daemon) Serve(ctx context.Context) error {
	l, moved, err := listen(d.config.Listen)
	if err != nil {
		return errors.Join(fmt.Errorf("listen on %s: %w", d.config.Listen, err), d.Close())
	}
	url, local := reach(l.Addr(), d.config.TLSCert != "")
	d.url.Store(&url)
	if d.passkeys, d.noPasskeys = d.passkeysAt(url); d.noPasskeys != nil {
		d.log.Info("nobody can use a passkey", "why", d.noPasskeys)
	}
	srv := &http.Server{
		Handler: d.handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}
	if d.config.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(d.config.TLSCert, d.config.TLSKey)
		if err != nil {
			return errors.Join(fmt.Errorf("TLS certificate: %w", err), l.Close(), d.Close())
		}
		srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	} else if !local {
		d.log.Warn("the token and sessions travel unencrypted to other machines: use --tls-cert, or listen on 127.0.0.1", "listen", l.Addr().String())
	}
	if err := d.lock.Announce(datadir.Running{URL: url, Cert: d.config.TLSCert}); err != nil {
		return errors.Join(err, l.Close(), d.Close())
	}
	d.greet(moved)
	d.log.Info("serving", "url", url, "config", d.config)

	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	d.running.Store(true)
	wg.Go(func() { d.run(background) })
	wg.Go(func() { d.follow(background) })
	wg.Go(func() { d.books.Run(background) })
	wg.Go(func() { d.forwarding(background) })
	if d.heads != nil {
		wg.Go(func() { d.heads.Run(background) })
	}
	if d.backups != nil {
		wg.Go(func() { d.backups.Run(background) })
	}
	if d.measured != nil {
		wg.Go(func() { d.measured.run(background) })
	}
	// What was refused is written down while the Manager still runs.
	trailing, stopTrail := context.WithCancel(background)
	defer stopTrail()
	var trailed sync.WaitGroup
	trailed.Go(func() { d.trail.Run(trailing) })
	served := make(chan error, 1)
	go func() { served <- serve(srv, l) }()
	select {
	case err = <-served:
		err = fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	close(d.drain)
	end, cancel := context.WithTimeout(background, drainTimeout)
	defer cancel()
	if srv.Shutdown(end) != nil {
		_ = srv.Close() // what is still open has had its time
	}
	stopTrail()
	trailed.Wait()
	stop()
	wg.Wait()
	return errors.Join(err, d.Close())
}

func serve(srv *http.Server, l net.Listener) error {
	if srv.TLSConfig != nil {
		return srv.ServeTLS(l, "", "")
	}
	return srv.Serve(l)
}

// run runs the Manager. When it cannot follow the ledger any more the daemon goes on answering questions.
func (d *Daemon) run(ctx context.Context) {
	defer d.running.Store(false)
	if err := d.manager.Run(ctx); err != nil && ctx.Err() == nil {
		d.log.Error("the manager has stopped; no commands are taken", "error", err)
	}
}

// follow keeps the operations up to date with the ledger.
func (d *Daemon) follow(ctx context.Context) {
	for ctx.Err() == nil {
		for b, err := range d.manager.Events(ctx, d.ops.Head()) {
			if errors.Is(err, pool.ErrCompacted) { // what ended before is forgotten
				d.ops.Skip(d.manager.Status().Revision)
				break
			}
			if err != nil {
				if ctx.Err() == nil {
					d.log.Warn("cannot read the ledger", "error", err)
				}
				break
			}
			d.ops.Apply(b)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// greet prints what a person needs to begin. Nothing of it goes to the log: the link is a credential.
func (d *Daemon) greet(moved bool) {
	url := d.URL()
	fmt.Fprintf(d.out, "berthd %s\n", d.version)
	if moved {
		fmt.Fprintf(d.out, "  %s is in use; listening on %s instead\n", d.config.Listen, url)
	}
	fmt.Fprintf(d.out, "  dashboard  %s\n", d.SignInLink())
	fmt.Fprintf(d.out, "             the link signs one browser in, within %d minutes; `berthd link` prints another\n", int(access.Code.Minutes()))
	if d.nobody() {
		fmt.Fprintln(d.out, "  people     nobody signs in by name yet: `berthd user add NAME --role admin` makes the first admin")
	}
	fmt.Fprintf(d.out, "  API        %s/api/v1, described at %s/docs\n", url, url)
	fmt.Fprintf(d.out, "  token      %s\n", d.TokenFile())
	fmt.Fprintf(d.out, "  data       %s\n", d.config.Data)
}

// Close closes what is open. Serve calls it.
func (d *Daemon) Close() error {
	var errs []error
	if d.manager != nil {
		d.manager.Close()
	}
	if d.drivers != nil {
		errs = append(errs, d.drivers.Close())
	}
	if d.measured != nil {
		errs = append(errs, d.measured.history.Close())
	}
	if d.store != nil {
		errs = append(errs, d.store.Close())
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Release())
	}
	d.manager, d.drivers, d.measured, d.store, d.lock = nil, nil, nil, nil, nil
	return errors.Join(errs...)
}
