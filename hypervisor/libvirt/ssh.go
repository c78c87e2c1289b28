package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshDialer reaches the daemon's Unix socket through an SSH server, which forwards it; no program has to be on
// the other side. Unlike the client library's own dialer it honours contexts and ends the SSH connection
// together with the one through it.
type sshDialer struct {
	host, port string
	user       string // empty: the user that this process runs as
	socket     string // on the other side
	keyFile    string // empty: the agent, then the usual files below ~/.ssh
	knownHosts string // empty: ~/.ssh/known_hosts
	trusting   bool   // do not check the host key
}

func (d sshDialer) dial(ctx context.Context) (net.Conn, error) {
	address := net.JoinHostPort(d.host, d.port)
	config, done, err := d.config(ctx, address)
	defer done()
	if err != nil {
		return nil, err
	}
	tcp, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	var client *ssh.Client
	var conn net.Conn
	err = bounded(ctx, tcp, func() error {
		c, channels, requests, err := ssh.NewClientConn(tcp, address, config)
		if err != nil {
			return err
		}
		client = ssh.NewClient(c, channels, requests)
		if conn, err = client.Dial("unix", d.socket); err != nil {
			return fmt.Errorf("socket %s on the other side: %w", d.socket, err)
		}
		return nil
	})
	if err != nil {
		_ = tcp.Close()
		return nil, err
	}
	return &sshConn{Conn: conn, client: client}, nil
}

// sshConn is a connection through an SSH connection of its own.
type sshConn struct {
	net.Conn
	client *ssh.Client
}

func (c *sshConn) Close() error { return errors.Join(c.Conn.Close(), c.client.Close()) }

// config returns what SSH needs; done is to be called when the connection is open or has failed.
func (d sshDialer) config(ctx context.Context, address string) (config *ssh.ClientConfig, done func(), err error) {
	done = func() {}
	me, err := user.Current()
	if err != nil {
		return nil, done, err
	}
	config = &ssh.ClientConfig{User: orDefault(d.user, me.Username), HostKeyCallback: ssh.InsecureIgnoreHostKey()} // #nosec G106 -- replaced below, unless the URI says no_verify=1
	if !d.trusting {
		file := orDefault(d.knownHosts, filepath.Join(me.HomeDir, ".ssh", "known_hosts"))
		if config.HostKeyCallback, err = knownhosts.New(file); err != nil {
			return nil, done, fmt.Errorf("known hosts: %w", err)
		}
		config.HostKeyAlgorithms = knownAlgorithms(config.HostKeyCallback, address)
	}
	if d.keyFile != "" {
		signer, err := readKey(d.keyFile)
		if err != nil {
			return nil, done, err
		}
		config.Auth = []ssh.AuthMethod{ssh.PublicKeys(signer)}
		return config, done, nil
	}
	var signers []ssh.Signer
	if socket := os.Getenv("SSH_AUTH_SOCK"); socket != "" {
		if conn, err := new(net.Dialer).DialContext(ctx, "unix", socket); err == nil {
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			done = func() {
				stop()
				_ = conn.Close()
			}
			signers, _ = agent.NewClient(conn).Signers() // an agent that does not answer has no keys
		}
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		if signer, err := readKey(filepath.Join(me.HomeDir, ".ssh", name)); err == nil {
			signers = append(signers, signer)
		}
	}
	if len(signers) == 0 {
		return nil, done, errors.New("no SSH key: name one by keyfile=, or run an agent")
	}
	config.Auth = []ssh.AuthMethod{ssh.PublicKeys(signers...)}
	return config, done, nil
}

// knownAlgorithms are certificates and those kinds of key that are known of the host: of the keys that a server has
// it shows the one that is asked for first, which would be refused where only another is known. None, for the
// library's choice, where nothing is known.
func knownAlgorithms(check ssh.HostKeyCallback, address string) []string {
	var refusal *knownhosts.KeyError
	if !errors.As(check(address, &net.TCPAddr{}, noKey{}), &refusal) || len(refusal.Want) == 0 {
		return nil
	}
	out := slices.DeleteFunc(ssh.SupportedAlgorithms().HostKeys, func(a string) bool { return !strings.Contains(a, "-cert-") })
	for _, known := range refusal.Want {
		switch kind := known.Key.Type(); kind {
		case ssh.KeyAlgoRSA:
			out = append(out, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		default:
			out = append(out, kind)
		}
	}
	return out
}

// noKey is a key that nobody has.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

func readKey(file string) (ssh.Signer, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("SSH key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("SSH key %s: %w", file, err)
	}
	return signer, nil
}
