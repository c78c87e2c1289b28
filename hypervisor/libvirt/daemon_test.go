package libvirt_test

import (
	"encoding/binary"
	"encoding/xml"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// daemon is a small libvirtd on a Unix socket: enough of one for a machine's life, and everything that can go
// wrong with one on the way.
type daemon struct {
	t      *testing.T
	socket string

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	accepted int
	calls    map[uint32]int

	domains map[string]*fakeDomain // by UUID
	volumes map[string][]byte      // of the pool "default", by name

	// hook decides what becomes of the n-th call of a procedure, from 1.
	hook func(proc uint32, n int) fault
	// refuseUpload is said at the end of an upload.
	refuseUpload string
}

type fakeDomain struct {
	name, uuid, metadata string
	memory, cpus         uint64
	state                uint32
}

// fault is what becomes of a call.
type fault struct {
	silent bool   // no answer
	cut    bool   // the connection is closed instead
	late   bool   // with one of the others: after the effect
	then   bool   // with cut: after the answer
	code   uint32 // an error is the answer
	raw    []byte // these bytes are the answer
	slow   bool   // the call arrives later; between only
}

// Procedures that the tests name.
const (
	procCapabilities = 7
	procCreate       = 9
	procReboot       = 27
	procInfo         = 16
	procLookup       = 24
	procVolumeXML    = 93
	procVolumeDelete = 94
	procUpload       = 208
	procDestroy      = 234
	procReset        = 245
	procList         = 273
	procSubscribe    = 316
	procDefine       = 350
	procVolumeInfo   = 378
)

// newDaemon starts a daemon.
func newDaemon(t *testing.T) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "lv")
	require.NoError(t, err)
	d := &daemon{
		t: t, socket: filepath.Join(dir, "s"),
		conns: make(map[net.Conn]bool), calls: make(map[uint32]int),
		domains: make(map[string]*fakeDomain),
		volumes: map[string][]byte{"base.qcow2": nil},
	}
	d.start()
	t.Cleanup(func() {
		d.stop()
		_ = os.RemoveAll(dir)
	})
	return d
}

func (d *daemon) uri() string { return "qemu+unix:///system?socket=" + d.socket }

func (d *daemon) start() {
	l, err := net.Listen("unix", d.socket)
	require.NoError(d.t, err)
	d.mu.Lock()
	d.listener = l
	d.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.conns[c] = true
			d.accepted++
			d.mu.Unlock()
			go d.serve(c)
		}
	}()
}

// stop ends the daemon and its connections; what it knows of machines stays.
func (d *daemon) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.listener.Close()
	for c := range d.conns {
		_ = c.Close()
	}
	clear(d.conns)
}

func (d *daemon) set(hook func(proc uint32, n int) fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = hook
	clear(d.calls)
}

func (d *daemon) count(proc uint32) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[proc]
}

func (d *daemon) connections() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.accepted
}

// held is how many volumes there are.
func (d *daemon) held() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.volumes)
}

// message is a frame of the protocol.
type message struct {
	proc, kind, serial, status uint32
	body                       []byte
}

func readMessage(r io.Reader) (message, error) {
	var head [28]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return message{}, err
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(head[4*i:]) }
	m := message{proc: word(3), kind: word(4), serial: word(5), status: word(6), body: make([]byte, word(0)-28)}
	_, err := io.ReadFull(r, m.body)
	return m, err
}

func (m message) bytes() []byte {
	var b encoder
	for _, n := range []uint32{uint32(28 + len(m.body)), 0x20008086, 1, m.proc, m.kind, m.serial, m.status} {
		b.u32(n)
	}
	return append(b, m.body...)
}

func (d *daemon) serve(c net.Conn) {
	defer c.Close()
	var write sync.Mutex
	send := func(m message) {
		write.Lock()
		defer write.Unlock()
		_, _ = c.Write(m.bytes())
	}
	var upload []byte
	var into string
	for {
		m, err := readMessage(c)
		if err != nil {
			return
		}
		if m.kind == 3 { // the stream of an upload
			if m.status == 2 {
				upload = append(upload, m.body...)
				continue
			}
			d.mu.Lock()
			refusal := d.refuseUpload
			if refusal == "" {
				d.volumes[into] = upload
			}
			d.mu.Unlock()
			if refusal != "" {
				send(message{m.proc, 3, m.serial, 1, failure(38, refusal)})
			} else {
				send(message{m.proc, 3, m.serial, 0, nil})
			}
			continue
		}
		d.mu.Lock()
		d.calls[m.proc]++
		var f fault
		if d.hook != nil {
			f = d.hook(m.proc, d.calls[m.proc])
		}
		d.mu.Unlock()
		var answer []byte
		var code uint32
		if !(f.cut || f.silent || f.code != 0) || f.late || f.then {
			answer, code = d.answer(m.proc, m.body)
		}
		switch {
		case f.then:
			send(message{m.proc, 1, m.serial, 0, answer})
			return
		case f.cut:
			return
		case f.silent:
			continue
		case f.raw != nil:
			_, _ = c.Write(f.raw)
			continue
		case f.code != 0:
			code = f.code
		}
		if code != 0 {
			send(message{m.proc, 1, m.serial, 1, failure(code, "said no\nto that")})
			continue
		}
		send(message{m.proc, 1, m.serial, 0, answer})
		if m.proc == procUpload {
			upload = nil
			a := decoder(m.body)
			a.text()
			into = a.text()
		}
	}
}

// failure is a remote_error.
func failure(code uint32, text string) []byte {
	var b encoder
	b.u32(code)
	b.u32(10)
	b.u32(1)
	b.text(text)
	b.u32(2)
	return append(b, make([]byte, 64)...)
}

// answer carries a call out.
func (d *daemon) answer(proc uint32, args []byte) (out encoder, code uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := decoder(args)
	one := func(f func(*fakeDomain)) uint32 { // a call on the domain that the arguments begin with
		a.text()
		dom := d.domains[a.uuid()]
		if dom == nil {
			return 42
		}
		f(dom)
		return 0
	}
	switch proc {
	case 1: // open
	case 66: // authentication: none is needed
		out.u32(0)
	case procCapabilities:
		out.text(`<capabilities><host><cpu><arch>x86_64</arch></cpu></host><guest><os_type>hvm</os_type><arch name='x86_64'>` +
			`<machine>pc</machine><machine>q35</machine><domain type='qemu'/></arch><features><acpi/><apic/></features></guest></capabilities>`)
	case 59:
		out.text("fake.example.org")
	case 6: // node info
		for range 32 {
			out.u32(0)
		}
		out.u64(8 << 20)
		for _, n := range []uint32{4, 2000, 1, 1, 4, 1} {
			out.u32(n)
		}
	case 228: // memory statistics
		return nil, 3
	case 84, 46: // look up a pool or a network
		name := a.text()
		if name != "default" {
			return nil, map[uint32]uint32{84: 49, 46: 43}[proc]
		}
		out.text(name)
		out.pad(16)
	case 154, 152: // is it active
		out.u32(1)
	case 87: // pool info
		out.u32(2)
		out.u64(1 << 40)
		out.u64(1 << 30)
		out.u64(1<<40 - 1<<30)
	case 281: // pools
		out.u32(1)
		out.text("default")
		out.pad(16)
		out.u32(1)
	case 282: // volumes
		out.u32(uint32(len(d.volumes)))
		for name := range d.volumes {
			out.volume(name)
		}
		out.u32(uint32(len(d.volumes)))
	case 83: // refresh
	case procVolumeXML:
		a.text()
		a.uuid()
		var v struct {
			Name string `xml:"name"`
		}
		if xml.Unmarshal([]byte(a.text()), &v) != nil || v.Name == "" {
			return nil, 27
		}
		if _, ok := d.volumes[v.Name]; ok {
			return nil, 90
		}
		d.volumes[v.Name] = nil
		out.volume(v.Name)
	case 95: // look a volume up
		a.text()
		a.uuid()
		name := a.text()
		if _, ok := d.volumes[name]; !ok {
			return nil, 50
		}
		out.volume(name)
	case 99: // its XML
		a.text()
		out.text(`<volume><name>` + a.text() + `</name><capacity unit='bytes'>1048576</capacity><target><path>/pool/base.qcow2</path><format type='qcow2'/></target></volume>`)
	case 100: // its path
		a.text()
		out.text("/pool/" + a.text())
	case procVolumeInfo: // with the length
		a.text()
		n := len(d.volumes[a.text()])
		out.u32(0)
		out.u64(uint64(n))
		out.u64(uint64(n))
	case procVolumeDelete:
		a.text()
		name := a.text()
		if _, ok := d.volumes[name]; !ok {
			return nil, 50
		}
		delete(d.volumes, name)
	case procUpload, 209:
		a.text()
		if _, ok := d.volumes[a.text()]; !ok {
			return nil, 50
		}
	case procList:
		out.u32(uint32(len(d.domains)))
		for _, dom := range d.domains {
			out.domain(dom)
		}
		out.u32(uint32(len(d.domains)))
	case procLookup:
		dom := d.domains[a.uuid()]
		if dom == nil {
			return nil, 42
		}
		out.domain(dom)
	case 265: // metadata
		code = one(func(dom *fakeDomain) { out.text(dom.metadata) })
		if code == 0 && len(out) == 4 {
			return nil, 80
		}
		return out, code
	case procInfo:
		return out, one(func(dom *fakeDomain) {
			out.u32(dom.state)
			out.u64(dom.memory)
			out.u64(dom.memory)
			out.u32(uint32(dom.cpus))
			out.u64(0)
		})
	case 212: // state
		return out, one(func(dom *fakeDomain) {
			out.u32(dom.state)
			out.u32(1)
		})
	case procReboot, procReset:
		return out, one(func(*fakeDomain) {})
	case procSubscribe:
		out.u32(1)
	case procCreate, 33, procDestroy: // start, shut down, destroy
		return out, one(func(dom *fakeDomain) { dom.state = map[uint32]uint32{procCreate: 1, 33: 5, procDestroy: 5}[proc] })
	case 231: // undefine
		return out, one(func(dom *fakeDomain) { delete(d.domains, dom.uuid) })
	case procDefine:
		var x struct {
			Name     string `xml:"name"`
			UUID     string `xml:"uuid"`
			Metadata struct {
				Inner string `xml:",innerxml"`
			} `xml:"metadata"`
			Memory uint64 `xml:"memory"`
			CPUs   uint64 `xml:"vcpu"`
		}
		if xml.Unmarshal([]byte(a.text()), &x) != nil {
			return nil, 27
		}
		if old := d.domains[x.UUID]; old != nil && old.name != x.Name {
			return nil, 9
		}
		d.domains[x.UUID] = &fakeDomain{x.Name, x.UUID, x.Metadata.Inner, x.Memory, x.CPUs, 5}
		out.domain(d.domains[x.UUID])
	case 283: // networks
		out.u32(0)
		out.u32(0)
	default:
		return nil, 3
	}
	return out, code
}

// encoder writes XDR.
type encoder []byte

func (e *encoder) u32(n uint32) { *e = binary.BigEndian.AppendUint32(*e, n) }
func (e *encoder) u64(n uint64) { *e = binary.BigEndian.AppendUint64(*e, n) }
func (e *encoder) pad(n int)    { *e = append(*e, make([]byte, n)...) }

func (e *encoder) text(s string) {
	e.u32(uint32(len(s)))
	*e = append(*e, s...)
	e.pad((4 - len(s)%4) % 4)
}

func (e *encoder) volume(name string) {
	e.text("default")
	e.text(name)
	e.text("/pool/" + name)
}

func (e *encoder) domain(d *fakeDomain) {
	e.text(d.name)
	hex := strings.ReplaceAll(d.uuid, "-", "")
	for i := 0; i < len(hex); i += 2 {
		var b byte
		for _, c := range hex[i : i+2] {
			b = b<<4 | byte(strings.IndexRune("0123456789abcdef", c))
		}
		*e = append(*e, b)
	}
	e.u32(1)
}

// decoder reads XDR.
type decoder []byte

func (d *decoder) text() string {
	n := int(binary.BigEndian.Uint32(*d))
	s := string((*d)[4 : 4+n])
	*d = (*d)[4+(n+3)/4*4:]
	return s
}

func (d *decoder) uuid() string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for i, b := range (*d)[:16] {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			s.WriteByte('-')
		}
		s.WriteByte(digits[b>>4])
		s.WriteByte(digits[b&15])
	}
	*d = (*d)[16:]
	return s.String()
}
