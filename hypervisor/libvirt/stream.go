package libvirt

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
)

// Volumes are read and written over connections of their own, one per transfer, with this small client of
// libvirt's protocol (https://libvirt.org/kbase/internals/rpc.html): the client library deadlocks when a daemon
// refuses an upload at its end, leaves goroutines behind when one is broken off, and never finishes a download.

// Numbers of the protocol: src/rpc/virnetprotocol.x and src/remote/remote_protocol.x of libvirt.
const (
	remoteProgram = 0x20008086

	procConnectOpen = 1
	procAuthList    = 66
	procAuthPolkit  = 70
	procOpenConsole = 201
	procVolUpload   = 208
	procVolDownload = 209
	authNone        = 0
	authPolkit      = 2
	typeCall        = 0
	typeReply       = 1
	typeStream      = 3
	statusOK        = 0
	statusError     = 1
	statusContinue  = 2
	streamPayload   = 256<<10 - 24 // VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX
	messagePayload  = 4 << 20      // of the replies to the calls made here
)

// stream is a connection for one transfer.
type stream struct {
	conn   net.Conn
	r      *bufio.Reader
	serial uint32
	idle   *time.Timer   // closes the connection unless something moves within limit
	limit  time.Duration // zero: none
}

// frame is a message of the protocol.
type frame struct {
	kind, status, serial uint32
	payload              []byte
}

// transfer opens a connection, makes the call proc on the volume, and lets move exchange the data. When ctx
// ends, or nothing has moved for as long as a request may take, the connection is closed, which ends whatever is
// under way on it.
func (h *host) transfer(ctx context.Context, proc uint32, vol lv.StorageVol, offset, length uint64, move func(*stream) error) error {
	if err := ctx.Err(); err != nil {
		return &transportError{cause: err}
	}
	conn, err := h.target.dial(ctx)
	if err != nil {
		return &transportError{cause: err}
	}
	defer conn.Close()
	defer context.AfterFunc(h.life, func() { _ = conn.Close() })()
	limit := h.timeouts.Call
	s := &stream{conn: conn, r: bufio.NewReaderSize(conn, 64<<10), limit: limit}
	s.idle = time.AfterFunc(limit, func() { _ = conn.Close() })
	defer s.idle.Stop()
	err = bounded(ctx, conn, func() error {
		if err := s.open(h.target.remote); err != nil {
			return err
		}
		var args xdr
		args.text(vol.Pool)
		args.text(vol.Name)
		args.text(vol.Key)
		args.u64(offset)
		args.u64(length)
		args.u32(0) // flags
		if _, err := s.call(proc, args); err != nil {
			return err
		}
		return move(s)
	})
	var said *serverError
	var own *hypervisor.Error
	if err == nil || errors.As(err, &said) || errors.As(err, &own) {
		return err
	}
	return &transportError{sent: true, cause: err}
}

// upload writes length bytes of r to the beginning of the volume.
func (h *host) upload(ctx context.Context, vol lv.StorageVol, r io.Reader, length int64) error {
	return h.transfer(ctx, procVolUpload, vol, 0, uint64(length), func(s *stream) error {
		// A daemon that refuses says so while data is still being sent, or after its end.
		verdict := make(chan error, 1)
		go func() {
			f, err := s.read()
			if err == nil && f.kind != typeStream {
				err = errFrame
			}
			verdict <- err
		}()
		buf := make([]byte, streamPayload)
		for left := length; left > 0; {
			n, err := io.ReadFull(r, buf[:min(left, int64(len(buf)))])
			if err != nil {
				return refuse(hypervisor.ErrRefused, fmt.Errorf("read what is to be uploaded: %w", err))
			}
			if err := s.write(procVolUpload, typeStream, statusContinue, buf[:n]); err != nil {
				return settle(verdict, err)
			}
			select {
			case err := <-verdict:
				return early(err)
			default:
			}
			left -= int64(n)
		}
		if err := s.write(procVolUpload, typeStream, statusOK, nil); err != nil {
			return settle(verdict, err)
		}
		return <-verdict
	})
}

// settle prefers what the daemon has said to the error of a write that failed because the daemon hung up.
func settle(verdict <-chan error, err error) error {
	var said *serverError
	select {
	case v := <-verdict:
		if errors.As(v, &said) {
			return v
		}
	case <-time.After(time.Second):
	}
	return err
}

func early(err error) error {
	if err == nil {
		err = errors.New("the daemon ended the transfer before its end")
	}
	return err
}

// download returns length bytes of the volume from offset, or fewer where it ends before.
func (h *host) download(ctx context.Context, vol lv.StorageVol, offset, length int64) ([]byte, error) {
	var out []byte
	err := h.transfer(ctx, procVolDownload, vol, uint64(offset), uint64(length), func(s *stream) error {
		for int64(len(out)) < length {
			f, err := s.read()
			if err != nil {
				return err
			}
			if f.kind != typeStream {
				return errFrame
			}
			if len(f.payload) == 0 { // the end, whatever the status
				return nil
			}
			out = append(out, f.payload...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out[:min(int64(len(out)), length)], nil
}

// open authenticates and opens the hypervisor's connection.
func (s *stream) open(uri lv.ConnectURI) error {
	b, err := s.call(procAuthList, nil)
	if err != nil {
		return err
	}
	methods, err := words(b)
	if err != nil {
		return err
	}
	for _, m := range methods {
		if m == authNone {
			break
		}
		if m == authPolkit {
			if _, err := s.call(procAuthPolkit, nil); err != nil {
				return err
			}
			break
		}
	}
	var args xdr
	args.u32(1) // the name is given
	args.text(string(uri))
	args.u32(0) // flags
	_, err = s.call(procConnectOpen, args)
	return err
}

// words reads a counted list of 32-bit numbers.
func words(b []byte) ([]uint32, error) {
	if len(b) < 4 || (len(b)-4)/4 != int(binary.BigEndian.Uint32(b)) {
		return nil, errFrame
	}
	var out []uint32
	for b = b[4:]; len(b) >= 4; b = b[4:] {
		out = append(out, binary.BigEndian.Uint32(b))
	}
	return out, nil
}

// call makes one request and returns what the reply holds.
func (s *stream) call(proc uint32, args xdr) ([]byte, error) {
	s.serial++
	if err := s.write(proc, typeCall, statusOK, args); err != nil {
		return nil, err
	}
	for {
		f, err := s.read()
		if err != nil {
			return nil, err
		}
		if f.kind == typeReply && f.serial == s.serial {
			return f.payload, nil
		}
	}
}

func (s *stream) write(proc, kind, status uint32, payload []byte) error {
	var b xdr
	b.u32(uint32(frameHeader + len(payload)))
	for _, n := range []uint32{remoteProgram, 1, proc, kind, s.serial, status} {
		b.u32(n)
	}
	_, err := (&net.Buffers{b, payload}).WriteTo(s.conn)
	s.moved()
	return err
}

// moved begins to wait anew for something to move.
func (s *stream) moved() {
	if s.limit > 0 {
		s.idle.Reset(s.limit)
	}
}

// read returns the next frame; one that carries an error is returned as that error.
func (s *stream) read() (frame, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return frame{}, err
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(head[4*i:]) }
	n := int64(word(0)) - frameHeader
	if n < 0 || n > messagePayload {
		return frame{}, errFrame
	}
	f := frame{kind: word(4), serial: word(5), status: word(6), payload: make([]byte, n)}
	if _, err := io.ReadFull(s.r, f.payload); err != nil {
		return frame{}, err
	}
	s.moved()
	if f.status == statusError {
		return frame{}, remoteError(f.payload)
	}
	return f, nil
}

// remoteError decodes the beginning of a remote_error: code, domain, optional message.
func remoteError(b []byte) error {
	if len(b) < 4 {
		return errFrame
	}
	e := lv.Error{Code: binary.BigEndian.Uint32(b), Message: "the daemon gave no reason"}
	if len(b) >= 16 && binary.BigEndian.Uint32(b[8:]) == 1 {
		if n := int64(binary.BigEndian.Uint32(b[12:])); n <= int64(len(b)-16) {
			e.Message = string(b[16 : 16+n])
		}
	}
	return &serverError{e}
}

// xdr encodes by RFC 4506.
type xdr []byte

func (x *xdr) u32(n uint32) { *x = binary.BigEndian.AppendUint32(*x, n) }
func (x *xdr) u64(n uint64) { *x = binary.BigEndian.AppendUint64(*x, n) }

func (x *xdr) text(s string) {
	x.u32(uint32(len(s)))
	*x = append(*x, s...)
	for len(*x)%4 != 0 {
		*x = append(*x, 0)
	}
}
