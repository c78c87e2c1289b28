package oidc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/berthage/berthage/pool"
)

// object is an object of JSON by its names, to the letter, none of which it has twice: encoding/json would take the last, in any case of letters,
// and others the first.
type object map[string]json.RawMessage

// maxNames bounds how many names an object has.
const maxNames = 1000

func readObject(raw []byte) (object, bool) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	out := make(object)
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok || out[name] != nil || len(out) >= maxNames {
			return nil, false
		}
		var v json.RawMessage
		if dec.Decode(&v) != nil {
			return nil, false
		}
		out[name] = v
	}
	if _, err := dec.Token(); err != nil || len(bytes.TrimSpace(raw[dec.InputOffset():])) != 0 {
		return nil, false
	}
	return out, true
}

// decode returns a part of a token.
func decode(part string) ([]byte, bool) {
	if strings.ContainsAny(part, "\r\n") { // which the decoder would skip
		return nil, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	return raw, err == nil
}

// text returns a string of at most so many bytes; false if it is there and is none.
func (o object) text(name string, most int) (s string, ok bool) {
	raw, has := o[name]
	if !has {
		return "", true
	}
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil || len(s) > most {
		return "", false
	}
	return s, true
}

// printable returns a string as a person may read it; empty if it is none.
func (o object) printable(name string, most int) string {
	s, ok := o.text(name, most)
	if !ok || pool.ValidText(s, most) != nil {
		return ""
	}
	return s
}

// texts returns an array of strings, or a single string as one; false if it is there and is neither.
func (o object) texts(name string) (out []string, ok bool) {
	raw, has := o[name]
	if !has {
		return nil, true
	}
	if len(raw) > 0 && raw[0] == '"' {
		s, ok := o.text(name, len(raw))
		return []string{s}, ok
	}
	var all []json.RawMessage
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &all) != nil {
		return nil, false
	}
	for _, r := range all {
		var s string
		if r[0] != '"' || json.Unmarshal(r, &s) != nil {
			return nil, false
		}
		out = append(out, s)
	}
	return out, true
}

// seconds returns a NumericDate (RFC 7519, section 2); has is whether it is there at all.
func (o object) seconds(name string) (s float64, has, ok bool) {
	raw, has := o[name]
	if !has {
		return 0, false, true
	}
	s, err := strconv.ParseFloat(string(raw), 64)
	return s, true, err == nil && s > 0 && s < math.MaxInt32*100
}
