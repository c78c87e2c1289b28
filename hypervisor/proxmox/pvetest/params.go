package pvetest

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxBody bounds what a client may send.
const maxBody = 1 << 20

// read returns the parameters that came with the request: in the query, or in the body as a form, as JSON, or as an
// upload.
func (c *call) read() (map[string]string, error) {
	out := make(map[string]string)
	for k, v := range c.http.URL.Query() {
		out[k] = v[0]
	}
	kind, attributes, _ := mime.ParseMediaType(c.http.Header.Get("Content-Type"))
	if kind == "multipart/form-data" {
		return out, c.readUpload(out, attributes["boundary"])
	}
	body, err := io.ReadAll(io.LimitReader(c.http.Body, maxBody))
	if err != nil {
		return nil, no("reading the request failed")
	}
	if len(body) == 0 {
		return out, nil
	}
	switch kind {
	case "application/json":
		var v map[string]any
		d := json.NewDecoder(strings.NewReader(string(body)))
		d.UseNumber()
		if err := d.Decode(&v); err != nil || v == nil {
			return nil, &apiError{status: 400, text: "malformed JSON string"}
		}
		for k, x := range v {
			switch x := x.(type) {
			case bool:
				out[k] = map[bool]string{true: "1", false: "0"}[x]
			case string:
				out[k] = x
			case json.Number:
				out[k] = x.String()
			default:
				return nil, badField(k, "type check ('string') failed")
			}
		}
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, &apiError{status: 400, text: "malformed form"}
		}
		for k, v := range form {
			out[k] = v[0]
		}
	default:
		return nil, &apiError{status: 400, text: "upload not allowed for " + kind}
	}
	return out, nil
}

func (c *call) readUpload(out map[string]string, boundary string) error {
	r := multipart.NewReader(io.LimitReader(c.http.Body, maxBody), boundary)
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return &apiError{status: 400, text: "malformed upload"}
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return &apiError{status: 400, text: "malformed upload"}
		}
		if p.FileName() != "" {
			c.upload = b
			out[p.FormName()] = p.FileName()
		} else {
			out[p.FormName()] = string(b)
		}
	}
}

// field is a parameter of a method and the form of its values.
type field struct {
	name     string // "cores"; "scsi[31]" stands for scsi0 to scsi30
	form     string // "int"
	args     string // "1.." of "int(1..)"
	required bool
}

// spaced is a field in a list.
const spaced = `(\S+?)(!?):(\w+)(?:\(([^)]*)\))?(?:\s+|$)`

// fields reads a list such as "newid!:vmid name:dns cores:int(1..)".
func fields(spec string) []field {
	var out []field
	for _, m := range regexp.MustCompile(spaced).FindAllStringSubmatch(spec, -1) {
		out = append(out, field{name: m[1], required: m[2] == "!", form: m[3], args: m[4]})
	}
	return out
}

// match reports whether the parameter is the field.
func (f *field) match(name string) bool {
	base, n, numbered := strings.Cut(f.name, "[")
	if !numbered {
		return name == f.name
	}
	digits, ok := strings.CutPrefix(name, base)
	most, _ := strconv.Atoi(strings.TrimSuffix(n, "]"))
	i, err := strconv.Atoi(digits)
	return ok && err == nil && i >= 0 && i < most && strconv.Itoa(i) == digits
}

// check judges parameters by the fields of a method.
func check(all []field, params map[string]string) error {
	wrong := make(map[string]string)
	for name, value := range params {
		i := slices.IndexFunc(all, func(f field) bool { return f.match(name) })
		if i < 0 {
			wrong[name] = "property is not defined in schema and the schema does not allow additional properties"
		} else if text := all[i].judge(name, value); text != "" {
			wrong[name] = text
		}
	}
	for _, f := range all {
		if _, ok := params[f.name]; f.required && !ok {
			wrong[f.name] = "property is missing and it is not optional"
		}
	}
	if len(wrong) > 0 {
		return &apiError{status: 400, text: "Parameter verification failed.", fields: wrong}
	}
	return nil
}

// The forms of values, as regular expressions.
const (
	dnsName   = `^([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*$`
	configID  = `(?i)^[a-z][a-z0-9_-]+$`
	storageID = `(?i)^[a-z][a-z0-9\-_.]*[a-z0-9]$`
	sizeForm  = `^\+?\d+(\.\d+)?[KMGT]?$`
	coded     = `^([A-Za-z0-9\-_.!~*'()]|%[0-9a-fA-F]{2})*$`
	oneTag    = `(?i)^[a-z0-9_][a-z0-9_\-+.]*$`
)

// like reports whether a value has a form.
func like(v, form string) bool { return regexp.MustCompile(form).MatchString(v) }

// judge returns what is wrong with a value in the words of the real server, or nothing.
func (f *field) judge(name, v string) string {
	const enumeration = "value '%s' does not have a value in the enumeration '%s'"
	switch f.form {
	case "bool":
		if !slices.Contains([]string{"0", "1", "on", "off", "yes", "no", "true", "false"}, strings.ToLower(v)) {
			return fmt.Sprintf("type check ('boolean') failed - got '%s'", v)
		}
	case "int":
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return fmt.Sprintf("type check ('integer') failed - got '%s'", v)
		}
		low, high, _ := strings.Cut(f.args, "..")
		if l, err := strconv.ParseInt(low, 10, 64); err == nil && n < l {
			return fmt.Sprintf("value must have a minimum value of %d", l)
		}
		if h, err := strconv.ParseInt(high, 10, 64); err == nil && n > h {
			return fmt.Sprintf("value must have a maximum value of %d", h)
		}
	case "vmid":
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return fmt.Sprintf("type check ('integer') failed - got '%s'", v)
		}
		if n < 100 || n > 999999999 {
			return "invalid format - value does not look like a valid VM ID\n"
		}
	case "enum":
		if all := strings.Split(f.args, "|"); !slices.Contains(all, v) {
			return fmt.Sprintf(enumeration, v, strings.Join(all, ", "))
		}
	case "disk":
		if all := diskKeys(); !slices.Contains(all, v) {
			return fmt.Sprintf(enumeration, v, strings.Join(all, ", "))
		}
	case "dns", "node":
		if !like(v, dnsName) {
			return "invalid format - value does not look like a valid DNS name\n"
		}
	case "configid":
		if !like(v, configID) {
			return fmt.Sprintf("invalid format - invalid configuration ID '%s'\n", v)
		}
		if len(v) > 40 {
			return "value may only be 40 characters long"
		}
	case "storage":
		if !like(v, storageID) {
			return fmt.Sprintf("invalid format - storage ID '%s' contains illegal characters\n", v)
		}
	case "size":
		if !like(v, sizeForm) {
			return "value does not match the regex pattern"
		}
	case "sshkeys":
		if !like(v, coded) {
			return fmt.Sprintf("invalid format - invalid urlencoded string: %s\n", v)
		}
	case "text":
		if most, err := strconv.Atoi(f.args); err == nil && len(v) > most {
			return fmt.Sprintf("value may only be %d characters long", most)
		}
	case "tags":
		for _, t := range strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(",; ", r) }) {
			if !like(t, oneTag) {
				return "invalid format - invalid characters in tag\n"
			}
		}
	case "cpu":
		if t, _, _ := strings.Cut(strings.TrimPrefix(v, "cputype="), ","); !slices.Contains(cpuTypes(), t) {
			return fmt.Sprintf("invalid format - Built-in cputype '%s' is not defined (missing 'custom-' prefix?)\n", t)
		}
	case "memory":
		inner := field{form: "int", args: "16.."}
		if text := inner.judge("", strings.TrimPrefix(v, "current=")); text != "" {
			return "invalid format - format error\nmemory.current: " + text + "\n"
		}
	case "ipconfig":
		return judgeParts(name, v, "", map[string]func(string) string{
			"ip": judgeIP("ipv4", "dhcp"), "ip6": judgeIP("ipv6", "dhcp", "auto"), "gw": anything, "gw6": anything,
		})
	case "net":
		parts := map[string]func(string) string{
			"bridge": anything, "tag": anything, "firewall": anything, "macaddr": anything, "rate": anything, "mtu": anything,
			"queues": anything, "link_down": anything, "trunks": anything, "model": judgeModel,
		}
		for _, m := range models() {
			parts[m] = judgeMAC
		}
		return judgeParts(name, v, "model", parts)
	case "drive":
		parts := map[string]func(string) string{"file": anything}
		for _, k := range strings.Fields("aio backup cache detect_zeroes discard format import-from iops iops_max iops_rd iops_wr iothread " +
			"mbps mbps_rd mbps_wr media replicate ro serial shared size snapshot ssd werror rerror") {
			parts[k] = anything
		}
		return judgeParts(name, v, "file", parts)
	}
	return ""
}

// judgeParts judges a value such as "virtio=02:...,bridge=vmbr0". What stands without a key is the default one.
func judgeParts(name, value, standard string, parts map[string]func(string) string) string {
	for _, p := range strings.Split(value, ",") {
		k, v, ok := strings.Cut(p, "=")
		if !ok {
			k, v = standard, p
		}
		judge := parts[k]
		if judge == nil && name[:min(3, len(name))] == "net" && ok {
			k, v, judge = "model", k, judgeModel
		}
		if judge == nil {
			return fmt.Sprintf("invalid format - format error\n%s.%s: property is not defined in schema and the schema does not allow additional properties\n", name, k)
		}
		if text := judge(v); text != "" {
			return fmt.Sprintf("invalid format - format error\n%s.%s: %s\n", name, k, text)
		}
	}
	return ""
}

func anything(string) string { return "" }

func judgeModel(v string) string {
	if !slices.Contains(models(), v) {
		return fmt.Sprintf("value '%s' does not have a value in the enumeration '%s'", v, strings.Join(models(), ", "))
	}
	return ""
}

func judgeMAC(v string) string {
	a, err := net.ParseMAC(v)
	if err != nil || len(a) != 6 || a[0]&1 != 0 {
		return "invalid format - value does not look like a valid unicast MAC address\n"
	}
	return ""
}

func judgeIP(family string, words ...string) func(string) string {
	return func(v string) string {
		if slices.Contains(words, v) {
			return ""
		}
		ip, _, err := net.ParseCIDR(v)
		if err != nil || (ip.To4() != nil) != (family == "ipv4") {
			return "invalid format - value does not look like a valid " + family + " network configuration\n"
		}
		return ""
	}
}

func models() []string {
	return strings.Fields("e1000 e1000-82540em e1000-82544gc e1000-82545em e1000e i82551 i82557b i82559er ne2k_isa ne2k_pci pcnet rtl8139 virtio vmxnet3")
}

func cpuTypes() []string {
	return strings.Fields("host max kvm64 kvm32 qemu64 qemu32 x86-64-v2 x86-64-v2-AES x86-64-v3 x86-64-v4 EPYC EPYC-Rome EPYC-Milan EPYC-Genoa Skylake-Server Cascadelake-Server Icelake-Server")
}

// diskKeys lists the names that disks can have.
func diskKeys() []string {
	var out []string
	for _, b := range []struct {
		name string
		n    int
	}{{"ide", 4}, {"scsi", 31}, {"virtio", 16}, {"sata", 6}} {
		for i := range b.n {
			out = append(out, b.name+strconv.Itoa(i))
		}
	}
	return append(out, "efidisk0", "tpmstate0")
}
