// Command alertd takes alerts and tells of them as Alertmanager does, with its flags, configuration and API, by packages alert and notify alone. It
// is there to be judged by Alertmanager's acceptance suite; berthd is the daemon for use.
//
// What it lacks of Alertmanager:
//
//   - receivers other than webhook_configs with url, send_resolved and timeout; every setting of global but resolve_timeout; tracing. A
//     configuration with anything else is refused. Templates are read and not used, since webhooks have none.
//   - clustering: with --cluster.listen-address it calls itself a cluster of one, and nothing can join it. It does not listen there.
//   - persistence: --storage.path is taken and not used; alerts, silences and what was told are gone with the process.
//   - the web page, metrics, TLS and authentication, amtool's routes, labels of routes and receivers, annotations of silences.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/berthage/berthage/alert"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "alertd:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var level slog.Level
	names := syntax(alert.EitherSyntax)
	flags := flag.NewFlagSet("alertd", flag.ContinueOnError)
	path := flags.String("config.file", "alertmanager.yml", "the configuration")
	flags.TextVar(&level, "log.level", slog.LevelInfo, "debug, info, warn or error")
	listen := flags.String("web.listen-address", ":9093", "where the API is")
	prefix := flags.String("web.route-prefix", "/", "with what the paths of the API begin")
	_ = flags.String("storage.path", "data/", "not used")
	peer := flags.String("cluster.listen-address", "0.0.0.0:9094", "as what this process calls itself a cluster of one; empty: it is none")
	_ = flags.Duration("cluster.settle-timeout", 0, "not used: there is nothing to settle")
	delay := flags.Duration("dispatch.start-delay", 0, "how long nothing is told after the start")
	flags.Func("enable-feature", "classic-mode or utf8-strict-mode: which matchers, and names of labels, are read", func(s string) error {
		switch s {
		case "classic-mode":
			names = syntax(alert.ClassicSyntax)
		case "utf8-strict-mode":
			names = syntax(alert.UTF8Syntax)
		default:
			return errors.New("no such feature")
		}
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))

	t, err := newTeller(*path, names, *delay, log)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	server := http.Server{
		Handler:           api{teller: t, peer: *peer, began: time.Now()}.handler(strings.TrimSuffix(*prefix, "/")),
		ReadHeaderTimeout: 10 * time.Second,
	}
	log.Info("Listening on", "address", l.Addr().String())

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() { defer cancel(); served <- server.Serve(l) }()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				if err := t.reload(); err != nil {
					log.Error("The configuration is as it was", "error", err)
				}
			}
		}
	}()
	err = t.run(ctx)
	_ = server.Close() // what is asked now has no answer
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}
