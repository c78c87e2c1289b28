package cloudinit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strconv"
	"strings"

	"github.com/berthage/berthage/pool"
)

// combine returns the file user-data: the configuration alone, or together with the caller's user-data as a
// MIME archive. The caller's part comes first, because a part's own merge_how decides how it joins what came
// before it, and only ours is known to drop nothing.
func combine(config []setting, theirs string) ([]byte, error) {
	alone := strings.TrimSpace(theirs) == ""
	if !alone {
		config = append(config, mergeHow())
	}
	settings, err := lines(config...)
	if err != nil {
		return nil, err
	}
	ours := append([]byte("#cloud-config\n"), settings...)
	if alone {
		return ours, nil
	}
	part, err := theirPart(theirs)
	if err != nil {
		return nil, err
	}
	b := boundary(part, ours)
	var out bytes.Buffer
	out.WriteString("Content-Type: multipart/mixed; boundary=\"" + b + "\"\nMIME-Version: 1.0\n\n--" + b + "\n")
	out.Write(part)
	out.WriteString("\n--" + b + "\nContent-Type: text/cloud-config; charset=\"us-ascii\"\nMIME-Version: 1.0\n" +
		"Content-Disposition: attachment; filename=\"berthage.cfg\"\n\n")
	out.Write(ours)
	out.WriteString("--" + b + "--\n")
	return out.Bytes(), nil
}

// boundary returns a line that stands in none of the parts, the same for the same parts.
func boundary(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	sum := h.Sum(nil)
	for i := 0; ; i++ {
		b := "==berthage-" + hex.EncodeToString(sum[:12]) + "-" + strconv.Itoa(i) + "=="
		free := true
		for _, p := range parts {
			free = free && !bytes.Contains(p, []byte(b))
		}
		if free {
			return b
		}
	}
}

// theirPart returns the caller's user-data as a part of an archive, headers included. A MIME message is one
// already; anything else is encoded, so that its bytes arrive as they are.
func theirPart(text string) ([]byte, error) {
	if header, body, ok := asMIME(text); ok {
		if err := checkMIME(header, body, 0); err != nil {
			return nil, err
		}
		return []byte(text), nil
	}
	kind := contentType(text)
	if kind == "" {
		return nil, invalid("user_data", firstLine(text), "a first line that cloud-init knows, such as #cloud-config or #!/bin/sh, or a MIME message")
	}
	if kind == cloudConfig {
		if err := checkConfig(text); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	b.WriteString("Content-Type: " + kind + "\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n" +
		"Content-Disposition: attachment; filename=\"user-data\"\n\n")
	for enc := base64.StdEncoding.EncodeToString([]byte(text)); enc != ""; {
		n := min(len(enc), 76) // RFC 2045, section 6.8
		b.WriteString(enc[:n] + "\n")
		enc = enc[n:]
	}
	return b.Bytes(), nil
}

const cloudConfig = "text/cloud-config"

// contentType returns the type that cloud-init gives to a text by its beginning; empty: none. The longest
// beginning that fits decides.
func contentType(text string) string {
	kinds := map[string]string{
		"#!":                    "text/x-shellscript",
		"#cloud-config":         cloudConfig,
		"#cloud-config-archive": "text/cloud-config-archive",
		"#cloud-config-jsonp":   "text/cloud-config-jsonp",
		"#cloud-boothook":       "text/cloud-boothook",
		"#part-handler":         "text/part-handler",
		"#include":              "text/x-include-url",
		"#include-once":         "text/x-include-once-url",
		"## template: jinja":    "text/jinja2",
	}
	best := ""
	for start := range kinds {
		if strings.HasPrefix(text, start) && len(start) > len(best) {
			best = start
		}
	}
	return kinds[best]
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSuffix(line, "\r")
}

// asMIME reports whether the text is a MIME message, which cloud-init tells by the header MIME-Version.
func asMIME(text string) (header map[string][]string, body []byte, ok bool) {
	if !strings.Contains(text, "\n\n") && !strings.Contains(text, "\n\r\n") {
		return nil, nil, false // the headers do not end
	}
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil || m.Header.Get("Mime-Version") == "" || m.Header.Get("Content-Type") == "" {
		return nil, nil, false
	}
	body, err = io.ReadAll(m.Body)
	return m.Header, body, err == nil
}

// checkMIME looks for cloud-configs in a message, nested ones included, and checks them.
func checkMIME(header mail.Header, body []byte, depth int) error {
	bad := func(what string) error { return invalid("user_data", "", "a well-formed MIME message: "+what) }
	kind, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return bad("the header Content-Type cannot be read")
	}
	if strings.HasPrefix(kind, "multipart/") {
		if params["boundary"] == "" {
			return bad("a multipart type names its boundary")
		}
		if depth == 4 {
			return bad("at most four levels")
		}
		r := multipart.NewReader(bytes.NewReader(body), params["boundary"])
		for n := 0; ; n++ {
			p, err := r.NextRawPart()
			if err == io.EOF && n > 0 {
				return nil
			}
			if err != nil || n == 256 {
				return bad("1 to 256 parts between boundaries, the last one closed")
			}
			content, err := io.ReadAll(p)
			if err != nil {
				return bad("a part ends early")
			}
			if p.Header.Get("Content-Type") == "" {
				p.Header.Set("Content-Type", "text/plain")
			}
			if err := checkMIME(mail.Header(p.Header), content, depth+1); err != nil {
				return err
			}
		}
	}
	switch strings.ToLower(strings.TrimSpace(header.Get("Content-Transfer-Encoding"))) {
	case "base64":
		clean := bytes.Join(bytes.Fields(body), nil)
		if body, err = base64.StdEncoding.DecodeString(string(clean)); err != nil {
			return bad("a part is not base64")
		}
	case "quoted-printable":
		if body, err = io.ReadAll(quotedprintable.NewReader(bytes.NewReader(body))); err != nil {
			return bad("a part is not quoted-printable")
		}
	}
	if kind == cloudConfig || contentType(string(body)) == cloudConfig {
		return checkConfig(string(body))
	}
	return nil
}

// checkConfig refuses a cloud-config in which one of the lists that the seed joins is not written as a list.
// It reads no YAML, only what stands at the beginning of lines.
func checkConfig(text string) error {
	all := strings.Split(text, "\n")
	significant := func(i int) (string, bool) {
		line := strings.TrimRight(all[i], " \t\r")
		trimmed := strings.TrimLeft(line, " \t")
		return line, trimmed != "" && trimmed[0] != '#' && trimmed != "---"
	}
	for i := range all {
		line, ok := significant(i)
		if !ok {
			continue
		}
		if line[0] == '{' {
			return checkFlow(strings.Join(all[i:], "\n"))
		}
		key, value, found := strings.Cut(line, ":")
		key = strings.Trim(key, `"' `)
		if !found || line[0] == ' ' || line[0] == '\t' || !joined(key) {
			continue
		}
		value = strings.TrimSpace(value)
		if value != "" && value[0] != '#' {
			if value[0] != '[' {
				return notList(key)
			}
			continue
		}
		next := ""
		for j := i + 1; j < len(all) && next == ""; j++ {
			if l, ok := significant(j); ok {
				next = strings.TrimLeft(l, " \t")
			}
		}
		if next != "-" && !strings.HasPrefix(next, "- ") && !strings.HasPrefix(next, "[") {
			return notList(key)
		}
	}
	return nil
}

// checkFlow checks a cloud-config that is one JSON object. Flow style that is not JSON cannot be checked.
func checkFlow(text string) error {
	var top map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &top); err != nil {
		return invalid("user_data", "", "a cloud-config in block style or in JSON")
	}
	for key, value := range top {
		if v := bytes.TrimSpace(value); joined(key) && (len(v) == 0 || v[0] != '[') {
			return notList(key)
		}
	}
	return nil
}

// joined reports whether the seed has a list of that key, which is to join the caller's.
func joined(key string) bool { return key == "users" || key == "fs_setup" || key == "mounts" }

func notList(key string) error {
	return &pool.Error{Kind: pool.ErrInvalid, Field: "user_data." + key, Want: "a list, to which the seed's own entries can be added"}
}
