package libvirt

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net"
	"strconv"
	"strings"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// digest hashes a purpose and strings, each with its length before it.
func digest(purpose string, parts ...string) [sha256.Size]byte {
	h := sha256.New()
	for _, p := range append([]string{purpose}, parts...) {
		h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// machineUUID is the UUID of the domain of a machine, a function of the machine's id alone: libvirt itself then
// refuses a second machine of that id on the host, whichever ledger ordered it. It is of version 8, the one
// for values of one's own (RFC 9562, section 5.8), by which domains that can be ours are told from others.
func machineUUID(m pool.MachineID) lv.UUID { return ownUUID("berthage machine v1", string(m)) }

func ownUUID(purpose string, parts ...string) lv.UUID {
	sum := digest(purpose, parts...)
	u := lv.UUID(sum[:16])
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return u
}

// canBeOurs reports whether a UUID is one that ownUUID could have made.
func canBeOurs(u lv.UUID) bool { return u[6]>>4 == 8 && u[8]>>6 == 2 }

func formatUUID(u lv.UUID) string {
	s := hex.EncodeToString(u[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// machineMAC is the hardware address of a machine's i-th interface: 45 bits of a hash, unicast and locally
// administered. The 24 bits behind QEMU's own prefix 52:54:00 would collide among some thousands of machines, and
// an address that was used before finds its predecessor's DHCP lease. A first byte 0xfe is left out: libvirt
// keeps it for the host's ends of taps.
func machineMAC(m pool.MachineID, i int) string {
	sum := digest("berthage mac v1", string(m), strconv.Itoa(i))
	a := net.HardwareAddr(sum[:6])
	a[0] = a[0]&0x7c | 0x02
	return a.String()
}

// attempt is a random word that makes the names of one attempt to create a machine unlike those of any other.
func attempt() string { return strings.ToLower(rand.Text()[:10]) }

// volumePrefix begins the names of all volumes of the machine with exactly that tag, and of no others.
func volumePrefix(t hypervisor.Tag) string {
	sum := digest("berthage volumes v1", t.Ledger, string(t.Machine), strconv.FormatInt(int64(t.Launched), 10))
	return "berthage-" + string(t.Machine) + "-" + hex.EncodeToString(sum[:8]) + "-"
}

// serial is the serial number under which the guest sees the i-th disk of the spec.
func serial(i int) string { return serialPrefix + strconv.Itoa(i) }

const serialPrefix = "berthage-d"

// diskName is the target name of the i-th disk.
func diskName(i int) string { return "vd" + string(rune('a'+i)) }

// validTag reports, as an error, whether a tag can be written and read back exactly.
func validTag(t hypervisor.Tag) error {
	if err := pool.ValidName(string(t.Machine)); err != nil {
		return pool.InField("machine", err)
	}
	if t.Ledger == "" || pool.ValidText(t.Ledger, 255) != nil {
		return invalid("ledger", t.Ledger, "one line of printable text, 1 to 255 bytes")
	}
	if t.Launched < 0 {
		return invalid("launched", strconv.FormatInt(int64(t.Launched), 10), "zero or more")
	}
	return nil
}

// portOf is where the search for a free port among n begins.
func portOf(m pool.MachineID, i, n int) int {
	sum := digest("berthage port v1", string(m), strconv.Itoa(i))
	return int(binary.BigEndian.Uint32(sum[:4]) % uint32(n))
}
