package jira

import (
	"strings"

	"github.com/berthage/berthage/notify"
)

func summary(m notify.Message) string { return notify.CutBy(m.Title(), MaxSummary, notify.Units) }

// node is one of the Atlassian Document Format.
type node struct {
	Type    string `json:"type"`
	Version int    `json:"version,omitempty"`
	Text    string `json:"text,omitempty"`
	Marks   []mark `json:"marks,omitempty"`
	Content []node `json:"content,omitempty"`
}

type mark struct {
	Type  string            `json:"type"`
	Attrs map[string]string `json:"attrs"`
}

// description returns a document for Cloud, and wiki text for Data Center.
func (n *Notifier) description(m notify.Message) any {
	href := notify.WebLink(m.Link)
	if n.c.Cloud {
		return document(m.Title()+"\n"+notify.List(m.Lines(), m.FiringMore+m.ResolvedMore, MaxDescription-1000, notify.Units), href)
	}
	length := func(s string) int { return notify.Units(literal(s)) }
	body := notify.CutBy(m.Title(), 1000, length) + "\n" + notify.List(m.Lines(), m.FiringMore+m.ResolvedMore, MaxDescription-4000, length)
	out := "{noformat}\n" + literal(body) + "\n{noformat}"
	if href != "" {
		out += "\n[All of it|" + strings.NewReplacer("[", "%5B", "]", "%5D").Replace(href) + "]"
	}
	return out
}

// literal keeps a text within a block without format.
func literal(s string) string { return strings.ReplaceAll(s, "{", "{\u200b") }

func document(text, href string) node {
	var p node
	p.Type = "paragraph"
	first := true
	for l := range strings.SplitSeq(notify.CutBy(text, MaxDescription, notify.Units), "\n") {
		if !first {
			p.Content = append(p.Content, node{Type: "hardBreak"})
		}
		if first = false; l != "" { // a text must not be empty
			p.Content = append(p.Content, node{Type: "text", Text: l})
		}
	}
	doc := node{Type: "doc", Version: 1, Content: []node{p}}
	if href != "" {
		link := node{Type: "text", Text: "All of it", Marks: []mark{{"link", map[string]string{"href": href}}}}
		doc.Content = append(doc.Content, node{Type: "paragraph", Content: []node{link}})
	}
	return doc
}
