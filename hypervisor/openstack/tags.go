package openstack

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// The keys of a server's metadata. All are written by the request that creates it. A value has at most 255 characters.
const (
	keyLedger   = "berthage-ledger"
	keyMachine  = "berthage-machine"
	keyLaunched = "berthage-launched"
	keyRevision = "berthage-revision" // of the last order that was carried out
	keyDisks    = "berthage-disks"    // sizes in bytes, as ordered
	keyHost     = "berthage-host"     // the hypervisor that it was created for; a server that was not placed has no other
	keyAttempt  = "berthage-attempt"  // of all servers that one request has made, the same word
	keyGroup    = "berthage-group"    // id of the server group that the driver has put it in
)

// digest is a hash of a purpose and a text, in 32 characters.
func digest(purpose, text string) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(len(purpose)) + ":" + purpose + text))
	return hex.EncodeToString(sum[:16])
}

// machineTag is the tag of Nova's by which the servers of a machine id are found, whoever made them. Nova's tags have at
// most 60 characters, a machine's id up to 63.
func machineTag(m pool.MachineID) string { return "berthage-" + digest("machine", string(m)) }

// hostTag is the tag of servers that were created for a hypervisor.
func hostTag(native string) string { return "berthage-host-" + digest("host", native) }

// validTag reports, as an error, whether a tag can be written and read back exactly. Nova's data base may keep three
// bytes of a character only, so there is nothing but ASCII.
func validTag(t hypervisor.Tag) error {
	if err := pool.ValidName(string(t.Machine)); err != nil {
		return pool.InField("machine", err)
	}
	if t.Ledger == "" || pool.ValidText(t.Ledger, 255) != nil || strings.ContainsFunc(t.Ledger, func(r rune) bool { return r > 126 }) ||
		strings.TrimSpace(t.Ledger) != t.Ledger {
		return invalid("ledger", t.Ledger, "one line of printable ASCII, 1 to 255 bytes, no space at either end")
	}
	if t.Launched < 0 {
		return invalid("launched", strconv.FormatInt(int64(t.Launched), 10), "zero or more")
	}
	return nil
}

// metadata is what is written with a server.
func metadata(o *hypervisor.Order, attempt string) map[string]string {
	m := map[string]string{
		keyLedger: o.Ledger, keyMachine: string(o.Machine), keyLaunched: strconv.FormatInt(int64(o.Launched), 10),
		keyAttempt: attempt,
	}
	for k, v := range ordered(o) {
		m[k] = v
	}
	return m
}

// ordered is the part of the metadata that changes with later orders.
func ordered(o *hypervisor.Order) map[string]string {
	var sizes []string
	for _, disk := range o.Spec.Disks {
		sizes = append(sizes, strconv.FormatInt(disk.Size, 10))
	}
	return map[string]string{keyRevision: strconv.FormatInt(int64(o.Revision), 10), keyDisks: strings.Join(sizes, ",")}
}

// tag reads the tag of a server. It is zero where there is none, or one that cannot rightly be there: without Nova's
// tag beside it, as on a server that somebody has given a copy of another's metadata, it would not be found again.
func (v *server) tag() hypervisor.Tag {
	launched, err := strconv.ParseInt(v.Metadata[keyLaunched], 10, 64)
	t := hypervisor.Tag{Ledger: v.Metadata[keyLedger], Machine: pool.MachineID(v.Metadata[keyMachine]), Launched: pool.Revision(launched)}
	if err != nil || validTag(t) != nil || !slices.Contains(v.Tags, machineTag(t.Machine)) {
		return hypervisor.Tag{}
	}
	return t
}

// revision is that of the last order that was carried out.
func (v *server) revision() pool.Revision {
	n, err := strconv.ParseInt(v.Metadata[keyRevision], 10, 64)
	if err != nil {
		return 0
	}
	return pool.Revision(n)
}

// disks are the sizes that were ordered.
func (v *server) disks() []int64 {
	var out []int64
	for _, text := range strings.Split(v.Metadata[keyDisks], ",") {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			out = append(out, n)
		}
	}
	return out
}
