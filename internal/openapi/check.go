package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

func decode(b []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("no JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON")
	}
	return v, nil
}

// resolve follows references.
func (d *Document) resolve(s *schema) (*schema, error) {
	for range 32 {
		if s.Ref == "" {
			return s, nil
		}
		next := d.schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
		if next == nil {
			return nil, fmt.Errorf("%s is not there", s.Ref)
		}
		s = next
	}
	return nil, fmt.Errorf("%s refers to itself", s.Ref)
}

// parameter judges the values of a query's or path's parameter: several of an array, each as text.
func (d *Document) parameter(s *schema, given []string) error {
	s, err := d.resolve(s)
	if err != nil {
		return err
	}
	item := s
	if s.Type == "array" {
		item = s.Items
	} else if len(given) > 1 {
		return fmt.Errorf("%d values instead of one", len(given))
	}
	if item, err = d.resolve(item); err != nil {
		return err
	}
	for _, text := range given {
		var v any = text
		switch item.Type {
		case "integer", "number":
			v = json.Number(text)
		case "boolean":
			v = text == "true"
			if text != "true" && text != "false" {
				return fmt.Errorf("%q instead of true or false", text)
			}
		}
		if err := d.check(item, v, strconv.Quote(text), true); err != nil {
			return err
		}
	}
	return nil
}

// check judges a value. Strict: a property that no part of the schema names is wrong.
func (d *Document) check(s *schema, v any, at string, strict bool) error {
	s, err := d.resolve(s)
	if err != nil {
		return err
	}
	if v == nil {
		if s.Nullable {
			return nil
		}
		return fmt.Errorf("%s is null", at)
	}
	for _, part := range s.AllOf {
		if err := d.check(part, v, at, false); err != nil {
			return err
		}
	}
	if len(s.OneOf) > 0 {
		fit := 0
		for _, part := range s.OneOf {
			if d.check(part, v, at, strict) == nil {
				fit++
			}
		}
		if fit != 1 {
			return fmt.Errorf("%s fits %d of %d schemas instead of one", at, fit, len(s.OneOf))
		}
	}
	if len(s.Enum) > 0 && !slices.ContainsFunc(s.Enum, func(e any) bool { return fmt.Sprint(e) == fmt.Sprint(v) }) {
		return fmt.Errorf("%s is %v instead of one of %v", at, v, s.Enum)
	}
	switch v := v.(type) {
	case map[string]any:
		return d.object(s, v, at, strict)
	case []any:
		return d.array(s, v, at)
	case string:
		return s.text(v, at)
	case json.Number:
		return s.number(v, at)
	case bool:
		return s.is(at, "boolean")
	}
	return fmt.Errorf("%s is a %T", at, v)
}

// is reports, as an error, that a value at that place, which is of these types, is of none that the schema takes.
func (s *schema) is(at string, types ...string) error {
	if s.Type == "" || slices.Contains(types, s.Type) {
		return nil
	}
	return fmt.Errorf("%s is of type %s instead of %s", at, types[0], s.Type)
}

func (d *Document) object(s *schema, v map[string]any, at string, strict bool) error {
	if err := s.is(at, "object"); err != nil {
		return err
	}
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			return fmt.Errorf("%s.%s is missing", at, name)
		}
	}
	named, open, err := d.properties(s)
	if err != nil {
		return err
	}
	for name, value := range v {
		one := at + "." + name
		switch {
		case s.Properties[name] != nil:
			if err := d.check(s.Properties[name], value, one, true); err != nil {
				return err
			}
		case s.others != nil:
			if err := d.check(s.others, value, one, true); err != nil {
				return err
			}
		case s.closed, strict && !open && !named[name]:
			return fmt.Errorf("%s is not described", one)
		}
	}
	return nil
}

// properties returns the names that a schema knows with all its parts, and whether there may be others: those of a
// schema that names none at all are not judged.
func (d *Document) properties(s *schema) (named map[string]bool, open bool, err error) {
	named = make(map[string]bool)
	for name := range s.Properties {
		named[name] = true
	}
	open = len(s.Properties)+len(s.AllOf)+len(s.OneOf) == 0
	for _, part := range slices.Concat(s.AllOf, s.OneOf) {
		if part, err = d.resolve(part); err != nil {
			return nil, false, err
		}
		more, o, err := d.properties(part)
		if err != nil {
			return nil, false, err
		}
		for name := range more {
			named[name] = true
		}
		open = open || o
	}
	return named, open, nil
}

func (d *Document) array(s *schema, v []any, at string) error {
	if err := s.is(at, "array"); err != nil {
		return err
	}
	if s.MinItems != nil && len(v) < *s.MinItems || s.MaxItems != nil && len(v) > *s.MaxItems {
		return fmt.Errorf("%s has %d items", at, len(v))
	}
	for i, item := range v {
		if s.Items == nil {
			break
		}
		if err := d.check(s.Items, item, at+"["+strconv.Itoa(i)+"]", true); err != nil {
			return err
		}
	}
	return nil
}

func (s *schema) text(v, at string) error {
	if err := s.is(at, "string"); err != nil {
		return err
	}
	n := utf8.RuneCountInString(v)
	if s.MinLength != nil && n < *s.MinLength || s.MaxLength != nil && n > *s.MaxLength {
		return fmt.Errorf("%s has %d characters", at, n)
	}
	if s.pattern != nil && !s.pattern.MatchString(v) {
		return fmt.Errorf("%s is %q, which does not match %s", at, v, s.Pattern)
	}
	ok := true
	switch s.Format {
	case "date-time":
		_, err := time.Parse(time.RFC3339, v)
		ok = err == nil
	case "decimal":
		ok = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`).MatchString(v)
	}
	if !ok {
		return fmt.Errorf("%s is %q instead of a %s", at, v, s.Format)
	}
	return nil
}

func (s *schema) number(v json.Number, at string) error {
	whole := regexp.MustCompile(`^-?[0-9]+$`).MatchString(v.String())
	types := []string{"number"}
	if whole {
		types = []string{"integer", "number"}
	}
	if err := s.is(at, types...); err != nil {
		return err
	}
	f, err := v.Float64()
	if err != nil {
		return fmt.Errorf("%s is %q, which is no number", at, v)
	}
	if s.Minimum != nil && f < *s.Minimum || s.Maximum != nil && f > *s.Maximum {
		return fmt.Errorf("%s is %s, out of range", at, v)
	}
	switch s.Format {
	case "int32":
		_, err = strconv.ParseInt(v.String(), 10, 32)
	case "int64":
		_, err = strconv.ParseInt(v.String(), 10, 64)
	}
	if err != nil {
		return fmt.Errorf("%s is %s instead of an %s", at, v, s.Format)
	}
	return nil
}
