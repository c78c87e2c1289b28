package notify

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mark stands where a text has been cut.
const Mark = "…"

// Runes counts as most services do: Unicode code points.
func Runes(s string) int { return utf8.RuneCountInString(s) }

// Units counts as services do whose limits are of UTF-16: a code point beyond the first 65,536 is two.
func Units(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// Cut returns s if it has at most that many runes, and else its beginning and a Mark, as many together.
func Cut(s string, most int) string { return CutBy(s, most, Runes) }

// CutBy is Cut by another measure, which has to be the sum over the runes of s: Runes, Units, or one that counts what
// a rune becomes when it is encoded.
func CutBy(s string, most int, length func(string) int) string {
	if len(s) <= most && length(s) <= most || length(s) <= most {
		return s
	}
	room := most - length(Mark)
	if room < 0 {
		return ""
	}
	for i, r := range s {
		if room -= length(string(r)); room < 0 {
			return s[:i] + Mark
		}
	}
	return s
}

// Plain returns s as text that is only text: valid UTF-8, without control characters but newline and tab, and without
// those that reorder or hide what stands around them. Each of them becomes U+FFFD, so that it is seen that something was
// there; a carriage return goes.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r':
			return -1
		case unicode.Is(unicode.Cc, r), r == '\u2028', r == '\u2029', r == '\u200b', r == '\ufeff', r == '\u2060',
			unicode.Is(unicode.Bidi_Control, r), 0xE0000 <= r && r <= 0xE007F, 0xFFF9 <= r && r <= 0xFFFB:
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// Line is Plain in one line: newlines and tabs become spaces.
func Line(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		return r
	}, Plain(s))
}

// List joins as many of the lines as there is room for within most by the measure (see CutBy), and says how many there are
// more than that, more included. A first line that is longer than all the room is cut.
func List(lines []string, more, most int, length func(string) int) string {
	whole := strings.Join(lines, "\n")
	if more <= 0 && length(whole) <= most {
		return whole
	}
	if more <= 0 && len(lines) == 1 {
		return CutBy(whole, most, length)
	}
	if all := strings.TrimPrefix(whole+"\n"+andMore(more), "\n"); more > 0 && length(all) <= most {
		return all
	}
	room := most - length("\n"+andMore(len(lines)+max(more, 0)))
	var b strings.Builder
	for i, l := range lines {
		if i == 0 {
			l = CutBy(l, max(room, 0), length)
		} else {
			l = "\n" + l
		}
		if room -= length(l); room < 0 || i == 0 && l == "" {
			more = max(more, 0) + len(lines) - i
			break
		}
		b.WriteString(l)
	}
	return CutBy(strings.TrimPrefix(b.String()+"\n"+andMore(more), "\n"), most, length)
}

func andMore(n int) string { return "and " + strconv.Itoa(n) + " more" }

// WebLink returns s if it is an absolute http or https URL that can stand in any text as it is, and else nothing: what
// could end a link or hide where it leads is percent-encoded, one with a user in it is left out, and so is one longer than 2,000 bytes.
func WebLink(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return ""
	}
	for _, r := range u.Host {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(".-:[]", r) {
			return ""
		}
	}
	var b strings.Builder
	for _, c := range []byte(u.String()) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("<>\"'`|\\^{}()*~@", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	if b.Len() > 2000 {
		return ""
	}
	return b.String()
}
