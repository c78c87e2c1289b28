package dashboard

import (
	"bytes"
	"html/template"
)

// Where the frame of the pages is, and what stands in it.
const (
	frame  = "assets/frame.html"
	bodies = "assets/pages"
)

// page is one page within the frame.
type page struct {
	Name    string // of its body, and of its script
	Title   string // empty: that of the whole
	Needs   string // of whoever is offered it, as data-needs says; empty: everybody is
	Whose   string // as data-whose
	Skip    string // the part that is wanted first, and
	SkipTo  string // what it is called
	Styles  []string
	SignOut bool // one can sign out there
}

// pages are all of them, as they stand in the head of each.
func pages() []page {
	return []page{
		{Name: "fleet", Skip: "hosts", SkipTo: "hosts", SignOut: true},
		{Name: "alerts", Title: "Alerts", Skip: "alerts", SkipTo: "the alerts", Styles: []string{"alerts"}},
		{Name: "messages", Title: "Messages", Needs: "receivers read", Skip: "receivers", SkipTo: "the receivers", Styles: []string{"alerts", "messages"}},
		{Name: "usage", Title: "Usage", Needs: "usage read", Skip: "projects", SkipTo: "the projects", Styles: []string{"alerts", "usage"}},
		{Name: "audit", Title: "Audit", Needs: "audit read", Skip: "entries", SkipTo: "the entries", Styles: []string{"alerts", "audit"}},
		{Name: "charts", Title: "Charts", Skip: "charts", SkipTo: "the charts", Styles: []string{"charts"}},
		{Name: "plan", Title: "Plan", Needs: "plans create", Skip: "whatif", SkipTo: "what if", Styles: []string{"plan"}},
		{Name: "users", Title: "Users", Needs: "users read", Whose: "all", Skip: "users", SkipTo: "the users", Styles: []string{"alerts", "people"}},
		{Name: "account", Title: "My account", Skip: "me", SkipTo: "your account", Styles: []string{"alerts", "people"}, SignOut: true},
	}
}

// Path returns where the page is.
func (p page) Path() string {
	if p.Fleet() {
		return "/"
	}
	return "/" + p.Name
}

// Fleet reports whether it is the first one, on which one signs in.
func (p page) Fleet() bool { return p.Name == "fleet" }

// Link returns what the other pages call it.
func (p page) Link() string {
	if p.Fleet() {
		return "Fleet"
	}
	return p.Title
}

// Script returns the name of its script.
func (p page) Script() string {
	if p.Fleet() {
		return "main"
	}
	return p.Name
}

// framed is a page with what stands in its frame.
type framed struct {
	page
	Others []page
	Body   template.HTML
}

// frame puts the pages together.
func (p *Pages) frame() error {
	layout, err := template.ParseFS(files, frame)
	if err != nil {
		return err
	}
	for _, one := range pages() {
		body, err := files.ReadFile(bodies + "/" + one.Name + ".html")
		if err != nil {
			return err
		}
		f := framed{page: one, Body: template.HTML(body)} // #nosec G203 -- a file of the program
		for _, other := range pages() {
			if other.Name != one.Name {
				f.Others = append(f.Others, other)
			}
		}
		var b bytes.Buffer
		if err := layout.Execute(&b, f); err != nil {
			return err
		}
		p.files[one.Path()] = newFile(frame, b.Bytes())
	}
	return nil
}
