package ledger

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/pool"
)

// auditLog is what berthd audit log was told.
type auditLog struct {
	after              int64
	follow             bool
	every              time.Duration
	to, format, ca, at string

	heads *headQueue // that are sent with it; nil: none
}

func auditLogCommand() command {
	return command{
		name: "log", about: "print the ledger as an audit log, or send it to a collector",
		help: `
One entry for each event: JSON lines, or syslog (RFC 5424), over TCP and TLS with octet counts. Of private parts there are the
addresses only that commands came from. What a collector cannot take yet stays in the ledger; nothing is left out. With
--state it goes on from where it was: at a restart the last entries may be sent again, with the same event ids.
`,
		setup: func(set *flag.FlagSet, c *call) func(context.Context) error {
			var u unsealing
			var o auditLog
			u.flags(set)
			in := set.String("in", "", "an export or a backup; default: the ledger in the data directory")
			set.Int64Var(&o.after, "after", 0, "begin after this `revision`")
			set.BoolVar(&o.follow, "follow", false, "go on with what is appended, until it is told to stop")
			set.DurationVar(&o.every, "every", time.Second, "how often --follow looks")
			set.StringVar(&o.to, "to", "", "send it to this `address`: tcp://HOST:PORT, tls://HOST:PORT or udp://HOST:PORT")
			set.StringVar(&o.format, "format", "json", "`json` or syslog")
			set.StringVar(&o.ca, "ca", "", "a `file` of certificates that the one of tls:// must come from; default: the system's")
			set.StringVar(&o.at, "state", "", "a `file` that keeps the revision up to which everything was sent")
			return func(ctx context.Context) (err error) {
				send, err := o.sender(c.stdout, slog.New(slog.NewTextHandler(c.stderr, nil)))
				if err != nil {
					return err
				}
				s, end, err := c.source(ctx, *in, &u)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, end()) }()
				return o.run(ctx, s, send)
			}
		},
	}
}

// sender takes entries. Its wait returns once all of them are on their way, or ctx has ended.
type sender struct {
	send func(audit.Entry) error
	wait func(ctx context.Context, most int) bool // until no more than most are held
	run  func(context.Context) error
}

// sender returns where the entries go: to a collector, or where none is named to out.
func (o *auditLog) sender(out io.Writer, log *slog.Logger) (sender, error) {
	var format audit.Format = audit.JSONLines{}
	network, address, dial, err := o.dialer()
	if err != nil {
		return sender{}, err
	}
	switch o.format {
	case "json":
	case "syslog":
		host, err := os.Hostname()
		if err != nil {
			return sender{}, err
		}
		format = audit.Syslog{Host: host, App: "berthd", Process: strconv.Itoa(os.Getpid()), Datagrams: network == "udp"}
	default:
		return sender{}, usagef("--format is json or syslog")
	}
	if o.every <= 0 || o.after < 0 {
		return sender{}, usagef("--every is more than 0, --after a revision from 0")
	}
	if network == "" {
		return sender{
			send: func(e audit.Entry) error {
				_, err := out.Write(append(bytes.TrimRight(format.Append(nil, &e), "\n"), '\n'))
				return err
			},
			wait: func(ctx context.Context, _ int) bool { return ctx.Err() == nil },
			run:  func(context.Context) error { return nil },
		}, nil
	}
	f := &audit.Forwarder{
		Dial:   func(ctx context.Context) (net.Conn, error) { return dial(ctx, network, address) },
		Format: format, Logger: log,
	}
	return sender{
		send: func(e audit.Entry) error { f.Send(e); return nil },
		wait: func(ctx context.Context, most int) bool {
			for f.Status().Waiting > most {
				if !pause(ctx, 20*time.Millisecond) {
					return false
				}
			}
			return ctx.Err() == nil
		},
		run: f.Run,
	}, nil
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// dialer reads --to and --ca.
func (o *auditLog) dialer() (network, address string, dial func(ctx context.Context, network, address string) (net.Conn, error), err error) {
	if o.to == "" {
		return "", "", nil, nil
	}
	u, err := url.Parse(o.to)
	if err != nil || u.Port() == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return "", "", nil, usagef("--to is tcp://HOST:PORT, tls://HOST:PORT or udp://HOST:PORT")
	}
	switch u.Scheme {
	case "tcp", "udp":
		return u.Scheme, u.Host, new(net.Dialer).DialContext, nil
	case "tls":
		conf := &tls.Config{MinVersion: tls.VersionTLS12}
		if o.ca != "" {
			b, err := readText("certificates", o.ca)
			if err != nil {
				return "", "", nil, err
			}
			conf.RootCAs = x509.NewCertPool()
			if !conf.RootCAs.AppendCertsFromPEM(b) {
				return "", "", nil, fmt.Errorf("%s has no certificate as PEM", o.ca)
			}
		}
		return "tcp", u.Host, (&tls.Dialer{Config: conf}).DialContext, nil
	}
	return "", "", nil, usagef("--to is tcp://HOST:PORT, tls://HOST:PORT or udp://HOST:PORT")
}

// mostWaiting are the entries that are read ahead of what a collector takes.
const mostWaiting = 1000

func (o *auditLog) run(ctx context.Context, s source, to sender) error {
	at, err := o.saved()
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- to.run(running) }()
	err = o.pump(ctx, s, to, at)
	stop()
	return errors.Join(err, <-done)
}

// pump sends what there is after a revision, and on.
func (o *auditLog) pump(ctx context.Context, s source, to sender, at pool.Revision) error {
	for {
		before := at
		for b, err := range s.history(ctx, at) {
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			for i := range b.Events {
				if err := to.send(audit.EntryOf(&b.Events[i])); err != nil {
					return err
				}
			}
			at = b.Revision
			if !to.wait(ctx, mostWaiting) {
				return nil
			}
		}
		for _, e := range o.heads.upTo(at) {
			if err := to.send(e); err != nil {
				return err
			}
		}
		if !to.wait(ctx, 0) {
			return nil
		}
		if at != before {
			if err := o.save(at); err != nil {
				return err
			}
		}
		if !o.follow || !pause(ctx, o.every) {
			return nil
		}
	}
}

// saved returns the revision to begin after.
func (o *auditLog) saved() (pool.Revision, error) {
	if o.at == "" {
		return pool.Revision(o.after), nil
	}
	b, err := readText("state", o.at)
	if errors.Is(err, fs.ErrNotExist) {
		return pool.Revision(o.after), nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s does not say a revision", o.at)
	}
	return pool.Revision(max(n, o.after)), nil
}

func (o *auditLog) save(at pool.Revision) error {
	if o.at == "" {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(o.at), filepath.Base(o.at)+"-*.part")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, int64(at))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), o.at)
	}
	if err != nil {
		return errors.Join(err, ignore(os.Remove(f.Name()), fs.ErrNotExist))
	}
	return nil
}
