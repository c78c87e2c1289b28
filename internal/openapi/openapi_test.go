package openapi_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/openapi"
)

// description is a small one that uses every word that is known.
const description = `{
"openapi": "3.0.3",
"paths": {
  "/things": {
    "get": {
      "parameters": [
        {"name": "name", "in": "query", "required": true, "schema": {"type": "string"}},
        {"name": "sort", "in": "query", "schema": {"type": "array", "items": {"type": "string", "enum": ["id", "name"]}}},
        {"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1}},
        {"name": "all", "in": "query", "schema": {"type": "boolean"}}
      ],
      "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/thing"}}}}}
    },
    "post": {
      "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/thing"}}}},
      "responses": {"201": {"content": {"application/json": {"schema": {"type": "object"}}}}, "4xx": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/error"}}}}}
    }
  },
  "/things/{id}": {
    "delete": {"parameters": [{"name": "id", "in": "path", "required": true, "schema": {"type": "integer"}}], "responses": {"204": {"description": "gone"}}}
  },
  "/things/last": {"delete": {"responses": {"204": {}}}}
},
"components": {"schemas": {
  "error": {"type": "object", "required": ["code"], "properties": {"code": {"type": "string"}, "details": {"type": "object", "nullable": true}}},
  "base": {"type": "object", "properties": {"id": {"type": "integer", "format": "int64", "maximum": 100}}},
  "thing": {"allOf": [{"$ref": "#/components/schemas/base"}], "type": "object", "required": ["name"], "properties": {
    "name": {"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^[a-z]+$", "description": "x", "example": "y"},
    "at": {"type": "string", "format": "date-time", "nullable": true},
    "price": {"type": "string", "format": "decimal"},
    "small": {"type": "integer", "format": "int32"},
    "half": {"type": "number", "minimum": 0.5},
    "list": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"oneOf": [{"type": "integer"}, {"type": "string"}]}},
    "labels": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 2}},
    "closed": {"type": "object", "properties": {"a": {"type": "boolean"}}, "additionalProperties": false},
    "open": {"type": "object"}
  }}
}}}`

func read(t testing.TB, s string) *openapi.Document {
	t.Helper()
	d, err := openapi.Read(strings.NewReader(s))
	require.NoError(t, err)
	return d
}

func TestBodies(t *testing.T) {
	t.Parallel()
	d := read(t, description)
	for body, wrong := range map[string]string{
		`{"name": "a"}`: "",
		`{"name": "a", "id": 100, "at": null, "price": "1.50", "small": -5, "half": 0.5, "list": [1, "a"], "labels": {"k": "v"}, "closed": {"a": true}, "open": {"x": [1]}}`: "",
		`{"name": "a", "at": "2024-01-01T00:00:00Z"}`: "",
		``:                                      "missing",
		`{`:                                     "no JSON",
		`{"name": "a"} x`:                       "follows",
		`[]`:                                    "type array",
		`{}`:                                    "body.name is missing",
		`{"name": null}`:                        "is null",
		`{"name": 5}`:                           "type integer",
		`{"name": "A"}`:                         "does not match",
		`{"name": ""}`:                          "0 characters",
		`{"name": "aaaaaa"}`:                    "6 characters",
		`{"name": "a", "nmae": "b"}`:            "body.nmae is not described",
		`{"name": "a", "id": 101}`:              "out of range",
		`{"name": "a", "id": 1.5}`:              "type number",
		`{"name": "a", "id": "1"}`:              "type string",
		`{"name": "a", "at": "yesterday"}`:      "date-time",
		`{"name": "a", "price": "1,5"}`:         "decimal",
		`{"name": "a", "small": 2147483648}`:    "int32",
		`{"name": "a", "half": 0.4}`:            "out of range",
		`{"name": "a", "list": []}`:             "0 items",
		`{"name": "a", "list": [1, 2, 3]}`:      "3 items",
		`{"name": "a", "list": [true]}`:         "fits 0 of 2",
		`{"name": "a", "labels": {"k": 1}}`:     "labels.k",
		`{"name": "a", "labels": {"k": "vvv"}}`: "3 characters",
		`{"name": "a", "closed": {"b": 1}}`:     "closed.b is not described",
		`{"name": "a", "closed": {"a": "x"}}`:   "type string",
	} {
		err := d.Request("POST", "/things", nil, []byte(body))
		if wrong == "" {
			require.NoError(t, err, body)
		} else {
			require.ErrorContains(t, err, wrong, body)
		}
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	d := read(t, description)
	for query, wrong := range map[string]string{
		"name=a": "",
		"name=a&sort=id&sort=name&all=true&page=1": "",
		"":                  "name is missing",
		"name=a&name=b":     "2 values",
		"name=a&page=x":     "instead of integer",
		"name=a&page=0":     "out of range",
		"name=a&sort=size":  "one of",
		"name=a&all=yes":    "true or false",
		"name=a&colour=red": "colour is not described",
	} {
		q, err := url.ParseQuery(query)
		require.NoError(t, err)
		err = d.Request("GET", "/things", q, nil)
		if wrong == "" {
			require.NoError(t, err, query)
		} else {
			require.ErrorContains(t, err, wrong, query)
		}
	}
	require.NoError(t, d.Request("DELETE", "/things/5", nil, nil))
	require.NoError(t, d.Request("DELETE", "/things/last", nil, nil), "a literal segment goes first")
	require.Error(t, d.Request("DELETE", "/things/first", nil, nil))
	require.ErrorContains(t, d.Request("DELETE", "/things/5", nil, []byte(`{"a": 1}`)), "no body")
	require.NoError(t, d.Request("DELETE", "/things/5", nil, []byte("{}")))
	require.ErrorContains(t, d.Request("PATCH", "/things/5", nil, nil), "not described")
	require.ErrorContains(t, d.Request("GET", "/things/", nil, nil), "not described")
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	d := read(t, description)
	require.NoError(t, d.Response("POST", "/things", 201, []byte(`{"any": 1}`)))
	require.NoError(t, d.Response("POST", "/things", 409, []byte(`{"code": "x", "details": null}`)))
	require.ErrorContains(t, d.Response("POST", "/things", 409, []byte(`{}`)), "code is missing")
	require.ErrorContains(t, d.Response("POST", "/things", 500, []byte(`{}`)), "does not answer 500")
	require.NoError(t, d.Response("DELETE", "/things/5", 204, nil))
	require.ErrorContains(t, d.Response("DELETE", "/things/5", 204, []byte(`{}`)), "no body")
}

// What is not known would not be judged, so it is not read.
func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for s, wrong := range map[string]string{
		`{`:                    "EOF",
		`{"openapi": "3.1.0"}`: "version",
		`{"openapi": "3.0.0", "components": {"schemas": {"a": {"anyOf": []}}}}`:                                                 "anyOf",
		`{"openapi": "3.0.0", "components": {"schemas": {"a": {"pattern": "("}}}}`:                                              "missing closing",
		`{"openapi": "3.0.0", "paths": {"/a": {"get": {"parameters": [{"name": "x", "in": "query", "schema": {"not": {}}}]}}}}`: "not",
	} {
		_, err := openapi.Read(strings.NewReader(s))
		require.ErrorContains(t, err, wrong, s)
	}
	d := read(t, `{"openapi": "3.0.0", "paths": {"/a": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/a"}}}}}}},
		"components": {"schemas": {"a": {"$ref": "#/components/schemas/a"}}}}`)
	require.ErrorContains(t, d.Request("POST", "/a", nil, []byte("1")), "itself")
}

func FuzzRequest(f *testing.F) {
	d := read(f, description)
	f.Add("POST", "/things", "name=a", []byte(`{"name": "a"}`))
	f.Fuzz(func(t *testing.T, method, path, query string, body []byte) {
		q, _ := url.ParseQuery(query)
		_ = d.Request(method, path, q, body)
		_ = d.Response(method, path, len(body), body)
	})
}

func ExampleDocument_Request() {
	d, err := openapi.Read(strings.NewReader(description))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(d.Request("POST", "/things", nil, []byte(`{"name": "lamp"}`)))
	fmt.Println(d.Request("POST", "/things", nil, []byte(`{"name": "lamp", "colour": "red"}`)))
	// Output:
	// <nil>
	// body.colour is not described
}
