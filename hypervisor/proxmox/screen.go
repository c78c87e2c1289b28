package proxmox

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1" // #nosec G505 -- what RFC 6455 says; nothing is kept secret by it
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Screen is a connection to the display of a machine: what is read and written is the stream of RFB, the protocol of VNC.
// Reading and writing may go on at the same time. Password is what the server asks for when RFB begins.
type Screen struct {
	Password string

	conn io.ReadWriteCloser
	in   *bufio.Reader
	left int64 // of the message that is being read

	writing sync.Mutex
	once    sync.Once
}

// Screen opens the display of a machine that runs, ErrWrongPower otherwise. It needs the right VM.Console, and works with a token
// as well as with a password. The caller closes it; the context is for opening only.
func (d *Driver) Screen(ctx context.Context, r hypervisor.Ref) (*Screen, error) {
	var out *Screen
	err := d.on(ctx, "open the screen of", r, func(s *session, g *guest) error {
		switch p, err := s.power(g); {
		case err != nil:
			return err
		case p != pool.Running && p != pool.Suspended:
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		var proxy struct {
			Ticket   string `json:"ticket"`
			Password string `json:"password"`
			Port     text   `json:"port"`
		}
		if err := s.change(http.MethodPost, g.path()+"/vncproxy", params{"websocket": 1}, &proxy); err != nil {
			return err
		}
		s.changed = false // it is nothing that lasts
		port, err := strconv.Atoi(string(proxy.Port))
		if err != nil || proxy.Ticket == "" {
			return &lostError{cause: errNoData}
		}
		query := url.Values{"port": {strconv.Itoa(port)}, "vncticket": {proxy.Ticket}}
		conn, err := s.upgrade(s.cfg.URL + "/api2/json" + g.path() + "/vncwebsocket?" + query.Encode())
		if err != nil {
			return err
		}
		out = &Screen{Password: proxy.Password, conn: conn, in: bufio.NewReader(conn)}
		if out.Password == "" {
			out.Password = proxy.Ticket
		}
		return nil
	})
	return out, err
}

// websocketGUID is the constant of RFC 6455, section 1.3.
const websocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// upgrade opens a websocket. Errors do not show the URL, which carries a ticket.
func (s *session) upgrade(target string) (io.ReadWriteCloser, error) {
	// The connection outlives the call, and with it the request's context.
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	opened := false
	defer func() {
		if !opened {
			cancel()
		}
	}()
	stop := context.AfterFunc(s.ctx, cancel)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, &lostError{cause: errNoData}
	}
	key := base64.StdEncoding.EncodeToString([]byte(rand.Text()[:16]))
	for k, v := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key, "Sec-WebSocket-Protocol": "binary",
	} {
		req.Header.Set(k, v)
	}
	if _, err := s.web.auth.sign(req); err != nil {
		return nil, err
	}
	res, err := s.web.base.RoundTrip(req)
	if err != nil {
		return nil, plain(s.ctx, &lostError{cause: err})
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		defer res.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16))
		return nil, s.web.refusal(res, body)
	}
	conn, ok := res.Body.(io.ReadWriteCloser)
	sum := sha1.Sum([]byte(key + websocketGUID)) // #nosec G401 -- what RFC 6455 says; nothing is kept secret by it
	if !ok || res.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) || !strings.EqualFold(res.Header.Get("Upgrade"), "websocket") {
		res.Body.Close()
		return nil, &lostError{cause: errors.New("the server has not opened a websocket")}
	}
	if !stop() {
		conn.Close()
		return nil, &lostError{cause: s.ctx.Err()}
	}
	opened = true
	return &endingConn{conn, cancel}, nil
}

// endingConn ends a context when it is closed.
type endingConn struct {
	io.ReadWriteCloser
	end context.CancelFunc
}

// Close implements io.Closer.
func (c *endingConn) Close() error {
	defer c.end()
	return c.ReadWriteCloser.Close()
}

// Kinds of frames, RFC 6455, section 5.2.
const (
	frameMore   = 0
	frameText   = 1
	frameBinary = 2
	frameClose  = 8
	framePing   = 9
	framePong   = 10
)

// Read implements io.Reader. The end of the connection is io.EOF.
func (c *Screen) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for c.left == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err == io.EOF && c.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next reads the beginning of the next frame, and all of one that is not data.
func (c *Screen) next() error {
	var head [2]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return err
	}
	n := int64(head[1] & 0x7f)
	switch n {
	case 126:
		var b [2]byte
		if _, err := io.ReadFull(c.in, b[:]); err != nil {
			return err
		}
		n = int64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		if _, err := io.ReadFull(c.in, b[:]); err != nil {
			return err
		}
		if n = int64(binary.BigEndian.Uint64(b[:])); n < 0 {
			return errors.New("screen: a frame of an impossible length")
		}
	}
	if head[0]&0x70 != 0 || head[1]&0x80 != 0 {
		return errors.New("screen: a frame that a server must not send")
	}
	kind := head[0] & 0x0f
	switch kind {
	case frameMore, frameText, frameBinary:
		c.left = n
		return nil
	case frameClose, framePing, framePong:
		if n > 125 {
			return errors.New("screen: a frame of an impossible length")
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(c.in, body); err != nil {
			return err
		}
		if kind == frameClose {
			return io.EOF
		}
		if kind == framePing {
			return c.send(framePong, body)
		}
		return nil
	}
	return fmt.Errorf("screen: a frame of an unknown kind %d", kind)
}

// mostWritten is how much goes into one frame.
const mostWritten = 1 << 15

// Write implements io.Writer.
func (c *Screen) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		part := p[n:min(len(p), n+mostWritten)]
		if err := c.send(frameBinary, part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// send writes a frame, masked as those of a client have to be.
func (c *Screen) send(kind byte, p []byte) error {
	frame := []byte{0x80 | kind}
	if len(p) < 126 {
		frame = append(frame, 0x80|byte(len(p)))
	} else {
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(len(p)))
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:])
	frame = append(frame, mask[:]...)
	for i, b := range p {
		frame = append(frame, b^mask[i%4])
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.conn.Write(frame)
	return err
}

// Close ends the connection, also for those who read or write. Only the first call does something.
func (c *Screen) Close() error {
	var err error
	c.once.Do(func() { err = c.conn.Close() })
	return err
}
