package proxmox

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// mark is what stands in the description of a guest of ours.
type mark struct {
	VMID     int    `json:"vmid"` // a description is copied along when somebody clones a guest; the copy has another
	Ledger   string `json:"ledger"`
	Machine  string `json:"machine"`
	Launched int64  `json:"launched"`
	Revision int64  `json:"revision"` // of the last order that was carried out
	Disks    int    `json:"disks"`    // how many disks were ordered; none stands for a root disk as the template's

	// Attempt is a word of the Create that makes the guest, and Stage how far it has come, 0 when it is done.
	Attempt string `json:"attempt,omitempty"`
	Stage   stage  `json:"stage,omitempty"`
}

// stage is how far a creation has come.
type stage int

const (
	complete   stage = iota
	cloned           // the clone has been ordered
	configured       // it has its settings and disks
)

const (
	markPrefix = "berthage-v1 "
	markNotice = "Managed by Berthage, which knows the machine by the next line.\n\n"
	maxMark    = 4096 // of the 8192 that a description may have
)

func (m *mark) tag() hypervisor.Tag {
	return hypervisor.Tag{Ledger: m.Ledger, Machine: pool.MachineID(m.Machine), Launched: pool.Revision(m.Launched)}
}

// describe returns the description with the mark in it: ASCII in one line.
func (m *mark) describe() (string, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	line := ascii(string(b))
	if len(line) > maxMark {
		return "", invalid("tag", "", "a tag that fits into a description")
	}
	return markNotice + markPrefix + line, nil
}

// ascii writes JSON with ASCII only.
func ascii(s string) string {
	var out strings.Builder
	for _, r := range s {
		switch {
		case r < 0x7f:
			out.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.String()
}

// readMark returns the mark in a description, or nil: where there is none, more than one, or one that nobody has written
// for this guest. People may write beside it.
func readMark(description string, vmid int) *mark {
	var found *mark
	for line := range strings.Lines(description) {
		rest, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n \t"), markPrefix)
		if !ok {
			continue
		}
		if found != nil || len(rest) > maxMark {
			return nil
		}
		d := json.NewDecoder(strings.NewReader(rest))
		d.DisallowUnknownFields()
		m := new(mark)
		if d.Decode(m) != nil || d.More() || validTag(m.tag()) != nil || m.Revision < 0 || m.Disks < 0 || m.Stage < complete || m.Stage > configured {
			return nil
		}
		found = m
	}
	if found == nil || found.VMID != vmid {
		return nil
	}
	return found
}

// replaceMark returns the description with another mark in the place of the one that it has.
func replaceMark(description string, m *mark) (string, error) {
	text, err := m.describe()
	if err != nil {
		return "", err
	}
	line := strings.TrimPrefix(text, markNotice)
	var out bytes.Buffer
	done := false
	for l := range strings.Lines(description) {
		if strings.HasPrefix(l, markPrefix) && !done {
			l, done = line+"\n", true
		}
		out.WriteString(l)
	}
	if !done {
		return text, nil
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

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

// digest hashes a purpose and strings, each with its length before it.
func digest(purpose string, parts ...string) [sha256.Size]byte {
	h := sha256.New()
	for _, p := range append([]string{purpose}, parts...) {
		h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// machineMAC is the hardware address of a machine's i-th interface: 46 bits of a hash, unicast and locally administered.
func machineMAC(m pool.MachineID, i int) string {
	sum := digest("berthage mac v1", string(m), strconv.Itoa(i))
	a := net.HardwareAddr(sum[:6])
	a[0] = a[0]&0xfc | 0x02
	return a.String()
}

// ownVMID is the VMID of a machine on a host where VMIDs follow from machines, or zero.
func (c *Config) ownVMID(r hypervisor.Ref) int {
	if c.FirstVMID == 0 {
		return 0
	}
	sum := digest("berthage vmid v1", string(r.Host), string(r.Machine))
	return c.FirstVMID + int(binary.BigEndian.Uint64(sum[:8])%uint64(c.LastVMID-c.FirstVMID+1))
}

// attempt is a random word that tells one attempt to create a machine from any other.
func attempt() string { return strings.ToLower(rand.Text()[:10]) }

// seedPrefix begins the names of all seeds of a machine.
func seedPrefix(m pool.MachineID) string { return "berthage-" + string(m) + "-" }

// seedName is the name of the seed of the machine with exactly that tag that was made for that host.
func seedName(r hypervisor.Ref) string {
	sum := digest("berthage seed v1", string(r.Host), r.Ledger, string(r.Machine), strconv.FormatInt(int64(r.Launched), 10))
	return seedPrefix(r.Machine) + hex.EncodeToString(sum[:8]) + ".iso"
}

const serialPrefix = "berthage-d"

// serial is the serial number under which the guest sees the i-th disk of the spec.
func serial(i int) string { return serialPrefix + strconv.Itoa(i) }
