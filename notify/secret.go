package notify

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// redacted is what is shown of a secret.
const redacted = "[secret]"

// Secret is a text that is not shown: a key, a password, or an address with a token in it. However it is printed, logged
// or encoded it reads "[secret]"; Reveal gives it to whom it is meant for. The zero value is an empty one.
type Secret struct {
	text *string // behind a pointer, since fmt prints unexported fields without asking the type
}

// NewSecret returns s as a Secret.
func NewSecret(s string) Secret { return Secret{&s} }

// Reveal returns the text.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty reports whether there is no text.
func (s Secret) Empty() bool { return s.Reveal() == "" }

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// Format implements fmt.Formatter, for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, and so serves JSON.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText implements encoding.TextUnmarshaler: configurations are read as usual.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = NewSecret(string(b))
	return nil
}

// forms returns the spellings in which a secret may come back in an answer.
func (s Secret) forms() []string {
	text := s.Reveal()
	if text == "" {
		return nil
	}
	out := []string{text, url.QueryEscape(text), url.PathEscape(text)}
	if u, err := url.Parse(text); err == nil && u.Host != "" { // without the host, which is not secret
		for _, part := range []string{u.RequestURI(), u.Path, u.RawQuery, u.EscapedPath()} {
			if len(part) > 1 {
				out = append(out, part)
			}
		}
		for _, part := range strings.Split(u.EscapedPath(), "/") { // a service may name a part of its address
			if len(part) >= 8 {
				out = append(out, part)
			}
		}
		for _, values := range u.Query() {
			for _, v := range values {
				if len(v) >= 4 {
					out = append(out, v)
				}
			}
		}
		if u.User != nil {
			password, _ := u.User.Password()
			out = append(out, u.User.String(), password)
		}
	}
	return out
}
