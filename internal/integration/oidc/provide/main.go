// Command provide is a provider of OpenID Connect on loopback until its standard input ends: oidc-provider, from npm. It prints the issuer, or, where
// it cannot be run, "not run: " and why. The clients and the users are those of provider.mjs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"time"

	"github.com/berthage/berthage/internal/integration/oidc"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "where the issuer is")
	redirect := flag.String("redirect", "", "where the clients have browsers sent back to")
	flag.Parse()
	if err := run(*listen, *redirect); err != nil {
		log.Fatal(err)
	}
}

func run(listen, redirect string) error {
	ctx := context.Background()
	dir, err := oidc.Install(ctx)
	if err != nil {
		fmt.Println("not run:", err)
		return nil
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	issuer := "http://" + l.Addr().String()
	p, err := oidc.Start(ctx, dir, issuer, "REDIRECT="+redirect)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer p.Stop()
	srv := http.Server{Handler: &httputil.ReverseProxy{Rewrite: p.Rewrite}, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = srv.Close()
	}()
	fmt.Println(issuer)
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
