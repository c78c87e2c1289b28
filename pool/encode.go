package pool

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
)

// encoder writes what encoding/json would write, byte for byte, for what every launch puts into the ledger: reflection
// would take longer than everything else that a launch costs. What is rarely there it leaves to encoding/json.
type encoder struct {
	b   []byte
	err error
}

// encode returns the JSON of an event's payload.
func encode(payload any) ([]byte, error) {
	var e encoder
	switch p := payload.(type) {
	case *Launched:
		e.b = make([]byte, 0, 640)
		e.launched(p)
	case *Guest:
		e.guest(p)
	default:
		return json.Marshal(payload)
	}
	return slices.Clip(e.b), e.err
}

func (e *encoder) put(s string) { e.b = append(e.b, s...) }

// key begins a field that may be left out; of the others the names are written as they are.
func (e *encoder) key(name string) {
	e.put(`,"`)
	e.put(name)
	e.put(`":`)
}

// text writes a string. What encoding/json escapes, it writes.
func (e *encoder) text(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			e.other(s)
			return
		}
	}
	e.b = append(e.b, '"')
	e.put(s)
	e.b = append(e.b, '"')
}

func (e *encoder) number(n int64) { e.b = strconv.AppendInt(e.b, n, 10) }

func (e *encoder) other(v any) {
	b, err := json.Marshal(v)
	if err != nil && e.err == nil {
		e.err = err
	}
	e.b = append(e.b, b...)
}

// optional fields are left out when they are empty, or zero.
func (e *encoder) optionalText(name, s string) {
	if s != "" {
		e.key(name)
		e.text(s)
	}
}

func (e *encoder) optionalNumber(name string, n int64) {
	if n != 0 {
		e.key(name)
		e.number(n)
	}
}

// optionalOther is for a struct behind a pointer that is left out when it is zero.
func (e *encoder) optionalOther(name string, v any) {
	if !reflect.ValueOf(v).Elem().IsZero() {
		e.key(name)
		e.other(v)
	}
}

func (e *encoder) optionalTexts(name string, m map[string]string) {
	if len(m) == 0 {
		return
	}
	e.key(name)
	var space [8]string
	for i, k := range sortedKeys(space[:0], m) {
		e.put(separator(i))
		e.text(k)
		e.put(":")
		e.text(m[k])
	}
	e.put("}")
}

// separator stands before the i-th entry of a map.
func separator(i int) string {
	if i == 0 {
		return "{"
	}
	return ","
}

func (e *encoder) resources(r Resources) {
	if len(r) == 0 {
		e.put("{}")
		return
	}
	var space [8]Class
	for i, c := range sortedKeys(space[:0], r) {
		e.put(separator(i))
		e.text(string(c))
		e.put(":")
		e.number(r[c])
	}
	e.put("}")
}

// sortedKeys appends the keys of m to keys, which is empty.
func sortedKeys[M ~map[K]V, K ~string, V any](keys []K, m M) []K {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// list writes a list, or nothing where there is none.
func list[T any](e *encoder, name string, of []T, one func(*T)) {
	if len(of) == 0 {
		return
	}
	e.key(name)
	for i := range of {
		if i == 0 {
			e.put("[")
		} else {
			e.put(",")
		}
		one(&of[i])
	}
	e.put("]")
}

func (e *encoder) launched(p *Launched) {
	e.put(`{"instance":`)
	e.text(string(p.Instance))
	e.put(`,"name":`)
	e.text(p.Name)
	e.put(`,"project":`)
	e.text(p.Project)
	e.put(`,"spec":`)
	e.spec(&p.Spec)
	e.put(`,"image":`)
	e.image(&p.Image)
	e.put(`,"want":`)
	e.text(string(p.Want))
	e.put(`,"place":`)
	e.placement(&p.Place)
	if p.Waits {
		e.put(`,"waits":true`)
	}
	e.optionalText("reason", p.Reason)
	if !p.Until.IsZero() {
		e.key("until")
		e.other(p.Until)
	}
	e.optionalText("cluster", string(p.Cluster))
	e.optionalNumber("index", int64(p.Index))
	e.put("}")
}

func (e *encoder) spec(s *Spec) {
	if s.Kind != "" {
		e.put(`{"kind":`)
		e.text(string(s.Kind))
		e.put(`,"image":`)
	} else {
		e.put(`{"image":`)
	}
	e.text(s.Image)
	e.optionalText("flavor", s.Flavor)
	if len(s.Resources) > 0 {
		e.put(`,"resources":`)
		e.resources(s.Resources)
	}
	list(e, "disks", s.Disks, func(d *Disk) {
		e.put(`{"size":`)
		e.number(d.Size)
		e.optionalText("storage", string(d.Storage))
		e.optionalText("mount", d.Mount)
		e.optionalNumber("iops", d.IOPS)
		e.put("}")
	})
	list(e, "networks", s.Networks, func(n *Network) { e.other(n) })
	e.optionalOther("constraints", &s.Constraints)
	e.optionalTexts("labels", s.Labels)
	e.optionalOther("guest", &s.Guest)
	e.optionalNumber("priority", int64(s.Priority))
	e.optionalText("preemptible", string(s.Preemptible))
	if s.Replaceable {
		e.put(`,"replaceable":true`)
	}
	e.optionalNumber("lifetime", s.Lifetime)
	e.put("}")
}

func (e *encoder) image(i *Image) {
	e.put(`{"name":`)
	e.text(i.Name)
	e.optionalText("os", i.OS)
	e.put(`,"user":`)
	e.text(i.User)
	e.optionalNumber("min_disk", i.MinDisk)
	e.optionalTexts("sources", i.Sources)
	e.put("}")
}

func (e *encoder) placement(p *Placement) {
	e.put(`{"number":`)
	e.number(int64(p.Number))
	e.put(`,"host":`)
	e.text(string(p.Host))
	e.put(`,"allocation":`)
	e.put(`{"resources":`)
	e.resources(p.Allocation.Resources)
	list(e, "claims", p.Allocation.Claims, func(c *Claim) {
		e.put(`{"device":`)
		e.text(c.Device)
		e.put(`,"class":`)
		e.text(string(c.Class))
		e.put(`,"amount":`)
		e.number(c.Amount)
		e.optionalNumber("disk", int64(c.Disk))
		e.put("}")
	})
	e.optionalText("shape", p.Allocation.Shape)
	e.put("}")
	e.put(`,"sent":`)
	e.b = strconv.AppendBool(e.b, p.Sent)
	e.put(`,"doubt":`)
	e.b = strconv.AppendBool(e.b, p.Doubt)
	e.put("}")
}

// guest writes what is private of a launch. Mostly it is a login and nothing else.
func (e *encoder) guest(g *Guest) {
	if g.User == "" || len(g.SSHKeys) > 0 || g.UserData != "" {
		e.other(g)
		return
	}
	e.b = make([]byte, 0, 64)
	e.put(`{"user":`)
	e.text(g.User)
	e.put("}")
}
