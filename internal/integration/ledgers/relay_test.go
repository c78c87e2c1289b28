package ledgers_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// relay is a TCP relay between a program and a database server, and plays the network between them: it
// knows a COMMIT when it comes by, loses its reply or holds it back, and cuts all connections.
type relay struct {
	server string // address
	addr   string // its own

	mu       sync.Mutex
	listener net.Listener // nil during an outage
	clients  map[net.Conn]bool
	lose     bool          // the reply to the next COMMIT
	later    time.Duration // how much later the server gets that COMMIT
	held     int           // COMMITs that were

	all sync.WaitGroup // connections, also those that only the server still has
}

// commits are COMMIT as the drivers send it: PostgreSQL's message Query and MariaDB's command COM_QUERY, each
// with its length.
var commits = [][]byte{[]byte("Q\x00\x00\x00\x0bCOMMIT\x00"), []byte("\x07\x00\x00\x00\x03COMMIT")}

// relayTo starts a relay; it stops once nothing is held back any more, before the test's earlier cleanups.
func relayTo(t testing.TB, server string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{server: server, addr: l.Addr().String(), listener: l, clients: make(map[net.Conn]bool)}
	r.accept(l)
	t.Cleanup(func() {
		r.cut()
		r.all.Wait()
	})
	return r
}

func (r *relay) accept(l net.Listener) {
	r.all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", r.server)
			if err != nil {
				_ = client.Close()
				continue
			}
			r.mu.Lock()
			if r.listener == l {
				r.clients[client] = true
				r.all.Go(func() { r.serve(client, server) })
			} else { // it came just as the outage began
				_, _ = client.Close(), server.Close()
			}
			r.mu.Unlock()
		}
	})
}

// serve passes bytes on until one of the two ends.
func (r *relay) serve(client, server net.Conn) {
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	})
	r.forward(client, server)
	_ = client.Close()
	_ = server.Close()
	back.Wait()
	r.mu.Lock()
	delete(r.clients, client)
	r.mu.Unlock()
}

// forward passes on what the client says.
func (r *relay) forward(client, server net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if n > 0 {
			if lose, later := r.loses(buffer[:n]); lose {
				_ = client.Close() // before the server has it, so that no reply can get through
				time.Sleep(later)
				if _, err := server.Write(buffer[:n]); err == nil {
					// The server reads what it has got before it sees that this is all, and carries it out.
					_ = server.(*net.TCPConn).CloseWrite()
					_, _ = io.Copy(io.Discard, server)
				}
				return
			}
			if _, err := server.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// loses reports whether the client's bytes are the COMMIT whose reply is to be lost.
func (r *relay) loses(b []byte) (bool, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.lose || !bytes.Contains(b, commits[0]) && !bytes.Contains(b, commits[1]) {
		return false, 0
	}
	r.lose = false
	r.held++
	return true, r.later
}

// loseReply makes the next COMMIT's reply be lost.
func (r *relay) loseReply(later time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lose, r.later = true, later
}

// outage cuts all connections, and refuses new ones until end is called.
func (r *relay) outage() (end func()) {
	r.cut()
	return func() {
		l, err := net.Listen("tcp", r.addr)
		if err != nil {
			panic(err) // the port was free a moment ago
		}
		r.mu.Lock()
		r.listener = l
		r.mu.Unlock()
		r.accept(l)
	}
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != nil {
		_ = r.listener.Close()
		r.listener = nil
	}
	for client := range r.clients {
		_ = client.Close()
	}
}
