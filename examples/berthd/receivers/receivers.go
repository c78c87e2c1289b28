// Package receivers makes a notify.Notifier of what an operator says of a receiver: its type, its settings, which anybody may read,
// and its secrets, which are kept sealed (Keys) and never shown again. The table of types (Types) is the one place that says which fields
// there are: checks, the API's answer to what can be configured and the dashboard's form follow from it.
package receivers

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// Kind is how the value of a field is written.
type Kind string

// The kinds.
const (
	Text     Kind = "text"
	Template Kind = "template" // a text of several lines, of notify.ParseText
	Number   Kind = "number"   // a whole one
	Bool     Kind = "bool"
	List     Kind = "list" // of texts
	URL      Kind = "url"  // with https or http
	Duration Kind = "duration"
)

// Field is one thing that can be said of a receiver.
type Field struct {
	Name     string
	Kind     Kind
	Required bool
	Secret   bool     // it is never shown, and stands under secrets; an address with a token in it is one
	Where    bool     // it says where the others are sent: who changes it has to give those that are secret anew
	Choices  []string // the only values of a text; none: any
	About    string
	Example  string

	as string // what the notifier's own errors call it, if not by its name
}

// Type is a kind of receiver.
type Type struct {
	Name   string
	About  string
	Fields []Field

	make func(*Maker, values) (notify.Notifier, error)
}

// Find returns the type of that name. The error is pool.ErrInvalid and names all that there are.
func Find(name string) (Type, error) {
	all := Types()
	i := slices.IndexFunc(all, func(t Type) bool { return t.Name == name })
	if i < 0 {
		var names []string
		for _, t := range all {
			names = append(names, t.Name)
		}
		return Type{}, invalid("type", name, strings.Join(names, ", "))
	}
	return all[i], nil
}

// field returns the field of that name; ok is false when there is none.
func (t Type) field(name string) (f Field, ok bool) {
	i := slices.IndexFunc(t.Fields, func(f Field) bool { return f.Name == name })
	if i < 0 {
		return Field{}, false
	}
	return t.Fields[i], true
}

// names lists the fields that are secret, or those that are not, for errors.
func (t Type) names(secret bool) string {
	var out []string
	for _, f := range t.Fields {
		if f.Secret == secret {
			out = append(out, f.Name)
		}
	}
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, ", ")
}

// Receiver is a receiver as somebody has configured it.
type Receiver struct {
	Name     string
	Type     string
	Settings json.RawMessage // an object of fields that are not secret; empty: none
	Secrets  Secrets
}

// Maker makes notifiers. It is safe for concurrent use.
type Maker struct {
	Guard notify.Guard                       // whom they may call
	Notes func(receiver string) notify.Notes // what chats have to remember; nil: in memory
}

// Make checks all that is said of a receiver and makes its notifier; nothing is sent. Errors are pool.ErrInvalid with the field,
// settings.channel or secrets.token, and never with what stands in a secret one.
func (m *Maker) Make(r Receiver) (notify.Notifier, error) {
	t, err := Find(r.Type)
	if err != nil {
		return nil, err
	}
	v, err := t.check(r)
	if err != nil {
		return nil, err
	}
	n, err := t.make(m, v)
	if err != nil {
		return nil, t.locate(err)
	}
	return n, nil
}

func (m *Maker) client() *notify.Client {
	return notify.NewClient(notify.ClientConfig{Guard: m.Guard, UserAgent: "berthd"})
}

func (m *Maker) notes(receiver string) notify.Notes {
	if m.Notes == nil {
		return nil
	}
	return m.Notes(receiver)
}

func invalid(field, value, want string) error {
	return &pool.Error{Op: "configure receiver", Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
}
