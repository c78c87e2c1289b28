package pvetest

import (
	"crypto/rand"
	"crypto/sha1" // #nosec G505 -- what RFC 6455 says
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// screen is a display that waits for its viewer.
type screen struct {
	vmid int
	port int
}

// vncproxy opens a display. A ticket is for one viewer.
func (s *Server) vncproxy(c *call) (any, error) {
	v, err := c.vm()
	if err != nil {
		return nil, err
	}
	ticket := "PVEVNC:" + rand.Text()
	port := 5900 + len(s.screens)%100
	s.screens[ticket] = screen{vmid: v.id, port: port}
	upid := c.work(v.node, "vncproxy", strconv.Itoa(v.id), func(*task) error { return nil })
	return map[string]any{
		"ticket": ticket, "port": strconv.Itoa(port), "user": c.user, "upid": upid, "password": ticket[len(ticket)-8:],
		"cert": "-----BEGIN CERTIFICATE-----\nMASKED\n-----END CERTIFICATE-----\n",
	}, nil
}

// websocketGUID is the constant of RFC 6455, section 1.3.
const websocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// vncwebsocket shows a display: the greeting of RFB, then everything that comes is sent back. On the way it pings.
func (s *Server) vncwebsocket(c *call) (any, error) {
	port, _ := strconv.Atoi(c.params["port"])
	ticket := c.params["vncticket"]
	if sc, ok := s.screens[ticket]; !ok || sc.vmid != c.vmid() || sc.port != port {
		return nil, &apiError{status: 401, text: "invalid PVEVNC ticket", empty: true}
	}
	delete(s.screens, ticket)
	h := c.http.Header
	if !strings.EqualFold(h.Get("Upgrade"), "websocket") || h.Get("Sec-WebSocket-Protocol") != "binary" {
		return nil, &apiError{status: 400, text: "unable to upgrade"}
	}
	sum := sha1.Sum([]byte(h.Get("Sec-WebSocket-Key") + websocketGUID)) // #nosec G401 -- what RFC 6455 says
	accept := base64.StdEncoding.EncodeToString(sum[:])
	return func(w http.ResponseWriter) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		s.mu.Lock()
		s.conns[conn] = true
		s.mu.Unlock()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: binary\r\n\r\n", accept)
		frame := func(op byte, p []byte) {
			head := []byte{0x80 | op}
			if len(p) < 126 {
				head = append(head, byte(len(p)))
			} else {
				head = binary.BigEndian.AppendUint16(append(head, 126), uint16(len(p)))
			}
			_, _ = conn.Write(append(head, p...))
		}
		frame(2, []byte("RFB 003"))
		frame(9, []byte("are you there"))
		frame(2, []byte(".008\n"))
		for {
			op, p, err := readFrame(conn)
			if err != nil || op == 8 {
				return
			}
			if op == 2 {
				frame(2, p)
			}
		}
	}, nil
}

// readFrame reads a frame of a client, which is masked.
func readFrame(r io.Reader) (op byte, p []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(head[1] & 127)
	if n == 126 {
		var b [2]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(b[:]))
	}
	if head[1]&128 == 0 || n == 127 {
		return 0, nil, fmt.Errorf("a frame that is not masked, or too long")
	}
	buf := make([]byte, 4+n)
	if _, err := io.ReadFull(r, buf); err != nil {
		return 0, nil, err
	}
	for i := range n {
		buf[4+i] ^= buf[i%4]
	}
	return head[0] & 15, buf[4:], nil
}
