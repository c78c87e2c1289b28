package oidc

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/berthage/berthage/internal/integration/npm"
)

// version is the oidc-provider that judges.
const version = "9.13.3"

//go:embed provider.mjs
var script []byte

// Provider is an oidc-provider that runs.
type Provider struct {
	At *url.URL // where it listens; requests come there as the issuer has got them

	cmd  *exec.Cmd
	said bytes.Buffer
	done chan struct{}
}

// Install returns the directory of oidc-provider. An error says why it cannot be run here.
func Install(ctx context.Context) (dir string, err error) {
	return npm.Install(ctx, "oidc-provider", version, "20")
}

// patience is how long it may take to listen: it makes its keys first.
const patience = 3 * time.Minute

// Start starts the provider that Install has put into dir. What env says is explained in provider.mjs.
func Start(ctx context.Context, dir, issuer string, env ...string) (*Provider, error) {
	p := &Provider{cmd: exec.CommandContext(ctx, "node", "--input-type=module", "-", dir, issuer), done: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdin, p.cmd.Stderr = append(os.Environ(), env...), bytes.NewReader(script), &p.said
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	listens := make(chan *url.URL, 1)
	go func() {
		defer close(p.done)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if at, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
				if u, err := url.Parse(at); err == nil {
					listens <- u
				}
			}
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	select {
	case p.At = <-listens:
		return p, nil
	case <-p.done:
		err = errors.New("the provider has ended")
	case <-time.After(patience):
		err = fmt.Errorf("the provider does not listen after %s", patience)
	}
	return nil, fmt.Errorf("%w: %s", err, p.Stop())
}

// Stop ends it and returns what it has complained of.
func (p *Provider) Stop() string {
	_ = p.cmd.Process.Kill()
	<-p.done
	_ = p.cmd.Wait()
	return p.said.String()
}

// Rewrite is for the relay before it.
func (p *Provider) Rewrite(r *httputil.ProxyRequest) {
	r.SetURL(p.At)
	r.Out.Host = r.In.Host // so that the provider's addresses are the relay's
}
