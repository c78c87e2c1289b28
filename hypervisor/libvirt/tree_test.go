package libvirt_test

import (
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/pool"
)

// What libvirt shows of a machine, with much that the driver has not written.
const shownXML = `<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web-1-word</name>
  <metadata>
    <berthage:machine xmlns:berthage="https://github.com/berthage/berthage/libvirt/machine/1" ledger="l" machine="m-0" launched="3"><interface kind="network"/></berthage:machine>
    <other:note xmlns:other="https://example.org/other" text="a &lt; b &amp; &#34;c&#34;"><other:deep/></other:note>
  </metadata>
  <memory unit='KiB'>1048576</memory>
  <currentMemory unit='KiB'>524288</currentMemory>
  <vcpu placement='static' current='1'>4</vcpu>
  <seclabel type='dynamic' model='dac' relabel='yes'/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source file='/pool/a &amp; b'/>
      <backingStore type='file'><format type='qcow2'/><source file='/pool/old'/><backingStore/></backingStore>
      <target dev='vda' bus='virtio'/>
      <serial>berthage-d0</serial>
      <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>
    </disk>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-netdev'/>
  </qemu:commandline>
</domain>`

// names lists the elements and attributes of a document with their spaces, one a line, white space left out.
func names(t *testing.T, text string) []string {
	t.Helper()
	var out, path []string
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		token, err := d.Token()
		if err != nil {
			require.ErrorContains(t, err, "EOF")
			return out
		}
		switch e := token.(type) {
		case xml.StartElement:
			path = append(path, e.Name.Space+" "+e.Name.Local)
			out = append(out, strings.Join(path, "/"))
			for _, a := range e.Attr {
				if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
					out = append(out, strings.Join(path, "/")+" "+a.Name.Space+" "+a.Name.Local+"="+a.Value)
				}
			}
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			if s := strings.TrimSpace(string(e)); s != "" {
				out = append(out, strings.Join(path, "/")+": "+s)
			}
		}
	}
}

// A definition that is read and written is the same, whatever is in it.
func TestTreeKeepsEverything(t *testing.T) {
	t.Parallel()
	text, err := libvirt.Retold(shownXML)
	require.NoError(t, err)
	require.Equal(t, names(t, shownXML), names(t, text))
	for _, bad := range []string{"", "<a>", "<a></b>", "<a/><b/>", "text", "<a/>\n<!-- --><b></b>"} {
		_, err := libvirt.Retold(bad)
		require.ErrorIs(t, err, hypervisor.ErrUnavailable, bad)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		text := randomXML(random, 0)
		again, err := libvirt.Retold(text)
		require.NoError(t, err)
		require.Equal(t, names(t, text), names(t, again))
	}
}

func randomXML(r *rand.Rand, depth int) string {
	name := []string{"a", "disk", "x:b", "y:b"}[r.IntN(4)]
	s := "<" + name + ` xmlns:x="urn:x" xmlns:y="urn:y"`
	for i := range r.IntN(3) {
		s += fmt.Sprintf(" k%d=\"%s\"", i, []string{"", "v", "&lt;&quot;&amp;", "é ' "}[r.IntN(4)])
	}
	s += ">"
	if depth < 4 && r.IntN(3) > 0 {
		for range r.IntN(4) {
			s += "\n" + randomXML(r, depth+1)
		}
	} else {
		s += []string{"", "text", "a &amp; b", "&#xe9;"}[r.IntN(4)]
	}
	return s + "</" + name + ">"
}

// A changed definition has the new sizes, disks and tag, and everything else as it was but libvirt's note of what the
// disks lie on.
func TestRevision(t *testing.T) {
	t.Parallel()
	o := ordered("web-1")
	o.Revision = 9
	o.Spec.Resources = pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 768 * pool.MiB}
	text, err := libvirt.Revised(shownXML, o, libvirt.Headroom{CPU: 8 * pool.Core, Memory: pool.GiB})
	require.NoError(t, err)
	var want []string
	for _, line := range names(t, shownXML) {
		switch {
		case strings.Contains(line, "backingStore"), strings.Contains(line, "berthage/libvirt/machine"):
			continue
		case strings.HasSuffix(line, " vcpu: 4"):
			line = strings.Replace(line, "4", "8", 1)
		case strings.HasSuffix(line, "current=1"):
			line = strings.Replace(line, "=1", "=2", 1)
		case strings.HasSuffix(line, " currentMemory: 524288"):
			line = strings.Replace(line, "524288", "786432", 1)
		}
		want = append(want, line)
	}
	var got []string
	for _, line := range names(t, text) {
		if !strings.Contains(line, "berthage/libvirt/machine") {
			got = append(got, line)
		}
	}
	require.ElementsMatch(t, want, got)
	require.Equal(t, 1, strings.Count(text, "<machine "))
	require.Contains(t, text, `revision="9"`)
	require.Contains(t, text, `memory="786432"`)
}

// The names of imported images tell what they are called and how long they are.
func TestImageNames(t *testing.T) {
	t.Parallel()
	for _, f := range []hypervisor.ImageFile{
		{Name: "debian", Format: "qcow2", Size: 1}, {Name: "a-1-2-3", Format: "raw", Size: 1 << 62}, {Name: "x", Format: "raw", Size: 12, SHA256: [32]byte{1, 2}},
	} {
		name, size, ok := libvirt.ImageOf(libvirt.ImageVolume(f))
		require.True(t, ok)
		require.Equal(t, f.Name, name)
		require.Equal(t, f.Size, size)
	}
	for _, other := range []string{"debian.qcow2", "berthage-named-", "berthage-named-a.raw", "berthage-named-a-b-c.raw", "berthage-image-0123.qcow2"} {
		_, _, ok := libvirt.ImageOf(other)
		require.False(t, ok, other)
	}
}
