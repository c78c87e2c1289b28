package proxmox_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"

	library "github.com/luthermonson/go-proxmox"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
)

// bareLibrary is the client library without the transport that the driver puts below it.
func bareLibrary(t *testing.T, s *pvetest.Server, token ...string) *library.Client {
	t.Helper()
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(s.CA()))
	id, secret := "", s.Token()
	if len(token) > 0 {
		secret = token[0]
	}
	for i := range secret {
		if secret[i] == '=' {
			id, secret = secret[:i], secret[i+1:]
			break
		}
	}
	return library.NewClient(s.URL()+"/api2/json", library.WithAPIToken(id, secret),
		library.WithHTTPClient(&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}))
}
