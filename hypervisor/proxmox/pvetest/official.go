package pvetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// method is a method of the official description.
type method struct {
	Parameters struct {
		Properties map[string]property `json:"properties"`
	} `json:"parameters"`
}

type property struct {
	Type     string          `json:"type"`
	Optional json.RawMessage `json:"optional"`
	Enum     []string        `json:"enum"`
	Minimum  json.RawMessage `json:"minimum"`
	Maximum  json.RawMessage `json:"maximum"`
	Length   json.RawMessage `json:"maxLength"`
	Pattern  string          `json:"pattern"`
}

// Official reads the official description of the API, as it is generated from the server's own tables: a JSON object whose
// member "methods" has, by method and path, the parameters. It returns what Config.Check can be. The description is not part of
// this module, whose licence is another.
func Official(r io.Reader) (func(method, path string, params map[string]string) error, error) {
	var file struct {
		Methods map[string]method `json:"methods"`
	}
	if err := json.NewDecoder(r).Decode(&file); err != nil {
		return nil, fmt.Errorf("read the description of the API: %w", err)
	}
	if len(file.Methods) == 0 {
		return nil, errors.New("read the description of the API: it has no methods")
	}
	return func(verb, path string, params map[string]string) error {
		m, ok := file.Methods[verb+" "+path]
		if !ok {
			return errors.New("there is no such method")
		}
		return m.judge(params)
	}, nil
}

func (m method) judge(params map[string]string) error {
	all := m.Parameters.Properties
	for name, value := range params {
		p, ok := all[name]
		if !ok {
			p, ok = all[strings.TrimRight(name, "0123456789")+"[n]"]
		}
		if !ok {
			return fmt.Errorf("%s is not defined", name)
		}
		if err := p.judge(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, p := range all {
		if _, ok := params[name]; !ok && (string(p.Optional) != "1" && string(p.Optional) != `"1"`) {
			return fmt.Errorf("%s is missing", name)
		}
	}
	return nil
}

func (p property) judge(v string) error {
	bound := func(raw json.RawMessage) (int64, bool) {
		n, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
		return n, err == nil
	}
	switch p.Type {
	case "integer":
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is no integer", v)
		}
		if low, ok := bound(p.Minimum); ok && n < low {
			return fmt.Errorf("%d is less than %d", n, low)
		}
		if high, ok := bound(p.Maximum); ok && n > high {
			return fmt.Errorf("%d is more than %d", n, high)
		}
	case "boolean":
		if v != "0" && v != "1" {
			return fmt.Errorf("%q is no boolean", v)
		}
	}
	if len(p.Enum) > 0 && !slices.Contains(p.Enum, v) {
		return fmt.Errorf("%q is none of %v", v, p.Enum)
	}
	if most, ok := bound(p.Length); ok && int64(len(v)) > most {
		return fmt.Errorf("%d characters are more than %d", len(v), most)
	}
	if p.Pattern != "" {
		if re, err := regexp.Compile("^(?:" + p.Pattern + ")$"); err == nil && !re.MatchString(v) {
			return fmt.Errorf("%q does not match %s", v, p.Pattern)
		}
	}
	return nil
}
