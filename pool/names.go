package pool

import (
	"encoding/base64"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The characters that names are made of, as sets that can be joined.
const (
	lowers = 1 << iota
	uppers
	digits
	hyphens
	underscores
	dots
	slashes
)

// setOf returns the set that a byte belongs to: none if it is no such character, or a part of one that is not ASCII.
func setOf(c byte) uint8 {
	switch {
	case c >= 'a' && c <= 'z':
		return lowers
	case c >= '0' && c <= '9':
		return digits
	case c >= 'A' && c <= 'Z':
		return uppers
	case c == '-':
		return hyphens
	case c == '_':
		return underscores
	case c == '.':
		return dots
	case c == '/':
		return slashes
	}
	return 0
}

// wellFormed reports whether s has 1 to most bytes, the first of one set and the others of another.
func wellFormed(s string, most int, first, rest uint8) bool {
	if s == "" || len(s) > most || setOf(s[0])&first == 0 {
		return false
	}
	for i := 1; i < len(s); i++ {
		if setOf(s[i])&rest == 0 {
			return false
		}
	}
	return true
}

// ValidHostname reports, as an error, whether s can be the name of an instance, which is also its host
// name: a DNS label of RFC 1123 in lower case, 1 to 63 letters, digits and hyphens, no hyphen at either end.
func ValidHostname(s string) error {
	if !wellFormed(s, 63, lowers|digits, lowers|digits|hyphens) || strings.HasSuffix(s, "-") {
		return invalid("name", s, "1 to 63 lower-case letters, digits and hyphens, no hyphen at either end")
	}
	return nil
}

// ValidName reports, as an error, whether s can name a project, flavor, image, zone, shape or driver:
// letters, digits, '.', '-' and '_', starting with a letter or digit, at most 63 bytes.
func ValidName(s string) error {
	return validNameIn("name", s)
}

// validNameIn is ValidName for a field that is not called name.
func validNameIn(field, s string) error {
	if !wellFormed(s, 63, lowers|uppers|digits, lowers|uppers|digits|dots|hyphens|underscores) {
		return invalid(field, s, "a letter or digit, then letters, digits, '.', '-', '_', at most 63 bytes")
	}
	return nil
}

// ValidText reports, as an error, whether s is printable text of at most most bytes in one line.
func ValidText(s string, most int) error {
	if len(s) > most || !printable(s) {
		return &Error{Kind: ErrInvalid, Value: s, Want: "printable text in one line, not too long"}
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
		}
	}
	return true
}

// ValidLabels reports, as an error, whether every key is a name that may also contain '/' and every value
// printable text of at most 255 bytes; at most 64 labels.
func ValidLabels(labels map[string]string) error {
	if len(labels) > 64 {
		return invalid("labels", "", "at most 64 labels")
	}
	for k, v := range labels {
		if err := validLabel(k, v); err != nil {
			return InField("labels", err)
		}
	}
	return nil
}

func validLabel(k, v string) error {
	if err := ValidName(strings.ReplaceAll(k, "/", "_")); err != nil {
		return invalid("", k, "a key of letters, digits, '.', '-', '_', '/', at most 63 bytes")
	}
	if err := ValidText(v, 255); err != nil {
		return invalid("["+k+"]", v, "printable text in one line, at most 255 bytes")
	}
	return nil
}

// ValidUser reports, as an error, whether s is a portable POSIX login name of at most 32 bytes.
func ValidUser(s string) error {
	if !wellFormed(s, 32, lowers|underscores, lowers|digits|underscores|hyphens) {
		return invalid("user", s, "a lower-case letter or '_', then letters, digits, '_', '-', at most 32 bytes")
	}
	return nil
}

// ValidMountPoint reports, as an error, whether s is a clean absolute path, other than "/", of portable
// characters.
func ValidMountPoint(s string) error {
	const all = lowers | uppers | digits | slashes | dots | underscores | hyphens
	if len(s) < 2 || !wellFormed(s, 255, slashes, all) || path.Clean(s) != s {
		return invalid("mount", s, "an absolute path such as /data, of letters, digits, '.', '_', '-'")
	}
	return nil
}

// ValidSSHKey reports, as an error, whether s is one public key in the authorized_keys form of OpenSSH
// without options: a known type, base64 that starts with that type, and an optional comment.
// The key itself is not put into the error.
func ValidSSHKey(s string) error { return validSSHKeyIn("ssh_keys", s) }

func validSSHKeyIn(field, s string) error {
	bad := func(want string) error { return invalid(field, "", want) }
	if err := ValidText(s, 16<<10); err != nil {
		return bad("one line of printable text, at most 16 KiB")
	}
	types := []string{"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
		"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"}
	f := strings.SplitN(s, " ", 3)
	if len(f) < 2 || !slices.Contains(types, f[0]) {
		return bad("a public key such as 'ssh-ed25519 AAAA... comment'; types: " + strings.Join(types, ", "))
	}
	blob, err := base64.StdEncoding.DecodeString(f[1])
	n := len(f[0])
	// RFC 4253, section 6.6: the blob starts with the type as a string with a 4-byte length.
	if err != nil || len(blob) <= 4+n || int(blob[3]) != n || blob[0]|blob[1]|blob[2] != 0 || string(blob[4:4+n]) != f[0] {
		return bad("base64 of a key of the type that it names")
	}
	return nil
}
