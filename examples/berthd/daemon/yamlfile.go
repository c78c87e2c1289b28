package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"
)

// mostFile bounds files of the configuration in bytes.
const mostFile = 4 << 20

// readYAML reads a file of YAML, or JSON, which is YAML too, as encoding/json reads JSON. What it does not know it refuses, and what is
// spelled wrongly with it. An empty file says nothing.
func readYAML(name string, v any) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(file, mostFile+1))
	if err == nil && len(b) > mostFile {
		err = fmt.Errorf("more than %d bytes", mostFile)
	}
	var tree any
	if err == nil {
		err = yaml.Unmarshal(b, &tree)
	}
	if err == nil {
		b, err = json.Marshal(tree)
	}
	if err == nil && tree != nil {
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		err = dec.Decode(v)
	}
	return err
}
