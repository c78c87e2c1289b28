package libvirt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	lv "github.com/digitalocean/go-libvirt"
)

// target is where a daemon listens and what is asked of it.
type target struct {
	remote  lv.ConnectURI // as the daemon itself would call it
	address string        // of the machine; empty: this one
	dial    func(ctx context.Context) (net.Conn, error)
}

// parseURI reads a connection URI of libvirt. Errors do not repeat it, as it could hold a password.
func parseURI(text string) (target, error) {
	bad := func(want string) (target, error) { return target{}, invalid("uri", "", want) }
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Opaque != "" {
		return bad("a libvirt URI such as qemu:///system or qemu+ssh://root@host/system")
	}
	hypervisor, transport, _ := strings.Cut(u.Scheme, "+")
	if transport == "" {
		transport = "unix"
		if u.Host != "" {
			transport = "tls"
		}
	}
	if _, ok := u.User.Password(); ok {
		return bad("no password in a URI; ssh uses a key file or an agent")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("parameters of the form name=value")
	}
	allowed := map[string][]string{
		"unix": {"socket", "mode", "name"},
		"tcp":  {"mode", "name"},
		"tls":  {"pkipath", "no_verify", "mode", "name"},
		"ssh":  {"socket", "keyfile", "known_hosts", "no_verify", "mode", "name"},
	}[transport]
	if allowed == nil {
		return bad("one of the transports unix, tcp, tls and ssh")
	}
	for key := range q {
		if !slices.Contains(allowed, key) {
			return target{}, invalid("uri", key, "with "+transport+" only the parameters "+strings.Join(allowed, ", "))
		}
	}
	if q.Get("mode") == "direct" {
		return bad("no mode=direct; the daemons of single drivers are reached by socket=")
	}
	if (transport == "unix") != (u.Host == "") {
		return bad("a host name, or the transport unix without one")
	}
	t := target{
		remote:  lv.ConnectURI((&url.URL{Scheme: hypervisor, Path: u.Path}).String()),
		address: u.Hostname(),
	}
	if name := q.Get("name"); name != "" {
		t.remote = lv.ConnectURI(name)
	}
	switch transport {
	case "unix":
		socket := q.Get("socket")
		if socket == "" {
			if socket, err = defaultSocket(u.Path); err != nil {
				return target{}, err
			}
		}
		t.dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", socket) }
	case "tcp":
		address := net.JoinHostPort(u.Hostname(), orDefault(u.Port(), "16509"))
		t.dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", address) }
	case "tls":
		d := tlsDialer{host: u.Hostname(), port: orDefault(u.Port(), "16514"), pki: q.Get("pkipath"), trusting: on(q.Get("no_verify"))}
		t.dial = d.dial
	case "ssh":
		if u.Path == "/session" && q.Get("socket") == "" {
			return bad("socket=PATH, as it is not known where sessions have theirs on another machine")
		}
		d := sshDialer{
			host: u.Hostname(), port: orDefault(u.Port(), "22"), user: u.User.Username(),
			socket:  orDefault(q.Get("socket"), systemSocket),
			keyFile: q.Get("keyfile"), knownHosts: q.Get("known_hosts"), trusting: on(q.Get("no_verify")),
		}
		t.dial = d.dial
	}
	return t, nil
}

func orDefault(s, value string) string {
	if s == "" {
		return value
	}
	return s
}

func on(s string) bool { return s != "" && s != "0" }

// systemSocket is where the system's daemon listens.
const systemSocket = "/var/run/libvirt/libvirt-sock"

// defaultSocket is where a daemon listens whose URI names no socket.
func defaultSocket(path string) (string, error) {
	if path != "/session" {
		return systemSocket, nil
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		return "", invalid("uri", "", "socket=PATH, as XDG_RUNTIME_DIR is not set")
	}
	return filepath.Join(dir, "libvirt", "libvirt-sock"), nil
}

// tlsDialer connects by TLS with a client certificate, as libvirt's own clients do
// (https://libvirt.org/kbase/tlscerts.html).
type tlsDialer struct {
	host, port string
	pki        string // directory of cacert.pem, clientcert.pem, clientkey.pem; empty: the system's
	trusting   bool   // do not check the server's certificate
}

func (d tlsDialer) config() (*tls.Config, error) {
	ca, cert, key := "/etc/pki/CA/cacert.pem", "/etc/pki/libvirt/clientcert.pem", "/etc/pki/libvirt/private/clientkey.pem"
	if d.pki != "" {
		ca, cert, key = filepath.Join(d.pki, "cacert.pem"), filepath.Join(d.pki, "clientcert.pem"), filepath.Join(d.pki, "clientkey.pem")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, ServerName: d.host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: d.trusting} // #nosec G402 -- only where the URI says no_verify=1
	if d.trusting {
		return c, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("certificate of the authority: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificate of the authority: %s holds none", ca)
	}
	return c, nil
}

func (d tlsDialer) dial(ctx context.Context) (net.Conn, error) {
	config, err := d.config()
	if err != nil {
		return nil, err
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", net.JoinHostPort(d.host, d.port))
	if err != nil {
		return nil, err
	}
	// The daemon says with one byte that it takes the client's certificate; otherwise it hangs up, as a rule.
	verdict := make([]byte, 1)
	err = bounded(ctx, conn, func() error { _, err := conn.Read(verdict); return err })
	if errors.Is(err, io.EOF) || err == nil && verdict[0] != 1 {
		err = errors.New("the daemon does not accept our certificate or address")
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// bounded runs f, which reads from or writes to conn, and breaks it off when ctx ends.
func bounded(ctx context.Context, conn net.Conn, f func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err := f()
	if (!stop() || err != nil) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
