package daemon_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/examples/berthd/datadir"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/sqlledger"
)

// certificate writes a certificate for a name, signed by itself, and its key, and returns their files.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	write := func(file, kind string, b []byte) string {
		file = filepath.Join(t.TempDir(), file)
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600))
		return file
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", pkcs8)
}

// Over TLS the cookie is for TLS only, and berthd link trusts the daemon's own certificate and no other.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t, "berthd.example")
	c := config.Default()
	c.Listen, c.Data, c.Simulate, c.TLSCert, c.TLSKey = "127.0.0.1:0", t.TempDir(), 1, cert, key
	d, err := daemon.Open(t.Context(), c, daemon.Options{})
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- d.Serve(t.Context()) }()
	for d.URL() == "" {
		time.Sleep(10 * time.Millisecond)
	}
	require.True(t, strings.HasPrefix(d.URL(), "https://127.0.0.1:"))

	var link string
	for began := time.Now(); link == ""; time.Sleep(10 * time.Millisecond) {
		require.Less(t, time.Since(began), time.Minute)
		link, _ = daemon.Link(t.Context(), c.Data) // until it serves
	}
	require.True(t, strings.HasPrefix(link, d.URL()+"/#code="))

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	code := link[len(d.URL()+"/#code="):]
	res, err := client.Post(d.URL()+"/api/v1/session", "application/json", strings.NewReader(`{"code":"`+code+`"}`))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusNoContent, res.StatusCode)
	require.Contains(t, res.Header.Get("Set-Cookie"), "__Host-berthd-")
	require.Contains(t, res.Header.Get("Set-Cookie"), "Secure")
	require.NotEmpty(t, res.Header.Get("Strict-Transport-Security"))

	other, _ := certificate(t, "berthd.example")
	theirs, err := os.ReadFile(other)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(cert, theirs, 0o600))
	_, err = daemon.Link(t.Context(), c.Data)
	require.ErrorContains(t, err, "does not answer")
}

// A libvirt host that cannot be reached holds nothing up; it is simply not there yet.
func TestAHostThatCannotBeReached(t *testing.T) {
	t.Parallel()
	r := start(t, 1, func(c *config.Config, _ *daemon.Options) {
		c.Libvirt = []config.Libvirt{{URI: "qemu:///system?socket=" + filepath.Join(t.TempDir(), "none"), Name: "away", CPU: 2}}
	})
	r.get("/health").want(http.StatusOK)
	require.Equal(t, []any{object{"name": "libvirt", "kind": "libvirt"}, object{"name": "sim", "kind": "simulated"}}, r.get("/api/v1/status").at("drivers"))
	r.launch(vm("here"))
	for _, h := range r.get("/api/v1/hosts?driver=libvirt").items() {
		require.Equal(t, false, h["schedulable"])
	}

	c := r.config
	c.Data, c.Libvirt = t.TempDir(), []config.Libvirt{{URI: "qemu:///system", CPU: -1}}
	_, err := daemon.Open(t.Context(), c, daemon.Options{})
	require.ErrorContains(t, err, "cpu")
	c.Libvirt = []config.Libvirt{{URI: "qemu+pigeon://nowhere/system"}}
	_, err = daemon.Open(t.Context(), c, daemon.Options{})
	require.ErrorContains(t, err, "libvirt")
}

// A caller that sends its body a byte at a time is not waited for.
func TestSlowCallersAreCutOff(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.d.URL(), "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST /api/v1/instances HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+r.d.Token()+"\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	b, err := io.ReadAll(conn)
	require.NoError(t, err, "it is answered and closed")
	require.Regexp(t, `^HTTP/1\.1 408 `, string(b))
}

// What a caller writes into a header comes back as nothing but itself.
func TestHeadersCannotBeForged(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.d.URL(), "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /api/v1/hosts?limit=1&name=%0d%0aX-Forged:%201 HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer "+r.d.Token()+
		"\r\nX-Request-Id: a%0d%0aX-Forged: 1\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	b, err := io.ReadAll(conn)
	require.NoError(t, err)
	head, _, _ := strings.Cut(string(b), "\r\n\r\n")
	require.NotContains(t, head, "X-Forged")
	require.NotContains(t, head, "evil.example")

	res, err := http.DefaultTransport.RoundTrip(r.request(http.MethodGet, "//evil.example/%2e%2e", nil))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.NotContains(t, res.Header.Get("Location"), "evil.example/", "no redirect leads elsewhere")
}

// appendUnknown appends an event of a kind that this version does not know.
func appendUnknown(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	defer db.Close()
	s, err := sqlledger.Open(t.Context(), db, sqlledger.SQLite())
	require.NoError(t, err)
	var head pool.Revision
	for b, err := range s.Read(t.Context(), 0) {
		require.NoError(t, err)
		head = b.Revision
	}
	_, err = s.Append(t.Context(), head, pool.Event{ID: "from-the-future", Time: time.Now(), Actor: "berthage", Epoch: 1, Kind: "instance.cloned", Version: 1, Data: []byte(`{}`)})
	require.NoError(t, err)
}

// A ledger that a newer version has written is read, and takes no commands.
func TestAStaleDaemonAnswersQuestions(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	r.launch(vm("before"))
	r.stop()
	appendUnknown(t, filepath.Join(r.config.Data, "ledger.db"))
	again := serve(t, r.config)
	again.get("/health").want(http.StatusServiceUnavailable)
	require.NotEmpty(t, again.get("/api/v1/status").want(http.StatusOK).at("stale"))
	require.Len(t, again.get("/api/v1/instances").want(http.StatusOK).items(), 1)
	p := again.post("/api/v1/instances", vm("after"))
	p.problem(503, "stale")
	require.Contains(t, string(again.get("/metrics").body), "berthage_stale 1\n")
}

// A daemon that was killed leaves its note behind. Whoever listens on its address now does not get the token.
func TestNoLinkFromWhoeverHasTheAddressNow(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Listen, c.Data, c.Simulate = "127.0.0.1:0", t.TempDir(), 1
	d, err := daemon.Open(t.Context(), c, daemon.Options{})
	require.NoError(t, err)
	require.NoError(t, d.Close())
	stranger := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was asked for with %v", r.URL, r.Header)
	}))
	t.Cleanup(stranger.Close)
	note, err := json.Marshal(datadir.Running{PID: 1, URL: stranger.URL})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(c.Data, "berthd.json"), note, 0o600))
	_, err = daemon.Link(t.Context(), c.Data)
	require.ErrorContains(t, err, "no berthd runs on")
}
