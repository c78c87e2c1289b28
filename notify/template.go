package notify

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"strings"
	texttemplate "text/template"
	"text/template/parse"

	"github.com/berthage/berthage/pool"
)

// MaxRendered is how many bytes a template may write.
const MaxRendered = 1 << 20

// Template makes a text of a Message, its data: {{.Title}}, {{range .Firing}}{{.Labels.host}}{{end}}. Whatever a template
// writes of a message is encoded for the channel; what stands in the template itself is not. It is safe for concurrent
// use.
//
// Templates are an operator's: one that loops for long is not stopped.
type Template struct {
	execute func(io.Writer, any) error
}

// ParseText parses a template of the syntax of text/template. Every value that it writes goes through escape, as
// html/template does it for HTML: a template cannot forget it. A nil escape is Plain.
func ParseText(text string, escape func(string) string) (*Template, error) {
	if escape == nil {
		escape = Plain
	}
	t := texttemplate.New("").Option("missingkey=zero").Funcs(texttemplate.FuncMap{
		escaper: func(args ...any) string { return escape(fmt.Sprint(args...)) },
		"pairs": Pairs,
		"line":  Line,
		"cut":   func(most int, s string) string { return Cut(s, most) },
	})
	t, err := t.Parse(text)
	if err != nil {
		return nil, &pool.Error{Op: "parse template", Kind: pool.ErrInvalid, Field: "template", Cause: err}
	}
	for _, each := range t.Templates() {
		if each.Tree != nil {
			escapeNodes(each.Root)
		}
	}
	return &Template{t.Execute}, nil
}

// escaper is the function that every value goes through.
const escaper = "_escape"

func escapeNodes(n parse.Node) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, each := range n.Nodes {
				escapeNodes(each)
			}
		}
	case *parse.ActionNode:
		if len(n.Pipe.Decl) == 0 { // an assignment writes nothing
			n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{
				NodeType: parse.NodeCommand, Pos: n.Pos, Args: []parse.Node{parse.NewIdentifier(escaper).SetPos(n.Pos)},
			})
		}
	case *parse.IfNode:
		escapeNodes(n.List)
		escapeNodes(n.ElseList)
	case *parse.RangeNode:
		escapeNodes(n.List)
		escapeNodes(n.ElseList)
	case *parse.WithNode:
		escapeNodes(n.List)
		escapeNodes(n.ElseList)
	}
}

// ParseHTML parses a template of the syntax of html/template.
func ParseHTML(text string) (*Template, error) {
	t, err := template.New("").Option("missingkey=zero").Funcs(template.FuncMap{
		"pairs": Pairs,
		"line":  Line,
		"cut":   func(most int, s string) string { return Cut(s, most) },
	}).Parse(text)
	if err != nil {
		return nil, &pool.Error{Op: "parse template", Kind: pool.ErrInvalid, Field: "template", Cause: err}
	}
	return &Template{t.Execute}, nil
}

// Render returns what the template makes of m.
func (t *Template) Render(m Message) (string, error) {
	var b bounded
	if err := t.execute(&b, m); err != nil {
		return "", &pool.Error{Op: "render template", Kind: pool.ErrInvalid, Field: "template", Cause: err}
	}
	return b.String(), nil
}

var errTooLong = errors.New("the text is longer than 1 MiB")

type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > MaxRendered {
		return 0, errTooLong
	}
	return b.Builder.Write(p)
}
