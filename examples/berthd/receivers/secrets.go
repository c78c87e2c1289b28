package receivers

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// Secrets are the values of secret fields by name, one of a text and any number of a list. A field that is there without a value is
// one that is to have none. However they are printed, nothing is seen of them.
type Secrets map[string][]notify.Secret

// UnmarshalJSON reads an object of texts and of lists of texts; null is as a name that is not there, an empty text as an empty list.
func (s *Secrets) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if json.Unmarshal(b, &fields) != nil {
		return invalid("secrets", "", "an object")
	}
	out := make(Secrets)
	for name, raw := range fields {
		var one *string
		var many []string
		switch {
		case json.Unmarshal(raw, &one) == nil:
			if one == nil {
				continue
			}
			if *one != "" {
				many = []string{*one}
			}
		case json.Unmarshal(raw, &many) != nil: // whose error would show it
			return invalid("secrets."+name, "", "a text or a list of texts")
		}
		out.set(name, many)
	}
	*s = out
	return nil
}

func (s Secrets) set(name string, texts []string) {
	s[name] = make([]notify.Secret, len(texts))
	for i, text := range texts {
		s[name][i] = notify.NewSecret(text)
	}
}

// Set returns the names of those that have a value.
func (s Secrets) Set() []string {
	out := []string{}
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if len(s[name]) > 0 {
			out = append(out, name)
		}
	}
	return out
}

// reveal returns what is to be sealed.
func (s Secrets) reveal() ([]byte, error) {
	texts := make(map[string][]string, len(s))
	for _, name := range s.Set() {
		for _, each := range s[name] {
			texts[name] = append(texts[name], each.Reveal())
		}
	}
	return json.Marshal(texts)
}

// Keep gives next the secrets that it does not mention and that old, which stands sealed, has. A receiver of another type has none of
// them, and one whose messages go elsewhere has to be given them anew: otherwise whoever may change a receiver could have its secrets
// sent to himself. Errors: pool.ErrInvalid; pool.ErrWrongState if what is sealed cannot be opened.
func (k *Keys) Keep(next, old Receiver, sealed []byte) (Receiver, error) {
	t, err := Find(next.Type)
	if err != nil {
		return next, err
	}
	var missing []string
	for _, f := range t.Fields {
		if _, ok := next.Secrets[f.Name]; f.Secret && !ok {
			missing = append(missing, f.Name)
		}
	}
	if old.Type != next.Type || len(missing) == 0 || len(sealed) == 0 {
		return next, nil
	}
	had, err := k.Open(old.Name, old.Type, sealed)
	if err != nil {
		return next, &pool.Error{Op: "keep secrets", Kind: pool.ErrWrongState, Field: "secrets." + missing[0], Want: "all secrets anew", Cause: errors.New(err.Error())} // whose kind is another matter
	}
	moved, err := t.moved(old, next, had)
	if err != nil {
		return next, err
	}
	kept := maps.Clone(next.Secrets)
	if kept == nil {
		kept = make(Secrets)
	}
	for _, name := range missing {
		switch {
		case len(had[name]) == 0:
		case moved != "":
			return next, invalid("secrets."+name, "", "the secret anew, since "+moved+" is another one")
		default:
			kept[name] = had[name]
		}
	}
	next.Secrets = kept
	return next, nil
}

// moved names a field by which messages go elsewhere than before; empty: there is none. Had are the secrets of old.
func (t Type) moved(old, next Receiver, had Secrets) (string, error) {
	was, err := object(old.Settings)
	if err != nil {
		return "settings", nil // what is not known has changed
	}
	is, err := object(next.Settings)
	if err != nil {
		return "", err
	}
	text := func(raw json.RawMessage) string {
		var v any
		_ = json.Unmarshal(raw, &v) // what is no JSON is compared as nothing, and refused later
		b, _ := json.Marshal(v)
		if s := string(b); s != "null" && s != `""` {
			return s
		}
		return ""
	}
	for _, f := range t.Fields {
		said, mentioned := next.Secrets[f.Name]
		switch {
		case !f.Where:
		case f.Secret && mentioned && !slices.EqualFunc(said, had[f.Name], same):
			return "secrets." + f.Name, nil
		case !f.Secret && text(was[f.Name]) != text(is[f.Name]):
			return "settings." + f.Name, nil
		}
	}
	return "", nil
}

func same(a, b notify.Secret) bool { return a.Reveal() == b.Reveal() }
