package proxmox

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/berthage/berthage/pool"
)

// number is a number as the API writes it: as one, as a string, or as a boolean.
type number float64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(b []byte) error {
	t := strings.Trim(string(b), `"`)
	switch t {
	case "null", "", "false":
		return nil
	case "true":
		*n = 1
		return nil
	}
	f, err := strconv.ParseFloat(t, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("%s is no number", pool.Quote(t))
	}
	*n = number(f)
	return nil
}

// whole is the number as an integer of at least zero.
func (n number) whole() int64 {
	if n >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(max(n, 0))
}

// text is a value as the API writes it, as a string.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
		return nil
	}
	if string(b) == "null" {
		return nil
	}
	var n number
	if err := n.UnmarshalJSON(b); err != nil {
		return err
	}
	*t = text(strings.Trim(string(b), `"`))
	if string(b) == "true" || string(b) == "false" {
		*t = text(strconv.Itoa(int(n)))
	}
	return nil
}

// drive is a disk of a guest: "local:101/vm-101-disk-0.qcow2,iops=100,size=1G".
type drive struct {
	key     string // "scsi0"
	volume  string
	options []string // what follows the volume
}

func parseDrive(key, value string) drive {
	parts := strings.Split(value, ",")
	return drive{key, strings.TrimPrefix(parts[0], "file="), parts[1:]}
}

// option returns an option's value.
func (d drive) option(name string) string {
	for _, o := range d.options {
		if v, ok := strings.CutPrefix(o, name+"="); ok {
			return v
		}
	}
	return ""
}

// with returns the drive with an option set; an empty value takes it away.
func (d drive) with(name, value string) drive {
	d.options = slices.DeleteFunc(slices.Clone(d.options), func(o string) bool { return strings.HasPrefix(o, name+"=") })
	if value != "" {
		d.options = append(d.options, name+"="+value)
	}
	return d
}

func (d drive) String() string { return strings.Join(append([]string{d.volume}, d.options...), ",") }

func (d drive) storage() string {
	name, _, ok := strings.Cut(d.volume, ":")
	if !ok {
		return ""
	}
	return name
}

func (d drive) cdrom() bool {
	return d.option("media") == "cdrom" || d.volume == "none" || d.volume == "cdrom"
}

// cloudInit reports whether the drive carries what Proxmox VE's cloud-init writes.
func (d drive) cloudInit() bool {
	return d.cdrom() && strings.Contains(d.volume[strings.IndexByte(d.volume, ':')+1:], "cloudinit")
}

// size is the drive's size in bytes, zero where it is not told.
func (d drive) size() int64 {
	n, _ := parseSize(d.option("size"))
	return n
}

// parseSize reads a size such as "4M" or "1.5G".
func parseSize(t string) (int64, bool) {
	if t == "" {
		return 0, false
	}
	unit := int64(1)
	if i := strings.IndexByte("KMGT", t[len(t)-1]); i >= 0 {
		unit = 1 << (10 * (i + 1))
		t = t[:len(t)-1]
	}
	if n, err := strconv.ParseInt(t, 10, 64); err == nil {
		if n < 0 || n > math.MaxInt64/unit {
			return 0, false
		}
		return n * unit, true
	}
	f, err := strconv.ParseFloat(t, 64)
	if err != nil || !(f >= 0) || f*float64(unit) >= math.MaxInt64 {
		return 0, false
	}
	return int64(f * float64(unit)), true
}

// sizeStep is what disks' sizes are multiples of: storages know no smaller steps in common.
const sizeStep = pool.MiB

// rounded returns a size as it is ordered, the next multiple of sizeStep.
func rounded(size int64) int64 {
	if size > math.MaxInt64-sizeStep {
		return math.MaxInt64 / sizeStep * sizeStep
	}
	return (size + sizeStep - 1) / sizeStep * sizeStep
}

// gib writes a size that is a multiple of sizeStep in GiB, exactly.
func gib(size int64) string {
	return strconv.FormatFloat(float64(size)/float64(pool.GiB), 'f', -1, 64)
}

// config is a guest's configuration.
type config map[string]text

// isDisk reports whether a key names a disk that a guest can be given, other than those that the firmware keeps.
func isDisk(key string) bool {
	for _, bus := range []string{"ide", "sata", "scsi", "virtio"} {
		if n, ok := strings.CutPrefix(key, bus); ok {
			_, err := strconv.ParseUint(n, 10, 8)
			return err == nil
		}
	}
	return false
}

// drives returns all drives with a volume, in the order of their keys: also those of the firmware, and unused ones.
func (c config) drives() []drive {
	var out []drive
	for key, value := range c {
		if isDisk(key) || key == "efidisk0" || key == "tpmstate0" || strings.HasPrefix(key, "unused") {
			out = append(out, parseDrive(key, string(value)))
		}
	}
	slices.SortFunc(out, func(a, b drive) int { return strings.Compare(a.key, b.key) })
	return out
}

// disks returns the disks: first the root disk, which is the one that the guest boots from and bears no serial of ours, then
// ours by their serials, then what somebody has added.
func (c config) disks() []drive {
	var root, ours, others []drive
	order := strings.Split(strings.TrimPrefix(string(c["boot"]), "order="), ";")
	number := func(d drive) int {
		n, err := strconv.Atoi(strings.TrimPrefix(d.option("serial"), serialPrefix))
		if err != nil || !strings.HasPrefix(d.option("serial"), serialPrefix) {
			return 0
		}
		return n
	}
	for _, d := range c.drives() {
		switch {
		case !isDisk(d.key) || d.cdrom():
		case number(d) > 0:
			ours = append(ours, d)
		case len(root) == 0 && slices.Contains(order, d.key):
			root = append(root, d)
		default:
			others = append(others, d)
		}
	}
	if len(root) == 0 && len(others) > 0 {
		root, others = others[:1:1], others[1:]
	}
	slices.SortFunc(ours, func(a, b drive) int { return number(a) - number(b) })
	return slices.Concat(root, ours, others)
}

// cores is what the guest has, in millicores.
func (c config) cores() int64 { return c.number("cores", 1) * c.number("sockets", 1) * pool.Core }

// memory is what the guest has, in bytes.
func (c config) memory() int64 {
	first, _, _ := strings.Cut(strings.TrimPrefix(string(c["memory"]), "current="), ",")
	n, err := strconv.ParseInt(first, 10, 32)
	if err != nil || n < 0 {
		n = 512
	}
	return n * pool.MiB
}

func (c config) number(key string, otherwise int64) int64 {
	n, err := strconv.ParseInt(string(c[key]), 10, 16)
	if err != nil || n < 1 {
		return otherwise
	}
	return n
}
