package pool

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Class names a kind of resource. The classes below are known to the SDK; an operator's own class
// ("licence.oracle", "net.mbps") is any other valid name and is counted in a unit of the operator's choice.
type Class string

// The classes known to the SDK, with their units.
const (
	CPU             Class = "cpu"              // millicores
	Memory          Class = "memory"           // bytes
	StorageStandard Class = "storage.standard" // bytes
	StorageSSD      Class = "storage.ssd"      // bytes
	StorageNVMe     Class = "storage.nvme"     // bytes
	IOPSStandard    Class = "iops.standard"    // operations per second
	IOPSSSD         Class = "iops.ssd"         // operations per second
	IOPSNVMe        Class = "iops.nvme"        // operations per second
	GPU             Class = "gpu"              // whole devices
	GPUShare        Class = "gpu.share"        // thousandths of a device: up to 1000 on one, whole ones beyond that
	Instances       Class = "instances"        // number of instances; counted by quotas, not by hosts
	Cost            Class = "cost"             // millionths of the currency an hour; counted by quotas, where there are prices: see Pricer
)

// Binary sizes in bytes, and one core in millicores.
const (
	KiB  int64 = 1 << 10
	MiB  int64 = 1 << 20
	GiB  int64 = 1 << 30
	TiB  int64 = 1 << 40
	Core int64 = 1000
)

// Valid reports, as an error, whether c is a well-formed class name: lower-case letters, digits, dots,
// hyphens and underscores, starting with a letter, at most 63 bytes.
func (c Class) Valid() error {
	switch c {
	case CPU, Memory, StorageStandard, StorageSSD, StorageNVMe: // as most are
		return nil
	}
	if !wellFormed(string(c), 63, lowers, lowers|digits|dots|hyphens|underscores) {
		return invalid("class", string(c), "a lower-case letter, then letters, digits, '.', '-', '_', at most 63 bytes")
	}
	return nil
}

// field returns c for an error's field, where a class may stand that nobody has checked.
func (c Class) field() string {
	if c.Valid() != nil {
		return Quote(string(c))
	}
	return string(c)
}

// Resources is an amount per class. The zero value, nil, is nothing at all; an absent class is zero.
//
// Methods never change their receiver and return fresh maps, so that a Resources that has been published
// stays as it was. A Resources is safe for concurrent reading.
type Resources map[Class]int64

// Classes returns the classes with a non-zero amount in alphabetical order, the order of all reports.
func (r Resources) Classes() []Class {
	cs := make([]Class, 0, len(r))
	for c, n := range r {
		if n != 0 {
			cs = append(cs, c)
		}
	}
	slices.Sort(cs)
	return cs
}

// Clone returns a copy without zero amounts.
func (r Resources) Clone() Resources {
	if r == nil {
		return make(Resources)
	}
	out := maps.Clone(r) // which copies memory; to put in each entry takes several times as long
	for c, n := range r {
		if n == 0 {
			delete(out, c)
		}
	}
	return out
}

// Valid reports, as an error, a malformed class or a negative amount; of several the first by class.
func (r Resources) Valid() error {
	good := true
	var space [manyEntries]entry[int64]
	for _, x := range r.entries(space[:0]) {
		good = good && x.value >= 0 && Class(x.key).Valid() == nil
	}
	if good {
		return nil
	}
	bad, _ := r.first(func(c Class, n int64) bool { return n < 0 || c.Valid() != nil })
	if err := bad.Valid(); err != nil {
		return err
	}
	return invalid(string(bad), strconv.FormatInt(r[bad], 10), "zero or more")
}

// first returns the first class, by name, of which is holds.
func (r Resources) first(is func(Class, int64) bool) (first Class, found bool) {
	for c, n := range r {
		if (!found || c < first) && is(c, n) {
			first, found = c, true
		}
	}
	return first, found
}

// Add returns r + o. A sum beyond an int64 is ErrOverflow and names the class.
func (r Resources) Add(o Resources) (Resources, error) {
	out := r.Clone()
	if err := out.shift(o, 1); err != nil {
		return nil, err
	}
	return out, nil
}

// raise adds n of a class to r itself, which nobody else has seen yet.
func (r Resources) raise(c Class, n int64) error {
	s, ok := addInt64(r[c], n)
	if !ok {
		return errSum(c)
	}
	r.put(c, s)
	return nil
}

// Sub returns r - o. A result below zero is ErrInvalid and names the class.
func (r Resources) Sub(o Resources) (Resources, error) {
	out := r.Clone()
	if err := out.shift(o, -1); err != nil {
		return nil, err
	}
	return out, nil
}

// shift adds o to r itself, or takes it from it where sign is -1, or says why that cannot be and changes nothing.
func (r Resources) shift(o Resources, sign int64) error {
	var space [manyEntries]entry[int64]
	sums := o.entries(space[:0])
	for i := range sums {
		c, n := Class(sums[i].key), sums[i].value
		s, ok := addInt64(r[c], sign*n)
		switch {
		case !ok && sign > 0:
			return errSum(c)
		case !ok || sign < 0 && n == math.MinInt64:
			return &Error{Kind: ErrOverflow, Field: c.field(), Want: "a difference within an int64"}
		case sign < 0 && s < 0:
			return invalid(c.field(), strconv.FormatInt(s, 10), "a difference of zero or more")
		}
		sums[i].value = s
	}
	for _, s := range sums {
		r.put(Class(s.key), s.value)
	}
	return nil
}

// entries appends what r has to out, which is empty, by class.
func (r Resources) entries(out []entry[int64]) []entry[int64] {
	if len(r) == 0 {
		return out
	}
	// Mostly these are all; to look them up takes a part of the time that it takes to go through a map.
	for _, c := range [...]Class{CPU, Memory, StorageNVMe, StorageSSD, StorageStandard} {
		if n, ok := r[c]; ok {
			if out = append(out, entry[int64]{string(c), n}); len(out) == len(r) {
				return out
			}
		}
	}
	return entriesOf(out[:0], r)
}

func errSum(c Class) error {
	return &Error{Kind: ErrOverflow, Field: c.field(), Want: "a sum of at most 9223372036854775807"}
}

// copy is Clone for whoever knows that there are no zeros.
func (r Resources) copy() Resources {
	if r == nil {
		return make(Resources)
	}
	return maps.Clone(r)
}

// Fits reports whether every class of r is at most what free has of it.
func (r Resources) Fits(free Resources) bool {
	for c, n := range r {
		if n > free[c] {
			return false
		}
	}
	return true
}

// Equal reports whether r and o hold the same amounts; absent and zero are the same.
func (r Resources) Equal(o Resources) bool {
	for c, n := range r {
		if n != o[c] {
			return false
		}
	}
	for c, n := range o {
		if n != r[c] {
			return false
		}
	}
	return true
}

// String lists the classes in order with units: "cpu 2 cores, memory 4 GiB".
func (r Resources) String() string {
	cs := r.Classes()
	if len(cs) == 0 {
		return "nothing"
	}
	parts := make([]string, len(cs))
	for i, c := range cs {
		parts[i] = string(c) + " " + c.Format(r[c])
	}
	return strings.Join(parts, ", ")
}

// MarshalJSON writes a nil Resources as an empty object, so that readers need no special case.
func (r Resources) MarshalJSON() ([]byte, error) {
	var e encoder
	b := e.resources(nil, r)
	return b, e.err
}

func (r Resources) put(c Class, n int64) {
	if n == 0 {
		delete(r, c)
	} else {
		r[c] = n
	}
}

// Format prints an amount of class c in its unit, for people: "2 cores", "1.5 GiB", "3".
func (c Class) Format(n int64) string {
	switch {
	case c == CPU && n == Core:
		return "1 core"
	case c == CPU:
		return strconv.FormatFloat(float64(n)/float64(Core), 'f', -1, 64) + " cores"
	case c == Cost:
		return FormatMillionths(n) + " an hour"
	case c == Memory || strings.HasPrefix(string(c), "storage."):
		return FormatBytes(n)
	default:
		return strconv.FormatInt(n, 10)
	}
}

// FormatMillionths prints an amount of money given in millionths with two decimals, and more where it has more: "1.50", "0.0125".
func FormatMillionths(n int64) string {
	sign, m := "", uint64(n)
	if n < 0 {
		sign, m = "-", -m
	}
	s := strconv.FormatUint(1_000_000+m%1_000_000, 10)[1:]
	return sign + strconv.FormatUint(m/1_000_000, 10) + "." + s[:2] + strings.TrimRight(s[2:], "0")
}

// FormatBytes prints a number of bytes with a binary unit and at most two decimals.
func FormatBytes(n int64) string {
	units := []struct {
		size int64
		name string
	}{{TiB, "TiB"}, {GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}}
	for _, u := range units {
		if n >= u.size || n <= -u.size {
			return strconv.FormatFloat(math.Round(float64(n)/float64(u.size)*100)/100, 'f', -1, 64) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}

func addInt64(a, b int64) (int64, bool) {
	s := a + b
	if (b > 0 && s < a) || (b < 0 && s > a) {
		return 0, false
	}
	return s, true
}
