package daemon

import (
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
	by, err := datadir.Find(data)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (by.URL == "" || !datadir.Held(data)) {
		return "", fmt.Errorf("no berthd runs on %s", data)
	}
	if err != nil {
		return "", err
	}
	token, err := access.ReadToken(TokenFile(data))
	if err != nil {
		return "", err
	}
	client := &http.Client{Timeout: 10 * time.Second}
	if by.Cert != "" {
		// The daemon's own certificate is trusted, for whatever name it is made out.
		if client.Transport, err = pinned(by.Cert); err != nil {
			return "", err
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, by.URL+"/api/v1/links", nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(r)
	if err != nil {
		return "", fmt.Errorf("berthd (pid %d) does not answer: %w", by.PID, err)
	}
	defer res.Body.Close()
	var out struct{ URL, Title, Detail string }
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&out); err != nil {
		return "", fmt.Errorf("berthd answered %s with something else than JSON: %w", res.Status, err)
	}
	if res.StatusCode != http.StatusCreated || out.URL == "" {
		return "", fmt.Errorf("berthd answered %s: %s: %s", res.Status, out.Title, out.Detail)
	}
	return out.URL, nil
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
		InsecureSkipVerify: true, // the check below takes its place
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: roots})
			return err
		},
	}}, nil
}
