package libvirt_test

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/pool"
)

var update = flag.Bool("update", false, "write the golden files anew")

func full() (hypervisor.Order, libvirt.HostConfig) {
	o := order("volume:base.qcow2")
	o.Name = "web-1"
	o.Ref = hypervisor.Ref{Host: "libvirt/h1", Tag: hypervisor.Tag{Ledger: `l"<&>' é`, Machine: "i0123456789abcdefghijklmn-0", Launched: 1<<63 - 1}}
	o.Spec.Guest.User = "berth"
	o.Spec.Resources = pool.Resources{pool.CPU: 1500, pool.Memory: pool.GiB}
	o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: pool.GiB, Storage: pool.NVMe, IOPS: 500, Mount: "/data"})
	o.Spec.Networks = []pool.Network{{}, {Name: "wire"}, {Name: "users"}, {Name: "apart"}}
	return o, libvirt.HostConfig{
		Name: "h1", URI: "qemu:///system",
		Pools: map[string]libvirt.StoragePool{"default": {}, "fast": {Kind: pool.NVMe, Format: libvirt.Raw}},
		Networks: map[string]libvirt.Network{
			"wire":  {Kind: libvirt.Bridge, Source: "br0"},
			"users": {Kind: libvirt.UserMode, FirstPort: 2000, LastPort: 2001},
			"apart": {Kind: libvirt.UserMode},
		},
	}
}

func TestDomainGolden(t *testing.T) {
	t.Parallel()
	o, c := full()
	text, tag, err := libvirt.DomainXML(o, c, map[int]string{2: "127.0.0.1:2001"}, []string{"/pool/root", "/pool/data"})
	require.NoError(t, err)
	require.Equal(t, o.Tag, tag)
	pretty := indent(t, text)
	const path = "testdata/domain.golden.xml"
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(pretty), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), pretty)
}

// indent puts every element on a line of its own.
func indent(t testing.TB, text string) string {
	t.Helper()
	var out strings.Builder
	dec := xml.NewDecoder(strings.NewReader(text))
	depth := 0
	for {
		tok, err := dec.RawToken()
		if err == io.EOF {
			return out.String()
		}
		require.NoError(t, err)
		switch tok := tok.(type) {
		case xml.StartElement:
			out.WriteString(strings.Repeat("  ", depth) + tok.Name.Local)
			for _, a := range tok.Attr {
				out.WriteString(" " + a.Name.Local + "=" + `"` + a.Value + `"`)
			}
			out.WriteString("\n")
			depth++
		case xml.EndElement:
			depth--
		case xml.CharData:
			out.WriteString(strings.Repeat("  ", depth) + string(tok) + "\n")
		}
	}
}

// FuzzDomainXML holds for any names: refused as invalid, or a document with exactly the elements that the same
// order with harmless names gives, from which the tag and the paths come back.
func FuzzDomainXML(f *testing.F) {
	o, _ := full()
	f.Add(o.Ledger, string(o.Machine), o.Name, "br0", "/pool/root")
	f.Add("]]></metadata>", "x", "a", "--><!--", `"/><evil/>`)
	f.Add("a\tb", "m", "n", "b\x00r", "/\xff")
	f.Fuzz(func(t *testing.T, ledger, machine, name, bridge, path string) {
		o, c := full()
		o.Ledger, o.Machine, o.Name = ledger, pool.MachineID(machine), name
		c.Networks["wire"] = libvirt.Network{Kind: libvirt.Bridge, Source: bridge}
		text, tag, err := libvirt.DomainXML(o, c, map[int]string{2: "127.0.0.1:2001"}, []string{path, "/pool/data"})
		if err != nil {
			require.ErrorIs(t, err, hypervisor.ErrInvalid)
			return
		}
		require.Equal(t, o.Tag, tag)
		plain, plainConfig := full()
		want, _, err := libvirt.DomainXML(plain, plainConfig, map[int]string{2: "127.0.0.1:2001"}, []string{"/pool/root", "/pool/data"})
		require.NoError(t, err)
		require.Equal(t, elements(t, want), elements(t, text))
		var back struct {
			Name    string `xml:"name"`
			Bridges []struct {
				Bridge string `xml:"bridge,attr"`
			} `xml:"devices>interface>source"`
		}
		require.NoError(t, xml.Unmarshal([]byte(text), &back))
		require.Equal(t, name+"-word", back.Name)
		require.Equal(t, bridge, back.Bridges[1].Bridge)
	})
}

// elements lists the names of all elements and attributes in order.
func elements(t testing.TB, text string) []string {
	t.Helper()
	var out []string
	dec := xml.NewDecoder(strings.NewReader(text))
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			return out
		}
		require.NoError(t, err)
		if s, ok := tok.(xml.StartElement); ok {
			out = append(out, s.Name.Local)
			for _, a := range s.Attr {
				out = append(out, "@"+a.Name.Local)
			}
		}
	}
}

// qcow2 returns the beginning of an image of version 3.
func qcow2(change func([]byte)) []byte {
	b := make([]byte, 512)
	copy(b, "QFI\xfb")
	binary.BigEndian.PutUint32(b[4:], 3)
	binary.BigEndian.PutUint64(b[24:], 5<<30)
	if change != nil {
		change(b)
	}
	return b
}

func TestProbeImage(t *testing.T) {
	t.Parallel()
	format, size, err := libvirt.ProbeImage(bytes.NewReader(qcow2(nil)), 512)
	require.NoError(t, err)
	require.Equal(t, "qcow2", format)
	require.Equal(t, int64(5<<30), size)
	format, size, err = libvirt.ProbeImage(strings.NewReader("\xeb\x63\x90 boot"), 7)
	require.NoError(t, err)
	require.Equal(t, "raw", format)
	require.Equal(t, int64(7), size)
	for name, b := range map[string][]byte{
		"backing file": qcow2(func(b []byte) { b[15] = 200 }),
		"data file":    qcow2(func(b []byte) { b[79] = 4 }),
		"corrupt":      qcow2(func(b []byte) { b[79] = 2 }),
		"encrypted":    qcow2(func(b []byte) { b[35] = 2 }),
		"no size":      qcow2(func(b []byte) { clear(b[24:32]) }),
		"huge":         qcow2(func(b []byte) { b[24] = 255 }),
		"version":      qcow2(func(b []byte) { b[7] = 4 }),
		"cut off":      qcow2(nil)[:60],
		"cut off late": qcow2(nil)[:76],
		"gzip":         []byte("\x1f\x8b\x08\x00"),
		"vmdk":         []byte("KDMV\x01"),
	} {
		_, _, err := libvirt.ProbeImage(bytes.NewReader(b), int64(len(b)))
		require.Error(t, err, name)
	}
}

func FuzzProbeImage(f *testing.F) {
	f.Add(qcow2(nil))
	f.Add([]byte("QFI\xfb"))
	f.Fuzz(func(t *testing.T, b []byte) {
		format, size, err := libvirt.ProbeImage(bytes.NewReader(b), int64(len(b)))
		if err == nil {
			require.Contains(t, []string{"raw", "qcow2"}, format)
			require.GreaterOrEqual(t, size, int64(0))
		}
	})
}

func TestParseSource(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][3]string{
		"volume:a.qcow2":      {"", "a.qcow2", ""},
		"volume:pool/a.qcow2": {"pool", "a.qcow2", ""},
		"file:/a/../b":        {"", "", "/b"},
		"/a/b":                {"", "", "/a/b"},
	} {
		p, v, f, err := libvirt.ParseSource(text)
		require.NoError(t, err)
		require.Equal(t, want, [3]string{p, v, f})
	}
}

func TestHarmless(t *testing.T) {
	t.Parallel()
	require.Equal(t, "qemu: a ? b", libvirt.Harmless(" qemu:\na \x1b\tb\n"))
	require.LessOrEqual(t, len(libvirt.Harmless(strings.Repeat("é", 5000))), 404)
}

// FuzzFrames holds that no bytes from a daemon make the readers panic or take memory that was not sent.
func FuzzFrames(f *testing.F) {
	ok := message{proc: 7, kind: 1, serial: 1, body: []byte("body")}.bytes()
	f.Add(ok)
	f.Add(append(bytes.Clone(ok), message{proc: 7, kind: 1, serial: 1, status: 1, body: failure(38, "no")}.bytes()...))
	f.Add([]byte{0, 0, 0, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		checked, frames := libvirt.Frames(b)
		require.LessOrEqual(t, frames, len(b)/28)
		if frames > 0 && frames*28 == len(b) {
			require.True(t, checked)
		}
	})
}
