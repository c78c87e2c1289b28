package alert

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The bounds of a label set.
const (
	MaxLabels      = 64       // labels of one set
	MaxLabelName   = 256      // bytes of a name
	MaxLabelsBytes = 64 << 10 // bytes of all names and values together
)

// Labels is a set of labels: names with values, of which none is empty (a label without a value is a label that is not
// there, as in Prometheus). It is immutable and comparable: equal sets are equal values, whatever order they were given
// in, so that it can be the key of a map. The zero value is the empty set.
type Labels struct {
	// enc holds name and value of every label in the order of names, each after its length as a varint.
	enc string
}

// NewLabels returns the set of the given labels; those with an empty value are left out. It refuses with ErrInvalid names
// that are empty, names and values that are not UTF-8, and what is beyond the bounds above.
func NewLabels(labels map[string]string) (Labels, error) {
	var total, n int
	for name, value := range labels {
		switch {
		case name == "":
			return Labels{}, invalid("labels", value, "a label has a name")
		case len(name) > MaxLabelName:
			return Labels{}, invalid("labels", name, "a name of at most "+strconv.Itoa(MaxLabelName)+" bytes")
		case !utf8.ValidString(name):
			return Labels{}, invalid("labels", name, "a name in UTF-8")
		case !utf8.ValidString(value):
			return Labels{}, invalid("labels."+strings.Trim(quote(name), `"`), value, "a value in UTF-8")
		}
		if value != "" {
			total, n = total+len(name)+len(value), n+1
		}
	}
	if n > MaxLabels {
		return Labels{}, invalid("labels", strconv.Itoa(n), "at most "+strconv.Itoa(MaxLabels)+" labels")
	}
	if total > MaxLabelsBytes {
		return Labels{}, invalid("labels", strconv.Itoa(total)+" bytes", "at most "+strconv.Itoa(MaxLabelsBytes)+" bytes of names and values")
	}
	return encode(labels), nil
}

// encode takes labels that have been checked.
func encode(labels map[string]string) Labels {
	if len(labels) == 0 {
		return Labels{}
	}
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if value := labels[name]; value != "" {
			b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
			b = append(binary.AppendUvarint(b, uint64(len(value))), value...)
		}
	}
	return Labels{string(b)}
}

// field splits what begins with a length off s.
func field(s string) (first, rest string) {
	n, shift, i := 0, 0, 0
	for ; s[i] >= 0x80; i++ {
		n |= int(s[i]&0x7f) << shift
		shift += 7
	}
	n |= int(s[i]) << shift
	return s[i+1 : i+1+n], s[i+1+n:]
}

// All yields the labels in the order of their names.
func (l Labels) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for rest := l.enc; rest != ""; {
			var name, value string
			name, rest = field(rest)
			value, rest = field(rest)
			if !yield(name, value) {
				return
			}
		}
	}
}

// Get returns the value of a label, empty when the set has none of that name.
func (l Labels) Get(name string) string {
	for n, v := range l.All() {
		if n == name {
			return v
		}
	}
	return ""
}

// Len returns the number of labels.
func (l Labels) Len() int {
	n := 0
	for range l.All() {
		n++
	}
	return n
}

// Map returns the labels as a map that is the caller's own.
func (l Labels) Map() map[string]string {
	m := make(map[string]string, 8)
	for name, value := range l.All() {
		m[name] = value
	}
	return m
}

// With returns the set with those of the other laid over: the other's values win. It fails as NewLabels does.
func (l Labels) With(other Labels) (Labels, error) {
	if other.enc == "" {
		return l, nil
	}
	if l.enc == "" {
		return other, nil
	}
	m := l.Map()
	maps.Insert(m, other.All())
	return NewLabels(m)
}

// Only returns the set of those labels that are among the names.
func (l Labels) Only(names ...string) Labels {
	return l.filter(func(name string) bool { return slices.Contains(names, name) })
}

// Without returns the set of those labels that are not among the names.
func (l Labels) Without(names ...string) Labels {
	return l.filter(func(name string) bool { return !slices.Contains(names, name) })
}

func (l Labels) filter(keep func(name string) bool) Labels {
	m := l.Map()
	maps.DeleteFunc(m, func(name, _ string) bool { return !keep(name) })
	return encode(m)
}

// Compare orders sets by their labels in the order of names, as -1, 0 or 1.
func (l Labels) Compare(other Labels) int {
	a, b := l.enc, other.enc
	for a != "" && b != "" {
		var x, y string
		x, a = field(a)
		y, b = field(b)
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// String returns the labels as Prometheus writes them, values quoted: {host="h1", project="web"}.
func (l Labels) String() string {
	var b strings.Builder
	b.WriteByte('{')
	for name, value := range l.All() {
		if b.Len() > 1 {
			b.WriteString(", ")
		}
		if plain(name) {
			b.WriteString(name)
		} else {
			b.WriteString(strconv.Quote(name))
		}
		b.WriteByte('=')
		b.WriteString(strconv.Quote(value))
	}
	b.WriteByte('}')
	return b.String()
}

// plain says whether a name stands without quotes in what Prometheus writes: letters, digits and underscores, no digit
// at the beginning.
func plain(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// MarshalJSON writes the labels as an object.
func (l Labels) MarshalJSON() ([]byte, error) { return json.Marshal(l.Map()) }

// UnmarshalJSON reads an object of strings; it fails as NewLabels does.
func (l *Labels) UnmarshalJSON(b []byte) error {
	var m map[string]string
	if err := json.Unmarshal(b, &m); err != nil {
		return &Error{Kind: ErrInvalid, Field: "labels", Want: "an object of strings", Cause: err}
	}
	labels, err := NewLabels(m)
	if err == nil {
		*l = labels
	}
	return err
}
