package alert

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Syntax is which of Alertmanager's two ways of writing matchers is read.
type Syntax int

// The syntaxes. In the older one a name consists of ASCII letters, digits, underscores and colons, and a value that is not
// quoted may have nearly anything in it but a comma. In the newer one name and value are any UTF-8, and are quoted as in
// Go when there is a space or one of {}!=~,\"'` in them.
const (
	EitherSyntax  Syntax = iota // the newer; the older where only that reads it, or reads it as something else
	ClassicSyntax               // the older
	UTF8Syntax                  // the newer
)

// MaxMatchers is the greatest number of matchers that are taken together.
const MaxMatchers = 64

// ParseMatchers reads matchers separated by commas, with or without braces around them: {host=~"h.*", severity!="low"}.
// It fails with ErrInvalid and says at which byte.
func ParseMatchers(s string, syntax Syntax) (Matchers, error) {
	if len(s) > MaxLabelsBytes || !utf8.ValidString(s) {
		return nil, invalid("matchers", s, "UTF-8 of at most "+strconv.Itoa(MaxLabelsBytes)+" bytes")
	}
	var ms Matchers
	var err error
	switch syntax {
	case ClassicSyntax:
		ms, err = parseClassic(s)
	case UTF8Syntax:
		ms, err = parseUTF8(s)
	default:
		newer, newErr := parseUTF8(s)
		older, oldErr := parseClassic(s)
		switch {
		case oldErr == nil && (newErr != nil || newer.String() != older.String()):
			ms = older // what has been written for the older keeps its meaning
		case newErr == nil:
			ms = newer
		default:
			err = newErr
		}
	}
	if err == nil && len(ms) > MaxMatchers {
		return nil, invalid("matchers", strconv.Itoa(len(ms)), "at most "+strconv.Itoa(MaxMatchers))
	}
	return ms, err
}

// reader reads the newer syntax.
type reader struct {
	all string
	at  int // bytes read
}

func (r *reader) fail(want string) error {
	return invalid("matchers at "+strconv.Itoa(r.at), r.all[r.at:], want)
}

func (r *reader) spaces() {
	r.at = len(r.all) - len(strings.TrimLeftFunc(r.all[r.at:], unicode.IsSpace))
}

// take reads a text after spaces, if it is there.
func (r *reader) take(text string) bool {
	r.spaces()
	if strings.HasPrefix(r.all[r.at:], text) {
		r.at += len(text)
		return true
	}
	return false
}

// word reads what is quoted, or else at least one rune of those that need no quotes.
func (r *reader) word(want string) (string, error) {
	r.spaces()
	rest := r.all[r.at:]
	if strings.HasPrefix(rest, `"`) {
		end := 1
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(rest) {
			return "", r.fail("a quotation mark at the end")
		}
		text, err := strconv.Unquote(rest[:end+1])
		if err != nil || !utf8.ValidString(text) {
			return "", r.fail("a text quoted as in Go")
		}
		r.at += end + 1
		return text, nil
	}
	n := strings.IndexFunc(rest, func(c rune) bool { return unicode.IsSpace(c) || strings.ContainsRune("{}!=~,\\\"'`", c) })
	if n < 0 {
		n = len(rest)
	}
	if n == 0 {
		return "", r.fail(want)
	}
	r.at += n
	return rest[:n], nil
}

// operator splits an operator off s; one that is the beginning of another comes after it.
func operator(s string) (op Op, rest string, ok bool) {
	for _, op := range [...]Op{Match, NotMatch, NotEqual, Equal} {
		if rest, ok := strings.CutPrefix(s, string(op)); ok {
			return op, rest, true
		}
	}
	return "", s, false
}

func parseUTF8(s string) (Matchers, error) {
	r := &reader{all: s}
	braces := r.take("{")
	var ms Matchers
	comma := true // the last that was read, or nothing yet
	for r.spaces(); r.at < len(s) && !strings.HasPrefix(s[r.at:], "}"); r.spaces() {
		if !comma {
			return nil, r.fail("a comma or the end")
		}
		name, err := r.word("the name of a label")
		if err != nil {
			return nil, err
		}
		r.spaces()
		op, rest, ok := operator(s[r.at:])
		if !ok {
			return nil, r.fail("=, !=, =~ or !~")
		}
		r.at = len(s) - len(rest)
		value, err := r.word("a value, quoted when it is empty")
		if err != nil {
			return nil, err
		}
		m, err := NewMatcher(name, op, value)
		if err != nil {
			return nil, err
		}
		ms = append(ms, m)
		comma = r.take(",")
	}
	if r.take("}") != braces {
		return nil, r.fail("a brace at both ends or at none")
	}
	if r.spaces(); r.at < len(s) {
		return nil, r.fail("the end")
	}
	return ms, nil
}

func parseClassic(s string) (Matchers, error) {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "{"), "}")
	var ms Matchers
	start, quoted, escaped := 0, false, false
	one := func(end int) error {
		m, err := parseClassicOne(s[start:end])
		if err != nil {
			err.(*Error).Field = "matchers at " + strconv.Itoa(start)
			return err
		}
		ms, start = append(ms, m), end+1
		return nil
	}
	for i, c := range s {
		switch c {
		case ',':
			if !quoted {
				if err := one(i); err != nil {
					return nil, err
				}
			}
		case '"':
			quoted = quoted != !escaped
			escaped = false
		case '\\':
			escaped = !escaped
		default:
			escaped = false
		}
	}
	if s = strings.TrimRightFunc(s, unicode.IsSpace); len(s) <= start { // nothing at all, or a comma at the end
		return ms, nil
	}
	start = len(s) - len(strings.TrimLeftFunc(s[start:], unicode.IsSpace))
	err := one(len(s))
	return ms, err
}

func parseClassicOne(s string) (Matcher, error) {
	const spaces = "\t\n\f\r "
	rest := strings.Trim(s, spaces)
	n := strings.IndexFunc(rest, func(c rune) bool { return !plain(strings.ReplaceAll("a"+string(c), ":", "_")) })
	if n <= 0 || rest[0] >= '0' && rest[0] <= '9' {
		return Matcher{}, invalid("", s, "a name of letters, digits, underscores and colons, and an operator")
	}
	name := rest[:n]
	op, raw, ok := operator(strings.TrimLeft(rest[n:], spaces))
	if !ok {
		return Matcher{}, invalid("", s, "=, !=, =~ or !~ after the name")
	}
	raw = strings.TrimLeft(raw, spaces)
	inner, quoted := strings.CutPrefix(raw, `"`)
	if quoted {
		// The last quotation mark ends the value; one that is escaped does not, and is found below.
		if !strings.HasSuffix(inner, `"`) {
			return Matcher{}, invalid("", s, "a quotation mark at the end")
		}
		inner = inner[:len(inner)-1]
	}
	var value strings.Builder
	for i := 0; i < len(inner); i++ {
		switch c := inner[i]; {
		case c == '"':
			return Matcher{}, invalid("", s, `\" within the value`)
		case c == '\\' && i+1 < len(inner) && strings.IndexByte(`n"\`, inner[i+1]) >= 0:
			i++
			if c = inner[i]; c == 'n' {
				c = '\n'
			}
			value.WriteByte(c)
		case c == '\\' && i+1 == len(inner) && quoted:
			return Matcher{}, invalid("", s, "a quotation mark at the end")
		default: // also a backslash before anything else, which stands for itself
			value.WriteByte(c)
		}
	}
	return NewMatcher(name, op, value.String())
}
