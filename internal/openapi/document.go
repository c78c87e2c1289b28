// Package openapi judges requests and answers of an HTTP service by an OpenAPI 3.0 description of it, so that what a
// driver sends, and what a simulated service in a driver's tests answers, have a judge that is neither's author.
//
// It knows the part of the language that such descriptions use, and refuses to read one that uses more: what it does
// not know it would not judge. It is stricter than the language where that finds mistakes: a parameter or a property
// that the description does not name is wrong.
package openapi

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Document is a description of a service. It is safe for concurrent use.
type Document struct {
	schemas map[string]*schema
	paths   []path
}

type path struct {
	segments   []string
	operations map[string]*operation // by method
}

type operation struct {
	Parameters []parameter `json:"parameters"`
	Body       *struct {
		Required bool    `json:"required"`
		Content  content `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Content content `json:"content"`
	} `json:"responses"`
}

type content map[string]struct {
	Schema *schema `json:"schema"`
}

type parameter struct {
	Name     string  `json:"name"`
	In       string  `json:"in"`
	Required bool    `json:"required"`
	Schema   *schema `json:"schema"`
}

// schema is a schema of the part of the language that is known.
type schema struct {
	Ref        string             `json:"$ref"`
	Type       string             `json:"type"`
	Format     string             `json:"format"`
	Pattern    string             `json:"pattern"`
	Nullable   bool               `json:"nullable"`
	Enum       []any              `json:"enum"`
	Required   []string           `json:"required"`
	Properties map[string]*schema `json:"properties"`
	Additional json.RawMessage    `json:"additionalProperties"`
	Items      *schema            `json:"items"`
	AllOf      []*schema          `json:"allOf"`
	OneOf      []*schema          `json:"oneOf"`
	Minimum    *float64           `json:"minimum"`
	Maximum    *float64           `json:"maximum"`
	MinLength  *int               `json:"minLength"`
	MaxLength  *int               `json:"maxLength"`
	MinItems   *int               `json:"minItems"`
	MaxItems   *int               `json:"maxItems"`

	pattern *regexp.Regexp
	others  *schema // of properties that are not named
	closed  bool    // there are none
}

// known are the words of a schema that are judged, or that say nothing to be judged.
func known(word string) bool {
	return slices.Contains([]string{
		"$ref", "type", "format", "pattern", "nullable", "enum", "required", "properties", "additionalProperties", "items", "allOf", "oneOf",
		"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
		"description", "title", "example", "examples", "default", "deprecated", "externalDocs",
	}, word) || strings.HasPrefix(word, "x-")
}

// UnmarshalJSON refuses words that are not known.
func (s *schema) UnmarshalJSON(b []byte) error {
	var words map[string]json.RawMessage
	if err := json.Unmarshal(b, &words); err != nil {
		return err
	}
	for w := range words {
		if !known(w) {
			return fmt.Errorf("a schema with %q, which is not known here", w)
		}
	}
	type plain schema
	if err := json.Unmarshal(b, (*plain)(s)); err != nil {
		return err
	}
	if s.Pattern != "" {
		var err error
		if s.pattern, err = regexp.Compile(s.Pattern); err != nil {
			return err
		}
	}
	switch string(s.Additional) {
	case "", "true":
	case "false":
		s.closed = true
	default:
		s.others = new(schema)
		return json.Unmarshal(s.Additional, s.others)
	}
	return nil
}

// Read reads a description in JSON.
func Read(r io.Reader) (*Document, error) {
	var raw struct {
		OpenAPI    string `json:"openapi"`
		Components struct {
			Schemas map[string]*schema `json:"schemas"`
		} `json:"components"`
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.NewDecoder(r).Decode(&raw); err != nil {
		return nil, fmt.Errorf("read OpenAPI description: %w", err)
	}
	if !strings.HasPrefix(raw.OpenAPI, "3.0.") {
		return nil, fmt.Errorf("read OpenAPI description: version %q instead of 3.0", raw.OpenAPI)
	}
	d := &Document{schemas: raw.Components.Schemas}
	for _, p := range slices.Sorted(maps.Keys(raw.Paths)) {
		one := path{segments: strings.Split(p, "/"), operations: make(map[string]*operation)}
		for _, method := range []string{"get", "put", "post", "delete", "patch"} {
			b, ok := raw.Paths[p][method]
			if !ok {
				continue
			}
			o := new(operation)
			if err := json.Unmarshal(b, o); err != nil {
				return nil, fmt.Errorf("read OpenAPI description: %s %s: %w", method, p, err)
			}
			one.operations[strings.ToUpper(method)] = o
		}
		d.paths = append(d.paths, one)
	}
	return d, nil
}

// find returns the operation, and what stands in the braces of its path. A literal segment goes before one in braces.
func (d *Document) find(method, at string) (*operation, map[string]string, error) {
	want := strings.Split(at, "/")
	var best *operation
	var values map[string]string
	for _, p := range d.paths {
		if len(p.segments) != len(want) || p.operations[method] == nil {
			continue
		}
		found := make(map[string]string)
		for i, s := range p.segments {
			if strings.HasPrefix(s, "{") && want[i] != "" {
				found[strings.Trim(s, "{}")] = want[i]
			} else if s != want[i] {
				found = nil
				break
			}
		}
		if found != nil && (best == nil || len(found) < len(values)) {
			best, values = p.operations[method], found
		}
	}
	if best == nil {
		return nil, nil, fmt.Errorf("%s %s is not described", method, at)
	}
	return best, values, nil
}

// Request returns what is wrong with a request: an error, or nil. The path is without the base URL's; the body is nil
// when there is none.
func (d *Document) Request(method, at string, query url.Values, body []byte) error {
	o, values, err := d.find(method, at)
	if err != nil {
		return err
	}
	named := make(map[string]bool)
	for _, p := range o.Parameters {
		var given []string
		switch p.In {
		case "query":
			named[p.Name] = true
			given = query[p.Name]
		case "path":
			given = []string{values[p.Name]}
		default:
			continue
		}
		if len(given) == 0 && p.Required {
			return fmt.Errorf("parameter %s is missing", p.Name)
		}
		if err := d.parameter(p.Schema, given); err != nil {
			return fmt.Errorf("parameter %s: %w", p.Name, err)
		}
	}
	for name := range query {
		if !named[name] {
			return fmt.Errorf("parameter %s is not described", name)
		}
	}
	switch {
	case o.Body == nil && len(body) > 0 && string(body) != "{}": // clients send that for want of anything to say
		return fmt.Errorf("%s %s has no body", method, at)
	case o.Body == nil:
		return nil
	case len(body) == 0 && o.Body.Required:
		return fmt.Errorf("the body is missing")
	case len(body) == 0:
		return nil
	}
	return d.judge(o.Body.Content, body)
}

// Response returns what is wrong with an answer: an error, or nil.
func (d *Document) Response(method, at string, status int, body []byte) error {
	o, _, err := d.find(method, at)
	if err != nil {
		return err
	}
	r, ok := o.Responses[strconv.Itoa(status)]
	if !ok {
		r, ok = o.Responses[strconv.Itoa(status/100)+"xx"]
	}
	if !ok {
		return fmt.Errorf("%s %s does not answer %d", method, at, status)
	}
	if len(r.Content) == 0 {
		if len(body) > 0 {
			return fmt.Errorf("%d %s has no body", status, http.StatusText(status))
		}
		return nil
	}
	return d.judge(r.Content, body)
}

func (d *Document) judge(c content, body []byte) error {
	of, ok := c["application/json"]
	if !ok || of.Schema == nil {
		return fmt.Errorf("no JSON is described")
	}
	v, err := decode(body)
	if err != nil {
		return err
	}
	return d.check(of.Schema, v, "body", true)
}
