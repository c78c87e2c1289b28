package receivers

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// Configured is a receiver as a configuration file has it. No secret stands in it: of a secret field "token" it has "token_file", the name of a
// file, or "token" with "env:" and the name of a variable of the environment. A list has several such names, or a file with one in each
// line.
type Configured struct {
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	Settings   json.RawMessage `json:"settings"`
	Secrets    map[string]any  `json:"secrets"`
	FiringOnly bool            `json:"firing_only"` // it is not told of what is resolved
}

// Resolve reads the secrets. No error shows one.
func (c Configured) Resolve(getenv func(string) string) (Receiver, error) {
	r := Receiver{Name: c.Name, Type: c.Type, Settings: c.Settings, Secrets: make(Secrets)}
	t, err := Find(c.Type)
	if err != nil {
		return r, err
	}
	for _, said := range slices.Sorted(maps.Keys(c.Secrets)) {
		at := "secrets." + said
		var names []string
		switch v := c.Secrets[said].(type) {
		case string:
			names = []string{v}
		case []any:
			for _, each := range v {
				name, ok := each.(string)
				if !ok {
					return r, invalid(at, "", "texts")
				}
				names = append(names, name)
			}
		default:
			return r, invalid(at, "", "a text, or a list of texts")
		}
		name, file := strings.CutSuffix(said, "_file")
		f, ok := t.field(name)
		if !ok || !f.Secret {
			return r, invalid(at, "", "no secret of this name; there are "+t.names(true)+", each also with _file")
		}
		if _, twice := r.Secrets[name]; twice {
			return r, invalid(at, "", "said once, with _file or without")
		}
		var values []string
		for _, from := range names {
			some, err := f.fetch(at, from, file, getenv)
			if err != nil {
				return r, err
			}
			values = append(values, some...)
		}
		r.Secrets.set(name, values)
	}
	return r, nil
}

// fetch reads a secret from a file or from the environment.
func (f Field) fetch(at, from string, file bool, getenv func(string) string) ([]string, error) {
	var text string
	if file {
		b, err := os.ReadFile(from)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		if text = strings.TrimSpace(string(b)); text == "" {
			return nil, invalid(at, from, "a file with a secret in it")
		}
	} else {
		name, ok := strings.CutPrefix(from, "env:")
		if !ok {
			return nil, invalid(at, "", `"env:" and the name of a variable, or `+f.Name+`_file with the name of a file: no secret stands here`)
		}
		if text = getenv(name); text == "" {
			return nil, invalid(at, name, "a variable that is set")
		}
	}
	if f.Kind != List {
		return []string{text}, nil
	}
	return slices.DeleteFunc(strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n"), func(s string) bool { return s == "" }), nil
}
