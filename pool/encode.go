package pool

import (
	"encoding/json"
	"slices"
	"strconv"
)

// encoder writes what encoding/json would write, byte for byte, for what every launch puts into the ledger: reflection
// would take longer than everything else that a launch costs. What is rarely there it leaves to encoding/json. Its methods
// append to a buffer that their caller has, which costs less than one that it would have itself.
type encoder struct{ err error }

// encode returns the JSON of an event's payload.
func encode(payload any) ([]byte, error) {
	var e encoder
	var space [1024]byte
	b := space[:0]
	switch p := payload.(type) {
	case *Launched:
		b = e.launched(b, p)
	case *Guest:
		b = e.guest(b, p)
	default:
		return json.Marshal(payload)
	}
	return append(make([]byte, 0, len(b)), b...), e.err
}

// escaped are, as bits, the characters below 128 that encoding/json does not write as they are. What has them, or others, is
// left to it.
const (
	escapedLow  = 1<<32 - 1 | 1<<'"' | 1<<'<' | 1<<'>' | 1<<'&' // 0 to 63
	escapedHigh = 1<<('\\'-64) | 1<<(127-64)                    // 64 to 127
)

func (e *encoder) text(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		bits := uint64(escapedLow)
		if c >= 64 {
			bits = escapedHigh
		}
		if c > 127 || bits>>(c&63)&1 != 0 {
			return e.other(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// key begins a field that may be left out; of the others the names are written as they are.
func key(b []byte, name string) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	return append(b, `":`...)
}

func appendNumber(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

func (e *encoder) other(b []byte, v any) []byte {
	j, err := json.Marshal(v)
	if err != nil && e.err == nil {
		e.err = err
	}
	return append(b, j...)
}

// optional fields are left out when they are empty, or zero.
func (e *encoder) optionalText(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return e.text(key(b, name), s)
}

func optionalNumber(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return appendNumber(key(b, name), n)
}

// entry is one of a map.
type entry[V any] struct {
	key   string
	value V
}

// entriesOf appends the entries of a map to out, which is empty, in the order of their keys.
func entriesOf[M ~map[K]V, K ~string, V any](out []entry[V], m M) []entry[V] {
	for k, v := range m {
		out = append(out, entry[V]{string(k), v})
		for i := len(out) - 1; i > 0 && out[i].key < out[i-1].key; i-- {
			out[i], out[i-1] = out[i-1], out[i]
		}
		if len(out) == manyEntries {
			break
		}
	}
	if len(out) < len(m) {
		out = out[:0]
		for k, v := range m {
			out = append(out, entry[V]{string(k), v})
		}
		slices.SortFunc(out, func(x, y entry[V]) int {
			if x.key < y.key {
				return -1
			}
			return 1 // there are no two alike
		})
	}
	return out
}

// manyEntries are more than are sorted one by one as they come.
const manyEntries = 8

// separator stands before the i-th entry of a map.
func separator(i int) byte {
	if i == 0 {
		return '{'
	}
	return ','
}

func (e *encoder) optionalTexts(b []byte, name string, m map[string]string) []byte {
	if len(m) == 0 {
		return b
	}
	b = key(b, name)
	var space [manyEntries]entry[string]
	for i, x := range entriesOf(space[:0], m) {
		b = e.text(append(b, separator(i)), x.key)
		b = e.text(append(b, ':'), x.value)
	}
	return append(b, '}')
}

func (e *encoder) resources(b []byte, r Resources) []byte {
	if len(r) == 0 {
		return append(b, "{}"...)
	}
	var space [manyEntries]entry[int64]
	for i, x := range r.entries(space[:0]) {
		b = e.text(append(b, separator(i)), x.key)
		b = appendNumber(append(b, ':'), x.value)
	}
	return append(b, '}')
}

func (e *encoder) launched(b []byte, p *Launched) []byte {
	b = e.text(append(b, `{"instance":`...), string(p.Instance))
	b = e.text(append(b, `,"name":`...), p.Name)
	b = e.text(append(b, `,"project":`...), p.Project)
	b = e.spec(append(b, `,"spec":`...), &p.Spec)
	b = e.image(append(b, `,"image":`...), &p.Image)
	b = e.text(append(b, `,"want":`...), string(p.Want))
	b = e.placement(append(b, `,"place":`...), &p.Place)
	if p.Waits {
		b = append(b, `,"waits":true`...)
	}
	b = e.optionalText(b, "reason", p.Reason)
	if !p.Until.IsZero() {
		b = e.other(key(b, "until"), p.Until)
	}
	b = e.optionalText(b, "owner", p.Owner)
	b = e.optionalText(b, "cluster", string(p.Cluster))
	b = optionalNumber(b, "index", int64(p.Index))
	return append(b, '}')
}

func (e *encoder) spec(b []byte, s *Spec) []byte {
	if s.Kind != "" {
		b = e.text(append(b, `{"kind":`...), string(s.Kind))
		b = append(b, `,"image":`...)
	} else {
		b = append(b, `{"image":`...)
	}
	b = e.text(b, s.Image)
	b = e.optionalText(b, "flavor", s.Flavor)
	if len(s.Resources) > 0 {
		b = e.resources(append(b, `,"resources":`...), s.Resources)
	}
	if len(s.Disks) > 0 {
		b = append(b, `,"disks":`...)
		for i := range s.Disks {
			d := &s.Disks[i]
			b = appendNumber(append(append(b, bracket(i)), `{"size":`...), d.Size)
			b = e.optionalText(b, "storage", string(d.Storage))
			b = e.optionalText(b, "mount", d.Mount)
			b = optionalNumber(b, "iops", d.IOPS)
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	if len(s.Networks) > 0 {
		b = e.other(key(b, "networks"), s.Networks)
	}
	if !s.Constraints.zero() {
		b = e.other(key(b, "constraints"), &s.Constraints)
	}
	b = e.optionalTexts(b, "labels", s.Labels)
	if !s.Guest.empty() {
		b = e.other(key(b, "guest"), &s.Guest)
	}
	b = optionalNumber(b, "priority", int64(s.Priority))
	b = e.optionalText(b, "preemptible", string(s.Preemptible))
	if s.Replaceable {
		b = append(b, `,"replaceable":true`...)
	}
	b = optionalNumber(b, "lifetime", s.Lifetime)
	return append(b, '}')
}

// bracket stands before the i-th of a list.
func bracket(i int) byte {
	if i == 0 {
		return '['
	}
	return ','
}

// zero reports whether nothing is there, not even an empty list: then encoding/json leaves it out.
func (c *Constraints) zero() bool {
	return c.Hosts == nil && c.Zones == nil && c.Labels == nil && c.Abilities == nil && c.Tolerations == nil && c.SameNode == nil &&
		c.Affinity == nil && c.AntiAffinity == nil && c.Spread == nil
}

func (e *encoder) image(b []byte, i *Image) []byte {
	b = e.text(append(b, `{"name":`...), i.Name)
	b = e.optionalText(b, "os", i.OS)
	b = e.text(append(b, `,"user":`...), i.User)
	b = optionalNumber(b, "min_disk", i.MinDisk)
	b = e.optionalTexts(b, "sources", i.Sources)
	return append(b, '}')
}

func (e *encoder) placement(b []byte, p *Placement) []byte {
	b = appendNumber(append(b, `{"number":`...), int64(p.Number))
	b = e.text(append(b, `,"host":`...), string(p.Host))
	b = e.resources(append(b, `,"allocation":{"resources":`...), p.Allocation.Resources)
	if len(p.Allocation.Claims) > 0 {
		b = append(b, `,"claims":`...)
		for i := range p.Allocation.Claims {
			c := &p.Allocation.Claims[i]
			b = e.text(append(append(b, bracket(i)), `{"device":`...), c.Device)
			b = e.text(append(b, `,"class":`...), string(c.Class))
			b = appendNumber(append(b, `,"amount":`...), c.Amount)
			b = optionalNumber(b, "disk", int64(c.Disk))
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	b = e.optionalText(b, "shape", p.Allocation.Shape)
	b = strconv.AppendBool(append(b, `},"sent":`...), p.Sent)
	b = strconv.AppendBool(append(b, `,"doubt":`...), p.Doubt)
	return append(b, '}')
}

// guest writes what is private of a launch. Mostly it is a login and nothing else.
func (e *encoder) guest(b []byte, g *Guest) []byte {
	if g.User == "" || len(g.SSHKeys) > 0 || g.UserData != "" {
		return e.other(b, g)
	}
	b = e.text(append(b, `{"user":`...), g.User)
	return append(b, '}')
}
