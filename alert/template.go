package alert

import (
	"errors"
	"fmt"
	"html"
	"net/url"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

// MaxText is the greatest length in bytes of what a label or an annotation becomes.
const MaxText = 16 << 10

// text is a label or an annotation as a rule has it: plain, or a template of the standard library in which $labels are the
// labels of what was measured and $value is the value. What could run for long is refused: there are no loops, and
// every text that comes about on the way is bounded.
type text struct {
	plain string
	tmpl  *template.Template // nil when the text is plain
}

var errLong = errors.New("the text is longer than " + strconv.Itoa(MaxText) + " bytes")

func newText(field, s string) (text, error) {
	if len(s) > MaxTemplate {
		return text{}, invalid(field, s, "at most "+strconv.Itoa(MaxTemplate)+" bytes")
	}
	if !strings.Contains(s, "{{") {
		return text{plain: s}, nil
	}
	// The names that Prometheus gives.
	const names = "{{$labels := .Labels}}{{$value := .Value}}{{$externalLabels := .External}}{{$externalURL := .URL}}"
	t, err := template.New("").Option("missingkey=zero").Funcs(functions()).Parse(names + s)
	if err == nil && len(t.Templates()) > 1 {
		err = errors.New("no templates within a template")
	}
	if err == nil {
		err = harmless(t.Root)
	}
	if err != nil {
		return text{}, &Error{Kind: ErrInvalid, Field: field, Value: s, Want: "a template", Cause: err}
	}
	return text{tmpl: t}, nil
}

// harmless refuses what could run for long: loops, and templates that call one another.
func harmless(n parse.Node) error {
	switch n := n.(type) {
	case nil, *parse.TextNode, *parse.ActionNode, *parse.CommentNode:
		return nil
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, child := range n.Nodes {
			if err := harmless(child); err != nil {
				return err
			}
		}
		return nil
	case *parse.IfNode:
		return errors.Join(harmless(n.List), harmless(n.ElseList))
	case *parse.WithNode:
		return errors.Join(harmless(n.List), harmless(n.ElseList))
	}
	return errors.New("only values, if and with")
}

// expand returns the text for one value. A template that fails gives the error as text, as in Prometheus: an alert with a bad
// annotation is better than none.
func (t text) expand(labels map[string]string, value float64) string {
	if t.tmpl == nil {
		return t.plain
	}
	var b bounded
	err := t.tmpl.Execute(&b, map[string]any{"Labels": labels, "Value": value, "External": map[string]string{}, "URL": ""})
	if err != nil {
		return "<error expanding template: " + shorten(err.Error()) + ">"
	}
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}

func shorten(s string) string {
	const most = 256
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// bounded takes what is written until it is too much.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > MaxText {
		return 0, errLong
	}
	return b.Builder.Write(p)
}

// functions has those of Prometheus that are of use here, and stands before those of the standard library whose results have
// no bound.
func functions() template.FuncMap {
	limit := func(f func(s string) string) func(...any) (string, error) {
		return func(args ...any) (string, error) { return within(f(fmt.Sprint(args...))) }
	}
	return template.FuncMap{
		"humanize":           humanize,
		"humanize1024":       humanize1024,
		"humanizeDuration":   humanizeDuration,
		"humanizePercentage": humanizePercentage,
		"toUpper":            func(s string) (string, error) { return within(strings.ToUpper(s)) },
		"toLower":            func(s string) (string, error) { return within(strings.ToLower(s)) },
		"printf":             printf,
		"print":              func(args ...any) (string, error) { return within(fmt.Sprint(args...)) },
		"println":            func(args ...any) (string, error) { return within(fmt.Sprintln(args...)) },
		"html":               limit(html.EscapeString),
		"js":                 limit(template.JSEscapeString),
		"urlquery":           limit(url.QueryEscape),
	}
}

func within(s string) (string, error) {
	if len(s) > MaxText {
		return "", errLong
	}
	return s, nil
}

// printf is fmt.Sprintf without widths and precisions that make much of little.
func printf(format string, args ...any) (string, error) {
	for rest := format; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			break
		}
		verb := strings.TrimLeft(after, "+-# 0123456789.[]*")
		spec := after[:len(after)-len(verb)]
		if len(spec) > 6 || strings.ContainsAny(spec, "*[") || digits(spec) > 3 {
			return "", errors.New("printf: widths and precisions are small and written in the format")
		}
		rest = strings.TrimPrefix(verb, "%")
	}
	return within(fmt.Sprintf(format, args...))
}

// digits returns how many digits there are in s.
func digits(s string) int {
	n := 0
	for i := range len(s) {
		if s[i] >= '0' && s[i] <= '9' {
			n++
		}
	}
	return n
}
