package libvirt_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/pool"
)

// life creates a machine through the URI and destroys it, so that calls and uploads have both been made.
func life(t *testing.T, daemon *daemon, uri string) {
	t.Helper()
	d := connected(t, daemon, func(c *libvirt.Config) { c.Hosts[0].URI = uri })
	o := ordered("web-1")
	require.NoError(t, d.Create(t.Context(), o))
	require.Len(t, machines(t, d), 1)
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.Equal(t, 1, daemon.held())
}

// refused requires that the host cannot be reached by the URI.
func refused(t *testing.T, daemon *daemon, uri, why string) {
	t.Helper()
	d := connected(t, daemon, func(c *libvirt.Config) {
		c.Hosts[0].URI = uri
		c.Timeouts.Dial = 5 * time.Second
	})
	_, err := d.Machines(t.Context(), oneHost)
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	require.ErrorContains(t, err, why)
}

// join copies both ways until one side ends.
func join(a, b net.Conn) {
	done := make(chan struct{}, 2)
	for _, p := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			_, _ = io.Copy(p[0], p[1])
			done <- struct{}{}
		}()
	}
	<-done
	_ = a.Close()
	_ = b.Close()
}

// listen serves every connection on a free port of the loopback interface.
func listen(t *testing.T, serve func(net.Conn)) (host, port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	a := l.Addr().(*net.TCPAddr)
	return a.IP.String(), strconv.Itoa(a.Port)
}

func TestTCP(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	_, port := listen(t, func(c net.Conn) {
		if up, err := net.Dial("unix", daemon.socket); err == nil {
			join(c, up)
		}
	})
	life(t, daemon, "qemu+tcp://127.0.0.1:"+port+"/system")
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// pki makes an authority, a certificate for 127.0.0.1 and one for a client, whose files libvirt's way.
func pki(t *testing.T) (dir string, server *tls.Config) {
	t.Helper()
	dir = t.TempDir()
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	require.NoError(t, err)
	writePEM(t, filepath.Join(dir, "cacert.pem"), "CERTIFICATE", der)
	root, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(root)
	for i, name := range []string{"server", "client"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(int64(2 + i)), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, authority, key.Public(), authorityKey)
		require.NoError(t, err)
		writePEM(t, filepath.Join(dir, name+"cert.pem"), "CERTIFICATE", der)
		private, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		writePEM(t, filepath.Join(dir, name+"key.pem"), "PRIVATE KEY", private)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "servercert.pem"), filepath.Join(dir, "serverkey.pem"))
	require.NoError(t, err)
	return dir, &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	dir, config := pki(t)
	var accepts atomic.Bool
	accepts.Store(true)
	serve := func(c net.Conn) {
		s := tls.Server(c, config)
		if s.Handshake() != nil {
			_ = c.Close()
			return
		}
		verdict := []byte{0}
		if accepts.Load() {
			verdict[0] = 1
		}
		_, _ = s.Write(verdict)
		if up, err := net.Dial("unix", daemon.socket); err == nil {
			join(s, up)
		}
	}
	_, port := listen(t, serve)
	base := "qemu+tls://127.0.0.1:" + port + "/system?pkipath="
	life(t, daemon, base+dir)
	life(t, daemon, base+dir+"&no_verify=1")
	other, _ := pki(t)
	refused(t, daemon, base+other, "certificate")
	refused(t, daemon, base+t.TempDir(), "client certificate")
	accepts.Store(false)
	refused(t, daemon, base+dir, "does not accept")
}

// sshServer forwards Unix sockets for whoever has the key, as OpenSSH does. Like OpenSSH's it has host keys of
// several kinds; the last is the one that clients would not ask for by themselves.
func sshServer(t *testing.T, key ssh.PublicKey) (port string, hostKey ssh.PublicKey) {
	t.Helper()
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	otherSigner, err := ssh.NewSignerFromKey(other)
	require.NoError(t, err)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
		if c.User() == "root" && string(offered.Marshal()) == string(key.Marshal()) {
			return nil, nil
		}
		return nil, os.ErrPermission
	}}
	config.AddHostKey(otherSigner)
	config.AddHostKey(signer)
	_, port = listen(t, func(c net.Conn) {
		conn, channels, requests, err := ssh.NewServerConn(c, config)
		if err != nil {
			_ = c.Close()
			return
		}
		go ssh.DiscardRequests(requests)
		for n := range channels {
			var to struct {
				Socket   string
				Reserved string
				Port     uint32
			}
			if n.ChannelType() != "direct-streamlocal@openssh.com" || ssh.Unmarshal(n.ExtraData(), &to) != nil {
				_ = n.Reject(ssh.UnknownChannelType, "")
				continue
			}
			up, err := net.Dial("unix", to.Socket)
			if err != nil {
				_ = n.Reject(ssh.ConnectionFailed, err.Error())
				continue
			}
			ch, reqs, err := n.Accept()
			if err != nil {
				return
			}
			go ssh.DiscardRequests(reqs)
			go func() {
				go func() { _, _ = io.Copy(ch, up); _ = ch.Close() }()
				_, _ = io.Copy(up, ch)
				_ = up.Close()
			}()
		}
		_ = conn.Wait()
	})
	return port, signer.PublicKey()
}

func TestSSH(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	dir := t.TempDir()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	require.NoError(t, err)
	keyFile := filepath.Join(dir, "key")
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(block), 0o600))
	port, hostKey := sshServer(t, signer.PublicKey())
	known := filepath.Join(dir, "known_hosts")
	require.NoError(t, os.WriteFile(known, []byte(knownhosts.Line([]string{"127.0.0.1:" + port}, hostKey)+"\n"), 0o600))

	base := "qemu+ssh://root@127.0.0.1:" + port + "/system?socket=" + daemon.socket + "&keyfile=" + keyFile + "&known_hosts="
	life(t, daemon, base+known)
	stranger := filepath.Join(dir, "stranger")
	require.NoError(t, os.WriteFile(stranger, nil, 0o600))
	refused(t, daemon, base+stranger, "key is unknown")
	refused(t, daemon, base+filepath.Join(dir, "none"), "known hosts")
	life(t, daemon, base+stranger+"&no_verify=1")
	refused(t, daemon, "qemu+ssh://eve@127.0.0.1:"+port+"/system?socket="+daemon.socket+"&no_verify=1&keyfile="+keyFile, "unable to authenticate")
	refused(t, daemon, "qemu+ssh://root@127.0.0.1:"+port+"/system?no_verify=1&socket=/none&keyfile="+keyFile, "socket /none on the other side")
}

// Without a key file it is the agent that signs. One that hangs holds nobody up beyond the time for a connection.
func TestSSHAgent(t *testing.T) {
	daemon := newDaemon(t)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	port, _ := sshServer(t, signer.PublicKey())
	uri := "qemu+ssh://root@127.0.0.1:" + port + "/system?no_verify=1&socket=" + daemon.socket

	keys := agent.NewKeyring()
	require.NoError(t, keys.Add(agent.AddedKey{PrivateKey: private}))
	dir, err := os.MkdirTemp("", "lv")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	t.Setenv("SSH_AUTH_SOCK", filepath.Join(dir, "agent"))
	l, err := net.Listen("unix", filepath.Join(dir, "agent"))
	require.NoError(t, err)
	defer l.Close()
	var silent atomic.Bool
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if silent.Load() {
					_, _ = io.Copy(io.Discard, c)
					return
				}
				_ = agent.ServeAgent(keys, c)
			}()
		}
	}()
	life(t, daemon, uri)
	silent.Store(true)
	d := connected(t, daemon, func(c *libvirt.Config) {
		c.Hosts[0].URI = uri
		c.Timeouts.Dial = 200 * time.Millisecond
	})
	failed := make(chan error, 1)
	go func() {
		_, err := d.Machines(t.Context(), oneHost)
		failed <- err
	}()
	select {
	case err := <-failed:
		require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	case <-time.After(20 * time.Second):
		require.Fail(t, "the agent holds it up")
	}
}

// A server that accepts and then says nothing holds nobody up beyond the time for it.
func TestSilentServers(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	hold := make(chan struct{})
	defer close(hold)
	_, port := listen(t, func(c net.Conn) { <-hold; _ = c.Close() })
	dir, _ := pki(t)
	block, err := ssh.MarshalPrivateKey(ed25519.NewKeyFromSeed(make([]byte, 32)), "")
	require.NoError(t, err)
	key := filepath.Join(dir, "key")
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(block), 0o600))
	for _, uri := range []string{
		"qemu+tcp://127.0.0.1:" + port + "/system",
		"qemu+tls://127.0.0.1:" + port + "/system?pkipath=" + dir,
		"qemu+ssh://root@127.0.0.1:" + port + "/system?no_verify=1&keyfile=" + key,
	} {
		d := connected(t, daemon, func(c *libvirt.Config) {
			c.Hosts[0].URI = uri
			c.Timeouts.Dial = 200 * time.Millisecond
		})
		begin := time.Now()
		_, err := d.Machines(t.Context(), oneHost)
		require.ErrorIs(t, err, hypervisor.ErrUnavailable)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Less(t, time.Since(begin), 10*time.Second, uri)
	}
}

// TestListeners reaches a real daemon by TCP and by TLS.
func TestListeners(t *testing.T) {
	for _, scheme := range []string{"test+tcp:", "test+tls:"} {
		t.Run(scheme, func(t *testing.T) {
			base := uris(t, scheme, 1)[0]
			d := open(t, libvirt.Config{Hosts: []libvirt.HostConfig{{Name: "h1", URI: nodeURI(t, base, "n1", node)}}})
			o := ordered("web-1")
			require.NoError(t, d.Create(t.Context(), o))
			require.NoError(t, d.Start(t.Context(), o.Ref))
			require.Equal(t, pool.Running, shown(t, d, o.Ref).Power)
			require.NoError(t, d.Destroy(t.Context(), o.Ref))
		})
	}
	t.Run("stranger", func(t *testing.T) {
		base := uris(t, "test+tls:", 1)[0]
		d := open(t, libvirt.Config{Hosts: []libvirt.HostConfig{{Name: "h1", URI: base + "/stranger"}}})
		_, err := d.Machines(t.Context(), oneHost)
		require.ErrorIs(t, err, hypervisor.ErrUnavailable)
		require.ErrorContains(t, err, "does not accept our certificate")
	})
}

// TestOpenSSH reaches a real daemon through a real sshd: calls, an upload, the console.
func TestOpenSSH(t *testing.T) {
	u, err := url.Parse(uris(t, "qemu+", 1)[0])
	require.NoError(t, err)
	image := guestImage(t)
	program, err := exec.LookPath("sshd")
	if err != nil {
		if program = "/usr/sbin/sshd"; !exists(program) { // not in everybody's path
			notRun(t, "sshd is not installed (Debian: openssh-server)")
		}
	}
	me, err := user.Current()
	require.NoError(t, err)
	if me.Uid == "0" {
		require.NoError(t, os.MkdirAll("/run/sshd", 0o755)) // where it shuts itself in
	}
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	newFile := func(name string) (path string, key ssh.PublicKey) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		block, err := ssh.MarshalPrivateKey(private, "")
		require.NoError(t, err)
		signer, err := ssh.NewSignerFromKey(private)
		require.NoError(t, err)
		return file(name, string(pem.EncodeToMemory(block))), signer.PublicKey()
	}
	hostKey, hostPublic := newFile("host")
	userKey, userPublic := newFile("user")
	port := strconv.Itoa(freePort(t))
	config := file("sshd_config", "ListenAddress 127.0.0.1\nPort "+port+"\nHostKey "+hostKey+
		"\nAuthorizedKeysFile "+file("authorized", string(ssh.MarshalAuthorizedKey(userPublic)))+
		"\nStrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nAllowStreamLocalForwarding yes\n")
	sshd := exec.Command(program, "-D", "-e", "-f", config) // until the machine is gone
	sshd.Stderr = t.Output()
	require.NoError(t, sshd.Start())
	t.Cleanup(func() {
		_ = sshd.Process.Kill()
		_ = sshd.Wait()
	})
	known := file("known", knownhosts.Line([]string{"127.0.0.1:" + port}, hostPublic)+"\n")

	uri := "qemu+ssh://" + me.Username + "@127.0.0.1:" + port + "/system?socket=" + url.QueryEscape(u.Query().Get("socket")) +
		"&keyfile=" + userKey + "&known_hosts=" + known
	d := open(t, libvirt.Config{Hosts: []libvirt.HostConfig{{Name: "h1", URI: uri, VirtType: virtType()}}, Timeouts: libvirt.Timeouts{Shutdown: time.Second}})
	o := machine(t, image, "web-1")
	eventually(t, "sshd listens", func() error {
		_, err := d.Machines(t.Context(), o.Host)
		return err
	})
	create(t, d, o)
	require.NoError(t, d.Start(t.Context(), o.Ref))
	require.NoError(t, d.Snapshot(t.Context(), o.Ref, "a"))
	c, err := d.Serial(t.Context(), o.Ref)
	require.NoError(t, err)
	n, err := c.Read(make([]byte, 100))
	require.NoError(t, err)
	require.Positive(t, n, "the kernel or the shell says something")
	require.NoError(t, c.Close())
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.ErrClosedPipe)
	require.NoError(t, d.Stop(t.Context(), o.Ref))
	require.Equal(t, pool.Stopped, shown(t, d, o.Ref).Power)
	_, err = d.Serial(t.Context(), o.Ref)
	require.ErrorIs(t, err, hypervisor.ErrWrongPower)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
