package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// Sources are where the configuration comes from.
type Sources struct {
	Args   []string            // the flags, without the program's name
	Getenv func(string) string // nil: os.Getenv
}

// Load reads flags, environment and file, and checks the whole. flag.ErrHelp means that help was asked for.
func Load(s Sources) (Config, error) {
	c, err := read(s)
	if err != nil {
		return Config{}, err
	}
	return c, c.Check()
}

// Read is Load without the check of the whole, for commands that need only a part.
func Read(s Sources) (Config, error) { return read(s) }

// LoadData is Load for commands that need only the data directory.
func LoadData(s Sources) (string, error) {
	c, err := read(s)
	return c.Data, err
}

type said struct {
	option option
	value  string
}

func read(s Sources) (Config, error) {
	if s.Getenv == nil {
		s.Getenv = os.Getenv
	}
	var flags []said
	var file string
	set := flag.NewFlagSet("berthd", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&file, "config", s.Getenv("BERTHD_CONFIG"), "")
	for _, o := range options() {
		set.Func(o.name, o.usage, func(v string) error {
			flags = append(flags, said{o, v})
			return o.set(new(Config), v) // only to find out what is wrong
		})
	}
	if err := set.Parse(s.Args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return Config{}, flag.ErrHelp
		}
		return Config{}, fmt.Errorf("%w; berthd --help tells the options", err)
	}
	if set.NArg() > 0 {
		return Config{}, fmt.Errorf("%q is not an option; berthd --help tells the options", set.Arg(0))
	}

	c := Default()
	if file != "" {
		if err := c.readFile(file); err != nil {
			return Config{}, err
		}
	}
	detailed := c.Libvirt
	if err := c.readEnv(s.Getenv); err != nil {
		return Config{}, err
	}
	cleared := false
	for _, f := range flags {
		if f.option.many && !cleared {
			c.Libvirt, cleared = nil, true
		}
		if err := f.option.set(&c, f.value); err != nil {
			return Config{}, fmt.Errorf("--%s: %w", f.option.name, err)
		}
	}
	c.keepDetails(detailed)
	return c, nil
}

// readEnv applies the variables that are set and not empty.
func (c *Config) readEnv(getenv func(string) string) error {
	for _, o := range options() {
		v := getenv(o.env())
		if v == "" {
			continue
		}
		values := []string{v}
		if o.many {
			c.Libvirt, values = nil, strings.Fields(v)
		}
		for _, v := range values {
			if err := o.set(c, v); err != nil {
				return fmt.Errorf("%s: %w", o.env(), err)
			}
		}
	}
	return nil
}

// keepDetails gives the libvirt hosts that were named by URI alone what the file says of the same URI.
func (c *Config) keepDetails(detailed []Libvirt) {
	for i := range c.Libvirt {
		for _, d := range detailed {
			if d.URI == c.Libvirt[i].URI {
				c.Libvirt[i] = d
			}
		}
	}
}

// most is the largest file that is read, in bytes.
const most = 1 << 20

// readFile applies a file. A key that is not an option is an error: it is most likely a mistyped one.
func (c *Config) readFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if len(b) > most {
		return fmt.Errorf("configuration %s: larger than 1 MiB", name)
	}
	if err := c.parse(b); err != nil {
		return fmt.Errorf("configuration %s: %w", name, err)
	}
	return nil
}

func (c *Config) parse(b []byte) error {
	var keys map[string]json.RawMessage
	err := json.Unmarshal(b, &keys)
	var s *json.SyntaxError
	if errors.As(err, &s) {
		return fmt.Errorf("a JSON object is needed: at byte %d: %w", s.Offset, s)
	}
	if err != nil || keys == nil {
		return errors.New("a JSON object is needed")
	}
	for _, o := range options() {
		raw, ok := keys[o.key()]
		if !ok {
			continue
		}
		delete(keys, o.key())
		if o.many {
			if err := strict(raw, &c.Libvirt); err != nil {
				return fmt.Errorf("%s: %w", o.key(), err)
			}
			continue
		}
		v, err := scalar(raw)
		if err == nil {
			err = o.set(c, v)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", o.key(), err)
		}
	}
	for key, list := range map[string]any{"proxmox": &c.Proxmox, "openstack": &c.OpenStack, "hetzner": &c.Hetzner, "scrape": &c.Scrape, "oidc": &c.OIDC} {
		if raw, ok := keys[key]; ok {
			delete(keys, key)
			if err := strict(raw, list); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	for k := range keys {
		return fmt.Errorf("%q is not an option", k)
	}
	return nil
}

// scalar is the text of a JSON string or number.
func scalar(raw json.RawMessage) (string, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	}
	return "", errors.New("a string or a number is needed")
}

// strict decodes one JSON value in which every field must be known.
func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	var t *json.UnmarshalTypeError
	switch {
	case errors.As(err, &t) && t.Field == "":
		return errors.New(`a list of objects is needed, such as [{"uri": "qemu:///system"}] under "libvirt"`)
	case errors.As(err, &t):
		return fmt.Errorf("%s: a value of another type is needed than %s", t.Field, t.Value)
	}
	return err
}
