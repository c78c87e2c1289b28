package proxmox_test

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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

// official returns the judgement of requests by the official description of the API, or nil and a loud word where it
// is not at hand.
func official(t *testing.T) func(method, path string, params map[string]string) error {
	t.Helper()
	dir := os.Getenv("BERTHAGE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	f, err := os.Open(filepath.Join(dir, "pve-api-subset.json.gz"))
	if err != nil {
		fmt.Printf("NOT RUN: %s: requests are judged by this package's own tables only; BERTHAGE_DATA names no directory with pve-api-subset.json.gz\n", t.Name())
		t.Log("requests are judged by this package's own tables only")
		return nil
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	var file struct {
		Methods map[string]method `json:"methods"`
	}
	require.NoError(t, json.NewDecoder(z).Decode(&file))
	require.Greater(t, len(file.Methods), 100)
	return func(verb, path string, params map[string]string) error {
		m, ok := file.Methods[verb+" "+path]
		if !ok {
			return errors.New("there is no such method")
		}
		return m.judge(params)
	}
}

var trailing = regexp.MustCompile(`^([a-z]+)\d+$`)

func (m method) judge(params map[string]string) error {
	all := m.Parameters.Properties
	for name, value := range params {
		p, ok := all[name]
		if !ok {
			if n := trailing.FindStringSubmatch(name); n != nil {
				p, ok = all[n[1]+"[n]"]
			}
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
