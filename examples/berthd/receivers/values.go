package receivers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// Bounds on what a field can have.
const (
	mostText = 16 << 10 // bytes of a text, and of each of a list
	mostList = 100
)

// values are the values of a receiver's fields, checked against the table, so that what is asked for is there in its kind. A field
// that was not given has the zero value.
type values struct {
	receiver string
	settings map[string]any
	secrets  Secrets
}

func (v values) text(name string) string { s, _ := v.settings[name].(string); return s }
func (v values) number(name string) int64 {
	n, _ := v.settings[name].(int64)
	return n
}
func (v values) yes(name string) bool      { b, _ := v.settings[name].(bool); return b }
func (v values) list(name string) []string { l, _ := v.settings[name].([]string); return l }
func (v values) duration(name string) time.Duration {
	d, _ := v.settings[name].(time.Duration)
	return d
}

func (v values) secret(name string) notify.Secret {
	if s := v.secrets[name]; len(s) > 0 {
		return s[0]
	}
	return notify.Secret{}
}

// check reads a receiver's fields by the table.
func (t Type) check(r Receiver) (values, error) {
	v := values{receiver: r.Name, settings: make(map[string]any), secrets: make(Secrets)}
	given, err := object(r.Settings)
	if err != nil {
		return v, err
	}
	for name, raw := range given {
		at := "settings." + name
		f, ok := t.field(name)
		switch {
		case !ok:
			return v, invalid(at, "", "no field of this name; there are "+t.names(false))
		case f.Secret: // what it says must not be repeated
			return v, invalid(at, "", "under secrets, where it is never shown")
		}
		if v.settings[name], err = f.read(at, raw); err != nil {
			return v, err
		}
	}
	for name, texts := range r.Secrets {
		at := "secrets." + name
		f, ok := t.field(name)
		switch {
		case !ok || !f.Secret:
			return v, invalid(at, "", "no secret of this name; there are "+t.names(true))
		case f.Kind != List && len(texts) > 1:
			return v, invalid(at, "", "one text")
		case len(texts) > mostList:
			return v, invalid(at, "", fmt.Sprintf("at most %d", mostList))
		}
		for _, text := range texts {
			if s := text.Reveal(); s == "" || len(s) > mostText || strings.ContainsAny(s, "\x00\r\n") {
				return v, invalid(at, "", "texts of one line, which are not empty")
			}
		}
		if f.Kind == URL && len(texts) == 1 && notify.CheckURL(at, texts[0]) != nil {
			return v, invalid(at, "", "an absolute URL with https")
		}
		v.secrets[name] = texts
	}
	for _, f := range t.Fields {
		switch given := v.settings[f.Name]; {
		case !f.Required:
		case f.Secret && len(v.secrets[f.Name]) == 0:
			return v, invalid("secrets."+f.Name, "", f.About)
		case !f.Secret && (given == nil || given == "" || f.Kind == List && len(v.list(f.Name)) == 0):
			return v, invalid("settings."+f.Name, "", f.About)
		}
	}
	return v, nil
}

// object reads the fields of a JSON object, those that are null left out.
func object(b json.RawMessage) (map[string]json.RawMessage, error) {
	var out map[string]json.RawMessage
	if len(b) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, invalid("settings", "", "an object")
	}
	for name, raw := range out {
		if string(bytes.TrimSpace(raw)) == "null" {
			delete(out, name)
		}
	}
	return out, nil
}

// read reads the value of a field that is not secret.
func (f Field) read(at string, raw json.RawMessage) (any, error) {
	var text string
	var err error
	switch f.Kind {
	case Number:
		var n int64
		if json.Unmarshal(raw, &n) != nil {
			return nil, invalid(at, "", "a whole number")
		}
		return n, nil
	case Bool:
		var b bool
		if json.Unmarshal(raw, &b) != nil {
			return nil, invalid(at, "", "true or false")
		}
		return b, nil
	case List:
		var l []string
		if json.Unmarshal(raw, &l) != nil || len(l) > mostList || slices.ContainsFunc(l, tooLong) {
			return nil, invalid(at, "", fmt.Sprintf("a list of at most %d texts", mostList))
		}
		return l, nil
	}
	if json.Unmarshal(raw, &text) != nil || tooLong(text) {
		return nil, invalid(at, "", "a text")
	}
	switch {
	case f.Kind == Duration && text != "":
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return nil, invalid(at, text, "a duration such as 24h")
		}
		return d, nil
	case f.Kind == URL && text != "":
		// Its query and user are where tokens stand, and settings are read by everybody.
		u, bad := url.Parse(text)
		if err = notify.CheckURL(at, notify.NewSecret(text)); err != nil || bad != nil || u.User != nil || u.RawQuery != "" {
			return nil, invalid(at, "", "an absolute URL with https, without user and query")
		}
	case len(f.Choices) > 0 && text != "" && !slices.Contains(f.Choices, text):
		return nil, invalid(at, text, strings.Join(f.Choices, " or "))
	}
	return text, nil
}

func tooLong(s string) bool { return len(s) > mostText || strings.ContainsRune(s, 0) }

// locate gives an error of a notifier the name that the field has here.
func (t Type) locate(err error) error {
	var e *pool.Error
	if !errors.As(err, &e) {
		return err
	}
	base, rest, _ := strings.Cut(e.Field, "[")
	if rest != "" {
		rest = "[" + rest
	}
	for _, f := range t.Fields {
		if f.as == base || f.as == "" && f.Name == base {
			out, under := *e, "settings."
			if f.Secret {
				under, out.Value = "secrets.", ""
			}
			out.Field = under + f.Name + rest
			return &out
		}
	}
	return err
}
