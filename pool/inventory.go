package pool

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Ratio is an over-commit ratio in thousandths: 1500 is 1.5. The zero value means 1.0. It is an integer so
// that capacities are exact and the same on every machine. JSON shows it as a decimal number.
type Ratio int64

const maxRatio Ratio = 1000_000

// ParseRatio reads a decimal such as "1.5", 0.001 to 1000, with at most three decimals.
func ParseRatio(s string) (Ratio, error) {
	whole, frac, point := strings.Cut(s, ".")
	w, err := strconv.ParseUint(whole, 10, 16) // takes digits only, no sign
	ok := err == nil && len(frac) <= 3 && point == (frac != "")
	f := uint64(0)
	if ok && point {
		f, err = strconv.ParseUint(frac+strings.Repeat("0", 3-len(frac)), 10, 16)
		ok = err == nil
	}
	r := Ratio(w*1000 + f)
	if !ok || r < 1 || r > maxRatio {
		return 0, invalid("ratio", s, "a decimal from 0.001 to 1000 with at most three decimals")
	}
	return r, nil
}

// String prints the ratio as a decimal.
func (r Ratio) String() string {
	if r == 0 {
		r = 1000
	}
	return strconv.FormatFloat(float64(r)/1000, 'f', -1, 64)
}

// MarshalJSON writes a decimal number.
func (r Ratio) MarshalJSON() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalJSON reads a decimal number.
func (r *Ratio) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	v, err := ParseRatio(string(b))
	if err != nil {
		return err
	}
	*r = v
	return nil
}

// Inventory is what a host offers of one class, with the meaning it has in OpenStack Placement: allocations may
// take up to (Total - Reserved) * Ratio in sum, and each of them an amount that Allows accepts.
type Inventory struct {
	Total    int64 `json:"total"`              // what is physically there
	Reserved int64 `json:"reserved,omitempty"` // what the host itself and machines that are not ours use
	Ratio    Ratio `json:"ratio,omitempty"`    // over-commit, zero means 1.0

	// What one instance may take of the class, if it takes any; zero is no limit.
	MinUnit  int64 `json:"min_unit,omitempty"`  // no less
	MaxUnit  int64 `json:"max_unit,omitempty"`  // no more
	StepSize int64 `json:"step_size,omitempty"` // a multiple
}

// Allows reports whether one instance may take n, which is above zero, however much is free.
func (i Inventory) Allows(n int64) bool {
	return n >= i.MinUnit && (i.MaxUnit == 0 || n <= i.MaxUnit) && (i.StepSize == 0 || n%i.StepSize == 0)
}

// Most returns the largest amount up to n that Allows accepts, zero if there is none.
func (i Inventory) Most(n int64) int64 {
	if i.MaxUnit > 0 {
		n = min(n, i.MaxUnit)
	}
	if i.StepSize > 0 {
		n -= n % i.StepSize
	}
	if n < i.MinUnit {
		return 0
	}
	return max(n, 0)
}

// limited reports whether what one instance may take is limited at all.
func (i Inventory) limited() bool { return i.MinUnit|i.MaxUnit|i.StepSize != 0 }

// Capacity returns (Total - Reserved) * Ratio, rounded down; never below zero, and the largest int64 where
// the product is beyond it. An inventory that is not Valid has none or too little, never too much.
func (i Inventory) Capacity() int64 {
	if i.Total <= i.Reserved || i.Reserved < 0 || i.Ratio < 0 {
		return 0
	}
	n := i.Total - i.Reserved
	if i.Ratio == 0 || i.Ratio == 1000 {
		return n
	}
	hi, lo := bits.Mul64(uint64(n), uint64(i.Ratio))
	if hi >= 1000 {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, 1000)
	if q > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(q)
}

// Valid reports, as an error, a negative amount, a ratio out of range, or limits that no amount meets. More may be reserved than there
// is: that is how a host looks that others have overloaded.
func (i Inventory) Valid() error {
	switch {
	case i.Total < 0:
		return invalid("total", strconv.FormatInt(i.Total, 10), "zero or more")
	case i.Reserved < 0:
		return invalid("reserved", strconv.FormatInt(i.Reserved, 10), "zero or more")
	case i.Ratio < 0 || i.Ratio > maxRatio:
		return invalid("ratio", strconv.FormatInt(int64(i.Ratio), 10), "0.001 to 1000")
	case i.MinUnit < 0:
		return invalid("min_unit", strconv.FormatInt(i.MinUnit, 10), "zero or more")
	case i.MaxUnit < 0:
		return invalid("max_unit", strconv.FormatInt(i.MaxUnit, 10), "zero or more")
	case i.StepSize < 0:
		return invalid("step_size", strconv.FormatInt(i.StepSize, 10), "zero or more")
	case i.Most(math.MaxInt64) == 0:
		return invalid("max_unit", strconv.FormatInt(i.MaxUnit, 10), "a multiple of step_size that is no less than min_unit, or more")
	}
	return nil
}

// Device is one indivisible part of a class on a host: a storage pool, a GPU, the dedicated cores of a NUMA node. A disk, a GPU or what is
// asked of an own class goes whole to one device, and the allocation records which. Where a host has devices of a class, the
// host's inventory of that class is their sum; Host.Normalize computes it.
type Device struct {
	ID        string            `json:"id"` // unique on the host: a storage pool's name, a PCI address
	Class     Class             `json:"class"`
	Node      string            `json:"node,omitempty"` // the NUMA node that it is of, by the driver's name; empty: not known, or of none
	Inventory                   // of this device alone
	Labels    map[string]string `json:"labels,omitempty"`
}

// Shape is a size that an aggregate sells: a flavor of an OpenStack region, a server type of a hoster. On
// an aggregate an instance is booked as the smallest shape that covers it.
type Shape struct {
	Name      string    `json:"name"`
	Resources Resources `json:"resources"`
}
