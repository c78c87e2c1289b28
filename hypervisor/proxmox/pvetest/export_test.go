package pvetest

import "strings"

// Parameters returns, for every method of the tables, a request with all its parameters.
func Parameters() []Request {
	var out []Request
	for _, r := range (&Server{}).table() {
		params := make(map[string]string)
		for _, f := range r.params {
			name, _, numbered := strings.Cut(f.name, "[")
			if numbered {
				name += "0"
			}
			value := "x"
			switch f.form {
			case "bool":
				value = "1"
			case "int":
				value, _, _ = strings.Cut(f.args, "..")
			case "vmid":
				value = "100"
			case "enum":
				value, _, _ = strings.Cut(f.args, "|")
			case "size":
				value = "1G"
			case "disk":
				value = "scsi0"
			}
			if name == "userid" {
				value = "a@pve"
			}
			params[name] = value
		}
		out = append(out, Request{Method: r.method, Path: r.pattern, Params: params})
	}
	return out
}
