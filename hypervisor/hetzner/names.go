package hetzner

import (
	"encoding/base32"
	"maps"
	"strconv"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// The labels of what is ours. They are set in the very request that creates.
const (
	labelLedger   = "berthage-ledger"
	labelMachine  = "berthage-machine"
	labelLaunched = "berthage-launched"
	labelHost     = "berthage-host"     // the location
	labelRevision = "berthage-revision" // of the last order that was carried out, of servers
	labelRoot     = "berthage-root"     // bytes that were ordered of the root disk, of servers and snapshots
	labelAttempt  = "berthage-attempt"  // a random word of the attempt that made it, of servers and volumes
	labelDisk     = "berthage-disk"     // which disk of the spec it is, of volumes
	labelShelf    = "berthage-shelf"    // of snapshots: shelfTaking or shelfKept
	labelServer   = "berthage-server"   // the server that it was made of, of snapshots
)

// serverName is the name of the server of a machine in a location, a function of both alone: the service refuses a
// second one of a name in a project, whichever ledger ordered it.
func serverName(m pool.MachineID, location string) string { return string(m) + "-" + location }

// volumeName is the name of the i-th disk of a server, as one attempt makes it. Names of volumes are unique too.
func volumeName(server string, i int, word string) string {
	return server + "-d" + strconv.Itoa(i) + "-" + word
}

// validTag reports, as an error, whether a tag can be written and read back exactly.
func validTag(t hypervisor.Tag) error {
	if _, _, ok := t.Machine.Split(); !ok {
		return invalid("machine", string(t.Machine), "the id of an instance and the number of a placement")
	}
	if t.Ledger == "" || pool.ValidText(t.Ledger, 255) != nil {
		return invalid("ledger", t.Ledger, "one line of printable text, 1 to 255 bytes")
	}
	if t.Launched < 0 {
		return invalid("launched", strconv.FormatInt(int64(t.Launched), 10), "zero or more")
	}
	return nil
}

// tagLabels is a tag as labels, of a machine in a location.
func tagLabels(t hypervisor.Tag, location string) map[string]string {
	out := map[string]string{
		labelMachine:  string(t.Machine),
		labelLaunched: strconv.FormatInt(int64(t.Launched), 10),
		labelHost:     location,
	}
	writeText(out, labelLedger, t.Ledger)
	return out
}

// readTag returns the tag that labels tell, and false when they tell none that is ours in that location.
func readTag(labels map[string]string, location string) (hypervisor.Tag, bool) {
	launched, ok := readInt(labels, labelLaunched)
	t := hypervisor.Tag{
		Ledger:   readText(labels, labelLedger),
		Machine:  pool.MachineID(labels[labelMachine]),
		Launched: pool.Revision(launched),
	}
	if !ok || labels[labelHost] != location || validTag(t) != nil {
		return hypervisor.Tag{}, false
	}
	return t, true
}

// readInt reads a number that was written by strconv.
func readInt(labels map[string]string, key string) (int64, bool) {
	n, err := strconv.ParseInt(labels[key], 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == labels[key]
}

// mostValue is the most that a label's value holds.
const mostValue = 63

// base is the alphabet of texts that no label can hold as they are.
func base() *base32.Encoding { return base32.HexEncoding.WithPadding(base32.NoPadding) }

// writeText puts a text under a key: as it is where the rules of values allow it, so that people can search for it,
// or else in base 32 under as many keys as it takes.
func writeText(labels map[string]string, key, text string) {
	if validValue(text) {
		labels[key] = text
		return
	}
	rest := base().EncodeToString([]byte(text))
	for i := 0; rest != ""; i++ {
		n := min(len(rest), mostValue)
		labels[key+"-"+strconv.Itoa(i)], rest = rest[:n], rest[n:]
	}
}

func readText(labels map[string]string, key string) string {
	if s, ok := labels[key]; ok {
		return s
	}
	all := ""
	for i := 0; ; i++ {
		part, ok := labels[key+"-"+strconv.Itoa(i)]
		if !ok {
			break
		}
		all += part
	}
	b, err := base().DecodeString(all)
	if err != nil {
		return ""
	}
	return string(b)
}

// validValue reports whether a text can be a label's value: letters, digits, '.', '_' and '-', the first and the last
// a letter or digit, at most 63 bytes.
func validValue(s string) bool {
	alnum := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }
	if s == "" || len(s) > mostValue || !alnum(s[0]) || !alnum(s[len(s)-1]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !alnum(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// with returns labels and some more.
func with(labels map[string]string, kv ...string) map[string]string {
	out := maps.Clone(labels)
	for i := 0; i < len(kv); i += 2 {
		out[kv[i]] = kv[i+1]
	}
	return out
}

// selector selects what is labelled with a machine's id.
func selector(m pool.MachineID) string { return labelMachine + "==" + string(m) }
