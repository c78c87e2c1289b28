package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"time"

	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/datadir"
)

// Link asks the daemon that runs on a data directory for a sign-in link. It is for whoever can read the
// token's file.
func Link(ctx context.Context, data string) (string, error) {
	l, err := reachLocal(data)
	if err != nil {
		return "", err
	}
	var out struct{ URL string }
	if err := l.call(ctx, http.MethodPost, "/links", nil, &out); err != nil {
		return "", err
	}
	if out.URL == "" {
		return "", errors.New("berthd answered without a link")
	}
	return out.URL, nil
}

// local is a daemon that runs on this machine, as who can read its token asks it.
type local struct {
	by     datadir.Running
	token  string
	client *http.Client
}

// reachLocal finds the daemon that runs on a data directory.
func reachLocal(data string) (*local, error) {
	by, err := datadir.Find(data)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (by.URL == "" || !datadir.Held(data)) {
		return nil, fmt.Errorf("no berthd runs on %s", data)
	}
	if err != nil {
		return nil, err
	}
	token, err := access.ReadToken(TokenFile(data))
	if err != nil {
		return nil, err
	}
	l := &local{by, token, &http.Client{Timeout: 10 * time.Second}}
	if by.Cert != "" {
		// The daemon's own certificate is trusted, for whatever name it is made out.
		if l.client.Transport, err = pinned(by.Cert); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// call sends a request to the API and reads the answer into out, unless it is nil. What the daemon refuses is an error with its words.
func (l *local) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, l.by.URL+"/api/v1"+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+l.token)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := l.client.Do(r)
	if err != nil {
		return fmt.Errorf("berthd (pid %d) does not answer: %w", l.by.PID, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err != nil {
		return fmt.Errorf("berthd (pid %d) has not answered to the end: %w", l.by.PID, err)
	}
	if res.StatusCode >= 300 {
		var no struct{ Title, Detail string }
		if err := json.Unmarshal(b, &no); err != nil {
			return fmt.Errorf("berthd answered %s with something else than JSON: %w", res.Status, err)
		}
		return fmt.Errorf("berthd answered %s: %s: %s", res.Status, no.Title, no.Detail)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("berthd answered %s with something else than JSON: %w", res.Status, err)
	}
	return nil
}

// pinned returns a transport that accepts exactly the certificate in a file.
func pinned(file string) (http.RoundTripper, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // #nosec G402 -- the check below takes its place
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: roots})
			return err
		},
	}}, nil
}
