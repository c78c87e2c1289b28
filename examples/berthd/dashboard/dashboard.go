// Package dashboard serves berthd's pages, the description of the API, and the explanations of problems. All are files within the
// program; what they show they ask of the API, as the user who is signed in. Nothing is loaded from anywhere else, and nothing is in line, so that the strictest content security
// policy holds.
package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/berthage/berthage/examples/berthd/edge"
	"github.com/berthage/berthage/examples/berthd/problem"
)

// files are the pages and what belongs to them.
//
//go:embed assets
var files embed.FS

// Pages serves the pages. It is safe for concurrent use.
type Pages struct {
	files   map[string]file // by path
	problem *template.Template
}

// file is one file, ready to be sent.
type file struct {
	kind string
	etag string
	body []byte
}

// New returns the pages. It panics if the program was built without its files.
func New() *Pages {
	p := &Pages{files: make(map[string]file)}
	err := fs.WalkDir(files, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		f := newFile(name, b)
		switch {
		case name == "assets/docs.html":
			p.files["/docs"] = f
		case name == "assets/problem.html":
			p.problem, err = template.New(name).Parse(string(b))
		case name != frame && path.Dir(name) != bodies:
			p.files["/"+name] = f
		}
		return err
	})
	if err == nil {
		err = p.frame()
	}
	if err != nil {
		panic(err)
	}
	p.files["/favicon.ico"] = p.files["/assets/icon.svg"]
	return p
}

func newFile(name string, b []byte) file {
	sum := sha256.Sum256(b)
	return file{kind: kind(name), etag: `"` + hex.EncodeToString(sum[:8]) + `"`, body: b}
}

// Paths returns the paths of single files that are not below /assets/. They hold no data, and need no credentials.
func (p *Pages) Paths() []string {
	var out []string
	for name := range p.files {
		if !strings.HasPrefix(name, "/assets/") {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// kind is the media type of a file by its ending; the table of the machine could be anything.
func kind(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "application/octet-stream"
}

// ServeHTTP implements http.Handler.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if k, ok := strings.CutPrefix(r.URL.Path, problem.Path); ok {
		p.explain(w, r, problem.Kind(k))
		return
	}
	f, ok := p.files[r.URL.Path]
	if !ok {
		refuse(w, r, problem.NoRoute.New("there is no such file"))
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("ETag", f.etag)
	h.Set("Cache-Control", "no-cache") // to be asked for again, and mostly answered with 304
	if r.Header.Get("If-None-Match") == f.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(f.body) // a browser that is gone needs no answer
}

// refuse answers with a problem that names its request.
func refuse(w http.ResponseWriter, r *http.Request, p *problem.Problem) {
	p.RequestID = edge.From(r.Context()).ID
	p.Write(w)
}

// explain serves the page of a kind of problem.
func (p *Pages) explain(w http.ResponseWriter, r *http.Request, k problem.Kind) {
	e, ok := problem.Explain(k)
	if !ok {
		refuse(w, r, problem.NoRoute.New("there is no such kind of problem"))
		return
	}
	var b bytes.Buffer
	if err := p.problem.Execute(&b, e); err != nil {
		refuse(w, r, problem.Internal.New("the page could not be made"))
		return
	}
	w.Header().Set("Content-Type", kind(".html"))
	_, _ = w.Write(b.Bytes()) // a browser that is gone needs no answer
}
